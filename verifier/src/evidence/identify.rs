//! Which row is whose, where rows carry no codes.
//!
//! Every check compares codes. So a row without one takes the code of the answer that it belongs to:
//! the one with its order id, else with its idempotency key, else of its user. One of the three ties
//! all of them, the first that rows and answers have anything of in common. A row that nobody was told
//! about gets a name of its own instead, which no answer carries.

use std::collections::HashMap;

use contract::store::Column;

use super::Op;
use super::acknowledged::{Acknowledged, Coupon};
use super::ledger::{Ledger, Row};

/// What answers called the coupons that they told: the order ids, by operation.
pub type Orders = HashMap<u64, Box<str>>;

/// Gives each row that has no code the one that was told for it. Returns `false` where nothing ties
/// rows and answers together, so that they can only be counted.
pub fn identify(ledger: &mut Ledger, told: &Acknowledged, orders: &Orders) -> bool {
    if ledger.tells(Column::Code) {
        return true;
    }
    let ties = [Column::Order, Column::Key, Column::User];
    let tie = ties.into_iter().find(|tie| have_in_common(*tie, ledger, told, orders));
    let nothing_to_tie = told.is_empty() || ledger.rows.is_empty();
    ledger.joined_by = tie;
    if tie.is_none() && !nothing_to_tie {
        return false;
    }
    let codes = tie.map_or_else(Vec::new, |tie| codes(tie, ledger, told, orders));
    let mut codes = codes.into_iter();
    for (at, row) in (1..).zip(&mut ledger.rows) {
        let code = codes.next().flatten();
        row.code = code.unwrap_or_else(|| format!("(no code, row {at})").into());
    }
    true
}

/// The code of each row. Where several answers have the row's name, one whose user and key are the
/// row's as well comes first: another one would make them contradict each other.
fn codes(
    tie: Column,
    ledger: &Ledger,
    told: &Acknowledged,
    orders: &Orders,
) -> Vec<Option<Box<str>>> {
    let mut named: HashMap<&str, Vec<&Coupon>> = HashMap::new();
    for coupon in told.iter() {
        if let Some(name) = of_answer(tie, &coupon.told, orders) {
            named.entry(name).or_default().push(coupon);
        }
    }
    let mut codes: Vec<Option<Box<str>>> = vec![None; ledger.rows.len()];
    for exactly in [true, false] {
        for (at, row) in ledger.rows.iter().enumerate() {
            if codes[at].is_some() {
                continue;
            }
            let answers = of_row(tie, ledger, at).and_then(|name| named.get_mut(name));
            let Some(answers) = answers else { continue };
            let fits = |c: &&Coupon| !exactly || agree(&c.told, row);
            if let Some(found) = answers.iter().position(fits) {
                codes[at] = Some(answers.remove(found).code().into());
            }
        }
    }
    codes
}

fn agree(told: &Op, row: &Row) -> bool {
    let same = |a: &Option<Box<str>>, b: &Option<Box<str>>| a.is_none() || b.is_none() || a == b;
    same(&told.user, &row.user) && same(&told.key, &row.key)
}

fn have_in_common(tie: Column, ledger: &Ledger, told: &Acknowledged, orders: &Orders) -> bool {
    let rows = (0..ledger.rows.len()).filter_map(|at| of_row(tie, ledger, at));
    let rows: std::collections::HashSet<&str> = rows.collect();
    !rows.is_empty()
        && told.iter().any(|c| of_answer(tie, &c.told, orders).is_some_and(|n| rows.contains(n)))
}

fn of_answer<'a>(tie: Column, op: &'a Op, orders: &'a Orders) -> Option<&'a str> {
    match tie {
        Column::Order => orders.get(&op.op).map(AsRef::as_ref),
        Column::Key => op.key.as_deref(),
        Column::User => op.user.as_deref(),
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
    use super::super::Said;
    use super::super::acknowledged::Rank;
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

    fn codes(ledger: &Ledger) -> Vec<&str> {
        ledger.rows.iter().map(|r| r.code.as_ref()).collect()
    }

    #[test]
    fn the_order_comes_before_the_user() {
        let answers = told(&[(1, "u", "A"), (2, "u", "B")]);
        let orders = Orders::from([(1, "o1".into()), (2, "o2".into())]);
        let mut found = ledger(&[("u", "o2"), ("u", "o9")]);
        assert!(identify(&mut found, &answers, &orders));
        assert_eq!(codes(&found), ["B", "(no code, row 2)"]);
        assert_eq!(found.joined_by, Some(Column::Order));
    }

    #[test]
    fn users_that_share_an_order_keep_their_own_coupon() {
        let answers = told(&[(1, "u", "A"), (2, "v", "B"), (3, "w", "C")]);
        let orders = Orders::from([1, 2, 3].map(|op| (op, "o".into())));
        let mut found = ledger(&[("x", "o"), ("v", "o"), ("u", "o")]);
        assert!(identify(&mut found, &answers, &orders));
        assert_eq!(codes(&found), ["C", "B", "A"]);
    }

    #[test]
    fn an_order_that_is_not_the_rows_own_ties_nothing() {
        let answers = told(&[(1, "u", "A"), (2, "v", "B")]);
        let orders = Orders::from([(1, "o1".into()), (2, "o2".into())]);
        let mut found = ledger(&[("v", "17"), ("u", "18"), ("u", "19")]);
        assert!(identify(&mut found, &answers, &orders));
        assert_eq!(codes(&found), ["B", "A", "(no code, row 3)"]);
        assert_eq!(found.joined_by, Some(Column::User));
    }

    #[test]
    fn with_nothing_in_common_there_is_only_counting() {
        let answers = told(&[(1, "u", "A")]);
        assert!(!identify(&mut ledger(&[("x", "17")]), &answers, &Orders::new()));
        assert!(identify(&mut ledger(&[]), &answers, &Orders::new()));
    }
}
