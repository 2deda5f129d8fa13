//! HTTP/1.1, as little of it as a load generator needs: one request, one answer, no pipelining.
//!
//! httparse reads heads and chunk sizes; what is ours is the counting of written bytes and that the
//! first write needs no turn of the event loop.

use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use httparse::Status;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::stream::Stream;
use super::{Broken, Headers, MAX_ANSWER, Whole};
use crate::mapping::Request;
use crate::mapping::fields::{self, Fields as _};

/// Most headers of an answer.
const MAX_HEADERS: usize = 96;
/// Space for an answer, before it proves to be longer.
const USUAL_ANSWER: usize = 2 * 1024;

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
    /// Whether the current request is HEAD, whose answer has no body.
    bodiless: bool,
}

/// A request in the form that HTTP/1.1 wants.
pub(super) fn packed(authority: &str, request: &Request) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + request.body.len());
    // Writing to a vector cannot fail.
    let _ = write!(out, "{} {} HTTP/1.1\r\nhost: {authority}\r\n", request.method, request.uri);
    for (name, value) in &request.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let takes_body = !matches!(request.method.as_str(), "GET" | "HEAD");
    if takes_body || !request.body.is_empty() {
        let _ = write!(out, "content-length: {}\r\n", request.body.len());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&request.body);
    out
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        let buffer = Vec::with_capacity(USUAL_ANSWER);
        Self { stream, buffer, taken: 0, before: 0, dead: false, bodiless: false }
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

    pub(super) fn begin(&mut self, request: &[u8]) {
        (self.taken, self.bodiless) = (0, request.starts_with(b"HEAD "));
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
            if let Some(head) = Head::parse(&self.buffer, self.bodiless)? {
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
                while self.more().await? > 0 {}
                self.buffer.split_off(start)
            }
        };
        self.buffer.clear();
        Ok(Whole { status, headers: Headers::H1(headers), body, reusable })
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
    fn parse(bytes: &[u8], bodiless: bool) -> Result<Option<Self>, Broken> {
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
        let mut headers = fields::Head::with_capacity(response.headers.len(), length);
        for header in response.headers.iter() {
            headers.push(header.name, header.value);
        }
        let empty = bodiless || matches!(status, 100..200 | 204 | 304);
        let framing = if empty { Framing::Length(0) } else { framing(&headers)? };
        let keeps_alive = keeps_alive(&headers, response.version == Some(1));
        Ok(Some(Self { length, status, headers, framing, keeps_alive }))
    }
}

fn framing(headers: &fields::Head) -> Result<Framing, Broken> {
    if let Some(coding) = headers.first("transfer-encoding") {
        let chunked = coding.eq_ignore_ascii_case("chunked");
        return if chunked { Ok(Framing::Chunked) } else { Err(Broken::Unreadable) };
    }
    let mut lengths = headers.named("content-length");
    let Some(length) = lengths.next() else { return Ok(Framing::UntilClosed) };
    if lengths.any(|other| other != length) {
        return Err(Broken::Unreadable);
    }
    length.parse().map(Framing::Length).map_err(|_| Broken::Unreadable)
}

fn keeps_alive(headers: &fields::Head, is_1_1: bool) -> bool {
    let mut options = headers.named("connection").flat_map(|v| v.split(',')).map(str::trim);
    if is_1_1 {
        !options.any(|o| o.eq_ignore_ascii_case("close"))
    } else {
        options.any(|o| o.eq_ignore_ascii_case("keep-alive"))
    }
}

#[cfg(test)]
mod tests;
