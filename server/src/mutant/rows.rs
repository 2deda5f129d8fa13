//! Bugs that write a coupon late, not at all, twice, or where it does not belong.

use std::time::Duration;

use super::Mutant;
use super::slip::{Sabotage, Slip, UNLIMITED, Writes};
use super::store::{Mutated, Outcome};
use crate::code::CampaignNumber;
use crate::store::{Ask, Coupon, Decision};
use crate::user::User;

impl<S: Sabotage> Mutated<S> {
    /// Bugs that write a coupon late, not at all, twice, or where it does not belong.
    pub(super) async fn misplaced(&self, ask: Ask) -> Outcome {
        #[expect(clippy::wildcard_enum_match_arm, reason = "these are all that come here")]
        match self.mutant {
            Mutant::AcknowledgedBeforeWritten => self.told_first(ask, false).await,
            Mutant::WriteBehindDrops => {
                let dropped = self.luck.strikes(&ask, 20);
                self.told_first(ask, dropped).await
            }
            Mutant::GhostRow => {
                let struck = self.struck(&ask);
                let nobody = Ask { user: User::new("nobody"), key: None, ..ask.clone() };
                let decision = self.step(ask).await?;
                if struck && matches!(decision, Decision::Issued(_)) {
                    self.clean.slip(nobody, Slip { sees_holder: false, ..Slip::default() }).await?;
                }
                Ok(decision)
            }
            Mutant::RowOfAnother => {
                let owner = User::new(format!("{}0", ask.sent()));
                self.slip_if_struck(ask, Slip { owner, ..Slip::default() }).await
            }
            _ => {
                let next = CampaignNumber::new(u64::from(ask.campaign.get()) + 1);
                let elsewhere = Ask { campaign: next.unwrap_or(ask.campaign), ..ask.clone() };
                if self.struck(&ask) {
                    let decision = self.clean.issue(elsewhere).await?;
                    if decision != Decision::UnknownCampaign {
                        return Ok(decision);
                    }
                }
                self.clean.issue(ask).await
            }
        }
    }

    /// Counts and tells a coupon, and writes it 200 ms later, if at all.
    async fn told_first(&self, ask: Ask, dropped: bool) -> Outcome {
        let counted = Slip { writes: Writes::NoRow, ..Slip::default() };
        let decision = self.clean.slip(ask.clone(), counted).await?;
        if let Decision::Issued(coupon) = &decision
            && !dropped
        {
            tokio::spawn(write_late(self.clean.clone(), ask, coupon.clone()));
        }
        Ok(decision)
    }
}

/// How much later.
const BEHIND: Duration = Duration::from_millis(200);

/// Writes this coupon, which is counted already.
async fn write_late<S: Sabotage>(store: S, ask: Ask, coupon: Coupon) {
    tokio::time::sleep(BEHIND).await;
    let row = Slip {
        more: UNLIMITED,
        sees_holder: false,
        sees_key: false,
        code: Some(coupon.code),
        rank: Some(coupon.seq),
        writes: Writes::NoCount,
        ..Slip::default()
    };
    // Whoever tells a coupon before it is written has nobody left to tell that it was not.
    let _ = store.slip(ask, row).await;
}
