//! What the settled store adds: which lost requests consumed a coupon, and that no other did.
//!
//! Nothing is taken from a store that does not fit the history, which is a violation of its own, nor
//! where requests may be missing: a row may belong to one of those.

use std::collections::{HashMap, HashSet};

use super::{Condition, Rules};
use crate::evidence::join::By;
use crate::evidence::ledger::Row;
use crate::evidence::{CampaignEvidence, Op};

/// What is known of the lost requests.
#[derive(Default)]
pub(super) struct Stored<'a> {
    /// How many coupons were consumed in all; none where only the history tells.
    pub(super) total: Option<u64>,
    /// Lost requests that certainly consumed one, with its code where rows tell codes.
    certain: HashMap<usize, Option<&'a str>>,
    /// Users one of whose lost requests did.
    users: HashMap<&'a str, Option<&'a str>>,
    /// There are rows that may belong to any of several requests.
    vague: bool,
}

/// What the store says of one lost request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect<'a> {
    /// It consumed this coupon.
    Certain(Option<&'a str>),
    /// It or another one of its user consumed this coupon.
    OfUser(Option<&'a str>),
    /// It may have consumed one.
    Possible,
    /// It did not.
    None,
}

impl<'a> Stored<'a> {
    pub(super) fn of(e: &'a CampaignEvidence, rules: Rules) -> Self {
        let (Some(join), Some(ledger)) = (&e.join, e.ledger()) else { return Self::default() };
        if !e.whole || !join.lost.is_empty() || !join.leftovers.is_empty() {
            return Self::default();
        }
        let total = Some((e.acknowledged.len() + join.matched.len()) as u64);
        let mut stored = Self { total, ..Self::default() };
        if !rules.hold(Condition::MandatoryRows) {
            stored.vague = true;
            return stored;
        }
        let asked = Asked::of(&e.pending);
        let mut rows_of: HashMap<&str, usize> = HashMap::new();
        for user in join.matched.iter().filter_map(|m| e.pending[m.pending].user.as_deref()) {
            *rows_of.entry(user).or_default() += 1;
        }
        for found in &join.matched {
            let (op, row) = (&e.pending[found.pending], &ledger.rows[found.row]);
            // Of several requests of one user the first could have done what any could.
            let single = op.user.as_deref().is_some_and(|user| rows_of.get(user) == Some(&1));
            let single = single || e.precedence().is_some();
            let one_of_user = found.by == By::User && asked.all_named() && single;
            match op.user.as_deref() {
                _ if asked.fitting(row) == 1 => {
                    stored.certain.insert(found.pending, ledger.code_of(row));
                }
                Some(user) if one_of_user => {
                    stored.users.insert(user, ledger.code_of(row));
                }
                _ => stored.vague = true,
            }
        }
        stored.vague |= !rules.hold(Condition::NoOtherRows);
        stored
    }

    pub(super) fn effect(&self, at: usize, op: &Op) -> Effect<'a> {
        if let Some(code) = self.certain.get(&at) {
            return Effect::Certain(*code);
        }
        if let Some(code) = op.user.as_deref().and_then(|user| self.users.get(user)) {
            return Effect::OfUser(*code);
        }
        if self.total.is_none() || self.vague { Effect::Possible } else { Effect::None }
    }
}

/// How many lost requests there are of each key and user.
#[derive(Default)]
struct Asked<'a> {
    exact: HashMap<(Option<&'a str>, Option<&'a str>), usize>,
    of_key: HashMap<Option<&'a str>, usize>,
    of_user: HashMap<Option<&'a str>, usize>,
    all: usize,
}

impl<'a> Asked<'a> {
    fn of(pending: &'a [Op]) -> Self {
        let mut asked = Self { all: pending.len(), ..Self::default() };
        for op in pending {
            let (key, user) = (op.key.as_deref(), op.user.as_deref());
            *asked.exact.entry((key, user)).or_default() += 1;
            *asked.of_key.entry(key).or_default() += 1;
            *asked.of_user.entry(user).or_default() += 1;
        }
        asked
    }

    fn all_named(&self) -> bool {
        !self.of_user.contains_key(&None)
    }

    /// How many of them can have left this row.
    fn fitting(&self, row: &Row) -> usize {
        let exact = |key, user| self.exact.get(&(key, user)).copied().unwrap_or_default();
        let of_key = |key| self.of_key.get(&key).copied().unwrap_or_default();
        let of_user = |user| self.of_user.get(&user).copied().unwrap_or_default();
        match (row.key.as_deref(), row.user.as_deref()) {
            (None, None) => self.all,
            (key, None) => of_key(key) + of_key(None),
            (None, user) => of_user(user) + of_user(None),
            (key, user) => {
                exact(key, user) + exact(key, None) + exact(None, user) + exact(None, None)
            }
        }
    }
}

/// The users and keys among whose requests none can have consumed a coupon, because they were told
/// "sold out".
pub(super) struct Refused<'a> {
    users: HashMap<&'a str, &'a Op>,
    keys: HashMap<(Option<&'a str>, &'a str), &'a Op>,
}

impl<'a> Refused<'a> {
    pub(super) fn of(e: &'a CampaignEvidence) -> Self {
        let user = |op: &'a Op| Some((op.user.as_deref()?, op));
        let key = |op: &'a Op| Some(((op.user.as_deref(), op.key.as_deref()?), op));
        let sold_out = e.repeats.iter().filter(|op| op.said == crate::evidence::Said::SoldOut);
        Self {
            users: e.refused_users.iter().filter_map(user).collect(),
            keys: sold_out.filter_map(key).collect(),
        }
    }

    pub(super) fn user(&self, op: &Op) -> Option<&'a Op> {
        self.users.get(op.user.as_deref()?).copied()
    }

    pub(super) fn key(&self, op: &Op) -> Option<&'a Op> {
        self.keys.get(&(op.user.as_deref(), op.key.as_deref()?)).copied()
    }

    /// The users.
    pub(super) fn users(&self) -> HashSet<&'a str> {
        self.users.keys().copied().collect()
    }
}
