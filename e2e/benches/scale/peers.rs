//! The same small histories given to checkers that search for an order: Wing and Gong's algorithm with
//! Lowe's memory, as the crate todc-utils has it and as Porcupine does. They know nothing of campaigns but
//! what one request does to a counter, and that is their beauty and their price.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contract::campaign::Window;
use contract::history::jsonl::{self, Writer};
use contract::history::{Completion, Event, Invocation, Kind, Promise};
use contract::outcome::{Coupon, Doubt, Outcome};
use todc_utils::{Action, History, Specification, WGLChecker};

use super::measure::{Ran, run_for};

/// Whoever takes longer gave up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const SIZES: [u64; 4] = [100, 1_000, 10_000, 100_000];
const QUICK_SIZES: [u64; 2] = [100, 1_000];
/// Names the program that gives a history to Porcupine, where it is not on the PATH.
const PORCUPINE: &str = "PORCUPINE_COUPON";

/// What is wrong with a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What each made of one history.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) story: &'static str,
    pub(crate) requests: u64,
    pub(crate) verifier: Ran,
    pub(crate) wing_gong: Ran,
    /// Nothing where it is not installed.
    pub(crate) porcupine: Option<Ran>,
}

pub(crate) fn compare(quick: bool) -> Vec<Compared> {
    let sizes = if quick { QUICK_SIZES.as_slice() } else { SIZES.as_slice() };
    let porcupine = porcupine();
    let stories =
        STORIES.into_iter().flat_map(|story| sizes.iter().map(move |size| (story, *size)));
    let compared = stories.map(|((story, name), requests)| {
        eprintln!("{requests} requests, {name}");
        let file =
            tempfile::Builder::new().suffix(".jsonl").tempfile_in(env!("CARGO_TARGET_TMPDIR"));
        let file = file.unwrap();
        write(&story_of(story, requests), requests, file.path());
        let asked = |command: &mut Command| {
            let ran = run_for(command.arg(file.path()), PATIENCE);
            // All of them exit with 1 where no order exists. A valid history without a store is valid.
            let right = i32::from(story == Story::Over);
            assert!(ran.code.is_none_or(|code| code == right), "a verdict is wrong: {command:?}");
            ran
        };
        Compared {
            story: name,
            requests,
            verifier: asked(&mut super::verifier()),
            wing_gong: asked(Command::new(std::env::current_exe().unwrap()).arg("search")),
            porcupine: porcupine.as_ref().map(|program| asked(&mut Command::new(program))),
        }
    });
    compared.collect()
}

/// Our own program around Porcupine, if it was built.
fn porcupine() -> Option<PathBuf> {
    let named = std::env::var_os(PORCUPINE).map(PathBuf::from);
    let program = named.unwrap_or_else(|| "porcupine-coupon".into());
    let mut asked = Command::new(&program);
    let version = asked.arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success()).then_some(program)
}

/// The search by todc-utils, in a process of its own.
pub(crate) fn search(path: &Path) -> i32 {
    let mut ends: Vec<(i64, usize, Action<Told>)> = Vec::new();
    for (at, asked) in read(path).into_iter().enumerate() {
        ends.push((asked.sent, at, Action::Call(asked.told)));
        ends.push((asked.over, at, Action::Response(asked.told)));
    }
    ends.sort_by_key(|(moment, at, action)| (*moment, matches!(action, Action::Response(_)), *at));
    let history = History::from_actions(ends.into_iter().map(|(_, at, a)| (at, a)).collect());
    i32::from(!WGLChecker::<Campaign>::is_linearizable(history))
}

static OFFERED: AtomicU64 = AtomicU64::new(0);

/// What one request does to a campaign.
struct Campaign;

impl Specification for Campaign {
    type State = u64;
    type Operation = Told;

    fn init() -> u64 {
        0
    }

    fn apply(told: &Told, issued: &u64) -> (bool, u64) {
        let offered = OFFERED.load(Ordering::Relaxed);
        match told {
            Told::Issued => (*issued < offered, issued + 1),
            Told::SoldOut => (*issued == offered, *issued),
            Told::Nothing => (true, offered.min(issued + 1)),
        }
    }
}

/// The requests of a history that [`write`] wrote.
fn read(path: &Path) -> Vec<Asked> {
    let mut asked: HashMap<u64, Asked> = HashMap::new();
    let mut each = |event: Event<'_>| match event {
        Event::Campaign(promise) => OFFERED.store(promise.coupons, Ordering::Relaxed),
        Event::Invoke(i) => {
            // What is not known may have happened at any time after.
            let open = Asked { sent: i.at, over: i64::MAX, told: Told::Nothing };
            asked.insert(i.op, open);
        }
        Event::Complete(c) => {
            let told = match c.outcome {
                Outcome::Issued(_) => Told::Issued,
                Outcome::SoldOut => Told::SoldOut,
                Outcome::Indeterminate(_) => return,
                Outcome::NotStarted | Outcome::AlreadyIssued(_) | Outcome::Pending => return,
                Outcome::NotFound | Outcome::Ended => return,
                Outcome::Failed(_) | Outcome::Read(_) => return,
            };
            let open = asked.get_mut(&c.op).unwrap();
            (open.over, open.told) = (c.at, told);
        }
    };
    jsonl::read(path, &mut each).unwrap();
    let mut asked: Vec<Asked> = asked.into_values().collect();
    asked.sort_unstable_by_key(|asked| asked.sent);
    asked
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
