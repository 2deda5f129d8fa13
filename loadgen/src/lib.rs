//! An open-model load generator for coupon launches: it drives any number of instances along a
//! scenario and records every request it ever sent.
//!
//! The way of a request: [`schedule`] says when it is due, [`workload`] who asks and where,
//! [`pace`] waits for the moment, [`record`] writes the invocation down, [`client`] sends it,
//! [`mapping`] says what the answer means, [`record`] writes the completion down. [`summary`] reads it all
//! again and counts. Judging is the verifier's.

use std::io::Write as _;

use contract::secrets;

pub mod campaign;
pub mod client;
pub mod clock;
pub mod crowd;
pub mod export;
pub mod folder;
pub mod http;
pub mod instances;
pub mod live;
pub mod mapping;
pub mod pace;
pub mod plan;
pub mod probe;
pub mod progress;
pub mod record;
pub mod report;
pub mod run;
pub mod samples;
pub mod scenario;
pub mod schedule;
pub mod selfcheck;
pub mod summary;
pub mod system;
pub mod thresholds;
pub mod users;
pub mod worker;
pub mod workload;

/// Prints to standard output; a reader that went away is no reason to panic.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints a line to standard error, likewise.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
