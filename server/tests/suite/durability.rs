//! What is promised of an answered coupon is kept, or nothing is.

use contract::wire::ProblemCode;

use crate::instance::{Instance, Store, Told, command, refused, until};

fn redis_with(arguments: &[&str]) -> Store {
    Store::Redis(e2e::Redis::start_with(arguments))
}

#[tokio::test]
async fn a_redis_that_does_not_write_every_coupon_to_its_file_is_refused() {
    for (arguments, missing) in [
        (&[][..], "appendonly yes, and it has no"),
        (&["--appendonly", "yes"], "appendfsync always, and it has everysec"),
    ] {
        let store = redis_with(arguments);
        let line = refused(command(&store.flag()).args(["--durability", "aof"]));
        assert!(line.contains(missing), "{line}");
    }
    let store = redis_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let instance = store.instance_with(&["--durability", "aof"]);
    let id = instance.create(1, -1, false).await.id;
    instance.issue(&id, None, None).await.coupon();
}

#[tokio::test]
async fn a_redis_that_does_not_say_what_it_keeps_is_warned_of() {
    let store = redis_with(&["--rename-command", "CONFIG", ""]);
    let mut command = command(&store.flag());
    let mut process =
        command.args(["--durability", "aof"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufReader::new(process.stderr.take().unwrap());
    let mut lines = std::io::BufRead::lines(lines).map_while(Result::ok);
    let first = lines.find(|line| line.contains("appendonly yes") || line.contains("listening on"));
    process.kill().unwrap();
    process.wait().unwrap();
    let first = first.unwrap();
    assert!(first.contains("WARN") && first.contains("is not certain"), "{first}");
}

#[tokio::test]
async fn a_coupon_is_answered_once_a_replica_has_it_and_not_before() {
    let primary = e2e::Redis::start();
    let url = primary.url();
    let line = refused(command(&url).args(["--durability", "replicated"]));
    assert!(line.contains("needs a replica"), "{line}");

    let port = primary.port().to_string();
    let replica = e2e::Redis::start_with(&["--replicaof", "127.0.0.1", &port]);
    let mut operator = redis::Client::open(url.clone()).unwrap().get_connection().unwrap();
    let mut acknowledged = || -> u64 {
        redis::cmd("SET").arg(&["x", "1"]).exec(&mut operator).unwrap();
        redis::cmd("WAIT").arg(1).arg(20_000).query(&mut operator).unwrap()
    };
    while acknowledged() == 0 {}
    let flags = ["--durability", "replicated", "--request-timeout", "2s"];
    let instance = Instance::start(command(&url).args(flags));
    let id = instance.create(10, -1, false).await.id;
    instance.issue(&id, None, Some("k")).await.coupon();
    let mut other = redis::Client::open(replica.url()).unwrap().get_connection().unwrap();
    let key = format!("coupon:{{{id}}}:ledger");
    let copied: u64 = redis::cmd("XLEN").arg(&key).query(&mut other).unwrap();
    assert_eq!(copied, 1);

    let pid = replica.pid().to_string();
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    };
    signal("-STOP");
    let doubt = instance.issue(&id, None, Some("l")).await;
    assert_eq!(doubt.code(), ProblemCode::StoreUnavailable);
    assert_eq!(instance.get("/readyz").send().await.unwrap().status(), 503);
    signal("-CONT");
    until(async || matches!(instance.issue(&id, None, Some("l")).await, Told::Issued(_))).await;
    assert_eq!(instance.campaign(&id).await.issued, 2);
}

#[tokio::test]
async fn a_planted_bug_keeps_the_promise_that_it_does_not_break() {
    let primary = e2e::Redis::start();
    let port = primary.port().to_string();
    let replica = e2e::Redis::start_with(&["--replicaof", "127.0.0.1", &port]);
    let online = async || primary.cli(&["INFO", "replication"]).contains("state=online");
    until(online).await;
    let flags = ["--durability", "replicated", "--request-timeout", "1s", "--mutant", "off-by-one"];
    let instance = Instance::start(command(&primary.url()).args(flags));
    let id = instance.create(10, -1, false).await.id;
    until(async || matches!(instance.issue(&id, None, None).await, Told::Issued(_))).await;
    replica.signal("STOP");
    // What it was asked is done, and nobody else has it.
    let doubt = instance.issue(&id, None, None).await;
    assert_eq!(doubt.code(), ProblemCode::StoreUnavailable);
    replica.signal("CONT");
    until(async || matches!(instance.issue(&id, None, None).await, Told::Issued(_))).await;
}

#[test]
fn a_promise_of_redis_is_refused_for_other_stores() {
    let line = refused(command("sqlite:coupons.db").args(["--durability", "aof"]));
    assert!(line.contains("--durability is for Redis"), "{line}");
}
