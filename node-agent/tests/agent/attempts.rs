//! What becomes of assignments.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use heddle_agent::runners::{Context, EffectClass as Effect, Failure, Manifest, Output, Registry, Runner, Work};
use heddle_agent::{Options, start, start_with};
use heddle_proto::agent::finished::Outcome;
use heddle_proto::agent::{Assign, EffectClass, ErrorClass, Input, PermitClass, SharedValue, Stopped};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::fake::*;

const STOPPED: Outcome = Outcome::Stopped(Stopped {});
const LONG: &str = r#"{"ms":3600000}"#;

#[tokio::test]
async fn work_runs_and_its_result_frees_its_permit() {
    let mut pair = pair(2).await;
    let connection = &mut pair.connection;
    assert_eq!(connection.permits(), (2, 6));
    let (key, mut assign) = assign("utility:prompt_concat", r#"{"separator":", "}"#);
    let values_json = vec![Bytes::from_static(br#""a""#), Bytes::from_static(br#""b""#)];
    assign.inputs = vec![Input { port: "texts".into(), list: true, values_json, ..Input::default() }];
    connection.assign(assign).await;
    assert_eq!(connection.permits(), (1, 6));
    let (number, outcome) = connection.finished().await;
    assert_eq!((number, value(outcome).as_str()), (key.number, r#""a, b""#));
    assert_eq!(connection.permits(), (2, 6), "the permit comes in the result's frame");
}

#[tokio::test]
async fn a_value_that_the_stream_has_brought_is_put_in_its_place() {
    let Pair { mut coordinator, mut connection, agent: _agent, .. } = pair(4).await;
    let input = |value: &'static str, digest: &'static str| Input {
        port: "texts".into(),
        list: true,
        values_json: vec![Bytes::from_static(value.as_bytes())],
        shared: vec![SharedValue { place: 0, digest: Bytes::from_static(digest.as_bytes()) }],
        ..Input::default()
    };
    for input in [input(r#""a""#, "digest of a"), input("", "digest of a")] {
        let (_, mut assign) = assign("utility:prompt_concat", "{}");
        assign.inputs = vec![input];
        connection.assign(assign).await;
        assert_eq!(value(connection.finished().await.1), r#""a""#);
    }
    let (_, mut unknown) = assign("utility:prompt_concat", "{}");
    unknown.inputs = vec![input("", "digest of b")];
    connection.assign(unknown).await;
    // The agent begins anew, and does not have it.
    let (running, finished) = numbers(coordinator.welcome().await.hello.inventory.as_ref().unwrap());
    assert_eq!((running, finished.len()), (vec![], 2));
}

#[tokio::test]
async fn many_attempts_all_end_and_free_their_permits() {
    let mut pair = pair(4).await;
    let connection = &mut pair.connection;
    let (mut assigned, mut ended) = (Vec::new(), Vec::new());
    while ended.len() < 500 {
        let (slots, prefetch) = connection.permits();
        for class in (0..slots).map(|_| PermitClass::Slot).chain((0..prefetch).map(|_| PermitClass::Prefetch)) {
            let (key, noop) = assign("debug:noop", "{}");
            connection.assign(Assign { permit: class.into(), ..noop }).await;
            assigned.push(key.number);
        }
        let (number, outcome) = connection.finished().await;
        assert_eq!(value(outcome), "null");
        ended.push(number);
    }
    while ended.len() < assigned.len() {
        ended.push(connection.finished().await.0);
    }
    ended.sort_unstable();
    assert_eq!(ended, assigned);
    let (slots, prefetch) = connection.permits();
    assert_eq!(slots, 4);
    assert!((12..=60).contains(&prefetch), "short work gets more places, but not any number: {prefetch}");
}

#[tokio::test]
async fn a_panic_fails_the_attempt_and_nothing_else() {
    let mut pair = pair(1).await;
    let connection = &mut pair.connection;
    connection.assign(assign("debug:panic", "{}").1).await;
    assert_eq!(failure(connection.finished().await.1), (ErrorClass::Internal, "panic".into()));
    connection.assign(assign("debug:echo", r#"{"value":1}"#).1).await;
    assert_eq!(value(connection.finished().await.1), "1");
}

#[tokio::test]
async fn what_cannot_be_run_is_said_so() {
    let mut pair = pair(1).await;
    let connection = &mut pair.connection;
    let (_, newer) = assign("debug:noop", "{}");
    let cases = [
        (assign("llm:oracle", "{}").1, "node_type_unavailable"),
        (Assign { type_version: 2, ..newer }, "node_type_unavailable"),
        (assign("debug:sleep", r#"{"ms":"long"}"#).1, "config_invalid"),
        (assign("debug:bytes", r#"{"count":65536}"#).1, "artifacts_unavailable"),
    ];
    for (assign, code) in cases {
        connection.assign(assign).await;
        assert_eq!(failure(connection.finished().await.1), (ErrorClass::InvalidRequest, code.into()));
    }
}

#[tokio::test]
async fn work_that_takes_too_long_is_ended() {
    let mut pair = pair(1).await;
    let connection = &mut pair.connection;
    let (_, sleep) = assign("debug:sleep", LONG);
    connection.assign(Assign { timeout_ms: 20, ..sleep }).await;
    assert_eq!(failure(connection.finished().await.1), (ErrorClass::Timeout, "timeout".into()));
    assert_eq!(connection.permits(), (1, 3));
}

#[tokio::test]
async fn what_waits_runs_in_order_when_a_slot_is_free() {
    let mut pair = pair(1).await;
    let connection = &mut pair.connection;
    let (sleep_key, sleep) = assign("debug:sleep", LONG);
    connection.assign(sleep).await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let (key, echo) = assign("debug:echo", "{}");
        connection.assign(prefetched(echo)).await;
        waiting.push(key.number);
    }
    let held = [&[sleep_key.number], &waiting[..]].concat();
    assert_eq!(connection.inventory().await, (held, vec![]), "one slot: nothing else has run");
    connection.cancel(&sleep_key).await;
    assert_eq!(connection.finished().await, (sleep_key.number, STOPPED));
    for number in waiting {
        assert_eq!(connection.finished().await.0, number);
    }
    let (slots, prefetch) = connection.permits();
    assert!(slots == 1 && prefetch >= 3, "short work has run: {prefetch}");
}

#[tokio::test]
async fn what_waits_too_long_behind_other_work_goes_back() {
    let mut coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let patience = Duration::from_millis(20);
    let options = Options { prefetch_patience: patience, ..options(coordinator.address, folder.path(), 1) };
    let _agent = start(options).await.unwrap();
    let mut connection = coordinator.welcome().await;
    let (sleep_key, sleep) = assign("debug:sleep", LONG);
    connection.assign(sleep).await;
    let (key, noop) = assign("debug:noop", "{}");
    connection.assign(prefetched(noop)).await;
    let Kind::HandedBack(handed_back) = connection.next().await else { panic!("it was kept") };
    assert_eq!(handed_back.keys, [key]);
    assert_eq!(connection.inventory().await, (vec![sleep_key.number], vec![]));
}

#[tokio::test]
async fn a_cancel_reaches_what_waits() {
    let mut pair = pair(1).await;
    let connection = &mut pair.connection;
    let (sleep_key, sleep) = assign("debug:sleep", LONG);
    let (key, noop) = assign("debug:noop", "{}");
    connection.assign(sleep).await;
    connection.assign(prefetched(noop)).await;
    connection.cancel(&key).await;
    assert_eq!(connection.finished().await, (key.number, STOPPED));
    assert_eq!(connection.permits(), (0, 3));
    connection.cancel(&key).await;
    assert_eq!(connection.inventory().await, (vec![sleep_key.number], vec![key.number]));
}

#[tokio::test]
async fn work_without_a_permit_is_handed_back() {
    let mut pair = pair(1).await;
    let connection = &mut pair.connection;
    let (_, sleep) = assign("debug:sleep", LONG);
    connection.assign(sleep).await;
    let (key, noop) = assign("debug:noop", "{}");
    connection.tell([Tell::Assign(noop)]).await;
    let Kind::HandedBack(handed_back) = connection.next().await else { panic!("it was taken") };
    assert_eq!(handed_back.keys, [key]);
}

#[tokio::test]
async fn returned_permits_are_granted_again() {
    let mut pair = pair(2).await;
    let connection = &mut pair.connection;
    connection.return_permits(PermitClass::Slot, 2).await;
    connection.return_permits(PermitClass::Prefetch, 1).await;
    assert_eq!(connection.permits(), (0, 5));
    connection.wait_for_permits(2, 6).await;
}

#[tokio::test]
async fn nothing_leaves_before_its_intent_is_durable() {
    let mut pair = pair(1).await;
    let connection = &mut pair.connection;
    let file = pair.folder.path().join("calls");
    for effect in [EffectClass::Blind, EffectClass::Pollable] {
        let (key, assign) = assign("debug:effect", r#"{"file":"calls"}"#);
        connection.assign(with_effect(assign, effect)).await;
        let Kind::Intent(intent) = connection.next().await else { panic!("work began without an intent") };
        assert_eq!(intent.key.as_ref(), Some(&key));
        assert_eq!(connection.inventory().await.0, [key.number]);
        assert!(!file.exists());
        connection.answer_intent(&key, true).await;
        assert_eq!(connection.finished().await.0, key.number);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("exec_1 n1 {}\n", key.number));
        std::fs::remove_file(&file).unwrap();
    }
}

#[tokio::test]
async fn a_refused_intent_stops_the_attempt() {
    let mut pair = pair(1).await;
    let connection = &mut pair.connection;
    let (key, assign) = assign("debug:effect", r#"{"file":"calls"}"#);
    connection.assign(with_effect(assign, EffectClass::Blind)).await;
    assert!(matches!(connection.next().await, Kind::Intent(_)));
    connection.answer_intent(&key, false).await;
    assert_eq!(connection.finished().await, (key.number, STOPPED));
    assert!(!pair.folder.path().join("calls").exists());
}

#[tokio::test]
async fn an_attempt_may_time_out_while_its_intent_is_pending() {
    let mut pair = pair(1).await;
    let connection = &mut pair.connection;
    let (_, noop) = assign("debug:noop", "{}");
    connection.assign(Assign { timeout_ms: 20, ..with_effect(noop, EffectClass::Blind) }).await;
    assert!(matches!(connection.next().await, Kind::Intent(_)));
    assert_eq!(failure(connection.finished().await.1), (ErrorClass::Timeout, "timeout".into()));
}

fn manifest(id: &str, effect: Effect) -> Manifest {
    Manifest { effect, ..Manifest::pure(id, "", "") }
}

/// Never ends, and tells when it is dropped.
struct Endless(mpsc::Sender<oneshot::Receiver<()>>);

impl Runner for Endless {
    fn manifest(&self) -> Manifest {
        manifest("test:endless", Effect::Pure)
    }

    fn run(&self, _work: Work, _context: Context) -> BoxFuture<'static, Result<Vec<Output>, Failure>> {
        let begun = self.0.clone();
        async move {
            let (_held, dropped) = oneshot::channel();
            begun.send(dropped).await.unwrap();
            std::future::pending().await
        }
        .boxed()
    }
}

#[tokio::test]
async fn work_ends_with_its_attempt_and_with_its_agent() {
    let mut coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut registry = Registry::default();
    let (begun, mut begins) = mpsc::channel(1);
    registry.add(Endless(begun)).unwrap();
    let agent = start_with(options(coordinator.address, folder.path(), 1), registry).await.unwrap();
    let mut connection = coordinator.welcome().await;

    let (key, endless) = assign("test:endless", "{}");
    connection.assign(endless).await;
    let dropped = timeout(DEADLINE, begins.recv()).await.unwrap().unwrap();
    connection.cancel(&key).await;
    assert_eq!(connection.finished().await, (key.number, STOPPED));
    assert!(timeout(DEADLINE, dropped).await.unwrap().is_err(), "nothing is ever sent there");

    connection.assign(assign("test:endless", "{}").1).await;
    let dropped = timeout(DEADLINE, begins.recv()).await.unwrap().unwrap();
    drop(agent);
    assert!(timeout(DEADLINE, dropped).await.unwrap().is_err(), "nothing is ever sent there");
}

/// Reports a job, shows something on the way, and never ends.
struct Job;

impl Runner for Job {
    fn manifest(&self) -> Manifest {
        manifest("test:job", Effect::Pollable)
    }

    fn run(&self, _work: Work, context: Context) -> BoxFuture<'static, Result<Vec<Output>, Failure>> {
        async move {
            context.handle(Bytes::from_static(b"job-7"))?;
            context.progress(0.5, "half");
            context.partial("out", Bytes::from_static(b"to"));
            context.partial("out", Bytes::from_static(b"ken"));
            std::future::pending().await
        }
        .boxed()
    }
}

#[tokio::test]
async fn a_job_is_reported_and_told_again_to_the_next_session() {
    let mut coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut registry = Registry::default();
    registry.add(Job).unwrap();
    let _agent = start_with(options(coordinator.address, folder.path(), 1), registry).await.unwrap();
    let mut connection = coordinator.welcome().await;
    let (key, job) = assign("test:job", "{}");
    connection.assign(job).await;
    let (mut handle, mut progress, mut partials) = (None, None, Vec::new());
    while handle.is_none() || progress.is_none() || partials.len() < 2 {
        match connection.next().await {
            Kind::Handle(said) => handle = Some(said.handle),
            Kind::Progress(said) => progress = Some((said.fraction, said.message)),
            Kind::Partial(said) => partials.push((said.sequence, said.chunk)),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(handle.as_deref(), Some(&b"job-7"[..]));
    assert_eq!(progress, Some((0.5, "half".to_owned())));
    assert_eq!(partials, [(0, Bytes::from_static(b"to")), (1, Bytes::from_static(b"ken"))]);

    drop(connection);
    let mut connection = coordinator.welcome().await;
    assert_eq!(numbers(connection.hello.inventory.as_ref().unwrap()), (vec![key.number], vec![]));
    let Kind::Handle(again) = connection.next().await else { panic!("the handle was not told again") };
    assert_eq!((again.key.as_ref(), &again.handle[..]), (Some(&key), &b"job-7"[..]));
}
