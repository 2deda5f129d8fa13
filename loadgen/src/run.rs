//! One run, from the scenario to the summary.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use contract::campaign::{PerUser, Precedence};
use contract::history::clock::{Probe, locate};
use contract::history::stored::{Record, Segment, StoredPromise};
use contract::run::{Run, RunCampaign, RunState, RunTarget, SUMMARY_FILE, write_json};
use contract::wire;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::campaign::{Desk, SetupError};
use crate::clock::Clock;
use crate::folder::{Folder, FolderError};
use crate::instances::{Instances, StartError, Surroundings};
use crate::live::Live;
use crate::progress::{Progress, REDRAW_EVERY};
use crate::report;
use crate::scenario::{Origin, Overrides, Scenario, ScenarioError};
use crate::schedule::Schedule;
use crate::summary::summarize;
use crate::worker::{self, Job, Stop, Tally};
use crate::workload::Workload;

/// How often the clock that rules the start is asked during the load.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// How often it is asked before the load, to place the start on the run's clock.
const FIRST_PROBES: usize = 7;
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
    /// The campaign cannot be created.
    #[error("the campaign cannot be created: {0}")]
    Setup(#[from] SetupError),
    /// The clock that rules the start cannot be placed.
    #[error(
        "{0} does not tell its time: GET {1} was asked {FIRST_PROBES} times without one consistent answer"
    )]
    NoClock(String, String),
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
    let folder = Folder::create(options.out.as_deref(), scenario.name.as_str())?;
    let stop = on_signals()?;
    let clock = Clock::start();

    let mut system = tokio::select! {
        started = System::start(&scenario, &folder) => started?,
        () = stopped(stop.clone()) => return Ok(Ending::Interrupted),
    };
    let launch = tokio::select! {
        prepared = Launch::prepare(&scenario, &folder, &system, clock) => prepared?,
        () = stopped(stop.clone()) => return Ok(Ending::Interrupted),
    };
    folder.publish()?;

    let schedule = Arc::new(Schedule::new(&scenario.load));
    let mut run = launch.description.clone();
    let tally = launch.drive(&scenario, &schedule, &folder, &stop).await?;
    system.instances.stop().await;

    let interrupted = *stop.borrow() != Stop::Not;
    run.state = if interrupted { RunState::Interrupted } else { RunState::Finished };
    run.save(folder.path())?;
    conclude(&run, &folder, tally, schedule.len())
}

/// Computes, keeps and prints the figures.
fn conclude(run: &Run, folder: &Folder, tally: Tally, planned: u64) -> Result<Ending, RunError> {
    let summary = summarize(folder.path(), run, tally, planned)?;
    write_json(&folder.path().join(SUMMARY_FILE), &summary)?;
    crate::print(&report::text(&summary));
    crate::print(&format!("run {}\n", shown(folder.path())));
    let objections = summary.objections();
    Ok(match run.state {
        RunState::Interrupted => Ending::Interrupted,
        RunState::Running | RunState::Finished if objections.is_empty() => Ending::Sound,
        RunState::Running | RunState::Finished => Ending::Doubtful(objections),
    })
}

/// A path as the user would type it here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

/// Counts signals: the first ends the arrivals, the second everything.
fn on_signals() -> io::Result<watch::Receiver<Stop>> {
    let (sender, receiver) = watch::channel(Stop::Not);
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
    Ok(receiver)
}

async fn stopped(mut stop: watch::Receiver<Stop>) {
    // The sender lives as long as the process.
    let _ = stop.wait_for(|s| *s != Stop::Not).await;
}

/// What is put under load.
struct System {
    instances: Instances,
    targets: Vec<RunTarget>,
    /// The store's URL for `run.json`: no password, and relative where it lies in the run's folder.
    store: Option<String>,
}

impl System {
    async fn start(scenario: &Scenario, folder: &Folder) -> Result<Self, StartError> {
        let run = folder.path().to_owned();
        let template = scenario.system.store.as_deref();
        let store = template.map(|s| s.replace("{run}", &run.to_string_lossy()));
        let public = template.map(|s| without_password(&s.replace("{run}/", "")));
        match &scenario.system.origin {
            Origin::Spawn(spawn) => {
                let instances = Instances::start(spawn, &Surroundings { run, store }).await?;
                Ok(Self { targets: instances.targets(), instances, store: public })
            }
            Origin::Targets(given) => {
                let named = (1_u32..).zip(given).map(|(number, target)| RunTarget {
                    name: format!("api-{number}"),
                    url: target.url(),
                    pid: None,
                });
                let instances = Instances::default();
                Ok(Self { targets: named.collect(), instances, store: public })
            }
        }
    }
}

/// `redis://user:secret@host` becomes `redis://user:***@host`.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let Some((login, host)) = rest.rsplit_once('@') else { return url.into() };
    match login.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***@{host}"),
        None => url.into(),
    }
}

/// A campaign that is about to start.
struct Launch {
    clock: Clock,
    desk: Desk,
    /// Where campaigns and probes are written down.
    control: Segment,
    description: Run,
    /// The campaign's start on the run's clock.
    start: i64,
}

impl Launch {
    async fn prepare(
        scenario: &Scenario,
        folder: &Folder,
        system: &System,
        clock: Clock,
    ) -> Result<Self, RunError> {
        let desk = Desk::new(clock)?;
        let first = &system.targets[0];
        let created = desk.create(&first.url, scenario.name.as_str(), &scenario.campaign).await?;
        let starts_at_unix_ns = created.starts_at.timestamp_nanos_opt().unwrap_or(i64::MAX);
        let mut control = Segment::create(&folder.history(), "control")?;
        control.append(&Record::Campaign(StoredPromise {
            campaign: created.id.as_str().into(),
            coupons: created.coupons,
            starts_at_unix_ns,
            per_user: created.per_user_limit.map(reference_limit),
        }))?;
        let probes = first_probes(&desk, &first.url, &created.id).await;
        for probe in &probes {
            control.append(&Record::Probe(*probe))?;
        }
        let start = locate(starts_at_unix_ns, &probes).ok_or_else(|| {
            RunError::NoClock(first.name.clone(), wire::campaign_path(&created.id))
        })?;
        let description = describe(scenario, system, clock, &created, starts_at_unix_ns);
        description.save(folder.path())?;
        let start = start.earliest + start.width() / 2;
        Ok(Self { clock, desk, control, description, start })
    }

    /// Carries out the plan; shows how far it is; watches the ruling clock.
    async fn drive(
        self,
        scenario: &Scenario,
        schedule: &Arc<Schedule>,
        folder: &Folder,
        stop: &watch::Receiver<Stop>,
    ) -> Result<Tally, RunError> {
        let (clock, start) = (self.clock, self.start);
        let job = self.job(scenario, schedule, folder, stop);
        let (end_watch, watch_ended) = watch::channel(false);
        let watching = tokio::spawn(self.watch_clock(watch_ended));
        let mut progress = Progress::new(schedule.len());
        let mut redraw = interval(REDRAW_EVERY);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut threads = std::pin::pin!(spawn_threads(&job)?);
        let tally = loop {
            tokio::select! {
                tally = &mut threads => break tally,
                _ = redraw.tick() => progress.show(clock.now() - start, job.live.glance()),
            }
        };
        progress.finish();
        end_watch.send_replace(true);
        // The watch never panics; a failed join could only mean that the runtime is going down.
        watching.await.map_err(io::Error::other)??;
        Ok(tally?)
    }

    fn job(
        &self,
        scenario: &Scenario,
        schedule: &Arc<Schedule>,
        folder: &Folder,
        stop: &watch::Receiver<Stop>,
    ) -> Job {
        let authority = |t: &RunTarget| t.url.trim_start_matches("http://").to_owned();
        let threads = thread_count(schedule.peak_rate());
        let in_flight = usize::try_from(u32::from(scenario.load.max_in_flight)).unwrap_or(1);
        Job {
            clock: self.clock,
            campaign: self.description.campaigns[0].id.clone(),
            start: self.start,
            schedule: Arc::clone(schedule),
            workload: Workload::new(scenario.seed, self.description.targets.len()),
            targets: self.description.targets.iter().map(authority).collect(),
            timeout: scenario.load.timeout.span().to_duration(),
            max_in_flight: in_flight.div_ceil(threads),
            threads,
            history: folder.history(),
            live: Arc::new(Live::default()),
            stop: stop.clone(),
        }
    }

    /// Asks one target after the other for the ruling clock, until the load is over.
    async fn watch_clock(mut self, mut over: watch::Receiver<bool>) -> io::Result<()> {
        let campaign = self.description.campaigns[0].id.clone();
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
                probe = self.desk.probe(url, &campaign) => probe,
            };
            if let Some(probe) = probe {
                self.control.append(&Record::Probe(probe))?;
            }
        }
        self.control.finish()
    }
}

/// The reference server's limit, and what it tells a holder once all coupons are gone.
fn reference_limit(limit: u32) -> PerUser {
    PerUser { limit, precedence: Precedence::AlreadyFirst }
}

async fn first_probes(desk: &Desk, url: &str, campaign: &str) -> Vec<Probe> {
    let mut probes = Vec::new();
    for _ in 0..FIRST_PROBES {
        probes.extend(desk.probe(url, campaign).await);
    }
    probes
}

fn describe(
    scenario: &Scenario,
    system: &System,
    clock: Clock,
    created: &wire::Campaign,
    starts_at_unix_ns: i64,
) -> Run {
    let mut definition = scenario.clone();
    definition.system.store = definition.system.store.as_deref().map(without_password);
    Run {
        format: contract::run::FORMAT.into(),
        scenario: scenario.name.as_str().into(),
        definition: serde_json::to_value(definition).unwrap_or_default(),
        seed: scenario.seed,
        campaigns: vec![RunCampaign {
            id: created.id.clone(),
            coupons: created.coupons,
            starts_at_unix_ns,
        }],
        targets: system.targets.clone(),
        store: system.store.clone(),
        anchor: clock.anchor(),
        state: RunState::Running,
    }
}

fn thread_count(peak_rate: f64) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 200")]
    let wanted = (peak_rate / RATE_PER_THREAD).ceil() as usize;
    wanted.clamp(1, cores)
}

/// Starts the load threads. What is returned ends when all of them have.
fn spawn_threads(job: &Job) -> io::Result<impl Future<Output = io::Result<Tally>> + use<>> {
    let mut threads = Vec::with_capacity(job.threads);
    for number in 0..job.threads {
        let (sender, receiver) = oneshot::channel();
        let job = job.clone();
        std::thread::Builder::new().name(format!("load-{number}")).spawn(move || {
            // Nobody listens any more only when the run has failed already.
            let _ = sender.send(worker::run(&job, number));
        })?;
        threads.push(receiver);
    }
    Ok(async move {
        let mut tally = Tally::default();
        for thread in threads {
            tally = tally.plus(thread.await.map_err(io::Error::other)??);
        }
        Ok(tally)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_kept() {
        for (url, want) in [
            ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
            ("redis://me:sec@ret@h:1/0", "redis://me:***@h:1/0"),
            ("redis://h:1/0", "redis://h:1/0"),
            ("sqlite:a.db", "sqlite:a.db"),
        ] {
            assert_eq!(without_password(url), want);
        }
    }

    #[test]
    fn a_thread_for_each_five_thousand_a_second() {
        assert_eq!(thread_count(0.0), 1);
        assert_eq!(thread_count(5_000.0), 1);
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(thread_count(1e6), cores);
    }
}
