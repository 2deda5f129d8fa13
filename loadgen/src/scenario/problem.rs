//! What is wrong with a scenario, in one line with its place: file:line:column.

use std::path::{Path, PathBuf};

use serde_saphyr::Error;

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It says something it must not.
    #[error("{place}: {what}")]
    Wrong {
        /// `file:line:column`, or the flag.
        place: String,
        /// What is wrong and what was expected.
        what: String,
    },
}

/// Names the place of a YAML error, and the key that was probably meant.
pub(super) fn at(path: &Path, text: &str, error: Error) -> ScenarioError {
    let error = error.without_snippet();
    let place = error.location().filter(|l| l.line() > 0).map_or_else(
        || path.display().to_string(),
        |l| format!("{}:{}:{}", path.display(), l.line(), l.column()),
    );
    ScenarioError::Wrong { place, what: describe(error, text) }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser may learn further kinds of error")]
fn describe(error: &Error, text: &str) -> String {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => unknown_key(field, expected),
        Error::SerdeMissingField { field, .. } => format!("key `{field}` is missing"),
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("found {unexpected}, expected {expected}")
        }
        Error::InvalidScalar { ty, location } => {
            format!("found {}, expected {}", value_at(text, location), in_words(ty))
        }
        Error::DuplicateMappingKey { key, .. } => {
            format!("key `{}` stands here a second time", key.as_deref().unwrap_or("?"))
        }
        Error::MultipleDocuments { .. } => "expected one YAML document, found another one".into(),
        Error::Unexpected { expected: "mapping start", .. } => {
            "expected keys and values, such as `coupons: 100`".into()
        }
        Error::Unexpected { expected: "sequence start", .. } => {
            "expected a list, such as `[a, b]`".into()
        }
        Error::NullIntoString { .. } => "found nothing, expected a text".into(),
        Error::Eof { .. } if has_no_content(text) => "the file is empty".into(),
        other => first_line(&other.to_string()),
    }
}

fn has_no_content(text: &str) -> bool {
    text.lines().map(str::trim).all(|l| l.is_empty() || l.starts_with('#') || l == "---")
}

/// The value that stands at this place.
fn value_at<'a>(text: &'a str, location: &serde_saphyr::Location) -> &'a str {
    let place = |n: u64| usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
    let line = text.lines().nth(place(location.line())).unwrap_or_default();
    let start = line.char_indices().nth(place(location.column())).map_or(0, |(at, _)| at);
    let rest = &line[start..];
    rest[..rest.find([',', '}', ']', '#']).unwrap_or(rest.len())].trim_end()
}

/// A type as people call it.
fn in_words(ty: &str) -> &str {
    match ty {
        "u64" | "u32" | "u16" => "a whole number, 0 or more",
        "i64" | "i32" => "a whole number",
        "f64" | "float" => "a number",
        "bool" => "true or false",
        other => other,
    }
}

/// The message without the place that the parser adds, which stands in front already.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let end = line.find(" at line ").unwrap_or(line.len());
    let line = &line[..end];
    line.strip_prefix("validation error: ").unwrap_or(line).to_owned()
}

fn unknown_key(found: &str, expected: &[&str]) -> String {
    let nearest = expected
        .iter()
        .map(|e| (strsim::damerau_levenshtein(found, e), e))
        .min()
        .filter(|(distance, e)| *distance <= e.len().max(found.len()).div_ceil(3));
    let hint = nearest.map_or_else(String::new, |(_, e)| format!("; did you mean `{e}`?"));
    format!("unknown key `{found}`{hint} (expected {})", expected.join(", "))
}

/// The same for a `--set`, where there is no line and column but the assignment itself.
pub(super) fn in_set(place: &str, message: &str) -> ScenarioError {
    let unknown = message
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split_once("`, expected "))
        .map(|(found, expected)| {
            let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            unknown_key(found, &names)
        });
    ScenarioError::Wrong { place: place.into(), what: unknown.unwrap_or_else(|| message.into()) }
}
