//! What others write, changed by a seed in thousands of ways: it is judged, or refused, and nothing else.

#[path = "foreign/parsers.rs"]
mod parsers;

use std::process::Command;

use e2e::mutated;

/// So many changes of each input.
const SEEDS: u64 = 2_000;

const HISTORY: &str = r#"{"type":"header","format":"coupon-history/1"}
{"type":"campaign","campaign":"c","coupons":2,"starts_at":{"earliest":100,"latest":110},"per_user":{"limit":1,"precedence":"already_first"}}
{"type":"invoke","op":1,"campaign":"c","kind":"issue","at":90,"target":0,"user":"u1","key":"k1"}
{"type":"complete","op":1,"at":105,"outcome":"not_started"}
{"type":"invoke","op":2,"campaign":"c","kind":"issue","at":112,"target":1,"user":"u1","key":"k2"}
{"type":"complete","op":2,"at":125,"outcome":"issued","code":"가나1","seq":1,"remaining":1}
{"type":"invoke","op":3,"campaign":"c","kind":"read","at":126}
{"type":"complete","op":3,"at":128,"outcome":"read","issued":1}
{"type":"invoke","op":4,"campaign":"c","kind":"issue","at":126,"target":0,"user":"u2","key":"k3"}
{"type":"invoke","op":5,"campaign":"c","kind":"issue","at":127,"target":0,"user":"u3"}
{"type":"complete","op":4,"at":140,"outcome":"issued","code":"다라2","seq":2,"remaining":0}
{"type":"complete","op":5,"at":150,"outcome":"sold_out"}
{"type":"invoke","op":6,"campaign":"c","kind":"read","at":151}
{"type":"complete","op":6,"at":153,"outcome":"read","codes":["가나1","다라2"]}
{"type":"invoke","op":7,"campaign":"c","kind":"issue","at":151,"target":1,"user":"u2"}
{"type":"complete","op":7,"at":160,"outcome":"already_issued","code":"다라2"}
{"type":"invoke","op":8,"campaign":"c","kind":"issue","at":151,"target":1,"user":"u9"}
{"type":"complete","op":8,"at":160,"outcome":"indeterminate"}
{"type":"trailer","invocations":8,"completions":8}
"#;

/// One of each format, in the order of the formats.
const RESULTS: [&str; 5] = [
    "timeStamp,elapsed,status,user,code\n1795255200100,20,200,u1,가나1\n1795255200110,20,409,u2,\n",
    r#"{"metric":"http_reqs","type":"Point","data":{"time":"2026-11-21T10:00:00Z","value":1,"tags":{}}}
{"metric":"http_req_duration","type":"Point","data":{"time":"2026-11-21T10:00:00.1Z","value":20.5,"tags":{"status":"200","user":"u","code":"가"}}}
"#,
    "metric_name,timestamp,metric_value,status,extra_tags\nhttp_req_duration,1795255201,20.5,200,user=u&code=가\n",
    r#"{"code":200,"timestamp":"2026-11-21T19:00:00.1+09:00","latency":20000000,"body":"eyJ3b24iOnRydWUsImNvZGUiOiLqsIAifQ=="}
"#,
    "1795255200100000000,200,20000000,0,9,,eyJ3b24iOnRydWUsImNvZGUiOiLqsIAifQ==,a,0,POST,u,\n",
];

#[test]
fn any_history_is_judged_or_refused() {
    (0..SEEDS * 3).for_each(|seed| parsers::judged(&mutated(HISTORY.as_bytes(), seed)));
}

#[test]
fn any_results_are_read_or_refused() {
    for results in RESULTS {
        (0..SEEDS / 4).for_each(|seed| parsers::results(&mutated(results.as_bytes(), seed)));
    }
}

#[test]
fn any_rules_are_understood_or_refused() {
    for how in parsers::HOW {
        let rules = format!("{how}{}", parsers::RULES);
        (0..SEEDS / 4).for_each(|seed| parsers::rules(&mutated(rules.as_bytes(), seed)));
    }
}

#[test]
fn any_mapping_is_understood_or_refused() {
    let document = include_str!("../../docs/store-mapping.md");
    let examples = document.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut all: Vec<String> = examples.map(str::to_owned).collect();
    all.push("coupon:{campaign}:{user}\n{code}-{_}-{seq}\n".to_owned());
    assert!(all.len() > 2, "the document has examples");
    for mapping in all {
        (0..SEEDS / 4).for_each(|seed| parsers::mapping(&mutated(mapping.as_bytes(), seed)));
    }
}

#[test]
fn any_report_is_checked_again_or_refused() {
    let history = tempfile::NamedTempFile::with_suffix(".jsonl").unwrap();
    let broken = HISTORY.replace("다라2", "가나1").replace("\"seq\":2", "\"seq\":1");
    std::fs::write(history.path(), broken.replace("\"at\":105", "\"at\":205")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_verifier"));
    let report = command.args(["check", "--format", "json", "--history"]).arg(history.path());
    let report = report.output().unwrap().stdout;
    assert!(report.len() > 2_000);
    (0..SEEDS).for_each(|seed| parsers::verdict(&mutated(&report, seed)));
}
