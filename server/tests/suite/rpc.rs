//! Connect, gRPC and gRPC-Web: asked by clients that nobody here wrote, held against REST.

mod client;
mod connect;
mod json;
mod messages;

use contract::wire::{self, LedgerRow, cancel_path};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use prost_types::Timestamp;

use crate::instance::{Instance, Store, until};
use client::{Caller, Refused, SERVICE, Speaks};
use messages::{
    Campaign, Coupon, CreateCampaignRequest, CreateCampaignResponse, GetCampaignRequest,
    GetCampaignResponse, IssueCouponRequest, IssueCouponResponse,
};

on_every_store! {
    grants_by_the_rules_of_rest
}

async fn grants_by_the_rules_of_rest(store: Store) {
    let instance = store.instance();
    for speaks in Speaks::ALL {
        let caller = Caller::of(&instance, speaks).await;
        let id = created(&caller, wanted(2)).await.id;
        let first = issued(&caller.with_key("k"), &id, "Ann").await;
        assert_eq!((first.seq, first.remaining), (1, 1));
        // The key is the user's, whichever way it comes.
        assert_eq!(issued(&caller.with_key("k"), &id, "ann").await, first);
        let by_rest = instance.issue(&id, Some("ann"), Some("k")).await.coupon();
        assert_eq!((by_rest.code, by_rest.seq), (first.code.clone(), 1));
        assert_eq!(by_rest.issued_at, utc(&first.issued_at));

        let again = refused(&caller, &id, "ann").await;
        assert_eq!(again, Refused::coded("already_exists", "already_issued").holds(&first.code));
        let second = instance.issue(&id, Some("Bob"), None).await.coupon();
        let late = refused(&caller, &id, "Cy").await;
        assert_eq!(late, Refused::coded("resource_exhausted", "sold_out"));

        let got = got(&caller, &id, None).await;
        assert_as_rest_tells(&instance, got.campaign.as_ref().unwrap()).await;
        assert_eq!(rows(&got), instance.ledger(&id).await);
        assert_eq!(rows(&got)[1].code, second.code);
        assert_eq!(got.next_after, None);
    }
}

#[tokio::test]
async fn a_campaign_is_what_was_asked_for_and_its_key_keeps_it() {
    let instance = Instance::alone(&[]);
    for speaks in Speaks::ALL {
        let caller = Caller::of(&instance, speaks).await;
        let keyed = caller.with_key(&format!("{speaks:?}"));
        let first = created(&keyed, wanted(7)).await;
        assert_as_rest_tells(&instance, &first).await;
        assert_eq!(first.per_user_limit, Some(1));
        assert_eq!(created(&keyed, wanted(7)).await.id, first.id);
        let other = keyed.create(wanted(8)).await.unwrap_err();
        assert_eq!(other, Refused::coded("invalid_argument", "key_reused"));
        assert_ne!(created(&caller, wanted(7)).await.id, first.id);
    }
}

#[tokio::test]
async fn coupons_come_page_by_page() {
    let instance = Instance::alone(&[]);
    let id = instance.create(5, -1, false).await.id;
    for _ in 0..3 {
        instance.issue(&id, None, None).await.coupon();
    }
    for speaks in Speaks::ALL {
        let caller = Caller::of(&instance, speaks).await;
        let page = got(&caller, &id, Some(2)).await;
        assert_eq!((page.coupons.len(), page.next_after), (2, Some(2)));
        let rest = GetCampaignRequest { id: id.clone(), after: 2, limit: Some(2) };
        let rest = caller.get(rest).await.unwrap();
        assert_eq!((rest.coupons.len(), rest.next_after), (1, None));
        let all = [rows(&page), rows(&rest)].concat();
        assert_eq!(all, instance.ledger(&id).await);
        let none = got(&caller, &id, Some(0)).await;
        assert_eq!((none.coupons.len(), none.next_after), (0, None));
        assert_eq!(none.campaign.unwrap().issued, 3);
    }
}

#[tokio::test]
async fn what_is_refused_has_its_code_and_is_counted() {
    let instance = Instance::alone(&[]);
    let early = instance.create(1, 3_600_000, false).await.id;
    let cancelled = instance.create(1, -1, false).await.id;
    instance.post(&cancel_path(&cancelled)).send().await.unwrap();
    let limited = instance.create(1, -1, true).await.id;
    for speaks in Speaks::ALL {
        let caller = Caller::of(&instance, speaks).await;
        for (id, user, expected) in [
            (&*early, Some("a"), Refused::coded("failed_precondition", "not_started")),
            (&*cancelled, None, Refused::coded("failed_precondition", "cancelled")),
            (&*limited, None, Refused::invalid("user")),
            (&*limited, Some(""), Refused::invalid("user")),
            ("999", None, Refused::coded("not_found", "campaign_not_found")),
            ("", None, Refused::coded("not_found", "campaign_not_found")),
        ] {
            let asked = IssueCouponRequest {
                campaign_id: id.to_owned(),
                user: user.map(ToOwned::to_owned),
            };
            assert_eq!(caller.issue(asked).await.unwrap_err(), expected, "{id:?} {user:?}");
        }
        let key = caller.with_key(&"k".repeat(129));
        assert_eq!(refused(&key, &limited, "a").await, Refused::invalid("idempotency-key"));
        let unknown = GetCampaignRequest { id: "999".to_owned(), ..Default::default() };
        let unknown = caller.get(unknown).await.unwrap_err();
        assert_eq!(unknown, Refused::coded("not_found", "campaign_not_found"));
        let many = GetCampaignRequest { id: early.clone(), after: 0, limit: Some(1_001) };
        assert_eq!(caller.get(many).await.unwrap_err(), Refused::invalid("limit"));
        wrong_campaigns(&caller).await;
    }
    let metrics = instance.get("/metrics").send().await.unwrap().text().await.unwrap();
    let counted = format!(r#"coupon_refused_total{{reason="not_started"}} {}"#, Speaks::ALL.len());
    assert!(metrics.contains(&counted), "{metrics}");
    assert_eq!(instance.campaign(&limited).await.issued, 0);
}

async fn wrong_campaigns(caller: &Caller) {
    let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
    for (asked, field) in [
        (CreateCampaignRequest { name: String::new(), ..wanted(1) }, "name"),
        (CreateCampaignRequest { coupons: None, ..wanted(1) }, "coupons"),
        (wanted(100_000_001), "coupons"),
        (CreateCampaignRequest { per_user_limit: Some(0), ..wanted(1) }, "per_user_limit"),
        (CreateCampaignRequest { starts_at: None, ..wanted(1) }, "starts_at"),
        (CreateCampaignRequest { starts_at: at(0, 1), ..wanted(1) }, "starts_at"),
        (CreateCampaignRequest { starts_at: at(0, -1_000_000), ..wanted(1) }, "starts_at"),
        (CreateCampaignRequest { starts_at: at(0, 1_000_000_000), ..wanted(1) }, "starts_at"),
        (CreateCampaignRequest { starts_at: at(-1, 0), ..wanted(1) }, "starts_at"),
        (CreateCampaignRequest { starts_at: at(i64::MAX, 0), ..wanted(1) }, "starts_at"),
    ] {
        let refused = caller.create(asked.clone()).await.unwrap_err();
        assert_eq!(refused, Refused::invalid(field), "{asked:?}");
    }
}

const ADMIN: &str = "sesame-of-the-admin";
const ISSUE: &str = "sesame-of-the-shops";

#[tokio::test]
async fn calls_take_the_tokens_that_requests_take() {
    let store = Store::sqlite();
    let mut command = crate::instance::command(&store.flag());
    let instance = Instance::start(command.env("ADMIN_TOKEN", ADMIN).env("ISSUE_TOKEN", ISSUE));
    let id = store.instance().create(9, -1, false).await.id;
    let denied = Refused::coded("unauthenticated", "unauthorized");
    let coupon = || IssueCouponRequest { campaign_id: id.clone(), user: None };
    let list = || GetCampaignRequest { id: id.clone(), ..Default::default() };
    for speaks in Speaks::ALL {
        let nobody = Caller::of(&instance, speaks).await;
        let (admin, shop) = (nobody.with_token(ADMIN), nobody.with_token(ISSUE));
        for wrong in [&nobody, &shop] {
            assert_eq!(wrong.create(wanted(1)).await.unwrap_err(), denied);
            assert_eq!(wrong.get(list()).await.unwrap_err(), denied);
            assert_eq!(got(wrong, &id, Some(0)).await.campaign.unwrap().id, id);
        }
        for wrong in [&nobody, &admin] {
            assert_eq!(wrong.issue(coupon()).await.unwrap_err(), denied);
        }
        created(&admin, wanted(1)).await;
        let issued = shop.issue(coupon()).await.unwrap().coupon.unwrap();
        let listed = admin.get(list()).await.unwrap().coupons;
        assert_eq!(listed.last().unwrap().code, issued.code);
    }
}

#[tokio::test]
async fn a_store_that_is_gone_is_unavailable() {
    let store = Store::redis();
    let instance = store.instance_with(&["--request-timeout", "300ms"]);
    let id = instance.create(1, -1, false).await.id;
    drop(store);
    for speaks in Speaks::ALL {
        let caller = Caller::of(&instance, speaks).await;
        let expected = Refused::coded("unavailable", "store_unavailable");
        assert_eq!(refused(&caller, &id, "u").await, expected);
    }
}

/// A store that stands still is what the server itself would wait for much longer.
#[tokio::test]
async fn a_call_ends_when_its_caller_has_no_time_left() {
    let redis = e2e::Redis::start();
    let mut command = crate::instance::command(&redis.url());
    let instance = Instance::start(command.args(["--request-timeout", "60s"]));
    let id = instance.create(9, -1, false).await.id;
    let message = ask(&id, "u").encode_to_vec();
    let framed =
        [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat();
    let call = |form: &str, limit: &str, time: &str, body: &[u8]| {
        let request = Request::post(format!("{}{SERVICE}/IssueCoupon", instance.url));
        let request =
            request.header("content-type", form).header(limit, time).header("te", "trailers");
        let request = request.header(wire::header::IDEMPOTENCY_KEY, "k");
        Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http()
            .request(request.body(Full::<Bytes>::from(body.to_vec())).unwrap())
    };
    redis.signal("STOP");
    let connect = call("application/proto", "connect-timeout-ms", "50", &message).await.unwrap();
    assert_eq!(connect.status(), 504);
    let told = connect.into_body().collect().await.unwrap().to_bytes();
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["code"], "deadline_exceeded");
    assert_eq!(told.get("details"), None);

    let grpc = call("application/grpc", "grpc-timeout", "50m", &framed).await.unwrap();
    let told = grpc.into_body().collect().await.unwrap();
    assert_eq!(told.trailers().unwrap()["grpc-status"], "4");
    let web = call("application/grpc-web+proto", "grpc-timeout", "50m", &framed).await.unwrap();
    let told = web.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&told).contains("grpc-status: 4"), "{told:?}");

    redis.signal("CONT");
    // One of them may have been decided: its key tells.
    assert_eq!(instance.issue(&id, Some("u"), Some("k")).await.coupon().seq, 1);
    assert_eq!(instance.campaign(&id).await.issued, 1);
}

#[tokio::test]
async fn calls_count_against_the_rate_of_their_address() {
    let store = Store::sqlite();
    let (limited, free) = (store.instance_with(&["--rate-limit", "1"]), store.instance());
    let id = free.create(1_000_000, -1, false).await.id;
    for speaks in Speaks::ALL {
        let caller = Caller::of(&limited, speaks).await;
        let asked = || IssueCouponRequest { campaign_id: id.clone(), user: None };
        until(async || {
            let told = caller.issue(asked()).await;
            told.is_err_and(|e| e == Refused::coded("resource_exhausted", "rate_limited"))
        })
        .await;
    }
}

#[tokio::test]
async fn a_planted_bug_is_in_calls_too_and_says_so() {
    let instance = Instance::alone(&["--mutant", "off-by-one"]);
    for speaks in Speaks::ALL {
        let caller = Caller::of(&instance, speaks).await;
        let id = created(&caller, wanted(1)).await.id;
        for user in ["a", "b"] {
            issued(&caller, &id, user).await;
        }
        assert_eq!(refused(&caller, &id, "c").await.problem.code, "sold_out");
    }
    let answer = instance.post(&format!("{SERVICE}/GetCampaign")).send().await.unwrap();
    assert_eq!(answer.headers()[wire::header::MUTANT], "off-by-one");
}

/// One that has started, with a limit per user.
fn wanted(coupons: u64) -> CreateCampaignRequest {
    CreateCampaignRequest {
        name: "launch 가".to_owned(),
        coupons: Some(coupons),
        starts_at: Some(Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 }),
        per_user_limit: Some(1),
    }
}

async fn created(caller: &Caller, wanted: CreateCampaignRequest) -> Campaign {
    let CreateCampaignResponse { campaign } = caller.create(wanted).await.unwrap();
    campaign.unwrap()
}

async fn got(caller: &Caller, id: &str, limit: Option<u32>) -> GetCampaignResponse {
    caller.get(GetCampaignRequest { id: id.to_owned(), after: 0, limit }).await.unwrap()
}

fn ask(id: &str, user: &str) -> IssueCouponRequest {
    IssueCouponRequest { campaign_id: id.to_owned(), user: Some(user.to_owned()) }
}

async fn refused(caller: &Caller, id: &str, user: &str) -> Refused {
    caller.issue(ask(id, user)).await.unwrap_err()
}

/// A coupon as its holder was told of it.
#[derive(Debug, PartialEq)]
struct Issued {
    code: String,
    seq: u64,
    remaining: u64,
    issued_at: Option<Timestamp>,
}

async fn issued(caller: &Caller, id: &str, user: &str) -> Issued {
    let IssueCouponResponse { coupon, remaining } = caller.issue(ask(id, user)).await.unwrap();
    let Coupon { code, seq, issued_at, user } = coupon.unwrap();
    assert_eq!(user, None);
    Issued { code, seq, remaining, issued_at }
}

fn utc(time: &Option<Timestamp>) -> chrono::DateTime<chrono::Utc> {
    let time = time.unwrap();
    chrono::DateTime::from_timestamp(time.seconds, time.nanos.try_into().unwrap()).unwrap()
}

async fn assert_as_rest_tells(instance: &Instance, told: &Campaign) {
    let by_rest = instance.campaign(&told.id).await;
    // Seen by whoever leads, sooner or later.
    let opened_at = by_rest.opened_at.filter(|_| told.opened_at.is_some());
    assert!(utc(&told.now) <= by_rest.now);
    assert_eq!(in_rest(told), wire::Campaign { now: utc(&told.now), opened_at, ..by_rest });
}

/// What REST would say.
fn in_rest(told: &Campaign) -> wire::Campaign {
    wire::Campaign {
        id: told.id.clone(),
        name: told.name.clone(),
        status: match told.status {
            1 => wire::Status::Scheduled,
            2 => wire::Status::Open,
            3 => wire::Status::SoldOut,
            4 => wire::Status::Cancelled,
            other => panic!("no status: {other}"),
        },
        coupons: told.coupons,
        issued: told.issued,
        remaining: told.remaining,
        starts_at: utc(&told.starts_at),
        per_user_limit: told.per_user_limit,
        opened_at: told.opened_at.map(|time| utc(&Some(time))),
        now: utc(&told.now),
    }
}

fn rows(got: &GetCampaignResponse) -> Vec<LedgerRow> {
    let row = |coupon: &Coupon| LedgerRow {
        seq: coupon.seq,
        code: coupon.code.clone(),
        user: coupon.user.clone(),
        issued_at: utc(&coupon.issued_at),
    };
    got.coupons.iter().map(row).collect()
}
