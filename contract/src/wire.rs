//! The reference server's HTTP interface: paths, headers, bodies, and the one table between a
//! problem and its status.
//!
//! Somebody else's server is described by a scenario, never here.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// Path of the collection of campaigns.
pub const CAMPAIGNS: &str = "/campaigns";

/// Path of one campaign.
pub fn campaign_path(id: &str) -> String {
    format!("{CAMPAIGNS}/{id}")
}

/// Path of a campaign's coupons: POST issues one, GET lists them.
pub fn coupons_path(id: &str) -> String {
    format!("{CAMPAIGNS}/{id}/coupons")
}

/// Path that cancels a campaign: POST, without a body.
pub fn cancel_path(id: &str) -> String {
    format!("{CAMPAIGNS}/{id}/cancel")
}

/// Path of a campaign's events: GET streams them.
pub fn events_path(id: &str) -> String {
    format!("{CAMPAIGNS}/{id}/events")
}

/// The name of a [`StatusEvent`] in the stream.
pub const STATUS_EVENT: &str = "status";

/// Headers of the interface.
pub mod header {
    /// On every answer: which instance answered.
    pub const INSTANCE: &str = "instance-id";
    /// On every answer: the instance's own clock, RFC 3339 with microseconds, UTC.
    pub const SERVER_TIME: &str = "server-time";
    /// On every answer of a server that was started with a planted bug: its name.
    pub const MUTANT: &str = "planted-bug";
    /// On an issue request: the same key of the same user is answered with the same coupon.
    pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
    /// On every answer: the request id, the client's own or a new one.
    pub const REQUEST_ID: &str = "x-request-id";
}

/// Media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Body of `POST /campaigns`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCampaign {
    /// A name for people.
    pub name: String,
    /// How many coupons there are.
    pub coupons: u64,
    /// The instant before which nothing is issued; at most milliseconds.
    #[serde(with = "millis")]
    pub starts_at: DateTime<Utc>,
    /// Coupons a user may get: 1, or absent for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_user_limit: Option<u32>,
}

/// A campaign as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// Its id, part of every path.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// Where it stands by the store's clock.
    pub status: Status,
    /// How many coupons there are.
    pub coupons: u64,
    /// How many were issued.
    pub issued: u64,
    /// How many are left.
    pub remaining: u64,
    /// The instant before which nothing is issued.
    #[serde(with = "millis")]
    pub starts_at: DateTime<Utc>,
    /// Coupons a user may get: 1, or absent for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_user_limit: Option<u32>,
    /// When the server saw its start, by the store's clock; absent before, and no part of `status`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_micros")]
    pub opened_at: Option<DateTime<Utc>>,
    /// The store's clock, which rules the start, at the moment of the read.
    #[serde(with = "micros")]
    pub now: DateTime<Utc>,
}

/// Where a campaign stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not started yet.
    Scheduled,
    /// Started, with coupons left.
    Open,
    /// Started, with no coupon left.
    SoldOut,
    /// Cancelled, before or after its start: no coupon is issued any more.
    Cancelled,
}

/// Data of an event of `GET /campaigns/{id}/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusEvent {
    /// Where the campaign stands by the store's clock.
    pub status: Status,
    /// How many coupons are left.
    pub remaining: u64,
    /// The store's clock at the moment of the read.
    #[serde(with = "micros")]
    pub now: DateTime<Utc>,
}

/// Body of `POST /campaigns/{id}/coupons`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueRequest {
    /// Who asks; needed where the campaign has a limit per user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Body of a 201 to `POST /campaigns/{id}/coupons`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// The coupon's code.
    pub code: String,
    /// Rank among all coupons of the campaign, from 1.
    pub seq: u64,
    /// Coupons left right after this one.
    pub remaining: u64,
    /// When, by the store's clock.
    #[serde(with = "micros")]
    pub issued_at: DateTime<Utc>,
}

/// One row of `GET /campaigns/{id}/coupons`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// Rank among all coupons of the campaign, from 1.
    pub seq: u64,
    /// The coupon's code.
    pub code: String,
    /// Who got it, where the request said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When, by the store's clock.
    #[serde(with = "micros")]
    pub issued_at: DateTime<Utc>,
}

/// Body of `GET /campaigns/{id}/coupons`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerPage {
    /// Rows in order of `seq`.
    pub coupons: Vec<LedgerRow>,
    /// Pass it as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<u64>,
}

/// Body of every error (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI that names the kind of problem: `urn:coupon:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in words, the same for each code.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// What tells problems apart: stable, for programs.
    pub code: ProblemCode,
    /// This occurrence in words.
    pub detail: String,
    /// The member of the body, the header or the query parameter that was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// With `already_issued`: the code of the coupon that this user holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<String>,
}

impl Problem {
    /// A problem with the status and the title that belong to its code.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:coupon:problem:{}", code.name()),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: detail.into(),
            field: None,
            coupon: None,
        }
    }
}

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident $name:literal $status:literal $title:literal;)*) => {
        /// The kinds of problem: the only table between a decision and its status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum ProblemCode { $($(#[$doc])* #[serde(rename = $name)] $variant,)* }

        impl ProblemCode {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// What it means, for people.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

problems! {
    /// The bearer token is missing or another.
    Unauthorized "unauthorized" 401 "A bearer token is needed";
    /// This address makes too many requests; nothing was done.
    RateLimited "rate_limited" 429 "Too many requests";
    /// No campaign has this id.
    CampaignNotFound "campaign_not_found" 404 "No such campaign";
    /// No resource has this path.
    NotFound "not_found" 404 "No such resource";
    /// The path does not take this method.
    MethodNotAllowed "method_not_allowed" 405 "Method not allowed";
    /// The campaign has not started.
    NotStarted "not_started" 422 "The campaign has not started";
    /// All coupons are gone.
    SoldOut "sold_out" 409 "All coupons are gone";
    /// The campaign is cancelled.
    Cancelled "cancelled" 409 "The campaign is cancelled";
    /// This key created another campaign.
    KeyReused "key_reused" 422 "This key belongs to another request";
    /// This user already holds a coupon.
    AlreadyIssued "already_issued" 409 "This user already holds a coupon";
    /// The body is not JSON.
    BadJson "bad_json" 400 "The body is not valid JSON";
    /// A member of the body, a header or a query parameter is not what it has to be.
    Invalid "invalid" 422 "The request is not valid";
    /// The body is too long.
    TooLarge "too_large" 413 "The body is too large";
    /// The body did not arrive in time.
    RequestTimeout "request_timeout" 408 "The request did not arrive in time";
    /// Every campaign number has been given out.
    CampaignsExhausted "campaigns_exhausted" 507 "No campaign number is left";
    /// Too much is waiting already; nothing was done.
    Overloaded "overloaded" 503 "Too many requests are waiting";
    /// The store did not answer: nobody knows whether the request had an effect.
    StoreUnavailable "store_unavailable" 503 "The store does not answer";
    /// A bug. Nobody knows whether the request had an effect.
    Internal "internal" 500 "Internal error";
}

/// RFC 3339, UTC, at most milliseconds.
mod millis {
    use super::{DateTime, SecondsFormat, Utc};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(t: &DateTime<Utc>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&t.to_rfc3339_opts(SecondsFormat::Millis, true))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<DateTime<Utc>, D::Error> {
        let text = String::deserialize(d)?;
        let time = DateTime::parse_from_rfc3339(&text)
            .map_err(|e| D::Error::custom(format!("{text:?} is not an RFC 3339 time: {e}")))?
            .to_utc();
        if time.timestamp_subsec_nanos() % 1_000_000 != 0 {
            return Err(D::Error::custom(format!("{text:?} is finer than a millisecond")));
        }
        Ok(time)
    }
}

/// RFC 3339, UTC, microseconds.
mod micros {
    use super::{DateTime, SecondsFormat, Utc};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(t: &DateTime<Utc>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&t.to_rfc3339_opts(SecondsFormat::Micros, true))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<DateTime<Utc>, D::Error> {
        DateTime::<Utc>::deserialize(d)
    }
}

/// The same, where it may be absent.
mod maybe_micros {
    use super::{DateTime, Utc, micros};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        t: &Option<DateTime<Utc>>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        match t {
            Some(t) => micros::serialize(t, s),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<DateTime<Utc>>, D::Error> {
        Option::deserialize(d)
    }
}
