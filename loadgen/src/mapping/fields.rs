//! The headers of an answer, however they came.

use std::fmt::Debug;

use hyper::HeaderMap;
use hyper::header::HeaderValue;

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
        let texts = |value: &'a HeaderValue| std::str::from_utf8(value.as_bytes()).ok();
        self.get_all(name).iter().filter_map(texts).collect()
    }
}

/// The head of an HTTP/1.1 answer as it came, once a parser has found it well-formed. Most answers
/// are asked for none of their headers, or for one: finding that is cheaper than keeping them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head(Vec<u8>);

impl Head {
    /// The head with these bytes, from its status line to the empty line.
    pub fn of(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The values of a header that are text, in their order.
    pub fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let ends = memchr::memchr_iter(b'\n', &self.0);
        let lines = ends.map(|end| &self.0[end + 1..]);
        lines.filter_map(move |line| {
            let (found, value) = (line.get(..name.len())?, line.get(name.len()..)?);
            let value = value.strip_prefix(b":")?;
            if !found.eq_ignore_ascii_case(name.as_bytes()) {
                return None;
            }
            let value = &value[..memchr::memchr(b'\n', value)?];
            std::str::from_utf8(value.trim_ascii()).ok()
        })
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
        let (mut map, mut text) = (HeaderMap::new(), "HTTP/1.1 200 x-code: no\r\n".to_owned());
        for (name, value) in pairs {
            map.append(name, value.parse().unwrap());
            text += &format!("{}:\t{value} \r\n", name.to_uppercase());
        }
        let head = Head::of(format!("{text}\r\n").as_bytes());
        for name in ["set-cookie", "x-code", "empty", "absent", "set", "x-code: no"] {
            assert_eq!(map.all(name), head.all(name), "{name}");
        }
        assert_eq!(head.first("set-cookie"), Some("a=1"));
        assert_eq!((head.first("x-code"), map.first("x-code")), (Some("가"), Some("가")));
    }
}
