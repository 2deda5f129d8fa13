//! Bugs that tell something else than the store decided, or do not ask it.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Mutant;
use super::slip::Sabotage;
use super::store::{Mutated, NOW_AND_THEN, Outcome, in_doubt, is_in_the_middle};
use crate::store::{Ask, Coupon, Decision, StoreError};

impl<S: Sabotage> Mutated<S> {
    /// Bugs that answer, or wait, before the store is asked.
    pub(super) async fn not_asked(&self, ask: Ask) -> Outcome {
        let struck = self.struck(&ask);
        let campaign = ask.campaign;
        #[expect(clippy::wildcard_enum_match_arm, reason = "these are all that come here")]
        match self.mutant {
            Mutant::SoldOutOnError if struck => return Ok(Decision::SoldOut),
            Mutant::FlappingGate if struck => return Ok(Decision::NotStarted),
            Mutant::DoubtBefore if struck => return Err(in_doubt()),
            Mutant::Slow if struck => sleep(Duration::from_millis(100)).await,
            Mutant::Unfair => {
                let lot = self.luck.number(&format!("{ask:?}")) % 10;
                sleep(Duration::from_millis(lot)).await;
            }
            Mutant::CachedNotStarted | Mutant::CampaignPostponed => {
                let since = self.memory.lock().since.get(&campaign).copied();
                if since.is_some_and(|since| since.elapsed() < Duration::from_millis(300)) {
                    return Ok(Decision::NotStarted);
                }
            }
            Mutant::GateAtArrival => {
                let told = self.look(&ask).await?;
                if told == Decision::NotStarted {
                    sleep(Duration::from_millis(20)).await;
                    return Ok(told);
                }
            }
            _ => {}
        }
        let after = self.luck.hits(&format!("{ask:?}"), NOW_AND_THEN);
        let decision = self.clean.issue(ask).await?;
        let remembered = match &decision {
            Decision::NotStarted => self.mutant == Mutant::CachedNotStarted,
            Decision::Issued(coupon) => {
                self.mutant == Mutant::CampaignPostponed && is_in_the_middle(coupon)
            }
            Decision::AlreadyIssued { .. }
            | Decision::SoldOut
            | Decision::UserMissing
            | Decision::UnknownCampaign
            | Decision::Cancelled => false,
        };
        if remembered {
            self.memory.lock().since.insert(campaign, Instant::now());
        }
        if self.mutant == Mutant::Slow && after {
            sleep(Duration::from_millis(100)).await;
        }
        Ok(decision)
    }

    /// Bugs that tell something else than was decided.
    pub(super) fn mistold(&self, ask: &Ask, decision: Decision) -> Outcome {
        let struck = self.struck(ask);
        let drawn = || ask.campaign.random_code();
        let noted = |name: &str| self.memory.noted_for(ask.campaign, name).is_some();
        Ok(match (self.mutant, decision) {
            (Mutant::LastSwallowed, Decision::Issued(Coupon { remaining: 0, .. })) => {
                Decision::SoldOut
            }
            (Mutant::ErrorAfterCommit, Decision::Issued(_)) if struck => {
                return Err(StoreError::Overloaded);
            }
            (Mutant::DoubtAfterCommit, Decision::Issued(_)) if struck => return Err(in_doubt()),
            (Mutant::RefusedAfterCommit, Decision::Issued(_)) if struck => Decision::SoldOut,
            (Mutant::ReplayOtherCode, Decision::Issued(coupon))
                if noted(ask.key.as_deref().unwrap_or_default()) =>
            {
                Decision::Issued(Coupon { code: drawn(), ..coupon })
            }
            (Mutant::MarkedBeforeCapacity, Decision::SoldOut) if noted(ask.holder()) => {
                Decision::AlreadyIssued { code: drawn() }
            }
            (Mutant::HolderToldSoldOut, Decision::AlreadyIssued { .. }) => Decision::SoldOut,
            (Mutant::AlreadyOtherCode, Decision::AlreadyIssued { .. }) => {
                Decision::AlreadyIssued { code: drawn() }
            }
            (Mutant::OffByOneRemaining, Decision::Issued(coupon)) => {
                Decision::Issued(Coupon { remaining: coupon.remaining + 1, ..coupon })
            }
            (Mutant::RanksFromZero, Decision::Issued(coupon)) => {
                Decision::Issued(Coupon { seq: coupon.seq - 1, ..coupon })
            }
            (_, decision) => decision,
        })
    }
}
