//! Nothing is issued before the start, and nobody is told "sold out" before it either.
//!
//! The start lies somewhere in a window on the history's clock. Only an answer that arrived before
//! the whole window is a proof; the store's own stamps need no window, for its clock rules.

use super::{Check, Claim, Needs, Violation, Weight};
use crate::evidence::{CampaignEvidence, Op, Said};
use crate::wording::span;

pub(super) const CHECK: Check = Check {
    name: "early-issue",
    rule: "nothing is issued, and nothing sold out, before the start",
    needs: Needs::Start,
    weight: Weight::Proof,
    benign: "the clock that rules the start was not the one that was probed",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let answered = e.first_open().filter(|op| op.end() < e.starts_at.earliest);
    let told = answered.map(|op| by_answer(e, op));
    told.into_iter().chain(by_ledger(e)).collect()
}

fn by_answer(e: &CampaignEvidence, op: &Op) -> Violation {
    let what = match op.said {
        Said::SoldOut => "\"sold out\" was answered",
        Said::AlreadyIssued(_) => "\"already issued\" was answered",
        Said::Issued(_) | Said::NotStarted | Said::Failed | Said::Unknown => "a coupon was issued",
        Said::Counted(_) | Said::Left(_) | Said::Listed(_) => "a coupon was issued",
    };
    let margin = span(e.starts_at.earliest.saturating_sub(op.end()));
    let width = span(e.starts_at.width());
    Violation::new(format!("{what} {margin} before the campaign can have started"))
        .witness([op])
        .claim(Claim::BeforeStart)
        .because(format!(
            "A was over {margin} before the earliest possible start; the start is known to {width}"
        ))
}

fn by_ledger(e: &CampaignEvidence) -> Option<Violation> {
    let ledger = e.ledger()?;
    let starts_at_us = ledger.starts_at_us?;
    let early = ledger.rows.iter().filter(|r| r.at_us < starts_at_us);
    let first = early.clone().min_by_key(|r| (r.at_us, r.seq))?;
    let margin = span(starts_at_us.saturating_sub(first.at_us).saturating_mul(1_000));
    let told = e.acknowledged.iter().find(|c| c.code() == first.code.as_ref()).map(|c| &c.told);
    let sentence = format!(
        "by the store's own clock {} issued before the start, code {} {margin} before it",
        match early.count() {
            1 => "1 coupon was".to_owned(),
            n => format!("{} coupons were", crate::wording::size(n)),
        },
        first.code
    );
    Some(Violation::new(sentence).witness(told))
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_an_answer_within_the_window() {
        let e = campaign(1).starts(100, 200).issued("가", 90, 100).sold_out(90, 100);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn rejects_an_answer_before_the_window() {
        let e = campaign(1).starts(100, 200).issued("가", 90, 99);
        assert!(find(&e.evidence())[0].because[0].contains("known to 100 ns"));
        let e = campaign(0).starts(100, 200).sold_out(90, 99);
        assert!(find(&e.evidence())[0].sentence.contains("\"sold out\""));
    }

    #[test]
    fn rejects_a_row_before_the_start() {
        let e = campaign(1).issued("가", 110, 120).store(1).row(1, "가", -1).evidence();
        assert_eq!(find(&e)[0].witness[0].op, 1);
        let e = campaign(1).issued("가", 110, 120).store(1).row(1, "가", 0).evidence();
        assert_eq!(find(&e), []);
    }
}
