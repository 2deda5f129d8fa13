//! What the store holds of one campaign.

use std::time::Duration;

/// Everything that was read about a campaign, in one moment, after it had settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// How many coupons the store thinks there are.
    pub coupons: i64,
    /// The start, Unix microseconds, by the store's clock.
    pub starts_at_us: i64,
    /// Coupons a user may get, by the store.
    pub per_user_limit: Option<i64>,
    /// The counter of issued coupons.
    pub counter: i64,
    /// Size of the index of codes, where the store keeps one beside the rows.
    pub indexed_codes: Option<i64>,
    /// The rows, one a coupon.
    pub rows: Vec<Row>,
    /// Rows that are there and cannot be understood: which, and why.
    pub unreadable: Vec<String>,
    /// How long the store was watched until it was taken to be at rest.
    pub settled_after: Duration,
    /// How long counter and rows had stood still by then.
    pub unchanged_for: Duration,
}

/// One issued coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its rank, from 1.
    pub seq: i64,
    /// Its code.
    pub code: Box<str>,
    /// Whose it is.
    pub user: Option<Box<str>>,
    /// The idempotency key of the request.
    pub key: Option<Box<str>>,
    /// When, Unix microseconds, by the store's clock.
    pub at_us: i64,
}
