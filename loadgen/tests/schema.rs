//! The schema that editors check scenarios by: it is up to date, takes every scenario that comes
//! with the project, and refuses what `loadgen validate` refuses.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;

use jsonschema::Validator;
use loadgen::scenario::Scenario;
use loadgen::scenario::schema::schema;
use serde_json::Value;
use tempfile::tempdir;

const GOOD: &str = include_str!("good.yaml");

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn validator() -> Validator {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    jsonschema::draft7::new(&schema).unwrap()
}

/// What is wrong with a scenario by the schema.
fn complaints(validator: &Validator, yaml: &str) -> Vec<String> {
    let value: Value = serde_saphyr::from_str(yaml).unwrap();
    validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

/// The files with this ending in a folder.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|e| e == ending)).collect()
}

#[test]
fn the_schema_in_the_repository_is_what_the_program_prints() {
    let printed = Command::new(env!("CARGO_BIN_EXE_loadgen")).arg("schema").output().unwrap();
    assert!(printed.status.success());
    let stored = std::fs::read(scenarios().join("schema.json")).unwrap_or_default();
    assert!(
        printed.stdout == stored,
        "scenarios/schema.json is out of date; renew it: \
         cargo run -p loadgen -- schema > scenarios/schema.json"
    );
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), schema());
}

#[test]
fn every_scenario_of_the_project_names_its_schema_and_keeps_to_it() {
    let (validator, dir) = (validator(), scenarios());
    let mut all = files(&dir, "yaml");
    all.extend(files(&dir.join("shapes"), "yaml"));
    assert!(all.len() > 9, "{all:?}");
    for path in &all {
        let text = std::fs::read_to_string(path).unwrap();
        let modeline = text.lines().next().unwrap_or_default();
        let schema = modeline.strip_prefix("# yaml-language-server: $schema=");
        let schema = schema.unwrap_or_else(|| panic!("{path:?}: {modeline}"));
        let named = path.parent().unwrap().join(schema).canonicalize().unwrap();
        assert_eq!(named, dir.join("schema.json").canonicalize().unwrap(), "{path:?}");
        assert_eq!(complaints(&validator, &text), [""; 0], "{path:?}");
    }
}

#[test]
fn a_new_scenario_has_its_schema_beside_it() {
    let dir = tempdir().unwrap();
    let init = |file: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command.args(["init", file]).current_dir(dir.path()).output().unwrap().status
    };
    assert!(init("first.yaml").success());
    let text = std::fs::read_to_string(dir.path().join("first.yaml")).unwrap();
    let named = text.lines().next().unwrap().split_once("$schema=").unwrap().1;
    let beside = dir.path().join(named);
    assert_eq!(std::fs::read_to_string(&beside).unwrap(), schema());
    assert_eq!(complaints(&validator(), &text), [""; 0]);
    std::fs::write(&beside, "mine").unwrap();
    assert!(init("second.yaml").success());
    assert_eq!(std::fs::read_to_string(&beside).unwrap(), "mine");
}

#[test]
fn what_may_be_written_in_several_ways_is_fine_in_each() {
    let (validator, dir) = (validator(), tempdir().unwrap());
    for (from, to) in [
        ("", ""),
        ("name: launch", "name: 2026"),
        ("name: launch", "name: 발매_1"),
        ("starts_in: 1s", "starts_in: 1.5s"),
        ("starts_in: 1s", "starts_in: 1m30s"),
        ("begin: -500ms", "begin: 0s"),
        ("status: 201", "status: [200, 201, 300-399]"),
        ("status: 201", "status: \"201\""),
        ("{ matches: sold }", "true"),
        ("{ matches: sold }", "7"),
        ("{ matches: sold }", "{ exists: true, above: 1.5 }"),
        ("json: { user: \"{user}\" }", "body: 5"),
        ("path: /confirm", "path: /confirm, query: { a: 1, b: true }"),
        ("run: [[SET, stock", "run: [[SET, 5"),
        ("run: \"INSERT INTO sale VALUES ({coupons})\"", "run: [\"SELECT 1\"]"),
        ("below: 200ms", "above: 1.5s"),
        ("figure: response.p99, of: issued, below: 200ms", "figure: failed.share, below: 0.1%"),
        ("figure: response.p99, of: issued, below: 200ms", "figure: issue_rate, above: 500"),
        ("confirm: { after: 20ms }", "confirm: never"),
        ("confirm: { after: 20ms }", "hang_up: 1s"),
        ("count: 1000", "count: 5, reuse: true"),
        ("targets: [\"http://127.0.0.1:8080\"]", "targets: [\"https://[::1]:1\", \"http://h/\"]"),
        (
            "targets: [\"http://127.0.0.1:8080\"]",
            "spawn: { command: [a, \"{port}\", 5], env: { N: 7, B: true } }",
        ),
    ] {
        let yaml = GOOD.replacen(from, to, 1);
        assert!(from.is_empty() || yaml != GOOD, "{from}");
        assert_eq!(complaints(&validator, &yaml), [""; 0], "{to}");
        let path = dir.path().join("s.yaml");
        std::fs::write(&path, yaml).unwrap();
        Scenario::validate(&path).unwrap_or_else(|e| panic!("{to}: {e}"));
    }
}

/// What the schema refuses, as `loadgen validate` does.
const BROKEN: &[(&str, &str)] = &[
    // Misspelt keys, at every level.
    ("name: launch", "name: launch\nlaod: {}"),
    ("coupons: 100", "coupons: 100\n  cuont: 2"),
    ("  targets:", "  protocl: http1\n  targets:"),
    ("count: 1000", "count: 1000, resue: true"),
    ("  confirm:", "  confrim:"),
    ("expect: 201", "expects: 201"),
    ("method: POST", "methd: POST"),
    ("jwt: {", "jtw: {"),
    ("claims: {", "secrt: x, claims: {"),
    ("code: $.code", "cod: $.code"),
    ("{ matches: sold }", "{ matchs: sold }"),
    ("every: 50ms", "evry: 50ms"),
    ("see: { remaining", "see: { remainin"),
    ("sql: { url", "sql: { ulr"),
    ("redis: { url", "redis: { ulr"),
    ("rate: 500,", "rate: 500, until: 3,"),
    ("over: 10ms", "over: 10ms, to: 5"),
    ("path: / }", "pth: / }"),
    ("weight: 2", "wieght: 2"),
    ("jitter: 0.5", "jiter: 0.5"),
    ("{ after: 20ms }", "{ afer: 20ms }"),
    ("of: issued, b", "off: issued, b"),
    // Missing keys.
    ("name: launch\n", ""),
    ("  starts_in: 1s\n", ""),
    ("path: /sales, ", ""),
    (", is: indeterminate", ""),
    (", rate: 50 ", ""),
    ("on: [busy], ", ""),
    (", below: 200ms", ""),
    ("  targets: [\"http://127.0.0.1:8080\"]\n", ""),
    // Wrong types and values.
    ("coupons: 100", "coupons: many"),
    ("coupons: 100", "coupons: -1"),
    ("coupons: 100", "coupons: 1.5"),
    ("coupons: 100", "coupons: [1]"),
    ("coupons: 100", "coupons: 100\n  restock: maybe"),
    ("coupons: 100", "coupons: 100\n  count: 20000"),
    ("coupons: 100", "coupons: 100\n  precedence: first"),
    ("per_user_limit: 1", "per_user_limit: 2"),
    ("name: launch", "name: a/b"),
    ("starts_in: 1s", "starts_in: 1"),
    ("starts_in: 1s", "starts_in: 3sec"),
    ("starts_in: 1s", "starts_in: 3 s"),
    ("starts_in: 1s", "starts_in: s"),
    ("for: 1s", "for: 0s"),
    ("for: 1s", "for: -1s"),
    ("weight: 2,", "weight: 2, apart: -1s,"),
    ("rate: 50 ", "rate: -50 "),
    ("rate: 50 ", "rate: 2000000 "),
    ("rate: 50 ", "rate: fast "),
    ("requests: 20", "requests: 0"),
    ("connections: 2", "connections: 70000"),
    ("  bursts:", "  spread: by_lot\n  bursts:"),
    ("  bursts:", "  arrivals: even\n  bursts:"),
    ("  targets:", "  protocol: http3\n  targets:"),
    ("  targets:", "  tls: { ca: x, insecure: true }\n  targets:"),
    ("\"http://127.0.0.1:8080\"", "\"ftp://h\""),
    ("\"http://127.0.0.1:8080\"", "\"http://h/path\""),
    ("[\"http://127.0.0.1:8080\"]", "[]"),
    ("targets: [\"http://127.0.0.1:8080\"]", "spawn: { command: [a, b] }"),
    ("targets: [\"http://127.0.0.1:8080\"]", "spawn: { command: [\"{port}\"], instances: 101 }"),
    ("targets: [\"http://127.0.0.1:8080\"]", "spawn: { command: [\"{port}\"], ready: x }"),
    ("method: POST", "method: FETCH"),
    ("{ authorization:", "{ 'a b':"),
    ("status: 201", "status: 99"),
    ("status: 201", "status: 2xx"),
    ("status: 201", "status: { a: 1 }"),
    ("json: { $.error:", "json: { error:"),
    ("code: $.code", "code: code"),
    ("is: issued, code: $", "is: isued, code: $"),
    ("- each: user", "- each: buyer"),
    ("url: \"sqlite:x.db\"", "url: \"oracle://x\""),
    ("url: \"redis://h:1\"", "url: \"http://h\""),
    ("[[SET, stock, \"{coupons}\"]]", "[[]]"),
    ("[[SET, stock", "[[SET, 1.5"),
    ("    - redis: {", "    - request: { path: / }\n      redis: {"),
    ("figure: response.p99", "figure: respone.p99"),
    ("of: issued, b", "of: everybody, b"),
    ("below: 200ms", "below: soon"),
    ("below: 200ms", "below: -1"),
    ("below: 200ms", "below: 1s, above: 1s"),
    ("weight: 2", "weight: 0"),
    ("factor: 2", "factor: 0.5"),
    ("jitter: 0.5", "jitter: 1.5"),
    ("on: [busy]", "on: [bussy]"),
    ("count: 1000", "count: 0"),
    ("count: 1000", "count: 5, file: a.csv"),
];

#[test]
fn what_is_broken_is_refused_by_the_schema_and_by_the_program() {
    let (validator, dir) = (validator(), tempdir().unwrap());
    let path = dir.path().join("s.yaml");
    for (from, to) in BROKEN {
        let yaml = GOOD.replacen(from, to, 1);
        assert_ne!(yaml, GOOD, "{from}");
        assert!(!complaints(&validator, &yaml).is_empty(), "the schema takes {to:?}");
        std::fs::write(&path, &yaml).unwrap();
        assert!(Scenario::validate(&path).is_err(), "the program takes {to:?}");
    }
}
