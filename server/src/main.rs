//! Starts the server that the command line asks for.

mod flags;
mod place;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use chrono::TimeDelta;
use clap::Parser;
use coupon_server::clock::Clock;
use coupon_server::http::access::{Access, Token};
use coupon_server::http::{App, Settings};
use coupon_server::mutant::answer::Distorted;
use coupon_server::mutant::store::Mutated;
use coupon_server::mutant::{Luck, Mutant, Sabotage};
use coupon_server::schedule;
use coupon_server::serve::{Ending, Limits, Listener, Signals, serve};
use coupon_server::store::postgres::{self, PostgresStore};
use coupon_server::store::redis::{self, Durability, RedisStore};
use coupon_server::store::sqlite::{self, SqliteStore};
use coupon_server::store::{Queue, Sharing};
use coupon_server::telemetry;
use coupon_server::tls::{self, TlsError};
use coupon_server::traces;
use flags::{Flags, Planting};
use hyper::header::HeaderValue;
use place::{Place, environment, redacted};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, info, warn};

/// A request allocates two dozen small things, and the allocator of a static binary has one lock for all
/// threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The server could not start: bad flags, an address that is taken, a store that is not there.
const CANNOT_START: u8 = 2;

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
    let tls = tls(flags)?;
    let place = Place::of(flags.store.as_deref())?;
    if flags.durability.is_some() && !matches!(place, Place::Redis(_)) {
        bail!("--durability is for Redis: leave it out, or pass --store redis://…");
    }
    let address = address(flags)?;
    let dsn = environment("SENTRY_DSN")?;
    // Sends what it has when it is dropped, after everything else.
    let _reporting = telemetry::start(flags.log_format, dsn.as_deref())?;
    let _tracing = traces::start()?;
    allow_many_connections();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(run(flags, place, Entrance { address, tls, access }));
    // A thread may still wait for a store that does not answer.
    runtime.shutdown_background();
    result
}

/// Where and whom a server lets in.
struct Entrance {
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    access: Access,
}

/// What a server has before its store is there.
struct Front {
    signals: Signals,
    listener: Listener,
    access: Access,
}

async fn run(flags: &Flags, place: Place, entrance: Entrance) -> anyhow::Result<()> {
    let Entrance { address, tls, access } = entrance;
    // Before the server says that it listens.
    let signals = Signals::catch()?;
    let listener =
        Listener::bind(address, tls).with_context(|| format!("cannot listen on {address}"))?;
    let mut front = Front { signals, listener, access };
    let patience = flags.queue_time.unwrap_or(flags.request_timeout);
    let queue = Queue { capacity: usize::try_from(flags.queue)?, patience };
    let sharing = if flags.alone { Sharing::Alone } else { Sharing::Gathered };
    let ca = place.authority(flags.store_ca.as_deref())?;
    match place {
        Place::Redis(url) => {
            let settings = redis::Settings {
                queue,
                timeout: flags.request_timeout,
                durability: flags.durability.unwrap_or(Durability::Memory),
                sharing,
                ca,
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
            let settings =
                postgres::Settings { queue, timeout: flags.request_timeout, sharing, ca };
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
            let settings = sqlite::Settings { queue, sharing };
            let opening = tokio::task::spawn_blocking(move || SqliteStore::open(&path, settings));
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
    let instance = instance(flags, listener.address()?)?;
    info!(store = store_name, instance = instance.to_str().unwrap_or_default(), "store is there");
    if let Some(mutant) = flags.bug().map(Mutant::name) {
        error!("PLANTED BUG: {mutant}. This server is broken on purpose; every answer says so");
    }
    if access.admin.is_none() && !listener.address()?.ip().is_loopback() {
        warn!(
            "whoever reaches this address may create campaigns and see who got coupons: pass --admin-token-file"
        );
    }
    info!("listening on {}://{}", listener.scheme(), listener.address()?);
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

fn tls(flags: &Flags) -> Result<Option<TlsAcceptor>, TlsError> {
    let files = flags.tls_cert.as_deref().zip(flags.tls_key.as_deref());
    files.map(|(certificate, key)| tls::acceptor(certificate, key)).transpose()
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
