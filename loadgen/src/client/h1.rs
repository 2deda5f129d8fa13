//! HTTP/1.1, as little of it as a load generator needs: one request, one answer, no pipelining.
//!
//! httparse reads heads and chunk sizes; what is ours is the counting of written bytes and that the
//! first write needs no turn of the event loop.

mod answer;

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::Method;
use hyper::header::{HOST, HeaderName};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};

use super::stream::Stream;
use super::{Broken, Headers, MAX_ANSWER, Whole, announces_body};
use crate::mapping::Write;
use answer::{End, Parsed};

/// Space for an answer, before it proves to be longer.
const USUAL_ANSWER: usize = 2 * 1024;
/// The same for a request.
const USUAL_REQUEST: usize = 512;

/// One connection, with what was read of it and not used.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    /// What was read of the answer, and room for more.
    buffer: Vec<u8>,
    /// How much was read.
    filled: usize,
    /// Nothing more can be read.
    end: Option<End>,
    /// Bytes of the current request that the stream took.
    taken: usize,
    /// What was written to the stream before the current request.
    before: u64,
    /// Nothing can be written any more.
    dead: bool,
}

/// A request in the form that HTTP/1.1 wants.
pub(super) struct Message<'a> {
    authority: &'a str,
    bytes: Vec<u8>,
    has_host: bool,
    takes_body: bool,
}

impl<'a> Message<'a> {
    pub(super) fn to(authority: &'a str) -> Self {
        let bytes = Vec::with_capacity(USUAL_REQUEST);
        Self { authority, bytes, has_host: false, takes_body: false }
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.bytes
    }

    fn add(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
    }
}

impl Write for Message<'_> {
    fn line(&mut self, method: &Method, uri: &str) {
        self.takes_body = announces_body(method);
        self.add(&[method.as_str().as_bytes(), b" ", uri.as_bytes(), b" HTTP/1.1\r\n"]);
    }

    fn header(&mut self, name: &HeaderName, value: &[u8]) {
        self.has_host |= name == HOST;
        self.add(&[name.as_str().as_bytes(), b": ", value, b"\r\n"]);
    }

    fn body(&mut self, body: &[u8]) {
        if !self.has_host {
            self.add(&[b"host: ", self.authority.as_bytes(), b"\r\n"]);
        }
        if self.takes_body || !body.is_empty() {
            // Writing to a vector cannot fail.
            let _ = write!(self.bytes, "content-length: {}\r\n", body.len());
        }
        self.add(&[b"\r\n", body]);
    }
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        let buffer = vec![0; USUAL_ANSWER];
        Self { stream, buffer, filled: 0, end: None, taken: 0, before: 0, dead: false }
    }

    /// An idle connection has nothing to say: what it says is a goodbye.
    pub(super) fn is_alive(&mut self) -> bool {
        !self.stream.has_some()
    }

    pub(super) fn has_written(&self) -> bool {
        self.stream.written().get() > self.before
    }

    /// Whether all of the request was taken, and the kernel will note when its answer comes, as it did
    /// for the one before. What TLS takes may lie in its own buffer.
    pub(super) fn has_left(&self, request: &[u8]) -> bool {
        let is_noted = matches!(self.stream, Stream::Plain(_)) && self.stream.received().is_some();
        self.taken == request.len() && is_noted
    }

    pub(super) fn begin(&mut self, request: &[u8]) {
        self.taken = 0;
        self.before = self.stream.written().get();
        self.filled = 0;
        match self.stream.write(request) {
            Ok(taken) => self.taken = taken,
            Err(_) => self.dead = true,
        }
    }

    pub(super) async fn answer(&mut self, request: &[u8]) -> Result<Whole, Broken> {
        if self.send_the_rest(request).await.is_err() {
            return Err(if self.has_written() { Broken::Disconnected } else { Broken::NotWritten });
        }
        loop {
            if let Some(whole) = self.whole()? {
                return Ok(whole);
            }
            poll_fn(|context| self.poll_read(context)).await;
        }
    }

    async fn send_the_rest(&mut self, request: &[u8]) -> io::Result<()> {
        if self.dead {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.stream.write_all(&request[self.taken..]).await?;
        // TLS may hold back what it took.
        self.stream.flush().await
    }

    /// The answer, if it was read to its end.
    pub(super) fn whole(&mut self) -> Result<Option<Whole>, Broken> {
        let Some(answer) = answer::parse(&self.buffer[..self.filled], self.end)? else {
            let is_too_long = self.filled >= MAX_ANSWER;
            return if is_too_long { Err(Broken::Unreadable) } else { Ok(None) };
        };
        self.filled = 0;
        let Parsed { status, head, body, reusable } = answer;
        let received = self.stream.received();
        Ok(Some(Whole { status, headers: Headers::H1(head), body, reusable, received }))
    }

    /// Reads on, once the event loop says that there is something.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut room = ReadBuf::new(room(&mut self.buffer, self.filled));
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut room));
        let length = room.filled().len();
        self.note(read.map(|()| length));
        Poll::Ready(())
    }

    /// Reads what is there by now, whatever the event loop knows.
    pub(super) fn read(&mut self) {
        let room = room(&mut self.buffer, self.filled);
        if let Some(length) = self.stream.read(room) {
            self.note(Ok(length));
        }
    }

    fn note(&mut self, read: io::Result<usize>) {
        match read {
            Ok(0) => self.end = Some(End::Closed),
            Ok(length) => self.filled += length,
            Err(_) => self.end = Some(End::Broken),
        }
    }
}

/// Where more of an answer is read to. It is not cleared for each.
fn room(buffer: &mut Vec<u8>, filled: usize) -> &mut [u8] {
    if buffer.len() - filled < USUAL_ANSWER / 2 {
        buffer.resize(buffer.len() + USUAL_ANSWER, 0);
    }
    &mut buffer[filled..]
}

#[cfg(test)]
mod tests;
