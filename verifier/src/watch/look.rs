//! Looks at all requests so far, with everything that the checks can prove of a history.
//!
//! Nothing is read again for it: the evidence is collected while the history is followed, as
//! `verifier check` collects it and in the same memory, and a copy of it is judged.
//!
//! The trick is that what is judged must hold whatever an answer can rest on. Segments are read one after
//! the other, so the request behind an answer in the last one may have been written to the first one
//! meanwhile. It was written ahead: so before a look the history is read once more, and of what came
//! meanwhile only the requests count.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context as _, Result};
use contract::campaign::Window;
use contract::history::follow::Follower;
use contract::history::{Completion, Event, HistoryError, Integrity, Promise, Sink as _};

use super::confirm::targets;
use crate::check::Certainty;
use crate::evidence::collect::Collector;
use crate::evidence::shared;
use crate::source::history::{History, NO_ROOM};
use crate::verdict::{Report, judge};

/// A look is followed by so many times its duration without another one.
const REST: u32 = 9;
/// So many answers may come while the history is read once more.
const MOST_MEANWHILE: usize = 1 << 20;

/// All that was read so far.
#[derive(Debug)]
pub(super) struct Everything {
    collector: Collector,
    /// Starts that became known otherwise.
    starts: HashMap<Box<str>, Window>,
    next: Instant,
}

impl Everything {
    pub(super) fn new() -> Self {
        let (collector, starts) = (Collector::default(), HashMap::new());
        Self { collector, starts, next: Instant::now() }
    }

    pub(super) fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Campaign(promise) => self.promise(promise),
            Event::Invoke(invocation) => self.collector.invoke(invocation),
            Event::Complete(completion) => self.collector.complete(completion),
        }
    }

    fn promise(&mut self, promise: &Promise<'_>) {
        let again = self.starts.insert(promise.campaign.as_ref().into(), promise.starts_at);
        if again.is_none() {
            self.collector.campaign(promise);
        }
    }

    /// Whether the last look was long enough ago.
    pub(super) fn may_look(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Judges everything, but does not check the proofs again. Tells `each` what came while it was read
    /// once more, and says whether the history has ended by now.
    ///
    /// There is no report where too much came meanwhile.
    pub(super) fn look(
        &mut self,
        follower: &mut Follower,
        (history, read_lag): (&History, i64),
        each: &mut dyn FnMut(&Event<'_>),
    ) -> Result<(Option<Report>, bool)> {
        let begun = Instant::now();
        let mut meanwhile = Vec::new();
        let over = self.read_on(follower, &mut meanwhile, each)?;
        // Nothing is missing from what is there to its end.
        let sound = over || meanwhile.len() < MOST_MEANWHILE;
        if over {
            self.complete(meanwhile.drain(..));
        }
        let whole = over || follower.is_written_ahead();
        let judged = sound.then(|| self.judge(history, read_lag, whole)).transpose()?;
        self.complete(meanwhile.drain(..));
        self.next = Instant::now() + begun.elapsed() * REST;
        Ok((judged, over))
    }

    /// Takes the requests that were sent meanwhile, and keeps the answers.
    fn read_on(
        &mut self,
        follower: &mut Follower,
        meanwhile: &mut Vec<Completion<'static>>,
        each: &mut dyn FnMut(&Event<'_>),
    ) -> Result<bool, HistoryError> {
        follower.poll(&mut |event| {
            each(&event);
            match event {
                Event::Complete(c) if meanwhile.len() < MOST_MEANWHILE => {
                    meanwhile.push(Completion { outcome: c.outcome.into_owned(), ..c });
                }
                Event::Complete(_) | Event::Invoke(_) | Event::Campaign(_) => self.take(&event),
            }
        })
    }

    fn complete(&mut self, completions: impl Iterator<Item = Completion<'static>>) {
        completions.for_each(|completion| self.collector.complete(&completion));
    }

    fn judge(&self, history: &History, read_lag: i64, whole: bool) -> Result<Report> {
        let collector = self.collector.clone();
        let mut evidence = collector.finish(Integrity::default()).context(NO_ROOM)?;
        for campaign in &mut evidence.campaigns {
            campaign.read_lag = read_lag;
            campaign.starts_at = *self.starts.get(&*campaign.name).unwrap_or(&campaign.starts_at);
            campaign.keys_whole = whole;
            campaign.whole &= whole;
            campaign.targets = targets(history);
        }
        let all: Vec<usize> = (0..evidence.campaigns.len()).collect();
        crate::settle(&mut evidence, &all)?;
        shared::find(&mut evidence.campaigns);
        history.find_refusals(&mut evidence.campaigns)?;
        all.into_iter().try_for_each(|at| crate::decide(&mut evidence, at, None))?;
        Ok(judge(evidence.campaigns, Vec::new(), Certainty::Proven))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use contract::history::{Invocation, Kind};
    use contract::outcome::{Coupon, Outcome};

    use crate::verdict::Kind as Found;

    const COUPONS: u64 = 40;

    fn promise(starts_at: i64) -> Event<'static> {
        Event::Campaign(Promise {
            campaign: "c".into(),
            coupons: COUPONS,
            starts_at: Window { earliest: starts_at, latest: starts_at },
            per_user: None,
            restock: false,
        })
    }

    /// A coupon of this rank, asked for and told at a moment of its own.
    fn coupon(rank: u64) -> [Event<'static>; 2] {
        let at = i64::try_from(rank).unwrap() * 10;
        let code = char::from_u32(0xAC00 + u32::try_from(rank).unwrap()).unwrap().to_string();
        let seq = i64::try_from(rank).ok();
        let coupon = Coupon { code: code.into(), seq, remaining: None, order: None };
        let (accepted, status, stamp) = (None, None, None);
        let outcome = Outcome::Issued(coupon);
        [
            Event::Invoke(Invocation {
                op: rank,
                campaign: "c".into(),
                kind: Kind::Issue,
                at,
                intended: None,
                woken: None,
                target: None,
                user: None,
                key: None,
                follows: None,
            }),
            Event::Complete(Completion { op: rank, at: at + 5, accepted, outcome, status, stamp }),
        ]
    }

    fn everything(held: usize) -> Everything {
        let mut everything = Everything::new();
        everything.collector = Collector::holding(held);
        everything.take(&promise(0));
        everything
    }

    fn proven(everything: &Everything) -> BTreeSet<&'static str> {
        let history = History::alone(std::path::Path::new("nowhere"));
        let report = everything.judge(&history, 0, true).unwrap();
        report.findings().filter(|f| f.kind == Found::Violation).map(|f| f.check).collect()
    }

    #[test]
    fn a_look_in_the_middle_changes_nothing_held_or_put_aside() {
        for held in [1_000, 5] {
            let mut everything = everything(held);
            for rank in 1..=COUPONS {
                coupon(rank).iter().for_each(|event| everything.take(event));
                assert!(proven(&everything).is_empty(), "{held}, {rank}");
            }
            coupon(COUPONS + 1).iter().for_each(|event| everything.take(event));
            assert_eq!(
                proven(&everything),
                BTreeSet::from(["over-issued", "contradicting-counts"]),
                "{held}"
            );
        }
    }

    #[test]
    fn a_start_that_is_known_better_counts() {
        let mut everything = everything(1_000);
        coupon(1).iter().for_each(|event| everything.take(event));
        assert!(proven(&everything).is_empty());
        everything.take(&promise(20));
        assert_eq!(proven(&everything), BTreeSet::from(["early-issue"]));
    }
}
