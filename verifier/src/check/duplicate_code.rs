//! No code is issued twice: not in a campaign, not across campaigns, not in the ledger, and not to
//! two users. The same code again under the same idempotency key is a replay and no duplicate.

use std::collections::BTreeMap;

use super::{Check, Claim, Needs, Violation, Weight, capped_of};
use crate::evidence::{CampaignEvidence, Op};
use crate::wording::size;

pub(super) const CHECK: Check = Check {
    name: "duplicate-code",
    rule: "no code is issued twice, in a campaign or across campaigns",
    needs: Needs::History,
    weight: Weight::Proof,
    benign: "nothing; the same code again under the same idempotency key is not reported",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let mut all = stored_twice(e);
    // A coupon that came back may be told again, and be somebody else's by now.
    if !e.restock {
        all.splice(0..0, told_twice(e));
        all.extend(of_two_users(e));
    }
    all.extend(of_two_campaigns(e));
    capped_of(all, e.more_shared)
}

fn told_twice(e: &CampaignEvidence) -> Vec<Violation> {
    let mut by_code: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for coupon in e.acknowledged.iter() {
        by_code.entry(coupon.code()).or_default().push(&coupon.told);
    }
    let twice = by_code.into_iter().filter(|(_, ops)| ops.len() > 1);
    let violation = |(code, ops): (&str, Vec<&Op>)| {
        Violation::new(format!("code {code} was issued {} times", size(ops.len())))
            .witness(ops)
            .claim(Claim::SameCode)
    };
    twice.map(violation).collect()
}

fn stored_twice(e: &CampaignEvidence) -> Vec<Violation> {
    let mut by_code: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for row in e.ledger().map(|l| l.rows.as_slice()).unwrap_or_default() {
        by_code.entry(&row.code).or_default().push(row.seq);
    }
    let twice = by_code.into_iter().filter(|(_, seqs)| seqs.len() > 1);
    let violation = |(code, seqs): (&str, Vec<i64>)| {
        let first: Vec<String> = seqs.iter().take(5).map(|s| format!("#{s}")).collect();
        Violation::new(format!(
            "code {code} stands {} times in the store: rows {}{}",
            size(seqs.len()),
            first.join(", "),
            if seqs.len() > 5 { ", …" } else { "" }
        ))
    };
    twice.map(violation).collect()
}

fn of_two_users(e: &CampaignEvidence) -> Vec<Violation> {
    let rows = e.ledger().map(|l| l.rows.as_slice()).unwrap_or_default();
    let owner: BTreeMap<&str, &str> =
        rows.iter().filter_map(|r| Some((r.code.as_ref(), r.user.as_deref()?))).collect();
    let violation = |op: &Op| {
        let (code, user) = (op.code()?, op.user.as_deref()?);
        let other = owner.get(code).filter(|other| **other != user)?;
        let sentence =
            format!("code {code} was issued to user {user}, the store gives it to {other}");
        Some(Violation::new(sentence).witness([op]))
    };
    e.acknowledged.iter().filter_map(|c| violation(&c.told)).collect()
}

fn of_two_campaigns(e: &CampaignEvidence) -> Vec<Violation> {
    let violation = |s: &crate::evidence::SharedCode| {
        let sentence = format!("code {} was issued by campaign {} as well", s.code, s.other);
        let claim =
            if s.own.is_some() && s.theirs.is_some() { Claim::SameCode } else { Claim::Told };
        Violation::new(sentence).witness(s.own.iter().chain(&s.theirs)).claim(claim)
    };
    e.shared.iter().map(violation).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_different_codes_and_replays() {
        let e = campaign(3).issued("7", 110, 120).issued("07", 110, 120);
        let e = e.key("k").issued("가", 130, 140).issued("가", 150, 160);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn accepts_a_code_again_where_coupons_come_back() {
        let e = || campaign(3).restocked().user("u").issued("가", 110, 120);
        let e = || e().user("v").issued("가", 130, 140);
        assert_eq!(find(&e().store(1).row(1, "가", 1).evidence()), []);
        assert_eq!(find(&e().store(2).row(1, "가", 1).row(2, "가", 1).evidence()).len(), 1);
    }

    #[test]
    fn rejects_one_code_twice() {
        let e = campaign(3).issued("가", 110, 120).issued("나", 110, 120).issued("가", 130, 140);
        let found = find(&e.evidence());
        assert_eq!(found[0].witness.iter().map(|op| op.op).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn rejects_one_code_in_two_rows_and_with_another_user() {
        let e = campaign(3).user("u1").issued("가", 110, 120).store(2);
        let e = e.row(1, "가", 1).user("u2").row(2, "가", 2).evidence();
        assert_eq!(find(&e).len(), 2);
    }

    #[test]
    fn many_codes_of_another_campaign_are_cut_and_counted() {
        let codes: Vec<&'static str> = (0..30).map(|n| &*format!("{n}").leak()).collect();
        let all = |mut e: super::super::sample::Sample| {
            for code in &codes {
                e = e.issued(code, 110, 120);
            }
            e.evidence()
        };
        let mut both = [all(campaign(30)), all(campaign(30))];
        both[1].name = "d".into();
        crate::evidence::shared::find(&mut both);
        let found = find(&both[0]);
        assert_eq!((both[0].shared.len(), both[0].more_shared, found.len()), (20, 10, 20));
        assert!(found[19].sentence.contains("and 10 more"), "{}", found[19].sentence);
    }

    #[test]
    fn rejects_a_code_of_another_campaign() {
        let mut both = [
            campaign(3).issued("가", 110, 120).evidence(),
            campaign(3).issued("가", 110, 120).evidence(),
        ];
        both[1].name = "d".into();
        crate::evidence::shared::find(&mut both);
        assert!(find(&both[0])[0].sentence.contains("campaign d"));
        assert!(find(&both[1])[0].sentence.contains("campaign c"));
    }
}
