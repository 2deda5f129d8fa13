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
    /// It is given up after this time, if it still changes or is busy then.
    pub longest: Duration,
}

/// Unless told otherwise, a store that is not at rest is given up after this time, or after twice the time
/// that it must stand still.
const LONGEST: Duration = Duration::from_secs(10);

impl Pace {
    /// Gives up after this time instead.
    pub fn at_most(self, longest: Option<Duration>) -> Self {
        Self { longest: longest.unwrap_or(self.longest), ..self }
    }

    /// A pace at which a store in which something is missing must stand still for so long.
    pub fn still(still: Duration) -> Self {
        let longest = LONGEST.max(still.saturating_mul(2));
        Self { apart: Duration::from_millis(250), still, longest }
    }
}

/// How a store stands that was read twice alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is missing.
    Complete,
    /// Something is missing, which may still come or not.
    Short,
    /// It says itself that something is still to come.
    Busy,
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
    mut standing: impl FnMut(&T) -> Result<Standing>,
) -> Result<Option<(Rest, T)>> {
    let mut before = read()?;
    let began = Instant::now();
    let (mut since, mut checked) = (began, None);
    loop {
        std::thread::sleep(pace.apart);
        let now = read()?;
        // What stands still will have stood still for long enough, however slowly it is read.
        let mut restless = now != before;
        if restless {
            (before, since, checked) = (now, Instant::now(), None);
        } else {
            let rest = Rest { after: began.elapsed(), unchanged: since.elapsed() };
            let standing = match checked {
                Some(standing) => standing,
                None => *checked.insert(standing(&before)?),
            };
            let at_rest = match standing {
                Standing::Complete => true,
                Standing::Short => rest.unchanged >= pace.still,
                Standing::Busy => false,
            };
            if at_rest {
                return Ok(Some((rest, before)));
            }
            restless = standing == Standing::Busy;
        }
        if restless && began.elapsed() >= pace.longest {
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
        let standing = |n: &i64| match n {
            100 => Standing::Complete,
            n if *n < 0 => Standing::Busy,
            _ => Standing::Short,
        };
        settle(PACE, read, |n| Ok(standing(n))).unwrap().unwrap()
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
    fn what_is_busy_is_never_at_rest() {
        let mut reads = 0;
        let read = || {
            reads += 1;
            Ok(if reads < 60 { -1 } else { 100 })
        };
        let standing = |n: &i64| Ok(if *n < 0 { Standing::Busy } else { Standing::Complete });
        let (rest, found) = settle(PACE, read, standing).unwrap().unwrap();
        assert_eq!(found, 100);
        assert!(rest.after > PACE.still, "{rest:?}");
        assert_eq!(settle(PACE, || Ok(-1), standing).unwrap(), None);
    }

    #[test]
    fn what_stands_still_is_not_given_up() {
        let pace = Pace { longest: Duration::from_millis(1), ..PACE };
        let (rest, found) = settle(pace, || Ok(99), |_| Ok(Standing::Short)).unwrap().unwrap();
        assert!(found == 99 && rest.unchanged >= pace.still, "{rest:?}");
    }

    #[test]
    fn gives_up_on_a_restless_store() {
        let mut n = 0;
        let read = || {
            n += 1;
            Ok(n)
        };
        assert_eq!(settle(PACE, read, |_| Ok(Standing::Complete)).unwrap(), None);
    }
}
