//! Everything in the store that counts coupons counts the same: the counter, the rows, the index of
//! codes; and the rows are numbered from 1 without a gap.

use std::collections::BTreeSet;

use super::{Check, Needs, Violation, Weight};
use crate::evidence::CampaignEvidence;
use crate::evidence::ledger::Ledger;

pub(super) const CHECK: Check = Check {
    name: "ledger-mismatch",
    rule: "the store's counter, its rows and its index of codes agree, and no row number is missing",
    needs: Needs::Store,
    weight: Weight::Proof,
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let Some(ledger) = e.ledger() else { return Vec::new() };
    [counter(ledger), index(ledger), numbering(ledger)]
        .into_iter()
        .flatten()
        .map(Violation::new)
        .collect()
}

fn counter(ledger: &Ledger) -> Option<String> {
    let rows = ledger.rows.len();
    let agree = usize::try_from(ledger.counter).is_ok_and(|counter| counter == rows);
    (!agree).then(|| format!("the store's counter says {}, its rows are {rows}", ledger.counter))
}

fn index(ledger: &Ledger) -> Option<String> {
    let indexed = ledger.indexed_codes?;
    let codes: BTreeSet<&str> = ledger.rows.iter().map(|r| r.code.as_ref()).collect();
    let agree = usize::try_from(indexed).is_ok_and(|indexed| indexed == codes.len());
    (!agree).then(|| {
        format!(
            "the store's index holds {indexed} codes, its rows hold {} different ones",
            codes.len()
        )
    })
}

fn numbering(ledger: &Ledger) -> Option<String> {
    let mut seqs: Vec<i64> = ledger.rows.iter().map(|r| r.seq).collect();
    seqs.sort_unstable();
    let (expected, found) = (1..).zip(&seqs).find(|(expected, found)| expected != *found)?;
    Some(format!("row number {expected} was expected in the store and {found} comes next"))
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_a_store_that_agrees_with_itself() {
        let e = campaign(2).store(2).row(1, "가", 1).row(2, "나", 1).indexed(2).evidence();
        assert_eq!(find(&e), []);
    }

    #[test]
    fn rejects_a_counter_an_index_and_a_gap() {
        let e = campaign(2).store(2).row(1, "가", 1).evidence();
        assert!(find(&e)[0].sentence.contains("counter says 2"));
        let e = campaign(2).store(1).row(1, "가", 1).indexed(2).evidence();
        assert!(find(&e)[0].sentence.contains("index holds 2"));
        let e = campaign(2).store(2).row(1, "가", 1).row(3, "나", 1).evidence();
        assert!(find(&e)[0].sentence.contains("row number 2"));
        let e = campaign(2).store(2).row(1, "가", 1).row(1, "나", 1).evidence();
        assert!(find(&e)[0].sentence.contains("1 comes next"));
    }
}
