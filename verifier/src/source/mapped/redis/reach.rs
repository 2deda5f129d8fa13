//! How a Redis, or all masters of a cluster, are reached.

use std::time::Duration;

use anyhow::{Result, anyhow};
use contract::redis::{Place, Reach};
use redis::cluster::ClusterClient;

use super::Keys;

/// How long Redis may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Keys {
    /// Connects.
    ///
    /// # Errors
    /// When the URL is none, or nobody answers there.
    pub fn open(url: &str) -> Result<Self> {
        let of_one = |url: &str| -> Result<Self> {
            Ok(Self { connection: Box::new(connect(url)?), masters: Vec::new() })
        };
        match contract::redis::place(url).map_err(|what| anyhow!(what))? {
            Place::Server(url) => of_one(&url),
            Place::Cluster { seeds, servers } => Self::open_cluster(&seeds, &servers),
            Place::Sentinel { sentinels, name, servers } => {
                of_one(&servers.at(&primary(&sentinels, &name)?))
            }
        }
    }

    fn open_cluster(seeds: &[String], servers: &Reach) -> Result<Self> {
        let nodes: Vec<_> = seeds.iter().map(|seed| servers.at(seed)).collect();
        let client = ClusterClient::builder(nodes).connection_timeout(PATIENCE);
        let client = client.response_timeout(PATIENCE).build().map_err(reason)?;
        let mut cluster = client.get_connection().map_err(|e| anyhow!("cannot be reached: {e}"))?;
        let listed: String =
            redis::cmd("CLUSTER").arg("NODES").query(&mut cluster).map_err(reason)?;
        let masters: Result<Vec<_>> =
            masters(&listed).map(|host| connect(&servers.at(host))).collect();
        Ok(Self { connection: Box::new(cluster), masters: masters? })
    }
}

/// Where the primary of this name is, as the first Sentinel that answers says.
fn primary(sentinels: &[String], name: &str) -> Result<String> {
    let mut failure = anyhow!("there is no Sentinel");
    for url in sentinels {
        let mut question = redis::cmd("SENTINEL");
        question.arg(&["GET-MASTER-ADDR-BY-NAME", name]);
        let told = connect(url).and_then(|mut sentinel| {
            question.query::<Option<(String, u16)>>(&mut sentinel).map_err(reason)
        });
        match told {
            Ok(Some((host, port))) if host.contains(':') => return Ok(format!("[{host}]:{port}")),
            Ok(Some((host, port))) => return Ok(format!("{host}:{port}")),
            Ok(None) => failure = anyhow!("the Sentinels know no primary called {name:?}"),
            Err(e) => failure = e,
        }
    }
    Err(failure)
}

/// One server.
fn connect(url: &str) -> Result<redis::Connection> {
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
