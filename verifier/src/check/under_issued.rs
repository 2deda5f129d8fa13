//! Nobody is told that all coupons are gone before all can have been consumed.
//!
//! A request whose outcome nobody knows may have consumed one if it was sent by then, so it counts
//! in favour of the campaign. With the settled store there is nothing left to guess.

use super::{Check, Needs, Violation, Weight, contradiction};
use crate::evidence::CampaignEvidence;
use crate::wording::{count, size};

pub(super) const CHECK: Check = Check {
    name: "under-issued",
    rule: "nobody is told \"sold out\" before every coupon can have been consumed",
    needs: Needs::WholeOrStore,
    weight: Weight::Proof,
    benign: "requests that are not in the history took part: another client or load generator",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let Some(refused) = e.final_sold_out() else { return Vec::new() };
    let told = e.acknowledged.len();
    let by_store = e.join.as_ref().map(|j| told + j.matched.len() + j.leftovers.len());
    // Whoever was sent after the end cannot have got one.
    let by = refused.end().min(e.over_by());
    let perhaps = e.pending.iter().filter(|p| p.invoked <= by).count();
    let by_history = told + perhaps;
    let sentence = match by_store {
        Some(all) if (all as u64) < e.coupons => format!(
            "\"sold out\" was answered, but only {} of {} coupons were ever issued, in the settled \
             store and by what clients were told",
            size(all),
            count(e.coupons)
        ),
        _ if e.whole && (by_history as u64) < e.coupons => format!(
            "\"sold out\" was answered when at most {} of {} coupons can have been consumed: {} \
             acknowledged and {} sent by then whose outcome nobody knows",
            size(by_history),
            count(e.coupons),
            size(told),
            size(perhaps)
        ),
        // Two lost requests of one user are no two coupons, and so on.
        _ => return contradiction::of_check(e, CHECK.name),
    };
    let ended = e.first_ended.iter().filter(|ended| ended.end() < refused.end());
    vec![Violation::new(sentence).witness([refused].into_iter().chain(ended))]
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_a_lost_request_sent_by_then() {
        let e = campaign(2).issued("가", 110, 120).unclear(150, 160).sold_out(140, 150);
        assert_eq!(find(&e.evidence()), []);
        assert_eq!(find(&campaign(0).sold_out(140, 150).evidence()), []);
    }

    #[test]
    fn rejects_a_lost_request_sent_later() {
        let e = campaign(2).issued("가", 110, 120).unclear(151, 160).sold_out(140, 150);
        assert_eq!(find(&e.evidence())[0].witness[0].op, 3);
    }

    #[test]
    fn rejects_a_lost_request_sent_after_the_end() {
        let e = |end| campaign(1).unclear(131, 140).sold_out(120, 150).ended(110, end).evidence();
        assert_eq!(find(&e(131)), []);
        assert_eq!(find(&e(130))[0].witness.len(), 2);
    }

    #[test]
    fn rejects_two_lost_requests_of_one_user_as_two_coupons() {
        let e = |user| campaign(2).one_per_user().user("u").unclear(110, 120).user(user);
        let e = |user| e(user).unclear(110, 120).user("w").sold_out(140, 150).evidence();
        assert_eq!(find(&e("v")), []);
        assert_eq!(find(&e("u")).len(), 1);
    }

    #[test]
    fn rejects_a_failed_request_as_an_excuse() {
        let e = campaign(1).failed(110, 120).sold_out(140, 150);
        assert_eq!(find(&e.evidence()).len(), 1);
    }

    #[test]
    fn rejects_a_store_that_falls_short() {
        let e = campaign(2).issued("가", 110, 120).unclear(120, 130).sold_out(140, 150);
        assert_eq!(find(&e.store(1).row(1, "가", 1).evidence()).len(), 1);
    }

    #[test]
    fn accepts_what_a_hole_in_the_history_may_explain() {
        let mut e = campaign(1).sold_out(140, 150).evidence();
        e.whole = false;
        assert_eq!(find(&e), []);
        assert!(Needs::WholeOrStore.missing(&e).is_some());
    }
}
