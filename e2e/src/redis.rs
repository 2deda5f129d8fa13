//! A redis-server of its own for each test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::free_port;

/// A running redis-server on a free loopback port, with its data in a folder of its own.
#[derive(Debug)]
pub struct Redis {
    process: Child,
    port: u16,
    _dir: TempDir,
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
        let dir = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", &dir.path().to_string_lossy()])
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| {
                panic!("this test needs redis-server ({e}): apt-get install redis-server, or run ./test.sh")
            });
        let mut redis = Self { process, port, _dir: dir };
        redis.wait_until_it_answers();
        redis
    }

    fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.answers() {
            if let Ok(Some(status)) = self.process.try_wait() {
                panic!("redis-server ended at once: {status}");
            }
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn answers(&self) -> bool {
        let ping = || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
            stream.write_all(b"PING\r\n").ok()?;
            let mut answer = [0; 7];
            stream.read_exact(&mut answer).ok()?;
            // One that wants a password is up, too.
            [*b"+PONG\r\n", *b"-NOAUTH"].contains(&answer).then_some(())
        };
        ping().is_some()
    }

    /// Its URL, database 0.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
