//! The atomic step with a part of it left out or spoilt, for each store. The default slips nowhere.

mod postgres;

use std::sync::LazyLock;

use rusqlite::{OptionalExtension, Transaction, params};

use crate::code::CampaignNumber;
use crate::store::redis::{RedisStore, Script};
use crate::store::sqlite::{Campaigns, SqliteStore};
use crate::store::{Ask, Coupon, Decision, Store, StoreError};
use crate::user::User;

/// More coupons than any campaign has.
pub(super) const UNLIMITED: i64 = 1 << 40;

/// What a step does otherwise than it should.
#[derive(Clone, Debug)]
pub struct Slip {
    /// Coupons that it takes the campaign to have besides those it has.
    pub(super) more: i64,
    /// Microseconds by which it takes the start to be later.
    pub(super) later_us: i64,
    /// Microseconds to a multiple of which it cuts the start.
    pub(super) start_step_us: i64,
    /// Whether it looks for the user's coupon.
    pub(super) sees_holder: bool,
    /// Whether it looks for the key.
    pub(super) sees_key: bool,
    /// The code, taken or not; drawn as it should be if absent.
    pub(super) code: Option<String>,
    /// For whom the coupon is written; for who asked if absent.
    pub(super) owner: Option<User>,
    /// The rank, free or not; the next one if absent.
    pub(super) rank: Option<u64>,
    /// What it writes.
    pub(super) writes: Writes,
}

/// What a step writes where it grants a coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    /// The coupon and the count.
    Whole,
    /// The count alone.
    NoRow,
    /// The coupon, and this as the count.
    CountAs(u64),
    /// The coupon alone.
    NoCount,
}

impl Default for Slip {
    fn default() -> Self {
        Self {
            more: 0,
            later_us: 0,
            start_step_us: 1,
            sees_holder: true,
            sees_key: true,
            code: None,
            owner: None,
            rank: None,
            writes: Writes::Whole,
        }
    }
}

impl Slip {
    /// For whom the coupon is written: as it was sent, and what it is found by.
    fn owner_of<'a>(&'a self, ask: &'a Ask) -> (&'a str, &'a str) {
        match &self.owner {
            Some(owner) => (owner.sent(), owner.folded()),
            None => (ask.sent(), ask.holder()),
        }
    }
}

/// What planted bugs do to a store.
pub trait Sabotage: Store + Clone {
    /// The atomic step, with this slip.
    fn slip(
        &self,
        ask: Ask,
        slip: Slip,
    ) -> impl Future<Output = Result<Decision, StoreError>> + Send;

    /// Adds to the count of a campaign, and does nothing else.
    fn miscount(
        &self,
        campaign: CampaignNumber,
        by: i64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets a campaign's last coupons, so many of them, as if they had never been issued.
    fn forget(
        &self,
        campaign: CampaignNumber,
        coupons: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl Sabotage for RedisStore {
    async fn slip(&self, ask: Ask, slip: Slip) -> Result<Decision, StoreError> {
        static STEP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("slip.lua")));
        let key = ask.key.as_deref().unwrap_or_default();
        let (owner, owner_found_by) = slip.owner_of(&ask);
        let code = slip.code.clone().unwrap_or_else(|| ask.campaign.random_code());
        let flag = |set: bool| if set { "1" } else { "0" };
        let writes = match slip.writes {
            Writes::Whole => "whole".to_owned(),
            Writes::NoRow => "no_row".to_owned(),
            Writes::NoCount => "no_count".to_owned(),
            Writes::CountAs(count) => count.to_string(),
        };
        let arguments: [&str; 12] = [
            ask.holder(),
            key,
            &code,
            owner,
            owner_found_by,
            &slip.more.to_string(),
            &slip.later_us.to_string(),
            &slip.start_step_us.to_string(),
            flag(slip.sees_holder),
            flag(slip.sees_key),
            &writes,
            &slip.rank.unwrap_or_default().to_string(),
        ];
        let granted = self.run_script(&STEP, ask.campaign, &arguments).await?;
        granted.ok_or_else(|| StoreError::Damaged("no code was free".to_owned()))
    }

    async fn miscount(&self, campaign: CampaignNumber, by: i64) -> Result<(), StoreError> {
        static COUNT: LazyLock<Script> =
            LazyLock::new(|| Script::new("redis.call('INCRBY', KEYS[2], ARGV[2]) return {0, {}}"));
        self.run_script(&COUNT, campaign, &[&by.to_string()]).await.map(drop)
    }

    async fn forget(&self, campaign: CampaignNumber, coupons: u64) -> Result<(), StoreError> {
        static FORGET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("forget.lua")));
        self.run_script(&FORGET, campaign, &[&coupons.to_string()]).await.map(drop)
    }
}

impl Sabotage for SqliteStore {
    async fn slip(&self, ask: Ask, slip: Slip) -> Result<Decision, StoreError> {
        self.write(move |transaction, campaigns| {
            let step = Step { transaction, ask: &ask, slip: &slip };
            step.decide(campaigns).map_err(failed)
        })
        .await
    }

    async fn miscount(&self, campaign: CampaignNumber, by: i64) -> Result<(), StoreError> {
        self.write(move |transaction, campaigns| {
            if let Some(terms) = campaigns.terms(transaction, campaign).map_err(failed)? {
                terms.issued = terms.issued.saturating_add_signed(by);
            }
            Ok(())
        })
        .await
    }

    async fn forget(&self, campaign: CampaignNumber, coupons: u64) -> Result<(), StoreError> {
        self.write(move |transaction, campaigns| {
            if let Some(terms) = campaigns.terms(transaction, campaign).map_err(failed)? {
                terms.issued = terms.issued.saturating_sub(coupons);
                let sql = "DELETE FROM coupons WHERE campaign = ?1 AND seq > ?2";
                transaction.execute(sql, params![campaign.get(), terms.issued]).map_err(failed)?;
            }
            Ok(())
        })
        .await
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// The step in SQLite.
struct Step<'a> {
    transaction: &'a Transaction<'a>,
    ask: &'a Ask,
    slip: &'a Slip,
}

/// What a decision depends on besides the counts.
struct Gate {
    starts_at_us: i64,
    limited: bool,
}

impl Step<'_> {
    fn decide(&self, campaigns: &mut Campaigns) -> rusqlite::Result<Decision> {
        let number = self.ask.campaign;
        let Some(terms) = campaigns.terms(self.transaction, number)? else {
            return Ok(Decision::UnknownCampaign);
        };
        let gate = self.gate()?;
        if gate.limited && self.ask.user.is_none() {
            return Ok(Decision::UserMissing);
        }
        if let Some(key) = self.ask.key.as_ref().filter(|_| self.slip.sees_key)
            && let Some(before) = self.coupon(include_str!("by_key.sql"), key, terms.coupons)?
        {
            return Ok(Decision::Issued(before));
        }
        if terms.cancelled {
            return Ok(Decision::Cancelled);
        }
        let now = chrono::Utc::now();
        if now.timestamp_micros() < gate.starts_at_us {
            return Ok(Decision::NotStarted);
        }
        if gate.limited
            && self.slip.sees_holder
            && let Some(held) = self.coupon(include_str!("by_user.sql"), "", terms.coupons)?
        {
            return Ok(Decision::AlreadyIssued { code: held.code });
        }
        if terms.issued >= terms.coupons.saturating_add_signed(self.slip.more) {
            return Ok(Decision::SoldOut);
        }
        let next = self.last_rank()?.max(terms.issued) + 1;
        let seq = self.slip.rank.unwrap_or(next);
        let code = self.slip.code.clone().unwrap_or_else(|| number.random_code());
        if self.slip.writes != Writes::NoRow {
            self.insert(seq, &code, now.timestamp_micros())?;
        }
        terms.issued = match self.slip.writes {
            Writes::Whole | Writes::NoRow => terms.issued + 1,
            Writes::CountAs(count) => count,
            Writes::NoCount => terms.issued,
        };
        let remaining = terms.coupons.saturating_sub(seq);
        Ok(Decision::Issued(Coupon { code, seq, remaining, issued_at: now }))
    }

    fn gate(&self) -> rusqlite::Result<Gate> {
        let sql = "SELECT starts_at_us, per_user_limit FROM campaigns WHERE number = ?1";
        self.transaction.query_row(sql, [self.ask.campaign.get()], |row| {
            let told: i64 = row.get(0)?;
            let cut = told - told.rem_euclid(self.slip.start_step_us);
            Ok(Gate { starts_at_us: cut + self.slip.later_us, limited: row.get(1)? })
        })
    }

    /// The coupon of this user that the query finds.
    fn coupon(&self, sql: &str, key: &str, coupons: u64) -> rusqlite::Result<Option<Coupon>> {
        let parameters =
            params![self.ask.campaign.get(), self.ask.user.as_ref().map(User::folded), key];
        let found = self.transaction.query_row(sql, parameters, |row| {
            let (seq, at_us): (u64, i64) = (row.get(1)?, row.get(2)?);
            Ok(Coupon {
                code: row.get(0)?,
                seq,
                remaining: coupons.saturating_sub(seq),
                issued_at: chrono::DateTime::from_timestamp_micros(at_us).unwrap_or_default(),
            })
        });
        found.optional()
    }

    fn last_rank(&self) -> rusqlite::Result<u64> {
        let sql = "SELECT coalesce(max(seq), 0) FROM coupons WHERE campaign = ?1";
        self.transaction.query_row(sql, [self.ask.campaign.get()], |row| row.get(0))
    }

    fn insert(&self, seq: u64, code: &str, now_us: i64) -> rusqlite::Result<()> {
        let taken = "SELECT EXISTS (SELECT 1 FROM coupons WHERE code = ?1)";
        if self.transaction.query_row(taken, [code], |row| row.get(0))? {
            // A bug that gives out a code twice is also that nothing keeps codes apart.
            self.transaction.execute_batch("DROP INDEX IF EXISTS coupons_by_code")?;
        }
        let sql = "INSERT INTO coupons (campaign, seq, code, user, holder, key, issued_at_us)
                   VALUES (?1, ?2, ?3, NULLIF(?4, ''), NULLIF(?5, ''), ?6, ?7)";
        let Ask { campaign, key, .. } = self.ask;
        let (owner, found_by) = self.slip.owner_of(self.ask);
        let written = params![campaign.get(), seq, code, owner, found_by, key, now_us];
        self.transaction.execute(sql, written).map(drop)
    }
}
