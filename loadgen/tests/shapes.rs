//! Every scenario of `scenarios/shapes`, against a small stand-in that answers in that shape.
//!
//! The stand-ins share one correct dispenser: what is tested is that loadgen understands them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/ended.rs"]
mod ended;
#[path = "support/history.rs"]
mod history;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Local, NaiveDateTime, TimeZone, Utc};
use contract::history::Kind;
use contract::outcome::{Doubt, Failure, Outcome};
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
struct Dispenser(Mutex<State>);

#[derive(Default)]
struct State {
    coupons: u64,
    issued: u64,
    starts_at: DateTime<Utc>,
    /// What will be told of each ticket, by the target that took it, and whether it was asked for.
    tickets: HashMap<(usize, String), (Option<u64>, bool)>,
    /// Reservations that are neither confirmed nor given back, and when they were made.
    held: HashMap<String, Instant>,
    reserved: u64,
}

impl Dispenser {
    fn open(&self, coupons: &Value, starts_at: DateTime<Utc>) {
        let coupons = coupons.as_u64().unwrap();
        *self.0.lock().unwrap() = State { coupons, starts_at, ..State::default() };
    }

    fn issue(&self) -> Decided {
        let mut state = self.0.lock().unwrap();
        if Utc::now() < state.starts_at {
            return Decided::NotStarted;
        }
        if state.issued == state.coupons {
            return Decided::SoldOut;
        }
        state.issued += 1;
        Decided::Issued(state.issued)
    }

    fn issued(&self) -> u64 {
        self.0.lock().unwrap().issued
    }

    /// Holds a coupon for a while; the number is the reservation's.
    fn reserve(&self) -> Decided {
        let mut state = self.0.lock().unwrap();
        if Utc::now() < state.starts_at {
            return Decided::NotStarted;
        }
        state.held.retain(|_, since| since.elapsed() < HELD);
        if state.issued + state.held.len() as u64 == state.coupons {
            return Decided::SoldOut;
        }
        state.reserved += 1;
        let number = state.reserved;
        state.held.insert(format!("r{number}"), Instant::now());
        Decided::Issued(number)
    }

    /// Turns a reservation into a coupon, unless it is too late.
    fn confirm(&self, reservation: &str) -> Option<u64> {
        let mut state = self.0.lock().unwrap();
        state.held.remove(reservation).filter(|since| since.elapsed() < HELD)?;
        state.issued += 1;
        Some(state.issued)
    }
}

/// How long a reservation is held.
const HELD: Duration = Duration::from_millis(300);

/// A request with its body read.
struct Asked {
    /// Which of the stand-ins was asked, and its address.
    target: usize,
    authority: String,
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

/// Tickets are known to the target that took them, and to no other.
fn accepted_then_poll(dispenser: &Dispenser, asked: &Asked) -> Answer {
    let path = asked.uri.path();
    if path == "/launches" {
        let starts = asked.json["opensAt"].as_str().unwrap().parse().unwrap();
        dispenser.open(&asked.json["stock"], starts);
        return json_answer(201, &json!({"launch": {"id": 31}}));
    }
    if let Some(ticket) = path.strip_prefix("/tickets/") {
        assert_eq!(asked.uri.query(), Some("v=1"), "the query belongs to the URL");
        return ticket_state(dispenser, asked.target, ticket);
    }
    assert_eq!(path, "/launches/31/entries");
    let coupon = match dispenser.issue() {
        Decided::Issued(n) => Some(n),
        Decided::SoldOut => None,
        Decided::NotStarted => return json_answer(425, &json!({})),
    };
    let ticket = asked.json["member"].as_str().unwrap().to_owned();
    let path = format!("/tickets/{ticket}?v=1");
    dispenser.0.lock().unwrap().tickets.insert((asked.target, ticket), (coupon, false));
    // One of them gives a whole URL, the other a path.
    let host =
        if asked.target == 0 { format!("http://{}", asked.authority) } else { String::new() };
    (202, vec![("location", host + &path)], String::new())
}

fn ticket_state(dispenser: &Dispenser, target: usize, ticket: &str) -> Answer {
    let mut state = dispenser.0.lock().unwrap();
    match state.tickets.get_mut(&(target, ticket.to_owned())) {
        None => json_answer(404, &json!({})),
        Some((_, asked @ false)) => {
            *asked = true;
            json_answer(200, &json!({"state": "WAITING"}))
        }
        Some((Some(n), true)) => {
            let coupon = json!({"code": code(*n), "orderId": n});
            json_answer(200, &json!({"state": "WON", "coupon": coupon}))
        }
        Some((None, true)) => json_answer(200, &json!({"state": "SOLD_OUT"})),
    }
}

fn accepted_no_status(dispenser: &Dispenser, asked: &Asked) -> Answer {
    if asked.uri.path() == "/api/events" {
        let starts = DateTime::from_timestamp_millis(asked.json["openAt"].as_i64().unwrap());
        dispenser.open(&asked.json["quantity"], starts.unwrap());
        return json_answer(200, &json!({"eventId": "e-4"}));
    }
    assert_eq!(asked.uri.path(), "/api/events/e-4/apply");
    match dispenser.issue() {
        Decided::Issued(_) | Decided::SoldOut => (202, vec![], String::new()),
        Decided::NotStarted => json_answer(400, &json!({"reason": "NOT_OPEN"})),
    }
}

fn reserve_and_confirm(dispenser: &Dispenser, asked: &Asked) -> Answer {
    if asked.uri.path() == "/sales" {
        let starts = DateTime::from_timestamp_millis(asked.json["from"].as_i64().unwrap());
        dispenser.open(&asked.json["stock"], starts.unwrap());
        return json_answer(201, &json!({"saleId": 8}));
    }
    assert!(asked.json["buyer"].is_string());
    if let Some(rest) = asked.uri.path().strip_prefix("/reservations/") {
        return match dispenser.confirm(rest.strip_suffix("/confirm").unwrap()) {
            Some(n) => json_answer(200, &json!({"code": code(n)})),
            None => json_answer(410, &json!({})),
        };
    }
    assert_eq!(asked.uri.path(), "/sales/8/reservations");
    match dispenser.reserve() {
        Decided::Issued(n) => json_answer(201, &json!({"reservation": {"id": format!("r{n}")}})),
        Decided::SoldOut => json_answer(409, &json!({})),
        Decided::NotStarted => json_answer(403, &json!({})),
    }
}

/// Stand-ins of one shape that share a dispenser. They serve for as long as this lives.
struct StandIns {
    urls: Vec<String>,
    dispenser: Arc<Dispenser>,
    _runtime: tokio::runtime::Runtime,
}

fn serve(shape: Shape, targets: usize) -> StandIns {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dispenser = Arc::new(Dispenser::default());
    let mut urls = Vec::new();
    for target in 0..targets {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        urls.push(format!("http://{authority}"));
        let dispenser = Arc::clone(&dispenser);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (dispenser, authority) = (Arc::clone(&dispenser), authority.clone());
                let service = service_fn(move |request| {
                    let (dispenser, authority) = (Arc::clone(&dispenser), authority.clone());
                    async move {
                        let asked = read(request, target, authority).await?;
                        Ok::<_, hyper::Error>(response(shape(&dispenser, &asked)))
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
    }
    StandIns { urls, dispenser, _runtime: runtime }
}

async fn read(
    request: Request<Incoming>,
    target: usize,
    authority: String,
) -> hyper::Result<Asked> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let json = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Asked { target, authority, uri: head.uri, headers: head.headers, json })
}

fn response((status, headers, body): Answer) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Full::from(body)).unwrap()
}

fn shapes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/shapes")
}

/// A run of a scenario against stand-ins.
struct Ran {
    dir: tempfile::TempDir,
    text: String,
    issued: u64,
}

impl Ran {
    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("run").join(name)).unwrap()
    }

    fn summary(&self) -> Value {
        serde_json::from_str(&self.file("summary.json")).unwrap()
    }

    fn operations(&self) -> Vec<history::Operation> {
        history::operations(&self.dir.path().join("run"))
    }

    fn count(&self, outcome: &str) -> u64 {
        self.summary()["outcomes"][outcome].as_u64().unwrap()
    }
}

/// Runs the scenario against so many stand-ins. The run is sound.
fn ran(scenario: &str, shape: Shape, targets: usize) -> Ran {
    let system = serve(shape, targets);
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.arg("run").arg(shapes().join(scenario)).arg("--out").arg(dir.path().join("run"));
    system.urls.iter().for_each(|url| _ = command.args(["--target", url]));
    let output = ended::in_time(&mut command);
    let text = ended::text(&output);
    ended::assert_sound(output.status.code(), &text);
    Ran { dir, text, issued: system.dispenser.issued() }
}

/// The same with all coupons, nothing unclear, nothing unclassified.
fn understands(scenario: &str, shape: Shape, targets: usize) -> Ran {
    let ran = ran(scenario, shape, targets);
    assert_eq!((ran.count("issued"), ran.count("indeterminate")), (100, 0), "{}", ran.text);
    for refusal in ["sold_out", "not_started"] {
        assert!(ran.count(refusal) > 0, "{refusal}: {}", ran.text);
    }
    ran
}

/// Probes the system of the scenario with stand-ins; gives the exit code and what was printed.
fn probed(scenario: &str, shape: Shape, set: &[&str]) -> (Option<i32>, String) {
    let system = serve(shape, 1);
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.current_dir(dir.path()).arg("probe").arg(shapes().join(scenario));
    let output = command.args(["--target", &system.urls[0]]).args(set).output().unwrap();
    (output.status.code(), ended::text(&output))
}

/// The probe understands every answer and says all of this.
fn probe_says(scenario: &str, shape: Shape, wanted: &[&str]) -> String {
    let (code, text) = probed(scenario, shape, &[]);
    assert_eq!(code, Some(0), "{text}");
    for want in wanted {
        assert!(text.contains(want), "{text}\nlacks {want}");
    }
    text
}

#[test]
fn connect_that_answers_200_with_an_error_in_the_body() {
    understands("connect-200-with-error.yaml", connect, 1);
}

#[test]
fn only_the_message_of_a_500_tells() {
    understands("message-only.yaml", message_only, 1);
}

#[test]
fn sold_out_is_429() {
    understands("sold-out-429.yaml", sold_out_429, 1);
}

#[test]
fn the_user_comes_from_a_token() {
    let run = understands("jwt-header.yaml", jwt_header, 1);
    assert!(
        !run.file("run.json").contains("a-secret-of-this-example"),
        "no secret is written down"
    );
}

#[test]
fn there_is_no_user_and_no_json() {
    understands("no-user.yaml", no_user, 1);
}

#[test]
fn an_accepted_request_is_polled_where_it_was_accepted() {
    let run = understands("accepted-then-poll.yaml", accepted_then_poll, 2);
    assert_eq!(run.issued, 100);
    let operations = run.operations();
    let of = |kind| operations.iter().filter(move |(i, _)| i.kind == kind);
    let accepted: HashMap<u64, _> = of(Kind::Issue)
        .filter(|(_, c)| c.outcome != Outcome::NotStarted)
        .map(|(i, c)| (i.op, (i, c)))
        .collect();
    // Each was told to wait once, and then what came of it.
    for (poll, told) in of(Kind::Poll) {
        let (asked, decided) = accepted[&poll.follows.unwrap()];
        assert_eq!((poll.target, &poll.user), (asked.target, &asked.user));
        assert!(decided.accepted.unwrap() <= poll.at && told.at <= decided.at);
        assert!(told.outcome == Outcome::Pending || told.outcome == decided.outcome);
    }
    let pending = of(Kind::Poll).filter(|(_, c)| c.outcome == Outcome::Pending).count();
    assert_eq!((of(Kind::Poll).count(), pending), (2 * accepted.len(), accepted.len()));
    for (_, c) in accepted.values() {
        if let Outcome::Issued(coupon) = &c.outcome {
            assert!(coupon.code.ends_with(coupon.order.as_deref().unwrap()), "{coupon:?}");
        }
    }
    assert_eq!(run.summary()["steps"]["polls"], 2 * accepted.len());
    let targets = accepted.values().map(|(i, _)| i.target.unwrap()).collect::<Vec<_>>();
    assert!(targets.contains(&0) && targets.contains(&1));
}

#[test]
fn a_request_that_nobody_decides_is_in_doubt_and_the_run_is_sound() {
    let run = ran("accepted-no-status.yaml", accepted_no_status, 1);
    let summary = run.summary();
    assert_eq!(run.issued, 100, "only the ledger knows");
    assert_eq!(summary["accounting"]["holds"], true);
    assert!(run.count("not_started") > 0 && run.count("indeterminate") > 100, "{}", run.text);
    assert_eq!(summary["doubts"], json!({"accepted, never decided": run.count("indeterminate")}));
    for (_, c) in run.operations() {
        let undecided = c.outcome == Outcome::Indeterminate(Doubt::Undecided);
        assert_eq!((undecided, c.accepted.is_some()), (c.status == Some(202), undecided), "{c:?}");
    }
}

#[test]
fn a_reservation_is_confirmed_now_too_late_or_never() {
    let run = ran("reserve-and-confirm.yaml", reserve_and_confirm, 1);
    assert_eq!((run.count("issued"), run.issued <= 100), (run.issued, true), "{}", run.text);
    assert!(run.issued > 0 && run.count("sold_out") > 0 && run.count("not_started") > 0);
    let operations = run.operations();
    let of = |kind| operations.iter().filter(move |(i, _)| i.kind == kind);
    let reserved: HashMap<u64, _> =
        of(Kind::Issue).filter_map(|(i, c)| Some((i.op, (i, c, c.accepted?)))).collect();
    let mut late = 0;
    for (confirm, told) in of(Kind::Confirm) {
        let (asked, decided, accepted) = reserved[&confirm.follows.unwrap()];
        assert_eq!((&told.outcome, &confirm.user), (&decided.outcome, &asked.user));
        assert!(confirm.at >= accepted && decided.at >= told.at);
        if confirm.at - accepted >= 600_000_000 {
            late += 1;
            assert_eq!(told.outcome, Outcome::Failed(Failure::Rejected));
        }
    }
    let never = Outcome::Indeterminate(Doubt::Unconfirmed);
    let never = reserved.values().filter(|(_, c, _)| c.outcome == never).count();
    assert_eq!(reserved.len(), of(Kind::Confirm).count() + never);
    assert!(late > 0 && never > 0, "{late} {never}");
    assert_eq!(run.summary()["doubts"], json!({"reserved, not confirmed": never}));
    assert_eq!(run.summary()["steps"]["confirms"], of(Kind::Confirm).count());
}

#[test]
fn a_probe_shows_what_each_answer_means() {
    let text = probe_says(
        "jwt-header.yaml",
        jwt_header,
        &[
            "{campaign} is c9",
            "=> not started (rule 4)",
            "=> issued, code \"가나다00001\", seq -, remaining - (rule 1)",
            "-> 200 {\"result\":\"LOST\"}",
            "=> sold out (rule 2)",
        ],
    );
    assert!(!text.contains("a-secret-of-this-example"), "{text}");
    let set = ["--set", "mapping.outcomes=[{status: 200, is: failed}]"];
    let (code, text) = probed("jwt-header.yaml", jwt_header, &set);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("NOT UNDERSTOOD: add a rule"), "{text}");
}

#[test]
fn a_probe_follows_what_is_accepted_or_reserved() {
    probe_says(
        "accepted-then-poll.yaml",
        accepted_then_poll,
        &[
            "=> accepted {ticket} is captured, ",
            "  GET /tickets/u",
            "=> pending (rule 1)",
            "=> issued, code \"가나다00001\", seq -, remaining -, order \"1\" (rule 2)",
            "=> sold out (rule 3)",
        ],
    );
    let text = probe_says("accepted-no-status.yaml", accepted_no_status, &["=> accepted (rule 1)"]);
    assert!(text.contains("=> not started (rule 2)"), "{text}");
    probe_says(
        "reserve-and-confirm.yaml",
        reserve_and_confirm,
        &[
            "=> reserved {reservation} is captured, 2 characters (rule 1)",
            "  POST /reservations/r1/confirm",
            "=> issued, code \"가나다00001\"",
            "=> sold out (rule 2)",
        ],
    );
}

#[test]
fn every_shape_has_a_test() {
    let tested = concat!(include_str!("shapes.rs"), include_str!("protocols.rs"));
    for entry in std::fs::read_dir(shapes()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let runs = ["understands", "ran"].map(|run| format!("{run}(\"{name}\""));
        assert!(runs.iter().any(|run| tested.contains(run)), "{name}");
    }
}
