//! SQL with holes, and how values get into it without getting out of their place.
//!
//! There is one way: a hole stands alone, and becomes a whole literal. `{name}` becomes a quoted
//! text, which every column takes whose type such a text can be read as, numbers and times too;
//! `{coupons:int}` becomes a bare number; a name without a value becomes NULL. A hole inside quotes,
//! inside a comment or as a part of a word is refused, for there a value could mean something else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::store_url::{self, Kind};
use super::template::{How, Part, Template, Values};
use crate::secrets;

/// Statements for one database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// Which database.
    pub url: SqlUrl,
    /// One statement, or several in order.
    pub run: Statements,
}

impl Sql {
    /// Looks at each statement; a complaint gets the statement's place in front.
    pub(super) fn each(
        &self,
        look: impl Fn(&Template) -> Result<(), String>,
    ) -> Result<(), String> {
        match &self.run {
            Statements::One(one) => look(one).map_err(|what| format!("sql.run: {what}")),
            Statements::Several(all) => all.iter().enumerate().try_for_each(|(at, statement)| {
                look(statement).map_err(|what| format!("sql.run[{at}]: {what}"))
            }),
        }
    }
}

/// One statement, or several in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a statement, or a list of them")]
pub enum Statements {
    /// One.
    One(Template),
    /// Several.
    Several(Vec<Template>),
}

impl Statements {
    /// All of them.
    pub fn as_slice(&self) -> &[Template] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(all) => all,
        }
    }
}

/// URL of a database: `postgres://`, `mysql://`, `mariadb://` or `sqlite:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "Template", extend("pattern" = r"^((postgres|postgresql|mysql|mariadb|sqlite):|\{|\$\{)"))]
pub struct SqlUrl(pub Template);

impl TryFrom<String> for SqlUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        KIND.parse(text).map(Self)
    }
}

impl From<SqlUrl> for String {
    fn from(url: SqlUrl) -> Self {
        store_url::shown(url.0)
    }
}

/// What a database's URL looks like.
pub(crate) const EXPECTED: &str = "postgres://…, mysql://…, mariadb://… or sqlite:PATH";

/// Which URLs are those of SQL databases.
pub(super) const KIND: Kind = Kind { fits: |url| Dialect::of(url).is_some(), expected: EXPECTED };

/// Whose SQL it is: they differ in what ends a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// The dialect of the database at this URL.
    pub fn of(url: &str) -> Option<Self> {
        Some(match url.split_once(':')?.0 {
            "postgres" | "postgresql" => Self::Postgres,
            "mysql" | "mariadb" => Self::MySql,
            "sqlite" => Self::Sqlite,
            _ => return None,
        })
    }

    /// The value as a text literal.
    ///
    /// It is right whatever the server's settings are: where there is a backslash, which some
    /// settings take for an escape, the literal is of a kind that they do not reach.
    fn text(self, value: &str) -> Result<String, String> {
        if value.contains('\0') {
            return Err(format!("{value:?}: no database takes a text with a zero byte"));
        }
        let doubled = value.replace('\'', "''");
        let slashed = value.contains('\\');
        Ok(match self {
            Self::Postgres if slashed => format!("E'{}'", doubled.replace('\\', "\\\\")),
            Self::MySql if slashed => {
                let hex: String = value.bytes().map(|b| format!("{b:02x}")).collect();
                format!("_utf8mb4 0x{hex}")
            }
            Self::Postgres | Self::MySql | Self::Sqlite => format!("'{doubled}'"),
        })
    }
}

/// The statement with literals in its holes.
///
/// # Errors
/// When a hole does not stand alone, or a value does not fit into it.
pub(crate) fn fill(
    statement: &Template,
    dialect: Dialect,
    values: &impl Values,
) -> Result<String, String> {
    check_holes(statement, dialect)?;
    let mut out = String::new();
    for part in statement.parts() {
        match part {
            Part::Text(text) => out += text,
            Part::Name { name, how } => {
                let value = values.value(name);
                out += &match (value, how) {
                    (None, _) => "NULL".into(),
                    (Some(value), How::Number) => number(name, &value)?,
                    (Some(value), How::Text | How::Raw) => dialect.text(&value)?,
                };
            }
            Part::Variable(name) => out += &dialect.text(&secrets::value(name)?)?,
        }
    }
    Ok(out)
}

fn number(name: &str, value: &str) -> Result<String, String> {
    let number = value.parse::<i64>().map_err(|_| {
        format!("`{{{name}:int}}`: expected the value of `{name}` to be a whole number")
    })?;
    // Behind a minus sign, another one would begin a comment.
    Ok(if number < 0 { format!("({number})") } else { number.to_string() })
}

/// Whether each hole stands alone.
///
/// # Errors
/// When one does not; the message says which and what to write.
pub(crate) fn check_holes(statement: &Template, dialect: Dialect) -> Result<(), String> {
    let mut lexer = Lexer { dialect, inside: Inside::Nothing };
    let parts = statement.parts();
    for (at, part) in parts.iter().enumerate() {
        let hole = match part {
            Part::Text(text) => {
                lexer.read(text);
                continue;
            }
            Part::Name { name, how: How::Raw } => {
                return Err(format!("`{{{name}:raw}}`: expected `{{{name}}}` in SQL"));
            }
            Part::Name { name, how: How::Text | How::Number } => format!("{{{name}}}"),
            Part::Variable(name) => format!("${{{name}}}"),
        };
        if let Some(place) = lexer.inside.words() {
            return Err(format!(
                "`{hole}` stands inside {place}: expected it alone, it becomes a quoted text by \
                 itself"
            ));
        }
        let before = at.checked_sub(1).and_then(|b| parts.get(b));
        if before.is_some_and(|p| touches(p, false))
            || parts.get(at + 1).is_some_and(|p| touches(p, true))
        {
            return Err(format!(
                "`{hole}` touches what stands beside it: expected it alone, it becomes a quoted \
                 text by itself"
            ));
        }
    }
    Ok(())
}

/// Whether the near end of a part would run into a literal.
fn touches(part: &Part, beginning: bool) -> bool {
    let Part::Text(text) = part else { return true };
    let near = if beginning { text.chars().next() } else { text.chars().next_back() };
    near.is_some_and(|c| c.is_alphanumeric() || "_'\"`&$@\\".contains(c))
}

/// Reads SQL as far as it takes to know what is inside quotes or comments.
struct Lexer {
    dialect: Dialect,
    inside: Inside,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Inside {
    Nothing,
    /// Until this character; `true` where a backslash escapes the next one.
    Quotes(char, bool),
    Line,
    /// So many comments deep.
    Block(u32),
    /// PostgreSQL's `$tag$ … $tag$`.
    Dollars(String),
}

impl Inside {
    fn words(&self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Quotes(..) | Self::Dollars(_) => Some("quotes"),
            Self::Line | Self::Block(_) => Some("a comment"),
        }
    }
}

impl Lexer {
    fn read(&mut self, text: &str) {
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let length = match &self.inside {
                Inside::Nothing => self.open(&text[..text.len() - rest.len()], rest),
                Inside::Quotes(end, slashes) => match (next, *slashes) {
                    ('\\', true) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                    (c, _) if c == *end => self.leave(c.len_utf8()),
                    (c, _) => c.len_utf8(),
                },
                Inside::Line if next == '\n' => self.leave(1),
                Inside::Line => next.len_utf8(),
                Inside::Block(depth) => self.in_block(rest, *depth),
                Inside::Dollars(tag) if rest.starts_with(tag.as_str()) => {
                    let length = tag.len();
                    self.leave(length)
                }
                Inside::Dollars(_) => next.len_utf8(),
            };
            rest = &rest[length..];
        }
    }

    fn leave(&mut self, length: usize) -> usize {
        self.inside = Inside::Nothing;
        length
    }

    fn enter(&mut self, inside: Inside, length: usize) -> usize {
        self.inside = inside;
        length
    }

    /// Outside of everything: what begins here, behind `before`, and how long its mark is.
    fn open(&mut self, before: &str, rest: &str) -> usize {
        let (mysql, postgres) = (self.dialect == Dialect::MySql, self.dialect == Dialect::Postgres);
        let next = rest.chars().next().unwrap_or(' ');
        match next {
            '\'' => self.enter(Inside::Quotes('\'', mysql || (postgres && ends_in_e(before))), 1),
            '"' => self.enter(Inside::Quotes('"', mysql), 1),
            '`' if !postgres => self.enter(Inside::Quotes('`', false), 1),
            '[' if self.dialect == Dialect::Sqlite => self.enter(Inside::Quotes(']', false), 1),
            '#' if mysql => self.enter(Inside::Line, 1),
            '-' if rest.starts_with("--") && (!mysql || is_apart(&rest[2..])) => {
                self.enter(Inside::Line, 2)
            }
            '/' if rest.starts_with("/*") => self.enter(Inside::Block(1), 2),
            '$' if postgres && !before.ends_with(in_word) => match dollar_tag(rest) {
                Some(tag) => self.enter(Inside::Dollars(tag.to_owned()), tag.len()),
                None => 1,
            },
            other => other.len_utf8(),
        }
    }

    /// Inside a comment. PostgreSQL's have comments inside them.
    fn in_block(&mut self, rest: &str, depth: u32) -> usize {
        if rest.starts_with("*/") {
            let deeper = Inside::Block(depth.saturating_sub(1));
            return self.enter(if depth > 1 { deeper } else { Inside::Nothing }, 2);
        }
        if rest.starts_with("/*") && self.dialect == Dialect::Postgres {
            return self.enter(Inside::Block(depth + 1), 2);
        }
        rest.chars().next().map_or(0, char::len_utf8)
    }
}

/// Whether a word ends here that is nothing but the mark of a text with escapes: `E'…'`, and not
/// `LIKE'…'`.
fn ends_in_e(before: &str) -> bool {
    before.strip_suffix(['e', 'E']).is_some_and(|word| !word.ends_with(in_word))
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || "_$".contains(c)
}

/// MySQL takes two dashes for a comment only where this follows them: otherwise they are signs.
fn is_apart(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_whitespace() || c.is_control())
}

/// `$$` or `$tag$`, where one begins here.
fn dollar_tag(rest: &str) -> Option<&str> {
    let end = rest[1..].find('$')? + 1;
    let tag = &rest[1..end];
    let fits = |c: char| c.is_alphanumeric() || c == '_';
    (tag.chars().all(fits) && !tag.starts_with(|c: char| c.is_ascii_digit())).then(|| &rest[..=end])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const HOSTILE: &str = r"o'br\'; DROP TABLE x; --";
    const ALL: [Dialect; 3] = [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite];

    fn filled(statement: &str, dialect: Dialect) -> Result<String, String> {
        let pairs = [("user", HOSTILE), ("plain", "o'k"), ("n", "7"), ("minus", "-7")];
        let values: BTreeMap<String, String> =
            pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        fill(&Template::of(statement), dialect, &values)
    }

    #[test]
    fn values_become_whole_literals() {
        for (dialect, want) in [
            (Dialect::Postgres, r"(E'o''br\\''; DROP TABLE x; --', 'o''k', '7', 7, NULL)"),
            (
                Dialect::MySql,
                "(_utf8mb4 0x6f2762725c273b2044524f50205441424c4520783b202d2d, 'o''k', '7', 7, NULL)",
            ),
            (Dialect::Sqlite, r"('o''br\''; DROP TABLE x; --', 'o''k', '7', 7, NULL)"),
        ] {
            let found = filled("({user}, {plain}, {n}, {n:int}, {nothing})", dialect);
            assert_eq!(found.as_deref(), Ok(want), "{dialect:?}");
        }
    }

    #[test]
    fn a_number_is_a_number_or_an_error() {
        let message = filled("SELECT {plain:int}", Dialect::Sqlite).unwrap_err();
        assert!(message.contains("`plain` to be a whole number"), "{message}");
        assert_eq!(filled("SELECT 1 -{minus:int}", Dialect::MySql).unwrap(), "SELECT 1 -(-7)");
    }

    #[test]
    fn a_hole_stands_alone() {
        for (statement, place) in [
            ("SELECT '{user}'", "inside quotes"),
            ("SELECT 'it''s {user}'", "inside quotes"),
            ("SELECT \"{user}\"", "inside quotes"),
            ("SELECT 1 -- {user}", "inside a comment"),
            ("SELECT 1 /* {user} */", "inside a comment"),
            ("SELECT * FROM t_{user}", "touches"),
            ("SELECT * FROM {user}t", "touches"),
            ("SELECT {user}{n}", "touches"),
            ("SELECT {user}'x'", "touches"),
            ("SELECT {user:raw}", "expected `{user}` in SQL"),
        ] {
            for dialect in ALL {
                let message = filled(statement, dialect).unwrap_err();
                assert!(message.contains(place), "{dialect:?} {statement}: {message}");
            }
        }
    }

    #[test]
    fn quotes_and_comments_end_where_the_database_ends_them() {
        for (dialect, statement, fits) in [
            (Dialect::Postgres, r"SELECT 'a\', {n}", true),
            (Dialect::Postgres, r"SELECT E'a\'', {n}", true),
            (Dialect::Postgres, r"SELECT E'a\', {n}", false),
            (Dialect::Postgres, r"SELECT a LIKE'\', {n}", true),
            (Dialect::Postgres, r"SELECT a LIKE E'\', {n}'", false),
            (Dialect::Postgres, r"SELECT (E'\', {n}'", false),
            (Dialect::Postgres, "SELECT $$ {n} $$", false),
            (Dialect::Postgres, "SELECT $a$ $$ ' $a$, {n}", true),
            (Dialect::Postgres, "SELECT /* /* */ ' */ {n}", true),
            (Dialect::Postgres, "SELECT a -> '#' , {n}", true),
            (Dialect::MySql, r"SELECT 'a\', {n}", false),
            (Dialect::MySql, r"SELECT 'a\'', {n}", true),
            (Dialect::MySql, "SELECT 1 # {n}", false),
            (Dialect::MySql, "SELECT 1 # it's\n, {n}", true),
            (Dialect::MySql, "SELECT `a'b`, {n}", true),
            (Dialect::MySql, "SELECT 1 --'\n, {n}", false),
            (Dialect::MySql, "SELECT 1 --{n}", true),
            (Dialect::MySql, "SELECT 1 -- '\n, {n}", true),
            (Dialect::MySql, "SELECT 1 --\t{n}", false),
            (Dialect::Sqlite, "SELECT 1 --'\n, {n}", true),
            (Dialect::Sqlite, r"SELECT 'a\', {n}", true),
            (Dialect::Sqlite, "SELECT [a'b], {n}", true),
            (Dialect::Sqlite, "SELECT 1 -- it's\n, {n}", true),
        ] {
            let found = filled(statement, dialect);
            assert_eq!(found.is_ok(), fits, "{dialect:?} {statement}: {found:?}");
        }
    }

    #[test]
    fn a_url_says_whose_sql_it_is_and_hides_its_password() {
        for text in
            ["postgres://h/d", "mysql://h/d", "mariadb://h/d", "sqlite:a", "{store}", "${U}"]
        {
            assert!(SqlUrl::try_from(text.to_owned()).is_ok(), "{text}");
        }
        let message = SqlUrl::try_from("oracle://me:hush@h".to_owned()).unwrap_err();
        assert!(message.contains("postgres://") && !message.contains("hush"), "{message}");
        let url = SqlUrl::try_from("postgres://me:hush@h/d".to_owned()).unwrap();
        assert_eq!(String::from(url), "postgres://me:***@h/d");
    }

    proptest::proptest! {
        /// However a value looks, undoing the quoting gives it back, and nothing is left over.
        #[test]
        fn no_value_gets_out(value in "[^\0]*") {
            let body = |literal: &str| literal[1..literal.len() - 1].to_owned();
            let sqlite = Dialect::Sqlite.text(&value).unwrap();
            proptest::prop_assert_eq!(body(&sqlite).replace("''", "'"), &*value);
            proptest::prop_assert!(!body(&sqlite).replace("''", "").contains('\''));
            let postgres = Dialect::Postgres.text(&value).unwrap();
            let (slashed, inner) = match postgres.strip_prefix('E') {
                Some(rest) => (true, body(rest)),
                None => (false, body(&postgres)),
            };
            let undone = inner.replace("''", "'");
            let undone = if slashed { undone.replace(r"\\", r"\") } else { undone };
            proptest::prop_assert_eq!(undone, &*value);
            let mysql = Dialect::MySql.text(&value).unwrap();
            proptest::prop_assert!(!mysql.contains('\\'));
        }
    }
}
