//! Connections, and the tables that whoever comes first lays out.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};

/// The layout this version reads and writes. Another one after any change of the scripts below: they run
/// once, in a database that has none of it.
const LAYOUT: i32 = 2;
/// What stands in the database.
const SCRIPTS: [&str; 3] =
    [include_str!("schema.sql"), include_str!("issue.sql"), include_str!("lead.sql")];
/// Whoever lays the database out has this advisory lock: "Coup".
const LAYING_OUT: i64 = 0x436f_7570;
/// How long connecting waits for another server that lays the database out.
const LOCK_TIMEOUT: &str = "10s";

/// Why a database cannot be the store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be reached, read or written.
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    /// It does not keep text in UTF-8, and codes are Hangul.
    #[error("the database keeps text as {0}; create one with ENCODING 'UTF8'")]
    Encoding(String),
    /// A version of this server wrote it whose layout this one does not know.
    #[error("its schema \"coupon\" has layout {0}, but this version knows only layout {LAYOUT}")]
    Layout(i32),
}

/// A pool whose connections are made when they are first needed.
pub(super) fn pool(
    connections: u32,
    trusted: Duration,
    timeout: Duration,
    options: PgConnectOptions,
) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        // Nobody waits for one to be made in the middle of a launch.
        .min_connections(connections)
        .acquire_timeout(timeout)
        .test_before_acquire(false)
        .before_acquire(move |connection, known| {
            Box::pin(async move {
                if known.idle_for > trusted {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// Checks whose schema it is, and lays out a database that has none.
pub(super) async fn prepare(options: &PgConnectOptions) -> Result<(), OpenError> {
    let patient = options.clone().options([("lock_timeout", LOCK_TIMEOUT)]);
    let mut connection: PgConnection = patient.connect().await?;
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LAYING_OUT)
        .execute(&mut *transaction)
        .await?;
    let (encoding, there): (String, bool) =
        sqlx::query_as(include_str!("identity.sql")).fetch_one(&mut *transaction).await?;
    if encoding != "UTF8" {
        return Err(OpenError::Encoding(encoding));
    }
    if !there {
        for script in SCRIPTS {
            sqlx::raw_sql(script).execute(&mut *transaction).await?;
        }
    }
    let (layout,): (i32,) =
        sqlx::query_as("SELECT version FROM coupon.layout").fetch_one(&mut *transaction).await?;
    if layout != LAYOUT {
        return Err(OpenError::Layout(layout));
    }
    transaction.commit().await?;
    // It was only asked; how it ends does not matter.
    let _ = connection.close().await;
    Ok(())
}
