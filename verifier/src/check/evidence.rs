//! The evidence itself is whole: nothing is missing, nothing contradicts itself, every answer was
//! understood. Broken evidence proves no absence, so it forbids the verdict valid.

use super::{Check, Needs, Violation, Weight};
use crate::evidence::CampaignEvidence;

pub(super) const CHECK: Check = Check {
    name: super::EVIDENCE,
    rule: "the history is whole and understood, and the store could be read where there is one",
    needs: Needs::History,
    weight: Weight::Doubt,
    benign: "nothing; the verdict is unknown until the evidence is whole",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    e.gaps.iter().map(Violation::new).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_a_whole_history() {
        assert_eq!(find(&campaign(1).issued("가", 110, 120).silent(110).evidence()), []);
    }

    #[test]
    fn rejects_an_answer_from_before_the_question() {
        let e = campaign(1).issued("가", 120, 110).evidence();
        assert!(find(&e)[0].sentence.contains("before it was sent: #1"));
    }
}
