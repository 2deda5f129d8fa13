//! For programs. The shape is documented in `docs/checks.md`.

use anyhow::Result;
use serde::Serialize;

use crate::evidence::Counts;
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
    coupons: u64,
    counts: Numbers,
    store: Option<Store>,
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
struct Store {
    rows: usize,
    counter: i64,
    settled_after_ms: u128,
    resolved: usize,
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
        coupons: e.coupons,
        counts: numbers(e.counts),
        store: e.ledger().map(|l| Store {
            rows: l.rows.len(),
            counter: l.counter,
            settled_after_ms: l.settled_after.as_millis(),
            resolved: e.resolved().count(),
        }),
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
