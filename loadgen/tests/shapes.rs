//! Every scenario of `scenarios/shapes`, against a small stand-in that answers in that shape.
//!
//! The stand-ins share one correct dispenser: what is tested is that loadgen understands them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::{DateTime, Local, NaiveDateTime, TimeZone, Utc};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the dispenser decided.
enum Decided {
    Issued(u64),
    SoldOut,
    NotStarted,
}

/// A correct campaign: N coupons, never early.
#[derive(Default)]
struct Dispenser(Mutex<(u64, u64, DateTime<Utc>)>);

impl Dispenser {
    fn open(&self, coupons: &Value, starts_at: DateTime<Utc>) {
        *self.0.lock().unwrap() = (coupons.as_u64().unwrap(), 0, starts_at);
    }

    fn issue(&self) -> Decided {
        let mut state = self.0.lock().unwrap();
        if Utc::now() < state.2 {
            return Decided::NotStarted;
        }
        if state.1 == state.0 {
            return Decided::SoldOut;
        }
        state.1 += 1;
        Decided::Issued(state.1)
    }
}

/// A request with its body read.
struct Asked {
    uri: Uri,
    headers: HeaderMap,
    json: Value,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    fn query(&self, name: &str) -> &str {
        let pairs = self.uri.query().unwrap_or_default().split('&');
        pairs.filter_map(|p| p.split_once('=')).find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    }
}

type Answer = (u16, Vec<(&'static str, String)>, String);
type Shape = fn(&Dispenser, &Asked) -> Answer;

fn code(n: u64) -> String {
    format!("가나다{n:05}")
}

fn json_answer(status: u16, body: &Value) -> Answer {
    (status, vec![], body.to_string())
}

fn connect(dispenser: &Dispenser, asked: &Asked) -> Answer {
    if asked.uri.path().ends_with("/CreateCampaign") {
        let starts = asked.json["startsAt"].as_str().unwrap().parse().unwrap();
        dispenser.open(&asked.json["totalCount"], starts);
        return json_answer(200, &json!({"campaignId": "77"}));
    }
    assert_eq!(
        (&asked.json["campaignId"], asked.header("connect-protocol-version")),
        (&json!("77"), "1")
    );
    let error = |code: &str| json_answer(200, &json!({"error": {"code": code}}));
    match dispenser.issue() {
        // The last one has no `remaining`: protojson drops zero.
        Decided::Issued(100) => json_answer(200, &json!({"coupon": {"code": code(100)}})),
        Decided::Issued(n) => {
            let coupon = json!({"code": code(n), "remaining": (100 - n).to_string()});
            json_answer(200, &json!({"coupon": coupon}))
        }
        Decided::SoldOut => error("resource_exhausted"),
        Decided::NotStarted => error("failed_precondition"),
    }
}

fn message_only(dispenser: &Dispenser, asked: &Asked) -> Answer {
    if asked.uri.path() == "/api/coupons" {
        let text = asked.json["startTime"].as_str().unwrap();
        let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").unwrap();
        dispenser
            .open(&asked.json["quantity"], Local.from_local_datetime(&local).unwrap().to_utc());
        return json_answer(200, &json!({"id": 5}));
    }
    assert_eq!(asked.uri.path(), "/api/coupons/5/issue");
    assert!(asked.query("memberId").parse::<u64>().is_ok());
    let refusal = |text: &str| json_answer(500, &json!({"code": "unknown", "message": text}));
    match dispenser.issue() {
        Decided::Issued(n) => json_answer(200, &json!({"couponCode": code(n), "no": n})),
        Decided::SoldOut => refusal("잔여 쿠폰 없음"),
        Decided::NotStarted => refusal("시작 전입니다"),
    }
}

fn sold_out_429(dispenser: &Dispenser, asked: &Asked) -> Answer {
    if asked.uri.path() == "/admin/events/launch" {
        let starts = DateTime::from_timestamp_millis(asked.json["openAt"].as_i64().unwrap());
        dispenser.open(&asked.json["stock"], starts.unwrap());
        return (204, vec![], String::new());
    }
    assert!(asked.header("x-user-id").starts_with('u'));
    assert_eq!(asked.header("idempotency-key").len(), 36);
    match dispenser.issue() {
        Decided::Issued(n) => (201, vec![("x-coupon-code", format!("C{n:08}"))], String::new()),
        Decided::SoldOut => (429, vec![], String::new()),
        Decided::NotStarted => (403, vec![], String::new()),
    }
}

fn jwt_header(dispenser: &Dispenser, asked: &Asked) -> Answer {
    if asked.uri.path() == "/campaigns" {
        let starts = DateTime::from_timestamp(asked.json["starts"].as_i64().unwrap(), 0).unwrap();
        dispenser.open(&asked.json["total"], starts);
        return json_answer(201, &json!({"id": "c9"}));
    }
    let token = asked.header("authorization").strip_prefix("Bearer ").unwrap();
    assert_eq!(token.split('.').filter(|part| !part.is_empty()).count(), 3, "{token}");
    match dispenser.issue() {
        Decided::Issued(n) => json_answer(200, &json!({"result": "WON", "code": code(n)})),
        Decided::SoldOut => json_answer(200, &json!({"result": "LOST"})),
        Decided::NotStarted => json_answer(425, &json!({})),
    }
}

fn no_user(dispenser: &Dispenser, asked: &Asked) -> Answer {
    if asked.uri.path() == "/open" {
        let starts = DateTime::from_timestamp_millis(asked.query("at").parse().unwrap()).unwrap();
        dispenser.open(&json!(asked.query("stock").parse::<u64>().unwrap()), starts);
        return (204, vec![], String::new());
    }
    match dispenser.issue() {
        Decided::Issued(n) => (200, vec![], code(n) + "\n"),
        Decided::SoldOut => (200, vec![], String::new()),
        Decided::NotStarted => (404, vec![], "not open yet".into()),
    }
}

/// Serves a shape for as long as the runtime lives.
fn serve(shape: Shape) -> (String, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move {
        let dispenser = Arc::new(Dispenser::default());
        while let Ok((stream, _)) = listener.accept().await {
            let dispenser = Arc::clone(&dispenser);
            let service = service_fn(move |request| answer(request, shape, Arc::clone(&dispenser)));
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, runtime)
}

async fn answer(
    request: Request<Incoming>,
    shape: Shape,
    dispenser: Arc<Dispenser>,
) -> hyper::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let json = serde_json::from_slice(&body).unwrap_or_default();
    let asked = Asked { uri: head.uri, headers: head.headers, json };
    let (status, headers, body) = shape(&dispenser, &asked);
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::from(body)).unwrap())
}

fn shapes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/shapes")
}

/// Runs the scenario against its stand-in: all coupons, nothing unclear, nothing unclassified.
fn understands(scenario: &str, shape: Shape) -> String {
    let (url, _runtime) = serve(shape);
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.arg("run").arg(shapes().join(scenario)).args(["--target", &url]).arg("--out").arg(&run);
    let output = command.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let read = |name: &str| std::fs::read_to_string(run.join(name)).unwrap();
    let summary: Value = serde_json::from_str(&read("summary.json")).unwrap();
    let outcomes = &summary["outcomes"];
    assert_eq!(
        (&outcomes["issued"], &outcomes["indeterminate"]),
        (&json!(100), &json!(0)),
        "{text}"
    );
    for refusal in ["sold_out", "not_started"] {
        assert!(outcomes[refusal].as_u64().unwrap() > 0, "{refusal}: {text}");
    }
    read("run.json")
}

#[test]
fn connect_that_answers_200_with_an_error_in_the_body() {
    understands("connect-200-with-error.yaml", connect);
}

#[test]
fn only_the_message_of_a_500_tells() {
    understands("message-only.yaml", message_only);
}

#[test]
fn sold_out_is_429() {
    understands("sold-out-429.yaml", sold_out_429);
}

#[test]
fn the_user_comes_from_a_token() {
    let run = understands("jwt-header.yaml", jwt_header);
    assert!(!run.contains("a-secret-of-this-example"), "no secret is written down");
}

#[test]
fn there_is_no_user_and_no_json() {
    understands("no-user.yaml", no_user);
}

#[test]
fn a_probe_shows_what_each_answer_means() {
    let (url, _runtime) = serve(jwt_header);
    let dir = tempfile::tempdir().unwrap();
    let probe = |set: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command.current_dir(dir.path()).arg("probe").arg(shapes().join("jwt-header.yaml"));
        let output = command.args(["--target", &url]).args(set).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = probe(&[]);
    assert_eq!(code, Some(0), "{text}");
    for want in [
        "{campaign} is c9",
        "=> not started (rule 4)",
        "=> issued, code \"가나다00001\", seq -, remaining - (rule 1)",
        "-> 200 {\"result\":\"LOST\"}",
        "=> sold out (rule 2)",
    ] {
        assert!(text.contains(want), "{text}\nlacks {want}");
    }
    assert!(!text.contains("a-secret-of-this-example"), "{text}");
    let (code, text) = probe(&["--set", "mapping.outcomes=[{status: 200, is: failed}]"]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("NOT UNDERSTOOD: add a rule"), "{text}");
}

#[test]
fn every_shape_has_a_test() {
    let tested = include_str!("shapes.rs");
    for entry in std::fs::read_dir(shapes()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(tested.contains(&format!("understands(\"{name}\"")), "{name}");
    }
}
