//! How many coupons had been issued by when, as far as answers told.
//!
//! Every answer with a rank, and every read, says both: so many at least by its end, and so many at most
//! at some moment after its beginning. Two of them contradict each other where the one that was over
//! first says more. The highest so far is all it takes to see that, and those that came shortly
//! before for answers that are late.

use std::collections::VecDeque;

/// So many are kept.
const KEPT: usize = 1 << 12;

/// The highest numbers that were told, in order of time.
#[derive(Debug, Default)]
pub(super) struct Heights(VecDeque<Height>);

/// So many coupons had been issued by this moment.
#[derive(Clone, Copy, Debug)]
struct Height {
    end: i64,
    coupons: i128,
    op: u64,
}

impl Heights {
    /// By the end of an operation so many had been issued.
    pub(super) fn told(&mut self, op: u64, end: i64, coupons: i128) {
        let at = self.0.partition_point(|height| height.end < end);
        let before = at.checked_sub(1).and_then(|before| self.0.get(before));
        if before.is_some_and(|before| before.coupons >= coupons) {
            return;
        }
        // What is over later and says no more proves no more.
        let idle = self.0.range(at..).take_while(|later| later.coupons <= coupons).count();
        self.0.drain(at..at + idle);
        self.0.insert(at, Height { end, coupons, op });
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// An operation that was over before this moment and by whose end more than so many had been
    /// issued.
    pub(super) fn above(&self, coupons: i128, sent: i64) -> Option<u64> {
        let upto = self.0.partition_point(|height| height.end < sent);
        let last = self.0.get(upto.checked_sub(1)?)?;
        (last.coupons > coupons).then_some(last.op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_over_before_and_says_more_contradicts() {
        let mut heights = Heights::default();
        heights.told(1, 100, 5);
        heights.told(2, 200, 4);
        heights.told(3, 300, 9);
        assert_eq!(heights.above(4, 101), Some(1));
        assert_eq!(heights.above(4, 100), None, "ends that touch have no order");
        assert_eq!(heights.above(5, 101), None);
        assert_eq!(heights.above(5, 301), Some(3));
        heights.told(4, 250, 9);
        assert_eq!(heights.above(8, 260), Some(4), "the earlier of two that say the same");
    }

    #[test]
    fn an_answer_that_is_read_late_counts_from_its_moment() {
        let mut heights = Heights::default();
        heights.told(1, 100, 5);
        heights.told(2, 300, 9);
        heights.told(3, 200, 7);
        heights.told(4, 150, 5);
        assert_eq!(heights.above(5, 201), Some(3));
        assert_eq!(heights.above(5, 199), None);
        assert_eq!(heights.above(7, 301), Some(2));
        heights.told(5, 50, 8);
        assert_eq!(heights.above(7, 51), Some(5));
        assert_eq!(heights.0.len(), 2, "what says no more and later is gone");
    }

    #[test]
    fn memory_is_bounded() {
        let mut heights = Heights::default();
        for n in 0..10_000 {
            heights.told(n, i64::try_from(n).unwrap(), n.into());
        }
        assert_eq!(heights.0.len(), KEPT);
        assert_eq!(heights.above(5, 9_999), Some(9_998));
    }
}
