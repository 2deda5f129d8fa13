//! Who asks, and where: a pure function of the arrival's number and the seed.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Gives every arrival its user, its idempotency key and its target.
#[derive(Clone, Debug)]
pub struct Workload {
    run_key: u64,
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
    /// Its idempotency key; no other request of this run.
    pub key: String,
}

impl Workload {
    /// The workload of a run with this seed over so many targets, at least one.
    pub fn new(seed: u64, targets: usize) -> Self {
        // A key that only counted would be the same in every run against a shared system.
        let run_key = ChaCha8Rng::seed_from_u64(seed).random();
        Self { run_key, targets: targets.max(1) as u64 }
    }

    /// What arrival `index` asks.
    pub fn order(&self, index: u64) -> Order {
        Order {
            op: index + 1,
            // Round robin: each instance gets the same share in each phase of the launch.
            target: usize::try_from(index % self.targets).unwrap_or(0),
            user: format!("u{:07}", index + 1),
            key: format!("{:016x}-{index:x}", self.run_key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn users_and_keys_are_unique_and_targets_even() {
        let workload = Workload::new(1, 5);
        let orders: Vec<Order> = (0..1_000).map(|i| workload.order(i)).collect();
        let users: HashSet<&str> = orders.iter().map(|o| o.user.as_str()).collect();
        let keys: HashSet<&str> = orders.iter().map(|o| o.key.as_str()).collect();
        assert_eq!((users.len(), keys.len()), (1_000, 1_000));
        for target in 0..5 {
            assert_eq!(orders.iter().filter(|o| o.target == target).count(), 200);
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(Workload::new(1, 5).order(7), Workload::new(1, 5).order(7));
        assert_ne!(Workload::new(1, 5).order(7), Workload::new(2, 5).order(7));
    }
}
