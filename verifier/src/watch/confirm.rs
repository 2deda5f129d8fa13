//! Reads a few requests again, and judges them as if they were all.
//!
//! What a part of a history shows is proven by it: another request that nobody looks at can make
//! nothing possible that these alone rule out. It could where it was sent under the same key, so
//! those are read as well.
//!
//! The history grows while it is read. So it is read twice: completions count only as far as the first
//! pass came, invocations as far as the second. Whatever an answer can rest on was written down
//! before it was sent, and is there by then.

use std::collections::HashSet;

use anyhow::Result;
use contract::history::follow::Follower;
use contract::history::{Event, Integrity, Invocation};

use super::known::{Fingerprint, fingerprint};
use super::rush::Suspicion;
use crate::check::Certainty;
use crate::evidence::collect::Collector;
use crate::evidence::{CampaignEvidence, shared};
use crate::procedure;
use crate::source::history::History;
use crate::verdict::{Report, judge};

/// What is read again.
struct Wanted {
    ops: HashSet<u64>,
    /// All requests with these keys.
    keys: HashSet<Fingerprint>,
}

/// Judges what is suspected, but does not check the proofs again.
pub(super) fn confirm(
    history: &History,
    suspicions: &[Suspicion],
    read_lag: i64,
) -> Result<Report> {
    let mut campaigns = Wanted::of(suspicions, history)?.collect(history)?;
    shared::find(&mut campaigns);
    history.find_refusals(&mut campaigns)?;
    for campaign in &mut campaigns {
        campaign.read_lag = read_lag;
        campaign.contradictions = procedure::decide(campaign);
    }
    Ok(judge(campaigns, Vec::new(), Certainty::Proven))
}

impl Wanted {
    fn of(suspicions: &[Suspicion], history: &History) -> Result<Self> {
        let ops: HashSet<u64> =
            suspicions.iter().flat_map(|s| s.what.ops.iter().copied()).collect();
        let mut keys = HashSet::new();
        Follower::open(&history.path)?.poll(&mut |event| {
            if let Event::Invoke(i) = event {
                keys.extend(key(&i).filter(|_| ops.contains(&i.op)));
            }
        })?;
        Ok(Self { ops, keys })
    }

    fn wants(&self, i: &Invocation<'_>) -> bool {
        self.ops.contains(&i.op) || key(i).is_some_and(|key| self.keys.contains(&key))
    }

    fn collect(&self, history: &History) -> Result<Vec<CampaignEvidence>> {
        let mut follower = Follower::open(&history.path)?;
        // What is suspected is looked at one by one, however much it is.
        let mut collector = Collector::holding(usize::MAX);
        let mut open: HashSet<u64> = HashSet::new();
        follower.poll(&mut |event| {
            let wanted = match &event {
                // None is told again in the same pass.
                Event::Campaign(_) => true,
                Event::Invoke(i) => self.wants(i) && open.insert(i.op),
                Event::Complete(c) => open.remove(&c.op),
            };
            if wanted {
                collector.take(event);
            }
        })?;
        follower.poll(&mut |event| {
            if matches!(&event, Event::Invoke(i) if self.wants(i)) {
                collector.take(event);
            }
        })?;
        let mut campaigns = collector.finish(Integrity::default())?.campaigns;
        campaigns.retain(|campaign| campaign.counts.requests + campaign.counts.reads > 0);
        for campaign in &mut campaigns {
            (campaign.keys_whole, campaign.whole) = (follower.is_written_ahead(), false);
            campaign.targets = history.targets();
        }
        Ok(campaigns)
    }
}

fn key(i: &Invocation<'_>) -> Option<Fingerprint> {
    i.key.as_deref().map(|key| fingerprint((i.campaign.as_ref(), i.user.as_deref(), key)))
}
