//! What PostgreSQL says, as the server's own words.

use sqlx::error::DatabaseError;

use super::super::gather::Attempt;
use super::super::{Coupon, Decision, StoreError, time};
use crate::code::CampaignNumber;

/// What PostgreSQL says when a sequence is at its end.
const SEQUENCE_ENDS: &str = "2200H";

/// What the step says of a request, see `issue.sql`.
pub(crate) type Told = (String, String, i64, i64, i64);

pub(super) fn lost() -> StoreError {
    StoreError::Unavailable("the request was lost".to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
pub(crate) fn failed(error: sqlx::Error) -> StoreError {
    match error.as_database_error().and_then(DatabaseError::code) {
        Some(code) if code == SEQUENCE_ENDS => StoreError::CampaignsExhausted,
        Some(_) | None => StoreError::Unavailable(error.to_string()),
    }
}

/// A campaign's number as the tables have it.
pub(crate) fn number(campaign: CampaignNumber) -> i32 {
    // There are fewer than 7 million.
    i32::try_from(campaign.get()).unwrap_or(i32::MAX)
}

/// A number that is never negative.
pub(super) fn count(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Damaged(format!("{number} is not a count")))
}

/// A decision as the function returns it; `None` stands for a code that is taken.
pub(crate) fn decision((what, code, seq, at_us, coupons): Told) -> Attempt {
    Ok(Some(match what.as_str() {
        "issued" => Decision::Issued(Coupon {
            code,
            seq: count(seq)?,
            remaining: count(coupons)?.saturating_sub(count(seq)?),
            issued_at: time(at_us)?,
        }),
        "already_issued" => Decision::AlreadyIssued { code },
        "sold_out" => Decision::SoldOut,
        "cancelled" => Decision::Cancelled,
        "not_started" => Decision::NotStarted,
        "user_missing" => Decision::UserMissing,
        "collision" => return Ok(None),
        _ => return Err(StoreError::Damaged(format!("the function said {what:?}"))),
    }))
}

/// A campaign's number as the tables have it.
pub(super) fn campaign_number(number: i32) -> Result<CampaignNumber, StoreError> {
    let known = u64::try_from(number).ok().and_then(CampaignNumber::new);
    known.ok_or_else(|| StoreError::Damaged(format!("{number} is no campaign's number")))
}
