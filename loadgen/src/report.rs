//! The summary as people read it, in at most 100 columns.

pub mod prometheus;

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use contract::run::RunState;

use crate::samples::Sample;
use crate::summary::{
    Across, BurstSummary, CampaignsSummary, Distribution, Outcomes, Phase, Quantile, Step, Summary,
};

/// So many campaigns that are off are named; `summary.json` has more of them.
const NAMED: usize = 5;

/// So much of an answer is shown, in characters.
const SHOWN: usize = 70;

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
        "{}: {}, {:.1} s of load{state}\n",
        summary.scenario,
        subject(summary),
        summary.seconds,
    );
    let sections = [
        times(summary).to_string(),
        outcomes(summary).to_string(),
        phases(summary),
        first_second(summary),
        launch(summary),
        summary.campaigns.as_ref().map_or_else(String::new, campaigns),
        bursts(summary),
        accounting(summary),
        not_understood(summary),
        thresholds(summary),
    ];
    for section in sections.iter().filter(|s| !s.is_empty()) {
        let _ = writeln!(out, "{section}\n");
    }
    // One line feed at the end, not two.
    out.pop();
    out
}

fn subject(summary: &Summary) -> String {
    match &summary.campaigns {
        None => format!("campaign {}", summary.campaign),
        Some(c) => format!("{} campaigns", thousands(c.count)),
    }
}

fn times(summary: &Summary) -> Table {
    let mut table = table(&["time", "p50", "p99", "p99.9", "max", "samples"]);
    let t = &summary.times;
    let always = [
        ("response", t.response),
        ("  issued", t.response_of_issued),
        ("  refused", t.response_of_refused),
        ("service", t.service),
        ("queue", t.queue),
        ("start lag", t.lag),
    ];
    let sometimes = [("accepted", t.accepted), ("read", t.read)];
    let sometimes = sometimes.into_iter().filter_map(|(name, d)| Some((name, d?)));
    for (name, d) in always.into_iter().chain(sometimes) {
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
    let told = told(summary.outcomes);
    let mut table = outcome_table("target", &told);
    for target in &summary.targets {
        table.add_row(outcome_row(&target.name, &told, (target.outcomes, &target.response)));
    }
    table.add_row(outcome_row("all", &told, (summary.outcomes, &summary.times.response)));
    table
}

/// A column of a table of outcomes.
type Column = (&'static str, fn(Outcomes) -> u64);

/// The columns of a run in which attempts ended like this: what few systems ever say has one where it
/// was said.
fn told(all: Outcomes) -> Vec<Column> {
    let columns: [(Column, bool); 8] = [
        (("issued", |o| o.issued), true),
        (("sold out", |o| o.sold_out), true),
        (("not started", |o| o.not_started), true),
        (("not found", |o| o.not_found), all.not_found > 0),
        (("ended", |o| o.ended), all.ended > 0),
        (("again", |o| o.already_issued), true),
        (("failed", |o| o.failed), true),
        (("in doubt", |o| o.indeterminate), true),
    ];
    columns.into_iter().filter(|(_, shown)| *shown).map(|(column, _)| column).collect()
}

fn outcome_table(first: &str, told: &[Column]) -> Table {
    let names = told.iter().map(|(name, _)| *name);
    let all = [first].into_iter().chain(names).chain(["response p50", "p99"]);
    table(&all.collect::<Vec<_>>())
}

fn outcome_row(name: &str, told: &[Column], (o, d): (Outcomes, &Distribution)) -> Vec<String> {
    let counts = told.iter().map(|(_, count)| count(o));
    let percentiles = [Quantile::P50, Quantile::P99].map(|q| point(d, q));
    [name.to_owned()].into_iter().chain(counts.map(thousands)).chain(percentiles).collect()
}

fn phases(summary: &Summary) -> String {
    if summary.phases.is_empty() {
        return String::new();
    }
    let told = told(summary.outcomes);
    let mut table = outcome_table("phase", &told);
    for phase in &summary.phases {
        let name = match phase.phase {
            Phase::BeforeStart => "before start",
            Phase::Selling => "selling",
            Phase::SoldOut => "sold out",
        };
        table.add_row(outcome_row(name, &told, (phase.outcomes, &phase.response)));
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
    let other = o.already_issued + o.not_found + o.ended + o.failed + o.indeterminate;
    let mut row = vec![format!("+{} ms", step.from_ms)];
    row.extend([step.sent, o.issued, o.not_started, o.sold_out, other].map(thousands));
    row.push(point(&step.response, Quantile::P50));
    row
}

fn launch(summary: &Summary) -> String {
    let Some(l) = &summary.launch else { return String::new() };
    let across = l.across.as_ref();
    let mut lines = Vec::new();
    if let Some(us) = l.start_delay_us {
        let unsure = duration(l.start_uncertainty_us);
        let delay = several(across.and_then(|a| a.start_delay_us), us, duration);
        lines.push(format!("first coupon {delay} after the start (± {unsure})"));
    }
    if let Some(us) = l.time_to_sell_out_us {
        let time = several(across.and_then(|a| a.time_to_sell_out_us), us, duration);
        lines.push(format!("sold out {time} after the start"));
    }
    if let Some(rate) = l.issue_rate {
        let rate = several(across.and_then(|a| a.issue_rate), rate, |r| format!("{r:.0}"));
        lines.push(format!("{rate} coupons a second"));
    }
    lines.join("\n")
}

/// One figure, or of several campaigns the median with the smallest and the largest.
fn several(across: Option<Across>, one: f64, show: impl Fn(f64) -> String) -> String {
    match across {
        None => show(one),
        Some(a) => format!("{} (median; {} to {})", show(a.median), show(a.least), show(a.most)),
    }
}

/// `198 of 200 campaigns issued exactly 5 coupons; more: 1 (17), fewer: 1 (33)`.
fn campaigns(c: &CampaignsSummary) -> String {
    let coupons = match c.coupons {
        Some(1) => "1 coupon".to_owned(),
        Some(n) => format!("{} coupons", thousands(n)),
        None => "their number of coupons".to_owned(),
    };
    let mut line = format!(
        "{} of {} campaigns issued exactly {coupons}",
        thousands(c.exact),
        thousands(c.count)
    );
    let off = [
        ("more", c.over, c.over_ids.as_slice()),
        ("fewer", c.short, &c.short_ids),
        ("not sold out", c.never_sold_out, &[]),
    ];
    let mut separator = "; ";
    for (what, count, ids) in off.into_iter().filter(|(_, count, _)| *count > 0) {
        let _ = write!(line, "{separator}{what}: {}", thousands(count));
        if !ids.is_empty() {
            let shown = &ids[..ids.len().min(NAMED)];
            let more = if shown.len() as u64 == count { "" } else { ", …" };
            let _ = write!(line, " ({}{more})", shown.join(", "));
        }
        separator = ", ";
    }
    line
}

fn bursts(summary: &Summary) -> String {
    summary.bursts.iter().map(burst).collect::<Vec<_>>().join("\n")
}

fn burst(b: &BurstSummary) -> String {
    let at = if b.at_us == 0.0 { "the start".to_owned() } else { duration(b.at_us) };
    let planned = format!("burst of {} at {at}", thousands(b.requests));
    let (Some(first), Some(last), Some(spread)) = (b.first_sent_us, b.last_sent_us, b.spread_us)
    else {
        return format!("{planned}: none of it was sent");
    };
    format!(
        "{planned}: {} sent, {} to {} after its moment (spread {})",
        thousands(b.sent),
        duration(first),
        duration(last),
        duration(spread)
    )
}

fn thresholds(summary: &Summary) -> String {
    summary.thresholds.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn accounting(summary: &Summary) -> String {
    let a = &summary.accounting;
    let n = thousands;
    let (planned, sent, dropped) = (n(a.planned), n(a.sent), n(a.dropped));
    let unless_none = |count: u64, what: &str| {
        if count == 0 { String::new() } else { format!(" + {} {what}", n(count)) }
    };
    let follow_ups = unless_none(a.follow_ups, "follow-ups");
    let cancelled = unless_none(a.cancelled, "cancelled");
    let mark = if a.holds { "" } else { "   DOES NOT ADD UP" };
    let mut out =
        format!("planned {planned}{follow_ups} = sent {sent} + dropped {dropped}{cancelled}\n");
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
    if a.repeats > 0 {
        let _ = write!(out, "\n{} of them by buyers who had asked before", n(a.repeats));
    }
    out + &beside(summary)
}

/// What is no attempt, where there is any of it.
fn beside(summary: &Summary) -> String {
    let (steps, reads, n) = (&summary.steps, &summary.reads, thousands);
    let mut out = String::new();
    if let Some(w) = &summary.warm_up {
        let _ = write!(out, "\n{} of {} connections were warm", n(w.alive), n(w.wanted));
    }
    if steps.total() > 0 {
        let _ = write!(
            out,
            "\nbesides: {} polls, {} confirmations; {} of them unanswered",
            n(steps.polls),
            n(steps.confirms),
            n(steps.unanswered)
        );
    }
    if reads.sent > 0 {
        let _ = write!(
            out,
            "\nbesides: {} reads = answered {} + failed {} + indeterminate {}",
            n(reads.sent),
            n(reads.answered),
            n(reads.failed),
            n(reads.indeterminate)
        );
    }
    out
}

/// A few of the answers that no rule matched: how often each came, its status, and its beginning.
fn not_understood(summary: &Summary) -> String {
    let shown = |text: &str| -> String {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        text.chars().take(SHOWN).map(plain).collect()
    };
    let line = |s: &Sample| {
        let body = if s.body.is_empty() { "(empty)".into() } else { shown(&s.body) };
        format!("not understood: {} × {} {body}", thousands(s.times), s.status)
    };
    summary.unclassified.iter().map(line).collect::<Vec<_>>().join("\n")
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
