//! What can become of a campaign after it was created: nothing but to be cancelled, once.

use contract::wire::{
    CAMPAIGNS, Campaign, ProblemCode, Status, StatusEvent, campaign_path, cancel_path, events_path,
    header,
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;

use crate::instance::{Instance, Store, Told, problem, until};

on_every_store! {
    a_key_creates_one_campaign
    a_cancelled_campaign_issues_nothing_more
    what_was_never_opened_is_not_once_it_is_cancelled
}

fn body(name: &str, start: &str, limit: bool) -> serde_json::Value {
    let mut body = json!({ "name": name, "coupons": 3, "starts_at": start });
    if limit {
        body["per_user_limit"] = json!(1);
    }
    body
}

async fn a_key_creates_one_campaign(store: Store) {
    let instances = [store.instance(), store.instance()];
    let start = "2026-01-01T00:00:00Z";
    let ask = |n: usize, key: &str, body: serde_json::Value| {
        instances[n].post(CAMPAIGNS).header(header::IDEMPOTENCY_KEY, key).json(&body).send()
    };
    let mut asked = JoinSet::new();
    for n in 0..20 {
        asked.spawn(ask(n % 2, "k", body("a", start, false)));
    }
    let mut ids = Vec::new();
    for answer in asked.join_all().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let campaign: Campaign = answer.json().await.unwrap();
        ids.push(campaign.id);
    }
    assert!(ids.iter().all(|id| id == &ids[0]), "{ids:?}");
    instances[0].issue(&ids[0], None, None).await.coupon();
    // Another form of the same is the same, and it is shown as it is by now.
    let again = ask(1, "k", body("a", "2026-01-01T09:00:00.000+09:00", false)).await.unwrap();
    let again: Campaign = again.json().await.unwrap();
    assert_eq!((&again.id, again.issued), (&ids[0], 1));
    for other in [
        body("b", start, false),
        body("a", "2026-01-01T00:00:01Z", false),
        body("a", start, true),
        json!({ "name": "a", "coupons": 4, "starts_at": start }),
    ] {
        let refused = ask(1, "k", other).await.unwrap();
        assert_eq!(problem(refused).await.unwrap().code, ProblemCode::KeyReused);
    }
    let apart: Campaign = ask(1, "l", body("a", start, false)).await.unwrap().json().await.unwrap();
    assert_ne!(apart.id, ids[0]);
    let wrong = ask(0, "a b", body("a", start, false)).await.unwrap();
    assert_eq!(problem(wrong).await.unwrap().field.as_deref(), Some(header::IDEMPOTENCY_KEY));
}

async fn cancel(instance: &Instance, id: &str) -> Campaign {
    let answer = instance.post(&cancel_path(id)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

async fn a_cancelled_campaign_issues_nothing_more(store: Store) {
    let (a, b) = (store.instance(), store.instance());
    let id = a.create(3_000, -1, true).await.id;
    let first = a.issue(&id, Some("u"), Some("k")).await.coupon();
    let mut events = b.get(&events_path(&id)).send().await.unwrap();
    // In the middle of a rush: whoever asks after the answer gets nothing.
    let rush = async |from: usize, instance: &Instance| {
        let mut got = 0;
        for n in from.. {
            match instance.issue(&id, Some(&format!("r{n}")), None).await {
                Told::Issued(_) => got += 1,
                other => {
                    assert_eq!(other.code(), ProblemCode::Cancelled);
                    return got;
                }
            }
        }
        got
    };
    let stop = async {
        until(async || b.campaign(&id).await.issued > 20).await;
        let told = cancel(&b, &id).await;
        assert_eq!(told.status, Status::Cancelled);
        told.issued
    };
    let (one, other, issued) =
        futures_util::future::join3(rush(0, &a), rush(10_000, &b), stop).await;
    assert_eq!(one + other + 1, issued);
    assert_eq!(a.campaign(&id).await.issued, issued);
    // What was issued stays issued, and its key is still answered.
    assert_eq!(b.issue(&id, Some("u"), Some("k")).await.coupon(), first);
    assert_eq!(b.issue(&id, Some("u"), None).await.code(), ProblemCode::Cancelled);
    assert_eq!(cancel(&a, &id).await.status, Status::Cancelled);
    let mut text = String::new();
    while !text.contains("cancelled") {
        text += str::from_utf8(&events.chunk().await.unwrap().expect("the stream ended")).unwrap();
    }
    let last = text.trim_end().rsplit("data: ").next().unwrap();
    let last: StatusEvent = serde_json::from_str(last).unwrap();
    assert_eq!(last.status, Status::Cancelled);

    let unknown = a.post(&cancel_path("77")).send().await.unwrap();
    assert_eq!(problem(unknown).await.unwrap().code, ProblemCode::CampaignNotFound);
}

async fn what_was_never_opened_is_not_once_it_is_cancelled(store: Store) {
    let instance = store.instance();
    let id = instance.create(3, 60_000, false).await.id;
    assert_eq!(cancel(&instance, &id).await.status, Status::Cancelled);
    assert_eq!(instance.issue(&id, None, None).await.code(), ProblemCode::Cancelled);
    let soon = instance.create(3, 200, false).await.id;
    let later = instance.create(3, 400, false).await.id;
    cancel(&instance, &soon).await;
    until(async || instance.campaign(&later).await.opened_at.is_some()).await;
    assert_eq!(instance.campaign(&soon).await.opened_at, None);
}

#[tokio::test]
async fn a_campaign_cannot_be_edited() {
    let instance = Instance::alone(&[]);
    let id = instance.create(3, 60_000, false).await.id;
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        let url = format!("{}{}", instance.url, campaign_path(&id));
        let edit =
            instance.client.request(method, url).json(&body("b", "2026-01-01T00:00:00Z", true));
        let refused = problem(edit.send().await.unwrap()).await.unwrap();
        assert_eq!(refused.code, ProblemCode::MethodNotAllowed);
    }
    assert_eq!(instance.campaign(&id).await.coupons, 3);
}

#[tokio::test]
async fn cancelling_takes_the_administrator_s_token() {
    let store = Store::sqlite();
    let token = "sesame-of-the-admin";
    let instance =
        Instance::start(crate::instance::command(&store.flag()).env("ADMIN_TOKEN", token));
    let id = store.instance().create(3, -1, false).await.id;
    let refused = instance.post(&cancel_path(&id)).send().await.unwrap();
    assert_eq!(problem(refused).await.unwrap().code, ProblemCode::Unauthorized);
    let taken = instance.post(&cancel_path(&id)).bearer_auth(token).send().await.unwrap();
    assert_eq!(taken.status(), 200);
}
