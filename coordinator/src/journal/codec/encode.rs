//! From the engine's types to rows. On the hot path: nothing is copied but what must be.

use bytes::Bytes;
use heddle_core::id::{AgentBoot, Instance, RunId};
use heddle_core::run::RunStatus;
use heddle_core::run::event::{
    Assignment, Attempt, Decision, ErrorClass, Event, Fact, ListChunk, LossCause, NodeError, Opened, OutputValue,
    PermitClass, Piece, PortOutput, RunError, Submitted, Verdict,
};
use heddle_core::time::Span;
use heddle_core::value::{Value, ValueRef};
use heddle_proto::journal as pb;
use prost::Message as _;

use super::{Row, VERSION, checksums, children, jobs, kind, lineage, listening, reviews};

/// Turns an event of a run into its row.
pub fn encode(run: RunId, event: &Event) -> Row {
    let (kind, fact) = fact(&event.fact);
    let (agents, assignments) = assignments(&event.assignments);
    let decisions = event.decisions.iter().map(decision).collect();
    let head = pb::Head { agents, decisions, assignments, fact: Some(fact) };
    let body = body(&event.values);
    let mut row = Row {
        run,
        seq: event.seq,
        kind,
        version: VERSION,
        at: event.at,
        crc: 0,
        head: head.encode_to_vec().into(),
        body: Some(body.encode_to_vec().into()),
    };
    let (head, all) = checksums(&row);
    row.crc = u64::from(head) << 32 | u64::from(all);
    row
}

pub(super) fn body(values: &[Value]) -> pb::Body {
    let json = |value: &Value| if value.artifact().is_some() { Bytes::new() } else { value.json().clone() };
    let stored = values.iter().zip(0..).filter_map(|(value, place)| Some((value.artifact()?, place)));
    let stored = stored.map(|(artifact, place)| pb::Stored {
        place,
        digest: Bytes::copy_from_slice(&artifact.digest.0),
        bytes: artifact.bytes,
        media_type: artifact.media_type.as_ref().to_owned(),
        json: artifact.is_json,
    });
    pb::Body { values: values.iter().map(json).collect(), stored: stored.collect() }
}

/// Turns the reason of a run's end into the bytes that its summary row keeps.
pub fn encode_run_error(error: &RunError) -> Vec<u8> {
    run_error(error).encode_to_vec()
}

fn fact(fact: &Fact) -> (u16, pb::head::Fact) {
    use pb::head::Fact as Wire;
    match fact {
        Fact::Submitted(it) => (kind::SUBMITTED, Wire::Submitted(submitted(it))),
        Fact::Offered { offers } => (kind::OFFERED, Wire::Offered(lineage::encode_offers(offers))),
        Fact::Continued => (kind::CONTINUED, Wire::Continued(pb::Continued {})),
        Fact::Succeeded { attempt: of, outputs: gave, timing } => {
            let (queued_ms, ran_ms) = (timing.queued.as_millis(), timing.ran.as_millis());
            let it = pb::Succeeded { attempt: Some(attempt(of)), outputs: outputs(gave), queued_ms, ran_ms };
            (kind::SUCCEEDED, Wire::Succeeded(it))
        }
        Fact::Answered { attempt: of, verdict: Verdict { ends, score }, timing } => {
            let (queued_ms, ran_ms) = (timing.queued.as_millis(), timing.ran.as_millis());
            let it = pb::Answered { attempt: Some(attempt(of)), ends: *ends, score: *score, queued_ms, ran_ms };
            (kind::ANSWERED, Wire::Answered(it))
        }
        Fact::Failed { attempt: of, error, retry_at, fallback, caught, asks, timing } => {
            let it = pb::Failed {
                attempt: Some(attempt(of)),
                error: Some(node_error(error)),
                retry_at: retry_at.map(|at| at.as_millis()),
                queued_ms: timing.queued.as_millis(),
                ran_ms: timing.ran.as_millis(),
                fallback: fallback.map_or(0, |provider| u32::from(provider.0)),
                caught: outputs(caught),
                asks: *asks,
            };
            (kind::FAILED, Wire::Failed(it))
        }
        Fact::Lost { attempt: of, cause, failure, caught, asks } => {
            let (cause, failure) = (loss_cause(*cause).into(), failure.as_ref().map(node_error));
            let (caught, asks) = (outputs(caught), *asks);
            (kind::LOST, Wire::Lost(pb::Lost { attempt: Some(attempt(of)), cause, failure, caught, asks }))
        }
        Fact::HandedBack { attempts } => {
            let attempts = attempts.iter().map(attempt).collect();
            (kind::HANDED_BACK, Wire::HandedBack(pb::HandedBack { attempts }))
        }
        Fact::IntentRecorded { attempt: of } => {
            (kind::INTENT_RECORDED, Wire::IntentRecorded(pb::IntentRecorded { attempt: Some(attempt(of)) }))
        }
        Fact::HandleRecorded { attempt: of, handle, cancels } => {
            let handle = Some(value_ref(handle));
            let it = pb::HandleRecorded { attempt: Some(attempt(of)), handle, cancels: *cancels };
            (kind::HANDLE_RECORDED, Wire::HandleRecorded(it))
        }
        Fact::ProviderCancelled { job, end } => {
            (kind::PROVIDER_CANCELLED, Wire::ProviderCancelled(jobs::ended_to_wire(job, end)))
        }
        Fact::TimerFired { instance: of, outputs: gave } => {
            let it = pb::TimerFired { instance: Some(instance(*of)), outputs: outputs(gave) };
            (kind::TIMER_FIRED, Wire::TimerFired(it))
        }
        Fact::ChildEnded(it) => (kind::CHILD_ENDED, Wire::ChildEnded(children::ended_to_wire(it))),
        Fact::Reviewed(it) => (kind::REVIEWED, Wire::Reviewed(reviews::to_wire(it))),
        Fact::Signalled(it) => (kind::SIGNALLED, Wire::Signalled(listening::signalled_to_wire(it))),
        Fact::Called(it) => (kind::CALLED, Wire::Called(listening::called_to_wire(it))),
        Fact::Paused { by, reason } => {
            let (by, reason) = (by.to_string(), reason.as_deref().map(str::to_owned));
            (kind::PAUSED, Wire::Paused(pb::Paused { by, reason }))
        }
        Fact::Unpaused { by } => (kind::UNPAUSED, Wire::Unpaused(pb::Unpaused { by: by.to_string() })),
        Fact::Ended { status, error, by, reason } => {
            let (error, by) = (error.as_ref().map(run_error), by.as_ref().map(|by| by.0.as_ref().to_owned()));
            let reason = reason.as_deref().map(str::to_owned);
            (kind::ENDED, Wire::Ended(pb::Ended { status: run_status(*status).into(), error, by, reason }))
        }
        Fact::Stopped { attempts } => {
            (kind::STOPPED, Wire::Stopped(pb::Stopped { attempts: attempts.iter().map(attempt).collect() }))
        }
        Fact::Discarded { attempt: of } => {
            (kind::DISCARDED, Wire::Discarded(pb::Discarded { attempt: Some(attempt(of)) }))
        }
        Fact::Settled { attempt: of, outputs: gave } => {
            (kind::SETTLED, Wire::Settled(pb::Settled { attempt: Some(attempt(of)), outputs: outputs(gave) }))
        }
    }
}

fn submitted(it: &Submitted) -> pb::Submitted {
    pb::Submitted {
        tenant: it.tenant.0.as_ref().to_owned(),
        subject: it.subject.0.as_ref().to_owned(),
        workflow: Bytes::copy_from_slice(&it.workflow.to_bytes()),
        graph: Bytes::copy_from_slice(&it.graph.0),
        target: it.target.map(|node| node.0),
        inputs: it
            .inputs
            .iter()
            .map(|(node, value)| pb::Input { node: node.0, value: Some(value_ref(value)) })
            .collect(),
        traceparent: it.traceparent.as_deref().map(str::to_owned),
        sandbox: it.sandbox,
        lineage: it.lineage.as_deref().map(lineage::encode),
        deadline_ms: it.deadline.map(Span::as_millis),
        invoked_by: it.invoked_by.as_ref().map(children::invoked_by_to_wire),
    }
}

/// Agents are named once per row: a fan-out gives hundreds of attempts to a few of them.
fn assignments(assignments: &[Assignment]) -> (Vec<pb::AgentBoot>, Vec<pb::Assignment>) {
    let mut agents: Vec<&AgentBoot> = Vec::new();
    let rows = assignments
        .iter()
        .map(|it| {
            let agent = agents.iter().position(|agent| *agent == &it.to).unwrap_or_else(|| {
                agents.push(&it.to);
                agents.len() - 1
            });
            pb::Assignment {
                attempt: Some(attempt(&it.attempt)),
                agent: agent as u32,
                permit: permit_class(it.permit).into(),
                alone: it.alone,
                provider: it.provider.0.into(),
            }
        })
        .collect();
    let boot = |it: &AgentBoot| pb::AgentBoot { agent: it.agent.0.as_ref().to_owned(), boot: it.boot.0 };
    (agents.into_iter().map(boot).collect(), rows)
}

fn decision(decision: &Decision) -> pb::Decision {
    use pb::decision::Outcome;
    let mut caught_outputs = Vec::new();
    let (of, outcome) = match decision {
        Decision::Completed { instance, outputs: gave } => {
            (instance, Outcome::Completed(pb::Completed { outputs: outputs(gave) }))
        }
        Decision::Waiting { instance, until } => (instance, Outcome::WaitingUntil(until.as_millis())),
        Decision::Failed { instance, error, caught } => {
            caught_outputs = outputs(caught);
            (instance, Outcome::Failed(node_error(error)))
        }
        Decision::Delegated { instance } => (instance, Outcome::Delegated(pb::Delegated {})),
        Decision::Reused { instance, offer: None, source, outputs: gave } => {
            (instance, Outcome::Recalled(pb::Recalled { run: lineage::run_of(*source), outputs: outputs(gave) }))
        }
        Decision::Reused { instance, offer: Some(offer), source, outputs: gave } => {
            let source = Some(lineage::encode_source(*source));
            (instance, Outcome::Reused(pb::Reused { offer: *offer, source, outputs: outputs(gave) }))
        }
        Decision::Afresh { instance } => (instance, Outcome::Afresh(pb::Afresh {})),
        Decision::Stopped { instance, status, message } => {
            let it = pb::Stop { status: run_status(*status).into(), message: message.as_ref().to_owned() };
            (instance, Outcome::Stopped(it))
        }
        Decision::Asked { instance, asked } => (instance, Outcome::Asked(reviews::asked_to_wire(asked))),
        Decision::Listening { instance, until, outputs: gave } => {
            let until = until.map(|until| until.as_millis());
            (instance, Outcome::Listening(pb::Listening { until, outputs: outputs(gave) }))
        }
        Decision::Took { instance, signal, outputs: gave } => {
            (instance, Outcome::Took(pb::Took { signal: signal.0, outputs: outputs(gave) }))
        }
        Decision::Invoked { instance, invoked } => (instance, Outcome::Invoked(children::invoked_to_wire(invoked))),
        Decision::Opened { instance, opened: it } => (instance, Outcome::Opened(opened(it))),
        Decision::Gathered { instance, chunk, results, errors } => {
            let (results, errors) = (results.iter().map(list_chunk).collect(), errors.as_ref().map(list_chunk));
            (instance, Outcome::Gathered(pb::Gathered { chunk: *chunk, results, errors }))
        }
    };
    pb::Decision { instance: Some(instance(*of)), outcome: Some(outcome), caught: caught_outputs }
}

fn opened(it: &Opened) -> pb::Opened {
    let item = |given: &Vec<OutputValue>| pb::Item { given: given.iter().map(self::given).collect() };
    let items = it.items.iter().map(item).collect();
    pb::Opened { count: it.count, index: it.index, scope: it.scope.0, items, score: it.score }
}

fn given(it: &OutputValue) -> pb::Given {
    use pb::given::Value;
    let value = match it {
        OutputValue::One(value) => Value::One(value_ref(value)),
        OutputValue::List(value) => Value::List(value_ref(value)),
        OutputValue::Gather(items) => Value::Gather(gather(items)),
        OutputValue::Pieces(it) => Value::Pieces(pieces(it)),
        OutputValue::Closed => Value::Closed(pb::Closed {}),
    };
    pb::Given { value: Some(value) }
}

pub(super) fn outputs(outputs: &[PortOutput]) -> Vec<pb::PortOutput> {
    use pb::port_output::Value;
    outputs
        .iter()
        .map(|it| {
            let value = match &it.value {
                OutputValue::One(value) => Value::One(value_ref(value)),
                OutputValue::List(value) => Value::List(value_ref(value)),
                OutputValue::Gather(items) => Value::Gather(gather(items)),
                OutputValue::Pieces(it) => Value::Pieces(pieces(it)),
                OutputValue::Closed => Value::Closed(pb::Closed {}),
            };
            pb::PortOutput { port: it.port.0.into(), value: Some(value) }
        })
        .collect()
}

fn gather(items: &[ValueRef]) -> pb::Gather {
    pb::Gather { items: items.iter().map(value_ref).collect() }
}

fn pieces(pieces: &[Piece]) -> pb::Pieces {
    use pb::piece::Kind;
    let piece = |it: &Piece| {
        let kind = match it {
            Piece::Item(reference) => Kind::Item(value_ref(reference)),
            Piece::Chunk(chunk) => Kind::Chunk(list_chunk(chunk)),
            Piece::List(reference) => Kind::List(value_ref(reference)),
        };
        pb::Piece { kind: Some(kind) }
    };
    pb::Pieces { pieces: pieces.iter().map(piece).collect() }
}

fn list_chunk(it: &ListChunk) -> pb::ListChunk {
    pb::ListChunk { reference: Some(value_ref(&it.reference)), items: it.items }
}

pub(super) fn value_ref(it: &ValueRef) -> pb::ValueRef {
    let digest = Bytes::copy_from_slice(&it.digest.0);
    pb::ValueRef { seq: it.seq.0, place: it.place, bytes: it.bytes, digest, is_array: it.is_array }
}

pub(super) fn instance(it: Instance) -> pb::Instance {
    pb::Instance { node: it.node.0, scope: it.scope.0, generation: it.generation.0 }
}

fn attempt(it: &Attempt) -> pb::Attempt {
    pb::Attempt {
        node: it.instance.node.0,
        scope: it.instance.scope.0,
        generation: it.instance.generation.0,
        number: it.number.0,
        token: it.token.0,
    }
}

pub(super) fn node_error(it: &NodeError) -> pb::NodeError {
    let (code, message) = (it.code.as_ref().to_owned(), it.message.as_ref().to_owned());
    pb::NodeError { class: error_class(it.class).into(), code, message }
}

fn run_error(it: &RunError) -> pb::RunError {
    pb::RunError {
        code: it.code.as_ref().to_owned(),
        message: it.message.as_ref().to_owned(),
        node: it.node.map(|node| node.0),
        class: it.class.map_or(pb::ErrorClass::Unspecified, error_class).into(),
        attempts: it.attempts,
    }
}

fn run_status(it: RunStatus) -> pb::RunStatus {
    match it {
        RunStatus::Running => pb::RunStatus::Running,
        RunStatus::Completed => pb::RunStatus::Completed,
        RunStatus::Failed => pb::RunStatus::Failed,
        RunStatus::Cancelled => pb::RunStatus::Cancelled,
    }
}

fn permit_class(it: PermitClass) -> pb::PermitClass {
    match it {
        PermitClass::Slot => pb::PermitClass::Slot,
        PermitClass::Prefetch => pb::PermitClass::Prefetch,
    }
}

fn loss_cause(it: LossCause) -> pb::LossCause {
    match it {
        LossCause::NewBoot => pb::LossCause::NewBoot,
        LossCause::StreamGone => pb::LossCause::StreamGone,
        LossCause::Goodbye => pb::LossCause::Goodbye,
        LossCause::NotHeld => pb::LossCause::NotHeld,
    }
}

fn error_class(it: ErrorClass) -> pb::ErrorClass {
    match it {
        ErrorClass::Retryable => pb::ErrorClass::Retryable,
        ErrorClass::RateLimited => pb::ErrorClass::RateLimited,
        ErrorClass::InvalidRequest => pb::ErrorClass::InvalidRequest,
        ErrorClass::Auth => pb::ErrorClass::Auth,
        ErrorClass::ContentPolicy => pb::ErrorClass::ContentPolicy,
        ErrorClass::Timeout => pb::ErrorClass::Timeout,
        ErrorClass::Cancelled => pb::ErrorClass::Cancelled,
        ErrorClass::Internal => pb::ErrorClass::Internal,
        ErrorClass::UnknownOutcome => pb::ErrorClass::UnknownOutcome,
        ErrorClass::Poison => pb::ErrorClass::Poison,
    }
}
