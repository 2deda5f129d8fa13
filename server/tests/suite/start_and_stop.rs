//! How the process starts, refuses to start, stops, and dies.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::instance::{Instance, Store, Told, assert_sound, binary, command, refused};

#[test]
fn bad_flags_are_refused_in_one_line() {
    for store in ["mysql://x", "sqlite:", "", "redis:6379"] {
        let line = refused(&mut command(store));
        assert!(line.contains("--store"), "{line}");
    }
    assert!(refused(binary().arg("--frobnicate")).contains("--frobnicate"));
    assert!(refused(binary().args(["--listen", "nowhere"])).contains("nowhere"));
    assert!(refused(binary().args(["--request-timeout", "soon"])).contains("800ms"));
    assert!(refused(binary().args(["--mutant", "no-such-bug"])).contains("no-such-bug"));
    assert!(refused(binary().env("PORT", "http")).contains("PORT"));
}

#[test]
fn a_taken_port_is_refused_in_one_line() {
    let store = Store::sqlite();
    let instance = store.instance();
    let line = refused(binary().args(["--store", &store.flag(), "--listen", instance.address()]));
    assert!(line.contains(instance.address()), "{line}");
}

#[test]
fn an_unreachable_redis_is_refused_in_one_line_without_its_password() {
    let port = e2e::free_port();
    let line = refused(&mut command(&format!("redis://u:sesame@127.0.0.1:{port}/0")));
    assert!(line.contains(&port.to_string()) && !line.contains("sesame"), "{line}");
    let line = refused(binary().env("REDIS_ADDR", format!("127.0.0.1:{port}")).env("PORT", "0"));
    assert!(line.contains(&port.to_string()), "{line}");
    assert_eq!(line.matches("refused").count(), 1, "the reason is there once: {line}");
}

#[test]
fn an_unreachable_postgres_is_refused_in_one_line_without_its_password() {
    let port = e2e::free_port();
    let line = refused(&mut command(&format!("postgres://u:sesame@127.0.0.1:{port}/shop")));
    assert!(line.contains(&format!("postgres://127.0.0.1:{port}/shop: ")), "{line}");
    assert!(!line.contains("sesame"), "{line}");
    let line = refused(&mut command("postgres://u:sesame@127.0.0.1:port/shop"));
    assert!(!line.contains("sesame"), "{line}");
}

#[test]
fn a_redis_addr_that_is_no_host_and_port_is_refused_in_one_line() {
    for address in [
        "redis://foo:1",
        "foo",
        "foo:",
        ":6379",
        "foo:0",
        "foo:x",
        "foo:+1",
        "u:sesame@foo:1",
        "::1:1",
        "foo:1/2",
    ] {
        let line = refused(binary().env("REDIS_ADDR", address).env("PORT", "0"));
        assert!(line.contains("REDIS_ADDR must be HOST:PORT"), "{address}: {line}");
        assert!(!line.contains("sesame"), "{line}");
    }
}

#[test]
fn a_lock_that_another_process_keeps_is_given_up_in_one_line() {
    let store = Store::sqlite();
    let _held = hold_lock(&store);
    let line = refused(&mut command(&store.flag()));
    let expected = format!("another process holds {}-lock", store.path().display());
    assert!(line.ends_with(&expected), "{line}");
}

/// Takes the store's lock, as a server that hangs would.
fn hold_lock(store: &Store) -> File {
    let path = format!("{}-lock", store.path().display());
    let file = File::options().create(true).append(true).open(path).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    file
}

#[test]
fn a_signal_ends_a_server_that_waits_for_its_store() {
    let sqlite = Store::sqlite();
    let _held = hold_lock(&sqlite);
    // Takes connections and never says a word.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let redis = format!("redis://{}/0", mute.local_addr().unwrap());
    let postgres = format!("postgres://u@{}/shop", mute.local_addr().unwrap());
    for (store, signal) in [
        (sqlite.flag(), "-TERM"),
        (sqlite.flag(), "-INT"),
        (redis.clone(), "-TERM"),
        (redis, "-INT"),
        (postgres, "-TERM"),
    ] {
        let mut server = command(&store);
        server.env("RUST_LOG", "coupon_server=debug").stderr(Stdio::piped());
        let mut process = server.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("waiting for the store")));
        let pid = process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert_eq!(process.wait().unwrap().code(), Some(0), "{store}");
    }
}

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    let store = Store::sqlite();
    let path = store.path();
    std::fs::write(&path, "not a database at all, but long enough to be read as one: ".repeat(20))
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    refused(&mut command(&store.flag()));
    assert_eq!(std::fs::read(&path).unwrap(), before);

    std::fs::remove_file(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE orders (id INTEGER)").unwrap();
    drop(other);
    let before = std::fs::read(&path).unwrap();
    let line = refused(&mut command(&store.flag()));
    assert!(line.contains("another program"), "{line}");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let line = refused(&mut command("sqlite:/nowhere/at/all.db"));
    assert!(line.contains("/nowhere/at/all.db"), "{line}");
}

#[tokio::test]
async fn the_environment_sets_the_port_and_the_store() {
    let redis = e2e::Redis::start();
    let port = e2e::free_port();
    let address = format!("127.0.0.1:{}", redis.port());
    let instance =
        Instance::start(binary().env("PORT", port.to_string()).env("REDIS_ADDR", address));
    assert_eq!(instance.url, format!("http://127.0.0.1:{port}"));
    instance.create(1, 0, false).await;
}

#[tokio::test]
async fn logs_are_json_where_asked_for_and_never_tell_a_password() {
    let redis = e2e::Redis::start();
    let mut operator = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    redis::cmd("CONFIG").arg(&["SET", "requirepass", "sesame"]).exec(&mut operator).unwrap();
    let url = format!("redis://:sesame@127.0.0.1:{}/0", redis.port());
    let mut instance = Instance::start(command(&url).args(["--log-format", "json"]));
    instance.create(1, 0, false).await;
    instance.signal("-TERM");
    assert_eq!(instance.wait().code(), Some(0));
    let lines: Vec<_> = std::iter::from_fn(|| instance.log_line()).collect();
    assert!(!lines.is_empty());
    for line in lines {
        assert!(line.starts_with('{') && !line.contains("sesame"), "{line}");
    }
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() {
    for signal in ["-TERM", "-INT"] {
        let store = Store::sqlite();
        let mut instance = store.instance();
        let id = instance.create(1, -1, false).await.id;
        let mut stream = TcpStream::connect(instance.address()).await.unwrap();
        let head = format!(
            "POST /campaigns/{id}/coupons HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server asks for the body, so it has the request.
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        instance.signal(signal);
        instance.until_log("stopping");
        assert!(TcpStream::connect(instance.address()).await.is_err(), "it still accepts");
        stream.write_all(b"{}").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        assert_eq!(instance.wait().code(), Some(0));
    }
}

#[tokio::test]
async fn a_second_signal_ends_the_drain() {
    for (first, second) in [("-TERM", "-TERM"), ("-INT", "-TERM"), ("-INT", "-INT")] {
        let store = Store::sqlite();
        let mut instance = store.instance_with(&["--drain-timeout", "60s"]);
        let mut stream = TcpStream::connect(instance.address()).await.unwrap();
        let head = "POST /campaigns HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 25]).await.unwrap();
        instance.signal(first);
        instance.until_log("stopping");
        instance.signal(second);
        let line = instance.until_log("a second signal");
        assert!(line.contains("WARN"), "{line}");
        assert_eq!(instance.wait().code(), Some(0));
        while let Some(line) = instance.log_line() {
            assert!(!line.contains("did not finish within"), "the drain ended by itself: {line}");
        }
    }
}

#[tokio::test]
async fn the_drain_has_a_deadline() {
    let store = Store::sqlite();
    let mut instance = store.instance_with(&["--drain-timeout", "100ms"]);
    let mut stream = TcpStream::connect(instance.address()).await.unwrap();
    let head =
        "POST /campaigns HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 25]).await.unwrap();
    instance.signal("-TERM");
    assert_eq!(instance.wait().code(), Some(0));
}

#[tokio::test]
async fn a_killed_instance_leaves_the_others_at_work_and_the_file_whole() {
    let store = Store::sqlite();
    let instances: [Instance; 3] = std::array::from_fn(|_| store.instance());
    let instances = Arc::new(instances);
    let id = instances[0].create(3_000, -1, false).await.id;
    let killed = Arc::new(AtomicBool::new(false));
    let mut requesters = JoinSet::new();
    for requester in 0..60 {
        let (instances, id, killed) = (instances.clone(), id.clone(), killed.clone());
        requesters.spawn(async move {
            let mut coupons = Vec::new();
            let instance = &instances[requester % 3];
            loop {
                match instance.issue(&id, None, None).await {
                    Told::Issued(coupon) => coupons.push(coupon),
                    Told::Refused(_) => return coupons,
                    Told::Nothing(error) => {
                        assert!(requester % 3 == 0 && killed.load(Ordering::SeqCst), "{error}");
                        return coupons;
                    }
                }
            }
        });
    }
    while instances[1].campaign(&id).await.issued < 500 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    killed.store(true, Ordering::SeqCst);
    instances[0].signal("-KILL");
    let coupons = requesters.join_all().await;
    let rows = instances[1].ledger(&id).await;
    assert_eq!(rows.len(), 3_000);
    assert_sound(&rows);
    // Whatever was answered is on disk.
    for coupon in coupons.into_iter().flatten() {
        let row = &rows[usize::try_from(coupon.seq).unwrap() - 1];
        assert_eq!(row.code, coupon.code);
    }
    let check = rusqlite::Connection::open(store.path()).unwrap();
    let whole: String = check.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
}
