//! What is not paced by the plan: connections that are opened before it, and the load of a
//! saturating run, where each connection sends the next request once the last is answered.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::journey::{Journey, Prepared};
use super::{Stop, Worker};
use crate::client::Link;
use crate::mapping::Form;
use crate::pace::Pacer;
use crate::record::Timing;
use crate::scenario::{Saturate, WarmUp};
use crate::schedule::Arrival;

impl Worker {
    /// Opens connections at a steady rate, and proves with a whole answer that each is alive.
    pub(super) async fn warm_up(this: &Rc<Self>, number: usize, pacer: &Pacer) -> io::Result<()> {
        let Some(warm_up) = &this.job.load.warm_up else { return Ok(()) };
        let (threads, lanes) = (this.job.threads, this.lanes.len());
        let all = u32::from(warm_up.connections) as usize * lanes;
        let begin = this.job.clock.now();
        let first = this.job.start + this.job.schedule.begin();
        let mut stop = this.job.stop.subscribe();
        // Each thread gets its share of the connections to every target.
        let is_mine = |k: &usize| (k / lanes + k % lanes) % threads == number;
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
        number: usize,
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
        let mine = (number..all).step_by(this.job.threads).collect();
        let worker = Rc::clone(this);
        this.travel(Box::pin(async move { Self::keep_busy(&worker, mine, end).await }));
        for due in this.reads(number) {
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s != Stop::Not) => break,
                waited = pacer.until(due) => waited?,
            }
            Self::read(this, due);
        }
        Ok(())
    }

    /// Keeps connections of these numbers busy until the end, in rounds: whatever was answered is recorded,
    /// then as many requests are packed, and then they are sent. So the code of each step is fetched into the
    /// caches once for many requests.
    async fn keep_busy(this: &Rc<Self>, mut free: Vec<usize>, end: i64) -> io::Result<()> {
        let mut busy = FuturesUnordered::new();
        let mut packed = Vec::with_capacity(free.len());
        loop {
            if this.job.clock.now() < end && *this.job.stop.borrow() == Stop::Not {
                packed.extend(free.drain(..).map(|k| (k, this.prepare_for(k))));
            }
            for (k, prepared) in packed.drain(..) {
                let timing = Timing { due: None, woken: this.job.clock.now() };
                let journey = Journey::begin(this, prepared, timing)?;
                busy.push(async move { journey.follow_through().await.map(|()| k) });
            }
            match busy.next().await {
                Some(done) => free.push(done?),
                None => return Ok(()),
            }
            while let Some(Some(done)) = busy.next().now_or_never() {
                free.push(done?);
            }
        }
    }

    /// The next request of connection `k`.
    fn prepare_for(&self, k: usize) -> Prepared {
        let index = self.job.new_op() - 1;
        let mut order = self.job.workload.order(&Arrival::of_buyer(index));
        order.target = k % self.lanes.len();
        self.prepare(order, 0)
    }
}

/// When connection `k` is opened, nanoseconds from the beginning.
fn opened_at(k: usize, warm_up: &WarmUp) -> i64 {
    let rate = warm_up.rate.per_second().max(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "times are far below 2^53"
    )]
    let at = (k as f64 * 1e9 / rate) as i64;
    at
}
