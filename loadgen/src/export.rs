//! Writes a run's history in the interchange form.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use contract::history::{self, HistoryError, Integrity, jsonl};
use contract::run::HISTORY_DIR;

/// Why a history could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] HistoryError),
    /// The output cannot be written.
    #[error("{path}: {source}")]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Exports the history of the run in `run` to `to`, or to standard output; gzipped where the name
/// ends in `.gz`.
///
/// # Errors
/// When the history cannot be read or the output not be written.
pub fn export(run: &Path, to: Option<&Path>) -> Result<Integrity, ExportError> {
    let path = to.unwrap_or(Path::new("standard output"));
    let write = |source| ExportError::Write { path: path.to_owned(), source };
    let (integrity, written) = match to {
        None => copy(run, io::stdout().lock())?,
        Some(to) => {
            let file = File::create(to).map_err(write)?;
            if to.extension().is_some_and(|e| e == "gz") {
                copy(run, flate2::write::GzEncoder::new(file, flate2::Compression::default()))?
            } else {
                copy(run, file)?
            }
        }
    };
    written.map_err(write)?;
    Ok(integrity)
}

fn copy(run: &Path, out: impl Write) -> Result<(Integrity, io::Result<()>), HistoryError> {
    let mut writer = jsonl::Writer::new(BufWriter::with_capacity(1 << 16, out));
    let mut written = Ok(());
    let integrity = history::read(&run.join(HISTORY_DIR), &mut |event| {
        if let (Ok(writer), Ok(())) = (&mut writer, &written) {
            written = writer.event(&event);
        }
    })?;
    let written = written.and_then(|()| writer?.finish());
    Ok((integrity, written))
}
