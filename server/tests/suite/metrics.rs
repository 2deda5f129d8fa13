//! What an operator sees.

use std::collections::BTreeMap;

use contract::wire::{ProblemCode, coupons_path, events_path, header};

use crate::instance::{Instance, Store, binary, until};

on_every_store! {
    counts_what_it_answers
}

/// Every sample by its name and labels.
async fn samples(instance: &Instance) -> BTreeMap<String, f64> {
    let answer = instance.get("/metrics").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

async fn counts_what_it_answers(store: Store) {
    let instance = store.instance();
    let id = instance.create(2, -1, true).await.id;
    instance.issue(&id, Some("u"), Some("k")).await.coupon();
    instance.issue(&id, Some("u"), Some("k")).await.coupon();
    instance.issue(&id, Some("v"), None).await.coupon();
    for _ in 0..4 {
        assert_eq!(instance.issue(&id, Some("w"), None).await.code(), ProblemCode::SoldOut);
    }
    assert_eq!(instance.issue(&id, Some("v"), None).await.code(), ProblemCode::AlreadyIssued);
    let stream = instance.get(&events_path(&id)).send().await.unwrap();
    instance.until_log("leads");
    until(async || samples(&instance).await["coupon_leads"] == 1.0).await;
    let seen = samples(&instance).await;
    for (name, value) in [
        ("coupon_issued_total", 3.0),
        ("coupon_refused_total{reason=\"sold_out\"}", 4.0),
        ("coupon_refused_total{reason=\"already_issued\"}", 1.0),
        ("coupon_refused_total{reason=\"not_started\"}", 0.0),
        ("coupon_decided_in_seconds_count", 8.0),
        ("coupon_queue", 0.0),
        ("coupon_streams", 1.0),
    ] {
        assert_eq!(seen.get(name), Some(&value), "{name} in {seen:#?}");
    }
    assert!(seen["coupon_batch_count"] >= 8.0, "{seen:#?}");
    assert!(seen["coupon_batch_sum"] >= seen["coupon_batch_count"], "{seen:#?}");
    assert!(seen["coupon_decided_in_seconds_sum"] > 0.0, "{seen:#?}");
    assert!(seen["coupon_connections"] >= 1.0, "{seen:#?}");
    drop(stream);
    until(async || samples(&instance).await["coupon_streams"] == 0.0).await;
}

#[tokio::test]
async fn connections_are_counted_while_they_are_open() {
    let instance = Instance::alone(&[]);
    let open = async || samples(&instance).await["coupon_connections"];
    let before = open().await;
    let another = std::net::TcpStream::connect(instance.address()).unwrap();
    until(async || open().await == before + 1.0).await;
    drop(another);
    until(async || open().await == before).await;
}

#[tokio::test]
async fn tells_its_version() {
    let instance = Instance::alone(&[]);
    let told: serde_json::Value =
        instance.get("/version").send().await.unwrap().json().await.unwrap();
    let output = binary().arg("--version").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.trim(), format!("coupon-server {}", told["version"].as_str().unwrap()));
}

#[tokio::test]
async fn a_line_about_a_request_has_its_id() {
    let store = Store::redis();
    let mut command = crate::instance::command(&store.flag());
    let instance = Instance::start(command.args(["--log-format", "json"]));
    let id = instance.create(3, -1, false).await.id;
    drop(store);
    let request = instance.post(&coupons_path(&id)).header(header::REQUEST_ID, "mine-7");
    assert_eq!(request.send().await.unwrap().status(), 503);
    let line = instance.until_log("mine-7");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["level"], &line["fields"]["request_id"]), (&"WARN".into(), &"mine-7".into()));
}

#[cfg(feature = "sentry")]
#[tokio::test]
async fn an_error_goes_to_sentry_and_a_warning_does_not() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dsn = format!("http://sesame@{}/7", listener.local_addr().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (head, body) = crate::instance::take_request(&listener, "{}");
        tell.send(head + &String::from_utf8_lossy(&body))
    });
    let store = Store::redis();
    let mut command = crate::instance::command(&store.flag());
    let mut instance = Instance::start(command.env("SENTRY_DSN", dsn));
    let id = instance.create(3, -1, false).await.id;
    instance.issue(&id, None, None).await.coupon();
    let mut operator = ::redis::Client::open(store.flag()).unwrap().get_connection().unwrap();
    // Told at level warn.
    ::redis::cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).exec(&mut operator).unwrap();
    ::redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory-policy", "noeviction"])
        .exec(&mut operator)
        .unwrap();
    assert_eq!(instance.get("/readyz").send().await.unwrap().status(), 503);
    instance.until_log("WARN");
    ::redis::cmd("CONFIG").arg(&["SET", "maxmemory", "0"]).exec(&mut operator).unwrap();
    // Told at level error, but not twice within a second.
    ::redis::cmd("DEL").arg(format!("coupon:{{{id}}}:ledger")).exec(&mut operator).unwrap();
    until(async || {
        let request = instance.post(&coupons_path(&id)).header(header::REQUEST_ID, "mine-9");
        assert_eq!(request.send().await.unwrap().status(), 500);
        told.try_recv().is_ok_and(|envelope| {
            assert!(envelope.starts_with("POST /api/7/envelope/"), "{envelope}");
            assert!(
                envelope.contains("ledger rows 0") && envelope.contains("mine-9"),
                "{envelope}"
            );
            true
        })
    })
    .await;
    for line in instance.stop() {
        assert!(!line.contains("sesame"), "{line}");
    }
}

#[cfg(feature = "sentry")]
#[test]
fn a_dsn_that_is_none_is_refused_in_one_line_and_not_shown() {
    let line = crate::instance::refused(binary().env("SENTRY_DSN", "sesame").env("PORT", "0"));
    assert!(line.contains("SENTRY_DSN") && !line.contains("sesame"), "{line}");
}
