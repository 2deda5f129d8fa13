//! Writes a run's history for others: in the interchange form, or as a table.

mod csv;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use contract::history::{self, Event, HistoryError, Integrity, jsonl};
use contract::run::HISTORY_DIR;

/// How a history is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON Lines (coupon-history/1), which the verifier reads.
    #[default]
    Jsonl,
    /// A table with one line for each request.
    Csv,
}

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
pub fn export(run: &Path, to: Option<&Path>, format: Format) -> Result<Integrity, ExportError> {
    let Some(to) = to else {
        let (integrity, written) = copy(run, io::stdout().lock(), format)?;
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
    let gzipped = to.extension().is_some_and(|e| e == "gz");
    let copied =
        File::create(&draft).map_err(write).and_then(|file| copy_to(run, file, gzipped, format));
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

/// What was read, and whether it could be written.
type Copied = (Integrity, io::Result<()>);

fn copy_to(run: &Path, file: File, gzipped: bool, format: Format) -> Result<Copied, ExportError> {
    let copied = if gzipped {
        copy(run, flate2::write::GzEncoder::new(file, flate2::Compression::default()), format)
    } else {
        copy(run, file, format)
    };
    Ok(copied?)
}

fn copy(run: &Path, out: impl Write, format: Format) -> Result<Copied, HistoryError> {
    let mut out = Some(BufWriter::with_capacity(1 << 16, out));
    let mut writer = None;
    let mut written = Ok(());
    let integrity = history::read(&run.join(HISTORY_DIR), &mut |event| {
        // The header waits for the first event: a history that cannot be read leaves no output.
        if let Some(out) = out.take() {
            written = Writer::new(out, format).map(|w| writer = Some(w));
        }
        if let (Some(writer), Ok(())) = (&mut writer, &written) {
            written = writer.event(&event);
        }
    })?;
    let written = written.and_then(|()| match (writer, out) {
        (Some(writer), _) => writer.finish(&integrity),
        (None, Some(out)) => Writer::new(out, format)?.finish(&integrity),
        (None, None) => Ok(()),
    });
    Ok((integrity, written))
}

/// Writes either form.
enum Writer<W: Write> {
    Lines(jsonl::Writer<W>),
    Table(Box<csv::Table<W>>),
}

impl<W: Write> Writer<W> {
    fn new(out: W, format: Format) -> io::Result<Self> {
        Ok(match format {
            Format::Jsonl => Self::Lines(jsonl::Writer::new(out)?),
            Format::Csv => Self::Table(Box::new(csv::Table::new(out)?)),
        })
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        match self {
            Self::Lines(writer) => writer.event(event),
            Self::Table(table) => table.event(event),
        }
    }

    fn finish(self, read: &Integrity) -> io::Result<()> {
        match self {
            Self::Lines(writer) => writer.finish_copy(read),
            Self::Table(table) => table.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::history::stored::{Record, Segment};
    use contract::history::{Completion, Invocation, Kind};
    use contract::outcome::Outcome;
    use flate2::read::GzDecoder;

    /// A run whose second request was never over, and whose load generator was killed.
    fn killed_run() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let history = dir.path().join(HISTORY_DIR);
        std::fs::create_dir(&history).unwrap();
        Segment::create(&history, "control").unwrap().finish().unwrap();
        let mut segment = Segment::create(&history, "worker-0").unwrap();
        for op in [1, 2] {
            let (campaign, kind, at) = ("1".into(), Kind::Issue, 5);
            let (intended, woken, target, user, key, follows) =
                (None, None, None, None, None, None);
            let invocation =
                Invocation { op, campaign, kind, at, intended, woken, target, user, key, follows };
            segment.append(&Record::Invoke(invocation)).unwrap();
        }
        let (outcome, accepted, status, stamp) = (Outcome::SoldOut, None, Some(409), None);
        let completion = Completion { op: 1, at: 9, accepted, outcome, status, stamp };
        segment.append(&Record::Complete(completion)).unwrap();
        std::mem::forget(segment);
        dir
    }

    #[test]
    fn a_table_is_written_gzipped_or_not_and_its_gaps_are_told() {
        let run = killed_run();
        let (plain, packed) = (run.path().join("h.csv"), run.path().join("h.csv.gz"));
        for to in [&plain, &packed] {
            let integrity = export(run.path(), Some(to), Format::Csv).unwrap();
            assert_eq!(integrity.gaps.len(), 1, "{:?}", integrity.gaps);
        }
        let plain = std::fs::read_to_string(plain).unwrap();
        let unpacked = io::read_to_string(GzDecoder::new(File::open(packed).unwrap())).unwrap();
        assert_eq!(plain, unpacked);
        let lines: Vec<&str> = plain.lines().skip(1).collect();
        let want = [
            "1,1,issue,,,,,,,5,,9,sold_out,,409,,,,",
            "2,1,issue,,,,,,,5,,,indeterminate,never completed,,,,,",
        ];
        assert_eq!(lines, want);
    }

    #[test]
    fn lines_are_what_is_written_unless_a_table_is_wanted() {
        let run = killed_run();
        let to = run.path().join("h.jsonl");
        export(run.path(), Some(&to), Format::default()).unwrap();
        let mut events = 0;
        let integrity = history::read(&to, &mut |_| events += 1).unwrap();
        assert_eq!((events, integrity.gaps.len()), (3, 1));
    }
}
