//! Explains further rows by moving requests between rows, until no row can be explained any more.

use std::collections::{HashMap, VecDeque};

use super::{By, Match, fits};
use crate::evidence::Op;
use crate::evidence::ledger::Row;

/// A key or a user, where one is named.
type Name<'a> = Option<&'a str>;

/// A list of requests all of which fit a row. Once all of a list was looked at, it is done with.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum List<'a> {
    /// With exactly this key and user.
    Exact(Name<'a>, Name<'a>),
    /// With this key and any user.
    Key(Name<'a>),
    /// With this user and any key.
    User(Name<'a>),
    /// All.
    All,
}

/// The lists that hold everything that fits the row.
fn lists(row: &Row) -> Vec<List<'_>> {
    match (row.key.as_deref(), row.user.as_deref()) {
        (Some(key), Some(user)) => {
            let (key, user) = (Some(key), Some(user));
            [(key, user), (key, None), (None, user), (None, None)]
                .map(|(key, user)| List::Exact(key, user))
                .to_vec()
        }
        (key @ Some(_), None) => vec![List::Key(key), List::Key(None)],
        (None, user @ Some(_)) => vec![List::User(user), List::User(None)],
        (None, None) => vec![List::All],
    }
}

/// Looks for a way to explain each of the rows that are left. What was reached in vain for one row
/// is of no use for another, so it is looked at once.
pub(super) fn augment(
    found: Vec<Match>,
    left: Vec<usize>,
    pending: &[Op],
    rows: &[Row],
) -> (Vec<Match>, Vec<usize>) {
    if left.is_empty() || found.len() == pending.len() {
        return (found, left);
    }
    let mut of_list: HashMap<List<'_>, Vec<usize>> = HashMap::new();
    for (at, op) in pending.iter().enumerate() {
        let (key, user) = (op.key.as_deref(), op.user.as_deref());
        for list in [List::Exact(key, user), List::Key(key), List::User(user), List::All] {
            of_list.entry(list).or_default().push(at);
        }
    }
    let mut row_of: HashMap<usize, usize> = found.iter().map(|m| (m.pending, m.row)).collect();
    let held = found.iter().map(|m| (m.row, m.pending)).collect();
    let mut search = Search { rows, of_list, held, dead: vec![false; pending.len()] };
    let rest = left.into_iter().filter(|row| !search.explain(*row, &mut row_of)).collect();
    let by = |pending: &Op, row: &Row| match () {
        () if pending.key.is_some() && pending.key == row.key => By::Key,
        () if pending.user.is_some() && pending.user == row.user => By::User,
        () => By::Time,
    };
    debug_assert!(row_of.iter().all(|(p, r)| fits(&pending[*p], &rows[*r])), "only what fits");
    let matched = row_of.into_iter().map(|(p, row)| Match {
        pending: p,
        row,
        by: by(&pending[p], &rows[row]),
    });
    (matched.collect(), rest)
}

struct Search<'a> {
    rows: &'a [Row],
    of_list: HashMap<List<'a>, Vec<usize>>,
    /// The request that each row has.
    held: HashMap<usize, usize>,
    /// Requests that were reached in vain.
    dead: Vec<bool>,
}

impl Search<'_> {
    /// Walks from the row to a request that fits, from there to the row that has it, and so on,
    /// until a request is free; then moves all of them by one.
    fn explain(&mut self, row: usize, row_of: &mut HashMap<usize, usize>) -> bool {
        // Where each request was reached from.
        let mut from: HashMap<usize, usize> = HashMap::new();
        let mut looked = std::collections::HashSet::new();
        let mut queue = VecDeque::from([row]);
        while let Some(at) = queue.pop_front() {
            for list in lists(&self.rows[at]) {
                if !looked.insert(list) {
                    continue;
                }
                for &p in self.of_list.get(&list).into_iter().flatten() {
                    if self.dead[p] || from.contains_key(&p) {
                        continue;
                    }
                    from.insert(p, at);
                    match row_of.get(&p) {
                        Some(&taken) => queue.push_back(taken),
                        None => {
                            self.shift(p, &from, row_of);
                            return true;
                        }
                    }
                }
            }
        }
        from.keys().for_each(|p| self.dead[*p] = true);
        for list in looked {
            self.of_list.remove(&list);
        }
        false
    }

    /// Gives each row on the way the request that it was left by.
    fn shift(
        &mut self,
        mut free: usize,
        from: &HashMap<usize, usize>,
        row_of: &mut HashMap<usize, usize>,
    ) {
        loop {
            let row = from[&free];
            row_of.insert(free, row);
            match self.held.insert(row, free) {
                Some(before) => free = before,
                // The row that had none: the way began there.
                None => return,
            }
        }
    }
}
