//! Asks a system a handful of times and shows how its answers are understood, so that a mapping is
//! written in minutes.
//!
//! The questions are those that a mapping has to tell apart: before the start, after it, the same
//! request again, the same user again, and once all coupons are gone.

use std::fmt::Write as _;

use contract::outcome::{Doubt, Outcome};
use contract::run::RunTarget;
use tokio::time::sleep;

use crate::campaign::{Created, Desk, SetupError};
use crate::clock::Clock;
use crate::folder::{Folder, FolderError};
use crate::instances::StartError;
use crate::mapping::rule::{classify, matching};
use crate::mapping::{Answer, Mapping};
use crate::scenario::{Overrides, Scenario, ScenarioError, Span};
use crate::system::System;
use crate::workload::{Asking, Order, Workload};

/// Coupons of the campaign that is probed: enough for one user's and another's, then none.
const COUPONS: u64 = 2;
/// From its creation to its start: time enough to ask once before.
const STARTS_IN: Span = Span::from_millis(1_500);
/// How long after the start it is asked again.
const AFTER_START: Span = Span::from_millis(200);
/// How much of an answer is shown.
const SHOWN: usize = 300;

/// Why a system could not be probed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The scenario says something it must not.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// There is no folder for the logs of instances.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The system cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system does not answer, or not as the set-up expects.
    #[error("{0}")]
    Setup(#[from] SetupError),
}

/// Probes the system of a scenario and prints what was found. Says whether every answer was
/// understood.
///
/// # Errors
/// When the system cannot be asked; see [`ProbeError`].
pub async fn probe(path: &std::path::Path, overrides: &Overrides) -> Result<bool, ProbeError> {
    let mut scenario = Scenario::load(path, overrides)?;
    scenario.campaign.coupons = COUPONS;
    scenario.campaign.starts_in = STARTS_IN;
    let folder = Folder::create(None, &format!("{}-probe", scenario.name.as_str()))?;
    let mut system = System::start(&scenario, &folder).await?;
    let asked = Probe::ask(&scenario, &system.targets).await;
    system.instances.stop(std::future::pending()).await;
    let (text, understood) = asked?;
    crate::print(&text);
    Ok(understood)
}

struct Probe<'a> {
    desk: Desk,
    mapping: &'a Mapping,
    created: Created,
    target: &'a RunTarget,
    workload: Workload,
    out: String,
    understood: bool,
}

impl<'a> Probe<'a> {
    async fn ask(
        scenario: &'a Scenario,
        targets: &'a [RunTarget],
    ) -> Result<(String, bool), SetupError> {
        let (mapping, target) = (&scenario.mapping, &targets[0]);
        let desk = Desk::new(Clock::start())?;
        let name = scenario.name.as_str();
        let created = desk.create(&target.url, name, &scenario.campaign, mapping).await?;
        let workload = Workload::new(scenario.seed, created.id(), scenario.load.spread, 1);
        let (out, understood) = (String::new(), true);
        let mut probe = Self { desk, mapping, created, target, workload, out, understood };
        probe.names();
        probe.questions().await?;
        Ok((probe.out, probe.understood))
    }

    fn names(&mut self) {
        self.say(&format!(
            "campaign {} of {COUPONS} coupons at {}",
            self.created.id(),
            self.target.url
        ));
        for (name, value) in &self.created.names {
            let _ = writeln!(self.out, "  {{{name}}} is {value}");
        }
    }

    async fn questions(&mut self) -> Result<(), SetupError> {
        let order = |index| self.workload.order(index);
        let (first, second, third, fourth) = (order(0), order(1), order(2), order(3));
        let again = Order { user: second.user.clone(), op: 5, ..order(4) };
        self.question("before the start", &first).await?;
        // A start that is told in seconds lies up to one second later.
        let later = Span::from_millis(self.mapping.start_unit_ms());
        let wait = [STARTS_IN, AFTER_START, later].map(Span::to_duration).into_iter().sum();
        sleep(wait).await;
        self.question("after the start", &second).await?;
        self.question("the same request again, same user and key", &second).await?;
        self.question("the same user again, with another key", &again).await?;
        self.question("another user", &third).await?;
        self.question("when all coupons are gone", &fourth).await
    }

    async fn question(&mut self, when: &str, order: &Order) -> Result<(), SetupError> {
        let target = self.target.url.trim_start_matches("http://");
        let values = Asking { order, target, names: &self.created.names };
        let request = self.mapping.request.fill(&values);
        let (status, headers, body) = self.desk.ask(&self.target.url, &request).await?;
        let answer = Answer::new(status, &headers, &body);
        let rules = &self.mapping.outcomes;
        let outcome = classify(rules, &answer);
        self.understood &=
            !matches!(outcome, Outcome::Indeterminate(Doubt::Unclassified | Doubt::Unreadable));
        let rule = matching(rules, &answer);
        self.say(&format!("\n{when}"));
        self.say(&format!("  {} {}", request.method, request.uri));
        if !request.body.is_empty() {
            self.say(&format!("  {}", shown(&request.body)));
        }
        self.say(&format!("  -> {status} {}", shown(&body)));
        self.say(&format!("  => {}", meaning(&outcome, rule)));
        Ok(())
    }

    fn say(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{line}");
    }
}

fn meaning(outcome: &Outcome<'_>, rule: Option<usize>) -> String {
    let by = rule.map_or_else(|| "no rule".into(), |number| format!("rule {number}"));
    let what = match outcome {
        Outcome::Issued(c) => {
            let number = |n: Option<i64>| n.map_or_else(|| "-".into(), |n| n.to_string());
            let (seq, remaining) = (number(c.seq), number(c.remaining));
            format!("issued, code {:?}, seq {seq}, remaining {remaining}", c.code)
        }
        Outcome::SoldOut => "sold out".into(),
        Outcome::NotStarted => "not started".into(),
        Outcome::AlreadyIssued(Some(code)) => format!("already issued, code {code:?}"),
        Outcome::AlreadyIssued(None) => "already issued".into(),
        Outcome::Failed(_) => "failed: certainly no effect".into(),
        Outcome::Indeterminate(Doubt::Unclassified) => {
            "NOT UNDERSTOOD: add a rule to mapping.outcomes".into()
        }
        Outcome::Indeterminate(Doubt::Unreadable) => {
            "NOT UNDERSTOOD: the rule says issued, but finds no code".into()
        }
        Outcome::Indeterminate(_) | Outcome::Read(_) => "indeterminate: maybe an effect".into(),
    };
    format!("{what} ({by})")
}

/// The beginning of a body, on one line.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let short: String = text.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    let more = if short.len() < text.len() { " ..." } else { "" };
    if short.is_empty() { "(empty)".into() } else { format!("{short}{more}") }
}
