//! A collector of traces on the official schema of OTLP, that refuses what comes first.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A span as it arrived, ids in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The service that made it.
    pub service: String,
    /// Its trace.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// Its parent's id; empty if it has none.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// When it began and ended, in nanoseconds since 1970.
    pub times: (u64, u64),
    /// What else it says.
    pub attributes: Vec<(String, String)>,
}

impl Received {
    /// What an attribute says; empty if it is not there.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
}

/// What is wrong with the parents of one run's spans, which go from its request over the run and its nodes to the attempts.
pub fn strangers(spans: &[Received]) -> Vec<String> {
    let of = |service: &'static str, start: &'static str| {
        spans.iter().filter(move |span| span.service == service && span.name.starts_with(start))
    };
    let runs: Vec<&Received> = of("heddle-coordinator", "heddle.run").collect();
    let [run] = runs[..] else { return vec![format!("{} spans of the run", runs.len())] };
    let is_request = |span: &Received| span.service == "heddle-gateway" && span.id == run.parent;
    let mut problems = Vec::new();
    if !spans.iter().any(is_request) {
        problems.push(format!("no request began the run: {run:?}"));
    }
    let nodes: BTreeMap<&str, &str> =
        of("heddle-coordinator", "node ").map(|node| (&*node.id, node.attribute("heddle.node.id"))).collect();
    problems.extend(
        of("heddle-coordinator", "node ").filter(|node| node.parent != run.id).map(|node| format!("no node: {node:?}")),
    );
    for attempt in of("heddle-agent", "attempt ") {
        let is_of_node = nodes.get(&*attempt.parent) == Some(&attempt.attribute("heddle.node.id"));
        if !is_of_node || attempt.times.0 >= attempt.times.1 {
            problems.push(format!("no attempt of a node: {attempt:?}"));
        }
    }
    problems
}

/// A collector that listens on a port of its own until the test's runtime ends.
#[derive(Debug, Clone, Default)]
pub struct Collector {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Services whose first export was refused.
    refused: Vec<String>,
    spans: Vec<Received>,
}

impl Collector {
    /// Starts one, and says where it listens.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> (Self, SocketAddr) {
        Self::start_at(Ipv4Addr::LOCALHOST).await
    }

    /// The same on an address of the machine that this is called on.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start_at(address: Ipv4Addr) -> (Self, SocketAddr) {
        let listener = TcpListener::bind((address, 0)).await.unwrap_or_else(|error| panic!("no port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no address: {error}"));
        let collector = Self::default();
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
        (collector, address)
    }

    /// What has arrived so far.
    pub fn spans(&self) -> Vec<Received> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).spans.clone()
    }

    /// The services whose first export was refused.
    pub fn refused(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).refused.clone()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = received(request.into_inner());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let service = spans.first().map(|span| span.service.clone()).unwrap_or_default();
        if !seen.refused.contains(&service) {
            seen.refused.push(service);
            return Err(Status::unavailable("the first export is refused: try again"));
        }
        seen.spans.extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn received(request: ExportTraceServiceRequest) -> Vec<Received> {
    let mut all = Vec::new();
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.map(|resource| attributes(resource.attributes)).unwrap_or_default();
        let service = resource.into_iter().find(|(name, _)| name == "service.name").map(|(_, value)| value);
        let service = service.unwrap_or_default();
        for span in of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans) {
            all.push(Received {
                service: service.clone(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                times: (span.start_time_unix_nano, span.end_time_unix_nano),
                attributes: attributes(span.attributes),
            });
        }
    }
    all
}

fn attributes(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
