//! The tables, and what is said around them.

use std::fmt::Write as _;

use super::measure::{Memory, Sample};
use super::quiet::{QUIET_US, Rounds};
use super::table::{Goals, Limit, Table, cpu_model, grouped, ratio, shown};
use super::tools::{CONNECTIONS, Load, Tool};
use super::{Effort, Series};

/// All that was measured.
pub(crate) struct Figures {
    pub(crate) effort: Effort,
    pub(crate) missing: Vec<Tool>,
    pub(crate) series: [Series; 3],
    pub(crate) quiet: [Rounds; 2],
    pub(crate) memory: Result<Memory, String>,
    pub(crate) connection: Result<f64, String>,
}

const METHOD: &str = "\
All tools send the same request to the same minimal server, which runs in a process of its own on
the same cores, answers at once, and is started anew for each measurement. loadgen does all of its
work: a user and a key of its own in each request, each attempt in the history before it is sent,
each answer matched against the mapping and its coupon recorded, the figures at the end.

- **Arrival error.** The kernel notes when it received each request (SO_TIMESTAMPNS), so the
  server's own wake-up is not part of it. Arrivals are sorted; the k-th is held against t0 + k/rate.
  Nobody but the tool knows its t0, so it is fitted, for all tools alike: t0 is the first percentile
  of `arrival k - k/rate`. The first second is left out. *Own plan* is the error against the
  moments that loadgen's history calls intended, with nothing fitted.
- **CPU** is user and system time of the process for each request, while it works: from one second
  after its first request until shortly before the load ends. *Whole* is all it ever used, for each
  request: with starting up and with the final report, which weigh the more the shorter a run is.
- **Peak** is the most memory that was resident, in the whole life of the process.
- **Rates** are what the server counted.
- **bare** is no load generator: it sleeps until each moment, writes the same bytes each time, reads
  what has come, and does nothing else. wrk2 is cheaper than it where it sends several requests at
  once, which shows in its arrival error. So no tool that keeps to the plan can reach 1.2 times
  wrk2's processor time where the bare one needs more.
";

pub(crate) fn title(load: Load) -> String {
    match load {
        Load::Open { rate, .. } => format!("open, {} requests/s", grouped(f64::from(rate))),
        Load::Saturating { .. } => format!("saturating, {CONNECTIONS} connections"),
    }
}

pub(crate) fn text(figures: &Figures) -> String {
    let Figures { effort, missing, series, .. } = figures;
    let mut text = String::from("# Benchmarks\n\n");
    let _ = writeln!(
        text,
        "Written by `cargo bench -p e2e --bench compare`; it measures loadgen beside other load \
         generators.\nRatios hold on this machine in this run ({} cores, {}); absolute times are \
         the machine's.\nMedians of {} interleaved round(s) of {} s at an open rate and {} s \
         saturating.\n",
        std::thread::available_parallelism().map_or(1, usize::from),
        cpu_model(),
        effort.rounds,
        effort.open.as_secs(),
        effort.saturating.as_secs(),
    );
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|t| t.name()).collect();
        let _ = writeln!(text, "Not installed, so not measured: {}.\n", names.join(", "));
    }
    let _ = writeln!(text, "{METHOD}\n## Goals\n\n{}", goals(figures));
    for series in series {
        let _ = writeln!(text, "## {}\n", capitalized(&title(series.load)));
        let table = match series.load {
            Load::Open { .. } => open(series),
            Load::Saturating { .. } => saturating(series),
        };
        let _ = writeln!(text, "{table}");
        let mut troubles = series.troubles.clone();
        troubles.dedup();
        for trouble in troubles {
            let _ = writeln!(text, "Not measured: {trouble}\n");
        }
    }
    let _ = writeln!(text, "## Quiet cores\n\n{}", quiet(figures));
    let _ = write!(text, "## Memory of loadgen\n\n{}", memory(figures));
    text
}

fn open(series: &Series) -> Table {
    let mut table = Table::new(&[
        "tool",
        "sent/s",
        "p50 µs",
        "p99 µs",
        "max µs",
        "CPU µs",
        "x wrk2",
        "x bare",
        "whole µs",
        "peak MiB",
    ]);
    for (tool, _) in &series.tools {
        let figure = |f: &dyn Fn(&Sample) -> Option<f64>| series.figure(*tool, f);
        let cpu = figure(&|s| Some(s.cpu_us));
        table.row(vec![
            tool.name().into(),
            figure(&|s| Some(s.rate)).map_or_else(|| "–".into(), grouped),
            shown(figure(&|s| Some(s.error?.p50)), 0),
            shown(figure(&|s| Some(s.error?.p99)), 0),
            shown(figure(&|s| Some(s.error?.max)), 0),
            shown(cpu, 1),
            shown(ratio(cpu, cpu_of(series, Tool::Wrk2)), 2),
            shown(ratio(cpu, cpu_of(series, Tool::Bare)), 2),
            shown(figure(&|s| Some(s.whole_us)), 1),
            shown(figure(&|s| Some(s.peak_mib)), 1),
        ]);
    }
    let own = |f: &dyn Fn(&Sample) -> Option<f64>| shown(series.figure(Tool::Loadgen, f), 0);
    let blank = String::new;
    table.row(vec![
        "loadgen, own plan".into(),
        blank(),
        own(&|s| Some(s.own?.p50)),
        own(&|s| Some(s.own?.p99)),
        own(&|s| Some(s.own?.max)),
        blank(),
        blank(),
        blank(),
        blank(),
        blank(),
    ]);
    table
}

fn quiet(figures: &Figures) -> String {
    let mut table = Table::new(&[
        "requests/s",
        "rounds",
        "quiet",
        "p50 µs",
        "p99 µs",
        "bare p50 µs",
        "bare p99 µs",
    ]);
    for rounds in &figures.quiet {
        table.row(vec![
            grouped(f64::from(rounds.rate)),
            rounds.all().to_string(),
            rounds.quiet().to_string(),
            shown(rounds.loadgen(|e| e.p50), 0),
            shown(rounds.loadgen(|e| e.p99), 0),
            shown(rounds.bare(|e| e.p50), 0),
            shown(rounds.bare(|e| e.p99), 0),
        ]);
    }
    format!(
        "Arrival error of loadgen, with the bare program before and after each of its rounds. A round \
         counts\nas quiet where the bare program's p99 was at most {QUIET_US:.0} µs both times, and \
         medians are of those. So\nthe reference says which rounds count, and not what loadgen did \
         in them.\n\n{table}"
    )
}

fn saturating(series: &Series) -> Table {
    let mut table =
        Table::new(&["tool", "requests/s", "x wrk", "CPU µs", "x wrk", "whole µs", "peak MiB"]);
    let rate = |tool| series.figure(tool, |s| Some(s.rate));
    for (tool, _) in &series.tools {
        let cpu = cpu_of(series, *tool);
        table.row(vec![
            tool.name().into(),
            rate(*tool).map_or_else(|| "–".into(), grouped),
            shown(ratio(rate(*tool), rate(Tool::Wrk)), 2),
            shown(cpu, 1),
            shown(ratio(cpu, cpu_of(series, Tool::Wrk)), 2),
            shown(series.figure(*tool, |s| Some(s.whole_us)), 1),
            shown(series.figure(*tool, |s| Some(s.peak_mib)), 1),
        ]);
    }
    table
}

fn memory(figures: &Figures) -> String {
    let mut text = String::new();
    match &figures.memory {
        Ok(memory) => {
            let mut table = Table::new(&["seconds at 1,000/s", "resident MiB", "of it heap MiB"]);
            let every = (memory.moments.len() / 8).max(1);
            for (at, all, own) in memory.moments.iter().step_by(every) {
                let mib = |kib: u64| format!("{:.1}", kib as f64 / 1024.0);
                table.row(vec![format!("{at:.1}"), mib(*all), mib(*own)]);
            }
            let _ = writeln!(
                text,
                "{table}\nThe rest is the program and the part of the history that is mapped, at \
                 most 4 MiB for each load\nthread. The heap grows by {} KiB a minute. Peak, with \
                 the final figures: {:.1} MiB.",
                shown(memory.slope(), 0),
                memory.peak_kib as f64 / 1024.0
            );
        }
        Err(reason) => drop(writeln!(text, "Not measured: {reason}")),
    }
    match &figures.connection {
        Ok(bytes) => drop(writeln!(
            text,
            "\nA connection with a request under way takes {:.1} KiB (what 1,000 of them take \
             more than 100).",
            bytes / 1024.0
        )),
        Err(reason) => drop(writeln!(text, "\nNot measured, a connection: {reason}")),
    }
    text
}

/// What is aimed at, and whether it is there.
fn goals(figures: &Figures) -> Table {
    let mut goals = Goals::new();
    let mut goal = |what: &str, at_most: bool, limit: f64, unit: &str, measured: Option<f64>| {
        let limit = if at_most { Limit::AtMost(limit) } else { Limit::AtLeast(limit) };
        goals.add(what, limit, unit, measured);
    };
    let [slow, fast, full] = &figures.series;
    for (series, rounds) in [slow, fast].into_iter().zip(&figures.quiet) {
        let rate = grouped(f64::from(rounds.rate));
        let (p50, p99) = (rounds.loadgen(|e| e.p50), rounds.loadgen(|e| e.p99));
        goal(&format!("arrival error p50 at {rate}/s, quiet cores"), true, 50.0, "µs", p50);
        goal(&format!("arrival error p99 at {rate}/s, quiet cores"), true, 250.0, "µs", p99);
        let cpu = ratio(cpu_of(series, Tool::Loadgen), cpu_of(series, Tool::Wrk2));
        goal(&format!("CPU a request at {rate}/s, wrk2's"), true, 1.2, "x", cpu);
        let cpu = ratio(cpu_of(series, Tool::Loadgen), cpu_of(series, Tool::Bare));
        goal(&format!("CPU a request at {rate}/s, the bare one's"), true, 1.2, "x", cpu);
    }
    for peer in [Tool::K6, Tool::Vegeta] {
        let cpu = ratio(cpu_of(slow, Tool::Loadgen), cpu_of(slow, peer));
        goal(&format!("CPU a request at 1,000/s, {}'s", peer.name()), true, 0.25, "x", cpu);
    }
    let rate = |tool| full.figure(tool, |s| Some(s.rate));
    let speed = ratio(rate(Tool::Loadgen), rate(Tool::Wrk));
    goal("saturating throughput, wrk's", false, 1.0, "x", speed);
    let peak = figures.memory.as_ref().ok().map(|m| m.peak_kib as f64 / 1024.0);
    goal("memory at 1,000/s", true, 64.0, "MiB", peak);
    let connection = figures.connection.as_ref().ok().map(|bytes| bytes / 1024.0);
    goal("memory of a connection", true, 32.0, "KiB", connection);
    goals.table()
}

fn cpu_of(series: &Series, tool: Tool) -> Option<f64> {
    series.figure(tool, |s| Some(s.cpu_us))
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |l| l.to_uppercase().chain(letters).collect())
}
