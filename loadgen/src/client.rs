//! Sends one request over one connection, once. No retry is hidden anywhere below this line.
//!
//! Every link counts the bytes that it handed to the kernel. Where it handed over none, the request
//! certainly had no effect (*failed*); where it handed over one, it may have had one
//! (*indeterminate*) until a whole answer says otherwise.

mod h1;

use std::cell::RefCell;
use std::io;

use chrono::DateTime;
use contract::outcome::{Doubt, Failure, Outcome};
use contract::wire;
use hyper::HeaderMap;
use hyper::header::RETRY_AFTER;
use rustix::io::Errno;

use crate::mapping::{Answer, Request};
use h1::Connection;

/// Longest answer that is read, head and body; a longer one is unreadable.
pub const MAX_ANSWER: usize = 64 * 1024;

/// Connections of one load thread to one target. Each carries one request at a time.
#[derive(Debug)]
pub struct Lane {
    authority: String,
    idle: RefCell<Vec<Link>>,
}

/// A live connection.
#[derive(Debug)]
pub struct Link(Connection);

/// A request as it goes over the wire.
#[derive(Debug)]
pub struct Packed(Vec<u8>);

/// A whole answer.
#[derive(Debug)]
pub struct Whole {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether the connection carries another request.
    reusable: bool,
}

/// Why there is no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// No byte of the request was written.
    NotWritten,
    /// The connection ended before the answer's head was whole.
    Disconnected,
    /// The answer was cut, too long, or no HTTP.
    Unreadable,
}

impl Lane {
    /// No connections yet.
    pub fn new(authority: String) -> Self {
        Self { authority, idle: RefCell::default() }
    }

    /// Host and port of the target.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Writes out a request for this target.
    pub fn pack(&self, request: &Request) -> Packed {
        Packed(h1::packed(&self.authority, request))
    }

    /// An idle connection that is alive as far as is known.
    pub fn idle(&self) -> Option<Link> {
        loop {
            let mut link = self.idle.borrow_mut().pop()?;
            if link.0.is_alive() {
                return Some(link);
            }
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// When the target does not take connections. Nothing was sent then.
    pub async fn connect(&self) -> io::Result<Link> {
        Ok(Link(Connection::open(&self.authority).await?))
    }

    /// Keeps a connection for the next request.
    pub fn keep(&self, link: Link) {
        self.idle.borrow_mut().push(link);
    }
}

impl Link {
    /// Hands over as much of the request as the kernel takes at once, so that it leaves now and not
    /// when its task has a turn. [`Link::answer`] does the rest.
    pub fn begin(&mut self, request: &Packed) {
        self.0.begin(&request.0);
    }

    /// Whether a byte of the current request was written.
    pub fn has_written(&self) -> bool {
        self.0.has_written()
    }

    /// Sends what is left of the request and reads the whole answer.
    ///
    /// # Errors
    /// When there is no whole answer; the link is of no use any more then.
    pub async fn answer(&mut self, request: &Packed) -> Result<Whole, Broken> {
        self.0.answer(&request.0).await
    }
}

impl Broken {
    /// What that means for the request.
    pub fn outcome(self) -> Outcome<'static> {
        match self {
            Self::NotWritten => Outcome::Failed(Failure::NotWritten),
            Self::Disconnected => Outcome::Indeterminate(Doubt::Disconnected),
            Self::Unreadable => Outcome::Indeterminate(Doubt::Unreadable),
        }
    }
}

impl Whole {
    /// Whether the connection that it came over carries another request.
    pub fn reusable(&self) -> bool {
        self.reusable
    }

    /// As rules see it.
    pub fn answer(&self) -> Answer<'_> {
        Answer::new(self.status, &self.headers, &self.body)
    }

    /// The clock of whoever answered, Unix nanoseconds.
    pub fn stamp(&self) -> Option<i64> {
        let text = self.headers.get(wire::header::SERVER_TIME)?.to_str().ok()?;
        DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt()
    }

    /// How long the answer asks to wait, nanoseconds; only the form in seconds counts.
    pub fn retry_after(&self) -> Option<i64> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        let seconds: u32 = text.trim().parse().ok()?;
        Some(i64::from(seconds) * 1_000_000_000)
    }
}

/// What it means that no connection could be made.
pub fn not_connected(reason: &io::Error) -> Outcome<'static> {
    Outcome::Failed(if is_ours(reason) { Failure::NoSocket } else { Failure::NotConnected })
}

/// Whether this machine, and not the target, is why there is no connection: no file descriptor, no
/// port or no memory left.
fn is_ours(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    let ours = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];
    code.is_some_and(|code| ours.contains(&code))
}
