//! `loadgen`: flags, exit codes, and nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use loadgen::export::export;
use loadgen::instances::{BECOME_INSTANCE, become_instance};
use loadgen::run::{Ending, Options, run};
use loadgen::scenario::Overrides;

/// Done, and the figures may be trusted.
const SOUND: u8 = 0;
/// It could not be run.
const COULD_NOT_RUN: u8 = 2;
/// It ran, but its figures must not be trusted.
const UNKNOWN: u8 = 3;
/// A signal ended it.
const INTERRUPTED: u8 = 130;

/// Drives a coupon launch along a scenario and records every request it ever sent.
#[derive(Parser)]
#[command(
    name = "loadgen",
    version,
    after_help = "\
Exit codes:
  0    the plan was carried out and the figures may be trusted
  2    it could not be run: the scenario, the system or the disk; one line says why
  3    it ran, but the figures must not be trusted; the last lines say why
  130  a signal ended it; what was sent until then is recorded

Whether the launch was correct is the verifier's word: verifier check"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a scenario.
    #[command(after_help = "\
Examples:
  loadgen run scenarios/launch.yaml
  loadgen run scenarios/launch.yaml --store redis://127.0.0.1:6379/0
  loadgen run scenarios/launch.yaml --target http://127.0.0.1:8081 --target http://127.0.0.1:8082
  loadgen run scenarios/launch.yaml --set campaign.coupons=500 --set load.stages.1.to=2000")]
    Run(RunArgs),
    /// Writes the history of a run as JSON Lines (coupon-history/1).
    #[command(after_help = "\
Examples:
  loadgen export | head
  loadgen export runs/latest --out launch.jsonl.gz")]
    Export {
        /// The run's folder.
        #[arg(default_value = "runs/latest")]
        run: PathBuf,
        /// The file to write, gzipped where it ends in .gz [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Args)]
struct RunArgs {
    /// The scenario file.
    scenario: PathBuf,
    /// Sets one value of the scenario: a dotted key and a YAML value.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The store behind the system; replaces system.store.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// A target that runs already, once for each; replaces system.spawn and system.targets.
    #[arg(long, value_name = "URL")]
    target: Vec<String>,
    /// The run's folder, which must be new or empty [default: runs/<time>-<name>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of everything random; replaces seed.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|a| a == BECOME_INSTANCE) {
        return fail(&become_instance(&arguments[1..]));
    }
    match Cli::parse().command {
        Command::Run(args) => start(args),
        Command::Export { run, out } => match export(&run, out.as_deref()) {
            Ok(integrity) => warn(&integrity.gaps),
            Err(error) => fail(&error),
        },
    }
}

fn start(args: RunArgs) -> ExitCode {
    let RunArgs { scenario, set, store, target, out, seed } = args;
    let overrides = Overrides { set, store, targets: target, seed };
    let options = Options { scenario, overrides, out };
    // One thread: the instances die with the thread that started them, which must be this one.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(run(&options)) {
        Ok(Ending::Sound) => SOUND.into(),
        Ok(Ending::Doubtful(objections)) => warn(&objections),
        Ok(Ending::Interrupted) => INTERRUPTED.into(),
        Err(error) => fail(&error),
    }
}

fn warn(objections: &[String]) -> ExitCode {
    for objection in objections {
        eprintln!("unknown: {objection}");
    }
    if objections.is_empty() { SOUND.into() } else { UNKNOWN.into() }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("loadgen: {error}");
    COULD_NOT_RUN.into()
}
