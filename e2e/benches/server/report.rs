//! The tables, and what is said around them.

use std::fmt::Write as _;

use super::load::{CONNECTIONS, Launch, Overload, RATE, Sample, Verdict};
use super::table::{Goals, Limit, Table, cpu_model, grouped, median, ratio, shown};
use super::{Calls, Effort, Filled, IN_MEMORY, INSTANCES, QUEUE, Series};

pub(crate) const BARE: &str = "bare hyper answer";
pub(crate) const SQLITE: &str = "SQLite";
pub(crate) const SQLITE_ALONE: &str = "SQLite, --alone";
pub(crate) const SQLITE_ANYBODY: &str = "SQLite, UUIDs as users";
pub(crate) const SQLITE_ALONE_ANYBODY: &str = "SQLite, --alone, UUIDs as users";
pub(crate) const REDIS: &str = "Redis";
pub(crate) const REDIS_ALONE: &str = "Redis, --alone";
pub(crate) const POSTGRES: &str = "PostgreSQL";
pub(crate) const POSTGRES_ALONE: &str = "PostgreSQL, --alone";
/// Longest from the start to the first coupon, milliseconds.
const PROMPT: f64 = 5.0;

/// All that was measured.
pub(crate) struct Figures {
    pub(crate) effort: Effort,
    /// One instance on each store, and the bare answer.
    pub(crate) one: Vec<Series<Sample>>,
    /// Of redis-benchmark.
    pub(crate) calls: Vec<Calls>,
    /// Five processes on one SQLite file.
    pub(crate) five: Vec<Series<Sample>>,
    pub(crate) launches: Vec<Series<Launch>>,
    pub(crate) filled: Filled,
    pub(crate) overload: Overload,
}

const METHOD: &str = "\
loadgen asks, on the same cores as all that it asks: a user and a key of its own in each request, each
attempt in its history, each answer read. So a share of every figure but the processor time is
loadgen's. Each request gets a new coupon, of a campaign that does not sell out. Before a round of one, what
others left to be written is on the disk.

- **bare hyper answer** is a hyper in a process of its own, in as many threads as the server has, that
  answers with a constant of the same size. No server on hyper can be above it.
- **--alone** is the server without its trick: each request has a transaction, or a call of the
  script, of its own. On Redis all calls are under way at once over one connection; on PostgreSQL they
  wait for the campaign's row over 16 connections; on SQLite they take turns.
- **redis-benchmark** calls the server's own script (EVALSHA) over as many connections, for one request
  a call: no HTTP, no loadgen, nobody who looks at answers.
- **a step**: coupons that shared a transaction or a call, on average. Requests wait while a step is under
  way, so this is bounded by the connections to an instance.
- **CPU** is user and system time of the servers for each coupon, *store* that of the store's own processes.
- SQLite and PostgreSQL have each coupon on the disk before it is answered (`synchronous=FULL`; `fsync`
  and `synchronous_commit` on). Redis keeps nothing on the disk.
";

pub(crate) fn text(figures: &Figures) -> String {
    let effort = figures.effort;
    let mut text = String::from("# Benchmarks of the server\n\n");
    let _ = writeln!(
        text,
        "Written by `cargo bench -p e2e --bench server`. Ratios hold on this machine in this run \
         ({} cores, {});\nabsolute figures are the machine's. Medians of {} interleaved round(s) of \
         {} s,\n{IN_MEMORY} times as many of what needs no disk; {CONNECTIONS} connections.\n\n{METHOD}",
        std::thread::available_parallelism().map_or(1, usize::from),
        cpu_model(),
        effort.rounds,
        effort.saturating.as_secs(),
    );
    let _ = writeln!(text, "## Goals\n\n{}\n{}", goals(figures), ceiling(figures));
    let _ = writeln!(text, "## One instance\n\n{}", saturating(&figures.one, Some(&figures.calls)));
    let _ = writeln!(
        text,
        "## {INSTANCES} processes on one SQLite file\n\n{}\n{}",
        saturating(&figures.five, None),
        ANYBODY
    );
    let _ = writeln!(
        text,
        "## A launch, {} requests/s over {INSTANCES} instances\n\n{}\n{}",
        grouped(f64::from(RATE)),
        launches(&figures.launches),
        LAUNCH
    );
    let _ = writeln!(text, "## A full campaign\n\n{}", filled(&figures.filled));
    let _ = write!(text, "## Twice the capacity\n\n{}", overload(figures.overload));
    text
}

const ANYBODY: &str = "\
Users are numbered as they come, wherever nothing else is said. A table's index by user is then written at its
end; by UUIDs each coupon is another page of it, which are written, logged and synced.
";

const LAUNCH: &str = "\
From one second before the start on, so everybody before it has to be told so. *first* is from the start
to the first answer with a coupon; the first request after the start is up to a millisecond later than
it. *start ±* is how well the start is known on the clock of the history. The last columns count what the
verifier says of history and store, which is invalid where one coupon is too many, too early, or somebody's second.
*Unknown* has nothing wrong in it, but nobody whose request was under way at the very start.
";

fn saturating(all: &[Series<Sample>], calls: Option<&[Calls]>) -> Table {
    let mut head = vec!["store", "coupons/s", "a step", "CPU µs", "store µs", "p50 µs", "p99 µs"];
    if calls.is_some() {
        head.insert(2, "x bare");
    }
    let mut table = Table::new(&head);
    let bare = rate(all, BARE);
    for series in all {
        let figure = |f: &dyn Fn(&Sample) -> Option<f64>, digits| shown(series.figure(f), digits);
        let rate = series.figure(|s| Some(s.rate));
        let mut row = vec![
            series.subject.name.into(),
            rate.map_or_else(|| "–".into(), grouped),
            figure(&|s| s.shared, 1),
            figure(&|s| Some(s.cpu_us), 1),
            figure(&|s| s.store_us, 1),
            figure(&|s| s.p50_us, 0),
            figure(&|s| s.p99_us, 0),
        ];
        if calls.is_some() {
            row.insert(2, shown(ratio(rate, bare), 2));
        }
        table.row(row);
    }
    if let Some(calls) = calls {
        let rate = median(calls.iter().map(|calls| calls.rate));
        let store = shown(median(calls.iter().map(|calls| calls.store_us)), 1);
        let [name, none] = ["redis-benchmark, the script alone", "–"].map(String::from);
        let (shown_rate, x) =
            (rate.map_or_else(|| none.clone(), grouped), shown(ratio(rate, bare), 2));
        table.row(vec![name, shown_rate, x, "1.0".into(), none.clone(), store, none.clone(), none]);
    }
    table
}

fn launches(all: &[Series<Launch>]) -> Table {
    let mut table = Table::new(&[
        "store",
        "p50 µs",
        "p99 µs",
        "CPU µs",
        "store µs",
        "first ms",
        "start ± ms",
        "valid",
        "unknown",
        "invalid",
    ]);
    for series in all {
        let figure = |f: &dyn Fn(&Launch) -> Option<f64>, digits| shown(series.figure(f), digits);
        table.row(vec![
            series.subject.name.into(),
            figure(&|l| l.p50_us, 0),
            figure(&|l| l.p99_us, 0),
            figure(&|l| Some(l.cpu_us), 1),
            figure(&|l| l.store_us, 1),
            figure(&|l| Some(l.first_us / 1e3), 2),
            figure(&|l| Some(l.uncertainty_us / 1e3), 2),
            count(series, Verdict::Valid).to_string(),
            count(series, Verdict::Unknown).to_string(),
            count(series, Verdict::Invalid).to_string(),
        ]);
    }
    table
}

fn count(series: &Series<Launch>, verdict: Verdict) -> usize {
    series.rounds.iter().filter(|launch| launch.verdict == verdict).count()
}

fn filled(filled: &Filled) -> String {
    let mut text = String::new();
    let mut table = Table::new(&["coupons issued by it", "server's heap MiB"]);
    let every = filled.memory.len().div_ceil(8);
    let last = filled.memory.last().filter(|_| !(filled.memory.len() - 1).is_multiple_of(every));
    for (issued, kib) in filled.memory.iter().step_by(every).chain(last) {
        table.row(vec![grouped(*issued as f64), format!("{:.1}", kib / 1024.0)]);
    }
    let _ = writeln!(
        text,
        "One server on Redis. Its memory while it issued the first {} coupons of a campaign:\n\n\
         {table}\nThen that campaign and empty ones, turn about:\n",
        grouped(filled.issued as f64)
    );
    let mut table = Table::new(&["campaign", "coupons/s", "CPU µs", "store µs"]);
    for (name, samples) in [("full", &filled.full), ("empty", &filled.empty)] {
        let figure = |f: &dyn Fn(&Sample) -> Option<f64>| median(samples.iter().filter_map(f));
        table.row(vec![
            name.into(),
            figure(&|s| Some(s.rate)).map_or_else(|| "–".into(), grouped),
            shown(figure(&|s| Some(s.cpu_us)), 1),
            shown(figure(&|s| s.store_us), 1),
        ]);
    }
    let _ = writeln!(text, "{table}");
    text
}

fn overload(overload: Overload) -> String {
    let mut table = Table::new(&["third of the time", "median ms of those with a coupon"]);
    for (third, us) in ["first", "second", "last"].iter().zip(overload.thirds) {
        table.row(vec![(*third).into(), format!("{:.1}", us / 1e3)]);
    }
    format!(
        "{} requests/s at {POSTGRES_ALONE}, with `--queue {QUEUE}`: {} coupons/s. The \
         others were refused at once\n(503 `overloaded`). It is the slowest, and so the one that is \
         not limited by the loadgen on the same cores.\n\n{table}",
        grouped(overload.asked),
        grouped(overload.rate)
    )
}

/// The most memory in the second half of the coupons, to the most in the first. It rises and falls with what
/// requests need for a moment; were anything kept of each coupon, the most would rise with them.
fn growth(filled: &Filled) -> Option<f64> {
    let most = |second_half| {
        let half =
            filled.memory.iter().filter(|(issued, _)| (issued * 2 >= filled.issued) == second_half);
        half.map(|(_, memory)| *memory).max_by(f64::total_cmp)
    };
    Some(most(true)? / most(false)?)
}

fn rate(all: &[Series<Sample>], name: &str) -> Option<f64> {
    all.iter().find(|s| s.subject.name == name)?.figure(|s| Some(s.rate))
}

/// The rate of one to that of another, of rounds that lay side by side.
fn times(all: &[Series<Sample>], name: &str, other: &str) -> Option<f64> {
    beside(all, name, other, |one, other| one.rate / other.rate)
}

/// A figure of two, of rounds that lay side by side.
fn beside(
    all: &[Series<Sample>],
    name: &str,
    other: &str,
    figure: impl Fn(&Sample, &Sample) -> f64,
) -> Option<f64> {
    let rounds = |name| Some(all.iter().find(|s| s.subject.name == name)?.rounds.iter());
    median(rounds(name)?.zip(rounds(other)?).map(|(one, other)| figure(one, other)))
}

/// What bounds the ratios to `--alone`.
fn ceiling(figures: &Figures) -> String {
    let bare = rate(&figures.one, BARE);
    let to = |other| shown(ratio(bare, other), 2);
    let calls = median(figures.calls.iter().map(|calls| calls.rate));
    let one = shown(ratio(Some(1e6), rate(&figures.five, SQLITE_ALONE)), 0);
    format!(
        "The bare answer itself is {} x Redis with a call each, and {} x what redis-benchmark gets \
         out of Redis:\nthese are the most that sharing calls can be worth where server, Redis and \
         loadgen have these cores. Where\neach of them has cores of its own, own time decides: the server's \
         is what a core of servers carries, and Redis'\n(*store µs*) is what all servers together wait for.\n\
         What sharing transactions is worth depends on how long the disk \
         takes: SQLite with one coupon a\ntransaction needs {one} µs for each.\n",
        to(rate(&figures.one, REDIS_ALONE)),
        to(calls)
    )
}

fn goals(figures: &Figures) -> Table {
    let mut goals = Goals::new();
    let one = |name, other| times(&figures.one, name, other);
    let mut at_least = |what: &str, limit, measured| {
        goals.add(what, Limit::AtLeast(limit), "x", measured);
    };
    at_least("Redis, to the bare answer", 0.6, one(REDIS, BARE));
    let own = beside(&figures.one, BARE, REDIS, |bare, redis| bare.cpu_us / redis.cpu_us);
    at_least("server's own time for an answer, bare to with Redis", 0.6, own);
    at_least("Redis, to a call of the script each", 3.0, one(REDIS, REDIS_ALONE));
    let redis = figures.one.iter().find(|s| s.subject.name == REDIS);
    let rounds = redis.into_iter().flat_map(|s| &s.rounds).zip(&figures.calls);
    let spared = median(rounds.filter_map(|(all, each)| Some(each.store_us / all.store_us?)));
    at_least("Redis' own time for a coupon, a call each to shared calls", 3.0, spared);
    at_least("PostgreSQL, to a row lock each", 10.0, one(POSTGRES, POSTGRES_ALONE));
    let eight = times(&figures.five, SQLITE, SQLITE_ALONE);
    at_least("SQLite, five processes, to a transaction each", 8.0, eight);
    let Filled { full, empty, issued, .. } = &figures.filled;
    let issued = grouped(*issued as f64);
    let full = median(full.iter().zip(empty).map(|(full, empty)| full.rate / empty.rate));
    at_least(&format!("Redis with {issued} coupons issued, to an empty campaign"), 0.95, full);
    let growth = growth(&figures.filled);
    let what = format!("most memory over {issued} coupons, second half to first");
    goals.add(&what, Limit::AtMost(1.1), "x", growth);
    for series in &figures.launches {
        let first = series.figure(|l| Some(l.first_us / 1e3));
        let what = format!("first coupon, {}", series.subject.name);
        goals.add(&what, Limit::AtMost(PROMPT), "ms", first);
        let what = format!("launches that are invalid, {}", series.subject.name);
        let invalid = count(series, Verdict::Invalid) as f64;
        goals.add(&what, Limit::AtMost(0.0), "", Some(invalid));
    }
    let [first, _, last] = figures.overload.thirds;
    let what = "latency at twice the capacity, last third to first";
    goals.add(what, Limit::AtMost(1.5), "x", Some(last / first));
    goals.table()
}
