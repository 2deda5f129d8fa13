//! Why a scenario cannot be run. What is wrong with a file gets its place from [`contract::yaml`].

use std::path::{Path, PathBuf};

use contract::yaml::{self, Wrong};
use serde_saphyr::Error;

/// Why a scenario cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It says something it must not.
    #[error("{place}: {what}")]
    Wrong {
        /// `file:line:column`, or the flag.
        place: String,
        /// What is wrong and what was expected.
        what: String,
    },
}

impl From<Wrong> for ScenarioError {
    fn from(Wrong { place, what }: Wrong) -> Self {
        Self::Wrong { place, what }
    }
}

impl ScenarioError {
    /// What is wrong, wherever.
    pub(super) fn what(&self) -> Option<&str> {
        match self {
            Self::Io { .. } => None,
            Self::Wrong { what, .. } => Some(what),
        }
    }
}

/// Names the place of a YAML error, the keys that lead to it, and what was probably meant.
pub(super) fn at(path: &Path, text: &str, error: &Error) -> ScenarioError {
    yaml::at(path, text, "a scenario (see loadgen init)", error).into()
}

/// What is wrong where no single value is: its message begins with the keys that lead to the place.
pub(super) fn whole(path: &Path, text: &str, what: &str) -> ScenarioError {
    yaml::whole(path, text, what).into()
}

/// What the bytes of a file are if they are no text.
pub(super) fn no_text(path: &Path, bytes: &[u8], valid: usize) -> ScenarioError {
    yaml::no_text(path, bytes, valid).into()
}

/// The same for a `--set`, where there is no line and column but the assignment itself.
pub(super) fn in_set(place: &str, text: &str, error: &Error) -> ScenarioError {
    yaml::in_set(place, text, error).into()
}
