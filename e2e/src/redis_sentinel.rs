//! A Redis primary, its replica and the Sentinel that watches them, of its own for each test.

use crate::redis::Redis;
use crate::redis_cluster::until;
use crate::tls::Tls;

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
        Self::set_up(Redis::start_with, "", |conf| Redis::sentinel(conf, None, None))
    }

    /// The same, where the servers want one password and the Sentinel another one.
    ///
    /// # Panics
    /// When Redis is not installed or they do not find each other.
    pub fn start_with_passwords(servers: &str, sentinel: &str) -> Self {
        let own = format!("requirepass {sentinel}\nsentinel auth-pass {NAME} {servers}\n");
        let start = |arguments: &[&str]| Redis::start_with_password(servers, arguments);
        Self::set_up(start, &own, |conf| Redis::sentinel(conf, None, Some(sentinel)))
    }

    /// The same, where all of them speak TLS, also with each other.
    ///
    /// # Panics
    /// When Redis is not installed, knows no TLS, or they do not find each other.
    pub fn start_with_tls(tls: &Tls) -> Self {
        let start = |arguments: &[&str]| Redis::start_with_tls_and(tls, arguments);
        Self::set_up(start, "", |conf| Redis::sentinel(conf, Some(tls), None))
    }

    fn set_up(
        server: impl Fn(&[&str]) -> Redis,
        own: &str,
        sentinel: impl Fn(&str) -> Redis,
    ) -> Self {
        let primary = server(&[]);
        let port = primary.told_port().to_string();
        let replica = server(&["--replicaof", "127.0.0.1", &port]);
        let sentinel = sentinel(&format!(
            "sentinel monitor {NAME} 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds {NAME} 2000\n\
             sentinel failover-timeout {NAME} 5000\n{own}"
        ));
        until(|| replica.cli(&["INFO", "replication"]).contains("master_link_status:up"));
        // A replica can be promoted once the Sentinel has heard of it.
        until(|| sentinel.cli(&["INFO", "sentinel"]).contains("status=ok"));
        until(|| sentinel.cli(&["SENTINEL", "REPLICAS", NAME]).contains("master-link-status\nok"));
        Self { servers: [primary, replica], sentinel }
    }

    /// Its URL, database 0, without logins.
    pub fn url(&self) -> String {
        format!("redis-sentinel://{}", self.place())
    }

    /// What its URL has behind the login: Sentinel and name.
    pub fn place(&self) -> String {
        format!("127.0.0.1:{}/{NAME}", self.sentinel.told_port())
    }

    /// The primary, as the Sentinel has it.
    ///
    /// # Panics
    /// When it has none of the servers.
    pub fn primary(&self) -> &Redis {
        let told = self.sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
        let port = told.lines().last().unwrap_or_default();
        let named = self.servers.iter().find(|server| server.told_port().to_string() == port);
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
