//! Users and keys as hashes, of which there are too many to hold: each is put aside as four bytes, in the part
//! that a fifth names. Two names with one hash cost a look and hide nothing.

use std::collections::HashSet;

use foldhash::fast::FixedState;

use super::super::spill::{Spill, hash};

/// A user, or an idempotency key with its user, of one campaign, as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name(u64);

/// Many of them.
pub type Names = HashSet<Name, FixedState>;

/// So many bits of a hash are left out.
const CUT: u32 = 24;
/// So many bytes of it are kept in a part.
const KEPT: usize = 4;

impl Name {
    /// A user.
    pub fn user(campaign: usize, user: &str) -> Self {
        Self(hash((campaign, "user", user)) >> CUT << CUT)
    }

    /// A key, with the user who used it.
    pub fn key(campaign: usize, user: Option<&str>, key: &str) -> Self {
        Self(hash((campaign, user, key)) >> CUT << CUT)
    }

    pub(super) fn put(self, into: &mut Spill) {
        let [_, kept @ .., _, _, _] = self.0.to_be_bytes();
        into.push_bytes(self.0, &kept);
    }

    /// All of a part.
    pub(super) fn all(part: usize, bytes: &[u8]) -> impl Iterator<Item = Self> {
        let first = (part as u64) << 56;
        let name = move |kept: &[u8]| {
            let kept = kept.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
            Self(first | kept << CUT)
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
        assert!(names.len() > 99_000, "too many have one hash");
    }
}
