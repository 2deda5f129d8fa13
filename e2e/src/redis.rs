//! A redis-server of its own for each test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::free_port;
use crate::service::{AUTHORITY, CERTIFICATE, Folder, KEY, Service, find};
use crate::tls::Tls;

/// A running redis-server on a free loopback port, with its data in a folder of its own.
#[derive(Debug)]
pub struct Redis {
    service: Service,
    port: u16,
    tls_port: Option<u16>,
    password: Option<String>,
}

impl Redis {
    /// Starts one, with no persistence.
    ///
    /// # Panics
    /// When redis-server is not installed or does not come up; the message says what to do.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further arguments, such as `["--appendonly", "yes"]`.
    ///
    /// # Panics
    /// When redis-server is not installed or does not come up; the message says what to do.
    pub fn start_with(arguments: &[&str]) -> Self {
        let dir = Folder::of(&["redis"]);
        let mut server = dir.command(&program("redis-server"));
        server.args(["--save", ""]).args(arguments);
        Self::run(dir, server)
    }

    /// Starts one that wants this password.
    ///
    /// # Panics
    /// When redis-server is not installed or does not come up; the message says what to do.
    pub fn start_with_password(password: &str, arguments: &[&str]) -> Self {
        let own = ["--requirepass", password, "--masterauth", password];
        let redis = Self::start_with(&[&own, arguments].concat());
        Self { password: Some(password.to_owned()), ..redis }
    }

    /// Starts one that speaks TLS at a second port.
    ///
    /// # Panics
    /// When redis-server is not installed, knows no TLS or does not come up.
    pub fn start_with_tls(tls: &Tls) -> Self {
        Self::start_with_tls_and(tls, &[])
    }

    /// The same with further arguments.
    ///
    /// # Panics
    /// When redis-server is not installed, knows no TLS or does not come up.
    pub fn start_with_tls_and(tls: &Tls, arguments: &[&str]) -> Self {
        let (dir, port) = (Folder::of(&["redis"]), free_port());
        dir.keep(tls);
        let mut server = dir.command(&program("redis-server"));
        server.args(["--save", ""]).args(arguments);
        for (name, value) in tls_settings(port) {
            server.args([format!("--{name}"), value]);
        }
        Self { tls_port: Some(port), ..Self::run(dir, server) }
    }

    /// Its URL with TLS, database 0.
    ///
    /// # Panics
    /// When it was started without.
    pub fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}/0", self.tls_port.expect("a Redis with TLS"))
    }

    /// Starts a Sentinel with this configuration, which a password is a part of.
    pub(crate) fn sentinel(configuration: &str, tls: Option<&Tls>, password: Option<&str>) -> Self {
        let dir = Folder::of(&["redis"]);
        let mut configuration = configuration.to_owned();
        let tls_port = tls.map(|tls| {
            dir.keep(tls);
            let port = free_port();
            tls_settings(port)
                .iter()
                .for_each(|(n, value)| configuration += &format!("{n} {value}\n"));
            port
        });
        // It notes there what it learns.
        dir.write("sentinel.conf", &configuration);
        let mut server = dir.command(&program("redis-server"));
        server.args(["sentinel.conf", "--sentinel"]);
        Self { tls_port, password: password.map(str::to_owned), ..Self::run(dir, server) }
    }

    fn run(dir: Folder, mut server: Command) -> Self {
        let port = free_port();
        server.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        server.arg("--dir").arg(dir.path());
        Self {
            service: Service::start(dir, server, "KILL", |_| answers(port)),
            port,
            tls_port: None,
            password: None,
        }
    }

    /// Its URL, database 0.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port that others of its kind and clients are told: the one for TLS, where it has one.
    pub(crate) fn told_port(&self) -> u16 {
        self.tls_port.unwrap_or(self.port)
    }

    /// What it answers to a command, as `redis-cli` prints it; nothing once it is gone.
    ///
    /// # Panics
    /// When redis-cli is not installed.
    pub fn cli(&self, words: &[&str]) -> String {
        let mut cli = Command::new(program("redis-cli"));
        cli.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "--raw"]).args(words);
        cli.envs(self.password.as_ref().map(|password| ("REDISCLI_AUTH", password)));
        let output = cli.stdin(Stdio::null()).output().expect("redis-cli starts");
        String::from_utf8_lossy(&output.stdout).trim_end().replace('\r', "")
    }

    /// Ends it at once, as a crash does.
    ///
    /// # Panics
    /// When it cannot be signalled.
    pub fn kill(&self) {
        self.signal("KILL");
    }

    /// Sends it a signal, such as `STOP`.
    ///
    /// # Panics
    /// When it cannot be signalled.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("there is a kill").success(), "kill -{name} {pid}");
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.service.pid()
    }
}

/// What a server with TLS at this port is told, files as [`Folder::keep`] writes them. The others of its kind are
/// spoken to by TLS as well.
fn tls_settings(port: u16) -> [(&'static str, String); 6] {
    [
        ("tls-port", port.to_string()),
        ("tls-auth-clients", "no".to_owned()),
        ("tls-replication", "yes".to_owned()),
        ("tls-cert-file", CERTIFICATE.to_owned()),
        ("tls-key-file", KEY.to_owned()),
        ("tls-ca-cert-file", AUTHORITY.to_owned()),
    ]
}

fn program(name: &str) -> PathBuf {
    find(name, &[]).unwrap_or_else(|| {
        panic!("this test needs {name}: apt-get install redis-server, or run ./test.sh")
    })
}

fn answers(port: u16) -> bool {
    let ping = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        stream.write_all(b"PING\r\n").ok()?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).ok()?;
        // One that wants a password is up, too.
        [*b"+PONG\r\n", *b"-NOAUTH"].contains(&answer).then_some(())
    };
    ping().is_some()
}
