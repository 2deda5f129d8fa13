//! The history as a table, for spreadsheets, notebooks and databases: one line for each request.
//!
//! What is held in memory is what is under way, so a line is written when its request is over, and
//! those that never were come last.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use contract::history::{Completion, Event, Invocation, Kind};
use contract::outcome::{Doubt, Observation, Outcome};
use csv::ByteRecord;

use crate::summary::{doubt_name, failure_name};

/// The first line.
const COLUMNS: [&str; 19] = [
    "op",
    "campaign",
    "kind",
    "follows",
    "target",
    "user",
    "key",
    "intended_ns",
    "woken_ns",
    "sent_ns",
    "accepted_ns",
    "answered_ns",
    "outcome",
    "detail",
    "status",
    "code",
    "order",
    "seq",
    "remaining",
];

/// Writes the table.
pub(super) struct Table<W: Write> {
    out: csv::Writer<W>,
    /// By operation: the columns that its invocation fills, which are the first ones.
    open: BTreeMap<u64, ByteRecord>,
}

impl<W: Write> Table<W> {
    /// Writes the first line.
    pub(super) fn new(out: W) -> io::Result<Self> {
        let mut out = csv::Writer::from_writer(out);
        out.write_record(COLUMNS).map_err(plain)?;
        Ok(Self { out, open: BTreeMap::new() })
    }

    /// Takes an event; a request that is over is written.
    pub(super) fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::Campaign(_) => Ok(()),
            Event::Invoke(i) => {
                self.open.insert(i.op, begun(i));
                Ok(())
            }
            Event::Complete(c) => {
                let begun = self.open.remove(&c.op);
                begun.map_or(Ok(()), |line| self.write(line, &Ended::of(c)))
            }
        }
    }

    /// Writes what was never over, and flushes.
    pub(super) fn finish(mut self) -> io::Result<()> {
        for line in std::mem::take(&mut self.open).into_values() {
            self.write(line, &Ended::never())?;
        }
        self.out.flush()
    }

    fn write(&mut self, mut line: ByteRecord, ended: &Ended<'_>) -> io::Result<()> {
        ended.push_to(&mut line);
        self.out.write_byte_record(&line).map_err(plain)
    }
}

/// The error as the system gave it: that a reader went away is known by its kind.
fn plain(error: csv::Error) -> io::Error {
    let what = error.to_string();
    if let csv::ErrorKind::Io(error) = error.into_kind() { error } else { io::Error::other(what) }
}

fn begun(i: &Invocation<'_>) -> ByteRecord {
    let kind = match i.kind {
        Kind::Issue => "issue",
        Kind::Read => "read",
        Kind::Poll => "poll",
        Kind::Confirm => "confirm",
    };
    let mut line = ByteRecord::new();
    push(&mut line, Some(i.op));
    line.push_field(i.campaign.as_bytes());
    line.push_field(kind.as_bytes());
    push(&mut line, i.follows);
    push(&mut line, i.target);
    push(&mut line, i.user.as_deref());
    push(&mut line, i.key.as_deref());
    for at in [i.intended, i.woken, Some(i.at)] {
        push(&mut line, at);
    }
    line
}

/// Appends a field; what is not known is empty.
fn push(line: &mut ByteRecord, value: Option<impl ToString>) {
    line.push_field(value.map(|v| v.to_string()).unwrap_or_default().as_bytes());
}

/// The columns that a completion fills, in their order.
#[derive(Default)]
struct Ended<'a> {
    accepted: Option<i64>,
    answered: Option<i64>,
    outcome: &'static str,
    detail: Cow<'a, str>,
    status: Option<u16>,
    code: Option<&'a str>,
    order: Option<&'a str>,
    seq: Option<i64>,
    remaining: Option<i64>,
}

impl<'a> Ended<'a> {
    fn of(c: &'a Completion<'_>) -> Self {
        let known = Self {
            accepted: c.accepted,
            answered: Some(c.at),
            status: c.status,
            ..Self::default()
        };
        match &c.outcome {
            Outcome::Issued(coupon) => Self {
                outcome: "issued",
                code: Some(&coupon.code),
                order: coupon.order.as_deref(),
                seq: coupon.seq,
                remaining: coupon.remaining,
                ..known
            },
            Outcome::SoldOut => Self { outcome: "sold_out", ..known },
            Outcome::NotStarted => Self { outcome: "not_started", ..known },
            Outcome::NotFound => Self { outcome: "not_found", ..known },
            Outcome::Ended => Self { outcome: "ended", ..known },
            Outcome::AlreadyIssued(code) => {
                Self { outcome: "already_issued", code: code.as_deref(), ..known }
            }
            Outcome::Failed(f) => {
                Self { outcome: "failed", detail: failure_name(*f).into(), ..known }
            }
            Outcome::Indeterminate(d) => {
                Self { outcome: "indeterminate", detail: doubt_name(*d).into(), ..known }
            }
            Outcome::Pending => Self { outcome: "pending", ..known },
            Outcome::Read(seen) => Self { outcome: "read", ..known }.saw(seen),
        }
    }

    /// What has no completion may have had an effect.
    fn never() -> Self {
        let detail = doubt_name(Doubt::Unspecified).into();
        Self { outcome: "indeterminate", detail, ..Self::default() }
    }

    fn saw(self, seen: &Observation<'_>) -> Self {
        match seen {
            Observation::Issued(n) => Self { detail: format!("issued {n}").into(), ..self },
            Observation::Remaining(n) => Self { remaining: Some(*n), ..self },
            Observation::Codes(codes) => {
                Self { detail: format!("codes {}", codes.join(" ")).into(), ..self }
            }
        }
    }

    fn push_to(&self, line: &mut ByteRecord) {
        push(line, self.accepted);
        push(line, self.answered);
        line.push_field(self.outcome.as_bytes());
        line.push_field(self.detail.as_bytes());
        push(line, self.status);
        push(line, self.code);
        push(line, self.order);
        push(line, self.seq);
        push(line, self.remaining);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe whose reader has seen enough.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_known_as_that() {
        let mut table = Table::new(Closed).unwrap();
        let begun = ByteRecord::from(vec!["x".repeat(100_000)]);
        let error = table.write(begun, &Ended::never()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
    use contract::outcome::{Coupon, Failure};

    fn invoke(op: u64, kind: Kind) -> Event<'static> {
        Event::Invoke(Invocation {
            op,
            campaign: "spring, \"17\"".into(),
            kind,
            at: 30,
            intended: Some(10),
            woken: Some(20),
            target: Some(1),
            user: Some("=u".into()),
            key: None,
            follows: (kind == Kind::Poll).then_some(1),
        })
    }

    fn complete(op: u64, outcome: Outcome<'static>) -> Event<'static> {
        let (accepted, status) = ((op == 1).then_some(35), Some(200));
        Event::Complete(Completion { op, at: 40, accepted, outcome, status, stamp: None })
    }

    fn table(events: &[Event<'_>]) -> String {
        let mut out = Vec::new();
        let mut table = Table::new(&mut out).unwrap();
        for event in events {
            table.event(event).unwrap();
        }
        table.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_for_each_request_and_the_unfinished_ones_last() {
        let code = "line\nfeed".into();
        let coupon = Coupon { code, seq: Some(-1), remaining: Some(0), order: Some("o1".into()) };
        let text = table(&[
            invoke(2, Kind::Read),
            invoke(1, Kind::Issue),
            invoke(3, Kind::Poll),
            complete(1, Outcome::Issued(coupon)),
            complete(3, Outcome::Pending),
        ]);
        let lines = [
            "op,campaign,kind,follows,target,user,key,intended_ns,woken_ns,sent_ns,accepted_ns,\
             answered_ns,outcome,detail,status,code,order,seq,remaining",
            "1,\"spring, \"\"17\"\"\",issue,,1,=u,,10,20,30,35,40,issued,,200,\"line\nfeed\",o1,-1,0",
            "3,\"spring, \"\"17\"\"\",poll,1,1,=u,,10,20,30,,40,pending,,200,,,,",
            "2,\"spring, \"\"17\"\"\",read,,1,=u,,10,20,30,,,indeterminate,never completed,,,,,",
        ];
        assert_eq!(text, lines.join("\n") + "\n");
    }

    #[test]
    fn every_outcome_has_its_columns() {
        let end = |outcome| {
            let text = table(&[invoke(2, Kind::Issue), complete(2, outcome)]);
            let from = text.find(",40,").unwrap() + 4;
            text[from..].trim_end().to_owned()
        };
        for (outcome, want) in [
            (Outcome::SoldOut, "sold_out,,200,,,,"),
            (Outcome::NotStarted, "not_started,,200,,,,"),
            (Outcome::NotFound, "not_found,,200,,,,"),
            (Outcome::Ended, "ended,,200,,,,"),
            (Outcome::AlreadyIssued(Some("A".into())), "already_issued,,200,A,,,"),
            (Outcome::Failed(Failure::Busy), "failed,busy,200,,,,"),
            (Outcome::Indeterminate(Doubt::Timeout), "indeterminate,timeout,200,,,,"),
            (Outcome::Read(Observation::Remaining(7)), "read,,200,,,,7"),
            (Outcome::Read(Observation::Issued(3)), "read,issued 3,200,,,,"),
            (
                Outcome::Read(Observation::Codes(vec!["A".into(), "B".into()])),
                "read,codes A B,200,,,,",
            ),
        ] {
            assert_eq!(end(outcome), want);
        }
    }

    #[test]
    fn an_empty_history_has_its_first_line() {
        assert_eq!(table(&[]).lines().count(), 1);
    }
}
