//! Every coupon in the store belongs to a request: to one that was told its code, or to one whose
//! outcome nobody knows. Each of those explains one coupon at the most.

use super::{Check, Needs, Violation, Weight, contradiction};
use crate::evidence::CampaignEvidence;
use crate::wording::{size, things};

pub(super) const CHECK: Check = Check {
    name: "phantom",
    rule: "every coupon in the store belongs to a request that can have consumed it",
    needs: Needs::WholeAndStore,
    weight: Weight::Proof,
    benign: "somebody else asked for coupons during the run",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let (Some(join), Some(ledger), true) = (&e.join, e.ledger(), e.whole) else {
        return Vec::new();
    };
    let Some(first) = join.leftovers.first() else {
        // Each row alone may have a request, and all of them together too few.
        return contradiction::of_check(e, CHECK.name);
    };
    let row = &ledger.rows[first.row];
    let refused: Vec<_> = join.leftovers.iter().filter_map(|l| l.refused.as_ref()).collect();
    let mut sentence = format!(
        "{} in the store {} to no request that can have consumed {}: code {} in row #{}",
        things(join.leftovers.len(), "coupon"),
        if join.leftovers.len() == 1 { "belongs" } else { "belong" },
        if join.leftovers.len() == 1 { "it" } else { "them" },
        row.code,
        row.seq,
    );
    if let Some(user) = &row.user {
        sentence += &format!(", user {user}");
    }
    if !refused.is_empty() {
        sentence += &format!("; the users of {} of them were refused", size(refused.len()));
    }
    vec![Violation::new(sentence).witness(refused)]
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn rejects_two_rows_for_the_lost_requests_of_one_user() {
        let e = campaign(3).one_per_user().user("u").unclear(110, 120).unclear(110, 120);
        let mut e = e.store(2).row(1, "가", 1).row(2, "나", 1).evidence();
        if let crate::evidence::Store::Settled(ledger) = &mut e.store {
            ledger.rows.iter_mut().for_each(|row| row.user = None);
        }
        e.contradictions = crate::procedure::decide(&e);
        assert!(find(&e)[0].sentence.contains("at most 1"));
    }

    #[test]
    fn accepts_a_coupon_of_a_lost_answer() {
        let e = campaign(2).user("u").unclear(110, 120).store(1).row(1, "가", 1);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn rejects_a_coupon_of_nobody() {
        let e = campaign(2).user("u").unclear(110, 120).sold_out(110, 120);
        let e = e.store(2).row(1, "가", 1).row(2, "나", 1);
        assert!(find(&e.evidence())[0].sentence.contains("나 in row #2"));
    }

    #[test]
    fn accepts_what_a_hole_in_the_history_may_explain() {
        let mut e = campaign(2).store(1).row(1, "가", 1).evidence();
        e.whole = false;
        assert_eq!(find(&e), []);
    }
}
