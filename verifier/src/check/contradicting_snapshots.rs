//! Lists of the issued codes fit together, and fit what else was seen: each longer list holds all codes
//! of a shorter one, and a code that is on a list, or is not, was issued before or after it.

use super::{Check, Needs, Violation, Weight, contradiction};
use crate::evidence::CampaignEvidence;

pub(super) const CHECK: Check = Check {
    name: "contradicting-snapshots",
    rule: "lists of codes only grow, and hold every coupon that had been issued and no other",
    needs: Needs::History,
    weight: Weight::Proof,
    benign: "lists may lag, and neither the scenario nor --read-lag says so; or coupons were given back",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    contradiction::of_check(e, CHECK.name)
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_lists_that_grow() {
        let e = campaign(3).issued("가", 110, 120).listed(&["가"], 120, 130).issued("나", 130, 140);
        let e = e.listed(&[], 100, 110).listed(&["나", "가"], 135, 150);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn accepts_a_code_of_a_lost_request() {
        let e = campaign(3).unclear(110, 120).listed(&["다"], 130, 140);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn rejects_lists_that_are_not_one_in_the_other() {
        let e = campaign(3).issued("가", 110, 150).issued("나", 110, 150);
        let e = e.listed(&["가"], 120, 130).listed(&["나"], 120, 130).evidence();
        assert_eq!(find(&e)[0].witness.iter().map(|op| op.op).collect::<Vec<_>>(), [3, 4]);
        let e = campaign(4).issued("가", 110, 150).issued("나", 110, 150).issued("다", 110, 150);
        let e = e.listed(&["가"], 120, 130).listed(&["나", "다"], 120, 130).evidence();
        assert_eq!(find(&e)[0].witness.len(), 2);
    }

    #[test]
    fn rejects_a_list_without_an_earlier_coupon() {
        let e = campaign(3).issued("가", 110, 120).issued("나", 121, 130).listed(&["나"], 110, 140);
        assert!(!find(&e.evidence()).is_empty());
    }

    #[test]
    fn rejects_a_code_that_the_store_does_not_have() {
        let e = campaign(3).unclear(110, 120).listed(&["다"], 130, 140);
        let e = e.store(1).row(1, "가", 1).evidence();
        assert!(find(&e)[0].sentence.contains("not in the settled store"));
    }
}
