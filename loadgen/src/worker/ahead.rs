//! Requests that are packed ahead of their moments, several at a time: a processor that comes out of
//! its sleep for each of them alone would fetch all that it takes from memory anew.

use std::collections::VecDeque;

/// How many at a time.
const AT_ONCE: usize = 32;
/// They are due within this time: nanoseconds.
const WITHIN: i64 = 40_000_000;

/// What is due next, in its order.
pub(super) struct Ahead<I, P, T> {
    arrivals: I,
    prepare: P,
    ready: VecDeque<(i64, T)>,
}

impl<A, I, P, T> Ahead<I, P, T>
where
    I: Iterator<Item = A>,
    P: Fn(A) -> (i64, T),
{
    /// Takes `arrivals` in order, and prepares each with `prepare`, which says when it is due.
    pub(super) fn new(arrivals: I, prepare: P) -> Self {
        Self { arrivals, prepare, ready: VecDeque::with_capacity(AT_ONCE) }
    }

    /// When the next is due.
    pub(super) fn due(&mut self) -> Option<i64> {
        if self.ready.is_empty() {
            self.prepare_some();
        }
        self.ready.front().map(|(due, _)| *due)
    }

    fn prepare_some(&mut self) {
        for arrival in self.arrivals.by_ref().take(AT_ONCE) {
            let (due, prepared) = (self.prepare)(arrival);
            self.ready.push_back((due, prepared));
            if self.ready.front().is_some_and(|(first, _)| due > first + WITHIN) {
                break;
            }
        }
    }

    /// Takes the next.
    pub(super) fn take(&mut self) -> Option<T> {
        self.due()?;
        self.ready.pop_front().map(|(_, prepared)| prepared)
    }

    /// How many are left.
    pub(super) fn count(self) -> u64 {
        (self.ready.len() + self.arrivals.count()) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn all_come_in_order_and_none_too_far_ahead() {
        let prepared = Cell::new(0);
        let gap = |n: i64| if n < 50 { n * 100_000 } else { n * 50_000_000 };
        let mut ahead = Ahead::new(0..60, |n| {
            prepared.set(n + 1);
            (gap(n), n)
        });
        for n in 0..40 {
            assert_eq!(ahead.due(), Some(gap(n)));
            assert_eq!(ahead.take(), Some(n));
            assert!(prepared.get() <= n + 32, "{n}");
        }
        for n in 40..55 {
            assert_eq!((ahead.due(), ahead.take()), (Some(gap(n)), Some(n)));
        }
        // Far apart, each is prepared with at most one that is not due soon.
        assert!(prepared.get() <= 56, "{}", prepared.get());
        assert_eq!(ahead.count(), 5);
    }

    #[test]
    fn nothing_is_nothing() {
        let mut none = Ahead::new(std::iter::empty::<u8>(), |n| (0, n));
        assert_eq!((none.due(), none.take()), (None, None));
        assert_eq!(none.count(), 0);
    }
}
