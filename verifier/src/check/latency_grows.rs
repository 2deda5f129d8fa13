//! A coupon takes as long to issue in the end as at the beginning: the work for one does not grow with
//! those that were issued before, as it does where each request counts rows or walks through a list.
//!
//! The time in which coupons were issued is cut into ten parts. Medians are compared, which a burst at
//! the start or a pause of the machine does not move.

use super::{Check, Needs, Violation, Weight};
use crate::evidence::CampaignEvidence;
use crate::evidence::compared::Compared;
use crate::wording::{count, span};

pub(super) const CHECK: Check = Check {
    name: "latency-grows",
    rule: "a coupon takes no longer to issue the more were issued before",
    needs: Needs::Each,
    weight: Weight::Warning,
    benign: "the load grew beyond what the system can do: then it is the load, and not the coupons",
    find,
};

/// A part with fewer coupons says nothing.
const ENOUGH: u64 = 20;
/// So many parts must be left.
const LEFT: usize = 5;
/// The last two parts must take so many times as long as the first two,
const TIMES: i64 = 3;
/// and so much longer, in nanoseconds: below it a busy machine alone does that,
const LONGER: i64 = 5_000_000;
/// and of all pairs of parts in so many percent the later one must have taken longer.
const RISING: usize = 85;

/// The answers of one part.
struct Part {
    /// Half of them took so long or longer.
    median: i64,
    /// So many coupons had been issued by its end.
    upto: u64,
}

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    if Needs::Each.missing(e).is_some() {
        return Vec::new();
    }
    let parts = parts(e);
    let medians: Vec<i64> = parts.iter().map(|part| part.median).collect();
    let [first, second, .., last_but_one, last] = medians[..] else { return Vec::new() };
    let (early, late) = (mean(first, second), mean(last_but_one, last));
    let grows = late > early.saturating_mul(TIMES) && late - early > LONGER && rises(&medians);
    if parts.len() < LEFT || !grows {
        return Vec::new();
    }
    let issued = |at: usize| parts.get(at).map_or(0, |part| part.upto);
    let between = issued(parts.len() - 1).saturating_sub(issued(0));
    let each = (late - early) / i64::try_from(between).unwrap_or(i64::MAX).max(1);
    vec![Violation::new(format!(
        "half of the coupons took {} or more while the first {} were issued, and {} or more when it \
         had been {}: {} longer for each that was issued before",
        span(early),
        count(issued(1)),
        span(late),
        count(issued(parts.len() - 1)),
        span(each)
    ))]
}

fn mean(a: i64, b: i64) -> i64 {
    a / 2 + b / 2
}

/// Whether the later of two parts took longer, nearly always.
fn rises(medians: &[i64]) -> bool {
    let pairs = || (0..medians.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
    let rising = pairs().filter(|(a, b)| medians[*a] < medians[*b]).count();
    rising * 100 >= pairs().count() * RISING
}

/// The parts that say something, in order of time.
fn parts(e: &CampaignEvidence) -> Vec<Part> {
    let Some(coupons) = Compared::of(e) else { return Vec::new() };
    let (mut upto, mut parts) = (0, Vec::new());
    for took in coupons.took().flatten() {
        upto += took.len();
        if took.len() >= ENOUGH {
            let median = i64::try_from(took.value_at_quantile(0.5)).unwrap_or(i64::MAX);
            parts.push(Part { median, upto });
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    const MS: i64 = 1_000_000;

    /// A thousand coupons, one a millisecond, each of which takes so long.
    fn said(took: impl Fn(i64) -> i64) -> Vec<String> {
        let mut e = campaign(1_000);
        for at in 0..1_000 {
            let code = Box::leak(format!("{at}").into_boxed_str());
            e = e.issued(code, 200 + at * MS, 200 + at * MS + took(at));
        }
        find(&e.evidence()).into_iter().map(|v| v.sentence).collect()
    }

    #[test]
    fn accepts_a_steady_system() {
        assert_eq!(said(|_| 100), [""; 0]);
        assert_eq!(said(|at| 400_000 + at % 7 * 100_000), [""; 0]);
    }

    #[test]
    fn accepts_what_stays_within_what_a_busy_machine_does() {
        assert_eq!(said(|at| 500_000 + at * 4_000), [""; 0], "from 0.5 to 4.5 ms");
    }

    #[test]
    fn accepts_a_burst_and_a_pause() {
        assert_eq!(said(|at| if at < 300 { 80 * MS } else { MS }), [""; 0]);
        assert_eq!(said(|at| if (500..800).contains(&at) { 80 * MS } else { MS }), [""; 0]);
        assert_eq!(said(|at| if at > 900 { 80 * MS } else { MS }), [""; 0], "only in the end");
    }

    #[test]
    fn accepts_a_campaign_that_is_too_small() {
        let e = campaign(3).issued("가", 110, 120).issued("나", 130, 900 * MS);
        assert_eq!(find(&e.evidence()), []);
        assert_eq!(find(&campaign(3).evidence()), []);
    }

    #[test]
    fn rejects_work_that_grows_with_the_coupons() {
        let found = said(|at| MS + at * 50_000);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("when it had been 1,000"), "{found:?}");
    }
}
