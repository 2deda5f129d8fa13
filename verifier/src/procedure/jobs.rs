//! The requests that consumed a coupon or may have, each with the moments and the slots that it fits.
//!
//! One job is one coupon: all requests under one key are one, and so are all lost requests of a user
//! who may hold one coupon only. Of several lost requests the one that was sent first stands for all:
//! whatever another of them could have done, it could have done as well.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::lists::{Lists, Place};
use super::stored::{Effect, Refused, Stored};
use super::{Condition, Contradiction, Fact, Rules, Topic, Why, once, sold_out_first};
use crate::evidence::acknowledged::{Coupon, Plain};
use crate::evidence::{CampaignEvidence, Op};

/// A request that consumed a coupon or may have.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    /// It consumed the coupon at this moment or later.
    pub(super) release: i64,
    /// It had consumed the coupon by this moment.
    pub(super) deadline: i64,
    /// Its coupon comes after so many.
    pub(super) above: u64,
    /// Its coupon is among the first so many.
    pub(super) upto: u64,
    /// It certainly consumed one.
    pub(super) certain: bool,
    /// Where it comes from.
    source: Source<'a>,
    /// Who was told that its user holds a coupon.
    already: Option<&'a Op>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Coupon(&'a Coupon),
    Lost(&'a Op, Option<&'a str>),
}

/// All jobs, and what cannot be about single ones of them.
pub(super) struct Plan<'a> {
    pub(super) e: &'a CampaignEvidence,
    pub(super) lists: &'a Lists<'a>,
    pub(super) jobs: Vec<Job<'a>>,
    /// Further coupons that were certainly consumed; none of them bounds any other.
    pub(super) plain: &'a Plain,
    pub(super) found: Vec<Contradiction>,
    /// How many coupons were consumed in all, where the store tells.
    pub(super) total: Option<u64>,
    /// Whatever consumed a coupon had done so by this moment.
    pub(super) over_by: i64,
    rules: Rules,
    of_user: HashMap<&'a str, usize>,
    /// Whatever consumed a coupon of a user is known to be theirs: no request is missing, nor silent about
    /// whose it is.
    named: bool,
    /// Users who were told two coupons.
    doubled: HashSet<&'a str>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(e: &'a CampaignEvidence, rules: Rules, lists: &'a Lists<'a>) -> Self {
        let stored = Stored::of(e, rules);
        let refused = Refused::of(e);
        let mut plan = Self {
            e,
            lists,
            jobs: Vec::new(),
            plain: e.acknowledged.plain(),
            found: lists.broken.iter().cloned().collect(),
            total: stored.total.filter(|_| rules.hold(Condition::Total)),
            over_by: if rules.hold(Condition::Ended) { e.over_by() } else { i64::MAX },
            rules,
            named: e.whole && e.perhaps_effective().all(|op| op.user.is_some()),
            of_user: HashMap::new(),
            doubled: HashSet::new(),
        };
        e.acknowledged.iter().for_each(|coupon| plan.add_coupon(coupon));
        for (at, op) in e.pending.iter().enumerate() {
            plan.add_lost(op, stored.effect(at, op), &refused);
        }
        if e.precedence().is_some() {
            plan.found_holders(&refused);
            plan.refuse_holders(&refused);
        }
        for job in 0..plan.jobs.len() {
            plan.bound(job);
        }
        plan
    }

    /// The user, where a user may hold one coupon only.
    fn limited(&self, op: &'a Op) -> Option<&'a str> {
        op.user.as_deref().filter(|_| self.e.precedence().is_some())
    }

    fn add_coupon(&mut self, coupon: &'a Coupon) {
        if let Some(user) = self.limited(&coupon.told) {
            match self.of_user.entry(user) {
                Entry::Vacant(entry) => {
                    entry.insert(self.jobs.len());
                }
                // Which of them an answer is about is not known. It is a violation as it is.
                Entry::Occupied(_) => {
                    self.doubled.insert(user);
                }
            }
        }
        // A request under the same key may be missing from the history, and have been the first.
        let unknown = !self.e.knows_attempts(&coupon.told);
        let release = if unknown { i64::MIN } else { coupon.asked().invoked };
        self.jobs.push(Job {
            release,
            deadline: coupon.told.end().min(self.over_by.max(release)),
            certain: true,
            ..Job::new(Source::Coupon(coupon))
        });
    }

    fn add_lost(&mut self, op: &'a Op, effect: Effect<'a>, refused: &Refused<'a>) {
        let (certain, code) = match effect {
            Effect::Certain(code) | Effect::OfUser(code) => (true, code),
            Effect::Possible => (false, None),
            Effect::None => return,
        };
        let sure = matches!(effect, Effect::Certain(_));
        let by_key = refused.key(op).filter(|_| self.rules.hold(Condition::RefusedKeysOut));
        let by_user = refused.user(op).filter(|_| self.rules.hold(Condition::RefusedUsersOut));
        if let Some(told) = by_key.or(by_user) {
            if sure {
                let fact = if by_key.is_some() { Fact::KeyRefused } else { Fact::RefusedHolder };
                self.contradict(fact, [op, told]);
            }
            return;
        }
        if !certain && op.invoked > self.over_by {
            return;
        }
        // One that was sent later counts as a coupon all the same.
        let deadline = self.over_by.max(op.invoked);
        let job =
            Job { release: op.invoked, deadline, certain, ..Job::new(Source::Lost(op, code)) };
        let one = |_: &&str| self.rules.hold(Condition::OneJobAUser);
        let of_user = op.user.as_deref().filter(|_| matches!(effect, Effect::OfUser(_)));
        let Some(user) = self.limited(op).or(of_user).filter(one) else {
            self.jobs.push(job);
            return;
        };
        match self.of_user.entry(user) {
            Entry::Vacant(entry) => {
                entry.insert(self.jobs.len());
                self.jobs.push(job);
            }
            Entry::Occupied(entry) => {
                let other = &mut self.jobs[*entry.get()];
                let another = other.certain && sure;
                if !other.certain && sure {
                    *other = job;
                }
                if another {
                    let witness = [other.told(), op];
                    self.contradict(Fact::SecondCoupon, witness);
                }
            }
        }
    }

    fn contradict<'b>(&mut self, fact: Fact, witness: impl IntoIterator<Item = &'b Op>) {
        self.found.push(Contradiction::new(fact, once(witness.into_iter())));
    }

    /// Everybody who was told "already issued" has to have a job, and has it before that answer.
    fn found_holders(&mut self, refused: &Refused<'a>) {
        let told = self.e.acknowledged.iter();
        let mut owner: HashMap<&str, &Op> = told.map(|c| (c.code(), &c.told)).collect();
        let mut code_of: HashMap<&str, &Op> = HashMap::new();
        for op in &self.e.holders {
            let user = self.limited(op).filter(|user| !self.doubled.contains(user));
            let Some(user) = user else { continue };
            if let Some(code) = op.code().filter(|_| self.rules.hold(Condition::OwnCode)) {
                let owner = *owner.entry(code).or_insert(op);
                let before = *code_of.entry(user).or_insert(op);
                for other in [owner, before] {
                    // Whose a coupon is whose request names nobody is not known.
                    let other_user = other.user.is_some() && other.user != op.user;
                    if other_user || other.code() != op.code() {
                        self.contradict(Fact::OtherCode, [other, op]);
                    }
                }
            }
            match self.of_user.get(user).copied() {
                Some(job) => self.found_holder(job, op),
                // That user was refused: a contradiction of its own.
                None if refused.user(op).is_some() => {}
                None if !self.named || !self.rules.hold(Condition::Founded) => {}
                None => self.contradict(Fact::Unfounded, [op]),
            }
        }
    }

    fn found_holder(&mut self, at: usize, op: &'a Op) {
        let job = &mut self.jobs[at];
        match &mut job.source {
            Source::Coupon(coupon) => {
                let other = op.code().is_some_and(|code| code != coupon.code());
                let told = &coupon.told;
                if other && self.rules.hold(Condition::OwnCode) {
                    self.contradict(Fact::OtherCode, [told, op]);
                    return;
                }
            }
            // Another request may have got the coupon.
            Source::Lost(..) if !self.named => return,
            Source::Lost(_, code) => {
                let agree = code.is_none() || op.code().is_none() || *code == op.code();
                *code = code.or(op.code()).filter(|_| agree);
                if !agree {
                    // Which of the codes is theirs is not known from now on.
                    self.doubled.extend(op.user.as_deref());
                }
            }
        }
        job.certain |= self.rules.hold(Condition::Founded);
        job.already =
            Some(job.already.map_or(op, |other| std::cmp::min_by_key(other, op, |op| op.end())));
        if !self.rules.hold(Condition::Deadlines) {
            return;
        }
        job.deadline = job.deadline.min(op.end());
        if job.release > job.deadline {
            // It counts as a coupon all the same.
            job.deadline = job.release;
            let asked = job.asked();
            self.contradict(Fact::FoundedLater, [op, asked]);
        }
    }

    /// Nobody who holds a coupon is told "sold out" where holders never are.
    fn refuse_holders(&mut self, refused: &Refused<'a>) {
        if !self.rules.hold(Condition::AlreadyFirst) {
            return;
        }
        for coupon in self.e.acknowledged.iter() {
            if let Some(told) = refused.user(&coupon.told) {
                self.contradict(Fact::RefusedHolder, [&coupon.told, told]);
            }
        }
        let mut seen = refused.users();
        for op in &self.e.holders {
            let user = op.user.as_deref().filter(|user| seen.remove(user));
            if let Some(told) = user.and_then(|_| refused.user(op)) {
                self.contradict(Fact::RefusedHolder, [op, told]);
            }
        }
    }

    /// Bounds a job by what its rank, lists and its user were told.
    fn bound(&mut self, at: usize) {
        let coupons = self.total.unwrap_or(self.e.coupons);
        let place = self.place(at);
        let job = &mut self.jobs[at];
        job.upto = coupons;
        let rank = job.rank(self.e).map(|(rank, _)| rank);
        if let Some(rank) = rank.filter(|_| self.rules.hold(Condition::RanksAbove)) {
            job.above = rank - 1;
        }
        if let Some(rank) = rank.filter(|_| self.rules.hold(Condition::RanksUpto)) {
            job.upto = job.upto.min(rank);
        }
        if let Some((above, _)) = place.without.filter(|_| self.rules.hold(Condition::ListAbove)) {
            job.above = job.above.max(above);
        }
        if let Some((upto, _)) = place.with.filter(|_| self.rules.hold(Condition::ListUpto)) {
            job.upto = job.upto.min(upto);
        }
        let before_last = job.already.is_some() && sold_out_first(self.e);
        if before_last && self.rules.hold(Condition::SoldOutFirstSlot) {
            job.upto = job.upto.min(self.e.coupons.saturating_sub(1));
        }
    }

    fn place(&self, at: usize) -> Place<'a> {
        match self.jobs[at].source {
            Source::Coupon(coupon) => self.lists.place(coupon.code()),
            Source::Lost(_, Some(code)) => self.lists.place(code),
            Source::Lost(_, None) => Place::default(),
        }
    }

    /// Why a job comes after so many coupons, if its own bound says so.
    pub(super) fn why_above(&self, at: usize, above: u64) -> Option<Why<'a>> {
        let job = &self.jobs[at];
        if let Some((rank, op)) = job.rank(self.e).filter(|(rank, _)| *rank > above) {
            debug_assert!(rank > 0, "ranks count from 1");
            return Some(Why::new(Topic::Count, [op, job.asked(), job.told()]));
        }
        let (_, list) = self.place(at).without.filter(|(size, _)| *size >= above)?;
        Some(Why::new(Topic::List, [job.told(), &list.seen.first_over, job.asked()]))
    }

    /// Why a job is among the first so many coupons, if its own bound says so.
    pub(super) fn why_upto(&self, at: usize, upto: u64) -> Option<Why<'a>> {
        let job = &self.jobs[at];
        if let Some((_, op)) = job.rank(self.e).filter(|(rank, _)| *rank <= upto) {
            return Some(Why::new(Topic::Count, [op, job.asked(), job.told()]));
        }
        if let Some((_, list)) = self.place(at).with.filter(|(size, _)| *size <= upto) {
            return Some(Why::new(Topic::List, [job.told(), &list.seen.first_over, job.asked()]));
        }
        let before_last = sold_out_first(self.e) && self.e.coupons.saturating_sub(1) <= upto;
        let already = job.already.filter(|_| before_last)?;
        Some(Why::new(Topic::Holder, [already, job.asked(), job.told()]))
    }
}

impl<'a> Job<'a> {
    fn new(source: Source<'a>) -> Self {
        Self {
            release: i64::MIN,
            deadline: i64::MAX,
            above: 0,
            upto: u64::MAX,
            certain: false,
            source,
            already: None,
        }
    }

    /// The request that was sent first of all that may have consumed the coupon.
    pub(super) fn asked(&self) -> &'a Op {
        match self.source {
            Source::Coupon(coupon) => coupon.asked(),
            Source::Lost(op, _) => op,
        }
    }

    /// The answer that was first to tell of the coupon; the request itself where none did.
    pub(super) fn told(&self) -> &'a Op {
        let own = match self.source {
            Source::Coupon(coupon) => &coupon.told,
            Source::Lost(op, _) => op,
        };
        let earlier = self.already.filter(|op| op.end() == self.deadline && own.end() > op.end());
        let lost = matches!(self.source, Source::Lost(..));
        earlier.or(self.already.filter(|_| lost)).unwrap_or(own)
    }

    /// What makes it a job: its own topic and all operations that it takes to know of it.
    pub(super) fn why(&self) -> Why<'a> {
        let own = match self.source {
            Source::Coupon(coupon) => &coupon.told,
            Source::Lost(op, _) => op,
        };
        let lost = matches!(self.source, Source::Lost(..));
        let topic = match self.already {
            Some(_) if lost || self.told().op != own.op => Topic::Already,
            _ => Topic::Campaign,
        };
        Why::new(topic, [own, self.asked(), self.told()])
    }

    fn rank(&self, e: &CampaignEvidence) -> Option<(u64, &'a Op)> {
        match self.source {
            Source::Coupon(coupon) => coupon.place(e.coupons),
            Source::Lost(..) => None,
        }
    }
}
