//! Where evidence comes from: a history, and the store behind the campaign.
//!
//! A store is only ever read, and only after it stood still: see [`settle`].

pub mod history;
pub mod redis;
pub mod settle;
pub mod sqlite;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::evidence::ledger::Ledger;
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

/// Reads the campaigns from the store, once it has settled.
///
/// # Errors
/// When the store cannot be read.
pub fn read(url: &str, base: Option<&Path>, campaigns: &[&str], pace: Pace) -> Result<Answer> {
    let name = without_password(url);
    read_settled(url, base, campaigns, pace).with_context(|| format!("store {name}"))
}

fn read_settled(url: &str, base: Option<&Path>, campaigns: &[&str], pace: Pace) -> Result<Answer> {
    let mut reader = open(url, base)?;
    let Some((settled_after, counts)) = settle(pace, || reader.counts(campaigns))? else {
        return Ok(Answer::Restless(format!("the store still changed after {:?}", pace.longest())));
    };
    let mut ledgers = reader.ledgers(campaigns)?;
    let read: Counts = (ledgers.iter())
        .map(|l| l.as_ref().map(|l| (l.counter, i64::try_from(l.rows.len()).unwrap_or(i64::MAX))))
        .collect();
    if read != counts {
        return Ok(Answer::Restless("the store changed again while it was read".into()));
    }
    ledgers.iter_mut().flatten().for_each(|l| l.settled_after = settled_after);
    Ok(Answer::Settled(ledgers))
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

/// The URL as it may be shown.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split_once(':').map_or(login, |(user, _)| user);
            format!("{scheme}://{user}:***@{host}")
        }
        None => url.to_owned(),
    }
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
    fn passwords_are_not_shown() {
        assert_eq!(without_password("redis://u:p@ss@h:1/0"), "redis://u:***@h:1/0");
        assert_eq!(without_password("redis://:secret@h/0"), "redis://:***@h/0");
        assert_eq!(without_password("sqlite:a/b.db"), "sqlite:a/b.db");
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
