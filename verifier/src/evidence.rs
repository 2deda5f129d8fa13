//! What is known about each campaign: everything a check may look at, and nothing else.
//!
//! The trick is in what is *not* kept. A refused or failed request leaves a count and at most one
//! extreme operation of its kind, because the rules need no more than the earliest "sold out" and
//! the latest "not started". Only coupons that were acknowledged and requests that may have
//! consumed one are kept, for they have to be joined with the store; of many, only those that are
//! not [plain](sift).

pub mod acknowledged;
pub mod collect;
pub mod compared;
pub mod identify;
pub mod join;
pub mod ledger;
pub mod load;
pub mod reads;
pub mod shared;
pub mod sift;
pub mod spill;

use std::collections::HashSet;

use contract::campaign::{PerUser, Precedence, Window};

use crate::procedure::Contradiction;

use acknowledged::Acknowledged;
use compared::Compared;
use join::Join;
use ledger::Ledger;
use load::Load;
use reads::Reads;
use sift::{Aside, Name, Names};

/// Everything known about a run.
#[derive(Debug, Default)]
pub struct Evidence {
    /// One entry a campaign, in the order in which the history describes them.
    pub campaigns: Vec<CampaignEvidence>,
    /// What is missing or broken and belongs to no single campaign.
    pub gaps: Vec<String>,
    /// What is not held in memory: before it is [sifted](sift::sift), all coupons where they are many.
    pub aside: Aside,
    /// What belongs together was put together.
    settled: bool,
}

/// Everything known about one campaign.
#[derive(Clone, Debug)]
pub struct CampaignEvidence {
    /// Its name.
    pub name: String,
    /// How many coupons it promised.
    pub coupons: u64,
    /// Where its start lies on the history's clock.
    pub starts_at: Window,
    /// Its limit per user.
    pub per_user: Option<PerUser>,
    /// Whether coupons may come back during the run.
    pub restock: bool,
    /// How many requests ended how.
    pub counts: Counts,
    /// The coupons that clients were told about.
    pub acknowledged: Acknowledged,
    /// What is known of the plain ones where each is compared with others.
    pub compared: Option<Compared>,
    /// Requests that may have consumed a coupon nobody was told about.
    pub pending: Vec<Op>,
    /// The `sold_out` that was answered first.
    pub first_sold_out: Option<Op>,
    /// The `already_issued` that was answered first.
    pub first_already: Option<Op>,
    /// The `already_issued` that was sent last.
    pub last_already: Option<Op>,
    /// The answers `already_issued`: the first for each user and code, and for each user without.
    pub holders: Vec<Op>,
    /// Idempotency keys, with their users, under which a coupon was or may have been consumed and
    /// which may have been refused as well.
    pub suspects: HashSet<Group>,
    /// Refusals under those keys.
    pub repeats: Vec<Op>,
    /// Users who hold or may hold a coupon and may have been told "sold out"; only where a holder
    /// must never be.
    pub suspected_users: HashSet<Box<str>>,
    /// The first "sold out" that each of them was told.
    pub refused_users: Vec<Op>,
    /// What reads saw.
    pub reads: Reads,
    /// Reads may show a state that is so old, in nanoseconds.
    pub read_lag: i64,
    /// What cannot be, as far as the procedure found it.
    pub contradictions: Vec<Contradiction>,
    /// The `not_started` that was answered first.
    pub first_not_started: Option<Op>,
    /// The `not_started` that was sent last.
    pub last_not_started: Option<Op>,
    /// The `not_found` that was sent last.
    pub last_not_found: Option<Op>,
    /// The `sold_out` that was sent last.
    pub last_sold_out: Option<Op>,
    /// The `ended` that was answered first.
    pub first_ended: Option<Op>,
    /// Whether anybody contested anything.
    pub load: Load,
    /// What is missing or broken in the evidence about this campaign.
    pub gaps: Vec<String>,
    /// No request is missing from the history: absence of a request proves something.
    pub whole: bool,
    /// Where requests are missing: none of them has the key of one that is there.
    pub keys_whole: bool,
    /// What the store holds.
    pub store: Store,
    /// History and store together, where both are there.
    pub join: Option<Join>,
    /// Codes that this campaign has in common with another one.
    pub shared: Vec<SharedCode>,
    /// How many such codes there are besides.
    pub more_shared: usize,
    /// Names of the targets, by number; empty where they are not known.
    pub targets: Vec<String>,
}

/// A user and an idempotency key: one request, however often it is sent.
pub type Group = (Option<Box<str>>, Box<str>);

impl Evidence {
    /// What was collected, and not put together yet.
    pub(crate) fn new(campaigns: Vec<CampaignEvidence>, gaps: Vec<String>, aside: Aside) -> Self {
        Self { campaigns, gaps, aside, settled: false }
    }

    /// Whether what belongs together was put together.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Puts together what belongs together, once all coupons are there that are no plain ones.
    ///
    /// # Errors
    /// When there was no room on the disk.
    pub fn settle(&mut self) -> std::io::Result<()> {
        if std::mem::replace(&mut self.settled, true) {
            return Ok(());
        }
        let mut asked = Names::default();
        for (at, e) in self.campaigns.iter_mut().enumerate() {
            e.acknowledged.settle(&mut e.pending);
            asked.extend(e.groups().map(|(user, key)| Name::key(at, user.as_deref(), &key)));
            asked.extend(e.askers().map(|user| Name::user(at, user)));
        }
        let refused = self.aside.refused(&asked)?;
        for (at, e) in self.campaigns.iter_mut().enumerate() {
            let suspects = e.groups();
            let told = |(user, key): &Group| refused.contains(&Name::key(at, user.as_deref(), key));
            let suspects = suspects.filter(told).collect();
            let users = e.askers().filter(|user| refused.contains(&Name::user(at, user)));
            (e.suspects, e.suspected_users) = (suspects, users.map(Box::from).collect());
        }
        Ok(())
    }
}

/// What the store says about a campaign.
#[derive(Clone, Debug)]
pub enum Store {
    /// Nothing can be said, for this reason.
    Unread(String),
    /// It was counted when it had settled; which coupons it holds is not known.
    Counted(Ledger),
    /// It was read when it had settled.
    Settled(Ledger),
}

/// How many requests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests for a coupon.
    pub requests: u64,
    /// Reads of the campaign's state.
    pub reads: u64,
    /// Answers with a coupon that carried its rank or how many were left.
    pub ranked: u64,
    /// Answered with a coupon.
    pub issued: u64,
    /// Told that all coupons were gone.
    pub sold_out: u64,
    /// Told that the campaign had not started.
    pub not_started: u64,
    /// Told that there was no such campaign yet.
    pub not_found: u64,
    /// Told that the campaign was over.
    pub ended: u64,
    /// Told that the user already held a coupon.
    pub already_issued: u64,
    /// Certainly without effect.
    pub failed: u64,
    /// Perhaps with an effect.
    pub indeterminate: u64,
}

impl Counts {
    fn absorb(&mut self, other: Self) {
        self.requests += other.requests;
        self.reads += other.reads;
        self.ranked += other.ranked;
        self.issued += other.issued;
        self.sold_out += other.sold_out;
        self.not_started += other.not_started;
        self.not_found += other.not_found;
        self.ended += other.ended;
        self.already_issued += other.already_issued;
        self.failed += other.failed;
        self.indeterminate += other.indeterminate;
    }
}

/// One operation with both its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its number in the history.
    pub op: u64,
    /// Which target it went to.
    pub target: Option<u16>,
    /// Who asked.
    pub user: Option<Box<str>>,
    /// The idempotency key it carried.
    pub key: Option<Box<str>>,
    /// Just before it was sent.
    pub invoked: i64,
    /// Just after it was answered or given up; absent where that was not recorded.
    pub completed: Option<i64>,
    /// What came of it.
    pub said: Said,
}

/// What came of an operation, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A coupon, with its code.
    Issued(Box<str>),
    /// All coupons are gone.
    SoldOut,
    /// The campaign has not started.
    NotStarted,
    /// There is no such campaign yet.
    NotFound,
    /// The campaign is over for good.
    Ended,
    /// This user already holds a coupon, the one with this code.
    AlreadyIssued(Option<Box<str>>),
    /// Certainly nothing.
    Failed,
    /// Nobody knows.
    Unknown,
    /// A read: so many coupons had been issued.
    Counted(i64),
    /// A read: so many were left.
    Left(i64),
    /// A read: a list of so many codes.
    Listed(usize),
}

/// A code that two campaigns gave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCode {
    /// The code.
    pub code: Box<str>,
    /// The operation of this campaign that was told the code; absent where only the store has it.
    pub own: Option<Op>,
    /// The other campaign.
    pub other: String,
    /// The operation of the other campaign.
    pub theirs: Option<Op>,
}

impl CampaignEvidence {
    /// The requests that consumed a coupon or may have.
    pub(crate) fn perhaps_effective(&self) -> impl Iterator<Item = &Op> {
        self.acknowledged.iter().map(|c| &c.told).chain(&self.pending)
    }

    /// Their keys, with the users.
    fn groups(&self) -> impl Iterator<Item = Group> {
        self.perhaps_effective().filter_map(Op::group)
    }

    /// Users who hold a coupon or may hold one.
    fn askers(&self) -> impl Iterator<Item = &str> {
        let all = self.perhaps_effective().chain(&self.holders);
        all.filter_map(|op| op.user.as_deref())
    }

    /// How many coupons were consumed, as far as answers and rows tell together.
    pub fn consumed(&self) -> usize {
        let untold = self.join.as_ref().map_or(0, |j| j.matched.len() + j.leftovers.len());
        self.ledger().map_or(0, Ledger::count).max(self.acknowledged.len() + untold)
    }

    /// The settled ledger, where there is one.
    pub fn ledger(&self) -> Option<&Ledger> {
        match &self.store {
            Store::Settled(ledger) => Some(ledger),
            Store::Counted(_) | Store::Unread(_) => None,
        }
    }

    /// What the store says of itself, with rows or without.
    pub fn said_by_store(&self) -> Option<&Ledger> {
        match &self.store {
            Store::Settled(ledger) | Store::Counted(ledger) => Some(ledger),
            Store::Unread(_) => None,
        }
    }

    /// Nothing can be said about what the store holds, for this reason.
    pub fn unread(&mut self, why: String) {
        self.gaps.push(why.clone());
        self.store = Store::Unread(why);
    }

    /// Whether nothing that has to be in the store is missing in what was read of it.
    pub fn is_complete(&self, ledger: &Ledger) -> bool {
        if ledger.unlisted {
            return false;
        }
        let held: HashSet<&str> = ledger.rows.iter().map(|r| r.code.as_ref()).collect();
        let rows = ledger.count() as i128;
        let short = self.final_sold_out().is_some() && rows < i128::from(self.coupons);
        ledger.unreadable.is_empty()
            && ledger.counters.iter().all(|c| c.of(self.coupons) == rows)
            && !short
            && self.acknowledged.iter().all(|c| held.contains(c.code()))
    }

    /// Whether all attempts of this request are known: one that is missing may have been the first.
    pub fn knows_attempts(&self, op: &Op) -> bool {
        self.whole || self.keys_whole || op.key.is_none()
    }

    /// Whether the start could be placed on the history's clock at all.
    pub fn start_is_placed(&self) -> bool {
        self.starts_at.earliest > i64::MIN && self.starts_at.latest < i64::MAX
    }

    /// The moment that times are printed relative to.
    pub fn zero(&self) -> i64 {
        if self.start_is_placed() { self.starts_at.earliest } else { 0 }
    }

    /// Indeterminate requests that are known to have consumed a coupon, because the store has it.
    /// None where requests may be missing: the coupon may belong to one of those.
    pub fn resolved(&self) -> impl Iterator<Item = &Op> {
        let matched = self.join.as_ref().filter(|_| self.whole);
        let matched = matched.map(|j| j.matched.as_slice()).unwrap_or_default();
        matched.iter().map(|m| &self.pending[m.pending])
    }

    /// The request that was sent last of all that certainly consumed a coupon.
    pub fn last_effect(&self) -> Option<&Op> {
        let told = self.acknowledged.iter().map(acknowledged::Coupon::asked);
        told.chain(self.resolved()).max_by_key(|op| (op.invoked, op.op))
    }

    /// The answer that came first of all that need an open gate: `issued`, `sold_out` and
    /// `already_issued`.
    pub fn first_open(&self) -> Option<&Op> {
        let refusals = self.first_sold_out.iter().chain(&self.first_already);
        refusals.chain(self.first_issued()).min_by_key(|op| (op.end(), op.op))
    }

    /// The refusal that was sent last of those that are told before a campaign starts: there is none yet,
    /// or it has not started.
    pub fn last_shut(&self) -> Option<&Op> {
        let both = self.last_not_started.iter().chain(&self.last_not_found);
        both.max_by_key(|op| (op.invoked, std::cmp::Reverse(op.op)))
    }

    /// The moment by which the campaign was over; the end of time where nobody was told so. What
    /// consumed a coupon had done so by then.
    pub fn over_by(&self) -> i64 {
        self.first_ended.as_ref().map_or(i64::MAX, Op::end)
    }

    /// The first answer that all coupons are gone for good; none where they may come back.
    pub fn final_sold_out(&self) -> Option<&Op> {
        self.first_sold_out.as_ref().filter(|_| !self.restock)
    }

    /// What a holder is told once all are gone, where a user may hold one coupon.
    pub fn precedence(&self) -> Option<Precedence> {
        self.per_user.filter(|p| p.limit == 1).map(|p| p.precedence)
    }

    /// The coupon that was acknowledged first.
    pub fn first_issued(&self) -> Option<&Op> {
        self.acknowledged.iter().map(|c| &c.told).min_by_key(|op| (op.end(), op.op))
    }
}

impl Op {
    /// When it was over. An operation whose end was not recorded may still be going on.
    pub fn end(&self) -> i64 {
        self.completed.unwrap_or(i64::MAX)
    }

    /// Its user and its key.
    pub fn group(&self) -> Option<Group> {
        self.key.clone().map(|key| (self.user.clone(), key))
    }

    /// The code it was told.
    pub fn code(&self) -> Option<&str> {
        match &self.said {
            Said::Issued(code) => Some(code),
            Said::AlreadyIssued(code) => code.as_deref(),
            Said::SoldOut | Said::NotStarted | Said::NotFound | Said::Ended => None,
            Said::Failed | Said::Unknown => None,
            Said::Counted(_) | Said::Left(_) | Said::Listed(_) => None,
        }
    }
}
