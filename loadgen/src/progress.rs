//! The live view: what is going on, a few times a second on a terminal, and every other second elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::live::{Glance, Recent};
use crate::report::{duration, thousands};

/// How often a terminal is redrawn.
const REDRAW_EVERY: Duration = Duration::from_millis(200);
/// Response times there are those of so many redraws: one second.
const RECENT_EVERY: u32 = 5;
/// How often a line is printed where there is no terminal. Nobody is woken in between.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Shows how far the run is, on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    coupons: u64,
    ticks: u32,
    last: (i64, u64),
    recent: Option<Recent>,
}

/// What there is to show.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since the first campaign's start, nanoseconds; negative before it.
    pub since_start: i64,
    /// Arrivals a second that the plan wants now; none where there is no plan.
    pub planned: Option<u64>,
    /// The counters.
    pub now: Glance,
}

impl Progress {
    /// A view of a run with so many arrivals, if they are planned, that ask for so many coupons.
    pub fn new(planned: Option<u64>, coupons: u64) -> Self {
        let template = match planned {
            Some(_) => "{bar:30} {percent:>3}%  {msg}",
            None => "{spinner}  {msg}",
        };
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(planned, ProgressDrawTarget::stderr());
            bar.with_style(style)
        });
        Self { bar, coupons, ticks: 0, last: (i64::MIN, 0), recent: None }
    }

    /// How often there is something to show.
    pub fn every(&self) -> Duration {
        if self.bar.is_some() { REDRAW_EVERY } else { LINE_EVERY }
    }

    /// Shows a moment. `recent` gives the response times since it was asked last.
    pub fn show(&mut self, moment: Moment, recent: impl FnOnce() -> Option<Recent>) {
        if self.bar.is_none() || self.ticks.is_multiple_of(RECENT_EVERY) {
            self.recent = recent();
        }
        self.ticks += 1;
        let arrived = moment.now.sent + moment.now.dropped;
        let rate =
            per_second(moment.since_start.saturating_sub(self.last.0), arrived - self.last.1);
        let [first, rest @ ..] = lines(moment, rate, (self.coupons, self.recent));
        match &self.bar {
            Some(bar) => {
                bar.set_position(arrived);
                bar.set_message(format!("{first}\n{}", rest.join("\n")));
            }
            None => crate::note(&format!("{first}  {}", rest.join("  "))),
        }
        self.last = (moment.since_start, arrived);
    }

    /// Takes the view away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Where the run is, how the load goes, and how it is answered.
fn lines(moment: Moment, rate: u64, (coupons, recent): (u64, Option<Recent>)) -> [String; 3] {
    let Moment { since_start, planned, now } = moment;
    let tenths = since_start.abs() / 100_000_000;
    let time = format!("{}.{} s", tenths / 10, tenths % 10);
    let place = match since_start < 0 {
        true => format!("starts in {time}"),
        false => format!("started {time} ago"),
    };
    let load = format!(
        "{}/s{}  in flight {}  dropped {}",
        thousands(rate),
        planned.map_or_else(String::new, |planned| format!(" of {}/s", thousands(planned))),
        thousands(now.in_flight),
        thousands(now.dropped),
    );
    let times = recent.map_or_else(String::new, |recent| {
        #[expect(clippy::cast_precision_loss, reason = "at most a minute in microseconds")]
        let [p50, p99, max] = [recent.p50, recent.p99, recent.max].map(|us| duration(us as f64));
        format!("  p50 {p50}  p99 {p99}  max {max}")
    });
    let answers = format!(
        "issued {} of {}  refused {}  errors {}{times}",
        thousands(now.issued),
        thousands(coupons),
        thousands(now.refused),
        thousands(now.troubled),
    );
    [place, load, answers]
}

fn per_second(ns: i64, count: u64) -> u64 {
    let ns = u128::from(ns.max(1).unsigned_abs());
    u64::try_from(u128::from(count) * 1_000_000_000 / ns).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_where_the_run_is() {
        let now = Glance { sent: 10, in_flight: 2, issued: 1_234, ..Glance::default() };
        let moment = Moment { since_start: -1_250_000_000, planned: Some(800), now };
        let recent = Recent { p50: 1_200, p99: 5_600, max: 9_000 };
        let text = lines(moment, 512, (10_000, Some(recent)));
        assert_eq!(text[0], "starts in 1.2 s");
        assert_eq!(text[1], "512/s of 800/s  in flight 2  dropped 0");
        assert!(
            text[2].starts_with("issued 1,234 of 10,000  refused 0  errors 0  p50 1.2"),
            "{text:?}"
        );
        let later = Moment { since_start: 3_000_000_000, ..moment };
        assert_eq!(lines(later, 512, (1, None))[0], "started 3.0 s ago");
        assert_eq!(
            lines(Moment { planned: None, ..later }, 9, (1, None))[1],
            "9/s  in flight 2  dropped 0"
        );
        assert_eq!(per_second(500_000_000, 400), 800);
    }
}
