//! One streaming pass from the history's events to the evidence.
//!
//! Both ends of an operation are joined by its number, in whatever order they are read: segments
//! were written side by side. As soon as both are there, the operation is reduced to what the
//! checks need. So several collectors can read a segment each, and what they found is put together
//! in the end.

mod numbers;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use contract::campaign::Precedence;
use contract::history::{Completion, Event, Integrity, Invocation, Kind, Promise, Sink};
use contract::outcome::{Doubt, Outcome};

use foldhash::fast::FixedState;

use super::acknowledged::{Acknowledged, Coupon, Rank};
use super::load::Load;
use super::reads::{self, Reads};
use super::sift::{Aside, Name};
use super::{CampaignEvidence, Counts, Evidence, Op, Said, Store};
use numbers::OpNumbers;

/// Turns events into evidence.
#[derive(Clone, Debug)]
pub struct Collector {
    campaigns: Vec<Building>,
    by_name: HashMap<Box<str>, usize, FixedState>,
    last: usize,
    open: HashMap<u64, Open, FixedState>,
    /// Completions that were read before their invocation.
    early: HashMap<u64, (i64, Outcome<'static>), FixedState>,
    /// The numbers of all operations that were read, open or not.
    asked: OpNumbers,
    aside: Aside,
    /// So many coupons may be held in memory.
    most: usize,
    /// So many are.
    held: usize,
    /// Another collector read operations of the same number.
    torn: bool,
    broken: Broken,
}

/// A campaign whose evidence is being collected.
#[derive(Clone, Debug)]
struct Building {
    evidence: CampaignEvidence,
    broken: Broken,
    unclassified: u64,
    holders: HashMap<Holder, Op>,
    extremes: Extremes,
}

/// A user who was told "already issued", and the code that was named.
type Holder = (Option<Box<str>>, Option<Box<str>>);

/// An operation whose completion has not been read yet.
#[derive(Clone, Debug)]
struct Open {
    campaign: usize,
    kind: Kind,
    at: i64,
    target: Option<u16>,
    user: Option<Box<str>>,
    key: Option<Box<str>>,
}

/// Records that contradict each other: what is wrong, how often, and the first operation.
type Broken = BTreeMap<&'static str, (u64, u64)>;

fn note(broken: &mut Broken, what: &'static str, op: u64) {
    absorb_note(broken, what, (1, op));
}

fn absorb_note(broken: &mut Broken, what: &'static str, (times, op): (u64, u64)) {
    let entry = broken.entry(what).or_insert((0, op));
    *entry = (entry.0 + times, entry.1.min(op));
}

impl Collector {
    /// One that holds so many coupons in memory.
    pub fn holding(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Takes one event.
    pub fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Campaign(promise) => self.campaign(&promise),
            Event::Invoke(invocation) => self.invoke(&invocation),
            Event::Complete(completion) => self.complete(&completion),
        }
    }
}

impl Sink for Collector {
    fn campaign(&mut self, promise: &Promise<'_>) {
        if let Some(&at) = self.by_name.get(promise.campaign.as_ref()) {
            let evidence = &mut self.campaigns[at].evidence;
            evidence.gaps.push("the history describes the campaign more than once".into());
            return;
        }
        self.by_name.insert(promise.campaign.as_ref().into(), self.campaigns.len());
        self.campaigns.push(Building {
            evidence: CampaignEvidence::new(promise),
            broken: Broken::new(),
            unclassified: 0,
            holders: HashMap::new(),
            extremes: Extremes::default(),
        });
        self.compare_few();
    }

    fn invoke(&mut self, i: &Invocation<'_>) {
        let Some(campaign) = self.find(&i.campaign) else {
            note(
                &mut self.broken,
                "a request names a campaign that the history does not describe",
                i.op,
            );
            return;
        };
        if !self.asked.insert(i.op) {
            note(&mut self.campaigns[campaign].broken, "an operation number is used twice", i.op);
            return;
        }
        let open = Open {
            campaign,
            kind: i.kind,
            at: i.at,
            target: i.target,
            user: i.user.as_deref().map(Box::from),
            key: i.key.as_deref().map(Box::from),
        };
        self.open(i.op, open);
    }

    fn complete(&mut self, c: &Completion<'_>) {
        if let Some(open) = self.open.remove(&c.op) {
            self.join(c.op, open, c.at, &c.outcome);
        } else if self.asked.contains(c.op) || self.early.contains_key(&c.op) {
            note(&mut self.broken, "an operation was completed twice", c.op);
        } else {
            self.early.insert(c.op, (c.at, c.outcome.clone().into_owned()));
        }
    }
}

impl Collector {
    /// Joins an operation with its completion, or waits for it.
    fn open(&mut self, op: u64, open: Open) {
        let early = if self.early.is_empty() { None } else { self.early.remove(&op) };
        match early {
            Some((at, outcome)) => self.join(op, open, at, &outcome),
            None => {
                self.open.insert(op, open);
            }
        }
    }

    /// The campaign of that name; most of the time it is the one of the event before.
    fn find(&mut self, name: &str) -> Option<usize> {
        if self.campaigns.get(self.last).is_some_and(|c| c.evidence.name == name) {
            return Some(self.last);
        }
        self.last = *self.by_name.get(name)?;
        Some(self.last)
    }

    fn join(&mut self, op: u64, open: Open, at: i64, outcome: &Outcome<'_>) {
        let campaign = open.campaign;
        let refusal = matches!(
            outcome,
            Outcome::SoldOut | Outcome::NotStarted | Outcome::NotFound | Outcome::Ended
        );
        if let Some(key) = open.key.as_deref().filter(|_| refusal) {
            self.aside.refuse(&Name::key(campaign, open.user.as_deref(), key));
        }
        let precedence = self.campaigns[campaign].evidence.precedence();
        let never = *outcome == Outcome::SoldOut && precedence == Some(Precedence::AlreadyFirst);
        if let Some(user) = open.user.as_deref().filter(|_| never) {
            self.aside.refuse(&Name::user(campaign, user));
        }
        let coupon = self.campaigns[campaign].joined(op, open, at, outcome);
        if let Some(coupon) = coupon {
            self.tell(campaign, coupon);
        }
    }

    /// Keeps a coupon, in memory or not.
    fn tell(&mut self, campaign: usize, coupon: Coupon) {
        if self.held > self.most {
            self.aside.tell(campaign, &coupon);
            return;
        }
        self.campaigns[campaign].evidence.acknowledged.push(coupon);
        self.held += 1;
        if self.held > self.most {
            self.put_aside();
        }
    }

    fn put_aside(&mut self) {
        self.compare_few();
        for (campaign, building) in self.campaigns.iter_mut().enumerate() {
            for coupon in building.evidence.acknowledged.take() {
                self.aside.tell(campaign, &coupon);
            }
        }
    }

    /// Who asked when is forgotten where both coupons and campaigns are many.
    fn compare_few(&mut self) {
        if self.held > self.most && self.campaigns.len() > MOST_COMPARED {
            // Those before the last that knows nothing know nothing either.
            let all = self.campaigns.iter_mut().rev().map(|building| &mut building.evidence.load);
            let known = all.take_while(|load| load.rivals.is_some());
            known.for_each(|load| load.rivals = None);
        }
    }

    /// Takes what another collector found, that read another part of the same history.
    pub fn absorb(&mut self, other: Self) {
        self.torn |= other.torn || !self.asked.absorb(other.asked);
        for (own, other) in self.campaigns.iter_mut().zip(other.campaigns) {
            own.absorb(other);
        }
        self.held += other.held;
        self.aside.absorb(other.aside);
        if self.held > self.most {
            self.put_aside();
        }
        for (what, (times, op)) in other.broken {
            absorb_note(&mut self.broken, what, (times, op));
        }
        for (op, open) in other.open {
            self.open(op, open);
        }
        for (op, (at, outcome)) in other.early {
            let (accepted, status, stamp) = (None, None, None);
            self.complete(&Completion { op, at, accepted, outcome, status, stamp });
        }
    }

    /// Whether parts have operations of one number, so that they must be read in one order.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Everything was read.
    ///
    /// # Errors
    /// When there was no room on the disk.
    pub fn finish(mut self, integrity: Integrity) -> std::io::Result<Evidence> {
        for (op, open) in std::mem::take(&mut self.open) {
            self.campaigns[open.campaign].unanswered(op, open);
        }
        if let Some(op) = self.early.keys().min() {
            let orphans = self.early.len() as u64;
            self.broken.insert("an operation was completed and never sent", (orphans, *op));
        }
        let mut gaps = integrity.gaps;
        describe(&self.broken, &mut gaps);
        let whole = gaps.is_empty();
        // They are shown, and say whether anything was contested; no proof needs them.
        if self.most > 0 {
            self.campaigns.iter().for_each(|b| self.aside.keep(b.extremes.ops()));
        }
        let campaigns = self.campaigns.into_iter().map(|b| b.finish(whole)).collect();
        if self.aside.has_coupons() {
            self.aside.flush()?;
        }
        let mut evidence = Evidence::new(campaigns, gaps, self.aside);
        if !evidence.aside.has_coupons() {
            evidence.settle()?;
        }
        Ok(evidence)
    }
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            campaigns: Vec::new(),
            by_name: HashMap::default(),
            last: 0,
            open: HashMap::default(),
            early: HashMap::default(),
            asked: OpNumbers::default(),
            aside: Aside::default(),
            most: MOST_HELD,
            held: 0,
            torn: false,
            broken: Broken::new(),
        }
    }
}

/// Of so many campaigns coupons that are not held are compared with each other. It takes up to 1.5 MiB
/// each for 256 targets, and some 200 KiB for the usual few.
const MOST_COMPARED: usize = 64;

/// So many coupons are held in memory.
const MOST_HELD: usize = 100_000;

/// The coupons that are over first, and those that were sent and over last: what is said of all is
/// said of these. Two of each, for some questions are about the others.
#[derive(Clone, Debug, Default)]
struct Extremes([Vec<(i64, u64)>; 3]);

impl Extremes {
    fn saw(&mut self, op: &Op) {
        let keys = [op.end(), op.invoked.saturating_neg(), op.end().saturating_neg()];
        for (least, key) in self.0.iter_mut().zip(keys) {
            keep_two(least, (key, op.op));
        }
    }

    fn absorb(&mut self, other: Self) {
        for (least, others) in self.0.iter_mut().zip(other.0) {
            others.into_iter().for_each(|one| keep_two(least, one));
        }
    }

    fn ops(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flatten().map(|(_, op)| *op)
    }
}

/// Keeps the least two.
fn keep_two(least: &mut Vec<(i64, u64)>, one: (i64, u64)) {
    if least.len() == 2 && one >= least[1] {
        return;
    }
    least.push(one);
    least.sort_unstable();
    least.truncate(2);
}

fn describe(broken: &Broken, gaps: &mut Vec<String>) {
    for (what, (times, op)) in broken {
        let mut gap = format!("{what}: #{op}");
        if *times > 1 {
            let _ = write!(gap, " and {} more", times - 1);
        }
        gaps.push(gap);
    }
}

impl CampaignEvidence {
    /// A campaign of which nothing but the promise is known.
    pub fn new(promise: &Promise<'_>) -> Self {
        Self {
            name: promise.campaign.as_ref().to_owned(),
            coupons: promise.coupons,
            starts_at: promise.starts_at,
            per_user: promise.per_user,
            restock: promise.restock,
            counts: Counts::default(),
            acknowledged: Acknowledged::default(),
            compared: None,
            pending: Vec::new(),
            first_sold_out: None,
            first_already: None,
            first_not_started: None,
            last_not_started: None,
            last_not_found: None,
            last_sold_out: None,
            first_ended: None,
            load: Load::default(),
            gaps: Vec::new(),
            whole: true,
            keys_whole: false,
            store: Store::Unread("no store: pass --store".into()),
            join: None,
            shared: Vec::new(),
            more_shared: 0,
            last_already: None,
            holders: Vec::new(),
            suspects: HashSet::new(),
            repeats: Vec::new(),
            suspected_users: HashSet::new(),
            refused_users: Vec::new(),
            reads: Reads::default(),
            read_lag: 0,
            contradictions: Vec::new(),
            targets: Vec::new(),
        }
    }
}

impl Building {
    /// Takes an operation. What is returned is the coupon that it was told.
    fn joined(
        &mut self,
        number: u64,
        open: Open,
        at: i64,
        outcome: &Outcome<'_>,
    ) -> Option<Coupon> {
        match open.kind {
            Kind::Read => {
                self.read(number, open, at, outcome);
                return None;
            }
            Kind::Issue => {}
            // The request that it belongs to carries what came of it.
            Kind::Poll | Kind::Confirm => return None,
        }
        let mut rank = Rank::default();
        let said = match outcome {
            Outcome::Issued(coupon) => {
                rank = Rank { seq: coupon.seq, remaining: coupon.remaining };
                let ranked = coupon.seq.is_some() || coupon.remaining.is_some();
                self.evidence.counts.ranked += u64::from(ranked);
                Said::Issued(coupon.code.as_ref().into())
            }
            Outcome::SoldOut => Said::SoldOut,
            Outcome::NotStarted => Said::NotStarted,
            Outcome::NotFound => Said::NotFound,
            Outcome::Ended => Said::Ended,
            Outcome::AlreadyIssued(code) => Said::AlreadyIssued(code.as_deref().map(Box::from)),
            Outcome::Failed(_) => Said::Failed,
            Outcome::Indeterminate(doubt) => {
                self.unclassified += u64::from(*doubt == Doubt::Unclassified);
                Said::Unknown
            }
            Outcome::Read(_) | Outcome::Pending => {
                note(&mut self.broken, "a request for a coupon was completed as a read", number);
                Said::Unknown
            }
        };
        let mut op = operation(number, open, Some(at), said);
        if at < op.invoked {
            note(&mut self.broken, "an operation was completed before it was sent", number);
            (op.invoked, op.said) = (at, Said::Unknown);
        }
        self.keep(op, rank)
    }

    /// Takes what another one found of the same campaign.
    fn absorb(&mut self, other: Self) {
        let (e, o) = (&mut self.evidence, other.evidence);
        e.counts.absorb(o.counts);
        e.acknowledged.absorb(o.acknowledged);
        e.pending.extend(o.pending);
        let end = |op: &Op| (op.end(), op.op);
        let sent = |op: &Op| (std::cmp::Reverse(op.invoked), op.op);
        o.first_sold_out.into_iter().for_each(|op| keep_least(&mut e.first_sold_out, op, end));
        o.first_already.into_iter().for_each(|op| keep_least(&mut e.first_already, op, end));
        o.last_already.into_iter().for_each(|op| keep_least(&mut e.last_already, op, sent));
        let firsts =
            [(&mut e.first_not_started, o.first_not_started), (&mut e.first_ended, o.first_ended)];
        for (own, other) in firsts {
            other.into_iter().for_each(|op| keep_least(own, op, end));
        }
        let lasts = [
            (&mut e.last_not_started, o.last_not_started),
            (&mut e.last_not_found, o.last_not_found),
            (&mut e.last_sold_out, o.last_sold_out),
        ];
        for (own, other) in lasts {
            other.into_iter().for_each(|op| keep_least(own, op, sent));
        }
        e.load.absorb(o.load);
        e.reads.absorb(o.reads, e.coupons);
        for (holder, op) in other.holders {
            keep_least_in(self.holders.entry(holder), &op, end);
        }
        for (what, times) in other.broken {
            absorb_note(&mut self.broken, what, times);
        }
        self.unclassified += other.unclassified;
        self.extremes.absorb(other.extremes);
    }

    fn read(&mut self, number: u64, open: Open, at: i64, outcome: &Outcome<'_>) {
        self.evidence.counts.reads += 1;
        match outcome {
            Outcome::Read(_) if at < open.at => {
                note(&mut self.broken, "an operation was completed before it was sent", number);
            }
            Outcome::Read(saw) => {
                let op = operation(number, open, Some(at), reads::said(saw));
                self.evidence.reads.saw(op, saw, self.evidence.coupons);
            }
            Outcome::Failed(_) | Outcome::Indeterminate(_) => {}
            Outcome::Issued(_) | Outcome::AlreadyIssued(_) => {
                note(&mut self.broken, "a read was completed with a coupon", number);
            }
            Outcome::SoldOut
            | Outcome::NotStarted
            | Outcome::NotFound
            | Outcome::Ended
            | Outcome::Pending => {
                note(&mut self.broken, "a read was completed as a request for a coupon", number);
            }
        }
    }

    fn unanswered(&mut self, number: u64, open: Open) {
        match open.kind {
            Kind::Read => self.evidence.counts.reads += 1,
            Kind::Issue => {
                self.keep(operation(number, open, None, Said::Unknown), Rank::default());
            }
            Kind::Poll | Kind::Confirm => {}
        }
    }

    /// Counts an operation and keeps what has to be kept of it, except for the coupon that it was told.
    fn keep(&mut self, op: Op, rank: Rank) -> Option<Coupon> {
        self.evidence.load_saw(&op);
        let e = &mut self.evidence;
        let first = |op: &Op| (op.end(), op.op);
        let last = |op: &Op| (std::cmp::Reverse(op.invoked), op.op);
        e.counts.requests += 1;
        match op.said {
            Said::Issued(_) => {
                e.counts.issued += 1;
                self.extremes.saw(&op);
                return Some(Coupon::new(op, rank));
            }
            Said::SoldOut => {
                e.counts.sold_out += 1;
                keep_least_of(&mut e.first_sold_out, &op, first);
                keep_least(&mut e.last_sold_out, op, last);
            }
            Said::NotStarted => {
                e.counts.not_started += 1;
                keep_least_of(&mut e.first_not_started, &op, first);
                keep_least(&mut e.last_not_started, op, last);
            }
            Said::NotFound => {
                e.counts.not_found += 1;
                keep_least(&mut e.last_not_found, op, last);
            }
            Said::Ended => {
                e.counts.ended += 1;
                keep_least(&mut e.first_ended, op, first);
            }
            Said::AlreadyIssued(_) => {
                e.counts.already_issued += 1;
                let holder = (op.user.clone(), op.code().map(Box::from));
                keep_least_in(self.holders.entry(holder), &op, first);
                keep_least_of(&mut e.first_already, &op, first);
                keep_least(&mut e.last_already, op, last);
            }
            Said::Failed => e.counts.failed += 1,
            // Reads are kept elsewhere.
            Said::Counted(_) | Said::Left(_) | Said::Listed(_) => {}
            Said::Unknown => {
                e.counts.indeterminate += 1;
                e.pending.push(op);
            }
        }
        None
    }

    fn finish(mut self, whole: bool) -> CampaignEvidence {
        let mut gaps = std::mem::take(&mut self.evidence.gaps);
        describe(&self.broken, &mut gaps);
        let e = &mut self.evidence;
        e.whole = whole && gaps.is_empty();
        if self.unclassified > 0 {
            let n = self.unclassified;
            gaps.push(format!(
                "answers that no rule of the scenario matches: {n}; nobody knows what they said"
            ));
        }
        e.gaps = gaps;
        e.holders = self.holders.into_values().collect();
        e.holders.sort_by_key(|op| op.op);
        self.evidence
    }
}

fn operation(op: u64, open: Open, completed: Option<i64>, said: Said) -> Op {
    let Open { target, user, key, at: invoked, .. } = open;
    Op { op, target, user, key, invoked, completed, said }
}

/// Keeps the operation with the least key; the number decides between equals, so that the result
/// does not depend on the order in which files are read.
fn keep_least<K: Ord>(kept: &mut Option<Op>, op: Op, key: impl Fn(&Op) -> K) {
    if kept.as_ref().is_none_or(|k| key(&op) < key(k)) {
        *kept = Some(op);
    }
}

/// The same of one that is needed further on: copied only where it is kept.
fn keep_least_of<K: Ord>(kept: &mut Option<Op>, op: &Op, key: impl Fn(&Op) -> K) {
    if kept.as_ref().is_none_or(|k| key(op) < key(k)) {
        *kept = Some(op.clone());
    }
}

/// The same for one entry of many.
fn keep_least_in<Name, K: Ord>(entry: Entry<'_, Name, Op>, op: &Op, key: impl Fn(&Op) -> K) {
    match entry {
        Entry::Vacant(entry) => {
            entry.insert(op.clone());
        }
        Entry::Occupied(mut entry) if key(op) < key(entry.get()) => {
            entry.insert(op.clone());
        }
        Entry::Occupied(_) => {}
    }
}

impl CampaignEvidence {
    fn load_saw(&mut self, op: &Op) {
        self.load.saw(op, self.starts_at);
        let Some(target) = op.target else { return };
        match op.said {
            Said::Issued(_) => self.load.answered(target, true),
            Said::SoldOut | Said::NotStarted | Said::Ended | Said::AlreadyIssued(_) => {
                self.load.answered(target, false);
            }
            Said::Failed | Said::Unknown | Said::NotFound => self.load.asked(target),
            Said::Counted(_) | Said::Left(_) | Said::Listed(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::campaign::Window;
    use contract::outcome::{Coupon, Failure};

    fn promise(name: &'static str) -> Event<'static> {
        Event::Campaign(Promise {
            campaign: name.into(),
            coupons: 2,
            starts_at: Window { earliest: 0, latest: 0 },
            per_user: None,
            restock: false,
        })
    }

    fn invoke(op: u64, at: i64) -> Event<'static> {
        Event::Invoke(Invocation {
            op,
            campaign: "c".into(),
            kind: Kind::Issue,
            at,
            intended: None,
            woken: None,
            target: None,
            user: None,
            key: None,
            follows: None,
        })
    }

    fn complete(op: u64, at: i64, outcome: Outcome<'static>) -> Event<'static> {
        Event::Complete(Completion { op, at, accepted: None, outcome, status: None, stamp: None })
    }

    fn issued() -> Outcome<'static> {
        Outcome::Issued(Coupon { code: "가".into(), seq: None, remaining: None, order: None })
    }

    fn collect(events: Vec<Event<'_>>) -> Evidence {
        let mut collector = Collector::default();
        events.into_iter().for_each(|e| collector.take(e));
        collector.finish(Integrity::default()).unwrap()
    }

    #[test]
    fn the_order_of_both_ends_is_free() {
        let evidence = collect(vec![promise("c"), complete(1, 9, issued()), invoke(1, 5)]);
        assert_eq!(evidence.gaps, Vec::<String>::new());
        let told = &evidence.campaigns[0].acknowledged.iter().next().unwrap().told;
        assert_eq!((told.invoked, told.completed), (5, Some(9)));
    }

    #[test]
    fn an_unanswered_request_is_pending() {
        let evidence = collect(vec![promise("c"), invoke(1, 5)]);
        assert_eq!(evidence.campaigns[0].pending.len(), 1);
        assert_eq!(evidence.campaigns[0].counts.indeterminate, 1);
    }

    #[test]
    fn broken_records_are_gaps() {
        let two = |b: Event<'static>| vec![promise("c"), invoke(1, 5), complete(1, 6, issued()), b];
        for (events, want) in [
            (two(complete(1, 7, issued())), "completed twice: #1"),
            (two(invoke(1, 8)), "used twice: #1"),
            (two(complete(2, 8, issued())), "never sent: #2"),
            (two(promise("c")), "more than once"),
            (vec![invoke(1, 5)], "does not describe: #1"),
            (vec![promise("c"), invoke(1, 5), complete(1, 4, issued())], "before it was sent: #1"),
            (
                two(complete(3, 8, Outcome::SoldOut))
                    .into_iter()
                    .chain([invoke(3, 1), invoke(1, 2), invoke(1, 3)])
                    .collect(),
                "used twice: #1 and 1 more",
            ),
        ] {
            let evidence = collect(events);
            let mut gaps = evidence.gaps;
            gaps.extend(evidence.campaigns.into_iter().flat_map(|c| c.gaps));
            assert!(gaps.iter().any(|g| g.contains(want)), "{gaps:?} lacks {want}");
        }
    }

    #[test]
    fn a_number_that_two_parts_use_is_seen_whatever_came_of_it() {
        let part = |events: Vec<Event<'static>>| {
            let mut collector = Collector::default();
            events.into_iter().for_each(|event| collector.take(event));
            collector
        };
        let open = || part(vec![promise("c"), invoke(1, 5)]);
        let over = || part(vec![promise("c"), invoke(1, 7), complete(1, 9, issued())]);
        let end = || part(vec![promise("c"), complete(1, 9, issued())]);
        for (mut one, other, torn) in [
            (open(), over(), true),
            (over(), open(), true),
            (open(), open(), true),
            (over(), over(), true),
            (open(), end(), false),
            (end(), open(), false),
        ] {
            one.absorb(other);
            assert_eq!(one.is_torn(), torn, "{one:?}");
        }
    }

    #[test]
    fn who_asked_when_is_known_while_coupons_or_campaigns_are_few() {
        let names: Vec<&str> = (0..65).map(|n| &*format!("{n}").leak()).collect();
        let part = |campaigns: usize, ops: std::ops::Range<u64>| {
            let mut collector = Collector::holding(2);
            collector.take(promise("c"));
            names[..campaigns - 2].iter().for_each(|name| collector.take(promise(name)));
            ops.for_each(|op| {
                collector.take(invoke(op, 5));
                collector.take(complete(op, 6, issued()));
            });
            collector
        };
        let known = |mut collector: Collector| {
            collector.take(promise("later"));
            let evidence = collector.finish(Integrity::default()).unwrap();
            let rivals = evidence.campaigns.iter().filter(|c| c.load.rivals.is_some());
            (rivals.count(), evidence.campaigns.len())
        };
        assert_eq!(known(part(65, 0..2)), (65, 65));
        assert_eq!(known(part(64, 0..3)), (64, 64));
        assert_eq!(known(part(65, 0..3)), (0, 65));
        for (one, other) in [(0..2, 2..4), (0..3, 3..3), (0..0, 0..3)] {
            let both = |campaigns| {
                let mut both = part(campaigns, one.clone());
                both.absorb(part(campaigns, other.clone()));
                both
            };
            assert_eq!(known(both(64)), (64, 64));
            assert_eq!(known(both(66)), (0, 66));
        }
    }

    #[test]
    fn what_parts_saw_of_the_load_is_put_together() {
        let part = |ops: std::ops::Range<u64>| {
            let mut collector = Collector::default();
            collector.take(promise("c"));
            for op in ops {
                let Event::Invoke(asked) = invoke(op, 5) else { continue };
                collector
                    .take(Event::Invoke(Invocation { target: u16::try_from(op).ok(), ..asked }));
                collector.take(complete(op, 6, Outcome::SoldOut));
            }
            collector
        };
        let mut both = part(0..1);
        both.absorb(part(1..3));
        let evidence = both.finish(Integrity::default()).unwrap();
        let load = &evidence.campaigns[0].load;
        assert_eq!(load.targets.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(load.rivals.as_ref().unwrap().losers(), [5; 3]);
        assert!(load.overlapped);
    }

    #[test]
    fn an_answer_that_no_rule_matches_is_a_gap_but_nothing_is_missing() {
        let doubt = Outcome::Indeterminate(Doubt::Unclassified);
        let evidence = collect(vec![promise("c"), invoke(1, 5), complete(1, 6, doubt)]);
        let campaign = &evidence.campaigns[0];
        assert!(campaign.gaps[0].contains("no rule"), "{:?}", campaign.gaps);
        assert!(campaign.whole);
    }

    #[test]
    fn the_extremes_are_kept() {
        let mut events = vec![promise("c")];
        for (op, from, to, outcome) in [
            (1, 10, 40, Outcome::SoldOut),
            (2, 20, 30, Outcome::SoldOut),
            (3, 5, 50, Outcome::NotStarted),
            (4, 7, 8, Outcome::NotStarted),
            (5, 1, 2, Outcome::Failed(Failure::NotConnected)),
            (6, 6, 45, Outcome::NotFound),
            (7, 2, 60, Outcome::NotFound),
            (8, 70, 90, Outcome::Ended),
            (9, 80, 85, Outcome::Ended),
        ] {
            events.extend([invoke(op, from), complete(op, to, outcome)]);
        }
        let evidence = collect(events);
        let campaign = &evidence.campaigns[0];
        assert_eq!(campaign.first_sold_out.as_ref().unwrap().op, 2);
        assert_eq!(campaign.last_sold_out.as_ref().unwrap().op, 2);
        assert_eq!(campaign.first_not_started.as_ref().unwrap().op, 4);
        assert_eq!(campaign.last_not_started.as_ref().unwrap().op, 4);
        assert_eq!(campaign.last_not_found.as_ref().unwrap().op, 6);
        assert_eq!(campaign.first_ended.as_ref().unwrap().op, 9);
        assert_eq!((campaign.counts.not_found, campaign.counts.ended), (2, 2));
        assert_eq!(campaign.counts.failed, 1);
    }
}
