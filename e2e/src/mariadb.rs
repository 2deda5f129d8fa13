//! A MariaDB of its own for each test.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::free_port;
use crate::service::{CERTIFICATE, Folder, KEY, SOCKET, Service, find};
use crate::tls::Tls;

/// A running MariaDB on a free loopback port, with its data in a folder of its own.
#[derive(Debug)]
pub struct MariaDb {
    service: Service,
    port: u16,
}

impl MariaDb {
    /// Starts one, with an empty database `test`, a user `root` that needs no password, and nothing
    /// that lasts.
    ///
    /// # Panics
    /// When MariaDB is not installed or does not come up; the message says what to do.
    pub fn start() -> Self {
        Self::start_in(Folder::of(&["mysql"]), &[])
    }

    /// Starts one that speaks TLS and lets nobody in from the network without.
    ///
    /// # Panics
    /// When MariaDB is not installed or does not come up; the message says what to do.
    pub fn start_with_tls(tls: &Tls) -> Self {
        let dir = Folder::of(&["mysql"]);
        dir.keep(tls);
        let at = |name: &str| dir.path().join(name).display().to_string();
        let certificate = format!("--ssl-cert={}", at(CERTIFICATE));
        let key = format!("--ssl-key={}", at(KEY));
        Self::start_in(dir, &[&certificate, &key, "--require-secure-transport=ON"])
    }

    fn start_in(dir: Folder, settings: &[&str]) -> Self {
        let port = free_port();
        let data = dir.path().join("data");
        let mut install = dir.command(&program("mariadb-install-db"));
        install.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        install.args(["--auth-root-authentication-method=normal", "--skip-name-resolve"]);
        dir.run(install);
        let mut server = dir.command(&program("mariadbd"));
        server
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", dir.path().join(SOCKET).display()))
            .arg(format!("--pid-file={}", dir.path().join("pid").display()))
            .arg(format!("--port={port}"))
            .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin"])
            .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M"])
            .args(["--max-connections=200", "--character-set-server=utf8mb4"])
            .args(settings);
        let admin = program("mariadb-admin");
        let up = |dir: &Folder| {
            let mut ask = dir.command(&admin);
            // The socket is opened after the port, and counts as secure.
            ask.args(["--no-defaults", "-u", "root", "-S", SOCKET]);
            ask.args(["--silent", "ping"]).stdout(Stdio::null()).stderr(Stdio::null());
            ask.status().is_ok_and(|s| s.success())
        };
        Self { service: Service::start(dir, server, "KILL", up), port }
    }

    /// Its URL, database `test`.
    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/test", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.service.pid()
    }

    /// Runs SQL with `mariadb` and gives what it prints: a line for each row, tabs between values.
    ///
    /// # Panics
    /// When a statement fails.
    pub fn sql(&self, statements: &str) -> String {
        let output = Command::new(program("mariadb"))
            .args(["--no-defaults", "-u", "root", "-S"])
            .arg(self.service.path().join(SOCKET))
            .args([
                "--default-character-set=utf8mb4",
                "-N",
                "-B",
                "--raw",
                "test",
                "-e",
                statements,
            ])
            .stdin(Stdio::null())
            .output()
            .expect("mariadb starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}: {error}");
        String::from_utf8(output.stdout).expect("mariadb prints UTF-8").trim_end().to_owned()
    }
}

/// One of MariaDB's programs.
fn program(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/libexec", "/usr/local/sbin"].map(PathBuf::from);
    find(name, &folders).unwrap_or_else(|| {
        panic!("this test needs MariaDB's {name}: apt-get install mariadb-server, or run ./test.sh")
    })
}
