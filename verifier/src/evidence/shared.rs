//! Codes that two campaigns gave out. It is the only thing campaigns have to do with each other.

use std::collections::HashMap;

use super::{CampaignEvidence, Op, SharedCode};

/// Where a code was seen first: the campaign, and the request that was told it.
type First<'a> = (usize, Option<&'a Op>);

/// Notes in both campaigns every code that another campaign gave out as well.
pub fn find(campaigns: &mut [CampaignEvidence]) {
    let mut found: Vec<(usize, SharedCode)> = Vec::new();
    let mut first: HashMap<&str, First<'_>> = HashMap::new();
    for (at, campaign) in campaigns.iter().enumerate() {
        for (code, op) in codes(campaign) {
            let &mut (other, theirs) = first.entry(code).or_insert((at, op));
            if other != at {
                found.push((at, shared(code, op, &campaigns[other], theirs)));
                found.push((other, shared(code, theirs, campaign, op)));
            }
        }
    }
    for (at, code) in found {
        if !campaigns[at].shared.iter().any(|s| s.code == code.code && s.other == code.other) {
            campaigns[at].shared.push(code);
        }
    }
}

/// Every code of a campaign; those that somebody was told come first.
fn codes(campaign: &CampaignEvidence) -> impl Iterator<Item = (&str, Option<&Op>)> {
    let told = campaign.acknowledged.iter().map(|c| (c.code(), Some(&c.told)));
    let rows = campaign.ledger().map(|l| l.rows.as_slice()).unwrap_or_default();
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
