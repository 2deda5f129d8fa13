//! Campaigns in Redis.
//!
//! The trick: requests that wait for the same campaign share one call of one script.
//!
//! Nothing here sends an issue twice. When a call fails nobody knows whether it had an effect, and
//! the answer says so.

use std::sync::Arc;
use std::time::Duration;

use contract::wire;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::streams::StreamRangeReply;
use redis::{IntoConnectionInfo, RedisError, Script, Value};
use tokio::sync::oneshot;

use super::gather::{Attempt, CANDIDATES, Job, Served, Tails, Waiting, fail_all, with_free_codes};
use super::{Ask, CampaignState, Coupon, Decision, Store, StoreError, limit_flag, time};
use crate::code::CampaignNumber;

/// Most requests that share one call. More would make Redis deaf to others for too long.
const BATCH: usize = 128;
/// How many taken numbers are skipped at creation, where a counter was lost but not its campaigns.
const TAKEN_NUMBERS: usize = 1_000;
/// What the script says instead of a campaign's coupons when a part of the campaign is lost.
const DAMAGED: i64 = -2;
/// Written to see whether anything can be; gone a second later.
const READY: &str = "coupon:ready";
/// The counter of campaign numbers.
const CAMPAIGNS: &str = "coupon:campaigns";
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A store in one Redis database.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    connection: ConnectionManager,
    issue: Script,
    create: Script,
    waiting: Waiting,
}

impl RedisStore {
    /// Connects, and loads the scripts.
    ///
    /// At most `capacity` requests wait at a time; an answer that takes longer than `timeout`
    /// counts as none.
    ///
    /// # Errors
    /// When the URL is none or the server does not answer. The error never contains the URL, which
    /// may hold a password.
    pub async fn connect(
        url: &str,
        capacity: usize,
        timeout: Duration,
    ) -> Result<Self, RedisError> {
        let client = redis::Client::open(url.into_connection_info()?)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(timeout))
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(500))
            .set_number_of_retries(2)
            .set_pipeline_buffer_size(1_024);
        let connection = ConnectionManager::new_with_config(client, config).await?;
        let inner = Inner {
            connection,
            issue: Script::new(include_str!("redis/issue.lua")),
            create: Script::new(include_str!("redis/create.lua")),
            waiting: Waiting::new(capacity, BATCH),
        };
        inner.issue.load_async(&mut inner.connection.clone()).await?;
        inner.create.load_async(&mut inner.connection.clone()).await?;
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
            call.arg(job.ask.user.as_deref().unwrap_or_default());
            call.arg(job.ask.key.as_deref().unwrap_or_default());
            call.arg(&job.tails[..]);
        }
        // Only a script that Redis does not know, and so did not run, is loaded and called again.
        match call.invoke_async(&mut self.connection.clone()).await {
            Ok((coupons, decisions)) => reply_all(batch, coupons, decisions),
            Err(e) => fail_all(batch, &unavailable(e)),
        }
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

#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
fn unavailable(error: RedisError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

impl Store for RedisStore {
    async fn create(&self, new: wire::NewCampaign) -> Result<CampaignState, StoreError> {
        let mut connection = self.0.connection.clone();
        for _ in 0..TAKEN_NUMBERS {
            // A number that is drawn and then not used is no harm. The counter lies in a hash slot
            // of its own, so it cannot be part of the script.
            let number: u64 = redis::cmd("INCR")
                .arg(CAMPAIGNS)
                .query_async(&mut connection)
                .await
                .map_err(unavailable)?;
            let number = CampaignNumber::new(number).ok_or(StoreError::CampaignsExhausted)?;
            if let Some(state) = self.create_as(number, &new).await? {
                return Ok(state);
            }
        }
        Err(StoreError::Damaged(format!("{CAMPAIGNS} gives out numbers that are taken")))
    }

    async fn campaign(&self, number: CampaignNumber) -> Result<Option<CampaignState>, StoreError> {
        type Terms = (Option<String>, Option<u64>, Option<i64>, Option<i64>);
        let fields = ["name", "coupons", "starts_at_us", "per_user_limit"];
        let (terms, issued, (seconds, micros)): (Terms, Option<u64>, (i64, i64)) = redis::pipe()
            .atomic()
            .hmget(key(number, "campaign"), &fields[..])
            .get(key(number, "issued"))
            .cmd("TIME")
            .query_async(&mut self.0.connection.clone())
            .await
            .map_err(unavailable)?;
        let (Some(name), Some(coupons), Some(starts_at_us), Some(limit)) = terms else {
            return Ok(None);
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
            now: time(seconds.saturating_mul(1_000_000).saturating_add(micros))?,
        }))
    }

    async fn ledger(
        &self,
        number: CampaignNumber,
        after: u64,
        limit: u32,
    ) -> Result<Option<Vec<wire::LedgerRow>>, StoreError> {
        let from = format!("{}-0", after.saturating_add(1));
        let (exists, rows): (bool, StreamRangeReply) = redis::pipe()
            .atomic()
            .exists(key(number, "campaign"))
            .xrange_count(key(number, "ledger"), from, "+", limit)
            .query_async(&mut self.0.connection.clone())
            .await
            .map_err(unavailable)?;
        if !exists {
            return Ok(None);
        }
        rows.ids.iter().map(ledger_row).collect::<Result<_, _>>().map(Some)
    }

    async fn issue(&self, ask: Ask) -> Result<Decision, StoreError> {
        with_free_codes(|tails| self.decide(ask.clone(), tails)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        // A write: a Redis that is full, a replica, or unable to persist still answers PING.
        redis::cmd("SET")
            .arg(&[READY, "1", "PX", "1000"])
            .exec_async(&mut self.0.connection.clone())
            .await
            .map_err(unavailable)
    }
}

impl RedisStore {
    /// Writes a campaign; nothing if the number is taken.
    async fn create_as(
        &self,
        number: CampaignNumber,
        new: &wire::NewCampaign,
    ) -> Result<Option<CampaignState>, StoreError> {
        let mut call = self.0.create.prepare_invoke();
        for key in keys(number) {
            call.key(key);
        }
        let (created, now): (bool, i64) = call
            .arg(&new.name)
            .arg(new.coupons)
            .arg(new.starts_at.timestamp_micros())
            .arg(limit_flag(new.per_user_limit))
            .invoke_async(&mut self.0.connection.clone())
            .await
            .map_err(unavailable)?;
        let state = CampaignState {
            number,
            name: new.name.clone(),
            coupons: new.coupons,
            issued: 0,
            starts_at: new.starts_at,
            per_user_limit: new.per_user_limit.is_some(),
            now: time(now)?,
        };
        Ok(created.then_some(state))
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
mod tests {
    use chrono::Utc;

    use super::*;

    async fn store(redis: &e2e::Redis) -> RedisStore {
        RedisStore::connect(&redis.url(), 1_000, Duration::from_secs(5)).await.unwrap()
    }

    async fn campaign(store: &RedisStore, coupons: u64) -> CampaignNumber {
        campaign_with(store, coupons, None).await
    }

    async fn campaign_with(
        store: &RedisStore,
        coupons: u64,
        per_user_limit: Option<u32>,
    ) -> CampaignNumber {
        let new = wire::NewCampaign {
            name: "launch".to_owned(),
            coupons,
            starts_at: Utc::now() - chrono::Duration::seconds(1),
            per_user_limit,
        };
        store.create(new).await.unwrap().number
    }

    fn ask(campaign: CampaignNumber, user: &str) -> Ask {
        Ask { campaign, user: Some(user.to_owned()), key: None }
    }

    fn tails(tails: [&str; CANDIDATES]) -> [String; CANDIDATES] {
        tails.map(str::to_owned)
    }

    #[tokio::test]
    async fn a_collision_takes_the_next_code_and_never_a_coupon() {
        let redis = e2e::Redis::start();
        let store = store(&redis).await;
        let campaign = campaign(&store, 10).await;
        let ask = Ask { campaign, user: None, key: None };
        let (a, b) = ("가가가가가가가", "나나나나나나나");

        let first = store.decide(ask.clone(), tails([a, a, a])).await.unwrap();
        assert!(matches!(&first, Some(Decision::Issued(c)) if c.seq == 1 && c.code.ends_with(a)));
        assert_eq!(store.decide(ask.clone(), tails([a, a, a])).await, Ok(None));
        assert_eq!(store.campaign(campaign).await.unwrap().unwrap().issued, 1);
        let next = store.decide(ask, tails([a, b, a])).await.unwrap();
        assert!(matches!(&next, Some(Decision::Issued(c)) if c.seq == 2 && c.code.ends_with(b)));
    }

    #[tokio::test]
    async fn a_request_whose_sender_is_gone_is_skipped() {
        let redis = e2e::Redis::start();
        let store = store(&redis).await;
        let campaign = campaign(&store, 10).await;
        let (reply, answer) = oneshot::channel();
        drop(answer);
        let ask = Ask { campaign, user: None, key: None };
        store.enqueue(Job { ask: ask.clone(), tails: tails(["a", "b", "c"]), reply }).unwrap();
        let Decision::Issued(coupon) = store.issue(ask).await.unwrap() else { panic!("no coupon") };
        assert_eq!(coupon.seq, 1);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_does_nothing() {
        let redis = e2e::Redis::start();
        let store = RedisStore::connect(&redis.url(), 0, Duration::from_secs(5)).await.unwrap();
        let campaign = campaign(&store, 10).await;
        let ask = Ask { campaign, user: None, key: None };
        assert_eq!(store.issue(ask).await, Err(StoreError::Overloaded));
        assert_eq!(store.campaign(campaign).await.unwrap().unwrap().issued, 0);
    }

    #[tokio::test]
    async fn forgotten_scripts_are_loaded_again() {
        let redis = e2e::Redis::start();
        let store = store(&redis).await;
        let campaign = campaign(&store, 10).await;
        let mut connection = store.0.connection.clone();
        redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut connection).await.unwrap();
        let ask = Ask { campaign, user: None, key: None };
        assert!(matches!(store.issue(ask).await, Ok(Decision::Issued(_))));
    }

    #[tokio::test]
    async fn a_campaign_that_lost_a_part_issues_nothing_more() {
        let redis = e2e::Redis::start();
        let store = store(&redis).await;
        let mut connection = store.0.connection.clone();
        for parts in [
            &["issued"][..],
            &["ledger"],
            &["codes"],
            &["users"],
            &["issued", "ledger", "codes"],
            &["issued", "ledger", "codes", "users", "keys"],
        ] {
            let campaign = campaign_with(&store, 3, Some(1)).await;
            store.issue(ask(campaign, "u")).await.unwrap();
            let lost: Vec<_> = parts.iter().map(|part| key(campaign, part)).collect();
            redis::cmd("DEL").arg(&lost).exec_async(&mut connection).await.unwrap();
            for user in ["u", "v", "w", "x"] {
                let told = store.issue(ask(campaign, user)).await;
                assert!(matches!(told, Err(StoreError::Damaged(_))), "{parts:?} {user}: {told:?}");
            }
            let rows = store.ledger(campaign, 0, 10).await.unwrap().unwrap().len();
            assert_eq!(rows, usize::from(!parts.contains(&"ledger")), "{parts:?}");
        }
    }

    #[tokio::test]
    async fn a_campaign_without_a_limit_has_no_users_to_lose() {
        let redis = e2e::Redis::start();
        let store = store(&redis).await;
        let campaign = campaign(&store, 10).await;
        for _ in 0..3 {
            assert!(matches!(store.issue(ask(campaign, "u")).await, Ok(Decision::Issued(_))));
        }
    }

    #[tokio::test]
    async fn a_lost_row_is_said_to_be_lost() {
        let redis = e2e::Redis::start();
        let store = store(&redis).await;
        let campaign = campaign_with(&store, 10, Some(1)).await;
        store.issue(ask(campaign, "u")).await.unwrap();
        let mut connection = store.0.connection.clone();
        // As many rows as before, but not the one that is asked for.
        redis::pipe()
            .cmd("XDEL")
            .arg(key(campaign, "ledger"))
            .arg("1-0")
            .cmd("XADD")
            .arg(key(campaign, "ledger"))
            .arg(&["2-0", "code", "a", "user", "v", "key", "", "at_us", "1"])
            .exec_async(&mut connection)
            .await
            .unwrap();
        let told = store.issue(ask(campaign, "u")).await;
        assert!(matches!(told, Err(StoreError::Damaged(_))), "{told:?}");
    }

    #[tokio::test]
    async fn a_campaign_without_its_counter_is_not_said_to_be_untouched() {
        let redis = e2e::Redis::start();
        let store = store(&redis).await;
        let campaign = campaign(&store, 10).await;
        assert_eq!(store.campaign(campaign).await.unwrap().unwrap().issued, 0);
        let mut connection = store.0.connection.clone();
        let counter = key(campaign, "issued");
        let new: String =
            redis::cmd("GET").arg(&counter).query_async(&mut connection).await.unwrap();
        assert_eq!(new, "0");
        redis::cmd("DEL").arg(&counter).exec_async(&mut connection).await.unwrap();
        assert!(matches!(store.campaign(campaign).await, Err(StoreError::Damaged(_))));
    }

    #[tokio::test]
    async fn what_is_left_of_a_lost_campaign_takes_its_number() {
        let redis = e2e::Redis::start();
        let store = store(&redis).await;
        let lost = campaign(&store, 10).await;
        store.issue(ask(lost, "u")).await.unwrap();
        let mut connection = store.0.connection.clone();
        let keys = [key(lost, "campaign"), key(lost, "issued"), CAMPAIGNS.to_owned()];
        redis::cmd("DEL").arg(&keys[..]).exec_async(&mut connection).await.unwrap();
        assert_ne!(campaign(&store, 10).await, lost);
    }

    #[tokio::test]
    async fn numbers_end_where_codes_cannot_tell_campaigns_apart() {
        let redis = e2e::Redis::start();
        let store = store(&redis).await;
        let mut connection = store.0.connection.clone();
        let last_but_one = crate::code::CAMPAIGNS - 1;
        redis::cmd("SET")
            .arg(CAMPAIGNS)
            .arg(last_but_one)
            .exec_async(&mut connection)
            .await
            .unwrap();
        assert_eq!(campaign(&store, 1).await.get(), crate::code::CAMPAIGNS);
        let new = wire::NewCampaign {
            name: "one too many".to_owned(),
            coupons: 1,
            starts_at: Utc::now(),
            per_user_limit: None,
        };
        assert_eq!(store.create(new).await, Err(StoreError::CampaignsExhausted));
    }
}
