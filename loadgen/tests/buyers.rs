//! What buyers do besides asking once, and everything else that a run sends beside its plan: each
//! request is one on the wire, one in the history, and accounted for.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/ended.rs"]
mod ended;
#[path = "support/history.rs"]
mod history;
#[path = "support/standins.rs"]
mod standins;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::history::Kind;
use contract::outcome::{Doubt, Failure, Observation, Outcome};
use history::Operation;
use serde_json::{Value, json};
use standins::{Reaction, Seen, StandIns};

/// Twenty arrivals in 200 ms, from 50 ms before the start on.
const SCENARIO: &str = "name: s
campaign: { coupons: 10, starts_in: 500ms }
system: { targets: ['http://127.0.0.1:1'] }
mapping:
  request:
    path: /claim
    headers: { x-user: '{user}', idempotency-key: '{key}', x-op: '{n}' }
  outcomes:
    - { status: 200, is: issued, code: body }
    - { status: 208, is: already_issued, code: body }
    - { status: 409, is: sold_out }
    - { status: 425, is: not_started }
    - { status: 503, is: busy }
load:
  begin: -50ms
  stages: [{ for: 200ms, rate: 100 }]
";
const MS: i64 = 1_000_000;

struct Ran {
    output: Output,
    dir: tempfile::TempDir,
}

impl Ran {
    fn code(&self) -> i32 {
        self.output.status.code().unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8([&self.output.stdout[..], &self.output.stderr[..]].concat()).unwrap()
    }

    /// The plan was carried out, and nothing speaks against its figures but a slow test machine.
    fn assert_sound(&self) {
        ended::assert_sound(Some(self.code()), &self.text());
    }

    fn summary(&self) -> Value {
        let text = std::fs::read(self.dir.path().join("run/summary.json"));
        serde_json::from_slice(&text.unwrap_or_else(|e| panic!("{e}\n{}", self.text()))).unwrap()
    }

    fn count(&self, key: &str) -> u64 {
        self.summary()["accounting"][key].as_u64().unwrap()
    }

    fn operations(&self) -> Vec<Operation> {
        history::operations(&self.dir.path().join("run"))
    }

    /// The attempts of each user, one after the other.
    fn attempts(&self) -> Vec<Vec<Operation>> {
        let mut users: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
        for operation in self.operations().into_iter().filter(|(i, _)| i.kind == Kind::Issue) {
            let user = operation.0.user.as_deref().unwrap().to_owned();
            users.entry(user).or_default().push(operation);
        }
        users.into_values().collect()
    }

    /// Every arrival went somewhere, and each attempt is one that the system saw.
    fn adds_up(&self, seen: u64) {
        let accounting = &self.summary()["accounting"];
        let n = |key: &str| accounting[key].as_u64().unwrap();
        let there = n("planned") + n("follow_ups");
        assert_eq!(there, n("sent") + n("dropped") + n("cancelled"), "{}", self.text());
        assert_eq!((&accounting["holds"], n("sent")), (&json!(true), seen), "{}", self.text());
    }
}

fn prepared(system: &StandIns, set: &[&str]) -> (Command, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.yaml"), SCENARIO).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.current_dir(dir.path()).args(["run", "s.yaml", "--out", "run"]);
    system.urls.iter().for_each(|url| _ = command.args(["--target", url]));
    set.iter().for_each(|set| _ = command.args(["--set", set]));
    (command, dir)
}

fn run(system: &StandIns, set: &[&str]) -> Ran {
    let (mut command, dir) = prepared(system, set);
    Ran { output: ended::in_time(&mut command), dir }
}

/// Runs for long, and is interrupted once so many requests have come.
fn interrupted(system: &StandIns, set: &[&str], requests: usize) -> Ran {
    let (mut command, dir) = prepared(system, set);
    command.args(["--set", "load.stages.0.for=60s", "--set", "campaign.starts_in=3s"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    system.wait_for(requests);
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    Ran { output: child.wait_with_output().unwrap(), dir }
}

fn gone(_: &Seen) -> Reaction {
    Reaction::Answer(409, String::new())
}

fn busy(_: &Seen) -> Reaction {
    Reaction::Answer(503, String::new())
}

#[test]
fn a_buyer_with_several_tabs_meets_every_instance() {
    for (key, keys) in [("new", 3), ("same", 1)] {
        let system = StandIns::start(3, gone);
        let set = format!("buyers=[{{requests: 3, apart: 20ms, key: {key}}}]");
        let ran = run(&system, &[&set]);
        ran.assert_sound();
        assert_eq!(ran.count("planned"), 60);
        ran.adds_up(system.claims().len() as u64);
        assert_eq!((ran.count("follow_ups"), ran.count("repeats")), (0, 40));
        let attempts = ran.attempts();
        assert_eq!(attempts.len(), 20);
        for mine in attempts {
            let first = &mine.iter().find(|(i, _)| i.follows.is_none()).unwrap().0;
            let mut due: Vec<i64> =
                mine.iter().map(|(i, _)| i.intended.unwrap() - first.intended.unwrap()).collect();
            due.sort_unstable();
            assert_eq!(due, [0, 20 * MS, 40 * MS], "the plan is exact");
            let set = |of: fn(&Operation) -> String| mine.iter().map(of).collect::<HashSet<_>>();
            assert_eq!(set(|(i, _)| i.op.to_string()).len(), 3);
            assert_eq!(set(|(i, _)| i.target.unwrap().to_string()).len(), 3);
            assert_eq!(set(|(i, _)| i.key.as_deref().unwrap().to_owned()).len(), keys);
            assert_eq!(mine.iter().filter(|(i, _)| i.follows == Some(first.op)).count(), 2);
        }
        // What the history says is what was on the wire.
        let ops: HashMap<u64, Operation> =
            ran.operations().into_iter().map(|o| (o.0.op, o)).collect();
        for seen in system.claims() {
            let (i, _) = &ops[&seen.header("x-op").parse().unwrap()];
            assert_eq!(i.target, Some(u16::try_from(seen.target).unwrap()));
            assert_eq!(i.user.as_deref(), Some(seen.user()));
            assert_eq!(i.key.as_deref(), Some(seen.header("idempotency-key")));
        }
    }
}

#[test]
fn some_click_twice() {
    let system = StandIns::start(2, gone);
    let double = "{requests: 2, apart: 1ms, key: same, to: same_target}";
    let ran = run(&system, &[&format!("buyers=[{{weight: 3}}, {double}]")]);
    let (twice, once): (Vec<_>, Vec<_>) =
        ran.attempts().into_iter().partition(|mine| mine.len() == 2);
    assert!(once.iter().all(|mine| mine.len() == 1) && twice.len() + once.len() == 20);
    assert!(!twice.is_empty() && twice.len() < once.len(), "{} {}", twice.len(), once.len());
    assert_eq!(ran.count("planned"), 20 + twice.len() as u64);
    ran.adds_up(system.claims().len() as u64);
    for mine in twice {
        assert_eq!((&mine[0].0.key, mine[0].0.target), (&mine[1].0.key, mine[1].0.target));
    }
}

/// Campaigns by the id that their set-up gave them: a correct dispenser each.
#[derive(Clone, Default)]
struct Campaigns(Arc<Mutex<HashMap<String, Dispenser>>>);

struct Dispenser {
    left: u64,
    starts: DateTime<Utc>,
    holders: HashMap<String, String>,
}

/// Set-up and request for [`Campaigns`].
const SETUP: [&str; 2] = [
    "mapping.setup=[{request: {path: /campaigns, json: {name: '{name}', \
     coupons: '{coupons:int}', starts: '{starts_at_ms:int}'}}, capture: {campaign: $.id}}]",
    "mapping.request.path=/claim/{campaign}",
];

impl Campaigns {
    fn react(&self, seen: &Seen) -> Reaction {
        let mut campaigns = self.0.lock().unwrap();
        let Some(id) = seen.path.strip_prefix("/claim/") else {
            let id = format!("c{}", campaigns.len() + 1);
            let starts = DateTime::from_timestamp_millis(seen.json["starts"].as_i64().unwrap());
            let left = seen.json["coupons"].as_u64().unwrap();
            let (starts, holders) = (starts.unwrap(), HashMap::new());
            campaigns.insert(id.clone(), Dispenser { left, starts, holders });
            return Reaction::Answer(201, json!({ "id": id }).to_string());
        };
        let dispenser = campaigns.get_mut(id).unwrap();
        if Utc::now() < dispenser.starts {
            return Reaction::Answer(425, String::new());
        }
        if let Some(code) = dispenser.holders.get(seen.user()) {
            return Reaction::Answer(208, code.clone());
        }
        if dispenser.left == 0 {
            return Reaction::Answer(409, String::new());
        }
        dispenser.left -= 1;
        let code = format!("{id}-{}", dispenser.left);
        dispenser.holders.insert(seen.user().to_owned(), code.clone());
        Reaction::Answer(200, code)
    }

    fn start(targets: usize) -> (Self, StandIns) {
        let campaigns = Self::default();
        let theirs = campaigns.clone();
        (campaigns, StandIns::start(targets, move |seen| theirs.react(seen)))
    }
}

#[test]
fn a_page_that_is_refreshed_until_it_opens_gives_one_coupon() {
    let (_, system) = Campaigns::start(2);
    let spam = [
        "load.stages=[]",
        "load.begin=-300ms",
        "load.bursts=[{at: -300ms, requests: 5, over: 0s}]",
        "buyers=[{requests: 20, apart: 30ms}]",
    ];
    let ran = run(&system, &[&spam[..], &SETUP[..]].concat());
    ran.assert_sound();
    assert_eq!(ran.count("planned"), 100);
    ran.adds_up(system.claims().len() as u64);
    let attempts = ran.attempts();
    assert_eq!(attempts.len(), 5);
    for mine in attempts {
        let with = |wanted: fn(&Outcome<'_>) -> bool| {
            mine.iter().filter(|(_, c)| wanted(&c.outcome)).count()
        };
        let early = with(|o| *o == Outcome::NotStarted);
        let issued = with(|o| matches!(o, Outcome::Issued(_)));
        let again = with(|o| matches!(o, Outcome::AlreadyIssued(_)));
        assert_eq!((issued, early + again), (1, 19));
        assert!(early > 0 && again > 0);
    }
}

#[test]
fn who_waits_in_vain_asks_again_with_either_key() {
    for key in ["same", "new"] {
        let system = StandIns::start(2, |seen| match seen.before {
            0 => Reaction::Silence,
            _ => Reaction::Answer(200, "code".into()),
        });
        let retry =
            format!("buyers=[{{retry: [{{on: [timeout], at_most: 1, after: 5ms, key: {key}}}]}}]");
        let ran = run(&system, &["load.timeout=600ms", &retry]);
        ran.assert_sound();
        assert_eq!(ran.count("follow_ups"), 20);
        ran.adds_up(system.claims().len() as u64);
        assert_eq!(system.claims().len(), 40);
        for mine in ran.attempts() {
            let [(first, given_up), (second, _)] = &mine[..] else { panic!("{mine:?}") };
            assert_eq!(given_up.outcome, Outcome::Indeterminate(Doubt::Timeout));
            assert_eq!(second.intended.unwrap(), given_up.at + 5 * MS);
            assert_eq!((first.follows, second.follows), (None, Some(first.op)));
            assert_eq!(first.key == second.key, key == "same");
            assert_ne!(first.target, second.target);
        }
    }
}

/// The waits before each retry, of each user: from the end of the attempt before.
fn waits(ran: &Ran) -> Vec<Vec<i64>> {
    let gap = |pair: &[Operation]| pair[1].0.intended.unwrap() - pair[0].1.at;
    ran.attempts().iter().map(|mine| mine.windows(2).map(gap).collect()).collect()
}

#[test]
fn waits_grow_up_to_the_cap() {
    let system = StandIns::start(2, busy);
    let retry = "buyers=[{retry: [{on: [busy], at_most: 3, after: 10ms, factor: 2}]}]";
    let ran = run(&system, &[retry]);
    ran.assert_sound();
    assert_eq!(ran.count("follow_ups"), 60);
    ran.adds_up(80);
    assert_eq!(system.claims().len(), 80);
    let waits = waits(&ran);
    assert_eq!(waits, vec![vec![10 * MS, 20 * MS, 40 * MS]; 20]);
    assert_eq!(ran.summary()["failures"]["busy"], 80);
    for mine in ran.attempts() {
        let first = mine[0].0.op;
        assert!(mine[1..].iter().all(|(i, _)| i.follows == Some(first)));
        assert!(mine.iter().all(|(_, c)| c.outcome == Outcome::Failed(Failure::Busy)));
    }
}

#[test]
fn jitter_shortens_waits_by_the_seed() {
    let retry = "buyers=[{retry: [{on: [busy], at_most: 1, after: 40ms, jitter: 0.5}]}]";
    let ran = run(&StandIns::start(1, busy), &[retry]);
    let waits: Vec<i64> = waits(&ran).concat();
    assert_eq!(waits.len(), 20);
    assert!(waits.iter().all(|wait| (20 * MS..=40 * MS).contains(wait)), "{waits:?}");
    assert!(waits.iter().collect::<HashSet<_>>().len() > 15, "{waits:?}");
}

#[test]
fn retry_after_is_honoured_by_those_who_listen() {
    let system = StandIns::start(1, |seen| match seen.before {
        0 => Reaction::With(503, ("retry-after", "1"), String::new()),
        _ => Reaction::Answer(409, String::new()),
    });
    let retry = "retry: [{on: [busy], at_most: 2, after: 10ms";
    let ran =
        run(&system, &[&format!("buyers=[{{{retry}}}]}}, {{{retry}, retry_after: false}}]}}]")]);
    let waits: HashSet<Vec<i64>> = waits(&ran).into_iter().collect();
    assert_eq!(waits, HashSet::from([vec![1_000 * MS], vec![10 * MS]]), "{}", ran.text());
    ran.adds_up(40);
}

#[test]
fn only_the_outcomes_that_were_named_are_retried() {
    let system = StandIns::start(1, gone);
    let ran = run(&system, &["buyers=[{retry: [{on: [busy, indeterminate], at_most: 5}]}]"]);
    assert_eq!(ran.count("follow_ups"), 0);
    let ran = run(
        &system,
        &["buyers=[{retry: [{on: [busy], at_most: 9}, {on: [sold_out], at_most: 1}]}]"],
    );
    assert_eq!(ran.count("follow_ups"), 20);
}

#[test]
fn who_hangs_up_was_heard_and_spoils_nothing() {
    let system = StandIns::start(1, |_| Reaction::Silence);
    let ran = run(&system, &["buyers=[{hang_up: 50ms}]"]);
    ran.assert_sound();
    system.wait_for(20);
    ran.adds_up(system.claims().len() as u64);
    assert_eq!(ran.summary()["doubts"], json!({"hung up, as planned": 20}));
    for (i, c) in ran.operations() {
        assert_eq!(c.outcome, Outcome::Indeterminate(Doubt::HungUp));
        assert!(c.at - i.woken.unwrap() >= 50 * MS);
    }
}

#[test]
fn whatever_buyers_do_an_interrupted_run_adds_up() {
    let clicks = "buyers=[{requests: 3, apart: 2s}]";
    let retries = "buyers=[{retry: [{on: [busy], at_most: 9, after: 50ms}, \
                   {on: [sold_out], at_most: 1, after: 1h}]}]";
    let hang_ups = "buyers=[{hang_up: 100ms}]";
    let poll = "mapping.poll={request: {method: GET, path: '/ticket'}, every: 20ms, \
                outcomes: [{status: 200, is: pending}, {status: 409, is: sold_out}]}";
    let accepted = "mapping.outcomes=[{status: 503, is: accepted}]";
    let moody = |seen: &Seen| match (seen.path.as_str(), seen.before % 2) {
        ("/ticket", 0) => Reaction::Answer(200, String::new()),
        (_, 0) => busy(seen),
        _ => gone(seen),
    };
    let silent = |_: &Seen| Reaction::Silence;
    for (set, react) in [
        (&[clicks][..], Box::new(gone) as Box<dyn Fn(&Seen) -> Reaction + Send + Sync>),
        (&[retries], Box::new(moody)),
        (&[hang_ups], Box::new(silent)),
        (&[accepted, poll], Box::new(moody)),
    ] {
        let system = StandIns::start(2, react);
        let ran = interrupted(&system, set, 30);
        assert_eq!(ran.code(), 130, "{}", ran.text());
        system.wait_for(usize::try_from(ran.count("sent")).unwrap());
        ran.adds_up(system.claims().len() as u64);
        assert!(ran.count("cancelled") > 5_000, "{}", ran.text());
        let retried = set[0] == retries;
        assert_eq!(ran.count("follow_ups") > 0, retried, "{}", ran.text());
        let recorded = ran.operations().len();
        assert_eq!(ran.count("recorded"), recorded as u64);
        assert_eq!(ran.operations().len(), system.seen().len(), "{}", ran.text());
    }
}

const READS: &str = "mapping.reads=[
  {request: {method: GET, path: /state}, see: {issued: $.issued}},
  {request: {method: GET, path: /state}, see: {remaining: $.left}},
  {request: {method: GET, path: /state}, see: {codes: '$.coupons[*].code'}}]";

#[test]
fn reads_are_recorded_as_what_they_saw() {
    let told: Arc<Mutex<HashSet<i64>>> = Arc::default();
    let tell = Arc::clone(&told);
    let system = StandIns::start(2, move |seen| {
        if seen.path == "/state" {
            assert_eq!(seen.user(), "", "nobody asks for a coupon here");
            let n = i64::try_from(seen.before).unwrap();
            tell.lock().unwrap().insert(n);
            let codes: Vec<Value> = (0..n).map(|n| json!({ "code": n })).collect();
            let state = json!({"issued": n.to_string(), "left": -n, "coupons": codes});
            return Reaction::Answer(200, state.to_string());
        }
        gone(seen)
    });
    let ran = run(&system, &[READS, "load.reads=60", "load.stages.0.for=1s"]);
    ran.assert_sound();
    ran.adds_up(100);
    let reads: Vec<Operation> =
        ran.operations().into_iter().filter(|(i, _)| i.kind == Kind::Read).collect();
    // 60 a second, from the first arrival to the last.
    assert!((59..=60).contains(&reads.len()), "{}", reads.len());
    let mut saw = HashSet::new();
    let mut kinds = [0; 3];
    for (i, c) in &reads {
        assert_eq!((&i.user, &i.key, i.follows), (&None, &None, None));
        let Outcome::Read(observation) = &c.outcome else { panic!("{c:?}") };
        let (kind, n) = match observation {
            Observation::Issued(n) => (0, *n),
            Observation::Remaining(n) => (1, -*n),
            Observation::Codes(codes) => {
                assert!(codes.iter().enumerate().all(|(n, code)| *code == n.to_string()));
                (2, i64::try_from(codes.len()).unwrap())
            }
        };
        kinds[kind] += 1;
        saw.insert(n);
    }
    assert_eq!(saw, *told.lock().unwrap());
    assert!(kinds.iter().max().unwrap() - kinds.iter().min().unwrap() <= 1, "{kinds:?}");
    let targets: HashSet<_> = reads.iter().map(|(i, _)| i.target).collect();
    assert_eq!(
        (targets.len(), ran.summary()["reads"]["sent"].as_u64()),
        (2, Some(reads.len() as u64))
    );
}

#[test]
fn a_read_that_shows_nothing_is_in_doubt() {
    let system = StandIns::start(1, gone);
    let ran = run(&system, &[READS, "load.reads=50"]);
    let reads = ran.operations().into_iter().filter(|(i, _)| i.kind == Kind::Read);
    let outcomes: Vec<Outcome<'_>> = reads.map(|(_, c)| c.outcome).collect();
    assert!(!outcomes.is_empty());
    assert!(
        outcomes.iter().all(|o| *o == Outcome::Indeterminate(Doubt::Unreadable)),
        "{outcomes:?}"
    );
}

/// Each campaign has four arrivals for two coupons.
fn many_campaigns(set: &[&str]) -> (Ran, Campaigns, StandIns) {
    let (campaigns, system) = Campaigns::start(2);
    let load = [
        "campaign.coupons=2",
        "load.begin=20ms",
        "load.stages.0.for=100ms",
        "load.stages.0.rate=40",
    ];
    let ran = run(&system, &[&load[..], &SETUP[..], set].concat());
    ran.assert_sound();
    (ran, campaigns, system)
}

fn each_is_exact(ran: &Ran, campaigns: &Campaigns, count: usize) {
    let campaigns = campaigns.0.lock().unwrap();
    assert_eq!(campaigns.len(), count);
    assert!(campaigns.values().all(|c| c.left == 0 && c.holders.len() == 2));
    let operations = ran.operations();
    assert_eq!(operations.len(), 4 * count);
    let mut issued: HashMap<&str, usize> = HashMap::new();
    for (i, c) in &operations {
        if let Outcome::Issued(coupon) = &c.outcome {
            let (id, _) = coupon.code.split_once('-').unwrap();
            assert_eq!(id, i.campaign, "the answer belongs to the campaign that was asked");
            *issued.entry(id).or_default() += 1;
        }
    }
    assert!(issued.len() == count && issued.values().all(|n| *n == 2));
    let set = |of: fn(&Operation) -> String| operations.iter().map(of).collect::<HashSet<_>>();
    assert_eq!(set(|(i, _)| i.op.to_string()).len(), 4 * count);
    assert_eq!(set(|(i, _)| i.user.as_deref().unwrap().to_owned()).len(), 4 * count);
    assert_eq!(set(|(i, _)| i.key.as_deref().unwrap().to_owned()).len(), 4 * count);
}

#[test]
fn two_hundred_campaigns_side_by_side() {
    let (ran, campaigns, system) = many_campaigns(&["campaign.count=200", "campaign.starts_in=4s"]);
    ran.adds_up(system.claims().len() as u64);
    assert_eq!(ran.count("planned"), 800);
    each_is_exact(&ran, &campaigns, 200);
    let starts: HashSet<_> = campaigns.0.lock().unwrap().values().map(|c| c.starts).collect();
    assert_eq!(starts.len(), 1);
}

#[test]
fn two_hundred_campaigns_one_after_another() {
    let set = ["campaign.count=200", "campaign.apart=7ms", "campaign.starts_in=4s"];
    let (ran, campaigns, system) = many_campaigns(&set);
    ran.adds_up(system.claims().len() as u64);
    each_is_exact(&ran, &campaigns, 200);
    let mut starts: Vec<_> = campaigns.0.lock().unwrap().values().map(|c| c.starts).collect();
    starts.sort_unstable();
    assert!(starts.windows(2).all(|w| (w[1] - w[0]).num_milliseconds() == 7));
    // Each has the same plan, from its own start on.
    let mut dues: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (i, _) in ran.operations() {
        let number = i.campaign.trim_start_matches('c').parse::<i64>().unwrap() - 1;
        let due = i.intended.unwrap() - number * 7 * MS;
        dues.entry(i.campaign.into_owned()).or_default().push(due);
    }
    dues.values_mut().for_each(|due| due.sort_unstable());
    assert_eq!(dues.values().collect::<HashSet<_>>().len(), 1);
}

#[test]
fn campaigns_that_cannot_be_told_apart_are_refused_in_one_line() {
    let system = StandIns::start(1, |_| Reaction::Answer(201, r#"{"id": 7}"#.into()));
    let ran = run(&system, &[&SETUP[..], &["campaign.count=2"]].concat());
    let text = String::from_utf8(ran.output.stderr.clone()).unwrap();
    assert_eq!((ran.code(), text.lines().count()), (2, 1), "{text}");
    assert!(text.contains("two campaigns have the id \"7\""), "{text}");
    assert!(system.claims().is_empty());
}

/// The most attempts under way at once at each target.
fn overlap(operations: &[Operation]) -> u64 {
    let at_once = |(i, _): &Operation| {
        operations
            .iter()
            .filter(|(j, c)| j.target == i.target && j.at <= i.at && i.at <= c.at)
            .count()
    };
    operations.iter().map(at_once).max().unwrap_or(0) as u64
}

#[test]
fn connections_are_warm_before_the_load_and_no_more_follow() {
    let system = StandIns::start(2, |seen| match seen.path.as_str() {
        "/warm" => Reaction::Answer(204, String::new()),
        _ => gone(seen),
    });
    let warm = "load.warm_up={connections: 6, rate: 300, path: /warm}";
    let ran = run(&system, &[warm, "campaign.starts_in=1s"]);
    ran.assert_sound();
    let seen = system.seen();
    let begins = seen.iter().position(|s| s.path == "/claim").unwrap();
    for target in 0..2 {
        let proofs = seen[..begins].iter().filter(|s| s.target == target).count();
        assert_eq!(proofs, 6, "each connection was proven alive, before the load");
    }
    assert_eq!((seen[begins].connections, seen.len() - begins), (12, 20));
    let needed = overlap(&ran.operations()).saturating_sub(6) * 2;
    assert!(system.connections() <= 12 + needed, "{}", system.connections());
    assert_eq!(ran.operations().len(), 20, "they are no part of the history");
    ran.adds_up(20);
}

#[test]
fn a_load_thread_has_warm_connections_to_every_target() {
    let system = StandIns::start(2, |seen| match seen.path.as_str() {
        "/warm" => Reaction::Answer(204, String::new()),
        _ => gone(seen),
    });
    // Two threads, where there are two cores: for a moment there are 8,000 arrivals a second.
    let set = [
        "load.warm_up={connections: 2, rate: 300, path: /warm}",
        "load.stages=[{for: 600ms, rate: 20}, {for: 1ms, rate: 0, to: 8000}]",
        "load.spread=random",
        "campaign.starts_in=1s",
    ];
    let ran = run(&system, &set);
    ran.adds_up(16);
    let claims = system.claims();
    assert_eq!((claims[0].connections, claims[11].connections), (4, 4), "{}", ran.text());
}

#[test]
fn a_saturating_load_is_as_much_as_its_connections_carry() {
    let system =
        StandIns::start(2, |_| Reaction::Late(Duration::from_millis(5), 409, String::new()));
    let saturate = "load.saturate={connections: 4, for: 400ms}";
    let ran = run(&system, &["load.stages=[]", saturate, READS, "load.reads=20"]);
    ran.assert_sound();
    let claims = system.claims();
    ran.adds_up(claims.len() as u64);
    // Who was answered asks again, however slow the machine is.
    assert!(claims.len() > 4, "{}", claims.len());
    let attempts: Vec<Operation> =
        ran.operations().into_iter().filter(|(i, _)| i.kind == Kind::Issue).collect();
    assert!(attempts.iter().all(|(i, _)| i.intended.is_none() && i.follows.is_none()));
    // Two connections to each target, and one request at a time on each of them.
    assert_eq!(overlap(&attempts), 2);
    let users: HashSet<_> = attempts.iter().map(|(i, _)| &i.user).collect();
    assert_eq!(users.len(), attempts.len());
    let reads = system.seen().len() - claims.len();
    assert!((7..=8).contains(&reads), "{reads}");
    assert!(system.most_at_once() <= 6, "{}", system.most_at_once());
}

#[test]
fn a_silent_target_is_given_up_in_time_while_others_keep_their_connections_busy() {
    let asked = AtomicU64::new(0);
    let system = StandIns::start(3, move |seen| {
        // It falls silent once it has answered over each of its connections.
        match seen.target == 0 && asked.fetch_add(1, Ordering::Relaxed) >= 10 {
            true => Reaction::Silence,
            false => Reaction::Late(Duration::from_millis(5), 409, String::new()),
        }
    });
    // Two of the connections lead to the silent one, each beside one of the same load thread that does not.
    let saturate = "load.saturate={connections: 4, for: 2s}";
    let ran = run(&system, &["load.stages=[]", saturate, "load.timeout=100ms"]);
    let late = Outcome::Indeterminate(Doubt::Timeout);
    let silent = ran.operations().into_iter().filter(|(_, c)| c.outcome == late).count();
    assert!(silent > 2, "a connection asks again once it was given up: {silent}");
}

#[test]
fn answers_that_were_not_understood_are_shown() {
    let system = StandIns::start(1, |seen| match seen.header("x-op").ends_with('7') {
        true => Reaction::Answer(502, "<html>bad".into()),
        false => Reaction::Answer(418, r#"{"teapot": true}"#.into()),
    });
    let ran = run(&system, &[]);
    assert_eq!(ran.code(), 3, "{}", ran.text());
    let text = ran.text();
    assert!(text.contains("not understood: 18 × 418 {\"teapot\": true}\n"), "{text}");
    assert!(text.contains("not understood: 2 × 502 <html>bad\n"), "{text}");
}
