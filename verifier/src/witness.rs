//! Checks every witness again before it is printed.
//!
//! The operations are read once more from the raw history, and the claim is checked on those facts
//! alone, by a routine that shares nothing with the checks. A witness that does not hold is a bug
//! in the verifier: that one violation is withdrawn then, and nothing is called valid.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, anyhow, ensure};
use contract::campaign::Window;
use contract::history::Event;
use contract::outcome::Outcome;

use crate::check::{Claim, Violation};
use crate::evidence::{Op, Said};
use crate::source::history::History;
use crate::verdict::{Judged, Report};

/// An operation as the history has it.
#[derive(Debug)]
struct Raw {
    invoked: Option<i64>,
    completed: Option<(i64, Outcome<'static>)>,
}

#[derive(Debug, Default)]
struct Facts {
    ops: HashMap<u64, Raw>,
    starts: HashMap<String, Window>,
}

/// Checks the witnesses of all violations, and withdraws those that do not hold.
///
/// # Errors
/// When the history can no longer be read.
pub fn recheck(history: &History, report: &mut Report) -> Result<()> {
    let violations = report.campaigns.iter().flat_map(Judged::violations);
    let wanted: HashSet<u64> =
        violations.flat_map(|(_, v)| v.witness.iter().map(|op| op.op)).collect();
    if !wanted.is_empty() {
        let facts = reread(history, &wanted)?;
        report.withdraw(|e, v| holds(v, &e.name, &facts).err().map(|why| why.to_string()));
    }
    Ok(())
}

/// What counts where records contradict each other: the first description of a campaign, the first
/// end of an operation, and the first beginning in a campaign that was described by then.
fn reread(history: &History, wanted: &HashSet<u64>) -> Result<Facts> {
    let mut facts = Facts::default();
    history.read(&mut |event| facts.take(event, wanted))?;
    Ok(facts)
}

impl Facts {
    fn take(&mut self, event: Event<'_>, wanted: &HashSet<u64>) {
        match event {
            Event::Campaign(p) => {
                self.starts.entry(p.campaign.into_owned()).or_insert(p.starts_at);
            }
            Event::Invoke(i) => {
                if wanted.contains(&i.op) && self.starts.contains_key(i.campaign.as_ref()) {
                    self.raw(i.op).invoked.get_or_insert(i.at);
                }
            }
            Event::Complete(c) => {
                if wanted.contains(&c.op) {
                    let end = || (c.at, c.outcome.into_owned());
                    self.raw(c.op).completed.get_or_insert_with(end);
                }
            }
        }
    }
}

impl Facts {
    fn raw(&mut self, op: u64) -> &mut Raw {
        self.ops.entry(op).or_insert(Raw { invoked: None, completed: None })
    }

    fn sent(&self, op: &Op) -> Result<i64> {
        let raw = self.ops.get(&op.op).and_then(|raw| raw.invoked);
        raw.ok_or_else(|| anyhow!("#{} was never sent", op.op))
    }

    fn over(&self, op: &Op) -> Result<i64> {
        let raw = self.ops.get(&op.op).and_then(|raw| raw.completed.as_ref());
        raw.map(|(at, _)| *at).ok_or_else(|| anyhow!("#{} was never completed", op.op))
    }

    fn rank(&self, op: &Op) -> (Option<i64>, Option<i64>) {
        match self.ops.get(&op.op).and_then(|raw| raw.completed.as_ref()) {
            Some((_, Outcome::Issued(coupon))) => (coupon.seq, coupon.remaining),
            _ => (None, None),
        }
    }

    fn code(&self, op: &Op) -> Option<&str> {
        match &self.ops.get(&op.op)?.completed.as_ref()?.1 {
            Outcome::Issued(coupon) => Some(&coupon.code),
            Outcome::SoldOut | Outcome::NotStarted | Outcome::AlreadyIssued(_) => None,
            Outcome::Failed(_) | Outcome::Indeterminate(_) => None,
            Outcome::Read(_) | Outcome::Pending => None,
        }
    }
}

fn holds(violation: &Violation, campaign: &str, facts: &Facts) -> Result<()> {
    let ops = &violation.witness;
    for op in ops {
        was_told(op, facts)?;
    }
    let distinct: HashSet<u64> = ops.iter().map(|op| op.op).collect();
    ensure!(distinct.len() == ops.len(), "an operation stands in it twice");
    let start = facts.starts.get(campaign);
    match (violation.claim, ops.as_slice()) {
        (Claim::Told, _) => {}
        (Claim::Before, [a, b]) => {
            ensure!(facts.over(a)? < facts.sent(b)?, "#{} is not before #{}", a.op, b.op);
        }
        (Claim::BeforeStart, [a, ..]) => {
            let over = facts.over(a)?;
            ensure!(start.is_some_and(|s| over < s.earliest), "#{} is not early", a.op);
        }
        (Claim::AfterStart, [a, ..]) => {
            let sent = facts.sent(a)?;
            ensure!(start.is_some_and(|s| sent > s.latest), "#{} is not late", a.op);
        }
        (Claim::SameCode, [a, .., b]) => {
            let code = facts.code(a);
            ensure!(code.is_some() && code == facts.code(b), "the codes differ");
        }
        (Claim::SameRank, [a, .., b]) => {
            let (a, b) = (facts.rank(a), facts.rank(b));
            let same = |a: Option<i64>, b: Option<i64>| a.is_some() && a == b;
            ensure!(same(a.0, b.0) || same(a.1, b.1), "the ranks differ");
        }
        (claim, _) => return Err(anyhow!("{claim:?} needs other operations")),
    }
    Ok(())
}

/// The history says of the operation what the witness says.
fn was_told(op: &Op, facts: &Facts) -> Result<()> {
    let outcome = facts.ops.get(&op.op).and_then(|raw| raw.completed.as_ref()).map(|(_, o)| o);
    let agrees = match (&op.said, outcome) {
        (Said::Issued(code), Some(Outcome::Issued(coupon))) => coupon.code == code.as_ref(),
        (Said::AlreadyIssued(a), Some(Outcome::AlreadyIssued(b))) => a.as_deref() == b.as_deref(),
        (Said::SoldOut, Some(Outcome::SoldOut))
        | (Said::NotStarted, Some(Outcome::NotStarted))
        | (Said::Failed, Some(Outcome::Failed(_)))
        | (Said::Unknown, None | Some(Outcome::Indeterminate(_))) => true,
        // Its records contradict each other, which the evidence says; nothing is built on its end.
        (Said::Unknown, Some(_)) => return Ok(()),
        _ => false,
    };
    ensure!(agrees, "#{} was told something else", op.op);
    let sent = facts.sent(op)?;
    // The same, where its end lies before its beginning.
    if op.said == Said::Unknown && facts.over(op).is_ok_and(|over| over < sent) {
        return Ok(());
    }
    ensure!(sent == op.invoked, "#{} was sent at another time", op.op);
    if let Some(completed) = op.completed {
        ensure!(facts.over(op)? == completed, "#{} was completed at another time", op.op);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::outcome::Coupon;

    fn op(op: u64, invoked: i64, completed: i64, said: Said) -> Op {
        let completed = Some(completed);
        Op { op, target: None, user: None, key: None, invoked, completed, said }
    }

    fn facts() -> Facts {
        let mut facts = Facts::default();
        facts.starts.insert("c".into(), Window { earliest: 100, latest: 110 });
        let coupon = Coupon { code: "가".into(), seq: None, remaining: None, order: None };
        for (op, invoked, completed, outcome) in
            [(1, 10, 20, Outcome::SoldOut), (2, 21, 30, Outcome::Issued(coupon))]
        {
            let completed = Some((completed, outcome));
            facts.ops.insert(op, Raw { invoked: Some(invoked), completed });
        }
        facts
    }

    #[test]
    fn the_first_description_wins_and_strangers_do_not_count() {
        use contract::history::{Invocation, Kind, Promise};
        let mut facts = Facts::default();
        let wanted = HashSet::from([1]);
        let promise = |earliest| {
            let starts_at = Window { earliest, latest: earliest };
            Event::Campaign(Promise {
                campaign: "c".into(),
                coupons: 1,
                starts_at,
                per_user: None,
                restock: false,
            })
        };
        let invoke = |campaign: &'static str, at| {
            let (intended, woken, target, user, key) = (None, None, None, None, None);
            let (campaign, kind) = (campaign.into(), Kind::Issue);
            let follows = None;
            let i = Invocation {
                op: 1,
                campaign,
                kind,
                at,
                intended,
                woken,
                target,
                user,
                key,
                follows,
            };
            Event::Invoke(i)
        };
        for event in [promise(100), promise(200), invoke("x", 5), invoke("c", 7), invoke("c", 9)] {
            facts.take(event, &wanted);
        }
        assert_eq!(facts.starts["c"].earliest, 100);
        assert_eq!(facts.ops[&1].invoked, Some(7));
    }

    #[test]
    fn a_false_witness_withdraws_one_violation_and_leaves_a_gap() {
        use contract::history::{Integrity, Promise};
        let starts_at = Window { earliest: 0, latest: 0 };
        let promise =
            Promise { campaign: "c".into(), coupons: 1, starts_at, per_user: None, restock: false };
        let mut collector = crate::evidence::collect::Collector::default();
        collector.take(Event::Campaign(promise));
        let mut e = collector.finish(Integrity::default());
        e.campaigns[0].first_sold_out = Some(op(1, 10, 20, Said::SoldOut));
        let mut report = crate::verdict::judge(e.campaigns, Vec::new());
        let before = report.campaigns[0].violations().count();
        assert_eq!(report.verdict, crate::verdict::Verdict::Invalid);
        report.withdraw(|_, _| Some("so".into()));
        assert!(before > 0 && report.campaigns[0].violations().count() == 0);
        assert_eq!(report.verdict, crate::verdict::Verdict::Unknown);
        let said: Vec<_> = report.campaigns[0].doubts().map(|(_, v)| v.sentence.clone()).collect();
        assert!(said.iter().any(|s| s.contains("please report")), "{said:?}");
    }

    fn check(claim: Claim, witness: Vec<Op>) -> bool {
        holds(&Violation { claim, witness, ..Violation::default() }, "c", &facts()).is_ok()
    }

    #[test]
    fn a_true_witness_holds() {
        let (a, b) = (op(1, 10, 20, Said::SoldOut), op(2, 21, 30, Said::Issued("가".into())));
        assert!(check(Claim::Before, vec![a, b.clone()]));
        assert!(check(Claim::BeforeStart, vec![b]));
    }

    #[test]
    fn a_false_witness_does_not() {
        let (a, b) = (op(1, 10, 20, Said::SoldOut), op(2, 21, 30, Said::Issued("가".into())));
        assert!(!check(Claim::Before, vec![b.clone(), a.clone()]), "the other way round");
        assert!(!check(Claim::AfterStart, vec![b.clone()]), "before the start");
        assert!(!check(Claim::SameCode, vec![a.clone(), b.clone()]));
        assert!(!check(Claim::Told, vec![op(2, 21, 30, Said::Issued("나".into()))]));
        assert!(!check(Claim::Told, vec![op(1, 10, 19, Said::SoldOut)]));
        assert!(!check(Claim::Told, vec![op(3, 10, 20, Said::SoldOut)]));
        assert!(!check(Claim::Before, vec![a.clone(), a]));
    }
}
