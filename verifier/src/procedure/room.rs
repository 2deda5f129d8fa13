//! The slots that are left, and who waits for them: earliest end first.
//!
//! A plain coupon that was told its rank has that slot and no other. So both are left out, and the slots
//! in between are counted on without them: places. All plain coupons that fit the same slots wait as one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::jobs::{Job, Plan};
use super::windows::Windows;
use crate::evidence::acknowledged::Numbers;

/// The slots that a job fits, or each of several alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) slots: Numbers,
    /// The places among them.
    pub(super) places: Numbers,
    /// So many.
    pub(super) jobs: u64,
    /// Which one; none where they are plain.
    pub(super) job: Option<usize>,
}

/// The slots that are not those of plain coupons.
pub(super) struct Room<'a> {
    taken: &'a [Numbers],
    /// How many are taken by the first so many of these.
    sums: Vec<u64>,
}

impl<'a> Room<'a> {
    pub(super) fn of(taken: &'a [Numbers]) -> Self {
        let mut sums = vec![0];
        let mut sum = 0;
        sums.extend(taken.iter().map(|run| {
            sum += run.count();
            sum
        }));
        Self { taken, sums }
    }

    /// How many of these slots are taken.
    pub(super) fn taken(&self, slots: Numbers) -> u64 {
        let before = slots.first.saturating_sub(1);
        self.taken_upto(slots.last).saturating_sub(self.taken_upto(before))
    }

    fn taken_upto(&self, slot: u64) -> u64 {
        let begun = self.taken.partition_point(|run| run.first <= slot);
        let beyond = self.taken[..begun].last().map_or(0, |run| run.last.saturating_sub(slot));
        self.sums[begun] - beyond
    }

    /// How many places there are up to this slot.
    pub(super) fn upto(&self, slot: u64) -> u64 {
        slot - self.taken_upto(slot)
    }

    /// The slot of a place.
    pub(super) fn slot(&self, place: u64) -> u64 {
        let runs = self.taken.iter().zip(&self.sums);
        let before = runs.take_while(|(run, sum)| run.first - **sum <= place).count();
        place + self.sums[before]
    }

    /// The last slot that is taken.
    pub(super) fn last_taken(&self) -> u64 {
        self.taken.last().map_or(0, |run| run.last)
    }

    /// What every job fits, in the order of the first slots. Of those that fit the same, plain ones come
    /// first: wherever some of them are too many, a plain one is among those, and all are looked at. So
    /// what is shown does not depend on which of them are plain.
    pub(super) fn ranges(&self, plan: &Plan<'_>, windows: &Windows<'_, '_>) -> Vec<Range> {
        let held = |(at, job): (usize, &Job<'_>)| {
            let first = windows.first_from(job.release).max(job.above.saturating_add(1));
            let last = windows.last_by(job.deadline).min(job.upto);
            self.range(Numbers { first, last }, 1, Some(at))
        };
        let plain = |(slots, jobs): (&Numbers, &u64)| {
            let last = slots.last.min(windows.coupons);
            self.range(Numbers { last, ..*slots }, *jobs, None)
        };
        let plain = plan.plain.unranked.iter().map(plain).filter(|range| range.jobs > 0);
        let mut ranges: Vec<Range> = plain.chain(plan.jobs.iter().enumerate().map(held)).collect();
        ranges.sort_by_key(|range| range.slots);
        ranges
    }

    fn range(&self, slots: Numbers, jobs: u64, job: Option<usize>) -> Range {
        let first = self.upto(slots.first - 1) + 1;
        Range { slots, places: Numbers { first, last: self.upto(slots.last) }, jobs, job }
    }
}

/// Jobs that wait for a place.
pub(super) struct Queue<'r> {
    ranges: &'r [Range],
    /// The first that does not wait yet.
    next: usize,
    waiting: BinaryHeap<Reverse<(u64, usize)>>,
    /// How many of each have no place yet.
    left: Vec<u64>,
}

/// Jobs alike that take places one after the other.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    /// Which range.
    pub(super) at: usize,
    pub(super) places: Numbers,
}

impl<'r> Queue<'r> {
    /// Of ranges in the order of their first slots.
    pub(super) fn of(ranges: &'r [Range]) -> Self {
        let left = ranges.iter().map(|range| range.jobs).collect();
        Self { ranges, next: 0, waiting: BinaryHeap::new(), left }
    }

    /// Lets in all that fit this place. The place, or the next one that anybody fits; none where nobody is left.
    pub(super) fn admit(&mut self, place: u64) -> Option<u64> {
        let upcoming = self.ranges.get(self.next).map(|range| range.places.first);
        let place = if self.waiting.is_empty() { upcoming?.max(place) } else { place };
        while let Some(range) = self.ranges.get(self.next).filter(|r| r.places.first <= place) {
            self.waiting.push(Reverse((range.places.last, self.next)));
            self.next += 1;
        }
        Some(place)
    }

    /// The one that has to go first among those that wait, if it is too late for this place.
    pub(super) fn late(&mut self, place: u64) -> Option<usize> {
        let Reverse((last, at)) = self.waiting.peek()?;
        (*last < place).then_some(*at)
    }

    /// Leaves out all that are too late for this place.
    pub(super) fn drop_late(&mut self, place: u64) {
        while self.late(place).is_some() {
            self.waiting.pop();
        }
    }

    /// Gives this place, and those after it up to the next change, to who has to go first.
    pub(super) fn take(&mut self, place: u64) -> Option<Turn> {
        let Reverse((last, at)) = self.waiting.pop()?;
        let upcoming = self.ranges.get(self.next).map_or(last, |next| next.places.first - 1);
        let many = self.left[at].min(Numbers { first: place, last: last.min(upcoming) }.count());
        self.left[at] -= many;
        if self.left[at] > 0 {
            self.waiting.push(Reverse((last, at)));
        }
        Some(Turn { at, places: Numbers { first: place, last: place + many - 1 } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_the_slots_in_between() {
        let taken = [Numbers { first: 1, last: 2 }, Numbers { first: 5, last: 5 }];
        let room = Room::of(&taken);
        let slots: Vec<u64> = (1..=4).map(|place| room.slot(place)).collect();
        assert_eq!(slots, [3, 4, 6, 7]);
        for (place, slot) in (1..).zip(slots) {
            assert_eq!((room.upto(slot), room.upto(slot - 1)), (place, place - 1));
        }
        assert_eq!(room.taken(Numbers { first: 2, last: 5 }), 2);
        assert_eq!(room.taken(Numbers { first: 3, last: 2 }), 0);
        assert_eq!((room.upto(2), room.last_taken()), (0, 5));
    }
}
