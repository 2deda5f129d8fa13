//! The command line.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use coupon_server::mutant::{Mutant, NoSuchMutant};
use coupon_server::store::redis::Durability;
use coupon_server::telemetry::LogFormat;

const EXAMPLES: &str = "\
Examples:
  coupon-server                                        Redis on localhost:6379, listens on 127.0.0.1:8080
  coupon-server --store sqlite:coupons.db              one file, no other service
  coupon-server --store redis://10.0.0.5:6379/3 --listen 0.0.0.0:8080
  coupon-server --store redis-cluster://10.0.0.5:6379,10.0.0.6:6379
  coupon-server --store redis-sentinel://10.0.0.5:26379,10.0.0.6:26379/main --durability replicated
  coupon-server --store postgres://coupon@10.0.0.5:5432/shop
  coupon-server --listen 0.0.0.0:8443 --tls-cert server.pem --tls-key server.key
  PORT=9001 REDIS_ADDR=10.0.0.5:6379 coupon-server     the same by environment; flags win

Any number of servers can share one store.

Environment:
  PORT        listen on 127.0.0.1:PORT
  REDIS_ADDR  HOST:PORT of the default store [default: localhost:6379]
  PGPASSWORD  password for PostgreSQL, where the URL has none
  ADMIN_TOKEN, ISSUE_TOKEN  tokens, where no file is named
  SENTRY_DSN  where errors go besides the log
  OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_…  where traces go, by OpenTelemetry's standard
  RUST_LOG    log level, such as debug [default: info]

Exit codes:
  0  stopped by SIGTERM or SIGINT; a second one does not wait for requests in flight
  2  could not start; one line on stderr says why";

/// Issues coupons first come, first served: exactly as many as there are, and none before the start.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Where campaigns are kept: sqlite:PATH, redis://HOST:PORT/DB, redis-cluster://HOST:PORT,…, redis-sentinel://HOST:PORT,…/NAME or postgres://USER@HOST:PORT/DB [default: redis://$REDIS_ADDR/0]
    #[arg(long, value_name = "STORE")]
    pub(crate) store: Option<String>,

    /// File with the certificates (PEM) of whoever may sign the store's, for rediss:// and postgres:// [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub(crate) store_ca: Option<PathBuf>,

    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:$PORT or 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,

    /// Name of this instance in every answer [default: from host, process and port]
    #[arg(long, value_name = "NAME")]
    pub(crate) instance_id: Option<String>,

    /// Form of the log lines on stderr
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    /// How long a request may wait for the store, such as 5s or 800ms
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) request_timeout: Duration,

    /// How long requests in flight may take to finish after SIGTERM or SIGINT
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) drain_timeout: Duration,

    /// How many requests may wait for the store; more are refused with 503
    #[arg(long, value_name = "REQUESTS", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) queue: u32,

    /// How long a request for a coupon may be expected to wait for its turn; more are refused with 503 at once [default: --request-timeout]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) queue_time: Option<Duration>,

    /// Redis: what is promised of a coupon that was answered; a Redis that cannot keep it is refused [default: memory]
    #[arg(long, value_name = "PROMISE", value_enum)]
    pub(crate) durability: Option<Durability>,

    /// Decide each request in a step of the store of its own, instead of all that wait in one; to compare with
    #[arg(long)]
    pub(crate) alone: bool,

    /// File with the token that creating and cancelling campaigns and listing coupons take; else ADMIN_TOKEN, else anybody may
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,

    /// File with the token that getting a coupon takes; else ISSUE_TOKEN, else anybody may
    #[arg(long, value_name = "FILE")]
    pub(crate) issue_token_file: Option<PathBuf>,

    /// Requests a second that one address may make; more are refused with 429 [default: any number]
    #[arg(long, value_name = "REQUESTS")]
    pub(crate) rate_limit: Option<NonZeroU32>,

    /// Connections at a time; more are closed at once
    #[arg(long, value_name = "CONNECTIONS", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,

    /// TLS: file with the server's certificate in PEM, and those that lead to its root
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// TLS: file with the certificate's key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Plant a bug, to see a verifier find it; `help` lists them. Never where coupons are worth anything
    #[arg(long, value_name = "NAME", value_parser = planting)]
    pub(crate) mutant: Option<Planting>,

    /// Which requests a planted bug strikes, where it does not strike all of them
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) mutant_seed: u64,

    /// Puts this instance's clock forward, for tests: no coupon is issued a moment earlier for it
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 0,
        hide = true,
        allow_negative_numbers = true
    )]
    pub(crate) clock_ahead_ms: i64,
}

/// What is asked of the planted bugs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Planting {
    /// The list of them.
    List,
    /// One of them.
    Bug(Mutant),
}

fn planting(text: &str) -> Result<Planting, NoSuchMutant> {
    if text == "help" { Ok(Planting::List) } else { text.parse().map(Planting::Bug) }
}

impl Flags {
    /// Which bug is planted, if any.
    pub(crate) fn bug(&self) -> Option<Mutant> {
        match self.mutant {
            Some(Planting::Bug(mutant)) => Some(mutant),
            Some(Planting::List) | None => None,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "not a time such as 5s or 800ms".to_owned();
    let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit);
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let one = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        _ => return Err(wrong()),
    };
    let time = one * number;
    let bounds = Duration::from_millis(1)..=Duration::from_secs(3_600);
    if bounds.contains(&time) { Ok(time) } else { Err("must be from 1ms to 3600s".to_owned()) }
}
