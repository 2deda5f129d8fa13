//! What is not paced by the plan: connections that are opened before it, and the load of a
//! saturating run, where each connection sends the next request once the last is answered.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::vec::Drain;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::journey::{Journey, Prepared};
use super::{Stop, Worker};
use crate::client::Link;
use crate::mapping::Form;
use crate::pace::Pacer;
use crate::record::Timing;
use crate::scenario::{Saturate, WarmUp};
use crate::schedule::Arrival;

/// What is not answered within this time is no matter of a round any more: nanoseconds.
const LOOK: i64 = 40_000_000;

impl Worker {
    /// Opens connections at a steady rate, and proves with a whole answer that each is alive.
    pub(super) async fn warm_up(this: &Rc<Self>, pacer: &Pacer) -> io::Result<()> {
        let Some(warm_up) = &this.job.load.warm_up else { return Ok(()) };
        let (threads, lanes) = (this.job.threads, this.lanes.len());
        let all = u32::from(warm_up.connections) as usize * lanes;
        let begin = this.job.clock.now();
        let first = this.job.start + this.job.schedule.begin();
        let mut stop = this.job.stop.subscribe();
        // Each thread gets its share of the connections to every target.
        let is_mine = |k: &usize| (k / lanes + k % lanes) % threads == this.number;
        let mine: Vec<usize> = (0..all).filter(is_mine).collect();
        this.count(|tally| tally.wanted_connections = mine.len() as u64);
        for k in mine {
            let due = begin + opened_at(k, warm_up);
            if due >= first {
                // It would only disturb the load.
                break;
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s != Stop::Not) => break,
                waited = pacer.until(due) => waited?,
            }
            let worker = Rc::clone(this);
            let path = warm_up.path.as_str().to_owned();
            this.travel(Box::pin(async move {
                if let Some(link) = worker.prove(k % lanes, &path).await {
                    worker.lanes[k % lanes].keep(link);
                    worker.count(|tally| tally.warm_connections += 1);
                }
                Ok(())
            }));
        }
        Ok(())
    }

    /// A new connection to a target over which it answered, if it does.
    async fn prove(&self, target: usize, path: &str) -> Option<Link> {
        let lane = &self.lanes[target];
        let packed = lane.pack(&Form::get(path), &BTreeMap::new());
        let proof = async {
            let mut link = lane.open().await.ok()?;
            link.begin(&packed);
            let whole = link.answer(&packed).await.ok()?;
            whole.reusable().then_some(link)
        };
        self.patience.wait(proof, self.job.clock.now() + self.job.timeout()).await.ok()?
    }

    /// As much as this thread's connections carry.
    pub(super) async fn saturate(
        this: &Rc<Self>,
        wanted: Saturate,
        pacer: &Pacer,
    ) -> io::Result<()> {
        let begin = this.job.start + this.job.load.begin.nanos();
        let end = begin + wanted.length.span().nanos();
        let mut stop = this.job.stop.subscribe();
        tokio::select! {
            biased;
            _ = stop.wait_for(|s| *s != Stop::Not) => return Ok(()),
            waited = pacer.until(begin) => waited?,
        }
        let all = u32::from(wanted.connections) as usize;
        let mine = (this.number..all).step_by(this.job.threads).collect();
        let worker = Rc::clone(this);
        this.travel(Box::pin(async move { Self::keep_busy(&worker, mine, end).await }));
        for due in this.reads() {
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s != Stop::Not) => break,
                waited = pacer.until(due) => waited?,
            }
            Self::read(this, due);
        }
        Ok(())
    }

    /// Keeps connections of these numbers busy until the end, in rounds: as many requests are packed as
    /// connections are free, they are sent, what came meanwhile is read, and then looked at. So the code of
    /// each step is fetched into the caches once for many requests.
    async fn keep_busy(this: &Rc<Self>, mine: Vec<usize>, end: i64) -> io::Result<()> {
        let mut free: Vec<usize> = (0..mine.len()).collect();
        let mut round = Round::of(mine);
        let mut look = this.job.clock.now() + LOOK;
        loop {
            if this.job.clock.now() < end && *this.job.stop.borrow() == Stop::Not {
                for (seat, prepared) in this.prepare_for(&round, free.drain(..)) {
                    let timing = Timing { due: None, woken: this.job.clock.now() };
                    round.add(seat, Journey::begin(this, prepared, timing)?);
                }
            }
            if round.is_over() {
                return Ok(());
            }
            let now = this.job.clock.now();
            if now >= look {
                round.lose_patience(now - LOOK);
                look = now + LOOK;
            }
            match this.patience.wait(round.goes_on(), now + LOOK).await {
                Ok(done) => free.extend(done?),
                // Nothing came for so long, or the run is given up.
                Err(_) => round.lose_patience(i64::MAX),
            }
            round.look(&mut free)?;
        }
    }

    /// The next requests over the connections of these seats.
    fn prepare_for(&self, round: &Round, free: Drain<'_, usize>) -> Vec<(usize, Prepared)> {
        let first = self.job.new_ops(free.len() as u64) - 1;
        let prepare = |(index, seat): (u64, usize)| {
            let mut order = self.job.workload.order(&Arrival::of_buyer(index));
            order.target = round.seats[seat].connection % self.lanes.len();
            (seat, self.prepare(order, 0))
        };
        (first..).zip(free).map(prepare).collect()
    }
}

/// What is under way in a saturating load.
struct Round {
    seats: Vec<Seat>,
    /// What needs more than one look; gives the number of its seat.
    slow: FuturesUnordered<Slow>,
}

/// One connection's place.
struct Seat {
    connection: usize,
    /// What waits for its answer and for nothing else.
    journey: Option<Journey>,
    /// Something has come.
    has_some: bool,
}

type Slow = Pin<Box<dyn Future<Output = io::Result<usize>>>>;

impl Round {
    fn of(connections: Vec<usize>) -> Self {
        let seat = |connection| Seat { connection, journey: None, has_some: false };
        Self { seats: connections.into_iter().map(seat).collect(), slow: FuturesUnordered::new() }
    }

    fn add(&mut self, seat: usize, journey: Journey) {
        match journey.can_rest() {
            true => self.seats[seat].journey = Some(journey),
            false => self.slow.push(follow(seat, journey)),
        }
    }

    fn is_over(&self) -> bool {
        self.slow.is_empty() && self.seats.iter().all(|seat| seat.journey.is_none())
    }

    /// Until something was read, or something slow is done; gives the seats of the latter.
    async fn goes_on(&mut self) -> io::Result<Vec<usize>> {
        poll_fn(|context| {
            let mut has_some = false;
            for seat in &mut self.seats {
                let Some(journey) = &mut seat.journey else { continue };
                seat.has_some = journey.poll_read(context).is_ready();
                has_some |= seat.has_some;
            }
            let mut done = Vec::new();
            while let Poll::Ready(Some(seat)) = self.slow.poll_next_unpin(context) {
                done.push(seat?);
            }
            match has_some || !done.is_empty() {
                true => Poll::Ready(Ok(done)),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// What began until `before` and is not answered has its own time limit from now on, whatever the others do.
    fn lose_patience(&mut self, before: i64) {
        for (number, seat) in self.seats.iter_mut().enumerate() {
            let journey = seat.journey.take_if(|journey| journey.began() <= before);
            self.slow.extend(journey.map(|journey| follow(number, journey)));
        }
    }

    /// Looks what has come; frees the seats of what is over.
    fn look(&mut self, free: &mut Vec<usize>) -> io::Result<()> {
        for (number, seat) in self.seats.iter_mut().enumerate() {
            let Some(journey) = seat.journey.as_mut().filter(|_| seat.has_some) else { continue };
            if journey.look()? {
                seat.journey = None;
                free.push(number);
            } else {
                self.slow.extend(seat.journey.take().map(|journey| follow(number, journey)));
            }
        }
        Ok(())
    }
}

fn follow(seat: usize, journey: Journey) -> Slow {
    Box::pin(async move { journey.follow_through().await.map(|()| seat) })
}

/// When connection `k` is opened, nanoseconds from the beginning.
fn opened_at(k: usize, warm_up: &WarmUp) -> i64 {
    let ns = i64::try_from(k).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    ns / i64::from(warm_up.rate.get())
}
