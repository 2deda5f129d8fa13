//! How many requests each target got, over time.
//!
//! The trick is a fixed number of buckets that are as wide as they have to be: whenever a request
//! lies beyond the last one, neighbours are put together. So memory does not grow with the run.

use std::collections::BTreeMap;

/// So many buckets there are for each target.
const BUCKETS: usize = 512;
/// How wide they are at first, in nanoseconds.
const FINEST: i64 = 1_000_000;
/// Of so many targets requests are counted.
const TARGETS: usize = 256;

/// Requests for a coupon that were sent after the start, by target and time.
#[derive(Clone, Debug)]
pub struct Demand {
    /// How wide a bucket is, in nanoseconds.
    width: i64,
    targets: BTreeMap<u16, Vec<u32>>,
}

impl Default for Demand {
    fn default() -> Self {
        Self { width: FINEST, targets: BTreeMap::new() }
    }
}

impl Demand {
    /// A request was sent to this target, so many nanoseconds after the start.
    pub(super) fn add(&mut self, target: u16, after: i64) {
        if after < 0 || self.targets.len() >= TARGETS && !self.targets.contains_key(&target) {
            return;
        }
        while self.bucket(after).is_none() {
            self.widen();
        }
        let Some(at) = self.bucket(after) else { return };
        let counts = self.targets.entry(target).or_default();
        if counts.len() <= at {
            counts.resize(at + 1, 0);
        }
        counts[at] = counts[at].saturating_add(1);
    }

    /// Takes what was counted elsewhere.
    pub(super) fn absorb(&mut self, mut other: Self) {
        while self.width < other.width {
            self.widen();
        }
        while other.width < self.width {
            other.widen();
        }
        for (target, others) in other.targets {
            let counts = self.targets.entry(target).or_default();
            counts.resize(counts.len().max(others.len()), 0);
            counts.iter_mut().zip(others).for_each(|(own, other)| *own = own.saturating_add(other));
        }
    }

    fn widen(&mut self) {
        self.width = self.width.saturating_mul(2);
        for counts in self.targets.values_mut() {
            *counts = counts.chunks(2).map(|two| two.iter().sum()).collect();
        }
    }

    /// The bucket of a moment, in nanoseconds after the start; none before it, and none so late that
    /// nothing was counted there.
    pub fn bucket(&self, after: i64) -> Option<usize> {
        usize::try_from(after / self.width).ok().filter(|at| after >= 0 && *at < BUCKETS)
    }

    /// How many buckets there are.
    pub fn len(&self) -> usize {
        self.targets.values().map(Vec::len).max().unwrap_or(0)
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Every target, with the number of its requests in each bucket. Buckets at the end may be
    /// left out where they are empty.
    pub fn targets(&self) -> impl Iterator<Item = (u16, &[u32])> {
        self.targets.iter().map(|(target, counts)| (*target, counts.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_as_buckets_widen() {
        let mut demand = Demand::default();
        for after in (0..100_000_000_000).step_by(100_000_000) {
            demand.add(0, after);
            demand.add(1, after / 2);
        }
        demand.add(0, -1);
        let sums: Vec<u32> = demand.targets().map(|(_, counts)| counts.iter().sum()).collect();
        assert_eq!(sums, [1_000, 1_000]);
        assert!(demand.len() > BUCKETS / 2 && demand.len() <= BUCKETS, "{}", demand.len());
        let first_half = |counts: &[u32]| counts[..demand.len() / 2].iter().sum::<u32>();
        let early: Vec<u32> = demand.targets().map(|(_, counts)| first_half(counts)).collect();
        assert!(early[0].abs_diff(500) < 5 && early[1] > 990, "{early:?}");
    }

    #[test]
    fn parts_of_other_widths_are_put_together() {
        let part = |last: i64| {
            let mut demand = Demand::default();
            [0, FINEST, last].into_iter().for_each(|after| demand.add(0, after));
            demand
        };
        // Twice as wide, and four times.
        let (one, other) = (part(600 * FINEST), part(1_200 * FINEST));
        for (mut one, other) in [(one.clone(), other.clone()), (other, one)] {
            one.absorb(other);
            let (_, counts) = one.targets().next().unwrap();
            let counted = counts.iter().enumerate().filter(|(_, n)| **n > 0);
            let counted: Vec<(usize, u32)> = counted.map(|(at, n)| (at, *n)).collect();
            assert_eq!(counted, [(0, 4), (150, 1), (300, 1)]);
        }
    }

    #[test]
    fn any_moment_has_a_bucket() {
        let mut demand = Demand::default();
        demand.add(0, i64::MAX);
        assert_eq!(demand.targets().map(|(_, c)| c.iter().sum::<u32>()).sum::<u32>(), 1);
        (0..1_000).for_each(|target| demand.add(target, 5));
        assert_eq!(demand.targets().count(), TARGETS);
    }
}
