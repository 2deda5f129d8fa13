//! Once somebody was told that the campaign is over, nobody who asks afterwards gets a coupon.
//!
//! Nor is anybody told "sold out" then: whichever of the two a system looks at first, coupons that are
//! left when it is over stay left. Holders may be told theirs for ever.

use super::{Check, Claim, Needs, Violation, Weight};
use crate::evidence::acknowledged::Coupon;
use crate::evidence::{CampaignEvidence, Op};
use crate::wording::{size, span};

pub(super) const CHECK: Check = Check {
    name: "issued-after-ended",
    rule: "nobody who asks after \"ended\" was answered gets a coupon, or is told \"sold out\"",
    needs: Needs::WholeForStore,
    weight: Weight::Proof,
    benign: "the campaign was opened again during the run",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let Some(ended) = &e.first_ended else { return Vec::new() };
    let late = |op: &&Op| op.invoked > ended.end();
    // A request under the same key may be missing from the history, and have been the first.
    let first = |op: &&Op| e.knows_attempts(op);
    let asked = e.acknowledged.iter().map(Coupon::asked).filter(first);
    let coupons: Vec<&Op> = asked.chain(e.resolved()).filter(late).collect();
    let last = coupons.iter().max_by_key(|op| (op.invoked, op.op));
    let issued = last.map(|op| {
        let sentence = match coupons.len() {
            1 => "a request sent after \"ended\" was answered got a coupon".to_owned(),
            n => format!("{} requests sent after \"ended\" was answered got a coupon", size(n)),
        };
        contradiction(ended, op, &sentence)
    });
    let refused = e.last_sold_out.as_ref().filter(late);
    let sentence = "a request sent after \"ended\" was answered was told \"sold out\"";
    issued.into_iter().chain(refused.map(|op| contradiction(ended, op, sentence))).collect()
}

fn contradiction(ended: &Op, late: &Op, sentence: &str) -> Violation {
    let margin = late.invoked.saturating_sub(ended.end());
    Violation::new(sentence)
        .witness([ended, late])
        .claim(Claim::Before)
        .by(margin)
        .because(format!("A comes before B: its answer arrived {} before B was sent", span(margin)))
        .because("B comes before A: A says that it was over for good. A contradiction.")
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_what_was_asked_before_and_what_is_told_again() {
        let e = campaign(2).key("k").issued("가", 130, 150).sold_out(130, 160).ended(125, 130);
        assert_eq!(find(&e.evidence()), []);
        let e = campaign(2).key("k").issued("가", 110, 120).key("l").ended(125, 130);
        assert_eq!(find(&e.key("k").issued("가", 140, 150).evidence()), []);
        assert_eq!(
            find(&campaign(2).user("u").ended(110, 120).already(None, 121, 130).evidence()),
            []
        );
    }

    #[test]
    fn rejects_a_coupon_that_was_asked_for_afterwards() {
        let e = campaign(2).ended(110, 120).issued("가", 121, 130).evidence();
        assert_eq!(find(&e)[0].witness.iter().map(|op| op.op).collect::<Vec<_>>(), [1, 2]);
        let e = campaign(2).ended(110, 120).unclear(121, 130).store(1).row(1, "가", 1);
        assert_eq!(find(&e.evidence()).len(), 1);
    }

    #[test]
    fn rejects_sold_out_afterwards() {
        let e = campaign(0).ended(110, 120).sold_out(121, 130).evidence();
        assert_eq!(find(&e)[0].margin, Some(1));
    }

    #[test]
    fn accepts_a_replay_whose_first_request_may_be_missing() {
        let mut e = campaign(1).ended(110, 120).key("k").issued("가", 121, 130).evidence();
        assert_eq!(find(&e).len(), 1);
        e.whole = false;
        assert_eq!(find(&e), []);
    }
}
