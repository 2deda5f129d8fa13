//! Where evidence comes from: a history, and the store behind the campaign.
//!
//! A store is only ever read, and only after it stood still: see [`settle`].

pub mod history;
pub mod redis;
pub mod settle;
pub mod sqlite;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::evidence::ledger::Ledger;
use crate::wording::{safe, span};
use settle::{Pace, settle};

/// A store that can be read.
#[derive(Debug)]
pub enum Reader {
    /// A SQLite file.
    Sqlite(sqlite::Sqlite),
    /// A Redis server.
    Redis(redis::Redis),
}

/// What two reads have to agree on: counter and rows of each campaign, `None` where the store has
/// no such campaign.
pub type Counts = Vec<Option<(i64, i64)>>;

/// What a store said about the campaigns it was asked for, in their order.
#[derive(Debug)]
pub enum Answer {
    /// It stood still and was read. `None` where it has no such campaign.
    Settled(Vec<Option<Ledger>>),
    /// It never stood still.
    Restless(String),
}

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The store.
    pub url: &'a str,
    /// The folder of the run that names it.
    pub base: Option<&'a Path>,
    /// The campaigns.
    pub campaigns: &'a [&'a str],
}

/// Whether nothing is missing in what was read, so that there is nothing to wait for.
pub type Complete<'a> = dyn Fn(&[Option<Ledger>]) -> bool + 'a;

/// Reads the campaigns from the store, once it has settled.
///
/// # Errors
/// When the store cannot be read.
pub fn read(wanted: &Wanted<'_>, complete: &Complete<'_>, pace: Pace) -> Result<Answer> {
    let name = shown(wanted.url);
    read_settled(wanted, complete, pace).with_context(|| format!("store {name}"))
}

fn read_settled(wanted: &Wanted<'_>, complete: &Complete<'_>, pace: Pace) -> Result<Answer> {
    let reader = RefCell::new(open(wanted.url, wanted.base)?);
    let rest = settle(
        pace,
        || reader.borrow_mut().counts(wanted.campaigns),
        |_| Ok(complete(&reader.borrow_mut().ledgers(wanted.campaigns)?)),
    )?;
    let Some((rest, counts)) = rest else {
        let longest = span(i64::try_from(pace.longest.as_nanos()).unwrap_or(i64::MAX));
        return Ok(Answer::Restless(format!(
            "the store did not come to rest: it still changed after {longest}"
        )));
    };
    let mut ledgers = reader.into_inner().ledgers(wanted.campaigns)?;
    let read: Counts = (ledgers.iter()).map(|l| l.as_ref().map(|l| (l.counter, rows(l)))).collect();
    if read != counts {
        return Ok(Answer::Restless("the store changed again while it was read".into()));
    }
    for ledger in ledgers.iter_mut().flatten() {
        (ledger.settled_after, ledger.unchanged_for) = (rest.after, rest.unchanged);
    }
    Ok(Answer::Settled(ledgers))
}

fn rows(ledger: &Ledger) -> i64 {
    i64::try_from(ledger.rows.len() + ledger.unreadable.len()).unwrap_or(i64::MAX)
}

fn open(url: &str, base: Option<&Path>) -> Result<Reader> {
    if url.contains(":***@") {
        bail!("its password was not recorded: pass --store with the full URL");
    }
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = resolve(path.strip_prefix("//").unwrap_or(path), base);
        return Ok(Reader::Sqlite(sqlite::Sqlite::open(&path)?));
    }
    if url.starts_with("redis:") || url.starts_with("rediss:") {
        return Ok(Reader::Redis(redis::Redis::open(url)?));
    }
    bail!("not a store that can be read: pass sqlite:PATH or redis://HOST:PORT/DB")
}

/// A relative path of `run.json` means the run's folder if the file is there.
fn resolve(path: &str, base: Option<&Path>) -> PathBuf {
    let beside = base.map(|b| b.join(path)).filter(|p| p.exists());
    beside.unwrap_or_else(|| PathBuf::from(path))
}

/// The URL as it may be shown: scheme, host and database, and nothing that may be a secret.
pub fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
    if scheme == "sqlite" {
        return safe(url);
    }
    let (slashes, rest) = rest.strip_prefix("//").map_or(("", rest), |rest| ("//", rest));
    let (rest, query) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    // A question mark within a password cannot be told from the one before a query.
    let rest = if query.contains('@') && !rest.contains('@') { "…" } else { rest };
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    safe(&if scheme.is_empty() { "…".to_owned() } else { format!("{scheme}:{slashes}{place}") })
}

impl Reader {
    fn counts(&mut self, campaigns: &[&str]) -> Result<Counts> {
        match self {
            Self::Sqlite(store) => store.counts(campaigns),
            Self::Redis(store) => store.counts(campaigns),
        }
    }

    fn ledgers(&mut self, campaigns: &[&str]) -> Result<Vec<Option<Ledger>>> {
        match self {
            Self::Sqlite(store) => store.ledgers(campaigns),
            Self::Redis(store) => store.ledgers(campaigns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for (url, want) in [
            ("redis://u:p@ss@h:1/0", "redis://h:1/0"),
            ("redis://u:s?cret@h:1/0", "redis://…"),
            ("redis://h/0?pass=a@b", "redis://…"),
            ("redis://:secret@h/0", "redis://h/0"),
            ("redis:secret@h", "redis:h"),
            ("redis+unix:///run/r.sock?db=1&pass=secret", "redis+unix:///run/r.sock"),
            ("sqlite:a/b.db", "sqlite:a/b.db"),
            ("secret", "…"),
        ] {
            assert_eq!(shown(url), want);
        }
        let error = open("redis://u:***@h/0", None).unwrap_err().to_string();
        assert!(error.contains("--store"), "{error}");
    }

    #[test]
    fn a_path_beside_the_run_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(resolve("x.db", Some(dir.path())), PathBuf::from("x.db"));
        std::fs::write(dir.path().join("x.db"), "").unwrap();
        assert_eq!(resolve("x.db", Some(dir.path())), dir.path().join("x.db"));
    }
}
