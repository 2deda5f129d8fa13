//! Paths into JSON (RFC 9535). The plain ones, such as `$.data.code`, are walked directly: every
//! answer of the load is looked at with them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
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

impl Path {
    /// The one value it finds; `None` where it finds none, or several.
    pub(super) fn one<'a>(&self, json: &'a Value) -> Option<&'a Value> {
        match &self.way {
            Way::Plain(names) => names.iter().try_fold(json, |at, name| at.as_object()?.get(name)),
            Way::Query(query) => query.query(json).exactly_one().ok(),
        }
    }

    /// All values it finds.
    pub(super) fn all<'a>(&self, json: &'a Value) -> Vec<&'a Value> {
        match &self.way {
            Way::Plain(_) => self.one(json).into_iter().collect(),
            Way::Query(query) => query.query(json).all(),
        }
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
            prop_assert_eq!(path.one(&json), query.query(&json).exactly_one().ok());
            prop_assert_eq!(path.all(&json), query.query(&json).all());
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
