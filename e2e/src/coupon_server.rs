//! An instance of this workspace's own server.

use std::net::TcpStream;
use std::process::Command;

use crate::service::{Folder, Service};
use crate::{binary, free_port};

/// A running coupon-server on a free loopback port.
#[derive(Debug)]
pub struct CouponServer {
    _service: Service,
    port: u16,
}

impl CouponServer {
    /// Starts one with these arguments, which do not say where it listens.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(arguments: &[&str]) -> Self {
        let port = free_port();
        let mut server = Command::new(binary("coupon-server"));
        server.args(arguments).args(["--listen", &format!("127.0.0.1:{port}")]);
        let up = |_: &Folder| TcpStream::connect(("127.0.0.1", port)).is_ok();
        let dir = Folder::of(&[]);
        Self { _service: Service::start(dir, server, "TERM", up), port }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
}
