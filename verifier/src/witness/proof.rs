//! Everything it takes to check one claim again, without the run: the raw operations as a small
//! history of their own, in the public format, and what else the claim rests on.

use std::collections::BTreeMap;

use anyhow::Result;
use contract::history::jsonl::Writer;
use contract::history::{Completion, Event, Invocation, Kind, Promise};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::context::Context;
use super::{Facts, Raw, Wanted};
use crate::check::{Claim, Violation};
use crate::evidence::CampaignEvidence;

/// So many operations are written down for one violation at the most.
const MOST_CARRIED: usize = 20_000;

/// What one claim is, and all that it rests on.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Proof {
    /// What the operations of the witness claim beyond what they were told.
    pub claim: Claim,
    /// What is known besides them.
    pub context: Context,
    /// The operations: the lines of a `coupon-history/1`. It holds those of the witness and all
    /// others that the claim is about.
    pub history: Vec<Value>,
}

impl Facts {
    /// The proof of a violation; none where it has no operations, or too many to be written down.
    ///
    /// # Errors
    /// Never in practice: everything in it can be written as JSON.
    pub fn proof(&self, e: &CampaignEvidence, violation: &Violation) -> Result<Option<Proof>> {
        let mut wanted = Wanted::default();
        wanted.add(&e.name, violation);
        let is_wanted = |op: u64, raw: &Raw| {
            let sent = raw.sent.as_ref();
            sent.is_some_and(|s| wanted.wants(op, &s.campaign, raw.user(), raw.key()))
        };
        let ops = self.ops.iter().filter(|(op, raw)| is_wanted(**op, raw));
        let ops: BTreeMap<u64, &Raw> = ops.map(|(op, raw)| (*op, raw)).collect();
        if ops.is_empty() || ops.len() > MOST_CARRIED {
            return Ok(None);
        }
        let (claim, context) = (violation.claim, Context::of(e, violation));
        Ok(Some(Proof { claim, context, history: self.history(&ops)? }))
    }

    /// A whole history of these operations.
    fn history(&self, ops: &BTreeMap<u64, &Raw>) -> Result<Vec<Value>> {
        let mut lines = Vec::new();
        let mut writer = Writer::new(&mut lines)?;
        for promise in self.promises(ops) {
            writer.event(&Event::Campaign(promise))?;
        }
        let mut events: Vec<Event<'_>> = ops.iter().flat_map(|(op, raw)| raw.events(*op)).collect();
        // Invocations before completions of the same moment.
        events.sort_by_key(|event| match event {
            Event::Invoke(i) => (i.at, 0, i.op),
            Event::Complete(c) => (c.at, 1, c.op),
            Event::Campaign(_) => (i64::MIN, 0, 0),
        });
        for event in &events {
            writer.event(event)?;
        }
        writer.finish()?;
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(serde_json::from_slice).collect::<Result<_, _>>()?)
    }

    /// What the campaigns of these operations promised.
    fn promises<'a>(&self, ops: &BTreeMap<u64, &'a Raw>) -> Vec<Promise<'a>> {
        let sent = ops.values().filter_map(|raw| raw.sent.as_ref());
        let named: BTreeMap<&str, _> = sent
            .filter_map(|sent| Some((&*sent.campaign, self.terms.get(&*sent.campaign)?)))
            .collect();
        let promise = |(campaign, terms): (&'a str, &super::Terms)| Promise {
            campaign: campaign.into(),
            coupons: terms.coupons,
            starts_at: terms.starts_at,
            per_user: terms.per_user,
            restock: terms.restock,
        };
        named.into_iter().map(promise).collect()
    }
}

impl Raw {
    /// Both its ends.
    fn events(&self, op: u64) -> impl Iterator<Item = Event<'_>> {
        let invoke = self.sent.as_ref().map(|sent| {
            Event::Invoke(Invocation {
                op,
                campaign: sent.campaign.as_ref().into(),
                kind: if sent.is_read { Kind::Read } else { Kind::Issue },
                at: sent.at,
                intended: None,
                woken: None,
                target: sent.target,
                user: sent.user.as_deref().map(Into::into),
                key: sent.key.as_deref().map(Into::into),
                follows: None,
            })
        });
        let complete = self.completed.as_ref().map(|(at, outcome)| {
            let (accepted, status, stamp) = (None, None, None);
            let outcome = outcome.clone();
            Event::Complete(Completion { op, at: *at, accepted, outcome, status, stamp })
        });
        invoke.into_iter().chain(complete)
    }
}
