//! Many short runs in which things go wrong at random: the generator is killed, stopped for a while
//! or interrupted, the system stalls, resets, babbles, refuses connections or dies.
//!
//! Whatever happens, the history can be read, every request that the system saw is in it, and the
//! accounting adds up. The stand-in remembers what it said to whom, so that the history is also
//! held against the truth: what it calls *failed* was never seen, what it calls *decided* was said.
//!
//! `ORDEAL_RUNS=1000` makes it a thousand runs instead of a hundred. A run is drawn from its seed;
//! one that fails prints it, and `ORDEAL_SEED=<it> ORDEAL_RUNS=1` draws it again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use contract::history::{Event, Integrity, Kind};
use contract::outcome::Outcome;
use contract::run::{Run, RunState};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Runs where `ORDEAL_RUNS` does not say how many.
const RUNS: u64 = 100;
/// Runs under way at once: most of their time they wait.
const AT_ONCE: usize = 8;
/// Every this many runs start a real instance instead of talking to the stand-in.
const SPAWNED_EVERY: u64 = 8;
/// A run that takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_secs(40);
/// How long what a run started may outlive it: the kernel and the guard need a moment.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// What happens in one run. A pure function of its seed.
#[derive(Clone, Debug)]
struct Ordeal {
    seed: u64,
    spawned: bool,
    rate: u32,
    load: Duration,
    timeout: Duration,
    max_in_flight: u32,
    /// Whether every other arrival goes to a target that is not there.
    half_is_gone: bool,
    /// What the stand-in does as a whole.
    weather: Weather,
    /// What the stand-in does with a single request: weights, in the order of [`Manner::ALL`].
    manners: [u32; Manner::ALL.len()],
    /// What is done to a process, and when, from the generator's start on.
    blows: Vec<(Duration, Blow)>,
}

/// What happens to the stand-in as a whole.
#[derive(Clone, Copy, Debug)]
enum Weather {
    Fair,
    /// Nothing is answered for a while.
    Freezes {
        at: Duration,
        length: Duration,
    },
    /// All connections break and new ones are refused, for a while or for good.
    Dies {
        at: Duration,
        back_after: Option<Duration>,
    },
}

/// What is done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Kill,
    Interrupt,
    Terminate,
    Stop,
    Continue,
    /// To the instance instead of the generator.
    KillInstance,
}

/// What the stand-in does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Issues,
    Refuses,
    Dawdles,
    Stalls,
    Resets,
    AnswersHalf,
    Babbles,
    Fails,
}

impl Manner {
    const ALL: [Self; 8] = [
        Self::Issues,
        Self::Refuses,
        Self::Dawdles,
        Self::Stalls,
        Self::Resets,
        Self::AnswersHalf,
        Self::Babbles,
        Self::Fails,
    ];
}

impl Ordeal {
    fn drawn(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut ms = |from: u64, to: u64| Duration::from_millis(rng.random_range(from..=to));
        let (load, timeout) = (ms(100, 300), ms(50, 300));
        let (first, second) = (ms(0, 550), ms(1, 120));
        let (trouble, length) = (ms(100, 450), ms(20, 150));
        let blows = match rng.random_range(0..10_u32) {
            0..=2 => vec![(first, Blow::Kill)],
            3 | 4 => vec![(first, Blow::Interrupt)],
            5 => vec![(first, Blow::Interrupt), (first + second, Blow::Interrupt)],
            6 => vec![(first, Blow::Terminate), (first + second, Blow::Kill)],
            7 => vec![(first, Blow::Stop), (first + second, Blow::Continue)],
            8 => vec![(first, Blow::KillInstance)],
            _ => vec![],
        };
        let weather = match rng.random_range(0..6_u32) {
            0 => Weather::Freezes { at: trouble, length },
            1 => Weather::Dies { at: trouble, back_after: Some(length) },
            2 => Weather::Dies { at: trouble, back_after: None },
            _ => Weather::Fair,
        };
        // Half of all runs have a system that behaves, so that sound runs are among them.
        let unruly = rng.random_bool(0.5);
        let manners = std::array::from_fn(|i| match i {
            0..=2 => rng.random_range(1..=10),
            _ if unruly => rng.random_range(0..=3),
            _ => 0,
        });
        Self {
            seed,
            spawned: seed.is_multiple_of(SPAWNED_EVERY),
            rate: rng.random_range(50..=800),
            load,
            timeout,
            max_in_flight: if rng.random_bool(0.2) { rng.random_range(1..=30) } else { 4_096 },
            half_is_gone: rng.random_bool(0.1),
            weather,
            manners,
            blows,
        }
    }

    fn scenario(&self, url: &str) -> String {
        let Self { seed, rate, load, timeout, max_in_flight, .. } = self;
        let load = format!(
            "load: {{ begin: 0s, stages: [{{ for: {}ms, rate: {rate} }}], timeout: {}ms, \
             max_in_flight: {max_in_flight} }}\n",
            load.as_millis(),
            timeout.as_millis(),
        );
        let threshold = "thresholds: [{ figure: dropped, below: 1 }]\n";
        if self.spawned {
            return format!(
                "name: s{seed}\ncampaign: {{ coupons: 20, starts_in: 300ms }}\nsystem:\n  \
                 store: 'sqlite:{{run}}/coupons.db'\n  spawn: {{ command: ['{}', --store, \
                 '{{store}}', --listen, '127.0.0.1:{{port}}'] }}\n{load}{threshold}",
                e2e::binary("coupon-server").display()
            );
        }
        let gone = format!("http://127.0.0.1:{}", e2e::free_port());
        let targets = if self.half_is_gone { format!("{url}', '{gone}") } else { url.to_owned() };
        format!(
            "name: s{seed}\ncampaign: {{ coupons: 20, starts_in: 150ms }}\n\
             system: {{ targets: ['{targets}'] }}\nmapping:\n  \
             request: {{ method: GET, path: '/s{seed}/{{key}}' }}\n  outcomes:\n  \
             - {{ status: 200, json: {{ $.code: {{ exists: true }} }}, is: issued, code: $.code }}\n  \
             - {{ status: 409, is: sold_out }}\n  - {{ status: 500-599, is: indeterminate }}\n\
             {load}{threshold}"
        )
    }

    fn dealt(&self, any: &[Blow]) -> bool {
        self.blows.iter().any(|(_, blow)| any.contains(blow))
    }
}

/// A system that remembers which requests it saw, and what it did with each.
#[derive(Debug)]
struct StandIn {
    url: String,
    memory: Arc<Memory>,
}

#[derive(Debug)]
struct Memory {
    /// Its own requests begin with this; a port may have been somebody else's a moment ago.
    prefix: String,
    seen: Mutex<HashMap<String, Vec<Manner>>>,
    chance: Mutex<ChaCha8Rng>,
    manners: [u32; Manner::ALL.len()],
    frozen: RwLock<()>,
}

impl StandIn {
    fn start(runtime: &Runtime, ordeal: &Ordeal) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let memory = Arc::new(Memory {
            prefix: format!("GET /s{}/", ordeal.seed),
            seen: Mutex::default(),
            chance: Mutex::new(ChaCha8Rng::seed_from_u64(!ordeal.seed)),
            manners: ordeal.manners,
            frozen: RwLock::default(),
        });
        runtime.spawn(live(listener, Arc::clone(&memory), ordeal.weather));
        Self { url, memory }
    }

    fn seen(&self) -> HashMap<String, Vec<Manner>> {
        self.memory.seen.lock().unwrap().clone()
    }
}

async fn live(listener: TcpListener, memory: Arc<Memory>, weather: Weather) {
    let address = listener.local_addr().unwrap();
    match weather {
        Weather::Fair => accept(listener, memory).await,
        Weather::Freezes { at, length } => {
            let frozen = Arc::clone(&memory);
            let freeze = async {
                sleep(at).await;
                let closed = frozen.frozen.write().await;
                sleep(length).await;
                drop(closed);
            };
            tokio::join!(freeze, accept(listener, memory));
        }
        Weather::Dies { at, back_after } => {
            let _ = tokio::time::timeout(at, accept(listener, Arc::clone(&memory))).await;
            let Some(back_after) = back_after else { return };
            sleep(back_after).await;
            // Where somebody else has the port by now, it stays dead.
            if let Ok(listener) = TcpListener::bind(address).await {
                accept(listener, memory).await;
            }
        }
    }
}

/// Serves until it is dropped, and all connections with it.
async fn accept(listener: TcpListener, memory: Arc<Memory>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let memory = Arc::clone(&memory);
        connections.spawn(async move { drop(serve(stream, &memory).await) });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, memory: &Memory) -> io::Result<()> {
    let (mut buffer, mut held) = ([0; 2048], 0);
    loop {
        let read = stream.read(&mut buffer[held..]).await?;
        if read == 0 {
            return Ok(());
        }
        held += read;
        // A GET has no body, and the next request does not come before the answer.
        if buffer[..held].ends_with(b"\r\n\r\n") {
            let Some((key, manner)) = memory.note(&buffer[..held]) else { return Ok(()) };
            drop(memory.frozen.read().await);
            answer(&mut stream, &key, manner).await?;
            held = 0;
        }
    }
}

impl Memory {
    /// Remembers a request. `None` where it was meant for somebody else.
    fn note(&self, request: &[u8]) -> Option<(String, Manner)> {
        let request = String::from_utf8_lossy(request);
        let key = request.strip_prefix(&self.prefix)?.split(' ').next()?.to_owned();
        let manner = self.choose();
        self.seen.lock().unwrap().entry(key.clone()).or_default().push(manner);
        Some((key, manner))
    }

    fn choose(&self) -> Manner {
        let mut drawn = self.chance.lock().unwrap().random_range(0..self.manners.iter().sum());
        for (manner, weight) in Manner::ALL.into_iter().zip(self.manners) {
            if drawn < weight {
                return manner;
            }
            drawn -= weight;
        }
        Manner::Refuses
    }
}

/// Does it; an error closes the connection.
async fn answer(stream: &mut TcpStream, key: &str, manner: Manner) -> io::Result<()> {
    let whole = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let issued = whole("200 OK", &format!("{{\"code\":\"{}\"}}", code(key)));
    let text = match manner {
        Manner::Issues => issued,
        Manner::Refuses => whole("409 Conflict", "{}"),
        Manner::Dawdles => {
            sleep(Duration::from_millis(20)).await;
            issued
        }
        Manner::Stalls => std::future::pending().await,
        Manner::Resets => return Err(io::ErrorKind::ConnectionReset.into()),
        Manner::AnswersHalf => issued[..issued.len() / 2].to_owned(),
        Manner::Babbles => whole("200 OK", "hello"),
        Manner::Fails => whole("500 Internal Server Error", "oops"),
    };
    stream.write_all(text.as_bytes()).await?;
    if manner == Manner::AnswersHalf {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    Ok(())
}

fn code(key: &str) -> String {
    format!("C-{key}")
}

/// How the runs went, to show that the blows hit.
#[derive(Debug, Default)]
struct Tally {
    sound: AtomicU64,
    doubtful: AtomicU64,
    interrupted: AtomicU64,
    killed_under_load: AtomicU64,
    killed_before: AtomicU64,
    could_not_run: AtomicU64,
    requests: AtomicU64,
}

#[test]
fn whatever_happens_the_history_is_whole_and_adds_up() {
    let (first, runs) = (setting("ORDEAL_SEED", 1), setting("ORDEAL_RUNS", RUNS));
    e2e::binary("coupon-server");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (next, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let tally = Tally::default();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, SeqCst);
                    if seed >= first + runs {
                        break;
                    }
                    let ordeal = Ordeal::drawn(seed);
                    if let Err(reason) = undergo(&ordeal, &runtime, &tally) {
                        eprintln!("seed {seed}: {reason}\n  {ordeal:?}");
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    println!("{runs} runs from seed {first} on: {tally:?}");
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "seeds {failed:?} failed; ORDEAL_SEED=<seed> ORDEAL_RUNS=1 repeats");
    if runs >= RUNS {
        let Tally { sound, doubtful, interrupted, killed_under_load, could_not_run, .. } = tally;
        for hits in [sound, doubtful, interrupted, killed_under_load] {
            assert!(hits.load(SeqCst) > 0, "a kind of ordeal never happened");
        }
        assert!(could_not_run.load(SeqCst) < runs / 5, "too many runs never began");
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// A run that is over.
struct Ended {
    dir: tempfile::TempDir,
    status: ExitStatus,
}

/// Carries out one run and judges what it left.
fn undergo(ordeal: &Ordeal, runtime: &Runtime, tally: &Tally) -> Result<(), String> {
    let system = StandIn::start(runtime, ordeal);
    let ended = suffer(ordeal, &system.url)?;
    nothing_is_left(ended.dir.path())?;
    let seen = system.seen();
    tally.requests.fetch_add(seen.len() as u64, SeqCst);
    let verdict = ended.exit(ordeal, tally, seen.is_empty()).and_then(|()| {
        if ended.path("history/control.seg").exists() {
            ended.holds_against(ordeal, &seen)
        } else if seen.is_empty() && !ended.path("summary.json").exists() {
            Ok(())
        } else {
            Err("there is no history, but the system was asked".into())
        }
    });
    verdict.map_err(|reason| format!("{reason}\n{}: {}", ended.status, ended.text()))
}

/// Starts the generator, deals the blows, and waits for its end.
fn suffer(ordeal: &Ordeal, url: &str) -> Result<Ended, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.yaml"), ordeal.scenario(url)).unwrap();
    let out = File::create(dir.path().join("out")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .current_dir(dir.path())
        .args(["run", "s.yaml", "--out", "run", "--seed", &ordeal.seed.to_string()])
        .stderr(out.try_clone().unwrap())
        .stdout(out)
        .spawn()
        .unwrap();
    let begin = Instant::now();
    for (at, blow) in &ordeal.blows {
        thread::sleep(at.saturating_sub(begin.elapsed()));
        deal(*blow, &child, dir.path());
    }
    while begin.elapsed() < HANGS_AFTER {
        if let Some(status) = child.try_wait().unwrap() {
            return Ok(Ended { dir, status });
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    Err(format!("it did not end within {} s", HANGS_AFTER.as_secs()))
}

/// Nothing is waited for here, so the generator's process id is its own until the end.
fn deal(blow: Blow, child: &Child, dir: &Path) {
    let generator = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let (pid, signal) = match blow {
        Blow::Kill => (generator, Signal::KILL),
        Blow::Interrupt => (generator, Signal::INT),
        Blow::Terminate => (generator, Signal::TERM),
        Blow::Stop => (generator, Signal::STOP),
        Blow::Continue => (generator, Signal::CONT),
        Blow::KillInstance => {
            let Some(instance) = processes_in(dir, "coupon-server").pop() else { return };
            (instance, Signal::KILL)
        }
    };
    // It may have ended by itself.
    let _ = kill_process(pid, signal);
}

/// Processes whose working directory is `dir` and whose program's name begins with `name`. The
/// generator works there, and so does whatever it started.
fn processes_in(dir: &Path, name: &str) -> Vec<Pid> {
    let dir = dir.canonicalize().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let here = entries.filter(|e| std::fs::read_link(e.path().join("cwd")).is_ok_and(|d| d == dir));
    let named = here.filter(|e| {
        std::fs::read_to_string(e.path().join("comm")).is_ok_and(|comm| comm.starts_with(name))
    });
    named.filter_map(|e| Pid::from_raw(e.file_name().to_str()?.parse().ok()?)).collect()
}

/// The instances are gone with the generator, and so is their guard.
fn nothing_is_left(dir: &Path) -> Result<(), String> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let left = processes_in(dir, "");
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{left:?} outlive the run"));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// What a history says of one request.
#[derive(Debug)]
struct Attempt {
    key: String,
    /// What came of it, and the code where there is one.
    outcome: Option<Outcome<'static>>,
}

impl Ended {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("run").join(name)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("out")).unwrap_or_default()
    }

    /// Whether it ended in a way that what was done to it explains.
    fn exit(&self, ordeal: &Ordeal, tally: &Tally, unseen: bool) -> Result<(), String> {
        let killed = ordeal.dealt(&[Blow::Kill]);
        let signalled = ordeal.dealt(&[Blow::Interrupt, Blow::Terminate]);
        // Before it has looked at its scenario, any signal ends it.
        let too_early = !self.path("history/control.seg").exists();
        let text = self.text();
        let could_not = text.contains("the first arrival would be late")
            || ordeal.spawned
                && ordeal.dealt(&[Blow::KillInstance])
                && (text.contains("ended before it was ready")
                    || text.contains("the campaign cannot be created"));
        let (counter, allowed) = match (self.status.code(), self.status.signal()) {
            (Some(0), _) => (&tally.sound, true),
            (Some(1 | 3), _) => (&tally.doubtful, true),
            (Some(2), _) => (&tally.could_not_run, could_not && unseen),
            (Some(130), _) => (&tally.interrupted, signalled),
            (_, Some(9)) if unseen => (&tally.killed_before, killed),
            (_, Some(9)) => (&tally.killed_under_load, killed),
            (_, Some(2 | 15)) => (&tally.killed_before, signalled && too_early),
            _ => return Err("an end that nothing explains".into()),
        };
        counter.fetch_add(1, SeqCst);
        if allowed { Ok(()) } else { Err("an end that nothing explains".into()) }
    }

    /// The history against what the system saw, and against the summary.
    fn holds_against(
        &self,
        ordeal: &Ordeal,
        seen: &HashMap<String, Vec<Manner>>,
    ) -> Result<(), String> {
        let (attempts, integrity) = self.attempts()?;
        let by_key: HashMap<&str, &Attempt> =
            attempts.values().map(|a| (a.key.as_str(), a)).collect();
        if by_key.len() != attempts.len() {
            return Err("two attempts have the same key".into());
        }
        for (key, manners) in seen {
            let attempt = by_key.get(key.as_str());
            let attempt = attempt.ok_or_else(|| format!("{key} was sent and is not recorded"))?;
            let [manner] = manners[..] else {
                return Err(format!("{key} was sent {} times", manners.len()));
            };
            may_follow(manner, attempt)?;
        }
        for attempt in attempts.values().filter(|a| !ordeal.spawned && !seen.contains_key(&a.key)) {
            let decided = attempt.outcome.as_ref().is_some_and(is_decided);
            if decided {
                return Err(format!("{attempt:?} was never seen by the system"));
            }
        }
        self.adds_up(&attempts, &integrity)
    }

    /// Every attempt of the history, by its number.
    fn attempts(&self) -> Result<(HashMap<u64, Attempt>, Integrity), String> {
        let mut attempts: HashMap<u64, Attempt> = HashMap::new();
        let mut wrong = Vec::new();
        let read = contract::history::read(&self.path("history"), &mut |event| match event {
            Event::Invoke(i) if i.kind == Kind::Issue => {
                let attempt = Attempt { key: i.key.unwrap().into_owned(), outcome: None };
                if attempts.insert(i.op, attempt).is_some() {
                    wrong.push(format!("operation {} begins twice", i.op));
                }
            }
            Event::Complete(c) => match attempts.get_mut(&c.op) {
                None => wrong.push(format!("operation {} ends before it begins", c.op)),
                Some(a) if a.outcome.is_some() => wrong.push(format!("{a:?} ends twice")),
                Some(a) => a.outcome = Some(c.outcome.into_owned()),
            },
            Event::Invoke(_) | Event::Campaign(_) => {}
        });
        let integrity = read.map_err(|e| format!("the history cannot be read: {e}"))?;
        match wrong.pop() {
            Some(first) => Err(first),
            None => Ok((attempts, integrity)),
        }
    }

    /// The two equations, and that they are about what the history holds.
    fn adds_up(
        &self,
        attempts: &HashMap<u64, Attempt>,
        integrity: &Integrity,
    ) -> Result<(), String> {
        let killed = self.status.signal().is_some();
        let finished = attempts.values().filter(|a| a.outcome.is_some()).count();
        let whole = integrity.gaps.is_empty() && finished == attempts.len();
        let over = matches!(self.status.code(), Some(0 | 1 | 3 | 130));
        let Ok(text) = std::fs::read(self.path("summary.json")) else {
            // Interrupted before there was a load: nothing was planned yet.
            let nothing = self.status.code() == Some(130) && attempts.is_empty();
            return if over && !nothing { Err("it has no summary".into()) } else { Ok(()) };
        };
        if !whole {
            return Err(format!("{finished} of {} ended: {integrity:?}", attempts.len()));
        }
        let summary: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
        let count = |key: &str| summary["accounting"][key].as_u64().unwrap();
        let decided = |a: &&Attempt| a.outcome.as_ref().is_some_and(is_decided);
        let failed = |a: &&Attempt| matches!(a.outcome, Some(Outcome::Failed(_)));
        let own = [
            (count("planned"), count("sent") + count("dropped") + count("cancelled")),
            (count("sent"), count("decided") + count("failed") + count("indeterminate")),
            (count("sent"), attempts.len() as u64),
            (count("decided"), attempts.values().filter(decided).count() as u64),
            (count("failed"), attempts.values().filter(failed).count() as u64),
        ];
        if own.iter().any(|(a, b)| a != b) || summary["accounting"]["holds"] != true {
            return Err(format!("{own:?} of {}", summary["accounting"]));
        }
        let state = Run::load(&self.path("")).map_err(|e| e.to_string())?.state;
        let expected = match self.status.code() {
            Some(130) => state == RunState::Interrupted,
            _ => killed || state == RunState::Finished,
        };
        if expected { Ok(()) } else { Err(format!("its state is {state:?}")) }
    }
}

fn is_decided(outcome: &Outcome<'_>) -> bool {
    matches!(
        outcome,
        Outcome::Issued(_) | Outcome::SoldOut | Outcome::NotStarted | Outcome::AlreadyIssued(_)
    )
}

/// Whether the attempt may have ended like this after the system did that. Doubt is always allowed:
/// the answer may have got lost, and so is no end at all: the generator may have been killed.
fn may_follow(manner: Manner, attempt: &Attempt) -> Result<(), String> {
    let allowed = match (&attempt.outcome, manner) {
        (None | Some(Outcome::Indeterminate(_)), _) => true,
        (Some(Outcome::Issued(coupon)), Manner::Issues | Manner::Dawdles) => {
            coupon.code == code(&attempt.key)
        }
        (Some(Outcome::SoldOut), Manner::Refuses) => true,
        (Some(_), _) => false,
    };
    if allowed { Ok(()) } else { Err(format!("the system {manner:?}, but {attempt:?}")) }
}
