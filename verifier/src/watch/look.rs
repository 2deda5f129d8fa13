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

use crate::check::Certainty;
use crate::evidence::collect::Collector;
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
            campaign.targets = history.targets();
        }
        let all: Vec<usize> = (0..evidence.campaigns.len()).collect();
        crate::find_contradictions(&mut evidence, &all, history, None)?;
        Ok(judge(evidence.campaigns, Vec::new(), Certainty::Proven))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::check::sample::{Sample, campaign};
    use crate::verdict::Kind;

    fn everything(held: usize) -> Everything {
        Everything { collector: Collector::holding(held), ..Everything::new() }
    }

    fn proven(everything: &Everything) -> BTreeSet<&'static str> {
        let report = everything.judge(&History::alone(Path::new("nowhere")), 0, true).unwrap();
        report.findings().filter(|f| f.kind == Kind::Violation).map(|f| f.check).collect()
    }

    #[test]
    fn a_look_in_the_middle_changes_nothing_held_or_put_aside() {
        let ranked = |e: Sample, (rank, code): (i64, &'static str)| {
            e.ranked(code, (Some(rank), None), 100 + 10 * rank, 105 + 10 * rank)
        };
        let codes = ["가", "나", "다", "라", "마", "바", "사"];
        let events = (1..).zip(codes).fold(campaign(6), ranked).events();
        let (last, right) = events.split_last().unwrap();
        for held in [1_000, 2] {
            let mut everything = everything(held);
            for event in right {
                everything.take(event);
                assert!(proven(&everything).is_empty(), "{held}, {event:?}");
            }
            everything.take(last);
            let broken = BTreeSet::from(["over-issued", "contradicting-counts"]);
            assert_eq!(proven(&everything), broken, "{held}");
        }
    }

    #[test]
    fn a_start_that_is_known_better_counts() {
        let told = campaign(1).issued("가", 110, 120);
        let mut everything = everything(1_000);
        told.events().iter().for_each(|event| everything.take(event));
        assert!(proven(&everything).is_empty());
        everything.take(&told.starts(121, 130).events()[0]);
        assert_eq!(proven(&everything), BTreeSet::from(["early-issue"]));
    }
}
