//! What an instance with a bug remembers. A clean one remembers nothing.

use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::code::CampaignNumber;
use crate::store::{CampaignState, Coupon, Decision};
use crate::user::User;

/// All of it, behind one lock.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Remembered>);

/// What is remembered of each campaign.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// Coupons that this instance issued.
    pub(super) issued: HashMap<CampaignNumber, u64>,
    /// The code that it drew last.
    pub(super) last_code: HashMap<CampaignNumber, String>,
    /// How many codes it has drawn.
    pub(super) drawn: u64,
    /// When something was first so.
    pub(super) since: HashMap<CampaignNumber, Instant>,
    /// What the campaign looked like, and when.
    pub(super) seen: HashMap<CampaignNumber, (Instant, CampaignState)>,
    /// Names that were noted, and when first.
    pub(super) noted: HashMap<(CampaignNumber, String), Instant>,
    /// Whose coupon stands under a name that several may share.
    pub(super) holders: HashMap<(CampaignNumber, u64), (Option<User>, Coupon)>,
    /// Where the decision will be told that is being made.
    pub(super) flight: HashMap<CampaignNumber, watch::Receiver<Option<Decision>>>,
}

impl Memory {
    pub(super) fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago this was first said of the campaign; now, if never.
    pub(super) fn said_for(&self, campaign: CampaignNumber) -> Duration {
        self.lock().since.entry(campaign).or_insert_with(Instant::now).elapsed()
    }

    /// How long ago this name was first noted; nothing if that is now.
    pub(super) fn noted_for(&self, campaign: CampaignNumber, name: &str) -> Option<Duration> {
        match self.lock().noted.entry((campaign, name.to_owned())) {
            Entry::Occupied(first) => Some(first.get().elapsed()),
            Entry::Vacant(new) => {
                new.insert(Instant::now());
                None
            }
        }
    }
}
