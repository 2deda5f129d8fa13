//! What the server tells its operator: lines on stderr, none per request.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::Utc;
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to stderr. `RUST_LOG` sets the level; info otherwise.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
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
