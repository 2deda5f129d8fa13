//! What reads of the campaign's state saw.
//!
//! A read of a count proves something by its ends only: of all that saw the same number no more is
//! kept than the one that was over first and the one that was sent last. Lists of codes are kept
//! once for each size, as numbers.

use std::collections::{BTreeMap, HashMap};

use contract::outcome::Observation;

use super::{Op, Said};

/// What the reads of one campaign saw.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    /// Reads of a number, by how many coupons it says were issued. A map has room for eleven at least,
    /// and most of many campaigns are asked once or twice.
    pub counts: BTreeMap<i128, Box<Seen>>,
    /// Lists of codes, by how many different codes are on them.
    pub lists: BTreeMap<usize, List>,
    /// The number of each code that was on a list.
    codes: HashMap<Box<str>, u32>,
}

/// The reads that saw the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The one that was over first.
    pub first_over: Op,
    /// The one that was sent last.
    pub last_sent: Op,
}

/// A list of codes.
#[derive(Clone, Debug)]
pub struct List {
    /// The numbers of its codes, in order.
    pub codes: Box<[u32]>,
    /// The reads that saw it.
    pub seen: Seen,
    /// A read that saw another list of the same length.
    pub other: Option<Op>,
}

impl Seen {
    fn new(op: Op) -> Self {
        Self { first_over: op.clone(), last_sent: op }
    }

    fn add(&mut self, op: Op) {
        if (op.invoked, op.op) > (self.last_sent.invoked, self.last_sent.op) {
            self.last_sent = op.clone();
        }
        if (op.end(), op.op) < (self.first_over.end(), self.first_over.op) {
            self.first_over = op;
        }
    }
}

/// What a read was told, without the codes themselves.
pub(super) fn said(saw: &Observation<'_>) -> Said {
    match saw {
        Observation::Issued(n) => Said::Counted(*n),
        Observation::Remaining(n) => Said::Left(*n),
        Observation::Codes(codes) => Said::Listed(codes.len()),
    }
}

impl Reads {
    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.lists.is_empty()
    }

    /// The number of a code that was on a list.
    pub fn number(&self, code: &str) -> Option<u32> {
        self.codes.get(code).copied()
    }

    /// All codes that were on lists, each with its number.
    pub fn codes(&self) -> impl Iterator<Item = (&str, u32)> {
        self.codes.iter().map(|(code, number)| (code.as_ref(), *number))
    }

    /// How many different codes were on lists.
    pub fn distinct(&self) -> usize {
        self.codes.len()
    }

    /// Takes what a read of a campaign with so many coupons saw.
    pub(super) fn saw(&mut self, op: Op, saw: &Observation<'_>, coupons: u64) {
        let count = match saw {
            Observation::Issued(n) => i128::from(*n),
            Observation::Remaining(n) => i128::from(coupons) - i128::from(*n),
            Observation::Codes(codes) => return self.listed(op, codes),
        };
        match self.counts.get_mut(&count) {
            Some(seen) => seen.add(op),
            None => {
                self.counts.insert(count, Box::new(Seen::new(op)));
            }
        }
    }

    /// Takes what other reads of the same campaign saw.
    pub(super) fn absorb(&mut self, other: Self, coupons: u64) {
        for (count, seen) in other.counts {
            match self.counts.get_mut(&count) {
                Some(own) => {
                    own.add(seen.first_over);
                    own.add(seen.last_sent);
                }
                None => {
                    self.counts.insert(count, seen);
                }
            }
        }
        let mut names: Vec<&str> = vec![""; other.codes.len()];
        other.codes.iter().for_each(|(code, number)| names[*number as usize] = code);
        for list in other.lists.values() {
            let codes = list.codes.iter().map(|code| names[*code as usize].into());
            let codes = Observation::Codes(codes.collect());
            for op in [&list.seen.first_over, &list.seen.last_sent] {
                self.saw(op.clone(), &codes, coupons);
            }
            let own = self.lists.get_mut(&list.codes.len());
            if let (Some(own), Some(op)) = (own, &list.other)
                && own.other.as_ref().is_none_or(|other| op.op < other.op)
            {
                own.other = Some(op.clone());
            }
        }
    }

    fn listed(&mut self, op: Op, codes: &[std::borrow::Cow<'_, str>]) {
        let mut numbers: Vec<u32> = codes.iter().map(|code| self.intern(code)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let codes: Box<[u32]> = numbers.into();
        match self.lists.get_mut(&codes.len()) {
            Some(list) if list.codes == codes => list.seen.add(op),
            Some(list) => {
                // Which list is kept must not depend on the order in which segments are read.
                if list.other.as_ref().is_none_or(|other| op.op < other.op) {
                    list.other = Some(op);
                }
            }
            None => {
                let seen = Seen::new(op);
                self.lists.insert(codes.len(), List { codes, seen, other: None });
            }
        }
    }

    fn intern(&mut self, code: &str) -> u32 {
        if let Some(&number) = self.codes.get(code) {
            return number;
        }
        let number = u32::try_from(self.codes.len()).unwrap_or(u32::MAX);
        self.codes.insert(code.into(), number);
        number
    }
}
