//! Reviews: one test for each sentence of graph.md, part 7, that is about a run.
//!
//! | sentence | test |
//! |---|---|
//! | `approved` (the value, as edited), `rejected`, `comment` | `a_value_goes_on_as_it_was_approved`, `an_edit_goes_on_and_the_original_stays`, `what_is_rejected_leaves_by_its_port` |
//! | assignees | `only_those_whom_it_names_decide` |
//! | `timeoutMs` with `onTimeout: approve, reject, fail` | `a_review_that_nobody_decides_ends_as_it_says` |
//! | `escalate` hands the review on with a new due time, once | `others_decide_after_an_escalation_and_there_is_one` |
//! | required number of approvals; N approvals = N subjects | `several_people_have_to_approve`, `an_approval_is_of_one_version` |
//! | `policy.review` | `a_node_begins_when_it_may`, `what_a_node_gave_goes_on_when_it_may` |
//! | the run costs no memory and no slot | `a_run_that_waits_for_people_is_parked` |
//! | a restart changes nothing | `a_retry_is_of_the_next_generation` (all compare with a replay and a snapshot) |
//! | kind `outcome` | `people_decide_what_came_of_an_unknown_outcome` |
//! | `reject` takes the `rejected` branch or fails | `what_is_rejected_leaves_by_its_port`, `what_nobody_takes_fails` |
//! | `retry` runs the reviewed node again, in a new generation | `a_retry_is_of_the_next_generation`, `a_reviewed_node_runs_again` |
//! | Applied exactly once | `who_comes_second_is_told_so`, `a_decision_takes_the_timer_with_it` |
//! | a run's own key | `who_has_started_a_run_decides_only_if_allowed`, `who_has_started_what_a_run_goes_on_from_decides_only_if_allowed` |
//! | open reviews per run | `further_reviews_wait_until_one_closes` |
//! | the end of a run withdraws | `the_end_withdraws_what_is_open` |

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::course::{Course, failure, success, value};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{AttemptNumber, Generation, Instance, PortIx, ReviewIx, RunId, Subject};
use crate::limits;
use crate::run::event::{ErrorClass, Fact, LossCause, ReviewVerdict};
use crate::run::lineage::Lineage;
use crate::run::{Command, NodePhase, Outcome, Rejection, ReviewAnswer, ReviewChange, ReviewRefusal, Run, RunStatus};
use crate::value::{Artifact, Digest, Value};

pub(super) fn answer(review: u32, by: &str, verdict: ReviewVerdict) -> ReviewAnswer {
    ReviewAnswer {
        review: ReviewIx(review),
        by: Subject::from(by),
        verdict,
        edit: Vec::new(),
        config: None,
        comment: None,
        revision: None,
        decides_own: false,
    }
}

pub(super) fn say(course: &mut Course, answer: ReviewAnswer) -> Result<(), Rejection> {
    let said = course.command(Command::Answer(Box::new(answer)));
    same(course);
    said
}

pub(super) fn approve(course: &mut Course, review: u32) {
    say(course, answer(review, "ann", ReviewVerdict::Approve)).unwrap();
}

/// A restart changes nothing: neither a replay of the history nor a snapshot.
fn same(course: &Course) {
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
    let restored = Run::restore(course.run.id(), Arc::clone(course.run.graph()), &course.run.snapshot()).unwrap();
    assert_eq!(restored.snapshot(), course.run.snapshot());
    let mut view =
        crate::run::view::RunView::begin(course.run.id(), Arc::clone(course.run.graph()), &course.events[0]).unwrap();
    course.events[1..].iter().for_each(|event| view.step(event).unwrap());
}

fn json_value(value: &Json) -> Value {
    Value::from_json(Bytes::from(value.to_string()))
}

/// `in → review → out`, and `no` behind what was rejected, if wanted.
fn reviewed(config: Json, has_rejected: bool) -> Arc<Graph> {
    let graph = Fixture::default().input("in").logic("r", "review", config).output("out").edge("in", "r");
    let graph = graph.edge("r.approved", "out");
    if has_rejected { graph.output("no").edge("r.rejected", "no").build() } else { graph.build() }
}

pub(super) fn open(course: &Course) -> Vec<u32> {
    course.run.open_reviews().map(|(ix, _)| ix.0).collect()
}

#[test]
fn a_value_goes_on_as_it_was_approved() {
    let mut course = Course::begin(&reviewed(json!({}), true));
    assert_eq!((open(&course), course.is_over()), (vec![0], false));
    approve(&mut course, 0);
    assert_eq!(course.gave("out.value"), Some(json!("given")));
    assert_eq!((course.gave("r.rejected"), course.gave("r.comment")), (None, None));
    assert_eq!(
        (course.run.status(), course.run.phase_of(course.instance("no").node)),
        (RunStatus::Completed, NodePhase::Skipped)
    );
    assert_eq!(course.facts(), ["run.started", "review.decided", "run.completed"]);
}

#[test]
fn an_edit_goes_on_and_the_original_stays() {
    let mut course = Course::begin(&reviewed(json!({}), false));
    let edit = ReviewAnswer {
        edit: vec![(PortIx(0), json_value(&json!({"better": true})))],
        comment: Some("so".into()),
        ..answer(0, "ann", ReviewVerdict::Approve)
    };
    say(&mut course, edit).unwrap();
    assert_eq!(course.gave("out.value"), Some(json!({"better": true})));
    assert_eq!((course.gave("in.text"), course.gave("r.comment")), (Some(json!("given")), Some(json!("so"))));
    let Fact::Reviewed(reviewed) = &course.events[1].fact else { panic!("no decision") };
    assert_eq!(course.json(&reviewed.edit[0].value), json!({"better": true}));
}

#[test]
fn what_is_rejected_leaves_by_its_port() {
    let mut course = Course::begin(&reviewed(json!({}), true));
    say(&mut course, answer(0, "ann", ReviewVerdict::Reject)).unwrap();
    assert_eq!((course.gave("no.value"), course.gave("r.approved")), (Some(json!("given")), None));
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn what_nobody_takes_fails() {
    let mut course = Course::begin(&reviewed(json!({}), false));
    let rejection = ReviewAnswer { comment: Some("too long".into()), ..answer(0, "ann", ReviewVerdict::Reject) };
    say(&mut course, rejection).unwrap();
    let error = course.run.error().unwrap();
    assert_eq!((&*error.code, &*error.message), ("review_rejected", "ann rejected it: too long"));
    assert_eq!((course.run.status(), error.class), (RunStatus::Failed, Some(ErrorClass::Cancelled)));
}

#[test]
fn only_those_whom_it_names_decide() {
    let mut course = Course::begin(&reviewed(json!({"assignees": ["ann", "bea"]}), false));
    let refused = say(&mut course, answer(0, "cid", ReviewVerdict::Approve));
    assert_eq!(refused, Err(Rejection::Review(ReviewRefusal::NotAssignee)));
    say(&mut course, answer(0, "bea", ReviewVerdict::Approve)).unwrap();
    assert!(course.is_over());
}

#[test]
fn who_has_started_a_run_decides_only_if_allowed() {
    let mut course = Course::begin(&reviewed(json!({}), false));
    let own = answer(0, "somebody", ReviewVerdict::Approve);
    assert_eq!(say(&mut course, own.clone()), Err(Rejection::Review(ReviewRefusal::Own)));
    say(&mut course, ReviewAnswer { decides_own: true, ..own }).unwrap();
    assert!(course.is_over());
}

#[test]
fn who_has_started_what_a_run_goes_on_from_decides_only_if_allowed() {
    let graph = reviewed(json!({}), false);
    let parent = Course::begin(&graph);
    let mut lineage = Lineage { subjects: vec![Subject::from("ann")], ..Lineage::default() };
    lineage.note_starters(&parent.run);
    lineage.note_starters(&parent.run);
    assert_eq!(lineage.subjects, [Subject::from("ann"), Subject::from("somebody")], "each once");
    let of_parent = |subjects: &[&str]| {
        let subjects = subjects.iter().map(|subject| Subject::from(*subject)).collect();
        Some(Box::new(Lineage { subjects, ..Lineage::default() }))
    };
    let mut child = Course::begin_with(&graph, 0, RunId(8), (of_parent(&["ann"]), None), Vec::new());
    let mut after = Lineage::default();
    after.note_starters(&child.run);
    assert_eq!(after.subjects, [Subject::from("somebody"), Subject::from("ann")], "those before it count, too");
    let own = answer(0, "ann", ReviewVerdict::Approve);
    assert_eq!(say(&mut child, own.clone()), Err(Rejection::Review(ReviewRefusal::Own)));
    say(&mut child, ReviewAnswer { decides_own: true, ..own }).unwrap();
    assert!(child.is_over());
}

#[test]
fn several_people_have_to_approve() {
    let mut course = Course::begin(&reviewed(json!({"required": 2}), false));
    approve(&mut course, 0);
    let again = say(&mut course, answer(0, "ann", ReviewVerdict::Approve));
    assert_eq!(again, Err(Rejection::Review(ReviewRefusal::AlreadyApproved)), "approvals are of different people");
    let open = course.run.open_review(ReviewIx(0)).unwrap();
    assert_eq!((open.revision, open.approvals.len(), open.edits.len()), (1, 1, 0));
    let stale = ReviewAnswer { revision: Some(0), ..answer(0, "bea", ReviewVerdict::Approve) };
    assert_eq!(say(&mut course, stale), Err(Rejection::Review(ReviewRefusal::Stale { revision: 1 })));
    let seen = ReviewAnswer { revision: Some(1), ..answer(0, "bea", ReviewVerdict::Approve) };
    say(&mut course, seen).unwrap();
    assert_eq!(course.gave("out.value"), Some(json!("given")));
}

#[test]
fn an_approval_is_of_one_version() {
    let graph = reviewed(json!({"required": 2}), false);
    let edit =
        |text: &str, by| ReviewAnswer { edit: vec![(PortIx(0), value(text))], ..answer(0, by, ReviewVerdict::Approve) };
    let approvals = |course: &Course| course.run.open_review(ReviewIx(0)).map(|open| open.approvals.clone());
    let mut course = Course::begin(&graph);
    approve(&mut course, 0);
    say(&mut course, edit("second", "bea")).unwrap();
    assert_eq!(approvals(&course), Some(vec![Subject::from("bea")]), "the first one has approved something else");
    say(&mut course, edit("third", "bea")).unwrap();
    say(&mut course, edit("fourth", "cid")).unwrap();
    assert_eq!(approvals(&course), Some(vec![Subject::from("cid")]));
    approve(&mut course, 0);
    assert_eq!(course.gave("out.value"), Some(json!("fourth")), "two people have approved this one");
    let mut course = Course::begin(&graph);
    say(&mut course, edit("second", "ann")).unwrap();
    let same = say(&mut course, edit("second", "ann"));
    assert_eq!(same, Err(Rejection::Review(ReviewRefusal::AlreadyApproved)), "it is the same version");
    say(&mut course, edit("second", "bea")).unwrap();
    assert_eq!(course.gave("out.value"), Some(json!("second")), "who says the same approves it");
    let Fact::Reviewed(last) = &course.events[2].fact else { panic!("no decision") };
    assert!(last.edit.is_empty(), "nothing was changed");
}

#[test]
fn one_rejection_is_enough() {
    let mut course = Course::begin(&reviewed(json!({"required": 3}), true));
    approve(&mut course, 0);
    say(&mut course, answer(0, "bea", ReviewVerdict::Reject)).unwrap();
    assert_eq!(course.gave("no.value"), Some(json!("given")));
}

#[test]
fn a_review_that_nobody_decides_ends_as_it_says() {
    for (then, status, code) in [
        ("approve", RunStatus::Completed, None),
        ("reject", RunStatus::Failed, Some("review_rejected")),
        ("fail", RunStatus::Failed, Some("review_timeout")),
    ] {
        let mut course = Course::begin(&reviewed(json!({"timeoutMs": 500, "onTimeout": then}), false));
        course.pass(499);
        assert_eq!(course.command(Command::Wake), Err(Rejection::Idle), "{then}");
        course.pass(1);
        course.command(Command::Wake).unwrap();
        same(&course);
        assert_eq!((course.run.status(), course.run.error().map(|error| &*error.code)), (status, code), "{then}");
        assert!(course.facts().contains(&"review.timed_out"));
        let late = say(&mut course, answer(0, "ann", ReviewVerdict::Approve));
        assert_eq!(late, Err(Rejection::Over(status)));
    }
}

#[test]
fn others_decide_after_an_escalation_and_there_is_one() {
    let config = json!({"assignees": "ann", "timeoutMs": 100, "onTimeout": "escalate", "escalateTo": ["boss"]});
    let mut course = Course::begin(&reviewed(config, false));
    course.pass(100);
    course.command(Command::Wake).unwrap();
    same(&course);
    let open = course.run.open_review(ReviewIx(0)).unwrap();
    assert_eq!(
        (open.due_at, course.run.assignees(open)),
        (Some(course.now.plus(crate::time::Span::from_millis(100))), &["boss".into()][..])
    );
    let late = say(&mut course, answer(0, "ann", ReviewVerdict::Approve));
    assert_eq!(late, Err(Rejection::Review(ReviewRefusal::NotAssignee)));
    let mut other = Course::begin(course.run.graph());
    say(&mut course, answer(0, "boss", ReviewVerdict::Approve)).unwrap();
    assert_eq!(course.run.status(), RunStatus::Completed);
    for _ in 0..2 {
        other.pass(100);
        other.command(Command::Wake).unwrap();
    }
    same(&other);
    assert_eq!(other.run.error().map(|error| &*error.code), Some("review_timeout"));
}

#[test]
fn a_decision_takes_the_timer_with_it() {
    let graph = Fixture::default().input("in").logic("r", "review", json!({"timeoutMs": 100})).wait("w", 1_000);
    let mut course = Course::begin(&graph.edge("in", "r").edge("r.approved", "w").build());
    approve(&mut course, 0);
    course.pass(500);
    assert_eq!(course.command(Command::Wake), Err(Rejection::Idle), "its time says nothing any more");
}

#[test]
fn who_comes_second_is_told_so() {
    let graph = Fixture::default().input("in").logic("r", "review", json!({})).wait("w", 1_000);
    let mut course = Course::begin(&graph.edge("in", "r").edge("r.approved", "w").build());
    approve(&mut course, 0);
    for verdict in [ReviewVerdict::Approve, ReviewVerdict::Reject, ReviewVerdict::Retry] {
        assert_eq!(say(&mut course, answer(0, "bea", verdict)), Err(Rejection::Review(ReviewRefusal::Closed)));
    }
    assert_eq!(
        say(&mut course, answer(1, "bea", ReviewVerdict::Approve)),
        Err(Rejection::Review(ReviewRefusal::Unknown))
    );
}

#[test]
fn what_is_not_allowed_is_refused() {
    let mut course = Course::begin(&reviewed(json!({"allow": ["approve"]}), false));
    let not = |what| Err(Rejection::Review(ReviewRefusal::NotAllowed(what)));
    assert_eq!(say(&mut course, answer(0, "ann", ReviewVerdict::Reject)), not("decision"));
    assert_eq!(say(&mut course, answer(0, "ann", ReviewVerdict::Retry)), not("decision"));
    let edit = ReviewAnswer { edit: vec![(PortIx(0), value("x"))], ..answer(0, "ann", ReviewVerdict::Approve) };
    assert_eq!(say(&mut course, edit), not("data"));
    let config = ReviewAnswer { config: Some(json_value(&json!({}))), ..answer(0, "ann", ReviewVerdict::Approve) };
    assert_eq!(say(&mut course, config), not("config"));
    assert_eq!(open(&course), [0]);
}

#[test]
fn a_node_begins_when_it_may() {
    let policy = json!({"review": "before"});
    let graph =
        Fixture::default().input("in").work("a", "pure", &policy).output("out").edge("in", "a").edge("a.out", "out");
    let graph = graph.build();
    let mut course = Course::begin(&graph);
    assert_eq!(course.run.ready().count(), 0);
    let asked = course.run.open_review(ReviewIx(0)).unwrap();
    assert_eq!(asked.values.iter().map(|it| course.json(&it.value)).collect::<Vec<_>>(), [json!(["given"])]);
    approve(&mut course, 0);
    course.run_through(|_, _| success("done"));
    assert_eq!((course.gave("out.value"), course.run.status()), (Some(json!("done")), RunStatus::Completed));
    let mut course = Course::begin(&graph);
    assert_eq!(
        say(&mut course, answer(0, "ann", ReviewVerdict::Retry)),
        Err(Rejection::Review(ReviewRefusal::NotAllowed("decision")))
    );
    say(&mut course, answer(0, "ann", ReviewVerdict::Reject)).unwrap();
    assert_eq!(course.run.error().map(|error| &*error.code), Some("review_rejected"));
}

#[test]
fn a_node_begins_with_what_people_have_made_of_its_inputs() {
    let policy = json!({"review": "before"});
    let graph = Fixture::default().input("in").work("a", "pure", &policy).edge("in", "a").build();
    let mut course = Course::begin(&graph);
    let edit = |port, text: &str| ReviewAnswer {
        edit: vec![(PortIx(port), json_value(&json!([text])))],
        ..answer(0, "ann", ReviewVerdict::Approve)
    };
    let not = Err(Rejection::Review(ReviewRefusal::NotAllowed("data")));
    assert_eq!(say(&mut course, edit(1, "nothing came into it")), not);
    say(&mut course, edit(0, "edited")).unwrap();
    same(&course);
    let instance = course.next_ready().unwrap();
    let changed = course.run.changed_inputs(instance);
    let shown: Vec<_> = changed.iter().map(|input| (input.port, course.json(&input.value))).collect();
    assert_eq!(shown, [(PortIx(0), json!(["edited"]))]);
    assert_eq!(course.inputs(instance), json!({"in": ["given"]}), "the original stays");
    course.run_through(|_, _| success("done"));
    let made = super::reuse::results(&course).results;
    assert!(made.iter().all(|it| it.node != instance.node), "it was not made of what came into the node");
}

fn after() -> Arc<Graph> {
    let graph = Fixture::default().input("in").work("a", "keyed", &json!({"review": "after"})).output("out");
    graph.edge("in", "a").edge("a.out", "out").build()
}

#[test]
fn what_a_node_gave_goes_on_when_it_may() {
    let mut course = Course::begin(&after());
    let attempt = course.assign(course.instance("a"), 1, false);
    course.finish(attempt, success("draft")).unwrap();
    same(&course);
    assert_eq!((course.gave("out.value"), course.run.phase_of(attempt.instance.node)), (None, NodePhase::Waiting));
    assert_eq!(
        course.finish(attempt, success("draft")),
        Err(Rejection::AlreadyCommitted),
        "it is known, and looked at"
    );
    let edit = ReviewAnswer { edit: vec![(PortIx(0), value("final"))], ..answer(0, "ann", ReviewVerdict::Approve) };
    say(&mut course, edit).unwrap();
    assert_eq!((course.gave("out.value"), course.gave("a.side")), (Some(json!("final")), None));
    assert_eq!(course.finish(attempt, success("draft")), Err(Rejection::AlreadyCommitted));
}

#[test]
fn a_retry_is_of_the_next_generation() {
    let mut course = Course::begin(&after());
    let first = course.assign(course.instance("a"), 1, false);
    course.finish(first, success("draft")).unwrap();
    let config = json_value(&json!({"tone": "friendly"}));
    let retry = ReviewAnswer { config: Some(config.clone()), ..answer(0, "ann", ReviewVerdict::Retry) };
    say(&mut course, retry).unwrap();
    let next = course.next_ready().unwrap();
    assert_eq!(next, Instance { generation: Generation(1), ..first.instance });
    assert_eq!(course.run.changed_config(next).map(|it| course.value(&it)), Some(config));
    let second = course.assign(next, 1, false);
    assert_eq!(second.number, AttemptNumber(2), "numbers of attempts go on");
    assert_eq!(course.finish(first, success("late")), Err(Rejection::Zombie));
    course.finish(second, failure(ErrorClass::Retryable)).unwrap();
    course.pass(10_000);
    let third = course.assign(next, 1, false);
    course.finish(third, success("better")).unwrap();
    same(&course);
    assert_eq!((third.number, open(&course)), (AttemptNumber(3), vec![1]));
    approve(&mut course, 1);
    assert_eq!((course.gave("out.value"), course.run.status()), (Some(json!("better")), RunStatus::Completed));
}

#[test]
fn a_reviewed_node_runs_again() {
    let graph = Fixture::default().input("in").work("a", "keyed", &json!({})).logic("r", "review", json!({}));
    let graph = graph.output("out").edge("in", "a").edge("a.out", "r").edge("r.approved", "out").build();
    let mut course = Course::begin(&graph);
    for (round, text) in [(0, "one"), (1, "two"), (2, "three")] {
        let attempt = course.assign(course.next_ready().unwrap(), 1, false);
        assert_eq!((attempt.number.0, attempt.instance.generation.0), (round + 1, round));
        course.finish(attempt, success(text)).unwrap();
        same(&course);
        if round < 2 {
            say(&mut course, answer(round, "ann", ReviewVerdict::Retry)).unwrap();
            assert_eq!(course.gave("a.out"), None);
        }
    }
    approve(&mut course, 2);
    assert_eq!((course.gave("out.value"), course.run.progress()), (Some(json!("three")), (4, 0)));
}

#[test]
fn what_others_have_got_is_not_made_again() {
    let graph = Fixture::default().input("in").work("a", "keyed", &json!({})).logic("r", "review", json!({}));
    let graph = graph.output("out").output("seen").edge("in", "a").edge("a.out", "r").edge("a.out", "seen");
    let mut course = Course::begin(&graph.edge("r.approved", "out").build());
    course.run_through(|_, _| success("one"));
    let refused = say(&mut course, answer(0, "ann", ReviewVerdict::Retry));
    assert_eq!(refused, Err(Rejection::Review(ReviewRefusal::NotAllowed("decision"))));
}

/// A run whose node may have acted on the world.
fn unknown(by_error: bool) -> Course {
    let graph = Fixture::default().input("in").work("a", "blind", &json!({})).output("out").edge("in", "a");
    let mut course = Course::begin(&graph.edge("a.out", "out").build());
    let attempt = course.assign(course.instance("a"), 1, false);
    course.command(Command::Intend { attempt }).unwrap();
    match by_error {
        true => course.finish(attempt, failure(ErrorClass::UnknownOutcome)).unwrap(),
        false => course.command(Command::Lose { attempt, cause: LossCause::StreamGone }).unwrap(),
    }
    same(&course);
    course
}

#[test]
fn people_decide_what_came_of_an_unknown_outcome() {
    for by_error in [false, true] {
        let mut course = unknown(by_error);
        assert_eq!((open(&course), course.run.phase_of(course.instance("a").node)), (vec![0], NodePhase::Waiting));
        let gave = ReviewAnswer { edit: vec![(PortIx(0), value("sent"))], ..answer(0, "ann", ReviewVerdict::Approve) };
        say(&mut course, gave).unwrap();
        assert_eq!((course.gave("out.value"), course.run.status()), (Some(json!("sent")), RunStatus::Completed));
        let mut course = unknown(by_error);
        let rejection = ReviewAnswer { comment: Some("not there".into()), ..answer(0, "ann", ReviewVerdict::Reject) };
        say(&mut course, rejection).unwrap();
        let error = course.run.error().unwrap();
        assert_eq!(error.class, Some(ErrorClass::UnknownOutcome));
        assert!(error.message.ends_with("; ann rejected it: not there"), "{}", error.message);
        let mut course = unknown(by_error);
        say(&mut course, answer(0, "ann", ReviewVerdict::Retry)).unwrap();
        let attempt = course.assign(course.next_ready().unwrap(), 1, false);
        assert_eq!((attempt.instance.generation, attempt.number), (Generation(1), AttemptNumber(2)));
        course.finish(attempt, success("again")).unwrap();
        assert_eq!(course.run.status(), RunStatus::Completed);
    }
}

#[test]
fn a_run_that_waits_for_people_is_parked() {
    let mut course = Course::begin(&reviewed(json!({}), false));
    assert!(course.run.is_parked());
    assert_eq!((course.run.next_due(), course.run.summary().next_due), (None, None));
    course.pass(48 * 60 * 60 * 1_000);
    assert_eq!(course.command(Command::Wake), Err(Rejection::Idle), "waiting does not count as active time");
    approve(&mut course, 0);
    assert_eq!(course.run.status(), RunStatus::Completed);
}

/// A map whose items are reviewed, each by itself.
fn items(count: usize) -> Arc<Graph> {
    let list: Vec<usize> = (0..count).collect();
    let graph = Fixture::default().list("in", json!(list)).logic("m", "map", json!({"concurrency": 1_000}));
    let graph = graph.work("a", "pure", &json!({"review": "after"})).inside("m").output("out");
    graph.edge("in", "m").edge("m.item", "a").edge("a.out", "m.result").edge("m.results", "out").build()
}

#[test]
fn each_item_of_a_map_is_reviewed_by_itself() {
    let mut course = Course::begin(&items(3));
    course.run_through(|_, inputs| success(&inputs["in"][0].to_string()));
    same(&course);
    assert_eq!(open(&course), [0, 1, 2]);
    let edit = ReviewAnswer { edit: vec![(PortIx(0), value("mended"))], ..answer(1, "ann", ReviewVerdict::Approve) };
    say(&mut course, edit).unwrap();
    say(&mut course, answer(0, "ann", ReviewVerdict::Retry)).unwrap();
    let again = course.next_ready().unwrap();
    assert_eq!((again.generation, course.run.path(again.scope)), (Generation(1), vec![0]));
    approve(&mut course, 2);
    course.run_through(|_, _| success("again"));
    assert_eq!(open(&course), [3]);
    approve(&mut course, 3);
    assert_eq!(course.gave("out.value"), Some(json!(["again", "mended", "2"])));
}

#[test]
fn a_rejected_item_fails_its_map_and_withdraws_the_others() {
    let mut course = Course::begin(&items(3));
    course.run.note_reviews();
    course.run_through(|_, _| success("draft"));
    drop(course.run.take_review_changes());
    say(&mut course, answer(1, "ann", ReviewVerdict::Reject)).unwrap();
    assert_eq!((course.run.status(), open(&course)), (RunStatus::Failed, vec![]));
    let changes = course.run.take_review_changes();
    let withdrawn = changes.iter().filter(|(_, change)| matches!(change, ReviewChange::Withdrawn { .. }));
    assert_eq!((withdrawn.count(), changes.len()), (2, 3), "{changes:?}");
}

#[test]
fn a_turn_of_a_loop_is_reviewed() {
    let graph = Fixture::default().input("in").logic("l", "loop", json!({"maxIterations": 2}));
    let graph =
        graph.work("a", "pure", &json!({})).inside("l").logic("r", "review", json!({})).inside("l").output("out");
    let graph = graph.edge("in", "l.seed").edge("l.value", "a").edge("a.out", "r").edge("r.approved", "l.result");
    let mut course = Course::begin(&graph.edge("l.result", "out").build());
    course.run_through(|_, _| success("one"));
    say(&mut course, answer(0, "ann", ReviewVerdict::Retry)).unwrap();
    course.run_through(|_, _| success("two"));
    approve(&mut course, 1);
    course.run_through(|_, inputs| success(&format!("{}-next", inputs["in"][0].as_str().unwrap())));
    approve(&mut course, 2);
    assert_eq!(course.gave("out.value"), Some(json!("two-next")));
}

#[test]
fn further_reviews_wait_until_one_closes() {
    let most = limits::OPEN_REVIEWS_PER_RUN_MAX as u32;
    // More items than a window holds lie in two maps.
    let list: Vec<u32> = (0..most).collect();
    let mut graph = Fixture::default().list("in", json!(list)).output("out");
    for id in ["m", "n"] {
        let inner = format!("{id}r");
        graph = graph.logic(id, "map", json!({"concurrency": 1_000})).logic(&inner, "review", json!({})).inside(id);
        graph = graph
            .edge("in", id)
            .edge(&format!("{id}.item"), &inner)
            .edge(&format!("{inner}.approved"), &format!("{id}.result"));
    }
    let mut course = Course::begin(&graph.edge("m.results", "out").build());
    assert_eq!((open(&course).len() as u32, course.run.is_parked()), (most, true));
    say(&mut course, answer(0, "ann", ReviewVerdict::Approve)).unwrap();
    assert_eq!((open(&course).len() as u32, open(&course).last().copied()), (most, Some(most)));
    for review in 1..2 * most {
        course.command(Command::Answer(Box::new(answer(review, "ann", ReviewVerdict::Approve)))).unwrap();
    }
    same(&course);
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn the_end_withdraws_what_is_open() {
    let mut course = Course::begin(&reviewed(json!({}), false));
    course.run.note_reviews();
    course.command(Command::Cancel { by: Subject::from("somebody"), reason: None }).unwrap();
    same(&course);
    let changes = course.run.take_review_changes();
    assert_eq!(changes, [(ReviewIx(0), ReviewChange::Withdrawn { at: course.now })]);
    let late = say(&mut course, answer(0, "ann", ReviewVerdict::Approve));
    assert_eq!(late, Err(Rejection::Over(RunStatus::Cancelled)));
}

#[test]
fn a_caught_rejection_opens_the_error_port() {
    let data = json!({"nodeType": "logic:review", "config": {}, "policy": {"onError": "continue"}});
    let graph = Fixture::default().input("in").node("r", data).output("wrong").edge("in", "r").edge("r.error", "wrong");
    let mut course = Course::begin(&graph.build());
    say(&mut course, answer(0, "ann", ReviewVerdict::Reject)).unwrap();
    assert_eq!(course.gave("wrong.value").unwrap()["code"], json!("review_rejected"));
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn a_race_withdraws_the_review_that_has_lost() {
    let graph = Fixture::default().input("in").logic("r", "review", json!({})).work("a", "pure", &json!({}));
    let graph = graph.logic("race", "race", json!({})).edge("in", "r").edge("in", "a").edge("r.approved", "race");
    let mut course = Course::begin(&graph.edge("a.out", "race").build());
    course.run_through(|_, _| success("first"));
    same(&course);
    assert_eq!((open(&course), course.gave("race.value")), (vec![], Some(json!("first"))));
}

#[test]
fn a_question_of_the_engine_is_no_matter_for_people() {
    let large = Value::from_artifact(Artifact {
        digest: Digest([7; 32]),
        bytes: 1_000_000,
        media_type: "application/json".into(),
        is_json: true,
    });
    let graph =
        Fixture::default().work("a", "pure", &json!({})).logic("it", "if", json!({"condition": "size(value) > 1"}));
    let mut course = Course::begin(&graph.edge("a.out", "it").build());
    let attempt = course.assign(course.instance("a"), 1, false);
    course.finish(attempt, Outcome::Succeeded(vec![("out".into(), large)])).unwrap();
    let question = course.assign(course.instance("it"), 1, false);
    course.finish(question, failure(ErrorClass::UnknownOutcome)).unwrap();
    assert_eq!((course.run.status(), open(&course)), (RunStatus::Failed, vec![]));
}
