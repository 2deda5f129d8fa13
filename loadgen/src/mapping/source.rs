//! Where in an answer a value is.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::Answer;

/// Where in an answer a value is: `$.path` in its JSON, `header:NAME`, or `body`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Source {
    text: String,
    place: Place,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    Json(JsonPath),
    Header(String),
    Body,
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let place = match text.strip_prefix("header:") {
            Some(name) if !name.trim().is_empty() => Place::Header(name.trim().to_lowercase()),
            _ if text == "body" => Place::Body,
            _ if text.starts_with('$') => Place::Json(json_path(&text)?),
            _ => return Err(format!("{text:?}: expected $.path, header:NAME or body")),
        };
        Ok(Self { text, place })
    }
}

/// A JSON path (RFC 9535).
pub(super) fn json_path(text: &str) -> Result<JsonPath, String> {
    JsonPath::parse(text).map_err(|e| format!("{text:?} is not a JSON path: {e}"))
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.text
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Source {
    /// The value, where the answer has it: one that is a text, a number or a truth value.
    pub fn read(&self, answer: &Answer<'_>) -> Option<String> {
        match &self.place {
            Place::Json(path) => text_of(path.query(answer.json()?).exactly_one().ok()?),
            Place::Header(name) => Some(answer.header(name)?.to_owned()),
            Place::Body => {
                let text = std::str::from_utf8(answer.body).ok()?.trim();
                (!text.is_empty()).then(|| text.to_owned())
            }
        }
    }

    /// The value as a whole number, also where it is one inside a text, as 64-bit numbers often are.
    pub fn read_number(&self, answer: &Answer<'_>) -> Option<i64> {
        self.read(answer)?.parse().ok()
    }
}

/// A single value as text; nothing for null, lists and objects.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn finds_values_where_they_are() {
        let body = r#"{"a":{"b":[{"c":"12"}]},"n":7,"t":true,"z":null}"#;
        let mut headers = hyper::HeaderMap::new();
        let answer = Answer::new(200, &headers, body.as_bytes());
        assert_eq!(source("$.a.b[0].c").read(&answer).as_deref(), Some("12"));
        assert_eq!(source("$.a.b[0].c").read_number(&answer), Some(12));
        assert_eq!(source("$.n").read_number(&answer), Some(7));
        assert_eq!(source("$.t").read(&answer).as_deref(), Some("true"));
        assert_eq!(source("$.z").read(&answer), None);
        assert_eq!(source("$.a").read(&answer), None);
        headers.insert("x-code", "abc".parse().unwrap());
        let answer = Answer::new(200, &headers, b" text ");
        assert_eq!(source("header:X-Code").read(&answer).as_deref(), Some("abc"));
        assert_eq!(source("body").read(&answer).as_deref(), Some("text"));
        assert_eq!(source("$.n").read(&answer), None, "the body is no JSON");
    }

    #[test]
    fn rejects_what_is_no_place() {
        for text in ["code", "$.[", "header:", ""] {
            assert!(Source::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
