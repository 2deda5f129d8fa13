//! Starts the real parts that the tests judge: services on free ports, and this workspace's own
//! binaries. Everything stops when its handle is dropped. And changes inputs, by a seed.

mod binaries;
mod coupon_server;
mod mariadb;
pub mod mutants;
mod mutate;
mod nginx;
mod postgres;
mod redis;
mod redis_cluster;
mod redis_sentinel;
mod service;
mod tls;

pub use binaries::{binary, binary_alone};
pub use coupon_server::CouponServer;
pub use mariadb::MariaDb;
pub use mutate::{Dice, mutated};
pub use nginx::Nginx;
pub use postgres::Postgres;
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use redis_sentinel::RedisSentinel;
pub use tls::Tls;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// The kernel takes none of these ports by itself: it begins at 32,768, for connections as well as for
/// who asks for any port, and so it gives away what was free a moment ago.
const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 20_000;

/// A port of the loopback interface that nobody listens on right now, and that nobody else in this process
/// is given.
///
/// # Panics
/// When the machine has no free port.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes that run side by side begin elsewhere.
    let first = std::process::id().wrapping_mul(7_919);
    let next = |_| {
        let at = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % u32::from(PORTS);
        FIRST_PORT + u16::try_from(at).expect("a remainder is smaller")
    };
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..PORTS).map(next).find(is_free).expect("no free loopback port")
}
