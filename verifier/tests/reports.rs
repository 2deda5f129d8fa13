//! What the verifier writes, in every form, and what of it can be checked again alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jsonschema::Validator;
use serde_json::{Value, json};
use tempfile::TempDir;

/// All forms of a report.
const FORMS: [&str; 6] = ["table", "json", "junit", "sarif", "github", "markdown"];

const MS: i64 = 1_000_000;

/// User, sent, answered, and the rest of the answer.
type Request = (&'static str, i64, i64, Value);

fn issued(code: &str) -> Value {
    json!({"outcome": "issued", "code": code})
}

fn told(outcome: &str) -> Value {
    json!({"outcome": outcome})
}

/// Three coupons that start within 0.1 ms, contested in every way.
fn contested() -> Vec<Request> {
    vec![
        ("u1", -MS, 3 * MS, issued("가나1")),
        ("u2", MS, 9 * MS, told("indeterminate")),
        ("u3", -2 * MS, MS, told("not_started")),
        ("u4", 2 * MS, 4 * MS, issued("다라2")),
        ("u5", 6 * MS, 8 * MS, told("sold_out")),
    ]
}

/// The same, and a coupon that was issued after "sold out".
fn broken() -> Vec<Request> {
    let mut all = contested();
    all.push(("u9\n::error::%", 20 * MS, 21 * MS, issued("마바3")));
    all
}

/// A folder with this history in it.
fn folder(requests: &[Request]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("h.jsonl"), history("7", requests, 100)).unwrap();
    dir
}

fn history(campaign: &str, requests: &[Request], latest: i64) -> String {
    let mut lines = vec![
        json!({"type": "header", "format": "coupon-history/1"}),
        json!({"type": "campaign", "campaign": campaign, "coupons": 3, "per_user": null,
               "starts_at": {"earliest": 0, "latest": latest}}),
    ];
    for (op, (user, sent, answered, answer)) in (1..).zip(requests) {
        lines.push(json!({"type": "invoke", "op": op, "campaign": campaign, "kind": "issue",
                          "at": sent, "user": user}));
        let mut complete = json!({"type": "complete", "op": op, "at": answered});
        complete.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
        lines.push(complete);
    }
    let count = requests.len();
    lines.push(json!({"type": "trailer", "invocations": count, "completions": count}));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn verifier(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verifier"));
    command.args(arguments).current_dir(dir).env_remove("GITHUB_STEP_SUMMARY");
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap()
}

/// The history of a folder in this form, and the exit code.
fn judged(dir: &Path, form: &str, more: &[&str]) -> (i32, String) {
    let arguments = [&["check", "--history", "h.jsonl", "--format", form], more].concat();
    let output = verifier(dir, &arguments);
    (output.status.code().unwrap(), text(&output))
}

fn json_of(dir: &Path) -> Value {
    serde_json::from_str(&judged(dir, "json", &[]).1).unwrap()
}

fn corpus(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/histories");
    Path::new(folder).join(format!("{name}.jsonl.gz"))
}

/// The verdict on a corpus.
fn of_corpus(name: &str, form: &str) -> Vec<u8> {
    let path = corpus(name).display().to_string();
    let output = verifier(Path::new("."), &["check", "--history", &path, "--format", form]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The schema with nothing allowed that it does not name, so that nothing is left undocumented.
fn closed(schema: &mut Value) {
    if let Value::Object(object) = schema {
        if object.contains_key("properties") && object.contains_key("required") {
            object.entry("additionalProperties").or_insert(false.into());
        }
        object.values_mut().for_each(closed);
    } else if let Value::Array(all) = schema {
        all.iter_mut().for_each(closed);
    }
}

fn complaints(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

#[test]
fn what_could_not_run_is_told_of_many_campaigns_as_well() {
    for format in ["table", "markdown"] {
        let said = String::from_utf8(of_corpus("per_user", format)).unwrap();
        let lines = said.lines().filter(|line| line.contains("pass --store"));
        let lines: Vec<&str> = lines.collect();
        assert_eq!(lines.len(), 1, "{said}");
        assert!(
            lines[0].contains("lost, resurrected, phantom") && lines[0].contains(" campaigns: "),
            "{lines:?}"
        );
    }
}

#[test]
fn the_schema_in_the_repository_is_what_the_program_prints() {
    let printed = verifier(Path::new("."), &["schema"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verdict.schema.json");
    let stored = std::fs::read(path).unwrap_or_default();
    assert!(
        printed.stdout == stored,
        "docs/verdict.schema.json is out of date; renew it: \
         cargo run -p verifier -- schema > docs/verdict.schema.json"
    );
}

#[test]
fn every_report_keeps_to_the_schema() {
    let mut schema: Value = serde_json::from_str(&verifier::report::json::schema()).unwrap();
    closed(&mut schema);
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let invalid = json_of(folder(&broken()).path());
    assert_eq!(invalid["verdict"], "invalid");
    let valid = json_of(folder(&contested()).path());
    assert_eq!(valid["verdict"], "valid");
    let unknown = json_of(folder(&contested()[..1]).path());
    assert_eq!(unknown["verdict"], "unknown");
    for report in [&invalid, &valid, &unknown] {
        assert_eq!(complaints(&validator, report), [""; 0]);
        assert_eq!(report["subject"][0], "history h.jsonl");
    }
    let many = serde_json::from_slice(&of_corpus("observations", "json")).unwrap();
    assert_eq!(complaints(&validator, &many), [""; 0]);
    for member in ["verdict", "format", "campaigns"] {
        let mut less = invalid.clone();
        less.as_object_mut().unwrap().remove(member);
        assert_ne!(complaints(&validator, &less), [""; 0], "without {member}");
    }
    let mut wrong = invalid;
    wrong["campaigns"][0]["violations"][0]["certainty"] = "sure".into();
    assert_ne!(complaints(&validator, &wrong), [""; 0]);
}

#[test]
fn a_violation_says_by_how_much_and_what_would_be_benign() {
    let report = json_of(folder(&broken()).path());
    let violation = &report["campaigns"][0]["violations"][0];
    assert_eq!(violation["check"], "issued-after-sold-out", "{report:#}");
    assert_eq!(violation["margin_ns"], 12 * MS);
    assert_eq!(violation["benign_if"], "coupons were given back or added during the run");
    assert!(violation["because"][0].as_str().unwrap().starts_with("A comes before B"));
}

#[test]
fn the_same_evidence_gives_the_same_bytes() {
    for form in FORMS {
        for name in ["base", "per_user", "observations"] {
            assert!(of_corpus(name, form) == of_corpus(name, form), "{name} as {form}");
        }
    }
}

/// A coupon that was answered within the window of the start.
fn early_perhaps() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = history("7", &contested(), 10 * MS);
    std::fs::write(dir.path().join("h.jsonl"), text).unwrap();
    dir
}

#[test]
fn what_is_only_possible_fails_where_that_is_wanted() {
    let dir = early_perhaps();
    let (code, table) = judged(dir.path(), "table", &[]);
    assert_eq!(code, 0, "{table}");
    for want in [
        "valid  1 campaign\n",
        "  ~ early-issue, only possible: a coupon was issued perhaps before the start, by up to 7.000 ms",
        "A was over 3.000 ms after the earliest possible start and 7.000 ms before the latest; the \
         start is known to 10.000 ms",
        "benign if: the clock that rules the start was not the one that was probed",
    ] {
        assert!(table.contains(want), "{table} lacks {want}");
    }
    let (code, table) = judged(dir.path(), "table", &["--fail-on", "possible"]);
    assert_eq!(code, 1, "{table}");
    assert!(table.starts_with("invalid  1 campaign, what is only possible fails too\n"), "{table}");
    let report = json_of(dir.path());
    assert_eq!((&report["verdict"], &report["fail_on"]), (&json!("valid"), &json!("proven")));
    let campaign = &report["campaigns"][0];
    assert_eq!(campaign["violations"], json!([]));
    let possible = &campaign["possible"][0];
    assert_eq!(
        (&possible["check"], &possible["certainty"]),
        (&json!("early-issue"), &json!("possible"))
    );
    assert_eq!(
        (&possible["margin_ns"], &possible["clock_width_ns"]),
        (&json!(7 * MS), &json!(10 * MS))
    );
}

#[test]
fn every_form_says_what_is_only_possible() {
    let dir = early_perhaps();
    let junit = |more| judged(dir.path(), "junit", more).1;
    assert!(junit(&[]).contains("<system-out>only possible: a coupon"), "{}", junit(&[]));
    assert!(!junit(&[]).contains("<failure"), "{}", junit(&[]));
    assert!(junit(&["--fail-on", "possible"]).contains("<failure"));
    let github = |more| judged(dir.path(), "github", more).1;
    let title = "title=early-issue (campaign 7)%2C only possible::";
    assert!(github(&[]).contains(&format!("::warning {title}")), "{}", github(&[]));
    assert!(github(&["--fail-on", "possible"]).contains(&format!("::error {title}")));
    let level = |more| {
        let log: Value = serde_json::from_str(&judged(dir.path(), "sarif", more).1).unwrap();
        log["runs"][0]["results"][0]["level"].clone()
    };
    assert_eq!((level(&[]), level(&["--fail-on", "possible"])), (json!("warning"), json!("error")));
}

#[test]
fn several_reports_come_from_one_call() {
    let dir = folder(&broken());
    let to_file = |form: &&str| ["--report".to_owned(), format!("{form}=out.{form}")];
    let arguments: Vec<String> = FORMS.iter().flat_map(to_file).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, _) = judged(dir.path(), "table", &arguments);
    assert_eq!(code, 1);
    for form in FORMS {
        let written = std::fs::read_to_string(dir.path().join(format!("out.{form}"))).unwrap();
        assert_eq!(written, judged(dir.path(), form, &[]).1, "{form}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_one_line_and_2() {
    let dir = folder(&contested());
    for (arguments, want) in [
        (vec!["--report", "sarif"], "expected FORMAT=FILE with a format of table, json, junit"),
        (vec!["--report", "pdf=x"], "expected FORMAT=FILE with a format of table, json, junit"),
        (vec!["--report", "json="], "expected FORMAT=FILE"),
        (vec!["--report", "json=no/such/folder"], "no/such/folder cannot be written"),
        (vec!["--report", "json=a", "--report", "junit=a"], "a is named twice"),
        (vec!["--fail-on", "guessed"], "proven"),
    ] {
        let (code, said) = judged(dir.path(), "table", &arguments);
        assert_eq!((code, said.lines().count()), (2, 1), "{said}");
        assert!(said.contains(want), "{said} lacks {want}");
    }
}

#[test]
fn junit_says_what_would_be_benign_and_why_a_check_did_not_run() {
    let (_, xml) = judged(folder(&broken()).path(), "junit", &[]);
    for want in [
        "<failure message=\"a request sent after",
        "benign if: coupons were given back or added during the run",
        "<property name=\"subject\" value=\"history h.jsonl\"/>",
        "<skipped message=\"no store: pass --store\"/>",
    ] {
        assert!(xml.contains(want), "{xml} lacks {want}");
    }
    assert_eq!(xml.matches("<testcase ").count(), verifier::check::CHECKS.len());
}

/// Of SARIF 2.1.0, what binds the members that are written here.
fn sarif_shape() -> Value {
    let text = json!({"type": "object", "required": ["text"],
                      "properties": {"text": {"type": "string", "minLength": 1}}});
    let level = json!({"enum": ["none", "note", "warning", "error"]});
    let uri = json!({"type": "string", "pattern": "^(file://)?[A-Za-z0-9._~/%-]+$"});
    let location = json!({"type": "object", "additionalProperties": false, "properties": {
        "physicalLocation": {"type": "object", "required": ["artifactLocation"], "properties": {
            "artifactLocation": {"type": "object", "properties": {"uri": uri}}}},
        "logicalLocations": {"type": "array", "uniqueItems": true, "items": {"type": "object",
            "properties": {"name": {"type": "string"}, "fullyQualifiedName": {"type": "string"}},
            "additionalProperties": false}}}});
    let result = json!({"type": "object", "required": ["message", "ruleId", "ruleIndex", "level"],
        "additionalProperties": false, "properties": {
        "ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": 0},
        "level": level, "message": text, "properties": {"type": "object"},
        "locations": {"type": "array", "items": location},
        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}}}});
    let rule = json!({"type": "object", "required": ["id"], "additionalProperties": false,
        "properties": {"id": {"type": "string"}, "shortDescription": text,
        "fullDescription": text, "help": text,
        "defaultConfiguration": {"type": "object", "properties": {"level": level}}}});
    let notification = json!({"type": "object", "required": ["message"],
        "additionalProperties": false, "properties": {"message": text, "level": level,
        "associatedRule": {"type": "object", "required": ["id"]}}});
    let invocation = json!({"type": "object", "required": ["executionSuccessful"],
        "additionalProperties": false, "properties": {"executionSuccessful": {"type": "boolean"},
        "exitCode": {"type": "integer"},
        "toolExecutionNotifications": {"type": "array", "items": notification}}});
    let driver = json!({"type": "object", "required": ["name"], "additionalProperties": false,
        "properties": {"name": {"type": "string"}, "semanticVersion": {"type": "string"},
        "rules": {"type": "array", "uniqueItems": true, "items": rule}}});
    let run = json!({"type": "object", "required": ["tool"], "additionalProperties": false,
        "properties": {"tool": {"type": "object", "required": ["driver"],
        "properties": {"driver": driver}}, "invocations": {"type": "array", "items": invocation},
        "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
        "results": {"type": "array", "items": result}, "properties": {"type": "object"}}});
    json!({"type": "object", "required": ["version", "runs"], "additionalProperties": false,
        "properties": {"$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"}, "runs": {"type": "array", "items": run}}})
}

#[test]
fn sarif_is_what_the_standard_says() {
    let validator = jsonschema::draft7::new(&sarif_shape()).unwrap();
    let dir = folder(&broken());
    let one: Value = serde_json::from_str(&judged(dir.path(), "sarif", &[]).1).unwrap();
    let many: Value = serde_json::from_slice(&of_corpus("per_user", "sarif")).unwrap();
    for log in [&one, &many] {
        assert_eq!(complaints(&validator, log), [""; 0]);
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let results = run["results"].as_array().unwrap();
        let mut prints: Vec<&Value> = results.iter().map(|r| &r["partialFingerprints"]).collect();
        let all = prints.len();
        prints.sort_by_key(|print| print.to_string());
        prints.dedup();
        assert!(all > 0 && prints.len() == all, "each has its own fingerprint");
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
        }
    }
    let result = &one["runs"][0]["results"][0];
    assert_eq!(
        (&result["ruleId"], &result["level"]),
        (&json!("issued-after-sold-out"), &json!("error"))
    );
    assert!(result["message"]["text"].as_str().unwrap().contains("benign if: coupons were given"));
    let notes = one["runs"][0]["invocations"][0]["toolExecutionNotifications"].to_string();
    assert!(notes.contains("lost not run, no store: pass --store"), "{notes}");
}

#[test]
fn nothing_that_others_wrote_leaves_its_workflow_command() {
    let (_, said) = judged(folder(&broken()).path(), "github", &[]);
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("::error ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    let want = "::error title=issued-after-sold-out (campaign 7)::a request sent after \"sold out\" \
                was answered still got a coupon%0AA  #5";
    assert!(errors[0].starts_with(want), "{said}");
    assert!(errors[0].contains("user u9\\n::error::%25"), "{said}");
    let known = ["::error ", "::warning ", "::notice ", "invalid  1 campaign"];
    assert!(said.lines().all(|line| known.iter().any(|known| line.starts_with(known))), "{said}");
}

#[test]
fn at_most_ten_annotations_of_a_kind() {
    let said = String::from_utf8(of_corpus("base", "github")).unwrap();
    for kind in ["::error ", "::warning ", "::notice "] {
        assert_eq!(said.lines().filter(|line| line.starts_with(kind)).count(), 10, "{kind}");
    }
    let last = said.lines().rfind(|line| line.starts_with("::error ")).unwrap();
    assert!(last.contains("title=and ") && last.contains(" more findings::"), "{last}");
}

#[test]
fn a_step_of_github_gets_a_summary() {
    let dir = folder(&broken());
    let summary = dir.path().join("summary.md");
    std::fs::write(&summary, "before\n").unwrap();
    let step = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_verifier"));
        command.args(["check", "--history", "h.jsonl"]).args(more).current_dir(dir.path());
        command.env("GITHUB_STEP_SUMMARY", &summary);
        assert_eq!(command.output().unwrap().status.code(), Some(1));
        std::fs::read_to_string(&summary).unwrap()
    };
    assert_eq!(step(&[]), "before\n", "nobody asked for it");
    let markdown = judged(dir.path(), "markdown", &[]).1;
    assert_eq!(step(&["--format", "github"]), format!("before\n{markdown}"));
    assert_eq!(step(&["--report", "github=x"]), format!("before\n{markdown}{markdown}"));
    for want in [
        "## ❌ invalid: 1 campaign\n\n- history h.jsonl\n- no store\n",
        "| 7 | invalid | 3 | 6 | 3 | 1 | 1 |\n",
        "**issued-after-sold-out**, campaign 7: a request sent after",
        "Benign if: coupons were given back",
        "### Not run\n\n- lost, resurrected, phantom,",
    ] {
        assert!(markdown.contains(want), "{markdown} lacks {want}");
    }
}

/// What `recheck` says of this text.
fn recheck(text: &str) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("w.json"), text).unwrap();
    let output = verifier(dir.path(), &["recheck", "w.json"]);
    (output.status.code().unwrap(), self::text(&output))
}

#[test]
fn every_claim_of_the_corpora_holds_alone() {
    for name in ["base", "per_user", "observations"] {
        let (code, said) = recheck(&String::from_utf8(of_corpus(name, "json")).unwrap());
        let count = |word: &str| said.lines().filter(|line| line.starts_with(word)).count();
        assert_eq!(count("does not hold"), 0, "{name}: {said}");
        // Some compare an answer with all others, and stay open.
        assert!(count("holds") > 1_000 && matches!(code, 0 | 3), "{name}: {code}");
        assert!(count("open") < count("holds"), "{name}: {said}");
    }
}

#[test]
fn a_witness_can_be_checked_alone_and_a_forged_one_does_not_hold() {
    let report = json_of(folder(&broken()).path());
    let witness = &report["campaigns"][0]["violations"][0];
    let (code, said) = recheck(&report.to_string());
    assert!(code == 0 && said.starts_with("holds          issued-after-sold-out: "), "{said}");
    let (code, said) = recheck(&witness.to_string());
    assert!(
        code == 0 && said.ends_with("1 claim: 1 hold, 0 do not, 0 cannot be checked alone\n"),
        "{said}"
    );
    // The answer came after the request was sent.
    let late = format!("\"at\":{}", 8 * MS);
    assert!(witness.to_string().contains(&late));
    let (code, said) = recheck(&witness.to_string().replace(&late, &format!("\"at\":{}", 20 * MS)));
    assert!(code == 1 && said.starts_with("does not hold  issued-after-sold-out: "), "{said}");
    let mut other = witness.clone();
    other["witness"] = json!([5, 77]);
    let (code, said) = recheck(&other.to_string());
    assert!(code == 1 && said.contains("#77 is not in the history"), "{said}");
}

#[test]
fn what_is_only_possible_can_be_checked_alone() {
    let report = json_of(early_perhaps().path());
    assert_eq!(recheck(&report.to_string()).0, 0);
    let witness = report["campaigns"][0]["possible"][0].to_string();
    let late = format!("\"latest\":{}", 10 * MS);
    assert!(witness.contains(&late));
    assert_eq!(recheck(&witness.replace(&late, &format!("\"latest\":{}", 3 * MS))).0, 1);
}

#[test]
fn what_rests_on_the_store_is_left_open() {
    let mut report = json_of(folder(&broken()).path());
    report["campaigns"][0]["violations"][0]["proof"]["claim"] = json!({"is": "told"});
    let (code, said) = recheck(&report.to_string());
    assert!(code == 3 && said.starts_with("open           issued-after-sold-out: "), "{said}");
    report["campaigns"][0]["violations"][0]["proof"] = Value::Null;
    let (code, said) = recheck(&report.to_string());
    assert!(code == 3 && said.contains("too many to stand in the report"), "{said}");
}

#[test]
fn what_cannot_be_rechecked_is_one_line_and_2() {
    let report = json_of(folder(&broken()).path());
    let of = |change: fn(&mut Value)| {
        let mut report = report.clone();
        change(&mut report);
        report.to_string()
    };
    for (text, want) in [
        ("no json".to_owned(), "w.json: no JSON"),
        ("{}".to_owned(), "neither a report"),
        (of(|r| r["format"] = "coupon-verdict/9".into()), "expected \"coupon-verdict/1\""),
        (of(|r| r["campaigns"][0]["violations"] = 7.into()), "not a report"),
        (
            of(|r| r["campaigns"][0]["violations"][0]["proof"]["history"] = json!([])),
            "the proof of issued-after-sold-out: history:0: empty",
        ),
        (
            of(|r| {
                let lines = &mut r["campaigns"][0]["violations"][0]["proof"]["history"];
                lines.as_array_mut().unwrap().pop();
            }),
            "no trailer",
        ),
    ] {
        let (code, said) = recheck(&text);
        assert_eq!((code, said.lines().count()), (2, 1), "{said}");
        assert!(said.contains(want), "{said} lacks {want}");
    }
    let output = verifier(Path::new("."), &["recheck", "/nowhere.json"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn every_check_can_be_explained() {
    for check in verifier::check::CHECKS {
        let output = verifier(Path::new("."), &["explain", check.name]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.starts_with(&format!("{}: {}\n", check.name, check.rule)), "{said}");
    }
    let output = verifier(Path::new("."), &["explain", "early-isue"]);
    let said = text(&output);
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("early-issue"), "{said}");
    let list = text(&verifier(Path::new("."), &["checks"]));
    for check in verifier::check::CHECKS {
        let row = list.lines().find(|line| line.starts_with(&format!("{} ", check.name))).unwrap();
        assert!(row.contains(check.needs.words()) && row.ends_with(check.weight.words()), "{row}");
    }
}
