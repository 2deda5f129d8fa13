//! The figures of a run, computed from its history. What never got into it comes from the load
//! threads: arrivals that were dropped or cancelled, connections that were warm, and what the
//! self-check measured; what was sent is held against the history.
//!
//! response time = end - intended start, so a stalled generator cannot hide its own queue;
//! service time = end - actual start; start lag = the moment the generator got to it - intended
//! start; queue time = actual start - that moment. `docs/scenarios.md` documents every key.

mod beside;
mod bursts;
mod campaigns;
mod distribution;
mod gather;
mod hlog;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use contract::history::{self, HistoryError, Integrity};
use contract::outcome::{Doubt, Failure, Outcome};
use contract::run::{Run, RunState};
use hdrhistogram::serialization::V2DeflateSerializer;
use serde::Serialize;

pub use beside::{Reads, Steps};
pub use bursts::BurstSummary;
pub use campaigns::{Across, CampaignsSummary, LaunchAcross};
pub use distribution::{Distribution, Estimate, Quantile};
pub use hlog::HLOG_FILE;

use crate::samples::Sample;
use crate::selfcheck::{SelfCheck, Vitals};
use crate::thresholds::Judgement;
use crate::worker::Tally;
use gather::Gather;
use hlog::IntervalLog;

/// Version of `summary.json`.
pub const FORMAT: &str = "coupon-summary/1";

/// The figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// [`FORMAT`].
    pub format: &'static str,
    /// The scenario's name.
    pub scenario: String,
    /// The seed of the run.
    pub seed: u64,
    /// The campaign's id; of several the first one's.
    pub campaign: String,
    /// How several campaigns came out; absent where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaigns: Option<CampaignsSummary>,
    /// Whether the plan was carried out to its end.
    pub state: RunState,
    /// From the first invocation to the last completion, seconds.
    pub seconds: f64,
    /// Connections that were opened before the load; absent where none were to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUpSummary>,
    /// Where every arrival went.
    pub accounting: Accounting,
    /// How many attempts ended how.
    pub outcomes: Outcomes,
    /// Attempts that certainly had no effect, by reason.
    pub failures: BTreeMap<&'static str, u64>,
    /// Attempts whose effect nobody knows, by reason.
    pub doubts: BTreeMap<&'static str, u64>,
    /// A few of the answers that no rule matched.
    pub unclassified: Vec<Sample>,
    /// Polls and confirmations, which belong to attempts and are none.
    pub steps: Steps,
    /// Requests about a campaign's state.
    pub reads: Reads,
    /// Times of all attempts that reached a server.
    pub times: Times,
    /// The same by target.
    pub targets: Vec<TargetSummary>,
    /// What counts from the campaign's start; absent where that cannot be placed.
    pub launch: Option<Launch>,
    /// How each burst of the plan was sent.
    pub bursts: Vec<BurstSummary>,
    /// Before the start, while there are coupons, and after.
    pub phases: Vec<PhaseSummary>,
    /// The first second after the start in steps of 100 ms.
    pub first_second: Vec<Step>,
    /// Second by second from the start on; those without anything are left out.
    pub per_second: Vec<Second>,
    /// Whether the generator was up to it.
    pub self_check: SelfCheck,
    /// The scenario's thresholds, judged.
    pub thresholds: Vec<Judgement>,
    /// What the history lacks.
    pub gaps: Vec<String>,
}

/// Connections that were opened before the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WarmUpSummary {
    /// How many were to be opened.
    pub wanted: u64,
    /// How many of them were proven alive.
    pub alive: u64,
}

/// Where every arrival went. Two equations, checked in every run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Accounting {
    /// Arrivals in the plan.
    pub planned: u64,
    /// Arrivals that an answer gave rise to: retries.
    pub follow_ups: u64,
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
    /// Attempts of buyers who had asked before: planned (a double click) or follow-ups.
    pub repeats: u64,
    /// Requests of any kind in the history: attempts, polls, confirmations and reads.
    pub recorded: u64,
    /// Whether `planned + follow_ups = sent + dropped + cancelled`,
    /// `sent = decided + failed + indeterminate`, and the history holds exactly what was sent.
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
    /// Told that there is no such campaign yet.
    pub not_found: u64,
    /// Told that the campaign is over.
    pub ended: u64,
    /// Told that this user holds a coupon.
    pub already_issued: u64,
    /// Certainly no effect.
    pub failed: u64,
    /// Maybe an effect.
    pub indeterminate: u64,
}

impl Outcomes {
    fn decided(self) -> u64 {
        self.issued
            + self.sold_out
            + self.not_started
            + self.not_found
            + self.ended
            + self.already_issued
    }

    fn total(self) -> u64 {
        self.decided() + self.failed + self.indeterminate
    }

    fn add(&mut self, outcome: &Outcome<'_>) {
        *match outcome {
            Outcome::Issued(_) => &mut self.issued,
            Outcome::SoldOut => &mut self.sold_out,
            Outcome::NotStarted => &mut self.not_started,
            Outcome::NotFound => &mut self.not_found,
            Outcome::Ended => &mut self.ended,
            Outcome::AlreadyIssued(_) => &mut self.already_issued,
            Outcome::Failed(_) => &mut self.failed,
            Outcome::Indeterminate(_) => &mut self.indeterminate,
            Outcome::Read(_) | Outcome::Pending => return,
        } += 1;
    }
}

/// Distributions of the times.
#[derive(Clone, Debug, Serialize)]
pub struct Times {
    /// End minus intended start, of all attempts that may have reached a server and were not ended
    /// by the buyer's own plan.
    pub response: Distribution,
    /// The same of those that got a coupon.
    pub response_of_issued: Distribution,
    /// The same of those that were told no: sold out, not started, already issued.
    pub response_of_refused: Distribution,
    /// End minus actual start.
    pub service: Distribution,
    /// The moment the generator got to it minus intended start.
    pub lag: Distribution,
    /// Actual start minus that moment: the wait for a connection.
    pub queue: Distribution,
    /// From the actual start to the answer that accepted or reserved it; absent where the first
    /// answers were the last word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Distribution>,
    /// End minus intended start of reads; absent where there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Distribution>,
}

/// What counts from the campaign's start. Of several campaigns each figure is the worst one: the
/// largest uncertainty, delay and time, and the smallest rate.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Launch {
    /// The start is known up to this, either way.
    pub start_uncertainty_us: f64,
    /// From the start to the first answer with a coupon; negative if that came before it.
    pub start_delay_us: Option<f64>,
    /// From the start to the first sold-out answer.
    pub time_to_sell_out_us: Option<f64>,
    /// Coupons a second, from the start to the last answer with a coupon.
    pub issue_rate: Option<f64>,
    /// The same of several campaigns, from the smallest to the largest; absent where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub across: Option<LaunchAcross>,
}

/// A part of its campaign's launch. An attempt belongs to the one that it began in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before the start.
    BeforeStart,
    /// From the start until the first sold-out answer.
    Selling,
    /// After the first sold-out answer.
    SoldOut,
}

impl Phase {
    /// All of them, in order of time.
    pub const ALL: [Self; 3] = [Self::BeforeStart, Self::Selling, Self::SoldOut];
}

/// One phase's share.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseSummary {
    /// Which one.
    pub phase: Phase,
    /// How many of its attempts ended how.
    pub outcomes: Outcomes,
    /// End minus intended start.
    pub response: Distribution,
}

/// A tenth of the first second: the attempts that were due in it, whenever they were answered.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its beginning, milliseconds from the start on.
    pub from_ms: u32,
    /// How many there were.
    pub sent: u64,
    /// How many of them ended how.
    pub outcomes: Outcomes,
    /// End minus intended start.
    pub response: Distribution,
}

/// What happened in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Second {
    /// Which one, from the start on; negative is before it.
    pub second: i64,
    /// Attempts that began in it.
    pub sent: u64,
    /// Coupons whose answer came in it.
    pub issued: u64,
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

/// What the history does not say about a run.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Where the arrivals went.
    pub tally: Tally,
    /// Arrivals in the plan.
    pub planned: u64,
    /// How the generator fared.
    pub vitals: Vitals,
    /// Answers that no rule matched.
    pub samples: Vec<Sample>,
}

/// Reads a run's history, computes its figures, and writes [`HLOG_FILE`] on the way.
///
/// # Errors
/// When the history cannot be read, or the log not be written.
pub fn summarize(dir: &Path, run: &Run, observed: &Observed) -> Result<Summary, HistoryError> {
    let path = dir.join(HLOG_FILE);
    let fail = |source| HistoryError::Io { path: path.clone(), source };
    let mut file = BufWriter::new(File::create(&path).map_err(fail)?);
    let mut serializer = V2DeflateSerializer::new();
    let mut log =
        IntervalLog::begin(&mut file, &mut serializer, run.anchor.unix_ns).map_err(fail)?;
    let mut gather = Gather::new(run);
    let integrity = history::read(&dir.join(contract::run::HISTORY_DIR), &mut |event| {
        if let Some(ended) = gather.event(event) {
            log.record(ended.at, ended.response);
        }
    })?;
    gather.close();
    log.finish().and_then(|()| file.flush()).map_err(fail)?;
    Ok(conclude(gather, run, observed, integrity))
}

fn conclude(gather: Gather, run: &Run, observed: &Observed, integrity: Integrity) -> Summary {
    let targets = run.targets.iter().zip(&gather.targets).map(|(target, share)| TargetSummary {
        name: target.name.clone(),
        url: target.url.clone(),
        outcomes: share.outcomes,
        response: share.response.distribution(),
    });
    let any = |d: Distribution| (d.samples > 0).then_some(d);
    let times = Times {
        response: gather.all.response.distribution(),
        response_of_issued: gather.issued.distribution(),
        response_of_refused: gather.refused.distribution(),
        service: gather.service.distribution(),
        lag: gather.lag.distribution(),
        queue: gather.queue.distribution(),
        accepted: any(gather.accepted.distribution()),
        read: any(gather.read.distribution()),
    };
    let seconds = seconds(gather.length());
    Summary {
        format: FORMAT,
        scenario: run.scenario.clone(),
        seed: run.seed,
        campaign: run.campaigns.first().map(|c| c.id.clone()).unwrap_or_default(),
        campaigns: gather.campaigns.summary(),
        state: run.state,
        seconds,
        warm_up: warm_up(&observed.tally),
        accounting: account(&gather, observed, &integrity),
        outcomes: gather.all.outcomes,
        targets: targets.collect(),
        launch: gather.campaigns.launch(),
        bursts: gather.bursts.summary(gather.campaigns.len()),
        phases: gather.phases(),
        first_second: gather.first_second(),
        per_second: gather.per_second(),
        self_check: SelfCheck::new(observed, &times.lag, seconds),
        thresholds: Vec::new(),
        unclassified: observed.samples.clone(),
        steps: gather.follow,
        reads: gather.reads,
        failures: gather.failures,
        doubts: gather.doubts,
        times,
        gaps: integrity.gaps,
    }
}

fn warm_up(tally: &Tally) -> Option<WarmUpSummary> {
    let (wanted, alive) = (tally.wanted_connections, tally.warm_connections);
    (wanted > 0).then_some(WarmUpSummary { wanted, alive })
}

fn account(gather: &Gather, observed: &Observed, integrity: &Integrity) -> Accounting {
    let Tally { sent, dropped, cancelled, follow_ups, .. } = observed.tally;
    let (planned, outcomes, recorded) = (observed.planned, gather.all.outcomes, gather.requests());
    let holds = planned + follow_ups == sent + dropped + cancelled
        && sent == outcomes.total()
        && recorded == integrity.invocations
        && recorded == integrity.completions;
    Accounting {
        planned,
        follow_ups,
        sent,
        dropped,
        cancelled,
        decided: outcomes.decided(),
        failed: outcomes.failed,
        indeterminate: outcomes.indeterminate,
        repeats: gather.repeats,
        recorded,
        holds,
    }
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

/// Why the load was not the planned one, and nobody else's fault.
const NO_SOCKET: &str = "no socket left on the load host";
/// The system answered, but did not look at the request.
const BUSY: &str = "busy";

/// Why a request certainly had no effect, in words.
pub(crate) fn failure_name(failure: Failure) -> &'static str {
    match failure {
        Failure::NotConnected => "not connected",
        Failure::NotWritten => "not written, or refused unseen",
        Failure::NoSocket => NO_SOCKET,
        Failure::Rejected => "rejected unseen",
        Failure::Busy => BUSY,
        Failure::Unspecified => "unspecified",
    }
}

/// Why nobody knows whether a request had an effect, in words.
pub(crate) fn doubt_name(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::Timeout => "timeout",
        Doubt::Disconnected => "disconnected",
        Doubt::ServerError => "server error",
        Doubt::Unreadable => "unreadable answer",
        Doubt::Unclassified => "unclassified answer",
        Doubt::Abandoned => "given up",
        Doubt::HungUp => "hung up, as planned",
        Doubt::Undecided => "accepted, never decided",
        Doubt::Unconfirmed => "reserved, not confirmed",
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
        objections.extend(self.self_check.objections(a));
        if let Some(n) = self.failures.get(NO_SOCKET) {
            objections.push(format!(
                "{n} arrivals found no socket left on the load host: raise its limit of open files \
                 (ulimit -n) or its range of ports"
            ));
        }
        let busy = self.failures.get(BUSY).copied().unwrap_or(0);
        if a.planned > 0 && a.decided + a.indeterminate + busy == 0 && a.cancelled == 0 {
            objections.push("no request reached the system".into());
        }
        if let Some(n) = self.doubts.get(doubt_name(Doubt::Unclassified)) {
            let such = self.unclassified.first().map_or_else(String::new, |sample| {
                format!(", such as status {} with {:?}", sample.status, sample.body)
            });
            objections.push(format!("{n} answers match no rule{such}: their outcome is unknown"));
        }
        objections
    }
}

#[cfg(test)]
mod tests;
