//! The summary as people read it.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use contract::run::RunState;

use crate::summary::{Distribution, Outcomes, Summary};

/// The whole summary as text, with a line feed at its end.
pub fn text(summary: &Summary) -> String {
    let mut out = String::new();
    let state = match summary.state {
        RunState::Finished => "",
        RunState::Interrupted => ", interrupted",
        RunState::Running => ", not ended",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{}: campaign {}, {:.1} s of load{state}\n\n{}\n\n{}\n\n{}",
        summary.scenario,
        summary.campaign,
        summary.seconds,
        times(summary),
        outcomes(summary),
        accounting(summary),
    );
    out
}

fn times(summary: &Summary) -> Table {
    let mut table = table(&["time", "p50", "p90", "p99", "p99.9", "max", "samples"]);
    let t = &summary.times;
    for (name, d) in [("response", t.response), ("service", t.service), ("start lag", t.lag)] {
        table
            .add_row([name.to_owned()].into_iter().chain(figures(d)).chain([thousands(d.samples)]));
    }
    table
}

fn figures(d: Distribution) -> [String; 5] {
    if d.samples == 0 {
        return [const { "-" }; 5].map(str::to_owned);
    }
    [d.p50_us, d.p90_us, d.p99_us, d.p999_us, d.max_us].map(duration)
}

fn outcomes(summary: &Summary) -> Table {
    let mut table = table(&[
        "target",
        "issued",
        "sold out",
        "not started",
        "already issued",
        "failed",
        "indeterminate",
        "response p50",
        "p99",
    ]);
    let mut row = |name: &str, o: Outcomes, d: Distribution| {
        let counts =
            [o.issued, o.sold_out, o.not_started, o.already_issued, o.failed, o.indeterminate];
        let [p50, _, p99, ..] = figures(d);
        table.add_row([name.to_owned()].into_iter().chain(counts.map(thousands)).chain([p50, p99]));
    };
    for target in &summary.targets {
        row(&target.name, target.outcomes, target.response);
    }
    row("all", summary.outcomes, summary.times.response);
    table
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

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A duration with three digits and its unit.
fn duration(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 10_000.0 => format!("{:.2} ms", us / 1e3),
        us if us < 1_000_000.0 => format!("{:.1} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
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
