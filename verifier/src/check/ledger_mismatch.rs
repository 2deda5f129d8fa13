//! Everything in the store that counts coupons counts the same: every counter, the rows, the index of
//! codes; and the rows are numbered from 1 without a gap. A store that was only counted is held against
//! what clients were told.

use std::collections::{BTreeSet, HashMap};

use contract::store::Column;

use super::{Check, Needs, Violation, Weight, capped};
use crate::evidence::acknowledged::Coupon;
use crate::evidence::ledger::{Count, Ledger, Row};
use crate::evidence::{CampaignEvidence, Store};
use crate::wording::{self, signed, size};

pub(super) const CHECK: Check = Check {
    name: "ledger-mismatch",
    rule: "counters, rows, index of codes and answers agree, and no row number is missing",
    needs: Needs::Counts,
    weight: Weight::Proof,
    benign: "rows were archived away during the run",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let ledger = match &e.store {
        Store::Settled(ledger) => ledger,
        Store::Counted(counts) => return capped(counted(e, counts)),
        Store::Unread(_) => return Vec::new(),
    };
    let single = [unreadable(ledger), index(ledger), numbering(ledger)].into_iter().flatten();
    let counters = disagreeing(ledger, e.coupons, ledger.size() as i128, "its rows are");
    let mut all: Vec<Violation> = single.chain(counters).map(Violation::new).collect();
    // A coupon that came back may be another one's by now.
    if !e.restock {
        all.extend(answers(e, ledger));
    }
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
        let why = disagree(e, c, row, ledger)?;
        let sentence = format!("the coupon {} was told {why}", c.code());
        Some(Violation::new(sentence).witness([&c.told]))
    };
    e.acknowledged.iter().filter_map(violation).collect()
}

fn disagree(e: &CampaignEvidence, c: &Coupon, row: &Row, ledger: &Ledger) -> Option<String> {
    // Which of a user's coupons a row without a code is, is a guess.
    ranks_disagree(e, c, row)
        .filter(|_| ledger.tells(Column::Seq) && ledger.joined_by.is_none())
        .or_else(|| keys_disagree(c, row))
}

fn ranks_disagree(e: &CampaignEvidence, c: &Coupon, row: &Row) -> Option<String> {
    let seq = signed(row.seq);
    if let Some(told) = c.rank.seq.filter(|told| *told != row.seq) {
        return Some(format!("as number {}, its row is number {seq}", signed(told)));
    }
    let left = i128::from(e.coupons) - i128::from(row.seq);
    if let Some(told) = c.rank.remaining.filter(|told| i128::from(*told) != left) {
        return Some(format!("with {} left, by its row {seq} it was {left}", signed(told)));
    }
    None
}

/// Another user is a code of two users, which is a check of its own.
fn keys_disagree(c: &Coupon, row: &Row) -> Option<String> {
    let (asked, stored) = (c.told.key.as_deref()?, row.key.as_deref()?);
    (asked != stored).then(|| format!("under the key {asked}, its row has the key {stored}"))
}

/// Every counter that says another number than this one.
fn disagreeing(ledger: &Ledger, coupons: u64, number: i128, whose: &str) -> Vec<String> {
    let other = ledger.counters.iter().filter(|c| c.of(coupons) != number);
    let other = other.map(|c| {
        let as_issued = match c.says {
            Count::Issued(_) => String::new(),
            Count::Left(_) => format!(", so {} issued", c.of(coupons)),
        };
        format!("the store's {}{as_issued}, {whose} {number}", c.words())
    });
    other.collect()
}

/// A store of which nothing but numbers is known: they agree, and they fit what clients were told.
fn counted(e: &CampaignEvidence, counts: &Ledger) -> Vec<Violation> {
    let Some(first) = counts.counters.first() else { return Vec::new() };
    let issued = first.of(e.coupons);
    let name = format!("{} has", first.name);
    let mut found = disagreeing(counts, e.coupons, issued, &name);
    let (told, perhaps) = (e.acknowledged.len(), e.pending.len());
    // Where coupons come back, those that clients were told about need not be counted any more.
    if issued < told as i128 && !e.restock {
        found.push(format!(
            "clients were told about {} coupons, the store's {}",
            size(told),
            first.words()
        ));
    }
    if e.whole && issued > (told + perhaps) as i128 {
        found.push(format!(
            "the store's {}, but clients were told about {} and only {} further requests can have \
             consumed one",
            first.words(),
            size(told),
            size(perhaps)
        ));
    }
    found.into_iter().map(Violation::new).collect()
}

fn unreadable(ledger: &Ledger) -> Option<String> {
    let first = ledger.unreadable.first()?;
    let rows = wording::things(ledger.unreadable.len(), "row");
    Some(format!("{rows} of the store cannot be understood: {first}"))
}

fn index(ledger: &Ledger) -> Option<String> {
    let indexed = ledger.indexed_codes?;
    let codes: BTreeSet<&str> = ledger.rows.iter().map(|r| r.code.as_ref()).collect();
    let different = codes.len() + ledger.plain.rows;
    (usize::try_from(indexed) != Ok(different)).then(|| {
        format!("the store's index holds {indexed} codes, its rows hold {different} different ones")
    })
}

fn numbering(ledger: &Ledger) -> Option<String> {
    if !ledger.unreadable.is_empty() || !ledger.tells(Column::Seq) {
        return None;
    }
    let (expected, found) = (1..).zip(ledger.seqs()).find(|(expected, found)| expected != found)?;
    Some(format!("row number {expected} was expected in the store and {found} comes next"))
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;
    use crate::evidence::ledger::Counter;

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
        let e = campaign(3).restocked().ranked("가", (None, Some(1)), 110, 120);
        assert_eq!(find(&e.store(1).row(1, "가", 1).evidence()), [], "coupons come back");
        let e = campaign(3).user("u").key("k").issued("가", 110, 120).store(1);
        assert!(find(&e.key("l").row(1, "가", 1).evidence())[0].sentence.contains("the key l"));
        let e = campaign(3).user("u").issued("가", 110, 120).store(1);
        let e = e.user("v").row(1, "가", 1).evidence();
        assert_eq!(find(&e), [], "duplicate-code says so");
    }

    #[test]
    fn rejects_a_counter_an_index_and_a_gap() {
        let e = campaign(2).store(2).row(1, "가", 1).evidence();
        assert_eq!(find(&e)[0].sentence, "the store's counter 2, its rows are 1");
        let e = campaign(2).store(1).row(1, "가", 1).indexed(2).evidence();
        assert!(find(&e)[0].sentence.contains("index holds 2"));
        let mut e = campaign(2).store(1).row(1, "가", 1).evidence();
        if let Store::Settled(ledger) = &mut e.store {
            ledger.unreadable.push("row 2".into());
        }
        assert!(find(&e)[0].sentence.contains("1 row of the store cannot be understood: row 2"));
        let e = campaign(2).store(2).row(1, "가", 1).row(3, "나", 1).evidence();
        assert!(find(&e)[0].sentence.contains("row number 2"));
        let e = campaign(2).store(2).row(1, "가", 1).row(1, "나", 1).evidence();
        assert!(find(&e)[0].sentence.contains("1 comes next"));
    }

    /// A store of two rows whose ranks are not known, with these counters.
    fn unranked(counters: Vec<Counter>) -> CampaignEvidence {
        let mut e = campaign(5).store(2).row(1, "가", 1).row(2, "나", 1).evidence();
        if let Store::Settled(ledger) = &mut e.store {
            ledger.counters = counters;
            ledger.lacks = vec![Column::Seq];
            ledger.rows[1].seq = 9;
        }
        e
    }

    fn left(n: i64, may_overshoot: bool) -> Counter {
        Counter { name: "stock".into(), says: Count::Left(n), may_overshoot }
    }

    #[test]
    fn accepts_what_is_left_and_rows_without_ranks() {
        assert_eq!(find(&unranked(vec![left(3, false), Counter::issued("sold", 2)])), []);
    }

    #[test]
    fn rejects_every_counter_that_disagrees() {
        let found = find(&unranked(vec![left(2, false), Counter::issued("sold", 3)]));
        let sentences: Vec<&str> = found.iter().map(|v| v.sentence.as_str()).collect();
        let want = "the store's stock 2 left, so 3 issued, its rows are 2";
        assert_eq!(sentences, [want, "the store's sold 3, its rows are 2"]);
    }

    #[test]
    fn what_is_beyond_the_last_coupon_may_say_nothing() {
        assert_eq!(left(-3, true).of(5), 5);
        assert_eq!(left(-3, false).of(5), 8);
        let attempts = Counter { may_overshoot: true, ..Counter::issued("attempts", 9) };
        assert_eq!((attempts.of(5), attempts.of(20)), (5, 9));
    }

    #[test]
    fn a_store_that_is_only_counted_is_held_against_the_answers() {
        let counted = |counters: Vec<Counter>| {
            let mut e = campaign(5).issued("가", 110, 120).unclear(110, 120).evidence();
            e.store = Store::Counted(Ledger { counters, unlisted: true, ..Ledger::default() });
            find(&e).into_iter().map(|v| v.sentence).collect::<Vec<_>>()
        };
        assert_eq!(counted(vec![Counter::issued("sold", 1), left(4, false)]), [""; 0]);
        assert_eq!(counted(vec![Counter::issued("sold", 2)]), [""; 0]);
        assert!(counted(vec![Counter::issued("sold", 0)])[0].contains("told about 1 coupons"));
        assert!(counted(vec![Counter::issued("sold", 3)])[0].contains("only 1 further"));
        let pair = counted(vec![Counter::issued("sold", 1), left(3, false)]);
        assert_eq!(pair, ["the store's stock 3 left, so 2 issued, sold has 1"]);
    }

    #[test]
    fn a_counter_need_not_count_what_came_back() {
        let counted = |n| {
            let mut e = campaign(5).restocked().issued("가", 110, 120).evidence();
            let counters = vec![Counter::issued("sold", n)];
            e.store = Store::Counted(Ledger { counters, unlisted: true, ..Ledger::default() });
            find(&e).len()
        };
        assert_eq!((counted(0), counted(1)), (0, 0));
        assert_eq!(counted(2), 1, "nobody asked for it");
    }
}
