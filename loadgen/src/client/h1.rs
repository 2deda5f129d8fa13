//! HTTP/1.1, as little of it as a load generator needs: one request, one answer, no pipelining.
//!
//! httparse reads heads and chunk sizes; what is ours is the counting of written bytes and that the
//! first write needs no turn of the event loop.

use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use httparse::Status;
use hyper::Method;
use hyper::header::{HOST, HeaderName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::stream::Stream;
use super::{Broken, Headers, MAX_ANSWER, Whole, announces_body};
use crate::mapping::{Write, fields};

/// Most headers of an answer.
const MAX_HEADERS: usize = 96;
/// Space for an answer, before it proves to be longer.
const USUAL_ANSWER: usize = 2 * 1024;
/// The same for a request.
const USUAL_REQUEST: usize = 512;

/// One connection, with what was read of it and not used.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
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
        let buffer = Vec::with_capacity(USUAL_ANSWER);
        Self { stream, buffer, taken: 0, before: 0, dead: false }
    }

    /// An idle connection has nothing to say: what it says is a goodbye.
    pub(super) fn is_alive(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer).is_pending()
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

    /// The answer is probably there when it is asked for.
    pub(super) fn expect(&mut self) {
        self.stream.expect();
    }

    pub(super) fn begin(&mut self, request: &[u8]) {
        self.taken = 0;
        self.before = self.stream.written().get();
        self.buffer.clear();
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.stream).poll_write(&mut context, request) {
            Poll::Ready(Ok(taken)) => self.taken = taken,
            Poll::Ready(Err(_)) => self.dead = true,
            Poll::Pending => {}
        }
    }

    pub(super) async fn answer(&mut self, request: &[u8]) -> Result<Whole, Broken> {
        if self.send_the_rest(request).await.is_err() {
            return Err(if self.has_written() { Broken::Disconnected } else { Broken::NotWritten });
        }
        loop {
            let head = self.head().await?;
            // 100 and 103 announce an answer; they are none.
            if !(100..200).contains(&head.status) || head.status == 101 {
                return self.body(head).await;
            }
            self.buffer.drain(..head.length);
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

    /// Reads until the head is whole.
    async fn head(&mut self) -> Result<Head, Broken> {
        loop {
            if let Some(head) = Head::parse(&self.buffer)? {
                return Ok(head);
            }
            if self.more().await? == 0 {
                return Err(Broken::Disconnected);
            }
        }
    }

    async fn body(&mut self, head: Head) -> Result<Whole, Broken> {
        let Head { length: start, status, headers, framing, keeps_alive } = head;
        let mut reusable = keeps_alive;
        let body = match framing {
            Framing::Length(length) => {
                let end = start.saturating_add(length);
                if end > MAX_ANSWER {
                    return Err(Broken::Unreadable);
                }
                while self.buffer.len() < end {
                    self.some_more().await?;
                }
                // More than was promised belongs to no request.
                reusable &= self.buffer.len() == end;
                self.buffer[start..end].to_vec()
            }
            Framing::Chunked => self.chunks(start, &mut reusable).await?,
            Framing::UntilClosed => {
                reusable = false;
                // Its head is whole: what breaks now has cut it.
                while self.more().await.map_err(|_| Broken::Unreadable)? > 0 {}
                self.buffer.split_off(start)
            }
        };
        self.buffer.clear();
        let received = self.stream.received();
        Ok(Whole { status, headers: Headers::H1(headers), body, reusable, received })
    }

    async fn chunks(&mut self, start: usize, reusable: &mut bool) -> Result<Vec<u8>, Broken> {
        let (mut at, mut body) = (start, Vec::new());
        loop {
            let (length, size) = loop {
                match httparse::parse_chunk_size(&self.buffer[at..]) {
                    Ok(Status::Complete(found)) => break found,
                    Ok(Status::Partial) => self.some_more().await?,
                    Err(_) => return Err(Broken::Unreadable),
                }
            };
            at += length;
            if size == 0 {
                break;
            }
            let end = usize::try_from(size).ok().and_then(|size| at.checked_add(size));
            let end = end.filter(|end| *end <= MAX_ANSWER).ok_or(Broken::Unreadable)?;
            while self.buffer.len() < end + 2 {
                self.some_more().await?;
            }
            body.extend_from_slice(&self.buffer[at..end]);
            if !self.buffer[end..].starts_with(b"\r\n") {
                return Err(Broken::Unreadable);
            }
            at = end + 2;
        }
        // Trailers, if there are any, end with an empty line.
        loop {
            let rest = &self.buffer[at..];
            let end = match rest.starts_with(b"\r\n") {
                true => Some(2),
                false => rest.windows(4).position(|w| w == b"\r\n\r\n").map(|p| p + 4),
            };
            if let Some(end) = end {
                *reusable &= at + end == self.buffer.len();
                return Ok(body);
            }
            self.some_more().await?;
        }
    }

    /// Reads on; the end of the connection cuts the answer.
    async fn some_more(&mut self) -> Result<(), Broken> {
        match self.more().await {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(Broken::Unreadable),
        }
    }

    async fn more(&mut self) -> Result<usize, Broken> {
        if self.buffer.len() >= MAX_ANSWER {
            return Err(Broken::Unreadable);
        }
        self.buffer.reserve(USUAL_ANSWER);
        self.stream.read_buf(&mut self.buffer).await.map_err(|_| Broken::Disconnected)
    }
}

/// Where an answer's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClosed,
}

struct Head {
    /// Bytes of it.
    length: usize,
    status: u16,
    headers: fields::Head,
    framing: Framing,
    keeps_alive: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Broken> {
        // Not filled in first: three kilobytes for each answer.
        let mut space = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut space);
        let length = match parsed {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(None),
            Err(_) => return Err(Broken::Unreadable),
        };
        let status = response.code.unwrap_or_default();
        let said = Said::of(response.headers);
        let empty = matches!(status, 100..200 | 204 | 304);
        let framing = if empty { Framing::Length(0) } else { said.framing()? };
        let keeps_alive = match response.version {
            Some(1) => !said.closes,
            Some(_) | None => said.keeps_alive,
        };
        let headers = fields::Head::of(&bytes[..length]);
        Ok(Some(Self { length, status, headers, framing, keeps_alive }))
    }
}

/// What the headers say of the connection and of the body's end.
#[derive(Default)]
struct Said<'a> {
    coding: Option<&'a str>,
    length: Option<&'a str>,
    /// There are several lengths, and they differ.
    is_at_odds: bool,
    closes: bool,
    keeps_alive: bool,
}

impl<'a> Said<'a> {
    /// One look at each header; a value that is no text is none.
    fn of(headers: &[httparse::Header<'a>]) -> Self {
        let mut said = Self::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let text = || std::str::from_utf8(header.value).ok();
            if is("transfer-encoding") {
                said.coding = said.coding.or_else(text);
            } else if is("content-length") {
                let Some(length) = text() else { continue };
                said.is_at_odds |= said.length.is_some_and(|other| other != length);
                said.length = Some(length);
            } else if is("connection") {
                for option in text().unwrap_or_default().split(',').map(str::trim) {
                    said.closes |= option.eq_ignore_ascii_case("close");
                    said.keeps_alive |= option.eq_ignore_ascii_case("keep-alive");
                }
            }
        }
        said
    }

    fn framing(&self) -> Result<Framing, Broken> {
        match (self.coding, self.length) {
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            (Some(_), _) => Err(Broken::Unreadable),
            (None, Some(_)) if self.is_at_odds => Err(Broken::Unreadable),
            (None, Some(length)) => {
                length.parse().map(Framing::Length).map_err(|_| Broken::Unreadable)
            }
            (None, None) => Ok(Framing::UntilClosed),
        }
    }
}

#[cfg(test)]
mod tests;
