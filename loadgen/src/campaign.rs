//! Prepares the system, creates campaigns, and watches the clock that rules their start. Outside the
//! measured load.

mod each;
mod stores;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chrono::{DateTime, Local, SecondsFormat, Utc};
use contract::history::clock::{Probe, resolution};
use contract::wire;
use hyper::HeaderMap;

use crate::client::reach::Reach;
use crate::clock::Clock;
use crate::http::Http;
use crate::mapping::rule::{Captured, Statuses};
use crate::mapping::{
    self, Action, Answer, Asked, Each, Mapping, Request, RequestTemplate, Source, Step, Values,
};
use crate::scenario::{self, Scenario};
use crate::secrets::{hidden, value};
use crate::users::{Users, fitting_name};
use each::Errand;
use stores::Stores;

/// How long a request, a statement or a command of the set-up may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of an answer's body a message shows, in characters.
const SHOWN: usize = 200;

/// Talks to the system outside the measured load.
#[derive(Clone, Debug)]
pub struct Desk {
    http: Http,
    clock: Clock,
}

/// Why the set-up failed. No message has a secret in it.
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
        /// The answer's body; once secrets are hidden, its beginning.
        body: String,
        /// What was expected.
        expected: String,
    },
    /// A database did not do as it was told.
    #[error("{url}: {reason}")]
    Store {
        /// Which one, without a password.
        url: String,
        /// Why.
        reason: String,
    },
    /// A step could not be taken, or did not give what it has to.
    #[error("{place}: {reason}")]
    In {
        /// Which step or which part of it, and for which user.
        place: String,
        /// What happened.
        reason: String,
    },
}

impl SetupError {
    /// The same without secrets. What is too long is cut only then, lest half a secret be left.
    pub(crate) fn hiding(self, secrets: &[String]) -> Self {
        let hide = |text: String| hidden(&text, secrets.iter().map(String::as_str));
        match self {
            Self::Unreachable { url, reason } => {
                Self::Unreachable { url: hide(url), reason: hide(reason) }
            }
            Self::Refused { method, url, status, body, expected } => {
                let body = hide(body).chars().take(SHOWN).collect();
                Self::Refused { method, url: hide(url), status, body, expected }
            }
            Self::Store { url, reason } => Self::Store { url: hide(url), reason: hide(reason) },
            Self::In { place, reason } => Self::In { place, reason: hide(reason) },
        }
    }
}

/// What a system was prepared with, before any campaign.
#[derive(Clone)]
pub struct Prepared {
    /// What the templates of every campaign may name.
    pub names: BTreeMap<String, String>,
    /// The users, with what was captured for each.
    pub users: Arc<Users>,
}

impl Prepared {
    /// Base URL of the first target, which the set-up speaks to.
    pub fn target(&self) -> &str {
        self.names.get("target").map(String::as_str).unwrap_or_default()
    }
}

/// A campaign to create.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its start.
    pub starts_at: DateTime<Utc>,
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
    pub fn new(clock: Clock, reach: &Reach) -> Self {
        Self { http: Http::new(reach, PATIENCE), clock }
    }

    /// When the first campaign of a prepared system starts, by the clock that rules it.
    pub async fn first_start(
        &self,
        prepared: &Prepared,
        wanted: &scenario::Campaign,
        mapping: &Mapping,
    ) -> DateTime<Utc> {
        if let Some(instant) = wanted.starts_at {
            return instant;
        }
        let ahead = match &mapping.clock {
            mapping::Clock::LoadHost => 0,
            mapping::Clock::Asked(asked) => self.ahead(asked, prepared).await,
        };
        let starts_at = self.clock.unix_now() + ahead + wanted.starts_in.nanos();
        whole_after(starts_at, mapping.start_unit_ms())
    }

    /// Prepares the system whose first target is at `url`, once for all campaigns.
    ///
    /// # Errors
    /// When a step does not succeed.
    pub async fn prepare(
        &self,
        url: &str,
        scenario: &Scenario,
        store: Option<&str>,
    ) -> Result<Prepared, SetupError> {
        let names = prepare_names(url, scenario, store);
        let mut prepared = Prepared { names, users: scenario.users() };
        let mut stores = Stores::default();
        for (at, step) in scenario.mapping.prepare.iter().enumerate() {
            let place = format!("mapping.prepare[{at}]");
            match step.each {
                None => {
                    let secrets = secrets(&scenario.mapping, &prepared.names);
                    let taken = self.take(step, &prepared.names, &mut stores, &secrets).await;
                    prepared.names.extend(taken.map_err(inside(place))?);
                }
                Some(Each::User) => {
                    let errand = Errand {
                        desk: self.clone(),
                        step: step.clone(),
                        place: place.clone(),
                        names: prepared.names.clone(),
                        users: Arc::clone(&prepared.users),
                        secrets: secrets(&scenario.mapping, &prepared.names),
                        next: AtomicU64::new(0),
                    };
                    let learned = prepared.users.learn(&errand.run().await?);
                    let learned = learned.map_err(|reason| SetupError::In { place, reason })?;
                    prepared.users = Arc::new(learned);
                }
            }
        }
        Ok(prepared)
    }

    /// Creates a campaign of this name in a prepared system, step by step.
    ///
    /// # Errors
    /// When a step does not succeed.
    pub async fn create(
        &self,
        named: &Named<'_>,
        mapping: &Mapping,
        prepared: &Prepared,
    ) -> Result<Created, SetupError> {
        let starts_at = named.starts_at;
        let mut names = prepared.names.clone();
        names.extend(campaign_names(named.name, starts_at));
        let mut stores = Stores::default();
        for (at, step) in mapping.setup.iter().enumerate() {
            let secrets = secrets(mapping, &names);
            let taken = self.take(step, &names, &mut stores, &secrets).await;
            names.extend(taken.map_err(inside(format!("mapping.setup[{at}]")))?);
        }
        let starts_at_unix_ns = starts_at.timestamp_nanos_opt().unwrap_or(i64::MAX);
        Ok(Created { names, starts_at_unix_ns })
    }

    /// Takes one step and gives what it captures. No error has one of the `secrets` in it, nor a
    /// variable that the step names.
    async fn take(
        &self,
        step: &Step,
        values: &(impl Values + Sync),
        stores: &mut Stores,
        secrets: &[String],
    ) -> Result<Captured, SetupError> {
        let hide = |e: SetupError| {
            let variables = step.variables().into_iter().filter_map(|name| value(&name).ok());
            let all: Vec<String> = secrets.iter().cloned().chain(variables).collect();
            e.hiding(&all)
        };
        let taken = match &step.action {
            Action::Http { request, expect, capture } => {
                self.request(request, expect.as_ref(), capture, values).await
            }
            Action::Sql { sql, capture } => {
                stores.sql(sql, values).await.and_then(|row| columns(&row, capture))
            }
            Action::Redis { redis, capture } => match stores.redis(redis, values).await {
                Ok(None) if !capture.is_empty() => Err(SetupError::In {
                    place: "redis".into(),
                    reason: "the last reply: expected a text or a number".into(),
                }),
                Ok(reply) => {
                    let reply = reply.unwrap_or_default();
                    Ok(capture.iter().map(|name| (name.clone(), reply.clone())).collect())
                }
                Err(error) => Err(error),
            },
        };
        taken.and_then(fitting).map_err(hide)
    }

    /// Asks the first target and reads what is to be captured.
    async fn request(
        &self,
        request: &RequestTemplate,
        expect: Option<&Statuses>,
        capture: &BTreeMap<String, Source>,
        values: &(impl Values + Sync),
    ) -> Result<Captured, SetupError> {
        let url = values.value("target").unwrap_or_default();
        let request = request.fill(values);
        let (status, headers, body) = self.ask(&url, &request).await?;
        let answer = Answer::new(status, &headers, &body);
        let read = |(name, source): (&String, &Source)| Some((name.clone(), source.read(&answer)?));
        let found: Captured = capture.iter().filter_map(read).collect();
        let refused = |expected: String| {
            let body = String::from_utf8_lossy(&body);
            // What is to be captured is a secret, also in an answer that lacks something else.
            let body = hidden(&body, found.values().map(String::as_str));
            SetupError::Refused {
                method: request.method.to_string(),
                url: format!("{url}{}", request.uri),
                status,
                body,
                expected,
            }
        };
        let fits = expect.map_or(status / 100 == 2, |s| s.contains(status));
        if !fits {
            return Err(refused(expect.map_or("2xx".into(), ToString::to_string)));
        }
        match capture.iter().find(|(name, _)| !found.contains_key(*name)) {
            Some((name, source)) => Err(refused(format!("{name} at {source}"))),
            None => Ok(found),
        }
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
        let answered = self.http.ask(url, request).await;
        let url = || format!("{url}{}", request.uri);
        answered.map_err(|reason| SetupError::Unreachable { url: url(), reason })
    }

    /// How far the ruling clock is ahead of the load host's, by its own word, nanoseconds; 0 where
    /// it does not say. Good enough to choose a start; where that lies is then probed.
    ///
    /// A clock that is asked about a campaign cannot be asked before there is one: what the first
    /// target shows in a header of any answer has to do then.
    async fn ahead(&self, asked: &Asked, prepared: &Prepared) -> i64 {
        let (url, names) = (prepared.target(), &prepared.names);
        let sent = self.clock.unix_now();
        let told = match asked.is_ready(names) {
            true => self.time(url, &asked.request.fill(names), |a| asked.now.read(a)).await,
            false => {
                let stamp = |a: &Answer<'_>| a.header(wire::header::SERVER_TIME).map(str::to_owned);
                self.time(url, &Request::get("/"), stamp).await
            }
        };
        let between = sent + (self.clock.unix_now() - sent) / 2;
        told.map_or(0, |told| told.stamp + told.resolution - between)
    }

    /// Asks the target `url` for a time, RFC 3339. `None` where its answer has none.
    async fn time(
        &self,
        url: &str,
        request: &Request,
        read: impl Fn(&Answer<'_>) -> Option<String>,
    ) -> Option<Probe> {
        let sent = self.clock.now();
        let (status, headers, body) = self.ask(url, request).await.ok()?;
        let received = self.clock.now();
        let text = read(&Answer::new(status, &headers, &body))?;
        let stamp = DateTime::parse_from_rfc3339(&text).ok()?.timestamp_nanos_opt()?;
        Some(Probe { sent, received, stamp, resolution: resolution(&text) })
    }

    /// Asks the target `url` for the ruling clock. `None` where it does not answer.
    pub async fn probe(&self, url: &str, created: &Created, mapping: &Mapping) -> Option<Probe> {
        let mapping::Clock::Asked(asked) = &mapping.clock else {
            let sent = self.clock.now();
            let stamp = self.clock.anchor().unix_ns + sent;
            return Some(Probe { sent, received: sent, stamp, resolution: 0 });
        };
        self.time(url, &asked.request.fill(&created.names), |a| asked.now.read(a)).await
    }
}

/// Gives a failure the place of its step.
fn inside(place: String) -> impl FnOnce(SetupError) -> SetupError {
    move |error| SetupError::In { place, reason: error.to_string() }
}

/// What was captured, if what goes into the history is short enough for it.
fn fitting(captured: Captured) -> Result<Captured, SetupError> {
    for name in ["campaign", "user"] {
        if let Some(value) = captured.get(name) {
            fitting_name(value).map_err(|reason| SetupError::In {
                place: format!("capture of `{name}`"),
                reason,
            })?;
        }
    }
    Ok(captured)
}

/// The values that a step captures: columns of a row.
fn columns(
    row: &[(String, Option<String>)],
    capture: &BTreeMap<String, String>,
) -> Result<Captured, SetupError> {
    let find = |(name, column): (&String, &String)| {
        let found = row.iter().find(|(c, _)| c.eq_ignore_ascii_case(column));
        let value = found.and_then(|(_, value)| value.clone());
        let value = value.ok_or_else(|| {
            let there: Vec<&str> = row.iter().map(|(c, _)| c.as_str()).collect();
            let what = match (found, there.is_empty()) {
                (Some(_), _) => "it is NULL, or no text".into(),
                (None, true) => "there is no row".into(),
                (None, false) => format!("the columns are {}", there.join(", ")),
            };
            let reason = format!("expected a value in the column {column:?}, {what}");
            SetupError::In { place: format!("sql, capture of `{name}`"), reason }
        });
        Ok((name.clone(), value?))
    };
    capture.iter().map(find).collect()
}

/// What was captured so far, which no message may show.
fn secrets(mapping: &Mapping, names: &BTreeMap<String, String>) -> Vec<String> {
    mapping.captured().into_iter().filter_map(|name| names.get(name).cloned()).collect()
}

/// What templates may name before any campaign is created.
fn prepare_names(url: &str, scenario: &Scenario, store: Option<&str>) -> BTreeMap<String, String> {
    let mut names = BTreeMap::from([
        ("name".to_owned(), scenario.name.as_str().to_owned()),
        ("target".to_owned(), url.to_owned()),
        ("coupons".to_owned(), scenario.campaign.coupons.to_string()),
    ]);
    if let Some(limit) = scenario.campaign.per_user_limit {
        names.insert("per_user_limit".into(), u32::from(limit).to_string());
    }
    names.extend(store.map(|store| ("store".to_owned(), store.to_owned())));
    names
}

/// What the templates of a campaign's set-up may name besides.
fn campaign_names(name: &str, starts_at: DateTime<Utc>) -> BTreeMap<String, String> {
    let zoneless = "%Y-%m-%dT%H:%M:%S%.3f";
    let local = starts_at.with_timezone(&Local).format(zoneless);
    [
        ("name", name.to_owned()),
        ("campaign", name.to_owned()),
        ("starts_at", starts_at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        ("starts_at_utc", starts_at.format(zoneless).to_string()),
        ("starts_at_s", starts_at.timestamp().to_string()),
        ("starts_at_ms", starts_at.timestamp_millis().to_string()),
        ("starts_at_local", local.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
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
    fn a_secret_is_hidden_before_a_body_is_cut() {
        let body = format!("{}hush-hush", "x".repeat(SHOWN - 4));
        let (method, url, expected) = ("POST".into(), "http://h".into(), "2xx".into());
        let error = SetupError::Refused { method, url, status: 500, body, expected };
        let text = error.hiding(&["hush-hush".into()]).to_string();
        assert!(!text.contains("hush") && text.contains("x***; expected 2xx"), "{text}");
    }

    #[test]
    fn names_that_no_record_could_hold_are_refused() {
        let captured = |value: String| Captured::from([("campaign".to_owned(), value)]);
        assert!(fitting(captured("c".repeat(1_000))).is_ok());
        let message = fitting(captured("c".repeat(1_001))).unwrap_err().to_string();
        let want = "capture of `campaign`: found a name of 1001 bytes, expected at most 1,000";
        assert_eq!(message, want);
    }

    #[test]
    fn the_start_is_what_the_system_can_be_told() {
        let at = |unit| whole_after(1_700_000_000_123_456_789, unit).timestamp_millis();
        assert_eq!((at(1), at(1_000)), (1_700_000_000_124, 1_700_000_001_000));
    }
}
