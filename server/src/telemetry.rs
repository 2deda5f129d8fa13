//! What the server tells its operator: lines on stderr, none per request, and errors to Sentry.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::Utc;
use clap::ValueEnum;
#[cfg(feature = "sentry")]
use sentry::integrations::tracing::ErrorLayer;
#[cfg(feature = "sentry")]
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged where `RUST_LOG` does not say. What a connection to Redis failed of is said by whoever
/// needed it; the client would say it once more for each server of a cluster.
const LEVELS: &str = "info,redis=error";

/// Where errors go besides the log; they still go while this is there.
#[derive(Default)]
pub struct Reporting {
    #[cfg(feature = "sentry")]
    _sentry: Option<sentry::ClientInitGuard>,
}

/// Where errors are to go cannot be read. What stands there is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SENTRY_DSN must be like https://KEY@HOST/PROJECT, or absent")]
pub struct NoDsn;

/// Starts logging to stderr; `RUST_LOG` sets the level, info otherwise. Errors go to Sentry as well,
/// where there is a DSN.
///
/// # Errors
/// When the DSN is none.
pub fn start(format: LogFormat, dsn: Option<&str>) -> Result<Reporting, NoDsn> {
    let reporting = report_to(dsn)?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LEVELS));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let all = tracing_subscriber::registry().with(lines.with_filter(filter));
    #[cfg(feature = "sentry")]
    let all = all.with(dsn.map(|_| ErrorLayer::new().with_filter(LevelFilter::ERROR)));
    all.init();
    Ok(reporting)
}

#[cfg(feature = "sentry")]
fn report_to(dsn: Option<&str>) -> Result<Reporting, NoDsn> {
    let Some(dsn) = dsn else { return Ok(Reporting::default()) };
    let mut options = sentry::ClientOptions::default();
    options.dsn = Some(dsn.parse().map_err(|_| NoDsn)?);
    options.release = sentry::release_name!();
    Ok(Reporting { _sentry: Some(sentry::init(options)) })
}

#[cfg(not(feature = "sentry"))]
fn report_to(_dsn: Option<&str>) -> Result<Reporting, NoDsn> {
    Ok(Reporting::default())
}

/// Lets one line a second through: a store that is gone fails thousands of requests a second.
#[derive(Debug, Default)]
pub struct Throttle(AtomicI64);

impl Throttle {
    /// Whether a line may be written now.
    pub fn allows(&self) -> bool {
        let now = Utc::now().timestamp();
        self.0.swap(now, Ordering::Relaxed) != now
    }
}
