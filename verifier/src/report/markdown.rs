//! For pages that render Markdown, such as the summary of a CI job: the verdict, the campaigns, and
//! the first proofs.

use super::table::explain;
use super::tally;
use crate::check::Check;
use crate::verdict::{Finding, Judged, Kind, Lacking, Report, Verdict};
use crate::wording::{count, safe, things};

/// So many campaigns have a row; of more, only the worst.
const MOST_CAMPAIGNS: usize = 20;
/// So many findings of a kind are written out.
const MOST_FINDINGS: usize = 10;
/// So many reasons why checks could not run are given.
const MOST_REASONS: usize = 20;

/// The report as Markdown.
pub fn render(report: &Report) -> String {
    let verdict = report.verdict.name();
    let mut out = format!("## {} {verdict}: {}\n\n", mark(report.verdict), tally(report));
    out.extend(report.subject.lines.iter().map(|line| format!("- {}\n", text(line))));
    out.extend(report.gaps.iter().map(|gap| format!("- missing: {}\n", text(gap))));
    out += &campaigns(report);
    for (kind, heading) in [
        (Kind::Violation, "Violations"),
        (Kind::Possible, "Possible, not proven"),
        (Kind::Doubt, "Missing evidence"),
        (Kind::Warning, "Warnings"),
    ] {
        out += &findings(report, kind, heading);
    }
    out + &not_run(report)
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "✅",
        Verdict::Unknown => "❔",
        Verdict::Invalid => "❌",
    }
}

/// A table of the campaigns, the worst first where there are many.
fn campaigns(report: &Report) -> String {
    let mut all: Vec<&Judged> = report.campaigns.iter().collect();
    if all.len() > MOST_CAMPAIGNS {
        all.sort_by_key(|judged| std::cmp::Reverse(judged.verdict));
    }
    let row = |judged: &&Judged| {
        let (e, c) = (&judged.evidence, judged.evidence.counts);
        let numbers = [e.coupons, c.requests, c.issued, c.sold_out, c.indeterminate].map(count);
        let name = text(&e.name);
        format!("| {name} | {} | {} |\n", judged.verdict.name(), numbers.join(" | "))
    };
    let rows: String = all.iter().take(MOST_CAMPAIGNS).map(row).collect();
    if rows.is_empty() {
        return rows;
    }
    let more = all.len().saturating_sub(MOST_CAMPAIGNS);
    let more = if more > 0 {
        format!("\n… and {}\n", things(more, "more campaign"))
    } else {
        String::new()
    };
    format!(
        "\n| campaign | verdict | coupons | requests | issued | sold out | indeterminate |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: |\n{rows}{more}"
    )
}

fn findings(report: &Report, kind: Kind, heading: &str) -> String {
    let all: Vec<Finding<'_>> = report.findings().filter(|f| f.kind == kind).collect();
    if all.is_empty() {
        return String::new();
    }
    let shown: String = all.iter().take(MOST_FINDINGS).map(finding).collect();
    let more = all.len().saturating_sub(MOST_FINDINGS);
    let more = if more > 0 {
        format!("\n… and {}\n", things(more, "more finding"))
    } else {
        String::new()
    };
    format!("\n### {heading}\n{shown}{more}")
}

fn finding(finding: &Finding<'_>) -> String {
    let campaign = text(&finding.judged.evidence.name);
    let sentence = text(&finding.violation.sentence);
    let mut out = format!("\n**{}**, campaign {campaign}: {sentence}\n", finding.check);
    let proof = explain(&finding.judged.evidence, finding.violation);
    if !proof.is_empty() {
        // A line of the proof begins with a letter or a word of ours, so that it ends no fence.
        out += &format!("\n```text\n{}\n```\n", proof.join("\n"));
    }
    if let Some(check) = Check::named(finding.check).filter(|_| finding.kind != Kind::Doubt) {
        out += &format!("\nBenign if: {}\n", check.benign);
    }
    out
}

fn not_run(report: &Report) -> String {
    let all = report.lacking();
    let line = |lacking: &Lacking<'_>| {
        let (checks, campaigns) =
            (lacking.checks.join(", "), things(lacking.campaigns, "campaign"));
        format!("- {checks}, in {campaigns}: {}\n", text(lacking.reason))
    };
    let lines: String = all.iter().take(MOST_REASONS).map(line).collect();
    if lines.is_empty() {
        return lines;
    }
    let more = all.len().saturating_sub(MOST_REASONS);
    let more = if more > 0 {
        format!("- … and {}\n", things(more, "more reason"))
    } else {
        String::new()
    };
    format!("\n### Not run\n\n{lines}{more}")
}

/// Text that others wrote, with nothing in it that Markdown or HTML would take for its own.
fn text(said: &str) -> String {
    let mut out = String::new();
    for c in safe(said).chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_wrote_is_markdown() {
        assert_eq!(
            text("a|b *c* <img> `d` [e](f)"),
            "a\\|b \\*c\\* &lt;img&gt; \\`d\\` \\[e\\](f)"
        );
    }
}
