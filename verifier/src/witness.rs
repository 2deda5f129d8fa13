//! Checks every witness again before it is printed.
//!
//! The operations are read once more from the raw history, and the claim is checked on those facts
//! alone, by routines that share nothing with the checks ([`claim`]) nor with the procedure
//! ([`order`]). A witness that does not hold is a bug in the verifier: that one violation is withdrawn
//! then, and nothing is called valid.

pub mod alone;
mod claim;
pub mod context;
mod order;
pub mod proof;

use std::collections::{HashMap, HashSet};

use anyhow::{Result, anyhow, ensure};
use contract::campaign::{PerUser, Precedence, Window};
use contract::history::{Event, Invocation, Kind, Promise};
use contract::outcome::Outcome;

use crate::check::{Claim, Violation};
use crate::evidence::{CampaignEvidence, Op, Said};
use crate::source::history::History;
use crate::verdict::Report;

use context::Context;

/// An operation as the history has it.
#[derive(Debug, Default)]
struct Raw {
    sent: Option<Sent>,
    completed: Option<(i64, Outcome<'static>)>,
}

/// Its beginning.
#[derive(Debug)]
struct Sent {
    campaign: Box<str>,
    is_read: bool,
    at: i64,
    target: Option<u16>,
    user: Option<Box<str>>,
    key: Option<Box<str>>,
}

/// What a campaign promised.
#[derive(Clone, Copy, Debug)]
struct Terms {
    coupons: u64,
    starts_at: Window,
    per_user: Option<PerUser>,
    restock: bool,
}

/// What was read again: the operations of all witnesses, and those that their claims are about.
#[derive(Debug, Default)]
pub struct Facts {
    ops: HashMap<u64, Raw>,
    terms: HashMap<String, Terms>,
}

/// What of the history is read again.
#[derive(Debug, Default)]
struct Wanted {
    everything: bool,
    ops: HashSet<u64>,
    /// Everything that these users of a campaign asked for.
    users: HashMap<String, HashSet<Box<str>>>,
    /// Everything that was asked for under these keys in a campaign.
    keys: HashMap<String, HashSet<Box<str>>>,
    /// Everything in these campaigns.
    campaigns: HashSet<String>,
}

/// Checks the witnesses of all violations, and withdraws those that do not hold.
///
/// # Errors
/// When the history can no longer be read.
pub fn recheck(history: &History, report: &mut Report) -> Result<()> {
    let mut wanted = Wanted::default();
    for judged in &report.campaigns {
        let claims = judged.violations().chain(judged.possible());
        claims.for_each(|(_, v)| wanted.add(&judged.evidence.name, v));
    }
    if !wanted.ops.is_empty() || !wanted.campaigns.is_empty() {
        let facts = reread(history, &wanted)?;
        report.withdraw(|e, v| holds(v, e, &facts).err().map(|why| why.to_string()));
        report.facts = facts;
    }
    Ok(())
}

impl Wanted {
    fn add(&mut self, campaign: &str, violation: &Violation) {
        self.ops.extend(violation.witness.iter().map(|op| op.op));
        if matches!(violation.claim, Claim::Hollow { .. }) {
            self.campaigns.insert(campaign.to_owned());
        }
        if !matches!(violation.claim, Claim::NoRequest | Claim::Crowded { .. }) {
            return;
        }
        let named =
            |of: fn(&Op) -> &Option<Box<str>>| violation.witness.iter().filter_map(of_op(of));
        let users = self.users.entry(campaign.to_owned()).or_default();
        users.extend(named(|op| &op.user));
        let keys = self.keys.entry(campaign.to_owned()).or_default();
        keys.extend(named(|op| &op.key));
    }

    fn wants(&self, op: u64, campaign: &str, user: Option<&str>, key: Option<&str>) -> bool {
        let named = |names: &HashMap<String, HashSet<Box<str>>>, name: Option<&str>| {
            names.get(campaign).zip(name).is_some_and(|(names, name)| names.contains(name))
        };
        self.everything
            || self.ops.contains(&op)
            || self.campaigns.contains(campaign)
            || named(&self.users, user)
            || named(&self.keys, key)
    }

    fn wants_request(&self, i: &Invocation<'_>) -> bool {
        self.wants(i.op, &i.campaign, i.user.as_deref(), i.key.as_deref())
    }
}

fn of_op(of: fn(&Op) -> &Option<Box<str>>) -> impl Fn(&Op) -> Option<Box<str>> {
    move |op| of(op).clone()
}

/// What counts where records contradict each other: the first description of a campaign, the first
/// end of an operation, and the first beginning in a campaign that was described by then.
fn reread(history: &History, wanted: &Wanted) -> Result<Facts> {
    let mut facts = Facts::default();
    history.read(&mut |event| facts.take(event, wanted))?;
    // Its end may stand before its beginning, where nobody knew yet that it is wanted.
    if facts.ops.values().any(|raw| raw.completed.is_none()) {
        history.read(&mut |event| facts.take(event, wanted))?;
    }
    Ok(facts)
}

impl Facts {
    fn take(&mut self, event: Event<'_>, wanted: &Wanted) {
        match event {
            Event::Campaign(p) => {
                let terms = Terms::of(&p);
                self.terms.entry(p.campaign.into_owned()).or_insert(terms);
            }
            Event::Invoke(i) => {
                let asks = matches!(i.kind, Kind::Issue | Kind::Read);
                if asks && self.terms.contains_key(i.campaign.as_ref()) && wanted.wants_request(&i)
                {
                    let sent = Sent {
                        campaign: i.campaign.as_ref().into(),
                        is_read: i.kind == Kind::Read,
                        at: i.at,
                        target: i.target,
                        user: i.user.map(|user| user.as_ref().into()),
                        key: i.key.map(|key| key.as_ref().into()),
                    };
                    self.ops.entry(i.op).or_default().sent.get_or_insert(sent);
                }
            }
            Event::Complete(c) => {
                let wanted = wanted.everything || wanted.ops.contains(&c.op);
                if wanted || self.ops.contains_key(&c.op) {
                    let end = || (c.at, c.outcome.into_owned());
                    self.ops.entry(c.op).or_default().completed.get_or_insert_with(end);
                }
            }
        }
    }

    fn sent(&self, op: u64) -> Result<i64> {
        let sent = self.ops.get(&op).and_then(|raw| raw.sent.as_ref());
        sent.map(|sent| sent.at).ok_or_else(|| anyhow!("#{op} was never sent"))
    }

    fn over(&self, op: u64) -> Result<i64> {
        let raw = self.ops.get(&op).and_then(|raw| raw.completed.as_ref());
        raw.map(|(at, _)| *at).ok_or_else(|| anyhow!("#{op} was never completed"))
    }

    /// An operation of the witness.
    fn raw(&self, op: u64) -> Result<&Raw> {
        self.ops.get(&op).ok_or_else(|| anyhow!("#{op} is not in the history"))
    }
}

impl Terms {
    fn of(p: &Promise<'_>) -> Self {
        let (starts_at, per_user, restock) = (p.starts_at, p.per_user, p.restock);
        Self { coupons: p.coupons, starts_at, per_user, restock }
    }

    fn precedence(&self) -> Option<Precedence> {
        self.per_user.filter(|p| p.limit == 1).map(|p| p.precedence)
    }
}

impl Raw {
    fn user(&self) -> Option<&str> {
        self.sent.as_ref()?.user.as_deref()
    }

    fn key(&self) -> Option<&str> {
        self.sent.as_ref()?.key.as_deref()
    }

    fn outcome(&self) -> Option<&Outcome<'static>> {
        self.completed.as_ref().map(|(_, outcome)| outcome)
    }

    /// The code that it was told.
    fn code(&self) -> Option<&str> {
        match self.outcome()? {
            Outcome::Issued(coupon) => Some(&coupon.code),
            Outcome::AlreadyIssued(code) => code.as_deref(),
            Outcome::SoldOut | Outcome::NotStarted | Outcome::Failed(_) => None,
            Outcome::NotFound | Outcome::Ended => None,
            Outcome::Indeterminate(_) | Outcome::Read(_) | Outcome::Pending => None,
        }
    }

    /// Whether nobody knows what came of it.
    fn is_lost(&self) -> bool {
        matches!(self.outcome(), None | Some(Outcome::Indeterminate(_) | Outcome::Pending))
            && self.sent.as_ref().is_some_and(|sent| !sent.is_read)
    }
}

fn holds(violation: &Violation, e: &CampaignEvidence, facts: &Facts) -> Result<()> {
    let ops = &violation.witness;
    for op in ops {
        was_told(op, facts)?;
    }
    let numbers: Vec<u64> = ops.iter().map(|op| op.op).collect();
    once(&numbers)?;
    claim::holds(violation.claim, &numbers, &Context::of(e, violation), facts)
}

fn once(ops: &[u64]) -> Result<()> {
    let distinct: HashSet<u64> = ops.iter().copied().collect();
    ensure!(distinct.len() == ops.len(), "an operation stands in it twice");
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
        | (Said::NotFound, Some(Outcome::NotFound))
        | (Said::Ended, Some(Outcome::Ended))
        | (Said::Failed, Some(Outcome::Failed(_)))
        | (Said::Unknown, None | Some(Outcome::Indeterminate(_))) => true,
        (Said::Counted(_) | Said::Left(_) | Said::Listed(_), Some(Outcome::Read(_))) => true,
        // Its records contradict each other, which the evidence says; nothing is built on its end.
        (Said::Unknown, Some(_)) => return Ok(()),
        _ => false,
    };
    ensure!(agrees, "#{} was told something else", op.op);
    let sent = facts.sent(op.op)?;
    // The same, where its end lies before its beginning.
    if op.said == Said::Unknown && facts.over(op.op).is_ok_and(|over| over < sent) {
        return Ok(());
    }
    ensure!(sent == op.invoked, "#{} was sent at another time", op.op);
    if let Some(completed) = op.completed {
        ensure!(facts.over(op.op)? == completed, "#{} was completed at another time", op.op);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Certainty;
    use crate::check::sample::{Sample, campaign};

    fn op(op: u64, invoked: i64, completed: i64, said: Said) -> Op {
        let completed = Some(completed);
        Op { op, target: None, user: None, key: None, invoked, completed, said }
    }

    fn two() -> Sample {
        campaign(1).starts(100, 110).sold_out(10, 20).issued("가", 21, 30)
    }

    /// Whether a claim about these operations of a campaign holds.
    fn check(sample: Sample, claim: Claim, witness: Vec<Op>) -> bool {
        let wanted = Wanted { campaigns: ["c".to_owned()].into(), ..Wanted::default() };
        let mut facts = Facts::default();
        sample.events().into_iter().for_each(|event| facts.take(event, &wanted));
        let violation = Violation { claim, witness, ..Violation::default() };
        holds(&violation, &sample.evidence(), &facts).is_ok()
    }

    #[test]
    fn the_first_description_wins_and_strangers_do_not_count() {
        use contract::history::{Invocation, Kind, Promise};
        let mut facts = Facts::default();
        let wanted = Wanted { ops: [1].into(), ..Wanted::default() };
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
        assert_eq!(facts.terms["c"].starts_at.earliest, 100);
        assert_eq!(facts.ops[&1].sent.as_ref().unwrap().at, 7);
    }

    #[test]
    fn a_false_witness_withdraws_one_violation_and_leaves_a_gap() {
        use contract::history::{Integrity, Promise};
        let starts_at = Window { earliest: 0, latest: 0 };
        let promise =
            Promise { campaign: "c".into(), coupons: 1, starts_at, per_user: None, restock: false };
        let mut collector = crate::evidence::collect::Collector::default();
        collector.take(Event::Campaign(promise));
        let mut e = collector.finish(Integrity::default()).unwrap();
        e.campaigns[0].first_sold_out = Some(op(1, 10, 20, Said::SoldOut));
        let mut report = crate::verdict::judge(e.campaigns, Vec::new(), Certainty::Proven);
        let before = report.campaigns[0].violations().count();
        assert_eq!(report.verdict, crate::verdict::Verdict::Invalid);
        report.withdraw(|_, _| Some("so".into()));
        assert!(before > 0 && report.campaigns[0].violations().count() == 0);
        assert_eq!(report.verdict, crate::verdict::Verdict::Unknown);
        let said: Vec<_> = report.campaigns[0].doubts().map(|(_, v)| v.sentence.clone()).collect();
        assert!(said.iter().any(|s| s.contains("please report")), "{said:?}");
    }

    #[test]
    fn a_true_witness_holds() {
        let (a, b) = (op(1, 10, 20, Said::SoldOut), op(2, 21, 30, Said::Issued("가".into())));
        assert!(check(two(), Claim::Before, vec![a, b.clone()]));
        assert!(check(two(), Claim::BeforeStart, vec![b]));
    }

    #[test]
    fn a_false_witness_does_not() {
        let (a, b) = (op(1, 10, 20, Said::SoldOut), op(2, 21, 30, Said::Issued("가".into())));
        let check = |claim, witness| check(two(), claim, witness);
        assert!(!check(Claim::Before, vec![b.clone(), a.clone()]), "the other way round");
        assert!(!check(Claim::AfterStart, vec![b.clone()]), "before the start");
        assert!(!check(Claim::SameCode, vec![a.clone(), b.clone()]));
        assert!(!check(Claim::Told, vec![op(2, 21, 30, Said::Issued("나".into()))]));
        assert!(!check(Claim::Told, vec![op(1, 10, 19, Said::SoldOut)]));
        assert!(!check(Claim::Told, vec![op(3, 10, 20, Said::SoldOut)]));
        assert!(!check(Claim::Before, vec![a.clone(), a]));
    }

    #[test]
    fn numbers_are_counted_again() {
        let read = |n, count, from, to| op(n, from, to, Said::Counted(count));
        let got = |n, code: &str, from, to| op(n, from, to, Said::Issued(code.into()));
        let story =
            || campaign(5).counted(1, 110, 120).issued("가", 121, 130).issued("나", 125, 130);
        let late = |count| story().counted(count, 131, 140);
        let ops = |count| {
            let told = [got(2, "가", 121, 130), got(3, "나", 125, 130)];
            [vec![read(1, 1, 110, 120)], told.to_vec(), vec![read(4, count, 131, 140)]].concat()
        };
        let crowded = |upto| Claim::Crowded { above: 1, upto };
        assert!(check(late(2), crowded(2), ops(2)), "two between 1 and 2");
        assert!(!check(late(3), crowded(3), ops(3)), "two between 1 and 3");
        assert!(!check(late(2), crowded(2), ops(2)[1..].to_vec()), "without the read before");
        let hollow = |upto| Claim::Hollow { above: 1, upto };
        assert!(check(late(4), hollow(4), vec![read(4, 4, 131, 140), read(1, 1, 110, 120)]));
        assert!(!check(late(3), hollow(3), vec![read(4, 3, 131, 140), read(1, 1, 110, 120)]));
        let lost = late(4).unclear(135, 150);
        assert!(!check(lost, hollow(4), vec![read(4, 4, 131, 140), read(1, 1, 110, 120)]));
    }

    /// So many were told a coupon before a read that saw one less.
    fn more_than_were_seen(told: usize) -> (Sample, Violation) {
        let sample = || {
            let mut sample = campaign(30_000);
            for n in 0..told {
                sample = sample.issued(format!("{n}").leak(), 110, 120);
            }
            sample.counted(i64::try_from(told).unwrap() - 1, 121, 130)
        };
        let counts = crate::check::Check::named("contradicting-counts").unwrap();
        (sample(), (counts.find)(&sample().evidence()).remove(0))
    }

    #[test]
    fn what_only_a_number_proves_is_proven_by_all_of_them() {
        let (sample, violation) = more_than_were_seen(1_100);
        assert_eq!(violation.witness.len(), 1_101);
        assert!(check(sample, violation.claim, violation.witness));
    }

    #[test]
    fn what_is_too_much_for_a_witness_claims_nothing_of_it() {
        let (sample, violation) = more_than_were_seen(20_001);
        assert_eq!((violation.claim, violation.witness.len()), (Claim::Told, 1_000));
        assert!(check(sample, violation.claim, violation.witness));
    }

    /// One request of u that nobody was told the outcome of, and a refusal of theirs; the ends first.
    const REVERSED: &str = r#"{"type":"header","format":"coupon-history/1"}
{"type":"campaign","campaign":"c","coupons":1,"starts_at":{"earliest":0,"latest":0},"per_user":null}
{"type":"complete","op":2,"at":20,"outcome":"sold_out"}
{"type":"complete","op":1,"at":20,"outcome":"indeterminate"}
{"type":"invoke","op":1,"campaign":"c","kind":"issue","at":10,"user":"u"}
{"type":"invoke","op":2,"campaign":"c","kind":"issue","at":10,"user":"u"}
{"type":"trailer","invocations":2,"completions":2}
"#;

    fn reversed() -> (tempfile::NamedTempFile, History) {
        let file = tempfile::NamedTempFile::with_suffix(".jsonl").unwrap();
        std::fs::write(file.path(), REVERSED).unwrap();
        let history = History::alone(file.path());
        (file, history)
    }

    #[test]
    fn an_end_that_stands_before_its_beginning_is_read() {
        let users = [("c".to_owned(), ["u".into()].into())].into();
        let (_file, history) = reversed();
        let facts = reread(&history, &Wanted { users, ..Wanted::default() }).unwrap();
        assert_eq!(facts.over(2).unwrap(), 20);
    }

    #[test]
    fn a_claim_without_operations_is_checked_as_well() {
        let (_file, history) = reversed();
        let evidence = history.collect(None).unwrap();
        let mut report = crate::verdict::judge(evidence.campaigns, Vec::new(), Certainty::Proven);
        let results = &mut report.campaigns[0].results;
        results.iter_mut().for_each(|result| result.found.clear());
        let phantom = results.iter_mut().find(|result| result.check == "phantom").unwrap();
        let claim = Claim::Hollow { above: 0, upto: 1 };
        phantom.found.push(Violation { claim, ..Violation::new("one too few") });
        recheck(&history, &mut report).unwrap();
        assert_eq!(report.campaigns[0].violations().count(), 0);
    }

    #[test]
    fn what_went_back_is_looked_at_again() {
        let got = |n, code: &str, from, to| op(n, from, to, Said::Issued(code.into()));
        let story = |sent, row| {
            let e = campaign(9).ranked("가", (Some(2), None), 110, 120).issued("나", 110, 120);
            e.issued("다", sent, 140).store(1).row(row, "다", 1)
        };
        let (a, lost) = (got(1, "가", 110, 120), got(2, "나", 110, 120));
        let went = |e: Sample, ops: &[&Op]| {
            check(e, Claim::WentBack, ops.iter().map(|op| (*op).clone()).collect())
        };
        let again = |sent| got(3, "다", sent, 140);
        assert!(went(story(121, 2), &[&a, &again(121), &lost]));
        assert!(went(story(121, 2), &[&a, &again(121)]), "the first is gone itself");
        assert!(!went(story(120, 2), &[&a, &again(120), &lost]), "not after it");
        assert!(!went(story(121, 3), &[&a, &again(121), &lost]), "the number goes on");
        assert!(!went(story(121, 2).row(1, "나", 1), &[&a, &again(121), &lost]), "it is there");
        assert!(!went(story(121, 2), &[&again(121), &a, &lost]), "the other way round");
        let both = story(121, 2).row(1, "가", 1).row(3, "나", 1);
        assert!(!went(both, &[&a, &again(121)]), "nothing is gone");
    }

    #[test]
    fn lists_and_holders_are_looked_at_again() {
        let list = |n, from, to| op(n, from, to, Said::Listed(1));
        let lists = |b| campaign(3).listed(&["가"], 110, 120).listed(&[b], 110, 130);
        let both = || vec![list(1, 110, 120), list(2, 110, 130)];
        assert!(check(lists("나"), Claim::ListsDiffer, both()));
        assert!(!check(lists("가"), Claim::ListsDiffer, both()));
        let told =
            |sent| campaign(3).one_per_user().user("u").already(None, 110, 120).unclear(sent, 140);
        let mut already = op(1, 110, 120, Said::AlreadyIssued(None));
        already.user = Some("u".into());
        assert!(check(told(121), Claim::NoRequest, vec![already.clone()]));
        assert!(!check(told(120), Claim::NoRequest, vec![already]));
    }
}
