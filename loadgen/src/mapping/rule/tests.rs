//! Rules as people write them, against answers as real systems give them.

use hyper::HeaderMap;

use super::*;
use crate::mapping::Mapping;
use contract::wire::{Problem, ProblemCode};

fn rules(yaml: &str) -> Vec<Rule> {
    serde_saphyr::from_str(yaml).unwrap_or_else(|e| panic!("{e}"))
}

fn meaning(rules: &[Rule], status: u16, body: &str) -> Outcome<'static> {
    match classify(rules, &Answer::new(status, &HeaderMap::new(), body.as_bytes())) {
        Told::Outcome(outcome) => outcome,
        other @ (Told::Accepted(_) | Told::Reserved(_) | Told::Pending) => panic!("{other:?}"),
    }
}

const UNCLASSIFIED: Outcome<'static> = Outcome::Indeterminate(Doubt::Unclassified);

#[test]
fn the_first_rule_that_matches_decides() {
    let rules =
        rules("[{status: 200, json: {$.ok: true}, is: sold_out}, {status: 200-299, is: failed}]");
    assert_eq!(meaning(&rules, 200, r#"{"ok":true}"#), Outcome::SoldOut);
    assert_eq!(meaning(&rules, 200, r#"{"ok":false}"#), Outcome::Failed(Failure::Rejected));
    assert_eq!(meaning(&rules, 404, ""), UNCLASSIFIED);
}

#[test]
fn a_message_alone_can_tell() {
    let rules = rules(
        "[{json: {$.message: {matches: '잔여|sold'}}, is: sold_out}, {body: '^soon', is: not_started}]",
    );
    assert_eq!(meaning(&rules, 500, r#"{"message":"잔여 쿠폰 없음"}"#), Outcome::SoldOut);
    assert_eq!(meaning(&rules, 200, "soon, soon"), Outcome::NotStarted);
}

#[test]
fn numbers_compare_also_inside_texts() {
    let rules =
        rules("[{json: {$.left: {above: 0}}, is: failed}, {json: {$.left: 0}, is: sold_out}]");
    assert_eq!(meaning(&rules, 200, r#"{"left":"3"}"#), Outcome::Failed(Failure::Rejected));
    assert_eq!(meaning(&rules, 200, r#"{"left":"0"}"#), Outcome::SoldOut);
    assert_eq!(meaning(&rules, 200, r#"{"left":0}"#), Outcome::SoldOut);
}

#[test]
fn a_number_is_equal_however_it_is_spelled() {
    let rules = rules(
        "[{json: {$.left: 0}, is: sold_out}, {json: {$.left: 9007199254740993}, is: not_started},
          {json: {$.left: 0.5}, is: failed}, {json: {$.left: '7'}, is: busy}]",
    );
    for body in [r#"{"left":0.0}"#, r#"{"left":"0.00"}"#, r#"{"left":0e3}"#] {
        assert_eq!(meaning(&rules, 200, body), Outcome::SoldOut, "{body}");
    }
    assert_eq!(meaning(&rules, 200, r#"{"left":5e-1}"#), Outcome::Failed(Failure::Rejected));
    assert_eq!(meaning(&rules, 200, r#"{"left":9007199254740993}"#), Outcome::NotStarted);
    assert_eq!(meaning(&rules, 200, r#"{"left":7}"#), Outcome::Failed(Failure::Busy));
    for body in [r#"{"left":9007199254740992}"#, r#"{"left":7.0}"#, r#"{"left":"none"}"#] {
        assert_eq!(meaning(&rules, 200, body), UNCLASSIFIED, "{body}");
    }
}

#[test]
fn a_list_is_there_and_has_no_text() {
    let rules = rules(
        "[{json: {$.a: {exists: true, matches: '.'}}, is: busy},
          {json: {$.a: {exists: true, below: 9}}, is: busy},
          {json: {$.a: {exists: true}}, is: sold_out}, {json: {$.a: {exists: false}}, is: failed}]",
    );
    assert_eq!(meaning(&rules, 200, r#"{"a":[1]}"#), Outcome::SoldOut);
    assert_eq!(meaning(&rules, 200, r#"{"a":5}"#), Outcome::Failed(Failure::Busy));
    assert_eq!(meaning(&rules, 200, r#"{"a":null}"#), Outcome::Failed(Failure::Rejected));
}

#[test]
fn absence_is_a_condition_and_an_empty_body_too() {
    let rules = rules(
        "[{empty: true, is: not_started}, {json: {$.coupon: {exists: false}}, is: sold_out},
          {json: {$.coupon: {exists: true}}, is: issued, code: $.coupon.code, seq: $.coupon.no}]",
    );
    assert_eq!(meaning(&rules, 200, ""), Outcome::NotStarted);
    assert_eq!(meaning(&rules, 200, "{}"), Outcome::SoldOut);
    assert_eq!(meaning(&rules, 502, "<html>Bad Gateway</html>"), UNCLASSIFIED);
    let body = r#"{"coupon":{"code":"가2","no":"17"}}"#;
    let Outcome::Issued(coupon) = meaning(&rules, 200, body) else { panic!("issued") };
    assert_eq!((coupon.code.as_ref(), coupon.seq, coupon.remaining), ("가2", Some(17), None));
}

#[test]
fn issued_without_its_code_is_no_whole_answer() {
    let rules = rules("[{status: 200, is: issued, code: $.code}]");
    assert_eq!(meaning(&rules, 200, "{}"), Outcome::Indeterminate(Doubt::Unreadable));
}

#[test]
fn a_connect_error_is_told_by_its_code() {
    let rules = rules("[{status: [400, 412], connect: failed_precondition, is: not_started}]");
    let body = r#"{"code":"failed_precondition","message":"not yet"}"#;
    assert_eq!(meaning(&rules, 412, body), Outcome::NotStarted);
    assert_eq!(meaning(&rules, 400, body), Outcome::NotStarted);
    assert_eq!(meaning(&rules, 400, r#"{"code":"unknown"}"#), UNCLASSIFIED);
}

#[test]
fn a_header_can_tell() {
    let rules = rules("[{header: {X-Sold-Out: {exists: true}}, is: sold_out}]");
    let mut headers = HeaderMap::new();
    headers.insert("x-sold-out", "1".parse().unwrap());
    let told = classify(&rules, &Answer::new(200, &headers, b""));
    assert_eq!(told, Told::Outcome(Outcome::SoldOut));
    assert_eq!(meaning(&rules, 200, ""), UNCLASSIFIED);
}

#[test]
fn rejects_what_can_never_match() {
    for yaml in [
        "[{status: 99, is: failed}]",
        "[{status: 500-400, is: failed}]",
        "[{body: '(', is: failed}]",
        "[{json: {'$.[': 1}, is: failed}]",
        "[{is: won}]",
        "[{status: 200}]",
        "[{status: 200, is: issued, code: nowhere}]",
    ] {
        assert!(serde_saphyr::from_str::<Vec<Rule>>(yaml).is_err(), "{yaml}");
    }
}

#[test]
fn every_problem_of_the_reference_server_has_an_outcome() {
    let rules = Mapping::coupon_server().outcomes;
    for &code in ProblemCode::ALL {
        let body = serde_json::to_string(&Problem::new(code, "")).unwrap();
        let outcome = meaning(&rules, code.status(), &body);
        let want = match code {
            ProblemCode::SoldOut => Outcome::SoldOut,
            ProblemCode::NotStarted => Outcome::NotStarted,
            ProblemCode::AlreadyIssued => Outcome::AlreadyIssued(None),
            ProblemCode::StoreUnavailable | ProblemCode::Internal => {
                Outcome::Indeterminate(Doubt::ServerError)
            }
            // Only a wrong scenario leads there: it must fail the run, not pass as a refusal.
            ProblemCode::NotFound | ProblemCode::Unauthorized => UNCLASSIFIED,
            ProblemCode::RateLimited => Outcome::Failed(Failure::Busy),
            ProblemCode::CampaignsExhausted => Outcome::Indeterminate(Doubt::ServerError),
            ProblemCode::CampaignNotFound => Outcome::NotFound,
            ProblemCode::Cancelled => Outcome::Ended,
            ProblemCode::KeyReused
            | ProblemCode::MethodNotAllowed
            | ProblemCode::BadJson
            | ProblemCode::Invalid
            | ProblemCode::TooLarge
            | ProblemCode::RequestTimeout
            | ProblemCode::Overloaded => Outcome::Failed(Failure::Rejected),
        };
        assert_eq!(outcome, want, "{code:?}");
    }
    let swapped = serde_json::to_string(&Problem::new(ProblemCode::SoldOut, "")).unwrap();
    assert_eq!(meaning(&rules, 410, &swapped), UNCLASSIFIED, "a wrong status is no refusal");
    assert_eq!(meaning(&rules, 200, "{}"), UNCLASSIFIED);
    assert_eq!(meaning(&rules, 502, "Bad Gateway"), Outcome::Indeterminate(Doubt::ServerError));
}

#[test]
fn a_rule_survives_json() {
    let rules = Mapping::coupon_server().outcomes;
    let json = serde_json::to_value(&rules).unwrap();
    assert_eq!(serde_json::from_value::<Vec<Rule>>(json).unwrap(), rules);
}
