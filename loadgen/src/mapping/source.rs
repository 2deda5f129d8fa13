//! Where in an answer a value is.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Answer;
use super::path::Path;

/// Where in an answer a value is: `$.path` in its JSON, `header:NAME`, `cookie:NAME`, or `body`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^(\$|header:\s*\S|cookie:\s*\S|body$)"), example = &"$.code", example = &"header:x-code")]
pub struct Source {
    text: String,
    place: Place,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    Json(Path),
    Header(String),
    Cookie(String),
    Body,
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let named = text.split_once(':').map(|(kind, name)| (kind, name.trim()));
        let place = match named {
            Some(("header", name)) if !name.is_empty() => Place::Header(name.to_lowercase()),
            Some(("cookie", name)) if !name.is_empty() => Place::Cookie(name.to_owned()),
            _ if text == "body" => Place::Body,
            _ if text.starts_with('$') => Place::Json(Path::try_from(text.clone())?),
            _ => {
                return Err(format!(
                    "found {text:?}, expected $.path, header:NAME, cookie:NAME or body"
                ));
            }
        };
        Ok(Self { text, place })
    }
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
        self.find(answer).map(Cow::into_owned)
    }

    fn find<'a>(&self, answer: &'a Answer<'_>) -> Option<Cow<'a, str>> {
        match &self.place {
            Place::Json(path) => path.one(answer.json()?)?.text(),
            Place::Header(name) => answer.header(name).map(Cow::from),
            Place::Cookie(name) => answer.cookie(name).map(Cow::from),
            Place::Body => {
                let text = std::str::from_utf8(answer.body).ok()?.trim();
                (!text.is_empty()).then(|| text.into())
            }
        }
    }

    /// The value as a whole number, also where it is one inside a text, as 64-bit numbers often are.
    pub fn read_number(&self, answer: &Answer<'_>) -> Option<i64> {
        let spelled = match &self.place {
            Place::Json(path) => path.integer(answer.json()?),
            Place::Header(_) | Place::Cookie(_) | Place::Body => None,
        };
        spelled.or_else(|| self.find(answer)?.parse().ok())
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
    fn finds_cookies_and_of_several_the_last() {
        let mut headers = hyper::HeaderMap::new();
        for cookie in ["SID=old; Path=/", "other=1", "SID=a=b; HttpOnly", "sid=c", "SIDE=d"] {
            headers.append("set-cookie", cookie.parse().unwrap());
        }
        let answer = Answer::new(302, &headers, b"");
        assert_eq!(source("cookie:SID").read(&answer).as_deref(), Some("a=b"));
        assert_eq!(source("cookie:sid").read(&answer).as_deref(), Some("c"));
        assert_eq!(source("cookie:none").read(&answer), None);
    }

    #[test]
    fn rejects_what_is_no_place() {
        for text in ["code", "$.[", "header:", "cookie: ", ""] {
            assert!(Source::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
