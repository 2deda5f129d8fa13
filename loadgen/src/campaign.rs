//! Creates the campaign, and watches the clock that rules its start. Outside the measured load.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Local, SecondsFormat, Utc};
use contract::history::clock::Probe;
use contract::wire;
use hyper::HeaderMap;

use crate::clock::Clock;
use crate::mapping::{self, Answer, Mapping, Request, Step};
use crate::scenario;

/// How long a set-up request may take.
const PATIENCE: Duration = Duration::from_secs(10);

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
    #[error("{method} {url} answered {status}: {body}; expected {expected}")]
    Refused {
        /// How it was asked.
        method: String,
        /// What was asked.
        url: String,
        /// What it answered.
        status: u16,
        /// The answer's body, its beginning.
        body: String,
        /// What was expected.
        expected: String,
    },
}

/// A campaign that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// What its templates may name, `campaign` among them.
    pub names: BTreeMap<String, String>,
    /// Its start, Unix nanoseconds by the ruling clock, as it was asked for.
    pub starts_at_unix_ns: i64,
}

impl Created {
    /// The campaign's id.
    pub fn id(&self) -> &str {
        self.names.get("campaign").map(String::as_str).unwrap_or_default()
    }
}

impl Desk {
    /// A desk whose probes are stamped with the run's clock.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(clock: Clock) -> Result<Self, SetupError> {
        let http = http(PATIENCE).map_err(|e| unreachable("http client", &e))?;
        Ok(Self { http, clock })
    }

    /// Creates the scenario's campaign at the target `url`, step by step.
    ///
    /// # Errors
    /// When a step is not answered as it should be.
    pub async fn create(
        &self,
        url: &str,
        name: &str,
        wanted: &scenario::Campaign,
        mapping: &Mapping,
    ) -> Result<Created, SetupError> {
        let ahead = match mapping.clock {
            mapping::Clock::LoadHost => 0,
            mapping::Clock::Asked(_) => self.ahead(url).await,
        };
        let starts_at = self.clock.unix_now() + ahead + wanted.starts_in.nanos();
        let starts_at = whole_after(starts_at, mapping.start_unit_ms());
        let mut names = names(url, name, wanted, starts_at);
        for step in &mapping.setup {
            self.take(url, step, &mut names).await?;
        }
        let starts_at_unix_ns = starts_at.timestamp_nanos_opt().unwrap_or(i64::MAX);
        Ok(Created { names, starts_at_unix_ns })
    }

    /// Takes one step and notes what it captures.
    async fn take(
        &self,
        url: &str,
        step: &Step,
        names: &mut BTreeMap<String, String>,
    ) -> Result<(), SetupError> {
        let request = step.request.fill(names);
        let (status, headers, body) = self.ask(url, &request).await?;
        let refused = |expected: String| SetupError::Refused {
            method: request.method.to_string(),
            url: format!("{url}{}", request.uri),
            status,
            body: String::from_utf8_lossy(&body).chars().take(200).collect(),
            expected,
        };
        let fits = step.expect.as_ref().map_or(status / 100 == 2, |s| s.contains(status));
        if !fits {
            return Err(refused(step.expect.as_ref().map_or("2xx".into(), ToString::to_string)));
        }
        let answer = Answer::new(status, &headers, &body);
        for (name, source) in &step.capture {
            let value = source.read(&answer);
            let value = value.ok_or_else(|| refused(format!("{name} at {source}")))?;
            names.insert(name.clone(), value);
        }
        Ok(())
    }

    /// Sends one request to the target `url` and reads the whole answer.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub(crate) async fn ask(
        &self,
        url: &str,
        request: &Request,
    ) -> Result<(u16, HeaderMap, Vec<u8>), SetupError> {
        let url = format!("{url}{}", request.uri);
        let mut asking = self.http.request(request.method.clone(), &url);
        for (name, value) in &request.headers {
            asking = asking.header(name, value);
        }
        let answer = asking.body(request.body.clone()).send().await;
        let answer = answer.map_err(|e| unreachable(&url, &e))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.map_err(|e| unreachable(&url, &e))?;
        Ok((status, headers, body.into()))
    }

    /// How far the target's clock is ahead of the load host's, by its own word, nanoseconds; 0 where
    /// it does not say. Good enough to choose a start; where that lies is then probed.
    async fn ahead(&self, url: &str) -> i64 {
        let sent = self.clock.unix_now();
        let Ok(answer) = self.http.get(url).send().await else { return 0 };
        let between = sent + (self.clock.unix_now() - sent) / 2;
        let stamp = answer.headers().get(wire::header::SERVER_TIME).and_then(|v| v.to_str().ok());
        let theirs = stamp.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        theirs.and_then(|t| t.timestamp_nanos_opt()).map_or(0, |theirs| theirs - between)
    }

    /// Asks the target `url` for the ruling clock. `None` where it does not answer.
    pub async fn probe(&self, url: &str, created: &Created, mapping: &Mapping) -> Option<Probe> {
        let sent = self.clock.now();
        let mapping::Clock::Asked(asked) = &mapping.clock else {
            let stamp = self.clock.anchor().unix_ns + sent;
            return Some(Probe { sent, received: sent, stamp, resolution: 0 });
        };
        let (status, headers, body) =
            self.ask(url, &asked.request.fill(&created.names)).await.ok()?;
        let received = self.clock.now();
        let text = asked.now.read(&Answer::new(status, &headers, &body))?;
        let stamp = DateTime::parse_from_rfc3339(&text).ok()?.timestamp_nanos_opt()?;
        Some(Probe { sent, received, stamp, resolution: resolution(&text) })
    }
}

/// How coarse a printed time is: one unit of its last digit, in nanoseconds.
fn resolution(rfc3339: &str) -> i64 {
    let fraction = rfc3339.split_once('.').map_or("", |(_, rest)| rest);
    let digits = fraction.chars().take_while(char::is_ascii_digit).count();
    10_i64.pow(9_u32.saturating_sub(u32::try_from(digits).unwrap_or(9)))
}

/// What the set-up's templates may name.
fn names(
    url: &str,
    name: &str,
    wanted: &scenario::Campaign,
    starts_at: DateTime<Utc>,
) -> BTreeMap<String, String> {
    let local = starts_at.with_timezone(&Local).format("%Y-%m-%dT%H:%M:%S%.3f");
    let mut names: BTreeMap<String, String> = [
        ("name", name.to_owned()),
        ("campaign", name.to_owned()),
        ("target", url.to_owned()),
        ("coupons", wanted.coupons.to_string()),
        ("starts_at", starts_at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        ("starts_at_s", starts_at.timestamp().to_string()),
        ("starts_at_ms", starts_at.timestamp_millis().to_string()),
        ("starts_at_local", local.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    if let Some(limit) = wanted.per_user_limit {
        names.insert("per_user_limit".into(), u32::from(limit).to_string());
    }
    names
}

/// A client for what is not measured: as direct as the load itself, and nothing is sent twice.
///
/// # Errors
/// When no client can be made.
pub fn http(patience: Duration) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(patience)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
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

/// The next moment that the system can be told: what is told must be the start, to the nanosecond,
/// and it must not move to the past.
fn whole_after(unix_ns: i64, unit_ms: i64) -> DateTime<Utc> {
    let units = unix_ns.div_euclid(unit_ms * 1_000_000) + 1;
    DateTime::from_timestamp_millis(units * unit_ms).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_what_the_system_can_be_told() {
        let at = |unit| whole_after(1_700_000_000_123_456_789, unit).timestamp_millis();
        assert_eq!((at(1), at(1_000)), (1_700_000_000_124, 1_700_000_001_000));
    }

    #[test]
    fn a_printed_time_is_as_coarse_as_its_last_digit() {
        for (text, ns) in [
            ("2026-01-01T00:00:00Z", 1_000_000_000),
            ("2026-01-01T00:00:00.1+09:00", 100_000_000),
            ("2026-01-01T00:00:00.123456Z", 1_000),
            ("2026-01-01T00:00:00.123456789Z", 1),
        ] {
            assert_eq!(resolution(text), ns, "{text}");
        }
    }
}
