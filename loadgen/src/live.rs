//! Counters that load threads write and the live view reads, a set for each thread: over one for all of
//! them the processors would quarrel at each request. The figures that count come from the history,
//! never from here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use contract::outcome::Outcome;
use hdrhistogram::Histogram;

/// What happened so far.
#[derive(Debug)]
pub struct Live(Vec<Counters>);

/// What happened so far on one load thread. No two threads write to the same cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    sent: AtomicU64,
    done: AtomicU64,
    issued: AtomicU64,
    refused: AtomicU64,
    troubled: AtomicU64,
    dropped: AtomicU64,
    responses: Responses,
}

/// Response times since the last look, in microseconds.
#[derive(Debug)]
struct Responses(Mutex<Histogram<u32>>);

impl Default for Responses {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, 2);
        Self(Mutex::new(histogram.unwrap_or_else(|e| unreachable!("the bounds are right: {e}"))))
    }
}

/// Longer response times count as this one: a minute.
const LONGEST_US: u64 = 60_000_000;

/// Response times of a moment, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recent {
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

/// A look at the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// Attempts begun.
    pub sent: u64,
    /// Attempts under way.
    pub in_flight: u64,
    /// Coupons issued.
    pub issued: u64,
    /// Decisions that were no coupon.
    pub refused: u64,
    /// Failed or indeterminate.
    pub troubled: u64,
    /// Arrivals never sent.
    pub dropped: u64,
}

impl Counters {
    /// An attempt begins.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    /// An arrival is not sent.
    pub fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// An attempt is over; its response time in nanoseconds.
    pub fn done(&self, outcome: &Outcome<'_>, response: i64) {
        let counter = match outcome {
            Outcome::Issued(_) => &self.issued,
            Outcome::SoldOut
            | Outcome::NotStarted
            | Outcome::NotFound
            | Outcome::Ended
            | Outcome::AlreadyIssued(_)
            | Outcome::Read(_)
            | Outcome::Pending => &self.refused,
            Outcome::Failed(_) | Outcome::Indeterminate(_) => &self.troubled,
        };
        counter.fetch_add(1, Relaxed);
        self.done.fetch_add(1, Relaxed);
        let us = u64::try_from(response / 1_000).unwrap_or(0).max(1);
        self.responses().saturating_record(us);
    }

    fn responses(&self) -> MutexGuard<'_, Histogram<u32>> {
        self.responses.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// For so many load threads.
    pub fn new(threads: usize) -> Self {
        Self(std::iter::repeat_with(Counters::default).take(threads).collect())
    }

    /// Those of load thread `number`.
    pub fn of(&self, number: usize) -> &Counters {
        &self.0[number]
    }

    /// Response times since it was asked last; `None` where there were none.
    pub fn recent(&self) -> Option<Recent> {
        let mut all = Responses::default().0.into_inner().unwrap_or_else(PoisonError::into_inner);
        for counters in &self.0 {
            let mut responses = counters.responses();
            // They have the same bounds.
            let _ = all.add(&*responses);
            responses.reset();
        }
        let at = |quantile| all.value_at_quantile(quantile);
        (!all.is_empty()).then(|| Recent { p50: at(0.5), p99: at(0.99), max: all.max() })
    }

    /// A look at the counters.
    pub fn glance(&self) -> Glance {
        let sum = |which: fn(&Counters) -> &AtomicU64| -> u64 {
            self.0.iter().map(|counters| which(counters).load(Relaxed)).sum()
        };
        // What is done was sent before, so it is read before.
        let done = sum(|c| &c.done);
        let sent = sum(|c| &c.sent);
        Glance {
            sent,
            in_flight: sent.saturating_sub(done),
            issued: sum(|c| &c.issued),
            refused: sum(|c| &c.refused),
            troubled: sum(|c| &c.troubled),
            dropped: sum(|c| &c.dropped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_times_are_those_since_the_last_look() {
        let live = Live::new(3);
        assert_eq!(live.recent(), None);
        for (ms, thread) in (1..=100).zip((0..3).cycle()) {
            live.of(thread).done(&Outcome::SoldOut, ms * 1_000_000);
        }
        let recent = live.recent().unwrap();
        assert!(recent.p50.abs_diff(50_000) < 1_000 && recent.p99.abs_diff(99_000) < 1_500);
        assert!(recent.max >= 100_000);
        assert_eq!(live.recent(), None);
        assert_eq!(live.glance().refused, 100);
    }
}
