//! What is shipped beside the programs: that it starts the server as it is, and that a launch through it
//! is valid.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{CouponServer, Nginx, Redis, binary};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn shipped(file: &str) -> String {
    std::fs::read_to_string(root().join("deploy").join(file)).unwrap()
}

fn documents(file: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&shipped(file)).unwrap()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

/// The only one of this kind and name.
fn object(file: &str, kind: &str, name: &str) -> Value {
    let is = |d: &Value| d["kind"] == kind && d["metadata"]["name"] == name;
    let mut found = documents(file).into_iter().filter(is);
    let (one, more) = (found.next(), found.next());
    assert!(more.is_none());
    one.unwrap_or_else(|| panic!("{file} has no {kind} {name}"))
}

/// The server knows all of these flags, and takes their values.
fn assert_taken(arguments: &[String]) {
    let output = Command::new(binary("coupon-server")).args(arguments).arg("--help").output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {text}");
}

#[test]
fn every_flag_that_is_shipped_is_one() {
    let entrypoint = shipped("Dockerfile");
    let entrypoint = entrypoint.lines().find_map(|line| line.strip_prefix("ENTRYPOINT ")).unwrap();
    let entrypoint: Vec<String> = serde_json::from_str(entrypoint).unwrap();
    let image = &entrypoint[1..];
    let compose = &documents("compose.yaml")[0];
    for number in 1..=5 {
        let command = texts(&compose["services"][format!("coupon-{number}")]["command"]);
        assert_taken(&[image, &command].concat());
    }
    let pod = &object("kubernetes/coupon-server.yaml", "Deployment", "coupon-server")["spec"];
    let container = &pod["template"]["spec"]["containers"][0];
    assert_taken(&[image, &texts(&container["args"])].concat());

    let unit = shipped("systemd/coupon-server@.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let start = start.replace("${STORE}", "sqlite:coupons.db").replace("%i", "8081");
    let start: Vec<String> = start.split(' ').skip(1).map(str::to_owned).collect();
    assert_taken(&start);
    let wrong = std::panic::catch_unwind(|| assert_taken(&["--no-such-flag".to_owned()]));
    assert!(wrong.is_err(), "what is no flag is noticed");
}

#[test]
fn every_probe_asks_what_the_server_answers() {
    let redis = Redis::start();
    let server = CouponServer::start(&["--store", &redis.url()]);
    let pod = &object("kubernetes/coupon-server.yaml", "Deployment", "coupon-server")["spec"];
    let container = &pod["template"]["spec"]["containers"][0];
    for probe in ["readinessProbe", "livenessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str().unwrap();
        assert_eq!(status(server.port(), path), 200, "{probe}");
    }
    assert_eq!(status(server.port(), "/no-such-path"), 404);
}

fn status(port: u16, path: &str) -> u16 {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_refers_to_each_other_is_there() {
    let file = "kubernetes/coupon-server.yaml";
    let deployment = object(file, "Deployment", "coupon-server");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&object(file, "Service", "coupon-server")["spec"]["selector"], labels);
    let budget = object(file, "PodDisruptionBudget", "coupon-server");
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels);
    let scaler = object(file, "HorizontalPodAutoscaler", "coupon-server");
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"]);
    assert!(scaler["spec"]["minReplicas"].as_u64() >= deployment["spec"]["replicas"].as_u64());
    assert!(budget["spec"]["minAvailable"].as_u64() < deployment["spec"]["replicas"].as_u64());

    let redis = object("kubernetes/redis.yaml", "StatefulSet", "redis");
    let arguments = texts(&deployment["spec"]["template"]["spec"]["containers"][0]["args"]);
    assert!(arguments.contains(&"--store=redis://redis:6379/0".to_owned()));
    let pod = &redis["spec"]["template"];
    let service = object("kubernetes/redis.yaml", "Service", "redis");
    assert_eq!(service["spec"]["selector"], pod["metadata"]["labels"]);
    let policy = object("kubernetes/redis.yaml", "NetworkPolicy", "redis");
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"], pod["metadata"]["labels"]);
    let from = &policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"];
    assert_eq!(from, labels);
    let kustomization = &documents("kubernetes/kustomization.yaml")[0];
    for file in texts(&kustomization["resources"]) {
        assert!(!documents(&format!("kubernetes/{file}")).is_empty());
    }

    let services = &documents("compose.yaml")[0]["services"];
    let nginx = shipped("nginx.conf");
    for name in texts(&services["nginx"]["depends_on"]) {
        assert!(services[&name].is_object() && nginx.contains(&format!("server {name}:8080 ")));
    }
}

/// The Redis that is shipped keeps what it promises: its settings are those that the verifier asks for.
#[test]
fn the_redis_that_is_shipped_keeps_coupons() {
    let compose = texts(&documents("compose.yaml")[0]["services"]["redis"]["command"]);
    let pod = object("kubernetes/redis.yaml", "StatefulSet", "redis");
    let pod = texts(&pod["spec"]["template"]["spec"]["containers"][0]["args"]);
    assert_eq!(compose[1..], pod);
    let arguments: Vec<&str> = pod.iter().map(String::as_str).collect();
    launch_through(&Redis::start_with(&arguments), "50r/s", "100000r/s");
}

/// A launch through the nginx that is shipped, before five instances; all of it comes from one address,
/// for which one number of its configuration is another.
fn launch_through(redis: &Redis, from: &str, to: &str) {
    let server = || CouponServer::start(&["--store", &redis.url(), "--durability", "aof"]);
    let servers: [CouponServer; 5] = std::array::from_fn(|_| server());
    let dir = tempfile::tempdir().unwrap();
    let configuration = shipped("nginx.conf");
    assert!(configuration.contains(from));
    let file = dir.path().join("nginx.conf");
    std::fs::write(&file, configuration.replace(from, to)).unwrap();
    let nginx = Nginx::before(&servers.each_ref().map(CouponServer::port), &file);
    let run = dir.path().join("run");
    let mut loadgen = Command::new(binary("loadgen"));
    loadgen.arg("run").arg(root().join("scenarios/smoke.yaml")).arg("--out").arg(&run);
    let output =
        loadgen.args(["--target", &nginx.url(), "--store", &redis.url()]).output().unwrap();
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{text}");
    let mut verifier = Command::new(binary("verifier"));
    verifier.args(["check", "--format", "json", "--run"]).arg(&run);
    let output = verifier.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "valid", "{report:#}\n{text}");
}
