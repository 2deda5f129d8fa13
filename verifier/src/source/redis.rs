//! The reference server's keys in Redis. Only commands that read are sent.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow};
use contract::store::Pattern;
use redis::streams::{StreamId, StreamRangeReply};
use redis::{Cmd, FromRedisValue};

use super::mapped::redis::Keys;
use super::mapped::{lifetimes, of_redis};
use super::{COUNTER, Counts, shown};
use crate::evidence::ledger::{Counter, Ledger, Ledgers, Row};

/// An open connection.
pub struct Redis {
    keys: Keys,
    name: String,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

/// Rows per page of the ledger.
const PAGE: usize = 10_000;

fn key(campaign: &str, what: &str) -> String {
    format!("coupon:{{{campaign}}}:{what}")
}

impl Redis {
    /// Connects.
    ///
    /// # Errors
    /// When nobody answers there.
    pub fn open(url: &str) -> Result<Self> {
        Ok(Self { keys: Keys::open(url)?, name: shown(url) })
    }

    /// Counter and number of rows of each campaign.
    ///
    /// # Errors
    /// When Redis cannot be read.
    pub fn counts(&mut self, campaigns: &[&str]) -> Result<Counts> {
        campaigns.iter().map(|c| self.counts_of(c)).collect()
    }

    fn ask<T: FromRedisValue>(&mut self, command: Cmd) -> Result<T> {
        Ok(command.query(&mut *self.keys.connection)?)
    }

    fn counts_of(&mut self, campaign: &str) -> Result<Option<(i64, i64)>> {
        if !self.ask(Cmd::exists(key(campaign, "campaign")))? {
            return Ok(None);
        }
        Ok(Some((self.counter(campaign)?, self.ask(Cmd::xlen(key(campaign, "ledger")))?)))
    }

    fn counter(&mut self, campaign: &str) -> Result<i64> {
        let counter: Option<i64> = self.ask(Cmd::get(key(campaign, "issued")))?;
        Ok(counter.unwrap_or(0))
    }

    /// Everything about each campaign.
    ///
    /// # Errors
    /// When Redis cannot be read.
    pub fn ledgers(&mut self, campaigns: &[&str]) -> Result<Ledgers> {
        Ledgers::read(campaigns, |campaign| self.ledger_of(campaign))
    }

    fn ledger_of(&mut self, campaign: &str) -> Result<Option<Ledger>> {
        let fields: HashMap<String, String> = self.ask(Cmd::hgetall(key(campaign, "campaign")))?;
        if fields.is_empty() {
            return Ok(None);
        }
        let mut ledger = Ledger {
            coupons: Some(number(&fields, "coupons")?),
            starts_at_us: Some(number(&fields, "starts_at_us")?),
            per_user_limit: number(&fields, "per_user_limit").ok().filter(|limit| *limit > 0),
            counters: vec![Counter::issued(COUNTER, self.counter(campaign)?)],
            indexed_codes: Some(self.ask(Cmd::hlen(key(campaign, "codes")))?),
            ..Ledger::default()
        };
        self.read_rows(&key(campaign, "ledger"), &mut ledger)?;
        ledger.note_settings(&self.name, of_redis(&mut self.keys));
        let all = Pattern::try_from(key(campaign, "{_}")).map_err(|what| anyhow!(what))?;
        ledger.settings.extend(lifetimes(&mut self.keys, &all)?);
        Ok(Some(ledger))
    }

    fn read_rows(&mut self, stream: &str, ledger: &mut Ledger) -> Result<()> {
        let mut from = "-".to_owned();
        loop {
            let page: StreamRangeReply = self.ask(Cmd::xrange_count(stream, &from, "+", PAGE))?;
            for entry in &page.ids {
                match row(entry) {
                    Some(row) => ledger.add(row),
                    None => {
                        let why = format!("entry {}: no rank, no code or no time", entry.id);
                        ledger.unreadable.push(why);
                    }
                }
            }
            match page.ids.last() {
                Some(last) if page.ids.len() == PAGE => from = format!("({}", last.id),
                _ => return Ok(()),
            }
        }
    }
}

fn number(fields: &HashMap<String, String>, name: &str) -> Result<i64> {
    let text = fields.get(name).with_context(|| format!("the campaign has no {name}"))?;
    text.parse().with_context(|| format!("the campaign's {name} is {text:?}: expected a number"))
}

fn row(entry: &StreamId) -> Option<Row> {
    let seq = entry.id.split('-').next()?.parse().ok()?;
    let code = field::<String>(entry, "code")?;
    let text = |name| field(entry, name).filter(|t: &String| !t.is_empty());
    Some(Row {
        seq,
        code: code.into(),
        user: text("user").map(Into::into),
        key: text("key").map(Into::into),
        at_us: field(entry, "at_us")?,
    })
}

fn field<T: FromRedisValue>(entry: &StreamId, name: &str) -> Option<T> {
    entry.map.get(name).and_then(|value| T::from_redis_value(value.clone()).ok())
}
