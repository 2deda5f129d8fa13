//! A handful of planted bugs, one of each kind, through a whole launch, and what only looks like one.
//! All bugs, and many launches of each: the command `mutants`, see `docs/mutants.md`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use e2e::mutants::{Evidence, Judged, Launch, Store, Subject, list};
use serde_json::Value;

/// Launches share the machine's cores: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn subject(name: &str) -> Subject {
    list().unwrap().into_iter().find(|subject| subject.name == name).unwrap()
}

fn launch(name: &str, store: Store) -> Launch {
    Launch::of(&subject(name), 1, store).unwrap()
}

fn is_caught(name: &str, store: Store) {
    let _turn = turn();
    let checks = subject(name).checks;
    let judged = launch(name, store).judge(Evidence::Both).unwrap();
    assert!(judged.caught(&checks) && judged.named(&checks), "{checks:?}: {judged:?}");
}

macro_rules! caught {
    ($($test:ident $name:literal $store:ident;)*) => {
        $(#[test] fn $test() { is_caught($name, Store::$store); })*
    };
}

caught! {
    off_by_one_is_caught "off-by-one" Sqlite;
    off_by_one_on_redis_is_caught "off-by-one" Redis;
    reopened_is_caught "reopened" Sqlite;
    rollback_forgets_on_redis_is_caught "rollback-forgets" Redis;
    jamo_is_caught "jamo" Sqlite;
    write_behind_drops_is_caught "write-behind-drops" Sqlite;
    no_idempotency_is_caught "no-idempotency" Sqlite;
    swapped_responses_is_caught "swapped-responses" Sqlite;
    truncated_body_is_caught "truncated-body" Sqlite;
}

/// Judges what is no bug, once it is clear that what looks like one happened.
fn no_alarm(name: &str, happened: impl Fn(&Value) -> bool) -> Judged {
    let _turn = turn();
    let launch = launch(name, Store::Sqlite);
    let summary = launch.summary().unwrap_or_default();
    assert!(happened(&summary), "{name} is no trap: {summary:#}");
    let judged = launch.judge(Evidence::Both).unwrap();
    assert_ne!(judged.verdict, "invalid", "{judged:?}");
    judged
}

fn outcome(summary: &Value, name: &str) -> u64 {
    summary["outcomes"][name].as_u64().unwrap()
}

#[test]
fn no_bug_no_alarm() {
    let judged = no_alarm("clean", |summary| outcome(summary, "issued") > 0);
    assert_eq!(judged.verdict, "valid", "{judged:?}");
}

#[test]
fn no_bug_on_redis_no_alarm() {
    let _turn = turn();
    let judged = launch("clean", Store::Redis).judge(Evidence::Both).unwrap();
    assert_eq!(judged.verdict, "valid", "{judged:?}");
}

#[test]
fn a_doubtful_answer_is_no_bug() {
    let judged = no_alarm("doubt-after-commit", |summary| outcome(summary, "indeterminate") > 0);
    assert_eq!(judged.verdict, "valid", "{judged:?}");
}

#[test]
fn no_coupon_at_all_is_no_bug() {
    no_alarm("no-coupons", |s| outcome(s, "issued") == 0 && outcome(s, "sold_out") > 0);
}

#[test]
fn one_coupon_is_no_bug() {
    // Of each of two campaigns, and told again to whoever repeats the key.
    no_alarm("one-coupon", |summary| (2..20).contains(&outcome(summary, "issued")));
}

#[test]
fn fewer_requests_than_coupons_are_no_bug() {
    no_alarm("few-requests", |s| outcome(s, "issued") > 0 && outcome(s, "sold_out") == 0);
}

#[test]
fn no_traffic_is_no_bug() {
    let judged = no_alarm("no-traffic", |summary| summary["accounting"]["sent"] == 0);
    assert_eq!(judged.verdict, "unknown", "{judged:?}");
}

#[test]
fn a_replayed_key_is_no_bug() {
    no_alarm("replayed-keys", |summary| outcome(summary, "issued") > 2 * 240);
}

#[test]
fn a_time_out_is_no_bug_whether_it_consumed_or_not() {
    no_alarm("timed-out", |summary| outcome(summary, "indeterminate") > 0);
}

#[test]
fn an_instance_that_stands_still_is_no_bug() {
    no_alarm("stalled-instance", |summary| outcome(summary, "indeterminate") > 0);
}

#[test]
fn an_instance_that_dies_and_comes_back_is_no_bug() {
    no_alarm("killed-instance", |summary| outcome(summary, "indeterminate") > 0);
}

#[test]
fn connections_that_are_closed_in_use_are_no_bug() {
    no_alarm("replaced-instance", |summary| outcome(summary, "failed") > 0);
}

#[test]
fn a_load_generator_that_dies_is_no_bug() {
    let judged = no_alarm("killed-generator", Value::is_null);
    assert_eq!(judged.verdict, "unknown", "{judged:?}");
}

/// What the store alone shows is what does not take a history.
#[test]
fn half_of_the_evidence_shows_half_of_the_bugs() {
    let _turn = turn();
    let launch = launch("reopened", Store::Sqlite);
    assert_eq!(launch.judge(Evidence::History).unwrap().verdict, "invalid");
    assert_eq!(launch.judge(Evidence::Store).unwrap().verdict, "unknown");
}
