//! A minimal, exemplary first-come-first-served coupon server.
//!
//! Exactly N coupons, never one early: [`http`] parses and answers, a [`store`] decides in one
//! atomic step. The server's whole path of a request is these two rooms.

pub mod clock;
pub mod code;
pub mod http;
pub mod metrics;
pub mod mutant;
pub mod schedule;
pub mod serve;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod traces;
pub mod user;
