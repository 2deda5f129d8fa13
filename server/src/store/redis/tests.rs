//! What only this store has to do; `tests/suite/conformance.rs` has what every store has to.

use std::collections::HashMap;

use futures_util::future::join_all;

use super::*;

const QUEUE: Queue = Queue { capacity: 1_000, patience: Duration::MAX };
const SETTINGS: Settings = Settings {
    queue: QUEUE,
    timeout: Duration::from_secs(5),
    durability: Durability::Memory,
    sharing: Sharing::Gathered,
    ca: None,
};

async fn store(redis: &e2e::Redis) -> RedisStore {
    RedisStore::connect(&redis.url(), SETTINGS).await.unwrap()
}

/// Somebody else at the same Redis.
async fn operator(redis: &e2e::Redis) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn campaign(store: &RedisStore, coupons: u64) -> CampaignNumber {
    campaign_with(store, coupons, None).await
}

async fn campaign_with(
    store: &RedisStore,
    coupons: u64,
    per_user_limit: Option<u32>,
) -> CampaignNumber {
    let new = wire::NewCampaign {
        name: "launch".to_owned(),
        coupons,
        starts_at: Utc::now() - chrono::Duration::seconds(1),
        per_user_limit,
    };
    store.create(new, None).await.unwrap().number
}

fn ask(campaign: CampaignNumber, user: &str) -> Ask {
    Ask { campaign, user: crate::user::User::new(user), key: None }
}

/// A code of a campaign, by its last part.
fn code(campaign: CampaignNumber, tail: &str) -> String {
    campaign.prefix() + tail
}

#[tokio::test]
async fn a_collision_takes_no_coupon() {
    let redis = e2e::Redis::start();
    let store = store(&redis).await;
    let campaign = campaign(&store, 10).await;
    let ask = Arc::new(Ask { campaign, user: None, key: None });
    let (a, b) = ("가가가가가가가", "나나나나나나나");

    let first = store.decide(ask.clone(), code(campaign, a)).await.unwrap();
    assert!(matches!(&first, Some(Decision::Issued(c)) if c.seq == 1 && c.code.ends_with(a)));
    assert_eq!(store.decide(ask.clone(), code(campaign, a)).await, Ok(None));
    assert_eq!(store.campaign(campaign).await.unwrap().unwrap().issued, 1);
    let next = store.decide(ask, code(campaign, b)).await.unwrap();
    assert!(matches!(&next, Some(Decision::Issued(c)) if c.seq == 2 && c.code.ends_with(b)));
}

/// What one call tells these requests: user, key and the last part of the code of each.
async fn told_in_one_call(
    store: &RedisStore,
    campaign: CampaignNumber,
    requests: &[(&str, &str, &str)],
) -> Vec<Option<Decision>> {
    let (batch, answers): (Vec<_>, Vec<_>) = requests
        .iter()
        .map(|&(user, key, tail)| {
            let ask = Ask { key: Some(key.to_owned()), ..ask(campaign, user) };
            Job::new(Arc::new(ask), code(campaign, tail))
        })
        .unzip();
    store.0.run(campaign, batch).await;
    join_all(answers).await.into_iter().map(|told| told.unwrap().unwrap()).collect()
}

#[tokio::test]
async fn requests_of_one_call_see_what_it_did_for_those_before_them() {
    let (a, b, c) = ("가가가가가가가", "나나나나나나나", "다다다다다다다");
    let requests = [("u", "k", a), ("u", "k", b), ("v", "k", a), ("u", "l", b), ("v", "k", c)];
    for limit in [Some(1), None] {
        let redis = e2e::Redis::start();
        let store = store(&redis).await;
        let campaign = campaign_with(&store, 10, limit).await;
        let told = told_in_one_call(&store, campaign, &requests).await;
        let [Some(Decision::Issued(first)), repeated, collision, other_key, other_user] = &told[..]
        else {
            panic!("{told:?}");
        };
        assert_eq!(repeated, &told[0], "the same key");
        assert_eq!(collision, &None, "the code is taken");
        // With a limit it has the user's coupon, otherwise a coupon of its own.
        let limited = Some(Decision::AlreadyIssued { code: first.code.clone() });
        let rank = |told: &Option<Decision>| match told {
            Some(Decision::Issued(coupon)) => coupon.seq,
            _ => 0,
        };
        assert_eq!(other_key == &limited, limit.is_some(), "{told:?}");
        let ranks = [&told[0], other_key, other_user].map(rank);
        assert_eq!(ranks, if limit.is_some() { [1, 0, 2] } else { [1, 2, 3] });
        // Were its parts not in agreement, nothing more would be issued.
        let next = store.issue(ask(campaign, "w")).await.map(Some).unwrap();
        assert_eq!(rank(&next), *ranks.iter().max().unwrap() + 1);
    }
}

#[tokio::test]
async fn keys_that_nobody_needs_any_more_are_left_alone() {
    let redis = e2e::Redis::start();
    let store = store(&redis).await;
    let campaign = campaign_with(&store, 10, Some(1)).await;
    let with_key = |user: &str| Ask { key: Some("k".to_owned()), ..ask(campaign, user) };
    let first = store.issue(with_key("u")).await.unwrap();
    let Decision::Issued(coupon) = &first else { panic!("{first:?}") };
    // As a campaign with a limit once had it, and as planted bugs still write it.
    let mut leave = redis::pipe();
    leave.cmd("HSET").arg(key(campaign, "keys")).arg("u\0k").arg("1");
    leave.cmd("HSET").arg(key(campaign, "campaign")).arg("keyed").arg("5");
    leave.exec_async(&mut operator(&redis).await).await.unwrap();
    assert_eq!(store.issue(with_key("u")).await.as_ref(), Ok(&first));
    let already = Decision::AlreadyIssued { code: coupon.code.clone() };
    assert_eq!(store.issue(ask(campaign, "u")).await, Ok(already));
    let next = store.issue(with_key("v")).await;
    assert!(matches!(&next, Ok(Decision::Issued(coupon)) if coupon.seq == 2), "{next:?}");
}

/// How often Redis ran each command, scripts' included, since the last reset.
async fn commands(operator: &mut redis::aio::MultiplexedConnection) -> HashMap<String, u64> {
    let asked = redis::cmd("INFO").arg("commandstats").to_owned();
    let statistics: String = asked.query_async(operator).await.unwrap();
    let calls = statistics.lines().filter_map(|line| {
        let (command, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((command.to_owned(), rest.split_once(',')?.0.parse().ok()?))
    });
    calls.collect()
}

#[tokio::test]
async fn only_rows_of_the_ledger_are_written_one_by_one() {
    // Terms, names and codes are read; codes and names are written, and how many keys there are.
    for (limit, expected) in [(Some(1), [100, 3, 2, 1, 0, 0, 0]), (None, [100, 3, 2, 1, 1, 0, 0])] {
        let redis = e2e::Redis::start();
        let store = store(&redis).await;
        let campaign = campaign_with(&store, 100, limit).await;
        let mut operator = operator(&redis).await;
        redis::cmd("CONFIG").arg("RESETSTAT").exec_async(&mut operator).await.unwrap();
        let names: Vec<_> =
            (0..BATCH).map(|n| (format!("u{n}"), format!("가가가가가{n:03}"))).collect();
        let requests: Vec<_> = names.iter().map(|(user, tail)| (&**user, "k", &**tail)).collect();
        let told = told_in_one_call(&store, campaign, &requests).await;
        for (at, told) in told.into_iter().enumerate() {
            match told {
                Some(Decision::Issued(coupon)) => {
                    assert_eq!((coupon.seq, coupon.remaining), (at as u64 + 1, 99 - at as u64));
                    assert!(coupon.code.ends_with(&names[at].1), "{}", coupon.code);
                }
                other => assert_eq!((other, at >= 100), (Some(Decision::SoldOut), true), "{at}"),
            }
        }
        let ran = commands(&mut operator).await;
        let counts = ["xadd", "hmget", "hset", "incrby", "hincrby", "hget", "hexists"];
        let counts = counts.map(|command| ran.get(command).copied().unwrap_or_default());
        assert_eq!(counts, expected, "{limit:?}: {ran:?}");
    }
}

#[tokio::test]
async fn a_ledger_that_refuses_a_rank_ends_a_call_before_anything_is_written() {
    let redis = e2e::Redis::start();
    let store = store(&redis).await;
    let campaign = campaign_with(&store, 10, Some(1)).await;
    let ledger = key(campaign, "ledger");
    let mut operator = operator(&redis).await;
    // As many rows as before, but rank 9 was given out once.
    let mut forget = redis::pipe();
    forget.cmd("XADD").arg(&ledger).arg(&["9-0", "code", "a"]);
    forget.cmd("XDEL").arg(&ledger).arg("9-0").exec_async(&mut operator).await.unwrap();
    let asked = ["u", "v", "w"].map(|user| store.issue(ask(campaign, user)));
    for told in join_all(asked).await {
        assert!(matches!(told, Err(StoreError::Unavailable(_))), "{told:?}");
    }
    redis::cmd("DEL").arg(&ledger).exec_async(&mut operator).await.unwrap();
    // Were its parts not in agreement, nothing would be issued.
    let Decision::Issued(coupon) = store.issue(ask(campaign, "u")).await.unwrap() else {
        panic!("no coupon")
    };
    assert_eq!(coupon.seq, 1);
}

#[tokio::test]
async fn a_request_whose_sender_is_gone_is_skipped() {
    let redis = e2e::Redis::start();
    let store = store(&redis).await;
    let campaign = campaign(&store, 10).await;
    let ask = Ask { campaign, user: None, key: None };
    let (job, answer) = Job::new(Arc::new(ask.clone()), code(campaign, "a"));
    drop(answer);
    store.enqueue(job).unwrap();
    let Decision::Issued(coupon) = store.issue(ask).await.unwrap() else { panic!("no coupon") };
    assert_eq!(coupon.seq, 1);
}

/// Calls of scripts that 40 requests take which come at once.
async fn calls(sharing: Sharing) -> u64 {
    let redis = e2e::Redis::start();
    let store = RedisStore::connect(&redis.url(), Settings { sharing, ..SETTINGS }).await.unwrap();
    let campaign = campaign(&store, 100).await;
    let mut operator = operator(&redis).await;
    let mut until_now = async || commands(&mut operator).await["evalsha"];
    // The first call finds a Redis that does not know the script.
    store.issue(ask(campaign, "first")).await.unwrap();
    let before = until_now().await;
    let users: Vec<String> = (0..40).map(|user| format!("u{user}")).collect();
    let told = join_all(users.iter().map(|user| store.issue(ask(campaign, user)))).await;
    assert!(told.iter().all(|told| matches!(told, Ok(Decision::Issued(_)))), "{told:?}");
    until_now().await - before
}

#[tokio::test]
async fn requests_that_wait_share_a_call_unless_they_are_to_be_alone() {
    assert_eq!(calls(Sharing::Gathered).await, 1);
    assert_eq!(calls(Sharing::Alone).await, 40);
}

#[tokio::test]
async fn a_full_queue_refuses_and_does_nothing() {
    let redis = e2e::Redis::start();
    let store = RedisStore::connect(
        &redis.url(),
        Settings { queue: Queue { capacity: 0, ..QUEUE }, ..SETTINGS },
    )
    .await
    .unwrap();
    let campaign = campaign(&store, 10).await;
    let ask = Ask { campaign, user: None, key: None };
    assert_eq!(store.issue(ask).await, Err(StoreError::Overloaded));
    assert_eq!(store.campaign(campaign).await.unwrap().unwrap().issued, 0);
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let redis = e2e::Redis::start();
    let store = store(&redis).await;
    let campaign = campaign(&store, 10).await;
    let mut connection = operator(&redis).await;
    redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut connection).await.unwrap();
    let ask = Ask { campaign, user: None, key: None };
    assert!(matches!(store.issue(ask).await, Ok(Decision::Issued(_))));
}

#[tokio::test]
async fn a_campaign_that_lost_a_part_issues_nothing_more() {
    let redis = e2e::Redis::start();
    let store = store(&redis).await;
    let mut connection = operator(&redis).await;
    let (limited, unlimited) = (Some(1), None);
    for (limit, parts) in [
        (limited, &["issued"][..]),
        (limited, &["ledger"]),
        (limited, &["codes"]),
        (limited, &["users"]),
        (unlimited, &["keys"]),
        (limited, &["campaign"]),
        (unlimited, &["campaign"]),
        (limited, &["issued", "ledger", "codes"]),
        (limited, &["issued", "ledger", "codes", "users"]),
        (unlimited, &["issued", "ledger", "codes", "keys"]),
        (limited, &["campaign", "issued", "codes", "users"]),
        (unlimited, &["campaign", "issued", "codes", "keys"]),
    ] {
        let campaign = campaign_with(&store, 3, limit).await;
        let first = Ask { key: Some("k".to_owned()), ..ask(campaign, "u") };
        store.issue(first).await.unwrap();
        let lost: Vec<_> = parts.iter().map(|part| key(campaign, part)).collect();
        let gone: usize = redis::cmd("DEL").arg(&lost).query_async(&mut connection).await.unwrap();
        assert_eq!(gone, parts.len(), "{parts:?}");
        for user in ["u", "v", "w", "x"] {
            let told = store.issue(ask(campaign, user)).await;
            assert!(matches!(told, Err(StoreError::Damaged(_))), "{parts:?} {user}: {told:?}");
        }
        let rows = store.ledger(campaign, 0, 10).await.unwrap().unwrap().len();
        assert_eq!(rows, usize::from(!parts.contains(&"ledger")), "{parts:?}");
    }
}

#[tokio::test]
async fn a_campaign_without_its_terms_is_not_said_to_be_unknown() {
    let redis = e2e::Redis::start();
    let store = store(&redis).await;
    let mut connection = operator(&redis).await;
    let new = wire::NewCampaign {
        name: "launch".to_owned(),
        coupons: 3,
        starts_at: Utc::now(),
        per_user_limit: None,
    };
    let create = async || store.create(new.clone(), Some("k".to_owned())).await;
    let campaign = create().await.unwrap().number;
    redis::cmd("DEL").arg(key(campaign, "campaign")).exec_async(&mut connection).await.unwrap();
    assert!(matches!(store.campaign(campaign).await, Err(StoreError::Damaged(_))));
    assert!(matches!(store.cancel(campaign).await, Err(StoreError::Damaged(_))));
    // Nor is it created anew, for that would issue all of it once more.
    assert!(matches!(create().await, Err(StoreError::Damaged(_))));
    assert!(matches!(store.issue(ask(campaign, "u")).await, Err(StoreError::Damaged(_))));
}

#[tokio::test]
async fn keys_that_are_repeated_are_counted_once() {
    let redis = e2e::Redis::start();
    let store = store(&redis).await;
    let campaign = campaign(&store, 10).await;
    for (key, seq) in [(Some("k"), 1), (Some("k"), 1), (None, 2), (Some("l"), 3), (Some("k"), 1)] {
        let told = store.issue(Ask { key: key.map(str::to_owned), ..ask(campaign, "u") }).await;
        assert!(matches!(&told, Ok(Decision::Issued(c)) if c.seq == seq), "{key:?}: {told:?}");
    }
}

#[tokio::test]
async fn a_campaign_without_a_limit_has_no_users_to_lose() {
    let redis = e2e::Redis::start();
    let store = store(&redis).await;
    let campaign = campaign(&store, 10).await;
    for _ in 0..3 {
        assert!(matches!(store.issue(ask(campaign, "u")).await, Ok(Decision::Issued(_))));
    }
}

#[tokio::test]
async fn a_lost_row_is_said_to_be_lost() {
    let redis = e2e::Redis::start();
    let store = store(&redis).await;
    let campaign = campaign_with(&store, 10, Some(1)).await;
    store.issue(ask(campaign, "u")).await.unwrap();
    let mut connection = operator(&redis).await;
    // As many rows as before, but not the one that is asked for.
    redis::pipe()
        .cmd("XDEL")
        .arg(key(campaign, "ledger"))
        .arg("1-0")
        .cmd("XADD")
        .arg(key(campaign, "ledger"))
        .arg(&["2-0", "code", "a", "user", "v", "key", "", "at_us", "1"])
        .exec_async(&mut connection)
        .await
        .unwrap();
    let told = store.issue(ask(campaign, "u")).await;
    assert!(matches!(told, Err(StoreError::Damaged(_))), "{told:?}");
}

#[tokio::test]
async fn a_campaign_without_its_counter_is_not_said_to_be_untouched() {
    let redis = e2e::Redis::start();
    let store = store(&redis).await;
    let campaign = campaign(&store, 10).await;
    assert_eq!(store.campaign(campaign).await.unwrap().unwrap().issued, 0);
    let mut connection = operator(&redis).await;
    let counter = key(campaign, "issued");
    let new: String = redis::cmd("GET").arg(&counter).query_async(&mut connection).await.unwrap();
    assert_eq!(new, "0");
    redis::cmd("DEL").arg(&counter).exec_async(&mut connection).await.unwrap();
    assert!(matches!(store.campaign(campaign).await, Err(StoreError::Damaged(_))));
}

#[tokio::test]
async fn what_is_left_of_a_lost_campaign_takes_its_number() {
    let redis = e2e::Redis::start();
    let store = store(&redis).await;
    let lost = campaign(&store, 10).await;
    store.issue(ask(lost, "u")).await.unwrap();
    let mut connection = operator(&redis).await;
    let keys = [key(lost, "campaign"), key(lost, "issued"), create::CAMPAIGNS.to_owned()];
    redis::cmd("DEL").arg(&keys[..]).exec_async(&mut connection).await.unwrap();
    assert_ne!(campaign(&store, 10).await, lost);
}

#[tokio::test]
async fn numbers_end_where_codes_cannot_tell_campaigns_apart() {
    let redis = e2e::Redis::start();
    let store = store(&redis).await;
    let mut connection = operator(&redis).await;
    let last_but_one = crate::code::CAMPAIGNS - 1;
    redis::cmd("SET")
        .arg(create::CAMPAIGNS)
        .arg(last_but_one)
        .exec_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(campaign(&store, 1).await.get(), crate::code::CAMPAIGNS);
    let new = wire::NewCampaign {
        name: "one too many".to_owned(),
        coupons: 1,
        starts_at: Utc::now(),
        per_user_limit: None,
    };
    assert_eq!(store.create(new, None).await, Err(StoreError::CampaignsExhausted));
}
