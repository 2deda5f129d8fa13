//! What answers say of ranks fits together: every rank lies between 1 and N, no two coupons have the
//! same, and what was left after a coupon follows from its rank.

use std::collections::BTreeMap;

use super::{Check, Claim, Needs, Violation, Weight, capped};
use crate::evidence::acknowledged::Coupon;
use crate::evidence::{CampaignEvidence, Op};
use crate::wording::{count, signed, size};

pub(super) const CHECK: Check = Check {
    name: "contradicting-counts",
    rule: "ranks in answers lie between 1 and N, none is told for two coupons, and what is left fits",
    needs: Needs::History,
    weight: Weight::Proof,
    benign: "coupons were given back or added during the run",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let impossible = e.acknowledged.iter().filter_map(|c| {
        let sentence = impossible(e.coupons, c)?;
        Some(Violation::new(sentence).witness([&c.told]))
    });
    let seqs = twice(e, |c| c.rank.seq, "rank");
    let left = twice(e, |c| c.rank.remaining.filter(|_| c.rank.seq.is_none()), "number left");
    capped(impossible.chain(seqs).chain(left).collect())
}

fn impossible(coupons: u64, c: &Coupon) -> Option<String> {
    let of = format!("the coupon {} was told", c.code());
    let (all, wide) = (count(coupons), i128::from(coupons));
    let rank = c.rank.seq.filter(|seq| !(1..=wide).contains(&i128::from(*seq)));
    let left = c.rank.remaining.filter(|left| !(0..wide).contains(&i128::from(*left)));
    match (c.rank.seq, c.rank.remaining) {
        _ if rank.is_some() => {
            Some(format!("{of} as number {} of {all}", signed(rank.unwrap_or_default())))
        }
        _ if left.is_some() => {
            Some(format!("{of} with {} of {all} left", signed(left.unwrap_or_default())))
        }
        (Some(seq), Some(left)) if i128::from(seq) + i128::from(left) != wide => {
            Some(format!("{of} as number {} of {all} with {} left", signed(seq), signed(left)))
        }
        _ => None,
    }
}

fn twice(
    e: &CampaignEvidence,
    told: impl Fn(&Coupon) -> Option<i64>,
    what: &str,
) -> Vec<Violation> {
    let mut by_value: BTreeMap<i64, Vec<&Op>> = BTreeMap::new();
    for coupon in e.acknowledged.iter() {
        if let Some(value) = told(coupon) {
            by_value.entry(value).or_default().push(&coupon.told);
        }
    }
    let twice = by_value.into_iter().filter(|(_, ops)| ops.len() > 1);
    let violation = |(value, ops): (i64, Vec<&Op>)| {
        let sentence =
            format!("the {what} {} was told for {} coupons", signed(value), size(ops.len()));
        Violation::new(sentence).witness(ops).claim(Claim::SameRank)
    };
    twice.map(violation).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    fn said(ranks: &[(Option<i64>, Option<i64>)]) -> String {
        let mut e = campaign(3).key("k");
        for (code, rank) in ["가", "나", "다"].into_iter().zip(ranks) {
            e = e.ranked(code, *rank, 110, 120);
        }
        find(&e.evidence()).into_iter().map(|v| v.sentence).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn accepts_ranks_that_fit() {
        assert_eq!(said(&[(Some(1), Some(2)), (Some(3), None), (None, Some(1))]), "");
        let e = campaign(1).key("k").ranked("가", (Some(1), None), 110, 120);
        assert_eq!(find(&e.ranked("가", (Some(1), None), 130, 140).evidence()), [], "a replay");
    }

    #[test]
    fn rejects_ranks_that_do_not() {
        assert_eq!(said(&[(Some(0), None)]), "the coupon 가 was told as number 0 of 3");
        assert_eq!(said(&[(Some(4), None)]), "the coupon 가 was told as number 4 of 3");
        assert_eq!(said(&[(None, Some(3))]), "the coupon 가 was told with 3 of 3 left");
        assert_eq!(said(&[(None, Some(-1))]), "the coupon 가 was told with -1 of 3 left");
        assert!(said(&[(Some(1), Some(1))]).ends_with("number 1 of 3 with 1 left"));
        assert_eq!(said(&[(Some(2), None); 2]), "the rank 2 was told for 2 coupons");
        assert_eq!(said(&[(None, Some(2)); 3]), "the number left 2 was told for 3 coupons");
    }
}
