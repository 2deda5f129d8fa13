//! The history, in either of its forms, and the run's description beside it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use contract::history::stored::CONTROL;
use contract::history::{Event, Invocation};
use contract::outcome::{Failure, Outcome};
use contract::run::{HISTORY_DIR, Run, RunState};

use crate::evidence::collect::Collector;
use crate::evidence::join::refused;
use crate::evidence::{CampaignEvidence, Evidence, Op, Said};

/// What to judge.
#[derive(Clone, Debug)]
pub struct History {
    /// The file or folder of the history.
    pub path: PathBuf,
    /// The run it belongs to, and the run's folder.
    pub run: Option<(Run, PathBuf)>,
}

impl History {
    /// The history of a run.
    ///
    /// # Errors
    /// When the folder holds no run.
    pub fn of_run(dir: &Path) -> Result<Self> {
        let shown = dir.display();
        ensure!(
            dir.is_dir(),
            "{shown}: no run is there: pass --run DIR with the folder of a run, or --history FILE"
        );
        let run = Run::load(dir).map_err(one_cause).with_context(|| {
            format!("{shown} is not the folder of a run: pass --run DIR, or --history FILE")
        })?;
        Ok(Self { path: dir.join(HISTORY_DIR), run: Some((run, dir.to_owned())) })
    }

    /// A history on its own.
    pub fn alone(path: &Path) -> Self {
        Self { path: path.to_owned(), run: None }
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is no history.
    pub fn collect(&self) -> Result<Evidence> {
        let mut collector = Collector::default();
        let integrity = self.read(&mut |event| collector.take(event))?;
        let mut evidence = collector.finish(integrity);
        if let Some((run, _)) = &self.run {
            self.add_run(run, &mut evidence);
        }
        Ok(evidence)
    }

    fn add_run(&self, run: &Run, evidence: &mut Evidence) {
        let state = match run.state {
            RunState::Finished => None,
            RunState::Running => Some("the run did not end: its state is \"running\""),
            RunState::Interrupted => {
                Some("the run was interrupted before its plan was carried out")
            }
            RunState::Failed => {
                Some("the run ended before its plan was carried out: its history could not be written")
            }
        };
        evidence.gaps.extend(state.map(str::to_owned));
        for campaign in &mut evidence.campaigns {
            campaign.targets = run.targets.iter().map(|t| t.name.clone()).collect();
            campaign.whole &= run.state != RunState::Running;
        }
        let described: HashSet<&str> = evidence.campaigns.iter().map(|c| c.name.as_str()).collect();
        let missing = run.campaigns.iter().filter(|c| !described.contains(c.id.as_str()));
        let missing: Vec<String> = missing
            .map(|c| format!("campaign {} of the run is not in its history", c.id))
            .collect();
        evidence.gaps.extend(missing);
    }

    /// Calls `each` for every event.
    ///
    /// # Errors
    /// When it is no history.
    pub fn read(&self, each: &mut dyn FnMut(Event<'_>)) -> Result<contract::history::Integrity> {
        ensure!(
            self.path.exists(),
            "{}: there is no such history: pass --history with a .jsonl, a .jsonl.gz or a folder \
             of segments",
            self.path.display()
        );
        ensure!(
            !self.path.is_dir() || self.path.join(CONTROL).exists(),
            "{}: the folder holds no history (there is no {CONTROL} in it): pass --history with a \
             folder of segments, or --run with the folder of a run",
            self.path.display()
        );
        contract::history::read(&self.path, each).map_err(one_cause)
    }

    /// Looks up, in a second pass, which of the users that hold an unexplained coupon were refused.
    ///
    /// # Errors
    /// When the history can no longer be read.
    pub fn find_refusals(&self, campaigns: &mut [CampaignEvidence]) -> Result<()> {
        for campaign in campaigns {
            let leftover = campaign.join.as_ref().is_some_and(|j| !j.leftovers.is_empty());
            if leftover {
                self.find_refusals_of(campaign)?;
            }
        }
        Ok(())
    }

    fn find_refusals_of(&self, campaign: &mut CampaignEvidence) -> Result<()> {
        let (Some(ledger), Some(join)) = (campaign.ledger(), &campaign.join) else { return Ok(()) };
        let rows: Vec<_> = join.leftovers.iter().map(|l| ledger.rows[l.row].clone()).collect();
        let users: HashSet<Option<&str>> = rows.iter().map(|r| r.user.as_deref()).collect();
        let keys: HashSet<Option<&str>> = rows.iter().map(|r| r.key.as_deref()).collect();
        let named = |i: &Invocation<'_>| {
            i.campaign == campaign.name
                && (i.user.is_some() && users.contains(&i.user.as_deref())
                    || i.key.is_some() && keys.contains(&i.key.as_deref()))
        };
        let mut ops = self.select(&named)?;
        ops.sort_by_key(|op| op.op);
        if let Some(join) = &mut campaign.join {
            for (leftover, row) in join.leftovers.iter_mut().zip(&rows) {
                leftover.refused = ops.iter().find(|op| refused(op, row)).cloned();
            }
        }
        Ok(())
    }

    /// The operations whose invocation is wanted and that were refused.
    fn select(&self, wanted: &dyn Fn(&Invocation<'_>) -> bool) -> Result<Vec<Op>> {
        let mut found = std::collections::HashMap::new();
        let mut ends = Vec::new();
        self.read(&mut |event| match event {
            Event::Invoke(i) if wanted(&i) => {
                found.insert(i.op, (i.at, i.target, boxed(i.user), boxed(i.key)));
            }
            Event::Complete(c) => {
                if let Some(said) = refusal(&c.outcome).filter(|_| found.contains_key(&c.op)) {
                    ends.push((c.op, c.at, said));
                }
            }
            Event::Invoke(_) | Event::Campaign(_) => {}
        })?;
        let op = |(op, at, said)| {
            let (invoked, target, user, key) = found.remove(&op)?;
            Some(Op { op, target, user, key, invoked, completed: Some(at), said })
        };
        Ok(ends.into_iter().filter_map(op).collect())
    }
}

fn boxed(text: Option<std::borrow::Cow<'_, str>>) -> Option<Box<str>> {
    text.map(|t| Box::from(t.as_ref()))
}

/// A definite answer after which the client must not hold a coupon.
fn refusal(outcome: &Outcome<'_>) -> Option<Said> {
    match outcome {
        Outcome::SoldOut => Some(Said::SoldOut),
        Outcome::NotStarted => Some(Said::NotStarted),
        Outcome::Failed(Failure::Rejected) => Some(Said::Failed),
        Outcome::Failed(_) | Outcome::Issued(_) | Outcome::AlreadyIssued(_) => None,
        Outcome::Indeterminate(_) | Outcome::Read(_) => None,
    }
}

/// The error's own words already name its cause: a chain would say it twice.
fn one_cause(error: impl std::error::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}
