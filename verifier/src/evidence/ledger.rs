//! What the store holds of one campaign.

use std::time::Duration;

use anyhow::Result;
use contract::store::Column;
use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use super::sift::Bytes;
use super::spill::{PARTS, Spill, hash};
use crate::wording::signed;

/// So many rows of a campaign are held in memory.
pub const MOST_HELD: usize = 100_000;

/// Everything that was read about a campaign, in one moment, after it had settled.
#[derive(Clone, Debug, Default)]
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
    /// The rows, one a coupon; without those that are plain, and those that were put aside.
    pub rows: Vec<Row>,
    /// Rows about which there is nothing to know but their numbers.
    pub plain: PlainRows,
    /// Rows that were too many for memory.
    pub(crate) aside: Option<Aside>,
    /// How many rows are among those of other ledgers.
    pub(crate) mixed: usize,
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
    /// Why not all settings could be looked at, store by store.
    pub unseen_settings: Vec<String>,
    /// What else is worth knowing about how it was read.
    pub notes: Vec<String>,
    /// How long the store was watched until it was taken to be at rest.
    pub settled_after: Duration,
    /// How long counters and rows had stood still by then.
    pub unchanged_for: Duration,
}

/// Rows that are [plain](super::sift).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlainRows {
    /// How many.
    pub rows: usize,
    /// Their ranks, each once.
    pub seqs: RoaringTreemap,
    /// Ranks of further rows that have one of these as well.
    pub again: Vec<u64>,
}

/// Rows that were too many for memory, by their codes.
#[derive(Clone, Debug)]
pub(crate) struct Aside(Spill);

/// One issued coupon.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
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

/// What a store said about several campaigns, `None` where it has no such campaign.
#[derive(Debug, Default)]
pub struct Ledgers {
    /// In the order in which they were asked for.
    pub of: Vec<Option<Ledger>>,
    /// Rows of those that are little alone and too much together, each with its ledger's number.
    mixed: Spill,
    /// Rows that are held.
    held: usize,
}

impl Ledgers {
    /// Reads one after the other, so that no more than a part of them is in memory.
    ///
    /// # Errors
    /// When one cannot be read, or there is no room on the disk.
    pub fn read(
        campaigns: &[&str],
        mut one: impl FnMut(&str) -> Result<Option<Ledger>>,
    ) -> Result<Self> {
        let mut ledgers = Self::default();
        for campaign in campaigns {
            ledgers.add(one(campaign)?)?;
        }
        Ok(ledgers)
    }

    fn add(&mut self, mut ledger: Option<Ledger>) -> Result<()> {
        if let Some(ledger) = &mut ledger {
            self.held += ledger.rows.len();
            if self.held > MOST_HELD && ledger.tells(Column::Code) {
                self.mix(ledger);
            }
            if let Some(Aside(aside)) = &mut ledger.aside {
                aside.flush()?;
            }
        }
        self.of.push(ledger);
        Ok(())
    }

    /// Takes the rows of a ledger out of memory.
    fn mix(&mut self, ledger: &mut Ledger) {
        self.held -= ledger.rows.len();
        for row in std::mem::take(&mut ledger.rows) {
            self.mixed.push(hash(&row.code), &(self.of.len(), row));
            ledger.mixed += 1;
        }
    }

    /// Takes all rows into memory again.
    pub(super) fn take_back(&mut self) -> std::io::Result<()> {
        let mut bytes = Bytes::default();
        for at in 0..PARTS {
            self.part(at, &mut bytes)?;
            for (ledger, row) in bytes.rows() {
                if let Some(ledger) = &mut self.of[ledger] {
                    ledger.rows.push(row);
                }
            }
        }
        for ledger in self.of.iter_mut().flatten() {
            (ledger.aside, ledger.mixed) = (None, 0);
            ledger.rows.sort_by(|a, b| (a.seq, &a.code).cmp(&(b.seq, &b.code)));
        }
        Ok(())
    }

    /// Takes all rows out of memory.
    ///
    /// # Errors
    /// When the disk is full.
    pub(super) fn put_aside(&mut self) -> std::io::Result<()> {
        for (at, ledger) in self.of.iter_mut().enumerate() {
            let Some(ledger) = ledger else { continue };
            for row in std::mem::take(&mut ledger.rows) {
                self.mixed.push(hash(&row.code), &(at, row));
            }
            ledger.mixed = 0;
        }
        self.mixed.flush()
    }

    /// Reads a part of all rows.
    pub(super) fn part(&self, at: usize, bytes: &mut Bytes) -> std::io::Result<()> {
        bytes.mixed.clear();
        self.mixed.part(at, &mut bytes.mixed)?;
        bytes.single.clear();
        for (number, ledger) in self.of.iter().enumerate() {
            if let Some(Aside(aside)) = ledger.as_ref().and_then(|ledger| ledger.aside.as_ref()) {
                let mut rows = Vec::new();
                aside.part(at, &mut rows)?;
                bytes.single.push((number, rows));
            }
        }
        Ok(())
    }
}

impl PlainRows {
    /// Takes the rank of one.
    pub(super) fn add(&mut self, seq: i64) {
        self.rows += 1;
        let Ok(seq) = u64::try_from(seq) else { return };
        if !self.seqs.insert(seq) {
            self.again.push(seq);
        }
    }

    /// Takes one out again.
    pub(super) fn remove(&mut self, seq: i64) {
        self.rows -= 1;
        let Ok(seq) = u64::try_from(seq) else { return };
        match self.again.iter().position(|other| *other == seq) {
            Some(at) => {
                self.again.swap_remove(at);
            }
            None => {
                self.seqs.remove(seq);
            }
        }
    }

    /// Takes those of another one.
    pub(super) fn absorb(&mut self, other: Self) {
        self.rows += other.rows;
        self.again.extend(other.again);
        self.again.extend(&self.seqs & &other.seqs);
        self.seqs |= other.seqs;
    }
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

    /// Takes a row.
    pub fn add(&mut self, row: Row) {
        match &mut self.aside {
            Some(Aside(aside)) => aside.push(hash(&row.code), &row),
            None => self.rows.push(row),
        }
        if self.rows.len() > MOST_HELD && self.tells(Column::Code) {
            self.put_aside();
        }
    }

    /// Takes the rows out of memory.
    fn put_aside(&mut self) {
        let Aside(aside) = self.aside.get_or_insert_with(|| Aside(Spill::default()));
        let rows = std::mem::take(&mut self.rows).into_iter();
        rows.for_each(|row| aside.push(hash(&row.code), &row));
    }

    /// These rows are left, and plain ones besides.
    pub(super) fn sifted(&mut self, rows: Vec<Row>, plain: PlainRows) {
        (self.rows, self.plain, self.aside, self.mixed) = (rows, plain, None, 0);
    }

    /// How many rows there are that can be understood.
    pub fn count(&self) -> usize {
        let aside = self.aside.as_ref().map_or(0, |Aside(aside)| aside.len());
        let aside = usize::try_from(aside).unwrap_or(usize::MAX);
        self.rows.len() + self.plain.rows + self.mixed + aside
    }

    /// The ranks of all rows, in order.
    pub fn seqs(&self) -> impl Iterator<Item = i64> {
        let again = self.plain.again.iter().filter_map(|seq| i64::try_from(*seq).ok());
        let mut others: Vec<i64> = self.rows.iter().map(|row| row.seq).chain(again).collect();
        others.sort_unstable();
        let plain = self.plain.seqs.iter().filter_map(|seq| i64::try_from(seq).ok());
        let (mut plain, mut others) = (plain.peekable(), others.into_iter().peekable());
        std::iter::from_fn(move || match (plain.peek(), others.peek()) {
            (Some(a), Some(b)) if a > b => others.next(),
            (None, _) => others.next(),
            (Some(_), _) => plain.next(),
        })
    }

    /// The code of a row, where rows tell codes; a name that was made up for the row is none.
    pub fn code_of<'a>(&self, row: &'a Row) -> Option<&'a str> {
        self.tells(Column::Code).then_some(row.code.as_ref())
    }

    /// How many rows there are, also those that cannot be understood.
    pub fn size(&self) -> usize {
        self.count() + self.unreadable.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(rows: i64) -> Ledger {
        let mut ledger = Ledger::default();
        let row = |seq| Row { seq, code: "가".into(), user: None, key: None, at_us: 0 };
        (0..rows).for_each(|seq| ledger.add(row(seq)));
        ledger
    }

    /// Of ten thousand campaigns, the room of their rows alone would be more than all else.
    #[test]
    fn rows_that_were_put_aside_leave_no_room_behind() {
        let many = i64::try_from(MOST_HELD).unwrap() + 1;
        assert_eq!(ledger(many).rows.capacity(), 0);
        let names = ["a"; 12];
        let mut ledgers = Ledgers::read(&names, |_| Ok(Some(ledger(many / 10)))).unwrap();
        let room = |all: &Ledgers| -> Vec<usize> {
            all.of.iter().flatten().map(|ledger| ledger.rows.capacity()).collect()
        };
        let mixed: Vec<_> = ledgers.of.iter().flatten().map(|ledger| ledger.mixed).collect();
        assert!(mixed[0] == 0 && mixed[11] > 0, "{mixed:?}");
        assert_eq!(room(&ledgers)[11], 0);
        ledgers.put_aside().unwrap();
        assert_eq!(room(&ledgers), [0; 12]);
        ledgers.take_back().unwrap();
        assert!(ledgers.of.iter().flatten().all(|l| l.rows.len() == MOST_HELD / 10));
    }
}
