//! What a threshold may say, and when it holds.

use super::*;
use crate::selfcheck::Vitals;
use crate::summary::{Observed, summarize};
use crate::worker::Tally;
use contract::campaign::Window;
use contract::history::{Completion, Event, Invocation, Kind, Promise, jsonl};
use contract::outcome::{Coupon, Failure, Outcome};
use contract::run::{Anchor, Run, RunState};

fn parse(yaml: &str) -> Result<Threshold, String> {
    serde_saphyr::from_str(yaml).map_err(|e| e.to_string())
}

#[test]
fn accepts_every_figure_and_says_it_in_words() {
    for (yaml, words) in [
        ("{figure: response.p99, of: issued, below: 200ms}", "response.p99 of issued below 200ms"),
        ("{figure: response.p99.9, below: 1.5s}", "response.p99.9 below 1s500ms"),
        ("{figure: failed.share, below: 0.1%}", "failed.share below 0.1%"),
        ("{figure: dropped, below: 1}", "dropped below 1"),
        ("{figure: start_delay, below: 50ms}", "start_delay below 50ms"),
        ("{figure: time_to_sell_out, below: 30s}", "time_to_sell_out below 30s"),
        ("{figure: issue_rate, above: 512.5}", "issue_rate above 512.5"),
        ("{figure: lag.max, below: 1ms}", "lag.max below 1ms"),
    ] {
        let threshold = parse(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"));
        assert_eq!(threshold.to_string(), words);
        let json = serde_json::to_value(threshold).unwrap();
        assert_eq!(serde_json::from_value::<Threshold>(json).unwrap(), threshold);
    }
}

#[test]
fn rejects_what_cannot_be_judged() {
    for (yaml, want) in [
        ("{figure: respnse.p99, below: 1s}", "did you mean response.p99?"),
        ("{figure: response.p98, below: 1s}", "unknown figure \"response.p98\""),
        ("{figure: response.p99, below: 5}", "below: response.p99 needs a duration"),
        ("{figure: failed.share, below: 5}", "below: failed.share needs a share, like 0.1%"),
        ("{figure: dropped, below: 5%}", "below: dropped needs a number"),
        ("{figure: dropped, below: -5}", "found -5, expected a number from 0 on"),
        ("{figure: failed.share, below: 101%}", "found \"101%\", expected a duration like"),
        ("{figure: dropped}", "expected one of `below` and `above`"),
        ("{figure: dropped, below: 1, above: 1}", "expected one of `below` and `above`"),
        ("{figure: dropped, of: issued, below: 1}", "of: it belongs to response times"),
        ("{figure: dropped, belw: 1}", "belw"),
    ] {
        let message = parse(yaml).unwrap_err();
        assert!(message.contains(want), "\n  {message}\nlacks\n  {want}");
    }
}

/// A run of so many coupons, each after 10 ms, and so many failures.
fn summary(coupons: u64, failures: u64) -> Summary {
    const START: i64 = 1_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    let history = dir.path().join(contract::run::HISTORY_DIR);
    let mut writer = jsonl::Writer::new(std::fs::File::create(history).unwrap()).unwrap();
    let mut write = |event: Event<'_>| writer.event(&event).unwrap();
    write(Event::Campaign(Promise {
        campaign: "1".into(),
        coupons,
        starts_at: Window { earliest: START - 1_000_000, latest: START + 1_000_000 },
        per_user: None,
        restock: false,
    }));
    for op in 0..coupons + failures {
        let at = START + i64::try_from(op).unwrap() * 20_000_000;
        let (campaign, kind) = ("1".into(), Kind::Issue);
        let intended = Some(at);
        let (woken, target, user, key) = (None, None, None, None);
        write(Event::Invoke(Invocation {
            op,
            campaign,
            kind,
            at,
            intended,
            woken,
            target,
            user,
            key,
            follows: None,
        }));
        let outcome = if op < coupons {
            let code = format!("c{op}").into();
            Outcome::Issued(Coupon { code, seq: None, remaining: None, order: None })
        } else {
            Outcome::Failed(Failure::NotConnected)
        };
        let at = at + 10_000_000;
        write(Event::Complete(Completion {
            op,
            at,
            accepted: None,
            outcome,
            status: None,
            stamp: None,
        }));
    }
    writer.finish().unwrap();
    let run = Run {
        format: contract::run::FORMAT.into(),
        scenario: "s".into(),
        definition: serde_json::Value::Null,
        seed: 1,
        campaigns: vec![],
        targets: vec![],
        store: None,
        anchor: Anchor { unix_ns: 0 },
        state: RunState::Finished,
    };
    let planned = coupons + failures;
    let tally = Tally { sent: planned, ..Tally::default() };
    let observed = Observed { tally, planned, vitals: Vitals::default(), samples: Vec::new() };
    summarize(dir.path(), &run, &observed).unwrap()
}

fn judged(yaml: &str, summary: &Summary) -> (bool, String) {
    let judgement = &judge(&[parse(yaml).unwrap()], summary)[0];
    (judgement.holds, judgement.to_string())
}

#[test]
fn a_figure_is_judged_on_the_bad_end_of_its_interval() {
    let summary = summary(398, 2);
    // 2 of 400 are 0.5 %, but up to 1.8 % fits them.
    let (holds, words) = judged("{figure: failed.share, below: 1%}", &summary);
    assert!(!holds, "{words}");
    assert_eq!(words, "✗ failed.share below 1%: 0.5 % [0.137 %, 1.804 %]");
    assert!(judged("{figure: failed.share, below: 2%}", &summary).0);
    assert!(judged("{figure: failed, below: 3}", &summary).0);
    // The start is known up to a millisecond: 10 ms may be 11.
    let (holds, words) = judged("{figure: start_delay, below: 10.5ms}", &summary);
    assert_eq!(
        (holds, words.as_str()),
        (false, "✗ start_delay below 10ms500us: 10.0 ms [9.00 ms, 11.0 ms]")
    );
    assert!(judged("{figure: start_delay, below: 11.5ms}", &summary).0);
    assert!(!judged("{figure: start_delay, above: 9.5ms}", &summary).0);
    assert!(judged("{figure: response.p99, of: issued, below: 10.1ms}", &summary).0);
    assert!(judged("{figure: issue_rate, above: 45}", &summary).0);
    assert!(!judged("{figure: issue_rate, above: 55}", &summary).0);
}

#[test]
fn no_or_too_few_samples_do_not_hold() {
    let few = summary(100, 0);
    let (holds, words) = judged("{figure: response.p99, of: issued, below: 1h}", &few);
    assert_eq!(
        (holds, words.as_str()),
        (false, "✗ response.p99 of issued below 1h: too few samples (100)")
    );
    assert!(judged("{figure: response.p90, of: issued, below: 1h}", &few).0);
    let (holds, words) = judged("{figure: response.max, of: refused, below: 1h}", &few);
    assert_eq!((holds, words.as_str()), (false, "✗ response.max of refused below 1h: no samples"));
    assert!(!judged("{figure: time_to_sell_out, below: 1h}", &few).0);
    let none = summary(0, 0);
    for yaml in ["{figure: failed, below: 1}", "{figure: dropped.share, below: 1%}"] {
        assert!(!judged(yaml, &none).0, "{yaml}");
    }
}
