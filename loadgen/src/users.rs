//! The users of a run: made up, or listed in a file, with what the set-up learned of each.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mapping::template;
use crate::scenario::schema::one_of;

/// Where the users of a scenario come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawUserList")]
#[schemars(with = "RawUserList")]
pub struct UserList {
    /// A file, or only a number.
    #[serde(flatten)]
    pub origin: Listing,
    /// Whether users may ask again once all have asked.
    pub reuse: bool,
    /// The users, once the file has been read.
    #[serde(skip)]
    users: Arc<Users>,
}

/// Where users come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listing {
    /// A CSV file with a header line; one column is `user`.
    File(PathBuf),
    /// So many are made up.
    Count(u64),
}

/// `users` as the file spells it: exactly one of the two origins.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = one_of(&["file", "count"])))]
struct RawUserList {
    /// A CSV file with a header line, its path counted from the scenario's folder; one column is
    /// `user`.
    file: Option<PathBuf>,
    /// So many made-up users; instead of `file`.
    #[schemars(range(min = 1, max = MOST))]
    count: Option<u64>,
    /// Whether users ask again once all have asked.
    #[serde(default)]
    reuse: bool,
}

/// More users than this are not kept in memory.
const MOST: u64 = 10_000_000;
/// Longest name of a user or a campaign, in bytes: each request's record has both.
const LONGEST_NAME: usize = 1_000;

/// Whether a name fits into the records of the history.
///
/// # Errors
/// When it is too long.
pub(crate) fn fitting_name(name: &str) -> Result<(), String> {
    let length = name.len();
    if length <= LONGEST_NAME {
        return Ok(());
    }
    Err(format!("found a name of {length} bytes, expected at most 1,000"))
}

impl TryFrom<RawUserList> for UserList {
    type Error = String;

    fn try_from(raw: RawUserList) -> Result<Self, String> {
        let origin = match (raw.file, raw.count) {
            (Some(file), None) => Listing::File(file),
            (None, Some(count)) if (1..=MOST).contains(&count) => Listing::Count(count),
            (None, Some(count)) => {
                return Err(format!("count: found {count}, expected 1 to 10,000,000"));
            }
            _ => return Err("expected one of `file` and `count`".into()),
        };
        let users = match origin {
            Listing::Count(count) => Users { count: Some(count), ..Users::default() },
            Listing::File(_) => Users::default(),
        };
        Ok(Self { origin, reuse: raw.reuse, users: Arc::new(Users { reuse: raw.reuse, ..users }) })
    }
}

/// Why the users' file cannot be used.
#[derive(Debug)]
pub enum Unread {
    /// It cannot be read at all.
    File(String),
    /// It says something it must not.
    Line {
        /// The file and the line.
        place: String,
        /// What is wrong and what was expected.
        what: String,
    },
}

impl UserList {
    /// Reads the file, if there is one; its path counts from the folder `dir`.
    ///
    /// # Errors
    /// When it cannot be read, or says something it must not.
    pub fn read(&mut self, dir: &Path) -> Result<(), Unread> {
        if let Listing::File(file) = &self.origin {
            let users = Users::read(&dir.join(file))?;
            self.users = Arc::new(Users { reuse: self.reuse, ..users });
        }
        Ok(())
    }

    /// The users.
    pub fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users)
    }
}

/// The users of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// How many there are; absent where there are as many as it takes.
    count: Option<u64>,
    reuse: bool,
    /// Their names; empty where they are made up.
    names: Vec<String>,
    /// What is known of each besides.
    columns: Vec<String>,
    /// For each user, one value for each column; empty where there are no columns.
    rows: Vec<Vec<String>>,
}

/// There are more buyers than users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there are {buyers} buyers and {users} users: expected a user for each buyer, or users.reuse: \
     true to let them ask again"
)]
pub struct TooFew {
    buyers: u64,
    users: u64,
}

/// One user, and what is known of them.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    users: &'a Users,
    seat: u64,
}

impl Users {
    /// Reads a CSV file.
    fn read(path: &Path) -> Result<Self, Unread> {
        let unread = |what| Unread::File(format!("{}: {what}", path.display()));
        let on_line =
            |line: u64, what| Unread::Line { place: format!("{}:{line}", path.display()), what };
        let wrong = |error: csv::Error| {
            let line = error.position().map(csv::Position::line);
            let what = match error.into_kind() {
                csv::ErrorKind::Io(error) => error.to_string(),
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    format!("found {len} values, expected {expected_len}, as the first line has")
                }
                csv::ErrorKind::Utf8 { .. } => "expected UTF-8".into(),
                csv::ErrorKind::Seek
                | csv::ErrorKind::Serialize(_)
                | csv::ErrorKind::Deserialize { .. }
                | _ => "expected comma-separated values".into(),
            };
            match line {
                Some(line) => on_line(line, what),
                None => unread(what),
            }
        };
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_path(path);
        let reader = reader.as_mut().map_err(|e| unread(e.to_string()))?;
        let header = reader.headers().map_err(wrong)?.clone();
        let name_at = name_column(&header).map_err(|what| on_line(1, what))?;
        let mut listed = Listed::default();
        for record in reader.records() {
            let record = record.map_err(wrong)?;
            let line = record.position().map_or(0, csv::Position::line);
            listed.add(&record, name_at).map_err(|what| on_line(line, what))?;
        }
        listed.users(&header, name_at).map_err(|what| on_line(1, what))
    }

    /// Whether there are users for so many buyers.
    ///
    /// # Errors
    /// When there are fewer, and they may not ask again.
    pub fn enough_for(&self, buyers: u64) -> Result<(), TooFew> {
        match self.count {
            Some(users) if buyers > users && !self.reuse => Err(TooFew { buyers, users }),
            _ => Ok(()),
        }
    }

    /// How many there are; `None` where there are as many as it takes.
    pub fn count(&self) -> Option<u64> {
        self.count
    }

    /// What templates may name besides the user.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The user of arrival `index`. Nothing is copied.
    pub fn row(&self, index: u64) -> Row<'_> {
        let seat = self.count.map_or(index, |count| index % count.max(1));
        Row { users: self, seat }
    }

    /// The same users with what was learned of each, in their order. A value that is called `user`
    /// is what they are called from then on.
    ///
    /// # Errors
    /// When two users would be called the same.
    pub(crate) fn learn(&self, found: &[BTreeMap<String, String>]) -> Result<Self, String> {
        let mut learned = self.clone();
        let Some(first) = found.first() else { return Ok(learned) };
        learned.rows.resize(found.len(), Vec::new());
        for name in first.keys() {
            let values = found.iter().map(|f| f.get(name).cloned().unwrap_or_default());
            match learned.columns.iter().position(|c| c == name) {
                _ if name == "user" => learned.names = values.collect(),
                Some(at) => learned.rows.iter_mut().zip(values).for_each(|(r, v)| r[at] = v),
                None => {
                    learned.columns.push(name.clone());
                    learned.rows.iter_mut().zip(values).for_each(|(r, v)| r.push(v));
                }
            }
        }
        let mut seen = HashMap::new();
        for (name, number) in learned.names.iter().zip(1_u64..) {
            if let Some(other) = seen.insert(name, number) {
                return Err(format!(
                    "users {other} and {number} were both given the name {name:?}"
                ));
            }
        }
        Ok(learned)
    }
}

/// Where the column `user` is; every column must be a name that is free.
fn name_column(header: &csv::StringRecord) -> Result<usize, String> {
    let mut found = None;
    for (at, column) in header.iter().enumerate() {
        if !template::is_name(column) {
            return Err(format!("column {column:?}: expected a name of a-z, 0-9 and _"));
        }
        if header.iter().take(at).any(|c| c == column) {
            return Err(format!("column `{column}` stands here a second time"));
        }
        match column {
            "user" => found = Some(at),
            name if template::is_reserved(name) => {
                return Err(format!("column `{name}`: this name has a meaning already"));
            }
            _ => {}
        }
    }
    found.ok_or_else(|| "expected a column `user`".into())
}

/// What was read so far.
#[derive(Default)]
struct Listed {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
    lines: HashMap<String, u64>,
}

impl Listed {
    fn add(&mut self, record: &csv::StringRecord, name_at: usize) -> Result<(), String> {
        let name = record.get(name_at).unwrap_or_default();
        if name.is_empty() {
            return Err("found no user".into());
        }
        fitting_name(name)?;
        let line = record.position().map_or(0, csv::Position::line);
        if let Some(other) = self.lines.insert(name.to_owned(), line) {
            return Err(format!("user {name:?} stands on line {other} already"));
        }
        self.names.push(name.to_owned());
        if record.len() > 1 {
            self.rows.push(others(record, name_at));
        }
        Ok(())
    }

    fn users(self, header: &csv::StringRecord, name_at: usize) -> Result<Users, String> {
        if self.names.is_empty() {
            return Err("expected a line for each user below this one".into());
        }
        Ok(Users {
            count: Some(self.names.len() as u64),
            reuse: false,
            names: self.names,
            columns: others(header, name_at),
            rows: self.rows,
        })
    }
}

/// All fields but one.
fn others(record: &csv::StringRecord, but: usize) -> Vec<String> {
    record.iter().enumerate().filter(|(at, _)| *at != but).map(|(_, v)| v.to_owned()).collect()
}

/// The name of a user who has none.
fn made_up(number: u64) -> String {
    // As long as nearly all of them are: one allocation for each request.
    let mut name = String::with_capacity(8);
    // Writing to a text cannot fail.
    let _ = write!(name, "u{number:07}");
    name
}

impl<'a> Row<'a> {
    /// What the user is called.
    pub fn user(&self) -> Cow<'a, str> {
        match self.at().and_then(|at| self.users.names.get(at)) {
            Some(name) => name.as_str().into(),
            None => made_up(self.number()).into(),
        }
    }

    /// The number of the user, from 1.
    pub fn number(&self) -> u64 {
        self.seat + 1
    }

    /// What is known of the user under this name.
    pub fn column(&self, name: &str) -> Option<&'a str> {
        let column = self.users.columns.iter().position(|c| c == name)?;
        Some(self.users.rows.get(self.at()?)?.get(column)?.as_str())
    }

    /// All that is known of the user besides the name: for what anybody can tell, secrets.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let row = self.at().and_then(|at| self.users.rows.get(at));
        row.into_iter().flatten().map(String::as_str)
    }

    /// The value of a name that belongs to the user.
    pub fn named(&self, name: &str) -> Option<Cow<'a, str>> {
        match name {
            "user" => Some(self.user()),
            "user_n" => Some(self.number().to_string().into()),
            other => self.column(other).map(Into::into),
        }
    }

    fn at(&self) -> Option<usize> {
        usize::try_from(self.seat).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Users, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("users.csv"), text).unwrap();
        let mut list: UserList = serde_saphyr::from_str("{file: users.csv}").unwrap();
        let read = list.read(dir.path());
        let name = |place: String| place.rsplit('/').next().unwrap_or_default().to_owned();
        read.map_err(|unread| match unread {
            Unread::File(what) => what,
            Unread::Line { place, what } => format!("{}: {what}", name(place)),
        })?;
        Ok((*list.users()).clone())
    }

    fn counted(yaml: &str) -> Arc<Users> {
        serde_saphyr::from_str::<UserList>(yaml).unwrap().users()
    }

    #[test]
    fn made_up_users_are_unique_and_never_run_out() {
        let users = Users::default();
        assert_eq!(
            (users.row(0).user(), users.row(1_999).user()),
            ("u0000001".into(), "u0002000".into())
        );
        assert_eq!(users.enough_for(u64::MAX), Ok(()));
        assert_eq!(users.row(7).named("user_n").as_deref(), Some("8"));
        assert_eq!(users.row(7).named("token"), None);
    }

    #[test]
    fn users_are_enough_or_ask_again() {
        let users = counted("{count: 2}");
        assert_eq!(users.enough_for(2), Ok(()));
        let message = users.enough_for(3).unwrap_err().to_string();
        assert!(message.starts_with("there are 3 buyers and 2 users"), "{message}");
        let users = counted("{count: 2, reuse: true}");
        assert_eq!(users.enough_for(3), Ok(()));
        assert_eq!((users.row(2).user(), users.row(3).number()), ("u0000001".into(), 2));
    }

    #[test]
    fn a_file_has_users_and_what_belongs_to_them() {
        let users =
            file("token,user,e_mail\n\"a,\"\"b\"\"\",o'br\\,x@y\r\nt2,\"new\nline\",\n").unwrap();
        assert_eq!(users.columns(), ["token", "e_mail"]);
        let row = users.row(0);
        assert_eq!((row.user(), row.column("token")), ("o'br\\".into(), Some("a,\"b\"")));
        let row = users.row(1);
        assert_eq!((row.user(), row.column("e_mail")), ("new\nline".into(), Some("")));
        assert_eq!((row.column("user"), users.count()), (None, Some(2)));
        assert_eq!(file("user\na\nb\n").unwrap().row(1).user(), "b");
    }

    #[test]
    fn what_is_wrong_with_a_file_has_its_line() {
        let long = format!("user\n{}\n", "u".repeat(1_001));
        for (text, want) in [
            ("", "users.csv:1: expected a column `user`"),
            ("nome\na\n", "users.csv:1: expected a column `user`"),
            ("user\n", "users.csv:1: expected a line for each user"),
            ("user,User\n", "users.csv:1: column \"User\": expected a name of a-z"),
            ("user,a,a\n", "users.csv:1: column `a` stands here a second time"),
            ("user,key\n", "users.csv:1: column `key`: this name has a meaning already"),
            ("user\na\nb\na\n", "users.csv:4: user \"a\" stands on line 2 already"),
            ("user,b\na,\n,b\n", "users.csv:3: found no user"),
            (&long, "users.csv:2: found a name of 1001 bytes, expected at most 1,000"),
            ("user,b\na,1\nb\n", "users.csv:3: found 1 values, expected 2"),
        ] {
            let message = file(text).unwrap_err();
            assert!(message.starts_with(want), "\n  {message}\nlacks\n  {want}");
        }
        let mut list: UserList = serde_saphyr::from_str("{file: nowhere.csv}").unwrap();
        let Unread::File(what) = list.read(Path::new("/x")).unwrap_err() else { panic!("unread") };
        assert!(what.starts_with("/x/nowhere.csv: No such file"), "{what}");
    }

    #[test]
    fn a_list_is_written_down_as_it_is_spelled() {
        for yaml in ["{file: a.csv, reuse: true}", "{count: 3}"] {
            let list: UserList = serde_saphyr::from_str(yaml).unwrap();
            let json = serde_json::to_string(&list).unwrap();
            assert_eq!(serde_json::from_str::<UserList>(&json).unwrap(), list, "{json}");
        }
    }

    #[test]
    fn users_are_listed_or_counted() {
        for (yaml, want) in [
            ("{}", "expected one of `file` and `count`"),
            ("{file: a, count: 1}", "expected one of `file` and `count`"),
            ("{count: 0}", "found 0, expected 1 to"),
            ("{cuont: 0}", "cuont"),
        ] {
            let message = serde_saphyr::from_str::<UserList>(yaml).unwrap_err().to_string();
            assert!(message.contains(want), "{yaml}: {message}");
        }
    }

    #[test]
    fn what_is_learned_of_users_is_added_and_replaces() {
        let found = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let users = file("user,token\na,old1\nb,old2\n").unwrap();
        let users = users
            .learn(&[
                found(&[("token", "t1"), ("id", "1")]),
                found(&[("token", "t2"), ("id", "2")]),
            ])
            .unwrap();
        assert_eq!(users.columns(), ["token", "id"]);
        let row = users.row(1);
        assert_eq!(
            (row.user(), row.column("token"), row.column("id")),
            ("b".into(), Some("t2"), Some("2"))
        );
        let named = users.learn(&[found(&[("user", "x")]), found(&[("user", "y")])]).unwrap();
        assert_eq!(named.row(1).user(), "y");
        let message = users.learn(&[found(&[("user", "x")]), found(&[("user", "x")])]).unwrap_err();
        assert_eq!(message, "users 1 and 2 were both given the name \"x\"");
    }
}
