//! Agents come and go: what they hold is kept, what they lost goes elsewhere (E8, E10, E13).

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::bench::{Bench, RUN, cancel, dispatches, finished, submit, verdicts};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{AgentBoot, BootId, PartitionId, RunId};
use crate::limits;
use crate::partition::io::{Effect, Input, Leaving, Release, Verdict};
use crate::partition::permits::Need;
use crate::run::RunStatus;
use crate::run::event::{Fact, LossCause};
use crate::time::Span;
use crate::value::Value;

fn graph(effect: &str) -> Arc<Graph> {
    Fixture::default().work("a", effect, &json!({"onUnknown": "retry"})).build()
}

fn causes(bench: &Bench) -> Vec<LossCause> {
    let lost = bench.history[&RUN].iter().filter_map(|event| match event.fact {
        Fact::Lost { cause, .. } => Some(cause),
        _ => None,
    });
    lost.collect()
}

#[test]
fn a_restart_keeps_what_an_agent_holds() {
    let graph = graph("pure");
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    bench.reload(&graph);
    let releases = bench.join("a", 1, &[attempt.key], &[]);
    assert_eq!(verdicts(&releases), [(attempt.key, Verdict::Keep)]);
    bench.on([finished(attempt, "done")]);
    bench.land_all();
    assert_eq!(bench.folded(RUN, &graph).status(), RunStatus::Completed);
    assert!(causes(&bench).is_empty());
}

#[test]
fn a_result_that_is_durable_may_be_forgotten_and_one_that_is_not_follows() {
    let graph = graph("pure");
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    bench.reload(&graph);
    assert_eq!(verdicts(&bench.join("a", 1, &[], &[attempt.key])), [(attempt.key, Verdict::Keep)]);
    bench.on([finished(attempt, "done")]);
    bench.land_all();
    assert_eq!(verdicts(&bench.join("a", 1, &[], &[attempt.key])), [(attempt.key, Verdict::Acknowledged)]);
}

#[test]
fn an_attempt_is_sent_in_the_session_that_its_permit_is_of_or_never() {
    let graph = graph("pure");
    let mut bench = Bench::with_agent();
    bench.on([submit(RUN, &graph, None)]);
    // The agent dials again while the assignment is on its way to the journal: what it grants knows nothing of that.
    let releases = bench.join("a", 1, &[], &[]);
    assert!(dispatches(&releases).is_empty());
    assert_eq!(causes(&bench), [LossCause::NotHeld]);
    assert_eq!(bench.deal().len(), 1);
    assert_eq!(bench.permits.free(&"a".into()), (1, 0));
}

#[test]
fn a_permit_of_an_earlier_session_is_not_used() {
    let graph = graph("pure");
    let mut bench = Bench::with_agent();
    let need =
        Need { type_id: "debug:work".into(), version: 1, prefetch: false, alone: false, labels: Vec::new(), key: None };
    bench.permits.want(PartitionId(0), &"acme".into(), &need, 1);
    let dealt = bench.permits.deal();
    bench.join("a", 1, &[], &[]);
    bench.on([submit(RUN, &graph, None)]);
    bench.on(dealt.into_iter().map(|(_, grant)| Input::Granted(vec![grant])));
    assert_eq!(dispatches(&bench.land_all()).len(), 1);
    assert_eq!(bench.permits.free(&"a".into()), (1, 0));
}

#[test]
fn what_was_not_sent_when_its_agent_left_goes_elsewhere_at_once() {
    let graph = graph("blind");
    let mut bench = Bench::with_agent();
    bench.on([submit(RUN, &graph, None)]);
    bench.join("b", 1, &[], &[]);
    bench.on([submit(RunId(2), &graph, None)]);
    bench.gone("b", 1, Leaving::Broken);
    bench.land_all();
    assert!(bench.history[&RunId(2)].iter().all(|event| event.at == bench.now));
    assert_eq!(bench.permits.busy(&"a".into()), 2);
}

#[test]
fn a_new_boot_loses_what_the_old_one_held_at_once() {
    let graph = graph("pure");
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    bench.gone("a", 1, Leaving::Broken);
    bench.join("a", 2, &[], &[]);
    assert_eq!(causes(&bench), [LossCause::NewBoot]);
    let [next] = &bench.deal()[..] else { panic!("it goes elsewhere") };
    assert_ne!(next.key.token, attempt.key.token);
    // The late result of the old boot changes nothing, and may be forgotten.
    let releases = bench.on([finished(attempt, "late")]).releases;
    let zombie = Release::Effect(Effect::CountZombie(attempt.key));
    let acknowledged = Release::Effect(Effect::Acknowledge { to: attempt.to.clone(), key: attempt.key });
    assert_eq!(releases, [zombie, acknowledged]);
}

#[test]
fn an_agent_touches_only_what_it_holds() {
    let graph = graph("blind");
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    bench.join("thief", 1, &[], &[]);
    let (from, key) = (AgentBoot { agent: "thief".into(), boot: BootId(1) }, attempt.key);
    let foreign = Release::Effect(Effect::CountForeign(key));
    let handle = Value::from_json(Bytes::from_static(b"1"));
    let Input::Finished { outcome, timing, .. } = finished(attempt, "stolen") else { panic!("a result") };
    let refused = Effect::AnswerIntent { to: from.clone(), key, go: false };
    let acknowledged = Effect::Acknowledge { to: from.clone(), key };
    for (input, answer) in [
        (Input::Intent { from: from.clone(), key }, Some(refused)),
        (Input::Handle { from: from.clone(), key, handle }, None),
        (Input::HandedBack { from: from.clone(), key }, None),
        (Input::Finished { from, key, outcome, timing }, Some(acknowledged)),
    ] {
        let said = format!("{input:?}");
        let expected: Vec<Release> = std::iter::once(foreign.clone()).chain(answer.map(Release::Effect)).collect();
        assert_eq!(bench.on([input]).releases, expected, "{said}");
        assert!(bench.flying.is_none(), "nothing is written: {said}");
    }
    let releases = bench.join("thief", 1, &[key], &[]);
    assert_eq!(verdicts(&releases), [(key, Verdict::Stop)]);
    assert!(releases.contains(&foreign));
    let releases = bench.join("thief", 1, &[], &[key]);
    assert_eq!(verdicts(&releases), [(key, Verdict::Acknowledged)]);
    // Who holds it goes on.
    bench.on([Input::Intent { from: attempt.to.clone(), key }, finished(attempt, "own")]);
    bench.land_all();
    assert_eq!(bench.folded(RUN, &graph).status(), RunStatus::Completed);
}

#[test]
fn a_silent_agent_gets_the_grace_of_its_effect_class() {
    for (effect, grace) in
        [("pure", limits::LOSS_GRACE_PURE), ("keyed", limits::LOSS_GRACE_PURE), ("blind", limits::LOSS_GRACE_BLIND)]
    {
        let graph = graph(effect);
        let mut bench = Bench::with_agent();
        bench.start(RUN, &graph);
        bench.pass(Span::from_seconds(60));
        let wake_at = bench.gone("a", 1, Leaving::Broken).wake_at;
        assert_eq!(wake_at, Some(bench.now.plus(grace)), "{effect}");
        bench.pass(Span::from_millis(grace.as_millis() - 1));
        bench.tick();
        assert!(bench.flying.is_none(), "{effect} is lost too early");
        bench.pass(Span::from_millis(1));
        bench.tick();
        bench.land_all();
        assert_eq!(causes(&bench), [LossCause::StreamGone], "{effect}");
    }
}

#[test]
fn an_agent_that_was_sent_away_has_time_to_come_back() {
    let graph = graph("pure");
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    bench.pass(Span::from_seconds(60));
    let wake_at = bench.gone("a", 1, Leaving::SentAway).wake_at;
    assert_eq!(wake_at, Some(bench.now.plus(limits::LOSS_GRACE_AFTER_LOAD)));
    bench.pass(Span::from_millis(limits::LOSS_GRACE_AFTER_LOAD.as_millis() - 1));
    assert_eq!(verdicts(&bench.join("a", 1, &[attempt.key], &[])), [(attempt.key, Verdict::Keep)]);
    assert!(causes(&bench).is_empty());
}

#[test]
fn the_end_of_an_earlier_stream_is_no_news() {
    let graph = graph("pure");
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    bench.pass(Span::from_seconds(60));
    let (agent, session) = (AgentBoot { agent: "a".into(), boot: BootId(1) }, bench.stream("a"));
    bench.join("a", 1, &[attempt.key], &[]);
    // Two tasks told of it, and the slower one had the older news.
    let gone = Input::AgentGone { agent, session, leaving: Leaving::Broken };
    bench.on([gone]);
    bench.on([submit(RunId(2), &graph, None)]);
    assert_eq!(dispatches(&bench.land_all()).len(), 1, "it is there, and gets work");
    bench.pass(limits::LOSS_GRACE_BLIND);
    bench.tick();
    assert!(bench.flying.is_none() && causes(&bench).is_empty());
}

#[test]
fn a_stream_that_breaks_soon_after_a_load_costs_nothing() {
    let graph = graph("pure");
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    bench.reload(&graph);
    let loaded_at = bench.now;
    bench.pass(Span::from_seconds(1));
    bench.join("a", 1, &[attempt.key], &[]);
    let wake_at = bench.gone("a", 1, Leaving::Broken).wake_at;
    assert_eq!(wake_at, Some(loaded_at.plus(limits::LOSS_GRACE_AFTER_LOAD)));
}

#[test]
fn after_a_load_every_class_gets_five_seconds() {
    let graph = graph("pure");
    let mut bench = Bench::with_agent();
    bench.start(RUN, &graph);
    bench.reload(&graph);
    bench.pass(Span::from_millis(limits::LOSS_GRACE_AFTER_LOAD.as_millis() - 1));
    bench.tick();
    assert!(bench.flying.is_none());
    bench.pass(Span::from_millis(1));
    bench.tick();
    bench.land_all();
    assert_eq!(causes(&bench), [LossCause::StreamGone]);
}

#[test]
fn a_goodbye_blames_nobody() {
    let graph = graph("pure");
    let mut bench = Bench::with_agent();
    bench.start(RUN, &graph);
    bench.gone("a", 1, Leaving::Goodbye);
    bench.land_all();
    assert_eq!(causes(&bench), [LossCause::Goodbye]);
    let instance = bench.history[&RUN][0].assignments[0].attempt.instance;
    assert!(!bench.folded(RUN, &graph).is_suspect(instance));
}

#[test]
fn work_that_was_never_sent_has_killed_nobody() {
    let graph = graph("pure");
    let mut bench = Bench::with_agent();
    bench.on([submit(RUN, &graph, None)]);
    bench.join("a", 2, &[], &[]);
    assert_eq!(causes(&bench), [LossCause::NotHeld]);
}

#[test]
fn a_run_that_is_cancelled_before_its_attempt_was_sent_does_not_wait_for_it() {
    let graph = graph("pure");
    let mut bench = Bench::with_agent();
    bench.on([submit(RUN, &graph, None)]);
    bench.on([cancel(2, RUN)]);
    assert!(dispatches(&bench.land_all()).is_empty());
    assert!(bench.folded(RUN, &graph).is_closed());
    assert_eq!(bench.permits.free(&"a".into()), (2, 0));
}

#[test]
fn a_job_with_a_handle_goes_on_at_another_agent_at_once() {
    let graph = graph("pollable");
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    let (from, key) = (attempt.to.clone(), attempt.key);
    bench.on([Input::Intent { from: from.clone(), key }]);
    let handle = crate::value::Value::from_json(bytes::Bytes::from_static(b"\"job\""));
    bench.on([Input::Handle { from, key, handle: handle.clone() }]);
    bench.land_all();
    bench.join("b", 1, &[], &[]);
    bench.pass(Span::from_seconds(60));
    bench.gone("a", 1, Leaving::Broken);
    let [next] = &dispatches(&bench.land_all())[..] else { panic!("it goes on") };
    assert_eq!(next.handle.map(|handle| handle.digest), Some(handle.digest()));
}
