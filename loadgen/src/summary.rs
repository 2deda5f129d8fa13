//! The figures of a run, computed from its history and nothing else.
//!
//! response time = end - intended start, so a stalled generator cannot hide its own queue;
//! service time = end - actual start; start lag = actual start - intended start.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use contract::history::{self, Completion, Event, HistoryError, Integrity, Invocation};
use contract::outcome::{Doubt, Failure, Outcome};
use contract::run::{Run, RunState};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::worker::Tally;

/// Version of `summary.json`.
pub const FORMAT: &str = "coupon-summary/1";
/// Longest time a histogram tells apart: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// The figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// [`FORMAT`].
    pub format: &'static str,
    /// The scenario's name.
    pub scenario: String,
    /// The seed of the run.
    pub seed: u64,
    /// The campaign's id.
    pub campaign: String,
    /// Whether the plan was carried out to its end.
    pub state: RunState,
    /// From the first invocation to the last completion, seconds.
    pub seconds: f64,
    /// Where every arrival of the plan went.
    pub accounting: Accounting,
    /// How many attempts ended how.
    pub outcomes: Outcomes,
    /// Attempts that certainly had no effect, by reason.
    pub failures: BTreeMap<&'static str, u64>,
    /// Attempts whose effect nobody knows, by reason.
    pub doubts: BTreeMap<&'static str, u64>,
    /// Times of all attempts that reached a server.
    pub times: Times,
    /// The same by target.
    pub targets: Vec<TargetSummary>,
    /// What the history lacks.
    pub gaps: Vec<String>,
}

/// Where every arrival of the plan went. Two equations, checked in every run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Accounting {
    /// Arrivals in the plan.
    pub planned: u64,
    /// Arrivals that became an attempt.
    pub sent: u64,
    /// Arrivals that were due and could not be sent.
    pub dropped: u64,
    /// Arrivals that were not due yet when the run was stopped.
    pub cancelled: u64,
    /// Attempts with a decision.
    pub decided: u64,
    /// Attempts that certainly had no effect.
    pub failed: u64,
    /// Attempts that may have had an effect.
    pub indeterminate: u64,
    /// Whether `planned = sent + dropped + cancelled`, `sent = decided + failed + indeterminate`,
    /// and the history holds exactly what was sent.
    pub holds: bool,
}

/// How many attempts ended how.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Outcomes {
    /// Got a coupon.
    pub issued: u64,
    /// Told that all coupons are gone.
    pub sold_out: u64,
    /// Told that the campaign has not started.
    pub not_started: u64,
    /// Told that this user holds a coupon.
    pub already_issued: u64,
    /// Certainly no effect.
    pub failed: u64,
    /// Maybe an effect.
    pub indeterminate: u64,
}

impl Outcomes {
    fn decided(self) -> u64 {
        self.issued + self.sold_out + self.not_started + self.already_issued
    }

    fn total(self) -> u64 {
        self.decided() + self.failed + self.indeterminate
    }

    fn add(&mut self, outcome: &Outcome<'_>) {
        *match outcome {
            Outcome::Issued(_) => &mut self.issued,
            Outcome::SoldOut => &mut self.sold_out,
            Outcome::NotStarted => &mut self.not_started,
            Outcome::AlreadyIssued(_) => &mut self.already_issued,
            Outcome::Failed(_) => &mut self.failed,
            Outcome::Indeterminate(_) => &mut self.indeterminate,
            Outcome::Read(_) => return,
        } += 1;
    }
}

/// Distributions of the three times.
#[derive(Clone, Debug, Serialize)]
pub struct Times {
    /// End minus intended start.
    pub response: Distribution,
    /// End minus actual start.
    pub service: Distribution,
    /// Actual start minus intended start.
    pub lag: Distribution,
}

/// A distribution, microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Distribution {
    /// How many samples.
    pub samples: u64,
    /// Median.
    pub p50_us: f64,
    /// 90th percentile.
    pub p90_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// Largest.
    pub max_us: f64,
}

/// One target's share.
#[derive(Clone, Debug, Serialize)]
pub struct TargetSummary {
    /// Its name.
    pub name: String,
    /// Its base URL.
    pub url: String,
    /// How many attempts ended how.
    pub outcomes: Outcomes,
    /// End minus intended start.
    pub response: Distribution,
}

/// Reads a run's history and computes its figures.
///
/// # Errors
/// When the history cannot be read.
pub fn summarize(
    dir: &Path,
    run: &Run,
    plan: Tally,
    planned: u64,
) -> Result<Summary, HistoryError> {
    let mut gather = Gather::new(run.targets.len());
    let integrity = history::read(&dir.join(contract::run::HISTORY_DIR), &mut |e| gather.event(e))?;
    gather.close();
    Ok(gather.into_summary(run, plan, planned, integrity))
}

/// What is kept of an attempt until it ends.
struct Open {
    at: i64,
    intended: i64,
    target: usize,
}

struct Gather {
    open: HashMap<u64, Open>,
    all: Share,
    targets: Vec<Share>,
    failures: BTreeMap<&'static str, u64>,
    doubts: BTreeMap<&'static str, u64>,
    first: i64,
    last: i64,
}

struct Share {
    outcomes: Outcomes,
    response: Histogram<u64>,
    service: Histogram<u64>,
    lag: Histogram<u64>,
}

impl Share {
    fn new() -> Self {
        let empty = || {
            Histogram::new_with_bounds(1, LONGEST_NS, 3)
                .unwrap_or_else(|e| unreachable!("these bounds are valid: {e}"))
        };
        let (response, service, lag) = (empty(), empty(), empty());
        Self { outcomes: Outcomes::default(), response, service, lag }
    }

    fn end(&mut self, open: &Open, at: i64, outcome: &Outcome<'_>) {
        self.outcomes.add(outcome);
        if matches!(outcome, Outcome::Failed(_)) {
            return;
        }
        // `record` would drop what is above the ceiling: the worst values of all.
        let record =
            |h: &mut Histogram<u64>, ns: i64| h.saturating_record(ns.max(1).unsigned_abs());
        record(&mut self.response, at - open.intended);
        record(&mut self.service, at - open.at);
    }
}

impl Gather {
    fn new(targets: usize) -> Self {
        Self {
            open: HashMap::new(),
            all: Share::new(),
            targets: (0..targets).map(|_| Share::new()).collect(),
            failures: BTreeMap::new(),
            doubts: BTreeMap::new(),
            first: i64::MAX,
            last: i64::MIN,
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Campaign(_) => {}
            Event::Invoke(i) => self.invoke(&i),
            Event::Complete(c) => self.complete(&c),
        }
    }

    fn invoke(&mut self, i: &Invocation<'_>) {
        let intended = i.intended.unwrap_or(i.at);
        let target = i.target.map_or(usize::MAX, usize::from);
        self.first = self.first.min(i.at);
        self.all.lag.saturating_record((i.at - intended).max(1).unsigned_abs());
        self.open.insert(i.op, Open { at: i.at, intended, target });
    }

    fn complete(&mut self, c: &Completion<'_>) {
        let Some(open) = self.open.remove(&c.op) else { return };
        self.last = self.last.max(c.at);
        self.all.end(&open, c.at, &c.outcome);
        if let Some(target) = self.targets.get_mut(open.target) {
            target.end(&open, c.at, &c.outcome);
        }
        match c.outcome {
            Outcome::Failed(f) => *self.failures.entry(failure_name(f)).or_default() += 1,
            Outcome::Indeterminate(d) => *self.doubts.entry(doubt_name(d)).or_default() += 1,
            Outcome::Issued(_)
            | Outcome::SoldOut
            | Outcome::NotStarted
            | Outcome::AlreadyIssued(_)
            | Outcome::Read(_) => {}
        }
    }

    /// What has no completion may have had an effect.
    fn close(&mut self) {
        let outcome = Outcome::Indeterminate(Doubt::Unspecified);
        for open in std::mem::take(&mut self.open).into_values() {
            self.all.outcomes.add(&outcome);
            *self.doubts.entry(doubt_name(Doubt::Unspecified)).or_default() += 1;
            if let Some(target) = self.targets.get_mut(open.target) {
                target.outcomes.add(&outcome);
            }
        }
    }

    fn into_summary(self, run: &Run, plan: Tally, planned: u64, integrity: Integrity) -> Summary {
        let targets = run.targets.iter().zip(&self.targets).map(|(target, share)| TargetSummary {
            name: target.name.clone(),
            url: target.url.clone(),
            outcomes: share.outcomes,
            response: distribution(&share.response),
        });
        Summary {
            format: FORMAT,
            scenario: run.scenario.clone(),
            seed: run.seed,
            campaign: run.campaigns.first().map(|c| c.id.clone()).unwrap_or_default(),
            state: run.state,
            seconds: seconds(self.last.saturating_sub(self.first).max(0)),
            accounting: account(self.all.outcomes, plan, planned, &integrity),
            outcomes: self.all.outcomes,
            targets: targets.collect(),
            failures: self.failures,
            doubts: self.doubts,
            times: Times {
                response: distribution(&self.all.response),
                service: distribution(&self.all.service),
                lag: distribution(&self.all.lag),
            },
            gaps: integrity.gaps,
        }
    }
}

fn account(outcomes: Outcomes, plan: Tally, planned: u64, integrity: &Integrity) -> Accounting {
    let Tally { sent, dropped, cancelled } = plan;
    let holds = planned == sent + dropped + cancelled
        && sent == outcomes.total()
        && sent == integrity.invocations
        && sent == integrity.completions;
    Accounting {
        planned,
        sent,
        dropped,
        cancelled,
        decided: outcomes.decided(),
        failed: outcomes.failed,
        indeterminate: outcomes.indeterminate,
        holds,
    }
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
fn distribution(h: &Histogram<u64>) -> Distribution {
    let at = |quantile: f64| h.value_at_quantile(quantile) as f64 / 1_000.0;
    Distribution {
        samples: h.len(),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: h.max() as f64 / 1_000.0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

fn failure_name(failure: Failure) -> &'static str {
    match failure {
        Failure::NotConnected => "not connected",
        Failure::NotWritten => "connection closed before the first byte",
        Failure::Rejected => "rejected unseen",
        Failure::Unspecified => "unspecified",
    }
}

fn doubt_name(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::Timeout => "timeout",
        Doubt::Disconnected => "disconnected",
        Doubt::ServerError => "server error",
        Doubt::Unreadable => "unreadable answer",
        Doubt::Unclassified => "unclassified answer",
        Doubt::Abandoned => "given up",
        Doubt::Unspecified => "never completed",
    }
}

impl Summary {
    /// Why this run's figures must not be trusted; nothing where they may be.
    pub fn objections(&self) -> Vec<String> {
        let a = &self.accounting;
        let mut objections = self.gaps.clone();
        if !a.holds {
            objections.push("the accounting does not add up: a request was lost".into());
        }
        if a.dropped * 100 > a.planned {
            objections.push(format!(
                "{} of {} arrivals were dropped: the load was not the planned one; raise \
                 load.max_in_flight or lower the rate",
                a.dropped, a.planned
            ));
        }
        if let Some(n) = self.doubts.get(doubt_name(Doubt::Unclassified)) {
            objections.push(format!("{n} answers match no rule: their outcome is unknown"));
        }
        objections
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::history::Kind;
    use contract::outcome::Coupon;
    use contract::run::{Anchor, RunTarget};

    fn run() -> Run {
        let target = |n: &str| RunTarget { name: n.into(), url: String::new(), pid: None };
        Run {
            format: contract::run::FORMAT.into(),
            scenario: "s".into(),
            definition: serde_json::Value::Null,
            seed: 1,
            campaigns: vec![],
            targets: vec![target("a"), target("b")],
            store: None,
            anchor: Anchor { unix_ns: 0 },
            state: RunState::Finished,
        }
    }

    fn gather(events: &[(u64, i64, i64, i64, Option<Outcome<'static>>)]) -> Gather {
        let mut gather = Gather::new(2);
        for (op, intended, at, end, outcome) in events {
            gather.event(Event::Invoke(Invocation {
                op: *op,
                campaign: "1".into(),
                kind: Kind::Issue,
                at: *at,
                intended: Some(*intended),
                target: Some(u16::try_from(op % 2).unwrap()),
                user: None,
                key: None,
            }));
            if let Some(outcome) = outcome.clone() {
                let (op, at) = (*op, *end);
                gather.event(Event::Complete(Completion {
                    op,
                    at,
                    outcome,
                    status: None,
                    stamp: None,
                }));
            }
        }
        gather.close();
        gather
    }

    #[test]
    fn response_counts_from_the_intended_start() {
        let coupon = Coupon { code: "가".into(), seq: None, remaining: None };
        let events = [(1, 1_000_000, 3_000_000, 4_000_000, Some(Outcome::Issued(coupon)))];
        let plan = Tally { sent: 1, ..Tally::default() };
        let integrity = Integrity { invocations: 1, completions: 1, gaps: vec![] };
        let summary = gather(&events).into_summary(&run(), plan, 1, integrity);
        let near = |a: f64, b: f64| (a - b).abs() / b < 0.002;
        assert!(near(summary.times.response.p50_us, 3_000.0), "{:?}", summary.times);
        assert!(near(summary.times.service.p50_us, 1_000.0));
        assert!(near(summary.times.lag.p50_us, 2_000.0));
        assert_eq!(
            (summary.targets[0].outcomes.issued, summary.targets[1].outcomes.issued),
            (0, 1)
        );
        assert!(summary.accounting.holds && summary.objections().is_empty());
    }

    #[test]
    fn what_was_never_completed_is_indeterminate_and_breaks_the_account() {
        let summary = gather(&[(1, 0, 0, 0, None)]).into_summary(
            &run(),
            Tally { sent: 1, ..Tally::default() },
            1,
            Integrity { invocations: 1, completions: 0, gaps: vec![] },
        );
        assert_eq!(summary.accounting.indeterminate, 1);
        assert!(!summary.accounting.holds);
        assert!(summary.objections()[0].contains("does not add up"));
    }

    #[test]
    fn a_lost_arrival_breaks_the_account() {
        let integrity = Integrity::default();
        assert!(!account(Outcomes::default(), Tally::default(), 1, &integrity).holds);
        let dropped = Tally { dropped: 1, ..Tally::default() };
        assert!(account(Outcomes::default(), dropped, 1, &integrity).holds);
    }

    #[test]
    fn an_unclassified_answer_is_an_objection() {
        let outcome = Outcome::Indeterminate(Doubt::Unclassified);
        let plan = Tally { sent: 1, ..Tally::default() };
        let integrity = Integrity { invocations: 1, completions: 1, gaps: vec![] };
        let summary =
            gather(&[(1, 0, 0, 9, Some(outcome))]).into_summary(&run(), plan, 1, integrity);
        assert!(summary.objections()[0].contains("match no rule"));
    }
}
