//! The atomic step, and the campaigns that it is about.

use std::collections::hash_map::{Entry, HashMap};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::super::{Ask, Coupon, Decision, StoreError, time};
use super::{Outcome, now_us, unavailable};
use crate::code::CampaignNumber;
use crate::user::User;

/// How often a code is drawn for a coupon. With 45.3 random bits even a second time is rare.
const DRAWS: usize = 16;

/// The campaigns that a transaction has met, so that each is read and counted up once.
#[derive(Default)]
pub(crate) struct Campaigns(HashMap<CampaignNumber, Option<Terms>>);

/// What a decision depends on.
pub(crate) struct Terms {
    pub(super) name: String,
    pub(crate) coupons: u64,
    pub(super) starts_at_us: i64,
    pub(super) per_user_limit: bool,
    pub(super) opened_at_us: Option<i64>,
    pub(crate) cancelled: bool,
    pub(crate) issued: u64,
    /// The count as it is in the file.
    saved: u64,
}

impl Campaigns {
    /// A campaign's terms, or nothing if there is no such campaign.
    pub(crate) fn terms(
        &mut self,
        transaction: &Connection,
        number: CampaignNumber,
    ) -> rusqlite::Result<Option<&mut Terms>> {
        let terms = match self.0.entry(number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(read_terms(transaction, number)?),
        };
        Ok(terms.as_mut())
    }

    pub(super) fn save(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        for (number, terms) in &self.0 {
            if let Some(terms) = terms.as_ref().filter(|terms| terms.issued != terms.saved) {
                let mut count = transaction.prepare_cached(include_str!("count.sql"))?;
                count.execute(params![number.get(), terms.issued])?;
            }
        }
        Ok(())
    }
}

pub(super) fn read_terms(
    connection: &Connection,
    number: CampaignNumber,
) -> rusqlite::Result<Option<Terms>> {
    let mut query = connection.prepare_cached(include_str!("campaign.sql"))?;
    query
        .query_row([number.get()], |row| {
            Ok(Terms {
                name: row.get(0)?,
                coupons: row.get(1)?,
                starts_at_us: row.get(2)?,
                per_user_limit: row.get(3)?,
                issued: row.get(4)?,
                saved: row.get(4)?,
                opened_at_us: row.get(5)?,
                cancelled: row.get::<_, Option<i64>>(6)?.is_some(),
            })
        })
        .optional()
}

/// The atomic step for one request, inside the writer's transaction.
pub(crate) fn decide(
    transaction: &Transaction<'_>,
    terms: Option<&mut Terms>,
    ask: &Ask,
    mut draw: impl FnMut() -> String,
) -> Outcome<Decision> {
    let Some(terms) = terms else { return Ok(Decision::UnknownCampaign) };
    if terms.per_user_limit && ask.user.is_none() {
        return Ok(Decision::UserMissing);
    }
    let before = find(transaction, terms, ask).map_err(unavailable)?;
    if let Some(row) = before.as_ref().filter(|row| ask.key.is_some() && row.key == ask.key) {
        return terms.coupon(row.code.clone(), row.seq, row.issued_at_us).map(Decision::Issued);
    }
    if terms.cancelled {
        return Ok(Decision::Cancelled);
    }
    // Read after the lock was taken: a request that waited over the start is not too early.
    let now_us = now_us();
    if now_us < terms.starts_at_us {
        return Ok(Decision::NotStarted);
    }
    if let Some(Row { code, .. }) = before {
        return Ok(Decision::AlreadyIssued { code });
    }
    if terms.issued >= terms.coupons {
        return Ok(Decision::SoldOut);
    }
    let seq = terms.issued + 1;
    for _ in 0..DRAWS {
        let code = draw();
        if insert(transaction, ask, (seq, &code, now_us)).map_err(unavailable)? {
            terms.issued = seq;
            return terms.coupon(code, seq, now_us).map(Decision::Issued);
        }
    }
    Err(StoreError::Damaged(format!("{DRAWS} times no code was free")))
}

impl Terms {
    fn coupon(&self, code: String, seq: u64, issued_at_us: i64) -> Outcome<Coupon> {
        let remaining = self.coupons.saturating_sub(seq);
        Ok(Coupon { code, seq, remaining, issued_at: time(issued_at_us)? })
    }
}

/// A coupon that is in the ledger.
struct Row {
    code: String,
    seq: u64,
    key: Option<String>,
    issued_at_us: i64,
}

/// What was issued to whoever asks, if that matters: with a limit the user's coupon, which is one at most,
/// and otherwise the one of the user's key.
fn find(transaction: &Transaction<'_>, terms: &Terms, ask: &Ask) -> rusqlite::Result<Option<Row>> {
    let (query, key) = match (terms.per_user_limit, &ask.key) {
        (true, _) => (include_str!("holder.sql"), None),
        (false, Some(key)) => (include_str!("replay.sql"), Some(key)),
        (false, None) => return Ok(None),
    };
    let mut query = transaction.prepare_cached(query)?;
    let row = |row: &rusqlite::Row<'_>| {
        let (code, seq, key, issued_at_us) = row.try_into()?;
        Ok(Row { code, seq, key, issued_at_us })
    };
    let number = ask.campaign.get();
    match key {
        None => query.query_row(params![number, holder(ask)], row),
        Some(key) => query.query_row(params![number, holder(ask), key], row),
    }
    .optional()
}

/// Writes a coupon into the ledger; `false` if its code is taken.
fn insert(
    transaction: &Transaction<'_>,
    ask: &Ask,
    (seq, code, now_us): (u64, &str, i64),
) -> rusqlite::Result<bool> {
    let mut insert = transaction.prepare_cached(include_str!("insert.sql"))?;
    let user = ask.user.as_ref().map(User::sent);
    let row = params![ask.campaign.get(), seq, code, user, holder(ask), ask.key, now_us];
    Ok(insert.execute(row)? == 1)
}

fn holder(ask: &Ask) -> Option<&str> {
    ask.user.as_ref().map(User::folded)
}
