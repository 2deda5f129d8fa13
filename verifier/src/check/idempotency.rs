//! One idempotency key of one user is one request, however often it is sent: every answer carries
//! the same code, and the store holds one coupon for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Check, Claim, Needs, Violation, Weight, capped};
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
    for row in e.ledger().map(|l| l.rows.as_slice()).unwrap_or_default() {
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
    capped(broken.into_iter().chain(refused(e)).collect())
}

/// Requests that were refused although the same request had been told a coupon before they were
/// sent.
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
        let told = first.get(&op.group()?).filter(|told| told.end() < op.invoked)?;
        let what = if op.said == Said::SoldOut { "sold out" } else { "not started" };
        let key = op.key.as_deref().unwrap_or_default();
        let sentence =
            format!("the idempotency key {key} had been told a coupon, and then \"{what}\"");
        Some(Violation::new(sentence).witness([told, op]).claim(Claim::Before))
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
        for (sent, want) in [(120, 0), (121, 1)] {
            let e = campaign(1).key("k").user("u").issued("가", 110, 120).sold_out(sent, 130);
            let mut e = e.evidence();
            assert_eq!(e.suspects.len(), 1);
            e.repeats = e.first_sold_out.iter().cloned().collect();
            assert_eq!(find(&e).len(), want);
        }
    }

    #[test]
    fn rejects_a_second_row() {
        let e = campaign(3).key("k").issued("가", 110, 120).unclear(130, 140).store(2);
        assert_eq!(find(&e.row(1, "가", 1).row(2, "나", 1).evidence()).len(), 1);
    }
}
