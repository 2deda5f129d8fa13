//! Sends one request over one connection, once. No retry is hidden anywhere below this line.
//!
//! hyper hands a request back if and only if no byte of it was written. That is the line between
//! *failed* (certainly no effect) and *indeterminate* (maybe an effect).

use std::cell::RefCell;
use std::io;

use bytes::Bytes;
use chrono::DateTime;
use contract::outcome::{Doubt, Failure, Outcome};
use contract::wire;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::net::TcpStream;

use crate::mapping::rule::classify;
use crate::mapping::{Answer, Rule};

/// Longest answer that is read; a longer one is unreadable.
const MAX_ANSWER: usize = 64 * 1024;

/// A live connection to a target.
pub type Connection = SendRequest<Full<Bytes>>;

/// Connections of one load thread to one target. Each carries one request at a time.
#[derive(Debug)]
pub struct Connections {
    authority: String,
    idle: RefCell<Vec<Connection>>,
}

/// What came of a request.
#[derive(Debug)]
pub struct Reply {
    /// What is known of its effect.
    pub outcome: Outcome<'static>,
    /// The HTTP status, where an answer came.
    pub status: Option<u16>,
    /// The clock of whoever answered, Unix nanoseconds.
    pub stamp: Option<i64>,
}

impl Reply {
    fn without_answer(outcome: Outcome<'static>) -> Self {
        Self { outcome, status: None, stamp: None }
    }

    /// No connection could be made, for this reason.
    pub fn not_connected(reason: &io::Error) -> Self {
        let failure = if is_ours(reason) { Failure::NoSocket } else { Failure::NotConnected };
        Self::without_answer(Outcome::Failed(failure))
    }

    /// Nobody waits for the answer any more.
    pub fn doubtful(doubt: Doubt) -> Self {
        Self::without_answer(Outcome::Indeterminate(doubt))
    }
}

/// Whether this machine, and not the target, is why there is no connection: no file descriptor, no
/// port or no memory left.
fn is_ours(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    let ours = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];
    code.is_some_and(|code| ours.contains(&code))
}

impl Connections {
    /// None yet.
    pub fn new(authority: String) -> Self {
        Self { authority, idle: RefCell::default() }
    }

    /// Host and port of the target.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// An idle connection, or a new one.
    ///
    /// # Errors
    /// When the target does not take connections. Nothing was sent then.
    pub async fn take(&self) -> io::Result<Connection> {
        while let Some(connection) = self.pop() {
            if connection.is_ready() {
                return Ok(connection);
            }
        }
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // It ends with the connection; how it ended is seen by the request that was on it.
        tokio::task::spawn_local(async move { drop(driver.await) });
        Ok(connection)
    }

    fn pop(&self) -> Option<Connection> {
        self.idle.borrow_mut().pop()
    }

    /// Keeps a connection for the next request, once it is free for one.
    pub async fn put_back(&self, mut connection: Connection) {
        if connection.ready().await.is_ok() {
            self.idle.borrow_mut().push(connection);
        }
    }
}

/// Sends a request and reads the whole answer.
pub async fn exchange(
    connection: &mut Connection,
    request: Request<Full<Bytes>>,
    rules: &[Rule],
) -> Reply {
    match connection.try_send_request(request).await {
        Ok(response) => read(response, rules).await,
        Err(mut error) => match error.take_message() {
            Some(_unsent) => Reply::without_answer(Outcome::Failed(Failure::NotWritten)),
            None => Reply::doubtful(Doubt::Disconnected),
        },
    }
}

async fn read(response: Response<Incoming>, rules: &[Rule]) -> Reply {
    let stamp = stamp(&response);
    let (head, body) = response.into_parts();
    let status = head.status.as_u16();
    let outcome = match Limited::new(body, MAX_ANSWER).collect().await {
        Ok(body) => classify(rules, &Answer::new(status, &head.headers, &body.to_bytes())),
        Err(_) => Outcome::Indeterminate(Doubt::Unreadable),
    };
    Reply { outcome, status: Some(status), stamp }
}

fn stamp(response: &Response<Incoming>) -> Option<i64> {
    let text = response.headers().get(wire::header::SERVER_TIME)?.to_str().ok()?;
    DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt()
}
