//! A span for each request and for what it asks of the store, to an OpenTelemetry collector, where the standard
//! variables name one.
//!
//! The trick: without a collector there is no tracer, and a span is nothing at all. With one, a task knows
//! what it is answering, so nobody has to be told whose call of the store it is.

use std::sync::{Arc, OnceLock};

use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
    TracerProvider as _,
};
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

tokio::task_local! {
    /// The span that whatever this task does now is a part of, if there is a tracer.
    static ANSWERING: Option<Arc<SpanContext>>;
}

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
pub struct Span(Option<Box<SdkSpan>>);

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
        Self(Some(Box::new(span.start_with_context(tracer, &parent))))
    }

    /// Does what the request asks for.
    pub async fn around<T>(&self, answering: impl Future<Output = T>) -> T {
        ANSWERING.scope(context(self.0.as_deref()), answering).await
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

/// A call of the store, with all that it waits for.
pub(crate) async fn store_call<T, E>(
    name: &'static str,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut span = answering().and_then(|above| below(&above, name, SpanKind::Client));
    let told = ANSWERING.scope(context(span.as_deref()), call).await;
    if let Some(span) = &mut span {
        end(span, told.is_err());
    }
    told
}

/// What the store does for one request, once it gets to it: the time between a call's beginning and this
/// one's is what the request waited for its turn.
///
/// It waits in a queue with its request, so it is small where there is no collector.
pub(crate) struct StepSpan {
    above: Option<Arc<SpanContext>>,
    begun: Option<Box<SdkSpan>>,
}

impl StepSpan {
    /// Of the call that this task is in.
    pub(crate) fn new() -> Self {
        Self { above: answering(), begun: None }
    }

    /// The step begins, for so many requests.
    pub(crate) fn begin(&mut self, batch: usize) {
        self.begun = self.above.take().and_then(|above| below(&above, "step", SpanKind::Internal));
        if let Some(span) = &mut self.begun {
            let batch = i64::try_from(batch).unwrap_or(i64::MAX);
            span.set_attribute(KeyValue::new("coupon.batch", batch));
        }
    }

    /// The step is over.
    pub(crate) fn end(mut self, failed: bool) {
        if let Some(span) = &mut self.begun {
            end(span, failed);
        }
    }
}

fn answering() -> Option<Arc<SpanContext>> {
    ANSWERING.try_with(Clone::clone).ok().flatten()
}

fn context(span: Option<&SdkSpan>) -> Option<Arc<SpanContext>> {
    span.map(|span| Arc::new(span.span_context().clone()))
}

fn below(above: &SpanContext, name: &'static str, kind: SpanKind) -> Option<Box<SdkSpan>> {
    let tracer = TRACER.get()?;
    let above = Context::new().with_remote_span_context(above.clone());
    let span = tracer.span_builder(name).with_kind(kind).start_with_context(tracer, &above);
    Some(Box::new(span))
}

fn end(span: &mut SdkSpan, failed: bool) {
    if failed {
        span.set_status(Status::error(""));
    }
    span.end();
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
