//! Random events, of every kind and with every field.

use std::sync::Arc;

use bytes::Bytes;
use heddle_core::id::{
    AgentBoot, AgentId, AttemptNumber, AttemptToken, BootId, EventSeq, Generation, Instance, NodeIx, PortIx,
    ProviderIx, ReviewIx, RunId, ScopeIx, Subject, TenantId, WorkflowId,
};
use heddle_core::run::event::{
    Asked, Assignment, Attempt, Called, ChildEnded, ChildOutcome, Decision, ErrorClass, Event, Fact, Invoked,
    InvokedBy, ListChunk, LossCause, NodeError, Opened, OutputValue, PermitClass, Piece, PortOutput, RequestKey,
    ReviewKind, ReviewOutcome, ReviewVerdict, Reviewed, RunError, Signalled, Submitted, Timing, Verdict,
};
use heddle_core::run::lineage::{Edited, Forced, Lineage, Offer, Source};
use heddle_core::run::{JobEnd, RunStatus};
use heddle_core::time::{Span, Timestamp};
use heddle_core::value::{Artifact, Digest, Value, ValueRef};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Any event; its `seq` and `at` are random too.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    let follows = (vec(decision(), 0..4), vec(assignment(), 0..6), vec(value(), 0..4));
    (any::<u64>(), any::<i64>(), fact(), follows).prop_map(|(seq, at, fact, (decisions, assignments, values))| Event {
        seq: EventSeq(seq),
        at: Timestamp::from_millis(at),
        fact,
        decisions,
        assignments,
        values,
    })
}

/// The same, also of what comes from outside: apart from it, so that what is drawn for other tests stays as it is.
pub(crate) fn event_of_any_kind() -> impl Strategy<Value = Event> {
    let heard = (event(), heard(), vec(listening(), 0..4)).prop_map(|(event, fact, decisions)| Event {
        fact,
        decisions,
        ..event
    });
    prop_oneof![3 => event(), 1 => heard]
}

fn heard() -> impl Strategy<Value = Fact> {
    prop_oneof![
        (text(), text(), value_ref(), option::of(instance()), outputs(), option::of(request_key())).prop_map(
            |(name, by, body, to, outputs, key)| {
                Fact::Signalled(Box::new(Signalled { name, by: Subject(by), body, to, outputs, key }))
            }
        ),
        (instance(), outputs(), option::of(request_key()))
            .prop_map(|(instance, outputs, key)| Fact::Called(Box::new(Called { instance, outputs, key }))),
        child_ended().prop_map(|it| Fact::ChildEnded(Box::new(it))),
        (text(), option::of(text())).prop_map(|(by, reason)| Fact::Paused { by: Subject(by), reason }),
        text().prop_map(|by| Fact::Unpaused { by: Subject(by) }),
    ]
}

fn listening() -> impl Strategy<Value = Decision> {
    prop_oneof![
        (instance(), option::of(timestamp()), outputs()).prop_map(|(instance, until, outputs)| Decision::Listening {
            instance,
            until,
            outputs
        }),
        (instance(), any::<u64>(), outputs()).prop_map(|(instance, signal, outputs)| Decision::Took {
            instance,
            signal: EventSeq(signal),
            outputs
        }),
        (instance(), any::<u128>(), vec(any::<u32>(), 0..3), outputs()).prop_map(|(instance, child, index, inputs)| {
            Decision::Invoked { instance, invoked: Box::new(Invoked { child: RunId(child), index, inputs }) }
        }),
    ]
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        submitted().prop_map(|it| Fact::Submitted(Box::new(it))),
        Just(Fact::Continued),
        vec(offer(), 0..4).prop_map(|offers| Fact::Offered { offers }),
        (attempt(), outputs(), timing()).prop_map(|(attempt, outputs, timing)| Fact::Succeeded {
            attempt,
            outputs,
            timing
        }),
        (
            attempt(),
            node_error(),
            option::of(timestamp()),
            option::of(1..=u16::MAX),
            outputs(),
            timing(),
            any::<bool>()
        )
            .prop_map(|(attempt, error, retry_at, fallback, caught, timing, asks)| Fact::Failed {
                attempt,
                error,
                retry_at,
                fallback: fallback.map(ProviderIx),
                caught,
                asks,
                timing
            }),
        (attempt(), loss_cause(), option::of(node_error()), outputs(), any::<bool>())
            .prop_map(|(attempt, cause, failure, caught, asks)| Fact::Lost { attempt, cause, failure, caught, asks }),
        reviewed().prop_map(|it| Fact::Reviewed(Box::new(it))),
        vec(attempt(), 0..5).prop_map(|attempts| Fact::HandedBack { attempts }),
        attempt().prop_map(|attempt| Fact::IntentRecorded { attempt }),
        (attempt(), value_ref(), option::of(any::<bool>()))
            .prop_map(|(attempt, handle, cancels)| Fact::HandleRecorded { attempt, handle, cancels }),
        (attempt(), job_end()).prop_map(|(attempt, end)| Fact::ProviderCancelled { job: (&attempt).into(), end }),
        (instance(), outputs()).prop_map(|(instance, outputs)| Fact::TimerFired { instance, outputs }),
        (run_status(), option::of(run_error()), option::of(text()), option::of(text()))
            .prop_map(|(status, error, by, reason)| Fact::Ended { status, error, by: by.map(Subject), reason }),
        vec(attempt(), 0..5).prop_map(|attempts| Fact::Stopped { attempts }),
        attempt().prop_map(|attempt| Fact::Discarded { attempt }),
        (attempt(), outputs()).prop_map(|(attempt, outputs)| Fact::Settled { attempt, outputs }),
        (attempt(), any::<bool>(), option::of(any::<u32>()), timing()).prop_map(|(attempt, ends, score, timing)| {
            Fact::Answered { attempt, verdict: Verdict { ends, score: score.map(f64::from) }, timing }
        }),
    ]
}

fn job_end() -> impl Strategy<Value = JobEnd> {
    prop_oneof![
        Just(JobEnd::Cancelled),
        Just(JobEnd::Over),
        Just(JobEnd::Unsupported),
        node_error().prop_map(JobEnd::Failed)
    ]
}

fn submitted() -> impl Strategy<Value = Submitted> {
    let inputs = vec((any::<u32>().prop_map(NodeIx), value_ref()), 0..4);
    let target = option::of(any::<u32>().prop_map(NodeIx));
    let deadline = option::of(any::<u64>().prop_map(Span::from_millis));
    let lineage = option::of(lineage().prop_map(Box::new));
    let origin = (option::of(text()), any::<bool>(), lineage, deadline, option::of(invoked_by()));
    (text(), text(), any::<u128>(), any::<[u8; 32]>(), target, inputs, origin).prop_map(
        |(tenant, subject, workflow, graph, target, inputs, origin)| {
            let (traceparent, sandbox, lineage, deadline, invoked_by) = origin;
            Submitted {
                tenant: TenantId(tenant),
                subject: Subject(subject),
                workflow: WorkflowId(workflow),
                graph: Digest(graph),
                target,
                inputs,
                traceparent,
                sandbox,
                lineage,
                deadline,
                invoked_by,
            }
        },
    )
}

fn lineage() -> impl Strategy<Value = Lineage> {
    let nodes = || vec(any::<u32>().prop_map(NodeIx), 0..3);
    let forced = (any::<u32>(), vec(any::<u32>(), 0..3));
    let forced = vec(forced.prop_map(|(node, index)| Forced { node: NodeIx(node), index }), 0..3);
    let edited =
        (any::<u32>(), any::<u16>()).prop_map(|(node, port)| Edited { node: NodeIx(node), port: PortIx(port) });
    let run = || option::of(any::<u128>().prop_map(RunId));
    let from = option::of(any::<u32>().prop_map(NodeIx));
    (
        (run(), run(), any::<bool>(), any::<bool>()),
        from,
        nodes(),
        forced,
        vec(edited, 0..3),
        nodes(),
        (any::<u32>(), vec(text(), 0..3)),
    )
        .prop_map(|((parent, root, rerun, fresh), from, ends, forced, edits, trusted, (offered, subjects))| {
            Lineage {
                parent,
                root,
                rerun,
                from,
                ends,
                forced,
                edits,
                trusted,
                offered,
                fresh,
                subjects: subjects.into_iter().map(Subject).collect(),
            }
        })
}

fn offer() -> impl Strategy<Value = Offer> {
    (any::<u32>(), vec(any::<u32>(), 0..3), any::<[u8; 32]>(), source(), outputs()).prop_map(
        |(node, index, key, source, outputs)| Offer { node: NodeIx(node), index, key: Digest(key), source, outputs },
    )
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![any::<u128>().prop_map(|run| Source::Run(RunId(run))), Just(Source::Edit), Just(Source::Request)]
}

fn decision() -> impl Strategy<Value = Decision> {
    prop_oneof![
        (instance(), outputs()).prop_map(|(instance, outputs)| Decision::Completed { instance, outputs }),
        (instance(), timestamp()).prop_map(|(instance, until)| Decision::Waiting { instance, until }),
        (instance(), node_error(), outputs()).prop_map(|(instance, error, caught)| Decision::Failed {
            instance,
            error,
            caught
        }),
        instance().prop_map(|instance| Decision::Delegated { instance }),
        instance().prop_map(|instance| Decision::Afresh { instance }),
        (instance(), any::<u32>(), source(), outputs()).prop_map(|(instance, offer, source, outputs)| {
            Decision::Reused { instance, offer: Some(offer), source, outputs }
        }),
        (instance(), any::<u128>(), outputs()).prop_map(|(instance, run, outputs)| Decision::Reused {
            instance,
            offer: None,
            source: Source::Run(RunId(run)),
            outputs
        }),
        (instance(), run_status(), text()).prop_map(|(instance, status, message)| Decision::Stopped {
            instance,
            status,
            message
        }),
        (instance(), asked()).prop_map(|(instance, asked)| Decision::Asked { instance, asked: Box::new(asked) }),
        (instance(), opened()).prop_map(|(instance, opened)| Decision::Opened { instance, opened }),
        (instance(), any::<u32>(), vec(list_chunk(), 0..3), option::of(list_chunk()))
            .prop_map(|(instance, chunk, results, errors)| Decision::Gathered { instance, chunk, results, errors }),
    ]
}

fn invoked_by() -> impl Strategy<Value = InvokedBy> {
    (any::<u128>(), instance(), text(), vec(any::<u32>(), 0..3), any::<u32>())
        .prop_map(|(run, instance, node, index, depth)| InvokedBy { run: RunId(run), instance, node, index, depth })
}

fn child_ended() -> impl Strategy<Value = ChildEnded> {
    let outcome = prop_oneof![
        outputs().prop_map(ChildOutcome::Gave),
        (node_error(), outputs()).prop_map(|(error, caught)| ChildOutcome::Failed { error, caught }),
    ];
    (instance(), any::<u128>(), outcome).prop_map(|(instance, child, outcome)| ChildEnded {
        instance,
        child: RunId(child),
        outcome,
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let kind =
        prop::sample::select(vec![ReviewKind::Value, ReviewKind::Before, ReviewKind::After, ReviewKind::Outcome]);
    (any::<u32>(), kind, outputs(), option::of(timestamp()), option::of(node_error())).prop_map(
        |(review, kind, values, due_at, error)| Asked { review: ReviewIx(review), kind, values, due_at, error },
    )
}

fn reviewed() -> impl Strategy<Value = Reviewed> {
    let verdict = prop::sample::select(vec![
        ReviewVerdict::Approve,
        ReviewVerdict::Reject,
        ReviewVerdict::Retry,
        ReviewVerdict::Fail,
        ReviewVerdict::Escalate,
    ]);
    let outcome = prop_oneof![
        option::of(timestamp()).prop_map(|due_at| ReviewOutcome::Open { due_at }),
        Just(ReviewOutcome::Begins),
        outputs().prop_map(ReviewOutcome::Gave),
        (node_error(), outputs()).prop_map(|(error, caught)| ReviewOutcome::Failed { error, caught }),
        instance().prop_map(|instance| ReviewOutcome::Again { instance }),
    ];
    let said = (option::of(text()), verdict, option::of(text()), outputs(), option::of(value_ref()));
    (any::<u32>(), instance(), said, outcome).prop_map(
        |(review, instance, (by, verdict, comment, edit, config), outcome)| Reviewed {
            review: ReviewIx(review),
            instance,
            by: by.map(Subject),
            verdict,
            comment,
            edit,
            config,
            outcome,
        },
    )
}

fn request_key() -> impl Strategy<Value = RequestKey> {
    (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(key, body)| RequestKey { key: Digest(key), body: Digest(body) })
}

fn opened() -> impl Strategy<Value = Opened> {
    let items = vec(vec(output_value(), 0..3), 0..3);
    let numbers = (any::<u32>(), any::<u32>(), any::<u32>());
    (numbers, items, option::of(-1e9..1e9)).prop_map(|((count, index, scope), items, score)| Opened {
        count,
        index,
        scope: ScopeIx(scope),
        items,
        score,
    })
}

fn list_chunk() -> impl Strategy<Value = ListChunk> {
    (value_ref(), any::<u32>()).prop_map(|(reference, items)| ListChunk { reference, items })
}

fn assignment() -> impl Strategy<Value = Assignment> {
    // Few agents, so that some are named more than once.
    let to = (0..3u64, 0..2u64)
        .prop_map(|(agent, boot)| AgentBoot { agent: AgentId(format!("agt_{agent}").into()), boot: BootId(boot) });
    (attempt(), to, prop_oneof![Just(PermitClass::Slot), Just(PermitClass::Prefetch)], any::<bool>(), any::<u16>())
        .prop_map(|(attempt, to, permit, alone, provider)| Assignment {
            attempt,
            to,
            permit,
            alone,
            provider: ProviderIx(provider),
        })
}

fn attempt() -> impl Strategy<Value = Attempt> {
    (instance(), any::<u32>(), any::<u64>()).prop_map(|(instance, number, token)| Attempt {
        instance,
        number: AttemptNumber(number),
        token: AttemptToken(token),
    })
}

fn instance() -> impl Strategy<Value = Instance> {
    (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(node, scope, generation)| Instance {
        node: NodeIx(node),
        scope: ScopeIx(scope),
        generation: Generation(generation),
    })
}

fn outputs() -> impl Strategy<Value = Vec<PortOutput>> {
    vec((any::<u16>(), output_value()).prop_map(|(port, value)| PortOutput { port: PortIx(port), value }), 0..4)
}

fn output_value() -> impl Strategy<Value = OutputValue> {
    let piece = prop_oneof![
        value_ref().prop_map(Piece::Item),
        list_chunk().prop_map(Piece::Chunk),
        value_ref().prop_map(Piece::List),
    ];
    prop_oneof![
        value_ref().prop_map(OutputValue::One),
        value_ref().prop_map(OutputValue::List),
        vec(value_ref(), 0..3).prop_map(OutputValue::Gather),
        vec(piece, 0..3).prop_map(OutputValue::Pieces),
        Just(OutputValue::Closed),
    ]
}

fn value_ref() -> impl Strategy<Value = ValueRef> {
    (any::<u64>(), any::<u32>(), any::<u32>(), any::<[u8; 32]>(), any::<bool>()).prop_map(
        |(seq, place, bytes, digest, is_array)| ValueRef {
            is_array,
            seq: EventSeq(seq),
            place,
            bytes,
            digest: Digest(digest),
        },
    )
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => vec(any::<u8>(), 0..40).prop_map(|json| Value::from_json(Bytes::from(json))),
        1 => artifact().prop_map(Value::from_artifact),
    ]
}

/// One of a few, so that runs share them; what it is follows from its digest, as in life.
pub(crate) fn artifact() -> impl Strategy<Value = Artifact> {
    (0..5u8, any::<bool>()).prop_map(|(number, is_json)| Artifact {
        digest: Digest([number; 32]),
        bytes: 1_000_000 * u64::from(number),
        media_type: format!("image/x-{number}").into(),
        is_json,
    })
}

fn node_error() -> impl Strategy<Value = NodeError> {
    (error_class(), text(), text()).prop_map(|(class, code, message)| NodeError { class, code, message })
}

fn run_error() -> impl Strategy<Value = RunError> {
    let node = option::of(any::<u32>().prop_map(NodeIx));
    (text(), text(), node, option::of(error_class()), any::<u32>())
        .prop_map(|(code, message, node, class, attempts)| RunError { code, message, node, class, attempts })
}

fn error_class() -> impl Strategy<Value = ErrorClass> {
    prop::sample::select(vec![
        ErrorClass::Retryable,
        ErrorClass::RateLimited,
        ErrorClass::InvalidRequest,
        ErrorClass::Auth,
        ErrorClass::ContentPolicy,
        ErrorClass::Timeout,
        ErrorClass::Cancelled,
        ErrorClass::Internal,
        ErrorClass::UnknownOutcome,
        ErrorClass::Poison,
    ])
}

fn loss_cause() -> impl Strategy<Value = LossCause> {
    prop::sample::select(vec![LossCause::NewBoot, LossCause::StreamGone, LossCause::Goodbye, LossCause::NotHeld])
}

fn run_status() -> impl Strategy<Value = RunStatus> {
    prop::sample::select(vec![RunStatus::Running, RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled])
}

fn timing() -> impl Strategy<Value = Timing> {
    (any::<u64>(), any::<u64>())
        .prop_map(|(queued, ran)| Timing { queued: Span::from_millis(queued), ran: Span::from_millis(ran) })
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn text() -> impl Strategy<Value = Arc<str>> {
    "[ -~äß→]{0,12}".prop_map(Arc::from)
}
