//! Follows a running history and tells the first violation that is proven, while the run goes on.
//!
//! The trick is to part suspicion from proof. Every answer is looked at once, in bounded memory
//! ([`suspect`]): extreme moments and fingerprints tell which few requests may contradict each other.
//! Those alone are read again from the history and judged by the checks ([`confirm`]), with the same
//! sentences and witnesses as in `verifier check`. A part of a history proves what it shows.

mod confirm;
mod height;
mod known;
mod phases;
mod rush;
mod suspect;
mod tell;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use contract::history::follow::Follower;
use contract::history::stored::CONTROL;
use contract::run::{HISTORY_DIR, LATEST, RUNS_DIR, Run, RunState};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::cli::WatchArgs;
use crate::source::history::History;
use crate::verdict::{Kind, Report};
use suspect::Suspect;
use tell::{Ended, Teller};

/// How often it is asked what is new.
const EVERY: Duration = Duration::from_millis(100);
/// So many suspicions are looked at in one pass.
const AT_ONCE: usize = 100;

/// A violation is proven.
const PROVEN: u8 = 1;
/// Nothing was found, which proves nothing.
const NO_VERDICT: u8 = 3;
/// A signal ended it.
const INTERRUPTED: u8 = 130;

/// Follows what the arguments name, tells what happens on standard output, and says what the program
/// ends with.
///
/// # Errors
/// When it cannot be read.
pub fn watch(args: &WatchArgs) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut teller = Teller::new(args.format);
        tokio::select! {
            biased;
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            code = follow(args, &mut teller) => return code,
        }
        teller.leave_line();
        Ok(INTERRUPTED)
    })
}

async fn follow(args: &WatchArgs, teller: &mut Teller) -> Result<u8> {
    let place = Place::of(args);
    let found = loop {
        if let Some(found) = place.look()? {
            break found;
        }
        teller.waiting(&place.words());
        sleep(EVERY).await;
    };
    let mut follower = Follower::open(&found.history)?;
    teller.watching(&found.shown());
    let lag = || found.judged().read_lag(args.read_lag);
    let (mut suspect, mut proven) = (Suspect::default(), 0);
    loop {
        // The scenario is there before the load begins, and perhaps after the history.
        suspect.reads_may_lag(lag()?);
        let over = follower.poll(&mut |event| suspect.take(event))?;
        for some in suspect.suspicions().chunks(AT_ONCE) {
            let report = confirm::confirm(&found.judged(), some, lag()?)?;
            proven += tell_all(&report, &mut suspect, teller)?;
            if proven > 0 && !args.keep_going {
                return Ok(PROVEN);
            }
        }
        if over {
            let (seen, unknown) = (suspect.seen, suspect.unknown());
            teller.ended(&Ended { seen, unknown, proven, check: found.to_check() });
            return Ok(if proven > 0 { PROVEN } else { NO_VERDICT });
        }
        teller.progress(suspect.seen, suspect.under_way(), proven);
        sleep(EVERY).await;
    }
}

/// Tells what was proven for the first time, and says how much that was.
fn tell_all(report: &Report, suspect: &mut Suspect, teller: &mut Teller) -> Result<usize> {
    let mut proven = 0;
    for finding in report.findings() {
        let e = &finding.judged.evidence;
        if finding.kind == Kind::Doubt && finding.violation.sentence.starts_with("internal error") {
            teller.note(&finding.violation.sentence);
        }
        let Some(rush) = suspect.rush(&e.name).filter(|_| finding.kind == Kind::Violation) else {
            continue;
        };
        if rush.prove(finding.check) {
            teller.violation(report, &finding)?;
            proven += 1;
        }
    }
    for judged in &report.campaigns {
        let told = judged.evidence.acknowledged.len() as u64;
        if let Some(rush) = suspect.rush(&judged.evidence.name).filter(|_| judged.evidence.whole) {
            rush.recounted(told);
        }
    }
    Ok(proven)
}

/// Where the history is, or will be.
enum Place {
    /// The run that is under way in `runs`, or the next one.
    Newest,
    /// The folder of a run.
    Run(PathBuf),
    /// A file, or a folder of segments.
    History(PathBuf),
}

/// A history that is there.
struct Found {
    history: PathBuf,
    /// The folder of the run that it belongs to.
    run: Option<PathBuf>,
}

impl Place {
    fn of(args: &WatchArgs) -> Self {
        match (&args.run, &args.history) {
            (Some(run), _) => Self::Run(run.clone()),
            (None, Some(history)) => Self::History(history.clone()),
            (None, None) => Self::Newest,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Newest => format!("a run in {RUNS_DIR} that is under way"),
            Self::Run(path) => format!("a run in {}", path.display()),
            Self::History(path) => format!("a history in {}", path.display()),
        }
    }

    fn look(&self) -> Result<Option<Found>> {
        Ok(match self {
            Self::Newest => newest(),
            Self::Run(dir) => {
                ensure!(
                    !dir.is_file(),
                    "{}: a file and not the folder of a run: pass --history with a history",
                    dir.display()
                );
                of_run(dir)
            }
            Self::History(path) => {
                let there = if path.is_dir() { path.join(CONTROL) } else { path.clone() };
                there.exists().then(|| Found { history: path.clone(), run: None })
            }
        })
    }
}

fn newest() -> Option<Found> {
    let dir = Path::new(RUNS_DIR).join(LATEST);
    // The link may name another run by the time that is read.
    let dir = Path::new(RUNS_DIR).join(dir.read_link().ok()?);
    let run = Run::load(&dir).ok().filter(|run| run.state == RunState::Running);
    run.and_then(|_| of_run(&dir))
}

fn of_run(dir: &Path) -> Option<Found> {
    let history = dir.join(HISTORY_DIR);
    history.join(CONTROL).exists().then(|| Found { history, run: Some(dir.to_owned()) })
}

impl Found {
    /// With the run's description, once it is there.
    fn judged(&self) -> History {
        let run = self.run.as_ref().and_then(|dir| Some((Run::load(dir).ok()?, dir.clone())));
        History { run, ..History::alone(&self.history) }
    }

    fn shown(&self) -> String {
        self.run.as_ref().unwrap_or(&self.history).display().to_string()
    }

    /// What judges it once it is over.
    fn to_check(&self) -> String {
        let name = if self.run.is_some() { "--run" } else { "--history" };
        format!("verifier check {name} {}", self.shown())
    }
}
