//! One reading of a mapping: where something stands, and what it is.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cell, Column, JsonAt, Meaning, Pattern, Query, Scheme, Secret, StoreUrl};

/// Where something stands, and what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawReading", into = "RawReading")]
#[schemars(with = "RawReading")]
pub struct Reading {
    /// What it is called in reports; absent means that it is called by where it stands.
    pub name: Option<String>,
    /// What it is.
    pub is: Meaning,
    /// Which store; absent means the mapping's.
    pub url: Option<StoreUrl>,
    /// Where it stands there.
    pub from: Source,
    /// Where each column of a ledger stands in a row.
    pub columns: BTreeMap<Column, Cell>,
    /// Whether who is refused is counted as well, so that it goes beyond the last coupon.
    pub may_overshoot: bool,
}

/// Where something stands in a store.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// In Redis.
    Redis(RedisKey),
    /// What a query finds.
    Sql(Query),
    /// What a system tells over HTTP.
    Http(List),
}

/// A key in Redis, or all keys that fit a pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisKey {
    /// The key.
    pub key: Pattern,
    /// The fields of a hash that count.
    pub field: Option<Pattern>,
    /// What a value, a member or an element looks like.
    pub value: Option<Pattern>,
    /// Where a number stands in a value that is JSON.
    pub json: Option<JsonAt>,
}

/// What a system tells over HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// Path and query, with `{campaign}`, and `{page}`, `{offset}` or `{next}` where there are pages.
    pub path: String,
    /// Headers.
    pub headers: BTreeMap<String, Secret>,
    /// Where the rows stand in an answer.
    pub rows: Option<JsonAt>,
    /// Where an answer says what to put for `{next}`.
    pub next: Option<JsonAt>,
    /// The number of the first page.
    pub first: u64,
    /// Where a number stands in the answer.
    pub json: Option<JsonAt>,
}

/// The holes of a path that ask for one page after another.
pub const PAGES: [&str; 3] = ["page", "offset", "next"];

impl Source {
    /// Whether it can be read from such a store; a URL that is a variable tells later.
    pub(super) fn fits(&self, url: &StoreUrl) -> Result<(), String> {
        url.scheme().map_or(Ok(()), |scheme| self.check(scheme))
    }

    /// Whether it can be read from a store of this kind.
    ///
    /// # Errors
    /// What it needs instead.
    pub fn check(&self, scheme: Scheme) -> Result<(), String> {
        match (self, scheme) {
            (Self::Redis(_), Scheme::Redis) | (Self::Http(_), Scheme::Http) => Ok(()),
            (Self::Sql(_), Scheme::Postgres | Scheme::MySql | Scheme::Sqlite) => Ok(()),
            (Self::Redis(_), _) => Err("redis: expected the URL of a Redis".into()),
            (Self::Sql(_), _) => Err("sql: expected the URL of an SQL database".into()),
            (Self::Http(_), _) => Err("http: expected a URL like http://HOST:PORT".into()),
        }
    }
}

/// A reading as a file spells it: exactly one of the three places.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["redis"]}, {"required": ["sql"]}, {"required": ["http"]}]))]
struct RawReading {
    /// What it is called in reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What it is.
    #[schemars(required)]
    is: Option<Meaning>,
    /// Which store; absent means the mapping's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<StoreUrl>,
    /// In Redis: a key, or a pattern of keys with a column's name in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redis: Option<Pattern>,
    /// In Redis: the field of a hash, or what the fields look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<Pattern>,
    /// In Redis: what values, members and elements look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Pattern>,
    /// In PostgreSQL, MySQL, MariaDB or SQLite: one query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sql: Option<Query>,
    /// Over HTTP: path and query of a GET, with `{page}`, `{offset}` or `{next}` where there are pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    /// Over HTTP: headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, Secret>,
    /// Over HTTP: where the rows stand in an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<JsonAt>,
    /// Over HTTP: where an answer says what to put for `{next}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<JsonAt>,
    /// Over HTTP: the number of the first `{page}`; 1 where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    /// Where a number stands in JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    json: Option<JsonAt>,
    /// Where each column of a ledger stands in a row: a name, or a path into JSON.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    columns: BTreeMap<Column, Cell>,
    /// Whether who is refused is counted as well: then it goes beyond the last coupon, below 0 or above
    /// the total, and what is beyond says nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    may_overshoot: bool,
}

impl TryFrom<RawReading> for Reading {
    type Error = String;

    fn try_from(raw: RawReading) -> Result<Self, String> {
        let is = raw.is.ok_or(
            "key `is` is missing, expected one of ledger, issued, remaining, total and waiting",
        )?;
        raw.belongs()?;
        let (name, url, columns) = (raw.name, raw.url, raw.columns);
        let may_overshoot = raw.may_overshoot;
        let from = match (raw.redis, raw.sql, raw.http) {
            (Some(key), None, None) => {
                Source::Redis(RedisKey { key, field: raw.field, value: raw.value, json: raw.json })
            }
            (None, Some(query), None) => Source::Sql(query),
            (None, None, Some(path)) => Source::Http(List {
                path,
                headers: raw.headers,
                rows: raw.rows,
                next: raw.next,
                first: raw.first.unwrap_or(1),
                json: raw.json,
            }),
            _ => return Err("expected one of `redis`, `sql` and `http`".into()),
        };
        let reading = Self { name, is, url, from, columns, may_overshoot };
        reading.check()?;
        Ok(reading)
    }
}

impl RawReading {
    /// Whether every key belongs to the place that is read.
    fn belongs(&self) -> Result<(), String> {
        let redis = [("field", self.field.is_some()), ("value", self.value.is_some())];
        let http = [
            ("headers", !self.headers.is_empty()),
            ("rows", self.rows.is_some()),
            ("next", self.next.is_some()),
            ("first", self.first.is_some()),
        ];
        let strange = |keys: &[(&'static str, bool)], place: &str, there: bool| {
            let found = keys.iter().find(|(_, given)| *given && !there);
            found.map_or(Ok(()), |(key, _)| {
                Err(format!("{key}: belongs to a reading with `{place}`"))
            })
        };
        strange(&redis, "redis", self.redis.is_some())?;
        strange(&http, "http", self.http.is_some())?;
        let json = [("json", self.json.is_some())];
        strange(&json, "redis` or `http", self.sql.is_none())
    }
}

impl From<Reading> for RawReading {
    fn from(reading: Reading) -> Self {
        let Reading { name, is, url, from, columns, may_overshoot } = reading;
        let raw = Self { name, is: Some(is), url, columns, may_overshoot, ..Self::default() };
        match from {
            Source::Redis(RedisKey { key, field, value, json }) => {
                Self { redis: Some(key), field, value, json, ..raw }
            }
            Source::Sql(query) => Self { sql: Some(query), ..raw },
            Source::Http(List { path, headers, rows, next, first, json }) => {
                let first = Some(first).filter(|first| *first != 1);
                Self { http: Some(path), headers, rows, next, first, json, ..raw }
            }
        }
    }
}

impl Reading {
    /// What no single key can know.
    fn check(&self) -> Result<(), String> {
        if self.may_overshoot && !matches!(self.is, Meaning::Issued | Meaning::Remaining) {
            return Err("may_overshoot: belongs to `is: issued` or `is: remaining`".into());
        }
        if self.is != Meaning::Ledger && !self.columns.is_empty() {
            return Err("columns: belong to `is: ledger`".into());
        }
        if let Some(url) = &self.url {
            self.from.fits(url)?;
        }
        let told = match &self.from {
            Source::Sql(_) => return self.named_columns(),
            Source::Redis(key) => key.check(self.is)?,
            Source::Http(list) => list.check(self.is)?,
        };
        if self.is == Meaning::Ledger && !told && self.columns.is_empty() {
            return Err(format!(
                "expected a ledger to tell something of its rows: one of {} as a name in braces or \
                 under `columns`",
                Column::list()
            ));
        }
        Ok(())
    }

    /// A query's columns have names.
    fn named_columns(&self) -> Result<(), String> {
        let json = self.columns.iter().find(|(_, cell)| matches!(cell, Cell::Json(_)));
        json.map_or(Ok(()), |(column, _)| {
            Err(format!("columns.{}: expected the name of a column of the query", column.name()))
        })
    }

    /// What it is called in reports.
    pub fn label(&self) -> String {
        match (&self.name, &self.from) {
            (Some(name), _) => name.clone(),
            (None, Source::Redis(RedisKey { key, field: Some(field), .. })) => {
                format!("{key} {field}")
            }
            (None, Source::Redis(RedisKey { key, .. })) => key.to_string(),
            (None, Source::Http(list)) => list.path.clone(),
            (None, Source::Sql(query)) => {
                let words: Vec<&str> = query.as_str().split_whitespace().collect();
                let line: String = words.join(" ").chars().take(48).collect();
                if line.len() < words.join(" ").len() { format!("{line}…") } else { line }
            }
        }
    }
}

impl RedisKey {
    /// Whether its parts fit each other, and whether they tell a column.
    fn check(&self, is: Meaning) -> Result<bool, String> {
        let parts = [Some(&self.key), self.field.as_ref(), self.value.as_ref()];
        let open: Vec<_> = parts.into_iter().flatten().flat_map(Pattern::columns).collect();
        if let Some(twice) = open.iter().enumerate().find(|(at, c)| open[..*at].contains(c)) {
            return Err(format!("`{{{}}}` stands here twice", twice.1.name()));
        }
        if self.json.is_some() && is == Meaning::Ledger {
            return Err("json: belongs to a number; a ledger has `columns`".into());
        }
        if self.json.is_some() && self.key.is_open() {
            return Err("json: belongs to one key, and this is a pattern of keys".into());
        }
        Ok(!open.is_empty())
    }
}

impl List {
    /// Whether its parts fit each other. It tells columns only under `columns`.
    fn check(&self, is: Meaning) -> Result<bool, String> {
        if !self.path.starts_with('/') {
            return Err(format!("http: found {:?}, expected it to begin with /", self.path));
        }
        let pages: Vec<&str> = self.pages().collect();
        if pages.len() > 1 {
            return Err(format!("http: expected one of {{{}}}", PAGES.join("}, {")));
        }
        if (pages == ["next"]) != self.next.is_some() {
            return Err("next: expected it together with {next} in `http`".into());
        }
        match (is == Meaning::Ledger || !pages.is_empty(), &self.rows, &self.json) {
            (true, None, _) => Err("rows: is missing; it says where the rows stand".into()),
            (false, None, None) => Err("json: is missing; it says where the number stands".into()),
            (_, Some(_), Some(_)) => Err("json: expected it or `rows`".into()),
            (_, _, _) => Ok(false),
        }
    }

    /// The holes of its path that ask for one page after another.
    pub fn pages(&self) -> impl Iterator<Item = &'static str> {
        PAGES.into_iter().filter(|name| self.path.contains(&format!("{{{name}}}")))
    }
}
