//! Answers, whole or as events, and refusals.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use connectrpc::ConnectRpcBody;
use contract::wire::{self, Problem, ProblemCode};
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use hyper::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

use super::route::Route;
use crate::store::StoreError;

/// When to come back to a server whose queue is full, in seconds.
const COME_BACK: HeaderValue = HeaderValue::from_static("1");

/// An answer to a request.
pub type Answer = Response<Body>;

/// What an answer holds.
pub enum Body {
    /// All of it at once.
    Whole(Full<Bytes>),
    /// One event after the other, until nobody sends any.
    Events(mpsc::Receiver<Bytes>),
    /// With what gRPC says after it.
    Rpc(ConnectRpcBody),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(all) => Pin::new(all).poll_frame(cx),
            Self::Events(events) => events.poll_recv(cx).map(|event| Some(Ok(Frame::data(event?)))),
            Self::Rpc(told) => Pin::new(told).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(all) => all.is_end_stream(),
            Self::Events(_) => false,
            Self::Rpc(told) => told.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(all) => all.size_hint(),
            Self::Events(_) => SizeHint::default(),
            Self::Rpc(told) => told.size_hint(),
        }
    }
}

/// An error, with the header that belongs to it.
pub(super) struct Refusal {
    pub(super) problem: Problem,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
    /// What the operator has to hear of.
    pub(super) cause: Option<StoreError>,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, header: None, cause: None }
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
    pub(super) fn into_answer(self) -> Answer {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = json(status, &self.problem);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(wire::PROBLEM_JSON));
        answer.headers_mut().extend(self.header);
        answer
    }
}

pub(super) fn not_allowed(route: &Route<'_>) -> Box<Refusal> {
    let methods: Vec<_> = route.methods().iter().map(Method::as_str).collect();
    let methods = methods.join(", ");
    let detail = format!("this path takes {methods}");
    let allow = HeaderValue::from_str(&methods).ok().map(|methods| (ALLOW, methods));
    let problem = Problem::new(ProblemCode::MethodNotAllowed, detail);
    Box::new(Refusal { header: allow, ..problem.into() })
}

/// Nothing says whether the token was missing or wrong.
pub(super) fn unauthorized() -> Box<Refusal> {
    let detail = "this takes the right bearer token";
    let problem = Problem::new(ProblemCode::Unauthorized, detail);
    let challenge = (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Box::new(Refusal { header: Some(challenge), ..problem.into() })
}

pub(super) fn too_many(wait: Duration) -> Box<Refusal> {
    let detail = "this address makes more requests a second than it may";
    let problem = Problem::new(ProblemCode::RateLimited, detail);
    // In whole seconds, and not before it may.
    let seconds = HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
    Box::new(Refusal { header: Some((RETRY_AFTER, seconds)), ..problem.into() })
}

/// What exactly went wrong inside is the operator's business, and comes along as the cause.
pub(super) fn store_failed(error: StoreError) -> Box<Refusal> {
    let code = match error {
        StoreError::Unavailable(_) => ProblemCode::StoreUnavailable,
        StoreError::Overloaded => ProblemCode::Overloaded,
        StoreError::CampaignsExhausted => ProblemCode::CampaignsExhausted,
        StoreError::Damaged(_) => ProblemCode::Internal,
    };
    let come_back = (code == ProblemCode::Overloaded).then_some((RETRY_AFTER, COME_BACK));
    let problem = Problem::new(code, code.title());
    Box::new(Refusal { header: come_back, cause: Some(error), ..problem.into() })
}

/// The same head, which still says how long the body would be.
pub(super) fn without_body(answer: Answer) -> Answer {
    let (mut head, body) = answer.into_parts();
    if let Some(length) = hyper::body::Body::size_hint(&body).exact() {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    Response::from_parts(head, Body::Whole(Full::default()))
}

pub(super) fn text(content_type: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Body::Whole(Full::from(text)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    // Nothing on the wire can fail to become JSON: no maps with odd keys, no floats.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut answer = Response::new(Body::Whole(Full::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
