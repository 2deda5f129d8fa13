//! Requests with holes: `/campaigns/{campaign}/coupons`.
//!
//! A hole is a name in braces. Braces around anything else stay as they are, so a raw JSON body
//! needs no escaping. In JSON, a text that is nothing but `{name:int}` becomes a number, and a
//! member whose only content is a name without a value is left out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::jwt::Jwt;

/// Names that every template knows.
pub const SETUP_NAMES: [&str; 9] = [
    "name",
    "coupons",
    "per_user_limit",
    "starts_at",
    "starts_at_s",
    "starts_at_ms",
    "starts_at_local",
    "campaign",
    "target",
];
/// Names that the measured request knows besides.
pub const ORDER_NAMES: [&str; 4] = ["user", "key", "n", "uuid"];

/// What names stand for.
pub trait Values {
    /// The value of a name; `None` where it has none.
    fn value(&self, name: &str) -> Option<Cow<'_, str>>;
}

impl Values for BTreeMap<String, String> {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(|v| v.as_str().into())
    }
}

/// A text with holes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name { name: String, number: bool },
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut parts = Vec::new();
        let (mut rest, mut literal) = (text.as_str(), String::new());
        while let Some(open) = rest.find('{') {
            literal += &rest[..open];
            let after = &rest[open + 1..];
            match hole(after) {
                Some((part, length)) => {
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(part);
                    rest = &after[length..];
                }
                None => {
                    literal.push('{');
                    rest = after;
                }
            }
        }
        literal += rest;
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { text, parts })
    }
}

/// The name that begins here and ends with a brace, and how long that is.
fn hole(text: &str) -> Option<(Part, usize)> {
    let end = text.find('}')?;
    let (name, number) = match text[..end].strip_suffix(":int") {
        Some(name) => (name, true),
        None => (&text[..end], false),
    };
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits);
    is_name.then(|| (Part::Name { name: name.to_owned(), number }, end + 1))
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

impl Template {
    /// Fills the holes.
    pub fn fill(&self, values: &impl Values) -> String {
        self.fill_with(values, |value| value.into())
    }

    /// Fills the holes of a path or a query: values cannot break out of their place.
    fn fill_escaped(&self, values: &impl Values) -> String {
        self.fill_with(values, escaped)
    }

    fn fill_with(&self, values: &impl Values, encode: impl Fn(&str) -> String) -> String {
        let mut out = String::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            match part {
                Part::Text(text) => out += text,
                Part::Name { name, .. } => {
                    out += &values.value(name).map_or_else(String::new, |v| encode(&v));
                }
            }
        }
        out
    }

    /// As a JSON value; `None` where it is a single name without a value.
    fn to_json(&self, values: &impl Values) -> Option<Value> {
        match self.parts.as_slice() {
            [Part::Name { name, number }] => {
                let value = values.value(name)?;
                let number = number.then(|| value.parse::<i64>().ok()).flatten();
                Some(number.map_or_else(|| Value::String(value.into_owned()), Value::from))
            }
            _ => Some(Value::String(self.fill(values))),
        }
    }

    fn mentions(&self, wanted: &str) -> bool {
        self.parts.iter().any(|p| matches!(p, Part::Name { name, .. } if name == wanted))
    }

    fn check(&self, known: &[&str]) -> Result<(), String> {
        for part in &self.parts {
            if let Part::Name { name, .. } = part
                && !known.contains(&name.as_str())
            {
                return Err(unknown_name(name, known));
            }
        }
        Ok(())
    }
}

fn unknown_name(name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|k| (strsim::damerau_levenshtein(name, k), k)).min();
    let hint = match near {
        Some((distance, k)) if distance <= 2 => format!("; did you mean `{{{k}}}`?"),
        _ => String::new(),
    };
    format!("`{{{name}}}`: no such name{hint} (there are {})", known.join(", "))
}

/// Everything but unreserved characters as `%XX` (RFC 3986).
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out += &format!("%{other:02X}"),
        }
    }
    out
}

/// A request with holes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestTemplate {
    /// The method; POST where it is absent.
    #[serde(default)]
    pub method: Verb,
    /// The path, beginning with `/`.
    pub path: Template,
    /// The query, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, Template>,
    /// Headers, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<Header, Template>,
    /// A JSON body: any YAML, with holes in its texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// A raw body; instead of `json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Template>,
    /// What the name `{jwt}` stands for in this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
}

/// Values with a token among them.
struct WithToken<'a, V> {
    values: &'a V,
    token: String,
}

impl<V: Values> Values for WithToken<'_, V> {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        if name == "jwt" { Some(self.token.as_str().into()) } else { self.values.value(name) }
    }
}

/// An HTTP method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Verb(pub Method);

impl Default for Verb {
    fn default() -> Self {
        Self(Method::POST)
    }
}

impl TryFrom<String> for Verb {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        known
            .into_iter()
            .find(|m| m.as_str() == text)
            .map(Self)
            .ok_or_else(|| format!("method {text:?}: expected GET, POST, PUT, PATCH or DELETE"))
    }
}

impl From<Verb> for String {
    fn from(verb: Verb) -> Self {
        verb.0.as_str().into()
    }
}

/// A header's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Header(String);

impl TryFrom<String> for Header {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse::<HeaderName>() {
            Ok(name) => Ok(Self(name.as_str().to_owned())),
            Err(_) => Err(format!("header {text:?}: expected a name like X-User-Id")),
        }
    }
}

impl From<Header> for String {
    fn from(header: Header) -> Self {
        header.0
    }
}

/// A request whose holes are filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub uri: String,
    /// Headers, besides `host` and the length.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Vec<u8>,
}

impl RequestTemplate {
    /// Fills the holes.
    pub fn fill(&self, values: &impl Values) -> Request {
        let Some(jwt) = &self.jwt else { return self.fill_all(values) };
        let token = jwt.token(&filled(&jwt.claims, values).unwrap_or_default());
        self.fill_all(&WithToken { values, token })
    }

    fn fill_all(&self, values: &impl Values) -> Request {
        let mut uri = self.path.fill_escaped(values);
        for (at, (name, value)) in self.query.iter().enumerate() {
            uri.push(if at == 0 { '?' } else { '&' });
            uri += &format!("{}={}", escaped(name), value.fill_escaped(values));
        }
        let mut headers = Vec::with_capacity(self.headers.len() + 1);
        let json = self.json.as_ref().and_then(|json| filled(json, values));
        if json.is_some() {
            let json = HeaderValue::from_static("application/json");
            headers.push((hyper::header::CONTENT_TYPE, json));
        }
        for (Header(name), value) in &self.headers {
            // The name was checked when it was read; a value that is no header is left out.
            if let (Ok(name), Ok(value)) = (name.parse(), value.fill(values).parse()) {
                headers.push((name, value));
            }
        }
        let body = match (json, &self.body) {
            (Some(json), _) => json.to_string().into_bytes(),
            (None, Some(body)) => body.fill(values).into_bytes(),
            (None, None) => Vec::new(),
        };
        Request { method: self.method.0.clone(), uri, headers, body }
    }

    /// Whether it has a hole of this name.
    pub fn mentions(&self, name: &str) -> bool {
        let texts = self.query.values().chain(self.headers.values()).chain(&self.body);
        texts.chain([&self.path]).any(|t| t.mentions(name))
            || self.json.as_ref().is_some_and(|json| json_mentions(json, name))
    }

    /// Whether every name is known.
    pub(super) fn check(&self, known: &[&str]) -> Result<(), String> {
        if !self.path.text.starts_with('/') {
            return Err(format!("path {:?}: expected it to begin with /", self.path.text));
        }
        if self.json.is_some() && self.body.is_some() {
            return Err("a request has `json` or `body`, not both".into());
        }
        if let Some(jwt) = &self.jwt {
            check_json(&jwt.claims, known)?;
        }
        let token = self.jwt.as_ref().map(|_| "jwt");
        let known: Vec<&str> = known.iter().copied().chain(token).collect();
        let texts = self.query.values().chain(self.headers.values()).chain(&self.body);
        for template in texts.chain([&self.path]) {
            template.check(&known)?;
        }
        self.json.as_ref().map_or(Ok(()), |json| check_json(json, &known))
    }
}

/// JSON with its holes filled; `None` where nothing is left.
fn filled(json: &Value, values: &impl Values) -> Option<Value> {
    Some(match json {
        Value::String(text) => return template(text).to_json(values),
        Value::Array(list) => list.iter().filter_map(|v| filled(v, values)).collect(),
        Value::Object(map) => {
            let members = map.iter().filter_map(|(k, v)| Some((k.clone(), filled(v, values)?)));
            Value::Object(members.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => json.clone(),
    })
}

fn check_json(json: &Value, known: &[&str]) -> Result<(), String> {
    match json {
        Value::String(text) => template(text).check(known),
        Value::Array(list) => list.iter().try_for_each(|v| check_json(v, known)),
        Value::Object(map) => map.values().try_for_each(|v| check_json(v, known)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn json_mentions(json: &Value, name: &str) -> bool {
    match json {
        Value::String(text) => template(text).mentions(name),
        Value::Array(list) => list.iter().any(|v| json_mentions(v, name)),
        Value::Object(map) => map.values().any(|v| json_mentions(v, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn template(text: &str) -> Template {
    Template::try_from(text.to_owned()).unwrap_or_else(|_| unreachable!("every text is a template"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> BTreeMap<String, String> {
        let pairs = [("campaign", "c 1/가"), ("user", "u\"1"), ("n", "7")];
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    fn request(yaml: &str) -> Request {
        serde_saphyr::from_str::<RequestTemplate>(yaml).unwrap().fill(&values())
    }

    #[test]
    fn values_cannot_break_out_of_a_path_or_a_query() {
        let found = request("{path: '/c/{campaign}', query: {who: '{user}', a: b}}");
        assert_eq!(found.uri, "/c/c%201%2F%EA%B0%80?a=b&who=u%221");
    }

    #[test]
    fn json_is_quoted_numbers_are_numbers_and_what_has_no_value_is_left_out() {
        let json = "{id: '{user}', n: '{n:int}', text: 'is {n}', none: '{absent}', deep: [{x: 1}]}";
        let body = request(&format!("{{path: /, json: {json}}}")).body;
        let body: Value = serde_json::from_slice(&body).unwrap();
        let want = serde_json::json!({"id": "u\"1", "n": 7, "text": "is 7", "deep": [{"x": 1}]});
        assert_eq!(body, want);
    }

    #[test]
    fn a_raw_body_keeps_its_braces() {
        let found = request(r#"{method: PUT, path: /, body: '{"userId": {n}, "x": {}}'}"#);
        assert_eq!(found.body, br#"{"userId": 7, "x": {}}"#);
        assert_eq!((found.method, found.headers.len()), (Method::PUT, 0));
    }

    #[test]
    fn headers_are_filled() {
        let found = request("{path: /, headers: {X-User-Id: 'id-{n}'}}");
        assert_eq!(found.headers, [("x-user-id".parse().unwrap(), "id-7".parse().unwrap())]);
    }

    #[test]
    fn rejects_what_cannot_be_a_request() {
        for (yaml, want) in [
            ("{path: x}", "begin with /"),
            ("{path: /, json: {}, body: x}", "not both"),
            ("{path: '/{usr}'}", "did you mean `{user}`"),
            (
                "{path: /, json: [{a: '{nope_nope}'}]}",
                "`{nope_nope}`: no such name (there are user)",
            ),
        ] {
            let template: RequestTemplate = serde_saphyr::from_str(yaml).unwrap();
            let message = template.check(&["user"]).unwrap_err();
            assert!(message.contains(want), "{message}");
        }
        for yaml in ["{path: /, method: FETCH}", "{path: /, headers: {'a b': c}}"] {
            assert!(serde_saphyr::from_str::<RequestTemplate>(yaml).is_err(), "{yaml}");
        }
    }
}
