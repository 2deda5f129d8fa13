//! Redis servers that take over from each other: nobody's coupon is lost on the way, and nothing is sent twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use contract::wire::{Issued, ProblemCode};
use tokio::task::JoinSet;

use crate::instance::{Instance, PATIENCE, Store, Told, assert_sound, until};

/// What a change of the primary may lose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// Nothing that was answered.
    Nothing,
    /// Coupons that were answered before it: the replica did not have them yet.
    Answered,
}

/// What buyers may be told in between: that nobody knows, or that too many wait.
const REFUSALS: [ProblemCode; 2] = [ProblemCode::StoreUnavailable, ProblemCode::Overloaded];

/// Buyers who ask once each, without a key, while the primary changes.
async fn buyers_while(store: &Store, flags: &[&str], id: &str, change: impl FnOnce()) -> Rush {
    let instances = Arc::new([store.instance_with(flags), store.instance_with(flags)]);
    let (enough, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut buyers = JoinSet::new();
    for _ in 0..8 {
        let (instances, enough, asked, id) =
            (instances.clone(), enough.clone(), asked.clone(), id.to_owned());
        buyers.spawn(async move {
            let mut told = Vec::new();
            while !enough.load(Ordering::Relaxed) {
                let number = asked.fetch_add(1, Ordering::Relaxed);
                let user = format!("u{number}");
                let answer = instances[number % 2].issue(&id, Some(&user), None).await;
                told.push((user, answer));
            }
            told
        });
    }
    until(async || instances[0].campaign(id).await.issued > 50).await;
    tokio::task::block_in_place(change);
    let mut late = Vec::new();
    for instance in &*instances {
        late.push(first_coupon(instance, id).await);
    }
    enough.store(true, Ordering::Relaxed);
    let told = buyers.join_all().await.into_iter().flatten().collect();
    Rush { instances, told, late }
}

struct Rush {
    instances: Arc<[Instance; 2]>,
    told: Vec<(String, Told)>,
    /// Coupons of buyers who came after the change, one of each instance.
    late: Vec<Issued>,
}

/// Asks until there is a coupon.
async fn first_coupon(instance: &Instance, id: &str) -> Issued {
    let deadline = Instant::now() + 3 * PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "nobody takes over");
        match instance.issue(id, Some("late"), None).await {
            Told::Issued(coupon) => return coupon,
            refused => assert!(REFUSALS.contains(&refused.code())),
        }
    }
}

impl Rush {
    async fn check(self, id: &str, loss: Loss) {
        let Self { instances, told, late } = self;
        let rows = instances[0].ledger(id).await;
        assert_sound(&rows);
        assert_eq!(instances[1].campaign(id).await.issued, rows.len() as u64);
        let mut users = HashMap::new();
        for row in &rows {
            let user = row.user.as_deref().unwrap();
            let twice = users.insert(user, row).is_some();
            assert!(!twice || user == "late", "{user} asked once and got two coupons");
        }
        let mut coupons = 0;
        for (user, answer) in &told {
            let coupon = match answer {
                Told::Issued(coupon) => coupon,
                Told::Refused(problem) => {
                    assert!(REFUSALS.contains(&problem.code), "{problem:?}");
                    continue;
                }
                Told::Nothing(error) => panic!("no answer: {error}"),
            };
            coupons += 1;
            match users.get(&**user) {
                Some(row) => assert_eq!((&row.code, row.seq), (&coupon.code, coupon.seq), "{user}"),
                None => {
                    assert!(loss == Loss::Answered, "{user} was told {coupon:?}, and is not in")
                }
            }
        }
        assert!(coupons > 50, "{coupons}");
        for coupon in late {
            assert_eq!(rows[usize::try_from(coupon.seq).unwrap() - 1].code, coupon.code);
        }
    }
}

async fn campaign(store: &Store) -> String {
    store.instance().create(1_000_000, -1, false).await.id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_in_order_loses_nothing() {
    let store = Store::redis_cluster();
    let Store::RedisCluster(cluster) = &store else { panic!("another store") };
    let id = campaign(&store).await;
    let key = format!("coupon:{{{id}}}:issued");
    let rush = buyers_while(&store, &[], &id, || cluster.fail_over(&key)).await;
    rush.check(&id, Loss::Nothing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_of_a_cluster_that_is_killed_is_replaced_and_no_step_is_sent_twice() {
    let store = Store::redis_cluster();
    let Store::RedisCluster(cluster) = &store else { panic!("another store") };
    let id = campaign(&store).await;
    let key = format!("coupon:{{{id}}}:issued");
    let flags = ["--request-timeout", "2s"];
    let rush = buyers_while(&store, &flags, &id, || cluster.ruler_of(&key).kill()).await;
    rush.check(&id, Loss::Answered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_that_moves_to_another_server_is_followed() {
    let store = Store::redis_cluster();
    let Store::RedisCluster(cluster) = &store else { panic!("another store") };
    let id = campaign(&store).await;
    let keys = ["campaign", "issued", "ledger", "codes", "users", "keys"]
        .map(|part| format!("coupon:{{{id}}}:{part}"));
    let rush = buyers_while(&store, &["--request-timeout", "15s"], &id, || {
        cluster.move_slot(&keys.each_ref().map(String::as_str));
    });
    let rush = rush.await;
    let refused = rush.told.iter().find(|(_, answer)| !matches!(answer, Told::Issued(_)));
    assert_eq!(refused, None, "a step that certainly was not done is not an error");
    rush.check(&id, Loss::Nothing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_that_a_sentinel_promotes_is_followed_and_has_what_was_answered() {
    let store = Store::redis_sentinel();
    let Store::RedisSentinel(servers) = &store else { panic!("another store") };
    let id = campaign(&store).await;
    let flags = ["--durability", "replicated", "--request-timeout", "2s"];
    let rush = buyers_while(&store, &flags, &id, || servers.fail_over()).await;
    rush.check(&id, Loss::Nothing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_a_sentinel_finds_dead_is_replaced() {
    let store = Store::redis_sentinel();
    let Store::RedisSentinel(servers) = &store else { panic!("another store") };
    let id = campaign(&store).await;
    let rush = buyers_while(&store, &["--request-timeout", "2s"], &id, || {
        let primary = servers.primary();
        primary.kill();
        servers.until_replaced(primary.port());
    });
    rush.await.check(&id, Loss::Answered).await;
}
