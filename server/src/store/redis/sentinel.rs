//! The primary that Sentinels name, whoever it is by now.
//!
//! The trick: one task asks the Sentinels, and only when it is told that the primary is lost, so that a
//! failover costs a few questions however many requests wait. A request that was sent to a primary which
//! is lost is not sent again; one that was not sent waits for the next primary.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, RedisFuture,
    RedisResult, ServerErrorKind, TlsCertificates, TlsMode, Value,
};
use tokio::sync::watch;
use tracing::{info, warn};

use super::Settings;
use super::link::CONNECT_TIMEOUT;

/// Between two questions to the Sentinels.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The way to the primary.
#[derive(Clone)]
pub(super) struct Followed {
    /// None while it is looked for.
    primary: watch::Receiver<Option<Primary>>,
    /// The term of the latest primary that was found to be lost.
    lost: watch::Sender<u64>,
    patience: Duration,
}

/// A connection to a primary.
#[derive(Clone)]
struct Primary {
    connection: MultiplexedConnection,
    /// How many were found up to this one.
    term: u64,
}

impl Followed {
    /// Asks the Sentinels, and keeps asking them for as long as this or a clone of it is there.
    pub(super) async fn connect(
        sentinels: SentinelClient,
        settings: &Settings,
    ) -> RedisResult<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(settings.timeout))
            .set_pipeline_buffer_size(1_024);
        let mut follower = Follower { sentinels, config, term: 0 };
        let (found, primary) = watch::channel(Some(follower.find().await?));
        let (lost, losses) = watch::channel(0);
        tokio::spawn(follower.follow(found, losses));
        Ok(Self { primary, lost, patience: settings.timeout })
    }

    /// The primary, once there is one.
    async fn primary(&mut self) -> RedisResult<Primary> {
        let known = self.primary.wait_for(Option::is_some);
        let known = tokio::time::timeout(self.patience, known).await;
        known.ok().and_then(Result::ok).and_then(|primary| primary.clone()).ok_or_else(|| {
            RedisError::from((ErrorKind::Io, "the Sentinels name no primary that answers"))
        })
    }

    /// Has another primary looked for, if this is not one any more.
    fn judge(&self, term: u64, end: Result<&Value, &RedisError>) {
        let lost = match end {
            Ok(Value::ServerError(error)) => error.kind() == Some(ServerErrorKind::ReadOnly),
            Ok(_) => false,
            // It may only be slow, and then the Sentinels will name it again.
            Err(error) => error.is_io_error() || error.is_unrecoverable_error(),
        };
        if lost {
            self.lost.send_if_modified(|latest| {
                let later = *latest < term;
                *latest = term.max(*latest);
                later
            });
        }
    }
}

/// Whoever asks the Sentinels.
struct Follower {
    sentinels: SentinelClient,
    config: AsyncConnectionConfig,
    term: u64,
}

impl Follower {
    async fn find(&mut self) -> RedisResult<Primary> {
        let connection = self.sentinels.get_async_connection_with_config(&self.config).await?;
        self.term += 1;
        Ok(Primary { connection, term: self.term })
    }

    /// Until nobody can ask for a primary any more.
    async fn follow(
        mut self,
        found: watch::Sender<Option<Primary>>,
        mut losses: watch::Receiver<u64>,
    ) {
        while losses.wait_for(|lost| *lost == self.term).await.is_ok() {
            found.send_replace(None);
            warn!("the primary is lost: the Sentinels are asked for another one");
            while !found.is_closed() {
                match self.find().await {
                    Ok(primary) => {
                        info!("there is a primary again");
                        found.send_replace(Some(primary));
                        break;
                    }
                    // They may not have noticed yet.
                    Err(_) => tokio::time::sleep(ASK_AGAIN).await,
                }
            }
        }
    }
}

/// Asks these Sentinels, and then connects as to this primary.
pub(super) fn client(
    sentinels: &[String],
    name: &str,
    primary: &redis::ConnectionInfo,
    certificates: Option<TlsCertificates>,
) -> RedisResult<SentinelClient> {
    let asked: Vec<_> = sentinels
        .iter()
        .map(|url| url.as_str().into_connection_info())
        .collect::<RedisResult<_>>()?;
    let addresses = asked.iter().map(|sentinel| sentinel.addr().clone());
    let login = primary.redis_settings();
    let mut client = SentinelClientBuilder::new(addresses, name, SentinelServerType::Master)?
        .set_client_to_redis_db(login.db());
    if let Some(user) = login.username() {
        client = client.set_client_to_redis_username(user);
    }
    if let Some(password) = login.password() {
        client = client.set_client_to_redis_password(password);
    }
    // All of them have the same one.
    let login = asked.first().map(redis::ConnectionInfo::redis_settings);
    if let Some(user) = login.and_then(|login| login.username()) {
        client = client.set_client_to_sentinel_username(user);
    }
    if let Some(password) = login.and_then(|login| login.password()) {
        client = client.set_client_to_sentinel_password(password);
    }
    if matches!(primary.addr(), redis::ConnectionAddr::TcpTls { .. }) {
        client = client.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    if let Some(certificates) = certificates {
        client = client
            .set_client_to_sentinel_certificates(certificates.clone())
            .set_client_to_redis_certificates(certificates);
    }
    client.build()
}

impl ConnectionLike for Followed {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let Primary { mut connection, term } = self.primary().await?;
            let told = connection.req_packed_command(command).await;
            self.judge(term, told.as_ref());
            told
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let Primary { mut connection, term } = self.primary().await?;
            let told = connection.req_packed_commands(commands, offset, count).await;
            for end in told.iter().flatten().map(Ok).chain(told.as_ref().err().map(Err)) {
                self.judge(term, end);
            }
            told
        })
    }

    fn get_db(&self) -> i64 {
        // Nothing asks for it.
        0
    }
}
