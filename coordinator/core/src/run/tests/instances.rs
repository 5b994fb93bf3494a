//! Single instances and items, found in histories.

use serde_json::{Value, json};

use super::course::{self, Course, failure, success};
use crate::graph::fixture::Fixture;
use crate::id::{NodeIx, ScopeIx};
use crate::run::event::{ErrorClass, OutputValue};
use crate::run::instances::{InstanceKind, InstanceView, Search, Wanted};
use crate::run::items::{ItemCounts, ItemsView};
use crate::run::trace::AttemptOutcome;
use crate::run::view::NodeState;
use crate::run::{Outcome, RunStatus};

/// A map over numbers, whose node `w` fails for those that end in 3.
fn mapped(config: Value, items: usize) -> Course {
    let list: Vec<usize> = (0..items).collect();
    let mut course = Course::begin(&course::mapped(config, json!(list)).build());
    course.run_through(|_, inputs| match inputs["extra"].as_u64() {
        Some(item) if item % 10 == 3 => failure(ErrorClass::InvalidRequest),
        _ => success("done"),
    });
    course
}

fn node(course: &Course, id: &str) -> NodeIx {
    course.run.graph().find(id).unwrap()
}

fn all(course: &Course, id: &str, kind: InstanceKind) -> Wanted {
    let node = node(course, id);
    Wanted { node, kind, within: Vec::new(), state: None, after: ScopeIx(0), limit: 1_000 }
}

/// What a search finds, and how much it had in memory at most.
fn search(course: &Course, wanted: Wanted) -> (Vec<InstanceView>, bool, ItemsView) {
    let graph = course.run.graph().clone();
    let mut search = Search::new(&graph, wanted);
    let mut items = ItemsView::begin(course.run.id(), graph, &course.events[0]).unwrap();
    search.note(&items, &course.events[0]);
    for event in &course.events[1..] {
        items.step(event).unwrap();
        search.note(&items, event);
    }
    let (found, has_more) = search.finish(&items);
    (found, has_more, items)
}

fn indices(found: &[InstanceView]) -> Vec<Vec<u32>> {
    found.iter().map(|it| it.index.clone()).collect()
}

#[test]
fn items_are_counted_by_what_became_of_them() {
    let course = mapped(json!({"onItemError": "collect"}), 30);
    let (_, _, items) = search(&course, all(&course, "m", InstanceKind::Item));
    let done = ItemCounts { total: Some(30), completed: 27, cached: 0, failed: 3, skipped: 0, running: 0 };
    assert_eq!(items.counts(node(&course, "m")), Some(done));
    assert_eq!(items.counts(node(&course, "w")), Some(done));
    assert_eq!(items.counts(node(&course, "end")), None);
}

#[test]
fn the_item_that_failed_its_map_is_told_from_those_that_were_given_up() {
    let course = mapped(json!({}), 30);
    assert_eq!(course.run.status(), RunStatus::Failed);
    let (found, _, items) = search(&course, all(&course, "m", InstanceKind::Item));
    let counts = items.counts(node(&course, "m")).unwrap();
    assert_eq!((counts.completed, counts.failed, counts.skipped, counts.running), (3, 1, 26, 0));
    assert_eq!(found[3].state, NodeState::Failed);
    assert_eq!(found[3].view.error.as_ref().map(|error| error.class), Some(ErrorClass::InvalidRequest));
    let given_up = &found[4];
    assert_eq!((given_up.state, &given_up.view.error), (NodeState::Cancelled, &None));
    let (found, ..) = search(&course, all(&course, "w", InstanceKind::Own));
    assert_eq!(
        (found[2].state, found[3].state, found[4].state),
        (NodeState::Completed, NodeState::Failed, NodeState::Cancelled)
    );
}

/// What fails in a map that lies in another one fails both.
#[test]
fn a_failure_is_told_at_each_level_with_the_node_that_failed_and_its_tries() {
    let fixture = Fixture::default()
        .list("list", json!([[1, 2], [4, 3]]))
        .logic("a", "map", json!({}))
        .logic("b", "map", json!({}))
        .inside("a")
        .work("w", "pure", &json!({"retry": {"maxAttempts": 1}}))
        .inside("b")
        .output("end")
        .edge("list", "a.items")
        .edge("a.item", "b.items")
        .edge("b.item", "w.extra")
        .edge("w.out", "b.result")
        .edge("b.results", "a.result")
        .edge("a.results", "end");
    let mut course = Course::begin(&fixture.build());
    course.run_through(|_, inputs| match inputs["extra"].as_u64() {
        Some(3) => failure(ErrorClass::InvalidRequest),
        _ => success("done"),
    });
    let error = course.run.error().unwrap();
    assert_eq!((error.node, error.attempts), (Some(node(&course, "w")), 1));
    let (found, _, items) = search(&course, all(&course, "a", InstanceKind::Item));
    assert_eq!(found.iter().map(|item| item.state).collect::<Vec<_>>(), [NodeState::Completed, NodeState::Failed]);
    assert!(found[1].view.error.is_some());
    let counts = items.counts(node(&course, "a")).unwrap();
    assert_eq!((counts.completed, counts.failed, counts.skipped), (1, 1, 0));
    let view = course.view();
    for container in ["a", "b"] {
        let seen = view.node(node(&course, container));
        assert_eq!(seen.error.as_ref().map(|error| &error.message), Some(&error.message), "{container}");
        assert_eq!(seen.ended_at, view.ended_at(), "{container}");
    }
}

#[test]
fn what_was_under_way_ends_with_its_run() {
    let fixture = Fixture::default().work("bad", "pure", &json!({"retry": {"maxAttempts": 1}}));
    let graph =
        fixture.logic("wait", "wait", json!({"forMs": 60_000})).edge("list", "wait").list("list", json!([1])).build();
    let mut course = Course::begin(&graph);
    course.run_through(|_, _| failure(ErrorClass::InvalidRequest));
    let view = course.view();
    let waited = view.node(node(&course, "wait"));
    assert!(waited.started_at.is_some());
    assert_eq!((waited.ended_at, waited.waits_until), (view.ended_at(), None));
}

#[test]
fn one_instance_has_its_attempts_and_what_came_in_and_out() {
    let course = mapped(json!({"onItemError": "collect"}), 1_500);
    for (item, state) in [(1_203, NodeState::Failed), (1_204, NodeState::Completed)] {
        let wanted = Wanted { within: vec![item], ..all(&course, "w", InstanceKind::Own) };
        let (found, has_more, _) = search(&course, wanted);
        let [found] = &found[..] else { panic!("{} found", found.len()) };
        assert_eq!((found.state, &found.index[..], has_more), (state, &[item][..], false));
        let [attempt] = &found.attempts[..] else { panic!("{:?}", found.attempts) };
        let is_completed = state == NodeState::Completed;
        assert_eq!(attempt.outcome == AttemptOutcome::Succeeded, is_completed);
        assert_eq!((attempt.error.is_none(), found.outputs.len() == 1), (is_completed, is_completed));
        let [(_, OutputValue::One(given))] = &found.inputs[..] else { panic!("{:?}", found.inputs) };
        assert_eq!(course.json(&OutputValue::One(*given)), json!(item));
        // The same item, as its map sees it.
        let wanted = Wanted { within: vec![item], ..all(&course, "m", InstanceKind::Item) };
        let (found, ..) = search(&course, wanted);
        assert_eq!((found[0].state, found[0].inputs.len()), (state, 2), "item and index");
        assert_eq!((found[0].outputs.len() == 1, found[0].view.error.is_none()), (is_completed, is_completed));
    }
    let (found, ..) = search(&course, Wanted { within: vec![1_500], ..all(&course, "w", InstanceKind::Own) });
    assert_eq!(found, []);
}

#[test]
fn inputs_are_shown_as_the_node_was_given_them() {
    let given = |kind: &str, config: Value, input: &str, is_alone: bool, list: Value| {
        let fixture = Fixture::default().json("in", list).json("no", json!(false));
        let fixture = fixture.logic("if", "if", json!({"condition": "value"})).edge("no", "if.value");
        let into = format!("taker.{input}");
        let fixture = fixture.logic("taker", kind, config).edge("in", &into);
        let fixture = if is_alone { fixture } else { fixture.edge("if.true", &into) };
        let mut course = Course::begin(&fixture.build());
        course.run_through(|_, _| success("nobody asks"));
        let (found, ..) = search(&course, Wanted { limit: 1, ..all(&course, "taker", InstanceKind::Own) });
        let [(_, given)] = &found[0].inputs[..] else { panic!("{:?}", found[0].inputs) };
        course.json(given)
    };
    let filter = || json!({"condition": "true"});
    assert_eq!(given("filter", filter(), "items", true, json!([1, 2])), json!([1, 2]), "its items are meant");
    assert_eq!(given("filter", filter(), "items", false, json!([1, 2])), json!([[1, 2]]), "it is one item");
    assert_eq!(given("filter", filter(), "items", true, json!(1)), json!([1]));
    for is_alone in [true, false] {
        assert_eq!(given("merge", json!({}), "branches", is_alone, json!([1, 2])), json!([[1, 2]]));
    }
    assert_eq!(given("gate", json!({"open": true}), "value", true, json!([1, 2])), json!([1, 2]));
}

#[test]
fn pages_hold_what_was_asked_for_and_lead_on() {
    let course = mapped(json!({"onItemError": "skip", "concurrency": 7}), 100);
    let failed = Wanted { state: Some(NodeState::Failed), limit: 4, ..all(&course, "w", InstanceKind::Own) };
    let (first, has_more, _) = search(&course, failed.clone());
    assert_eq!((indices(&first), has_more), (vec![vec![3], vec![13], vec![23], vec![33]], true));
    let (rest, has_more, _) = search(&course, Wanted { after: first[3].scope, limit: 10, ..failed });
    let expected: Vec<Vec<u32>> = (4..10).map(|ten| vec![10 * ten + 3]).collect();
    assert_eq!((indices(&rest), has_more), (expected, false));
    assert!(rest.iter().all(|it| it.attempts.is_empty() && it.inputs.is_empty()), "pages show no values");
}

#[test]
fn items_inside_items_have_a_number_for_each() {
    let fixture = Fixture::default()
        .list("list", json!([[1, 2], [3], []]))
        .logic("m", "map", json!({}))
        .logic("n", "map", json!({}))
        .inside("m")
        .work("w", "pure", &json!({}))
        .inside("n")
        .output("end")
        .edge("list", "m.items")
        .edge("m.item", "n.items")
        .edge("n.item", "w.extra")
        .edge("w.out", "n.result")
        .edge("n.results", "m.result")
        .edge("m.results", "end");
    let mut course = Course::begin(&fixture.build());
    course.run_through(|_, _| -> Outcome { success("x") });
    let (found, ..) = search(&course, all(&course, "w", InstanceKind::Own));
    assert_eq!(indices(&found), [vec![0, 0], vec![0, 1], vec![1, 0]]);
    let (found, ..) = search(&course, Wanted { within: vec![0], ..all(&course, "n", InstanceKind::Item) });
    assert_eq!(indices(&found), [vec![0, 0], vec![0, 1]]);
    let (found, ..) = search(&course, Wanted { within: vec![1], ..all(&course, "n", InstanceKind::Own) });
    assert_eq!((indices(&found), found[0].outputs.len()), (vec![vec![1]], 2));
    let (found, ..) = search(&course, all(&course, "end", InstanceKind::Own));
    assert_eq!((indices(&found), found[0].state), (vec![vec![]], NodeState::Completed));
}
