//! A scenario.
#![no_main]

#[expect(dead_code, reason = "each target calls one of them")]
#[path = "../../loadgen/tests/foreign/parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::scenario(bytes));
