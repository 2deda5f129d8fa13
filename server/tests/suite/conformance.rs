//! What every store has to do, through the front door.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use contract::wire::{LedgerPage, ProblemCode, Status, coupons_path};
use tokio::task::JoinSet;

use crate::instance::{Instance, PATIENCE, Store, Told, assert_sound};

on_every_store! {
    describes_a_campaign
    lists_the_ledger_in_pages
    knows_no_other_campaign
    never_issues_early_and_starts_by_itself
    issues_exactly_as_many_as_there_are
    gives_each_user_one
    needs_a_user_where_there_is_a_limit
    repeats_the_answer_to_a_repeated_key
    repeats_a_key_that_is_sent_many_times_at_once
    keeps_keys_of_users_and_campaigns_apart
    decides_a_refused_key_anew
    sells_nothing_of_nothing
    is_ready
}

async fn describes_a_campaign(store: Store) {
    let (a, b) = (store.instance(), store.instance());
    let created = a.create(3, -1_000, true).await;
    assert_eq!((created.coupons, created.issued, created.remaining), (3, 0, 3));
    assert_eq!((created.status, created.per_user_limit), (Status::Open, Some(1)));
    assert!((Utc::now() - created.now).num_seconds().abs() < 5);
    b.issue(&created.id, Some("u"), None).await.coupon();
    let seen = a.campaign(&created.id).await;
    assert_eq!((seen.issued, seen.remaining, &seen.name), (1, 2, &created.name));
    assert_eq!(seen.starts_at, created.starts_at);
    assert_ne!(a.create(3, 0, false).await.id, created.id);
}

async fn lists_the_ledger_in_pages(store: Store) {
    let instance = store.instance();
    let id = instance.create(7, -1, false).await.id;
    let mut issued = Vec::new();
    for user in ["가", "b", "c", "d", "e"] {
        issued.push(instance.issue(&id, Some(user), None).await.coupon());
    }
    let page = async |query: &str| -> LedgerPage {
        let path = format!("{}{query}", coupons_path(&id));
        instance.get(&path).send().await.unwrap().json().await.unwrap()
    };
    let first = page("?limit=2").await;
    assert_eq!(first.next_after, Some(2));
    assert_eq!(first.coupons[0].user.as_deref(), Some("가"));
    assert_eq!(first.coupons[0].code, issued[0].code);
    assert_eq!(first.coupons[0].issued_at, issued[0].issued_at);
    assert_eq!(page("?limit=2&after=2").await.coupons[0].seq, 3);
    let last = page("?limit=2&after=3").await;
    assert_eq!((last.coupons.len(), last.next_after), (2, None));
    assert_eq!(page("").await.coupons.len(), 5);
    let beyond = page("?after=18446744073709551615").await;
    assert_eq!((beyond.coupons.len(), beyond.next_after), (0, None));
}

async fn knows_no_other_campaign(store: Store) {
    let instance = store.instance();
    for id in ["1", "01", "x", "99999999999"] {
        let refused = instance.issue(id, Some("u"), None).await;
        assert_eq!(refused.code(), ProblemCode::CampaignNotFound, "{id}");
        for path in [format!("/campaigns/{id}"), coupons_path(id)] {
            let answer = instance.get(&path).send().await.unwrap();
            assert_eq!(crate::instance::told(answer).await.code(), ProblemCode::CampaignNotFound);
        }
    }
}

async fn never_issues_early_and_starts_by_itself(store: Store) {
    let instance = store.instance();
    let campaign = instance.create(1, 400, false).await;
    assert_eq!(campaign.status, Status::Scheduled);
    let deadline = Instant::now() + PATIENCE;
    let mut early = 0;
    let coupon = loop {
        assert!(Instant::now() < deadline, "it never starts");
        match instance.issue(&campaign.id, None, None).await {
            Told::Issued(coupon) => break coupon,
            other => assert_eq!(other.code(), ProblemCode::NotStarted),
        }
        early += 1;
    };
    assert!(early > 0);
    assert!(coupon.issued_at >= campaign.starts_at, "{coupon:?}");
    assert!(Utc::now() >= campaign.starts_at);
    assert_eq!(instance.campaign(&campaign.id).await.status, Status::SoldOut);
}

async fn issues_exactly_as_many_as_there_are(store: Store) {
    let instances: [Instance; 3] = std::array::from_fn(|_| store.instance());
    let instances = Arc::new(instances);
    // Requesters are there before the start and stay until they are told that all is gone.
    let campaign = instances[0].create(500, 300, false).await;
    let mut requesters = JoinSet::new();
    for requester in 0..200 {
        let (instances, id) = (instances.clone(), campaign.id.clone());
        requesters.spawn(async move {
            let mut coupons = Vec::new();
            for attempt in requester.. {
                match instances[attempt % 3].issue(&id, None, None).await {
                    Told::Issued(coupon) => coupons.push(coupon),
                    other => match other.code() {
                        ProblemCode::NotStarted => {}
                        code => {
                            assert_eq!(code, ProblemCode::SoldOut);
                            break;
                        }
                    },
                }
            }
            coupons
        });
    }
    let mut coupons: Vec<_> = requesters.join_all().await.into_iter().flatten().collect();
    coupons.sort_by_key(|coupon| coupon.seq);
    let rows = instances[1].ledger(&campaign.id).await;
    assert_eq!(rows.len(), 500);
    assert_sound(&rows);
    assert_eq!(coupons.len(), 500);
    for (coupon, row) in coupons.iter().zip(&rows) {
        assert_eq!((&coupon.code, coupon.seq), (&row.code, row.seq));
        assert_eq!(coupon.remaining, 500 - coupon.seq);
        assert!(coupon.issued_at >= campaign.starts_at);
    }
    let seen = instances[2].campaign(&campaign.id).await;
    assert_eq!((seen.issued, seen.remaining, seen.status), (500, 0, Status::SoldOut));
}

async fn gives_each_user_one(store: Store) {
    let (a, b) = (store.instance(), store.instance());
    let id = a.create(2, -1, true).await.id;
    let coupon = a.issue(&id, Some("u"), None).await.coupon();
    let refused = b.issue(&id, Some("u"), None).await.refusal();
    assert_eq!(refused.code, ProblemCode::AlreadyIssued);
    assert_eq!(refused.coupon, Some(coupon.code.clone()));
    a.issue(&id, Some("v"), None).await.coupon();
    assert_eq!(a.issue(&id, Some("w"), None).await.code(), ProblemCode::SoldOut);
    // A holder is told so even when all is gone.
    let refused = a.issue(&id, Some("u"), Some("another-key")).await.refusal();
    assert_eq!((refused.code, refused.coupon), (ProblemCode::AlreadyIssued, Some(coupon.code)));
    assert_eq!(a.ledger(&id).await.len(), 2);
}

async fn needs_a_user_where_there_is_a_limit(store: Store) {
    let instance = store.instance();
    let limited = instance.create(2, 60_000, true).await.id;
    let refused = instance.issue(&limited, None, None).await.refusal();
    assert_eq!((refused.code, refused.field.as_deref()), (ProblemCode::Invalid, Some("user")));
    let free = instance.create(2, -1, false).await.id;
    instance.issue(&free, Some("u"), None).await.coupon();
    instance.issue(&free, Some("u"), None).await.coupon();
}

async fn repeats_the_answer_to_a_repeated_key(store: Store) {
    let (a, b) = (store.instance(), store.instance());
    for (limit, user) in [(false, None), (false, Some("u")), (true, Some("u"))] {
        let id = a.create(1, -1, limit).await.id;
        let first = a.issue(&id, user, Some("k")).await.coupon();
        // All is gone by now, and the holder holds: the key still wins.
        assert_eq!(b.issue(&id, user, Some("k")).await.coupon(), first);
        assert_eq!(a.ledger(&id).await.len(), 1);
    }
}

async fn repeats_a_key_that_is_sent_many_times_at_once(store: Store) {
    let instances = Arc::new([store.instance(), store.instance()]);
    let id = instances[0].create(100, -1, false).await.id;
    let mut requests = JoinSet::new();
    for number in 0..60 {
        let (instances, id) = (instances.clone(), id.clone());
        requests.spawn(async move {
            instances[number % 2].issue(&id, Some("u"), Some("k")).await.coupon()
        });
    }
    let coupons = requests.join_all().await;
    assert!(coupons.iter().all(|coupon| coupon == &coupons[0]));
    assert_eq!(instances[0].campaign(&id).await.issued, 1);
}

async fn keeps_keys_of_users_and_campaigns_apart(store: Store) {
    let instance = store.instance();
    let id = instance.create(10, -1, false).await.id;
    let other = instance.create(10, -1, false).await.id;
    let mut codes = std::collections::HashSet::new();
    for (id, user) in [(&id, None), (&id, Some("u")), (&id, Some("v")), (&other, Some("u"))] {
        codes.insert(instance.issue(id, user, Some("k")).await.coupon().code);
    }
    assert_eq!(codes.len(), 4);
}

async fn decides_a_refused_key_anew(store: Store) {
    let instance = store.instance();
    let id = instance.create(1, 300, false).await.id;
    let refused = instance.issue(&id, Some("u"), Some("k")).await;
    assert_eq!(refused.code(), ProblemCode::NotStarted);
    let deadline = Instant::now() + PATIENCE;
    while instance.campaign(&id).await.status == Status::Scheduled {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    instance.issue(&id, Some("u"), Some("k")).await.coupon();
}

async fn sells_nothing_of_nothing(store: Store) {
    let instance = store.instance();
    let campaign = instance.create(0, -1, false).await;
    assert_eq!(campaign.status, Status::SoldOut);
    assert_eq!(instance.issue(&campaign.id, None, None).await.code(), ProblemCode::SoldOut);
}

async fn is_ready(store: Store) {
    let instance = store.instance();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(instance.get(path).send().await.unwrap().status(), 200);
    }
}
