//! No retry is hidden anywhere: behind a server that resets connections at every stage, each request
//! that it read in full is an attempt of its own in the history, and none comes twice.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/ended.rs"]
mod ended;
#[path = "support/history.rs"]
mod history;

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contract::outcome::{Doubt, Failure, Outcome};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// What is done with a connection's next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Answers,
    /// Resets before it reads anything.
    Deaf,
    /// Resets once it has read the request.
    Mute,
    /// Resets in the middle of the answer.
    Stutters,
}

/// The `x-op` of every request that was read in full.
type Read = Arc<Mutex<Vec<u64>>>;

/// Resets a part of the connections, the same with the same seed.
fn moody(seed: u64) -> (String, Read) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let read = Read::default();
    let (noted, lots) = (Arc::clone(&read), Arc::new(Mutex::new(StdRng::seed_from_u64(seed))));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (noted, lots) = (Arc::clone(&noted), Arc::clone(&lots));
            std::thread::spawn(move || {
                let stream = stream.unwrap();
                while converse(&stream, manner(&lots), &noted) {}
                // Closed without a goodbye.
                let none = Some(Duration::ZERO);
                let _ = rustix::net::sockopt::set_socket_linger(&stream, none);
            });
        }
    });
    (url, read)
}

fn manner(lots: &Mutex<StdRng>) -> Manner {
    match lots.lock().unwrap().random_range(0..20) {
        0 => Manner::Deaf,
        1..=2 => Manner::Mute,
        3..=4 => Manner::Stutters,
        _ => Manner::Answers,
    }
}

/// One request; says whether the connection goes on.
fn converse(mut stream: &TcpStream, manner: Manner, noted: &Read) -> bool {
    if manner == Manner::Deaf {
        // Not before there is something to be deaf to.
        let _ = stream.peek(&mut [0]);
        return false;
    }
    let Some(op) = request(stream) else { return false };
    noted.lock().unwrap().push(op);
    let answer = "HTTP/1.1 409 Conflict\r\ncontent-length: 16\r\n\r\n0123456789abcdef";
    match manner {
        Manner::Answers => stream.write_all(answer.as_bytes()).is_ok(),
        Manner::Stutters => {
            let _ = stream.write_all(&answer.as_bytes()[..answer.len() - 9]);
            false
        }
        Manner::Mute | Manner::Deaf => false,
    }
}

/// The number of the next request, once it was read in full.
fn request(stream: &TcpStream) -> Option<u64> {
    let mut lines = BufReader::new(stream);
    let (mut op, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok().filter(|n| *n > 0)?;
        match line.trim_end().split_once(": ") {
            Some(("x-op", n)) => op = n.parse().ok(),
            Some(("content-length", n)) => length = n.parse().ok()?,
            Some(_) => {}
            None if line == "\r\n" => break,
            None => {}
        }
    }
    lines.read_exact(&mut vec![0; length]).ok()?;
    op
}

const SCENARIO: &str = "name: s
campaign: { coupons: 10, starts_in: 500ms }
system: { targets: ['http://127.0.0.1:1'] }
mapping:
  request: REQUEST
  outcomes: [{ status: 409, is: sold_out }]
load:
  begin: -400ms
  stages: [{ for: 600ms, rate: 500 }]
  timeout: 60s
";

/// 300 arrivals in front of a moody server.
fn nothing_is_sent_twice(request: &str, set: &[&str]) {
    let (url, read) = moody(7);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.yaml"), SCENARIO.replace("REQUEST", request)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.current_dir(dir.path()).args(["run", "s.yaml", "--out", "run", "--target", &url]);
    set.iter().for_each(|set| _ = command.args(["--set", set]));
    let output = ended::in_time(&mut command);
    let text = ended::text(&output);

    let attempts = history::operations(&dir.path().join("run"));
    let read = read.lock().unwrap();
    let once: HashSet<u64> = read.iter().copied().collect();
    assert_eq!(read.len(), once.len(), "a request came twice\n{text}");
    let of = |wanted: fn(&Outcome<'_>) -> bool| -> HashSet<u64> {
        let matching = attempts.iter().filter(|(_, c)| wanted(&c.outcome));
        matching.map(|(i, _)| i.op).collect()
    };
    let unwritten =
        of(|o| matches!(o, Outcome::Failed(Failure::NotConnected | Failure::NotWritten)));
    let written: HashSet<u64> =
        attempts.iter().map(|(i, _)| i.op).filter(|op| !unwritten.contains(op)).collect();
    assert!(once.is_subset(&written), "{:?}\n{text}", once.difference(&written));
    assert!(of(|o| *o == Outcome::SoldOut).is_subset(&once));
    // Every manner was met: in doubt is what was read and what was not.
    let doubtful =
        of(|o| matches!(o, Outcome::Indeterminate(Doubt::Disconnected | Doubt::Unreadable)));
    assert!(doubtful.intersection(&once).count() > 20, "{text}");
    assert!(doubtful.difference(&once).count() > 0, "{text}");
    assert!(text.contains("planned 300"), "{text}");
    let summary = std::fs::read(dir.path().join("run/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(summary["accounting"]["holds"], true, "{text}");
    let follow_ups = summary["accounting"]["follow_ups"].as_u64().unwrap();
    assert_eq!(attempts.len() as u64, 300 + follow_ups);
    assert_eq!(follow_ups > 0, !set.is_empty(), "{text}");
}

#[test]
fn not_with_an_idempotency_key() {
    let request = "{ path: /claim, headers: { idempotency-key: '{key}', x-op: '{n}' } }";
    nothing_is_sent_twice(request, &[]);
}

#[test]
fn not_where_http_would_allow_it() {
    nothing_is_sent_twice("{ method: GET, path: /claim, headers: { x-op: '{n}' } }", &[]);
}

#[test]
fn not_but_by_a_buyer_who_is_told_to() {
    let request = "{ path: /claim, headers: { idempotency-key: '{key}', x-op: '{n}' } }";
    let retry = "buyers=[{retry: [{on: [disconnected], at_most: 2, after: 1ms}]}]";
    nothing_is_sent_twice(request, &[retry]);
}
