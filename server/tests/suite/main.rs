//! The real binary before real stores.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test ends at whatever it did not expect"
)]

mod conformance;
mod connections;
mod instance;
mod mutant;
mod refusals;
mod start_and_stop;
