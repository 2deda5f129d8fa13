//! How long requests are waited for: one watchman for all requests of a load thread.
//!
//! A timer and a subscription for each request would cost more than many a request. A request that
//! has to wait takes a seat; the watchman sleeps until the first of them has waited long enough, and
//! wakes it. Answered requests only leave their seats.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use contract::outcome::Doubt;
use tokio::sync::{Notify, watch};

use super::Stop;
use crate::clock::Clock;

/// Those who wait on one load thread.
#[derive(Debug)]
pub(super) struct Patience {
    clock: Clock,
    seats: RefCell<Vec<Seat>>,
    free: RefCell<Vec<usize>>,
    /// The moment the watchman sleeps until.
    sleeps_until: Cell<i64>,
    /// Told when somebody wants to be woken sooner than that.
    sooner: Notify,
    /// The run is given up, with all that is under way.
    abandoned: Cell<bool>,
}

/// One who waits, or a free place.
#[derive(Debug)]
struct Seat {
    give_up: i64,
    waker: Option<Waker>,
}

/// A place that is free again once this is dropped.
struct Seated<'a> {
    patience: &'a Patience,
    at: usize,
}

impl Patience {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            seats: RefCell::default(),
            free: RefCell::default(),
            sleeps_until: Cell::new(i64::MAX),
            sooner: Notify::new(),
            abandoned: Cell::new(false),
        }
    }

    /// Waits for `work`, but not longer than until `give_up`, nor after the run is abandoned.
    pub(super) async fn wait<T>(
        &self,
        work: impl Future<Output = T>,
        give_up: i64,
    ) -> Result<T, Doubt> {
        let (mut work, mut seated) = (pin!(work), None);
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            if self.abandoned.get() {
                return Poll::Ready(Err(Doubt::Abandoned));
            }
            if self.clock.now() >= give_up {
                return Poll::Ready(Err(Doubt::Timeout));
            }
            seated.get_or_insert_with(|| self.sit_down(give_up)).stay(context.waker());
            Poll::Pending
        })
        .await
    }

    fn sit_down(&self, give_up: i64) -> Seated<'_> {
        if give_up < self.sleeps_until.get() {
            self.sleeps_until.set(give_up);
            self.sooner.notify_one();
        }
        let (mut seats, seat) = (self.seats.borrow_mut(), Seat { give_up, waker: None });
        let at = self.free.borrow_mut().pop();
        let at = at.unwrap_or(seats.len());
        match seats.get_mut(at) {
            Some(free) => *free = seat,
            None => seats.push(seat),
        }
        Seated { patience: self, at }
    }

    /// Wakes whoever has waited long enough, until the run is abandoned, and then everybody.
    pub(super) async fn watch(self: Rc<Self>, mut stop: watch::Receiver<Stop>) {
        loop {
            let left = self.sleeps_until.get().saturating_sub(self.clock.now()).max(0);
            let left = Duration::from_nanos(left.unsigned_abs());
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s == Stop::Everything) => break,
                () = self.sooner.notified() => {}
                () = tokio::time::sleep(left) => self.wake_until(self.clock.now()),
            }
        }
        self.abandoned.set(true);
        self.wake_until(i64::MAX);
    }

    /// Wakes those whose moment is not after `now`, and finds the next moment.
    fn wake_until(&self, now: i64) {
        let mut next = i64::MAX;
        for seat in self.seats.borrow_mut().iter_mut() {
            match &seat.waker {
                Some(_) if seat.give_up > now => next = next.min(seat.give_up),
                Some(_) => seat.waker.take().into_iter().for_each(Waker::wake),
                None => {}
            }
        }
        self.sleeps_until.set(next);
    }
}

impl Seated<'_> {
    fn stay(&self, waker: &Waker) {
        let mut seats = self.patience.seats.borrow_mut();
        if let Some(seat) = seats.get_mut(self.at) {
            match &mut seat.waker {
                Some(known) => known.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
    }
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        if let Some(seat) = self.patience.seats.borrow_mut().get_mut(self.at) {
            seat.waker = None;
        }
        self.patience.free.borrow_mut().push(self.at);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    const MS: i64 = 1_000_000;

    fn on_a_load_thread<T>(
        test: impl AsyncFnOnce(Clock, Rc<Patience>, watch::Sender<Stop>) -> T,
    ) -> T {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let clock = Clock::start();
            let (patience, stop) = (Rc::new(Patience::new(clock)), watch::Sender::new(Stop::Not));
            tokio::task::spawn_local(Rc::clone(&patience).watch(stop.subscribe()));
            test(clock, patience, stop).await
        })
    }

    #[test]
    fn each_waits_as_long_as_it_wanted_to() {
        on_a_load_thread(async |clock, patience, _stop| {
            let now = clock.now();
            let never = |ms| {
                let patience = Rc::clone(&patience);
                async move {
                    let waited = patience.wait(pending::<()>(), now + ms * MS).await;
                    assert_eq!(waited, Err(Doubt::Timeout));
                    assert!(clock.now() >= now + ms * MS);
                    ms
                }
            };
            // A later one first: the watchman must not oversleep the sooner one.
            let (long, short) = (tokio::task::spawn_local(never(60)), never(20).await);
            assert!(clock.now() < now + 50 * MS, "nobody waits for somebody else's moment");
            assert_eq!((short, long.await.unwrap()), (20, 60));
            // Their seats are taken again.
            never(70).await;
            assert_eq!(patience.seats.borrow().len(), 2);
        });
    }

    #[test]
    fn what_is_done_is_done_however_late() {
        on_a_load_thread(async |_, patience, _stop| {
            assert_eq!(patience.wait(async { 7 }, i64::MIN).await, Ok(7));
            assert!(patience.seats.borrow().is_empty());
        });
    }

    #[test]
    fn an_abandoned_run_waits_for_nobody() {
        on_a_load_thread(async |_, patience, stop| {
            let waits = |patience: Rc<Patience>| async move {
                patience.wait(pending::<()>(), i64::MAX).await
            };
            let waiting = tokio::task::spawn_local(waits(Rc::clone(&patience)));
            tokio::task::yield_now().await;
            stop.send_replace(Stop::Arrivals);
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            stop.send_replace(Stop::Everything);
            assert_eq!(waiting.await.unwrap(), Err(Doubt::Abandoned));
            assert_eq!(waits(patience).await, Err(Doubt::Abandoned));
        });
    }
}
