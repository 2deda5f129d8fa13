//! What was seen before, by fingerprint, in bounded memory.
//!
//! A name is kept as 64 bits of its hash. Two names may share them, which is why whatever is found here
//! is read again before it is believed. Once it is full nothing is added, and nothing forgotten: what
//! came first stays known.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};

/// So many names are known at the most; some 50 MiB.
pub(super) const MOST: usize = 1 << 20;

/// A name, in 64 bits.
pub(super) type Fingerprint = u64;

/// The fingerprint of a name. Equal names have equal ones.
pub(super) fn fingerprint(name: impl Hash) -> Fingerprint {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Names, each with what it came with first and the operation.
#[derive(Debug, Default)]
pub(super) struct Known {
    first: HashMap<Fingerprint, First>,
    /// So many names came when it was full.
    pub(super) unknown: u64,
}

/// What a name came with first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) with: Fingerprint,
    pub(super) op: u64,
}

impl Known {
    /// What the name came with before; nothing where it is new.
    pub(super) fn add(&mut self, name: Fingerprint, with: Fingerprint, op: u64) -> Option<First> {
        let full = self.first.len() >= MOST;
        match self.first.entry(name) {
            Entry::Occupied(entry) => return Some(*entry.get()),
            Entry::Vacant(_) if full => self.unknown += 1,
            Entry::Vacant(entry) => {
                entry.insert(First { with, op });
            }
        }
        None
    }

    /// What the name came with first.
    pub(super) fn get(&self, name: Fingerprint) -> Option<First> {
        self.first.get(&name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_stays_and_nothing_grows_without_end() {
        let mut known = Known::default();
        for n in 0..MOST as u64 + 5 {
            assert_eq!(known.add(n, 7, n), None);
        }
        assert_eq!((known.first.len(), known.unknown), (MOST, 5));
        assert_eq!(known.add(3, 8, 9), Some(First { with: 7, op: 3 }));
        assert_eq!(known.get(MOST as u64), None);
    }
}
