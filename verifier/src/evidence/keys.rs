//! A set that may claim to hold more than it does, in constant memory: a Bloom filter.

use std::hash::{DefaultHasher, Hash, Hasher};

/// A campaign's number, a user and a key.
type Key<'a> = (usize, Option<&'a str>, &'a str);

/// Idempotency keys that were seen. What it does not hold was certainly not seen.
#[derive(Debug, Default)]
pub struct Keys {
    bits: Vec<u64>,
}

/// 2^23 bits are 1 MiB. They are reserved when the first key is seen.
const BITS: u64 = 1 << 23;

impl Keys {
    /// Adds a key.
    pub fn insert(&mut self, key: Key<'_>) {
        if self.bits.is_empty() {
            self.bits = vec![0; usize::try_from(BITS / 64).unwrap_or_default()];
        }
        for (word, mask) in places(key) {
            self.bits[word] |= mask;
        }
    }

    /// Whether the key may have been added.
    pub fn may_hold(&self, key: Key<'_>) -> bool {
        !self.bits.is_empty() && places(key).iter().all(|(word, mask)| self.bits[*word] & mask != 0)
    }
}

/// Two places for each key, from the two halves of its hash.
fn places(key: Key<'_>) -> [(usize, u64); 2] {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let hash = hasher.finish();
    [hash % BITS, (hash >> 32) % BITS]
        .map(|bit| (usize::try_from(bit / 64).unwrap_or_default(), 1 << (bit % 64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_added_is_missed() {
        let mut keys = Keys::default();
        assert!(!keys.may_hold((0, None, "k")));
        let names: Vec<String> = (0..1_000).map(|n| format!("k{n}")).collect();
        names.iter().for_each(|k| keys.insert((0, Some("u"), k)));
        assert!(names.iter().all(|k| keys.may_hold((0, Some("u"), k))));
        let wrong = names.iter().filter(|k| keys.may_hold((1, Some("u"), k))).count();
        assert!(wrong < 10, "{wrong}");
    }
}
