//! What is promised of a coupon that was answered, and whether this Redis keeps it.

use std::time::Duration;

use clap::ValueEnum;
use tracing::warn;

use super::OpenError;
use super::link::Link;

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

/// Checks that each server that takes writes can keep the promise.
pub(super) async fn check(redis: &Link, durability: Durability) -> Result<(), OpenError> {
    match durability {
        Durability::Memory => Ok(()),
        Durability::Aof => check_file(redis).await,
        Durability::Replicated => check_replicas(redis).await,
    }
}

async fn check_file(redis: &Link) -> Result<(), OpenError> {
    for (name, needed) in [("appendonly", "yes"), ("appendfsync", "always")] {
        let mut config = redis::cmd("CONFIG");
        config.arg(&["GET", name]);
        let told = redis.primaries::<Vec<String>>(&config).await.unwrap_or_default();
        let set: Vec<_> = told.iter().filter_map(|pair| pair.get(1)).collect();
        if let Some(other) = set.iter().find(|set| **set != needed) {
            let promise = format!("--durability aof needs {name} {needed}, and it has {other}");
            return Err(OpenError::Promise(promise));
        }
        // Hosted ones often keep it to themselves.
        if set.is_empty() {
            warn!(
                "cannot see whether this Redis has {name} {needed}: --durability aof is not certain"
            );
        }
    }
    Ok(())
}

async fn check_replicas(redis: &Link) -> Result<(), OpenError> {
    let mut info = redis::cmd("INFO");
    info.arg("replication");
    let replicas = |info: &String| {
        let replicas = info.lines().find_map(|line| line.strip_prefix("connected_slaves:"));
        replicas.is_some_and(|replicas| replicas.trim() != "0")
    };
    if redis.primaries(&info).await?.iter().all(replicas) {
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
