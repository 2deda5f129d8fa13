//! For programs. The types here are the shape: the schema in `docs/verdict.schema.json` is derived
//! from them, and members may be added within a version.

use anyhow::Result;
use contract::store::Column;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value;

use crate::check::{Certainty, Check, Violation as Found};
use crate::evidence::ledger::Ledger;
use crate::evidence::{self, CampaignEvidence, Counts};
use crate::verdict::{Finding, Judged, Report, Verdict};
use crate::witness::Facts;
use crate::witness::proof::Proof;

/// The format's name and version.
pub const FORMAT: &str = "coupon-verdict/1";

/// What `verifier check --format json` prints.
#[derive(JsonSchema, Serialize)]
struct Document<'a> {
    /// Always `coupon-verdict/1`. Members may be added within a version.
    format: &'static str,
    /// The worst verdict of all campaigns.
    verdict: Verdict,
    /// How sure a violation had to be to make a campaign invalid (`--fail-on`).
    fail_on: Certainty,
    /// What was judged, in words, line by line.
    subject: &'a [String],
    /// One entry a campaign.
    campaigns: Vec<Campaign<'a>>,
    /// What is missing of the evidence as a whole. It stands in every campaign's `doubts` as well.
    gaps: &'a [String],
}

/// A campaign with its verdict.
#[derive(JsonSchema, Serialize)]
struct Campaign<'a> {
    /// Its id.
    campaign: &'a str,
    verdict: Verdict,
    /// What is proven.
    violations: Vec<Violation<'a>>,
    /// What is possible and not proven.
    possible: Vec<Violation<'a>>,
    /// Which checks could not run, and why.
    not_run: Vec<NotRun<'a>>,
    /// Findings of `evidence` and `thin-load`.
    doubts: Vec<Doubt<'a>>,
    /// What is worth knowing and changes no verdict.
    warnings: Vec<Doubt<'a>>,
    /// So many coupons were promised.
    coupons: u64,
    counts: Numbers,
    /// `null` where no store was read.
    store: Option<Store<'a>>,
}

/// A rule that was broken, or may have been. It can be cut out and checked again alone with
/// `verifier recheck`.
#[derive(JsonSchema, Serialize)]
struct Violation<'a> {
    check: &'a str,
    /// Whether no correct campaign can have done this, or clocks leave it open.
    certainty: Certainty,
    /// States the contradiction.
    sentence: &'a str,
    /// How the witness proves it, step by step; A is its first operation.
    because: &'a [String],
    /// What would make it harmless.
    benign_if: &'static str,
    /// By how much the rule was broken, in nanoseconds, where it is a matter of time.
    margin_ns: Option<i64>,
    /// How far the clocks are known to agree, in nanoseconds, where two are involved.
    clock_width_ns: Option<i64>,
    /// Numbers of the operations that prove it; empty where only the store contradicts itself.
    witness: Vec<u64>,
    /// All that it takes to check the claim again alone; `null` where there are no operations, or
    /// more than 20,000.
    proof: Option<Proof>,
}

#[derive(JsonSchema, Serialize)]
struct NotRun<'a> {
    check: &'a str,
    reason: &'a str,
}

#[derive(JsonSchema, Serialize)]
struct Doubt<'a> {
    check: &'a str,
    sentence: &'a str,
}

/// How many requests ended how.
#[derive(JsonSchema, Serialize)]
struct Numbers {
    requests: u64,
    issued: u64,
    sold_out: u64,
    not_started: u64,
    /// Told that there was no such campaign yet.
    not_found: u64,
    /// Told that the campaign was over.
    ended: u64,
    already_issued: u64,
    failed: u64,
    indeterminate: u64,
    reads: u64,
}

/// What the store held when it had settled.
#[derive(JsonSchema, Serialize)]
struct Store<'a> {
    /// `null` where the store was only counted.
    rows: Option<usize>,
    /// The counter of issued coupons that stands first.
    counter: Option<i128>,
    /// All counters, told as coupons issued.
    counters: Vec<Counter<'a>>,
    /// What tied rows and answers together; `null` where the store was only counted.
    joined_by: Option<&'static str>,
    /// Columns that rows lack.
    not_told: Vec<&'static str>,
    /// What else is worth knowing about how it was read.
    notes: &'a [String],
    /// So long it was watched. This is a measurement, and differs from run to run.
    settled_after_ms: u128,
    /// So many requests without an answer turned out to have a coupon.
    resolved: usize,
}

#[derive(JsonSchema, Serialize)]
struct Counter<'a> {
    name: &'a str,
    issued: i128,
}

/// The report as one JSON object.
///
/// # Errors
/// Never in practice: everything in it can be written as JSON.
pub fn render(report: &Report) -> Result<String> {
    let campaigns = report.campaigns.iter().map(|judged| campaign(judged, &report.facts));
    let document = Document {
        format: FORMAT,
        verdict: report.verdict,
        fail_on: report.fail_on,
        subject: &report.subject.lines,
        campaigns: campaigns.collect::<Result<_>>()?,
        gaps: &report.gaps,
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// One violation as it stands in the report.
///
/// # Errors
/// Never in practice: everything in it can be written as JSON.
pub fn one(report: &Report, finding: &Finding<'_>) -> Result<Value> {
    let e = &finding.judged.evidence;
    Ok(serde_json::to_value(violation(finding.check, finding.violation, e, &report.facts)?)?)
}

/// The JSON Schema of the report, draft 2020-12.
pub fn schema() -> String {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Document<'_>>();
    schema.insert("title".into(), "Verdict on a coupon launch".into());
    // An alternate form of a value that cannot be formatted is no case that there is.
    format!("{:#}\n", Value::from(schema))
}

fn campaign<'a>(judged: &'a Judged, facts: &Facts) -> Result<Campaign<'a>> {
    let e = &judged.evidence;
    let violation = |(check, found)| violation(check, found, e, facts);
    Ok(Campaign {
        campaign: &e.name,
        verdict: judged.verdict,
        violations: judged.violations().map(violation).collect::<Result<_>>()?,
        possible: judged.possible().map(violation).collect::<Result<_>>()?,
        not_run: judged.not_run().map(|(check, reason)| NotRun { check, reason }).collect(),
        doubts: judged.doubts().map(doubt).collect(),
        warnings: judged.warnings().map(doubt).collect(),
        coupons: e.coupons,
        counts: numbers(e.counts),
        store: e.said_by_store().map(|ledger| store(e, ledger)),
    })
}

fn violation<'a>(
    check: &'static str,
    found: &'a Found,
    e: &CampaignEvidence,
    facts: &Facts,
) -> Result<Violation<'a>> {
    Ok(Violation {
        check,
        certainty: found.certainty,
        sentence: &found.sentence,
        because: &found.because,
        benign_if: Check::named(check).map(|check| check.benign).unwrap_or_default(),
        margin_ns: found.margin,
        clock_width_ns: found.clock_width,
        witness: found.witness.iter().map(|op| op.op).collect(),
        proof: facts.proof(e, found)?,
    })
}

fn doubt<'a>((check, found): (&'static str, &'a Found)) -> Doubt<'a> {
    Doubt { check, sentence: &found.sentence }
}

fn store<'a>(e: &'a CampaignEvidence, ledger: &'a Ledger) -> Store<'a> {
    let counter =
        |c: &'a evidence::ledger::Counter| Counter { name: &c.name, issued: c.of(e.coupons) };
    Store {
        rows: e.ledger().map(Ledger::count),
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
        not_found: c.not_found,
        ended: c.ended,
        already_issued: c.already_issued,
        failed: c.failed,
        indeterminate: c.indeterminate,
        reads: c.reads,
    }
}
