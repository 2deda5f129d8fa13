//! What a witness claims beyond what its operations were told, checked on the raw facts.

use std::collections::HashSet;

use anyhow::{Result, anyhow, ensure};
use contract::campaign::Precedence;
use contract::outcome::{Observation, Outcome};

use super::context::Context;
use super::{Facts, Raw, Terms, order};
use crate::check::Claim;

pub(super) fn holds(claim: Claim, ops: &[u64], about: &Context, facts: &Facts) -> Result<()> {
    if claim == Claim::Told {
        return Ok(());
    }
    let terms = facts.terms.get(&about.campaign);
    let terms = terms.ok_or_else(|| anyhow!("nothing promised {}", about.campaign))?;
    let raws = ops.iter().map(|op| facts.raw(*op)).collect::<Result<Vec<&Raw>>>()?;
    let all = |of: fn(&Raw) -> Option<&str>| {
        let first = raws.first().and_then(|raw| of(raw));
        first.is_some() && raws.iter().all(|raw| of(raw) == first)
    };
    let start = terms.starts_at;
    match (claim, ops) {
        (Claim::Told, _) => {}
        (Claim::Before, [a, b]) => before(facts.over(*a)?, facts.sent(*b)?)?,
        (Claim::BeforeStart, [a, ..]) => before(facts.over(*a)?, start.earliest)?,
        (Claim::AfterStart, [a, ..]) => before(start.latest, facts.sent(*a)?)?,
        (Claim::PerhapsBeforeStart, [a, ..]) => before(facts.over(*a)?, start.latest)?,
        (Claim::PerhapsAfterStart, [a]) => before(start.earliest, facts.sent(*a)?)?,
        (Claim::TooMany, [_, ..]) => {
            ensure!(codes(&raws).len() as u64 > terms.coupons, "there are coupons for all of them");
        }
        (Claim::Malformed, [_]) => {
            ensure!(raws[0].code().is_some_and(|code| !is_code(code)), "the code is well formed");
        }
        (Claim::SameCode, [_, .., _]) => ensure!(all(Raw::code), "the codes differ"),
        (Claim::SameUser, [_, _]) => {
            ensure!(all(Raw::user), "the users differ");
            ensure!(
                refused(&raws, terms) || both_consumed(ops, &raws, about),
                "a user may be told so"
            );
        }
        (Claim::SameKey, [_, _]) => {
            let same_user = raws[0].user() == raws[1].user();
            ensure!(all(Raw::key) && same_user, "the keys differ");
            let sold_out = raws.iter().any(|raw| raw.outcome() == Some(&Outcome::SoldOut));
            ensure!(sold_out, "nobody was told that they are gone");
        }
        (Claim::Ranks, [_, ..]) => {
            ensure!(all(Raw::code) && ranks_differ(&raws, terms), "the ranks can be");
        }
        (Claim::Impossible, [_]) => {
            let seen = order::seen(raws[0], terms.coupons);
            let possible = seen.is_none_or(|n| (0..=i128::from(terms.coupons)).contains(&n));
            ensure!(!possible, "so many can have been issued");
        }
        (Claim::OtherCode, [_, _]) => {
            let (a, b) = (raws[0], raws[1]);
            let codes = a.code().is_some() && b.code().is_some();
            let users = a.user().is_some() && b.user().is_some();
            let crossed = (a.code() == b.code()) != (a.user() == b.user());
            ensure!(codes && users && crossed && terms.precedence().is_some(), "both can be");
        }
        (Claim::ListsDiffer, [_, _]) => {
            let (a, b) = (listed(raws[0])?, listed(raws[1])?);
            ensure!(!a.is_subset(&b) && !b.is_subset(&a), "one list holds all of the other");
        }
        (Claim::Unstored, [_]) => {
            let codes = about.store.as_ref().and_then(|store| store.codes.as_ref());
            let codes = codes.ok_or_else(|| anyhow!("no store says which codes there are"))?;
            ensure!(!listed(raws[0])?.iter().all(|code| codes.contains(*code)), "all are there");
        }
        (Claim::WentBack, [_, _, ..]) => went_back(ops, &raws, about, facts)?,
        (Claim::NoRequest, [a, ..]) => order::no_request(*a, about, facts)?,
        (Claim::Crowded { above, upto }, _) => order::crowded(ops, (above, upto), about, facts)?,
        (Claim::Hollow { above, upto }, _) => order::hollow(ops, (above, upto), about, facts)?,
        (claim, _) => return Err(anyhow!("{claim:?} needs other operations")),
    }
    Ok(())
}

fn before(a: i64, b: i64) -> Result<()> {
    ensure!(a < b, "the one is not before the other");
    Ok(())
}

/// The different codes that were issued to them.
fn codes<'a>(raws: &[&'a Raw]) -> HashSet<&'a str> {
    let issued = raws.iter().filter(|raw| matches!(raw.outcome(), Some(Outcome::Issued(_))));
    issued.filter_map(|raw| raw.code()).collect()
}

/// The number of the second had been given by the end of the first, and of all that were told before
/// the second was sent it alone is in the store.
fn went_back(ops: &[u64], raws: &[&Raw], about: &Context, facts: &Facts) -> Result<()> {
    let terms = facts.terms.get(&about.campaign).ok_or_else(|| anyhow!("nothing promised"))?;
    let rows = about.store.as_ref().and_then(|store| store.rows.as_ref());
    let rows = rows.ok_or_else(|| anyhow!("no store says which coupons there are"))?;
    let row = |raw: &Raw| raw.code().and_then(|code| rows.get(code));
    let height = match raws[0].outcome() {
        Some(Outcome::SoldOut) => Some(i128::from(terms.coupons)),
        _ => order::seen(raws[0], terms.coupons)
            .or_else(|| order::ranks(raws[0], terms.coupons).into_iter().max()),
    };
    let row_of_b = *row(raws[1]).ok_or_else(|| anyhow!("its coupon is not in the store"))?;
    let told = order::ranks(raws[1], terms.coupons).into_iter();
    let number = told.chain(row_of_b.map(i128::from)).min();
    let number = number.unwrap_or(i128::from(terms.coupons));
    ensure!(height.is_some_and(|height| height >= number), "the number was not given before");
    before(facts.over(ops[0])?, facts.sent(ops[1])?)?;
    // The first may itself be the one that is gone.
    let (first, others) = (row(raws[0]).is_none().then_some((&ops[0], &raws[0])), &ops[2..]);
    let gone = others.iter().zip(&raws[2..]).chain(first);
    let gone: Vec<_> = gone.filter(|(_, raw)| raw.code().is_some()).collect();
    ensure!(!gone.is_empty(), "nothing is gone");
    for (op, raw) in gone {
        ensure!(row(raw).is_none(), "the coupon of #{op} is in the store");
        before(facts.over(*op)?, facts.sent(ops[1])?)?;
    }
    Ok(())
}

/// One of them holds a coupon, and the other was refused for want of one.
fn refused(raws: &[&Raw], terms: &Terms) -> bool {
    let never = terms.precedence() == Some(Precedence::AlreadyFirst);
    never && raws.iter().any(|raw| raw.outcome() == Some(&Outcome::SoldOut))
}

/// Each of them consumed a coupon by what the store holds or by what it was told.
fn both_consumed(ops: &[u64], raws: &[&Raw], about: &Context) -> bool {
    let stored = |op: &u64| about.store.as_ref().is_some_and(|s| s.resolved.contains_key(op));
    let issued = |raw: &Raw| matches!(raw.outcome(), Some(Outcome::Issued(_)));
    ops.iter().zip(raws).all(|(op, raw)| stored(op) || issued(raw))
}

/// Whether a code is made as it has to be; not the routine of the check.
fn is_code(code: &str) -> bool {
    let letters: Vec<u32> = code.chars().map(u32::from).collect();
    let syllable = |c: &u32| (0xAC00..=0xD7A3).contains(c);
    let digit = |c: &u32| (0x30..=0x39).contains(c);
    !letters.is_empty() && letters.len() <= 10 && letters.iter().all(|c| syllable(c) || digit(c))
}

fn ranks_differ(raws: &[&Raw], terms: &Terms) -> bool {
    let ranks: Vec<i128> = raws.iter().flat_map(|raw| order::ranks(raw, terms.coupons)).collect();
    let outside = |rank: &i128| !(1..=i128::from(terms.coupons)).contains(rank);
    ranks.iter().any(outside) || ranks.windows(2).any(|pair| pair[0] != pair[1])
}

/// The codes that a read saw.
pub(super) fn listed(raw: &Raw) -> Result<HashSet<&str>> {
    match raw.outcome() {
        Some(Outcome::Read(Observation::Codes(codes))) => {
            Ok(codes.iter().map(AsRef::as_ref).collect())
        }
        _ => Err(anyhow!("there is no list")),
    }
}
