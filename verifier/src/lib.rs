//! Tells whether a coupon launch was correct, and proves it.
//!
//! [`source`] reads a history and a store, [`evidence`] is what is known from them, [`check`] holds
//! the rules, [`verdict`] applies them, [`witness`] checks every proof again, and [`report`] writes
//! it down. [`watch`] does it early, for what a running history proves by itself. No rule is shared with the server: a shared rule would share its bugs.

pub mod check;
pub mod cli;
pub mod evidence;
pub mod inspect;
pub mod procedure;
pub mod report;
pub mod source;
pub mod verdict;
pub mod watch;
pub mod witness;
pub mod wording;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use contract::run::{LATEST, RUNS_DIR, Run, RunCampaign};
use contract::store::{Column, Mapping, Wait};

use check::Certainty;
use cli::CheckArgs;
use evidence::acknowledged::Numbers;
use evidence::identify::{Orders, identify};
use evidence::ledger::{Counter, Ledger, Ledgers};
use evidence::sift::sift;
use evidence::{CampaignEvidence, Evidence, Store, join, shared};
use procedure::Condition;
use source::history::{History, NO_ROOM};
use source::results::Results;
use source::settle::Pace;
use source::{Answer, Wanted, shown};
use verdict::{Report, Subject};
use wording::{count, signed, span, wall};

/// How long a store must stand still where something is missing in it, unless told otherwise.
const STILL: Duration = Duration::from_secs(3);

/// Judges what the arguments name.
///
/// # Errors
/// When it cannot be read.
pub fn check(args: &CheckArgs) -> Result<Report> {
    let history = history(args)?.with_clock_error(args.clock_error);
    let mapping = mapping(args, &history)?;
    let mut evidence = history.collect(args.most_held)?;
    let read_lag = history.read_lag(args.read_lag)?;
    evidence.campaigns.iter_mut().for_each(|campaign| campaign.read_lag = read_lag);
    let selected = select(&evidence, args.campaign.as_deref())?;
    let stores = Stores::of(args, &history, mapping);
    if let Some(stores) = &stores {
        let orders = stores.orders(&history)?;
        let added = add_store(&mut evidence, &selected, (stores, &orders), &history);
        match added {
            // Nobody asked for this store: the history is judged without it.
            Err(why) if args.store.is_none() && args.mapping.is_none() => {
                unread(&mut evidence, &selected, &format!("{why:#}"))
            }
            added => added?,
        }
    }
    find_contradictions(&mut evidence, &selected, &history, args.without)?;
    evidence.compare(&selected).context(NO_ROOM)?;
    let mut report = judge(evidence, &selected, args.fail_on);
    report.subject = subject(&history, stores.as_ref());
    witness::recheck(&history, &mut report)?;
    Ok(report)
}

/// Completes the evidence with what takes all of it, and looks for what cannot be.
fn find_contradictions(
    evidence: &mut Evidence,
    selected: &[usize],
    history: &History,
    without: Option<Condition>,
) -> Result<()> {
    settle(evidence, selected)?;
    shared::find(&mut evidence.campaigns);
    history.find_refusals(&mut evidence.campaigns)?;
    selected.iter().try_for_each(|at| decide(evidence, *at, without))
}

/// Looks for what cannot be, and again with the plain coupons that belong to the proof of it.
fn decide(evidence: &mut Evidence, at: usize, without: Option<Condition>) -> Result<()> {
    let campaign = &mut evidence.campaigns[at];
    campaign.contradictions = procedure::decide_without(campaign, without);
    let mut lacking: Vec<Numbers> =
        campaign.contradictions.iter().filter_map(|found| found.lacks).collect();
    // Too many in all are proven by their codes.
    let too_many = !campaign.restock && campaign.consumed() as u64 > campaign.coupons;
    lacking.extend(too_many.then_some(Numbers::ALL));
    if lacking.is_empty() || campaign.acknowledged.plain().coupons == 0 {
        return Ok(());
    }
    let recalled = evidence.aside.recall(at, campaign, &lacking).context(NO_ROOM)?;
    evidence.aside.hold(recalled.iter().map(|(coupon, _)| coupon.told.op));
    campaign.acknowledged.recall(recalled);
    campaign.contradictions = procedure::decide_without(campaign, without);
    Ok(())
}

fn history(args: &CheckArgs) -> Result<History> {
    if let (Some(path), Some(how)) = (&args.history, &args.results) {
        return Ok(History::of_results(path, Results::load(how)?));
    }
    if let Some(path) = &args.history {
        return Ok(History::alone(path));
    }
    History::of_run(&args.run.clone().unwrap_or_else(|| PathBuf::from(RUNS_DIR).join(LATEST)))
}

/// The store that was asked for, or the one that the run names.
fn store(args: &CheckArgs, history: &History) -> Option<String> {
    let named = history.run.as_ref().and_then(|(run, _)| run.store.clone());
    args.store.clone().or(named)
}

/// How the store is read: as a file says, or as the run's scenario does.
fn mapping(args: &CheckArgs, history: &History) -> Result<Option<Mapping>> {
    if let Some(path) = &args.mapping {
        let mapping = Mapping::load(path)?;
        let variables = mapping.check_variables();
        variables.map_err(|what| anyhow!("{}: {what}", path.display()))?;
        return Ok(Some(mapping));
    }
    let Some((run, dir)) = &history.run else { return Ok(None) };
    let Some(said) = run.definition.get("store").filter(|said| !said.is_null()) else {
        return Ok(None);
    };
    let mapping = serde_json::from_value(said.clone());
    mapping.map(Some).with_context(|| format!("{}: the scenario's store", dir.display()))
}

/// Which stores are read, and how.
struct Stores {
    url: Option<String>,
    mapping: Option<Mapping>,
    pace: Pace,
}

impl Stores {
    fn of(args: &CheckArgs, history: &History, mapping: Option<Mapping>) -> Option<Self> {
        let asked = args.store.clone();
        let named = store(args, history);
        // A place that the mapping names counts before the one that the run names.
        let named = named.filter(|_| mapping.as_ref().is_none_or(|m| m.url.is_none()));
        let url = asked.or(named);
        if url.is_none() && mapping.is_none() {
            return None;
        }
        let said = mapping.as_ref().map(|m| m.settle).unwrap_or_default();
        let still = args.settle.or(said.still.map(Wait::duration)).unwrap_or(STILL);
        let pace = Pace::still(still).at_most(said.at_most.map(Wait::duration));
        Some(Self { url, mapping, pace })
    }

    /// What answers called the coupons that they told, where rows are found by that.
    fn orders(&self, history: &History) -> Result<Orders> {
        match &self.mapping {
            Some(_) => history.orders(),
            None => Ok(Orders::default()),
        }
    }

    fn name(&self) -> String {
        self.url.as_deref().map_or_else(|| "of the mapping".into(), shown)
    }
}

/// The numbers of the campaigns to judge.
fn select(evidence: &Evidence, wanted: Option<&str>) -> Result<Vec<usize>> {
    let Some(wanted) = wanted else { return Ok((0..evidence.campaigns.len()).collect()) };
    if let Some(at) = evidence.campaigns.iter().position(|c| c.name == wanted) {
        return Ok(vec![at]);
    }
    let there: Vec<&str> = evidence.campaigns.iter().take(10).map(|c| c.name.as_str()).collect();
    let more = evidence.campaigns.len() - there.len();
    bail!(
        "--campaign {wanted}: the history has no such campaign; it has {}{}",
        if there.is_empty() { "none".into() } else { there.join(", ") },
        if more > 0 { format!(" and {more} more") } else { String::new() }
    )
}

/// What is judged, for the head of the report.
fn subject(history: &History, stores: Option<&Stores>) -> Subject {
    let mut lines = Vec::new();
    match &history.run {
        Some((run, dir)) => {
            lines.push(format!("run {}, scenario {}", dir.display(), run.scenario));
            let starts = run.campaigns.iter().map(|c| c.starts_at_unix_ns.div_euclid(1_000));
            if let (Some(first), Some(last)) = (starts.clone().min(), starts.max()) {
                let to = if first == last { String::new() } else { format!(" to {}", wall(last)) };
                lines.push(format!("starts at {}{to}", wall(first)));
            }
        }
        None => lines.push(format!("history {}", history.path.display())),
    }
    if history.clock_error > 0 {
        lines.push(format!("its clocks agree within {}", span(history.clock_error)));
    }
    lines.push(match stores {
        Some(stores) if stores.mapping.is_some() => {
            format!("store {}, read as its mapping says", stores.name())
        }
        Some(stores) => format!("store {}", stores.name()),
        None => "no store".into(),
    });
    Subject { path: history.path.clone(), lines }
}

/// Without a store, or with one that could not be read, coupons are looked at alone.
fn settle(evidence: &mut Evidence, selected: &[usize]) -> Result<()> {
    if evidence.is_settled() {
        return Ok(());
    }
    sift(evidence, selected, &mut Ledgers::default()).context(NO_ROOM)?;
    evidence.settle().context(NO_ROOM)
}

/// Nothing can be said about what the store holds of these campaigns.
fn unread(evidence: &mut Evidence, selected: &[usize], why: &str) {
    for at in selected {
        evidence.campaigns[*at].unread(why.to_owned());
    }
}

fn add_store(
    evidence: &mut Evidence,
    selected: &[usize],
    (stores, orders): (&Stores, &Orders),
    history: &History,
) -> Result<()> {
    let names: Vec<String> =
        selected.iter().map(|at| evidence.campaigns[*at].name.clone()).collect();
    let campaigns: &[&str] = &names.iter().map(String::as_str).collect::<Vec<_>>();
    let base: Option<&Path> = history.run.as_ref().map(|(_, dir)| dir.as_path());
    let mut complete = |ledgers: &mut Ledgers| {
        sift(evidence, selected, ledgers).context(NO_ROOM)?;
        Ok(selected.iter().zip(&mut ledgers.of).all(|(at, ledger)| {
            let campaign = &evidence.campaigns[*at];
            ledger.as_mut().is_some_and(|ledger| {
                identify(ledger, &campaign.acknowledged, orders) && campaign.is_complete(ledger)
            })
        }))
    };
    let (url, mapping) = (stores.url.as_deref(), stores.mapping.as_ref());
    let wanted = Wanted { url, mapping, base, campaigns };
    let ledgers = match source::read(&wanted, &mut complete, stores.pace)? {
        Answer::Restless(why) => {
            unread(evidence, selected, &why);
            return Ok(());
        }
        Answer::Settled(ledgers) => ledgers,
    };
    evidence.settle().context(NO_ROOM)?;
    let run = history.run.as_ref().map(|(run, _)| run);
    for (at, ledger) in selected.iter().zip(ledgers.of) {
        let campaign = &mut evidence.campaigns[*at];
        match ledger {
            Some(ledger) => add_ledger(campaign, ledger, orders, run),
            None => campaign.unread(format!(
                "the store {} has no campaign {}",
                stores.name(),
                campaign.name
            )),
        }
    }
    Ok(())
}

fn add_ledger(
    campaign: &mut CampaignEvidence,
    mut ledger: Ledger,
    orders: &Orders,
    run: Option<&Run>,
) {
    let identified = !ledger.unlisted && identify(&mut ledger, &campaign.acknowledged, orders);
    let promised = run.and_then(|r| r.campaigns.iter().find(|c| c.id == campaign.name));
    if let Some(why) = stranger(campaign, &ledger, promised) {
        campaign.unread(why);
        return;
    }
    if let Some(coupons) = ledger.coupons.filter(|n| u64::try_from(*n) != Ok(campaign.coupons)) {
        campaign.gaps.push(format!(
            "the store has {coupons} coupons in campaign {}, the history says {}",
            campaign.name, campaign.coupons
        ));
    }
    if !identified {
        if !ledger.unlisted {
            let rows = i64::try_from(ledger.size()).unwrap_or(i64::MAX);
            ledger.counters.push(Counter::issued("ledger", rows));
        }
        campaign.store = Store::Counted(ledger);
        return;
    }
    campaign.join = Some(join::join(&campaign.acknowledged, &campaign.pending, &ledger.rows));
    campaign.store = Store::Settled(ledger);
}

/// Why the store's campaign is another one, of the same number. A run knows when its campaign
/// started; a history on its own can only compare codes.
fn stranger(
    campaign: &CampaignEvidence,
    ledger: &Ledger,
    promised: Option<&RunCampaign>,
) -> Option<String> {
    let name = &campaign.name;
    if let (Some(promised), Some(starts_at_us)) = (promised, ledger.starts_at_us) {
        let there = i128::from(starts_at_us) * 1_000;
        if (there - i128::from(promised.starts_at_unix_ns)).abs() >= 1_000 {
            let here = wall(promised.starts_at_unix_ns.div_euclid(1_000));
            let there = wall(starts_at_us);
            return Some(format!(
                "the store's campaign {name} starts at {there}, the run's at {here}: another \
                 campaign"
            ));
        }
        let coupons = ledger.coupons.filter(|n| u64::try_from(*n) != Ok(promised.coupons))?;
        return Some(format!(
            "the store's campaign {name} has {} coupons, the run's {}: another campaign",
            signed(coupons),
            count(promised.coupons)
        ));
    }
    let held: HashSet<&str> = ledger.rows.iter().map(|r| r.code.as_ref()).collect();
    let told = &campaign.acknowledged;
    let plain = told.plain().coupons > 0;
    let strange = ledger.tells(Column::Code) && !held.is_empty() && !told.is_empty() && !plain;
    (strange && !told.iter().any(|c| held.contains(c.code()))).then(|| {
        format!(
            "the store's campaign {name} holds none of the codes that clients were told: another \
             campaign, or another column"
        )
    })
}

/// Judges the selected campaigns. What is missing from the run is missing from each of them.
fn judge(evidence: Evidence, selected: &[usize], fail_on: Certainty) -> Report {
    let Evidence { campaigns, mut gaps, .. } = evidence;
    if campaigns.is_empty() {
        gaps.push("the history describes no campaign".into());
    }
    let mut chosen: Vec<CampaignEvidence> = campaigns
        .into_iter()
        .enumerate()
        .filter(|(at, _)| selected.binary_search(at).is_ok())
        .map(|(_, c)| c)
        .collect();
    for campaign in &mut chosen {
        campaign.gaps.splice(0..0, gaps.iter().cloned());
    }
    verdict::judge(chosen, gaps, fail_on)
}
