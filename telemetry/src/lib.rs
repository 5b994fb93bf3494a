//! Traces over OTLP: ids that every part derives alike, and an exporter that never stands in the way.
//!
//! Spans are made of facts, with the times at which they happened: a run may outlive the process that took it in. Nothing
//! is made, and nothing is paid, unless `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod exporter;
mod ids;
pub mod limits;
pub mod metrics;
mod sampler;

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::SystemTime;

pub use exporter::{Exporter, StartError, dropped, exported, note_dropped, start, stop};
pub use ids::{InstanceName, RunTrace, SpanId, TraceId, TraceParent};

/// A part of the cluster that makes spans: each is a service of its own, though `heddle up` runs all in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// Answers requests.
    Gateway,
    /// Knows runs and nodes.
    Coordinator,
    /// Runs attempts.
    Agent,
}

impl Component {
    const ALL: [Component; 3] = [Component::Gateway, Component::Coordinator, Component::Agent];

    /// Its name as a service, unless `OTEL_SERVICE_NAME` says otherwise.
    pub fn service_name(self) -> &'static str {
        match self {
            Component::Gateway => "heddle-gateway",
            Component::Coordinator => "heddle-coordinator",
            Component::Agent => "heddle-agent",
        }
    }

    fn place(self) -> &'static OnceLock<Exporter> {
        static EXPORTERS: [OnceLock<Exporter>; 3] = [const { OnceLock::new() }; 3];
        &EXPORTERS[self as usize]
    }

    /// Its exporter, if traces are wanted. Costs one load.
    pub fn exporter(self) -> Option<&'static Exporter> {
        self.place().get()
    }
}

/// Who a span is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The answer to a request.
    Server,
    /// Work inside.
    Internal,
    /// Work that was taken from a queue.
    Consumer,
}

/// What an attribute says.
pub type Attribute = (&'static str, Cow<'static, str>);

/// Something that took time and is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// In which trace.
    pub trace: TraceId,
    /// Its own id.
    pub id: SpanId,
    /// The span that caused it.
    pub parent: Option<SpanId>,
    /// Of few values: no ids in it.
    pub name: Cow<'static, str>,
    /// Who it is for.
    pub kind: Kind,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// What else is known: names of the OpenTelemetry semantic conventions, else `heddle.…`.
    pub attributes: Vec<Attribute>,
    /// What went wrong: a code, no payload.
    pub error: Option<Cow<'static, str>>,
}
