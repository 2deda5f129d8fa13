//! What somebody who holds a coupon is told once all are gone. The history declares it: always
//! "already issued", or always "sold out", or either. Where the first counts, nobody who ever holds a
//! coupon is told "sold out", for after that nobody gets one; where the second counts, nobody is told
//! "already issued" after the last coupon.

use super::{Check, Needs, Violation, Weight, contradiction};
use crate::evidence::CampaignEvidence;

pub(super) const CHECK: Check = Check {
    name: "refused-holder",
    rule: "a holder is told \"already issued\" or \"sold out\" as the campaign declares",
    needs: Needs::History,
    weight: Weight::Proof,
    benign: "the campaign declares another precedence than its server has",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    contradiction::of_check(e, CHECK.name)
}

#[cfg(test)]
mod tests {
    use contract::campaign::Precedence;

    use super::super::sample::{Sample, campaign};
    use super::*;

    fn holder(precedence: Precedence) -> Sample {
        campaign(1).one_per_user_and(precedence).user("u").issued("가", 110, 120)
    }

    #[test]
    fn accepts_what_the_campaign_declares() {
        let sold_out = |p| find(&holder(p).sold_out(130, 140).evidence());
        assert_eq!(sold_out(Precedence::SoldOutFirst), []);
        assert_eq!(sold_out(Precedence::Either), []);
        let already = |p| find(&holder(p).sold_out(125, 130).already(None, 131, 140).evidence());
        assert_eq!(already(Precedence::Either), []);
        let e = holder(Precedence::SoldOutFirst).already(None, 130, 140).sold_out(140, 150);
        assert_eq!(find(&e.evidence()).len(), 1, "of one coupon none is left beside the holder");
    }

    #[test]
    fn rejects_sold_out_for_a_holder() {
        // Even before the coupon: after "sold out" there was none to get any more.
        for (from, to) in [(100, 125), (130, 140)] {
            let e = holder(Precedence::AlreadyFirst).sold_out(from, to).evidence();
            assert_eq!(find(&e)[0].witness.len(), 2);
        }
        let e = campaign(1).one_per_user_and(Precedence::AlreadyFirst).user("u");
        let e = e.unclear(100, 110).already(None, 130, 140).sold_out(150, 160);
        assert_eq!(find(&e.evidence()).len(), 1);
    }

    #[test]
    fn rejects_already_issued_after_the_last_coupon() {
        let e =
            campaign(2).one_per_user_and(Precedence::SoldOutFirst).user("v").issued("나", 110, 120);
        let e = e.user("u").issued("가", 110, 120).user("w").sold_out(125, 130);
        let found = find(&e.user("u").already(None, 131, 140).evidence());
        assert_eq!(found[0].witness.iter().map(|op| op.op).collect::<Vec<_>>(), [3, 4]);
    }
}
