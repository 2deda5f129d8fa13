//! The way to the Redis that rules a key: one server, a cluster, or the primary that Sentinels name.
//!
//! The trick: only what Redis certainly did not do is sent again. It says so where it does not know a
//! script, and where another server rules the key, now or soon. After any other failure nobody knows
//! whether there was an effect, and nothing here tries to find out.

use std::time::{Duration, Instant};

use contract::redis::Place;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo};
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError, RedisFuture,
    RedisResult, ServerErrorKind, TlsCertificates, Value,
};

use super::super::StoreError;
use super::durability::{self, Durability};
use super::script::Call;
use super::sentinel::{self, Followed};
use super::{OpenError, Settings, unavailable};

/// How long a connection may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two attempts to find who rules a key.
const SEARCH: Duration = Duration::from_millis(20);

/// The way, for any number of requests at a time.
#[derive(Clone)]
pub(super) struct Link {
    way: Way,
    timeout: Duration,
    durability: Durability,
}

/// How the server is found that rules a key.
#[derive(Clone)]
enum Way {
    /// There is only one.
    Server(ConnectionManager),
    /// By the key's hash slot.
    Cluster(ClusterConnection),
    /// The Sentinels say who it is.
    Sentinel(Followed),
}

impl Link {
    /// Connects, and sees whether what is found there keeps what is promised.
    pub(super) async fn connect(place: &Place, settings: &Settings) -> Result<Self, OpenError> {
        let way = match place {
            Place::Server(url) => Way::Server(server(url, settings).await?),
            Place::Cluster { seeds, servers } => {
                let urls = seeds.iter().map(|seed| servers.at(seed)).collect();
                Way::Cluster(cluster(urls, settings).await?)
            }
            Place::Sentinel { sentinels, name, servers } => {
                // Whose login it is; which server that will be, the Sentinels say.
                let primary = servers.at("localhost").into_connection_info()?;
                let sentinels =
                    sentinel::client(sentinels, name, &primary, certificates(settings))?;
                Way::Sentinel(Followed::connect(sentinels, settings).await?)
            }
        };
        let Settings { timeout, durability, .. } = *settings;
        let link = Self { way, timeout, durability };
        durability::check(&link, durability).await?;
        Ok(link)
    }

    /// The answer to a command about one key.
    pub(super) async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> Result<T, StoreError> {
        let mut command = redis::pipe();
        command.cmd(words[0]).arg(&words[1..]);
        let (told,) = self.send(&command).await.map_err(unavailable)?;
        Ok(told)
    }

    /// Calls a script of which nothing is promised.
    pub(super) async fn run<T: FromRedisValue>(&self, call: &Call<'_>) -> Result<T, StoreError> {
        let (told,) = self.call(call, None).await?;
        Ok(told)
    }

    /// Calls a script, and waits until what it wrote is where it is promised to be.
    pub(super) async fn keep<T: FromRedisValue>(&self, call: &Call<'_>) -> Result<T, StoreError> {
        // A file is written before Redis answers; for a replica one has to wait.
        if self.durability != Durability::Replicated {
            return self.run(call).await;
        }
        let wait = durability::wait(self.timeout);
        let (told, replicas): (T, u64) = self.call(call, Some(wait)).await?;
        if replicas == 0 {
            return Err(StoreError::Unavailable("no replica has what was written".to_owned()));
        }
        Ok(told)
    }

    /// What each server says that takes writes.
    pub(super) async fn primaries<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<Vec<T>> {
        let Way::Cluster(cluster) = &self.way else {
            return Ok(vec![command.query_async(&mut self.way.clone()).await?]);
        };
        let all = (MultipleNodeRoutingInfo::AllMasters, Some(ResponsePolicy::Special));
        let mut cluster = cluster.clone();
        let told = cluster.route_command(command.clone(), RoutingInfo::MultiNode(all)).await?;
        let told: Vec<(String, T)> = redis::from_redis_value(told.extract_error()?)?;
        Ok(told.into_iter().map(|(_server, told)| told).collect())
    }

    /// Calls a script, and sends what comes `then` right behind it: WAIT asks for what was written
    /// over the very connection that it is sent over.
    async fn call<T: FromRedisValue>(
        &self,
        call: &Call<'_>,
        then: Option<Cmd>,
    ) -> Result<T, StoreError> {
        let in_one_go = |command: Cmd| {
            let mut all = redis::pipe();
            all.add_command(command);
            then.iter().for_each(|then| _ = all.add_command(then.clone()));
            all
        };
        let told = match self.send(&in_one_go(call.by_hash())).await {
            Err(e) if is(&e, ServerErrorKind::NoScript) => {
                self.send(&in_one_go(call.with_code())).await
            }
            told => told,
        };
        told.map_err(unavailable)
    }

    /// Sends until somebody did it, or may have.
    async fn send<T: FromRedisValue>(&self, commands: &Pipeline) -> RedisResult<T> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match commands.query_async(&mut self.way.clone()).await {
                Err(e) if self.is_elsewhere(&e) && Instant::now() + SEARCH < deadline => {
                    tokio::time::sleep(SEARCH).await;
                }
                told => return told,
            }
        }
    }

    /// Whether Redis did nothing because another server rules the key, or will in a moment.
    fn is_elsewhere(&self, error: &RedisError) -> bool {
        let elsewhere = [
            ServerErrorKind::Moved,
            // The slot is being moved, with some of the campaign's keys here and some there.
            ServerErrorKind::Ask,
            ServerErrorKind::TryAgain,
            ServerErrorKind::ClusterDown,
            // It was the primary until a moment ago.
            ServerErrorKind::ReadOnly,
        ];
        !matches!(self.way, Way::Server(_)) && elsewhere.iter().any(|&kind| is(error, kind))
    }
}

fn is(error: &RedisError, kind: ServerErrorKind) -> bool {
    error.kind() == ErrorKind::Server(kind)
}

async fn server(url: &str, settings: &Settings) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(settings.timeout))
        .set_min_delay(Duration::from_millis(50))
        .set_max_delay(Duration::from_millis(500))
        .set_number_of_retries(2)
        .set_pipeline_buffer_size(1_024);
    let client = match certificates(settings) {
        Some(certificates) => Client::build_with_tls(url, certificates)?,
        None => Client::open(url)?,
    };
    ConnectionManager::new_with_config(client, config).await
}

async fn cluster(urls: Vec<String>, settings: &Settings) -> RedisResult<ClusterConnection> {
    let builder = ClusterClient::builder(urls);
    let builder = match certificates(settings) {
        Some(certificates) => builder.certs(certificates),
        None => builder,
    };
    builder
        // It would send again whatever a connection broke under.
        .retries(0)
        .connection_timeout(CONNECT_TIMEOUT)
        .response_timeout(settings.timeout)
        .overall_response_timeout(None)
        .build()?
        .get_async_connection()
        .await
}

/// Whom to trust, where it is not whom the system trusts.
fn certificates(settings: &Settings) -> Option<TlsCertificates> {
    settings.ca.clone().map(|ca| TlsCertificates { client_tls: None, root_cert: Some(ca) })
}

impl ConnectionLike for Way {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(server) => server.req_packed_command(command),
            Self::Cluster(cluster) => cluster.req_packed_command(command),
            Self::Sentinel(primary) => primary.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(server) => server.req_packed_commands(commands, offset, count),
            Self::Cluster(cluster) => cluster.req_packed_commands(commands, offset, count),
            Self::Sentinel(primary) => primary.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(server) => server.get_db(),
            Self::Cluster(cluster) => cluster.get_db(),
            Self::Sentinel(primary) => primary.get_db(),
        }
    }
}
