//! Whether anybody contested anything: a run in which nothing could have gone wrong proves nothing.

use std::collections::BTreeMap;

use contract::campaign::Window;

/// What the load of one campaign touched.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// A request was in flight while the start may have happened.
    pub during_start: bool,
    /// Two requests were in flight at the same time.
    pub overlapped: bool,
    /// What each target did.
    pub targets: BTreeMap<u16, TargetLoad>,
    disjoint: BTreeMap<i64, i64>,
}

/// What a target did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetLoad {
    /// It issued a coupon.
    pub issued: bool,
    /// It refused one: sold out, not started or already issued.
    pub refused: bool,
}

/// So many requests are remembered while no two of them have overlapped. After that, further ones
/// are only compared with these, so that memory stays bounded.
const REMEMBERED: usize = 1 << 16;

impl Load {
    /// A request was in flight from `from` to `to`.
    pub fn saw(&mut self, from: i64, to: i64, start: Window) {
        self.during_start |= from <= start.latest && start.earliest <= to;
        if !self.overlapped {
            self.compare(from, to);
        }
    }

    fn compare(&mut self, from: i64, to: i64) {
        let before = self.disjoint.range(..=to).next_back();
        if before.is_some_and(|(_, end)| *end >= from) {
            self.overlapped = true;
            self.disjoint = BTreeMap::new();
        } else if self.disjoint.len() < REMEMBERED {
            self.disjoint.insert(from, to);
        }
    }

    /// A target gave a definite answer.
    pub fn answered(&mut self, target: u16, issued: bool) {
        let load = self.targets.entry(target).or_default();
        load.issued |= issued;
        load.refused |= !issued;
    }

    /// A target was asked.
    pub fn asked(&mut self, target: u16) {
        self.targets.entry(target).or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Window = Window { earliest: 100, latest: 110 };

    fn load(intervals: &[(i64, i64)]) -> Load {
        let mut load = Load::default();
        intervals.iter().for_each(|(a, b)| load.saw(*a, *b, START));
        load
    }

    #[test]
    fn overlap_is_found_in_any_order() {
        assert!(load(&[(0, 10), (20, 30), (5, 6)]).overlapped);
        assert!(load(&[(5, 6), (20, 30), (0, 40)]).overlapped);
        assert!(load(&[(20, 30), (0, 20)]).overlapped, "touching is not ordered");
        assert!(!load(&[(20, 30), (0, 10), (11, 19), (31, 32)]).overlapped);
    }

    #[test]
    fn the_start_is_touched_from_either_side() {
        assert!(load(&[(90, 100)]).during_start && load(&[(110, 120)]).during_start);
        assert!(!load(&[(90, 99)]).during_start && !load(&[(111, 120)]).during_start);
    }
}
