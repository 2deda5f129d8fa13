//! Writes down every attempt: before its first byte, and after its last.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use contract::history::stored::{Record, Segment};
use contract::history::{Completion, Invocation, Kind};

use crate::client::Reply;
use crate::workload::Order;

/// When an attempt was to begin.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// When the plan wanted it.
    pub due: i64,
    /// When the load thread got to it.
    pub woken: i64,
}

/// One load thread's part of the history.
#[derive(Debug)]
pub struct Recorder {
    segment: RefCell<Segment>,
    campaign: String,
}

impl Recorder {
    /// Creates the segment of load thread `number`.
    ///
    /// # Errors
    /// When the run's folder cannot be written.
    pub fn create(history: &Path, number: usize, campaign: String) -> io::Result<Self> {
        let segment = Segment::create(history, &format!("worker-{number}"))?;
        Ok(Self { segment: RefCell::new(segment), campaign })
    }

    /// A request is about to be sent.
    ///
    /// # Errors
    /// When the disk is full. The request must not be sent then.
    pub fn invoke(&self, order: &Order, timing: Timing, at: i64) -> io::Result<()> {
        self.segment.borrow_mut().append(&Record::Invoke(Invocation {
            op: order.op,
            campaign: self.campaign.as_str().into(),
            kind: Kind::Issue,
            at,
            intended: Some(timing.due),
            woken: Some(timing.woken),
            target: u16::try_from(order.target).ok(),
            user: Some(order.user.as_str().into()),
            key: Some(order.key.as_str().into()),
        }))
    }

    /// A request is over.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn complete(&self, op: u64, at: i64, reply: Reply) -> io::Result<()> {
        let Reply { outcome, status, stamp } = reply;
        let completion = Completion { op, at, outcome, status, stamp };
        self.segment.borrow_mut().append(&Record::Complete(completion))
    }

    /// Marks this part as whole.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn finish(self) -> io::Result<()> {
        self.segment.into_inner().finish()
    }
}
