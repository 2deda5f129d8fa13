//! What asks: loadgen, and redis-benchmark; and the verifier, which says what a launch was like.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contract::history::Event;
use contract::outcome::Outcome;
use serde_json::Value;

use super::parts::{Server, Store, Subject};
use super::table::median;

/// Connections of everything that asks as fast as it can. So many ask that a step has somebody to be shared
/// with: of 50 no more than ten would ever wait at one of five processes.
pub(crate) const CONNECTIONS: u32 = 250;
/// The rate of a launch, requests a second.
pub(crate) const RATE: u32 = 1_000;
/// The reference's step.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../server/src/store/redis/issue.lua");
/// How PostgreSQL's tables are read, for the verifier.
const POSTGRES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/postgres.yaml");

/// What came of asking as fast as it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Coupons a second.
    pub(crate) rate: f64,
    /// Processor time of the servers for each, microseconds.
    pub(crate) cpu_us: f64,
    /// The same of the store's own processes.
    pub(crate) store_us: Option<f64>,
    /// Coupons of one step of the store.
    pub(crate) shared: Option<f64>,
    /// From asking to the answer with a coupon, microseconds; none where too few got one, as on a disk that stands
    /// still.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
}

/// Asks the subject over [`CONNECTIONS`] for so long.
pub(crate) fn saturate(subject: &Subject, time: Duration) -> Sample {
    let dir = tempfile::tempdir().unwrap();
    let load = format!("saturate: {{ connections: {CONNECTIONS}, for: {}ms }}", time.as_millis());
    let (before, steps) = (subject.cpu(), subject.steps());
    let there = subject.store.as_ref().map(|_| subject.issued());
    let summary = run(&scenario(subject, &load), dir.path());
    let after = subject.cpu();
    let issued = figure(&summary, "/outcomes/issued");
    if let Some(there) = there {
        // A coupon that is told again costs less than a new one.
        let new = (subject.issued() - there) as f64;
        assert!(new >= issued, "{issued} answers with a coupon, but {new} coupons");
    }
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / issued;
    Sample {
        rate: issued / figure(&summary, "/seconds"),
        cpu_us: each(after.0 - before.0),
        store_us: after.1.zip(before.1).map(|(after, before)| each(after.saturating_sub(before))),
        shared: subject.steps().zip(steps).map(|(after, before)| issued / (after - before)),
        p50_us: seen(&summary, "/times/response_of_issued/p50_us"),
        p99_us: seen(&summary, "/times/response_of_issued/p99_us"),
    }
}

/// The subject's campaign is there already; all else is the reference's interface. Users and keys are
/// others each time.
fn scenario(subject: &Subject, load: &str) -> String {
    static RUNS: AtomicU64 = AtomicU64::new(1);
    let seed = RUNS.fetch_add(1, Ordering::Relaxed);
    format!(
        "name: bench\nseed: {seed}\ncampaign: {{ coupons: 100000000, starts_in: 300ms }}\n\
         system: {{ targets: {} }}\nmapping:\n  request:\n    method: POST\n    path: {}\n\
         \x20   headers: {{ idempotency-key: \"{{key}}\" }}\n    json: {{ user: \"{}\" }}\n\
         \x20 outcomes:\n  - {{ status: 201, json: {{ $.code: {{ exists: true }} }}, is: issued, \
         code: $.code, seq: $.seq, remaining: $.remaining }}\n\
         load: {{ begin: 0s, {load} }}\n",
        targets(&subject.servers),
        subject.path,
        subject.user,
    )
}

fn targets(servers: &[Server]) -> String {
    let urls = servers.iter().map(|server| format!("'http://127.0.0.1:{}'", server.port));
    format!("[{}]", urls.collect::<Vec<_>>().join(", "))
}

/// Runs a scenario to its end. Its summary; its folder is `run` in `dir`.
fn run(scenario: &str, dir: &Path) -> Value {
    std::fs::write(dir.join("bench.yaml"), scenario).unwrap();
    let mut loadgen = Command::new(e2e::binary("loadgen"));
    loadgen.current_dir(dir).args(["run", "bench.yaml", "--out", "run"]);
    let Output { status, stderr, .. } = loadgen.output().unwrap();
    // 3: it was its own bottleneck, which is the very purpose of a saturating run.
    let text = String::from_utf8_lossy(&stderr);
    assert!(matches!(status.code(), Some(0 | 3)), "{status}: {text}");
    serde_json::from_slice(&std::fs::read(dir.join("run/summary.json")).unwrap()).unwrap()
}

fn seen(summary: &Value, at: &str) -> Option<f64> {
    summary.pointer(at).and_then(Value::as_f64)
}

fn figure(summary: &Value, at: &str) -> f64 {
    seen(summary, at).unwrap_or_else(|| panic!("no {at} in the summary: {}", summary["doubts"]))
}

/// What came of a launch at [`RATE`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch {
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    /// Processor time of the servers and of the store for each request, microseconds.
    pub(crate) cpu_us: f64,
    pub(crate) store_us: Option<f64>,
    /// From the start to the first answer with a coupon, and how well the start is known.
    pub(crate) first_us: f64,
    pub(crate) uncertainty_us: f64,
    pub(crate) verdict: Verdict,
}

/// What the verifier said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid,
    /// Nothing was wrong, but the launch was not dense enough to prove it.
    Unknown,
    Invalid,
}

/// A launch over all servers of the subject, from a second before its start to a second after its last
/// coupon. A few ask in the very moment of the start: without them nobody could tell what it was like.
pub(crate) fn launch(subject: &Subject, time: Duration) -> Launch {
    let dir = tempfile::tempdir().unwrap();
    let store = subject.store.as_ref().unwrap();
    let text = format!(
        "name: launch\ncampaign: {{ coupons: {}, starts_in: 2s, per_user_limit: 1 }}\n\
         system: {{ store: '{}', targets: {} }}\n\
         load:\n  begin: -1s\n  stages: [{{ for: {}s, rate: {RATE} }}]\n\
         \x20 bursts: [{{ at: -5ms, requests: 20, over: 10ms }}]\n",
        (time.as_secs() - 1) * u64::from(RATE),
        store.url(),
        targets(&subject.servers),
        time.as_secs() + 1,
    );
    let before = subject.cpu();
    let summary = run(&(text + &mapping(store)), dir.path());
    let after = subject.cpu();
    let sent = figure(&summary, "/accounting/sent");
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / sent;
    Launch {
        p50_us: seen(&summary, "/times/response_of_issued/p50_us"),
        p99_us: seen(&summary, "/times/response_of_issued/p99_us"),
        cpu_us: each(after.0 - before.0),
        store_us: after.1.zip(before.1).map(|(after, before)| each(after.saturating_sub(before))),
        first_us: figure(&summary, "/launch/start_delay_us"),
        uncertainty_us: figure(&summary, "/launch/start_uncertainty_us"),
        verdict: verdict(dir.path()),
    }
}

/// How the verifier reads a store that it does not know by itself.
fn mapping(store: &Store) -> String {
    match store {
        Store::Sqlite(_) | Store::Redis(_) => String::new(),
        Store::Postgres(_) => {
            let scenario = std::fs::read_to_string(POSTGRES).unwrap();
            let at = scenario.find("\nstore:").unwrap();
            scenario[at..].to_owned()
        }
    }
}

fn verdict(dir: &Path) -> Verdict {
    let mut verifier = Command::new(e2e::binary("verifier"));
    let output = verifier.args(["check", "--run"]).arg(dir.join("run")).output().unwrap();
    match output.status.code() {
        Some(0) => Verdict::Valid,
        Some(3) => Verdict::Unknown,
        Some(1) => {
            eprintln!("{}", String::from_utf8_lossy(&output.stdout));
            Verdict::Invalid
        }
        _ => panic!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)),
    }
}

/// Latency of those that got a coupon, from when they were due, in each third of an open load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overload {
    /// Requests a second, and coupons.
    pub(crate) asked: f64,
    pub(crate) rate: f64,
    /// Medians, microseconds.
    pub(crate) thirds: [f64; 3],
}

/// Asks a subject at a rate that it cannot carry.
pub(crate) fn overload(subject: &Subject, rate: u32, time: Duration) -> Overload {
    let dir = tempfile::tempdir().unwrap();
    let seconds = time.as_secs();
    let load = format!("timeout: 5s, stages: [{{ for: {seconds}s, rate: {rate} }}]");
    let summary = run(&scenario(subject, &load), dir.path());
    let mut due = std::collections::HashMap::new();
    let mut latencies = Vec::new();
    contract::history::read(&dir.path().join("run/history"), &mut |event| match event {
        Event::Invoke(i) => drop(i.intended.map(|at| due.insert(i.op, at))),
        Event::Complete(c) if matches!(c.outcome, Outcome::Issued(_)) => {
            latencies.extend(due.get(&c.op).map(|due| (*due, c.at - due)));
        }
        Event::Campaign(_) | Event::Complete(_) => {}
    })
    .unwrap();
    let begin = latencies.iter().map(|(due, _)| *due).min().unwrap_or(0);
    let length = i64::try_from(time.as_nanos()).unwrap();
    let third = |n: i64| {
        let within = latencies.iter().filter(|(due, _)| (*due - begin) * 3 / length == n);
        median(within.map(|(_, latency)| *latency as f64 / 1e3)).unwrap_or(f64::NAN)
    };
    Overload {
        asked: f64::from(rate),
        rate: figure(&summary, "/outcomes/issued") / figure(&summary, "/seconds"),
        thirds: [third(0), third(1), third(2)],
    }
}

/// Calls a second of the server's own script, each for one request with a user and a key of its own, as
/// redis-benchmark makes them: no server, no HTTP, no answer that anybody looks at.
pub(crate) fn script_calls(redis: &e2e::Redis, path: &str, calls: u32) -> f64 {
    let port = redis.port().to_string();
    let script = std::fs::File::open(SCRIPT).unwrap();
    let mut load = Command::new("redis-cli");
    load.args(["-p", &port, "-x", "SCRIPT", "LOAD"]).stdin(script);
    let sha = output(&mut load);
    let campaign = path.split('/').nth(2).unwrap();
    let parts = ["campaign", "issued", "ledger", "codes", "users", "keys"];
    let keys = parts.map(|part| format!("coupon:{{{campaign}}}:{part}"));
    let mut bench = Command::new("redis-benchmark");
    bench.args(["-p", &port, "-c", &CONNECTIONS.to_string(), "-n", &calls.to_string()]);
    bench.args(["--csv", "-r", "2000000000", "EVALSHA", sha.trim(), "6"]).args(keys);
    // The number is twelve digits, so all is as long as what loadgen sends.
    let (user, key) = ("u000__rand_int__", "00000000-0000-4000-8000-__rand_int__");
    let csv = output(bench.args([user, user, key, "가가가a__rand_int__"]));
    let row = csv.lines().last().unwrap();
    let rate = row.rsplit("\",\"").nth(6).unwrap_or_else(|| panic!("no rate in {row:?}"));
    rate.parse().unwrap_or_else(|_| panic!("no rate in {row:?}"))
}

fn output(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}; it comes with Redis"));
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}
