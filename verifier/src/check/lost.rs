//! Every coupon that a client was told about is in the store, once the store has settled.

use super::{Check, Needs, Violation, Weight};
use crate::evidence::CampaignEvidence;
use crate::wording::size;

pub(super) const CHECK: Check = Check {
    name: "lost",
    rule: "every coupon that a client was told about is in the store",
    needs: Needs::Store,
    weight: Weight::Proof,
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let lost = e.join.as_ref().map(|j| j.lost.as_slice()).unwrap_or_default();
    let Some(first) = lost.first() else { return Vec::new() };
    let sentence = format!(
        "{} of {} coupons that clients were told about are not in the settled store, such as {}",
        size(lost.len()),
        size(e.acknowledged.len()),
        first.code().unwrap_or_default()
    );
    vec![Violation::new(sentence).witness(lost)]
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_what_is_there() {
        let e = campaign(2).issued("가", 110, 120).unclear(110, 120).failed(110, 120);
        assert_eq!(find(&e.store(1).row(1, "가", 1).evidence()), []);
    }

    #[test]
    fn rejects_what_is_not() {
        let e = campaign(2).issued("가", 110, 120).issued("나", 110, 120).store(1);
        let found = find(&e.row(1, "가", 1).evidence());
        assert_eq!(found[0].witness[0].op, 2);
    }
}
