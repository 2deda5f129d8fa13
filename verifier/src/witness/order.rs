//! Whether a few operations can stand in an order with any others, by counting.
//!
//! Every operation says how many coupons had been issued at least by its end, and at most at its
//! beginning. More is not needed: two of these contradict each other, or too many or too few coupons
//! lie between them.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, anyhow, ensure};
use contract::campaign::Precedence;
use contract::outcome::{Observation, Outcome};

use super::claim::listed;
use super::context::{Context, agree};
use super::{Facts, Raw, Terms};

/// One coupon: whose it is, where that decides, else the key or the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner<'a> {
    User(&'a str),
    Key(Option<&'a str>, &'a str),
    Request(u64),
}

/// Key and code, and the request where it carries no key: answers that told about one coupon.
type Answer<'a> = (Option<&'a str>, &'a str, Option<u64>);

/// What is known of one coupon.
#[derive(Clone, Debug)]
struct Holding<'a> {
    /// Nothing that can have consumed it was sent before.
    begin: i64,
    /// It was there by then.
    end: i64,
    rank: Option<i128>,
    code: Option<&'a str>,
    /// Its owner was told "already issued".
    already: bool,
    certain: bool,
}

/// How many coupons a read says were issued.
pub(super) fn seen(raw: &Raw, coupons: u64) -> Option<i128> {
    match raw.outcome()? {
        Outcome::Read(Observation::Issued(n)) => Some(i128::from(*n)),
        Outcome::Read(Observation::Remaining(n)) => Some(i128::from(coupons) - i128::from(*n)),
        Outcome::Read(Observation::Codes(_)) => listed(raw).ok().map(|codes| codes.len() as i128),
        Outcome::Issued(_) | Outcome::SoldOut | Outcome::NotStarted => None,
        Outcome::AlreadyIssued(_) | Outcome::Failed(_) => None,
        Outcome::NotFound | Outcome::Ended => None,
        Outcome::Indeterminate(_) | Outcome::Pending => None,
    }
}

/// The ranks that an answer told.
pub(super) fn ranks(raw: &Raw, coupons: u64) -> Vec<i128> {
    let Some(Outcome::Issued(coupon)) = raw.outcome() else { return Vec::new() };
    let left = coupon.remaining.map(|left| i128::from(coupons) - i128::from(left));
    coupon.seq.map(i128::from).into_iter().chain(left).collect()
}

/// What can be counted in one campaign.
struct Tally<'a> {
    about: &'a Context,
    facts: &'a Facts,
    terms: &'a Terms,
    /// The moment by which somebody was told that the campaign is over.
    over_by: i64,
}

impl<'a> Tally<'a> {
    fn new(about: &'a Context, facts: &'a Facts) -> Result<Self> {
        let terms = facts.terms.get(&about.campaign).ok_or_else(|| anyhow!("nothing promised"))?;
        let here =
            |raw: &&Raw| raw.sent.as_ref().is_some_and(|sent| *sent.campaign == *about.campaign);
        let ended = |raw: &Raw| match &raw.completed {
            Some((over, Outcome::Ended)) => Some(*over),
            _ => None,
        };
        let over_by = facts.ops.values().filter(here).filter_map(ended).min();
        Ok(Self { about, facts, terms, over_by: over_by.unwrap_or(i64::MAX) })
    }

    /// Whether the store holds the coupon of this lost request.
    fn is_stored(&self, op: u64) -> bool {
        self.about.store.as_ref().is_some_and(|store| store.resolved.contains_key(&op))
    }

    /// Its code, where no other request can have left it there.
    fn stored_code(&self, op: u64) -> Option<&'a str> {
        self.about.store.as_ref()?.resolved.get(&op)?.as_deref()
    }

    /// Whether a lost request can have left a row in the store, where every coupon has one.
    fn may_have_row(&self, raw: &Raw) -> bool {
        let untold = self.about.store.as_ref().and_then(|store| store.untold.as_ref());
        untold.is_none_or(|untold| {
            untold.iter().any(|(user, key)| {
                agree(user.as_deref(), raw.user()) && agree(key.as_deref(), raw.key())
            })
        })
    }

    /// So many coupons were consumed in the end, by what the store holds.
    fn in_the_end(&self) -> Option<i128> {
        self.about.store.as_ref()?.in_the_end.map(i128::from)
    }

    /// So many coupons there are, or were.
    fn most(&self) -> i128 {
        self.in_the_end().unwrap_or(i128::from(self.terms.coupons))
    }

    fn owner(&self, op: u64, raw: &'a Raw) -> Owner<'a> {
        match (raw.user(), raw.key()) {
            (Some(user), _) if self.terms.precedence().is_some() => Owner::User(user),
            (user, Some(key)) => Owner::Key(user, key),
            _ => Owner::Request(op),
        }
    }

    /// All coupons that these requests consumed or may have, each with all that is known of it.
    fn holdings(&self, wanted: Option<&HashSet<Owner<'a>>>) -> Vec<(Owner<'a>, Holding<'a>)> {
        let mut of_owner: HashMap<Owner<'a>, Vec<(u64, &'a Raw)>> = HashMap::new();
        for (op, raw) in &self.facts.ops {
            let here = raw
                .sent
                .as_ref()
                .is_some_and(|s| *s.campaign == *self.about.campaign && !s.is_read);
            let owner = self.owner(*op, raw);
            if here && wanted.is_none_or(|wanted| wanted.contains(&owner)) {
                of_owner.entry(owner).or_default().push((*op, raw));
            }
        }
        let holdings = of_owner.into_iter();
        holdings
            .flat_map(|(owner, asks)| self.holding(asks).into_iter().map(move |h| (owner, h)))
            .collect()
    }

    fn holding(&self, asks: Vec<(u64, &'a Raw)>) -> Vec<Holding<'a>> {
        let is = |raw: &Raw, outcome: &Outcome<'_>| raw.outcome() == Some(outcome);
        let sold_out = |key: Option<&str>| {
            asks.iter().any(|(_, raw)| raw.key() == key && is(raw, &Outcome::SoldOut))
        };
        let limited = self.terms.precedence().is_some();
        let refused = self.terms.precedence() == Some(Precedence::AlreadyFirst)
            && asks.iter().any(|(_, raw)| raw.user().is_some() && is(raw, &Outcome::SoldOut));
        let lost = asks.iter().filter(|(_, raw)| raw.is_lost() && !refused);
        let lost = lost.filter(|(_, raw)| raw.key().is_none() || !sold_out(raw.key()));
        let lost = lost.filter(|(_, raw)| self.may_have_row(raw));
        let lost = lost.filter_map(|(op, raw)| Some((*op, raw.key(), raw.sent.as_ref()?.at)));
        let lost = lost.filter(|(op, _, at)| *at <= self.over_by || self.is_stored(*op));
        let lost: Vec<(u64, Option<&str>, i64)> = lost.collect();
        let already: Vec<&Raw> = asks.iter().map(|(_, raw)| *raw).filter(|_| limited).collect();
        let already = already
            .into_iter()
            .filter(|raw| matches!(raw.outcome(), Some(Outcome::AlreadyIssued(_))));
        let already: Vec<&Raw> = already.collect();
        let told_by = already.iter().filter_map(|raw| Some(raw.completed.as_ref()?.0)).min();
        let named: HashSet<&str> = already.iter().filter_map(|raw| raw.code()).collect();
        let named = named.iter().next().copied().filter(|_| named.len() == 1);
        // By code: under one key one coupon, else every answer is one.
        let mut told: HashMap<Answer<'a>, Vec<(u64, &'a Raw)>> = HashMap::new();
        for (op, raw) in &asks {
            if let Some(Outcome::Issued(coupon)) = raw.outcome() {
                let one = raw.key().is_none().then_some(*op);
                told.entry((raw.key(), &coupon.code, one)).or_default().push((*op, raw));
            }
        }
        if told.is_empty() {
            let row = lost.iter().find_map(|(op, ..)| self.stored_code(*op));
            return (lost.iter().map(|(_, _, at)| *at).min().into_iter())
                .map(|begin| Holding {
                    begin,
                    end: told_by.unwrap_or(i64::MAX).min(self.over_by.max(begin)),
                    rank: None,
                    code: row.or(named),
                    already: told_by.is_some(),
                    certain: told_by.is_some() || lost.iter().any(|(op, ..)| self.is_stored(*op)),
                })
                .collect();
        }
        let over = |answers: &[(u64, &Raw)]| {
            answers.iter().filter_map(|(_, raw)| Some(raw.completed.as_ref()?.0)).min()
        };
        let first =
            |key| told.iter().filter(|((k, ..), _)| *k == key).filter_map(|(_, a)| over(a)).min();
        let holding = |(&(key, code, _), answers): (&Answer<'a>, &Vec<(u64, &'a Raw)>)| {
            let sent = answers.iter().filter_map(|(_, raw)| Some(raw.sent.as_ref()?.at));
            let end = over(answers);
            // A lost request under the key is the same coupon: the first, if a broken server told two.
            let same = |k: Option<&str>| key.is_some() && k == key && end == first(key);
            let before = lost.iter().filter(|(_, k, _)| same(*k));
            let begin = sent.chain(before.map(|(_, _, at)| *at)).min().unwrap_or(i64::MIN);
            let told = end.into_iter().chain(told_by).min().unwrap_or(i64::MAX);
            Holding {
                begin,
                end: told.min(self.over_by.max(begin)),
                rank: self.rank(answers),
                code: Some(code),
                already: told_by.is_some(),
                certain: true,
            }
        };
        told.iter().map(holding).collect()
    }
}

impl Tally<'_> {
    /// The rank that all answers agree on, if it can be one at all.
    fn rank(&self, answers: &[(u64, &Raw)]) -> Option<i128> {
        let told = answers.iter().flat_map(|(_, raw)| ranks(raw, self.terms.coupons));
        let told: HashSet<i128> = told.collect();
        let rank = told.iter().next().copied().filter(|_| told.len() == 1);
        rank.filter(|rank| (1..=i128::from(self.terms.coupons)).contains(rank))
    }
}

/// What was seen: so many were issued at least by a moment, and at most at a moment.
#[derive(Default)]
struct Seen<'a> {
    least: Vec<(i64, i128)>,
    most: Vec<(i64, i128)>,
    lists: Vec<HashSet<&'a str>>,
}

impl<'a> Seen<'a> {
    fn by(raws: impl Iterator<Item = &'a Raw>, tally: &Tally<'_>) -> Self {
        let coupons = i128::from(tally.terms.coupons);
        let mut all = Self::default();
        all.most.push((tally.terms.starts_at.earliest, 0));
        for raw in raws {
            let Some(sent) = &raw.sent else { continue };
            let Some((over, outcome)) = &raw.completed else { continue };
            if let Some(count) = seen(raw, tally.terms.coupons) {
                all.least.push((*over, count));
                all.most.push((sent.at.saturating_sub(tally.about.read_lag_ns), count));
                all.lists.extend(listed(raw));
            }
            let last = tally.terms.precedence() == Some(Precedence::SoldOutFirst);
            match outcome {
                Outcome::SoldOut => all.least.push(((*over).min(tally.over_by), coupons)),
                Outcome::NotStarted | Outcome::NotFound => all.most.push((sent.at, 0)),
                Outcome::AlreadyIssued(_) if last => all.most.push((sent.at, coupons - 1)),
                Outcome::AlreadyIssued(_) | Outcome::Issued(_) | Outcome::Failed(_) => {}
                Outcome::Ended => {}
                Outcome::Indeterminate(_) | Outcome::Read(_) | Outcome::Pending => {}
            }
        }
        all
    }

    /// Whether any place was left when it was asked for that was taken by its end.
    fn leaves_room(&self, holding: &Holding<'_>) -> bool {
        let filled = self.least.iter().filter(|(moment, _)| *moment < holding.begin);
        let filled = filled.map(|(_, n)| *n).max().unwrap_or(0);
        let most = self.most.iter().filter(|(moment, _)| *moment > holding.end);
        most.map(|(_, n)| *n).min().is_none_or(|most| filled < most)
    }

    /// What follows from the place of a coupon.
    fn add(&mut self, holding: &Holding<'_>, (low, high): (i128, i128)) {
        self.least.push((holding.end, low + 1));
        self.most.push((holding.begin, high - 1));
    }
}

/// The number of coupons before this one, at least, and the last place that it can have.
fn place(holding: &Holding<'_>, seen: &Seen<'_>, tally: &Tally<'_>) -> (i128, i128) {
    let (mut low, mut high) = (0, tally.most());
    if let Some(rank) = holding.rank {
        (low, high) = (rank - 1, high.min(rank));
    }
    for list in holding.code.into_iter().flat_map(|code| seen.lists.iter().map(move |l| (code, l)))
    {
        let (code, list) = list;
        let size = list.len() as i128;
        if list.contains(code) { high = high.min(size) } else { low = low.max(size) }
    }
    if holding.already && tally.terms.precedence() == Some(Precedence::SoldOutFirst) {
        high = high.min(i128::from(tally.terms.coupons) - 1);
    }
    (low, high)
}

/// More coupons lie between two numbers than there is room for.
pub(super) fn crowded(
    ops: &[u64],
    (above, upto): (u64, u64),
    about: &Context,
    facts: &Facts,
) -> Result<()> {
    let tally = Tally::new(about, facts)?;
    let raws = ops.iter().map(|op| facts.raw(*op)).collect::<Result<Vec<&Raw>>>()?;
    let mut seen = Seen::by(raws.iter().copied(), &tally);
    let owners = ops.iter().zip(&raws).map(|(op, raw)| tally.owner(*op, raw)).collect();
    let holdings = tally.holdings(Some(&owners));
    let certain = holdings.iter().map(|(_, holding)| holding).filter(|h| h.certain);
    let certain: Vec<&Holding<'_>> = certain.collect();
    let places: Vec<(i128, i128)> = certain.iter().map(|h| place(h, &seen, &tally)).collect();
    for (holding, place) in certain.iter().zip(&places) {
        seen.add(holding, *place);
    }
    let (above, upto) = (i128::from(above), i128::from(upto));
    let filled = seen.least.iter().filter(|(_, n)| *n >= above).map(|(moment, _)| *moment).min();
    let empty = seen.most.iter().filter(|(_, n)| *n <= upto).map(|(moment, _)| *moment).max();
    let between = certain.iter().zip(&places).filter(|(holding, (low, high))| {
        let after = *low >= above || filled.is_some_and(|moment| moment < holding.begin);
        let before = *high <= upto || empty.is_some_and(|moment| holding.end < moment);
        after && before
    });
    let between = between.count() as i128;
    let apart = |(early, n): &(i64, i128)| seen.most.iter().any(|(late, m)| early < late && n > m);
    let room = upto - above;
    ensure!(between > room.max(0) || seen.least.iter().any(apart), "there is room for all");
    Ok(())
}

/// Fewer requests than there are places can have consumed a coupon between two numbers.
pub(super) fn hollow(
    ops: &[u64],
    (above, upto): (u64, u64),
    about: &Context,
    facts: &Facts,
) -> Result<()> {
    ensure!(about.whole, "requests may be missing from the history");
    let tally = Tally::new(about, facts)?;
    let raws = ops.iter().map(|op| facts.raw(*op)).collect::<Result<Vec<&Raw>>>()?;
    let mut seen = Seen::by(raws.iter().copied(), &tally);
    let everything = facts.ops.values().filter(|raw| {
        raw.sent.as_ref().is_some_and(|sent| *sent.campaign == *about.campaign && sent.is_read)
    });
    seen.lists = everything.filter_map(|raw| listed(raw).ok()).collect();
    let holdings = tally.holdings(None);
    let named: HashSet<u64> = ops.iter().copied().collect();
    let owners: HashSet<Owner<'_>> = (facts.ops.iter())
        .filter(|(op, _)| named.contains(op))
        .map(|(op, raw)| tally.owner(*op, raw))
        .collect();
    for (_, holding) in holdings.iter().filter(|(owner, h)| h.certain && owners.contains(owner)) {
        let place = place(holding, &seen, &tally);
        seen.add(holding, place);
    }
    let (above, upto) = (i128::from(above), i128::from(upto));
    let filled = seen.least.iter().filter(|(_, n)| *n >= upto).map(|(moment, _)| *moment).min();
    let filled = filled.or(tally.in_the_end().filter(|all| *all >= upto).map(|_| i64::MAX));
    let filled = filled.ok_or_else(|| anyhow!("nothing says that so many were issued"))?;
    let empty = seen.most.iter().filter(|(_, n)| *n <= above).map(|(moment, _)| *moment).max();
    let fits = |holding: &Holding<'_>| {
        let (low, high) = place(holding, &seen, &tally);
        let moment = holding.begin <= filled.min(tally.over_by)
            && empty.is_none_or(|empty| holding.end >= empty);
        moment && low < upto && high > above && seen.leaves_room(holding)
    };
    let fitting = holdings.iter().filter(|(_, holding)| fits(holding)).count();
    ensure!((fitting as i128) < upto - above, "{fitting} requests are enough");
    Ok(())
}

/// Nothing that its user asked for by the end of it can have consumed a coupon.
pub(super) fn no_request(op: u64, about: &Context, facts: &Facts) -> Result<()> {
    let tally = Tally::new(about, facts)?;
    let raw = facts.raw(op)?;
    ensure!(raw.user().is_some() && tally.terms.precedence().is_some(), "there is no limit");
    let owners = HashSet::from([tally.owner(op, raw)]);
    let over = facts.over(op)?.min(tally.over_by);
    let sent = tally.holdings(Some(&owners)).into_iter().any(|(_, h)| h.begin <= over);
    ensure!(!sent, "a request of that user can have consumed it");
    Ok(())
}
