//! Checks witnesses again that stand alone in a file: a report in JSON, or one of its violations.
//!
//! Nothing of the run is needed. What the operations were told and when is taken from the proof's own
//! history, and the claim is checked on it by the same routines that checked it in the first place.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use contract::history::jsonl;
use serde::Deserialize;
use serde_json::Value;

use super::proof::Proof;
use super::{Facts, Wanted, claim, once};
use crate::check::Claim;
use crate::report::json::FORMAT;
use crate::verdict::Verdict;
use crate::wording::{safe, things};

/// A claim that was checked again.
#[derive(Debug)]
pub struct Rechecked {
    /// The name of the check.
    pub check: String,
    /// What was claimed.
    pub sentence: String,
    /// What came of it.
    pub held: Held,
}

/// Whether a claim holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The operations prove it.
    Yes,
    /// They do not, for this reason.
    No(String),
    /// The witness alone cannot tell, for this reason.
    Open(String),
}

/// A violation, as far as it is read.
#[derive(Debug, Deserialize)]
struct Witness {
    check: String,
    sentence: String,
    witness: Vec<u64>,
    proof: Option<Proof>,
}

#[derive(Debug, Deserialize)]
struct Report {
    format: String,
    campaigns: Vec<Campaign>,
}

#[derive(Debug, Deserialize)]
struct Campaign {
    violations: Vec<Witness>,
    possible: Vec<Witness>,
}

/// Checks every witness of a file again.
///
/// # Errors
/// When it cannot be read, or is neither a report nor a violation.
pub fn recheck(path: &Path) -> Result<Vec<Rechecked>> {
    let named = || path.display().to_string();
    let text = std::fs::read(path).with_context(named)?;
    let witnesses = witnesses(&text).with_context(named)?;
    witnesses.into_iter().map(|witness| witness.recheck().with_context(named)).collect()
}

fn witnesses(text: &[u8]) -> Result<Vec<Witness>> {
    let value: Value = serde_json::from_slice(text).context("no JSON")?;
    if value.get("campaigns").is_some() {
        let report: Report = serde_json::from_value(value).context("not a report")?;
        ensure!(report.format == FORMAT, "format {:?}: expected {FORMAT:?}", report.format);
        let all = report.campaigns.into_iter();
        return Ok(all.flat_map(|c| c.violations.into_iter().chain(c.possible)).collect());
    }
    if value.get("witness").is_none() {
        bail!("neither a report of `verifier check --format json` nor one of its violations");
    }
    Ok(vec![serde_json::from_value(value).context("not a violation")?])
}

impl Witness {
    fn recheck(self) -> Result<Rechecked> {
        let held = match &self.proof {
            Some(proof) => {
                self.held(proof).with_context(|| format!("the proof of {}", self.check))?
            }
            None if self.witness.is_empty() => Held::Open("it is about the store alone".into()),
            None => Held::Open("its operations are too many to stand in the report".into()),
        };
        Ok(Rechecked { check: self.check, sentence: self.sentence, held })
    }

    fn held(&self, proof: &Proof) -> Result<Held> {
        let facts = facts(&proof.history)?;
        let told = self.witness.iter().try_for_each(|op| facts.raw(*op).map(drop));
        let holds = told
            .and_then(|()| once(&self.witness))
            .and_then(|()| claim::holds(proof.claim, &self.witness, &proof.context, &facts));
        Ok(match holds {
            Err(why) => Held::No(why.to_string()),
            Ok(()) if proof.claim == Claim::Told => {
                Held::Open("it compares answers with what else the run or the store holds".into())
            }
            Ok(()) => Held::Yes,
        })
    }
}

fn facts(history: &[Value]) -> Result<Facts> {
    let text: String = history.iter().map(|line| format!("{line}\n")).collect();
    let wanted = Wanted { everything: true, ..Wanted::default() };
    let mut facts = Facts::default();
    let take = &mut |event: contract::history::Event<'_>| facts.take(event, &wanted);
    let integrity = jsonl::read_from(std::io::Cursor::new(text), Path::new("history"), take)?;
    ensure!(integrity.gaps.is_empty(), "{}", integrity.gaps.join("; "));
    Ok(facts)
}

/// One verdict over all: a claim that does not hold is `invalid`, one that is left open `unknown`.
pub fn verdict(all: &[Rechecked]) -> Verdict {
    let verdicts = all.iter().map(|rechecked| match rechecked.held {
        Held::Yes => Verdict::Valid,
        Held::No(_) => Verdict::Invalid,
        Held::Open(_) => Verdict::Unknown,
    });
    verdicts.fold(Verdict::Valid, Verdict::max)
}

/// What came of each, in words.
pub fn render(all: &[Rechecked]) -> String {
    let line = |one: &Rechecked| {
        let claimed = format!("{}: {}", safe(&one.check), safe(&one.sentence));
        match &one.held {
            Held::Yes => format!("holds          {claimed}\n"),
            Held::No(why) => format!("does not hold  {claimed}\n               {}\n", safe(why)),
            Held::Open(why) => format!("open           {claimed}\n               {}\n", safe(why)),
        }
    };
    let lines: String = all.iter().map(line).collect();
    let number = |wanted: fn(&Held) -> bool| all.iter().filter(|one| wanted(&one.held)).count();
    let holding = number(|held| *held == Held::Yes);
    let wrong = number(|held| matches!(held, Held::No(_)));
    let open = number(|held| matches!(held, Held::Open(_)));
    let all = things(all.len(), "claim");
    format!("{lines}{all}: {holding} hold, {wrong} do not, {open} cannot be checked alone\n")
}
