//! Jobs at providers: whatever no attempt goes on with is owed a cancel, until it is known what became of it.

use std::sync::Arc;

use serde_json::json;

use super::course::{Course, failure, success, value};
use crate::explain::finishing;
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::Subject;
use crate::partition::batch::Phase;
use crate::run::event::{Attempt, ErrorClass, Fact, LossCause};
use crate::run::{Command, JobEnd, JobKey, Outcome, Rejection, Run, RunStatus};

fn graph(policy: serde_json::Value) -> Arc<Graph> {
    Fixture::default().work("a", "pollable", &policy).build()
}

/// A course whose node has a job.
fn at_work(policy: serde_json::Value) -> (Course, Attempt) {
    let mut course = Course::begin(&graph(policy));
    let attempt = begin_job(&mut course, "a");
    (course, attempt)
}

fn begin_job(course: &mut Course, node: &str) -> Attempt {
    let attempt = course.assign(course.instance(node), 1, false);
    course.command(Command::Intend { attempt }).unwrap();
    course.command(Command::Checkpoint { attempt, handle: value("job") }).unwrap();
    attempt
}

fn cancel(course: &mut Course) {
    course.command(Command::Cancel { by: Subject::from("somebody"), reason: None }).unwrap();
}

fn owed(course: &Course) -> Vec<JobKey> {
    assert_eq!(course.replayed().snapshot(), course.run.snapshot(), "a replay owes the same");
    let restored = Run::restore(course.run.id(), Arc::clone(course.run.graph()), &course.run.snapshot()).unwrap();
    assert!(restored.owed_cancels().eq(course.run.owed_cancels()), "a snapshot holds what is owed");
    course.run.owed_cancels().map(|(job, _)| job).collect()
}

#[test]
fn a_run_that_is_over_is_closed_when_it_is_known_what_became_of_its_jobs() {
    let (mut course, attempt) = at_work(json!({}));
    cancel(&mut course);
    assert!(owed(&course).is_empty(), "its agent has it");
    course.finish(attempt, Outcome::Stopped).unwrap();
    let job = JobKey::from(&attempt);
    assert_eq!(owed(&course), [job]);
    assert_eq!(course.value(&course.run.owed_cancel(job).unwrap().handle), value("job"));
    assert_eq!((course.run.is_closed(), course.run.summary().phase), (false, Phase::Closing));
    course.command(Command::EndJob { job, end: JobEnd::Cancelled }).unwrap();
    assert!(owed(&course).is_empty());
    assert_eq!((course.run.is_closed(), course.run.summary().phase), (true, Phase::Closed));
    assert_eq!(course.command(Command::EndJob { job, end: JobEnd::Over }), Err(Rejection::Idle), "it counts once");
    let facts = course.facts();
    assert_eq!(facts[facts.len() - 3..], ["run.cancelled", "attempt.stopped", "attempt.provider_cancelled"]);
}

#[test]
fn the_job_of_a_lost_attempt_is_owed_when_nobody_will_take_it_over() {
    // Between two attempts, at the end of the run.
    let (mut course, attempt) = at_work(json!({}));
    course.command(Command::Lose { attempt, cause: LossCause::StreamGone }).unwrap();
    assert!(owed(&course).is_empty(), "the next attempt asks for it");
    cancel(&mut course);
    assert_eq!(owed(&course), [JobKey::from(&attempt)]);
    // After the end.
    let (mut course, attempt) = at_work(json!({}));
    cancel(&mut course);
    course.command(Command::Lose { attempt, cause: LossCause::NewBoot }).unwrap();
    assert_eq!(owed(&course), [JobKey::from(&attempt)]);
    // With an attempt that was given it and never began.
    let (mut course, attempt) = at_work(json!({}));
    course.command(Command::Lose { attempt, cause: LossCause::StreamGone }).unwrap();
    let next = course.assign(course.instance("a"), 2, false);
    course.command(Command::HandBack { attempt: next }).unwrap();
    cancel(&mut course);
    assert_eq!(owed(&course), [JobKey::from(&next)], "once, by whoever had it last");
}

#[test]
fn a_job_that_gave_its_result_is_owed_nothing() {
    let (mut course, attempt) = at_work(json!({}));
    course.finish(attempt, success("done")).unwrap();
    assert!(owed(&course).is_empty() && course.run.is_closed());
    let (mut course, attempt) = at_work(json!({}));
    cancel(&mut course);
    course.finish(attempt, success("late")).unwrap();
    assert!(owed(&course).is_empty() && course.run.is_closed());
    assert_eq!(course.facts().last(), Some(&"attempt.discarded"));
}

#[test]
fn a_failed_attempt_leaves_its_job_and_the_next_begins_another() {
    let (mut course, attempt) = at_work(json!({"retry": {"maxAttempts": 2, "initialMs": 1}}));
    course.finish(attempt, failure(ErrorClass::Timeout)).unwrap();
    assert_eq!(owed(&course), [JobKey::from(&attempt)]);
    assert!(!course.run.is_parked(), "it stays in memory until that is settled");
    course.pass(1);
    let next = begin_job(&mut course, "a");
    course.command(Command::EndJob { job: (&attempt).into(), end: JobEnd::Over }).unwrap();
    course.finish(next, success("done")).unwrap();
    assert!(owed(&course).is_empty());
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn people_who_decide_on_an_unknown_outcome_decide_on_its_job() {
    let (mut course, attempt) = at_work(json!({"onUnknown": "park", "retry": {"maxAttempts": 1}}));
    course.finish(attempt, failure(ErrorClass::UnknownOutcome)).unwrap();
    assert_eq!(course.run.open_reviews().count(), 1);
    assert!(owed(&course).is_empty(), "until they have");
    cancel(&mut course);
    assert_eq!(owed(&course), [JobKey::from(&attempt)]);
}

#[test]
fn a_handle_that_comes_after_the_end_is_kept_to_cancel_its_job() {
    let mut course = Course::begin(&graph(json!({})));
    let attempt = course.assign(course.instance("a"), 1, false);
    course.command(Command::Intend { attempt }).unwrap();
    cancel(&mut course);
    course.command(Command::Checkpoint { attempt, handle: value("job") }).unwrap();
    course.command(Command::Lose { attempt, cause: LossCause::NewBoot }).unwrap();
    assert_eq!(owed(&course), [JobKey::from(&attempt)]);
}

#[test]
fn a_handle_that_is_told_again_is_no_event() {
    let (mut course, attempt) = at_work(json!({}));
    let told = course.facts().len();
    let again = Command::Checkpoint { attempt, handle: value("job") };
    assert_eq!(course.command(again.clone()), Err(Rejection::AlreadyCommitted));
    cancel(&mut course);
    assert_eq!(course.command(again), Err(Rejection::AlreadyCommitted), "nor after the end");
    assert_eq!(course.facts()[told..], ["run.cancelled"]);
    // Whoever takes the job over knows it, too.
    let (mut course, attempt) = at_work(json!({}));
    course.command(Command::Lose { attempt, cause: LossCause::StreamGone }).unwrap();
    let attempt = course.assign(course.instance("a"), 2, false);
    let again = Command::Checkpoint { attempt, handle: value("job") };
    assert_eq!(course.command(again), Err(Rejection::AlreadyCommitted));
    course.command(Command::Checkpoint { attempt, handle: value("another") }).unwrap();
    cancel(&mut course);
    course.finish(attempt, Outcome::Stopped).unwrap();
    assert_eq!(course.value(&course.run.owed_cancel((&attempt).into()).unwrap().handle), value("another"));
}

#[test]
fn a_job_of_an_earlier_release_is_told_anew_and_then_cancelled() {
    let (mut course, attempt) = at_work(json!({}));
    for event in &mut course.events {
        if let Fact::HandleRecorded { cancels, .. } = &mut event.fact {
            *cancels = None;
        }
    }
    course.run = course.replayed();
    course.command(Command::Checkpoint { attempt, handle: value("job") }).unwrap();
    cancel(&mut course);
    course.finish(attempt, Outcome::Stopped).unwrap();
    assert_eq!(owed(&course), [JobKey::from(&attempt)]);
}

#[test]
fn who_loses_a_race_leaves_a_job() {
    let graph = Fixture::default()
        .work("a", "pollable", &json!({}))
        .work("b", "pure", &json!({}))
        .logic("race", "race", json!({"cancelLosers": true}))
        .output("end")
        .edge("a.out", "race")
        .edge("b.out", "race")
        .edge("race", "end")
        .build();
    let mut course = Course::begin(&graph);
    let attempt = begin_job(&mut course, "a");
    let winner = course.assign(course.instance("b"), 1, false);
    course.finish(winner, success("first")).unwrap();
    course.finish(attempt, Outcome::Stopped).unwrap();
    assert_eq!(owed(&course), [JobKey::from(&attempt)]);
    assert!(course.is_over() && !course.run.is_closed());
}

#[test]
fn an_item_that_has_closed_still_owes_what_it_left() {
    let graph = Fixture::default()
        .list("list", json!([1, 2]))
        .logic("m", "map", json!({"onItemError": "skip"}))
        .work("w", "pollable", &json!({"retry": {"maxAttempts": 1}}))
        .inside("m")
        .output("end")
        .edge("list", "m.items")
        .edge("m.item", "w.extra")
        .edge("w.out", "m.result")
        .edge("m.results", "end")
        .build();
    let mut course = Course::begin(&graph);
    let instance = course.next_ready().unwrap();
    let attempt = course.assign(instance, 1, false);
    course.command(Command::Intend { attempt }).unwrap();
    course.command(Command::Checkpoint { attempt, handle: value("job") }).unwrap();
    course.finish(attempt, failure(ErrorClass::InvalidRequest)).unwrap();
    course.run_through(|_, _| success("done"));
    assert_eq!(owed(&course), [JobKey::from(&attempt)]);
    assert!(course.is_over() && !course.run.is_closed());
}

#[test]
fn a_run_that_has_failed_says_what_is_let_finish() {
    let graph = Fixture::default()
        .work("a", "pollable", &json!({}))
        .work("b", "pollable", &json!({"onRunFailure": "stop"}))
        .work("c", "pure", &json!({"retry": {"maxAttempts": 1}}))
        .build();
    let mut course = Course::begin(&graph);
    let attempts = ["a", "b"].map(|node| begin_job(&mut course, node));
    let fails = course.assign(course.instance("c"), 1, false);
    assert_eq!(finishing(&course.run), None, "it goes on");
    course.finish(fails, failure(ErrorClass::InvalidRequest)).unwrap();
    assert_eq!(course.run.status(), RunStatus::Failed);
    let sentence = finishing(&course.run).unwrap();
    assert!(sentence.starts_with("1 attempt still works: it is let finish"), "{sentence}");
    for attempt in attempts {
        course.finish(attempt, success("late")).unwrap();
    }
    assert_eq!(finishing(&course.run), None);
}

#[test]
fn a_type_that_cannot_cancel_says_so_once() {
    let node = json!({"nodeType": "debug:other", "config": {"effect": "pollable"}});
    let mut course = Course::begin(&Fixture::default().text("t", "x").node("a", node).edge("t", "a.in").build());
    let attempt = begin_job(&mut course, "a");
    cancel(&mut course);
    course.finish(attempt, Outcome::Stopped).unwrap();
    assert_eq!(owed(&course), [JobKey::from(&attempt)]);
    assert!(!course.run.owed_cancel((&attempt).into()).unwrap().cancels);
    course.command(Command::EndJob { job: (&attempt).into(), end: JobEnd::Unsupported }).unwrap();
    assert_eq!(course.facts().last(), Some(&"attempt.provider_not_cancelled"));
}

#[test]
fn who_decides_on_a_lost_attempt_is_told_to_look_for_its_job() {
    let mut course = Course::begin(&graph(json!({"onUnknown": "park"})));
    let attempt = course.assign(course.instance("a"), 1, false);
    course.command(Command::Intend { attempt }).unwrap();
    course.command(Command::Lose { attempt, cause: LossCause::NewBoot }).unwrap();
    let Some(Fact::Lost { failure: Some(error), asks: true, .. }) = course.events.last().map(|event| &event.fact)
    else {
        panic!("people are asked")
    };
    assert!(error.message.ends_with("look at the provider, where it may go on"), "{error:?}");
    cancel(&mut course);
    assert!(owed(&course).is_empty() && course.run.is_closed(), "nobody knows what to cancel");
}

#[test]
fn histories_of_earlier_releases_owe_nothing() {
    let (mut course, attempt) = at_work(json!({}));
    cancel(&mut course);
    course.finish(attempt, Outcome::Stopped).unwrap();
    for event in &mut course.events {
        if let Fact::HandleRecorded { cancels, .. } = &mut event.fact {
            *cancels = None;
        }
    }
    assert!(course.replayed().is_closed());
}
