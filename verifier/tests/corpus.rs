//! The verdict on thousands of small histories is the true one.
//!
//! The truth was found by trying every order of the requests, so it shares nothing with the checks.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use verifier::cli::{CheckArgs, Format};
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

/// What the verifier said of a campaign.
struct Said {
    verdict: Verdict,
    /// Whether it named a check that could not run, besides those that need a store.
    left_open: bool,
}

fn judged(name: &str) -> BTreeMap<String, Said> {
    let report = verifier::check(&CheckArgs {
        run: None,
        history: Some(file(&format!("{name}.jsonl.gz"))),
        campaign: None,
        store: None,
        settle: std::time::Duration::ZERO,
        format: Format::Json,
    });
    let said = |j: Judged| {
        let left_open = j.not_run().any(|(_, reason)| reason.starts_with("this version"));
        let verdict = j.verdict;
        (j.evidence.name, Said { verdict, left_open })
    };
    report.unwrap().campaigns.into_iter().map(said).collect()
}

/// The campaigns that break `law`, which is given the truth and what was said.
fn breaking(name: &str, law: impl Fn(bool, &Said) -> bool) -> Vec<String> {
    let (truth, judged) = (truth(name), judged(name));
    assert_eq!((truth.len(), judged.len()), (4_000, 4_000));
    truth.into_iter().filter(|(c, valid)| !law(*valid, &judged[c])).map(|(c, _)| c).collect()
}

const NONE: Vec<String> = Vec::new();

#[test]
fn base_is_judged_exactly() {
    let exact = |valid: bool, said: &Said| valid == (said.verdict != Verdict::Invalid);
    assert_eq!(breaking("base", exact), NONE);
}

#[test]
fn nothing_valid_is_called_invalid() {
    for name in ["per_user", "observations"] {
        let sound = |valid: bool, said: &Said| !valid || said.verdict != Verdict::Invalid;
        assert_eq!(breaking(name, sound), NONE, "{name}");
    }
}

#[test]
fn what_is_missed_is_never_called_valid_without_saying_what_was_not_judged() {
    for name in ["per_user", "observations"] {
        let honest =
            |valid: bool, said: &Said| valid || said.verdict != Verdict::Valid || said.left_open;
        assert_eq!(breaking(name, honest), NONE, "{name}");
    }
}
