//! Campaigns open by themselves, by one instance at a time, and by the store's clock.

use contract::wire::{ProblemCode, Status};
use serde_json::Value;

use crate::instance::{Instance, Store, until};

on_every_store! {
    opens_a_campaign_once_and_without_a_request
    follows_a_leader_that_was_killed
    is_not_early_where_an_instance_s_clock_is_wrong
}

async fn is_open(instance: &Instance, id: &str) -> bool {
    instance.campaign(id).await.opened_at.is_some()
}

async fn opens_a_campaign_once_and_without_a_request(store: Store) {
    let mut instances: [Instance; 3] = std::array::from_fn(|_| store.instance());
    let campaigns =
        [instances[0].create(3, 300, false).await, instances[1].create(3, -1, false).await];
    for campaign in &campaigns {
        until(async || is_open(&instances[2], &campaign.id).await).await;
        let opened = instances[2].campaign(&campaign.id).await;
        assert!(opened.opened_at >= Some(campaign.starts_at), "{opened:?}");
        assert_eq!(opened.status, Status::Open);
        instances[1].issue(&campaign.id, None, None).await.coupon();
        // Said once, and not again.
        assert_eq!(instances[0].campaign(&campaign.id).await.opened_at, opened.opened_at);
    }
    let lines: Vec<_> = instances.iter_mut().flat_map(Instance::stop).collect();
    for campaign in campaigns {
        let line = format!("campaign {} is open", campaign.id);
        assert_eq!(lines.iter().filter(|l| l.ends_with(&line)).count(), 1, "{lines:#?}");
    }
}

async fn follows_a_leader_that_was_killed(store: Store) {
    let first = store.instance();
    first.until_log("leads");
    let second = store.instance();
    let before = second.create(1, -1, false).await.id;
    until(async || is_open(&second, &before).await).await;
    first.until_log(&format!("campaign {before} is open"));
    first.signal("-KILL");
    let after = second.create(1, 50, false).await.id;
    second.until_log("leads");
    second.until_log(&format!("campaign {after} is open"));
    assert!(is_open(&second, &after).await);
}

async fn is_not_early_where_an_instance_s_clock_is_wrong(store: Store) {
    let ready = async |instance: &Instance| -> Value {
        let answer = instance.get("/readyz").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    };
    for (ahead, bounds) in [("120000", 60_000..=120_000), ("-120000", -180_000..=-119_000)] {
        let instance = store.instance_with(&["--clock-ahead-ms", ahead]);
        let told = ready(&instance).await;
        assert!(bounds.contains(&told["clock_ahead_ms"].as_i64().unwrap()), "{told}");
        assert!(told["warning"].as_str().unwrap().contains("clock"), "{told}");
        instance.until_log("clock is");
        let later = instance.create(1, 60_000, false).await;
        assert_eq!((later.status, later.opened_at), (Status::Scheduled, None));
        let refused = instance.issue(&later.id, None, None).await;
        assert_eq!(refused.code(), ProblemCode::NotStarted);
        let now = instance.create(1, -1, false).await;
        instance.issue(&now.id, None, None).await.coupon();
    }
    let told = ready(&store.instance()).await;
    assert_eq!(told, serde_json::json!({ "status": "ready" }));
}
