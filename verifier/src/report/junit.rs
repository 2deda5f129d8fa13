//! For CI systems: one case a check and campaign. A violation is a failure, missing evidence an
//! error, a check that could not run is skipped, and what else is worth knowing is the output of a
//! case that passed.

use anyhow::Result;
use quick_junit::{
    NonSuccessKind, Property, Report as Suites, TestCase, TestCaseStatus, TestSuite,
};

use crate::check::{Certainty, Check, Violation};
use crate::report::table::explain;
use crate::verdict::{Checked, Judged, Kind, Report};
use crate::wording::safe;

/// The report as JUnit XML.
///
/// # Errors
/// When it cannot be serialized.
pub fn render(report: &Report) -> Result<String> {
    let mut suites = Suites::new("verifier");
    for judged in &report.campaigns {
        suites.add_test_suite(suite(judged, report));
    }
    if !report.gaps.is_empty() {
        let mut suite = TestSuite::new("run");
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(safe(&report.gaps.join("; ")));
        suite.add_test_case(TestCase::new("evidence", status));
        suites.add_test_suite(suite);
    }
    Ok(suites.to_string()?)
}

fn suite(judged: &Judged, report: &Report) -> TestSuite {
    let mut suite = TestSuite::new(format!("campaign {}", safe(&judged.evidence.name)));
    suite.add_property(Property::new("verdict", judged.verdict.name()));
    suite.add_property(Property::new("fail-on", report.fail_on.name()));
    for line in &report.subject.lines {
        suite.add_property(Property::new("subject", safe(line)));
    }
    for result in &judged.results {
        let failure = failure(result, report.fail_on);
        let mut case = TestCase::new(result.check, status(judged, result, failure));
        if failure.is_none() && !result.found.is_empty() {
            case.set_system_out(proofs(judged, result));
        }
        case.set_classname(format!("campaign.{}", safe(&judged.evidence.name)));
        suite.add_test_case(case);
    }
    suite
}

/// How a case fails, if it does.
fn failure(result: &Checked, fail_on: Certainty) -> Option<NonSuccessKind> {
    match result.worst()? {
        Kind::Violation => Some(NonSuccessKind::Failure),
        Kind::Possible if fail_on == Certainty::Possible => Some(NonSuccessKind::Failure),
        Kind::Possible | Kind::Warning => None,
        Kind::Doubt => Some(NonSuccessKind::Error),
    }
}

fn status(judged: &Judged, result: &Checked, failure: Option<NonSuccessKind>) -> TestCaseStatus {
    if let Some(reason) = &result.not_run {
        let mut status = TestCaseStatus::skipped();
        status.set_message(safe(reason));
        return status;
    }
    let Some(kind) = failure else { return TestCaseStatus::success() };
    let mut status = TestCaseStatus::non_success(kind);
    let sentences: Vec<&str> = result.found.iter().map(|v| v.sentence.as_str()).collect();
    status.set_message(safe(&sentences.join("; ")));
    status.set_type(result.check);
    status.set_description(proofs(judged, result));
    status
}

/// Everything that was found, with its proof, and what would make it benign.
fn proofs(judged: &Judged, result: &Checked) -> String {
    let proof = |v: &Violation| {
        let certainty = match v.certainty {
            Certainty::Possible => "only possible: ",
            Certainty::Proven => "",
        };
        let steps = explain(&judged.evidence, v);
        let steps = steps.iter().map(|line| format!("{line}\n"));
        format!("{certainty}{}\n{}", safe(&v.sentence), steps.collect::<String>())
    };
    let proofs: String = result.found.iter().map(proof).collect();
    let benign = Check::named(result.check).map(|check| check.benign).unwrap_or_default();
    format!("{proofs}benign if: {benign}")
}
