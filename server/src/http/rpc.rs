//! The same questions in protobuf: Connect, gRPC and gRPC-Web, on the port of REST.
//!
//! The trick: connectrpc speaks the protocols and knows nothing of coupons. What is asked goes to the
//! [`Coupons`] that REST asks, and what is refused there is put into the words of RPC in one place.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use connectrpc::{
    ConnectError, ConnectRpcBody, ConnectRpcService, ErrorCode, ErrorDetail, RequestContext,
    Response, ServiceRequest, ServiceResult,
};
use contract::wire::{self, NewCampaign, ProblemCode};
use http_body_util::Full;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request};
use tower_service::Service;

use super::access::{Access, Right};
use super::answer::{Answer, Body, Refusal};
use super::coupons::{self, Coupons, Outcome};
use super::input::{self, Page};
use crate::store::{Ask, Store};
use proto::coupon::v1::{
    Campaign, CampaignStatus, Coupon, CouponService, CouponServiceServer, CreateCampaignRequest,
    CreateCampaignResponse, GetCampaignRequest, GetCampaignResponse, IssueCouponRequest,
    IssueCouponResponse, Problem,
};

#[expect(
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated"
)]
mod proto {
    connectrpc::include_generated!();
}

const SERVICE: &str = "/coupon.v1.CouponService/";
/// A refusal goes along as this.
const PROBLEM: &str = "coupon.v1.Problem";

/// What asking for this path takes, if it is a path of RPC. Pages of coupons take more, see there.
pub(super) fn right(path: &str) -> Option<Right> {
    Some(match path.strip_prefix(SERVICE)? {
        "CreateCampaign" => Right::Administering,
        "IssueCoupon" => Right::Issuing,
        _ => Right::Anybodys,
    })
}

/// The path of a call, as long as it is one of these.
pub(super) fn template(path: &str) -> Option<&'static str> {
    Some(match path.strip_prefix(SERVICE)? {
        "CreateCampaign" => "/coupon.v1.CouponService/CreateCampaign",
        "GetCampaign" => "/coupon.v1.CouponService/GetCampaign",
        "IssueCoupon" => "/coupon.v1.CouponService/IssueCoupon",
        _ => SERVICE,
    })
}

/// Answers calls.
pub(super) struct Rpc<S: Store>(ConnectRpcService<CouponServiceServer<Calls<S>>>);

/// The id of a call, among its extensions.
#[derive(Clone)]
struct CallId(HeaderValue);

impl<S: Store> Rpc<S> {
    pub(super) fn new(coupons: Arc<Coupons<S>>, access: Access) -> Self {
        Self(ConnectRpcService::new(CouponServiceServer::new(Calls { coupons, access })))
    }

    pub(super) async fn call(&self, mut request: Request<Full<Bytes>>, id: &HeaderValue) -> Answer {
        request.extensions_mut().insert(CallId(id.clone()));
        let answered: Result<_, Infallible> = self.0.clone().call(request).await;
        let Ok(answer) = answered;
        told(answer)
    }
}

/// A refusal of a call with this head, before anybody looked into it.
pub(super) fn refused(refusal: Refusal, headers: &HeaderMap) -> Answer {
    told(error(refusal).into_http_response(headers))
}

/// What is there at once has a length. Of gRPC's errors the head does not say that they are some:
/// whoever finds a status there (tonic) does not look for the details, which come after the body.
fn told(mut answer: hyper::Response<ConnectRpcBody>) -> Answer {
    answer.headers_mut().remove("grpc-status");
    answer.headers_mut().remove("grpc-message");
    answer.map(|body| {
        if let ConnectRpcBody::Full(whole) = body { Body::Whole(whole) } else { Body::Rpc(body) }
    })
}

struct Calls<S> {
    coupons: Arc<Coupons<S>>,
    access: Access,
}

#[expect(refining_impl_trait, reason = "what the answers are made of is no secret")]
impl<S: Store> CouponService for Calls<S> {
    async fn create_campaign(
        &self,
        context: RequestContext,
        request: ServiceRequest<'_, CreateCampaignRequest>,
    ) -> ServiceResult<CreateCampaignResponse> {
        let asked = request.to_owned_message();
        self.answer(&context, self.create(&context, asked)).await
    }

    async fn get_campaign(
        &self,
        context: RequestContext,
        request: ServiceRequest<'_, GetCampaignRequest>,
    ) -> ServiceResult<GetCampaignResponse> {
        let asked = request.to_owned_message();
        self.answer(&context, self.get(&context, asked)).await
    }

    async fn issue_coupon(
        &self,
        context: RequestContext,
        request: ServiceRequest<'_, IssueCouponRequest>,
    ) -> ServiceResult<IssueCouponResponse> {
        let asked = request.to_owned_message();
        self.answer(&context, self.issue(&context, asked)).await
    }
}

impl<S: Store> Calls<S> {
    async fn create(
        &self,
        context: &RequestContext,
        asked: CreateCampaignRequest,
    ) -> Outcome<CreateCampaignResponse> {
        let new = new_campaign(asked)?;
        let key = input::idempotency_key(context.headers())?;
        let campaign = campaign(self.coupons.create(new, key).await?);
        Ok(CreateCampaignResponse { campaign: campaign.into(), ..Default::default() })
    }

    async fn get(
        &self,
        context: &RequestContext,
        asked: GetCampaignRequest,
    ) -> Outcome<GetCampaignResponse> {
        let GetCampaignRequest { id, after, limit, .. } = asked;
        let page = if limit == Some(0) {
            wire::LedgerPage { coupons: Vec::new(), next_after: None }
        } else {
            self.access.check(Right::Administering, context.headers())?;
            self.coupons.ledger(&id, Page::new(after, limit)?).await?
        };
        Ok(GetCampaignResponse {
            campaign: campaign(self.coupons.campaign(&id).await?).into(),
            coupons: page.coupons.into_iter().map(listed).collect(),
            next_after: page.next_after,
            ..Default::default()
        })
    }

    async fn issue(
        &self,
        context: &RequestContext,
        asked: IssueCouponRequest,
    ) -> Outcome<IssueCouponResponse> {
        let user = asked.user.map(input::user).transpose()?;
        let key = input::idempotency_key(context.headers())?;
        let campaign = coupons::number(&asked.campaign_id)?;
        let issued = self.coupons.issue(Ask { campaign, user, key }).await?;
        let remaining = issued.remaining;
        Ok(IssueCouponResponse { coupon: coupon(issued).into(), remaining, ..Default::default() })
    }

    async fn answer<T>(
        &self,
        context: &RequestContext,
        asking: impl Future<Output = Outcome<T>>,
    ) -> ServiceResult<T> {
        match self.coupons.within_patience(asking).await {
            Ok(answer) => Response::ok(answer),
            Err(refusal) => {
                if let Some(CallId(id)) = context.extensions().get() {
                    self.coupons.note(&refusal, id);
                }
                Err(error(*refusal))
            }
        }
    }
}

fn new_campaign(asked: CreateCampaignRequest) -> Outcome<NewCampaign> {
    let coupons = asked.coupons.ok_or_else(|| input::invalid("coupons", "is missing"))?;
    let starts_at = asked.starts_at.into_option();
    let starts_at = starts_at.ok_or_else(|| input::invalid("starts_at", "is missing"))?;
    let starts_at: DateTime<Utc> =
        starts_at.try_into().map_err(|_| input::invalid("starts_at", "is no time"))?;
    if !starts_at.timestamp_subsec_nanos().is_multiple_of(1_000_000) {
        return Err(input::invalid("starts_at", "is finer than a millisecond").into());
    }
    let CreateCampaignRequest { name, per_user_limit, .. } = asked;
    Ok(input::possible(NewCampaign { name, coupons, starts_at, per_user_limit })?)
}

fn campaign(told: wire::Campaign) -> Campaign {
    Campaign {
        id: told.id,
        name: told.name,
        status: status(told.status).into(),
        coupons: told.coupons,
        issued: told.issued,
        remaining: told.remaining,
        starts_at: time(told.starts_at).into(),
        per_user_limit: told.per_user_limit,
        opened_at: told.opened_at.map(time).into(),
        now: time(told.now).into(),
        ..Default::default()
    }
}

fn status(status: wire::Status) -> CampaignStatus {
    match status {
        wire::Status::Scheduled => CampaignStatus::Scheduled,
        wire::Status::Open => CampaignStatus::Open,
        wire::Status::SoldOut => CampaignStatus::SoldOut,
        wire::Status::Cancelled => CampaignStatus::Cancelled,
    }
}

fn coupon(issued: wire::Issued) -> Coupon {
    Coupon {
        code: issued.code,
        seq: issued.seq,
        issued_at: time(issued.issued_at).into(),
        ..Default::default()
    }
}

fn listed(row: wire::LedgerRow) -> Coupon {
    Coupon {
        code: row.code,
        seq: row.seq,
        user: row.user,
        issued_at: time(row.issued_at).into(),
        ..Default::default()
    }
}

fn time(time: DateTime<Utc>) -> buffa_types::Timestamp {
    time.into()
}

/// A refusal in the words of RPC, with the code of the problem as its detail.
fn error(refusal: Refusal) -> ConnectError {
    let Refusal { problem, header, cause: _ } = refusal;
    let detail = Problem {
        code: problem.code.name().to_owned(),
        field: problem.field,
        coupon: problem.coupon,
        ..Default::default()
    };
    // Whoever speaks JSON should not have to know protobuf for it.
    let debug = serde_json::to_value(&detail).ok();
    let detail = ErrorDetail { debug, ..ErrorDetail::from_message(PROBLEM, &detail) };
    ConnectError::new(error_code(problem.code), problem.detail)
        .with_detail(detail)
        .with_headers(header.into_iter().collect())
}

/// The only table between a problem and its code in RPC.
fn error_code(code: ProblemCode) -> ErrorCode {
    match code {
        ProblemCode::Unauthorized => ErrorCode::Unauthenticated,
        ProblemCode::NotStarted | ProblemCode::Cancelled => ErrorCode::FailedPrecondition,
        ProblemCode::SoldOut | ProblemCode::RateLimited | ProblemCode::CampaignsExhausted => {
            ErrorCode::ResourceExhausted
        }
        ProblemCode::AlreadyIssued => ErrorCode::AlreadyExists,
        ProblemCode::Invalid
        | ProblemCode::BadJson
        | ProblemCode::KeyReused
        | ProblemCode::TooLarge => ErrorCode::InvalidArgument,
        ProblemCode::CampaignNotFound | ProblemCode::NotFound => ErrorCode::NotFound,
        ProblemCode::MethodNotAllowed => ErrorCode::Unimplemented,
        ProblemCode::RequestTimeout => ErrorCode::DeadlineExceeded,
        ProblemCode::Overloaded | ProblemCode::StoreUnavailable => ErrorCode::Unavailable,
        ProblemCode::Internal => ErrorCode::Internal,
    }
}
