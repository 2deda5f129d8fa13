//! HTTP/2 in the clear, HTTP/2 and HTTP/1.1 over TLS: every arrival is accounted for, with what the
//! protocol says of requests that were not looked at.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/ended.rs"]
mod ended;
mod tls;

use std::convert::Infallible;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// How many coupons the stand-in has.
const COUPONS: u64 = 30;
/// After so many requests of one connection it says goodbye, where it does.
const FAREWELL: u64 = 20;

/// What the stand-in does with requests for a coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Answers them all.
    Serves,
    /// Says of each fourth that it did not look at it.
    Refuses,
    /// Ends each fourth by a reset.
    Resets,
    /// Says goodbye to each connection, and answers what is under way.
    LeavesPolitely,
    /// Says goodbye to each connection, and answers nothing any more, as servers do that have counted
    /// too many resets.
    LeavesAbruptly,
}

/// What reached the stand-in.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicU64,
    requests: AtomicU64,
    /// Those that it answered.
    answered: AtomicU64,
}

impl Seen {
    fn connections(&self) -> u64 {
        self.connections.load(SeqCst)
    }

    fn requests(&self) -> u64 {
        self.requests.load(SeqCst)
    }

    fn answered(&self) -> u64 {
        self.answered.load(SeqCst)
    }

    /// The answer to a request: no matter which buyer asks, the first get a coupon.
    fn answer(&self, path: &str) -> (u16, String) {
        match path {
            "/open" => return (204, String::new()),
            "/sales" => return (201, r#"{"id":"s7"}"#.into()),
            "/coupon.v1.CouponService/CreateCampaign" => {
                return (200, r#"{"campaignId":"77"}"#.into());
            }
            _ => {}
        }
        let number = self.answered.fetch_add(1, SeqCst);
        let code = (number < COUPONS).then(|| format!("CODE{number:04}"));
        match (path, code) {
            ("/claim", Some(code)) => (200, code),
            ("/claim", None) => (409, String::new()),
            ("/sales/s7/coupons", Some(code)) => (201, format!(r#"{{"code":"{code}"}}"#)),
            ("/sales/s7/coupons", None) => (410, String::new()),
            ("/coupon.v1.CouponService/IssueCoupon", Some(code)) => {
                (200, format!(r#"{{"coupon":{{"code":"{code}"}}}}"#))
            }
            ("/coupon.v1.CouponService/IssueCoupon", None) => {
                (200, r#"{"error":{"code":"resource_exhausted"}}"#.into())
            }
            (other, _) => panic!("asked for {other}"),
        }
    }
}

/// Whether a request is one for a coupon, and not of the set-up.
fn is_claim(path: &str) -> bool {
    !matches!(path, "/open" | "/sales" | "/coupon.v1.CouponService/CreateCampaign")
}

/// A system of the simplest kind.
struct StandIn {
    url: String,
    seen: Arc<Seen>,
    _runtime: tokio::runtime::Runtime,
}

impl StandIn {
    /// Speaks HTTP/2 in the clear.
    fn h2c(manner: Manner) -> Self {
        Self::start(manner, None)
    }

    /// Speaks HTTP/2 or HTTP/1.1 over TLS; its certificate is in `file` then.
    fn tls(file: &Path) -> Self {
        Self::start(Manner::Serves, Some(tls::acceptor(file, &["h2", "http/1.1"])))
    }

    fn start(manner: Manner, tls: Option<TlsAcceptor>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Seen::default());
        let counts = Arc::clone(&seen);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counts.connections.fetch_add(1, SeqCst);
                tokio::spawn(speak(stream, manner, tls.clone(), Arc::clone(&counts)));
            }
        });
        Self { url, seen, _runtime: runtime }
    }
}

async fn speak(stream: TcpStream, manner: Manner, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    stream.set_nodelay(true).unwrap();
    let Some(tls) = tls else {
        return http2(stream, manner, seen).await;
    };
    // A client that does not trust us goes away.
    let Ok(stream) = tls.accept(stream).await else { return };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => http2(stream, manner, seen).await,
        _ => http1(stream, seen).await,
    }
}

/// Frame by frame, since a server does not do on purpose what is tested here.
async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin, manner: Manner, seen: Arc<Seen>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut mine = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        mine += u64::from(is_claim(request.uri().path()));
        if mine >= FAREWELL && manner == Manner::LeavesAbruptly {
            seen.requests.fetch_add(1, SeqCst);
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            continue;
        }
        if mine == FAREWELL && manner == Manner::LeavesPolitely {
            connection.graceful_shutdown();
        }
        tokio::spawn(answer_http2(request, respond, manner, Arc::clone(&seen)));
    }
}

async fn answer_http2(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    manner: Manner,
    seen: Arc<Seen>,
) {
    let (head, mut body) = request.into_parts();
    while let Some(part) = body.data().await {
        let Ok(part) = part else { return };
        body.flow_control().release_capacity(part.len()).unwrap();
    }
    let count = match is_claim(head.uri.path()) {
        true => seen.requests.fetch_add(1, SeqCst) + 1,
        false => 0,
    };
    let reset = match manner {
        Manner::Refuses => Some(Reason::REFUSED_STREAM),
        Manner::Resets => Some(Reason::INTERNAL_ERROR),
        Manner::Serves | Manner::LeavesPolitely | Manner::LeavesAbruptly => None,
    };
    if let Some(reason) = reset
        && count % 4 == 1
    {
        return respond.send_reset(reason);
    }
    let (status, text) = seen.answer(head.uri.path());
    let head = Response::builder().status(status).body(()).unwrap();
    if let Ok(mut body) = respond.send_response(head, text.is_empty())
        && !text.is_empty()
    {
        body.send_data(text.into(), true).unwrap();
    }
}

async fn http1(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seen: Arc<Seen>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&seen)));
    let http = hyper::server::conn::http1::Builder::new();
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Seen>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    seen.requests.fetch_add(u64::from(is_claim(&path)), SeqCst);
    request.collect().await.unwrap();
    let (status, text) = seen.answer(&path);
    Ok(Response::builder().status(status).body(text.into()).unwrap())
}

const SCENARIO: &str = r#"name: s
campaign: { coupons: 30, starts_in: 500ms }
system: { targets: ["http://127.0.0.1:1"], protocol: http2 }
mapping:
  setup: [{ request: { path: /open }, expect: 204 }]
  request: { path: /claim, json: { user: "{user}" } }
  outcomes:
    - { status: 200, is: issued, code: body }
    - { status: 409, is: sold_out }
load:
  begin: 0s
  stages: [{ for: 500ms, rate: 400 }]
"#;

/// What a run left behind.
struct Outcome {
    code: Option<i32>,
    text: String,
    summary: Value,
}

impl Outcome {
    /// A number of the summary.
    fn count(&self, part: &str, key: &str) -> u64 {
        self.summary[part][key].as_u64().unwrap_or(0)
    }

    /// Everything was sent and every figure adds up.
    fn adds_up(&self) -> bool {
        self.summary["accounting"]["holds"].as_bool().unwrap()
            && self.count("accounting", "planned") == self.count("accounting", "sent")
    }
}

fn run(url: &str, set: &[&str]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let scenario = dir.path().join("s.yaml");
    std::fs::write(&scenario, SCENARIO).unwrap();
    ran(&scenario, url, set)
}

fn ran(scenario: &Path, url: &str, set: &[&str]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.current_dir(dir.path()).arg("run").arg(scenario);
    command.args(["--out", "run", "--target", url]);
    command.args(set.iter().flat_map(|assignment| ["--set", assignment]));
    let output = ended::in_time(&mut command);
    let text = ended::text(&output);
    let summary = std::fs::read(dir.path().join("run/summary.json")).unwrap_or_default();
    let summary = serde_json::from_slice(&summary).unwrap_or_default();
    Outcome { code: output.status.code(), text, summary }
}

/// Every request was answered, the right number of them with a coupon.
fn is_exact(outcome: &Outcome, seen: &Seen) {
    ended::assert_sound(outcome.code, &outcome.text);
    let got = ["issued", "sold_out"].map(|key| outcome.count("outcomes", key));
    assert_eq!(got, [COUPONS, 200 - COUPONS], "{}", outcome.text);
    assert!(outcome.adds_up() && seen.requests() == 200, "{}", outcome.text);
}

fn trusting(file: &Path) -> String {
    format!("system.tls={{ca: {}}}", file.display())
}

#[test]
fn http2_in_the_clear_is_exact_on_few_connections() {
    let system = StandIn::h2c(Manner::Serves);
    is_exact(&run(&system.url, &[]), &system.seen);
    // One of the set-up, one of the load.
    assert_eq!(system.seen.connections(), 2);
}

#[test]
fn http2_over_tls_is_exact_on_few_connections() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let system = StandIn::tls(&file);
    is_exact(&run(&system.url, &[&trusting(&file)]), &system.seen);
    // And one that looked at the certificate first.
    assert_eq!(system.seen.connections(), 3);
}

#[test]
fn http1_over_tls_is_exact() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let system = StandIn::tls(&file);
    let outcome = run(&system.url, &[&trusting(&file), "system.protocol=http1"]);
    is_exact(&outcome, &system.seen);
}

#[test]
fn an_untrusted_certificate_is_one_line_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let system = StandIn::tls(&dir.path().join("ca.pem"));
    for protocol in ["system.protocol=http1", "system.protocol=http2"] {
        let outcome = run(&system.url, &[protocol]);
        assert_eq!(outcome.code, Some(2), "{}", outcome.text);
        let want = format!("loadgen: {}: its certificate is not accepted: ", system.url);
        assert!(outcome.text.starts_with(&want), "{}", outcome.text);
        assert!(outcome.text.contains("system.tls.ca"), "{}", outcome.text);
        assert_eq!(outcome.text.lines().count(), 1, "{}", outcome.text);
    }
    assert_eq!(system.seen.requests(), 0);
}

#[test]
fn who_trusts_anybody_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let system = StandIn::tls(&dir.path().join("ca.pem"));
    let outcome = run(&system.url, &["system.tls={insecure: true}"]);
    is_exact(&outcome, &system.seen);
    assert!(outcome.text.contains("WARNING: certificates are NOT verified"), "{}", outcome.text);
}

#[test]
fn a_target_that_does_not_agree_on_http2_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    // One offers something else, one does not know ALPN.
    for (offered, want) in
        [(&["http/1.1"][..], "NoApplicationProtocol"), (&[], "does not speak HTTP/2 over TLS")]
    {
        let system = StandIn::start(Manner::Serves, Some(tls::acceptor(&file, offered)));
        let outcome = run(&system.url, &[&trusting(&file)]);
        assert_eq!(outcome.code, Some(2), "{}", outcome.text);
        assert!(outcome.text.contains(want), "{}", outcome.text);
        assert_eq!(outcome.text.lines().count(), 1, "{}", outcome.text);
    }
}

#[test]
fn a_missing_authority_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let system = StandIn::tls(&dir.path().join("ca.pem"));
    let outcome = run(&system.url, &["system.tls={ca: none.pem}"]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.text);
    // The path counts from the scenario's folder.
    let want = "/none.pem: No such file or directory (os error 2); expected a file with";
    assert!(outcome.text.starts_with("loadgen: system.tls.ca: /"), "{}", outcome.text);
    assert!(outcome.text.contains(want), "{}", outcome.text);
    assert_eq!(outcome.text.lines().count(), 1, "{}", outcome.text);
}

#[test]
fn a_refused_request_failed_and_a_reset_one_is_doubtful() {
    let system = StandIn::h2c(Manner::Refuses);
    let outcome = run(&system.url, &[]);
    assert_eq!(outcome.count("failures", "not written, or refused unseen"), 50, "{}", outcome.text);
    assert_eq!(outcome.count("accounting", "decided"), 150, "{}", outcome.text);
    assert!(outcome.adds_up(), "{}", outcome.text);

    let system = StandIn::h2c(Manner::Resets);
    let outcome = run(&system.url, &[]);
    assert_eq!(outcome.count("doubts", "disconnected"), 50, "{}", outcome.text);
    assert_eq!(outcome.count("accounting", "decided"), 150, "{}", outcome.text);
    assert!(outcome.adds_up(), "{}", outcome.text);
    // One stream ends, not the connection.
    assert_eq!(system.seen.connections(), 2);
}

#[test]
fn a_polite_goodbye_leaves_no_doubt() {
    let system = StandIn::h2c(Manner::LeavesPolitely);
    let outcome = run(&system.url, &[]);
    assert!(outcome.adds_up(), "{}", outcome.text);
    // Those that crossed the goodbye on their way failed; nothing is in doubt.
    let [decided, failed] = ["decided", "failed"].map(|key| outcome.count("accounting", key));
    assert_eq!((decided + failed, decided), (200, system.seen.requests()), "{}", outcome.text);
    assert_eq!(outcome.count("outcomes", "issued"), COUPONS);
    assert!(decided > 150, "{}", outcome.text);
    assert!(system.seen.connections() > 5, "each was left after some requests");
}

#[test]
fn an_abrupt_goodbye_is_told_as_it_was() {
    let system = StandIn::h2c(Manner::LeavesAbruptly);
    let outcome = run(&system.url, &[]);
    let [sent, decided, failed, doubtful] =
        ["sent", "decided", "failed", "indeterminate"].map(|key| outcome.count("accounting", key));
    let (requests, answered) = (system.seen.requests(), system.seen.answered());
    assert!(outcome.adds_up() && sent == 200, "{}", outcome.text);
    assert!(decided <= answered && decided >= answered - doubtful, "{}", outcome.text);
    // What failed never came before the stand-in's eyes.
    assert!(requests <= sent - failed && doubtful >= requests - answered, "{}", outcome.text);
    assert!(doubtful > 5 && decided > 100, "{}", outcome.text);
}

/// Runs an example that comes with the project: everything is answered and understood.
fn understands(scenario: &str, system: &StandIn, set: &[&str]) {
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/shapes");
    let outcome = ran(&shapes.join(scenario), &system.url, set);
    ended::assert_sound(outcome.code, &outcome.text);
    assert_eq!(outcome.count("outcomes", "issued"), COUPONS, "{}", outcome.text);
    assert_eq!(outcome.count("outcomes", "sold_out"), 180 - COUPONS, "{}", outcome.text);
    assert!(outcome.adds_up(), "{}", outcome.text);
}

#[test]
fn connect_unary_json_over_http2_in_the_clear() {
    let system = StandIn::h2c(Manner::Serves);
    understands("connect-200-with-error.yaml", &system, &["system.protocol=http2"]);
    assert_eq!(system.seen.connections(), 2);
}

#[test]
fn the_example_with_an_authority_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let system = StandIn::tls(&file);
    understands("http2-tls.yaml", &system, &[&trusting(&file)]);
    assert_eq!(system.seen.connections(), 3);
}

#[test]
fn the_reference_server_is_exact_over_http2() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/smoke.yaml");
    e2e::binary("coupon-server");
    let output = Command::new(e2e::binary("loadgen"))
        .current_dir(dir.path())
        .arg("run")
        .arg(scenario)
        .args(["--out", "run", "--set", "system.protocol=http2"])
        .output()
        .unwrap();
    let text = ended::text(&output);
    ended::assert_sound(output.status.code(), &text);
    let summary = std::fs::read(dir.path().join("run/summary.json")).unwrap();
    let summary: Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(
        (&summary["outcomes"]["issued"], &summary["accounting"]["holds"]),
        (&500.into(), &true.into())
    );
    assert_eq!(summary["outcomes"]["indeterminate"], 0, "{text}");
}
