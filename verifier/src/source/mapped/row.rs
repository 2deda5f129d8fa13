//! A row of a ledger, put together from what a store gave.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result, bail};
use contract::store::{Captured, Cell, Column, JsonAt};
use serde_json::Value;

use super::redis::Element;

/// What a row tells, by column; or why it cannot be understood.
pub type Entry = Result<BTreeMap<Column, String>, String>;

/// What a store gave for one row.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    captured: Captured,
    json: Option<Value>,
    named: Option<&'a HashMap<String, String>>,
}

impl<'a> Parts<'a> {
    /// Of something in Redis.
    pub(super) fn of(captured: Captured, element: &'a Element) -> Self {
        let json = element.value.as_deref().and_then(|value| serde_json::from_str(value).ok());
        Self { captured, json, named: Some(&element.named) }
    }

    /// The row. An empty text is as good as none.
    ///
    /// # Errors
    /// Where a column is not there.
    pub(super) fn row(self, columns: &BTreeMap<Column, Cell>) -> Entry {
        let mut row: BTreeMap<Column, String> = self.captured.into_iter().collect();
        for (column, cell) in columns {
            let found = match cell {
                Cell::Named(name) => {
                    let named = self.named.and_then(|named| named.get(name));
                    named.cloned().ok_or_else(|| format!("it has no {name}"))?
                }
                Cell::Json(at) => {
                    let json = self.json.as_ref().ok_or("it is no JSON")?;
                    of_json(json, at)?
                }
            };
            row.insert(*column, found);
        }
        row.retain(|_, text| !text.is_empty());
        Ok(row)
    }
}

/// The row in a JSON value.
///
/// # Errors
/// Where a column is not there.
pub(super) fn of_value(json: &Value, columns: &BTreeMap<Column, Cell>) -> Entry {
    let cell = |(column, cell): (&Column, &Cell)| match cell {
        Cell::Json(at) => of_json(json, at).map(|text| (*column, text)),
        Cell::Named(name) => match json.get(name).map(scalar) {
            Some(Some(text)) => Ok((*column, text)),
            Some(None) | None => Err(format!("it has no {name}")),
        },
    };
    let mut row: BTreeMap<Column, String> = columns.iter().map(cell).collect::<Result<_, _>>()?;
    row.retain(|_, text| !text.is_empty());
    Ok(row)
}

fn of_json(json: &Value, at: &JsonAt) -> Result<String, String> {
    at.one(json).and_then(scalar).ok_or_else(|| format!("it has no single value at {at}"))
}

/// A single value as text; null is an empty one.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// A whole number, also one written as a decimal or inside JSON.
///
/// # Errors
/// When it is none.
pub(super) fn number(text: &str, at: Option<&JsonAt>) -> Result<i64> {
    let Some(at) = at else { return whole(text) };
    let json: Value = serde_json::from_str(text).with_context(|| format!("{text:?} is no JSON"))?;
    number_in(&json, at)
}

/// The whole number at a place in JSON.
///
/// # Errors
/// When there is none.
pub(super) fn number_in(json: &Value, at: &JsonAt) -> Result<i64> {
    let found = at.one(json).and_then(scalar);
    whole(&found.with_context(|| format!("there is no single value at {at}"))?)
}

fn whole(text: &str) -> Result<i64> {
    let (digits, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    match digits.parse() {
        Ok(number) if fraction.chars().all(|c| c == '0') => Ok(number),
        _ => bail!("found {text:?}, expected a whole number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> JsonAt {
        JsonAt::try_from(path.to_owned()).unwrap()
    }

    #[test]
    fn numbers_are_whole_however_they_are_written() {
        assert_eq!(number(" 7 ", None).unwrap(), 7);
        assert_eq!(number("-3.000", None).unwrap(), -3);
        assert_eq!(number(r#"{"a":{"left":"12"}}"#, Some(&at("$.a.left"))).unwrap(), 12);
        for (text, path) in [("1.5", None), ("x", None), ("", None), ("{}", Some(at("$.a")))] {
            assert!(number(text, path.as_ref()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_row_of_json_takes_what_its_columns_say() {
        let columns: BTreeMap<Column, Cell> =
            [(Column::Code, "$.c.code"), (Column::User, "member")]
                .map(|(column, cell)| (column, Cell::try_from(cell.to_owned()).unwrap()))
                .into();
        let json = serde_json::json!({"c": {"code": "가"}, "member": 17, "more": 1});
        let row = of_value(&json, &columns).unwrap();
        assert_eq!((row[&Column::Code].as_str(), row[&Column::User].as_str()), ("가", "17"));
        let without = serde_json::json!({"c": {}, "member": null});
        assert_eq!(of_value(&without, &columns).unwrap_err(), "it has no single value at $.c.code");
    }
}
