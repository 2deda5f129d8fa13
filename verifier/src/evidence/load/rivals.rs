//! Who asked for a coupon when, as far as it takes to see who was treated worse than others.
//!
//! Where both coupons and campaigns are many it is not kept: it would be more than all else that is known
//! of them.

use std::collections::BinaryHeap;

use contract::campaign::Window;

use super::competes;
use super::demand::Demand;
use crate::evidence::{Op, Said};

/// So many of the requests that were told "sold out" are remembered: the ones that were sent first.
pub const LOSERS: usize = 200;

/// Who asked when.
#[derive(Clone, Debug, Default)]
pub struct Rivals {
    /// Requests that could have got a coupon, or seemed so, by target and time.
    pub demand: Demand,
    /// When those of the requests were sent that were told "sold out" and sent before all others.
    losers: BinaryHeap<i64>,
}

impl Rivals {
    /// Takes a request into account. Holders and those who came too early or too late could not have got a
    /// coupon.
    pub(super) fn saw(&mut self, op: &Op, start: Window) {
        let for_a_coupon = competes(op) && !matches!(op.said, Said::AlreadyIssued(_));
        let placed = start.latest < i64::MAX;
        if let Some(target) = op.target.filter(|_| for_a_coupon && placed) {
            self.demand.add(target, op.invoked.saturating_sub(start.latest));
        }
        if op.said == Said::SoldOut {
            self.lost(op.invoked);
        }
    }

    fn lost(&mut self, sent: i64) {
        if self.losers.len() == LOSERS && self.losers.peek().is_some_and(|last| *last > sent) {
            self.losers.pop();
        }
        if self.losers.len() < LOSERS {
            self.losers.push(sent);
        }
    }

    /// Together with those of the same campaign that another one saw.
    pub(super) fn with(mut self, other: Self) -> Self {
        self.demand.absorb(other.demand);
        other.losers.into_iter().for_each(|sent| self.lost(sent));
        self
    }

    /// When the first of the requests were sent that were told "sold out", in order; at most
    /// [`LOSERS`] of them.
    pub fn losers(&self) -> Vec<i64> {
        self.losers.clone().into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(at: i64, said: Said) -> Op {
        let (target, user, key, completed) = (None, None, None, Some(at + 1));
        Op { op: 1, target, user, key, invoked: at, completed, said }
    }

    #[test]
    fn only_who_could_have_got_a_coupon_after_the_start_counts_for_its_target() {
        let start = Window { earliest: 100, latest: 1_000_000 };
        let could = [Said::Issued("x".into()), Said::SoldOut, Said::Unknown, Said::Failed];
        let could_not = [Said::NotStarted, Said::NotFound, Said::Ended, Said::AlreadyIssued(None)];
        let saw = |said: &[Said], at: i64, start| {
            let mut rivals = Rivals::default();
            for said in said {
                rivals.saw(&Op { target: Some(3), ..refused(at, said.clone()) }, start);
                rivals.saw(&refused(at, said.clone()), start);
            }
            rivals
        };
        let counted = |rivals: Rivals| {
            let targets = rivals.demand.targets();
            targets.map(|(target, counts)| (target, counts.to_vec())).collect::<Vec<_>>()
        };
        assert_eq!(counted(saw(&could, 3_000_000, start)), [(3, vec![0, 0, 4])]);
        assert_eq!(counted(saw(&could_not, 3_000_000, start)), []);
        assert_eq!(counted(saw(&could, 999_999, start)), [], "before the start, perhaps");
        let nowhere = Window { earliest: i64::MIN, latest: i64::MAX };
        assert_eq!(counted(saw(&could, i64::MAX - 1, nowhere)), [], "nobody knows when it started");
        let both = saw(&could, 1_000_000, start).with(saw(&could, 3_000_000, start));
        assert_eq!(counted(both), [(3, vec![4, 0, 4])]);
    }

    #[test]
    fn those_who_lost_first_are_remembered() {
        let start = Window { earliest: 100, latest: 110 };
        let mut all: [Rivals; 2] = Default::default();
        for at in (0..5_000).rev() {
            let rivals = &mut all[usize::from(at % 3 == 0)];
            rivals.saw(&refused(at, Said::SoldOut), start);
            rivals.saw(&refused(at, Said::NotStarted), start);
        }
        let [one, other] = all;
        let first = i64::try_from(LOSERS).unwrap();
        assert_eq!(one.with(other).losers(), (0..first).collect::<Vec<_>>());
    }
}
