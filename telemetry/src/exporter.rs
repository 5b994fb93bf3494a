//! From spans to a collector: a bounded queue, batches, tries with pauses between them. Who emits never waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter as Otlp};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter, SpanLinks};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::ids::{TraceId, TraceParent};
use crate::limits::{
    BATCH_SPANS_MAX, BATCH_WAIT, EXPORT_PAUSE_MAX, EXPORT_PAUSE_MIN, EXPORT_TRIES_MAX, FLUSH_WAIT_MAX, QUEUE_SPANS_MAX,
};
use crate::sampler::Sampler;
use crate::{Component, Kind, Span};

static DROPPED: AtomicU64 = AtomicU64::new(0);
static EXPORTED: AtomicU64 = AtomicU64::new(0);

/// Why traces cannot be exported.
#[derive(Debug)]
pub enum StartError {
    /// The endpoint, or what belongs to it.
    Endpoint(ExporterBuildError),
    /// `OTEL_TRACES_SAMPLER` names none that is known.
    Sampler(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Endpoint(error) => {
                write!(f, "traces cannot be exported: {error}; set OTEL_EXPORTER_OTLP_ENDPOINT to http://host:4317")
            }
            StartError::Sampler(name) => write!(
                f,
                "OTEL_TRACES_SAMPLER={name} is unknown: use always_on, always_off, traceidratio, or parentbased_ with one of these"
            ),
        }
    }
}

impl std::error::Error for StartError {}

/// Spans dropped since the start, because the queue was full or the collector refused them to the end.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Counts something that was to be told and will not be.
pub fn note_dropped() {
    DROPPED.fetch_add(1, Ordering::Relaxed);
}

/// Spans that a collector took since the start.
pub fn exported() -> u64 {
    EXPORTED.load(Ordering::Relaxed)
}

/// The way of one component's spans to the collector.
#[derive(Debug)]
pub struct Exporter {
    queue: mpsc::Sender<Order>,
    sampler: Sampler,
}

#[derive(Debug)]
enum Order {
    Export(Box<Span>),
    Flush(oneshot::Sender<()>),
}

/// Starts the exporter of a component, if an endpoint is set. A second start leaves the first in place.
///
/// # Errors
/// [`StartError`], with what to do. Whoever starts may go on without traces.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start(component: Component) -> Result<(), StartError> {
    let endpoints = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    let is_off = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|text| text.eq_ignore_ascii_case("true"));
    if is_off || endpoints.iter().all(|name| variable(name).is_none()) || component.exporter().is_some() {
        return Ok(());
    }
    let name = variable("OTEL_TRACES_SAMPLER");
    let sampler = Sampler::parse(name.as_deref(), variable("OTEL_TRACES_SAMPLER_ARG").as_deref());
    let sampler = sampler.ok_or_else(|| StartError::Sampler(name.unwrap_or_default()))?;
    let otlp = Otlp::builder().with_tonic().build().map_err(StartError::Endpoint)?;
    start_with(component, sampler, otlp);
    Ok(())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn start_with(component: Component, sampler: Sampler, mut otlp: Otlp) {
    otlp.set_resource(&resource(component));
    let (queue, orders) = mpsc::channel(QUEUE_SPANS_MAX);
    if component.place().set(Exporter { queue, sampler }).is_ok() {
        // Ends with the process: the exporter is there for all of its life.
        tokio::spawn(work(otlp, orders));
    }
}

/// `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` come first.
fn resource(component: Component) -> Resource {
    let named = Resource::builder_empty().with_attributes([
        KeyValue::new("service.name", component.service_name()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ]);
    let says_name = variable("OTEL_SERVICE_NAME").is_some()
        || variable("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|all| all.contains("service.name="));
    match says_name {
        true => Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build(),
        false => named.with_detector(Box::new(opentelemetry_sdk::resource::EnvResourceDetector::new())).build(),
    }
}

/// Sends what waits, for at most [`FLUSH_WAIT_MAX`] altogether.
pub async fn stop() {
    let flush = async {
        for exporter in Component::ALL.into_iter().filter_map(Component::exporter) {
            let (done, is_done) = oneshot::channel();
            if exporter.queue.send(Order::Flush(done)).await.is_ok() {
                // Gone = there is nothing left to wait for.
                let _ = is_done.await;
            }
        }
    };
    if timeout(FLUSH_WAIT_MAX, flush).await.is_err() {
        tracing::warn!("some spans were not exported: the collector did not take them in time");
    }
}

impl Exporter {
    /// Whether a trace is recorded.
    pub fn samples(&self, trace: TraceId, caller: Option<TraceParent>) -> bool {
        self.sampler.samples(trace, caller)
    }

    /// Takes a span to be exported. Dropped and counted if too many wait.
    pub fn emit(&self, span: Span) {
        if self.queue.try_send(Order::Export(Box::new(span))).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn work(otlp: Otlp, mut orders: mpsc::Receiver<Order>) {
    let scope = InstrumentationScope::builder("heddle").with_version(env!("CARGO_PKG_VERSION")).build();
    let mut taken = Vec::with_capacity(BATCH_SPANS_MAX);
    while let Some(first) = orders.recv().await {
        taken.push(first);
        let fill = async {
            while taken.len() < BATCH_SPANS_MAX && !matches!(taken.last(), Some(Order::Flush(_))) {
                let Some(order) = orders.recv().await else { return };
                taken.push(order);
            }
        };
        // Over = whatever is there goes.
        let _ = timeout(BATCH_WAIT, fill).await;
        let (mut batch, mut flushed) = (Vec::with_capacity(taken.len()), None);
        for order in taken.drain(..) {
            match order {
                Order::Export(span) => batch.push(data(*span, &scope)),
                Order::Flush(done) => flushed = Some(done),
            }
        }
        if !batch.is_empty() {
            export(&otlp, batch).await;
        }
        // Gone = nobody waits for it any more.
        let _ = flushed.map(|done| done.send(()));
    }
}

/// Tries until the collector takes the batch, or has refused it too often.
async fn export(otlp: &Otlp, batch: Vec<SpanData>) {
    let (count, mut pause) = (batch.len() as u64, EXPORT_PAUSE_MIN);
    for attempt in 1..=EXPORT_TRIES_MAX {
        match otlp.export(batch.clone()).await {
            Ok(()) => {
                EXPORTED.fetch_add(count, Ordering::Relaxed);
                return;
            }
            Err(error) if attempt == EXPORT_TRIES_MAX => {
                DROPPED.fetch_add(count, Ordering::Relaxed);
                tracing::warn!(%error, spans = count, "spans were dropped: the collector does not take them");
            }
            Err(error) => {
                tracing::debug!(%error, attempt, "the collector did not take spans; trying again");
                sleep(pause).await;
                pause = Duration::min(pause * 2, EXPORT_PAUSE_MAX);
            }
        }
    }
}

fn data(span: Span, scope: &InstrumentationScope) -> SpanData {
    let id = |id: crate::SpanId| opentelemetry::SpanId::from_bytes(id.0);
    let trace = opentelemetry::TraceId::from_bytes(span.trace.0);
    SpanData {
        span_context: SpanContext::new(trace, id(span.id), TraceFlags::SAMPLED, false, TraceState::default()),
        parent_span_id: span.parent.map_or(opentelemetry::SpanId::INVALID, id),
        parent_span_is_remote: span.parent.is_some(),
        span_kind: match span.kind {
            Kind::Server => SpanKind::Server,
            Kind::Internal => SpanKind::Internal,
            Kind::Consumer => SpanKind::Consumer,
        },
        name: span.name,
        start_time: span.start,
        end_time: span.end.max(span.start),
        attributes: span.attributes.into_iter().map(|(name, value)| KeyValue::new(name, value)).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.error.map_or(Status::Unset, |description| Status::Error { description }),
        instrumentation_scope: scope.clone(),
    }
}
