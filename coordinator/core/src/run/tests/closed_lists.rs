//! Lists that are closed, where nodes are lifted over several (graph.md, parts 1 and 4): a closed list that a node needs skips it,
//! any other is absent from each item. And lists that do not go together.

use serde_json::{Value, json};

use super::course::{Course, success};
use crate::graph::fixture::Fixture;
use crate::run::view::NodeState;
use crate::run::{NodePhase, RunStatus};

/// A node over two lists, of which one or both are closed.
fn over(open: Option<&str>, closed: &[&str]) -> Course {
    let fixture = Fixture::default().list("x", json!([1, 2])).list("y", json!([1, 2])).output("end");
    let fixture = fixture.logic("shut", "gate", json!({"open": false})).edge("y", "shut.value");
    let fixture = fixture.logic("none", "filter", json!({"condition": "true"})).edge("shut.value", "none.items");
    let fixture = fixture.node("w", json!({"nodeType": "debug:needs", "config": {}})).edge("w.out", "end");
    let fixture = open.into_iter().fold(fixture, |fixture, input| fixture.edge("x", &format!("w.{input}")));
    let fixture = closed.iter().fold(fixture, |fixture, input| fixture.edge("none.kept", &format!("w.{input}")));
    Course::begin(&fixture.build())
}

fn through(mut course: Course) -> (Course, Vec<Value>) {
    let mut seen = Vec::new();
    course.run_through(|id, inputs| {
        seen.push(inputs);
        success(id)
    });
    assert_eq!((course.run.status(), course.replayed().snapshot()), (RunStatus::Completed, course.run.snapshot()));
    (course, seen)
}

#[test]
fn a_closed_list_that_a_node_can_do_without_is_absent_from_each_item() {
    let (course, seen) = through(over(Some("needed"), &["extra"]));
    assert_eq!(seen, [json!({"needed": 1}), json!({"needed": 2})]);
    assert_eq!(course.gave("end.value"), Some(json!(["w", "w"])));
}

#[test]
fn a_closed_list_that_a_node_needs_skips_it() {
    let (course, seen) = through(over(Some("extra"), &["needed"]));
    assert_eq!((seen, course.gave("end.value")), (Vec::new(), None));
    assert_eq!(course.run.phase_of(course.instance("end").node), NodePhase::Skipped);
}

#[test]
fn a_node_that_only_closed_lists_lead_to_is_skipped() {
    let fixture = Fixture::default().list("y", json!([1, 2])).logic("shut", "gate", json!({"open": false}));
    let fixture = fixture.edge("y", "shut.value").logic("none", "filter", json!({"condition": "true"}));
    let fixture = fixture.edge("shut.value", "none.items").work("w", "pure", &json!({})).output("end");
    let fixture = fixture.edge("none.kept", "w.extra").edge("none.dropped", "w.other").edge("w.out", "end");
    let (course, seen) = through(Course::begin(&fixture.build()));
    assert_eq!((seen, course.gave("end.value")), (Vec::new(), None));
}

#[test]
fn an_empty_list_is_not_a_closed_one() {
    let fixture = Fixture::default().list("x", json!([1, 2])).list("y", json!([])).work("w", "pure", &json!({}));
    let mut course = Course::begin(&fixture.edge("x", "w.extra").edge("y", "w.other").build());
    course.run_through(|id, _| success(id));
    assert_eq!(&*course.run.error().unwrap().code, "unequal_lists");
}

#[test]
fn a_lifted_node_that_is_to_go_on_catches_lists_of_unequal_lengths() {
    let policy = json!({"onError": "continue"});
    let lifted = |more: fn(Fixture) -> Fixture| {
        let fixture =
            Fixture::default().list("x", json!([1, 2])).list("y", json!([1, 2, 3])).work("w", "pure", &policy);
        let fixture = fixture.work("after", "pure", &json!({})).output("end").output("wrong");
        let fixture = fixture.edge("x", "w.extra").edge("y", "w.other").edge("w.out", "after.extra");
        let mut course = Course::begin(&more(fixture.edge("after.out", "end").edge("w.error", "wrong")).build());
        course.run_through(|_, _| success("never"));
        assert_eq!(course.replayed().snapshot(), course.run.snapshot());
        course
    };
    let course = lifted(|fixture| fixture);
    assert_eq!(course.run.status(), RunStatus::Completed);
    let wrong = course.gave("wrong.value").unwrap();
    assert_eq!((&wrong[0]["code"], &wrong[0]["nodeId"]), (&json!("unequal_lists"), &json!("w")));
    assert_eq!((wrong.as_array().unwrap().len(), course.gave("end.value")), (1, None));
    let view = course.view();
    let state = |id: &str| view.node_state(course.instance(id).node);
    assert_eq!((state("w"), state("after")), (Some(NodeState::Failed), Some(NodeState::Skipped)));
    assert_eq!(&*view.node(course.instance("w").node).error.as_ref().unwrap().code, "unequal_lists");
    // Another node that takes the same lists and says nothing of the kind fails the run.
    let course = lifted(|fixture| fixture.work("v", "pure", &json!({})).edge("x", "v.extra").edge("y", "v.other"));
    assert_eq!(&*course.run.error().unwrap().code, "unequal_lists");
}
