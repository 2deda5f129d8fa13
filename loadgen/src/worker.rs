//! A load thread: carries out its share of the plan, in an event loop of its own.
//!
//! The model is open: the loop waits for the next moment at which something is due, and for nothing
//! else. What is due is packed before its moment and leaves in the loop itself; what comes of it is
//! a task of its own, so a slow answer delays nobody. A buyer who asks again puts that on the
//! agenda, beside the plan.

mod ahead;
mod journey;
mod looks;
mod patience;
mod saturate;
mod wire;

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::iter::Peekable;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::runtime::LocalOptions;
use tokio::sync::{Notify, watch};

use crate::client::Lane;
use crate::client::reach::Reach;
use crate::clock::{Clock, Stamps, thread_cpu};
use crate::live::{Counters, Live};
use crate::mapping::{Forms, Mapping};
use crate::pace::{Pacer, Pacing};
use crate::record::{Recorder, Timing};
use crate::samples::Samples;
use crate::scenario::{Load, Target};
use crate::schedule::Schedule;
use crate::workload::{Order, Workload};
use ahead::Ahead;
use journey::{Journey, Prepared};
use patience::Patience;

/// What every load thread of a run is told.
#[derive(Clone, Debug)]
pub struct Job {
    /// The run's clock.
    pub clock: Clock,
    /// How to speak with the system.
    pub mapping: Arc<Mapping>,
    /// What the scenario says of the load.
    pub load: Arc<Load>,
    /// What is asked of each campaign.
    pub forms: Arc<Vec<Forms>>,
    /// The first campaign's start on the run's clock; the plan counts from it.
    pub start: i64,
    /// When the arrivals are due.
    pub schedule: Arc<Schedule>,
    /// Who asks, and where.
    pub workload: Arc<Workload>,
    /// Where the load goes.
    pub targets: Vec<Target>,
    /// How targets are reached.
    pub reach: Reach,
    /// How many attempts one load thread may have under way.
    pub max_in_flight: usize,
    /// How many load threads there are.
    pub threads: usize,
    /// How they meet the moments of the plan.
    pub pacing: Pacing,
    /// The folder of the history.
    pub history: PathBuf,
    /// Counters for the live view.
    pub live: Arc<Live>,
    /// Answers that no rule matched.
    pub samples: Arc<Samples>,
    /// The number of the next operation that is not in the plan.
    pub next_op: Arc<AtomicU64>,
    /// Whether to go on; a thread that cannot write the history ends the others, too.
    pub stop: watch::Sender<Stop>,
}

impl Job {
    /// How long a request may take, nanoseconds.
    fn timeout(&self) -> i64 {
        self.load.timeout.span().nanos()
    }

    fn new_op(&self) -> u64 {
        self.new_ops(1)
    }

    /// The first of so many numbers.
    fn new_ops(&self, count: u64) -> u64 {
        self.next_op.fetch_add(count, Relaxed)
    }
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
    /// Attempts that were sent.
    pub sent: u64,
    /// Attempts that were due and not sent.
    pub dropped: u64,
    /// Attempts that were not due yet when the run was stopped.
    pub cancelled: u64,
    /// Attempts that were not in the plan: answers gave rise to them.
    pub follow_ups: u64,
    /// Connections that were to be opened before the load.
    pub wanted_connections: u64,
    /// Those of them that were proven alive.
    pub warm_connections: u64,
    /// Processor time that was used before the load, nanoseconds.
    pub preparation_ns: i64,
}

impl Tally {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            dropped: self.dropped + other.dropped,
            cancelled: self.cancelled + other.cancelled,
            follow_ups: self.follow_ups + other.follow_ups,
            wanted_connections: self.wanted_connections + other.wanted_connections,
            warm_connections: self.warm_connections + other.warm_connections,
            preparation_ns: self.preparation_ns + other.preparation_ns,
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
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build_local(LocalOptions::default())?;
    let recorder = Recorder::create(&job.history, number)?;
    let worker = Rc::new(Worker::new(job.clone(), number, recorder));
    runtime.block_on(Worker::carry_out(&worker))?;
    drop(runtime);
    let worker = Rc::try_unwrap(worker)
        .map_err(|_| io::Error::other("a request outlived its load thread"))?;
    let (tally, broken) = (worker.tally.get(), worker.broken.into_inner());
    let finished = worker.recorder.finish().err();
    Ok((tally, broken.or(finished)))
}

/// Something that a thread does beside its loop. Boxed, it is not copied on its way into the runtime.
type Task = Pin<Box<dyn Future<Output = io::Result<()>>>>;

struct Worker {
    job: Job,
    /// Which load thread it is.
    number: usize,
    recorder: Recorder,
    stamps: Stamps,
    lanes: Vec<Lane>,
    patience: Rc<Patience>,
    /// Requests under way.
    in_flight: Cell<usize>,
    /// Tasks that may still do something.
    journeys: Cell<usize>,
    /// Those of them that wait for an answer and for nothing else.
    resting: Cell<usize>,
    tally: Cell<Tally>,
    /// Attempts that have begun and are no tasks yet, and when they were due.
    begun: RefCell<VecDeque<(i64, Journey)>>,
    /// How many reads were sent.
    reads: Cell<usize>,
    /// What buyers are going to do besides the plan.
    agenda: RefCell<BinaryHeap<Reverse<Later>>>,
    /// The moment the loop waits for.
    waits_for: Cell<i64>,
    /// Told when the agenda has something earlier than that, or nothing is left to wait for.
    changed: Notify,
    /// Why the history could not be written any more.
    broken: RefCell<Option<io::Error>>,
}

/// Something on the agenda; the earliest is first.
#[derive(Debug, PartialEq, Eq)]
struct Later {
    due: i64,
    order: Order,
    /// How many times this request was tried before.
    tried: u32,
}

impl Ord for Later {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.order.op).cmp(&(other.due, other.order.op))
    }
}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What is due next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Planned,
    Agenda,
    Read,
    /// Nothing that is known yet.
    Change,
}

impl Worker {
    fn new(job: Job, number: usize, recorder: Recorder) -> Self {
        let lane = |target: &Target| Lane::new(target.clone(), job.reach.clone());
        let lanes = job.targets.iter().map(lane).collect();
        Self {
            patience: Rc::new(Patience::new(job.clock)),
            stamps: Stamps::new(job.clock),
            job,
            number,
            recorder,
            lanes,
            in_flight: Cell::new(0),
            journeys: Cell::new(0),
            resting: Cell::new(0),
            tally: Cell::default(),
            begun: RefCell::default(),
            reads: Cell::new(0),
            agenda: RefCell::default(),
            waits_for: Cell::new(i64::MAX),
            changed: Notify::new(),
            broken: RefCell::default(),
        }
    }

    async fn carry_out(this: &Rc<Self>) -> io::Result<()> {
        let pacer = Pacer::new(this.job.clock, this.job.pacing)?;
        tokio::task::spawn_local(Rc::clone(&this.patience).watch(this.job.stop.subscribe()));
        Self::warm_up(this, &pacer).await?;
        this.count(|tally| tally.preparation_ns = thread_cpu());
        match this.job.load.saturate {
            Some(saturate) => Self::saturate(this, saturate, &pacer).await?,
            None => Self::keep_to_the_plan(this, &pacer).await?,
        }
        this.waits_for.set(i64::MAX);
        while this.journeys.get() > 0 {
            this.changed.notified().await;
        }
        let left = this.agenda.borrow().len() as u64;
        this.count(|tally| tally.cancelled += left);
        Ok(())
    }

    /// Sends what is due when it is due, until there is nothing more to come.
    async fn keep_to_the_plan(this: &Rc<Self>, pacer: &Pacer) -> io::Result<()> {
        let schedule = Arc::clone(&this.job.schedule);
        let arrivals = schedule.share(this.number as u64, this.job.threads as u64);
        let mut planned = Ahead::new(arrivals, |arrival| {
            let order = this.job.workload.order(&arrival);
            (this.job.start + arrival.due, this.prepare(order, 0))
        });
        let mut reads = this.reads().peekable();
        let mut stop = this.job.stop.subscribe();
        let mut looked = i64::MIN;
        while let Some((due, next)) = this.next_due(planned.due(), &mut reads) {
            this.waits_for.set(due);
            let nap = if this.may_sleep() { pacer.nap(due)? } else { None };
            let napped = nap.is_some();
            if let Some(nap) = nap {
                if this.is_full() {
                    this.look(i64::MAX, i64::MAX).await;
                }
                pacer.rise(nap);
                if *stop.borrow() != Stop::Not {
                    break;
                }
            } else {
                this.set_out();
                looked = due;
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|s| *s != Stop::Not) => break,
                    () = this.changed.notified() => continue,
                    waited = pacer.until(due), if next != Next::Change => waited?,
                }
            }
            let mut asked = None;
            match next {
                Next::Planned => {
                    if let Some(prepared) = planned.take() {
                        asked = Some(prepared.order.target);
                        Self::dispatch(this, prepared, due);
                    }
                }
                Next::Agenda => {
                    let later = this.agenda.borrow_mut().pop();
                    if let Some(Reverse(Later { order, tried, .. })) = later {
                        Self::dispatch(this, this.prepare(order, tried), due);
                    }
                }
                Next::Read => {
                    reads.next();
                    Self::read(this, due);
                }
                Next::Change => {}
            }
            // What is due goes first: answers wait, their time is noted.
            if napped && this.is_time_to_look(due, looked) {
                this.look(due, planned.due().unwrap_or(i64::MAX)).await;
                looked = due;
            } else if let Some(target) = asked.filter(|_| napped) {
                this.provide(target).await;
            }
        }
        this.set_out();
        this.count(|tally| tally.cancelled += planned.count());
        Ok(())
    }

    /// Whether the thread may sleep through whatever comes before the next moment of the plan: all
    /// that is under way waits for its last answer.
    fn may_sleep(&self) -> bool {
        let (resting, begun) = (self.resting.get(), self.begun.borrow().len());
        resting == self.journeys.get() + begun && !self.job.workload.retries()
    }

    /// When something is due next, and what. While tasks are under way something may still change.
    fn next_due(
        &self,
        planned: Option<i64>,
        reads: &mut Peekable<impl Iterator<Item = i64>>,
    ) -> Option<(i64, Next)> {
        let planned = planned.map(|due| (due, Next::Planned));
        let agenda = self.agenda.borrow().peek().map(|Reverse(l)| (l.due, Next::Agenda));
        // Reads accompany the load; they do not prolong it.
        let load = planned.into_iter().chain(agenda).min();
        let tasks = self.journeys.get() + self.begun.borrow().len();
        let busy = load.is_some() || tasks > 0;
        let read = reads.peek().map(|due| (*due, Next::Read));
        let change = (i64::MAX, Next::Change);
        busy.then(|| load.into_iter().chain(read).min().unwrap_or(change))
    }

    /// The moments at which the campaign is read.
    fn reads(&self) -> impl Iterator<Item = i64> + use<> {
        let rate = self.job.load.reads.per_second();
        let (begin, end) = (self.job.schedule.begin(), self.job.schedule.end());
        let (start, threads) = (self.job.start + begin, self.job.threads);
        let gap = if rate > 0.0 { 1e9 / rate } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "times are far below 2^53"
        )]
        let due = move |k: usize| start + ((k as f64 + 0.5) * gap) as i64;
        let length = end - begin;
        (self.number..)
            .step_by(threads)
            .map(due)
            .take_while(move |due| gap > 0.0 && *due <= start + length)
    }

    /// Lets one attempt begin, unless too many are under way already.
    fn dispatch(this: &Rc<Self>, prepared: Prepared, due: i64) {
        if this.is_full() {
            this.count(|tally| tally.dropped += 1);
            this.live().dropped();
            return;
        }
        this.free_links(prepared.order.target);
        let timing = Timing { due: Some(due), woken: this.job.clock.now() };
        match Journey::begin(this, prepared, timing) {
            Ok(mut journey) => {
                journey.rest();
                this.begun.borrow_mut().push_back((due, journey));
            }
            Err(error) => this.break_off(error),
        }
    }

    /// Whether as many attempts are under way as may be.
    fn is_full(&self) -> bool {
        self.in_flight.get() >= self.job.max_in_flight
    }

    /// Makes tasks of the attempts that have begun.
    fn set_out(self: &Rc<Self>) {
        for (_, journey) in self.begun.take() {
            self.travel(Box::pin(journey.follow_through()));
        }
    }

    /// Runs a task of this thread to its end.
    fn travel(self: &Rc<Self>, journey: Task) {
        let worker = Rc::clone(self);
        worker.journeys.set(worker.journeys.get() + 1);
        tokio::task::spawn_local(async move {
            if let Err(error) = journey.await {
                worker.break_off(error);
            }
            worker.journeys.set(worker.journeys.get() - 1);
            // A loop that waits for a moment of the plan is not woken: where answers come in faster
            // than it has its turn, it would never get to what is overdue.
            if worker.journeys.get() == 0 && worker.waits_for.get() == i64::MAX {
                worker.changed.notify_one();
            }
        });
    }

    /// Puts a further request on the agenda.
    fn later(&self, later: Later) {
        self.count(|tally| tally.follow_ups += 1);
        let sooner = later.due < self.waits_for.get();
        self.agenda.borrow_mut().push(Reverse(later));
        if sooner {
            self.changed.notify_one();
        }
    }

    fn live(&self) -> &Counters {
        self.job.live.of(self.number)
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.get();
        change(&mut tally);
        self.tally.set(tally);
    }

    /// The history cannot be written: no load thread sends anything further.
    fn break_off(&self, error: io::Error) {
        self.broken.borrow_mut().get_or_insert(error);
        self.job.stop.send_modify(|stop| *stop = (*stop).max(Stop::Arrivals));
    }
}
