//! Connect by connectrpc's own client, made of `coupon.proto`: JSON and protobuf, over HTTP/1.1 and
//! HTTP/2.

use connectrpc::client::{CallOptions, ClientBody, ClientConfig, ServiceTransport};
use connectrpc::{CodecFormat, ErrorCode};
use contract::wire::header;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::instance::Instance;
use proto::coupon::v1::{
    CampaignStatus, CouponServiceClient, CreateCampaignRequest, GetCampaignRequest,
    IssueCouponRequest,
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

type Caller = CouponServiceClient<ServiceTransport<Client<HttpConnector, ClientBody>>>;

fn caller(instance: &Instance, format: CodecFormat, http2: bool) -> Caller {
    let http = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
    let config = ClientConfig::new(instance.url.parse().unwrap()).with_codec_format(format);
    CouponServiceClient::new(ServiceTransport::new(http), config)
}

#[tokio::test]
async fn a_launch_by_connect_s_own_client() {
    let instance = Instance::alone(&[]);
    for (format, http2) in [
        (CodecFormat::Json, false),
        (CodecFormat::Json, true),
        (CodecFormat::Proto, false),
        (CodecFormat::Proto, true),
    ] {
        a_launch(&instance, &caller(&instance, format, http2)).await;
    }
}

async fn a_launch(instance: &Instance, caller: &Caller) {
    let created = caller.create_campaign(wanted()).await.unwrap().into_owned();
    let id = created.campaign.into_option().unwrap().id;
    let keyed = || CallOptions::default().with_header(header::IDEMPOTENCY_KEY, "k");
    let issued = caller.issue_coupon_with_options(ask(&id, "Ann"), keyed()).await.unwrap();
    let issued = issued.into_owned();
    let coupon = issued.coupon.clone().into_option().unwrap();
    let row = &instance.ledger(&id).await[0];
    assert_eq!((&coupon.code, coupon.seq, issued.remaining), (&row.code, 1, 0));
    let again = caller.issue_coupon_with_options(ask(&id, "Ann"), keyed()).await.unwrap();
    assert_eq!(again.into_owned(), issued);

    let refused = caller.issue_coupon(ask(&id, "ann")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::AlreadyExists);
    let problem = json!({ "code": "already_issued", "coupon": row.code });
    assert_eq!(refused.details[0].debug, Some(problem));
    let refused = caller.issue_coupon(ask(&id, "Bob")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ResourceExhausted);

    let asked = GetCampaignRequest { id: id.clone(), ..Default::default() };
    let got = caller.get_campaign(asked).await.unwrap().into_owned();
    let campaign = got.campaign.into_option().unwrap();
    assert_eq!(campaign.status, CampaignStatus::SoldOut);
    assert_eq!((campaign.coupons, campaign.issued, campaign.remaining), (1, 1, 0));
    assert_eq!(got.coupons[0].user.as_deref(), Some("Ann"));
    assert_eq!((got.coupons.len(), &got.coupons[0].code), (1, &row.code));
}

/// One that has started, with a coupon.
fn wanted() -> CreateCampaignRequest {
    CreateCampaignRequest {
        name: "launch".to_owned(),
        coupons: Some(1),
        starts_at: buffa_types::Timestamp::from(chrono::DateTime::UNIX_EPOCH).into(),
        per_user_limit: Some(1),
        ..Default::default()
    }
}

fn ask(id: &str, user: &str) -> IssueCouponRequest {
    IssueCouponRequest {
        campaign_id: id.to_owned(),
        user: Some(user.to_owned()),
        ..Default::default()
    }
}
