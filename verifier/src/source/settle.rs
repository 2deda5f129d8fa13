//! A store is judged only when it is at rest. A campaign may have been answered from a queue that
//! is still being written down: read too early, every coupon in it would look lost.

use std::time::Duration;

use anyhow::Result;

/// How patiently a store is watched.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time between two reads that have to agree.
    pub apart: Duration,
    /// So many reads are made at the most, after the first.
    pub reads: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { apart: Duration::from_millis(250), reads: 40 }
    }
}

impl Pace {
    /// How long it takes until a store is given up.
    pub fn longest(self) -> Duration {
        self.apart * self.reads
    }
}

/// Reads until two reads in a row agree. Returns how long that took, in whole steps of the pace so
/// that two reports of the same store are the same, and what was read; `None` if they never agree.
///
/// # Errors
/// When reading fails.
pub fn settle<T: PartialEq>(
    pace: Pace,
    mut read: impl FnMut() -> Result<T>,
) -> Result<Option<(Duration, T)>> {
    let mut before = read()?;
    for reads in 1..=pace.reads {
        std::thread::sleep(pace.apart);
        let now = read()?;
        if now == before {
            return Ok(Some((pace.apart * reads, now)));
        }
        before = now;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { apart: Duration::from_millis(1), reads: 5 };

    fn watch(values: &[i64]) -> Option<(Duration, i64)> {
        let mut values = values.iter().copied();
        settle(PACE, || Ok(values.next().unwrap())).unwrap()
    }

    #[test]
    fn waits_until_two_reads_agree() {
        assert_eq!(watch(&[3, 3]), Some((Duration::from_millis(1), 3)));
        assert_eq!(watch(&[25, 60, 100, 100]), Some((Duration::from_millis(3), 100)));
    }

    #[test]
    fn gives_up_on_a_restless_store() {
        assert_eq!(watch(&[1, 2, 3, 4, 5, 6]), None);
    }
}
