//! The binary as it is used: exit codes, formats, errors, and real stores.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use contract::campaign::{PerUser, Window};
use contract::history::clock::Probe;
use contract::history::jsonl::Writer;
use contract::history::stored::{Record, Segment, StoredPromise};
use contract::history::{Completion, Event, Invocation, Kind, Promise};
use contract::outcome::{Coupon, Doubt, Observation, Outcome};
use contract::run::{Anchor, Run, RunCampaign, RunState, RunTarget};
use serde_json::Value;

const MS: i64 = 1_000_000;

/// A request for a coupon: user, target, sent, answered, outcome.
type Request = (&'static str, u16, i64, i64, Outcome<'static>);

fn issued(code: &'static str) -> Outcome<'static> {
    Outcome::Issued(Coupon { code: code.into(), seq: None, remaining: None, order: None })
}

fn unclear() -> Outcome<'static> {
    Outcome::Indeterminate(Doubt::Timeout)
}

/// A campaign of two coupons that was contested in every way; the second answer was lost.
fn contested() -> Vec<Request> {
    vec![
        ("u1", 0, -MS, 3 * MS, issued("가나1")),
        ("u2", 0, MS, 9 * MS, unclear()),
        ("u3", 1, -2 * MS, MS, Outcome::NotStarted),
        ("u4", 1, 2 * MS, 4 * MS, issued("다라2")),
        ("u5", 0, 6 * MS, 8 * MS, Outcome::SoldOut),
        ("u6", 1, 6 * MS, 8 * MS, Outcome::SoldOut),
    ]
}

/// Both ends of each request.
fn events(requests: &[Request]) -> Vec<Event<'static>> {
    let mut events = Vec::new();
    for (op, (user, target, sent, answered, outcome)) in (1..).zip(requests) {
        events.push(Event::Invoke(Invocation {
            op,
            campaign: "7".into(),
            kind: Kind::Issue,
            at: *sent,
            intended: None,
            woken: None,
            target: Some(*target),
            user: Some((*user).into()),
            key: None,
            follows: None,
        }));
        let outcome = outcome.clone();
        let completion =
            Completion { op, at: *answered, accepted: None, outcome, status: None, stamp: None };
        events.push(Event::Complete(completion));
    }
    events
}

fn write_jsonl(path: &Path, requests: &[Request]) {
    let mut writer = Writer::new(std::fs::File::create(path).unwrap()).unwrap();
    let starts_at = Window { earliest: 0, latest: 100 };
    let per_user: Option<PerUser> = None;
    let promise = Promise { campaign: "7".into(), coupons: 3, starts_at, per_user, restock: false };
    writer.event(&Event::Campaign(promise)).unwrap();
    events(requests).iter().for_each(|e| writer.event(e).unwrap());
    writer.finish().unwrap();
}

fn write_control(history: &Path, probes: &[Probe]) {
    let mut control = Segment::create(history, "control").unwrap();
    let promise = StoredPromise {
        campaign: "7".into(),
        coupons: 3,
        starts_at_unix_ns: 1_000,
        per_user: None,
        restock: false,
    };
    control.append(&Record::Campaign(promise)).unwrap();
    probes.iter().for_each(|p| control.append(&Record::Probe(*p)).unwrap());
    control.finish().unwrap();
}

fn write_run(dir: &Path, requests: &[Request], state: RunState, store: Option<&str>) {
    let history = dir.join("history");
    std::fs::create_dir(&history).unwrap();
    write_control(&history, &[Probe { sent: 0, received: 0, stamp: 1_000, resolution: 0 }]);
    let mut segment = Segment::create(&history, "worker-0").unwrap();
    for event in events(requests) {
        let record = match event {
            Event::Invoke(i) => Record::Invoke(i),
            Event::Complete(c) => Record::Complete(c),
            Event::Campaign(_) => continue,
        };
        segment.append(&record).unwrap();
    }
    segment.finish().unwrap();
    let target = |name: &str| RunTarget { name: name.into(), url: "http://h".into(), pid: None };
    let run = Run {
        format: contract::run::FORMAT.into(),
        scenario: "launch".into(),
        definition: Value::Null,
        seed: 1,
        campaigns: vec![RunCampaign { id: "7".into(), coupons: 3, starts_at_unix_ns: 1_000 }],
        targets: vec![target("api-1"), target("api-2")],
        store: store.map(str::to_owned),
        anchor: Anchor { unix_ns: 0 },
        state,
    };
    run.save(dir).unwrap();
}

/// A row: seq, code, user.
type Row = (i64, &'static str, &'static str);

/// A scenario that says this of reads.
fn write_read_lag(dir: &Path, lag: &str) {
    let definition = serde_json::json!({ "campaign": { "read_lag": lag } });
    Run { definition, ..Run::load(dir).unwrap() }.save(dir).unwrap();
}

fn write_sqlite(path: &Path, counter: i64, rows: &[Row]) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE campaigns(number INTEGER PRIMARY KEY, name, coupons, starts_at_us,
             per_user_limit, issued, created_at_us);
         CREATE TABLE coupons(campaign, seq, code, user NULL, key NULL, issued_at_us,
             PRIMARY KEY(campaign, seq));",
    )
    .unwrap();
    db.execute("INSERT INTO campaigns VALUES (7, 'launch', 3, 1, NULL, ?1, 0)", [counter]).unwrap();
    for (seq, code, user) in rows {
        let values = rusqlite::params![seq, code, user];
        db.execute("INSERT INTO coupons VALUES (7, ?1, ?2, ?3, NULL, 5)", values).unwrap();
    }
}

fn write_redis(url: &str, counter: i64, rows: &[Row]) {
    let mut redis = redis::Client::open(url).unwrap().get_connection().unwrap();
    let mut pipe = redis::pipe();
    for (field, value) in
        [("name", "launch"), ("coupons", "3"), ("starts_at_us", "1"), ("per_user_limit", "")]
    {
        pipe.cmd("HSET").arg("coupon:{7}:campaign").arg(field).arg(value).ignore();
    }
    pipe.cmd("SET").arg("coupon:{7}:issued").arg(counter).ignore();
    for (seq, code, user) in rows {
        let id = format!("{seq}-0");
        let entry = ["code", code, "user", user, "key", "", "at_us", "5"];
        pipe.cmd("XADD").arg("coupon:{7}:ledger").arg(id).arg(&entry).ignore();
        pipe.cmd("HSET").arg("coupon:{7}:codes").arg(code).arg(seq).ignore();
    }
    pipe.query::<()>(&mut redis).unwrap();
}

fn verifier(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verifier"));
    command.args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// Exit code, overall verdict, and the names of the checks that proved something.
fn judged(arguments: &[&str]) -> (i32, String, Vec<String>) {
    let arguments = [&["check", "--format", "json", "--settle", "0.3"], arguments].concat();
    let output = verifier(&arguments);
    let json: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let campaigns = json["campaigns"].as_array().unwrap();
    let found = campaigns.iter().flat_map(|c| c["violations"].as_array().unwrap());
    let mut names: Vec<String> = found.map(|v| v["check"].as_str().unwrap().to_owned()).collect();
    names.dedup();
    (output.status.code().unwrap(), json["verdict"].as_str().unwrap().to_owned(), names)
}

/// A folder, and a history in it.
fn history(requests: &[Request]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h.jsonl");
    write_jsonl(&path, requests);
    (dir, path.display().to_string())
}

fn error_of(arguments: &[&str]) -> String {
    let output = verifier(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(output.stdout.is_empty());
    message
}

#[test]
fn exit_codes_are_the_verdicts() {
    let (_dir, path) = history(&contested());
    assert_eq!(judged(&["--history", &path]), (0, "valid".into(), vec![]));
    let mut late = contested();
    late.push(("u9", 0, 20 * MS, 21 * MS, issued("마바3")));
    let (_dir, path) = history(&late);
    let want = (1, "invalid".into(), vec!["issued-after-sold-out".to_owned()]);
    assert_eq!(judged(&["--history", &path]), want);
    let (_dir, path) = history(&contested()[..2]);
    assert_eq!(judged(&["--history", &path]), (3, "unknown".into(), vec![]));
}

#[test]
fn a_cut_history_is_unknown() {
    let (_dir, path) = history(&contested());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 30]).unwrap();
    assert_eq!(judged(&["--history", &path]).0, 3);
}

#[test]
fn bad_input_is_one_line_and_2() {
    let (dir, path) = history(&contested());
    let folder = dir.path().display().to_string();
    let foreign = dir.path().join("x.db");
    std::fs::write(&foreign, "this is no database at all, not even a bit").unwrap();
    let foreign = format!("sqlite:{}", foreign.display());
    for (arguments, want) in [
        (vec!["--run", "/nowhere"], "/nowhere: no run is there"),
        (vec!["--run", &folder], "run.json"),
        (vec!["--history", "/nowhere.jsonl"], "no such history"),
        (vec!["--history", "/dev/null"], "empty"),
        (vec!["--history", &folder], "control.seg"),
        (vec!["--history", &path, "--campaign", "9"], "it has 7"),
        (vec!["--history", &path, "--store", "mongo:x"], "sqlite:PATH or redis:"),
        (vec!["--history", &path, "--store", "sqlite:/nowhere.db"], "cannot be opened"),
        (vec!["--history", &path, "--store", &foreign], "not a SQLite database"),
        (vec!["--history", &path, "--store", "redis://u:***@h:1/0"], "pass --store"),
        (
            vec!["--history", &path, "--store", "redis://:kept-to-itself@127.0.0.1:1/0"],
            "cannot be reached",
        ),
        (vec!["--histori", &path], "--help"),
        (vec!["--history", &path, "--run", &folder], "cannot be used with"),
    ] {
        let message = error_of(&[vec!["check"], arguments].concat());
        assert!(message.contains(want), "{message} lacks {want}");
        assert!(!message.contains("kept-to-itself"), "{message}");
    }
}

#[test]
fn junit_has_a_case_for_each_check() {
    let (_dir, path) = history(&contested());
    let output = verifier(&["check", "--history", &path, "--format", "junit"]);
    let xml = stdout(&output);
    assert!(xml.starts_with("<?xml"), "{xml}");
    assert_eq!(xml.matches("<testcase ").count(), verifier::check::CHECKS.len());
    assert!(xml.contains("<skipped message=\"no store: pass --store\"/>"), "{xml}");
}

#[test]
fn a_closed_pipe_is_no_panic() {
    use std::process::Stdio;
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/histories/base.jsonl.gz");
    let mut child = Command::new(env!("CARGO_BIN_EXE_verifier"))
        .args(["check", "--format", "json", "--history"])
        .arg(base)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_table_convinces() {
    let mut late = contested();
    late.push(("902114", 0, 20 * MS, 21 * MS, issued("마바3")));
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), &late, RunState::Finished, None);
    let output = verifier(&["check", "--run", &dir.path().display().to_string()]);
    let want = "\
  ✗ issued-after-sold-out: a request sent after \"sold out\" was answered still got a coupon
      A  #5  api-1  user u5      sent +0.006000 s  answered +0.008000 s  sold out
      B  #7  api-1  user 902114  sent +0.020000 s  answered +0.021000 s  issued 마바3
      A comes before B: its answer arrived 12.000 ms before B was sent
      B comes before A: \"sold out\" needs all 3 coupons to be gone first. A contradiction.
      benign if: coupons were given back or added during the run
";
    assert!(stdout(&output).contains(want), "{}", stdout(&output));
    let run = format!("  run {}, scenario launch\n", dir.path().display());
    for want in [&*run, "  starts at 1970-01-01T00:00:00.000001Z\n", "  no store\n"] {
        assert!(stdout(&output).contains(want), "{}", stdout(&output));
    }
    assert!(!stdout(&output).contains('\x1b'), "no colours but on a terminal");
}

#[test]
fn a_run_that_did_not_end_is_unknown() {
    for (state, want) in [(RunState::Running, "running"), (RunState::Interrupted, "interrupted")] {
        let dir = tempfile::tempdir().unwrap();
        write_run(dir.path(), &contested(), state, None);
        let output = verifier(&["check", "--run", &dir.path().display().to_string()]);
        assert_eq!(output.status.code(), Some(3));
        assert!(stdout(&output).contains(want), "{}", stdout(&output));
    }
}

#[test]
fn without_a_place_for_the_start_the_rest_is_still_judged() {
    let mut late = contested();
    late.push(("u9", 0, 20 * MS, 21 * MS, issued("마바3")));
    for (requests, code, want) in
        [(contested(), 3, vec![]), (late, 1, vec!["issued-after-sold-out".to_owned()])]
    {
        let dir = tempfile::tempdir().unwrap();
        write_run(dir.path(), &requests, RunState::Finished, None);
        std::fs::remove_file(dir.path().join("history/control.seg")).unwrap();
        write_control(&dir.path().join("history"), &[]);
        let run = dir.path().display().to_string();
        let (found_code, _, found) = judged(&["--run", &run]);
        assert_eq!((found_code, found), (code, want));
        let output = verifier(&["check", "--run", &run]);
        assert!(stdout(&output).contains("cannot be placed"), "{}", stdout(&output));
    }
}

/// What the store holds, and what has to be found.
const STORES: &[(&str, i64, &[Row], &[&str])] = &[
    ("valid", 3, &[(1, "가나1", "u1"), (2, "다라2", "u4"), (3, "사아3", "u2")], &[]),
    ("lost", 2, &[(1, "가나1", "u1"), (2, "사아3", "u2")], &["lost"]),
    ("phantom", 3, &[(1, "가나1", "u1"), (2, "다라2", "u4"), (3, "사아3", "u77")], &["phantom"]),
    (
        "refused",
        3,
        &[(1, "가나1", "u1"), (2, "다라2", "u4"), (3, "사아3", "u5")],
        &["phantom", "wrong-refusal"],
    ),
    (
        "counter",
        2,
        &[(1, "가나1", "u1"), (2, "다라2", "u4"), (3, "사아3", "u2")],
        &["ledger-mismatch"],
    ),
    ("short", 2, &[(1, "가나1", "u1"), (2, "다라2", "u4")], &["under-issued"]),
];

#[test]
fn sqlite_and_history_together() {
    for (name, counter, rows, want) in STORES {
        let dir = tempfile::tempdir().unwrap();
        write_sqlite(&dir.path().join("coupons.db"), *counter, rows);
        write_run(dir.path(), &contested(), RunState::Finished, Some("sqlite:coupons.db"));
        let (_, _, found) = judged(&["--run", &dir.path().display().to_string()]);
        assert_eq!(found, *want, "{name}");
    }
}

#[test]
fn redis_and_history_together() {
    let (_dir, path) = history(&contested());
    for (name, counter, rows, want) in STORES {
        let redis = e2e::Redis::start();
        write_redis(&redis.url(), *counter, rows);
        let (code, _, found) = judged(&["--history", &path, "--store", &redis.url()]);
        assert_eq!(found, *want, "{name}");
        assert_eq!(code, i32::from(!want.is_empty()), "{name}");
    }
}

#[test]
fn a_cluster_and_a_redis_behind_sentinels_are_read_like_one_server() {
    let (_dir, path) = history(&contested());
    let rows = [(1, "가나1", "u1"), (2, "다라2", "u4"), (3, "사아3", "u2")];
    let (cluster, servers) = (e2e::RedisCluster::start(), e2e::RedisSentinel::start());
    let ruler = cluster.ruler_of("coupon:{7}:issued");
    for (url, place) in [(ruler.url(), cluster.url()), (servers.primary().url(), servers.url())] {
        write_redis(&url, 3, &rows);
        let judge = || judged(&["--history", &path, "--store", &place]);
        assert_eq!(judge(), (0, "valid".into(), vec![]), "{place}");
        let mut redis = redis::Client::open(url).unwrap().get_connection().unwrap();
        redis::cmd("XDEL").arg("coupon:{7}:ledger").arg("2-0").query::<()>(&mut redis).unwrap();
        assert_eq!(judge().0, 1, "{place}");
    }
    let unknown = servers.url().replace("/main", "/other");
    let line = error_of(&["check", "--history", &path, "--store", &unknown]);
    assert!(line.contains("know no primary called \"other\""), "{line}");
}

#[test]
fn a_campaign_that_the_store_does_not_know_is_unknown_and_not_lost() {
    let (_dir, path) = history(&contested());
    let redis = e2e::Redis::start();
    let (code, _, found) = judged(&["--history", &path, "--store", &redis.url()]);
    assert_eq!((code, found), (3, vec![]));
    let output = verifier(&["check", "--history", &path, "--store", &redis.url()]);
    assert!(stdout(&output).contains("has no campaign 7"), "{}", stdout(&output));
}

#[test]
fn help_names_the_exit_codes() {
    let output = verifier(&["check", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    for want in ["runs/latest", "3  unknown", "redis://localhost"] {
        assert!(stdout(&output).contains(want), "{}", stdout(&output));
    }
    let output = verifier(&["checks"]);
    verifier::check::CHECKS.iter().for_each(|c| assert!(stdout(&output).contains(c.rule)));
}

/// The run of a store whose campaign starts at so many µs and has so many coupons.
fn beside_another(starts_at_us: i64, coupons: i64) -> (i32, Vec<String>, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coupons.db");
    write_sqlite(&path, 1, &[(1, "하하9", "u9")]);
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute("UPDATE campaigns SET starts_at_us = ?1, coupons = ?2", [starts_at_us, coupons])
        .unwrap();
    drop(db);
    write_run(dir.path(), &contested(), RunState::Finished, Some("sqlite:coupons.db"));
    let run = dir.path().display().to_string();
    let (code, _, found) = judged(&["--run", &run]);
    let table = verifier(&["check", "--settle", "0.3", "--run", &run]);
    (code, found, stdout(&table).to_owned())
}

#[test]
fn the_campaign_of_another_run_proves_nothing() {
    let (code, found, said) = beside_another(2, 3);
    assert_eq!((code, found), (3, vec![]));
    assert!(said.contains("another campaign"), "{said}");
    assert!(said.contains("1970-01-01T00:00:00.000002Z"), "{said}");
    let (code, found, said) = beside_another(1, 4);
    assert_eq!((code, found), (3, vec![]));
    assert!(said.contains("has 4 coupons, the run's 3: another campaign"), "{said}");
    assert!(beside_another(1, 3).1.contains(&"lost".to_owned()), "the same one");
}

#[test]
fn a_store_without_a_code_of_the_history_is_another_one() {
    let (dir, path) = history(&contested());
    let store = dir.path().join("a.db");
    write_sqlite(&store, 1, &[(1, "하하9", "u9")]);
    let url = format!("sqlite:{}", store.display());
    let (code, _, found) = judged(&["--history", &path, "--store", &url]);
    assert_eq!((code, found), (3, vec![]));
}

#[test]
fn a_store_that_only_the_run_names_may_be_gone() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), &contested(), RunState::Finished, Some("sqlite:/nowhere.db"));
    let run = dir.path().display().to_string();
    let (code, _, found) = judged(&["--run", &run]);
    assert_eq!((code, found), (3, vec![]));
    error_of(&["check", "--run", &run, "--store", "sqlite:/nowhere.db"]);
}

#[test]
fn a_segment_that_was_removed_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), &contested(), RunState::Finished, None);
    let run = dir.path().display().to_string();
    assert_eq!(judged(&["--run", &run]).0, 0);
    let summary = dir.path().join("summary.json");
    std::fs::write(&summary, r#"{"accounting":{"recorded":6}}"#).unwrap();
    assert_eq!(judged(&["--run", &run]).0, 0);
    std::fs::write(&summary, r#"{"accounting":{"recorded":7}}"#).unwrap();
    assert_eq!(judged(&["--run", &run]).0, 3);
    let output = verifier(&["check", "--run", &run]);
    assert!(stdout(&output).contains("counts 7 requests, its history holds 6"));
    std::fs::remove_file(&summary).unwrap();
    std::fs::remove_file(dir.path().join("history/worker-0.seg")).unwrap();
    let output = verifier(&["check", "--run", &run]);
    assert!(stdout(&output).contains("no segment of requests"), "{}", stdout(&output));
}

#[test]
fn nothing_of_a_server_reaches_the_terminal_raw() {
    let mut hostile = contested();
    hostile.push(("u\u{202e}9", 0, 20 * MS, 21 * MS, issued("가\u{200b}\x1b[2J")));
    let (_dir, path) = history(&hostile);
    let output = verifier(&["check", "--history", &path]);
    assert!(stdout(&output).contains("issued 가\\u{200b}\\u{1b}[2J"), "{}", stdout(&output));
    let hidden = |c: char| matches!(c, '\u{202e}' | '\u{200b}' | '\x1b');
    assert!(!stdout(&output).contains(hidden), "{}", stdout(&output));
}

#[test]
fn the_scenario_of_a_run_says_how_its_store_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let db = rusqlite::Connection::open(dir.path().join("shop.db")).unwrap();
    db.execute_batch(
        "CREATE TABLE claims(code TEXT, who TEXT);
         INSERT INTO claims VALUES ('가나1', 'u1'), ('다라2', 'u4'), ('사아3', 'u2');",
    )
    .unwrap();
    write_run(dir.path(), &contested(), RunState::Finished, Some("sqlite:shop.db"));
    let read_as = |store: Value| {
        let mut run = Run::load(dir.path()).unwrap();
        run.definition = serde_json::json!({ "store": store });
        run.save(dir.path()).unwrap();
    };
    let query = "SELECT code, who AS \"user\" FROM claims WHERE '7' = {campaign}";
    read_as(serde_json::json!({ "settle": {}, "read": [{ "is": "ledger", "sql": query }] }));
    let run = dir.path().display().to_string();
    assert_eq!(judged(&["--run", &run]), (0, "valid".into(), vec![]));
    db.execute("DELETE FROM claims WHERE who = 'u4'", []).unwrap();
    assert!(judged(&["--run", &run]).2.contains(&"lost".to_owned()));
    let url = "redis://:***@127.0.0.1:1";
    let reading = serde_json::json!({ "is": "issued", "url": url, "redis": "a" });
    read_as(serde_json::json!({ "settle": {}, "read": [reading] }));
    assert_eq!(judged(&["--run", &run]).0, 3, "nobody asked for this store");
    let output = verifier(&["check", "--run", &run]);
    assert!(stdout(&output).contains("write it as a variable"), "{}", stdout(&output));
}

/// Nothing had been issued, by a read that was sent 2 ms after a coupon was told.
fn write_stale_read(dir: &Path) {
    let mut segment = Segment::create(&dir.join("history"), "worker-1").unwrap();
    let (intended, woken, target, user, key, follows) = (None, None, None, None, None, None);
    let (op, campaign, kind, at) = (100, "7".into(), Kind::Read, 6 * MS);
    let asked = Invocation { op, campaign, kind, at, intended, woken, target, user, key, follows };
    segment.append(&Record::Invoke(asked)).unwrap();
    let outcome = Outcome::Read(Observation::Issued(0));
    let (at, accepted, status, stamp) = (7 * MS, None, None, None);
    let told = Completion { op, at, accepted, outcome, status, stamp };
    segment.append(&Record::Complete(told)).unwrap();
    segment.finish().unwrap();
}

#[test]
fn reads_may_lag_as_far_as_the_scenario_says_and_the_option_overrides_it() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), &contested(), RunState::Finished, None);
    write_stale_read(dir.path());
    let run = dir.path().to_str().unwrap();
    let judged = |options: &[&str]| verifier(&[&["check", "--run", run], options].concat());
    let code = |options: &[&str]| judged(options).status.code();
    assert_eq!((code(&[]), code(&["--read-lag", "0.01"])), (Some(1), Some(0)));
    write_read_lag(dir.path(), "10ms");
    assert_eq!((code(&[]), code(&["--read-lag", "0.001"])), (Some(0), Some(1)));
    assert!(String::from_utf8_lossy(&judged(&[]).stdout).contains("reads may lag by 10"));
    write_read_lag(dir.path(), "soon");
    let refused = judged(&[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("campaign.read_lag") && said.contains("\"soon\""), "{said}");
}
