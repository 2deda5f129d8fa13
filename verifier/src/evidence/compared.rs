//! What it takes to compare coupons with each other, and with those who asked and got none.
//!
//! Each coupon is looked at once and counted, wherever it is: in memory, or put aside. So what is said
//! of all of them does not depend on where they are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hdrhistogram::Histogram;

use super::acknowledged::Coupon;
use super::load::demand::Demand;
use super::{CampaignEvidence, Op};

/// So many of the coupons that were asked for last, and of those who lost first, are left aside.
pub const LATE: usize = 9;
/// Into so many parts the time in which coupons were told is cut.
const PARTS: usize = 10;

/// What is known of coupons that were looked at.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Where the campaign's start lies.
    start: i64,
    /// When the first of those was sent who lost, but for a few.
    first_lost: i64,
    /// When the last of these coupons were asked for.
    last: Last,
    /// So many were asked for after somebody lost who had been sent before.
    passed_by: usize,
    /// Which target gave them out, over time.
    won: Demand,
    /// How long they took.
    took: Took,
}

/// A coupon, as far as it is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// When it was asked for first, and of whom.
    pub(super) sent: i64,
    pub(super) target: Option<u16>,
    /// Between these moments it was told.
    pub(super) took: (i64, i64),
}

/// The latest of many moments.
#[derive(Clone, Debug, Default)]
pub struct Last(BinaryHeap<Reverse<i64>>);

/// How long answers took, by when they came.
#[derive(Clone, Debug, Default)]
struct Took {
    /// When the first one came.
    first: i64,
    /// How long a part is.
    length: i64,
    /// None where nothing came in a part.
    parts: [Option<Histogram<u32>>; PARTS],
}

impl Told {
    fn of(coupon: &Coupon) -> Self {
        let Op { invoked: sent, target, .. } = *coupon.asked();
        Self { sent, target, took: (coupon.told.invoked, coupon.told.end()) }
    }
}

impl Compared {
    /// All coupons of a campaign; none where they were too many to compare them.
    pub fn of(e: &CampaignEvidence) -> Option<Self> {
        let mut all = match &e.compared {
            Some(plain) => plain.clone(),
            None if e.acknowledged.plain().coupons > 0 => return None,
            None => Self::none_of(e)?,
        };
        e.acknowledged.iter().for_each(|coupon| all.add(&Told::of(coupon)));
        Some(all)
    }

    /// No coupon yet.
    pub(super) fn none_of(e: &CampaignEvidence) -> Option<Self> {
        let rivals = e.load.rivals.as_ref()?;
        let plain = e.acknowledged.plain().ends.map(|(first, last)| [first, last]);
        let held = || e.acknowledged.iter().map(|coupon| coupon.told.end());
        let ends = || held().chain(plain.into_iter().flatten());
        Some(Self {
            start: e.starts_at.latest,
            first_lost: rivals.losers().get(LATE).copied().unwrap_or(i64::MAX),
            last: Last::default(),
            passed_by: 0,
            won: rivals.demand.without_any(),
            took: Took::between(ends().min().unwrap_or(0), ends().max().unwrap_or(0)),
        })
    }

    /// Takes a coupon.
    pub(super) fn add(&mut self, told: &Told) {
        self.last.add(told.sent);
        self.passed_by += usize::from(told.sent > self.first_lost);
        if let Some(target) = told.target {
            self.won.add_known(target, told.sent.saturating_sub(self.start));
        }
        self.took.add(told.took);
    }

    /// Takes what was found of other coupons of the same campaign.
    pub(super) fn absorb(&mut self, other: Self) {
        other.last.0.into_iter().for_each(|Reverse(at)| self.last.add(at));
        self.passed_by += other.passed_by;
        self.won.absorb(other.won);
        self.took.absorb(other.took);
    }

    /// When the last of them were asked for.
    pub fn last(&self) -> &Last {
        &self.last
    }

    /// So many were asked for after somebody who lost, but for the first few of those.
    pub fn passed_by(&self) -> usize {
        self.passed_by
    }

    /// Which target gave them out, over time.
    pub fn won(&self) -> &Demand {
        &self.won
    }

    /// How long they took in each part of the time in which they were told.
    pub fn took(&self) -> impl Iterator<Item = Option<&Histogram<u32>>> {
        self.took.parts.iter().map(Option::as_ref)
    }
}

impl Last {
    /// Takes a moment.
    pub fn add(&mut self, at: i64) {
        if self.0.len() <= LATE {
            self.0.push(Reverse(at));
        } else if let Some(mut least) = self.0.peek_mut().filter(|least| least.0 < at) {
            *least = Reverse(at);
        }
    }

    /// The last one but for the few that are left aside.
    pub fn but_few(&self) -> Option<i64> {
        self.0.peek().filter(|_| self.0.len() > LATE).map(|at| at.0)
    }
}

impl Took {
    fn between(first: i64, last: i64) -> Self {
        Self { first, length: last.saturating_sub(first) / 10 + 1, ..Self::default() }
    }

    fn add(&mut self, (from, to): (i64, i64)) {
        let at = usize::try_from(to.saturating_sub(self.first) / self.length);
        let Some(part) = at.ok().and_then(|at| self.parts.get_mut(at)) else { return };
        if part.is_none() {
            // Two digits, up to an hour, are some 14 KiB.
            *part = Histogram::new_with_bounds(1_000, 3_600_000_000_000, 2).ok();
        }
        let nanos = u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        part.iter_mut().for_each(|part| part.saturating_record(nanos));
    }

    fn absorb(&mut self, other: Self) {
        for (own, other) in self.parts.iter_mut().zip(other.parts) {
            match (own, other) {
                (own @ None, other) => *own = other,
                (Some(own), Some(other)) => *own += other,
                (Some(_), None) => {}
            }
        }
    }
}
