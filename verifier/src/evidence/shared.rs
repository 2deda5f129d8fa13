//! Codes that two campaigns gave out. It is the only thing campaigns have to do with each other.

use std::collections::{HashMap, HashSet};

use contract::store::Column;

use super::{CampaignEvidence, Op, SharedCode};

/// Where a code was seen first: the campaign, and the request that was told it.
type First<'a> = (usize, Option<&'a Op>);

/// Notes in both campaigns every code that another campaign gave out as well.
pub fn find(campaigns: &mut [CampaignEvidence]) {
    let mut found: Vec<Found> = campaigns.iter().map(|_| Found::default()).collect();
    let mut first: HashMap<&str, First<'_>> = HashMap::new();
    // Pairs that are noted already: the store's row of a code that was told is the same code.
    let mut pairs: HashSet<(&str, usize, usize)> = HashSet::new();
    for (at, campaign) in campaigns.iter().enumerate() {
        for (code, op) in codes(campaign) {
            let &mut (other, theirs) = first.entry(code).or_insert((at, op));
            if other != at && pairs.insert((code, other, at)) {
                found[at].note(|| shared(code, op, &campaigns[other], theirs));
                found[other].note(|| shared(code, theirs, campaign, op));
            }
        }
    }
    for (campaign, found) in campaigns.iter_mut().zip(found) {
        (campaign.shared, campaign.more_shared) = (found.codes, found.more);
    }
}

/// So many are kept of each campaign; the others are counted.
const KEPT: usize = 20;

#[derive(Default)]
struct Found {
    codes: Vec<SharedCode>,
    more: usize,
}

impl Found {
    fn note(&mut self, code: impl FnOnce() -> SharedCode) {
        if self.codes.len() < KEPT {
            self.codes.push(code());
        } else {
            self.more += 1;
        }
    }
}

/// Every code of a campaign; those that somebody was told come first.
fn codes(campaign: &CampaignEvidence) -> impl Iterator<Item = (&str, Option<&Op>)> {
    let told = campaign.acknowledged.iter().map(|c| (c.code(), Some(&c.told)));
    let ledger = campaign.ledger().filter(|l| l.tells(Column::Code));
    let rows = ledger.map(|l| l.rows.as_slice()).unwrap_or_default();
    told.chain(rows.iter().map(|r| (r.code.as_ref(), None)))
}

fn shared(
    code: &str,
    own: Option<&Op>,
    other: &CampaignEvidence,
    theirs: Option<&Op>,
) -> SharedCode {
    SharedCode {
        code: code.into(),
        own: own.cloned(),
        other: other.name.clone(),
        theirs: theirs.cloned(),
    }
}
