//! Who opens campaigns at their start, and the opening.

use rusqlite::{OptionalExtension, Transaction, params};

use super::super::{LEASE, Lead, StoreError, time};
use super::{Outcome, now_us, unavailable};
use crate::code::CampaignNumber;

/// Takes or keeps the lead, and opens what is due.
pub(super) fn lead(transaction: &Transaction<'_>, name: &str) -> Outcome<Lead> {
    let now_us = now_us();
    let now = time(now_us)?;
    let lease_us = i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX);
    let leads = transaction
        .prepare_cached(include_str!("lead.sql"))
        .and_then(|mut lead| lead.execute(params![name, now_us, now_us + lease_us]))
        .map_err(unavailable)?
        == 1;
    if !leads {
        return Ok(Lead { leads, now, opened: Vec::new(), next: None });
    }
    let opened = open(transaction, now_us).map_err(unavailable)?;
    let opened = opened.into_iter().map(|number| {
        CampaignNumber::new(number)
            .ok_or_else(|| StoreError::Damaged(format!("{number} is no campaign's number")))
    });
    let next: Option<i64> = transaction
        .prepare_cached(include_str!("next_start.sql"))
        .and_then(|mut next| next.query_row([], |row| row.get(0)).optional())
        .map_err(unavailable)?
        .flatten();
    Ok(Lead {
        leads,
        now,
        opened: opened.collect::<Outcome<_>>()?,
        next: next.map(time).transpose()?,
    })
}

fn open(transaction: &Transaction<'_>, now_us: i64) -> rusqlite::Result<Vec<u64>> {
    let mut open = transaction.prepare_cached(include_str!("open.sql"))?;
    let opened = open.query_map([now_us], |row| row.get(0))?;
    opened.collect()
}
