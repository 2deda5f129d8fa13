//! The server's command line.

mod place;

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use chrono::TimeDelta;
use clap::Parser;
use coupon_server::clock::Clock;
use coupon_server::http::access::{Access, Token};
use coupon_server::http::{App, Settings};
use coupon_server::mutant::answer::Distorted;
use coupon_server::mutant::store::Mutated;
use coupon_server::mutant::{Luck, Mutant, NoSuchMutant, Sabotage};
use coupon_server::schedule;
use coupon_server::serve::{Ending, Limits, Signals, listen, serve};
use coupon_server::store::postgres::{self, PostgresStore, Sharing};
use coupon_server::store::redis::{self, Durability, RedisStore};
use coupon_server::store::sqlite::SqliteStore;
use coupon_server::telemetry::{self, LogFormat};
use hyper::header::HeaderValue;
use place::{Place, environment, redacted};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

/// The server could not start: bad flags, an address that is taken, a store that is not there.
const CANNOT_START: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  coupon-server                                        Redis on localhost:6379, listens on 127.0.0.1:8080
  coupon-server --store sqlite:coupons.db              one file, no other service
  coupon-server --store redis://10.0.0.5:6379/3 --listen 0.0.0.0:8080
  coupon-server --store postgres://coupon@10.0.0.5:5432/shop
  PORT=9001 REDIS_ADDR=10.0.0.5:6379 coupon-server     the same by environment; flags win

Any number of servers can share one store.

Environment:
  PORT        listen on 127.0.0.1:PORT
  REDIS_ADDR  HOST:PORT of the default store [default: localhost:6379]
  PGPASSWORD  password for PostgreSQL, where the URL has none
  ADMIN_TOKEN, ISSUE_TOKEN  tokens, where no file is named
  SENTRY_DSN  where errors go besides the log
  RUST_LOG    log level, such as debug [default: info]

Exit codes:
  0  stopped by SIGTERM or SIGINT; a second one does not wait for requests in flight
  2  could not start; one line on stderr says why";

/// Issues coupons first come, first served: exactly as many as there are, and none before the start.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Flags {
    /// Where campaigns are kept: sqlite:PATH, redis://HOST:PORT/DB or postgres://USER@HOST:PORT/DB [default: redis://$REDIS_ADDR/0]
    #[arg(long, value_name = "STORE")]
    store: Option<String>,

    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:$PORT or 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,

    /// Name of this instance in every answer [default: from host, process and port]
    #[arg(long, value_name = "NAME")]
    instance_id: Option<String>,

    /// Form of the log lines on stderr
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// How long a request may wait for the store, such as 5s or 800ms
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    request_timeout: Duration,

    /// How long requests in flight may take to finish after SIGTERM or SIGINT
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    drain_timeout: Duration,

    /// How many requests may wait for the store; more are refused with 503
    #[arg(long, value_name = "REQUESTS", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    queue: u32,

    /// Redis: what is promised of a coupon that was answered; a Redis that cannot keep it is refused [default: memory]
    #[arg(long, value_name = "PROMISE", value_enum)]
    durability: Option<Durability>,

    /// PostgreSQL: decide each request in a transaction of its own, instead of all that wait in one
    #[arg(long)]
    alone: bool,

    /// File with the token that creating and cancelling campaigns and listing coupons take; else ADMIN_TOKEN, else anybody may
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,

    /// File with the token that getting a coupon takes; else ISSUE_TOKEN, else anybody may
    #[arg(long, value_name = "FILE")]
    issue_token_file: Option<PathBuf>,

    /// Requests a second that one address may make; more are refused with 429 [default: any number]
    #[arg(long, value_name = "REQUESTS")]
    rate_limit: Option<NonZeroU32>,

    /// Connections at a time; more are closed at once
    #[arg(long, value_name = "CONNECTIONS", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// Plant a bug, to see a verifier find it; `help` lists them. Never where coupons are worth anything
    #[arg(long, value_name = "NAME", value_parser = planting)]
    mutant: Option<Planting>,

    /// Which requests a planted bug strikes, where it does not strike all of them
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    mutant_seed: u64,

    /// Puts this instance's clock forward, for tests: no coupon is issued a moment earlier for it
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 0,
        hide = true,
        allow_negative_numbers = true
    )]
    clock_ahead_ms: i64,
}

/// What is asked of the planted bugs.
#[derive(Clone, Copy, Debug)]
enum Planting {
    /// The list of them.
    List,
    /// One of them.
    Bug(Mutant),
}

fn planting(text: &str) -> Result<Planting, NoSuchMutant> {
    if text == "help" { Ok(Planting::List) } else { text.parse().map(Planting::Bug) }
}

impl Flags {
    fn bug(&self) -> Option<Mutant> {
        match self.mutant {
            Some(Planting::Bug(mutant)) => Some(mutant),
            Some(Planting::List) | None => None,
        }
    }
}

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(e) => return refuse_flags(&e),
    };
    if let Some(Planting::List) = flags.mutant {
        print!("{}", Mutant::list());
        return ExitCode::SUCCESS;
    }
    match start(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("coupon-server: {}", one_line(&format!("{e:#}")));
            ExitCode::from(CANNOT_START)
        }
    }
}

fn start(flags: &Flags) -> anyhow::Result<()> {
    let access = access(flags)?;
    let place = Place::of(flags.store.as_deref())?;
    if flags.alone && !matches!(place, Place::Postgres(_)) {
        bail!("--alone is for PostgreSQL: leave it out, or pass --store postgres://…");
    }
    if flags.durability.is_some() && !matches!(place, Place::Redis(_)) {
        bail!("--durability is for Redis: leave it out, or pass --store redis://…");
    }
    let address = address(flags)?;
    let dsn = environment("SENTRY_DSN")?;
    // Sends what it has when it is dropped, after everything else.
    let _reporting = telemetry::start(flags.log_format, dsn.as_deref())?;
    allow_many_connections();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(run(flags, place, address, access));
    // A thread may still wait for a store that does not answer.
    runtime.shutdown_background();
    result
}

/// What a server has before its store is there.
struct Front {
    signals: Signals,
    listener: TcpListener,
    access: Access,
}

async fn run(
    flags: &Flags,
    place: Place,
    address: SocketAddr,
    access: Access,
) -> anyhow::Result<()> {
    // Before the server says that it listens.
    let signals = Signals::catch()?;
    let listener = listen(address).with_context(|| format!("cannot listen on {address}"))?;
    let mut front = Front { signals, listener, access };
    let capacity = usize::try_from(flags.queue)?;
    match place {
        Place::Redis(url) => {
            let settings = redis::Settings {
                capacity,
                timeout: flags.request_timeout,
                durability: flags.durability.unwrap_or(Durability::Memory),
            };
            let connecting = RedisStore::connect(&url, settings);
            let Some(store) = unless_stopped(&mut front.signals, connecting).await else {
                return Ok(());
            };
            // As text: the error and its cause say the same.
            let store = store.map_err(|e| anyhow!("no store at {}: {e}", redacted(&url)))?;
            run_with(store, flags, front, &redacted(&url)).await
        }
        Place::Postgres(url) => {
            let sharing = if flags.alone { Sharing::Alone } else { Sharing::Gathered };
            let settings = postgres::Settings { capacity, timeout: flags.request_timeout, sharing };
            let connecting = PostgresStore::connect(&url, settings);
            let Some(store) = unless_stopped(&mut front.signals, connecting).await else {
                return Ok(());
            };
            // As text: the error and its cause say the same.
            let store = store.map_err(|e| anyhow!("no store at {}: {e}", redacted(&url)))?;
            run_with(store, flags, front, &redacted(&url)).await
        }
        Place::Sqlite(path) => {
            let name = format!("sqlite:{}", path.display());
            let opening = tokio::task::spawn_blocking(move || SqliteStore::open(&path, capacity));
            let Some(store) = unless_stopped(&mut front.signals, opening).await else {
                return Ok(());
            };
            let store = store?.with_context(|| format!("cannot use the store {name}"))?;
            run_with(store, flags, front, &name).await
        }
    }
}

/// The store, or nothing if a signal came first.
async fn unless_stopped<T>(signals: &mut Signals, opening: impl Future<Output = T>) -> Option<T> {
    debug!("waiting for the store");
    tokio::select! {
        store = opening => Some(store),
        () = signals.next() => {
            info!("stopped before the store was there");
            None
        }
    }
}

async fn run_with<S: Sabotage>(
    store: S,
    flags: &Flags,
    Front { signals, listener, access }: Front,
    store_name: &str,
) -> anyhow::Result<()> {
    let instance = instance(flags, listener.local_addr()?)?;
    info!(store = store_name, instance = instance.to_str().unwrap_or_default(), "store is there");
    if let Some(mutant) = flags.bug().map(Mutant::name) {
        error!("PLANTED BUG: {mutant}. This server is broken on purpose; every answer says so");
    }
    if access.admin.is_none() && !listener.local_addr()?.ip().is_loopback() {
        warn!(
            "whoever reaches this address may create campaigns and see who got coupons: pass --admin-token-file"
        );
    }
    info!("listening on http://{}", listener.local_addr()?);
    let (stop, stopping) = watch::channel(false);
    let settings = Settings {
        patience: flags.request_timeout,
        clock: Clock::put_forward(TimeDelta::milliseconds(flags.clock_ahead_ms)),
        stopping,
        instance,
        access,
        rate_limit: flags.rate_limit,
    };
    let limits =
        Limits { connections: usize::try_from(flags.connections)?, drain: flags.drain_timeout };
    let ending = Ending { signals, stop };
    // Ends with the runtime, after all requests.
    tokio::spawn(schedule::run(store.clone(), unique_name()));
    match flags.bug() {
        None => {
            let app = Arc::new(App::new(store, settings));
            serve(listener, app, limits, ending).await;
        }
        Some(mutant) => {
            let luck = Luck::new(flags.mutant_seed);
            let app = App::new(Mutated::new(store, mutant, luck), settings);
            let app = Distorted::new(app, mutant, luck);
            serve(listener, app, limits, ending).await;
        }
    }
    Ok(())
}

fn address(flags: &Flags) -> anyhow::Result<SocketAddr> {
    let (source, text) = match (&flags.listen, environment("PORT")?) {
        (Some(listen), _) => ("--listen", listen.clone()),
        (None, Some(port)) => ("PORT", format!("127.0.0.1:{port}")),
        (None, None) => ("--listen", "127.0.0.1:8080".to_owned()),
    };
    text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()).ok_or_else(|| {
        anyhow!("{source}: {text:?} is no address to listen on, such as 127.0.0.1:8080")
    })
}

fn access(flags: &Flags) -> anyhow::Result<Access> {
    Ok(Access {
        admin: token(flags.admin_token_file.as_deref(), "ADMIN_TOKEN")?,
        issue: token(flags.issue_token_file.as_deref(), "ISSUE_TOKEN")?,
    })
}

/// Never repeats what it read.
fn token(file: Option<&Path>, variable: &str) -> anyhow::Result<Option<Token>> {
    let (place, text) = match file {
        Some(file) => {
            let place = file.display().to_string();
            let text = std::fs::read_to_string(file);
            (
                place.clone(),
                Some(text.with_context(|| format!("cannot read the token in {place}"))?),
            )
        }
        None => (variable.to_owned(), environment(variable)?),
    };
    text.map(|text| Token::new(&text)).transpose().map_err(|e| anyhow!("{place}: {e}"))
}

fn instance(flags: &Flags, address: SocketAddr) -> anyhow::Result<HeaderValue> {
    let name = flags.instance_id.clone().unwrap_or_else(|| {
        let system = rustix::system::uname();
        let host = system.nodename().to_string_lossy();
        format!("{host}-{}-{}", std::process::id(), address.port())
    });
    let plain = (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    HeaderValue::from_str(&name)
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| anyhow!("--instance-id must be 1 to 128 visible ASCII characters"))
}

/// What tells this process from all others, also where two instances were given one name.
fn unique_name() -> String {
    format!("{:032x}", rand::random::<u128>())
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

/// Every connection is an open file, and 1,024 are soon reached.
fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused the old limit stays, which is no reason not to start.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn refuse_flags(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // --help or --version; nobody reading it is no failure.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    // Usage and tips follow the first paragraph.
    let first = text.split("\n\n").next().unwrap_or_default();
    let reason = one_line(first.strip_prefix("error: ").unwrap_or(first));
    eprintln!("coupon-server: {reason} (see --help)");
    ExitCode::from(CANNOT_START)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
