//! Correct launches that look wrong. Each trap is a generator with a seed: a campaign that does one
//! thing at a time is played, and then everything happens to its evidence that may happen to a good
//! one. A thousand of each are judged, with the store and without, and watched: never an alarm.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of what a request was told, most says nothing here"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "launches have sixty requests, not more"
)]
#![expect(dead_code, reason = "stories can do more than launches need")]

#[path = "procedure/database.rs"]
mod database;
#[path = "procedure/store.rs"]
mod store;
#[path = "procedure/story.rs"]
mod story;

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::Dice;
use story::{Ask, Precedence, Row, Story, Told};
use verifier::cli::CheckArgs;
use verifier::verdict::Report;

/// So many launches of each kind.
const SEEDS: usize = 1_000;
/// When a launch starts, and how long it takes.
const START: i64 = 1_000;
const LENGTH: i64 = 2_000;

/// What makes a good launch look bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trap {
    /// Answers are lost; their coupons are consumed.
    TimeoutsThatConsume,
    /// Requests are lost; nothing came of them.
    TimeoutsThatDoNot,
    /// A coupon is consumed long after its client gave up.
    EffectAfterGivingUp,
    /// Connections are reset before a byte was written.
    ResetBeforeTheWrite,
    /// Every outcome is unknown, whatever came of it.
    AllInDoubt,
    /// The first request of all failed.
    FirstFailed,
    /// Answers take long: what is decided at one moment is told in any order.
    LongAnswers,
    /// The same key is sent again and again, and told the same.
    Replays,
    /// Holders ask again, and are told either.
    HoldersAskAgain,
    /// Reads of the count beside the rush.
    Reads,
    /// The load generator is killed: what was under way has no end, and the history neither.
    Killed,
    /// The lines of the history stand in any order.
    OutOfOrder,
    /// The wall clock stepped: the start has no place on the history's clock.
    ClockStepped,
    /// The start is known only to a tenth of the run.
    VagueStart,
    /// No coupons.
    NoCoupons,
    /// One.
    OneCoupon,
    /// More than anybody asks for.
    TooManyCoupons,
    /// Nobody asks.
    NoTraffic,
}

const ALL: [Trap; 18] = [
    Trap::TimeoutsThatConsume,
    Trap::TimeoutsThatDoNot,
    Trap::EffectAfterGivingUp,
    Trap::ResetBeforeTheWrite,
    Trap::AllInDoubt,
    Trap::FirstFailed,
    Trap::LongAnswers,
    Trap::Replays,
    Trap::HoldersAskAgain,
    Trap::Reads,
    Trap::Killed,
    Trap::OutOfOrder,
    Trap::ClockStepped,
    Trap::VagueStart,
    Trap::NoCoupons,
    Trap::OneCoupon,
    Trap::TooManyCoupons,
    Trap::NoTraffic,
];

/// A campaign that does one thing at a time.
struct Campaign {
    coupons: i64,
    rows: Vec<Row>,
}

impl Campaign {
    /// What is decided at this moment for this request.
    fn decide(&mut self, at: i64, user: u8, key: Option<u8>) -> Told {
        if at < START {
            return Told::NotStarted;
        }
        let mine = self.rows.iter().position(|row| row.user == Some(user));
        if let Some(held) = mine {
            let same = key.is_some() && self.rows[held].key == key;
            return if same { self.told(held) } else { Told::Already(Some(self.rows[held].code)) };
        }
        if self.rows.len() as i64 >= self.coupons {
            return Told::SoldOut;
        }
        self.rows.push(Row { code: self.rows.len() as u8, user: Some(user), key });
        self.told(self.rows.len() - 1)
    }

    fn told(&self, row: usize) -> Told {
        let seq = row as i64 + 1;
        let remaining = Some(self.coupons - seq);
        Told::Issued { code: self.rows[row].code, seq: Some(seq), remaining }
    }
}

fn launch(trap: Trap, seed: usize) -> Story {
    let mut dice = Dice::new(seed as u64);
    let requests = if trap == Trap::NoTraffic { 0 } else { 20 + dice.below(40) };
    let coupons = match trap {
        Trap::NoCoupons => 0,
        Trap::OneCoupon => 1,
        Trap::TooManyCoupons => 90,
        _ => 2 + dice.below(20) as i64,
    };
    let mut campaign = Campaign { coupons, rows: Vec::new() };
    let vague = if trap == Trap::VagueStart { LENGTH / 10 } else { dice.below(3) as i64 };
    let start = match trap {
        Trap::ClockStepped => (i64::MIN, i64::MAX),
        _ => (START - dice.below(vague as usize + 1) as i64, START + vague),
    };
    let keyed = trap == Trap::Replays || dice.below(2) == 0;
    // Each request is decided at one moment, all at different ones.
    let mut moments: Vec<i64> =
        (0..requests).map(|_| START - 200 + dice.below(LENGTH as usize) as i64).collect();
    moments.sort_unstable();
    moments.dedup();
    let mut asks: Vec<Ask> = Vec::new();
    for (n, at) in moments.iter().copied().enumerate() {
        let again = match trap {
            Trap::Replays => dice.below(3) > 0,
            Trap::HoldersAskAgain => dice.below(2) == 0,
            _ => false,
        };
        let earlier = again.then(|| dice.below(n + 1)).and_then(|n| asks.get(n).copied());
        let user = earlier.and_then(|ask| ask.user).unwrap_or(n as u8);
        let key = earlier.and_then(|ask| ask.key.filter(|_| trap == Trap::Replays));
        let key = key.or(keyed.then_some(n as u8));
        let reads = trap == Trap::Reads && dice.below(2) == 0;
        asks.push(ask(trap, &mut dice, &mut campaign, (n, at), (user, key, reads)));
    }
    if trap == Trap::Killed {
        let killed = START + dice.below(LENGTH as usize) as i64;
        asks.retain(|ask| ask.from < killed);
        asks.iter_mut().for_each(|ask| ask.to = ask.to.filter(|to| *to < killed));
    }
    let limit = Some(Precedence::AlreadyFirst);
    Story { coupons, start, limit, lag: 0, asks, rows: Some(campaign.rows), answers_first: false }
}

fn ask(
    trap: Trap,
    dice: &mut Dice,
    campaign: &mut Campaign,
    (n, at): (usize, i64),
    (user, key, reads): (u8, Option<u8>, bool),
) -> Ask {
    let slow = if trap == Trap::LongAnswers { LENGTH as usize } else { 60 };
    let (from, to) = (at - dice.below(slow) as i64, at + dice.below(slow) as i64);
    let whole = Ask { user: Some(user), key, from, to: Some(to), told: Told::Unknown };
    let strikes = dice.below(4) == 0;
    let mut decided = || campaign.decide(at, user, key);
    match trap {
        Trap::TimeoutsThatConsume if strikes => {
            decided();
            whole
        }
        Trap::AllInDoubt => {
            if dice.below(2) == 0 {
                decided();
            }
            whole
        }
        Trap::TimeoutsThatDoNot if strikes => whole,
        Trap::EffectAfterGivingUp if strikes => {
            decided();
            Ask { to: Some(from + dice.below((at - from) as usize + 1) as i64), ..whole }
        }
        Trap::ResetBeforeTheWrite if strikes => Ask { told: Told::Failed, ..whole },
        Trap::FirstFailed if n == 0 => Ask { told: Told::Failed, ..whole },
        _ if reads => {
            let told = Told::Counted(campaign.rows.len() as i64);
            Ask { user: None, key: None, told, ..whole }
        }
        _ => Ask { told: decided(), ..whole },
    }
}

/// All launches of a trap as one history, each a campaign of its own.
fn written(trap: Trap, stories: &[Story]) -> String {
    let text = story::write(stories);
    match trap {
        Trap::Killed => text[..text.rfind("{\"type\":\"trailer\"").unwrap()].to_owned(),
        Trap::OutOfOrder => {
            let of = |kind: &str| {
                let kind = format!("{{\"type\":\"{kind}\"");
                text.lines().filter(move |line| line.starts_with(&kind))
            };
            let mut lines: Vec<&str> = of("invoke").chain(of("complete")).collect();
            let mut dice = Dice::new(7);
            (1..lines.len()).for_each(|n| lines.swap(n, dice.below(n + 1)));
            let all = of("header").chain(of("campaign")).chain(lines).chain(of("trailer"));
            all.map(|line| format!("{line}\n")).collect()
        }
        _ => text,
    }
}

fn judged(history: &Path, store: Option<String>) -> Report {
    let settle = Some(Duration::ZERO);
    let history = Some(history.to_owned());
    verifier::check(&CheckArgs { history, store, settle, ..CheckArgs::default() }).unwrap()
}

/// The same with all coupons put aside.
fn judged_aside(history: &Path) -> Report {
    let (history, most_held) = (Some(history.to_owned()), Some(0));
    verifier::check(&CheckArgs { history, most_held, ..CheckArgs::default() }).unwrap()
}

/// Nothing is proven or possible, and no witness failed to hold.
fn is_quiet(trap: Trap, report: &Report, stories: &[Story]) {
    assert_eq!(report.campaigns.len(), stories.len());
    for (judged, story) in report.campaigns.iter().zip(stories) {
        let alarms: Vec<_> =
            judged.violations().chain(judged.warnings()).map(|(c, v)| (c, &v.sentence)).collect();
        assert!(alarms.is_empty(), "{trap:?}: {alarms:?}\n{story:#?}");
        let broken = judged.doubts().find(|(_, v)| v.sentence.contains("internal error"));
        assert!(broken.is_none(), "{trap:?}: {broken:?}\n{story:#?}");
    }
}

fn is_no_alarm(trap: Trap) {
    let stories: Vec<Story> = (0..SEEDS).map(|seed| launch(trap, seed)).collect();
    let dir = tempfile::tempdir().unwrap();
    let (history, db) = (dir.path().join("history.jsonl"), dir.path().join("coupons.db"));
    std::fs::write(&history, written(trap, &stories)).unwrap();
    is_quiet(trap, &judged(&history, None), &stories);
    store::write(&db, &stories);
    let url = format!("sqlite:{}", db.display());
    is_quiet(trap, &judged(&history, Some(url)), &stories);
    // Of many campaigns, coupons that are put aside are not compared.
    for stories in stories.chunks(60) {
        let few = dir.path().join("few.jsonl");
        std::fs::write(&few, written(trap, stories)).unwrap();
        is_quiet(trap, &judged_aside(&few), stories);
    }
    // A file without its trailer is followed for good.
    if trap != Trap::Killed {
        let mut watch = Command::new(env!("CARGO_BIN_EXE_verifier"));
        let output = watch.args(["watch", "--history"]).arg(&history).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(3), "{trap:?}: {text}");
    }
}

#[test]
fn no_trap_is_an_alarm() {
    std::thread::scope(|scope| {
        for trap in ALL {
            scope.spawn(move || is_no_alarm(trap));
        }
    });
}

/// So many coupons were told.
fn told(story: &Story) -> usize {
    let code = |ask: &Ask| match ask.told {
        Told::Issued { code, .. } => ask.to.map(|_| code),
        _ => None,
    };
    story.asks.iter().filter_map(code).collect::<HashSet<u8>>().len()
}

/// The traps are none for want of teeth: with one more coupon told than there are each is an alarm.
#[test]
fn the_same_launches_with_a_bug_are_alarms() {
    for trap in ALL {
        let mut stories: Vec<Story> = (0..100).map(|seed| launch(trap, seed)).collect();
        for story in &mut stories {
            story.coupons = story.coupons.min(told(story) as i64 - 1).max(0);
        }
        let broken = stories.iter().filter(|story| told(story) > 0).count();
        let dir = tempfile::tempdir().unwrap();
        let history = dir.path().join("history.jsonl");
        std::fs::write(&history, written(trap, &stories)).unwrap();
        let report = judged(&history, None);
        let found = report.campaigns.iter().filter(|j| j.violations().next().is_some()).count();
        assert!(found >= broken, "{trap:?}: {found} of {broken}");
    }
}
