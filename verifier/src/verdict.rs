//! From evidence to verdict: runs every check and lets the worst finding win.

use std::collections::HashMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use crate::check::{CHECKS, Certainty, EVIDENCE, Violation, Weight};
use crate::evidence::CampaignEvidence;
use crate::witness::Facts;

/// What can be said about a campaign. The worst one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize)]
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

    /// What the program ends with.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::Unknown => 3,
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

/// What is told of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A rule was broken: proven.
    Violation,
    /// A rule may have been broken, for all that is known of the clocks.
    Possible,
    /// The evidence is broken or thin.
    Doubt,
    /// Worth knowing.
    Warning,
}

/// One finding of one campaign.
#[derive(Clone, Copy, Debug)]
pub struct Finding<'a> {
    /// The campaign.
    pub judged: &'a Judged,
    /// The name of the check.
    pub check: &'static str,
    /// What is told of it.
    pub kind: Kind,
    /// What was found.
    pub violation: &'a Violation,
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
    /// What was judged.
    pub subject: Subject,
    /// How sure a violation must be to make a campaign invalid.
    pub fail_on: Certainty,
    /// What the witnesses rest on.
    pub facts: Facts,
}

/// Checks that could not run for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking<'a> {
    /// Why.
    pub reason: &'a str,
    /// Which.
    pub checks: Vec<&'static str>,
    /// In how many campaigns at least one of them could not.
    pub campaigns: usize,
}

/// What was judged.
#[derive(Debug, Default)]
pub struct Subject {
    /// The history, or the folder of the run.
    pub path: PathBuf,
    /// Everything, in words, line by line.
    pub lines: Vec<String>,
}

/// Judges every campaign. Gaps of the run as a whole are gaps of each campaign.
pub fn judge(campaigns: Vec<CampaignEvidence>, gaps: Vec<String>, fail_on: Certainty) -> Report {
    let campaigns = campaigns.into_iter().map(|campaign| judge_one(campaign, fail_on)).collect();
    let (subject, facts) = (Subject::default(), Facts::default());
    let verdict = Verdict::Unknown;
    let mut report = Report { verdict, campaigns, gaps, subject, fail_on, facts };
    report.verdict = report.worst();
    report
}

fn judge_one(evidence: CampaignEvidence, fail_on: Certainty) -> Judged {
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
    let verdict = worst(&results, fail_on);
    Judged { evidence, verdict, results }
}

fn worst(results: &[Checked], fail_on: Certainty) -> Verdict {
    let kinds = results.iter().flat_map(|r| r.found.iter().map(|v| r.kind(v)));
    let verdicts = kinds.map(|kind| match kind {
        Kind::Violation => Verdict::Invalid,
        Kind::Possible if fail_on == Certainty::Possible => Verdict::Invalid,
        Kind::Possible | Kind::Warning => Verdict::Valid,
        Kind::Doubt => Verdict::Unknown,
    });
    verdicts.fold(Verdict::Valid, Verdict::max)
}

impl Checked {
    /// What is told of one of its findings.
    pub fn kind(&self, violation: &Violation) -> Kind {
        match (self.weight, violation.certainty) {
            (Weight::Proof, Certainty::Proven) => Kind::Violation,
            (Weight::Proof, Certainty::Possible) => Kind::Possible,
            (Weight::Doubt, _) => Kind::Doubt,
            (Weight::Warning, _) => Kind::Warning,
        }
    }

    /// The worst that it found.
    pub fn worst(&self) -> Option<Kind> {
        let kinds = || self.found.iter().map(|v| self.kind(v));
        kinds().find(|kind| *kind == Kind::Violation).or_else(|| kinds().next())
    }
}

impl Report {
    /// Takes back every violation for which `wrong` has a reason. What is left of it is a gap in
    /// the evidence: nobody knows what else went wrong.
    pub fn withdraw(&mut self, wrong: impl Fn(&CampaignEvidence, &Violation) -> Option<String>) {
        for judged in &mut self.campaigns {
            judged.withdraw(&wrong, self.fail_on);
        }
        self.verdict = self.worst();
    }

    /// The worst verdict of all, and never valid where something is missing or nothing is there.
    fn worst(&self) -> Verdict {
        let whole = self.gaps.is_empty() && !self.campaigns.is_empty();
        let shared = if whole { Verdict::Valid } else { Verdict::Unknown };
        self.campaigns.iter().map(|j| j.verdict).fold(shared, Verdict::max)
    }

    /// What could not run, by what is missing for it, over all campaigns, and in how many of them.
    pub fn lacking(&self) -> Vec<Lacking<'_>> {
        let mut all: Vec<Lacking<'_>> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        for (reason, checks) in self.campaigns.iter().flat_map(Judged::lacking) {
            let at = *known.entry(reason).or_insert_with(|| {
                all.push(Lacking { reason, checks: Vec::new(), campaigns: 0 });
                all.len() - 1
            });
            let lacking = &mut all[at];
            lacking.campaigns += 1;
            let new = checks.into_iter().filter(|check| !lacking.checks.contains(check));
            let new: Vec<&'static str> = new.collect();
            lacking.checks.extend(new);
        }
        all
    }

    /// Everything that was found in all campaigns.
    pub fn findings(&self) -> impl Iterator<Item = Finding<'_>> {
        self.campaigns.iter().flat_map(Judged::findings)
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
        ("resurrected", e.restock && e.ledger().is_some()),
    ];
    // With a store, only what it holds in the end was looked at.
    let told = e.restock && e.counts.issued > 0;
    let coming_back = [
        ("over-issued", told),
        ("duplicate-code", told),
        ("per-user-limit", told && limited),
        ("lost", told || e.restock && e.counts.already_issued > 0),
    ];
    let why = match e.per_user {
        _ if e.restock => Some("not proven: coupons may come back in this campaign"),
        Some(limit) if limit.limit > 1 => Some("not proven: a user may hold several coupons"),
        Some(_) | None => None,
    };
    let seen = facts.into_iter().chain(coming_back).filter(|(_, seen)| *seen);
    why.into_iter().flat_map(move |why| seen.clone().map(move |(check, _)| (check, why.to_owned())))
}

impl Judged {
    fn withdraw(
        &mut self,
        wrong: &impl Fn(&CampaignEvidence, &Violation) -> Option<String>,
        fail_on: Certainty,
    ) {
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
        self.verdict = worst(&self.results, fail_on);
    }

    /// Everything that was found, in the order of the checks.
    pub fn findings(&self) -> impl Iterator<Item = Finding<'_>> {
        self.results.iter().flat_map(move |r| {
            let finding = |violation| Finding {
                judged: self,
                check: r.check,
                kind: r.kind(violation),
                violation,
            };
            r.found.iter().map(finding)
        })
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&'static str, &Violation)> {
        self.findings().filter(move |f| f.kind == kind).map(|f| (f.check, f.violation))
    }

    /// What is proven, with the name of the check.
    pub fn violations(&self) -> impl Iterator<Item = (&'static str, &Violation)> {
        self.of_kind(Kind::Violation)
    }

    /// What is possible and not proven, with the name of the check.
    pub fn possible(&self) -> impl Iterator<Item = (&'static str, &Violation)> {
        self.of_kind(Kind::Possible)
    }

    /// What is missing, with the name of the check.
    pub fn doubts(&self) -> impl Iterator<Item = (&'static str, &Violation)> {
        self.of_kind(Kind::Doubt)
    }

    /// What is worth knowing, with the name of the check.
    pub fn warnings(&self) -> impl Iterator<Item = (&'static str, &Violation)> {
        self.of_kind(Kind::Warning)
    }

    /// What could not run, and why.
    pub fn not_run(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.results.iter().filter_map(|r| Some((r.check, r.not_run.as_deref()?)))
    }

    /// What could not run, by what is missing for it.
    pub fn lacking(&self) -> Vec<(&str, Vec<&'static str>)> {
        let mut reasons: Vec<(&str, Vec<&'static str>)> = Vec::new();
        for (check, reason) in self.not_run() {
            match reasons.iter_mut().find(|(r, _)| *r == reason) {
                Some((_, checks)) => checks.push(check),
                None => reasons.push((reason, vec![check])),
            }
        }
        reasons
    }
}
