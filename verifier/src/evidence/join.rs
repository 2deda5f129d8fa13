//! History and store together: which coupons were lost, and which request each coupon that nobody
//! was told about belongs to.
//!
//! A row without an acknowledgment must belong to a request whose outcome nobody knows: to the one
//! with its idempotency key, else to one of its user, else to any that names neither. Where several
//! fit, the earliest is taken. A row that finds none then is given one by moving others, if there is
//! a way: as many rows as possible are explained. That is the choice most in favour of the campaign:
//! what is impossible with it is impossible with any other.

mod augment;

use std::collections::{HashMap, HashSet, VecDeque};

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
    /// How it was found.
    pub by: By,
}

/// How a row found its request.
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
    let mut matching = Matching::new(pending);
    let rest = matching.stage(rows, untold, (By::Key, |_| true));
    let rest = matching.stage(rows, rest, (By::User, |_| true));
    // A row that names a user can only belong to a request that names none by now. It has less
    // choice than a row that names nobody, so it chooses first.
    let (named, mut unnamed): (Vec<usize>, Vec<usize>) =
        rest.into_iter().partition(|r| rows[*r].user.is_some());
    unnamed.sort_by_key(|r| rows[*r].key.is_none());
    let mut rest = matching.stage(rows, named, (By::Time, |op| op.user.is_none()));
    rest.extend(matching.stage(rows, unnamed, (By::Time, |_| true)));
    let (mut found, mut rest) = augment::augment(matching.found, rest, pending, rows);
    rest.sort_unstable();
    found.sort_by_key(|m| m.row);
    let leftovers = rest.into_iter().map(|row| Leftover { row, refused: None }).collect();
    Join { lost, matched: found, leftovers }
}

struct Matching<'a> {
    pending: &'a [Op],
    free: Vec<bool>,
    found: Vec<Match>,
}

impl<'a> Matching<'a> {
    fn new(pending: &'a [Op]) -> Self {
        Self { pending, free: vec![true; pending.len()], found: Vec::new() }
    }

    /// Matches what it can, with the requests that are eligible, and returns the rows that are left.
    fn stage(
        &mut self,
        rows: &[Row],
        candidates: Vec<usize>,
        (by, eligible): (By, fn(&Op) -> bool),
    ) -> Vec<usize> {
        if candidates.is_empty() {
            return candidates;
        }
        let mut queues: HashMap<Option<&str>, VecDeque<usize>> = HashMap::new();
        let free = self.pending.iter().enumerate().filter(|(at, _)| self.free[*at]);
        for (at, op) in free.filter(|(_, op)| eligible(op)) {
            queues
                .entry(name(by, op.key.as_deref(), op.user.as_deref()))
                .or_default()
                .push_back(at);
        }
        let mut left = Vec::new();
        for row in candidates {
            let wanted = name(by, rows[row].key.as_deref(), rows[row].user.as_deref());
            let queue = queues.get_mut(&wanted).filter(|_| by == By::Time || wanted.is_some());
            match queue.and_then(|q| take(q, self.pending, &rows[row])) {
                Some(pending) => {
                    self.free[pending] = false;
                    self.found.push(Match { pending, row, by });
                }
                None => left.push(row),
            }
        }
        left
    }
}

/// What a row and a request must have in common at this stage.
fn name<'a>(by: By, key: Option<&'a str>, user: Option<&'a str>) -> Option<&'a str> {
    match by {
        By::Key => key,
        By::User => user,
        By::Time => None,
    }
}

/// Takes the first request of the queue that does not contradict the row.
fn take(queue: &mut VecDeque<usize>, pending: &[Op], row: &Row) -> Option<usize> {
    let at = queue.iter().position(|p| fits(&pending[*p], row))?;
    queue.remove(at)
}

fn fits(op: &Op, row: &Row) -> bool {
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
    matches!(op.said, Said::SoldOut | Said::NotStarted | Said::Failed)
        && !other_key
        && (same(&op.user, &row.user) || same(&op.key, &row.key))
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
    fn as_many_rows_as_possible_are_explained() {
        let mut state = 1_u64;
        let mut random = |n: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from((state >> 33) % n).unwrap()
        };
        let names = [None, Some("a"), Some("b")];
        for _ in 0..20_000 {
            let asked: Vec<Op> = (0..random(6))
                .map(|n| pending(n as u64, names[random(3)], names[random(3)]))
                .collect();
            let rows: Vec<Row> =
                (0..random(6)).map(|_| row(1, names[random(3)], names[random(3)])).collect();
            let found = join(&Acknowledged::default(), &asked, &rows);
            assert_eq!(found.matched.len(), most(&asked, &rows, 0), "{asked:?} {rows:?}");
            assert_eq!(found.matched.len() + found.leftovers.len(), rows.len());
            let once: HashSet<usize> = found.matched.iter().map(|m| m.pending).collect();
            assert_eq!(once.len(), found.matched.len());
            assert!(found.matched.iter().all(|m| fits(&asked[m.pending], &rows[m.row])));
        }
    }

    #[test]
    fn every_request_explains_one_row() {
        let asked = [pending(1, Some("u"), None)];
        assert_eq!(pairs(&asked, &[row(1, Some("u"), None), row(2, Some("u"), None)]).1, 1);
    }
}
