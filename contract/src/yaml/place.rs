//! Where each key and each value of a file stands, and what it is.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Error, Location, Spanned};

/// A value, and what is in it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Location,
    /// Where it is spelled, which is elsewhere where it stands here by an alias.
    pub(super) defined: Location,
    pub(super) inside: Inside,
}

/// What is in a value.
#[derive(Debug)]
pub(super) enum Inside {
    /// What YAML takes for a text.
    Text(String),
    /// What it takes for a number, a truth value or nothing.
    Word,
    List(Vec<Node>),
    Map(Vec<(Spanned<String>, Node)>),
}

/// A value and the keys that lead to it: `load.stages[0].rate`.
pub(super) struct Found<'t> {
    pub(super) keys: String,
    pub(super) node: &'t Node,
}

impl Node {
    /// All values of a file, also numbers that are none, such as `.inf`: what is wrong with them,
    /// their place says.
    ///
    /// # Errors
    /// Where it is no YAML, or has a key twice, or there are several documents.
    pub(super) fn read(text: &str) -> Result<Self, Error> {
        let policy = NonFiniteFloatPolicy::PassThrough;
        let options = serde_saphyr::options! { non_finite_float_policy: policy };
        serde_saphyr::from_str_with_options(text, options)
    }

    /// The value that begins here.
    pub(super) fn value_at(&self, at: Location) -> Option<Found<'_>> {
        self.search(String::new(), &|node| same(node.at, at))
    }

    /// The mapping that has a key here.
    pub(super) fn around(&self, at: Location) -> Option<Found<'_>> {
        self.search(String::new(), &|node| match &node.inside {
            Inside::Map(entries) => entries.iter().any(|(key, _)| same(key.referenced, at)),
            Inside::Text(_) | Inside::Word | Inside::List(_) => false,
        })
    }

    fn search(&self, keys: String, wanted: &impl Fn(&Self) -> bool) -> Option<Found<'_>> {
        if wanted(self) {
            return Some(Found { keys, node: self });
        }
        match &self.inside {
            Inside::Text(_) | Inside::Word => None,
            Inside::List(list) => list
                .iter()
                .enumerate()
                .find_map(|(at, node)| node.search(format!("{keys}[{at}]"), wanted)),
            Inside::Map(entries) => entries
                .iter()
                .find_map(|(key, node)| node.search(joined(&keys, &key.value), wanted)),
        }
    }

    /// The value that the keys in front of a message lead to, and the message with those keys.
    pub(super) fn told_by(&self, keys: &str, message: &str) -> (&Self, String) {
        let (mut node, mut keys, mut rest) = (self, keys.to_owned(), message);
        let mut between = ": ";
        while let Some((next, step, left)) = node.step(rest) {
            if step.starts_with('[') {
                keys += &step;
            } else {
                keys = joined(&keys, &step);
            }
            node = next;
            (between, rest) = match (left.strip_prefix(": "), left.strip_prefix('.')) {
                (Some(rest), _) => (": ", rest),
                (None, Some(rest)) => (".", rest),
                (None, None) => (": ", left),
            };
        }
        if keys.is_empty() {
            return (node, rest.to_owned());
        }
        // What leads to a key that is missing is a key all the same.
        (node, format!("{keys}{between}{rest}"))
    }

    /// The first key of a message, where there is such a value.
    fn step<'m>(&self, message: &'m str) -> Option<(&Self, String, &'m str)> {
        match &self.inside {
            Inside::Text(_) | Inside::Word => None,
            Inside::List(list) => {
                let (number, rest) = message.strip_prefix('[')?.split_once(']')?;
                let node = list.get(number.parse::<usize>().ok()?)?;
                Some((node, format!("[{number}]"), rest))
            }
            Inside::Map(entries) => entries.iter().find_map(|(key, node)| {
                let rest = message.strip_prefix(key.value.as_str())?;
                let ends = [": ", ".", "["].iter().any(|end| rest.starts_with(end));
                ends.then(|| (node, key.value.clone(), rest))
            }),
        }
    }
}

fn same(a: Location, b: Location) -> bool {
    (a.line(), a.column()) == (b.line(), b.column())
}

fn joined(keys: &str, key: &str) -> String {
    let mut joined = keys.to_owned();
    if !keys.is_empty() {
        joined.push('.');
    }
    joined + key
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = Spanned::<Inside>::deserialize(deserializer)?;
        Ok(Self { at: found.referenced, defined: found.defined, inside: found.value })
    }
}

impl<'de> Deserialize<'de> for Inside {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InsideVisitor)
    }
}

struct InsideVisitor;

impl<'de> Visitor<'de> for InsideVisitor {
    type Value = Inside;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Inside, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Inside::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inside, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Inside::List(nodes))
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Inside, D::Error> {
        IgnoredAny::deserialize(inner).map(|_| Inside::Word)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Inside, E> {
        Ok(Inside::Word)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Inside, E> {
        Ok(Inside::Word)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Inside, E> {
        Ok(Inside::Word)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Inside, E> {
        Ok(Inside::Word)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Inside, E> {
        Ok(Inside::Word)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Inside, E> {
        Ok(Inside::Word)
    }

    fn visit_str<E>(self, text: &str) -> Result<Inside, E> {
        Ok(Inside::Text(text.to_owned()))
    }

    fn visit_none<E>(self) -> Result<Inside, E> {
        Ok(Inside::Word)
    }

    fn visit_unit<E>(self) -> Result<Inside, E> {
        Ok(Inside::Word)
    }
}
