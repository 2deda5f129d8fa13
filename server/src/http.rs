//! Requests and answers. `contract::wire` has the words; this is who says them when.

pub mod access;
mod answer;
mod body;
mod events;
mod input;
mod rate;
mod route;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use contract::wire::{self, Problem, ProblemCode, header};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode};
use tokio::sync::watch;
use tracing::{error, warn};

use access::Access;
pub use answer::{Answer, Body};
use answer::{
    Refusal, json, not_allowed, store_failed, text, too_many, unauthorized, without_body,
};
use events::Events;
use rate::RateLimit;
use route::Route;

use crate::clock::{Clock, TOLERATED};
use crate::code::CampaignNumber;
use crate::metrics::{self, metrics};
use crate::serve::{Answerer, Peer};
use crate::store::{Ask, CampaignState, Decision, Store, StoreError};
use crate::telemetry::Throttle;

/// Longest request id of a client that is repeated to it.
const MAX_REQUEST_ID: usize = 128;
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
pub struct App<S> {
    store: Arc<S>,
    settings: Settings,
    events: Events<S>,
    rate: Option<RateLimit>,
    complaints: Throttle,
}

impl<S: Store> App<S> {
    /// Answers from this store.
    pub fn new(store: S, settings: Settings) -> Self {
        let store = Arc::new(store);
        let events = Events::new(store.clone(), settings.patience, settings.stopping.clone());
        let rate = settings.rate_limit.map(RateLimit::new);
        Self { store, settings, events, rate, complaints: Throttle::default() }
    }

    /// Answers a request, whatever it is.
    pub async fn answer(&self, request: Request<Incoming>) -> Answer {
        let id = request_id(request.headers());
        let (head, body) = request.into_parts();
        let mut answer = match self.respond(&head, body).await {
            Ok(answer) => answer,
            Err(refusal) => {
                metrics().refused(refusal.problem.code);
                if let Some(cause) = &refusal.cause {
                    self.complain(cause, &id);
                }
                refusal.into_answer()
            }
        };
        self.sign(answer.headers_mut(), id);
        if head.method == Method::HEAD { without_body(answer) } else { answer }
    }

    async fn respond(&self, head: &Parts, body: Incoming) -> Result<Answer, Box<Refusal>> {
        // Before everything else, see there.
        let body = body::read(body).await?;
        let route = Route::of(head.uri.path())
            .ok_or_else(|| Problem::new(ProblemCode::NotFound, "nothing has this path"))?;
        if !route.methods().contains(&head.method) {
            return Err(not_allowed(&route));
        }
        self.admit(&route, head)?;
        input::query(head.uri.query(), route.parameters(&head.method))?;
        match tokio::time::timeout(self.settings.patience, self.dispatch(route, head, &body)).await
        {
            Ok(result) => result,
            Err(_) => Err(store_failed(StoreError::Unavailable(format!(
                "no answer within {:?}",
                self.settings.patience
            )))),
        }
    }

    /// Whether the request may be looked at: neither of too many nor without its token.
    fn admit(&self, route: &Route<'_>, head: &Parts) -> Result<(), Box<Refusal>> {
        if let (Some(rate), Some(Peer(peer))) = (&self.rate, head.extensions.get())
            && route.is_limited()
            && let Err(wait) = rate.admit(*peer, Instant::now())
        {
            return Err(too_many(wait));
        }
        if self.settings.access.allows(route.right(&head.method), &head.headers) {
            Ok(())
        } else {
            Err(unauthorized())
        }
    }

    async fn dispatch(
        &self,
        route: Route<'_>,
        head: &Parts,
        body: &[u8],
    ) -> Result<Answer, Box<Refusal>> {
        match route {
            Route::Health => Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ok" }))),
            Route::Ready => self.ready().await,
            Route::Version => Ok(json(StatusCode::OK, &version())),
            Route::Metrics => Ok(text(metrics::CONTENT_TYPE, metrics().text())),
            Route::Document => Ok(text("application/yaml", DOCUMENT.to_owned())),
            Route::Campaigns => self.create(head, body).await,
            Route::Campaign(id) => self.campaign(id).await,
            Route::Coupons(id) if head.method == Method::POST => self.issue(id, head, body).await,
            Route::Coupons(id) => self.ledger(id, head.uri.query()).await,
            Route::Cancel(id) => self.cancel(id).await,
            Route::Events(id) => self.events(id, head).await,
        }
    }

    async fn ready(&self) -> Result<Answer, Box<Refusal>> {
        let asked = self.settings.clock.now();
        let store = self.store.ready().await.map_err(store_failed)?;
        let ahead = self.settings.clock.ahead_of(store, asked);
        let mut told = serde_json::json!({ "status": "ready" });
        if ahead.abs() > TOLERATED {
            let ms = ahead.num_milliseconds();
            told["clock_ahead_ms"] = ms.into();
            told["warning"] =
                "this instance's clock is off; the store's clock rules the start".into();
            if self.complaints.allows() {
                warn!("this instance's clock is {ms} ms ahead of the store's: set it (NTP)");
            }
        }
        Ok(json(StatusCode::OK, &told))
    }

    async fn events(&self, id: &str, head: &Parts) -> Result<Answer, Box<Refusal>> {
        let number = CampaignNumber::parse(id).ok_or_else(|| unknown(id))?;
        let place = self.events.place().map_err(store_failed)?;
        let state = self.store.campaign(number).await.map_err(store_failed)?;
        let state = state.ok_or_else(|| unknown(id))?;
        Ok(self.events.stream(state, place, head.extensions.get().cloned().unwrap_or_default()))
    }

    async fn create(&self, head: &Parts, body: &[u8]) -> Result<Answer, Box<Refusal>> {
        let new = input::new_campaign(body)?;
        let key = input::idempotency_key(&head.headers)?;
        let state = self.store.create(new.clone(), key).await;
        let state = state.map_err(store_failed)?;
        if !state.is_of(&new) {
            let detail = format!("this key created campaign {}, which is another", state.number);
            return Err(Problem::new(ProblemCode::KeyReused, detail).into());
        }
        let path = wire::campaign_path(&state.number.to_string());
        let mut answer = json(StatusCode::CREATED, &campaign(state));
        if let Ok(location) = HeaderValue::from_str(&path) {
            answer.headers_mut().insert(LOCATION, location);
        }
        Ok(answer)
    }

    async fn campaign(&self, id: &str) -> Result<Answer, Box<Refusal>> {
        let number = CampaignNumber::parse(id).ok_or_else(|| unknown(id))?;
        let state = self.store.campaign(number).await.map_err(store_failed)?;
        Ok(json(StatusCode::OK, &campaign(state.ok_or_else(|| unknown(id))?)))
    }

    async fn cancel(&self, id: &str) -> Result<Answer, Box<Refusal>> {
        let number = CampaignNumber::parse(id).ok_or_else(|| unknown(id))?;
        let state = self.store.cancel(number).await.map_err(store_failed)?;
        Ok(json(StatusCode::OK, &campaign(state.ok_or_else(|| unknown(id))?)))
    }

    async fn ledger(&self, id: &str, query: Option<&str>) -> Result<Answer, Box<Refusal>> {
        let page = input::page(query)?;
        let number = CampaignNumber::parse(id).ok_or_else(|| unknown(id))?;
        // One row more than asked for tells whether there is a next page.
        let rows = self.store.ledger(number, page.after, page.limit + 1).await;
        let rows = rows.map_err(store_failed)?;
        let mut coupons = rows.ok_or_else(|| unknown(id))?;
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let more = coupons.len() > limit;
        coupons.truncate(limit);
        let next_after = coupons.last().filter(|_| more).map(|row| row.seq);
        Ok(json(StatusCode::OK, &wire::LedgerPage { coupons, next_after }))
    }

    async fn issue(&self, id: &str, head: &Parts, body: &[u8]) -> Result<Answer, Box<Refusal>> {
        let user = input::asking_user(body)?;
        let key = input::idempotency_key(&head.headers)?;
        let campaign = CampaignNumber::parse(id).ok_or_else(|| unknown(id))?;
        let asked = Instant::now();
        let decision = self.store.issue(Ask { campaign, user, key }).await;
        metrics().decided_in.observe(asked.elapsed().as_secs_f64());
        decided(id, decision.map_err(store_failed)?)
    }

    /// A line about what went wrong inside, and with which request first.
    fn complain(&self, cause: &StoreError, id: &HeaderValue) {
        if !self.complaints.allows() {
            return;
        }
        let request_id = id.to_str().unwrap_or_default();
        match cause {
            // Does not pass by itself.
            StoreError::Damaged(_) => {
                error!(request_id, "{cause} (at most one such line a second)")
            }
            StoreError::Unavailable(_)
            | StoreError::Overloaded
            | StoreError::CampaignsExhausted => {
                warn!(request_id, "{cause} (at most one such line a second)");
            }
        }
    }

    /// Every answer says who gave it and when.
    fn sign(&self, headers: &mut HeaderMap, id: HeaderValue) {
        let now = self.settings.clock.now().to_rfc3339_opts(SecondsFormat::Micros, true);
        headers.insert(header::INSTANCE, self.settings.instance.clone());
        if let Ok(now) = HeaderValue::from_str(&now) {
            headers.insert(header::SERVER_TIME, now);
        }
        headers.insert(header::REQUEST_ID, id);
    }
}

impl<S: Store> Answerer for Arc<App<S>> {
    async fn answer(self, request: Request<Incoming>) -> Answer {
        App::answer(&self, request).await
    }
}

fn version() -> serde_json::Value {
    serde_json::json!({ "name": "coupon-server", "version": env!("CARGO_PKG_VERSION") })
}

fn unknown(id: &str) -> Problem {
    Problem::new(ProblemCode::CampaignNotFound, format!("there is no campaign {id:?}"))
}

fn decided(id: &str, decision: Decision) -> Result<Answer, Box<Refusal>> {
    let refuse = |code, detail: &str| Err(Problem::new(code, detail).into());
    match decision {
        Decision::Issued(coupon) => {
            metrics().issued.inc();
            let issued = wire::Issued {
                code: coupon.code,
                seq: coupon.seq,
                remaining: coupon.remaining,
                issued_at: coupon.issued_at,
            };
            Ok(json(StatusCode::CREATED, &issued))
        }
        Decision::AlreadyIssued { code } => {
            let detail = "this campaign gives each user one coupon";
            let problem = Problem::new(ProblemCode::AlreadyIssued, detail);
            Err(Problem { coupon: Some(code), ..problem }.into())
        }
        Decision::SoldOut => refuse(ProblemCode::SoldOut, "no coupon is left in this campaign"),
        Decision::Cancelled => refuse(ProblemCode::Cancelled, "nothing is issued of it any more"),
        Decision::NotStarted => {
            refuse(ProblemCode::NotStarted, "nothing is issued before its start")
        }
        Decision::UserMissing => {
            Err(input::invalid("user", "is needed in a campaign with a limit per user").into())
        }
        Decision::UnknownCampaign => Err(unknown(id).into()),
    }
}

fn campaign(state: CampaignState) -> wire::Campaign {
    wire::Campaign {
        id: state.number.to_string(),
        status: state.status(),
        coupons: state.coupons,
        issued: state.issued,
        remaining: state.remaining(),
        starts_at: state.starts_at,
        per_user_limit: state.per_user_limit.then_some(1),
        opened_at: state.opened_at,
        now: state.now,
        name: state.name,
    }
}

/// The client's own id if it has a sane one, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let own = headers.get(header::REQUEST_ID).filter(|id| {
        let id = id.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
    });
    own.cloned().unwrap_or_else(|| {
        let id = format!("{:016x}", rand::random::<u64>());
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unknown"))
    })
}
