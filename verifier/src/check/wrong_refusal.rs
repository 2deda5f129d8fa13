//! Nobody who was definitely refused holds a coupon that no other request of theirs explains.

use super::{Check, Needs, Violation, Weight, capped};
use crate::evidence::join::Leftover;
use crate::evidence::{CampaignEvidence, Op, Said};

pub(super) const CHECK: Check = Check {
    name: "wrong-refusal",
    rule: "nobody who was refused holds a coupon that no other request of theirs explains",
    needs: Needs::WholeAndStore,
    weight: Weight::Proof,
    benign: "somebody else asked for coupons during the run",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let (Some(join), Some(ledger), true) = (&e.join, e.ledger(), e.whole) else {
        return Vec::new();
    };
    let violation = |leftover: &Leftover| {
        let (op, row) = (leftover.refused.as_ref()?, &ledger.rows[leftover.row]);
        let who = row.user.as_deref().map_or_else(|| "a client".into(), |u| format!("user {u}"));
        let sentence =
            format!("{who} was told {} and holds {} in row #{}", told(op), row.code, row.seq);
        Some(Violation::new(sentence).witness([op]))
    };
    capped(join.leftovers.iter().filter_map(violation).collect())
}

fn told(op: &Op) -> &'static str {
    match op.said {
        Said::SoldOut => "\"sold out\"",
        Said::NotStarted => "\"not started\"",
        Said::NotFound => "\"not found\"",
        Said::Ended => "\"ended\"",
        Said::Failed | Said::Issued(_) | Said::AlreadyIssued(_) | Said::Unknown => "\"rejected\"",
        Said::Counted(_) | Said::Left(_) | Said::Listed(_) => "\"rejected\"",
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_a_refusal_beside_a_lost_answer() {
        let e = campaign(2).user("u").unclear(110, 120).sold_out(110, 120);
        assert_eq!(find(&e.store(1).row(1, "가", 1).evidence()), []);
    }

    #[test]
    fn rejects_a_refused_user_with_a_coupon() {
        let e = campaign(2).user("u").sold_out(110, 120).store(1).row(1, "가", 1).evidence();
        assert_eq!(find(&e)[0].sentence, "user u was told \"sold out\" and holds 가 in row #1");
    }
}
