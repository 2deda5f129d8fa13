//! Gives rows to requests, the earliest first.
//!
//! What names the same key and user is the same for all that fits it, so classes of rows and of
//! requests are matched, and only numbers are kept. A request whose rows are all taken looks for a way:
//! from its rows to the requests that have them, from there to other rows that those could have, and so
//! on, until a row is free; then each on the way moves by one. What was reached in vain stays of no use,
//! so it is looked at once.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::{By, Match, fits};
use crate::evidence::Op;
use crate::evidence::ledger::Row;

/// What a row or a request says of its key, or of its user.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Name<'a> {
    Is(&'a str),
    /// One that no row has.
    Other,
    None,
}

impl<'a> Name<'a> {
    fn among(known: &HashSet<&'a str>, name: Option<&str>) -> Self {
        let Some(name) = name else { return Self::None };
        known.get(name).map_or(Self::Other, |name| Self::Is(name))
    }
}

/// Key and user.
type Names<'a> = (Name<'a>, Name<'a>);

/// Classes of rows all of which fit a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum List<'a> {
    /// With exactly this key and user.
    Exact(Names<'a>),
    /// With this key and any user.
    Key(Name<'a>),
    /// With this user and any key.
    User(Name<'a>),
    /// All.
    All,
}

/// Rows that name the same key and user.
struct Class {
    free: usize,
    /// How many of its rows each class of requests has.
    taken: BTreeMap<usize, usize>,
    /// It was reached in vain.
    dead: bool,
}

/// Requests that fit the same rows.
struct Askers<'a> {
    names: Names<'a>,
    /// Those that have a row.
    matched: Vec<usize>,
}

/// Matches requests, which are in the order in which they were sent, with these rows; in the order of
/// the rows.
pub(super) fn match_up(pending: &[Op], rows: &[Row], untold: &[usize]) -> Vec<Match> {
    let mut table = Table::of(rows, untold);
    let mut left = untold.len();
    for (at, op) in pending.iter().enumerate() {
        if left == 0 {
            break;
        }
        let asker = table.asker(op);
        if table.explain(asker) {
            table.askers[asker].matched.push(at);
            left -= 1;
        }
    }
    let mut matched = table.into_pairs(pending, rows);
    matched.sort_by_key(|m| m.row);
    matched
}

struct Table<'a> {
    classes: Vec<Class>,
    /// The rows of each class.
    rows: Vec<VecDeque<usize>>,
    of_list: HashMap<List<'a>, Vec<usize>>,
    /// Those that may have a free row.
    open: HashMap<List<'a>, VecDeque<usize>>,
    keys: HashSet<&'a str>,
    users: HashSet<&'a str>,
    askers: Vec<Askers<'a>>,
    asker_of: HashMap<Names<'a>, usize>,
}

impl<'a> Table<'a> {
    fn of(rows: &'a [Row], untold: &[usize]) -> Self {
        let mut class_of: HashMap<Names<'a>, usize> = HashMap::new();
        let mut members: Vec<VecDeque<usize>> = Vec::new();
        let (mut keys, mut users) = (HashSet::new(), HashSet::new());
        let mut of_list: HashMap<List<'a>, Vec<usize>> = HashMap::new();
        for &at in untold {
            let (key, user) = (rows[at].key.as_deref(), rows[at].user.as_deref());
            keys.extend(key);
            users.extend(user);
            let names = (key.map_or(Name::None, Name::Is), user.map_or(Name::None, Name::Is));
            let class = *class_of.entry(names).or_insert_with(|| {
                for list in [List::Exact(names), List::Key(names.0), List::User(names.1), List::All]
                {
                    of_list.entry(list).or_default().push(members.len());
                }
                members.push(VecDeque::new());
                members.len() - 1
            });
            members[class].push_back(at);
        }
        let classes = members.iter().map(|rows| Class {
            free: rows.len(),
            taken: BTreeMap::new(),
            dead: false,
        });
        let open = of_list.iter().map(|(list, classes)| (*list, classes.iter().copied().collect()));
        let (classes, open) = (classes.collect(), open.collect());
        let (askers, asker_of) = (Vec::new(), HashMap::new());
        Self { classes, rows: members, of_list, open, keys, users, askers, asker_of }
    }

    /// The class of a request.
    fn asker(&mut self, op: &Op) -> usize {
        let key = Name::among(&self.keys, op.key.as_deref());
        let names = (key, Name::among(&self.users, op.user.as_deref()));
        *self.asker_of.entry(names).or_insert_with(|| {
            self.askers.push(Askers { names, matched: Vec::new() });
            self.askers.len() - 1
        })
    }

    /// Gives one more request of the class a row, if there is a way.
    fn explain(&mut self, asker: usize) -> bool {
        // Where each class of rows, and each of the requests that have some of it, was reached from.
        let mut from: HashMap<usize, usize> = HashMap::new();
        let mut via: HashMap<usize, usize> = HashMap::new();
        let mut looked: HashSet<List<'a>> = HashSet::new();
        let mut queue = VecDeque::from([asker]);
        while let Some(at) = queue.pop_front() {
            for list in lists(self.askers[at].names) {
                if !looked.insert(list) {
                    continue;
                }
                if let Some(free) = self.free(list) {
                    from.insert(free, at);
                    self.shift(free, (&from, &via));
                    return true;
                }
                for &class in self.of_list.get(&list).into_iter().flatten() {
                    if self.classes[class].dead || from.contains_key(&class) {
                        continue;
                    }
                    from.insert(class, at);
                    for &holder in self.classes[class].taken.keys() {
                        if holder != asker && !via.contains_key(&holder) {
                            via.insert(holder, class);
                            queue.push_back(holder);
                        }
                    }
                }
            }
        }
        from.keys().for_each(|class| self.classes[*class].dead = true);
        for list in looked {
            self.of_list.remove(&list);
        }
        false
    }

    /// A class of the list with a free row.
    fn free(&mut self, list: List<'a>) -> Option<usize> {
        let open = self.open.get_mut(&list)?;
        while open.front().is_some_and(|class| self.classes[*class].free == 0) {
            open.pop_front();
        }
        open.front().copied()
    }

    /// Lets each on the way have a row of the class that it reached, in place of the one that it was
    /// reached from.
    fn shift(
        &mut self,
        free: usize,
        (from, via): (&HashMap<usize, usize>, &HashMap<usize, usize>),
    ) {
        self.classes[free].free -= 1;
        let mut class = free;
        loop {
            let asker = from[&class];
            *self.classes[class].taken.entry(asker).or_default() += 1;
            let Some(&before) = via.get(&asker) else { return };
            let taken = &mut self.classes[before].taken;
            match taken.get(&asker).copied().unwrap_or_default() {
                0 | 1 => taken.remove(&asker),
                number => taken.insert(asker, number - 1),
            };
            class = before;
        }
    }

    /// The rows and requests themselves: which of a class is all the same.
    fn into_pairs(mut self, pending: &[Op], rows: &[Row]) -> Vec<Match> {
        let mut askers: Vec<_> = self.askers.into_iter().map(|a| a.matched.into_iter()).collect();
        let mut matched = Vec::new();
        for (class, members) in self.classes.iter().zip(&mut self.rows) {
            for (&asker, &number) in &class.taken {
                for (row, at) in members.drain(..number).zip(askers[asker].by_ref()) {
                    debug_assert!(fits(&pending[at], &rows[row]), "only what fits");
                    matched.push(Match { pending: at, row, by: by(&pending[at], &rows[row]) });
                }
            }
        }
        matched
    }
}

/// The lists that hold everything that fits, what fits best first.
fn lists((key, user): Names<'_>) -> Vec<List<'_>> {
    match (key, user) {
        (Name::None, Name::None) => vec![List::All],
        (key, Name::None) => vec![List::Key(key), List::Key(Name::None)],
        (Name::None, user) => vec![List::User(user), List::User(Name::None)],
        (key, user) => {
            [(key, user), (key, Name::None), (Name::None, user), (Name::None, Name::None)]
                .map(List::Exact)
                .to_vec()
        }
    }
}

fn by(op: &Op, row: &Row) -> By {
    match () {
        () if op.key.is_some() && op.key == row.key => By::Key,
        () if op.user.is_some() && op.user == row.user => By::User,
        () => By::Time,
    }
}
