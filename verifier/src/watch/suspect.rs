//! Looks at every answer once, as it comes, and says which few requests may contradict each other.
//!
//! It proves nothing: it keeps extreme moments and fingerprints, in bounded memory, and whatever it
//! suspects is read again and judged by the checks. So it may well suspect too much, as it does a late
//! answer under a key whose first request came in time.

use std::collections::HashMap;

use contract::campaign::Precedence;
use contract::history::{Completion, Event, Invocation, Kind, Promise};
use contract::outcome::{Coupon, Observation, Outcome};

use super::known::{Fingerprint, Known, fingerprint};
use super::rush::{Answer, Rush, Suspicion, What};
use crate::check::is_well_formed;

/// So many requests under way are remembered; the answer of any other is not looked at.
const MOST_OPEN: usize = 1 << 20;
/// So many campaigns are.
const MOST_CAMPAIGNS: usize = 1 << 16;

/// Everything that is remembered.
#[derive(Debug, Default)]
pub(super) struct Suspect {
    campaigns: Vec<Rush>,
    by_name: HashMap<Box<str>, usize>,
    open: HashMap<u64, Open>,
    /// Codes, with whose they are.
    codes: Known,
    /// Users of a campaign with a limit, with their code.
    users: Known,
    /// Keys, with their code.
    keys: Known,
    /// Ranks, with their code.
    ranks: Known,
    suspicions: Vec<Suspicion>,
    /// Reads may show a state that is so old.
    read_lag: i64,
    /// So far.
    pub(super) seen: Seen,
}

/// How much was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Seen {
    /// Requests for a coupon.
    pub(super) requests: u64,
    /// Answered with a coupon.
    pub(super) issued: u64,
    /// Told "sold out".
    pub(super) sold_out: u64,
    /// Told "not started".
    pub(super) not_started: u64,
    /// Told "not found".
    pub(super) not_found: u64,
    /// Told "ended".
    pub(super) ended: u64,
    /// Told "already issued".
    pub(super) already_issued: u64,
    /// Nobody knows what came of them.
    pub(super) indeterminate: u64,
    /// The last moment that was seen, on the history's clock.
    pub(super) until: i64,
}

/// A request that was not answered yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    campaign: usize,
    kind: Kind,
    at: i64,
    user: Option<Fingerprint>,
    key: Option<Fingerprint>,
}

impl Suspect {
    /// Reads may show a state that is so old, in nanoseconds.
    pub(super) fn reads_may_lag(&mut self, lag: i64) {
        self.read_lag = lag;
    }

    pub(super) fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Campaign(promise) => self.promise(promise),
            Event::Invoke(invocation) => self.invoke(invocation),
            Event::Complete(completion) => self.complete(completion),
        }
    }

    /// What has to be read again, each only once.
    pub(super) fn suspicions(&mut self) -> Vec<Suspicion> {
        for (at, rush) in self.campaigns.iter_mut().enumerate() {
            let Some(refused) = rush.refused() else { continue };
            let asked = self.open.values().filter(|o| o.campaign == at && o.kind == Kind::Issue);
            let under_way = asked.filter(|o| o.at <= refused).count() as u64;
            self.suspicions.extend(rush.short_with(under_way));
        }
        std::mem::take(&mut self.suspicions)
    }

    /// Whether something was told since this was asked last that only all requests decide.
    pub(super) fn is_unsettled(&mut self) -> bool {
        // Each of them is asked.
        self.campaigns.iter_mut().filter_map(|rush| rush.is_unsettled().then_some(())).count() > 0
    }

    /// How many coupons, users, keys or ranks came after so many that they were not remembered.
    pub(super) fn unknown(&self) -> u64 {
        let all = [&self.codes, &self.users, &self.keys, &self.ranks];
        all.iter().map(|known| known.unknown).max().unwrap_or(0)
    }

    /// Requests under way.
    pub(super) fn under_way(&self) -> usize {
        self.open.len()
    }

    /// Whether a violation was not proven before.
    pub(super) fn is_new(&self, campaign: &str, check: &str) -> bool {
        let rush = self.by_name.get(campaign).and_then(|at| self.campaigns.get(*at));
        rush.is_some_and(|rush| !rush.is_proven(check))
    }

    /// The campaign that a suspicion is about.
    pub(super) fn rush(&mut self, campaign: &str) -> Option<&mut Rush> {
        self.campaigns.get_mut(*self.by_name.get(campaign)?)
    }

    fn promise(&mut self, promise: &Promise<'_>) {
        match self.by_name.get(promise.campaign.as_ref()) {
            Some(&at) => self.campaigns[at].starts(promise.starts_at),
            None if self.campaigns.len() < MOST_CAMPAIGNS => {
                self.by_name.insert(promise.campaign.as_ref().into(), self.campaigns.len());
                self.campaigns.push(Rush::new(promise));
            }
            None => {}
        }
    }

    fn invoke(&mut self, i: &Invocation<'_>) {
        self.seen.until = self.seen.until.max(i.at);
        let Some(&campaign) = self.by_name.get(i.campaign.as_ref()) else { return };
        self.seen.requests += u64::from(i.kind == Kind::Issue);
        if self.open.len() >= MOST_OPEN || !matches!(i.kind, Kind::Issue | Kind::Read) {
            return;
        }
        let user = i.user.as_deref().map(|user| fingerprint((campaign, user)));
        let key = i.key.as_deref().map(|key| fingerprint((campaign, i.user.as_deref(), key)));
        self.open.insert(i.op, Open { campaign, kind: i.kind, at: i.at, user, key });
    }

    fn complete(&mut self, c: &Completion<'_>) {
        self.seen.until = self.seen.until.max(c.at);
        let Some(open) = self.open.remove(&c.op) else { return };
        if c.at < open.at {
            return;
        }
        let of_others = self.tells_of_others(&open, &c.outcome);
        self.campaigns[open.campaign].heard(of_others);
        let lag = if open.kind == Kind::Read { self.read_lag } else { 0 };
        let answer = Answer { op: c.op, sent: open.at.saturating_sub(lag), end: c.at };
        match (&c.outcome, open.kind) {
            (Outcome::Issued(coupon), Kind::Issue) => self.issued(open, answer, coupon),
            (Outcome::SoldOut, Kind::Issue) => self.sold_out(open, answer),
            (Outcome::NotStarted, Kind::Issue) => {
                self.seen.not_started += 1;
                self.with(open, |rush| rush.not_started(answer));
            }
            (Outcome::NotFound, Kind::Issue) => {
                self.seen.not_found += 1;
                self.with(open, |rush| rush.not_found(answer));
            }
            (Outcome::Ended, Kind::Issue) => {
                self.seen.ended += 1;
                self.with(open, |rush| rush.ended(answer));
            }
            (Outcome::AlreadyIssued(code), Kind::Issue) => {
                self.already(open, answer, code.as_deref());
            }
            (Outcome::Indeterminate(_) | Outcome::Pending, Kind::Issue) => {
                self.seen.indeterminate += 1;
                self.with(open, |rush| rush.lost(answer));
            }
            (Outcome::Read(Observation::Issued(n)), Kind::Read) => {
                self.with(open, |rush| rush.counted(answer, i128::from(*n)));
            }
            (Outcome::Read(Observation::Remaining(n)), Kind::Read) => {
                self.with(open, |rush| rush.counted(answer, rush.coupons() - i128::from(*n)));
            }
            // A read of a list, a failure, or an answer to a question that was not asked.
            _ => {}
        }
    }

    /// Whether an answer says something of coupons that are not its own, beyond that none is left.
    fn tells_of_others(&self, open: &Open, outcome: &Outcome<'_>) -> bool {
        let limited = self.campaigns[open.campaign].limit.is_some();
        match outcome {
            Outcome::Issued(coupon) => coupon.seq.is_some() || coupon.remaining.is_some(),
            // Another request under the key, or of the user, may hold one, or be the only one lost.
            Outcome::SoldOut => open.key.is_some() || limited,
            Outcome::AlreadyIssued(_) | Outcome::Indeterminate(_) | Outcome::Pending => limited,
            Outcome::Read(_) => true,
            Outcome::NotStarted | Outcome::NotFound | Outcome::Ended | Outcome::Failed(_) => false,
        }
    }

    fn with(&mut self, open: Open, look: impl FnOnce(&mut Rush) -> Vec<What>) {
        let rush = &mut self.campaigns[open.campaign];
        let found = look(rush);
        self.suspicions.extend(found.into_iter().filter_map(|what| rush.suspicion(what)));
    }

    fn issued(&mut self, open: Open, answer: Answer, coupon: &Coupon<'_>) {
        self.seen.issued += 1;
        let code = fingerprint(coupon.code.as_ref());
        // One code of one request is one coupon, however often it is told.
        let whose = open.key.map_or_else(|| fingerprint(answer.op), |key| fingerprint((1, key)));
        let mut found = Vec::new();
        if !is_well_formed(&coupon.code) {
            found.push(What::new("malformed-code", [answer.op]));
        }
        match self.codes.add(code, whose, answer.op) {
            Some(first) if first.with == whose => return,
            Some(first) => found.push(What::new("duplicate-code", [first.op, answer.op])),
            None => {}
        }
        self.campaigns[open.campaign].told += 1;
        let other = |known: &mut Known, name: Option<Fingerprint>| {
            let first = known.add(name?, code, answer.op)?;
            (first.with != code).then_some([first.op, answer.op])
        };
        let limited = self.campaigns[open.campaign].precedence.is_some();
        let user = open.user.filter(|_| limited);
        found.extend(other(&mut self.users, user).map(|ops| What::new("per-user-limit", ops)));
        found.extend(other(&mut self.keys, open.key).map(|ops| What::new("idempotency", ops)));
        let rush = &self.campaigns[open.campaign];
        let left = coupon.remaining.map(|left| rush.coupons() - i128::from(left));
        let ranks: Vec<i128> = coupon.seq.map(i128::from).into_iter().chain(left).collect();
        for rank in &ranks {
            let place = Some(fingerprint((open.campaign, *rank)));
            let same = other(&mut self.ranks, place);
            found.extend(same.map(|ops| What::new("contradicting-counts", ops)));
        }
        self.with(open, |rush| {
            found.extend(rush.issued(answer, &ranks));
            found
        });
    }

    fn sold_out(&mut self, open: Open, answer: Answer) {
        self.seen.sold_out += 1;
        let first = self.campaigns[open.campaign].precedence == Some(Precedence::AlreadyFirst);
        let user = open.user.filter(|_| first).and_then(|user| self.users.get(user));
        let key = open.key.and_then(|key| self.keys.get(key));
        let holder = user.map(|held| What::new("refused-holder", [held.op, answer.op]));
        let keyed = key.map(|held| What::new("idempotency", [held.op, answer.op]));
        self.with(open, |rush| {
            let mut found = rush.sold_out(answer);
            found.extend(holder.into_iter().chain(keyed));
            found
        });
    }

    fn already(&mut self, open: Open, answer: Answer, code: Option<&str>) {
        self.seen.already_issued += 1;
        let rush = &self.campaigns[open.campaign];
        let held = open.user.and_then(|user| self.users.get(user));
        let other = held.filter(|held| code.is_some_and(|code| fingerprint(code) != held.with));
        let ops = match (rush.limit, other) {
            (None, _) => Some(vec![answer.op]),
            (Some(_), other) => other.map(|held| vec![held.op, answer.op]),
        };
        let unfounded = ops.map(|ops| What { check: "unfounded-already-issued", ops });
        self.with(open, |rush| {
            let mut found = rush.opened(answer);
            found.extend(unfounded);
            found
        });
    }
}

#[cfg(test)]
#[path = "suspect/tests.rs"]
mod tests;
