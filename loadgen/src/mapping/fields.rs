//! The headers of an answer, however they came.

use std::fmt::Debug;

use hyper::HeaderMap;

/// The headers of an answer.
pub trait Fields: Debug {
    /// All values of a header, by its lower-case name, that are text.
    fn all<'a>(&'a self, name: &str) -> Vec<&'a str>;

    /// The first of them.
    fn first<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.all(name).first().copied()
    }
}

impl Fields for HeaderMap {
    fn all<'a>(&'a self, name: &str) -> Vec<&'a str> {
        self.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }
}

/// A head as it was read. Most answers are asked for none of their headers, or for one: finding
/// that is cheaper than keeping them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    text: Vec<u8>,
    /// Where the name and the value of each header begin and end.
    fields: Vec<[u32; 4]>,
}

impl Head {
    /// No headers yet, with room for so many of so many bytes in all.
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), fields: Vec::with_capacity(fields) }
    }

    /// Adds a header.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let mut end = |bytes: &[u8]| {
            self.text.extend_from_slice(bytes);
            u32::try_from(self.text.len()).unwrap_or(u32::MAX)
        };
        let (begin, middle, last) = (end(b""), end(name.as_bytes()), end(value));
        self.fields.push([begin, middle, middle, last]);
    }

    /// The values of a header that are text, in their order.
    pub fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let is_named = |[begin, end, ..]: &&[u32; 4]| {
            self.bytes(*begin, *end).eq_ignore_ascii_case(name.as_bytes())
        };
        let value =
            |[.., begin, end]: &[u32; 4]| std::str::from_utf8(self.bytes(*begin, *end)).ok();
        self.fields.iter().filter(is_named).filter_map(value)
    }

    fn bytes(&self, from: u32, to: u32) -> &[u8] {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }
}

impl Fields for Head {
    fn all<'a>(&'a self, name: &str) -> Vec<&'a str> {
        self.named(name).collect()
    }

    fn first<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.named(name).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_find_the_same() {
        let pairs = [("set-cookie", "a=1"), ("x-code", "가"), ("set-cookie", "b=2"), ("empty", "")];
        let (mut map, mut head) = (HeaderMap::new(), Head::with_capacity(4, 64));
        for (name, value) in pairs {
            map.append(name, value.parse().unwrap());
            head.push(&name.to_uppercase(), value.as_bytes());
        }
        for name in ["set-cookie", "empty", "absent"] {
            assert_eq!(map.all(name), head.all(name), "{name}");
        }
        assert_eq!(head.first("set-cookie"), Some("a=1"));
        assert_eq!(head.first("x-code"), Some("가"));
    }
}
