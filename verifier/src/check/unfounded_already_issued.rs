//! Without a limit per user nobody can be told that they already hold a coupon.

use super::{Check, Needs, Violation, Weight};
use crate::evidence::CampaignEvidence;

pub(super) const CHECK: Check = Check {
    name: "unfounded-already-issued",
    rule: "nobody is told \"already issued\" in a campaign without a limit per user",
    needs: Needs::History,
    weight: Weight::Proof,
    benign: "the campaign has a limit per user that its description does not name",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let limited = e.per_user.is_some()
        || e.ledger().and_then(|l| l.per_user_limit).is_some_and(|limit| limit > 0);
    let told = e.first_already.iter().filter(|_| !limited);
    let sentence = "\"already issued\" was answered, and the campaign has no limit per user";
    told.map(|op| Violation::new(sentence).witness([op])).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_it_where_there_is_a_limit() {
        let e = campaign(2).one_per_user().already(None, 110, 120);
        assert_eq!(find(&e.evidence()), []);
        let mut e = campaign(2).already(None, 110, 120).store(0).evidence();
        if let crate::evidence::Store::Settled(ledger) = &mut e.store {
            ledger.per_user_limit = Some(1);
        }
        assert_eq!(find(&e), []);
    }

    #[test]
    fn rejects_it_where_there_is_none() {
        let e = campaign(2).already(None, 110, 120);
        assert_eq!(find(&e.evidence())[0].witness[0].op, 1);
        assert_eq!(find(&campaign(2).already(None, 110, 120).store(0).evidence()).len(), 1);
    }
}
