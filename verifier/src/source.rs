//! Where evidence comes from: a history, and the store behind the campaign.
//!
//! A store is only ever read, and only after it stood still: see [`settle`].

pub mod history;
pub mod mapped;
pub mod redis;
pub mod results;
pub mod settle;
pub mod sqlite;

use std::borrow::Cow;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use contract::secrets;
use contract::store::{Mapping, Scheme};

use crate::evidence::ledger::Ledgers;
use crate::wording::{safe, span};
use mapped::Mapped;
use settle::{Pace, Standing, settle};

/// A store that can be read.
#[derive(Debug)]
pub enum Reader {
    /// The reference server's SQLite file.
    Sqlite(sqlite::Sqlite),
    /// The reference server's Redis.
    Redis(redis::Redis),
    /// Anybody's stores.
    Mapped(Box<Mapped>),
}

/// What the reference server's counter is called.
const COUNTER: &str = "counter";

/// Numbers that have to stand still, such as counters and how many rows there are; `None` where there
/// is nothing.
pub type Numbers = Vec<Option<i64>>;

/// What two looks at a store have to agree on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The numbers of each campaign, `None` where the store has no such campaign.
    pub numbers: Vec<Option<Numbers>>,
    /// How much work still waits to be written down.
    pub waiting: i64,
}

/// What a store said about the campaigns it was asked for, in their order.
#[derive(Debug)]
pub enum Answer {
    /// It stood still and was read.
    Settled(Ledgers),
    /// It never stood still.
    Restless(String),
}

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The store; absent where a mapping names its own.
    pub url: Option<&'a str>,
    /// How to read it; absent means as the reference server's.
    pub mapping: Option<&'a Mapping>,
    /// The folder of the run that names it.
    pub base: Option<&'a Path>,
    /// The campaigns.
    pub campaigns: &'a [&'a str],
}

/// Takes in what was read, and says whether nothing is missing in it, so that there is nothing to wait
/// for.
pub type Complete<'a> = dyn FnMut(&mut Ledgers) -> Result<bool> + 'a;

/// Reads the campaigns from the store, once it has settled.
///
/// # Errors
/// When the store cannot be read.
pub fn read(wanted: &Wanted<'_>, complete: &mut Complete<'_>, pace: Pace) -> Result<Answer> {
    let name = wanted.url.map_or_else(|| "of the mapping".into(), shown);
    // The variables of a scenario's URL are written down as it spells them.
    let url = wanted.url.map(secrets::expanded_url).transpose().map_err(|what| anyhow!(what));
    let read = |url: Option<Cow<'_, str>>| {
        read_settled(&Wanted { url: url.as_deref(), ..*wanted }, complete, pace)
    };
    url.and_then(read).with_context(|| format!("store {name}"))
}

fn read_settled(wanted: &Wanted<'_>, complete: &mut Complete<'_>, pace: Pace) -> Result<Answer> {
    let reader = RefCell::new(open(wanted)?);
    let mut whole = None;
    let standing = |seen: &Seen| {
        if seen.waiting > 0 {
            return Ok(Standing::Busy);
        }
        let mut ledgers = reader.borrow_mut().ledgers(wanted.campaigns)?;
        let is_complete = complete(&mut ledgers)?;
        whole = is_complete.then_some(ledgers);
        Ok(if is_complete { Standing::Complete } else { Standing::Short })
    };
    let rest = settle(pace, || reader.borrow_mut().observe(wanted.campaigns), standing)?;
    let mut reader = reader.into_inner();
    let Some((rest, seen)) = rest else {
        let longest = span(i64::try_from(pace.longest.as_nanos()).unwrap_or(i64::MAX));
        let seen = reader.observe(wanted.campaigns)?;
        return Ok(Answer::Restless(match seen.waiting {
            0 => format!("the store did not come to rest: it still changed after {longest}"),
            n => format!("the store did not come to rest: after {longest} work still waits ({n})"),
        }));
    };
    // What nothing is missing in need not be read again.
    let mut ledgers = match whole {
        Some(ledgers) => ledgers,
        None => {
            let mut ledgers = reader.ledgers(wanted.campaigns)?;
            complete(&mut ledgers)?;
            ledgers
        }
    };
    if reader.observe(wanted.campaigns)? != seen {
        return Ok(Answer::Restless("the store changed again while it was read".into()));
    }
    for ledger in ledgers.of.iter_mut().flatten() {
        (ledger.settled_after, ledger.unchanged_for) = (rest.after, rest.unchanged);
    }
    Ok(Answer::Settled(ledgers))
}

fn open(wanted: &Wanted<'_>) -> Result<Reader> {
    if let Some(mapping) = wanted.mapping {
        let mapped = Mapped::open(mapping.clone(), wanted.url, wanted.base)?;
        return Ok(Reader::Mapped(Box::new(mapped)));
    }
    let url = wanted.url.unwrap_or_default();
    if url.contains(":***@") {
        bail!("its password was not recorded: pass --store with the full URL");
    }
    if let Some(path) = contract::sqlite::path(url) {
        let path = resolve(path, wanted.base);
        return Ok(Reader::Sqlite(sqlite::Sqlite::open(&path)?));
    }
    if Scheme::of(url) == Some(Scheme::Redis) {
        return Ok(Reader::Redis(redis::Redis::open(url)?));
    }
    bail!(
        "not a store of the reference server: pass sqlite:PATH or redis://HOST:PORT/DB, or say with \
         --mapping FILE how to read it"
    )
}

/// A relative path of `run.json` means the run's folder if the file is there.
pub(crate) fn resolve(path: &str, base: Option<&Path>) -> PathBuf {
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
    fn observe(&mut self, campaigns: &[&str]) -> Result<Seen> {
        match self {
            Self::Sqlite(store) => store.counts(campaigns).map(Seen::of),
            Self::Redis(store) => store.counts(campaigns).map(Seen::of),
            Self::Mapped(stores) => stores.observe(campaigns),
        }
    }

    fn ledgers(&mut self, campaigns: &[&str]) -> Result<Ledgers> {
        match self {
            Self::Sqlite(store) => store.ledgers(campaigns),
            Self::Redis(store) => store.ledgers(campaigns),
            Self::Mapped(stores) => stores.ledgers(campaigns),
        }
    }
}

/// Counter and rows of each campaign, `None` where the store has no such campaign.
pub type Counts = Vec<Option<(i64, i64)>>;

impl Seen {
    fn of(counts: Counts) -> Self {
        let numbers = counts.into_iter().map(|c| c.map(|(a, b)| vec![Some(a), Some(b)])).collect();
        Self { numbers, waiting: 0 }
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
        let (url, mapping) = (Some("redis://u:***@h/0"), None);
        let wanted = Wanted { url, mapping, base: None, campaigns: &[] };
        let error = open(&wanted).unwrap_err().to_string();
        assert!(error.contains("--store"), "{error}");
    }

    #[test]
    fn the_variables_of_a_url_are_filled_in() {
        let read = |url| {
            let wanted = Wanted { url: Some(url), mapping: None, base: None, campaigns: &["7"] };
            let found = read(&wanted, &mut |_| Ok(true), Pace::still(std::time::Duration::ZERO));
            format!("{:#}", found.unwrap_err())
        };
        let missing = read("redis://:${NOT_THERE_AT_ALL}@h");
        assert!(missing.ends_with("expected the environment to have this variable"), "{missing}");
        let other = read("sqlite:${CARGO_MANIFEST_DIR}/Cargo.toml");
        assert!(other.contains("not a SQLite database"), "{other}");
    }

    #[test]
    fn a_path_beside_the_run_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(resolve("x.db", Some(dir.path())), PathBuf::from("x.db"));
        std::fs::write(dir.path().join("x.db"), "").unwrap();
        assert_eq!(resolve("x.db", Some(dir.path())), dir.path().join("x.db"));
    }
}
