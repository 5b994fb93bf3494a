//! One event as people see it: the fact's own fields, by node and index.

use std::collections::BTreeMap;

use bytes::Bytes;
use heddle_core::graph::{Graph, ListensTo};
use heddle_core::id::{Instance, NodeIx, ProviderIx, ReviewId};
use heddle_core::run::event::{
    Assignment, Attempt, ChildEnded, ChildOutcome, Decision, Event, Fact, NodeError, OutputValue, Piece, PortOutput,
    ReviewOutcome, Reviewed, Signalled,
};
use heddle_core::run::lineage::Source;
use heddle_core::run::{JobEnd, RunStatus};
use heddle_core::value::ValueRef;
use heddle_proto::control as wire;
use serde_json::{Map, Value, json};

use super::live::{News, Place, What};
use super::scopes::Scopes;
use crate::journal::QUARANTINED;
use crate::limits::EVENT_GIVEN_UP_MAX;

/// An event of the history that `scopes` has read just before.
pub(crate) fn show(scopes: &Scopes, event: &Event) -> wire::Event {
    event_of(event.seq.0, event.at.as_millis(), event.fact.name(), &data(scopes, event).into())
}

/// What it says.
pub(super) fn data(scopes: &Scopes, event: &Event) -> Map<String, Value> {
    let mut data = fact(scopes, event);
    let is_shown = |decision: &&Decision| is_shown(scopes, decision);
    let decided: Vec<Value> =
        event.decisions.iter().filter(is_shown).map(|decision| self::decision(scopes, event, decision)).collect();
    if !decided.is_empty() {
        data.insert("decided".into(), decided.into());
    }
    if !event.assignments.is_empty() {
        let assigned = event.assignments.iter().map(|assignment| self::assignment(scopes, assignment));
        data.insert("assigned".into(), assigned.collect());
    }
    // No fact is written for what is given up: it follows from the event.
    let given_up = scopes.given_up().iter().take(EVENT_GIVEN_UP_MAX);
    let given_up: Vec<Value> = given_up
        .map(|instance| {
            let mut fields = named(scopes, *instance);
            fields.insert("state".into(), "CANCELLED".into());
            fields.into()
        })
        .collect();
    if !given_up.is_empty() {
        data.insert("givenUp".into(), given_up.into());
    }
    let items: Vec<Value> = scopes
        .changed()
        .map(|(node, counts)| {
            json!({
                "nodeId": node_id(scopes.graph(), node),
                "total": counts.total,
                "completed": counts.completed,
                "failed": counts.failed,
                "skipped": counts.skipped,
                "running": counts.running,
            })
        })
        .collect();
    if !items.is_empty() {
        data.insert("items".into(), items.into());
    }
    data
}

/// What an attempt at work has said. These events have no seq: they are in no history.
pub(super) fn show_news(scopes: &Scopes, at_ms: i64, news: &News) -> wire::Event {
    let about = |(instance, number): Place| {
        let mut fields = named(scopes, instance);
        fields.insert("attempt".into(), number.0.into());
        fields
    };
    let mut fields = about(news.place);
    let name = match &news.what {
        What::Progress(progress) => {
            fields.insert("progress".into(), progress.fraction.into());
            fields.insert("message".into(), (*progress.message).into());
            "node.progress"
        }
        What::Gap { from, to } => {
            fields.insert("from".into(), (*from).into());
            fields.insert("to".into(), (*to).into());
            "node.gap"
        }
        What::Text { port, from, to, text } => {
            fields.insert("port".into(), (**port).into());
            fields.insert("from".into(), (*from).into());
            fields.insert("to".into(), (*to).into());
            fields.insert("text".into(), text.as_str().into());
            "node.delta"
        }
    };
    event_of(0, at_ms, name, &fields.into())
}

/// That the run was set aside, and why: the last that is told of it. It is in no history.
pub(super) fn show_set_aside(at_ms: i64, why: &str) -> wire::Event {
    event_of(0, at_ms, "run.set_aside", &json!({ "code": QUARANTINED, "message": why }))
}

pub(super) fn event_of(seq: u64, at_ms: i64, name: &str, data: &Value) -> wire::Event {
    let data_json = serde_json::to_vec(data).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from);
    wire::Event { seq, at_ms, r#type: name.into(), data_json, place: String::new() }
}

/// Maps that no document knows are not spoken of, but for what fails in the nodes that they run for.
fn is_shown(scopes: &Scopes, decision: &Decision) -> bool {
    let is_named = scopes.graph().get(decision.instance().node).is_none_or(|node| !node.is_anonymous);
    is_named || matches!(decision, Decision::Failed { .. })
}

/// The node, and the numbers of the items and turns that it lies in.
fn named(scopes: &Scopes, instance: Instance) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("nodeId".into(), node_id(scopes.graph(), instance.node).into());
    let index = scopes.index(instance.scope);
    if !index.is_empty() {
        fields.insert("index".into(), index.into());
    }
    fields
}

fn fact(scopes: &Scopes, event: &Event) -> Map<String, Value> {
    let graph = scopes.graph();
    let fields = match &event.fact {
        Fact::Submitted(submitted) => {
            let mut fields = json!({
                "workflowId": submitted.workflow.to_string(),
                "targetNodeId": submitted.target.map(|target| node_id(graph, target)),
                "by": submitted.subject.to_string(),
            });
            if let Some((lineage, parent)) = submitted.lineage.as_ref().and_then(|it| Some((it, it.parent?))) {
                fields["parentExecutionId"] = parent.to_string().into();
                fields["fromNodeId"] = lineage.from.map(|from| node_id(graph, from)).into();
            }
            if let Some(by) = &submitted.invoked_by {
                fields["invokedByExecutionId"] = by.run.to_string().into();
            }
            fields
        }
        // What is offered shows where it is taken over.
        Fact::Offered { offers } => json!({ "offers": offers.len() }),
        Fact::Continued => json!({}),
        Fact::Succeeded { attempt, outputs, timing } => {
            let mut fields = about(scopes, attempt);
            fields.insert("outputs".into(), self::outputs(graph, event, attempt.instance, outputs));
            fields.insert("queuedMs".into(), timing.queued.as_millis().into());
            fields.insert("ranMs".into(), timing.ran.as_millis().into());
            return fields;
        }
        Fact::Answered { attempt, timing, .. } => {
            let mut fields = about(scopes, attempt);
            fields.insert("queuedMs".into(), timing.queued.as_millis().into());
            fields.insert("ranMs".into(), timing.ran.as_millis().into());
            return fields;
        }
        Fact::Failed { attempt, error, retry_at, fallback, caught, timing, .. } => {
            let mut fields = about(scopes, attempt);
            fields.insert("error".into(), self::error(error));
            fields.insert("retryInMs".into(), json!(retry_at.map(|at| at.since(event.at).as_millis())));
            fields.insert("ranMs".into(), timing.ran.as_millis().into());
            if let Some(provider) = fallback {
                fields.insert("fallback".into(), self::provider(graph, attempt.instance, *provider).into());
            }
            add_caught(&mut fields, graph, event, attempt.instance, caught);
            return fields;
        }
        Fact::Lost { attempt, cause, failure, caught, .. } => {
            let mut fields = about(scopes, attempt);
            fields.insert("cause".into(), format!("{cause:?}").into());
            fields.insert("error".into(), failure.as_ref().map_or(Value::Null, error));
            add_caught(&mut fields, graph, event, attempt.instance, caught);
            return fields;
        }
        Fact::HandedBack { attempts } | Fact::Stopped { attempts } => {
            json!({ "attempts": attempts.iter().map(|attempt| about(scopes, attempt)).collect::<Vec<_>>() })
        }
        Fact::IntentRecorded { attempt } | Fact::HandleRecorded { attempt, .. } | Fact::Discarded { attempt } => {
            return about(scopes, attempt);
        }
        Fact::ProviderCancelled { job, end } => {
            let mut fields = named(scopes, job.instance);
            fields.insert("attempt".into(), job.number.0.into());
            fields.insert("result".into(), end.name().into());
            if let JobEnd::Failed(error) = end {
                fields.insert("error".into(), self::error(error));
            }
            return fields;
        }
        Fact::Settled { attempt, outputs } => {
            let mut fields = about(scopes, attempt);
            fields.insert("outputs".into(), self::outputs(graph, event, attempt.instance, outputs));
            return fields;
        }
        Fact::TimerFired { instance, outputs } => {
            let mut fields = named(scopes, *instance);
            fields.insert("outputs".into(), self::outputs(graph, event, *instance, outputs));
            return fields;
        }
        Fact::Reviewed(it) => return reviewed(scopes, event, it),
        Fact::Signalled(it) => return signalled(scopes, event, it),
        Fact::Called(it) => {
            let mut fields = named(scopes, it.instance);
            fields.insert("outputs".into(), self::outputs(graph, event, it.instance, &it.outputs));
            return fields;
        }
        Fact::Paused { by, reason } => json!({ "by": by.to_string(), "reason": reason.as_deref() }),
        Fact::Unpaused { by } => json!({ "by": by.to_string() }),
        Fact::ChildEnded(it) => return child_ended(scopes, event, it),
        Fact::Ended { error, by, reason, .. } => json!({
            "error": error.as_ref().map(|error| json!({
                "code": &*error.code,
                "message": &*error.message,
                "nodeId": error.node.map(|node| node_id(graph, node)),
                "class": error.class.map(|class| class.name()),
                "attempts": error.attempts,
            })),
            "by": by.as_ref().map(ToString::to_string),
            "reason": reason.as_deref(),
        }),
    };
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What was decided at a review, and what came of that.
fn reviewed(scopes: &Scopes, event: &Event, it: &Reviewed) -> Map<String, Value> {
    let graph = scopes.graph();
    let mut fields = named(scopes, it.instance);
    fields.insert("reviewId".into(), ReviewId::of(scopes.run(), it.review).to_string().into());
    fields.insert("decision".into(), it.verdict.name().into());
    fields.insert("by".into(), json!(it.by.as_ref().map(ToString::to_string)));
    fields.insert("comment".into(), json!(it.comment.as_deref()));
    fields.insert("edited".into(), (!it.edit.is_empty()).into());
    let state = match &it.outcome {
        ReviewOutcome::Open { .. } => "WAITING",
        ReviewOutcome::Begins => "READY",
        ReviewOutcome::Gave(outputs) => {
            fields.insert("outputs".into(), self::outputs(graph, event, it.instance, outputs));
            "COMPLETED"
        }
        ReviewOutcome::Failed { error, caught } => {
            fields.insert("error".into(), self::error(error));
            add_caught(&mut fields, graph, event, it.instance, caught);
            "FAILED"
        }
        ReviewOutcome::Again { instance } => {
            fields.insert("again".into(), node_id(graph, instance.node).into());
            "PENDING"
        }
    };
    fields.insert("state".into(), state.into());
    fields
}

/// A signal, and who has got it.
fn signalled(scopes: &Scopes, event: &Event, it: &Signalled) -> Map<String, Value> {
    let mut fields = it.to.map(|to| named(scopes, to)).unwrap_or_default();
    fields.insert("name".into(), (*it.name).into());
    fields.insert("by".into(), it.by.to_string().into());
    fields.insert("delivered".into(), it.to.is_some().into());
    if let Some(to) = it.to {
        fields.insert("outputs".into(), outputs(scopes.graph(), event, to, &it.outputs));
    }
    fields
}

/// What a run has come to that a node has invoked.
fn child_ended(scopes: &Scopes, event: &Event, it: &ChildEnded) -> Map<String, Value> {
    let graph = scopes.graph();
    let mut fields = named(scopes, it.instance);
    fields.insert("childExecutionId".into(), it.child.to_string().into());
    match &it.outcome {
        ChildOutcome::Gave(outputs) => {
            fields.insert("outputs".into(), self::outputs(graph, event, it.instance, outputs));
        }
        ChildOutcome::Failed { error, caught } => {
            fields.insert("error".into(), self::error(error));
            add_caught(&mut fields, graph, event, it.instance, caught);
        }
    }
    fields
}

fn about(scopes: &Scopes, attempt: &Attempt) -> Map<String, Value> {
    let mut fields = named(scopes, attempt.instance);
    fields.insert("attempt".into(), attempt.number.0.into());
    fields
}

fn decision(scopes: &Scopes, event: &Event, decision: &Decision) -> Value {
    let instance = decision.instance();
    let graph = scopes.graph();
    let mut fields = named(scopes, instance);
    let mut say = |name: &str, value: Value| drop(fields.insert(name.into(), value));
    match decision {
        Decision::Completed { outputs, .. } => {
            say("state", "COMPLETED".into());
            say("outputs", self::outputs(graph, event, instance, outputs));
        }
        Decision::Reused { source, outputs, .. } => {
            say("state", "CACHED".into());
            say("cachedFrom", cached_from(*source));
            say("outputs", self::outputs(graph, event, instance, outputs));
        }
        Decision::Afresh { .. } => say("state", "READY".into()),
        Decision::Waiting { until, .. } => {
            say("state", "WAITING".into());
            say("dueInMs", until.since(event.at).as_millis().into());
        }
        Decision::Listening { until, outputs, .. } => {
            say("state", "WAITING".into());
            say("dueInMs", json!(until.map(|until| until.since(event.at).as_millis())));
            if let Some(ListensTo::Signal(name)) = graph.listen(instance.node).map(|listen| &listen.to) {
                say("signal", (**name).into());
            }
            if !outputs.is_empty() {
                say("outputs", self::outputs(graph, event, instance, outputs));
            }
        }
        Decision::Took { signal, outputs, .. } => {
            say("state", "COMPLETED".into());
            say("signalSeq", signal.0.into());
            say("outputs", self::outputs(graph, event, instance, outputs));
        }
        // It is given to an agent like the node of any other type.
        Decision::Delegated { .. } => {
            let is_at_work = !graph.body(instance.node).is_empty();
            say("state", if is_at_work { "RUNNING" } else { "READY" }.into());
        }
        Decision::Failed { error, caught, .. } => {
            say("state", "FAILED".into());
            say("error", self::error(error));
            add_caught(&mut fields, graph, event, instance, caught);
        }
        Decision::Stopped { status, message, .. } => {
            say("state", "COMPLETED".into());
            say(
                "ends",
                match status {
                    RunStatus::Running => "RUNNING",
                    RunStatus::Completed => "COMPLETED",
                    RunStatus::Failed => "FAILED",
                    RunStatus::Cancelled => "CANCELLED",
                }
                .into(),
            );
            say("message", (**message).into());
        }
        Decision::Asked { asked, .. } => {
            say("state", "WAITING".into());
            say("reviewId", ReviewId::of(scopes.run(), asked.review).to_string().into());
            say("kind", asked.kind.name().into());
            say("dueInMs", json!(asked.due_at.map(|at| at.since(event.at).as_millis())));
        }
        Decision::Invoked { invoked, .. } => {
            say("state", "WAITING".into());
            say("childExecutionId", invoked.child.to_string().into());
        }
        // What the items are shows where they are looked at.
        Decision::Opened { opened, .. } => {
            say("state", "RUNNING".into());
            say("from", opened.index.into());
            say("items", opened.items.len().into());
            say("total", opened.count.into());
        }
        Decision::Gathered { chunk, .. } => {
            say("state", "RUNNING".into());
            say("gathered", (*chunk).into());
        }
    }
    fields.into()
}

/// Where a result comes from that the run did not make.
fn cached_from(source: Source) -> Value {
    match source {
        Source::Run(run) => json!({ "source": "run", "executionId": run.to_string() }),
        Source::Edit => json!({ "source": "edit" }),
        Source::Request => json!({ "source": "request" }),
    }
}

fn assignment(scopes: &Scopes, assignment: &Assignment) -> Value {
    let mut shown = about(scopes, &assignment.attempt);
    shown.insert("agentId".into(), assignment.to.agent.to_string().into());
    if assignment.provider != ProviderIx::default() {
        let provider = provider(scopes.graph(), assignment.attempt.instance, assignment.provider);
        shown.insert("provider".into(), provider.into());
    }
    shown.into()
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
    let is_named = graph.get(instance.node).is_some_and(|node| !node.is_anonymous);
    if !caught.is_empty() && is_named {
        fields.insert("outputs".into(), outputs(graph, event, instance, caught));
    }
}

fn error(error: &NodeError) -> Value {
    json!({ "class": error.class.name(), "code": &*error.code, "message": &*error.message })
}

/// Values of this event in full; those of earlier events by where they lie. A list of which a part lies elsewhere is counted: the
/// answer about its node has it whole.
fn outputs(graph: &Graph, event: &Event, instance: Instance, outputs: &[PortOutput]) -> Value {
    let node_type = graph.get(instance.node).and_then(|node| node.node_type.as_ref());
    let mut ports = BTreeMap::new();
    for output in outputs {
        let Some(port) = node_type.and_then(|node_type| node_type.outputs.get(usize::from(output.port.0))) else {
            continue;
        };
        let shown = match &output.value {
            OutputValue::Closed => continue,
            OutputValue::One(reference) | OutputValue::List(reference) => value(event, *reference),
            list => self::list(event, &list.pieces()),
        };
        ports.insert(port.id.to_string(), shown);
    }
    json!(ports)
}

fn list(event: &Event, pieces: &[Piece]) -> Value {
    let here = |piece: &Piece| match piece {
        Piece::Item(reference) => value_here(event, *reference).map(|value| vec![value]),
        // What lies in the artifact store is no array here.
        Piece::List(reference) => match value_here(event, *reference)? {
            Value::Array(items) => Some(items),
            _ => None,
        },
        Piece::Chunk(_) => None,
    };
    let items: Option<Vec<Vec<Value>>> = pieces.iter().map(here).collect();
    let counted = || pieces.iter().map(|piece| piece.items().map(u64::from)).sum::<Option<u64>>();
    items.map_or_else(|| json!({ "leftOut": true, "items": counted() }), |items| Value::from(items.concat()))
}

fn value(event: &Event, reference: ValueRef) -> Value {
    value_here(event, reference).unwrap_or_else(|| lies(reference))
}

fn value_here(event: &Event, reference: ValueRef) -> Option<Value> {
    let value = event.values.get(reference.place as usize).filter(|_| reference.seq == event.seq)?;
    serde_json::from_slice(value.json()).ok()
}

fn lies(reference: ValueRef) -> Value {
    json!({ "seq": reference.seq.0, "bytes": reference.bytes, "digest": reference.digest.to_string() })
}

pub(super) fn node_id(graph: &Graph, node: NodeIx) -> String {
    graph.get(node).map_or_else(String::new, |_| graph.node(graph.named(node)).id.to_string())
}
