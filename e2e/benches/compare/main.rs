//! `cargo bench -p e2e --bench compare`: loadgen beside wrk and, where they are on the PATH, wrk2,
//! oha, vegeta and k6. Prints tables and writes them to `docs/benchmarks.md`.
//!
//! All ask the same of a minimal server in a process of its own, which also notes when the kernel
//! received each request. Rounds are interleaved and medians count, so that whatever else the
//! machine does meets all of them. `-- --quick` takes a minute, and writes nothing.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people, far below 2^53"
)]

mod bare;
mod measure;
mod pace;
mod quiet;
mod report;
mod server;
mod table;
mod tools;
mod watch;

use std::path::Path;
use std::time::Duration;

use measure::{Sample, measure};
use quiet::Rounds;
use tools::{Load, Tool};

/// Open rates that are measured, requests a second.
const RATES: [u32; 2] = [1_000, 5_000];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    /// Rounds of loadgen and the bare program alone, of which only the quiet ones count.
    quiet: usize,
    open: Duration,
    saturating: Duration,
    memory: Duration,
}

const FULL: Effort = Effort {
    rounds: 7,
    quiet: 8,
    open: Duration::from_secs(5),
    saturating: Duration::from_secs(4),
    memory: Duration::from_secs(20),
};
const QUICK: Effort = Effort {
    rounds: 1,
    quiet: 2,
    open: Duration::from_secs(3),
    saturating: Duration::from_secs(3),
    memory: Duration::from_secs(6),
};

/// What all tools did with one load, round by round.
#[derive(Debug)]
struct Series {
    load: Load,
    tools: Vec<(Tool, Vec<Sample>)>,
    /// Why a tool has fewer samples than rounds.
    troubles: Vec<String>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((role, rest)) if role == server::ROLE => return server::run(rest),
        Some((role, rest)) if role == watch::ROLE => return watch::run(rest),
        Some((role, rest)) if role == bare::ROLE => return bare::run(rest),
        _ => {}
    }
    let quick = arguments.iter().any(|a| a == "--quick");
    let text = compare(if quick { QUICK } else { FULL });
    println!("{text}");
    if !quick {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
        std::fs::write(path, text).unwrap();
        eprintln!("written to docs/benchmarks.md");
    }
}

fn compare(effort: Effort) -> String {
    let (tools, missing): (Vec<Tool>, Vec<Tool>) =
        Tool::ALL.into_iter().partition(|t| t.find().is_some());
    let open = RATES.map(|rate| Load::Open { rate, time: effort.open });
    let saturating = Load::Saturating { time: effort.saturating };
    let mut series = [open[0], open[1], saturating].map(|load| Series {
        load,
        tools: tools.iter().filter(|t| t.can(load)).map(|t| (*t, Vec::new())).collect(),
        troubles: Vec::new(),
    });
    for round in 1..=effort.rounds {
        for series in &mut series {
            eprintln!("round {round} of {}: {}", effort.rounds, report::title(series.load));
            series.measure();
        }
    }
    let quiet = RATES.map(|rate| {
        eprintln!("{} rounds with the bare program at {rate}/s", effort.quiet);
        Rounds::measure(rate, effort.open, effort.quiet)
    });
    eprintln!("memory over {} s", effort.memory.as_secs());
    let memory = measure::memory(effort.memory);
    let connection = measure::memory_of_a_connection();
    report::text(&report::Figures { effort, missing, series, quiet, memory, connection })
}

impl Series {
    fn measure(&mut self) {
        for (tool, samples) in &mut self.tools {
            match measure(*tool, self.load) {
                Ok(sample) => samples.push(sample),
                Err(reason) => self.troubles.push(format!("{}: {reason}", tool.name())),
            }
        }
    }

    /// The median of a figure of a tool.
    fn figure(&self, tool: Tool, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let (_, samples) = self.tools.iter().find(|(t, _)| *t == tool)?;
        table::median(samples.iter().filter_map(figure))
    }
}
