use std::sync::Arc;

use serde_json::json;

use super::course::{Course, failure, success, value};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{AttemptNumber, Instance, PortIx, Subject};
use crate::limits;
use crate::run::event::{ErrorClass, LossCause, OutputValue};
use crate::run::view::RunView;
use crate::run::{Command, NodePhase, Outcome, Rejection, Run, RunStatus};

fn one(effect: &str, policy: &serde_json::Value) -> Arc<Graph> {
    Fixture::default().work("a", effect, policy).build()
}

fn cancel() -> Command {
    Command::Cancel { by: Subject::from("somebody"), reason: None }
}

#[test]
fn values_flow_from_input_to_output() {
    let graph = Fixture::default().input("in").work("a", "pure", &json!({})).output("out");
    let mut course = Course::begin(&graph.edge("in", "a").edge("a", "out").build());
    let a = course.instance("a");
    assert!(course.run.ready().eq([a]));
    let attempt = course.assign(a, 1, false);
    course.finish(attempt, success("done")).unwrap();
    assert_eq!(course.facts(), ["run.started", "run.continued", "node.completed", "run.completed"]);
    assert_eq!(course.events[2].decisions.len(), 1, "the output is decided in the row of the result");
    let out = course.instance("out").node;
    let Some(OutputValue::One(reference)) = course.run.output(out, PortIx(0)) else { panic!("no output") };
    assert_eq!(reference.digest, value("done").digest());
    assert!(course.run.is_closed());
}

#[test]
fn a_failed_attempt_is_tried_again_after_its_pause_and_then_no_more() {
    let mut course = Course::begin(&one("pure", &json!({"retry": {"maxAttempts": 2, "initialMs": 100}})));
    let a = course.instance("a");
    let attempt = course.assign(a, 1, false);
    course.finish(attempt, failure(ErrorClass::Retryable)).unwrap();
    assert!(!course.run.can_assign(a, course.now), "the pause is not over");
    course.pass(100);
    assert!(course.run.can_assign(a, course.now));
    let attempt = course.assign(a, 1, false);
    assert_eq!(attempt.number, AttemptNumber(2));
    course.finish(attempt, failure(ErrorClass::Retryable)).unwrap();
    assert_eq!(course.run.status(), RunStatus::Failed);
    assert_eq!(course.run.error().unwrap().node, Some(a.node));
}

#[test]
fn being_limited_uses_up_no_try_and_a_wrong_request_is_not_repeated() {
    let mut course = Course::begin(&one("pure", &json!({"retry": {"maxAttempts": 2, "initialMs": 1}})));
    let a = course.instance("a");
    for _ in 0..5 {
        let attempt = course.assign(a, 1, false);
        course.finish(attempt, failure(ErrorClass::RateLimited)).unwrap();
        course.pass(10);
    }
    let attempt = course.assign(a, 1, false);
    course.finish(attempt, failure(ErrorClass::InvalidRequest)).unwrap();
    assert_eq!(course.run.status(), RunStatus::Failed);
}

#[test]
fn only_the_current_token_is_believed() {
    let mut course = Course::begin(&one("pure", &json!({})));
    let a = course.instance("a");
    let first = course.assign(a, 1, false);
    course.command(Command::Lose { attempt: first, cause: LossCause::StreamGone }).unwrap();
    let second = course.assign(a, 2, false);
    assert_eq!(course.finish(first, success("late")), Err(Rejection::Zombie));
    course.finish(second, success("done")).unwrap();
    assert_eq!(course.finish(second, success("done")), Err(Rejection::AlreadyCommitted));
    assert_eq!(course.finish(first, success("later")), Err(Rejection::Zombie));
}

#[test]
fn an_attempt_that_may_have_acted_is_not_repeated_unasked() {
    for (policy, ends) in [("park", false), ("fail", true), ("retry", false)] {
        let mut course = Course::begin(&one("blind", &json!({"onUnknown": policy})));
        let a = course.instance("a");
        let attempt = course.assign(a, 1, false);
        course.command(Command::Lose { attempt, cause: LossCause::StreamGone }).unwrap();
        assert_eq!(course.run.phase_of(a.node), NodePhase::Ready, "before its intent it has done nothing");
        let attempt = course.assign(a, 2, false);
        course.command(Command::Intend { attempt }).unwrap();
        assert_eq!(course.command(Command::Intend { attempt }), Err(Rejection::AlreadyCommitted));
        course.command(Command::Lose { attempt, cause: LossCause::StreamGone }).unwrap();
        assert_eq!(course.is_over(), ends, "{policy}");
        let asked = course.run.open_reviews().count();
        assert_eq!(asked, usize::from(policy == "park"), "{policy}");
    }
}

#[test]
fn the_next_attempt_polls_the_job_of_a_lost_one() {
    let mut course = Course::begin(&one("pollable", &json!({"onUnknown": "fail"})));
    let a = course.instance("a");
    let attempt = course.assign(a, 1, false);
    course.command(Command::Intend { attempt }).unwrap();
    course.command(Command::Checkpoint { attempt, handle: value("job") }).unwrap();
    course.command(Command::Lose { attempt, cause: LossCause::StreamGone }).unwrap();
    let next = course.assign(a, 2, false);
    let handle = course.run.attempt(a).unwrap().job.unwrap().handle;
    assert_eq!(handle.digest, value("job").digest());
    // What it was given back, the one after it gets as well; after a failure there is nothing to ask for.
    course.command(Command::HandBack { attempt: next }).unwrap();
    let next = course.assign(a, 2, false);
    assert!(course.run.attempt(a).unwrap().job.is_some());
    course.finish(next, failure(ErrorClass::Retryable)).unwrap();
    course.pass(1_000);
    course.assign(a, 2, false);
    assert_eq!(course.run.attempt(a).unwrap().job, None);
}

#[test]
fn three_deaths_while_alone_prove_a_poison() {
    let mut course = Course::begin(&one("pure", &json!({})));
    let a = course.instance("a");
    for boot in 0..u64::from(limits::POISON_SUSPECT_DEATHS) {
        assert!(!course.run.is_suspect(a));
        let attempt = course.assign(a, boot, false);
        course.command(Command::Lose { attempt, cause: LossCause::NewBoot }).unwrap();
    }
    for boot in 10..10 + u64::from(limits::POISON_PROOFS) {
        assert!(course.run.is_suspect(a) && !course.is_over());
        let attempt = course.assign(a, boot, true);
        course.command(Command::Lose { attempt, cause: LossCause::NewBoot }).unwrap();
    }
    assert_eq!(course.run.error().unwrap().class, Some(ErrorClass::Poison));
}

#[test]
fn whoever_reports_is_no_suspect() {
    let mut course = Course::begin(&one("pure", &json!({"retry": {"initialMs": 1}})));
    let a = course.instance("a");
    for boot in 0..2 {
        let attempt = course.assign(a, boot, false);
        course.command(Command::Lose { attempt, cause: LossCause::NewBoot }).unwrap();
    }
    let attempt = course.assign(a, 3, true);
    course.finish(attempt, failure(ErrorClass::Retryable)).unwrap();
    assert!(!course.run.is_suspect(a));
}

#[test]
fn a_closed_port_skips_what_needs_it() {
    let graph = Fixture::default().work("a", "pure", &json!({})).work("b", "pure", &json!({})).output("out");
    let mut course = Course::begin(&graph.edge("a.side", "b").edge("b", "out").build());
    let a = course.instance("a");
    let attempt = course.assign(a, 1, false);
    course.finish(attempt, success("done")).unwrap();
    assert_eq!(course.run.phase_of(course.instance("b").node), NodePhase::Skipped);
    assert_eq!(course.run.phase_of(course.instance("out").node), NodePhase::Skipped);
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn a_wait_parks_the_run_and_does_not_count_against_its_deadline() {
    let mut course = Course::begin(&Fixture::default().wait("w", 200_000_000).output("out").edge("w", "out").build());
    assert!(course.run.is_parked());
    assert_eq!(course.command(Command::Wake), Err(Rejection::Idle));
    course.pass(200_000_000);
    course.command(Command::Wake).unwrap();
    assert_eq!(course.facts(), ["run.started", "timer.fired", "run.completed"]);
}

#[test]
fn an_active_run_ends_at_its_deadline() {
    let mut course = Course::begin(&one("pure", &json!({})));
    course.pass(limits::RUN_DEADLINE.as_millis());
    course.command(Command::Wake).unwrap();
    assert_eq!(&*course.run.error().unwrap().code, "run_timeout");
}

#[test]
fn after_the_end_there_is_only_bookkeeping() {
    for (effect, outcome, fact) in [
        ("pure", success("late"), "attempt.discarded"),
        ("pure", Outcome::Stopped, "attempt.stopped"),
        ("blind", failure(ErrorClass::Retryable), "attempt.stopped"),
    ] {
        let mut course = Course::begin(&one(effect, &json!({})));
        let a = course.instance("a");
        let attempt = course.assign(a, 1, false);
        course.command(cancel()).unwrap();
        assert_eq!(course.command(cancel()), Err(Rejection::Over(RunStatus::Cancelled)));
        assert!(course.run.attempt(a).unwrap().stopping && !course.run.is_closed());
        course.finish(attempt, outcome).unwrap();
        assert_eq!(course.facts().last(), Some(&fact));
        assert!(course.run.is_closed() && course.run.status() == RunStatus::Cancelled);
    }
}

#[test]
fn paid_work_finishes_when_its_run_fails_elsewhere() {
    let graph =
        Fixture::default().work("a", "blind", &json!({})).work("b", "pure", &json!({"retry": {"maxAttempts": 1}}));
    let mut course = Course::begin(&graph.work("c", "pure", &json!({})).build());
    let [a, b, c] = ["a", "b", "c"].map(|id| course.instance(id));
    let [paid, fails, free] = [a, b, c].map(|instance| course.assign(instance, 1, false));
    course.finish(fails, failure(ErrorClass::Internal)).unwrap();
    assert!(course.run.attempt(c).unwrap().stopping && !course.run.attempt(a).unwrap().stopping);
    course.finish(paid, success("kept")).unwrap();
    course.finish(free, Outcome::Stopped).unwrap();
    assert_eq!(course.facts()[4..], ["node.failed", "run.failed", "attempt.settled", "attempt.stopped"]);
    assert!(course.run.is_closed());
}

#[test]
fn only_much_that_one_agent_made_draws_a_node_to_it() {
    let names: Vec<String> = (0..6).map(|number| format!("s{number}")).collect();
    let sources = names.iter().fold(Fixture::default(), |fixture, name| fixture.work(name, "pure", &json!({})));
    let graph = names.iter().fold(sources.work("t", "pure", &json!({})), |fixture, name| fixture.edge(name, "t"));
    let mut course = Course::begin(&graph.build());
    let target = course.instance("t").node;
    let large = "x".repeat(limits::INLINE_VALUE_BYTES_MAX - 2);
    for (name, is_enough) in names.iter().zip([false, false, false, true, true, true]) {
        let instance = course.instance(name);
        let attempt = course.assign(instance, 1, false);
        course.finish(attempt, success(&large)).unwrap();
        assert_eq!(course.run.near(Instance::root(target)).is_some(), is_enough, "{name}");
    }
    assert_eq!(course.run.near(Instance::root(target)), Some(&"agent".into()));
    assert_eq!(course.replayed().near(Instance::root(target)), course.run.near(Instance::root(target)));
    let restored = Run::restore(course.run.id(), course.run.graph().clone(), &course.run.snapshot()).unwrap();
    assert_eq!(restored.near(Instance::root(target)), course.run.near(Instance::root(target)));
}

#[test]
fn a_cancel_keeps_who_and_why() {
    let graph = one("pure", &json!({}));
    let mut course = Course::begin(&graph);
    let reason = Some("wrong input".into());
    course.command(Command::Cancel { by: Subject::from("ann"), reason }).unwrap();
    let mut events = course.events.iter();
    let mut view = RunView::begin(course.run.id(), graph, events.next().unwrap()).unwrap();
    events.for_each(|event| view.step(event).unwrap());
    assert_eq!(view.cancelled(), Some((&Subject::from("ann"), Some("wrong input"))));
}
