//! Reads one segment from its beginning to its end, through a window that does not grow with it.
//!
//! Merging needs the moment of every segment's next record, and the record itself only of the one
//! that is next. So of the head only what stands before its moment is decoded, and the whole record
//! once it is taken, borrowed from the window. Where nothing follows yet, one can look again: the
//! writer goes on in the same place.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{FRAME_HEAD, MAGIC, Record, decode};
use crate::history::{HistoryError, Integrity, Kind};

/// How much of a segment is held. A frame always fits: it is at most 64 KiB and 5 bytes.
const WINDOW: usize = 256 << 10;
/// What somebody wrote like this, and is no record of this version.
const STRANGE: &str = "whole, but not a record that this version understands,";

/// Walks through one segment, and notes what is missing or damaged.
pub(super) struct Cursor {
    path: PathBuf,
    input: Input,
    head: Option<Head>,
    count: Count,
    /// Why the segment ended before its end.
    broken: Option<&'static str>,
    /// Its first bytes are there.
    begun: bool,
}

/// What was read so far, and what the end mark says.
#[derive(Default)]
struct Count {
    invocations: u64,
    completions: u64,
    end_mark: Option<(u64, u64)>,
}

impl Count {
    fn add(&mut self, record: &Record<'_>) {
        match record {
            Record::Invoke(_) => self.invocations += 1,
            Record::Complete(_) => self.completions += 1,
            Record::Trailer { invocations, completions } => {
                self.end_mark = Some((*invocations, *completions));
            }
            Record::Campaign(_) | Record::Probe(_) => {}
        }
    }
}

/// The frame at the window's beginning, whose checksum is right.
#[derive(Clone, Copy)]
struct Head {
    /// When, invocations first.
    time: (i64, u8),
    /// Length of the frame.
    size: usize,
}

/// The beginning of a record, as far as its moment. It has to agree with [`Record`].
#[derive(Deserialize)]
enum Beginning<'a> {
    Campaign,
    Probe,
    Invoke {
        #[serde(rename = "op")]
        _op: u64,
        #[serde(rename = "campaign", borrow)]
        _campaign: &'a str,
        #[serde(rename = "kind")]
        _kind: Kind,
        at: i64,
    },
    Complete {
        #[serde(rename = "op")]
        _op: u64,
        at: i64,
    },
    Trailer,
}

impl Beginning<'_> {
    fn time(&self) -> (i64, u8) {
        match self {
            Self::Invoke { at, .. } => (*at, 0),
            Self::Complete { at, .. } => (*at, 1),
            Self::Campaign | Self::Probe | Self::Trailer => (i64::MIN, 0),
        }
    }
}

impl Cursor {
    /// Opens a segment. One whose writer was killed before it could write anything is empty, without
    /// an end mark.
    pub(super) fn open(path: PathBuf) -> Result<Self, HistoryError> {
        let input = File::open(&path).and_then(Input::new);
        let input = input.map_err(|e| HistoryError::io(&path, e))?;
        let (head, broken, begun) = (None, None, false);
        let count = Count::default();
        let mut cursor = Self { path, input, head, count, broken, begun };
        if cursor.input.held().starts_with(MAGIC) {
            cursor.begun = true;
            cursor.input.skip(MAGIC.len());
            cursor.look()?;
        } else if !cursor.is_unwritten()? {
            let reason =
                "not a history segment of this version (it does not begin with CPNHIST2)".into();
            return Err(HistoryError::NotAHistory { path: cursor.path, reason });
        }
        Ok(cursor)
    }

    /// Whether the file is what [`super::Segment::create`] leaves when it is killed: a part of the
    /// first bytes, or zeros.
    fn is_unwritten(&mut self) -> Result<bool, HistoryError> {
        let held = self.input.held();
        Ok(MAGIC.starts_with(held) || !self.anything_follows()?)
    }

    /// The head's moment, invocations first; a segment that is over comes last.
    pub(super) fn time(&self) -> (i64, u8) {
        self.head.map_or((i64::MAX, 2), |head| head.time)
    }

    /// Whether there is no further record.
    pub(super) fn is_over(&self) -> bool {
        self.head.is_none()
    }

    /// The record that is next; nothing where this version does not understand it, which ends the
    /// segment.
    pub(super) fn head(&mut self) -> Option<Record<'_>> {
        let size = self.head?.size;
        let Ok(record) = postcard::from_bytes(&self.input.held()[FRAME_HEAD..size]) else {
            (self.head, self.broken) = (None, Some(STRANGE));
            return None;
        };
        self.count.add(&record);
        Some(record)
    }

    /// Takes all records in turn, without a look at their moments.
    pub(super) fn each(&mut self, mut each: impl FnMut(&Record<'_>)) -> Result<(), HistoryError> {
        let mut next = self.head.take().map(|head| head.size);
        while let Some(size) = next {
            let Some(record) = decode::record(&self.input.held()[FRAME_HEAD..size]) else {
                self.broken = Some(STRANGE);
                return Ok(());
            };
            self.count.add(&record);
            each(&record);
            self.input.skip(size);
            next = self.input.frame().map_err(|e| HistoryError::io(&self.path, e))?;
            if next.is_none() {
                self.broken = Some("damaged");
            }
        }
        Ok(())
    }

    /// Moves on.
    pub(super) fn advance(&mut self) -> Result<(), HistoryError> {
        let Some(head) = self.head.take() else { return Ok(()) };
        self.input.skip(head.size);
        self.look()
    }

    /// Looks again where nothing was before: the writer may have gone on, or just begun.
    pub(super) fn look_again(&mut self) -> Result<(), HistoryError> {
        if !self.begun {
            *self = Self::open(self.path.clone())?;
        } else if self.head.is_none() && self.count.end_mark.is_none() {
            self.broken = None;
            self.input.forget().map_err(|e| HistoryError::io(&self.path, e))?;
            self.look()?;
        }
        Ok(())
    }

    /// Whether its end mark was read: nothing will follow.
    pub(super) fn is_marked(&self) -> bool {
        self.count.end_mark.is_some()
    }

    /// A record that this version does not understand is next, at this byte.
    pub(super) fn strange(&self) -> Option<u64> {
        (self.broken == Some(STRANGE)).then_some(self.input.at)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks for the next head.
    fn look(&mut self) -> Result<(), HistoryError> {
        let size = self.input.frame().map_err(|e| HistoryError::io(&self.path, e))?;
        let Some(size) = size else {
            self.broken = Some("damaged");
            return Ok(());
        };
        match postcard::take_from_bytes::<Beginning<'_>>(&self.input.held()[FRAME_HEAD..size]) {
            Ok((beginning, _)) => self.head = Some(Head { time: beginning.time(), size }),
            Err(_) => self.broken = Some(STRANGE),
        }
        Ok(())
    }

    /// Says what was read, and what is missing or damaged.
    pub(super) fn finish(mut self, integrity: &mut Integrity) -> Result<(), HistoryError> {
        let found = (self.count.invocations, self.count.completions);
        integrity.invocations += found.0;
        integrity.completions += found.1;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let at = self.input.at;
        if let Some(how) = self.broken
            && self.anything_follows()?
        {
            integrity.gaps.push(format!("history segment {name}: {how} at byte {at}"));
        }
        match self.count.end_mark {
            None => integrity.gaps.push(format!(
                "history segment {name}: no end mark; the load generator was killed, or is still \
                 running"
            )),
            Some(marked) if marked != found => integrity.gaps.push(format!(
                "history segment {name}: {} invocations and {} completions, but its end mark \
                 counts {} and {}",
                found.0, found.1, marked.0, marked.1
            )),
            Some(_) => {}
        }
        Ok(())
    }

    /// Whether anything but zeros is left.
    fn anything_follows(&mut self) -> Result<bool, HistoryError> {
        loop {
            let held = self.input.held();
            if held.iter().any(|b| *b != 0) {
                return Ok(true);
            }
            self.input.skip(held.len());
            if self.input.fill().map_err(|e| HistoryError::io(&self.path, e))? == 0 {
                return Ok(false);
            }
        }
    }
}

/// A window on a file that moves forwards.
struct Input {
    file: File,
    window: Box<[u8]>,
    /// What of the window is filled and not passed yet.
    held: std::ops::Range<usize>,
    /// Where in the file that begins.
    at: u64,
}

impl Input {
    fn new(file: File) -> io::Result<Self> {
        let window = vec![0; WINDOW].into_boxed_slice();
        let mut input = Self { file, window, held: 0..0, at: 0 };
        input.fill()?;
        Ok(input)
    }

    fn held(&self) -> &[u8] {
        &self.window[self.held.clone()]
    }

    /// Passes so many bytes of what is held.
    fn skip(&mut self, bytes: usize) {
        self.held.start += bytes;
        self.at += bytes as u64;
    }

    /// Drops what is held: it is read again, as it is by then.
    fn forget(&mut self) -> io::Result<()> {
        self.held = 0..0;
        self.file.seek(SeekFrom::Start(self.at)).map(drop)
    }

    /// Moves what is held to the window's beginning and fills the rest from the file; says how much
    /// that was.
    fn fill(&mut self) -> io::Result<usize> {
        self.window.copy_within(self.held.clone(), 0);
        self.held = 0..self.held.len();
        let before = self.held.end;
        while self.held.end < self.window.len() {
            match self.file.read(&mut self.window[self.held.end..]) {
                Ok(0) => break,
                Ok(more) => self.held.end += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(self.held.end - before)
    }

    /// Whether so many bytes are held, or can be.
    fn has(&mut self, bytes: usize) -> io::Result<bool> {
        if self.held.len() < bytes {
            self.fill()?;
        }
        Ok(self.held.len() >= bytes)
    }

    /// The length of the frame that begins here, if it is whole and its checksum is right.
    fn frame(&mut self) -> io::Result<Option<usize>> {
        if !self.has(FRAME_HEAD)? {
            return Ok(None);
        }
        let [l0, l1, c0, c1, c2, c3] = *self.held().first_chunk::<FRAME_HEAD>().unwrap_or(&[0; 6]);
        let size = FRAME_HEAD + usize::from(u16::from_le_bytes([l0, l1]));
        if size == FRAME_HEAD || !self.has(size)? {
            return Ok(None);
        }
        let crc = crc32fast::hash(&self.held()[FRAME_HEAD..size]);
        Ok((crc == u32::from_le_bytes([c0, c1, c2, c3])).then_some(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::clock::Probe;
    use crate::history::stored::{Segment, StoredPromise};
    use crate::history::{Completion, Invocation};
    use crate::outcome::{Coupon, Doubt, Observation, Outcome};

    fn invoke(kind: Kind, at: i64) -> Record<'static> {
        Record::Invoke(Invocation {
            op: 1 << 40,
            campaign: "봄".into(),
            kind,
            at,
            intended: Some(-1),
            woken: None,
            target: Some(3),
            user: Some("u".into()),
            key: Some("k".into()),
            follows: Some(7),
        })
    }

    fn complete(outcome: Outcome<'static>, at: i64) -> Record<'static> {
        let accepted = Some(5);
        Record::Complete(Completion {
            op: 9,
            at,
            accepted,
            outcome,
            status: Some(200),
            stamp: Some(-7),
        })
    }

    /// The beginning of a record is decoded on its own; it must not drift from the whole.
    #[test]
    fn the_beginning_of_every_record_tells_its_moment() {
        let promise = StoredPromise {
            campaign: "봄".into(),
            coupons: 5,
            starts_at_unix_ns: i64::MAX,
            per_user: None,
            restock: true,
        };
        let code =
            || Coupon { code: "A".into(), seq: None, remaining: None, order: Some("o".into()) };
        let records = [
            (Record::Campaign(promise), (i64::MIN, 0)),
            (Record::Probe(Probe { sent: 1, received: 2, stamp: 3, resolution: 4 }), (i64::MIN, 0)),
            (invoke(Kind::Issue, i64::MAX), (i64::MAX, 0)),
            (invoke(Kind::Read, -300), (-300, 0)),
            (invoke(Kind::Poll, 0), (0, 0)),
            (invoke(Kind::Confirm, 1 << 50), (1 << 50, 0)),
            (complete(Outcome::Issued(code()), i64::MIN), (i64::MIN, 1)),
            (complete(Outcome::Pending, 77), (77, 1)),
            (complete(Outcome::Indeterminate(Doubt::Unconfirmed), 78), (78, 1)),
            (complete(Outcome::Read(Observation::Codes(vec!["A".into()])), 79), (79, 1)),
        ];
        let dir = tempfile::tempdir().unwrap();
        let mut segment = Segment::create(dir.path(), "s").unwrap();
        for (record, _) in &records {
            segment.append(record).unwrap();
        }
        segment.finish().unwrap();
        let mut cursor = Cursor::open(dir.path().join("s.seg")).unwrap();
        for (record, time) in &records {
            assert_eq!((cursor.time(), cursor.head().as_ref()), (*time, Some(record)));
            cursor.advance().unwrap();
        }
        assert!(matches!(cursor.head(), Some(Record::Trailer { invocations: 4, completions: 4 })));
        cursor.advance().unwrap();
        assert!(cursor.is_over() && cursor.time() > (i64::MAX, 1));
    }
}
