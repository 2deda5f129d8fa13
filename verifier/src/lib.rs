//! Tells whether a coupon launch was correct, and proves it.
//!
//! [`source`] reads a history and a store, [`evidence`] is what is known from them, [`check`] holds
//! the rules, [`verdict`] applies them, [`witness`] checks every proof again, and [`report`] writes
//! it down. No rule is shared with the server: a shared rule would share its bugs.

pub mod check;
pub mod cli;
pub mod evidence;
pub mod report;
pub mod source;
pub mod verdict;
pub mod witness;
pub mod wording;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use contract::run::{LATEST, RUNS_DIR};

use cli::CheckArgs;
use evidence::{CampaignEvidence, Evidence, Store, join, shared};
use source::history::History;
use source::settle::Pace;
use source::{Answer, without_password};
use verdict::Report;

/// Judges what the arguments name.
///
/// # Errors
/// When it cannot be read.
pub fn check(args: &CheckArgs) -> Result<Report> {
    let history = history(args)?;
    let mut evidence = history.collect()?;
    let selected = select(&evidence, args.campaign.as_deref())?;
    if let Some(url) = store(args, &history) {
        add_store(&mut evidence, &selected, &url, &history)?;
    }
    shared::find(&mut evidence.campaigns);
    history.find_refusals(&mut evidence.campaigns)?;
    let report = judge(evidence, &selected);
    witness::recheck(&history, &report.campaigns)?;
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

fn add_store(
    evidence: &mut Evidence,
    selected: &[usize],
    url: &str,
    history: &History,
) -> Result<()> {
    let names: Vec<&str> =
        selected.iter().map(|at| evidence.campaigns[*at].name.as_str()).collect();
    let base: Option<&Path> = history.run.as_ref().map(|(_, dir)| dir.as_path());
    match source::read(url, base, &names, Pace::default())? {
        Answer::Restless(why) => {
            for at in selected {
                let campaign = &mut evidence.campaigns[*at];
                campaign.gaps.push(why.clone());
                campaign.store = Store::Unread(why.clone());
            }
        }
        Answer::Settled(ledgers) => {
            for (at, ledger) in selected.iter().zip(ledgers) {
                add_ledger(&mut evidence.campaigns[*at], ledger, &without_password(url));
            }
        }
    }
    Ok(())
}

fn add_ledger(
    campaign: &mut CampaignEvidence,
    ledger: Option<evidence::ledger::Ledger>,
    url: &str,
) {
    let Some(ledger) = ledger else {
        let why = format!("the store {url} has no campaign {}", campaign.name);
        campaign.gaps.push(why.clone());
        campaign.store = Store::Unread(why);
        return;
    };
    if u64::try_from(ledger.coupons) != Ok(campaign.coupons) {
        campaign.gaps.push(format!(
            "the store has {} coupons in campaign {}, the history says {}",
            ledger.coupons, campaign.name, campaign.coupons
        ));
    }
    campaign.join = Some(join::join(&campaign.acknowledged, &campaign.pending, &ledger.rows));
    campaign.store = Store::Settled(ledger);
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
