//! What the procedure found, in words: which check it belongs to, and what has to be checked again.

use super::{Claim, MOST_COUNTED, MOST_WITNESSES, Violation, capped_of};
use crate::evidence::CampaignEvidence;
use crate::procedure::{Contradiction, Fact, Span, Topic};
use crate::wording::{count, safe};

/// The violations of one check that the procedure found.
pub(super) fn of_check(e: &CampaignEvidence, check: &str) -> Vec<Violation> {
    let own = || e.contradictions.iter().filter(|c| check_of(c) == Some(check));
    let more = own().map(|c| c.more).sum();
    capped_of(own().map(|c| violation(e, c)).collect(), more)
}

/// The check that a contradiction belongs to; none where another check finds it by itself.
fn check_of(c: &Contradiction) -> Option<&'static str> {
    let check = match c.fact {
        Fact::RefusedHolder => &super::refused_holder::CHECK,
        Fact::Unfounded | Fact::FoundedLater => &super::unfounded_already_issued::CHECK,
        Fact::OtherCode => &super::unfounded_already_issued::CHECK,
        Fact::SecondCoupon => &super::per_user_limit::CHECK,
        Fact::KeyRefused => &super::idempotency::CHECK,
        Fact::Impossible(_) => &super::contradicting_counts::CHECK,
        Fact::ListsDiffer | Fact::Unstored => &super::contradicting_snapshots::CHECK,
        Fact::Crowded(span) => match span.topic {
            Topic::Campaign => return None,
            Topic::Already => &super::unfounded_already_issued::CHECK,
            Topic::Count => &super::contradicting_counts::CHECK,
            Topic::Holder => &super::refused_holder::CHECK,
            Topic::List => &super::contradicting_snapshots::CHECK,
        },
        // Only the store says that there are so many.
        Fact::Hollow(_) if c.witness.is_empty() => &super::phantom::CHECK,
        Fact::Hollow(span) => match span.topic {
            Topic::Campaign | Topic::Already => &super::under_issued::CHECK,
            Topic::Count => &super::contradicting_counts::CHECK,
            Topic::Holder => &super::refused_holder::CHECK,
            Topic::List => &super::contradicting_snapshots::CHECK,
        },
    };
    Some(check.name)
}

fn violation(e: &CampaignEvidence, c: &Contradiction) -> Violation {
    let violation = Violation::new(sentence(e, c));
    // Too many for their places are so by their number: some of them prove nothing.
    let by_number = matches!(c.fact, Fact::Crowded(_));
    if by_number && (c.lacks.is_some() || c.witness.len() > MOST_COUNTED) {
        return violation.witness(&c.witness);
    }
    let most = if by_number { MOST_COUNTED } else { MOST_WITNESSES };
    violation.witness_of(&c.witness, most).claim(claim(c.fact))
}

fn claim(fact: Fact) -> Claim {
    match fact {
        Fact::RefusedHolder | Fact::SecondCoupon => Claim::SameUser,
        Fact::Unfounded | Fact::FoundedLater => Claim::NoRequest,
        Fact::OtherCode => Claim::OtherCode,
        Fact::KeyRefused => Claim::SameKey,
        Fact::Impossible(_) => Claim::Impossible,
        Fact::ListsDiffer => Claim::ListsDiffer,
        Fact::Unstored => Claim::Unstored,
        Fact::Crowded(Span { above, upto, .. }) => Claim::Crowded { above, upto },
        Fact::Hollow(Span { above, upto, .. }) => Claim::Hollow { above, upto },
    }
}

fn sentence(e: &CampaignEvidence, c: &Contradiction) -> String {
    let user = c.witness.iter().find_map(|op| op.user.as_deref()).unwrap_or_default();
    let user = safe(user);
    match c.fact {
        Fact::RefusedHolder => {
            format!("user {user} holds a coupon and was told \"sold out\"")
        }
        Fact::Unfounded => {
            format!(
                "user {user} was told \"already issued\", and no request of theirs can have got a coupon"
            )
        }
        Fact::FoundedLater => format!(
            "user {user} was told \"already issued\" before the only request that can have got \
             their coupon was sent"
        ),
        Fact::OtherCode => other_code(c),
        Fact::SecondCoupon => format!(
            "user {user} got a second coupon by a request that nobody was told the outcome of"
        ),
        Fact::KeyRefused => {
            let key = c.witness.iter().find_map(|op| op.key.as_deref()).unwrap_or_default();
            format!("the idempotency key {} consumed a coupon and was told \"sold out\"", safe(key))
        }
        Fact::Impossible(n) => {
            format!("a read saw {n} coupons issued, of {} that there are", count(e.coupons))
        }
        Fact::Unstored => "a list holds a code that is not in the settled store".into(),
        Fact::ListsDiffer => {
            "two lists of codes contradict each other: neither holds all codes of the other".into()
        }
        Fact::Crowded(span) => crowded(span),
        Fact::Hollow(Span { upto, requests, .. }) if c.witness.is_empty() => format!(
            "{} coupons were consumed, and at most {} of the requests can have got one",
            count(upto),
            count(requests)
        ),
        Fact::Hollow(span) => hollow(span),
    }
}

fn other_code(c: &Contradiction) -> String {
    let told = |at: usize| {
        let op = c.witness.get(at)?;
        let user = op.user.as_deref().map_or_else(|| "somebody".into(), safe);
        Some(format!("{user} {}", safe(op.code()?)))
    };
    let (a, b) = (told(0).unwrap_or_default(), told(1).unwrap_or_default());
    format!("answers disagree about whose code is whose: {a}, then {b}")
}

fn crowded(Span { above, upto, requests, .. }: Span) -> String {
    let (low, high) = (count(above), count(upto));
    match requests {
        0 => format!(
            "{low} coupons had been issued by one answer, and at most {high} later, by another"
        ),
        1 => format!("a coupon must come after {low} others and be among the first {high}"),
        _ if above >= upto => format!(
            "{} coupons must come after {low} others and be among the first {high}",
            count(requests)
        ),
        _ => format!(
            "{} coupons must be among number {} to {high}, which are {}",
            count(requests),
            count(above + 1),
            count(upto - above)
        ),
    }
}

fn hollow(Span { above, upto, requests, .. }: Span) -> String {
    format!(
        "number {} to {} of the coupons had been issued by then, and at most {} of the requests can \
         have got one of them",
        count(above + 1),
        count(upto),
        count(requests)
    )
}
