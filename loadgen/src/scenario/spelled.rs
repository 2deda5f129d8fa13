//! A scenario as its file spells it, so that `--set` can change one value and leave the others to
//! the letter: `007` stays a text where a text is wanted, and a number where a number is.

use std::fmt;

use contract::yaml;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location, Spanned};

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spelled {
    /// One that YAML takes for a text.
    Text(String),
    /// One that it takes for a number, a truth value or nothing, as it is spelled.
    Word(String),
    /// Values in their order.
    List(Vec<Self>),
    /// Values by their keys, in the order of the file.
    Map(Vec<(String, Self)>),
}

impl Spelled {
    /// What a text in YAML says.
    pub(super) fn read(text: &str) -> Result<Self, Error> {
        yaml::read_any::<Spanned<Shape>>(text).map(|found| found.spelled(text))
    }

    /// Sets the value at a dotted key, with numbers for places in a list; maps that are not there
    /// are made.
    ///
    /// # Errors
    /// When there can be no such value; a line says why.
    pub(super) fn set(&mut self, key: &str, value: Self) -> Result<(), String> {
        let mut place = self;
        for part in key.split('.') {
            place = place.inside(part)?;
        }
        *place = value;
        Ok(())
    }

    fn inside(&mut self, part: &str) -> Result<&mut Self, String> {
        if matches!(self, Self::Word(word) if ["", "~", "null"].contains(&word.as_str())) {
            *self = Self::Map(Vec::new());
        }
        match self {
            Self::Map(entries) => {
                let at = entries.iter().position(|(key, _)| key == part);
                let at = at.unwrap_or_else(|| {
                    entries.push((part.to_owned(), Self::Word("null".into())));
                    entries.len() - 1
                });
                Ok(&mut entries[at].1)
            }
            Self::List(list) => {
                let last = list.len().max(1) - 1;
                let found = part.parse::<usize>().ok().and_then(|at| list.get_mut(at));
                found.ok_or_else(|| {
                    format!("{part:?} is no place in this list: expected 0 to {last}")
                })
            }
            Self::Text(_) | Self::Word(_) => Err(format!("{part:?} is inside a single value")),
        }
    }
}

/// As YAML on one line.
impl fmt::Display for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A text in JSON is one in YAML.
        let quoted = |text: &str| serde_json::Value::from(text);
        match self {
            Self::Text(text) => write!(f, "{}", quoted(text)),
            Self::Word(word) if word.is_empty() => f.write_str("null"),
            Self::Word(word) => f.write_str(word),
            Self::List(list) => {
                f.write_str("[")?;
                list.iter().try_for_each(|value| write!(f, "{value}, "))?;
                f.write_str("]")
            }
            Self::Map(entries) => {
                f.write_str("{")?;
                entries
                    .iter()
                    .try_for_each(|(key, value)| write!(f, "{}: {value}, ", quoted(key)))?;
                f.write_str("}")
            }
        }
    }
}

/// What a value is, before its spelling is looked up.
enum Shape {
    Text(String),
    Word,
    List(Vec<Spanned<Self>>),
    Map(Vec<(String, Spanned<Self>)>),
}

trait Looked {
    fn spelled(self, text: &str) -> Spelled;
}

impl Looked for Spanned<Shape> {
    fn spelled(self, text: &str) -> Spelled {
        match self.value {
            Shape::Text(text) => Spelled::Text(text),
            Shape::Word => Spelled::Word(word(text, self.defined).to_owned()),
            Shape::List(list) => {
                Spelled::List(list.into_iter().map(|value| value.spelled(text)).collect())
            }
            Shape::Map(entries) => Spelled::Map(
                entries.into_iter().map(|(key, value)| (key, value.spelled(text))).collect(),
            ),
        }
    }
}

/// What stands at this place.
fn word(text: &str, at: Location) -> &str {
    let index = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok());
    let span = at.span();
    let begin = index(span.byte_offset()).unwrap_or(text.len());
    let end = begin.saturating_add(index(span.byte_len()).unwrap_or(0));
    text.get(begin..end).unwrap_or_default().trim()
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Shape::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Shape::List(values))
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Shape, D::Error> {
        IgnoredAny::deserialize(inner).map(|_| Shape::Word)
    }

    fn visit_str<E>(self, text: &str) -> Result<Shape, E> {
        Ok(Shape::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Word)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Word)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Word)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Shape, E> {
        Ok(Shape::Word)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Shape, E> {
        Ok(Shape::Word)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Word)
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape::Word)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_stays_to_the_letter() {
        let file =
            "a: 007\nb: '007' # c\nc: {d: 1.50, e: ~, f: [0x1F, true]}\ng:\nh: |\n  x\n  y\n";
        let mut spelled = Spelled::read(file).unwrap();
        spelled.set("c.new.deep", Spelled::read("5s").unwrap()).unwrap();
        spelled.set("c.f.0", Spelled::read("[1]").unwrap()).unwrap();
        let want = "{\"a\": 007, \"b\": \"007\", \"c\": {\"d\": 1.50, \"e\": ~, \"f\": [[1, ], true, ], \
                    \"new\": {\"deep\": \"5s\", }, }, \"g\": null, \"h\": \"x\\ny\\n\", }";
        assert_eq!(spelled.to_string(), want);
        assert_eq!(Spelled::read(want).unwrap().to_string(), want, "and is YAML");
    }

    #[test]
    fn a_place_that_there_cannot_be_is_named() {
        for (key, want) in [
            ("a.9", "\"9\" is no place in this list: expected 0 to 1"),
            ("a.x", "\"x\" is no place in this list"),
            ("b.c", "\"c\" is inside a single value"),
        ] {
            let mut spelled = Spelled::read("{a: [1, 2], b: 5}").unwrap();
            let message = spelled.set(key, Spelled::Text("x".into())).unwrap_err();
            assert!(message.starts_with(want), "{message}");
        }
    }
}
