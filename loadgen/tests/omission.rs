//! Coordinated omission: a wait counts from the moment the plan wanted the request, whoever stalled.
//!
//! Two stalls, one in the system and one in the generator, both with a distribution that is known
//! in advance. Arrivals come evenly, so those of a stall of length L wait evenly between 0 and L.
//! If a share s of all arrivals falls into stalls, then p of the response times is where
//! `s · (1 - x/L) = 1 - p`.
//!
//! What the service time has to say about it is checked one attempt at a time: it may be long only
//! where the attempt was under way while the system was frozen. An attempt that the generator sent
//! late was not, so its service time stays short, and its response time is long all the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

#[path = "support/ended.rs"]
mod ended;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use contract::history::Event;
use contract::run::Run;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, RwLock};
use tokio::time::{Instant, sleep_until};

const MS: i64 = 1_000_000;
/// How long a stall takes.
const STALL: Duration = Duration::from_secs(1);
/// What an attempt may take that met no stall: far more than it needs on a busy machine, and far
/// less than the stall.
const SHORT: i64 = 250 * MS;

/// A system that answers at once, except while it is frozen. Then it reads what comes, and answers
/// all of it in order once it is over.
struct StandIn {
    url: String,
    frozen: Arc<Mutex<Vec<Stalled>>>,
    _runtime: tokio::runtime::Runtime,
}

/// When somebody stood still, Unix nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Stalled {
    from: i64,
    to: i64,
}

/// Where requests wait for their answer. Its queue is first in, first out.
type Gate = Arc<RwLock<()>>;

impl StandIn {
    /// Freezes that long after the first request, each time for [`STALL`].
    fn freezing(after: &'static [Duration]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (gate, first) = (Gate::default(), Arc::new(Notify::new()));
        let frozen = Arc::new(Mutex::new(Vec::new()));
        runtime.spawn(freeze(after, Arc::clone(&gate), Arc::clone(&first), Arc::clone(&frozen)));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&gate), Arc::clone(&first)));
            }
        });
        Self { url, frozen, _runtime: runtime }
    }

    fn frozen(&self) -> Vec<Stalled> {
        self.frozen.lock().unwrap().clone()
    }
}

async fn freeze(
    after: &[Duration],
    gate: Gate,
    first: Arc<Notify>,
    frozen: Arc<Mutex<Vec<Stalled>>>,
) {
    first.notified().await;
    let begin = Instant::now();
    for after in after {
        sleep_until(begin + *after).await;
        let closed = gate.write().await;
        let from = now();
        sleep_until(begin + *after + STALL).await;
        frozen.lock().unwrap().push(Stalled { from, to: now() });
        drop(closed);
    }
}

fn now() -> i64 {
    Utc::now().timestamp_nanos_opt().unwrap()
}

async fn serve(mut stream: TcpStream, gate: Gate, first: Arc<Notify>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut held) = ([0; 2048], 0);
    loop {
        let read = stream.read(&mut buffer[held..]).await?;
        if read == 0 {
            return Ok(());
        }
        held += read;
        // A GET has no body, and the next request does not come before the answer.
        if buffer[..held].ends_with(b"\r\n\r\n") {
            held = 0;
            first.notify_one();
            drop(gate.read().await);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
        }
    }
}

/// A run's folder, and what came of it.
struct Done {
    dir: tempfile::TempDir,
    output: Output,
}

fn start(dir: &Path, url: &str, load: &str) -> Child {
    let scenario = format!(
        "name: s\ncampaign: {{ coupons: 1, starts_in: 500ms }}\nsystem: {{ targets: ['{url}'] }}\n\
         mapping:\n  request: {{ method: GET, path: /coupon }}\n\
         \x20 outcomes: [{{ status: 200, is: sold_out }}]\n\
         load: {{ begin: 0s, timeout: 10s, {load} }}\n"
    );
    std::fs::write(dir.join("s.yaml"), scenario).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.current_dir(dir).args(["run", "s.yaml", "--out", "run"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn run(url: &str, load: &str) -> Done {
    let dir = tempfile::tempdir().unwrap();
    let output = start(dir.path(), url, load).wait_with_output().unwrap();
    Done { dir, output }
}

/// The moments of one attempt, Unix nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    intended: i64,
    sent: i64,
    answered: i64,
}

impl Attempt {
    fn response(self) -> i64 {
        self.answered - self.intended
    }

    fn service(self) -> i64 {
        self.answered - self.sent
    }

    fn met(self, frozen: &[Stalled]) -> bool {
        frozen.iter().any(|f| self.sent <= f.to && f.from <= self.answered)
    }
}

impl Done {
    fn text(&self) -> String {
        String::from_utf8([&self.output.stdout[..], &self.output.stderr[..]].concat()).unwrap()
    }

    fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    fn summary(&self) -> Value {
        let text = std::fs::read(self.dir.path().join("run/summary.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn p99_ms(&self, time: &str) -> f64 {
        self.summary()["times"][time]["p99_us"].as_f64().unwrap() / 1e3
    }

    /// All attempts, from the history.
    fn attempts(&self) -> Vec<Attempt> {
        let folder = self.dir.path().join("run");
        let zero = Run::load(&folder).unwrap().anchor.unix_ns;
        let (mut open, mut attempts) = (HashMap::new(), Vec::new());
        contract::history::read(&folder.join("history"), &mut |event| match event {
            Event::Invoke(i) => drop(open.insert(i.op, (i.intended.unwrap(), i.at))),
            Event::Complete(c) => {
                let (intended, sent) = open.remove(&c.op).unwrap();
                let [intended, sent, answered] = [intended, sent, c.at].map(|t| t + zero);
                attempts.push(Attempt { intended, sent, answered });
            }
            Event::Campaign(_) => {}
        })
        .unwrap();
        attempts
    }
}

/// The value below which a share `p` of the times lies, milliseconds.
fn percentile(p: f64, times: impl Iterator<Item = i64>) -> f64 {
    let mut times: Vec<i64> = times.collect();
    times.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let rank = (p * times.len() as f64).ceil() as usize;
    times[rank.saturating_sub(1)] as f64 / 1e6
}

/// Where percentile `p` lies, milliseconds, if a share `stalled` of the arrivals waits evenly
/// between 0 and `stall`.
fn analytic(p: f64, stalled: f64, stall: Duration) -> f64 {
    (1.0 - (1.0 - p) / stalled) * stall.as_secs_f64() * 1e3
}

/// How long it took, after a stall, until all who had waited were answered, milliseconds.
///
/// A thousand answers at once are some milliseconds of work. Unoptimized, on a machine that does
/// other things too, they are more than the tolerance, so there they may come on top.
fn backlog(stalls: &[Stalled], attempts: &[Attempt]) -> f64 {
    if !cfg!(debug_assertions) {
        return 0.0;
    }
    let last = |s: &Stalled| {
        let waited = attempts.iter().filter(|a| s.from <= a.intended && a.intended <= s.to);
        waited.map(|a| a.answered - s.to).max().unwrap()
    };
    let backlog = stalls.iter().map(last).sum::<i64>() as f64 / 1e6 / stalls.len() as f64;
    assert!(backlog < 400.0, "{backlog:.0} ms to answer what had waited");
    backlog
}

/// That it is not below the first and not above the second, but for this share of them.
#[track_caller]
fn assert_between(share: f64, measured: f64, (low, high): (f64, f64), what: &str) {
    let holds = low * (1.0 - share) <= measured && measured <= high * (1.0 + share);
    assert!(holds, "{what}: measured {measured:.1}, expected {low:.1} to {high:.1}");
}

/// 20 s at 1,000/s; the system is frozen for 1 s in every 10.
#[test]
fn a_freeze_of_the_system_shows_as_it_must() {
    const FREEZES: &[Duration] = &[Duration::from_secs(5), Duration::from_secs(15)];
    let system = StandIn::freezing(FREEZES);
    let done = run(&system.url, "stages: [{ for: 20s, rate: 1000 }], max_in_flight: 4096");
    assert_eq!(done.code(), Some(0), "{}", done.text());
    let (frozen, attempts) = (system.frozen(), done.attempts());
    assert_eq!((frozen.len(), attempts.len()), (2, 20_000));

    let backlog = backlog(&frozen, &attempts);
    let expect = |p| (analytic(p, 0.1, STALL), analytic(p, 0.1, STALL) + backlog);
    let p95 = percentile(0.95, attempts.iter().map(|a| a.response()));
    let p99 = done.p99_ms("response");
    println!("p95 {p95:.1} ms, p99 {p99:.1} ms, {backlog:.1} ms of it may be the backlog's");
    assert_between(0.03, p95, expect(0.95), "p95 of the response time, ms");
    assert_between(0.03, p99, expect(0.99), "p99 of the response time, ms");

    // The service time is long for those who were under way during a freeze, and only for them.
    let spared: Vec<_> = attempts.iter().filter(|a| !a.met(&frozen)).collect();
    let longest = spared.iter().map(|a| a.service()).max().unwrap();
    assert!(longest < SHORT, "{} ms with no freeze between its ends", longest / MS);
    let long = attempts.iter().filter(|a| a.service() > SHORT).count() as f64;
    let expected = (2.0 * 750.0, 2.0 * (750.0 + backlog));
    assert_between(0.03, long, expected, "attempts that a freeze held up for over 250 ms");
}

/// A limit of what may be under way cannot hide a freeze: what was not sent is counted.
#[test]
fn a_freeze_behind_a_limit_is_no_silence() {
    const FREEZES: &[Duration] = &[Duration::from_secs(1)];
    let system = StandIn::freezing(FREEZES);
    let done = run(&system.url, "stages: [{ for: 3s, rate: 1000 }], max_in_flight: 100");
    assert_eq!(done.code(), Some(3), "{}", done.text());
    let accounting = &done.summary()["accounting"];
    let count = |key: &str| accounting[key].as_u64().unwrap();
    assert_eq!((count("planned"), count("sent") + count("dropped")), (3_000, 3_000));
    // And those that were due while the answers that had waited were read.
    assert_between(0.03, count("dropped") as f64, (900.0, 1_200.0), "arrivals dropped");
    assert!(done.text().contains("attempts that were due were dropped"), "{}", done.text());
}

/// The generator itself stands still for a second. The requests of that second were sent late: that
/// is a long response, although the system answered each of them at once.
#[test]
fn a_stall_of_the_generator_shows_as_it_must() {
    const RATE: f64 = 200.0;
    const SECONDS: f64 = 5.0;
    let system = StandIn::freezing(&[]);
    let dir = tempfile::tempdir().unwrap();
    let load = format!("stages: [{{ for: {SECONDS}s, rate: {RATE} }}]");
    let mut child = start(dir.path(), &system.url, &load);
    let history = dir.path().join("run/history");
    ended::wait_until(&mut child, || std::fs::read_dir(&history).map_or(0, Iterator::count) >= 2);
    // In the midst of the load, which begins at most half a second from here.
    std::thread::sleep(Duration::from_millis(1_500));
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let from = now();
    std::thread::sleep(STALL);
    kill_process(pid, Signal::CONT).unwrap();
    let stalled = Stalled { from, to: now() };
    let done = Done { output: child.wait_with_output().unwrap(), dir };

    assert_eq!(done.code(), Some(3), "{}", done.text());
    assert!(done.text().contains("unknown: the generator was late"), "{}", done.text());
    let attempts = done.attempts();
    assert_eq!(attempts.len() as f64, RATE * SECONDS);
    // A busy machine may have let us sleep longer.
    let stall = Duration::from_nanos((stalled.to - stalled.from).unsigned_abs());
    let backlog = backlog(&[stalled], &attempts);
    let least = |p| analytic(p, stall.as_secs_f64() / SECONDS, stall);
    let expect = |p| (least(p), least(p) + backlog);
    for p in [0.9, 0.95, 0.99] {
        let response = percentile(p, attempts.iter().map(|a| a.response()));
        assert_between(0.03, response, expect(p), "response time, ms");
    }
    assert_between(0.03, done.p99_ms("response"), expect(0.99), "its p99 as reported, ms");
    assert_between(0.03, done.p99_ms("lag"), expect(0.99), "p99 of the start lag, ms");

    // At most those that were under way when it stopped were answered late.
    let held_up = attempts.iter().filter(|a| a.service() > SHORT).count();
    assert!(held_up <= 3, "{held_up} service times show a stall that was not the system's");
}
