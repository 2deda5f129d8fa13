//! One run, from the scenario to the summary.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use contract::history::clock::{Probe, locate};
use contract::history::stored::{Record, Segment, StoredPromise};
use contract::run::{Run, RunCampaign, RunState, SUMMARY_FILE, write_json};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::campaign::{Created, Desk, Named, Prepared, SetupError};
use crate::client::reach::Reach;
use crate::clock::Clock;
use crate::folder::{Folder, FolderError};
use crate::instances::StartError;
use crate::live::Live;
use crate::mapping::{Forms, Mapping};
use crate::pace::Pacing;
use crate::progress::{Moment, Progress};
use crate::report;
use crate::samples::Samples;
use crate::scenario::{self, Overrides, Scenario, ScenarioError, Span, Target};
use crate::schedule::Schedule;
use crate::secrets::recorded;
use crate::selfcheck::Meter;
use crate::summary::{Observed, Summary, summarize};
use crate::system::System;
use crate::thresholds::{Threshold, judge};
use crate::users::{TooFew, Users};
use crate::worker::{self, Job, Stop, Tally};
use crate::workload::Workload;

/// How often the clock that rules the start is asked during the load.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// How often it is asked before the load, to place the start on the run's clock.
const FIRST_PROBES: usize = 7;
/// How far the store's clock may be behind its server's before the run is refused.
const CLOCK_TOLERANCE_NS: i64 = 10_000_000_000;
/// Up to this many arrivals a second are one load thread's work.
const RATE_PER_THREAD: f64 = 5_000.0;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The scenario file.
    pub scenario: PathBuf,
    /// What the command line says on top of it.
    pub overrides: Overrides,
    /// The run's folder; absent means a new one in `runs/`.
    pub out: Option<PathBuf>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// To its end, with figures that may be trusted.
    Sound,
    /// To its end, but its figures must not be trusted, and why.
    Doubtful(Vec<String>),
    /// To its end, with figures that may be trusted, but a threshold does not hold.
    Missed,
    /// A signal ended it. What was sent until then is recorded.
    Interrupted,
}

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The scenario says something it must not.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The run's folder cannot be made.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The system cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There are not enough users.
    #[error(transparent)]
    TooFew(#[from] TooFew),
    /// The campaign cannot be created.
    #[error("the campaign cannot be created: {0}")]
    Setup(#[from] SetupError),
    /// The clock that rules the start cannot be placed.
    #[error(
        "{0} does not tell its time: it was asked {FIRST_PROBES} times without one consistent \
         answer; expected mapping.clock.asked.now to find an RFC 3339 time"
    )]
    NoClock(String),
    /// The campaign starts before the first arrival can be sent.
    #[error(
        "the first arrival would be late: its moment is {0} from now, since the set-up took longer \
         than planned; raise campaign.starts_in, or name a later start"
    )]
    TooLate(Span),
    /// The start that was named is past.
    #[error(
        "the start is {0}, which is {1} ago: name a later one (--start-at, campaign.starts_at)"
    )]
    Past(DateTime<Utc>, Span),
    /// Two campaigns cannot be told apart.
    #[error(
        "two campaigns have the id {0:?}: with campaign.count, mapping.setup must capture an id of \
         its own for each, or use {{name}}"
    )]
    SameCampaign(String),
    /// The campaign's start is not where it was put.
    #[error(
        "the campaign starts {0} later than it was told to: the clock of the store is that far \
         behind the clock of its server; set the clocks"
    )]
    ClockAstray(Span),
    /// The history cannot be written. Nothing was sent that was not written down before.
    #[error("the history cannot be written: {0}")]
    History(#[from] io::Error),
    /// A file of the run cannot be written, or not read again.
    #[error(transparent)]
    File(#[from] contract::run::RunError),
    /// The history cannot be read again.
    #[error(transparent)]
    Unreadable(#[from] contract::history::HistoryError),
}

/// Runs a scenario, prints its summary, and says how it ended.
///
/// # Errors
/// When it cannot be run; see [`RunError`].
pub async fn run(options: &Options) -> Result<Ending, RunError> {
    let scenario = Scenario::load(&options.scenario, &options.overrides)?;
    let schedule = Arc::new(Schedule::of(&scenario));
    scenario.users().enough_for(schedule.buyers())?;
    not_past(scenario.campaign.starts_at)?;
    let folder = Folder::create(options.out.as_deref(), scenario.name.as_str())?;
    let stop = on_signals()?;
    let clock = Clock::start();
    allow_many_sockets();

    let mut system = tokio::select! {
        started = System::start(&scenario, &folder) => started?,
        () = stopped(&stop, Stop::Arrivals) => return Ok(Ending::Interrupted),
    };
    let launch = tokio::select! {
        prepared = Launch::prepare(&scenario, &schedule, &folder, &system, clock) => prepared?,
        () = stopped(&stop, Stop::Arrivals) => return Ok(Ending::Interrupted),
    };
    folder.publish()?;

    let mut run = launch.description.clone();
    let meter = Arc::clone(&launch.meter);
    let samples = Arc::clone(&launch.samples);
    let (tally, broken) = launch.drive(&scenario, &schedule, &folder, &stop).await?;
    let planned = match scenario.load.saturate {
        // There is no plan but what was sent.
        Some(_) => tally.sent + tally.dropped - tally.follow_ups,
        None => schedule.len(),
    };
    let observed = Observed { tally, planned, vitals: meter.vitals(), samples: samples.all() };
    system.instances.stop(stopped(&stop, Stop::Everything)).await;

    run.state = match (&broken, *stop.borrow()) {
        (Some(_), _) => RunState::Failed,
        (None, Stop::Not) => RunState::Finished,
        (None, Stop::Arrivals | Stop::Everything) => RunState::Interrupted,
    };
    run.save(folder.path())?;
    let ending = conclude(&run, &folder, &observed, &scenario.thresholds)?;
    broken.map_or(Ok(ending), |error| Err(RunError::History(error)))
}

/// Nothing is created for a start that was.
fn not_past(start: Option<DateTime<Utc>>) -> Result<(), RunError> {
    let Some(start) = start else { return Ok(()) };
    let ago = (Utc::now() - start).num_nanoseconds().unwrap_or(i64::MAX);
    if ago > 0 { Err(RunError::Past(start, Span::from_nanos(ago))) } else { Ok(()) }
}

/// Each connection is a file descriptor; the usual soft limit of 1,024 is less than a launch needs.
fn allow_many_sockets() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that is refused, what lacks a socket is counted, and the run says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Computes, keeps and prints the figures.
fn conclude(
    run: &Run,
    folder: &Folder,
    observed: &Observed,
    thresholds: &[Threshold],
) -> Result<Ending, RunError> {
    let mut summary = summarize(folder.path(), run, observed)?;
    summary.thresholds = judge(thresholds, &summary);
    write_json(&folder.path().join(SUMMARY_FILE), &summary)?;
    report::prometheus::write(&summary, folder.path())?;
    crate::print(&report::text(&summary));
    crate::print(&format!("run {}\n", shown(folder.path())));
    Ok(ending(&summary))
}

/// Worst first: what was stopped was not carried out, and figures that must not be trusted cannot
/// be held against anything.
fn ending(summary: &Summary) -> Ending {
    let objections = summary.objections();
    match summary.state {
        RunState::Interrupted => {
            objections.iter().for_each(|o| crate::note(&format!("unknown: {o}")));
            Ending::Interrupted
        }
        RunState::Running | RunState::Finished | RunState::Failed if !objections.is_empty() => {
            Ending::Doubtful(objections)
        }
        _ if summary.thresholds.iter().any(|t| !t.holds) => Ending::Missed,
        RunState::Running | RunState::Finished | RunState::Failed => Ending::Sound,
    }
}

/// A path as the user would type it here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

/// Counts signals: the first ends the arrivals, the second everything.
fn on_signals() -> io::Result<watch::Sender<Stop>> {
    let (sender, _) = watch::channel(Stop::Not);
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    for kind in kinds {
        let mut signals = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                sender.send_modify(|stop| {
                    *stop = if *stop == Stop::Not { Stop::Arrivals } else { Stop::Everything };
                });
                crate::note("stopping: waiting for the answers under way (again to give them up)");
            }
        });
    }
    Ok(sender)
}

/// Ends once the run is to be stopped so far.
async fn stopped(stop: &watch::Sender<Stop>, so_far: Stop) {
    // A sender is at hand, so there is something to wait for.
    let _ = stop.subscribe().wait_for(|s| *s >= so_far).await;
}

/// A campaign that is about to start.
struct Launch {
    clock: Clock,
    desk: Desk,
    /// Where campaigns and probes are written down.
    control: Segment,
    description: Run,
    mapping: Arc<Mapping>,
    campaigns: Arc<Vec<Created>>,
    users: Arc<Users>,
    addresses: Vec<Target>,
    reach: Reach,
    /// The first campaign's start on the run's clock.
    start: i64,
    /// Answers that no rule matched.
    samples: Arc<Samples>,
    /// Watches the load generator itself.
    meter: Arc<Meter>,
}

impl Launch {
    async fn prepare(
        scenario: &Scenario,
        schedule: &Schedule,
        folder: &Folder,
        system: &System,
        clock: Clock,
    ) -> Result<Self, RunError> {
        let desk = Desk::new(clock, &system.reach);
        let first = &system.targets[0];
        let mapping = Arc::new(scenario.mapping.clone());
        let store = system.store_url.as_deref();
        let prepared = desk.prepare(&first.url, scenario, store).await?;
        let campaigns = Arc::new(create_all(&desk, scenario, schedule, &prepared).await?);
        let mut control = Segment::create(&folder.history(), "control")?;
        for created in campaigns.iter() {
            control.append(&Record::Campaign(StoredPromise {
                campaign: created.id().into(),
                coupons: scenario.campaign.coupons,
                starts_at_unix_ns: created.starts_at_unix_ns,
                per_user: scenario.campaign.per_user(),
                restock: scenario.campaign.restock,
            }))?;
        }
        let probes = first_probes(&desk, &first.url, &campaigns[0], &mapping).await;
        for probe in &probes {
            control.append(&Record::Probe(*probe))?;
        }
        let start = locate(campaigns[0].starts_at_unix_ns, &probes)
            .ok_or_else(|| RunError::NoClock(first.name.clone()))?;
        let description = describe(scenario, system, clock, &campaigns);
        description.save(folder.path())?;
        let start = start.earliest + start.width() / 2;
        on_time(clock.now(), start, schedule.begin(), &scenario.campaign)?;
        let pacing = Pacing::of(thread_count(scenario, schedule), cores());
        let (meter, samples) = (Arc::new(Meter::start(clock, pacing)), Arc::default());
        let (users, addresses) = (prepared.users, system.addresses.clone());
        Ok(Self {
            clock,
            desk,
            control,
            description,
            mapping,
            campaigns,
            users,
            addresses,
            reach: system.reach.clone(),
            start,
            samples,
            meter,
        })
    }

    /// Carries out the plan; shows how far it is; watches the ruling clock.
    async fn drive(
        self,
        scenario: &Scenario,
        schedule: &Arc<Schedule>,
        folder: &Folder,
        stop: &watch::Sender<Stop>,
    ) -> Result<(Tally, Option<io::Error>), RunError> {
        let (clock, start) = (self.clock, self.start);
        let job = self.job(scenario, schedule, folder, stop);
        let meter = Arc::clone(&self.meter);
        let (end_watch, watch_ended) = watch::channel(false);
        let watching = tokio::spawn(self.watch_clock(watch_ended));
        let coupons = scenario.campaign.coupons * u64::from(u32::from(scenario.campaign.count));
        let is_planned = scenario.load.saturate.is_none();
        let arrivals = is_planned.then(|| schedule.len());
        let mut progress = Progress::new(arrivals, coupons);
        let mut redraw = interval(progress.every());
        redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut threads = std::pin::pin!(spawn_threads(&job, &meter)?);
        let tally = loop {
            tokio::select! {
                tally = &mut threads => break tally,
                _ = redraw.tick() => {
                    let since_start = clock.now() - start;
                    let planned = is_planned.then(|| schedule.rate_at(since_start));
                    let moment = Moment { since_start, planned, now: job.live.glance() };
                    progress.show(moment, || job.live.recent());
                }
            }
        };
        progress.finish();
        end_watch.send_replace(true);
        // The watch never panics; a failed join could only mean that the runtime is going down.
        let watched = watching.await.map_err(io::Error::other)?;
        let (tally, broken) = tally;
        Ok((tally, broken.or(watched.err())))
    }

    fn job(
        &self,
        scenario: &Scenario,
        schedule: &Arc<Schedule>,
        folder: &Folder,
        stop: &watch::Sender<Stop>,
    ) -> Job {
        let threads = thread_count(scenario, schedule);
        let in_flight = usize::try_from(u32::from(scenario.load.max_in_flight)).unwrap_or(1);
        let forms = self.campaigns.iter().map(|c| Forms::new(&self.mapping, &c.names));
        let ids = self.campaigns.iter().map(|c| c.id().to_owned()).collect();
        let targets = self.addresses.clone();
        let workload = Workload::new(scenario, ids, schedule.len_of_one(), targets.len())
            .of(Arc::clone(&self.users));
        Job {
            clock: self.clock,
            start: self.start,
            load: Arc::new(scenario.load.clone()),
            schedule: Arc::clone(schedule),
            next_op: Arc::new(AtomicU64::new(workload.planned() + 1)),
            workload: Arc::new(workload),
            targets,
            reach: self.reach.clone(),
            max_in_flight: in_flight.div_ceil(threads),
            threads,
            pacing: Pacing::of(threads, cores()),
            history: folder.history(),
            live: Arc::new(Live::new(threads)),
            stop: stop.clone(),
            samples: Arc::clone(&self.samples),
            mapping: Arc::clone(&self.mapping),
            forms: Arc::new(forms.collect()),
        }
    }

    /// Asks one target after the other for the ruling clock, until the load is over.
    async fn watch_clock(mut self, mut over: watch::Receiver<bool>) -> io::Result<()> {
        let mut urls = self.description.targets.iter().map(|t| &t.url).cycle();
        loop {
            tokio::select! {
                biased;
                _ = over.wait_for(|over| *over) => break,
                () = sleep(PROBE_EVERY) => {}
            }
            let Some(url) = urls.next() else { break };
            let probe = tokio::select! {
                biased;
                _ = over.wait_for(|over| *over) => break,
                probe = self.desk.probe(url, &self.campaigns[0], &self.mapping) => probe,
            };
            if let Some(probe) = probe {
                self.control.append(&Record::Probe(probe))?;
            }
        }
        self.control.finish()
    }
}

/// The plan can only be kept if its first arrival is still to come, and not in a far future.
fn on_time(
    now: i64,
    start: i64,
    first_due: i64,
    campaign: &scenario::Campaign,
) -> Result<(), RunError> {
    let wait = start + first_due - now;
    if wait < 0 {
        return Err(RunError::TooLate(Span::from_millis(wait / 1_000_000)));
    }
    let expected = campaign.starts_in.nanos() + first_due;
    if campaign.starts_at.is_none() && wait > expected + CLOCK_TOLERANCE_NS {
        return Err(RunError::ClockAstray(Span::from_millis((wait - expected) / 1_000_000)));
    }
    Ok(())
}

/// Creates every campaign of the scenario.
async fn create_all(
    desk: &Desk,
    scenario: &Scenario,
    schedule: &Schedule,
    prepared: &Prepared,
) -> Result<Vec<Created>, RunError> {
    let (wanted, mapping) = (&scenario.campaign, &scenario.mapping);
    let first = desk.first_start(prepared, wanted, mapping).await;
    let mut campaigns: Vec<Created> = Vec::new();
    for number in 0..u32::from(wanted.count) {
        let starts_at = first + TimeDelta::nanoseconds(schedule.start_of(number));
        let name = match u32::from(wanted.count) {
            1 => scenario.name.as_str().to_owned(),
            _ => format!("{}-{}", scenario.name.as_str(), number + 1),
        };
        let named = Named { name: &name, starts_at };
        let created = desk.create(&named, mapping, prepared).await?;
        if campaigns.iter().any(|c| c.id() == created.id()) {
            return Err(RunError::SameCampaign(created.id().to_owned()));
        }
        campaigns.push(created);
    }
    Ok(campaigns)
}

async fn first_probes(desk: &Desk, url: &str, created: &Created, mapping: &Mapping) -> Vec<Probe> {
    let mut probes = Vec::new();
    for _ in 0..FIRST_PROBES {
        probes.extend(desk.probe(url, created, mapping).await);
    }
    probes
}

fn describe(scenario: &Scenario, system: &System, clock: Clock, campaigns: &[Created]) -> Run {
    let described = |created: &Created| RunCampaign {
        id: created.id().into(),
        coupons: scenario.campaign.coupons,
        starts_at_unix_ns: created.starts_at_unix_ns,
    };
    let mut definition = scenario.clone();
    definition.system.store = definition.system.store.as_deref().map(recorded);
    Run {
        format: contract::run::FORMAT.into(),
        scenario: scenario.name.as_str().into(),
        definition: serde_json::to_value(definition).unwrap_or_default(),
        seed: scenario.seed,
        campaigns: campaigns.iter().map(described).collect(),
        targets: system.targets.clone(),
        store: system.store.clone(),
        anchor: clock.anchor(),
        state: RunState::Running,
    }
}

/// Cores that this process may run on.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many load threads a load gets: as its peak rate needs. Where it saturates, one for each core, or for
/// half of them where the system is on this machine and needs the others.
pub(crate) fn thread_count(scenario: &Scenario, schedule: &Schedule) -> usize {
    let saturate = scenario.load.saturate.map(|saturate| u32::from(saturate.connections) as usize);
    match saturate {
        Some(connections) => threads_to_saturate(scenario.system.is_here()).min(connections),
        None => threads_for(schedule.peak_rate()),
    }
}

fn threads_to_saturate(beside_the_system: bool) -> usize {
    if beside_the_system { (cores() / 2).max(1) } else { cores() }
}

fn threads_for(peak_rate: f64) -> usize {
    let cores = cores();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 200")]
    let wanted = (peak_rate / RATE_PER_THREAD).ceil() as usize;
    wanted.clamp(1, cores)
}

/// Starts the load threads. What is returned ends when all of them have.
fn spawn_threads(
    job: &Job,
    meter: &Arc<Meter>,
) -> io::Result<impl Future<Output = (Tally, Option<io::Error>)> + use<>> {
    let mut threads = Vec::with_capacity(job.threads);
    for number in 0..job.threads {
        let (sender, receiver) = oneshot::channel();
        let (job, meter) = (job.clone(), Arc::clone(meter));
        std::thread::Builder::new().name(format!("load-{number}")).spawn(move || {
            let done = worker::run(&job, number);
            meter.thread_ends(done.0.preparation_ns);
            // Nobody listens any more only when the run has failed already.
            let _ = sender.send(done);
        })?;
        threads.push(receiver);
    }
    Ok(async move {
        let (mut tally, mut broken) = (Tally::default(), None);
        for thread in threads {
            let (mine, error) = thread
                .await
                .unwrap_or_else(|gone| (Tally::default(), Some(io::Error::other(gone))));
            tally = tally.plus(mine);
            broken = broken.or(error);
        }
        (tally, broken)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_for_each_five_thousand_a_second() {
        assert_eq!(threads_for(0.0), 1);
        assert_eq!(threads_for(5_000.0), 1);
        assert_eq!(threads_for(1e6), cores());
    }

    #[test]
    fn a_system_on_this_machine_keeps_half_of_the_cores() {
        assert_eq!(threads_to_saturate(false), cores());
        let (here, all) = (threads_to_saturate(true), cores());
        assert!(here >= 1 && (here == all / 2 || all == 1), "{here} of {all}");
    }
}
