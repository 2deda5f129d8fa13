//! Which coupons are plain, where there are too many to hold.
//!
//! A coupon is plain where nothing but its number can be wrong: its code is one and nobody else's, it
//! was asked for before anybody was told "sold out" and told after the start, nothing else names its
//! user or its key, and the store's row of it, if there is a store, agrees. What a check could say of a
//! plain coupon it can say of any other, so plain ones are counted, and the others are looked at as
//! ever.
//!
//! The trick is to put coupons and rows aside by their codes, in [parts](Spill) that fit into memory.
//! Each part alone tells whose code is somebody else's. Names cross parts: they are put aside as
//! hashes, by those hashes, and each of *those* parts alone tells which ones are named twice. Two names
//! with one hash cost a look and hide nothing.

mod compare;
mod marks;
mod name;
mod order;
mod part;
mod recall;
mod rule;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

use contract::threads;
use roaring::RoaringTreemap;

use super::acknowledged::{Acknowledged, Coupon, Numbers, Plain};
use super::ledger::{Ledgers, PlainRows, Row};
use super::spill::{PARTS, Spill, hash, records};
use super::{CampaignEvidence, Evidence};
use marks::Marks;
pub use name::{Name, Names};
use order::{Ranked, Shelves};
pub(super) use part::Bytes;
use part::{Group, Pair, Part, Slip};
use rule::Rule;

/// What is not held in memory.
#[derive(Clone, Debug, Default)]
pub struct Aside {
    /// Coupons by their codes.
    told: Vec<Spill>,
    /// Names of those who were refused.
    refused: Vec<Spill>,
    /// Operations that are looked at whatever they are.
    keep: HashSet<u64>,
    /// Coupons, by their operations, that turned out not to be plain.
    held: RoaringTreemap,
}

impl Aside {
    /// Notes that somebody was refused.
    pub fn refuse(&mut self, name: &Name) {
        if self.refused.is_empty() {
            self.refused.push(Spill::default());
        }
        name.put(&mut self.refused[0]);
    }

    /// Puts a coupon aside.
    pub fn tell(&mut self, campaign: usize, coupon: &Coupon) {
        if self.told.is_empty() {
            self.told.push(Spill::default());
        }
        let slip = Slip::of(campaign, coupon);
        self.told[0].push(hash(slip.code), &slip);
    }

    /// These operations are no plain ones.
    pub fn keep(&mut self, ops: impl Iterator<Item = u64>) {
        self.keep.extend(ops);
    }

    /// Takes what is in another one.
    pub fn absorb(&mut self, other: Self) {
        self.told.extend(other.told);
        self.refused.extend(other.refused);
        self.keep.extend(other.keep);
    }

    /// Whether coupons are among it.
    pub fn has_coupons(&self) -> bool {
        !self.told.is_empty()
    }

    /// Which of these names were refused.
    ///
    /// # Errors
    /// When the disk was full.
    pub(super) fn refused(&self, names: &Names) -> io::Result<Names> {
        let mut found = Names::default();
        if names.is_empty() || self.refused.is_empty() {
            return Ok(found);
        }
        let mut bytes = Vec::new();
        let parts: BTreeSet<usize> = names.iter().map(|name| name.part()).collect();
        for at in parts {
            read_part(&self.refused, at, &mut bytes)?;
            found.extend(Name::all(at, &bytes).filter(|name| names.contains(name)));
        }
        Ok(found)
    }

    /// Takes out of memory what is little.
    ///
    /// # Errors
    /// When the disk is full.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.told.iter_mut().chain(&mut self.refused).try_for_each(Spill::flush)
    }
}

fn read_part(spills: &[Spill], at: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    spills.iter().try_for_each(|spill| spill.part(at, bytes))
}

/// Looks at all coupons and all rows, and leaves in memory those that are not plain; all of them where
/// there are few coupons. `selected` says which campaign each ledger is of.
///
/// # Errors
/// When the disk was full.
pub fn sift(evidence: &mut Evidence, selected: &[usize], ledgers: &mut Ledgers) -> io::Result<()> {
    if !evidence.aside.has_coupons() {
        return ledgers.take_back();
    }
    ledgers.put_aside()?;
    let sieve = Sieve::new(evidence, selected, ledgers);
    let (mut all, ranked, marks) = sieve.sift()?;
    let outermost = sieve.outermost(&all)?;
    let mut order = ranked.look(&outermost)?;
    for (op, part) in outermost {
        order.keep.entry(part).or_default().insert(op);
    }
    sieve.take_back(&mut all, &order.keep, &marks)?;
    for (at, sifted) in all.of.iter_mut().enumerate() {
        marks.give(at, &mut sifted.plain_rows);
    }
    evidence.aside.held = all.held;
    all.of.into_iter().enumerate().for_each(|(at, mut sifted)| {
        sifted.plain.ranked = order.ranks.remove(&at).unwrap_or_default();
        sifted.sort();
        evidence.campaigns[at].acknowledged = sifted.acknowledged();
        let ledger = selected.iter().position(|campaign| *campaign == at);
        let ledger = ledger.and_then(|at| ledgers.of.get_mut(at)?.as_mut());
        if let Some(ledger) = ledger {
            ledger.sifted(sifted.rows, sifted.plain_rows);
        }
    });
    Ok(())
}

struct Sieve<'a> {
    campaigns: &'a [CampaignEvidence],
    rules: Vec<Rule<'a>>,
    shelves: Shelves,
    aside: &'a Aside,
    ledgers: &'a Ledgers,
    selected: &'a [usize],
    /// Names that somebody has who may hold a coupon and was not told so.
    others: Names,
}

/// What was found of all campaigns.
#[derive(Debug, Default)]
struct All {
    of: Vec<Sifted>,
    /// Coupons, by their operations, that are not plain.
    held: RoaringTreemap,
}

/// What was taken back of what had been counted.
#[derive(Debug, Default)]
struct Back {
    all: All,
    /// The campaign of each, the number of its row, and its own numbers where they were not told.
    counted: Vec<(usize, Option<i64>, Option<Numbers>)>,
}

/// What was found of one campaign.
#[derive(Debug, Default)]
struct Sifted {
    coupons: Vec<Coupon>,
    plain: Plain,
    rows: Vec<Row>,
    plain_rows: PlainRows,
    /// Coupons that were kept as the outermost are told again, or their requests were sent before: then
    /// they need not be the outermost of all.
    inner: bool,
}

/// The coupons that were over first, and those that were sent and over last, two of each: moment, operation
/// and part.
#[derive(Debug, Default)]
struct Extremes([[Option<(i64, u64, usize)>; 2]; 3]);

impl<'a> Sieve<'a> {
    fn new(evidence: &'a Evidence, selected: &'a [usize], ledgers: &'a Ledgers) -> Self {
        let mut ledger_of = vec![None; evidence.campaigns.len()];
        for (ledger, at) in ledgers.of.iter().zip(selected) {
            ledger_of[*at] = ledger.as_ref();
        }
        let campaigns = evidence.campaigns.as_slice();
        let rules = campaigns.iter().zip(ledger_of).map(|(e, ledger)| Rule::of(e, ledger));
        let mut others = Names::default();
        for (at, e) in campaigns.iter().enumerate() {
            for op in e.pending.iter().chain(&e.holders) {
                let user = op.user.as_deref();
                others.extend(user.map(|user| Name::user(at, user)));
                others.extend(op.key.as_deref().map(|key| Name::key(at, user, key)));
            }
        }
        let (rules, shelves) = (rules.collect(), Shelves::of(campaigns));
        Self { campaigns, rules, shelves, aside: &evidence.aside, ledgers, selected, others }
    }

    /// Those that are not plain, and the ranks of those that may be.
    ///
    /// Most names that are not alone are known before: then one pass is enough. Where further ones turn
    /// up, there is another.
    fn sift(&self) -> io::Result<(All, Ranked, Marks<'_>)> {
        let (sifted, named) = self.pass(&self.others)?;
        let mut doubtful = self.doubtful_names(&named)?;
        if doubtful.is_empty() {
            return Ok(sifted);
        }
        doubtful.extend(&self.others);
        Ok(self.pass(&doubtful)?.0)
    }

    /// Looks at each code once: no coupon with one of these names is plain. All names, and what was sifted.
    fn pass(&self, doubtful: &Names) -> io::Result<((All, Ranked, Marks<'_>), Vec<Spill>)> {
        let marks = Marks::on(&self.shelves);
        let by_code = |at: usize, (all, ranked, named): &mut (All, Ranked, Spill)| {
            all.of.resize_with(self.rules.len(), Sifted::default);
            let mut bytes = Bytes::default();
            let part = self.part(at, &mut bytes)?;
            for group in part.groups() {
                let mut doubted = false;
                for name in group.names(&self.rules) {
                    name.put(named);
                    doubted |= doubtful.contains(&name);
                }
                let plain = group.plain(&self.rules, &self.aside.keep).filter(|_| !doubted);
                group.told.iter().for_each(|slip| self.rank(at, slip, plain.is_some(), ranked));
                match plain {
                    Some(pair) => all.of[pair.campaign()].count(&pair, &marks),
                    None => {
                        let again = doubted || group.told.len() > 1;
                        let kept = |slip: &&Slip<'_>| again && self.aside.keep.contains(&slip.op);
                        let inner = group.told.iter().filter(kept);
                        inner.for_each(|slip| all.of[slip.campaign].inner = true);
                        all.keep(&group);
                    }
                }
            }
            Ok(())
        };
        let (mut all, mut ranked, mut names) = (All::default(), Ranked::default(), Vec::new());
        for (found, told, mut named) in in_parallel(by_code)? {
            named.flush()?;
            names.push(named);
            all.absorb(found);
            ranked.absorb(told)?;
        }
        for (at, e) in self.campaigns.iter().enumerate() {
            if self.rules[at].compares_ranks() {
                ranked.ask(at, e);
            }
        }
        Ok(((all, ranked, marks), names))
    }

    /// Those of the names that are not alone, but for those that are known not to be.
    fn doubtful_names(&self, named: &[Spill]) -> io::Result<Names> {
        let by_name = |at: usize, found: &mut Names| {
            let (mut named_here, mut refused) = (Vec::new(), Vec::new());
            read_part(named, at, &mut named_here)?;
            read_part(&self.aside.refused, at, &mut refused)?;
            let mut once = Names::default();
            once.reserve(Name::all(at, &named_here).len());
            let again = Name::all(at, &named_here).filter(|name| !once.insert(*name));
            found.extend(again);
            found.extend(Name::all(at, &refused).filter(|name| once.contains(name)));
            Ok(())
        };
        let found: Vec<Names> = in_parallel(by_name)?;
        Ok(found.into_iter().flatten().filter(|name| !self.others.contains(name)).collect())
    }

    fn rank(&self, part: usize, slip: &Slip<'_>, plain: bool, ranked: &mut Ranked) {
        let rule = &self.rules[slip.campaign];
        if !rule.compares_ranks() {
            return;
        }
        let rank = slip.rank().number(self.campaigns[slip.campaign].coupons);
        let over = rule.seen.over(slip).min(rule.held_by(slip.user));
        ranked.tell(&self.shelves, (slip, rank), (part, over), plain);
    }

    /// Takes back those that are not in their place, or tell others theirs.
    fn take_back(
        &self,
        all: &mut All,
        keep: &HashMap<usize, HashSet<u64>>,
        marks: &Marks<'_>,
    ) -> io::Result<()> {
        let parts: Vec<usize> = keep.keys().copied().collect();
        let by_code = |at: usize, found: &mut Back| {
            let (at, mut bytes) = (parts[at], Bytes::default());
            found.all.of.resize_with(self.rules.len(), Sifted::default);
            let part = self.part(at, &mut bytes)?;
            for group in part.groups().filter(|g| g.told.iter().any(|t| keep[&at].contains(&t.op)))
            {
                if let Some(pair) = group.plain(&self.rules, &self.aside.keep) {
                    let silent = pair.told.rank().is_silent().then_some(pair.numbers);
                    found.counted.push((pair.campaign(), pair.row.map(|row| row.seq), silent));
                }
                found.all.keep(&group);
            }
            Ok(())
        };
        for found in in_parallel_of(parts.len(), by_code)? {
            all.absorb(found.all);
            for (campaign, row, silent) in found.counted {
                all.of[campaign].uncount(campaign, (row, silent), marks);
            }
        }
        Ok(())
    }

    /// The outermost plain coupons, with their parts, where those that were kept as such are none.
    fn outermost(&self, all: &All) -> io::Result<HashMap<u64, usize>> {
        if all.of.iter().all(|sifted| !sifted.inner) {
            return Ok(HashMap::new());
        }
        let wanted = |slip: &Slip<'_>| all.of[slip.campaign].inner && !all.held.contains(slip.op);
        let by_code = |at: usize, found: &mut HashMap<usize, Extremes>| {
            let mut bytes = Vec::new();
            read_part(&self.aside.told, at, &mut bytes)?;
            for slip in records::<Slip<'_>>(&bytes).filter(wanted) {
                found.entry(slip.campaign).or_default().saw(&slip, at);
            }
            Ok(())
        };
        let mut of: HashMap<usize, Extremes> = HashMap::new();
        for (campaign, found) in in_parallel(by_code)?.into_iter().flatten() {
            of.entry(campaign).or_default().absorb(found);
        }
        let ops = of.values().flat_map(|extremes| extremes.0.iter().flatten().flatten());
        Ok(ops.map(|(_, op, part)| (*op, *part)).collect())
    }

    fn part<'b>(&self, at: usize, bytes: &'b mut Bytes) -> io::Result<Part<'b>> {
        read_part(&self.aside.told, at, &mut bytes.told)?;
        self.ledgers.part(at, bytes)?;
        Ok(bytes.part(self.selected))
    }
}

impl All {
    fn keep(&mut self, group: &Group<'_, '_>) {
        self.held.extend(group.told.iter().map(|slip| slip.op));
        group.keep(&mut self.of);
    }

    fn absorb(&mut self, other: Self) {
        self.of.resize_with(self.of.len().max(other.of.len()), Sifted::default);
        self.of.iter_mut().zip(other.of).for_each(|(own, other)| own.absorb(other));
        self.held |= other.held;
    }
}

impl Sifted {
    fn count(&mut self, pair: &Pair<'_>, marks: &Marks<'_>) {
        self.plain.coupons += 1;
        self.plain.named |= pair.told.user.is_some();
        self.plain.was_told(pair.told.completed.unwrap_or(i64::MAX));
        if pair.told.rank().is_silent() {
            *self.plain.unranked.entry(pair.numbers).or_default() += 1;
        }
        if let Some(row) = &pair.row {
            marks.add(pair.campaign(), row.seq, &mut self.plain_rows);
        }
    }

    fn uncount(
        &mut self,
        campaign: usize,
        (row, silent): (Option<i64>, Option<Numbers>),
        marks: &Marks<'_>,
    ) {
        self.plain.coupons -= 1;
        let left = silent.and_then(|numbers| self.plain.unranked.get_mut(&numbers));
        left.into_iter().for_each(|left| *left -= 1);
        if let Some(seq) = row {
            marks.remove(campaign, seq, &mut self.plain_rows);
        }
    }

    fn absorb(&mut self, other: Self) {
        self.coupons.extend(other.coupons);
        self.plain.coupons += other.plain.coupons;
        self.plain.named |= other.plain.named;
        for at in other.plain.ends.into_iter().flat_map(|(first, last)| [first, last]) {
            self.plain.was_told(at);
        }
        for (numbers, coupons) in other.plain.unranked {
            *self.plain.unranked.entry(numbers).or_default() += coupons;
        }
        self.rows.extend(other.rows);
        self.plain_rows.absorb(other.plain_rows);
        self.inner |= other.inner;
    }

    /// In the order in which all of them would stand.
    fn sort(&mut self) {
        self.coupons.sort_by_key(|coupon| coupon.told.op);
        self.rows.sort_by(|a, b| (a.seq, &a.code).cmp(&(b.seq, &b.code)));
    }

    fn acknowledged(&mut self) -> Acknowledged {
        Acknowledged::sifted(std::mem::take(&mut self.coupons), std::mem::take(&mut self.plain))
    }
}

impl Extremes {
    fn saw(&mut self, told: &Slip<'_>, part: usize) {
        let over = told.completed.unwrap_or(i64::MAX);
        let keys = [over, told.invoked.saturating_neg(), over.saturating_neg()];
        for (least, key) in self.0.iter_mut().zip(keys) {
            Self::keep_two(least, (key, told.op, part));
        }
    }

    fn absorb(&mut self, other: Self) {
        for (least, others) in self.0.iter_mut().zip(other.0) {
            others.into_iter().flatten().for_each(|one| Self::keep_two(least, one));
        }
    }

    fn keep_two(least: &mut [Option<(i64, u64, usize)>; 2], mut one: (i64, u64, usize)) {
        for kept in least {
            match kept {
                Some(other) if *other < one => {}
                Some(other) => std::mem::swap(other, &mut one),
                None => {
                    *kept = Some(one);
                    return;
                }
            }
        }
    }
}

/// Does the work for each part on all processors; what each of them found.
fn in_parallel<T: Default + Send>(
    work: impl Fn(usize, &mut T) -> io::Result<()> + Sync,
) -> io::Result<Vec<T>> {
    in_parallel_of(PARTS, work)
}

fn in_parallel_of<T: Default + Send>(
    jobs: usize,
    work: impl Fn(usize, &mut T) -> io::Result<()> + Sync,
) -> io::Result<Vec<T>> {
    let done = threads::share(jobs, |parts| {
        let mut found = T::default();
        for at in parts {
            work(at, &mut found)?;
        }
        Ok(found)
    });
    done.into_iter().collect()
}
