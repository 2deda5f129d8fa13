//! When each slot can be: not before its floor, not after its ceiling.
//!
//! Slots come one after the other, so a floor holds for all later slots and a ceiling for all earlier
//! ones. Both are kept as steps, one for each number that was seen. A job that is bounded in its slots
//! bounds them in turn: if it comes after so many coupons, the one after those was consumed by the end
//! of the job, and if it is among so many, the last of those was not consumed before its beginning.
//! Without that, jobs could pass each other.

use super::jobs::Plan;
use super::{Condition, Contradiction, Fact, Rules, Span, Topic, Why, once, sold_out_first};
use crate::evidence::{CampaignEvidence, Op};

/// A bound of a slot and of all after it, or all before it.
#[derive(Clone, Copy)]
struct Step<'a> {
    slot: u64,
    at: i64,
    by: By<'a>,
}

/// What a step follows from.
#[derive(Clone, Copy)]
enum By<'a> {
    Seen(Why<'a>),
    /// A job that comes after so many.
    Above(usize, u64),
    /// A job that is among so many.
    Upto(usize, u64),
}

/// The windows of all slots.
pub(super) struct Windows<'a, 'p> {
    plan: &'p Plan<'a>,
    /// Growing in slot and moment.
    floors: Vec<Step<'a>>,
    /// Growing in slot and moment.
    ceilings: Vec<Step<'a>>,
    /// So many coupons there are, or were.
    pub(super) coupons: u64,
    impossible: Vec<Contradiction>,
}

impl<'a, 'p> Windows<'a, 'p> {
    pub(super) fn new(e: &'a CampaignEvidence, rules: Rules, plan: &'p Plan<'a>) -> Self {
        let coupons = plan.total.unwrap_or(e.coupons);
        let (floors, ceilings) = (Vec::new(), Vec::new());
        let mut windows = Self { plan, floors, ceilings, coupons, impossible: Vec::new() };
        windows.start(e, rules);
        windows.end(e, rules);
        windows.reads(e, rules);
        windows.jobs(rules);
        windows.floors.sort_by_key(|step| (step.slot, std::cmp::Reverse(step.at)));
        let mut highest = i64::MIN;
        windows.floors.retain(|step| {
            let higher = step.at > highest;
            highest = highest.max(step.at);
            higher
        });
        windows.ceilings.sort_by_key(|step| (std::cmp::Reverse(step.slot), step.at));
        let mut lowest = i64::MAX;
        windows.ceilings.retain(|step| {
            let lower = step.at < lowest;
            lowest = lowest.min(step.at);
            lower
        });
        windows.ceilings.reverse();
        windows
    }

    fn floor(&mut self, slot: u64, at: i64, by: By<'a>) {
        // There is no slot 0, and whoever would have to be in it finds none.
        if slot > 0 {
            self.floors.push(Step { slot, at, by });
        }
    }

    fn ceiling(&mut self, slot: u64, at: i64, by: By<'a>) {
        self.ceilings.push(Step { slot, at, by });
    }

    /// Nothing is consumed before the start, and the start is after every "not started" and "not found".
    fn start(&mut self, e: &'a CampaignEvidence, rules: Rules) {
        if rules.hold(Condition::Start) {
            self.floor(1, e.starts_at.earliest, By::Seen(Why::new(Topic::Campaign, [])));
        }
        let ahead = e.last_not_started.iter().filter(|_| rules.hold(Condition::NotStarted));
        let absent = e.last_not_found.iter().filter(|_| rules.hold(Condition::NotFound));
        for op in ahead.chain(absent) {
            self.floor(1, op.invoked, By::Seen(Why::new(Topic::Campaign, [op])));
        }
    }

    /// All are gone at the first "sold out", and where holders are told that as well, not all at the
    /// last "already issued".
    fn end(&mut self, e: &'a CampaignEvidence, rules: Rules) {
        let gone = e.coupons > 0 && rules.hold(Condition::SoldOut);
        if let Some(op) = e.first_sold_out.as_ref().filter(|_| gone) {
            let why = Why::new(Topic::Campaign, [op]);
            self.ceiling(e.coupons, op.end().min(self.plan.over_by), By::Seen(why));
        }
        let holders = sold_out_first(e) && rules.hold(Condition::SoldOutFirstMoment);
        if let Some(op) = e.last_already.as_ref().filter(|_| holders) {
            self.floor(e.coupons, op.invoked, By::Seen(Why::new(Topic::Holder, [op])));
        }
    }

    fn reads(&mut self, e: &'a CampaignEvidence, rules: Rules) {
        let lag = if rules.hold(Condition::Lag) { e.read_lag } else { 0 };
        let lists = e.reads.lists.iter().filter(|_| rules.hold(Condition::Sizes));
        let lists = lists.map(|(size, list)| (*size as i128, &list.seen));
        let counts = e.reads.counts.iter().map(|(count, seen)| (*count, seen.as_ref()));
        for (count, seen) in counts.chain(lists) {
            let Some(count) = u64::try_from(count).ok().filter(|count| *count <= e.coupons) else {
                let witness = vec![seen.first_over.clone()];
                let found = Contradiction::new(Fact::Impossible(count), witness);
                self.impossible.extend(rules.hold(Condition::Impossible).then_some(found));
                continue;
            };
            if count > 0 && rules.hold(Condition::CountsBy) {
                let why = Why::new(Topic::Count, [&seen.first_over]);
                self.ceiling(count, seen.first_over.end(), By::Seen(why));
            }
            if rules.hold(Condition::CountsFrom) {
                let why = Why::new(Topic::Count, [&seen.last_sent]);
                let from = seen.last_sent.invoked.saturating_sub(lag);
                self.floor(count.saturating_add(1), from, By::Seen(why));
            }
        }
    }

    fn jobs(&mut self, rules: Rules) {
        let plan = self.plan;
        for (at, job) in plan.jobs.iter().enumerate().filter(|(_, job)| job.certain) {
            if job.above > 0 && rules.hold(Condition::PushedCeilings) {
                self.ceiling(job.above.saturating_add(1), job.deadline, By::Above(at, job.above));
            }
            if job.upto < self.coupons && rules.hold(Condition::PushedFloors) {
                self.floor(job.upto, job.release, By::Upto(at, job.upto));
            }
        }
    }

    /// Numbers that cannot be, and slots that had to be filled before they could be.
    pub(super) fn contradictions(&self, rules: Rules) -> Vec<Contradiction> {
        let mut found = self.impossible.clone();
        if !rules.hold(Condition::Windows) {
            return found;
        }
        let mut last = None;
        for ceiling in &self.ceilings {
            let after = self.floors.partition_point(|floor| floor.slot <= ceiling.slot);
            let Some(at) = after.checked_sub(1).filter(|at| self.floors[*at].at > ceiling.at)
            else {
                continue;
            };
            // The same floor contradicts every ceiling that is too low: one of them is enough.
            if last.replace(at) == Some(at) {
                continue;
            }
            let floor = self.floors[at];
            let whys = [self.why(ceiling.by), self.why(floor.by)];
            let span = Span {
                above: ceiling.slot,
                upto: floor.slot - 1,
                requests: 0,
                topic: whys[0].topic.max(whys[1].topic),
            };
            let witness = once(whys.iter().flat_map(Why::ops));
            found.push(Contradiction::new(Fact::Crowded(span), witness));
        }
        found
    }

    fn why(&self, by: By<'a>) -> Why<'a> {
        let nothing = Why::new(Topic::Campaign, []);
        match by {
            By::Seen(why) => why,
            By::Above(job, above) => self.plan.why_above(job, above).unwrap_or(nothing),
            By::Upto(job, upto) => self.plan.why_upto(job, upto).unwrap_or(nothing),
        }
    }

    /// The first slot that is not over at this moment.
    pub(super) fn first_from(&self, moment: i64) -> u64 {
        let over = self.ceilings.partition_point(|ceiling| ceiling.at < moment);
        over.checked_sub(1).map_or(1, |at| self.ceilings[at].slot.saturating_add(1))
    }

    /// The last slot that has begun by this moment.
    pub(super) fn last_by(&self, moment: i64) -> u64 {
        let begun = self.floors.partition_point(|floor| floor.at <= moment);
        let next = self.floors.get(begun);
        next.map_or(u64::MAX, |floor| floor.slot - 1).min(self.coupons)
    }

    /// The last slot that must be filled, by what was seen.
    pub(super) fn last_needed(&self) -> u64 {
        self.ceilings.last().map_or(0, |ceiling| ceiling.slot)
    }

    /// The moment by which the slot was filled, and why.
    pub(super) fn filled_by(&self, slot: u64) -> Option<(i64, Why<'a>)> {
        let at = self.ceilings.partition_point(|ceiling| ceiling.slot < slot);
        self.ceilings.get(at).map(|step| (step.at, self.why(step.by)))
    }

    /// The moment before which the slot was not filled, and why.
    pub(super) fn not_before(&self, slot: u64) -> Option<(i64, Why<'a>)> {
        let at = self.floors.partition_point(|floor| floor.slot <= slot).checked_sub(1)?;
        Some((self.floors[at].at, self.why(self.floors[at].by)))
    }
}

/// The operations of several reasons, each once.
pub(super) fn witness<'a>(whys: impl IntoIterator<Item = Why<'a>>) -> Vec<Op> {
    once(whys.into_iter().flat_map(|why| why.ops().collect::<Vec<_>>()))
}
