//! Whether the operations of a campaign can be put in one order at all: the part of the verdict that
//! needs more than a few extreme moments.
//!
//! The trick is to look at *slots* and not at orders. Slot v is the moment at which the v-th coupon
//! is consumed. Whatever anybody saw ("4 were issued", "mine was the third", "sold out") says that
//! some slot lies before or after a moment, so each slot has a window ([`windows`]). Every request
//! that consumed a coupon, or may have, is a [`jobs::Job`] that fits a range of slots. An order
//! exists if and only if the jobs that must have a slot and the slots that must have a job can all be
//! matched ([`matching`]). As the ranges have no holes, a greedy match is the best one, and where it
//! fails a few neighbouring slots are the proof: Hall's theorem for convex graphs (F. Glover,
//! "Maximum matching in a convex bipartite graph", 1967). Both sides can be matched at once if each
//! can be (N. S. Mendelsohn and A. L. Dulmage, "Some generalizations of the problem of distinct
//! representatives", 1958), so each side is looked at alone.
//!
//! It takes O(n log n) time for n requests, and memory for the requests that may have consumed a
//! coupon and for every number that was seen, whatever the number of coupons.

mod jobs;
mod lists;
mod matching;
mod room;
mod stored;
mod windows;

use contract::campaign::Precedence;

use crate::evidence::acknowledged::Numbers;
use crate::evidence::{CampaignEvidence, Op};
use jobs::Plan;

/// Something that cannot be, with the operations that prove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// What cannot be.
    pub fact: Fact,
    /// The operations that prove it.
    pub witness: Vec<Op>,
    /// So many more like it were found and not kept.
    pub more: usize,
    /// Plain coupons of these numbers belong to the proof and are not in it.
    pub lacks: Option<Numbers>,
}

impl Contradiction {
    fn new(fact: Fact, witness: Vec<Op>) -> Self {
        Self { fact, witness, more: 0, lacks: None }
    }

    /// What is only told after the end was consumed before it.
    fn rest_on_the_end(&mut self, ended: &Op) {
        let by_time = match self.fact {
            Fact::Crowded(_) | Fact::Hollow(_) | Fact::Unfounded | Fact::FoundedLater => true,
            Fact::RefusedHolder | Fact::OtherCode | Fact::SecondCoupon | Fact::KeyRefused => false,
            Fact::Impossible(_) | Fact::Unstored | Fact::ListsDiffer => false,
        };
        if by_time && self.witness.iter().any(|op| op.end() > ended.end()) {
            self.witness.push(ended.clone());
        }
    }
}

/// What cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Somebody who holds a coupon was told "sold out" where holders never are.
    RefusedHolder,
    /// Told "already issued" without any request that can have got the coupon.
    Unfounded,
    /// Told "already issued" before the only request that can have got the coupon was sent.
    FoundedLater,
    /// Told to hold a code that is another user's, or another code than before.
    OtherCode,
    /// A lost request consumed a coupon whose user holds another one.
    SecondCoupon,
    /// A key that consumed a coupon was told "sold out".
    KeyRefused,
    /// A read saw a number of coupons that there never can be.
    Impossible(i128),
    /// A list holds a code that the store does not, although every coupon is there.
    Unstored,
    /// Of two lists, neither holds all of the other.
    ListsDiffer,
    /// More coupons were consumed than there is room for between two numbers that were seen.
    Crowded(Span),
    /// Fewer coupons can have been consumed than must have been between two numbers that were seen.
    Hollow(Span),
}

/// Coupons number `above + 1` to `upto`, and how many requests there are for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// So many had certainly been consumed before, or these are not about any before.
    pub above: u64,
    /// The last of them.
    pub upto: u64,
    /// Requests that must be, or at most can be, among them.
    pub requests: u64,
    /// What it follows from.
    pub topic: Topic,
}

/// What a contradiction follows from; the last of several gives it its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The start, the number of coupons, "sold out" and "not started".
    Campaign,
    /// That somebody holds a coupon already.
    Already,
    /// A rank, or a number that a read saw.
    Count,
    /// What a holder is told once all coupons are gone.
    Holder,
    /// Which codes are on a list and which are not.
    List,
}

/// The conditions of the procedure. Tests leave out one at a time, to see that it is missed.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Windows,
    Start,
    NotStarted,
    NotFound,
    SoldOut,
    Ended,
    RanksAbove,
    RanksUpto,
    CountsBy,
    CountsFrom,
    Sizes,
    Impossible,
    Total,
    Lag,
    Chain,
    ListAbove,
    ListUpto,
    PushedFloors,
    PushedCeilings,
    Deadlines,
    Empty,
    Crowded,
    Hollow,
    OneJobAUser,
    Founded,
    OwnCode,
    AlreadyFirst,
    SoldOutFirstSlot,
    SoldOutFirstMoment,
    RefusedUsersOut,
    RefusedKeysOut,
    ListedRows,
    MandatoryRows,
    NoOtherRows,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 34] = [
        Self::Windows,
        Self::Start,
        Self::NotStarted,
        Self::NotFound,
        Self::SoldOut,
        Self::Ended,
        Self::RanksAbove,
        Self::RanksUpto,
        Self::CountsBy,
        Self::CountsFrom,
        Self::Sizes,
        Self::Impossible,
        Self::Total,
        Self::Lag,
        Self::Chain,
        Self::ListAbove,
        Self::ListUpto,
        Self::PushedFloors,
        Self::PushedCeilings,
        Self::Deadlines,
        Self::Empty,
        Self::Crowded,
        Self::Hollow,
        Self::OneJobAUser,
        Self::Founded,
        Self::OwnCode,
        Self::AlreadyFirst,
        Self::SoldOutFirstSlot,
        Self::SoldOutFirstMoment,
        Self::RefusedUsersOut,
        Self::RefusedKeysOut,
        Self::ListedRows,
        Self::MandatoryRows,
        Self::NoOtherRows,
    ];
}

/// Everything that the procedure finds to be impossible in a campaign; nothing if and only if its
/// operations can be put in order, as far as the scalar checks have no objection either.
///
/// A campaign whose coupons may come back is not looked at.
pub fn decide(e: &CampaignEvidence) -> Vec<Contradiction> {
    decide_without(e, None)
}

/// The same with one condition left out.
#[doc(hidden)]
pub fn decide_without(e: &CampaignEvidence, without: Option<Condition>) -> Vec<Contradiction> {
    if e.restock || !is_needed(e) {
        return Vec::new();
    }
    let rules = Rules { without };
    let lists = lists::Lists::of(e, rules);
    let plan = Plan::new(e, rules, &lists);
    let windows = windows::Windows::new(e, rules, &plan);
    let mut found = plan.found.clone();
    found.extend(plan.total.and_then(|_| lists::Lists::unstored(e, rules)));
    found.extend(windows.contradictions(rules));
    found.extend(matching::crowded(&plan, &windows, rules));
    // Only where there is room for all is the shortest gap a proof.
    let crowded = found.iter().any(|c| matches!(c.fact, Fact::Crowded(_)));
    if e.whole && !crowded {
        found.extend(matching::hollow(&plan, &windows, rules));
    }
    if let Some(ended) = e.first_ended.as_ref().filter(|_| rules.hold(Condition::Ended)) {
        found.iter_mut().for_each(|c| c.rest_on_the_end(ended));
    }
    // The scalar checks find these as well.
    found.retain(|c| !matches!(c.fact, Fact::Crowded(span) if span.topic == Topic::Campaign));
    without_repeats(found)
}

/// So many coupons there are, or were, where the store tells.
pub(crate) fn numbers(e: &CampaignEvidence) -> u64 {
    stored::Stored::of(e, Rules { without: None }).total.unwrap_or(e.coupons)
}

/// Leaves out what needs all operations of another contradiction and more.
fn without_repeats(found: Vec<Contradiction>) -> Vec<Contradiction> {
    let mut kept: Vec<Contradiction> = Vec::new();
    for c in found {
        let holds = |op: &Op| c.witness.iter().any(|own| own.op == op.op);
        // A report has only so many.
        let proven = kept.iter().take(100);
        let proven = proven.filter(|k| !k.witness.is_empty() && k.lacks.is_none());
        if c.more > 0 || !proven.into_iter().any(|k| k.witness.iter().all(holds)) {
            kept.push(c);
        }
    }
    kept
}

/// Whether the scalar checks alone do not decide.
fn is_needed(e: &CampaignEvidence) -> bool {
    let holders = e.counts.already_issued > 0;
    let refused = e.counts.sold_out > 0;
    // Two lost requests of one user are no two coupons, and a holder may have been refused.
    let lost = !e.pending.is_empty() && (refused || e.join.is_some());
    let limited = e.per_user.is_some() && (holders || lost || !e.refused_users.is_empty());
    let keyed = refused && !e.repeats.is_empty();
    e.counts.ranked > 0 || !e.reads.is_empty() || limited || keyed
}

/// Which conditions count.
#[derive(Clone, Copy)]
struct Rules {
    without: Option<Condition>,
}

impl Rules {
    fn hold(self, condition: Condition) -> bool {
        self.without != Some(condition)
    }
}

/// Why a slot or a job is bounded, with the operations that say so. No operation is the start.
#[derive(Clone, Copy)]
struct Why<'a> {
    topic: Topic,
    ops: [Option<&'a Op>; 3],
}

impl<'a> Why<'a> {
    fn new(topic: Topic, ops: impl IntoIterator<Item = &'a Op>) -> Self {
        let mut ops = ops.into_iter();
        Self { topic, ops: [ops.next(), ops.next(), ops.next()] }
    }

    fn ops(&self) -> impl Iterator<Item = &'a Op> + use<'a> {
        self.ops.into_iter().flatten()
    }
}

/// Each operation once, in the order given.
fn once<'a>(ops: impl Iterator<Item = &'a Op>) -> Vec<Op> {
    let mut seen = std::collections::HashSet::new();
    ops.filter(|op| seen.insert(op.op)).cloned().collect()
}

/// Whether a holder is told "sold out" once all are gone, and never "already issued".
fn sold_out_first(e: &CampaignEvidence) -> bool {
    e.precedence() == Some(Precedence::SoldOutFirst)
}
