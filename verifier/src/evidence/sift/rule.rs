//! What makes a coupon of one campaign plain, as far as its own record and its row tell.

use std::collections::{HashMap, HashSet};

use contract::campaign::Precedence;
use contract::store::Column;

use super::super::acknowledged::Numbers;
use super::super::ledger::Ledger;
use super::super::{CampaignEvidence, Op};
use super::part::{Slip, Stored};
use crate::check::is_well_formed;

/// What makes a coupon of one campaign plain.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    /// None is: its lists or its holders are about all of them.
    none: bool,
    /// It was told at this moment or later.
    from: i64,
    /// It was asked for at this moment or earlier.
    until: i64,
    /// Whether a user may hold one only.
    pub(super) limited: bool,
    /// What the store's rows must say; none where they are not known.
    rows: Option<Rows>,
    /// Codes that others were told they held.
    held: HashSet<&'a str>,
    /// When users were first told that they held a coupon.
    holders: HashMap<&'a str, i64>,
    pub(super) seen: Seen,
}

/// What plain rows of one campaign say.
#[derive(Clone, Copy, Debug)]
struct Rows {
    /// Not before this time, where the store says when the campaign started.
    starts_at_us: i64,
    /// They tell their numbers.
    numbered: bool,
}

/// What was seen of numbers in one campaign: by ranks that were told, and by reads.
#[derive(Debug)]
pub(super) struct Seen {
    coupons: u64,
    /// Nothing that was seen of them stays true.
    restock: bool,
    /// Nothing was issued after this moment.
    over_by: i64,
    /// Answers told ranks.
    pub(super) ranked: bool,
    /// A request under the same key may be missing, and have been the first.
    holed: bool,
    /// By so many moments, in order, so many coupons had been issued.
    over: Vec<(i64, u64)>,
    /// From so many moments on, in order, no less than this number had to be issued yet.
    begun: Vec<(i64, u64)>,
}

impl<'a> Rule<'a> {
    /// Of a campaign and its ledger, if there is one.
    pub(super) fn of(e: &'a CampaignEvidence, ledger: Option<&Ledger>) -> Self {
        let ledger = ledger.filter(|ledger| !ledger.unlisted);
        let rows = |ledger: &Ledger| Rows {
            starts_at_us: ledger.starts_at_us.unwrap_or(i64::MIN),
            numbered: ledger.tells(Column::Seq),
        };
        let sold_out_first = e.precedence() == Some(Precedence::SoldOutFirst);
        let several = e.per_user.is_some_and(|limit| limit.limit > 1)
            || ledger.is_some_and(|ledger| ledger.per_user_limit > Some(1));
        let about_all =
            !e.reads.lists.is_empty() || several || sold_out_first && e.counts.already_issued > 0;
        let shut = e.last_shut().map_or(i64::MIN, |op| op.invoked);
        let start = if e.start_is_placed() { e.starts_at.latest } else { i64::MIN };
        Self {
            none: about_all || ledger.is_some_and(|ledger| !ledger.tells(Column::Code)),
            from: start.max(shut),
            until: e.first_sold_out.as_ref().map_or(i64::MAX, Op::end).min(e.over_by()),
            limited: e.per_user.is_some()
                || ledger.is_some_and(|ledger| ledger.per_user_limit.is_some()),
            rows: ledger.map(rows),
            held: e.holders.iter().filter_map(Op::code).collect(),
            holders: holders(e),
            seen: Seen::of(e),
        }
    }

    /// Whether the ranks of this campaign's coupons have to be compared.
    pub(super) fn compares_ranks(&self) -> bool {
        !self.none && self.seen.ranked && !self.seen.restock
    }

    /// The moment by which this user's coupon was there, by what they were told.
    pub(super) fn held_by(&self, user: Option<&str>) -> i64 {
        user.and_then(|user| self.holders.get(user)).copied().unwrap_or(i64::MAX)
    }

    /// The numbers that the coupon can have; none where it is not plain.
    pub(super) fn numbers(&self, told: &Slip<'_>, row: Option<&Stored<'_>>) -> Option<Numbers> {
        let plain = !self.none
            && told.completed.is_some_and(|over| over.min(self.seen.over_by) >= self.from)
            && told.invoked <= self.until
            && !self.held.contains(told.code)
            && is_well_formed(told.code);
        let numbers = self.seen.numbers(told).filter(|_| plain)?;
        let agree = match (row, &self.rows) {
            (None, None) => true,
            (Some(row), Some(rows)) => self.agree(told, row, *rows, numbers),
            (None, Some(_)) | (Some(_), None) => false,
        };
        agree.then_some(numbers)
    }

    fn agree(&self, told: &Slip<'_>, row: &Stored<'_>, rows: Rows, numbers: Numbers) -> bool {
        let says = |a: Option<&str>, b: Option<&str>| a.is_none() || b.is_none() || a == b;
        let numbered = rows.numbered && !self.seen.restock;
        // Where no rank was told, only a number that was given before would be wrong.
        let last = if told.rank().is_silent() { u64::MAX } else { numbers.last };
        let given = Numbers { last, ..numbers };
        let fits = || u64::try_from(row.seq).is_ok_and(|seq| given.hold(Numbers::one(seq)));
        says(told.user, row.user)
            && says(told.key, row.key)
            && row.seq > 0
            && row.at_us >= rows.starts_at_us
            && (!numbered || fits())
    }
}

fn holders(e: &CampaignEvidence) -> HashMap<&str, i64> {
    let mut first = HashMap::new();
    for op in &e.holders {
        if let Some(user) = op.user.as_deref() {
            let end = first.entry(user).or_insert(i64::MAX);
            *end = op.end().min(*end);
        }
    }
    first
}

impl Seen {
    pub(super) fn of(e: &CampaignEvidence) -> Self {
        let counts = e.reads.counts.iter().filter_map(|(count, seen)| {
            let count = u64::try_from(*count).ok().filter(|count| *count <= e.coupons)?;
            Some((count, seen))
        });
        let (mut over, mut begun) = (Vec::new(), Vec::new());
        for (count, seen) in counts {
            over.push((seen.first_over.end(), count));
            let sent = seen.last_sent.invoked.saturating_sub(e.read_lag);
            begun.push((sent, count.saturating_add(1)));
        }
        over.sort_unstable();
        begun.sort_unstable();
        let mut most = 0;
        over.iter_mut().for_each(|(_, count)| {
            most = most.max(*count);
            *count = most;
        });
        let mut least = u64::MAX;
        begun.iter_mut().rev().for_each(|(_, next)| {
            least = least.min(*next);
            *next = least;
        });
        Self {
            coupons: e.coupons,
            restock: e.restock,
            over_by: e.over_by(),
            ranked: e.counts.ranked > 0,
            holed: !e.whole && !e.keys_whole,
            over,
            begun,
        }
    }

    /// The numbers that a coupon can have by its own record; none where that is not for sure.
    pub(super) fn numbers(&self, told: &Slip<'_>) -> Option<Numbers> {
        if self.restock {
            return Some(Numbers::ALL);
        }
        let counted = self.ranked || !self.over.is_empty();
        if counted && self.holed && told.key.is_some() {
            return None;
        }
        told.completed?;
        let last = self.last_by(self.over(told));
        let seen = Numbers { first: self.first_from(told.invoked), last };
        if told.rank().is_silent() {
            return (!self.ranked).then_some(seen);
        }
        told.rank().number(self.coupons).map(Numbers::one).filter(|one| seen.hold(*one))
    }

    /// The moment by which the coupon was there: when it was told, or when the campaign was over. Many
    /// have the latter in common, so whatever asks who was first has to ask by this.
    pub(super) fn over(&self, told: &Slip<'_>) -> i64 {
        told.completed.unwrap_or(i64::MAX).min(self.over_by.max(told.invoked))
    }

    /// The first number that had not been issued by this moment.
    fn first_from(&self, sent: i64) -> u64 {
        let before = self.over.partition_point(|(at, _)| *at < sent);
        before.checked_sub(1).map_or(1, |at| self.over[at].1.saturating_add(1))
    }

    /// The last number that can have been issued by this moment.
    fn last_by(&self, over: i64) -> u64 {
        let before = self.begun.partition_point(|(at, _)| *at <= over);
        self.begun.get(before).map_or(u64::MAX, |(_, next)| next - 1)
    }
}
