//! Waits for exact moments: a kernel timer (timerfd) in the load thread's own event loop.
//!
//! tokio's timer wheel has steps of 1 ms; at 1,000 arrivals a second that alone is a whole arrival
//! late. A timerfd wakes the thread some tens of microseconds after the moment and costs nothing
//! while it waits. How late it is at the least is learned, and the timer set that much earlier. Where
//! it comes too early for once, the rest is spun away, if a core is spare: nine of ten wake-ups spin
//! not at all, so this costs next to nothing.
//!
//! Where nothing but answers is awaited, the thread sleeps through them and looks at several of them
//! when it wakes for a moment of the plan: the kernel has noted when each came. Every wake-up that is
//! saved is a good part of what a request costs, and so is fetching the code that reads answers
//! into the caches.

use std::cell::Cell;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;

use rustix::thread::set_current_timer_slack;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use serde::Serialize;
use tokio::io::unix::AsyncFd;

use crate::clock::Clock;

/// The timer is never set earlier than this, nor spun longer: nanoseconds.
const EARLIEST: i64 = 120_000;
/// A nap is never longer than this: nanoseconds.
const LONGEST_NAP: i64 = 3_000_000;
/// A wake-up that is later than what is learned moves it up by so much, an earlier one moves it down
/// by nine times that: it ends where one of ten wake-ups is earlier.
const STEP: i64 = 200;
const DOWN: i64 = 9;
/// Nothing is known yet.
const FIRST_GUESS: i64 = 20_000;

/// How moments are met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pacing {
    /// A kernel timer alone: no core is spare.
    #[default]
    Timer,
    /// A kernel timer, set early, and a spin of some microseconds.
    TimerAndSpin,
}

impl Pacing {
    /// What suits so many load threads on these cores.
    pub fn of(threads: usize, cores: usize) -> Self {
        if cores > threads { Self::TimerAndSpin } else { Self::Timer }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Timer => "kernel timer",
            Self::TimerAndSpin => "kernel timer, then a spin of some microseconds",
        }
    }
}

/// A timer of one load thread.
#[derive(Debug)]
pub struct Pacer {
    timer: AsyncFd<OwnedFd>,
    clock: Clock,
    pacing: Pacing,
    /// How much earlier than the moment the timer is set.
    early: Cell<i64>,
}

/// A sleep of the whole thread that is over.
#[derive(Clone, Copy, Debug)]
pub struct Nap {
    /// When it was to end; none where there was no time for it.
    wake: Option<i64>,
    at: i64,
}

impl Pacer {
    /// A timer in the current runtime.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    #[expect(unsafe_code, reason = "tokio's only way to watch a file descriptor")]
    pub fn new(clock: Clock, pacing: Pacing) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // SAFETY: an `OwnedFd` names the same open file until it is dropped, and nothing here
        // takes it out of the `AsyncFd` or replaces it.
        let timer = unsafe { AsyncFd::register(timer) }.map_err(|e| e.into_parts().1)?;
        if pacing == Pacing::TimerAndSpin {
            // The kernel may otherwise let this thread sleep 50 µs longer than it asked for.
            set_current_timer_slack(NonZeroU64::new(1))?;
        }
        let early = Cell::new(FIRST_GUESS);
        Ok(Self { timer, clock, pacing, early })
    }

    /// Returns at `at`, or as soon after it as the kernel can. A moment that is past already still
    /// gives the thread's other tasks a turn.
    ///
    /// # Errors
    /// When the timer fails.
    pub async fn until(&self, at: i64) -> io::Result<()> {
        match self.pacing {
            Pacing::Timer => self.sleep_until(at).await,
            Pacing::TimerAndSpin => {
                let target = at - self.early.get();
                if self.clock.now() < target {
                    self.sleep_until(target).await?;
                    self.learn(self.clock.now() - target);
                } else {
                    tokio::task::yield_now().await;
                }
                while self.clock.now() < at {
                    std::hint::spin_loop();
                }
                Ok(())
            }
        }
    }

    /// Lets the whole thread sleep until shortly before `at`, where there is time for that;
    /// [`Pacer::rise`] waits for the rest. `None` where it would be too long.
    ///
    /// # Errors
    /// When the timer fails.
    pub fn nap(&self, at: i64) -> io::Result<Option<Nap>> {
        let wake = at - self.early.get();
        let length = wake - self.clock.now();
        if self.pacing == Pacing::Timer || length > LONGEST_NAP {
            return Ok(None);
        }
        if length > 0 {
            self.clock.block_until(wake)?;
        }
        Ok(Some(Nap { wake: (length > 0).then_some(wake), at }))
    }

    /// Returns at the moment of the nap, or as soon after it as possible. What was done since is
    /// counted as lateness of the timer, so that next time there is room for it.
    pub fn rise(&self, nap: Nap) {
        if let Some(wake) = nap.wake {
            self.learn(self.clock.now() - wake);
        }
        while self.clock.now() < nap.at {
            std::hint::spin_loop();
        }
    }

    /// A running tenth percentile of how late the timer is.
    fn learn(&self, late: i64) {
        let early = self.early.get();
        let step = if late > early { STEP } else { -STEP * DOWN };
        self.early.set((early + step).clamp(0, EARLIEST));
    }

    async fn sleep_until(&self, at: i64) -> io::Result<()> {
        if self.clock.now() >= at {
            tokio::task::yield_now().await;
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: self.clock.timespec(at),
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::ABSTIME, &once)?;
        loop {
            let mut ready = self.timer.readable().await?;
            // Setting the timer forgets its expirations, so they need not be read; what was ready
            // from an earlier setting is not this one.
            ready.clear_ready();
            if self.clock.now() >= at {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn never_returns_early() {
        let clock = Clock::start();
        for pacing in [Pacing::Timer, Pacing::TimerAndSpin] {
            let pacer = Pacer::new(clock, pacing).unwrap();
            for wait in [200_000, 1_000_000, 3_000_000, -5] {
                let at = clock.now() + wait;
                pacer.until(at).await.unwrap();
                assert!(clock.now() >= at);
            }
        }
    }

    #[tokio::test]
    async fn a_nap_ends_in_time_and_is_never_long() {
        let clock = Clock::start();
        let pacer = Pacer::new(clock, Pacing::TimerAndSpin).unwrap();
        for wait in [300_000, 1_000_000, 2_900_000] {
            let at = clock.now() + wait;
            let nap = pacer.nap(at).unwrap().unwrap();
            assert!(clock.now() >= at - EARLIEST);
            pacer.rise(nap);
            assert!(clock.now() >= at);
        }
        for wait in [-5, 0, 1_000] {
            let nap = pacer.nap(clock.now() + wait).unwrap().unwrap();
            assert_eq!(nap.wake, None, "there is no time for a nap in {wait} ns");
            pacer.rise(nap);
            assert!(clock.now() >= nap.at);
        }
        assert!(pacer.nap(clock.now() + 50_000_000).unwrap().is_none());
        let pacer = Pacer::new(clock, Pacing::Timer).unwrap();
        assert!(pacer.nap(clock.now() + 1_000_000).unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_learned_is_the_least_lateness() {
        let pacer = Pacer::new(Clock::start(), Pacing::TimerAndSpin).unwrap();
        for n in 0..10_000 {
            pacer.learn(30_000 + n * 37 % 100 * 1_000);
        }
        // Evenly between 30 and 130 µs: a tenth of them are below 40.
        assert!((34_000..=46_000).contains(&pacer.early.get()), "{}", pacer.early.get());
        (0..1_000).for_each(|_| pacer.learn(10_000_000));
        assert_eq!(pacer.early.get(), EARLIEST);
        (0..1_000).for_each(|_| pacer.learn(0));
        assert_eq!(pacer.early.get(), 0);
    }

    #[test]
    fn it_spins_only_where_a_core_is_spare() {
        assert_eq!(Pacing::of(1, 2), Pacing::TimerAndSpin);
        assert_eq!(Pacing::of(2, 2), Pacing::Timer);
    }
}
