//! From rows to the engine's types. Whatever is missing, unknown or out of range is an error with the row's name.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use heddle_core::id::{
    AgentBoot, AgentId, AttemptNumber, AttemptToken, BootId, EventSeq, Generation, Instance, NodeIx, PortIx,
    ProviderIx, ScopeIx, Subject, TenantId, WorkflowId,
};
use heddle_core::run::RunStatus;
use heddle_core::run::event::{
    Assignment, Attempt, Decision, ErrorClass, Event, Fact, ListChunk, LossCause, NodeError, Opened, OutputValue,
    PermitClass, Piece, PortOutput, RunError, Submitted, Timing, Verdict,
};
use heddle_core::time::{Span, Timestamp};
use heddle_core::value::{Artifact, Digest, Value, ValueRef};
use heddle_proto::journal as pb;
use prost::Message;

use super::{DecodeError, Row, VERSION, checksums, children, jobs, kind, lineage, listening, reviews};

/// Turns a row into its event. A row read without its body gives an event without values.
///
/// # Errors
/// When any part of the row is unknown to this release or does not match its checksum.
pub fn decode(row: &Row) -> Result<Event, DecodeError> {
    verify(row)?;
    let malformed = |what| DecodeError::Malformed { run: row.run, seq: row.seq, what };
    let head: pb::Head = message(&row.head).map_err(malformed)?;
    let (kind, fact) = fact(head.fact).map_err(malformed)?;
    if kind != row.kind {
        return Err(malformed("its kind is not that of its head"));
    }
    let agents = head.agents.into_iter().map(agent_boot).collect::<Vec<_>>();
    Ok(Event {
        seq: row.seq,
        at: row.at,
        fact,
        decisions: head.decisions.into_iter().map(decision).collect::<Result<_, _>>().map_err(malformed)?,
        assignments: head
            .assignments
            .into_iter()
            .map(|it| assignment(it, &agents))
            .collect::<Result<_, _>>()
            .map_err(malformed)?,
        values: match &row.body {
            None => Vec::new(),
            Some(body) => {
                let body: pb::Body = message(body).map_err(malformed)?;
                values(body).map_err(malformed)?
            }
        },
    })
}

/// The values of one row, for those who ask for single ones.
#[derive(Debug)]
pub struct ReadBody {
    json: Vec<Bytes>,
    artifacts: BTreeMap<u32, Value>,
}

/// Decodes the body of a row, without its head.
///
/// # Errors
/// When the row does not match its checksum, or its body is none.
pub fn decode_body(row: &Row) -> Result<ReadBody, DecodeError> {
    verify(row)?;
    let malformed = |what| DecodeError::Malformed { run: row.run, seq: row.seq, what };
    let body = row.body.as_ref().ok_or_else(|| malformed("it was read without its body"))?;
    let body: pb::Body = message(body).map_err(malformed)?;
    let artifacts = body.stored.into_iter().map(|it| Ok((it.place, stored(it)?)));
    Ok(ReadBody { json: body.values, artifacts: artifacts.collect::<Part<_>>().map_err(malformed)? })
}

impl ReadBody {
    /// The value that a reference names; `None` if there is no such place. Its digest is the reference's: nothing is digested.
    pub fn value(&self, reference: &ValueRef) -> Option<Value> {
        let artifact = self.artifacts.get(&reference.place).cloned();
        let json = || self.json.get(reference.place as usize);
        artifact.or_else(|| json().map(|json| Value::from_parts(json.clone(), reference.digest)))
    }
}

pub(super) fn values(body: pb::Body) -> Part<Vec<Value>> {
    let mut values: Vec<Value> = body.values.into_iter().map(Value::from_json).collect();
    for it in body.stored {
        let place = values.get_mut(it.place as usize).ok_or("an artifact has no place in its body")?;
        *place = stored(it)?;
    }
    Ok(values)
}

fn stored(it: pb::Stored) -> Part<Value> {
    let (digest, media_type) = (digest(&it.digest)?, it.media_type.into());
    Ok(Value::from_artifact(Artifact { digest, bytes: it.bytes, media_type, is_json: it.json }))
}

/// Turns the bytes of a summary row back into the reason of a run's end; `None` if they are not what
/// [`encode_run_error`](super::encode_run_error) gives.
pub fn decode_run_error(bytes: &[u8]) -> Option<RunError> {
    let bytes = Bytes::copy_from_slice(bytes);
    message(&bytes).and_then(run_error).ok()
}

/// What part of a message is wrong.
pub(super) type Part<T> = Result<T, &'static str>;

fn verify(row: &Row) -> Result<(), DecodeError> {
    let Row { run, seq, kind, version, .. } = *row;
    let (head, all) = checksums(row);
    if (row.crc >> 32) as u32 != head || row.body.is_some() && row.crc as u32 != all {
        return Err(DecodeError::Checksum { run, seq });
    }
    if !kind::is_known(kind) {
        return Err(DecodeError::UnknownKind { run, seq, kind });
    }
    if !(1..=VERSION).contains(&version) {
        return Err(DecodeError::UnknownVersion { run, seq, kind, version });
    }
    Ok(())
}

/// Reads a message. The generated code skips unknown fields; that the message has the length it came with shows that
/// there were none, since this format has one encoding per message.
pub(super) fn message<M: Message + Default>(bytes: &Bytes) -> Part<M> {
    let message = M::decode(bytes.clone()).map_err(|_| "not a message of this format")?;
    if message.encoded_len() == bytes.len() { Ok(message) } else { Err("a field that is not known") }
}

fn fact(fact: Option<pb::head::Fact>) -> Part<(u16, Fact)> {
    use pb::head::Fact as Wire;
    Ok(match fact.ok_or("no fact")? {
        Wire::Submitted(it) => (kind::SUBMITTED, Fact::Submitted(Box::new(submitted(it)?))),
        Wire::Offered(it) => (kind::OFFERED, Fact::Offered { offers: lineage::decode_offers(it)? }),
        Wire::Continued(pb::Continued {}) => (kind::CONTINUED, Fact::Continued),
        Wire::Succeeded(pb::Succeeded { attempt: of, outputs: gave, queued_ms, ran_ms }) => {
            let timing = timing(queued_ms, ran_ms);
            (kind::SUCCEEDED, Fact::Succeeded { attempt: attempt(of)?, outputs: outputs(gave)?, timing })
        }
        Wire::Answered(pb::Answered { attempt: of, ends, score, queued_ms, ran_ms }) => {
            let (verdict, timing) = (Verdict { ends, score }, timing(queued_ms, ran_ms));
            (kind::ANSWERED, Fact::Answered { attempt: attempt(of)?, verdict, timing })
        }
        Wire::Failed(pb::Failed { attempt: of, error, retry_at, queued_ms, ran_ms, fallback, caught, asks }) => {
            let fact = Fact::Failed {
                attempt: attempt(of)?,
                error: node_error(error.ok_or("no error")?)?,
                retry_at: retry_at.map(Timestamp::from_millis),
                fallback: Some(provider(fallback)?).filter(|provider| provider.0 > 0),
                caught: outputs(caught)?,
                asks,
                timing: timing(queued_ms, ran_ms),
            };
            (kind::FAILED, fact)
        }
        Wire::Lost(pb::Lost { attempt: of, cause, failure, caught, asks }) => {
            let (failure, caught) = (failure.map(node_error).transpose()?, outputs(caught)?);
            (kind::LOST, Fact::Lost { attempt: attempt(of)?, cause: loss_cause(cause)?, failure, caught, asks })
        }
        Wire::HandedBack(it) => (kind::HANDED_BACK, Fact::HandedBack { attempts: attempts(it.attempts)? }),
        Wire::IntentRecorded(it) => (kind::INTENT_RECORDED, Fact::IntentRecorded { attempt: attempt(it.attempt)? }),
        Wire::HandleRecorded(it) => (
            kind::HANDLE_RECORDED,
            Fact::HandleRecorded { attempt: attempt(it.attempt)?, handle: value_ref(it.handle)?, cancels: it.cancels },
        ),
        Wire::ProviderCancelled(it) => (kind::PROVIDER_CANCELLED, jobs::ended_from_wire(it)?),
        Wire::TimerFired(it) => {
            (kind::TIMER_FIRED, Fact::TimerFired { instance: instance(it.instance)?, outputs: outputs(it.outputs)? })
        }
        Wire::ChildEnded(it) => (kind::CHILD_ENDED, Fact::ChildEnded(Box::new(children::ended_from_wire(it)?))),
        Wire::Reviewed(it) => (kind::REVIEWED, Fact::Reviewed(Box::new(reviews::from_wire(it)?))),
        Wire::Signalled(it) => (kind::SIGNALLED, Fact::Signalled(Box::new(listening::signalled_from_wire(it)?))),
        Wire::Called(it) => (kind::CALLED, Fact::Called(Box::new(listening::called_from_wire(it)?))),
        Wire::Paused(it) => {
            (kind::PAUSED, Fact::Paused { by: Subject(it.by.into()), reason: it.reason.map(Arc::from) })
        }
        Wire::Unpaused(it) => (kind::UNPAUSED, Fact::Unpaused { by: Subject(it.by.into()) }),
        Wire::Ended(it) => {
            let error = it.error.map(run_error).transpose()?;
            let by = it.by.map(|by| Subject(by.into()));
            (kind::ENDED, Fact::Ended { status: run_status(it.status)?, error, by, reason: it.reason.map(Arc::from) })
        }
        Wire::Stopped(it) => (kind::STOPPED, Fact::Stopped { attempts: attempts(it.attempts)? }),
        Wire::Discarded(it) => (kind::DISCARDED, Fact::Discarded { attempt: attempt(it.attempt)? }),
        Wire::Settled(it) => {
            (kind::SETTLED, Fact::Settled { attempt: attempt(it.attempt)?, outputs: outputs(it.outputs)? })
        }
    })
}

fn submitted(it: pb::Submitted) -> Part<Submitted> {
    let input = |it: pb::Input| Ok((NodeIx(it.node), value_ref(it.value)?));
    Ok(Submitted {
        tenant: TenantId(it.tenant.into()),
        subject: Subject(it.subject.into()),
        workflow: WorkflowId::from_bytes(&it.workflow).ok_or("a workflow's id")?,
        graph: digest(&it.graph)?,
        target: it.target.map(NodeIx),
        inputs: it.inputs.into_iter().map(input).collect::<Part<_>>()?,
        traceparent: it.traceparent.map(Arc::from),
        sandbox: it.sandbox,
        lineage: it.lineage.map(lineage::decode).transpose()?.map(Box::new),
        deadline: it.deadline_ms.map(Span::from_millis),
        invoked_by: it.invoked_by.map(children::invoked_by_from_wire).transpose()?,
    })
}

fn agent_boot(it: pb::AgentBoot) -> AgentBoot {
    AgentBoot { agent: AgentId(it.agent.into()), boot: BootId(it.boot) }
}

fn assignment(it: pb::Assignment, agents: &[AgentBoot]) -> Part<Assignment> {
    Ok(Assignment {
        attempt: attempt(it.attempt)?,
        to: agents.get(it.agent as usize).ok_or("an agent that is not listed")?.clone(),
        permit: permit_class(it.permit)?,
        alone: it.alone,
        provider: provider(it.provider)?,
    })
}

fn provider(it: u32) -> Part<ProviderIx> {
    u16::try_from(it).map(ProviderIx).map_err(|_| "a provider")
}

fn decision(it: pb::Decision) -> Part<Decision> {
    use pb::decision::Outcome;
    let (instance, caught) = (instance(it.instance)?, outputs(it.caught)?);
    if !caught.is_empty() && !matches!(it.outcome, Some(Outcome::Failed(_))) {
        return Err("a decision that did not fail and was caught");
    }
    Ok(match it.outcome.ok_or("a decision without outcome")? {
        Outcome::Completed(it) => Decision::Completed { instance, outputs: outputs(it.outputs)? },
        Outcome::WaitingUntil(until) => Decision::Waiting { instance, until: Timestamp::from_millis(until) },
        Outcome::Failed(error) => Decision::Failed { instance, error: node_error(error)?, caught },
        Outcome::Delegated(pb::Delegated {}) => Decision::Delegated { instance },
        Outcome::Reused(it) => Decision::Reused {
            instance,
            offer: Some(it.offer),
            source: lineage::decode_source(it.source)?,
            outputs: outputs(it.outputs)?,
        },
        Outcome::Recalled(it) => Decision::Reused {
            instance,
            offer: None,
            source: lineage::run_from(&it.run)?,
            outputs: outputs(it.outputs)?,
        },
        Outcome::Afresh(pb::Afresh {}) => Decision::Afresh { instance },
        Outcome::Stopped(it) => {
            Decision::Stopped { instance, status: run_status(it.status)?, message: it.message.into() }
        }
        Outcome::Asked(it) => Decision::Asked { instance, asked: Box::new(reviews::asked_from_wire(it)?) },
        Outcome::Listening(it) => {
            Decision::Listening { instance, until: it.until.map(Timestamp::from_millis), outputs: outputs(it.outputs)? }
        }
        Outcome::Took(it) => Decision::Took { instance, signal: EventSeq(it.signal), outputs: outputs(it.outputs)? },
        Outcome::Invoked(it) => Decision::Invoked { instance, invoked: Box::new(children::invoked_from_wire(it)?) },
        Outcome::Opened(it) => Decision::Opened { instance, opened: opened(it)? },
        Outcome::Gathered(pb::Gathered { chunk, results, errors }) => Decision::Gathered {
            instance,
            chunk,
            results: results.into_iter().map(list_chunk).collect::<Part<_>>()?,
            errors: errors.map(list_chunk).transpose()?,
        },
    })
}

fn opened(it: pb::Opened) -> Part<Opened> {
    let item = |it: pb::Item| it.given.into_iter().map(given).collect::<Part<Vec<_>>>();
    let items = it.items.into_iter().map(item).collect::<Part<_>>()?;
    Ok(Opened { count: it.count, index: it.index, scope: ScopeIx(it.scope), items, score: it.score })
}

fn given(it: pb::Given) -> Part<OutputValue> {
    use pb::given::Value;
    Ok(match it.value.ok_or("an item without value")? {
        Value::One(it) => OutputValue::One(value_ref(Some(it))?),
        Value::List(it) => OutputValue::List(value_ref(Some(it))?),
        Value::Gather(it) => OutputValue::Gather(gather(it)?),
        Value::Pieces(it) => OutputValue::Pieces(pieces(it)?),
        Value::Closed(pb::Closed {}) => OutputValue::Closed,
    })
}

pub(super) fn outputs(outputs: Vec<pb::PortOutput>) -> Part<Vec<PortOutput>> {
    use pb::port_output::Value;
    let output = |it: pb::PortOutput| {
        let value = match it.value.ok_or("an output without value")? {
            Value::One(it) => OutputValue::One(value_ref(Some(it))?),
            Value::List(it) => OutputValue::List(value_ref(Some(it))?),
            Value::Gather(it) => OutputValue::Gather(gather(it)?),
            Value::Pieces(it) => OutputValue::Pieces(pieces(it)?),
            Value::Closed(pb::Closed {}) => OutputValue::Closed,
        };
        Ok(PortOutput { port: PortIx(u16::try_from(it.port).map_err(|_| "a port")?), value })
    };
    outputs.into_iter().map(output).collect()
}

fn gather(it: pb::Gather) -> Part<Vec<ValueRef>> {
    it.items.into_iter().map(|it| value_ref(Some(it))).collect()
}

fn pieces(it: pb::Pieces) -> Part<Vec<Piece>> {
    use pb::piece::Kind;
    let piece = |it: pb::Piece| match it.kind.ok_or("a piece of nothing")? {
        Kind::Item(it) => value_ref(Some(it)).map(Piece::Item),
        Kind::Chunk(it) => list_chunk(it).map(Piece::Chunk),
        Kind::List(it) => value_ref(Some(it)).map(Piece::List),
    };
    it.pieces.into_iter().map(piece).collect()
}

fn list_chunk(it: pb::ListChunk) -> Part<ListChunk> {
    Ok(ListChunk { reference: value_ref(it.reference)?, items: it.items })
}

pub(super) fn value_ref(it: Option<pb::ValueRef>) -> Part<ValueRef> {
    let it = it.ok_or("no reference to a value")?;
    let pb::ValueRef { seq, place, bytes, is_array, .. } = it;
    Ok(ValueRef { seq: EventSeq(seq), place, bytes, digest: digest(&it.digest)?, is_array })
}

pub(super) fn digest(bytes: &[u8]) -> Part<Digest> {
    bytes.try_into().map(Digest).map_err(|_| "a digest")
}

pub(super) fn instance(it: Option<pb::Instance>) -> Part<Instance> {
    let it = it.ok_or("no instance")?;
    Ok(Instance { node: NodeIx(it.node), scope: ScopeIx(it.scope), generation: Generation(it.generation) })
}

fn attempt(it: Option<pb::Attempt>) -> Part<Attempt> {
    let pb::Attempt { node, scope, generation, number, token } = it.ok_or("no attempt")?;
    Ok(Attempt {
        instance: Instance { node: NodeIx(node), scope: ScopeIx(scope), generation: Generation(generation) },
        number: AttemptNumber(number),
        token: AttemptToken(token),
    })
}

fn attempts(attempts: Vec<pb::Attempt>) -> Part<Vec<Attempt>> {
    attempts.into_iter().map(|it| attempt(Some(it))).collect()
}

fn timing(queued_ms: u64, ran_ms: u64) -> Timing {
    Timing { queued: Span::from_millis(queued_ms), ran: Span::from_millis(ran_ms) }
}

pub(super) fn node_error(it: pb::NodeError) -> Part<NodeError> {
    let class = error_class(it.class)?.ok_or("no error class")?;
    Ok(NodeError { class, code: it.code.into(), message: it.message.into() })
}

fn run_error(it: pb::RunError) -> Part<RunError> {
    Ok(RunError {
        code: it.code.into(),
        message: it.message.into(),
        node: it.node.map(NodeIx),
        class: error_class(it.class)?,
        attempts: it.attempts,
    })
}

fn run_status(number: i32) -> Part<RunStatus> {
    match pb::RunStatus::try_from(number) {
        Ok(pb::RunStatus::Running) => Ok(RunStatus::Running),
        Ok(pb::RunStatus::Completed) => Ok(RunStatus::Completed),
        Ok(pb::RunStatus::Failed) => Ok(RunStatus::Failed),
        Ok(pb::RunStatus::Cancelled) => Ok(RunStatus::Cancelled),
        Ok(pb::RunStatus::Unspecified) | Err(_) => Err("a run's status"),
    }
}

fn permit_class(number: i32) -> Part<PermitClass> {
    match pb::PermitClass::try_from(number) {
        Ok(pb::PermitClass::Slot) => Ok(PermitClass::Slot),
        Ok(pb::PermitClass::Prefetch) => Ok(PermitClass::Prefetch),
        Ok(pb::PermitClass::Unspecified) | Err(_) => Err("a permit's class"),
    }
}

fn loss_cause(number: i32) -> Part<LossCause> {
    match pb::LossCause::try_from(number) {
        Ok(pb::LossCause::NewBoot) => Ok(LossCause::NewBoot),
        Ok(pb::LossCause::StreamGone) => Ok(LossCause::StreamGone),
        Ok(pb::LossCause::Goodbye) => Ok(LossCause::Goodbye),
        Ok(pb::LossCause::NotHeld) => Ok(LossCause::NotHeld),
        Ok(pb::LossCause::Unspecified) | Err(_) => Err("the cause of a loss"),
    }
}

fn error_class(number: i32) -> Part<Option<ErrorClass>> {
    Ok(match pb::ErrorClass::try_from(number).map_err(|_| "an error's class")? {
        pb::ErrorClass::Unspecified => None,
        pb::ErrorClass::Retryable => Some(ErrorClass::Retryable),
        pb::ErrorClass::RateLimited => Some(ErrorClass::RateLimited),
        pb::ErrorClass::InvalidRequest => Some(ErrorClass::InvalidRequest),
        pb::ErrorClass::Auth => Some(ErrorClass::Auth),
        pb::ErrorClass::ContentPolicy => Some(ErrorClass::ContentPolicy),
        pb::ErrorClass::Timeout => Some(ErrorClass::Timeout),
        pb::ErrorClass::Cancelled => Some(ErrorClass::Cancelled),
        pb::ErrorClass::Internal => Some(ErrorClass::Internal),
        pb::ErrorClass::UnknownOutcome => Some(ErrorClass::UnknownOutcome),
        pb::ErrorClass::Poison => Some(ErrorClass::Poison),
    })
}
