//! History and store together: which coupons were lost, and which request each coupon that nobody
//! was told about belongs to.
//!
//! A row without an acknowledgment must belong to a request whose outcome nobody knows, with the same
//! idempotency key and of the same user as far as both name one. As many rows as possible are
//! explained, and by the requests that were sent first: one after the other is given a row, if need be
//! by moving others, and passed over where there is no way. So for every moment no choice has more
//! requests sent by then, for the sets that can be matched are a matroid (J. Edmonds and D. R.
//! Fulkerson, "Transversals and matroid partition", 1965). That is the choice most in favour of the
//! campaign: what is impossible with it is impossible with any other.

mod earliest;

use std::collections::HashSet;

use super::acknowledged::Acknowledged;
use super::ledger::Row;
use super::{Op, Said};

/// History and store together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Join {
    /// Coupons that were acknowledged and are not in the store.
    pub lost: Vec<Op>,
    /// Indeterminate requests that consumed a coupon.
    pub matched: Vec<Match>,
    /// Rows that no request explains.
    pub leftovers: Vec<Leftover>,
}

/// An indeterminate request and its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Index into the pending requests.
    pub pending: usize,
    /// Index into the rows.
    pub row: usize,
    /// What both have in common.
    pub by: By,
}

/// What a row and its request have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Both carry the same idempotency key.
    Key,
    /// Both belong to the same user.
    User,
    /// Nothing contradicts it.
    Time,
}

/// A row that no request explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Index into the rows.
    pub row: usize,
    /// A request of the row's user that was definitely refused.
    pub refused: Option<Op>,
}

/// Joins the coupons that were acknowledged and the requests that are pending with the rows.
/// `pending` is in the order in which they were sent.
pub fn join(acknowledged: &Acknowledged, pending: &[Op], rows: &[Row]) -> Join {
    let held: HashSet<&str> = rows.iter().map(|r| r.code.as_ref()).collect();
    let lost = (acknowledged.iter())
        .filter(|c| !held.contains(c.code()))
        .map(|c| c.told.clone())
        .collect();
    let told: HashSet<&str> = acknowledged.iter().map(|c| c.code()).collect();
    let untold: Vec<usize> =
        (0..rows.len()).filter(|r| !told.contains(rows[*r].code.as_ref())).collect();
    let matched = earliest::match_up(pending, rows, &untold);
    let explained: HashSet<usize> = matched.iter().map(|m| m.row).collect();
    let leftovers = untold.into_iter().filter(|row| !explained.contains(row));
    let leftovers = leftovers.map(|row| Leftover { row, refused: None }).collect();
    Join { lost, matched, leftovers }
}

/// Whether the request can have left the row: neither names another key or user than the other.
pub(super) fn fits(op: &Op, row: &Row) -> bool {
    let agree = |a: &Option<Box<str>>, b: &Option<Box<str>>| match (a, b) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    agree(&op.key, &row.key) && agree(&op.user, &row.user)
}

/// Whether the request was definitely refused although its user holds this row.
pub fn refused(op: &Op, row: &Row) -> bool {
    let same = |a: &Option<Box<str>>, b: &Option<Box<str>>| a.is_some() && a == b;
    let other_key = op.key.is_some() && row.key.is_some() && op.key != row.key;
    let told = matches!(
        op.said,
        Said::SoldOut | Said::NotStarted | Said::NotFound | Said::Ended | Said::Failed
    );
    told && !other_key && (same(&op.user, &row.user) || same(&op.key, &row.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(op: u64, user: Option<&str>, key: Option<&str>) -> Op {
        let at = i64::try_from(op).unwrap();
        let (user, key) = (user.map(Into::into), key.map(Into::into));
        Op { op, target: None, user, key, invoked: at, completed: None, said: Said::Unknown }
    }

    fn row(seq: i64, user: Option<&str>, key: Option<&str>) -> Row {
        let code = format!("{seq}").into();
        Row { seq, code, user: user.map(Into::into), key: key.map(Into::into), at_us: 0 }
    }

    fn pairs(pending: &[Op], rows: &[Row]) -> (Vec<(u64, i64, By)>, usize) {
        let found = join(&Acknowledged::default(), pending, rows);
        let name = |m: &Match| (pending[m.pending].op, rows[m.row].seq, m.by);
        (found.matched.iter().map(name).collect(), found.leftovers.len())
    }

    #[test]
    fn the_key_comes_before_the_user_and_the_user_before_time() {
        let asked = [
            pending(1, Some("u"), Some("k1")),
            pending(2, Some("u"), Some("k2")),
            pending(3, Some("v"), None),
            pending(4, None, None),
        ];
        let rows = [row(1, None, None), row(2, Some("v"), None), row(3, Some("u"), Some("k2"))];
        let want = vec![(1, 1, By::Time), (3, 2, By::User), (2, 3, By::Key)];
        assert_eq!(pairs(&asked, &rows), (want, 0));
    }

    #[test]
    fn whoever_was_told_that_there_is_none_for_them_was_refused() {
        let told = |said| Op { said, ..pending(1, Some("u"), Some("k1")) };
        let none = [Said::SoldOut, Said::NotStarted, Said::NotFound, Said::Ended, Said::Failed];
        for said in none {
            assert!(refused(&told(said.clone()), &row(1, Some("u"), None)), "{said:?}");
            assert!(refused(&told(said.clone()), &row(1, None, Some("k1"))), "{said:?}");
            assert!(!refused(&told(said.clone()), &row(1, Some("u"), Some("k2"))), "{said:?}");
            assert!(!refused(&told(said), &row(1, Some("v"), None)));
        }
        assert!(!refused(&told(Said::Unknown), &row(1, Some("u"), None)));
    }

    #[test]
    fn another_key_or_user_is_no_explanation() {
        let asked = [pending(1, Some("u"), Some("k1"))];
        assert_eq!(pairs(&asked, &[row(1, Some("u"), Some("k9"))]).1, 1);
        assert_eq!(pairs(&asked, &[row(1, Some("w"), None)]).1, 1);
    }

    #[test]
    fn a_row_that_names_somebody_chooses_before_one_that_names_nobody() {
        let asked = [pending(1, None, None), pending(2, Some("v"), None)];
        let rows = [row(1, None, None), row(2, Some("u"), None)];
        assert_eq!(pairs(&asked, &rows).1, 0);
    }

    /// The size of the largest matching, by trying all.
    fn most(pending: &[Op], rows: &[Row], used: u32) -> usize {
        let Some((row, others)) = rows.split_first() else { return 0 };
        let with = (0..pending.len()).filter(|p| used & (1 << p) == 0 && fits(&pending[*p], row));
        let with = with.map(|p| 1 + most(pending, others, used | 1 << p)).max();
        with.unwrap_or(0).max(most(pending, others, used))
    }

    #[test]
    fn as_many_rows_as_possible_are_explained_by_the_earliest_requests() {
        let mut dice = e2e::Dice::new(1);
        let mut random = |n| dice.below(n);
        let names = [None, Some("a"), Some("b")];
        for _ in 0..20_000 {
            let asked: Vec<Op> = (0..random(6))
                .map(|n| pending(n as u64, names[random(3)], names[random(3)]))
                .collect();
            let rows: Vec<Row> =
                (0..random(6)).map(|_| row(1, names[random(3)], names[random(3)])).collect();
            let found = join(&Acknowledged::default(), &asked, &rows);
            for sent in 0..=asked.len() {
                let by_then = found.matched.iter().filter(|m| m.pending < sent).count();
                assert_eq!(by_then, most(&asked[..sent], &rows, 0), "{asked:?} {rows:?}");
            }
            assert_eq!(found.matched.len() + found.leftovers.len(), rows.len());
            let once: HashSet<usize> = found.matched.iter().map(|m| m.pending).collect();
            assert_eq!(once.len(), found.matched.len());
            assert!(found.matched.iter().all(|m| fits(&asked[m.pending], &rows[m.row])));
        }
    }

    /// The later one was sent by the row's user, the earlier one by nobody knows whom.
    #[test]
    fn the_earlier_request_comes_before_the_one_that_names_the_user() {
        let asked = [pending(1, None, None), pending(2, Some("u"), None)];
        assert_eq!(pairs(&asked, &[row(1, Some("u"), None)]).0, [(1, 1, By::Time)]);
    }

    #[test]
    fn every_request_explains_one_row() {
        let asked = [pending(1, Some("u"), None)];
        assert_eq!(pairs(&asked, &[row(1, Some("u"), None), row(2, Some("u"), None)]).1, 1);
    }
}
