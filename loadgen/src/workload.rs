//! Who asks, and where: a pure function of the arrival's number and the seed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::mapping::Values;
use crate::scenario::Spread;

/// Gives every arrival its user, its idempotency key and its target.
#[derive(Clone, Debug)]
pub struct Workload {
    campaign: String,
    run_key: u64,
    spread: Spread,
    targets: u64,
}

/// One request to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The number of the operation, from 1.
    pub op: u64,
    /// Which target gets it.
    pub target: usize,
    /// Who asks; nobody else in this run.
    pub user: String,
    /// Its idempotency key; no other request of this campaign.
    pub key: String,
}

impl Workload {
    /// The workload of a campaign with this seed over so many targets, at least one.
    pub fn new(seed: u64, campaign: &str, spread: Spread, targets: usize) -> Self {
        let run_key = ChaCha8Rng::seed_from_u64(seed).random();
        Self { campaign: campaign.into(), run_key, spread, targets: targets.max(1) as u64 }
    }

    /// Which target gets arrival `index`.
    fn target(&self, index: u64) -> usize {
        let number = match self.spread {
            Spread::RoundRobin => index,
            Spread::Random => ChaCha8Rng::seed_from_u64(self.run_key ^ index).random(),
            // Users are numbered by the arrival, so the number stands for the user. It is mixed, for
            // whoever else counts users must not fall into step with the targets.
            Spread::ByUser => (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32,
        };
        usize::try_from(number % self.targets).unwrap_or(0)
    }

    /// What arrival `index` asks.
    pub fn order(&self, index: u64) -> Order {
        Order {
            op: index + 1,
            target: self.target(index),
            user: format!("u{:07}", index + 1),
            // A system whose keys know no campaign must not take the next run for a replay.
            key: format!("{}-{:016x}-{index:x}", self.campaign, self.run_key),
        }
    }
}

/// What the measured request's templates may name.
#[derive(Debug)]
pub struct Asking<'a> {
    /// Who asks, and where.
    pub order: &'a Order,
    /// Host and port of the target.
    pub target: &'a str,
    /// What the set-up captured.
    pub names: &'a BTreeMap<String, String>,
}

impl Values for Asking<'_> {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(match name {
            "user" => self.order.user.as_str().into(),
            "key" => self.order.key.as_str().into(),
            "n" => self.order.op.to_string().into(),
            "uuid" => self.order.uuid().into(),
            "target" => self.target.into(),
            other => self.names.get(other)?.as_str().into(),
        })
    }
}

impl Order {
    /// A UUID (version 4) of its own: random, but the same for the same key.
    fn uuid(&self) -> String {
        let mut seed = [0; 32];
        for (at, byte) in self.key.bytes().enumerate() {
            // Keys differ in their last characters, so folding keeps them apart.
            seed[at % 32] ^= byte.rotate_left(u32::try_from(at / 32).unwrap_or(0));
        }
        let n: u128 = ChaCha8Rng::from_seed(seed).random();
        let n = (n & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{n:032x}");
        let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        format!("{a}-{b}-{c}-{d}-{e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn of(seed: u64, campaign: &str) -> Workload {
        Workload::new(seed, campaign, Spread::RoundRobin, 5)
    }

    #[test]
    fn every_spread_gives_each_target_its_share_and_the_same_one_again() {
        for spread in [Spread::RoundRobin, Spread::Random, Spread::ByUser] {
            let workload = Workload::new(1, "1", spread, 5);
            let mut shares = [0; 5];
            for index in 0..10_000 {
                assert_eq!(workload.order(index), workload.order(index));
                shares[workload.order(index).target] += 1;
            }
            let near = shares.iter().all(|share| (1_800..=2_200).contains(share));
            assert!(near, "{spread:?}: {shares:?}");
        }
    }

    #[test]
    fn users_and_keys_are_unique_and_targets_even() {
        let workload = of(1, "1");
        let orders: Vec<Order> = (0..1_000).map(|i| workload.order(i)).collect();
        let users: HashSet<&str> = orders.iter().map(|o| o.user.as_str()).collect();
        let keys: HashSet<&str> = orders.iter().map(|o| o.key.as_str()).collect();
        assert_eq!((users.len(), keys.len()), (1_000, 1_000));
        for target in 0..5 {
            assert_eq!(orders.iter().filter(|o| o.target == target).count(), 200);
        }
    }

    #[test]
    fn uuids_are_random_version_4_and_differ() {
        let workload = of(1, "1");
        let uuids: HashSet<String> = (0..1_000).map(|i| workload.order(i).uuid()).collect();
        assert_eq!(uuids.len(), 1_000);
        for uuid in uuids {
            let bytes = uuid.as_bytes();
            let shaped = uuid.len() == 36 && [8, 13, 18, 23].iter().all(|&i| bytes[i] == b'-');
            assert!(shaped && bytes[14] == b'4' && b"89ab".contains(&bytes[19]), "{uuid}");
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(of(1, "1").order(7), of(1, "1").order(7));
        assert_ne!(of(1, "1").order(7), of(2, "1").order(7));
        assert_ne!(of(1, "1").order(7).key, of(1, "2").order(7).key);
    }
}
