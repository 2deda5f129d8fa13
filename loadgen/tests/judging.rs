//! What a run says about itself: thresholds and exit codes, the figures' files, the plan.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/ended.rs"]
mod ended;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use chrono::Utc;
use contract::wire::{self, NewCampaign, Problem, ProblemCode, Status};
use ended::text;
use serde_json::Value;

/// A system that refuses everything: each connection has a thread of its own.
fn refuser() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || refuse(stream.unwrap()));
        }
    });
    url
}

fn refuse(stream: TcpStream) {
    let mut out = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream);
    loop {
        let (mut head, mut line) = (String::new(), String::new());
        while lines.read_line(&mut line).unwrap_or(0) > 2 {
            head.push_str(&std::mem::take(&mut line));
        }
        if head.is_empty() {
            return;
        }
        let length = head
            .to_lowercase()
            .lines()
            .find_map(|l| l.strip_prefix("content-length:").and_then(|n| n.trim().parse().ok()));
        let mut body = vec![0; length.unwrap_or(0)];
        lines.read_exact(&mut body).unwrap();
        let (status, answer) = answer(&head, &body);
        let text = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        if out.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(head: &str, body: &[u8]) -> (u16, String) {
    if head.starts_with("POST /campaigns ") {
        let new = serde_json::from_slice(body).unwrap();
        return (201, serde_json::to_string(&campaign(new)).unwrap());
    }
    if head.starts_with("GET ") {
        let (name, coupons, starts_at) = ("s".into(), 1, Utc::now());
        let new = NewCampaign { name, coupons, starts_at, per_user_limit: None };
        return (200, serde_json::to_string(&campaign(new)).unwrap());
    }
    (409, serde_json::to_string(&Problem::new(ProblemCode::SoldOut, "")).unwrap())
}

fn campaign(new: NewCampaign) -> wire::Campaign {
    wire::Campaign {
        id: "1".into(),
        name: new.name,
        status: Status::Scheduled,
        coupons: new.coupons,
        issued: 0,
        remaining: new.coupons,
        starts_at: new.starts_at,
        per_user_limit: None,
        opened_at: None,
        now: Utc::now(),
    }
}

const SCENARIO: &str = "name: s
campaign: { coupons: 10, starts_in: 300ms }
system: { targets: ['TARGET'] }
load:
  begin: -100ms
  stages: [{ for: 500ms, rate: 200 }]
  timeout: 300ms
";

fn loadgen(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    ended::in_time(command.current_dir(dir).args(arguments))
}

/// Runs the scenario with these thresholds and further assignments.
fn run(dir: &Path, thresholds: &str, set: &[&str]) -> Output {
    let scenario = SCENARIO.replace("TARGET", &refuser());
    std::fs::write(dir.join("s.yaml"), format!("{scenario}thresholds:\n{thresholds}")).unwrap();
    let mut arguments = vec!["run", "s.yaml", "--out", "run"];
    set.iter().for_each(|s| arguments.extend(["--set", s]));
    loadgen(dir, &arguments)
}

fn summary(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("run/summary.json")).unwrap()).unwrap()
}

#[test]
fn thresholds_that_hold_are_a_success() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(
        dir.path(),
        "  - { figure: response.p90, of: refused, below: 10s }\n  - { figure: dropped, below: 1 }\n",
        &[],
    );
    ended::assert_sound(output.status.code(), &text(&output));
    assert!(text(&output).contains("✓ response.p90 of refused below 10s: "), "{}", text(&output));
    assert_eq!(summary(dir.path())["thresholds"][1]["measured"], 0.0);
}

#[test]
fn a_threshold_that_does_not_hold_is_exit_1_and_all_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(
        dir.path(),
        "  - { figure: dropped, below: 1 }\n  - { figure: response.p99, of: issued, below: 1h }\n",
        &[],
    );
    let text = text(&output);
    let code = output.status.code();
    assert!(code == Some(1) || ended::is_slow(code, &text), "{text}");
    assert!(text.contains("✓ dropped below 1: 0\n"), "{text}");
    assert!(text.contains("✗ response.p99 of issued below 1h: no samples\n"), "{text}");
    let thresholds = &summary(dir.path())["thresholds"];
    assert_eq!((&thresholds[0]["holds"], &thresholds[1]["holds"]), (&true.into(), &false.into()));
    assert!(thresholds[1]["measured"].is_null());
}

#[test]
fn figures_that_must_not_be_trusted_are_worse_than_a_missed_threshold() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(
        dir.path(),
        "  - { figure: dropped, below: 1 }\n",
        // A burst of more than may be in flight: most of it is dropped.
        &["load.max_in_flight=1", "load.bursts=[{at: 0s, requests: 2000, over: 0s}]"],
    );
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("✗ dropped below 1: "), "{}", text(&output));
    assert!(text(&output).contains("attempts that were due were dropped"), "{}", text(&output));
}

#[test]
fn an_interrupted_run_is_neither_sound_nor_a_missed_threshold() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = SCENARIO.replace("TARGET", &refuser()).replace("500ms", "60s");
    let thresholds = "thresholds: [{ figure: issued, above: 1 }]\n";
    std::fs::write(dir.path().join("s.yaml"), format!("{scenario}{thresholds}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.current_dir(dir.path()).args(["run", "s.yaml", "--out", "run"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    ended::wait_until(&mut child, || loading(dir.path()));
    std::thread::sleep(Duration::from_millis(500));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert!(text(&output).contains("✗ issued above 1: 0\n"), "{}", text(&output));
}

/// Whether a load thread has begun its part of the history, beside the control segment.
fn loading(dir: &Path) -> bool {
    std::fs::read_dir(dir.join("run/history")).is_ok_and(|entries| entries.count() > 1)
}

#[test]
fn the_figures_lie_beside_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), "  - { figure: dropped, below: 1 }\n", &[]);
    let printed = text(&output);
    let widest = printed.lines().map(|l| l.chars().count()).max().unwrap();
    assert!(widest <= 100, "{widest} columns:\n{printed}");

    let summary = summary(dir.path());
    assert_eq!(summary["format"], "coupon-summary/1");
    assert_eq!(summary["times"]["response_of_refused"]["samples"], 100);
    assert!(summary["times"]["response"]["p99_us"].is_null(), "100 samples are too few");
    assert!(summary["times"]["response"]["p90_interval_us"][1].is_f64());
    let phases: Vec<&str> = summary["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["phase"].as_str().unwrap())
        .collect();
    assert_eq!(phases, ["before_start", "selling", "sold_out"]);
    assert_eq!(summary["first_second"].as_array().unwrap().len(), 10);
    assert!(summary["self_check"]["start_lag_us"].is_f64(), "{summary}");

    let prom = std::fs::read_to_string(dir.path().join("run/summary.prom")).unwrap();
    for line in [
        "coupon_load_arrivals{scenario=\"s\",fate=\"sent\"} 100",
        "coupon_load_attempts{scenario=\"s\",target=\"api-1\",outcome=\"sold_out\"} 100",
        "coupon_load_threshold_holds{scenario=\"s\",threshold=\"dropped below 1\"} 1",
        "coupon_load_sound{scenario=\"s\"} 1",
    ] {
        assert!(prom.lines().any(|l| l == line), "{line} is not in\n{prom}");
    }
    assert_exposition(&prom);

    let log = std::fs::read_to_string(dir.path().join("run/response.hlog")).unwrap();
    assert!(
        log.contains("#[BaseTime: ") && log.lines().last().unwrap().contains(",HISTF"),
        "{log}"
    );
}

/// Each sample belongs to the metric announced last; no metric and no series is there twice.
fn assert_exposition(prom: &str) {
    let (mut seen, mut current) = (Vec::new(), "");
    for line in prom.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            current = rest.strip_suffix(" gauge").unwrap();
            assert!(!seen.contains(&current), "{current} twice");
            seen.push(current);
        } else if !line.starts_with("# HELP ") {
            let (name, rest) = line.split_once('{').unwrap();
            let series = line.rsplit_once(' ').unwrap().0;
            assert!(!seen.contains(&series), "{series} twice");
            seen.push(series);
            assert_eq!(name, current);
            assert!(rest.rsplit_once("} ").unwrap().1.parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn a_plan_is_shown_and_a_dead_target_stands_in_its_way() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.yaml"), SCENARIO.replace("TARGET", &refuser())).unwrap();
    for arguments in [&["plan", "s.yaml"][..], &["run", "s.yaml", "--dry-run", "--out", "never"]] {
        let output = loadgen(dir.path(), arguments);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.starts_with("s: 100 arrivals from -97ms to 397ms of the start"), "{text}");
        assert!(text.contains(" -1            20 \n 0             80 "), "{text}");
        assert!(text.contains("accepts connections"), "{text}");
    }
    assert!(!dir.path().join("never").exists() && !dir.path().join("runs").exists());
    let output = loadgen(dir.path(), &["plan", "s.yaml", "--latency=-1s"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("expected more than 0s"), "{}", text(&output));
    let dead = format!("http://127.0.0.1:{}", e2e::free_port());
    let output = loadgen(dir.path(), &["plan", "s.yaml", "--target", &dead]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("✗ http://127.0.0.1:"), "{}", text(&output));
}

#[test]
fn every_scenario_that_is_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("good.yaml", SCENARIO.replace("TARGET", "http://h:1").as_str());
    let bad = |threshold: &str| {
        format!("{}thresholds:\n  - {threshold}\n", SCENARIO.replace("TARGET", "http://h:1"))
    };
    write("figure.yaml", &bad("{ figure: respnse.p99, below: 1s }"));
    write("unit.yaml", &bad("{ figure: response.p99, below: 5 }"));
    write("limit.yaml", &bad("{ figure: failed.share, below: 1x }"));
    write("key.yaml", &bad("{ figure: dropped, belw: 1 }"));
    let names = ["good.yaml", "figure.yaml", "unit.yaml", "limit.yaml", "key.yaml"];
    let output = loadgen(dir.path(), &[&["validate"], &names[..]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "good.yaml: ok\n");
    let errors = String::from_utf8(output.stderr).unwrap();
    let want = [
        "loadgen: figure.yaml:9:15: thresholds[0].figure: unknown figure \"respnse.p99\"; did you mean response.p99?",
        "loadgen: unit.yaml:9:36: thresholds[0].below: response.p99 needs a duration with its unit, like 250ms",
        "loadgen: limit.yaml:9:36: thresholds[0].below: found \"1x\", expected a duration like 250ms, a share like 1%",
        "loadgen: key.yaml:9:24: thresholds[0]: unknown key `belw`; did you mean `below`?",
    ];
    assert_eq!(errors.lines().count(), want.len(), "{errors}");
    for (line, want) in errors.lines().zip(want) {
        assert!(line.starts_with(want), "\n  {line}\nlacks\n  {want}");
    }
}

#[test]
fn completions_and_manual_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = loadgen(dir.path(), &["completions", shell]);
        assert!(text(&output).contains("validate"), "{shell}: {}", text(&output));
    }
    assert!(text(&loadgen(dir.path(), &["man"])).contains(".TH loadgen 1"));
    assert!(loadgen(dir.path(), &["man", "--out", "."]).status.success());
    assert!(dir.path().join("loadgen-run.1").is_file());
}

#[test]
fn the_template_is_valid_and_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    let loadgen = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command.current_dir(dir.path()).args(arguments).output().unwrap().status.code()
    };
    assert_eq!(loadgen(&["init", "new.yaml"]), Some(0));
    assert_eq!(loadgen(&["validate", "new.yaml"]), Some(0));
    std::fs::write(dir.path().join("new.yaml"), "precious").unwrap();
    assert_eq!(loadgen(&["init", "new.yaml"]), Some(2));
    assert_eq!(std::fs::read_to_string(dir.path().join("new.yaml")).unwrap(), "precious");
}
