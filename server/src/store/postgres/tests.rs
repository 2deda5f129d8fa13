//! What only this store has to do; `tests/suite/conformance.rs` has what every store has to.

use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use super::*;

const QUEUE: Queue = Queue { capacity: 1_000, patience: Duration::MAX };
const SETTINGS: Settings = Settings {
    queue: QUEUE,
    timeout: Duration::from_secs(5),
    sharing: Sharing::Gathered,
    ca: None,
};

async fn store(server: &e2e::Postgres) -> PostgresStore {
    PostgresStore::connect(&server.url(), SETTINGS).await.unwrap()
}

fn new_campaign(coupons: u64, per_user_limit: Option<u32>) -> wire::NewCampaign {
    let starts_at = Utc::now() - chrono::Duration::seconds(1);
    wire::NewCampaign { name: "launch".to_owned(), coupons, starts_at, per_user_limit }
}

async fn campaign(store: &PostgresStore, coupons: u64) -> CampaignNumber {
    store.create(new_campaign(coupons, None), None).await.unwrap().number
}

fn ask(campaign: CampaignNumber, user: &str) -> Ask {
    Ask { campaign, user: crate::user::User::new(user), key: None }
}

/// Somebody who has all the campaigns' rows locked.
async fn locking(server: &e2e::Postgres) -> PgConnection {
    let mut other = PgConnection::connect(&server.url()).await.unwrap();
    let lock = "BEGIN; SELECT * FROM coupon.campaigns FOR UPDATE";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    other
}

/// Waits until so many statements wait for a lock.
async fn until_waiting(server: &e2e::Postgres, wanted: usize) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while server.sql(waiting).parse::<usize>().unwrap() < wanted {
        assert!(std::time::Instant::now() < deadline, "nobody waits for the lock");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_collision_takes_no_coupon() {
    let server = e2e::Postgres::start();
    let store = store(&server).await;
    let campaign = campaign(&store, 10).await;
    let ask = Arc::new(Ask { campaign, user: None, key: None });
    let code = |tail: &str| campaign.prefix() + tail;
    let (a, b) = ("가가가가가가가", "나나나나나나나");

    let first = store.decide(ask.clone(), code(a)).await.unwrap();
    assert!(matches!(&first, Some(Decision::Issued(c)) if c.seq == 1 && c.code.ends_with(a)));
    assert_eq!(store.decide(ask.clone(), code(a)).await, Ok(None));
    assert_eq!(store.campaign(campaign).await.unwrap().unwrap().issued, 1);
    let next = store.decide(ask, code(b)).await.unwrap();
    assert!(matches!(&next, Some(Decision::Issued(c)) if c.seq == 2 && c.code.ends_with(b)));
}

/// How many transactions 40 requests take that come while the row is locked.
async fn transactions(sharing: Sharing) -> usize {
    let server = e2e::Postgres::start();
    let settings = Settings { sharing, ..SETTINGS };
    let store = PostgresStore::connect(&server.url(), settings).await.unwrap();
    let campaign = campaign(&store, 100).await;
    let mut other = locking(&server).await;
    let mut requests = JoinSet::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let request = |user: usize| {
        let (store, asked) = (store.clone(), asked.clone());
        async move {
            // It is in the queue before this thread does anything else.
            asked.fetch_add(1, Ordering::Relaxed);
            store.issue(ask(campaign, &user.to_string())).await
        }
    };
    requests.spawn(request(0));
    until_waiting(&server, 1).await;
    (1..40).for_each(|user| _ = requests.spawn(request(user)));
    while asked.load(Ordering::Relaxed) < 40 {
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let told = requests.join_all().await;
    assert!(told.iter().all(|told| matches!(told, Ok(Decision::Issued(_)))), "{told:?}");
    assert_eq!(server.sql("SELECT issued FROM coupon.campaigns"), "40");
    server.sql("SELECT count(DISTINCT xmin::text) FROM coupon.coupons").parse().unwrap()
}

#[tokio::test]
async fn requests_that_wait_share_a_transaction_unless_they_are_to_be_alone() {
    assert_eq!(transactions(Sharing::Gathered).await, 2);
    assert_eq!(transactions(Sharing::Alone).await, 40);
}

/// Asks until the campaign's task has seen that nobody waits any more.
async fn once_there_is_room(store: &PostgresStore, ask: Ask) -> Decision {
    loop {
        match store.issue(ask.clone()).await {
            Err(StoreError::Overloaded) => tokio::task::yield_now().await,
            other => return other.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_request_that_gave_up_in_the_queue_is_skipped_and_a_full_queue_refuses() {
    let server = e2e::Postgres::start();
    let settings = Settings { queue: Queue { capacity: 1, ..QUEUE }, ..SETTINGS };
    let store = PostgresStore::connect(&server.url(), settings).await.unwrap();
    let campaign = campaign(&store, 10).await;
    let mut other = locking(&server).await;
    let first = tokio::spawn({
        let store = store.clone();
        async move { store.issue(ask(campaign, "first")).await }
    });
    until_waiting(&server, 1).await;
    let given_up = tokio::time::timeout(Duration::ZERO, store.issue(ask(campaign, "gone"))).await;
    assert!(given_up.is_err());
    assert_eq!(store.issue(ask(campaign, "late")).await, Err(StoreError::Overloaded));
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert!(matches!(first.await.unwrap(), Ok(Decision::Issued(coupon)) if coupon.seq == 1));
    let next = once_there_is_room(&store, ask(campaign, "next")).await;
    assert!(matches!(next, Decision::Issued(coupon) if coupon.seq == 2));
}

#[tokio::test]
async fn who_would_wait_too_long_is_refused_and_who_comes_later_is_not() {
    let server = e2e::Postgres::start();
    let queue = Queue { patience: Duration::ZERO, ..QUEUE };
    let settings = Settings { queue, ..SETTINGS };
    let store = PostgresStore::connect(&server.url(), settings).await.unwrap();
    let campaign = campaign(&store, 10).await;
    let mut other = locking(&server).await;
    let first = tokio::spawn({
        let store = store.clone();
        async move { store.issue(ask(campaign, "first")).await }
    });
    until_waiting(&server, 1).await;
    assert_eq!(store.issue(ask(campaign, "second")).await, Err(StoreError::Overloaded));
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert!(matches!(first.await.unwrap(), Ok(Decision::Issued(coupon)) if coupon.seq == 1));
    let next = once_there_is_room(&store, ask(campaign, "third")).await;
    assert!(matches!(next, Decision::Issued(coupon) if coupon.seq == 2));
}

#[tokio::test]
async fn the_start_is_judged_after_the_lock_was_waited_for() {
    let server = e2e::Postgres::start();
    let store = store(&server).await;
    let starts_at = Utc::now() + chrono::Duration::hours(1);
    let new = wire::NewCampaign { starts_at, ..new_campaign(1, None) };
    let campaign = store.create(new, None).await.unwrap().number;
    let mut other = locking(&server).await;
    let early = tokio::spawn({
        let store = store.clone();
        async move { store.issue(ask(campaign, "u")).await }
    });
    until_waiting(&server, 1).await;
    // The start comes while the request waits, so certainly after its transaction began.
    let start = "UPDATE coupon.campaigns SET starts_at_us = coupon.now_us(); COMMIT";
    sqlx::raw_sql(start).execute(&mut other).await.unwrap();
    assert!(matches!(early.await.unwrap(), Ok(Decision::Issued(_))));
}

/// Tables that are small when the first plans are made, and grow a launch later.
#[tokio::test]
async fn a_request_is_found_by_its_user_however_many_coupons_are_issued() {
    let server = e2e::Postgres::start();
    let store = store(&server).await;
    let limited = store.create(new_campaign(100_000, Some(1)), None).await.unwrap().number;
    store.issue(ask(limited, "first")).await.unwrap();
    server.sql("VACUUM ANALYZE");
    for user in 0..3_000 {
        store.issue(ask(limited, &user.to_string())).await.unwrap();
    }
    store.0.steps.close().await;
    let read = "SELECT (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'coupons') + \
                sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'coupons'";
    let read: u64 = server.sql(read).parse().unwrap();
    assert!(read < 10_000, "{read} rows were read for 3,000 requests");
}

#[tokio::test]
async fn what_isolation_the_database_prefers_makes_no_difference() {
    let server = e2e::Postgres::start();
    server.sql("ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'");
    let stores = [store(&server).await, store(&server).await];
    let campaign = campaign(&stores[0], 50).await;
    let mut requests = JoinSet::new();
    for user in 0..100 {
        let store = stores[user % 2].clone();
        requests.spawn(async move { store.issue(ask(campaign, &user.to_string())).await.unwrap() });
    }
    let told = requests.join_all().await;
    let issued = told.iter().filter(|told| matches!(told, Decision::Issued(_))).count();
    assert_eq!(issued, 50);
}

#[tokio::test]
async fn numbers_end_where_codes_cannot_tell_campaigns_apart() {
    let server = e2e::Postgres::start();
    let store = store(&server).await;
    let last = crate::code::CAMPAIGNS;
    server.sql(&format!("ALTER TABLE coupon.campaigns ALTER number RESTART {last}"));
    assert_eq!(campaign(&store, 1).await.get(), last);
    let refused = store.create(new_campaign(1, None), None).await;
    assert_eq!(refused, Err(StoreError::CampaignsExhausted));
}

#[tokio::test]
async fn many_can_lay_out_one_database_at_once() {
    let server = e2e::Postgres::start();
    let mut connecting = JoinSet::new();
    for _ in 0..8 {
        let url = server.url();
        connecting.spawn(async move { PostgresStore::connect(&url, SETTINGS).await });
    }
    for store in connecting.join_all().await {
        campaign(&store.unwrap(), 1).await;
    }
    assert_eq!(server.sql("SELECT max(number) FROM coupon.campaigns"), "8");
}

#[tokio::test]
async fn a_database_of_another_layout_encoding_or_owner_is_refused_and_left_alone() {
    let server = e2e::Postgres::start();
    drop(store(&server).await);
    server.sql("UPDATE coupon.layout SET version = 1");
    let refused = PostgresStore::connect(&server.url(), SETTINGS).await.unwrap_err();
    assert!(matches!(refused, OpenError::Layout(1)), "{refused}");

    server.sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    let url = |name: &str| format!("postgres://postgres@127.0.0.1:{}/{name}", server.port());
    let refused = PostgresStore::connect(&url("latin"), SETTINGS).await.unwrap_err();
    assert!(matches!(&refused, OpenError::Encoding(name) if name == "LATIN1"), "{refused}");

    server.sql("CREATE DATABASE other");
    let mut other = PgConnection::connect(&url("other")).await.unwrap();
    sqlx::raw_sql("CREATE SCHEMA coupon").execute(&mut other).await.unwrap();
    let refused = PostgresStore::connect(&url("other"), SETTINGS).await.unwrap_err();
    assert!(refused.to_string().contains("schema \"coupon\" already exists"), "{refused}");
    let (tables,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM pg_tables WHERE schemaname = 'coupon'")
            .fetch_one(&mut other)
            .await
            .unwrap();
    assert_eq!(tables, 0);
}
