//! What other load generators write, judged.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use verifier::cli::CheckArgs;
use verifier::source::results::Results;

const CAMPAIGN: &str = r#"
campaign: { id: "7", coupons: 1, starts_at: 2026-11-21T10:00:00Z }
"#;

/// The exit code, and what is printed.
fn judged(how: &str, results: &str) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let (read, written) = (dir.path().join("how.yaml"), dir.path().join("results"));
    std::fs::write(&read, how).unwrap();
    std::fs::write(&written, results).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_verifier"));
    let output = command.args(["check", "--results"]).arg(&read).arg("--history").arg(&written);
    let output = output.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<String> =
        text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    (output.status.code().unwrap(), lines.join("\n"))
}

/// Valid as far as it goes, which is unknown; and with a second coupon it is proven invalid.
fn both(how: &str, sound: &str, second: &str) {
    let (code, text) = judged(how, sound);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("campaign 7 unknown") && text.contains("requests 2"), "{text}");
    assert!(text.contains("issued 1") && text.contains("sold out 1"), "{text}");
    assert!(text.contains("may hold a coupon"), "{text}");
    let (code, text) = judged(how, &format!("{sound}{second}"));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("✗ over-issued") && text.contains("✗ issued-after-sold-out"), "{text}");
}

#[test]
fn a_csv_file_says_which_column_is_what() {
    let how = format!(
        "format: csv{CAMPAIGN}\
         sent: {{ at: timeStamp, unit: ms }}\ntook: {{ at: elapsed, unit: ms }}\n\
         columns: {{ user: who, code: code }}\noutcomes:\n  \
         - {{ when: {{ responseCode: 200 }}, is: issued }}\n  \
         - {{ when: {{ responseCode: 409 }}, is: sold_out }}\n  \
         - {{ when: {{ label: login }}, is: ignore }}\n"
    );
    let sound = "timeStamp,elapsed,label,responseCode,who,code\n\
                 1795255200100,20,claim,200,u1,가나1\n\
                 1795255200110,20,claim,409,u2,\n\
                 1795255200001,20,login,204,u2,\n";
    both(&how, sound, "1795255200200,20,claim,200,u3,다라2\n");
    let (code, text) = judged(&how, &sound.replace("1795255200110", "soon"));
    assert_eq!(code, 2);
    assert!(text.contains("results:3: timeStamp: found \"soon\", expected a number"), "{text}");
}

#[test]
fn times_that_touch_at_their_resolution_are_no_order() {
    let how = format!(
        "format: csv{CAMPAIGN}sent: {{ at: a, unit: s }}\nanswered: {{ at: b, unit: s }}\n\
         columns: {{ code: code }}\noutcomes:\n  - {{ when: {{ code: '' }}, is: sold_out }}\n  \
         - {{ is: issued }}\n"
    );
    let found = |late: u32| {
        judged(&how, &format!("a,b,code\n1795255201,1795255202,\n{late},{late},가\n")).1
    };
    assert!(!found(1_795_255_204).contains("✗ issued-after-sold-out"), "within their seconds");
    assert!(found(1_795_255_205).contains("✗ issued-after-sold-out"));
}

#[test]
fn every_meaning_is_counted_as_what_it_is() {
    let how = format!(
        "format: csv{CAMPAIGN}sent: {{ at: a, unit: ms }}\nanswered: {{ at: a, unit: ms }}\n\
         columns: {{ code: code }}\noutcomes:\n{}  - {{ when: {{ is: a, code: b }}, is: failed }}\n",
        ["issued", "sold_out", "not_started", "not_found", "ended", "already_issued", "failed"]
            .into_iter()
            .chain(["indeterminate", "ignore"])
            .map(|is| format!("  - {{ when: {{ is: {is} }}, is: {is} }}\n"))
            .collect::<String>()
    );
    // Twice the first, so often the second, and so on; a code is lacking once, and two rows are only half of a rule.
    let words = "issued issued sold_out sold_out sold_out not_started not_started not_started \
                 not_started not_found ended already_issued already_issued failed indeterminate \
                 ignore a half";
    let rows = words.split_whitespace().enumerate().map(|(at, word)| {
        let code = if at == 0 {
            "가"
        } else if word == "half" {
            "b"
        } else {
            ""
        };
        format!("{},{word},{code}\n", 1_795_255_200_100 + at)
    });
    let written = format!("a,is,code\n{}", rows.collect::<String>());
    let dir = tempfile::tempdir().unwrap();
    let (results, history) = (dir.path().join("how.yaml"), dir.path().join("results"));
    std::fs::write(&results, &how).unwrap();
    std::fs::write(&history, &written).unwrap();
    let (results, history) = (Some(results), Some(history));
    let report = verifier::check(&CheckArgs { results, history, ..CheckArgs::default() }).unwrap();
    let counts = report.campaigns[0].evidence.counts;
    let told = [counts.issued, counts.sold_out, counts.not_started, counts.not_found];
    assert_eq!(told, [1, 3, 4, 1]);
    let others = [counts.ended, counts.already_issued, counts.failed, counts.indeterminate];
    assert_eq!(
        others,
        [1, 2, 1, 4],
        "a coupon without a code, and what no rule matches, is in doubt"
    );
    assert_eq!(counts.requests, 17, "what asked for no coupon does not count");
    let (code, text) = judged(&how, &written);
    assert!(
        code == 1 && text.contains("answers that no rule of the scenario matches: 2"),
        "{text}"
    );
}

#[test]
fn users_keys_and_the_limit_of_a_user_are_known() {
    let how = |more: &str| {
        let campaign = CAMPAIGN.replace("coupons: 1", &format!("coupons: 2{more}"));
        format!(
            "format: csv{campaign}sent: {{ at: a, unit: ms }}\nanswered: {{ at: a, unit: ms }}\n\
             columns: {{ user: who, key: key, code: code }}\noutcomes:\n  - {{ is: issued }}\n"
        )
    };
    let limit = ", per_user: { limit: 1, precedence: either }";
    let two = |first: &str, second: &str| {
        format!("a,who,key,code\n1795255200100,{first},가\n1795255200200,{second},나\n")
    };
    for (more, written, check) in [
        ("", two("u,k", "u,k"), Some("✗ idempotency")),
        ("", two("u,k", "v,k"), None),
        ("", two("u,k", "u,l"), None),
        (limit, two("u,", "u,"), Some("✗ per-user-limit")),
        (limit, two("u,", "v,"), None),
    ] {
        let (code, text) = judged(&how(more), &written);
        assert_eq!(code, if check.is_some() { 1 } else { 3 }, "{written}{text}");
        assert!(check.is_none_or(|check| text.contains(check)), "{written}{text}");
    }
}

/// k6 says when a request was over, and vegeta when it was sent. Taken for the other they would be in another
/// order.
#[test]
fn the_time_of_a_result_is_the_end_that_its_tool_means() {
    let rules = "columns: { code: code }\noutcomes:\n  - { when: { status: 409 }, is: sold_out }\n  \
                 - { when: { code: 409 }, is: sold_out }\n  - { is: issued }\n";
    let k6 = |first: (u32, u32), second: (u32, u32)| {
        let line = |(ms, took): (u32, u32), status: u16, code: &str| {
            format!(
                r#"{{"metric":"http_req_duration","type":"Point","data":{{"time":"2026-11-21T10:00:00.{ms}000000Z","value":{took},"tags":{{"status":"{status}","code":"{code}","sent":"1795255200{ms}"}}}}}}
"#
            )
        };
        [line(first, 409, ""), line(second, 200, "가")].concat()
    };
    let how = format!("format: k6_json{CAMPAIGN}{rules}");
    let wrong =
        |how: &str, written: &str| judged(how, written).1.contains("✗ issued-after-sold-out");
    assert!(wrong(&how, &k6((160, 50), (200, 10))));
    assert!(!wrong(&how, &k6((160, 50), (200, 50))), "sent before the other one was over");
    // Where a file says better, that counts.
    let sent = format!("{how}sent: {{ at: sent, unit: ms }}\n");
    assert!(wrong(&sent, &k6((160, 10), (200, 50))));
    let vegeta = |first: (u32, u32), second: (u32, u32)| {
        let line = |(ms, took): (u32, u32), code: u16| {
            format!(
                r#"{{"code":{code},"timestamp":"2026-11-21T10:00:00.{ms}000000Z","latency":{took}000000,"body":""}}
"#
            )
        };
        [line(first, 409), "\n".to_owned(), line(second, 200)].concat()
    };
    let rules = rules.replace("columns: { code: code }", "columns: { code: timestamp }");
    let how = format!("format: vegeta_json{CAMPAIGN}{rules}");
    assert!(wrong(&how, &vegeta((160, 10), (200, 50))));
    assert!(!wrong(&how, &vegeta((160, 50), (200, 10))), "sent before the other one was over");
}

#[test]
fn a_body_that_is_no_json_is_a_text_and_a_record_that_is_none_has_its_line() {
    let how = format!(
        "format: vegeta_json{CAMPAIGN}outcomes:\n  - {{ when: {{ body: gone }}, is: sold_out }}\n"
    );
    // "gone"
    let gone = r#"{"code":200,"timestamp":"2026-11-21T10:00:01.5Z","latency":5,"body":"Z29uZQ=="}"#;
    let (code, text) = judged(&how, &format!("{gone}\n\n{gone}\n"));
    assert!(code == 3 && text.contains("sold out 2"), "{text}");
    let (code, text) = judged(&how, &format!("{gone}\n\n{{\n"));
    assert_eq!((code, text.lines().count()), (2, 1), "{text}");
    assert!(text.contains("results:3: it is no JSON"), "{text}");
}

#[test]
fn k6_results_are_read() {
    let rules = "columns: { user: user, code: code }\noutcomes:\n  \
                 - { when: { status: 200 }, is: issued }\n  \
                 - { when: { status: 409 }, is: sold_out }\n";
    let point = |time: &str, status: &str, code: &str| {
        format!(
            r#"{{"metric":"http_req_duration","type":"Point","data":{{"time":"2026-11-21T10:00:{time}Z","value":20.5,"tags":{{"status":"{status}","user":"u","code":"{code}"}}}}}}
"#
        )
    };
    let other = r#"{"type":"Metric","data":{"name":"http_req_duration"},"metric":"http_req_duration"}
{"metric":"http_reqs","type":"Point","data":{"time":"2026-11-21T10:00:00Z","value":1,"tags":{}}}
"#;
    let sound =
        [other, &point("00.100000000", "200", "가"), &point("00.120000000", "409", "")].concat();
    both(&format!("format: k6_json{CAMPAIGN}{rules}"), &sound, &point("00.200000000", "200", "나"));
    let csv = "metric_name,timestamp,metric_value,status,extra_tags\n\
               http_reqs,1795255201,1,200,\n\
               http_req_duration,1795255201,20.5,200,user=u&code=가\n\
               http_req_duration,1795255202,20.5,409,user=v\n";
    let how = format!("format: k6_csv{CAMPAIGN}{rules}");
    both(&how, csv, "http_req_duration,1795255206,20.5,200,user=w&code=나\n");
}

#[test]
fn vegeta_results_are_read_with_their_bodies() {
    let rules = "columns: { code: $.body.code }\noutcomes:\n  \
                 - { when: { $.body.won: true }, is: issued }\n  \
                 - { when: { code: 409 }, is: sold_out }\n";
    // {"won":true,"code":"가"} and the same with 나.
    let bodies = ["eyJ3b24iOnRydWUsImNvZGUiOiLqsIAifQ==", "eyJ3b24iOnRydWUsImNvZGUiOiLrgpgifQ=="];
    let csv =
        |ns: u64, code: u16, body: &str| format!("{ns},{code},20000000,0,9,,{body},a,0,POST,u,\n");
    let start = 1_795_255_200_000_000_000;
    let sound =
        [csv(start + 100_000_000, 200, bodies[0]), csv(start + 110_000_000, 409, "")].concat();
    let how = format!("format: vegeta_csv{CAMPAIGN}{rules}");
    both(&how, &sound, &csv(start + 200_000_000, 200, bodies[1]));
    let json = |time: &str, code: u16, body: &str| {
        format!(
            r#"{{"code":{code},"timestamp":"2026-11-21T19:00:{time}+09:00","latency":20000000,"body":"{body}"}}
"#
        )
    };
    let sound = [json("00.100000000", 200, bodies[0]), json("00.110000000", 409, "")].concat();
    let how = format!("format: vegeta_json{CAMPAIGN}{rules}");
    both(&how, &sound, &json("00.200000000", 200, bodies[1]));
}

/// What k6 (0.47) and vegeta wrote of launches on the reference server: five coupons each.
fn sample(name: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/results");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// By the script in docs/history-format.md.
#[test]
fn what_k6_wrote_is_read() {
    let rules = |metric: &str| {
        format!(
            "campaign: {{ id: '2', coupons: 5, starts_at: 2026-11-22T10:12:47Z }}\n{metric}\
             columns: {{ user: user, code: code }}\noutcomes:\n  \
             - {{ when: {{ status: 201 }}, is: issued }}\n  \
             - {{ when: {{ status: 409 }}, is: sold_out }}\n"
        )
    };
    let claim = rules(
        "metric: claim\nsent: { at: sent, unit: ms }\nanswered: { at: answered, unit: ms }\n",
    );
    for name in ["json", "csv"] {
        let written = sample(&format!("k6.{name}"));
        let (code, text) = judged(&format!("format: k6_{name}\n{claim}"), &written);
        assert_eq!(code, 3, "{text}");
        for line in ["requests 21", "issued 5", "sold out 16", "indeterminate 0"] {
            assert!(text.contains(line), "{name}: no {line} in {text}");
        }
        let twice = written.replace("가가간잘신즐그저룬한", "가가간힐날므홀굴질늘");
        let (code, text) = judged(&format!("format: k6_{name}\n{claim}"), &twice);
        assert!(code == 1 && text.contains("✗ duplicate-code"), "{name}: {text}");
        // What k6 writes of requests by itself has no codes.
        let (code, text) = judged(&format!("format: k6_{name}\n{}", rules("")), &written);
        assert_eq!(code, 3, "{text}");
        assert!(text.contains("requests 21") && text.contains("indeterminate 5"), "{text}");
    }
}

#[test]
fn what_vegeta_wrote_is_read() {
    let rules = "campaign: { id: '3', coupons: 5, starts_at: 2026-11-22T10:12:54Z }
columns: { code: $.body.code }
outcomes:
  - { when: { code: 201 }, is: issued }
  - { when: { $.body.code: sold_out }, is: sold_out }
  - { when: { $.body.code: not_started }, is: not_started }
";
    for name in ["json", "csv"] {
        let how = format!("format: vegeta_{name}\n{rules}");
        let written = sample(&format!("vegeta.{name}"));
        let (code, text) = judged(&how, &written);
        assert_eq!(code, 3, "{text}");
        for line in ["requests 12", "issued 5", "sold out 4", "not started 3", "indeterminate 0"] {
            assert!(text.contains(line), "{name}: no {line} in {text}");
        }
        let (code, text) = judged(&how.replace("coupons: 5", "coupons: 4"), &written);
        assert!(code == 1 && text.contains("✗ over-issued"), "{name}: {text}");
    }
}

#[test]
fn what_is_wrong_with_the_rules_has_a_place() {
    for (how, want) in [
        (format!("format: csv{CAMPAIGN}outcomes: []\n"), "expected two of `sent`"),
        (format!("format: csv{CAMPAIGN}metric: x\noutcomes: []\n"), "only k6 has metrics"),
        (format!("format: jmeter{CAMPAIGN}outcomes: []\n"), ":1:9: format: unknown value `jmeter`"),
        (
            format!("format: k6_json{CAMPAIGN}outcomes: [{{ when: {{ $.: 1 }}, is: issued }}]\n"),
            "outcomes[0].when: found \"$.\", expected a JSON path",
        ),
    ] {
        let (code, text) = judged(&how, "");
        assert_eq!((code, text.lines().count()), (2, 1), "{text}");
        assert!(text.contains("how.yaml:") && text.contains(want), "{text}");
    }
}

#[test]
fn every_example_of_the_docs_can_be_read() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/history-format.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let examples: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), example).unwrap();
        Results::load(file.path()).unwrap_or_else(|e| panic!("{e}\n{example}"));
    }
}
