//! Planted bugs, one at a time, for those who want to see a verifier find them.
//!
//! All of it is a wrapper around a clean store; without `--mutant` nothing in here runs. To add a
//! bug: a variant of [`Mutant`] with its name and sentence, an arm in [`Mutated::issue`], and what
//! it does to each store as a method of [`Sabotage`], with its Lua or SQL beside this file.

use std::sync::LazyLock;
use std::time::Duration;

use clap::ValueEnum;
use contract::wire;
use redis::Script;

use crate::code::{CampaignNumber, random_tail};
use crate::store::redis::RedisStore;
use crate::store::sqlite::{SqliteStore, decide};
use crate::store::{Ask, CampaignState, Decision, Store, StoreError};

/// How long the business logic between check and act takes.
const BUSINESS_LOGIC: Duration = Duration::from_millis(10);

/// The bugs that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mutant {
    /// Reads the count, and later grants without looking again: issues too many.
    CheckThenAct,
}

impl Mutant {
    /// Its name: the value of the flag and of the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::CheckThenAct => "check-then-act",
        }
    }
}

/// A store with a planted bug.
#[derive(Clone)]
pub struct Mutated<S> {
    clean: S,
    mutant: Mutant,
}

impl<S: Sabotage> Mutated<S> {
    /// Plants a bug in front of a clean store.
    pub fn new(clean: S, mutant: Mutant) -> Self {
        Self { clean, mutant }
    }

    async fn check_then_act(&self, ask: Ask) -> Result<Decision, StoreError> {
        let seen = self.clean.campaign(ask.campaign).await?;
        if seen.is_some_and(|campaign| campaign.status() == wire::Status::Open) {
            tokio::time::sleep(BUSINESS_LOGIC).await;
            return self.clean.grant_unchecked(ask).await;
        }
        // Every refusal is right, and so is the answer to a repeated key.
        self.clean.issue(ask).await
    }
}

/// What planted bugs do to a store.
pub trait Sabotage: Store {
    /// Issues without looking at how many coupons are left. All else is right: start, limit per
    /// user, keys and codes.
    fn grant_unchecked(
        &self,
        ask: Ask,
    ) -> impl Future<Output = Result<Decision, StoreError>> + Send;
}

impl Sabotage for RedisStore {
    async fn grant_unchecked(&self, ask: Ask) -> Result<Decision, StoreError> {
        static GRANT: LazyLock<Script> =
            LazyLock::new(|| Script::new(include_str!("mutant/grant_unchecked.lua")));
        let (user, key) = (ask.user.unwrap_or_default(), ask.key.unwrap_or_default());
        let granted = self.run_script(&GRANT, ask.campaign, &[&user, &key, &random_tail()]).await?;
        granted.ok_or_else(|| StoreError::Damaged("no code was free".to_owned()))
    }
}

impl Sabotage for SqliteStore {
    async fn grant_unchecked(&self, ask: Ask) -> Result<Decision, StoreError> {
        self.write(move |transaction, campaigns| {
            let terms = campaigns.terms(transaction, ask.campaign);
            let mut terms = terms.map_err(|e| StoreError::Unavailable(e.to_string()))?;
            let real = terms.as_ref().map_or(0, |terms| terms.coupons);
            if let Some(terms) = &mut terms {
                terms.coupons = u64::MAX;
            }
            let decision = decide(transaction, terms.as_deref_mut(), &ask, random_tail);
            if let Some(terms) = terms {
                terms.coupons = real;
            }
            Ok(match decision? {
                Decision::Issued(mut coupon) => {
                    coupon.remaining = real.saturating_sub(coupon.seq);
                    Decision::Issued(coupon)
                }
                refusal @ (Decision::AlreadyIssued { .. }
                | Decision::SoldOut
                | Decision::NotStarted
                | Decision::UserMissing
                | Decision::UnknownCampaign) => refusal,
            })
        })
        .await
    }
}

impl<S: Sabotage> Store for Mutated<S> {
    async fn create(&self, new: wire::NewCampaign) -> Result<CampaignState, StoreError> {
        self.clean.create(new).await
    }

    async fn campaign(&self, number: CampaignNumber) -> Result<Option<CampaignState>, StoreError> {
        self.clean.campaign(number).await
    }

    async fn ledger(
        &self,
        number: CampaignNumber,
        after: u64,
        limit: u32,
    ) -> Result<Option<Vec<wire::LedgerRow>>, StoreError> {
        self.clean.ledger(number, after, limit).await
    }

    async fn issue(&self, ask: Ask) -> Result<Decision, StoreError> {
        match self.mutant {
            Mutant::CheckThenAct => self.check_then_act(ask).await,
        }
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.clean.ready().await
    }
}
