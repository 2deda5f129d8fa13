//! Bugs that take a request for another one: of the same user, of a stranger, or of a repeated key.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::Mutant;
use super::slip::{Sabotage, Slip};
use super::store::{BUSINESS_LOGIC, Mutated, Outcome};
use crate::store::{Ask, Coupon, Decision};

impl<S: Sabotage> Mutated<S> {
    /// Bugs that take a request for another one.
    pub(super) async fn mistaken_for_another(&self, ask: Ask) -> Outcome {
        let no_guard = Slip { sees_holder: false, ..Slip::default() };
        #[expect(clippy::wildcard_enum_match_arm, reason = "these are all that come here")]
        match self.mutant {
            Mutant::ExistsThenSet => match self.look(&ask).await? {
                Decision::SoldOut => {
                    sleep(BUSINESS_LOGIC).await;
                    self.clean.slip(ask, no_guard).await
                }
                told => Ok(told),
            },
            Mutant::GuardExpires => {
                let known = self.memory.noted_for(ask.campaign, ask.holder()).unwrap_or_default();
                let forgotten = known > Duration::from_millis(100);
                let slip = if forgotten { no_guard } else { Slip::default() };
                self.clean.slip(ask, slip).await
            }
            Mutant::KeyHashCollides => {
                self.under_a_hash(ask.key.clone(), ask, Decision::Issued).await
            }
            Mutant::UserHashCollides => {
                let told = |coupon: Coupon| Decision::AlreadyIssued { code: coupon.code };
                self.under_a_hash(ask.user.as_ref().map(|user| user.folded().to_owned()), ask, told)
                    .await
            }
            _ => self.single_flight(ask).await,
        }
    }

    /// Whoever has the same eight bits as somebody before gets, or hears of, that coupon.
    async fn under_a_hash(
        &self,
        name: Option<String>,
        ask: Ask,
        told: fn(Coupon) -> Decision,
    ) -> Outcome {
        let Some(name) = name else { return self.clean.issue(ask).await };
        let place = (ask.campaign, self.luck.number(&name) % 256);
        let found = self.memory.lock().holders.get(&place).cloned();
        if let Some((_, coupon)) = found.filter(|(user, _)| *user != ask.user) {
            return Ok(told(coupon));
        }
        let user = ask.user.clone();
        let decision = self.clean.issue(ask).await?;
        if let Decision::Issued(coupon) = &decision {
            self.memory.lock().holders.insert(place, (user, coupon.clone()));
        }
        Ok(decision)
    }

    async fn single_flight(&self, ask: Ask) -> Outcome {
        let (tell, told) = watch::channel(None);
        let before = self.memory.lock().flight.get(&ask.campaign).cloned();
        if let Some(mut before) = before
            && let Ok(decision) = before.wait_for(Option::is_some).await
            && let Some(decision @ Decision::Issued(_)) = &*decision
        {
            return Ok(decision.clone());
        }
        self.memory.lock().flight.insert(ask.campaign, told);
        sleep(BUSINESS_LOGIC).await;
        let campaign = ask.campaign;
        let decision = self.clean.issue(ask).await;
        self.memory.lock().flight.remove(&campaign);
        let _ = tell.send(decision.as_ref().ok().cloned());
        decision
    }
}
