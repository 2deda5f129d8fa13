//! A request as it is asked thousands of times: what stays the same is filled in once, and only the
//! holes that differ are left.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::Value;

use super::Mapping;
use super::jwt::Jwt;
use super::template::{
    How, Part, Request, RequestTemplate, SETUP_NAMES, Template, Values, Write, path_of,
};
use crate::secrets::{self, escaped};

/// A request with some holes left.
#[derive(Clone, Debug)]
pub struct Form {
    method: Method,
    uri: Line,
    /// The path may be a whole URL.
    cut: bool,
    headers: Vec<(HeaderName, Field)>,
    body: Line,
    /// The token `{jwt}` and its claims.
    jwt: Option<(Jwt, Line)>,
    /// Whether it carries the buyer's key, as it is or as a UUID.
    is_keyed: bool,
}

/// All that is asked of one campaign during the load.
#[derive(Clone, Debug)]
pub struct Forms {
    /// What asks for a coupon.
    pub issue: Form,
    /// What asks what came of an accepted request.
    pub poll: Option<Form>,
    /// What confirms a reservation.
    pub confirm: Option<Form>,
    /// What is read, in turn.
    pub reads: Vec<Form>,
}

impl Forms {
    /// The forms of a mapping for a campaign whose set-up gave these names.
    pub fn new(mapping: &Mapping, names: &BTreeMap<String, String>) -> Self {
        let form = |template: &RequestTemplate| template.form(names, |name| is_open(names, name));
        Self {
            issue: form(&mapping.request),
            poll: mapping.poll.as_ref().map(|poll| form(&poll.request)),
            confirm: mapping.confirm.as_ref().map(|confirm| form(&confirm.request)),
            reads: mapping.reads.iter().map(|read| form(&read.request)).collect(),
        }
    }
}

/// Whether a name is the buyer's, since the set-up gave it no value. Its target was another one.
pub fn is_open(names: &BTreeMap<String, String>, name: &str) -> bool {
    name == "target" || !(names.contains_key(name) || SETUP_NAMES.contains(&name))
}

/// A header's value.
#[derive(Clone, Debug)]
enum Field {
    Fixed(HeaderValue),
    Open(Line),
}

/// A text with holes, in its last form but for them.
#[derive(Clone, Debug, Default)]
struct Line(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Hole { name: String, encode: Encode },
}

impl Piece {
    fn is_key(&self) -> bool {
        matches!(self, Self::Hole { name, .. } if name == "key" || name == "uuid")
    }
}

/// How a value is put into its hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encode {
    /// As it is.
    Plain,
    /// With everything escaped that means something in a URL.
    Url,
    /// Inside a JSON text.
    JsonPart,
    /// As a JSON text of its own, or as a number where it is one and one is wanted.
    Json { number: bool },
}

/// What is known while a form is made.
struct Known<'a, V, O> {
    fixed: &'a V,
    is_open: O,
}

impl RequestTemplate {
    /// Fills in what `fixed` knows, and leaves open what `is_open` says. What is neither has no
    /// value: it is empty, and a JSON member that is nothing but it is left out.
    pub fn form(&self, fixed: &impl Values, is_open: impl Fn(&str) -> bool) -> Form {
        let jwt = self.jwt.as_ref().map(|jwt| {
            let known = Known { fixed, is_open: &is_open };
            (jwt.clone(), known.json(&jwt.claims).unwrap_or_default())
        });
        let has_token = jwt.is_some();
        let known =
            Known { fixed, is_open: |name: &str| (has_token && name == "jwt") || is_open(name) };
        let json = self.json.as_ref().and_then(|json| known.json(json));
        let mut headers = Vec::with_capacity(self.headers.len() + 1);
        let is_told = self.headers.keys().any(|name| name.as_str() == CONTENT_TYPE.as_str());
        if json.is_some() && !is_told {
            let json = HeaderValue::from_static("application/json");
            headers.push((CONTENT_TYPE, Field::Fixed(json)));
        }
        for (name, value) in &self.headers {
            let line = known.line(value, Encode::Plain);
            if let (Ok(name), Some(field)) = (name.as_str().parse(), line.field()) {
                headers.push((name, field));
            }
        }
        let raw = || self.body.as_ref().map(|body| known.line(body, Encode::Plain));
        Form {
            method: self.method.0.clone(),
            uri: self.uri(&known),
            cut: self.path.begins_raw(),
            headers,
            body: json.or_else(raw).unwrap_or_default(),
            jwt,
            is_keyed: false,
        }
        .looked_over()
    }

    fn uri<V: Values, O: Fn(&str) -> bool>(&self, known: &Known<'_, V, O>) -> Line {
        let mut uri = known.line(&self.path, Encode::Url);
        for (at, (name, value)) in self.query.iter().enumerate() {
            uri.text(if at == 0 { "?" } else { "&" });
            uri.text(&escaped(name));
            uri.text("=");
            uri.append(known.line(value, Encode::Url));
        }
        uri
    }
}

impl<V: Values, O: Fn(&str) -> bool> Known<'_, V, O> {
    fn line(&self, template: &Template, encode: Encode) -> Line {
        let mut line = Line::default();
        for part in template.parts() {
            match part {
                // What the scenario wrote into a path is as it wants it.
                Part::Text(text) => line.text(text),
                Part::Name { name, how } => {
                    let encode = if *how == How::Raw { Encode::Plain } else { encode };
                    self.hole(&mut line, name, encode);
                }
                Part::Variable(name) => line.text(&encode.value(&variable(name))),
            }
        }
        line
    }

    fn hole(&self, line: &mut Line, name: &str, encode: Encode) {
        if (self.is_open)(name) {
            line.0.push(Piece::Hole { name: name.to_owned(), encode });
        } else if let Some(value) = self.fixed.value(name) {
            line.text(&encode.value(&value));
        }
    }

    /// `None` where nothing is left of it.
    fn json(&self, json: &Value) -> Option<Line> {
        let mut line = Line::default();
        match json {
            Value::String(text) => return self.json_text(&Template::of(text)),
            Value::Array(list) => {
                let items = list.iter().filter_map(|item| self.json(item));
                line.list("[", items, "]");
            }
            Value::Object(map) => {
                let members = map.iter().filter_map(|(key, value)| {
                    let mut member = Line::default();
                    member.text(&format!("{}:", Value::from(key.as_str())));
                    member.append(self.json(value)?);
                    Some(member)
                });
                line.list("{", members, "}");
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => line.text(&json.to_string()),
        }
        Some(line)
    }

    fn json_text(&self, template: &Template) -> Option<Line> {
        let mut line = Line::default();
        if let [Part::Name { name, how }] = template.parts() {
            self.hole(&mut line, name, Encode::Json { number: *how == How::Number });
            return (!line.0.is_empty()).then_some(line);
        }
        line.text("\"");
        for part in template.parts() {
            match part {
                Part::Text(text) => line.text(&Encode::JsonPart.value(text)),
                Part::Name { name, .. } => self.hole(&mut line, name, Encode::JsonPart),
                Part::Variable(name) => line.text(&Encode::JsonPart.value(&variable(name))),
            }
        }
        line.text("\"");
        Some(line)
    }
}

/// The value of a variable. One that is missing was found when the scenario was read.
fn variable(name: &str) -> String {
    secrets::value(name).unwrap_or_default()
}

impl Encode {
    fn value(self, value: &str) -> Cow<'_, str> {
        let is_plain = |c: char| !c.is_control() && c != '"' && c != '\\';
        match self {
            Self::Plain => value.into(),
            Self::Url => escaped(value).into(),
            Self::JsonPart if value.chars().all(is_plain) => value.into(),
            Self::JsonPart => {
                let quoted = Value::from(value).to_string();
                quoted[1..quoted.len() - 1].to_owned().into()
            }
            Self::Json { number: true } if let Ok(number) = value.parse::<i64>() => {
                // As JSON spells it: `007` and `+5` are no numbers there.
                number.to_string().into()
            }
            Self::Json { .. } if value.chars().all(is_plain) => ["\"", value, "\""].concat().into(),
            Self::Json { .. } => Value::from(value).to_string().into(),
        }
    }
}

impl Line {
    /// Adds a text, to the last one where that is possible.
    fn text(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.0.push(Piece::Text(text.to_owned())),
        }
    }

    fn append(&mut self, other: Self) {
        for piece in other.0 {
            match piece {
                Piece::Text(text) => self.text(&text),
                hole @ Piece::Hole { .. } => self.0.push(hole),
            }
        }
    }

    fn list(&mut self, open: &str, items: impl Iterator<Item = Self>, close: &str) {
        self.text(open);
        for (at, item) in items.enumerate() {
            if at > 0 {
                self.text(",");
            }
            self.append(item);
        }
        self.text(close);
    }

    /// As a header's value; `None` where it cannot be one.
    fn field(self) -> Option<Field> {
        Some(match self.0.as_slice() {
            [] => Field::Fixed(HeaderValue::from_static("")),
            [Piece::Text(text)] => Field::Fixed(text.parse().ok()?),
            _ => Field::Open(self),
        })
    }

    fn fill(&self, values: &impl Values) -> String {
        let mut out = String::with_capacity(96);
        self.fill_in(&mut out, values);
        out
    }

    /// Fills the holes, in place of what `out` holds.
    fn fill_in(&self, out: &mut String, values: &impl Values) {
        out.clear();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => *out += text,
                Piece::Hole { name, encode } => {
                    if let Some(value) = values.value(name) {
                        *out += &encode.value(&value);
                    } else if matches!(encode, Encode::Json { .. }) {
                        *out += "null";
                    }
                }
            }
        }
    }
}

/// What the system gave for a path must not end the request line: whatever cannot stand in a URL is
/// escaped.
fn on_one_line(uri: &mut String) {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"<>`".contains(&byte);
    if uri.bytes().all(fits) {
        return;
    }
    let escape = |byte: u8| match fits(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    *uri = uri.bytes().map(escape).collect();
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

impl Form {
    /// GET of a path that has no holes.
    pub fn get(path: &str) -> Self {
        let mut uri = Line::default();
        uri.text(path);
        let (headers, body) = (Vec::new(), Line::default());
        Self { method: Method::GET, uri, cut: false, headers, body, jwt: None, is_keyed: false }
    }

    fn looked_over(mut self) -> Self {
        let fields = self.headers.iter().filter_map(|(_, field)| match field {
            Field::Open(line) => Some(line),
            Field::Fixed(_) => None,
        });
        let claims = self.jwt.iter().map(|(_, claims)| claims);
        let lines = [&self.uri, &self.body].into_iter().chain(fields).chain(claims);
        self.is_keyed = lines.flat_map(|line| &line.0).any(Piece::is_key);
        self
    }

    /// Whether the system sees the buyer's key.
    pub fn is_keyed(&self) -> bool {
        self.is_keyed
    }

    /// Fills the holes that are left.
    pub fn fill(&self, values: &impl Values) -> Request {
        let mut request = Request::default();
        self.write(values, &mut request);
        request
    }

    /// Fills the holes that are left, and hands the request over part by part.
    pub fn write(&self, values: &impl Values, out: &mut impl Write) {
        let Some((jwt, claims)) = &self.jwt else { return self.write_all(values, out) };
        let token = jwt.token(&claims.fill(values));
        self.write_all(&WithToken { values, token }, out);
    }

    fn write_all(&self, values: &impl Values, out: &mut impl Write) {
        let mut text = self.uri.fill(values);
        if self.cut {
            text = path_of(&text);
        }
        on_one_line(&mut text);
        out.line(&self.method, &text);
        for (name, field) in &self.headers {
            match field {
                Field::Fixed(value) => out.header(name, value.as_bytes()),
                Field::Open(line) => {
                    line.fill_in(&mut text, values);
                    // A value that is no header is left out.
                    if text.bytes().all(|b| !b.is_ascii_control() || b == b'\t') {
                        out.header(name, text.as_bytes());
                    }
                }
            }
        }
        self.body.fill_in(&mut text, values);
        out.body(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn template(yaml: &str) -> RequestTemplate {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn what_is_fixed_is_filled_once_and_the_rest_each_time() {
        let template = template(
            "{path: '/c/{campaign}', query: {u: '{user}'}, headers: {x: 'a {user}', y: '{name}'}, \
             json: {user: '{user}', n: '{n:int}', text: '{name} of {user}', none: '{absent}'}}",
        );
        let form = template.form(&values(&[("campaign", "7"), ("name", "x\"y")]), |name| {
            ["user", "n"].contains(&name)
        });
        for (user, n) in [("u1", "1"), ("가 \"2\"", "x")] {
            let all = [("campaign", "7"), ("name", "x\"y"), ("user", user), ("n", n)];
            let (quick, slow) = (form.fill(&values(&all[2..])), template.fill(&values(&all)));
            assert_eq!(quick, slow);
            let json: Value = serde_json::from_slice(&quick.body).unwrap();
            assert_eq!(json["user"], user);
            assert_eq!(json["text"], format!("x\"y of {user}"));
            assert!(json.get("none").is_none());
        }
    }

    #[test]
    fn a_key_that_is_not_sent_is_none() {
        let is_keyed = |yaml| template(yaml).form(&values(&[]), |_| true).is_keyed();
        for yaml in [
            "{path: '/{key}'}",
            "{path: /, headers: {k: 'x {uuid}'}}",
            "{path: /, json: {a: ['{key}']}}",
            "{path: /, headers: {a: '{jwt}'}, jwt: {claims: {jti: '{uuid}'}}}",
        ] {
            assert!(is_keyed(yaml), "{yaml}");
        }
        assert!(!is_keyed("{path: '/{user}', headers: {key: '{n}'}, json: {key: '{user}'}}"));
    }

    #[test]
    fn a_content_type_of_ones_own_is_the_only_one() {
        for (headers, want) in [
            ("{}", "application/json"),
            ("{Content-Type: application/vnd.api+json}", "application/vnd.api+json"),
            ("{content-type: 'text/{user}'}", "text/u1"),
        ] {
            let template = template(&format!("{{path: /, headers: {headers}, json: [1]}}"));
            let form = template.form(&values(&[]), |name| name == "user");
            let headers = form.fill(&values(&[("user", "u1")])).headers;
            assert_eq!(headers, [(CONTENT_TYPE, HeaderValue::from_static(want))]);
        }
    }

    #[test]
    fn a_token_is_made_for_each_request() {
        let template = template(
            "{path: /, headers: {authorization: 'Bearer {jwt}'}, jwt: {claims: {sub: '{user}'}}}",
        );
        let form = template.form(&values(&[]), |name| name == "user");
        let token = |user| form.fill(&values(&[("user", user)])).headers[0].1.clone();
        assert_ne!(token("a"), token("b"));
        assert!(token("a").to_str().unwrap().starts_with("Bearer ey"));
    }

    #[test]
    fn a_whole_url_is_cut_to_its_path() {
        let template = template("{method: GET, path: '{location:raw}'}");
        let form = template.form(&values(&[]), |name| name == "location");
        for (location, want) in [
            ("http://h:1/tickets/7?x=1", "/tickets/7?x=1"),
            ("/tickets/7", "/tickets/7"),
            ("http://h:1", "/"),
            ("http://h?x=1", "/?x=1"),
            ("//h/tickets/7#part", "/tickets/7"),
            ("tickets/7", "/tickets/7"),
            ("?ticket=7", "/?ticket=7"),
            ("", "/"),
            ("/a<b>`c", "/a%3Cb%3E%60c"),
            ("/a b\r\nx: 1", "/a%20b%0D%0Ax:%201"),
            ("/가", "/%EA%B0%80"),
        ] {
            let found = form.fill(&values(&[("location", location)])).uri;
            assert_eq!(found, want);
            assert!(found.parse::<hyper::Uri>().is_ok(), "{found}");
        }
    }

    proptest! {
        /// Whatever a value is, it stays inside its place, and means itself.
        #[test]
        fn no_value_breaks_out_of_its_place(user in any::<String>(), open in any::<bool>()) {
            let template = template(
                "{path: '/c/{user}', query: {q: '{user}'}, json: {a: '{user}', b: ['x{user}y']}}",
            );
            let all = values(&[("user", &user)]);
            let request = match open {
                true => template.form(&values(&[]), |_| true).fill(&all),
                false => template.fill(&all),
            };
            let json: Value = serde_json::from_slice(&request.body).unwrap();
            let want = serde_json::json!({"a": user, "b": [format!("x{user}y")]});
            prop_assert_eq!(json, want);
            let (path, query) = request.uri.split_once('?').unwrap();
            prop_assert_eq!(path.matches('/').count(), 2);
            prop_assert!(!query.contains('&') && query.matches('=').count() == 1);
            prop_assert!(request.uri.parse::<hyper::Uri>().is_ok());
        }
    }
}
