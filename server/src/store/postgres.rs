//! Campaigns in one PostgreSQL database that any number of servers share.
//!
//! The trick: the step is one call of a function that locks the campaign's row first. It is a
//! transaction by itself, so a server that hangs or dies between two statements holds no lock that
//! the others wait for, and one way there and back is all that a batch takes.
//!
//! Nothing here sends an issue twice. When a call fails nobody knows whether it had an effect, and
//! the answer says so.

mod connect;
mod reply;

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::wire;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::QueryAs;
use sqlx::{ConnectOptions, FromRow, PgPool, Postgres};

pub use connect::OpenError;
use connect::{pool, prepare};
use reply::{Told, campaign_number, count, lost};
pub(crate) use reply::{decision, failed, number};

use super::gather::{Attempt, Job, Served, Waiting, tell_all, tell_each, with_free_code};
use super::{
    Ask, CampaignState, Decision, LEASE, Lead, Queue, Sharing, Store, StoreError, limit_flag, time,
};
use crate::code::CampaignNumber;

/// Most requests that share one call.
const BATCH: usize = 256;
/// Connections that steps go over: one for each campaign that is busy. More would only wait longer
/// for the same rows.
const STEPS: u32 = 4;
/// The same where each request has a step of its own.
const STEPS_ALONE: u32 = 16;
/// Connections for everything else.
const READERS: u32 = 2;
/// A connection for steps that was idle for so long is tried before it is used, others always.
const TRUSTED: Duration = Duration::from_secs(1);

/// A store in one PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PostgresStore(Arc<Inner>);

struct Inner {
    steps: PgPool,
    readers: PgPool,
    waiting: Waiting,
    settings: Settings,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// How a store is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many requests may wait, and for how long.
    pub queue: Queue,
    /// An answer that takes longer counts as none.
    pub timeout: Duration,
    /// Who shares a step. Alone, each locks the row for itself, over a connection of its own.
    pub sharing: Sharing,
    /// Certificates in PEM: whom they sign is trusted, besides whom the system trusts.
    pub ca: Option<Vec<u8>>,
}

impl PostgresStore {
    /// Connects, and lays out a database that has no schema `coupon` yet.
    ///
    /// # Errors
    /// When the URL is none, the database does not answer, belongs to something else, or another
    /// server keeps it locked for more than ten seconds. The error never contains the URL, which
    /// may hold a password.
    pub async fn connect(url: &str, settings: Settings) -> Result<Self, OpenError> {
        let mut options = PgConnectOptions::from_str(url)?
            .application_name("coupon-server")
            .disable_statement_logging();
        if let Some(ca) = &settings.ca {
            options = options.ssl_root_cert_from_pem(ca.clone());
        }
        prepare(&options).await?;
        let timeout = format!("{}ms", settings.timeout.as_millis());
        // What nobody waits for any more must not wait for a lock; and whatever the database's own
        // choice is, a step has to see what was committed while it waited for the row.
        let options = options.options([
            ("statement_timeout", timeout.as_str()),
            ("default_transaction_isolation", "read committed"),
        ]);
        let steps = match settings.sharing {
            Sharing::Gathered => STEPS,
            Sharing::Alone => STEPS_ALONE,
        };
        let readers = pool(READERS, Duration::ZERO, settings.timeout, options.clone());
        // A database that refuses these settings is no store.
        drop(readers.acquire().await?);
        Ok(Self(Arc::new(Inner {
            steps: pool(steps, TRUSTED, settings.timeout, options),
            readers,
            waiting: Waiting::new(settings.queue, settings.sharing.at_most(BATCH)),
            settings,
        })))
    }

    async fn decide(&self, ask: Arc<Ask>, code: String) -> Attempt {
        let (job, answer) = Job::new(ask, code);
        self.enqueue(job)?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    fn enqueue(&self, job: Job) -> Result<(), StoreError> {
        let campaign = job.ask.campaign;
        let served = self.0.waiting.add(job)?;
        if served == Served::ByNobody || self.0.settings.sharing == Sharing::Alone {
            tokio::spawn(self.clone().work_off(campaign));
        }
        Ok(())
    }

    async fn work_off(self, campaign: CampaignNumber) {
        let mut kept = None;
        loop {
            // Before the batch is taken: what comes while a connection is awaited belongs to it.
            let connection = match kept.take() {
                Some(connection) => Ok(connection),
                None => self.0.steps.acquire().await,
            };
            let Some(batch) = self.0.waiting.take(campaign) else { return };
            match connection {
                Ok(mut connection) => {
                    let whole = self.0.run(&mut connection, campaign, batch).await;
                    kept = Some(connection).filter(|_| whole && !self.0.is_crowded());
                }
                Err(e) => tell_all(batch, &Err(failed(e))),
            }
        }
    }

    /// The rows of a query that is no step. It comes to its end even if nobody waits any more, so
    /// that its connection can be used again.
    async fn ask<R>(&self, query: Asked<R>) -> Result<Vec<R>, StoreError>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static,
    {
        let inner = self.0.clone();
        let asking = tokio::spawn(async move {
            let mut connection = inner.readers.acquire().await?;
            inner.fetch(&mut connection, query).await
        });
        asking.await.map_err(|_| lost())?.map_err(failed)
    }

    /// Where a planted bug does what it does.
    pub(crate) fn connections(&self) -> &PgPool {
        &self.0.steps
    }
}

/// A query with what is bound to it.
type Asked<R> = QueryAs<'static, Postgres, R, PgArguments>;
impl Inner {
    /// Whether more campaigns are busy than have a connection.
    fn is_crowded(&self) -> bool {
        let connections = self.steps.options().get_max_connections();
        self.waiting.campaigns() > usize::try_from(connections).unwrap_or(usize::MAX)
    }

    /// One call of the step for the whole batch. Tells whether the connection can be used again.
    async fn run(
        &self,
        connection: &mut PoolConnection<Postgres>,
        campaign: CampaignNumber,
        batch: Vec<Job>,
    ) -> bool {
        if batch.is_empty() {
            return true;
        }
        let each = |text: fn(&Ask) -> &str| -> Vec<String> {
            batch.iter().map(|job| text(&job.ask).to_owned()).collect()
        };
        let (users, holders) = (each(Ask::sent), each(Ask::holder));
        let keys = each(|ask| ask.key.as_deref().unwrap_or_default());
        let codes: Vec<String> = batch.iter().map(|job| job.code.clone()).collect();
        let step = sqlx::query_as(include_str!("postgres/step.sql"));
        let step: Asked<Told> =
            step.bind(number(campaign)).bind(users).bind(holders).bind(keys).bind(codes);
        match self.fetch(connection, step).await {
            Ok(told) => {
                tell_each(batch, told.into_iter().map(decision));
                true
            }
            Err(e) => {
                tell_all(batch, &Err(failed(e)));
                false
            }
        }
    }

    /// The rows of a query. A connection that does not answer in time is given up, with the answer
    /// that may still come.
    async fn fetch<R>(
        &self,
        connection: &mut PoolConnection<Postgres>,
        query: Asked<R>,
    ) -> sqlx::Result<Vec<R>>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let limit = self.settings.timeout;
        let answer = tokio::time::timeout(limit, query.fetch_all(&mut **connection)).await;
        answer.unwrap_or_else(|_| {
            connection.close_on_drop();
            let late = format!("no answer within {limit:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, late).into())
        })
    }
}

impl Store for PostgresStore {
    async fn create(
        &self,
        new: wire::NewCampaign,
        key: Option<String>,
    ) -> Result<CampaignState, StoreError> {
        let create = sqlx::query_as(include_str!("postgres/create.sql"))
            .bind(new.name)
            .bind(i64::try_from(new.coupons).unwrap_or(i64::MAX))
            .bind(new.starts_at.timestamp_micros())
            .bind(limit_flag(new.per_user_limit))
            .bind(key.clone());
        let mut found: Vec<(i32,)> = self.ask(create).await?;
        if found.is_empty() {
            let before = sqlx::query_as(include_str!("postgres/created_before.sql")).bind(key);
            found = self.ask(before).await?;
        }
        let (number,) = found.into_iter().next().ok_or_else(lost)?;
        let number = u64::try_from(number).ok().and_then(CampaignNumber::new);
        let state = self.campaign(number.ok_or(StoreError::CampaignsExhausted)?).await?;
        state.ok_or_else(|| StoreError::Damaged("a new campaign is not there".to_owned()))
    }

    async fn cancel(&self, id: CampaignNumber) -> Result<Option<CampaignState>, StoreError> {
        let cancel = sqlx::query_as(include_str!("postgres/cancel.sql")).bind(number(id));
        let _cancelled: Vec<(i32,)> = self.ask(cancel).await?;
        self.campaign(id).await
    }

    async fn campaign(&self, id: CampaignNumber) -> Result<Option<CampaignState>, StoreError> {
        type Row = (String, i64, i64, i32, i64, Option<i64>, bool, i64);
        let query = sqlx::query_as(include_str!("postgres/campaign.sql")).bind(number(id));
        let found: Vec<Row> = self.ask(query).await?;
        let Some(row) = found.into_iter().next() else { return Ok(None) };
        let (name, coupons, starts_at_us, limit, issued, opened_at_us, cancelled, now_us) = row;
        Ok(Some(CampaignState {
            number: id,
            name,
            coupons: count(coupons)?,
            issued: count(issued)?,
            starts_at: time(starts_at_us)?,
            per_user_limit: limit == 1,
            opened_at: opened_at_us.map(time).transpose()?,
            cancelled,
            now: time(now_us)?,
        }))
    }

    async fn ledger(
        &self,
        id: CampaignNumber,
        after: u64,
        limit: u32,
    ) -> Result<Option<Vec<wire::LedgerRow>>, StoreError> {
        type Row = (Option<i64>, Option<String>, Option<String>, Option<i64>);
        let query = sqlx::query_as(include_str!("postgres/ledger.sql"))
            .bind(number(id))
            .bind(i64::try_from(after).unwrap_or(i64::MAX))
            .bind(i64::from(limit));
        let rows: Vec<Row> = self.ask(query).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut page = Vec::new();
        for row in rows {
            // A row without a coupon stands for a page without any.
            let (Some(seq), Some(code), user, Some(at_us)) = row else { continue };
            let user = user.filter(|user| !user.is_empty());
            page.push(wire::LedgerRow { seq: count(seq)?, code, user, issued_at: time(at_us)? });
        }
        Ok(Some(page))
    }

    async fn issue(&self, ask: Ask) -> Result<Decision, StoreError> {
        with_free_code(ask, |ask, code| self.decide(ask, code)).await
    }

    async fn ready(&self) -> Result<DateTime<Utc>, StoreError> {
        // A write: a standby, or a server whose disk is full, still answers a question.
        let written: Vec<(i64,)> =
            self.ask(sqlx::query_as(include_str!("postgres/ready.sql"))).await?;
        let there = StoreError::Damaged("the row of coupon.layout is lost".to_owned());
        time(written.first().ok_or(there)?.0)
    }

    async fn lead(&self, name: &str) -> Result<Lead, StoreError> {
        type Row = (bool, i64, Option<i64>, Option<Vec<i32>>);
        let lead = sqlx::query_as("SELECT leads, now_us, next_us, opened FROM coupon.lead($1, $2)")
            .bind(name.to_owned())
            .bind(i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX));
        let told: Vec<Row> = self.ask(lead).await?;
        let (leads, now_us, next_us, opened) = told.into_iter().next().ok_or_else(lost)?;
        let opened = opened.unwrap_or_default().into_iter().map(campaign_number);
        Ok(Lead {
            leads,
            now: time(now_us)?,
            opened: opened.collect::<Result<_, _>>()?,
            next: next_us.map(time).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests;
