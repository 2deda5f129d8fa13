//! What only this store has to do; `tests/suite/conformance.rs` has what every store has to.

use super::*;

const QUEUE: Queue = Queue { capacity: 100, patience: Duration::MAX };
const SETTINGS: Settings = Settings { queue: QUEUE, sharing: Sharing::Gathered };

fn new_campaign(coupons: u64) -> wire::NewCampaign {
    wire::NewCampaign {
        name: "launch".to_owned(),
        coupons,
        starts_at: Utc::now() - chrono::Duration::seconds(1),
        per_user_limit: None,
    }
}

#[tokio::test]
async fn a_collision_draws_another_code_and_never_a_coupon() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("coupons.db"), SETTINGS).unwrap();
    let campaign = store.create(new_campaign(10), None).await.unwrap().number;
    let ask = Ask { campaign, user: None, key: None };
    let draw = |tails: &'static [&'static str]| {
        let ask = ask.clone();
        store.write(move |transaction, campaigns| {
            let mut tails = tails.iter().cycle().map(|&tail| ask.campaign.prefix() + tail);
            let terms = campaigns.terms(transaction, ask.campaign).unwrap();
            decide(transaction, terms, &ask, || tails.next().unwrap())
        })
    };
    let (a, b) = ("가가가가가가가", "나나나나나나나");
    let first = draw(&["가가가가가가가"]).await.unwrap();
    assert!(matches!(&first, Decision::Issued(c) if c.seq == 1 && c.code.ends_with(a)));
    assert!(matches!(draw(&["가가가가가가가"]).await, Err(StoreError::Damaged(_))));
    assert_eq!(store.campaign(campaign).await.unwrap().unwrap().issued, 1);
    let next = draw(&["가가가가가가가", "나나나나나나나"]).await.unwrap();
    assert!(matches!(&next, Decision::Issued(c) if c.seq == 2 && c.code.ends_with(b)));
}

/// A launch grew slower with every coupon: the plan walked the campaign in order of seq.
#[test]
fn a_request_is_found_by_its_user_however_many_coupons_are_issued() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(include_str!("schema.sql")).unwrap();
    for (sql, seek) in [
        (include_str!("holder.sql"), "(campaign=? AND holder=?)"),
        (include_str!("replay.sql"), "(campaign=? AND holder=? AND key=?)"),
    ] {
        let sql = format!("EXPLAIN QUERY PLAN {sql}");
        let mut plan = connection.prepare(&sql).unwrap();
        for i in 1..=plan.parameter_count() {
            plan.raw_bind_parameter(i, 1).unwrap();
        }
        let mut rows = plan.raw_query();
        let step: String = rows.next().unwrap().unwrap().get("detail").unwrap();
        assert!(step.starts_with("SEARCH") && step.ends_with(seek), "{step}");
        assert!(rows.next().unwrap().is_none(), "one step, without a sort");
    }
}

#[tokio::test]
async fn a_failure_takes_the_whole_batch_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("coupons.db"), SETTINGS).unwrap();
    let campaign = store.create(new_campaign(10), None).await.unwrap().number;
    let failed: Outcome<()> = store
        .write(move |transaction, campaigns| {
            let ask = Ask { campaign, user: None, key: None };
            let terms = campaigns.terms(transaction, campaign).unwrap();
            decide(transaction, terms, &ask, || ask.campaign.random_code()).unwrap();
            Err(StoreError::Damaged("on purpose".to_owned()))
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(store.campaign(campaign).await.unwrap().unwrap().issued, 0);
    assert_eq!(store.ledger(campaign, 0, 10).await, Ok(Some(vec![])));
}

/// Holds the writer up until the returned sender is used or dropped.
async fn hold(store: &SqliteStore) -> std::sync::mpsc::Sender<()> {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (started, start) = oneshot::channel();
    let store = store.clone();
    tokio::spawn(async move {
        store
            .write(move |_, _| {
                let _ = started.send(());
                let _ = released.recv();
                Ok(())
            })
            .await
    });
    start.await.unwrap();
    release
}

/// Whether a request gets a coupon that waits beside a job which fails.
async fn survives_a_failure(sharing: Sharing) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coupons.db");
    let store = SqliteStore::open(&path, Settings { sharing, ..SETTINGS }).unwrap();
    let campaign = store.create(new_campaign(10), None).await.unwrap().number;
    let release = hold(&store).await;
    let failing = store.write(|_, _| -> Outcome<()> { Err(lost()) });
    let issuing = store.issue(Ask { campaign, user: None, key: None });
    let (failed, issued, ()) = tokio::join!(failing, issuing, async {
        release.send(()).unwrap();
    });
    assert!(failed.is_err());
    issued.is_ok()
}

#[tokio::test]
async fn requests_that_wait_share_a_transaction_unless_they_are_to_be_alone() {
    assert!(!survives_a_failure(Sharing::Gathered).await);
    assert!(survives_a_failure(Sharing::Alone).await);
}

#[tokio::test]
async fn a_full_queue_refuses_and_an_abandoned_request_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { queue: Queue { capacity: 1, ..QUEUE }, ..SETTINGS };
    let store = SqliteStore::open(&dir.path().join("coupons.db"), settings).unwrap();
    let campaign = store.create(new_campaign(10), None).await.unwrap().number;
    let ask = Ask { campaign, user: None, key: None };
    let release = hold(&store).await;

    let abandoned = tokio::time::timeout(Duration::ZERO, store.issue(ask.clone())).await;
    assert!(abandoned.is_err());
    assert_eq!(store.issue(ask.clone()).await, Err(StoreError::Overloaded));
    release.send(()).unwrap();
    // A place in the queue is free once the writer has taken the others out.
    let _ = store.ready().await;
    let coupon = loop {
        match store.issue(ask.clone()).await {
            Err(StoreError::Overloaded) => tokio::task::yield_now().await,
            other => break other.unwrap(),
        }
    };
    assert!(matches!(coupon, Decision::Issued(c) if c.seq == 1));
}

#[tokio::test]
async fn who_would_wait_too_long_is_refused_and_who_comes_later_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue { patience: Duration::ZERO, ..QUEUE };
    let settings = Settings { queue, ..SETTINGS };
    let store = SqliteStore::open(&dir.path().join("coupons.db"), settings).unwrap();
    let campaign = store.create(new_campaign(10), None).await.unwrap().number;
    let ask = Ask { campaign, user: None, key: None };
    let release = hold(&store).await;

    let mut first = Box::pin(store.issue(ask.clone()));
    let in_the_queue = tokio::time::timeout(Duration::ZERO, &mut first).await;
    assert!(in_the_queue.is_err());
    assert_eq!(store.issue(ask.clone()).await, Err(StoreError::Overloaded));
    release.send(()).unwrap();
    assert!(matches!(first.await, Ok(Decision::Issued(coupon)) if coupon.seq == 1));
    let next = store.issue(ask).await.unwrap();
    assert!(matches!(next, Decision::Issued(coupon) if coupon.seq == 2));
}

#[tokio::test]
async fn numbers_end_where_codes_cannot_tell_campaigns_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coupons.db");
    let store = SqliteStore::open(&path, SETTINGS).unwrap();
    store.create(new_campaign(1), None).await.unwrap();
    Connection::open(&path)
        .unwrap()
        .execute("UPDATE campaigns SET number = ?1", [crate::code::CAMPAIGNS])
        .unwrap();
    assert_eq!(store.create(new_campaign(1), None).await, Err(StoreError::CampaignsExhausted));
}

#[test]
fn a_newer_layout_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coupons.db");
    drop(SqliteStore::open(&path, SETTINGS).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 3).unwrap();
    let error = SqliteStore::open(&path, SETTINGS).unwrap_err();
    assert!(matches!(error, OpenError::Layout { found: 3, .. }), "{error}");
}

#[tokio::test]
async fn being_ready_is_a_write_that_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coupons.db");
    let store = SqliteStore::open(&path, SETTINGS).unwrap();
    let other = Connection::open(&path).unwrap();
    let data_version =
        || other.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)).unwrap();
    let wal = || std::fs::metadata(dir.path().join("coupons.db-wal")).unwrap().len();
    let (version, length) = (data_version(), wal());
    store.ready().await.unwrap();
    assert_ne!(data_version(), version, "nothing was committed");
    assert!(wal() > length, "nothing was written");
    assert!(!file::identify(&path, &other).unwrap());
}

#[tokio::test]
async fn a_file_that_is_not_where_it_was_takes_no_coupon_until_it_is_back() {
    for lost in ["coupons.db", "coupons.db-wal", "coupons.db-shm"] {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let store = SqliteStore::open(&path("coupons.db"), SETTINGS).unwrap();
        let campaign = store.create(new_campaign(10), None).await.unwrap().number;
        let ask = Ask { campaign, user: None, key: None };
        store.issue(ask.clone()).await.unwrap();

        std::fs::rename(path(lost), path("aside")).unwrap();
        for stranger in [None, Some("somebody else's")] {
            if let Some(text) = stranger {
                std::fs::write(path(lost), text).unwrap();
            }
            let named = format!("{} was deleted, moved or replaced", path(lost).display());
            let issued = store.issue(ask.clone()).await.unwrap_err();
            assert!(issued.to_string().contains(&named), "{issued}");
            let refused = [
                store.ready().await.unwrap_err(),
                store.campaign(campaign).await.unwrap_err(),
                store.ledger(campaign, 0, 10).await.unwrap_err(),
                store.create(new_campaign(1), None).await.unwrap_err(),
            ];
            assert!(refused.iter().all(|error| error == &issued), "{refused:?}");
        }

        std::fs::rename(path("aside"), path(lost)).unwrap();
        let next = store.issue(ask).await.unwrap();
        assert!(matches!(next, Decision::Issued(coupon) if coupon.seq == 2), "{lost}");
        assert_eq!(store.ledger(campaign, 0, 10).await.unwrap().unwrap().len(), 2);
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn files_are_their_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("coupons.db"), SETTINGS).unwrap();
    store.create(new_campaign(1), None).await.unwrap();
    for name in ["coupons.db", "coupons.db-wal", "coupons.db-shm", "coupons.db-lock"] {
        assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
    }
}

#[test]
fn nothing_is_left_beside_what_cannot_be_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name| dir.path().join(name);
    std::fs::create_dir(path("folder")).unwrap();
    std::fs::write(path("text"), "not a database, but long enough: ".repeat(40)).unwrap();
    let foreign = Connection::open(path("foreign")).unwrap();
    foreign.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a)").unwrap();
    drop(foreign);
    let names = || {
        let mut names: Vec<_> =
            dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    for name in ["folder", "text", "foreign", "nowhere/coupons.db", "text/coupons.db"] {
        assert!(SqliteStore::open(&path(name), SETTINGS).is_err(), "{name}");
        assert_eq!(names(), before, "{name}");
    }
}

#[test]
fn a_lock_that_another_holds_is_waited_for_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coupons.db");
    let other = create_private(&lock_path(&path)).unwrap();
    let held = Lock::take(&other).unwrap();
    let open = |ms| SqliteStore::open_within(&path, SETTINGS, Duration::from_millis(ms));
    let error = open(20).unwrap_err();
    let expected = format!("another process holds {}-lock", path.display());
    assert_eq!(error.to_string(), expected);
    assert!(!path.exists());
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| open(20_000).map(drop));
        drop(held);
        opening.join().unwrap().unwrap();
    });
}

#[test]
fn many_can_create_one_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coupons.db");
    std::thread::scope(|scope| {
        let opening: Vec<_> =
            (0..8).map(|_| scope.spawn(|| SqliteStore::open(&path, SETTINGS).map(drop))).collect();
        for one in opening {
            one.join().unwrap().unwrap();
        }
    });
}
