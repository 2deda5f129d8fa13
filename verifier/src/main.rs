//! Command line, output and exit codes.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use verifier::cli::{Cli, Command, Format};
use verifier::report::{json, junit, table};
use verifier::verdict::{Report, Verdict};
use verifier::wording::safe;

const COULD_NOT_RUN: u8 = 2;

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
    let args = match &cli.command {
        Command::Checks => {
            print(&table::checks())?;
            return Ok(0);
        }
        Command::Inspect(args) => {
            print(&verifier::inspect::inspect(args)?)?;
            return Ok(0);
        }
        Command::Check(args) => args,
    };
    let report = verifier::check(args)?;
    print(&render(&report, args.format)?)?;
    Ok(match report.verdict {
        Verdict::Valid => 0,
        Verdict::Invalid => 1,
        Verdict::Unknown => 3,
    })
}

fn render(report: &Report, format: Format) -> anyhow::Result<String> {
    Ok(match format {
        Format::Table => table::render(report, colours()),
        Format::Json => json::render(report)?,
        Format::Junit => junit::render(report)?,
    })
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
