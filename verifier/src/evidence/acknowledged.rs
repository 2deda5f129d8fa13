//! The coupons that clients were told about.
//!
//! What is kept of each is what a join or a witness needs. Where there are many, those that are
//! [plain](super::sift) are only counted.

use std::collections::{BTreeMap, HashMap};

use super::Op;

/// The acknowledged coupons of one campaign, one entry a coupon and not one an answer: a request
/// that was repeated under the same idempotency key and got the same code again is the same coupon.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    coupons: Vec<Coupon>,
    plain: Plain,
}

/// Coupons about which there is nothing to know but how many there are, and which number each can have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plain {
    /// How many.
    pub coupons: usize,
    /// Requests for some of them said who asked.
    pub named: bool,
    /// When the first and the last of them were told.
    pub ends: Option<(i64, i64)>,
    /// The ranks of those that were told one, in order and apart: each has one of its own.
    pub ranked: Vec<Numbers>,
    /// How many of the others can have which numbers.
    pub unranked: BTreeMap<Numbers, u64>,
}

/// Numbers of coupons, from the first to the last; none where the first is beyond the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Numbers {
    /// From 1.
    pub first: u64,
    /// The last of them.
    pub last: u64,
}

impl Plain {
    /// One was told at this moment.
    pub(super) fn was_told(&mut self, at: i64) {
        let (first, last) = self.ends.unwrap_or((at, at));
        self.ends = Some((first.min(at), last.max(at)));
    }

    /// How many of them have one of these numbers for sure.
    pub(crate) fn among(&self, numbers: Numbers) -> u64 {
        let ranked = self.ranked.iter().map(|run| {
            let (first, last) = (run.first.max(numbers.first), run.last.min(numbers.last));
            Numbers { first, last }.count()
        });
        let unranked = self.unranked.iter().filter(|(of, _)| numbers.hold(**of));
        ranked.chain(unranked.map(|(_, coupons)| *coupons)).sum()
    }
}

impl Numbers {
    /// All that there are.
    pub const ALL: Self = Self { first: 1, last: u64::MAX };

    /// A single one.
    pub fn one(number: u64) -> Self {
        Self { first: number, last: number }
    }

    /// How many.
    pub fn count(self) -> u64 {
        self.last.checked_sub(self.first).map_or(0, |more| more.saturating_add(1))
    }

    /// Whether all of the other are among them.
    pub fn hold(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// A coupon that a client was told about.
#[derive(Clone, Debug)]
pub struct Coupon {
    /// The answer that told it, the first one if there were several.
    pub told: Op,
    /// What that answer said of its rank.
    pub rank: Rank,
    /// An earlier attempt under the same key: the coupon may have been consumed by that one.
    since: Option<Box<Op>>,
    /// Further answers that told it and said something of its rank that was not known before.
    retold: Vec<(Op, Rank)>,
}

/// A coupon's rank as an answer told it. A broken server can say anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rank {
    /// From 1.
    pub seq: Option<i64>,
    /// Coupons left right after it.
    pub remaining: Option<i64>,
}

impl Rank {
    /// Whether nothing was told.
    pub fn is_silent(self) -> bool {
        self.seq.is_none() && self.remaining.is_none()
    }

    /// The rank, of so many coupons. None where it cannot be one, or was not told.
    pub fn number(self, coupons: u64) -> Option<u64> {
        let mut numbers = self.numbers(coupons);
        let rank = numbers.next()?;
        let agree = numbers.all(|other| other == rank);
        u64::try_from(rank).ok().filter(|rank| agree && (1..=coupons).contains(rank))
    }

    /// The rank itself and the one that follows from what was left.
    fn numbers(self, coupons: u64) -> impl Iterator<Item = i128> {
        let left = self.remaining.map(|left| i128::from(coupons) - i128::from(left));
        self.seq.map(i128::from).into_iter().chain(left)
    }
}

impl Coupon {
    /// One that was told once.
    pub(super) fn new(told: Op, rank: Rank) -> Self {
        Self { told, rank, since: None, retold: Vec::new() }
    }

    /// Its code.
    pub fn code(&self) -> &str {
        self.told.code().unwrap_or_default()
    }

    /// The first attempt that can have consumed it.
    pub fn asked(&self) -> &Op {
        self.since.as_deref().unwrap_or(&self.told)
    }

    /// The ranks that answers told, each with the answer, in a campaign of so many coupons.
    pub fn ranks(&self, coupons: u64) -> impl Iterator<Item = (i128, &Op)> {
        let told = std::iter::once((&self.told, self.rank));
        let all = told.chain(self.retold.iter().map(|(op, rank)| (op, *rank)));
        all.flat_map(move |(op, rank)| rank.numbers(coupons).map(move |n| (n, op)))
    }

    /// Its rank, where an answer told it, and the answer. None where it cannot be one.
    pub fn place(&self, coupons: u64) -> Option<(u64, &Op)> {
        let (rank, op) = self.ranks(coupons).next()?;
        let agree = self.ranks(coupons).all(|(other, _)| other == rank);
        let rank = u64::try_from(rank).ok().filter(|rank| (1..=coupons).contains(rank));
        rank.filter(|_| agree).map(|rank| (rank, op))
    }

    fn retold(&mut self, other: Self) {
        let known = |told: Option<i64>, which: fn(Rank) -> Option<i64>| {
            let before = self.retold.iter().map(|(_, rank)| which(*rank));
            told.is_none() || before.chain([which(self.rank)]).any(|rank| rank == told)
        };
        let new =
            !known(other.rank.seq, |r| r.seq) || !known(other.rank.remaining, |r| r.remaining);
        if new {
            self.retold.push((other.told.clone(), other.rank));
        }
        self.attempted_by(other.told);
    }

    fn attempted_by(&mut self, op: Op) {
        if (op.invoked, op.op) < (self.asked().invoked, self.asked().op) {
            self.since = Some(Box::new(op));
        }
    }
}

/// User, key and code: answers that agree in all three told about one coupon.
type Replay = (Option<Box<str>>, Box<str>, Box<str>);
/// User and key: one request, however often it was sent.
type Group<'a> = (Option<&'a str>, &'a str);

fn group(op: &Op) -> Option<Group<'_>> {
    op.key.as_deref().map(|key| (op.user.as_deref(), key))
}

impl Acknowledged {
    /// Takes a coupon.
    pub fn push(&mut self, coupon: Coupon) {
        self.coupons.push(coupon);
    }

    /// Takes those of another one.
    pub(super) fn absorb(&mut self, other: Self) {
        self.coupons.extend(other.coupons);
    }

    /// These coupons, and so many plain ones besides.
    pub(super) fn sifted(coupons: Vec<Coupon>, plain: Plain) -> Self {
        Self { coupons, plain }
    }

    /// Takes out every coupon that is there.
    pub(super) fn take(&mut self) -> Vec<Coupon> {
        std::mem::take(&mut self.coupons)
    }

    /// Every coupon that is not plain, in the order of the operations that were told them.
    pub fn iter(&self) -> impl Iterator<Item = &Coupon> {
        self.coupons.iter()
    }

    /// Those that are.
    pub fn plain(&self) -> &Plain {
        &self.plain
    }

    /// Takes plain coupons back that a proof needs, each with the numbers that it can have.
    pub(crate) fn recall(&mut self, recalled: Vec<(Coupon, Numbers)>) {
        self.plain.coupons -= recalled.len();
        let mut ranks: Vec<u64> = Vec::new();
        for (coupon, numbers) in recalled {
            if coupon.rank.is_silent() {
                let left = self.plain.unranked.get_mut(&numbers);
                left.into_iter().for_each(|left| *left -= 1);
            } else {
                ranks.push(numbers.first);
            }
            self.coupons.push(coupon);
        }
        self.coupons.sort_by_key(|coupon| coupon.told.op);
        ranks.sort_unstable();
        self.plain.ranked = without(&self.plain.ranked, &ranks);
    }

    /// How many there are in all.
    pub fn len(&self) -> usize {
        self.coupons.len() + self.plain.coupons
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts the attempts under one idempotency key together, and takes from `pending` what is
    /// explained by that: one key consumes one coupon, however often it is sent.
    pub fn settle(&mut self, pending: &mut Vec<Op>) {
        self.coupons.sort_by_key(|c| (c.told.end(), c.told.op));
        pending.sort_by_key(|p| (p.invoked, p.op));
        self.merge_replays();
        self.merge_pending(pending);
        self.coupons.sort_by_key(|c| c.told.op);
    }

    fn merge_replays(&mut self) {
        let mut first: HashMap<Replay, usize> = HashMap::new();
        let mut kept: Vec<Coupon> = Vec::with_capacity(self.coupons.len());
        for coupon in self.coupons.drain(..) {
            let Some(key) = coupon.told.key.clone() else {
                kept.push(coupon);
                continue;
            };
            let whole = (coupon.told.user.clone(), key, coupon.code().into());
            match first.get(&whole) {
                Some(&at) => kept[at].retold(coupon),
                None => {
                    first.insert(whole, kept.len());
                    kept.push(coupon);
                }
            }
        }
        self.coupons = kept;
    }

    fn merge_pending(&mut self, pending: &mut Vec<Op>) {
        if pending.iter().all(|p| p.key.is_none()) {
            return;
        }
        let mut explained: Vec<(usize, Op)> = Vec::new();
        {
            let told: HashMap<Group<'_>, usize> = (self.coupons.iter().enumerate().rev())
                .filter_map(|(at, c)| Some((group(&c.told)?, at)))
                .collect();
            pending.retain(|p| match group(p).and_then(|g| told.get(&g)) {
                Some(&at) => {
                    explained.push((at, p.clone()));
                    false
                }
                None => true,
            });
        }
        for (at, op) in explained {
            self.coupons[at].attempted_by(op);
        }
        let mut seen = std::collections::HashSet::new();
        pending.retain(|p| match &p.key {
            Some(key) => seen.insert((p.user.clone(), key.clone())),
            None => true,
        });
    }
}

/// The numbers of all of them but for these, which are in order.
fn without(all: &[Numbers], numbers: &[u64]) -> Vec<Numbers> {
    let mut kept = Vec::new();
    for run in all {
        let from = numbers.partition_point(|number| *number < run.first);
        let mut first = run.first;
        for &number in numbers[from..].iter().take_while(|number| **number <= run.last) {
            kept.push(Numbers { first, last: number - 1 });
            first = number + 1;
        }
        kept.push(Numbers { first, last: run.last });
    }
    kept.retain(|run| run.first <= run.last);
    kept
}

#[cfg(test)]
mod tests {
    use super::super::Said;
    use super::*;

    fn op(op: u64, key: Option<&str>, at: i64, code: Option<&str>) -> Op {
        Op {
            op,
            target: None,
            user: Some("u".into()),
            key: key.map(Into::into),
            invoked: at,
            completed: Some(at + 1),
            said: code.map_or(Said::Unknown, |c| Said::Issued(c.into())),
        }
    }

    #[test]
    fn a_replay_is_one_coupon_of_the_first_attempt() {
        let mut all = Acknowledged::default();
        all.push(Coupon::new(op(3, Some("k"), 50, Some("가")), Rank::default()));
        all.push(Coupon::new(op(2, Some("k"), 20, Some("가")), Rank::default()));
        let mut pending = vec![op(1, Some("k"), 10, None), op(4, Some("k2"), 60, None)];
        all.settle(&mut pending);
        let coupons: Vec<_> = all.iter().map(|c| (c.told.op, c.asked().op)).collect();
        assert_eq!(coupons, [(2, 1)]);
        assert_eq!(pending.iter().map(|p| p.op).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn without_a_key_every_answer_counts() {
        let mut all = Acknowledged::default();
        all.push(Coupon::new(op(1, None, 10, Some("가")), Rank::default()));
        all.push(Coupon::new(op(2, None, 20, Some("가")), Rank::default()));
        all.settle(&mut Vec::new());
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn a_lost_request_sent_twice_under_one_key_is_one() {
        let mut pending = vec![op(2, Some("k"), 20, None), op(1, Some("k"), 10, None)];
        Acknowledged::default().settle(&mut pending);
        assert_eq!(pending.iter().map(|p| p.op).collect::<Vec<_>>(), [1]);
    }
}
