//! A redis-server of its own for each test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::free_port;
use crate::service::{Folder, Service, find};

/// A running redis-server on a free loopback port, with its data in a folder of its own.
#[derive(Debug)]
pub struct Redis {
    service: Service,
    port: u16,
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
        let port = free_port();
        let server = find("redis-server", &[]).unwrap_or_else(|| {
            panic!("this test needs redis-server: apt-get install redis-server, or run ./test.sh")
        });
        let dir = Folder::of(&["redis"]);
        let mut server = dir.command(&server);
        server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        server.arg("--dir").arg(dir.path()).args(arguments);
        Self { service: Service::start(dir, server, "KILL", |_| answers(port)), port }
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
        self.service.pid()
    }
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
