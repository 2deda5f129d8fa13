//! Traces go to whom the standard variables name, as the standard says.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Receiver;

use contract::wire::{coupons_path, header};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use crate::instance::{Instance, Store, binary, command, refused, take_request, until};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A stand-in for a collector.
struct Collector {
    address: SocketAddr,
    told: Receiver<(String, Vec<u8>)>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            loop {
                let (head, body) = take_request(&listener, "");
                if head.starts_with("POST /the/end ") {
                    return;
                }
                tell.send((head, body)).unwrap();
            }
        });
        Self { address, told }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that was sent until now: requests are taken in their order, and this one ends it.
    fn sent(self) -> Vec<ExportTraceServiceRequest> {
        let mut last = TcpStream::connect(self.address).unwrap();
        last.write_all(b"POST /the/end HTTP/1.1\r\ncontent-length: 0\r\n\r\n").unwrap();
        let request = |(head, body): (String, Vec<u8>)| {
            assert!(head.starts_with("POST /v1/traces "), "{head}");
            assert!(head.contains("x-shop: sesame"), "{head}");
            ExportTraceServiceRequest::decode(body.as_slice()).unwrap()
        };
        self.told.into_iter().map(request).collect()
    }
}

fn attributes(all: &[KeyValue]) -> HashMap<&str, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|v| v.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    all.iter().map(|one| (one.key.as_str(), text(&one.value))).collect()
}

#[tokio::test]
async fn each_request_is_a_span_below_the_one_of_whoever_asks() {
    let collector = Collector::start();
    let store = Store::redis();
    let mut command = command(&store.flag());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-shop=sesame");
    command.env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test");
    let mut instance = Instance::start(&mut command);
    let id = instance.create(3, -1, false).await.id;
    let asked = instance.post(&coupons_path(&id)).header("traceparent", PARENT);
    let asked = asked.header(header::REQUEST_ID, "mine-7");
    assert_eq!(asked.send().await.unwrap().status(), 201);
    drop(store);
    assert_eq!(instance.post(&coupons_path(&id)).send().await.unwrap().status(), 503);
    assert_eq!(instance.get("/no/such/thing").send().await.unwrap().status(), 404);
    instance.get("/coupon.v1.CouponService/Nothing").send().await.unwrap();
    // What is left is sent before the end.
    let lines = instance.stop();
    assert!(lines.iter().all(|line| !line.contains("sesame")), "{lines:?}");

    let requests = collector.sent();
    let resources: Vec<_> = requests.iter().flat_map(|request| &request.resource_spans).collect();
    for resource in &resources {
        let of_all = attributes(&resource.resource.as_ref().unwrap().attributes);
        assert_eq!(of_all["service.name"], "coupon-server");
        assert_eq!(of_all["deployment.environment.name"], "test");
    }
    let spans = resources.iter().flat_map(|one| &one.scope_spans).flat_map(|scope| &scope.spans);
    let (spans, below): (Vec<&Span>, Vec<&Span>) =
        spans.partition(|span| span.kind == SpanKind::Server as i32);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    let expected = [
        "POST /campaigns",
        "POST /campaigns/{id}/coupons",
        "POST /campaigns/{id}/coupons",
        "GET",
        "GET /coupon.v1.CouponService/",
    ];
    assert_eq!(names, expected);
    let issued = spans[1];
    assert_eq!(hex(&issued.trace_id), PARENT[3..35]);
    assert_eq!(hex(&issued.parent_span_id), PARENT[36..52]);
    assert!(issued.start_time_unix_nano < issued.end_time_unix_nano);
    let said = attributes(&issued.attributes);
    assert_eq!(said["http.request.method"], "POST");
    assert_eq!(said["http.route"], "/campaigns/{id}/coupons");
    assert_eq!(said["http.response.status_code"], "201");
    assert_eq!(said["coupon.request_id"], "mine-7");
    let failed =
        |span: &Span| span.status.as_ref().is_some_and(|s| s.code == StatusCode::Error as i32);
    let failures: Vec<bool> = spans.iter().map(|span| failed(span)).collect();
    assert_eq!(failures[..4], [false, false, true, false]);
    assert!(spans[2].parent_span_id.is_empty(), "nobody named a span above it");

    for (request, call, steps) in
        [(spans[0], "store create", 0), (issued, "store issue", 1), (spans[2], "store issue", 1)]
    {
        let calls = below_it(&below, request);
        let [called] = calls[..] else { panic!("{call}: {below:?}") };
        assert_eq!((called.name.as_str(), failed(called)), (call, failed(request)));
        assert_eq!(called.kind, SpanKind::Client as i32);
        let decided = below_it(&below, called);
        assert_eq!(decided.len(), steps, "{call}: {below:?}");
        for step in decided {
            assert_eq!((step.name.as_str(), failed(step)), ("step", failed(request)));
            assert_eq!(attributes(&step.attributes)["coupon.batch"], "1");
            assert!(called.start_time_unix_nano <= step.start_time_unix_nano);
        }
    }
    assert_eq!(below.len(), 5, "what asks nothing of the store has nothing below it: {below:?}");
}

/// What a span consists of.
fn below_it<'a>(all: &[&'a Span], above: &Span) -> Vec<&'a Span> {
    let is_below =
        |span: &&&Span| (&span.trace_id, &span.parent_span_id) == (&above.trace_id, &above.span_id);
    all.iter().filter(is_below).copied().collect()
}

#[tokio::test]
async fn requests_that_share_a_step_say_how_many_they_are() {
    let collector = Collector::start();
    let redis = e2e::Redis::start();
    let mut command = command(&redis.url());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-shop=sesame");
    let mut instance = Instance::start(command.args(["--request-timeout", "20s"]));
    let id = instance.create(9, -1, false).await.id;
    redis.signal("STOP");
    let ask = || tokio::spawn(instance.post(&coupons_path(&id)).send());
    let counts = async |line: &str| {
        let metrics = instance.get("/metrics").send().await.unwrap().text().await.unwrap();
        metrics.lines().any(|told| told == line)
    };
    let first = ask();
    until(async || counts("coupon_batch_count 1").await).await;
    let others = [ask(), ask(), ask()];
    until(async || counts("coupon_queue 3").await).await;
    redis.signal("CONT");
    for answer in [first].into_iter().chain(others) {
        assert_eq!(answer.await.unwrap().unwrap().status(), 201);
    }
    instance.stop();
    let requests = collector.sent();
    let spans = requests.iter().flat_map(|request| &request.resource_spans);
    let spans = spans.flat_map(|one| &one.scope_spans).flat_map(|scope| &scope.spans);
    let steps = spans.filter(|span| span.name == "step");
    let mut batches: Vec<_> =
        steps.map(|step| attributes(&step.attributes)["coupon.batch"].clone()).collect();
    batches.sort();
    assert_eq!(batches, ["1", "3", "3", "3"]);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_not_spoken_is_refused_in_one_line() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://sesame@collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318/sesame"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ] {
        let mut command = binary();
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318").env("PORT", "0");
        let line = refused(command.env(name, value));
        assert!(line.contains(name) && !line.contains("sesame"), "{line}");
    }
}

/// A variable that is empty says nothing, by the standard.
#[tokio::test]
async fn a_service_has_the_name_that_the_variables_give_it() {
    for (variables, name) in [
        ([("OTEL_SERVICE_NAME", "shop"), ("OTEL_SDK_DISABLED", "")], "shop"),
        (
            [("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=shop"), ("OTEL_SERVICE_NAME", "")],
            "shop",
        ),
        ([("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", ""), ("OTEL_SERVICE_NAME", "")], "coupon-server"),
    ] {
        let collector = Collector::start();
        let store = Store::sqlite();
        let mut command = command(&store.flag());
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
        command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-shop=sesame").envs(variables);
        let mut instance = Instance::start(&mut command);
        instance.create(3, -1, false).await;
        instance.stop();
        let requests = collector.sent();
        let resource = requests[0].resource_spans[0].resource.as_ref().unwrap();
        assert_eq!(attributes(&resource.attributes)["service.name"], name, "{variables:?}");
    }
}

#[tokio::test]
async fn nothing_is_sent_where_the_variables_say_so() {
    for (name, value) in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let collector = Collector::start();
        let store = Store::sqlite();
        let mut command = command(&store.flag());
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
        command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-shop=sesame");
        let mut instance = Instance::start(command.env(name, value));
        instance.create(3, -1, false).await;
        instance.stop();
        assert_eq!(collector.sent(), [], "{name}");
    }
}
