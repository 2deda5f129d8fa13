//! From events to figures.

use super::*;
use contract::campaign::Window;
use contract::history::{Completion, Event, Invocation, Kind, Promise};
use contract::outcome::Coupon;
use contract::run::{Anchor, RunTarget};

/// The campaign's start on the history's clock.
const START: i64 = 10 * MS;
const MS: i64 = 1_000_000;

fn observed(planned: u64) -> Observed {
    let tally = Tally { sent: planned, ..Tally::default() };
    Observed { tally, planned, vitals: Vitals::default() }
}

fn run() -> Run {
    let target = |n: &str| RunTarget { name: n.into(), url: String::new(), pid: None };
    Run {
        format: contract::run::FORMAT.into(),
        scenario: "s".into(),
        definition: serde_json::Value::Null,
        seed: 1,
        campaigns: vec![],
        targets: vec![target("a"), target("b")],
        store: None,
        anchor: Anchor { unix_ns: 0 },
        state: RunState::Finished,
    }
}

fn issued() -> Outcome<'static> {
    Outcome::Issued(Coupon { code: "가".into(), seq: None, remaining: None })
}

/// An attempt: number, intended start, actual start, end, outcome.
type Attempt = (u64, i64, i64, i64, Option<Outcome<'static>>);

fn gather(attempts: &[Attempt]) -> Gather {
    let mut gather = Gather::new(2);
    gather.event(Event::Campaign(Promise {
        campaign: "1".into(),
        coupons: 5,
        starts_at: Window { earliest: START - 1_000, latest: START + 1_000 },
        per_user: None,
    }));
    let invoked = attempts.iter().map(|(op, intended, at, ..)| {
        let invocation = Invocation {
            op: *op,
            campaign: "1".into(),
            kind: Kind::Issue,
            at: *at,
            intended: Some(*intended),
            woken: Some(*at),
            target: Some(u16::try_from(op % 2).unwrap()),
            user: None,
            key: None,
        };
        (*at, Event::Invoke(invocation))
    });
    let completed = attempts.iter().filter_map(|(op, _, _, at, outcome)| {
        let (op, at, outcome) = (*op, *at, outcome.clone()?);
        Some((at, Event::Complete(Completion { op, at, outcome, status: None, stamp: None })))
    });
    let mut events: Vec<_> = invoked.chain(completed).collect();
    events.sort_by_key(|(at, _)| *at);
    for (_, event) in events {
        gather.event(event);
    }
    gather.close();
    gather
}

fn summary(attempts: &[Attempt]) -> Summary {
    let n = attempts.len() as u64;
    let completions = attempts.iter().filter(|a| a.4.is_some()).count() as u64;
    let integrity = Integrity { invocations: n, completions, gaps: vec![] };
    conclude(gather(attempts), &run(), &observed(n), integrity)
}

#[test]
fn response_counts_from_the_intended_start() {
    let one = |op| (op, MS, 3 * MS, 4 * MS, Some(issued()));
    let summary = summary(&(1..=7).map(one).collect::<Vec<_>>());
    let p50 = |d: Distribution| d.percentile(Quantile::P50).unwrap().value;
    let near = |a: f64, b: f64| (a - b).abs() / b < 0.002;
    assert!(near(p50(summary.times.response), 3_000.0), "{:?}", summary.times);
    assert!(near(p50(summary.times.response_of_issued), 3_000.0));
    assert!(near(p50(summary.times.service), 1_000.0));
    assert!(near(p50(summary.times.lag), 2_000.0));
    assert_eq!(summary.times.response_of_refused.samples, 0);
    let by_target = summary.targets.iter().map(|t| t.outcomes.issued).collect::<Vec<_>>();
    assert_eq!(by_target, [3, 4]);
    assert!(summary.accounting.holds && summary.objections().is_empty());
}

#[test]
fn an_attempt_belongs_to_the_phase_that_it_began_in() {
    let summary = summary(&[
        (1, START - 2 * MS, START - 2 * MS, START - MS, Some(Outcome::NotStarted)),
        // Begun before the start, answered after it.
        (2, START - MS, START - MS, START + 3 * MS, Some(issued())),
        // The start itself is no longer before it.
        (3, START, START, START + 2 * MS, Some(issued())),
        // Begun before the first sold-out answer, refused itself.
        (4, START + 4 * MS, START + 4 * MS, START + 9 * MS, Some(Outcome::SoldOut)),
        (5, START + 5 * MS, START + 5 * MS, START + 6 * MS, Some(Outcome::SoldOut)),
        (6, START + 7 * MS, START + 7 * MS, START + 8 * MS, Some(Outcome::SoldOut)),
        (7, START + 7 * MS, START + 7 * MS, 0, None),
    ]);
    let o = |phase: Phase| summary.phases[phase as usize].outcomes;
    let (before, selling, after) = (o(Phase::BeforeStart), o(Phase::Selling), o(Phase::SoldOut));
    assert_eq!((before.not_started, before.issued, before.total()), (1, 1, 2));
    assert_eq!((selling.issued, selling.sold_out, selling.total()), (1, 2, 3));
    assert_eq!((after.sold_out, after.indeterminate, after.total()), (1, 1, 2));
}

#[test]
fn the_launch_counts_from_the_middle_of_its_window() {
    let summary = summary(&[
        (1, START, START, START + 2 * MS, Some(issued())),
        (2, START, START, START + 1_500 * MS, Some(issued())),
        (3, START, START, START + 2_000 * MS, Some(Outcome::SoldOut)),
    ]);
    let launch = summary.launch.unwrap();
    assert_eq!(launch.start_delay_us, Some(2_000.0));
    assert_eq!(launch.time_to_sell_out_us, Some(2_000_000.0));
    assert_eq!(launch.start_uncertainty_us, 1.0);
    assert!((launch.issue_rate.unwrap() - 2.0 / 1.5).abs() < 1e-9, "{launch:?}");
    let second = |second, sent, issued| Second { second, sent, issued };
    assert_eq!(summary.per_second, [second(0, 3, 1), second(1, 0, 1)]);
}

#[test]
fn the_first_second_has_ten_steps() {
    let at = |op: u64, ms: i64| {
        let due = START + ms * MS;
        (op, due, due + MS, due + 2 * MS, Some(Outcome::SoldOut))
    };
    let summary = summary(&[at(1, -1), at(2, 0), at(3, 99), at(4, 100), at(5, 999), at(6, 1_000)]);
    let sent: Vec<u64> = summary.first_second.iter().map(|s| s.sent).collect();
    assert_eq!(sent, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(summary.first_second[9].from_ms, 900);
    assert_eq!(summary.first_second[0].outcomes.sold_out, 2);
}

#[test]
fn without_a_start_nothing_counts_from_it() {
    let mut gather = Gather::new(0);
    let nowhere = Window { earliest: i64::MIN, latest: i64::MAX };
    gather.event(Event::Campaign(Promise {
        campaign: "1".into(),
        coupons: 5,
        starts_at: nowhere,
        per_user: None,
    }));
    let summary = conclude(gather, &run(), &observed(0), Integrity::default());
    assert!(summary.launch.is_none() && summary.phases.is_empty());
    assert!(summary.first_second.is_empty() && summary.per_second.is_empty());
}

#[test]
fn what_was_never_completed_is_indeterminate_and_breaks_the_account() {
    let summary = summary(&[(1, 0, 0, 0, None)]);
    assert_eq!(summary.accounting.indeterminate, 1);
    assert!(!summary.accounting.holds);
    assert!(summary.objections()[0].contains("does not add up"));
}

#[test]
fn a_lost_arrival_breaks_the_account() {
    let integrity = Integrity::default();
    assert!(!account(Outcomes::default(), Tally::default(), 1, &integrity).holds);
    let dropped = Tally { dropped: 1, ..Tally::default() };
    assert!(account(Outcomes::default(), dropped, 1, &integrity).holds);
}

#[test]
fn an_unclassified_answer_is_an_objection() {
    let outcome = Outcome::Indeterminate(Doubt::Unclassified);
    let summary = summary(&[(1, 0, 0, 9, Some(outcome))]);
    assert!(summary.objections()[0].contains("match no rule"));
}
