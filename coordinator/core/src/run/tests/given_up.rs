//! Maps, loops and lifted nodes that a race gives up.

use serde_json::{Value, json};

use super::course::{Course, success};
use crate::graph::fixture::Fixture;
use crate::run::event::Decision;
use crate::run::{NodePhase, RunStatus};

fn phase(course: &Course, id: &str) -> NodePhase {
    course.run.phase_of(course.instance(id).node)
}

/// The nodes that decided, in order.
fn decided(course: &Course) -> Vec<String> {
    let decisions = course.events.iter().flat_map(|event| &event.decisions);
    decisions.map(|decision| course.run.graph().node(decision.instance().node).id.to_string()).collect()
}

/// A container of turns races with what passes the gate, which wins as soon as the first turn has closed.
fn raced(kind: &str, input: &str, config: Value) -> Course {
    let graph = Fixture::default().list("list", json!([1, 2, 3])).logic("turns", kind, config);
    let graph = graph.logic("pass", "router", json!({})).inside("turns").logic("gate", "gate", json!({"open": true}));
    let graph = graph.logic("race", "race", json!({})).output("end");
    let graph = graph.edge("list", &format!("turns.{input}")).edge("list", "gate.value");
    let graph = graph.edge(&format!("turns.{}", if kind == "loop" { "value" } else { "item" }), "pass.input");
    let graph = graph.edge("pass.output", "turns.result").edge("turns.result", "race").edge("gate.value", "race");
    Course::begin(&graph.edge("race.value", "end").build())
}

#[test]
fn what_runs_in_turns_may_be_given_up_between_two_of_them() {
    for (kind, input, config) in [("loop", "seed", json!({"maxIterations": 3})), ("reduce", "items", json!({}))] {
        let course = raced(kind, input, config);
        assert_eq!(decided(&course), ["list", "turns", "gate", "pass", "race", "end"], "{kind}: between two turns");
        assert_eq!((course.run.status(), phase(&course, "turns")), (RunStatus::Completed, NodePhase::Dropped));
        let (turns, pass) = (course.instance("turns").node, course.instance("pass").node);
        assert_eq!((course.run.items_open(turns), course.run.tally(pass).completed), (0, 1), "{kind}: it left memory");
        assert_eq!(course.run.progress().1, 0);
        assert_eq!(course.replayed().snapshot(), course.run.snapshot());
    }
}

/// `first`, lifted, leads to a race, which the gate wins; `second` hangs on `first` and leads where `second_to` says.
fn lifted(second_to: Option<&str>) -> Course {
    let graph = Fixture::default().list("list", json!([1, 2])).work("first", "pure", &json!({}));
    let graph = graph.work("second", "pure", &json!({})).work("quick", "pure", &json!({"priority": 1}));
    let graph = graph.logic("race", "race", json!({})).output("end").edge("list", "first.extra");
    let graph = graph.edge("first.out", "second.extra").edge("first.side", "race").edge("quick.out", "race");
    let graph = second_to.into_iter().fold(graph, |graph, to| graph.edge("second.out", to));
    Course::begin(&graph.edge("race.value", "end").build())
}

#[test]
fn a_race_leaves_lifted_nodes_alone_of_which_one_leads_nowhere() {
    let mut course = lifted(None);
    let mut ran = Vec::new();
    course.run_through(|id, _| {
        ran.push(id.to_owned());
        success(id)
    });
    assert_eq!(ran, ["quick", "first", "first", "second", "second"], "what it gives is seen by people");
    assert_eq!(course.gave("end.value"), Some(json!("quick")));
    assert_eq!(course.run.tally(course.instance("second").node).completed, 2);
    assert_eq!((course.run.status(), course.replayed().snapshot()), (RunStatus::Completed, course.run.snapshot()));
}

#[test]
fn a_race_gives_up_lifted_nodes_that_lead_to_it_alone() {
    let mut course = lifted(Some("race"));
    let mut ran = Vec::new();
    course.run_through(|id, _| {
        ran.push(id.to_owned());
        success(id)
    });
    assert_eq!(ran, ["quick"]);
    assert_eq!(course.run.tally(course.instance("first").node).dropped, 2);
    assert!(!course.events.iter().flat_map(|event| &event.decisions).any(|it| matches!(it, Decision::Failed { .. })));
    assert_eq!((course.run.status(), course.replayed().snapshot()), (RunStatus::Completed, course.run.snapshot()));
}
