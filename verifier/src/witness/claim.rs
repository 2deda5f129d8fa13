//! What a witness claims beyond what its operations were told, checked on the raw facts.

use std::collections::HashSet;

use anyhow::{Result, anyhow, ensure};
use contract::campaign::Precedence;
use contract::outcome::{Observation, Outcome};

use super::{Facts, Raw, Terms, order};
use crate::check::Claim;
use crate::evidence::{CampaignEvidence, Op};

pub(super) fn holds(claim: Claim, ops: &[Op], e: &CampaignEvidence, facts: &Facts) -> Result<()> {
    if claim == Claim::Told {
        return Ok(());
    }
    let terms = facts.terms.get(&e.name).ok_or_else(|| anyhow!("nothing promised {}", e.name))?;
    let raws = ops.iter().map(|op| facts.raw(op)).collect::<Result<Vec<&Raw>>>()?;
    let all = |of: fn(&Raw) -> Option<&str>| {
        let first = raws.first().and_then(|raw| of(raw));
        first.is_some() && raws.iter().all(|raw| of(raw) == first)
    };
    match (claim, ops) {
        (Claim::Told, _) => {}
        (Claim::Before, [a, b]) => {
            ensure!(facts.over(a)? < facts.sent(b)?, "#{} is not before #{}", a.op, b.op);
        }
        (Claim::BeforeStart, [a, ..]) => {
            ensure!(facts.over(a)? < terms.starts_at.earliest, "#{} is not early", a.op);
        }
        (Claim::AfterStart, [a, ..]) => {
            ensure!(facts.sent(a)? > terms.starts_at.latest, "#{} is not late", a.op);
        }
        (Claim::SameCode, [_, .., _]) => ensure!(all(Raw::code), "the codes differ"),
        (Claim::SameUser, [_, _]) => {
            ensure!(all(Raw::user), "the users differ");
            ensure!(refused(&raws, terms) || both_consumed(ops, &raws, e), "a user may be told so");
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
            let rows = e.ledger().into_iter().flat_map(|ledger| &ledger.rows);
            let rows = rows.map(|row| row.code.as_ref());
            let held: HashSet<&str> = rows.chain(e.acknowledged.iter().map(|c| c.code())).collect();
            ensure!(e.ledger().is_some() && !listed(raws[0])?.is_subset(&held), "all are there");
        }
        (Claim::NoRequest, [a, ..]) => order::no_request(a, e, facts)?,
        (Claim::Crowded { above, upto }, _) => order::crowded(ops, (above, upto), e, facts)?,
        (Claim::Hollow { above, upto }, _) => order::hollow(ops, (above, upto), e, facts)?,
        (claim, _) => return Err(anyhow!("{claim:?} needs other operations")),
    }
    Ok(())
}

/// One of them holds a coupon, and the other was refused for want of one.
fn refused(raws: &[&Raw], terms: &Terms) -> bool {
    let never = terms.precedence() == Some(Precedence::AlreadyFirst);
    never && raws.iter().any(|raw| raw.outcome() == Some(&Outcome::SoldOut))
}

/// Each of them consumed a coupon by what the store holds or by what it was told.
fn both_consumed(ops: &[Op], raws: &[&Raw], e: &CampaignEvidence) -> bool {
    let stored: HashSet<u64> = e.resolved().map(|op| op.op).collect();
    let consumed = |(op, raw): (&Op, &&Raw)| {
        stored.contains(&op.op) || matches!(raw.outcome(), Some(Outcome::Issued(_)))
    };
    ops.iter().zip(raws).all(consumed)
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
