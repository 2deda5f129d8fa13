//! What others write, changed by a seed in thousands of ways: it is read, or refused, and nothing else.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "foreign/parsers.rs"]
mod parsers;

use contract::campaign::{PerUser, Precedence};
use contract::history::clock::Probe;
use contract::history::stored::{Record, Segment, StoredPromise};
use contract::history::{Completion, Invocation, Kind};
use contract::outcome::{Coupon, Observation, Outcome};
use e2e::mutated;

/// So many changes of each input.
const SEEDS: u64 = 3_000;

/// One record of each kind.
fn all() -> Vec<Record<'static>> {
    let coupon = Coupon {
        code: "가나다라1".into(),
        seq: Some(1),
        remaining: Some(-9),
        order: Some("o".into()),
    };
    let outcomes = [
        Outcome::Issued(coupon),
        Outcome::AlreadyIssued(Some("가".into())),
        Outcome::Read(Observation::Codes(vec!["가".into(), "나".into()])),
        Outcome::Read(Observation::Issued(3)),
        Outcome::SoldOut,
    ];
    let per_user = Some(PerUser { limit: 1, precedence: Precedence::Either });
    let mut records = vec![
        Record::Campaign(StoredPromise {
            campaign: "봄".into(),
            coupons: 5,
            starts_at_unix_ns: 1_800_000_000_000_000_000,
            per_user,
            restock: false,
        }),
        Record::Probe(Probe { sent: 1, received: 9, stamp: 5, resolution: 1_000 }),
    ];
    for (op, outcome) in (1..).zip(outcomes) {
        let at = i64::try_from(op).unwrap() * 100;
        records.push(Record::Invoke(Invocation {
            op,
            campaign: "봄".into(),
            kind: Kind::Issue,
            at,
            intended: Some(at),
            woken: None,
            target: Some(2),
            user: Some("u1".into()),
            key: Some("k".into()),
            follows: None,
        }));
        let (accepted, status, stamp) = (None, Some(200), Some(7));
        records.push(Record::Complete(Completion {
            op,
            at: at + 50,
            accepted,
            outcome,
            status,
            stamp,
        }));
    }
    records.push(Record::Trailer { invocations: 5, completions: 5 });
    records
}

const LINES: &str = r#"{"type":"header","format":"coupon-history/1"}
{"type":"campaign","campaign":"c","coupons":2,"starts_at":{"earliest":100,"latest":100},"per_user":{"limit":1,"precedence":"either"}}
{"type":"invoke","op":1,"campaign":"c","kind":"issue","at":5,"intended":3,"woken":4,"target":0,"user":"u","key":"k"}
{"type":"complete","op":1,"at":10,"accepted":6,"outcome":"issued","code":"A","order":"o1","seq":1,"remaining":0,"status":200,"stamp":77}
{"type":"invoke","op":2,"campaign":"c","kind":"read","at":130}
{"type":"complete","op":2,"at":140,"outcome":"read","codes":["A","가"]}
{"type":"trailer","invocations":2,"completions":2}
"#;

#[test]
fn any_line_is_read_or_refused() {
    (0..SEEDS * 3).for_each(|seed| parsers::lines(&mutated(LINES.as_bytes(), seed)));
}

#[test]
fn any_segment_is_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut segment = Segment::create(dir.path(), "s").unwrap();
    all().iter().for_each(|record| segment.append(record).unwrap());
    segment.finish().unwrap();
    let bytes = std::fs::read(dir.path().join("s.seg")).unwrap();
    (0..SEEDS).for_each(|seed| parsers::segment(&mutated(&bytes, seed)));
}

#[test]
fn any_record_behind_a_right_checksum_is_read_or_refused() {
    let bytes = parsers::as_records(&all());
    parsers::records(&bytes);
    (0..SEEDS).for_each(|seed| parsers::records(&mutated(&bytes, seed)));
}
