//! Nobody who asks after the start is told that the campaign has not started. The start lies in a
//! window on the history's clock; only a request sent after the whole window proves anything.

use super::{Check, Claim, Needs, Violation, Weight};
use crate::evidence::CampaignEvidence;
use crate::wording::span;

pub(super) const CHECK: Check = Check {
    name: "late-start",
    rule: "nobody who asks after the start is told \"not started\"",
    needs: Needs::Start,
    weight: Weight::Proof,
    benign: "the clock that rules the start was not the one that was probed",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let late = e.last_not_started.iter().filter(|op| op.invoked > e.starts_at.latest);
    late.map(|op| {
        let margin = span(op.invoked.saturating_sub(e.starts_at.latest));
        Violation::new(format!(
            "\"not started\" was answered to a request sent {margin} after the start"
        ))
        .witness([op])
        .claim(Claim::AfterStart)
        .because(format!(
            "A was sent {margin} after the latest possible start; the start is known to {}",
            span(e.starts_at.width())
        ))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_a_request_sent_within_the_window() {
        let e = campaign(1).starts(100, 200).not_started(200, 300);
        assert_eq!(find(&e.evidence()), []);
    }

    #[test]
    fn rejects_a_request_sent_after_it() {
        let e = campaign(1).starts(100, 200).not_started(201, 300);
        assert_eq!(find(&e.evidence())[0].witness[0].op, 1);
    }
}
