//! The file of the store: whose it is, who may write, and how it is opened.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::{FlockOperation, flock};

/// Marks a file as ours: "Coup".
const APPLICATION_ID: i64 = 0x436f_7570;
/// The layout this version reads and writes.
pub(super) const LAYOUT: i64 = 2;
/// How long SQLite waits for others that do not know of the lock file, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Codes are worth something, and users have names. SQLite gives its other files the same mode.
const OWNER_ONLY: u32 = 0o600;

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

/// `PATH-lock`, beside SQLite's own `PATH-wal` and `PATH-shm`.
pub(super) fn lock_path(path: &Path) -> PathBuf {
    beside(path, "-lock")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The files that are open, so that it is noticed when their paths lead somewhere else.
///
/// An open file that was deleted or replaced takes writes as before, and nobody will ever see them.
/// A look costs three `stat`, about a microsecond each. (Opening it again would cost the lock: closing
/// any handle of a file gives back all POSIX locks that the process has on it.)
#[derive(Clone, Debug)]
pub(super) struct OpenFiles([(PathBuf, Identity); 3]);

/// Device and inode; nothing where there is no file.
type Identity = Option<(u64, u64)>;

impl OpenFiles {
    /// What the paths of a database in WAL mode lead to now.
    pub(super) fn of(path: &Path) -> Self {
        Self(["", "-wal", "-shm"].map(|ending| {
            let path = beside(path, ending);
            let found = identity(&path);
            (path, found)
        }))
    }

    /// The first path that leads somewhere else by now.
    pub(super) fn gone(&self) -> Option<&Path> {
        let gone = |(path, was): &&(PathBuf, Identity)| identity(path) != *was;
        self.0.iter().find(gone).map(|(path, _)| path.as_path())
    }
}

fn identity(path: &Path) -> Identity {
    path.metadata().ok().map(|found| (found.dev(), found.ino()))
}

/// Refuses what can be told to be no store before anything is created beside it.
pub(super) fn refuse_unusable(path: &Path) -> Result<(), OpenError> {
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
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(OWNER_ONLY).open(path)
}

/// The right to write, among all processes. Given back when dropped, or when the process dies.
pub(super) struct Lock<'a>(&'a File);

impl<'a> Lock<'a> {
    pub(super) fn take(file: &'a File) -> rustix::io::Result<Self> {
        loop {
            match flock(file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                result => return result.map(|()| Self(file)),
            }
        }
    }

    /// Nothing if others hold it all the time.
    pub(super) fn take_within(
        file: &'a File,
        patience: Duration,
    ) -> rustix::io::Result<Option<Self>> {
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

pub(super) fn open_for_writing(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .and_then(|connection| connection.busy_timeout(BUSY_TIMEOUT).map(|()| connection))
        .map_err(|e| OpenError::Io { path: path.into(), reason: e.to_string() })
}

pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Checks whose file it is, and touches nothing in it. Tells whether it is fresh.
pub(super) fn identify(path: &Path, connection: &Connection) -> Result<bool, OpenError> {
    let fail = |e: rusqlite::Error| OpenError::Io { path: path.into(), reason: e.to_string() };
    // One statement, so one moment: somebody else may be laying it out.
    let (application, layout, tables): (i64, i64, i64) = connection
        .query_row(include_str!("identity.sql"), [], |row| {
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
pub(super) fn prepare_file(path: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let fail = |e: rusqlite::Error| OpenError::Io { path: path.into(), reason: e.to_string() };
    let fresh = identify(path, connection)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
    // In WAL mode FULL is what makes a commit wait for the disk.
    connection.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
    if fresh {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        transaction.execute_batch(include_str!("schema.sql")).map_err(fail)?;
        transaction.commit().map_err(fail)?;
    }
    Ok(())
}
