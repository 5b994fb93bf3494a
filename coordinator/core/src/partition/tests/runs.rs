//! Runs in and out of memory: timers, eviction, loads (E6).

use serde_json::json;

use super::bench::{Bench, RUN, cancel, dispatches, finished, replies, submission, submit};
use crate::graph::fixture::Fixture;
use crate::id::{CallerId, EventSeq, PortIx, ProviderIx, RunId};
use crate::limits;
use crate::partition::Backlog;
use crate::partition::batch::Phase;
use crate::partition::io::{Input, Leaving, Reply, Submission};
use crate::run::event::{ErrorClass, Fact, NodeError, Timing};
use crate::run::{Outcome, RunStatus};
use crate::time::Span;

const LONG: u64 = 60_000;

#[test]
fn a_parked_run_leaves_memory_and_comes_back_in_time() {
    let graph = Fixture::default().wait("w", LONG).build();
    let mut bench = Bench::new();
    bench.on([submit(RUN, &graph, None)]);
    let summary = bench.flying.as_ref().unwrap().runs[0].summary.clone().unwrap();
    let due = bench.now.plus(Span::from_millis(LONG));
    assert_eq!((summary.phase, summary.next_due), (Phase::Parked, Some(due)));
    let wake_at = bench.land().wake_at.unwrap();
    assert_eq!(wake_at, bench.now.plus(limits::EVICT_AFTER));
    bench.now = wake_at;
    bench.tick();
    assert!(bench.partition.is_empty());
    // The scan finds it; it is asked for once.
    bench.now = due;
    assert_eq!(bench.on([Input::Due(vec![RUN]), Input::Due(vec![RUN])]).loads, [RUN]);
    let run = bench.folded(RUN, &graph);
    bench.on([Input::Loaded(RUN, Some(run))]);
    bench.land_all();
    assert_eq!(bench.folded(RUN, &graph).status(), RunStatus::Completed);
}

#[test]
fn a_timer_is_not_forgotten_when_something_else_comes_first() {
    let graph = Fixture::default().wait("w", 100).work("a", "pure", &json!({})).build();
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    bench.pass(Span::from_millis(200));
    bench.on([finished(attempt, "done")]);
    bench.land_all();
    assert_eq!(bench.folded(RUN, &graph).status(), RunStatus::Completed);
}

#[test]
fn what_came_with_a_test_key_is_sandboxed_to_its_last_attempt() {
    let graph = Fixture::default().work("a", "pure", &json!({})).build();
    for sandbox in [true, false] {
        let mut bench = Bench::with_agent();
        let submission = Submission { sandbox, ..submission(RUN, &graph, None) };
        bench.on([Input::Submit(CallerId(1), Box::new(submission))]);
        let [attempt] = &dispatches(&bench.land_all())[..] else { panic!("one attempt") };
        assert_eq!(attempt.sandbox, sandbox);
        assert_eq!(bench.folded(RUN, &graph).is_sandboxed(), sandbox, "the history says so");
    }
}

#[test]
fn two_cancels_of_a_run_on_disk_load_it_once() {
    let graph = Fixture::default().wait("w", LONG).build();
    let mut bench = Bench::new();
    bench.start(RUN, &graph);
    bench.pass(limits::EVICT_AFTER);
    bench.tick();
    assert_eq!(bench.on([cancel(2, RUN), cancel(3, RUN)]).loads, [RUN]);
    let run = bench.folded(RUN, &graph);
    bench.on([Input::Loaded(RUN, Some(run))]);
    let answers = replies(&bench.land_all());
    let answer = |applied| Reply::Cancelled { status: RunStatus::Cancelled, applied, seq: EventSeq(2) };
    assert_eq!(answers, [(2, answer(true)), (3, answer(false))]);
    assert!(bench.partition.is_empty(), "a closed run stays in no memory");
}

#[test]
fn a_retry_that_waits_for_an_agent_stays_in_memory() {
    let graph = Fixture::default().work("a", "pure", &json!({"retry": {"initialMs": 100}})).build();
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    let error = NodeError { class: ErrorClass::Retryable, code: "no".into(), message: "no".into() };
    let outcome = Outcome::Failed { error, retry_after: None };
    let (from, key, timing) = (attempt.to.clone(), attempt.key, Timing::default());
    bench.on([Input::Finished { from, key, outcome, timing }]);
    bench.gone("a", 1, Leaving::Broken);
    bench.land_all();
    bench.pass(Span::from_millis(100));
    bench.tick();
    let summary = bench.flying.as_ref().unwrap().runs[0].summary.clone().unwrap();
    assert_eq!((summary.phase, summary.next_due), (Phase::Active, None), "start-up must find it");
    bench.land_all();
    bench.pass(Span::from_seconds(60));
    bench.tick();
    assert_eq!(bench.partition.len(), 1);
    bench.join("a", 1, &[], &[]);
    assert_eq!(bench.deal().len(), 1);
}

#[test]
fn a_finished_node_costs_one_row() {
    let mut fixture = Fixture::default().input("n0");
    for ix in 1..6 {
        fixture = fixture.work(&format!("n{ix}"), "pure", &json!({})).edge(&format!("n{}", ix - 1), &format!("n{ix}"));
    }
    let graph = fixture.build();
    let mut bench = Bench::with_agent();
    let mut sent = bench.start(RUN, &graph);
    while let Some(attempt) = sent.pop() {
        bench.permits.finished(&attempt.to, attempt.session, 1);
        bench.permits.grant(&attempt.to, attempt.session, attempt.permit, 1);
        bench.on([finished(&attempt, "done")]);
        sent.extend(dispatches(&bench.land_all()));
    }
    let rows: Vec<&str> = bench.history[&RUN].iter().map(|event| event.fact.name()).collect();
    assert_eq!(rows.len(), 1 + 5 + 1, "{rows:?}");
    assert!(matches!(bench.history[&RUN].last().unwrap().fact, Fact::Ended { status: RunStatus::Completed, .. }));
}

#[test]
fn wide_runs_take_turns() {
    let mut fixture = Fixture::default();
    for ix in 0..limits::TURN_DECISIONS_MAX + 10 {
        fixture = fixture.input(&format!("n{ix}"));
    }
    let graph = fixture.build();
    let mut bench = Bench::new();
    bench.on([submit(RUN, &graph, None), submit(RunId(2), &graph, None)]);
    bench.land_all();
    for run in [RUN, RunId(2)] {
        assert_eq!(bench.folded(run, &graph).status(), RunStatus::Completed);
    }
}

#[test]
fn a_backlog_counts_what_stands_runs_and_waits() {
    let work = |fixture: Fixture, id| fixture.work(id, "pure", &json!({}));
    let wide = ["a", "b", "c", "d"].into_iter().fold(Fixture::default(), work).build();
    let mut bench = Bench::with_agent();
    assert_eq!(bench.partition.backlog(bench.now), Backlog::default());
    let begun = bench.now;
    let attempts = bench.start(RUN, &wide);
    bench.pass(Span::from_millis(70));
    bench.start(RunId(2), &Fixture::default().wait("w", LONG).build());
    let backlog = bench.partition.backlog(bench.now);
    assert_eq!(backlog, Backlog { ready: 2, oldest_ready: Some(begun), assigned: 2, parked: 1 });
    // What is cancelled stands nowhere, though the queue has not come to it.
    bench.on([cancel(3, RUN)]);
    bench.land_all();
    let backlog = bench.partition.backlog(bench.now);
    assert_eq!((backlog.ready, backlog.oldest_ready), (0, None), "{attempts:?}");
}

#[test]
fn a_fallback_goes_to_who_runs_its_type_with_its_own_ports() {
    let policy = json!({"onError": "fallback", "retry": {"maxAttempts": 1}, "fallback": [{"nodeType": "debug:other"}]});
    let graph = Fixture::default().text("in", "given").work("a", "pure", &policy).edge("in", "a.in").build();
    let mut bench = Bench::with_agent();
    let [first] = bench.start(RUN, &graph).try_into().unwrap();
    assert_eq!((first.provider, first.inputs[0].port), (ProviderIx(0), PortIx(0)));
    let error = NodeError { class: ErrorClass::Auth, code: "no".into(), message: "no".into() };
    let outcome = Outcome::Failed { error, retry_after: None };
    let (from, key, timing) = (first.to.clone(), first.key, Timing::default());
    bench.on([Input::Finished { from, key, outcome, timing }]);
    assert!(dispatches(&bench.land_all()).is_empty(), "nobody who is here runs the other type");
    bench.join_as("b", &["debug:other"]);
    let [second] = bench.deal().try_into().unwrap();
    assert_eq!((second.provider, second.inputs[0].port, &*second.to.agent.0), (ProviderIx(1), PortIx(1), "b"));
    assert_eq!(second.inputs[0].values, first.inputs[0].values);
}
