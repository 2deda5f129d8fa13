//! The history of a run: every request that was ever sent, and what came of it.
//!
//! Two forms, one meaning. [`stored`] is what the load generator writes while it runs: an
//! invocation is in the kernel's hands before the first byte of its request leaves, so it survives
//! the death of the process. [`jsonl`] is `coupon-history/1`, the public interchange form. Both are
//! read as the same [`Event`]s, so no reader knows which one it was. [`follow`] reads either while it
//! is written.
//!
//! All times are nanoseconds on one monotonic clock whose zero is the history's own affair.

pub mod clock;
pub mod follow;
pub mod jsonl;
pub mod stored;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::borrowed;
use crate::campaign::{PerUser, Window};
use crate::outcome::Outcome;

/// One entry of a history.
///
/// A [`Event::Campaign`] comes before the first [`Event::Invoke`] that names it, and an invocation
/// before its completion. Invocations are in order of their time, as far as whoever wrote the history
/// kept it; a completion stands where somebody got to look at the answer, which may be later.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// What a campaign promised.
    Campaign(Promise<'a>),
    /// A request is about to be sent.
    Invoke(Invocation<'a>),
    /// A request is over.
    Complete(Completion<'a>),
}

/// Takes what is read while it stands where it was read: nothing of it is moved.
pub trait Sink {
    /// What a campaign promised.
    fn campaign(&mut self, promise: &Promise<'_>);
    /// A request is about to be sent.
    fn invoke(&mut self, invocation: &Invocation<'_>);
    /// A request is over.
    fn complete(&mut self, completion: &Completion<'_>);
}

/// What a campaign promised, with its start on the history's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Promise<'a> {
    /// The campaign's name, unique in the history.
    pub campaign: Cow<'a, str>,
    /// How many coupons there are.
    pub coupons: u64,
    /// The start lies somewhere in here.
    pub starts_at: Window,
    /// The limit per user, if there is one.
    pub per_user: Option<PerUser>,
    /// Whether coupons may come back (a reservation that expires): then "sold out" is not final.
    pub restock: bool,
}

/// A request is about to be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invocation<'a> {
    /// The number of this operation, unique in the history.
    pub op: u64,
    /// Which campaign is asked.
    #[serde(borrow)]
    pub campaign: Cow<'a, str>,
    /// What is asked.
    pub kind: Kind,
    /// The moment just before the first byte.
    pub at: i64,
    /// When the plan wanted it sent; absent where there was no plan.
    pub intended: Option<i64>,
    /// When the load generator got to it; between this and `at` it waited for a connection.
    pub woken: Option<i64>,
    /// Which target it goes to, an index into the run's targets; absent where that is not known.
    pub target: Option<u16>,
    /// Who asks.
    #[serde(borrow, deserialize_with = "borrowed::option")]
    pub user: Option<Cow<'a, str>>,
    /// The idempotency key it carries.
    #[serde(borrow, deserialize_with = "borrowed::option")]
    pub key: Option<Cow<'a, str>>,
    /// The operation that this one belongs to: of a poll or a confirmation the request to issue,
    /// of a repeated request the same buyer's first.
    pub follows: Option<u64>,
}

/// What a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// For a coupon.
    Issue,
    /// About the campaign's state.
    Read,
    /// What came of an accepted request. Whoever judges looks at that request, not at this one.
    Poll,
    /// To turn a reservation into a coupon. Whoever judges looks at the request that reserved it.
    Confirm,
}

/// A request is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion<'a> {
    /// The number of the operation.
    pub op: u64,
    /// The moment when its outcome was known (just after the last byte of the answer that tells it),
    /// or when it was given up.
    pub at: i64,
    /// When the system had accepted or reserved it, where the outcome came with a later answer.
    pub accepted: Option<i64>,
    /// What came of it.
    #[serde(borrow)]
    pub outcome: Outcome<'a>,
    /// The HTTP status, where an answer came.
    pub status: Option<u16>,
    /// The clock of whoever answered, Unix nanoseconds, where the answer carried it.
    pub stamp: Option<i64>,
}

/// What can be said of a history as a whole, once it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Integrity {
    /// Invocations read.
    pub invocations: u64,
    /// Completions read.
    pub completions: u64,
    /// What is missing or damaged. A history with a gap proves what it shows, but not the absence
    /// of anything.
    pub gaps: Vec<String>,
}

impl Integrity {
    /// Adds what can be said of another part.
    fn absorb(&mut self, other: Self) {
        self.invocations += other.invocations;
        self.completions += other.completions;
        self.gaps.extend(other.gaps);
    }
}

/// Why a history could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file or folder could not be opened or read.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line does not follow `coupon-history/1`.
    #[error("{path}:{line}: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// The file is not a history in any form this version knows.
    #[error("{path}: {reason}")]
    NotAHistory {
        /// Which one.
        path: PathBuf,
        /// What was found instead.
        reason: String,
    },
}

impl HistoryError {
    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// Reads a history in either form: a folder of segments, or a `.jsonl` file, gzipped or not.
///
/// Calls `each` for every event, in an order that [`Event`] describes.
///
/// # Errors
/// When there is nothing to read or a line breaks the format. Damage that a crash can leave behind
/// is no error but a gap in the returned [`Integrity`].
pub fn read(path: &Path, each: &mut dyn FnMut(Event<'_>)) -> Result<Integrity, HistoryError> {
    if path.is_dir() { stored::read(path, each) } else { jsonl::read(path, each) }
}
