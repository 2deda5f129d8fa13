//! Waits for exact moments: a kernel timer (timerfd) in the load thread's own event loop.
//!
//! tokio's timer wheel has steps of 1 ms; at 1,000 arrivals a second that alone is a whole arrival
//! late. A timerfd wakes the thread some tens of microseconds after the moment and costs nothing
//! while it waits.

use std::io;
use std::os::fd::OwnedFd;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::clock::Clock;

/// A timer of one load thread.
#[derive(Debug)]
pub struct Pacer {
    timer: AsyncFd<OwnedFd>,
    clock: Clock,
}

impl Pacer {
    /// A timer in the current runtime.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    #[expect(unsafe_code, reason = "tokio's only way to watch a file descriptor")]
    pub fn new(clock: Clock) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // SAFETY: an `OwnedFd` names the same open file until it is dropped, and nothing here
        // takes it out of the `AsyncFd` or replaces it.
        let timer = unsafe { AsyncFd::register(timer) }.map_err(|e| e.into_parts().1)?;
        Ok(Self { timer, clock })
    }

    /// Returns at `at`, or as soon after it as the kernel can. A moment that is past already still
    /// gives the thread's other tasks a turn.
    ///
    /// # Errors
    /// When the timer fails.
    pub async fn until(&self, at: i64) -> io::Result<()> {
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
            let mut expirations = [0; 8];
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut expirations)?));
            match read {
                Ok(result) => return result.map(drop),
                Err(_would_block) => {}
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
        let pacer = Pacer::new(clock).unwrap();
        for wait in [200_000, 1_000_000, 3_000_000, -5] {
            let at = clock.now() + wait;
            pacer.until(at).await.unwrap();
            assert!(clock.now() >= at);
        }
    }
}
