//! Everything here that reads what others wrote, as functions of bytes. None of them may panic, or
//! take memory that the input does not explain. The fuzz targets call the same functions.

use std::path::Path;

use contract::history::follow::Follower;
use contract::history::stored::{CONTROL, Record};
use contract::history::{self, jsonl};

/// Bytes as the segment of a load thread, and as the segment of campaigns.
pub(crate) fn segment(bytes: &[u8]) {
    for (control, worker) in [(None, Some(bytes)), (Some(bytes), None)] {
        let Ok(dir) = tempfile::tempdir() else { return };
        let control = control.unwrap_or(b"CPNHIST2");
        drop(std::fs::write(dir.path().join(CONTROL), control));
        if let Some(bytes) = worker {
            drop(std::fs::write(dir.path().join("worker-0.seg"), bytes));
        }
        folder(dir.path());
    }
}

/// Bytes as records, one after the other, each behind its length in two bytes, in frames whose
/// checksums are right: what a checksum would keep away.
pub(crate) fn records(mut bytes: &[u8]) {
    let mut frames = b"CPNHIST2".to_vec();
    while let [low, high, rest @ ..] = bytes {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (payload, behind) = rest.split_at(length);
        if let Ok(length) = u16::try_from(length) {
            frames.extend(length.to_le_bytes());
            frames.extend(crc32fast::hash(payload).to_le_bytes());
            frames.extend(payload);
        }
        bytes = behind;
    }
    segment(&frames);
}

/// The same records as bytes for [`records`].
pub(crate) fn as_records(records: &[Record<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        let payload = postcard::to_extend(record, Vec::new()).unwrap_or_default();
        bytes.extend(u16::try_from(payload.len()).unwrap_or_default().to_le_bytes());
        bytes.extend(payload);
    }
    bytes
}

/// A history is read and followed to the same end.
fn folder(dir: &Path) {
    let mut read = 0_u64;
    let whole = history::read(dir, &mut |_| read += 1);
    let Ok(mut follower) = Follower::open(dir) else { return };
    let mut followed = 0_u64;
    if follower.poll(&mut |_| followed += 1).is_ok() && whole.is_ok() {
        assert_eq!(read, followed);
    }
}

/// Bytes as `coupon-history/1`; what can be read means the same once it was written again.
pub(crate) fn lines(bytes: &[u8]) {
    let mut copy = Vec::new();
    let Ok(mut writer) = jsonl::Writer::new(&mut copy) else { return };
    let mut first = Vec::new();
    let read = jsonl::read_from(bytes, Path::new("h"), &mut |event| {
        drop(writer.event(&event));
        first.push(format!("{event:?}"));
    });
    if read.is_err() || writer.finish().is_err() {
        return;
    }
    let mut again = Vec::new();
    let read = jsonl::read_from(&copy[..], Path::new("h"), &mut |event| {
        again.push(format!("{event:?}"));
    });
    assert!(read.is_ok() && first == again, "{first:?} {again:?} {read:?}");
}
