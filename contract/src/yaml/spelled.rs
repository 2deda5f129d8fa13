//! A file as it is spelled, so that a flag can change one value and leave the others to the letter:
//! `007` stays a text where a text is wanted, and a number where a number is.

use std::fmt;

use serde_saphyr::{Error, Location, Spanned};

use super::place::{Inside, Node};

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spelled {
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
    ///
    /// # Errors
    /// Where it is no YAML.
    pub fn read(text: &str) -> Result<Self, Error> {
        Node::read(text).map(|node| Self::of(node, text))
    }

    fn of(node: Node, text: &str) -> Self {
        match node.inside {
            Inside::Text(text) => Self::Text(text),
            Inside::Word => Self::Word(word(text, node.defined).to_owned()),
            Inside::List(list) => {
                Self::List(list.into_iter().map(|node| Self::of(node, text)).collect())
            }
            Inside::Map(entries) => {
                let entry = |(key, node): (Spanned<String>, _)| (key.value, Self::of(node, text));
                Self::Map(entries.into_iter().map(entry).collect())
            }
        }
    }

    /// Sets the value at a dotted key, with numbers for places in a list; maps that are not there
    /// are made.
    ///
    /// # Errors
    /// When there can be no such value; a line says why.
    pub fn set(&mut self, key: &str, value: Self) -> Result<(), String> {
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

/// What stands at this place.
fn word(text: &str, at: Location) -> &str {
    let index = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok());
    let span = at.span();
    let begin = index(span.byte_offset()).unwrap_or(text.len());
    let end = begin.saturating_add(index(span.byte_len()).unwrap_or(0));
    text.get(begin..end).unwrap_or_default().trim()
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
