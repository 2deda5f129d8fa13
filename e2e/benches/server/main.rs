//! `cargo bench -p e2e --bench server`: how fast coupon-server is, as ratios to limits of the same run:
//! a bare hyper answer, redis-benchmark, and itself where no two requests share a step.
//!
//! All ask over the same connections on the same cores. Rounds are interleaved and medians count, so
//! that whatever else the machine does meets all of them. Prints tables and writes them to
//! `docs/benchmarks-server.md`. `-- --quick` takes a minute, and writes nothing.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people, far below 2^53"
)]

mod limit;
mod load;
mod parts;
mod report;
#[path = "../compare/table.rs"]
mod table;

use std::path::Path;
use std::time::Duration;

use load::{Launch, Overload, Sample};
use parts::{Store, Subject};

/// The server's: the bare answer is measured in this program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
usage: cargo bench -p e2e --bench server [-- [--quick] [--filled COUPONS]]
  --quick    one short round of each; writes nothing
  --filled   coupons that are issued before a full campaign is measured [default: 10000000]";
/// Instances of a launch.
const INSTANCES: usize = 5;
/// How much longer a campaign is filled for than anything is measured for.
const FILLING: u32 = 5;
/// How many times as many rounds what needs no disk has: a median of few is not near enough where all cores are busy.
const IN_MEMORY: usize = 3;
/// Requests that may wait where more come than are carried.
const QUEUE: &str = "100";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    /// Of one round of one subject.
    saturating: Duration,
    launch: Duration,
    overload: Duration,
    /// Calls that redis-benchmark makes in a round.
    calls: u32,
    /// Coupons of a full campaign, at least.
    filled: u64,
}

const FULL: Effort = Effort {
    rounds: 5,
    saturating: Duration::from_secs(2),
    launch: Duration::from_secs(4),
    overload: Duration::from_secs(9),
    calls: 100_000,
    filled: 10_000_000,
};
const QUICK: Effort = Effort {
    rounds: 1,
    saturating: Duration::from_secs(1),
    launch: Duration::from_secs(2),
    overload: Duration::from_secs(3),
    calls: 20_000,
    filled: 20_000,
};

/// What a subject did, round by round.
struct Series<T> {
    subject: Subject,
    rounds: Vec<T>,
}

impl<T> Series<T> {
    fn of(subject: Subject) -> Self {
        Self { subject, rounds: Vec::new() }
    }

    /// The median of a figure.
    fn figure(&self, figure: impl Fn(&T) -> Option<f64>) -> Option<f64> {
        table::median(self.rounds.iter().filter_map(figure))
    }
}

/// Calls of the script that redis-benchmark made.
struct Calls {
    /// A second.
    rate: f64,
    /// Processor time of Redis for each, microseconds.
    store_us: f64,
}

/// Issues through one server while it fills a campaign, and its memory, KiB, from time to time.
type Memory = Vec<(u64, f64)>;

/// A campaign of which much is issued, beside an empty one of the same server.
struct Filled {
    memory: Memory,
    issued: u64,
    full: Vec<Sample>,
    empty: Vec<Sample>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if arguments.first().is_some_and(|a| a == limit::ROLE) {
        return limit::run();
    }
    let Some(effort) = effort(&arguments) else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let text = report::text(&measure(effort));
    println!("{text}");
    if effort.rounds == FULL.rounds {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks-server.md");
        std::fs::write(path, text).unwrap();
        eprintln!("written to docs/benchmarks-server.md");
    }
}

fn effort(arguments: &[String]) -> Option<Effort> {
    let quick = arguments.iter().any(|a| a == "--quick");
    let mut effort = if quick { QUICK } else { FULL };
    let mut rest = arguments.iter().filter(|a| *a != "--quick");
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--filled" => effort.filled = rest.next()?.parse().ok()?,
            _ => return None,
        }
    }
    Some(effort)
}

fn measure(effort: Effort) -> report::Figures {
    let (one, calls) = one_instance(effort);
    let five = five_processes(effort);
    let launches = launches(effort);
    let filled = filled(effort);
    let capacity = one.iter().find(|s| s.subject.name == report::POSTGRES_ALONE).unwrap();
    let overload = overloaded(effort, capacity.figure(|s| Some(s.rate)).unwrap());
    report::Figures { effort, one, calls, five, launches, filled, overload }
}

/// One server on each store, as fast as it goes, and the calls a second that redis-benchmark makes. What needs no
/// disk comes first: databases go on writing and tidying up when nobody asks them any more.
fn one_instance(effort: Effort) -> (Vec<Series<Sample>>, Vec<Calls>) {
    let (in_memory, calls) = in_memory(effort);
    let mut on_disk = [
        Subject::new(report::SQLITE, Store::sqlite(), 1, &[]),
        Subject::new(report::POSTGRES, Store::postgres(), 1, &[]),
        Subject::new(report::POSTGRES_ALONE, Store::postgres(), 1, &["--alone"]),
    ]
    .map(Series::of);
    (1..=effort.rounds).for_each(|round| saturate(&mut on_disk, effort, round));
    (in_memory.into_iter().chain(on_disk).collect(), calls)
}

fn in_memory(effort: Effort) -> ([Series<Sample>; 3], Vec<Calls>) {
    let mut series = [
        Subject::bare(report::BARE),
        Subject::new(report::REDIS, Store::redis(), 1, &[]),
        Subject::new(report::REDIS_ALONE, Store::redis(), 1, &["--alone"]),
    ]
    .map(Series::of);
    let effort = Effort { rounds: IN_MEMORY * effort.rounds, ..effort };
    let mut calls = Vec::new();
    for round in 1..=effort.rounds {
        saturate(&mut series, effort, round);
        calls.push(script_calls(&series[1].subject, effort.calls));
    }
    (series, calls)
}

fn saturate(series: &mut [Series<Sample>], effort: Effort, round: usize) {
    for series in series {
        eprintln!("round {round} of {}: {}", effort.rounds, series.subject.name);
        // What the one before left to be written is not this one's to bear.
        nix::unistd::sync();
        series.rounds.push(load::saturate(&series.subject, effort.saturating));
    }
}

/// In a campaign of its own, whose counter tells whether coupons were issued.
fn script_calls(subject: &Subject, calls: u32) -> Calls {
    let Some(Store::Redis(redis)) = &subject.store else { panic!("no Redis") };
    let campaign = subject.campaign();
    let before = subject.cpu().1.unwrap();
    let rate = load::script_calls(redis, &campaign, calls);
    let cpu = subject.cpu().1.unwrap() - before;
    let issued = subject.issued_of(&campaign);
    // Some numbers are drawn twice, and answered with the coupon that is there.
    assert!(issued > u64::from(calls) * 99 / 100, "{issued} coupons for {calls} calls");
    Calls { rate, store_us: cpu.as_secs_f64() * 1e6 / f64::from(calls) }
}

/// Five processes on one file, each transaction on the disk before anybody is answered.
fn five_processes(effort: Effort) -> Vec<Series<Sample>> {
    let mut series = [
        Subject::new(report::SQLITE, Store::sqlite(), INSTANCES, &[]),
        Subject::new(report::SQLITE_ALONE, Store::sqlite(), INSTANCES, &["--alone"]),
        Subject::new(report::SQLITE_ANYBODY, Store::sqlite(), INSTANCES, &[]).by_anybody(),
        Subject::new(report::SQLITE_ALONE_ANYBODY, Store::sqlite(), INSTANCES, &["--alone"])
            .by_anybody(),
    ]
    .map(Series::of);
    (1..=effort.rounds).for_each(|round| saturate(&mut series, effort, round));
    series.into()
}

fn launches(effort: Effort) -> Vec<Series<Launch>> {
    let mut series = [
        (report::SQLITE, Store::sqlite()),
        (report::REDIS, Store::redis()),
        (report::POSTGRES, Store::postgres()),
    ]
    .map(|(name, store)| Series::of(Subject::new(name, store, INSTANCES, &[])));
    for round in 1..=effort.rounds {
        for series in &mut series {
            eprintln!("round {round} of {}: launch, {}", effort.rounds, series.subject.name);
            series.rounds.push(load::launch(&series.subject, effort.launch));
        }
    }
    series.into()
}

fn filled(effort: Effort) -> Filled {
    let mut subject = Subject::new(report::REDIS, Store::redis(), 1, &[]);
    let mut memory = vec![(0, subject.servers[0].memory())];
    while subject.issued() < effort.filled {
        eprintln!("{} of {} coupons issued", subject.issued(), effort.filled);
        load::saturate(&subject, FILLING * effort.saturating);
        memory.push((subject.issued(), subject.servers[0].memory()));
    }
    let issued = subject.issued();
    let full_path = subject.path.clone();
    let (mut full, mut empty) = (Vec::new(), Vec::new());
    for round in 1..=2 * effort.rounds {
        eprintln!("round {round} of {}: full and empty campaign", 2 * effort.rounds);
        // Turn about, for whatever the first of two leaves behind.
        for is_full in [round % 2 == 0, round % 2 == 1] {
            if is_full {
                subject.path.clone_from(&full_path);
            } else {
                subject.renew();
            }
            let sample = load::saturate(&subject, effort.saturating);
            if is_full { &mut full } else { &mut empty }.push(sample);
        }
    }
    Filled { memory, issued, full, empty }
}

fn overloaded(effort: Effort, capacity: f64) -> Overload {
    let flags = ["--alone", "--queue", QUEUE];
    let subject = Subject::new(report::POSTGRES_ALONE, Store::postgres(), 1, &flags);
    eprintln!("twice the capacity");
    load::overload(&subject, (2.0 * capacity) as u32, effort.overload)
}
