//! Creates campaigns, each key's once.
//!
//! The trick: a key is first claimed for a number, and whoever finds it claimed creates that number's
//! campaign, should it not be there. So a crash between claim and creation is no harm, and of two
//! requests at once both find the same campaign.

use std::sync::LazyLock;

use contract::wire;

use super::super::{StoreError, limit_flag};
use super::link::Link;
use super::script::Script;
use super::{key, keys, schedule, terms_lost};
use crate::code::CampaignNumber;

/// How many taken numbers are skipped, where a counter was lost but not its campaigns.
const TAKEN_NUMBERS: usize = 1_000;
/// The counter of campaign numbers.
pub(super) const CAMPAIGNS: &str = "coupon:campaigns";

static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("claim.lua")));
static CREATE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("create.lua")));

/// The number of the new campaign, or of the one that this key created.
pub(super) async fn create(
    redis: &Link,
    new: &wire::NewCampaign,
    create_key: Option<&str>,
) -> Result<CampaignNumber, StoreError> {
    for _ in 0..TAKEN_NUMBERS {
        // A number that is drawn and then not used is no harm. The counter lies in a hash slot of its
        // own, so it cannot be part of the script.
        let drawn = number(redis.ask(&["INCR", CAMPAIGNS]).await?)?;
        let (claimed, by) = match create_key {
            Some(create_key) => claim(redis, create_key, drawn).await?,
            None => (drawn, Claimed::Now),
        };
        if write(redis, claimed, new, create_key).await? {
            // In another hash slot, so in another step. Without it the campaign starts as well.
            schedule::plan(redis, claimed, new.starts_at).await?;
            return Ok(claimed);
        }
        let Some(create_key) = create_key else { continue };
        let terms = ["HMGET", &key(claimed, "campaign"), "coupons", "create_key"];
        let terms: (Option<String>, Option<String>) = redis.ask(&terms).await?;
        match (terms, by) {
            ((_, Some(of)), _) if of == create_key => return Ok(claimed),
            // It may be what is left of the very campaign that this key created.
            ((None, _), Claimed::Before) => return Err(terms_lost(claimed)),
            // It is another campaign, or what is left of one.
            (_, Claimed::Now) | ((Some(_), _), Claimed::Before) => {
                redis.ask::<i64>(&["DEL", &claim_key(create_key)]).await?;
            }
        }
    }
    Err(StoreError::Damaged(format!("{CAMPAIGNS} gives out numbers that are taken")))
}

/// When a number was claimed for a key.
#[derive(Clone, Copy)]
enum Claimed {
    /// By this request.
    Now,
    /// By one before it.
    Before,
}

/// The number that a key is claimed for: this one, if it is the first.
async fn claim(
    redis: &Link,
    create_key: &str,
    drawn: CampaignNumber,
) -> Result<(CampaignNumber, Claimed), StoreError> {
    let mut call = CLAIM.over(&[claim_key(create_key)]);
    call.arg(drawn.get());
    let (first, claimed): (bool, u64) = redis.keep(&call).await?;
    Ok((number(claimed)?, if first { Claimed::Now } else { Claimed::Before }))
}

fn claim_key(create_key: &str) -> String {
    format!("coupon:created-by:{create_key}")
}

fn number(drawn: u64) -> Result<CampaignNumber, StoreError> {
    CampaignNumber::new(drawn).ok_or(StoreError::CampaignsExhausted)
}

/// Writes a campaign; `false` if the number is taken.
async fn write(
    redis: &Link,
    number: CampaignNumber,
    new: &wire::NewCampaign,
    create_key: Option<&str>,
) -> Result<bool, StoreError> {
    let mut call = CREATE.over(&keys(number));
    call.arg(&new.name)
        .arg(new.coupons)
        .arg(new.starts_at.timestamp_micros())
        .arg(limit_flag(new.per_user_limit))
        .arg(create_key.unwrap_or_default());
    redis.keep(&call).await
}
