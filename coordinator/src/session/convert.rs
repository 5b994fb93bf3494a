//! Between the agent's wire types and the core's, by hand. What is not understood is refused.

use std::sync::Arc;

use bytes::Bytes;
use heddle_artifacts::media;
use heddle_core::condition::question::{EVALUATOR_TYPE, EVALUATOR_VERSION, ITEMS_PORT, Question, port_of};
use heddle_core::id::{AttemptKey, AttemptNumber, AttemptToken, Generation, Instance, NodeIx, RunId, ScopeIx};
use heddle_core::limits::{ARTIFACT_BYTES_MAX, ERROR_MESSAGE_BYTES_MAX, MEDIA_TYPE_BYTES_MAX, RESULT_VALUES_MAX};
use heddle_core::node_type::EffectClass;
use heddle_core::partition::io::{Dispatch, QUESTION_ITEMS, Verdict};
use heddle_core::run::Outcome;
use heddle_core::run::event::{ErrorClass, NodeError, PermitClass, Timing};
use heddle_core::time::Span;
use heddle_core::value::{Artifact, Digest, Value};
use heddle_proto::agent as wire;
use heddle_proto::agent::coordinator_message::Kind;
use heddle_proto::limits::SHARED_VALUE_BYTES_MIN;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::limits::INPUTS_PART_BYTES;

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

fn message(kind: Kind) -> wire::CoordinatorMessage {
    wire::CoordinatorMessage { kind: Some(kind) }
}

pub(crate) fn cancel(key: AttemptKey) -> wire::CoordinatorMessage {
    message(Kind::Cancel(wire::Cancel { key: Some(key_to_wire(key)), reason: "the run is over".into() }))
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

/// An attempt with its inputs filled in: `values` are the dispatch's references in order, the handle last.
pub(crate) fn assign(dispatch: &Dispatch, values: Vec<Value>) -> wire::CoordinatorMessage {
    let node = dispatch.graph.node(dispatch.key.instance.node);
    let mut values = values.into_iter();
    let mut inputs: Vec<wire::Input> = Vec::with_capacity(dispatch.inputs.len() + node.constants.len());
    let question = dispatch.question.as_deref();
    let port_id = |port: heddle_core::id::PortIx| {
        if question.is_some() {
            return if port == QUESTION_ITEMS { ITEMS_PORT.to_owned() } else { port_of(usize::from(port.0)) };
        }
        let declared = node.node_type.as_ref().and_then(|node_type| node_type.inputs.get(usize::from(port.0)));
        declared.map_or(String::new(), |declared| declared.id.to_string())
    };
    for input in &dispatch.inputs {
        let mut values_json = Vec::with_capacity(input.values.len());
        let (mut artifacts, mut shared) = (Vec::new(), Vec::new());
        for (bound, value) in input.values.iter().zip(values.by_ref()) {
            let spread = bound.spread;
            if let Some(artifact) = value.artifact() {
                let place = values_json.len() as u32;
                artifacts.push(wire::PlacedArtifact { place, spread, artifact: Some(artifact_to_wire(artifact)) });
            } else if !spread && value.json().len() >= SHARED_VALUE_BYTES_MIN {
                let (place, digest) = (values_json.len() as u32, Bytes::copy_from_slice(&bound.reference.digest.0));
                shared.push(wire::SharedValue { place, digest });
            }
            match spread && value.artifact().is_none() {
                true => values_json.extend(items(value.json())),
                false => values_json.push(value.json().clone()),
            }
        }
        if !values_json.is_empty() || input.list {
            inputs.push(wire::Input { port: port_id(input.port), list: input.list, values_json, artifacts, shared });
        }
    }
    // What is a constant of the graph stands in the question itself.
    for (port, value) in node.constants.iter().filter(|_| question.is_none()) {
        if dispatch.inputs.iter().all(|input| input.port != *port) {
            inputs.push(constant(port_id(*port), *port, node, value));
        }
    }
    let handle = dispatch.handle.and_then(|_| values.next()).map_or_else(Bytes::new, |value| value.json().clone());
    let (key, execution_id) = (key_to_wire(dispatch.key), dispatch.key.run.to_string());
    let permit = match dispatch.permit {
        PermitClass::Slot => wire::PermitClass::Slot,
        PermitClass::Prefetch => wire::PermitClass::Prefetch,
    };
    message(Kind::Assign(wire::Assign {
        key: Some(key),
        idempotency_key: format!("{execution_id}:{}:{}", node.id, dispatch.key.instance.generation),
        execution_id,
        node_id: node.id.to_string(),
        node_type: question.map_or_else(|| node.type_id.to_string(), |_| EVALUATOR_TYPE.to_owned()),
        type_version: match question {
            Some(_) => EVALUATOR_VERSION,
            None => node.node_type.as_ref().map_or(0, |node_type| node_type.version),
        },
        config_json: question.map_or_else(|| node.config.clone(), question_to_json),
        inputs,
        timeout_ms: node.policy.timeout.map_or(0, Span::as_millis),
        effect: effect_to_wire(node.effect).into(),
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

/// An assignment as messages that fit: values that are too much for one go ahead in parts, in order.
pub(crate) fn in_parts(mut assign: wire::CoordinatorMessage) -> Vec<wire::CoordinatorMessage> {
    let Some(Kind::Assign(it)) = &mut assign.kind else { return vec![assign] };
    let bytes = |input: &wire::Input| input.values_json.iter().map(Bytes::len).sum::<usize>();
    if it.inputs.iter().map(bytes).sum::<usize>() <= INPUTS_PART_BYTES {
        return vec![assign];
    }
    let mut parts: Vec<Vec<wire::Input>> = Vec::new();
    let mut left = 0;
    for input in &mut it.inputs {
        let mut shared = std::mem::take(&mut input.shared).into_iter().peekable();
        for (place, value) in std::mem::take(&mut input.values_json).into_iter().enumerate() {
            let weight = value.len() + 64;
            if weight > left || parts.is_empty() {
                parts.push(Vec::new());
                left = INPUTS_PART_BYTES.max(weight);
            }
            left -= weight;
            let Some(part) = parts.last_mut() else { continue };
            if part.last().is_none_or(|last| last.port != input.port) {
                part.push(wire::Input { port: input.port.clone(), list: input.list, ..wire::Input::default() });
            }
            let Some(last) = part.last_mut() else { continue };
            if let Some(wire::SharedValue { digest, .. }) = shared.next_if(|shared| shared.place as usize == place) {
                last.shared.push(wire::SharedValue { place: last.values_json.len() as u32, digest });
            }
            last.values_json.push(value);
        }
    }
    it.parts = parts.len() as u32;
    let key = it.key.clone();
    let parts =
        parts.into_iter().map(|inputs| message(Kind::InputsPart(wire::InputsPart { key: key.clone(), inputs })));
    parts.chain([assign]).collect()
}

fn artifact_to_wire(artifact: &Artifact) -> wire::Artifact {
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
fn constant(id: String, port: heddle_core::id::PortIx, node: &heddle_core::graph::Node, value: &Value) -> wire::Input {
    let declared = node.node_type.as_ref().and_then(|node_type| node_type.inputs.get(usize::from(port.0)));
    let list = declared.is_some_and(|declared| declared.list);
    let is_list = value.json().first() == Some(&b'[');
    let values_json = if list && is_list { items(value.json()) } else { vec![value.json().clone()] };
    wire::Input { port: id, list, values_json, ..wire::Input::default() }
}

/// The items of a JSON list, each as its own text; a value that is no list is its own only item.
fn items(list: &Bytes) -> Vec<Bytes> {
    match serde_json::from_slice::<Vec<&RawValue>>(list) {
        Ok(items) => items.into_iter().map(|item| list.slice_ref(item.get().as_bytes())).collect(),
        Err(_) => vec![list.clone()],
    }
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
            error: NodeError {
                class: class_from_wire(failed.class()),
                code: failed.code.into(),
                message: shortened(&failed.message).into(),
            },
        },
        wire::finished::Outcome::Stopped(wire::Stopped {}) => Outcome::Stopped,
    };
    Some((outcome, timing))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Names a value by its length.
    fn shared(place: u32, length: usize) -> wire::SharedValue {
        wire::SharedValue { place, digest: Bytes::copy_from_slice(&length.to_be_bytes()) }
    }

    fn assign(lengths: &[&[usize]]) -> wire::CoordinatorMessage {
        let input = |(place, lengths): (usize, &&[usize])| wire::Input {
            port: format!("p{place}"),
            list: true,
            values_json: lengths.iter().map(|length| Bytes::from(vec![b'1'; *length])).collect(),
            artifacts: Vec::new(),
            shared: (0..).zip(lengths.iter()).map(|(place, length)| shared(place, *length)).collect(),
        };
        let inputs = lengths.iter().enumerate().map(input).collect();
        message(Kind::Assign(wire::Assign { inputs, ..Default::default() }))
    }

    /// Puts the parts together as an agent does.
    fn whole(messages: Vec<wire::CoordinatorMessage>) -> (usize, Vec<(String, Vec<usize>)>) {
        let mut values: Vec<(String, Vec<usize>)> = Vec::new();
        let mut parts = 0;
        for message in messages {
            assert!(prost::Message::encoded_len(&message) <= INPUTS_PART_BYTES + 64 * 1024);
            let inputs = match message.kind.unwrap() {
                Kind::InputsPart(part) => part.inputs,
                Kind::Assign(assign) => {
                    parts = assign.parts as usize;
                    assign.inputs
                }
                other => panic!("{other:?}"),
            };
            for input in inputs {
                let lengths = input.values_json.iter().map(Bytes::len);
                let named = (0..).zip(lengths.clone()).map(|(place, length)| shared(place, length));
                assert!(input.shared.iter().cloned().eq(named), "each name stays with its value");
                match values.iter_mut().find(|(port, _)| *port == input.port) {
                    Some((_, known)) => known.extend(lengths),
                    None => values.push((input.port, lengths.collect())),
                }
            }
        }
        (parts, values)
    }

    #[test]
    fn many_inputs_travel_in_parts() {
        let small = assign(&[&[1, 2], &[3]]);
        assert_eq!(in_parts(small.clone()), [small]);
        let lengths: &[&[usize]] = &[&[60_000; 40], &[7], &[50_000; 30]];
        let (parts, values) = whole(in_parts(assign(lengths)));
        assert_eq!(parts, 2);
        let expected = lengths.iter().enumerate().map(|(place, lengths)| (format!("p{place}"), lengths.to_vec()));
        assert_eq!(values, expected.collect::<Vec<_>>());
    }
}
