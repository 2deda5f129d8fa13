//! The summary as people read it, in at most 100 columns.

pub mod prometheus;

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use contract::run::RunState;

use crate::summary::{Distribution, Outcomes, Phase, Quantile, Step, Summary};

/// The whole summary as text, with a line feed at its end.
pub fn text(summary: &Summary) -> String {
    let mut out = String::new();
    let state = match summary.state {
        RunState::Finished => "",
        RunState::Interrupted => ", interrupted",
        RunState::Failed => ", stopped: the history could not be written",
        RunState::Running => ", not ended",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{}: campaign {}, {:.1} s of load{state}\n",
        summary.scenario, summary.campaign, summary.seconds,
    );
    let sections = [
        times(summary).to_string(),
        outcomes(summary).to_string(),
        phases(summary),
        first_second(summary),
        launch(summary),
        accounting(summary),
        thresholds(summary),
    ];
    for section in sections.iter().filter(|s| !s.is_empty()) {
        let _ = writeln!(out, "{section}\n");
    }
    // One line feed at the end, not two.
    out.pop();
    out
}

fn times(summary: &Summary) -> Table {
    let mut table = table(&["time", "p50", "p99", "p99.9", "max", "samples"]);
    let t = &summary.times;
    for (name, d) in [
        ("response", t.response),
        ("  issued", t.response_of_issued),
        ("  refused", t.response_of_refused),
        ("service", t.service),
        ("queue", t.queue),
        ("start lag", t.lag),
    ] {
        // A fourth interval would not fit; summary.json has it.
        let percentiles = [Quantile::P50, Quantile::P99, Quantile::P999].map(|q| interval(&d, q));
        let max = d.max.map_or_else(|| "-".into(), duration);
        let cells = [name.to_owned()].into_iter().chain(percentiles);
        table.add_row(cells.chain([max, thousands(d.samples)]));
    }
    table
}

/// `12.3 ms [11.8, 13.1]`; where there are too few samples for an interval there is no number.
fn interval(d: &Distribution, quantile: Quantile) -> String {
    let Some(e) = d.percentile(quantile) else {
        return if d.samples == 0 { "-".into() } else { "too few".into() };
    };
    let unit = Unit::of(e.value);
    format!(
        "{} {} [{}, {}]",
        unit.figure(e.value),
        unit.name,
        unit.figure(e.low),
        unit.figure(e.high)
    )
}

/// A percentile without its interval, where another table has it.
fn point(d: &Distribution, quantile: Quantile) -> String {
    match d.percentile(quantile) {
        Some(e) => duration(e.value),
        None if d.samples == 0 => "-".into(),
        None => "too few".into(),
    }
}

fn outcomes(summary: &Summary) -> Table {
    let mut table = outcome_table("target");
    for target in &summary.targets {
        table.add_row(outcome_row(&target.name, target.outcomes, &target.response));
    }
    table.add_row(outcome_row("all", summary.outcomes, &summary.times.response));
    table
}

fn outcome_table(first: &str) -> Table {
    table(&[
        first,
        "issued",
        "sold out",
        "not started",
        "again",
        "failed",
        "in doubt",
        "response p50",
        "p99",
    ])
}

fn outcome_row(name: &str, o: Outcomes, d: &Distribution) -> Vec<String> {
    let counts = [o.issued, o.sold_out, o.not_started, o.already_issued, o.failed, o.indeterminate];
    let percentiles = [Quantile::P50, Quantile::P99].map(|q| point(d, q));
    [name.to_owned()].into_iter().chain(counts.map(thousands)).chain(percentiles).collect()
}

fn phases(summary: &Summary) -> String {
    if summary.phases.is_empty() {
        return String::new();
    }
    let mut table = outcome_table("phase");
    for phase in &summary.phases {
        let name = match phase.phase {
            Phase::BeforeStart => "before start",
            Phase::Selling => "selling",
            Phase::SoldOut => "sold out",
        };
        table.add_row(outcome_row(name, phase.outcomes, &phase.response));
    }
    table.to_string()
}

fn first_second(summary: &Summary) -> String {
    // A load that ends before the start, or begins later, has nothing to show here.
    if summary.first_second.iter().all(|s| s.sent == 0) {
        return String::new();
    }
    let mut table = table(&[
        "first second",
        "sent",
        "issued",
        "not started",
        "sold out",
        "other",
        "response p50",
    ]);
    for step in &summary.first_second {
        table.add_row(step_row(step));
    }
    table.to_string()
}

fn step_row(step: &Step) -> Vec<String> {
    let o = step.outcomes;
    let other = o.already_issued + o.failed + o.indeterminate;
    let mut row = vec![format!("+{} ms", step.from_ms)];
    row.extend([step.sent, o.issued, o.not_started, o.sold_out, other].map(thousands));
    row.push(point(&step.response, Quantile::P50));
    row
}

fn launch(summary: &Summary) -> String {
    let Some(l) = &summary.launch else { return String::new() };
    let mut lines = Vec::new();
    if let Some(us) = l.start_delay_us {
        let unsure = duration(l.start_uncertainty_us);
        lines.push(format!("first coupon {} after the start (± {unsure})", duration(us)));
    }
    if let Some(us) = l.time_to_sell_out_us {
        lines.push(format!("sold out {} after the start", duration(us)));
    }
    if let Some(rate) = l.issue_rate {
        lines.push(format!("{rate:.0} coupons a second"));
    }
    lines.join("\n")
}

fn thresholds(summary: &Summary) -> String {
    summary.thresholds.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn accounting(summary: &Summary) -> String {
    let a = &summary.accounting;
    let n = thousands;
    let (planned, sent, dropped) = (n(a.planned), n(a.sent), n(a.dropped));
    let cancelled =
        if a.cancelled == 0 { String::new() } else { format!(" + {} cancelled", n(a.cancelled)) };
    let mark = if a.holds { "" } else { "   DOES NOT ADD UP" };
    let mut out = format!("planned {planned} = sent {sent} + dropped {dropped}{cancelled}\n");
    let _ = write!(
        out,
        "sent {sent} = decided {} + failed {} + indeterminate {}{mark}",
        n(a.decided),
        n(a.failed),
        n(a.indeterminate)
    );
    for (kind, reasons) in [("failed", &summary.failures), ("indeterminate", &summary.doubts)] {
        for (reason, count) in reasons {
            let _ = write!(out, "\n  {kind}, {reason}: {}", n(*count));
        }
    }
    out
}

/// A table whose first column is text and the others numbers.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A unit of time and how many decimals leave three digits.
struct Unit {
    name: &'static str,
    us: f64,
    decimals: usize,
}

impl Unit {
    fn of(us: f64) -> Self {
        let unit = |name, us, decimals| Self { name, us, decimals };
        match us.abs() {
            us if us < 1e3 => unit("µs", 1.0, 0),
            us if us < 1e4 => unit("ms", 1e3, 2),
            us if us < 1e6 => unit("ms", 1e3, 1),
            _ => unit("s", 1e6, 2),
        }
    }

    fn figure(&self, us: f64) -> String {
        format!("{:.*}", self.decimals, us / self.us)
    }
}

/// A duration in microseconds with three digits and its unit.
pub fn duration(us: f64) -> String {
    let unit = Unit::of(us);
    format!("{} {}", unit.figure(us), unit.name)
}

/// A count with a comma between thousands.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_durations_are_readable() {
        let counts: Vec<String> = [0, 999, 1_000, 1_234_567].map(thousands).into();
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
        let durations: Vec<String> = [85.2, 1_234.0, 56_789.0, 5_000_000.0].map(duration).into();
        assert_eq!(durations, ["85 µs", "1.23 ms", "56.8 ms", "5.00 s"]);
    }
}
