//! What is kept of each campaign of a run, and what all of them together say. It is little: a run
//! can have thousands of them.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use contract::campaign::Window;
use contract::history::Promise;
use serde::Serialize;

use super::Launch;

/// So many coupons of a campaign are told apart, whatever memory there is.
const KEPT: u64 = 1_000_000;
/// So many names of campaigns are listed.
const LISTED: usize = 20;

/// How the campaigns of a run came out, by what their answers acknowledged.
///
/// The answers alone cannot prove a mistake: one that was lost may have held a coupon. The verifier
/// judges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CampaignsSummary {
    /// How many there are.
    pub count: u64,
    /// How many coupons each has; absent where they differ.
    pub coupons: Option<u64>,
    /// So many acknowledged exactly as many coupons as there were.
    pub exact: u64,
    /// So many acknowledged more.
    pub over: u64,
    /// So many said "sold out" and acknowledged fewer.
    pub short: u64,
    /// The others: they acknowledged fewer, and "sold out" was never said, or is not final there.
    pub never_sold_out: u64,
    /// The first of those that acknowledged more.
    pub over_ids: Vec<String>,
    /// The first of those that said "sold out" and acknowledged fewer.
    pub short_ids: Vec<String>,
}

/// The same figure of several campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Across {
    /// The smallest.
    pub least: f64,
    /// The one in the middle, or the lower of two.
    pub median: f64,
    /// The largest.
    pub most: f64,
}

impl Across {
    /// Nothing of nothing.
    fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let median = *figures.get(figures.len().checked_sub(1)? / 2)?;
        Some(Self { least: *figures.first()?, median, most: *figures.last()? })
    }
}

/// How the figures of [`Launch`] differ between campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LaunchAcross {
    /// From a campaign's start to its first answer with a coupon.
    pub start_delay_us: Option<Across>,
    /// From a campaign's start to its first sold-out answer.
    pub time_to_sell_out_us: Option<Across>,
    /// Coupons a second of each campaign.
    pub issue_rate: Option<Across>,
}

/// What is kept of one campaign.
#[derive(Debug)]
pub(super) struct Campaign {
    name: Box<str>,
    coupons: u64,
    restock: bool,
    /// Where its start lies; nothing where it could be anywhere.
    start: Option<Window>,
    /// Coupons that were acknowledged.
    issued: u64,
    /// The coupons in these answers, as hashes of their codes: a request that is repeated gets its
    /// coupon again. At most one more than there are coupons, and never more than [`KEPT`].
    acknowledged: HashSet<u64>,
    first_issued: Option<i64>,
    last_issued: Option<i64>,
    first_sold_out: Option<i64>,
}

/// How a campaign came out.
enum Fate {
    Exact,
    Over,
    Short,
    NeverSoldOut,
}

impl Campaign {
    fn new(promise: &Promise<'_>) -> Self {
        // A start that could be anywhere is none; the history says so in its gaps.
        let placed = promise.starts_at.earliest > i64::MIN;
        Self {
            name: promise.campaign.as_ref().into(),
            coupons: promise.coupons,
            restock: promise.restock,
            start: placed.then_some(promise.starts_at),
            issued: 0,
            acknowledged: HashSet::new(),
            first_issued: None,
            last_issued: None,
            first_sold_out: None,
        }
    }

    /// Its start: the middle of the window that it lies in.
    pub(super) fn start(&self) -> Option<i64> {
        self.start.map(|w| w.earliest + w.width() / 2)
    }

    /// Whether it was heard to be sold out.
    pub(super) fn is_sold_out(&self) -> bool {
        self.first_sold_out.is_some()
    }

    fn fate(&self) -> Fate {
        match (self.acknowledged.len() as u64).cmp(&self.coupons) {
            std::cmp::Ordering::Greater => Fate::Over,
            std::cmp::Ordering::Equal => Fate::Exact,
            // Where coupons come back, "sold out" is not the last word.
            std::cmp::Ordering::Less if self.is_sold_out() && !self.restock => Fate::Short,
            std::cmp::Ordering::Less => Fate::NeverSoldOut,
        }
    }

    /// What counts from its start.
    #[expect(clippy::cast_precision_loss, reason = "times and counts are far below 2^53")]
    fn launch(&self) -> Option<Launch> {
        let start = self.start()?;
        let since = |at: Option<i64>| at.map(|at| (at - start) as f64 / 1e3);
        let selling = self.last_issued.map(|at| at - start).filter(|ns| *ns > 0);
        let rate = |ns: i64| self.issued as f64 / (ns as f64 / 1e9);
        Some(Launch {
            start_uncertainty_us: self.start.map_or(0, Window::width) as f64 / 2e3,
            start_delay_us: since(self.first_issued),
            time_to_sell_out_us: since(self.first_sold_out),
            issue_rate: selling.map(rate),
            across: None,
        })
    }
}

/// All campaigns, in the order in which the history names them.
#[derive(Debug, Default)]
pub(super) struct Campaigns {
    list: Vec<Campaign>,
    by_name: HashMap<Box<str>, usize>,
    /// The one that was looked up last: neighbours in a history often share it.
    last: usize,
}

impl Campaigns {
    /// Takes a campaign's promise; what is promised twice keeps its first.
    pub(super) fn promise(&mut self, promise: &Promise<'_>) {
        if !self.by_name.contains_key(promise.campaign.as_ref()) {
            self.by_name.insert(promise.campaign.as_ref().into(), self.list.len());
            self.list.push(Campaign::new(promise));
        }
    }

    /// The number of the campaign with this name.
    pub(super) fn number(&mut self, name: &str) -> Option<usize> {
        if self.list.get(self.last).is_none_or(|c| *c.name != *name) {
            self.last = *self.by_name.get(name)?;
        }
        Some(self.last)
    }

    pub(super) fn get(&self, number: Option<usize>) -> Option<&Campaign> {
        self.list.get(number?)
    }

    /// A coupon was acknowledged.
    pub(super) fn issued(&mut self, number: Option<usize>, at: i64, code: &str) {
        let Some(campaign) = number.and_then(|n| self.list.get_mut(n)) else { return };
        let mut hasher = DefaultHasher::new();
        code.hash(&mut hasher);
        let room = campaign.acknowledged.len() as u64 <= campaign.coupons.min(KEPT);
        let is_new = room && campaign.acknowledged.insert(hasher.finish());
        // Beyond the coupons there are, nothing is kept, and each answer counts.
        if is_new || !room {
            campaign.issued += 1;
            earliest(&mut campaign.first_issued, at);
            campaign.last_issued = campaign.last_issued.max(Some(at));
        }
    }

    /// A request was told that all coupons are gone.
    pub(super) fn sold_out(&mut self, number: Option<usize>, at: i64) {
        if let Some(campaign) = number.and_then(|n| self.list.get_mut(n)) {
            earliest(&mut campaign.first_sold_out, at);
        }
    }

    /// Whether any start is known.
    pub(super) fn any_placed(&self) -> bool {
        self.list.iter().any(|c| c.start.is_some())
    }

    /// How many codes are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.list.iter().map(|c| c.acknowledged.len()).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// What counts from the start. Of several campaigns it is the worst figure of each kind, so that
    /// a threshold that holds does for all of them.
    pub(super) fn launch(&self) -> Option<Launch> {
        let each: Vec<Launch> = self.list.iter().filter_map(Campaign::launch).collect();
        let figures =
            |f: fn(&Launch) -> Option<f64>| Across::of(each.iter().filter_map(f).collect());
        let across = LaunchAcross {
            start_delay_us: figures(|l| l.start_delay_us),
            time_to_sell_out_us: figures(|l| l.time_to_sell_out_us),
            issue_rate: figures(|l| l.issue_rate),
        };
        // What did not happen in one of them did not happen in the worst.
        let all = |f: fn(&Launch) -> Option<f64>| {
            each.len() == self.list.len() && each.iter().all(|l| f(l).is_some())
        };
        let worst = |across: Option<Across>, f| across.filter(|_| all(f));
        Some(Launch {
            start_uncertainty_us: figures(|l| Some(l.start_uncertainty_us))?.most,
            start_delay_us: worst(across.start_delay_us, |l| l.start_delay_us).map(|a| a.most),
            time_to_sell_out_us: worst(across.time_to_sell_out_us, |l| l.time_to_sell_out_us)
                .map(|a| a.most),
            issue_rate: worst(across.issue_rate, |l| l.issue_rate).map(|a| a.least),
            across: (self.list.len() > 1).then_some(across),
        })
    }

    /// How they came out; nothing where there is only one, whose outcomes say it.
    pub(super) fn summary(&self) -> Option<CampaignsSummary> {
        let (first, others) = self.list.split_first().filter(|(_, others)| !others.is_empty())?;
        let alike = others.iter().all(|c| c.coupons == first.coupons);
        let mut summary = CampaignsSummary {
            count: self.list.len() as u64,
            coupons: alike.then_some(first.coupons),
            ..CampaignsSummary::default()
        };
        for campaign in &self.list {
            let (count, ids) = match campaign.fate() {
                Fate::Exact => (&mut summary.exact, None),
                Fate::Over => (&mut summary.over, Some(&mut summary.over_ids)),
                Fate::Short => (&mut summary.short, Some(&mut summary.short_ids)),
                Fate::NeverSoldOut => (&mut summary.never_sold_out, None),
            };
            *count += 1;
            if let Some(ids) = ids.filter(|ids| ids.len() < LISTED) {
                ids.push(campaign.name.to_string());
            }
        }
        Some(summary)
    }
}
/// Answers are not told in the order in which they came.
fn earliest(so_far: &mut Option<i64>, at: i64) {
    *so_far = Some(so_far.map_or(at, |so_far| so_far.min(at)));
}
