//! What a campaign promises.

use serde::{Deserialize, Serialize};

/// How many coupons one user may get, and which refusal wins when two are true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerUser {
    /// Coupons a user may hold. Only 1 is supported.
    pub limit: u32,
    /// What a holder is told once all coupons are gone.
    pub precedence: Precedence,
}

/// What a user who holds a coupon is told when all coupons are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precedence {
    /// Always `already_issued`; never `sold_out`.
    AlreadyFirst,
    /// `sold_out`; `already_issued` only while coupons are left.
    SoldOutFirst,
    /// One or the other.
    Either,
}

/// A span of time in nanoseconds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First possible moment.
    pub earliest: i64,
    /// Last possible moment.
    pub latest: i64,
}

impl Window {
    /// Length of the span in nanoseconds.
    pub fn width(self) -> i64 {
        self.latest.saturating_sub(self.earliest)
    }
}
