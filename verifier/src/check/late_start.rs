//! Nobody who asks after the start is told that the campaign has not started. The start lies in a
//! window on the history's clock; only a request sent after the whole window proves anything. One that
//! was sent within it would, were the start early in it: that is possible and no more.

use super::{Check, Claim, Needs, Violation, Weight};
use crate::evidence::{CampaignEvidence, Op, Said};
use crate::wording::span;

pub(super) const CHECK: Check = Check {
    name: "late-start",
    rule: "nobody who asks after the start is told \"not started\" or \"not found\"",
    needs: Needs::Start,
    weight: Weight::Proof,
    benign: "the clock that rules the start was not the one that was probed",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    e.last_shut().and_then(|op| late(e, op)).into_iter().collect()
}

fn late(e: &CampaignEvidence, op: &Op) -> Option<Violation> {
    let (sent, start, width) = (op.invoked, e.starts_at, span(e.starts_at.width()));
    let told = if op.said == Said::NotFound { "not found" } else { "not started" };
    let violation = if sent > start.latest {
        let margin = sent.saturating_sub(start.latest);
        let by = span(margin);
        let sentence = format!("\"{told}\" was answered to a request sent {by} after the start");
        Violation::new(sentence).claim(Claim::AfterStart).by(margin).because(format!(
            "A was sent {by} after the latest possible start; the start is known to {width}"
        ))
    } else if sent > start.earliest && e.start_is_placed() {
        let margin = sent.saturating_sub(start.earliest);
        Violation::new(format!(
            "\"{told}\" was answered to a request sent perhaps after the start, by up to {}: \
             clocks leave it open",
            span(margin)
        ))
        .claim(Claim::PerhapsAfterStart)
        .only_possible()
        .by(margin)
        .because(format!(
            "A was sent {} after the earliest possible start and {} before the latest; the start is \
             known to {width}",
            span(margin),
            span(start.latest.saturating_sub(sent))
        ))
    } else {
        return None;
    };
    Some(violation.witness([op]).known_to(start.width()))
}

#[cfg(test)]
mod tests {
    use super::super::Certainty;
    use super::super::sample::campaign;
    use super::*;

    fn e_not_found(sent: i64) -> CampaignEvidence {
        campaign(1).starts(100, 200).not_started(90, 300).not_found(sent, 300).evidence()
    }

    #[test]
    fn accepts_a_request_sent_before_the_window() {
        let e = campaign(1).starts(100, 200).not_started(100, 300);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn a_request_sent_within_the_window_is_possible_and_not_proven() {
        for (sent, margin) in [(101, 1), (200, 100)] {
            let e = campaign(1).starts(100, 200).not_started(sent, 300);
            let found = find(&e.evidence());
            assert_eq!((found[0].certainty, found[0].margin), (Certainty::Possible, Some(margin)));
        }
        let e = campaign(1).starts(i64::MIN, 200).not_started(150, 300);
        assert_eq!(find(&e.evidence()), [], "a start without a place");
    }

    #[test]
    fn rejects_a_request_sent_after_it() {
        let e = campaign(1).starts(100, 200).not_started(201, 300);
        let found = find(&e.evidence());
        assert_eq!((found[0].witness[0].op, found[0].certainty), (1, Certainty::Proven));
        let found = find(&e_not_found(201));
        assert_eq!((found[0].witness[0].op, found[0].certainty), (2, Certainty::Proven));
        assert!(found[0].sentence.starts_with("\"not found\""), "{}", found[0].sentence);
        assert_eq!(find(&e_not_found(100)), []);
    }
}
