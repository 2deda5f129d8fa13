//! A run that is judged with a mapping, and a server that lists coupons.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use tempfile::NamedTempFile;

/// Three coupons for u1, u4 and u2; the last answer was lost, and two others were refused.
pub(crate) const HISTORY: &str = r#"{"type":"header","format":"coupon-history/1"}
{"type":"campaign","campaign":"7","coupons":3,"starts_at":{"earliest":0,"latest":100},"per_user":null}
{"type":"invoke","op":3,"campaign":"7","kind":"issue","at":-2000000,"user":"u3","target":1}
{"type":"invoke","op":1,"campaign":"7","kind":"issue","at":-1000000,"user":"u1","target":0}
{"type":"complete","op":3,"at":50,"outcome":"not_started"}
{"type":"invoke","op":2,"campaign":"7","kind":"issue","at":1000000,"user":"u2","target":0}
{"type":"invoke","op":4,"campaign":"7","kind":"issue","at":2000000,"user":"u4","target":1}
{"type":"complete","op":1,"at":3000000,"outcome":"issued","code":"가나1"}
{"type":"complete","op":4,"at":4000000,"outcome":"issued","code":"다라2"}
{"type":"invoke","op":5,"campaign":"7","kind":"issue","at":6000000,"user":"u5","target":0}
{"type":"invoke","op":6,"campaign":"7","kind":"issue","at":6000000,"user":"u6","target":1}
{"type":"complete","op":5,"at":8000000,"outcome":"sold_out"}
{"type":"complete","op":6,"at":8000000,"outcome":"sold_out"}
{"type":"complete","op":2,"at":9000000,"outcome":"indeterminate"}
{"type":"trailer","invocations":6,"completions":6}
"#;

/// What the verifier says.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Its exit code.
    pub(crate) code: i32,
    /// What it prints, or why it could not run.
    pub(crate) text: String,
    /// The checks that proved something.
    pub(crate) found: Vec<String>,
}

/// A file with this text.
pub(crate) fn file(text: &str) -> NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn run(mapping: &str, store: Option<&str>) -> Judged {
    let (history, mapping) = (file(HISTORY), file(mapping));
    let mut command = Command::new(env!("CARGO_BIN_EXE_verifier"));
    command.args(["check", "--settle", "0.3", "--history"]).arg(history.path());
    command.arg("--mapping").arg(mapping.path());
    command.args(store.iter().flat_map(|store| ["--store", store]));
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    let proven = text.lines().filter_map(|line| line.strip_prefix("  ✗ ")?.split_once(": "));
    let mut found: Vec<String> = proven.map(|(check, _)| check.to_owned()).collect();
    found.dedup();
    Judged { code: output.status.code().unwrap(), text, found }
}

/// Judges with a mapping whose store is at this URL.
pub(crate) fn judge(mapping: &str, store: &str) -> Judged {
    run(mapping, Some(store))
}

/// Judges with a mapping that names its stores.
pub(crate) fn judge_alone(mapping: &str) -> Judged {
    run(mapping, None)
}

/// The run and its store are valid together.
pub(crate) fn valid_with(name: &str, mapping: &str, store: &str) -> Judged {
    let judged = judge(mapping, store);
    assert_eq!(judged.code, 0, "{name}: {}", judged.text);
    judged
}

/// The run and its store contradict each other, and this check says so.
pub(crate) fn wrong_with(name: &str, mapping: &str, store: &str, check: &str) {
    let judged = judge(mapping, store);
    assert_eq!(judged.code, 1, "{name}: {}", judged.text);
    assert!(judged.found.iter().any(|found| found == check), "{name}: {}", judged.text);
}

/// What the verifier prints where nothing is wrong.
pub(crate) fn verifier(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_verifier")).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A system that lists its coupons over HTTP, two a page.
#[derive(Debug)]
pub(crate) struct Lists {
    port: u16,
}

impl Lists {
    /// Starts one with these users and codes. It ends with the test.
    pub(crate) fn start(coupons: &[(&'static str, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let coupons = coupons.to_vec();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let coupons = coupons.clone();
                std::thread::spawn(move || serve(stream, &coupons));
            }
        });
        Self { port }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn serve(mut stream: TcpStream, coupons: &[(&str, &str)]) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while let Some(Ok(first)) = lines.next() {
        let head: Vec<String> =
            lines.by_ref().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
        let path = first.split(' ').nth(1).unwrap().to_owned();
        let allowed = head.iter().any(|line| line.starts_with("x-token: /"));
        let (status, body) = answer(&path, allowed, coupons);
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(path: &str, allowed: bool, coupons: &[(&str, &str)]) -> (&'static str, String) {
    let (place, query) = path.split_once('?').unwrap_or((path, ""));
    let number = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.map(|text| text.parse::<usize>().unwrap_or(0))
    };
    let from = match (number("page"), number("offset"), number("next")) {
        (Some(page), _, _) => (page - 1) * 2,
        (_, Some(from), _) | (_, _, Some(from)) => from,
        (None, None, None) => 0,
    };
    match place {
        "/list" if allowed && query.starts_with("c=7&") => {
            let row = |(user, code): &(&str, &str)| serde_json::json!({"user": user, "code": code});
            let items: Vec<_> = coupons.iter().skip(from).take(2).map(row).collect();
            let next = (from + 2 < coupons.len()).then(|| (from + 2).to_string());
            ("200 OK", serde_json::json!({"items": items, "next": next}).to_string())
        }
        "/campaigns/7" => {
            ("200 OK", serde_json::json!({"data": {"left": 3 - coupons.len()}}).to_string())
        }
        "/same" => ("200 OK", r#"["가"]"#.into()),
        "/500" => ("500 Internal Server Error", String::new()),
        _ => ("404 Not Found", String::new()),
    }
}
