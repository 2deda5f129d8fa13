//! The only place that reads a clock for what is recorded.
//!
//! The run's time is CLOCK_MONOTONIC in nanoseconds from the run's zero on, tied to the wall clock
//! once, at zero. A wall clock that is set in mid-run changes nothing here.

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
        // The wall clock is read between two looks at the monotonic one; the closest pair of a few
        // counts, since the thread may be paused in between.
        let sample = || {
            let before = monotonic();
            let wall = nanos(clock_gettime(ClockId::Realtime));
            let after = monotonic();
            (after - before, before + (after - before) / 2, wall)
        };
        let (_, zero, wall) = (0..8).map(|_| sample()).min().unwrap_or_else(sample);
        Self { zero, anchor: Anchor { unix_ns: wall } }
    }

    /// Nanoseconds since the run's zero.
    pub fn now(self) -> i64 {
        monotonic() - self.zero
    }

    /// When the kernel noted the wall clock's `stamp`, Unix nanoseconds, a short time ago. It is
    /// counted back from now, so a clock that was set before does not matter.
    pub fn noted(self, stamp: i64) -> i64 {
        let ago = nanos(clock_gettime(ClockId::Realtime)) - stamp;
        self.now() - ago.max(0)
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
