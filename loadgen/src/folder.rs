//! The folder of a run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::Local;
use contract::run::{HISTORY_DIR, LATEST, RUNS_DIR};

/// The folder of a run, with the folders of its history and its instances' logs.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Whether `runs/latest` shall name it.
    listed: bool,
}

/// Why a run has no folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It could not be made.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder that `--out` names holds something already.
    #[error("{0} is not empty: expected a new folder for --out, so that no earlier run is lost")]
    NotEmpty(PathBuf),
}

impl Folder {
    /// Makes the folder `out`, or a new one in `runs/` that begins with the time.
    ///
    /// # Errors
    /// When it cannot be made, or holds something already.
    pub fn create(out: Option<&Path>, scenario: &str) -> Result<Self, FolderError> {
        let (path, listed) = match out {
            Some(path) => (empty(path)?, false),
            None => (new_in(Path::new(RUNS_DIR), scenario)?, true),
        };
        for inner in [HISTORY_DIR, "instances"] {
            make(&path.join(inner))?;
        }
        Ok(Self { path, listed })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the history is.
    pub fn history(&self) -> PathBuf {
        self.path.join(HISTORY_DIR)
    }

    /// Lets `runs/latest` name it, in one step.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub fn publish(&self) -> Result<(), FolderError> {
        let (true, Some(name)) = (self.listed, self.path.file_name()) else { return Ok(()) };
        let link = Path::new(RUNS_DIR).join(LATEST);
        let draft = link.with_extension(std::process::id().to_string());
        let made =
            std::os::unix::fs::symlink(name, &draft).and_then(|()| fs::rename(&draft, &link));
        made.map_err(|source| FolderError::Io { path: link, source })
    }
}

fn empty(path: &Path) -> Result<PathBuf, FolderError> {
    make(path)?;
    let fail = |source| FolderError::Io { path: path.to_owned(), source };
    match fs::read_dir(path).map_err(fail)?.next() {
        None => absolute(path),
        Some(_) => Err(FolderError::NotEmpty(path.to_owned())),
    }
}

fn new_in(runs: &Path, scenario: &str) -> Result<PathBuf, FolderError> {
    make(runs)?;
    let name = format!("{}-{scenario}", Local::now().format("%Y%m%d-%H%M%S"));
    for suffix in std::iter::once(String::new()).chain((2..).map(|n| format!("-{n}"))) {
        let path = runs.join(format!("{name}{suffix}"));
        match fs::create_dir(&path) {
            Ok(()) => return absolute(&path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(FolderError::Io { path, source }),
        }
    }
    unreachable!("an endless range ends")
}

fn make(path: &Path) -> Result<(), FolderError> {
    fs::create_dir_all(path).map_err(|source| FolderError::Io { path: path.to_owned(), source })
}

/// Instances may run elsewhere: what they are told must not depend on the current folder.
fn absolute(path: &Path) -> Result<PathBuf, FolderError> {
    path.canonicalize().map_err(|source| FolderError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_must_be_empty() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("run");
        assert!(Folder::create(Some(&out), "s").unwrap().history().is_dir());
        assert!(matches!(Folder::create(Some(&out), "s"), Err(FolderError::NotEmpty(_))));
    }

    #[test]
    fn two_runs_in_one_second_get_two_folders() {
        let dir = tempfile::tempdir().unwrap();
        let a = new_in(dir.path(), "s").unwrap();
        let b = new_in(dir.path(), "s").unwrap();
        assert_ne!(a, b);
    }
}
