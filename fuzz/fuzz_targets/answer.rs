//! An answer, by the scenario's rules.
#![no_main]

#[expect(dead_code, reason = "each target calls one of them")]
#[path = "../../loadgen/tests/foreign/parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| RULES.with(|rules| parsers::answer(rules, bytes)));

thread_local! {
    static RULES: Vec<loadgen::mapping::Rule> = parsers::rules();
}
