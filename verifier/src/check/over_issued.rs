//! No more coupons are issued than were promised. Counted are the coupons that clients were told
//! about and those that only the store knows: neither side alone sees all of them. Where coupons may come
//! back only those count that the store holds in the end, all at once.

use std::cmp::Reverse;
use std::collections::HashSet;

use super::{Check, Claim, MOST_COUNTED, Needs, Violation, Weight};
use crate::evidence::ledger::Ledger;
use crate::evidence::{CampaignEvidence, Op};
use crate::wording::{count, size, things_were};

pub(super) const CHECK: Check = Check {
    name: "over-issued",
    rule: "no more coupons are issued than were promised",
    needs: Needs::History,
    weight: Weight::Proof,
    benign: "coupons were added during the run",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    if e.restock {
        return held(e).into_iter().collect();
    }
    let told = e.acknowledged.len();
    let rows = e.ledger().map_or(0, Ledger::count);
    let all = e.consumed();
    if all as u64 <= e.coupons {
        return Vec::new();
    }
    let mut sentence = too_many("issued", all, e.coupons);
    if all > told {
        sentence +=
            &format!(": clients were told about {}, the store holds {}", size(told), size(rows));
    }
    vec![witnessed(e, Violation::new(sentence))]
}

/// Coupons that the store holds in the end.
fn held(e: &CampaignEvidence) -> Option<Violation> {
    let rows = e.ledger()?.count();
    let over = rows as u64 > e.coupons;
    over.then(|| Violation::new(too_many("in the settled store", rows, e.coupons)))
}

fn too_many(how: &str, all: usize, coupons: u64) -> String {
    format!(
        "{} {how}, {} promised, {} too many",
        things_were(all, "coupon"),
        were(coupons),
        count((all as u64).saturating_sub(coupons)),
    )
}

/// Any one more than was promised prove it; the latest stand where the surplus came about. With a
/// code of its own for each of them the answers alone do, without the store.
fn witnessed(e: &CampaignEvidence, violation: Violation) -> Violation {
    let enough = usize::try_from(e.coupons.saturating_add(1)).unwrap_or(usize::MAX);
    let latest = |ops: &mut Vec<&Op>| ops.sort_by_key(|op| Reverse((op.invoked, op.op)));
    let mut told: Vec<&Op> = e.acknowledged.iter().map(|c| &c.told).collect();
    latest(&mut told);
    let mut codes = HashSet::new();
    let distinct = told.iter().copied().filter(|op| codes.insert(op.code()));
    let distinct: Vec<&Op> = distinct.take(enough).collect();
    if distinct.len() == enough && enough <= MOST_COUNTED {
        return violation.counted(distinct).claim(Claim::TooMany);
    }
    told.extend(e.resolved());
    latest(&mut told);
    violation.witness(told.into_iter().take(enough))
}

fn were(n: u64) -> String {
    format!("{} {}", count(n), if n == 1 { "was" } else { "were" })
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_as_many_as_were_promised() {
        let e = campaign(2).issued("가", 110, 120).issued("나", 110, 120).unclear(110, 120);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn rejects_one_more() {
        let e = campaign(1).issued("가", 110, 120).issued("나", 110, 120).issued("다", 110, 120);
        let found = find(&e.evidence());
        assert_eq!(found[0].sentence, "3 coupons were issued, 1 was promised, 2 too many");
        assert_eq!(found[0].witness.len(), 2, "N + 1 prove it");
        assert_eq!(found[0].claim, Claim::TooMany);
    }

    #[test]
    fn one_code_twice_is_not_counted_twice_as_a_proof() {
        let e = campaign(1).issued("가", 110, 120).issued("가", 110, 120);
        assert_eq!(find(&e.evidence())[0].claim, Claim::Told);
    }

    #[test]
    fn rejects_one_more_that_only_the_store_knows() {
        let e = campaign(1).issued("가", 110, 120).unclear(110, 120).store(2);
        let e = e.row(1, "가", 1).row(2, "나", 1).evidence();
        assert_eq!(find(&e)[0].witness.len(), 2);
    }

    #[test]
    fn names_no_lost_request_where_others_may_be_missing() {
        let e = campaign(1).issued("가", 110, 120).unclear(110, 120).store(2);
        let mut e = e.row(1, "가", 1).row(2, "나", 1).evidence();
        e.whole = false;
        assert_eq!(find(&e)[0].witness.len(), 1);
    }

    #[test]
    fn where_coupons_come_back_only_what_is_held_at_once_counts() {
        let e = || campaign(1).restocked().issued("가", 110, 120).issued("나", 110, 120);
        assert_eq!(find(&e().evidence()), []);
        assert_eq!(find(&e().store(1).row(1, "나", 1).evidence()), []);
        let found = find(&e().store(2).row(1, "가", 1).row(2, "나", 1).evidence());
        assert_eq!(
            found[0].sentence,
            "2 coupons were in the settled store, 1 was promised, 1 too many"
        );
    }

    #[test]
    fn accepts_a_replay_under_one_key() {
        let e = campaign(1).key("k").issued("가", 110, 120).issued("가", 130, 140);
        assert_eq!(find(&e.evidence()), []);
    }
}
