//! The interchange form `coupon-history/1`: JSON Lines, one object a line, specified in
//! `docs/history-format.md`.
//!
//! A file that was cut in the middle of a line or lacks its trailer is read as far as it goes, with
//! a gap. Anything else that breaks the format is an error with its line.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::{Completion, Event, HistoryError, Integrity, Invocation, Kind, Promise};
use crate::campaign::{PerUser, Window};
use crate::outcome::{Coupon, Doubt, Failure, Observation, Outcome};

/// The format's name, in the header line.
pub const FORMAT: &str = "coupon-history/1";

/// Any line: the keys of all types together, told apart by `type`.
#[derive(Default, Serialize, Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind_of_line: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    format: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    op: Option<u64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    campaign: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coupons: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<Window>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_user: Option<PerUser>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restock: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    follows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intended: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    woken: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<u16>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    outcome: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    code: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    order: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued: Option<i64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    codes: Option<Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invocations: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completions: Option<u64>,
}

/// Reads a `.jsonl` file, gzipped or not; see [`super::read`].
///
/// # Errors
/// When the file cannot be read or a line breaks the format.
pub fn read(path: &Path, each: &mut dyn FnMut(Event<'_>)) -> Result<Integrity, HistoryError> {
    let reader = open(path).map_err(|e| HistoryError::io(path, e))?;
    read_from(reader, path, each)
}

/// Reads lines from wherever they are; errors name them as `path`.
///
/// # Errors
/// When they cannot be read or one breaks the format.
pub fn read_from(
    mut reader: impl BufRead,
    path: &Path,
    each: &mut dyn FnMut(Event<'_>),
) -> Result<Integrity, HistoryError> {
    let mut parser = Parser { integrity: Integrity::default(), counts: None, line: 0 };
    match parser.read_all(&mut reader, each) {
        Ok(()) => Ok(parser.finish()),
        Err(Stop::Broken(reason)) => {
            Err(HistoryError::Malformed { path: path.to_owned(), line: parser.line, reason })
        }
        Err(Stop::Unreadable(source)) => Err(HistoryError::io(path, source)),
    }
}

/// Opens the file and unpacks it where it is gzipped.
fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let gzipped = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzipped {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(reader)))
    } else {
        Box::new(reader)
    })
}

/// Reads the lines that were added to a file. What has no line end yet is looked at again.
pub(super) struct Follower {
    path: PathBuf,
    file: File,
    parser: Parser,
    /// The beginning of a line.
    begun: Vec<u8>,
}

impl Follower {
    /// Begins at the beginning. What is packed cannot be followed.
    pub(super) fn open(path: &Path) -> Result<Self, HistoryError> {
        let file = File::open(path).map_err(|e| HistoryError::io(path, e))?;
        let parser = Parser { integrity: Integrity::default(), counts: None, line: 0 };
        Ok(Self { path: path.to_owned(), file, parser, begun: Vec::new() })
    }

    /// Calls `each` for what is new, and says whether the trailer was there.
    pub(super) fn poll(&mut self, each: &mut dyn FnMut(Event<'_>)) -> Result<bool, HistoryError> {
        loop {
            let more = Read::take(&mut self.file, 1 << 20).read_to_end(&mut self.begun);
            if more.map_err(|e| HistoryError::io(&self.path, e))? == 0 {
                return Ok(self.parser.counts.is_some());
            }
            if let Err(reason) = self.lines(each) {
                let (path, line) = (self.path.clone(), self.parser.line);
                return Err(HistoryError::Malformed { path, line, reason });
            }
        }
    }

    fn lines(&mut self, each: &mut dyn FnMut(Event<'_>)) -> Result<(), String> {
        if self.parser.line == 0 && self.begun.starts_with(&[0x1f, 0x8b]) {
            self.parser.line = 1;
            return Err("it is packed and cannot be followed: pass the file unpacked".into());
        }
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in self.begun[..whole].split_inclusive(|byte| *byte == b'\n') {
            self.parser.line += 1;
            self.parser.line(line, each)?;
        }
        self.begun.drain(..whole);
        if self.begun.len() as u64 > MAX_LINE {
            self.parser.line += 1;
            return Err(format!("a line of more than {} MiB", MAX_LINE >> 20));
        }
        Ok(())
    }
}

/// Longest line that is read; a longer one is not a history.
const MAX_LINE: u64 = 64 << 20;

/// Why reading stopped before the end.
enum Stop {
    Broken(String),
    Unreadable(io::Error),
}

struct Parser {
    integrity: Integrity,
    counts: Option<(u64, u64)>,
    line: usize,
}

impl Parser {
    fn read_all(
        &mut self,
        reader: &mut dyn BufRead,
        each: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Stop> {
        let mut text = Vec::new();
        loop {
            text.clear();
            match Read::take(&mut *reader, MAX_LINE).read_until(b'\n', &mut text) {
                Ok(0) => break,
                Ok(_) => self.line += 1,
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    self.gap("the compressed file ends in the middle");
                    break;
                }
                Err(e) => return Err(Stop::Unreadable(e)),
            }
            let whole = text.last() == Some(&b'\n');
            if !whole && text.len() as u64 == MAX_LINE {
                return Err(Stop::Broken(format!("a line of more than {} MiB", MAX_LINE >> 20)));
            }
            match self.line(&text, each) {
                Err(_) if !whole && self.line > 1 => {
                    self.gap("the last line is cut");
                    break;
                }
                parsed => parsed.map_err(Stop::Broken)?,
            }
        }
        if self.line == 0 {
            return Err(Stop::Broken(format!("empty: expected a header line of {FORMAT}")));
        }
        Ok(())
    }

    fn gap(&mut self, what: &str) {
        self.integrity.gaps.push(format!("history line {}: {what}", self.line));
    }

    fn line(&mut self, text: &[u8], each: &mut dyn FnMut(Event<'_>)) -> Result<(), String> {
        let line: Line<'_> =
            serde_json::from_slice(text).map_err(|e| format!("column {}: {e}", e.column()))?;
        if (self.line == 1) != (line.kind_of_line == "header") {
            return Err(format!("expected the header of {FORMAT} on line 1, and only there"));
        }
        if self.counts.is_some() {
            return Err("a line after the trailer".into());
        }
        match line.kind_of_line.as_ref() {
            "header" => check_format(line.format.as_deref()),
            "trailer" => {
                let counts = need(line.invocations, "invocations")
                    .and_then(|i| Ok((i, need(line.completions, "completions")?)))?;
                self.counts = Some(counts);
                Ok(())
            }
            "campaign" => {
                let promise = promise(line)?;
                let Window { earliest, latest } = promise.starts_at;
                if earliest == i64::MIN || latest == i64::MAX {
                    self.gap(&format!("campaign {}: its start has no place", promise.campaign));
                }
                each(Event::Campaign(promise));
                Ok(())
            }
            "invoke" => {
                let invocation = invocation(line)?;
                self.integrity.invocations += 1;
                each(Event::Invoke(invocation));
                Ok(())
            }
            "complete" => {
                let completion = completion(line)?;
                self.integrity.completions += 1;
                each(Event::Complete(completion));
                Ok(())
            }
            other => Err(format!(
                "type {other:?}: expected header, campaign, invoke, complete or trailer"
            )),
        }
    }

    fn finish(mut self) -> Integrity {
        let read = (self.integrity.invocations, self.integrity.completions);
        match self.counts {
            None => self.gap("no trailer: the history is cut"),
            Some(counted) if counted != read => self.gap(&format!(
                "the trailer counts {} invocations and {} completions, the file holds {} and {}",
                counted.0, counted.1, read.0, read.1
            )),
            Some(_) => {}
        }
        self.integrity
    }
}

fn check_format(found: Option<&str>) -> Result<(), String> {
    match found {
        Some(FORMAT) => Ok(()),
        other => Err(format!("format {:?}: expected {FORMAT:?}", other.unwrap_or_default())),
    }
}

fn need<T>(value: Option<T>, key: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("key {key:?} is missing"))
}

fn promise(line: Line<'_>) -> Result<Promise<'_>, String> {
    let starts_at = need(line.starts_at, "starts_at")?;
    if starts_at.earliest > starts_at.latest {
        return Err("starts_at: earliest is after latest".into());
    }
    if let Some(p) = line.per_user.filter(|p| p.limit != 1) {
        return Err(format!("per_user.limit {}: only 1 is supported", p.limit));
    }
    Ok(Promise {
        campaign: need(line.campaign, "campaign")?,
        coupons: need(line.coupons, "coupons")?,
        starts_at,
        per_user: line.per_user,
        restock: line.restock.unwrap_or(false),
    })
}

fn invocation(line: Line<'_>) -> Result<Invocation<'_>, String> {
    Ok(Invocation {
        op: need(line.op, "op")?,
        campaign: need(line.campaign, "campaign")?,
        kind: need(line.kind, "kind")?,
        at: need(line.at, "at")?,
        intended: line.intended,
        woken: line.woken,
        target: line.target,
        user: line.user,
        key: line.key,
        follows: line.follows,
    })
}

fn completion(line: Line<'_>) -> Result<Completion<'_>, String> {
    let (op, at) = (need(line.op, "op")?, need(line.at, "at")?);
    let (accepted, status, stamp) = (line.accepted, line.status, line.stamp);
    Ok(Completion { op, at, accepted, outcome: outcome(line)?, status, stamp })
}

fn outcome(line: Line<'_>) -> Result<Outcome<'_>, String> {
    let name = need(line.outcome, "outcome")?;
    Ok(match name.as_ref() {
        "issued" => Outcome::Issued(Coupon {
            code: need(line.code, "code")?,
            seq: line.seq,
            remaining: line.remaining,
            order: line.order,
        }),
        "sold_out" => Outcome::SoldOut,
        "not_started" => Outcome::NotStarted,
        "not_found" => Outcome::NotFound,
        "ended" => Outcome::Ended,
        "already_issued" => Outcome::AlreadyIssued(line.code),
        "failed" => Outcome::Failed(Failure::Unspecified),
        "indeterminate" => Outcome::Indeterminate(Doubt::Unspecified),
        "pending" => Outcome::Pending,
        "read" => Outcome::Read(match (line.issued, line.remaining, line.codes) {
            (Some(n), None, None) => Observation::Issued(n),
            (None, Some(n), None) => Observation::Remaining(n),
            (None, None, Some(codes)) => Observation::Codes(codes),
            _ => return Err("a read has exactly one of issued, remaining and codes".into()),
        }),
        other => {
            return Err(format!(
                "outcome {other:?}: expected issued, sold_out, not_started, not_found, ended, \
                 already_issued, failed, indeterminate, read or pending"
            ));
        }
    })
}

/// Writes `coupon-history/1`. The caller brings the events in the order of their `at`.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    invocations: u64,
    completions: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(out: W) -> io::Result<Self> {
        let mut writer = Self { out, invocations: 0, completions: 0 };
        writer.line(&Line { format: Some(FORMAT.into()), ..typed("header") })?;
        Ok(writer)
    }

    /// Writes one event.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::Campaign(p) => self.campaign(p),
            Event::Invoke(i) => {
                self.invocations += 1;
                self.line(&Line {
                    op: Some(i.op),
                    campaign: Some(i.campaign.as_ref().into()),
                    kind: Some(i.kind),
                    at: Some(i.at),
                    intended: i.intended,
                    woken: i.woken,
                    target: i.target,
                    user: i.user.as_deref().map(Cow::Borrowed),
                    key: i.key.as_deref().map(Cow::Borrowed),
                    follows: i.follows,
                    ..typed("invoke")
                })
            }
            Event::Complete(c) => {
                self.completions += 1;
                let line = Line {
                    op: Some(c.op),
                    at: Some(c.at),
                    accepted: c.accepted,
                    status: c.status,
                    stamp: c.stamp,
                    ..typed("complete")
                };
                self.line(&with_outcome(line, &c.outcome))
            }
        }
    }

    /// `per_user` is written even where it is null: a reader may insist on it.
    fn campaign(&mut self, p: &Promise<'_>) -> io::Result<()> {
        let mut line = serde_json::json!({
            "type": "campaign", "campaign": p.campaign, "coupons": p.coupons,
            "starts_at": p.starts_at, "per_user": p.per_user,
        });
        if p.restock {
            line["restock"] = true.into();
        }
        writeln!(self.out, "{line}")
    }

    /// Writes the trailer and flushes.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        let (invocations, completions) = (Some(self.invocations), Some(self.completions));
        self.line(&Line { invocations, completions, ..typed("trailer") })?;
        self.out.flush()
    }

    /// Ends the copy of a history that was read. One with a gap gets no trailer, so that whoever
    /// reads the copy finds a gap as well.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn finish_copy(mut self, read: &Integrity) -> io::Result<()> {
        if read.gaps.is_empty() { self.finish() } else { self.out.flush() }
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

fn typed(kind_of_line: &'static str) -> Line<'static> {
    Line { kind_of_line: kind_of_line.into(), ..Line::default() }
}

fn with_outcome<'a>(mut line: Line<'a>, outcome: &'a Outcome<'_>) -> Line<'a> {
    let name = match outcome {
        Outcome::Issued(c) => {
            line.code = Some(c.code.as_ref().into());
            (line.seq, line.remaining) = (c.seq, c.remaining);
            line.order = c.order.as_deref().map(Cow::Borrowed);
            "issued"
        }
        Outcome::SoldOut => "sold_out",
        Outcome::NotStarted => "not_started",
        Outcome::NotFound => "not_found",
        Outcome::Ended => "ended",
        Outcome::AlreadyIssued(code) => {
            line.code = code.as_deref().map(Cow::Borrowed);
            "already_issued"
        }
        Outcome::Failed(_) => "failed",
        Outcome::Indeterminate(_) => "indeterminate",
        Outcome::Pending => "pending",
        Outcome::Read(o) => {
            match o {
                Observation::Issued(n) => line.issued = Some(*n),
                Observation::Remaining(n) => line.remaining = Some(*n),
                Observation::Codes(codes) => {
                    line.codes = Some(codes.iter().map(|c| c.as_ref().into()).collect());
                }
            }
            "read"
        }
    };
    line.outcome = Some(name.into());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"{"type":"header","format":"coupon-history/1"}
{"type":"campaign","campaign":"c1","coupons":2,"starts_at":{"earliest":100,"latest":100},"per_user":null}
{"type":"invoke","op":1,"campaign":"c1","kind":"issue","at":120,"user":"u3"}
{"type":"invoke","op":2,"campaign":"c1","kind":"read","at":130}
{"type":"complete","op":2,"at":140,"outcome":"read","issued":1}
{"type":"complete","op":1,"at":150,"outcome":"issued","code":"가나다라12","seq":1,"remaining":1}
{"type":"trailer","invocations":2,"completions":2}
"#;

    fn parse_into(text: &str, each: &mut dyn FnMut(Event<'_>)) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path(), each).unwrap();
    }

    fn parse(text: &str) -> Result<(Vec<String>, Integrity), HistoryError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut events = Vec::new();
        let integrity = read(file.path(), &mut |e| events.push(format!("{e:?}")))?;
        Ok((events, integrity))
    }

    #[test]
    fn reads_what_it_writes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), EXAMPLE).unwrap();
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out).unwrap();
        let integrity = read(file.path(), &mut |e| writer.event(&e).unwrap()).unwrap();
        writer.finish().unwrap();
        let (before, after) = (parse(EXAMPLE).unwrap(), parse(std::str::from_utf8(&out).unwrap()));
        assert_eq!(before, after.unwrap());
        assert_eq!(integrity, Integrity { invocations: 2, completions: 2, gaps: vec![] });
    }

    /// Every optional key, and requests that belong to others.
    const EXTENDED: &str = r#"{"type":"header","format":"coupon-history/1"}
{"campaign":"c","coupons":1,"per_user":null,"restock":true,"starts_at":{"earliest":1,"latest":2},"type":"campaign"}
{"type":"invoke","op":1,"campaign":"c","kind":"issue","at":5,"intended":3,"woken":4,"target":0,"user":"u","key":"k"}
{"type":"invoke","op":2,"campaign":"c","kind":"issue","follows":1,"at":6}
{"type":"invoke","op":3,"campaign":"c","kind":"poll","follows":1,"at":7}
{"type":"complete","op":3,"at":8,"outcome":"pending","status":202}
{"type":"invoke","op":4,"campaign":"c","kind":"confirm","follows":1,"at":9}
{"type":"complete","op":4,"at":10,"outcome":"issued","code":"A"}
{"type":"complete","op":1,"at":10,"accepted":6,"outcome":"issued","code":"A","order":"o1","seq":1,"remaining":0,"status":200,"stamp":77}
{"type":"trailer","invocations":4,"completions":3}
"#;

    #[test]
    fn every_key_is_written_as_it_was_read() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out).unwrap();
        let mut events = Vec::new();
        parse_into(EXTENDED, &mut |e| {
            writer.event(&e).unwrap();
            events.push(format!("{e:?}"));
        });
        writer.finish().unwrap();
        assert_eq!(std::str::from_utf8(&out).unwrap(), EXTENDED);
        assert!(events[0].contains("restock: true"), "{}", events[0]);
        assert!(events[2].contains("follows: Some(1)"), "{}", events[2]);
        assert!(events[4].contains("outcome: Pending"), "{}", events[4]);
        assert!(events[7].contains(r#"accepted: Some(6)"#), "{}", events[7]);
        assert!(events[7].contains(r#"order: Some("o1")"#), "{}", events[7]);
    }

    #[test]
    fn the_copy_of_a_history_with_a_gap_has_one() {
        for gaps in [vec![], vec!["a segment is damaged".to_owned()]] {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out).unwrap();
            let damaged = Integrity { gaps, ..Integrity::default() };
            parse_into(EXAMPLE, &mut |e| writer.event(&e).unwrap());
            writer.finish_copy(&damaged).unwrap();
            let (_, integrity) = parse(std::str::from_utf8(&out).unwrap()).unwrap();
            assert_eq!(integrity.gaps.is_empty(), damaged.gaps.is_empty());
        }
    }

    #[test]
    fn a_start_without_a_place_is_a_gap() {
        let window = r#"{"earliest":-9223372036854775808,"latest":9223372036854775807}"#;
        let (events, integrity) =
            parse(&EXAMPLE.replace(r#"{"earliest":100,"latest":100}"#, window)).unwrap();
        assert_eq!(events.len(), 5);
        assert!(integrity.gaps[0].contains("no place"), "{:?}", integrity.gaps);
    }

    #[test]
    fn keys_that_are_not_named_are_ignored_at_every_depth() {
        let per_user = r#""per_user":{"limit":1,"precedence":"either","note":"x"},"more":[]"#;
        let text = EXAMPLE.replace(r#""latest":100}"#, r#""latest":100,"by":"hand"}"#);
        let text = text.replace(r#""per_user":null"#, per_user);
        assert_eq!(parse(&text).unwrap().1.gaps, Vec::<String>::new());
    }

    #[test]
    fn a_line_that_is_too_long_is_an_error_and_no_cut() {
        let long = format!("{EXAMPLE}{}", " ".repeat(usize::try_from(MAX_LINE).unwrap() + 1));
        let message = parse(&long).unwrap_err().to_string();
        assert!(message.ends_with(":8: a line of more than 64 MiB"), "{message}");
    }

    #[test]
    fn a_cut_file_has_a_gap() {
        for cut in [EXAMPLE.len() - 30, EXAMPLE.len() - 52, EXAMPLE.len() - 120] {
            let (_, integrity) = parse(&EXAMPLE[..cut]).unwrap();
            assert!(!integrity.gaps.is_empty(), "cut at {cut}");
        }
    }

    #[test]
    fn a_wrong_count_is_a_gap() {
        let (_, integrity) =
            parse(&EXAMPLE.replace(r#""invocations":2"#, r#""invocations":3"#)).unwrap();
        assert!(integrity.gaps[0].contains("counts 3 invocations"), "{:?}", integrity.gaps);
    }

    #[test]
    fn broken_lines_are_named() {
        for (from, to, want) in [
            ("coupon-history/1", "coupon-history/9", ":1: format"),
            (r#""op":1,"campaign""#, r#""campaign""#, ":3: key \"op\" is missing"),
            (r#""type":"invoke","op":2"#, r#""type":"invok","op":2"#, ":4: type \"invok\""),
            (r#""at":140"#, r#""at":"soon""#, ":5: column"),
            (r#""outcome":"issued""#, r#""outcome":"won""#, ":6: outcome \"won\""),
            (r#""issued":1"#, r#""issued":1,"remaining":1"#, ":5: a read has exactly one"),
        ] {
            let message = parse(&EXAMPLE.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(message.contains(want), "{message} lacks {want}");
        }
        assert!(parse("").unwrap_err().to_string().contains("empty"));
    }
}
