//! Connections: listen, accept, cut the slow ones, drain at the end.
//!
//! HTTP/1.1 and HTTP/2 (with prior knowledge, or by ALPN) share one port.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Chain, Join, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::http::Answer;
use crate::metrics::{Metrics, metrics};
use crate::telemetry::Throttle;

/// A peer that connects and then says nothing would never be closed otherwise.
const FIRST_BYTES: Duration = Duration::from_secs(10);
/// Time for a request's head; also how long an idle connection is kept.
const HEAD: Duration = Duration::from_secs(75);
/// Sent bytes that nobody acknowledges for so long end the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Connections that wait to be accepted: a launch brings them all in the same instant.
const BACKLOG: u32 = 4_096;
/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 1_024;
/// What a client with prior knowledge of HTTP/2 says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Where connections come in.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Takes the address, for connections in the clear or for those of TLS.
    ///
    /// # Errors
    /// When it is not ours or somebody else has it.
    pub fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Without it, a restarted server has to wait until old connections are forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { socket: socket.listen(BACKLOG)?, tls })
    }

    /// The address that was taken.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// How its URLs begin.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// SIGTERM and SIGINT, from the moment on at which this is made.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on neither signal ends the process by itself.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Ends with the next one. Nothing is lost when this is dropped before.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Answers requests; every connection has one of its own.
pub trait Answerer: Clone + Send + Sync + 'static {
    /// The answer to a request that came over a connection, whatever it is.
    fn answer(self, request: Request<Incoming>, via: Via) -> impl Future<Output = Answered> + Send;
}

/// An answer, as hyper wants it: there always is one.
pub type Answered = Result<Answer, Infallible>;

/// The connection that a request came over.
#[derive(Clone, Debug)]
pub struct Via {
    /// Whoever is at its other end.
    pub peer: IpAddr,
    cut: Arc<Notify>,
}

impl Via {
    /// Ends it, with all that is under way on it.
    pub fn cut(&self) {
        self.cut.notify_one();
    }
}

/// When and how serving ends.
#[derive(Debug)]
pub struct Ending {
    /// The first one begins the end, the next one cuts off what is left.
    pub signals: Signals,
    /// Becomes true with the first one.
    pub stop: watch::Sender<bool>,
}

/// What serving is limited to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// How long requests in flight may take once the end has begun.
    pub drain: Duration,
}

/// Answers until a signal, then lets requests in flight finish.
pub async fn serve<A: Answerer>(listener: Listener, answer: A, limits: Limits, ending: Ending) {
    let Ending { mut signals, stop } = ending;
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let complaints = Throttle::default();
    loop {
        tokio::select! {
            () = signals.next() => break,
            accepted = listener.socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Ok(place) = places.clone().try_acquire_owned() else {
                        // Nothing was asked yet, and a full house is told at once.
                        if complaints.allows() {
                            warn!("{} connections are open: new ones are closed", limits.connections);
                        }
                        continue;
                    };
                    let there = Metrics::there(&metrics().connections);
                    let opening = open(stream, listener.tls.clone(), stop.subscribe());
                    let (answer, watcher) = (answer.clone(), graceful.watcher());
                    tokio::spawn(async move {
                        if let Err(e) = connection(peer, opening, answer, watcher).await {
                            debug!(%peer, "connection ended: {e}");
                        }
                        drop((place, there));
                    });
                }
                Err(e) => pause_accepting(&e).await,
            },
        }
    }
    drop(listener);
    stop.send_replace(true);
    info!("stopping: no new connections, requests in flight may finish");
    tokio::select! {
        finished = tokio::time::timeout(limits.drain, graceful.shutdown()) => if finished.is_err() {
            warn!("some requests did not finish within {:?} and are cut off", limits.drain);
        },
        () = signals.next() => warn!("a second signal: requests in flight are cut off"),
    }
    info!("stopped");
}

/// Usually too many open files. Trying again at once would only burn a core.
async fn pause_accepting(error: &io::Error) {
    warn!("cannot accept a connection: {error}");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

/// Serves a connection as soon as it speaks.
async fn connection<A: Answerer>(
    peer: SocketAddr,
    opening: impl Future<Output = Result<Opened, ConnectionError>>,
    answer: A,
    watcher: Watcher,
) -> Result<(), ConnectionError> {
    let via = Via { peer: peer.ip().to_canonical(), cut: Arc::default() };
    match opening.await? {
        Opened::Mute => Ok(()),
        Opened::Clear(stream) => converse(stream, via, answer, watcher).await,
        Opened::Tls(stream) => converse(stream, via, answer, watcher).await,
    }
}

/// A connection, in the moment in which it is clear which protocol its peer speaks.
enum Opened {
    /// It ended without a word.
    Mute,
    Clear(TcpStream),
    Tls(Rewound<TlsStream<TcpStream>>),
}

/// A stream whose first bytes are read once more.
type Rewound<S> = Join<Chain<io::Cursor<Vec<u8>>, ReadHalf<S>>, WriteHalf<S>>;

/// Waits for the first words, but not for long, and not when the server stops.
async fn open(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    mut stopping: watch::Receiver<bool>,
) -> Result<Opened, ConnectionError> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    let spoke = async {
        match tls {
            Some(tls) => open_tls(stream, &tls).await,
            None if first_bytes(&stream).await? => Ok(Opened::Clear(stream)),
            None => Ok(Opened::Mute),
        }
    };
    tokio::select! {
        spoke = tokio::time::timeout(FIRST_BYTES, spoke) => Ok(spoke??),
        // Nothing was asked yet, so nothing is lost.
        _ = stopping.wait_for(|stop| *stop) => Ok(Opened::Mute),
    }
}

async fn converse<A: Answerer>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    via: Via,
    answer: A,
    watcher: Watcher,
) -> Result<(), ConnectionError> {
    let too_slow = via.cut.clone();
    let service = service_fn(move |request| answer.clone().answer(request, via.clone()));
    let mut server = auto::Builder::new(TokioExecutor::new());
    // A small body is cheaper copied behind its head than written as a part of its own.
    server.http1().writev(false).timer(TokioTimer::new()).header_read_timeout(HEAD);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(UNACKNOWLEDGED)
        .keep_alive_timeout(UNACKNOWLEDGED);
    let served = server.serve_connection(TokioIo::new(stream), service).into_owned();
    tokio::select! {
        ended = watcher.watch(served) => ended,
        () = too_slow.notified() => Err("its reader is too slow".into()),
    }
}

/// Waits until it is clear which protocol the peer speaks; `false` if it left.
///
/// The protocol is told by the first bytes, and nothing limits the time that this may take: a peer
/// that sends only `P` would stay for ever.
async fn first_bytes(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut start).await?;
        if length == 0 {
            return Ok(false);
        }
        if tells_protocol(&start[..length]) {
            return Ok(true);
        }
        // There is no event for "more than this many bytes".
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The same with TLS, where nobody can peek: what was read is put in front of what follows.
async fn open_tls(stream: TcpStream, tls: &TlsAcceptor) -> io::Result<Opened> {
    let mut stream = tls.accept(stream).await?;
    let mut start = Vec::with_capacity(PREFACE.len());
    while !tells_protocol(&start) {
        if stream.read_buf(&mut start).await? == 0 {
            return Ok(Opened::Mute);
        }
    }
    let (reader, writer) = tokio::io::split(stream);
    let reader = io::Cursor::new(start).chain(reader);
    Ok(Opened::Tls(tokio::io::join(reader, writer)))
}

/// Whether no other protocol begins like this.
fn tells_protocol(start: &[u8]) -> bool {
    start.len() >= PREFACE.len() || !PREFACE.starts_with(start)
}
