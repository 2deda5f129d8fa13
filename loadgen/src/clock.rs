//! The only place that reads a clock for what is recorded.
//!
//! The run's time is CLOCK_MONOTONIC in nanoseconds from the run's zero on, tied to the wall clock
//! once, at zero. A wall clock that is set in mid-run changes nothing here.

use std::cell::Cell;
use std::io;

use contract::run::Anchor;
use rustix::io::Errno;
use rustix::thread::{ClockId as ThreadClock, clock_nanosleep_absolute};
use rustix::time::{ClockId, Timespec, clock_gettime};

const SECOND: i64 = 1_000_000_000;

/// The run's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: i64,
    anchor: Anchor,
}

impl Clock {
    /// A clock that shows 0 now.
    pub fn start() -> Self {
        let (zero, wall) = both_clocks();
        Self { zero, anchor: Anchor { unix_ns: wall } }
    }

    /// Nanoseconds since the run's zero.
    pub fn now(self) -> i64 {
        monotonic() - self.zero
    }

    /// What ties this clock to the wall clock.
    pub fn anchor(self) -> Anchor {
        self.anchor
    }

    /// The wall clock, Unix nanoseconds, as if it had not been set since the run's zero.
    pub fn unix_now(self) -> i64 {
        self.anchor.unix_ns + self.now()
    }

    /// How far the wall clock was set since the run's zero, forwards or backwards.
    pub fn wall_step(self) -> i64 {
        Self::start().anchor.unix_ns - self.unix_now()
    }

    /// Lets the whole thread sleep until `at`.
    ///
    /// # Errors
    /// When the kernel has no such timer.
    pub fn block_until(self, at: i64) -> io::Result<()> {
        let at = self.timespec(at);
        loop {
            match clock_nanosleep_absolute(ThreadClock::Monotonic, &at) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A moment of this clock as the kernel's timers want it.
    pub(crate) fn timespec(self, at: i64) -> Timespec {
        let absolute = self.zero + at;
        Timespec { tv_sec: absolute.div_euclid(SECOND), tv_nsec: absolute.rem_euclid(SECOND) }
    }
}

/// How much the wall clock may gain or lose on the run's clock from one look to the next: it is
/// slewed by less, and set by more. Nanoseconds.
const SLEWED: i64 = 1_000_000;

/// What the kernel noted by the wall clock, on the run's clock.
#[derive(Debug)]
pub struct Stamps {
    clock: Clock,
    /// How far the wall clock was ahead of the run's clock when it was looked at last.
    ahead: Cell<i64>,
}

impl Stamps {
    /// Stamps that are noted from now on.
    pub fn new(clock: Clock) -> Self {
        let stamps = Self { clock, ahead: Cell::new(0) };
        stamps.ahead.set(stamps.careful());
        stamps
    }

    /// When the kernel noted `stamp`, Unix nanoseconds. It is counted back from now, so a clock that
    /// was set before does not matter. One that was set since the last look makes it now: nobody knows
    /// on which side of that the stamp lies, and later is never wrong.
    pub fn place(&self, stamp: i64) -> i64 {
        let now = self.clock.now();
        let mut ahead = nanos(clock_gettime(ClockId::Realtime)) - now;
        let before = self.ahead.get();
        if (ahead - before).abs() > SLEWED {
            // Or the thread was only paused between both clocks.
            ahead = self.careful();
        }
        self.ahead.set(ahead);
        if (ahead - before).abs() > SLEWED { now } else { now.min(stamp - ahead) }
    }

    fn careful(&self) -> i64 {
        let (monotonic, wall) = both_clocks();
        wall - (monotonic - self.clock.zero)
    }
}

/// Both clocks at the same moment: the monotonic one, and the wall clock.
fn both_clocks() -> (i64, i64) {
    // The wall clock is read between two looks at the monotonic one; the closest pair of a few counts,
    // since the thread may be paused in between.
    let sample = || {
        let before = monotonic();
        let wall = nanos(clock_gettime(ClockId::Realtime));
        let after = monotonic();
        (after - before, before + (after - before) / 2, wall)
    };
    let (_, monotonic, wall) = (0..8).map(|_| sample()).min().unwrap_or_else(sample);
    (monotonic, wall)
}

/// Processor time that this thread has used, nanoseconds.
pub fn thread_cpu() -> i64 {
    nanos(clock_gettime(ClockId::ThreadCPUTime))
}

/// Processor time that this process has used, without its children, nanoseconds.
pub fn process_cpu() -> i64 {
    nanos(clock_gettime(ClockId::ProcessCPUTime))
}

fn monotonic() -> i64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

fn nanos(t: Timespec) -> i64 {
    t.tv_sec * SECOND + t.tv_nsec
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn a_stamp_is_placed_where_it_was_noted() {
        let clock = Clock::start();
        let stamps = Stamps::new(clock);
        for _ in 0..100 {
            let before = clock.now();
            let stamp = nanos(clock_gettime(ClockId::Realtime));
            let (after, placed) = (clock.now(), stamps.place(stamp));
            assert!((before - MS..=after + MS).contains(&placed), "{before} {placed} {after}");
            let old = stamps.place(stamp - 700 * MS);
            assert!((placed - 701 * MS..placed - 698 * MS).contains(&old), "{placed} {old}");
            assert!(stamps.place(stamp + 700 * MS) <= clock.now(), "never after now");
        }
    }

    #[test]
    fn a_clock_that_was_set_since_places_it_now() {
        let clock = Clock::start();
        let stamps = Stamps::new(clock);
        for step in [-2 * MS, 2 * MS, 3_600_000 * MS] {
            // As if the wall clock had been set by `step` since the last look.
            stamps.ahead.set(stamps.ahead.get() - step);
            let stamp = nanos(clock_gettime(ClockId::Realtime)) - 50 * MS;
            let before = clock.now();
            let placed = stamps.place(stamp);
            assert!((before..=clock.now()).contains(&placed), "{before} {placed}");
            // And is known from then on.
            assert!(stamps.place(stamp) <= placed - 48 * MS);
        }
    }
}
