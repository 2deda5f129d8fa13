//! The gate opens once and stays open: nobody is told "not started" who asked after a coupon was
//! issued or "sold out" was answered. This needs no clock but the history's own.

use super::{Check, Claim, Needs, Violation, Weight};
use crate::evidence::CampaignEvidence;
use crate::wording::span;

pub(super) const CHECK: Check = Check {
    name: "gate-flapped",
    rule: "nobody who asks after the first coupon was issued is told \"not started\"",
    needs: Needs::History,
    weight: Weight::Proof,
    benign: "the campaign was edited during the run",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let (Some(open), Some(shut)) = (e.first_open(), &e.last_not_started) else {
        return Vec::new();
    };
    if shut.invoked <= open.end() {
        return Vec::new();
    }
    let margin = shut.invoked.saturating_sub(open.end());
    vec![
        Violation::new("\"not started\" was answered after the campaign had been open")
            .witness([open, shut])
            .claim(Claim::Before)
            .by(margin)
            .because(format!(
                "A comes before B: its answer arrived {} before B was sent",
                span(margin)
            ))
            .because("B comes before A: B says the start was still to come. A contradiction."),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_answers_that_cross() {
        let e = campaign(1).starts(0, 999).issued("가", 110, 120).not_started(120, 130);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn rejects_a_gate_that_shuts_again() {
        let e = campaign(1).starts(0, 999).issued("가", 110, 120).not_started(121, 130);
        assert_eq!(find(&e.evidence()).len(), 1);
        let e = campaign(0).starts(0, 999).sold_out(110, 120).not_started(121, 130);
        assert_eq!(find(&e.evidence()).len(), 1);
    }
}
