//! What the server, the load generator and the verifier agree on, and nothing else:
//! what a campaign promises, the words on the wire, the history of a run, and how to read a store.
//!
//! No rule lives here. The server decides, the verifier judges, and neither can see the other's
//! code: a shared rule would share its bugs.

mod borrowed;
pub mod campaign;
pub mod history;
pub mod outcome;
pub mod redis;
pub mod run;
pub mod secrets;
pub mod sqlite;
#[cfg(feature = "mapping")]
pub mod store;
pub mod threads;
pub mod wire;
#[cfg(feature = "mapping")]
pub mod yaml;
