//! The report in its three forms. Each is a pure function of the same judgment.

pub mod json;
pub mod junit;
pub mod table;
