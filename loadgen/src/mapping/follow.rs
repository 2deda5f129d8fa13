//! What comes after the answer to a request: polls of what was accepted, the confirmation of what
//! was reserved. And what is read beside the load.

use contract::outcome::{Observation, Outcome};
use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::path::{Found, Path};
use super::rule::{Answer, Meaning, Rule};

use super::template::RequestTemplate;
use crate::scenario::{Positive, Span};

/// How to learn what came of an accepted request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// What is asked, at the target that accepted. It may name what the rule that said `accepted`
    /// captured; a whole URL in `path` is cut to its path.
    pub request: RequestTemplate,
    /// What an answer means: the first rule that matches. `pending` means to ask again.
    pub outcomes: Vec<Rule>,
    /// How long to wait before each poll.
    #[serde(default = "default_every")]
    pub every: Positive,
    /// How long after it was accepted a request is given up; nobody knows what came of it then.
    #[serde(default = "default_patience")]
    pub give_up: Positive,
}

fn default_every() -> Positive {
    Positive::from_millis(200)
}

fn default_patience() -> Positive {
    Positive::from_millis(10_000)
}

/// How to confirm what was reserved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// What is asked, at the target that reserved. It may name what the rule that said `reserved`
    /// captured.
    pub request: RequestTemplate,
    /// What an answer means: the first rule that matches.
    pub outcomes: Vec<Rule>,
}

/// What is read of the campaign beside the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// What is asked.
    pub request: RequestTemplate,
    /// What a 2xx answer shows.
    pub see: See,
}

/// What an answer shows of the campaign, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum See {
    /// How many coupons were issued so far.
    Issued(Path),
    /// How many are left.
    Remaining(Path),
    /// All codes that were issued so far: a path that finds each of them.
    Codes(Path),
}

/// The one value at a path, as a number.
fn number(path: &Path, answer: &Answer<'_>) -> Option<i64> {
    path.one(answer.json()?)?.text()?.parse().ok()
}

/// All values at a path, as texts. A list that is not there, or an entry without its value, is no
/// answer: "no codes" is evidence.
fn texts(path: &Path, answer: &Answer<'_>) -> Option<Vec<String>> {
    let texts = path.every(answer.json()?)?.into_iter().map(Found::text);
    texts.map(|text| text.map(Cow::into_owned)).collect()
}

impl See {
    /// What a whole answer shows; `None` where it is no 2xx or does not have it.
    pub fn observe(&self, answer: &Answer<'_>) -> Option<Outcome<'static>> {
        if answer.status / 100 != 2 {
            return None;
        }
        let seen = match self {
            Self::Issued(path) => Observation::Issued(number(path, answer)?),
            Self::Remaining(path) => Observation::Remaining(number(path, answer)?),
            Self::Codes(path) => {
                Observation::Codes(texts(path, answer)?.into_iter().map(Into::into).collect())
            }
        };
        Some(Outcome::Read(seen))
    }
}

/// Whether rules are whole and have their meaning in this place, where `open` need not decide.
pub(super) fn check(rules: &[Rule], place: &str, open: &[Meaning]) -> Result<(), String> {
    for (at, rule) in rules.iter().enumerate() {
        if !rule.is.decides() && !open.contains(&rule.is) {
            return Err(format!(
                "{place}[{at}].is: `{}` means nothing here; `accepted` and `reserved` stand in \
                 outcomes, `pending` in poll.outcomes",
                rule.is.name()
            ));
        }
        rule.check().map_err(|what| match what.starts_with("capture") {
            true => format!("{place}[{at}].{what}"),
            false => format!("{place}[{at}]: {what}"),
        })?;
    }
    Ok(())
}

/// The names that every rule with this meaning captures: what the request that follows can rely on.
pub(super) fn captured_by_all(rules: &[Rule], is: Meaning) -> Vec<&str> {
    let mut rules = rules.iter().filter(|rule| rule.is == is);
    let Some(first) = rules.next() else { return Vec::new() };
    let by_all = |name: &&str| rules.clone().all(|rule| rule.capture.contains_key(*name));
    first.capture.keys().map(String::as_str).filter(by_all).collect()
}

impl Positive {
    /// So many milliseconds, more than none.
    pub(crate) fn from_millis(ms: i64) -> Self {
        Self::try_from(Span::from_millis(ms)).unwrap_or_else(|e| unreachable!("{e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(see: &str, body: &str) -> Option<Outcome<'static>> {
        let see: See = serde_saphyr::from_str(see).unwrap();
        see.observe(&Answer::new(200, &hyper::HeaderMap::new(), body.as_bytes()))
    }

    #[test]
    fn counts_and_codes_are_found() {
        let body = r#"{"n":"7","left":3,"items":[{"code":"가"},{"code":"나"}]}"#;
        let read = |o| Some(Outcome::Read(o));
        assert_eq!(seen("{issued: $.n}", body), read(Observation::Issued(7)));
        assert_eq!(seen("{remaining: $.left}", body), read(Observation::Remaining(3)));
        let codes = Observation::Codes(vec!["가".into(), "나".into()]);
        assert_eq!(seen("{codes: '$.items[*].code'}", body), read(codes));
        assert_eq!(seen("{issued: $.missing}", body), None);
        let none = Observation::Codes(Vec::new());
        assert_eq!(seen("{codes: '$.items[*].code'}", r#"{"items":[]}"#), read(none));
        for body in [r#"{"data":[]}"#, r#"{"items":null}"#, r#"{"items":[{"code":"A"},{"id":1}]}"#]
        {
            assert_eq!(seen("{codes: '$.items[*].code'}", body), None, "{body}");
        }
    }
}
