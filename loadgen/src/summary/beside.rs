//! Requests that are no attempts: polls and confirmations, which belong to an attempt, and reads.

use contract::history::Kind;
use contract::outcome::Outcome;
use serde::Serialize;

/// Requests that belong to an attempt whose first answer was not the last word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Steps {
    /// So often it was asked what came of an attempt.
    pub polls: u64,
    /// So often a reserved coupon was confirmed.
    pub confirms: u64,
    /// So many of both got no answer that says anything.
    pub unanswered: u64,
}

/// Requests about a campaign's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reads {
    /// How many were sent.
    pub sent: u64,
    /// So many were answered.
    pub answered: u64,
    /// So many certainly never reached the system, or were not looked at.
    pub failed: u64,
    /// So many got no whole answer, or none that shows what is asked for.
    pub indeterminate: u64,
}

impl Steps {
    /// Polls and confirmations together.
    pub fn total(&self) -> u64 {
        self.polls + self.confirms
    }

    pub(super) fn begin(&mut self, kind: Kind) {
        match kind {
            Kind::Poll => self.polls += 1,
            Kind::Confirm => self.confirms += 1,
            Kind::Issue | Kind::Read => {}
        }
    }

    pub(super) fn end(&mut self, outcome: &Outcome<'_>) {
        self.unanswered += u64::from(Told::of(outcome) != Told::Something);
    }
}

impl Reads {
    pub(super) fn end(&mut self, outcome: &Outcome<'_>) {
        *match Told::of(outcome) {
            Told::Something => &mut self.answered,
            Told::Failed => &mut self.failed,
            Told::Doubt => &mut self.indeterminate,
        } += 1;
    }
}

/// What an outcome comes down to where nobody asked for a coupon.
#[derive(PartialEq, Eq)]
enum Told {
    Something,
    Failed,
    Doubt,
}

impl Told {
    fn of(outcome: &Outcome<'_>) -> Self {
        match outcome {
            Outcome::Issued(_)
            | Outcome::SoldOut
            | Outcome::NotStarted
            | Outcome::NotFound
            | Outcome::Ended
            | Outcome::AlreadyIssued(_)
            | Outcome::Read(_)
            | Outcome::Pending => Self::Something,
            Outcome::Failed(_) => Self::Failed,
            Outcome::Indeterminate(_) => Self::Doubt,
        }
    }
}
