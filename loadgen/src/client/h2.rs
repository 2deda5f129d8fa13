//! HTTP/2: many requests share a connection.
//!
//! A connection carries at most [`MOST_UNDER_WAY`] requests at once, and no more than the peer
//! allows. One request more opens another connection, so that nobody waits in here for somebody
//! else's answer. Whoever needs a connection while one is being opened waits for that one.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared, WeakShared};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use hyper::http;

use super::reach::Reach;
use super::stream::Stream;
use super::{Broken, Headers, MAX_ANSWER, Whole, announces_body};
use crate::mapping::Request;
use crate::scenario::Target;

/// Most requests that one connection carries at once.
pub const MOST_UNDER_WAY: usize = 100;
/// Room for an answer before it is read; longer than any that is read, so that none gets stuck.
const STREAM_WINDOW: u32 = 128 * 1024;
const _: () = assert!(MAX_ANSWER < STREAM_WINDOW as usize);
/// Longest head of an answer.
const LONGEST_HEAD: u32 = 64 * 1024;
const _: () = assert!(MAX_ANSWER == LONGEST_HEAD as usize);
/// The same for all answers of a connection together.
const CONNECTION_WINDOW: u32 = 100 * STREAM_WINDOW;
/// Requests that were given up are remembered so long, so that a late answer to one is no error.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// So many of them.
const REMEMBERED: usize = 10_000;
/// Headers that mean something on one connection of HTTP/1.1 alone, and `host`, which is
/// `:authority` here.
const NOT_HERE: [HeaderName; 7] = [
    CONNECTION,
    HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// A request in the form that HTTP/2 wants.
#[derive(Debug)]
pub(super) struct Packed {
    /// `None` where it cannot be said in HTTP/2.
    head: Option<http::Request<()>>,
    body: Bytes,
}

/// Writes out a request.
pub(super) fn packed(target: &Target, request: &Request) -> Packed {
    let host = request.headers.iter().find(|(name, _)| *name == HOST);
    let host = host.and_then(|(_, value)| value.to_str().ok());
    let uri = match host {
        Some(host) => format!("{}://{host}{}", target.scheme.as_str(), request.uri),
        None => format!("{}{}", target.url(), request.uri),
    };
    let mut head = http::Request::builder().method(request.method.clone()).uri(uri);
    for (name, value) in request.headers.iter().filter(|(name, _)| !NOT_HERE.contains(name)) {
        head = head.header(name, value);
    }
    if announces_body(&request.method) || !request.body.is_empty() {
        head = head.header(CONTENT_LENGTH, request.body.len());
    }
    Packed { head: head.body(()).ok(), body: request.body.clone().into() }
}

/// The connections to one target.
#[derive(Debug)]
pub(super) struct Connections {
    target: Target,
    reach: Reach,
    open: RefCell<Vec<Rc<Connection>>>,
    opening: RefCell<Option<Opening>>,
    /// How many requests the last connection carries at once, as far as is known.
    room: Cell<usize>,
}

/// A connection.
struct Connection {
    requests: SendRequest<Bytes>,
    /// Links that are in use.
    under_way: Cell<usize>,
}

/// A connection that is being opened. Whoever waits for it drives it; when nobody does any more, it
/// is given up.
#[derive(Debug)]
struct Opening {
    connection: WeakShared<OpeningFuture>,
    waiting: Rc<Cell<usize>>,
}

type OpeningFuture = LocalBoxFuture<'static, Result<Rc<Connection>, Rc<io::Error>>>;

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

impl Connections {
    pub(super) fn new(target: Target, reach: Reach) -> Self {
        let (open, opening) = (RefCell::default(), RefCell::default());
        Self { target, reach, open, opening, room: Cell::new(MOST_UNDER_WAY) }
    }

    /// A place on a connection that is alive as far as is known. The first connection with room is
    /// taken, so that they are few.
    pub(super) fn idle(&self) -> Option<Link> {
        let mut open = self.open.borrow_mut();
        loop {
            let at = open.iter().position(|connection| connection.has_room())?;
            if open[at].is_alive() {
                return Some(Link::new(Rc::clone(&open[at])));
            }
            open.swap_remove(at);
        }
    }

    /// A place on a connection that is opened now, or about to be open.
    pub(super) async fn connect(&self) -> io::Result<Link> {
        loop {
            let (connection, waiting) = self.join();
            let connection = connection.await.map_err(|error| again(&error))?;
            drop(waiting);
            self.room.set(connection.limit());
            if !connection.is_alive() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            self.adopt(&connection);
            if let Some(link) = self.idle() {
                return Ok(link);
            }
        }
    }

    /// A place on a connection of its own.
    pub(super) async fn open(&self) -> io::Result<Link> {
        let connection = Connection::open(&self.target, &self.reach).await?;
        self.adopt(&connection);
        Ok(Link::new(connection))
    }

    /// The first of those who waited for a connection makes it known.
    fn adopt(&self, connection: &Rc<Connection>) {
        let mut open = self.open.borrow_mut();
        if !open.iter().any(|known| Rc::ptr_eq(known, connection)) {
            open.push(Rc::clone(connection));
        }
    }

    /// Waits with others for a connection, while they are fewer than it will carry.
    fn join(&self) -> (Shared<OpeningFuture>, Waiting) {
        let mut opening = self.opening.borrow_mut();
        if let Some(Opening { connection, waiting }) = &*opening
            && waiting.get() < self.room.get()
            && let Some(shared) = connection.upgrade()
            && shared.peek().is_none()
        {
            return (shared, Waiting::new(waiting));
        }
        let (target, reach) = (self.target.clone(), self.reach.clone());
        let opened = async move { Connection::open(&target, &reach).await.map_err(Rc::new) };
        let shared = opened.boxed_local().shared();
        let waiting = Rc::default();
        let guard = Waiting::new(&waiting);
        *opening = shared.downgrade().map(|connection| Opening { connection, waiting });
        (shared, guard)
    }
}

/// The same error for each of those who waited.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// Counts one who waits, as long as it lives.
struct Waiting(Rc<Cell<usize>>);

impl Waiting {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Connection {
    /// Opens a connection, and waits for the peer's settings: a request that is sent before may be
    /// one more than the peer allows.
    async fn open(target: &Target, reach: &Reach) -> io::Result<Rc<Self>> {
        let stream = Stream::open(target, reach).await?;
        let handshake = h2::client::Builder::new()
            .initial_max_send_streams(0)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(LONGEST_HEAD)
            .max_concurrent_reset_streams(REMEMBERED)
            .reset_stream_duration(REMEMBERED_FOR)
            // Answers that come after all are the system's right, however many.
            .max_local_error_reset_streams(None)
            .data_frame_budget(u32::MAX as usize)
            .enable_push(false)
            .handshake::<_, Bytes>(stream);
        let (requests, mut connection) = handshake.await.map_err(in_io)?;
        poll_fn(|context| match connection.poll_unpin(context) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(in_io(error))),
            Poll::Pending if connection.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        // Whoever has a request on it learns from that request why it ended.
        tokio::task::spawn_local(connection.map(drop));
        Ok(Rc::new(Self { requests, under_way: Cell::new(0) }))
    }

    /// How many requests it carries at once.
    fn limit(&self) -> usize {
        self.requests.current_max_send_streams().min(MOST_UNDER_WAY)
    }

    fn has_room(&self) -> bool {
        self.under_way.get() < self.limit()
    }

    /// Whether it takes requests: it did not end, and the peer did not say goodbye.
    fn is_alive(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let ready = self.requests.clone().poll_ready(&mut context);
        matches!(ready, Poll::Ready(Ok(())))
    }
}

fn in_io(error: h2::Error) -> io::Error {
    let text = format!("no HTTP/2: {error}");
    error.into_io().unwrap_or_else(|| io::Error::other(text))
}

/// A place on a connection, for one request at a time. A request whose link is dropped is cancelled;
/// the connection and its other requests stay.
#[derive(Debug)]
pub(super) struct Link {
    connection: Rc<Connection>,
    /// What comes of the request that was handed over.
    response: Option<ResponseFuture>,
}

impl Link {
    fn new(connection: Rc<Connection>) -> Self {
        connection.under_way.set(connection.under_way.get() + 1);
        Self { connection, response: None }
    }

    /// Hands the request over to the connection's task. What is refused here was not sent.
    pub(super) fn begin(&mut self, request: &Packed) {
        self.response = None;
        let eos = request.body.is_empty();
        let Some(head) = request.head.clone() else { return };
        let Ok((response, mut body)) = self.connection.requests.clone().send_request(head, eos)
        else {
            return;
        };
        if !eos {
            // It fails only where the stream has failed, which the response says.
            let _ = body.send_data(request.body.clone(), true);
        }
        self.response = Some(response);
    }

    /// Once it was handed over it may leave at any time, and even after it was given up.
    pub(super) fn has_written(&self) -> bool {
        self.response.is_some()
    }

    pub(super) async fn answer(&mut self) -> Result<Whole, Broken> {
        let Some(response) = &mut self.response else { return Err(Broken::NotWritten) };
        let (head, body) = response.await.map_err(|error| meaning(&error))?.into_parts();
        let body = whole(body).await?;
        Ok(Whole {
            status: head.status.as_u16(),
            headers: Headers::H2(head.headers),
            body,
            reusable: true,
            // The connection's task reads for all its requests.
            received: None,
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.under_way.set(self.connection.under_way.get() - 1);
    }
}

/// What it means that a request that was handed over has no answer.
fn meaning(error: &h2::Error) -> Broken {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    // A goodbye ends only those requests that come after the last one that it names.
    if error.is_remote() && (refused || error.is_go_away()) {
        return Broken::NotWritten;
    }
    if error.is_library() { Broken::Unreadable } else { Broken::Disconnected }
}

/// Reads the body to its end.
async fn whole(mut body: RecvStream) -> Result<Vec<u8>, Broken> {
    let mut read = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.map_err(|_| Broken::Unreadable)?;
        if read.len() + part.len() > MAX_ANSWER {
            return Err(Broken::Unreadable);
        }
        // It fails only for more than was received.
        let _ = body.flow_control().release_capacity(part.len());
        read.extend_from_slice(&part);
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
