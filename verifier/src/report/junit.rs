//! For CI systems: one case a check and campaign. A violation is a failure, missing evidence an
//! error, a check that could not run is skipped, and a warning is the output of a case that passed.

use anyhow::Result;
use quick_junit::{NonSuccessKind, Report as Suites, TestCase, TestCaseStatus, TestSuite};

use crate::check::{Violation, Weight};
use crate::report::table::explain;
use crate::verdict::{Checked, Judged, Report};
use crate::wording::safe;

/// The report as JUnit XML.
///
/// # Errors
/// When it cannot be serialized.
pub fn render(report: &Report) -> Result<String> {
    let mut suites = Suites::new("verifier");
    for judged in &report.campaigns {
        let mut suite = TestSuite::new(format!("campaign {}", safe(&judged.evidence.name)));
        for result in &judged.results {
            let mut case = TestCase::new(result.check, status(judged, result));
            if result.weight == Weight::Warning && !result.found.is_empty() {
                case.set_system_out(sentences(result));
            }
            case.set_classname(format!("campaign.{}", safe(&judged.evidence.name)));
            suite.add_test_case(case);
        }
        suites.add_test_suite(suite);
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

fn status(judged: &Judged, result: &Checked) -> TestCaseStatus {
    if let Some(reason) = &result.not_run {
        let mut status = TestCaseStatus::skipped();
        status.set_message(safe(reason));
        return status;
    }
    let kind = match result.weight {
        _ if result.found.is_empty() => return TestCaseStatus::success(),
        Weight::Proof => NonSuccessKind::Failure,
        Weight::Doubt => NonSuccessKind::Error,
        Weight::Warning => return TestCaseStatus::success(),
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(sentences(result));
    status.set_type(result.check);
    let proof = |v: &Violation| explain(&judged.evidence, v).join("\n");
    let proofs: Vec<String> =
        result.found.iter().map(|v| format!("{}\n{}", safe(&v.sentence), proof(v))).collect();
    status.set_description(proofs.join("\n"));
    status
}

fn sentences(result: &Checked) -> String {
    let sentences: Vec<&str> = result.found.iter().map(|v| v.sentence.as_str()).collect();
    safe(&sentences.join("; "))
}
