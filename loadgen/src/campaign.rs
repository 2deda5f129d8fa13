//! Creates the campaign, and watches the clock that rules its start. Outside the measured load.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::history::clock::Probe;
use contract::wire;

use crate::clock::Clock;
use crate::scenario;

/// How long a set-up request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How coarse the server's stamps are: it prints microseconds.
const STAMP_RESOLUTION_NS: i64 = 1_000;

/// Talks to the system outside the measured load.
#[derive(Clone, Debug)]
pub struct Desk {
    http: reqwest::Client,
    clock: Clock,
}

/// Why the campaign could not be created.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The target did not answer.
    #[error("{url}: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why it failed.
        reason: String,
    },
    /// The target answered something else than was expected.
    #[error("POST {url} answered {status}: {body}; expected 201 and the campaign")]
    Refused {
        /// What was asked.
        url: String,
        /// What it answered.
        status: u16,
        /// The answer's body, its beginning.
        body: String,
    },
}

impl Desk {
    /// A desk whose probes are stamped with the run's clock.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(clock: Clock) -> Result<Self, SetupError> {
        let client = reqwest::Client::builder().timeout(PATIENCE).retry(reqwest::retry::never());
        let http = client.build().map_err(|e| unreachable("http client", &e))?;
        Ok(Self { http, clock })
    }

    /// Creates the scenario's campaign at the target `url`.
    ///
    /// # Errors
    /// When the target does not answer with the campaign.
    pub async fn create(
        &self,
        url: &str,
        name: &str,
        wanted: &scenario::Campaign,
    ) -> Result<wire::Campaign, SetupError> {
        let url = format!("{url}{}", wire::CAMPAIGNS);
        let starts_at = self.clock.unix_now() + wanted.starts_in.nanos();
        let body = wire::NewCampaign {
            name: name.to_owned(),
            coupons: wanted.coupons,
            starts_at: whole_millis_after(starts_at),
            per_user_limit: wanted.per_user_limit.map(Into::into),
        };
        let sent = self.http.post(&url).json(&body).send().await;
        let answer = sent.map_err(|e| unreachable(&url, &e))?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(|e| unreachable(&url, &e))?;
        match serde_json::from_str(&text) {
            Ok(campaign) if status == 201 => Ok(campaign),
            _ => {
                let body = text.chars().take(200).collect();
                Err(SetupError::Refused { url, status, body })
            }
        }
    }

    /// Asks the target `url` for the store's clock. `None` where it does not answer.
    pub async fn probe(&self, url: &str, campaign: &str) -> Option<Probe> {
        let url = format!("{url}{}", wire::campaign_path(campaign));
        let sent = self.clock.now();
        let answer = self.http.get(url).send().await.ok()?;
        let body = answer.bytes().await.ok()?;
        let received = self.clock.now();
        let campaign: wire::Campaign = serde_json::from_slice(&body).ok()?;
        let stamp = campaign.now.timestamp_nanos_opt()?;
        Some(Probe { sent, received, stamp, resolution: STAMP_RESOLUTION_NS })
    }
}

fn unreachable(url: &str, error: &reqwest::Error) -> SetupError {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reason = cause.to_string();
        source = cause.source();
    }
    SetupError::Unreachable { url: url.into(), reason }
}

/// The interface takes whole milliseconds; rounding up keeps the start from moving to the past.
fn whole_millis_after(unix_ns: i64) -> DateTime<Utc> {
    let millis = unix_ns.div_euclid(1_000_000) + 1;
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}
