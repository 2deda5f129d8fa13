//! What is wrong with a YAML file, in one line with its place: file:line:column.
//!
//! The parser knows where a value stands but not which keys lead there, so the file is read a second
//! time as a tree of places once something is wrong.

pub mod duration;
mod place;
pub mod spelled;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, Location};

use place::Node;

/// What a file says that it must not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Wrong {
    /// `file:line:column`, or the flag.
    pub place: String,
    /// What is wrong and what was expected.
    pub what: String,
}

/// Reads a file's text. `expected` says what the file should hold.
///
/// # Errors
/// When it says something it must not; the message has the place.
pub fn read<T: DeserializeOwned>(path: &Path, text: &str, expected: &str) -> Result<T, Wrong> {
    serde_saphyr::from_str(text).map_err(|e| at(path, text, expected, &e))
}

/// Names the place of a YAML error, the keys that lead to it, and what was probably meant.
pub fn at(path: &Path, text: &str, expected: &str, error: &Error) -> Wrong {
    let error = error.without_snippet();
    if has_no_content(text) {
        return whole(path, text, &format!("the file is empty, expected {expected}"));
    }
    let tree = Node::read(text);
    // The first of several documents lacks what the others have, which is not what is wrong.
    let error = match &tree {
        Err(other) if matches!(other.without_snippet(), Error::MultipleDocuments { .. }) => {
            other.without_snippet()
        }
        _ => error,
    };
    let Some(location) = error.location().filter(|l| l.line() > 0) else {
        return whole(path, text, &describe(error, text));
    };
    let what = describe(error, text);
    let (location, what) = match &tree {
        Ok(tree) => in_tree(tree, error, location, &what),
        Err(_) => (location, what),
    };
    Wrong { place: place(path, location), what: on_one_line(&what) }
}

/// What is wrong where no single value is: its message begins with the keys that lead to the place.
pub fn whole(path: &Path, text: &str, what: &str) -> Wrong {
    let tree = Node::read(text);
    let (place, what) = match &tree {
        Ok(tree) => {
            let (node, what) = tree.told_by("", what);
            (place(path, node.at), what)
        }
        Err(_) => (format!("{}:1:1", path.display()), what.to_owned()),
    };
    Wrong { place, what: on_one_line(&what) }
}

/// Keys and values of the file may have line ends in them.
fn on_one_line(what: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    what.chars().map(escape).collect()
}

/// What the bytes of a file are if they are no text.
pub fn no_text(path: &Path, bytes: &[u8], valid: usize) -> Wrong {
    let before = String::from_utf8_lossy(&bytes[..valid]);
    let line = before.split('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let place = format!("{}:{line}:{column}", path.display());
    let found = bytes.get(valid).copied().unwrap_or_default();
    Wrong { place, what: format!("found the byte 0x{found:02x}, expected UTF-8") }
}

fn place(path: &Path, location: Location) -> String {
    format!("{}:{}:{}", path.display(), location.line().max(1), location.column().max(1))
}

/// The place that is meant, and the message with the keys that lead to it.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser may learn further kinds of error")]
fn in_tree(tree: &Node, error: &Error, location: Location, what: &str) -> (Location, String) {
    let value = || tree.value_at(location).or_else(|| tree.around(location));
    let named = |keys: &str| match keys {
        "" => what.to_owned(),
        keys => format!("{keys}: {what}"),
    };
    match error {
        // The place is that of the key.
        Error::SerdeUnknownField { .. } => {
            (location, tree.around(location).map_or_else(|| what.to_owned(), |f| named(&f.keys)))
        }
        // The place is that of the last key of the mapping that lacks one.
        Error::SerdeMissingField { .. } => {
            match tree.around(location).or_else(|| tree.value_at(location)) {
                Some(found) => (found.node.at, named(&found.keys)),
                None => (location, what.to_owned()),
            }
        }
        _ => match value() {
            Some(found) => {
                let (node, message) = found.node.told_by(&found.keys, what);
                let deeper = !std::ptr::eq(node, found.node);
                (if deeper { node.at } else { location }, message)
            }
            None => (location, what.to_owned()),
        },
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser may learn further kinds of error")]
fn describe(error: &Error, text: &str) -> String {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => unknown("key", field, expected),
        Error::SerdeUnknownVariant { variant, expected, .. } => unknown("value", variant, expected),
        Error::SerdeMissingField { field, .. } => format!("key `{field}` is missing"),
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            let found = match unexpected.as_str() {
                "sequence" => "a list",
                "map" => "keys and values",
                "unit value" | "null" => "nothing",
                other => other,
            };
            format!("found {found}, expected {expected}")
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
        Error::Unexpected { expected: "string scalar", location } => {
            let found = match value_at(text, location).chars().next() {
                Some('[' | '-') => "a list",
                _ => "keys and values",
            };
            format!("found {found}, expected a single value")
        }
        Error::NullIntoString { .. } => "found nothing, expected a text".into(),
        Error::UnknownAnchor { .. } => {
            "a text that begins with * has to stand in quotes (it would be a YAML alias)".into()
        }
        // Our own checks, which may quote the file.
        Error::Message { msg, .. } => msg.clone(),
        // The scanner's words, and nothing of the file.
        Error::ExternalMessage { msg, .. } => syntax(&first_line(msg)),
        other => first_line(&other.to_string()),
    }
}

/// What the scanner says, with what is most often the reason.
fn syntax(message: &str) -> String {
    let hint = match message {
        m if m.contains("tabs disallowed") => "a tab stands here, expected spaces",
        m if m.contains("after double-quoted") || m.contains("after single-quoted") => {
            "a text goes on behind its closing quote; is a quote before it not closed?"
        }
        m if m.contains("illegal placement of ':'")
            || m.contains("flow ")
            || m.contains("mismatched bracket") =>
        {
            "is a bracket or a brace before it not closed?"
        }
        m if m.contains("did not find expected") => {
            "does this line begin too far to the left or to the right?"
        }
        _ => return message.to_owned(),
    };
    format!("no YAML: {hint} ({message})")
}

fn has_no_content(text: &str) -> bool {
    text.lines().map(str::trim).all(|l| l.is_empty() || l.starts_with('#') || l == "---")
}

/// The value that stands at this place.
fn value_at<'a>(text: &'a str, location: &Location) -> &'a str {
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
        "f64" | "float" | "floating point" => "a number",
        "bool" | "boolean" => "true or false",
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

fn unknown(kind: &str, found: &str, expected: &[&str]) -> String {
    let nearest = expected
        .iter()
        .map(|e| (strsim::damerau_levenshtein(found, e), e))
        .min()
        .filter(|(distance, e)| *distance <= e.len().max(found.len()).div_ceil(3));
    let hint = nearest.map_or_else(String::new, |(_, e)| format!("; did you mean `{e}`?"));
    format!("unknown {kind} `{found}`{hint} (expected {})", expected.join(", "))
}

/// The same for a `--set`, where there is no line and column but the assignment itself.
pub fn in_set(place: &str, text: &str, error: &Error) -> Wrong {
    Wrong { place: place.into(), what: on_one_line(&describe(error.without_snippet(), text)) }
}
