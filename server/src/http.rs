//! Requests and answers. `contract::wire` has the words; this is who says them when.

pub mod access;
mod answer;
mod body;
mod coupons;
mod events;
mod input;
mod rate;
mod route;
mod rpc;

use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::SecondsFormat;
use contract::wire::{self, Problem, ProblemCode, header};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode};
use tokio::sync::watch;
use tracing::warn;

use access::{Access, Right};
pub use answer::{Answer, Body};
use answer::{json, not_allowed, store_failed, text, too_many, without_body};
use coupons::{Coupons, Outcome};
use events::Events;
use rate::RateLimit;
use route::Route;
use rpc::Rpc;

use crate::clock::{Clock, TOLERATED};
use crate::metrics::{self, metrics};
use crate::serve::{Answered, Answerer, Via};
use crate::store::{Ask, Store};
use crate::telemetry::Throttle;
use crate::traces::{Span, store_call};

/// Longest request id of a client that is repeated to it.
const MAX_REQUEST_ID: usize = 128;

// Made once, not for every answer.
static INSTANCE: HeaderName = HeaderName::from_static(header::INSTANCE);
static SERVER_TIME: HeaderName = HeaderName::from_static(header::SERVER_TIME);
static REQUEST_ID: HeaderName = HeaderName::from_static(header::REQUEST_ID);

/// How an instance answers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name, which every answer carries.
    pub instance: HeaderValue,
    /// After how long it gives up on the store.
    pub patience: Duration,
    /// What it stamps answers with.
    pub clock: Clock,
    /// Becomes true when it stops: answers without an end have to end then.
    pub stopping: watch::Receiver<bool>,
    /// Who may do what.
    pub access: Access,
    /// Requests a second that one address may make.
    pub rate_limit: Option<NonZeroU32>,
}

/// The interface as an OpenAPI document.
const DOCUMENT: &str = include_str!("../openapi.yaml");

/// What answers requests.
pub struct App<S: Store> {
    coupons: Arc<Coupons<S>>,
    settings: Settings,
    rpc: Rpc<S>,
    events: Events<S>,
    rate: Option<RateLimit>,
}

impl<S: Store> App<S> {
    /// Answers from this store.
    pub fn new(store: S, settings: Settings) -> Self {
        let store = Arc::new(store);
        let events = Events::new(store.clone(), settings.patience, settings.stopping.clone());
        let rate = settings.rate_limit.map(RateLimit::new);
        let complaints = Throttle::default();
        let coupons = Arc::new(Coupons { store, patience: settings.patience, complaints });
        let rpc = Rpc::new(coupons.clone(), settings.access.clone());
        Self { coupons, settings, rpc, events, rate }
    }

    async fn answer_to(
        &self,
        head: Box<Parts>,
        body: Incoming,
        via: &Via,
        id: &HeaderValue,
    ) -> Answer {
        match rpc::right(head.uri.path()) {
            Some(right) => Box::pin(self.call(right, *head, body, (via, id))).await,
            None => self.respond(head, body, via).await.unwrap_or_else(|refusal| {
                self.coupons.note(&refusal, id);
                refusal.into_answer()
            }),
        }
    }

    /// Answers a call of RPC.
    async fn call(
        &self,
        right: Right,
        head: Parts,
        body: Incoming,
        (via, id): (&Via, &HeaderValue),
    ) -> Answer {
        match self.admitted(right, &head, (body, via)).await {
            Ok(body) => self.rpc.call(Request::from_parts(head, body.into()), id).await,
            Err(refusal) => {
                self.coupons.note(&refusal, id);
                rpc::refused(*refusal, &head.headers)
            }
        }
    }

    /// The body of a call that may be looked at.
    async fn admitted(
        &self,
        right: Right,
        head: &Parts,
        (body, via): (Incoming, &Via),
    ) -> Outcome<Bytes> {
        // Before everything else, see there.
        let body = body::read(body).await?;
        self.within_rate(via)?;
        self.settings.access.check(right, &head.headers)?;
        Ok(body)
    }

    async fn respond(&self, head: Box<Parts>, body: Incoming, via: &Via) -> Outcome<Answer> {
        // Before everything else, see there.
        let body = body::read(body).await?;
        let route = Route::of(head.uri.path())
            .ok_or_else(|| Problem::new(ProblemCode::NotFound, "nothing has this path"))?;
        if !route.methods().contains(&head.method) {
            return Err(not_allowed(&route));
        }
        if route.is_limited() {
            self.within_rate(via)?;
        }
        self.settings.access.check(route.right(&head.method), &head.headers)?;
        input::query(head.uri.query(), route.parameters(&head.method))?;
        if let Route::Coupons(id) = route
            && head.method == Method::POST
        {
            let ask = asked(id, &head, &body)?;
            // They are parts of a read buffer, and a request may wait for long.
            drop((head, body));
            let issuing = pin!(self.coupons.issue(ask));
            let issued = self.coupons.within_patience(issuing).await?;
            return Ok(json(StatusCode::CREATED, &issued));
        }
        // Rare and large: apart, so that what a launch is made of stays small.
        self.coupons.within_patience(Box::pin(self.dispatch(route, &head, &body, via))).await
    }

    /// Counts the request against those that its address may make.
    fn within_rate(&self, via: &Via) -> Outcome<()> {
        if let Some(rate) = &self.rate
            && let Err(wait) = rate.admit(via.peer, Instant::now())
        {
            return Err(too_many(wait));
        }
        Ok(())
    }

    async fn dispatch(
        &self,
        route: Route<'_>,
        head: &Parts,
        body: &[u8],
        via: &Via,
    ) -> Outcome<Answer> {
        match route {
            Route::Health => Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ok" }))),
            Route::Ready => self.ready().await,
            Route::Version => Ok(json(StatusCode::OK, &version())),
            Route::Metrics => Ok(text(metrics::CONTENT_TYPE, metrics().text())),
            Route::Document => Ok(text("application/yaml", DOCUMENT.to_owned())),
            Route::Campaigns => self.create(head, body).await,
            Route::Campaign(id) => Ok(json(StatusCode::OK, &self.coupons.campaign(id).await?)),
            Route::Coupons(id) => self.ledger(id, head.uri.query()).await,
            Route::Cancel(id) => Ok(json(StatusCode::OK, &self.coupons.cancel(id).await?)),
            Route::Events(id) => self.events(id, via).await,
        }
    }

    async fn ready(&self) -> Outcome<Answer> {
        let asked = self.settings.clock.now();
        let store = store_call("store ready", self.coupons.store.ready()).await;
        let store = store.map_err(store_failed)?;
        let ahead = self.settings.clock.ahead_of(store, asked);
        let mut told = serde_json::json!({ "status": "ready" });
        if ahead.abs() > TOLERATED {
            let ms = ahead.num_milliseconds();
            told["clock_ahead_ms"] = ms.into();
            told["warning"] =
                "this instance's clock is off; the store's clock rules the start".into();
            if self.coupons.complaints.allows() {
                warn!("this instance's clock is {ms} ms ahead of the store's: set it (NTP)");
            }
        }
        Ok(json(StatusCode::OK, &told))
    }

    async fn events(&self, id: &str, via: &Via) -> Outcome<Answer> {
        let place = self.events.place().map_err(store_failed)?;
        let state = self.coupons.state(id).await?;
        Ok(self.events.stream(state, place, via.clone()))
    }

    async fn create(&self, head: &Parts, body: &[u8]) -> Outcome<Answer> {
        let new = input::new_campaign(body)?;
        let key = input::idempotency_key(&head.headers)?;
        let campaign = self.coupons.create(new, key).await?;
        let path = wire::campaign_path(&campaign.id);
        let mut answer = json(StatusCode::CREATED, &campaign);
        if let Ok(location) = HeaderValue::from_str(&path) {
            answer.headers_mut().insert(LOCATION, location);
        }
        Ok(answer)
    }

    async fn ledger(&self, id: &str, query: Option<&str>) -> Outcome<Answer> {
        let page = input::page(query)?;
        Ok(json(StatusCode::OK, &self.coupons.ledger(id, page).await?))
    }

    /// Every answer says who gave it and when.
    fn sign(&self, headers: &mut HeaderMap, id: HeaderValue) {
        let now = self.settings.clock.now().to_rfc3339_opts(SecondsFormat::Micros, true);
        headers.insert(&INSTANCE, self.settings.instance.clone());
        if let Ok(now) = HeaderValue::try_from(now) {
            headers.insert(&SERVER_TIME, now);
        }
        headers.insert(&REQUEST_ID, id);
    }
}

impl<S: Store> Answerer for Arc<App<S>> {
    // What waits for a coupon is moved and kept: the less it holds, and the fewer steps hand it on, the faster.
    fn answer(self, request: Request<Incoming>, via: Via) -> impl Future<Output = Answered> + Send {
        let id = request_id(request.headers());
        let (head, body) = request.into_parts();
        let head = Box::new(head);
        async move {
            let is_head = head.method == Method::HEAD;
            let span = Span::begin(&head, template(head.uri.path()), &id);
            let mut answer = {
                // Pinned where it stands: handed on by value it would be copied, at every step anew.
                let answering = pin!(self.answer_to(head, body, &via, &id));
                span.around(answering).await
            };
            span.end(answer.status());
            self.sign(answer.headers_mut(), id);
            Ok(if is_head { without_body(answer) } else { answer })
        }
    }
}

/// What a request for a coupon asks for.
fn asked(id: &str, head: &Parts, body: &[u8]) -> Outcome<Ask> {
    let user = input::asking_user(body)?;
    let key = input::idempotency_key(&head.headers)?;
    Ok(Ask { campaign: coupons::number(id)?, user, key })
}

/// What a path is one of.
fn template(path: &str) -> &'static str {
    let rest = || Route::of(path).map_or("", |route| route.template());
    rpc::template(path).unwrap_or_else(rest)
}

fn version() -> serde_json::Value {
    serde_json::json!({ "name": "coupon-server", "version": env!("CARGO_PKG_VERSION") })
}

/// The client's own id if it has a sane one, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let own = headers.get(&REQUEST_ID).filter(|id| {
        let id = id.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
    });
    own.cloned().unwrap_or_else(|| {
        let id = format!("{:016x}", rand::random::<u64>());
        HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("unknown"))
    })
}
