//! Everything here that reads what others wrote, as functions of bytes. None of them may panic. The
//! fuzz targets call the same functions.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use contract::store::{Column, Mapping};
use verifier::cli::CheckArgs;
use verifier::source::results::Results;
use verifier::witness::alone;

/// Calls `with` on a file that holds these bytes.
fn file(bytes: &[u8], with: impl FnOnce(&Path)) {
    let Ok(mut file) = tempfile::NamedTempFile::with_suffix(".jsonl") else { return };
    if file.write_all(bytes).is_ok() {
        with(file.path());
    }
}

/// How results of other load generators are read in these tests, by format.
pub(crate) const HOW: [&str; 5] = [
    "format: csv\nsent: { at: timeStamp, unit: ms }\ntook: { at: elapsed, unit: ms }\n",
    "format: k6_json\n",
    "format: k6_csv\n",
    "format: vegeta_json\n",
    "format: vegeta_csv\n",
];

/// What follows, whatever the format.
pub(crate) const RULES: &str =
    "campaign: { id: \"7\", coupons: 1, starts_at: \"2026-11-21T10:00:00Z\" }
columns: { user: user, code: code }
outcomes:
  - { when: { status: 200 }, is: issued }
  - { when: { code: 200 }, is: issued }
  - { when: { $.body.won: true }, is: issued }
  - { when: { code: 409 }, is: sold_out }
  - { is: sold_out }
";

/// Bytes as the results of another load generator, in every format.
pub(crate) fn results(bytes: &[u8]) {
    for how in HOW {
        file(format!("{how}{RULES}").as_bytes(), |rules| {
            let Ok(results) = Results::load(rules) else { panic!("the rules are right: {how}") };
            file(bytes, |path| drop(results.read(path, &mut |_| ())));
        });
    }
}

/// Bytes as the rules by which results are read.
pub(crate) fn rules(bytes: &[u8]) {
    file(bytes, |path| drop(Results::load(path)));
}

/// Bytes as a mapping of a store; its patterns are matched against the text itself.
pub(crate) fn mapping(bytes: &[u8]) {
    file(bytes, |path| {
        if let Ok(mapping) = Mapping::load(path) {
            drop(mapping.check_variables());
        }
    });
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        let Ok(pattern) = contract::store::Pattern::try_from(line.to_owned()) else { continue };
        let pattern = pattern.of_campaign("7");
        let captured = pattern.captured(line);
        let columns: Vec<Column> = pattern.columns().collect();
        let named = captured.into_iter().flatten().all(|(column, _)| columns.contains(&column));
        assert!(named, "a column that the pattern does not have: {line:?}");
        drop(pattern.glob());
    }
}

/// Bytes as a report in JSON, whose claims are checked again.
pub(crate) fn verdict(bytes: &[u8]) {
    file(bytes, |path| {
        if let Ok(all) = alone::recheck(path) {
            drop(alone::render(&all));
        }
    });
}

/// Bytes as a history that is judged; and whatever comes of it can be told in every form.
pub(crate) fn judged(bytes: &[u8]) {
    file(bytes, |path| {
        let history = Some(PathBuf::from(path));
        let args = CheckArgs { history, ..CheckArgs::default() };
        let Ok(report) = verifier::check(&args) else { return };
        let broken = report.findings().find(|f| f.violation.sentence.contains("internal error"));
        let broken = broken.map(|f| &f.violation.sentence);
        assert!(broken.is_none(), "{broken:?}\n{}", String::from_utf8_lossy(bytes));
        for format in [
            verifier::cli::Format::Table,
            verifier::cli::Format::Json,
            verifier::cli::Format::Junit,
            verifier::cli::Format::Sarif,
            verifier::cli::Format::Github,
            verifier::cli::Format::Markdown,
        ] {
            assert!(verifier::report::render(&report, format, false).is_ok());
        }
    });
}
