//! What a plan has beside its arrivals: campaigns, buyers who ask again, reads, and connections that
//! are opened before.

use crate::report::thousands;
use crate::scenario::{Load, Scenario, Span, WarmUp};
use crate::schedule::Schedule;

/// One line for each of them that there is.
pub(super) fn notes(scenario: &Scenario, schedule: &Schedule, targets: u64) -> String {
    let notes = [
        campaigns(scenario, schedule),
        repeats(schedule),
        retries(scenario),
        polls(scenario),
        reads(&scenario.load, schedule),
        scenario.load.warm_up.as_ref().map(|w| warm_up(w, targets)),
    ];
    let notes: Vec<String> = notes.into_iter().flatten().map(|note| note + "\n").collect();
    if notes.is_empty() { String::new() } else { notes.concat() + "\n" }
}

fn campaigns(scenario: &Scenario, schedule: &Schedule) -> Option<String> {
    let count = u64::from(u32::from(scenario.campaign.count));
    let apart = Span::from_nanos(scenario.campaign.apart.nanos());
    let how = match apart.nanos() {
        0 => "side by side".to_owned(),
        _ => format!("each {apart} after the one before"),
    };
    let each = thousands(schedule.len_of_one());
    (count > 1).then(|| format!("{} campaigns, {how}: {each} arrivals each", thousands(count)))
}

fn repeats(schedule: &Schedule) -> Option<String> {
    let repeats = schedule.repeats();
    let n = thousands(repeats);
    (repeats > 0).then(|| format!("{n} of the arrivals are further requests of the same buyers"))
}

fn retries(scenario: &Scenario) -> Option<String> {
    let rules = scenario.buyers.iter().flat_map(|buyer| &buyer.retry);
    let most = rules.map(|rule| rule.at_most.get()).max()?;
    Some(format!("retries come on top, as the answers are: up to {most} of an arrival"))
}

fn polls(scenario: &Scenario) -> Option<String> {
    let poll = scenario.mapping.poll.as_ref()?;
    let (every, give_up) = (poll.every.span(), poll.give_up.span());
    Some(format!("polls come on top: every {every} for up to {give_up} of what is accepted"))
}

fn reads(load: &Load, schedule: &Schedule) -> Option<String> {
    let rate = load.reads.per_second();
    #[expect(clippy::cast_precision_loss, reason = "days in nanoseconds are enough")]
    let seconds = (schedule.end() - schedule.begin()) as f64 / 1e9;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "neither is negative, and people read it"
    )]
    let all = (rate * seconds).round() as u64;
    (rate > 0.0).then(|| format!("about {} reads, {rate} a second", thousands(all)))
}

fn warm_up(warm_up: &WarmUp, targets: u64) -> String {
    let (all, length) = (opened(warm_up, targets), length(warm_up, targets));
    let rate = thousands(warm_up.rate.get().into());
    format!("{} connections are opened before, {rate} a second: {length}", thousands(all))
}

/// How many connections a warm-up opens.
pub(super) fn opened(warm_up: &WarmUp, targets: u64) -> u64 {
    u64::from(u32::from(warm_up.connections)) * targets
}

/// How long a warm-up takes, to the next millisecond.
pub(super) fn length(warm_up: &WarmUp, targets: u64) -> Span {
    #[expect(clippy::cast_precision_loss, reason = "65 million connections are exact")]
    let seconds = opened(warm_up, targets) as f64 / f64::from(warm_up.rate.get());
    #[expect(clippy::cast_possible_truncation, reason = "at most two years")]
    let ms = (seconds * 1e3).ceil() as i64;
    Span::from_millis(ms)
}
