//! `summary.prom`: the figures as Prometheus reads them, for a textfile collector or a push
//! gateway. Times are seconds, as is the custom there.

use std::fmt::Write as _;
use std::path::Path;

use contract::run::RunError;

use crate::summary::{Distribution, Outcomes, Phase, Quantile, Summary};

/// Name of the file in the run's folder.
pub const PROM_FILE: &str = "summary.prom";

/// Writes [`PROM_FILE`] into the run's folder.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(summary: &Summary, dir: &Path) -> Result<(), RunError> {
    let path = dir.join(PROM_FILE);
    std::fs::write(&path, text(summary)).map_err(|source| RunError::Io { path, source })
}

/// The whole exposition.
pub fn text(summary: &Summary) -> String {
    let mut page = Page { text: String::new(), scenario: escape(&summary.scenario) };
    counts(&mut page, summary);
    times(&mut page, summary);
    launch(&mut page, summary);
    campaigns(&mut page, summary);
    bursts(&mut page, summary);
    beside(&mut page, summary);
    trust(&mut page, summary);
    page.text
}

struct Page {
    text: String,
    scenario: String,
}

impl Page {
    /// A metric's name and meaning; its samples follow.
    fn metric(&mut self, name: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.text, "{name}{{scenario=\"{}\"", self.scenario);
        for (key, label) in labels {
            let _ = write!(self.text, ",{key}=\"{}\"", escape(label));
        }
        let _ = writeln!(self.text, "}} {value}");
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn count(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.sample(name, labels, value as f64);
    }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn named(o: Outcomes) -> [(&'static str, u64); 8] {
    [
        ("issued", o.issued),
        ("sold_out", o.sold_out),
        ("not_started", o.not_started),
        ("not_found", o.not_found),
        ("ended", o.ended),
        ("already_issued", o.already_issued),
        ("failed", o.failed),
        ("indeterminate", o.indeterminate),
    ]
}

fn counts(page: &mut Page, summary: &Summary) {
    let a = &summary.accounting;
    let name = "coupon_load_arrivals";
    page.metric(name, "Arrivals, by where they went.");
    for (fate, n) in [("sent", a.sent), ("dropped", a.dropped), ("cancelled", a.cancelled)] {
        page.count(name, &[("fate", fate)], n);
    }
    let name = "coupon_load_follow_ups";
    page.metric(name, "Arrivals that answers gave rise to; they count among the others.");
    page.count(name, &[], a.follow_ups);
    let name = "coupon_load_attempts";
    page.metric(name, "Attempts, by target and outcome.");
    for target in &summary.targets {
        for (outcome, n) in named(target.outcomes) {
            page.count(name, &[("target", &target.name), ("outcome", outcome)], n);
        }
    }
    let name = "coupon_load_phase_attempts";
    page.metric(name, "Attempts, by the phase of the launch they began in and by outcome.");
    for phase in &summary.phases {
        for (outcome, n) in named(phase.outcomes) {
            page.count(name, &[("phase", phase_name(phase.phase)), ("outcome", outcome)], n);
        }
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::BeforeStart => "before_start",
        Phase::Selling => "selling",
        Phase::SoldOut => "sold_out",
    }
}

fn times(page: &mut Page, summary: &Summary) {
    let t = &summary.times;
    let always: [(&str, &Distribution); 6] = [
        ("response", &t.response),
        ("response_of_issued", &t.response_of_issued),
        ("response_of_refused", &t.response_of_refused),
        ("service", &t.service),
        ("lag", &t.lag),
        ("queue", &t.queue),
    ];
    let sometimes = [("accepted", &t.accepted), ("read", &t.read)];
    let sometimes = sometimes.into_iter().filter_map(|(time, d)| Some((time, d.as_ref()?)));
    let all: Vec<(&str, &Distribution)> = always.into_iter().chain(sometimes).collect();
    let name = "coupon_load_time_samples";
    page.metric(name, "Samples behind the percentiles of a time.");
    for (time, distribution) in all.iter().copied() {
        page.count(name, &[("time", time)], distribution.samples);
    }
    let name = "coupon_load_time_seconds";
    page.metric(
        name,
        "Percentiles, with the ends of their 95 % intervals; absent where samples are too few.",
    );
    for (time, distribution) in all.iter().copied() {
        for quantile in Quantile::ALL {
            let Some(e) = distribution.percentile(quantile) else { continue };
            let share = quantile.share().to_string();
            for (bound, us) in [("value", e.value), ("low", e.low), ("high", e.high)] {
                let labels = [("time", time), ("quantile", share.as_str()), ("bound", bound)];
                page.sample(name, &labels, us / 1e6);
            }
        }
        if let Some(us) = distribution.max {
            let labels = [("time", time), ("quantile", "1"), ("bound", "value")];
            page.sample(name, &labels, us / 1e6);
        }
    }
}

fn launch(page: &mut Page, summary: &Summary) {
    let Some(l) = &summary.launch else { return };
    for (name, help, value) in [
        (
            "coupon_load_start_delay_seconds",
            "From the campaign's start to the first answer with a coupon.",
            l.start_delay_us.map(|us| us / 1e6),
        ),
        (
            "coupon_load_time_to_sell_out_seconds",
            "From the campaign's start to the first sold-out answer.",
            l.time_to_sell_out_us.map(|us| us / 1e6),
        ),
        (
            "coupon_load_issue_rate",
            "Coupons a second, from the start to the last answer with one.",
            l.issue_rate,
        ),
    ] {
        if let Some(value) = value {
            page.metric(name, help);
            page.sample(name, &[], value);
        }
    }
}

fn campaigns(page: &mut Page, summary: &Summary) {
    let Some(c) = &summary.campaigns else { return };
    let name = "coupon_load_campaigns";
    page.metric(name, "Campaigns of the run, by how many coupons they acknowledged.");
    for (result, n) in [
        ("exact", c.exact),
        ("over", c.over),
        ("short", c.short),
        ("never_sold_out", c.never_sold_out),
    ] {
        page.count(name, &[("result", result)], n);
    }
}

fn bursts(page: &mut Page, summary: &Summary) {
    if summary.bursts.is_empty() {
        return;
    }
    let name = "coupon_load_burst_spread_seconds";
    page.metric(name, "From the first to the last request that was sent of a burst of the plan.");
    for (number, burst) in summary.bursts.iter().enumerate() {
        if let Some(us) = burst.spread_us {
            page.sample(name, &[("burst", &number.to_string())], us / 1e6);
        }
    }
}

fn beside(page: &mut Page, summary: &Summary) {
    let (steps, reads) = (&summary.steps, &summary.reads);
    let name = "coupon_load_other_requests";
    page.metric(name, "Requests that are no attempts, by kind.");
    for (kind, n) in [("poll", steps.polls), ("confirm", steps.confirms), ("read", reads.sent)] {
        page.count(name, &[("kind", kind)], n);
    }
}

fn trust(page: &mut Page, summary: &Summary) {
    let name = "coupon_load_sound";
    page.metric(name, "1 where the figures may be trusted.");
    page.sample(name, &[], if summary.objections().is_empty() { 1.0 } else { 0.0 });
    let name = "coupon_load_threshold_holds";
    page.metric(name, "1 for each threshold that holds.");
    for t in &summary.thresholds {
        page.sample(name, &[("threshold", &t.threshold)], if t.holds { 1.0 } else { 0.0 });
    }
}
