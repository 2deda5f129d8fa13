//! `thresholds:` of a scenario: what a run has to keep to.
//!
//! A figure that is inferred from samples is judged on the bad end of its 95 % interval, so that a
//! threshold does not hold by luck. A figure without samples, or with too few, does not hold.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::scenario::Span;
use crate::scenario::schema::one_of;
use crate::summary::{Distribution, Estimate, Quantile, Summary};

/// One threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawThreshold", into = "RawThreshold")]
#[schemars(with = "RawThreshold")]
pub struct Threshold {
    figure: Figure,
    of: Of,
    side: Side,
    limit: Limit,
}

/// A threshold as the file spells it.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = one_of(&["below", "above"])))]
struct RawThreshold {
    /// What is judged.
    figure: Figure,
    /// Of response times: whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<Of>,
    /// The figure has to be below this.
    #[serde(skip_serializing_if = "Option::is_none")]
    below: Option<Limit>,
    /// The figure has to be above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    above: Option<Limit>,
}

impl TryFrom<RawThreshold> for Threshold {
    type Error = String;

    fn try_from(raw: RawThreshold) -> Result<Self, String> {
        let figure = raw.figure;
        let (side, limit) = match (raw.below, raw.above) {
            (Some(limit), None) => (Side::Below, limit),
            (None, Some(limit)) => (Side::Above, limit),
            _ => return Err("expected one of `below` and `above`".into()),
        };
        if limit.unit() != figure.unit() {
            let key = if side == Side::Below { "below" } else { "above" };
            return Err(format!("{key}: {figure} needs {}", figure.unit().example()));
        }
        if raw.of.is_some() && !matches!(figure, Figure::Time(Time::Response, _)) {
            return Err(format!("of: it belongs to response times only, not to {figure}"));
        }
        Ok(Self { figure, of: raw.of.unwrap_or(Of::All), side, limit })
    }
}

impl From<Threshold> for RawThreshold {
    fn from(t: Threshold) -> Self {
        let on = |side| (t.side == side).then_some(t.limit);
        Self {
            figure: t.figure,
            of: (t.of != Of::All).then_some(t.of),
            below: on(Side::Below),
            above: on(Side::Above),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            Of::All => "",
            Of::Issued => " of issued",
            Of::Refused => " of refused",
        };
        let side = if self.side == Side::Below { "below" } else { "above" };
        write!(f, "{}{of} {side} {}", self.figure, self.limit)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Below,
    Above,
}

/// Which attempts' response times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Of {
    All,
    Issued,
    Refused,
}

/// A figure that can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
enum Figure {
    Time(Time, Point),
    Count(Fate),
    Share(Fate),
    StartDelay,
    TimeToSellOut,
    IssueRate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    Response,
    Service,
    Lag,
    Queue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Percentile(Quantile),
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Issued,
    Failed,
    Indeterminate,
    Dropped,
}

const TIMES: [(&str, Time); 4] = [
    ("response", Time::Response),
    ("service", Time::Service),
    ("lag", Time::Lag),
    ("queue", Time::Queue),
];
const POINTS: [(&str, Point); 5] = [
    ("p50", Point::Percentile(Quantile::P50)),
    ("p90", Point::Percentile(Quantile::P90)),
    ("p99", Point::Percentile(Quantile::P99)),
    ("p99.9", Point::Percentile(Quantile::P999)),
    ("max", Point::Max),
];
const FATES: [(&str, Fate); 4] = [
    ("issued", Fate::Issued),
    ("failed", Fate::Failed),
    ("indeterminate", Fate::Indeterminate),
    ("dropped", Fate::Dropped),
];

impl Figure {
    /// All figures there are, with their names.
    fn all() -> impl Iterator<Item = (String, Self)> {
        let times = TIMES.iter().flat_map(|(time, t)| {
            POINTS.iter().map(move |(point, p)| (format!("{time}.{point}"), Self::Time(*t, *p)))
        });
        let counts = FATES.iter().map(|(fate, f)| ((*fate).to_owned(), Self::Count(*f)));
        let shares = FATES.iter().map(|(fate, f)| (format!("{fate}.share"), Self::Share(*f)));
        let launch = [
            ("start_delay".to_owned(), Self::StartDelay),
            ("time_to_sell_out".to_owned(), Self::TimeToSellOut),
            ("issue_rate".to_owned(), Self::IssueRate),
        ];
        times.chain(counts).chain(shares).chain(launch)
    }

    fn unit(self) -> Unit {
        match self {
            Self::Time(..) | Self::StartDelay | Self::TimeToSellOut => Unit::Time,
            Self::Share(_) => Unit::Share,
            Self::Count(_) | Self::IssueRate => Unit::Number,
        }
    }
}

impl TryFrom<String> for Figure {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some((_, figure)) = Self::all().find(|(name, _)| *name == text) {
            return Ok(figure);
        }
        let distance = |name: &String| strsim::damerau_levenshtein(name, &text);
        let nearest = Self::all().map(|(name, _)| name).min_by_key(distance);
        let hint = nearest
            .filter(|name| distance(name) <= 3)
            .map_or_else(String::new, |name| format!("; did you mean {name}?"));
        Err(format!(
            "unknown figure {text:?}{hint} (expected response, service, lag or queue with \
             .p50, .p90, .p99, .p99.9 or .max; issued, failed, indeterminate or dropped, also with \
             .share; start_delay; time_to_sell_out; issue_rate)"
        ))
    }
}

impl JsonSchema for Figure {
    fn schema_name() -> Cow<'static, str> {
        "Figure".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<String> = Self::all().map(|(name, _)| name).collect();
        json_schema!({ "description": "A figure that can be judged.", "type": "string", "enum": names })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::all().find(|(_, figure)| figure == self);
        f.write_str(&name.map(|(name, _)| name).unwrap_or_default())
    }
}

impl From<Figure> for String {
    fn from(figure: Figure) -> Self {
        figure.to_string()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Time,
    Share,
    Number,
}

impl Unit {
    fn example(self) -> &'static str {
        match self {
            Self::Time => "a duration with its unit, like 250ms",
            Self::Share => "a share, like 0.1%",
            Self::Number => "a number, like 500",
        }
    }

    /// A value of this unit for people; times come in microseconds.
    fn show(self, value: f64) -> String {
        match self {
            Self::Time => crate::report::duration(value),
            Self::Share => format!("{} %", trimmed(value * 100.0, 3)),
            Self::Number => trimmed(value, 1),
        }
    }
}

/// A number with at most so many decimals, and none that say nothing.
fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    Time(Span),
    /// 1 is all.
    Share(f64),
    Number(f64),
}

impl Limit {
    fn unit(self) -> Unit {
        match self {
            Self::Time(_) => Unit::Time,
            Self::Share(_) => Unit::Share,
            Self::Number(_) => Unit::Number,
        }
    }

    /// In the unit of the figures: times in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "a span is at most a month")]
    fn value(self) -> f64 {
        match self {
            Self::Time(span) => span.nanos() as f64 / 1e3,
            Self::Share(x) | Self::Number(x) => x,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(span) => write!(f, "{span}"),
            Self::Share(x) => write!(f, "{}%", trimmed(x * 100.0, 6)),
            Self::Number(x) => write!(f, "{x}"),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(x) => serializer.serialize_f64(*x),
            Self::Time(_) | Self::Share(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LimitVisitor)
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let span = generator.subschema_for::<Span>();
        json_schema!({
            "description": "What a figure is held against: a duration like 250ms, a share like 1%, or a number.",
            "anyOf": [
                span,
                { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*%$" },
                { "type": "number", "minimum": 0 },
            ],
        })
    }
}

struct LimitVisitor;

impl Visitor<'_> for LimitVisitor {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration like 250ms, a share like 1%, or a number")
    }

    fn visit_f64<E: serde::de::Error>(self, x: f64) -> Result<Limit, E> {
        let fits = x.is_finite() && x >= 0.0;
        fits.then_some(Limit::Number(x))
            .ok_or_else(|| E::custom(format!("found {x}, expected a number from 0 on")))
    }

    #[expect(clippy::cast_precision_loss, reason = "a limit need not be exact beyond 2^53")]
    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Limit, E> {
        self.visit_f64(n as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "a limit need not be exact beyond 2^53")]
    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Limit, E> {
        self.visit_f64(n as f64)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Limit, E> {
        let wrong = || E::custom(format!("found {text:?}, expected {}", Expected));
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.trim_end().parse().map_err(|_| wrong())?;
            let fits = (0.0..=100.0).contains(&percent);
            return fits.then_some(Limit::Share(percent / 100.0)).ok_or_else(wrong);
        }
        text.parse().map(Limit::Time).map_err(|_| wrong())
    }
}

struct Expected;

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        LimitVisitor.expecting(f)
    }
}

/// A threshold and what a run made of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// The threshold in words.
    pub threshold: String,
    /// Whether the run kept to it.
    pub holds: bool,
    /// What was measured; times in microseconds, shares from 0 to 1. Absent where there are no
    /// samples, or too few.
    pub measured: Option<f64>,
    /// The ends of its 95 % interval; the worse one was judged.
    pub interval: Option<[f64; 2]>,
    /// The measured value in words.
    pub shown: String,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.holds { '✓' } else { '✗' };
        write!(f, "{mark} {}: {}", self.threshold, self.shown)
    }
}

/// Holds a run against a scenario's thresholds.
pub fn judge(thresholds: &[Threshold], summary: &Summary) -> Vec<Judgement> {
    thresholds.iter().map(|t| t.judge(summary)).collect()
}

impl Threshold {
    fn judge(&self, summary: &Summary) -> Judgement {
        let measured = self.measure(summary);
        let limit = self.limit.value();
        let holds = measured.is_some_and(|m| match self.side {
            Side::Below => m.high < limit,
            Side::Above => m.low > limit,
        });
        Judgement {
            threshold: self.to_string(),
            holds,
            measured: measured.map(|m| m.value),
            interval: measured.map(|m| [m.low, m.high]),
            shown: self.show(measured, summary),
        }
    }

    fn show(&self, measured: Option<Estimate>, summary: &Summary) -> String {
        let unit = self.figure.unit();
        match (measured, self.figure) {
            (Some(m), _) if m.low == m.high => unit.show(m.value),
            (Some(m), _) => {
                format!("{} [{}, {}]", unit.show(m.value), unit.show(m.low), unit.show(m.high))
            }
            (None, Figure::Time(time, _)) if self.samples(time, summary).samples > 0 => {
                format!("too few samples ({})", self.samples(time, summary).samples)
            }
            (None, _) => "no samples".to_owned(),
        }
    }

    fn samples<'s>(&self, time: Time, summary: &'s Summary) -> &'s Distribution {
        let times = &summary.times;
        match (time, self.of) {
            (Time::Response, Of::All) => &times.response,
            (Time::Response, Of::Issued) => &times.response_of_issued,
            (Time::Response, Of::Refused) => &times.response_of_refused,
            (Time::Service, _) => &times.service,
            (Time::Lag, _) => &times.lag,
            (Time::Queue, _) => &times.queue,
        }
    }

    fn measure(&self, summary: &Summary) -> Option<Estimate> {
        let launch = summary.launch.as_ref();
        match self.figure {
            Figure::Time(time, Point::Percentile(q)) => self.samples(time, summary).percentile(q),
            Figure::Time(time, Point::Max) => self.samples(time, summary).max.map(Estimate::exact),
            Figure::Count(fate) => fate.count(summary),
            Figure::Share(fate) => fate.share(summary),
            Figure::StartDelay => launch.and_then(|l| around(l.start_delay_us, summary)),
            Figure::TimeToSellOut => launch.and_then(|l| around(l.time_to_sell_out_us, summary)),
            Figure::IssueRate => launch.and_then(|l| l.issue_rate).map(Estimate::exact),
        }
    }
}

/// What counts from the start is no better known than the start is.
fn around(value: Option<f64>, summary: &Summary) -> Option<Estimate> {
    let (value, spread) = (value?, summary.launch.as_ref()?.start_uncertainty_us);
    Some(Estimate { value, low: value - spread, high: value + spread })
}

impl Fate {
    fn number(self, summary: &Summary) -> u64 {
        match self {
            Self::Issued => summary.outcomes.issued,
            Self::Failed => summary.outcomes.failed,
            Self::Indeterminate => summary.outcomes.indeterminate,
            Self::Dropped => summary.accounting.dropped,
        }
    }

    /// How many; nothing where nothing was tried.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn count(self, summary: &Summary) -> Option<Estimate> {
        let tried = summary.accounting.sent + summary.accounting.dropped > 0;
        tried.then(|| Estimate::exact(self.number(summary) as f64))
    }

    /// Outcomes are a sample of what the system does; what was dropped is not about the system.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn share(self, summary: &Summary) -> Option<Estimate> {
        let a = &summary.accounting;
        match self {
            Self::Issued | Self::Failed | Self::Indeterminate => {
                Estimate::share(self.number(summary), a.sent)
            }
            Self::Dropped => {
                let due = a.sent + a.dropped;
                (due > 0).then(|| Estimate::exact(a.dropped as f64 / due as f64))
            }
        }
    }
}

#[cfg(test)]
mod tests;
