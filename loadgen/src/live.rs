//! Counters that a load thread writes and the live view reads. The figures that count come from
//! the history, never from here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use contract::outcome::Outcome;
use hdrhistogram::Histogram;

/// What happened so far, over all load threads.
#[derive(Debug, Default)]
pub struct Live {
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

impl Live {
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
            | Outcome::AlreadyIssued(_)
            | Outcome::Read(_)
            | Outcome::Pending => &self.refused,
            Outcome::Failed(_) | Outcome::Indeterminate(_) => &self.troubled,
        };
        counter.fetch_add(1, Relaxed);
        self.done.fetch_add(1, Relaxed);
        let us = u64::try_from(response / 1_000).unwrap_or(0).max(1);
        self.responses.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(us);
    }

    /// Response times since it was asked last; `None` where there were none.
    pub fn recent(&self) -> Option<Recent> {
        let mut responses = self.responses.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |quantile| responses.value_at_quantile(quantile);
        let recent = (!responses.is_empty()).then(|| Recent {
            p50: at(0.5),
            p99: at(0.99),
            max: responses.max(),
        });
        responses.reset();
        recent
    }

    /// A look at the counters.
    pub fn glance(&self) -> Glance {
        let done = self.done.load(Relaxed);
        let sent = self.sent.load(Relaxed);
        Glance {
            sent,
            in_flight: sent.saturating_sub(done),
            issued: self.issued.load(Relaxed),
            refused: self.refused.load(Relaxed),
            troubled: self.troubled.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_times_are_those_since_the_last_look() {
        let live = Live::default();
        assert_eq!(live.recent(), None);
        (1..=100).for_each(|ms| live.done(&Outcome::SoldOut, ms * 1_000_000));
        let recent = live.recent().unwrap();
        assert!(recent.p50.abs_diff(50_000) < 1_000 && recent.p99.abs_diff(99_000) < 1_500);
        assert!(recent.max >= 100_000);
        assert_eq!(live.recent(), None);
        assert_eq!(live.glance().refused, 100);
    }
}
