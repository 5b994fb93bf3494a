//! How containers and the nodes in them are shown, over all their items and turns.

use serde_json::json;

use super::course::{Course, failure, mapped, success};
use super::reuse::child;
use crate::graph::fixture::Fixture;
use crate::run::RunStatus;
use crate::run::event::ErrorClass;
use crate::run::lineage::Source;
use crate::run::resume::Resume;
use crate::run::view::NodeState;

fn through(fixture: Fixture) -> Course {
    let mut course = Course::begin(&fixture.build());
    course.run_through(|id, _| match id {
        "fails" => failure(ErrorClass::InvalidRequest),
        id => success(id),
    });
    course
}

fn state(course: &Course, id: &str) -> NodeState {
    course.view().node_state(course.instance(id).node).unwrap()
}

fn total(course: &Course, id: &str) -> Option<u32> {
    course.view().counts(course.instance(id).node).unwrap().total
}

#[test]
fn an_empty_list_has_no_items_and_that_is_known() {
    let empty = through(mapped(json!({}), json!([])));
    assert_eq!((total(&empty, "m"), total(&empty, "w")), (Some(0), Some(0)));
    assert_eq!(state(&empty, "w"), NodeState::Skipped);
    let reduced = Fixture::default().list("list", json!([])).logic("r", "reduce", json!({}));
    let reduced = reduced.work("w", "pure", &json!({})).inside("r").edge("list", "r.items").edge("r.item", "w.extra");
    assert_eq!(total(&through(reduced.edge("w.out", "r.result")), "r"), Some(0));
    let lifted = Fixture::default().list("list", json!([])).work("w", "pure", &json!({})).edge("list", "w.extra");
    assert_eq!(total(&through(lifted), "w"), Some(0));
}

#[test]
fn a_skipped_map_has_no_items_and_of_one_to_come_nobody_knows() {
    let before = || mapped(json!({}), json!([1])).logic("shut", "gate", json!({"open": false}));
    let closed = before().json("all", json!([1, 2])).edge("all", "shut.value").logic("n", "map", json!({}));
    let closed = closed.work("v", "pure", &json!({})).inside("n").edge("shut.value", "n.items");
    let closed = through(closed.edge("n.item", "v.extra").edge("v.out", "n.result"));
    assert_eq!((state(&closed, "n"), total(&closed, "n"), total(&closed, "v")), (NodeState::Skipped, Some(0), Some(0)));
    let late = Fixture::default().work("first", "pure", &json!({})).logic("n", "map", json!({}));
    let late = late.work("v", "pure", &json!({})).inside("n").edge("first.out", "n.items");
    let late = Course::begin(&late.edge("n.item", "v.extra").edge("v.out", "n.result").build());
    assert_eq!((total(&late, "n"), total(&late, "v")), (None, None));
}

/// A loop whose turns have a branch that is taken and one that is not, and nodes that run.
fn looping(config: serde_json::Value, last: &str) -> Fixture {
    Fixture::default()
        .logic("l", "loop", config)
        .logic("if", "if", json!({"condition": "true"}))
        .inside("l")
        .work("w", "pure", &json!({}))
        .inside("l")
        .work("never", "pure", &json!({}))
        .inside("l")
        .work(last, "pure", &json!({"retry": {"maxAttempts": 1}}))
        .inside("l")
        .work("later", "pure", &json!({}))
        .inside("l")
        .edge("l.iteration", "if.value")
        .edge("if.true", "w.extra")
        .edge("if.false", "never.extra")
        .edge("w.out", &format!("{last}.extra"))
        .edge(&format!("{last}.out"), "later.extra")
        .edge("later.out", "l.result")
}

#[test]
fn a_loop_that_fails_between_turns_takes_nothing_from_nodes_that_are_done() {
    let course = through(looping(json!({"until": "result.score > 3"}), "last"));
    assert_eq!(&*course.run.error().unwrap().code, "condition_failed");
    let of = |ids: [&str; 4]| ids.map(|id| state(&course, id));
    assert_eq!(of(["l", "w", "last", "never"]), {
        use NodeState::{Completed, Failed, Skipped};
        [Failed, Completed, Completed, Skipped]
    });
}

#[test]
fn what_a_failed_turn_gave_up_is_cancelled_and_what_it_finished_is_not() {
    let course = through(looping(json!({}), "fails"));
    assert_eq!(course.run.status(), RunStatus::Failed);
    let of = |ids: [&str; 4]| ids.map(|id| state(&course, id));
    assert_eq!(of(["w", "fails", "later", "never"]), {
        use NodeState::{Cancelled, Completed, Failed, Skipped};
        [Completed, Failed, Cancelled, Skipped]
    });
}

#[test]
fn what_lies_in_a_container_that_is_reused_is_shown_as_reused_whatever_became_of_its_items() {
    let policy = json!({"retry": {"maxAttempts": 1}, "onItemError": "collect"});
    let parent = through(
        Fixture::default()
            .list("list", json!([1, 2]))
            .work("fails", "pure", &policy)
            .logic("m", "map", json!({"onItemError": "skip"}))
            .work("w", "pure", &json!({}))
            .inside("m")
            .output("end")
            .output("other")
            .edge("list", "fails.extra")
            .edge("fails.out", "end")
            .edge("list", "m.items")
            .edge("m.item", "w.extra")
            .edge("w.out", "m.result")
            .edge("m.results", "other"),
    );
    assert_eq!((parent.run.status(), state(&parent, "fails")), (RunStatus::Completed, NodeState::Failed));
    for (from, within) in [("end", "fails"), ("other", "w")] {
        let graph = parent.run.graph();
        let asked = Resume { from: graph.find(from), ..Resume::default() };
        let mut resumed = child(&parent, graph, asked, &[]).unwrap();
        assert_eq!(resumed.through(|id, _| success(id)), Vec::<String>::new());
        let view = resumed.course.view();
        let node = graph.find(within).unwrap();
        assert_eq!(view.node_state(node), Some(NodeState::Cached), "{within}");
        assert_eq!(view.node(node).source, Some(Source::Run(parent.run.id())), "{within}");
    }
}
