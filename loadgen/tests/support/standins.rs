//! Stand-ins for a system: each request is noted, and a closure says what becomes of it.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

/// A request that reached a stand-in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Which stand-in it reached.
    pub(crate) target: usize,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
    /// How many requests of this user reached the stand-ins before.
    pub(crate) before: usize,
    /// How many connections the stand-ins had accepted by then.
    pub(crate) connections: u64,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn user(&self) -> &str {
        self.header("x-user")
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Reaction {
    /// A status and a body.
    Answer(u16, String),
    /// The same with a header.
    With(u16, (&'static str, &'static str), String),
    /// The same after a while.
    Late(Duration, u16, String),
    /// Nothing, ever.
    Silence,
}

type React = dyn Fn(&Seen) -> Reaction + Send + Sync;

/// Several stand-ins that note into one list. They serve for as long as this lives.
pub(crate) struct StandIns {
    pub(crate) urls: Vec<String>,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicU64,
    /// Requests that are being answered now, and the most there ever were.
    busy: AtomicU64,
    most: AtomicU64,
    react: Box<React>,
}

impl StandIns {
    pub(crate) fn start(
        targets: usize,
        react: impl Fn(&Seen) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            connections: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            most: AtomicU64::new(0),
            react: Box::new(react),
        });
        let mut urls = Vec::new();
        for target in 0..targets {
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            urls.push(format!("http://{}", listener.local_addr().unwrap()));
            runtime.spawn(serve(listener, target, Arc::clone(&shared)));
        }
        Self { urls, shared, _runtime: runtime }
    }

    /// All requests so far, in the order in which they came.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Those for coupons.
    pub(crate) fn claims(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path.starts_with("/claim")).collect()
    }

    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(SeqCst)
    }

    /// The most requests that were answered at the same time.
    pub(crate) fn most_at_once(&self) -> u64 {
        self.shared.most.load(SeqCst)
    }

    /// Waits until so many requests for coupons have come.
    pub(crate) fn wait_for(&self, claims: usize) {
        for _ in 0..3_000 {
            if self.claims().len() >= claims {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} of {claims} requests came", self.claims().len());
    }
}

async fn serve(listener: TcpListener, target: usize, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, SeqCst);
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| answer(request, target, Arc::clone(&shared)));
        let mut http = hyper::server::conn::http1::Builder::new();
        // Who hangs up before a busy machine gets here was heard all the same.
        http.half_close(true);
        tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    target: usize,
    shared: Arc<Shared>,
) -> hyper::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut seen = Seen {
        target,
        path: head.uri.path().to_owned(),
        headers: head.headers,
        json: serde_json::from_slice(&body).unwrap_or_default(),
        before: 0,
        connections: shared.connections.load(SeqCst),
    };
    let busy = shared.busy.fetch_add(1, SeqCst) + 1;
    shared.most.fetch_max(busy, SeqCst);
    let reaction = {
        let mut all = shared.seen.lock().unwrap();
        seen.before = all.iter().filter(|other| other.user() == seen.user()).count();
        all.push(seen.clone());
        (shared.react)(&seen)
    };
    let response = Response::builder();
    let response = match reaction {
        Reaction::Answer(status, body) => response.status(status).body(body.into()),
        Reaction::With(status, (name, value), body) => {
            response.status(status).header(name, value).body(body.into())
        }
        Reaction::Late(wait, status, body) => {
            tokio::time::sleep(wait).await;
            response.status(status).body(body.into())
        }
        Reaction::Silence => std::future::pending().await,
    };
    shared.busy.fetch_sub(1, SeqCst);
    Ok(response.unwrap())
}
