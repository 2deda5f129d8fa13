//! Every way in which a request can be wrong, and what every answer carries.

use contract::wire::{ProblemCode, coupons_path, header};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::instance::{Instance, PATIENCE, Store, problem};

#[tokio::test]
async fn wrong_requests_get_their_status_and_the_name_of_the_field() {
    let instance = Instance::alone(&[]);
    let id = instance.create(1, -1, false).await.id;
    let coupons = coupons_path(&id);
    let cases = [
        ("/campaigns", "{", ProblemCode::BadJson, None),
        ("/campaigns", "", ProblemCode::BadJson, None),
        ("/campaigns", "[]", ProblemCode::Invalid, Some("body")),
        (
            "/campaigns",
            r#"{"name":"a","coupons":-1,"starts_at":"2026-01-01T00:00:00Z"}"#,
            ProblemCode::Invalid,
            Some("coupons"),
        ),
        (&coupons, r#"{"user":""}"#, ProblemCode::Invalid, Some("user")),
        (&coupons, r#"{"usr":"a"}"#, ProblemCode::Invalid, Some("usr")),
        (&coupons, "nonsense", ProblemCode::BadJson, None),
    ];
    for (path, body, code, field) in cases {
        let answer = instance.post(path).body(body).send().await.unwrap();
        let problem = problem(answer).await.unwrap();
        assert_eq!((problem.code, problem.field.as_deref()), (code, field), "{path} {body}");
    }
    let too_long = "x".repeat(129);
    for key in ["", "a b", too_long.as_str()] {
        let request = instance.post(&coupons).header(header::IDEMPOTENCY_KEY, key);
        let problem = problem(request.send().await.unwrap()).await.unwrap();
        assert_eq!(problem.field.as_deref(), Some(header::IDEMPOTENCY_KEY), "{key:?}");
    }
    assert_eq!(instance.campaign(&id).await.issued, 0);
}

#[tokio::test]
async fn long_bodies_are_refused() {
    let instance = Instance::alone(&[]);
    let id = instance.create(1, -1, false).await.id;
    for length in [16 * 1024 + 1, 200 * 1024] {
        let request = instance.post(&coupons_path(&id)).body(" ".repeat(length));
        let problem = problem(request.send().await.unwrap()).await.unwrap();
        assert_eq!(problem.code, ProblemCode::TooLarge);
    }
    let padded = " ".repeat(16 * 1024 - 2) + "{}";
    let answer = instance.post(&coupons_path(&id)).body(padded).send().await.unwrap();
    assert_eq!(answer.status(), 201);
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let instance = Instance::alone(&[]);
    let answer = instance.get("/nothing").send().await.unwrap();
    assert_eq!(problem(answer).await.unwrap().code, ProblemCode::NotFound);
    let cases = [
        ("/campaigns", "POST"),
        ("/campaigns/1", "GET, HEAD"),
        ("/campaigns/1/coupons", "GET, HEAD, POST"),
        ("/healthz", "GET, HEAD"),
    ];
    for (path, allow) in cases {
        let url = format!("{}{path}", instance.url);
        let answer = instance.client.request(Method::DELETE, url).send().await.unwrap();
        assert_eq!(answer.headers()["allow"], allow);
        assert_eq!(problem(answer).await.unwrap().code, ProblemCode::MethodNotAllowed);
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let instance = Instance::alone(&[]);
    let id = instance.create(1, -1, false).await.id;
    let http2 = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        (&*format!("/campaigns/{id}"), 200),
        (&*coupons_path(&id), 200),
        ("/campaigns/99", 404),
        ("/campaigns", 405),
        ("/nothing", 404),
    ] {
        let url = format!("{}{path}", instance.url);
        for client in [&instance.client, &http2] {
            let got = client.get(&url).send().await.unwrap();
            let head = client.head(&url).send().await.unwrap();
            assert_eq!((head.status(), got.status().as_u16()), (got.status(), status), "{path}");
            for name in ["content-type", "content-length"] {
                assert_eq!(head.headers().get(name), got.headers().get(name), "{path} {name}");
            }
            assert!(head.headers().contains_key(header::SERVER_TIME));
            assert_eq!(head.bytes().await.unwrap(), "");
        }
    }
}

#[tokio::test]
async fn queries_are_known_and_there_once() {
    let instance = Instance::alone(&[]);
    let id = instance.create(1, -1, false).await.id;
    let coupons = coupons_path(&id);
    for (request, field) in [
        (instance.get(&format!("{coupons}?limit=1&limit=1")), "limit"),
        (instance.get(&format!("{coupons}?before=1")), "before"),
        (instance.get(&format!("/campaigns/{id}?after=1")), "after"),
        (instance.post(&format!("{coupons}?user=u")), "user"),
        (instance.post("/campaigns?dry").body("{}"), "dry"),
        (instance.get("/healthz?x=1"), "x"),
    ] {
        let problem = problem(request.send().await.unwrap()).await.unwrap();
        assert_eq!((problem.code, problem.field.as_deref()), (ProblemCode::Invalid, Some(field)));
    }
    assert_eq!(instance.campaign(&id).await.issued, 0);
}

#[tokio::test]
async fn every_answer_says_who_and_when() {
    let store = Store::sqlite();
    let instance = store.instance_with(&["--instance-id", "api-7"]);
    let id = instance.create(1, -1, false).await.id;
    let requests = [
        instance.get("/healthz"),
        instance.get("/nothing"),
        instance.get(&format!("/campaigns/{id}")),
        instance.post(&coupons_path(&id)),
        instance.post(&coupons_path(&id)),
        instance.post("/campaigns").body("{"),
        instance.post("/campaigns").body("x".repeat(20_000)),
    ];
    for request in requests {
        let answer = request.header(header::REQUEST_ID, "mine-1").send().await.unwrap();
        let headers = answer.headers();
        assert_eq!(headers[header::INSTANCE], "api-7");
        assert_eq!(headers[header::REQUEST_ID], "mine-1");
        assert!(!headers.contains_key(header::MUTANT));
        let time = headers[header::SERVER_TIME].to_str().unwrap();
        let parsed = chrono::DateTime::parse_from_rfc3339(time).unwrap();
        assert!((chrono::Utc::now() - parsed.to_utc()).num_seconds().abs() < 5);
        assert!(time.ends_with('Z') && time.len() == "2026-11-21T00:00:00.000000Z".len(), "{time}");
    }
    let answer = instance.get("/healthz").send().await.unwrap();
    assert_eq!(answer.headers()[header::REQUEST_ID].len(), 16);
}

/// What hyper answers by itself, before there is a request that anybody could be asked about.
#[tokio::test]
async fn what_is_no_request_is_answered_without_a_body_and_ends_the_connection() {
    let instance = Instance::alone(&[]);
    let many = "x-n: 1\r\n".repeat(101);
    for (head, status) in [
        ("nonsense\r\n\r\n".to_owned(), "400 Bad Request"),
        ("GET / HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n".to_owned(), "400 Bad Request"),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_owned(), "400 Bad Request"),
        (format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(65_534)), "414 URI Too Long"),
        (format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n"), "431 Request Header Fields Too Large"),
    ] {
        let mut stream = TcpStream::connect(instance.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let reading = stream.read_to_string(&mut answer);
        tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(
            answer.contains("connection: close\r\n") && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
        assert!(!answer.contains(header::INSTANCE), "{answer}");
    }
}
