//! Requests and answers. `contract::wire` has the words; this is who says them when.

mod body;
mod input;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use contract::wire::{self, Problem, ProblemCode, header};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde::Serialize;
use tracing::{error, warn};

use crate::code::CampaignNumber;
use crate::serve::Answerer;
use crate::store::{Ask, CampaignState, Decision, Store, StoreError};
use crate::telemetry::Throttle;

/// Longest request id of a client that is repeated to it.
const MAX_REQUEST_ID: usize = 128;
/// When to come back to a server whose queue is full, in seconds.
const COME_BACK: HeaderValue = HeaderValue::from_static("1");

/// An answer, whole.
pub type Answer = Response<Full<Bytes>>;

/// What answers requests: a store and what every answer carries.
pub struct App<S> {
    store: S,
    instance: HeaderValue,
    patience: Duration,
    complaints: Throttle,
}

impl<S: Store> App<S> {
    /// Answers from this store, in the name of this instance; gives up on the store after
    /// `patience`.
    pub fn new(store: S, instance: HeaderValue, patience: Duration) -> Self {
        Self { store, instance, patience, complaints: Throttle::default() }
    }

    /// Answers a request, whatever it is.
    pub async fn answer(&self, request: Request<Incoming>) -> Answer {
        let id = request_id(request.headers());
        let (head, body) = request.into_parts();
        let answer = self.respond(&head, body).await;
        let mut answer = answer.unwrap_or_else(|refusal| refusal.into_answer());
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
        input::query(head.uri.query(), route.parameters(&head.method))?;
        match tokio::time::timeout(self.patience, self.dispatch(route, head, &body)).await {
            Ok(result) => result,
            Err(_) => Err(self.store_failed(&StoreError::Unavailable(format!(
                "no answer within {:?}",
                self.patience
            )))),
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
            Route::Campaigns => self.create(body).await,
            Route::Campaign(id) => self.campaign(id).await,
            Route::Coupons(id) if head.method == Method::POST => self.issue(id, head, body).await,
            Route::Coupons(id) => self.ledger(id, head.uri.query()).await,
        }
    }

    async fn ready(&self) -> Result<Answer, Box<Refusal>> {
        self.store.ready().await.map_err(|e| self.store_failed(&e))?;
        Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ready" })))
    }

    async fn create(&self, body: &[u8]) -> Result<Answer, Box<Refusal>> {
        let new = input::new_campaign(body)?;
        let state = self.store.create(new).await.map_err(|e| self.store_failed(&e))?;
        let path = wire::campaign_path(&state.number.to_string());
        let mut answer = json(StatusCode::CREATED, &campaign(state));
        if let Ok(location) = HeaderValue::from_str(&path) {
            answer.headers_mut().insert(LOCATION, location);
        }
        Ok(answer)
    }

    async fn campaign(&self, id: &str) -> Result<Answer, Box<Refusal>> {
        let number = CampaignNumber::parse(id).ok_or_else(|| unknown(id))?;
        let state = self.store.campaign(number).await.map_err(|e| self.store_failed(&e))?;
        Ok(json(StatusCode::OK, &campaign(state.ok_or_else(|| unknown(id))?)))
    }

    async fn ledger(&self, id: &str, query: Option<&str>) -> Result<Answer, Box<Refusal>> {
        let page = input::page(query)?;
        let number = CampaignNumber::parse(id).ok_or_else(|| unknown(id))?;
        // One row more than asked for tells whether there is a next page.
        let rows = self.store.ledger(number, page.after, page.limit + 1).await;
        let rows = rows.map_err(|e| self.store_failed(&e))?;
        let mut coupons = rows.ok_or_else(|| unknown(id))?;
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let more = coupons.len() > limit;
        coupons.truncate(limit);
        let next_after = coupons.last().filter(|_| more).map(|row| row.seq);
        Ok(json(StatusCode::OK, &wire::LedgerPage { coupons, next_after }))
    }

    async fn issue(&self, id: &str, head: &Parts, body: &[u8]) -> Result<Answer, Box<Refusal>> {
        let request = input::issue_request(body)?;
        let key = input::idempotency_key(&head.headers)?;
        let campaign = CampaignNumber::parse(id).ok_or_else(|| unknown(id))?;
        let decision = self.store.issue(Ask { campaign, user: request.user, key }).await;
        decided(id, decision.map_err(|e| self.store_failed(&e))?)
    }

    fn store_failed(&self, error: &StoreError) -> Box<Refusal> {
        let code = match error {
            StoreError::Unavailable(_) => ProblemCode::StoreUnavailable,
            StoreError::Overloaded => ProblemCode::Overloaded,
            StoreError::CampaignsExhausted => ProblemCode::CampaignsExhausted,
            StoreError::Damaged(_) => ProblemCode::Internal,
        };
        if self.complaints.allows() {
            let line = format!("{error} (at most one such line a second)");
            match error {
                // Does not pass by itself.
                StoreError::Damaged(_) => error!("{line}"),
                StoreError::Unavailable(_)
                | StoreError::Overloaded
                | StoreError::CampaignsExhausted => warn!("{line}"),
            }
        }
        // What exactly went wrong inside is the operator's business.
        let mut refusal = Refusal::from(Problem::new(code, code.title()));
        if code == ProblemCode::Overloaded {
            refusal.header = Some((RETRY_AFTER, COME_BACK));
        }
        Box::new(refusal)
    }

    /// Every answer says who gave it and when.
    fn sign(&self, headers: &mut HeaderMap, id: HeaderValue) {
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        headers.insert(header::INSTANCE, self.instance.clone());
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

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Campaigns,
    Campaign(&'a str),
    Coupons(&'a str),
    Health,
    Ready,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        match path {
            "/healthz" => return Some(Self::Health),
            "/readyz" => return Some(Self::Ready),
            wire::CAMPAIGNS => return Some(Self::Campaigns),
            _ => {}
        }
        let rest = path.strip_prefix(wire::CAMPAIGNS)?.strip_prefix('/')?;
        match rest.split_once('/') {
            None if !rest.is_empty() => Some(Self::Campaign(rest)),
            Some((id, "coupons")) if !id.is_empty() => Some(Self::Coupons(id)),
            _ => None,
        }
    }

    /// The query parameters that it takes.
    fn parameters(&self, method: &Method) -> &'static [&'static str] {
        match self {
            Self::Coupons(_) if method != Method::POST => &["after", "limit"],
            Self::Campaigns | Self::Campaign(_) | Self::Coupons(_) | Self::Health | Self::Ready => {
                &[]
            }
        }
    }

    fn methods(&self) -> &'static [Method] {
        match self {
            Self::Campaigns => &[Method::POST],
            Self::Coupons(_) => &[Method::GET, Method::HEAD, Method::POST],
            Self::Campaign(_) | Self::Health | Self::Ready => &[Method::GET, Method::HEAD],
        }
    }
}

/// An error, with the header that belongs to it.
struct Refusal {
    problem: Problem,
    header: Option<(HeaderName, HeaderValue)>,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, header: None }
    }
}

impl From<Problem> for Box<Refusal> {
    fn from(problem: Problem) -> Self {
        Self::new(problem.into())
    }
}

impl From<Box<Problem>> for Box<Refusal> {
    fn from(problem: Box<Problem>) -> Self {
        (*problem).into()
    }
}

impl Refusal {
    fn into_answer(self) -> Answer {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = json(status, &self.problem);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(wire::PROBLEM_JSON));
        answer.headers_mut().extend(self.header);
        answer
    }
}

fn not_allowed(route: &Route<'_>) -> Box<Refusal> {
    let methods: Vec<_> = route.methods().iter().map(Method::as_str).collect();
    let methods = methods.join(", ");
    let detail = format!("this path takes {methods}");
    let allow = HeaderValue::from_str(&methods).ok().map(|methods| (ALLOW, methods));
    let problem = Problem::new(ProblemCode::MethodNotAllowed, detail);
    Box::new(Refusal { problem, header: allow })
}

fn unknown(id: &str) -> Problem {
    Problem::new(ProblemCode::CampaignNotFound, format!("there is no campaign {id:?}"))
}

fn decided(id: &str, decision: Decision) -> Result<Answer, Box<Refusal>> {
    let refuse = |code, detail: &str| Err(Problem::new(code, detail).into());
    match decision {
        Decision::Issued(coupon) => {
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
        now: state.now,
        name: state.name,
    }
}

/// The same head, which still says how long the body would be.
fn without_body(answer: Answer) -> Answer {
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    Response::from_parts(head, Full::default())
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    // Nothing on the wire can fail to become JSON: no maps with odd keys, no floats.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        assert_eq!(Route::of("/campaigns"), Some(Route::Campaigns));
        assert_eq!(Route::of("/campaigns/1"), Some(Route::Campaign("1")));
        assert_eq!(Route::of("/campaigns/1/coupons"), Some(Route::Coupons("1")));
        for path in [
            "/",
            "",
            "/campaigns/",
            "/campaigns//coupons",
            "/campaigns/1/",
            "/campaigns/1/coupons/",
            "/campaignsx",
            "*",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }
}
