//! Which buyer behaves how: a pure function of the seed and the buyer's number.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::scenario::Buyer;

/// All buyers of a run.
#[derive(Clone, Debug)]
pub struct Crowd {
    key: u64,
    kinds: Vec<Buyer>,
    /// The sum of the weights up to and with each kind.
    weights: Vec<u64>,
}

impl Crowd {
    /// A crowd of these kinds; of none means that everybody asks once.
    pub fn new(seed: u64, kinds: &[Buyer]) -> Self {
        let kinds = if kinds.is_empty() { vec![Buyer::default()] } else { kinds.to_vec() };
        let weights = kinds.iter().scan(0, |sum, kind| {
            *sum += u64::from(kind.weight.get());
            Some(*sum)
        });
        let weights = weights.collect();
        Self { key: ChaCha8Rng::seed_from_u64(seed).random(), kinds, weights }
    }

    /// Whether nobody asks again whatever the answer is.
    pub fn all_ask_once(&self) -> bool {
        self.kinds.iter().all(|kind| kind.requests.get() == 1)
    }

    /// Whether an answer makes somebody ask again.
    pub fn retries(&self) -> bool {
        self.kinds.iter().any(|kind| !kind.retry.is_empty())
    }

    /// How the buyer of the arrival with this number in its campaign behaves.
    pub fn buyer(&self, first: u64) -> &Buyer {
        let total = self.weights.last().copied().unwrap_or(1);
        let lot = mixed(self.key ^ mixed(first)) % total;
        let kind = self.weights.partition_point(|sum| *sum <= lot);
        &self.kinds[kind.min(self.kinds.len() - 1)]
    }

    /// A number from 0 to 1 for attempt `op`.
    pub fn luck(&self, op: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let luck = (mixed(!self.key ^ mixed(op)) >> 11) as f64 / (1_u64 << 53) as f64;
        luck
    }
}

/// SplitMix64's finalizer (Steele, Lea and Flood, 2014): neighbours become unlike.
pub(crate) fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(yaml: &str, seed: u64) -> Crowd {
        Crowd::new(seed, &serde_saphyr::from_str::<Vec<Buyer>>(yaml).unwrap())
    }

    #[test]
    fn kinds_have_the_shares_of_their_weights() {
        let crowd = crowd("[{weight: 8}, {requests: 2}, {requests: 3}]", 7);
        let asked = |n| (0..10_000).filter(|i| crowd.buyer(*i).requests.get() == n).count();
        let (once, twice, thrice) = (asked(1), asked(2), asked(3));
        assert!(once.abs_diff(8_000) < 160 && twice.abs_diff(1_000) < 120, "{once} {twice}");
        assert_eq!(once + twice + thrice, 10_000);
        assert!(!crowd.all_ask_once() && Crowd::new(1, &[]).all_ask_once());
    }

    #[test]
    fn the_seed_decides() {
        let kinds = "[{}, {requests: 2}]";
        let asks = |seed| -> Vec<u32> {
            let crowd = crowd(kinds, seed);
            (0..64).map(|i| crowd.buyer(i).requests.get()).collect()
        };
        assert_eq!(asks(1), asks(1));
        assert_ne!(asks(1), asks(2));
    }

    #[test]
    fn luck_is_even() {
        let crowd = crowd("[]", 3);
        let mean = (0..10_000).map(|op| crowd.luck(op)).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        assert!((0..10_000).all(|op| (0.0..1.0).contains(&crowd.luck(op))));
    }
}
