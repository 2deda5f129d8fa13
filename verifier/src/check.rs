//! The checks: a table of small pure functions, one file each. The table is also what
//! `verifier checks` prints.

mod contradicting_counts;
mod contradicting_snapshots;
mod contradiction;
mod duplicate_code;
mod early_issue;
mod evidence;
mod gate_flapped;
mod idempotency;
mod issued_after_ended;
mod issued_after_sold_out;
mod late_start;
mod latency_grows;
mod ledger_mismatch;
mod lost;
mod malformed_code;
mod over_issued;
mod per_user_limit;
mod phantom;
mod refused_holder;
mod resurrected;
#[cfg(test)]
pub(crate) mod sample;
mod starved_instance;
mod store_settings;
mod thin_load;
mod under_issued;
mod unfairness;
mod unfounded_already_issued;
mod wrong_refusal;

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::evidence::{CampaignEvidence, Op, Store};

pub use malformed_code::is_well_formed;

/// One check.
#[derive(Debug)]
pub struct Check {
    /// Its name, for people and programs.
    pub name: &'static str,
    /// The rule in words.
    pub rule: &'static str,
    /// The evidence without which it cannot run.
    pub needs: Needs,
    /// What a finding means.
    pub weight: Weight,
    /// What would make a finding harmless.
    pub benign: &'static str,
    /// Finds what breaks the rule.
    pub find: fn(&CampaignEvidence) -> Vec<Violation>,
}

/// The evidence a check needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any history. Where the store was read as well, it looks there too.
    History,
    /// A history with so few coupons, or so few campaigns, that each coupon is compared with others.
    Each,
    /// A history in which the start has a place.
    Start,
    /// A history without a hole, or the store.
    WholeOrStore,
    /// Any history. What the store adds to it needs one without a hole.
    WholeForStore,
    /// A history without a hole. What is there is judged in any.
    WholeHistory,
    /// The settled store, or only its counts.
    Counts,
    /// How the store is set up.
    Settings,
    /// The settled store.
    Store,
    /// The settled store and a history without a hole.
    WholeAndStore,
}

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The campaign is invalid: this is a proof.
    Proof,
    /// Nothing can be concluded from the absence of proof.
    Doubt,
    /// Worth knowing. It changes no verdict.
    Warning,
}

/// How sure it is that a rule was broken.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Deserialize,
    JsonSchema,
    Serialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// It may have been, for all that is known of the clocks
    Possible,
    /// No correct campaign can have done this
    #[default]
    Proven,
}

/// A contradiction, with the operations that prove it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violation {
    /// States the contradiction in one sentence.
    pub sentence: String,
    /// How sure it is.
    pub certainty: Certainty,
    /// By how much the rule was broken, in nanoseconds, where it is a matter of time.
    pub margin: Option<i64>,
    /// How far the clocks are known to agree, in nanoseconds, where two are involved.
    pub clock_width: Option<i64>,
    /// The operations that prove it.
    pub witness: Vec<Op>,
    /// How they prove it, step by step.
    pub because: Vec<String>,
    /// What is checked again before this is printed.
    pub claim: Claim,
}

/// What a witness claims beyond what its operations were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Claim {
    /// Nothing.
    #[default]
    Told,
    /// The first was over before the second was sent.
    Before,
    /// The first was over before the start could have happened.
    BeforeStart,
    /// The first was sent after the start must have happened.
    AfterStart,
    /// The first was over before the latest moment at which the start can have been.
    PerhapsBeforeStart,
    /// The first was sent after the earliest moment at which the start can have been.
    PerhapsAfterStart,
    /// They were told more different codes than there are coupons.
    TooMany,
    /// The first was told a code that is none.
    Malformed,
    /// All were told the same code.
    SameCode,
    /// Answers told ranks that one coupon, or this campaign, cannot have.
    Ranks,
    /// All are of one user.
    SameUser,
    /// All are of one user and carry one key.
    SameKey,
    /// Nothing that its user had asked for by the end of the first can have consumed a coupon.
    NoRequest,
    /// Two users were told one code, or one user two.
    OtherCode,
    /// A read saw a number of coupons that there never can be.
    Impossible,
    /// A list holds a code that nobody was told and the store does not hold.
    Unstored,
    /// Of two lists, neither holds all of the other.
    ListsDiffer,
    /// By the end of the first at least as many coupons had been issued as the number of the second,
    /// which was sent later and is in the store; none of the others is, though told before.
    WentBack,
    /// More of them consumed a coupon than there are numbers above the one and up to the other.
    Crowded {
        /// Coupons before them.
        above: u64,
        /// The last of them.
        upto: u64,
    },
    /// Fewer requests of the campaign can have consumed a coupon than there are numbers above the one
    /// and up to the other, all of which were consumed.
    Hollow {
        /// Coupons before them.
        above: u64,
        /// The last of them.
        upto: u64,
    },
}

/// Every check there is, in the order in which they are reported.
pub const CHECKS: &[Check] = &[
    evidence::CHECK,
    thin_load::CHECK,
    over_issued::CHECK,
    issued_after_sold_out::CHECK,
    issued_after_ended::CHECK,
    under_issued::CHECK,
    duplicate_code::CHECK,
    malformed_code::CHECK,
    early_issue::CHECK,
    late_start::CHECK,
    gate_flapped::CHECK,
    per_user_limit::CHECK,
    unfounded_already_issued::CHECK,
    refused_holder::CHECK,
    idempotency::CHECK,
    contradicting_counts::CHECK,
    contradicting_snapshots::CHECK,
    lost::CHECK,
    resurrected::CHECK,
    phantom::CHECK,
    wrong_refusal::CHECK,
    ledger_mismatch::CHECK,
    store_settings::CHECK,
    unfairness::CHECK,
    starved_instance::CHECK,
    latency_grows::CHECK,
];

/// The check that what could not be judged is noted under.
pub const EVIDENCE: &str = "evidence";
/// Why the rows of a store cannot be judged.
const COUNTED: &str = "the store was only counted: nothing ties its rows to requests";
/// So many violations of one check are reported for one campaign; the last says how many there are.
const MOST_VIOLATIONS: usize = 20;
/// So many operations make up a witness at the most.
const MOST_WITNESSES: usize = 1_000;
/// And so many where nothing but their number proves anything.
pub(crate) const MOST_COUNTED: usize = 20_000;

impl Violation {
    /// A contradiction without a proof yet.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), ..Self::default() }
    }

    fn witness<'a>(self, ops: impl IntoIterator<Item = &'a Op>) -> Self {
        self.witness_of(ops, MOST_WITNESSES)
    }

    /// Operations that prove something by their number.
    fn counted<'a>(self, ops: impl IntoIterator<Item = &'a Op>) -> Self {
        self.witness_of(ops, MOST_COUNTED)
    }

    fn witness_of<'a>(mut self, ops: impl IntoIterator<Item = &'a Op>, most: usize) -> Self {
        let mut seen = HashSet::new();
        let once = ops.into_iter().filter(|op| seen.insert(op.op));
        self.witness = once.take(most).cloned().collect();
        self
    }

    fn because(mut self, step: impl Into<String>) -> Self {
        self.because.push(step.into());
        self
    }

    fn claim(mut self, claim: Claim) -> Self {
        self.claim = claim;
        self
    }

    fn by(mut self, margin: i64) -> Self {
        self.margin = Some(margin);
        self
    }

    /// What the clocks leave open, where the rule compares two of them.
    fn known_to(mut self, clock_width: i64) -> Self {
        self.clock_width = Some(clock_width);
        self
    }

    fn only_possible(mut self) -> Self {
        self.certainty = Certainty::Possible;
        self
    }
}

impl Check {
    /// The check of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        CHECKS.iter().find(|check| check.name == name)
    }
}

impl Certainty {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Proven => "proven",
        }
    }
}

impl Weight {
    /// What a finding does to the verdict, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Proof => "is a proof: the verdict is invalid",
            Self::Doubt => "is a doubt: the verdict is unknown at best, and never valid",
            Self::Warning => "is a warning: it changes no verdict",
        }
    }

    /// What a finding does to the verdict, in a word.
    pub fn words(self) -> &'static str {
        match self {
            Self::Proof => "invalid",
            Self::Doubt => "unknown",
            Self::Warning => "warning",
        }
    }
}

impl Needs {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::History => "history",
            Self::Each => "history, few coupons or few campaigns",
            Self::Start => "history with a placed start",
            Self::WholeOrStore => "whole history, or store",
            Self::WholeForStore => "history; with a store, a whole one",
            Self::WholeHistory => "whole history",
            Self::Counts => "store, or its counts",
            Self::Settings => "settings of the store",
            Self::Store => "store",
            Self::WholeAndStore => "whole history and store",
        }
    }

    /// Why a check with these needs cannot clear the campaign.
    pub fn missing(self, e: &CampaignEvidence) -> Option<String> {
        let hole = || (!e.whole).then(|| "requests may be missing from the history".to_owned());
        let unread = || match &e.store {
            Store::Unread(reason) => Some(reason.clone()),
            Store::Counted(_) => Some(COUNTED.to_owned()),
            Store::Settled(_) => None,
        };
        let unplaced = || {
            let reason = "the start has no known place on the history's clock";
            (!e.start_is_placed()).then(|| reason.to_owned())
        };
        match self {
            Self::History => None,
            Self::Each => {
                let reason =
                    "coupons and campaigns are too many to compare each coupon with others";
                let unread = e.acknowledged.plain().coupons > 0 && e.compared.is_none();
                let many = unread || e.load.rivals.is_none();
                many.then(|| reason.to_owned())
            }
            Self::Start => unplaced(),
            Self::WholeOrStore => unread().and(hole()),
            Self::WholeForStore => hole().filter(|_| e.join.is_some() && !e.pending.is_empty()),
            Self::WholeHistory => hole(),
            Self::Counts => unread().filter(|_| e.said_by_store().is_none()),
            Self::Settings => match e.said_by_store() {
                Some(ledger) => {
                    let unseen = &ledger.unseen_settings;
                    (!unseen.is_empty()).then(|| unseen.join("; "))
                }
                None => unread(),
            },
            Self::Store => unread(),
            Self::WholeAndStore => unread().or_else(hole),
        }
    }
}

/// Keeps as many violations as a person will read, and says how many there are.
fn capped(all: Vec<Violation>) -> Vec<Violation> {
    capped_of(all, 0)
}

/// The same where so many more were not even collected.
fn capped_of(mut all: Vec<Violation>, besides: usize) -> Vec<Violation> {
    let more = all.len().saturating_sub(MOST_VIOLATIONS) + besides;
    all.truncate(MOST_VIOLATIONS);
    if let Some(last) = all.last_mut().filter(|_| more > 0) {
        last.sentence += &format!(" (and {} more like this)", crate::wording::size(more));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: HashSet<_> = CHECKS.iter().map(|c| c.name).collect();
        assert_eq!(names.len(), CHECKS.len());
    }

    #[test]
    fn an_operation_stands_once_in_a_witness() {
        let e = sample::campaign(1).sold_out(110, 120).evidence();
        let op = e.first_sold_out.unwrap();
        assert_eq!(Violation::new("x").witness([&op, &op]).witness.len(), 1);
    }

    #[test]
    fn many_violations_are_cut_and_counted() {
        let cut = capped(vec![Violation::new("x"); 25]);
        assert_eq!((cut.len(), cut[19].sentence.as_str()), (20, "x (and 5 more like this)"));
    }
}
