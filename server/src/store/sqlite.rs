//! Campaigns in one SQLite file that several server processes share.
//!
//! The trick: one writer thread a process takes an exclusive lock on a file beside the database,
//! then everything that waits, and decides it all in one transaction that is on disk before anybody
//! is answered. SQLite's own waiting sleeps and is unfair: without the lock file one process
//! starves the others. The lock dies with its process, the transaction too.

mod file;
mod schedule;
mod step;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use contract::wire;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

pub use file::OpenError;
use file::{
    LAYOUT, Lock, OpenFiles, create_private, lock_path, open_for_reading, open_for_writing,
    prepare_file, refuse_unusable,
};
use step::read_terms;
pub(crate) use step::{Campaigns, decide};

use super::pace::Pace;
use super::{
    Ask, CampaignState, Decision, Lead, Queue, Sharing, Store, StoreError, limit_flag, time,
};
use crate::code::CampaignNumber;
use crate::metrics::metrics;
use crate::traces::StepSpan;

/// Most requests that share one transaction.
const BATCH: usize = 256;
/// How long opening waits for another process that holds the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// A store in one SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: mpsc::Sender<WriteJob>,
    reader: mpsc::Sender<ReadJob>,
    pace: SharedPace,
    patience: Duration,
    /// Most requests that share one transaction.
    batch: usize,
}

/// How a store is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many requests may wait, and for how long.
    pub queue: Queue,
    /// Who shares a transaction.
    pub sharing: Sharing,
}

/// The pace of the writer.
#[derive(Clone, Debug, Default)]
struct SharedPace(Arc<Mutex<Pace>>);

impl SharedPace {
    fn lock(&self) -> MutexGuard<'_, Pace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type ReadJob = Box<dyn FnOnce(Outcome<&Connection>) + Send>;
type WriteJob = Box<dyn Job>;

/// Something to do inside the writer's transaction.
trait Job: Send {
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
    /// The transaction begins, for so many jobs.
    fn begin(&mut self, batch: usize);
    /// Does it. An error takes the whole transaction back.
    fn work(&mut self, transaction: &Transaction<'_>, campaigns: &mut Campaigns) -> Outcome<()>;
    /// Answers, once the transaction has ended this way.
    fn settle(self: Box<Self>, end: &Outcome<()>);
}

type Outcome<T> = Result<T, StoreError>;

struct Task<T, F> {
    work: Option<F>,
    result: Option<T>,
    reply: oneshot::Sender<Outcome<T>>,
    span: StepSpan,
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&Transaction<'_>, &mut Campaigns) -> Outcome<T> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn begin(&mut self, batch: usize) {
        self.span.begin(batch);
    }

    fn work(&mut self, transaction: &Transaction<'_>, campaigns: &mut Campaigns) -> Outcome<()> {
        let work = self.work.take().ok_or_else(lost)?;
        self.result = Some(work(transaction, campaigns)?);
        Ok(())
    }

    fn settle(self: Box<Self>, end: &Outcome<()>) {
        let Self { result, reply, span, .. } = *self;
        span.end(end.is_err());
        // Nobody may be waiting any more; what is on disk stands.
        let _ = reply.send(end.clone().and_then(|()| result.ok_or_else(lost)));
    }
}

impl SqliteStore {
    /// Opens the file, or creates it, and starts the threads that work on it.
    ///
    /// # Errors
    /// When the file cannot be used or belongs to something else, or when another process holds its
    /// lock for more than ten seconds.
    pub fn open(path: &Path, settings: Settings) -> Result<Self, OpenError> {
        Self::open_within(path, settings, LOCK_TIMEOUT)
    }

    fn open_within(path: &Path, settings: Settings, patience: Duration) -> Result<Self, OpenError> {
        let fail =
            |e: &dyn fmt::Display| OpenError::Io { path: path.into(), reason: e.to_string() };
        refuse_unusable(path)?;
        let lock_path = lock_path(path);
        let lock = create_private(&lock_path)
            .map_err(|e| OpenError::Io { path: lock_path.clone(), reason: e.to_string() })?;
        let writing = Lock::take_within(&lock, patience)
            .map_err(|e| fail(&e))?
            .ok_or_else(|| OpenError::Held { path: lock_path.clone() })?;
        if !path.exists() {
            // An empty file is a fresh database. Left to SQLite, everybody could read it.
            create_private(path).map_err(|e| fail(&e))?;
        }
        let mut writer = open_for_writing(path)?;
        prepare_file(path, &mut writer)?;
        let reader = open_for_reading(path).map_err(|e| fail(&e))?;
        let files = OpenFiles::of(path);
        drop(writing);

        let Settings { queue, sharing } = settings;
        let (write_jobs, to_write) = mpsc::channel(queue.capacity.max(1));
        let (read_jobs, mut to_read) = mpsc::channel::<ReadJob>(queue.capacity.max(1));
        let pace = SharedPace::default();
        let batch = sharing.at_most(BATCH);
        let writer =
            Writer { connection: writer, lock, files: files.clone(), pace: pace.clone(), batch };
        spawn("sqlite-writer", move || writer.work_off(to_write)).map_err(|e| fail(&e))?;
        spawn("sqlite-reader", move || {
            while let Some(job) = to_read.blocking_recv() {
                job(there(&files).map(|()| &reader));
            }
        })
        .map_err(|e| fail(&e))?;
        Ok(Self { writer: write_jobs, reader: read_jobs, pace, patience: queue.patience, batch })
    }

    /// Runs `work` inside the writer's transaction; answers once that is on disk.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &mut Campaigns) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let (reply, answer) = oneshot::channel();
        let task = Task { work: Some(work), result: None, reply, span: StepSpan::new() };
        enqueue(&self.writer, Box::new(task) as WriteJob)?;
        metrics().queue.inc();
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Refuses whoever would wait too long.
    fn admit(&self) -> Outcome<()> {
        let waiting = self.writer.max_capacity() - self.writer.capacity();
        // An empty queue never refuses: otherwise a file that was slow once would be so for ever.
        let wait = || self.pace.lock().wait(waiting, self.batch, Instant::now());
        if waiting > 0 && wait() > self.patience { Err(StoreError::Overloaded) } else { Ok(()) }
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = move |connection: Outcome<&Connection>| {
            if !reply.is_closed() {
                let _ = reply.send(connection.and_then(work));
            }
        };
        enqueue(&self.reader, Box::new(job))?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable("the request was lost".to_owned())
}

fn enqueue<T>(queue: &mpsc::Sender<T>, job: T) -> Result<(), StoreError> {
    queue.try_send(job).map_err(|e| match e {
        mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
        mpsc::error::TrySendError::Closed(_) => {
            StoreError::Unavailable("its thread has ended".to_owned())
        }
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// What the writer thread has.
struct Writer {
    connection: Connection,
    lock: File,
    files: OpenFiles,
    pace: SharedPace,
    batch: usize,
}

impl Writer {
    /// Until nobody can ask any more.
    fn work_off(mut self, mut jobs: mpsc::Receiver<WriteJob>) {
        while let Some(first) = jobs.blocking_recv() {
            self.pace.lock().step(Instant::now());
            let writing = Lock::take(&self.lock);
            // What came while this process waited for its turn belongs to this turn.
            let mut batch = vec![first];
            while batch.len() < self.batch
                && let Ok(job) = jobs.try_recv()
            {
                batch.push(job);
            }
            metrics().queue.dec_by(i64::try_from(batch.len()).unwrap_or(i64::MAX));
            // Whoever gave up before the store heard of it gets no coupon.
            batch.retain(|job| !job.is_abandoned());
            if batch.is_empty() {
                self.pace.lock().rest(Instant::now());
                continue;
            }
            metrics().batch.observe(batch.len() as f64);
            let size = batch.len();
            batch.iter_mut().for_each(|job| job.begin(size));
            let end = match &writing {
                Ok(_) => there(&self.files).and_then(|()| run(&mut self.connection, &mut batch)),
                Err(e) => Err(StoreError::Unavailable(format!("the lock file: {e}"))),
            };
            drop(writing);
            batch.into_iter().for_each(|job| job.settle(&end));
            self.pace.lock().rest(Instant::now());
        }
    }
}

/// Refuses to work on files that nobody else can see any more.
fn there(files: &OpenFiles) -> Outcome<()> {
    let Some(path) = files.gone() else { return Ok(()) };
    Err(StoreError::Unavailable(format!(
        "{} was deleted, moved or replaced while it was open: put it back, or stop all servers before one starts anew",
        path.display()
    )))
}

/// One transaction for the whole batch. Dropped before its commit it takes everything back.
fn run(connection: &mut Connection, batch: &mut [WriteJob]) -> Outcome<()> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(unavailable)?;
    let mut campaigns = Campaigns::default();
    for job in batch {
        job.work(&transaction, &mut campaigns)?;
    }
    campaigns.save(&transaction).map_err(unavailable)?;
    transaction.commit().map_err(unavailable)
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
fn unavailable(error: rusqlite::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// The clock of this store: the wall clock of the machine that all its servers share.
fn now_us() -> i64 {
    Utc::now().timestamp_micros()
}

/// Creates a campaign, or finds the one that this key created.
fn create(
    transaction: &Transaction<'_>,
    new: &wire::NewCampaign,
    key: Option<&str>,
) -> rusqlite::Result<Option<CampaignNumber>> {
    let before = transaction
        .prepare_cached(include_str!("sqlite/created_before.sql"))?
        .query_row([key], |row| row.get(0))
        .optional()?;
    if let Some(number) = before {
        return Ok(CampaignNumber::new(number));
    }
    let next =
        transaction.query_row(include_str!("sqlite/next_number.sql"), [], |row| row.get(0))?;
    let Some(number) = CampaignNumber::new(next) else { return Ok(None) };
    transaction.prepare_cached(include_str!("sqlite/create.sql"))?.execute(params![
        number.get(),
        new.name,
        new.coupons,
        new.starts_at.timestamp_micros(),
        limit_flag(new.per_user_limit),
        now_us(),
        key
    ])?;
    Ok(Some(number))
}

/// A campaign as it is at this moment of the connection.
fn campaign(connection: &Connection, number: CampaignNumber) -> Outcome<Option<CampaignState>> {
    let Some(terms) = read_terms(connection, number).map_err(unavailable)? else {
        return Ok(None);
    };
    Ok(Some(CampaignState {
        number,
        name: terms.name,
        coupons: terms.coupons,
        issued: terms.issued,
        starts_at: time(terms.starts_at_us)?,
        per_user_limit: terms.per_user_limit,
        opened_at: terms.opened_at_us.map(time).transpose()?,
        cancelled: terms.cancelled,
        now: time(now_us())?,
    }))
}

impl Store for SqliteStore {
    async fn create(&self, new: wire::NewCampaign, key: Option<String>) -> Outcome<CampaignState> {
        let number = self
            .write(move |transaction, _| {
                create(transaction, &new, key.as_deref()).map_err(unavailable)
            })
            .await?;
        let state = self.campaign(number.ok_or(StoreError::CampaignsExhausted)?).await?;
        state.ok_or_else(|| StoreError::Damaged("a new campaign is not there".to_owned()))
    }

    async fn campaign(&self, number: CampaignNumber) -> Outcome<Option<CampaignState>> {
        self.read(move |connection| campaign(connection, number)).await
    }

    async fn cancel(&self, number: CampaignNumber) -> Outcome<Option<CampaignState>> {
        self.write(move |transaction, campaigns| {
            transaction
                .prepare_cached(include_str!("sqlite/cancel.sql"))
                .and_then(|mut cancel| cancel.execute(params![number.get(), now_us()]))
                .map_err(unavailable)?;
            // Whoever is decided later in this transaction has to see it.
            if let Some(terms) = campaigns.terms(transaction, number).map_err(unavailable)? {
                terms.cancelled = true;
            }
            Ok(())
        })
        .await?;
        self.campaign(number).await
    }

    async fn ledger(
        &self,
        number: CampaignNumber,
        after: u64,
        limit: u32,
    ) -> Outcome<Option<Vec<wire::LedgerRow>>> {
        self.read(move |connection| {
            // Campaigns are never deleted, so two statements need no transaction.
            if read_terms(connection, number).map_err(unavailable)?.is_none() {
                return Ok(None);
            }
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            ledger(connection, params![number.get(), after, limit]).map(Some)
        })
        .await
    }

    async fn issue(&self, ask: Ask) -> Outcome<Decision> {
        self.admit()?;
        self.write(move |transaction, campaigns| {
            let terms = campaigns.terms(transaction, ask.campaign).map_err(unavailable)?;
            decide(transaction, terms, &ask, || ask.campaign.random_code())
        })
        .await
    }

    async fn ready(&self) -> Outcome<DateTime<Utc>> {
        // Through the writer, and onto the disk: a store that can only be read cannot issue. The
        // layout is what it was, but saying so again writes a page.
        self.write(|transaction, _| {
            transaction.pragma_update(None, "user_version", LAYOUT).map_err(unavailable)
        })
        .await?;
        // Only now: whatever waited for the disk did not wait for this.
        time(now_us())
    }

    async fn lead(&self, name: &str) -> Outcome<Lead> {
        let name = name.to_owned();
        self.write(move |transaction, _| schedule::lead(transaction, &name)).await
    }
}

fn ledger(
    connection: &Connection,
    parameters: &[&dyn rusqlite::ToSql],
) -> Outcome<Vec<wire::LedgerRow>> {
    let mut query =
        connection.prepare_cached(include_str!("sqlite/ledger.sql")).map_err(unavailable)?;
    let mut rows = query.query(parameters).map_err(unavailable)?;
    let mut page = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        page.push(wire::LedgerRow {
            seq: row.get(0).map_err(unavailable)?,
            code: row.get(1).map_err(unavailable)?,
            user: row.get(2).map_err(unavailable)?,
            issued_at: time(row.get(3).map_err(unavailable)?)?,
        });
    }
    Ok(page)
}

#[cfg(test)]
mod tests;
