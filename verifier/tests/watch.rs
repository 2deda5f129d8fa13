//! `verifier watch` on histories that grow, and on thousands of small campaigns at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "stories have ten requests, not more"
)]

#[path = "procedure/generate.rs"]
mod generate;
#[path = "procedure/story.rs"]
mod story;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use contract::campaign::{PerUser, Precedence};
use contract::history::clock::Probe;
use contract::history::stored::{Record, Segment, StoredPromise};
use contract::history::{Completion, Event, Invocation, Kind, jsonl};
use contract::outcome::{Coupon, Doubt, Observation, Outcome};
use serde_json::Value;
use verifier::cli::CheckArgs;

const HEADER: &str = "{\"type\":\"header\",\"format\":\"coupon-history/1\"}\n";
const PROMISE: &str = "{\"type\":\"campaign\",\"campaign\":\"c\",\"coupons\":1,\"starts_at\":\
                       {\"earliest\":0,\"latest\":0},\"per_user\":null}\n";

/// A watch that is under way, and what it tells line by line.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watch {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_verifier"));
        command.args(["watch", "--format", "json"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next event of this kind. Progress is told once a second, so nothing is waited for without end.
    fn until(&mut self, event: &str) -> Value {
        for _ in 0..60 {
            let line = self.lines.next().unwrap_or_else(|| panic!("ended before {event}"));
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if line["event"] == event {
                return line;
            }
        }
        self.child.kill().unwrap();
        panic!("there was no {event}");
    }

    /// Everything that is told from here on but progress, and the exit code.
    fn rest(mut self) -> (i32, Vec<Value>) {
        let lines = self.lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        let told = lines.filter(|line: &Value| line["event"] != "progress").collect();
        (self.child.wait().unwrap().code().unwrap(), told)
    }
}

fn invoke(op: u64, at: i64, key: Option<&'static str>) -> Record<'static> {
    Record::Invoke(Invocation {
        op,
        campaign: "c".into(),
        kind: Kind::Issue,
        at,
        intended: None,
        woken: None,
        target: Some(0),
        user: Some("u".into()),
        key: key.map(Into::into),
        follows: None,
    })
}

fn complete(op: u64, at: i64, outcome: Outcome<'static>) -> Record<'static> {
    Record::Complete(Completion { op, at, accepted: None, outcome, status: None, stamp: None })
}

fn issued(code: &'static str) -> Outcome<'static> {
    Outcome::Issued(Coupon { code: code.into(), seq: None, remaining: None, order: None })
}

/// The control segment of a history with a campaign of so many coupons.
fn control(history: &Path, coupons: u64, per_user: Option<PerUser>) -> Segment {
    std::fs::create_dir_all(history).unwrap();
    let mut control = Segment::create(history, "control").unwrap();
    let promise = StoredPromise {
        campaign: "c".into(),
        coupons,
        starts_at_unix_ns: 0,
        per_user,
        restock: false,
    };
    control.append(&Record::Campaign(promise)).unwrap();
    let probe = Probe { sent: 0, received: 0, stamp: 0, resolution: 0 };
    control.append(&Record::Probe(probe)).unwrap();
    control
}

#[test]
fn a_run_that_is_not_there_yet_is_waited_for_and_its_first_violation_ends_the_watch() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut watch = Watch::start(&["--run", run.to_str().unwrap()]);
    watch.until("waiting");
    let _control = control(&run.join("history"), 1, None);
    watch.until("watching");
    let mut segment = Segment::create(&run.join("history"), "worker-0").unwrap();
    segment.append(&invoke(1, 1_000_000, None)).unwrap();
    segment.append(&complete(1, 2_000_000, Outcome::SoldOut)).unwrap();
    // The only coupon may still be under way.
    segment.append(&invoke(2, 1_500_000, None)).unwrap();
    let seen = |progress: Value| progress["seen"]["sold_out"] == 1;
    while !seen(watch.until("progress")) {}
    segment.append(&invoke(3, 3_000_000, None)).unwrap();
    segment.append(&complete(3, 4_000_000, issued("가"))).unwrap();
    let violation = watch.until("violation");
    assert_eq!(violation["violation"]["check"], "issued-after-sold-out");
    assert_eq!(violation["violation"]["witness"], serde_json::json!([1, 3]));
    let (code, rest) = watch.rest();
    assert_eq!((code, rest), (1, vec![]), "and it is over, though the run is not");
}

fn read(op: u64, at: i64) -> Record<'static> {
    let Record::Invoke(asked) = invoke(op, at, None) else { unreachable!() };
    Record::Invoke(Invocation { kind: Kind::Read, user: None, ..asked })
}

/// Nothing but all requests together shows these, and the run goes on.
#[test]
fn what_only_all_requests_show_is_told_while_the_run_goes_on() {
    let limited = Some(PerUser { limit: 1, precedence: Precedence::AlreadyFirst });
    let ms = |n: i64| n * 1_000_000;
    let saw = |what| Outcome::Read(what);
    let lost = || Outcome::Indeterminate(Doubt::Timeout);
    let lists = vec![
        (invoke(3, ms(1), None), complete(3, ms(9), lost())),
        (invoke(4, ms(1), None), complete(4, ms(9), lost())),
        (read(1, ms(1)), complete(1, ms(2), saw(Observation::Codes(vec!["가".into()])))),
        (read(2, ms(3)), complete(2, ms(4), saw(Observation::Codes(vec!["나".into()])))),
    ];
    // Two were issued between two reads of which the second saw one more than the first.
    let counts = vec![
        (read(1, ms(1)), complete(1, ms(2), saw(Observation::Issued(0)))),
        (invoke(2, ms(3), None), complete(2, ms(4), issued("가"))),
        (invoke(3, ms(3), None), complete(3, ms(4), issued("나"))),
        (read(4, ms(5)), complete(4, ms(6), saw(Observation::Issued(1)))),
    ];
    let holder = vec![(invoke(1, ms(1), None), complete(1, ms(2), Outcome::AlreadyIssued(None)))];
    for (per_user, requests, check) in [
        (None, lists, "contradicting-snapshots"),
        (None, counts, "contradicting-counts"),
        (limited, holder, "unfounded-already-issued"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let _control = control(dir.path(), 3, per_user);
        let mut segment = Segment::create(dir.path(), "worker-0").unwrap();
        let mut watch = Watch::start(&["--history", dir.path().to_str().unwrap()]);
        for (asked, answered) in requests {
            segment.append(&asked).unwrap();
            segment.append(&answered).unwrap();
        }
        assert_eq!(watch.until("violation")["violation"]["check"], check);
        assert_eq!(watch.rest(), (1, vec![]));
    }
}

/// The first attempt under a key is in another segment and was never answered: the coupon that was
/// told after "sold out" may be its own.
#[test]
fn a_late_answer_under_a_key_is_suspected_and_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let one = control(&run.join("history"), 1, None);
    let mut segment = Segment::create(&run.join("history"), "worker-0").unwrap();
    let mut other = Segment::create(&run.join("history"), "worker-1").unwrap();
    other.append(&invoke(1, 500_000, Some("k"))).unwrap();
    segment.append(&invoke(2, 1_000_000, None)).unwrap();
    segment.append(&complete(2, 2_000_000, Outcome::SoldOut)).unwrap();
    segment.append(&invoke(3, 3_000_000, Some("k"))).unwrap();
    segment.append(&complete(3, 4_000_000, issued("가"))).unwrap();
    for segment in [one, segment, other] {
        segment.finish().unwrap();
    }
    let (code, told) = Watch::start(&["--run", run.to_str().unwrap()]).rest();
    assert_eq!((code, told.last().unwrap()["proven"].as_u64()), (3, Some(0)), "{told:?}");
}

#[test]
fn a_file_is_followed_line_by_line_to_its_end() {
    let mut file = tempfile::NamedTempFile::with_suffix(".jsonl").unwrap();
    let mut watch = Watch::start(&["--keep-going", "--history", file.path().to_str().unwrap()]);
    watch.until("watching");
    let lines = [
        HEADER,
        PROMISE,
        "{\"type\":\"invoke\",\"op\":1,\"campaign\":\"c\",\"kind\":\"issue\",\"at\":5}\n",
        "{\"type\":\"complete\",\"op\":1,\"at\":9,\"outcome\":\"issued\",\"code\":\"A\"}\n",
        "{\"type\":\"trailer\",\"invocations\":1,\"completions\":1}\n",
    ];
    for line in &lines[..4] {
        file.write_all(line.as_bytes()).unwrap();
    }
    assert_eq!(watch.until("violation")["violation"]["check"], "malformed-code");
    file.write_all(lines[4].as_bytes()).unwrap();
    let (code, told) = watch.rest();
    assert_eq!((code, told[0]["event"].as_str(), told.len()), (1, Some("ended"), 1));
}

#[test]
fn an_interrupt_is_130() {
    let dir = tempfile::tempdir().unwrap();
    let mut watch = Watch::start(&["--run", dir.path().join("run").to_str().unwrap()]);
    watch.until("waiting");
    let pid = watch.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(watch.rest().0, 130);
}

#[test]
fn what_cannot_be_followed_is_one_line_and_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let packed = file("h.jsonl.gz", &[0x1f, 0x8b, 8, 0, 0]);
    let strange = file("h.jsonl", b"hello\n");
    for (arguments, want) in [
        (["--history", packed.as_str()], "pass the file unpacked"),
        (["--history", strange.as_str()], "h.jsonl:1: column 1"),
        (["--run", strange.as_str()], "not the folder of a run"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_verifier"));
        let output = command.arg("watch").args(arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{error}");
        assert!(error.contains(want), "{error}");
    }
}

/// A step of time in a story: more than a clock drifts in all of it.
const UNIT: i64 = 1_000_000;

/// Writes many small campaigns as one folder of segments, the requests of each in order of time.
fn write_stored(text: &str, dir: &Path) {
    let mut control = Segment::create(dir, "control").unwrap();
    let mut segment = Segment::create(dir, "worker-0").unwrap();
    let mut records: Vec<(i64, u8, Record<'static>)> = Vec::new();
    let mut take = |event: Event<'_>| match event {
        Event::Campaign(p) => {
            let promise = StoredPromise {
                campaign: p.campaign.into_owned().into(),
                coupons: p.coupons,
                starts_at_unix_ns: p.starts_at.earliest * UNIT,
                per_user: p.per_user,
                restock: p.restock,
            };
            control.append(&Record::Campaign(promise)).unwrap();
        }
        Event::Invoke(i) => {
            let owned =
                |text: Option<std::borrow::Cow<'_, str>>| text.map(|t| t.into_owned().into());
            let (campaign, user, key) =
                (i.campaign.into_owned().into(), owned(i.user), owned(i.key));
            let at = i.at * UNIT;
            records.push((at, 0, Record::Invoke(Invocation { campaign, user, key, at, ..i })));
        }
        Event::Complete(c) => {
            let (outcome, at) = (c.outcome.into_owned(), c.at * UNIT);
            records.push((at, 1, Record::Complete(Completion { outcome, at, ..c })));
        }
    };
    jsonl::read_from(text.as_bytes(), Path::new("stories"), &mut take).unwrap();
    records.sort_by_key(|(at, last, _)| (*at, *last));
    records.iter().for_each(|(_, _, record)| segment.append(record).unwrap());
    let probe = Probe { sent: 0, received: 0, stamp: 0, resolution: 0 };
    control.append(&Record::Probe(probe)).unwrap();
    control.finish().unwrap();
    segment.finish().unwrap();
}

fn watched(dir: &Path, read_lag: Duration) -> BTreeMap<usize, BTreeSet<String>> {
    let (dir, lag) = (dir.to_str().unwrap(), read_lag.as_secs_f64().to_string());
    let (_, told) = Watch::start(&["--keep-going", "--read-lag", &lag, "--history", dir]).rest();
    assert!(told.iter().all(|event| event["event"] != "note"), "a witness does not hold");
    let mut found: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for event in told.iter().filter(|event| event["event"] == "violation") {
        let campaign = event["campaign"].as_str().unwrap().parse().unwrap();
        let check = event["violation"]["check"].as_str().unwrap().to_owned();
        found.entry(campaign).or_default().insert(check);
    }
    found
}

/// By the end of a history the watch has proven what `verifier check` proves of it, check by check. It
/// may have proven some of it by a further name before: fewer requests can show it by another rule.
#[test]
fn the_watch_agrees_with_the_check() {
    let mut proven = 0;
    for (first, lag) in [(0, 0), (50_000, 0), (100_000, 17)] {
        let stories: Vec<_> =
            (first..first + 4_000).map(|n| generate::story(n, lag, false)).collect();
        let dir = tempfile::tempdir().unwrap();
        write_stored(&story::write(&stories), dir.path());
        let history = Some(dir.path().to_owned());
        let lag = Duration::from_nanos((lag * UNIT).unsigned_abs());
        let arguments = CheckArgs { history, read_lag: Some(lag), ..CheckArgs::default() };
        let report = verifier::check(&arguments).unwrap();
        let found = watched(dir.path(), lag);
        for (at, judged) in report.campaigns.iter().enumerate() {
            let watched = found.get(&at).cloned().unwrap_or_default();
            let checked: BTreeSet<String> =
                judged.violations().map(|(check, _)| check.to_owned()).collect();
            let missed: Vec<&String> = checked.difference(&watched).collect();
            assert!(missed.is_empty(), "{at}: {missed:?} {:#?}", stories[at]);
            let sound = watched.is_empty() || !checked.is_empty();
            assert!(sound, "{at}: {watched:?} {:#?}", stories[at]);
            proven += watched.len();
        }
    }
    assert!(proven > 1_000, "{proven}: that tests little");
}
