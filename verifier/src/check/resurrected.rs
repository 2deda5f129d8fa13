//! The campaign never goes back to a state that it had left, as it does when a server or a store
//! starts again from what it had saved a while before.
//!
//! Losing a coupon alone is no return: a write may have been dropped. Going back is proven where the
//! numbers do as well. By some answer so many coupons had been issued; a request that was sent after
//! it got a coupon of a number that was given by then, and it is this one that the settled store
//! holds, while another one, told before, is gone.

use std::collections::HashMap;

use contract::store::Column;

use super::{Check, Claim, Needs, Violation, Weight};
use crate::evidence::acknowledged::Coupon;
use crate::evidence::{CampaignEvidence, Op, Said};
use crate::wording::{moment, signed, size};

pub(super) const CHECK: Check = Check {
    name: "resurrected",
    rule: "the campaign never goes back to an earlier state: no number is given again for a lost coupon",
    needs: Needs::Store,
    weight: Weight::Proof,
    benign: "the store was set back on purpose during the run",
    find,
};

/// So many coupons had been issued by the end of this operation.
#[derive(Clone, Copy)]
struct Height<'a> {
    coupons: i64,
    by: &'a Op,
}

/// A coupon of this number, in the store, that was asked for later.
#[derive(Clone, Copy)]
struct Again<'a> {
    number: i64,
    told: &'a Op,
}

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let lost: Vec<&Op> = e.join.iter().flat_map(|j| &j.lost).collect();
    let Some(first) = lost.iter().copied().min_by_key(|op| (op.end(), op.op)) else {
        return Vec::new();
    };
    if e.restock {
        return Vec::new();
    }
    let heights = heights(e);
    let falls = given_again(e).into_iter().filter(|again| first.end() < again.told.invoked);
    let falls = falls.filter_map(|again| Some((highest_before(&heights, again)?, again)));
    let deepest = falls.max_by_key(|(height, again)| {
        (height.coupons - again.number, std::cmp::Reverse(again.told.op))
    });
    deepest.map(|(height, again)| violation(e, height, again, &lost)).into_iter().collect()
}

fn violation(
    e: &CampaignEvidence,
    height: Height<'_>,
    again: Again<'_>,
    lost: &[&Op],
) -> Violation {
    let before: Vec<&Op> =
        lost.iter().copied().filter(|op| op.end() < again.told.invoked).collect();
    let at = |time: i64| moment(time.saturating_sub(e.zero()));
    let sentence = format!(
        "the campaign went back: {} coupons had been issued by {}, a coupon that was asked for at \
         {} is number {}, and {} that were told before are gone from the settled store",
        signed(height.coupons),
        at(height.by.end()),
        at(again.told.invoked),
        signed(again.number),
        size(before.len())
    );
    Violation::new(sentence)
        .witness([height.by, again.told].into_iter().chain(before))
        .claim(Claim::WentBack)
        .because("A comes before B, and B got a number that was given by then".to_owned())
        .because("the store holds the coupon of B, but none that the others were told".to_owned())
}

/// What answers told of how many coupons had been issued, each more than all before it, in the order
/// of their ends.
fn heights(e: &CampaignEvidence) -> Vec<Height<'_>> {
    let possible = |n: i128| i64::try_from(n).ok().filter(|_| n <= i128::from(e.coupons));
    let ranks = e.acknowledged.iter().flat_map(|c| c.ranks(e.coupons));
    let reads = e.reads.counts.iter().map(|(count, seen)| (*count, &seen.first_over));
    let gone = e.final_sold_out().map(|op| (i128::from(e.coupons), op));
    let told = ranks.chain(reads).chain(gone);
    let mut all: Vec<Height<'_>> =
        told.filter_map(|(n, by)| Some(Height { coupons: possible(n)?, by })).collect();
    all.sort_by_key(|height| (height.by.end(), height.by.op));
    let mut highest = 0;
    all.retain(|height| {
        let higher = height.coupons > highest;
        highest = highest.max(height.coupons);
        higher
    });
    all
}

/// The number was given before: so many had been issued before the coupon was asked for.
fn highest_before<'a>(heights: &[Height<'a>], again: Again<'_>) -> Option<Height<'a>> {
    let upto = heights.partition_point(|height| height.by.end() < again.told.invoked);
    let height = heights.get(upto.checked_sub(1)?)?;
    (height.coupons >= again.number && height.by.op != again.told.op).then_some(*height)
}

/// Coupons in the store, with the least number that they have by an answer or by their row. The last
/// number at most, where nothing tells: nobody who asks after "sold out" can have it.
fn given_again(e: &CampaignEvidence) -> Vec<Again<'_>> {
    let Some(ledger) = e.ledger() else { return Vec::new() };
    // With more rows than coupons nobody had to go back for one more.
    let fits = ledger.size() as u64 <= e.coupons;
    let numbered = ledger.tells(Column::Seq);
    let rows: HashMap<&str, i64> = ledger.rows.iter().map(|r| (r.code.as_ref(), r.seq)).collect();
    let alone = |c: &&Coupon| c.asked().op == c.told.op && e.knows_attempts(&c.told);
    let number = |c: &Coupon| {
        let row = *rows.get(c.code())?;
        let told = c.ranks(e.coupons).filter_map(|(rank, _)| i64::try_from(rank).ok()).min();
        let last = i64::try_from(e.coupons).ok().filter(|_| fits);
        let row = Some(row).filter(|_| numbered);
        told.into_iter().chain(row).chain(last).min().filter(|number| *number >= 1)
    };
    let coupons = e.acknowledged.iter().filter(alone);
    let all = coupons.filter_map(|c| Some(Again { number: number(c)?, told: &c.told }));
    all.filter(|again| matches!(again.told.said, Said::Issued(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, campaign};
    use super::*;

    /// Two coupons, of which the second is gone, and one that was asked for later.
    fn set_back(sent: i64, number: i64) -> Sample {
        let e = campaign(9).ranked("가", (Some(1), None), 110, 120);
        let e = e.ranked("나", (Some(2), None), 121, 130).issued("다", sent, 150);
        e.store(2).row(1, "가", 1).row(number, "다", 2)
    }

    fn witness(e: Sample) -> Vec<u64> {
        find(&e.evidence()).iter().flat_map(|v| &v.witness).map(|op| op.op).collect()
    }

    #[test]
    fn accepts_a_store_that_only_grew() {
        let e = campaign(9).ranked("가", (Some(1), None), 110, 120);
        let e = e.ranked("나", (Some(2), None), 121, 130).sold_out(131, 140);
        assert_eq!(witness(e.store(2).row(1, "가", 1).row(2, "나", 2)), [0; 0]);
    }

    #[test]
    fn accepts_a_lost_coupon_after_which_the_numbers_went_on() {
        assert_eq!(witness(set_back(131, 3)), [0; 0], "`lost` says so");
    }

    #[test]
    fn accepts_a_number_that_may_have_been_given_before() {
        assert_eq!(witness(set_back(130, 2)), [0; 0], "ends that touch have no order");
        assert_eq!(witness(set_back(131, 2)), [2, 3]);
    }

    #[test]
    fn accepts_a_store_that_was_wiped_afterwards() {
        let e = campaign(9).ranked("가", (Some(2), None), 110, 120);
        let e = e.ranked("나", (Some(1), None), 121, 130);
        assert_eq!(witness(e.store(0)), [0; 0], "nothing later is there");
    }

    #[test]
    fn rejects_a_number_that_was_given_again() {
        let found = find(&set_back(131, 2).evidence());
        assert!(found[0].sentence.contains("is number 2, and 1 that were"), "{found:?}");
        let told = campaign(9).ranked("가", (None, Some(4)), 110, 120);
        let told = told.ranked("나", (Some(3), None), 121, 130).store(1).row(7, "나", 2);
        assert_eq!(witness(told), [1, 2], "by the answers alone");
    }

    #[test]
    fn rejects_a_coupon_after_a_read_that_saw_more() {
        let e = campaign(9).issued("가", 110, 120).counted(1, 121, 125).issued("나", 131, 140);
        assert_eq!(witness(e.store(1).row(1, "나", 1)), [2, 3, 1]);
    }

    #[test]
    fn rejects_a_coupon_after_sold_out_where_there_is_room_for_it() {
        let e = |rows: i64| {
            let e = campaign(2).issued("가", 110, 120).sold_out(121, 130).issued("나", 131, 140);
            let e = e.store(rows).row(2, "나", 1);
            if rows > 1 { e.row(3, "다", 1).row(4, "라", 1) } else { e }
        };
        assert_eq!(witness(e(1)), [2, 3, 1]);
        assert_eq!(witness(e(3)), [2, 3, 1], "its row has a number");
        let unnumbered = |rows| {
            let mut e = e(rows).evidence();
            if let crate::evidence::Store::Settled(ledger) = &mut e.store {
                ledger.lacks.push(Column::Seq);
            }
            find(&e).len()
        };
        assert_eq!((unnumbered(1), unnumbered(3)), (1, 0), "more rows than coupons");
    }

    #[test]
    fn accepts_a_coupon_that_was_lost_after_numbers_were_told_wrong() {
        let e = campaign(9).ranked("가", (Some(2), None), 110, 120);
        let e = e.ranked("나", (Some(1), None), 121, 130).issued("다", 131, 140);
        assert_eq!(witness(e.store(2).row(2, "가", 1).row(1, "나", 2)), [0; 0]);
    }

    #[test]
    fn accepts_coupons_that_come_back() {
        assert_eq!(witness(set_back(131, 2).restocked()), [0; 0]);
    }

    #[test]
    fn accepts_a_replay_whose_first_request_came_before() {
        let e = campaign(9).key("a").ranked("가", (Some(1), None), 110, 120);
        let e = e.key("k").silent(111).key("b").ranked("나", (Some(2), None), 121, 130);
        let e = e.key("k").issued("다", 131, 150).store(2).key("a").row(1, "가", 1);
        assert_eq!(witness(e.key("k").row(2, "다", 2)), [0; 0]);
    }
}
