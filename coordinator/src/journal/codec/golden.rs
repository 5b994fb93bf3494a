//! The format itself, as bytes: these never change (E28). A test that fails here says that old journals cannot be read.

use bytes::Bytes;
use heddle_core::id::{
    AgentBoot, AttemptNumber, AttemptToken, BootId, EventSeq, Generation, Instance, NodeIx, PortIx, ProviderIx,
    ReviewIx, RunId, ScopeIx, WorkflowId,
};
use heddle_core::run::event::{
    Asked, Assignment, Attempt, Called, ChildEnded, ChildOutcome, Decision, ErrorClass, Event, Fact, Invoked,
    InvokedBy, ListChunk, LossCause, NodeError, Opened, OutputValue, PermitClass, Piece, PortOutput, RequestKey,
    ReviewKind, ReviewOutcome, ReviewVerdict, Reviewed, RunError, Signalled, Submitted, Timing, Verdict,
};
use heddle_core::run::lineage::{Edited, Forced, Lineage, Offer, Source};
use heddle_core::run::{JobEnd, JobKey, RunStatus};
use heddle_core::time::{Span, Timestamp};
use heddle_core::value::{Digest, Value, ValueRef};
use proptest::prelude::*;

use super::{DecodeError, decode, decode_body, decode_run_error, encode, encode_run_error, random};

const RUN: RunId = RunId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

proptest! {
    #[test]
    fn a_row_gives_its_event_back(run in any::<u128>(), event in random::event_of_any_kind()) {
        let mut row = encode(RunId(run), &event);
        prop_assert_eq!(&decode(&row).unwrap(), &event);
        row.body = None;
        prop_assert_eq!(decode(&row).unwrap(), Event { values: Vec::new(), ..event });
    }

    #[test]
    fn a_changed_byte_is_noticed(event in random::event_of_any_kind(), place in any::<prop::sample::Index>(), bit in 0..8u32) {
        let mut row = encode(RUN, &event);
        let mut bytes = row.head.to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= 1u8 << bit;
        row.head = bytes.into();
        prop_assert_eq!(decode(&row), Err(DecodeError::Checksum { run: RUN, seq: event.seq }));
    }
}

#[test]
fn each_kind_keeps_its_bytes() {
    let more =
        [full(), stopping(), falling_back(), caught(), caught_loss(), scopes(), delegated(), reused(), recalled()];
    let late = reviews().into_iter().chain(listening()).chain(operated().map(plain)).chain(children());
    let late = late.chain(jobs().map(plain));
    let events = facts().into_iter().map(plain).chain(more).chain(late);
    let written: String = events.map(|event| line(&event)).collect();
    assert_eq!(written, include_str!("golden.txt"), "the bytes of a row have changed:\n{written}");
}

#[test]
fn a_body_gives_single_values() {
    let event = full();
    let row = encode(RUN, &event);
    let reference = |place| ValueRef { place, digest: event.values[1].digest(), ..value_ref() };
    let body = decode_body(&row).unwrap();
    assert_eq!(
        [0, 1].map(|place| body.value(&reference(place)).unwrap().json().clone()),
        [0, 1].map(|place: usize| event.values[place].json().clone())
    );
    assert_eq!(body.value(&reference(1)), Some(event.values[1].clone()));
    assert_eq!(body.value(&reference(2)), None);
    let changed = super::Row { body: Some(Bytes::from_static(b"\x0a\x01x")), ..row };
    assert_eq!(decode_body(&changed).unwrap_err(), DecodeError::Checksum { run: RUN, seq: EventSeq(7) });
}

#[test]
fn what_a_newer_release_wrote_is_refused_by_name() {
    let seal = |mut row: super::Row| {
        let (head, all) = super::checksums(&row);
        row.crc = u64::from(head) << 32 | u64::from(all);
        row
    };
    let row = encode(RUN, &plain(Fact::Continued));
    let (run, seq) = (RUN, EventSeq(7));
    let kind = seal(super::Row { kind: 19, ..row.clone() });
    assert_eq!(decode(&kind), Err(DecodeError::UnknownKind { run, seq, kind: 19 }));
    let version = seal(super::Row { version: 2, ..row.clone() });
    assert_eq!(decode(&version), Err(DecodeError::UnknownVersion { run, seq, kind: 2, version: 2 }));
    let field = seal(super::Row { head: [&row.head[..], b"\xa2\x06\x01x"].concat().into(), ..row.clone() });
    assert_eq!(decode(&field), Err(DecodeError::Malformed { run, seq, what: "a field that is not known" }));
    let other = seal(super::Row { kind: 3, ..row });
    assert_eq!(decode(&other), Err(DecodeError::Malformed { run, seq, what: "its kind is not that of its head" }));
}

#[test]
fn the_reason_of_an_end_survives() {
    let error = run_error();
    assert_eq!(decode_run_error(&encode_run_error(&error)), Some(error));
    assert_eq!(decode_run_error(b"\xff"), None);
}

fn line(event: &Event) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let row = encode(RUN, event);
    let body = hex(row.body.as_deref().unwrap());
    format!("{} {} {:016x} {} [{body}]\n", row.kind, row.version, row.crc, hex(&row.head))
}

fn plain(fact: Fact) -> Event {
    Event {
        seq: EventSeq(7),
        at: Timestamp::from_millis(1_700_000_000_123),
        fact,
        decisions: Vec::new(),
        assignments: Vec::new(),
        values: Vec::new(),
    }
}

fn full() -> Event {
    let given = |agent: &str, permit| Assignment {
        attempt: attempt(),
        to: AgentBoot { agent: agent.into(), boot: BootId(9) },
        permit,
        alone: permit == PermitClass::Slot,
        provider: ProviderIx(0),
    };
    Event {
        decisions: vec![
            Decision::Completed { instance: instance(), outputs: outputs() },
            Decision::Waiting { instance: instance(), until: Timestamp::from_millis(5) },
            Decision::Failed { instance: instance(), error: node_error(), caught: Vec::new() },
        ],
        assignments: vec![
            given("agt_a", PermitClass::Slot),
            given("agt_b", PermitClass::Prefetch),
            given("agt_a", PermitClass::Prefetch),
        ],
        values: vec![Value::from_json(Bytes::from_static(b"{}")), Value::from_json(Bytes::from_static(b"\"x\""))],
        ..plain(Fact::Continued)
    }
}

fn stopping() -> Event {
    let stopped = Decision::Stopped { instance: instance(), status: RunStatus::Cancelled, message: "enough".into() };
    Event { decisions: vec![stopped], ..plain(Fact::Continued) }
}

fn falling_back() -> Event {
    let assignment = Assignment {
        attempt: attempt(),
        to: AgentBoot { agent: "agt_a".into(), boot: BootId(9) },
        permit: PermitClass::Slot,
        alone: false,
        provider: ProviderIx(2),
    };
    let (error, timing) = (node_error(), Timing::default());
    let fallback = Some(ProviderIx(2));
    let (caught, asks) = (Vec::new(), false);
    let fact = Fact::Failed { attempt: attempt(), error, retry_at: None, fallback, caught, asks, timing };
    Event { assignments: vec![assignment], ..plain(fact) }
}

fn caught() -> Event {
    let decided = Decision::Failed { instance: instance(), error: node_error(), caught: outputs() };
    let (error, timing) = (node_error(), Timing::default());
    let (retry_at, fallback, caught, asks) = (None, None, outputs(), false);
    let fact = Fact::Failed { attempt: attempt(), error, retry_at, fallback, caught, asks, timing };
    Event { decisions: vec![decided], ..plain(fact) }
}

fn caught_loss() -> Event {
    let (cause, failure) = (LossCause::NewBoot, Some(node_error()));
    plain(Fact::Lost { attempt: attempt(), cause, failure, caught: outputs(), asks: false })
}

fn scopes() -> Event {
    let chunk = ListChunk { reference: value_ref(), items: 512 };
    let pieces = OutputValue::Pieces(vec![Piece::Item(value_ref()), Piece::Chunk(chunk)]);
    let one = vec![OutputValue::One(value_ref()), OutputValue::Gather(vec![value_ref()])];
    let other = vec![pieces.clone(), OutputValue::Closed];
    let opened = Opened { count: 9, index: 3, scope: ScopeIx(4), items: vec![one, other], score: Some(0.0) };
    Event {
        decisions: vec![
            Decision::Opened { instance: instance(), opened },
            Decision::Gathered { instance: instance(), chunk: 0, results: vec![chunk], errors: Some(chunk) },
            Decision::Gathered { instance: instance(), chunk: 1, results: Vec::new(), errors: None },
            Decision::Completed {
                instance: Instance { scope: ScopeIx(4), ..instance() },
                outputs: vec![PortOutput { port: PortIx(2), value: pieces }],
            },
        ],
        ..plain(Fact::Continued)
    }
}

fn delegated() -> Event {
    Event { decisions: vec![Decision::Delegated { instance: instance() }], ..plain(Fact::Continued) }
}

fn reused() -> Event {
    let decided = |source| Decision::Reused { instance: instance(), offer: Some(3), source, outputs: outputs() };
    let afresh = Decision::Afresh { instance: instance() };
    Event { decisions: vec![decided(Source::Run(RUN)), decided(Source::Edit), afresh], ..plain(Fact::Continued) }
}

fn recalled() -> Event {
    let source = Source::Run(RUN);
    let recalled = Decision::Reused { instance: instance(), offer: None, source, outputs: outputs() };
    Event { decisions: vec![recalled], ..plain(Fact::Continued) }
}

fn lineage() -> Lineage {
    Lineage {
        parent: Some(RUN),
        root: Some(RunId(9)),
        rerun: true,
        from: Some(NodeIx(0)),
        ends: vec![NodeIx(4), NodeIx(300)],
        forced: vec![Forced { node: NodeIx(0), index: vec![17, 0] }],
        edits: vec![Edited { node: NodeIx(2), port: PortIx(1) }],
        trusted: vec![NodeIx(2)],
        offered: 1,
        fresh: false,
        subjects: Vec::new(),
    }
}

fn offer(source: Source) -> Offer {
    Offer { node: NodeIx(3), index: vec![0, 9], key: Digest([7; 32]), source, outputs: outputs() }
}

fn reviews() -> Vec<Event> {
    let asked = |kind| Asked {
        review: ReviewIx(1),
        kind,
        values: outputs(),
        due_at: Some(Timestamp::from_millis(0)),
        error: Some(node_error()),
    };
    let kinds = [ReviewKind::Value, ReviewKind::Before, ReviewKind::After, ReviewKind::Outcome];
    let decisions = kinds.map(|kind| Decision::Asked { instance: instance(), asked: Box::new(asked(kind)) });
    let attempt = attempt();
    let outcomes = [
        (ReviewVerdict::Escalate, ReviewOutcome::Open { due_at: Some(Timestamp::from_millis(5)) }),
        (ReviewVerdict::Approve, ReviewOutcome::Begins),
        (ReviewVerdict::Approve, ReviewOutcome::Gave(outputs())),
        (ReviewVerdict::Reject, ReviewOutcome::Failed { error: node_error(), caught: outputs() }),
        (ReviewVerdict::Retry, ReviewOutcome::Again { instance: instance() }),
        (ReviewVerdict::Fail, ReviewOutcome::Failed { error: node_error(), caught: Vec::new() }),
    ];
    let reviewed = outcomes.map(|(verdict, outcome)| {
        let by = matches!(outcome, ReviewOutcome::Gave(_)).then(|| "key_1".into());
        let is_retry = verdict == ReviewVerdict::Retry;
        Fact::Reviewed(Box::new(Reviewed {
            review: ReviewIx(1),
            instance: instance(),
            comment: by.is_some().then(|| "good".into()),
            edit: if by.is_some() { outputs() } else { Vec::new() },
            by,
            verdict,
            config: is_retry.then(value_ref),
            outcome,
        }))
    });
    let (error, timing) = (node_error(), Timing::default());
    let (retry_at, fallback, caught, asks) = (None, None, Vec::new(), true);
    let failed = Fact::Failed { attempt, error, retry_at, fallback, caught, asks, timing };
    let (cause, failure, caught) = (LossCause::StreamGone, Some(node_error()), Vec::new());
    let lost = Fact::Lost { attempt, cause, failure, caught, asks };
    let asked = Event { decisions: decisions.to_vec(), ..plain(Fact::Continued) };
    [asked].into_iter().chain(reviewed.map(plain)).chain([failed, lost].map(plain)).collect()
}

fn listening() -> Vec<Event> {
    let key = Some(RequestKey { key: Digest([2; 32]), body: Digest([3; 32]) });
    let signalled = |to, outputs, key| {
        let (name, by, body) = ("go".into(), "key_1".into(), value_ref());
        Fact::Signalled(Box::new(Signalled { name, by, body, to, outputs, key }))
    };
    let called = |key| Fact::Called(Box::new(Called { instance: instance(), outputs: outputs(), key }));
    let decisions = vec![
        Decision::Listening { instance: instance(), until: Some(Timestamp::from_millis(0)), outputs: Vec::new() },
        Decision::Listening { instance: instance(), until: None, outputs: outputs() },
        Decision::Took { instance: instance(), signal: EventSeq(5), outputs: outputs() },
    ];
    let facts =
        [signalled(None, Vec::new(), None), signalled(Some(instance()), outputs(), key), called(None), called(key)];
    let decided = Event { decisions, ..plain(Fact::Continued) };
    facts.map(plain).into_iter().chain([decided]).collect()
}

/// How a run begins.
fn submitted() -> Submitted {
    Submitted {
        tenant: "default".into(),
        subject: "key_1".into(),
        workflow: WorkflowId(77),
        graph: Digest([1; 32]),
        target: Some(NodeIx(0)),
        inputs: vec![(NodeIx(3), value_ref())],
        traceparent: Some("00-1-2-01".into()),
        sandbox: false,
        lineage: None,
        deadline: None,
        invoked_by: None,
    }
}

/// A child: how it is invoked, as which run it begins, and what it can come to.
fn children() -> Vec<Event> {
    let child = RunId(0xc41d);
    let invoked = Decision::Invoked {
        instance: instance(),
        invoked: Box::new(Invoked { child, index: vec![2, 0], inputs: outputs() }),
    };
    let invoked = Event { decisions: vec![invoked], ..plain(Fact::Continued) };
    let by = InvokedBy { run: RunId(7), instance: instance(), node: "call".into(), index: vec![2, 0], depth: 2 };
    let begun = Fact::Submitted(Box::new(Submitted { invoked_by: Some(by), ..submitted() }));
    let outcomes = [
        ChildOutcome::Gave(outputs()),
        ChildOutcome::Failed { error: node_error(), caught: outputs() },
        ChildOutcome::Failed { error: node_error(), caught: Vec::new() },
    ];
    let ended =
        outcomes.map(|outcome| plain(Fact::ChildEnded(Box::new(ChildEnded { instance: instance(), child, outcome }))));
    [invoked, plain(begun)].into_iter().chain(ended).collect()
}

fn facts() -> Vec<Fact> {
    let timing = Timing { queued: Span::from_millis(3), ran: Span::from_millis(400) };
    let submitted = submitted();
    let resumed = Submitted { lineage: Some(Box::new(lineage())), ..submitted.clone() };
    vec![
        Fact::Submitted(Box::new(submitted)),
        Fact::Continued,
        Fact::Succeeded { attempt: attempt(), outputs: outputs(), timing },
        Fact::Failed {
            attempt: attempt(),
            error: node_error(),
            retry_at: Some(Timestamp::from_millis(0)),
            fallback: None,
            caught: Vec::new(),
            asks: false,
            timing: Timing::default(),
        },
        Fact::Failed {
            attempt: attempt(),
            error: node_error(),
            retry_at: None,
            fallback: None,
            caught: Vec::new(),
            asks: false,
            timing,
        },
        Fact::Lost { attempt: attempt(), cause: LossCause::NewBoot, failure: None, caught: Vec::new(), asks: false },
        Fact::Lost {
            attempt: attempt(),
            cause: LossCause::NotHeld,
            failure: Some(node_error()),
            caught: Vec::new(),
            asks: false,
        },
        Fact::HandedBack { attempts: vec![attempt(), attempt()] },
        Fact::IntentRecorded { attempt: attempt() },
        Fact::HandleRecorded { attempt: attempt(), handle: value_ref(), cancels: None },
        Fact::TimerFired { instance: instance(), outputs: outputs() },
        Fact::Ended { status: RunStatus::Completed, error: None, by: None, reason: None },
        Fact::Ended { status: RunStatus::Failed, error: Some(run_error()), by: None, reason: None },
        Fact::Ended { status: RunStatus::Cancelled, error: None, by: Some("key_1".into()), reason: None },
        Fact::Stopped { attempts: vec![attempt()] },
        Fact::Discarded { attempt: attempt() },
        Fact::Settled { attempt: attempt(), outputs: outputs() },
        Fact::Answered { attempt: attempt(), verdict: Verdict { ends: true, score: Some(0.0) }, timing },
        Fact::Answered { attempt: attempt(), verdict: Verdict { ends: false, score: None }, timing: Timing::default() },
        Fact::Submitted(Box::new(resumed)),
        Fact::Offered { offers: vec![offer(Source::Run(RUN)), offer(Source::Edit), offer(Source::Request)] },
    ]
}

/// Jobs at providers, and what became of them.
fn jobs() -> [Fact; 6] {
    let handle = |cancels| Fact::HandleRecorded { attempt: attempt(), handle: value_ref(), cancels: Some(cancels) };
    let ended = |end| {
        let job = JobKey { instance: instance(), number: AttemptNumber(2) };
        Fact::ProviderCancelled { job, end }
    };
    let ends = [JobEnd::Cancelled, JobEnd::Over, JobEnd::Unsupported, JobEnd::Failed(node_error())].map(ended);
    let [cancelled, over, unsupported, failed] = ends;
    [handle(true), handle(false), cancelled, over, unsupported, failed]
}

/// What operators do to runs.
fn operated() -> [Fact; 4] {
    let Fact::Submitted(submitted) = facts().swap_remove(0) else { unreachable!() };
    let bounded = Submitted { deadline: Some(Span::from_millis(90_000)), ..*submitted };
    [
        Fact::Submitted(Box::new(bounded)),
        Fact::Paused { by: "key_1".into(), reason: Some("look first".into()) },
        Fact::Paused { by: "key_1".into(), reason: None },
        Fact::Unpaused { by: "key_2".into() },
    ]
}

fn attempt() -> Attempt {
    Attempt { instance: instance(), number: AttemptNumber(1), token: AttemptToken(0xfeed) }
}

fn instance() -> Instance {
    Instance { node: NodeIx(300), scope: ScopeIx(0), generation: Generation(2) }
}

fn outputs() -> Vec<PortOutput> {
    let output = |port, value| PortOutput { port: PortIx(port), value };
    vec![
        output(0, OutputValue::One(value_ref())),
        output(1, OutputValue::Gather(vec![value_ref()])),
        output(2, OutputValue::Closed),
    ]
}

fn value_ref() -> ValueRef {
    ValueRef { seq: EventSeq(7), place: 1, bytes: 3, digest: Digest([0xab; 32]), is_array: false }
}

fn node_error() -> NodeError {
    NodeError { class: ErrorClass::Auth, code: "no_key".into(), message: "give a key".into() }
}

fn run_error() -> RunError {
    RunError {
        code: "node_failed".into(),
        message: "it failed".into(),
        node: Some(NodeIx(0)),
        class: Some(ErrorClass::Poison),
        attempts: 3,
    }
}
