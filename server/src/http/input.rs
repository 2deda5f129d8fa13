//! Turns what a client sent into what the store is asked, or says which part was wrong.

use std::fmt;

use chrono::Datelike;
use contract::wire::{IssueRequest, NewCampaign, Problem, ProblemCode, header};
use hyper::HeaderMap;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::user::User;

/// The problem is boxed since the usual case should not carry its size.
type Checked<T> = Result<T, Box<Problem>>;

const MAX_COUPONS: u64 = 100_000_000;
const MAX_NAME: usize = 200;
const MAX_USER: usize = 128;
const MAX_KEY: usize = 128;
/// Lua keeps microseconds in numbers that are exact up to 2^53, which is in June 2255.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2254;
const LIMIT_RULE: &str = "must be 1 or absent";
const TWICE: &str = "must not be there twice";
const DEFAULT_PAGE: u32 = 100;
const MAX_PAGE: u32 = 1_000;

/// Body of `POST /campaigns`.
pub(super) fn new_campaign(body: &[u8]) -> Checked<NewCampaign> {
    let members = members(body, &["name", "coupons", "starts_at", "per_user_limit"])?;
    for member in ["name", "coupons", "starts_at"] {
        if !members.contains_key(member) {
            return Err(invalid(member, "is missing"));
        }
    }
    let _: String = member(&members, "name", "must be a string")?;
    let _: u64 = member(&members, "coupons", &coupons_rule())?;
    let _: Option<u32> = member(&members, "per_user_limit", LIMIT_RULE)?;
    // All else is known to be of its type, so what is wrong now is the time.
    let new =
        serde_json::from_value(members.into()).map_err(|e| invalid("starts_at", e.to_string()))?;
    possible(new)
}

/// A campaign that can be kept.
pub(super) fn possible(new: NewCampaign) -> Checked<NewCampaign> {
    if !(1..=MAX_NAME).contains(&new.name.chars().count()) {
        return Err(invalid("name", format!("must have 1 to {MAX_NAME} characters")));
    }
    // What a database can keep as text is what every store takes.
    if new.name.contains('\0') {
        return Err(invalid("name", "must not have a zero byte"));
    }
    if new.coupons > MAX_COUPONS {
        return Err(invalid("coupons", coupons_rule()));
    }
    if new.per_user_limit.is_some_and(|limit| limit != 1) {
        return Err(invalid("per_user_limit", LIMIT_RULE));
    }
    if !YEARS.contains(&new.starts_at.year()) {
        return Err(invalid("starts_at", "must be in the years 1970 to 2254, in UTC"));
    }
    // Kept as 1,000 milliseconds and more of the second before: nothing else counts like that.
    if new.starts_at.timestamp_subsec_millis() >= 1_000 {
        return Err(invalid("starts_at", "must not be a leap second"));
    }
    Ok(new)
}

fn coupons_rule() -> String {
    format!("must be a whole number from 0 to {MAX_COUPONS}")
}

/// Body of `POST /campaigns/{id}/coupons`; an empty one names nobody.
pub(super) fn asking_user(body: &[u8]) -> Checked<Option<User>> {
    if body.is_empty() {
        return Ok(None);
    }
    let sent = match right_away(body) {
        Some(IssueRequest { user }) => user,
        None => member(&members(body, &["user"])?, "user", "must be a string")?,
    };
    sent.map(user).transpose()
}

/// What is as it should be; what is not is taken apart to say what is wrong with it.
fn right_away(body: &[u8]) -> Option<IssueRequest> {
    // An array would pass for the members in their order.
    let is_object = body.trim_ascii_start().starts_with(b"{");
    is_object.then(|| serde_json::from_slice(body).ok())?
}

/// Somebody who can be told from others.
pub(super) fn user(sent: String) -> Checked<User> {
    let fits =
        (1..=MAX_USER).contains(&sent.chars().count()) && !sent.chars().any(char::is_control);
    User::new(sent).filter(|_| fits).ok_or_else(|| {
        invalid(
            "user",
            format!("must have 1 to {MAX_USER} characters, one to see, no control character"),
        )
    })
}

/// The idempotency key, if there is one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Checked<Option<String>> {
    let mut values = headers.get_all(header::IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| {
        (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
    });
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        _ => Err(invalid(
            header::IDEMPOTENCY_KEY,
            format!("must be there once, with 1 to {MAX_KEY} visible ASCII characters"),
        )),
    }
}

/// Which page of the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) after: u64,
    pub(super) limit: u32,
}

/// Checks that a query has each of these parameters at most once, and no others.
pub(super) fn query(query: Option<&str>, known: &[&str]) -> Checked<()> {
    let mut seen = Vec::new();
    for (name, _) in parameters(query) {
        if !known.contains(&name) {
            return Err(invalid(name, format!("is not known here; known: {known:?}")));
        }
        if seen.contains(&name) {
            return Err(invalid(name, TWICE));
        }
        seen.push(name);
    }
    Ok(())
}

fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

impl Page {
    /// Up to `limit` rows after a rank.
    pub(super) fn new(after: u64, limit: Option<u32>) -> Checked<Self> {
        let limit = limit.unwrap_or(DEFAULT_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(invalid("limit", format!("must be from 1 to {MAX_PAGE}")));
        }
        Ok(Self { after, limit })
    }
}

/// Query of `GET /campaigns/{id}/coupons`, whose names are known to be right.
pub(super) fn page(query: Option<&str>) -> Checked<Page> {
    let (mut after, mut limit) = (0, None);
    for (name, value) in parameters(query) {
        if name == "after" {
            after = number(value).ok_or_else(|| invalid(name, "must be a rank"))?;
        } else {
            // No number is as wrong as 0 is.
            let rows = number(value).and_then(|rows| u32::try_from(rows).ok());
            limit = Some(rows.unwrap_or_default());
        }
    }
    Page::new(after, limit)
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The members of a JSON object that has no others than these, and none twice.
///
/// Values are taken apart one by one, so that a wrong one is known by its name.
fn members(body: &[u8], known: &[&str]) -> Checked<Map<String, Value>> {
    let bad = |e: serde_json::Error| Box::new(Problem::new(ProblemCode::BadJson, e.to_string()));
    let whole: &RawValue = serde_json::from_slice(body).map_err(bad)?;
    if !whole.get().starts_with('{') {
        return Err(invalid("body", "must be a JSON object"));
    }
    let Members(all) = serde_json::from_str(whole.get()).map_err(bad)?;
    let mut members = Map::new();
    for (name, raw) in all {
        if !known.contains(&name.as_str()) {
            return Err(invalid(&name, format!("is not known here; known: {known:?}")));
        }
        if members.contains_key(&name) {
            return Err(invalid(&name, TWICE));
        }
        let value = serde_json::from_str(raw.get()).map_err(|_| {
            invalid(&name, "holds a number out of range, a broken escape or too many levels")
        })?;
        members.insert(name, value);
    }
    Ok(members)
}

/// The members of an object as they were sent: also those that are there twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AllMembers)
    }
}

struct AllMembers;

impl<'de> Visitor<'de> for AllMembers {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = map.next_entry()? {
            all.push(member);
        }
        Ok(Members(all))
    }
}

fn member<T: DeserializeOwned>(members: &Map<String, Value>, name: &str, rule: &str) -> Checked<T> {
    let value = members.get(name).cloned().unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|_| invalid(name, rule))
}

pub(super) fn invalid(field: &str, rule: impl AsRef<str>) -> Box<Problem> {
    let detail = format!("{field:?} {}", rule.as_ref());
    let problem = Problem::new(ProblemCode::Invalid, detail);
    Box::new(Problem { field: Some(field.to_owned()), ..problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(result: Checked<impl fmt::Debug>) -> String {
        let problem = result.unwrap_err();
        assert_eq!(problem.code, ProblemCode::Invalid);
        problem.field.unwrap()
    }

    #[test]
    fn accepts_a_campaign() {
        let body = r#"{"name":"가","coupons":0,"starts_at":"2026-11-21T00:00:00.123Z"}"#;
        assert_eq!(new_campaign(body.as_bytes()).unwrap().coupons, 0);
        let body = r#"{"name":"a","coupons":100000000,"starts_at":"2026-11-21T09:00:00+09:00","per_user_limit":1}"#;
        assert_eq!(new_campaign(body.as_bytes()).unwrap().per_user_limit, Some(1));
    }

    #[test]
    fn rejects_a_campaign_and_names_the_member() {
        let time = r#""starts_at":"2026-11-21T00:00:00Z""#;
        let long = "x".repeat(201);
        let cases = [
            (format!(r#"{{"coupons":1,{time}}}"#), "name"),
            (format!(r#"{{"name":"","coupons":1,{time}}}"#), "name"),
            (format!(r#"{{"name":"{long}","coupons":1,{time}}}"#), "name"),
            (format!(r#"{{"name":7,"coupons":1,{time}}}"#), "name"),
            (format!(r#"{{"name":"a","coupons":-1,{time}}}"#), "coupons"),
            (format!(r#"{{"name":"a","coupons":1.5,{time}}}"#), "coupons"),
            (format!(r#"{{"name":"a","coupons":100000001,{time}}}"#), "coupons"),
            (r#"{"name":"a","coupons":1}"#.to_owned(), "starts_at"),
            (r#"{"name":"a","coupons":1,"starts_at":"soon"}"#.to_owned(), "starts_at"),
            (
                r#"{"name":"a","coupons":1,"starts_at":"2026-11-21T00:00:00.0001Z"}"#.to_owned(),
                "starts_at",
            ),
            (
                r#"{"name":"a","coupons":1,"starts_at":"9999-11-21T00:00:00Z"}"#.to_owned(),
                "starts_at",
            ),
            (format!(r#"{{"name":"a","coupons":1,{time},"per_user_limit":2}}"#), "per_user_limit"),
            (format!(r#"{{"name":"a","coupons":1,{time},"color":2}}"#), "color"),
            ("[]".to_owned(), "body"),
            ("1e999".to_owned(), "body"),
            (format!(r#"{{"name":"a","coupons":1,{time},"coupons":2}}"#), "coupons"),
            (format!(r#"{{"name":"a","coupons":1,{time},{time}}}"#), "starts_at"),
            (format!(r#"{{"name":"a","coupons":1e999,{time}}}"#), "coupons"),
            (format!(r#"{{"name":"a","coupons":18446744073709551616,{time}}}"#), "coupons"),
            (format!(r#"{{"name":"\ud800","coupons":1,{time}}}"#), "name"),
            (format!(r#"{{"name":"a\u0000","coupons":1,{time}}}"#), "name"),
            (
                format!(r#"{{"name":{},"coupons":1,{time}}}"#, "[".repeat(200) + &"]".repeat(200)),
                "name",
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(field(new_campaign(body.as_bytes())), expected, "{body}");
        }
    }

    #[test]
    fn starts_that_no_store_can_keep_are_refused() {
        let start = |start: &str| {
            new_campaign(format!(r#"{{"name":"a","coupons":1,"starts_at":"{start}"}}"#).as_bytes())
        };
        for right in ["1970-01-01T00:00:00Z", "2254-12-31T23:59:59.999Z", "2016-12-31T23:59:59Z"] {
            assert!(start(right).is_ok(), "{right}");
        }
        for wrong in [
            "2016-12-31T23:59:60Z",
            "2016-12-31T23:59:60.500Z",
            "2026-11-21T12:34:60Z",
            "1969-12-31T23:59:59.999Z",
            "1970-01-01T00:00:00+00:01",
            "0000-01-01T00:00:00Z",
            "2255-01-01T00:00:00Z",
            "2254-12-31T23:59:59-00:01",
        ] {
            assert_eq!(field(start(wrong)), "starts_at", "{wrong}");
        }
    }

    #[test]
    fn users_are_optional_and_bounded() {
        assert_eq!(asking_user(b"").unwrap(), None);
        assert_eq!(asking_user(b"{}").unwrap(), None);
        assert_eq!(asking_user(b"{\"user\":null}").unwrap(), None);
        assert_eq!(field(asking_user(b"[\"u\"]")), "body");
        assert_eq!(field(asking_user(b"{\"me\":\"u\"}")), "me");
        let longest = format!(r#"{{"user":"{}"}}"#, "가".repeat(128));
        assert!(asking_user(longest.as_bytes()).is_ok());
        let too_long = format!(r#"{{"user":"{}"}}"#, "가".repeat(129));
        for body in [
            too_long.as_str(),
            r#"{"user":""}"#,
            r#"{"user":" "}"#,
            r#"{"user":"a\u0000b"}"#,
            r#"{"user":1}"#,
            r#"{"user":"\ud800"}"#,
            r#"{"user":"a","user":"a"}"#,
        ] {
            assert_eq!(field(asking_user(body.as_bytes())), "user", "{body}");
        }
        assert_eq!(asking_user(b"{").unwrap_err().code, ProblemCode::BadJson);
    }

    #[test]
    fn pages_are_bounded() {
        assert_eq!(page(None).unwrap(), Page { after: 0, limit: 100 });
        assert_eq!(page(Some("after=7&limit=1000")).unwrap(), Page { after: 7, limit: 1_000 });
        for (query, expected) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("after=-1", "after"),
            ("after=", "after"),
        ] {
            assert_eq!(field(page(Some(query))), expected, "{query}");
        }
    }

    #[test]
    fn parameters_are_known_and_there_once() {
        let known = ["after", "limit"];
        for right in [None, Some(""), Some("&"), Some("limit=1"), Some("after=1&limit=1")] {
            assert!(query(right, &known).is_ok(), "{right:?}");
        }
        for (wrong, expected) in [
            ("x=1", "x"),
            ("limit=1&x", "x"),
            ("limit=1&limit=1", "limit"),
            ("after=1&limit=1&after=2", "after"),
        ] {
            assert_eq!(field(query(Some(wrong), &known)), expected, "{wrong}");
        }
        assert_eq!(field(query(Some("limit=1"), &[])), "limit");
    }
}
