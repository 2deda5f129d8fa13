//! The same small histories given to a checker that searches for an order: Wing and Gong's algorithm
//! with Lowe's memory, as the crate todc-utils has it. It knows nothing of campaigns but what one
//! request does to a counter, and that is its beauty and its price.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use contract::campaign::Window;
use contract::history::jsonl::Writer;
use contract::history::{Completion, Event, Invocation, Kind, Promise};
use contract::outcome::{Coupon, Doubt, Outcome};
use todc_utils::{Action, History, Specification, WGLChecker};

use super::{Ran, run_for};

/// Whoever takes longer gave up.
const PATIENCE: Duration = Duration::from_secs(20);
const SIZES: [u64; 4] = [100, 1_000, 10_000, 100_000];

/// What is wrong with a history.
#[derive(Clone, Copy, Debug)]
enum Story {
    Valid,
    /// One coupon more than there are.
    Over,
    /// The outcome of each hundredth request is not known.
    Doubtful,
}

const STORIES: [(Story, &str); 3] = [
    (Story::Valid, "valid"),
    (Story::Over, "over-issued by one"),
    (Story::Doubtful, "valid, 1 % indeterminate"),
];

/// One request of a story.
#[derive(Clone, Copy, Debug)]
struct Asked {
    sent: i64,
    over: i64,
    told: Told,
}

/// What a request was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Issued,
    SoldOut,
    Nothing,
}

pub(crate) fn compare() {
    println!("\n## Side by side\n");
    println!("| history | requests | verifier s | MiB | Wing-Gong s | MiB |");
    println!("| ------- | -------: | ---------: | --: | ----------: | --: |");
    for (story, name) in STORIES {
        for size in SIZES {
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let history = dir.path().join("history.jsonl");
            write(&story_of(story, size), size, &history);
            let mut check = Command::new(e2e::binary("verifier"));
            check.args(["check", "--history"]).arg(&history);
            let mut search = Command::new(std::env::current_exe().unwrap());
            search.args(["search", &format!("{story:?}"), &size.to_string()]);
            let ran = [&mut check, &mut search].map(|command| {
                let valid = !matches!(story, Story::Over);
                figures(run_for(command.stdout(Stdio::null()), PATIENCE), valid)
            });
            println!("| {name} | {size} | {} | {} |", ran[0], ran[1]);
        }
    }
}

/// Both exit with 1 where no order exists. A valid history without a store is valid.
fn figures(ran: Option<(Ran, i32)>, valid: bool) -> String {
    let Some((ran, code)) = ran else { return "gave up | –".into() };
    assert_eq!(code, i32::from(!valid), "a verdict is wrong");
    format!("{:.3} | {:.0}", ran.took.as_secs_f64(), ran.peak_mib())
}

/// The search, in a process of its own.
pub(crate) fn search(story: &str, size: u64) -> i32 {
    let (story, _) = STORIES.into_iter().find(|(s, _)| format!("{s:?}") == story).unwrap();
    OFFERED.store(size / 10, std::sync::atomic::Ordering::Relaxed);
    let asked = story_of(story, size);
    let mut ends: Vec<(i64, usize, Action<Told>)> = Vec::new();
    for (at, a) in asked.iter().enumerate() {
        // What is not known may have happened at any time after.
        let over = if a.told == Told::Nothing { i64::MAX } else { a.over };
        ends.push((a.sent, at, Action::Call(a.told)));
        ends.push((over, at, Action::Response(a.told)));
    }
    ends.sort_by_key(|(moment, at, action)| (*moment, matches!(action, Action::Response(_)), *at));
    let history = History::from_actions(ends.into_iter().map(|(_, at, a)| (at, a)).collect());
    i32::from(!WGLChecker::<Campaign>::is_linearizable(history))
}

static OFFERED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// What one request does to a campaign.
struct Campaign;

impl Specification for Campaign {
    type State = u64;
    type Operation = Told;

    fn init() -> u64 {
        0
    }

    fn apply(told: &Told, issued: &u64) -> (bool, u64) {
        let offered = OFFERED.load(std::sync::atomic::Ordering::Relaxed);
        match told {
            Told::Issued => (*issued < offered, issued + 1),
            Told::SoldOut => (*issued == offered, *issued),
            Told::Nothing => (true, offered.min(issued + 1)),
        }
    }
}

/// Some fifty requests are always under way; the first tenth is issued.
fn story_of(story: Story, size: u64) -> Vec<Asked> {
    let coupons = size / 10;
    let mut state = 7_u64;
    let mut issued = 0;
    let one = |number: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let sent = i64::try_from(number).unwrap() * 1_000;
        let over = sent + 20_000 + i64::try_from((state >> 33) % 60_000).unwrap();
        let doubtful = matches!(story, Story::Doubtful) && number % 100 == 50;
        let most = coupons + u64::from(matches!(story, Story::Over));
        let told = match () {
            () if doubtful => Told::Nothing,
            () if issued < most => Told::Issued,
            () => Told::SoldOut,
        };
        issued += u64::from(told == Told::Issued);
        Asked { sent, over, told }
    };
    (0..size).map(one).collect()
}

fn write(asked: &[Asked], size: u64, path: &Path) {
    let mut ends: Vec<(i64, bool, u64)> = Vec::new();
    for (op, a) in (0..).zip(asked) {
        ends.extend([(a.sent, false, op), (a.over, true, op)]);
    }
    ends.sort_unstable();
    let file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut writer = Writer::new(file).unwrap();
    let starts_at = Window { earliest: 0, latest: 0 };
    let promise = Promise {
        campaign: "1".into(),
        coupons: size / 10,
        starts_at,
        per_user: None,
        restock: false,
    };
    writer.event(&Event::Campaign(promise)).unwrap();
    for (at, is_end, op) in ends {
        let told = asked[usize::try_from(op).unwrap()].told;
        let event = if is_end { complete(op, at, told) } else { invoke(op, at) };
        writer.event(&event).unwrap();
    }
    writer.finish().unwrap();
}

fn invoke(op: u64, at: i64) -> Event<'static> {
    Event::Invoke(Invocation {
        op,
        campaign: "1".into(),
        kind: Kind::Issue,
        at,
        intended: None,
        woken: None,
        target: None,
        user: None,
        key: None,
        follows: None,
    })
}

fn complete(op: u64, at: i64, told: Told) -> Event<'static> {
    let coupon =
        || Coupon { code: super::launch::code(op).into(), seq: None, remaining: None, order: None };
    let outcome = match told {
        Told::Issued => Outcome::Issued(coupon()),
        Told::SoldOut => Outcome::SoldOut,
        Told::Nothing => Outcome::Indeterminate(Doubt::Timeout),
    };
    Event::Complete(Completion { op, at, accepted: None, outcome, status: None, stamp: None })
}
