//! A text with holes that is filled on the way to a store and matched on the way back:
//! `coupon:{campaign}:{user}` asks for the keys of one campaign, and each key then tells its user.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Column;

/// A text with holes: `{campaign}`, the columns of a ledger, and `{_}` for what does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", inline, example = &"coupon:{campaign}:users")]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

/// A text, or a hole in it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(Hole),
}

/// What a hole stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    /// `{campaign}`.
    Campaign,
    /// A column of the ledger, such as `{user}`.
    Column(Column),
    /// `{_}`: anything.
    Anything,
}

/// What the holes of a text were filled with.
pub type Captured = Vec<(Column, String)>;

impl Hole {
    fn of(name: &str) -> Option<Self> {
        match name {
            "campaign" => Some(Self::Campaign),
            "_" => Some(Self::Anything),
            other => Column::of(other).map(Self::Column),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text.as_str());
        while let Some(open) = rest.find('{') {
            literal += &rest[..open];
            let after = &rest[open + 1..];
            let Some((hole, length)) = hole(after)? else {
                literal.push('{');
                rest = after;
                continue;
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            if let Some(Part::Hole(_)) = parts.last() {
                return Err(format!(
                    "found {text:?}, expected a text between two names: where the one ends and the \
                     other begins cannot be told"
                ));
            }
            parts.push(Part::Hole(hole));
            rest = &after[length..];
        }
        literal += rest;
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { text, parts })
    }
}

/// The hole that begins here, behind its brace, and how long it is with the other brace. Braces
/// around anything but a name belong to the text: Redis' keys have them.
fn hole(text: &str) -> Result<Option<(Hole, usize)>, String> {
    let Some(end) = text.find('}') else { return Ok(None) };
    let name = &text[..end];
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if !is_name {
        return Ok(None);
    }
    let known =
        || format!("`{{{name}}}`: no such name (there are campaign, {}, _)", Column::list());
    Hole::of(name).map(|hole| Some((hole, end + 1))).ok_or_else(known)
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// The pattern with the campaign's id in its place.
    pub fn of_campaign(&self, campaign: &str) -> Self {
        let fill = |part: &Part| match part {
            Part::Hole(Hole::Campaign) => Part::Text(campaign.to_owned()),
            Part::Text(_) | Part::Hole(_) => part.clone(),
        };
        let mut parts: Vec<Part> = Vec::new();
        for part in self.parts.iter().map(fill) {
            match (parts.last_mut(), part) {
                (Some(Part::Text(before)), Part::Text(text)) => *before += &text,
                (_, part) => parts.push(part),
            }
        }
        Self { text: self.text.replace("{campaign}", campaign), parts }
    }

    /// The text, if there is no hole in it.
    pub fn whole(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            [Part::Hole(_)] | [_, _, ..] => None,
        }
    }

    /// Whether it has a hole but `{campaign}`.
    pub fn is_open(&self) -> bool {
        self.holes().any(|hole| hole != Hole::Campaign)
    }

    /// The columns it tells.
    pub fn columns(&self) -> impl Iterator<Item = Column> {
        self.holes().filter_map(|hole| match hole {
            Hole::Column(column) => Some(column),
            Hole::Campaign | Hole::Anything => None,
        })
    }

    fn holes(&self) -> impl Iterator<Item = Hole> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole(hole) => Some(*hole),
            Part::Text(_) => None,
        })
    }

    /// A glob that finds at least what [`Self::captured`] takes. What has a meaning in a glob is
    /// escaped.
    pub fn glob(&self) -> String {
        let mut glob = String::new();
        for part in &self.parts {
            match part {
                Part::Hole(_) => glob.push('*'),
                Part::Text(text) => {
                    for c in text.chars() {
                        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
                            glob.push('\\');
                        }
                        glob.push(c);
                    }
                }
            }
        }
        glob
    }

    /// What the holes stand for in a text; `None` where it does not fit. A hole takes at least one
    /// character, and no more than it has to.
    pub fn captured(&self, text: &str) -> Option<Captured> {
        let mut found = Captured::new();
        capture(&self.parts, text, &mut found).then_some(found)
    }
}

/// Whether the text fits. Notes what the holes stand for.
fn capture(parts: &[Part], text: &str, found: &mut Captured) -> bool {
    let mut take = |hole: Hole, value: &str| {
        if let Hole::Column(column) = hole {
            found.push((column, value.to_owned()));
        }
        !value.is_empty()
    };
    match parts {
        [] => text.is_empty(),
        [Part::Text(first), rest @ ..] => {
            text.strip_prefix(first.as_str()).is_some_and(|text| capture(rest, text, found))
        }
        [Part::Hole(hole)] => take(*hole, text),
        [Part::Hole(hole), Part::Text(last)] => {
            text.strip_suffix(last.as_str()).is_some_and(|value| take(*hole, value))
        }
        [Part::Hole(hole), Part::Text(next), rest @ ..] => {
            let first = text.chars().next().map_or(0, char::len_utf8);
            let Some(at) = text[first..].find(next.as_str()) else { return false };
            let (value, behind) = (&text[..first + at], &text[first + at + next.len()..]);
            take(*hole, value) && capture(rest, behind, found)
        }
        // Refused when the pattern was read.
        [Part::Hole(_), Part::Hole(_), ..] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn the_campaign_is_filled_in_and_braces_stay() {
        let key = pattern("coupon:{{campaign}}:issued").of_campaign("7");
        assert_eq!(key.whole(), Some("coupon:{7}:issued"));
        assert_eq!(pattern("a{campaign}b{user}").of_campaign("*").glob(), "a\\*b*");
        assert_eq!(pattern("x").whole(), Some("x"));
        assert_eq!(pattern("{user}").whole(), None);
    }

    #[test]
    fn holes_take_what_stands_there_and_at_least_something() {
        let find = |pat: &str, text: &str| pattern(pat).captured(text);
        let user = |u: &str| (Column::User, u.to_owned());
        assert_eq!(find("c:7:{user}", "c:7:u1"), Some(vec![user("u1")]));
        assert_eq!(find("c:7:{user}", "c:7:"), None);
        assert_eq!(find("c:7:{user}", "c:8:u1"), None);
        assert_eq!(find("{user}:x", "a:x:x"), Some(vec![user("a:x")]));
        let both = Some(vec![user("u"), (Column::Code, "a:b".to_owned())]);
        assert_eq!(find("{user}:{code}", "u:a:b"), both);
        assert_eq!(find("{_}:{user}:{_}!", "가:나:다!"), Some(vec![user("나")]));
        assert_eq!(find("{user}{{", "u{"), None);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, want) in [
            ("{user}{code}", "a text between two names"),
            ("{usr}", "`{usr}`: no such name (there are campaign, code"),
        ] {
            let message = Pattern::try_from(text.to_owned()).unwrap_err();
            assert!(message.contains(want), "{message}");
        }
        assert_eq!(pattern("{Tag}{1}").whole(), Some("{Tag}{1}"));
    }
}
