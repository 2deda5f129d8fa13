//! From events to figures.

use super::*;
use contract::campaign::Window;
use contract::history::{Completion, Event, Invocation, Kind, Promise};
use contract::outcome::{Coupon, Observation};
use contract::run::{Anchor, RunTarget};

/// The campaign's start on the history's clock.
const START: i64 = 10 * MS;
const MS: i64 = 1_000_000;

fn observed(planned: u64) -> Observed {
    let tally = Tally { sent: planned, ..Tally::default() };
    Observed { tally, planned, vitals: Vitals::default(), samples: Vec::new() }
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
    issued_as("가")
}

fn issued_as(code: &'static str) -> Outcome<'static> {
    Outcome::Issued(Coupon { code: code.into(), seq: None, remaining: None, order: None })
}

/// A campaign of five coupons that starts around `start`.
fn promise(campaign: &'static str, start: i64) -> Promise<'static> {
    Promise {
        campaign: campaign.into(),
        coupons: 5,
        starts_at: Window { earliest: start - 1_000, latest: start + 1_000 },
        per_user: None,
        restock: false,
    }
}

fn invocation(op: u64, kind: Kind, intended: i64, at: i64) -> Invocation<'static> {
    Invocation {
        op,
        campaign: "1".into(),
        kind,
        at,
        intended: Some(intended),
        woken: Some(at),
        target: Some(u16::try_from(op % 2).unwrap()),
        user: None,
        key: None,
        follows: None,
    }
}

fn completion(op: u64, at: i64, outcome: Outcome<'static>) -> Completion<'static> {
    Completion { op, at, accepted: None, outcome, status: None, stamp: None }
}

/// A history, whose events may be given in any order.
#[derive(Default)]
struct Story {
    promises: Vec<Promise<'static>>,
    invocations: Vec<Invocation<'static>>,
    completions: Vec<Completion<'static>>,
    definition: serde_json::Value,
    follow_ups: u64,
    /// Somebody got to look at the answers when all was over, at the last one first.
    backwards: bool,
}

impl Story {
    fn of_one_campaign() -> Self {
        Self { promises: vec![promise("1", START)], ..Self::default() }
    }

    /// A request and its end.
    fn add(&mut self, i: Invocation<'static>, after: i64, outcome: Outcome<'static>) {
        self.completions.push(completion(i.op, i.at + after, outcome));
        self.invocations.push(i);
    }

    fn run(&self) -> Run {
        Run { definition: self.definition.clone(), ..run() }
    }

    fn gather(&self) -> Gather {
        let mut gather = Gather::new(&self.run());
        for promise in &self.promises {
            gather.event(Event::Campaign(promise.clone()));
        }
        let invoked = self.invocations.iter().cloned().map(|i| (i.at, 0, Event::Invoke(i)));
        let seen = |at: i64| if self.backwards { i64::MAX - at } else { at };
        let completed = self.completions.iter().cloned();
        let completed = completed.map(|c| (seen(c.at), 1, Event::Complete(c)));
        let mut events: Vec<_> = invoked.chain(completed).collect();
        events.sort_by_key(|(at, rank, _)| (*at, *rank));
        for (_, _, event) in events {
            gather.event(event);
        }
        gather.close();
        gather
    }

    fn summary(&self) -> Summary {
        let integrity = Integrity {
            invocations: self.invocations.len() as u64,
            completions: self.completions.len() as u64,
            gaps: vec![],
        };
        let attempts = self.invocations.iter().filter(|i| i.kind == Kind::Issue).count() as u64;
        let mut observed = observed(attempts);
        observed.planned -= self.follow_ups;
        observed.tally.follow_ups = self.follow_ups;
        conclude(self.gather(), &self.run(), &observed, integrity)
    }
}

/// An attempt: number, intended start, actual start, end, outcome.
type Attempt = (u64, i64, i64, i64, Option<Outcome<'static>>);

fn summary(attempts: &[Attempt]) -> Summary {
    let mut story = Story::of_one_campaign();
    for (op, intended, at, end, outcome) in attempts.iter().cloned() {
        let attempt = invocation(op, Kind::Issue, intended, at);
        match outcome {
            Some(outcome) => story.add(attempt, end - at, outcome),
            None => story.invocations.push(attempt),
        }
    }
    story.summary()
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
fn whoever_is_told_that_there_is_no_campaign_yet_or_no_longer_was_refused() {
    let both = summary(&[
        (1, START - 2 * MS, START - 2 * MS, START - MS, Some(Outcome::NotFound)),
        (2, START + 4 * MS, START + 4 * MS, START + 9 * MS, Some(Outcome::Ended)),
    ]);
    let o = both.outcomes;
    assert_eq!((o.not_found, o.ended, both.accounting.decided), (1, 1, 2));
    assert_eq!(both.times.response_of_refused.samples, 2);
    let text = crate::report::text(&both);
    assert!(text.contains("not found") && text.contains("ended"), "{text}");
    let other = summary(&[(1, START, START, START + MS, Some(issued()))]);
    assert!(!crate::report::text(&other).contains("not found"));
}

#[test]
fn the_launch_counts_from_the_middle_of_its_window() {
    let summary = summary(&[
        (1, START, START, START + 2 * MS, Some(issued())),
        (2, START, START, START + 1_500 * MS, Some(issued_as("나"))),
        // The first coupon told once more is no third one.
        (4, START, START, START + 1_900 * MS, Some(issued())),
        (3, START, START, START + 2_000 * MS, Some(Outcome::SoldOut)),
    ]);
    let launch = summary.launch.unwrap();
    assert_eq!(launch.start_delay_us, Some(2_000.0));
    assert_eq!(launch.time_to_sell_out_us, Some(2_000_000.0));
    assert_eq!(launch.start_uncertainty_us, 1.0);
    assert!((launch.issue_rate.unwrap() - 2.0 / 1.5).abs() < 1e-9, "{launch:?}");
    let second = |second, sent, issued| Second { second, sent, issued };
    assert_eq!(summary.per_second, [second(0, 4, 1), second(1, 0, 2)]);
}

#[test]
fn the_launch_does_not_depend_on_when_answers_were_looked_at() {
    let mut story = Story::of_one_campaign();
    for (op, after, outcome) in [
        (1, 3, issued()),
        (2, 5, issued_as("나")),
        (3, 10, Outcome::SoldOut),
        (4, 20, Outcome::SoldOut),
    ] {
        story.add(invocation(op, Kind::Issue, START, START), after * MS, outcome);
    }
    for backwards in [false, true] {
        story.backwards = backwards;
        let summary = story.summary();
        let launch = summary.launch.unwrap();
        assert_eq!((launch.start_delay_us, launch.time_to_sell_out_us), (Some(3e3), Some(1e4)));
        assert_eq!(launch.issue_rate, Some(2.0 / 0.005));
        assert_eq!(summary.seconds, 0.02);
    }
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
    let nowhere = Window { earliest: i64::MIN, latest: i64::MAX };
    let promises = vec![Promise { starts_at: nowhere, ..promise("1", START) }];
    let mut story = Story { promises, ..Story::default() };
    story.add(invocation(1, Kind::Issue, START, START), MS, issued());
    let summary = story.summary();
    assert!(summary.launch.is_none() && summary.phases.is_empty());
    assert!(summary.first_second.is_empty() && summary.per_second.is_empty());
    assert_eq!((summary.outcomes.issued, summary.accounting.holds), (1, true));
}

#[test]
fn without_a_campaign_attempts_are_counted_all_the_same() {
    let mut story = Story::default();
    story.add(invocation(1, Kind::Issue, START, START), MS, issued());
    let summary = story.summary();
    assert!(summary.launch.is_none() && summary.campaigns.is_none());
    assert_eq!((summary.outcomes.issued, summary.accounting.holds), (1, true));
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
    let holds = |tally: Tally| {
        let observed = Observed { tally, planned: 1, ..observed(0) };
        account(&Gather::new(&run()), &observed, &Integrity::default()).holds
    };
    assert!(!holds(Tally::default()));
    assert!(holds(Tally { dropped: 1, ..Tally::default() }));
    assert!(holds(Tally { dropped: 2, cancelled: 1, follow_ups: 2, ..Tally::default() }));
    assert!(!holds(Tally { dropped: 1, follow_ups: 1, ..Tally::default() }));
}

#[test]
fn steps_and_reads_are_no_attempts() {
    let mut story = Story::of_one_campaign();
    story.add(invocation(1, Kind::Issue, START, START), 9 * MS, issued());
    let step = |op, kind| Invocation {
        follows: Some(1),
        ..invocation(op, kind, START + 2 * MS, START + 2 * MS)
    };
    story.add(step(2, Kind::Poll), MS, Outcome::Pending);
    story.add(step(3, Kind::Poll), MS, Outcome::Indeterminate(Doubt::Timeout));
    story.invocations.push(step(4, Kind::Confirm));
    let read = |op| invocation(op, Kind::Read, START, START);
    story.add(read(5), 3 * MS, Outcome::Read(Observation::Remaining(4)));
    story.add(read(6), 3 * MS, Outcome::Failed(Failure::NotConnected));
    story.add(read(7), 3 * MS, Outcome::Indeterminate(Doubt::Unreadable));
    let summary = story.summary();
    assert_eq!(summary.steps, Steps { polls: 2, confirms: 1, unanswered: 2 });
    assert_eq!(summary.reads, Reads { sent: 3, answered: 1, failed: 1, indeterminate: 1 });
    assert_eq!(summary.times.read.unwrap().samples, 2);
    let a = summary.accounting;
    assert_eq!((a.planned, a.sent, a.decided, a.indeterminate, a.repeats), (1, 1, 1, 0, 0));
    assert_eq!((a.recorded, summary.times.lag.samples, summary.per_second[0].sent), (7, 1, 1));
    // One of the steps was never over.
    assert!(!a.holds);
    story.completions.push(completion(4, START + 5 * MS, Outcome::SoldOut));
    let summary = story.summary();
    assert!(summary.accounting.holds && summary.objections().is_empty());
    assert_eq!(summary.steps.unanswered, 1);
    let text = crate::report::text(&summary);
    assert!(text.contains("besides: 2 polls, 1 confirmations; 1 of them unanswered"), "{text}");
    assert!(text.contains("3 reads = answered 1 + failed 1 + indeterminate 1"), "{text}");
    assert!(text.contains("\n read "), "{text}");
}

#[test]
fn without_steps_and_reads_nothing_is_said_of_them() {
    let summary = summary(&[(1, START, START, START + MS, Some(issued()))]);
    let text = crate::report::text(&summary);
    let absent = ["besides", "campaigns", "burst", "follow-ups", "asked before", "accepted"];
    assert!(absent.iter().all(|word| !text.contains(word)), "{text}");
    let json = serde_json::to_value(&summary).unwrap();
    let missing = ["/campaigns", "/times/read", "/times/accepted", "/launch/across", "/warm_up"];
    assert!(missing.iter().all(|key| json.pointer(key).is_none()), "{json}");
}

#[test]
fn who_asks_again_is_counted_and_follow_ups_are_no_arrivals_of_the_plan() {
    let mut story = Story::of_one_campaign();
    story.add(invocation(1, Kind::Issue, START, START), MS, Outcome::Failed(Failure::Busy));
    for op in [2, 3] {
        let again = invocation(op, Kind::Issue, START + 2 * MS, START + 2 * MS);
        story.add(Invocation { follows: Some(1), ..again }, MS, issued());
    }
    // Of both, one was planned and one is a retry.
    story.follow_ups = 1;
    let summary = story.summary();
    let a = summary.accounting;
    assert_eq!((a.planned, a.follow_ups, a.sent, a.repeats, a.holds), (2, 1, 3, 2, true));
    let text = crate::report::text(&summary);
    assert!(text.contains("planned 2 + 1 follow-ups = sent 3 + dropped 0"), "{text}");
    assert!(text.contains("2 of them by buyers who had asked before"), "{text}");
}

#[test]
fn the_time_to_be_accepted_counts_from_the_actual_start() {
    let mut story = Story::of_one_campaign();
    for op in 1..=6 {
        story.invocations.push(invocation(op, Kind::Issue, START - MS, START));
        let accepted = Some(START + 2 * MS);
        let end = completion(op, START + 50 * MS, issued());
        story.completions.push(Completion { accepted, ..end });
    }
    let summary = story.summary();
    let accepted = summary.times.accepted.unwrap().percentile(Quantile::P50).unwrap().value;
    assert!((accepted / 2_000.0 - 1.0).abs() < 0.002, "{accepted}");
    assert!(crate::report::text(&summary).contains("accepted"));
}

#[test]
fn what_the_scenario_wanted_does_not_fail_a_run() {
    for (outcome, name) in [
        (Outcome::Indeterminate(Doubt::HungUp), "hung up, as planned"),
        (Outcome::Indeterminate(Doubt::Undecided), "accepted, never decided"),
        (Outcome::Indeterminate(Doubt::Unconfirmed), "reserved, not confirmed"),
        (Outcome::Failed(Failure::Busy), "busy"),
    ] {
        let summary = summary(&[(1, START, START, START + MS, Some(outcome))]);
        assert_eq!(summary.objections(), Vec::<String>::new());
        assert_eq!(summary.failures.get(name).or(summary.doubts.get(name)), Some(&1));
    }
    let gone = Some(Outcome::Failed(Failure::NotConnected));
    let objections = summary(&[(1, START, START, START + MS, gone)]).objections();
    assert_eq!(objections, ["no request reached the system"]);
}

/// A buyer's patience says nothing about how fast the system is.
#[test]
fn a_buyer_who_hangs_up_is_no_sample_of_the_response_time() {
    let hung_up = Some(Outcome::Indeterminate(Doubt::HungUp));
    let summary = summary(&[
        (1, START, START, START + MS, hung_up),
        (2, START, START, START + 9 * MS, Some(Outcome::Indeterminate(Doubt::Timeout))),
    ]);
    let t = summary.times;
    assert_eq!((t.response.samples, t.service.samples, t.lag.samples), (1, 1, 2));
}

/// Campaigns in a row, each with five coupons: how many it acknowledges, and whether it then says
/// "sold out".
fn campaigns(results: &[(u64, bool)]) -> Story {
    const NAMES: [&str; 4] = ["17", "18", "33", "34"];
    const CODES: [&str; 6] = ["A", "B", "C", "D", "E", "F"];
    let mut story = Story::default();
    for (number, (coupons, sold_out)) in (0..).zip(results) {
        let name = NAMES[usize::try_from(number).unwrap()];
        let start = START + number * 1_000 * MS;
        story.promises.push(promise(name, start));
        let mut ask = |op: u64, at: i64, after: i64, outcome| {
            let op = op + 100 * u64::try_from(number).unwrap();
            let attempt = invocation(op, Kind::Issue, at, at);
            story.add(Invocation { campaign: name.into(), ..attempt }, after, outcome);
        };
        for (op, code) in (1..=*coupons).zip(CODES) {
            // The further the campaign, the slower.
            ask(op, start + MS, (number + 1) * MS, issued_as(code));
        }
        ask(90, start - MS, MS / 2, Outcome::NotStarted);
        if *sold_out {
            ask(91, start + 250 * MS, MS, Outcome::SoldOut);
            ask(92, start + 252 * MS, MS, Outcome::SoldOut);
        }
    }
    story
}

#[test]
fn campaigns_are_told_apart_by_what_they_acknowledged() {
    let summary = campaigns(&[(6, true), (5, true), (4, true), (4, false)]).summary();
    let want = CampaignsSummary {
        count: 4,
        coupons: Some(5),
        exact: 1,
        over: 1,
        short: 1,
        never_sold_out: 1,
        over_ids: vec!["17".into()],
        short_ids: vec!["33".into()],
    };
    assert_eq!(summary.campaigns, Some(want));
    let line = "1 of 4 campaigns issued exactly 5 coupons; more: 1 (17), fewer: 1 (33), \
                not sold out: 1";
    let text = crate::report::text(&summary);
    assert!(text.contains(line) && text.starts_with("s: 4 campaigns, "), "{text}");
    assert_eq!(campaigns(&[(5, true)]).summary().campaigns, None);
    let text = crate::report::text(&campaigns(&[(5, true), (5, false)]).summary());
    assert!(text.contains("\n2 of 2 campaigns issued exactly 5 coupons\n"), "{text}");
}

#[test]
fn only_the_first_campaigns_that_are_off_are_named() {
    let mut story = Story::default();
    for op in 0..30 {
        let name: &'static str = Box::leak(format!("c{op}").into_boxed_str());
        story.promises.push(Promise { coupons: 1, ..promise(name, START) });
        let attempt = invocation(op, Kind::Issue, START, START);
        story.add(Invocation { campaign: name.into(), ..attempt }, MS, Outcome::SoldOut);
    }
    let summary = story.summary();
    let found = summary.campaigns.as_ref().unwrap();
    assert_eq!((found.short, found.short_ids.len()), (30, 20));
    let text = crate::report::text(&summary);
    assert!(text.contains("0 of 30 campaigns issued exactly 1 coupon; fewer: 30 (c0, c1,"));
    assert!(text.contains("(c0, c1, c2, c3, c4, …)"), "{text}");
}

/// Who clicks twice with one key is answered twice with one coupon.
#[test]
fn a_coupon_that_is_told_twice_is_one() {
    let mut story = campaigns(&[(5, true), (4, true)]);
    for campaign in ["17", "18"] {
        let op = 1_000 + campaign.parse::<u64>().unwrap();
        let attempt = invocation(op, Kind::Issue, START, START + 5 * MS);
        let again = Invocation { campaign: campaign.into(), follows: Some(1), ..attempt };
        story.add(again, MS, issued_as("A"));
    }
    let summary = story.summary();
    let found = summary.campaigns.unwrap();
    assert_eq!((found.exact, found.over, found.short), (1, 0, 1));
    assert_eq!((summary.outcomes.issued, summary.accounting.repeats), (11, 2));
}

/// Where reservations run out, coupons come back after a sold-out answer.
#[test]
fn sold_out_is_not_final_where_coupons_come_back() {
    let mut story = campaigns(&[(4, true), (5, true)]);
    story.promises.iter_mut().for_each(|p| p.restock = true);
    let found = story.summary().campaigns.unwrap();
    assert_eq!((found.exact, found.short, found.never_sold_out), (1, 0, 1));
}

#[test]
fn every_campaign_counts_from_its_own_start() {
    let summary = campaigns(&[(5, true), (5, true), (5, false)]).summary();
    let launch = summary.launch.unwrap();
    // The slowest one; one of them never sold out, so all of them together did not.
    assert_eq!((launch.start_delay_us, launch.time_to_sell_out_us), (Some(4e3), None));
    let across = launch.across.unwrap();
    assert_eq!(across.time_to_sell_out_us.unwrap().most, 251e3);
    let delay = Across { least: 2e3, median: 3e3, most: 4e3 };
    assert_eq!(across.start_delay_us, Some(delay));
    let rate = across.issue_rate.unwrap();
    assert!((rate.most - 2_500.0).abs() < 1e-6 && (rate.least - 1_250.0).abs() < 1e-6);
    assert_eq!(launch.issue_rate, Some(rate.least));
    let o = |phase: Phase| summary.phases[phase as usize].outcomes;
    assert_eq!(o(Phase::BeforeStart).not_started, 3);
    assert_eq!((o(Phase::Selling).issued, o(Phase::Selling).sold_out), (15, 2));
    assert_eq!((o(Phase::SoldOut).total(), o(Phase::SoldOut).sold_out), (2, 2));
    let sent: Vec<u64> = summary.first_second.iter().map(|s| s.sent).collect();
    assert_eq!(sent, [15, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    let second = |second, sent, issued| Second { second, sent, issued };
    assert_eq!(summary.per_second, [second(-1, 3, 0), second(0, 19, 15)]);
    let text = crate::report::text(&summary);
    assert!(text.contains("first coupon 3.00 ms (median; 2.00 ms to 4.00 ms) after the start"));
}

/// A plan with a steady rate and two bursts, of which one is released at an instant.
fn with_bursts() -> Story {
    let load = "{begin: 0s, stages: [{for: 1s, rate: 4}], bursts: [\
                {at: 500ms, requests: 3, over: 0s}, {at: 800ms, requests: 2, over: 40ms}]}";
    let load: crate::scenario::Load = serde_saphyr::from_str(load).unwrap();
    Story { definition: serde_json::json!({ "load": load }), ..Story::of_one_campaign() }
}

/// When arrivals are due, from the plan's zero on, and how much later they are sent, microseconds.
fn sent(story: &mut Story, campaign: &'static str, zero: i64, arrivals: &[(i64, i64)]) {
    for (due, late) in arrivals {
        let op = story.invocations.len() as u64;
        let due = zero + due * MS;
        let attempt = invocation(op, Kind::Issue, due, due + late * 1_000);
        let attempt = Invocation { campaign: campaign.into(), ..attempt };
        story.add(attempt, MS, Outcome::SoldOut);
    }
}

const PLAN: [(i64, i64); 9] = [
    (125, 10),
    (375, 10),
    (500, 70),
    (500, 30),
    (500, 900),
    (625, 10),
    (810, 5),
    (830, 15),
    (875, 10),
];

#[test]
fn a_burst_is_measured_from_its_planned_moment() {
    let mut story = with_bursts();
    // Where the load generator took the start to lie is not exactly where it was found later.
    sent(&mut story, "1", START + 777, &PLAN);
    // A buyer's second click does not belong to it.
    let again = invocation(99, Kind::Issue, START + 777 + 500 * MS, START + 590 * MS);
    story.add(Invocation { follows: Some(3), ..again }, MS, Outcome::SoldOut);
    let bursts = story.summary().bursts;
    let us = |b: &BurstSummary| (b.first_sent_us, b.last_sent_us, b.spread_us);
    assert_eq!((bursts.len(), bursts[0].requests, bursts[0].sent), (2, 3, 3));
    assert_eq!(us(&bursts[0]), (Some(30.0), Some(900.0), Some(870.0)));
    assert_eq!((bursts[1].at_us, bursts[1].over_us, bursts[1].sent), (800e3, 40e3, 2));
    assert_eq!(us(&bursts[1]), (Some(10_005.0), Some(30_015.0), Some(20_010.0)));
    let text = crate::report::text(&story.summary());
    let line = "burst of 3 at 500.0 ms: 3 sent, 30 µs to 900 µs after its moment (spread 870 µs)";
    assert!(text.contains(line), "{text}");
}

#[test]
fn bursts_of_several_campaigns_are_put_together() {
    let mut story = with_bursts();
    let second = START + 2_000 * MS;
    story.promises.push(promise("2", second));
    sent(&mut story, "1", START, &PLAN);
    sent(&mut story, "2", second - 300, &[(125, 0), (500, 20), (500, 40)]);
    let bursts = story.summary().bursts;
    assert_eq!((bursts[0].requests, bursts[0].sent), (6, 5));
    assert_eq!((bursts[0].first_sent_us, bursts[0].last_sent_us), (Some(20.0), Some(900.0)));
    assert_eq!((bursts[0].spread_us, bursts[1].sent), (Some(870.0), 2));
}

#[test]
fn a_burst_that_was_never_sent_is_named() {
    let mut story = with_bursts();
    sent(&mut story, "1", START, &PLAN[..2]);
    let summary = story.summary();
    assert_eq!((summary.bursts[0].sent, summary.bursts[0].spread_us), (0, None));
    let text = crate::report::text(&summary);
    assert!(text.contains("burst of 2 at 800.0 ms: none of it was sent"), "{text}");
}

#[test]
fn connections_that_were_warm_are_told() {
    let mut observed = observed(0);
    (observed.tally.wanted_connections, observed.tally.warm_connections) = (1_000, 998);
    let summary = conclude(Gather::new(&run()), &run(), &observed, Integrity::default());
    assert_eq!(summary.warm_up, Some(WarmUpSummary { wanted: 1_000, alive: 998 }));
    assert!(crate::report::text(&summary).contains("998 of 1,000 connections were warm"));
}

/// However many attempts there are, only those under way are kept.
#[test]
fn what_is_over_is_forgotten() {
    let mut gather = Gather::new(&run());
    for name in ["1", "2"] {
        gather.event(Event::Campaign(promise(name, START)));
    }
    for op in 0..10_000 {
        let at = START + i64::try_from(op).unwrap() * 1_000;
        gather.event(Event::Invoke(invocation(op, Kind::Issue, at, at)));
        let code: &'static str = Box::leak(format!("c{op}").into_boxed_str());
        gather.event(Event::Complete(completion(op, at + 100, issued_as(code))));
        assert!(gather.kept() < 20, "{} after {op}", gather.kept());
    }
    assert_eq!(gather.campaigns.summary().unwrap().over, 1);
}

#[test]
fn an_unclassified_answer_is_an_objection() {
    let outcome = Outcome::Indeterminate(Doubt::Unclassified);
    let summary = summary(&[(1, 0, 0, 9, Some(outcome))]);
    assert!(summary.objections()[0].contains("1 answers match no rule: "));
    let sample = Sample { status: 418, body: "I am\na teapot".into(), times: 1 };
    let summary = Summary { unclassified: vec![sample], ..summary };
    let said = &summary.objections()[0];
    assert!(said.contains(r#", such as status 418 with "I am\na teapot""#), "{said}");
}
