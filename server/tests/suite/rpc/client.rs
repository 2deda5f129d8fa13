//! Calls over each protocol: gRPC and gRPC-Web by tonic, Connect by plain requests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use contract::wire::header;
use http_body::Body;
use hyper::http::uri::PathAndQuery;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use tonic::client::{Grpc, GrpcService};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;
use tonic_web::{GrpcWebCall, GrpcWebClientService};

use super::messages::{
    CreateCampaignRequest, CreateCampaignResponse, GetCampaignRequest, GetCampaignResponse,
    IssueCouponRequest, IssueCouponResponse, Problem, Status,
};
use crate::instance::Instance;

/// Where the methods are.
pub(super) const SERVICE: &str = "/coupon.v1.CouponService";

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Connect,
    Grpc,
    GrpcWeb,
}

impl Speaks {
    pub(super) const ALL: [Self; 3] = [Self::Connect, Self::Grpc, Self::GrpcWeb];
}

/// Somebody who calls.
#[derive(Clone)]
pub(super) struct Caller {
    line: Line,
    key: Option<String>,
    token: Option<String>,
}

type Web = GrpcWebClientService<Client<HttpConnector, GrpcWebCall<tonic::body::Body>>>;

#[derive(Clone)]
enum Line {
    Connect { client: reqwest::Client, url: String },
    Grpc(Grpc<Channel>),
    GrpcWeb(Box<Grpc<Web>>),
}

/// Why a call got nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// As Connect spells it.
    pub(super) code: String,
    pub(super) problem: Problem,
}

impl Refused {
    pub(super) fn coded(code: &str, problem: &str) -> Self {
        let problem = Problem { code: problem.to_owned(), field: None, coupon: None };
        Self { code: code.to_owned(), problem }
    }

    pub(super) fn invalid(field: &str) -> Self {
        let mut refused = Self::coded("invalid_argument", "invalid");
        refused.problem.field = Some(field.to_owned());
        refused
    }

    /// With the coupon that its user holds.
    pub(super) fn holds(mut self, coupon: &str) -> Self {
        self.problem.coupon = Some(coupon.to_owned());
        self
    }
}

impl Caller {
    pub(super) async fn of(instance: &Instance, speaks: Speaks) -> Self {
        let url = instance.url.clone();
        let line = match speaks {
            Speaks::Connect => Line::Connect { client: instance.client.clone(), url },
            Speaks::Grpc => {
                let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
                Line::Grpc(Grpc::new(channel))
            }
            Speaks::GrpcWeb => {
                let client = Client::builder(TokioExecutor::new()).build_http();
                let web = GrpcWebClientService::new(client);
                Line::GrpcWeb(Grpc::with_origin(web, url.parse().unwrap()).into())
            }
        };
        Self { line, key: None, token: None }
    }

    pub(super) fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    pub(super) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(super) async fn create(
        &self,
        asked: CreateCampaignRequest,
    ) -> Result<CreateCampaignResponse, Refused> {
        self.call("CreateCampaign", asked).await
    }

    pub(super) async fn get(
        &self,
        asked: GetCampaignRequest,
    ) -> Result<GetCampaignResponse, Refused> {
        self.call("GetCampaign", asked).await
    }

    pub(super) async fn issue(
        &self,
        asked: IssueCouponRequest,
    ) -> Result<IssueCouponResponse, Refused> {
        self.call("IssueCoupon", asked).await
    }

    async fn call<Q, A>(&self, method: &str, asked: Q) -> Result<A, Refused>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let headers = self.headers();
        match self.line.clone() {
            Line::Connect { client, url } => {
                let request = client.post(format!("{url}{SERVICE}/{method}"));
                let request = request.headers(headers.into_headers()).body(asked.encode_to_vec());
                connect(request.header("content-type", "application/proto")).await
            }
            Line::Grpc(grpc) => call(grpc, method, headers, asked).await,
            Line::GrpcWeb(grpc) => call(*grpc, method, headers, asked).await,
        }
    }

    fn headers(&self) -> MetadataMap {
        let mut headers = MetadataMap::new();
        let value = |text: String| AsciiMetadataValue::try_from(text).unwrap();
        if let Some(key) = &self.key {
            headers.insert(header::IDEMPOTENCY_KEY, value(key.clone()));
        }
        if let Some(token) = &self.token {
            headers.insert("authorization", value(format!("Bearer {token}")));
        }
        headers
    }
}

async fn connect<A: Message + Default>(request: reqwest::RequestBuilder) -> Result<A, Refused> {
    let answer = request.header("connect-protocol-version", "1").send().await.unwrap();
    assert!(answer.headers().contains_key(header::INSTANCE));
    let (status, form) = (answer.status(), answer.headers()["content-type"].clone());
    let body = answer.bytes().await.unwrap();
    if status.is_success() {
        assert_eq!(form, "application/proto");
        return Ok(A::decode(body).unwrap());
    }
    assert_eq!(form, "application/json");
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let detail = &error["details"][0];
    assert_eq!(detail["type"], "coupon.v1.Problem", "{error}");
    let detail = STANDARD_NO_PAD.decode(detail["value"].as_str().unwrap()).unwrap();
    Err(Refused {
        code: error["code"].as_str().unwrap().to_owned(),
        problem: Problem::decode(&*detail).unwrap(),
    })
}

async fn call<T, Q, A>(
    mut grpc: Grpc<T>,
    method: &str,
    headers: MetadataMap,
    asked: Q,
) -> Result<A, Refused>
where
    T: GrpcService<tonic::body::Body>,
    T::Error: std::fmt::Debug,
    T::ResponseBody: Body + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("{SERVICE}/{method}")).unwrap();
    let mut request = Request::new(asked);
    *request.metadata_mut() = headers;
    let told = grpc.unary(request, path, ProstCodec::<Q, A>::default()).await;
    let status = match told {
        Ok(answer) => {
            assert!(answer.metadata().contains_key(header::INSTANCE));
            return Ok(answer.into_inner());
        }
        Err(status) => status,
    };
    let details = Status::decode(status.details()).unwrap();
    assert_eq!((details.code, &*details.message), (i32::from(status.code()), status.message()));
    let [detail] = &details.details[..] else { panic!("{status:?}") };
    assert_eq!(detail.type_url, "type.googleapis.com/coupon.v1.Problem");
    Err(Refused {
        code: spelled(status.code()).to_owned(),
        problem: Problem::decode(&*detail.value).unwrap(),
    })
}

fn spelled(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => "invalid_argument",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Unauthenticated => "unauthenticated",
        Code::Unavailable => "unavailable",
        other => panic!("{other:?}"),
    }
}
