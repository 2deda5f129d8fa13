//! Jobs and slots, matched from the first slot to the last: earliest end first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::jobs::Plan;
use super::room::{Queue, Range, Room, Turn};
use super::windows::{Windows, witness};
use super::{Condition, Contradiction, Fact, Rules, Span, Topic, Why};
use crate::evidence::acknowledged::Numbers;

/// So many contradictions of one kind are kept; a report has no more.
const MOST_ALIKE: usize = 20;

/// Too many for some slots.
struct Crowd {
    slots: Numbers,
    /// Those of them that are looked at one by one.
    jobs: Vec<usize>,
    /// How many they are in all.
    requests: u64,
}

/// Coupons that were certainly consumed and for which there is no room.
pub(super) fn crowded(
    plan: &Plan<'_>,
    windows: &Windows<'_, '_>,
    rules: Rules,
) -> Vec<Contradiction> {
    let room = Room::of(&plan.plain.ranked);
    let certain = |range: &Range| range.job.is_none_or(|job| plan.jobs[job].certain);
    let ranges = room.ranges(plan, windows).into_iter().filter(certain);
    let (empty, ranges): (Vec<Range>, Vec<Range>) =
        ranges.partition(|range| range.slots.count() == 0);
    let mut found: Vec<Contradiction> = Vec::new();
    if rules.hold(Condition::Empty) {
        found.extend(empties(plan, windows, &empty));
        found.extend(beyond(&room, windows.coupons));
    }
    if rules.hold(Condition::Crowded) {
        found.extend(overfull(&ranges, &room).map(|crowd| contradiction(plan, windows, &crowd)));
    }
    found
}

fn contradiction(plan: &Plan<'_>, windows: &Windows<'_, '_>, crowd: &Crowd) -> Contradiction {
    let whys = whys(plan, windows, crowd);
    let Crowd { slots: Numbers { first, last }, requests, .. } = *crowd;
    let lacks = requests > crowd.jobs.len() as u64;
    // Reads or ranks keep those that are left out within these bounds.
    let bounded = lacks && (first > 1 || last < windows.coupons);
    let topic = topic(&whys).max(if bounded { Topic::Count } else { Topic::Campaign });
    let span = Span { above: first - 1, upto: last, requests, topic };
    // What nothing bounds from above fits there as well.
    let upto = if last < windows.coupons { last } else { u64::MAX };
    let lacks = lacks.then_some(Numbers { first, last: upto });
    Contradiction { lacks, ..Contradiction::new(Fact::Crowded(span), witness(whys)) }
}

/// Coupons none of which fits any slot. A broken campaign can have as many as requests: what is not
/// reported is only counted.
fn empties(plan: &Plan<'_>, windows: &Windows<'_, '_>, empty: &[Range]) -> Vec<Contradiction> {
    let mut found: Vec<Contradiction> = Vec::new();
    let mut of_topic: BTreeMap<Topic, Vec<usize>> = BTreeMap::new();
    for range in empty {
        let jobs = range.job.into_iter().collect();
        let crowd = Crowd { slots: range.slots, jobs, requests: range.jobs };
        let one = contradiction(plan, windows, &crowd);
        let Fact::Crowded(span) = one.fact else { continue };
        let alike = of_topic.entry(span.topic).or_default();
        if let [.., last] = alike[..]
            && alike.len() == MOST_ALIKE
        {
            found[last].more += 1;
            continue;
        }
        alike.push(found.len());
        found.push(one);
    }
    found
}

/// Plain coupons of ranks that were never reached.
fn beyond(room: &Room<'_>, coupons: u64) -> Option<Contradiction> {
    let slots = Numbers { first: coupons.checked_add(1)?, last: u64::MAX };
    let requests = room.taken(slots);
    let span = Span { above: coupons, upto: coupons, requests, topic: Topic::Count };
    let found = Contradiction::new(Fact::Crowded(span), Vec::new());
    (requests > 0).then_some(Contradiction { lacks: Some(slots), ..found })
}

/// The first slots for which there are too many jobs, with one job more than there are slots.
fn overfull(ranges: &[Range], room: &Room<'_>) -> Option<Crowd> {
    let mut queue = Queue::of(ranges);
    let mut turns: Vec<Turn> = Vec::with_capacity(ranges.len());
    let mut place = 1;
    while let Some(next) = queue.admit(place) {
        if let Some(late) = queue.late(next) {
            return Some(violators(ranges, &turns, late, room));
        }
        let turn = queue.take(next)?;
        turns.push(turn);
        place = turn.places.last + 1;
    }
    None
}

/// Goes back from the job that has no place to the first place that any of those fits that have one
/// instead of it: all of them have to be in by then, and nobody else is among them.
fn violators(ranges: &[Range], turns: &[Turn], late: usize, room: &Room<'_>) -> Crowd {
    let Range { mut slots, mut places, job, .. } = ranges[late];
    let mut jobs: Vec<usize> = job.into_iter().collect();
    let mut requests = 1;
    for turn in turns.iter().rev() {
        if turn.places.last < places.first {
            break;
        }
        let range = ranges[turn.at];
        places.first = places.first.min(range.places.first);
        slots.first = slots.first.min(range.slots.first);
        slots.last = slots.last.max(range.slots.last);
        requests += turn.places.count();
        jobs.extend(range.job);
    }
    Crowd { slots, jobs, requests: requests + room.taken(slots) }
}

/// Why these jobs are more than there are slots.
fn whys<'a>(plan: &Plan<'a>, windows: &Windows<'a, '_>, crowd: &Crowd) -> Vec<Why<'a>> {
    let Numbers { first, last } = crowd.slots;
    let before =
        first.checked_sub(1).filter(|above| *above > 0).and_then(|above| windows.filled_by(above));
    let after = windows.not_before(last.saturating_add(1)).filter(|_| last < windows.coupons);
    let mut whys = Vec::new();
    for &at in &crowd.jobs {
        let job = &plan.jobs[at];
        whys.push(job.why());
        let sent_after = before.filter(|(moment, _)| *moment < job.release).map(|(_, why)| why);
        let above = (first > 1).then(|| sent_after.or_else(|| plan.why_above(at, first - 1)));
        let over_before = after.filter(|(moment, _)| job.deadline < *moment).map(|(_, why)| why);
        let upto =
            (last < windows.coupons).then(|| over_before.or_else(|| plan.why_upto(at, last)));
        whys.extend(above.flatten().into_iter().chain(upto.flatten()));
    }
    whys
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
    let room = Room::of(&plan.plain.ranked);
    let ranges = room.ranges(plan, windows);
    let (empty, mut ranges): (Vec<Range>, Vec<Range>) =
        ranges.into_iter().partition(|range| range.slots.count() == 0);
    let needed = windows.last_needed().max(plan.total.unwrap_or(0)).max(room.last_taken());
    let place = first_unfilled(&ranges, room.upto(needed))?;
    let (first, requests) = shortage(&mut ranges, &room, place);
    let slot = room.slot(place);
    let mut whys: Vec<Why<'_>> = windows.filled_by(slot).map(|(_, why)| why).into_iter().collect();
    whys.extend(windows.not_before(first).filter(|_| first > 1).map(|(_, why)| why));
    whys.extend(empty.iter().flat_map(|range| no_room(plan, windows, range)));
    let span = Span { above: first - 1, upto: slot, requests, topic: topic(&whys) };
    // Those beyond it may have been told before any that is held.
    let lacks = (room.last_taken() > 0).then_some(Numbers { first, last: slot });
    Some(Contradiction { lacks, ..Contradiction::new(Fact::Hollow(span), witness(whys)) })
}

/// Why a request that may have got a coupon found none before the campaign was over.
fn no_room<'a>(
    plan: &Plan<'a>,
    windows: &Windows<'a, '_>,
    range: &Range,
) -> impl Iterator<Item = Why<'a>> + use<'a> {
    let lost = range.job.filter(|job| !plan.jobs[*job].certain && plan.over_by < i64::MAX);
    let before = lost.and_then(|_| windows.filled_by(range.slots.first.checked_sub(1)?));
    let before = before.filter(|_| range.slots.first > 1);
    let after = lost.and_then(|_| windows.not_before(range.slots.last.saturating_add(1)));
    before.into_iter().chain(after).map(|(_, why)| why)
}

fn first_unfilled(ranges: &[Range], needed: u64) -> Option<u64> {
    let mut queue = Queue::of(ranges);
    let mut place = 1;
    while place <= needed {
        if queue.admit(place) != Some(place) {
            return Some(place);
        }
        queue.drop_late(place);
        let Some(turn) = queue.take(place) else { return Some(place) };
        place = turn.places.last + 1;
    }
    None
}

/// The fewest slots up to this place for which there are too few jobs, by the first of them, and how
/// many jobs there are.
fn shortage(ranges: &mut Vec<Range>, room: &Room<'_>, place: u64) -> (u64, u64) {
    let last = room.slot(place);
    ranges.retain(|range| range.places.first <= place && range.places.count() > 0);
    ranges.sort_by_key(|range| Reverse(range.places.last));
    // Jobs that end in the place or later fit; the further back, the more of them.
    let (mut fitting, mut next) = (0_u64, 0);
    loop {
        let first = place.saturating_sub(fitting).max(1);
        let further = ranges[next..].iter().take_while(|range| range.places.last >= first);
        let (count, more) =
            further.fold((0, 0), |(n, jobs), range| (n + 1, range.jobs.saturating_add(jobs)));
        if more == 0 {
            let first = if fitting < place { room.slot(first) } else { 1 };
            return (first, fitting + room.taken(Numbers { first, last }));
        }
        (fitting, next) = (fitting.saturating_add(more), next + count);
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
