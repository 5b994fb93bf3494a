//! Between the agent's wire types and the core's, by hand. What is not understood is refused.

use std::sync::Arc;

use bytes::Bytes;
use heddle_artifacts::media;
use heddle_core::condition::question::{EVALUATOR_TYPE, EVALUATOR_VERSION, ITEMS_PORT, Question, port_of};
use heddle_core::graph::Provided;
use heddle_core::id::{AttemptKey, AttemptNumber, AttemptToken, Generation, Instance, NodeIx, RunId, ScopeIx};
use heddle_core::limits::{ARTIFACT_BYTES_MAX, ERROR_MESSAGE_BYTES_MAX, MEDIA_TYPE_BYTES_MAX, RESULT_VALUES_MAX};
use heddle_core::node_type::EffectClass;
use heddle_core::partition::io::{Dispatch, QUESTION_ITEMS, Verdict};
use heddle_core::run::event::{ErrorClass, NodeError, PermitClass, Timing};
use heddle_core::run::{JobEnd, Outcome};
use heddle_core::time::Span;
use heddle_core::value::{Artifact, Digest, Value};
use heddle_proto::agent as wire;
use heddle_proto::agent::coordinator_message::Kind;
use serde::de::IgnoredAny;

use super::changed;
use super::inputs::{self, Filled};

/// A key as it goes over the wire.
pub(crate) fn key_to_wire(key: AttemptKey) -> wire::AttemptKey {
    wire::AttemptKey {
        execution: Bytes::copy_from_slice(&key.run.to_bytes()),
        node: key.instance.node.0,
        scope: key.instance.scope.0,
        generation: key.instance.generation.0,
        number: key.number.0,
        token: key.token.0,
    }
}

/// A key as it came; `None` if it names no run.
pub(crate) fn key_from_wire(key: Option<&wire::AttemptKey>) -> Option<AttemptKey> {
    let key = key?;
    Some(AttemptKey {
        run: RunId::from_bytes(&key.execution)?,
        instance: Instance {
            node: NodeIx(key.node),
            scope: ScopeIx(key.scope),
            generation: Generation(key.generation),
        },
        number: AttemptNumber(key.number),
        token: AttemptToken(key.token),
    })
}

pub(super) fn message(kind: Kind) -> wire::CoordinatorMessage {
    wire::CoordinatorMessage { kind: Some(kind) }
}

pub(crate) fn cancel(key: AttemptKey) -> wire::CoordinatorMessage {
    message(Kind::Cancel(wire::Cancel { key: Some(key_to_wire(key)), reason: "the run is over".into() }))
}

/// A job that an agent is to cancel: an assignment that brings a handle and no inputs.
pub(crate) fn cancel_job(dispatch: &Dispatch, filled: Filled) -> wire::CoordinatorMessage {
    let mut message = assign(dispatch, filled);
    if let Some(Kind::Assign(mut job)) = message.kind {
        job.inputs.clear();
        message.kind = Some(Kind::CancelJob(wire::CancelJob { job: Some(job) }));
    }
    message
}

/// What an agent says became of a job.
pub(crate) fn job_end_from_wire(cancelled: wire::JobCancelled) -> Option<Result<JobEnd, NodeError>> {
    match job_end(cancelled.end()) {
        Some(end) => Some(Ok(end)),
        None => cancelled.failed.map(error_from_wire).map(Err),
    }
}

pub(crate) fn job_end(end: wire::JobEnd) -> Option<JobEnd> {
    match end {
        wire::JobEnd::Cancelled => Some(JobEnd::Cancelled),
        wire::JobEnd::Over => Some(JobEnd::Over),
        wire::JobEnd::Unsupported => Some(JobEnd::Unsupported),
        wire::JobEnd::Unspecified => None,
    }
}

pub(crate) fn acknowledge(key: AttemptKey) -> wire::CoordinatorMessage {
    message(Kind::Acknowledge(wire::Acknowledge { keys: vec![key_to_wire(key)] }))
}

pub(crate) fn answer_intent(key: AttemptKey, go: bool) -> wire::CoordinatorMessage {
    message(Kind::IntentAcknowledged(wire::IntentAcknowledged { key: Some(key_to_wire(key)), go }))
}

pub(crate) fn verdict_to_wire((key, verdict): (AttemptKey, Verdict)) -> wire::HeldVerdict {
    let verdict = match verdict {
        Verdict::Keep => wire::Verdict::Keep,
        Verdict::Stop => wire::Verdict::Stop,
        Verdict::Acknowledged => wire::Verdict::Acknowledged,
    };
    wire::HeldVerdict { key: Some(key_to_wire(key)), verdict: verdict.into() }
}

/// An attempt with its inputs filled in: `filled` are the values of the dispatch's inputs, one by one.
pub(crate) fn assign(dispatch: &Dispatch, filled: Filled) -> wire::CoordinatorMessage {
    let node = dispatch.graph.node(dispatch.key.instance.node);
    let provided = node.provided(dispatch.provider);
    let mut inputs: Vec<wire::Input> = Vec::with_capacity(dispatch.inputs.len() + provided.constants.len());
    let question = dispatch.question.as_deref();
    let port_id = |port: heddle_core::id::PortIx| {
        if question.is_some() {
            return if port == QUESTION_ITEMS { ITEMS_PORT.to_owned() } else { port_of(usize::from(port.0)) };
        }
        let declared = provided.node_type.and_then(|node_type| node_type.inputs.get(usize::from(port.0)));
        declared.map_or(String::new(), |declared| declared.id.to_string())
    };
    let changed = filled.config.as_ref().map(|changes| changed::lay_over(provided, changes.json()));
    for (input, values) in dispatch.inputs.iter().zip(filled.inputs) {
        inputs.extend(inputs::to_wire(port_id(input.port), input, values));
    }
    let changed_inputs = changed.iter().flat_map(|changed| &changed.inputs);
    let ports = changed_inputs.filter_map(|(id, value)| Some((provided.node_type?.input(id)?.0, value)));
    let changed_ports: Vec<_> = ports.collect();
    for (port, value) in &changed_ports {
        inputs.extend(value.as_ref().map(|value| constant(port_id(*port), *port, provided, value)));
    }
    // What is a constant of the graph stands in the question itself.
    for (port, value) in provided.constants.iter().filter(|_| question.is_none()) {
        let is_changed = changed_ports.iter().any(|(changed, _)| changed == port);
        if !is_changed && dispatch.inputs.iter().all(|input| input.port != *port) {
            inputs.push(constant(port_id(*port), *port, provided, value));
        }
    }
    let handle = filled.handle.map_or_else(Bytes::new, |value| value.json().clone());
    let (key, execution_id) = (key_to_wire(dispatch.key), dispatch.key.run.to_string());
    let permit = match dispatch.permit {
        PermitClass::Slot => wire::PermitClass::Slot,
        PermitClass::Prefetch => wire::PermitClass::Prefetch,
    };
    message(Kind::Assign(wire::Assign {
        key: Some(key),
        idempotency_key: idempotency_key(&execution_id, &node.id, dispatch),
        execution_id,
        node_id: node.id.to_string(),
        index: dispatch.index.clone(),
        node_type: question.map_or_else(|| provided.type_id.to_string(), |_| EVALUATOR_TYPE.to_owned()),
        type_version: match question {
            Some(_) => EVALUATOR_VERSION,
            None => provided.node_type.map_or(0, |node_type| node_type.version),
        },
        config_json: match (question, changed) {
            (Some(question), _) => question_to_json(question),
            (None, Some(changed)) => changed.config,
            (None, None) => provided.config.clone(),
        },
        inputs,
        timeout_ms: provided.policy.timeout.map_or(0, Span::as_millis),
        effect: effect_to_wire(provided.effect).into(),
        lineage_attempt: dispatch.key.number.0,
        handle,
        traceparent: dispatch.traceparent.as_deref().unwrap_or_default().into(),
        permit: permit.into(),
        sandbox: dispatch.sandbox,
        tenant: dispatch.tenant.to_string(),
        parts: 0,
    }))
}

fn question_to_json(question: &Question) -> Bytes {
    // It is made of texts and JSON only.
    serde_json::to_vec(question).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
}

/// By what a provider knows a repeated request: the same on every automatic retry, and another for each item of a map. A
/// fallback's is another one, for it asks for something else; so is that of a try whose last job is to be cancelled, since the
/// same key would give that job again.
fn idempotency_key(execution: &str, node: &str, dispatch: &Dispatch) -> String {
    let generation = dispatch.key.instance.generation;
    let mut key = format!("{execution}:{node}:{generation}");
    if !dispatch.index.is_empty() {
        let index: Vec<String> = dispatch.index.iter().map(u32::to_string).collect();
        key.push_str(&format!("@{}", index.join(".")));
    }
    if dispatch.provider.0 > 0 {
        key.push_str(&format!(":f{}", dispatch.provider.0));
    }
    if dispatch.jobs_left > 0 {
        key.push_str(&format!(":j{}", dispatch.jobs_left));
    }
    key
}

pub(super) fn artifact_to_wire(artifact: &Artifact) -> wire::Artifact {
    wire::Artifact {
        digest: Bytes::copy_from_slice(&artifact.digest.0),
        bytes: artifact.bytes,
        media_type: artifact.media_type.to_string(),
        json: artifact.is_json,
    }
}

fn artifact_from_wire(artifact: &wire::Artifact) -> Option<Artifact> {
    let digest = Digest(artifact.digest.as_ref().try_into().ok()?);
    let media_type = media::essence(&artifact.media_type).filter(|essence| *essence == artifact.media_type)?;
    let is_known = artifact.bytes <= ARTIFACT_BYTES_MAX && media_type.len() <= MEDIA_TYPE_BYTES_MAX;
    is_known.then(|| Artifact { digest, bytes: artifact.bytes, media_type: media_type.into(), is_json: artifact.json })
}

/// The graph's own value for a port that no edge feeds. A list port takes a list as its items, anything else as one.
fn constant(id: String, port: heddle_core::id::PortIx, by: Provided<'_>, value: &Value) -> wire::Input {
    let declared = by.node_type.and_then(|node_type| node_type.inputs.get(usize::from(port.0)));
    let list = declared.is_some_and(|declared| declared.list);
    let is_list = value.json().first() == Some(&b'[');
    let values_json = if list && is_list { inputs::items(value.json()) } else { vec![value.json().clone()] };
    wire::Input { port: id, list, values_json, ..wire::Input::default() }
}

fn effect_to_wire(effect: EffectClass) -> wire::EffectClass {
    match effect {
        EffectClass::Pure => wire::EffectClass::Pure,
        EffectClass::Keyed => wire::EffectClass::Keyed,
        EffectClass::Pollable => wire::EffectClass::Pollable,
        EffectClass::Blind => wire::EffectClass::Blind,
    }
}

/// What an agent says came of an attempt; `None` if it says nothing that this build understands.
pub(crate) fn outcome_from_wire(finished: wire::Finished) -> Option<(Outcome, Timing)> {
    let timing = Timing { queued: Span::from_millis(finished.queued_ms), ran: Span::from_millis(finished.ran_ms) };
    let outcome = match finished.outcome? {
        wire::finished::Outcome::Succeeded(succeeded) => succeeded_from_wire(succeeded),
        wire::finished::Outcome::Failed(failed) => Outcome::Failed {
            retry_after: (failed.retry_after_ms > 0).then(|| Span::from_millis(failed.retry_after_ms)),
            error: error_from_wire(failed),
        },
        wire::finished::Outcome::Stopped(wire::Stopped {}) => Outcome::Stopped,
    };
    Some((outcome, timing))
}

fn error_from_wire(failed: wire::Failed) -> NodeError {
    NodeError {
        class: class_from_wire(failed.class()),
        code: failed.code.into(),
        message: shortened(&failed.message).into(),
    }
}

fn succeeded_from_wire(succeeded: wire::Succeeded) -> Outcome {
    if succeeded.outputs.len() > RESULT_VALUES_MAX {
        return broken("too_many_outputs", format!("a result has at most {RESULT_VALUES_MAX} outputs"));
    }
    let mut values: Vec<(Arc<str>, Value)> = Vec::with_capacity(succeeded.outputs.len());
    for output in succeeded.outputs {
        if let Some(artifact) = &output.artifact {
            let Some(artifact) = artifact_from_wire(artifact) else {
                return broken("output_not_an_artifact", format!("the output {} describes no artifact", output.port));
            };
            values.push((output.port.into(), Value::from_artifact(artifact)));
            continue;
        }
        // Values are spliced into answers and documents as they are, so they must be JSON.
        if let Err(error) = serde_json::from_slice::<IgnoredAny>(&output.value_json) {
            return broken("output_not_json", format!("the output {} is no JSON: {error}", output.port));
        }
        values.push((output.port.into(), Value::from_json(output.value_json)));
    }
    Outcome::Succeeded(values)
}

fn broken(code: &str, message: String) -> Outcome {
    let error = NodeError { class: ErrorClass::InvalidRequest, code: code.into(), message: message.into() };
    Outcome::Failed { error, retry_after: None }
}

fn class_from_wire(class: wire::ErrorClass) -> ErrorClass {
    match class {
        wire::ErrorClass::Retryable => ErrorClass::Retryable,
        wire::ErrorClass::RateLimited => ErrorClass::RateLimited,
        wire::ErrorClass::InvalidRequest => ErrorClass::InvalidRequest,
        wire::ErrorClass::Auth => ErrorClass::Auth,
        wire::ErrorClass::ContentPolicy => ErrorClass::ContentPolicy,
        wire::ErrorClass::Timeout => ErrorClass::Timeout,
        wire::ErrorClass::Cancelled => ErrorClass::Cancelled,
        wire::ErrorClass::UnknownOutcome => ErrorClass::UnknownOutcome,
        wire::ErrorClass::Internal | wire::ErrorClass::Unspecified => ErrorClass::Internal,
    }
}

fn shortened(message: &str) -> &str {
    let end = (0..=message.len().min(ERROR_MESSAGE_BYTES_MAX)).rev().find(|end| message.is_char_boundary(*end));
    &message[..end.unwrap_or(0)]
}
