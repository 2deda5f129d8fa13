//! Whether the load generator was up to its own plan. Where it was not, its figures describe the
//! generator and not the system: the run is unknown, and says why.
//!
//! The limits are documented in `docs/scenarios.md`.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use serde::Serialize;

use crate::clock::{Clock, process_cpu, thread_cpu};
use crate::pace::Pacing;
use crate::summary::{Accounting, Distribution, Observed, Quantile};

/// The 99th percentile of the start lag may be this much.
pub const LAG_LIMIT_US: f64 = 100_000.0;
/// This share of the arrivals that were due has to be sent.
pub const DELIVERED_LIMIT: f64 = 0.99;
/// A load thread may use this share of a core, and the process this share of all of them.
pub const CPU_LIMIT: f64 = 0.95;
/// The wall clock may be set by this much during the run.
pub const CLOCK_STEP_LIMIT_US: f64 = 10_000.0;
/// Processor time is compared with at least so many seconds: starting up costs a short run some
/// milliseconds, which say nothing about its load.
const SHORTEST_SECONDS: f64 = 1.0;

/// Measures the generator while it runs.
#[derive(Debug)]
pub struct Meter {
    clock: Clock,
    process_cpu: i64,
    pacing: Pacing,
    busiest_thread_cpu: AtomicI64,
    /// What load threads used before the load, in its preparation.
    prepared: AtomicI64,
}

impl Meter {
    /// Begins to measure.
    pub fn start(clock: Clock, pacing: Pacing) -> Self {
        let (process_cpu, busiest_thread_cpu) = (process_cpu(), AtomicI64::new(0));
        let prepared = AtomicI64::new(0);
        Self { clock, process_cpu, pacing, busiest_thread_cpu, prepared }
    }

    /// The current load thread has carried out its share, of which so much processor time came before
    /// the load.
    pub fn thread_ends(&self, prepared: i64) {
        self.prepared.fetch_add(prepared, Relaxed);
        self.busiest_thread_cpu.fetch_max(thread_cpu() - prepared, Relaxed);
    }

    /// What was measured until now.
    pub fn vitals(&self) -> Vitals {
        Vitals {
            process_cpu_ns: process_cpu() - self.process_cpu - self.prepared.load(Relaxed),
            busiest_thread_cpu_ns: self.busiest_thread_cpu.load(Relaxed),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            wall_step_ns: self.clock.wall_step(),
            pacing: self.pacing,
        }
    }
}

/// How the generator fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Processor time of the whole process, without the instances it started.
    pub process_cpu_ns: i64,
    /// Processor time of the load thread that used most.
    pub busiest_thread_cpu_ns: i64,
    /// Cores it may run on.
    pub cores: usize,
    /// How far the wall clock was set.
    pub wall_step_ns: i64,
    /// How the moments of the plan were met.
    pub pacing: Pacing,
}

/// The figures that are judged.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SelfCheck {
    /// 99th percentile of the start lag, or its largest where there are too few samples for one.
    pub start_lag_us: Option<f64>,
    /// Arrivals sent, as a share of those that were due.
    pub delivered: f64,
    /// Processor time of the busiest load thread, as a share of one core over the run.
    pub busiest_thread_cpu: f64,
    /// Processor time of the process, as a share of all its cores over the run.
    pub process_cpu: f64,
    /// Cores it may run on.
    pub cores: usize,
    /// How far the wall clock was set during the run; negative is backwards.
    pub clock_step_us: f64,
    /// How the moments of the plan were met.
    pub pacing: Pacing,
}

impl SelfCheck {
    /// The figures of a run whose load took `seconds`.
    #[expect(clippy::cast_precision_loss, reason = "times and counts are far below 2^53")]
    pub fn new(observed: &Observed, lag: &Distribution, seconds: f64) -> Self {
        let Observed { tally, vitals, .. } = observed;
        let due = tally.sent + tally.dropped;
        let available = seconds.max(SHORTEST_SECONDS) * 1e9;
        Self {
            start_lag_us: lag.percentile(Quantile::P99).map(|e| e.value).or(lag.max),
            delivered: if due == 0 { 1.0 } else { tally.sent as f64 / due as f64 },
            busiest_thread_cpu: vitals.busiest_thread_cpu_ns as f64 / available,
            process_cpu: vitals.process_cpu_ns as f64 / available / vitals.cores.max(1) as f64,
            cores: vitals.cores,
            clock_step_us: vitals.wall_step_ns as f64 / 1e3,
            pacing: vitals.pacing,
        }
    }

    /// What is beyond its limit.
    pub fn objections(&self, accounting: &Accounting) -> Vec<String> {
        let checks = [self.lag(), self.delivery(accounting), self.cpu(), self.clock()];
        checks.into_iter().flatten().collect()
    }

    fn lag(&self) -> Option<String> {
        let lag = self.start_lag_us.filter(|us| *us > LAG_LIMIT_US)?;
        Some(format!(
            "the generator was late: the start lag's p99 is {:.0} ms, the limit {:.0} ms; lower \
             the rate or give it more cores",
            lag / 1e3,
            LAG_LIMIT_US / 1e3
        ))
    }

    fn delivery(&self, accounting: &Accounting) -> Option<String> {
        (self.delivered < DELIVERED_LIMIT).then(|| {
            format!(
                "{} of {} attempts that were due were dropped: the load was not the planned one; \
                 raise load.max_in_flight or lower the rate",
                accounting.dropped,
                accounting.sent + accounting.dropped
            )
        })
    }

    fn cpu(&self) -> Option<String> {
        let (what, share) = if self.busiest_thread_cpu > CPU_LIMIT {
            ("a load thread used", self.busiest_thread_cpu)
        } else if self.process_cpu > CPU_LIMIT {
            ("the generator used", self.process_cpu)
        } else {
            return None;
        };
        Some(format!(
            "{what} {:.0} % of the processor time it can get, the limit is {:.0} %: it was the \
             bottleneck; lower the rate or give it more cores",
            share * 100.0,
            CPU_LIMIT * 100.0
        ))
    }

    fn clock(&self) -> Option<String> {
        (self.clock_step_us.abs() > CLOCK_STEP_LIMIT_US).then(|| {
            format!(
                "the clock of the load host was set by {:+.0} ms during the run, the limit is \
                 {:.0} ms: keep it from stepping",
                self.clock_step_us / 1e3,
                CLOCK_STEP_LIMIT_US / 1e3
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::Tally;

    const GOOD: SelfCheck = SelfCheck {
        start_lag_us: Some(LAG_LIMIT_US),
        delivered: DELIVERED_LIMIT,
        busiest_thread_cpu: CPU_LIMIT,
        process_cpu: CPU_LIMIT,
        cores: 2,
        clock_step_us: -CLOCK_STEP_LIMIT_US,
        pacing: Pacing::Timer,
    };

    fn objections(check: SelfCheck) -> Vec<String> {
        let accounting = Accounting {
            planned: 100,
            sent: 90,
            dropped: 10,
            decided: 90,
            holds: true,
            ..Accounting::default()
        };
        check.objections(&accounting)
    }

    #[test]
    fn at_its_limits_a_run_is_sound() {
        assert_eq!(objections(GOOD), Vec::<String>::new());
        assert_eq!(objections(SelfCheck { start_lag_us: None, ..GOOD }), Vec::<String>::new());
    }

    #[test]
    fn beyond_a_limit_it_says_which() {
        for (check, want) in [
            (SelfCheck { start_lag_us: Some(101_000.0), ..GOOD }, "start lag's p99 is 101 ms"),
            (SelfCheck { delivered: 0.9, ..GOOD }, "10 of 100 attempts that were due were dropped"),
            (SelfCheck { busiest_thread_cpu: 0.99, ..GOOD }, "a load thread used 99 %"),
            (SelfCheck { process_cpu: 0.97, ..GOOD }, "the generator used 97 %"),
            (SelfCheck { clock_step_us: -11_000.0, ..GOOD }, "set by -11 ms"),
        ] {
            let found = objections(check);
            assert!(found.len() == 1 && found[0].contains(want), "{found:?} lacks {want}");
        }
    }

    #[test]
    fn processor_time_is_a_share_of_what_there_was() {
        let tally = Tally { sent: 99, dropped: 1, cancelled: 50, ..Tally::default() };
        let vitals = Vitals {
            process_cpu_ns: 2_000_000_000,
            busiest_thread_cpu_ns: 1_000_000_000,
            cores: 4,
            wall_step_ns: 5_000,
            pacing: Pacing::Timer,
        };
        let observed = Observed { tally, planned: 150, vitals, samples: Vec::new() };
        let check = SelfCheck::new(&observed, &Distribution::default(), 2.0);
        assert_eq!((check.busiest_thread_cpu, check.process_cpu), (0.5, 0.25));
        assert_eq!((check.delivered, check.clock_step_us), (0.99, 5.0));
        let short = SelfCheck::new(&observed, &Distribution::default(), 0.001);
        assert_eq!(short.busiest_thread_cpu, 1.0);
    }

    #[test]
    fn the_meter_sees_the_busiest_thread() {
        let meter = Meter::start(Clock::start(), Pacing::Timer);
        let mut sum = 0_u64;
        while thread_cpu() < 5_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        meter.thread_ends(1_000_000);
        let vitals = meter.vitals();
        assert!(vitals.busiest_thread_cpu_ns >= 4_000_000, "{vitals:?}");
        assert!(vitals.process_cpu_ns < process_cpu() - meter.process_cpu, "{vitals:?}");
        assert!(vitals.cores >= 1 && vitals.wall_step_ns.abs() < 10_000_000, "{vitals:?}");
    }
}
