//! Campaigns in Redis.
//!
//! The trick: requests that wait for the same campaign share one call of one script.
//!
//! Nothing here sends an issue twice. When a call fails nobody knows whether it had an effect, and
//! the answer says so.

mod create;
mod durability;
mod schedule;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::wire;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::streams::StreamRangeReply;
use redis::{IntoConnectionInfo, RedisError, Script, Value};
use tokio::sync::oneshot;

pub use durability::Durability;

use super::gather::{Attempt, CANDIDATES, Job, Served, Tails, Waiting, fail_all, with_free_codes};
use super::{Ask, CampaignState, Coupon, Decision, Lead, Store, StoreError, time};
use crate::code::CampaignNumber;

/// Most requests that share one call. More would make Redis deaf to others for too long.
const BATCH: usize = 128;
/// What the script says instead of a campaign's coupons when a part of the campaign is lost.
const DAMAGED: i64 = -2;
/// Written to see whether anything can be; gone a second later.
const READY: &str = "coupon:ready";
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A store in one Redis database.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    connection: ConnectionManager,
    issue: Script,
    waiting: Waiting,
    settings: Settings,
}

/// How a store is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many requests may wait at a time.
    pub capacity: usize,
    /// An answer that takes longer counts as none.
    pub timeout: Duration,
    /// What is promised of an answered coupon.
    pub durability: Durability,
}

/// Why a Redis cannot be the store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be reached.
    #[error("{0}")]
    Redis(#[from] RedisError),
    /// It does not keep what is promised.
    #[error("{0}")]
    Promise(String),
}

impl RedisStore {
    /// Connects, loads the script, and sees whether this Redis keeps what is promised.
    ///
    /// # Errors
    /// When the URL is none, the server does not answer, or it cannot keep the promise. The error
    /// never contains the URL, which may hold a password.
    pub async fn connect(url: &str, settings: Settings) -> Result<Self, OpenError> {
        let client = redis::Client::open(url.into_connection_info()?)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(settings.timeout))
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(500))
            .set_number_of_retries(2)
            .set_pipeline_buffer_size(1_024);
        let connection = ConnectionManager::new_with_config(client, config).await?;
        durability::check(&mut connection.clone(), settings.durability).await?;
        let inner = Inner {
            connection,
            issue: Script::new(include_str!("redis/issue.lua")),
            waiting: Waiting::new(settings.capacity, BATCH),
            settings,
        };
        inner.issue.load_async(&mut inner.connection.clone()).await?;
        Ok(Self(Arc::new(inner)))
    }

    async fn decide(&self, ask: Ask, tails: Tails) -> Attempt {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job { ask, tails, reply })?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the request was lost".into())))
    }

    fn enqueue(&self, job: Job) -> Result<(), StoreError> {
        let campaign = job.ask.campaign;
        if self.0.waiting.add(job)? == Served::ByNobody {
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
        let mut call = script.prepare_invoke();
        for key in keys(campaign) {
            call.key(key);
        }
        call.arg(campaign.prefix()).arg(arguments);
        let answer = call.invoke_async(&mut self.0.connection.clone()).await;
        let (coupons, decisions): (i64, Vec<Value>) = answer.map_err(unavailable)?;
        decisions
            .into_iter()
            .next()
            .map_or(Ok(Some(Decision::UnknownCampaign)), |d| decision(d, coupons))
    }
}

impl Inner {
    /// One call of the script for the whole batch.
    async fn run(&self, campaign: CampaignNumber, batch: Vec<Job>) {
        let mut call = self.issue.prepare_invoke();
        for key in keys(campaign) {
            call.key(key);
        }
        call.arg(campaign.prefix()).arg(CANDIDATES);
        for job in &batch {
            call.arg(job.ask.sent()).arg(job.ask.holder());
            call.arg(job.ask.key.as_deref().unwrap_or_default());
            call.arg(&job.tails[..]);
        }
        // Only a script that Redis does not know, and so did not run, is loaded and called again.
        let told = call.invoke_async(&mut self.connection.clone()).await.map_err(unavailable);
        match (told, self.kept().await) {
            (Ok((coupons, decisions)), Ok(())) => reply_all(batch, coupons, decisions),
            (Err(e), _) | (_, Err(e)) => fail_all(batch, &e),
        }
    }

    /// Waits until what was written over this connection is where it is promised to be.
    async fn kept(&self) -> Result<(), StoreError> {
        if self.settings.durability != Durability::Replicated {
            return Ok(());
        }
        // A file is written before Redis answers; for a replica one has to wait.
        let wait = durability::wait(self.settings.timeout);
        let replicas: u64 =
            wait.query_async(&mut self.connection.clone()).await.map_err(unavailable)?;
        if replicas > 0 {
            return Ok(());
        }
        Err(StoreError::Unavailable("no replica has what was written".to_owned()))
    }
}

fn reply_all(batch: Vec<Job>, coupons: i64, decisions: Vec<Value>) {
    if coupons == DAMAGED {
        let what = decisions.into_iter().next().map(redis::from_redis_value::<String>);
        let what = what.and_then(Result::ok).unwrap_or_default();
        let campaign = batch.first().map(|job| job.ask.campaign.to_string()).unwrap_or_default();
        let error = StoreError::Damaged(format!(
            "the parts of campaign {campaign} disagree, so nothing of it is issued: {what}"
        ));
        return fail_all(batch, &error);
    }
    // The script answers for no request when there is no such campaign.
    if coupons < 0 {
        for job in batch {
            let _ = job.reply.send(Ok(Some(Decision::UnknownCampaign)));
        }
        return;
    }
    if decisions.len() != batch.len() {
        let error = StoreError::Damaged(format!(
            "{} decisions about {} requests",
            decisions.len(),
            batch.len()
        ));
        return fail_all(batch, &error);
    }
    for (job, value) in batch.into_iter().zip(decisions) {
        // Nobody may be waiting any more; the decision stands.
        let _ = job.reply.send(decision(value, coupons));
    }
}

/// A decision as the scripts return it; `None` stands for a collision of all codes.
fn decision(value: Value, coupons: i64) -> Attempt {
    let (what, code, seq, at_us): (String, String, u64, i64) =
        redis::from_redis_value(value).map_err(|e| StoreError::Damaged(e.to_string()))?;
    Ok(Some(match what.as_str() {
        "issued" => Decision::Issued(Coupon {
            code,
            seq,
            remaining: u64::try_from(coupons).unwrap_or(0).saturating_sub(seq),
            issued_at: time(at_us)?,
        }),
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

/// What `TIME` says, in one number.
fn unix_us((seconds, micros): (i64, i64)) -> i64 {
    seconds.saturating_mul(1_000_000).saturating_add(micros)
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
        let number = create::create(&mut self.0.connection.clone(), &new, key.as_deref()).await?;
        self.0.kept().await?;
        let state = self.campaign(number).await?;
        state.ok_or_else(|| StoreError::Damaged("a new campaign is not there".to_owned()))
    }

    async fn cancel(&self, number: CampaignNumber) -> Result<Option<CampaignState>, StoreError> {
        static CANCEL: LazyLock<Script> =
            LazyLock::new(|| Script::new(include_str!("redis/cancel.lua")));
        let cancelled: Result<i64, _> =
            CANCEL.key(key(number, "campaign")).invoke_async(&mut self.0.connection.clone()).await;
        cancelled.map_err(unavailable)?;
        self.0.kept().await?;
        self.campaign(number).await
    }

    async fn campaign(&self, number: CampaignNumber) -> Result<Option<CampaignState>, StoreError> {
        type Number = Option<i64>;
        type Terms = (Option<String>, Option<u64>, Number, Number, Number, Number);
        let fields = [
            "name",
            "coupons",
            "starts_at_us",
            "per_user_limit",
            "opened_at_us",
            "cancelled_at_us",
        ];
        let (terms, parts, issued, clock): (Terms, u8, Option<u64>, (i64, i64)) = redis::pipe()
            .atomic()
            .hmget(key(number, "campaign"), &fields[..])
            .exists(&keys(number)[..])
            .get(key(number, "issued"))
            .cmd("TIME")
            .query_async(&mut self.0.connection.clone())
            .await
            .map_err(unavailable)?;
        let (Some(name), Some(coupons), Some(starts_at_us), Some(limit), opened, cancelled) = terms
        else {
            return if parts == 0 { Ok(None) } else { Err(terms_lost(number)) };
        };
        Ok(Some(CampaignState {
            number,
            name,
            coupons,
            issued: issued.ok_or_else(|| {
                StoreError::Damaged(format!("the counter of campaign {number} is lost"))
            })?,
            starts_at: time(starts_at_us)?,
            per_user_limit: limit == 1,
            opened_at: opened.map(time).transpose()?,
            cancelled: cancelled.is_some(),
            now: time(unix_us(clock))?,
        }))
    }

    async fn ledger(
        &self,
        number: CampaignNumber,
        after: u64,
        limit: u32,
    ) -> Result<Option<Vec<wire::LedgerRow>>, StoreError> {
        let from = format!("{}-0", after.saturating_add(1));
        let (parts, rows): (u8, StreamRangeReply) = redis::pipe()
            .atomic()
            .exists(&keys(number)[..])
            .xrange_count(key(number, "ledger"), from, "+", limit)
            .query_async(&mut self.0.connection.clone())
            .await
            .map_err(unavailable)?;
        // Of a campaign that lost other parts the rows can still be read.
        if parts == 0 {
            return Ok(None);
        }
        rows.ids.iter().map(ledger_row).collect::<Result<_, _>>().map(Some)
    }

    async fn issue(&self, ask: Ask) -> Result<Decision, StoreError> {
        with_free_codes(|tails| self.decide(ask.clone(), tails)).await
    }

    async fn ready(&self) -> Result<DateTime<Utc>, StoreError> {
        // A write: a Redis that is full, a replica, or unable to persist still answers PING.
        let (clock,): ((i64, i64),) = redis::pipe()
            .cmd("SET")
            .arg(&[READY, "1", "PX", "1000"])
            .ignore()
            .cmd("TIME")
            .query_async(&mut self.0.connection.clone())
            .await
            .map_err(unavailable)?;
        self.0.kept().await?;
        time(unix_us(clock))
    }

    async fn lead(&self, name: &str) -> Result<Lead, StoreError> {
        schedule::lead(&mut self.0.connection.clone(), name).await
    }
}

fn ledger_row(entry: &redis::streams::StreamId) -> Result<wire::LedgerRow, StoreError> {
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
