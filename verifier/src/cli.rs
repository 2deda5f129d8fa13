//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::check::{CHECKS, Certainty};
use crate::procedure::Condition;

/// What `verifier --help` ends with.
const AFTER_HELP: &str = "\
Exit codes:
  0  valid     a correct campaign could have produced everything that was seen
  1  invalid   it is proven that no correct campaign could have; with --fail-on possible, or possible
  2  could not run
  3  unknown   nothing is proven, but the evidence is too thin or broken to say valid

Examples:
  verifier check
  verifier check --run runs/latest --store redis://localhost:6379/0
  verifier check --history history.jsonl.gz --format json
  verifier check --mapping verifier.yaml
  verifier check --format github --report junit=verdict.xml --report sarif=verdict.sarif
  verifier recheck verdict.json
  verifier watch
  verifier inspect --store postgres://app@localhost/shop --campaign 17
  verifier checks
  verifier explain early-issue";

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
    /// Follow a running history, and stop at the first violation that is proven
    #[command(after_help = WATCH_HELP)]
    Watch(WatchArgs),
    /// Show what is in a store, or what a mapping finds there, to write a mapping by
    Inspect(InspectArgs),
    /// List the checks, with the rule, the evidence each one needs, and what a finding means
    Checks,
    /// Explain a check: its rule, what it needs, an example, and what would make a finding benign
    #[command(after_help = "Examples:\n  verifier explain early-issue\n  verifier checks")]
    Explain(ExplainArgs),
    /// Check the witnesses of a report again, from nothing but the report
    #[command(after_help = RECHECK_HELP)]
    Recheck(RecheckArgs),
    /// Print the JSON Schema of what --format json prints
    Schema,
}

/// What `verifier watch --help` ends with.
const WATCH_HELP: &str = "\
It looks at what can be seen of answers one by one, in bounded memory, and at no store. So it finds
violations early, and never says that there are none: verifier check does that once the run is over.

Exit codes:
  1    a violation is proven
  2    could not run
  3    the history ended, and nothing was found: that is no verdict
  130  interrupted

Examples:
  verifier watch                                   # the run that is under way, or the next one
  verifier watch --run runs/latest --keep-going
  verifier watch --history history.jsonl --format json";

/// What to follow.
#[derive(Debug, Default, Args)]
pub struct WatchArgs {
    /// The folder of a run, also one that is not there yet [default: the run that is under way in
    /// runs, or the next one]
    #[arg(long, value_name = "DIR", conflicts_with = "history")]
    pub run: Option<PathBuf>,
    /// A history on its own, also one that is not there yet: a .jsonl file, or a folder of segments
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Go on after a violation, to the end of the history
    #[arg(long)]
    pub keep_going: bool,
    /// Reads may show a state that is so old, in seconds [default: the scenario's, or 0]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub read_lag: Option<Duration>,
    /// How to tell what happens: in words, or as one JSON object a line
    #[arg(long, value_enum, default_value_t = WatchFormat::Text)]
    pub format: WatchFormat,
}

/// How `watch` tells what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WatchFormat {
    /// For people
    #[default]
    Text,
    /// For programs: one object a line
    Json,
}

/// What `verifier recheck --help` ends with.
const RECHECK_HELP: &str = "\
Exit codes:
  0  every claim holds
  1  a claim does not hold
  2  could not run
  3  a claim cannot be checked alone: it is about the store, or its operations are too many

Examples:
  verifier check --report json=verdict.json
  verifier recheck verdict.json
  jq '.campaigns[0].violations[0]' verdict.json > witness.json && verifier recheck witness.json";

/// Which check to explain.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The name of a check
    #[arg(value_name = "CHECK", value_parser = names())]
    pub check: String,
}

/// What to check again.
#[derive(Debug, Args)]
pub struct RecheckArgs {
    /// A report in JSON, or one of its violations
    #[arg(value_name = "WITNESS.json")]
    pub file: PathBuf,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(CHECKS.iter().map(|check| check.name))
}

/// What to judge, and how to report it.
#[derive(Debug, Default, Args)]
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
    /// Reads may show a state that is so old, in seconds [default: the scenario's, or 0]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub read_lag: Option<Duration>,
    /// The history's times were taken on several hosts whose clocks may be so far from the history's, in
    /// seconds
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub clock_error: Duration,
    /// A condition of the procedure to leave out, for tests.
    #[doc(hidden)]
    #[arg(skip)]
    pub without: Option<Condition>,
    /// So many coupons are held in memory, for tests.
    #[doc(hidden)]
    #[arg(skip)]
    pub most_held: Option<usize>,
    /// How sure a violation must be to make a campaign invalid
    #[arg(long, value_enum, value_name = "CERTAINTY", default_value_t = Certainty::Proven)]
    pub fail_on: Certainty,
    /// How to report on standard output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Write another report into a file, such as junit=verdict.xml; may be given several times
    #[arg(long = "report", value_name = "FORMAT=FILE", value_parser = to_file)]
    pub reports: Vec<ToFile>,
}

/// A report that goes into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToFile {
    /// In which form.
    pub format: Format,
    /// Into which file. What it held is replaced.
    pub path: PathBuf,
}

fn to_file(text: &str) -> Result<ToFile, String> {
    let formats = Format::value_variants().iter().filter_map(Format::to_possible_value);
    let formats: Vec<String> = formats.map(|format| format.get_name().to_owned()).collect();
    let wrong = || format!("expected FORMAT=FILE with a format of {}", formats.join(", "));
    let (format, path) = text.split_once('=').ok_or_else(wrong)?;
    let format = Format::from_str(format, false).map_err(|_| wrong())?;
    if path.is_empty() {
        return Err(wrong());
    }
    Ok(ToFile { format, path: path.into() })
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
    /// The campaign; without a mapping, only Redis keys with it in them are shown. It does nothing for SQL
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs; verifier schema prints its JSON Schema
    Json,
    /// JUnit XML, for CI systems
    Junit,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Workflow commands of GitHub Actions; a summary goes to the file that GITHUB_STEP_SUMMARY names
    Github,
    /// That summary, in Markdown
    Markdown,
}
