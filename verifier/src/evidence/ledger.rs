//! What the store holds of one campaign.

use std::time::Duration;

use contract::store::Column;

use crate::wording::signed;

/// Everything that was read about a campaign, in one moment, after it had settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// How many coupons the store thinks there are.
    pub coupons: Option<i64>,
    /// The start, Unix microseconds, by the store's clock.
    pub starts_at_us: Option<i64>,
    /// Coupons a user may get, by the store.
    pub per_user_limit: Option<i64>,
    /// Everything that counts issued coupons beside the rows.
    pub counters: Vec<Counter>,
    /// Size of the index of codes, where the store keeps one beside the rows.
    pub indexed_codes: Option<i64>,
    /// The rows, one a coupon.
    pub rows: Vec<Row>,
    /// What the system calls each row, beside `rows`; empty where it has no name for them.
    pub orders: Vec<Option<Box<str>>>,
    /// Rows are not known: the store was only counted.
    pub unlisted: bool,
    /// What rows do not tell.
    pub lacks: Vec<Column>,
    /// What tied rows and answers together where rows lack codes.
    pub joined_by: Option<Column>,
    /// Rows that are there and cannot be understood: which, and why.
    pub unreadable: Vec<String>,
    /// How the store is set up so that it may forget.
    pub settings: Vec<String>,
    /// Why not all settings could be looked at.
    pub unseen_settings: Option<String>,
    /// What else is worth knowing about how it was read.
    pub notes: Vec<String>,
    /// How long the store was watched until it was taken to be at rest.
    pub settled_after: Duration,
    /// How long counters and rows had stood still by then.
    pub unchanged_for: Duration,
}

/// One issued coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its rank, from 1; its place among the rows where they lack ranks.
    pub seq: i64,
    /// Its code. Where rows lack codes it is the one that was told for it, or a name of its own.
    pub code: Box<str>,
    /// Whose it is.
    pub user: Option<Box<str>>,
    /// The idempotency key of the request.
    pub key: Option<Box<str>>,
    /// When, Unix microseconds, by the store's clock; only where `starts_at_us` is there as well.
    pub at_us: i64,
}

/// Something that counts issued coupons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// What it is called.
    pub name: String,
    /// What it says.
    pub says: Count,
    /// It counts who was refused as well, so what is beyond the last coupon says nothing.
    pub may_overshoot: bool,
}

/// What a counter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// So many were issued.
    Issued(i64),
    /// So many are left.
    Left(i64),
}

impl Counter {
    /// One that goes up.
    pub fn issued(name: &str, n: i64) -> Self {
        Self { name: name.into(), says: Count::Issued(n), may_overshoot: false }
    }

    /// How many of so many coupons it says were issued.
    pub fn of(&self, coupons: u64) -> i128 {
        let says = match self.says {
            Count::Issued(n) => n.into(),
            Count::Left(n) => i128::from(coupons) - i128::from(n),
        };
        if self.may_overshoot { says.min(coupons.into()) } else { says }
    }

    /// In words, as it stands in the store: `counter 7`, `stock 3 left`.
    pub fn words(&self) -> String {
        match self.says {
            Count::Issued(n) => format!("{} {}", self.name, signed(n)),
            Count::Left(n) => format!("{} {} left", self.name, signed(n)),
        }
    }
}

impl Ledger {
    /// Whether rows tell it.
    pub fn tells(&self, column: Column) -> bool {
        !self.lacks.contains(&column)
    }

    /// How many rows there are, also those that cannot be understood.
    pub fn size(&self) -> usize {
        self.rows.len() + self.unreadable.len()
    }
}
