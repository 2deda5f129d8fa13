//! How a Redis, or all masters of a cluster, are reached.

use std::time::Duration;

use anyhow::{Result, anyhow};
use redis::cluster::ClusterClient;

use super::Keys;

/// How long Redis may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Keys {
    /// Connects.
    ///
    /// # Errors
    /// When nobody answers there.
    pub fn open(url: &str) -> Result<Self> {
        match url.strip_prefix("redis-cluster:").map(|rest| ("redis:", rest)) {
            Some((scheme, rest)) => Self::open_cluster(scheme, rest),
            None => match url.strip_prefix("rediss-cluster:") {
                Some(rest) => Self::open_cluster("rediss:", rest),
                None => Ok(Self { connection: Box::new(connect(url)?), masters: Vec::new() }),
            },
        }
    }

    /// `//[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]`
    fn open_cluster(scheme: &str, rest: &str) -> Result<Self> {
        let rest = rest.trim_start_matches('/').trim_end_matches('/');
        let (login, hosts) = rest.rsplit_once('@').map_or(("", rest), |(l, h)| (l, h));
        let at = if login.is_empty() { "" } else { "@" };
        let url = |host: &str| format!("{scheme}//{login}{at}{host}");
        let nodes: Vec<String> = hosts.split(',').map(url).collect();
        let client = ClusterClient::builder(nodes).connection_timeout(PATIENCE);
        let client = client.response_timeout(PATIENCE).build().map_err(reason)?;
        let mut cluster = client.get_connection().map_err(|e| anyhow!("cannot be reached: {e}"))?;
        let listed: String =
            redis::cmd("CLUSTER").arg("NODES").query(&mut cluster).map_err(reason)?;
        let masters: Result<Vec<_>> = masters(&listed).map(|host| connect(&url(host))).collect();
        Ok(Self { connection: Box::new(cluster), masters: masters? })
    }
}

/// One server.
pub(in crate::source) fn connect(url: &str) -> Result<redis::Connection> {
    let client = redis::Client::open(url).map_err(|e| anyhow!("not a Redis URL: {e}"))?;
    let connection = client.get_connection_with_timeout(PATIENCE);
    let connection = connection.map_err(|e| anyhow!("cannot be reached: {e}"))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(connection)
}

/// The masters in the answer to CLUSTER NODES: `ID HOST:PORT@BUS FLAGS …`.
fn masters(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (place, flags) = (words.nth(1)?, words.next()?);
        let is_master = flags.split(',').any(|flag| flag == "master");
        is_master.then(|| place.split('@').next()).flatten()
    })
}

fn reason(error: redis::RedisError) -> anyhow::Error {
    anyhow!("{error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_are_told_from_replicas() {
        let listed = "a 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-8191\n\
                      b 10.0.0.2:7001@17001,host slave a 0 0 1 connected\n\
                      c 10.0.0.3:7002@17002 master - 0 0 2 connected 8192-16383\n";
        assert_eq!(masters(listed).collect::<Vec<_>>(), ["10.0.0.1:7000", "10.0.0.3:7002"]);
    }
}
