//! Anybody's keys in Redis. Only commands that read are sent, and never one that blocks Redis: keys
//! are found by SCAN.
//!
//! A key's type is asked, not believed. Whatever it is, it is read as a list of [`Element`]s, and the
//! mapping's patterns say what an element means.

pub(in crate::source) mod reach;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use contract::store::{Captured, Meaning, Pattern, Reading, RedisKey};
use redis::{ConnectionLike, FromRedisValue, Value};

use super::row::{Entry, Parts, number};

/// So many keys, members or entries are asked for at a time.
const PAGE: usize = 1_000;

/// An open Redis, or a cluster.
pub struct Keys {
    pub(in crate::source) connection: Box<dyn ConnectionLike>,
    /// The masters of a cluster: each knows its own keys only.
    masters: Vec<redis::Connection>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// Something in a key.
#[derive(Debug, Default)]
pub struct Element {
    /// The field of a hash.
    pub field: Option<String>,
    /// A value, a member, an element.
    pub value: Option<String>,
    /// What has a name of its own: the fields of a stream's entry, or a score.
    pub named: HashMap<String, String>,
}

/// Takes one element after the other, until it has enough.
pub type Each<'a> = &'a mut dyn FnMut(Result<Element, String>) -> ControlFlow<()>;

/// Types of keys, as Redis calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no such key.
    None,
    /// A text or a number.
    String,
    /// A set.
    Set,
    /// A hash.
    Hash,
    /// A sorted set.
    Sorted,
    /// A list.
    List,
    /// A stream.
    Stream,
}

impl Keys {
    fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T> {
        ask(&mut *self.connection, words)
    }

    /// A number, as the reading says; `None` where there is nothing.
    ///
    /// # Errors
    /// When Redis cannot be read, or what stands there is no number.
    pub fn number(
        &mut self,
        reading: &Reading,
        key: &RedisKey,
        campaign: &str,
    ) -> Result<Option<i64>> {
        let pattern = key.key.of_campaign(campaign);
        let Some(name) = pattern.whole() else {
            return self.number_of_all(reading, key, campaign).map(Some);
        };
        let kind = self.kind(name)?;
        let field = key.field.as_ref().map(|f| f.of_campaign(campaign));
        if kind == Kind::None {
            return Ok(None);
        }
        if let Some(field) = field.as_ref().and_then(Pattern::whole) {
            let value: Option<String> = self.ask(&["HGET", name, field])?;
            return value.map(|text| number(&text, key.json.as_ref())).transpose();
        }
        if kind != Kind::String && (field.is_some() || key.value.is_some()) {
            return self.fitting(key, campaign).map(Some);
        }
        self.number_in(name, kind, reading, key).map(Some)
    }

    /// The number of a pattern of keys: of what is in them where a field or a value is named or
    /// where something waits in them, else of the keys themselves.
    fn number_of_all(&mut self, reading: &Reading, key: &RedisKey, campaign: &str) -> Result<i64> {
        if key.field.is_some() || key.value.is_some() {
            return self.fitting(key, campaign);
        }
        let names = self.keys(&key.key.of_campaign(campaign))?;
        if reading.is != Meaning::Waiting {
            return Ok(size(names.len()));
        }
        let mut all = 0_i64;
        for name in names {
            let kind = self.kind(&name)?;
            // It may have gone in the meantime.
            if kind != Kind::None {
                all = all.saturating_add(self.number_in(&name, kind, reading, key)?);
            }
        }
        Ok(all)
    }

    /// The number that a key is, or how much is in it.
    fn number_in(
        &mut self,
        name: &str,
        kind: Kind,
        reading: &Reading,
        key: &RedisKey,
    ) -> Result<i64> {
        if kind == Kind::String {
            let text: String = self.ask(&["GET", name])?;
            return number(&text, key.json.as_ref()).with_context(|| name.to_owned());
        }
        if kind == Kind::Stream && reading.is == Meaning::Waiting {
            return self.unread_entries(name);
        }
        self.length(name, kind)
    }

    /// How many fields and elements look as the reading says.
    fn fitting(&mut self, key: &RedisKey, campaign: &str) -> Result<i64> {
        let mut count = 0;
        self.rows_of(key, campaign, &mut |found| count += i64::from(found.is_ok()))?;
        Ok(count)
    }

    /// Every row of a ledger. Says whether any of its keys is there.
    ///
    /// # Errors
    /// When Redis cannot be read.
    pub fn rows(
        &mut self,
        reading: &Reading,
        key: &RedisKey,
        campaign: &str,
        each: &mut dyn FnMut(Entry),
    ) -> Result<bool> {
        let columns = &reading.columns;
        self.rows_of(key, campaign, &mut |found| {
            each(match found {
                Ok((captured, element)) => Parts::of(captured, &element).row(columns),
                Err(why) => Err(why),
            });
        })
    }

    fn rows_of(
        &mut self,
        key: &RedisKey,
        campaign: &str,
        each: &mut dyn FnMut(Result<(Captured, Element), String>),
    ) -> Result<bool> {
        let pattern = key.key.of_campaign(campaign);
        let names = match pattern.whole() {
            Some(name) => vec![name.to_owned()],
            None => self.keys(&pattern)?,
        };
        // A hash whose fields have no pattern is one row, and so is every hash of a key a user.
        let one_row = key.field.is_none() && key.value.is_none();
        let shape = Shape::of(key, campaign);
        let mut there = false;
        for name in names {
            let captured = pattern.captured(&name).unwrap_or_default();
            let kind = self.kind(&name)?;
            there |= kind != Kind::None;
            let mut take = |found: Result<Element, String>| {
                let fit = found.and_then(|element| shape.fit(captured.clone(), element));
                if let Some(fit) = fit.transpose() {
                    each(fit.map_err(|why| format!("{name}: {why}")));
                }
                ControlFlow::Continue(())
            };
            if one_row && kind == Kind::Hash {
                let _ = take(Ok(self.whole_hash(&name)?));
            } else {
                self.elements(&name, kind, &mut take)?;
            }
        }
        Ok(there)
    }

    /// The keys that fit, in order.
    ///
    /// # Errors
    /// When Redis cannot be read.
    pub fn keys(&mut self, pattern: &Pattern) -> Result<Vec<String>> {
        let mut found = HashSet::new();
        self.each_key(pattern, &mut |name| {
            found.insert(name);
        })?;
        let mut found: Vec<String> = found.into_iter().collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Each key that fits, in no order; one may come twice, for SCAN may give it twice.
    ///
    /// # Errors
    /// When Redis cannot be read.
    pub fn each_key(&mut self, pattern: &Pattern, each: &mut dyn FnMut(String)) -> Result<()> {
        let glob = pattern.glob();
        let connections: Vec<&mut dyn ConnectionLike> = match self.masters.as_mut_slice() {
            [] => vec![&mut *self.connection],
            masters => masters.iter_mut().map(|m| m as &mut dyn ConnectionLike).collect(),
        };
        for connection in connections {
            let mut cursor = "0".to_owned();
            loop {
                let words = ["SCAN", &cursor, "MATCH", &glob, "COUNT", &PAGE.to_string()];
                let (next, names): (String, Vec<Vec<u8>>) = ask(connection, &words)?;
                let names = names.into_iter().filter_map(|name| String::from_utf8(name).ok());
                names.filter(|name| pattern.captured(name).is_some()).for_each(&mut *each);
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }

    /// What a key is.
    ///
    /// # Errors
    /// When Redis cannot be read, or the key is of a kind that only a module knows.
    pub fn kind(&mut self, name: &str) -> Result<Kind> {
        let kind: String = self.ask(&["TYPE", name])?;
        Ok(match kind.as_str() {
            "none" => Kind::None,
            "string" => Kind::String,
            "set" => Kind::Set,
            "hash" => Kind::Hash,
            "zset" => Kind::Sorted,
            "list" => Kind::List,
            "stream" => Kind::Stream,
            other => bail!("{name}: its type is {other}, which cannot be read"),
        })
    }

    /// How much is in a key.
    ///
    /// # Errors
    /// When Redis cannot be read.
    pub fn length(&mut self, name: &str, kind: Kind) -> Result<i64> {
        let command = match kind {
            Kind::None => return Ok(0),
            Kind::String => "STRLEN",
            Kind::Set => "SCARD",
            Kind::Hash => "HLEN",
            Kind::Sorted => "ZCARD",
            Kind::List => "LLEN",
            Kind::Stream => "XLEN",
        };
        self.ask(&[command, name])
    }

    /// What the slowest group of consumers has not done yet; without groups, what is in the stream.
    fn unread_entries(&mut self, name: &str) -> Result<i64> {
        let groups: Vec<HashMap<String, Value>> = self.ask(&["XINFO", "GROUPS", name])?;
        let length = self.length(name, Kind::Stream)?;
        let open = |group: &HashMap<String, Value>| {
            let of = |what: &str| {
                let value = group.get(what).cloned().unwrap_or(Value::Nil);
                Option::<i64>::from_redis_value(value).ok().flatten()
            };
            // Redis does not know how far a group is behind once entries were deleted.
            of("lag").map_or(length, |lag| lag + of("pending").unwrap_or(0))
        };
        Ok(groups.iter().map(open).max().unwrap_or(length))
    }

    /// All of a hash as one element.
    fn whole_hash(&mut self, name: &str) -> Result<Element> {
        let named: HashMap<String, String> = self.ask(&["HGETALL", name])?;
        Ok(Element { named, ..Element::default() })
    }

    /// Everything in a key, once each, until nobody wants more.
    ///
    /// # Errors
    /// When Redis cannot be read.
    pub fn elements(&mut self, name: &str, kind: Kind, each: Each<'_>) -> Result<()> {
        match kind {
            Kind::None => Ok(()),
            Kind::String => {
                let value: Option<Vec<u8>> = self.ask(&["GET", name])?;
                let _ = value.into_iter().try_for_each(|value| each(of_value(value)));
                Ok(())
            }
            Kind::Set => self.scan("SSCAN", name, &mut |value, _| each(of_value(value))),
            Kind::Hash => self.scan("HSCAN", name, &mut |field, value| {
                each(text(field).and_then(|field| {
                    let value = Some(text(value)?);
                    Ok(Element { field: Some(field), value, ..Element::default() })
                }))
            }),
            Kind::Sorted => self.scan("ZSCAN", name, &mut |member, score| {
                each(text(member).and_then(|member| {
                    let named = HashMap::from([("score".to_owned(), text(score)?)]);
                    Ok(Element { value: Some(member), named, ..Element::default() })
                }))
            }),
            Kind::List => self.list(name, each),
            Kind::Stream => self.stream(name, each),
        }
    }

    /// SCAN may give something twice; what it gives is unique in the key.
    fn scan(
        &mut self,
        command: &str,
        name: &str,
        each: &mut dyn FnMut(Vec<u8>, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<()> {
        let (mut cursor, mut seen) = ("0".to_owned(), HashSet::new());
        loop {
            let words = [command, name, &cursor, "COUNT", &PAGE.to_string()];
            let (next, found): (String, Vec<Vec<u8>>) = self.ask(&words)?;
            let mut found = found.into_iter();
            while let Some(first) = found.next() {
                let second = if command == "SSCAN" { Some(Vec::new()) } else { found.next() };
                let new = seen.insert(first.clone());
                if new && each(first, second.unwrap_or_default()).is_break() {
                    return Ok(());
                }
            }
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    fn list(&mut self, name: &str, each: Each<'_>) -> Result<()> {
        for page in 0.. {
            let (from, to) = (page * PAGE, (page + 1) * PAGE - 1);
            let words = ["LRANGE", name, &from.to_string(), &to.to_string()];
            let found: Vec<Vec<u8>> = self.ask(&words)?;
            let last = found.len() < PAGE;
            let enough = found.into_iter().try_for_each(|value| each(of_value(value))).is_break();
            if last || enough {
                break;
            }
        }
        Ok(())
    }

    fn stream(&mut self, name: &str, each: Each<'_>) -> Result<()> {
        let mut from = "-".to_owned();
        loop {
            let words = ["XRANGE", name, &from, "+", "COUNT", &PAGE.to_string()];
            let found: Vec<(String, Vec<Vec<u8>>)> = self.ask(&words)?;
            let last = found.len() < PAGE;
            from = found.last().map(|(id, _)| format!("({id}")).unwrap_or_default();
            let mut entries = found.into_iter();
            let enough = entries.try_for_each(|(id, fields)| each(entry(id, fields))).is_break();
            if last || enough {
                return Ok(());
            }
        }
    }

    /// How long a key still lives; `None` where it stays.
    ///
    /// # Errors
    /// When Redis cannot be read.
    pub fn lifetime(&mut self, name: &str) -> Result<Option<Duration>> {
        let ms: i64 = self.ask(&["PTTL", name])?;
        Ok(u64::try_from(ms).ok().map(Duration::from_millis))
    }

    /// A setting of the server.
    ///
    /// # Errors
    /// When it may not be asked for.
    pub fn setting(&mut self, name: &str) -> Result<String> {
        let found: Vec<String> = match self.masters.first_mut() {
            Some(master) => ask(master, &["CONFIG", "GET", name])?,
            None => self.ask(&["CONFIG", "GET", name])?,
        };
        found.into_iter().nth(1).with_context(|| format!("Redis has no setting {name}"))
    }
}

/// What values and fields look like, for one campaign.
struct Shape {
    field: Option<Pattern>,
    value: Option<Pattern>,
    /// Where something else does not fit it is of another campaign, and not broken.
    shared: bool,
}

impl Shape {
    fn of(key: &RedisKey, campaign: &str) -> Self {
        let fill = |p: &Option<Pattern>| p.as_ref().map(|p| p.of_campaign(campaign));
        let (field, value) = (fill(&key.field), fill(&key.value));
        let shared = field.as_ref() != key.field.as_ref() || value.as_ref() != key.value.as_ref();
        Self { field, value, shared }
    }

    fn fit(
        &self,
        mut captured: Captured,
        element: Element,
    ) -> Result<Option<(Captured, Element)>, String> {
        for (pattern, text) in [(&self.field, &element.field), (&self.value, &element.value)] {
            let Some(pattern) = pattern else { continue };
            match text.as_deref().and_then(|text| pattern.captured(text)) {
                Some(found) => captured.extend(found),
                None if self.shared => return Ok(None),
                None => {
                    let found = text.as_deref().unwrap_or("nothing");
                    return Err(format!("found {found:?}, expected it to look like {pattern}"));
                }
            }
        }
        Ok(Some((captured, element)))
    }
}

fn ask<T: FromRedisValue>(connection: &mut dyn ConnectionLike, words: &[&str]) -> Result<T> {
    let mut command = redis::Cmd::new();
    words.iter().for_each(|word| {
        command.arg(*word);
    });
    let name = words.first().copied().unwrap_or_default();
    command.query(connection).map_err(|e| anyhow!("{name} {}: {e}", words.get(1).unwrap_or(&"")))
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|e| {
        let shown = String::from_utf8_lossy(e.as_bytes()).into_owned();
        format!("{shown:?} is no text in UTF-8")
    })
}

fn of_value(bytes: Vec<u8>) -> Result<Element, String> {
    Ok(Element { value: Some(text(bytes)?), ..Element::default() })
}

fn entry(id: String, fields: Vec<Vec<u8>>) -> Result<Element, String> {
    let mut named = HashMap::from([("id".to_owned(), id)]);
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        named.insert(text(name)?, text(value)?);
    }
    Ok(Element { named, ..Element::default() })
}

fn size(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
