//! One step of the set-up: an HTTP request, SQL statements or Redis commands.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::redis::{self, Redis};
use super::rule::Statuses;
use super::source::Source;
use super::sql::{self, Dialect, Sql};
use super::template::{self, RequestTemplate, Template};
use crate::scenario::schema::{Text, one_of};

/// One step of the set-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawStep", into = "RawStep")]
#[schemars(with = "RawStep")]
pub struct Step {
    /// How often it is taken; absent means once.
    pub each: Option<Each>,
    /// What is done.
    pub action: Action,
}

/// How often a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Each {
    /// Once for every user.
    User,
}

/// What a step does, and the names it gives to values of the answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Asks the first target.
    Http {
        /// What is asked.
        request: Box<RequestTemplate>,
        /// The status that means success; absent means any 2xx.
        expect: Option<Statuses>,
        /// Where in the answer the values are.
        capture: BTreeMap<String, Source>,
    },
    /// Runs SQL.
    Sql {
        /// Where, and which statements.
        sql: Sql,
        /// Columns of the first row of the last statement.
        capture: BTreeMap<String, String>,
    },
    /// Runs Redis commands.
    Redis {
        /// Where, and which commands.
        redis: Redis,
        /// The reply of the last command, a text or a number, under each of these names.
        capture: BTreeSet<String>,
    },
}

/// A step as the file spells it: exactly one of the three actions.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = one_of(&["request", "sql", "redis"])))]
struct RawStep {
    /// How often it is taken; absent means once. Only in `prepare`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    each: Option<Each>,
    /// Asks the first target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<Box<RequestTemplate>>,
    /// Runs SQL on one connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sql: Option<Sql>,
    /// Runs Redis commands on one connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redis: Option<Redis>,
    /// Of a `request`: the status that means success; absent means any 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expect: Option<Statuses>,
    /// Names for values of the answer: `$.path`, `header:NAME`, `cookie:NAME` or `body` of a
    /// `request`, a column of `sql`, `reply` of `redis`.
    #[serde(default)]
    capture: BTreeMap<String, Place>,
}

/// Where a value is. What looks like a place in an HTTP answer has to be one.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "Text")]
struct Place(String);

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.starts_with('$') || text.contains(':') {
            Source::try_from(text.clone())?;
        }
        Ok(Self(text))
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.0
    }
}

impl TryFrom<RawStep> for Step {
    type Error = String;

    fn try_from(raw: RawStep) -> Result<Self, String> {
        let RawStep { each, request, sql, redis, expect, capture } = raw;
        if expect.is_some() && request.is_none() {
            return Err("expect: it is the status of a `request`; this step has none".into());
        }
        let capture = capture.into_iter().map(|(name, Place(place))| (name, place));
        let action = match (request, sql, redis) {
            (Some(request), None, None) => {
                let source = |(name, place)| match Source::try_from(place) {
                    Ok(source) => Ok((name, source)),
                    Err(what) => Err(format!("capture.{name}: {what}")),
                };
                let capture = capture.map(source).collect::<Result<_, String>>()?;
                Action::Http { request, expect, capture }
            }
            (None, Some(sql), None) => Action::Sql { sql, capture: capture.collect() },
            (None, None, Some(redis)) => {
                let capture = capture.map(|(name, place): (String, String)| {
                    is_reply(&place).map_err(|what| format!("capture.{name}: {what}"))?;
                    Ok(name)
                });
                Action::Redis { redis, capture: capture.collect::<Result<_, String>>()? }
            }
            _ => return Err("expected one of `request`, `sql` and `redis`".into()),
        };
        Ok(Self { each, action })
    }
}

fn is_reply(place: &str) -> Result<(), String> {
    if place == "reply" {
        return Ok(());
    }
    Err(format!("found {place:?}, expected reply, which is the answer to the last command"))
}

impl From<Step> for RawStep {
    fn from(step: Step) -> Self {
        let mut raw = Self {
            each: step.each,
            request: None,
            sql: None,
            redis: None,
            expect: None,
            capture: BTreeMap::new(),
        };
        let place = |(name, place): (String, String)| (name, Place(place));
        match step.action {
            Action::Http { request, expect, capture } => {
                (raw.request, raw.expect) = (Some(request), expect);
                raw.capture = capture.into_iter().map(|(n, s)| place((n, s.into()))).collect();
            }
            Action::Sql { sql, capture } => {
                raw.sql = Some(sql);
                raw.capture = capture.into_iter().map(place).collect();
            }
            Action::Redis { redis, capture } => {
                raw.redis = Some(redis);
                raw.capture = capture.into_iter().map(|n| place((n, "reply".into()))).collect();
            }
        }
        raw
    }
}

impl Step {
    /// The names it gives to values.
    pub fn captured(&self) -> Vec<&str> {
        match &self.action {
            Action::Http { capture, .. } => capture.keys().map(String::as_str).collect(),
            Action::Sql { capture, .. } => capture.keys().map(String::as_str).collect(),
            Action::Redis { capture, .. } => capture.iter().map(String::as_str).collect(),
        }
    }

    /// Whether it has a hole of this name.
    pub fn mentions(&self, name: &str) -> bool {
        match &self.action {
            Action::Http { request, .. } => request.mentions(name),
            Action::Sql { .. } | Action::Redis { .. } => {
                self.texts().iter().any(|t| t.mentions(name))
            }
        }
    }

    /// The variables of the environment that it names.
    pub(crate) fn variables(&self) -> Vec<String> {
        match &self.action {
            Action::Http { request, .. } => request.variables(),
            Action::Sql { .. } | Action::Redis { .. } => {
                self.texts().iter().flat_map(|t| t.variables()).collect()
            }
        }
    }

    /// All its templates, where it is no request.
    fn texts(&self) -> Vec<&Template> {
        match &self.action {
            Action::Http { .. } => Vec::new(),
            Action::Sql { sql, .. } => sql.run.as_slice().iter().chain([&sql.url.0]).collect(),
            Action::Redis { redis, .. } => {
                redis.run.iter().flat_map(|c| c.words()).chain([&redis.url.0]).collect()
            }
        }
    }

    /// Whether every name is known, and every hole in SQL stands where a value is safe.
    pub(super) fn check(&self, known: &[&str], store: Option<&str>) -> Result<(), String> {
        match &self.action {
            Action::Http { request, .. } => {
                request.check(known).map_err(|what| format!("request.{what}"))?;
            }
            Action::Sql { sql, .. } => {
                sql.url.0.check(known).map_err(|what| format!("sql.url: {what}"))?;
                sql.each(|statement| statement.check(known))?;
                check_sql(sql, store)?;
            }
            Action::Redis { redis, .. } => {
                let kind =
                    redis.url.0.check(known).and_then(|()| redis::KIND.check(&redis.url.0, store));
                kind.map_err(|what| format!("redis.url: {what}"))?;
                if redis.run.is_empty() {
                    return Err("redis.run: expected a command".into());
                }
                let words = redis.run.iter().enumerate().flat_map(|(at, command)| {
                    command.words().iter().enumerate().map(move |(n, word)| (at, n, word))
                });
                for (at, n, word) in words {
                    let wrong = |what| format!("redis.run[{at}][{n}]: {what}");
                    word.check(known).map_err(wrong)?;
                }
            }
        }
        self.check_captures(known)
    }

    /// A captured name must not mean something else already.
    fn check_captures(&self, known: &[&str]) -> Result<(), String> {
        let each = self.each.is_some();
        let taken = |name: &str| match name {
            "campaign" => each || !known.contains(&"campaign"),
            "user" => !each,
            other => template::is_reserved(other),
        };
        match self.captured().into_iter().find(|name| !template::is_name(name) || taken(name)) {
            Some(name) if !template::is_name(name) => {
                Err(format!("capture.{name}: found {name:?}, expected a name of a-z, 0-9 and _"))
            }
            Some(name) => Err(format!("capture.{name}: this name has a meaning already")),
            None => Ok(()),
        }
    }
}

/// Where only the environment knows the database, its holes are checked once that is known.
fn check_sql(sql: &Sql, store: Option<&str>) -> Result<(), String> {
    if sql.run.as_slice().is_empty() {
        return Err("sql.run: expected a statement".into());
    }
    let url = sql::KIND.check(&sql.url.0, store).map_err(|what| format!("sql.url: {what}"))?;
    match url.as_deref().and_then(Dialect::of) {
        Some(dialect) => sql.each(|statement| sql::check_holes(statement, dialect)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(yaml: &str) -> Result<Step, String> {
        serde_saphyr::from_str(yaml).map_err(|e| e.without_snippet().to_string())
    }

    const SQL: &str = "{sql: {url: 'sqlite:a', run: SELECT 1 AS id}, capture: {campaign: id}}";
    const REDIS: &str = "{redis: {url: 'redis://h', run: [[INCR, a]]}, capture: {n1: reply}}";
    const HTTP: &str = "{request: {path: /}, expect: 201, capture: {a: $.b, c: 'cookie:S'}}";

    #[test]
    fn a_step_is_what_it_was_when_written_down() {
        for yaml in [SQL, REDIS, HTTP, "{each: user, request: {path: /}}"] {
            let found = step(yaml).unwrap();
            let json = serde_json::to_string(&found).unwrap();
            assert_eq!(serde_json::from_str::<Step>(&json).unwrap(), found, "{json}");
        }
        assert_eq!(step(HTTP).unwrap().captured(), ["a", "c"]);
    }

    #[test]
    fn a_step_is_one_of_three() {
        for (yaml, want) in [
            ("{capture: {a: $.b}}", "one of `request`, `sql` and `redis`"),
            ("{request: {path: /}, redis: {url: 'redis://h', run: []}}", "one of `request`"),
            ("{sql: {url: 'sqlite:a', run: x}, expect: 200}", "this step has none"),
            ("{request: {path: /}, capture: {a: b}}", "expected $.path, header:NAME"),
            ("{request: {path: /}, capture: {a: 'haeder:b'}}", "expected $.path, header:NAME"),
            ("{redis: {url: 'redis://h', run: []}, capture: {a: b}}", "expected reply"),
            ("{requst: {path: /}}", "requst"),
            ("{each: usr, request: {path: /}}", "usr"),
        ] {
            let message = step(yaml).unwrap_err();
            assert!(message.contains(want), "{yaml}: {message}");
        }
    }

    #[test]
    fn what_a_step_may_name_and_capture() {
        let check = |yaml: &str, store| step(yaml).unwrap().check(&["campaign", "store"], store);
        for yaml in [SQL, REDIS, HTTP] {
            assert_eq!(check(yaml, None), Ok(()), "{yaml}");
        }
        let sql = |run: &str| format!("{{sql: {{url: '{{store}}', run: \"{run}\"}}}}");
        assert_eq!(check(&sql("SELECT {campaign}"), Some("mysql://h/d")), Ok(()));
        for (yaml, store, want) in [
            (sql("SELECT {campain}"), Some("mysql://h/d"), "did you mean `{campaign}`"),
            (sql("SELECT '{campaign}'"), Some("mysql://h/d"), "inside quotes"),
            (sql("SELECT 1"), Some("redis://h"), "expected system.store to be postgres://"),
            ("{sql: {url: 'sqlite:a', run: []}}".into(), None, "expected a statement"),
            ("{redis: {url: 'redis://h', run: []}}".into(), None, "redis.run: expected a command"),
            (
                "{redis: {url: '{store}', run: [[INCR, a]]}}".into(),
                Some("sqlite:a"),
                "redis.url: it is {store}, expected system.store to be redis://",
            ),
            ("{request: {path: /}, capture: {key: $.a}}".into(), None, "a meaning already"),
            ("{request: {path: /}, capture: {user: $.a}}".into(), None, "a meaning already"),
            ("{request: {path: /}, capture: {A: $.a}}".into(), None, "a name of a-z"),
            ("{request: {path: '/${NOT_THERE}'}}".into(), None, "the environment"),
        ] {
            let message = check(&yaml, store).unwrap_err();
            assert!(message.contains(want), "{yaml}: {message}");
        }
    }
}
