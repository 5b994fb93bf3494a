//! The plan of a resume: what runs was planned to, or lies within what may run (E23). [`Child::through`] holds it in every test of
//! resuming; here are those plans that are easily wrong.

use serde_json::{Value, json};

use super::course::{Course, failure, success};
use super::reuse::{Child, child, gives};
use crate::graph::fixture::Fixture;
use crate::run::event::ErrorClass;
use crate::run::plan::{Planned, Why};
use crate::run::resume::Resume;
use crate::run::{Outcome, RunStatus};
use crate::value::Value as Kept;

/// Where a node is planned to run, and why.
fn places(child: &Child, planned: &[Planned], id: &str) -> Vec<(Vec<u32>, Why)> {
    let node = child.course.instance(id).node;
    planned.iter().filter(|it| it.node == node).map(|it| (it.index.clone(), it.why)).collect()
}

/// m over lists, in it n over the items of each, in it w.
fn nested(lists: Value) -> Fixture {
    Fixture::default()
        .list("lists", lists)
        .logic("m", "map", json!({}))
        .logic("n", "map", json!({}))
        .inside("m")
        .work("w", "pure", &json!({"retry": {"maxAttempts": 1}}))
        .inside("n")
        .output("end")
        .edge("lists", "m.items")
        .edge("m.item", "n.items")
        .edge("n.item", "w.extra")
        .edge("w.out", "n.result")
        .edge("n.results", "m.result")
        .edge("m.results", "end")
}

fn negated(_: &str, inputs: Value) -> Outcome {
    gives(&json!(-inputs["extra"].as_i64().unwrap()))
}

/// A run that failed with one call, all others of which were done.
fn failed(fixture: Fixture, call: usize) -> Course {
    let mut parent = Course::begin(&fixture.build());
    let (mut open, mut calls) = (Vec::new(), 0);
    while let Some(instance) = parent.next_ready() {
        open.push((parent.inputs(instance), parent.assign(instance, 1, false)));
    }
    let bad = open.remove(call);
    for (inputs, attempt) in open {
        calls += 1;
        parent.finish(attempt, negated("w", inputs)).unwrap();
    }
    assert!(calls > 0 && parent.run.status() == RunStatus::Running);
    parent.finish(bad.1, failure(ErrorClass::InvalidRequest)).unwrap();
    assert_eq!(parent.run.status(), RunStatus::Failed);
    parent
}

#[test]
fn what_a_condition_looks_at_is_one_of_its_inputs() {
    let condition = json!({"condition": "nodes.a.output == 'new'"});
    let fixture = Fixture::default().text("in", "x").work("a", "pure", &json!({})).logic("i", "if", condition);
    let fixture = fixture.work("yes", "pure", &json!({})).output("end").edge("in", "a").edge("a.side", "i");
    let mut parent = Course::begin(&fixture.edge("i.true", "yes").edge("yes", "end").build());
    let ports = ["out", "side"].map(|port| (port.into(), Kept::from_json(json!(port).to_string().into())));
    parent.run_through(|_, _| Outcome::Succeeded(ports.to_vec()));
    assert_eq!((parent.run.status(), parent.gave("yes.out")), (RunStatus::Completed, None));
    let graph = parent.run.graph();
    // What comes into the branch by its edge is what it was.
    let mut child = child(&parent, graph, Resume::default(), &[("a", "out", json!("new"))]).unwrap();
    assert_eq!(child.through(|_, _| success("done")), ["yes"]);
}

#[test]
fn what_lies_in_a_container_that_is_reused_is_there_for_nobody_else() {
    // Both inner maps go through the same list: their results are known by the same keys.
    let parent = failed(nested(json!([[1, 2], [1, 2]])), 3);
    let graph = parent.run.graph();
    let mut child = child(&parent, graph, Resume::default(), &[]).unwrap();
    assert_eq!(child.through(negated), ["w(2)"]);
    assert_eq!(places(&child, &child.plan.will_run, "w"), [(vec![1, 1], Why::Failed)]);
}

#[test]
fn what_lies_in_an_item_is_found_where_the_parent_had_it() {
    let parent = failed(nested(json!([[1], [2, 3]])), 2);
    let other = nested(json!([[2, 3], [1]])).build();
    let mut child = child(&parent, &other, Resume { differs: true, ..Resume::default() }, &[]).unwrap();
    assert_eq!(child.through(negated), ["w(3)"]);
    assert_eq!(child.course.gave("end.value"), Some(json!([[-2, -3], [-1]])));
}

#[test]
fn a_result_that_was_planned_for_another_item_stays_when_the_container_around_it_is_reused() {
    let parent = failed(nested(json!([[5], [5, 6]])), 0);
    let graph = parent.run.graph();
    let mut child = child(&parent, graph, Resume::default(), &[]).unwrap();
    assert_eq!(child.through(negated), Vec::<String>::new(), "what it needs was made for the other item");
    assert_eq!(child.course.gave("end.value"), Some(json!([[-5], [-5, -6]])));
}

#[test]
fn turns_that_the_parent_never_began_may_run() {
    let looped = |until: &str| {
        Fixture::default()
            .logic("l", "loop", json!({"maxIterations": 3, "until": until}))
            .work("w", "pure", &json!({}))
            .inside("l")
            .output("end")
            .edge("l.iteration", "w.extra")
            .edge("w.out", "l.result")
            .edge("l.result", "end")
            .build()
    };
    // After its first turn nobody can say whether the loop goes on.
    let mut parent = Course::begin(&looped("result.missing > 1"));
    parent.run_through(negated);
    assert_eq!(parent.run.status(), RunStatus::Failed);
    let other = looped("result < -1");
    let mut child = child(&parent, &other, Resume { differs: true, ..Resume::default() }, &[]).unwrap();
    assert_eq!(child.through(negated), ["w(1)", "w(2)"]);
    assert_eq!(places(&child, &child.plan.reused, "w"), [(vec![0], Why::Same)]);
    assert_eq!(places(&child, &child.plan.may_run, "w"), [(vec![], Why::InputMayChange)]);
    assert_eq!(child.plan.unknown_count, 1);
}
