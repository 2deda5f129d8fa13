//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::procedure::Condition;

/// What `verifier --help` ends with.
const AFTER_HELP: &str = "\
Exit codes:
  0  valid     a correct campaign could have produced everything that was seen
  1  invalid   it is proven that no correct campaign could have
  2  could not run
  3  unknown   nothing is proven, but the evidence is too thin or broken to say valid

Examples:
  verifier check
  verifier check --run runs/latest --store redis://localhost:6379/0
  verifier check --history history.jsonl.gz --format json
  verifier check --mapping verifier.yaml
  verifier inspect --store postgres://app@localhost/shop --campaign 17
  verifier checks";

/// Tells whether a coupon launch was correct, and proves it.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Judge a run, or a history on its own
    Check(CheckArgs),
    /// Show what is in a store, or what a mapping finds there, to write a mapping by
    Inspect(InspectArgs),
    /// List the checks, with the rule and the evidence each one needs
    Checks,
}

/// What to judge, and how to report it.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct CheckArgs {
    /// The folder of a run [default: runs/latest]
    #[arg(long, value_name = "DIR", conflicts_with = "history")]
    pub run: Option<PathBuf>,
    /// A history on its own: a .jsonl, a .jsonl.gz or a folder of segments
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// How to read a history that another load generator wrote: CSV, or the results of k6 or vegeta
    #[arg(long, value_name = "FILE", requires = "history")]
    pub results: Option<PathBuf>,
    /// Judge only this campaign
    #[arg(long, value_name = "ID")]
    pub campaign: Option<String>,
    /// The store behind the campaign, read only: sqlite:PATH or redis://HOST:PORT/DB of the reference
    /// server, or what --mapping can read [default: the one that the run names]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// A store mapping: how the stores of a system other than the reference server are read
    /// [default: the scenario's]
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// How long the store must stand still where something is missing in it, in seconds [default: the
    /// mapping's, or 3]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub settle: Option<Duration>,
    /// Reads may show a state that is so old, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub read_lag: Duration,
    /// A condition of the procedure to leave out, for tests.
    #[doc(hidden)]
    #[arg(skip)]
    pub without: Option<Condition>,
    /// How to report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// What to look at.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The store, read only
    #[arg(long, value_name = "URL", required_unless_present = "mapping")]
    pub store: Option<String>,
    /// Show what this mapping finds, reading by reading
    #[arg(long, value_name = "FILE", requires = "campaign")]
    pub mapping: Option<PathBuf>,
    /// The campaign; without a mapping, only Redis keys and paths with it in them
    #[arg(long, value_name = "ID")]
    pub campaign: Option<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = |why: &str| format!("{why}: pass seconds, such as 3 or 0.5");
    let seconds: f64 = text.parse().map_err(|_| wrong("not a number"))?;
    let fits = Some(seconds).filter(|s| *s <= 3_600.0);
    let length = fits.and_then(|s| Duration::try_from_secs_f64(s).ok());
    length.ok_or_else(|| wrong("not between 0 and 3,600"))
}

/// How to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For CI systems
    Junit,
}
