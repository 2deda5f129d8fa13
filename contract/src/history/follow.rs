//! Follows a history of either form while it is written.
//!
//! What is there is told at once, what is only half there is looked at again the next time. So a
//! follower sees every record once, and holds no more of a history than what it has not told yet.

use std::path::Path;

use super::{Event, HistoryError, jsonl, stored};

/// Reads what was added to a history since it was last asked.
pub struct Follower(Form);

enum Form {
    Stored(stored::Follower),
    Lines(jsonl::Follower),
}

impl Follower {
    /// Begins at the beginning of a folder of segments or of a `.jsonl` file.
    ///
    /// # Errors
    /// When it is not there, or certainly no history. A history that was only just begun is no error.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        Ok(Self(match path.is_dir() {
            true => Form::Stored(stored::Follower::open(path)?),
            false => Form::Lines(jsonl::Follower::open(path)?),
        }))
    }

    /// Calls `each` for every event that was added, in the order of [`Event`] as far as it is there, and says whether the history has ended: whole, with its end marks.
    ///
    /// A campaign is told again whenever its start is known otherwise than before, which is mostly
    /// more exactly.
    ///
    /// # Errors
    /// When it can no longer be read or breaks its format.
    pub fn poll(&mut self, each: &mut dyn FnMut(Event<'_>)) -> Result<bool, HistoryError> {
        match &mut self.0 {
            Form::Stored(stored) => stored.poll(each),
            Form::Lines(lines) => lines.poll(each),
        }
    }

    /// Every invocation was there before its request was sent. Then whatever an answer that was read
    /// can rest on is in the history by the time of the next [`poll`](Self::poll).
    pub fn is_written_ahead(&self) -> bool {
        matches!(self.0, Form::Stored(_))
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("is_written_ahead", &self.is_written_ahead()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::history::stored::{CONTROL, Record, Segment, StoredPromise};
    use crate::history::{Completion, Invocation, Kind, clock::Probe};
    use crate::outcome::Outcome;

    fn invoke(op: u64) -> Record<'static> {
        Record::Invoke(Invocation {
            op,
            campaign: "1".into(),
            kind: Kind::Issue,
            at: i64::try_from(op).unwrap(),
            intended: None,
            woken: None,
            target: None,
            user: None,
            key: None,
            follows: None,
        })
    }

    fn complete(op: u64) -> Record<'static> {
        let (at, outcome) = (i64::try_from(op).unwrap() + 1, Outcome::SoldOut);
        Record::Complete(Completion { op, at, accepted: None, outcome, status: None, stamp: None })
    }

    fn promise() -> Record<'static> {
        Record::Campaign(StoredPromise {
            campaign: "1".into(),
            coupons: 5,
            starts_at_unix_ns: 100,
            per_user: None,
            restock: false,
        })
    }

    fn probe(received: i64) -> Record<'static> {
        Record::Probe(Probe { sent: 0, received, stamp: 0, resolution: 0 })
    }

    /// What is new, in short: campaigns, `+op` and `-op`; and a mark at the end.
    fn new(follower: &mut Follower) -> String {
        let mut seen = Vec::new();
        let over = follower.poll(&mut |event| {
            seen.push(match event {
                Event::Campaign(c) => format!("{} known to {}", c.campaign, c.starts_at.width()),
                Event::Invoke(i) => format!("+{}", i.op),
                Event::Complete(c) => format!("-{}", c.op),
            });
        });
        seen.extend(over.unwrap().then(|| "over".to_owned()));
        seen.join(" ")
    }

    #[test]
    fn segments_are_followed_as_they_grow() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Follower::open(dir.path()).is_err(), "there is no {CONTROL} yet");
        let mut control = Segment::create(dir.path(), "control").unwrap();
        let mut follower = Follower::open(dir.path()).unwrap();
        assert_eq!(new(&mut follower), "");
        control.append(&promise()).unwrap();
        control.append(&probe(900)).unwrap();
        assert_eq!(new(&mut follower), "1 known to 1300");
        let mut one = Segment::create(dir.path(), "worker-0").unwrap();
        one.append(&invoke(3)).unwrap();
        let mut two = Segment::create(dir.path(), "worker-1").unwrap();
        two.append(&invoke(1)).unwrap();
        two.append(&complete(1)).unwrap();
        assert_eq!(new(&mut follower), "+1 -1 +3");
        assert_eq!(new(&mut follower), "");
        one.append(&complete(3)).unwrap();
        control.append(&probe(100)).unwrap();
        assert_eq!(new(&mut follower), "1 known to 500 -3");
        one.finish().unwrap();
        two.finish().unwrap();
        assert_eq!(new(&mut follower), "");
        control.finish().unwrap();
        assert_eq!(new(&mut follower), "over");
    }

    #[test]
    fn a_segment_is_followed_past_what_is_held_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut control = Segment::create(dir.path(), "control").unwrap();
        control.append(&promise()).unwrap();
        let mut segment = Segment::create(dir.path(), "worker-0").unwrap();
        let mut follower = Follower::open(dir.path()).unwrap();
        let mut count = 0;
        for op in 0..300_000 {
            segment.append(&invoke(op)).unwrap();
            if op % 7_919 == 0 {
                follower.poll(&mut |_| count += 1).unwrap();
            }
        }
        follower.poll(&mut |_| count += 1).unwrap();
        assert_eq!(count, 300_001);
    }

    /// A record that another thread is copying at this moment, byte by byte.
    #[test]
    fn half_a_record_is_looked_at_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut control = Segment::create(dir.path(), "control").unwrap();
        control.append(&promise()).unwrap();
        let mut segment = Segment::create(dir.path(), "worker-0").unwrap();
        segment.append(&invoke(1)).unwrap();
        drop(segment);
        let path = dir.path().join("worker-0.seg");
        let whole = std::fs::read(&path).unwrap();
        let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let mut follower = None;
        for cut in std::iter::once(0).chain(8..=end) {
            let mut half = vec![0; whole.len()];
            half[..cut].copy_from_slice(&whole[..cut]);
            std::fs::write(&path, half).unwrap();
            let follower = follower.get_or_insert_with(|| Follower::open(dir.path()).unwrap());
            let seen = new(follower);
            assert_eq!(seen.contains("+1"), cut == end, "{cut} of {end}: {seen}");
        }
    }

    #[test]
    fn a_record_of_another_version_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut control = Segment::create(dir.path(), "control").unwrap();
        control.append(&promise()).unwrap();
        let payload = [250, 1, 2];
        let mut bytes = b"CPNHIST2".to_vec();
        bytes.extend(3_u16.to_le_bytes());
        bytes.extend(crc32fast::hash(&payload).to_le_bytes());
        bytes.extend(payload);
        std::fs::write(dir.path().join("worker-0.seg"), bytes).unwrap();
        let error = Follower::open(dir.path()).unwrap().poll(&mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("at byte 8"), "{error}");
    }

    const LINES: [&str; 5] = [
        r#"{"type":"header","format":"coupon-history/1"}"#,
        r#"{"type":"campaign","campaign":"1","coupons":2,"starts_at":{"earliest":1,"latest":3},"per_user":null}"#,
        r#"{"type":"invoke","op":1,"campaign":"1","kind":"issue","at":5}"#,
        r#"{"type":"complete","op":1,"at":6,"outcome":"sold_out"}"#,
        r#"{"type":"trailer","invocations":1,"completions":1}"#,
    ];

    #[test]
    fn lines_are_followed_as_they_are_written() {
        let mut file = tempfile::NamedTempFile::with_suffix(".jsonl").unwrap();
        let mut follower = Follower::open(file.path()).unwrap();
        let want = ["", "1 known to 2", "+1", "-1", "over"];
        for (line, want) in LINES.into_iter().zip(want) {
            let (begin, end) = line.split_at(line.len() / 2);
            file.write_all(begin.as_bytes()).unwrap();
            assert_eq!(new(&mut follower), "");
            file.write_all(format!("{end}\n").as_bytes()).unwrap();
            assert_eq!(new(&mut follower), want);
        }
    }

    #[test]
    fn a_broken_line_is_named_and_a_packed_file_refused() {
        for (bytes, want) in [
            (format!("{}\nnonsense\n", LINES[0]).into_bytes(), ":2: column 2"),
            (b"nonsense\n".to_vec(), ":1: column 2"),
            (vec![0x1f, 0x8b, 8, 0], "cannot be followed"),
        ] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&bytes).unwrap();
            let error = Follower::open(file.path()).unwrap().poll(&mut |_| ()).unwrap_err();
            assert!(error.to_string().contains(want), "{error}");
        }
    }
}
