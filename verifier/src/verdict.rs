//! From evidence to verdict: runs every check and lets the worst finding win.

use serde::Serialize;

use crate::check::{CHECKS, EVIDENCE, Violation, Weight};
use crate::evidence::CampaignEvidence;

/// What can be said about a campaign. The worst one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A correct campaign could have produced everything that was seen.
    Valid,
    /// Nothing is proven, but something is missing without which nothing is cleared either.
    Unknown,
    /// It is proven that no correct campaign could have produced this.
    Invalid,
}

impl Verdict {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
        }
    }
}

/// A campaign with its verdict.
#[derive(Debug)]
pub struct Judged {
    /// The evidence.
    pub evidence: CampaignEvidence,
    /// The verdict.
    pub verdict: Verdict,
    /// One entry a check, in the order of [`CHECKS`].
    pub results: Vec<Checked>,
}

/// What came of one check.
#[derive(Debug)]
pub struct Checked {
    /// Its name.
    pub check: &'static str,
    /// What a finding means.
    pub weight: Weight,
    /// What it found.
    pub found: Vec<Violation>,
    /// Why it could not run.
    pub not_run: Option<String>,
}

/// All campaigns, with the verdict over all of them.
#[derive(Debug)]
pub struct Report {
    /// The worst verdict of all.
    pub verdict: Verdict,
    /// Every campaign.
    pub campaigns: Vec<Judged>,
    /// What is missing and belongs to no single campaign.
    pub gaps: Vec<String>,
    /// What was judged, in words, line by line.
    pub subject: Vec<String>,
}

/// Judges every campaign. Gaps of the run as a whole are gaps of each campaign.
pub fn judge(campaigns: Vec<CampaignEvidence>, gaps: Vec<String>) -> Report {
    let judged: Vec<Judged> = campaigns.into_iter().map(judge_one).collect();
    let shared =
        if gaps.is_empty() && !judged.is_empty() { Verdict::Valid } else { Verdict::Unknown };
    let verdict = judged.iter().map(|j| j.verdict).fold(shared, Verdict::max);
    Report { verdict, campaigns: judged, gaps, subject: Vec::new() }
}

fn judge_one(evidence: CampaignEvidence) -> Judged {
    let open: Vec<(&str, String)> = not_judged(&evidence).collect();
    let results: Vec<Checked> = CHECKS
        .iter()
        .map(|check| {
            let found = (check.find)(&evidence);
            let partly = || open.iter().find(|(name, _)| *name == check.name).map(|o| o.1.clone());
            let missing = check.needs.missing(&evidence).or_else(partly);
            let not_run = missing.filter(|_| found.is_empty());
            Checked { check: check.name, weight: check.weight, found, not_run }
        })
        .collect();
    let verdict = worst(&results);
    Judged { evidence, verdict, results }
}

fn worst(results: &[Checked]) -> Verdict {
    let verdicts = results.iter().map(|r| match r.weight {
        _ if r.found.is_empty() => Verdict::Valid,
        Weight::Warning => Verdict::Valid,
        Weight::Doubt => Verdict::Unknown,
        Weight::Proof => Verdict::Invalid,
    });
    verdicts.fold(Verdict::Valid, Verdict::max)
}

impl Report {
    /// Takes back every violation for which `wrong` has a reason. What is left of it is a gap in
    /// the evidence: nobody knows what else went wrong.
    pub fn withdraw(&mut self, wrong: impl Fn(&CampaignEvidence, &Violation) -> Option<String>) {
        let mut shared = if self.gaps.is_empty() { Verdict::Valid } else { Verdict::Unknown };
        if self.campaigns.is_empty() {
            shared = Verdict::Unknown;
        }
        for judged in &mut self.campaigns {
            judged.withdraw(&wrong);
        }
        self.verdict = self.campaigns.iter().map(|j| j.verdict).fold(shared, Verdict::max);
    }
}

/// Facts in the evidence that no check looks at: green must not hide them.
fn not_judged(e: &CampaignEvidence) -> impl Iterator<Item = (&'static str, String)> {
    let limited = e.per_user.is_some_and(|limit| limit.limit > 0);
    let facts = [
        ("issued-after-sold-out", e.counts.sold_out > 0),
        ("under-issued", e.counts.sold_out > 0),
        ("unfounded-already-issued", limited && e.counts.already_issued > 0),
        ("refused-holder", limited && e.counts.sold_out > 0),
        ("contradicting-counts", e.counts.ranked > 0 || !e.reads.is_empty()),
        ("contradicting-snapshots", !e.reads.lists.is_empty()),
    ];
    let why = match e.per_user {
        _ if e.restock => Some("not proven: coupons may come back in this campaign"),
        Some(limit) if limit.limit > 1 => Some("not proven: a user may hold several coupons"),
        Some(_) | None => None,
    };
    let seen = facts.into_iter().filter(|(_, seen)| *seen);
    why.into_iter().flat_map(move |why| seen.clone().map(move |(check, _)| (check, why.to_owned())))
}

impl Judged {
    fn withdraw(&mut self, wrong: &impl Fn(&CampaignEvidence, &Violation) -> Option<String>) {
        let mut gaps = Vec::new();
        for result in self.results.iter_mut().filter(|r| r.weight == Weight::Proof) {
            let before = result.found.len();
            result.found.retain(|violation| {
                let why = wrong(&self.evidence, violation);
                gaps.extend(why.iter().map(|why| {
                    format!(
                        "internal error: the witness of {} does not hold: {why}, so that it is not \
                         proven that {}; please report this",
                        result.check, violation.sentence
                    )
                }));
                why.is_none()
            });
            if before > 0 && result.found.is_empty() {
                result.not_run = Some("its witness does not hold".into());
            }
        }
        if let Some(evidence) = self.results.iter_mut().find(|r| r.check == EVIDENCE) {
            evidence.found.extend(gaps.into_iter().map(Violation::new));
        }
        self.verdict = worst(&self.results);
    }

    /// What is proven, with the name of the check.
    pub fn violations(&self) -> impl Iterator<Item = (&'static str, &Violation)> {
        let proofs = self.results.iter().filter(|r| r.weight == Weight::Proof);
        proofs.flat_map(|r| r.found.iter().map(|v| (r.check, v)))
    }

    /// What is missing, with the name of the check.
    pub fn doubts(&self) -> impl Iterator<Item = (&'static str, &Violation)> {
        let doubts = self.results.iter().filter(|r| r.weight == Weight::Doubt);
        doubts.flat_map(|r| r.found.iter().map(|v| (r.check, v)))
    }

    /// What is worth knowing, with the name of the check.
    pub fn warnings(&self) -> impl Iterator<Item = (&'static str, &Violation)> {
        let warnings = self.results.iter().filter(|r| r.weight == Weight::Warning);
        warnings.flat_map(|r| r.found.iter().map(|v| (r.check, v)))
    }

    /// What could not run, and why.
    pub fn not_run(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.results.iter().filter_map(|r| Some((r.check, r.not_run.as_deref()?)))
    }
}
