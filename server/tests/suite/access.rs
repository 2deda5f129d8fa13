//! Who may do what, how often, and as whom.

use std::io::Write;
use std::time::Instant;

use contract::wire::{ProblemCode, coupons_path, events_path};
use reqwest::{RequestBuilder, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::instance::{Instance, PATIENCE, Store, Told, binary, problem, refused, told, until};

on_every_store! {
    knows_a_user_however_spelled
}

async fn knows_a_user_however_spelled(store: Store) {
    let instance = store.instance();
    let limited = instance.create(5, -1, true).await.id;
    let coupon = instance.issue(&limited, Some("Ann"), Some("k")).await.coupon();
    for other in ["Ann", "ann", " ANN ", "ａｎｎ", "a\u{200B}nn", "\u{3000}ann"] {
        let refused = instance.issue(&limited, Some(other), None).await.refusal();
        assert_eq!(refused.code, ProblemCode::AlreadyIssued, "{other:?}");
        assert_eq!(refused.coupon.as_ref(), Some(&coupon.code), "{other:?}");
        assert_eq!(instance.issue(&limited, Some(other), Some("k")).await.coupon(), coupon);
    }
    instance.issue(&limited, Some("가"), None).await.coupon();
    let again = instance.issue(&limited, Some("\u{1100}\u{1161}"), None).await;
    assert_eq!(again.code(), ProblemCode::AlreadyIssued);
    instance.issue(&limited, Some("an n"), None).await.coupon();
    let users: Vec<_> = instance.ledger(&limited).await.into_iter().map(|row| row.user).collect();
    assert_eq!(users, [Some("Ann".to_owned()), Some("가".to_owned()), Some("an n".to_owned())]);

    let free = instance.create(5, -1, false).await.id;
    let first = instance.issue(&free, Some("Bob"), Some("k")).await.coupon();
    assert_eq!(instance.issue(&free, Some("bob "), Some("k")).await.coupon(), first);
    let nobody = instance.issue(&free, Some(" \u{200B}"), None).await.refusal();
    assert_eq!((nobody.code, nobody.field.as_deref()), (ProblemCode::Invalid, Some("user")));
}

const ADMIN: &str = "sesame-of-the-admin";
const ISSUE: &str = "sesame-of-the-shops";

#[tokio::test]
async fn what_takes_a_token_is_refused_without_it_and_no_token_is_logged() {
    let store = Store::sqlite();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{ISSUE}").unwrap();
    let mut command = crate::instance::command(&store.flag());
    command.env("ADMIN_TOKEN", ADMIN).env("RUST_LOG", "trace");
    command.arg("--issue-token-file").arg(file.path());
    let mut instance = Instance::start(&mut command);
    let id = store.instance().create(5, -1, false).await.id;
    let body = r#"{"name":"a","coupons":1,"starts_at":"2026-01-01T00:00:00Z"}"#;
    type Ask<'a> = &'a dyn Fn() -> RequestBuilder;
    let create: Ask<'_> = &|| instance.post("/campaigns").body(body);
    let list: Ask<'_> = &|| instance.get(&coupons_path(&id));
    let issue: Ask<'_> = &|| instance.post(&coupons_path(&id));
    for (ask, right, status) in [(create, ADMIN, 201), (list, ADMIN, 200), (issue, ISSUE, 201)] {
        let wrong = if right == ADMIN { ISSUE } else { ADMIN };
        for authorization in [
            String::new(),
            format!("Bearer {wrong}"),
            format!("Bearer {right}x"),
            format!("Basic {right}"),
            right.to_owned(),
        ] {
            let answer = ask().header("authorization", &authorization).send().await.unwrap();
            assert_eq!(answer.headers()["www-authenticate"], "Bearer", "{authorization}");
            assert_eq!(problem(answer).await.unwrap().code, ProblemCode::Unauthorized);
        }
        let both = ask().bearer_auth(right).bearer_auth(wrong).send().await.unwrap();
        assert_eq!(both.status(), 401);
        assert_eq!(ask().send().await.unwrap().status(), 401);
        assert_eq!(ask().bearer_auth(right).send().await.unwrap().status(), status);
    }
    for open in ["/healthz", "/readyz", &format!("/campaigns/{id}"), &events_path(&id)] {
        assert_eq!(instance.get(open).send().await.unwrap().status(), 200, "{open}");
    }
    assert_eq!(instance.campaign(&id).await.issued, 1);
    let log = instance.stop();
    assert!(!log.is_empty() && log.iter().all(|line| !line.contains("sesame")), "{log:#?}");
}

#[test]
fn a_token_that_is_none_is_refused_in_one_line_and_not_shown() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"sesame").unwrap();
    let path = file.path().display().to_string();
    let line = refused(binary().args(["--admin-token-file", &path]));
    assert!(
        line.contains(&path) && line.contains("16 to 256") && !line.contains("sesame"),
        "{line}"
    );
    let line = refused(binary().env("ISSUE_TOKEN", "sesame sesame sesame"));
    assert!(line.contains("ISSUE_TOKEN") && !line.contains("sesame"), "{line}");
    let line = refused(binary().args(["--issue-token-file", "/nowhere/token"]));
    assert!(line.contains("/nowhere/token"), "{line}");
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_when_to_come_back() {
    let store = Store::sqlite();
    let (limited, free) = (store.instance_with(&["--rate-limit", "1"]), store.instance());
    let id = free.create(1_000, -1, false).await.id;
    let (started, mut admitted) = (Instant::now(), 0);
    for _ in 0..100 {
        let answer = limited.post(&coupons_path(&id)).send().await.unwrap();
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(answer.headers()["retry-after"], "1");
        }
        match told(answer).await {
            Told::Issued(_) => admitted += 1,
            other => assert_eq!(other.code(), ProblemCode::RateLimited),
        }
    }
    assert!((1..=started.elapsed().as_secs() + 1).contains(&admitted), "{admitted}");
    assert_eq!(free.campaign(&id).await.issued, admitted);
    for _ in 0..10 {
        assert_eq!(limited.get("/healthz").send().await.unwrap().status(), 200);
    }
    until(async || matches!(limited.issue(&id, None, None).await, Told::Issued(_))).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let instance = Instance::alone(&["--connections", "2"]);
    let ask = async || {
        let mut stream = TcpStream::connect(instance.address()).await.unwrap();
        // Closed or reset, if there is no place.
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut start = [0; 12];
        let answered = tokio::time::timeout(PATIENCE, stream.read_exact(&mut start)).await.unwrap();
        (answered.is_ok() && &start == b"HTTP/1.1 200").then_some(stream)
    };
    let (first, second) = (ask().await, ask().await);
    assert!(first.is_some() && second.is_some());
    for _ in 0..5 {
        assert!(ask().await.is_none());
    }
    instance.until_log("2 connections are open");
    drop(first);
    until(async || ask().await.is_some()).await;
}
