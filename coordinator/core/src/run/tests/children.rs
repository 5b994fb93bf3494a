//! Children: one test for each sentence of graph.md, part 9, that is about the run that invokes.
//!
//! | sentence | test |
//! |---|---|
//! | runs another workflow; results map back by name | `what_a_child_gives_comes_out_by_name` |
//! | a run that only waits for children is parked | `what_a_child_gives_comes_out_by_name` |
//! | once | `the_end_of_a_child_counts_once` |
//! | a failed child fails its node; `onError` | `a_child_that_fails_fails_its_node`, `what_its_policy_catches_goes_on` |
//! | cancelled with its parent | `the_end_of_a_run_cancels_its_open_children`, `a_race_cancels_the_child_that_lost` |
//! | depth | `deeper_than_may_be_fails` |
//! | open children per run | `further_children_wait_for_room` |
//! | taken over in a resumed run | `what_a_child_gave_is_taken_over` |

use std::sync::Arc;

use serde_json::json;

use super::course::{Course, ID, success, value};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{Instance, RunId, WorkflowId};
use crate::limits;
use crate::run::checkpoint::Gatherer;
use crate::run::event::{Decision, ErrorClass, Fact, InvokedBy, NodeError, Submitted};
use crate::run::view::NodeState;
use crate::run::{ChildEnd, ChildGave, ChildOrder, ChildValue, Command, NodePhase, Rejection, Run, RunStatus};
use crate::value::Value;

const WORKFLOW: WorkflowId = WorkflowId(9);

/// The last node runs another workflow.
fn invoke(graph: Fixture, id: &str, policy: &serde_json::Value) -> Fixture {
    let config = json!({"workflowId": WORKFLOW.to_string(), "inputs": {"tone": "dry"}});
    graph.node(id, json!({"nodeType": "blueprint:invoke", "config": config, "policy": policy}))
}

/// `in → c → out`, by names of the child.
fn one(policy: &serde_json::Value) -> Arc<Graph> {
    let graph = invoke(Fixture::default().input("in"), "c", policy).output("out").output("no");
    graph.edge("in", "c.topic").edge("c.summary", "out").edge("c.missing", "no").build()
}

fn child_of(course: &Course, id: &str) -> RunId {
    course.run.open_child(course.instance(id)).unwrap()
}

fn gave(outputs: &[(&str, ChildValue)]) -> Result<ChildGave, NodeError> {
    let outputs = outputs.iter().map(|(name, value)| (Arc::from(*name), value.clone())).collect();
    Ok(ChildGave { outputs, held: Vec::new() })
}

fn text(text: &str) -> ChildValue {
    ChildValue::One(value(text))
}

fn end(
    course: &mut Course,
    instance: Instance,
    child: RunId,
    outcome: Result<ChildGave, NodeError>,
) -> Result<(), Rejection> {
    let ended = course.command(Command::EndChild(Box::new(ChildEnd { instance, child, outcome })));
    same(course);
    ended
}

fn error() -> NodeError {
    NodeError { class: ErrorClass::Internal, code: "child_failed".into(), message: "it did not go well".into() }
}

/// A restart changes nothing: neither a replay of the history nor a snapshot.
fn same(course: &Course) {
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
    let restored = Run::restore(course.run.id(), Arc::clone(course.run.graph()), &course.run.snapshot()).unwrap();
    assert_eq!(restored.snapshot(), course.run.snapshot());
}

#[test]
fn what_a_child_gives_comes_out_by_name() {
    let mut course = Course::begin(&one(&json!({})));
    let (c, child) = (course.instance("c"), child_of(&course, "c"));
    assert_eq!(course.run.take_child_orders(), [ChildOrder::Start { instance: c, child }]);
    assert!(course.run.is_parked() && course.run.next_due().is_none(), "neither a timer nor a start looks at it");
    assert_eq!(course.view().node_state(c.node), Some(NodeState::Waiting));
    assert_eq!(course.view().node(c.node).child, Some(child));
    let Some(Decision::Invoked { invoked, .. }) = course.events[0].decisions.last() else { panic!("no child") };
    assert_eq!(invoked.child, child);
    let node_type = course.run.graph().node(c.node).node_type.clone().unwrap();
    let given: Vec<_> = invoked
        .inputs
        .iter()
        .map(|it| (&*node_type.inputs[usize::from(it.port.0)].id, course.json(&it.value)))
        .collect();
    assert_eq!(given, [("topic", json!("given"))], "what its config gives is in the graph");
    course.pass(limits::RUN_DEADLINE.as_millis());
    let outcome =
        gave(&[("outputs", text("all")), ("executionId", text("id")), ("summary", text("short")), ("more", text("!"))]);
    end(&mut course, c, child, outcome).unwrap();
    assert_eq!(course.gave("out.value"), Some(json!("short")));
    assert_eq!(course.gave("c.outputs"), Some(json!("all")));
    assert_eq!((course.gave("c.missing"), course.run.phase_of(course.instance("no").node)), (None, NodePhase::Skipped));
    assert_eq!(course.facts(), ["run.started", "child.completed", "run.completed"]);
}

#[test]
fn a_list_that_a_child_gives_is_a_list() {
    let graph = invoke(Fixture::default(), "c", &json!({})).logic("m", "map", json!({}));
    let graph = graph.work("w", "pure", &json!({})).inside("m").output("end");
    let graph = graph.edge("c.images", "m.items").edge("m.item", "w.extra").edge("w.out", "m.result");
    let mut course = Course::begin(&graph.edge("m.results", "end").build());
    let (c, child) = (course.instance("c"), child_of(&course, "c"));
    let list = ChildValue::List(vec![value("one"), value("two")]);
    end(&mut course, c, child, gave(&[("images", list)])).unwrap();
    course.run_through(|_, inputs| success(inputs["extra"].as_str().unwrap()));
    assert_eq!(course.gave("end.value"), Some(json!(["one", "two"])));
}

#[test]
fn the_end_of_a_child_counts_once() {
    let mut course = Course::begin(&one(&json!({})));
    let (c, child) = (course.instance("c"), child_of(&course, "c"));
    assert_eq!(end(&mut course, c, RunId(child.0 ^ 1), gave(&[])), Err(Rejection::AlreadyCommitted), "no child of it");
    end(&mut course, c, child, gave(&[("summary", text("first"))])).unwrap();
    let again = end(&mut course, c, child, gave(&[("summary", text("second"))]));
    assert_eq!(again, Err(Rejection::Over(RunStatus::Completed)));
    assert_eq!(course.gave("out.value"), Some(json!("first")));
}

#[test]
fn a_child_that_fails_fails_its_node() {
    let mut course = Course::begin(&one(&json!({})));
    let (c, child) = (course.instance("c"), child_of(&course, "c"));
    course.run.take_child_orders();
    end(&mut course, c, child, Err(error())).unwrap();
    let failed = course.run.error().unwrap();
    assert_eq!((&*failed.code, failed.node, failed.class), ("child_failed", Some(c.node), Some(ErrorClass::Internal)));
    assert_eq!(course.facts(), ["run.started", "child.failed", "run.failed"]);
    assert_eq!(course.run.take_child_orders(), [], "it is over already");
}

#[test]
fn what_its_policy_catches_goes_on() {
    let graph = invoke(Fixture::default(), "c", &json!({"onError": "continue"})).output("out").output("said");
    let mut course = Course::begin(&graph.edge("c.summary", "out").edge("c.error", "said").build());
    let (c, child) = (course.instance("c"), child_of(&course, "c"));
    end(&mut course, c, child, Err(error())).unwrap();
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("said.value").unwrap()["code"], "child_failed");
    assert_eq!(course.run.phase_of(c.node), NodePhase::Failed);
}

#[test]
fn what_is_too_large_fails_the_node_and_not_the_run_that_reads_it() {
    let mut course = Course::begin(&one(&json!({})));
    let (c, child) = (course.instance("c"), child_of(&course, "c"));
    let large = text(&"x".repeat(limits::INLINE_VALUE_BYTES_MAX));
    end(&mut course, c, child, gave(&[("summary", large)])).unwrap();
    assert_eq!(&*course.run.error().unwrap().code, "value_too_large");
}

#[test]
fn the_end_of_a_run_cancels_its_open_children() {
    let graph = invoke(invoke(invoke(Fixture::default(), "a", &json!({})), "b", &json!({})), "c", &json!({})).build();
    let mut course = Course::begin(&graph);
    let children: Vec<RunId> = ["a", "b", "c"].iter().map(|id| child_of(&course, id)).collect();
    let (b, over) = (course.instance("b"), children[1]);
    end(&mut course, b, over, gave(&[])).unwrap();
    course.run.take_child_orders();
    course.command(Command::Cancel { by: "ann".into(), reason: None }).unwrap();
    same(&course);
    let orders = [children[0], children[2]].map(|child| ChildOrder::Cancel { child });
    assert_eq!(course.run.take_child_orders(), orders);
    let a = course.instance("a");
    assert_eq!(end(&mut course, a, children[0], gave(&[])), Err(Rejection::Over(RunStatus::Cancelled)));
}

#[test]
fn a_race_cancels_the_child_that_lost() {
    let graph = invoke(Fixture::default().work("quick", "pure", &json!({})), "c", &json!({}));
    let graph = graph.logic("it", "race", json!({})).output("out");
    let graph =
        graph.edge("quick.out", "it").edge("c.summary", "it").edge("it.value", "out").work("slow", "pure", &json!({}));
    let mut course = Course::begin(&graph.build());
    let (c, child) = (course.instance("c"), child_of(&course, "c"));
    course.run.take_child_orders();
    let attempt = course.assign(course.instance("quick"), 1, false);
    course.finish(attempt, success("first")).unwrap();
    same(&course);
    assert_eq!(course.run.take_child_orders(), [ChildOrder::Cancel { child }]);
    assert_eq!(course.run.phase_of(c.node), NodePhase::Dropped);
    assert_eq!(end(&mut course, c, child, gave(&[])), Err(Rejection::AlreadyCommitted));
    assert!(!course.is_over(), "another node is at work");
}

#[test]
fn deeper_than_may_be_fails() {
    for (depth, is_deep) in [(limits::CHILD_DEPTH_MAX - 1, false), (limits::CHILD_DEPTH_MAX, true)] {
        let graph = one(&json!({}));
        let Fact::Submitted(submitted) = Course::begin(&graph).events[0].fact.clone() else { panic!("no beginning") };
        let instance = Instance::root(crate::id::NodeIx(0));
        let by = InvokedBy { run: RunId(3), instance, node: "c".into(), index: Vec::new(), depth };
        let submitted = Submitted { invoked_by: Some(by), ..*submitted };
        let course = Course::begin_as(&graph, 0, ID, submitted, Vec::new());
        same(&course);
        assert_eq!(course.run.error().map(|error| &*error.code), is_deep.then_some("too_deep"), "{depth}");
        assert_eq!(course.run.open_children().count(), usize::from(!is_deep));
    }
}

#[test]
fn further_children_wait_for_room() {
    let most = limits::CHILDREN_OPEN_PER_RUN_MAX;
    let graph =
        (0..most + 2).fold(Fixture::default(), |graph, number| invoke(graph, &format!("c{number}"), &json!({})));
    let mut course = Course::begin(&graph.build());
    assert_eq!(course.run.open_children().count(), most);
    let state = |course: &Course, id: &str| course.run.phase_of(course.instance(id).node);
    assert_eq!(state(&course, &format!("c{most}")), NodePhase::Due);
    assert!(course.run.is_parked(), "it waits for a child to end");
    for (number, last) in [(0, most), (1, most + 1)] {
        let id = format!("c{number}");
        let (instance, child) = (course.instance(&id), child_of(&course, &id));
        end(&mut course, instance, child, gave(&[])).unwrap();
        assert_eq!(state(&course, &format!("c{last}")), NodePhase::Waiting, "in order");
    }
    let ids: std::collections::BTreeSet<RunId> = course.run.open_children().map(|(_, child)| child).collect();
    assert_eq!(ids.len(), most, "each has an id of its own");
}

#[test]
fn a_child_of_an_item_belongs_to_it() {
    let graph =
        invoke(Fixture::default().list("list", json!(["a", "b"])).logic("m", "map", json!({})), "c", &json!({}));
    let graph = graph.inside("m").output("end").edge("list", "m.items").edge("m.item", "c.topic");
    let mut course = Course::begin(&graph.edge("c.summary", "m.result").edge("m.results", "end").build());
    let open: Vec<(Instance, RunId)> = course.run.open_children().collect();
    assert_eq!(open.len(), 2);
    for ((instance, child), said) in open.into_iter().zip(["first", "second"]) {
        end(&mut course, instance, child, gave(&[("summary", text(said))])).unwrap();
    }
    assert_eq!(course.gave("end.value"), Some(json!(["first", "second"])));
}

#[test]
fn what_a_child_gave_is_taken_over() {
    let graph = one(&json!({}));
    let mut course = Course::begin(&graph);
    let (c, child) = (course.instance("c"), child_of(&course, "c"));
    end(&mut course, c, child, gave(&[("summary", text("short"))])).unwrap();
    let mut gatherer = Gatherer::begin(ID, Arc::clone(&graph), &course.events[0], false).unwrap();
    course.events[1..].iter().for_each(|event| gatherer.step(event).unwrap());
    let (_, found) = gatherer.finish();
    let found: Vec<_> = found.results.iter().map(|result| &*graph.node(result.node).id).collect();
    assert!(found.contains(&"c"), "{found:?}");
    assert!(graph.is_reusable(c.node));
}

#[test]
fn what_is_only_described_stays_with_the_event() {
    let mut course = Course::begin(&one(&json!({})));
    let (c, child) = (course.instance("c"), child_of(&course, "c"));
    let held: Vec<Value> = vec![value("a film")];
    let outcome = gave(&[("summary", text("short"))]).map(|gave| ChildGave { held: held.clone(), ..gave });
    end(&mut course, c, child, outcome).unwrap();
    assert!(course.events[1].values.contains(&held[0]));
}
