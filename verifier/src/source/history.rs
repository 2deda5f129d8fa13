//! The history, in either of its forms, and the run's description beside it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use contract::history::stored::{self, CONTROL};
use contract::history::{Completion, Event, Integrity, Invocation, Kind};
use contract::outcome::{Failure, Outcome};
use contract::run::{HISTORY_DIR, Run, RunState, SUMMARY_FILE};
use contract::yaml::duration::Span;
use serde::Deserialize as _;

use crate::evidence::collect::Collector;
use crate::evidence::identify::Orders;
use crate::evidence::join::refused;
use crate::evidence::{CampaignEvidence, Evidence, Op, Said, Store};
use crate::source::results::Results;

/// Why what is too much for memory cannot be looked at.
pub const NO_ROOM: &str = "temporary files cannot be written (TMPDIR says where they are)";

/// What to judge.
#[derive(Clone, Debug)]
pub struct History {
    /// The file or folder of the history.
    pub path: PathBuf,
    /// The run it belongs to, and the run's folder.
    pub run: Option<(Run, PathBuf)>,
    /// How to read it, where another load generator wrote it.
    pub results: Option<Results>,
    /// How far the clocks that its times were taken by may be from its own, in nanoseconds.
    pub clock_error: i64,
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
        let run = Some((run, dir.to_owned()));
        Ok(Self { run, ..Self::alone(&dir.join(HISTORY_DIR)) })
    }

    /// A history on its own.
    pub fn alone(path: &Path) -> Self {
        Self { path: path.to_owned(), run: None, results: None, clock_error: 0 }
    }

    /// The same, its times taken by several clocks that are no further than this from its own.
    pub fn with_clock_error(self, error: Duration) -> Self {
        Self { clock_error: i64::try_from(error.as_nanos()).unwrap_or(i64::MAX), ..self }
    }

    /// What another load generator wrote.
    pub fn of_results(path: &Path, results: Results) -> Self {
        Self { results: Some(results), ..Self::alone(path) }
    }

    /// The names of the targets, where the run's description is there.
    pub fn targets(&self) -> Vec<String> {
        let targets = self.run.iter().flat_map(|(run, _)| &run.targets);
        targets.map(|target| target.name.clone()).collect()
    }

    /// How old the state may be that reads show, in nanoseconds: as it was asked for, or as the run's
    /// scenario says.
    ///
    /// # Errors
    /// When the scenario says something else than a span of time.
    pub fn read_lag(&self, asked: Option<Duration>) -> Result<i64> {
        if let Some(asked) = asked {
            return Ok(i64::try_from(asked.as_nanos()).unwrap_or(i64::MAX));
        }
        let Some((run, dir)) = &self.run else { return Ok(0) };
        let Some(said) = run.definition.pointer("/campaign/read_lag") else { return Ok(0) };
        let lag = Span::deserialize(said).map(Span::nanos);
        lag.with_context(|| format!("{}: campaign.read_lag of the scenario", dir.display()))
    }

    /// Reads it, and holds so many coupons in memory.
    ///
    /// # Errors
    /// When it is no history, or the disk is full.
    pub fn collect(&self, most_held: Option<usize>) -> Result<Evidence> {
        let new = || most_held.map_or_else(Collector::default, Collector::holding);
        let (collector, mut integrity) = self.read_into(new)?;
        if let Some((run, dir)) = &self.run {
            let missing = [self.without_segments(run), self.miscounted(dir, &integrity)];
            integrity.gaps.extend(missing.into_iter().flatten());
        }
        let mut evidence = collector.finish(integrity).context(NO_ROOM)?;
        if let Some((run, _)) = &self.run {
            self.add_run(run, &mut evidence);
        }
        Ok(evidence)
    }

    fn read_into(&self, new: impl Fn() -> Collector + Sync) -> Result<(Collector, Integrity)> {
        // Read side by side, events stay where they stand, and cannot be widened there.
        if self.results.is_none() && self.clock_error == 0 && self.path.is_dir() {
            self.is_there()?;
            let read = stored::read_apart(&self.path, &new);
            let (collectors, integrity) = read.map_err(one_cause)?;
            let all = collectors.into_iter().reduce(|mut all, other| {
                all.absorb(other);
                all
            });
            if let Some(all) = all.filter(|all| !all.is_torn()) {
                return Ok((all, integrity));
            }
        }
        let mut collector = new();
        let integrity = self.read(&mut |event| collector.take(event))?;
        Ok((collector, integrity))
    }

    /// A finished run without a segment of operations has lost what it wrote.
    fn without_segments(&self, run: &Run) -> Option<String> {
        let entries = std::fs::read_dir(&self.path).ok()?;
        let is_segment = |name: &Path| name.extension().is_some_and(|e| e == "seg");
        let mut names = entries.filter_map(|e| Some(PathBuf::from(e.ok()?.file_name())));
        let any = names.any(|name| is_segment(&name) && name != Path::new(CONTROL));
        (run.state == RunState::Finished && !any)
            .then(|| "the run is finished, and its history holds no segment of requests".into())
    }

    /// The run's figures say how many requests were sent: no segment may have gone since.
    fn miscounted(&self, dir: &Path, integrity: &Integrity) -> Option<String> {
        let text = std::fs::read(dir.join(SUMMARY_FILE)).ok()?;
        let summary: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let recorded = summary.pointer("/accounting/recorded")?.as_u64()?;
        (recorded != integrity.invocations).then(|| {
            format!(
                "the run's summary counts {recorded} requests, its history holds {}",
                integrity.invocations
            )
        })
    }

    fn add_run(&self, run: &Run, evidence: &mut Evidence) {
        let state = match run.state {
            RunState::Finished => None,
            RunState::Running => Some("the run did not end: its state is \"running\""),
            RunState::Interrupted => {
                Some("the run was interrupted before its plan was carried out")
            }
            RunState::Failed => Some(
                "the run ended before its plan was carried out: its history could not be written",
            ),
        };
        evidence.gaps.extend(state.map(str::to_owned));
        for campaign in &mut evidence.campaigns {
            campaign.targets = self.targets();
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
    pub fn read(&self, each: &mut dyn FnMut(Event<'_>)) -> Result<Integrity> {
        self.is_there()?;
        let each = &mut |event: Event<'_>| each(widened(event, self.clock_error));
        match &self.results {
            Some(results) => results.read(&self.path, each),
            None => contract::history::read(&self.path, each).map_err(one_cause),
        }
    }

    fn is_there(&self) -> Result<()> {
        ensure!(
            self.path.exists(),
            "{}: there is no such history: pass --history with a .jsonl, a .jsonl.gz or a folder \
             of segments",
            self.path.display()
        );
        ensure!(
            self.results.is_some() || !self.path.is_dir() || self.path.join(CONTROL).exists(),
            "{}: the folder holds no history (there is no {CONTROL} in it): pass --history with a \
             folder of segments, or --run with the folder of a run",
            self.path.display()
        );
        Ok(())
    }

    /// What answers called the coupons that they told, by operation.
    ///
    /// # Errors
    /// When the history can no longer be read.
    pub fn orders(&self) -> Result<Orders> {
        let mut orders = Orders::default();
        self.read(&mut |event| {
            if let Event::Complete(Completion { op, outcome: Outcome::Issued(coupon), .. }) = event
                && let Some(order) = &coupon.order
            {
                orders.add(op, &coupon.code, order);
            }
        })?;
        Ok(orders)
    }

    /// Looks up, in one more pass for all campaigns, which of the users that hold an unexplained
    /// coupon, or may hold one where a holder is never refused, were refused, and which requests
    /// were refused under a key that consumed a coupon or may have.
    ///
    /// # Errors
    /// When the history can no longer be read.
    pub fn find_refusals(&self, campaigns: &mut [CampaignEvidence]) -> Result<()> {
        let wanted: HashMap<&str, Wanted<'_>> = (campaigns.iter().enumerate())
            .filter_map(|(at, c)| Some((c.name.as_str(), Wanted::of(at, c)?)))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut found: HashMap<usize, Vec<Op>> = HashMap::new();
        for (campaign, op) in self.select(&wanted)? {
            found.entry(campaign).or_default().push(op);
        }
        for (at, mut ops) in found {
            ops.sort_by_key(|op| op.op);
            campaigns[at].add_refusals(ops);
        }
        Ok(())
    }

    /// The requests that are wanted and were refused, with the numbers of their campaigns.
    fn select<'a>(&self, wanted: &'a HashMap<&'a str, Wanted<'a>>) -> Result<Vec<(usize, Op)>> {
        let mut refusals = Refusals { wanted, asked: HashMap::new(), found: Vec::new() };
        self.read(&mut |event| refusals.take(event))?;
        // An end may stand before its beginning, where nobody knew yet that it is wanted.
        if refusals.asked.values().any(|(_, op)| op.completed.is_none()) {
            self.read(&mut |event| refusals.take(event))?;
        }
        Ok(refusals.found)
    }
}

/// The event, as it was by the history's own clock: an operation began no later and was over no earlier
/// than another clock says, but for its error. So nothing comes before anything that it need not.
fn widened(event: Event<'_>, clock_error: i64) -> Event<'_> {
    match event {
        Event::Invoke(i) => Event::Invoke(Invocation { at: i.at.saturating_sub(clock_error), ..i }),
        Event::Complete(c) => {
            Event::Complete(Completion { at: c.at.saturating_add(clock_error), ..c })
        }
        Event::Campaign(promise) => Event::Campaign(promise),
    }
}

/// The refusals among the requests that are wanted.
struct Refusals<'a> {
    wanted: &'a HashMap<&'a str, Wanted<'a>>,
    /// What was asked, with the number of the campaign.
    asked: HashMap<u64, (usize, Op)>,
    found: Vec<(usize, Op)>,
}

impl Refusals<'_> {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Invoke(i) => {
                let wanted = self.wanted.get(i.campaign.as_ref()).filter(|w| w.want(&i));
                if let Some(w) = wanted {
                    self.asked.entry(i.op).or_insert_with(|| (w.campaign, sent(i)));
                }
            }
            Event::Complete(c) => {
                let open = self.asked.get_mut(&c.op).filter(|(_, op)| op.completed.is_none());
                let Some((campaign, op)) = open else { return };
                op.completed = Some(c.at);
                if let Some(said) = refusal(&c.outcome) {
                    self.found.push((*campaign, Op { said, ..op.clone() }));
                }
            }
            Event::Campaign(_) => {}
        }
    }
}

fn sent(i: Invocation<'_>) -> Op {
    Op {
        op: i.op,
        target: i.target,
        user: boxed(i.user),
        key: boxed(i.key),
        invoked: i.at,
        completed: None,
        said: Said::Unknown,
    }
}

/// What is wanted of one campaign in the further pass.
struct Wanted<'a> {
    campaign: usize,
    users: HashSet<&'a str>,
    keys: HashSet<&'a str>,
}

impl<'a> Wanted<'a> {
    fn of(campaign: usize, e: &'a CampaignEvidence) -> Option<Self> {
        let leftovers = e.join.iter().flat_map(|j| &j.leftovers);
        let rows: Vec<_> =
            leftovers.filter_map(|l| e.ledger().map(|ledger| &ledger.rows[l.row])).collect();
        let suspects = e.suspects.iter().map(|(_, key)| key.as_ref());
        let users = rows.iter().filter_map(|r| r.user.as_deref());
        let users: HashSet<&str> =
            users.chain(e.suspected_users.iter().map(AsRef::as_ref)).collect();
        let keys: HashSet<&str> =
            rows.iter().filter_map(|r| r.key.as_deref()).chain(suspects).collect();
        let any = !users.is_empty() || !keys.is_empty();
        any.then_some(Self { campaign, users, keys })
    }

    fn want(&self, i: &Invocation<'_>) -> bool {
        let named = |text: &Option<std::borrow::Cow<'_, str>>, names: &HashSet<&str>| {
            text.as_deref().is_some_and(|text| names.contains(text))
        };
        i.kind == Kind::Issue && (named(&i.user, &self.users) || named(&i.key, &self.keys))
    }
}

impl CampaignEvidence {
    /// Takes the refusals that were wanted, in the order of their numbers.
    fn add_refusals(&mut self, ops: Vec<Op>) {
        if let (Store::Settled(ledger), Some(join)) = (&self.store, &mut self.join) {
            let mut by_name: HashMap<(bool, &str), Vec<&Op>> = HashMap::new();
            for op in &ops {
                for (is_user, name) in [(true, &op.user), (false, &op.key)] {
                    if let Some(name) = name.as_deref() {
                        by_name.entry((is_user, name)).or_default().push(op);
                    }
                }
            }
            for leftover in &mut join.leftovers {
                let row = &ledger.rows[leftover.row];
                let names = [(true, row.user.as_deref()), (false, row.key.as_deref())];
                let named = names.into_iter().filter_map(|(u, n)| by_name.get(&(u, n?)));
                let fits = named.filter_map(|ops| ops.iter().find(|op| refused(op, row)));
                leftover.refused = fits.min_by_key(|op| op.op).map(|op| (*op).clone());
            }
        }
        let mut refused = HashSet::new();
        let never = |op: &&Op| match &op.user {
            Some(user) if op.said == Said::SoldOut && self.suspected_users.contains(user) => {
                refused.insert(user.clone())
            }
            _ => false,
        };
        self.refused_users = ops.iter().filter(never).cloned().collect();
        let gate = |op: &Op| matches!(op.said, Said::SoldOut | Said::NotStarted);
        let suspected = |op: &Op| op.group().is_some_and(|g| self.suspects.contains(&g));
        self.repeats = ops.into_iter().filter(|op| gate(op) && suspected(op)).collect();
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
        Outcome::NotFound => Some(Said::NotFound),
        Outcome::Ended => Some(Said::Ended),
        Outcome::Failed(Failure::Rejected) => Some(Said::Failed),
        Outcome::Failed(_) | Outcome::Issued(_) | Outcome::AlreadyIssued(_) => None,
        Outcome::Indeterminate(_) | Outcome::Read(_) | Outcome::Pending => None,
    }
}

/// The error's own words already name its cause: a chain would say it twice.
fn one_cause(error: impl std::error::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYED: &str = r#"{"type":"header","format":"coupon-history/1"}
{"type":"campaign","campaign":"c","coupons":1,"starts_at":{"earliest":0,"latest":0},"per_user":null}
{"type":"invoke","op":1,"campaign":"c","kind":"issue","at":10,"user":"u","key":"k"}
{"type":"complete","op":1,"at":20,"outcome":"issued","code":"가"}
{"type":"invoke","op":2,"campaign":"c","kind":"issue","at":30,"user":"v","key":"k"}
{"type":"complete","op":2,"at":40,"outcome":"sold_out"}
{"type":"invoke","op":3,"campaign":"c","kind":"issue","at":50,"user":"u","key":"k"}
{"type":"complete","op":3,"at":60,"outcome":"sold_out"}
{"type":"trailer","invocations":3,"completions":3}
"#;

    #[test]
    fn refusals_under_a_key_that_consumed_a_coupon_are_found_in_any_order() {
        let rank = |line: &&str| {
            let kinds = ["\"header\"", "\"campaign\",\"campaign", "\"complete\"", "\"invoke\""];
            kinds.iter().position(|kind| line.starts_with(&format!("{{\"type\":{kind}")))
        };
        let mut ends_first: Vec<&str> = KEYED.lines().collect();
        ends_first.sort_by_key(|line| rank(line).unwrap_or(9));
        for text in [KEYED.to_owned(), ends_first.join("\n") + "\n"] {
            assert_eq!(refused_under_keys(&text), [3], "{text}");
        }
    }

    fn refused_under_keys(text: &str) -> Vec<u64> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let history = History::alone(file.path());
        let mut evidence = history.collect(None).unwrap();
        history.find_refusals(&mut evidence.campaigns).unwrap();
        evidence.campaigns[0].repeats.iter().map(|op| op.op).collect()
    }
}
