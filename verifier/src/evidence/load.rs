//! Whether anybody contested anything: a run in which nothing could have gone wrong proves nothing.
//! And who contested what, as far as it takes to see who was treated worse than others.

pub mod demand;
pub mod rivals;

use std::collections::BTreeMap;

use contract::campaign::Window;

use super::{Op, Said};
use rivals::Rivals;

/// What the load of one campaign touched.
#[derive(Clone, Debug)]
pub struct Load {
    /// A request that was answered was in flight while the start may have happened.
    pub during_start: bool,
    /// Two requests were in flight at the same time that can have competed for a coupon.
    pub overlapped: bool,
    /// When the first request was sent that was told "sold out".
    pub sold_out_sent: Option<i64>,
    /// What each target did.
    pub targets: BTreeMap<u16, TargetLoad>,
    /// Who asked when; not known where both coupons and campaigns were too many to compare each coupon with it.
    pub rivals: Option<Rivals>,
    /// When requests were in flight that ask for a coupon; no two overlap.
    competing: BTreeMap<i64, i64>,
    /// When requests were in flight that came too early or too late: they compete with the others, but
    /// not with each other.
    waiting: BTreeMap<i64, i64>,
}

/// What a target did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetLoad {
    /// It issued a coupon.
    pub issued: bool,
    /// It refused one: sold out, not started, ended or already issued.
    pub refused: bool,
}

/// Whether the request can have competed with others like it.
fn competes(op: &Op) -> bool {
    !matches!(op.said, Said::NotStarted | Said::NotFound | Said::Ended)
}

/// So many requests are remembered while no two of them have overlapped. After that, further ones
/// are only compared with these, so that memory stays bounded.
const REMEMBERED: usize = 1 << 16;

impl Default for Load {
    fn default() -> Self {
        Self {
            during_start: false,
            overlapped: false,
            sold_out_sent: None,
            targets: BTreeMap::new(),
            rivals: Some(Rivals::default()),
            competing: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }
}

impl Load {
    /// Takes a request into account.
    pub fn saw(&mut self, op: &Op, start: Window) {
        if let Some(rivals) = &mut self.rivals {
            rivals.saw(op, start);
        }
        if op.said == Said::Failed {
            return;
        }
        // How long a request without an end was in flight is not known: count its beginning.
        let (from, to) = (op.invoked, op.completed.unwrap_or(op.invoked));
        let answered = op.said != Said::Unknown;
        self.during_start |= answered && from <= start.latest && start.earliest <= to;
        if op.said == Said::SoldOut {
            self.sold_out_sent = Some(self.sold_out_sent.map_or(from, |sent| sent.min(from)));
        }
        if !self.overlapped {
            self.compare((from, to), competes(op));
        }
    }

    fn compare(&mut self, (mut from, mut to): (i64, i64), competes: bool) {
        let among = |spans: &BTreeMap<i64, i64>| {
            let before = spans.range(..=to).next_back();
            before.is_some_and(|(_, end)| *end >= from)
        };
        if among(&self.competing) || competes && among(&self.waiting) {
            self.overlapped = true;
            (self.competing, self.waiting) = Default::default();
            return;
        }
        if competes {
            if self.competing.len() < REMEMBERED {
                self.competing.insert(from, to);
            }
            return;
        }
        // What overlaps among those that wait becomes one span.
        while let Some((&a, &b)) =
            self.waiting.range(..=to).next_back().filter(|(_, b)| **b >= from)
        {
            self.waiting.remove(&a);
            (from, to) = (from.min(a), to.max(b));
        }
        if self.waiting.len() < REMEMBERED {
            self.waiting.insert(from, to);
        }
    }

    /// Takes into account what another one saw of the same campaign.
    pub fn absorb(&mut self, other: Self) {
        self.during_start |= other.during_start;
        self.overlapped |= other.overlapped;
        let sent = [self.sold_out_sent, other.sold_out_sent];
        self.sold_out_sent = sent.into_iter().flatten().min();
        for (target, load) in other.targets {
            let own = self.targets.entry(target).or_default();
            own.issued |= load.issued;
            own.refused |= load.refused;
        }
        self.rivals = match (self.rivals.take(), other.rivals) {
            (Some(own), Some(others)) => Some(own.with(others)),
            (None, _) | (_, None) => None,
        };
        for (spans, competes) in [(other.competing, true), (other.waiting, false)] {
            for span in spans {
                if !self.overlapped {
                    self.compare(span, competes);
                }
            }
        }
        if self.overlapped {
            (self.competing, self.waiting) = Default::default();
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

    fn op((invoked, completed): (i64, i64), said: Said) -> Op {
        let (target, user, key, completed) = (None, None, None, Some(completed));
        Op { op: 1, target, user, key, invoked, completed, said }
    }

    fn load(intervals: &[(i64, i64)]) -> Load {
        let mut load = Load::default();
        intervals.iter().for_each(|span| load.saw(&op(*span, Said::SoldOut), START));
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
    fn those_that_wait_do_not_compete_with_each_other() {
        let mut load = Load::default();
        for span in [(0, 10), (20, 30), (5, 25)] {
            load.saw(&op(span, Said::NotStarted), START);
        }
        assert!(!load.overlapped);
        load.saw(&op((12, 13), Said::SoldOut), START);
        assert!(load.overlapped);
    }

    #[test]
    fn two_parts_are_known_as_one() {
        let known = |one: &[(i64, i64)], other: &[(i64, i64)]| {
            let mut both = load(one);
            both.answered(0, true);
            let mut other = load(other);
            other.answered(0, false);
            other.asked(1);
            both.absorb(other);
            both
        };
        let both = known(&[(0, 10)], &[(5, 6)]);
        assert!(both.overlapped && !both.during_start);
        assert_eq!(both.sold_out_sent, Some(0));
        let (all, none) = (TargetLoad { issued: true, refused: true }, TargetLoad::default());
        assert_eq!(both.targets, BTreeMap::from([(0, all), (1, none)]));
        assert_eq!(both.rivals.unwrap().losers(), [0, 5]);
        assert!(!known(&[(0, 10)], &[(20, 30)]).overlapped);
        assert!(known(&[(0, 10)], &[(90, 100)]).during_start);
        for without in [0, 1] {
            let mut parts = [load(&[(0, 10)]), load(&[(20, 30)])];
            parts[without].rivals = None;
            let [mut one, other] = parts;
            one.absorb(other);
            assert!(one.rivals.is_none(), "what a part does not know nobody knows");
        }
    }

    #[test]
    fn the_start_is_touched_from_either_side() {
        assert!(load(&[(90, 100)]).during_start && load(&[(110, 120)]).during_start);
        assert!(!load(&[(90, 99)]).during_start && !load(&[(111, 120)]).during_start);
    }

    #[test]
    fn a_request_without_an_answer_does_not_touch_the_start() {
        let mut load = Load::default();
        load.saw(&Op { completed: None, ..op((105, 0), Said::Unknown) }, START);
        assert!(!load.during_start);
    }
}
