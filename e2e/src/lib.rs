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

/// A port of the loopback interface that nobody listens on right now.
///
/// # Panics
/// When the machine has no free port.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("no free loopback port");
    listener.local_addr().expect("a bound socket has an address").port()
}
