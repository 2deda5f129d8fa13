//! What can be asked, whichever protocol asks: the one way to the store.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::wire::{self, NewCampaign, Problem, ProblemCode};
use hyper::header::HeaderValue;
use tracing::{error, warn};

use super::answer::{Refusal, store_failed};
use super::input::{self, Page};
use crate::code::CampaignNumber;
use crate::metrics::metrics;
use crate::store::{Ask, CampaignState, Decision, Store, StoreError};
use crate::telemetry::Throttle;
use crate::traces::store_call;

/// What was asked for, or why not.
pub(super) type Outcome<T> = Result<T, Box<Refusal>>;

/// The coupons of a store.
pub(super) struct Coupons<S> {
    pub(super) store: Arc<S>,
    /// After how long the store is given up on.
    pub(super) patience: Duration,
    pub(super) complaints: Throttle,
}

impl<S: Store> Coupons<S> {
    pub(super) async fn create(
        &self,
        new: NewCampaign,
        key: Option<String>,
    ) -> Outcome<wire::Campaign> {
        let state = store_call("store create", self.store.create(new.clone(), key)).await;
        let state = state.map_err(store_failed)?;
        if !state.is_of(&new) {
            let detail = format!("this key created campaign {}, which is another", state.number);
            return Err(Problem::new(ProblemCode::KeyReused, detail).into());
        }
        Ok(told(state))
    }

    pub(super) async fn campaign(&self, id: &str) -> Outcome<wire::Campaign> {
        self.state(id).await.map(told)
    }

    pub(super) async fn state(&self, id: &str) -> Outcome<CampaignState> {
        let state = store_call("store campaign", self.store.campaign(number(id)?)).await;
        let state = state.map_err(store_failed)?;
        state.ok_or_else(|| unknown(id))
    }

    pub(super) async fn cancel(&self, id: &str) -> Outcome<wire::Campaign> {
        let state = store_call("store cancel", self.store.cancel(number(id)?)).await;
        let state = state.map_err(store_failed)?;
        state.map(told).ok_or_else(|| unknown(id))
    }

    pub(super) async fn ledger(&self, id: &str, page: Page) -> Outcome<wire::LedgerPage> {
        // One row more than asked for tells whether there is a next page.
        let rows = self.store.ledger(number(id)?, page.after, page.limit + 1);
        let rows = store_call("store ledger", rows).await.map_err(store_failed)?;
        let mut coupons = rows.ok_or_else(|| unknown(id))?;
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let more = coupons.len() > limit;
        coupons.truncate(limit);
        let next_after = coupons.last().filter(|_| more).map(|row| row.seq);
        Ok(wire::LedgerPage { coupons, next_after })
    }

    pub(super) async fn issue(&self, ask: Ask) -> Outcome<wire::Issued> {
        let (campaign, asked) = (ask.campaign, Instant::now());
        let decision = store_call("store issue", pin!(self.store.issue(ask))).await;
        metrics().decided_in.observe(asked.elapsed().as_secs_f64());
        decided(campaign, decision.map_err(store_failed)?)
    }

    /// Gives up on a store that does not answer.
    pub(super) async fn within_patience<T>(
        &self,
        asking: impl Future<Output = Outcome<T>>,
    ) -> Outcome<T> {
        match tokio::time::timeout(self.patience, asking).await {
            Ok(outcome) => outcome,
            Err(_) => Err(store_failed(StoreError::Unavailable(format!(
                "no answer within {:?}",
                self.patience
            )))),
        }
    }

    /// Counts a refusal, and tells the operator of what went wrong inside.
    pub(super) fn note(&self, refusal: &Refusal, id: &HeaderValue) {
        metrics().refused(refusal.problem.code);
        if let Some(cause) = &refusal.cause {
            self.complain(cause, id);
        }
    }

    /// A line about what went wrong inside, and with which request first.
    fn complain(&self, cause: &StoreError, id: &HeaderValue) {
        if !self.complaints.allows() {
            return;
        }
        let request_id = id.to_str().unwrap_or_default();
        match cause {
            // Does not pass by itself.
            StoreError::Damaged(_) => {
                error!(request_id, "{cause} (at most one such line a second)")
            }
            StoreError::Unavailable(_)
            | StoreError::Overloaded
            | StoreError::CampaignsExhausted => {
                warn!(request_id, "{cause} (at most one such line a second)");
            }
        }
    }
}

pub(super) fn number(id: &str) -> Outcome<CampaignNumber> {
    CampaignNumber::parse(id).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Box<Refusal> {
    Problem::new(ProblemCode::CampaignNotFound, format!("there is no campaign {id:?}")).into()
}

fn decided(campaign: CampaignNumber, decision: Decision) -> Outcome<wire::Issued> {
    let refuse = |code, detail: &str| Err(Problem::new(code, detail).into());
    match decision {
        Decision::Issued(coupon) => {
            metrics().issued.inc();
            Ok(wire::Issued {
                code: coupon.code,
                seq: coupon.seq,
                remaining: coupon.remaining,
                issued_at: coupon.issued_at,
            })
        }
        Decision::AlreadyIssued { code } => {
            let detail = "this campaign gives each user one coupon";
            let problem = Problem::new(ProblemCode::AlreadyIssued, detail);
            Err(Problem { coupon: Some(code), ..problem }.into())
        }
        Decision::SoldOut => refuse(ProblemCode::SoldOut, "no coupon is left in this campaign"),
        Decision::Cancelled => refuse(ProblemCode::Cancelled, "nothing is issued of it any more"),
        Decision::NotStarted => {
            refuse(ProblemCode::NotStarted, "nothing is issued before its start")
        }
        Decision::UserMissing => {
            Err(input::invalid("user", "is needed in a campaign with a limit per user").into())
        }
        Decision::UnknownCampaign => Err(unknown(&campaign.to_string())),
    }
}

fn told(state: CampaignState) -> wire::Campaign {
    wire::Campaign {
        id: state.number.to_string(),
        status: state.status(),
        coupons: state.coupons,
        issued: state.issued,
        remaining: state.remaining(),
        starts_at: state.starts_at,
        per_user_limit: state.per_user_limit.then_some(1),
        opened_at: state.opened_at,
        now: state.now,
        name: state.name,
    }
}
