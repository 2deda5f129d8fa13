//! A Redis cluster of its own for each test.

use std::time::{Duration, Instant};

use crate::free_port;
use crate::redis::Redis;
use crate::tls::Tls;

/// Primaries, each with one replica.
const PRIMARIES: usize = 3;
/// All hash slots.
const SLOTS: usize = 16_384;
/// How long a cluster may take to agree.
const AGREES_WITHIN: Duration = Duration::from_secs(60);

/// Three primaries with a replica each, on free loopback ports.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts one, with no persistence. A primary that is silent for two seconds is replaced.
    ///
    /// # Panics
    /// When Redis is not installed or the cluster does not come up.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further arguments for each server.
    ///
    /// # Panics
    /// When Redis is not installed or the cluster does not come up.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::set_up(|own| Redis::start_with(&[own, arguments].concat()))
    }

    /// Starts one whose servers speak TLS, also with each other.
    ///
    /// # Panics
    /// When Redis is not installed, knows no TLS, or the cluster does not come up.
    pub fn start_with_tls(tls: &Tls) -> Self {
        Self::set_up(|own| {
            Redis::start_with_tls_and(tls, &[own, &["--tls-cluster", "yes"]].concat())
        })
    }

    fn set_up(start: impl Fn(&[&str]) -> Redis) -> Self {
        let nodes: Vec<(Redis, u16)> = (0..2 * PRIMARIES).map(|_| node(&start)).collect();
        let (first, _) = &nodes[0];
        for (at, (primary, _)) in nodes[..PRIMARIES].iter().enumerate() {
            let [from, to] = [at, at + 1].map(|at| SLOTS * at / PRIMARIES);
            primary.cli(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &(to - 1).to_string()]);
        }
        for (node, bus) in &nodes[1..] {
            let (port, bus) = (node.told_port().to_string(), bus.to_string());
            first.cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let cluster = Self { nodes: nodes.into_iter().map(|(node, _)| node).collect() };
        let everybody = format!("cluster_known_nodes:{}", 2 * PRIMARIES);
        cluster.until_all(|node| node.cli(&["CLUSTER", "INFO"]).contains(&everybody));
        for (primary, replica) in cluster.nodes[..PRIMARIES].iter().zip(&cluster.nodes[PRIMARIES..])
        {
            let id = primary.cli(&["CLUSTER", "MYID"]);
            // It has to have heard who of the others is a primary.
            until(|| replica.cli(&["CLUSTER", "REPLICATE", &id]) == "OK");
        }
        cluster.until_all(|node| {
            let nodes = node.cli(&["CLUSTER", "NODES"]);
            let replicas = nodes.lines().filter(|line| line.contains("slave")).count();
            let replication = node.cli(&["INFO", "replication"]);
            node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                && replicas == PRIMARIES
                && (replication.contains("master_link_status:up")
                    || replication.contains("state=online"))
        });
        cluster
    }

    /// Its URL, which names all its servers.
    pub fn url(&self) -> String {
        format!("redis-cluster://{}", self.places())
    }

    /// Its URL with TLS, likewise.
    pub fn tls_url(&self) -> String {
        format!("rediss-cluster://{}", self.places())
    }

    fn places(&self) -> String {
        let hosts = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.told_port()));
        hosts.collect::<Vec<_>>().join(",")
    }

    /// Its servers.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The primary that rules a key's slot now.
    ///
    /// # Panics
    /// When nobody does for a minute.
    pub fn ruler_of(&self, key: &str) -> &Redis {
        let mut ruler = None;
        until(|| {
            // Whoever does not rule it says who does.
            ruler = self.nodes.iter().find(|node| {
                let told = node.cli(&["GET", key]);
                !["MOVED", "CLUSTERDOWN", "Could not connect"].iter().any(|no| told.contains(no))
            });
            ruler.is_some()
        });
        ruler.expect("it was just found")
    }

    /// Has a replica of the primary that rules a key take over from it, in order.
    ///
    /// # Panics
    /// When none does within a minute.
    pub fn fail_over(&self, key: &str) {
        let ruler = self.ruler_of(key);
        let id = ruler.cli(&["CLUSTER", "MYID"]);
        let replica = |node: &&Redis| {
            node.cli(&["CLUSTER", "NODES"])
                .lines()
                .any(|line| line.contains("myself,slave") && line.contains(&id))
        };
        let replica = self.nodes.iter().find(replica).expect("each primary has a replica");
        assert_eq!(replica.cli(&["CLUSTER", "FAILOVER"]), "OK");
        until(|| replica.cli(&["ROLE"]).starts_with("master"));
    }

    /// Moves the slot of these keys, which share it, to another primary, with the keys.
    ///
    /// # Panics
    /// When a server refuses.
    pub fn move_slot(&self, keys: &[&str]) {
        let from = self.ruler_of(keys[0]);
        let is_primary = |node: &&Redis| node.cli(&["ROLE"]).starts_with("master");
        let other = |node: &&Redis| node.port() != from.port() && is_primary(node);
        let to = self.nodes.iter().find(other).expect("there are three primaries");
        let slot = from.cli(&["CLUSTER", "KEYSLOT", keys[0]]);
        let (from_id, to_id) = (from.cli(&["CLUSTER", "MYID"]), to.cli(&["CLUSTER", "MYID"]));
        let set = |node: &Redis, words: &[&str]| {
            let told = node.cli(&[&["CLUSTER", "SETSLOT", slot.as_str()], words].concat());
            assert_eq!(told, "OK", "{words:?}");
        };
        set(to, &["IMPORTING", &from_id]);
        set(from, &["MIGRATING", &to_id]);
        let port = to.port().to_string();
        // One after the other: in between, some are here and some there.
        for key in keys {
            let told = from.cli(&["MIGRATE", "127.0.0.1", &port, key, "0", "20000"]);
            assert!(["OK", "NOKEY"].contains(&told.as_str()), "{told}");
        }
        set(to, &["NODE", &to_id]);
        set(from, &["NODE", &to_id]);
    }

    fn until_all(&self, holds: impl Fn(&Redis) -> bool) {
        self.nodes.iter().for_each(|node| until(|| holds(node)));
    }
}

fn node(start: impl Fn(&[&str]) -> Redis) -> (Redis, u16) {
    let bus = free_port();
    let port = bus.to_string();
    let own =
        ["--cluster-enabled", "yes", "--cluster-port", &port, "--cluster-node-timeout", "2000"];
    (start(&own), bus)
}

/// Asks again and again until it holds.
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + AGREES_WITHIN;
    while !holds() {
        assert!(Instant::now() < deadline, "the servers do not agree");
        std::thread::sleep(Duration::from_millis(20));
    }
}
