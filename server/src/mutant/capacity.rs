//! Bugs that issue too many or too few: a wrong idea of what is left, or a step that is half done.

use std::time::Duration;

use contract::wire;
use tokio::time::sleep;

use super::Mutant;
use super::slip::{Sabotage, Slip, UNLIMITED, Writes};
use super::store::{BUSINESS_LOGIC, Mutated, Outcome, in_doubt};
use crate::code::CampaignNumber;
use crate::store::{Ask, Decision, StoreError};

impl<S: Sabotage> Mutated<S> {
    async fn coupons(&self, campaign: CampaignNumber) -> Result<u64, StoreError> {
        Ok(self.clean.campaign(campaign).await?.map_or(0, |state| state.coupons))
    }

    /// Bugs that have a wrong idea of how many are left.
    pub(super) async fn miscounted(&self, ask: Ask) -> Outcome {
        let campaign = ask.campaign;
        let own = self.memory.lock().issued.get(&campaign).copied().unwrap_or_default();
        #[expect(clippy::wildcard_enum_match_arm, reason = "these are all that come here")]
        let enough = match self.mutant {
            Mutant::CheckThenAct => return self.acts_later(ask, BUSINESS_LOGIC).await,
            Mutant::LockReleasedEarly => return self.writes_later(ask).await,
            Mutant::LockLeaseTooShort if self.luck.strikes(&ask, 4) => {
                return self.acts_later(ask, Duration::from_millis(100)).await;
            }
            Mutant::LockLeaseTooShort => return self.step(ask).await,
            Mutant::LostUpdate => return self.lost_update(ask).await,
            Mutant::Reopened => return self.reopened(ask).await,
            Mutant::StaleReplica => {
                self.seen(campaign, 100).await?.is_none_or(|s| s.remaining() == 0)
            }
            Mutant::PerInstanceCounter => own >= self.coupons(campaign).await?,
            _ => own >= self.coupons(campaign).await? / 4,
        };
        if enough {
            return self.look(&ask).await;
        }
        let more = if self.mutant == Mutant::QuotaPerInstance { 0 } else { UNLIMITED };
        let decision = self.clean.slip(ask, Slip { more, ..Slip::default() }).await?;
        if matches!(decision, Decision::Issued(_)) {
            *self.memory.lock().issued.entry(campaign).or_default() += 1;
        }
        Ok(decision)
    }

    async fn is_open(&self, campaign: CampaignNumber) -> Result<bool, StoreError> {
        let seen = self.clean.campaign(campaign).await?;
        Ok(seen.is_some_and(|campaign| campaign.status() == wire::Status::Open))
    }

    /// Looks whether coupons are left, and grants after this pause.
    async fn acts_later(&self, ask: Ask, pause: Duration) -> Outcome {
        if self.is_open(ask.campaign).await? {
            sleep(pause).await;
            return self.unlimited(ask).await;
        }
        // Every refusal is right, and so is the answer to a repeated key.
        self.look(&ask).await
    }

    /// Looks at holder and coupons, and grants later without another look at either.
    async fn writes_later(&self, ask: Ask) -> Outcome {
        let open = self.is_open(ask.campaign).await?;
        let told = self.look(&ask).await?;
        if !open || told != Decision::SoldOut {
            return Ok(told);
        }
        sleep(BUSINESS_LOGIC).await;
        let blind = Slip { more: UNLIMITED, sees_holder: false, ..Slip::default() };
        self.clean.slip(ask, blind).await
    }

    async fn lost_update(&self, ask: Ask) -> Outcome {
        let Some(seen) = self.clean.campaign(ask.campaign).await? else {
            return Ok(Decision::UnknownCampaign);
        };
        if seen.remaining() == 0 {
            return self.look(&ask).await;
        }
        sleep(Duration::from_millis(2)).await;
        let writes = Writes::CountAs(seen.issued + 1);
        self.clean.slip(ask, Slip { more: UNLIMITED, writes, ..Slip::default() }).await
    }

    async fn reopened(&self, ask: Ask) -> Outcome {
        let kept_back = Slip { more: -5, ..Slip::default() };
        let decision = self.clean.slip(ask.clone(), kept_back).await?;
        let sold_out = decision == Decision::SoldOut;
        if sold_out && self.memory.said_for(ask.campaign) > Duration::from_millis(100) {
            return self.step(ask).await;
        }
        Ok(decision)
    }

    /// Bugs that leave the step half done.
    pub(super) async fn half_done(&self, ask: Ask) -> Outcome {
        let campaign = ask.campaign;
        let struck = self.struck(&ask);
        if self.mutant == Mutant::CollisionBurns
            && struck
            && self.look(&ask).await? == Decision::SoldOut
        {
            self.clean.miscount(campaign, 1).await?;
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "the others write what they should")]
        let writes = match self.mutant {
            Mutant::ForgetsToCount => Writes::NoCount,
            Mutant::CounterWithoutLedger | Mutant::CrashBeforeInsert | Mutant::RollbackForgets => {
                Writes::NoRow
            }
            _ => Writes::Whole,
        };
        let decision = self.slip_if_struck(ask, Slip { writes, ..Slip::default() }).await?;
        match (self.mutant, &decision) {
            (Mutant::CrashBeforeInsert, Decision::Issued(_)) if struck => Err(in_doubt()),
            (Mutant::RollbackForgets, Decision::Issued(_)) if struck => Err(StoreError::Overloaded),
            (Mutant::RollbackTwice, Decision::AlreadyIssued { .. }) => {
                self.clean.miscount(campaign, -1).await.map(|()| decision)
            }
            (Mutant::HolderBurns, Decision::AlreadyIssued { .. }) => {
                self.clean.miscount(campaign, 1).await.map(|()| decision)
            }
            _ => Ok(decision),
        }
    }
}
