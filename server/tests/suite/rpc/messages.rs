//! The messages of `coupon.proto`, written down once more and by hand: a number of a field that
//! changes by accident is seen.

use prost::Message;
use prost_types::Timestamp;

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateCampaignRequest {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint64, optional, tag = "2")]
    pub(super) coupons: Option<u64>,
    #[prost(message, optional, tag = "3")]
    pub(super) starts_at: Option<Timestamp>,
    #[prost(uint32, optional, tag = "4")]
    pub(super) per_user_limit: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateCampaignResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) campaign: Option<Campaign>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetCampaignRequest {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(uint64, tag = "2")]
    pub(super) after: u64,
    #[prost(uint32, optional, tag = "3")]
    pub(super) limit: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetCampaignResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) campaign: Option<Campaign>,
    #[prost(message, repeated, tag = "2")]
    pub(super) coupons: Vec<Coupon>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) next_after: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IssueCouponRequest {
    #[prost(string, tag = "1")]
    pub(super) campaign_id: String,
    #[prost(string, optional, tag = "2")]
    pub(super) user: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IssueCouponResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) coupon: Option<Coupon>,
    #[prost(uint64, tag = "2")]
    pub(super) remaining: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Campaign {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(int32, tag = "3")]
    pub(super) status: i32,
    #[prost(uint64, tag = "4")]
    pub(super) coupons: u64,
    #[prost(uint64, tag = "5")]
    pub(super) issued: u64,
    #[prost(uint64, tag = "6")]
    pub(super) remaining: u64,
    #[prost(message, optional, tag = "7")]
    pub(super) starts_at: Option<Timestamp>,
    #[prost(uint32, optional, tag = "8")]
    pub(super) per_user_limit: Option<u32>,
    #[prost(message, optional, tag = "9")]
    pub(super) opened_at: Option<Timestamp>,
    #[prost(message, optional, tag = "10")]
    pub(super) now: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Coupon {
    #[prost(string, tag = "1")]
    pub(super) code: String,
    #[prost(uint64, tag = "2")]
    pub(super) seq: u64,
    #[prost(string, optional, tag = "3")]
    pub(super) user: Option<String>,
    #[prost(message, optional, tag = "4")]
    pub(super) issued_at: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Problem {
    #[prost(string, tag = "1")]
    pub(super) code: String,
    #[prost(string, optional, tag = "2")]
    pub(super) field: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) coupon: Option<String>,
}

/// What gRPC says of an error besides its code: `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<prost_types::Any>,
}
