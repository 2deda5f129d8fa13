//! How buyers behave: what one of them does besides asking once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::number::number;
use super::{Positive, Span, duration};

/// How some of the buyers behave. Which buyer behaves how is drawn from the seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Buyer {
    /// How many of the buyers, in proportion to the weights of the others.
    pub weight: Weight,
    /// How often each asks, whatever the answers are: a double click, several tabs, a refresh.
    pub requests: Requests,
    /// Time between these requests.
    pub apart: Pause,
    /// Where the further ones go.
    pub to: Towards,
    /// Which idempotency key the further ones carry.
    pub key: KeyUse,
    /// Hangs up so long after sending, if there is no answer by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hang_up: Option<Positive>,
    /// What makes a buyer ask again: the first entry whose outcomes have the answer's.
    pub retry: Vec<Retry>,
    /// Whether a reserved coupon is confirmed.
    pub confirm: Confirming,
}

impl Default for Buyer {
    fn default() -> Self {
        Self {
            weight: Weight(1),
            requests: Requests(1),
            apart: Pause::default(),
            to: Towards::default(),
            key: KeyUse::New,
            hang_up: None,
            retry: Vec::new(),
            confirm: Confirming::default(),
        }
    }
}

/// What makes a buyer ask again, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// After which outcomes.
    pub on: Triggers,
    /// How often at the most.
    pub at_most: Times,
    /// How long the buyer waits before.
    #[serde(default)]
    pub after: Pause,
    /// Each further wait is so many times the one before.
    #[serde(default)]
    pub factor: Factor,
    /// A random share of the wait that is left out, from the seed.
    #[serde(default)]
    pub jitter: Jitter,
    /// Whether the wait is at least what a `Retry-After` header (in seconds) asks for.
    #[serde(default = "yes")]
    pub retry_after: bool,
    /// Which idempotency key the retry carries.
    #[serde(default)]
    pub key: KeyUse,
    /// Where it goes.
    #[serde(default)]
    pub to: Towards,
}

fn yes() -> bool {
    true
}

/// One outcome or more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<Trigger>")]
#[schemars(with = "Vec<Trigger>", inline, extend("minItems" = 1))]
pub struct Triggers(Vec<Trigger>);

impl Triggers {
    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Trigger> {
        self.0.iter()
    }
}

impl TryFrom<Vec<Trigger>> for Triggers {
    type Error = String;

    fn try_from(outcomes: Vec<Trigger>) -> Result<Self, String> {
        if outcomes.is_empty() {
            return Err("found an empty list, expected an outcome, such as busy".into());
        }
        Ok(Self(outcomes))
    }
}

/// An outcome that can make a buyer ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// No whole answer in time.
    Timeout,
    /// The connection broke.
    Disconnected,
    /// Any outcome that nobody knows.
    Indeterminate,
    /// No connection was made.
    NotConnected,
    /// The system said to come back later.
    Busy,
    /// Any request that certainly had no effect.
    Failed,
    /// Not started yet.
    NotStarted,
    /// Not there yet.
    NotFound,
    /// All gone.
    SoldOut,
}

/// Which target a further request goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Towards {
    /// The next one in turn: another instance, where there are several.
    #[default]
    NextTarget,
    /// The one that got the request before.
    SameTarget,
}

/// Which idempotency key a further request carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// That of the request before.
    #[default]
    Same,
    /// One of its own.
    New,
}

/// Whether a reserved coupon is confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confirming {
    /// At once.
    #[default]
    Now,
    /// After a while.
    After(Positive),
    /// Not at all.
    Never,
}

/// A wait: 0s to an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Span")]
#[schemars(with = "Span", extend("pattern" = duration::NOT_NEGATIVE))]
pub struct Pause(Span);

impl Default for Pause {
    fn default() -> Self {
        Self(Span::from_millis(0))
    }
}

impl Pause {
    /// Nanoseconds.
    pub fn nanos(self) -> i64 {
        self.0.nanos()
    }
}

impl TryFrom<Span> for Pause {
    type Error = String;

    fn try_from(span: Span) -> Result<Self, String> {
        let fits = (0..=3_600_000_000_000).contains(&span.nanos());
        fits.then_some(Self(span)).ok_or_else(|| format!("found {span}, expected 0s to 1h"))
    }
}

number! {
    /// A share of the buyers, in proportion to others.
    Weight, 1_000_000, "1,000,000"
}
number! {
    /// How often a buyer asks.
    Requests, 1_000, "1,000"
}
number! {
    /// How often a buyer retries.
    Times, 1_000, "1,000"
}

/// How much longer each wait is: 1 to 10 times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(with = "f64", extend("minimum" = 1, "maximum" = 10))]
pub struct Factor(f64);

impl Default for Factor {
    fn default() -> Self {
        Self(1.0)
    }
}

impl TryFrom<f64> for Factor {
    type Error = String;

    fn try_from(factor: f64) -> Result<Self, String> {
        let fits = (1.0..=10.0).contains(&factor);
        fits.then_some(Self(factor)).ok_or_else(|| format!("found {factor}, expected 1 to 10"))
    }
}

impl From<Factor> for f64 {
    fn from(f: Factor) -> Self {
        f.0
    }
}

/// A share from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(with = "f64", extend("minimum" = 0, "maximum" = 1))]
pub struct Jitter(f64);

impl TryFrom<f64> for Jitter {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        let fits = (0.0..=1.0).contains(&share);
        fits.then_some(Self(share)).ok_or_else(|| format!("found {share}, expected 0 to 1"))
    }
}

impl From<Jitter> for f64 {
    fn from(j: Jitter) -> Self {
        j.0
    }
}

impl Retry {
    /// How long to wait before retry `number`, from 1 on: nanoseconds. `luck` is from 0 to 1, and
    /// `asked` what the answer asked for.
    pub fn wait(&self, number: u32, luck: f64, asked: Option<i64>) -> i64 {
        const LONGEST: f64 = 3.6e12;
        let exponent = i32::try_from(number.saturating_sub(1)).unwrap_or(i32::MAX);
        // Clamped before it is multiplied: no wait, endlessly often, is no wait.
        let growth = self.factor.0.powi(exponent).min(LONGEST);
        let whole = (self.after.0.nanos() as f64 * growth).min(LONGEST);
        let wait = whole * (1.0 - self.jitter.0 * luck);
        #[expect(clippy::cast_possible_truncation, reason = "at most an hour")]
        let wait = wait as i64;
        asked.filter(|_| self.retry_after).map_or(wait, |asked| wait.max(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(text: &str) -> Retry {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn waits_grow_and_are_jittered() {
        let retry = retry("{on: [busy], at_most: 9, after: 100ms, factor: 2, jitter: 0.5}");
        assert_eq!(retry.wait(1, 0.0, None), 100_000_000);
        assert_eq!(retry.wait(3, 0.0, None), 400_000_000);
        assert_eq!(retry.wait(3, 1.0, None), 200_000_000);
        assert_eq!(retry.wait(1_000, 0.0, None), 3_600_000_000_000);
    }

    #[test]
    fn no_wait_does_not_grow() {
        let retry = retry("{on: [busy], at_most: 1000, factor: 10}");
        assert_eq!((retry.wait(1, 0.0, None), retry.wait(1_000, 0.0, None)), (0, 0));
    }

    #[test]
    fn retry_after_is_honoured_unless_told_otherwise() {
        let asked = Some(2_000_000_000);
        assert_eq!(retry("{on: [busy], at_most: 1}").wait(1, 0.0, asked), 2_000_000_000);
        let deaf = retry("{on: [busy], at_most: 1, after: 1ms, retry_after: false}");
        assert_eq!(deaf.wait(1, 0.0, asked), 1_000_000);
    }

    #[test]
    fn a_buyer_asks_once_by_default() {
        let buyer: Buyer = serde_saphyr::from_str("{}").unwrap();
        assert_eq!(buyer, Buyer::default());
        assert_eq!((buyer.requests.get(), buyer.confirm), (1, Confirming::Now));
        let late: Buyer = serde_saphyr::from_str("{confirm: {after: 2s}}").unwrap();
        assert!(matches!(late.confirm, Confirming::After(_)));
    }
}
