//! What a client knows once a request is over.
//!
//! The one line that matters runs between *decided* and *indeterminate*: a request that may have
//! reached a server and was not answered in full may have consumed a coupon. Doubt never collapses
//! into success or failure.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::borrowed;

/// The outcome of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome<'a> {
    /// A coupon was issued to this request.
    Issued(#[serde(borrow)] Coupon<'a>),
    /// All coupons were gone at some moment of the request.
    SoldOut,
    /// The campaign had not started at some moment of the request.
    NotStarted,
    /// This user already held a coupon, the one with this code.
    AlreadyIssued(#[serde(borrow, deserialize_with = "borrowed::option")] Option<Cow<'a, str>>),
    /// The request certainly had no effect.
    Failed(Failure),
    /// The request may have had an effect, once, at any moment after it was sent.
    Indeterminate(Doubt),
    /// What a read saw.
    Read(#[serde(borrow)] Observation<'a>),
    /// What a poll was told: no decision yet. It says nothing about the campaign.
    Pending,
    /// The campaign did not exist yet at some moment of the request.
    NotFound,
    /// The campaign was over for good at some moment of the request.
    Ended,
}

impl Outcome<'_> {
    /// Copies what is borrowed.
    pub fn into_owned(self) -> Outcome<'static> {
        match self {
            Outcome::Issued(c) => Outcome::Issued(Coupon {
                code: Cow::Owned(c.code.into_owned()),
                seq: c.seq,
                remaining: c.remaining,
                order: c.order.map(|o| Cow::Owned(o.into_owned())),
            }),
            Outcome::SoldOut => Outcome::SoldOut,
            Outcome::NotStarted => Outcome::NotStarted,
            Outcome::AlreadyIssued(code) => {
                Outcome::AlreadyIssued(code.map(|c| Cow::Owned(c.into_owned())))
            }
            Outcome::Failed(f) => Outcome::Failed(f),
            Outcome::Indeterminate(d) => Outcome::Indeterminate(d),
            Outcome::Read(o) => Outcome::Read(o.into_owned()),
            Outcome::Pending => Outcome::Pending,
            Outcome::NotFound => Outcome::NotFound,
            Outcome::Ended => Outcome::Ended,
        }
    }
}

/// A coupon as an answer described it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coupon<'a> {
    /// The code, exactly as the answer carried it.
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    /// Rank among all coupons of the campaign, from 1. A broken server can say anything.
    pub seq: Option<i64>,
    /// Coupons left right after this one. A broken server can say anything.
    pub remaining: Option<i64>,
    /// What the system calls this issue, where it names it (an order id): another way to find it in
    /// the store.
    #[serde(borrow, deserialize_with = "borrowed::option")]
    pub order: Option<Cow<'a, str>>,
}

/// Why a request certainly had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// No connection could be made.
    NotConnected,
    /// A connection was there, but no byte of the request was written to it; or its peer said, by
    /// means of HTTP/2, that it did not look at the request.
    NotWritten,
    /// The load generator had no socket left: the load was not the planned one.
    NoSocket,
    /// A whole answer said that the request was not looked at (400, 404, 413, 422, 429).
    Rejected,
    /// A whole answer said to come back later (a lock is held, a rate limit): not looked at either.
    Busy,
    /// Another tool's history says so, without a reason.
    Unspecified,
}

/// Why nobody knows whether a request had an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doubt {
    /// No whole answer within the time limit.
    Timeout,
    /// The connection broke after the first byte was written.
    Disconnected,
    /// A whole answer with a 5xx status.
    ServerError,
    /// An answer whose body was cut, too long or not what its status promises.
    Unreadable,
    /// A whole answer that no rule matches. It fails the run: the scenario's rules have a hole.
    Unclassified,
    /// The load generator gave up (Ctrl-C).
    Abandoned,
    /// The buyer hung up in the middle of the request, as the scenario wanted.
    HungUp,
    /// The system accepted the request and never told what came of it; its ledger knows.
    Undecided,
    /// A coupon was reserved and not confirmed: it may still be held, or given back.
    Unconfirmed,
    /// Another tool's history says so, without a reason; or no completion was recorded.
    Unspecified,
}

/// What a read saw at one moment between its two ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observation<'a> {
    /// Coupons issued so far.
    Issued(i64),
    /// Coupons left.
    Remaining(i64),
    /// Exactly the codes issued so far, in any order.
    Codes(#[serde(borrow, deserialize_with = "borrowed::list")] Vec<Cow<'a, str>>),
}

impl Observation<'_> {
    fn into_owned(self) -> Observation<'static> {
        match self {
            Observation::Issued(n) => Observation::Issued(n),
            Observation::Remaining(n) => Observation::Remaining(n),
            Observation::Codes(codes) => {
                Observation::Codes(codes.into_iter().map(|c| Cow::Owned(c.into_owned())).collect())
            }
        }
    }
}
