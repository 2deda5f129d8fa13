//! Which row is whose, where rows carry no codes.
//!
//! Every check compares codes. So a row without one takes the code of the answer that it belongs to:
//! the one with its order id, else with its idempotency key, else of its user. What rows and answers have
//! nothing of in common ties nothing, and says nothing against a tie either. A row that nobody was told
//! about gets a name of its own instead, which no answer carries.

use std::collections::{HashMap, HashSet};

use contract::store::Column;

use super::acknowledged::{Acknowledged, Coupon};
use super::join::fits;
use super::ledger::{Ledger, Row};

/// What answers called the coupons that they told.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    by_answer: HashMap<u64, Box<str>>,
    /// For a coupon whose order only another answer names: one that told it again.
    by_code: HashMap<Box<str>, Box<str>>,
}

impl Orders {
    /// An answer told this code, and this order id.
    pub fn add(&mut self, op: u64, code: &str, order: &str) {
        self.by_answer.insert(op, order.into());
        self.by_code.entry(code.into()).or_insert_with(|| order.into());
    }

    fn of(&self, coupon: &Coupon) -> Option<&str> {
        let told = self.by_answer.get(&coupon.told.op);
        told.or_else(|| self.by_code.get(coupon.code())).map(AsRef::as_ref)
    }
}

/// Gives each row that has no code the one that was told for it. Returns `false` where nothing ties
/// rows and answers together, so that they can only be counted.
pub fn identify(ledger: &mut Ledger, told: &Acknowledged, orders: &Orders) -> bool {
    if ledger.tells(Column::Code) {
        return true;
    }
    let coupons: Vec<&Coupon> = told.iter().collect();
    let ties = [Column::Order, Column::Key, Column::User].into_iter();
    let ties: Vec<Column> =
        ties.filter(|tie| have_in_common(*tie, ledger, &coupons, orders)).collect();
    let nothing_to_tie = told.is_empty() || ledger.rows.is_empty();
    ledger.joined_by = ties.first().copied();
    if ties.is_empty() && !nothing_to_tie {
        return false;
    }
    let codes = Tying { ledger, orders, ties }.codes(coupons);
    for ((at, row), code) in (1..).zip(&mut ledger.rows).zip(codes) {
        row.code = code.unwrap_or_else(|| format!("(no code, row {at})").into());
    }
    true
}

struct Tying<'a> {
    ledger: &'a Ledger,
    orders: &'a Orders,
    /// What rows and answers have some of in common, the surest first.
    ties: Vec<Column>,
}

impl Tying<'_> {
    /// The code of each row. Where several answers have the row's name, one whose user and key are the
    /// row's as well comes first: another one would make them contradict each other.
    fn codes(&self, coupons: Vec<&Coupon>) -> Vec<Option<Box<str>>> {
        let mut codes: Vec<Option<Box<str>>> = vec![None; self.ledger.rows.len()];
        let mut untied = coupons;
        for (surer, tie) in self.ties.iter().enumerate() {
            let (mut named, mut rest): (HashMap<&str, Vec<&Coupon>>, _) =
                (HashMap::new(), Vec::new());
            for coupon in untied {
                match of_answer(*tie, coupon, self.orders) {
                    Some(name) => named.entry(name).or_default().push(coupon),
                    None => rest.push(coupon),
                }
            }
            for exactly in [true, false] {
                for (at, code) in codes.iter_mut().enumerate().filter(|(_, code)| code.is_none()) {
                    let answers = of_row(*tie, self.ledger, at).and_then(|n| named.get_mut(n));
                    let Some(answers) = answers else { continue };
                    let row = &self.ledger.rows[at];
                    let fits = |c: &&Coupon| {
                        (!exactly || fits(&c.told, row)) && self.may_be(&self.ties[..surer], c, at)
                    };
                    if let Some(found) = answers.iter().position(fits) {
                        *code = Some(answers.remove(found).code().into());
                    }
                }
            }
            untied = named.into_values().flatten().chain(rest).collect();
            untied.sort_by_key(|coupon| coupon.told.op);
        }
        codes
    }

    /// Whether none of the surer ties says that the row is another coupon's.
    fn may_be(&self, surer: &[Column], coupon: &Coupon, row: usize) -> bool {
        let agrees = |tie: &Column| {
            let told = of_answer(*tie, coupon, self.orders);
            told.zip(of_row(*tie, self.ledger, row)).is_none_or(|(told, stored)| told == stored)
        };
        surer.iter().all(agrees)
    }
}

fn have_in_common(tie: Column, ledger: &Ledger, told: &[&Coupon], orders: &Orders) -> bool {
    let rows = (0..ledger.rows.len()).filter_map(|at| of_row(tie, ledger, at));
    let rows: HashSet<&str> = rows.collect();
    !rows.is_empty()
        && told.iter().any(|c| of_answer(tie, c, orders).is_some_and(|n| rows.contains(n)))
}

fn of_answer<'a>(tie: Column, coupon: &'a Coupon, orders: &'a Orders) -> Option<&'a str> {
    match tie {
        Column::Order => orders.of(coupon),
        Column::Key => coupon.told.key.as_deref(),
        Column::User => coupon.told.user.as_deref(),
        Column::Code | Column::Seq => None,
    }
}

fn of_row(tie: Column, ledger: &Ledger, at: usize) -> Option<&str> {
    let row: &Row = ledger.rows.get(at)?;
    match tie {
        Column::Order => ledger.orders.get(at)?.as_deref(),
        Column::Key => row.key.as_deref(),
        Column::User => row.user.as_deref(),
        Column::Code | Column::Seq => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::acknowledged::Rank;
    use super::super::{Op, Said};
    use super::*;

    fn told(answers: &[(u64, &str, &str)]) -> Acknowledged {
        let mut all = Acknowledged::default();
        for (op, user, code) in answers {
            let op = Op {
                op: *op,
                target: None,
                user: Some((*user).into()),
                key: None,
                invoked: 0,
                completed: Some(1),
                said: Said::Issued((*code).into()),
            };
            all.push(Coupon::new(op, Rank::default()));
        }
        all
    }

    fn ledger(rows: &[(&str, &str)]) -> Ledger {
        let row = |(seq, (user, _)): (i64, &(&str, &str))| Row {
            seq,
            code: "".into(),
            user: Some((*user).into()),
            key: None,
            at_us: 0,
        };
        Ledger {
            rows: (1..).zip(rows).map(row).collect(),
            orders: rows.iter().map(|(_, order)| Some((*order).into())).collect(),
            lacks: vec![Column::Code, Column::Key],
            ..Ledger::default()
        }
    }

    fn orders(told: &[(u64, &str, &str)]) -> Orders {
        let mut orders = Orders::default();
        told.iter().for_each(|(op, code, order)| orders.add(*op, code, order));
        orders
    }

    fn codes(ledger: &Ledger) -> Vec<&str> {
        ledger.rows.iter().map(|r| r.code.as_ref()).collect()
    }

    #[test]
    fn the_order_comes_before_the_user() {
        let answers = told(&[(1, "u", "A"), (2, "u", "B")]);
        let orders = orders(&[(1, "A", "o1"), (2, "B", "o2")]);
        let mut found = ledger(&[("u", "o2"), ("u", "o9")]);
        assert!(identify(&mut found, &answers, &orders));
        assert_eq!(codes(&found), ["B", "(no code, row 2)"]);
        assert_eq!(found.joined_by, Some(Column::Order));
    }

    #[test]
    fn users_that_share_an_order_keep_their_own_coupon() {
        let answers = told(&[(1, "u", "A"), (2, "v", "B"), (3, "w", "C")]);
        let orders = orders(&[(1, "A", "o"), (2, "B", "o"), (3, "C", "o")]);
        let mut found = ledger(&[("x", "o"), ("v", "o"), ("u", "o")]);
        assert!(identify(&mut found, &answers, &orders));
        assert_eq!(codes(&found), ["C", "B", "A"]);
    }

    #[test]
    fn an_order_that_is_not_the_rows_own_ties_nothing() {
        let answers = told(&[(1, "u", "A"), (2, "v", "B")]);
        let orders = orders(&[(1, "A", "o1"), (2, "B", "o2")]);
        let mut found = ledger(&[("v", "17"), ("u", "18"), ("u", "19")]);
        assert!(identify(&mut found, &answers, &orders));
        assert_eq!(codes(&found), ["B", "A", "(no code, row 3)"]);
        assert_eq!(found.joined_by, Some(Column::User));
    }

    #[test]
    fn an_answer_that_names_no_order_is_tied_by_its_user() {
        let answers = told(&[(1, "u", "A"), (2, "v", "B"), (3, "w", "C")]);
        let mut found = ledger(&[("v", "o2"), ("u", "o1"), ("w", "o3"), ("w", "o4")]);
        let orders = orders(&[(1, "A", "o1"), (3, "C", "o4")]);
        assert!(identify(&mut found, &answers, &orders));
        assert_eq!(codes(&found), ["B", "A", "(no code, row 3)", "C"]);
    }

    #[test]
    fn an_order_that_only_a_repeated_answer_names_counts() {
        let answers = told(&[(1, "u", "A"), (2, "u", "B")]);
        let mut found = ledger(&[("u", "o2"), ("u", "o1")]);
        assert!(identify(&mut found, &answers, &orders(&[(2, "B", "o2"), (7, "A", "o1")])));
        assert_eq!(codes(&found), ["B", "A"]);
        let mut found = ledger(&[("x", "o2"), ("x", "o1")]);
        assert!(identify(&mut found, &answers, &orders(&[(2, "B", "o2"), (7, "A", "o1")])));
        assert_eq!(codes(&found), ["B", "A"]);
    }

    #[test]
    fn with_nothing_in_common_there_is_only_counting() {
        let answers = told(&[(1, "u", "A")]);
        assert!(!identify(&mut ledger(&[("x", "17")]), &answers, &Orders::default()));
        assert!(identify(&mut ledger(&[]), &answers, &Orders::default()));
    }
}
