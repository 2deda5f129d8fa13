//! Values that are used and never shown: variables of the environment, passwords in URLs, and what
//! the set-up captured.
//!
//! A scenario spells a variable `${NAME}` and is written down as it was spelled.

use std::borrow::Cow;
use std::ops::Range;

/// A secret shorter than this is none, and hiding it would make a message unreadable.
const SHORTEST: usize = 4;
/// What stands in its place.
const HIDDEN: &str = "***";

/// The name of the variable whose name begins here and ends with a brace, and how long that is.
pub fn variable(text: &str) -> Option<(&str, usize)> {
    let end = text.find('}')?;
    let name = &text[..end];
    let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let is_name = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
    (is_name && name.chars().all(fits)).then_some((name, end + 1))
}

/// The value of a variable.
///
/// # Errors
/// When the environment does not have it, or not as text; one line says so.
pub fn value(name: &str) -> Result<String, String> {
    std::env::var(name)
        .map_err(|_| format!("`${{{name}}}`: expected the environment to have this variable"))
}

/// A text with its variables replaced by their values.
///
/// # Errors
/// When the environment lacks one.
pub fn expanded(text: &str) -> Result<Cow<'_, str>, String> {
    expanded_with(text, |_, value| value)
}

/// The same for a URL: what is only a part of it is escaped.
///
/// # Errors
/// When the environment lacks a variable.
pub fn expanded_url(url: &str) -> Result<Cow<'_, str>, String> {
    let plain = url.starts_with("sqlite:");
    expanded_with(url, |at, value| if plain || at == 0 { value } else { escaped(&value) })
}

fn expanded_with(
    text: &str,
    encode: impl Fn(usize, String) -> String,
) -> Result<Cow<'_, str>, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("${") {
        let after = &rest[at + 2..];
        out += &rest[..at];
        match variable(after) {
            Some((name, length)) => {
                out += &encode(text.len() - rest.len() + at, value(name)?);
                rest = &after[length..];
            }
            None => {
                out += "${";
                rest = after;
            }
        }
    }
    Ok(if out.is_empty() { rest.into() } else { Cow::Owned(out + rest) })
}

/// The variables that a text names.
pub fn variables(text: &str) -> Vec<&str> {
    text.split("${").skip(1).filter_map(|rest| Some(variable(rest)?.0)).collect()
}

/// Everything but unreserved characters as `%XX` (RFC 3986).
pub fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out += &format!("%{other:02X}"),
        }
    }
    out
}

/// A message in which none of these values can be read, as it is or as URLs and JSON spell it.
pub fn hidden<'a>(message: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut spellings: Vec<String> = secrets
        .into_iter()
        .filter(|secret| secret.len() >= SHORTEST)
        .flat_map(|s| [s.to_owned(), escaped(s), serde_json::json!(s).to_string()])
        .map(|spelling| spelling.trim_matches('"').to_owned())
        .filter(|spelling| !spelling.is_empty())
        .collect();
    // A secret may contain another one.
    spellings.sort_by_key(|s| std::cmp::Reverse(s.len()));
    spellings.iter().fold(message.to_owned(), |text, secret| text.replace(secret, HIDDEN))
}

/// `redis://user:secret@host` becomes `redis://user:***@host`, and so does `?password=secret`.
pub fn without_password(url: &str) -> String {
    hide(url, |_| false)
}

/// The same as it is written down: a password that is a variable of the environment stays.
pub fn recorded(url: &str) -> String {
    hide(url, is_variable)
}

/// The passwords in a URL, as it spells them.
pub fn passwords(url: &str) -> Vec<&str> {
    let in_login = login(url).and_then(|at| url[at].split_once(':')).map(|(_, password)| password);
    let told = parameters(url).filter_map(|pair| pair.split_once('='));
    in_login.into_iter().chain(told.filter(|(name, _)| tells(name)).map(|(_, word)| word)).collect()
}

/// The URL without its passwords, but for those that may stay.
fn hide(url: &str, may_stay: impl Fn(&str) -> bool) -> String {
    let shown = |word: &str| if may_stay(word) { word.to_owned() } else { HIDDEN.to_owned() };
    let mut out = url.to_owned();
    let query = url.find('?').map(|at| at + 1);
    // The query stands behind the login: what is hidden there moves nothing before it.
    if let Some(at) = query.filter(|at| login(url).is_none_or(|login| login.end < *at)) {
        let kept = |pair: &str| match pair.split_once('=') {
            Some((name, word)) if tells(name) => format!("{name}={}", shown(word)),
            _ => pair.to_owned(),
        };
        let pairs: Vec<String> = parameters(url).map(kept).collect();
        out.replace_range(at.., &pairs.join("&"));
    }
    if let Some((at, (user, word))) =
        login(url).and_then(|at| Some((at.clone(), url[at].split_once(':')?)))
    {
        out.replace_range(at, &format!("{user}:{}", shown(word)));
    }
    out
}

/// Where user and password stand in a URL: before the last @ ahead of path and query, or, as a password
/// may hold a / or a ? that it should not, the last @ at all, unless that belongs to a password in the
/// query.
fn login(url: &str) -> Option<Range<usize>> {
    let from = url.find("://")? + 3;
    let rest = &url[from..];
    let before = |end: Option<usize>| rest[..end.unwrap_or(rest.len())].rfind('@');
    let in_query = parameters(url).any(|pair| pair.split_once('=').is_some_and(|(n, _)| tells(n)));
    let at = before(rest.find(['/', '?']))
        .or_else(|| before(rest.find('?')))
        .or_else(|| before(None).filter(|_| !in_query))?;
    Some(from..from + at)
}

/// The parameters of a URL, `NAME=VALUE`.
fn parameters(url: &str) -> impl Iterator<Item = &str> {
    url.split_once('?').into_iter().flat_map(|(_, query)| query.split('&'))
}

/// Whether a parameter of this name is a password.
fn tells(name: &str) -> bool {
    name.to_ascii_lowercase().contains("pass")
}

/// Whether it is `${NAME}` and nothing else.
fn is_variable(text: &str) -> bool {
    let name = text.strip_prefix("${");
    name.is_some_and(|name| variable(name).is_some_and(|(_, length)| length == name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_kept() {
        for (url, want) in [
            ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
            ("redis://me:sec@ret@h:1/0", "redis://me:***@h:1/0"),
            ("redis://h:1/0", "redis://h:1/0"),
            ("sqlite:a.db", "sqlite:a.db"),
            ("postgres://me:${PW}@h/db", "postgres://me:***@h/db"),
            ("redis+unix:///run/r.sock?db=1&pass=s", "redis+unix:///run/r.sock?db=1&pass=***"),
            ("postgres://h/db?user=me&password=s&x", "postgres://h/db?user=me&password=***&x"),
            (
                "postgres://h:5432/db?user=me&password=p@ss",
                "postgres://h:5432/db?user=me&password=***",
            ),
            ("postgres://me:pw@h/db?x=a@b", "postgres://me:***@h/db?x=a@b"),
            ("postgres://me:pw@h/db?password=a@b", "postgres://me:***@h/db?password=***"),
            ("redis://me:s/e?c@h/0", "redis://me:***@h/0"),
            ("redis://me:s/e@h/0?pass=t", "redis://me:***@h/0?pass=***"),
        ] {
            assert_eq!(without_password(url), want);
        }
    }

    #[test]
    fn what_is_a_variable_is_written_down() {
        for (url, want) in [
            (
                "postgres://me:${PW}@h/db?sslpassword=hush",
                "postgres://me:${PW}@h/db?sslpassword=***",
            ),
            ("postgres://me:hush@h/db?password=${PW}", "postgres://me:***@h/db?password=${PW}"),
            ("redis://:${PW}x@h", "redis://:***@h"),
        ] {
            assert_eq!(recorded(url), want);
        }
    }

    #[test]
    fn every_password_of_a_url_is_found() {
        for (url, want) in [
            ("redis://me:sec@ret@h:1/0", &["sec@ret"][..]),
            ("postgres://a:b@h/db?user=me&password=s&sslpassword=t", &["b", "s", "t"]),
            ("postgres://h:5432/db?user=me&password=p@ss", &["p@ss"]),
            ("postgres://me:pw@h/db?x=a@b", &["pw"]),
            ("postgres://me@h/db?x", &[]),
            ("sqlite:a.db", &[]),
        ] {
            assert_eq!(passwords(url), want, "{url}");
        }
    }

    #[test]
    fn variables_are_filled_in_and_missing_ones_are_named() {
        let path = value("PATH").unwrap();
        assert_eq!(expanded("a ${PATH} ${x} $").unwrap(), format!("a {path} ${{x}} $"));
        assert_eq!(expanded("nothing").unwrap(), "nothing");
        let found = expanded_url("redis://:${PATH}@h").unwrap();
        assert_eq!(found, format!("redis://:{}@h", escaped(&path)));
        assert_eq!(expanded_url("${PATH}/1").unwrap(), format!("{path}/1"));
        let message = expanded("x${NOT_THERE_AT_ALL}").unwrap_err();
        assert_eq!(
            message,
            "`${NOT_THERE_AT_ALL}`: expected the environment to have this variable"
        );
        assert_eq!(variables("${A} {a} ${b} ${_C1}"), ["A", "_C1"]);
    }

    #[test]
    fn secrets_cannot_be_read_however_they_are_spelled() {
        let secrets = ["s\"cret/1", "s\"cret/1 and more", "abc"];
        let message = r#"s"cret/1 s\"cret/1 s%22cret%2F1 s"cret/1 and more abc"#;
        assert_eq!(hidden(message, secrets), "*** *** *** *** abc");
    }
}
