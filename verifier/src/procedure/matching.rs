//! Jobs and slots, matched from the first slot to the last: earliest end first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::jobs::Plan;
use super::windows::{Windows, witness};
use super::{Condition, Contradiction, Fact, Rules, Span, Topic, Why};

/// So many contradictions of one kind are kept; a report has no more.
const MOST_ALIKE: usize = 20;

/// The slots that a job fits, from the first to the last.
#[derive(Clone, Copy)]
struct Range {
    first: u64,
    last: u64,
    job: usize,
}

fn ranges(plan: &Plan<'_>, windows: &Windows<'_, '_>) -> Vec<Range> {
    let jobs = plan.jobs.iter().enumerate();
    let range = |(job, j): (usize, &super::jobs::Job<'_>)| Range {
        first: windows.first_from(j.release).max(j.above.saturating_add(1)),
        last: windows.last_by(j.deadline).min(j.upto),
        job,
    };
    let mut ranges: Vec<Range> = jobs.map(range).collect();
    ranges.sort_by_key(|range| (range.first, range.last));
    ranges
}

/// Coupons that were certainly consumed and for which there is no room.
pub(super) fn crowded(
    plan: &Plan<'_>,
    windows: &Windows<'_, '_>,
    rules: Rules,
) -> Vec<Contradiction> {
    let certain = |range: &Range| plan.jobs[range.job].certain;
    let mut ranges: Vec<Range> = ranges(plan, windows).into_iter().filter(certain).collect();
    let mut found: Vec<Contradiction> = Vec::new();
    let (empty, full): (Vec<Range>, Vec<Range>) =
        ranges.into_iter().partition(|range| range.first > range.last);
    ranges = full;
    if rules.hold(Condition::Empty) {
        found.extend(empties(plan, windows, &empty));
    }
    if rules.hold(Condition::Crowded) {
        let full = overfull(&ranges).or_else(|| overflowing(&ranges, plan, windows));
        found.extend(full.map(|(first, last, jobs)| {
            let (span, whys) = crowd(plan, windows, (first, last), &jobs);
            Contradiction::new(Fact::Crowded(span), witness(whys))
        }));
    }
    found
}

/// Coupons none of which fits any slot. A broken campaign can have as many as requests: what is not
/// reported is only counted.
fn empties(plan: &Plan<'_>, windows: &Windows<'_, '_>, empty: &[Range]) -> Vec<Contradiction> {
    let mut found: Vec<Contradiction> = Vec::new();
    let mut of_topic: BTreeMap<Topic, Vec<usize>> = BTreeMap::new();
    for range in empty {
        let (span, whys) = crowd(plan, windows, (range.first, range.last), &[range.job]);
        let alike = of_topic.entry(span.topic).or_default();
        if let [.., last] = alike[..]
            && alike.len() == MOST_ALIKE
        {
            found[last].more += 1;
            continue;
        }
        alike.push(found.len());
        found.push(Contradiction::new(Fact::Crowded(span), witness(whys)));
    }
    found
}

/// All slots, where there are fewer of them than jobs together with those that fit anywhere.
fn overflowing(
    ranges: &[Range],
    plan: &Plan<'_>,
    windows: &Windows<'_, '_>,
) -> Option<(u64, u64, Vec<usize>)> {
    let all = ranges.len() as u64 + plan.anywhere;
    let jobs = || ranges.iter().map(|range| range.job).collect();
    (plan.anywhere > 0 && all > windows.coupons).then(|| (1, windows.coupons, jobs()))
}

/// The first slots for which there are too many jobs, with one job more than there are slots.
fn overfull(ranges: &[Range]) -> Option<(u64, u64, Vec<usize>)> {
    let mut waiting: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    // What was matched, from slot to slot.
    let mut matched: Vec<(u64, usize)> = Vec::with_capacity(ranges.len());
    let (mut slot, mut next) = (1, 0);
    while next < ranges.len() || !waiting.is_empty() {
        if waiting.is_empty() {
            slot = ranges[next].first.max(slot);
        }
        while let Some(range) = ranges.get(next).filter(|range| range.first <= slot) {
            waiting.push(Reverse((range.last, next)));
            next += 1;
        }
        let Some(Reverse((last, at))) = waiting.pop() else { break };
        if last < slot {
            return Some(violators(ranges, &matched, (last, at)));
        }
        matched.push((slot, at));
        slot += 1;
    }
    None
}

/// Goes back from the job that has no slot to where nothing waited that has to be in by then.
fn violators(
    ranges: &[Range],
    matched: &[(u64, usize)],
    (last, job): (u64, usize),
) -> (u64, u64, Vec<usize>) {
    let mut jobs = vec![ranges[job].job];
    let mut first = last + 1;
    for &(slot, at) in matched.iter().rev() {
        if slot + 1 != first || ranges[at].last > last {
            break;
        }
        first = slot;
        jobs.push(ranges[at].job);
    }
    (first, last, jobs)
}

/// These jobs are more than there are slots from the first to the last.
fn crowd<'a>(
    plan: &Plan<'a>,
    windows: &Windows<'a, '_>,
    (first, last): (u64, u64),
    jobs: &[usize],
) -> (Span, Vec<Why<'a>>) {
    let before =
        first.checked_sub(1).filter(|above| *above > 0).and_then(|above| windows.filled_by(above));
    let after = windows.not_before(last.saturating_add(1)).filter(|_| last < windows.coupons);
    let mut whys = Vec::new();
    for &at in jobs {
        let job = &plan.jobs[at];
        whys.push(job.why());
        let sent_after = before.filter(|(moment, _)| *moment < job.release).map(|(_, why)| why);
        let above = (first > 1).then(|| sent_after.or_else(|| plan.why_above(at, first - 1)));
        let over_before = after.filter(|(moment, _)| job.deadline < *moment).map(|(_, why)| why);
        let upto =
            (last < windows.coupons).then(|| over_before.or_else(|| plan.why_upto(at, last)));
        whys.extend(above.flatten().into_iter().chain(upto.flatten()));
    }
    let topic = topic(&whys);
    let everywhere = if first == 1 && last == windows.coupons { plan.anywhere } else { 0 };
    let requests = jobs.len() as u64 + everywhere;
    let span = Span { above: first - 1, upto: last, requests, topic };
    (span, whys)
}

fn topic(whys: &[Why<'_>]) -> Topic {
    whys.iter().map(|why| why.topic).max().unwrap_or(Topic::Campaign)
}

/// Coupons that must have been consumed and for which there are too few requests.
pub(super) fn hollow(
    plan: &Plan<'_>,
    windows: &Windows<'_, '_>,
    rules: Rules,
) -> Option<Contradiction> {
    if !rules.hold(Condition::Hollow) {
        return None;
    }
    let mut ranges = ranges(plan, windows);
    ranges.retain(|range| range.first <= range.last);
    let needed = windows.last_needed().max(plan.total.unwrap_or(0));
    let slot = first_unfilled(&ranges, plan.anywhere, needed)?;
    let (first, requests) = shortage(&mut ranges, plan.anywhere, slot);
    let mut whys: Vec<Why<'_>> = windows.filled_by(slot).map(|(_, why)| why).into_iter().collect();
    whys.extend(windows.not_before(first).filter(|_| first > 1).map(|(_, why)| why));
    let span = Span { above: first - 1, upto: slot, requests, topic: topic(&whys) };
    Some(Contradiction::new(Fact::Hollow(span), witness(whys)))
}

fn first_unfilled(ranges: &[Range], mut anywhere: u64, needed: u64) -> Option<u64> {
    let mut waiting: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    let mut next = 0;
    // Each slot takes a job, so this ends after as many as there are.
    (1..=needed).find(|slot| {
        while let Some(range) = ranges.get(next).filter(|range| range.first <= *slot) {
            waiting.push(Reverse(range.last));
            next += 1;
        }
        while waiting.peek().is_some_and(|Reverse(last)| last < slot) {
            waiting.pop();
        }
        if waiting.pop().is_none() {
            // Whoever fits anywhere can wait the longest.
            anywhere.checked_sub(1).map(|left| anywhere = left).is_none()
        } else {
            false
        }
    })
}

/// The fewest slots up to this one for which there are too few jobs, by the first of them, and how
/// many jobs there are.
fn shortage(ranges: &mut Vec<Range>, anywhere: u64, slot: u64) -> (u64, u64) {
    ranges.retain(|range| range.first <= slot);
    ranges.sort_by_key(|range| Reverse(range.last));
    // Jobs that end in the slot or later fit; the further back, the more of them.
    let mut fitting = anywhere;
    loop {
        let first = slot - fitting;
        let more = ranges.iter().skip(usize::try_from(fitting - anywhere).unwrap_or(usize::MAX));
        let more = more.take_while(|range| range.last >= first).count() as u64;
        if more == 0 || first == 1 {
            return (first, fitting + more);
        }
        fitting += more.min(first - 1);
    }
}

#[cfg(test)]
mod tests {
    use crate::check::Check;
    use crate::check::sample::campaign;

    #[test]
    fn of_many_alike_a_few_are_kept_and_all_are_counted() {
        let mut sample = campaign(1_000).counted(100, 200, 210);
        // Sent after a hundred were seen, and told to be among the first ninety.
        for n in 0..50 {
            sample = sample.ranked(format!("{n}").leak(), (Some(n + 1), None), 220, 230);
        }
        let e = sample.evidence();
        let kept = e.contradictions.iter().filter(|c| c.witness.len() == 2).count();
        assert_eq!(kept, super::MOST_ALIKE);
        let counts = Check::named("contradicting-counts").unwrap();
        let found = (counts.find)(&e);
        assert_eq!(found.len(), 20);
        assert!(found[19].sentence.ends_with("(and 30 more like this)"), "{}", found[19].sentence);
    }
}
