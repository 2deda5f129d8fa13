//! One idempotency key of one user is one request, however often it is sent: every answer carries
//! the same code, and the store holds one coupon for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Check, Claim, Needs, Violation, Weight, capped, contradiction};
use crate::evidence::{CampaignEvidence, Group, Op, Said};
use crate::wording::size;

pub(super) const CHECK: Check = Check {
    name: "idempotency",
    rule: "one idempotency key of one user consumes one coupon, and is always told the same code",
    needs: Needs::History,
    weight: Weight::Proof,
    benign: "the server never promised to honour keys; then send none",
    find,
};

#[derive(Default)]
struct Got<'a> {
    codes: BTreeSet<&'a str>,
    told: Vec<&'a Op>,
}

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let mut groups: BTreeMap<(Option<&str>, &str), Got<'_>> = BTreeMap::new();
    for told in e.acknowledged.iter().map(|c| &c.told) {
        let (Some(key), Some(code)) = (told.key.as_deref(), told.code()) else { continue };
        let group = groups.entry((told.user.as_deref(), key)).or_default();
        group.codes.insert(code);
        group.told.push(told);
    }
    // A row that does not say whose it is may carry the same key of another user.
    let asked = e.acknowledged.iter().map(|c| &c.told).chain(&e.pending);
    let users = e.acknowledged.plain().named || asked.into_iter().any(|op| op.user.is_some());
    let rows = e.ledger().map(|l| l.rows.as_slice()).unwrap_or_default();
    for row in rows.iter().filter(|row| row.user.is_some() || !users) {
        let Some(key) = row.key.as_deref() else { continue };
        groups.entry((row.user.as_deref(), key)).or_default().codes.insert(&row.code);
    }
    let broken = groups.into_iter().filter(|(_, got)| got.codes.len() > 1);
    let violation = |((_, key), got): ((Option<&str>, &str), Got<'_>)| {
        let codes: Vec<&str> = got.codes.iter().copied().take(5).collect();
        Violation::new(format!(
            "the idempotency key {key} consumed {} coupons: {}",
            size(got.codes.len()),
            codes.join(", ")
        ))
        .witness(got.told)
    };
    let broken: Vec<Violation> = broken.map(violation).collect();
    let lost = contradiction::of_check(e, CHECK.name);
    capped(broken.into_iter().chain(refused(e)).chain(lost).collect())
}

/// Requests that were refused although the same request got a coupon. "Sold out" is wrong whenever it
/// was told: before it the coupon was there to be told again, and after it none was issued. "Not
/// started" is wrong only after the coupon.
fn refused(e: &CampaignEvidence) -> impl Iterator<Item = Violation> {
    let mut first: HashMap<Group, &Op> = HashMap::new();
    let told = e.acknowledged.iter().map(|c| &c.told).filter(|_| !e.repeats.is_empty());
    for (group, op) in told.filter_map(|op| Some((op.group()?, op))) {
        let kept = first.entry(group).or_insert(op);
        if (op.end(), op.op) < (kept.end(), kept.op) {
            *kept = op;
        }
    }
    e.repeats.iter().filter_map(move |op| {
        let after = |told: &&&Op| told.end() < op.invoked;
        let sold_out = op.said == Said::SoldOut;
        // A coupon that came back may be gone.
        let may_be = sold_out && e.restock;
        let told = first.get(&op.group()?).filter(|told| !may_be && (sold_out || after(told)))?;
        let what = if op.said == Said::SoldOut { "sold out" } else { "not started" };
        let key = op.key.as_deref().unwrap_or_default();
        let sentence = format!("the idempotency key {key} was told a coupon, and also \"{what}\"");
        let claim = if after(&told) { Claim::Before } else { Claim::SameKey };
        Some(Violation::new(sentence).witness([told, op]).claim(claim))
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_the_same_code_again() {
        let e = campaign(3).key("k").issued("가", 110, 120).issued("가", 130, 140);
        assert_eq!(find(&e.key("l").issued("나", 130, 140).evidence()), []);
    }

    #[test]
    fn accepts_the_same_key_of_two_users() {
        let e = campaign(3).key("k").user("u").issued("가", 110, 120);
        assert_eq!(find(&e.user("v").issued("나", 130, 140).evidence()), []);
    }

    #[test]
    fn rejects_another_code() {
        let e = campaign(3).key("k").issued("가", 110, 120).issued("나", 130, 140);
        assert_eq!(find(&e.evidence())[0].witness.len(), 2);
    }

    #[test]
    fn rejects_a_refusal_after_the_coupon() {
        for (sent, want) in [(119, 1), (121, 1)] {
            let e = campaign(1).key("k").user("u").issued("가", 110, 120).sold_out(sent, 130);
            assert_eq!(find(&e.evidence()).len(), want);
        }
    }

    #[test]
    fn accepts_a_refusal_where_the_coupon_came_back() {
        let e = campaign(1).restocked().key("k").user("u").issued("가", 110, 120);
        assert_eq!(find(&e.sold_out(121, 130).evidence()), []);
    }

    #[test]
    fn accepts_a_second_row_that_may_be_of_another_user() {
        let e = campaign(3).key("k").user("u").issued("가", 110, 120);
        let e = e.user("v").unclear(130, 140).store(2).row(1, "가", 1).row(2, "나", 1);
        let mut e = e.evidence();
        if let crate::evidence::Store::Settled(ledger) = &mut e.store {
            ledger.rows.iter_mut().for_each(|row| row.user = None);
        }
        assert_eq!(find(&e), []);
    }

    #[test]
    fn rejects_a_second_row() {
        let e = campaign(3).key("k").issued("가", 110, 120).unclear(130, 140).store(2);
        assert_eq!(find(&e.row(1, "가", 1).row(2, "나", 1).evidence()).len(), 1);
    }
}
