//! Starts servers, and asks them.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use contract::wire::{self, Campaign, Issued, LedgerPage, LedgerRow, Problem, ProblemCode};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::json;

/// Longest that anything may take here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A store for one test.
pub(crate) enum Store {
    Redis(e2e::Redis),
    RedisCluster(e2e::RedisCluster),
    RedisSentinel(Box<e2e::RedisSentinel>),
    Sqlite(tempfile::TempDir),
    /// With the flags that belong to it.
    Postgres(e2e::Postgres, &'static [&'static str]),
}

impl Store {
    pub(crate) fn redis() -> Self {
        Self::Redis(e2e::Redis::start())
    }

    pub(crate) fn redis_cluster() -> Self {
        Self::RedisCluster(e2e::RedisCluster::start())
    }

    pub(crate) fn redis_sentinel() -> Self {
        Self::RedisSentinel(Box::new(e2e::RedisSentinel::start()))
    }

    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres(e2e::Postgres::start(), &[])
    }

    /// Where no two requests share a transaction.
    pub(crate) fn postgres_alone() -> Self {
        Self::Postgres(e2e::Postgres::start(), &["--alone"])
    }

    pub(crate) fn flag(&self) -> String {
        match self {
            Self::Redis(redis) => redis.url(),
            Self::RedisCluster(cluster) => cluster.url(),
            Self::RedisSentinel(servers) => servers.url(),
            Self::Postgres(postgres, _) => postgres.url(),
            Self::Sqlite(dir) => format!("sqlite:{}", dir.path().join("coupons.db").display()),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Redis(_)
            | Self::RedisCluster(_)
            | Self::RedisSentinel(_)
            | Self::Postgres(..) => {
                panic!("no file")
            }
            Self::Sqlite(dir) => dir.path().join("coupons.db"),
        }
    }

    pub(crate) fn instance(&self) -> Instance {
        self.instance_with(&[])
    }

    pub(crate) fn instance_with(&self, flags: &[&str]) -> Instance {
        let own = match self {
            Self::Redis(_) | Self::RedisCluster(_) | Self::RedisSentinel(_) | Self::Sqlite(_) => {
                &[]
            }
            Self::Postgres(_, flags) => *flags,
        };
        Instance::start(command(&self.flag()).args(own).args(flags))
    }
}

/// The binary on a free port, without the environment of whoever runs the tests.
pub(crate) fn command(store: &str) -> Command {
    let mut command = binary();
    command.args(["--store", store, "--listen", "127.0.0.1:0"]);
    command
}

pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coupon-server"));
    command.env_remove("PORT").env_remove("REDIS_ADDR").env_remove("RUST_LOG");
    command.env_remove("ADMIN_TOKEN").env_remove("ISSUE_TOKEN").env_remove("SENTRY_DSN");
    let foreign =
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"OTEL_"));
    foreign.for_each(|(name, _)| _ = command.env_remove(name));
    command
}

/// Checks for exit code 2 and one line on stderr; returns the line.
#[track_caller]
pub(crate) fn refused(command: &mut Command) -> String {
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = process.stderr.take().unwrap();
    let (all, text) = channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        let _ = all.send(text);
    });
    // Ends with the process, which a server that was not refused would never do.
    let text = text.recv_timeout(3 * PATIENCE);
    if text.is_err() {
        let _ = process.kill();
    }
    let status = process.wait().unwrap();
    let text = text.expect("it started, or it hangs");
    assert_eq!(status.code(), Some(2), "{text}");
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n') && line.starts_with("coupon-server: "), "{text}");
    line.to_owned()
}

/// A running server.
pub(crate) struct Instance {
    process: Child,
    pub(crate) url: String,
    log: Mutex<Receiver<String>>,
    /// Where nobody else needs it.
    own_store: Option<Store>,
    pub(crate) client: Client,
}

impl Instance {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (lines, log) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    // The pipe stays open: a server that cannot log must not fail for it.
                }
            }
        });
        let mut seen = Vec::new();
        let url = loop {
            let Ok(line) = log.recv_timeout(PATIENCE) else { panic!("no server: {seen:?}") };
            if let Some((_, address)) = line.split_once("listening on ") {
                let end = address.find('"').unwrap_or(address.len());
                break address[..end].to_owned();
            }
            seen.push(line);
        };
        Self { process, url, log: Mutex::new(log), own_store: None, client: client() }
    }

    /// The only instance of a store of its own.
    pub(crate) fn alone(flags: &[&str]) -> Self {
        let store = Store::sqlite();
        let mut instance = store.instance_with(flags);
        instance.own_store = Some(store);
        instance
    }

    /// The next line of its log, or nothing once it has ended.
    pub(crate) fn log_line(&self) -> Option<String> {
        self.log.lock().unwrap().recv_timeout(PATIENCE).ok()
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    pub(crate) async fn create(&self, coupons: u64, starts_in_ms: i64, limit: bool) -> Campaign {
        let starts_at = Utc::now() + chrono::Duration::milliseconds(starts_in_ms);
        self.create_at(coupons, starts_at, limit).await
    }

    pub(crate) async fn create_at(
        &self,
        coupons: u64,
        starts_at: DateTime<Utc>,
        limit: bool,
    ) -> Campaign {
        let mut body = json!({ "name": "launch", "coupons": coupons,
            "starts_at": starts_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true) });
        if limit {
            body["per_user_limit"] = json!(1);
        }
        let answer = self.post(wire::CAMPAIGNS).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        let campaign: Campaign = answer.json().await.unwrap();
        assert_eq!(location, wire::campaign_path(&campaign.id));
        campaign
    }

    pub(crate) async fn campaign(&self, id: &str) -> Campaign {
        self.get(&wire::campaign_path(id)).send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn issue(&self, id: &str, user: Option<&str>, key: Option<&str>) -> Told {
        let mut request = self.post(&wire::coupons_path(id));
        if let Some(user) = user {
            request = request.json(&json!({ "user": user }));
        }
        if let Some(key) = key {
            request = request.header(wire::header::IDEMPOTENCY_KEY, key);
        }
        match request.send().await {
            Ok(answer) => told(answer).await,
            Err(e) => Told::Nothing(e.to_string()),
        }
    }

    pub(crate) async fn ledger(&self, id: &str) -> Vec<LedgerRow> {
        let (mut rows, mut after) = (Vec::new(), 0);
        loop {
            let path = format!("{}?after={after}&limit=1000", wire::coupons_path(id));
            let page: LedgerPage = self.get(&path).send().await.unwrap().json().await.unwrap();
            rows.extend(page.coupons);
            match page.next_after {
                Some(next) => after = next,
                None => return rows,
            }
        }
    }

    /// Waits for a line of its log that holds this.
    #[track_caller]
    pub(crate) fn until_log(&self, text: &str) -> String {
        loop {
            let line = self.log_line().expect("the log ended, or nothing comes");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Stops it, and gives the lines of its log that nobody has read.
    pub(crate) fn stop(&mut self) -> Vec<String> {
        self.signal("-TERM");
        assert_eq!(self.wait().code(), Some(0));
        std::iter::from_fn(|| self.log_line()).collect()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([name, &self.process.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // Only now: the server must not lose its file while it runs.
        drop(self.own_store.take());
    }
}

/// Asks again and again until it holds.
pub(crate) async fn until(holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "it never holds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn client() -> Client {
    Client::builder().retry(reqwest::retry::never()).no_proxy().timeout(PATIENCE).build().unwrap()
}

/// What an issue request was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Issued(Issued),
    Refused(Box<Problem>),
    Nothing(String),
}

impl Told {
    #[track_caller]
    pub(crate) fn coupon(self) -> Issued {
        match self {
            Self::Issued(coupon) => coupon,
            Self::Refused(problem) => panic!("refused: {problem:?}"),
            Self::Nothing(error) => panic!("no answer: {error}"),
        }
    }

    #[track_caller]
    pub(crate) fn refusal(self) -> Problem {
        match self {
            Self::Refused(problem) => *problem,
            Self::Issued(coupon) => panic!("issued: {coupon:?}"),
            Self::Nothing(error) => panic!("no answer: {error}"),
        }
    }

    #[track_caller]
    pub(crate) fn code(self) -> ProblemCode {
        self.refusal().code
    }
}

pub(crate) async fn told(answer: Response) -> Told {
    if answer.status() == StatusCode::CREATED {
        return match answer.json().await {
            Ok(coupon) => Told::Issued(coupon),
            Err(e) => Told::Nothing(e.to_string()),
        };
    }
    match problem(answer).await {
        Ok(problem) => Told::Refused(Box::new(problem)),
        Err(e) => Told::Nothing(e.to_string()),
    }
}

/// An error's body; checks that its head says the same.
pub(crate) async fn problem(answer: Response) -> reqwest::Result<Problem> {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], wire::PROBLEM_JSON);
    let problem: Problem = answer.json().await?;
    assert_eq!((problem.status, problem.code.status()), (status, status));
    assert_eq!(problem.kind, format!("urn:coupon:problem:{}", problem.code.name()));
    Ok(problem)
}

/// Ranks without a gap, codes of ten right characters that all differ.
#[track_caller]
pub(crate) fn assert_sound(rows: &[LedgerRow]) {
    for (row, seq) in rows.iter().zip(1..) {
        assert_eq!(row.seq, seq);
        assert_eq!(row.code.chars().count(), 10, "{}", row.code);
        let right = |c| ('가'..='힣').contains(&c) || ('2'..='9').contains(&c);
        assert!(row.code.chars().all(right), "{}", row.code);
    }
    let codes: HashSet<_> = rows.iter().map(|row| &row.code).collect();
    assert_eq!(codes.len(), rows.len(), "a code was given twice");
}

/// The next request to a stand-in for a service, which answers it with this: its head and its body.
pub(crate) fn take_request(listener: &TcpListener, answer: &str) -> (String, Vec<u8>) {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(&stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let length = head.to_lowercase();
    let length = length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
        answer.len()
    );
    (&stream).write_all(answer.as_bytes()).unwrap();
    (head, body)
}
