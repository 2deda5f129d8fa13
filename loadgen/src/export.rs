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
    let Some(to) = to else {
        let (integrity, written) = copy(run, io::stdout().lock())?;
        return match written {
            // Whoever reads has seen enough.
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                Err(ExportError::Write { path: "standard output".into(), source: e })
            }
            _ => Ok(integrity),
        };
    };
    let write = |source| ExportError::Write { path: to.to_owned(), source };
    // Under another name until it is whole: nothing that was there is lost to a failure.
    let mut draft = to.as_os_str().to_owned();
    draft.push(".tmp");
    let copied = File::create(&draft).map_err(write).and_then(|file| copy_to(run, to, file));
    let kept = copied.and_then(|(integrity, written)| {
        written.and_then(|()| std::fs::rename(&draft, to)).map_err(write)?;
        Ok(integrity)
    });
    if kept.is_err() {
        // What is half written is of no use to anybody.
        let _ = std::fs::remove_file(&draft);
    }
    kept
}

fn copy_to(run: &Path, to: &Path, file: File) -> Result<(Integrity, io::Result<()>), ExportError> {
    let copied = if to.extension().is_some_and(|e| e == "gz") {
        copy(run, flate2::write::GzEncoder::new(file, flate2::Compression::default()))
    } else {
        copy(run, file)
    };
    Ok(copied?)
}

fn copy(run: &Path, out: impl Write) -> Result<(Integrity, io::Result<()>), HistoryError> {
    let mut out = Some(BufWriter::with_capacity(1 << 16, out));
    let mut writer = None;
    let mut written = Ok(());
    let integrity = history::read(&run.join(HISTORY_DIR), &mut |event| {
        // The header waits for the first event: a history that cannot be read leaves no output.
        if let Some(out) = out.take() {
            written = jsonl::Writer::new(out).map(|w| writer = Some(w));
        }
        if let (Some(writer), Ok(())) = (&mut writer, &written) {
            written = writer.event(&event);
        }
    })?;
    let written = written.and_then(|()| match (writer, out) {
        (Some(writer), _) => writer.finish_copy(&integrity),
        (None, Some(out)) => jsonl::Writer::new(out)?.finish_copy(&integrity),
        (None, None) => Ok(()),
    });
    Ok((integrity, written))
}
