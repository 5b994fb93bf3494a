//! Jobs at providers that nobody goes on with: agents are asked to cancel them until it is known what became of each.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::bench::{Bench, RUN, cancel, dispatches, finished, verdicts};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{AgentBoot, AttemptToken, BootId};
use crate::limits;
use crate::partition::io::{Dispatch, Effect, Input, Leaving, Release, Verdict};
use crate::run::event::{ErrorClass, Fact, NodeError, PermitClass, Timing};
use crate::run::{JobEnd, Outcome};
use crate::time::Span;
use crate::value::Value;

fn graph() -> Arc<Graph> {
    Fixture::default().work("a", "pollable", &json!({})).build()
}

/// A run whose node has a job at agent `a`.
fn at_work(graph: &Arc<Graph>) -> (Bench, Dispatch) {
    let mut bench = Bench::with_agent();
    let attempt = bench.start(RUN, graph).remove(0);
    let (from, key) = (attempt.to.clone(), attempt.key);
    bench.on([Input::Intent { from: from.clone(), key }]);
    bench.on([Input::Handle { from, key, handle: Value::from_json(Bytes::from_static(b"\"job\"")) }]);
    bench.land_all();
    bench.pass(Span::from_seconds(60));
    (bench, attempt)
}

fn orders(releases: &[Release]) -> Vec<Dispatch> {
    let found = releases.iter().filter_map(|release| match release {
        Release::Effect(Effect::CancelJob(job)) => Some(job.as_ref().clone()),
        _ => None,
    });
    found.collect()
}

/// What follows from these inputs, once it is durable.
fn follows(bench: &mut Bench, inputs: impl IntoIterator<Item = Input>) -> Vec<Dispatch> {
    let mut releases = bench.on(inputs).releases;
    releases.extend(bench.land_all());
    assert!(bench.partition.watch(None, 10).orphans.is_empty());
    orders(&releases)
}

fn stopped(attempt: &Dispatch) -> Input {
    let (from, key) = (attempt.to.clone(), attempt.key);
    Input::Finished { from, key, outcome: Outcome::Stopped, timing: Timing::default() }
}

fn answer(order: &Dispatch, end: Result<JobEnd, NodeError>) -> Input {
    Input::JobCancelled { from: order.to.clone(), key: order.key, end }
}

fn refused(class: ErrorClass) -> Result<JobEnd, NodeError> {
    Err(NodeError { class, code: "busy".into(), message: "the provider is busy".into() })
}

fn ends(bench: &Bench) -> Vec<JobEnd> {
    let ends = bench.history[&RUN].iter().filter_map(|event| match &event.fact {
        Fact::ProviderCancelled { end, .. } => Some(end.clone()),
        _ => None,
    });
    ends.collect()
}

fn agent(order: &Dispatch) -> &str {
    &order.to.agent.0
}

#[test]
fn the_job_of_an_agent_that_is_gone_is_cancelled_by_another() {
    let graph = graph();
    let (mut bench, attempt) = at_work(&graph);
    bench.join("b", 1, &[], &[]);
    assert!(follows(&mut bench, [cancel(2, RUN)]).is_empty(), "its agent does so itself");
    bench.permits.leave(&"a".into(), bench.stream("a"));
    let gone = Input::AgentGone { agent: attempt.to.clone(), session: bench.stream("a"), leaving: Leaving::Broken };
    let [order] = &follows(&mut bench, [gone])[..] else { panic!("one order") };
    assert_eq!((agent(order), order.key.number, order.inputs.len()), ("b", attempt.key.number, 0));
    assert_eq!(order.handle.unwrap().digest, Value::from_json(Bytes::from_static(b"\"job\"")).digest());
    assert_ne!(order.key.token, attempt.key.token, "what the lost agent says of its attempt is no answer");
    assert!(!bench.partition.is_empty(), "the run is not closed before it is known what became of the job");
    assert!(follows(&mut bench, [answer(order, Ok(JobEnd::Cancelled))]).is_empty());
    assert_eq!(ends(&bench), [JobEnd::Cancelled]);
    assert!(bench.partition.is_empty());
}

#[test]
fn an_agent_that_has_cancelled_its_job_itself_saves_the_order() {
    let graph = graph();
    let (mut bench, attempt) = at_work(&graph);
    follows(&mut bench, [cancel(2, RUN)]);
    bench.on([answer(&attempt, Ok(JobEnd::Cancelled)), stopped(&attempt)]);
    assert_eq!(bench.flying.as_ref().unwrap().runs[0].events.len(), 2, "both land at once");
    assert!(orders(&bench.land_all()).is_empty());
    assert_eq!(ends(&bench), [JobEnd::Cancelled]);
    assert!(bench.partition.is_empty());
}

#[test]
fn an_agent_that_comes_back_may_have_begun_a_job_that_nobody_knows_yet() {
    let graph = graph();
    let mut bench = Bench::with_agent();
    let attempt = bench.start(RUN, &graph).remove(0);
    let (from, key) = (attempt.to.clone(), attempt.key);
    bench.on([Input::Intent { from: from.clone(), key }]);
    bench.land_all();
    follows(&mut bench, [cancel(2, RUN)]);
    bench.gone("a", 1, Leaving::Broken);
    let releases = bench.join("a", 1, &[key], &[]);
    assert_eq!(verdicts(&releases), [(key, Verdict::Keep)], "it tells of its job with its end");
    let told =
        |release: &Release| matches!(release, Release::Effect(Effect::CancelAttempt { key: of, .. }) if *of == key);
    assert!(releases.iter().any(told), "that it is to stop");
    let handle = Value::from_json(Bytes::from_static(b"\"job\""));
    let [order] = &follows(&mut bench, [Input::Handle { from, key, handle }, stopped(&attempt)])[..] else {
        panic!("one order")
    };
    follows(&mut bench, [answer(order, Ok(JobEnd::Cancelled))]);
    assert_eq!(ends(&bench), [JobEnd::Cancelled]);
    // A job that is known needs no such word.
    let (mut bench, attempt) = at_work(&graph);
    follows(&mut bench, [cancel(2, RUN)]);
    bench.gone("a", 1, Leaving::Broken);
    assert_eq!(verdicts(&bench.join("a", 1, &[attempt.key], &[])), [(attempt.key, Verdict::Stop)]);
}

#[test]
fn what_an_agent_says_of_anothers_job_counts_for_nothing() {
    let graph = graph();
    let (mut bench, attempt) = at_work(&graph);
    bench.join("b", 1, &[], &[]);
    follows(&mut bench, [cancel(2, RUN)]);
    let thief = AgentBoot { agent: "b".into(), boot: BootId(1) };
    let said = Input::JobCancelled { from: thief.clone(), key: attempt.key, end: Ok(JobEnd::Cancelled) };
    let releases = bench.on([said]).releases;
    assert_eq!(releases, [Release::Effect(Effect::CountForeign(attempt.key))]);
    let [order] = &follows(&mut bench, [stopped(&attempt)])[..] else { panic!("one order") };
    let mut other = answer(order, Ok(JobEnd::Cancelled));
    if let Input::JobCancelled { key, .. } = &mut other {
        key.token = AttemptToken(key.token.0 + 1);
    }
    let from = if agent(order) == "a" { thief } else { attempt.to };
    follows(&mut bench, [other, Input::JobCancelled { from, key: order.key, end: Ok(JobEnd::Cancelled) }]);
    assert!(ends(&bench).is_empty());
}

#[test]
fn a_try_after_a_job_that_was_left_is_told_so_and_one_that_takes_it_over_is_not() {
    let retry = json!({"retry": {"maxAttempts": 3, "initialMs": 100, "jitter": 0.0}});
    let graph = Fixture::default().work("a", "pollable", &retry).build();
    let (mut bench, attempt) = at_work(&graph);
    assert_eq!(attempt.jobs_left, 0);
    let error = NodeError { class: ErrorClass::Timeout, code: "timeout".into(), message: "too long".into() };
    let outcome = Outcome::Failed { error, retry_after: None };
    let (from, key) = (attempt.to.clone(), attempt.key);
    follows(&mut bench, [Input::Finished { from: from.clone(), key, outcome, timing: Timing::default() }]);
    bench.permits.grant(&from, bench.stream("a"), PermitClass::Slot, 1);
    bench.pass(Span::from_seconds(1));
    let mut releases = bench.on([Input::Tick]).releases;
    releases.extend(bench.land_all());
    let next = dispatches(&releases).remove(0);
    assert_eq!((next.jobs_left, next.handle), (1, None));
    // Its own job goes on elsewhere when its agent is lost.
    bench.on([Input::Intent { from: from.clone(), key: next.key }]);
    bench.on([Input::Handle { from, key: next.key, handle: Value::from_json(Bytes::from_static(b"\"other\"")) }]);
    bench.land_all();
    bench.join("b", 1, &[], &[]);
    bench.pass(Span::from_seconds(60));
    bench.gone("a", 1, Leaving::Broken);
    let last = dispatches(&bench.land_all()).remove(0);
    assert_eq!((last.jobs_left, last.handle.is_some()), (1, true));
}

#[test]
fn it_is_tried_again_after_ever_longer_pauses_until_that_is_given_up() {
    let graph = graph();
    let (mut bench, attempt) = at_work(&graph);
    bench.join("b", 1, &[], &[]);
    follows(&mut bench, [cancel(2, RUN)]);
    let mut found = follows(&mut bench, [stopped(&attempt)]);
    let (mut asked, mut waited) = (Vec::new(), Vec::new());
    while let Some(order) = found.pop() {
        asked.push(agent(&order).to_owned());
        // Now and then there is no answer at all.
        let pause = if asked.len() == 3 { limits::JOB_CANCEL_ANSWER_WAIT } else { Span::ZERO };
        if pause == Span::ZERO {
            assert!(follows(&mut bench, [answer(&order, refused(ErrorClass::Retryable))]).is_empty());
        }
        let from = bench.now.plus(pause);
        while found.is_empty() && ends(&bench).is_empty() {
            bench.pass(Span::from_millis(250));
            found = follows(&mut bench, [Input::Tick]);
        }
        waited.push(bench.now.since(from).as_millis());
    }
    assert_eq!(asked.len(), limits::JOB_CANCEL_TRIES_MAX as usize);
    assert!(asked.windows(2).all(|pair| pair[0] != pair[1]), "in turns: {asked:?}");
    assert_eq!(waited[..4], [1_000, 2_000, 4_000, 8_000]);
    assert!(waited.iter().all(|pause| *pause <= limits::JOB_CANCEL_PAUSE_MAX.as_millis()));
    let Err(error) = refused(ErrorClass::Retryable) else { unreachable!() };
    assert_eq!(ends(&bench), [JobEnd::Failed(error)]);
    assert!(bench.partition.is_empty());
}

#[test]
fn what_would_fail_again_is_not_tried_again() {
    let graph = graph();
    let (mut bench, attempt) = at_work(&graph);
    follows(&mut bench, [cancel(2, RUN)]);
    let order = follows(&mut bench, [stopped(&attempt)]).remove(0);
    follows(&mut bench, [answer(&order, refused(ErrorClass::Auth))]);
    let Err(error) = refused(ErrorClass::Auth) else { unreachable!() };
    assert_eq!(ends(&bench), [JobEnd::Failed(error)]);
}

#[test]
fn when_who_was_asked_goes_away_another_is_asked() {
    let graph = graph();
    let (mut bench, attempt) = at_work(&graph);
    follows(&mut bench, [cancel(2, RUN)]);
    let order = follows(&mut bench, [stopped(&attempt)]).remove(0);
    assert_eq!(agent(&order), "a");
    bench.gone("a", 1, Leaving::Broken);
    bench.join("b", 1, &[], &[]);
    bench.pass(limits::JOB_CANCEL_PAUSE_MIN);
    let next = follows(&mut bench, [Input::Tick]).remove(0);
    assert_eq!(agent(&next), "b");
    follows(&mut bench, [answer(&order, Ok(JobEnd::Cancelled))]);
    assert!(ends(&bench).is_empty(), "the first answer comes too late");
    follows(&mut bench, [answer(&next, Ok(JobEnd::Over))]);
    assert_eq!(ends(&bench), [JobEnd::Over]);
}

#[test]
fn another_load_goes_on_with_what_is_owed_and_waits_for_an_agent() {
    let graph = graph();
    let (mut bench, attempt) = at_work(&graph);
    follows(&mut bench, [cancel(2, RUN)]);
    follows(&mut bench, [stopped(&attempt)]);
    bench.reload(&graph);
    assert!(follows(&mut bench, [Input::Tick]).is_empty(), "nobody is there");
    bench.join("b", 1, &[], &[]);
    bench.pass(limits::JOB_CANCEL_AGENT_LOOK);
    let order = follows(&mut bench, [Input::Tick]).remove(0);
    assert_eq!((agent(&order), order.handle.is_some()), ("b", true));
    follows(&mut bench, [answer(&order, Ok(JobEnd::Cancelled))]);
    assert_eq!(ends(&bench), [JobEnd::Cancelled]);
}

#[test]
fn who_waits_in_vain_for_an_agent_says_so() {
    let graph = graph();
    let (mut bench, attempt) = at_work(&graph);
    follows(&mut bench, [cancel(2, RUN)]);
    bench.gone("a", 1, Leaving::Goodbye);
    bench.land_all();
    assert!(!bench.history[&RUN].is_empty() && attempt.handle.is_none());
    bench.pass(limits::JOB_CANCEL_AGENT_WAIT_MAX);
    follows(&mut bench, [Input::Tick]);
    let [JobEnd::Failed(error)] = &ends(&bench)[..] else { panic!("it is given up") };
    assert_eq!(&*error.code, "no_agent");
    assert!(bench.partition.is_empty());
}

#[test]
fn a_type_that_cannot_cancel_is_not_asked() {
    let node = json!({"nodeType": "debug:other", "config": {"effect": "pollable"}});
    let graph = Fixture::default().text("t", "x").node("a", node).edge("t", "a.in").build();
    let mut bench = Bench::new();
    bench.join_as("a", &["debug:other"]);
    let attempt = bench.start(RUN, &graph).remove(0);
    let (from, key) = (attempt.to.clone(), attempt.key);
    bench.on([Input::Handle { from, key, handle: Value::from_json(Bytes::from_static(b"1")) }]);
    bench.land_all();
    follows(&mut bench, [cancel(2, RUN)]);
    assert!(follows(&mut bench, [stopped(&attempt)]).is_empty());
    assert_eq!(ends(&bench), [JobEnd::Unsupported]);
    assert!(bench.partition.is_empty());
}

#[test]
fn a_result_that_comes_after_all_ends_its_job() {
    let graph = graph();
    let (mut bench, attempt) = at_work(&graph);
    follows(&mut bench, [cancel(2, RUN)]);
    assert!(follows(&mut bench, [finished(&attempt, "late")]).is_empty());
    assert!(ends(&bench).is_empty() && bench.partition.is_empty());
}
