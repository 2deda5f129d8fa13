//! coupon-history/1.
#![no_main]

#[expect(dead_code, reason = "each target calls one of them")]
#[path = "../../contract/tests/foreign/parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::lines(bytes));
