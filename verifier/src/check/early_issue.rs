//! Nothing is issued before the start, and nobody is told "sold out" before it either.
//!
//! The start lies somewhere in a window on the history's clock. Only an answer that arrived before
//! the whole window is a proof; one that arrived within it would be, were the start late in it: that
//! is possible and no more. The store's own stamps need no window, for its clock rules.

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
    // A coupon that only the store has was issued before the end, whenever that was.
    let stored = || e.first_ended.as_ref().and_then(|_| e.resolved().next());
    let told = e.first_open().or_else(stored).and_then(|op| by_answer(e, op));
    told.into_iter().chain(by_ledger(e)).collect()
}

fn by_answer(e: &CampaignEvidence, op: &Op) -> Option<Violation> {
    // Whatever was issued was issued before the campaign was over.
    let later = |ended: &&Op| op.said == Said::Unknown || ended.end() < op.end();
    let ended = e.first_ended.as_ref().filter(later);
    let (by, start) = (ended.unwrap_or(op), e.starts_at);
    let sentence = what(op);
    let violation = if by.end() < start.earliest {
        proven(e, by, sentence)
    } else if by.end() < start.latest && e.start_is_placed() {
        possible(e, by, sentence)
    } else {
        return None;
    };
    Some(violation.witness([by, op]))
}

fn what(op: &Op) -> &'static str {
    match op.said {
        Said::SoldOut => "\"sold out\" was answered",
        Said::AlreadyIssued(_) => "\"already issued\" was answered",
        Said::Issued(_) | Said::NotStarted | Said::Failed | Said::Unknown => "a coupon was issued",
        Said::Counted(_) | Said::Left(_) | Said::Listed(_) => "a coupon was issued",
        Said::NotFound | Said::Ended => "a coupon was issued",
    }
}

fn proven(e: &CampaignEvidence, op: &Op, what: &str) -> Violation {
    let margin = e.starts_at.earliest.saturating_sub(op.end());
    let width = e.starts_at.width();
    Violation::new(format!("{what} {} before the campaign can have started", span(margin)))
        .claim(Claim::BeforeStart)
        .by(margin)
        .known_to(width)
        .because(format!(
            "A was over {} before the earliest possible start; the start is known to {}",
            span(margin),
            span(width)
        ))
}

fn possible(e: &CampaignEvidence, op: &Op, what: &str) -> Violation {
    let margin = e.starts_at.latest.saturating_sub(op.end());
    let width = e.starts_at.width();
    let sentence =
        format!("{what} perhaps before the start, by up to {}: clocks leave it open", span(margin));
    Violation::new(sentence)
        .claim(Claim::PerhapsBeforeStart)
        .only_possible()
        .by(margin)
        .known_to(width)
        .because(format!(
            "A was over {} after the earliest possible start and {} before the latest; the start is \
             known to {}",
            span(op.end().saturating_sub(e.starts_at.earliest)),
            span(margin),
            span(width)
        ))
}

fn by_ledger(e: &CampaignEvidence) -> Option<Violation> {
    let ledger = e.ledger()?;
    let starts_at_us = ledger.starts_at_us?;
    let early = ledger.rows.iter().filter(|r| r.at_us < starts_at_us);
    let first = early.clone().min_by_key(|r| (r.at_us, r.seq))?;
    let margin = starts_at_us.saturating_sub(first.at_us).saturating_mul(1_000);
    let told = e.acknowledged.iter().find(|c| c.code() == first.code.as_ref()).map(|c| &c.told);
    let sentence = format!(
        "by the store's own clock {} issued before the start, code {} {} before it",
        match early.count() {
            1 => "1 coupon was".to_owned(),
            n => format!("{} coupons were", crate::wording::size(n)),
        },
        first.code,
        span(margin)
    );
    Some(Violation::new(sentence).witness(told).by(margin))
}

#[cfg(test)]
mod tests {
    use super::super::Certainty;
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_an_answer_after_the_window() {
        let e = campaign(1).starts(100, 200).issued("가", 90, 200).sold_out(90, 200);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn an_answer_within_the_window_is_possible_and_not_proven() {
        let found = find(&campaign(1).starts(100, 200).issued("가", 90, 100).evidence());
        assert_eq!((found[0].certainty, found[0].margin), (Certainty::Possible, Some(100)));
        let found = find(&campaign(1).starts(100, 200).issued("가", 90, 199).evidence());
        assert_eq!((found[0].certainty, found[0].margin), (Certainty::Possible, Some(1)));
        let found = find(&campaign(1).starts(100, 200).issued("가", 90, 99).evidence());
        assert_eq!((found[0].certainty, found[0].clock_width), (Certainty::Proven, Some(100)));
    }

    #[test]
    fn a_start_without_a_place_makes_nothing_possible() {
        let e = campaign(1).starts(100, i64::MAX).issued("가", 110, 120);
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
    fn rejects_a_coupon_of_a_campaign_that_was_over_before_its_start() {
        let e = campaign(1).starts(100, 200).ended(80, 99).issued("가", 70, 300).evidence();
        let found = find(&e);
        assert_eq!((found[0].certainty, found[0].witness.len()), (Certainty::Proven, 2));
        let e = campaign(1).starts(100, 200).ended(80, 100).issued("가", 70, 300).evidence();
        assert_eq!(find(&e)[0].certainty, Certainty::Possible);
        assert_eq!(find(&campaign(1).starts(100, 200).ended(80, 99).evidence()), []);
        let e = campaign(1).starts(100, 200).ended(80, 99).unclear(70, 90).store(1).row(1, "가", 0);
        assert_eq!(find(&e.evidence())[0].witness.len(), 2);
    }

    #[test]
    fn rejects_a_row_before_the_start() {
        let e = campaign(1).issued("가", 110, 120).store(1).row(1, "가", -1).evidence();
        assert_eq!(find(&e)[0].witness[0].op, 1);
        let e = campaign(1).issued("가", 110, 120).store(1).row(1, "가", 0).evidence();
        assert_eq!(find(&e), []);
    }
}
