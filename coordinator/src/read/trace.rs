//! A run's trace: read from its history for people, and told to a collector when the run is over.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use heddle_core::graph::Graph;
use heddle_core::id::{EventSeq, Instance, ProviderIx, RunId};
use heddle_core::run::RunStatus;
use heddle_core::run::items::ScopePaths;
use heddle_core::run::lineage::Source;
use heddle_core::run::trace::{AttemptSpan, NodeSpan, SpanState, Trace};
use heddle_core::time::Timestamp;
use heddle_proto::control as wire;
use heddle_telemetry::{Component, Exporter, InstanceName, Kind, RunTrace, Span, SpanId};
use tokio::sync::mpsc;

use super::runs::{self, ReadError};
use crate::auth::Tenant;
use crate::journal::RunRow;
use crate::limits::{EVENT_PAGE_BYTES, EVENT_PAGE_ROWS, TRACE_NODES_MAX, TRACES_TOLD_MAX, TRACES_WAITING_MAX};
use crate::shared::Shared;

/// A run's trace with one page of its nodes.
pub(crate) async fn read(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    request: &wire::TraceRequest,
    id: RunId,
) -> Result<wire::Trace, ReadError> {
    let row = runs::row(shared, tenant, id).await?;
    let Folded { graph, trace, paths } = fold(shared, &row).await?;
    let execution = id.to_string();
    let names = RunTrace::new(&execution, trace.traceparent.as_deref());
    let nodes = shown(&graph, &trace);
    let most = match request.nodes_limit as usize {
        0 => TRACE_NODES_MAX,
        limit => limit.min(TRACE_NODES_MAX),
    };
    let page = nodes.iter().skip(request.nodes_offset as usize).take(most);
    Ok(wire::Trace {
        trace_id: Bytes::copy_from_slice(&names.id().0),
        span_id: span_bytes(names.run()),
        parent_span_id: names.caller().map(|caller| span_bytes(caller.span)).unwrap_or_default(),
        sampled: names.caller().is_none_or(|caller| caller.is_sampled),
        status: status(trace.status).into(),
        error_code: text(trace.error_code.as_ref()),
        started_at_ms: trace.started_at.as_millis(),
        ended_at_ms: trace.ended_at.map(Timestamp::as_millis),
        nodes: page.map(|node| show_node(&graph, &names, &paths, node)).collect(),
        nodes_total: nodes.len() as u32,
        execution_id: execution.clone(),
    })
}

/// Where runs that have ended wait for their spans to be told; `None` if nobody wants them.
pub(crate) fn sink() -> Option<(mpsc::Sender<RunId>, mpsc::Receiver<RunId>)> {
    Component::Coordinator.exporter().map(|_| mpsc::channel(TRACES_WAITING_MAX))
}

/// Tells a collector of every run that has ended: one task, so that partitions never wait for it.
pub(crate) async fn tell(shared: Arc<Shared>, mut ended: mpsc::Receiver<RunId>) {
    // Several batches may land after a run was decided to its end, and each hints at it.
    let mut told = VecDeque::with_capacity(TRACES_TOLD_MAX);
    while let Some(id) = ended.recv().await {
        let Some(exporter) = Component::Coordinator.exporter() else { return };
        if told.contains(&id) {
            continue;
        }
        match tell_one(&shared, exporter, id).await {
            Ok(true) => {
                told.truncate(TRACES_TOLD_MAX - 1);
                told.push_front(id);
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(run = %id, %error, "a trace was not told"),
        }
    }
}

/// Whether the run was over, and so was told.
async fn tell_one(shared: &Arc<Shared>, exporter: &Exporter, id: RunId) -> Result<bool, ReadError> {
    let row = match shared.recent.row(id) {
        Some(row) => Some(row),
        None => shared.journal.read_row(id).await.map_err(ReadError::Journal)?,
    };
    let row = row.filter(|row| row.quarantine_reason.is_none()).ok_or(ReadError::NotFound)?;
    let folded = fold(shared, &row).await?;
    let Folded { graph, trace, paths } = &folded;
    if trace.ended_at.is_none() {
        return Ok(false);
    }
    let execution = id.to_string();
    let names = RunTrace::new(&execution, trace.traceparent.as_deref());
    if exporter.samples(names.id(), names.caller()) {
        exporter.emit(run_span(&names, trace, &execution, &row));
        for node in shown(graph, trace) {
            let mut span = node_span(&names, graph, node, trace, &execution);
            let index = paths.path(node.instance.scope);
            if !index.is_empty() {
                span.attributes.push(("heddle.node.index", written(&index).into()));
            }
            exporter.emit(span);
        }
    }
    Ok(true)
}

/// A trace, and what its numbers mean.
struct Folded {
    graph: Arc<Graph>,
    trace: Trace,
    paths: ScopePaths,
}

/// Spans of nodes that a document knows.
fn shown<'a>(graph: &Graph, trace: &'a Trace) -> Vec<&'a NodeSpan> {
    trace.nodes().into_iter().filter(|node| !graph.node(node.instance.node).is_anonymous).collect()
}

/// The numbers of items and turns, as in a query.
fn written(index: &[u32]) -> String {
    index.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

async fn fold(shared: &Arc<Shared>, row: &RunRow) -> Result<Folded, ReadError> {
    let tenant = Tenant::of_run(&row.created);
    let graph = shared.graphs.get(&tenant, row.created.graph).await.map_err(ReadError::Graph)?;
    let (mut after, mut trace, mut paths) = (EventSeq(0), None::<Trace>, ScopePaths::default());
    loop {
        let page = match shared.recent.events(row.run, after, EVENT_PAGE_ROWS) {
            Some(events) => events,
            None => {
                let tenant = tenant.clone();
                let page = shared.journal.read_history(tenant, row.run, after, EVENT_PAGE_ROWS, EVENT_PAGE_BYTES);
                page.await.map_err(ReadError::Journal)?.into_iter().map(Arc::new).collect()
            }
        };
        let Some(last) = page.last().map(|event| event.seq) else { break };
        for event in &page {
            paths.note(event);
            match &mut trace {
                None => trace = Trace::begin(&graph, event),
                Some(trace) => trace.step(&graph, event),
            }
        }
        after = last;
    }
    Ok(Folded { graph, trace: trace.ok_or(ReadError::NotFound)?, paths })
}

fn show_node(graph: &Graph, names: &RunTrace<'_>, paths: &ScopePaths, node: &NodeSpan) -> wire::NodeSpan {
    let described = graph.node(node.instance.node);
    let name = name(node.instance);
    wire::NodeSpan {
        node_id: described.id.to_string(),
        node_type: described.type_id.to_string(),
        span_id: span_bytes(names.instance(name)),
        state: node.state.name().into(),
        error_code: text(node.error_code.as_ref()),
        ready_at_ms: node.ready_at.as_millis(),
        ended_at_ms: node.ended_at.map(Timestamp::as_millis),
        index: paths.path(node.instance.scope),
        waiting_since_ms: node.waiting_since.map(Timestamp::as_millis),
        opened_at_ms: node.opened_at.map(Timestamp::as_millis),
        cached_from_execution_id: match node.source {
            Some(Source::Run(run)) => run.to_string(),
            _ => String::new(),
        },
        child_execution_id: node.child.map_or_else(String::new, |child| child.to_string()),
        attempts: node.attempts.iter().map(|it| show_attempt(names, name, it, provider(graph, node, it))).collect(),
    }
}

/// The type of the fallback that an attempt asked, if it asked one.
fn provider(graph: &Graph, node: &NodeSpan, attempt: &AttemptSpan) -> Option<String> {
    let is_fallback = attempt.provider != ProviderIx::default();
    is_fallback.then(|| graph.node(node.instance.node).provided(attempt.provider).type_id.to_string())
}

fn show_attempt(
    names: &RunTrace<'_>,
    of: InstanceName,
    attempt: &AttemptSpan,
    provider: Option<String>,
) -> wire::AttemptSpan {
    wire::AttemptSpan {
        number: attempt.number.0,
        span_id: span_bytes(names.attempt(of, attempt.number.0)),
        agent_id: attempt.agent.to_string(),
        outcome: attempt.outcome.name().into(),
        error_code: text(attempt.error_code.as_ref()),
        assigned_at_ms: attempt.assigned_at.as_millis(),
        started_at_ms: attempt.started_at.map(Timestamp::as_millis),
        ended_at_ms: attempt.ended_at.map(Timestamp::as_millis),
        provider: provider.unwrap_or_default(),
    }
}

fn run_span(names: &RunTrace<'_>, trace: &Trace, execution: &str, row: &RunRow) -> Span {
    Span {
        trace: names.id(),
        id: names.run(),
        parent: names.caller().map(|caller| caller.span),
        name: "heddle.run".into(),
        kind: Kind::Internal,
        start: instant(trace.started_at),
        end: instant(trace.ended_at.unwrap_or(trace.started_at)),
        attributes: vec![
            ("heddle.execution.id", execution.to_owned().into()),
            ("heddle.workflow.id", row.created.workflow.to_string().into()),
            ("heddle.run.status", status(trace.status).into()),
        ],
        error: (trace.status == RunStatus::Failed).then(|| text(trace.error_code.as_ref()).into()),
    }
}

fn node_span(names: &RunTrace<'_>, graph: &Graph, node: &NodeSpan, trace: &Trace, execution: &str) -> Span {
    let described = graph.node(node.instance.node);
    let mut attributes = vec![
        ("heddle.execution.id", Cow::Owned(execution.to_owned())),
        ("heddle.node.id", described.id.to_string().into()),
        ("heddle.node.type", described.type_id.to_string().into()),
        ("heddle.node.state", node.state.name().into()),
        ("heddle.node.attempts", node.attempts.len().to_string().into()),
    ];
    attributes.extend(node.attempts.last().map(|last| ("heddle.agent.id", last.agent.to_string().into())));
    if let Some(Source::Run(run)) = node.source {
        attributes.push(("heddle.node.cached_from", run.to_string().into()));
    }
    attributes.extend(node.child.map(|child| ("heddle.node.child", child.to_string().into())));
    let provider = node.attempts.last().and_then(|last| provider(graph, node, last));
    attributes.extend(provider.map(|provider| ("heddle.node.provider", provider.into())));
    Span {
        trace: names.id(),
        id: names.instance(name(node.instance)),
        parent: Some(names.run()),
        name: format!("node {}", described.type_id).into(),
        kind: Kind::Internal,
        start: instant(node.opened_at.unwrap_or(node.ready_at)),
        end: instant(node.ended_at.or(trace.ended_at).unwrap_or(node.ready_at)),
        attributes,
        error: (node.state == SpanState::Failed).then(|| text(node.error_code.as_ref()).into()),
    }
}

fn name(instance: Instance) -> InstanceName {
    InstanceName { node: instance.node.0, scope: instance.scope.0, generation: instance.generation.0 }
}

fn status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "RUNNING",
        RunStatus::Completed => "COMPLETED",
        RunStatus::Failed => "FAILED",
        RunStatus::Cancelled => "CANCELLED",
    }
}

fn text(code: Option<&Arc<str>>) -> String {
    code.map(ToString::to_string).unwrap_or_default()
}

fn span_bytes(id: SpanId) -> Bytes {
    Bytes::copy_from_slice(&id.0)
}

fn instant(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.as_millis().max(0) as u64)
}
