//! What an answer means. Rules are tried in order; the first that matches decides.
//!
//! Conditions look at parsed JSON, never at its text: serializers vary spaces, drop zero values and
//! print 64-bit numbers as texts.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;

use contract::outcome::{Coupon, Doubt, Failure, Outcome};
use regex::Regex;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::Fields;
use super::path::{Found, Json, Path};
use super::source::Source;
use super::template::is_name;
use crate::scenario::schema::Text;

/// A whole answer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The body, all of it.
    pub body: &'a [u8],
    headers: &'a dyn Fields,
    json: OnceCell<Option<Json<'a>>>,
}

impl<'a> Answer<'a> {
    /// An answer with these parts.
    pub fn new(status: u16, headers: &'a dyn Fields, body: &'a [u8]) -> Self {
        Self { status, body, headers, json: OnceCell::new() }
    }

    /// The body as JSON, parsed once.
    pub(super) fn json(&self) -> Option<&Json<'a>> {
        self.json.get_or_init(|| Json::parse(self.body)).as_ref()
    }

    /// A header by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.first(name)
    }

    /// A cookie that it sets; of several with this name the last.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        let set = self.headers.all("set-cookie");
        let pairs = set.into_iter().filter_map(|cookie| cookie.split(';').next()?.split_once('='));
        pairs.rev().find(|(n, _)| n.trim() == name).map(|(_, value)| value.trim())
    }
}

/// A rule: all its conditions hold, or it does not match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The status is one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Statuses>,
    /// Headers, by name, match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, Condition>,
    /// Values of the JSON body, by path, match.
    #[serde(default)]
    pub json: JsonConditions,
    /// The body's text matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Pattern>,
    /// The body is empty, or is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<bool>,
    /// The JSON body is a Connect error with this code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
    /// What the answer means then.
    pub is: Meaning,
    /// Where the coupon's code is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Source>,
    /// Where its rank is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Source>,
    /// Where it says how many are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Source>,
    /// Where it says what the system calls this issue, such as an order id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Source>,
    /// Values that the poll or the confirmation names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capture: BTreeMap<String, Source>,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// A coupon; `code` says where its code is.
    Issued,
    /// All coupons are gone.
    SoldOut,
    /// The campaign has not started.
    NotStarted,
    /// There is no such campaign yet.
    NotFound,
    /// The campaign is over for good.
    Ended,
    /// This user holds a coupon already.
    AlreadyIssued,
    /// The request was not looked at, so it certainly had no effect.
    Failed,
    /// The same, and the system said to come back later.
    Busy,
    /// Nobody knows.
    Indeterminate,
    /// The request was taken; polls, or the ledger, tell what came of it.
    Accepted,
    /// A coupon is held for this request until it is confirmed.
    Reserved,
    /// In a poll: not decided yet.
    Pending,
}

impl Meaning {
    /// Whether nothing follows an answer that means this.
    pub fn decides(self) -> bool {
        !matches!(self, Self::Accepted | Self::Reserved | Self::Pending)
    }

    /// As a scenario spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::SoldOut => "sold_out",
            Self::NotStarted => "not_started",
            Self::NotFound => "not_found",
            Self::Ended => "ended",
            Self::AlreadyIssued => "already_issued",
            Self::Failed => "failed",
            Self::Busy => "busy",
            Self::Indeterminate => "indeterminate",
            Self::Accepted => "accepted",
            Self::Reserved => "reserved",
            Self::Pending => "pending",
        }
    }
}

/// What a whole answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// What came of the request.
    Outcome(Outcome<'static>),
    /// It was taken; what came of it is still to be told.
    Accepted(Captured),
    /// A coupon is held for it.
    Reserved(Captured),
    /// A poll: not decided yet.
    Pending,
}

/// Values of an answer, by the names that later templates use.
pub type Captured = BTreeMap<String, String>;

/// One status, several, or a range: `201`, `[200, 201]`, `500-599`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawStatuses", into = "Vec<String>")]
#[schemars(with = "RawStatuses")]
pub struct Statuses(Vec<(u16, u16)>);

#[derive(Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a status like 201, a range like 500-599, or a list of them"
)]
enum RawStatuses {
    /// One status.
    One(#[schemars(range(min = 100, max = 599))] u16),
    /// A range.
    Range(#[schemars(regex(pattern = r"^\s*[1-5][0-9]{2}\s*(-\s*[1-5][0-9]{2}\s*)?$"))] String),
    /// Several.
    Several(#[schemars(extend("minItems" = 1))] Vec<RawStatuses>),
}

impl TryFrom<RawStatuses> for Statuses {
    type Error = String;

    fn try_from(raw: RawStatuses) -> Result<Self, String> {
        let fits = |s: u16| (100..=599).contains(&s);
        let wrong = |what: &dyn fmt::Display| {
            format!("found {what}, expected 100 to 599, a range like 500-599, or a list of them")
        };
        match raw {
            RawStatuses::One(status) if fits(status) => Ok(Self(vec![(status, status)])),
            RawStatuses::One(status) => Err(wrong(&status)),
            RawStatuses::Range(text) => {
                let (from, to) = text.split_once('-').unwrap_or((&text, &text));
                match (from.trim().parse(), to.trim().parse()) {
                    (Ok(a), Ok(b)) if fits(a) && fits(b) && a <= b => Ok(Self(vec![(a, b)])),
                    _ => Err(wrong(&text)),
                }
            }
            RawStatuses::Several(list) if list.is_empty() => Err(wrong(&"an empty list")),
            RawStatuses::Several(list) => {
                let ranges = list.into_iter().map(|raw| Self::try_from(raw).map(|s| s.0));
                Ok(Self(ranges.collect::<Result<Vec<_>, _>>()?.concat()))
            }
        }
    }
}

impl From<Statuses> for Vec<String> {
    fn from(statuses: Statuses) -> Self {
        statuses.0.iter().map(|(a, b)| format!("{a}-{b}")).collect()
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(a, b): &(u16, u16)| if a == b { a.to_string() } else { format!("{a}-{b}") };
        f.write_str(&self.0.iter().map(one).collect::<Vec<_>>().join(", "))
    }
}

impl Statuses {
    /// Whether it is one of them.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(a, b)| (*a..=*b).contains(&status))
    }
}

/// Conditions on values of a JSON body, each with the path to its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "BTreeMap<String, Condition>", into = "BTreeMap<String, Condition>")]
#[schemars(with = "BTreeMap<Path, Condition>")]
pub struct JsonConditions(Vec<(Path, Condition)>);

impl TryFrom<BTreeMap<String, Condition>> for JsonConditions {
    type Error = String;

    fn try_from(conditions: BTreeMap<String, Condition>) -> Result<Self, String> {
        let parsed = conditions.into_iter().map(|(path, c)| {
            let path = Path::try_from(path.clone()).map_err(|what| format!("{path}: {what}"))?;
            Ok((path, c))
        });
        Ok(Self(parsed.collect::<Result<_, String>>()?))
    }
}

impl From<JsonConditions> for BTreeMap<String, Condition> {
    fn from(conditions: JsonConditions) -> Self {
        conditions.0.into_iter().map(|(path, c)| (path.into(), c)).collect()
    }
}

/// A regular expression.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "Text", extend("format" = "regex"))]
pub struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let last = |e: regex::Error| {
            let text = e.to_string();
            let line = text.lines().last().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        };
        Regex::new(&text)
            .map(Self)
            .map_err(|e| format!("found {text:?}, expected a regular expression: {}", last(e)))
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_str().into()
    }
}

/// What a value has to be: a value itself, or a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Condition {
    /// One or several comparisons, all of which hold.
    Compare(Comparison),
    /// Equal to this text, number or truth value; numbers and truth values also where they stand in
    /// a text.
    Equals(#[schemars(with = "Text")] Value),
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ConditionVisitor)
    }
}

/// What stands in braces is a comparison, so that a misspelt one is found.
struct ConditionVisitor;

/// What a condition is, in words.
const ONE_VALUE: &str = "a single value or a comparison, such as {above: 0}";

impl<'de> Visitor<'de> for ConditionVisitor {
    type Value = Condition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ONE_VALUE)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Condition, A::Error> {
        Comparison::deserialize(MapAccessDeserializer::new(map)).map(Condition::Compare)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Condition, A::Error> {
        Err(A::Error::custom(format!("found a list, expected {ONE_VALUE}")))
    }

    fn visit_unit<E: Error>(self) -> Result<Condition, E> {
        Err(E::custom(format!("found nothing, expected {ONE_VALUE}")))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Condition, E> {
        Ok(Condition::Equals(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Condition, E> {
        Ok(Condition::Equals(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Condition, E> {
        Ok(Condition::Equals(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Condition, E> {
        Ok(Condition::Equals(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Condition, E> {
        Ok(Condition::Equals(value.into()))
    }
}

/// Comparisons, all of which hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// It is there and not null, or it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exists: Option<bool>,
    /// Its text matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    matches: Option<Pattern>,
    /// It is a number above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    above: Option<f64>,
    /// It is a number below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    below: Option<f64>,
}

impl Condition {
    /// Whether it holds for a value as text; `None` where there is no value.
    fn holds(&self, found: Option<&str>) -> bool {
        self.holds_for(found, found.is_some())
    }

    /// Whether it holds for what a path finds. A list or an object is there, but has no text.
    fn holds_in(&self, path: &Path, json: Option<&Json<'_>>) -> bool {
        let found = json.and_then(|json| path.one(json)).unwrap_or(Found::Null);
        let is_there = found != Found::Null;
        self.holds_for(found.text().as_deref(), is_there)
    }

    fn holds_for(&self, text: Option<&str>, is_there: bool) -> bool {
        match self {
            Self::Equals(wanted) => text.is_some_and(|text| is_equal(wanted, text)),
            Self::Compare(c) => {
                let number = text.and_then(|text| text.parse::<f64>().ok());
                c.exists.is_none_or(|wanted| wanted == is_there)
                    && c.matches.as_ref().is_none_or(|p| text.is_some_and(|t| p.0.is_match(t)))
                    && c.above.is_none_or(|limit| number.is_some_and(|n| n > limit))
                    && c.below.is_none_or(|limit| number.is_some_and(|n| n < limit))
            }
        }
    }
}

/// Whether a text is a value: the same text or, for a number, the same number however it is spelled.
fn is_equal(wanted: &Value, text: &str) -> bool {
    let Value::Number(number) = wanted else {
        return Found::of(wanted).text().as_deref() == Some(text);
    };
    let spelled = number.to_string();
    match (spelled.parse::<i128>(), text.parse::<i128>()) {
        // Beyond 2^53 not every whole number is a floating-point one.
        (Ok(wanted), Ok(found)) => wanted == found,
        _ => text.parse::<f64>().is_ok_and(|found| Some(found) == number.as_f64()),
    }
}

impl Rule {
    fn matches(&self, answer: &Answer<'_>) -> bool {
        let header =
            |(name, c): (&String, &Condition)| c.holds(answer.header(&name.to_lowercase()));
        let json = |(path, c): &(Path, Condition)| c.holds_in(path, answer.json());
        let text = || String::from_utf8_lossy(answer.body);
        self.status.as_ref().is_none_or(|s| s.contains(answer.status))
            && self.empty.is_none_or(|wanted| wanted == answer.body.is_empty())
            && self.header.iter().all(header)
            // What is no JSON says nothing, not even that something is absent.
            && (self.json.0.is_empty() || answer.json().is_some())
            && self.json.0.iter().all(json)
            && self.body.as_ref().is_none_or(|p| p.0.is_match(&text()))
            && self.connect.as_deref().is_none_or(|code| connect_code(answer) == Some(code))
    }

    /// What is wrong with it as a whole, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.is == Meaning::Issued && self.code.is_none() {
            return Err("`issued` needs `code`, which says where the coupon's code is".into());
        }
        if self.is.decides() && !self.capture.is_empty() {
            let is = self.is.name();
            return Err(format!(
                "capture: nothing follows `{is}` that could name it; it belongs to `accepted` and \
                 `reserved`"
            ));
        }
        match self.capture.keys().find(|name| !is_name(name)) {
            None => Ok(()),
            Some(name) => {
                Err(format!("capture.{name}: found {name:?}, expected a name of a-z, 0-9 and _"))
            }
        }
    }

    /// What a matching answer says. One that lacks a part of what it has to say is no whole answer.
    fn told(&self, answer: &Answer<'_>) -> Told {
        let unreadable = Outcome::Indeterminate(Doubt::Unreadable);
        let code = || self.code.as_ref().and_then(|s| s.read(answer));
        let captured = || self.captured(answer);
        Told::Outcome(match self.is {
            Meaning::Accepted => {
                return captured().map_or(Told::Outcome(unreadable), Told::Accepted);
            }
            Meaning::Reserved => {
                return captured().map_or(Told::Outcome(unreadable), Told::Reserved);
            }
            Meaning::Pending => return Told::Pending,
            Meaning::Issued => code().map_or(unreadable, |code| self.issued(code, answer)),
            Meaning::SoldOut => Outcome::SoldOut,
            Meaning::NotStarted => Outcome::NotStarted,
            Meaning::NotFound => Outcome::NotFound,
            Meaning::Ended => Outcome::Ended,
            Meaning::AlreadyIssued => Outcome::AlreadyIssued(code().map(Into::into)),
            Meaning::Failed => Outcome::Failed(Failure::Rejected),
            Meaning::Busy => Outcome::Failed(Failure::Busy),
            Meaning::Indeterminate => Outcome::Indeterminate(Doubt::ServerError),
        })
    }

    /// What later requests need of it; `None` where it lacks any of that.
    fn captured(&self, answer: &Answer<'_>) -> Option<Captured> {
        let read = |(name, source): (&String, &Source)| Some((name.clone(), source.read(answer)?));
        self.capture.iter().map(read).collect()
    }

    fn issued(&self, code: String, answer: &Answer<'_>) -> Outcome<'static> {
        let number = |s: &Option<Source>| s.as_ref().and_then(|s| s.read_number(answer));
        Outcome::Issued(Coupon {
            code: code.into(),
            seq: number(&self.seq),
            remaining: number(&self.remaining),
            order: self.order.as_ref().and_then(|s| s.read(answer)).map(Into::into),
        })
    }
}

fn connect_code<'a>(answer: &'a Answer<'_>) -> Option<&'a str> {
    answer.json()?.text_at(&["code"])
}

/// The number of the first rule that matches, from 1.
pub fn matching(rules: &[Rule], answer: &Answer<'_>) -> Option<usize> {
    rules.iter().position(|rule| rule.matches(answer)).map(|at| at + 1)
}

/// What an answer means: the first rule that matches decides. Where none does, the answer is
/// unclassified, which fails the run: the rules have a hole.
pub fn classify(rules: &[Rule], answer: &Answer<'_>) -> Told {
    match rules.iter().find(|rule| rule.matches(answer)) {
        Some(rule) => rule.told(answer),
        None => Told::Outcome(Outcome::Indeterminate(Doubt::Unclassified)),
    }
}

#[cfg(test)]
mod tests;
