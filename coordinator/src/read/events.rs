//! A run's history for people: each row as one public event.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use heddle_core::graph::Graph;
use heddle_core::id::{EventSeq, Instance, NodeIx, ProviderIx, RunId};
use heddle_core::run::RunStatus;
use heddle_core::run::event::{Assignment, Attempt, Decision, Event, Fact, NodeError, OutputValue, Piece, PortOutput};
use heddle_core::value::ValueRef;
use heddle_proto::control as wire;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::batches;
use super::hub::Hint;
use super::live::{Cursor, News, Of, Place};
use super::runs::{self, ReadError};
use crate::auth::Tenant;
use crate::limits::{EVENT_PAGE_BYTES, EVENT_PAGE_ROWS, READ_AGAIN};
use crate::shared::Shared;

/// A history from `after` on, page by page; with `follow` until the run is over.
pub(crate) async fn pages(
    shared: Arc<Shared>,
    tenant: Tenant,
    id: RunId,
    after: EventSeq,
    follow: bool,
) -> Result<impl Stream<Item = Result<wire::EventPage, ReadError>> + Send + 'static, ReadError> {
    let asked = Asked { shared, tenant, id, after, follow };
    let reader = asked.begun().await?;
    Ok(futures::stream::unfold((asked, reader), |(asked, reader)| async move {
        let mut reader = match reader {
            Some(reader) => reader,
            // A run of a batch that has not begun has no events yet.
            None => match asked.awaited().await.transpose()? {
                Ok(reader) => reader,
                Err(error) => return Some((Err(error), (asked, None))),
            },
        };
        let page = reader.next().await.transpose()?;
        Some((page, (asked, Some(reader))))
    }))
}

/// What is asked of a history.
struct Asked {
    shared: Arc<Shared>,
    tenant: Tenant,
    id: RunId,
    after: EventSeq,
    follow: bool,
}

impl Asked {
    /// A reader of the run's history; `None` if it is a run of a batch that has not begun.
    async fn begun(&self) -> Result<Option<Reader>, ReadError> {
        let row = match runs::row(&self.shared, &self.tenant, self.id).await {
            Err(ReadError::NotFound) => {
                return batches::not_begun(&self.shared, &self.tenant, self.id).await.map(|_| None);
            }
            row => row?,
        };
        let (shared, tenant) = (Arc::clone(&self.shared), self.tenant.clone());
        let graph = shared.graphs.get(&tenant, row.created.graph).await.map_err(ReadError::Graph)?;
        let (is_over, has_ended) = (row.quarantine_reason.is_some(), row.summary.ended_at.is_some());
        let (id, after, follow, heard) = (self.id, self.after, self.follow, Cursor::default());
        Ok(Some(Reader { shared, tenant, graph, id, after, follow, is_over, has_ended, heard }))
    }

    /// The same as soon as the run has begun; `None` if it never will, or if nobody wants to wait.
    async fn awaited(&self) -> Result<Option<Reader>, ReadError> {
        loop {
            let mut hints = self.shared.hub.follow(self.id);
            if let Some(reader) = self.begun().await? {
                return Ok(Some(reader));
            }
            let status = batches::not_begun(&self.shared, &self.tenant, self.id).await?.status();
            if !self.follow || !matches!(status, wire::RunStatus::Pending | wire::RunStatus::Running) {
                return Ok(None);
            }
            let _told = timeout(READ_AGAIN, hints.changed()).await;
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.shared.hub.forget(self.id);
    }
}

struct Reader {
    shared: Arc<Shared>,
    tenant: Tenant,
    graph: Arc<Graph>,
    id: RunId,
    after: EventSeq,
    follow: bool,
    /// The reader has seen the end.
    is_over: bool,
    /// The run had ended before its last page was read, wherever the reader is: what it has not read by then will not come.
    has_ended: bool,
    /// What it has heard of attempts that run.
    heard: Cursor,
}

impl Reader {
    /// The next page that holds anything; `None` at the end.
    async fn next(&mut self) -> Result<Option<wire::EventPage>, ReadError> {
        loop {
            if self.is_over && self.follow {
                return Ok(None);
            }
            let mut hints = self.shared.hub.follow(self.id);
            let mut words = self.follow.then(|| self.shared.live.follow(self.id));
            let page = self.page().await?;
            if let Some(last) = page.last() {
                self.after = last.seq;
                self.is_over |= page.iter().any(|event| matches!(event.fact, Fact::Ended { .. }));
                // What attempts said before their results comes before them.
                let mut events = if self.follow { self.live(Of::Over) } else { Vec::new() };
                events.extend(page.iter().map(|event| show(&self.graph, event)));
                return Ok(Some(wire::EventPage { events }));
            }
            let Some(words) = words.as_mut().filter(|_| !self.has_ended) else { return Ok(None) };
            let events = self.live(Of::Running(self.after));
            if !events.is_empty() {
                return Ok(Some(wire::EventPage { events }));
            }
            let after = self.after;
            let is_news = |hint: &Option<Hint>| hint.is_some_and(|hint| hint.seq > after || hint.is_over());
            // Without a hint it looks again all the same (E27).
            let told = tokio::select! {
                told = timeout(READ_AGAIN, hints.wait_for(is_news)) => told,
                _word = words.changed() => continue,
            };
            let goes_on = told.is_ok_and(|told| told.is_ok_and(|hint| hint.is_some_and(|hint| !hint.is_over())));
            if !goes_on {
                let row = runs::row(&self.shared, &self.tenant, self.id).await?;
                self.has_ended = row.summary.ended_at.is_some();
            }
        }
    }
}

impl Reader {
    async fn page(&self) -> Result<Vec<Arc<Event>>, ReadError> {
        if let Some(events) = self.shared.recent.events(self.id, self.after, EVENT_PAGE_ROWS) {
            return Ok(events);
        }
        let (tenant, id, after) = (self.tenant.clone(), self.id, self.after);
        let page = self.shared.journal.read_history(tenant, id, after, EVENT_PAGE_ROWS, EVENT_PAGE_BYTES);
        Ok(page.await.map_err(ReadError::Journal)?.into_iter().map(Arc::new).collect())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.hub.forget(self.id);
        self.shared.live.forget(self.id);
    }
}

impl Reader {
    /// What attempts have said since this reader heard them last. These events have no seq: they are in no history.
    fn live(&mut self, of: Of) -> Vec<wire::Event> {
        let at_ms = self.shared.clock.now().as_millis();
        let news = self.shared.live.news(self.id, &mut self.heard, of);
        let shown = news.into_iter().map(|news| {
            let (name, data) = self::news(&self.graph, news);
            let data_json = serde_json::to_vec(&data).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from);
            wire::Event { seq: 0, at_ms, r#type: name.into(), data_json }
        });
        shown.collect()
    }
}

fn news(graph: &Graph, news: News) -> (&'static str, Value) {
    let about = |(instance, number): Place| (node_id(graph, instance.node), number.0);
    match news {
        News::Progress { place, progress } => {
            let (node, attempt) = about(place);
            let (fraction, message) = (progress.fraction, &*progress.message);
            ("node.progress", json!({"nodeId": node, "attempt": attempt, "progress": fraction, "message": message}))
        }
        News::Text { place, port, from, to, text } => {
            let (node, attempt) = about(place);
            let data = json!({
                "nodeId": node, "attempt": attempt, "port": &*port, "from": from, "to": to, "text": text,
            });
            ("node.delta", data)
        }
    }
}

fn show(graph: &Graph, event: &Event) -> wire::Event {
    let mut data = fact(graph, event);
    if !event.decisions.is_empty() {
        let decided = event.decisions.iter().map(|decision| self::decision(graph, event, decision));
        data.insert("decided".into(), decided.collect());
    }
    if !event.assignments.is_empty() {
        let assigned = event.assignments.iter().map(|assignment| self::assignment(graph, assignment));
        data.insert("assigned".into(), assigned.collect());
    }
    let data_json = serde_json::to_vec(&data).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from);
    wire::Event { seq: event.seq.0, at_ms: event.at.as_millis(), r#type: event.fact.name().into(), data_json }
}

fn fact(graph: &Graph, event: &Event) -> Map<String, Value> {
    let fields = match &event.fact {
        Fact::Submitted(submitted) => json!({
            "workflowId": submitted.workflow.to_string(),
            "targetNodeId": submitted.target.map(|target| node_id(graph, target)),
            "by": submitted.subject.to_string(),
        }),
        Fact::Continued => json!({}),
        Fact::Succeeded { attempt, outputs, timing } => {
            let mut fields = about(graph, attempt);
            fields.insert("outputs".into(), self::outputs(graph, event, attempt.instance, outputs));
            fields.insert("queuedMs".into(), timing.queued.as_millis().into());
            fields.insert("ranMs".into(), timing.ran.as_millis().into());
            return fields;
        }
        Fact::Failed { attempt, error, retry_at, fallback, caught, timing } => {
            let mut fields = about(graph, attempt);
            fields.insert("error".into(), self::error(error));
            fields.insert("retryInMs".into(), json!(retry_at.map(|at| at.since(event.at).as_millis())));
            fields.insert("ranMs".into(), timing.ran.as_millis().into());
            if let Some(provider) = fallback {
                fields.insert("fallback".into(), self::provider(graph, attempt.instance, *provider).into());
            }
            add_caught(&mut fields, graph, event, attempt.instance, caught);
            return fields;
        }
        Fact::Lost { attempt, cause, failure, caught } => {
            let mut fields = about(graph, attempt);
            fields.insert("cause".into(), format!("{cause:?}").into());
            fields.insert("error".into(), failure.as_ref().map_or(Value::Null, error));
            add_caught(&mut fields, graph, event, attempt.instance, caught);
            return fields;
        }
        Fact::HandedBack { attempts } | Fact::Stopped { attempts } => {
            json!({ "attempts": attempts.iter().map(|attempt| about(graph, attempt)).collect::<Vec<_>>() })
        }
        Fact::IntentRecorded { attempt } | Fact::HandleRecorded { attempt, .. } | Fact::Discarded { attempt } => {
            return about(graph, attempt);
        }
        Fact::Settled { attempt, outputs } => {
            let mut fields = about(graph, attempt);
            fields.insert("outputs".into(), self::outputs(graph, event, attempt.instance, outputs));
            return fields;
        }
        Fact::TimerFired { instance, outputs } => json!({
            "nodeId": node_id(graph, instance.node),
            "outputs": self::outputs(graph, event, *instance, outputs),
        }),
        Fact::Ended { error, by, .. } => json!({
            "error": error.as_ref().map(|error| json!({
                "code": &*error.code,
                "message": &*error.message,
                "nodeId": error.node.map(|node| node_id(graph, node)),
                "class": error.class.map(|class| class.name()),
                "attempts": error.attempts,
            })),
            "by": by.as_ref().map(ToString::to_string),
        }),
    };
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn about(graph: &Graph, attempt: &Attempt) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("nodeId".into(), node_id(graph, attempt.instance.node).into());
    fields.insert("attempt".into(), attempt.number.0.into());
    fields
}

fn decision(graph: &Graph, event: &Event, decision: &Decision) -> Value {
    match decision {
        Decision::Completed { instance, outputs } => json!({
            "nodeId": node_id(graph, instance.node),
            "state": "COMPLETED",
            "outputs": self::outputs(graph, event, *instance, outputs),
        }),
        Decision::Waiting { instance, until } => json!({
            "nodeId": node_id(graph, instance.node),
            "state": "WAITING",
            "dueInMs": until.since(event.at).as_millis(),
        }),
        // It is given to an agent like the node of any other type.
        Decision::Delegated { instance } => json!({
            "nodeId": node_id(graph, instance.node),
            "state": "READY",
        }),
        Decision::Failed { instance, error, caught } => {
            let mut fields = Map::new();
            fields.insert("nodeId".into(), node_id(graph, instance.node).into());
            fields.insert("state".into(), "FAILED".into());
            fields.insert("error".into(), self::error(error));
            add_caught(&mut fields, graph, event, *instance, caught);
            fields.into()
        }
        Decision::Stopped { instance, status, message } => json!({
            "nodeId": node_id(graph, instance.node),
            "state": "COMPLETED",
            "ends": match status {
                RunStatus::Running => "RUNNING",
                RunStatus::Completed => "COMPLETED",
                RunStatus::Failed => "FAILED",
                RunStatus::Cancelled => "CANCELLED",
            },
            "message": &**message,
        }),
        // What the items are shows where they are looked at.
        Decision::Opened { instance, opened } => json!({
            "nodeId": node_id(graph, instance.node),
            "state": "RUNNING",
            "from": opened.index,
            "items": opened.items.len(),
            "total": opened.count,
        }),
        Decision::Gathered { instance, chunk, .. } => json!({
            "nodeId": node_id(graph, instance.node),
            "state": "RUNNING",
            "gathered": chunk,
        }),
    }
}

fn assignment(graph: &Graph, assignment: &Assignment) -> Value {
    let instance = assignment.attempt.instance;
    let mut shown = json!({
        "nodeId": node_id(graph, instance.node),
        "attempt": assignment.attempt.number.0,
        "agentId": assignment.to.agent.to_string(),
    });
    if assignment.provider != ProviderIx::default() {
        shown["provider"] = provider(graph, instance, assignment.provider).into();
    }
    shown
}

/// The type of a node's provider.
fn provider(graph: &Graph, instance: Instance, provider: ProviderIx) -> String {
    graph.get(instance.node).map_or_else(String::new, |node| node.provided(provider).type_id.to_string())
}

/// What a node gives though it has failed.
fn add_caught(
    fields: &mut Map<String, Value>,
    graph: &Graph,
    event: &Event,
    instance: Instance,
    caught: &[PortOutput],
) {
    if !caught.is_empty() {
        fields.insert("outputs".into(), outputs(graph, event, instance, caught));
    }
}

fn error(error: &NodeError) -> Value {
    json!({ "class": error.class.name(), "code": &*error.code, "message": &*error.message })
}

/// Values of this event in full; those of earlier events by where they lie.
fn outputs(graph: &Graph, event: &Event, instance: Instance, outputs: &[PortOutput]) -> Value {
    let node_type = graph.get(instance.node).and_then(|node| node.node_type.as_ref());
    let mut ports = BTreeMap::new();
    for output in outputs {
        let Some(port) = node_type.and_then(|node_type| node_type.outputs.get(usize::from(output.port.0))) else {
            continue;
        };
        let shown = match &output.value {
            OutputValue::Closed => continue,
            OutputValue::One(reference) => value(event, *reference),
            OutputValue::Gather(references) => references.iter().map(|reference| value(event, *reference)).collect(),
            OutputValue::Pieces(pieces) => {
                let piece = |piece: &Piece| match piece {
                    Piece::Item(reference) => value(event, *reference),
                    // A chunk holds references only: it is worth no more than where it lies.
                    Piece::Chunk(chunk) => lies(chunk.reference),
                };
                pieces.iter().map(piece).collect()
            }
        };
        ports.insert(port.id.to_string(), shown);
    }
    json!(ports)
}

fn value(event: &Event, reference: ValueRef) -> Value {
    let here = (reference.seq == event.seq).then(|| event.values.get(reference.place as usize)).flatten();
    let parsed = here.and_then(|value| serde_json::from_slice(value.json()).ok());
    parsed.unwrap_or_else(|| lies(reference))
}

fn lies(reference: ValueRef) -> Value {
    json!({ "seq": reference.seq.0, "bytes": reference.bytes, "digest": reference.digest.to_string() })
}

fn node_id(graph: &Graph, node: NodeIx) -> String {
    graph.get(node).map_or_else(String::new, |node| node.id.to_string())
}
