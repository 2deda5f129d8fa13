//! The real binary before real stores.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test ends at whatever it did not expect"
)]

/// A test for each store.
macro_rules! on_every_store {
    ($($name:ident)*) => {
        mod redis {
            $(#[tokio::test] async fn $name() { super::$name(crate::instance::Store::redis()).await; })*
        }
        mod redis_cluster {
            $(#[tokio::test] async fn $name() {
                super::$name(crate::instance::Store::redis_cluster()).await;
            })*
        }
        mod redis_sentinel {
            $(#[tokio::test] async fn $name() {
                super::$name(crate::instance::Store::redis_sentinel()).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(crate::instance::Store::sqlite()).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $name() { super::$name(crate::instance::Store::postgres()).await; })*
        }
        mod postgres_alone {
            $(#[tokio::test] async fn $name() {
                super::$name(crate::instance::Store::postgres_alone()).await;
            })*
        }
    };
}
mod access;
mod changes;
mod conformance;
mod connections;
mod durability;
mod events;
mod failover;
mod instance;
mod lost_answers;
mod metrics;
mod mutant;
mod openapi;
mod refusals;
mod rpc;
mod schedule;
mod start_and_stop;
mod store_tls;
mod tls;
mod traces;
