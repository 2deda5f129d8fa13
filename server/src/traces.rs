//! One span for each request, to an OpenTelemetry collector, where the standard variables name one.
//!
//! The trick: without a collector there is no tracer, and a span is nothing at all.

use std::sync::OnceLock;

use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span as SdkSpan};

/// How the service is called, unless the variables call it something else.
const SERVICE: &str = "coupon-server";
/// Where traces go; the second one is for all that is told of a service.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// How they are told.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const SPOKEN: &str = "http/protobuf";

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Spans go out while this is there, and the last ones when it is dropped.
#[derive(Debug)]
pub struct Tracing(SdkTracerProvider);

/// Why spans cannot be sent. Endpoints may hold secrets, and are not repeated.
#[derive(Debug, thiserror::Error)]
pub enum NoTraces {
    /// The collector is to be reached by TLS.
    #[error(
        "{0} must begin with http://: traces leave in the clear, to a collector on this host or network"
    )]
    NotClear(&'static str),
    /// The collector is to be told in another form.
    #[error("{0} must be {SPOKEN}, or absent")]
    NotSpoken(&'static str),
    /// The variables make no sense together.
    #[error("the OTEL variables make no exporter")]
    NoExporter(#[from] ExporterBuildError),
}

/// Starts sending, if the variables name a collector.
///
/// # Errors
/// When they ask for something that this program does not do.
pub fn start() -> Result<Option<Tracing>, NoTraces> {
    let Some((name, endpoint)) = first_of(ENDPOINTS) else { return Ok(None) };
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return Ok(None);
    }
    if !endpoint.starts_with("http://") {
        return Err(NoTraces::NotClear(name));
    }
    if let Some((name, protocol)) = first_of(PROTOCOLS)
        && protocol != SPOKEN
    {
        return Err(NoTraces::NotSpoken(name));
    }
    let exporter = SpanExporter::builder().with_http().build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource())
        .build();
    let _ = TRACER.set(provider.tracer(SERVICE));
    Ok(Some(Tracing(provider)))
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // The collector may be gone; nobody is left to tell.
        let _ = self.0.shutdown();
    }
}

/// A request that is being answered.
pub struct Span(Option<SdkSpan>);

impl Span {
    /// Begins the span of a request for `route` (empty where there is none), below the one that the request names, if it does.
    pub fn begin(head: &Parts, route: &'static str, request_id: &HeaderValue) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        let parent = TraceContextPropagator::new()
            .extract_with_context(&Context::new(), &Headers(&head.headers));
        let method = head.method.as_str();
        let name = if route.is_empty() { method.to_owned() } else { format!("{method} {route}") };
        let id = String::from_utf8_lossy(request_id.as_bytes()).into_owned();
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.to_owned()),
            KeyValue::new("coupon.request_id", id),
        ];
        if !route.is_empty() {
            attributes.push(KeyValue::new("http.route", route));
        }
        let span =
            tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes);
        Self(Some(span.start_with_context(tracer, &parent)))
    }

    /// Ends it with the answer's status.
    pub fn end(mut self, status: StatusCode) {
        if let Some(span) = &mut self.0 {
            let code = i64::from(status.as_u16());
            span.set_attribute(KeyValue::new("http.response.status_code", code));
            if status.is_server_error() {
                span.set_status(Status::error(""));
            }
            span.end();
        }
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

fn resource() -> Resource {
    let named = variable("OTEL_SERVICE_NAME").is_some()
        || variable("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|all| all.contains("service.name="));
    let builder = Resource::builder();
    if named { builder.build() } else { builder.with_service_name(SERVICE).build() }
}

fn first_of(names: [&'static str; 2]) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| Some((name, variable(name)?)))
}

fn is(name: &str, value: &str) -> bool {
    variable(name).is_some_and(|set| set.eq_ignore_ascii_case(value))
}

/// What an environment variable says; one that is empty says nothing, by the standard.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
