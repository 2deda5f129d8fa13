//! What a claim rests on beside the operations: the rest of the evidence, in a few facts. They are
//! taken as given where a witness is checked again alone, for only the store could tell otherwise.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use contract::store::Column;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Claim, Violation};
use crate::evidence::join::{Join, Match};
use crate::evidence::ledger::{Ledger, Row};
use crate::evidence::{CampaignEvidence, Op};

/// What is known besides the operations of a witness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
pub struct Context {
    /// The campaign that is judged.
    pub campaign: String,
    /// No request is missing from its history.
    pub whole: bool,
    /// Reads may show a state that is so old, in nanoseconds.
    pub read_lag_ns: i64,
    /// What the settled store says; absent where there was none, or the claim needs nothing of it.
    pub store: Option<Stored>,
}

/// What the settled store says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
pub struct Stored {
    /// Requests without an answer whose coupon the store holds, with its code where no other request
    /// can have left it there.
    pub resolved: BTreeMap<u64, Option<String>>,
    /// So many coupons were consumed in the end, where each row belongs to a request.
    pub in_the_end: Option<u64>,
    /// User and key of each row that nobody was told about, where each row belongs to a request.
    pub untold: Option<BTreeSet<(Option<String>, Option<String>)>>,
    /// Every code that the store holds or a client was told, where the claim is about a list.
    pub codes: Option<BTreeSet<String>>,
    /// Which of the codes that the witness was told are in the store, with their numbers where rows
    /// tell them; only where the claim is that others are gone.
    #[serde(default)]
    pub rows: Option<BTreeMap<String, Option<i64>>>,
}

impl Context {
    /// What a claim about this campaign rests on.
    pub(super) fn of(e: &CampaignEvidence, violation: &Violation) -> Self {
        let both = e.join.as_ref().zip(e.ledger()).filter(|_| asks_store(violation.claim));
        Self {
            campaign: e.name.clone(),
            whole: e.whole,
            read_lag_ns: e.read_lag,
            store: both.map(|(join, ledger)| Stored::of(e, join, ledger, violation)),
        }
    }
}

/// Whether what the store holds decides about the claim.
fn asks_store(claim: Claim) -> bool {
    match claim {
        Claim::SameUser | Claim::NoRequest | Claim::Unstored => true,
        Claim::Crowded { .. } | Claim::Hollow { .. } | Claim::WentBack => true,
        Claim::Told | Claim::Before | Claim::BeforeStart | Claim::AfterStart => false,
        Claim::PerhapsBeforeStart | Claim::PerhapsAfterStart => false,
        Claim::TooMany | Claim::Malformed | Claim::SameCode | Claim::Ranks => false,
        Claim::SameKey | Claim::OtherCode | Claim::Impossible | Claim::ListsDiffer => false,
    }
}

impl Stored {
    fn of(e: &CampaignEvidence, join: &Join, ledger: &Ledger, violation: &Violation) -> Self {
        let claim = violation.claim;
        if claim == Claim::WentBack {
            return Self { rows: Some(rows(ledger, violation)), ..Self::default() };
        }
        let told = || e.acknowledged.iter().map(|c| c.code());
        let every = e.whole && join.lost.is_empty() && join.leftovers.is_empty();
        let consumed = (e.acknowledged.len() + join.matched.len()) as u64;
        let untold = every.then(|| {
            let told: HashSet<&str> = told().collect();
            let untold = ledger.rows.iter().filter(|row| !told.contains(row.code.as_ref()));
            untold.map(|row| (text(row.user.as_deref()), text(row.key.as_deref()))).collect()
        });
        let listed = claim == Claim::Unstored && ledger.tells(Column::Code);
        let codes = listed.then(|| {
            let rows = ledger.rows.iter().map(|row| row.code.as_ref());
            rows.chain(told()).map(str::to_owned).collect()
        });
        let in_the_end = every.then_some(consumed);
        Self { resolved: resolved(e, join, ledger), in_the_end, untold, codes, rows: None }
    }
}

fn rows(ledger: &Ledger, violation: &Violation) -> BTreeMap<String, Option<i64>> {
    let told: HashSet<&str> = violation.witness.iter().filter_map(Op::code).collect();
    let rows = ledger.rows.iter().filter(|row| told.contains(row.code.as_ref()));
    let number = |row: &Row| Some(row.seq).filter(|_| ledger.tells(Column::Seq));
    rows.map(|row| (row.code.as_ref().to_owned(), number(row))).collect()
}

fn resolved(e: &CampaignEvidence, join: &Join, ledger: &Ledger) -> BTreeMap<u64, Option<String>> {
    let limited = e.precedence().is_some();
    let askers = Askers::of(&e.pending);
    let code = |found: &Match| {
        let (op, row) = (&e.pending[found.pending], &ledger.rows[found.row]);
        let own = limited && row.user.is_some() && row.user == op.user;
        let alone = own || askers.of_row(row) < 2;
        (op.op, ledger.code_of(row).filter(|_| alone).map(str::to_owned))
    };
    join.matched.iter().filter(|_| e.whole).map(code).collect()
}

/// A user or a key as it is asked for: any, or exactly this one, which may be none.
type Asked<'a> = Option<Option<&'a str>>;

/// How many lost requests there are for each user and key.
struct Askers<'a>(HashMap<(Asked<'a>, Asked<'a>), usize>);

impl<'a> Askers<'a> {
    fn of(pending: &'a [Op]) -> Self {
        let mut counted = HashMap::new();
        for op in pending {
            let (user, key) = (Some(op.user.as_deref()), Some(op.key.as_deref()));
            for names in [(user, key), (user, None), (None, key), (None, None)] {
                *counted.entry(names).or_default() += 1;
            }
        }
        Self(counted)
    }

    /// How many of them do not contradict the row.
    fn of_row(&self, row: &Row) -> usize {
        let (users, keys) = (fitting(row.user.as_deref()), fitting(row.key.as_deref()));
        let names = users.iter().flat_map(|user| keys.iter().map(move |key| (*user, *key)));
        names.filter_map(|names| self.0.get(&names)).sum()
    }
}

/// A row that names nobody may be anybody's; any other is that one's, or of one who named nobody.
fn fitting(name: Option<&str>) -> Vec<Asked<'_>> {
    name.map_or_else(|| vec![None], |name| vec![Some(Some(name)), Some(None)])
}

/// Neither says otherwise.
pub(super) fn agree(a: Option<&str>, b: Option<&str>) -> bool {
    a.is_none() || b.is_none() || a == b
}

fn text(name: Option<&str>) -> Option<String> {
    name.map(str::to_owned)
}
