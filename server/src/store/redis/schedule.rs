//! Who opens campaigns at their start, and the opening.
//!
//! The schedule is a sorted set beside the campaigns, in a hash slot of its own. What is lost of it
//! is missed by nobody but a reader of `opened_at`.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};

use super::super::{LEASE, Lead, StoreError, time};
use super::key;
use super::link::Link;
use super::script::Script;
use crate::code::CampaignNumber;

/// Which instance leads.
const LEADER: &str = "coupon:{schedule}:leader";
/// Numbers of campaigns that are not open, by their start.
const STARTS: &str = "coupon:{schedule}:starts";

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lead.lua")));
static OPEN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("open.lua")));

/// Notes when a campaign is to be opened.
pub(super) async fn plan(
    redis: &Link,
    number: CampaignNumber,
    starts_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let starts_at = starts_at.timestamp_micros().to_string();
    redis.ask(&["ZADD", STARTS, &starts_at, &number.to_string()]).await
}

/// Takes or keeps the lead, and opens what is due.
pub(super) async fn lead(redis: &Link, name: &str) -> Result<Lead, StoreError> {
    let lease_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
    let mut take = TAKE.over(&[LEADER, STARTS].map(str::to_owned));
    take.arg(name).arg(lease_ms);
    let (leads, now_us, next_us, due): (bool, i64, i64, Vec<u64>) = redis.run(&take).await?;
    let mut opened = Vec::new();
    for number in due {
        if let Some(number) = CampaignNumber::new(number)
            && open(redis, number).await?
        {
            opened.push(number);
        }
        // Also where there is nothing to open: it would be due for ever.
        redis.ask::<()>(&["ZREM", STARTS, &number.to_string()]).await?;
    }
    let next = (next_us >= 0).then(|| time(next_us)).transpose()?;
    Ok(Lead { leads, now: time(now_us)?, opened, next })
}

/// Whether this call opened it.
async fn open(redis: &Link, number: CampaignNumber) -> Result<bool, StoreError> {
    let told: String = redis.run(&OPEN.over(&[key(number, "campaign")])).await?;
    Ok(told == "opened")
}
