//! For people: the verdict first, then the numbers, then the proof.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use contract::campaign::{PerUser, Precedence};
use contract::store::Column;

use super::tally;
use crate::check::{Certainty, Check, Violation, Weight};
use crate::evidence::ledger::Ledger;
use crate::evidence::{CampaignEvidence, Op, Said};
use crate::verdict::{Checked, Judged, Kind, Lacking, Report, Verdict};
use crate::wording::{count, moment, safe, signed, size, span, things};

/// Up to so many campaigns are all shown; of more, only those that are not valid.
const ALL_SHOWN: usize = 20;
/// So many violations of one check are shown.
const MOST_ALIKE: usize = 2;
/// So many operations of a witness are shown.
const MOST_SHOWN: usize = 6;

/// The report as text.
pub fn render(report: &Report, colours: bool) -> String {
    let pen = Pen { colours };
    let mut out = vec![headline(report, pen)];
    out.extend(report.subject.lines.iter().map(|line| format!("  {}", safe(line))));
    if report.campaigns.is_empty() {
        out.extend(report.gaps.iter().map(|g| format!("  ? {}", safe(g))));
    }
    let many = report.campaigns.len() > ALL_SHOWN;
    let wanted = |j: &&Judged| !many || j.verdict != Verdict::Valid;
    // The worst first, so that nothing invalid is hidden behind what is only unknown.
    let mut shown: Vec<&Judged> = report.campaigns.iter().filter(wanted).collect();
    if many {
        shown.sort_by_key(|j| std::cmp::Reverse(j.verdict));
    }
    for judged in shown.iter().take(ALL_SHOWN) {
        out.push(String::new());
        out.extend(campaign(judged, pen, many));
    }
    let more = shown.len().saturating_sub(ALL_SHOWN);
    if more > 0 {
        let others = things(more, "more campaign");
        out.push(format!("\n… {others} not valid; --campaign ID shows one, --format json all"));
    }
    if many {
        out.extend(not_run(report));
    }
    out.join("\n") + "\n"
}

/// What could not run in the campaigns, of which there are too many to say it for each.
fn not_run(report: &Report) -> Vec<String> {
    let all = report.lacking();
    let line = |lacking: &Lacking<'_>| {
        let (checks, campaigns) =
            (lacking.checks.join(", "), things(lacking.campaigns, "campaign"));
        format!("– {checks}: not run in {campaigns}: {}", safe(lacking.reason))
    };
    let mut lines: Vec<String> = all.iter().take(ALL_SHOWN).map(line).collect();
    let more = all.len().saturating_sub(ALL_SHOWN);
    if more > 0 {
        lines.push(format!("… and {}; --format json shows all", things(more, "more reason")));
    }
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

/// How a violation is proven: its operations, then the steps.
pub fn explain(e: &CampaignEvidence, violation: &Violation) -> Vec<String> {
    let mut table = plain();
    for (at, op) in violation.witness.iter().take(MOST_SHOWN).enumerate() {
        table.add_row(row(e, at, op));
    }
    let mut lines: Vec<String> = match violation.witness.is_empty() {
        true => Vec::new(),
        false => lines_of(&table),
    };
    let more = violation.witness.len().saturating_sub(MOST_SHOWN);
    if more > 0 {
        lines.push(format!("… and {}", things(more, "more operation")));
    }
    lines.extend(violation.because.iter().map(|step| safe(step)));
    lines
}

/// The lines of a table without the space that stands before its first column.
pub(super) fn lines_of(table: &Table) -> Vec<String> {
    let text = table.trim_fmt();
    text.lines().map(|l| l.strip_prefix(' ').unwrap_or(l).to_owned()).collect()
}

fn row(e: &CampaignEvidence, at: usize, op: &Op) -> Vec<String> {
    let relative = |t: i64| moment(t.saturating_sub(e.zero()));
    let letter = char::from(b'A' + u8::try_from(at % 26).unwrap_or_default());
    let target = op.target.map_or_else(String::new, |t| {
        let name = e.targets.get(usize::from(t));
        name.map(|name| safe(name)).unwrap_or_else(|| format!("target {t}"))
    });
    let answered = match op.completed {
        Some(t) if op.said == Said::Unknown => format!("given up {}", relative(t)),
        Some(t) => format!("answered {}", relative(t)),
        None => "never answered".into(),
    };
    vec![
        letter.to_string(),
        format!("#{}", op.op),
        target,
        op.user.as_deref().map_or_else(String::new, |u| format!("user {}", safe(u))),
        format!("sent {}", relative(op.invoked)),
        answered,
        told(op),
    ]
}

fn told(op: &Op) -> String {
    match &op.said {
        Said::Issued(code) => format!("issued {}", safe(code)),
        Said::SoldOut => "sold out".into(),
        Said::NotStarted => "not started".into(),
        Said::NotFound => "not found".into(),
        Said::Ended => "ended".into(),
        Said::AlreadyIssued(Some(code)) => format!("already issued {}", safe(code)),
        Said::AlreadyIssued(None) => "already issued".into(),
        Said::Failed => "rejected".into(),
        Said::Unknown => "outcome unknown".into(),
        Said::Counted(n) => format!("read: {} issued", signed(*n)),
        Said::Left(n) => format!("read: {} left", signed(*n)),
        Said::Listed(n) => format!("read: a list of {} codes", size(*n)),
    }
}

fn headline(report: &Report, pen: Pen) -> String {
    let fails = match report.fail_on {
        Certainty::Possible => ", what is only possible fails too",
        Certainty::Proven => "",
    };
    format!("{}  {}{fails}", pen.verdict(report.verdict), tally(report))
}

fn campaign(judged: &Judged, pen: Pen, short: bool) -> Vec<String> {
    let e = &judged.evidence;
    let mut out = vec![format!("campaign {}  {}", safe(&e.name), pen.verdict(judged.verdict))];
    let inner = |lines: Vec<String>| lines.into_iter().map(|l| format!("  {l}"));
    if !short {
        out.extend(inner(numbers(e)));
        out.push(String::new());
        out.extend(inner(checked(judged, pen)));
    }
    for result in judged.results.iter().filter(|r| r.weight == Weight::Proof) {
        out.extend(found(e, result, pen));
    }
    if judged.doubts().chain(judged.warnings()).next().is_some() && !short {
        out.push(String::new());
    }
    out.extend(
        judged
            .doubts()
            .map(|(check, v)| format!("  {} {check}: {}", pen.doubt(), safe(&v.sentence))),
    );
    let warnings = judged.warnings().filter(|_| !short);
    out.extend(
        warnings.map(|(check, v)| format!("  {} {check}: {}", pen.warning(), safe(&v.sentence))),
    );
    if judged.violations().chain(judged.possible()).any(|(_, v)| !v.witness.is_empty()) {
        let zero =
            if e.start_is_placed() { "the earliest possible start" } else { "the history's zero" };
        out.push(format!("\n  times are relative to {zero}"));
    }
    out
}

/// What one check found: its first violations in full, and how many more there are.
fn found(e: &CampaignEvidence, result: &Checked, pen: Pen) -> Vec<String> {
    let mut out = Vec::new();
    for violation in result.found.iter().take(MOST_ALIKE) {
        let (mark, certainty) = match violation.certainty {
            Certainty::Proven => (pen.cross(), ""),
            Certainty::Possible => (pen.perhaps(), ", only possible"),
        };
        let sentence = safe(&violation.sentence);
        out.push(format!("\n  {mark} {}{certainty}: {sentence}", result.check));
        let lines = explain(e, violation);
        out.extend(lines.into_iter().map(|l| format!("      {}", l.trim_end())));
    }
    let more = result.found.len().saturating_sub(MOST_ALIKE);
    if more > 0 {
        out.push(format!("\n      … and {} of {}", things(more, "more violation"), result.check));
    }
    if let Some(check) = Check::named(result.check).filter(|_| !out.is_empty()) {
        out.push(format!("      benign if: {}", check.benign));
    }
    out
}

fn numbers(e: &CampaignEvidence) -> Vec<String> {
    let mut table = plain();
    let c = e.counts;
    let mut line = |name: &str, value: String, note: &str| {
        let number = Cell::new(value).set_alignment(CellAlignment::Right);
        table.add_row([Cell::new(name), number, Cell::new(note)]);
    };
    line("coupons promised", count(e.coupons), "");
    line("requests", count(c.requests), "");
    line("issued", count(c.issued), &replays(e));
    line("sold out", count(c.sold_out), "");
    line("not started", count(c.not_started), "");
    let seldom =
        [("not found", c.not_found), ("ended", c.ended), ("already issued", c.already_issued)];
    for (name, told) in seldom.into_iter().filter(|(_, told)| *told > 0) {
        line(name, count(told), "");
    }
    line("failed", count(c.failed), "");
    let resolved =
        e.ledger().map(|_| format!("{} resolved by the store", size(e.resolved().count())));
    line("indeterminate", count(c.indeterminate), &resolved.unwrap_or_default());
    if let Some(ledger) = e.said_by_store() {
        let note = format!(
            "{}unchanged for {:.2} s when read after {:.2} s",
            counters(ledger),
            ledger.unchanged_for.as_secs_f64(),
            ledger.settled_after.as_secs_f64()
        );
        let rows = e.ledger().map_or_else(|| "not known".into(), |l| size(l.count()));
        line("rows in the store", rows, &note);
    }
    let mut lines = lines_of(&table);
    lines.extend(e.said_by_store().into_iter().flat_map(|ledger| joined(e, ledger)));
    lines.extend(e.per_user.map(|p| format!("limit: {} a user; {}", p.limit, precedence(p))));
    lines.extend((e.read_lag > 0).then(|| format!("reads may lag by {}", span(e.read_lag))));
    lines.extend(start(e));
    lines.extend(e.first_sold_out.as_ref().map(|op| {
        format!(
            "last coupon: gone by {}, when #{} was told \"sold out\"",
            moment(op.end().saturating_sub(e.zero())),
            op.op
        )
    }));
    lines
}

fn counters(ledger: &Ledger) -> String {
    ledger.counters.iter().map(|c| format!("{}, ", safe(&c.words()))).collect()
}

/// What tied store and history together, and what the store cannot show.
fn joined(e: &CampaignEvidence, ledger: &Ledger) -> Vec<String> {
    let notes = ledger.notes.iter().map(|note| format!("store: {}", safe(note)));
    let lacks: Vec<&str> = ledger.lacks.iter().map(|column| column.name()).collect();
    let by = match e.ledger() {
        None => {
            "store: only counted; which coupons it holds, and whose they are, is not proven".into()
        }
        // The reference server's rows tell everything.
        Some(_) if lacks.is_empty() => return notes.collect(),
        Some(ledger) => format!(
            "store: joined by {}; its rows tell no {}, so nothing about these is proven by it",
            ledger.joined_by.unwrap_or(Column::Code).name(),
            lacks.join(", ")
        ),
    };
    std::iter::once(by).chain(notes).collect()
}

fn precedence(per_user: PerUser) -> &'static str {
    match per_user.precedence {
        Precedence::AlreadyFirst => "a holder is always told \"already issued\"",
        Precedence::SoldOutFirst => "a holder is told \"sold out\" once all coupons are gone",
        Precedence::Either => "a holder may be told either refusal once all coupons are gone",
    }
}

fn replays(e: &CampaignEvidence) -> String {
    match e.counts.issued.saturating_sub(e.acknowledged.len() as u64) {
        0 => String::new(),
        n => format!("{} of them replays under a key", count(n)),
    }
}

fn start(e: &CampaignEvidence) -> Option<String> {
    if !e.start_is_placed() {
        return Some("start: no known place on the history's clock".into());
    }
    let width = span(e.starts_at.width());
    Some(match e.first_issued() {
        Some(op) => {
            let after = op.end().saturating_sub(e.starts_at.earliest);
            format!(
                "start: first coupon acknowledged {} {} the earliest possible start, known to {width}",
                span(after.saturating_abs()),
                if after < 0 { "before" } else { "after" }
            )
        }
        None => format!("start: known to {width}"),
    })
}

fn checked(judged: &Judged, pen: Pen) -> Vec<String> {
    let mut lines = Vec::new();
    let mut names = |mark: String, wanted: &dyn Fn(&Checked) -> bool| {
        let found: Vec<&str> =
            judged.results.iter().filter(|r| wanted(r)).map(|r| r.check).collect();
        lines.extend(found.chunks(6).map(|some| format!("{mark} {}", some.join(", "))));
    };
    names(pen.tick(), &|r| r.found.is_empty() && r.not_run.is_none());
    names(pen.cross(), &|r| r.worst() == Some(Kind::Violation));
    names(pen.perhaps(), &|r| r.worst() == Some(Kind::Possible));
    names(pen.doubt(), &|r| r.worst() == Some(Kind::Doubt));
    names(pen.warning(), &|r| r.worst() == Some(Kind::Warning));
    let reasons = judged.lacking();
    lines.extend(
        reasons.iter().map(|(r, checks)| format!("– {}: not run, {}", checks.join(", "), safe(r))),
    );
    lines
}

/// A table without lines.
pub(super) fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// Writes in colour, or not.
#[derive(Clone, Copy, Debug)]
struct Pen {
    colours: bool,
}

impl Pen {
    fn paint(self, text: &str, colour: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn verdict(self, verdict: Verdict) -> String {
        match verdict {
            Verdict::Valid => self.paint(verdict.name(), "1;32"),
            Verdict::Unknown => self.paint(verdict.name(), "1;33"),
            Verdict::Invalid => self.paint(verdict.name(), "1;31"),
        }
    }

    fn tick(self) -> String {
        self.paint("✓", "32")
    }

    fn cross(self) -> String {
        self.paint("✗", "31")
    }

    fn perhaps(self) -> String {
        self.paint("~", "33")
    }

    fn warning(self) -> String {
        self.paint("!", "33")
    }

    fn doubt(self) -> String {
        self.paint("?", "33")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::sample::campaign;

    #[test]
    fn hangul_is_two_columns_wide() {
        let e = campaign(2).user("가나").issued("다", 110, 120).user("abcd").issued("라", 110, 120);
        let e = e.evidence();
        let ops: Vec<Op> = e.acknowledged.iter().map(|c| c.told.clone()).collect();
        let lines = explain(&e, &Violation { witness: ops, ..Violation::default() });
        assert!(lines[0].contains("user 가나  sent"), "{lines:?}");
        assert!(lines[1].contains("user abcd  sent"), "{lines:?}");
    }

    #[test]
    fn colours_are_there_when_they_are_wanted_and_not_else() {
        let wanted = [true, false].map(|colours| Pen { colours }.verdict(Verdict::Invalid));
        assert_eq!(wanted, ["\x1b[1;31minvalid\x1b[0m", "invalid"]);
    }
}
