//! How far arrivals at the server lie from an ideal schedule.

/// The share of arrivals that counts as punctual when a schedule's beginning is fitted.
const PUNCTUAL: f64 = 0.01;
const SECOND: i64 = 1_000_000_000;

/// The error of arrivals, microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Error {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Error {
    fn of(mut nanos: Vec<i64>) -> Option<Self> {
        nanos.iter_mut().for_each(|n| *n = n.abs());
        nanos.sort_unstable();
        let micros = |share: f64| Some(*at(&nanos, share)? as f64 / 1e3);
        Some(Self { p50: micros(0.5)?, p99: micros(0.99)?, max: micros(1.0)? })
    }
}

/// The value below which this share of sorted values lies.
fn at(sorted: &[i64], share: f64) -> Option<&i64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().checked_sub(1)?))
}

/// What is left of `times`, which are sorted, without the second after the first of them.
fn warmed_up(times: &[i64]) -> &[i64] {
    let Some(first) = times.first() else { return times };
    &times[times.partition_point(|t| *t < first + SECOND)..]
}

/// The error against arrivals at `t0 + k / rate`.
///
/// Nobody but the tool itself knows its t0, so it is fitted, for all tools alike: t0 is the first
/// percentile of `arrival k - k / rate`. So its most punctual hundredth counts as punctual, and
/// what is later than that is an error, be it now and then or more and more. The first second is
/// left out. Arrivals are counted in the order in which they came.
pub(crate) fn against_rate(arrivals: &[i64], rate: u32) -> Option<Error> {
    let step = SECOND as f64 / f64::from(rate);
    let ideal = |k: usize| (k as f64 * step) as i64;
    let arrivals = warmed_up(arrivals);
    let first = *arrivals.first()?;
    let offset = |(k, at): (usize, &i64)| at - first - ideal(k);
    let mut offsets: Vec<i64> = arrivals.iter().enumerate().map(offset).collect();
    offsets.sort_unstable();
    let begin = *at(&offsets, PUNCTUAL)?;
    Error::of(offsets.into_iter().map(|o| o - begin).collect())
}

/// The error of the k-th arrival against the k-th moment of a plan that is known.
pub(crate) fn against_plan(arrivals: &[i64], plan: &[i64]) -> Option<Error> {
    if arrivals.len() != plan.len() {
        return None;
    }
    let left_out = plan.len() - warmed_up(plan).len();
    let pairs = arrivals.iter().zip(plan).skip(left_out);
    Error::of(pairs.map(|(arrival, planned)| arrival - planned).collect())
}

/// Arrivals a second, without the first second.
pub(crate) fn rate(arrivals: &[i64]) -> f64 {
    match warmed_up(arrivals) {
        [first, .., last] => {
            (warmed_up(arrivals).len() - 1) as f64 * SECOND as f64 / (last - first) as f64
        }
        _ => 0.0,
    }
}
