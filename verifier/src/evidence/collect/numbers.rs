//! The numbers of all operations that were read, so that none is taken twice.
//!
//! A bit for each would be the one thing that grows with the history. The trick is that load generators
//! count: of 65,536 numbers in a row each of its threads has every second one, or every tenth. So as long as
//! all are in step, the first, the last and the step say which they are; only where one is out of step
//! they are kept one by one.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

/// A set of numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct OpNumbers {
    blocks: Vec<Block>,
    /// Where the block with these upper bits is.
    places: BTreeMap<u64, usize>,
    /// The one that was looked at last: the next number is most likely there.
    last: Option<(u64, usize)>,
    /// Further ones.
    others: Vec<Self>,
}

/// Numbers that have all but their lowest 16 bits in common, by those.
#[derive(Clone, Debug)]
enum Block {
    /// From the first to the last; a single one has no step.
    Even {
        first: u32,
        step: u32,
        last: u32,
    },
    Uneven(RoaringBitmap),
}

impl OpNumbers {
    /// Adds a number; whether it was not there.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        if self.others.iter().any(|others| others.contains(number)) {
            return false;
        }
        let (block, low) = split(number);
        match self.place(block) {
            Some(at) => {
                self.last = Some((block, at));
                self.blocks[at].insert(low)
            }
            None => {
                let at = self.blocks.len();
                self.blocks.push(Block::Even { first: low, step: 0, last: low });
                self.places.insert(block, at);
                self.last = Some((block, at));
                true
            }
        }
    }

    /// Whether it is there.
    pub(super) fn contains(&self, number: u64) -> bool {
        let (block, low) = split(number);
        self.place(block).is_some_and(|at| self.blocks[at].contains(low))
            || self.others.iter().any(|others| others.contains(number))
    }

    /// Takes the numbers of another one; whether none was there.
    pub(super) fn absorb(&mut self, other: Self) -> bool {
        let disjoint = self.is_disjoint(&other);
        self.others.push(other);
        disjoint
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        let apart = other.places.iter().all(|(block, at)| {
            self.place(*block).is_none_or(|own| self.blocks[own].is_disjoint(&other.blocks[*at]))
        });
        apart
            && other.others.iter().all(|others| self.is_disjoint(others))
            && self.others.iter().all(|others| others.is_disjoint(other))
    }

    fn place(&self, block: u64) -> Option<usize> {
        match self.last {
            Some((last, at)) if last == block => Some(at),
            Some(_) | None => self.places.get(&block).copied(),
        }
    }
}

fn split(number: u64) -> (u64, u32) {
    (number >> 16, u32::try_from(number & 0xFFFF).unwrap_or_default())
}

impl Block {
    fn insert(&mut self, low: u32) -> bool {
        match self {
            Self::Even { first, step: step @ 0, last } if low > *first => {
                (*step, *last) = (low - *first, low);
                true
            }
            Self::Even { step, last, .. } if *step > 0 && low == *last + *step => {
                *last = low;
                true
            }
            Self::Even { .. } if self.contains(low) => false,
            Self::Even { .. } => {
                let mut all: RoaringBitmap = self.iter().collect();
                all.insert(low);
                *self = Self::Uneven(all);
                true
            }
            Self::Uneven(all) => all.insert(low),
        }
    }

    fn contains(&self, low: u32) -> bool {
        match self {
            Self::Even { first, step, last } => {
                (*first..=*last).contains(&low) && (low - first).is_multiple_of((*step).max(1))
            }
            Self::Uneven(all) => all.contains(low),
        }
    }

    fn iter(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match self {
            Self::Even { first, step, last } => {
                Box::new((*first..=*last).step_by((*step).max(1) as usize))
            }
            Self::Uneven(all) => Box::new(all.iter()),
        }
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Uneven(own), Self::Uneven(other)) => own.is_disjoint(other),
            (Self::Uneven(_), Self::Even { .. }) => other.is_disjoint(self),
            // Threads that take turns.
            (Self::Even { first, step, .. }, Self::Even { first: other, step: same, .. })
                if step == same && *step > 0 && first.abs_diff(*other) % step != 0 =>
            {
                true
            }
            (Self::Even { .. }, _) => !other.iter().any(|low| self.contains(low)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use e2e::Dice;
    use std::collections::BTreeSet;

    #[test]
    fn it_holds_what_a_set_holds() {
        let mut dice = Dice::new(1);
        let mut random = |below: u64| dice.roll() % below;
        for _ in 0..2_000 {
            let (mut sets, mut models) = <([OpNumbers; 2], [BTreeSet<u64>; 2])>::default();
            let (begin, step) = (random(1 << 17), 1 + random(4));
            let disorder = random(8);
            for (set, model) in sets.iter_mut().zip(&mut models) {
                let begin = begin + random(3);
                for n in 0..random(60) {
                    let odd = random(20) < disorder;
                    let n = if odd { random(60) } else { n };
                    assert_eq!(set.insert(begin + n * step), model.insert(begin + n * step));
                }
                assert!((begin..begin + 300).all(|n| set.contains(n) == model.contains(&n)));
            }
            let ([mut set, other], [model, others]) = (sets, models);
            assert_eq!(set.absorb(other), model.is_disjoint(&others), "{set:?}");
            let all = &model | &others;
            assert!((begin..begin + 300).all(|n| set.contains(n) == all.contains(&n)));
            assert!(all.first().is_none_or(|n| !set.insert(*n)));
        }
    }

    /// All that two threads have that take turns, of a hundred million.
    #[test]
    fn who_counts_leaves_no_bits() {
        let mut all = [OpNumbers::default(), OpNumbers::default()];
        for (thread, numbers) in (0..).zip(&mut all) {
            (thread..300_000).step_by(2).for_each(|n| assert!(numbers.insert(n)));
        }
        let even =
            |numbers: &OpNumbers| numbers.blocks.iter().all(|b| matches!(b, Block::Even { .. }));
        assert!(all.iter().all(even));
        let [mut one, other] = all;
        assert!(one.absorb(other) && one.contains(299_999) && !one.contains(300_000));
    }
}
