//! Arrival error where the cores are quiet.
//!
//! On a machine that others use, nobody is in time now and then, and a median over a few rounds says
//! more of the others than of the tool. So the bare program goes before and after each round of
//! loadgen, and a round counts where it kept to the plan both times: the reference decides, and
//! loadgen's own figure has no say in which of its rounds count.

use std::time::Duration;

use super::measure::measure;
use super::pace::Error;
use super::table::median;
use super::tools::{Load, Tool};

/// The cores are quiet where the bare program's error of arrival is at most this at its 99th
/// percentile, microseconds.
pub(crate) const QUIET_US: f64 = 250.0;

/// A round of loadgen, between two of the bare program.
#[derive(Clone, Copy, Debug)]
struct Round {
    before: Error,
    loadgen: Error,
    after: Error,
}

impl Round {
    fn is_quiet(&self) -> bool {
        self.before.p99.max(self.after.p99) <= QUIET_US
    }
}

/// The rounds at one rate.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) rate: u32,
    rounds: Vec<Round>,
}

impl Rounds {
    /// So many of them. One in which a program fails is left out.
    pub(crate) fn measure(rate: u32, time: Duration, rounds: usize) -> Self {
        let error = |tool| measure(tool, Load::Open { rate, time }).ok()?.error;
        let mut before = error(Tool::Bare);
        let round = |_| {
            let (loadgen, after) = (error(Tool::Loadgen), error(Tool::Bare));
            let before = std::mem::replace(&mut before, after);
            Some(Round { before: before?, loadgen: loadgen?, after: after? })
        };
        Self { rate, rounds: (0..rounds).filter_map(round).collect() }
    }

    pub(crate) fn all(&self) -> usize {
        self.rounds.len()
    }

    pub(crate) fn quiet(&self) -> usize {
        self.rounds.iter().filter(|round| round.is_quiet()).count()
    }

    /// The median of loadgen's figure over the quiet rounds.
    pub(crate) fn loadgen(&self, figure: impl Fn(&Error) -> f64) -> Option<f64> {
        self.median(|round| figure(&round.loadgen))
    }

    /// The median of the bare program's over the same.
    pub(crate) fn bare(&self, figure: impl Fn(&Error) -> f64) -> Option<f64> {
        self.median(|round| f64::midpoint(figure(&round.before), figure(&round.after)))
    }

    fn median(&self, figure: impl Fn(&Round) -> f64) -> Option<f64> {
        median(self.rounds.iter().filter(|round| round.is_quiet()).map(figure))
    }
}
