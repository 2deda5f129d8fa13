//! Where a moment of another clock lies on the history's own.
//!
//! A probe is a question with a time stamp in its answer: the stamp was taken between the two ends.
//! So the other clock's offset lies in `[stamp - received, stamp + resolution - sent]`. Several
//! probes are intersected, each widened by how far the clocks may have drifted apart between the
//! probe and the moment in question.

use serde::{Deserialize, Serialize};

use crate::campaign::Window;

/// How far two clocks are allowed to drift apart: 200 parts per million, twice what a healthy
/// quartz and a slewing NTP daemon do together.
const DRIFT_PPM: i64 = 200;

/// One question to another clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Just before the question was sent, on the history's clock.
    pub sent: i64,
    /// Just after the answer arrived, on the history's clock.
    pub received: i64,
    /// What the other clock showed, Unix nanoseconds.
    pub stamp: i64,
    /// How coarse the stamp is, in nanoseconds: the truth lies in `[stamp, stamp + resolution]`.
    pub resolution: i64,
}

/// How coarse a printed date and time (RFC 3339) is: one unit of its last digit, in nanoseconds.
pub fn resolution(rfc3339: &str) -> i64 {
    let fraction = rfc3339.split_once('.').map_or("", |(_, rest)| rest);
    let digits = fraction.chars().take_while(char::is_ascii_digit).count();
    10_i64.pow(9_u32.saturating_sub(u32::try_from(digits).unwrap_or(9)))
}

/// Where the moment that the other clock calls `unix_ns` lies on the history's clock.
///
/// `None` where there is no probe, or where the probes contradict each other: a clock stepped.
pub fn locate(unix_ns: i64, probes: &[Probe]) -> Option<Window> {
    let all = probes.iter().map(|p| {
        let earliest = p.sent + (unix_ns - p.stamp - p.resolution);
        let latest = p.received + (unix_ns - p.stamp);
        let away = distance(Window { earliest, latest }, p);
        let drift = away / 1_000_000 * DRIFT_PPM + DRIFT_PPM;
        Window { earliest: earliest - drift, latest: latest + drift }
    });
    let meet = |a: Window, b: Window| Window {
        earliest: a.earliest.max(b.earliest),
        latest: a.latest.min(b.latest),
    };
    all.reduce(meet).filter(|w| w.earliest <= w.latest)
}

/// How long before or after the probe the moment is, at the most.
fn distance(moment: Window, probe: &Probe) -> i64 {
    (moment.latest - probe.sent).abs().max((probe.received - moment.earliest).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// A probe of a clock that is `offset` ahead, stamped `late` ns after it was sent.
    fn probe(sent: i64, took: i64, late: i64, offset: i64) -> Probe {
        Probe { sent, received: sent + took, stamp: sent + late + offset, resolution: 1_000 }
    }

    #[test]
    fn encloses_the_true_moment() {
        let offset = 1_700_000_000_000_000_000;
        let probes = [probe(0, MS, MS / 3, offset), probe(40 * MS, 2 * MS, MS, offset)];
        let found = locate(50 * MS + offset, &probes).unwrap();
        assert!(found.earliest <= 50 * MS && 50 * MS <= found.latest);
        assert!(found.width() < 2 * MS, "no wider than the narrower probe: {found:?}");
    }

    #[test]
    fn widens_with_distance() {
        let near = locate(MS, &[probe(0, 0, 0, 0)]).unwrap();
        let far = locate(1_000_000 * MS, &[probe(0, 0, 0, 0)]).unwrap();
        assert!(far.width() >= near.width() + 2 * 200 * MS - MS, "{near:?} {far:?}");
    }

    #[test]
    fn a_coarse_stamp_leaves_open_what_it_does_not_say() {
        let stamped = |resolution| {
            let probe = Probe { sent: 0, received: MS, stamp: 0, resolution };
            locate(0, &[probe]).unwrap()
        };
        let (fine, coarse) = (stamped(0), stamped(1_000 * MS));
        assert!(fine.earliest <= 0 && fine.earliest >= -MS, "{fine:?}");
        assert!(coarse.earliest <= -1_000 * MS && coarse.earliest >= -1_001 * MS, "{coarse:?}");
        assert!(coarse.latest - fine.latest < MS, "a stamp is never ahead: {fine:?} {coarse:?}");
    }

    /// A question that took long may have been stamped at either end: what lies behind it is as far from the
    /// one, and what lies before it from the other.
    #[test]
    fn drift_counts_from_the_farther_end_of_a_question() {
        let took = 1_000_000 * MS;
        let probe = Probe { sent: 0, received: took, stamp: 0, resolution: 0 };
        let most = 2 * took / 1_000_000 * DRIFT_PPM + DRIFT_PPM;
        let later = Window { earliest: took - most, latest: 2 * took + most };
        assert_eq!(locate(took, &[probe]), Some(later));
        let before = Window { earliest: -took - most, latest: most };
        assert_eq!(locate(-took, &[probe]), Some(before));
    }

    #[test]
    fn a_step_is_noticed() {
        assert_eq!(locate(0, &[probe(0, MS, 0, 0), probe(2 * MS, MS, 0, 2_000 * MS)]), None);
        assert_eq!(locate(0, &[]), None);
    }

    #[test]
    fn a_printed_time_is_as_coarse_as_its_last_digit() {
        for (text, ns) in [
            ("2026-01-01T00:00:00Z", 1_000_000_000),
            ("2026-01-01T00:00:00.1+09:00", 100_000_000),
            ("2026-01-01T00:00:00.123456Z", 1_000),
            ("2026-01-01T00:00:00.123456789Z", 1),
        ] {
            assert_eq!(resolution(text), ns, "{text}");
        }
    }
}
