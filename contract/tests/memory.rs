//! A history is read in memory that does not grow with it. A process of its own, with one test: what
//! is measured is the most that this process ever held.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use contract::history::stored::{Record, Segment};
use contract::history::{Event, Invocation, Kind, stored};

/// Records of each segment, and the length of each: 32 MiB a segment.
const RECORDS: u64 = 4 << 10;
const LENGTH: usize = 8 << 10;
/// Zeros behind the records.
const RESERVED: u64 = 64 << 20;

/// The most memory this process ever held, bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() << 10
}

fn write(dir: &Path, name: &str) {
    let mut segment = Segment::create(dir, name).unwrap();
    let user = "u".repeat(LENGTH);
    for op in 0..RECORDS {
        let invocation = Invocation {
            op,
            campaign: "1".into(),
            kind: Kind::Issue,
            at: i64::try_from(op).unwrap(),
            intended: None,
            woken: None,
            target: None,
            user: Some(user.as_str().into()),
            key: None,
            follows: None,
        };
        segment.append(&Record::Invoke(invocation)).unwrap();
    }
    std::mem::forget(segment);
    let file = std::fs::File::options().write(true).open(dir.join(name).with_extension("seg"));
    let file = file.unwrap();
    file.set_len(file.metadata().unwrap().len() + RESERVED).unwrap();
}

#[test]
fn a_history_is_read_through_a_window() {
    let dir = tempfile::tempdir().unwrap();
    Segment::create(dir.path(), "control").unwrap().finish().unwrap();
    write(dir.path(), "worker-0");
    write(dir.path(), "worker-1");
    let before = peak();
    let mut read = 0;
    let integrity =
        stored::read(dir.path(), &mut |e| read += u64::from(matches!(e, Event::Invoke(_))));
    assert_eq!((read, integrity.unwrap().gaps.len()), (2 * RECORDS, 2));
    let grown = peak() - before;
    assert!(grown < 16 << 20, "{} MiB more than before", grown >> 20);
}
