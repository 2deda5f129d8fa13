//! Who opens campaigns at their start, and the opening.
//!
//! The schedule is a sorted set beside the campaigns, in a hash slot of its own. What is lost of it
//! is missed by nobody but a reader of `opened_at`.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use redis::Script;
use redis::aio::ConnectionLike;

use super::super::{LEASE, Lead, StoreError, time};
use super::{key, unavailable};
use crate::code::CampaignNumber;

/// Which instance leads.
const LEADER: &str = "coupon:{schedule}:leader";
/// Numbers of campaigns that are not open, by their start.
const STARTS: &str = "coupon:{schedule}:starts";

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lead.lua")));
static OPEN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("open.lua")));

/// Notes when a campaign is to be opened.
pub(super) async fn plan(
    connection: &mut impl ConnectionLike,
    number: CampaignNumber,
    starts_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    redis::cmd("ZADD")
        .arg(STARTS)
        .arg(starts_at.timestamp_micros())
        .arg(number.get())
        .exec_async(connection)
        .await
        .map_err(unavailable)
}

/// Takes or keeps the lead, and opens what is due.
pub(super) async fn lead(
    connection: &mut (impl ConnectionLike + Clone),
    name: &str,
) -> Result<Lead, StoreError> {
    let lease_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
    let (leads, now_us, next_us, due): (bool, i64, i64, Vec<u64>) = TAKE
        .key(LEADER)
        .key(STARTS)
        .arg(name)
        .arg(lease_ms)
        .invoke_async(connection)
        .await
        .map_err(unavailable)?;
    let mut opened = Vec::new();
    for number in due {
        if let Some(number) = CampaignNumber::new(number)
            && open(connection, number).await?
        {
            opened.push(number);
        }
        // Also where there is nothing to open: it would be due for ever.
        redis::cmd("ZREM")
            .arg(STARTS)
            .arg(number)
            .exec_async(connection)
            .await
            .map_err(unavailable)?;
    }
    let next = (next_us >= 0).then(|| time(next_us)).transpose()?;
    Ok(Lead { leads, now: time(now_us)?, opened, next })
}

/// Whether this call opened it.
async fn open(
    connection: &mut (impl ConnectionLike + Clone),
    number: CampaignNumber,
) -> Result<bool, StoreError> {
    let told: String =
        OPEN.key(key(number, "campaign")).invoke_async(connection).await.map_err(unavailable)?;
    Ok(told == "opened")
}
