//! Tells people and programs what happens, as it happens.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::known::MOST;
use super::suspect::Seen;
use crate::check::Check;
use crate::cli::WatchFormat;
use crate::report::{json as report_json, table};
use crate::verdict::{Finding, Report};
use crate::wording::{count, safe, size, things};

/// The form's name and version.
const FORMAT: &str = "coupon-watch/1";
/// How often progress is told on a terminal, and to programs.
const LIVE: Duration = Duration::from_secs(1);
/// How often elsewhere, where every line stays.
const PLAIN: Duration = Duration::from_secs(10);

/// Writes to standard output. A reader that has gone away is no error: the exit code says it all.
pub(super) struct Teller {
    format: WatchFormat,
    terminal: bool,
    /// A live line stands there.
    live: bool,
    last: Option<Instant>,
    /// What was waited for was told.
    waiting: bool,
}

/// How it ended.
pub(super) struct Ended {
    pub(super) seen: Seen,
    /// So many names came after those that could be remembered.
    pub(super) unknown: u64,
    /// Checks that are broken.
    pub(super) proven: usize,
    /// What judges it now.
    pub(super) check: String,
}

impl Teller {
    pub(super) fn new(format: WatchFormat) -> Self {
        let terminal = io::stdout().is_terminal();
        Self { format, terminal, live: false, last: None, waiting: false }
    }

    pub(super) fn waiting(&mut self, what: &str) {
        if !std::mem::replace(&mut self.waiting, true) {
            self.tell(
                &format!("waiting for {}", safe(what)),
                || json!({"event": "waiting", "format": FORMAT, "for": what}),
            );
        }
    }

    pub(super) fn watching(&mut self, what: &str) {
        self.tell(
            &format!("watching {}", safe(what)),
            || json!({"event": "watching", "format": FORMAT, "history": what}),
        );
    }

    pub(super) fn note(&mut self, what: &str) {
        self.tell(&safe(what), || json!({"event": "note", "sentence": what}));
    }

    /// Where things stand, as often as somebody wants to know.
    pub(super) fn progress(&mut self, seen: Seen, under_way: usize, proven: usize) {
        let often = self.terminal || self.format == WatchFormat::Json;
        let every = if often { LIVE } else { PLAIN };
        if self.last.is_some_and(|last| last.elapsed() < every) {
            return;
        }
        self.last = Some(Instant::now());
        let line = format!("{}, {} under way", numbers(seen), size(under_way));
        match self.format {
            WatchFormat::Text if self.terminal => {
                self.print(&format!("\r\x1b[2K{line}"));
                self.live = true;
            }
            WatchFormat::Text => self.print(&format!("{line}\n")),
            WatchFormat::Json => self.tell("", || {
                json!({
                    "event": "progress", "seen": seen, "under_way": under_way, "proven": proven
                })
            }),
        }
    }

    pub(super) fn violation(&mut self, report: &Report, finding: &Finding<'_>) -> Result<()> {
        let (e, found) = (&finding.judged.evidence, finding.violation);
        let mut lines = vec![format!(
            "✗ {}: campaign {}: {}",
            finding.check,
            safe(&e.name),
            safe(&found.sentence)
        )];
        lines.extend(table::explain(e, found).iter().map(|l| format!("    {}", l.trim_end())));
        let benign = Check::named(finding.check).map(|check| check.benign);
        lines.extend(benign.map(|benign| format!("    benign if: {benign}")));
        let violation = report_json::one(report, finding)?;
        self.tell(
            &lines.join("\n"),
            || json!({"event": "violation", "campaign": e.name, "violation": violation}),
        );
        Ok(())
    }

    pub(super) fn ended(&mut self, ended: &Ended) {
        let Ended { seen, unknown, proven, check } = ended;
        let mut lines = vec![format!("over: {}", numbers(*seen))];
        if *unknown > 0 {
            lines.push(format!(
                "repeats were looked for among the first {}; {} more were not remembered",
                size(MOST),
                count(*unknown)
            ));
        }
        lines.push(match proven {
            0 => format!("nothing was found, which is no verdict: {}", safe(check)),
            n => format!("{}; the whole verdict: {}", things(*n, "broken check"), safe(check)),
        });
        self.tell(&lines.join("\n"), || {
            json!({
                "event": "ended", "seen": seen, "not_remembered": unknown, "proven": proven,
                "next": check
            })
        });
    }

    /// Ends the live line.
    pub(super) fn leave_line(&mut self) {
        if std::mem::replace(&mut self.live, false) {
            self.print("\n");
        }
    }

    fn tell(&mut self, text: &str, object: impl FnOnce() -> Value) {
        self.leave_line();
        match self.format {
            WatchFormat::Text => self.print(&format!("{text}\n")),
            WatchFormat::Json => self.print(&format!("{}\n", object())),
        }
    }

    fn print(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

fn numbers(seen: Seen) -> String {
    let parts = [
        (seen.issued, "issued"),
        (seen.sold_out, "sold out"),
        (seen.not_started, "not started"),
        (seen.not_found, "not found"),
        (seen.ended, "ended"),
        (seen.already_issued, "already issued"),
        (seen.indeterminate, "in doubt"),
    ];
    let told = parts.into_iter().filter(|(n, _)| *n > 0);
    let told = told.map(|(n, what)| format!(", {} {what}", count(n)));
    format!("{} requests{}", count(seen.requests), told.collect::<String>())
}
