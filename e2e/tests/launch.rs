//! Whole launches: five real servers, the load generator and the verifier, as a user runs them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use contract::run::{Run, RunTarget};
use serde_json::Value;

/// Launches share the machine's cores: one at a time, so that none is judged by another's load.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How often a launch is tried on a machine that is too slow for its load.
const ATTEMPTS: usize = 4;

/// A shorter launch with the same phases, for what does not need the long one.
const SHORT: [&str; 6] = [
    "campaign.coupons=2000",
    "campaign.starts_in=1s",
    "load.begin=-500ms",
    "load.stages.0.for=500ms",
    "load.stages.1.for=3s",
    "load.stages.2.for=1s",
];

struct Launch {
    run: PathBuf,
    _dir: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Launch {
    fn new() -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        Self { run: dir.path().join("run"), _dir: dir, _turn: turn }
    }

    fn loadgen(&self, scenario: &str, set: &[&str], more: &[&str]) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut command = Command::new(e2e::binary("loadgen"));
        command.arg("run").arg(root.join("scenarios").join(scenario)).arg("--out").arg(&self.run);
        for assignment in set {
            command.args(["--set", assignment]);
        }
        command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A launch under a load that was the planned one. A machine that was busy with something else for
    /// a while says so, which is no fault of the launch: again, a few times.
    fn drive(&self, scenario: &str, set: &[&str], more: &[&str]) {
        self.drive_while(scenario, set, more, |_| ());
    }

    /// The same, while something happens to it.
    fn drive_while(
        &self,
        scenario: &str,
        set: &[&str],
        more: &[&str],
        happens: impl Fn(&mut Child),
    ) {
        for _ in 0..ATTEMPTS {
            let mut child = self.loadgen(scenario, set, more).spawn().unwrap();
            happens(&mut child);
            let output = child.wait_with_output().unwrap();
            if output.status.success() {
                return;
            }
            let text = text(&output);
            assert!(is_slow(output.status.code(), &text), "loadgen: {text}");
            eprintln!("{text}");
            _ = std::fs::remove_dir_all(&self.run);
        }
        panic!("this machine was too slow for the load, {ATTEMPTS} times");
    }

    /// The verifier's exit code and its JSON.
    fn verify(&self, more: &[&str]) -> (i32, Value) {
        let mut command = Command::new(e2e::binary("verifier"));
        command.arg("check").arg("--run").arg(&self.run).args(["--format", "json"]).args(more);
        let output = command.output().unwrap();
        let json = serde_json::from_slice(&output.stdout);
        (output.status.code().unwrap(), json.unwrap_or_else(|e| panic!("{e}: {}", text(&output))))
    }

    fn summary(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.run.join("summary.json")).unwrap()).unwrap()
    }

    fn targets(&self) -> Vec<RunTarget> {
        Run::load(&self.run).unwrap().targets
    }
}

/// Whether the run says nothing but that this machine was too slow for it.
fn is_slow(code: Option<i32>, text: &str) -> bool {
    let mut objections = text.lines().filter_map(|line| line.strip_prefix("unknown: "));
    let late = code == Some(2) && text.contains("the first arrival would be late");
    late || code == Some(3) && objections.all(|o| o.starts_with("the generator "))
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).into_owned()
}

fn assert_valid((code, report): (i32, Value)) {
    assert_eq!((code, &report["verdict"]), (0, &Value::from("valid")), "{report:#}");
}

fn violated(report: &Value) -> Vec<&str> {
    let violations = report["campaigns"][0]["violations"].as_array().unwrap();
    violations.iter().map(|v| v["check"].as_str().unwrap()).collect()
}

/// The whole of a scenario like `launch.yaml`: exactly N, and a verdict that says so.
fn whole_launch(scenario: &str, more: &[&str]) {
    let launch = Launch::new();
    launch.drive(scenario, &[], more);
    assert_eq!(launch.summary()["outcomes"]["issued"], 10_000);
    assert_eq!(launch.summary()["accounting"]["holds"], true);
    assert_valid(launch.verify(&[]));
}

#[test]
fn launch_on_sqlite_is_valid() {
    whole_launch("launch.yaml", &[]);
}

#[test]
fn launch_on_redis_is_valid() {
    let redis = e2e::Redis::start();
    whole_launch("launch.yaml", &["--store", &redis.url()]);
}

#[test]
fn launch_on_postgres_is_valid() {
    let postgres = e2e::Postgres::start();
    whole_launch("postgres.yaml", &["--store", &postgres.url()]);
}

#[test]
fn smoke_is_valid() {
    let launch = Launch::new();
    launch.drive("smoke.yaml", &[], &[]);
    assert_valid(launch.verify(&[]));
}

/// The server's second interface, by a mapping.
#[test]
fn launch_over_connect_is_valid() {
    let launch = Launch::new();
    launch.drive("connect.yaml", &[], &[]);
    assert_eq!(launch.summary()["outcomes"]["issued"], 1_000);
    assert_valid(launch.verify(&[]));
}

#[test]
fn an_exported_history_has_the_same_verdict() {
    let launch = Launch::new();
    launch.drive("smoke.yaml", &[], &[]);
    let exported = launch.run.join("history.jsonl.gz");
    let mut export = Command::new(e2e::binary("loadgen"));
    export.arg("export").arg(&launch.run).arg("--out").arg(&exported);
    assert!(export.status().unwrap().success());
    let mut check = Command::new(e2e::binary("verifier"));
    check.arg("check").arg("--history").arg(&exported).arg("--store");
    check.arg(format!("sqlite:{}", launch.run.join("coupons.db").display()));
    let output = check.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

/// A server that checks and then acts: caught, with the witness shown.
fn caught_in_the_act(more: &[&str]) {
    let launch = Launch::new();
    let command = "system.spawn.command=[coupon-server, --store, '{store}', --listen, \
                   '127.0.0.1:{port}', --mutant, check-then-act]";
    let set: Vec<&str> = SHORT.into_iter().chain([command]).collect();
    launch.drive("launch.yaml", &set, more);
    let (code, report) = launch.verify(&[]);
    assert_eq!((code, &report["verdict"]), (1, &Value::from("invalid")), "{report:#}");
    assert!(violated(&report).contains(&"over-issued"), "{report:#}");
    let violations = report["campaigns"][0]["violations"].as_array().unwrap();
    let shown = violations.iter().any(|v| !v["witness"].as_array().unwrap().is_empty());
    assert!(shown, "a violation without a witness convinces nobody: {report:#}");
}

#[test]
fn check_then_act_on_sqlite_is_caught() {
    caught_in_the_act(&[]);
}

#[test]
fn check_then_act_on_redis_is_caught() {
    let redis = e2e::Redis::start();
    caught_in_the_act(&["--store", &redis.url()]);
}

/// The watch sees the planted bug while the load goes on, and ends: the history has no end mark yet.
#[test]
fn check_then_act_is_caught_while_the_run_goes_on() {
    let launch = Launch::new();
    let command = "system.spawn.command=[coupon-server, --store, '{store}', --listen, \
                   '127.0.0.1:{port}', --mutant, check-then-act]";
    // Past the last coupon for longer than the test may take: it ends the run itself.
    let on = ["campaign.coupons=500", "load.stages.2.for=120s", command];
    let set: Vec<&str> = SHORT.into_iter().chain(on).collect();
    let mut watch = Command::new(e2e::binary("verifier"));
    watch.args(["watch", "--format", "json", "--run"]).arg(&launch.run);
    let watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let loadgen = launch.loadgen("launch.yaml", &set, &[]).spawn().unwrap();
    let output = watch.wait_with_output().unwrap();
    let history = launch.run.join("history");
    let read = contract::history::read(&history, &mut |_| ()).unwrap();
    assert!(read.gaps.iter().any(|gap| gap.contains("worker-0.seg: no end mark")), "{read:?}");
    assert_eq!(Run::load(&launch.run).unwrap().state, contract::run::RunState::Running);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap().to_owned();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["event"], "violation", "{last:#}");
    kill("-INT", loadgen.id());
    loadgen.wait_with_output().unwrap();
    let (code, report) = launch.verify(&[]);
    assert_eq!(code, 1, "{report:#}");
    let check = last["violation"]["check"].as_str().unwrap();
    assert!(violated(&report).contains(&check), "{check} {report:#}");
}

/// Waits until the load threads are there, shortly before the first arrival, and gives the targets.
fn wait_for_load(launch: &Launch, loadgen: &mut Child) -> Vec<RunTarget> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let segment = launch.run.join("history/worker-0.seg");
    while !segment.exists() {
        assert!(loadgen.try_wait().unwrap().is_none(), "loadgen ended before the load began");
        assert!(Instant::now() < deadline, "the load does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    launch.targets()
}

fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Kills one of five instances in mid-run; what it had committed and not answered is found.
fn survives_a_kill(scenario: &str, more: &[&str]) {
    let launch = Launch::new();
    launch.drive_while(scenario, &SHORT, more, |loadgen| {
        let targets = wait_for_load(&launch, loadgen);
        // Past the start, in the middle of the rush.
        std::thread::sleep(Duration::from_millis(1_500));
        // Held up first, so that requests are on their way to it when it dies: they stay without answer.
        kill("-STOP", targets[2].pid.unwrap());
        std::thread::sleep(Duration::from_millis(100));
        kill("-KILL", targets[2].pid.unwrap());
    });
    let summary = launch.summary();
    let killed = |outcome: &str| summary["targets"][2]["outcomes"][outcome].as_u64().unwrap();
    assert!(killed("failed") > 0, "the killed instance was still asked");
    assert!(killed("indeterminate") > 0, "nobody knows what came of its last requests");
    assert_valid(launch.verify(&[]));
}

#[test]
fn kill_9_of_an_instance_on_sqlite_stays_valid() {
    survives_a_kill("launch.yaml", &[]);
}

#[test]
fn kill_9_of_an_instance_on_redis_stays_valid() {
    let redis = e2e::Redis::start();
    survives_a_kill("launch.yaml", &["--store", &redis.url()]);
}

#[test]
fn kill_9_of_an_instance_on_postgres_stays_valid() {
    let postgres = e2e::Postgres::start();
    survives_a_kill("postgres.yaml", &["--store", &postgres.url()]);
}

/// Each instance behind a shell, as many start scripts do: the server is a grandchild.
#[test]
fn grandchildren_do_not_outlive_a_killed_load_generator() {
    let launch = Launch::new();
    let server = e2e::binary("coupon-server");
    let script = format!("{} --store $0 --listen 127.0.0.1:$1; true", server.display());
    let command = format!("system.spawn.command=[sh, -c, '{script}', '{{store}}', '{{port}}']");
    let mut child = launch.loadgen("launch.yaml", &[&command], &[]).spawn().unwrap();
    let targets = wait_for_load(&launch, &mut child);
    let answers = |target: &RunTarget| {
        let address = target.url.trim_start_matches("http://");
        std::net::TcpStream::connect(address).is_ok()
    };
    assert!(targets.iter().all(answers));
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while targets.iter().any(answers) {
        assert!(Instant::now() < deadline, "a server outlives the load generator");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn instances_do_not_outlive_a_killed_load_generator() {
    let launch = Launch::new();
    let mut child = launch.loadgen("launch.yaml", &[], &[]).spawn().unwrap();
    let targets = wait_for_load(&launch, &mut child);
    assert_eq!(targets.len(), 5);
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    for target in targets {
        let process = format!("/proc/{}/stat", target.pid.unwrap());
        let runs = || {
            let stat = std::fs::read_to_string(&process).unwrap_or_default();
            !matches!(stat.rsplit(") ").next().unwrap_or("").chars().next(), None | Some('Z'))
        };
        while runs() {
            assert!(Instant::now() < deadline, "{} outlives the load generator", target.name);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let (code, report) = launch.verify(&[]);
    assert_eq!((code, &report["verdict"]), (3, &Value::from("unknown")), "{report:#}");
}
