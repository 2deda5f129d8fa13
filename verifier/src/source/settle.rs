//! A store is judged only when it is at rest. A campaign may have been answered from a queue that
//! is still being written down: read too early, every coupon in it would look lost.

use std::time::{Duration, Instant};

use anyhow::Result;

/// How patiently a store is watched.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time between two reads that have to agree.
    pub apart: Duration,
    /// How long it must stand still when something is missing in it.
    pub still: Duration,
    /// It is given up after this time.
    pub longest: Duration,
}

/// The store is given up after this time, or after twice the time that it must stand still.
const LONGEST: Duration = Duration::from_secs(10);

impl Pace {
    /// A pace at which a store in which something is missing must stand still for so long.
    pub fn still(still: Duration) -> Self {
        let longest = LONGEST.max(still.saturating_mul(2));
        Self { apart: Duration::from_millis(250), still, longest }
    }
}

/// How a store came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// How long it was watched.
    pub after: Duration,
    /// How long it had stood still by then.
    pub unchanged: Duration,
}

/// Reads until two reads in a row agree and nothing is missing, or until it stood still for long
/// enough. Says how long that took and what was read; `None` if it never came to rest.
///
/// # Errors
/// When reading fails.
pub fn settle<T: PartialEq>(
    pace: Pace,
    mut read: impl FnMut() -> Result<T>,
    mut complete: impl FnMut(&T) -> Result<bool>,
) -> Result<Option<(Rest, T)>> {
    let mut before = read()?;
    let began = Instant::now();
    let (mut since, mut checked) = (began, None);
    loop {
        std::thread::sleep(pace.apart);
        let now = read()?;
        if now != before {
            (before, since, checked) = (now, Instant::now(), None);
        } else {
            let rest = Rest { after: began.elapsed(), unchanged: since.elapsed() };
            let complete = match checked {
                Some(complete) => complete,
                None => *checked.insert(complete(&before)?),
            };
            if complete || rest.unchanged >= pace.still {
                return Ok(Some((rest, before)));
            }
        }
        if began.elapsed() >= pace.longest {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const PACE: Pace =
        Pace { apart: MS, still: Duration::from_millis(30), longest: Duration::from_millis(300) };

    /// A store that shows these values and then stays at the last; at 100 nothing is missing.
    fn watch(values: &[i64]) -> (Rest, i64) {
        let mut values = values.iter().copied();
        let mut last = 0;
        let read = || {
            last = values.next().unwrap_or(last);
            Ok(last)
        };
        settle(PACE, read, |n| Ok(*n == 100)).unwrap().unwrap()
    }

    #[test]
    fn stops_early_only_if_nothing_is_missing() {
        let (rest, found) = watch(&[25, 60, 100, 100]);
        assert_eq!(found, 100);
        assert!(rest.unchanged >= MS && rest.after >= 3 * MS, "{rest:?}");
        assert!(watch(&[99, 99]).0.unchanged >= PACE.still);
    }

    #[test]
    fn a_queue_that_pauses_is_waited_for() {
        assert_eq!(watch(&[25, 25, 25, 60, 60, 100]).1, 100);
    }

    #[test]
    fn gives_up_on_a_restless_store() {
        let mut n = 0;
        let read = || {
            n += 1;
            Ok(n)
        };
        assert_eq!(settle(PACE, read, |_| Ok(true)).unwrap(), None);
    }
}
