//! What other load generators write: CSV, k6's and vegeta's results.
//!
//! Whatever the format, each request is one record of named values, and a file says which of them is
//! what. None of these tools writes a request down before it is sent. So a request that was under way
//! at the end is missing without a trace, and such a history always has a gap: it proves what it
//! shows, and never that nothing else happened.

mod records;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use chrono::{DateTime, Utc};
use contract::campaign::{PerUser, Window};
use contract::history::clock::resolution;
use contract::history::{Completion, Event, Integrity, Invocation, Kind, Promise};
use contract::outcome::{Coupon, Doubt, Failure, Outcome};
use contract::store::Cell;
use contract::yaml::{self, Wrong};
use serde::Deserialize;
use serde_json::Value;

/// How to read the results of another load generator.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// What wrote them.
    pub format: Format,
    /// Of k6: the metric with one point a request, where it is not the usual one.
    #[serde(default)]
    pub metric: Option<String>,
    /// The campaign that was asked for coupons.
    pub campaign: Campaign,
    /// When a request was sent.
    #[serde(default)]
    pub sent: Option<Time>,
    /// When it was answered.
    #[serde(default)]
    pub answered: Option<Time>,
    /// How long it took, where one of the two is not there.
    #[serde(default)]
    pub took: Option<Time>,
    /// Where a record has the user, the idempotency key and the code.
    #[serde(default)]
    pub columns: BTreeMap<Named, Cell>,
    /// What an answer means: the first rule that holds.
    pub outcomes: Vec<Rule>,
}

/// What wrote the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Any tool, with a header line.
    Csv,
    /// `k6 run --out json=FILE`.
    K6Json,
    /// `k6 run --out csv=FILE`.
    K6Csv,
    /// `vegeta encode --to json`.
    VegetaJson,
    /// `vegeta encode --to csv`.
    VegetaCsv,
}

/// What a record may tell besides its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Named {
    /// Who asked.
    User,
    /// The idempotency key.
    Key,
    /// The coupon's code.
    Code,
}

/// What a campaign promised.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// Its id.
    pub id: String,
    /// How many coupons there are.
    pub coupons: u64,
    /// When it starts, by the clock of the load host.
    pub starts_at: DateTime<Utc>,
    /// The limit per user, if there is one.
    #[serde(default)]
    pub per_user: Option<PerUser>,
}

/// Where a time stands, and in which unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// Where.
    pub at: Cell,
    /// In what.
    pub unit: Unit,
}

/// A unit of time. It is also how coarse the time is, unless digits behind the point make it finer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
    /// A date and time.
    Rfc3339,
}

/// What an answer means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What the record has to say, all of it.
    #[serde(default)]
    pub when: BTreeMap<String, Value>,
    /// What it means then.
    pub is: Meaning,
}

/// What a record means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// A coupon; indeterminate where the record has no code.
    Issued,
    /// All were gone.
    SoldOut,
    /// It had not started.
    NotStarted,
    /// There was none yet.
    NotFound,
    /// It was over.
    Ended,
    /// The user held one already.
    AlreadyIssued,
    /// It certainly had no effect.
    Failed,
    /// Nobody knows.
    Indeterminate,
    /// It did not ask for a coupon.
    Ignore,
}

impl Results {
    /// Reads how results are to be read.
    ///
    /// # Errors
    /// When the file says something it must not; the message has the place.
    pub fn load(path: &Path) -> Result<Self, Wrong> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|e| Wrong { place: place.clone(), what: e.to_string() })?;
        let mut results: Self =
            yaml::read(path, &text, "how results are read (see docs/history-format.md)")?;
        results.complete();
        if results.metric.is_some() && !results.format.has_metrics() {
            let what = "metric: only k6 has metrics; leave it out";
            return Err(yaml::whole(path, &text, what));
        }
        let times = [&results.sent, &results.answered, &results.took];
        if times.into_iter().flatten().count() < 2 {
            let what = "expected two of `sent`, `answered` and `took`";
            return Err(yaml::whole(path, &text, what));
        }
        for (at, rule) in results.outcomes.iter().enumerate() {
            for key in rule.when.keys() {
                Cell::try_from(key.clone())
                    .map_err(|e| yaml::whole(path, &text, &format!("outcomes[{at}].when: {e}")))?;
            }
        }
        Ok(results)
    }

    /// What a format says by itself.
    fn complete(&mut self) {
        let time = |name: &str, unit| Some(Time { at: Cell::Named(name.to_owned()), unit });
        let (sent, answered, took) = match self.format {
            Format::Csv => return,
            Format::K6Json => (None, time("time", Unit::Rfc3339), time("value", Unit::Ms)),
            Format::K6Csv => (None, time("timestamp", Unit::S), time("metric_value", Unit::Ms)),
            Format::VegetaJson => {
                (time("timestamp", Unit::Rfc3339), None, time("latency", Unit::Ns))
            }
            Format::VegetaCsv => (time("timestamp", Unit::Ns), None, time("latency", Unit::Ns)),
        };
        self.sent = self.sent.take().or(sent);
        self.answered = self.answered.take().or(answered);
        self.took = self.took.take().or(took);
    }

    /// Calls `each` for every event.
    ///
    /// # Errors
    /// When a record cannot be understood; the message has its line.
    pub fn read(&self, path: &Path, each: &mut dyn FnMut(Event<'_>)) -> Result<Integrity> {
        let starts_at = self.campaign.starts_at.timestamp_nanos_opt();
        let starts_at = starts_at.context("campaign.starts_at: expected a time of this age")?;
        each(Event::Campaign(Promise {
            campaign: self.campaign.id.as_str().into(),
            coupons: self.campaign.coupons,
            starts_at: Window { earliest: starts_at, latest: starts_at },
            per_user: self.campaign.per_user,
            restock: false,
        }));
        let mut op = 0;
        let metric = self.metric.as_deref().unwrap_or(records::REQUEST);
        records::read(path, (self.format, metric), &mut |record| {
            let Some(outcome) = self.outcome(record) else { return Ok(()) };
            op += 1;
            self.events(op, record, outcome, each)
        })?;
        Ok(Integrity { invocations: op, completions: op, gaps: vec![self.format.gap().to_owned()] })
    }

    fn events(
        &self,
        op: u64,
        record: &Value,
        outcome: Outcome<'static>,
        each: &mut dyn FnMut(Event<'_>),
    ) -> Result<()> {
        let (sent, answered) = self.ends(record)?;
        let named = |name| self.named(name, record).map(Into::into);
        each(Event::Invoke(Invocation {
            op,
            campaign: self.campaign.id.as_str().into(),
            kind: Kind::Issue,
            at: sent,
            intended: None,
            woken: None,
            target: None,
            user: named(Named::User),
            key: named(Named::Key),
            follows: None,
        }));
        let (accepted, status, stamp) = (None, None, None);
        each(Event::Complete(Completion { op, at: answered, accepted, outcome, status, stamp }));
        Ok(())
    }

    /// Both ends of a request, as far apart as their units allow: an end that is the other one and what
    /// it took is as coarse as both together.
    fn ends(&self, record: &Value) -> Result<(i64, i64)> {
        let read = |time: &Option<Time>| time.as_ref().map(|t| t.read(record)).transpose();
        let both = match (read(&self.sent)?, read(&self.answered)?, read(&self.took)?) {
            (Some(sent), Some(answered), _) => (sent, answered),
            (Some(sent), None, Some(took)) => {
                (sent, (sent.0.saturating_add(took.0), sent.1.saturating_add(took.1)))
            }
            (None, Some(end), Some(took)) => {
                ((end.0.saturating_sub(took.0), end.1.saturating_add(took.1)), end)
            }
            (_, _, _) => bail!("expected two of `sent`, `answered` and `took`"),
        };
        let (sent, answered) = both;
        Ok((sent.0.saturating_sub(sent.1), answered.0.saturating_add(answered.1)))
    }

    /// What it means; nothing where it did not ask for a coupon.
    fn outcome(&self, record: &Value) -> Option<Outcome<'static>> {
        let Some(rule) = self.outcomes.iter().find(|rule| rule.holds(record)) else {
            return Some(Outcome::Indeterminate(Doubt::Unclassified));
        };
        let code = || self.named(Named::Code, record);
        Some(match rule.is {
            Meaning::Ignore => return None,
            Meaning::Issued => match code() {
                Some(code) => {
                    let (code, seq, remaining, order) = (code.into(), None, None, None);
                    Outcome::Issued(Coupon { code, seq, remaining, order })
                }
                None => Outcome::Indeterminate(Doubt::Unreadable),
            },
            Meaning::SoldOut => Outcome::SoldOut,
            Meaning::NotStarted => Outcome::NotStarted,
            Meaning::NotFound => Outcome::NotFound,
            Meaning::Ended => Outcome::Ended,
            Meaning::AlreadyIssued => Outcome::AlreadyIssued(code().map(Into::into)),
            Meaning::Failed => Outcome::Failed(Failure::Unspecified),
            Meaning::Indeterminate => Outcome::Indeterminate(Doubt::Unspecified),
        })
    }

    fn named(&self, name: Named, record: &Value) -> Option<String> {
        text(self.columns.get(&name)?, record).filter(|text| !text.is_empty())
    }
}

impl Rule {
    fn holds(&self, record: &Value) -> bool {
        self.when.iter().all(|(at, wanted)| {
            let cell = Cell::try_from(at.clone()).ok();
            let found = cell.and_then(|cell| text(&cell, record)).unwrap_or_default();
            scalar(wanted).unwrap_or_default() == found
        })
    }
}

impl Time {
    /// Nanoseconds, and how coarse they are.
    fn read(&self, record: &Value) -> Result<(i64, i64)> {
        let name = || String::from(self.at.clone());
        let found = text(&self.at, record).with_context(|| format!("it has no {}", name()))?;
        let wrong = || anyhow!("{}: found {found:?}, expected {}", name(), self.unit.words());
        let scale = match self.unit {
            Unit::Rfc3339 => {
                let time = DateTime::parse_from_rfc3339(&found).map_err(|_| wrong())?;
                return Ok((time.timestamp_nanos_opt().ok_or_else(wrong)?, resolution(&found)));
            }
            Unit::Ns => 1,
            Unit::Us => 1_000,
            Unit::Ms => 1_000_000,
            Unit::S => 1_000_000_000,
        };
        let (whole, fraction) = found.split_once('.').unwrap_or((&found, ""));
        let whole: i64 = whole.parse().map_err(|_| wrong())?;
        let mut part = 0;
        // A digit behind the point is a tenth of what stands before it, and makes the time finer.
        let mut unit: i64 = scale;
        for digit in fraction.chars() {
            let digit = digit.to_digit(10).ok_or_else(wrong)?;
            unit /= 10;
            part += i64::from(digit) * unit;
        }
        let time = whole.checked_mul(scale).and_then(|t| t.checked_add(part)).ok_or_else(wrong)?;
        Ok((time, unit.max(1)))
    }
}

impl Unit {
    fn words(self) -> &'static str {
        match self {
            Self::Rfc3339 => "a time like 2026-11-21T10:00:00Z",
            Self::Ns | Self::Us | Self::Ms | Self::S => "a number",
        }
    }
}

impl Format {
    fn has_metrics(self) -> bool {
        matches!(self, Self::K6Json | Self::K6Csv)
    }

    /// What such results do not tell.
    fn gap(self) -> &'static str {
        match self {
            Self::Csv => {
                "a CSV file does not tell whether a request is missing: one that was under way at the \
                 end may hold a coupon"
            }
            Self::K6Json | Self::K6Csv => {
                "k6 writes a request down when it is over: one that was under way at the end may hold \
                 a coupon and is missing"
            }
            Self::VegetaJson | Self::VegetaCsv => {
                "vegeta writes a request down when it is over: one that was under way at the end may \
                 hold a coupon and is missing"
            }
        }
    }
}

fn text(cell: &Cell, record: &Value) -> Option<String> {
    scalar(match cell {
        Cell::Json(at) => at.one(record)?,
        Cell::Named(name) => record.get(name)?,
    })
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_coarse_as_they_are_written() {
        let read = |text: &str, unit| {
            let at = Cell::Named("t".into());
            Time { at, unit }.read(&serde_json::json!({ "t": text })).map_err(|e| e.to_string())
        };
        assert_eq!(read("12", Unit::S), Ok((12_000_000_000, 1_000_000_000)));
        assert_eq!(read("12.5", Unit::S), Ok((12_500_000_000, 100_000_000)));
        assert_eq!(read("3.250001", Unit::Ms), Ok((3_250_001, 1)));
        let date = |text| read(text, Unit::Rfc3339);
        assert_eq!(date("1970-01-01T00:00:01.000000002Z"), Ok((1_000_000_002, 1)));
        assert_eq!(date("1970-01-01T00:00:01.5+00:00"), Ok((1_500_000_000, 100_000_000)));
        assert_eq!(date("1970-01-01T00:00:01Z"), Ok((1_000_000_000, 1_000_000_000)));
        assert_eq!(read("soon", Unit::Ms).unwrap_err(), "t: found \"soon\", expected a number");
    }
    #[test]
    fn an_end_that_is_reckoned_is_as_coarse_as_both() {
        let ends = |times: &str| {
            let how = format!(
                "format: csv\ncampaign: {{ id: c, coupons: 1, starts_at: 2026-01-01T00:00:00Z }}\n\
                 outcomes: []\n{times}"
            );
            let results: Results = yaml::read(Path::new("how"), &how, "").unwrap();
            results.ends(&serde_json::json!({ "a": "5000", "b": "6", "t": "30" })).unwrap()
        };
        let took = "took: { at: t, unit: ns }";
        assert_eq!(ends(&format!("sent: {{ at: a, unit: us }}\n{took}")), (4_999_000, 5_001_031));
        let end = "answered: { at: b, unit: ms }";
        assert_eq!(ends(&format!("{end}\n{took}")), (4_999_969, 7_000_000));
        assert_eq!(ends(&format!("sent: {{ at: a, unit: us }}\n{end}")), (4_999_000, 7_000_000));
    }
}
