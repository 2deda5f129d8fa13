//! How many requests each target got, over time.
//!
//! The trick is a fixed number of buckets that are as wide as they have to be: whenever a request
//! lies beyond the last one, neighbours are put together. So memory does not grow with the run. Most
//! requests lie in the bucket of the one before, so that one is looked at first: this is done for each.

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
    /// In the order of their numbers.
    targets: Vec<(u16, Vec<u32>)>,
    /// The bucket that was looked at last, and when it begins.
    recent: (usize, i64),
}

impl Default for Demand {
    fn default() -> Self {
        Self { width: FINEST, targets: Vec::new(), recent: (0, 0) }
    }
}

impl Demand {
    /// A request was sent to this target, so many nanoseconds after the start.
    pub(super) fn add(&mut self, target: u16, after: i64) {
        if after < 0 {
            return;
        }
        let place = match self.place(target) {
            Ok(place) => place,
            Err(_) if self.targets.len() >= TARGETS => return,
            Err(place) => {
                self.targets.insert(place, (target, Vec::new()));
                place
            }
        };
        while self.find(after).is_none() {
            self.widen();
        }
        self.count(place);
    }

    /// The same of a request that was counted in another one like this, if its target was counted there.
    pub(in crate::evidence) fn add_known(&mut self, target: u16, after: i64) {
        if let (Ok(place), Some(())) = (self.place(target), self.find(after)) {
            self.count(place);
        }
    }

    /// One with the same targets and buckets in which nothing was counted yet.
    pub(in crate::evidence) fn without_any(&self) -> Self {
        let targets = self.targets.iter().map(|(target, _)| (*target, Vec::new()));
        Self { targets: targets.collect(), width: self.width, recent: (0, 0) }
    }

    /// Where a target is, or would be. They are numbered from 0 on most of the time.
    fn place(&self, target: u16) -> Result<usize, usize> {
        let place = usize::from(target);
        match self.targets.get(place) {
            Some((other, _)) if *other == target => Ok(place),
            Some(_) | None => self.targets.binary_search_by_key(&target, |(other, _)| *other),
        }
    }

    /// Looks for the bucket of a moment.
    fn find(&mut self, after: i64) -> Option<()> {
        let begin = self.recent.1;
        if after < begin || after - begin >= self.width {
            let at = self.bucket(after)?;
            self.recent = (at, after - after % self.width);
        }
        Some(())
    }

    /// Counts one in the bucket that was found.
    fn count(&mut self, place: usize) {
        let (at, counts) = (self.recent.0, &mut self.targets[place].1);
        if counts.len() <= at {
            counts.resize(at + 1, 0);
        }
        counts[at] = counts[at].saturating_add(1);
    }

    /// Takes what was counted elsewhere.
    pub(in crate::evidence) fn absorb(&mut self, mut other: Self) {
        while self.width < other.width {
            self.widen();
        }
        while other.width < self.width {
            other.widen();
        }
        for (target, others) in other.targets {
            let place = self.place(target).unwrap_or_else(|place| {
                self.targets.insert(place, (target, Vec::new()));
                place
            });
            let counts = &mut self.targets[place].1;
            counts.resize(counts.len().max(others.len()), 0);
            counts.iter_mut().zip(others).for_each(|(own, other)| *own = own.saturating_add(other));
        }
    }

    fn widen(&mut self) {
        self.width = self.width.saturating_mul(2);
        self.recent = (0, 0);
        for (_, counts) in &mut self.targets {
            *counts = counts.chunks(2).map(|two| two.iter().sum()).collect();
        }
    }

    /// The bucket of a moment, in nanoseconds after the start; none before it, and none so late that
    /// there is none.
    fn bucket(&self, after: i64) -> Option<usize> {
        usize::try_from(after / self.width).ok().filter(|at| after >= 0 && *at < BUCKETS)
    }

    /// How many buckets there are.
    pub fn len(&self) -> usize {
        self.targets.iter().map(|(_, counts)| counts.len()).max().unwrap_or(0)
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
