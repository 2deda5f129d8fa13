//! When the arrivals are due: a pure function of the scenario.
//!
//! The stages' rate curve encloses an area; arrival k is due where the area to its left is k + ½,
//! found by the closed-form inverse of the ramp. So the number of arrivals is the area under the
//! curve, rounded, whatever the ramps and however long the run, and no error adds up. Each arrival
//! can be computed alone, so any number of load threads can each take every n-th.
//!
//! Poisson arrivals take the same way: gaps drawn from an exponential distribution are laid along the
//! area instead of steps of 1, so their rate follows the curve. The seed decides them, and with them
//! how many there are. They are kept, 8 bytes each.
//!
//! A buyer who asks several times, whatever the answers are, has arrivals of their own: *echoes* of
//! the first one. They are planned like all others, and kept. Several campaigns have the same plan,
//! each from its own start on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::crowd::Crowd;
use crate::scenario::{Arrivals, Burst, Load, Scenario};

const NANOS: f64 = 1e9;

/// One arrival of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// When it is due, in nanoseconds from the first campaign's start on.
    pub due: i64,
    /// Which campaign is asked, from 0.
    pub campaign: u32,
    /// Its number in the plan of one campaign, from 0. The same in every run of the scenario.
    pub index: u64,
    /// The number of the same buyer's first arrival, which is often this one.
    pub first: u64,
    /// How many arrivals of the same buyer come before it.
    pub nth: u32,
}

impl Arrival {
    /// A buyer's first arrival, of this number, in the first campaign.
    pub fn of_buyer(index: u64) -> Self {
        Self { due: 0, campaign: 0, index, first: index, nth: 0 }
    }
}

/// All arrivals of a scenario.
#[derive(Clone, Debug)]
pub struct Schedule {
    sources: Vec<Source>,
    campaigns: u32,
    /// How much later each campaign starts than the one before.
    apart: i64,
    /// Where a load without a plan lies.
    unplanned: (i64, i64),
}

/// Arrivals of one kind, each computed from its number.
#[derive(Clone, Debug)]
enum Source {
    Stages { segments: Vec<Segment>, areas: Areas },
    Burst { at: i64, over: i64, count: u64 },
    Echoes(Vec<Echo>),
}

/// A further request of a buyer: when it is due, the number of the buyer's first, and how many come
/// before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Echo {
    due: i64,
    first: u64,
    nth: u32,
}

/// Where arrivals lie, as area under the rate curve.
#[derive(Clone, Debug)]
enum Areas {
    /// So many, evenly: the k-th at k + ½.
    Even(u64),
    /// Drawn, in order.
    Drawn(Vec<f64>),
}

impl Areas {
    fn even(total: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 1e6/s x a day"
        )]
        Self::Even((total + 0.5 - 1e-6).floor() as u64)
    }

    /// Gaps of an exponential distribution of mean 1.
    fn drawn(total: f64, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // 1 - u lies in (0, 1], so the logarithm is finite.
        let mut gap = || -(1.0 - rng.random::<f64>()).ln();
        let first = gap();
        let areas = std::iter::successors(Some(first), |area| Some(area + gap()));
        Self::Drawn(areas.take_while(|area| *area < total).collect())
    }

    fn count(&self) -> u64 {
        match self {
            Self::Even(count) => *count,
            Self::Drawn(areas) => areas.len() as u64,
        }
    }

    fn of(&self, k: u64) -> f64 {
        match self {
            Self::Even(_) => as_f64(i64::try_from(k).unwrap_or(i64::MAX)) + 0.5,
            Self::Drawn(areas) => areas[usize::try_from(k).unwrap_or(usize::MAX)],
        }
    }
}

/// A stage in the terms of its inverse.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Seconds from the campaign's start.
    begin: f64,
    /// Arrivals before it.
    area_before: f64,
    /// Arrivals up to its end.
    area_after: f64,
    /// Arrivals a second at its beginning.
    rate: f64,
    /// Change of the rate, per second.
    slope: f64,
}

impl Segment {
    /// When, in seconds, the area reaches `area`: the root of `rate·t + slope·t²/2 = x`, in the
    /// form that does not cancel.
    fn time_of(&self, area: f64) -> f64 {
        let x = area - self.area_before;
        let root = (self.rate * self.rate + 2.0 * self.slope * x).max(0.0).sqrt();
        self.begin + 2.0 * x / (self.rate + root)
    }
}

impl Schedule {
    /// The whole plan of a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        let mut plan = Self::new(&scenario.load, scenario.seed);
        plan.echo(&Crowd::new(scenario.seed, &scenario.buyers));
        plan.campaigns = scenario.campaign.count.into();
        plan.apart = scenario.campaign.apart.nanos();
        plan
    }

    /// The plan of a load whose buyers ask once, for one campaign; the seed decides Poisson
    /// arrivals.
    pub fn new(load: &Load, seed: u64) -> Self {
        let mut sources = vec![stages(load, seed)];
        sources.extend(load.bursts.iter().map(burst));
        let begin = load.begin.nanos();
        let unplanned = load.saturate.map_or((0, 0), |s| (begin, begin + s.length.span().nanos()));
        Self { sources, campaigns: 1, apart: 0, unplanned }
    }

    /// Adds the further requests of buyers who ask several times.
    fn echo(&mut self, crowd: &Crowd) {
        if crowd.all_ask_once() {
            return;
        }
        let mut echoes = Vec::new();
        for Arrival { due, index: first, .. } in self.share(0, 1) {
            let buyer = crowd.buyer(first);
            let further = 1..buyer.requests.get();
            let due = |nth| due + i64::from(nth) * buyer.apart.nanos();
            echoes.extend(further.map(|nth| Echo { due: due(nth), first, nth }));
        }
        echoes.sort_unstable();
        self.sources.push(Source::Echoes(echoes));
    }

    /// How many arrivals it has, for all campaigns.
    pub fn len(&self) -> u64 {
        self.len_of_one() * u64::from(self.campaigns)
    }

    /// How many arrivals each campaign has.
    pub fn len_of_one(&self) -> u64 {
        self.sources.iter().map(Source::count).sum()
    }

    /// When campaign `number` starts, in nanoseconds from the first one's start on.
    pub fn start_of(&self, number: u32) -> i64 {
        i64::from(number) * self.apart
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the first arrival is due, in nanoseconds from the first campaign's start on.
    pub fn begin(&self) -> i64 {
        self.ends().0
    }

    /// When the last arrival is due, in nanoseconds from the first campaign's start on.
    pub fn end(&self) -> i64 {
        self.ends().1 + self.start_of(self.campaigns - 1)
    }

    /// When the first and the last arrival of each campaign are due, from its own start on.
    fn ends(&self) -> (i64, i64) {
        let first = |s: &Source| (s.count() > 0).then(|| s.due(0));
        let last = |s: &Source| s.count().checked_sub(1).map(|k| s.due(k));
        let begin = self.sources.iter().filter_map(first).min();
        let end = self.sources.iter().filter_map(last).max();
        begin.zip(end).unwrap_or(self.unplanned)
    }

    /// Highest rate of the stages and of each burst together, arrivals a second, with all that may
    /// fall together.
    pub fn peak_rate(&self) -> f64 {
        let of = |s: &Source| match s {
            Source::Stages { segments, .. } => {
                segments.iter().map(Segment::peak).fold(0.0, f64::max)
            }
            Source::Burst { over, count, .. } => burst_rate(*over, *count),
            Source::Echoes(_) => 0.0,
        };
        let peak = self.sources.iter().map(of).sum::<f64>();
        let echoes = self.len_of_one().saturating_sub(self.firsts());
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let repeated = 1.0 + echoes as f64 / self.firsts().max(1) as f64;
        peak * repeated * f64::from(self.at_once())
    }

    /// The numbers of all buyers of the run are below this.
    pub fn buyers(&self) -> u64 {
        u64::from(self.campaigns.saturating_sub(1)) * self.len_of_one() + self.firsts()
    }

    /// How many arrivals are further ones of the same buyers.
    pub fn repeats(&self) -> u64 {
        (self.len_of_one() - self.firsts()) * u64::from(self.campaigns)
    }

    /// How many arrivals of a campaign are a buyer's first.
    fn firsts(&self) -> u64 {
        let first = |s: &&Source| !matches!(s, Source::Echoes(_));
        self.sources.iter().filter(first).map(Source::count).sum()
    }

    /// How many campaigns have their load at the same time, at the most.
    fn at_once(&self) -> u32 {
        let (first, last) = self.ends();
        let length = last - first;
        let overlap = if self.apart == 0 { i64::MAX } else { length / self.apart + 1 };
        u32::try_from(overlap).unwrap_or(u32::MAX).min(self.campaigns)
    }

    /// How many arrivals are due before `at`, in nanoseconds from the first campaign's start on.
    pub fn count_before(&self, at: i64) -> u64 {
        let of_one = |at| self.sources.iter().map(|s| s.count_before(at)).sum::<u64>();
        if self.apart == 0 {
            return of_one(at) * u64::from(self.campaigns);
        }
        // Only the campaigns that are neither over by then nor still to begin need a look.
        let (first, last) = self.ends();
        let started_before = |at: i64| {
            let number = (at + self.apart - 1).div_euclid(self.apart);
            u32::try_from(number.max(0)).unwrap_or(u32::MAX).min(self.campaigns)
        };
        let (over, begun) = (started_before(at - last), started_before(at - first));
        let under_way = (over..begun).map(|n| of_one(at - self.start_of(n)));
        u64::from(over) * self.len_of_one() + under_way.sum::<u64>()
    }

    /// How many arrivals are due in the second around `at`, in nanoseconds from the first
    /// campaign's start on.
    pub fn rate_at(&self, at: i64) -> u64 {
        self.count_before(at + 500_000_000) - self.count_before(at - 500_000_000)
    }

    /// Every `of`-th arrival from the `share`-th on, in order of time.
    pub fn share(&self, share: u64, of: u64) -> Share<'_> {
        let campaigns = (0..self.campaigns).filter_map(|number| {
            let mut arrivals = self.one(number, share, of);
            Some(Reverse(Coming { next: arrivals.next()?, arrivals }))
        });
        Share { campaigns: campaigns.collect() }
    }

    /// The same of one campaign.
    fn one(&self, number: u32, share: u64, of: u64) -> Campaign<'_> {
        let mut base = 0;
        let lanes = self.sources.iter().map(|source| {
            let lane = Lane { source, base, next: share };
            base += source.count();
            lane
        });
        Campaign { lanes: lanes.collect(), step: of, number, start: self.start_of(number) }
    }
}

impl Segment {
    fn peak(&self) -> f64 {
        let length = self.time_of(self.area_after) - self.begin;
        self.rate.max(self.rate + self.slope * length)
    }
}

fn stages(load: &Load, seed: u64) -> Source {
    let (mut at, mut area) = (as_f64(load.begin.nanos()) / NANOS, 0.0);
    let mut segments = Vec::with_capacity(load.stages.len());
    for stage in &load.stages {
        let length = as_f64(stage.length.span().nanos()) / NANOS;
        let rate = stage.rate.per_second();
        let to = stage.to.unwrap_or(stage.rate).per_second();
        let area_after = area + (rate + to) / 2.0 * length;
        let slope = (to - rate) / length;
        segments.push(Segment { begin: at, area_before: area, area_after, rate, slope });
        (at, area) = (at + length, area_after);
    }
    let areas = match load.arrivals {
        Arrivals::Constant => Areas::even(area),
        Arrivals::Poisson => Areas::drawn(area, seed),
    };
    Source::Stages { segments, areas }
}

/// Arrivals a second of a burst. What is shorter than a second is not over sooner for the threads
/// that send it.
#[expect(clippy::cast_precision_loss, reason = "counts and times are far below 2^53")]
fn burst_rate(over: i64, count: u64) -> f64 {
    count as f64 / (over as f64 / 1e9).max(1.0)
}

fn burst(burst: &Burst) -> Source {
    Source::Burst {
        at: burst.at.nanos(),
        over: burst.over.nanos(),
        count: u64::from(u32::from(burst.requests)),
    }
}

impl Source {
    fn count(&self) -> u64 {
        match self {
            Self::Stages { areas, .. } => areas.count(),
            Self::Burst { count, .. } => *count,
            Self::Echoes(echoes) => echoes.len() as u64,
        }
    }

    /// How many of its arrivals are due before `at`, by bisection: their moments never decrease.
    fn count_before(&self, at: i64) -> u64 {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.due(middle) < at {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// When arrival `k` is due.
    fn due(&self, k: u64) -> i64 {
        match self {
            Self::Stages { segments, areas } => {
                let area = areas.of(k);
                let after = segments.partition_point(|s| s.area_after < area);
                let segment = &segments[after.min(segments.len() - 1)];
                #[expect(clippy::cast_possible_truncation, reason = "days in ns fit")]
                let due = (segment.time_of(area) * NANOS).round() as i64;
                due
            }
            Self::Burst { at, over, count } => {
                let numerator = i128::from(*over) * (2 * i128::from(k) + 1);
                at + i64::try_from(numerator / (2 * i128::from(*count))).unwrap_or(i64::MAX)
            }
            Self::Echoes(echoes) => echoes[usize::try_from(k).unwrap_or(usize::MAX)].due,
        }
    }

    /// The number of the first arrival of the buyer of arrival `k`, whose own number is `index`, and
    /// how many of the buyer's come before it.
    fn first(&self, k: u64, index: u64) -> (u64, u32) {
        match self {
            Self::Stages { .. } | Self::Burst { .. } => (index, 0),
            Self::Echoes(echoes) => {
                let echo = &echoes[usize::try_from(k).unwrap_or(usize::MAX)];
                (echo.first, echo.nth)
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "times and counts are far below 2^53")]
fn as_f64(n: i64) -> f64 {
    n as f64
}

/// One load thread's arrivals, in order of time.
#[derive(Debug)]
pub struct Share<'a> {
    campaigns: BinaryHeap<Reverse<Coming<'a>>>,
}

/// A campaign's arrivals with the next one of them, in order of that.
#[derive(Debug)]
struct Coming<'a> {
    next: Arrival,
    arrivals: Campaign<'a>,
}

impl PartialEq for Coming<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.next == other.next
    }
}

impl Eq for Coming<'_> {}

impl PartialOrd for Coming<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Coming<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.next.cmp(&other.next)
    }
}

impl Iterator for Share<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let mut first = self.campaigns.peek_mut()?;
        let Coming { next, arrivals } = &mut first.0;
        let arrival = *next;
        match arrivals.next() {
            Some(after) => *next = after,
            None => drop(std::collections::binary_heap::PeekMut::pop(first)),
        }
        Some(arrival)
    }
}

/// Arrivals of one campaign, in order of time.
#[derive(Debug)]
struct Campaign<'a> {
    lanes: Vec<Lane<'a>>,
    step: u64,
    number: u32,
    start: i64,
}

#[derive(Debug)]
struct Lane<'a> {
    source: &'a Source,
    /// Plan number of the source's first arrival.
    base: u64,
    next: u64,
}

impl Lane<'_> {
    /// When its next arrival is due, from the campaign's start on, and its number.
    fn head(&self) -> Option<(i64, u64)> {
        let waiting = self.next < self.source.count();
        waiting.then(|| (self.source.due(self.next), self.base + self.next))
    }
}

impl Iterator for Campaign<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let heads = self.lanes.iter().enumerate();
        let (lane, (due, index)) =
            heads.filter_map(|(i, l)| l.head().map(|a| (i, a))).min_by_key(|(_, a)| *a)?;
        let lane = &mut self.lanes[lane];
        let (first, nth) = lane.source.first(lane.next, index);
        lane.next += self.step;
        Some(Arrival { due: due + self.start, campaign: self.number, index, first, nth })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(yaml: &str) -> Schedule {
        Schedule::new(&serde_saphyr::from_str::<Load>(yaml).unwrap(), 7)
    }

    fn all(schedule: &Schedule) -> Vec<Arrival> {
        schedule.share(0, 1).collect()
    }

    #[test]
    fn bursts_count_in_the_peak() {
        let peak = |load: &str| {
            Schedule::new(&serde_saphyr::from_str::<Load>(load).unwrap(), 1).peak_rate()
        };
        let stages = "stages: [{for: 1s, rate: 100}]";
        assert_eq!(peak(&format!("{{begin: 0s, {stages}}}")), 100.0);
        let burst = |over| format!("{{at: 0s, requests: 20000, over: {over}}}");
        assert_eq!(peak(&format!("{{begin: 0s, {stages}, bursts: [{}]}}", burst("2s"))), 10_100.0);
        // No thread has less than a second's share of it.
        assert_eq!(peak(&format!("{{begin: 0s, {stages}, bursts: [{}]}}", burst("1ms"))), 20_100.0);
    }

    #[test]
    fn a_steady_rate_is_even() {
        let dues: Vec<i64> = all(&schedule("{begin: -1s, stages: [{for: 1s, rate: 4}]}"))
            .iter()
            .map(|a| a.due / 1_000_000)
            .collect();
        assert_eq!(dues, [-875, -625, -375, -125]);
    }

    #[test]
    fn a_ramp_has_as_many_arrivals_as_its_area_second_by_second() {
        let plan = schedule("{begin: 0s, stages: [{for: 10s, rate: 500, to: 1000}]}");
        assert_eq!(plan.len(), 7_500);
        for second in 0..10 {
            let within = |a: &&Arrival| a.due / 1_000_000_000 == second;
            let count = i64::try_from(all(&plan).iter().filter(within).count()).unwrap();
            assert!((count - (525 + 50 * second)).abs() <= 1, "second {second}: {count}");
        }
    }

    #[test]
    fn a_ramp_from_or_to_nothing_works() {
        let up = schedule("{begin: 0s, stages: [{for: 2s, rate: 0, to: 100}, {for: 1s, rate: 0}]}");
        let down = schedule("{begin: 0s, stages: [{for: 2s, rate: 100, to: 0}]}");
        assert_eq!((up.len(), down.len()), (100, 100));
        let mirrored: Vec<i64> = all(&down).iter().rev().map(|a| 2_000_000_000 - a.due).collect();
        for (a, b) in all(&up).iter().zip(mirrored) {
            assert!((a.due - b).abs() <= 1, "{a:?} {b}");
        }
    }

    #[test]
    fn poisson_arrivals_follow_the_curve_and_the_seed() {
        let load = "{begin: 0s, arrivals: poisson, stages: [{for: 20s, rate: 0, to: 1000}]}";
        let load: Load = serde_saphyr::from_str(load).unwrap();
        let plan = Schedule::new(&load, 7);
        let dues: Vec<i64> = all(&plan).iter().map(|a| a.due).collect();
        // Their number is 10,000 within four standard deviations of 100.
        assert!(plan.len().abs_diff(10_000) < 400, "{}", plan.len());
        assert!(dues.is_sorted() && plan.len() == dues.len() as u64);
        assert_eq!(plan.end(), *dues.last().unwrap());
        // A ramp from nothing has a quarter of its area in its first half.
        let early = dues.iter().filter(|d| **d < 10_000_000_000).count();
        assert!(early.abs_diff(2_500) < 200, "{early}");
        // Gaps as area have mean 1 and variance 1; those of even arrivals have variance 0.
        let area = |due: i64| 25.0 * (as_f64(due) / NANOS).powi(2);
        let gaps: Vec<f64> = dues.windows(2).map(|w| area(w[1]) - area(w[0])).collect();
        let n = f64::from(u32::try_from(gaps.len()).unwrap());
        let mean = gaps.iter().sum::<f64>() / n;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n;
        assert!((mean - 1.0).abs() < 0.05 && (variance - 1.0).abs() < 0.15, "{mean} {variance}");
        assert_ne!(all(&plan), all(&Schedule::new(&load, 8)));
    }

    #[test]
    fn a_burst_lies_on_top() {
        let plan = schedule(
            "{begin: 0s, stages: [{for: 1s, rate: 2}], bursts: [{at: 500ms, requests: 2, over: 0s}]}",
        );
        let dues: Vec<i64> = all(&plan).iter().map(|a| a.due / 1_000_000).collect();
        assert_eq!(dues, [250, 500, 500, 750]);
        assert_eq!(plan.end(), 750_000_000);
    }

    #[test]
    fn arrivals_are_counted_without_walking_through_them() {
        let plan = schedule(
            "{begin: -1s, stages: [{for: 2s, rate: 10, to: 200}, {for: 1s, rate: 0}], \
             bursts: [{at: 0s, requests: 7, over: 30ms}]}",
        );
        let dues: Vec<i64> = all(&plan).iter().map(|a| a.due).collect();
        for at in (-1_100..2_100).map(|ms| ms * 1_000_000).chain(dues.iter().copied()) {
            let want = dues.iter().filter(|due| **due < at).count() as u64;
            assert_eq!(plan.count_before(at), want, "{at}");
        }
    }

    fn whole(changes: &[&str]) -> Schedule {
        let overrides = crate::scenario::Overrides {
            set: changes.iter().map(|c| (*c).to_owned()).collect(),
            ..crate::scenario::Overrides::default()
        };
        let path = crate::scenario::shipped().join("smoke.yaml");
        Schedule::of(&Scenario::load(&path, &overrides).unwrap())
    }

    #[test]
    fn further_requests_follow_their_first() {
        let plan = whole(&["buyers=[{weight: 2}, {requests: 3, apart: 70ms}]"]);
        let arrivals = all(&plan);
        assert!(arrivals.is_sorted() && arrivals.len() as u64 == plan.len());
        let first: std::collections::HashMap<u64, Arrival> =
            arrivals.iter().filter(|a| a.nth == 0).map(|a| (a.index, *a)).collect();
        let further: Vec<&Arrival> = arrivals.iter().filter(|a| a.nth > 0).collect();
        for echo in &further {
            let first = first[&echo.first];
            assert_eq!(echo.due - first.due, i64::from(echo.nth) * 70_000_000);
        }
        assert_eq!(further.len() as u64, plan.repeats());
        assert!(
            !further.is_empty() && further.len().is_multiple_of(2) && further.len() < first.len()
        );
        assert_eq!((plan.begin(), plan.end()), (arrivals[0].due, arrivals.last().unwrap().due));
    }

    #[test]
    fn campaigns_have_the_same_plan_from_their_own_starts_on() {
        for apart in ["0s", "40ms", "300ms", "5s"] {
            let plan = whole(&["campaign.count=7", &format!("campaign.apart={apart}")]);
            let arrivals = all(&plan);
            assert!(arrivals.is_sorted());
            assert_eq!(arrivals.len() as u64, plan.len());
            assert_eq!((plan.begin(), plan.end()), (arrivals[0].due, arrivals.last().unwrap().due));
            for number in 0..7 {
                let own = |a: &&Arrival| a.campaign == number;
                let moved = |a: &Arrival| (a.due - plan.start_of(number), a.index);
                let own: Vec<_> = arrivals.iter().filter(own).map(moved).collect();
                let one: Vec<_> = all(&whole(&[])).iter().map(|a| (a.due, a.index)).collect();
                assert_eq!(own, one);
            }
            for at in (-3_000..36_000).step_by(7).map(|ms| ms * 1_000_000).chain([plan.end()]) {
                let want = arrivals.partition_point(|a| a.due < at) as u64;
                assert_eq!(plan.count_before(at), want, "{apart} {at}");
            }
        }
    }

    #[test]
    fn a_load_without_a_plan_lies_where_it_is_wanted() {
        let plan = schedule("{begin: -100ms, saturate: {connections: 3, for: 2s}}");
        assert_eq!((plan.len(), plan.begin(), plan.end()), (0, -100_000_000, 1_900_000_000));
    }

    proptest::proptest! {
        #[test]
        fn shares_are_a_partition_in_order(
            rates in proptest::collection::vec((0_u32..300, 0_u32..300, 1_u32..2_000), 1..5),
            burst in 1_u32..50,
            of in 1_u64..5,
            poisson in proptest::bool::ANY,
        ) {
            let stages: Vec<String> = rates
                .iter()
                .map(|(a, b, ms)| format!("{{for: {ms}ms, rate: {a}, to: {b}}}"))
                .collect();
            let plan = schedule(&format!(
                "{{begin: -1s, arrivals: {}, stages: [{}], \
                 bursts: [{{at: 0s, requests: {burst}, over: 1s}}]}}",
                if poisson { "poisson" } else { "constant" },
                stages.join(", ")
            ));
            let area: f64 = rates
                .iter()
                .map(|(a, b, ms)| f64::from(a + b) / 2.0 * f64::from(*ms) / 1000.0)
                .sum();
            let planned = i32::try_from(plan.len()).unwrap() - i32::try_from(burst).unwrap();
            let off = (f64::from(planned) - area).abs();
            proptest::prop_assert!(poisson || off <= 0.5 + 1e-3);
            let mut seen: Vec<u64> = Vec::new();
            for share in 0..of {
                let mine: Vec<Arrival> = plan.share(share, of).collect();
                proptest::prop_assert!(mine.is_sorted_by_key(|a| a.due));
                seen.extend(mine.iter().map(|a| a.index));
            }
            seen.sort_unstable();
            proptest::prop_assert_eq!(seen, (0..plan.len()).collect::<Vec<_>>());
        }
    }
}
