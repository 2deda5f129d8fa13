//! An nginx with the configuration that is shipped.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use crate::free_port;
use crate::service::{Folder, Service, find};

/// A running nginx on a free loopback port, before instances of the server.
#[derive(Debug)]
pub struct Nginx {
    _service: Service,
    port: u16,
}

impl Nginx {
    /// Starts one with this configuration, in which instance `coupon-1:8080` is the first of these
    /// ports, and so on, and `listen 8080` is a free port.
    ///
    /// # Panics
    /// When nginx is not installed or does not come up; the message says what to do.
    pub fn before(ports: &[u16], configuration: &Path) -> Self {
        let nginx = find("nginx", &[PathBuf::from("/usr/sbin")]).unwrap_or_else(|| {
            panic!("this test needs nginx: apt-get install nginx-light, or run ./test.sh")
        });
        let port = free_port();
        let mut text = std::fs::read_to_string(configuration).expect("the configuration is there");
        for (number, instance) in (1..).zip(ports) {
            replace(&mut text, &format!("coupon-{number}:8080"), &format!("127.0.0.1:{instance}"));
        }
        replace(&mut text, "listen 8080", &format!("listen 127.0.0.1:{port}"));
        // It may write nowhere else here.
        let mut own = String::from("http {\n");
        for of in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            let _ = writeln!(own, "    {of}_temp_path {of};");
        }
        replace(&mut text, "http {\n", &own);
        let dir = Folder::of(&[]);
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, text).expect("a new folder can be written");
        let mut command = dir.command(&nginx);
        command.arg("-p").arg(dir.path()).arg("-c").arg(&file);
        command.args(["-g", "daemon off; pid nginx.pid; error_log stderr;", "-e", "stderr"]);
        let up = |_: &Folder| TcpStream::connect(("127.0.0.1", port)).is_ok();
        Self { _service: Service::start(dir, command, "TERM", up), port }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn replace(text: &mut String, from: &str, to: &str) {
    assert!(text.contains(from), "{from} is not in the configuration");
    *text = text.replace(from, to);
}
