//! Paths into JSON (RFC 9535). The plain ones, such as `$.data.code`, are walked directly: every
//! answer of the load is looked at with them.

use std::borrow::Cow;
use std::cell::OnceCell;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_borrow::Value as Borrowed;
use serde_json_path::JsonPath;

/// A path into JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^\$"), example = &"$.data.code")]
pub struct Path {
    text: String,
    way: Way,
}

#[derive(Clone, Debug, PartialEq)]
enum Way {
    /// Member after member.
    Plain(Vec<String>),
    Query(JsonPath),
}

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let query = JsonPath::parse(&text).map_err(|e| {
            let at = e.position() + 1;
            format!(
                "found {text:?}, expected a JSON path like $.data.code (RFC 9535); this is none \
                 from character {at} on"
            )
        })?;
        let way = plain(&text).map_or(Way::Query(query), Way::Plain);
        Ok(Self { text, way })
    }
}

impl From<Path> for String {
    fn from(path: Path) -> Self {
        path.text
    }
}

/// The members of a path that is nothing but `$.name.name`.
fn plain(text: &str) -> Option<Vec<String>> {
    let fits = |c: char| c.is_alphanumeric() || c == '_';
    let is_name = |name: &&str| !name.is_empty() && name.chars().all(fits);
    let names = text.strip_prefix("$.")?.split('.');
    let members = names.map(|name| is_name(&name).then(|| name.to_owned()));
    members.collect()
}

/// A body that is JSON. Its texts stay where they are: nearly all that is asked of it is a name or
/// two, so nothing is copied.
#[derive(Debug)]
pub(super) struct Json<'a> {
    borrowed: Borrowed<'a>,
    /// The same in the form that queries want, made for the first of them.
    owned: OnceCell<Value>,
}

/// A value that a path finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// It is there, and null.
    Null,
    /// A text, a number or a truth value, as text.
    Single(Cow<'a, str>),
    /// A list or an object.
    Composite,
}

impl<'a> Json<'a> {
    /// `None` where the body is no JSON.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        Some(Self { borrowed: serde_json::from_slice(body).ok()?, owned: OnceCell::new() })
    }

    fn owned(&self) -> &Value {
        self.owned.get_or_init(|| (&self.borrowed).into())
    }

    /// The text at the end of a way of members.
    pub(super) fn text_at(&self, names: &[&str]) -> Option<&str> {
        walk(&self.borrowed, names)?.as_str()
    }
}

/// Member after member. Of several with one name the last counts, as everywhere in serde.
fn walk<'b>(from: &'b Borrowed<'b>, names: &[impl AsRef<str>]) -> Option<&'b Borrowed<'b>> {
    names.iter().try_fold(from, |at, name| {
        let mut found = None;
        for (other, value) in at.iter_object()? {
            if other == name.as_ref() {
                found = Some(value);
            }
        }
        found
    })
}

impl Path {
    /// The one value it finds; `None` where it finds none, or several.
    pub(super) fn one<'b>(&self, json: &'b Json<'_>) -> Option<Found<'b>> {
        match &self.way {
            Way::Plain(names) => walk(&json.borrowed, names).map(Found::borrowed),
            Way::Query(query) => query.query(json.owned()).exactly_one().ok().map(Found::of),
        }
    }

    /// The one value it finds as a whole number, where it is spelled as one.
    pub(super) fn integer(&self, json: &Json<'_>) -> Option<i64> {
        match &self.way {
            Way::Plain(names) => walk(&json.borrowed, names)?.as_i64(),
            Way::Query(query) => query.query(json.owned()).exactly_one().ok()?.as_i64(),
        }
    }

    /// All values it finds; `None` where something on the way to one of them is missing. Members
    /// and indexes have to be there, in each entry that the path comes by, and what `[*]` goes
    /// through has to be a list or an object, which may be empty.
    pub(super) fn every<'b>(&self, json: &'b Json<'_>) -> Option<Vec<Found<'b>>> {
        let mut nodes = vec![json.owned()];
        let mut begin = 1;
        while let Some((step, end)) = next_step(&self.text, begin) {
            let whole = JsonPath::parse(&self.text[..end]).ok()?;
            let found = whole.query(json.owned()).all();
            let goes_on = match step {
                Step::One => found.len() == nodes.len(),
                Step::Each => nodes.iter().all(|node| node.is_array() || node.is_object()),
                Step::Some => true,
            };
            if !goes_on {
                return None;
            }
            (nodes, begin) = (found, end);
        }
        Some(nodes.into_iter().map(Found::of).collect())
    }
}

/// What one step of a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A member or an index: one value.
    One,
    /// All that is inside.
    Each,
    /// What fits: slices, filters, several names, whatever is deeper.
    Some,
}

/// The step of a path that begins here, and where it ends. The path is well-formed.
fn next_step(path: &str, begin: usize) -> Option<(Step, usize)> {
    let rest = path.get(begin..)?.trim_start();
    let begin = path.len() - rest.len();
    let dots = rest.len() - rest.trim_start_matches('.').len();
    let inside = Some(&rest[dots..]).filter(|inside| !inside.is_empty())?;
    let ends = |c: char| ".[".contains(c) || c.is_whitespace();
    let length = match inside.starts_with('[') {
        true => bracket_end(inside),
        false => inside.find(ends).unwrap_or(inside.len()),
    };
    let selector = inside[..length].trim_start_matches('[').trim_end_matches(']').trim();
    let is_quoted = selector.starts_with(['\'', '"']) && !selector.contains(',');
    let is_index = selector.parse::<i64>().is_ok();
    let step = match selector {
        _ if dots > 1 => Step::Some,
        "*" => Step::Each,
        _ if dots == 1 || is_quoted || is_index => Step::One,
        _ => Step::Some,
    };
    Some((step, begin + dots + length))
}

/// Where the bracket that begins a text is closed.
fn bracket_end(text: &str) -> usize {
    let (mut depth, mut quote, mut escaped) = (0_u32, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(end), c) if c == end => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 1 => return at + 1,
            (None, ']') => depth -= 1,
            (None, _) => {}
        }
    }
    text.len()
}

impl<'a> Found<'a> {
    /// What a value is.
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::String(text) => Self::Single(text.into()),
            Value::Number(number) => Self::Single(number.to_string().into()),
            Value::Bool(truth) => Self::Single(truth.to_string().into()),
            Value::Array(_) | Value::Object(_) => Self::Composite,
        }
    }

    fn borrowed(value: &'a Borrowed<'_>) -> Self {
        match value {
            Borrowed::Null => Self::Null,
            Borrowed::Str(text) => Self::Single(text.as_ref().into()),
            Borrowed::Number(_) | Borrowed::Bool(_) => Self::Single(value.to_string().into()),
            Borrowed::Array(_) | Borrowed::Object(_) => Self::Composite,
        }
    }

    /// A single value as text.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Single(text) => Some(text),
            Self::Null | Self::Composite => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from)];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map("[abc]", inner, 0..3)
                    .prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        /// The direct way finds what the query finds.
        #[test]
        fn the_plain_way_is_the_query(json in json(), names in "\\$(\\.[abc]){1,3}") {
            let path = Path::try_from(names.clone()).unwrap();
            prop_assert!(matches!(path.way, Way::Plain(_)));
            let query = JsonPath::parse(&names).unwrap();
            let body = json.to_string();
            let parsed = Json::parse(body.as_bytes()).unwrap();
            let one = query.query(&json).exactly_one().ok().map(Found::of);
            prop_assert_eq!(path.every(&parsed), one.clone().map(|found| vec![found]));
            prop_assert_eq!(path.one(&parsed), one);
        }
    }

    #[test]
    fn single_values_are_texts_as_they_are_spelled() {
        let body = r#"{"a":"x\u00e9\n","b":-7,"c":1.50,"d":true,"e":null,"f":[],"a":18446744073709551615}"#;
        let json = Json::parse(body.as_bytes()).unwrap();
        let parsed: Value = serde_json::from_str(body).unwrap();
        for (name, want) in
            [("b", "-7"), ("c", "1.5"), ("d", "true"), ("a", "18446744073709551615")]
        {
            let path = Path::try_from(format!("$.{name}")).unwrap();
            assert_eq!(path.one(&json), Some(Found::Single(want.into())), "{name}");
            assert_eq!(path.one(&json), Some(Found::of(&parsed[name])), "{name}");
        }
        assert_eq!(json.text_at(&["c"]), None);
        assert!(Json::parse(b"{} x").is_none() && Json::parse(b"").is_none());
    }

    #[test]
    fn every_entry_has_what_the_path_names() {
        let body = r#"{"a":[{"b":["1"],"c]":[2]},{"b":["3","4"]}],"e":[],"n":null}"#;
        let json = Json::parse(body.as_bytes()).unwrap();
        let every = |path: &str| {
            let found = Path::try_from(path.to_owned()).unwrap().every(&json)?;
            Some(found.into_iter().map(|f| f.text().unwrap().into_owned()).collect::<Vec<_>>())
        };
        for (path, want) in [
            ("$.a[*].b[*]", Some(vec!["1", "3", "4"])),
            ("$['a'][*]['b'][*]", Some(vec!["1", "3", "4"])),
            ("$.a[0]['c]'][0]", Some(vec!["2"])),
            ("$..b[*]", Some(vec!["1", "3", "4"])),
            ("$ .a [*].b[ * ]", Some(vec!["1", "3", "4"])),
            ("$.a[?@.b[0] == '3'].b[*]", Some(vec!["3", "4"])),
            ("$.e[*].b", Some(vec![])),
            ("$.a[*]['c]'][*]", None),
            ("$.a[*].b[1]", None),
            ("$.n[*]", None),
            ("$.x[*].b", None),
        ] {
            let want = want.map(|list| list.into_iter().map(str::to_owned).collect());
            assert_eq!(every(path), want, "{path}");
        }
    }

    #[test]
    fn other_paths_are_queries() {
        for text in ["$.a[0]", "$..a", "$['a b']", "$.items[*].code", "$"] {
            let path = Path::try_from(text.to_owned()).unwrap();
            assert!(matches!(path.way, Way::Query(_)), "{text}");
        }
        assert!(Path::try_from("a.b".to_owned()).is_err());
        assert!(Path::try_from("$.".to_owned()).is_err());
    }
}
