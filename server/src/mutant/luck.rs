//! Whom a bug strikes: a pure function of its seed and the request, so that it is repeatable
//! whatever the order in which requests come, and a retry is struck as the first attempt was.

use crate::store::Ask;

/// The seed of a bug.
#[derive(Clone, Copy, Debug)]
pub struct Luck(u64);

impl Luck {
    /// Another seed strikes other requests.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Whether it strikes this request; `one_in` of them on average.
    pub(super) fn strikes(self, ask: &Ask, one_in: u64) -> bool {
        let key = ask.key.as_deref().unwrap_or_default();
        self.hits(&format!("{}\n{}\n{key}", ask.campaign, ask.sent()), one_in)
    }

    /// Whether it strikes whatever has this name.
    pub(super) fn hits(self, name: &str, one_in: u64) -> bool {
        self.number(name).is_multiple_of(one_in)
    }

    /// A number that looks random: FNV-1a, then the finalizer of SplitMix64.
    pub(super) fn number(self, name: &str) -> u64 {
        let fnv = name.bytes().fold(0xcbf2_9ce4_8422_2325 ^ self.0, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strikes_as_often_as_it_says_and_others_for_another_seed() {
        let struck = |seed: u64| -> Vec<u64> {
            let hits = |n: &u64| Luck::new(seed).hits(&format!("u{n:07}"), 40);
            (0..40_000).filter(hits).collect()
        };
        let (one, other) = (struck(1), struck(2));
        assert!((900..1_100).contains(&one.len()), "{}", one.len());
        assert_eq!(one, struck(1));
        assert_ne!(one, other);
    }
}
