//! Whether coupons that were told their ranks came in that order.
//!
//! Number 5 must not have been sent after number 7 was over: each rank is held against the latest
//! moment at which a lower one was sent, and against the earliest at which a higher one was over.
//! The trick is that ranks are dense. So coupons are put aside by their ranks, part after part, and with
//! these two moments of all parts before and all parts behind, each part is looked at alone.
//!
//! A coupon in its place has the slot of its rank and no other. What any other request can learn from all of
//! those together is which was the last to be over before it was sent, and the first to be sent after it
//! was over; so these are looked at as well.

use std::collections::{HashMap, HashSet};
use std::io;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::super::acknowledged::Numbers;
use super::super::spill::{PARTS, Spill, records};
use super::super::{CampaignEvidence, Op};
use super::part::Slip;
use super::{in_parallel, read_part};

/// Where the coupons of each rank stand.
#[derive(Debug)]
pub(super) struct Shelves {
    /// Of each campaign, where it begins, and how many ranks have a place of their own.
    campaigns: Vec<(u64, u64)>,
    all: u64,
}

/// Coupons that were told their ranks.
#[derive(Debug, Default)]
pub(super) struct Ranked {
    spills: Vec<Spill>,
    ends: HashMap<(usize, usize), Ends, FixedState>,
    /// When others were sent and over that may have got a coupon, by campaign.
    others: HashMap<usize, Moments, FixedState>,
}

/// A coupon of this rank.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Entry {
    campaign: usize,
    rank: u64,
    op: u64,
    /// Where it stands among the codes.
    part: usize,
    sent: i64,
    over: i64,
    /// Nothing but its rank can be wrong.
    plain: bool,
}

/// The latest that any was sent, and the earliest that any was over.
#[derive(Clone, Copy, Debug)]
struct Ends {
    sent: i64,
    over: i64,
    /// The same of plain ones.
    plain_sent: i64,
    plain_over: i64,
}

/// When requests were sent and over.
#[derive(Clone, Debug, Default)]
struct Moments {
    sent: Vec<i64>,
    over: Vec<i64>,
}

/// What stands before and behind each shelf of a campaign.
type Around = HashMap<(usize, usize), (Ends, Ends), FixedState>;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Operations that are looked at, by the parts where their codes stand.
    pub(super) keep: HashMap<usize, HashSet<u64>>,
    /// The ranks of all others, by campaign.
    pub(super) ranks: HashMap<usize, Vec<Numbers>>,
    /// When those were sent and over that are not in their place.
    misplaced: HashMap<usize, Moments, FixedState>,
}

impl Shelves {
    /// Of campaigns whose ranks are told.
    pub(super) fn of(campaigns: &[CampaignEvidence]) -> Self {
        // A rank beyond these is wrong, or far from it.
        Self::with(campaigns.iter().map(|e| e.counts.issued + e.counts.indeterminate + 1))
    }

    /// Of campaigns with so many ranks each, from 0 on.
    pub(super) fn with(ranks: impl Iterator<Item = u64>) -> Self {
        let mut all = 0_u64;
        let begin = |ranks: u64| {
            all = all.saturating_add(ranks);
            (all.saturating_sub(ranks), ranks)
        };
        Self { campaigns: ranks.map(begin).collect(), all }
    }

    /// How many places there are.
    pub(super) fn len(&self) -> u64 {
        self.all
    }

    /// Where the ranks of a campaign begin, with 0, and how many have a place of their own.
    pub(super) fn of_campaign(&self, campaign: usize) -> (u64, u64) {
        self.campaigns[campaign]
    }

    fn part(&self, campaign: usize, rank: u64) -> usize {
        let (begin, ranks) = self.of_campaign(campaign);
        let at = u128::from(begin + rank.min(ranks - 1));
        let part = at * PARTS as u128 / u128::from(self.all.max(1));
        usize::try_from(part).unwrap_or(PARTS).min(PARTS - 1)
    }
}

impl Default for Ends {
    fn default() -> Self {
        let (sent, over) = (i64::MIN, i64::MAX);
        Self { sent, over, plain_sent: sent, plain_over: over }
    }
}

impl Ends {
    fn saw(&mut self, entry: &Entry) {
        self.sent = self.sent.max(entry.sent);
        self.over = self.over.min(entry.over);
        if entry.plain {
            self.plain_sent = self.plain_sent.max(entry.sent);
            self.plain_over = self.plain_over.min(entry.over);
        }
    }

    fn with(self, other: &Self) -> Self {
        Self {
            sent: self.sent.max(other.sent),
            over: self.over.min(other.over),
            plain_sent: self.plain_sent.max(other.plain_sent),
            plain_over: self.plain_over.min(other.plain_over),
        }
    }
}

impl Moments {
    fn absorb(&mut self, other: Self) {
        self.sent.extend(other.sent);
        self.over.extend(other.over);
    }

    fn sort(&mut self) {
        for moments in [&mut self.sent, &mut self.over] {
            moments.sort_unstable();
            moments.dedup();
        }
    }
}

impl Ranked {
    /// Takes a coupon whose code stands in this part. It was over at this moment, or had to be. It is a
    /// plain one if nothing but its rank can be wrong.
    pub(super) fn tell(
        &mut self,
        shelves: &Shelves,
        (slip, rank): (&Slip<'_>, Option<u64>),
        (part, over): (usize, i64),
        plain: bool,
    ) {
        let Slip { campaign, op, invoked: sent, completed, .. } = *slip;
        if !plain {
            let others = self.others.entry(campaign).or_default();
            others.sent.push(sent);
            others.over.extend(completed);
            if completed != Some(over) {
                others.over.extend([over, sent]);
            }
        }
        let Some(rank) = rank else { return };
        let entry = Entry { campaign, rank, op, part, sent, over, plain };
        let shelf = shelves.part(campaign, rank);
        self.ends.entry((campaign, shelf)).or_default().saw(&entry);
        if self.spills.is_empty() {
            self.spills.push(Spill::default());
        }
        self.spills[0].push_to(shelf, &entry);
    }

    /// Takes what another thread took.
    ///
    /// # Errors
    /// When the disk is full.
    pub(super) fn absorb(&mut self, mut other: Self) -> io::Result<()> {
        other.spills.iter_mut().try_for_each(Spill::flush)?;
        self.spills.extend(other.spills);
        for (at, ends) in other.ends {
            let all = self.ends.entry(at).or_default();
            *all = all.with(&ends);
        }
        for (campaign, moments) in other.others {
            self.others.entry(campaign).or_default().absorb(moments);
        }
        Ok(())
    }

    /// These may have got a coupon of the campaign as well, or were told that it was there.
    pub(super) fn ask(&mut self, campaign: usize, e: &CampaignEvidence) {
        let others = self.others.entry(campaign).or_default();
        others.sent.extend(e.pending.iter().map(|op| op.invoked));
        if !e.holders.is_empty() {
            others.over.extend(e.pending.iter().map(|op| op.invoked));
            others.over.extend(e.holders.iter().map(Op::end));
        }
    }

    /// Looks at all ranks. These operations are looked at whatever they are.
    ///
    /// # Errors
    /// When the disk was full.
    pub(super) fn look(mut self, kept: &HashMap<u64, usize>) -> io::Result<Order> {
        let around = self.around();
        let found = self.round(&around, kept)?;
        if found.misplaced.is_empty() {
            return Ok(found);
        }
        // They may be anywhere, so they ask as well.
        for (campaign, moments) in found.misplaced {
            self.others.entry(campaign).or_default().absorb(moments);
        }
        self.round(&around, kept)
    }

    fn round(&mut self, around: &Around, kept: &HashMap<u64, usize>) -> io::Result<Order> {
        self.others.values_mut().for_each(Moments::sort);
        let shelf = |at: usize, order: &mut Order| self.shelf(at, (around, kept), order);
        let found = in_parallel(shelf)?;
        let mut all = Order::default();
        found.into_iter().for_each(|found| all.absorb(found));
        all.ranks.values_mut().for_each(join_runs);
        Ok(all)
    }

    /// What stands before and behind each shelf of a campaign.
    fn around(&self) -> Around {
        let mut shelves: Vec<(&(usize, usize), &Ends)> = self.ends.iter().collect();
        shelves.sort_unstable_by_key(|(at, _)| **at);
        let mut around = Around::default();
        for shelves in shelves.chunk_by(|(a, _), (b, _)| a.0 == b.0) {
            let mut before = Ends::default();
            for (at, ends) in shelves {
                around.insert(**at, (before, Ends::default()));
                before = before.with(ends);
            }
            let mut behind = Ends::default();
            for (at, ends) in shelves.iter().rev() {
                around.entry(**at).or_default().1 = behind;
                behind = behind.with(ends);
            }
        }
        around
    }

    fn shelf(
        &self,
        at: usize,
        (around, kept): (&Around, &HashMap<u64, usize>),
        order: &mut Order,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        read_part(&self.spills, at, &mut bytes)?;
        let mut entries: Vec<Entry> = records(&bytes).collect();
        entries.sort_unstable_by_key(|entry| (entry.campaign, entry.rank, entry.op));
        for entries in entries.chunk_by(|a, b| a.campaign == b.campaign) {
            let campaign = entries[0].campaign;
            let around = around.get(&(campaign, at)).copied().unwrap_or_default();
            let misplaced = misplaced(entries, around);
            let mut wanted = misplaced.clone();
            if let Some(others) = self.others.get(&campaign) {
                tell_others(entries, around, others, &mut wanted);
            }
            for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.plain) {
                let wanted = wanted[at] || kept.contains_key(&entry.op);
                order.sort_in(entry, misplaced[at], wanted);
            }
        }
        Ok(())
    }
}

/// Those that are not alone in their rank, or not in their place.
fn misplaced(entries: &[Entry], (before, behind): (Ends, Ends)) -> Vec<bool> {
    let mut found = vec![false; entries.len()];
    let (mut sent, mut over) = (before.sent, behind.over);
    for (at, entry) in entries.iter().enumerate() {
        found[at] |= entry.over < sent;
        sent = sent.max(entry.sent);
        let twin = entries.get(at + 1).is_some_and(|next| next.rank == entry.rank);
        if twin {
            (found[at], found[at + 1]) = (true, true);
        }
    }
    for (at, entry) in entries.iter().enumerate().rev() {
        found[at] |= entry.sent > over;
        over = over.min(entry.over);
    }
    found
}

/// Those by which others can tell where they stand: the highest rank that was over before one was sent,
/// and the lowest that was sent after it was over.
fn tell_others(
    entries: &[Entry],
    (before, behind): (Ends, Ends),
    others: &Moments,
    wanted: &mut [bool],
) {
    let (mut latest, mut earliest) = (before.plain_sent, behind.plain_over);
    let plain = || entries.iter().enumerate().filter(|(_, entry)| entry.plain);
    for (at, entry) in plain() {
        let from = others.over.partition_point(|over| *over < latest);
        let between = others.over.get(from).is_some_and(|over| *over < entry.sent);
        wanted[at] |= between;
        latest = latest.max(entry.sent);
    }
    for (at, entry) in plain().rev() {
        let from = others.sent.partition_point(|sent| *sent <= entry.over);
        let between = others.sent.get(from).is_some_and(|sent| *sent <= earliest);
        wanted[at] |= between;
        earliest = earliest.min(entry.over);
    }
}

impl Order {
    fn sort_in(&mut self, entry: &Entry, misplaced: bool, wanted: bool) {
        if misplaced {
            let moments = self.misplaced.entry(entry.campaign).or_default();
            moments.sent.push(entry.sent);
            moments.over.push(entry.over);
        }
        if wanted {
            self.keep.entry(entry.part).or_default().insert(entry.op);
            return;
        }
        let runs = self.ranks.entry(entry.campaign).or_default();
        match runs.last_mut() {
            Some(run) if run.last + 1 == entry.rank => run.last = entry.rank,
            Some(_) | None => runs.push(Numbers::one(entry.rank)),
        }
    }

    fn absorb(&mut self, other: Self) {
        for (part, ops) in other.keep {
            self.keep.entry(part).or_default().extend(ops);
        }
        for (campaign, runs) in other.ranks {
            self.ranks.entry(campaign).or_default().extend(runs);
        }
        for (campaign, moments) in other.misplaced {
            self.misplaced.entry(campaign).or_default().absorb(moments);
        }
    }
}

/// In order, and those that touch as one.
fn join_runs(runs: &mut Vec<Numbers>) {
    runs.sort_unstable();
    runs.dedup_by(|next, run| {
        let touch = run.last + 1 == next.first;
        if touch {
            run.last = next.last;
        }
        touch
    });
}
