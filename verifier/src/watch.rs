//! Follows a running history and tells the first violation that is proven, while the run goes on.
//!
//! The trick is to part suspicion from proof. Every answer is looked at once, in bounded memory
//! ([`suspect`]): extreme moments and fingerprints tell which few requests may contradict each other.
//! Those alone are read again from the history and judged by the checks ([`confirm`]), with the same
//! sentences and witnesses as in `verifier check`. A part of a history proves what it shows. What only
//! all requests together can show is looked for among all ([`look`]), as often as a tenth of a processor's
//! time allows.

mod confirm;
mod height;
mod known;
mod look;
mod phases;
mod rush;
mod suspect;
mod tell;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use contract::history::Event;
use contract::history::follow::Follower;
use contract::history::stored::CONTROL;
use contract::run::{HISTORY_DIR, LATEST, RUNS_DIR, Run, RunState};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::cli::WatchArgs;
use crate::source::history::History;
use crate::verdict::{Finding, Kind, Report};
use crate::witness;
use confirm::confirm;
use look::Everything;
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
    let mut watch = Watch::new(args, found, teller)?;
    loop {
        let over = watch.read()?;
        if watch.proven > 0 && !args.keep_going {
            return Ok(PROVEN);
        }
        if over {
            return Ok(watch.ended());
        }
        watch.progress();
        sleep(EVERY).await;
    }
}

/// A history that is followed.
struct Watch<'a> {
    args: &'a WatchArgs,
    found: Found,
    follower: Follower,
    suspect: Suspect,
    everything: Everything,
    teller: &'a mut Teller,
    /// Checks that are broken.
    proven: usize,
}

impl<'a> Watch<'a> {
    fn new(args: &'a WatchArgs, found: Found, teller: &'a mut Teller) -> Result<Self> {
        let follower = Follower::open(&found.history)?;
        teller.watching(&found.shown());
        let (suspect, everything) = (Suspect::default(), Everything::new());
        Ok(Self { args, found, follower, suspect, everything, teller, proven: 0 })
    }

    /// Reads what is new and tells what it proves; says whether the history has ended.
    fn read(&mut self) -> Result<bool> {
        let history = self.found.judged();
        // The scenario is there before the load begins, and perhaps after the history.
        let read_lag = history.read_lag(self.args.read_lag)?;
        self.suspect.reads_may_lag(read_lag);
        let over = self.follower.poll(&mut |event| {
            self.suspect.take(&event);
            self.everything.take(&event);
        })?;
        let (all, few): (Vec<_>, Vec<_>) =
            self.suspect.suspicions().into_iter().partition(|s| s.what.ops.is_empty());
        for few in few.chunks(AT_ONCE) {
            self.tell(confirm(&history, few, read_lag)?, &history)?;
            if self.proven > 0 && !self.args.keep_going {
                return Ok(over);
            }
        }
        let may_look = over || self.everything.may_look();
        if all.is_empty() && !(may_look && self.suspect.is_unsettled()) {
            return Ok(over);
        }
        let mut each = |event: &Event<'_>| self.suspect.take(event);
        let judged = (&history, read_lag);
        let (report, over) = self.everything.look(&mut self.follower, judged, &mut each)?;
        report.map_or(Ok(()), |report| self.tell(report, &history))?;
        Ok(over)
    }

    /// Tells what was proven for the first time.
    fn tell(&mut self, mut report: Report, history: &History) -> Result<()> {
        for judged in report.campaigns.iter().filter(|judged| judged.evidence.whole) {
            let told = judged.evidence.acknowledged.len() as u64;
            if let Some(rush) = self.suspect.rush(&judged.evidence.name) {
                rush.recounted(told);
            }
        }
        let is_new = |finding: &Finding<'_>| {
            finding.kind == Kind::Violation
                && self.suspect.is_new(&finding.judged.evidence.name, finding.check)
        };
        if !report.findings().any(|finding| is_new(&finding)) {
            return Ok(());
        }
        witness::recheck(history, &mut report)?;
        for finding in report.findings() {
            let sentence = &finding.violation.sentence;
            if finding.kind == Kind::Doubt && sentence.starts_with("internal error") {
                self.teller.note(sentence);
            }
            let rush = self.suspect.rush(&finding.judged.evidence.name);
            let Some(rush) = rush.filter(|_| finding.kind == Kind::Violation) else { continue };
            if rush.prove(finding.check) {
                self.teller.violation(&report, &finding)?;
                self.proven += 1;
            }
        }
        Ok(())
    }

    fn progress(&mut self) {
        self.teller.progress(self.suspect.seen, self.suspect.under_way(), self.proven);
    }

    /// Tells how it ended, and says what with.
    fn ended(&mut self) -> u8 {
        let (seen, unknown) = (self.suspect.seen, self.suspect.unknown());
        let (proven, check) = (self.proven, self.found.to_check());
        self.teller.ended(&Ended { seen, unknown, proven, check });
        if proven > 0 { PROVEN } else { NO_VERDICT }
    }
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
