//! Campaigns in one SQLite file that several server processes share.
//!
//! The trick: one writer thread a process takes an exclusive lock on a file beside the database,
//! then everything that waits, and decides it all in one transaction that is on disk before anybody
//! is answered. SQLite's own waiting sleeps and is unfair: without the lock file one process
//! starves the others. The lock dies with its process, the transaction too.

use std::collections::hash_map::{Entry, HashMap};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::Utc;
use contract::wire;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use rustix::fs::{FlockOperation, flock};
use tokio::sync::{mpsc, oneshot};

use super::{Ask, CampaignState, Coupon, Decision, Store, StoreError, limit_flag, time};
use crate::code::{CampaignNumber, random_tail};

/// Most requests that share one transaction.
const BATCH: usize = 256;
/// How often a code is drawn for a coupon. With 52.9 random bits even a second time is rare.
const DRAWS: usize = 16;
/// Marks a file as ours: "Coup".
const APPLICATION_ID: i64 = 0x436f_7570;
/// The layout this version reads and writes.
const LAYOUT: i64 = 1;
/// How long SQLite waits for others that do not know of the lock file, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long opening waits for another process that holds the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Codes are worth something, and users have names. SQLite gives its other files the same mode.
const OWNER_ONLY: u32 = 0o600;

/// A store in one SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: mpsc::Sender<WriteJob>,
    reader: mpsc::Sender<ReadJob>,
}

type ReadJob = Box<dyn FnOnce(&Connection) + Send>;
type WriteJob = Box<dyn Job>;

/// Something to do inside the writer's transaction.
trait Job: Send {
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
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
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&Transaction<'_>, &mut Campaigns) -> Outcome<T> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn work(&mut self, transaction: &Transaction<'_>, campaigns: &mut Campaigns) -> Outcome<()> {
        let work = self.work.take().ok_or_else(lost)?;
        self.result = Some(work(transaction, campaigns)?);
        Ok(())
    }

    fn settle(self: Box<Self>, end: &Outcome<()>) {
        let Self { result, reply, .. } = *self;
        // Nobody may be waiting any more; what is on disk stands.
        let _ = reply.send(end.clone().and_then(|()| result.ok_or_else(lost)));
    }
}

/// Why a file cannot be the store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be opened, read or written.
    #[error("{path}: {reason}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another process keeps the lock on its lock file.
    #[error("another process holds {path}", path = path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
    },
    /// It is a SQLite file of something else.
    #[error("{path} is the SQLite database of another program", path = path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// A version of this server wrote it whose layout this one does not know.
    #[error("{path} has layout {found}, but this version knows only layout {LAYOUT}", path = path.display())]
    Layout {
        /// Which file.
        path: PathBuf,
        /// Its layout.
        found: i64,
    },
}

impl SqliteStore {
    /// Opens the file, or creates it, and starts the threads that work on it.
    ///
    /// At most `capacity` requests wait at a time.
    ///
    /// # Errors
    /// When the file cannot be used or belongs to something else, or when another process holds its
    /// lock for more than ten seconds.
    pub fn open(path: &Path, capacity: usize) -> Result<Self, OpenError> {
        Self::open_within(path, capacity, LOCK_TIMEOUT)
    }

    fn open_within(path: &Path, capacity: usize, patience: Duration) -> Result<Self, OpenError> {
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
        drop(writing);
        let reader = open_for_reading(path).map_err(|e| fail(&e))?;

        let (write_jobs, to_write) = mpsc::channel(capacity.max(1));
        let (read_jobs, mut to_read) = mpsc::channel::<ReadJob>(capacity.max(1));
        spawn("sqlite-writer", move || write(writer, &lock, to_write)).map_err(|e| fail(&e))?;
        spawn("sqlite-reader", move || {
            while let Some(job) = to_read.blocking_recv() {
                job(&reader);
            }
        })
        .map_err(|e| fail(&e))?;
        Ok(Self { writer: write_jobs, reader: read_jobs })
    }

    /// Runs `work` inside the writer's transaction; answers once that is on disk.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &mut Campaigns) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let (reply, answer) = oneshot::channel();
        let task = Task { work: Some(work), result: None, reply };
        enqueue(&self.writer, Box::new(task) as WriteJob)?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = move |connection: &Connection| {
            if !reply.is_closed() {
                let _ = reply.send(work(connection));
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

/// `PATH-lock`, beside SQLite's own `PATH-wal` and `PATH-shm`.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    name.into()
}

/// Refuses what can be told to be no store before anything is created beside it.
fn refuse_unusable(path: &Path) -> Result<(), OpenError> {
    let fail = |reason: String| Err(OpenError::Io { path: path.into(), reason });
    match path.metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return fail(e.to_string()),
        Ok(found) if !found.is_file() => return fail("is not a file".to_owned()),
        // Somebody may be about to lay it out, under the lock.
        Ok(found) if found.len() == 0 => return Ok(()),
        Ok(_) => {}
    }
    let probe = open_for_writing(path)?;
    if probe.is_readonly("main").unwrap_or(false) {
        return fail("it cannot be written".to_owned());
    }
    identify(path, &probe).map(drop)
}

/// Opens a file for appending; creates it for its owner alone.
fn create_private(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(OWNER_ONLY).open(path)
}

/// The right to write, among all processes. Given back when dropped, or when the process dies.
struct Lock<'a>(&'a File);

impl<'a> Lock<'a> {
    fn take(file: &'a File) -> rustix::io::Result<Self> {
        loop {
            match flock(file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                result => return result.map(|()| Self(file)),
            }
        }
    }

    /// Nothing if others hold it all the time.
    fn take_within(file: &'a File, patience: Duration) -> rustix::io::Result<Option<Self>> {
        let deadline = Instant::now() + patience;
        loop {
            match flock(file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Self(file))),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::WOULDBLOCK) => {}
                Err(e) => return Err(e),
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            // There is no flock with a deadline.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // Cannot fail for a file that is locked.
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}

fn open_for_writing(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .and_then(|connection| connection.busy_timeout(BUSY_TIMEOUT).map(|()| connection))
        .map_err(|e| OpenError::Io { path: path.into(), reason: e.to_string() })
}

fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Checks whose file it is, and touches nothing in it. Tells whether it is fresh.
fn identify(path: &Path, connection: &Connection) -> Result<bool, OpenError> {
    let fail = |e: rusqlite::Error| OpenError::Io { path: path.into(), reason: e.to_string() };
    // One statement, so one moment: somebody else may be laying it out.
    let (application, layout, tables): (i64, i64, i64) = connection
        .query_row(include_str!("sqlite/identity.sql"), [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .map_err(fail)?;
    let fresh = application == 0 && layout == 0 && tables == 0;
    if !fresh && application != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.into() });
    }
    if !fresh && layout != LAYOUT {
        return Err(OpenError::Layout { path: path.into(), found: layout });
    }
    Ok(fresh)
}

/// Checks whose file it is before anything in it is touched, and lays out a fresh one.
fn prepare_file(path: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let fail = |e: rusqlite::Error| OpenError::Io { path: path.into(), reason: e.to_string() };
    let fresh = identify(path, connection)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
    // In WAL mode FULL is what makes a commit wait for the disk.
    connection.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
    if fresh {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        transaction.execute_batch(include_str!("sqlite/schema.sql")).map_err(fail)?;
        transaction.commit().map_err(fail)?;
    }
    Ok(())
}

/// The writer thread: until nobody can ask any more.
fn write(mut connection: Connection, lock: &File, mut jobs: mpsc::Receiver<WriteJob>) {
    while let Some(first) = jobs.blocking_recv() {
        let writing = Lock::take(lock);
        // What came while this process waited for its turn belongs to this turn.
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        // Whoever gave up before the store heard of it gets no coupon.
        batch.retain(|job| !job.is_abandoned());
        if batch.is_empty() {
            continue;
        }
        let end = match &writing {
            Ok(_) => run(&mut connection, &mut batch),
            Err(e) => Err(StoreError::Unavailable(format!("the lock file: {e}"))),
        };
        drop(writing);
        batch.into_iter().for_each(|job| job.settle(&end));
    }
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

/// The campaigns that a transaction has met, so that each is read and counted up once.
#[derive(Default)]
pub(crate) struct Campaigns(HashMap<CampaignNumber, Option<Terms>>);

/// What a decision depends on.
pub(crate) struct Terms {
    name: String,
    pub(crate) coupons: u64,
    starts_at_us: i64,
    per_user_limit: bool,
    pub(crate) issued: u64,
    /// The count as it is in the file.
    saved: u64,
}

impl Campaigns {
    /// A campaign's terms, or nothing if there is no such campaign.
    pub(crate) fn terms(
        &mut self,
        transaction: &Connection,
        number: CampaignNumber,
    ) -> rusqlite::Result<Option<&mut Terms>> {
        let terms = match self.0.entry(number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(read_terms(transaction, number)?),
        };
        Ok(terms.as_mut())
    }

    fn save(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        for (number, terms) in &self.0 {
            if let Some(terms) = terms.as_ref().filter(|terms| terms.issued != terms.saved) {
                let mut count = transaction.prepare_cached(include_str!("sqlite/count.sql"))?;
                count.execute(params![number.get(), terms.issued])?;
            }
        }
        Ok(())
    }
}

fn read_terms(connection: &Connection, number: CampaignNumber) -> rusqlite::Result<Option<Terms>> {
    let mut query = connection.prepare_cached(include_str!("sqlite/campaign.sql"))?;
    query
        .query_row([number.get()], |row| {
            Ok(Terms {
                name: row.get(0)?,
                coupons: row.get(1)?,
                starts_at_us: row.get(2)?,
                per_user_limit: row.get(3)?,
                issued: row.get(4)?,
                saved: row.get(4)?,
            })
        })
        .optional()
}

/// The atomic step for one request, inside the writer's transaction.
pub(crate) fn decide(
    transaction: &Transaction<'_>,
    terms: Option<&mut Terms>,
    ask: &Ask,
    mut draw: impl FnMut() -> String,
) -> Outcome<Decision> {
    let Some(terms) = terms else { return Ok(Decision::UnknownCampaign) };
    if terms.per_user_limit && ask.user.is_none() {
        return Ok(Decision::UserMissing);
    }
    if let Some(before) = replay(transaction, terms, ask)? {
        return Ok(Decision::Issued(before));
    }
    // Read after the lock was taken: a request that waited over the start is not too early.
    let now_us = now_us();
    if now_us < terms.starts_at_us {
        return Ok(Decision::NotStarted);
    }
    if terms.per_user_limit
        && let Some(code) = held(transaction, ask).map_err(unavailable)?
    {
        return Ok(Decision::AlreadyIssued { code });
    }
    if terms.issued >= terms.coupons {
        return Ok(Decision::SoldOut);
    }
    let seq = terms.issued + 1;
    for _ in 0..DRAWS {
        let code = ask.campaign.prefix() + &draw();
        if insert(transaction, ask, (seq, &code, now_us)).map_err(unavailable)? {
            terms.issued = seq;
            return terms.coupon(code, seq, now_us).map(Decision::Issued);
        }
    }
    Err(StoreError::Damaged(format!("{DRAWS} times no code was free")))
}

impl Terms {
    fn coupon(&self, code: String, seq: u64, issued_at_us: i64) -> Outcome<Coupon> {
        let remaining = self.coupons.saturating_sub(seq);
        Ok(Coupon { code, seq, remaining, issued_at: time(issued_at_us)? })
    }
}

/// The coupon that this user's key got before.
fn replay(transaction: &Transaction<'_>, terms: &Terms, ask: &Ask) -> Outcome<Option<Coupon>> {
    let Some(key) = &ask.key else { return Ok(None) };
    let found = transaction
        .prepare_cached(include_str!("sqlite/replay.sql"))
        .and_then(|mut query| {
            query
                .query_row(params![ask.campaign.get(), ask.user, key], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()
        })
        .map_err(unavailable)?;
    found.map(|(code, seq, issued_at_us)| terms.coupon(code, seq, issued_at_us)).transpose()
}

/// The code of the coupon that this user holds.
fn held(transaction: &Transaction<'_>, ask: &Ask) -> rusqlite::Result<Option<String>> {
    let mut query = transaction.prepare_cached(include_str!("sqlite/holder.sql"))?;
    query.query_row(params![ask.campaign.get(), ask.user], |row| row.get(0)).optional()
}

/// Writes a coupon into the ledger; `false` if its code is taken.
fn insert(
    transaction: &Transaction<'_>,
    ask: &Ask,
    (seq, code, now_us): (u64, &str, i64),
) -> rusqlite::Result<bool> {
    let mut insert = transaction.prepare_cached(include_str!("sqlite/insert.sql"))?;
    let rows = insert.execute(params![ask.campaign.get(), seq, code, ask.user, ask.key, now_us])?;
    Ok(rows == 1)
}

fn create(transaction: &Transaction<'_>, new: wire::NewCampaign) -> rusqlite::Result<Created> {
    let number: u64 =
        transaction.query_row(include_str!("sqlite/next_number.sql"), [], |row| row.get(0))?;
    let Some(number) = CampaignNumber::new(number) else {
        return Ok(Err(StoreError::CampaignsExhausted));
    };
    let now_us = now_us();
    transaction.prepare_cached(include_str!("sqlite/create.sql"))?.execute(params![
        number.get(),
        new.name,
        new.coupons,
        new.starts_at.timestamp_micros(),
        limit_flag(new.per_user_limit),
        now_us
    ])?;
    Ok(time(now_us).map(|now| CampaignState {
        number,
        name: new.name,
        coupons: new.coupons,
        issued: 0,
        starts_at: new.starts_at,
        per_user_limit: new.per_user_limit.is_some(),
        now,
    }))
}

/// No number being left is no reason to take the others' transaction back.
type Created = Outcome<CampaignState>;

impl Store for SqliteStore {
    async fn create(&self, new: wire::NewCampaign) -> Outcome<CampaignState> {
        self.write(move |transaction, _| create(transaction, new).map_err(unavailable)).await?
    }

    async fn campaign(&self, number: CampaignNumber) -> Outcome<Option<CampaignState>> {
        self.read(move |connection| {
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
                now: time(now_us())?,
            }))
        })
        .await
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
        self.write(move |transaction, campaigns| {
            let terms = campaigns.terms(transaction, ask.campaign).map_err(unavailable)?;
            decide(transaction, terms, &ask, random_tail)
        })
        .await
    }

    async fn ready(&self) -> Outcome<()> {
        // Through the writer, and onto the disk: a store that can only be read cannot issue. The
        // layout is what it was, but saying so again writes a page.
        self.write(|transaction, _| {
            transaction.pragma_update(None, "user_version", LAYOUT).map_err(unavailable)
        })
        .await
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
mod tests {
    use super::*;

    fn new_campaign(coupons: u64) -> wire::NewCampaign {
        wire::NewCampaign {
            name: "launch".to_owned(),
            coupons,
            starts_at: Utc::now() - chrono::Duration::seconds(1),
            per_user_limit: None,
        }
    }

    #[tokio::test]
    async fn a_collision_draws_another_code_and_never_a_coupon() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("coupons.db"), 100).unwrap();
        let campaign = store.create(new_campaign(10)).await.unwrap().number;
        let ask = Ask { campaign, user: None, key: None };
        let draw = |tails: &'static [&'static str]| {
            let ask = ask.clone();
            store.write(move |transaction, campaigns| {
                let mut tails = tails.iter().cycle().map(|&tail| tail.to_owned());
                let terms = campaigns.terms(transaction, ask.campaign).unwrap();
                decide(transaction, terms, &ask, || tails.next().unwrap())
            })
        };
        let (a, b) = ("가가가가가가가", "나나나나나나나");
        let first = draw(&["가가가가가가가"]).await.unwrap();
        assert!(matches!(&first, Decision::Issued(c) if c.seq == 1 && c.code.ends_with(a)));
        assert!(matches!(draw(&["가가가가가가가"]).await, Err(StoreError::Damaged(_))));
        assert_eq!(store.campaign(campaign).await.unwrap().unwrap().issued, 1);
        let next = draw(&["가가가가가가가", "나나나나나나나"]).await.unwrap();
        assert!(matches!(&next, Decision::Issued(c) if c.seq == 2 && c.code.ends_with(b)));
    }

    /// A launch grew slower with every coupon: the plan walked the campaign in order of seq.
    #[test]
    fn a_request_is_found_by_its_user_however_many_coupons_are_issued() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("sqlite/schema.sql")).unwrap();
        for (sql, seek) in [
            (include_str!("sqlite/holder.sql"), "(campaign=? AND user=?)"),
            (include_str!("sqlite/replay.sql"), "(campaign=? AND user=? AND key=?)"),
        ] {
            let sql = format!("EXPLAIN QUERY PLAN {sql}");
            let mut plan = connection.prepare(&sql).unwrap();
            for i in 1..=plan.parameter_count() {
                plan.raw_bind_parameter(i, 1).unwrap();
            }
            let mut rows = plan.raw_query();
            let step: String = rows.next().unwrap().unwrap().get("detail").unwrap();
            assert!(step.starts_with("SEARCH") && step.ends_with(seek), "{step}");
            assert!(rows.next().unwrap().is_none(), "one step, without a sort");
        }
    }

    #[tokio::test]
    async fn a_failure_takes_the_whole_batch_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("coupons.db"), 100).unwrap();
        let campaign = store.create(new_campaign(10)).await.unwrap().number;
        let failed: Outcome<()> = store
            .write(move |transaction, campaigns| {
                let ask = Ask { campaign, user: None, key: None };
                let terms = campaigns.terms(transaction, campaign).unwrap();
                decide(transaction, terms, &ask, random_tail).unwrap();
                Err(StoreError::Damaged("on purpose".to_owned()))
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(store.campaign(campaign).await.unwrap().unwrap().issued, 0);
        assert_eq!(store.ledger(campaign, 0, 10).await, Ok(Some(vec![])));
    }

    /// Holds the writer up until the returned sender is used or dropped.
    async fn hold(store: &SqliteStore) -> std::sync::mpsc::Sender<()> {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (started, start) = oneshot::channel();
        let store = store.clone();
        tokio::spawn(async move {
            store
                .write(move |_, _| {
                    let _ = started.send(());
                    let _ = released.recv();
                    Ok(())
                })
                .await
        });
        start.await.unwrap();
        release
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_an_abandoned_request_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("coupons.db"), 1).unwrap();
        let campaign = store.create(new_campaign(10)).await.unwrap().number;
        let ask = Ask { campaign, user: None, key: None };
        let release = hold(&store).await;

        let abandoned = tokio::time::timeout(Duration::ZERO, store.issue(ask.clone())).await;
        assert!(abandoned.is_err());
        assert_eq!(store.issue(ask.clone()).await, Err(StoreError::Overloaded));
        release.send(()).unwrap();
        store.ready().await.unwrap_or(());
        let coupon = loop {
            match store.issue(ask.clone()).await {
                Err(StoreError::Overloaded) => tokio::task::yield_now().await,
                other => break other.unwrap(),
            }
        };
        assert!(matches!(coupon, Decision::Issued(c) if c.seq == 1));
    }

    #[tokio::test]
    async fn numbers_end_where_codes_cannot_tell_campaigns_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coupons.db");
        let store = SqliteStore::open(&path, 100).unwrap();
        store.create(new_campaign(1)).await.unwrap();
        Connection::open(&path)
            .unwrap()
            .execute("UPDATE campaigns SET number = ?1", [crate::code::CAMPAIGNS])
            .unwrap();
        assert_eq!(store.create(new_campaign(1)).await, Err(StoreError::CampaignsExhausted));
    }

    #[test]
    fn a_newer_layout_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coupons.db");
        drop(SqliteStore::open(&path, 100).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
        let error = SqliteStore::open(&path, 100).unwrap_err();
        assert!(matches!(error, OpenError::Layout { found: 2, .. }), "{error}");
    }

    #[tokio::test]
    async fn being_ready_is_a_write_that_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coupons.db");
        let store = SqliteStore::open(&path, 100).unwrap();
        let other = Connection::open(&path).unwrap();
        let data_version =
            || other.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)).unwrap();
        let wal = || std::fs::metadata(dir.path().join("coupons.db-wal")).unwrap().len();
        let (version, length) = (data_version(), wal());
        store.ready().await.unwrap();
        assert_ne!(data_version(), version, "nothing was committed");
        assert!(wal() > length, "nothing was written");
        assert!(!identify(&path, &other).unwrap());
    }

    fn mode(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn files_are_their_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("coupons.db"), 100).unwrap();
        store.create(new_campaign(1)).await.unwrap();
        for name in ["coupons.db", "coupons.db-wal", "coupons.db-shm", "coupons.db-lock"] {
            assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn nothing_is_left_beside_what_cannot_be_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name| dir.path().join(name);
        std::fs::create_dir(path("folder")).unwrap();
        std::fs::write(path("text"), "not a database, but long enough: ".repeat(40)).unwrap();
        let foreign = Connection::open(path("foreign")).unwrap();
        foreign.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a)").unwrap();
        drop(foreign);
        let names = || {
            let mut names: Vec<_> =
                dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = names();
        for name in ["folder", "text", "foreign", "nowhere/coupons.db", "text/coupons.db"] {
            assert!(SqliteStore::open(&path(name), 100).is_err(), "{name}");
            assert_eq!(names(), before, "{name}");
        }
    }

    #[test]
    fn a_lock_that_another_holds_is_waited_for_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coupons.db");
        let other = create_private(&lock_path(&path)).unwrap();
        let held = Lock::take(&other).unwrap();
        let open = |ms| SqliteStore::open_within(&path, 100, Duration::from_millis(ms));
        let error = open(20).unwrap_err();
        let expected = format!("another process holds {}-lock", path.display());
        assert_eq!(error.to_string(), expected);
        assert!(!path.exists());
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| open(20_000).map(drop));
            drop(held);
            opening.join().unwrap().unwrap();
        });
    }

    #[test]
    fn many_can_create_one_file_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coupons.db");
        std::thread::scope(|scope| {
            let opening: Vec<_> =
                (0..8).map(|_| scope.spawn(|| SqliteStore::open(&path, 100).map(drop))).collect();
            for one in opening {
                one.join().unwrap().unwrap();
            }
        });
    }
}
