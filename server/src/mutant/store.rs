//! A store with a planted bug: it misbehaves before, after or instead of a call of the clean one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use contract::wire;

use super::Mutant;
use super::codes::spoilt;
use super::luck::Luck;
use super::memory::Memory;
use super::slip::{Sabotage, Slip, UNLIMITED};
use crate::code::CampaignNumber;
use crate::store::{Ask, CampaignState, Coupon, Decision, Lead, Store, StoreError};

/// How long the business logic between check and act takes.
pub(super) const BUSINESS_LOGIC: Duration = Duration::from_millis(10);
/// One request in so many is struck by a bug that strikes now and then.
pub(super) const NOW_AND_THEN: u64 = 40;

pub(super) type Outcome = Result<Decision, StoreError>;

/// A store with a planted bug.
#[derive(Clone, Debug)]
pub struct Mutated<S> {
    pub(super) clean: S,
    pub(super) mutant: Mutant,
    pub(super) luck: Luck,
    pub(super) memory: Arc<Memory>,
}

impl<S: Sabotage> Mutated<S> {
    /// Plants a bug in front of a clean store.
    pub fn new(clean: S, mutant: Mutant, luck: Luck) -> Self {
        Self { clean, mutant, luck, memory: Arc::default() }
    }

    pub(super) fn struck(&self, ask: &Ask) -> bool {
        self.luck.strikes(ask, NOW_AND_THEN)
    }

    pub(super) async fn step(&self, ask: Ask) -> Outcome {
        self.clean.slip(ask, Slip::default()).await
    }

    /// The answer that the request would get if there were no coupon for it.
    pub(super) async fn look(&self, ask: &Ask) -> Outcome {
        self.clean.slip(ask.clone(), Slip { more: -UNLIMITED, ..Slip::default() }).await
    }

    /// A coupon whatever is left.
    pub(super) async fn unlimited(&self, ask: Ask) -> Outcome {
        self.clean.slip(ask, Slip { more: UNLIMITED, ..Slip::default() }).await
    }

    /// The step with this slip for the requests that are struck, and without it for the others.
    pub(super) async fn slip_if_struck(&self, ask: Ask, slip: Slip) -> Outcome {
        let slip = if self.struck(&ask) { slip } else { Slip::default() };
        self.clean.slip(ask, slip).await
    }

    #[expect(clippy::too_many_lines, reason = "a line for each bug, and nothing else")]
    async fn decide(&self, ask: Ask) -> Outcome {
        match self.mutant {
            Mutant::CheckThenAct
            | Mutant::LockReleasedEarly
            | Mutant::LockLeaseTooShort
            | Mutant::StaleReplica
            | Mutant::LostUpdate
            | Mutant::PerInstanceCounter
            | Mutant::QuotaPerInstance
            | Mutant::Reopened => self.miscounted(ask).await,
            Mutant::ForgetsToCount
            | Mutant::CounterWithoutLedger
            | Mutant::CrashBeforeInsert
            | Mutant::RollbackForgets
            | Mutant::RollbackTwice
            | Mutant::HolderBurns
            | Mutant::CollisionBurns => self.half_done(ask).await,
            Mutant::CounterExpires | Mutant::OldSnapshot => self.forgetful(ask).await,
            Mutant::OffByOne
            | Mutant::StopsOneShort
            | Mutant::ClockAhead
            | Mutant::ClockBehind
            | Mutant::NineHours
            | Mutant::StartTruncated
            | Mutant::NoIdempotency
            | Mutant::LimitNotChecked => self.clean.slip(ask, self.misjudged()).await,
            Mutant::DuplicateCode
            | Mutant::TinyCodeSpace
            | Mutant::SameSeed
            | Mutant::UniquePerCampaign
            | Mutant::ConstantCode
            | Mutant::BytesLength
            | Mutant::ElevenCharacters
            | Mutant::EmptyCode
            | Mutant::Nfd
            | Mutant::Jamo
            | Mutant::Filler
            | Mutant::ZeroWidth
            | Mutant::FullWidthDigit
            | Mutant::LatinLetter => self.badly_coded(ask).await,
            Mutant::PeekThenPop => self.peek_then_pop(ask).await,
            Mutant::AcknowledgedBeforeWritten
            | Mutant::WriteBehindDrops
            | Mutant::GhostRow
            | Mutant::RowOfAnother
            | Mutant::ServedElsewhere => self.misplaced(ask).await,
            Mutant::ExistsThenSet
            | Mutant::GuardExpires
            | Mutant::KeyHashCollides
            | Mutant::UserHashCollides
            | Mutant::SingleFlight => self.mistaken_for_another(ask).await,
            Mutant::SoldOutOnError
            | Mutant::CachedNotStarted
            | Mutant::FlappingGate
            | Mutant::CampaignPostponed
            | Mutant::DoubtBefore
            | Mutant::Slow
            | Mutant::GateAtArrival
            | Mutant::Unfair => self.not_asked(ask).await,
            Mutant::LastSwallowed
            | Mutant::ErrorAfterCommit
            | Mutant::RefusedAfterCommit
            | Mutant::ReplayOtherCode
            | Mutant::MarkedBeforeCapacity
            | Mutant::HolderToldSoldOut
            | Mutant::AlreadyOtherCode
            | Mutant::OffByOneRemaining
            | Mutant::RanksFromZero
            | Mutant::DoubtAfterCommit => {
                let decision = self.clean.issue(ask.clone()).await?;
                self.mistold(&ask, decision)
            }
            Mutant::CachedCount
            | Mutant::TornList
            | Mutant::CreatedTwice
            | Mutant::WrongStatus
            | Mutant::SwappedResponses
            | Mutant::TruncatedBody => self.clean.issue(ask).await,
        }
    }

    /// Bugs that forget something once the coupon in the middle is issued.
    async fn forgetful(&self, ask: Ask) -> Outcome {
        let campaign = ask.campaign;
        let decision = self.step(ask).await?;
        if let Decision::Issued(coupon) = &decision
            && is_in_the_middle(coupon)
            && self.memory.noted_for(campaign, &coupon.seq.to_string()).is_none()
        {
            if self.mutant == Mutant::CounterExpires {
                let counted = i64::try_from(coupon.seq).unwrap_or(i64::MAX);
                self.clean.miscount(campaign, -counted).await?;
            } else {
                self.clean.forget(campaign, 20).await?;
            }
        }
        Ok(decision)
    }

    /// Bugs that are a slip for every request.
    fn misjudged(&self) -> Slip {
        let slip = Slip::default();
        #[expect(clippy::wildcard_enum_match_arm, reason = "these are all that come here")]
        match self.mutant {
            Mutant::OffByOne => Slip { more: 1, ..slip },
            Mutant::StopsOneShort => Slip { more: -1, ..slip },
            Mutant::ClockAhead => Slip { later_us: -200_000, ..slip },
            Mutant::ClockBehind => Slip { later_us: 200_000, ..slip },
            Mutant::NineHours => Slip { later_us: -9 * 3_600_000_000, ..slip },
            Mutant::StartTruncated => Slip { start_step_us: 1_000_000, ..slip },
            Mutant::NoIdempotency => Slip { sees_key: false, ..slip },
            _ => Slip { sees_holder: false, ..slip },
        }
    }

    async fn badly_coded(&self, ask: Ask) -> Outcome {
        let code = spoilt(self.mutant, self.luck, &ask, &mut self.memory.lock());
        self.clean.slip(ask, Slip { code, ..Slip::default() }).await
    }

    /// The campaign as it was at most so many milliseconds ago.
    pub(super) async fn seen(
        &self,
        campaign: CampaignNumber,
        age_ms: u64,
    ) -> Result<Option<CampaignState>, StoreError> {
        let before = self.memory.lock().seen.get(&campaign).cloned();
        if let Some((_, state)) =
            before.filter(|(at, _)| at.elapsed() < Duration::from_millis(age_ms))
        {
            return Ok(Some(state));
        }
        let state = self.clean.campaign(campaign).await?;
        if let Some(state) = &state {
            self.memory.lock().seen.insert(campaign, (Instant::now(), state.clone()));
        }
        Ok(state)
    }
}

/// Whether as many are left as were issued.
pub(super) fn is_in_the_middle(coupon: &Coupon) -> bool {
    coupon.seq == coupon.remaining
}

/// Nobody knows what came of the request.
pub(super) fn in_doubt() -> StoreError {
    StoreError::Unavailable("planted".to_owned())
}

impl<S: Sabotage> Store for Mutated<S> {
    async fn create(
        &self,
        new: wire::NewCampaign,
        key: Option<String>,
    ) -> Result<CampaignState, StoreError> {
        if self.mutant == Mutant::CreatedTwice {
            self.clean.create(new.clone(), None).await?;
        }
        self.clean.create(new, key).await
    }

    async fn cancel(&self, number: CampaignNumber) -> Result<Option<CampaignState>, StoreError> {
        self.clean.cancel(number).await
    }

    async fn campaign(&self, number: CampaignNumber) -> Result<Option<CampaignState>, StoreError> {
        let fresh = self.clean.campaign(number).await?;
        if self.mutant != Mutant::CachedCount {
            return Ok(fresh);
        }
        let old = self.seen(number, 300).await?;
        // Its clock is read from here, too, and is no part of the bug.
        let issued = old.map_or(0, |old| old.issued);
        Ok(fresh.map(|fresh| CampaignState { issued, ..fresh }))
    }

    async fn ledger(
        &self,
        number: CampaignNumber,
        after: u64,
        limit: u32,
    ) -> Result<Option<Vec<wire::LedgerRow>>, StoreError> {
        let mut rows = self.clean.ledger(number, after, limit).await?;
        if let Some(rows) = &mut rows
            && self.mutant == Mutant::TornList
            && rows.len() > 2
        {
            rows.remove(rows.len() / 2);
        }
        Ok(rows)
    }

    async fn issue(&self, ask: Ask) -> Outcome {
        self.decide(ask).await
    }

    async fn ready(&self) -> Result<DateTime<Utc>, StoreError> {
        self.clean.ready().await
    }

    async fn lead(&self, name: &str) -> Result<Lead, StoreError> {
        self.clean.lead(name).await
    }
}
