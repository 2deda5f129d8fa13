//! Spans of time as people write them: `250ms`, `-2s`, `1m30s`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A span of time in nanoseconds; negative means before.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = ANY), example = &"250ms", example = &"1m30s")]
pub struct Span(i64);

/// What a span looks like, as a pattern for editors.
pub const ANY: &str = r"^-?(([0-9]+\.?[0-9]*|\.[0-9]+)(h|ms|m|us|ns|s))+$";
/// One that is not negative.
pub const NOT_NEGATIVE: &str = r"^(([0-9]+\.?[0-9]*|\.[0-9]+)(h|ms|m|us|ns|s))+$";
/// One of more than no time.
pub const POSITIVE: &str = r"^(?=.*[1-9])(([0-9]+\.?[0-9]*|\.[0-9]+)(h|ms|m|us|ns|s))+$";

/// Units, longest first; `ms` stands before `m` where a unit is read.
const UNITS: [(&str, i64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Span {
    /// 24 hours.
    pub const DAY: Self = Self(24 * 3_600_000_000_000);

    /// A span of so many milliseconds.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms * 1_000_000)
    }

    /// A span of so many nanoseconds.
    pub const fn from_nanos(ns: i64) -> Self {
        Self(ns)
    }

    /// Its length in nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// The standard library's form; a negative span is none at all.
    pub fn to_duration(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("found {text:?}, expected a duration with its unit, like 250ms, 3s or 1m30s")
        };
        let (sign, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let mut total = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
            let after = &rest[digits..];
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (_, unit) = UNITS.iter().find(|(u, _)| *u == &after[..end]).ok_or_else(wrong)?;
            total += number * as_f64(*unit);
            rest = &after[end..];
        }
        if text.trim_start_matches('-').is_empty() {
            return Err(wrong());
        }
        if total > 31.0 * as_f64(Self::DAY.0) {
            return Err(format!("found {text:?}, expected at most 31 days, which is 744h"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most a month, checked above")]
        Ok(Self(sign * total.round() as i64))
    }
}

#[expect(clippy::cast_precision_loss, reason = "spans are far below 2^53 ns")]
fn as_f64(nanos: i64) -> f64 {
    nanos as f64
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.0.abs();
        for (unit, size) in UNITS {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_people_write() {
        for (text, ns) in [
            ("250ms", 250_000_000),
            ("-2s", -2_000_000_000),
            ("1.5s", 1_500_000_000),
            ("1m30s", 90_000_000_000),
            ("0s", 0),
            ("10us", 10_000),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().nanos(), ns, "{text}");
        }
    }

    #[test]
    fn rejects_what_has_no_unit() {
        for text in ["", "-", "3", "s", "3 s", "3sec", "1.2.3s", "99999h", "NaNs"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn reads_what_it_writes(ms in -86_400_000_i64..86_400_000) {
            let span = Span::from_millis(ms);
            proptest::prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
    }
}
