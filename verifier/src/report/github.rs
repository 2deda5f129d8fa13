//! For GitHub Actions: workflow commands, which the runner shows as annotations, and one line for the
//! log. The trick is in the escapes: whatever others wrote stays inside its command.

use super::table::explain;
use super::tally;
use crate::check::{Certainty, Check};
use crate::verdict::{Finding, Kind, Report};
use crate::wording::{safe, things};

/// GitHub shows so many annotations of a kind for a step, and drops the others without a word.
const MOST_SHOWN: usize = 10;

/// The report as workflow commands.
pub fn render(report: &Report) -> String {
    let kinds = ["error", "warning", "notice"];
    let mut lines: Vec<String> = kinds.iter().flat_map(|kind| commands(report, kind)).collect();
    lines.push(format!("{}  {}", report.verdict.name(), tally(report)));
    lines.join("\n") + "\n"
}

/// All commands of one kind; where there are too many, the last says how many are not there.
fn commands(report: &Report, kind: &str) -> Vec<String> {
    let of_kind = report.findings().filter(|finding| command(finding, report.fail_on) == kind);
    let mut all: Vec<(String, String)> = of_kind.map(|f| (title(&f), message(&f))).collect();
    if kind == "warning" && report.campaigns.is_empty() {
        all.extend(report.gaps.iter().map(|gap| ("evidence".to_owned(), safe(gap))));
    }
    if kind == "notice" {
        all.extend(not_run(report));
    }
    if all.len() > MOST_SHOWN {
        let more = all.split_off(MOST_SHOWN - 1).len();
        let told = "the step's summary and the other reports have them".to_owned();
        all.push((format!("and {}", things(more, "more finding")), told));
    }
    let line = |(title, message): (String, String)| {
        format!("::{kind} title={}::{}", property(&title), data(&message))
    };
    all.into_iter().map(line).collect()
}

fn command(finding: &Finding<'_>, fail_on: Certainty) -> &'static str {
    match finding.kind {
        Kind::Violation => "error",
        Kind::Possible if fail_on == Certainty::Possible => "error",
        Kind::Possible | Kind::Doubt => "warning",
        Kind::Warning => "notice",
    }
}

fn title(finding: &Finding<'_>) -> String {
    let possible = if finding.kind == Kind::Possible { ", only possible" } else { "" };
    format!("{} (campaign {}){possible}", finding.check, safe(&finding.judged.evidence.name))
}

fn message(finding: &Finding<'_>) -> String {
    let mut lines = vec![safe(&finding.violation.sentence)];
    lines.extend(explain(&finding.judged.evidence, finding.violation));
    let benign = Check::named(finding.check).map(|check| format!("benign if: {}", check.benign));
    lines.extend(benign);
    lines.join("\n")
}

/// What could not run, a line for each reason.
fn not_run(report: &Report) -> impl Iterator<Item = (String, String)> {
    report.campaigns.iter().flat_map(|judged| {
        let campaign = safe(&judged.evidence.name);
        judged.lacking().into_iter().map(move |(reason, checks)| {
            (
                format!("not run (campaign {campaign})"),
                format!("{}: {}", checks.join(", "), safe(reason)),
            )
        })
    })
}

/// Text of a command, as the runner reads it back.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_command() {
        assert_eq!(data("50% ::error::\r\nx"), "50%25 ::error::%0D%0Ax");
        assert_eq!(property("a:b,c\n%"), "a%3Ab%2Cc%0A%25");
    }
}
