//! Who asks first wins, give or take less than anybody can notice.
//!
//! A request that was told "sold out" although it was sent before one that got a coupon was passed
//! over. Where both were in flight at once that is no contradiction: the one may have been decided
//! first. So the question is how long before: within the *mixing window*, from the first who lost to
//! the last who won, it was luck. The outermost few on either side are left aside, for a single lost
//! packet is answered late in any system.

use super::{Check, Needs, Violation, Weight};
use crate::evidence::CampaignEvidence;
use crate::evidence::compared::{Compared, LATE};
use crate::evidence::load::rivals::LOSERS;
use crate::wording::{size, span};

pub(super) const CHECK: Check = Check {
    name: "unfairness",
    rule: "who asks first wins: nobody is passed over by requests that were sent much later",
    needs: Needs::Each,
    weight: Weight::Warning,
    benign: "the campaign draws lots, or lets people wait in a room and takes them in any order",
    find,
};

/// A mixing window up to this is not told, in nanoseconds. Two buyers who press at the same moment are
/// that far apart by their networks and browsers alone: within it nobody can say who was first.
const NOTICEABLE: i64 = 100_000_000;

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    if Needs::Each.missing(e).is_some() {
        return Vec::new();
    }
    mixed(e).into_iter().collect()
}

fn mixed(e: &CampaignEvidence) -> Option<Violation> {
    let refused = e.final_sold_out()?;
    let losers = e.load.rivals.as_ref()?.losers();
    let first_lost = *losers.get(LATE)?;
    let coupons = Compared::of(e)?;
    let mut last = coupons.last().clone();
    e.resolved().for_each(|op| last.add(op.invoked));
    let last_won = last.but_few()?;
    let window = last_won.saturating_sub(first_lost);
    if window <= NOTICEABLE {
        return None;
    }
    let passed = losers.iter().filter(|lost| **lost < last_won).count();
    let more = if passed == LOSERS { " or more" } else { "" };
    let resolved = || e.resolved().map(|op| op.invoked);
    let jumped = coupons.passed_by() + resolved().filter(|sent| *sent > first_lost).count();
    // No plain coupon was asked for after that.
    let held = e.acknowledged.iter().map(|coupon| coupon.asked().invoked);
    let hard = held.chain(resolved()).filter(|sent| *sent > refused.end()).count();
    Some(Violation::new(format!(
        "who asked within the same {} could win or lose: {}{more} requests that were told \"sold \
         out\" were sent before some that got a coupon, {} coupons went to requests that were sent \
         after some that got none, and {} of these were sent after \"sold out\" was answered",
        span(window),
        size(passed),
        size(jumped),
        size(hard)
    )))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, campaign};
    use super::*;

    const MS: i64 = 1_000_000;

    /// One request a millisecond. So many after the 200th still win, and so many before it lose; what
    /// is not in order takes its time.
    fn launch(late: i64, early: i64) -> Sample {
        let mut e = campaign(10_000);
        for at in 0..500 {
            let wins = (at < 200 && at >= early) || (200..200 + late).contains(&at);
            let (from, to) = (200 + at * MS, 200 + at * MS + 600 * MS);
            e = match wins {
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
    fn accepts_first_come_first_served() {
        assert_eq!(said(launch(0, 0)), [""; 0]);
    }

    #[test]
    fn accepts_a_few_that_were_answered_late() {
        assert_eq!(said(launch(0, 9)), [""; 0], "nine who asked early lost");
        let late = launch(0, 0).issued("x", 499 * MS, 700 * MS);
        assert_eq!(said(late), [""; 0], "one who asked late won");
    }

    #[test]
    fn accepts_what_nobody_can_notice() {
        let e = |ms: i64| {
            let mut e = campaign(10_000);
            for n in 0..10 {
                e = e.sold_out(200 + n, 900 * MS);
                let code = Box::leak(format!("{n}").into_boxed_str());
                e = e.issued(code, 209 + ms * MS + n, 900 * MS);
            }
            e
        };
        assert_eq!(said(e(100)), [""; 0]);
        assert_eq!(said(e(101)).len(), 1);
        assert_eq!(said(e(101).restocked()), [""; 0], "a coupon came back for the next who asked");
    }

    #[test]
    fn rejects_the_last_first() {
        let found = said(launch(150, 150));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("who asked within the same 331.000 ms could"), "{found:?}");
        assert!(found[0].contains(": 150 requests"), "{found:?}");
        assert!(found[0].ends_with("and 0 of these were sent after \"sold out\" was answered"));
    }
}
