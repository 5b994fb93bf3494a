//! A run's trace, as Heddle tells it and as OTLP/JSON (ids in hex, 64-bit numbers as text: OTLP 1, JSON encoding).

use std::fmt::Write;

use heddle_proto::control as wire;
use serde_json::{Value, json};

use crate::dto::time::Time;
use crate::dto::trace::{AttemptSpan, NodeSpan, Trace};

const INTERNAL: u32 = 1;
const CONSUMER: u32 = 5;
const ERROR: u32 = 2;

pub(crate) fn trace(trace: &wire::Trace) -> Trace<'_> {
    Trace {
        execution_id: &trace.execution_id,
        trace_id: hex(&trace.trace_id),
        span_id: hex(&trace.span_id),
        parent_span_id: Some(hex(&trace.parent_span_id)).filter(|id| !id.is_empty()),
        sampled: trace.sampled,
        status: &trace.status,
        error_code: given(&trace.error_code),
        start_time: Time(trace.started_at_ms),
        end_time: trace.ended_at_ms.map(Time),
        nodes_total: trace.nodes_total,
        nodes: trace.nodes.iter().map(node).collect(),
    }
}

fn node(node: &wire::NodeSpan) -> NodeSpan<'_> {
    NodeSpan {
        node_id: &node.node_id,
        index: &node.index,
        node_type: &node.node_type,
        span_id: hex(&node.span_id),
        state: &node.state,
        error_code: given(&node.error_code),
        ready_time: Time(node.ready_at_ms),
        wait_start_time: node.waiting_since_ms.map(Time),
        opened_time: node.opened_at_ms.map(Time),
        end_time: node.ended_at_ms.map(Time),
        child_execution_id: given(&node.child_execution_id),
        attempts: node.attempts.iter().map(attempt).collect(),
    }
}

fn attempt(attempt: &wire::AttemptSpan) -> AttemptSpan<'_> {
    AttemptSpan {
        number: attempt.number,
        span_id: hex(&attempt.span_id),
        agent_id: &attempt.agent_id,
        provider: given(&attempt.provider),
        outcome: &attempt.outcome,
        error_code: given(&attempt.error_code),
        assigned_time: Time(attempt.assigned_at_ms),
        start_time: attempt.started_at_ms.map(Time),
        end_time: attempt.ended_at_ms.map(Time),
    }
}

/// One `ExportTraceServiceRequest`. Spans that are not over are left out: OTLP has none.
pub(crate) fn otlp(trace: &wire::Trace) -> Value {
    let mut spans = Vec::new();
    let run = Shown { id: &trace.span_id, parent: &trace.parent_span_id, name: "heddle.run", kind: INTERNAL };
    let attributes = vec![("heddle.execution.id", &*trace.execution_id), ("heddle.run.status", &*trace.status)];
    spans.extend(run.span(trace, (trace.started_at_ms, trace.ended_at_ms), &attributes, &trace.error_code));
    for node in &trace.nodes {
        let name = format!("node {}", node.node_type);
        let shown = Shown { id: &node.span_id, parent: &trace.span_id, name: &name, kind: INTERNAL };
        let index = node.index.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let index = given(&index).map(|index| ("heddle.node.index", index));
        let mut attributes = vec![("heddle.node.id", &*node.node_id), ("heddle.node.type", &*node.node_type)];
        attributes.extend(index);
        spans.extend(shown.span(trace, (node.ready_at_ms, node.ended_at_ms), &attributes, &node.error_code));
        for attempt in &node.attempts {
            let (name, number) = (format!("attempt {}", node.node_type), attempt.number.to_string());
            let shown = Shown { id: &attempt.span_id, parent: &node.span_id, name: &name, kind: CONSUMER };
            let start = attempt.started_at_ms.unwrap_or(attempt.assigned_at_ms);
            let mut attributes = vec![
                ("heddle.node.id", &*node.node_id),
                ("heddle.agent.id", &*attempt.agent_id),
                ("heddle.attempt.number", &*number),
                ("heddle.attempt.outcome", &*attempt.outcome),
            ];
            attributes.extend(index);
            attributes.extend(given(&attempt.provider).map(|provider| ("heddle.node.provider", provider)));
            spans.extend(shown.span(trace, (start, attempt.ended_at_ms), &attributes, &attempt.error_code));
        }
    }
    let resource = json!({"attributes": [attribute("service.name", "heddle-coordinator")]});
    let scope = json!({"name": "heddle", "version": env!("CARGO_PKG_VERSION")});
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]})
}

/// What a span is, beside its times.
struct Shown<'a> {
    id: &'a [u8],
    parent: &'a [u8],
    name: &'a str,
    kind: u32,
}

impl Shown<'_> {
    fn span(
        &self,
        trace: &wire::Trace,
        (start, end): (i64, Option<i64>),
        attributes: &[(&str, &str)],
        error_code: &str,
    ) -> Option<Value> {
        let status = match given(error_code) {
            Some(code) => json!({"code": ERROR, "message": code}),
            None => json!({}),
        };
        Some(json!({
            "traceId": hex(&trace.trace_id),
            "spanId": hex(self.id),
            "parentSpanId": hex(self.parent),
            "name": self.name,
            "kind": self.kind,
            "startTimeUnixNano": nanos(start),
            "endTimeUnixNano": nanos(end?),
            "attributes": attributes.iter().map(|(name, value)| attribute(name, value)).collect::<Vec<_>>(),
            "status": status,
        }))
    }
}

fn attribute(name: &str, value: &str) -> Value {
    json!({"key": name, "value": {"stringValue": value}})
}

fn nanos(millis: i64) -> String {
    (i128::from(millis) * 1_000_000).to_string()
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
