//! The reference server's SQLite file, read without leaving a trace in it.
//!
//! A database in WAL mode makes that awkward: even a reader needs the shared-memory file beside it,
//! and SQLite creates one where it is missing. So a database that nobody has open (no such file) is
//! read as immutable if its log is empty, and as a copy if it is not, because an immutable read
//! would ignore the log.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row as SqlRow, Transaction};
use tempfile::TempDir;

use super::{COUNTER, Counts};
use crate::evidence::ledger::{Counter, Ledger, Ledgers, Row};

/// An open database.
#[derive(Debug)]
pub struct Sqlite {
    pub(super) connection: Connection,
    counted: Option<Box<Counted>>,
    /// Holds the copy that is read, where one had to be made.
    _copy: Option<TempDir>,
}

/// What was counted last. Counting ten million rows takes a good part of the time of reading them, and a
/// database in which nobody wrote anything need not be counted again.
#[derive(Debug)]
struct Counted {
    /// SQLite's number for the state of the database; another one once somebody else has written.
    version: i64,
    campaigns: Vec<String>,
    counts: Counts,
}

impl Counted {
    fn are(&self, version: i64, campaigns: &[&str]) -> bool {
        self.version == version && self.campaigns == campaigns
    }
}

/// How a database has to be opened so that it is not touched.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// It may be in use: take part in its locking, read only.
    Shared,
    /// Nobody has it open and everything is in the main file.
    Immutable,
    /// Nobody has it open and some of it is in the log.
    Copy,
}

impl Sqlite {
    /// Opens the database read-only.
    ///
    /// # Errors
    /// When there is no such file, or it is no database.
    pub fn open(path: &Path) -> Result<Self> {
        let way = way(path).context("cannot be opened: pass the server's file as --store")?;
        let mut copy = None;
        let connection = match way {
            Way::Shared => connect(path, "mode=ro")?,
            Way::Immutable => connect(path, "mode=ro&immutable=1")?,
            Way::Copy => {
                let dir = tempfile::tempdir()?;
                let twin = dir.path().join("store.db");
                fs::copy(path, &twin)?;
                fs::copy(beside(path, "-wal"), beside(&twin, "-wal"))?;
                copy = Some(dir);
                connect(&twin, "mode=rw")?
            }
        };
        Ok(Self { connection, counted: None, _copy: copy })
    }

    /// Counter and number of rows of each campaign.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn counts(&mut self, campaigns: &[&str]) -> Result<Counts> {
        // Before counting: whatever is written meanwhile shows in the next one.
        let version = self.connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if let Some(counted) = self.counted.as_ref().filter(|c| c.are(version, campaigns)) {
            return Ok(counted.counts.clone());
        }
        let transaction = self.connection.transaction()?;
        let counted = campaigns.iter().map(|c| counts_of(&transaction, c));
        let counts = counted.collect::<rusqlite::Result<Counts>>()?;
        let campaigns = campaigns.iter().map(|&campaign| campaign.to_owned()).collect();
        self.counted = Some(Box::new(Counted { version, campaigns, counts: counts.clone() }));
        Ok(counts)
    }

    /// Everything about each campaign, as of one moment.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn ledgers(&mut self, campaigns: &[&str]) -> Result<Ledgers> {
        let transaction = self.connection.transaction()?;
        Ledgers::read(campaigns, |campaign| Ok(ledger_of(&transaction, campaign)?))
    }
}

fn way(path: &Path) -> Result<Way> {
    let mut head = [0; 20];
    let read = fs::File::open(path)?.take(20).read(&mut head)?;
    ensure!(read == 0 || head.starts_with(b"SQLite format 3\0"), "not a SQLite database");
    // Bytes 18 and 19 are 2 in WAL mode and 1 otherwise.
    if head[18] != 2 || beside(path, "-shm").exists() {
        return Ok(Way::Shared);
    }
    let log = fs::metadata(beside(path, "-wal")).map_or(0, |m| m.len());
    Ok(if log == 0 { Way::Immutable } else { Way::Copy })
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

fn connect(path: &Path, options: &str) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI;
    let connection =
        Connection::open_with_flags(uri(path, options), flags).context("cannot be opened")?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

/// A file URI: what has a meaning in a URI is escaped.
fn uri(path: &Path, options: &str) -> String {
    let text = path.to_string_lossy();
    let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{escaped}?{options}")
}

fn counts_of(
    transaction: &Transaction<'_>,
    campaign: &str,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let Ok(number) = campaign.parse::<i64>() else { return Ok(None) };
    let query = "SELECT issued, (SELECT count(*) FROM coupons WHERE campaign = number) \
                 FROM campaigns WHERE number = ?1";
    let mut statement = transaction.prepare_cached(query)?;
    statement.query_row([number], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

fn ledger_of(transaction: &Transaction<'_>, campaign: &str) -> rusqlite::Result<Option<Ledger>> {
    let Ok(number) = campaign.parse::<i64>() else { return Ok(None) };
    let query = "SELECT coupons, starts_at_us, per_user_limit, issued \
                 FROM campaigns WHERE number = ?1";
    let mut statement = transaction.prepare_cached(query)?;
    let found = statement.query_row([number], |row| {
        Ok(Ledger {
            coupons: Some(row.get(0)?),
            starts_at_us: Some(row.get(1)?),
            // 0 stands for no limit.
            per_user_limit: row.get::<_, Option<i64>>(2)?.filter(|limit| *limit > 0),
            counters: vec![Counter::issued(COUNTER, row.get(3)?)],
            ..Ledger::default()
        })
    });
    let Some(mut ledger) = found.optional()? else { return Ok(None) };
    let query = "SELECT seq, code, \"user\", \"key\", issued_at_us FROM coupons \
                 WHERE campaign = ?1 ORDER BY seq, code";
    let mut statement = transaction.prepare_cached(query)?;
    let mut found = statement.query([number])?;
    let mut at = 0;
    while let Some(row) = found.next()? {
        at += 1;
        match coupon(row) {
            Ok(row) => ledger.add(row),
            Err(why) => ledger.unreadable.push(format!("row {at}, {why}")),
        }
    }
    Ok(Some(ledger))
}

fn coupon(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let text = |at| row.get::<_, Option<String>>(at).map(|t| t.map(String::into_boxed_str));
    Ok(Row {
        seq: row.get(0)?,
        code: row.get::<_, String>(1)?.into(),
        user: text(2)?,
        key: text(3)?,
        at_us: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = "PRAGMA journal_mode = WAL;
        CREATE TABLE campaigns(number INTEGER PRIMARY KEY, name, coupons, starts_at_us,
            per_user_limit, issued, created_at_us);
        CREATE TABLE coupons(campaign, seq, code, user NULL, key NULL, issued_at_us,
            PRIMARY KEY(campaign, seq));
        INSERT INTO campaigns VALUES (7, 'launch', 3, 1000, NULL, 1, 0);
        INSERT INTO coupons VALUES (7, 1, '가나', 'u1', NULL, 1001);";

    fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
        let mut all: Vec<_> = (fs::read_dir(dir).unwrap())
            .map(|e| e.unwrap().path())
            .map(|p| (p.display().to_string(), fs::read(&p).unwrap()))
            .collect();
        all.sort();
        all
    }

    fn rows(path: &Path) -> usize {
        let mut store = Sqlite::open(path).unwrap();
        assert_eq!(store.counts(&["7", "8", "x"]).unwrap()[1..], [None, None]);
        store.ledgers(&["7"]).unwrap().of.remove(0).unwrap().rows.len()
    }

    #[test]
    fn reads_a_database_that_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let server = Connection::open(&path).unwrap();
        server.execute_batch(SCHEMA).unwrap();
        assert_eq!(way(&path).unwrap(), Way::Shared);
        assert_eq!(rows(&path), 1);
        drop(server);
    }

    #[test]
    fn a_limit_of_0_in_the_servers_own_schema_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let server = Connection::open(&path).unwrap();
        server.execute_batch(include_str!("../../../server/src/store/sqlite/schema.sql")).unwrap();
        let rows = "INSERT INTO campaigns
            (number, name, coupons, starts_at_us, per_user_limit, issued, created_at_us)
            VALUES (7, 'a', 3, 1000, 0, 1, 0), (8, 'b', 3, 1000, 1, 0, 0);
            INSERT INTO coupons (campaign, seq, code, user, issued_at_us)
            VALUES (7, 1, '가나', 'u1', 1001);";
        server.execute_batch(rows).unwrap();
        drop(server);
        let ledgers = Sqlite::open(&path).unwrap().ledgers(&["7", "8"]).unwrap();
        let limits: Vec<_> = ledgers.of.iter().flatten().map(|l| l.per_user_limit).collect();
        assert_eq!(limits, [None, Some(1)]);
        assert_eq!(ledgers.of[0].as_ref().unwrap().rows.len(), 1);
    }

    #[test]
    fn a_row_without_a_code_does_not_end_the_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let server = Connection::open(&path).unwrap();
        server.execute_batch(SCHEMA).unwrap();
        let rows =
            "INSERT INTO coupons VALUES (7, 2, NULL, 'u', NULL, 1), (7, 'x', '다', 'u', NULL, 1)";
        server.execute_batch(rows).unwrap();
        drop(server);
        let ledger = Sqlite::open(&path).unwrap().ledgers(&["7"]).unwrap().of.remove(0).unwrap();
        assert_eq!((ledger.rows.len(), ledger.unreadable.len()), (1, 2));
    }

    #[test]
    fn leaves_a_closed_database_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a #1?.db");
        Connection::open(&path).unwrap().execute_batch(SCHEMA).unwrap();
        let before = files(dir.path());
        assert_eq!(before.len(), 1, "a clean end leaves no log");
        assert_eq!(rows(&path), 1);
        assert_eq!(files(dir.path()), before);
    }

    #[test]
    fn reads_the_log_of_a_database_whose_server_was_killed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, dead) = (dir.path().join("a.db"), dir.path().join("dead"));
        let server = Connection::open(&path).unwrap();
        server.execute_batch(SCHEMA).unwrap();
        fs::create_dir(&dead).unwrap();
        for name in ["a.db", "a.db-wal"] {
            fs::copy(dir.path().join(name), dead.join(name)).unwrap();
        }
        let before = files(&dead);
        assert_eq!(way(&dead.join("a.db")).unwrap(), Way::Copy);
        assert_eq!(rows(&dead.join("a.db")), 1, "the rows are only in the log");
        assert_eq!(files(&dead), before);
    }

    #[test]
    fn what_somebody_writes_is_counted_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let server = Connection::open(&path).unwrap();
        server.execute_batch(SCHEMA).unwrap();
        let mut store = Sqlite::open(&path).unwrap();
        let mut rows = |campaign| store.counts(&[campaign]).unwrap()[0].map(|(_, rows)| rows);
        assert_eq!((rows("7"), rows("7"), rows("8"), rows("7")), (Some(1), Some(1), None, Some(1)));
        server.execute("INSERT INTO coupons VALUES (7, 2, '나', 'u', NULL, 1)", []).unwrap();
        assert_eq!((rows("7"), rows("7")), (Some(2), Some(2)));
        server.execute("DELETE FROM coupons", []).unwrap();
        assert_eq!(rows("7"), Some(0));
    }

    #[test]
    fn a_writer_cannot_be_had() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let server = Connection::open(&path).unwrap();
        server.execute_batch(SCHEMA).unwrap();
        let store = Sqlite::open(&path).unwrap();
        assert!(store.connection.execute("DELETE FROM coupons", []).is_err());
    }

    #[test]
    fn a_foreign_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        fs::write(&path, "hello, world, this is no database").unwrap();
        assert!(format!("{:#}", Sqlite::open(&path).unwrap_err()).contains("not a SQLite"));
        assert!(Sqlite::open(&dir.path().join("none.db")).is_err());
    }
}
