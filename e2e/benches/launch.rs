//! `cargo bench -p e2e --bench launch`: the load generator's start lag, and how much the verifier reads
//! a second. Medians count.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use contract::history::clock::Probe;
use contract::history::stored::{Record, Segment, StoredPromise};
use contract::history::{Completion, Invocation, Kind};
use contract::outcome::{Coupon, Outcome};

/// Rounds of each candidate.
const ROUNDS: usize = 3;
/// Operations of the history that the verifier reads.
const OPERATIONS: u64 = 1_000_000;

fn main() {
    if std::env::args().any(|a| a == "codes") {
        return codes();
    }
    pace();
    verifier();
    codes();
}

/// The load generator's start lag at 1,000 requests a second.
fn pace() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", dir.path().join("bench.db").display());
    let server = e2e::CouponServer::start(&["--store", &store]);
    let scenario = dir.path().join("pace.yaml");
    let text = format!(
        "name: pace\ncampaign: {{ coupons: 1, starts_in: 500ms }}\n\
         system: {{ targets: ['http://127.0.0.1:{}'] }}\n\
         load: {{ begin: 0s, stages: [{{ for: 10s, rate: 1000 }}] }}\n",
        server.port()
    );
    std::fs::write(&scenario, text).unwrap();
    let run = dir.path().join("run");
    let output = Command::new(e2e::binary("loadgen"))
        .arg("run")
        .arg(&scenario)
        .arg("--out")
        .arg(&run)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary = std::fs::read(run.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    let lag = &summary["times"]["lag"];
    let figure = |name: &str| lag[name].as_f64().unwrap();
    println!(
        "\nstart lag at 1,000 requests/s for 10 s: p50 {:.0} µs, p99 {:.0} µs, max {:.0} µs",
        figure("p50_us"),
        figure("p99_us"),
        figure("max_us")
    );
}

/// Records the verifier reads and judges a second.
fn verifier() {
    let dir = tempfile::tempdir().unwrap();
    write_history(dir.path());
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let status = Command::new(e2e::binary("verifier"))
            .arg("check")
            .arg("--history")
            .arg(dir.path())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0), "the history is valid");
        rates.push(2.0 * OPERATIONS as f64 / begin.elapsed().as_secs_f64());
    }
    println!(
        "\nverifier: {:.1} million records/s (median of {ROUNDS}; {} million operations, a tenth issued)",
        median(&mut rates) / 1e6,
        OPERATIONS / 1_000_000
    );
}

/// Codes that are looked at a second, beside a look at each of their bytes that asks nothing.
fn codes() {
    let syllable = |n: u32| char::from_u32(0xAC00 + n % 11_172).unwrap();
    let code = |n: u32| {
        let characters = (0..7).map(|k| syllable(n.wrapping_mul(2_654_435_761) >> k));
        format!("{}{:03}", characters.collect::<String>(), n % 1_000)
    };
    let codes: Vec<String> = (0..1_000_000).map(code).collect();
    let rate = |look: &dyn Fn(&str) -> bool| {
        let mut rates = [0.0; ROUNDS].map(|_: f64| {
            let begin = Instant::now();
            let all = (0..10).all(|_| codes.iter().all(|code| look(std::hint::black_box(code))));
            assert!(all, "all of them are well-formed");
            10.0 * codes.len() as f64 / begin.elapsed().as_secs_f64()
        });
        median(&mut rates)
    };
    let judged = rate(&verifier::check::is_well_formed);
    let read = rate(&|code| code.bytes().fold(0_u8, |all, b| all | b) > 0);
    println!(
        "\ncodes: {:.0} million/s, {:.2} of a look at each byte (median of {ROUNDS})",
        judged / 1e6,
        judged / read
    );
}

/// A valid history: overlapping operations, the first before the start, a tenth issued.
fn write_history(dir: &Path) {
    let coupons = OPERATIONS / 10;
    let mut control = Segment::create(dir, "control").unwrap();
    control
        .append(&Record::Campaign(StoredPromise {
            campaign: "1".into(),
            coupons,
            starts_at_unix_ns: 1_000,
            per_user: None,
            restock: false,
        }))
        .unwrap();
    let probe = Probe { sent: 990, received: 1_010, stamp: 1_000, resolution: 1 };
    control.append(&Record::Probe(probe)).unwrap();
    control.finish().unwrap();
    let mut segment = Segment::create(dir, "worker-0").unwrap();
    segment.append(&invocation(0)).unwrap();
    for op in 0..OPERATIONS {
        if op + 1 < OPERATIONS {
            segment.append(&invocation(op + 1)).unwrap();
        }
        segment.append(&completion(op, coupons)).unwrap();
    }
    segment.finish().unwrap();
}

fn invocation(op: u64) -> Record<'static> {
    Record::Invoke(Invocation {
        op,
        campaign: "1".into(),
        kind: Kind::Issue,
        at: i64::try_from(op * 1_000).unwrap(),
        intended: Some(i64::try_from(op * 1_000).unwrap()),
        woken: None,
        target: Some(0),
        user: Some(format!("u{op:07}").into()),
        key: Some(format!("k{op:07}").into()),
        follows: None,
    })
}

fn completion(op: u64, coupons: u64) -> Record<'static> {
    let outcome = match op {
        0 => Outcome::NotStarted,
        op if op <= coupons => Outcome::Issued(Coupon {
            code: format!("{op:010}").into(),
            seq: i64::try_from(op).ok(),
            remaining: i64::try_from(coupons - op).ok(),
            order: None,
        }),
        _ => Outcome::SoldOut,
    };
    let at = i64::try_from(op * 1_000 + 1_500).unwrap();
    Record::Complete(Completion { op, at, accepted: None, outcome, status: None, stamp: None })
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
