//! The verdict on thousands of small histories is the true one.
//!
//! The truth was found by trying every order of the requests, so it shares nothing with the checks.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use verifier::cli::CheckArgs;
use verifier::verdict::{Judged, Verdict};

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/histories")).join(name)
}

fn truth(name: &str) -> BTreeMap<String, bool> {
    let file = std::fs::File::open(file(&format!("{name}.truth.jsonl.gz"))).unwrap();
    let parse = |line: std::io::Result<String>| {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        (line["campaign"].as_str().unwrap().to_owned(), line["valid"].as_bool().unwrap())
    };
    BufReader::new(MultiGzDecoder::new(file)).lines().map(parse).collect()
}

/// Whether each campaign is invalid, and the reasons why a check could not run.
fn judged(name: &str, most_held: Option<usize>) -> BTreeMap<String, (bool, Vec<String>)> {
    let report = verifier::check(&CheckArgs {
        history: Some(file(&format!("{name}.jsonl.gz"))),
        settle: Some(std::time::Duration::ZERO),
        most_held,
        ..CheckArgs::default()
    });
    let said = |j: Judged| {
        let not_run = j.not_run().map(|(_, reason)| reason.to_owned()).collect();
        let invalid = j.verdict == Verdict::Invalid;
        let broken = j.doubts().any(|(_, doubt)| doubt.sentence.contains("internal error"));
        assert!(!broken, "{name}, {}: a witness does not hold", j.evidence.name);
        (j.evidence.name, (invalid, not_run))
    };
    report.unwrap().campaigns.into_iter().map(said).collect()
}

fn is_judged_exactly(name: &str) {
    // As few requests, and as too many to hold.
    for most_held in [None, Some(0)] {
        are_judged(&truth(name), &judged(name, most_held));
    }
}

fn are_judged(truth: &BTreeMap<String, bool>, judged: &BTreeMap<String, (bool, Vec<String>)>) {
    assert_eq!((truth.len(), judged.len()), (4_000, 4_000));
    let wrong = truth.iter().filter(|(campaign, valid)| judged[*campaign].0 == **valid);
    assert_eq!(wrong.map(|(campaign, _)| campaign).collect::<Vec<_>>(), [""; 0]);
    let left_open = judged
        .values()
        .flat_map(|(_, why)| why)
        .filter(|why| !why.contains("store") && !why.contains("too many to compare"));
    assert_eq!(
        left_open.collect::<Vec<_>>(),
        [""; 0],
        "nothing but the store is missing, and a comparison of each coupon"
    );
}

#[test]
fn base_is_judged_exactly() {
    is_judged_exactly("base");
}

#[test]
fn per_user_is_judged_exactly() {
    is_judged_exactly("per_user");
}

#[test]
fn observations_are_judged_exactly() {
    is_judged_exactly("observations");
}
