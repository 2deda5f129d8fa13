//! What the set-up says to databases, straight and not through the system under load.
//!
//! A connection is opened on first use and kept for the steps that follow.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, Value};
use rusqlite::Connection as Sqlite;
use rusqlite::fallible_iterator::FallibleIterator as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions as _};

use super::{PATIENCE, SetupError};
use crate::mapping::Values;
use crate::mapping::redis::Redis;
use crate::mapping::sql::{self, Dialect, Sql};
use crate::secrets::without_password;

/// A row: each column's name, and its value as text; none for NULL.
type FirstRow = Vec<(String, Option<String>)>;

/// Connections to databases, by their URLs.
#[derive(Default)]
pub(super) struct Stores {
    open: HashMap<String, Connection>,
}

enum Connection {
    Postgres(PgConnection),
    MySql(MySqlConnection),
    /// Absent while a blocking thread has it.
    Sqlite(Option<Sqlite>),
    Redis(MultiplexedConnection),
}

/// What went wrong, and at which URL.
struct At<'a> {
    url: &'a str,
}

impl At<'_> {
    fn failed(&self, reason: impl std::fmt::Display) -> SetupError {
        SetupError::Store { url: without_password(self.url), reason: reason.to_string() }
    }

    /// Waits for the database, but not for ever.
    async fn patiently<T, E: std::fmt::Display>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, SetupError> {
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(done) => done.map_err(|e| self.failed(e)),
            Err(_) => Err(self.failed(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }
}

impl Stores {
    /// Runs statements. Gives the first row of the last one, if it has any.
    pub(super) async fn sql(
        &mut self,
        sql: &Sql,
        values: &(impl Values + Sync),
    ) -> Result<FirstRow, SetupError> {
        let url = sql.url.0.fill_url(values);
        let at = At { url: &url };
        let dialect = Dialect::of(&url)
            .ok_or_else(|| at.failed(format!("expected a URL like {}", sql::EXPECTED)))?;
        if !self.open.contains_key(&url) {
            let opened = at.patiently(connect(&url, dialect)).await?;
            self.open.insert(url.clone(), opened);
        }
        let connection = self.open.get_mut(&url).ok_or_else(|| at.failed("not connected"))?;
        let mut row = FirstRow::new();
        for template in sql.run.as_slice() {
            let quote = |reason: String| {
                let text: String = String::from(template.clone()).chars().take(60).collect();
                format!("{reason}; in {text:?}")
            };
            let statement =
                sql::fill(template, dialect, values).map_err(|e| at.failed(quote(e)))?;
            let done = async { connection.query(statement).await.map_err(quote) };
            row = at.patiently(done).await?;
        }
        Ok(row)
    }

    /// Runs commands. Gives the reply of the last one, if it is a text or a number.
    pub(super) async fn redis(
        &mut self,
        redis: &Redis,
        values: &(impl Values + Sync),
    ) -> Result<Option<String>, SetupError> {
        let url = redis.url.0.fill_url(values);
        let at = At { url: &url };
        if !self.open.contains_key(&url) {
            let opened = at.patiently(connect_redis(&url)).await?;
            self.open.insert(url.clone(), Connection::Redis(opened));
        }
        let Some(Connection::Redis(connection)) = self.open.get_mut(&url) else {
            return Err(at.failed("expected a URL like redis://HOST:PORT/DATABASE"));
        };
        let mut reply = Value::Nil;
        for command in &redis.run {
            let mut cmd = redis::Cmd::new();
            for word in command.words() {
                cmd.arg(word.fill(values));
            }
            let name = command.words().first().map(|w| String::from(w.clone()));
            let name = name.unwrap_or_default();
            let done = async {
                let replied: redis::RedisResult<Value> = cmd.query_async(connection).await;
                replied.map_err(|e| format!("{name}: {e}"))
            };
            reply = at.patiently(done).await?;
        }
        Ok(as_text(reply))
    }
}

async fn connect_redis(url: &str) -> redis::RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

fn as_text(reply: Value) -> Option<String> {
    if reply == Value::Nil { None } else { String::from_redis_value(reply).ok() }
}

async fn connect(url: &str, dialect: Dialect) -> Result<Connection, String> {
    let words = |e: sqlx::Error| e.to_string();
    match dialect {
        Dialect::Postgres => {
            let options: PgConnectOptions = url.parse().map_err(words)?;
            let opened = options.disable_statement_logging().connect().await;
            opened.map(Connection::Postgres).map_err(words)
        }
        Dialect::MySql => {
            let options: MySqlConnectOptions = url.parse().map_err(words)?;
            let opened = options.disable_statement_logging().connect().await;
            opened.map(Connection::MySql).map_err(words)
        }
        Dialect::Sqlite => {
            let path = contract::sqlite::path(url).unwrap_or(url).to_owned();
            let opened = blocking(move || open_sqlite(&path)).await?;
            opened.map(|c| Connection::Sqlite(Some(c))).map_err(|e| e.to_string())
        }
    }
}

fn open_sqlite(path: &str) -> rusqlite::Result<Sqlite> {
    let opened = Sqlite::open(path)?;
    // Less than what is waited for it, so that the reason is SQLite's.
    opened.busy_timeout(PATIENCE - Duration::from_secs(1))?;
    Ok(opened)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())
}

impl Connection {
    async fn query(&mut self, statement: String) -> Result<FirstRow, String> {
        match self {
            Self::Postgres(connection) => {
                let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(connection).await;
                first_row(rows)
            }
            Self::MySql(connection) => {
                let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(connection).await;
                first_row(rows)
            }
            Self::Sqlite(place) => {
                let taken = place.take().ok_or("an earlier statement was given up")?;
                let work = move || {
                    let row = query_sqlite(&taken, &statement);
                    (taken, row)
                };
                let (connection, row) = blocking(work).await?;
                *place = Some(connection);
                row.map_err(|e| e.to_string())
            }
            Self::Redis(_) => Err("expected the URL of an SQL database".into()),
        }
    }
}

/// The first of the rows. Text is what these protocols carry, whatever the type.
fn first_row<R: sqlx::Row>(rows: sqlx::Result<Vec<R>>) -> Result<FirstRow, String>
where
    usize: sqlx::ColumnIndex<R>,
    for<'r> String: sqlx::Decode<'r, R::Database>,
{
    let rows = rows.map_err(|e| reason(&e))?;
    let value = |row: &R, at: usize| row.try_get_unchecked(at).ok();
    let named = |row: &R| {
        let columns = row.columns().iter();
        columns.map(|c| (c.name().to_owned(), value(row, c.ordinal()))).collect()
    };
    Ok(rows.first().map(named).unwrap_or_default())
}

/// What the database said, without what says that it said it.
fn reason(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), ToString::to_string)
}

fn query_sqlite(connection: &Sqlite, statements: &str) -> rusqlite::Result<FirstRow> {
    let mut batch = rusqlite::Batch::new(connection, statements);
    let mut first = FirstRow::new();
    while let Some(mut statement) = batch.next()? {
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query([])?;
        let mut found = None;
        while let Some(row) = rows.next()? {
            if found.is_none() {
                let values = (0..names.len()).map(|at| Ok(text_of(row.get_ref(at)?)));
                found = Some(values.collect::<rusqlite::Result<Vec<_>>>()?);
            }
        }
        first = names.into_iter().zip(found.unwrap_or_default()).collect();
    }
    Ok(first)
}

fn text_of(value: rusqlite::types::ValueRef<'_>) -> Option<String> {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            std::str::from_utf8(bytes).ok().map(str::to_owned)
        }
    }
}
