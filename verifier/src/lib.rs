//! Tells whether a coupon launch was correct, and proves it.
//!
//! [`source`] reads a history and a store, [`evidence`] is what is known from them, [`check`] holds
//! the rules, [`verdict`] applies them, [`witness`] checks every proof again, and [`report`] writes
//! it down. No rule is shared with the server: a shared rule would share its bugs.

pub mod check;
pub mod cli;
pub mod evidence;
pub mod procedure;
pub mod report;
pub mod source;
pub mod verdict;
pub mod witness;
pub mod wording;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use contract::run::{LATEST, RUNS_DIR, Run, RunCampaign};

use cli::CheckArgs;
use evidence::ledger::Ledger;
use evidence::{CampaignEvidence, Evidence, Store, join, shared};
use source::history::History;
use source::settle::Pace;
use source::{Answer, Wanted, shown};
use verdict::Report;
use wording::{count, signed, wall};

/// Judges what the arguments name.
///
/// # Errors
/// When it cannot be read.
pub fn check(args: &CheckArgs) -> Result<Report> {
    let history = history(args)?;
    let mut evidence = history.collect()?;
    let selected = select(&evidence, args.campaign.as_deref())?;
    if let Some(url) = store(args, &history) {
        let added = add_store(&mut evidence, &selected, &url, &history, Pace::still(args.settle));
        match added {
            // Nobody asked for this store: the history is judged without it.
            Err(why) if args.store.is_none() => {
                unread(&mut evidence, &selected, &format!("{why:#}"))
            }
            added => added?,
        }
    }
    shared::find(&mut evidence.campaigns);
    history.find_refusals(&mut evidence.campaigns)?;
    for at in &selected {
        let campaign = &mut evidence.campaigns[*at];
        campaign.read_lag = i64::try_from(args.read_lag.as_nanos()).unwrap_or(i64::MAX);
        campaign.contradictions = procedure::decide_without(campaign, args.without);
    }
    let mut report = judge(evidence, &selected);
    report.subject = subject(args, &history);
    witness::recheck(&history, &mut report)?;
    Ok(report)
}

fn history(args: &CheckArgs) -> Result<History> {
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
fn subject(args: &CheckArgs, history: &History) -> Vec<String> {
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
    lines.push(match store(args, history) {
        Some(url) => format!("store {}", shown(&url)),
        None => "no store".into(),
    });
    lines
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
    url: &str,
    history: &History,
    pace: Pace,
) -> Result<()> {
    let chosen: Vec<&CampaignEvidence> =
        selected.iter().map(|at| &evidence.campaigns[*at]).collect();
    let campaigns: &[&str] = &chosen.iter().map(|c| c.name.as_str()).collect::<Vec<_>>();
    let base: Option<&Path> = history.run.as_ref().map(|(_, dir)| dir.as_path());
    let complete = |ledgers: &[Option<Ledger>]| {
        chosen.iter().zip(ledgers).all(|(c, l)| l.as_ref().is_some_and(|l| c.is_complete(l)))
    };
    let answer = source::read(&Wanted { url, base, campaigns }, &complete, pace)?;
    let ledgers = match answer {
        Answer::Restless(why) => {
            unread(evidence, selected, &why);
            return Ok(());
        }
        Answer::Settled(ledgers) => ledgers,
    };
    let run = history.run.as_ref().map(|(run, _)| run);
    for (at, ledger) in selected.iter().zip(ledgers) {
        add_ledger(&mut evidence.campaigns[*at], ledger, &shown(url), run);
    }
    Ok(())
}

fn add_ledger(
    campaign: &mut CampaignEvidence,
    ledger: Option<Ledger>,
    url: &str,
    run: Option<&Run>,
) {
    let Some(ledger) = ledger else {
        campaign.unread(format!("the store {url} has no campaign {}", campaign.name));
        return;
    };
    let promised = run.and_then(|r| r.campaigns.iter().find(|c| c.id == campaign.name));
    if let Some(why) = stranger(campaign, &ledger, promised) {
        campaign.unread(why);
        return;
    }
    if u64::try_from(ledger.coupons) != Ok(campaign.coupons) {
        campaign.gaps.push(format!(
            "the store has {} coupons in campaign {}, the history says {}",
            ledger.coupons, campaign.name, campaign.coupons
        ));
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
    if let Some(promised) = promised {
        let there = i128::from(ledger.starts_at_us) * 1_000;
        if (there - i128::from(promised.starts_at_unix_ns)).abs() >= 1_000 {
            let here = wall(promised.starts_at_unix_ns.div_euclid(1_000));
            let there = wall(ledger.starts_at_us);
            return Some(format!(
                "the store's campaign {name} starts at {there}, the run's at {here}: another \
                 campaign"
            ));
        }
        return (u64::try_from(ledger.coupons) != Ok(promised.coupons)).then(|| {
            format!(
                "the store's campaign {name} has {} coupons, the run's {}: another campaign",
                signed(ledger.coupons),
                count(promised.coupons)
            )
        });
    }
    let held: HashSet<&str> = ledger.rows.iter().map(|r| r.code.as_ref()).collect();
    let told = &campaign.acknowledged;
    let strange = !held.is_empty() && !told.is_empty();
    (strange && !told.iter().any(|c| held.contains(c.code()))).then(|| {
        format!(
            "the store's campaign {name} holds none of the codes that clients were told: another \
             campaign"
        )
    })
}

/// Judges the selected campaigns. What is missing from the run is missing from each of them.
fn judge(evidence: Evidence, selected: &[usize]) -> Report {
    let Evidence { campaigns, mut gaps } = evidence;
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
    verdict::judge(chosen, gaps)
}
