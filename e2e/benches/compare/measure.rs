//! The measurements.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use contract::history::Event;
use contract::run::Run;

use super::pace::{self, Error};
use super::server::{Manner, STEP, Seen, Server};
use super::tools::{Load, Tool, scenario};
use super::watch::{Watched, last_words};

/// What happens in a tool's first second is its start, not its work.
const START_UP: Duration = Duration::from_secs(1);
/// So long before the end of the load, it still works.
const BEFORE_THE_END: Duration = Duration::from_millis(300);
/// Connections that are open when a connection's memory is measured: first so many, then so many.
const FEW: usize = 100;
const MANY: usize = 1_000;

/// What one tool did once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Requests a second that the server saw.
    pub(crate) rate: f64,
    /// Error of arrival against the ideal schedule.
    pub(crate) error: Option<Error>,
    /// Error of arrival against the tool's own plan, where it is known.
    pub(crate) own: Option<Error>,
    /// Processor time for each request while it works, microseconds.
    pub(crate) cpu_us: f64,
    /// All of its processor time, from its start to its end, for each request.
    pub(crate) whole_us: f64,
    /// Most memory, MiB.
    pub(crate) peak_mib: f64,
}

/// Lets the tool do it once, against a server of its own.
pub(crate) fn measure(tool: Tool, load: Load) -> Result<Sample, String> {
    let dir = tempfile::tempdir().unwrap();
    let timed = matches!(load, Load::Open { .. });
    let mut server = Server::start(if timed { Manner::Timed } else { Manner::Plain });
    let mut watched = Watched::start(&tool.command(load, server.port, dir.path()), dir.path());
    let Some(working) = cpu_while_working(&mut server, &mut watched, load.time()) else {
        watched.end();
        return Err(last_words(dir.path()));
    };
    let usage = watched.end();
    let seen = server.end();
    if !tool.is_done(usage.code) {
        return Err(last_words(dir.path()));
    }
    if timed && seen.by_kernel * 100 < seen.arrivals.len() * 99 {
        return Err("the kernel does not tell when it received the requests".into());
    }
    let while_working: u64 = working_steps(&seen, load.time()).iter().sum();
    let (rate, error) = match load {
        Load::Open { rate, .. } => {
            (pace::rate(&seen.arrivals), pace::against_rate(&seen.arrivals, rate))
        }
        Load::Saturating { time } => (throughput(working_steps(&seen, time)), None),
    };
    let for_each = |cpu: Duration, requests: u64| cpu.as_secs_f64() * 1e6 / requests as f64;
    Ok(Sample {
        rate,
        error,
        own: (timed && tool == Tool::Loadgen).then(|| own_error(dir.path(), &seen)).flatten(),
        cpu_us: for_each(working, while_working),
        whole_us: for_each(usage.cpu, seen.steps.iter().sum()),
        peak_mib: usage.peak_kib as f64 / 1024.0,
    })
}

/// The processor time of a tool between its start-up and shortly before its end. `None` where it
/// ended without a request.
fn cpu_while_working(
    server: &mut Server,
    watched: &mut Watched,
    time: Duration,
) -> Option<Duration> {
    while !server.has_spoken() {
        if !watched.is_running() {
            return None;
        }
        sleep(Duration::from_millis(1));
    }
    server.hear();
    sleep(START_UP);
    let before = watched.cpu();
    sleep(time - START_UP - BEFORE_THE_END);
    Some(watched.cpu().saturating_sub(before))
}

/// What the server counted in that time.
fn working_steps(seen: &Seen, time: Duration) -> &[u64] {
    let step = |t: Duration| {
        usize::try_from(t.as_millis() / STEP.as_millis()).unwrap().min(seen.steps.len())
    };
    &seen.steps[step(START_UP)..step(time - BEFORE_THE_END)]
}

fn throughput(steps: &[u64]) -> f64 {
    steps.iter().sum::<u64>() as f64 / (steps.len() as f64 * STEP.as_secs_f64())
}

/// The error against the moments that loadgen's history says were intended.
fn own_error(dir: &Path, seen: &Seen) -> Option<Error> {
    let run = dir.join("run");
    let zero = Run::load(&run).ok()?.anchor.unix_ns;
    let mut plan = Vec::new();
    contract::history::read(&run.join("history"), &mut |event| {
        if let Event::Invoke(i) = event {
            plan.extend(i.intended.map(|t| t + zero));
        }
    })
    .ok()?;
    plan.sort_unstable();
    pace::against_plan(&seen.arrivals, &plan)
}

/// loadgen's memory at 1,000/s.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Seconds after the first request, and what was resident then: all of it, and of that what is
    /// not a file's (the history is), KiB.
    pub(crate) moments: Vec<(f64, u64, u64)>,
    /// Most of it, with the final figures, KiB.
    pub(crate) peak_kib: u64,
}

impl Memory {
    /// What is not a file's grows by so many KiB a minute: the slope of the line through all
    /// moments but those of the start.
    pub(crate) fn slope(&self) -> Option<f64> {
        let points: Vec<(f64, f64)> =
            self.moments.iter().filter(|m| m.0 >= 2.0).map(|m| (m.0 / 60.0, m.2 as f64)).collect();
        let n = points.len() as f64;
        let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
        let (over, under) = points.iter().fold((0.0, 0.0), |(over, under), p| {
            (over + (p.0 - x) * (p.1 - y), under + (p.0 - x) * (p.0 - x))
        });
        (under > 0.0).then(|| over / under)
    }
}

/// Watches loadgen's memory over a run of that length at 1,000/s.
pub(crate) fn memory(time: Duration) -> Result<Memory, String> {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(Manner::Plain);
    let load = Load::Open { rate: 1_000, time };
    let command = Tool::Loadgen.command(load, server.port, dir.path());
    let watched = Watched::start(&command, dir.path());
    server.hear();
    let begin = Instant::now();
    let mut moments = Vec::new();
    while begin.elapsed() + Duration::from_millis(500) < time {
        if let (Some(all), Some(own)) = (watched.memory("VmRSS"), watched.memory("RssAnon")) {
            moments.push((begin.elapsed().as_secs_f64(), all, own));
        }
        sleep(Duration::from_millis(500));
    }
    let usage = watched.end();
    server.end();
    if usage.code != Some(0) {
        return Err(last_words(dir.path()));
    }
    Ok(Memory { moments, peak_kib: usage.peak_kib })
}

/// What a connection of loadgen takes, bytes: what [`MANY`] open ones with a request under way on
/// each take more than [`FEW`].
pub(crate) fn memory_of_a_connection() -> Result<f64, String> {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(Manner::Holding(FEW, MANY));
    let url = format!("http://127.0.0.1:{}", server.port);
    let mut command = Command::new(e2e::binary("loadgen"));
    let load = format!("timeout: 20s, stages: [{{ for: 1s, rate: {MANY} }}]");
    scenario(&mut command, &load, &url, dir.path());
    let watched = Watched::start(&command, dir.path());
    let mut resident = [0; 2];
    server.hear();
    for figure in &mut resident {
        server.hear();
        *figure = watched.memory("VmRSS").unwrap_or(0);
    }
    server.answer();
    let usage = watched.end();
    server.end();
    if usage.code != Some(0) {
        return Err(last_words(dir.path()));
    }
    let [few, many] = resident.map(|kib| kib as f64 * 1024.0);
    Ok((many - few) / (MANY - FEW) as f64)
}
