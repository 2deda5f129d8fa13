//! Once somebody was told that all coupons are gone, nobody who asks afterwards gets one.
//!
//! Counterexample to the naive rule: an issue that was sent *before* the refusal was answered may
//! take the last coupon just before the refusal. Only a request sent after that answer proves
//! anything; ends that touch do not.

use super::{Check, Claim, Needs, Violation, Weight};
use crate::evidence::acknowledged::Coupon;
use crate::evidence::{CampaignEvidence, Op, Said};
use crate::wording::{count, size, span};

pub(super) const CHECK: Check = Check {
    name: "issued-after-sold-out",
    rule: "nobody who asks after \"sold out\" was answered gets a coupon",
    needs: Needs::WholeForStore,
    weight: Weight::Proof,
    benign: "coupons were given back or added during the run",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let Some(refused) = e.final_sold_out() else { return Vec::new() };
    let late = |op: &&Op| op.invoked > refused.end();
    // A request under the same key may be missing from the history, and have been the first.
    let first = |op: &&Op| e.knows_attempts(op);
    let asked = e.acknowledged.iter().map(Coupon::asked);
    let told: Vec<&Op> = asked.filter(first).filter(late).collect();
    let lost: Vec<&Op> = e.resolved().filter(late).collect();
    let all = told.len() + lost.len();
    // One that was told its coupon convinces more than one whose coupon is only in the store.
    let last = |ops: Vec<&'_ Op>| ops.into_iter().max_by_key(|op| (op.invoked, op.op)).cloned();
    let Some(late) = last(told).or_else(|| last(lost)) else { return Vec::new() };
    let how = match late.said {
        Said::Unknown => "was not answered for certain, and the coupon is there all the same",
        Said::Issued(_) | Said::SoldOut | Said::NotStarted => "still got a coupon",
        Said::AlreadyIssued(_) | Said::Failed => "still got a coupon",
        Said::Counted(_) | Said::Left(_) | Said::Listed(_) => "still got a coupon",
        Said::NotFound | Said::Ended => "still got a coupon",
    };
    let sentence = match all {
        1 => format!("a request sent after \"sold out\" was answered {how}"),
        _ => format!(
            "{} requests sent after \"sold out\" was answered got a coupon; the last {how}",
            size(all)
        ),
    };
    let margin = late.invoked.saturating_sub(refused.end());
    vec![
        Violation::new(sentence)
            .witness([refused, &late])
            .claim(Claim::Before)
            .by(margin)
            .because(format!(
                "A comes before B: its answer arrived {} before B was sent",
                span(margin)
            ))
            .because(format!(
                "B comes before A: \"sold out\" needs all {} coupons to be gone first. A contradiction.",
                count(e.coupons)
            )),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_an_issue_that_touches_the_refusal() {
        let e = campaign(2).issued("가", 110, 120).sold_out(125, 130).issued("나", 130, 140);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn accepts_an_issue_sent_afterwards_where_coupons_come_back() {
        let e = campaign(2).issued("가", 110, 120).sold_out(125, 130).issued("나", 131, 140);
        assert_eq!(find(&e.restocked().evidence()), []);
    }

    #[test]
    fn rejects_an_issue_sent_afterwards() {
        let e = campaign(2).issued("가", 110, 120).sold_out(125, 130).issued("나", 131, 140);
        let found = find(&e.evidence());
        assert_eq!(found[0].witness.iter().map(|op| op.op).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn rejects_a_lost_answer_whose_coupon_the_store_has() {
        let e = campaign(1).sold_out(125, 130).unclear(131, 140);
        assert_eq!(find(&e.store(1).row(1, "가", 1).evidence()).len(), 1);
    }

    #[test]
    fn accepts_a_lost_answer_where_a_missing_request_may_have_taken_the_coupon() {
        let mut e =
            campaign(1).sold_out(125, 130).unclear(131, 140).store(1).row(1, "가", 1).evidence();
        e.whole = false;
        assert_eq!(find(&e), []);
        assert!(Needs::WholeForStore.missing(&e).is_some());
    }

    #[test]
    fn accepts_a_replay_whose_first_request_may_be_missing() {
        let e = campaign(1).sold_out(125, 130).key("k").issued("가", 131, 140);
        let mut e = e.evidence();
        assert_eq!(find(&e).len(), 1);
        e.whole = false;
        assert_eq!(find(&e), []);
    }

    #[test]
    fn prefers_one_that_was_told_and_counts_all() {
        let e = campaign(1).sold_out(125, 130).issued("가", 131, 140).unclear(150, 160);
        let found = find(&e.store(2).row(1, "가", 1).row(2, "나", 1).evidence());
        assert_eq!(found[0].witness[1].op, 2);
        assert!(found[0].sentence.starts_with("2 requests sent after"), "{}", found[0].sentence);
    }

    #[test]
    fn accepts_the_replay_of_an_earlier_issue() {
        let e = campaign(1).key("k").issued("가", 110, 120).key("o").sold_out(125, 130);
        assert_eq!(find(&e.key("k").issued("가", 140, 150).evidence()), []);
    }
}
