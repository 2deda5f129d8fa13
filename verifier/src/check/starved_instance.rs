//! No instance wins far fewer coupons than the others did with as many requests at the same moments.
//!
//! The trick is to compare moment by moment: in each short stretch of time the coupons of all
//! instances together are shared out by how many requests each got, and the shares added up. So an
//! instance that got its requests late, when nothing was left for anybody, is not starved.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Check, Needs, Violation, Weight, capped};
use crate::evidence::CampaignEvidence;
use crate::evidence::compared::Compared;
use crate::evidence::load::demand::Demand;
use crate::wording::count;

pub(super) const CHECK: Check = Check {
    name: "starved-instance",
    rule: "every instance wins its share of the coupons, by what the others won at the same time",
    needs: Needs::Each,
    weight: Weight::Warning,
    benign: "the instance was stopped, held up or slowed down on purpose",
    find,
};

/// Below this part of its share an instance is starved.
const PART: f64 = 0.5;
/// And only if it lacks so many times the square root of its share, the spread of what happens by
/// chance: once in three million instances.
const SPREADS: f64 = 5.0;

/// A stretch of time is as long as it takes for so many requests an instance: with fewer there would be
/// nobody to compare with.
const ENOUGH: u64 = 16;

/// What one instance did.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    asked: u64,
    won: u64,
    expected: f64,
}

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    if Needs::Each.missing(e).is_some() {
        return Vec::new();
    }
    let (Some(rivals), Some(coupons)) = (&e.load.rivals, Compared::of(e)) else {
        return Vec::new();
    };
    let shares = shares(&rivals.demand, coupons.won());
    let all: u64 = shares.values().map(|share| share.won).sum();
    let starved = shares.into_iter().filter(|(_, s)| s.is_starved());
    let violation = |(target, s): (u16, Share)| {
        let name = e.targets.get(usize::from(target)).cloned();
        Violation::new(format!(
            "{} won {} of {} coupons with {} requests while there were some; by what the others \
             won at the same time its share would be {:.0}",
            name.unwrap_or_else(|| format!("target {target}")),
            count(s.won),
            count(all),
            count(s.asked),
            s.expected
        ))
    };
    capped(starved.map(violation).collect())
}

impl Share {
    fn is_starved(&self) -> bool {
        let won = count_as_real(self.won);
        won < PART * self.expected && self.expected - won > SPREADS * self.expected.sqrt()
    }
}

/// What each target asked for and won, and what it would have won as one of all.
fn shares(demand: &Demand, won: &Demand) -> BTreeMap<u16, Share> {
    let mut shares: BTreeMap<u16, Share> = BTreeMap::new();
    // Nobody is starved of what is gone.
    let buckets = won.len();
    let (mut from, mut asked) = (0, 0);
    for at in 0..buckets {
        asked += demand.targets().map(|(_, n)| u64::from(n.get(at).map_or(0, |n| *n))).sum::<u64>();
        if asked >= ENOUGH * demand.targets().count() as u64 || at + 1 == buckets {
            share_out(from..at + 1, demand, won, &mut shares);
            (from, asked) = (at + 1, 0);
        }
    }
    shares
}

/// Shares out the coupons of a stretch of time by who got how many requests in it.
fn share_out(
    stretch: Range<usize>,
    demand: &Demand,
    won: &Demand,
    shares: &mut BTreeMap<u16, Share>,
) {
    let sum =
        |n: &[u32]| n.iter().take(stretch.end).skip(stretch.start).map(|n| u64::from(*n)).sum();
    // Both have the same targets.
    let both = demand.targets().zip(won.targets());
    let stretch: Vec<(u16, u64, u64)> =
        both.map(|((target, asked), (_, won))| (target, sum(asked), sum(won))).collect();
    let coupons: u64 = stretch.iter().map(|(_, _, won)| won).sum();
    let requests: u64 = stretch.iter().map(|(_, asked, _)| asked).sum();
    for (target, asked, won) in stretch {
        let share = shares.entry(target).or_default();
        share.asked += asked;
        share.won += won;
        share.expected +=
            count_as_real(asked) * count_as_real(coupons) / count_as_real(requests.max(1));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share is told without decimals")]
fn count_as_real(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, campaign};
    use super::*;

    const MS: i64 = 1_000_000;

    /// Requests of three targets in turn, one a millisecond; what becomes of each is said by `told`.
    fn launch(told: impl Fn(u16, i64) -> bool) -> Sample {
        let mut e = campaign(10_000);
        for at in 0..600 {
            let target = u16::try_from(at % 3).unwrap();
            let (from, to) = (200 + at * MS, 300 + at * MS);
            e = e.target(target);
            e = match told(target, at) {
                true => e.issued(Box::leak(format!("{at}").into_boxed_str()), from, to),
                false => e.sold_out(from, to),
            };
        }
        e
    }

    fn said(e: Sample) -> Vec<String> {
        find(&e.evidence()).into_iter().map(|v| v.sentence).collect()
    }

    #[test]
    fn accepts_instances_that_win_alike() {
        assert_eq!(said(launch(|_, _| true)), [""; 0]);
        assert_eq!(said(launch(|_, at| at < 300)), [""; 0]);
        assert_eq!(said(launch(|target, at| target > 0 || at % 6 == 0)), [""; 0], "half of it");
    }

    #[test]
    fn accepts_an_instance_that_was_asked_too_late() {
        let mut e = campaign(300);
        for at in 0..300 {
            let code = Box::leak(format!("{at}").into_boxed_str());
            e = e.target(u16::try_from(at % 2).unwrap()).issued(code, 200 + at * MS, 300 + at * MS);
        }
        for at in 400..900 {
            e = e.target(2).sold_out(200 + at * MS, 300 + at * MS);
        }
        assert_eq!(said(e), [""; 0]);
    }

    #[test]
    fn rejects_an_instance_that_always_loses() {
        let found = said(launch(|target, at| target != 1 && at < 300));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("target 1 won 0 of 200 coupons"), "{found:?}");
    }

    #[test]
    fn accepts_what_may_be_chance() {
        let few = |n: i64| {
            let mut e = campaign(10_000);
            for at in 0..n {
                let code = Box::leak(format!("{at}").into_boxed_str());
                e = e.target(0).issued(code, 200 + at, 300 + at);
                e = e.target(1).sold_out(200 + at, 300 + at);
            }
            said(e).len()
        };
        assert_eq!((few(50), few(51)), (0, 1), "a share of 25, and of 25.5");
    }

    #[test]
    fn a_start_without_a_place_starves_nobody() {
        let e = launch(|target, _| target != 1).starts(i64::MIN, i64::MAX);
        assert_eq!(said(e), [""; 0]);
    }
}
