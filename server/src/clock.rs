//! This instance's own clock. It stamps answers and is held against the store's; it decides nothing.

use chrono::{DateTime, TimeDelta, Utc};

/// A clock that is further off than this is worth a warning.
pub const TOLERATED: TimeDelta = TimeDelta::milliseconds(100);

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    put_forward: TimeDelta,
}

impl Clock {
    /// A clock that is wrong by so much, to see what comes of it.
    pub fn put_forward(by: TimeDelta) -> Self {
        Self { put_forward: by }
    }

    /// Its time.
    pub fn now(self) -> DateTime<Utc> {
        Utc::now() + self.put_forward
    }

    /// How far it is certainly ahead (or, below zero, behind) of a clock that showed `other` at some
    /// moment between `asked`, of this clock, and now.
    pub fn ahead_of(self, other: DateTime<Utc>, asked: DateTime<Utc>) -> TimeDelta {
        if other < asked { asked - other } else { (self.now() - other).min(TimeDelta::zero()) }
    }
}
