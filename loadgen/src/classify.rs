//! From an answer to an outcome.
//!
//! A decision is believed only from a whole, well-formed answer. Whatever else may have reached the
//! server is indeterminate; an answer that no rule matches is `Unclassified` and fails the run.

use contract::outcome::{Coupon, Doubt, Failure, Outcome};
use contract::wire::{self, ProblemCode};

/// A whole answer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The body, all of it.
    pub body: &'a [u8],
}

/// What an answer of the reference server to an issue request says.
pub fn issue(answer: &Answer<'_>) -> Outcome<'static> {
    match answer.status {
        201 => issued(answer.body),
        _ => match serde_json::from_slice::<wire::Problem>(answer.body) {
            Ok(problem) if problem.status == answer.status => refused(problem),
            _ if answer.status >= 500 => Outcome::Indeterminate(Doubt::ServerError),
            _ => Outcome::Indeterminate(Doubt::Unclassified),
        },
    }
}

fn issued(body: &[u8]) -> Outcome<'static> {
    let Ok(issued) = serde_json::from_slice::<wire::Issued>(body) else {
        return Outcome::Indeterminate(Doubt::Unreadable);
    };
    Outcome::Issued(Coupon {
        code: issued.code.into(),
        seq: i64::try_from(issued.seq).ok(),
        remaining: i64::try_from(issued.remaining).ok(),
    })
}

fn refused(problem: wire::Problem) -> Outcome<'static> {
    if problem.status != problem.code.status() {
        return Outcome::Indeterminate(Doubt::Unclassified);
    }
    match problem.code {
        ProblemCode::NotStarted => Outcome::NotStarted,
        ProblemCode::SoldOut => Outcome::SoldOut,
        ProblemCode::AlreadyIssued => Outcome::AlreadyIssued(problem.coupon.map(Into::into)),
        ProblemCode::CampaignNotFound
        | ProblemCode::NotFound
        | ProblemCode::MethodNotAllowed
        | ProblemCode::BadJson
        | ProblemCode::Invalid
        | ProblemCode::TooLarge
        | ProblemCode::RequestTimeout
        | ProblemCode::CampaignsExhausted
        | ProblemCode::Overloaded => Outcome::Failed(Failure::Rejected),
        ProblemCode::StoreUnavailable | ProblemCode::Internal => {
            Outcome::Indeterminate(Doubt::ServerError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(code: ProblemCode) -> Vec<u8> {
        serde_json::to_vec(&wire::Problem::new(code, "")).unwrap()
    }

    #[test]
    fn every_problem_has_an_outcome() {
        for &code in ProblemCode::ALL {
            let outcome = issue(&Answer { status: code.status(), body: &problem(code) });
            let unsure = matches!(outcome, Outcome::Indeterminate(Doubt::ServerError));
            let effect_unknown =
                matches!(code, ProblemCode::StoreUnavailable | ProblemCode::Internal);
            assert_eq!(unsure, effect_unknown, "{code:?}: {outcome:?}");
            assert_ne!(outcome, Outcome::Indeterminate(Doubt::Unclassified), "{code:?}");
        }
    }

    #[test]
    fn a_coupon_is_read_from_a_whole_body_only() {
        let body = r#"{"code":"가나다라마바사2345","seq":1,"remaining":9,"issued_at":"2026-01-01T00:00:00.000001Z"}"#;
        let whole = issue(&Answer { status: 201, body: body.as_bytes() });
        assert!(matches!(whole, Outcome::Issued(c) if c.seq == Some(1) && c.remaining == Some(9)));
        let cut = issue(&Answer { status: 201, body: &body.as_bytes()[..40] });
        assert_eq!(cut, Outcome::Indeterminate(Doubt::Unreadable));
    }

    #[test]
    fn what_no_rule_matches_is_unclassified() {
        let sold_out = problem(ProblemCode::SoldOut);
        for (status, body) in [(200, &b"{}"[..]), (404, b"<html>"), (410, &sold_out)] {
            let outcome = issue(&Answer { status, body });
            assert_eq!(outcome, Outcome::Indeterminate(Doubt::Unclassified), "{status}");
        }
        let proxy = issue(&Answer { status: 502, body: b"Bad Gateway" });
        assert_eq!(proxy, Outcome::Indeterminate(Doubt::ServerError));
    }
}
