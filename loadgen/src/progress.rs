//! The live view: what is going on, once a few times a second.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::live::Glance;
use crate::report::thousands;

/// How often a terminal is redrawn.
pub const REDRAW_EVERY: Duration = Duration::from_millis(200);
/// Every how many redraws a line is printed where there is no terminal.
const LINE_EVERY: u32 = 10;

/// Shows how far the run is, on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    ticks: u32,
    last: (i64, u64),
}

impl Progress {
    /// A view of a run with so many arrivals.
    pub fn new(planned: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(planned), ProgressDrawTarget::stderr());
            bar.with_style(style)
        });
        Self { bar, ticks: 0, last: (0, 0) }
    }

    /// Shows a look at the counters; `since_start` is in nanoseconds, negative before the start.
    pub fn show(&mut self, since_start: i64, now: Glance) {
        let arrived = now.sent + now.dropped;
        let rate = per_second(since_start - self.last.0, arrived - self.last.1);
        self.ticks += 1;
        if let Some(bar) = &self.bar {
            bar.set_position(arrived);
            bar.set_message(line(since_start, rate, now));
        } else if self.ticks % LINE_EVERY == 1 {
            crate::note(&line(since_start, rate, now));
        } else {
            return;
        }
        self.last = (since_start, arrived);
    }

    /// Takes the view away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(since_start: i64, rate: u64, now: Glance) -> String {
    let tenths = since_start / 100_000_000;
    let sign = if since_start < 0 { '-' } else { '+' };
    format!(
        "{sign}{}.{} s  {:>6}/s  in flight {:>4}  issued {:>7}  refused {:>7}  errors {}  dropped {}",
        tenths.abs() / 10,
        tenths.abs() % 10,
        thousands(rate),
        thousands(now.in_flight),
        thousands(now.issued),
        thousands(now.refused),
        thousands(now.troubled),
        thousands(now.dropped),
    )
}

fn per_second(ns: i64, count: u64) -> u64 {
    let ns = u128::from(ns.max(1).unsigned_abs());
    u64::try_from(u128::from(count) * 1_000_000_000 / ns).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_where_the_run_is() {
        let now = Glance { sent: 10, in_flight: 2, issued: 1_234, ..Glance::default() };
        let text = line(-1_250_000_000, 500, now);
        assert!(text.starts_with("-1.2 s     500/s  in flight    2  issued   1,234"), "{text}");
        assert_eq!(per_second(500_000_000, 400), 800);
    }
}
