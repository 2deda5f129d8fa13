//! One part of what was put aside: coupons and rows that have a code with the same hash, together
//! wherever they have the same code.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::super::acknowledged::{Coupon, Numbers, Rank};
use super::super::ledger::Row;
use super::super::spill::{hash, records};
use super::super::{Op, Said};
use super::rule::Rule;
use super::{Name, Sifted};

/// A coupon as it is put aside.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Slip<'a> {
    pub(super) campaign: usize,
    pub(super) op: u64,
    pub(super) target: Option<u16>,
    pub(super) user: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    pub(super) invoked: i64,
    pub(super) completed: Option<i64>,
    pub(super) code: &'a str,
    seq: Option<i64>,
    remaining: Option<i64>,
}

impl<'a> Slip<'a> {
    pub(super) fn of(campaign: usize, coupon: &'a Coupon) -> Self {
        let Op { op, target, user, key, invoked, completed, .. } = &coupon.told;
        let Rank { seq, remaining } = coupon.rank;
        Self {
            campaign,
            op: *op,
            target: *target,
            user: user.as_deref(),
            key: key.as_deref(),
            invoked: *invoked,
            completed: *completed,
            code: coupon.code(),
            seq,
            remaining,
        }
    }

    pub(super) fn rank(&self) -> Rank {
        Rank { seq: self.seq, remaining: self.remaining }
    }

    pub(super) fn coupon(&self) -> Coupon {
        let told = Op {
            op: self.op,
            target: self.target,
            user: self.user.map(Box::from),
            key: self.key.map(Box::from),
            invoked: self.invoked,
            completed: self.completed,
            said: Said::Issued(self.code.into()),
        };
        Coupon::new(told, self.rank())
    }
}

/// A row as it is put aside; the same as [`Row`].
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Stored<'a> {
    pub(super) seq: i64,
    code: &'a str,
    pub(super) user: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    pub(super) at_us: i64,
}

impl Stored<'_> {
    fn row(&self) -> Row {
        let (user, key) = (self.user.map(Box::from), self.key.map(Box::from));
        Row { seq: self.seq, code: self.code.into(), user, key, at_us: self.at_us }
    }
}

/// What was read of a part.
#[derive(Debug, Default)]
pub(in crate::evidence) struct Bytes {
    pub(super) told: Vec<u8>,
    /// Rows of many ledgers, each with the number of its ledger.
    pub(in crate::evidence) mixed: Vec<u8>,
    /// Rows of one ledger.
    pub(in crate::evidence) single: Vec<(usize, Vec<u8>)>,
}

/// Coupons and rows, by their codes.
pub(super) struct Part<'b> {
    told: Vec<Slip<'b>>,
    rows: Vec<(usize, Stored<'b>)>,
}

/// All that have one code.
pub(super) struct Group<'p, 'b> {
    pub(super) told: &'p [Slip<'b>],
    rows: &'p [(usize, Stored<'b>)],
}

/// A coupon that may be plain, and its row.
pub(super) struct Pair<'b> {
    pub(super) told: Slip<'b>,
    pub(super) row: Option<Stored<'b>>,
    pub(super) numbers: Numbers,
}

impl Bytes {
    /// Every row, with the number of its ledger.
    pub(in crate::evidence) fn rows(&self) -> impl Iterator<Item = (usize, Row)> {
        self.stored().map(|(at, row)| (at, row.row()))
    }

    fn stored(&self) -> impl Iterator<Item = (usize, Stored<'_>)> {
        let single = self.single.iter();
        let single = single.flat_map(|(at, rows)| records(rows).map(move |row| (*at, row)));
        records(&self.mixed).chain(single)
    }

    /// What is in it; `selected` says which campaign each ledger is of.
    pub(super) fn part(&self, selected: &[usize]) -> Part<'_> {
        let mut rows: Vec<_> = self.stored().map(|(at, row)| (selected[at], row)).collect();
        let mut told: Vec<Slip<'_>> = records(&self.told).collect();
        rows.sort_by_cached_key(|(_, row)| place(row.code));
        told.sort_by_cached_key(|slip| place(slip.code));
        Part { told, rows }
    }
}

impl<'b> Part<'b> {
    /// What has the same code.
    pub(super) fn groups(&self) -> impl Iterator<Item = Group<'_, 'b>> {
        let (mut told, mut rows) = (self.told.as_slice(), self.rows.as_slice());
        std::iter::from_fn(move || {
            let codes = [told.first().map(|t| t.code), rows.first().map(|(_, row)| row.code)];
            let (_, code) = codes.into_iter().flatten().map(place).min()?;
            let (own, others) = told.split_at(run(told, |slip| slip.code == code));
            let (own_rows, other_rows) = rows.split_at(run(rows, |(_, row)| row.code == code));
            (told, rows) = (others, other_rows);
            Some(Group { told: own, rows: own_rows })
        })
    }
}

/// Where a code stands among others. Its hash decides, for that is a number.
fn place(code: &str) -> (u64, &str) {
    (hash(code), code)
}

/// How many at the beginning.
fn run<T>(all: &[T], belongs: impl Fn(&T) -> bool) -> usize {
    all.iter().take_while(|one| belongs(one)).count()
}

impl<'b> Group<'_, 'b> {
    /// The coupon that may be plain, as far as its code and its row tell.
    pub(super) fn plain(&self, rules: &[Rule<'_>], keep: &HashSet<u64>) -> Option<Pair<'b>> {
        let ([told], [] | [_]) = (self.told, self.rows) else { return None };
        let row = self.rows.first();
        let own = row.is_none_or(|(campaign, _)| *campaign == told.campaign);
        let row = row.map(|(_, row)| *row);
        let numbers = rules[told.campaign].numbers(told, row.as_ref())?;
        (own && !keep.contains(&told.op)).then_some(Pair { told: *told, row, numbers })
    }

    /// The names of all who have this code. What a coupon and its row have in common counts once.
    pub(super) fn names<'g>(&'g self, rules: &'g [Rule<'_>]) -> impl Iterator<Item = Name> + 'g {
        let told = || self.told.iter().flat_map(|t| names_of(rules, t.campaign, (t.user, t.key)));
        let rows = self.rows.iter();
        let rows = rows.flat_map(|(at, row)| names_of(rules, *at, (row.user, row.key)));
        told().chain(rows.filter(move |name| !told().any(|other| other == *name)))
    }

    /// Leaves all of them in memory.
    pub(super) fn keep(&self, found: &mut [Sifted]) {
        for slip in self.told {
            found[slip.campaign].coupons.push(slip.coupon());
        }
        for (campaign, row) in self.rows {
            found[*campaign].rows.push(row.row());
        }
    }
}

impl Pair<'_> {
    pub(super) fn campaign(&self) -> usize {
        self.told.campaign
    }
}

/// The names by which one of them may be another one as well.
fn names_of(
    rules: &[Rule<'_>],
    campaign: usize,
    (user, key): (Option<&str>, Option<&str>),
) -> impl Iterator<Item = Name> {
    let limited = user.filter(|_| rules[campaign].limited);
    let user_name = limited.map(|user| Name::user(campaign, user));
    let key_name = key.map(|key| Name::key(campaign, user, key));
    user_name.into_iter().chain(key_name)
}
