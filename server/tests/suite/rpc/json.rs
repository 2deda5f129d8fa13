//! Connect with JSON, as curl speaks it.

use contract::wire::{coupons_path, header};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::client::SERVICE;
use crate::instance::Instance;

fn ask(instance: &Instance, method: &str, message: &Value) -> RequestBuilder {
    instance.post(&format!("{SERVICE}/{method}")).json(message)
}

async fn told(request: RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    let head = answer.headers();
    assert_eq!(head["content-type"], "application/json");
    assert!(head.contains_key("content-length"), "{head:?}");
    for name in [header::INSTANCE, header::SERVER_TIME, header::REQUEST_ID] {
        assert!(head.contains_key(name), "{head:?}");
    }
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn a_launch_in_json() {
    let instance = Instance::alone(&[]);
    let wanted = json!({ "name": "launch", "coupons": "1", "startsAt": "2026-01-01T00:00:00Z",
        "perUserLimit": 1 });
    let (status, created) = told(ask(&instance, "CreateCampaign", &wanted)).await;
    let id = created["campaign"]["id"].as_str().unwrap();
    let now = &created["campaign"]["now"];
    // Zeros are left out, and numbers of 64 bits are strings.
    let expected = json!({ "id": id, "name": "launch", "status": "CAMPAIGN_STATUS_OPEN",
        "coupons": "1", "remaining": "1", "startsAt": "2026-01-01T00:00:00Z", "perUserLimit": 1,
        "now": now });
    assert_eq!((status, created.clone()), (StatusCode::OK, json!({ "campaign": expected })));

    let asked = json!({ "campaignId": id, "user": "Ann" });
    let issue = || ask(&instance, "IssueCoupon", &asked);
    let keyed = issue().header(header::IDEMPOTENCY_KEY, "k");
    let (status, issued) = told(keyed).await;
    let row = &instance.ledger(id).await[0];
    let coupon = json!({ "code": row.code, "seq": "1", "issuedAt": issued["coupon"]["issuedAt"] });
    assert_eq!((status, issued), (StatusCode::OK, json!({ "coupon": coupon })));

    let (status, error) = told(issue()).await;
    assert_eq!((status, &error["code"]), (StatusCode::CONFLICT, &json!("already_exists")));
    let problem = json!({ "code": "already_issued", "coupon": row.code });
    assert_eq!(error["details"][0]["debug"], problem);
    let (status, error) =
        told(ask(&instance, "IssueCoupon", &json!({ "campaignId": id, "user": "Bob" }))).await;
    assert_eq!(
        (status, &error["code"]),
        (StatusCode::TOO_MANY_REQUESTS, &json!("resource_exhausted"))
    );
    assert_eq!(error["details"][0]["debug"], json!({ "code": "sold_out" }));

    let query = format!("?connect=v1&encoding=json&message=%7B%22id%22%3A%22{id}%22%7D");
    let got = instance.get(&format!("{SERVICE}/GetCampaign{query}"));
    let (status, got) = told(got).await;
    assert_eq!((status, &got["coupons"][0]["user"]), (StatusCode::OK, &json!("Ann")));
    assert_eq!(got["campaign"]["status"], "CAMPAIGN_STATUS_SOLD_OUT");
}

#[tokio::test]
async fn what_is_no_call_is_refused() {
    let instance = Instance::alone(&[]);
    let id = instance.create(1, -1, false).await.id;
    let issue = || instance.post(&format!("{SERVICE}/IssueCoupon"));
    let json = "application/json";
    for (request, status, code) in [
        (issue().body("{").header("content-type", json), 400, "invalid_argument"),
        (issue().body(" ".repeat(20_000)).header("content-type", json), 400, "invalid_argument"),
        (ask(&instance, "IssueCoupons", &json!({})), 404, "unimplemented"),
    ] {
        let (told_status, error) = told(request).await;
        assert_eq!((told_status.as_u16(), error["code"].as_str()), (status, Some(code)), "{error}");
    }
    let text = issue().body("{}").header("content-type", "text/plain").send().await.unwrap();
    assert_eq!(text.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let delete = instance.client.delete(format!("{}{SERVICE}/IssueCoupon", instance.url));
    assert_eq!(delete.send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    // A method that changes something is none for GET.
    let query = format!("?connect=v1&encoding=json&message=%7B%22campaignId%22%3A%22{id}%22%7D");
    let got = instance.get(&format!("{SERVICE}/IssueCoupon{query}")).send().await.unwrap();
    assert_eq!(got.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(instance.campaign(&id).await.issued, 0);
    assert_eq!(instance.post(&coupons_path(&id)).send().await.unwrap().status(), 201);
}
