//! Percentiles with what is certain about them.
//!
//! The attempts of a run are a sample of what the system does. A percentile of it therefore comes
//! with its two-sided 95 % confidence interval, by order statistics: the number of samples below
//! the true percentile is binomial, whatever the distribution, so two of the samples themselves
//! enclose it. Where no two samples do, there is no number at all: a p99 needs 368 samples.

use hdrhistogram::Histogram;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Longest time a histogram tells apart: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// What may lie beyond each end of an interval: half of what 95 % leave.
const TAIL: f64 = 0.025;
/// Below this share of the mode, a binomial weight adds nothing that a double could hold.
const NEGLIGIBLE: f64 = 1e-18;

/// The percentiles that are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantile {
    /// Median.
    P50,
    /// 90th percentile.
    P90,
    /// 99th percentile.
    P99,
    /// 99.9th percentile.
    P999,
}

impl Quantile {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::P50, Self::P90, Self::P99, Self::P999];

    /// Its share of the samples.
    pub fn share(self) -> f64 {
        match self {
            Self::P50 => 0.5,
            Self::P90 => 0.9,
            Self::P99 => 0.99,
            Self::P999 => 0.999,
        }
    }

    /// Its name in `summary.json`.
    pub fn key(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::P999 => "p999",
        }
    }

    /// Its name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
        }
    }
}

/// A measured value and the ends of its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// What was measured.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Estimate {
    /// A value that is what it is: nothing is inferred from it.
    pub fn exact(value: f64) -> Self {
        Self { value, low: value, high: value }
    }

    /// The share `part` of `whole`, with Wilson's score interval. `None` of nothing.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn share(part: u64, whole: u64) -> Option<Self> {
        /// Standard deviations that enclose 95 % of a normal distribution.
        const Z: f64 = 1.959_964;
        if whole == 0 {
            return None;
        }
        let n = whole as f64;
        let p = part as f64 / n;
        let centre = p + Z * Z / (2.0 * n);
        let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        let (low, high) = ((centre - spread) / scale, (centre + spread) / scale);
        Some(Self { value: p, low: low.clamp(0.0, p), high: high.clamp(p, 1.0) })
    }
}

/// Times in nanoseconds, held in a histogram of three significant digits.
#[derive(Clone, Debug)]
pub(super) struct Samples(Histogram<u64>);

impl Samples {
    /// None yet. It grows with the largest time, not with their number.
    pub(super) fn new() -> Self {
        let histogram = Histogram::new(3);
        Self(histogram.unwrap_or_else(|e| unreachable!("three digits are valid: {e}")))
    }

    /// Adds a time; what is longer than an hour counts as an hour, so that the worst values stay.
    pub(super) fn record(&mut self, ns: i64) {
        let ns = ns.max(1).unsigned_abs().min(LONGEST_NS);
        // The histogram grows up to an hour's size without fail.
        self.0.record(ns).unwrap_or_else(|e| unreachable!("at most an hour: {e}"));
    }

    pub(super) fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    pub(super) fn clear(&mut self) {
        self.0.reset();
    }

    /// What is known about them.
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
    pub(super) fn distribution(&self) -> Distribution {
        let largest = (!self.0.is_empty()).then(|| self.0.max() as f64 / 1e3);
        Distribution {
            samples: self.0.len(),
            percentiles: Quantile::ALL.map(|q| self.estimate(q.share())),
            max: largest,
        }
    }

    fn estimate(&self, share: f64) -> Option<Estimate> {
        let ranks = interval_ranks(self.0.len(), share)?;
        Some(Estimate {
            value: self.at_rank(ranks.value).1,
            low: self.at_rank(ranks.low).0,
            high: self.at_rank(ranks.high).1,
        })
    }

    /// The `rank`-th smallest sample in microseconds: the ends of the step that holds it.
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
    fn at_rank(&self, rank: u64) -> (f64, f64) {
        let mut seen = 0;
        let step = self.0.iter_recorded().find(|step| {
            seen += step.count_since_last_iteration();
            seen >= rank
        });
        let value = step.map_or(self.0.max(), |step| step.value_iterated_to());
        let low = self.0.lowest_equivalent(value);
        let high = self.0.highest_equivalent(value).min(self.0.max());
        (low as f64 / 1e3, high as f64 / 1e3)
    }
}

/// A distribution, microseconds.
///
/// In JSON each percentile is two keys, `p99_us` and `p99_interval_us`, both null where there are
/// too few samples for it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distribution {
    /// How many samples.
    pub samples: u64,
    percentiles: [Option<Estimate>; 4],
    /// Largest.
    pub max: Option<f64>,
}

impl Distribution {
    /// A percentile; nothing where there are too few samples for its interval.
    pub fn percentile(&self, quantile: Quantile) -> Option<Estimate> {
        self.percentiles[quantile as usize]
    }
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("samples", &self.samples)?;
        for quantile in Quantile::ALL {
            let (key, estimate) = (quantile.key(), self.percentile(quantile));
            map.serialize_entry(&format!("{key}_us"), &estimate.map(|e| e.value))?;
            let interval = estimate.map(|e| [e.low, e.high]);
            map.serialize_entry(&format!("{key}_interval_us"), &interval)?;
        }
        map.serialize_entry("max_us", &self.max)?;
        map.end()
    }
}

/// Which samples, by rank from 1, stand for a percentile and the ends of its interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ranks {
    value: u64,
    low: u64,
    high: u64,
}

/// The ranks for the percentile `share` of `n` samples; `None` where no two samples enclose it.
///
/// With B binomial(n, share), the sample of rank r is above the true percentile only where B < r.
/// So `low` is the largest rank with P(B < low) ≤ 2.5 %, and `high` the smallest with
/// P(B ≥ high) ≤ 2.5 %; they have to exist among 1 to n. The weights are summed from the mode
/// outwards and need no factorial, so this is exact for any n, in time of its square root.
fn interval_ranks(n: u64, share: f64) -> Option<Ranks> {
    if n == 0 {
        return None;
    }
    let binomial = Binomial { n, odds: share / (1.0 - share) };
    let mode = floor((as_f64(n) + 1.0) * share).min(n);
    let total = binomial.below(mode).map(|(_, w)| w).sum::<f64>()
        + 1.0
        + binomial.above(mode).map(|(_, w)| w).sum::<f64>();
    let value = ceil(as_f64(n) * share).clamp(1, n);
    let low = binomial.lower(mode, total);
    let high = binomial.upper(mode, total);
    (low >= 1 && high <= n).then_some(Ranks { value, low, high })
}

/// A binomial distribution in weights relative to its mode's.
#[derive(Clone, Copy)]
struct Binomial {
    n: u64,
    /// p / (1 - p).
    odds: f64,
}

impl Binomial {
    /// The outcomes below the mode, downwards, as far as they weigh anything.
    fn below(self, mode: u64) -> impl Iterator<Item = (u64, f64)> {
        let mut weight = 1.0;
        (0..mode)
            .rev()
            .map(move |k| {
                weight *= as_f64(k + 1) / (as_f64(self.n - k) * self.odds);
                (k, weight)
            })
            .take_while(|(_, w)| *w > NEGLIGIBLE)
    }

    /// The outcomes above the mode, upwards, likewise.
    fn above(self, mode: u64) -> impl Iterator<Item = (u64, f64)> {
        let mut weight = 1.0;
        (mode + 1..=self.n)
            .map(move |k| {
                weight *= as_f64(self.n - k + 1) * self.odds / as_f64(k);
                (k, weight)
            })
            .take_while(|(_, w)| *w > NEGLIGIBLE)
    }

    /// The largest r with P(B < r) ≤ [`TAIL`].
    fn lower(self, mode: u64, total: f64) -> u64 {
        let mut tail: f64 = self.below(mode).map(|(_, w)| w).sum();
        if tail + 1.0 <= TAIL * total {
            return mode + 1;
        }
        // `tail` is P(B < r) for the r at hand, times `total`.
        let mut rank = mode;
        for (k, weight) in self.below(mode) {
            if tail <= TAIL * total {
                break;
            }
            tail -= weight;
            rank = k;
        }
        rank
    }

    /// The smallest r with P(B ≥ r) ≤ [`TAIL`].
    fn upper(self, mode: u64, total: f64) -> u64 {
        let mut tail: f64 = self.above(mode).map(|(_, w)| w).sum();
        let mut rank = mode + 1;
        for (k, weight) in self.above(mode) {
            if tail <= TAIL * total {
                break;
            }
            tail -= weight;
            rank = k + 1;
        }
        rank
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn as_f64(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a count")]
fn floor(x: f64) -> u64 {
    x.floor() as u64
}

/// Rounds up; a hair above a whole number is the rounding of a product, not a further sample.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a count")]
fn ceil(x: f64) -> u64 {
    (x - 1e-9 * x.max(1.0)).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = i64>) -> Distribution {
        let mut samples = Samples::new();
        values.into_iter().for_each(|v| samples.record(v));
        samples.distribution()
    }

    #[test]
    fn a_percentile_needs_its_samples() {
        for (share, fewest) in [(0.5, 6), (0.9, 36), (0.99, 368), (0.999, 3_688)] {
            assert_eq!(interval_ranks(fewest - 1, share), None, "{share}");
            assert!(interval_ranks(fewest, share).is_some(), "{share}");
        }
        assert_eq!(interval_ranks(0, 0.5), None);
    }

    /// From tables of the binomial distribution, such as n = 100, p = ½: ranks 40 and 61.
    #[test]
    fn intervals_are_those_of_the_tables() {
        for (n, share, value, low, high) in [
            (10, 0.5, 5, 2, 9),
            (20, 0.5, 10, 6, 15),
            (100, 0.5, 50, 40, 61),
            (36, 0.9, 33, 29, 36),
        ] {
            assert_eq!(interval_ranks(n, share), Some(Ranks { value, low, high }), "{n} {share}");
        }
    }

    /// For many samples the binomial is normal: mean ± 1.96 standard deviations.
    #[test]
    fn many_samples_agree_with_the_normal_approximation() {
        for n in [10_000_u64, 3_600_000, 400_000_000] {
            for share in [0.5, 0.9, 0.99] {
                let ranks = interval_ranks(n, share).unwrap();
                let spread = 1.96 * (as_f64(n) * share * (1.0 - share)).sqrt();
                let mean = as_f64(n) * share;
                assert!((as_f64(ranks.low) - (mean - spread)).abs() < 2.0 + spread / 500.0, "{n}");
                assert!((as_f64(ranks.high) - (mean + spread)).abs() < 2.0 + spread / 500.0, "{n}");
            }
        }
    }

    #[test]
    fn ranks_become_values() {
        let d = of((1..=100).map(|ms| ms * 1_000_000));
        let p50 = d.percentile(Quantile::P50).unwrap();
        let near = |a: f64, b: f64| (a - b).abs() / b < 0.001;
        assert!(near(p50.value, 50_000.0) && near(p50.low, 40_000.0), "{p50:?}");
        assert!(near(p50.high, 61_000.0) && near(d.max.unwrap(), 100_000.0), "{p50:?}");
        assert_eq!(d.percentile(Quantile::P99), None);
    }

    #[test]
    fn too_few_samples_are_null_and_never_a_number() {
        let json = serde_json::to_value(of(1..=40)).unwrap();
        assert_eq!(json["samples"], 40);
        assert!(json["p90_us"].is_f64() && json["p90_interval_us"][1].is_f64(), "{json}");
        for key in ["p99_us", "p99_interval_us", "p999_us", "p999_interval_us"] {
            assert!(json.get(key).is_some_and(serde_json::Value::is_null), "{key}: {json}");
        }
        assert!(serde_json::to_value(of([])).unwrap()["max_us"].is_null());
    }

    #[test]
    fn what_is_longer_than_an_hour_is_kept_as_an_hour() {
        let d = of([i64::MAX]);
        assert!((d.max.unwrap() / 3.6e9 - 1.0).abs() < 0.002, "{d:?}");
    }

    /// Wilson 1927: 0 of 100 is compatible with up to 3.7 %; 10 of 100 with 5.5 % to 17.4 %.
    #[test]
    fn a_share_has_an_interval_too() {
        let none = Estimate::share(0, 100).unwrap();
        assert!(none.low == 0.0 && (none.high - 0.037).abs() < 5e-4, "{none:?}");
        let some = Estimate::share(10, 100).unwrap();
        assert!((some.low - 0.0552).abs() < 5e-4 && (some.high - 0.1744).abs() < 5e-4, "{some:?}");
        assert_eq!(Estimate::share(0, 0), None);
    }

    proptest::proptest! {
        /// Against the plain sum of the probabilities.
        #[test]
        fn ranks_are_exact(n in 1_u64..150, percent in 1_u32..100) {
            let share = f64::from(percent) / 100.0;
            let mut pmf = vec![(1.0 - share).powi(i32::try_from(n).unwrap())];
            for k in 0..n {
                let next = pmf[usize::try_from(k).unwrap()] * as_f64(n - k) / as_f64(k + 1)
                    * share / (1.0 - share);
                pmf.push(next);
            }
            let below = |r: u64| pmf.iter().take(usize::try_from(r).unwrap()).sum::<f64>();
            let low = (0..=n).rev().find(|r| below(*r) <= TAIL).unwrap();
            let high = (1..=n + 1).find(|r| 1.0 - below(*r) <= TAIL).unwrap();
            let want = (low >= 1 && high <= n).then_some((low, high));
            let found = interval_ranks(n, share).map(|r| (r.low, r.high));
            proptest::prop_assert_eq!(found, want);
        }
    }
}
