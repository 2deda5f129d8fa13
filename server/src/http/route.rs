//! What a path names, and what it takes.

use contract::wire;
use hyper::Method;

use super::access::Right;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Campaigns,
    Campaign(&'a str),
    Coupons(&'a str),
    Cancel(&'a str),
    Events(&'a str),
    Health,
    Ready,
    Version,
    Metrics,
    Document,
}

impl<'a> Route<'a> {
    pub(super) fn of(path: &'a str) -> Option<Self> {
        match path {
            "/healthz" => return Some(Self::Health),
            "/readyz" => return Some(Self::Ready),
            "/version" => return Some(Self::Version),
            "/metrics" => return Some(Self::Metrics),
            "/openapi.yaml" => return Some(Self::Document),
            wire::CAMPAIGNS => return Some(Self::Campaigns),
            _ => {}
        }
        let rest = path.strip_prefix(wire::CAMPAIGNS)?.strip_prefix('/')?;
        match rest.split_once('/') {
            None if !rest.is_empty() => Some(Self::Campaign(rest)),
            Some((id, "coupons")) if !id.is_empty() => Some(Self::Coupons(id)),
            Some((id, "cancel")) if !id.is_empty() => Some(Self::Cancel(id)),
            Some((id, "events")) if !id.is_empty() => Some(Self::Events(id)),
            _ => None,
        }
    }

    /// What asking for it takes.
    pub(super) fn right(&self, method: &Method) -> Right {
        match self {
            Self::Campaigns | Self::Cancel(_) => Right::Administering,
            Self::Coupons(_) if method == Method::POST => Right::Issuing,
            Self::Coupons(_) => Right::Administering,
            Self::Campaign(_)
            | Self::Events(_)
            | Self::Health
            | Self::Ready
            | Self::Version
            | Self::Metrics
            | Self::Document => Right::Anybodys,
        }
    }

    /// Whether it counts against the requests that an address may make.
    pub(super) fn is_limited(&self) -> bool {
        !matches!(self, Self::Health | Self::Ready | Self::Metrics)
    }

    /// The query parameters that it takes.
    pub(super) fn parameters(&self, method: &Method) -> &'static [&'static str] {
        match self {
            Self::Coupons(_) if method != Method::POST => &["after", "limit"],
            Self::Campaigns
            | Self::Campaign(_)
            | Self::Coupons(_)
            | Self::Cancel(_)
            | Self::Events(_)
            | Self::Health
            | Self::Ready
            | Self::Version
            | Self::Metrics
            | Self::Document => &[],
        }
    }

    /// Its path, with a name for what differs.
    pub(super) fn template(&self) -> &'static str {
        match self {
            Self::Campaigns => "/campaigns",
            Self::Campaign(_) => "/campaigns/{id}",
            Self::Coupons(_) => "/campaigns/{id}/coupons",
            Self::Cancel(_) => "/campaigns/{id}/cancel",
            Self::Events(_) => "/campaigns/{id}/events",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Version => "/version",
            Self::Metrics => "/metrics",
            Self::Document => "/openapi.yaml",
        }
    }

    pub(super) fn methods(&self) -> &'static [Method] {
        match self {
            Self::Campaigns | Self::Cancel(_) => &[Method::POST],
            Self::Coupons(_) => &[Method::GET, Method::HEAD, Method::POST],
            Self::Campaign(_)
            | Self::Events(_)
            | Self::Health
            | Self::Ready
            | Self::Version
            | Self::Metrics
            | Self::Document => &[Method::GET, Method::HEAD],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        assert_eq!(Route::of("/campaigns"), Some(Route::Campaigns));
        assert_eq!(Route::of("/campaigns/1"), Some(Route::Campaign("1")));
        assert_eq!(Route::of("/campaigns/1/coupons"), Some(Route::Coupons("1")));
        assert_eq!(Route::of("/campaigns/1/events"), Some(Route::Events("1")));
        for path in ["/campaigns", "/campaigns/{id}/cancel", "/version", "/openapi.yaml"] {
            assert_eq!(Route::of(path).map(|route| route.template()), Some(path));
        }
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
