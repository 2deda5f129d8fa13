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

mod part;

use std::collections::HashSet;
use std::hash::Hash;
use std::io;

use contract::campaign::Precedence;
use contract::store::Column;
use contract::threads;

use super::acknowledged::{Acknowledged, Coupon, Plain};
use super::ledger::{Ledgers, PlainRows, Row};
use super::spill::{PARTS, Spill, hash, records};
use super::{CampaignEvidence, Evidence, Op};
pub(super) use part::Bytes;
use part::{Part, Slip};

/// What is not held in memory.
#[derive(Debug, Default)]
pub struct Aside {
    /// Coupons by their codes.
    told: Vec<Spill>,
    /// Names of those who were refused.
    refused: Vec<Spill>,
    /// Operations that are looked at whatever they are.
    keep: HashSet<u64>,
}

/// A user, or an idempotency key with its user, of one campaign, as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name(u64);

impl Name {
    /// A user.
    pub fn user(campaign: usize, user: &str) -> Self {
        Self(hash((campaign, "user", user)))
    }

    /// A key, with the user who used it.
    pub fn key(campaign: usize, user: Option<&str>, key: &str) -> Self {
        Self(hash((campaign, user, key)))
    }

    fn put(self, into: &mut Spill) {
        into.push(self.0, &self.0.to_ne_bytes());
    }

    fn all(part: &[u8]) -> impl Iterator<Item = Self> {
        records::<[u8; 8]>(part).map(|bytes| Self(u64::from_ne_bytes(bytes)))
    }
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
    pub(super) fn refused(&self, names: &HashSet<Name>) -> io::Result<HashSet<Name>> {
        let mut found = HashSet::new();
        if names.is_empty() || self.refused.is_empty() {
            return Ok(found);
        }
        let mut bytes = Vec::new();
        for at in 0..PARTS {
            read_part(&self.refused, at, &mut bytes)?;
            found.extend(Name::all(&bytes).filter(|name| names.contains(name)));
        }
        Ok(found)
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
    ledgers.put_aside();
    let sieve = Sieve::new(evidence, selected, ledgers);
    let doubtful = sieve.doubtful_names()?;
    let found = sieve.sift(&doubtful)?;
    found.into_iter().enumerate().for_each(|(at, mut sifted)| {
        evidence.campaigns[at].acknowledged = sifted.acknowledged();
        let ledger = selected.iter().position(|campaign| *campaign == at);
        let ledger = ledger.and_then(|at| ledgers.of.get_mut(at)?.as_mut());
        if let Some(ledger) = ledger {
            ledger.sifted(sifted.rows, sifted.plain_rows);
        }
    });
    Ok(())
}

/// What makes a coupon of one campaign plain.
#[derive(Debug)]
struct Rule<'a> {
    /// None is: its ranks, its reads or its holders are about all of them.
    none: bool,
    /// It was told at this moment or later.
    from: i64,
    /// It was asked for at this moment or earlier.
    until: i64,
    /// Whether a user may hold one only.
    limited: bool,
    /// What the store's rows must say; none where they are not known.
    rows: Option<Rows>,
    /// Codes that others were told they held.
    held: HashSet<&'a str>,
}

/// What plain rows of one campaign say.
#[derive(Clone, Copy, Debug)]
struct Rows {
    /// Not before this time, where the store says when the campaign started.
    starts_at_us: i64,
}

struct Sieve<'a> {
    rules: Vec<Rule<'a>>,
    aside: &'a Aside,
    ledgers: &'a Ledgers,
    selected: &'a [usize],
    /// Names that somebody has who may hold a coupon and was not told so.
    others: HashSet<Name>,
}

/// What was found of one campaign.
#[derive(Debug, Default)]
struct Sifted {
    coupons: Vec<Coupon>,
    plain: Plain,
    rows: Vec<Row>,
    plain_rows: PlainRows,
}

impl<'a> Rule<'a> {
    fn of(e: &'a CampaignEvidence, rows: Option<Rows>, lists_codes: bool) -> Self {
        let precedence = e.precedence();
        let sold_out_first = precedence == Some(Precedence::SoldOutFirst);
        let several = e.per_user.is_some_and(|limit| limit.limit > 1);
        let about_all = e.counts.ranked > 0
            || !e.reads.is_empty()
            || several
            || sold_out_first && e.counts.already_issued > 0;
        let not_started = e.last_not_started.as_ref().map_or(i64::MIN, |op| op.invoked);
        Self {
            none: about_all || !lists_codes,
            from: if e.start_is_placed() {
                e.starts_at.latest.max(not_started)
            } else {
                not_started
            },
            until: e.first_sold_out.as_ref().map_or(i64::MAX, Op::end),
            limited: e.per_user.is_some(),
            rows,
            held: e.holders.iter().filter_map(Op::code).collect(),
        }
    }
}

impl<'a> Sieve<'a> {
    fn new(evidence: &'a Evidence, selected: &'a [usize], ledgers: &'a Ledgers) -> Self {
        let mut rules: Vec<Rule<'a>> = Vec::with_capacity(evidence.campaigns.len());
        let mut others = HashSet::new();
        let mut ledger_of = vec![None; evidence.campaigns.len()];
        for (ledger, at) in ledgers.of.iter().zip(selected) {
            ledger_of[*at] = ledger.as_ref();
        }
        for (at, e) in evidence.campaigns.iter().enumerate() {
            let listed = ledger_of[at].filter(|ledger| !ledger.unlisted);
            let rows = listed.map(|l| Rows { starts_at_us: l.starts_at_us.unwrap_or(i64::MIN) });
            let codes = listed.is_none_or(|ledger| ledger.tells(Column::Code));
            let mut rule = Rule::of(e, rows, codes);
            rule.limited |= listed.is_some_and(|ledger| ledger.per_user_limit.is_some());
            rule.none |= listed.is_some_and(|ledger| ledger.per_user_limit > Some(1));
            rules.push(rule);
            for op in e.pending.iter().chain(&e.holders) {
                let user = op.user.as_deref();
                others.extend(user.map(|user| Name::user(at, user)));
                others.extend(op.key.as_deref().map(|key| Name::key(at, user, key)));
            }
        }
        Self { rules, aside: &evidence.aside, ledgers, selected, others }
    }

    /// The names of plain coupons that something else names as well.
    fn doubtful_names(&self) -> io::Result<HashSet<Name>> {
        let by_code = |at: usize, named: &mut Spill| {
            let mut bytes = Bytes::default();
            let part = self.part(at, &mut bytes)?;
            part.groups().for_each(|group| {
                group.names(&self.rules).for_each(|name| name.put(named));
            });
            Ok(())
        };
        let named: Vec<Spill> = in_parallel(by_code)?;
        let by_name = |at: usize, found: &mut HashSet<Name>| {
            let (mut named_here, mut refused) = (Vec::new(), Vec::new());
            read_part(&named, at, &mut named_here)?;
            read_part(&self.aside.refused, at, &mut refused)?;
            let mut once = HashSet::new();
            for name in Name::all(&named_here) {
                if !once.insert(name) || self.others.contains(&name) {
                    found.insert(name);
                }
            }
            found.extend(Name::all(&refused).filter(|name| once.contains(name)));
            Ok(())
        };
        let found: Vec<HashSet<Name>> = in_parallel(by_name)?;
        Ok(found.into_iter().flatten().collect())
    }

    fn sift(&self, doubtful: &HashSet<Name>) -> io::Result<Vec<Sifted>> {
        let by_code = |at: usize, found: &mut Vec<Sifted>| {
            found.resize_with(self.rules.len(), Sifted::default);
            let mut bytes = Bytes::default();
            let part = self.part(at, &mut bytes)?;
            for group in part.groups() {
                match group.plain(&self.rules, &self.aside.keep) {
                    Some(pair) if !pair.names(&self.rules).any(|n| doubtful.contains(&n)) => {
                        found[pair.campaign()].count(&pair);
                    }
                    Some(_) | None => group.keep(found),
                }
            }
            Ok(())
        };
        let mut all: Vec<Sifted> = Vec::new();
        all.resize_with(self.rules.len(), Sifted::default);
        for found in in_parallel(by_code)? {
            all.iter_mut().zip(found).for_each(|(all, found)| all.absorb(found));
        }
        all.iter_mut().for_each(Sifted::sort);
        Ok(all)
    }

    fn part<'b>(&self, at: usize, bytes: &'b mut Bytes) -> io::Result<Part<'b>> {
        read_part(&self.aside.told, at, &mut bytes.told)?;
        self.ledgers.part(at, bytes)?;
        Ok(bytes.part(self.selected))
    }
}

impl Sifted {
    fn count(&mut self, pair: &part::Pair<'_>) {
        self.plain.coupons += 1;
        self.plain.named |= pair.told.user.is_some();
        if let Some(row) = &pair.row {
            self.plain_rows.add(row.seq);
        }
    }

    fn absorb(&mut self, other: Self) {
        self.coupons.extend(other.coupons);
        self.plain.coupons += other.plain.coupons;
        self.plain.named |= other.plain.named;
        self.rows.extend(other.rows);
        self.plain_rows.absorb(other.plain_rows);
    }

    /// In the order in which all of them would stand.
    fn sort(&mut self) {
        self.coupons.sort_by_key(|coupon| coupon.told.op);
        self.rows.sort_by(|a, b| (a.seq, &a.code).cmp(&(b.seq, &b.code)));
    }

    fn acknowledged(&mut self) -> Acknowledged {
        Acknowledged::sifted(std::mem::take(&mut self.coupons), self.plain)
    }
}

/// Does the work for each part on all processors; what each of them found.
fn in_parallel<T: Default + Send>(
    work: impl Fn(usize, &mut T) -> io::Result<()> + Sync,
) -> io::Result<Vec<T>> {
    let done = threads::share(PARTS, |parts| {
        let mut found = T::default();
        for at in parts {
            work(at, &mut found)?;
        }
        Ok(found)
    });
    done.into_iter().collect()
}
