//! Sends one request over one connection, once. No retry is hidden anywhere below this line.
//!
//! Every connection counts the bytes that the kernel took. Where it took none of a request, or the
//! peer says that it did not look at it, the request certainly had no effect (*failed*); otherwise
//! it may have had one (*indeterminate*) until a whole answer says otherwise.

mod h1;
mod h2;
pub mod reach;
mod stream;

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll};

use chrono::DateTime;
use contract::outcome::{Doubt, Failure, Outcome};
use contract::wire;
use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, Method};
use rustix::io::Errno;

use crate::mapping::fields::{Fields, Head};
use crate::mapping::{self, Answer, Values};
use crate::scenario::{Protocol, Target};
use reach::Reach;
use stream::Stream;

pub use h2::MOST_UNDER_WAY;

/// Longest answer that is read; a longer one is unreadable. In HTTP/1.1 head and body count
/// together, in HTTP/2 each for itself.
pub const MAX_ANSWER: usize = 64 * 1024;

/// An answer cannot make a buyer wait longer than this, in seconds.
pub const LONGEST_WAIT_S: u32 = 60;

/// Connections of one load thread to one target.
#[derive(Debug)]
pub struct Lane {
    target: Target,
    reach: Reach,
    connections: Connections,
}

/// They carry one request at a time, or many.
#[derive(Debug)]
enum Connections {
    H1(RefCell<Vec<h1::Connection>>),
    H2(h2::Connections),
}

/// A live connection, or a place on one, for one request at a time.
#[derive(Debug)]
pub struct Link(Linked);

#[derive(Debug)]
enum Linked {
    H1(h1::Connection),
    H2(h2::Link),
}

/// A request as it goes over the wire.
#[derive(Debug)]
pub struct Packed(Form);

#[derive(Debug)]
enum Form {
    H1(Vec<u8>),
    H2(Box<h2::Packed>),
}

/// Headers as each protocol has them.
#[derive(Debug)]
enum Headers {
    H1(Head),
    H2(HeaderMap),
}

impl Headers {
    fn fields(&self) -> &dyn Fields {
        match self {
            Self::H1(head) => head,
            Self::H2(map) => map,
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Whole {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether the connection carries another request.
    reusable: bool,
    /// When the kernel received the last of it, Unix nanoseconds, where it notes that.
    pub received: Option<i64>,
}

/// Why there is no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// No byte of the request was written, or the peer says that it did not look at it.
    NotWritten,
    /// The connection ended before the answer's head was whole.
    Disconnected,
    /// The answer was cut, too long, or no HTTP.
    Unreadable,
}

impl Lane {
    /// No connections yet.
    pub fn new(target: Target, reach: Reach) -> Self {
        let connections = match reach.protocol() {
            Protocol::Http1 => Connections::H1(RefCell::default()),
            Protocol::Http2 => Connections::H2(h2::Connections::new(target.clone(), reach.clone())),
        };
        Self { target, reach, connections }
    }

    /// Host and port of the target.
    pub fn authority(&self) -> &str {
        &self.target.authority
    }

    /// Writes out the request of a form for this target.
    pub fn pack(&self, form: &mapping::Form, values: &impl Values) -> Packed {
        Packed(match self.connections {
            Connections::H1(_) => {
                let mut message = h1::Message::to(self.authority());
                form.write(values, &mut message);
                Form::H1(message.done())
            }
            Connections::H2(_) => Form::H2(Box::new(h2::packed(&self.target, &form.fill(values)))),
        })
    }

    /// Whether there is one that was alive when it was used last.
    pub fn has_idle(&self) -> bool {
        match &self.connections {
            Connections::H1(idle) => !idle.borrow().is_empty(),
            // It shares its connections, and needs no more of them.
            Connections::H2(_) => true,
        }
    }

    /// A link that is free, and alive as far as is known.
    pub fn idle(&self) -> Option<Link> {
        match &self.connections {
            Connections::H1(idle) => loop {
                let mut connection = idle.borrow_mut().pop()?;
                if connection.is_alive() {
                    return Some(Link(Linked::H1(connection)));
                }
            },
            Connections::H2(open) => open.idle().map(Linked::H2).map(Link),
        }
    }

    /// A link over a new connection; in HTTP/2 several share it.
    ///
    /// # Errors
    /// When the target does not take connections. Nothing was sent then.
    pub async fn connect(&self) -> io::Result<Link> {
        match &self.connections {
            Connections::H1(_) => self.open().await,
            Connections::H2(open) => open.connect().await.map(Linked::H2).map(Link),
        }
    }

    /// A link over a new connection that nobody shares yet.
    ///
    /// # Errors
    /// When the target does not take connections. Nothing was sent then.
    pub async fn open(&self) -> io::Result<Link> {
        Ok(Link(match &self.connections {
            Connections::H1(_) => {
                let stream = Stream::open(&self.target, &self.reach).await?;
                Linked::H1(h1::Connection::new(stream))
            }
            Connections::H2(open) => Linked::H2(open.open().await?),
        }))
    }

    /// Keeps a link for the next request.
    pub fn keep(&self, link: Link) {
        match (&self.connections, link.0) {
            (Connections::H1(idle), Linked::H1(connection)) => idle.borrow_mut().push(connection),
            // The connection stays; the place on it is free again.
            (Connections::H1(_) | Connections::H2(_), Linked::H1(_) | Linked::H2(_)) => {}
        }
    }
}

impl Link {
    /// Hands over as much of the request as is taken at once. In HTTP/1.1 that leaves now and not
    /// when its task has a turn; in HTTP/2 it leaves when the connection's task has one.
    /// [`Link::answer`] does the rest.
    pub fn begin(&mut self, request: &Packed) {
        match (&mut self.0, &request.0) {
            (Linked::H1(connection), Form::H1(bytes)) => connection.begin(bytes),
            (Linked::H2(link), Form::H2(packed)) => link.begin(packed),
            (Linked::H1(_), Form::H2(_)) | (Linked::H2(_), Form::H1(_)) => {}
        }
    }

    /// Whether a byte of the current request was written, or may be written still.
    pub fn has_written(&self) -> bool {
        match &self.0 {
            Linked::H1(connection) => connection.has_written(),
            Linked::H2(link) => link.has_written(),
        }
    }

    /// Whether the request left whole, so that nothing is to be done until its answer is there, and
    /// nothing is lost by looking late, for the kernel notes when that was.
    pub fn has_left(&self, request: &Packed) -> bool {
        match (&self.0, &request.0) {
            (Linked::H1(connection), Form::H1(bytes)) => connection.has_left(bytes),
            // Its connection's task writes it.
            (Linked::H1(_) | Linked::H2(_), Form::H1(_) | Form::H2(_)) => false,
        }
    }

    /// Reads what has come of the answer, once the event loop says that something has; [`Link::answer`]
    /// goes on from there. Only for a link whose request [has left](Link::has_left).
    pub fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Linked::H1(connection) => connection.poll_read(context),
            Linked::H2(_) => Poll::Ready(()),
        }
    }

    /// Reads what is there of the answer by now, whatever the event loop knows. Only for a link whose request
    /// [has left](Link::has_left).
    pub fn read(&mut self) {
        if let Linked::H1(connection) = &mut self.0 {
            connection.read();
        }
    }

    /// The answer, if it was read to its end.
    ///
    /// # Errors
    /// When there is no whole answer; the link is of no use any more then.
    pub fn whole(&mut self) -> Result<Option<Whole>, Broken> {
        match &mut self.0 {
            Linked::H1(connection) => connection.whole(),
            Linked::H2(_) => Ok(None),
        }
    }

    /// Sends what is left of the request and reads the whole answer.
    ///
    /// # Errors
    /// When there is no whole answer; the link is of no use any more then.
    pub async fn answer(&mut self, request: &Packed) -> Result<Whole, Broken> {
        match (&mut self.0, &request.0) {
            (Linked::H1(connection), Form::H1(bytes)) => connection.answer(bytes).await,
            // Boxed: HTTP/1.1 need not carry its size about.
            (Linked::H2(link), Form::H2(_)) => Box::pin(link.answer()).await,
            // A request of another lane: nothing of it was begun.
            (Linked::H1(_), Form::H2(_)) | (Linked::H2(_), Form::H1(_)) => Err(Broken::NotWritten),
        }
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
        Answer::new(self.status, self.headers.fields(), &self.body)
    }

    /// The clock of whoever answered, Unix nanoseconds.
    pub fn stamp(&self) -> Option<i64> {
        let text = self.headers.fields().first(wire::header::SERVER_TIME)?;
        DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt()
    }

    /// How long the answer asks to wait, nanoseconds: only the form in seconds counts, and at most
    /// [`LONGEST_WAIT_S`].
    pub fn retry_after(&self) -> Option<i64> {
        let text = self.headers.fields().first(RETRY_AFTER.as_str())?;
        let seconds: u32 = text.trim().parse().ok()?;
        Some(i64::from(seconds.min(LONGEST_WAIT_S)) * 1_000_000_000)
    }
}

/// Whether the length of a body is said even where it is empty (RFC 9110, 8.6).
fn announces_body(method: &Method) -> bool {
    *method != Method::GET
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
