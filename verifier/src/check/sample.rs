//! Small campaigns for tests, built the way real ones are: from events.

use contract::campaign::{PerUser, Precedence, Window};
use contract::history::jsonl::Writer;
use contract::history::{Completion, Event, Integrity, Invocation, Kind, Promise};
use contract::outcome::{Coupon, Doubt, Failure, Observation, Outcome};
use contract::store::Column;

use crate::evidence::collect::Collector;
use crate::evidence::join::join;
use crate::evidence::ledger::{Counter, Ledger, Row};
use crate::evidence::{CampaignEvidence, Store};
use crate::procedure;
use crate::source::history::History;

/// A campaign that started at 100, give or take nothing.
pub(crate) struct Sample {
    promise: Promise<'static>,
    events: Vec<Event<'static>>,
    op: u64,
    user: Option<&'static str>,
    key: Option<&'static str>,
    target: Option<u16>,
    ledger: Option<Ledger>,
}

pub(crate) fn campaign(coupons: u64) -> Sample {
    let starts_at = Window { earliest: 100, latest: 100 };
    let promise =
        Promise { campaign: "c".into(), coupons, starts_at, per_user: None, restock: false };
    let (user, key, target) = (None, None, None);
    Sample { promise, events: Vec::new(), op: 0, user, key, target, ledger: None }
}

impl Sample {
    pub(crate) fn starts(mut self, earliest: i64, latest: i64) -> Self {
        self.promise.starts_at = Window { earliest, latest };
        self
    }

    pub(crate) fn one_per_user(self) -> Self {
        self.one_per_user_and(Precedence::Either)
    }

    pub(crate) fn one_per_user_and(mut self, precedence: Precedence) -> Self {
        self.promise.per_user = Some(PerUser { limit: 1, precedence });
        self
    }

    /// A read that saw so many coupons issued.
    pub(crate) fn counted(self, issued: i64, from: i64, to: i64) -> Self {
        self.read(Observation::Issued(issued), from, to)
    }

    /// A read that saw these codes.
    pub(crate) fn listed(self, codes: &[&'static str], from: i64, to: i64) -> Self {
        let codes = codes.iter().map(|code| (*code).into()).collect();
        self.read(Observation::Codes(codes), from, to)
    }

    fn read(mut self, saw: Observation<'static>, from: i64, at: i64) -> Self {
        self.invoke(Kind::Read, from);
        self.complete(Outcome::Read(saw), at);
        self
    }

    /// Coupons may come back.
    pub(crate) fn restocked(mut self) -> Self {
        self.promise.restock = true;
        self
    }

    /// The user of the requests that follow.
    pub(crate) fn user(mut self, user: &'static str) -> Self {
        self.user = Some(user);
        self
    }

    /// The key of the requests that follow.
    pub(crate) fn key(mut self, key: &'static str) -> Self {
        self.key = Some(key);
        self
    }

    /// The target of the requests that follow.
    pub(crate) fn target(mut self, target: u16) -> Self {
        self.target = Some(target);
        self
    }

    pub(crate) fn issued(self, code: &'static str, from: i64, to: i64) -> Self {
        let coupon = Coupon { code: code.into(), seq: None, remaining: None, order: None };
        self.told(Outcome::Issued(coupon), from, to)
    }

    pub(crate) fn ranked(
        self,
        code: &'static str,
        (seq, remaining): (Option<i64>, Option<i64>),
        from: i64,
        to: i64,
    ) -> Self {
        self.told(
            Outcome::Issued(Coupon { code: code.into(), seq, remaining, order: None }),
            from,
            to,
        )
    }

    pub(crate) fn already(self, code: Option<&'static str>, from: i64, to: i64) -> Self {
        self.told(Outcome::AlreadyIssued(code.map(Into::into)), from, to)
    }

    pub(crate) fn sold_out(self, from: i64, to: i64) -> Self {
        self.told(Outcome::SoldOut, from, to)
    }

    pub(crate) fn not_started(self, from: i64, to: i64) -> Self {
        self.told(Outcome::NotStarted, from, to)
    }

    pub(crate) fn not_found(self, from: i64, to: i64) -> Self {
        self.told(Outcome::NotFound, from, to)
    }

    pub(crate) fn ended(self, from: i64, to: i64) -> Self {
        self.told(Outcome::Ended, from, to)
    }

    pub(crate) fn failed(self, from: i64, to: i64) -> Self {
        self.told(Outcome::Failed(Failure::Rejected), from, to)
    }

    pub(crate) fn unclear(self, from: i64, to: i64) -> Self {
        self.told(Outcome::Indeterminate(Doubt::Timeout), from, to)
    }

    pub(crate) fn silent(mut self, from: i64) -> Self {
        self.invoke(Kind::Issue, from);
        self
    }

    fn told(mut self, outcome: Outcome<'static>, from: i64, at: i64) -> Self {
        self.invoke(Kind::Issue, from);
        self.complete(outcome, at);
        self
    }

    fn complete(&mut self, outcome: Outcome<'static>, at: i64) {
        let op = self.op;
        self.events.push(Event::Complete(Completion {
            op,
            at,
            accepted: None,
            outcome,
            status: None,
            stamp: None,
        }));
    }

    fn invoke(&mut self, kind: Kind, at: i64) {
        self.op += 1;
        self.events.push(Event::Invoke(Invocation {
            op: self.op,
            campaign: "c".into(),
            kind,
            at,
            intended: None,
            woken: None,
            target: self.target,
            user: self.user.map(Into::into),
            key: self.key.map(Into::into),
            follows: None,
        }));
    }

    /// The store has settled, with this counter.
    pub(crate) fn store(mut self, counter: i64) -> Self {
        let coupons = i64::try_from(self.promise.coupons).unwrap();
        let counters = vec![Counter::issued("counter", counter)];
        let (coupons, starts_at_us) = (Some(coupons), Some(0));
        self.ledger = Some(Ledger { coupons, starts_at_us, counters, ..Ledger::default() });
        self
    }

    /// The store has a row for the current user and key, so many µs after the start.
    pub(crate) fn row(mut self, seq: i64, code: &str, at_us: i64) -> Self {
        let (user, key) = (self.user.map(Into::into), self.key.map(Into::into));
        let row = Row { seq, code: code.into(), user, key, at_us };
        self.ledger.as_mut().unwrap().rows.push(row);
        self
    }

    /// The store's rows do not tell codes.
    pub(crate) fn codeless(mut self) -> Self {
        self.ledger.as_mut().unwrap().lacks.push(Column::Code);
        self
    }

    /// The store's index of codes has this size.
    pub(crate) fn indexed(mut self, codes: i64) -> Self {
        self.ledger.as_mut().unwrap().indexed_codes = Some(codes);
        self
    }

    /// Everything that happened.
    pub(crate) fn events(&self) -> Vec<Event<'static>> {
        let promise = Event::Campaign(self.promise.clone());
        std::iter::once(promise).chain(self.events.iter().cloned()).collect()
    }

    pub(crate) fn evidence(self) -> CampaignEvidence {
        let events = self.events();
        let mut collector = Collector::default();
        events.iter().cloned().for_each(|e| collector.take(e));
        let mut evidence = collector.finish(Integrity::default()).unwrap().campaigns.remove(0);
        if let Some(ledger) = self.ledger {
            evidence.join = Some(join(&evidence.acknowledged, &evidence.pending, &ledger.rows));
            evidence.store = Store::Settled(ledger);
        }
        let file = tempfile::NamedTempFile::with_suffix(".jsonl").unwrap();
        let mut writer = Writer::new(file.reopen().unwrap()).unwrap();
        events.iter().for_each(|e| writer.event(e).unwrap());
        writer.finish().unwrap();
        let campaigns = std::slice::from_mut(&mut evidence);
        History::alone(file.path()).find_refusals(campaigns).unwrap();
        evidence.contradictions = procedure::decide(&evidence);
        evidence
    }
}
