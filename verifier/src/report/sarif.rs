//! SARIF 2.1.0, for code scanning: one rule a check, one result a finding. What has no line in a file
//! is placed in the history that was judged, and in its campaign.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use contract::secrets::escaped;
use serde::Serialize;
use serde_json::{Value, json};

use super::table::explain;
use crate::check::{CHECKS, Certainty, Check, Weight};
use crate::verdict::{Finding, Kind, Report};
use crate::wording::safe;

/// Where the schema of this version is.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    rule_id: &'static str,
    rule_index: usize,
    level: &'static str,
    message: Value,
    locations: [Value; 1],
    partial_fingerprints: BTreeMap<&'static str, String>,
    properties: Value,
}

/// The report as SARIF.
///
/// # Errors
/// Never in practice: everything in it can be written as JSON.
pub fn render(report: &Report) -> Result<String> {
    let place = uri(&report.subject.path);
    // The same finding of the next run is the same alert: campaign, check, and which one it is.
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let results = report.findings().filter_map(|finding| {
        let nth = seen.entry((&finding.judged.evidence.name, finding.check)).or_default();
        *nth += 1;
        outcome(&finding, report.fail_on, &place, *nth)
    });
    let results: Vec<Outcome> = results.collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "verifier",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": CHECKS.iter().map(rule).collect::<Vec<_>>(),
            }},
            "invocations": [{
                "executionSuccessful": true,
                "exitCode": report.verdict.exit_code(),
                "toolExecutionNotifications": notifications(report),
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
            "properties": {
                "verdict": report.verdict.name(),
                "failOn": report.fail_on.name(),
                "subject": report.subject.lines,
            },
        }],
    });
    Ok(serde_json::to_string_pretty(&log)? + "\n")
}

fn rule(check: &Check) -> Value {
    let level = match check.weight {
        Weight::Proof => "error",
        Weight::Doubt => "warning",
        Weight::Warning => "note",
    };
    json!({
        "id": check.name,
        "shortDescription": {"text": check.rule},
        "fullDescription": {"text": format!("{}. Needs: {}.", check.rule, check.needs.words())},
        "help": {"text": format!("Benign if: {}. See: verifier explain {}", check.benign, check.name)},
        "defaultConfiguration": {"level": level},
    })
}

fn outcome(finding: &Finding<'_>, fail_on: Certainty, place: &str, nth: usize) -> Option<Outcome> {
    let level = match finding.kind {
        Kind::Violation => "error",
        Kind::Possible if fail_on == Certainty::Possible => "error",
        Kind::Possible | Kind::Doubt => "warning",
        Kind::Warning => "note",
    };
    let rule_index = CHECKS.iter().position(|check| check.name == finding.check)?;
    let campaign = &finding.judged.evidence.name;
    let violation = finding.violation;
    let fingerprint = format!("{campaign}/{}/{nth}", finding.check);
    Some(Outcome {
        rule_id: finding.check,
        rule_index,
        level,
        message: json!({"text": message(finding)}),
        locations: [json!({
            "physicalLocation": {"artifactLocation": {"uri": place}},
            "logicalLocations": [{"name": safe(campaign), "fullyQualifiedName": format!("campaign {}", safe(campaign))}],
        })],
        partial_fingerprints: BTreeMap::from([("finding/v1", fingerprint)]),
        properties: json!({
            "certainty": violation.certainty,
            "witness": violation.witness.iter().map(|op| op.op).collect::<Vec<_>>(),
        }),
    })
}

/// The sentence, the proof and what would make it benign.
fn message(finding: &Finding<'_>) -> String {
    let campaign = safe(&finding.judged.evidence.name);
    let mut lines = vec![format!("campaign {campaign}: {}", safe(&finding.violation.sentence))];
    lines.extend(explain(&finding.judged.evidence, finding.violation));
    let benign = Check::named(finding.check).map(|check| format!("benign if: {}", check.benign));
    lines.extend(benign);
    lines.join("\n")
}

/// What could not run, and what is missing of the run as a whole.
fn notifications(report: &Report) -> Vec<Value> {
    let not_run = report.campaigns.iter().flat_map(|judged| {
        let campaign = safe(&judged.evidence.name);
        judged.not_run().map(move |(check, reason)| {
            json!({
                "level": "note",
                "associatedRule": {"id": check},
                "message": {"text": format!("campaign {campaign}: {check} not run, {}", safe(reason))},
            })
        })
    });
    let gaps = report.gaps.iter().map(|gap| {
        json!({"level": "warning", "associatedRule": {"id": crate::check::EVIDENCE}, "message": {"text": safe(gap)}})
    });
    not_run.chain(gaps).collect()
}

/// A path as a URI: every byte that means something in one, or is not ASCII, is written as `%XX`.
fn uri(path: &Path) -> String {
    let text = path.to_string_lossy();
    let parts: Vec<String> = text.split('/').map(escaped).collect();
    format!("{}{}", if path.is_absolute() { "file://" } else { "" }, parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_uri() {
        assert_eq!(uri(Path::new("runs/a b:c")), "runs/a%20b%3Ac");
        assert_eq!(uri(Path::new("/tmp/가")), "file:///tmp/%EA%B0%80");
    }
}
