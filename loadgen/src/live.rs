//! Counters that a load thread writes and the live view reads. The figures that count come from
//! the history, never from here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use contract::outcome::Outcome;

/// What happened so far, over all load threads.
#[derive(Debug, Default)]
pub struct Live {
    sent: AtomicU64,
    done: AtomicU64,
    issued: AtomicU64,
    refused: AtomicU64,
    troubled: AtomicU64,
    dropped: AtomicU64,
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

    /// An attempt is over.
    pub fn done(&self, outcome: &Outcome<'_>) {
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
