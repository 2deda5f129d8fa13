//! Asks a system a handful of times and shows how its answers are understood, so that a mapping is
//! written in minutes.
//!
//! The questions are those that a mapping has to tell apart: before the start, after it, the same
//! request again, the same user again, and once all coupons are gone.

use std::fmt::Write as _;

use contract::outcome::{Doubt, Outcome};
use contract::run::RunTarget;
use tokio::time::sleep;

use crate::campaign::{Created, Desk, Named, SetupError};
use crate::clock::Clock;
use crate::folder::{Folder, FolderError};
use crate::instances::StartError;
use crate::mapping::form::is_open;
use crate::mapping::rule::{Captured, classify, matching};
use crate::mapping::{Answer, Mapping, RequestTemplate, Rule, Told};
use crate::scenario::buyers::{KeyUse, Towards};
use crate::scenario::{Overrides, Scenario, ScenarioError, Span};
use crate::schedule::Arrival;
use crate::secrets::{hidden, value, without_password};
use crate::system::System;
use crate::users::Row;
use crate::workload::{Asking, Order, Workload};

/// Coupons of the campaign that is probed: enough for one user's and another's, then none.
const COUPONS: u64 = 2;
/// From its creation to its start: time enough to ask once before.
const STARTS_IN: Span = Span::from_millis(1_500);
/// How long after the start it is asked again.
const AFTER_START: Span = Span::from_millis(200);
/// How many buyers ask.
const BUYERS: u64 = 4;
/// A pending request is polled so often, and not again.
const POLLS: u32 = 50;
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
    // Whenever the launch is: the questions are asked around a start of their own.
    (scenario.campaign.starts_in, scenario.campaign.starts_at) = (STARTS_IN, None);
    let folder = Folder::create(None, &format!("{}-probe", scenario.name.as_str()))?;
    let mut system = System::start(&scenario, &folder).await?;
    let asked = Probe::ask(&scenario, &system).await;
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
    async fn ask(scenario: &'a Scenario, system: &'a System) -> Result<(String, bool), SetupError> {
        let (mapping, target) = (&scenario.mapping, &system.targets[0]);
        let desk = Desk::new(Clock::start(), &system.reach);
        let store = system.store_url.as_deref();
        let prepared = desk.prepare(&target.url, scenario, store).await?;
        let starts_at = desk.first_start(&prepared, &scenario.campaign, mapping).await;
        let named = Named { name: scenario.name.as_str(), starts_at };
        let created = desk.create(&named, mapping, &prepared).await?;
        let workload = Workload::new(scenario, vec![created.id().to_owned()], BUYERS, 1);
        let workload = workload.of(prepared.users);
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
        let secrets = self.mapping.captured();
        for (name, value) in &self.created.names {
            let _ = match name.as_str() {
                name if secrets.contains(&name) => {
                    writeln!(
                        self.out,
                        "  {{{name}}} is captured, {} characters",
                        value.chars().count()
                    )
                }
                "store" => writeln!(self.out, "  {{store}} is {}", without_password(value)),
                name => writeln!(self.out, "  {{{name}}} is {value}"),
            };
        }
    }

    async fn questions(&mut self) -> Result<(), SetupError> {
        let order = |index| self.workload.order(&Arrival::of_buyer(index));
        let (first, second, third, fourth) = (order(0), order(1), order(2), order(3));
        let again = self.workload.again(&second, BUYERS + 1, Towards::SameTarget, KeyUse::New);
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
        self.say(&format!("\n{when}"));
        let mapping = self.mapping;
        match self.ask_once(&mapping.request, &mapping.outcomes, (order, &Captured::new())).await? {
            Told::Accepted(told) => self.poll(order, &told).await,
            Told::Reserved(told) => match &mapping.confirm {
                Some(c) => self.ask_once(&c.request, &c.outcomes, (order, &told)).await.map(drop),
                None => Ok(()),
            },
            Told::Outcome(_) | Told::Pending => Ok(()),
        }
    }

    /// Asks what came of an accepted request until that is told.
    async fn poll(&mut self, order: &Order, told: &Captured) -> Result<(), SetupError> {
        let Some(poll) = &self.mapping.poll else { return Ok(()) };
        for _ in 0..POLLS {
            sleep(poll.every.span().to_duration()).await;
            let told = self.ask_once(&poll.request, &poll.outcomes, (order, told)).await?;
            if told != Told::Pending {
                break;
            }
        }
        Ok(())
    }

    /// Sends one request and shows what its answer means.
    async fn ask_once(
        &mut self,
        template: &RequestTemplate,
        rules: &[Rule],
        (order, told): (&Order, &Captured),
    ) -> Result<Told, SetupError> {
        let (_, target) = self.target.url.split_once("://").unwrap_or_default();
        let row = self.workload.row(order);
        let is_open = |name: &str| is_open(&self.created.names, name);
        let form = template.form(&self.created.names, is_open);
        let request = form.fill(&Asking { order, row, target, told });
        let mut secrets = self.secrets(template, row);
        secrets.extend(told.values().cloned());
        let asked = self.desk.ask(&self.target.url, &request).await;
        let (status, headers, body) = asked.map_err(|e| e.hiding(&secrets))?;
        let answer = Answer::new(status, &headers, &body);
        let told = classify(rules, &answer);
        if let Told::Accepted(found) | Told::Reserved(found) = &told {
            secrets.extend(found.values().cloned());
        }
        // What is cut is cut only then, lest half a secret be left.
        let hide = |text: &str| hidden(text, secrets.iter().map(String::as_str));
        let shown = |body: &[u8]| beginning(&hide(&String::from_utf8_lossy(body)));
        self.understood &= !matches!(
            told,
            Told::Outcome(Outcome::Indeterminate(Doubt::Unclassified | Doubt::Unreadable))
        );
        let rule = matching(rules, &answer);
        self.say(&hide(&format!("  {} {}", request.method, request.uri)));
        if !request.body.is_empty() {
            self.say(&format!("  {}", shown(&request.body)));
        }
        self.say(&format!("  -> {status} {}", shown(&body)));
        self.say(&hide(&format!("  => {}", meaning(&told, rule))));
        Ok(told)
    }

    /// What must not be shown: what was captured or listed for the user, and variables.
    fn secrets(&self, template: &RequestTemplate, row: Row<'_>) -> Vec<String> {
        let captured = self.mapping.captured();
        let shared = captured.iter().filter_map(|name| self.created.names.get(*name).cloned());
        let variables = template.variables();
        let variables = variables.iter().filter_map(|name| value(name).ok());
        shared.chain(row.secrets().map(str::to_owned)).chain(variables).collect()
    }

    fn say(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{line}");
    }
}

fn meaning(told: &Told, rule: Option<usize>) -> String {
    let by = rule.map_or_else(|| "no rule".into(), |number| format!("rule {number}"));
    let captured = |values: &Captured| {
        let each = |(name, value): (&String, &String)| {
            format!(" {{{name}}} is captured, {} characters", value.chars().count())
        };
        values.iter().map(each).collect::<Vec<_>>().join(",")
    };
    let what = match told {
        Told::Outcome(outcome) => described(outcome),
        Told::Accepted(values) => format!("accepted{}", captured(values)),
        Told::Reserved(values) => format!("reserved{}", captured(values)),
        Told::Pending => "pending".into(),
    };
    format!("{what} ({by})")
}

fn described(outcome: &Outcome<'_>) -> String {
    match outcome {
        Outcome::Issued(c) => {
            let number = |n: Option<i64>| n.map_or_else(|| "-".into(), |n| n.to_string());
            let (seq, remaining) = (number(c.seq), number(c.remaining));
            let order = c.order.as_ref().map_or_else(String::new, |o| format!(", order {o:?}"));
            format!("issued, code {:?}, seq {seq}, remaining {remaining}{order}", c.code)
        }
        Outcome::SoldOut => "sold out".into(),
        Outcome::NotStarted => "not started".into(),
        Outcome::NotFound => "not found".into(),
        Outcome::Ended => "ended".into(),
        Outcome::AlreadyIssued(Some(code)) => format!("already issued, code {code:?}"),
        Outcome::AlreadyIssued(None) => "already issued".into(),
        Outcome::Failed(_) => "failed: certainly no effect".into(),
        Outcome::Indeterminate(Doubt::Unclassified) => {
            "NOT UNDERSTOOD: add a rule to mapping.outcomes".into()
        }
        Outcome::Indeterminate(Doubt::Unreadable) => {
            "NOT UNDERSTOOD: the rule does not find what it has to (a code, or a capture)".into()
        }
        Outcome::Indeterminate(_) | Outcome::Read(_) | Outcome::Pending => {
            "indeterminate: maybe an effect".into()
        }
    }
}

/// The beginning of a body, on one line.
fn beginning(text: &str) -> String {
    let mut visible = text.chars().filter(|c| !c.is_control());
    let short: String = visible.by_ref().take(SHOWN).collect();
    let more = if visible.next().is_some() { " ..." } else { "" };
    if short.is_empty() { "(empty)".into() } else { format!("{short}{more}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_longer_is_cut() {
        let long = "x".repeat(SHOWN);
        assert_eq!(beginning(&format!("{long}\r\n")), long);
        assert_eq!(beginning(&format!("\t{long}y")), format!("{long} ..."));
        assert_eq!(beginning("\n"), "(empty)");
    }
}
