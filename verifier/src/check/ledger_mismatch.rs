//! Everything in the store that counts coupons counts the same: the counter, the rows, the index of
//! codes; and the rows are numbered from 1 without a gap.

use std::collections::{BTreeSet, HashMap};

use super::{Check, Needs, Violation, Weight, capped};
use crate::evidence::CampaignEvidence;
use crate::evidence::acknowledged::Coupon;
use crate::evidence::ledger::{Ledger, Row};
use crate::wording::{self, signed};

pub(super) const CHECK: Check = Check {
    name: "ledger-mismatch",
    rule: "counter, rows, index of codes and answers agree, and no row number is missing",
    needs: Needs::Store,
    weight: Weight::Proof,
    benign: "rows were archived away during the run",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let Some(ledger) = e.ledger() else { return Vec::new() };
    let mut all: Vec<Violation> =
        [unreadable(ledger), counter(ledger), index(ledger), numbering(ledger)]
            .into_iter()
            .flatten()
            .map(Violation::new)
            .collect();
    all.extend(answers(e, ledger));
    capped(all)
}

/// Answers against rows. A code that stands in several rows belongs to no one of them.
fn answers(e: &CampaignEvidence, ledger: &Ledger) -> Vec<Violation> {
    let mut by_code: HashMap<&str, Option<&Row>> = HashMap::new();
    for row in &ledger.rows {
        by_code.entry(&row.code).and_modify(|row| *row = None).or_insert(Some(row));
    }
    let violation = |c: &Coupon| {
        let row = by_code.get(c.code()).copied().flatten()?;
        let why = disagree(e.coupons, c, row)?;
        let sentence = format!("the coupon {} was told {why}", c.code());
        Some(Violation::new(sentence).witness([&c.told]))
    };
    e.acknowledged.iter().filter_map(violation).collect()
}

fn disagree(coupons: u64, c: &Coupon, row: &Row) -> Option<String> {
    let seq = signed(row.seq);
    if let Some(told) = c.rank.seq.filter(|told| *told != row.seq) {
        return Some(format!("as number {}, its row is number {seq}", signed(told)));
    }
    let left = i128::from(coupons) - i128::from(row.seq);
    if let Some(told) = c.rank.remaining.filter(|told| i128::from(*told) != left) {
        return Some(format!("with {} left, by its row {seq} it was {left}", signed(told)));
    }
    let differ = |a: &Option<Box<str>>, b: &Option<Box<str>>| match (a, b) {
        (Some(a), Some(b)) if a != b => Some((a.clone(), b.clone())),
        _ => None,
    };
    if let Some((asked, stored)) = differ(&c.told.key, &row.key) {
        return Some(format!("under the key {asked}, its row has the key {stored}"));
    }
    let (asked, stored) = differ(&c.told.user, &row.user)?;
    Some(format!("to user {asked}, its row has user {stored}"))
}

fn counter(ledger: &Ledger) -> Option<String> {
    let rows = ledger.rows.len() + ledger.unreadable.len();
    let agree = usize::try_from(ledger.counter).is_ok_and(|counter| counter == rows);
    (!agree).then(|| {
        let counter = signed(ledger.counter);
        format!("the store's counter says {counter}, its rows are {}", wording::size(rows))
    })
}

fn unreadable(ledger: &Ledger) -> Option<String> {
    let first = ledger.unreadable.first()?;
    let rows = wording::things(ledger.unreadable.len(), "row");
    Some(format!("{rows} of the store cannot be understood: {first}"))
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
    if !ledger.unreadable.is_empty() {
        return None;
    }
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
    fn rejects_an_answer_that_its_row_contradicts() {
        let told = |seq, left| {
            let e = campaign(3).user("u").key("k").ranked("가", (seq, left), 110, 120);
            e.store(1).row(1, "가", 1).evidence()
        };
        assert_eq!(find(&told(Some(1), Some(2))), []);
        assert!(
            find(&told(Some(2), None))[0].sentence.ends_with("as number 2, its row is number 1")
        );
        assert!(find(&told(None, Some(1)))[0].sentence.contains("with 1 left"));
        let e = campaign(3).user("u").key("k").issued("가", 110, 120).store(1);
        assert!(find(&e.key("l").row(1, "가", 1).evidence())[0].sentence.contains("the key l"));
        let e = campaign(3).user("u").issued("가", 110, 120).store(1);
        assert!(find(&e.user("v").row(1, "가", 1).evidence())[0].sentence.contains("user v"));
    }

    #[test]
    fn rejects_a_counter_an_index_and_a_gap() {
        let e = campaign(2).store(2).row(1, "가", 1).evidence();
        assert!(find(&e)[0].sentence.contains("counter says 2"));
        let e = campaign(2).store(1).row(1, "가", 1).indexed(2).evidence();
        assert!(find(&e)[0].sentence.contains("index holds 2"));
        let mut e = campaign(2).store(1).row(1, "가", 1).evidence();
        if let crate::evidence::Store::Settled(ledger) = &mut e.store {
            ledger.unreadable.push("row 2".into());
        }
        assert!(find(&e)[0].sentence.contains("1 row of the store cannot be understood: row 2"));
        let e = campaign(2).store(2).row(1, "가", 1).row(3, "나", 1).evidence();
        assert!(find(&e)[0].sentence.contains("row number 2"));
        let e = campaign(2).store(2).row(1, "가", 1).row(1, "나", 1).evidence();
        assert!(find(&e)[0].sentence.contains("1 comes next"));
    }
}
