//! Campaigns in Redis.
//!
//! The trick: requests that wait for the same campaign share one call of one script.
//!
//! Nothing here sends an issue twice. When a call fails nobody knows whether it had an effect, and
//! the answer says so.

mod create;
mod durability;
mod link;
mod schedule;
mod script;
mod sentinel;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::wire;
use redis::streams::{StreamId, StreamRangeReply};
use redis::{RedisError, Value};

pub use durability::Durability;
use link::Link;
use script::Call;
pub(crate) use script::Script;

use super::gather::{Attempt, Job, Served, Waiting, tell_all, tell_each, with_free_code};
use super::{Ask, CampaignState, Coupon, Decision, Lead, Queue, Sharing, Store, StoreError, time};
use crate::code::CampaignNumber;

/// Most requests that share one call. More would make Redis deaf to others for too long.
const BATCH: usize = 128;
/// What the script says instead of a campaign's coupons when a part of the campaign is lost.
const DAMAGED: i64 = -2;
/// Written to see whether anything can be; gone a second later.
const READY: &str = "coupon:ready";

static ISSUE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis/issue.lua")));
static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis/look.lua")));
static CANCEL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis/cancel.lua")));
static WRITE_AND_TELL: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("redis/ready.lua")));

/// A store in one Redis, or in one cluster of it.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    link: Link,
    waiting: Waiting,
    sharing: Sharing,
}

/// How a store is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many requests may wait, and for how long.
    pub queue: Queue,
    /// An answer that takes longer counts as none.
    pub timeout: Duration,
    /// What is promised of an answered coupon.
    pub durability: Durability,
    /// Who shares a call. Alone, each has one of its own, and all are under way at once.
    pub sharing: Sharing,
    /// Certificates in PEM: whom they sign is trusted, and nobody else; the system's where there are none.
    pub ca: Option<Vec<u8>>,
}

/// Why a Redis cannot be the store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not said where it is.
    #[error("{0}")]
    Url(String),
    /// It cannot be reached.
    #[error("{0}")]
    Redis(#[from] RedisError),
    /// It does not keep what is promised.
    #[error("{0}")]
    Promise(String),
}

impl RedisStore {
    /// Connects, and sees whether this Redis keeps what is promised.
    ///
    /// # Errors
    /// When the URL is none, nobody answers there, or the promise cannot be kept. The error never
    /// contains the URL, which may hold a password.
    pub async fn connect(url: &str, settings: Settings) -> Result<Self, OpenError> {
        let place = contract::redis::place(url).map_err(OpenError::Url)?;
        let link = Link::connect(&place, &settings).await?;
        let sharing = settings.sharing;
        let waiting = Waiting::new(settings.queue, sharing.at_most(BATCH));
        Ok(Self(Arc::new(Inner { link, waiting, sharing })))
    }

    async fn look(&self, number: CampaignNumber) -> Result<Look, StoreError> {
        self.0.link.run(&LOOK.over(&keys(number))).await
    }

    async fn decide(&self, ask: Arc<Ask>, code: String) -> Attempt {
        let (job, answer) = Job::new(ask, code);
        self.enqueue(job)?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the request was lost".into())))
    }

    fn enqueue(&self, job: Job) -> Result<(), StoreError> {
        let campaign = job.ask.campaign;
        let served = self.0.waiting.add(job)?;
        if served == Served::ByNobody || self.0.sharing == Sharing::Alone {
            tokio::spawn(self.clone().work_off(campaign));
        }
        Ok(())
    }

    async fn work_off(self, campaign: CampaignNumber) {
        while let Some(batch) = self.0.waiting.take(campaign) {
            if !batch.is_empty() {
                self.0.run(campaign, batch).await;
            }
        }
    }

    /// Runs a script of a planted bug over a campaign's keys.
    pub(crate) async fn run_script(
        &self,
        script: &Script,
        campaign: CampaignNumber,
        arguments: &[&str],
    ) -> Result<Option<Decision>, StoreError> {
        let mut call = script.over(&keys(campaign));
        call.arg(campaign.prefix()).arg(arguments);
        // A planted bug is to be the only one: it keeps what is promised like the clean step.
        let (coupons, decisions): (i64, Vec<Value>) = self.0.link.keep(&call).await?;
        decisions
            .into_iter()
            .next()
            .map_or(Ok(Some(Decision::UnknownCampaign)), |told| whole_decision(told, coupons))
    }
}

/// What `look.lua` returns: how many keys of a campaign there are, its counter, the clock, its terms.
type Look = (u8, i64, i64, Option<Terms>);
type Terms = (String, u64, i64, u8, Option<i64>, Option<i64>);
/// What `issue.lua` returns: coupons of the campaign, the clock, and a decision for each request.
type Step = (i64, i64, Vec<Value>);

impl Inner {
    /// One call of the script for the whole batch.
    async fn run(&self, campaign: CampaignNumber, batch: Vec<Job>) {
        match self.link.keep(&step(campaign, &batch)).await {
            Ok(told) => reply_all(campaign, batch, told),
            Err(e) => tell_all(batch, &Err(e)),
        }
    }
}

/// The step for these requests, in the columns that `issue.lua` takes.
fn step(campaign: CampaignNumber, batch: &[Job]) -> Call<'static> {
    let mut call = ISSUE.over(&keys(campaign));
    let asks = || batch.iter().map(|job| &*job.ask);
    asks().for_each(|ask| _ = call.arg(ask.sent()));
    asks().for_each(|ask| _ = call.arg(ask.holder()));
    asks().for_each(|ask| _ = call.arg(ask.key.as_deref().unwrap_or_default()));
    batch.iter().for_each(|job| _ = call.arg(&job.code));
    call
}

fn reply_all(campaign: CampaignNumber, mut batch: Vec<Job>, (coupons, now_us, decisions): Step) {
    if coupons == DAMAGED {
        let what = decisions.into_iter().next().map(redis::from_redis_value::<String>);
        let what = what.and_then(Result::ok).unwrap_or_default();
        let error = StoreError::Damaged(format!(
            "the parts of campaign {campaign} disagree, so nothing of it is issued: {what}"
        ));
        return tell_all(batch, &Err(error));
    }
    let codes: Vec<_> = batch.iter_mut().map(|job| std::mem::take(&mut job.code)).collect();
    let mut codes = codes.into_iter();
    let told = decisions.into_iter().map(|value| {
        let code = codes.next().unwrap_or_default();
        if let Value::Int(rank) = value {
            return decision("issued", (code, rank, now_us), coupons);
        }
        if let Value::BulkString(what) = &value {
            return decision(&String::from_utf8_lossy(what), Default::default(), coupons);
        }
        whole_decision(value, coupons)
    });
    tell_each(batch, told);
}

/// A decision with all that belongs to it: `{what, code, seq, at_us}`.
fn whole_decision(value: Value, coupons: i64) -> Attempt {
    let (what, code, seq, at_us): (String, _, _, _) =
        redis::from_redis_value(value).map_err(|e| StoreError::Damaged(e.to_string()))?;
    decision(&what, (code, seq, at_us), coupons)
}

/// What the scripts say of a request; `None` stands for a code that is taken.
fn decision(what: &str, (code, seq, at_us): (String, i64, i64), coupons: i64) -> Attempt {
    Ok(Some(match what {
        "issued" => {
            let [coupons, seq] = [coupons, seq].map(|count| u64::try_from(count).unwrap_or(0));
            let remaining = coupons.saturating_sub(seq);
            Decision::Issued(Coupon { code, seq, remaining, issued_at: time(at_us)? })
        }
        "already_issued" => Decision::AlreadyIssued { code },
        "sold_out" => Decision::SoldOut,
        "cancelled" => Decision::Cancelled,
        "not_started" => Decision::NotStarted,
        "user_missing" => Decision::UserMissing,
        "collision" => return Ok(None),
        "damaged" => {
            let lost = "a coupon that was issued is not in the ledger".to_owned();
            return Err(StoreError::Damaged(lost));
        }
        _ => return Err(StoreError::Damaged(format!("the script said {what:?}"))),
    }))
}

/// The keys of a campaign, in the order in which the scripts take them. The braces keep them in one
/// hash slot.
fn keys(campaign: CampaignNumber) -> [String; 6] {
    ["campaign", "issued", "ledger", "codes", "users", "keys"].map(|part| key(campaign, part))
}

fn key(campaign: CampaignNumber, part: &str) -> String {
    format!("coupon:{{{campaign}}}:{part}")
}

/// Parts of a campaign are there, and what it promises is not.
fn terms_lost(campaign: CampaignNumber) -> StoreError {
    StoreError::Damaged(format!("the terms of campaign {campaign} are lost"))
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
fn unavailable(error: RedisError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

impl Store for RedisStore {
    async fn create(
        &self,
        new: wire::NewCampaign,
        key: Option<String>,
    ) -> Result<CampaignState, StoreError> {
        let number = create::create(&self.0.link, &new, key.as_deref()).await?;
        let state = self.campaign(number).await?;
        state.ok_or_else(|| StoreError::Damaged("a new campaign is not there".to_owned()))
    }

    async fn cancel(&self, number: CampaignNumber) -> Result<Option<CampaignState>, StoreError> {
        self.0.link.keep::<i64>(&CANCEL.over(&[key(number, "campaign")])).await?;
        self.campaign(number).await
    }

    async fn campaign(&self, number: CampaignNumber) -> Result<Option<CampaignState>, StoreError> {
        let (parts, issued, now_us, terms) = self.look(number).await?;
        let Some((name, coupons, starts_at_us, limit, opened_at_us, cancelled_at_us)) = terms
        else {
            return if parts == 0 { Ok(None) } else { Err(terms_lost(number)) };
        };
        Ok(Some(CampaignState {
            number,
            name,
            coupons,
            issued: u64::try_from(issued).map_err(|_| {
                StoreError::Damaged(format!("the counter of campaign {number} is lost"))
            })?,
            starts_at: time(starts_at_us)?,
            per_user_limit: limit == 1,
            opened_at: opened_at_us.map(time).transpose()?,
            cancelled: cancelled_at_us.is_some(),
            now: time(now_us)?,
        }))
    }

    async fn ledger(
        &self,
        number: CampaignNumber,
        after: u64,
        limit: u32,
    ) -> Result<Option<Vec<wire::LedgerRow>>, StoreError> {
        let (from, limit) = (format!("{}-0", after.saturating_add(1)), limit.to_string());
        let ledger = key(number, "ledger");
        let page = ["XRANGE", &ledger, &from, "+", "COUNT", &limit];
        let rows: StreamRangeReply = self.0.link.ask(&page).await?;
        // Of a campaign that lost other parts the rows can still be read.
        if rows.ids.is_empty() && self.look(number).await?.0 == 0 {
            return Ok(None);
        }
        rows.ids.iter().map(ledger_row).collect::<Result<_, _>>().map(Some)
    }

    async fn issue(&self, ask: Ask) -> Result<Decision, StoreError> {
        with_free_code(ask, |ask, code| self.decide(ask, code)).await
    }

    async fn ready(&self) -> Result<DateTime<Utc>, StoreError> {
        // A write: a Redis that is full, a replica, or unable to persist still answers PING.
        time(self.0.link.keep(&WRITE_AND_TELL.over(&[READY.to_owned()])).await?)
    }

    async fn lead(&self, name: &str) -> Result<Lead, StoreError> {
        schedule::lead(&self.0.link, name).await
    }
}

fn ledger_row(entry: &StreamId) -> Result<wire::LedgerRow, StoreError> {
    let damaged = |what: &str| StoreError::Damaged(format!("ledger entry {}: {what}", entry.id));
    let seq = entry.id.strip_suffix("-0").and_then(|seq| seq.parse().ok());
    let at_us = entry.get("at_us").ok_or_else(|| damaged("no at_us"))?;
    Ok(wire::LedgerRow {
        seq: seq.ok_or_else(|| damaged("its id is no rank"))?,
        code: entry.get("code").ok_or_else(|| damaged("no code"))?,
        user: entry.get("user").filter(|user: &String| !user.is_empty()),
        issued_at: time(at_us)?,
    })
}

#[cfg(test)]
mod tests;
