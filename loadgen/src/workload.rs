//! Who asks, and where: a pure function of the arrival's number and the seed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::crowd::{Crowd, mixed};
use crate::mapping::Values;
use crate::scenario::buyers::{KeyUse, Towards};
use crate::scenario::{Buyer, Scenario, Spread};
use crate::schedule::Arrival;
use crate::users::{Row, Users};

/// Gives every arrival its user, its idempotency key and its target.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The ids of the campaigns.
    campaigns: Vec<String>,
    /// How many arrivals each campaign has.
    arrivals: u64,
    run_key: u64,
    /// The same as it stands in each key.
    run: String,
    spread: Spread,
    targets: u64,
    crowd: Crowd,
    users: Arc<Users>,
}

/// One request to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The number of the operation, from 1.
    pub op: u64,
    /// Which campaign is asked, from 0.
    pub campaign: u32,
    /// The number of the buyer in the whole run, from 0.
    pub buyer: u64,
    /// Which target gets it.
    pub target: usize,
    /// Who asks; nobody else in this run.
    pub user: String,
    /// Its idempotency key; no other buyer of this campaign has it.
    pub key: String,
    /// The operation of the same buyer's first request, where this is a further one.
    pub follows: Option<u64>,
}

impl Workload {
    /// The workload of a scenario whose campaigns have these ids and so many arrivals each, over
    /// so many targets, at least one.
    pub fn new(scenario: &Scenario, campaigns: Vec<String>, arrivals: u64, targets: usize) -> Self {
        let run_key: u64 = ChaCha8Rng::seed_from_u64(scenario.seed).random();
        let run = format!("-{run_key:016x}-");
        let crowd = Crowd::new(scenario.seed, &scenario.buyers);
        let (spread, targets) = (scenario.load.spread, targets.max(1) as u64);
        let users = scenario.users();
        Self { campaigns, arrivals, run_key, run, spread, targets, crowd, users }
    }

    /// The same with what the set-up learned of the users.
    #[must_use]
    pub fn of(self, users: Arc<Users>) -> Self {
        Self { users, ..self }
    }

    /// What is known of the user whom an order is for.
    pub fn row(&self, order: &Order) -> Row<'_> {
        self.users.row(order.buyer)
    }

    /// The id of a campaign.
    pub fn campaign(&self, number: u32) -> &str {
        self.campaigns.get(number as usize).map(String::as_str).unwrap_or_default()
    }

    /// How many operations are planned. Numbers above it are free for what is not.
    pub fn planned(&self) -> u64 {
        self.arrivals * self.campaigns.len() as u64
    }

    /// How the buyer of an order behaves.
    pub fn behaviour(&self, order: &Order) -> &Buyer {
        // Without a plan each buyer is a number of its own.
        self.crowd.buyer(order.buyer.checked_rem(self.arrivals).unwrap_or(order.buyer))
    }

    /// Whether an answer makes some buyer ask again.
    pub fn retries(&self) -> bool {
        self.crowd.retries()
    }

    /// A number from 0 to 1 for attempt `op`.
    pub fn luck(&self, op: u64) -> f64 {
        self.crowd.luck(op)
    }

    /// Which target gets the buyer's first request.
    fn target(&self, buyer: u64) -> u64 {
        let number = match self.spread {
            Spread::RoundRobin => buyer,
            // The number stands for the buyer, whether that is a lot or the user. It is mixed, for
            // whoever else counts users must not fall into step with the targets.
            Spread::Random => mixed(self.run_key ^ buyer),
            Spread::ByUser => mixed(self.run_key ^ (self.users.row(buyer).number() - 1)),
        };
        number % self.targets
    }

    /// A buyer's idempotency key. A system whose keys know no campaign must not take the next run
    /// for a replay.
    fn key(&self, campaign: u32, buyer: u64) -> String {
        let campaign = self.campaign(campaign);
        let mut key = String::with_capacity(campaign.len() + self.run.len() + 16);
        key.push_str(campaign);
        key.push_str(&self.run);
        // Writing to a text cannot fail.
        let _ = write!(key, "{buyer:x}");
        key
    }

    /// What an arrival asks.
    pub fn order(&self, arrival: &Arrival) -> Order {
        let before = u64::from(arrival.campaign) * self.arrivals;
        let (op, buyer) = (before + arrival.index + 1, before + arrival.first);
        let first = Order {
            op: buyer + 1,
            campaign: arrival.campaign,
            buyer,
            target: usize::try_from(self.target(buyer)).unwrap_or(0),
            user: self.users.row(buyer).user().into_owned(),
            key: self.key(arrival.campaign, buyer),
            follows: None,
        };
        if op == first.op {
            return first;
        }
        let behaviour = self.crowd.buyer(arrival.first);
        let target = match behaviour.to {
            Towards::SameTarget => first.target,
            // In turn, so that several requests of one buyer meet as many targets as there are.
            Towards::NextTarget => {
                let next = (first.target as u64 + u64::from(arrival.nth)) % self.targets;
                usize::try_from(next).unwrap_or(0)
            }
        };
        Order { target, ..self.again(&first, op, Towards::SameTarget, behaviour.key) }
    }

    /// The same buyer's next request after `before`.
    pub fn again(&self, before: &Order, op: u64, to: Towards, key: KeyUse) -> Order {
        let others = self.targets.saturating_sub(1).max(1);
        let target = match to {
            Towards::SameTarget => before.target as u64,
            // One by one through all the others, whoever had it before.
            Towards::NextTarget => (before.target as u64 + 1 + op % others) % self.targets,
        };
        let key = match key {
            KeyUse::Same => before.key.clone(),
            KeyUse::New => {
                let stem = before.key.rsplit_once('+').map_or(before.key.as_str(), |(s, _)| s);
                format!("{stem}+{op:x}")
            }
        };
        Order {
            op,
            target: usize::try_from(target).unwrap_or(0),
            key,
            follows: Some(before.follows.unwrap_or(before.op)),
            ..before.clone()
        }
    }
}

/// What the measured request's templates may name.
#[derive(Debug)]
pub struct Asking<'a> {
    /// Who asks, and where.
    pub order: &'a Order,
    /// What is known of who asks.
    pub row: Row<'a>,
    /// Host and port of the target.
    pub target: &'a str,
    /// What an answer to this buyer captured.
    pub told: &'a BTreeMap<String, String>,
}

impl Values for Asking<'_> {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(match name {
            "user" => self.order.user.as_str().into(),
            "key" => self.order.key.as_str().into(),
            "n" => self.order.op.to_string().into(),
            "uuid" => self.order.uuid().into(),
            "target" => self.target.into(),
            other => match self.told.get(other) {
                Some(value) => value.as_str().into(),
                None => self.row.named(other)?,
            },
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

    use crate::scenario::Overrides;

    fn of(seed: u64, campaign: &str, changes: &[&str]) -> Workload {
        let overrides = Overrides {
            set: changes.iter().map(|c| (*c).to_owned()).collect(),
            seed: Some(seed),
            ..Overrides::default()
        };
        let path = crate::scenario::shipped().join("launch.yaml");
        let scenario = Scenario::load(&path, &overrides).unwrap();
        Workload::new(&scenario, vec![campaign.into(), "other".into()], 10_000, 5)
    }

    fn first(workload: &Workload, index: u64) -> Order {
        workload.order(&Arrival::of_buyer(index))
    }

    #[test]
    fn every_spread_gives_each_target_its_share_and_the_same_one_again() {
        for spread in ["round_robin", "random", "by_user"] {
            let workload = of(1, "1", &[&format!("load.spread={spread}")]);
            let mut shares = [0; 5];
            for index in 0..10_000 {
                assert_eq!(first(&workload, index), first(&workload, index));
                shares[first(&workload, index).target] += 1;
            }
            let near = shares.iter().all(|share| (1_800..=2_200).contains(share));
            assert!(near, "{spread}: {shares:?}");
        }
    }

    #[test]
    fn users_keys_and_numbers_are_unique_over_all_campaigns() {
        let workload = of(1, "1", &[]);
        let order =
            |campaign, index| workload.order(&Arrival { campaign, ..Arrival::of_buyer(index) });
        let orders: Vec<Order> = (0..500).flat_map(|i| [order(0, i), order(1, i)]).collect();
        let users: HashSet<&str> = orders.iter().map(|o| o.user.as_str()).collect();
        let keys: HashSet<&str> = orders.iter().map(|o| o.key.as_str()).collect();
        let ops: HashSet<u64> = orders.iter().map(|o| o.op).collect();
        assert_eq!((users.len(), keys.len(), ops.len()), (1_000, 1_000, 1_000));
        assert!(ops.iter().all(|op| (1..=workload.planned()).contains(op)));
    }

    #[test]
    fn further_clicks_are_the_same_user_at_every_other_target() {
        let workload = of(1, "1", &["buyers=[{requests: 6, key: same}]"]);
        let click =
            |index, nth| workload.order(&Arrival { due: 0, campaign: 0, index, first: 7, nth });
        let (once, twice) = (click(7, 0), click(9_999, 1));
        assert_eq!((once.op, once.follows), (8, None));
        assert_eq!((twice.op, twice.follows), (10_000, Some(8)));
        assert_eq!((&once.user, &once.key), (&twice.user, &twice.key));
        // Whatever their numbers are: five targets, five requests.
        let targets: HashSet<usize> =
            (0..5).map(|n| click(9_000 + u64::from(n) * 4, n).target).collect();
        assert_eq!(targets.len(), 5);
    }

    #[test]
    fn buyers_of_a_load_without_a_plan_differ() {
        let overrides =
            Overrides { set: vec!["buyers=[{}, {confirm: never}]".into()], ..Overrides::default() };
        let path = crate::scenario::shipped().join("launch.yaml");
        let scenario = Scenario::load(&path, &overrides).unwrap();
        let workload = Workload::new(&scenario, vec!["1".into()], 0, 5);
        let kinds = (0..100).map(|i| workload.behaviour(&first(&workload, i)) == &Buyer::default());
        assert!((20..80).contains(&kinds.filter(|plain| *plain).count()));
    }

    #[test]
    fn a_retry_may_have_a_key_of_its_own() {
        let workload = of(1, "1", &[]);
        let before = first(&workload, 3);
        let again = workload.again(&before, 77, Towards::SameTarget, KeyUse::New);
        let third = workload.again(&again, 78, Towards::NextTarget, KeyUse::New);
        assert_eq!((again.target, again.follows), (before.target, Some(4)));
        assert_eq!(third.follows, Some(4));
        let keys = HashSet::from([&before.key, &again.key, &third.key]);
        assert_eq!(keys.len(), 3);
        assert_ne!(third.target, again.target);
    }

    #[test]
    fn uuids_are_random_version_4_and_differ() {
        let workload = of(1, "1", &[]);
        let uuids: HashSet<String> = (0..1_000).map(|i| first(&workload, i).uuid()).collect();
        assert_eq!(uuids.len(), 1_000);
        for uuid in uuids {
            let bytes = uuid.as_bytes();
            let shaped = uuid.len() == 36 && [8, 13, 18, 23].iter().all(|&i| bytes[i] == b'-');
            assert!(shaped && bytes[14] == b'4' && b"89ab".contains(&bytes[19]), "{uuid}");
        }
    }

    #[test]
    fn the_seed_decides() {
        let (one, two) = (of(1, "1", &[]), of(2, "1", &[]));
        assert_eq!(first(&one, 7), first(&of(1, "1", &[]), 7));
        assert_ne!(first(&one, 7), first(&two, 7));
        assert_ne!(first(&one, 7).key, first(&of(1, "2", &[]), 7).key);
    }
}
