//! `loadgen`: flags, exit codes, and nothing else.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use loadgen::export::{Format, export};
use loadgen::instances::{BECOME_INSTANCE, GUARD, become_instance, guard};
use loadgen::plan;
use loadgen::probe::probe;
use loadgen::run::{Ending, Options, run};
use loadgen::scenario::schema::schema;
use loadgen::scenario::{Overrides, Positive, Scenario, ScenarioError, Span};

/// A request allocates a dozen small things: this allocator takes less time for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Done, and the figures may be trusted.
const SOUND: u8 = 0;
/// The figures may be trusted, and a threshold does not hold.
const MISSED: u8 = 1;
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
  0    the plan was carried out, the figures may be trusted, and every threshold holds
  1    the same, but a threshold does not hold; the lines marked with a cross say which
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
  loadgen run scenarios/launch.yaml --set campaign.coupons=500 --set load.stages.1.to=2000
  loadgen run scenarios/launch.yaml --start-at 2026-12-01T12:00:00+09:00")]
    Run(RunArgs),
    /// Shows what a scenario would do, and whether this host and the targets are ready for it.
    #[command(after_help = "\
Examples:
  loadgen plan scenarios/launch.yaml
  loadgen plan scenarios/launch.yaml --set load.stages.1.to=5000 --latency 20ms")]
    Plan {
        #[command(flatten)]
        chosen: Chosen,
        /// Answer time to estimate the attempts in flight for, besides the scenario's timeout.
        #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = answer_time)]
        latency: Span,
    },
    /// Writes a commented scenario to begin with, and the schema that editors check it by.
    #[command(after_help = "\
Example:
  loadgen init my-launch.yaml")]
    Init {
        /// The file to write, which must not exist.
        #[arg(default_value = "scenario.yaml")]
        file: PathBuf,
    },
    /// Asks the system a handful of times and shows how its answers are understood.
    #[command(after_help = "\
Examples:
  loadgen probe scenarios/launch.yaml
  loadgen probe my-system.yaml --target http://127.0.0.1:8080

It creates a campaign of two coupons and asks before the start, after it, the same request again,
the same user again, and once all coupons are gone. Exit code 3 if an answer was not understood.")]
    Probe(Chosen),
    /// Says whether scenarios are valid, and where they are not.
    Validate {
        /// The scenario files.
        #[arg(required = true)]
        scenarios: Vec<PathBuf>,
    },
    /// Prints the JSON Schema of a scenario, by which an editor completes and checks one.
    #[command(after_help = "\
Example:
  loadgen schema > scenario.schema.json

with this as the first line of a scenario beside it:
  # yaml-language-server: $schema=scenario.schema.json")]
    Schema,
    /// Prints a script that completes this program's commands in a shell.
    #[command(after_help = "\
Example:
  loadgen completions bash > ~/.local/share/bash-completion/completions/loadgen")]
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Prints the manual page, or writes one for each command into a folder.
    Man {
        /// The folder, which must exist.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Writes the history of a run as JSON Lines (coupon-history/1), or as a CSV table.
    #[command(after_help = "\
Examples:
  loadgen export | head
  loadgen export runs/latest --out launch.jsonl.gz
  loadgen export runs/latest --format csv --out launch.csv")]
    Export {
        /// The run's folder.
        #[arg(default_value = "runs/latest")]
        run: PathBuf,
        /// How to write it.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// The file to write, gzipped where it ends in .gz [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// A scenario, and what is changed in it.
#[derive(Args)]
struct Chosen {
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
    /// Seed of everything random; replaces seed.
    #[arg(long)]
    seed: Option<u64>,
    /// The instant at which the campaign starts, RFC 3339; replaces campaign.starts_in.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    start_at: Option<DateTime<Utc>>,
}

impl Chosen {
    fn split(self) -> (PathBuf, Overrides) {
        let Self { scenario, set, store, target, seed, start_at } = self;
        (scenario, Overrides { set, store, targets: target, seed, start_at })
    }

    fn load(self) -> Result<Scenario, ScenarioError> {
        let (path, overrides) = self.split();
        Scenario::load(&path, &overrides)
    }
}

/// An instant with its offset from UTC.
fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let instant = DateTime::parse_from_rfc3339(text);
    instant
        .map(|i| i.to_utc())
        .map_err(|_| "expected RFC 3339, like 2026-01-31T12:00:00+09:00".into())
}

/// An answer takes some time, and less than a day.
fn answer_time(text: &str) -> Result<Span, String> {
    let span: Span = text.parse()?;
    Positive::try_from(span).map(Positive::span)
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// The run's folder, which must be new or empty [default: runs/<time>-<name>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Shows the plan and checks the host and the targets, but starts and sends nothing.
    #[arg(long)]
    dry_run: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|a| a.to_str()) {
        Some(BECOME_INSTANCE) => return fail(&become_instance(&arguments[1..])),
        Some(GUARD) => {
            guard();
            return SOUND.into();
        }
        _ => {}
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    match cli.command {
        Command::Run(args) if args.dry_run => plan(args.chosen, plan::USUAL_LATENCY),
        Command::Run(args) => start(args),
        Command::Plan { chosen, latency } => plan(chosen, latency),
        Command::Probe(chosen) => ask(chosen),
        Command::Init { file } => init(&file),
        Command::Validate { scenarios } => validate(&scenarios),
        Command::Schema => {
            // A reader that went away is no failure.
            let _ = std::io::stdout().write_all(schema().as_bytes());
            SOUND.into()
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "loadgen", &mut script);
            // A reader that went away is no failure.
            let _ = std::io::stdout().write_all(&script);
            SOUND.into()
        }
        Command::Man { out } => match manual(out) {
            Ok(()) => SOUND.into(),
            Err(error) => fail(&error),
        },
        Command::Export { run, format, out } => match export(&run, out.as_deref(), format) {
            Ok(integrity) => warn(&integrity.gaps),
            Err(error) => fail(&error),
        },
    }
}

fn start(args: RunArgs) -> ExitCode {
    let (scenario, overrides) = args.chosen.split();
    let options = Options { scenario, overrides, out: args.out };
    match here(run(&options)) {
        Ok(Ok(Ending::Sound)) => SOUND.into(),
        Ok(Ok(Ending::Missed)) => MISSED.into(),
        Ok(Ok(Ending::Doubtful(objections))) => warn(&objections),
        Ok(Ok(Ending::Interrupted)) => INTERRUPTED.into(),
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}

/// Writes the template, and nothing over anything.
fn init(file: &Path) -> ExitCode {
    let written = std::fs::File::create_new(file)
        .and_then(|mut new| new.write_all(include_bytes!("template.yaml")));
    match written {
        Ok(()) => {
            describe_for_editors(&file.with_file_name(SCHEMA));
            let next = "now describe your system in it, then: loadgen probe";
            loadgen::print(&format!("{}: {next}\n", file.display()));
            SOUND.into()
        }
        Err(error) => {
            eprintln!("loadgen: {}: {error}", file.display());
            COULD_NOT_RUN.into()
        }
    }
}

/// The schema's file beside a scenario, as the template names it.
const SCHEMA: &str = "scenario.schema.json";

/// Writes the schema, unless there is one. It is a help, so a failure is only said.
fn describe_for_editors(file: &Path) {
    let written =
        std::fs::File::create_new(file).and_then(|mut new| new.write_all(schema().as_bytes()));
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            eprintln!("loadgen: {}: {error}", file.display());
        }
        _ => {}
    }
}

fn ask(chosen: Chosen) -> ExitCode {
    let (scenario, overrides) = chosen.split();
    match here(probe(&scenario, &overrides)) {
        Ok(Ok(true)) => SOUND.into(),
        Ok(Ok(false)) => UNKNOWN.into(),
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}

/// Runs `work` on this thread: the instances die with the thread that started them.
fn here<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(work))
}

fn plan(chosen: Chosen, latency: Span) -> ExitCode {
    match chosen.load() {
        Ok(scenario) => {
            let ready = plan::show(&scenario, latency);
            if ready { SOUND.into() } else { COULD_NOT_RUN.into() }
        }
        Err(error) => fail(&error),
    }
}

/// Checks all of them, so that one call shows every file that is wrong.
fn validate(scenarios: &[PathBuf]) -> ExitCode {
    let mut code = SOUND;
    for path in scenarios {
        match Scenario::validate(path) {
            Ok(_) => loadgen::print(&format!("{}: ok\n", path.display())),
            Err(error) => {
                eprintln!("loadgen: {error}");
                code = COULD_NOT_RUN;
            }
        }
    }
    code.into()
}

fn manual(out: Option<PathBuf>) -> std::io::Result<()> {
    match out {
        Some(dir) => clap_mangen::generate_to(Cli::command(), dir),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            // A reader that went away is no failure.
            let _ = std::io::stdout().write_all(&page);
            Ok(())
        }
    }
}

/// A wrong flag in one line; help and version as they are.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A reader that went away is no failure.
        let _ = error.print();
        return SOUND.into();
    }
    let text = error.to_string();
    // Usage and tips follow the first paragraph.
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    let reason = words.join(" ");
    eprintln!("loadgen: {} (see --help)", reason.strip_prefix("error: ").unwrap_or(&reason));
    COULD_NOT_RUN.into()
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
