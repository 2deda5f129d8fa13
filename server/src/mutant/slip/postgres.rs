//! The step in PostgreSQL: a function like the clean one, with the slip as its arguments.

use super::{Sabotage, Slip, Writes};
use crate::code::CampaignNumber;
use crate::store::postgres::{PostgresStore, decision, failed, number};
use crate::store::{Ask, Decision, StoreError};

impl Sabotage for PostgresStore {
    async fn slip(&self, ask: Ask, slip: Slip) -> Result<Decision, StoreError> {
        let mut connection = self.connections().acquire().await.map_err(failed)?;
        let there = sqlx::query_scalar("SELECT to_regproc('pg_temp.slip') IS NOT NULL");
        if !there.fetch_one(&mut *connection).await.map_err(failed)? {
            let script = sqlx::raw_sql(include_str!("../slip.sql"));
            script.execute(&mut *connection).await.map_err(failed)?;
        }
        let writes = match slip.writes {
            Writes::Whole => "whole".to_owned(),
            Writes::NoRow => "no_row".to_owned(),
            Writes::NoCount => "no_count".to_owned(),
            Writes::CountAs(count) => count.to_string(),
        };
        let (owner, owner_found_by) = slip.owner_of(&ask);
        let step =
            "SELECT * FROM pg_temp.slip($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
        let told = sqlx::query_as(step)
            .bind(number(ask.campaign))
            .bind(ask.holder())
            .bind(ask.key.as_deref().unwrap_or_default())
            .bind(slip.code.clone().unwrap_or_else(|| ask.campaign.random_code()))
            .bind(owner)
            .bind(owner_found_by)
            .bind(slip.more)
            .bind(slip.later_us)
            .bind(slip.start_step_us)
            .bind(slip.sees_holder)
            .bind(slip.sees_key)
            .bind(writes)
            .bind(slip.rank.map_or(0, |rank| i64::try_from(rank).unwrap_or(i64::MAX)));
        let told = told.fetch_optional(&mut *connection).await.map_err(failed)?;
        let Some(told) = told else { return Ok(Decision::UnknownCampaign) };
        let granted = decision(told)?;
        granted.ok_or_else(|| StoreError::Damaged("no code was free".to_owned()))
    }

    async fn miscount(&self, campaign: CampaignNumber, by: i64) -> Result<(), StoreError> {
        let sql = "UPDATE coupon.campaigns SET issued = greatest(issued + $2, 0) WHERE number = $1";
        let asked = sqlx::query(sql).bind(number(campaign)).bind(by);
        asked.execute(self.connections()).await.map(drop).map_err(failed)
    }

    async fn forget(&self, campaign: CampaignNumber, coupons: u64) -> Result<(), StoreError> {
        let sql = "WITH counted AS (
                       UPDATE coupon.campaigns SET issued = greatest(issued - $2, 0)
                       WHERE number = $1 RETURNING issued
                   )
                   DELETE FROM coupon.coupons USING counted WHERE campaign = $1 AND seq > issued";
        let coupons = i64::try_from(coupons).unwrap_or(i64::MAX);
        let asked = sqlx::query(sql).bind(number(campaign)).bind(coupons);
        asked.execute(self.connections()).await.map(drop).map_err(failed)
    }
}
