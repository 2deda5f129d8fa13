//! What is measured: servers in processes of their own, the store behind them, and what both cost.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::limit;

/// PostgreSQL as it is installed: a coupon is on disk before it is answered.
const DURABLE: [&str; 3] = ["fsync=on", "synchronous_commit=on", "full_page_writes=on"];

/// A store that nobody else uses.
pub(crate) enum Store {
    Sqlite(TempDir),
    Redis(e2e::Redis),
    Postgres(e2e::Postgres),
}

impl Store {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// Without persistence.
    pub(crate) fn redis() -> Self {
        Self::Redis(e2e::Redis::start())
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres(e2e::Postgres::start_with(&DURABLE))
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(dir) => format!("sqlite:{}", dir.path().join("bench.db").display()),
            Self::Redis(redis) => redis.url(),
            Self::Postgres(postgres) => postgres.url(),
        }
    }

    /// Processor time of its own processes until now; none where it works inside the servers.
    fn cpu(&self) -> Option<Duration> {
        let pid = match self {
            Self::Sqlite(_) => return None,
            Self::Redis(redis) => redis.pid(),
            Self::Postgres(postgres) => postgres.pid(),
        };
        Some(cpu(pid) + children(pid).into_iter().map(cpu).sum::<Duration>())
    }
}

/// A server process.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// The limit: see [`limit`].
    fn bare() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut process = command.arg(limit::ROLE).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, port: line.trim().parse().unwrap() }
    }

    fn coupon_server(store: &str, flags: &[&str]) -> Self {
        let port = e2e::free_port();
        let mut command = Command::new(e2e::binary("coupon-server"));
        command.args(["--store", store, "--listen", &format!("127.0.0.1:{port}")]).args(flags);
        let mut server = Self { process: command.stderr(Stdio::null()).spawn().unwrap(), port };
        while server.ask("GET", "/readyz", "").is_none_or(|(status, _)| status != 200) {
            assert!(server.process.try_wait().unwrap().is_none(), "{command:?} has ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    /// Status and body of an answer; nothing where nobody listens.
    fn ask(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// A figure that it tells of itself.
    fn metric(&self, name: &str) -> f64 {
        let (_, metrics) = self.ask("GET", "/metrics", "").unwrap();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    }

    /// Memory that is no file's, KiB.
    pub(crate) fn memory(&self) -> f64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// Servers on one store, with a campaign that does not sell out.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// Dropped before their store.
    pub(crate) servers: Vec<Server>,
    pub(crate) store: Option<Store>,
    /// Where coupons of the campaign are asked for.
    pub(crate) path: String,
    /// Who asks, as a scenario's template.
    pub(crate) user: &'static str,
}

/// Users who are numbered in the order in which they ask.
const NUMBERED: &str = "{user}";

impl Subject {
    pub(crate) fn bare(name: &'static str) -> Self {
        let path = "/campaigns/1/coupons".to_owned();
        Self { name, servers: vec![Server::bare()], store: None, path, user: NUMBERED }
    }

    /// `instances` servers with these flags.
    pub(crate) fn new(name: &'static str, store: Store, instances: usize, flags: &[&str]) -> Self {
        let url = store.url();
        let servers: Vec<Server> =
            (0..instances).map(|_| Server::coupon_server(&url, flags)).collect();
        let store = Some(store);
        let mut subject = Self { name, servers, store, path: String::new(), user: NUMBERED };
        subject.renew();
        subject
    }

    /// Asked by users whose names come in no order.
    pub(crate) fn by_anybody(self) -> Self {
        Self { user: "{uuid}", ..self }
    }

    /// Goes over to an empty campaign.
    pub(crate) fn renew(&mut self) {
        self.path = format!("{}/coupons", self.campaign());
    }

    /// Path of a new campaign, which is open.
    pub(crate) fn campaign(&self) -> String {
        let new = r#"{"name":"bench","coupons":100000000,"starts_at":"2020-01-01T00:00:00Z"}"#;
        let (status, body) = self.servers[0].ask("POST", "/campaigns", new).unwrap();
        assert_eq!(status, 201, "{body}");
        let campaign: Value = serde_json::from_str(&body).unwrap();
        format!("/campaigns/{}", campaign["id"].as_str().unwrap())
    }

    /// How many coupons of its campaign are issued.
    pub(crate) fn issued(&self) -> u64 {
        self.issued_of(self.path.strip_suffix("/coupons").unwrap())
    }

    /// How many coupons of another campaign are issued.
    pub(crate) fn issued_of(&self, campaign: &str) -> u64 {
        let (_, body) = self.servers[0].ask("GET", campaign, "").unwrap();
        serde_json::from_str::<Value>(&body).unwrap()["issued"].as_u64().unwrap()
    }

    /// Steps of the store until now, where there is one.
    pub(crate) fn steps(&self) -> Option<f64> {
        self.store.as_ref()?;
        Some(self.servers.iter().map(|server| server.metric("coupon_batch_count")).sum())
    }

    /// Processor time of the servers until now, and of the store where it has processes of its own.
    pub(crate) fn cpu(&self) -> (Duration, Option<Duration>) {
        let servers = self.servers.iter().map(|server| cpu(server.process.id())).sum();
        (servers, self.store.as_ref().and_then(Store::cpu))
    }
}

fn cpu(pid: u32) -> Duration {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    // One of PostgreSQL's may have ended by itself.
    clock_getcpuclockid(pid).and_then(clock_gettime).map_or(Duration::ZERO, Duration::from)
}

fn children(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    listed.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
