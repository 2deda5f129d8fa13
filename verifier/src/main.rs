//! Command line, output and exit codes.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser;
use verifier::check::Check;
use verifier::cli::{CheckArgs, Cli, Command, Format};
use verifier::report::{explain, json, markdown, render};
use verifier::verdict::Report;
use verifier::witness::alone;
use verifier::wording::safe;

const COULD_NOT_RUN: u8 = 2;
/// Names the file that GitHub Actions shows as the summary of a step.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            return fail(&format!("{}; see verifier --help", one_line(&error.to_string())));
        }
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn run(cli: &Cli) -> anyhow::Result<u8> {
    match &cli.command {
        Command::Checks => print(&explain::checks())?,
        Command::Explain(args) => {
            let check = Check::named(&args.check).context("no such check")?;
            print(&explain::explain(check))?;
        }
        Command::Schema => print(&json::schema())?,
        Command::Inspect(args) => print(&verifier::inspect::inspect(args)?)?,
        Command::Recheck(args) => {
            let all = alone::recheck(&args.file)?;
            print(&alone::render(&all))?;
            return Ok(alone::verdict(&all).exit_code());
        }
        Command::Check(args) => return check(args),
        Command::Watch(args) => return verifier::watch::watch(args),
    }
    Ok(0)
}

fn check(args: &CheckArgs) -> anyhow::Result<u8> {
    let mut files = create(args)?;
    let report = verifier::check(args)?;
    for (to, file) in args.reports.iter().zip(&mut files) {
        let text = render(&report, to.format, false)?;
        let written = file.write_all(text.as_bytes());
        written.with_context(|| format!("--report: {} cannot be written", to.path.display()))?;
    }
    summarize(&report, args)?;
    print(&render(&report, args.format, colours())?)?;
    Ok(report.verdict.exit_code())
}

/// The files of all reports: what cannot be written is said before anything is judged.
fn create(args: &CheckArgs) -> anyhow::Result<Vec<File>> {
    let paths: Vec<_> = args.reports.iter().map(|to| &to.path).collect();
    if let Some(path) = (1..paths.len()).find_map(|n| paths[..n].iter().find(|p| **p == paths[n])) {
        bail!("--report: {} is named twice; give each report a file of its own", path.display());
    }
    let create = |path: &PathBuf| {
        let named = || format!("--report: {} cannot be written", path.display());
        File::create(path).with_context(named)
    };
    paths.into_iter().map(create).collect()
}

/// Adds to the summary of a step of GitHub Actions, where there is one and its form was asked for.
fn summarize(report: &Report, args: &CheckArgs) -> anyhow::Result<()> {
    let wanted = args.reports.iter().any(|to| to.format == Format::Github);
    let Some(path) = std::env::var_os(STEP_SUMMARY).filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    if args.format != Format::Github && !wanted {
        return Ok(());
    }
    let file = OpenOptions::new().append(true).create(true).open(&path);
    let added = file.and_then(|mut file| file.write_all(markdown::render(report).as_bytes()));
    added.with_context(|| format!("{STEP_SUMMARY}: {} cannot be written", path.display()))
}

fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// A reader that has seen enough (`| head`) is no error: the verdict is in the exit code.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn fail(message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "verifier: {}", safe(&message.replace(['\n', '\r'], " ")));
    ExitCode::from(COULD_NOT_RUN)
}

/// The first paragraph of a usage error, on one line.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let told = lines.take_while(|l| !l.starts_with("Usage") && !l.starts_with("For more"));
    let words: Vec<&str> = told.filter(|l| !l.is_empty()).collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}
