//! Requests with holes: `/campaigns/{campaign}/coupons`.
//!
//! A hole is a name in braces. Braces around anything else stay as they are, so a raw JSON body
//! needs no escaping. In JSON, a text that is nothing but `{name:int}` becomes a number, and a
//! member whose only content is a name without a value is left out. `${NAME}` is a variable of the
//! environment; it is written down as it is spelled, never as its value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::jwt::Jwt;
use crate::scenario::schema::Text;
use crate::secrets::{self, escaped};

/// Names that every template knows, also before a campaign is created.
pub const PREPARE_NAMES: [&str; 4] = ["name", "coupons", "per_user_limit", "target"];
/// Names that every template knows from then on.
pub const SETUP_NAMES: [&str; 10] = [
    "name",
    "coupons",
    "per_user_limit",
    "starts_at",
    "starts_at_utc",
    "starts_at_s",
    "starts_at_ms",
    "starts_at_local",
    "campaign",
    "target",
];
/// Names that the measured request knows besides.
pub const ORDER_NAMES: [&str; 5] = ["user", "user_n", "key", "n", "uuid"];
/// Names that a step which is taken for each user knows besides.
pub const USER_NAMES: [&str; 2] = ["user", "user_n"];

/// Whether neither the set-up nor a file may give this name to something else. What the campaign and
/// the user are called, a system may say.
pub(crate) fn is_reserved(name: &str) -> bool {
    let ours = SETUP_NAMES.iter().chain(&ORDER_NAMES).chain(&["store", "jwt"]);
    ours.filter(|n| !["campaign", "user"].contains(n)).any(|n| *n == name)
}

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "Text", inline)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// A text, or a hole in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// As it is.
    Text(String),
    /// A hole.
    Name { name: String, how: How },
    /// A variable of the environment.
    Variable(String),
}

impl Part {
    /// What stands in its place; nothing where there is none.
    fn value<'a>(&'a self, values: &'a impl Values) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Name { name, .. } => values.value(name).unwrap_or_default(),
            // One that is missing was found when the scenario was read.
            Self::Variable(name) => secrets::value(name).unwrap_or_default().into(),
        }
    }
}

impl From<String> for Template {
    fn from(text: String) -> Self {
        let mut parts = Vec::new();
        let (mut rest, mut literal) = (text.as_str(), String::new());
        while let Some(open) = rest.find('{') {
            literal += &rest[..open];
            let after = &rest[open + 1..];
            let part = if literal.ends_with('$') { variable(after) } else { hole(after) };
            match part {
                Some((part, length)) => {
                    if matches!(part, Part::Variable(_)) {
                        literal.pop();
                    }
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
        Self { text, parts }
    }
}

/// How a value is put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// As a text: escaped in paths and queries.
    Text,
    /// `{name:int}`: in JSON as a number.
    Number,
    /// `{name:raw}`: as it is, also in a path: one that the system gave.
    Raw,
}

/// The name that begins here and ends with a brace, and how long that is.
fn hole(text: &str) -> Option<(Part, usize)> {
    let end = text.find('}')?;
    let (name, how) = match text[..end].split_once(':') {
        Some((name, "int")) => (name, How::Number),
        Some((name, "raw")) => (name, How::Raw),
        Some(_) => return None,
        None => (&text[..end], How::Text),
    };
    is_name(name).then(|| (Part::Name { name: name.to_owned(), how }, end + 1))
}

/// The variable that begins here, behind its dollar sign, or else the name.
fn variable(text: &str) -> Option<(Part, usize)> {
    match secrets::variable(text) {
        Some((name, length)) => Some((Part::Variable(name.to_owned()), length)),
        None => hole(text),
    }
}

/// Whether a text can be the name of a hole.
pub(crate) fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits)
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

impl Template {
    /// The template of a text; every text is one.
    pub(super) fn of(text: &str) -> Self {
        text.to_owned().into()
    }

    /// Fills the holes.
    pub fn fill(&self, values: &impl Values) -> String {
        self.parts.iter().map(|part| part.value(values)).collect()
    }

    /// Its texts and its holes.
    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Fills the holes of a URL. What it begins with may be a whole URL; the rest is a part of one.
    pub(crate) fn fill_url(&self, values: &impl Values) -> String {
        let plain = self.text.starts_with("sqlite:");
        let fill = |(at, part): (usize, &Part)| match (part, part.value(values)) {
            (Part::Name { .. } | Part::Variable(_), value) if !plain && at > 0 => escaped(&value),
            (_, value) => value.into_owned(),
        };
        self.parts.iter().enumerate().map(fill).collect()
    }

    /// Whether it begins with the hole of this name.
    pub(super) fn begins_with(&self, wanted: &str) -> bool {
        matches!(self.parts.first(), Some(Part::Name { name, .. }) if name == wanted)
    }

    /// Whether it begins with a value that the system gave.
    pub(super) fn begins_raw(&self) -> bool {
        matches!(self.parts.first(), Some(Part::Name { how: How::Raw, .. }))
    }

    /// The variables of the environment that it names.
    pub(crate) fn variables(&self) -> Vec<String> {
        secrets::variables(&self.text).into_iter().map(str::to_owned).collect()
    }

    pub(super) fn mentions(&self, wanted: &str) -> bool {
        self.parts.iter().any(|p| matches!(p, Part::Name { name, .. } if name == wanted))
    }

    pub(super) fn check(&self, known: &[&str]) -> Result<(), String> {
        for part in &self.parts {
            match part {
                Part::Name { name, .. } if !known.contains(&name.as_str()) => {
                    return Err(unknown_name(name, known));
                }
                Part::Variable(name) => {
                    secrets::value(name)?;
                }
                Part::Name { .. } | Part::Text(_) => {}
            }
        }
        Ok(())
    }
}

impl Template {
    /// Whether what is fixed of it can stand in a header's value.
    fn check_header(&self) -> Result<(), String> {
        let wrong = self.parts.iter().find_map(|part| match part {
            Part::Text(text) => HeaderValue::from_str(text).err().map(|_| "the text".into()),
            Part::Variable(name) => {
                let value = secrets::value(name).unwrap_or_default();
                HeaderValue::from_str(&value).err().map(|_| format!("`${{{name}}}`"))
            }
            Part::Name { .. } => None,
        });
        wrong.map_or(Ok(()), |what: String| {
            Err(format!("{what} has a control character, such as a line end; no header has one"))
        })
    }
}

fn unknown_name(name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|k| (strsim::damerau_levenshtein(name, k), k)).min();
    let hint = match near {
        Some((distance, k)) if distance <= 2 => format!("; did you mean `{{{k}}}`?"),
        _ => String::new(),
    };
    let mut there: Vec<&str> = Vec::new();
    for name in known {
        if !there.contains(name) {
            there.push(name);
        }
    }
    format!("`{{{name}}}`: no such name{hint} (there are {})", there.join(", "))
}

/// Path and query of what the system gave for an address, such as a `Location` header: of a whole
/// URL, or of a part of one, which counts from the root.
pub(super) fn path_of(uri: &str) -> String {
    let uri = uri.split('#').next().unwrap_or_default();
    let is_scheme = |text: &&str| !text.contains(['/', '?']);
    let scheme = uri.split_once("://").map(|(scheme, _)| scheme).filter(is_scheme);
    let rest = scheme.map_or(uri, |scheme| &uri[scheme.len() + 1..]);
    let path = match rest.strip_prefix("//") {
        Some(rest) => &rest[rest.find(['/', '?']).unwrap_or(rest.len())..],
        None => rest,
    };
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// A request with holes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// The methods there are.
const VERBS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/// What a header's name looks like, as a pattern for editors.
const HEADER: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

/// An HTTP method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("enum" = VERBS))]
pub struct Verb(pub Method);

impl Default for Verb {
    fn default() -> Self {
        Self(Method::POST)
    }
}

impl TryFrom<String> for Verb {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse() {
            Ok(method) if VERBS.contains(&text.as_str()) => Ok(Self(method)),
            _ => Err(format!("found {text:?}, expected GET, POST, PUT, PATCH or DELETE")),
        }
    }
}

impl From<Verb> for String {
    fn from(verb: Verb) -> Self {
        verb.0.as_str().into()
    }
}

/// A header's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", inline, extend("pattern" = HEADER))]
pub struct Header(String);

impl TryFrom<String> for Header {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse::<HeaderName>() {
            Ok(name) => Ok(Self(name.as_str().to_owned())),
            Err(_) => Err(format!("found {text:?}, expected a header's name like X-User-Id")),
        }
    }
}

impl Header {
    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Header> for String {
    fn from(header: Header) -> Self {
        header.0
    }
}

/// A request whose holes are filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

impl Request {
    /// GET of a path.
    pub fn get(path: &str) -> Self {
        Self { method: Method::GET, uri: path.into(), ..Self::default() }
    }
}

/// Takes a request part by part, in this order.
pub trait Write {
    /// The method, and path and query.
    fn line(&mut self, method: &Method, uri: &str);
    /// A header, any number of times. The value can be one.
    fn header(&mut self, name: &HeaderName, value: &[u8]);
    /// The body, which may be empty.
    fn body(&mut self, body: &[u8]);
}

impl Write for Request {
    fn line(&mut self, method: &Method, uri: &str) {
        (self.method, self.uri) = (method.clone(), uri.to_owned());
    }

    fn header(&mut self, name: &HeaderName, value: &[u8]) {
        self.headers.extend(HeaderValue::from_bytes(value).ok().map(|v| (name.clone(), v)));
    }

    fn body(&mut self, body: &[u8]) {
        self.body = body.to_vec();
    }
}

impl RequestTemplate {
    /// Fills the holes.
    pub fn fill(&self, values: &impl Values) -> Request {
        self.form(values, |_| false).fill(values)
    }

    /// Whether it has a hole of this name.
    pub fn mentions(&self, name: &str) -> bool {
        let texts = self.query.values().chain(self.headers.values()).chain(&self.body);
        texts.chain([&self.path]).any(|t| t.mentions(name))
            || self.json.iter().chain(self.claims()).any(|json| json_mentions(json, name))
    }

    /// The variables of the environment that it names.
    pub(crate) fn variables(&self) -> Vec<String> {
        let texts = self.query.values().chain(self.headers.values()).chain(&self.body);
        let mut found: Vec<String> =
            texts.chain([&self.path]).flat_map(Template::variables).collect();
        for json in self.json.iter().chain(self.claims()) {
            found.extend(secrets::variables(&json.to_string()).into_iter().map(str::to_owned));
        }
        found
    }

    fn claims(&self) -> Option<&Value> {
        self.jwt.as_ref().map(|jwt| &jwt.claims)
    }

    /// Whether every name is known.
    pub(super) fn check(&self, known: &[&str]) -> Result<(), String> {
        if !self.path.text.starts_with('/') && !self.path.begins_raw() {
            return Err(format!("path: found {:?}, expected it to begin with /", self.path.text));
        }
        if self.json.is_some() && self.body.is_some() {
            return Err("body: a request has `json` or `body`, not both".into());
        }
        if let Some(jwt) = &self.jwt {
            check_json("jwt.claims", &jwt.claims, known)?;
            jwt.check().map_err(|what| format!("jwt.secret: {what}"))?;
        }
        let token = self.jwt.as_ref().map(|_| "jwt");
        let known: Vec<&str> = known.iter().copied().chain(token).collect();
        let at = |key: String| move |what| format!("{key}: {what}");
        self.path.check(&known).map_err(at("path".into()))?;
        for (name, template) in &self.query {
            template.check(&known).map_err(at(format!("query.{name}")))?;
        }
        for (name, template) in &self.headers {
            if ["content-length", "transfer-encoding"].contains(&name.as_str()) {
                let name = name.as_str();
                return Err(format!(
                    "headers.{name}: the length of a body is always sent; leave it out"
                ));
            }
            let checked = template.check(&known).and_then(|()| template.check_header());
            checked.map_err(at(format!("headers.{}", name.as_str())))?;
        }
        if let Some(body) = &self.body {
            body.check(&known).map_err(at("body".into()))?;
        }
        self.json.as_ref().map_or(Ok(()), |json| check_json("json", json, &known))
    }
}

/// Messages begin with the keys that lead to the text, from `at` on.
fn check_json(at: &str, json: &Value, known: &[&str]) -> Result<(), String> {
    match json {
        Value::String(text) => {
            Template::of(text).check(known).map_err(|what| format!("{at}: {what}"))
        }
        Value::Array(list) => {
            let mut numbered = list.iter().enumerate();
            numbered.try_for_each(|(n, v)| check_json(&format!("{at}[{n}]"), v, known))
        }
        Value::Object(map) => {
            map.iter().try_for_each(|(key, v)| check_json(&format!("{at}.{key}"), v, known))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn json_mentions(json: &Value, name: &str) -> bool {
    match json {
        Value::String(text) => Template::of(text).mentions(name),
        Value::Array(list) => list.iter().any(|v| json_mentions(v, name)),
        Value::Object(map) => map.values().any(|v| json_mentions(v, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
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
    fn variables_of_the_environment_are_filled_in_and_never_written_down() {
        let path = secrets::value("PATH").unwrap();
        let yaml = "{path: '/${PATH}', headers: {a: 'x ${PATH}'}, json: {p: '${PATH}', q: '${n}'}}";
        let found = request(yaml);
        assert_eq!(found.uri, format!("/{}", escaped(&path)));
        assert_eq!(found.headers[1].1, format!("x {path}"));
        let body: Value = serde_json::from_slice(&found.body).unwrap();
        assert_eq!(body, serde_json::json!({"p": path, "q": "$7"}));
        let template: RequestTemplate = serde_saphyr::from_str(yaml).unwrap();
        assert!(!serde_json::to_string(&template).unwrap().contains(&path));
        assert_eq!(template.variables(), ["PATH", "PATH", "PATH"]);
        let json = "{path: /, json: {p: ['${NOT_THERE_AT_ALL}']}}";
        let template: RequestTemplate = serde_saphyr::from_str(json).unwrap();
        let message = template.check(&[]).unwrap_err();
        assert!(
            message.starts_with("json.p[0]: `${NOT_THERE_AT_ALL}`: expected the environment"),
            "{message}"
        );
    }

    #[test]
    fn only_what_a_url_begins_with_may_be_a_whole_one() {
        let fill = |text: &str| {
            let values: BTreeMap<String, String> =
                [("store", "redis://h:1"), ("db", "a/b")].map(|(k, v)| (k.into(), v.into())).into();
            Template::of(text).fill_url(&values)
        };
        assert_eq!(fill("{store}/{db}"), "redis://h:1/a%2Fb");
        assert_eq!(fill("sqlite:x/{db}"), "sqlite:x/a/b");
    }

    #[test]
    fn names_are_found_wherever_they_stand() {
        for yaml in [
            "{path: '/{user}'}",
            "{path: /, query: {a: '{user}'}}",
            "{path: /, json: [{a: 'x{user}'}]}",
            "{path: /, headers: {a: '{jwt}'}, jwt: {claims: {sub: ['{user}']}}}",
        ] {
            let template: RequestTemplate = serde_saphyr::from_str(yaml).unwrap();
            assert!(template.mentions("user") && !template.mentions("use"), "{yaml}");
        }
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
            (r#"{path: /, headers: {a: "x\ny"}}"#, "headers.a: the text has a control character"),
            ("{path: /, json: {}, body: x}", "not both"),
            ("{path: /, headers: {Content-Length: '1'}}", "headers.content-length: the length"),
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
