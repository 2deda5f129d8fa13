//! For programs. The shape is documented in `docs/checks.md`.

use anyhow::Result;
use contract::store::Column;
use serde::Serialize;

use crate::evidence::ledger::Ledger;
use crate::evidence::{self, CampaignEvidence, Counts};
use crate::verdict::{Judged, Report, Verdict};

#[derive(Serialize)]
struct Document<'a> {
    verdict: Verdict,
    campaigns: Vec<Campaign<'a>>,
    gaps: &'a [String],
}

#[derive(Serialize)]
struct Campaign<'a> {
    campaign: &'a str,
    verdict: Verdict,
    violations: Vec<Violation<'a>>,
    not_run: Vec<NotRun<'a>>,
    doubts: Vec<Doubt<'a>>,
    warnings: Vec<Doubt<'a>>,
    coupons: u64,
    counts: Numbers,
    store: Option<Store<'a>>,
}

#[derive(Serialize)]
struct Violation<'a> {
    check: &'a str,
    sentence: &'a str,
    witness: Vec<u64>,
}

#[derive(Serialize)]
struct NotRun<'a> {
    check: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Doubt<'a> {
    check: &'a str,
    sentence: &'a str,
}

#[derive(Serialize)]
struct Numbers {
    requests: u64,
    issued: u64,
    sold_out: u64,
    not_started: u64,
    already_issued: u64,
    failed: u64,
    indeterminate: u64,
    reads: u64,
}

#[derive(Serialize)]
struct Store<'a> {
    /// `null` where the store was only counted.
    rows: Option<usize>,
    /// The counter of issued coupons that stands first.
    counter: Option<i128>,
    counters: Vec<Counter<'a>>,
    joined_by: Option<&'static str>,
    not_told: Vec<&'static str>,
    notes: &'a [String],
    settled_after_ms: u128,
    resolved: usize,
}

#[derive(Serialize)]
struct Counter<'a> {
    name: &'a str,
    issued: i128,
}

/// The report as one JSON object.
///
/// # Errors
/// Never in practice: everything in it can be written as JSON.
pub fn render(report: &Report) -> Result<String> {
    let document = Document {
        verdict: report.verdict,
        campaigns: report.campaigns.iter().map(campaign).collect(),
        gaps: &report.gaps,
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn campaign(judged: &Judged) -> Campaign<'_> {
    let e = &judged.evidence;
    Campaign {
        campaign: &e.name,
        verdict: judged.verdict,
        violations: judged
            .violations()
            .map(|(check, v)| Violation {
                check,
                sentence: &v.sentence,
                witness: v.witness.iter().map(|op| op.op).collect(),
            })
            .collect(),
        not_run: judged.not_run().map(|(check, reason)| NotRun { check, reason }).collect(),
        doubts: (judged.doubts())
            .map(|(check, v)| Doubt { check, sentence: &v.sentence })
            .collect(),
        warnings: (judged.warnings())
            .map(|(check, v)| Doubt { check, sentence: &v.sentence })
            .collect(),
        coupons: e.coupons,
        counts: numbers(e.counts),
        store: e.said_by_store().map(|ledger| store(e, ledger)),
    }
}

fn store<'a>(e: &'a CampaignEvidence, ledger: &'a Ledger) -> Store<'a> {
    let counter =
        |c: &'a evidence::ledger::Counter| Counter { name: &c.name, issued: c.of(e.coupons) };
    Store {
        rows: e.ledger().map(|l| l.rows.len()),
        counter: ledger.counters.first().map(|c| c.of(e.coupons)),
        counters: ledger.counters.iter().map(counter).collect(),
        joined_by: e.ledger().map(|l| l.joined_by.unwrap_or(Column::Code).name()),
        not_told: ledger.lacks.iter().map(|column| column.name()).collect(),
        notes: &ledger.notes,
        settled_after_ms: ledger.settled_after.as_millis(),
        resolved: e.resolved().count(),
    }
}

fn numbers(c: Counts) -> Numbers {
    Numbers {
        requests: c.requests,
        issued: c.issued,
        sold_out: c.sold_out,
        not_started: c.not_started,
        already_issued: c.already_issued,
        failed: c.failed,
        indeterminate: c.indeterminate,
        reads: c.reads,
    }
}
