//! The step in PostgreSQL, in a transaction that locks the campaign's row first.

use sqlx::PgConnection;

use super::{Sabotage, Slip, Writes};
use crate::code::{CampaignNumber, random_tail};
use crate::store::postgres::{PostgresStore, count, failed, number};
use crate::store::{Ask, Coupon, Decision, StoreError, time};

impl Sabotage for PostgresStore {
    async fn slip(&self, ask: Ask, slip: Slip) -> Result<Decision, StoreError> {
        let mut transaction = self.connections().begin().await.map_err(failed)?;
        let decision =
            Step { connection: &mut transaction, ask: &ask, slip: &slip }.decide().await?;
        transaction.commit().await.map_err(failed)?;
        Ok(decision)
    }

    async fn miscount(&self, campaign: CampaignNumber, by: i64) -> Result<(), StoreError> {
        let sql = "UPDATE coupon.campaigns SET issued = greatest(issued + $2, 0) WHERE number = $1";
        let asked = sqlx::query(sql).bind(number(campaign)).bind(by);
        asked.execute(self.connections()).await.map(drop).map_err(failed)
    }

    async fn forget(&self, campaign: CampaignNumber, coupons: u64) -> Result<(), StoreError> {
        let mut transaction = self.connections().begin().await.map_err(failed)?;
        let count =
            "UPDATE coupon.campaigns SET issued = greatest(issued - $2, 0) WHERE number = $1";
        let rows = "DELETE FROM coupon.coupons WHERE campaign = $1 AND seq > \
                    (SELECT issued FROM coupon.campaigns WHERE number = $1)";
        let coupons = i64::try_from(coupons).unwrap_or(i64::MAX);
        let counted = sqlx::query(count).bind(number(campaign)).bind(coupons);
        counted.execute(&mut *transaction).await.map_err(failed)?;
        let deleted = sqlx::query(rows).bind(number(campaign));
        deleted.execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}

struct Step<'a> {
    connection: &'a mut PgConnection,
    ask: &'a Ask,
    slip: &'a Slip,
}

/// Of a campaign: coupons, start, limit, and how many were issued.
type Terms = (i64, i64, i32, i64);
/// Of a coupon: code, rank, and when it was issued.
type Row = (String, i64, i64);

impl Step<'_> {
    async fn decide(mut self) -> Result<Decision, StoreError> {
        let Some((coupons, told_us, limit, issued)) = self.terms().await.map_err(failed)? else {
            return Ok(Decision::UnknownCampaign);
        };
        let (ask, slip) = (self.ask, self.slip);
        if limit == 1 && ask.user.is_none() {
            return Ok(Decision::UserMissing);
        }
        if let Some(key) = ask.key.as_ref().filter(|_| slip.sees_key)
            && let Some(before) = self.coupon(Some(key)).await.map_err(failed)?
        {
            return coupon(before, coupons).map(Decision::Issued);
        }
        let now_us = self.now_us().await.map_err(failed)?;
        if now_us < told_us - told_us.rem_euclid(slip.start_step_us) + slip.later_us {
            return Ok(Decision::NotStarted);
        }
        if limit == 1
            && slip.sees_holder
            && let Some((code, ..)) = self.coupon(None).await.map_err(failed)?
        {
            return Ok(Decision::AlreadyIssued { code });
        }
        if issued >= coupons.saturating_add(slip.more).max(0) {
            return Ok(Decision::SoldOut);
        }
        let rank = slip.rank.and_then(|rank| i64::try_from(rank).ok());
        let next = self.last_rank().await.map_err(failed)?.max(issued) + 1;
        let code = slip.code.clone().unwrap_or_else(|| ask.campaign.prefix() + &random_tail());
        let row = (code, rank.unwrap_or(next), now_us);
        self.write(&row, issued).await.map_err(failed)?;
        coupon(row, coupons).map(Decision::Issued)
    }

    async fn terms(&mut self) -> sqlx::Result<Option<Terms>> {
        let sql = "SELECT coupons, starts_at_us, per_user_limit, issued FROM coupon.campaigns \
                   WHERE number = $1 FOR UPDATE";
        let asked = sqlx::query_as(sql).bind(number(self.ask.campaign));
        asked.fetch_optional(&mut *self.connection).await
    }

    async fn now_us(&mut self) -> sqlx::Result<i64> {
        sqlx::query_scalar("SELECT coupon.now_us()").fetch_one(&mut *self.connection).await
    }

    /// The first coupon of this user, with this key where there is one.
    async fn coupon(&mut self, key: Option<&String>) -> sqlx::Result<Option<Row>> {
        let sql = "SELECT code, seq, issued_at_us FROM coupon.coupons WHERE campaign = $1 \
                   AND \"user\" = $2 AND ($3 IS NULL OR key = $3) ORDER BY seq LIMIT 1";
        let asked = sqlx::query_as(sql).bind(number(self.ask.campaign));
        let asked = asked.bind(self.ask.user.clone().unwrap_or_default()).bind(key.cloned());
        asked.fetch_optional(&mut *self.connection).await
    }

    async fn last_rank(&mut self) -> sqlx::Result<i64> {
        let sql = "SELECT coalesce(max(seq), 0) FROM coupon.coupons WHERE campaign = $1";
        let asked = sqlx::query_scalar(sql).bind(number(self.ask.campaign));
        asked.fetch_one(&mut *self.connection).await
    }

    async fn write(&mut self, row: &Row, issued: i64) -> sqlx::Result<()> {
        if self.slip.writes != Writes::NoRow {
            self.insert(row).await?;
        }
        let issued = match self.slip.writes {
            Writes::Whole | Writes::NoRow => issued + 1,
            Writes::CountAs(count) => i64::try_from(count).unwrap_or(i64::MAX),
            Writes::NoCount => issued,
        };
        let sql = "UPDATE coupon.campaigns SET issued = $2 WHERE number = $1";
        let counted = sqlx::query(sql).bind(number(self.ask.campaign)).bind(issued);
        counted.execute(&mut *self.connection).await.map(drop)
    }

    async fn insert(&mut self, (code, rank, now_us): &Row) -> sqlx::Result<()> {
        let taken = "SELECT EXISTS (SELECT 1 FROM coupon.coupons WHERE code = $1)";
        let taken = sqlx::query_scalar(taken).bind(code.clone());
        if taken.fetch_one(&mut *self.connection).await? {
            // A bug that gives out a code twice is also that nothing keeps codes apart.
            let sql = "DROP INDEX IF EXISTS coupon.coupons_by_code";
            sqlx::query(sql).execute(&mut *self.connection).await?;
        }
        let Ask { campaign, user, key } = self.ask;
        let owner = self.slip.owner.as_ref().or(user.as_ref());
        let insert = sqlx::query("INSERT INTO coupon.coupons VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(number(*campaign))
            .bind(rank)
            .bind(code.clone())
            .bind(owner.cloned().unwrap_or_default())
            .bind(key.clone().unwrap_or_default())
            .bind(now_us);
        insert.execute(&mut *self.connection).await.map(drop)
    }
}

fn coupon((code, rank, at_us): Row, coupons: i64) -> Result<Coupon, StoreError> {
    let (seq, coupons) = (count(rank)?, count(coupons)?);
    let remaining = coupons.saturating_sub(seq);
    Ok(Coupon { code, seq, remaining, issued_at: time(at_us)? })
}
