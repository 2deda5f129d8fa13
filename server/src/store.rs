//! What the server needs of a store, and nothing of how it is done.
//!
//! The whole decision about a coupon is one atomic step inside the store. A server process holds no
//! state that a decision depends on, so any number of them can stand before one store.

mod gather;
mod pace;
pub mod postgres;
pub mod redis;
pub mod sqlite;

use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::wire;

use crate::code::CampaignNumber;
use crate::user::User;

/// A store of campaigns and coupons, shared by all instances.
///
/// Every future can be dropped at any moment: a step that was not begun is then skipped, a step
/// that was begun happens as a whole.
pub trait Store: Send + Sync + 'static {
    /// Creates a campaign, or gives the one that this key created before, whatever it is like. Nobody
    /// ever sees half of one.
    fn create(
        &self,
        new: wire::NewCampaign,
        key: Option<String>,
    ) -> impl Future<Output = Result<CampaignState, StoreError>> + Send;

    /// A campaign at one moment, or nothing if there is no such campaign.
    fn campaign(
        &self,
        number: CampaignNumber,
    ) -> impl Future<Output = Result<Option<CampaignState>, StoreError>> + Send;

    /// Cancels a campaign for good: no step after this one grants a coupon of it. Gives what it is like
    /// then, or nothing if there is no such campaign.
    fn cancel(
        &self,
        number: CampaignNumber,
    ) -> impl Future<Output = Result<Option<CampaignState>, StoreError>> + Send;

    /// Up to `limit` rows of the ledger after rank `after`, or nothing if there is no such
    /// campaign.
    fn ledger(
        &self,
        number: CampaignNumber,
        after: u64,
        limit: u32,
    ) -> impl Future<Output = Result<Option<Vec<wire::LedgerRow>>, StoreError>> + Send;

    /// Decides about one coupon, in one atomic step.
    fn issue(&self, ask: Ask) -> impl Future<Output = Result<Decision, StoreError>> + Send;

    /// Whether the store takes a write; if so, its clock.
    fn ready(&self) -> impl Future<Output = Result<DateTime<Utc>, StoreError>> + Send;

    /// Takes the lead among all instances for [`LEASE`] if nobody else has it, and opens what is due
    /// if so. `name` is this instance's alone.
    fn lead(&self, name: &str) -> impl Future<Output = Result<Lead, StoreError>> + Send;
}

/// For how long an instance leads that is not heard of any more.
pub const LEASE: Duration = Duration::from_millis(1_200);

/// How many requests may wait for a store, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many may wait at a time.
    pub capacity: usize,
    /// Whoever would wait longer for a coupon is refused at once.
    pub patience: Duration,
}

/// What came of asking for the lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Whether it leads for the next [`LEASE`].
    pub leads: bool,
    /// The store's clock.
    pub now: DateTime<Utc>,
    /// Campaigns that were opened by this call.
    pub opened: Vec<CampaignNumber>,
    /// The earliest start of a campaign that is not open; only for whoever leads.
    pub next: Option<DateTime<Utc>>,
}

/// Who shares a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All requests that wait for the campaign at that moment.
    Gathered,
    /// Nobody: each request has a step of its own.
    Alone,
}

impl Sharing {
    /// Most requests of one step, where a store takes up to `batch`.
    fn at_most(self, batch: usize) -> usize {
        match self {
            Self::Gathered => batch,
            Self::Alone => 1,
        }
    }
}

/// A request for a coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Of which campaign.
    pub campaign: CampaignNumber,
    /// For whom.
    pub user: Option<User>,
    /// The idempotency key; never empty.
    pub key: Option<String>,
}

impl Ask {
    /// The user as it was sent, for the ledger; empty if there is none.
    pub(crate) fn sent(&self) -> &str {
        self.user.as_ref().map_or("", User::sent)
    }

    /// What the user is found by; empty if there is none.
    pub(crate) fn holder(&self) -> &str {
        self.user.as_ref().map_or("", User::folded)
    }
}

/// What the store decided; final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The coupon of this request: a new one, or the one its key got before.
    Issued(Coupon),
    /// The user already holds the coupon with this code.
    AlreadyIssued {
        /// The code.
        code: String,
    },
    /// All coupons are gone.
    SoldOut,
    /// The campaign is cancelled.
    Cancelled,
    /// The campaign has not started.
    NotStarted,
    /// The campaign has a limit per user and the request names no user.
    UserMissing,
    /// There is no such campaign.
    UnknownCampaign,
}

/// A coupon that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coupon {
    /// Its code.
    pub code: String,
    /// Its rank among all coupons of the campaign, from 1.
    pub seq: u64,
    /// Coupons left right after it.
    pub remaining: u64,
    /// When, by the store's clock.
    pub issued_at: DateTime<Utc>,
}

/// A campaign at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignState {
    /// Its number.
    pub number: CampaignNumber,
    /// A name for people.
    pub name: String,
    /// How many coupons there are.
    pub coupons: u64,
    /// How many were issued.
    pub issued: u64,
    /// The instant before which nothing is issued.
    pub starts_at: DateTime<Utc>,
    /// Whether a user may get only one coupon.
    pub per_user_limit: bool,
    /// When the scheduler saw its start. Nothing depends on it, see [`CampaignState::status`].
    pub opened_at: Option<DateTime<Utc>>,
    /// Whether it is cancelled, for good.
    pub cancelled: bool,
    /// The store's clock at that moment.
    pub now: DateTime<Utc>,
}

impl CampaignState {
    /// Coupons left. A planted bug can issue more than there are; that is no negative number.
    pub fn remaining(&self) -> u64 {
        self.coupons.saturating_sub(self.issued)
    }

    /// Whether it is the campaign that this describes.
    pub fn is_of(&self, new: &wire::NewCampaign) -> bool {
        self.name == new.name
            && self.coupons == new.coupons
            && self.starts_at == new.starts_at
            && self.per_user_limit == new.per_user_limit.is_some()
    }

    /// Where the campaign stands, by the store's clock and nothing else.
    pub fn status(&self) -> wire::Status {
        if self.cancelled {
            wire::Status::Cancelled
        } else if self.now < self.starts_at {
            wire::Status::Scheduled
        } else if self.remaining() == 0 {
            wire::Status::SoldOut
        } else {
            wire::Status::Open
        }
    }
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It did not answer, or not in time: the request may have had an effect.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// Too much is waiting already; nothing was done.
    #[error("too many requests are waiting for the store")]
    Overloaded,
    /// Every campaign number was given out.
    #[error("no campaign number is left")]
    CampaignsExhausted,
    /// What the store holds or says makes no sense.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// Unix microseconds as a time.
fn time(micros: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| StoreError::Damaged(format!("{micros} is not a time")))
}

/// A limit as the stores keep it.
fn limit_flag(limit: Option<u32>) -> i64 {
    i64::from(limit.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(coupons: u64, issued: u64, now: i64) -> CampaignState {
        CampaignState {
            number: CampaignNumber::new(1).unwrap(),
            name: "launch".to_owned(),
            coupons,
            issued,
            starts_at: time(1_000).unwrap(),
            per_user_limit: false,
            opened_at: None,
            cancelled: false,
            now: time(now).unwrap(),
        }
    }

    #[test]
    fn status_follows_the_stores_clock_and_the_count() {
        assert_eq!(state(2, 0, 999).status(), wire::Status::Scheduled);
        assert_eq!(state(0, 0, 999).status(), wire::Status::Scheduled);
        assert_eq!(state(2, 1, 1_000).status(), wire::Status::Open);
        assert_eq!(state(2, 2, 1_000).status(), wire::Status::SoldOut);
        assert_eq!(state(2, 3, 1_000).status(), wire::Status::SoldOut);
        for (issued, now) in [(0, 999), (1, 1_000), (2, 1_000)] {
            let state = CampaignState { cancelled: true, ..state(2, issued, now) };
            assert_eq!(state.status(), wire::Status::Cancelled);
        }
    }
}
