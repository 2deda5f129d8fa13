//! Users and keys as hashes, of which there are too many to hold: each is put aside as seven bytes, in a
//! part that tells the eighth. Two names with one hash hide nothing, but cost a second reading of the
//! history, so the hashes are not cut any shorter.

use std::collections::HashSet;

use foldhash::fast::FixedState;

use super::super::spill::{PART_BITS, Spill, hash, part_of};

/// A user, or an idempotency key with its user, of one campaign, as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name(u64);

/// Many of them.
pub type Names = HashSet<Name, FixedState>;

/// So many bytes of a hash are kept in a part.
const KEPT: usize = 7;

impl Name {
    /// A user.
    pub fn user(campaign: usize, user: &str) -> Self {
        Self(hash((campaign, "user", user)))
    }

    /// A key, with the user who used it.
    pub fn key(campaign: usize, user: Option<&str>, key: &str) -> Self {
        Self(hash((campaign, user, key)))
    }

    /// The part that it is in.
    pub(super) fn part(self) -> usize {
        part_of(self.0)
    }

    pub(super) fn put(self, into: &mut Spill) {
        let [_, kept @ ..] = self.0.to_be_bytes();
        into.push_bytes(self.0, &kept);
    }

    /// All of a part.
    pub(super) fn all(part: usize, bytes: &[u8]) -> impl ExactSizeIterator<Item = Self> {
        let first = (part as u64) >> (PART_BITS - 8) << 56;
        let name = move |kept: &[u8]| {
            let kept = kept.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
            Self(first | kept)
        };
        bytes.chunks_exact(KEPT).map(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::spill::PARTS;
    use super::*;

    #[test]
    fn names_are_read_as_they_were_put_aside() {
        let mut spill = Spill::default();
        let names: Names = (0..100_000).map(|n| Name::user(n % 3, &format!("u{n}"))).collect();
        names.iter().for_each(|name| name.put(&mut spill));
        let mut found = Names::default();
        for at in 0..PARTS {
            let mut bytes = Vec::new();
            spill.part(at, &mut bytes).unwrap();
            found.extend(Name::all(at, &bytes));
        }
        assert_eq!(found, names);
        assert_eq!(names.len(), 100_000, "no two have one hash");
    }
}
