//! What is promised of a coupon that was answered, and whether this Redis keeps it.

use std::time::Duration;

use clap::ValueEnum;
use redis::aio::ConnectionLike;
use tracing::warn;

use super::OpenError;

/// What becomes of an answered coupon when Redis or its machine dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// Nothing is promised
    Memory,
    /// It is on Redis' disk before it is answered: appendonly yes, appendfsync always
    Aof,
    /// At least one replica has it before it is answered
    Replicated,
}

/// Checks that this Redis can keep the promise.
pub(super) async fn check(
    redis: &mut impl ConnectionLike,
    durability: Durability,
) -> Result<(), OpenError> {
    match durability {
        Durability::Memory => Ok(()),
        Durability::Aof => check_file(redis).await,
        Durability::Replicated => check_replicas(redis).await,
    }
}

async fn check_file(redis: &mut impl ConnectionLike) -> Result<(), OpenError> {
    for (name, needed) in [("appendonly", "yes"), ("appendfsync", "always")] {
        let told: Result<Vec<String>, _> =
            redis::cmd("CONFIG").arg(&["GET", name]).query_async(redis).await;
        match told.ok().and_then(|pair| pair.into_iter().nth(1)) {
            Some(set) if set == needed => {}
            Some(set) => {
                let promise = format!("--durability aof needs {name} {needed}, and it has {set}");
                return Err(OpenError::Promise(promise));
            }
            // Hosted ones often keep it to themselves.
            None => warn!(
                "cannot see whether this Redis has {name} {needed}: --durability aof is not certain"
            ),
        }
    }
    Ok(())
}

async fn check_replicas(redis: &mut impl ConnectionLike) -> Result<(), OpenError> {
    let info: String = redis::cmd("INFO").arg("replication").query_async(redis).await?;
    let value =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    if value("connected_slaves").is_some_and(|replicas| replicas.trim() != "0") {
        return Ok(());
    }
    let promise = "--durability replicated needs a replica, and it has none".to_owned();
    Err(OpenError::Promise(promise))
}

/// How long a step waits for its replica: as long as for Redis itself.
pub(super) fn wait(patience: Duration) -> redis::Cmd {
    let mut wait = redis::cmd("WAIT");
    // Redis takes 0 for ever.
    wait.arg(1).arg(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX).max(1));
    wait
}
