//! The verdict on thousands of small histories is the true one.
//!
//! The truth was found by trying every order of the requests, so it shares nothing with the checks.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use verifier::cli::{CheckArgs, Format};
use verifier::verdict::Verdict;

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

/// Whether each campaign may have been valid, by its verdict.
fn judged(name: &str) -> BTreeMap<String, bool> {
    let report = verifier::check(&CheckArgs {
        run: None,
        history: Some(file(&format!("{name}.jsonl.gz"))),
        campaign: None,
        store: None,
        format: Format::Json,
    });
    let verdict = |j: verifier::verdict::Judged| (j.evidence.name, j.verdict != Verdict::Invalid);
    report.unwrap().campaigns.into_iter().map(verdict).collect()
}

#[test]
fn base_is_judged_exactly() {
    let (truth, judged) = (truth("base"), judged("base"));
    assert_eq!(truth.len(), 4_000);
    let wrong: Vec<_> = truth.iter().filter(|(name, valid)| judged[*name] != **valid).collect();
    assert!(wrong.is_empty(), "{} wrong: {:?}", wrong.len(), &wrong[..wrong.len().min(10)]);
}

#[test]
fn nothing_valid_is_called_invalid() {
    for name in ["per_user", "observations"] {
        let (truth, judged) = (truth(name), judged(name));
        assert_eq!(truth.len(), judged.len());
        let wrong: Vec<_> =
            truth.iter().filter(|(name, valid)| **valid && !judged[*name]).collect();
        assert!(wrong.is_empty(), "{name}: {:?}", &wrong[..wrong.len().min(10)]);
    }
}
