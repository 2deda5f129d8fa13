//! The stored form: a folder of append-only segments, one per writer.
//!
//! A segment starts with the eight bytes `CPNHIST2`. Then come frames: the payload's length (u16,
//! little endian, never 0), the payload's CRC-32 (u32, little endian) and the payload, a [`Record`]
//! in postcard encoding. What follows the last frame is zeros, or the end of the file.
//!
//! The segment is a shared memory mapping: once [`Segment::append`] returns, the record is the
//! kernel's and survives a SIGKILL of this process, without a system call per record. Disk space is
//! reserved before it is mapped, so a full disk is an error and not a SIGBUS. A frame that was being
//! copied when the process died fails its checksum and ends the segment.

mod cursor;
mod decode;
mod follow;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use memmap2::{MmapMut, MmapOptions};
use serde::{Deserialize, Serialize};

use super::clock::{Probe, locate};
use super::{Completion, Event, HistoryError, Integrity, Invocation, Promise, Sink};
use crate::campaign::{PerUser, Window};
use crate::threads;
use cursor::Cursor;
pub(super) use follow::Follower;

/// First bytes of every segment.
const MAGIC: &[u8; 8] = b"CPNHIST2";
/// Length and checksum before each payload.
const FRAME_HEAD: usize = 6;
/// Longest payload, as the length before it can say: room for all codes of an answer.
pub const MAX_PAYLOAD: usize = u16::MAX as usize;
/// How much of a segment is mapped, and reserved on disk, at a time.
const WINDOW: usize = 4 << 20;
/// Room that only completions and the trailer may use: when the disk is full, what was sent can
/// still be completed.
const RESERVE: usize = 1 << 20;
/// Mappings start at multiples of this: a multiple of every page size in use.
const PAGE: usize = 64 << 10;

/// Name of the segment that holds campaigns and probes. It is read first.
pub const CONTROL: &str = "control.seg";
/// Ending of every segment's name.
const SUFFIX: &str = "seg";

/// One entry of a segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record<'a> {
    /// What a campaign promised.
    Campaign(#[serde(borrow)] StoredPromise<'a>),
    /// The ruling clock was asked.
    Probe(Probe),
    /// A request is about to be sent.
    Invoke(#[serde(borrow)] Invocation<'a>),
    /// A request is over.
    Complete(#[serde(borrow)] Completion<'a>),
    /// The segment is whole: how many invocations and completions it holds.
    Trailer {
        /// Invocations in this segment.
        invocations: u64,
        /// Completions in this segment.
        completions: u64,
    },
}

/// What a campaign promised, with its start on the clock that rules it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredPromise<'a> {
    /// The campaign's name, unique in the history.
    pub campaign: std::borrow::Cow<'a, str>,
    /// How many coupons there are.
    pub coupons: u64,
    /// The start by the ruling clock, Unix nanoseconds.
    pub starts_at_unix_ns: i64,
    /// The limit per user, if there is one.
    pub per_user: Option<PerUser>,
    /// Whether coupons may come back: then "sold out" is not final.
    pub restock: bool,
}

/// Appends records to one segment.
#[derive(Debug)]
pub struct Segment {
    file: File,
    map: MmapMut,
    /// Where the mapping starts in the file.
    base: usize,
    /// Where the next frame goes in the file.
    end: usize,
    scratch: Vec<u8>,
    invocations: u64,
    completions: u64,
}

impl Segment {
    /// Creates the segment `name` (without ending) in `dir`.
    ///
    /// # Errors
    /// When it exists already, or the disk is full.
    pub fn create(dir: &Path, name: &str) -> io::Result<Self> {
        let path = dir.join(name).with_extension(SUFFIX);
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        // Before the space is reserved, which takes its time: a writer that is killed here leaves
        // as few files without their first bytes as can be.
        file.write_all_at(MAGIC, 0)?;
        let map = map_window(&file, 0)?;
        Ok(Self {
            file,
            map,
            base: 0,
            end: MAGIC.len(),
            scratch: Vec::with_capacity(256),
            invocations: 0,
            completions: 0,
        })
    }

    /// Appends a record. When it returns, the record outlives this process.
    ///
    /// An invocation is refused while there is still room for the completions of what is under way,
    /// so a full disk ends a run in order.
    ///
    /// # Errors
    /// When the record is longer than [`MAX_PAYLOAD`], which is
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), or the disk is full; then nothing was added.
    pub fn append(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.scratch.clear();
        let payload = postcard::to_extend(record, std::mem::take(&mut self.scratch))
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let reserve = if matches!(record, Record::Invoke(_)) { RESERVE } else { 0 };
        let appended = self.append_frame(&payload, reserve);
        self.scratch = payload;
        appended?;
        match record {
            Record::Invoke(_) => self.invocations += 1,
            Record::Complete(_) => self.completions += 1,
            Record::Campaign(_) | Record::Probe(_) | Record::Trailer { .. } => {}
        }
        Ok(())
    }

    fn append_frame(&mut self, payload: &[u8], reserve: usize) -> io::Result<()> {
        let length = u16::try_from(payload.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "record too long"))?;
        let size = FRAME_HEAD + payload.len();
        if self.end - self.base + size + reserve > self.map.len() {
            let base = self.end / PAGE * PAGE;
            self.map = map_window(&self.file, base)?;
            self.base = base;
        }
        let at = self.end - self.base;
        let frame = &mut self.map[at..at + size];
        frame[FRAME_HEAD..].copy_from_slice(payload);
        frame[2..FRAME_HEAD].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        frame[..2].copy_from_slice(&length.to_le_bytes());
        self.end += size;
        Ok(())
    }

    /// Marks the segment as whole and gives back the space that was reserved and not used.
    ///
    /// # Errors
    /// When the disk is full or the file cannot be cut.
    pub fn finish(mut self) -> io::Result<()> {
        let (invocations, completions) = (self.invocations, self.completions);
        self.append(&Record::Trailer { invocations, completions })?;
        drop(self.map);
        self.file.set_len(self.end as u64)
    }
}

/// Reserves and maps the window of `file` that starts at `base`.
#[expect(unsafe_code, reason = "a shared mapping is what survives SIGKILL without a system call")]
fn map_window(file: &File, base: usize) -> io::Result<MmapMut> {
    let (offset, length) = (base as u64, WINDOW as u64);
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), offset, length) {
        Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(offset + length)?,
        reserved => reserved?,
    }
    // SAFETY: the file was created by us with `create_new` and is only ever extended while it is
    // mapped; readers only read it, and tolerate a frame that is half there.
    unsafe { MmapOptions::new().offset(offset).len(WINDOW).map_mut(file) }
}

/// Reads a folder of segments as one history, in the order of [`Event`]; see [`super::read`].
///
/// Memory does not grow with the history: of each segment only a window is held.
///
/// # Errors
/// When the folder holds no history or cannot be read.
pub fn read(dir: &Path, each: &mut dyn FnMut(Event<'_>)) -> Result<Integrity, HistoryError> {
    let mut integrity = Integrity::default();
    let (mut control, mut cursor) = (Control::default(), Cursor::open(dir.join(CONTROL))?);
    control.read(&mut cursor)?;
    cursor.finish(&mut integrity)?;
    for (promise, gap) in control.promises() {
        integrity.gaps.extend(gap);
        each(Event::Campaign(promise));
    }
    let mut cursors = Vec::new();
    for path in segments(dir)? {
        cursors.push(Cursor::open(path)?);
    }
    // A load thread writes its invocations in order of time, so merging the heads orders all of them.
    while let Some(next) = cursors.iter_mut().min_by_key(|c| c.time()).filter(|c| !c.is_over()) {
        match next.head() {
            Some(Record::Invoke(i)) => each(Event::Invoke(i)),
            Some(Record::Complete(c)) => each(Event::Complete(c)),
            Some(Record::Campaign(_) | Record::Probe(_) | Record::Trailer { .. }) | None => {}
        }
        next.advance()?;
    }
    for cursor in cursors {
        cursor.finish(&mut integrity)?;
    }
    Ok(integrity)
}

/// Reads a folder of segments side by side, on all processors: each reads some of them, one after the
/// other, into a sink of its own. Every sink takes all campaigns first.
///
/// Memory does not grow with the history, as far as the sinks do not.
///
/// # Errors
/// When the folder holds no history or cannot be read.
pub fn read_apart<S: Sink + Send>(
    dir: &Path,
    new: impl Fn() -> S + Sync,
) -> Result<(Vec<S>, Integrity), HistoryError> {
    let mut integrity = Integrity::default();
    let (mut control, mut cursor) = (Control::default(), Cursor::open(dir.join(CONTROL))?);
    control.read(&mut cursor)?;
    cursor.finish(&mut integrity)?;
    let promises: Vec<(Promise<'_>, Option<String>)> = control.promises().collect();
    integrity.gaps.extend(promises.iter().filter_map(|(_, gap)| gap.clone()));
    let segments = segments(dir)?;
    let work = |numbers: &mut dyn Iterator<Item = usize>| {
        let (mut sink, mut found) = (new(), Vec::new());
        promises.iter().for_each(|(promise, _)| sink.campaign(promise));
        for at in numbers {
            found.push((at, read_one(&segments[at], &mut sink)?));
        }
        Ok((sink, found))
    };
    let (mut sinks, mut found) = (Vec::new(), Vec::new());
    for done in threads::share(segments.len(), work) {
        let (sink, of_segments) = done?;
        sinks.push(sink);
        found.extend(of_segments);
    }
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().for_each(|(_, of_segment)| integrity.absorb(of_segment));
    Ok((sinks, integrity))
}

/// Reads a segment alone.
fn read_one(path: &Path, sink: &mut impl Sink) -> Result<Integrity, HistoryError> {
    let mut integrity = Integrity::default();
    let mut cursor = Cursor::open(path.to_owned())?;
    cursor.each(|record| match record {
        Record::Invoke(i) => sink.invoke(i),
        Record::Complete(c) => sink.complete(c),
        Record::Campaign(_) | Record::Probe(_) | Record::Trailer { .. } => {}
    })?;
    cursor.finish(&mut integrity)?;
    Ok(integrity)
}

/// The campaigns and the probes of a history.
#[derive(Default)]
struct Control {
    campaigns: Vec<StoredPromise<'static>>,
    probes: Vec<Probe>,
}

impl Control {
    /// Takes what is there.
    fn read(&mut self, cursor: &mut Cursor) -> Result<(), HistoryError> {
        while !cursor.is_over() {
            match cursor.head() {
                Some(Record::Campaign(c)) => self
                    .campaigns
                    .push(StoredPromise { campaign: c.campaign.into_owned().into(), ..c }),
                Some(Record::Probe(p)) => self.probes.push(p),
                Some(Record::Invoke(_) | Record::Complete(_) | Record::Trailer { .. }) | None => {}
            }
            cursor.advance()?;
        }
        Ok(())
    }

    /// What each campaign promised, and why its start has no place where it has none. Whatever does
    /// not depend on the start can still be proven.
    fn promises(&self) -> impl Iterator<Item = (Promise<'_>, Option<String>)> {
        self.campaigns.iter().map(|c| {
            let placed = locate(c.starts_at_unix_ns, &self.probes);
            let promise = Promise {
                campaign: c.campaign.as_ref().into(),
                coupons: c.coupons,
                starts_at: placed.unwrap_or(Window { earliest: i64::MIN, latest: i64::MAX }),
                per_user: c.per_user,
                restock: c.restock,
            };
            let why = match self.probes.is_empty() {
                true => "the ruling clock was never asked",
                false => "the ruling clock stepped while it was watched",
            };
            let gap = || {
                let name = &c.campaign;
                format!("campaign {name}: its start cannot be placed on the run's clock: {why}")
            };
            (promise, placed.is_none().then(gap))
        })
    }
}

/// All segments but the control segment, in order of their names.
fn segments(dir: &Path) -> Result<Vec<PathBuf>, HistoryError> {
    let entries = std::fs::read_dir(dir).map_err(|e| HistoryError::io(dir, e))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| HistoryError::io(dir, e))?.path();
        let is_segment = path.extension().is_some_and(|e| e == SUFFIX);
        if is_segment && path.file_name().is_some_and(|n| n != CONTROL) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Kind;
    use crate::outcome::{Coupon, Outcome};

    fn invoke(op: u64) -> Record<'static> {
        Record::Invoke(Invocation {
            op,
            campaign: "1".into(),
            kind: Kind::Issue,
            at: i64::try_from(op).unwrap() * 1_000,
            intended: Some(7),
            woken: Some(8),
            target: Some(3),
            user: Some("u1".into()),
            key: None,
            follows: None,
        })
    }

    fn complete(op: u64) -> Record<'static> {
        let coupon =
            Coupon { code: "가나다2".into(), seq: Some(1), remaining: Some(0), order: None };
        Record::Complete(Completion {
            op,
            at: 9,
            accepted: None,
            outcome: Outcome::Issued(coupon),
            status: Some(201),
            stamp: None,
        })
    }

    fn control(dir: &Path) {
        let mut segment = Segment::create(dir, "control").unwrap();
        let promise = StoredPromise {
            campaign: "1".into(),
            coupons: 5,
            starts_at_unix_ns: 100,
            per_user: None,
            restock: false,
        };
        segment.append(&Record::Campaign(promise)).unwrap();
        let probe = Probe { sent: 0, received: 0, stamp: 0, resolution: 0 };
        segment.append(&Record::Probe(probe)).unwrap();
        segment.finish().unwrap();
    }

    #[test]
    fn segments_are_merged_in_order_of_time() {
        let dir = tempfile::tempdir().unwrap();
        control(dir.path());
        for (name, ops) in [("worker-0", [1, 4, 5]), ("worker-1", [2, 3, 6])] {
            let mut segment = Segment::create(dir.path(), name).unwrap();
            for op in ops {
                segment.append(&invoke(op)).unwrap();
            }
            segment.finish().unwrap();
        }
        let mut ops = Vec::new();
        let mut note = |e: Event<'_>| {
            if let Event::Invoke(i) = e {
                ops.push(i.op);
            }
        };
        read(dir.path(), &mut note).unwrap();
        assert_eq!(ops, [1, 2, 3, 4, 5, 6]);
    }

    fn read_all(dir: &Path) -> (usize, Integrity) {
        let mut events = 0;
        let integrity = read(dir, &mut |_| events += 1).unwrap();
        (events, integrity)
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        control(dir.path());
        let mut segment = Segment::create(dir.path(), "worker-0").unwrap();
        segment.append(&invoke(1)).unwrap();
        segment.append(&complete(1)).unwrap();
        segment.finish().unwrap();
        let mut seen = Vec::new();
        let integrity = read(dir.path(), &mut |e| seen.push(format!("{e:?}"))).unwrap();
        assert_eq!(integrity, Integrity { invocations: 1, completions: 1, gaps: vec![] });
        assert_eq!(seen.len(), 3);
        assert!(seen[0].contains("coupons: 5"), "{}", seen[0]);
        assert!(seen[2].contains("가나다2"), "{}", seen[2]);
    }

    #[test]
    fn a_segment_grows_past_its_window() {
        let dir = tempfile::tempdir().unwrap();
        control(dir.path());
        let mut segment = Segment::create(dir.path(), "worker-0").unwrap();
        let many = 3 * WINDOW as u64 / 30;
        for op in 0..many {
            segment.append(&invoke(op)).unwrap();
        }
        segment.finish().unwrap();
        let integrity = read(dir.path(), &mut |_| {}).unwrap();
        assert_eq!((integrity.invocations, integrity.gaps.len()), (many, 0));
    }

    #[test]
    fn a_killed_writer_leaves_its_records_and_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        control(dir.path());
        let mut segment = Segment::create(dir.path(), "worker-0").unwrap();
        segment.append(&invoke(1)).unwrap();
        std::mem::forget(segment);
        let (events, integrity) = read_all(dir.path());
        assert_eq!((events, integrity.invocations, integrity.gaps.len()), (2, 1, 1));
    }

    #[test]
    fn a_damaged_frame_ends_the_segment_with_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        control(dir.path());
        let mut segment = Segment::create(dir.path(), "worker-0").unwrap();
        for op in 0..3 {
            segment.append(&invoke(op)).unwrap();
        }
        segment.finish().unwrap();
        let path = dir.path().join("worker-0.seg");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
        let (_, integrity) = read_all(dir.path());
        assert_eq!(integrity.invocations, 1);
        assert!(integrity.gaps[0].contains("damaged"), "{:?}", integrity.gaps);
    }

    #[test]
    fn a_record_of_another_version_is_not_called_damage() {
        let dir = tempfile::tempdir().unwrap();
        control(dir.path());
        let mut segment = Segment::create(dir.path(), "worker-0").unwrap();
        segment.append_frame(&[250, 1, 2], 0).unwrap();
        segment.finish().unwrap();
        let (_, integrity) = read_all(dir.path());
        assert!(integrity.gaps[0].contains("understands, at byte 8"), "{:?}", integrity.gaps);
    }

    #[test]
    fn a_foreign_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONTROL), "hello, world").unwrap();
        let error = read(dir.path(), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("CPNHIST2"), "{error}");
    }

    /// What a writer leaves that is killed before, while or right after it writes its first bytes.
    #[test]
    fn a_segment_of_a_writer_that_was_killed_at_once_is_empty() {
        let reserved = [MAGIC.as_slice(), &[0; 100]].concat();
        let begun: [&[u8]; 6] = [b"", b"C", b"CPNHIST", MAGIC, &[0; 5], &[0; WINDOW]];
        for bytes in begun.into_iter().chain([reserved.as_slice()]) {
            let dir = tempfile::tempdir().unwrap();
            control(dir.path());
            std::fs::write(dir.path().join("worker-0.seg"), bytes).unwrap();
            let (events, integrity) = read_all(dir.path());
            assert_eq!((events, integrity.gaps.len()), (1, 1), "{:?}", integrity.gaps);
            assert!(integrity.gaps[0].contains("worker-0.seg: no end mark"));
            // The control segment alike: no campaign is known, and what was sent is read.
            std::fs::remove_file(dir.path().join("worker-0.seg")).unwrap();
            let mut segment = Segment::create(dir.path(), "worker-1").unwrap();
            segment.append(&invoke(1)).unwrap();
            segment.finish().unwrap();
            std::fs::write(dir.path().join(CONTROL), bytes).unwrap();
            let (events, integrity) = read_all(dir.path());
            assert_eq!((events, integrity.gaps.len()), (1, 1), "{:?}", integrity.gaps);
            assert!(integrity.gaps[0].contains("control.seg: no end mark"));
        }
    }

    #[test]
    fn what_follows_zeros_is_not_taken_for_a_killed_writer() {
        let dir = tempfile::tempdir().unwrap();
        control(dir.path());
        for bytes in [&[&[0; WINDOW][..], b"x"].concat()[..], b"hello"] {
            std::fs::write(dir.path().join("worker-0.seg"), bytes).unwrap();
            assert!(matches!(read(dir.path(), &mut |_| {}), Err(HistoryError::NotAHistory { .. })));
        }
    }

    #[test]
    fn the_first_bytes_are_there_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::mem::forget(Segment::create(dir.path(), "control").unwrap());
        let bytes = std::fs::read(dir.path().join(CONTROL)).unwrap();
        assert!(bytes.starts_with(MAGIC) && bytes.len() == WINDOW);
    }

    /// Frames of all lengths lie across the ends of the reader's window.
    #[test]
    fn a_frame_is_read_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        control(dir.path());
        let mut segment = Segment::create(dir.path(), "worker-0").unwrap();
        let mut users = Vec::new();
        for op in 0..400 {
            let user = "u".repeat(usize::try_from(op * 7_919 % 65_500).unwrap());
            let mut record = invoke(op);
            if let Record::Invoke(i) = &mut record {
                i.user = Some(user.clone().into());
            }
            segment.append(&record).unwrap();
            users.push(user);
        }
        segment.finish().unwrap();
        let mut found = Vec::new();
        let integrity = read(dir.path(), &mut |e| {
            if let Event::Invoke(i) = e {
                found.push(i.user.unwrap().into_owned());
            }
        });
        assert!(found == users);
        assert_eq!(integrity.unwrap().gaps, Vec::<String>::new());
    }

    /// Damage far from the beginning is reported at its byte, whatever the window held before.
    #[test]
    fn damage_is_reported_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        control(dir.path());
        let mut segment = Segment::create(dir.path(), "worker-0").unwrap();
        for op in 0..50_000 {
            segment.append(&invoke(op)).unwrap();
        }
        let end = segment.end;
        std::mem::forget(segment);
        let path = dir.path().join("worker-0.seg");
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&[9, 0, 1], end as u64).unwrap();
        let (events, integrity) = read_all(dir.path());
        assert_eq!((events, end > 1 << 20), (50_001, true));
        let want = format!("history segment worker-0.seg: damaged at byte {end}");
        assert_eq!(integrity.gaps[0], want);
    }

    #[test]
    fn a_record_that_is_too_long_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut segment = Segment::create(dir.path(), "worker-0").unwrap();
        let mut record = invoke(1);
        if let Record::Invoke(i) = &mut record {
            i.user = Some("u".repeat(MAX_PAYLOAD).into());
        }
        let refused = segment.append(&record).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        segment.append(&invoke(2)).unwrap();
    }
}
