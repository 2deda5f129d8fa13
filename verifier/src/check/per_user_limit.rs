//! Where the campaign has a limit per user, nobody holds more coupons than that: not by what users
//! were told, not in the store, and not by both together. Where coupons may come back, not in the
//! store.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Needs, Violation, Weight, capped, contradiction};
use crate::evidence::{CampaignEvidence, Op};
use crate::wording::size;

pub(super) const CHECK: Check = Check {
    name: "per-user-limit",
    rule: "no user holds more coupons than the limit allows",
    needs: Needs::History,
    weight: Weight::Proof,
    benign: "two people share a user id in the load",
    find,
};

/// What a user holds.
#[derive(Default)]
struct Held<'a> {
    codes: BTreeSet<&'a str>,
    told: Vec<&'a Op>,
}

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let Some(limit) = limit(e) else { return Vec::new() };
    let over = held(e).into_iter().filter(|(_, held)| held.codes.len() > limit);
    let violation = |(user, held): (&str, Held<'_>)| {
        let codes: Vec<&str> = held.codes.iter().copied().take(5).collect();
        Violation::new(format!(
            "user {user} holds {} coupons, the limit is {limit}: {}",
            size(held.codes.len()),
            codes.join(", ")
        ))
        .witness(held.told)
    };
    let lost = contradiction::of_check(e, CHECK.name);
    capped(over.map(violation).chain(lost).collect())
}

fn limit(e: &CampaignEvidence) -> Option<usize> {
    let declared = e.per_user.map(|p| i64::from(p.limit));
    let stored = e.ledger().and_then(|l| l.per_user_limit);
    declared.or(stored).filter(|limit| *limit > 0).and_then(|limit| usize::try_from(limit).ok())
}

fn held(e: &CampaignEvidence) -> BTreeMap<&str, Held<'_>> {
    let mut all: BTreeMap<&str, Held<'_>> = BTreeMap::new();
    // What was told may have come back by the time of the next one.
    for coupon in e.acknowledged.iter().filter(|_| !e.restock) {
        let Some(user) = coupon.told.user.as_deref() else { continue };
        let held = all.entry(user).or_default();
        held.codes.insert(coupon.code());
        held.told.push(&coupon.told);
    }
    for row in e.ledger().map(|l| l.rows.as_slice()).unwrap_or_default() {
        let Some(user) = row.user.as_deref() else { continue };
        all.entry(user).or_default().codes.insert(&row.code);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_one_each_and_any_number_without_a_limit() {
        let e = campaign(3).one_per_user().user("u").issued("가", 110, 120);
        assert_eq!(find(&e.user("v").issued("나", 110, 120).evidence()), []);
        let e = campaign(3).user("u").issued("가", 110, 120).issued("나", 110, 120);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn accepts_any_number_where_the_store_says_0() {
        let e = campaign(3).user("u").issued("가", 110, 120).issued("나", 110, 120);
        let mut e = e.store(2).row(1, "가", 1).row(2, "나", 1).evidence();
        if let crate::evidence::Store::Settled(ledger) = &mut e.store {
            ledger.per_user_limit = Some(0);
        }
        assert_eq!(find(&e), []);
    }

    #[test]
    fn rejects_two_lost_requests_that_the_store_gave_a_coupon_each() {
        let e = campaign(3).one_per_user().user("u").key("k").unclear(110, 120).key("l");
        let e = e.unclear(110, 120).store(2).row(2, "나", 1).key("k").row(1, "가", 1);
        let mut e = e.evidence();
        if let crate::evidence::Store::Settled(ledger) = &mut e.store {
            ledger.rows.iter_mut().for_each(|row| row.user = None);
        }
        e.counts.ranked = 1;
        e.contradictions = crate::procedure::decide(&e);
        assert_eq!(find(&e)[0].witness.len(), 2);
    }

    #[test]
    fn rejects_two_of_one_user() {
        let e = campaign(3).one_per_user().user("u").issued("가", 110, 120).issued("나", 110, 120);
        assert_eq!(find(&e.evidence())[0].witness.len(), 2);
    }

    #[test]
    fn accepts_one_after_the_other_where_coupons_come_back() {
        let e = || campaign(3).restocked().one_per_user().user("u").issued("가", 110, 120);
        let e = || e().issued("나", 130, 140);
        assert_eq!(find(&e().evidence()), []);
        assert_eq!(find(&e().store(1).row(1, "나", 1).evidence()), []);
        assert_eq!(find(&e().store(2).row(1, "가", 1).row(2, "나", 1).evidence()).len(), 1);
    }

    #[test]
    fn rejects_a_second_one_that_only_the_store_knows() {
        let e = campaign(3).one_per_user().user("u").issued("가", 110, 120).unclear(110, 120);
        let e = e.store(2).row(1, "가", 1).row(2, "나", 1).evidence();
        assert_eq!(find(&e)[0].sentence, "user u holds 2 coupons, the limit is 1: 가, 나");
    }
}
