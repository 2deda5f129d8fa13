//! Anybody's tables, read by the queries that the mapping brings, in a read-only transaction.
//!
//! The trick is to put the query into another one, `SELECT … FROM (query) AS q`: that turns whatever
//! types the columns have into text where the database knows how, counts rows without reading them,
//! and leaves no room for a second statement or one that writes. The campaign is a bound parameter.

mod look;

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use contract::store::{Cell, Column, Query, Reading, Scheme};
use futures_util::{Stream, TryStreamExt as _};
use rusqlite::types::ValueRef;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions, Either, Executor as _, SqlSafeStr as _,
    Statement as _, TypeInfo as _,
};
use tokio::runtime::Runtime;

use super::EachRow;
use super::postgres::bound;
use super::row::number;
use crate::source::sqlite::Sqlite;

/// How long a database may take to let somebody in.
const CONNECTS_WITHIN: Duration = Duration::from_secs(10);
/// How long a database may take for one query.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open database.
#[derive(Debug)]
pub struct Sql {
    database: Database,
    runtime: Runtime,
}

#[derive(Debug)]
enum Database {
    Postgres(PgConnection),
    MySql(MySqlConnection),
    Sqlite(Sqlite),
}

/// A query that was looked at, for one campaign.
struct Prepared<'a> {
    query: &'a Query,
    campaign: &'a str,
    columns: Vec<String>,
    /// What PostgreSQL takes the parameters for; elsewhere they are texts.
    parameters: Vec<String>,
}

/// One row of an answer, as texts.
type Texts = Vec<Option<String>>;
/// Takes one row after the other; one that is no text is told as such.
type Each<'a> = &'a mut dyn FnMut(Result<Texts, String>) -> Result<()>;

impl Sql {
    /// Connects. `path` is where a SQLite file lies.
    ///
    /// # Errors
    /// When nobody answers there.
    pub fn open(url: &str, scheme: Scheme, path: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let database = match scheme {
            Scheme::Postgres => Database::Postgres(connected::<PgConnectOptions>(&runtime, url)?),
            Scheme::MySql => {
                let opened = connected::<MySqlConnectOptions>(&runtime, url);
                Database::MySql(opened.map_err(|why| in_the_clear(why, url))?)
            }
            Scheme::Sqlite => Database::Sqlite(Sqlite::open(path)?),
            Scheme::Redis | Scheme::Http => bail!("expected the URL of an SQL database"),
        };
        Ok(Self { database, runtime })
    }

    /// Begins to read: until [`Self::end`] everything is of one moment.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn begin(&mut self) -> Result<()> {
        match &self.database {
            Database::Postgres(_) => {
                self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            }
            Database::MySql(_) => {
                self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
                self.execute("START TRANSACTION READ ONLY, WITH CONSISTENT SNAPSHOT")
            }
            Database::Sqlite(_) => self.execute("BEGIN"),
        }
    }

    /// Ends what [`Self::begin`] began.
    ///
    /// # Errors
    /// When the database is gone.
    pub fn end(&mut self) -> Result<()> {
        self.execute("ROLLBACK")
    }

    fn execute(&mut self, statement: &'static str) -> Result<()> {
        let Self { database, runtime } = self;
        let failed = |e: sqlx::Error| anyhow!("{statement}: {}", reason(&e));
        match database {
            Database::Postgres(c) => {
                runtime.block_on(sqlx::raw_sql(statement).execute(c)).map_err(failed)?;
            }
            Database::MySql(c) => {
                runtime.block_on(sqlx::raw_sql(statement).execute(c)).map_err(failed)?;
            }
            Database::Sqlite(store) => store.connection.execute_batch(statement)?,
        }
        Ok(())
    }

    /// The first value of the first row, as a number; `None` where it is NULL or there is no row.
    ///
    /// # Errors
    /// When the query fails, or the value is no number.
    pub fn number(&mut self, query: &Query, campaign: &str) -> Result<Option<i64>> {
        let prepared = self.prepare(query, campaign)?;
        let first = prepared.columns.first().context("the query has no column")?.clone();
        let mut found = None;
        self.select(&prepared, &[first], &mut |row| {
            found.get_or_insert(row);
            Ok(())
        })?;
        let row = found.transpose().map_err(|why| anyhow!(why))?;
        let value = row.and_then(|row| row.into_iter().next().flatten());
        value.map(|text| number(&text, None)).transpose()
    }

    /// How many rows the query finds.
    ///
    /// # Errors
    /// When it fails.
    pub fn count(&mut self, query: &Query, campaign: &str) -> Result<i64> {
        let prepared = self.prepare(query, campaign)?;
        let mut count = None;
        let counted = match &self.database {
            Database::Postgres(_) => "count(*)::text",
            Database::MySql(_) => "CAST(count(*) AS CHAR)",
            Database::Sqlite(_) => "count(*)",
        };
        self.run(counted, &prepared, &mut |row| {
            count = row.ok().and_then(|row| row.into_iter().next().flatten());
            Ok(())
        })?;
        number(&count.context("the database does not count")?, None)
    }

    /// Every row of a ledger. Says which columns they tell.
    ///
    /// # Errors
    /// When the query fails, or its columns are not those of the mapping.
    pub fn rows(
        &mut self,
        reading: &Reading,
        query: &Query,
        campaign: &str,
        each: EachRow<'_>,
    ) -> Result<Vec<Column>> {
        let prepared = self.prepare(query, campaign)?;
        let wanted = wanted(reading, &prepared.columns)?;
        let names: Vec<String> = wanted.iter().map(|(_, name)| name.clone()).collect();
        let columns: Vec<Column> = wanted.iter().map(|(column, _)| *column).collect();
        self.select(&prepared, &names, &mut |row| {
            let row = row.map(|row| {
                let told = columns.iter().copied().zip(row);
                let told = told.filter_map(|(column, text)| Some((column, text?)));
                told.filter(|(_, text)| !text.is_empty()).collect()
            });
            each(&columns, row);
            Ok(())
        })?;
        Ok(columns)
    }

    /// Runs the query and gives these of its columns.
    fn select(&mut self, prepared: &Prepared<'_>, names: &[String], each: Each<'_>) -> Result<()> {
        let texts: Vec<String> = names.iter().map(|name| self.as_text(name)).collect();
        self.run(&texts.join(", "), prepared, each)
    }

    /// A column as text, in the database's own words.
    fn as_text(&self, name: &str) -> String {
        match &self.database {
            // Padding of CHAR(n) is gone with it.
            Database::Postgres(_) => format!("q.\"{}\"::text", name.replace('"', "\"\"")),
            Database::MySql(_) => format!("CAST(q.`{}` AS CHAR)", name.replace('`', "``")),
            Database::Sqlite(_) => format!("q.\"{}\"", name.replace('"', "\"\"")),
        }
    }

    /// Looks at the query without running it.
    fn prepare<'a>(&mut self, query: &'a Query, campaign: &'a str) -> Result<Prepared<'a>> {
        let Self { database, runtime } = self;
        let names = |columns: Vec<&str>| columns.into_iter().map(str::to_owned).collect();
        match database {
            Database::Postgres(connection) => {
                let (text, _) = query.with(|n| format!("${n}"));
                let preparing = connection.prepare(AssertSqlSafe(text).into_sql_str());
                let found = runtime.block_on(preparing).map_err(|e| anyhow!(reason(&e)))?;
                let parameters = match found.parameters() {
                    Some(Either::Left(types)) => {
                        types.iter().map(|t| t.name().to_owned()).collect()
                    }
                    Some(Either::Right(_)) | None => Vec::new(),
                };
                let columns = names(found.columns().iter().map(|c| c.name()).collect());
                Ok(Prepared { query, campaign, columns, parameters })
            }
            Database::MySql(connection) => {
                let (text, _) = query.with(|_| "?".into());
                let preparing = connection.prepare(AssertSqlSafe(text).into_sql_str());
                let found = runtime.block_on(preparing).map_err(|e| anyhow!(reason(&e)))?;
                let columns = names(found.columns().iter().map(|c| c.name()).collect());
                Ok(Prepared { query, campaign, columns, parameters: Vec::new() })
            }
            Database::Sqlite(store) => {
                let (text, _) = query.with(|_| "?".into());
                let statement = store.connection.prepare(&text)?;
                let columns = names(statement.column_names().collect());
                Ok(Prepared { query, campaign, columns, parameters: Vec::new() })
            }
        }
    }

    /// `SELECT … FROM (query) AS q`, one row after the other.
    fn run(&mut self, what: &str, prepared: &Prepared<'_>, each: Each<'_>) -> Result<()> {
        let Self { database, runtime } = self;
        let Prepared { query, campaign, parameters, .. } = prepared;
        let around = |(inner, count): (String, usize)| {
            (format!("SELECT {what} FROM ({inner}\n) AS q"), count)
        };
        match database {
            Database::Postgres(connection) => {
                let (text, _) = around(query.with(|n| format!("${n}")));
                let mut asked = sqlx::query(AssertSqlSafe(text));
                for kind in parameters {
                    asked = bound(asked, kind, campaign)?;
                }
                runtime.block_on(patiently(rows(asked.fetch(connection), each)))
            }
            Database::MySql(connection) => {
                let (text, count) = around(query.with(|_| "?".into()));
                let mut asked = sqlx::query(AssertSqlSafe(text));
                for _ in 0..count {
                    asked = asked.bind((*campaign).to_owned());
                }
                runtime.block_on(patiently(rows(asked.fetch(connection), each)))
            }
            Database::Sqlite(store) => {
                let (text, count) = around(query.with(|_| "?".into()));
                let mut statement = store.connection.prepare(&text)?;
                let width = statement.column_count();
                let mut rows =
                    statement.query(rusqlite::params_from_iter(vec![*campaign; count]))?;
                while let Some(row) = rows.next()? {
                    let values = (0..width).map(|at| row.get_ref(at));
                    let values = values.collect::<rusqlite::Result<Vec<_>>>()?;
                    each(values.into_iter().map(text_of).collect())?;
                }
                Ok(())
            }
        }
    }
}

/// A connection to a server.
fn connected<O>(runtime: &Runtime, url: &str) -> Result<O::Connection>
where
    O: ConnectOptions<Connection: Sized>,
{
    let options: O = url.parse().map_err(unreached)?;
    let opened = async {
        let connecting = options.disable_statement_logging();
        tokio::time::timeout(CONNECTS_WITHIN, connecting.connect()).await
    };
    let opened = runtime.block_on(opened).map_err(|_| late(CONNECTS_WITHIN))?;
    opened.map_err(unreached)
}

/// Certificates and sockets that a URL names are files; the system does not say which one it misses.
fn unreached(error: sqlx::Error) -> anyhow::Error {
    if let sqlx::Error::Io(e) = &error
        && matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied)
    {
        return anyhow!("cannot be reached: a file that its URL names cannot be read: {e}");
    }
    anyhow!("cannot be reached: {}", reason(&error))
}

/// MariaDB denies access to whoever comes in the clear where it takes TLS only, and does not say why.
fn in_the_clear(error: anyhow::Error, url: &str) -> anyhow::Error {
    let options = url.parse::<MySqlConnectOptions>();
    if options.is_ok_and(|o| matches!(o.get_ssl_mode(), MySqlSslMode::Disabled)) {
        return anyhow!("{error} (without TLS: its URL says ssl-mode=DISABLED)");
    }
    error
}

/// Which column of the query each column of the ledger is.
fn wanted(reading: &Reading, names: &[String]) -> Result<Vec<(Column, String)>> {
    if reading.columns.is_empty() {
        let own = |name: &String| match Column::of(&name.to_ascii_lowercase()) {
            Some(column) => Ok((column, name.clone())),
            None => bail!(
                "the query has a column {name}: expected {}, or say under `columns` what it is",
                Column::list()
            ),
        };
        return names.iter().map(own).collect();
    }
    let named = |(column, cell): (&Column, &Cell)| {
        let name = String::from(cell.clone());
        ensure!(
            names.contains(&name),
            "columns.{}: the query has no column {name} (it has {})",
            column.name(),
            names.join(", ")
        );
        Ok((*column, name))
    };
    reading.columns.iter().map(named).collect()
}

/// One row after the other, its values as text.
async fn rows<R: sqlx::Row>(
    mut rows: impl Stream<Item = sqlx::Result<R>> + Unpin,
    each: Each<'_>,
) -> Result<()>
where
    usize: sqlx::ColumnIndex<R>,
    for<'r> Option<String>: sqlx::Decode<'r, R::Database>,
{
    while let Some(row) = rows.try_next().await.map_err(|e| anyhow!(reason(&e)))? {
        let texts = (0..row.len()).map(|at| row.try_get_unchecked(at));
        each(Ok(texts.collect::<Result<_, sqlx::Error>>()?))?;
    }
    Ok(())
}

async fn patiently(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(late(PATIENCE)))
}

fn late(patience: Duration) -> anyhow::Error {
    anyhow!("no answer within {} s", patience.as_secs())
}

/// What the database said, without what says that it said it.
fn reason(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), ToString::to_string)
}

fn text_of(value: ValueRef<'_>) -> Result<Option<String>, String> {
    Ok(match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| {
                let shown = String::from_utf8_lossy(bytes);
                format!("{shown:?} is no text in UTF-8; hex(…) in the query makes it one")
            })?;
            Some(text.to_owned())
        }
    })
}
