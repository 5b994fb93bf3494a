//! Which nodes a list lifts, and which of them run together (graph.md, part 1).

use serde_json::{Value, json};

use super::course::{Course, failure};
use crate::graph::fixture::Fixture;
use crate::run::event::ErrorClass;
use crate::run::{Outcome, RunStatus};

fn doubled(_: &str, inputs: Value) -> Outcome {
    let Some(item) = inputs["extra"].as_i64() else { return failure(ErrorClass::InvalidRequest) };
    Outcome::Succeeded(vec![("out".into(), crate::value::Value::from_json((item * 2).to_string().into()))])
}

fn through(fixture: Fixture, work: impl FnMut(&str, Value) -> Outcome) -> Course {
    let mut course = Course::begin(&fixture.build());
    course.run_through(work);
    assert_eq!(course.replayed().snapshot(), course.run.snapshot(), "a replay gives the same");
    course
}

fn listed() -> Fixture {
    Fixture::default().list("list", json!([1, 2, 3])).work("w", "pure", &json!({})).output("end").edge("w.out", "end")
}

#[test]
fn a_list_that_is_passed_on_lifts_what_follows() {
    let yes = || json!({"condition": "true"});
    let ways: [(&str, Value, &str, &str); 7] = [
        ("if", yes(), "it.value", "it.true"),
        ("switch", json!({"cases": [{"id": "a", "when": "true"}]}), "it.value", "it.a"),
        ("router", json!({}), "it.input", "it.output"),
        ("gate", json!({"open": true}), "it.value", "it.value"),
        ("merge", json!({}), "it.branches", "it.value"),
        ("race", json!({}), "it.branches", "it.value"),
        ("split_test", json!({"weights": {"a": 1}}), "it.value", "it.a"),
    ];
    for (kind, config, input, output) in ways {
        let fixture = listed().logic("it", kind, config).edge("list", input).edge(output, "w.extra");
        let course = through(fixture, doubled);
        assert_eq!(course.run.status(), RunStatus::Completed, "{kind}: {:?}", course.run.error());
        assert_eq!(course.gave("end.value"), Some(json!([2, 4, 6])), "{kind}");
    }
}

#[test]
fn what_lifted_nodes_give_is_a_list_behind_a_branch_too() {
    let fixture = listed().work("first", "pure", &json!({})).edge("list", "first.extra");
    let fixture = fixture.logic("it", "if", json!({"condition": "size(value) == 3"})).edge("first.out", "it.value");
    let fixture = fixture.logic("both", "merge", json!({})).edge("it.true", "both").edge("it.false", "both");
    let course = through(fixture.edge("both.value", "w.extra"), doubled);
    assert_eq!(course.gave("end.value"), Some(json!([4, 8, 12])));
}

#[test]
fn a_list_beside_what_is_none_lifts_by_way_of_a_merge_of_all() {
    for (mode, expected) in [("first", json!([[1, 2, 3]])), ("all", json!([1, 2, 3, 5]))] {
        let fixture = listed().json("one", json!(5)).logic("both", "merge", json!({"mode": mode}));
        let fixture = fixture.edge("list", "both").edge("one", "both").edge("both.value", "w.extra");
        let mut seen = Vec::new();
        through(fixture, |id, inputs| {
            seen.push(inputs["extra"].clone());
            super::course::success(id)
        });
        assert_eq!(
            json!(seen),
            expected,
            "of others only the run knows which branch is taken: what follows takes that whole"
        );
    }
}

#[test]
fn a_closed_list_behind_a_branch_skips_what_it_would_lift() {
    let fixture = listed().logic("it", "if", json!({"condition": "false"}));
    let course = through(fixture.edge("list", "it.value").edge("it.true", "w.extra"), doubled);
    assert_eq!((course.run.status(), course.gave("end.value")), (RunStatus::Completed, None));
}

#[test]
fn a_failed_item_takes_nothing_from_nodes_that_items_do_not_lead_to() {
    let skip = json!({"retry": {"maxAttempts": 1}, "onItemError": "skip"});
    let fixture = listed().work("odd", "pure", &skip).output("end_odd").edge("odd.out", "end_odd");
    let course = through(fixture.edge("list", "w.extra").edge("list", "odd.extra"), |id, inputs| {
        if id == "odd" && inputs["extra"] == 2 { failure(ErrorClass::InvalidRequest) } else { doubled(id, inputs) }
    });
    assert_eq!(course.run.graph().nodes().filter(|(_, node)| node.is_anonymous).count(), 2, "two regions");
    assert_eq!((course.gave("end_odd.value"), course.gave("end.value")), (Some(json!([2, 6])), Some(json!([2, 4, 6]))));
}

#[test]
fn nodes_that_meet_item_by_item_run_together() {
    let fixture = listed().work("a", "pure", &json!({})).work("b", "pure", &json!({}));
    let fixture =
        fixture.edge("list", "a.extra").edge("list", "b.extra").edge("a.out", "w.extra").edge("b.out", "w.other");
    let course = through(fixture, doubled);
    assert_eq!(course.run.graph().nodes().filter(|(_, node)| node.is_anonymous).count(), 1, "one region");
    assert_eq!(course.gave("end.value"), Some(json!([4, 8, 12])));
}

#[test]
fn the_winner_of_a_race_is_the_lifted_node_whose_list_came_first() {
    let fixture = listed().logic("race", "race", json!({})).edge("list", "w.extra").edge("w.out", "race");
    let course = through(fixture, doubled);
    assert_eq!((course.gave("race.value"), course.gave("race.winner")), (Some(json!([2, 4, 6])), Some(json!("w"))));
}
