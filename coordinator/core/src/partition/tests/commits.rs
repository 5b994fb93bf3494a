//! Speculation: nothing leaves before what it depends on has landed (E3, I3).

use serde_json::json;

use super::bench::{Bench, RUN, cancel, dispatches, finished, replies, submit};
use crate::graph::fixture::Fixture;
use crate::id::{AgentId, CallerId, EventSeq, RunId, TenantId};
use crate::limits;
use crate::partition::batch::CommitOutcome;
use crate::partition::io::{Effect, Input, Refusal, Release, Reply, StopReason};
use crate::run::RunStatus;
use crate::run::event::Fact;

fn graph() -> std::sync::Arc<crate::graph::Graph> {
    Fixture::default().work("a", "pure", &json!({})).build()
}

#[test]
fn answers_and_attempts_leave_when_their_batch_has_landed() {
    let mut bench = Bench::with_agent();
    assert!(bench.on([submit(RUN, &graph(), None)]).releases.is_empty());
    let releases = bench.land().releases;
    assert!(matches!(replies(&releases)[..], [(1, Reply::Submitted { run: RUN, replayed: false, .. })]));
    assert_eq!(dispatches(&releases).len(), 1);
    let first = &bench.history[&RUN][0];
    assert_eq!(first.assignments.len(), 1, "the assignment rides on the event that made it ready");
}

#[test]
fn a_rejection_waits_for_the_youngest_batch_that_it_observed() {
    let mut bench = Bench::with_agent();
    bench.start(RUN, &graph());
    assert!(bench.on([cancel(2, RUN)]).releases.is_empty());
    // The second cancel is refused on the ground of the first, which is on its way.
    assert!(bench.on([cancel(3, RUN)]).releases.is_empty());
    let answers = replies(&bench.land().releases);
    let answer = |applied| Reply::Cancelled { status: RunStatus::Cancelled, applied, seq: EventSeq(2) };
    assert_eq!(answers, [(2, answer(true)), (3, answer(false))]);
    // With nothing on its way it leaves at once.
    assert_eq!(replies(&bench.on([cancel(4, RUN)]).releases), [(4, answer(false))]);
}

#[test]
fn what_depends_on_the_open_batch_waits_for_that_one() {
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph())[..] else { panic!("one attempt") };
    bench.on([submit(RunId(2), &graph(), None)]);
    bench.on([finished(attempt, "done"), cancel(3, RUN)]);
    assert!(!replies(&bench.land().releases).iter().any(|(caller, _)| *caller == 3));
    let releases = bench.land().releases;
    assert!(matches!(replies(&releases)[..], [(3, Reply::Cancelled { applied: false, .. })]));
    assert!(releases.iter().any(|release| matches!(release, Release::Effect(Effect::Acknowledge { .. }))));
}

#[test]
fn a_batch_that_does_not_land_takes_the_open_one_with_it() {
    for (outcome, reason) in
        [(CommitOutcome::Refused, StopReason::Fenced), (CommitOutcome::Unknown, StopReason::Unknown)]
    {
        let mut bench = Bench::with_agent();
        bench.on([submit(RUN, &graph(), None)]);
        bench.on([submit(RunId(2), &graph(), None)]);
        let number = bench.flying.take().unwrap().number;
        // Whatever comes with the bad news asks again as well.
        let outputs = bench.on([Input::Committed(number, outcome), cancel(3, RUN)]);
        assert_eq!(outputs.stop, Some(reason));
        let retry = Reply::Refused(Refusal::Retry);
        assert_eq!(replies(&outputs.releases), [(1, retry.clone()), (2, retry.clone()), (3, retry)]);
        assert!(dispatches(&outputs.releases).is_empty());
        assert_eq!(bench.permits.free(&AgentId::from("a")), (2, 0), "no permit is lost");
        assert_eq!(bench.permits.busy(&AgentId::from("a")), 0);
    }
}

#[test]
fn a_run_that_cannot_be_written_is_set_aside_alone() {
    let mut bench = Bench::with_agent();
    bench.on([submit(RUN, &graph(), None), submit(RunId(2), &graph(), None)]);
    let releases = bench.land_without(&[RUN]).releases;
    assert_eq!(replies(&releases)[0], (1, Reply::Refused(Refusal::Quarantined)));
    assert!(matches!(replies(&releases)[1], (2, Reply::Submitted { .. })));
    assert_eq!(dispatches(&releases).len(), 1, "its attempt is not sent");
    assert_eq!(bench.permits.free(&AgentId::from("a")), (1, 0), "the attempt's permit is free again");
    assert_eq!(bench.partition.len(), 1);
}

#[test]
fn a_run_that_is_set_aside_is_stopped_where_it_runs() {
    let blind = Fixture::default().work("a", "blind", &json!({})).build();
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &blind)[..] else { panic!("one attempt") };
    let (from, key) = (attempt.to.clone(), attempt.key);
    bench.on([Input::Intent { from: from.clone(), key }]);
    let releases = bench.land_without(&[RUN]).releases;
    let effects: Vec<&Release> = releases.iter().filter(|release| matches!(release, Release::Effect(_))).collect();
    let refused = Effect::AnswerIntent { to: from.clone(), key, go: false };
    let stopped = Effect::CancelAttempt { to: from, key };
    assert_eq!(effects, [&Release::Effect(refused), &Release::Effect(stopped)]);
}

#[test]
fn the_same_key_starts_one_run_and_another_body_is_refused() {
    let mut bench = Bench::with_agent();
    let (one, two, three) = (RunId(1), RunId(2), RunId(3));
    let outputs = bench.on([submit(one, &graph(), Some(("k", "body"))), submit(two, &graph(), Some(("k", "body")))]);
    let [key] = &outputs.lookups[..] else { panic!("the journal is asked once") };
    bench.on([Input::KeyLookedUp(key.clone(), None), submit(three, &graph(), Some(("k", "other")))]);
    let answers = replies(&bench.land_all());
    assert!(matches!(answers[0], (1, Reply::Submitted { run, replayed: false, .. }) if run == one));
    assert!(matches!(answers[1], (2, Reply::Submitted { run, replayed: true, .. }) if run == one));
    assert_eq!(answers[2], (3, Reply::Refused(Refusal::KeyMismatch)));
    let row = bench.history[&one].first().map(|event| matches!(event.fact, Fact::Submitted(_)));
    assert_eq!((row, bench.history.len()), (Some(true), 1));
}

#[test]
fn replays_of_a_run_that_is_set_aside_are_refused_with_it() {
    let mut bench = Bench::with_agent();
    let outputs = bench.on([submit(RUN, &graph(), Some(("k", "body")))]);
    bench.on([Input::KeyLookedUp(outputs.lookups[0].clone(), None), submit(RunId(2), &graph(), Some(("k", "body")))]);
    let answers = replies(&bench.land_without(&[RUN]).releases);
    assert!(answers.iter().all(|(_, reply)| *reply == Reply::Refused(Refusal::Quarantined)), "{answers:?}");
    assert_eq!(answers.len(), 2);
}

#[test]
fn another_tenant_finds_nothing() {
    let mut bench = Bench::with_agent();
    bench.start(RUN, &graph());
    let (caller, by) = (CallerId(9), "somebody".into());
    let foreign = Input::Cancel { caller, run: RUN, tenant: TenantId::from("another"), by, reason: None };
    assert_eq!(replies(&bench.on([foreign]).releases), [(9, Reply::Refused(Refusal::NotFound))]);
}

#[test]
fn a_run_with_most_of_the_rows_is_put_off_once() {
    let mut bench = Bench::new();
    bench.join_with("a", 1, 16);
    let wide = (0..limits::HEAVY_RUN_EVENTS_MIN)
        .fold(Fixture::default(), |fixture, at| fixture.work(&format!("n{at}"), "pure", &json!({})))
        .build();
    let attempts = bench.start(RUN, &wide);
    assert_eq!(attempts.len(), limits::HEAVY_RUN_EVENTS_MIN);
    bench.on([submit(RunId(2), &graph(), None)]);
    bench.on(attempts.iter().map(|attempt| finished(attempt, "done")).chain([submit(RunId(3), &graph(), None)]));
    let written = |bench: &Bench| -> Vec<RunId> {
        bench.flying.iter().flat_map(|batch| batch.runs.iter().map(|written| written.run)).collect()
    };
    let acknowledged = |releases: &[Release]| {
        releases.iter().filter(|release| matches!(release, Release::Effect(Effect::Acknowledge { .. }))).count()
    };
    bench.land();
    assert_eq!(written(&bench), [RunId(3)], "who writes a row does not wait for the rows of the other");
    bench.on([submit(RunId(4), &graph(), None)]);
    let releases = bench.land().releases;
    assert!(dispatches(&releases).iter().any(|dispatch| dispatch.key.run == RunId(3)));
    assert_eq!(acknowledged(&releases), 0, "its results are not durable yet");
    assert_eq!(written(&bench), [RUN, RunId(4)], "the second time it goes with the others");
    assert_eq!(acknowledged(&bench.land().releases), attempts.len());
}
