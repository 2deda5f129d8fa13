//! `cargo bench -p e2e`: how fast the parts are, as ratios to a limit measured in the same run.
//!
//! The limit of a server is a bare hyper answer of the same size in a process of its own, asked by
//! the same client over the same connections on the same cores. Rounds alternate, medians count.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use contract::history::clock::Probe;
use contract::history::stored::{Record, Segment, StoredPromise};
use contract::history::{Completion, Invocation, Kind};
use contract::outcome::{Coupon, Outcome};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

/// Connections of the closed-loop client.
const CONNECTIONS: usize = 64;
/// Length of a round.
const ROUND: Duration = Duration::from_secs(3);
/// Rounds of each candidate.
const ROUNDS: usize = 3;
/// Operations of the history that the verifier reads.
const OPERATIONS: u64 = 1_000_000;

fn main() {
    if std::env::args().any(|a| a == "bare-answer") {
        return block_on(bare_answer());
    }
    if std::env::args().any(|a| a == "codes") {
        return codes();
    }
    server();
    pace();
    verifier();
    codes();
}

fn server() {
    let redis = e2e::Redis::start();
    let dir = tempfile::tempdir().unwrap();
    let sqlite = format!("sqlite:{}", dir.path().join("bench.db").display());
    let candidates = [
        ("bare hyper answer", bare()),
        ("SQLite", coupon(&sqlite)),
        ("Redis", coupon(&redis.url())),
    ];
    let mut rates = candidates.each_ref().map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, server), rates) in candidates.iter().zip(&mut rates) {
            rates.push(server.issue_for(ROUND));
        }
    }
    println!(
        "issues/s, one instance, {CONNECTIONS} connections, median of {ROUNDS} rounds of {} s:",
        ROUND.as_secs()
    );
    let limit = median(&mut rates[0]);
    for ((name, _), rates) in candidates.iter().zip(&mut rates) {
        let rate = median(rates);
        println!("  {name:<18} {rate:>9.0}   {:>5.2} x bare", rate / limit);
    }
}

/// A server process under test.
struct Server {
    process: Child,
    port: u16,
    path: String,
    /// Where its store is, when that is a file.
    _dir: Option<tempfile::TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The limit: hyper answers a constant of the same size, and does nothing else.
fn bare() -> Server {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .arg("bare-answer")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Server { process, port: line.trim().parse().unwrap(), path: "/".into(), _dir: None }
}

/// The reference server over a store, with a campaign that does not sell out.
fn coupon(store: &str) -> Server {
    let port = e2e::free_port();
    let process = Command::new(e2e::binary("coupon-server"))
        .args(["--store", store, "--listen", &format!("127.0.0.1:{port}")])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Server { process, port, path: String::new(), _dir: None };
    server.path = block_on(server.campaign());
    server
}

fn coupon_on_sqlite() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let mut server = coupon(&format!("sqlite:{}", dir.path().join("bench.db").display()));
    server._dir = Some(dir);
    server
}

impl Server {
    async fn campaign(&self) -> String {
        let body = r#"{"name":"bench","coupons":100000000,"starts_at":"2026-01-01T00:00:00Z"}"#;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(mut connection) = connect(self.port).await {
                let answer = connection.send_request(post("/campaigns", body)).await.unwrap();
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                let campaign: serde_json::Value = serde_json::from_slice(&body).unwrap();
                return format!("/campaigns/{}/coupons", campaign["id"].as_str().unwrap());
            }
            assert!(Instant::now() < deadline, "the server does not come up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Issues a second, asked in a closed loop over all connections.
    fn issue_for(&self, time: Duration) -> f64 {
        block_on(async {
            let begin = Instant::now();
            let clients: Vec<_> = (0..CONNECTIONS)
                .map(|_| {
                    tokio::task::spawn_local(ask_until(self.port, self.path.clone(), begin + time))
                })
                .collect();
            let mut issued = 0;
            for client in clients {
                issued += client.await.unwrap();
            }
            issued as f64 / begin.elapsed().as_secs_f64()
        })
    }
}

async fn ask_until(port: u16, path: String, end: Instant) -> u64 {
    let mut connection = connect(port).await.unwrap();
    let mut issued = 0;
    while Instant::now() < end {
        connection.ready().await.unwrap();
        let answer = connection.send_request(post(&path, "{}")).await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.into_body().collect().await.unwrap();
        issued += 1;
    }
    issued
}

type Connection = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

async fn connect(port: u16) -> std::io::Result<Connection> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, driver) = handshake.map_err(std::io::Error::other)?;
    tokio::task::spawn_local(driver);
    Ok(sender)
}

fn post(path: &str, body: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "127.0.0.1")
        .header("content-type", "application/json")
        .body(Full::from(body.to_owned()))
        .unwrap()
}

async fn bare_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::task::spawn_local(async move {
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service_fn(constant)).await;
        });
    }
}

async fn constant(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    const BODY: &str = r#"{"code":"AAAAAAAAAAAAAAAAAAAAAAAAAAAA","seq":1000000,"remaining":99000000,"issued_at":"2026-01-01T00:00:00.000000Z"}"#;
    request.into_body().collect().await?;
    let response = Response::builder().status(201).header("content-type", "application/json");
    Ok(response.body(Full::from(BODY)).unwrap())
}

/// The load generator's start lag at 1,000 requests a second.
fn pace() {
    let server = coupon_on_sqlite();
    let dir = tempfile::tempdir().unwrap();
    let scenario = dir.path().join("pace.yaml");
    let text = format!(
        "name: pace\ncampaign: {{ coupons: 1, starts_in: 500ms }}\n\
         system: {{ targets: ['http://127.0.0.1:{}'] }}\n\
         load: {{ begin: 0s, stages: [{{ for: 10s, rate: 1000 }}] }}\n",
        server.port
    );
    std::fs::write(&scenario, text).unwrap();
    let run = dir.path().join("run");
    let output = Command::new(e2e::binary("loadgen"))
        .arg("run")
        .arg(&scenario)
        .arg("--out")
        .arg(&run)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary = std::fs::read(run.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    let lag = &summary["times"]["lag"];
    let figure = |name: &str| lag[name].as_f64().unwrap();
    println!(
        "\nstart lag at 1,000 requests/s for 10 s: p50 {:.0} µs, p99 {:.0} µs, max {:.0} µs",
        figure("p50_us"),
        figure("p99_us"),
        figure("max_us")
    );
}

/// Records the verifier reads and judges a second.
fn verifier() {
    let dir = tempfile::tempdir().unwrap();
    write_history(dir.path());
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let status = Command::new(e2e::binary("verifier"))
            .arg("check")
            .arg("--history")
            .arg(dir.path())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0), "the history is valid");
        rates.push(2.0 * OPERATIONS as f64 / begin.elapsed().as_secs_f64());
    }
    println!(
        "\nverifier: {:.1} million records/s (median of {ROUNDS}; {} million operations, a tenth issued)",
        median(&mut rates) / 1e6,
        OPERATIONS / 1_000_000
    );
}

/// Codes that are looked at a second, beside a look at each of their bytes that asks nothing.
fn codes() {
    let syllable = |n: u32| char::from_u32(0xAC00 + n % 11_172).unwrap();
    let code = |n: u32| {
        let characters = (0..7).map(|k| syllable(n.wrapping_mul(2_654_435_761) >> k));
        format!("{}{:03}", characters.collect::<String>(), n % 1_000)
    };
    let codes: Vec<String> = (0..1_000_000).map(code).collect();
    let rate = |look: &dyn Fn(&str) -> bool| {
        let mut rates = [0.0; ROUNDS].map(|_: f64| {
            let begin = Instant::now();
            let all = (0..10).all(|_| codes.iter().all(|code| look(std::hint::black_box(code))));
            assert!(all, "all of them are well-formed");
            10.0 * codes.len() as f64 / begin.elapsed().as_secs_f64()
        });
        median(&mut rates)
    };
    let judged = rate(&verifier::check::is_well_formed);
    let read = rate(&|code| code.bytes().fold(0_u8, |all, b| all | b) > 0);
    println!(
        "\ncodes: {:.0} million/s, {:.2} of a look at each byte (median of {ROUNDS})",
        judged / 1e6,
        judged / read
    );
}

/// A valid history: overlapping operations, the first before the start, a tenth issued.
fn write_history(dir: &Path) {
    let coupons = OPERATIONS / 10;
    let mut control = Segment::create(dir, "control").unwrap();
    control
        .append(&Record::Campaign(StoredPromise {
            campaign: "1".into(),
            coupons,
            starts_at_unix_ns: 1_000,
            per_user: None,
            restock: false,
        }))
        .unwrap();
    let probe = Probe { sent: 990, received: 1_010, stamp: 1_000, resolution: 1 };
    control.append(&Record::Probe(probe)).unwrap();
    control.finish().unwrap();
    let mut segment = Segment::create(dir, "worker-0").unwrap();
    segment.append(&invocation(0)).unwrap();
    for op in 0..OPERATIONS {
        if op + 1 < OPERATIONS {
            segment.append(&invocation(op + 1)).unwrap();
        }
        segment.append(&completion(op, coupons)).unwrap();
    }
    segment.finish().unwrap();
}

fn invocation(op: u64) -> Record<'static> {
    Record::Invoke(Invocation {
        op,
        campaign: "1".into(),
        kind: Kind::Issue,
        at: i64::try_from(op * 1_000).unwrap(),
        intended: Some(i64::try_from(op * 1_000).unwrap()),
        woken: None,
        target: Some(0),
        user: Some(format!("u{op:07}").into()),
        key: Some(format!("k{op:07}").into()),
        follows: None,
    })
}

fn completion(op: u64, coupons: u64) -> Record<'static> {
    let outcome = match op {
        0 => Outcome::NotStarted,
        op if op <= coupons => Outcome::Issued(Coupon {
            code: format!("{op:010}").into(),
            seq: i64::try_from(op).ok(),
            remaining: i64::try_from(coupons - op).ok(),
            order: None,
        }),
        _ => Outcome::SoldOut,
    };
    let at = i64::try_from(op * 1_000 + 1_500).unwrap();
    Record::Complete(Completion { op, at, accepted: None, outcome, status: None, stamp: None })
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}
