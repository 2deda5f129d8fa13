//! Anybody's stores, read as a mapping says.
//!
//! Each place gives the same two things, a number or rows, so that what is made of them is the same
//! for all of them.

pub mod http;
mod postgres;
pub mod redis;
mod row;
pub mod sql;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use contract::store::{Column, Mapping, Meaning, Reading, Scheme, Source, URLS};

use super::{Numbers, Seen, resolve, shown};
use crate::evidence::ledger::{Count, Counter, Ledger, Ledgers, Row};
use crate::wording::{safe, span};
use http::Http;
use redis::{Keys, Kind};
pub use row::Entry;
use sql::Sql;

/// So many keys of a pattern are asked how long they live.
const MOST_LIFETIMES: usize = 100;

/// The stores of a mapping.
#[derive(Debug)]
pub struct Mapped {
    mapping: Mapping,
    stores: Vec<Store>,
    /// Which of them each reading reads.
    of: Vec<usize>,
}

#[derive(Debug)]
struct Store {
    url: String,
    open: Open,
}

/// A store that can be read.
#[derive(Debug)]
enum Open {
    Redis(Keys),
    Sql(Sql),
    Http(Box<Http>),
}

/// What can be said of rows as a whole.
#[derive(Debug, Default)]
pub struct Listed {
    /// Whether the place where they stand is there.
    pub there: bool,
    /// Which columns they tell.
    pub columns: Vec<Column>,
}

/// Takes one row after the other, and which columns they tell.
pub type EachRow<'a> = &'a mut dyn FnMut(&[Column], Entry);

impl Mapped {
    /// Opens every store. `url` stands for the mapping's own, and counts before it.
    ///
    /// # Errors
    /// When one cannot be reached.
    pub fn open(mapping: Mapping, url: Option<&str>, base: Option<&Path>) -> Result<Self> {
        let mut stores: Vec<Store> = Vec::new();
        let mut of = Vec::new();
        for (at, reading) in mapping.read.iter().enumerate() {
            let place = || format!("read[{at}]");
            let own = reading.url.as_ref().map(|own| own.expanded());
            let general = || mapping.url.as_ref().map(|general| general.expanded());
            let url = own.or_else(|| url.map(|url| Ok(url.to_owned()))).or_else(general);
            let url = url.ok_or_else(|| anyhow!("expected a `url` there, or --store"));
            let url = url.and_then(|url| url.map_err(|what| anyhow!(what))).with_context(place)?;
            let known = stores.iter().position(|store| store.url == url);
            of.push(match known {
                Some(known) => known,
                None => {
                    let open = open(&url, base).with_context(|| shown(&url))?;
                    stores.push(Store { url: url.clone(), open });
                    stores.len() - 1
                }
            });
            let scheme = Scheme::of(&url).ok_or_else(|| anyhow!("expected {URLS}"))?;
            reading.from.check(scheme).map_err(|what| anyhow!(what)).with_context(place)?;
        }
        Ok(Self { mapping, stores, of })
    }

    /// The readings, in their order.
    pub fn readings(&self) -> &[Reading] {
        &self.mapping.read
    }

    /// The stores, as they may be shown.
    pub fn urls(&self) -> Vec<String> {
        self.stores.iter().map(|store| shown(&store.url)).collect()
    }

    /// All numbers of each campaign: those that must stand still.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub fn observe(&mut self, campaigns: &[&str]) -> Result<Seen> {
        self.at_one_moment(|this| {
            let mut seen = Seen::default();
            for campaign in campaigns {
                let numbers = this.numbers(campaign)?;
                let waiting = this.mapping.read.iter().zip(&numbers);
                let waiting = waiting.filter(|(reading, _)| reading.is == Meaning::Waiting);
                // A reading that is not about a campaign says the same for each.
                seen.waiting = seen.waiting.max(waiting.filter_map(|(_, number)| *number).sum());
                seen.numbers.push(Some(numbers));
            }
            Ok(seen)
        })
    }

    fn numbers(&mut self, campaign: &str) -> Result<Numbers> {
        (0..self.of.len()).map(|at| self.number(at, campaign)).collect()
    }

    /// Everything about each campaign. `None` where nothing of what the mapping names is there.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub fn ledgers(&mut self, campaigns: &[&str]) -> Result<Ledgers> {
        self.at_one_moment(|this| Ledgers::read(campaigns, |campaign| this.ledger(campaign)))
    }

    /// Each database is read as of one moment. Two stores never are.
    pub(crate) fn at_one_moment<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.each_database(Sql::begin)?;
        let found = read(self);
        let ended = self.each_database(Sql::end);
        let found = found?;
        ended.map(|()| found)
    }

    fn each_database(&mut self, mut act: impl FnMut(&mut Sql) -> Result<()>) -> Result<()> {
        self.stores.iter_mut().try_for_each(|store| match &mut store.open {
            Open::Sql(sql) => act(sql).with_context(|| shown(&store.url)),
            Open::Redis(_) | Open::Http(_) => Ok(()),
        })
    }

    /// The number of a reading; of a ledger how many rows it has.
    ///
    /// # Errors
    /// When the store cannot be read, or what stands there is no number.
    pub fn number(&mut self, at: usize, campaign: &str) -> Result<Option<i64>> {
        let reading = &self.mapping.read[at];
        let found = match (&mut self.stores[self.of[at]].open, &reading.from) {
            (Open::Sql(sql), Source::Sql(query)) if reading.is == Meaning::Ledger => {
                sql.count(query, campaign).map(Some)
            }
            (Open::Sql(sql), Source::Sql(query)) => sql.number(query, campaign),
            (Open::Redis(redis), Source::Redis(key)) => redis.number(reading, key, campaign),
            (Open::Http(http), Source::Http(list)) => http.number(list, campaign),
            (Open::Sql(_) | Open::Redis(_) | Open::Http(_), _) => Ok(None),
        };
        found.with_context(|| reading.label())
    }

    /// The rows of a reading, one after the other: they may be more than memory holds.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn rows(&mut self, at: usize, campaign: &str, each: EachRow<'_>) -> Result<Listed> {
        let reading = &self.mapping.read[at];
        let mut some = false;
        let mut each = |columns: &[Column], row: Entry| {
            some = true;
            each(columns, row);
        };
        let told = match (&mut self.stores[self.of[at]].open, &reading.from) {
            (Open::Sql(sql), Source::Sql(query)) => {
                sql.rows(reading, query, campaign, &mut each).map(|columns| (None, columns))
            }
            (Open::Redis(redis), Source::Redis(key)) => {
                let patterns = [Some(&key.key), key.field.as_ref(), key.value.as_ref()];
                let captured = patterns.into_iter().flatten().flat_map(|p| p.columns());
                let columns: Vec<Column> =
                    captured.chain(reading.columns.keys().copied()).collect();
                let mut take = |row: Entry| each(&columns, row);
                let there = redis.rows(reading, key, campaign, &mut take);
                there.map(|there| (Some(there), columns))
            }
            (Open::Http(http), Source::Http(list)) => {
                let columns: Vec<Column> = reading.columns.keys().copied().collect();
                let mut take = |row: Entry| each(&columns, row);
                let there = http.rows(reading, list, campaign, &mut take);
                there.map(|there| (Some(there), columns))
            }
            (Open::Sql(_) | Open::Redis(_) | Open::Http(_), _) => Ok((None, Vec::new())),
        };
        let (there, columns) = told.with_context(|| reading.label())?;
        Ok(Listed { there: there.unwrap_or(some), columns })
    }

    fn ledger(&mut self, campaign: &str) -> Result<Option<Ledger>> {
        let mut ledger =
            Ledger { unlisted: true, lacks: Column::ALL.to_vec(), ..Ledger::default() };
        let mut there = false;
        for at in 0..self.of.len() {
            let (is, name) = (self.mapping.read[at].is, self.mapping.read[at].label());
            if is == Meaning::Ledger {
                let mut row = 0;
                let found = self.rows(at, campaign, &mut |columns, entry| {
                    row += 1;
                    if row == 1 {
                        ledger.list(columns);
                    }
                    ledger.take(row, entry);
                })?;
                there |= found.there;
                ledger.list(&found.columns);
                continue;
            }
            let number = self.number(at, campaign)?;
            there |= number.is_some();
            match number {
                Some(number) => self.note_number(at, name, number, &mut ledger),
                None if is == Meaning::Waiting => {}
                None => ledger.notes.push(format!("{name}: nothing there")),
            }
        }
        if !there {
            return Ok(None);
        }
        self.settings(campaign, &mut ledger)?;
        Ok(Some(ledger))
    }

    fn note_number(&self, at: usize, name: String, number: i64, ledger: &mut Ledger) {
        let reading = &self.mapping.read[at];
        let says = match reading.is {
            Meaning::Total => {
                ledger.coupons = Some(number);
                return;
            }
            Meaning::Issued => Count::Issued(number),
            Meaning::Remaining => Count::Left(number),
            Meaning::Waiting | Meaning::Ledger => return,
        };
        ledger.counters.push(Counter { name, says, may_overshoot: reading.may_overshoot });
    }

    /// Notes how the stores are set up so that they may forget.
    fn settings(&mut self, campaign: &str, ledger: &mut Ledger) -> Result<()> {
        for (at, store) in self.stores.iter_mut().enumerate() {
            let told = match &mut store.open {
                Open::Redis(redis) => of_redis(redis),
                Open::Sql(sql) => sql.settings(),
                Open::Http(_) => Err(anyhow!("HTTP does not tell them")),
            };
            ledger.note_settings(&shown(&store.url), told);
            let Open::Redis(redis) = &mut store.open else { continue };
            for (reading, _) in self.mapping.read.iter().zip(&self.of).filter(|(_, of)| **of == at)
            {
                if let Source::Redis(key) = &reading.from {
                    ledger.settings.extend(lifetimes(redis, &key.key.of_campaign(campaign))?);
                }
            }
        }
        Ok(())
    }
}

/// Every key that does not stay, the shortest-lived for all of a pattern.
pub(super) fn lifetimes(
    redis: &mut Keys,
    pattern: &contract::store::Pattern,
) -> Result<Option<String>> {
    let names = match pattern.whole() {
        Some(name) => vec![name.to_owned()],
        None => redis.keys(pattern)?,
    };
    let mut shortest = None;
    for name in names.into_iter().take(MOST_LIFETIMES) {
        if let Some(lifetime) = redis.lifetime(&name)? {
            let this = (lifetime, name);
            shortest = Some(shortest.map_or(this.clone(), |other: (_, _)| other.min(this)));
        }
    }
    Ok(shortest.map(|(lifetime, name)| {
        let ns = i64::try_from(lifetime.as_nanos()).unwrap_or(i64::MAX);
        format!("{}: the key expires in {}", safe(&name), span(ns))
    }))
}

/// What of a Redis' settings lets it forget.
///
/// # Errors
/// When they may not be asked for.
pub(super) fn of_redis(redis: &mut Keys) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let (policy, most) = (redis.setting("maxmemory-policy")?, redis.setting("maxmemory")?);
    if policy != "noeviction" {
        let when = if most == "0" { "once maxmemory is set" } else { "when memory is full" };
        found.push(format!("maxmemory-policy is {policy}: keys may be evicted {when}"));
    }
    if redis.setting("appendonly")? != "yes" {
        found.push(match redis.setting("save")?.as_str() {
            "" => "nothing is persisted (appendonly no, save \"\"): a restart forgets everything"
                .into(),
            save => {
                format!("appendonly is no: a crash forgets all since the last snapshot ({save})")
            }
        });
    } else if redis.setting("appendfsync")? != "always" {
        found.push(
            "appendfsync is not always: a crash of its machine forgets the last second".into(),
        );
    }
    Ok(found)
}

fn open(url: &str, base: Option<&Path>) -> Result<Open> {
    if url.contains(":***@") {
        bail!(
            "its password was not recorded: write it as a variable, ${{NAME}}, or pass --store or \
             --mapping with the full URL"
        );
    }
    let path = resolve(contract::sqlite::path(url).unwrap_or_default(), base);
    match Scheme::of(url) {
        Some(Scheme::Redis) => Keys::open(url).map(Open::Redis),
        Some(Scheme::Http) => Http::open(url).map(|http| Open::Http(Box::new(http))),
        Some(scheme @ (Scheme::Postgres | Scheme::MySql | Scheme::Sqlite)) => {
            Sql::open(url, scheme, &path).map(Open::Sql)
        }
        None => bail!("expected {URLS}"),
    }
}

impl Ledger {
    /// Takes what a store told of its settings.
    pub(super) fn note_settings(&mut self, store: &str, told: Result<Vec<String>>) {
        match told {
            Ok(told) => {
                self.settings.extend(told.into_iter().map(|what| format!("{store}: {what}")))
            }
            Err(why) => {
                self.unseen_settings
                    .push(format!("the settings of {store} are not known: {why:#}"));
            }
        }
    }

    /// Rows are known, and tell these columns.
    fn list(&mut self, columns: &[Column]) {
        self.unlisted = false;
        self.lacks.retain(|column| !columns.contains(column));
    }

    /// Takes a row.
    fn take(&mut self, at: i64, row: Entry) {
        match row.and_then(|row| self.row(at, row)) {
            Ok((row, order)) => {
                self.add(row);
                // By their codes they are found without.
                if !self.tells(Column::Code) {
                    self.orders.push(order);
                }
            }
            Err(why) => self.unreadable.push(format!("row {at}: {why}")),
        }
    }

    fn row(
        &self,
        at: i64,
        mut told: BTreeMap<Column, String>,
    ) -> Result<(Row, Option<Box<str>>), String> {
        let mut take = |column| told.remove(&column).map(String::into_boxed_str);
        let code = match take(Column::Code) {
            Some(code) => code,
            None if self.tells(Column::Code) => return Err("it has no code".into()),
            None => "".into(),
        };
        let seq = match take(Column::Seq) {
            Some(seq) => seq.parse().map_err(|_| format!("its rank is {seq:?}"))?,
            None if self.tells(Column::Seq) => return Err("it has no rank".into()),
            None => at,
        };
        let (user, key, order) = (take(Column::User), take(Column::Key), take(Column::Order));
        Ok((Row { seq, code, user, key, at_us: 0 }, order))
    }
}

/// The type of a key, in words.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::None => "nothing",
        Kind::String => "string",
        Kind::Set => "set",
        Kind::Hash => "hash",
        Kind::Sorted => "zset",
        Kind::List => "list",
        Kind::Stream => "stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::ledger::MOST_HELD;

    #[test]
    fn rows_that_are_too_many_are_not_held() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let rows = format!(
            "CREATE TABLE given(code TEXT, n INTEGER);
             WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n <= {MOST_HELD})
             INSERT INTO given SELECT printf('%08d', n), n FROM n"
        );
        rusqlite::Connection::open(&path).unwrap().execute_batch(&rows).unwrap();
        let read = "read: [{ is: ledger, sql: \"SELECT code, n AS seq FROM given\" }]";
        let file = dir.path().join("mapping.yaml");
        std::fs::write(&file, read).unwrap();
        let mapping = Mapping::load(&file).unwrap();
        let url = format!("sqlite:{}", path.display());
        let mut mapped = Mapped::open(mapping, Some(&url), None).unwrap();
        let ledgers = mapped.ledgers(&["7"]).unwrap();
        let ledger = ledgers.of[0].as_ref().unwrap();
        assert_eq!((ledger.count(), ledger.rows.len()), (MOST_HELD + 1, 0));
        assert!(ledger.orders.is_empty(), "rows that tell codes need no other names");
    }
}
