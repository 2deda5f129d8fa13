//! Everything here that reads what others wrote, as functions of bytes. None of them may panic. The
//! fuzz targets call the same functions.

use std::io::Write as _;

use loadgen::mapping::fields::Head;
use loadgen::mapping::{Answer, Rule, rule};
use loadgen::scenario::{Overrides, Scenario};

/// Bytes as a scenario, up to the plan.
pub(crate) fn scenario(bytes: &[u8]) {
    let Ok(mut file) = tempfile::NamedTempFile::with_suffix(".yaml") else { return };
    if file.write_all(bytes).is_ok() {
        drop(Scenario::load(file.path(), &Overrides::default()));
    }
}

/// Bytes as an answer: a line with the status, lines of headers, an empty line, the body.
pub(crate) fn answer(rules: &[Rule], bytes: &[u8]) {
    let end = bytes.windows(2).position(|two| two == b"\n\n").map_or(bytes.len(), |at| at + 2);
    let (head, body) = bytes.split_at(end);
    let status = String::from_utf8_lossy(head.split(|b| *b == b'\n').next().unwrap_or_default());
    let head = Head::of(head);
    let answer = Answer::new(status.parse().unwrap_or(200), &head, body);
    drop(rule::classify(rules, &answer));
}

/// Rules that look at every part of an answer.
pub(crate) fn rules() -> Vec<Rule> {
    let yaml = r#"
- { status: 201, json: { $.code: { exists: true } }, is: issued, code: $.code, seq: $.seq, remaining: $.remaining }
- { status: [200, 202], json: { "$.data.items[0].state": won }, is: issued, code: "$.data.items[0].code" }
- { header: { x-left: { below: 1 } }, is: sold_out }
- { status: 400-499, json: { $.n: { above: 3 } }, is: sold_out }
- { body: "not (yet )?started", is: not_started }
- { connect: resource_exhausted, is: busy }
- { empty: true, is: failed }
"#;
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("the rules are right: {error}"))
}
