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
use contract::wire;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Uri};
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;

use crate::client::{Connections, Reply, exchange};
use crate::clock::Clock;
use crate::live::Live;
use crate::pace::Pacer;
use crate::record::Recorder;
use crate::schedule::{Arrival, Schedule};
use crate::workload::{Order, Workload};

/// What every load thread of a run is told.
#[derive(Clone, Debug)]
pub struct Job {
    /// The run's clock.
    pub clock: Clock,
    /// The campaign's id.
    pub campaign: String,
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
    /// Whether to go on.
    pub stop: watch::Receiver<Stop>,
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
/// # Errors
/// When the history cannot be written. Nothing is sent that is not written down.
pub fn run(job: &Job, number: usize) -> io::Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let recorder = Recorder::create(&job.history, number, job.campaign.clone())?;
    let path = wire::coupons_path(&job.campaign).parse().map_err(io::Error::other)?;
    let worker = Rc::new(Worker::new(job.clone(), path, recorder));
    let tally = LocalSet::new().block_on(&runtime, Worker::carry_out(&worker, number))?;
    drop(runtime);
    match Rc::try_unwrap(worker) {
        Ok(worker) => worker.recorder.finish()?,
        Err(_) => return Err(io::Error::other("a request outlived its load thread")),
    }
    Ok(tally)
}

struct Worker {
    job: Job,
    recorder: Recorder,
    connections: Vec<Connections>,
    path: Uri,
    in_flight: Cell<usize>,
    /// Told whenever an attempt is over.
    idle: Notify,
    /// Set once the history could not be written: the run is over.
    broken: RefCell<Option<io::Error>>,
}

impl Worker {
    fn new(job: Job, path: Uri, recorder: Recorder) -> Self {
        let connections = job.targets.iter().cloned().map(Connections::new).collect();
        Self {
            job,
            recorder,
            connections,
            path,
            in_flight: Cell::new(0),
            idle: Notify::new(),
            broken: RefCell::default(),
        }
    }

    async fn carry_out(this: &Rc<Self>, number: usize) -> io::Result<Tally> {
        let pacer = Pacer::new(this.job.clock)?;
        let schedule = Arc::clone(&this.job.schedule);
        let mut stop = this.job.stop.clone();
        let mut tally = Tally::default();
        let mut share = schedule.share(number as u64, this.job.threads as u64);
        for arrival in share.by_ref() {
            let due = this.job.start + arrival.due;
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s != Stop::Not) => { tally.cancelled += 1; break; }
                waited = pacer.until(due) => waited?,
            }
            this.check_history()?;
            Self::dispatch(this, arrival, due, &mut tally);
        }
        tally.cancelled += share.count() as u64;
        this.drained().await;
        this.check_history()?;
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
        let worker = Rc::clone(this);
        tokio::task::spawn_local(async move {
            if let Err(error) = worker.attempt(&order, due).await {
                worker.broken.borrow_mut().get_or_insert(error);
            }
            worker.in_flight.set(worker.in_flight.get() - 1);
            worker.idle.notify_one();
        });
    }

    /// One attempt, from its connection to its last record.
    async fn attempt(&self, order: &Order, due: i64) -> io::Result<()> {
        let connections = &self.connections[order.target];
        let connected = self.patiently(connections.take()).await;
        self.recorder.invoke(order, due, self.job.clock.now())?;
        let (reply, connection) = match connected {
            Ok(Ok(mut connection)) => {
                let request = self.request(order, connections.authority());
                let exchange = exchange(&mut connection, request);
                match self.patiently(exchange).await {
                    Ok(reply) => (reply, Some(connection)),
                    Err(doubt) => (Reply::doubtful(doubt), None),
                }
            }
            Ok(Err(_)) | Err(_) => (Reply::not_connected(), None),
        };
        self.job.live.done(&reply.outcome);
        self.recorder.complete(order.op, self.job.clock.now(), reply)?;
        if let Some(connection) = connection {
            // A connection that does not become free in time is simply not used again.
            let _ = self.patiently(connections.put_back(connection)).await;
        }
        Ok(())
    }

    /// Waits for `work`, but not longer than the scenario allows, nor after the run is abandoned.
    async fn patiently<T>(&self, work: impl Future<Output = T>) -> Result<T, Doubt> {
        let mut stop = self.job.stop.clone();
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = tokio::time::sleep(self.job.timeout) => Err(Doubt::Timeout),
            _ = stop.wait_for(|s| *s == Stop::Everything) => Err(Doubt::Abandoned),
        }
    }

    fn request(&self, order: &Order, authority: &str) -> Request<Full<Bytes>> {
        let body = wire::IssueRequest { user: Some(order.user.clone()) };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Both come from values that were checked: a URL's authority, and hex digits.
        if let (Ok(host), Ok(key)) = (authority.try_into(), order.key.as_str().try_into()) {
            headers.insert(HOST, host);
            headers.insert(wire::header::IDEMPOTENCY_KEY, key);
        }
        request
    }

    /// Ends once nothing is under way.
    async fn drained(&self) {
        while self.in_flight.get() > 0 {
            self.idle.notified().await;
        }
    }

    fn check_history(&self) -> io::Result<()> {
        self.broken.borrow_mut().take().map_or(Ok(()), Err)
    }
}
