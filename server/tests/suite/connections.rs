//! HTTP/2, slow peers, and a store that goes away.

use std::time::Duration;

use bytes::Bytes;
use contract::wire::{ProblemCode, coupons_path};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::instance::{Instance, PATIENCE, Store, Told, told, until};

/// A body that is not sent before it may be, and breaks off where nobody says so.
fn held_back(body: &str, may: oneshot::Receiver<()>) -> Late {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let sent = async move { may.await.map(|()| Frame::data(body)) };
    StreamBody::new(stream::once(sent).boxed())
}

type Late = StreamBody<BoxStream<'static, Result<Frame<Bytes>, oneshot::error::RecvError>>>;

/// HTTP/2 takes an answer before the body for a fault of the peer, and may end the connection after many of
/// them. So the body is awaited even of who is refused anyhow.
#[tokio::test]
async fn one_http2_connection_survives_thousands_of_early_refusals() {
    let instance = Instance::alone(&[]);
    let id = instance.create(1, 60_000, false).await.id;
    let stream = TokioIo::new(TcpStream::connect(instance.address()).await.unwrap());
    let (mut sender, connection) =
        http2::Builder::new(TokioExecutor::new()).handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |method, path: &str, body: Late| {
        let url = format!("{}{path}", instance.url);
        Request::builder().method(method).uri(url).body(body).unwrap()
    };
    for (body, code) in [
        ("{\"user\":\"u\"}", ProblemCode::NotStarted),
        (&"x".repeat(17 * 1024), ProblemCode::TooLarge),
    ] {
        for round in 0..60 {
            let (may, mut answers): (Vec<_>, Vec<_>) = (0..20)
                .map(|_| {
                    let (may, begin) = oneshot::channel();
                    let post = request("POST", &coupons_path(&id), held_back(body, begin));
                    (may, sender.send_request(post).boxed())
                })
                .unzip();
            // Once this is answered all heads before it are there, and none of the bodies.
            let nothing = StreamBody::new(stream::empty().boxed());
            let healthy = sender.send_request(request("GET", "/healthz", nothing)).await;
            assert!(healthy.is_ok_and(|answer| answer.status() == 200), "round {round}");
            for answer in &mut answers {
                assert!(answer.now_or_never().is_none(), "an answer before the body");
            }
            may.into_iter().for_each(|may| may.send(()).unwrap());
            for answer in answers {
                let (head, body) = answer.await.unwrap().into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let answer = reqwest::Response::from(Response::from_parts(head, body));
                assert_eq!(told(answer).await.code(), code, "round {round}");
            }
        }
    }
    assert!(!connection.is_finished());
}

/// What the server says first over HTTP/2: its SETTINGS, each two bytes of name and four of value.
#[tokio::test]
async fn one_http2_connection_has_a_thousand_streams_and_no_more() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let instance = Instance::alone(&[]);
    let mut stream = TcpStream::connect(instance.address()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "SETTINGS come first");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    stream.read_exact(&mut settings).await.unwrap();
    let named = |one: &&[u8]| one[..2] == MAX_CONCURRENT_STREAMS.to_be_bytes();
    let streams = settings.chunks(6).find(named).expect("it is limited");
    assert_eq!(streams[2..], 1_024_u32.to_be_bytes());
}

#[tokio::test]
async fn a_body_that_is_far_too_long_is_heard_out_and_refused() {
    let instance = Instance::alone(&[]);
    let http2 = reqwest::Client::builder()
        .http2_prior_knowledge()
        .retry(reqwest::retry::never())
        .no_proxy()
        .build()
        .unwrap();
    for client in [&http2, &instance.client] {
        for length in [300 << 10, 4 << 20, 15 << 20] {
            let request =
                client.post(format!("{}/campaigns", instance.url)).body("x".repeat(length));
            let answer = request.send().await.unwrap_or_else(|e| panic!("{length}: {e:?}"));
            assert_eq!(told(answer).await.code(), ProblemCode::TooLarge, "{length}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_and_does_not_end_is_too_long() {
    let instance = Instance::alone(&[]);
    let mut stream = TcpStream::connect(instance.address()).await.unwrap();
    let head = "POST /campaigns HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
    stream.write_all((head.to_owned() + &"x".repeat(17 * 1024)).as_bytes()).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_is_not_ready() {
    let store = Store::redis();
    let instance = store.instance();
    let status = async || instance.get("/readyz").send().await.unwrap().status();
    let mut operator = redis::Client::open(store.flag()).unwrap().get_connection().unwrap();
    let mut set = |name: &str, value: &str| {
        redis::cmd("CONFIG").arg(&["SET", name, value]).exec(&mut operator).unwrap();
    };
    assert_eq!(status().await, 200);
    set("maxmemory-policy", "noeviction");
    set("maxmemory", "1");
    assert_eq!(status().await, 503);
    set("maxmemory", "0");
    assert_eq!(status().await, 200);
    set("min-replicas-to-write", "1");
    assert_eq!(status().await, 503);
}

#[tokio::test]
async fn a_sqlite_file_that_takes_no_writes_is_not_ready() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    let store = Store::sqlite();
    // Writes beyond the limit are then errors, as on a full disk, and not the end of the process.
    let mut ignoring = std::process::Command::new("sh");
    ignoring.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_coupon-server")]);
    ignoring.args(["--store", &store.flag(), "--listen", "127.0.0.1:0"]);
    let instance = Instance::start(&mut ignoring);
    let id = instance.create(1, -1, false).await.id;
    let status = async || instance.get("/readyz").send().await.unwrap().status();
    assert_eq!(status().await, 200);
    let pid = Pid::from_raw(i32::try_from(instance.pid()).unwrap());
    let full = Rlimit { current: Some(0), maximum: None };
    let before = prlimit(pid, Resource::Fsize, full).unwrap();
    assert_eq!(status().await, 503);
    assert_eq!(instance.issue(&id, None, None).await.code(), ProblemCode::StoreUnavailable);
    prlimit(pid, Resource::Fsize, before).unwrap();
    assert_eq!(status().await, 200);
    instance.issue(&id, None, None).await.coupon();
}

#[tokio::test]
async fn a_sqlite_file_that_was_deleted_is_not_written_to_unseen() {
    let store = Store::sqlite();
    let mut instance = store.instance();
    let id = instance.create(3, -1, false).await.id;
    instance.issue(&id, None, None).await.coupon();
    std::fs::remove_file(store.path()).unwrap();
    assert_eq!(instance.issue(&id, None, None).await.code(), ProblemCode::StoreUnavailable);
    assert_eq!(instance.get("/readyz").send().await.unwrap().status(), 503);
    instance.until_log("coupons.db was deleted, moved or replaced while it was open: put it back");
    assert!(!store.path().exists());
    instance.stop();
    let anew = store.instance();
    assert_eq!(anew.create(3, -1, false).await.id, id);
    assert_eq!(anew.issue(&id, None, None).await.coupon().seq, 1);
}

#[tokio::test]
async fn a_campaign_that_lost_a_part_is_an_internal_error_and_logged() {
    let store = Store::redis();
    let instance = store.instance();
    let id = instance.create(3, -1, false).await.id;
    instance.issue(&id, None, None).await.coupon();
    let mut operator = redis::Client::open(store.flag()).unwrap().get_connection().unwrap();
    redis::cmd("DEL").arg(format!("coupon:{{{id}}}:ledger")).exec(&mut operator).unwrap();
    assert_eq!(instance.issue(&id, None, None).await.code(), ProblemCode::Internal);
    let line = instance.until_log("ledger rows 0");
    assert!(line.contains("ERROR"), "{line}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let instance = Instance::alone(&[]);
    let mut stream = TcpStream::connect(instance.address()).await.unwrap();
    let head = "POST /campaigns HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("request_timeout"), "{answer}");
}

#[tokio::test]
async fn a_peer_that_says_too_little_is_cut() {
    let instance = Instance::alone(&[]);
    for start in ["", "P"] {
        let mut stream = TcpStream::connect(instance.address()).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
        // Closed or reset, but not kept.
        let _ = reading.await.unwrap();
        assert_eq!(answer, b"", "{start:?}");
    }
}

#[tokio::test]
async fn a_redis_that_hangs_or_is_gone_is_said_to_be_and_comes_back() {
    let redis = e2e::Redis::start();
    let pid = redis.pid().to_string();
    let store = Store::Redis(redis);
    let instance = store.instance_with(&["--request-timeout", "300ms"]);
    let id = instance.create(1, -1, false).await.id;
    let kill = |signal: &str| {
        assert!(
            std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success()
        );
    };
    kill("-STOP");
    let told = instance.issue(&id, None, Some("k")).await;
    assert_eq!(told.code(), ProblemCode::StoreUnavailable);
    assert_eq!(instance.get("/readyz").send().await.unwrap().status(), 503);
    assert_eq!(instance.get("/healthz").send().await.unwrap().status(), 200);
    kill("-CONT");
    let deadline = std::time::Instant::now() + PATIENCE;
    while instance.get("/readyz").send().await.unwrap().status() != 200 {
        assert!(std::time::Instant::now() < deadline, "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The request that nobody answered had an effect, once; its key tells which.
    assert_eq!(instance.issue(&id, None, Some("k")).await.coupon().seq, 1);
    assert_eq!(instance.campaign(&id).await.issued, 1);
    drop(store);
    let told = instance.issue(&id, None, None).await;
    assert_eq!(told.code(), ProblemCode::StoreUnavailable);
}

#[tokio::test]
async fn a_postgres_that_takes_no_writes_is_not_ready() {
    let store = Store::postgres();
    let instance = store.instance();
    let status = async || instance.get("/readyz").send().await.unwrap().status();
    assert_eq!(status().await, 200);
    let Store::Postgres(server, _) = &store else { panic!("another store") };
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    server.sql("SELECT pg_reload_conf()");
    until(async || status().await == 503).await;
    server.sql("ALTER SYSTEM RESET default_transaction_read_only");
    server.sql("SELECT pg_reload_conf()");
    until(async || status().await == 200).await;
}

#[tokio::test]
async fn a_request_that_would_wait_too_long_is_told_at_once_to_come_back() {
    use sqlx::Connection as _;

    let store = Store::postgres();
    let instance = store.instance_with(&["--queue-time", "1ms", "--request-timeout", "20s"]);
    let Store::Postgres(server, _) = &store else { panic!("another store") };
    let id = instance.create(3, -1, false).await.id;
    let mut other = sqlx::PgConnection::connect(&server.url()).await.unwrap();
    let lock = "BEGIN; SELECT * FROM coupon.campaigns FOR UPDATE";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    let first = tokio::spawn(instance.post(&coupons_path(&id)).send());
    // Whoever notes that campaigns are open waits for the row as well.
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE wait_event_type = 'Lock' AND query LIKE '%coupon.issue%'";
    until(async || server.sql(waiting) == "1").await;
    // psql took longer than a millisecond.
    let refused = instance.post(&coupons_path(&id)).send().await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(told(refused).await.code(), ProblemCode::Overloaded);
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert_eq!(told(first.await.unwrap().unwrap()).await.coupon().seq, 1);
    assert_eq!(instance.campaign(&id).await.issued, 1);
}

#[tokio::test]
async fn a_postgres_that_hangs_or_is_gone_is_said_to_be_and_comes_back() {
    use sqlx::Connection as _;

    for store in [Store::postgres(), Store::postgres_alone()] {
        let instance = store.instance_with(&["--request-timeout", "300ms"]);
        let Store::Postgres(server, _) = &store else { panic!("another store") };
        let id = instance.create(3, -1, false).await.id;
        let mut other = sqlx::PgConnection::connect(&server.url()).await.unwrap();
        let lock = "BEGIN; LOCK TABLE coupon.campaigns";
        sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
        let told = instance.issue(&id, None, Some("k")).await;
        assert_eq!(told.code(), ProblemCode::StoreUnavailable);
        assert_eq!(instance.get("/healthz").send().await.unwrap().status(), 200);
        // What nobody waits for is not decided later either.
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        until(async || server.sql(waiting) == "0").await;
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
        let coupon = instance.issue(&id, None, Some("k")).await.coupon();
        assert_eq!(coupon.seq, 1);

        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE application_name = 'coupon-server'";
        server.sql(end);
        until(async || matches!(instance.issue(&id, None, Some("l")).await, Told::Issued(_))).await;
        assert_eq!(instance.issue(&id, None, Some("l")).await.coupon().seq, 2);
        assert_eq!(instance.campaign(&id).await.issued, 2);
        drop(store);
        let told = instance.issue(&id, None, None).await;
        assert_eq!(told.code(), ProblemCode::StoreUnavailable);
    }
}
