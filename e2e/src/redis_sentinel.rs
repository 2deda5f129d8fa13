//! A Redis primary, its replica and the Sentinel that watches them, of its own for each test.

use crate::redis::Redis;
use crate::redis_cluster::until;

/// What the Sentinel calls them.
const NAME: &str = "main";

/// A primary, a replica and a Sentinel on free loopback ports.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: [Redis; 2],
    sentinel: Redis,
}

impl RedisSentinel {
    /// Starts them, with no persistence. A primary that is silent for two seconds is replaced.
    ///
    /// # Panics
    /// When Redis is not installed or they do not find each other.
    pub fn start() -> Self {
        let primary = Redis::start();
        let port = primary.port().to_string();
        let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]);
        let sentinel = Redis::sentinel(&format!(
            "sentinel monitor {NAME} 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds {NAME} 2000\n\
             sentinel failover-timeout {NAME} 5000\n"
        ));
        until(|| replica.cli(&["INFO", "replication"]).contains("master_link_status:up"));
        // A replica can be promoted once the Sentinel has heard of it.
        until(|| sentinel.cli(&["INFO", "sentinel"]).contains("status=ok"));
        until(|| sentinel.cli(&["SENTINEL", "REPLICAS", NAME]).contains("master-link-status\nok"));
        Self { servers: [primary, replica], sentinel }
    }

    /// Its URL, database 0.
    pub fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}/{NAME}", self.sentinel.port())
    }

    /// The primary, as the Sentinel has it.
    ///
    /// # Panics
    /// When it has none of the servers.
    pub fn primary(&self) -> &Redis {
        let told = self.sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
        let port = told.lines().last().unwrap_or_default();
        let named = self.servers.iter().find(|server| server.port().to_string() == port);
        named.unwrap_or_else(|| panic!("the Sentinel names another primary: {told}"))
    }

    /// Has the Sentinel promote the replica, and waits until it has.
    ///
    /// # Panics
    /// When it refuses, or does not within a minute.
    pub fn fail_over(&self) {
        let before = self.primary().port();
        until(|| self.sentinel.cli(&["SENTINEL", "FAILOVER", NAME]) == "OK");
        self.until_replaced(before);
    }

    /// Waits until another server is the primary than the one at this port.
    ///
    /// # Panics
    /// When none is within a minute.
    pub fn until_replaced(&self, port: u16) {
        until(|| {
            let primary = self.primary();
            primary.port() != port && primary.cli(&["ROLE"]).starts_with("master")
        });
    }
}
