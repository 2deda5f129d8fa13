//! Writes down every request: before its first byte, and after its last.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use contract::history::stored::{Record, Segment};
use contract::history::{Completion, Invocation, Kind};
use contract::outcome::{Doubt, Outcome};

use crate::workload::Order;

/// When a request was to begin.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// When the plan, or the buyer, wanted it; absent where it was simply next.
    pub due: Option<i64>,
    /// When the load thread got to it.
    pub woken: i64,
}

/// One load thread's part of the history.
#[derive(Debug)]
pub struct Recorder {
    segment: RefCell<Segment>,
}

impl Recorder {
    /// Creates the segment of load thread `number`.
    ///
    /// # Errors
    /// When the run's folder cannot be written.
    pub fn create(history: &Path, number: usize) -> io::Result<Self> {
        let segment = Segment::create(history, &format!("worker-{number}"))?;
        Ok(Self { segment: RefCell::new(segment) })
    }

    /// A request is about to be sent, at `at`.
    ///
    /// # Errors
    /// When the disk is full. The request must not be sent then.
    pub fn invoke(&self, request: &Sent<'_>, timing: Timing, at: i64) -> io::Result<()> {
        let Sent { order, kind, campaign, keyed } = *request;
        let asks = kind != Kind::Read;
        self.segment.borrow_mut().append(&Record::Invoke(Invocation {
            op: order.op,
            campaign: campaign.into(),
            kind,
            at,
            intended: timing.due,
            woken: Some(timing.woken),
            target: u16::try_from(order.target).ok(),
            user: asks.then_some(order.user.as_str().into()),
            key: (asks && keyed).then_some(order.key.as_str().into()),
            follows: order.follows,
        }))
    }

    /// A request is over, at a moment that may lie before those of other records: it is the answer's,
    /// and not that at which somebody got to look at it. An outcome that is too long for a record is
    /// unreadable: what an answer says must not end the run.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn complete(&self, op: u64, ending: Ending) -> io::Result<()> {
        let Ending { at, outcome, accepted, status, stamp } = ending;
        let with =
            |outcome| Record::Complete(Completion { op, at, accepted, outcome, status, stamp });
        let mut segment = self.segment.borrow_mut();
        match segment.append(&with(outcome)) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                segment.append(&with(Outcome::Indeterminate(Doubt::Unreadable)))
            }
            written => written,
        }
    }

    /// Marks this part as whole.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn finish(self) -> io::Result<()> {
        self.segment.into_inner().finish()
    }
}

/// A request that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Who asks, and where.
    pub order: &'a Order,
    /// What is asked.
    pub kind: Kind,
    /// The id of the campaign.
    pub campaign: &'a str,
    /// Whether the system is told the key: one that nobody saw identifies nothing.
    pub keyed: bool,
}

/// How a request ended.
#[derive(Debug)]
pub struct Ending {
    /// When the last of the answer was there, or it was given up.
    pub at: i64,
    /// What came of it.
    pub outcome: Outcome<'static>,
    /// When it was accepted or reserved, where its outcome came later.
    pub accepted: Option<i64>,
    /// The HTTP status, where an answer came.
    pub status: Option<u16>,
    /// The clock of whoever answered, Unix nanoseconds.
    pub stamp: Option<i64>,
}

impl Ending {
    /// Without an answer.
    pub fn unanswered(at: i64, outcome: Outcome<'static>) -> Self {
        Self { at, outcome, accepted: None, status: None, stamp: None }
    }
}

#[cfg(test)]
mod tests {
    use contract::history::Event;
    use contract::history::stored::{CONTROL, read};
    use contract::outcome::Observation;

    use super::*;

    /// What is read of a completion with so many codes, each of ten letters.
    fn kept(codes: usize) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let control = Segment::create(dir.path(), CONTROL.trim_end_matches(".seg")).unwrap();
        control.finish().unwrap();
        let recorder = Recorder::create(dir.path(), 0).unwrap();
        let codes = Observation::Codes(vec!["ABCDEFGHIJ".into(); codes]);
        for outcome in [Outcome::Read(codes), Outcome::SoldOut] {
            recorder.complete(1, Ending::unanswered(1, outcome)).unwrap();
        }
        recorder.finish().unwrap();
        let mut kept = Vec::new();
        let integrity = read(dir.path(), &mut |event| match event {
            Event::Complete(c) => kept.push(format!("{:?}", c.outcome)),
            Event::Campaign(_) | Event::Invoke(_) => {}
        });
        assert_eq!(integrity.unwrap().gaps, Vec::<String>::new());
        kept
    }

    #[test]
    fn no_answer_is_too_long_for_the_run() {
        let all = kept(5_000);
        assert!(all[0].starts_with("Read(Codes(") && all[1] == "SoldOut", "{all:?}");
        let none = kept(10_000);
        assert_eq!(none, ["Indeterminate(Unreadable)", "SoldOut"]);
    }
}
