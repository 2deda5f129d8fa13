//! Plain coupons that belong to a proof after all: those of the numbers that it is about, and those that bound
//! these numbers in time.

use std::cmp::Reverse;
use std::io;

use super::super::CampaignEvidence;
use super::super::acknowledged::{Coupon, Numbers};
use super::super::spill::records;
use super::part::Slip;
use super::rule::Seen;
use super::{Aside, in_parallel, read_part};
use crate::check::MOST_COUNTED;
use crate::procedure;

/// So many of the bounds of proofs are looked for.
const MOST_BOUNDED: usize = 20;

/// What one thread found.
#[derive(Debug, Default)]
struct Found {
    coupons: Vec<(Coupon, Numbers)>,
    bounds: Vec<Option<(Bound, Coupon, Numbers)>>,
}

/// The earlier, the better.
type Bound = (i128, Reverse<u64>);

/// Of all coupons with a rank among these the one that was over first, or was sent last.
#[derive(Clone, Copy)]
struct Wanted {
    ranks: Numbers,
    sent_last: bool,
}

impl Wanted {
    /// What bounds these numbers, of so many. The last of all bounds none that comes after it.
    fn around(numbers: Numbers, coupons: u64) -> [Self; 4] {
        let from = |first| Self { ranks: Numbers { first, last: u64::MAX }, sent_last: false };
        let most = coupons.saturating_sub(1);
        let upto =
            |last: u64| Self { ranks: Numbers { first: 1, last: last.min(most) }, sent_last: true };
        let Numbers { first, last } = numbers;
        [from(first - 1), from(last), upto(first), upto(last.saturating_add(1))]
    }

    fn bound(self, (sent, over): (i64, i64), rank: u64) -> Bound {
        if self.sent_last {
            (-i128::from(sent), Reverse(u64::MAX - rank))
        } else {
            (i128::from(over), Reverse(rank))
        }
    }
}

impl Aside {
    /// The plain coupons of a campaign that have one of these numbers, as far as they are not too many to
    /// be shown, and those that bound them in time, each with the numbers that it can have.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn recall(
        &self,
        campaign: usize,
        e: &CampaignEvidence,
        lacking: &[Numbers],
    ) -> io::Result<Vec<(Coupon, Numbers)>> {
        let (seen, coupons) = (Seen::of(e), procedure::numbers(e));
        let few =
            |numbers: &&Numbers| e.acknowledged.plain().among(**numbers) <= MOST_COUNTED as u64;
        let shown: Vec<Numbers> = lacking.iter().filter(few).copied().collect();
        let bounds = lacking.iter().take(MOST_BOUNDED).filter(|_| seen.ranked);
        let bounds: Vec<Wanted> =
            bounds.flat_map(|numbers| Wanted::around(*numbers, coupons)).collect();
        let part = |at: usize, found: &mut Found| {
            let mut bytes = Vec::new();
            read_part(&self.told, at, &mut bytes)?;
            let own = records::<Slip<'_>>(&bytes).filter(|slip| slip.campaign == campaign);
            for slip in own.filter(|slip| !self.held.contains(slip.op)) {
                let Some(numbers) = seen.numbers(&slip) else { continue };
                if shown.iter().any(|shown| shown.hold(numbers)) {
                    found.coupons.push((slip.coupon(), numbers));
                } else {
                    found.keep_bounds(&bounds, (&slip, seen.over(&slip)), numbers);
                }
            }
            Ok(())
        };
        let mut all = Found::default();
        in_parallel(part)?.into_iter().for_each(|found| all.absorb(found));
        let mut coupons = all.coupons;
        coupons.extend(all.bounds.into_iter().flatten().map(|(_, coupon, ranks)| (coupon, ranks)));
        coupons.sort_by_key(|(coupon, _)| coupon.told.op);
        coupons.dedup_by_key(|(coupon, _)| coupon.told.op);
        Ok(coupons)
    }
}

impl Found {
    fn keep_bounds(&mut self, wanted: &[Wanted], (slip, over): (&Slip<'_>, i64), numbers: Numbers) {
        self.bounds.resize_with(wanted.len(), || None);
        for (kept, wanted) in self.bounds.iter_mut().zip(wanted) {
            let bound = wanted.bound((slip.invoked, over), numbers.first);
            let better = kept.as_ref().is_none_or(|(other, ..)| bound < *other);
            if better && wanted.ranks.hold(numbers) {
                *kept = Some((bound, slip.coupon(), numbers));
            }
        }
    }

    fn absorb(&mut self, other: Self) {
        self.coupons.extend(other.coupons);
        self.bounds.resize_with(self.bounds.len().max(other.bounds.len()), || None);
        for (own, other) in self.bounds.iter_mut().zip(other.bounds) {
            let better = |(bound, ..): &(Bound, Coupon, Numbers)| {
                own.as_ref().is_none_or(|(best, ..)| bound < best)
            };
            if other.as_ref().is_some_and(better) {
                *own = other;
            }
        }
    }
}
