//! `run.json`: what a run was, for whoever reads its folder afterwards.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Version of `run.json`.
pub const FORMAT: &str = "coupon-run/1";
/// The run's description.
pub const RUN_FILE: &str = "run.json";
/// The figures of a finished run.
pub const SUMMARY_FILE: &str = "summary.json";
/// The folder of the history's segments.
pub const HISTORY_DIR: &str = "history";
/// The folder that holds runs, and the name of the newest in it.
pub const RUNS_DIR: &str = "runs";
/// A link in [`RUNS_DIR`] to the newest run.
pub const LATEST: &str = "latest";

/// What a run was. Written before the load starts, and again when it ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`FORMAT`].
    pub format: String,
    /// The scenario's name.
    pub scenario: String,
    /// The scenario as it was run, `--set` applied.
    pub definition: serde_json::Value,
    /// The seed of everything that is random in it.
    pub seed: u64,
    /// The campaigns of the run.
    pub campaigns: Vec<RunCampaign>,
    /// Where the load went, in the order of the history's target numbers.
    pub targets: Vec<RunTarget>,
    /// The store behind the targets, without a password; absent where it is not known.
    pub store: Option<String>,
    /// Ties the history's clock to the wall clock of the load host.
    pub anchor: Anchor,
    /// Where the run stands.
    pub state: RunState,
}

/// A campaign of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunCampaign {
    /// Its id.
    pub id: String,
    /// How many coupons there are.
    pub coupons: u64,
    /// The start, Unix nanoseconds, by the ruling clock.
    pub starts_at_unix_ns: i64,
}

/// A target of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunTarget {
    /// A short name for people.
    pub name: String,
    /// Its base URL.
    pub url: String,
    /// Its process, where the load generator started it.
    pub pid: Option<u32>,
}

/// The history's clock shows 0 when the wall clock of the load host shows this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Unix nanoseconds at the history's zero.
    pub unix_ns: i64,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Not ended, or ended without a chance to say so.
    Running,
    /// The plan was carried out to its end.
    Finished,
    /// Stopped by a signal; what was sent until then is recorded.
    Interrupted,
    /// Stopped because the history could not be written; what was sent until then is recorded.
    Failed,
}

/// Why `run.json` could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a description of a run that this version knows.
    #[error("{path}: not a {FORMAT} file: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Run {
    /// Reads `run.json` in the run's folder.
    ///
    /// # Errors
    /// When it is missing or not in this format.
    pub fn load(dir: &Path) -> Result<Self, RunError> {
        let path = dir.join(RUN_FILE);
        let text =
            std::fs::read(&path).map_err(|source| RunError::Io { path: path.clone(), source })?;
        let run: Self = serde_json::from_slice(&text)
            .map_err(|e| RunError::Malformed { path: path.clone(), reason: e.to_string() })?;
        if run.format == FORMAT {
            return Ok(run);
        }
        Err(RunError::Malformed { path, reason: format!("its format is {:?}", run.format) })
    }

    /// Writes `run.json` into the run's folder, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), RunError> {
        write_json(&dir.join(RUN_FILE), self)
    }
}

/// Writes a JSON file under a temporary name and then renames it, so that nobody sees half of it.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), RunError> {
    let fail = |source| RunError::Io { path: path.to_owned(), source };
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| fail(e.into()))?;
    text.push(b'\n');
    let draft = path.with_extension("json.tmp");
    std::fs::write(&draft, text).map_err(fail)?;
    std::fs::rename(&draft, path).map_err(fail)
}
