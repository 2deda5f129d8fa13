//! What takes a comparison of each coupon with others is said of coupons that are put aside as it is of
//! those that are held: on random launches with everything in them that makes a coupon a plain one or not.
//!
//! `COMPARED_LAUNCHES` says how many, `COMPARED_SEED` where they begin.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "procedure/database.rs"]
mod database;

use std::path::Path;
use std::time::Duration;

use contract::campaign::{PerUser, Precedence, Window};
use contract::history::jsonl::Writer;
use contract::history::{Completion, Event, Invocation, Kind, Promise};
use contract::outcome::{Coupon, Doubt, Outcome};
use e2e::Dice;
use verifier::cli::CheckArgs;
use verifier::verdict::Report;

const MS: i64 = 1_000_000;
/// The checks that compare each coupon with others.
const COMPARE: [&str; 3] = ["unfairness", "starved-instance", "latency-grows"];

/// What is wrong with a launch, or only unusual.
struct Twists {
    /// The newest win.
    last_first: bool,
    /// One target seldom wins.
    starved: bool,
    /// Each coupon takes longer than the one before.
    grows: bool,
    /// Requests are sent again under their keys.
    replays: bool,
    /// Some answers are lost.
    lost: bool,
    /// Some codes are told twice.
    doubled: bool,
    /// The campaign ends while coupons are told.
    ended: bool,
    /// Answers tell ranks.
    ranks: bool,
    limited: bool,
}

impl Twists {
    fn of(dice: &mut Dice) -> Self {
        let mut one_in = |n| dice.below(n) == 0;
        Self {
            last_first: one_in(3),
            starved: one_in(3),
            grows: one_in(3),
            replays: one_in(3),
            lost: one_in(3),
            doubled: one_in(4),
            ended: one_in(3),
            ranks: one_in(2),
            limited: one_in(3),
        }
    }
}

/// One campaign, with the rows that its store has in the end.
struct Launch {
    events: Vec<Event<'static>>,
    rows: Vec<database::Row>,
    op: u64,
}

impl Launch {
    fn ask(&mut self, asked: Invocation<'static>, at: i64, outcome: Outcome<'static>) {
        self.op += 1;
        self.events.push(Event::Invoke(Invocation { op: self.op, ..asked }));
        let (accepted, status, stamp) = (None, None, None);
        let end = Completion { op: self.op, at, accepted, outcome, status, stamp };
        self.events.push(Event::Complete(end));
    }
}

fn request(campaign: usize, number: usize, at: i64, target: usize) -> Invocation<'static> {
    Invocation {
        op: 0,
        campaign: campaign.to_string().into(),
        kind: Kind::Issue,
        at,
        intended: None,
        woken: None,
        target: u16::try_from(target).ok(),
        user: Some(format!("u{number}").into()),
        key: None,
        follows: None,
    }
}

/// Plays a campaign of so many requests, the first of which has the number after `op`.
fn play(dice: &mut Dice, campaign: usize, op: u64) -> Launch {
    let twists = Twists::of(dice);
    let requests = 200 + dice.below(800);
    let coupons = requests / 4 + dice.below(requests / 2);
    let mut launch = Launch { events: Vec::new(), rows: Vec::new(), op };
    launch.events.push(Event::Campaign(Promise {
        campaign: campaign.to_string().into(),
        coupons: coupons as u64,
        starts_at: Window { earliest: 0, latest: MS },
        per_user: twists
            .limited
            .then_some(PerUser { limit: 1, precedence: Precedence::AlreadyFirst }),
        restock: false,
    }));
    let over = requests - dice.below(requests / 2);
    for number in 0..requests {
        one(dice, &twists, (campaign, number), (requests, coupons, over), &mut launch);
    }
    launch
}

/// What becomes of one request.
fn one(
    dice: &mut Dice,
    twists: &Twists,
    (campaign, number): (usize, usize),
    (requests, coupons, over): (usize, usize, usize),
    launch: &mut Launch,
) {
    let target = number % 3;
    let sent = 5 * MS + i64::try_from(number * 1_000_000 + dice.below(500_000)).unwrap();
    let issued = launch.rows.len();
    let early = twists.last_first && number < requests - coupons;
    let loses = early || twists.starved && target == 1 && dice.below(10) > 0;
    // Where they lose in spite of coupons all of them are under way at once.
    let long = if twists.last_first || twists.starved { 2_000 * MS } else { MS };
    let slow = if twists.grows { i64::try_from(issued).unwrap() * 100_000 } else { 0 };
    let over_by = sent + slow + long + i64::try_from(dice.below(3_000_000)).unwrap();
    let mut asked = request(campaign, number, sent, target);
    if twists.ended && number > over && dice.below(2) == 0 {
        return launch.ask(asked, sent + MS, Outcome::Ended);
    }
    if loses || issued >= coupons {
        return launch.ask(asked, over_by, Outcome::SoldOut);
    }
    let again = twists.replays && dice.below(3) == 0;
    asked.key = again.then(|| format!("k{number}").into());
    let twin = twists.doubled && issued > 0 && dice.below(100) == 0;
    let code = if twin { issued - 1 } else { issued };
    let code = format!("{campaign:03}{code:06}");
    launch.rows.push((
        format!("{campaign:03}{issued:06}"),
        asked.user.as_deref().map(str::to_owned),
        asked.key.as_deref().map(str::to_owned),
    ));
    let rank = i64::try_from(issued + 1).unwrap();
    let seq = twists.ranks.then_some(rank);
    let outcome = Outcome::Issued(Coupon { code: code.into(), seq, remaining: None, order: None });
    let unknown = Outcome::Indeterminate(Doubt::Timeout);
    let lost = twists.lost && dice.below(20) == 0;
    launch.ask(asked.clone(), over_by, if lost { unknown } else { outcome.clone() });
    if again {
        let later = Invocation { at: over_by + MS, ..asked };
        launch.ask(later, over_by + 40 * MS, outcome);
    }
}

fn write_history(path: &Path, launches: &[Launch]) {
    let mut writer = Writer::new(std::fs::File::create(path).unwrap()).unwrap();
    for event in launches.iter().flat_map(|launch| &launch.events) {
        writer.event(event).unwrap();
    }
    writer.finish().unwrap();
}

fn write_store(path: &Path, launches: &[Launch]) {
    let stored = |launch: &Launch| {
        let Event::Campaign(promise) = &launch.events[0] else { panic!("it begins with that") };
        (promise.coupons.cast_signed(), launch.rows.clone())
    };
    database::write(path, launches.iter().map(stored));
}

fn judged(dir: &Path, stored: bool, most_held: Option<usize>) -> Report {
    let store = stored.then(|| format!("sqlite:{}", dir.join("coupons.db").display()));
    let (history, settle) = (Some(dir.join("history.jsonl")), Some(Duration::ZERO));
    let args = CheckArgs { history, store, settle, most_held, ..CheckArgs::default() };
    verifier::check(&args).unwrap()
}

/// A check, why it did not run, and its findings, each with the operations that prove it.
type Said<'r> = (&'static str, Option<&'r str>, Vec<(&'r str, Vec<u64>)>);

/// What each check said, of each campaign.
fn said(report: &Report) -> Vec<Said<'_>> {
    let results = report.campaigns.iter().flat_map(|judged| &judged.results);
    let said = results.map(|result| {
        let found = result.found.iter();
        let found =
            found.map(|v| (v.sentence.as_str(), v.witness.iter().map(|op| op.op).collect()));
        (result.check, result.not_run.as_deref(), found.collect())
    });
    said.collect()
}

fn launches(dice: &mut Dice, campaigns: usize) -> Vec<Launch> {
    let (mut launches, mut op) = (Vec::new(), 0);
    for campaign in 0..campaigns {
        let launch = play(dice, campaign, op);
        op = launch.op;
        launches.push(launch);
    }
    launches
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn coupons_that_are_put_aside_are_compared_like_others() {
    let (first, count) = (setting("COMPARED_SEED", 0), setting("COMPARED_LAUNCHES", 60));
    let (mut found, mut campaigns) = ([0_u64; 3], 0);
    let mut plain = 0;
    for seed in first..first + count {
        let mut dice = Dice::new(seed);
        let (dir, several) = (tempfile::tempdir().unwrap(), 1 + dice.below(3));
        let launches = launches(&mut dice, several);
        write_history(&dir.path().join("history.jsonl"), &launches);
        let stored = dice.below(2) == 0;
        write_store(&dir.path().join("coupons.db"), &launches);
        let held = judged(dir.path(), stored, None);
        let most = 1 + dice.below(99);
        let aside = judged(dir.path(), stored, Some(most));
        for (held, aside) in said(&held).into_iter().zip(said(&aside)) {
            assert_eq!(aside, held, "seed {seed}");
        }
        let warned = |check: &str| {
            let warned = held.campaigns.iter().flat_map(|judged| judged.warnings());
            warned.filter(|(name, _)| *name == check).count() as u64
        };
        found.iter_mut().zip(COMPARE).for_each(|(n, check)| *n += warned(check));
        campaigns += several as u64;
        let counted = |e: &verifier::evidence::CampaignEvidence| e.acknowledged.plain().coupons;
        plain += aside.campaigns.iter().map(|judged| counted(&judged.evidence)).sum::<usize>();
    }
    let enough = |n: u64| n * 20 > campaigns && n * 20 < campaigns * 19;
    assert!(found.into_iter().all(enough), "{found:?} of {campaigns}: that tests little");
    assert!(plain as u64 > campaigns * 50, "{plain} plain coupons: that tests little");
}

/// Memory is bounded by the number of campaigns; what could not be looked at is named.
#[test]
fn where_coupons_and_campaigns_are_many_it_is_said_that_they_are_not_compared() {
    let dir = tempfile::tempdir().unwrap();
    let launches = launches(&mut Dice::new(1), 65);
    for (campaigns, compared) in [(65, false), (64, true)] {
        write_history(&dir.path().join("history.jsonl"), &launches[..campaigns]);
        for (most_held, compared) in [(None, true), (Some(0), compared)] {
            let report = judged(dir.path(), false, most_held);
            let not_run =
                report.campaigns[0].not_run().filter(|(check, _)| COMPARE.contains(check));
            let found = report.campaigns.iter().flat_map(|judged| judged.warnings()).count();
            assert_eq!(not_run.count(), if compared { 0 } else { COMPARE.len() });
            assert_eq!(found > 0, compared, "{campaigns} {most_held:?}");
        }
    }
}
