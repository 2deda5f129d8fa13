//! Every arrival is accounted for, whatever the system does: it resets, stalls, is gone, answers
//! nonsense, or the run is interrupted. The system here is a stand-in that counts what reaches it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/ended.rs"]
mod ended;

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use contract::run::{Run, RunState};
use contract::wire::{self, NewCampaign, Problem, ProblemCode, Status};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

/// What the stand-in does with a request for a coupon.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Says sold out.
    Refuses,
    /// Reads the request and closes the connection.
    Resets,
    /// Never answers.
    Stalls,
    /// Answers what no rule knows.
    Babbles,
    /// Answers 500.
    Fails,
}

/// How far the stand-in's clock is ahead of ours, seconds.
static AHEAD_S: i64 = 3_600;

/// A system that does one thing, and counts. Its clock is an hour ahead.
struct StandIn {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    _runtime: tokio::runtime::Runtime,
}

impl StandIn {
    fn start(manner: Manner) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        runtime.spawn(serve(listener, manner, Arc::clone(&requests)));
        Self { address, requests, _runtime: runtime }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn requests(&self) -> u64 {
        self.requests.load(SeqCst)
    }
}

async fn serve(listener: TcpListener, manner: Manner, requests: Arc<AtomicU64>) {
    while let Ok((stream, _)) = listener.accept().await {
        let requests = Arc::clone(&requests);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, manner, Arc::clone(&requests)));
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    manner: Manner,
    requests: Arc<AtomicU64>,
) -> std::io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let whole = |status: u16, body: String| {
        let now = (Utc::now() + TimeDelta::seconds(AHEAD_S)).to_rfc3339();
        let response = Response::builder().status(status).header("server-time", now);
        let response = response.body(Full::from(body));
        Ok(response.unwrap())
    };
    match (&head.method, head.uri.path()) {
        (&Method::POST, "/campaigns") => {
            let new: NewCampaign = serde_json::from_slice(&body).unwrap();
            whole(201, serde_json::to_string(&campaign(new)).unwrap())
        }
        (&Method::GET, _) => {
            // A clock that takes its time to answer, so that a set-up takes longer than nothing.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            let new = NewCampaign {
                name: "s".into(),
                coupons: 1,
                starts_at: Utc::now(),
                per_user_limit: None,
            };
            whole(200, serde_json::to_string(&campaign(new)).unwrap())
        }
        _ => {
            requests.fetch_add(1, SeqCst);
            match manner {
                Manner::Refuses => {
                    let problem = Problem::new(ProblemCode::SoldOut, "");
                    whole(409, serde_json::to_string(&problem).unwrap())
                }
                Manner::Resets => Err(std::io::ErrorKind::ConnectionReset.into()),
                Manner::Stalls => std::future::pending().await,
                Manner::Babbles => whole(200, "hello".into()),
                Manner::Fails => whole(500, "oops".into()),
            }
        }
    }
}

fn campaign(new: NewCampaign) -> wire::Campaign {
    wire::Campaign {
        id: "1".into(),
        name: new.name,
        status: Status::Scheduled,
        coupons: new.coupons,
        issued: 0,
        remaining: new.coupons,
        starts_at: new.starts_at,
        per_user_limit: None,
        opened_at: None,
        now: Utc::now() + TimeDelta::seconds(AHEAD_S),
    }
}

const SCENARIO: &str = "name: s
campaign: { coupons: 10, starts_in: 300ms }
system: { targets: ['http://127.0.0.1:1'] }
load:
  begin: -100ms
  stages: [{ for: 500ms, rate: 200 }]
  timeout: 300ms
";

struct Outcome {
    output: Output,
    dir: tempfile::TempDir,
}

impl Outcome {
    fn code(&self) -> i32 {
        self.output.status.code().unwrap()
    }

    fn text(&self) -> String {
        ended::text(&self.output)
    }

    fn summary(&self) -> Value {
        let path = self.dir.path().join("run/summary.json");
        let text = std::fs::read(path).unwrap_or_else(|e| panic!("{e}\n{}", self.text()));
        serde_json::from_slice(&text).unwrap()
    }

    fn count(&self, key: &str) -> u64 {
        self.summary()["accounting"][key].as_u64().unwrap()
    }

    fn holds(&self) -> bool {
        self.summary()["accounting"]["holds"].as_bool().unwrap()
    }
}

fn loadgen(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.current_dir(dir);
    command
}

fn prepared(target: &str, set: &[&str]) -> (Command, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.yaml"), SCENARIO).unwrap();
    let mut command = loadgen(dir.path());
    command.args(["run", "s.yaml", "--out", "run", "--target", target]);
    for assignment in set {
        command.args(["--set", assignment]);
    }
    (command, dir)
}

fn run(target: &str, set: &[&str]) -> Outcome {
    let (mut command, dir) = prepared(target, set);
    Outcome { output: ended::in_time(&mut command), dir }
}

#[test]
fn a_refusing_system_is_a_sound_run() {
    let system = StandIn::start(Manner::Refuses);
    let outcome = run(&system.url(), &[]);
    ended::assert_sound(Some(outcome.code()), &outcome.text());
    assert_eq!(outcome.summary()["outcomes"]["sold_out"], 100);
    assert_eq!(
        (outcome.count("planned"), outcome.count("sent"), system.requests()),
        (100, 100, 100)
    );
    assert!(outcome.holds());
    assert!(outcome.text().contains("planned 100 = sent 100 + dropped 0"), "{}", outcome.text());
}

#[test]
fn the_clock_that_counts_is_the_systems_own() {
    let outcome = run(&StandIn::start(Manner::Refuses).url(), &[]);
    let lag = outcome.summary()["times"]["lag"]["p50_us"].as_f64().unwrap();
    assert!(lag < 100_000.0, "the plan was kept although the system's clock is an hour ahead");
}

#[test]
fn a_start_that_is_past_already_is_refused() {
    let set = ["campaign.starts_in=0s", "load.begin=0s"];
    let system = StandIn::start(Manner::Refuses);
    let (mut command, _dir) = prepared(&system.url(), &set);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = ended::text(&output);
    assert!(text.contains("the first arrival would be late"), "{text}");
}

/// Runs loadgen from a shell that limits it first.
fn limited(limits: &str, system: &StandIn, set: &[&str]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.yaml"), SCENARIO).unwrap();
    let mut command = Command::new("sh");
    command.current_dir(dir.path()).arg("-c").arg(format!("{limits}; exec \"$@\"")).arg("sh");
    command.arg(env!("CARGO_BIN_EXE_loadgen"));
    command.args(["run", "s.yaml", "--out", "run", "--target", &system.url()]);
    for assignment in set {
        command.args(["--set", assignment]);
    }
    Outcome { output: ended::in_time(&mut command), dir }
}

#[test]
fn a_lack_of_sockets_is_our_own_failure() {
    let system = StandIn::start(Manner::Stalls);
    let outcome = limited("ulimit -n 40", &system, &["load.timeout=5s"]);
    assert_eq!(outcome.code(), 3, "{}", outcome.text());
    assert!(outcome.text().contains("found no socket left on the load host"), "{}", outcome.text());
    assert!(outcome.holds());
}

#[test]
fn a_full_disk_ends_the_run_with_every_answer_recorded() {
    let system = StandIn::start(Manner::Refuses);
    // One window of the history fits, a second does not.
    let limits = "trap '' XFSZ; ulimit -f 8320";
    let set = ["load.stages.0.rate=6000", "load.stages.0.for=60s"];
    let outcome = limited(limits, &system, &set);
    assert_eq!(outcome.code(), 2, "{}", outcome.text());
    assert!(
        outcome.text().contains("loadgen: the history cannot be written"),
        "{}",
        outcome.text()
    );
    assert!(outcome.holds(), "{}", outcome.text());
    // A busy machine refuses a connection now and then; nothing else may differ.
    let (sent, seen) = (outcome.count("sent"), system.requests());
    assert!(seen <= sent - outcome.count("failed"), "{seen}: {}", outcome.text());
    assert!(seen >= outcome.count("decided"), "{seen}: {}", outcome.text());
    assert_eq!(Run::load(&outcome.dir.path().join("run")).unwrap().state, RunState::Failed);
    assert_eq!(outcome.summary()["gaps"].as_array().unwrap().len(), 0);
}

#[test]
fn a_reset_is_indeterminate_and_never_sent_again() {
    let system = StandIn::start(Manner::Resets);
    let outcome = run(&system.url(), &[]);
    assert_eq!(outcome.count("indeterminate"), 100);
    assert_eq!(system.requests(), 100, "one request for each attempt, key or no key");
    assert!(outcome.holds());
}

#[test]
fn a_stalled_system_times_out_and_holds_nobody_up() {
    let system = StandIn::start(Manner::Stalls);
    let outcome = run(&system.url(), &[]);
    assert_eq!(outcome.summary()["doubts"]["timeout"], 100);
    assert_eq!(system.requests(), 100);
    assert!(outcome.holds());
}

#[test]
fn above_the_limit_arrivals_are_dropped_and_the_run_is_unknown() {
    let system = StandIn::start(Manner::Stalls);
    let outcome = run(&system.url(), &["load.max_in_flight=7", "load.timeout=5s"]);
    assert_eq!((outcome.count("sent"), outcome.count("dropped")), (7, 93));
    assert!(outcome.holds());
    assert_eq!(outcome.code(), 3);
    assert!(
        outcome.text().contains("93 of 100 attempts that were due were dropped"),
        "{}",
        outcome.text()
    );
}

#[test]
fn a_target_that_is_gone_means_failed() {
    let system = StandIn::start(Manner::Refuses);
    let dead = format!("http://127.0.0.1:{}", e2e::free_port());
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.yaml"), SCENARIO).unwrap();
    let mut command = loadgen(dir.path());
    command.args(["run", "s.yaml", "--out", "run", "--target", &system.url(), "--target", &dead]);
    let outcome = Outcome { output: ended::in_time(&mut command), dir };
    assert_eq!(outcome.summary()["failures"]["not connected"], 50, "{}", outcome.text());
    assert_eq!((outcome.count("decided"), outcome.count("failed")), (50, 50));
    assert!(outcome.holds());
}

#[test]
fn an_answer_that_no_rule_matches_fails_the_run() {
    let outcome = run(&StandIn::start(Manner::Babbles).url(), &[]);
    assert_eq!(outcome.summary()["doubts"]["unclassified answer"], 100);
    assert_eq!(outcome.code(), 3);
    assert!(outcome.text().contains("100 answers match no rule"), "{}", outcome.text());
}

#[test]
fn a_server_error_is_indeterminate() {
    let outcome = run(&StandIn::start(Manner::Fails).url(), &[]);
    assert_eq!(outcome.summary()["doubts"]["server error"], 100);
    assert!(outcome.holds());
}

/// Starts a long run, waits until requests arrive, and signals it.
fn interrupted(system: &StandIn, signals: &[&str]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.yaml"), SCENARIO.replace("500ms", "60s")).unwrap();
    let mut command = loadgen(dir.path());
    command.args(["run", "s.yaml", "--out", "run", "--target", &system.url()]);
    command.args(["--set", "load.timeout=60s", "--set", "campaign.starts_in=3s"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    ended::wait_until(&mut child, || system.requests() >= 20);
    for signal in signals {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([*signal, &pid]).status().unwrap().success());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Outcome { output: child.wait_with_output().unwrap(), dir }
}

#[test]
fn ctrl_c_keeps_a_whole_partial_run() {
    let system = StandIn::start(Manner::Refuses);
    let outcome = interrupted(&system, &["-INT"]);
    assert_eq!(outcome.code(), 130, "{}", outcome.text());
    assert!(outcome.holds() && outcome.count("cancelled") > 10_000, "{}", outcome.text());
    assert_eq!(outcome.count("sent"), system.requests());
    let run = Run::load(&outcome.dir.path().join("run")).unwrap();
    assert_eq!(run.state, RunState::Interrupted);
}

#[test]
fn a_second_ctrl_c_gives_up_what_is_under_way() {
    let outcome = interrupted(&StandIn::start(Manner::Stalls), &["-INT", "-INT"]);
    assert_eq!(outcome.code(), 130);
    assert_eq!(outcome.summary()["doubts"]["given up"], outcome.count("sent"));
    assert!(outcome.holds());
}

#[test]
fn a_killed_run_leaves_every_invocation() {
    let system = StandIn::start(Manner::Stalls);
    let outcome = interrupted_hard(&system);
    let mut invocations = 0;
    let path = outcome.path().join("run/history");
    let integrity = contract::history::read(&path, &mut |e| {
        invocations += u64::from(matches!(e, contract::history::Event::Invoke(_)));
    })
    .unwrap();
    assert!(invocations >= system.requests(), "{invocations} of {}", system.requests());
    assert!(integrity.gaps.iter().any(|g| g.contains("no end mark")), "{:?}", integrity.gaps);
}

fn interrupted_hard(system: &StandIn) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.yaml"), SCENARIO.replace("500ms", "60s")).unwrap();
    let mut command = loadgen(dir.path());
    command.args(["run", "s.yaml", "--out", "run", "--target", &system.url()]);
    command.args(["--set", "campaign.starts_in=3s"]);
    let mut child = command.spawn().unwrap();
    ended::wait_until(&mut child, || system.requests() >= 20);
    child.kill().unwrap();
    child.wait().unwrap();
    dir
}

#[test]
fn what_cannot_be_run_is_said_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("s.yaml", SCENARIO);
    write("typo.yaml", &SCENARIO.replace("coupons", "cuopons"));
    write(
        "spawn.yaml",
        &SCENARIO.replace(
            "targets: ['http://127.0.0.1:1']",
            "spawn: { command: [no-such-program, '{port}'] }",
        ),
    );
    write(
        "ends.yaml",
        &SCENARIO.replace(
            "targets: ['http://127.0.0.1:1']",
            "spawn: { command: [sh, -c, 'echo no luck {port}; exit 7'] }",
        ),
    );
    std::fs::create_dir(dir.path().join("full")).unwrap();
    write("full/file", "");
    std::fs::write(dir.path().join("kept.jsonl"), "precious").unwrap();
    for (arguments, want) in [
        (&["export", "nowhere", "--out", "kept.jsonl"][..], "loadgen: nowhere/history: No such"),
        (&["run"], "loadgen: the following required arguments were not provided: <SCENARIO> (see"),
        (&["run", "missing.yaml"], "loadgen: missing.yaml: No such file"),
        (
            &["run", "typo.yaml"],
            "loadgen: typo.yaml:2:13: campaign: unknown key `cuopons`; did you mean",
        ),
        (&["run", "s.yaml", "--set", "x=1"], "loadgen: --set x=1: unknown key `x`"),
        (&["run", "s.yaml", "--target", "ftp://x"], "loadgen: --target: found \"ftp://x\""),
        (&["run", "s.yaml", "--out", "full"], "loadgen: full is not empty"),
        (
            &["run", "s.yaml"],
            "loadgen: the campaign cannot be created: mapping.setup[0]: http://127.0.0.1:1/",
        ),
        (&["run", "spawn.yaml"], "loadgen: api-1 ended before it was ready (exit status: 2)"),
        (&["run", "ends.yaml"], "loadgen: api-1 ended before it was ready (exit status: 7)"),
        (&["export", "nowhere"], "loadgen: nowhere/history: No such file"),
    ] {
        let output = loadgen(dir.path()).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.starts_with(want), "\n  {text}\nlacks\n  {want}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("kept.jsonl")).unwrap(), "precious");
    let odd = loadgen(dir.path()).arg("run").arg(std::ffi::OsStr::from_bytes(b"\xff")).output();
    assert_eq!(odd.unwrap().status.code(), Some(2), "a name that is no text is no panic");
}

#[test]
fn an_exported_history_reads_like_the_stored_one() {
    let outcome = run(&StandIn::start(Manner::Refuses).url(), &[]);
    let export = |arguments: &[&str]| {
        let output = loadgen(outcome.dir.path()).arg("export").args(arguments).output().unwrap();
        assert!(output.status.success());
    };
    export(&["run", "--out", "h.jsonl"]);
    export(&["run", "--out", "h.jsonl.gz"]);
    let read = |name: &str| {
        let mut events = Vec::new();
        let path = outcome.dir.path().join(name);
        let integrity =
            contract::history::read(&path, &mut |e| events.push(format!("{e:?}"))).unwrap();
        assert_eq!(integrity.gaps, Vec::<String>::new());
        events
    };
    let stored = read("run/history");
    assert_eq!(stored.len(), 201);
    assert_eq!(stored, read("h.jsonl"));
    assert_eq!(stored, read("h.jsonl.gz"));
}
