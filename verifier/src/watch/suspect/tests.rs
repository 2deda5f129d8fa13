//! What is suspected of small campaigns, answer by answer.

use super::*;
use crate::check::sample::{Sample, campaign};

/// The checks that are suspected to be broken, each with its operations.
fn suspected(e: &Sample) -> Vec<(&'static str, Vec<u64>)> {
    let mut suspect = Suspect::default();
    e.events().into_iter().for_each(|event| suspect.take(&event));
    suspect.suspicions().into_iter().map(|s| (s.what.check, s.what.ops)).collect()
}

fn is_clear(e: Sample) {
    assert_eq!(suspected(&e), []);
}

#[test]
fn a_correct_launch_is_above_suspicion() {
    let e = campaign(2).not_started(90, 105).ranked("가", (Some(1), Some(1)), 101, 120);
    let e = e.counted(1, 121, 125).ranked("나", (Some(2), None), 121, 130).sold_out(125, 131);
    is_clear(e.failed(140, 150).unclear(140, 150).counted(2, 140, 150));
    is_clear(campaign(0).sold_out(110, 120));
    is_clear(campaign(1).one_per_user().user("u").issued("가", 110, 120).already(None, 130, 140));
}

#[test]
fn each_rule_of_the_base_procedure_is_looked_at_from_either_side() {
    let full = || campaign(1).issued("가", 110, 120);
    assert_eq!(suspected(&full().issued("나", 110, 130)), [("over-issued", vec![])]);
    let order = vec![("issued-after-sold-out", vec![1, 2])];
    assert_eq!(suspected(&campaign(1).sold_out(110, 120).issued("가", 121, 130)), order);
    let order = vec![("issued-after-sold-out", vec![2, 1])];
    assert_eq!(suspected(&campaign(1).issued("가", 121, 130).sold_out(110, 120)), order);
    assert_eq!(suspected(&campaign(1).issued("가", 80, 99)), [("early-issue", vec![1])]);
    assert_eq!(suspected(&campaign(1).not_started(101, 120)), [("late-start", vec![1])]);
    let gate = |e: Sample| suspected(&e.starts(100, 200));
    let flapped = vec![("gate-flapped", vec![1, 2])];
    assert_eq!(gate(campaign(1).issued("가", 110, 120).not_started(121, 130)), flapped);
    let flapped = vec![("gate-flapped", vec![2, 1])];
    assert_eq!(gate(campaign(1).not_started(121, 130).issued("가", 110, 120)), flapped);
    let short = campaign(2).issued("가", 110, 120).sold_out(130, 140);
    assert_eq!(suspected(&short), [("under-issued", vec![])]);
}

#[test]
fn reads_are_suspected_of_no_more_than_their_lag() {
    let stale = campaign(9).counted(5, 110, 120).counted(4, 130, 140);
    let found = |lag| {
        let mut suspect = Suspect::default();
        suspect.reads_may_lag(lag);
        stale.events().into_iter().for_each(|event| suspect.take(&event));
        suspect.suspicions().len()
    };
    assert_eq!((found(0), found(9), found(10)), (1, 1, 0));
}

#[test]
fn phases_are_compared_from_either_side() {
    let wide = |e: Sample| suspected(&e.starts(100, 200));
    let flapped = |first, second| vec![("gate-flapped", vec![first, second])];
    let absent = |e: Sample| e.not_found(121, 130);
    assert_eq!(wide(absent(campaign(1).not_started(110, 120))), flapped(1, 2));
    assert_eq!(wide(absent(campaign(1)).not_started(110, 120)), flapped(2, 1));
    assert_eq!(wide(absent(campaign(1).issued("가", 110, 120))), flapped(1, 2));
    assert_eq!(wide(absent(campaign(1).ended(110, 120))), flapped(1, 2));
    assert_eq!(wide(campaign(1).not_started(121, 130).ended(110, 120)), flapped(2, 1));
    assert_eq!(suspected(&campaign(1).not_found(101, 110)), [("late-start", vec![1])]);

    let late = |first, second| vec![("issued-after-ended", vec![first, second])];
    assert_eq!(suspected(&campaign(1).ended(110, 120).issued("가", 121, 130)), late(1, 2));
    assert_eq!(suspected(&campaign(1).issued("가", 121, 130).ended(110, 120)), late(2, 1));
    assert_eq!(suspected(&campaign(0).ended(110, 120).sold_out(121, 130)), late(1, 2));
    assert_eq!(suspected(&campaign(0).sold_out(121, 130).ended(110, 120)), late(2, 1));
    let again = campaign(1).restocked().ended(110, 120).issued("가", 121, 130);
    assert_eq!(suspected(&again), late(1, 2));

    let early = |first, second| vec![("early-issue", vec![first, second])];
    assert_eq!(suspected(&campaign(1).ended(80, 90).issued("가", 85, 110)), early(2, 1));
    assert_eq!(suspected(&campaign(1).issued("가", 85, 110).ended(80, 90)), early(1, 2));
}

#[test]
fn what_was_consumed_was_so_before_the_end() {
    let after = |e: Sample| suspected(&e.ended(125, 130).counted(1, 131, 140));
    let late = |end| campaign(3).ranked("가", (Some(2), None), 110, end);
    let counts = vec![("contradicting-counts", vec![1, 3, 2])];
    assert_eq!(after(late(120)), counts);
    is_clear(late(150).ended(125, 131).counted(1, 131, 140));
    let told_late = campaign(3).ended(125, 130).ranked("가", (Some(2), None), 110, 150);
    assert_eq!(
        suspected(&told_late.counted(1, 131, 160)),
        [("contradicting-counts", vec![2, 3, 1])]
    );
    let lost = |sent| campaign(1).unclear(sent, 160).sold_out(120, 150).ended(110, 130);
    is_clear(lost(130));
    assert_eq!(suspected(&lost(131)), []);
    let lost = |sent| campaign(1).ended(110, 130).sold_out(120, 150).unclear(sent, 160);
    is_clear(lost(130));
    assert_eq!(suspected(&lost(131)), [("under-issued", vec![])]);
}

#[test]
fn a_campaign_may_be_over_before_it_starts_and_holders_are_told_theirs() {
    is_clear(campaign(1).not_found(10, 20).not_started(20, 30).ended(30, 40));
    is_clear(
        campaign(1).key("k").issued("가", 110, 120).ended(125, 130).key("k").issued("가", 140, 150),
    );
    is_clear(campaign(1).user("u").issued("가", 110, 120).ended(110, 121).sold_out(121, 130));
}

#[test]
fn what_touches_is_in_no_order() {
    is_clear(campaign(1).sold_out(110, 121).issued("가", 121, 130));
    is_clear(campaign(1).starts(100, 200).issued("가", 110, 121).not_started(121, 130));
    is_clear(campaign(1).issued("가", 80, 100).not_started(100, 120));
}

#[test]
fn a_request_under_way_may_have_got_the_missing_coupon() {
    let e = campaign(2).issued("가", 110, 120).silent(115).sold_out(130, 140);
    let mut suspect = Suspect::default();
    e.events().into_iter().for_each(|event| suspect.take(&event));
    assert_eq!(suspect.suspicions(), []);
    let refused = Completion {
        op: 2,
        at: 150,
        accepted: None,
        outcome: Outcome::SoldOut,
        status: None,
        stamp: None,
    };
    suspect.take(&Event::Complete(refused));
    assert_eq!(suspect.suspicions()[0].what.check, "under-issued");
    is_clear(campaign(2).issued("가", 110, 120).unclear(115, 125).sold_out(130, 140));
    is_clear(campaign(2).issued("가", 110, 120).sold_out(130, 140).silent(139));
}

#[test]
fn codes_users_and_keys_are_told_apart() {
    let twice = campaign(9).issued("가", 110, 120).issued("가", 110, 130);
    assert_eq!(suspected(&twice), [("duplicate-code", vec![1, 2])]);
    let replay = campaign(9).key("k").issued("가", 110, 120).issued("가", 110, 130);
    is_clear(replay);
    let stolen = campaign(9).key("k").issued("가", 110, 120).key("l").issued("가", 110, 130);
    assert_eq!(suspected(&stolen), [("duplicate-code", vec![1, 2])]);
    let two = |e: Sample| e.user("u").issued("가", 110, 120).issued("나", 110, 130);
    is_clear(two(campaign(9)));
    assert_eq!(suspected(&two(campaign(9).one_per_user())), [("per-user-limit", vec![1, 2])]);
    let keyed = two(campaign(9).key("k"));
    assert_eq!(suspected(&keyed), [("idempotency", vec![1, 2])]);
    assert_eq!(suspected(&campaign(9).issued("x", 110, 120)), [("malformed-code", vec![1])]);
}

#[test]
fn holders_are_looked_at() {
    let held = || campaign(1).one_per_user_and(Precedence::AlreadyFirst).user("u");
    let told = held().issued("가", 110, 120).sold_out(130, 140);
    assert_eq!(suspected(&told), [("refused-holder", vec![1, 2])]);
    let other = held().issued("가", 110, 120).already(Some("나"), 130, 140);
    assert_eq!(suspected(&other), [("unfounded-already-issued", vec![1, 2])]);
    let none = campaign(1).already(None, 130, 140);
    assert_eq!(suspected(&none), [("unfounded-already-issued", vec![1])]);
}

#[test]
fn numbers_are_compared() {
    let counts = |ops: &[u64]| vec![("contradicting-counts", ops.to_vec())];
    let ranks =
        |a, b| campaign(9).ranked("가", (Some(a), None), 110, 120).ranked("나", b, 121, 130);
    is_clear(ranks(1, (Some(2), Some(7))));
    assert_eq!(suspected(&ranks(2, (Some(1), None))), counts(&[1, 2]));
    assert_eq!(suspected(&ranks(2, (None, Some(8)))), counts(&[1, 2]));
    assert_eq!(suspected(&campaign(9).ranked("가", (Some(10), None), 110, 120)), counts(&[1]));
    let read = |n| campaign(9).counted(5, 110, 120).counted(n, 121, 130);
    is_clear(read(5));
    assert_eq!(suspected(&read(4)), counts(&[1, 2]));
    assert_eq!(suspected(&campaign(9).counted(10, 110, 120)), counts(&[1]));
    let same = campaign(9).ranked("가", (Some(2), None), 110, 140);
    let same = same.ranked("나", (Some(2), None), 110, 140);
    assert_eq!(suspected(&same), counts(&[1, 2]));
    let mut lagging = Suspect::default();
    lagging.reads_may_lag(1);
    read(4).events().into_iter().for_each(|event| lagging.take(&event));
    assert_eq!(lagging.suspicions(), []);
}

#[test]
fn what_comes_back_makes_only_counts_and_order_unsuspicious() {
    is_clear(campaign(1).restocked().sold_out(110, 120).issued("가", 121, 130));
    is_clear(campaign(5).restocked().ranked("가", (Some(5), None), 110, 120).sold_out(110, 120));
    let twice = campaign(9).restocked().issued("가", 110, 120).issued("가", 110, 130);
    assert_eq!(suspected(&twice), [("duplicate-code", vec![1, 2])]);
}

#[test]
fn what_was_proven_is_not_suspected_again() {
    let e = campaign(1).sold_out(110, 120).issued("가", 121, 130);
    let mut suspect = Suspect::default();
    assert!(suspect.rush("c").is_none(), "nothing was promised yet");
    suspect.take(&e.events()[0]);
    assert!(suspect.rush("c").unwrap().prove("issued-after-sold-out"));
    e.events().into_iter().skip(1).for_each(|event| suspect.take(&event));
    assert_eq!(suspect.suspicions().iter().filter(|s| s.what.ops.len() == 2).count(), 0);
}

#[test]
fn a_count_that_was_wrong_is_suspected_again_only_after_more_answers() {
    let mut suspect = Suspect::default();
    let e = campaign(2).issued("가", 110, 120).issued("나", 110, 120).issued("다", 110, 120);
    let e = e.issued("라", 110, 120).issued("마", 110, 120);
    let mut events = e.events().into_iter();
    let many = |suspect: &mut Suspect| suspect.suspicions().len();
    events.by_ref().take(7).for_each(|event| suspect.take(&event));
    assert_eq!(many(&mut suspect), 1);
    suspect.rush("c").unwrap().recounted(1);
    events.by_ref().take(2).for_each(|event| suspect.take(&event));
    assert_eq!(many(&mut suspect), 0);
    events.for_each(|event| suspect.take(&event));
    assert_eq!(many(&mut suspect), 1, "two more would be too many, if two were none");
}
