//! The procedure against an oracle that tries everything, on random small histories.
//!
//! `PROCEDURE_STORIES` says how many, `PROCEDURE_SEED` where they begin. A disagreement is printed as
//! its seed and the smallest history that still shows it.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of what a request was told, most says nothing here"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "stories have ten requests, not more"
)]

#[path = "procedure/database.rs"]
mod database;
#[path = "procedure/generate.rs"]
mod generate;
#[path = "procedure/oracle.rs"]
mod oracle;
#[path = "procedure/store.rs"]
mod store;
#[path = "procedure/story.rs"]
mod story;

use std::collections::BTreeSet;
use std::time::Duration;

use story::{Ask, Precedence, Story, Told};
use verifier::check::Violation;
use verifier::cli::CheckArgs;
use verifier::procedure::Condition;
use verifier::verdict::{Judged, Report};

/// So many stories are judged as one history.
const BATCH: u64 = 5_000;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn judge(stories: &[Story], without: Option<Condition>) -> Report {
    judge_text(&story::write(stories), stories, without)
}

fn judge_text(text: &str, stories: &[Story], without: Option<Condition>) -> Report {
    // Half of the histories are sifted.
    let most_held = text.len().is_multiple_of(2).then_some(0);
    judge_holding(text, stories, (without, most_held))
}

fn judge_holding(
    text: &str,
    stories: &[Story],
    (without, most_held): (Option<Condition>, Option<usize>),
) -> Report {
    let mut file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    let lag = u64::try_from(stories[0].lag).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = stories[0].rows.as_ref().map(|_| {
        let path = folder.path().join("coupons.db");
        store::write(&path, stories);
        format!("sqlite:{}", path.display())
    });
    verifier::check(&CheckArgs {
        history: Some(file.path().to_owned()),
        store: url,
        settle: Some(Duration::ZERO),
        read_lag: Some(Duration::from_nanos(lag)),
        without,
        most_held,
        ..CheckArgs::default()
    })
    .unwrap()
}

/// What was said of one story.
struct Said {
    /// The checks that found something.
    checks: BTreeSet<&'static str>,
    /// Witnesses that did not hold.
    broken: Vec<String>,
}

fn found(stories: &[Story], without: Option<Condition>) -> Vec<Said> {
    said_of(&judge(stories, without))
}

fn said_of(report: &Report) -> Vec<Said> {
    let said = |j: &Judged| {
        let broken = j.doubts().filter(|(_, v)| v.sentence.contains("internal error"));
        let broken = broken.map(|(_, v)| v.sentence.clone()).collect();
        // Ranks in the store are no part of a story.
        let rank = |v: &Violation| {
            v.sentence.contains("its row is number") || v.sentence.contains("by its row")
        };
        let checks = j.violations().filter(|(check, v)| *check != "ledger-mismatch" || !rank(v));
        Said { checks: checks.map(|(check, _)| check).collect(), broken }
    };
    report.campaigns.iter().map(said).collect()
}

fn truth(story: &Story) -> bool {
    match &story.rows {
        Some(rows) if store::is_strange(story, rows) => {
            oracle::is_valid(&Story { rows: None, ..story.clone() })
        }
        _ => oracle::is_valid(story),
    }
}

/// Whether the verdict on a story is the true one, and every witness holds.
fn is_right(story: &Story, said: &Said) -> bool {
    let clear = story.rows.as_ref().is_none_or(|rows| store::tells_apart(story, rows));
    let missed = said.checks.is_empty() && !clear;
    said.broken.is_empty() && (missed || said.checks.is_empty() == truth(story))
}

fn is_misjudged(story: &Story) -> bool {
    !is_right(story, &found(std::slice::from_ref(story), None)[0])
}

/// The smallest story that is still misjudged.
fn shrunk(mut story: Story) -> Story {
    let mut at = 0;
    while at < story.asks.len() {
        let mut smaller = story.clone();
        smaller.asks.remove(at);
        if is_misjudged(&smaller) {
            (story, at) = (smaller, 0);
        } else {
            at += 1;
        }
    }
    story
}

/// The stories from a seed on. They share the lag, which is a setting of the judge.
fn stories(first: u64, count: u64, stored: bool) -> Vec<Story> {
    let lag = if first / BATCH % 3 == 2 { 17 } else { 0 };
    (first..first + count).map(|seed| generate::story(seed, lag, stored)).collect()
}

fn complain(seed: u64, story: Story) -> ! {
    let story = shrunk(story);
    let report = judge(std::slice::from_ref(&story), None);
    let said = report.campaigns[0].violations().map(|(_, v)| {
        format!(
            "{} {:?} {:?}",
            v.sentence,
            v.claim,
            v.witness.iter().map(|op| op.op).collect::<Vec<_>>()
        )
    });
    let said: Vec<String> =
        said.chain(report.campaigns[0].doubts().map(|(_, v)| v.sentence.clone())).collect();
    let truth = truth(&story);
    panic!("seed {seed}, valid {truth}:\n{}\n{story:#?}", said.join("\n"));
}

/// Judges so many stories, and complains about the first that is misjudged.
fn fuzz(first: u64, count: u64, stored: bool) {
    let mut valid = 0;
    for batch in (first..first + count).step_by(BATCH as usize) {
        let stories = stories(batch, BATCH.min(first + count - batch), stored);
        for ((seed, story), said) in (batch..).zip(&stories).zip(found(&stories, None)) {
            if !is_right(story, &said) {
                complain(seed, story.clone());
            }
            valid += u64::from(said.checks.is_empty());
        }
    }
    let share = valid * 100 / count.max(1);
    assert!((20..80).contains(&share) || count < BATCH, "{share} % are valid: that tests little");
}

#[test]
fn the_procedure_agrees_with_the_oracle() {
    fuzz(setting("PROCEDURE_SEED", 0), setting("PROCEDURE_STORIES", 1_000_000), false);
}

#[test]
fn with_a_store_it_agrees_as_well() {
    fuzz(setting("PROCEDURE_SEED", 0), setting("PROCEDURE_STORIES", 1_000_000) / 25, true);
}

/// A row under the key of a request that was told another coupon is no row of a request without a key.
#[test]
fn a_row_has_its_key_from_the_request_that_carried_it() {
    let story = generate::story(31_427, 0, true);
    assert!(!truth(&story), "{story:#?}");
    assert!(found(&[story], None)[0].checks.contains("idempotency"));
}

/// A history in which requests are missing proves nothing wrong: what is missing may explain it.
#[test]
fn a_hole_makes_no_valid_story_invalid() {
    for batch in 0..(setting("PROCEDURE_STORIES", 1_000_000) / BATCH / 10).max(2) {
        let whole =
            stories(batch * BATCH, BATCH, batch % 2 == 1).into_iter().filter(oracle::is_valid);
        let torn = whole.enumerate().map(|(at, mut story)| {
            let asked = story.asks.len();
            (asked > 0).then(|| story.asks.remove(at % asked));
            story
        });
        let torn: Vec<Story> = torn.collect();
        // Without a trailer the reader knows that something is missing.
        let text = story::write(&torn);
        let text = &text[..text.rfind("{\"type\":\"trailer\"").unwrap()];
        for (story, said) in torn.iter().zip(said_of(&judge_text(text, &torn, None))) {
            assert!(
                said.checks.is_empty() && said.broken.is_empty(),
                "{:?}\n{story:#?}",
                said.checks
            );
        }
    }
}

/// What was found in a campaign, with its proof.
fn proofs(judged: &Judged) -> Vec<(&'static str, &str, Vec<u64>)> {
    let shown = |v: &Violation| v.witness.iter().map(|op| op.op).collect();
    judged.violations().map(|(check, v)| (check, v.sentence.as_str(), shown(v))).collect()
}

/// Whether all coupons of a story are plain, if it is valid: whatever was told says its rank, or nothing
/// does, and nobody says anything of who has what.
fn is_simple(story: &Story) -> bool {
    let ranked = |told: Told| match told {
        Told::Issued { seq, remaining, .. } => Some(seq.is_some() || remaining.is_some()),
        _ => None,
    };
    let told: BTreeSet<bool> = story.asks.iter().filter_map(|ask| ranked(ask.told)).collect();
    let ended = story.asks.iter().filter(|ask| ask.told == Told::Ended);
    let over_by = ended.filter_map(|ask| ask.to).min().unwrap_or(i64::MAX);
    let quiet = |ask: &Ask| {
        let issued = matches!(ask.told, Told::Issued { .. });
        // Whoever was told within the start's window may have been told too early.
        let plain = issued && ask.to.is_some_and(|to| to.min(over_by) >= story.start.1);
        // Whoever was told nothing may hold one of the others.
        let early = matches!(ask.told, Told::NotFound | Told::NotStarted);
        let refused = early || matches!(ask.told, Told::SoldOut | Told::Ended);
        let plain = plain || refused && ask.to.is_some();
        ask.key.is_none() && (plain || matches!(ask.told, Told::Counted(_) | Told::Left(_)))
    };
    let refused = story.limit.is_some_and(|limit| limit == Precedence::AlreadyFirst);
    told.len() == 1 && !refused && story.asks.iter().all(quiet)
}

#[test]
fn sifted_stories_are_judged_like_others_and_hold_nothing_that_they_need_not() {
    let (mut ranked, mut counted) = (0, 0);
    let first = setting("PROCEDURE_SEED", 0) / BATCH;
    for batch in first..first + (setting("PROCEDURE_STORIES", 1_000_000) / BATCH / 10).max(4) {
        let stories = stories(batch * BATCH, BATCH, batch % 4 == 3);
        let text = story::write(&stories);
        let judged = [None, Some(0)].map(|held| judge_holding(&text, &stories, (None, held)));
        let campaigns = judged[0].campaigns.iter().zip(&judged[1].campaigns);
        for (story, (held, sifted)) in stories.iter().zip(campaigns) {
            assert_eq!(proofs(sifted), proofs(held), "batch {batch}: {story:#?}");
            let evidence = &sifted.evidence;
            if proofs(held).is_empty() && story.rows.is_none() && is_simple(story) {
                assert_eq!(evidence.acknowledged.iter().count(), 0, "{story:#?}");
                ranked += evidence.counts.ranked.min(1);
                counted += u64::from(evidence.counts.ranked == 0 && !evidence.reads.is_empty());
            }
        }
    }
    assert!(ranked > 50 && counted > 50, "{ranked} and {counted}: that tests little");
}

/// Each has all temporary files to itself, so that what belongs together is far apart in them.
#[test]
fn a_story_that_is_sifted_alone_is_judged_like_any_other() {
    for story in stories(0, setting("PROCEDURE_STORIES", 1_000_000) / 500, false) {
        let (text, stories) = (story::write(std::slice::from_ref(&story)), [story]);
        let judged = [None, Some(0)].map(|held| judge_holding(&text, &stories, (None, held)));
        let [held, sifted] = judged.each_ref().map(|report| proofs(&report.campaigns[0]));
        assert_eq!(sifted, held, "{stories:#?}");
    }
}

/// The checks without which a verdict would be wrong. What the others find, one of these finds as well,
/// or it is not in these stories.
const CHECKS: [&str; 16] = [
    "over-issued",
    "issued-after-sold-out",
    "issued-after-ended",
    "under-issued",
    "duplicate-code",
    "early-issue",
    "late-start",
    "gate-flapped",
    "per-user-limit",
    "unfounded-already-issued",
    "refused-holder",
    "idempotency",
    "contradicting-counts",
    "contradicting-snapshots",
    "lost",
    "phantom",
];

#[test]
fn no_condition_can_be_left_out() {
    let mut conditions = Condition::ALL.to_vec();
    let mut checks = CHECKS.to_vec();
    for batch in 0..400 {
        // The last conditions are about stores.
        let stories = stories(batch * BATCH, BATCH, batch % 2 == 1);
        let truth: Vec<bool> = stories.iter().map(truth).collect();
        let whole = found(&stories, None);
        checks.retain(|check| {
            let only = |said: &Said| said.checks.len() == 1 && said.checks.contains(check);
            !whole.iter().any(only)
        });
        conditions.retain(|condition| {
            let found = found(&stories, Some(*condition));
            truth.iter().zip(found).all(|(valid, said)| *valid == said.checks.is_empty())
        });
        if conditions.is_empty() && checks.is_empty() {
            return;
        }
    }
    panic!("nothing is missed without {conditions:?} {checks:?}");
}
