//! How long whoever comes now would wait for a step.
//!
//! The trick: nothing but the time from one step's beginning to the next one's is measured. It holds all
//! that a request waits for, whatever that is: the store, a lock that others have, a free connection.

use std::time::{Duration, Instant};

/// The weight of the last step among all before it, as one in so many.
const WEIGHT: u32 = 4;

/// The steps of one queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// From the beginning of a step to the next one's, usually; zero as long as nobody knows.
    step: Duration,
    /// When the step began that is under way.
    since: Option<Instant>,
}

impl Pace {
    /// A step begins, so the one before is over.
    pub(super) fn step(&mut self, now: Instant) {
        self.rest(now);
        self.since = Some(now);
    }

    /// The last step is over, and there is nothing to do.
    pub(super) fn rest(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            let took = now.saturating_duration_since(since);
            self.step =
                if self.step.is_zero() { took } else { (self.step * (WEIGHT - 1) + took) / WEIGHT };
        }
    }

    /// How long whoever comes now would wait until its own step is over, where so many requests wait
    /// already and so many share a step.
    pub(super) fn wait(&self, waiting: usize, batch: usize, now: Instant) -> Duration {
        // A step that hangs is what the next ones have to be taken for.
        let under_way =
            self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let before = u32::try_from(waiting / batch.max(1)).unwrap_or(u32::MAX);
        self.step.max(under_way).saturating_mul(before.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// After steps of these lengths, none of which is under way.
    fn after(steps: &[u32]) -> (Pace, Instant) {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for &step in steps {
            pace.step(now);
            now += MS * step;
        }
        pace.rest(now);
        (pace, now)
    }

    #[test]
    fn nobody_waits_for_what_was_never_slow() {
        assert_eq!(Pace::default().wait(10_000, 1, Instant::now()), Duration::ZERO);
    }

    #[test]
    fn a_wait_is_as_many_steps_as_stand_before() {
        let (pace, now) = after(&[10, 10, 10]);
        for (waiting, steps) in [(0, 1), (99, 1), (100, 2), (950, 10)] {
            assert_eq!(pace.wait(waiting, 100, now), MS * 10 * steps, "{waiting}");
        }
        assert_eq!(pace.wait(usize::MAX, 0, now), MS * 10 * u32::MAX);
    }

    #[test]
    fn a_slow_step_is_forgotten_after_some_fast_ones() {
        let waits = |steps: &[u32]| {
            let (pace, now) = after(steps);
            pace.wait(0, 1, now)
        };
        assert_eq!(waits(&[4, 4, 3_004]), MS * 754);
        assert!(waits(&[&[4, 3_004][..], &[4; 30]].concat()) < MS * 5);
    }

    #[test]
    fn a_step_that_hangs_counts_for_as_long_as_it_does() {
        let (mut pace, now) = after(&[2]);
        pace.step(now);
        assert_eq!(pace.wait(0, 1, now + MS), MS * 2);
        assert_eq!(pace.wait(2, 1, now + MS * 700), MS * 2_100);
        pace.step(now + MS * 700);
        pace.rest(now + MS * 702);
        // Idle time is no step.
        let rested = pace.wait(0, 1, now + MS * 702);
        assert_eq!(pace.wait(0, 1, now + MS * 90_000), rested);
    }
}
