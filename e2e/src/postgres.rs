//! A PostgreSQL of its own for each test.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::free_port;
use crate::service::{CERTIFICATE, Folder, KEY, Service, find};
use crate::tls::Tls;

/// A running PostgreSQL on a free loopback port, with its data in a folder of its own.
#[derive(Debug)]
pub struct Postgres {
    service: Service,
    port: u16,
}

impl Postgres {
    /// Starts one, with an empty database `postgres`, a superuser `postgres` that needs no password,
    /// and nothing that lasts.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not come up; the message says what to do.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further settings, such as `["fsync=on"]`.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not come up; the message says what to do.
    pub fn start_with(settings: &[&str]) -> Self {
        Self::start_in(Folder::of(&["postgres"]), settings)
    }

    /// Starts one that speaks TLS as well.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not come up; the message says what to do.
    pub fn start_with_tls(tls: &Tls) -> Self {
        let dir = Folder::of(&["postgres"]);
        dir.keep(tls);
        let at = |name: &str| dir.path().join(name).display().to_string();
        let certificate = format!("ssl_cert_file={}", at(CERTIFICATE));
        let key = format!("ssl_key_file={}", at(KEY));
        Self::start_in(dir, &[&certificate, &key, "ssl=on"])
    }

    fn start_in(dir: Folder, settings: &[&str]) -> Self {
        let port = free_port();
        let data = dir.path().join("data");
        let mut initdb = dir.command(&program("initdb"));
        initdb.args(["--no-sync", "--no-instructions", "-A", "trust", "-U", "postgres"]);
        initdb.args(["-E", "UTF8", "--locale", "C", "-D"]).arg(&data);
        dir.run(initdb);
        let mut server = dir.command(&program("postgres"));
        server.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        let socket = format!("unix_socket_directories={}", dir.path().display());
        let usual = [
            "listen_addresses=127.0.0.1",
            &socket,
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=200",
        ];
        // The last word counts.
        server.args(usual.iter().chain(settings).flat_map(|setting| ["-c", setting]));
        let is_ready = program("pg_isready");
        let up = |dir: &Folder| {
            let mut ask = dir.command(&is_ready);
            ask.args(["-q", "-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string()]);
            ask.status().is_ok_and(|s| s.success())
        };
        // SIGQUIT: at once, but without leaving shared memory behind.
        Self { service: Service::start(dir, server, "QUIT", up), port }
    }

    /// Its URL, database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.service.pid()
    }

    /// Runs SQL with `psql` and gives what it prints: a line for each row, `|` between values.
    ///
    /// # Panics
    /// When a statement fails.
    pub fn sql(&self, statements: &str) -> String {
        let output = Command::new(program("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url()])
            .args(["-c", statements])
            .stdin(Stdio::null())
            .output()
            .expect("psql starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}: {error}");
        String::from_utf8(output.stdout).expect("psql prints UTF-8").trim_end().to_owned()
    }
}

/// One of PostgreSQL's programs, of the newest version that is installed.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|v| v.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    find(name, &folders).unwrap_or_else(|| {
        panic!("this test needs PostgreSQL's {name}: apt-get install postgresql, or run ./test.sh")
    })
}
