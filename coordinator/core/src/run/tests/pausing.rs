//! Runs that stand still on purpose, and how long runs may be active.

use serde_json::json;

use super::course::{Course, failure, success};
use crate::graph::fixture::Fixture;
use crate::id::{NodeIx, Subject};
use crate::limits;
use crate::run::event::ErrorClass;
use crate::run::{Command, NodePhase, PauseChange, Rejection, Run, RunStatus};

fn pause() -> Command {
    let change = PauseChange::Pause { reason: Some("look first".into()) };
    Command::Pause { change, by: Subject::from("ann") }
}

fn unpause() -> Command {
    Command::Pause { change: PauseChange::Unpause, by: Subject::from("bea") }
}

fn phase(course: &Course, id: &str) -> NodePhase {
    course.run.phase_of(course.instance(id).node)
}

#[test]
fn what_is_at_work_finishes_and_nothing_begins_until_it_goes_on() {
    let graph =
        Fixture::default().input("in").work("a", "pure", &json!({})).work("b", "pure", &json!({})).output("out");
    let mut course = Course::begin(&graph.edge("in", "a").edge("a", "b").edge("b", "out").build());
    let [a, b] = ["a", "b"].map(|id| course.instance(id));
    let attempt = course.assign(a, 1, false);
    course.command(pause()).unwrap();
    assert_eq!(
        course.run.pause().map(|pause| (&*pause.by.0, pause.reason.as_deref())),
        Some(("ann", Some("look first")))
    );
    assert!(!course.run.is_parked(), "an agent has something of it");
    course.finish(attempt, success("done")).unwrap();
    assert_eq!((phase(&course, "a"), phase(&course, "b")), (NodePhase::Completed, NodePhase::Ready));
    assert!(!course.run.can_assign(b, course.now) && course.run.is_parked());
    assert_eq!((course.run.next_due(), course.run.summary().next_due), (None, None), "only a word brings it back");
    course.command(unpause()).unwrap();
    assert!(course.run.can_assign(b, course.now) && course.run.pause().is_none());
    let attempt = course.assign(b, 1, false);
    course.finish(attempt, success("done")).unwrap();
    assert_eq!(course.run.status(), RunStatus::Completed);
    let names = ["run.paused", "node.completed", "run.unpaused"];
    assert_eq!(course.facts()[2..5], names);
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
}

#[test]
fn a_second_pause_gives_a_newer_reason_and_the_first_instant_stays() {
    let mut course = Course::begin(&Fixture::default().wait("w", 5_000).build());
    course.command(pause()).unwrap();
    let since = course.run.pause().unwrap().at;
    course.pass(1_000);
    let again = |reason: Option<&str>, by: &str| {
        let change = PauseChange::Pause { reason: reason.map(Into::into) };
        Command::Pause { change, by: Subject::from(by) }
    };
    assert_eq!(course.command(again(Some("look first"), "ann")), Err(Rejection::Idle), "it was said already");
    assert_eq!(course.command(again(None, "bea")), Err(Rejection::Idle));
    course.command(again(Some("too dear"), "bea")).unwrap();
    let pause = course.run.pause().unwrap();
    assert_eq!((pause.at, &*pause.by.0, pause.reason.as_deref()), (since, "bea", Some("too dear")));
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
}

#[test]
fn nothing_is_decided_meanwhile() {
    let graph = Fixture::default().work("a", "pure", &json!({})).wait("w", 5_000).output("out");
    let mut course = Course::begin(&graph.edge("a", "w").edge("w", "out").build());
    let attempt = course.assign(course.instance("a"), 1, false);
    course.command(pause()).unwrap();
    course.finish(attempt, success("done")).unwrap();
    assert_eq!((phase(&course, "w"), course.run.next_decision()), (NodePhase::Due, None));
    course.command(unpause()).unwrap();
    assert_eq!(phase(&course, "w"), NodePhase::Waiting, "it begins to wait when the run goes on");
}

#[test]
fn a_timer_fires_when_the_run_goes_on() {
    let mut course = Course::begin(&Fixture::default().wait("w", 5_000).output("out").edge("w", "out").build());
    course.command(pause()).unwrap();
    course.pass(9_000);
    assert_eq!(course.command(Command::Wake), Err(Rejection::Idle));
    assert_eq!(course.run.next_alarm(course.now), None);
    course.command(unpause()).unwrap();
    assert_eq!(course.run.next_alarm(course.now), Some(course.now));
    course.command(Command::Wake).unwrap();
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn a_retry_waits_until_the_run_goes_on() {
    let mut course = Course::begin(&Fixture::default().work("a", "pure", &json!({"retry": {"initialMs": 10}})).build());
    let a = course.instance("a");
    let attempt = course.assign(a, 1, false);
    course.command(pause()).unwrap();
    course.finish(attempt, failure(ErrorClass::Retryable)).unwrap();
    course.pass(60_000);
    assert!(!course.run.can_assign(a, course.now) && course.run.retries_due(course.now).next().is_none());
    assert!(course.run.is_parked());
    course.command(unpause()).unwrap();
    assert!(course.run.can_assign(a, course.now));
}

#[test]
fn a_second_time_there_is_nothing_to_do_and_after_the_end_it_is_refused() {
    let mut course = Course::begin(&Fixture::default().work("a", "pure", &json!({})).build());
    assert_eq!(course.command(unpause()), Err(Rejection::Idle));
    course.command(pause()).unwrap();
    assert_eq!(course.command(pause()), Err(Rejection::Idle));
    course.command(Command::Cancel { by: Subject::from("ann"), reason: None }).unwrap();
    assert_eq!(course.run.status(), RunStatus::Cancelled);
    assert!(course.run.is_closed() && course.run.pause().is_none());
    assert_eq!(course.command(unpause()), Err(Rejection::Over(RunStatus::Cancelled)));
    assert_eq!(course.command(pause()), Err(Rejection::Over(RunStatus::Cancelled)));
}

#[test]
fn a_failure_ends_a_paused_run() {
    let mut course =
        Course::begin(&Fixture::default().work("a", "pure", &json!({"retry": {"maxAttempts": 1}})).build());
    let attempt = course.assign(course.instance("a"), 1, false);
    course.command(pause()).unwrap();
    course.finish(attempt, failure(ErrorClass::Internal)).unwrap();
    assert_eq!(course.run.status(), RunStatus::Failed, "its end begins nothing");
}

#[test]
fn a_pause_is_no_active_time() {
    let mut course = Course::begin(&Fixture::default().work("a", "pure", &json!({})).build());
    let attempt = course.assign(course.instance("a"), 1, false);
    course.pass(limits::RUN_DEADLINE.as_millis() - 10);
    course.command(pause()).unwrap();
    course.pass(limits::RUN_DEADLINE.as_millis());
    course.command(unpause()).unwrap();
    assert_eq!(course.command(Command::Wake), Err(Rejection::Idle));
    course.pass(10);
    course.command(Command::Wake).unwrap();
    assert_eq!(course.run.error().map(|error| &*error.code), Some("run_timeout"));
    course.finish(attempt, success("late")).unwrap();
    assert!(course.run.is_closed());
}

#[test]
fn a_first_try_that_waits_for_an_agent_is_active_and_a_later_one_is_not() {
    let graph = Fixture::default().work("a", "pure", &json!({"retry": {"initialMs": 10}})).build();
    let long = limits::RUN_DEADLINE.as_millis() + 10;
    let mut first = Course::begin(&graph);
    first.pass(long);
    first.command(Command::Wake).unwrap();
    assert_eq!(first.run.error().map(|error| &*error.code), Some("run_timeout"));
    let mut later = Course::begin(&graph);
    let a = later.instance("a");
    let attempt = later.assign(a, 1, false);
    later.finish(attempt, failure(ErrorClass::Retryable)).unwrap();
    later.pass(long);
    assert!(later.run.can_assign(a, later.now), "its pause is over");
    assert_eq!(later.command(Command::Wake), Err(Rejection::Idle));
    // What it waited is in the history as a wait: the deadline that follows from it has moved on.
    let attempt = later.assign(a, 1, false);
    later.pass(limits::RUN_DEADLINE.as_millis() - 10);
    assert_eq!(later.command(Command::Wake), Err(Rejection::Idle));
    later.finish(attempt, success("done")).unwrap();
    assert_eq!(later.run.status(), RunStatus::Completed);
}

#[test]
fn a_snapshot_keeps_the_pause() {
    let mut course = Course::begin(&Fixture::default().work("a", "pure", &json!({})).build());
    course.command(pause()).unwrap();
    let restored = Run::restore(course.run.id(), course.run.graph().clone(), &course.run.snapshot()).unwrap();
    assert_eq!(restored.pause(), course.run.pause());
    assert!(!restored.can_assign(restored.graph().find("a").map(crate::id::Instance::root).unwrap(), course.now));
}

#[test]
fn nodes_without_inputs_stand_still_too() {
    let graph = Fixture::default().work("a", "pure", &json!({})).work("b", "pure", &json!({}));
    let mut course = Course::begin(&graph.build());
    course.command(pause()).unwrap();
    let can_go =
        |course: &Course| [0, 1].map(|ix| course.run.can_assign(crate::id::Instance::root(NodeIx(ix)), course.now));
    assert_eq!(can_go(&course), [false; 2]);
    course.command(unpause()).unwrap();
    assert_eq!(can_go(&course), [true; 2]);
}
