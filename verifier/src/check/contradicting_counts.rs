//! What answers and reads say of numbers fits together: every rank lies between 1 and N, what was left
//! after a coupon follows from its rank, and all numbers can have been seen in one order.

use super::{Check, Claim, Needs, Violation, Weight, capped, contradiction};
use crate::evidence::CampaignEvidence;
use crate::evidence::acknowledged::Coupon;
use crate::wording::count;

pub(super) const CHECK: Check = Check {
    name: "contradicting-counts",
    rule: "ranks and counts that were told can all have been true, in the order in which they were",
    needs: Needs::History,
    weight: Weight::Proof,
    benign: "coupons were given back or added during the run; or reads lag, and neither the scenario nor --read-lag says so",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    // Where coupons come back, their number and what is left go up and down.
    let ranked = e.acknowledged.iter().filter(|_| !e.restock);
    let ranks = ranked.filter_map(|c| rank(e.coupons, c));
    capped(ranks.chain(contradiction::of_check(e, CHECK.name)).collect())
}

/// A coupon whose rank cannot be: outside the campaign, or not the same in every answer.
fn rank(coupons: u64, coupon: &Coupon) -> Option<Violation> {
    let (first, op) = coupon.ranks(coupons).next()?;
    let outside = |rank: i128| !(1..=i128::from(coupons)).contains(&rank);
    let of = format!("the coupon {} was told", coupon.code());
    let (other, again) =
        coupon.ranks(coupons).find(|(rank, _)| *rank != first || outside(*rank))?;
    let sentence = if other == first {
        format!("{of} as number {first} of {}", count(coupons))
    } else {
        format!("{of} as number {first} of {} and as number {other}", count(coupons))
    };
    Some(Violation::new(sentence).witness([op, again]).claim(Claim::Ranks))
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    fn said(ranks: &[(Option<i64>, Option<i64>)]) -> String {
        let mut e = campaign(3);
        for (code, rank) in ["가", "나", "다"].into_iter().zip(ranks) {
            e = e.ranked(code, *rank, 110, 120);
        }
        find(&e.evidence()).into_iter().map(|v| v.sentence).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn accepts_ranks_that_fit() {
        assert_eq!(said(&[(Some(1), Some(2)), (Some(3), None), (None, Some(1))]), "");
        let e = campaign(1).key("k").ranked("가", (Some(1), None), 110, 120);
        assert_eq!(find(&e.ranked("가", (Some(1), None), 130, 140).evidence()), [], "a replay");
    }

    #[test]
    fn accepts_what_comes_and_goes() {
        let e = campaign(3).restocked().ranked("가", (Some(1), Some(1)), 110, 120);
        let e = e.ranked("나", (Some(4), Some(1)), 130, 140);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn rejects_ranks_that_do_not() {
        assert_eq!(said(&[(Some(0), None)]), "the coupon 가 was told as number 0 of 3");
        assert_eq!(said(&[(Some(4), None)]), "the coupon 가 was told as number 4 of 3");
        assert_eq!(said(&[(None, Some(3))]), "the coupon 가 was told as number 0 of 3");
        assert_eq!(said(&[(None, Some(-1))]), "the coupon 가 was told as number 4 of 3");
        assert!(said(&[(Some(1), Some(1))]).ends_with("as number 1 of 3 and as number 2"));
        let twice = "2 coupons must be among number 2 to 2, which are 1";
        assert_eq!(said(&[(Some(2), None); 2]), twice);
        assert_eq!(said(&[(None, Some(1)); 2]), twice);
        let e = campaign(3).key("k").ranked("가", (Some(1), None), 110, 120);
        let e = e.ranked("가", (Some(2), None), 130, 140).evidence();
        assert!(find(&e)[0].sentence.ends_with("as number 2"), "a replay with another rank");
    }

    #[test]
    fn rejects_ranks_against_the_order_in_time() {
        let e = campaign(3).ranked("가", (Some(2), None), 110, 120);
        let e = e.ranked("나", (Some(1), None), 121, 130).evidence();
        assert_eq!(find(&e)[0].witness.iter().map(|op| op.op).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn accepts_reads_that_cross_and_rejects_those_that_do_not() {
        let e =
            |sent| campaign(3).issued("가", 110, 150).counted(1, 120, 130).counted(0, sent, 140);
        assert_eq!(find(&e(130).evidence()), []);
        assert_eq!(find(&e(131).evidence())[0].witness.len(), 2);
        let mut lagging = e(131).evidence();
        lagging.read_lag = 1;
        lagging.contradictions = crate::procedure::decide(&lagging);
        assert_eq!(find(&lagging), []);
    }

    #[test]
    fn rejects_a_count_that_nobody_can_have_made() {
        let e = campaign(3).issued("가", 110, 150).counted(2, 120, 130);
        assert!(find(&e.evidence())[0].sentence.contains("at most 1"));
        assert!(find(&campaign(3).counted(4, 120, 130).evidence())[0].sentence.contains("of 3"));
        let mut holed = campaign(3).issued("가", 110, 150).counted(2, 120, 130).evidence();
        holed.whole = false;
        assert_eq!(crate::procedure::decide(&holed), [], "a request may be missing");
    }
}
