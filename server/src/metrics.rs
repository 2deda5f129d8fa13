//! What an operator counts: OpenMetrics text at `GET /metrics`.
//!
//! The trick: one process is one server, so there is one set of them, and every counter is a handle
//! that is kept. Looking one up by its labels would cost more than counting.

use std::sync::LazyLock;

use contract::wire::ProblemCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Media type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// All of this process.
pub fn metrics() -> &'static Metrics {
    &METRICS
}

/// What is counted.
#[derive(Debug)]
pub struct Metrics {
    /// Answers that held a coupon, repeated ones included.
    pub issued: Counter,
    /// How long the store took to decide about a coupon, with the wait for its turn.
    pub decided_in: Histogram,
    /// How many requests a step decided.
    pub batch: Histogram,
    /// Requests that wait for a step.
    pub queue: Gauge,
    /// Connections that are open.
    pub connections: Gauge,
    /// Streams of events that are open.
    pub streams: Gauge,
    /// 1 while this instance opens campaigns.
    pub leads: Gauge,
    refused: Vec<(ProblemCode, Counter)>,
    registry: Registry,
}

impl Metrics {
    fn new() -> Self {
        let refused = Family::<[(&str, &str); 1], Counter>::default();
        let kept =
            |code: &ProblemCode| (*code, refused.get_or_create(&[("reason", code.name())]).clone());
        let mut all = Self {
            issued: Counter::default(),
            // From 0.1 ms to 6.6 s.
            decided_in: Histogram::new(exponential_buckets(0.000_1, 2.0, 17)),
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            queue: Gauge::default(),
            connections: Gauge::default(),
            streams: Gauge::default(),
            leads: Gauge::default(),
            refused: ProblemCode::ALL.iter().map(kept).collect(),
            registry: Registry::with_prefix("coupon"),
        };
        let r = &mut all.registry;
        r.register(
            "issued",
            "Answers that held a coupon, repeated ones included",
            all.issued.clone(),
        );
        r.register(
            "refused",
            "Requests that were refused, by the code of the problem",
            refused.clone(),
        );
        r.register_with_unit(
            "decided_in",
            "From a request for a coupon to the store's decision, with the wait for its turn",
            Unit::Seconds,
            all.decided_in.clone(),
        );
        r.register("batch", "Requests that shared a step of the store", all.batch.clone());
        r.register("queue", "Requests that wait for a step of the store", all.queue.clone());
        r.register("connections", "Open connections", all.connections.clone());
        r.register("streams", "Open streams of events", all.streams.clone());
        r.register("leads", "1 while this instance opens campaigns", all.leads.clone());
        all
    }

    /// Counts a refusal.
    pub fn refused(&self, code: ProblemCode) {
        if let Some((_, counter)) = self.refused.iter().find(|(known, _)| *known == code) {
            counter.inc();
        }
    }

    /// Adds to a count of what is there until the returned value is dropped.
    pub fn there(gauge: &'static Gauge) -> There {
        gauge.inc();
        There(gauge)
    }

    /// All of it, as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // A string takes whatever is written to it.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Something that is counted as long as it is there.
#[derive(Debug)]
pub struct There(&'static Gauge);

impl Drop for There {
    fn drop(&mut self) {
        self.0.dec();
    }
}
