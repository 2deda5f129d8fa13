//! Where a value stands within what a store gave: a query, a column, a place in JSON.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::JsonPath;

/// Where a column stands in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", inline, example = &"$.code", example = &"coupon_code")]
pub enum Cell {
    /// In JSON.
    Json(JsonAt),
    /// Under a name: a column of a query, a field of a stream's entry or of a hash.
    Named(String),
}

impl TryFrom<String> for Cell {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.starts_with('$') {
            true => JsonAt::try_from(text).map(Self::Json),
            false => Ok(Self::Named(text)),
        }
    }
}

impl From<Cell> for String {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Json(path) => path.into(),
            Cell::Named(name) => name,
        }
    }
}

/// A path into JSON (RFC 9535).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", inline, extend("pattern" = r"^\$"), example = &"$.items[*]")]
pub struct JsonAt {
    text: String,
    path: JsonPath,
}

impl TryFrom<String> for JsonAt {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match JsonPath::parse(&text) {
            Ok(path) => Ok(Self { text, path }),
            Err(e) => Err(format!(
                "found {text:?}, expected a JSON path like $.data.code (RFC 9535); this is none from \
                 character {} on",
                e.position() + 1
            )),
        }
    }
}

impl From<JsonAt> for String {
    fn from(at: JsonAt) -> Self {
        at.text
    }
}

impl fmt::Display for JsonAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl JsonAt {
    /// The one value it finds; `None` where it finds none, or several.
    pub fn one<'a>(&self, json: &'a Value) -> Option<&'a Value> {
        self.path.query(json).exactly_one().ok()
    }

    /// All values it finds. One list counts as what is in it.
    pub fn all<'a>(&self, json: &'a Value) -> Vec<&'a Value> {
        let found = self.path.query(json).all();
        match found.as_slice() {
            [Value::Array(list)] => list.iter().collect(),
            _ => found,
        }
    }
}

/// A query: one SELECT, in which `{campaign}` is a bound parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", inline, example = &"SELECT code FROM coupons WHERE campaign = {campaign}")]
pub struct Query {
    text: String,
}

/// The hole that a query may have.
const CAMPAIGN: &str = "{campaign}";

impl TryFrom<String> for Query {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let first = text.trim_start().get(..6).unwrap_or_default().to_ascii_lowercase();
        if first != "select" && !first.starts_with("with") {
            return Err("expected one query that begins with SELECT or WITH".into());
        }
        if text.contains(&format!("'{CAMPAIGN}'")) {
            return Err(format!("expected {CAMPAIGN} without quotes: it is a bound parameter"));
        }
        Ok(Self { text: text.trim().trim_end_matches(';').trim_end().to_owned() })
    }
}

impl From<Query> for String {
    fn from(query: Query) -> Self {
        query.text
    }
}

impl Query {
    /// The query as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The query with what `parameter` says in place of the first, second, … `{campaign}`, and how
    /// many there are.
    pub fn with(&self, parameter: impl Fn(usize) -> String) -> (String, usize) {
        let mut parts = self.text.split(CAMPAIGN);
        let mut out = parts.next().unwrap_or_default().to_owned();
        let mut count = 0;
        for part in parts {
            count += 1;
            out += &parameter(count);
            out += part;
        }
        (out, count)
    }
}
