//! Answers that nobody has looked at yet: where nothing but answers is awaited they are looked at many at a
//! time, between two requests. What reads and records them is fetched into the caches once for all of
//! them, and the moment of each was noted by the kernel.

use std::rc::Rc;

use super::Worker;
use super::journey::Journey;

/// Answers are looked at, and the event loop has its turn, at least this often: nanoseconds.
const EVERY: i64 = 80_000_000;
/// So many are looked at together. Each costs less the more there are, up to where their connections do not
/// fit into the caches any more.
const AT_ONCE: usize = 64;
/// An answer is not looked for any sooner: nanoseconds after its request was due.
const SOON: i64 = 1_000_000;
/// Nor if the next request is due within this time: nanoseconds.
const NEAR: i64 = 40_000;
/// Unless so many wait.
const MANY: usize = 4 * AT_ONCE;

impl Worker {
    /// Whether answers have waited long enough, or are enough, at `now`.
    pub(super) fn is_time_to_look(&self, now: i64, looked: i64) -> bool {
        now > looked.saturating_add(EVERY) || self.begun.borrow().len() >= AT_ONCE
    }

    /// Where all links to a target are taken, looks whether only by answers that nobody has looked at.
    pub(super) fn free_links(self: &Rc<Self>, target: usize) {
        if !self.lanes[target].has_idle() {
            self.sweep(i64::MAX, i64::MAX);
        }
    }

    /// Where the last link to a target was taken, by an answer that nobody has looked at like all others,
    /// opens another for the next request: so that more of them can be looked at together.
    pub(super) async fn provide(self: &Rc<Self>, target: usize) {
        if self.lanes[target].has_idle() || self.is_full() || !self.may_sleep() {
            return;
        }
        let worker = Rc::clone(self);
        self.travel(Box::pin(async move {
            let lane = &worker.lanes[target];
            // Nobody asked for it: if there is none, nothing is lost.
            lane.open().await.into_iter().for_each(|link| lane.keep(link));
            Ok(())
        }));
        self.give_a_turn().await;
    }

    /// Once for the event loop to look what came, and once for the tasks to run.
    async fn give_a_turn(&self) {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }

    /// Looks at `now` what came of the attempts that have begun, unless the next request is due, and gives the
    /// event loop its turn.
    pub(super) async fn look(self: &Rc<Self>, now: i64, next: i64) {
        self.sweep(now, next - NEAR);
        self.give_a_turn().await;
    }

    /// Looks what came of the attempts that began some time before `now`, the first of them first, as long as
    /// it is not yet `until`. Those whose answer is there are done with, and took no turn of the event loop;
    /// the others become tasks, which have their turn.
    fn sweep(self: &Rc<Self>, now: i64, until: i64) {
        while let Some(mut journey) = self.next_to_look_at(now, until) {
            journey.read();
            match journey.look() {
                Ok(true) => {}
                Ok(false) => self.travel(Box::pin(journey.follow_through())),
                Err(error) => self.break_off(error),
            }
        }
    }

    fn next_to_look_at(&self, now: i64, until: i64) -> Option<Journey> {
        let mut begun = self.begun.borrow_mut();
        let (due, _) = begun.front()?;
        let is_time = begun.len() > MANY || self.job.clock.now() < until;
        if now.saturating_sub(*due) < SOON || !is_time {
            return None;
        }
        begun.pop_front().map(|(_, journey)| journey)
    }
}
