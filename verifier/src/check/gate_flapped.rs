//! A campaign goes through its phases once, one after the other: it is not there yet, it has not
//! started, it is open, it is over. Nobody who asks after a later phase was seen is told of an earlier
//! one. This needs no clock but the history's own.

use super::{Check, Claim, Needs, Violation, Weight};
use crate::evidence::{CampaignEvidence, Op, Said};
use crate::wording::span;

pub(super) const CHECK: Check = Check {
    name: "gate-flapped",
    rule: "nobody who asks after the campaign was there, was open or was over is told that it was not yet",
    needs: Needs::History,
    weight: Weight::Proof,
    benign: "the campaign was edited during the run",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let past = e.first_open().into_iter().chain(&e.first_ended);
    let past = past.min_by_key(|op| (op.end(), op.op));
    let opened = past.zip(e.last_shut()).and_then(|(past, shut)| flapped(past, shut));
    let there = e.first_not_started.as_ref().zip(e.last_not_found.as_ref());
    let vanished = there.and_then(|(there, gone)| flapped(there, gone));
    opened.into_iter().chain(vanished).collect()
}

/// What is wrong where the second was told of an earlier phase than the first, which was over before it.
fn flapped(past: &Op, shut: &Op) -> Option<Violation> {
    let margin = shut.invoked.checked_sub(past.end()).filter(|margin| *margin > 0)?;
    let (told, meaning) = if shut.said == Said::NotFound {
        ("not found", "B says that the campaign was still to be created")
    } else {
        ("not started", "B says the start was still to come")
    };
    let seen = if past.said == Said::NotStarted {
        "the campaign had been there"
    } else if past.said == Said::Ended {
        "the campaign had been over"
    } else {
        "the campaign had been open"
    };
    let violation = Violation::new(format!("\"{told}\" was answered after {seen}"));
    Some(
        violation
            .witness([past, shut])
            .claim(Claim::Before)
            .by(margin)
            .because(format!(
                "A comes before B: its answer arrived {} before B was sent",
                span(margin)
            ))
            .because(format!("B comes before A: {meaning}. A contradiction.")),
    )
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_answers_that_cross() {
        let e = campaign(1).starts(0, 999).issued("가", 110, 120).not_started(120, 130);
        assert_eq!(find(&e.evidence()), []);
        let e = campaign(1).starts(0, 999).not_started(110, 120).not_found(120, 130);
        assert_eq!(find(&e.ended(100, 120).evidence()), []);
    }

    #[test]
    fn rejects_a_gate_that_shuts_again() {
        let e = campaign(1).starts(0, 999).issued("가", 110, 120).not_started(121, 130);
        assert_eq!(find(&e.evidence()).len(), 1);
        let e = campaign(0).starts(0, 999).sold_out(110, 120).not_started(121, 130);
        assert_eq!(find(&e.evidence()).len(), 1);
    }

    #[test]
    fn rejects_a_phase_that_comes_back() {
        let said = |e: super::super::sample::Sample| {
            find(&e.evidence()).into_iter().map(|v| v.sentence).collect::<Vec<_>>()
        };
        let e = campaign(1).starts(0, 999).not_started(110, 120).not_found(121, 130);
        assert_eq!(said(e), ["\"not found\" was answered after the campaign had been there"]);
        let e = campaign(1).starts(0, 999).issued("가", 110, 120).not_found(121, 130);
        assert_eq!(said(e), ["\"not found\" was answered after the campaign had been open"]);
        let e = campaign(1).starts(0, 999).ended(110, 120).not_started(121, 130);
        assert_eq!(said(e), ["\"not started\" was answered after the campaign had been over"]);
    }
}
