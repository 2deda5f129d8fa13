//! Somebody contested what could have gone wrong: the start, the last coupon, the order of two
//! requests, every target. A run with its load taken away would break no rule either, so it must
//! not come out valid.

use super::{Check, Needs, Violation, Weight};
use crate::evidence::CampaignEvidence;
use crate::wording::{count, span};

pub(super) const CHECK: Check = Check {
    name: "thin-load",
    rule: "the start, the last coupon, the order of requests and every target were contested",
    needs: Needs::History,
    weight: Weight::Doubt,
    benign: "the load was meant to be thin; then nothing is proven by it",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    if e.counts.requests == 0 {
        return vec![Violation::new("no request was sent to this campaign")];
    }
    let mut missing: Vec<String> = Vec::new();
    missing.extend(last_coupon(e));
    missing.extend(around_last_coupon(e));
    missing.extend(start(e));
    if !e.load.overlapped {
        missing.push(
            "no two requests that can have competed were ever in flight at the same time".into(),
        );
    }
    missing.extend(targets(e));
    missing.into_iter().map(Violation::new).collect()
}

fn last_coupon(e: &CampaignEvidence) -> Option<String> {
    if e.counts.sold_out > 0 {
        return None;
    }
    let decided = e.counts.issued + e.counts.already_issued;
    Some(if decided <= e.coupons {
        format!(
            "demand did not cross the last coupon: {} answers for {} coupons, and nobody was told \
             \"sold out\"",
            count(decided),
            count(e.coupons)
        )
    } else {
        "nobody was told \"sold out\"".into()
    })
}

/// Demand has to be there on both sides of the last coupon within this time, in nanoseconds, where
/// no request overlaps it. Fast answers seldom overlap: at 500 requests a second, each answered in
/// 0.4 ms, the last coupon and the first "sold out" lie 2 ms apart.
const AROUND: i64 = 50_000_000;

fn around_last_coupon(e: &CampaignEvidence) -> Option<String> {
    let last = e.last_effect().filter(|_| e.counts.sold_out > 0)?;
    let (from, to) = (last.invoked, last.completed.unwrap_or(last.invoked));
    let told = e.acknowledged.iter().map(|c| &c.told);
    let others = told.chain(&e.pending).filter(|op| op.op != last.op);
    let spans = others.map(|op| (op.invoked, op.completed.unwrap_or(op.invoked)));
    // Of those that were told "sold out" the one that was sent first is the nearest. None was
    // answered before the last coupon was asked for: that would be a violation of its own.
    let refused = e.load.sold_out_sent.map(|sent| (sent, sent.max(from)));
    let (mut before, mut after) = (false, false);
    for (sent, over) in spans.chain(refused) {
        let overlaps = sent <= to && over >= from;
        before |= overlaps || (from.saturating_sub(AROUND)..=from).contains(&sent);
        after |= overlaps || (to..=to.saturating_add(AROUND)).contains(&sent);
    }
    (!(before && after)).then(|| {
        format!(
            "the last coupon was not contested: no other request overlaps #{}, and {} within {}",
            last.op,
            match (before, after) {
                (true, false) => "none was sent after it",
                (false, true) => "none was sent before it",
                _ => "none was sent before or after it",
            },
            span(AROUND)
        )
    })
}

fn start(e: &CampaignEvidence) -> Option<String> {
    (e.start_is_placed() && !e.load.during_start)
        .then(|| "no request that was answered was in flight while the campaign started".into())
}

/// Every one of several targets issued and refused. Where there are fewer coupons than targets, not
/// every target can have issued one.
fn targets(e: &CampaignEvidence) -> Vec<String> {
    let known = 0..u16::try_from(e.targets.len()).unwrap_or(u16::MAX);
    let mut all: Vec<u16> = known.chain(e.load.targets.keys().copied()).collect();
    all.sort_unstable();
    all.dedup();
    if all.len() < 2 {
        return Vec::new();
    }
    let enough = e.coupons >= all.len() as u64;
    let said = |target: &u16| {
        let load = e.load.targets.get(target).copied().unwrap_or_default();
        let lacks = match (load.issued || !enough, load.refused) {
            (true, true) => return None,
            (false, true) => "never issued a coupon",
            (true, false) => "never refused one",
            (false, false) => "never issued a coupon and never refused one",
        };
        Some(format!("target {} {lacks}", target_name(e, *target)))
    };
    all.iter().filter_map(said).collect()
}

/// The name of a target.
fn target_name(e: &CampaignEvidence, target: u16) -> String {
    e.targets.get(usize::from(target)).cloned().unwrap_or_else(|| target.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, campaign};
    use super::*;

    fn contested() -> Sample {
        let at_0 = campaign(2).target(0).not_started(90, 105).issued("가", 101, 120);
        at_0.target(1).issued("나", 102, 119).sold_out(130, 140)
    }

    fn sentences(e: &CampaignEvidence) -> String {
        find(e).into_iter().map(|v| v.sentence).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn accepts_a_contested_campaign() {
        assert_eq!(sentences(&contested().evidence()), "");
        assert_eq!(sentences(&contested().target(1).failed(150, 151).silent(152).evidence()), "");
    }

    #[test]
    fn rejects_a_campaign_that_nobody_contested() {
        assert!(sentences(&campaign(1).evidence()).contains("no request was sent"));
        let e = campaign(2).issued("가", 110, 120).issued("나", 121, 130).evidence();
        let said = sentences(&e);
        assert!(said.contains("2 answers for 2 coupons"), "{said}");
        assert!(said.contains("while the campaign started"), "{said}");
        assert!(said.contains("no two requests"), "{said}");
    }

    #[test]
    fn accepts_a_dense_launch_whose_answers_do_not_overlap() {
        const MS: i64 = 1_000_000;
        let e = campaign(2).not_started(90, 105).issued("가", 101, 120);
        let e = e.issued("나", 40 * MS, 40 * MS + 9).sold_out(42 * MS, 42 * MS + 9);
        assert_eq!(sentences(&e.evidence()), "");
    }

    #[test]
    fn rejects_a_last_coupon_that_nobody_else_wanted() {
        const MS: i64 = 1_000_000;
        let e = campaign(2).not_started(90, 105).issued("가", 101, 120);
        let e = e.issued("나", 99 * MS, 99 * MS + 9).sold_out(200 * MS, 200 * MS + 9);
        let said = sentences(&e.evidence());
        assert!(said.contains("overlaps #3, and none was sent before or after it"), "{said}");
    }

    #[test]
    fn rejects_a_target_that_did_nothing() {
        let mut e = contested().target(2).unclear(110, 120).evidence();
        assert_eq!(sentences(&e), "target 2 never refused one", "fewer coupons than targets");
        e.coupons = 3;
        assert!(sentences(&e).contains("target 2 never issued a coupon and never refused one"));
        let mut e = contested().evidence();
        e.targets = vec!["api-1".into(), "api-2".into(), "api-3".into()];
        assert!(sentences(&e).contains("target api-3"));
    }
}
