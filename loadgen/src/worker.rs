//! A load thread: carries out its share of the plan, in an event loop of its own.
//!
//! The model is open: the loop waits for the next arrival's moment and for nothing else. Each
//! arrival becomes a task; a slow answer delays nobody.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contract::outcome::Doubt;
use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::campaign::Created;
use crate::client::{Connection, Connections, Reply, exchange};
use crate::clock::Clock;
use crate::live::Live;
use crate::mapping::Mapping;
use crate::pace::Pacer;
use crate::record::{Recorder, Timing};
use crate::schedule::{Arrival, Schedule};
use crate::workload::{Asking, Order, Workload};

/// What every load thread of a run is told.
#[derive(Clone, Debug)]
pub struct Job {
    /// The run's clock.
    pub clock: Clock,
    /// How to speak with the system.
    pub mapping: Arc<Mapping>,
    /// The campaign.
    pub created: Arc<Created>,
    /// The campaign's start on the run's clock; the plan counts from it.
    pub start: i64,
    /// When the arrivals are due.
    pub schedule: Arc<Schedule>,
    /// Who asks, and where.
    pub workload: Workload,
    /// Host and port of each target.
    pub targets: Vec<String>,
    /// After how long an attempt is given up.
    pub timeout: Duration,
    /// How many attempts one load thread may have under way.
    pub max_in_flight: usize,
    /// How many load threads there are.
    pub threads: usize,
    /// The folder of the history.
    pub history: PathBuf,
    /// Counters for the live view.
    pub live: Arc<Live>,
    /// Whether to go on; a thread that cannot write the history ends the others, too.
    pub stop: watch::Sender<Stop>,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Carry out the plan.
    Not,
    /// No further arrivals; wait for what is under way.
    Arrivals,
    /// Give up what is under way, too.
    Everything,
}

/// What a load thread did with its share of the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Arrivals that were sent.
    pub sent: u64,
    /// Arrivals that were due and not sent.
    pub dropped: u64,
    /// Arrivals that were not due yet when the run was stopped.
    pub cancelled: u64,
}

impl Tally {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            dropped: self.dropped + other.dropped,
            cancelled: self.cancelled + other.cancelled,
        }
    }
}

/// Runs load thread `number` to its end, on the current thread.
///
/// Gives what it did, and why it ended early if it did: nothing is sent that is not written down.
pub fn run(job: &Job, number: usize) -> (Tally, Option<io::Error>) {
    match try_run(job, number) {
        Ok(done) => done,
        Err(error) => {
            job.stop.send_modify(|stop| *stop = (*stop).max(Stop::Arrivals));
            (Tally::default(), Some(error))
        }
    }
}

fn try_run(job: &Job, number: usize) -> io::Result<(Tally, Option<io::Error>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let recorder = Recorder::create(&job.history, number, job.created.id().to_owned())?;
    let worker = Rc::new(Worker::new(job.clone(), recorder));
    let tally = LocalSet::new().block_on(&runtime, Worker::carry_out(&worker, number))?;
    drop(runtime);
    let worker = Rc::try_unwrap(worker)
        .map_err(|_| io::Error::other("a request outlived its load thread"))?;
    let broken = worker.broken.into_inner();
    let finished = worker.recorder.finish().err();
    Ok((tally, broken.or(finished)))
}

struct Worker {
    job: Job,
    recorder: Recorder,
    connections: Vec<Connections>,
    in_flight: Cell<usize>,
    /// Attempts that were not sent because they could not be written down.
    unsent: Cell<u64>,
    /// Told whenever an attempt is over.
    idle: Notify,
    /// Why the history could not be written any more.
    broken: RefCell<Option<io::Error>>,
}

impl Worker {
    fn new(job: Job, recorder: Recorder) -> Self {
        let connections = job.targets.iter().cloned().map(Connections::new).collect();
        Self {
            job,
            recorder,
            connections,
            in_flight: Cell::new(0),
            unsent: Cell::new(0),
            idle: Notify::new(),
            broken: RefCell::default(),
        }
    }

    async fn carry_out(this: &Rc<Self>, number: usize) -> io::Result<Tally> {
        let pacer = Pacer::new(this.job.clock)?;
        let schedule = Arc::clone(&this.job.schedule);
        let mut stop = this.job.stop.subscribe();
        let mut tally = Tally::default();
        let mut share = schedule.share(number as u64, this.job.threads as u64);
        for arrival in share.by_ref() {
            let due = this.job.start + arrival.due;
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s != Stop::Not) => { tally.cancelled += 1; break; }
                waited = pacer.until(due) => waited?,
            }
            Self::dispatch(this, arrival, due, &mut tally);
        }
        tally.cancelled += share.count() as u64;
        this.drained().await;
        let unsent = this.unsent.get();
        tally.sent -= unsent;
        tally.dropped += unsent;
        Ok(tally)
    }

    /// Starts the attempt of one arrival, unless too many are under way already.
    fn dispatch(this: &Rc<Self>, arrival: Arrival, due: i64, tally: &mut Tally) {
        if this.in_flight.get() >= this.job.max_in_flight {
            tally.dropped += 1;
            this.job.live.dropped();
            return;
        }
        tally.sent += 1;
        this.job.live.sent();
        this.in_flight.set(this.in_flight.get() + 1);
        let order = this.job.workload.order(arrival.index);
        let timing = Timing { due, woken: this.job.clock.now() };
        let worker = Rc::clone(this);
        tokio::task::spawn_local(async move {
            match worker.attempt(&order, timing).await {
                Ok(None) => worker.over(),
                Ok(Some(connection)) => {
                    worker.over();
                    worker.connections[order.target].put_back(connection).await;
                }
                Err(error) => worker.break_off(error),
            }
        });
    }

    /// One attempt, from its connection to its last record. Gives the connection back where it can
    /// be used again.
    async fn attempt(&self, order: &Order, timing: Timing) -> io::Result<Option<Connection>> {
        let give_up = Instant::now() + self.job.timeout;
        let request = self.request(order)?;
        let connections = &self.connections[order.target];
        let connected = self.patiently(connections.take(), give_up).await;
        if let Err(error) = self.recorder.invoke(order, timing, self.job.clock.now()) {
            self.unsent.set(self.unsent.get() + 1);
            return Err(error);
        }
        let (reply, connection) = match connected {
            Ok(Ok(mut connection)) => {
                let rules = &self.job.mapping.outcomes;
                let exchange = exchange(&mut connection, request, rules);
                match self.patiently(exchange, give_up).await {
                    Ok(reply) => (reply, Some(connection)),
                    Err(doubt) => (Reply::doubtful(doubt), None),
                }
            }
            Ok(Err(error)) => (Reply::not_connected(&error), None),
            Err(_) => (Reply::not_connected(&io::ErrorKind::TimedOut.into()), None),
        };
        self.job.live.done(&reply.outcome);
        self.recorder.complete(order.op, self.job.clock.now(), reply)?;
        Ok(connection)
    }

    /// Waits for `work`, but not longer than until `give_up`, nor after the run is abandoned.
    async fn patiently<T>(
        &self,
        work: impl Future<Output = T>,
        give_up: Instant,
    ) -> Result<T, Doubt> {
        let mut stop = self.job.stop.subscribe();
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = tokio::time::sleep_until(give_up) => Err(Doubt::Timeout),
            _ = stop.wait_for(|s| *s == Stop::Everything) => Err(Doubt::Abandoned),
        }
    }

    /// An attempt is over.
    fn over(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.idle.notify_one();
    }

    /// The history cannot be written: no load thread sends anything further.
    fn break_off(&self, error: io::Error) {
        self.broken.borrow_mut().get_or_insert(error);
        self.job.stop.send_modify(|stop| *stop = (*stop).max(Stop::Arrivals));
        self.over();
    }

    fn request(&self, order: &Order) -> io::Result<Request<Full<Bytes>>> {
        let target = self.connections[order.target].authority();
        let values = Asking { order, target, names: &self.job.created.names };
        let filled = self.job.mapping.request.fill(&values);
        let mut request = Request::new(Full::new(Bytes::from(filled.body)));
        *request.method_mut() = filled.method;
        *request.uri_mut() = filled.uri.parse().map_err(io::Error::other)?;
        let headers = request.headers_mut();
        headers.insert(HOST, target.try_into().map_err(io::Error::other)?);
        headers.extend(filled.headers);
        Ok(request)
    }

    /// Ends once nothing is under way.
    async fn drained(&self) {
        while self.in_flight.get() > 0 {
            self.idle.notified().await;
        }
    }
}
