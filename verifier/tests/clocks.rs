//! Clocks that drift, step, and differ from host to host: what they leave open is never a proof.
//!
//! Correct launches are played on true time. One clock rules the start, others take the times of the
//! history, and all that is known of the first are a few probes.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::time::Duration;

use contract::history::clock::Probe;
use contract::history::stored::{Record, Segment, StoredPromise};
use contract::history::{Completion, Invocation, Kind};
use contract::outcome::{Coupon, Outcome};
use e2e::Dice;
use verifier::cli::CheckArgs;
use verifier::verdict::{Judged, Report, Verdict};

const US: i64 = 1_000;
const MS: i64 = 1_000 * US;
const S: i64 = 1_000 * MS;
/// What the ruling clock shows at true time 0.
const UNIX: i64 = 1_700_000_000 * S;
const SEEDS: u64 = 300;
const COUPONS: u64 = 20;

/// A clock beside the true one.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    /// It gains so many parts per million.
    gains_ppm: i64,
    /// It is set forward by so much, or back.
    step: i64,
    /// When that happens.
    steps_at: i64,
}

impl Clock {
    fn at(self, moment: i64) -> i64 {
        let set = if moment >= self.steps_at { self.step } else { 0 };
        UNIX + moment + moment / 1_000_000 * self.gains_ppm + set
    }
}

/// How a launch is played.
#[derive(Clone, Copy, Debug, Default)]
struct Play {
    /// The clock that rules the start.
    ruling: Clock,
    /// Probes are asked this long before the start and after it.
    probed_within: i64,
    /// The clocks of the load hosts are so far from the history's.
    hosts_differ: i64,
    /// Coupons that are issued although all are gone.
    beyond: u64,
}

fn roll(dice: &mut Dice, from: i64, to: i64) -> i64 {
    let width = usize::try_from(to - from).unwrap();
    from + i64::try_from(dice.below(width + 1)).unwrap()
}

/// Writes down what two load hosts saw of a launch. It starts about true time 0, where the ruling clock
/// shows [`UNIX`].
fn play(dice: &mut Dice, play: Play, history: &std::path::Path) {
    let mut control = Segment::create(history, "control").unwrap();
    let promise = StoredPromise {
        campaign: "c".into(),
        coupons: COUPONS,
        starts_at_unix_ns: UNIX,
        per_user: None,
        restock: false,
    };
    control.append(&Record::Campaign(promise)).unwrap();
    for _ in 0..roll(dice, 1, 6) {
        let sent = roll(dice, -play.probed_within, play.probed_within);
        let received = sent + roll(dice, 100 * US, 2 * MS);
        let stamp = play.ruling.at(roll(dice, sent, received)) / US * US;
        let probe = Probe { sent, received, stamp, resolution: US };
        control.append(&Record::Probe(probe)).unwrap();
    }
    control.finish().unwrap();
    let ahead = [play.hosts_differ, -play.hosts_differ];
    let mut hosts = ["worker-0", "worker-1"].map(|name| Segment::create(history, name).unwrap());
    let mut launch = Launch { open: false, issued: 0, most: COUPONS + play.beyond };
    let mut at = -30 * MS;
    let mut op = 0;
    while launch.issued < launch.most || op % 8 != 0 {
        at += roll(dice, 200 * US, 2 * MS);
        let host = dice.below(2);
        let (sent, over) = (at - roll(dice, 0, MS), at + roll(dice, 0, MS));
        let outcome = launch.decide(play.ruling.at(at));
        let (invoke, complete) = ask(op, (sent + ahead[host], over + ahead[host]), outcome);
        hosts[host].append(&invoke).unwrap();
        hosts[host].append(&complete).unwrap();
        op += 1;
    }
    hosts.into_iter().for_each(|host| host.finish().unwrap());
}

struct Launch {
    /// What was opened stays open, wherever its clock goes.
    open: bool,
    issued: u64,
    most: u64,
}

impl Launch {
    fn decide(&mut self, shown: i64) -> Outcome<'static> {
        self.open |= shown >= UNIX;
        if !self.open {
            return Outcome::NotStarted;
        }
        if self.issued >= self.most {
            return Outcome::SoldOut;
        }
        self.issued += 1;
        let code = format!("{}", 1_000 + self.issued).into();
        Outcome::Issued(Coupon { code, seq: None, remaining: None, order: None })
    }
}

fn ask(
    op: u64,
    (at, over): (i64, i64),
    outcome: Outcome<'static>,
) -> (Record<'static>, Record<'static>) {
    let (intended, woken, target, user, key, follows) = (None, None, None, None, None, None);
    let (campaign, kind) = ("c".into(), Kind::Issue);
    let asked = Invocation { op, campaign, kind, at, intended, woken, target, user, key, follows };
    let (accepted, status, stamp) = (None, None, None);
    let told = Completion { op, at: over, accepted, outcome, status, stamp };
    (Record::Invoke(asked), Record::Complete(told))
}

fn judged(dice: &mut Dice, how: Play, clock_error: i64) -> Report {
    let folder = tempfile::tempdir().unwrap();
    play(dice, how, folder.path());
    let clock_error = Duration::from_nanos(clock_error.unsigned_abs());
    let history = Some(folder.path().to_owned());
    verifier::check(&CheckArgs { history, clock_error, ..CheckArgs::default() }).unwrap()
}

fn found(campaign: &Judged) -> Vec<(&str, i64)> {
    campaign.violations().map(|(check, v)| (check, v.margin.unwrap_or_default())).collect()
}

#[test]
fn a_ruling_clock_that_drifts_makes_nothing_early_or_late() {
    let mut placed = 0;
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let gains_ppm = roll(&mut dice, -199, 199);
        let ruling = Clock { gains_ppm, ..Clock::default() };
        let how = Play { ruling, probed_within: 60 * S, ..Play::default() };
        let report = judged(&mut dice, how, 0);
        assert_eq!(found(&report.campaigns[0]), [], "seed {seed} {how:?}");
        placed += u64::from(report.campaigns[0].evidence.start_is_placed());
    }
    assert_eq!(placed, SEEDS, "drift is no step");
}

/// A step that no probe can tell from the way of a question moves the start by no more than itself;
/// one that they can tell leaves it without a place.
#[test]
fn a_ruling_clock_that_steps_is_noticed_or_its_step_bounds_what_is_proven() {
    let (mut noticed, mut unnoticed) = (0, 0);
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let step = roll(&mut dice, -20 * MS, 20 * MS);
        let steps_at = roll(&mut dice, -2 * S, 2 * S);
        let ruling = Clock { step, steps_at, ..Clock::default() };
        let how = Play { ruling, probed_within: 2 * S, ..Play::default() };
        let report = judged(&mut dice, how, 0);
        let campaign = &report.campaigns[0];
        let placed = campaign.evidence.start_is_placed();
        (noticed, unnoticed) = (noticed + u64::from(!placed), unnoticed + u64::from(placed));
        assert!(placed || report.verdict == Verdict::Unknown, "seed {seed} {how:?}");
        for (check, margin) in found(campaign) {
            let of_the_start = ["early-issue", "late-start"].contains(&check);
            assert!(of_the_start && placed && margin <= step.abs(), "seed {seed} {check} {how:?}");
        }
    }
    assert!(noticed > SEEDS / 10 && unnoticed > SEEDS / 10, "{noticed} noticed, {unnoticed} not");
}

#[test]
fn hosts_whose_clocks_differ_prove_nothing_within_their_error() {
    let (mut alarms, mut caught) = (0, 0);
    for seed in 0..SEEDS {
        let hosts_differ = roll(&mut Dice::new(seed), 0, 3 * MS);
        let how = Play { probed_within: 2 * S, hosts_differ, ..Play::default() };
        let sound = judged(&mut Dice::new(seed), how, hosts_differ);
        assert_eq!(found(&sound.campaigns[0]), [], "seed {seed} {how:?}");
        // Without a word of their error they would.
        alarms += u64::from(judged(&mut Dice::new(seed), how, 0).verdict == Verdict::Invalid);
        let wrong = judged(&mut Dice::new(seed), Play { beyond: 3, ..how }, hosts_differ);
        caught += u64::from(wrong.verdict == Verdict::Invalid);
    }
    assert!(alarms > SEEDS / 10, "{alarms} alarms: the clocks hardly differ");
    assert_eq!(caught, SEEDS, "too many coupons are too many by any clock");
}
