//! Who is told that they already hold a coupon holds one: a request of theirs got it before, and it is
//! the one with the code that they are told. Without a limit per user nobody can be told so at all.

use super::{Check, Needs, Violation, Weight, contradiction};
use crate::evidence::CampaignEvidence;

pub(super) const CHECK: Check = Check {
    name: "unfounded-already-issued",
    rule: "nobody is told \"already issued\" without holding that coupon",
    needs: Needs::WholeHistory,
    weight: Weight::Proof,
    benign: "the coupon was issued before the run; or the campaign has a limit that its description does not name",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let limited = e.per_user.is_some()
        || e.ledger().and_then(|l| l.per_user_limit).is_some_and(|limit| limit > 0);
    let told = e.first_already.iter().filter(|_| !limited);
    let sentence = "\"already issued\" was answered, and the campaign has no limit per user";
    let unlimited = told.map(|op| Violation::new(sentence).witness([op]));
    unlimited.chain(contradiction::of_check(e, CHECK.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_a_coupon_that_nobody_knows_whose_it_is() {
        let e = || campaign(3).one_per_user().issued("가", 110, 120).user("u");
        assert_eq!(find(&e().already(Some("가"), 130, 140).evidence()), []);
        assert_eq!(find(&e().already(None, 130, 140).unclear(150, 160).evidence()), []);
        let other = campaign(3).one_per_user().user("v").issued("가", 110, 120).user("u");
        assert!(!find(&other.already(Some("가"), 130, 140).evidence()).is_empty());
    }

    #[test]
    fn accepts_it_where_there_is_a_limit() {
        let e = campaign(2).one_per_user().user("u").issued("가", 110, 120);
        assert_eq!(find(&e.already(Some("가"), 115, 118).evidence()), []);
        let e =
            campaign(2).one_per_user().user("u").unclear(110, 120).already(Some("가"), 105, 110);
        assert_eq!(find(&e.evidence()), []);
        let mut e = campaign(2).already(None, 110, 120).store(0).evidence();
        if let crate::evidence::Store::Settled(ledger) = &mut e.store {
            ledger.per_user_limit = Some(1);
        }
        assert_eq!(find(&e), []);
    }

    /// Nobody is named with the coupon, so it is nobody else's.
    #[test]
    fn a_code_of_a_request_that_names_nobody_may_be_anybodys() {
        let e = campaign(2).one_per_user().issued("가", 110, 120).user("u");
        let e = e.unclear(110, 120).already(Some("가"), 130, 140);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn rejects_it_before_the_coupon_was_asked_for() {
        for lost in [false, true] {
            let e = campaign(2).one_per_user().user("u").already(None, 105, 109);
            let e = if lost { e.unclear(110, 120) } else { e.issued("가", 110, 120) };
            let found = find(&e.evidence());
            assert_eq!(found[0].witness.iter().map(|op| op.op).collect::<Vec<_>>(), [1, 2]);
        }
    }

    #[test]
    fn rejects_it_for_who_never_asked() {
        let e = campaign(2).one_per_user().user("v").issued("가", 110, 120);
        let e = e.user("u").already(None, 130, 140);
        let mut e = e.evidence();
        assert_eq!(find(&e)[0].witness[0].op, 2);
        e.whole = false;
        e.contradictions = crate::procedure::decide(&e);
        assert_eq!(find(&e), [], "the request may be missing");
        assert!(CHECK.needs.missing(&e).is_some());
    }

    #[test]
    fn rejects_the_code_of_another() {
        let e = campaign(3).one_per_user().user("v").issued("가", 110, 120).user("u");
        let e = e.issued("나", 110, 120).already(Some("가"), 130, 140).evidence();
        assert_eq!(find(&e)[0].witness.len(), 2);
    }

    #[test]
    fn rejects_it_where_there_is_none() {
        let e = campaign(2).already(None, 110, 120);
        assert_eq!(find(&e.evidence())[0].witness[0].op, 1);
        assert_eq!(find(&campaign(2).already(None, 110, 120).store(0).evidence()).len(), 1);
    }
}
