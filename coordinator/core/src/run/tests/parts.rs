//! Runs up to a node inside a body (graph.md, part 8): of a container around it only what leads there runs, as often as can be told
//! without the rest.

use std::sync::Arc;

use serde_json::{Value, json};

use super::course::{Course, ID, failure, success};
use super::reuse::{Child, child, from, gives};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::limits;
use crate::run::event::ErrorClass;
use crate::run::items::ItemsView;
use crate::run::resume::Resume;
use crate::run::{NodePhase, Outcome, RunStatus};

/// A run up to and with a node, and what ran of it, each with its `extra`.
fn up_to(graph: &Arc<Graph>, target: &str, mut work: impl FnMut(&str, &Value) -> Outcome) -> (Course, Vec<String>) {
    let target = graph.find(target);
    assert!(target.is_some());
    let mut course = Course::begin_with(graph, 0, ID, (None, target), Vec::new());
    let mut ran = Vec::new();
    course.run_through(|id, inputs| {
        ran.push(format!("{id}({})", inputs["extra"]));
        work(id, &inputs)
    });
    assert_eq!(course.replayed().snapshot(), course.run.snapshot(), "a replay gives the same");
    assert!(course.run.state.frames.is_empty() && course.run.state.expansions.is_empty());
    (course, ran)
}

/// One more than what came in as `extra`; null counts as 0.
fn one_more(_: &str, inputs: &Value) -> Outcome {
    gives(&json!(inputs["extra"].as_i64().unwrap_or_default() + 1))
}

fn gave(course: &Course, outputs: &[&str]) -> Vec<Option<Value>> {
    assert_eq!(course.run.status(), RunStatus::Completed);
    outputs.iter().map(|output| course.gave(output)).collect()
}

fn named(fixture: Fixture, container: &str, id: &str) -> Fixture {
    fixture.work(id, "pure", &json!({"retry": {"maxAttempts": 1}})).inside(container)
}

/// A loop whose body is `a`, and after it `b`.
fn looped(config: Value) -> Fixture {
    let fixture = Fixture::default().json("seed", json!(0)).logic("l", "loop", config);
    let fixture = named(named(fixture, "l", "a"), "l", "b").output("end");
    fixture.edge("seed", "l.seed").edge("l.value", "a.extra").edge("a.out", "b.extra").edge("l.result", "end")
}

/// The ids of the nodes of `looped`, `reduced` and `mapped` that a run left out.
fn left_out(course: &Course) -> Vec<String> {
    let nodes = course.run.graph().nodes().filter(|(ix, _)| course.run.phase_of(*ix) == NodePhase::Excluded);
    nodes.map(|(_, node)| node.id.to_string()).collect()
}

#[test]
fn a_loop_whose_result_is_left_out_has_one_turn_and_gives_nothing() {
    let graph = looped(json!({"until": "result > 3", "score": "result", "select": "best"})).edge("b.out", "l.result");
    let (course, ran) = up_to(&graph.build(), "a", one_more);
    assert_eq!(ran, ["a(0)"]);
    assert_eq!(gave(&course, &["l.result", "l.iterations", "l.all"]), [None, None, None]);
    assert_eq!(left_out(&course), ["b", "end"]);
    assert_eq!(course.run.tally(course.instance("a").node).completed, 1);
}

#[test]
fn a_loop_whose_carry_is_left_out_has_one_turn() {
    let graph = looped(json!({"maxIterations": 3})).edge("a.out", "l.result").edge("b.out", "l.carry").build();
    let (course, ran) = up_to(&graph, "a", one_more);
    assert_eq!((ran, gave(&course, &["l.result", "l.all"])), (vec!["a(0)".to_owned()], vec![None, None]));
    let (course, ran) = up_to(&graph, "b", one_more);
    assert_eq!(ran, ["a(0)", "b(1)", "a(2)", "b(3)", "a(4)", "b(5)"]);
    assert_eq!(gave(&course, &["l.result", "l.all"]), [Some(json!(5)), Some(json!([1, 3, 5]))]);
}

#[test]
fn a_loop_whose_condition_looks_at_what_is_left_out_has_one_turn() {
    for looks in ["nodes.b.output > 3", "nodes.b.outputs.out > 3"] {
        let graph = looped(json!({"until": looks})).edge("a.out", "l.result").build();
        let (course, ran) = up_to(&graph, "a", one_more);
        assert_eq!((ran, gave(&course, &["l.iterations"])), (vec!["a(0)".to_owned()], vec![None]), "{looks}");
        let (course, ran) = up_to(&graph, "b", one_more);
        assert_eq!((ran.len(), gave(&course, &["l.iterations"])), (6, vec![Some(json!(3))]), "{looks}");
    }
}

#[test]
fn a_loop_goes_on_if_the_target_gives_its_result() {
    let graph = looped(json!({"until": "result + iteration > 3"})).edge("a.out", "l.result").build();
    let (course, ran) = up_to(&graph, "a", one_more);
    assert_eq!(ran, ["a(0)", "a(1)", "a(2)"]);
    assert_eq!(gave(&course, &["l.result", "l.iterations"]), [Some(json!(3)), Some(json!(3))]);
    assert_eq!(left_out(&course), ["b", "end"]);
}

/// A reduce whose body is `a`, and after it `b`.
fn reduced(items: Value) -> Fixture {
    let fixture = Fixture::default().list("list", items).logic("r", "reduce", json!({"initial": 10}));
    let fixture = named(named(fixture, "r", "a"), "r", "b").output("end");
    let fixture = fixture.edge("list", "r.items").edge("r.accumulator", "a.extra").edge("r.item", "a.in");
    fixture.edge("a.out", "b.extra").edge("r.result", "end")
}

#[test]
fn a_reduce_whose_result_is_left_out_ends_after_its_first_item() {
    let graph = reduced(json!([1, 2, 3])).edge("b.out", "r.result").build();
    let (course, ran) = up_to(&graph, "a", one_more);
    assert_eq!((ran, gave(&course, &["r.result"])), (vec!["a(10)".to_owned()], vec![None]));
    let mut view = ItemsView::begin(ID, Arc::clone(&graph), &course.events[0]).unwrap();
    course.events[1..].iter().for_each(|event| view.step(event).unwrap());
    let counts = view.counts(course.instance("r").node).unwrap();
    assert_eq!((counts.total, counts.completed, counts.running), (Some(3), 1, 0));
    let (course, ran) = up_to(&graph, "b", one_more);
    assert_eq!((ran.len(), gave(&course, &["r.result"])), (6, vec![Some(json!(16))]));
    let graph = reduced(json!([])).edge("b.out", "r.result").build();
    let (course, ran) = up_to(&graph, "a", one_more);
    assert_eq!((ran.len(), gave(&course, &["r.result"])), (0, vec![None]), "an answer does not depend on the list");
}

/// A map whose body is `a`, and after it `b`.
fn mapped(config: Value, items: Value) -> Fixture {
    let fixture = Fixture::default().list("list", items).logic("m", "map", config);
    let fixture = named(named(fixture, "m", "a"), "m", "b").output("end");
    fixture.edge("list", "m.items").edge("m.item", "a.extra").edge("a.out", "b.extra").edge("m.results", "end")
}

#[test]
fn a_map_whose_result_is_left_out_runs_the_target_for_each_item_and_gives_no_results() {
    let fails = |id: &str, inputs: &Value| match inputs["extra"].as_i64() {
        Some(2) => failure(ErrorClass::InvalidRequest),
        _ => one_more(id, inputs),
    };
    for choice in ["skip", "collect"] {
        let graph = mapped(json!({"onItemError": choice}), json!([1, 2, 3])).edge("b.out", "m.result").build();
        let (course, ran) = up_to(&graph, "a", fails);
        assert_eq!(ran, ["a(1)", "a(2)", "a(3)"], "{choice}");
        assert_eq!(gave(&course, &["m.results"]), [None], "{choice}");
        let errors = course.gave("m.errors").unwrap();
        assert_eq!((errors.as_array().unwrap().len(), &errors[0]["index"]), (1, &json!(1)), "{choice}");
    }
    let graph = mapped(json!({}), json!([1, 2, 3])).edge("a.out", "m.result").build();
    let (course, ran) = up_to(&graph, "a", one_more);
    assert_eq!((ran.len(), gave(&course, &["m.results"])), (3, vec![Some(json!([2, 3, 4]))]));
    assert_eq!(left_out(&course), ["b", "end"]);
}

#[test]
fn a_long_list_is_put_together_without_what_is_left_out() {
    let items: Vec<usize> = (0..limits::LIST_CHUNK_ITEMS_MAX + 100).collect();
    let graph = mapped(json!({}), json!(items)).edge("b.out", "m.result").build();
    let (course, ran) = up_to(&graph, "a", one_more);
    assert_eq!((ran.len(), gave(&course, &["m.results", "m.errors"])), (items.len(), vec![None, Some(json!([]))]));
}

/// A loop over a map over two items, whose body is `a`, and after it `b`.
fn nested(config: Value) -> Fixture {
    let fixture = Fixture::default().list("list", json!([1, 2])).logic("l", "loop", config);
    let fixture = fixture.logic("m", "map", json!({})).inside("l");
    let fixture = named(named(fixture, "m", "a"), "m", "b").output("end").edge("list", "m.items");
    fixture.edge("m.item", "a.extra").edge("a.out", "b.extra").edge("b.out", "m.result").edge("l.result", "end")
}

#[test]
fn what_an_inner_container_never_gives_ends_the_loop_around_it_as_well() {
    for looks in [json!({}), json!({"until": "size(nodes.m.outputs.results) > 5", "maxIterations": 2})] {
        let graph = nested(looks.clone()).edge("m.results", "l.result").build();
        let (course, ran) = up_to(&graph, "a", one_more);
        assert_eq!((ran, gave(&course, &["l.result"])), (vec!["a(1)".into(), "a(2)".into()], vec![None]), "{looks}");
    }
    // What it does give is an answer as any other.
    let graph = nested(json!({"maxIterations": 2})).edge("m.errors", "l.result").build();
    let (course, ran) = up_to(&graph, "a", one_more);
    assert_eq!((ran.len(), gave(&course, &["l.result"])), (4, vec![Some(json!([]))]));
    let graph = nested(json!({"maxIterations": 2, "until": "size(nodes.m.output) > 5"})).edge("m.errors", "l.result");
    let (course, ran) = up_to(&graph.build(), "a", one_more);
    assert_eq!((ran.len(), gave(&course, &["l.result"])), (2, vec![None]), "its first output is another one then");
}

#[test]
fn an_inner_loop_has_one_turn_in_each_item() {
    let fixture = Fixture::default().list("list", json!([1, 2])).logic("m", "map", json!({}));
    let fixture = fixture.logic("l", "loop", json!({"until": "iteration == 1"})).inside("m");
    let fixture = named(named(fixture, "l", "a"), "l", "b").edge("list", "m.items").edge("m.item", "l.seed");
    let fixture = fixture.edge("l.value", "a.extra").edge("a.out", "b.extra").edge("b.out", "l.result");
    let graph = fixture.output("end").edge("l.iterations", "m.result").edge("m.results", "end").build();
    let (course, ran) = up_to(&graph, "a", one_more);
    assert_eq!((ran, gave(&course, &["m.results"])), (vec!["a(1)".into(), "a(2)".into()], vec![None]));
    let (course, ran) = up_to(&graph, "b", one_more);
    assert_eq!((ran.len(), gave(&course, &["m.results"])), (8, vec![Some(json!([2, 2]))]));
}

#[test]
fn lifted_nodes_that_are_left_out_give_no_list() {
    let fixture = Fixture::default().list("list", json!([1, 2, 3])).work("a", "pure", &json!({}));
    let fixture =
        fixture.work("b", "pure", &json!({})).work("all", "pure", &json!({})).work("more", "pure", &json!({}));
    let fixture = fixture.edge("list", "a.extra").edge("a.out", "b.extra").edge("a.out", "all.in");
    let graph = fixture.edge("b.out", "more.in").build();
    let (course, ran) = up_to(&graph, "a", one_more);
    assert_eq!(ran, ["a(1)", "a(2)", "a(3)"]);
    let shown = |id: &str| {
        let node = course.instance(id).node;
        let (port, _) = graph.node(node).node_type.as_ref().unwrap().output("out").unwrap();
        course.run.shown_output(node, port).map(|value| course.json(value))
    };
    assert_eq!((shown("a"), shown("b")), (Some(json!([2, 3, 4])), Some(Value::Null)), "closed, and no list of nulls");
    assert_eq!(left_out(&course), ["b", "all", "more"]);
}

fn up_to_in_child(parent: &Course, target: &str, asked: Resume) -> Child {
    let graph = parent.run.graph();
    child(parent, graph, Resume { to: graph.find(target), ..asked }, &[]).unwrap()
}

fn one_more_of(id: &str, inputs: Value) -> Outcome {
    one_more(id, &inputs)
}

#[test]
fn a_resume_goes_on_from_the_one_turn() {
    let graph = looped(json!({"maxIterations": 3})).edge("b.out", "l.result").build();
    let (parent, _) = up_to(&graph, "a", one_more);
    let mut whole = child(&parent, &graph, from(&graph, "b"), &[]).unwrap();
    assert_eq!(whole.through(one_more_of), ["b(1)", "a(2)", "b(3)", "a(4)", "b(5)"], "the first turn of a is there");
    assert_eq!(whole.course.gave("end.value"), Some(json!(6)));
    // And the other way round: of a whole run one turn is looked at again.
    let mut again = up_to_in_child(&whole.course, "a", from(&graph, "a"));
    let a = graph.find("a").unwrap();
    let planned: Vec<&[u32]> = again.plan.will_run.iter().filter(|it| it.node == a).map(|it| &*it.index).collect();
    assert_eq!((planned, again.plan.may_run.len()), (vec![&[0][..]], 0), "one turn, and no other");
    assert_eq!(again.through(one_more_of), ["a(0)"]);
    assert_eq!(again.course.gave("l.result"), None);
}

#[test]
fn a_resume_goes_on_from_the_first_item_and_from_all_items() {
    let graph = reduced(json!([1, 2, 3])).edge("b.out", "r.result").build();
    let (parent, _) = up_to(&graph, "a", one_more);
    let mut whole = child(&parent, &graph, from(&graph, "b"), &[]).unwrap();
    assert_eq!(whole.through(one_more_of), ["b(11)", "a(12)", "b(13)", "a(14)", "b(15)"]);
    let mut again = up_to_in_child(&whole.course, "a", from(&graph, "a"));
    assert_eq!(again.through(one_more_of), ["a(10)"]);

    let graph = mapped(json!({}), json!([1, 2])).edge("b.out", "m.result").build();
    let (parent, _) = up_to(&graph, "a", one_more);
    let mut whole = child(&parent, &graph, from(&graph, "b"), &[]).unwrap();
    assert_eq!(whole.through(one_more_of), ["b(2)", "b(3)"]);
    assert_eq!(whole.course.gave("end.value"), Some(json!([3, 4])));
    let mut again = up_to_in_child(&whole.course, "a", from(&graph, "a"));
    assert_eq!(again.through(|_, _| success("x")), ["a(1)", "a(2)"]);
    assert_eq!(again.course.gave("m.results"), None);
}
