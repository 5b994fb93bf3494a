//! Containers that cannot go on while items of theirs are open.

use serde_json::json;

use super::course::{Course, success};
use crate::graph::fixture::Fixture;
use crate::id::Instance;
use crate::limits;
use crate::run::view::NodeState;
use crate::run::{NodePhase, RunStatus};

/// A map whose items have two nodes, one after the other, with a policy.
fn mapped(policy: serde_json::Value) -> Fixture {
    let map = json!({"nodeType": "logic:map", "config": {"concurrency": 2}, "policy": policy});
    Fixture::default()
        .list("list", json!([1, 2, 3]))
        .node("m", map)
        .work("w", "pure", &json!({}))
        .inside("m")
        .work("after", "pure", &json!({}))
        .inside("m")
        .edge("list", "m.items")
        .edge("m.item", "w.extra")
        .edge("w.out", "after.extra")
        .edge("after.out", "m.result")
}

fn ready(course: &Course, id: &str) -> Vec<Instance> {
    let node = course.instance(id).node;
    course.run.ready().filter(|instance| instance.node == node).collect()
}

/// The first item is done and the second at an agent when the third cannot begin: the run has no item left.
fn out_of_items(course: &mut Course) -> crate::run::event::Attempt {
    let items = ready(course, "w");
    assert_eq!(items.len(), 2);
    let first = course.assign(items[0], 1, false);
    let second = course.assign(items[1], 1, false);
    course.finish(first, success("x")).unwrap();
    course.run.state.next_scope = limits::RUN_SCOPES_MAX;
    let after = ready(course, "after")[0];
    let after = course.assign(after, 1, false);
    course.finish(after, success("x")).unwrap();
    second
}

#[test]
fn a_map_that_cannot_go_on_fails_its_run() {
    let mut course = Course::begin(&mapped(json!({})).build());
    let second = out_of_items(&mut course);
    let error = course.run.error().unwrap();
    assert_eq!((&*error.code, error.node), ("too_many_items", Some(course.instance("m").node)));
    assert_eq!(course.run.phase_of(course.instance("m").node), NodePhase::Failed);
    assert!(course.run.attempt(second.instance).is_some_and(|live| live.stopping));
    // Both are done in the first item, and were given up in the second.
    let view = course.view();
    for id in ["w", "after"] {
        assert_eq!(view.node_state(course.instance(id).node), Some(NodeState::Cancelled), "{id}");
    }
}

#[test]
fn a_map_that_cannot_go_on_and_is_caught_lets_finish_what_is_at_an_agent() {
    let fixture = mapped(json!({"onError": "continue"})).output("end").edge("m.error", "end");
    let mut course = Course::begin(&fixture.build());
    let second = out_of_items(&mut course);
    assert_eq!((course.run.status(), course.gave("end.value")), (RunStatus::Running, None));
    course.finish(second, success("late")).unwrap();
    assert_eq!(ready(&course, "after"), [], "nothing more of an open item starts");
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("end.value").unwrap()["code"], "too_many_items");
    assert!(course.run.state.frames.is_empty() && course.run.state.expansions.is_empty());
}

#[test]
fn an_inner_map_that_cannot_go_on_fails_the_item_around_it_when_its_own_are_back() {
    let fixture = Fixture::default()
        .json("lists", json!([[1, 2, 3]]))
        .logic("outer", "map", json!({"onItemError": "skip"}))
        .logic("m", "map", json!({"concurrency": 2}))
        .inside("outer")
        .work("w", "pure", &json!({}))
        .inside("m")
        .work("after", "pure", &json!({}))
        .inside("m")
        .output("end")
        .edge("lists", "outer.items")
        .edge("outer.item", "m.items")
        .edge("m.item", "w.extra")
        .edge("w.out", "after.extra")
        .edge("after.out", "m.result")
        .edge("m.results", "outer.result")
        .edge("outer.results", "end");
    let mut course = Course::begin(&fixture.build());
    let second = out_of_items(&mut course);
    assert_eq!(course.run.status(), RunStatus::Running);
    course.finish(second, success("late")).unwrap();
    assert_eq!((course.run.status(), course.gave("end.value")), (RunStatus::Completed, Some(json!([]))));
    let errors = course.gave("outer.errors").unwrap();
    assert_eq!(errors[0]["code"], "too_many_items");
    assert!(course.run.state.frames.is_empty() && course.run.state.expansions.is_empty());
}
