//! Answers with a planted bug, made of the clean server's.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use contract::wire::{Problem, ProblemCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::oneshot;

use super::Mutant;
use super::luck::Luck;
use crate::http::{App, Body};
use crate::serve::{Answered, Answerer, Via};
use crate::store::Store;

/// How long an answer waits for another one to be swapped with.
const MEETS_WITHIN: Duration = Duration::from_millis(20);

/// A server whose answers say that it has a bug; those to requests for coupons may be distorted.
pub struct Distorted<S: Store> {
    app: Arc<App<S>>,
    distortion: Arc<Distortion>,
}

impl<S: Store> Distorted<S> {
    /// Plants a bug behind the clean server.
    pub fn new(app: App<S>, mutant: Mutant, luck: Luck) -> Self {
        Self { app: Arc::new(app), distortion: Arc::new(Distortion::new(mutant, luck)) }
    }
}

impl<S: Store> Clone for Distorted<S> {
    fn clone(&self) -> Self {
        Self { app: self.app.clone(), distortion: self.distortion.clone() }
    }
}

impl<S: Store> Answerer for Distorted<S> {
    async fn answer(self, request: Request<Incoming>, via: Via) -> Answered {
        let name = name_of(&request);
        let mut answer = self.app.answer(request, via).await?;
        if let Some(name) = name {
            let (head, body) = answer.into_parts();
            answer = match body {
                Body::Whole(body) => {
                    let told = Response::from_parts(head, body);
                    self.distortion.distort(&name, told).await.map(Body::Whole)
                }
                Body::Events(_) | Body::Rpc(_) => Response::from_parts(head, body),
            };
        }
        let mutant = HeaderValue::from_static(self.distortion.mutant.name());
        answer.headers_mut().insert(header::MUTANT, mutant);
        Ok(answer)
    }
}

/// An answer to a request for a coupon.
type Whole = Response<Full<Bytes>>;

/// What a bug does to answers to requests for coupons.
#[derive(Debug)]
pub(super) struct Distortion {
    mutant: Mutant,
    luck: Luck,
    /// An answer that waits for another one, and who waits for that.
    waiting: Mutex<Option<(Whole, oneshot::Sender<Whole>)>>,
}

impl Distortion {
    pub(super) fn new(mutant: Mutant, luck: Luck) -> Self {
        Self { mutant, luck, waiting: Mutex::default() }
    }

    /// What the request of this name gets instead of this answer.
    pub(super) async fn distort(&self, name: &str, answer: Whole) -> Whole {
        #[expect(clippy::wildcard_enum_match_arm, reason = "all other bugs leave answers alone")]
        match self.mutant {
            Mutant::WrongStatus => wrong_status(answer).await,
            Mutant::TruncatedBody if self.luck.hits(name, 40) => truncated(answer).await,
            Mutant::SwappedResponses if answer.status() == StatusCode::CREATED => {
                self.swapped(answer, self.luck.hits(name, 10)).await
            }
            _ => answer,
        }
    }

    /// Waits for another answer if it is struck, and takes the place of one that waits.
    async fn swapped(&self, answer: Whole, struck: bool) -> Whole {
        let other = self.slot().take();
        if let Some((other, partner)) = other {
            return match partner.send(answer) {
                Ok(()) => other,
                // The other one has not waited any longer, and was answered.
                Err(own) => own,
            };
        }
        if !struck {
            return answer;
        }
        let (partner, mut met) = oneshot::channel();
        *self.slot() = Some((answer.clone(), partner));
        match tokio::time::timeout(MEETS_WITHIN, &mut met).await {
            Ok(Ok(others)) => others,
            Ok(Err(_)) => answer,
            Err(_) => {
                // From here on nobody can swap with it; who has done so before did it as a whole.
                met.close();
                met.try_recv().unwrap_or(answer)
            }
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<(Whole, oneshot::Sender<Whole>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of a request for a coupon: its idempotency key, or else its id.
fn name_of<B>(request: &Request<B>) -> Option<String> {
    let headers = request.headers();
    let name = headers.get(header::IDEMPOTENCY_KEY).or(headers.get(header::REQUEST_ID));
    let name = name.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
    let issues = request.method() == Method::POST && request.uri().path().ends_with("/coupons");
    issues.then(|| name.unwrap_or_default())
}

async fn body(answer: Whole) -> (hyper::http::response::Parts, Bytes) {
    let (head, body) = answer.into_parts();
    let collected: Result<_, Infallible> = body.collect().await;
    let Ok(collected) = collected;
    (head, collected.to_bytes())
}

async fn wrong_status(answer: Whole) -> Whole {
    let (mut head, body) = body(answer).await;
    let problem: Option<Problem> = serde_json::from_slice(&body).ok();
    if problem.is_some_and(|problem| problem.code == ProblemCode::SoldOut) {
        head.status = StatusCode::CREATED;
    }
    Response::from_parts(head, Full::new(body))
}

async fn truncated(answer: Whole) -> Whole {
    let (head, body) = body(answer).await;
    Response::from_parts(head, Full::new(body.slice(..body.len() / 2)))
}
