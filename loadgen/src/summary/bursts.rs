//! How well the bursts of the plan were kept to: when their first and their last request left.
//!
//! A burst is found by when its requests were due, which cannot tell them from others that the plan
//! wanted in the same span of time. The plan's zero on the history's clock is where its first
//! arrival was due, less how far into the plan that one is: exact, as both come from the same
//! integers.

use std::collections::HashMap;

use contract::run::Run;
use serde::Serialize;

use crate::scenario::{Burst, Load};
use crate::schedule::Schedule;

/// How a burst was sent. Of several campaigns: the earliest, the latest, and the widest of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BurstSummary {
    /// When the plan wants it to begin, from the campaign's start on.
    pub at_us: f64,
    /// Over how long the plan spreads it.
    pub over_us: f64,
    /// How many arrivals the plan gives it, over all campaigns.
    pub requests: u64,
    /// Attempts that were due while it lasted.
    pub sent: u64,
    /// From its planned moment to when the first of them was sent.
    pub first_sent_us: Option<f64>,
    /// From its planned moment to when the last of them was sent.
    pub last_sent_us: Option<f64>,
    /// From the first to the last, of the same campaign.
    pub spread_us: Option<f64>,
}

/// What is kept of one burst of one campaign.
#[derive(Clone, Copy, Debug)]
struct Sent {
    count: u64,
    first: i64,
    last: i64,
}

/// Watches the bursts of a run.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    plan: Vec<Burst>,
    /// When the plan's first arrival is due, from the campaign's start on.
    begin: i64,
    /// By campaign: when its first arrival was due.
    first_due: HashMap<usize, i64>,
    /// By campaign and burst.
    sent: HashMap<(usize, usize), Sent>,
}

impl Bursts {
    /// The bursts of a run, as its description has them.
    pub(super) fn of(run: &Run) -> Self {
        let load = run.definition.get("load").cloned().unwrap_or_default();
        match serde_json::from_value::<Load>(load) {
            Ok(load) if !load.bursts.is_empty() => {
                let begin = Schedule::new(&load, run.seed).begin();
                Self { plan: load.bursts, begin, ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    /// A buyer's first attempt was sent at `at`, and was due at `due`.
    pub(super) fn sent(&mut self, campaign: usize, due: i64, at: i64) {
        if self.plan.is_empty() {
            return;
        }
        let first_due = self.first_due.entry(campaign).or_insert(due);
        *first_due = due.min(*first_due);
        let into_plan = due - (*first_due - self.begin);
        for (number, burst) in self.plan.iter().enumerate() {
            let begin = burst.at.nanos();
            if (begin..=begin + burst.over.nanos()).contains(&into_plan) {
                let none = Sent { count: 0, first: at, last: at };
                let sent = self.sent.entry((campaign, number)).or_insert(none);
                sent.count += 1;
                (sent.first, sent.last) = (sent.first.min(at), sent.last.max(at));
            }
        }
    }

    /// What became of each, for so many campaigns.
    pub(super) fn summary(&self, campaigns: usize) -> Vec<BurstSummary> {
        let each = self.plan.iter().enumerate();
        each.map(|(number, burst)| self.summarized(number, burst, campaigns)).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
    fn summarized(&self, number: usize, burst: &Burst, campaigns: usize) -> BurstSummary {
        let us = |ns: i64| ns as f64 / 1e3;
        let of_burst = self.sent.iter().filter(|((_, n), _)| *n == number);
        // Each with its planned moment.
        let sent: Vec<(&Sent, i64)> = of_burst
            .map(|((campaign, _), sent)| {
                (sent, self.first_due[campaign] - self.begin + burst.at.nanos())
            })
            .collect();
        BurstSummary {
            at_us: us(burst.at.nanos()),
            over_us: us(burst.over.nanos()),
            requests: u64::from(u32::from(burst.requests)) * campaigns.max(1) as u64,
            sent: sent.iter().map(|(s, _)| s.count).sum(),
            first_sent_us: sent.iter().map(|(s, planned)| s.first - planned).min().map(us),
            last_sent_us: sent.iter().map(|(s, planned)| s.last - planned).max().map(us),
            spread_us: sent.iter().map(|(s, _)| s.last - s.first).max().map(us),
        }
    }
}
