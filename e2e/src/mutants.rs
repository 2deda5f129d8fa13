//! Launches of the reference server with a planted bug, or in a situation that looks like one, and
//! what the verifier says of each.
//!
//! Nothing here knows what a bug does: the server lists them. Each launch is judged three times,
//! with the evidence cut down: the whole of it, the history alone, and a history of which only the
//! promises are left, beside the store.

mod launch;
mod traps;

use std::process::{Command, Output};

use anyhow::{Result, bail, ensure};

use crate::binary;
pub use launch::{Evidence, Judged, Launch, Store};

/// What is launched and judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// How surely a launch shows it.
    pub nature: Nature,
    /// The checks that should see it; any of them will do.
    pub checks: Vec<String>,
    /// What it is.
    pub sentence: String,
    /// The bug that the servers are started with.
    bug: Option<String>,
    /// What is otherwise than in the scenario: `KEY=VALUE`.
    set: &'static [&'static str],
    /// What is done to a process once the campaign is well under way.
    blow: Option<Blow>,
}

/// How surely a launch shows a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Always.
    Sure,
    /// Where requests meet at the wrong moment.
    Race,
    /// Never: it only looks like a bug, or there is none.
    Trap,
}

/// What is done to a process of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// The load generator is killed.
    KillGenerator,
    /// An instance is killed with requests on their way to it, and another one takes its place.
    KillInstance,
    /// An instance is told to stop, closes its idle connections, and another one takes its place.
    ReplaceInstance,
    /// An instance does nothing for a while.
    StallInstance,
}

/// All there is: what is no bug first, then what the server lists.
///
/// # Errors
/// When the server cannot be asked, or its list cannot be understood.
pub fn list() -> Result<Vec<Subject>> {
    let output = Command::new(binary("coupon-server")).args(["--mutant", "help"]).output()?;
    ensure!(output.status.success(), "coupon-server --mutant help: {}", text(&output));
    let bugs = String::from_utf8(output.stdout)?;
    traps::all().map(Ok).chain(bugs.lines().map(bug)).collect()
}

fn bug(line: &str) -> Result<Subject> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, nature, checks, sentence] = fields[..] else {
        bail!("coupon-server --mutant help: {line:?} has {} fields, not 4", fields.len());
    };
    Ok(Subject {
        name: name.to_owned(),
        nature: match nature {
            "sure" => Nature::Sure,
            "race" => Nature::Race,
            "trap" => Nature::Trap,
            other => bail!("coupon-server --mutant help: {other:?} is not sure, race or trap"),
        },
        checks: checks.split(',').filter(|check| !check.is_empty()).map(str::to_owned).collect(),
        sentence: sentence.to_owned(),
        bug: Some(name.to_owned()),
        // A limit per user hides that a key is ignored: the second coupon is refused anyway.
        set: if name == "no-idempotency" { &["campaign.per_user_limit=null"] } else { &[] },
        blow: None,
    })
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).trim().to_owned()
}
