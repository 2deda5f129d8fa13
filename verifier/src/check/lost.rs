//! Every coupon that a client was told about is in the store, once the store has settled.

use std::collections::{HashMap, HashSet};

use contract::store::Column;

use super::{Check, Needs, Violation, Weight};
use crate::evidence::{CampaignEvidence, Op};
use crate::wording::{size, things};

pub(super) const CHECK: Check = Check {
    name: "lost",
    rule: "every coupon that a client was told about is in the store",
    needs: Needs::Store,
    weight: Weight::Proof,
    benign: "another database was passed, or it was wiped between the run and the check",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    // What came back is not there any more, or is somebody else's.
    if e.restock {
        return Vec::new();
    }
    told(e).into_iter().chain(held(e)).collect()
}

/// Holders who were told their code again, which the store does not have, or has for another user.
fn held(e: &CampaignEvidence) -> Option<Violation> {
    let ledger = e.ledger().filter(|l| l.tells(Column::Code))?;
    let rows: HashMap<&str, Option<&str>> =
        ledger.rows.iter().map(|r| (r.code.as_ref(), r.user.as_deref())).collect();
    let lost: Vec<&str> = e.join.iter().flat_map(|j| &j.lost).filter_map(|op| op.code()).collect();
    let lost: HashSet<&str> = lost.into_iter().collect();
    let gone = |op: &&Op| match (op.code().and_then(|code| rows.get(code)), op.user.as_deref()) {
        (None, _) => op.code().is_some_and(|code| !lost.contains(code)),
        (Some(Some(owner)), Some(user)) => *owner != user,
        (Some(_), _) => false,
    };
    let gone: Vec<&Op> = e.holders.iter().filter(gone).collect();
    let first = gone.first()?;
    let sentence = format!(
        "{} \"already issued\" {} a coupon that the settled store does not hold for that user, \
         such as {}",
        things(gone.len(), "answer"),
        if gone.len() == 1 { "names" } else { "name" },
        first.code().unwrap_or_default()
    );
    Some(Violation::new(sentence).witness(gone))
}

fn told(e: &CampaignEvidence) -> Option<Violation> {
    let lost = e.join.as_ref().map(|j| j.lost.as_slice()).unwrap_or_default();
    let first = lost.first()?;
    let sentence = format!(
        "{} of {} coupons that clients were told about {} not in the settled store, such as {}",
        size(lost.len()),
        size(e.acknowledged.len()),
        if lost.len() == 1 { "is" } else { "are" },
        first.code().unwrap_or_default()
    );
    Some(Violation::new(sentence).witness(lost))
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
    fn rejects_an_already_issued_without_its_coupon() {
        let told = |user, code| {
            let e = campaign(2).one_per_user().user("u").issued("가", 110, 120);
            let e = e.user(user).already(Some(code), 130, 140);
            find(&e.store(1).user("u").row(1, "가", 1).evidence())
        };
        assert_eq!(told("u", "가"), []);
        assert_eq!(told("u", "나")[0].witness[0].op, 2);
        assert_eq!(told("v", "가")[0].witness[0].op, 2);
    }

    #[test]
    fn accepts_a_code_that_rows_cannot_tell() {
        let e = campaign(2).one_per_user().user("u").unclear(110, 120);
        let e = e.already(Some("가"), 130, 140).store(1).row(1, "(no code, row 1)", 1);
        assert_eq!(find(&e.codeless().evidence()), []);
    }

    #[test]
    fn accepts_what_came_back() {
        let e = campaign(2).restocked().one_per_user().user("u").issued("가", 110, 120);
        let e = e.already(Some("나"), 130, 140).store(0);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn rejects_what_is_not() {
        let e = campaign(2).issued("가", 110, 120).issued("나", 110, 120).store(1);
        let found = find(&e.row(1, "가", 1).evidence());
        assert_eq!(found[0].witness[0].op, 2);
    }
}
