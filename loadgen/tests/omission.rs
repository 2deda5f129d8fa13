//! Coordinated omission: a wait counts from the moment the plan wanted the request, whoever stalled.
//!
//! Two stalls, one of the system and one of the generator. Both are real, and so is what they are
//! held against: the system notes when it read each request and when it wrote each answer, so on a
//! machine of any speed it is known what every single attempt has to show. What a stall must do at the
//! least is known in advance, too: arrivals come evenly, so those of a stall of length L wait evenly
//! between 0 and L. If a share s of all arrivals falls into stalls, then p of the response times
//! is where `s · (1 - x/L) = 1 - p`, or above.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

#[path = "support/ended.rs"]
mod ended;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use contract::history::Event;
use contract::run::Run;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, RwLock};

const MS: i64 = 1_000_000;
/// How long a stall takes, at the least.
const STALL: Duration = Duration::from_secs(1);
/// How far two readings of the same moment may lie apart: the run's clock is tied to the wall clock
/// once, and the wall clock may be slewed since.
const APART: i64 = 20 * MS;

/// A system that answers at once, except while it is frozen. Then it reads what comes, and answers
/// all of it in order once it is over.
struct StandIn {
    url: String,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Shared {
    /// Where requests wait for their answer. Its queue is first in, first out.
    gate: RwLock<()>,
    /// How many requests were read.
    requests: AtomicUsize,
    /// Told at each of them.
    read: Notify,
    frozen: Mutex<Vec<Stalled>>,
    noted: Mutex<HashMap<u64, Noted>>,
}

/// When somebody stood still, Unix nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Stalled {
    from: i64,
    to: i64,
}

/// What the system knows of one request, Unix nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Noted {
    read: i64,
    /// Before the answer was written, and after it.
    writes: i64,
    written: i64,
}

impl StandIn {
    /// Freezes for [`STALL`] once it has read so many requests, each time.
    fn freezing(after: &'static [usize]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        runtime.spawn(freeze(after, Arc::clone(&shared)));
        let serving = Arc::clone(&shared);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self { url, shared, _runtime: runtime }
    }

    fn frozen(&self) -> Vec<Stalled> {
        self.shared.frozen.lock().unwrap().clone()
    }

    fn noted(&self, attempt: &Attempt) -> Noted {
        self.shared.noted.lock().unwrap()[&attempt.op]
    }
}

async fn freeze(after: &[usize], shared: Arc<Shared>) {
    for after in after {
        while shared.requests.load(Relaxed) < *after {
            shared.read.notified().await;
        }
        let closed = shared.gate.write().await;
        let from = now();
        tokio::time::sleep(STALL).await;
        shared.frozen.lock().unwrap().push(Stalled { from, to: now() });
        drop(closed);
    }
}

fn now() -> i64 {
    Utc::now().timestamp_nanos_opt().unwrap()
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut held) = ([0; 2048], 0);
    loop {
        let more = stream.read(&mut buffer[held..]).await?;
        if more == 0 {
            return Ok(());
        }
        held += more;
        // A GET has no body, and the next request does not come before the answer.
        if buffer[..held].ends_with(b"\r\n\r\n") {
            let (read, op) = (now(), op(&buffer[..held]));
            held = 0;
            shared.requests.fetch_add(1, Relaxed);
            shared.read.notify_one();
            drop(shared.gate.read().await);
            let writes = now();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
            let noted = Noted { read, writes, written: now() };
            shared.noted.lock().unwrap().insert(op, noted);
        }
    }
}

/// The number in `GET /coupon/17 HTTP/1.1`.
fn op(request: &[u8]) -> u64 {
    let line = std::str::from_utf8(request).unwrap();
    line.split(['/', ' ']).nth(3).unwrap().parse().unwrap()
}

/// A run's folder, and what came of it.
struct Done {
    dir: tempfile::TempDir,
    output: Output,
}

fn start(dir: &Path, url: &str, load: &str) -> Child {
    let scenario = format!(
        "name: s\ncampaign: {{ coupons: 1, starts_in: 2s }}\nsystem: {{ targets: ['{url}'] }}\n\
         mapping:\n  request: {{ method: GET, path: '/coupon/{{n}}' }}\n\
         \x20 outcomes: [{{ status: 200, is: sold_out }}]\n\
         load: {{ begin: 0s, timeout: 60s, {load} }}\n"
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
    op: u64,
    intended: i64,
    sent: i64,
    answered: i64,
}

impl Attempt {
    fn response(&self) -> i64 {
        self.answered - self.intended
    }

    /// How long after its moment it was sent.
    fn late(&self) -> i64 {
        self.sent - self.intended
    }

    /// How long it had to wait, as it was due, for one of these stalls to end.
    fn due_in(&self, stalls: &[Stalled]) -> i64 {
        let stall = stalls.iter().find(|s| s.from <= self.intended && self.intended <= s.to);
        stall.map_or(0, |s| s.to - self.intended)
    }
}

impl Done {
    fn text(&self) -> String {
        ended::text(&self.output)
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

    /// All attempts that were sent, from the history, in the order in which they were due.
    fn attempts(&self) -> Vec<Attempt> {
        let folder = self.dir.path().join("run");
        let zero = Run::load(&folder).unwrap().anchor.unix_ns;
        let (mut open, mut attempts) = (HashMap::new(), BTreeMap::new());
        contract::history::read(&folder.join("history"), &mut |event| match event {
            Event::Invoke(i) => drop(open.insert(i.op, (i.intended.unwrap(), i.at))),
            Event::Complete(c) => {
                let (intended, sent) = open.remove(&c.op).unwrap();
                let [intended, sent, answered] = [intended, sent, c.at].map(|t| t + zero);
                attempts.insert(intended, Attempt { op: c.op, intended, sent, answered });
            }
            Event::Campaign(_) => {}
        })
        .unwrap();
        attempts.into_values().collect()
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
/// between 0 and `stall` nanoseconds, and nobody else waits.
fn analytic(p: f64, stalled: f64, stall: i64) -> f64 {
    (1.0 - (1.0 - p) / stalled).max(0.0) * stall as f64 / 1e6
}

/// That it is not below the first and not above the second, but for this share of them.
#[track_caller]
fn assert_between(share: f64, measured: f64, (low, high): (f64, f64), what: &str) {
    let holds = low * (1.0 - share) <= measured && measured <= high * (1.0 + share);
    assert!(holds, "{what}: measured {measured:.1}, expected {low:.1} to {high:.1}");
}

/// The plan's moments are where they were, whatever happened: nobody was asked to come later.
#[track_caller]
fn assert_due_evenly(attempts: &[Attempt], rate: i64) {
    for (k, attempt) in (0_i64..).zip(attempts) {
        let due = attempts[0].intended + k * 1_000_000_000 / rate;
        assert!((attempt.intended - due).abs() <= 1, "attempt {k}: {attempt:?}, due {due}");
    }
}

/// Each attempt says when it left and when its answer came, as the system saw it. That holds for the
/// service time of those that a freeze held up, and of all the others.
#[track_caller]
fn assert_true(attempts: &[Attempt], system: &StandIn) {
    for attempt in attempts {
        let noted = system.noted(attempt);
        assert!(attempt.intended <= attempt.sent, "{attempt:?}");
        assert!(attempt.sent <= noted.read + APART, "{attempt:?}, the system {noted:?}");
        assert!(noted.writes - APART <= attempt.answered, "{attempt:?}, the system {noted:?}");
    }
}

/// 20 s at 1,000/s; the system is frozen for 1 s in every 10.
#[test]
fn a_freeze_of_the_system_shows_as_it_must() {
    const FREEZES: &[usize] = &[5_000, 15_000];
    let system = StandIn::freezing(FREEZES);
    let done = run(&system.url, "stages: [{ for: 20s, rate: 1000 }], max_in_flight: 65536");
    ended::assert_sound(done.code(), &done.text());
    let (frozen, attempts) = (system.frozen(), done.attempts());
    assert_eq!((frozen.len(), attempts.len()), (2, 20_000), "{}", done.text());
    assert_due_evenly(&attempts, 1_000);
    assert_true(&attempts, &system);

    // Whoever was due in a freeze waited for its end, and until the system wrote the answer: not
    // less, and not more. The kernel notes the answer as it is written.
    let waited: Vec<_> = attempts.iter().filter(|a| a.due_in(&frozen) > 0).collect();
    assert!(waited.len() > 1_900, "{}", waited.len());
    for attempt in waited {
        let (wait, noted) = (attempt.due_in(&frozen), system.noted(attempt));
        assert!(attempt.response() >= wait - APART, "{attempt:?} waited {wait} ns");
        assert!(attempt.answered <= noted.written + APART, "{attempt:?}, the system {noted:?}");
    }

    let stalled = frozen.iter().map(|f| f.to - f.from).sum::<i64>();
    let share = stalled as f64 / 20e9;
    for (p, reported) in [(0.95, None), (0.99, Some(done.p99_ms("response")))] {
        let least = analytic(p, share, stalled / 2);
        let of = |time: fn(&Noted) -> i64| {
            percentile(p, attempts.iter().map(|a| time(&system.noted(a)) - a.intended))
        };
        let truth = (of(|n| n.writes).max(least), of(|n| n.written));
        let response = percentile(p, attempts.iter().map(Attempt::response));
        println!("p{p}: {response:.1} ms, at least {least:.1}, the system says {truth:.1?}");
        for measured in [Some(response), reported].into_iter().flatten() {
            assert_between(0.03, measured, truth, "response time, ms");
        }
    }
}

/// A limit of what may be under way cannot hide a freeze: what was not sent is counted.
#[test]
fn a_freeze_behind_a_limit_is_no_silence() {
    const LIMIT: u64 = 100;
    let system = StandIn::freezing(&[1_000]);
    let done = run(&system.url, "stages: [{ for: 3s, rate: 1000 }], max_in_flight: 100");
    assert_eq!(done.code(), Some(3), "{}", done.text());
    assert!(done.text().contains("attempts that were due were dropped"), "{}", done.text());
    let accounting = &done.summary()["accounting"];
    let count = |key: &str| accounting[key].as_u64().unwrap();
    assert_eq!((count("planned"), count("sent") + count("dropped")), (3_000, 3_000));

    let first = done.attempts()[0].intended;
    let due = (0..3_000).map(|k| first + k * MS);
    let frozen = system.frozen()[0];
    let in_it = due.filter(|due| frozen.from + APART <= *due && *due <= frozen.to - APART);
    let least = in_it.count() as u64 - LIMIT;
    assert!(count("dropped") >= least, "{} of at least {least}", count("dropped"));
}

/// The generator itself stands still for a second. The requests of that second were sent late: that
/// is a long response, although the system answered each of them at once.
#[test]
fn a_stall_of_the_generator_shows_as_it_must() {
    const RATE: i64 = 200;
    const SECONDS: i64 = 5;
    let system = StandIn::freezing(&[]);
    let dir = tempfile::tempdir().unwrap();
    let load = format!("stages: [{{ for: {SECONDS}s, rate: {RATE} }}]");
    let mut child = start(dir.path(), &system.url, &load);
    ended::wait_until(&mut child, || system.shared.requests.load(Relaxed) >= 300);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let stopped = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap().1;
    assert!(stopped.stopped(), "{stopped:?}");
    let from = now();
    std::thread::sleep(STALL);
    let stalled = [Stalled { from, to: now() }];
    kill_process(pid, Signal::CONT).unwrap();
    let done = Done { output: child.wait_with_output().unwrap(), dir };

    assert_eq!(done.code(), Some(3), "{}", done.text());
    assert!(done.text().contains("unknown: the generator was late"), "{}", done.text());
    let attempts = done.attempts();
    assert_eq!(attempts.len(), usize::try_from(RATE * SECONDS).unwrap());
    assert_due_evenly(&attempts, RATE);
    assert_true(&attempts, &system);

    // Whoever was due while it stood still left after that, and says so: the wait is in the lag and
    // in the response time, and none of it in the service time, which begins when it was sent.
    let waited: Vec<_> = attempts.iter().filter(|a| a.due_in(&stalled) > 0).collect();
    assert!(waited.len() > 150, "{}", waited.len());
    for attempt in &waited {
        assert!(attempt.late() >= attempt.due_in(&stalled) - APART, "{attempt:?}, {stalled:?}");
    }
    let length = stalled[0].to - stalled[0].from;
    let least = |p| analytic(p, length as f64 / 1e9 / SECONDS as f64, length);
    let late = |p| percentile(p, attempts.iter().map(Attempt::late));
    let response = |p| percentile(p, attempts.iter().map(Attempt::response));
    for p in [0.9, 0.95, 0.99] {
        for (name, measured) in [("late", late(p)), ("response", response(p))] {
            println!("{name} p{p}: {measured:.1} ms, at least {:.1}", least(p));
            assert!(measured >= least(p) * 0.97, "{name} p{p}: {measured:.1} ms");
        }
    }
    let exact = (response(0.99), response(0.99));
    assert_between(0.002, done.p99_ms("response"), exact, "response p99 as reported, ms");
    // Late is lag and then queue: where cores are scarce, some of it is the latter.
    assert_between(0.03, done.p99_ms("lag"), (least(0.99), late(0.99)), "lag p99 as reported, ms");
}
