//! The planted bug is found where it should be, and says what it is.

use std::sync::Arc;
use std::time::Duration;

use contract::wire::{ProblemCode, header};
use tokio::task::JoinSet;

use crate::instance::{Instance, Store, Told, assert_sound};

/// About 1,000 requests a second over three instances.
async fn issued_under_load(store: Store, coupons: u64) -> u64 {
    let flags = ["--mutant", "check-then-act"];
    let instances: [_; 3] = std::array::from_fn(|_| store.instance_with(&flags));
    let instances = Arc::new(instances);
    let id = instances[0].create(coupons, -1, true).await.id;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let mut requests = JoinSet::new();
    for number in 0..600_usize {
        ticks.tick().await;
        let (instances, id) = (instances.clone(), id.clone());
        requests.spawn(async move {
            instances[number % 3].issue(&id, Some(&format!("u{number}")), None).await
        });
    }
    let mut issued = 0;
    for told in requests.join_all().await {
        match told {
            Told::Issued(_) => issued += 1,
            other => assert_eq!(other.code(), ProblemCode::SoldOut),
        }
    }
    let rows = instances[0].ledger(&id).await;
    assert_sound(&rows);
    let seen = instances[0].campaign(&id).await;
    assert_eq!((seen.issued, rows.len()), (issued, usize::try_from(issued).unwrap()));
    issued
}

#[tokio::test]
async fn check_then_act_issues_too_many_on_redis() {
    let issued = issued_under_load(Store::redis(), 300).await;
    assert!(issued > 300, "{issued}");
}

#[tokio::test]
async fn check_then_act_issues_too_many_on_sqlite() {
    let issued = issued_under_load(Store::sqlite(), 300).await;
    assert!(issued > 300, "{issued}");
}

#[tokio::test]
async fn check_then_act_issues_too_many_on_postgres() {
    let issued = issued_under_load(Store::postgres(), 300).await;
    assert!(issued > 300, "{issued}");
}

#[tokio::test]
async fn check_then_act_keeps_all_other_rules() {
    for store in [Store::redis(), Store::sqlite(), Store::postgres()] {
        let instance = store.instance_with(&["--mutant", "check-then-act"]);
        let early = instance.create(5, 60_000, false).await.id;
        assert_eq!(instance.issue(&early, None, None).await.code(), ProblemCode::NotStarted);
        let id = instance.create(5, -1, true).await.id;
        let coupon = instance.issue(&id, Some("u"), Some("k")).await.coupon();
        assert_eq!((coupon.seq, coupon.remaining), (1, 4));
        assert_eq!(instance.issue(&id, Some("u"), Some("k")).await.coupon(), coupon);
        let refused = instance.issue(&id, Some("u"), None).await.refusal();
        assert_eq!(refused.coupon, Some(coupon.code));
        let refused = instance.issue(&id, None, None).await.refusal();
        assert_eq!(refused.field.as_deref(), Some("user"));
        let refused = instance.issue("77", None, None).await;
        assert_eq!(refused.code(), ProblemCode::CampaignNotFound);
    }
}

#[tokio::test]
async fn a_planted_bug_is_announced_on_every_answer() {
    let instance = Instance::alone(&["--mutant", "check-then-act"]);
    for path in ["/healthz", "/nothing", "/campaigns/9"] {
        let answer = instance.get(path).send().await.unwrap();
        assert_eq!(answer.headers()[header::MUTANT], "check-then-act");
    }
}
