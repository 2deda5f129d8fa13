//! An answer out of the bytes that have come so far: it is all there, or more must come, or it is none.
//!
//! Nothing is remembered between two looks. Most answers come in one piece; what comes in several is
//! short, and looked through anew.

use std::mem::MaybeUninit;

use httparse::Status;

use crate::client::{Broken, MAX_ANSWER};
use crate::mapping::fields;

/// Most headers of an answer.
const MAX_HEADERS: usize = 96;

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer said all that it had to say.
    Closed,
    /// The connection broke.
    Broken,
}

/// A whole answer.
pub(super) struct Parsed {
    pub(super) status: u16,
    pub(super) head: fields::Head,
    pub(super) body: Vec<u8>,
    /// Whether the connection carries another request.
    pub(super) reusable: bool,
}

/// The answer in these bytes, if they hold all of it.
pub(super) fn parse(bytes: &[u8], end: Option<End>) -> Result<Option<Parsed>, Broken> {
    let Some((head, rest)) = final_head(bytes)? else {
        return if end.is_some() { Err(Broken::Disconnected) } else { Ok(None) };
    };
    let body = match head.framing {
        Framing::Length(length) => sized(rest, length, MAX_ANSWER - (bytes.len() - rest.len()))?,
        Framing::Chunked => chunks(rest)?,
        Framing::UntilClosed => (end == Some(End::Closed)).then(|| (rest.to_vec(), rest.len())),
    };
    let Some((body, used)) = body else {
        // Its head is whole: what ends now has cut it.
        return if end.is_some() { Err(Broken::Unreadable) } else { Ok(None) };
    };
    // More than was promised belongs to no request.
    let reusable = head.keeps_alive && used == rest.len() && end.is_none();
    Ok(Some(Parsed { status: head.status, head: head.fields, body, reusable }))
}

/// The head of the answer itself, and what follows it.
fn final_head(mut bytes: &[u8]) -> Result<Option<(Head, &[u8])>, Broken> {
    while let Some(head) = Head::parse(bytes)? {
        bytes = &bytes[head.length..];
        if !head.is_interim() {
            return Ok(Some((head, bytes)));
        }
    }
    Ok(None)
}

/// A body, and how many bytes of the answer it took.
type Body = (Vec<u8>, usize);

/// A body of this length, of which no more than `most` can be read.
fn sized(bytes: &[u8], length: usize, most: usize) -> Result<Option<Body>, Broken> {
    if length > most {
        return Err(Broken::Unreadable);
    }
    Ok(bytes.get(..length).map(|body| (body.to_vec(), length)))
}

fn chunks(bytes: &[u8]) -> Result<Option<Body>, Broken> {
    let (mut at, mut body) = (0, Vec::new());
    loop {
        let size = match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(Status::Complete((length, size))) => {
                at += length;
                usize::try_from(size).ok().filter(|size| *size <= MAX_ANSWER)
            }
            Ok(Status::Partial) => return Ok(None),
            Err(_) => None,
        };
        match size.ok_or(Broken::Unreadable)? {
            0 => return Ok(trailers(&bytes[at..]).map(|length| (body, at + length))),
            size => {
                let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
                body.extend(chunk.strip_suffix(b"\r\n").ok_or(Broken::Unreadable)?);
                at += size + 2;
            }
        }
    }
}

/// The length of the trailers, if they have ended, as they do with an empty line.
fn trailers(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
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
    fields: fields::Head,
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
        let fields = fields::Head::of(&bytes[..length]);
        Ok(Some(Self { length, status, fields, framing, keeps_alive }))
    }

    /// 100 and 103 announce an answer; they are none.
    fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
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
