//! Campaigns in one PostgreSQL database that any number of servers share.
//!
//! The trick: the step is one call of a function that locks the campaign's row first. It is a
//! transaction by itself, so a server that hangs or dies between two statements holds no lock that
//! the others wait for, and one way there and back is all that a batch takes.
//!
//! Nothing here sends an issue twice. When a call fails nobody knows whether it had an effect, and
//! the answer says so.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::wire;
use sqlx::error::DatabaseError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPoolOptions, PgRow};
use sqlx::query::QueryAs;
use sqlx::{ConnectOptions, Connection, FromRow, PgPool, Postgres};
use tokio::sync::oneshot;

use super::gather::{Attempt, Job, Served, Tails, Waiting, fail_all, with_free_codes};
use super::{
    Ask, CampaignState, Coupon, Decision, LEASE, Lead, Store, StoreError, limit_flag, time,
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
/// The layout this version reads and writes.
const LAYOUT: i32 = 2;
/// What stands in the database.
const SCRIPTS: [&str; 3] = [
    include_str!("postgres/schema.sql"),
    include_str!("postgres/issue.sql"),
    include_str!("postgres/lead.sql"),
];
/// Whoever lays the database out has this advisory lock: "Coup".
const LAYING_OUT: i64 = 0x436f_7570;
/// How long connecting waits for another server that lays the database out.
const LOCK_TIMEOUT: &str = "10s";
/// A connection for steps that was idle for so long is tried before it is used, others always.
const TRUSTED: Duration = Duration::from_secs(1);
/// What PostgreSQL says when a sequence is at its end.
const SEQUENCE_ENDS: &str = "2200H";

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
    /// How many requests may wait at a time.
    pub capacity: usize,
    /// An answer that takes longer counts as none.
    pub timeout: Duration,
    /// Who shares a step.
    pub sharing: Sharing,
    /// Certificates in PEM: whom they sign is trusted, besides whom the system trusts.
    pub ca: Option<Vec<u8>>,
}

/// Who shares a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All requests that wait for the campaign at that moment.
    Gathered,
    /// Nobody: each request locks the row for itself, over a connection of its own.
    Alone,
}

/// Why a database cannot be the store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be reached, read or written.
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    /// It does not keep text in UTF-8, and codes are Hangul.
    #[error("the database keeps text as {0}; create one with ENCODING 'UTF8'")]
    Encoding(String),
    /// A version of this server wrote it whose layout this one does not know.
    #[error("its schema \"coupon\" has layout {0}, but this version knows only layout {LAYOUT}")]
    Layout(i32),
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
        let (steps, batch) = match settings.sharing {
            Sharing::Gathered => (STEPS, BATCH),
            Sharing::Alone => (STEPS_ALONE, 1),
        };
        let readers = pool(READERS, Duration::ZERO, settings.timeout, options.clone());
        // A database that refuses these settings is no store.
        drop(readers.acquire().await?);
        Ok(Self(Arc::new(Inner {
            steps: pool(steps, TRUSTED, settings.timeout, options),
            readers,
            waiting: Waiting::new(settings.capacity, batch),
            settings,
        })))
    }

    async fn decide(&self, ask: Ask, tails: Tails) -> Attempt {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job { ask, tails, reply })?;
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
                Err(e) => fail_all(batch, &failed(e)),
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
/// What the step says of a request, see `issue.sql`.
pub(crate) type Told = (String, String, i64, i64, i64);

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
        let prefix = campaign.prefix();
        let each = |text: fn(&Ask) -> &str| -> Vec<String> {
            batch.iter().map(|job| text(&job.ask).to_owned()).collect()
        };
        let (users, holders) = (each(Ask::sent), each(Ask::holder));
        let keys = each(|ask| ask.key.as_deref().unwrap_or_default());
        let tails = batch.iter().flat_map(|job| &job.tails);
        let codes: Vec<String> = tails.map(|tail| format!("{prefix}{tail}")).collect();
        let step = sqlx::query_as(include_str!("postgres/step.sql"));
        let step: Asked<Told> =
            step.bind(number(campaign)).bind(users).bind(holders).bind(keys).bind(codes);
        match self.fetch(connection, step).await {
            Ok(told) => {
                reply_all(batch, told);
                true
            }
            Err(e) => {
                fail_all(batch, &failed(e));
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

fn pool(
    connections: u32,
    trusted: Duration,
    timeout: Duration,
    options: PgConnectOptions,
) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        // Nobody waits for one to be made in the middle of a launch.
        .min_connections(connections)
        .acquire_timeout(timeout)
        .test_before_acquire(false)
        .before_acquire(move |connection, known| {
            Box::pin(async move {
                if known.idle_for > trusted {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// Checks whose schema it is, and lays out a database that has none.
async fn prepare(options: &PgConnectOptions) -> Result<(), OpenError> {
    let patient = options.clone().options([("lock_timeout", LOCK_TIMEOUT)]);
    let mut connection: PgConnection = patient.connect().await?;
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LAYING_OUT)
        .execute(&mut *transaction)
        .await?;
    let (encoding, there): (String, bool) =
        sqlx::query_as(include_str!("postgres/identity.sql")).fetch_one(&mut *transaction).await?;
    if encoding != "UTF8" {
        return Err(OpenError::Encoding(encoding));
    }
    if !there {
        for script in SCRIPTS {
            sqlx::raw_sql(script).execute(&mut *transaction).await?;
        }
    }
    let (layout,): (i32,) =
        sqlx::query_as("SELECT version FROM coupon.layout").fetch_one(&mut *transaction).await?;
    if layout != LAYOUT {
        return Err(OpenError::Layout(layout));
    }
    transaction.commit().await?;
    // It was only asked; how it ends does not matter.
    let _ = connection.close().await;
    Ok(())
}

fn lost() -> StoreError {
    StoreError::Unavailable("the request was lost".to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
pub(crate) fn failed(error: sqlx::Error) -> StoreError {
    match error.as_database_error().and_then(DatabaseError::code) {
        Some(code) if code == SEQUENCE_ENDS => StoreError::CampaignsExhausted,
        Some(_) | None => StoreError::Unavailable(error.to_string()),
    }
}

/// A campaign's number as the tables have it.
pub(crate) fn number(campaign: CampaignNumber) -> i32 {
    // There are fewer than 7 million.
    i32::try_from(campaign.get()).unwrap_or(i32::MAX)
}

/// A number that is never negative.
fn count(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Damaged(format!("{number} is not a count")))
}

fn reply_all(batch: Vec<Job>, told: Vec<Told>) {
    // The function answers for no request when there is no such campaign.
    if told.is_empty() {
        for job in batch {
            let _ = job.reply.send(Ok(Some(Decision::UnknownCampaign)));
        }
        return;
    }
    if told.len() != batch.len() {
        let error =
            StoreError::Damaged(format!("{} decisions about {} requests", told.len(), batch.len()));
        return fail_all(batch, &error);
    }
    for (job, told) in batch.into_iter().zip(told) {
        // Nobody may be waiting any more; the decision stands.
        let _ = job.reply.send(decision(told));
    }
}

/// A decision as the function returns it; `None` stands for a collision of all codes.
pub(crate) fn decision((what, code, seq, at_us, coupons): Told) -> Attempt {
    Ok(Some(match what.as_str() {
        "issued" => Decision::Issued(Coupon {
            code,
            seq: count(seq)?,
            remaining: count(coupons)?.saturating_sub(count(seq)?),
            issued_at: time(at_us)?,
        }),
        "already_issued" => Decision::AlreadyIssued { code },
        "sold_out" => Decision::SoldOut,
        "cancelled" => Decision::Cancelled,
        "not_started" => Decision::NotStarted,
        "user_missing" => Decision::UserMissing,
        "collision" => return Ok(None),
        _ => return Err(StoreError::Damaged(format!("the function said {what:?}"))),
    }))
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
        with_free_codes(|tails| self.decide(ask.clone(), tails)).await
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

/// A campaign's number as the tables have it.
fn campaign_number(number: i32) -> Result<CampaignNumber, StoreError> {
    let known = u64::try_from(number).ok().and_then(CampaignNumber::new);
    known.ok_or_else(|| StoreError::Damaged(format!("{number} is no campaign's number")))
}

#[cfg(test)]
mod tests;
