//! Decisions over values that are not inline: an agent looks at them, and finds what the engine would have found.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::course::{Course, failure, hooks};
use crate::condition::question::{Arrived, LIST_PORTS, Question, port_of};
use crate::draw::Draw;
use crate::graph::fixture::Fixture;
use crate::id::{Instance, PortIx};
use crate::limits;
use crate::partition::io::QUESTION_ITEMS;
use crate::run::event::{Attempt, Decision, ErrorClass, OutputValue};
use crate::run::{Body, Deciding, NodePhase, Outcome, RunStatus};
use crate::value::{Artifact, Digest, Value, ValueRef};

/// A JSON value of so many bytes that lies in the store.
pub(super) fn large(bytes: u64) -> Value {
    Value::from_artifact(Artifact {
        digest: Digest([7; 32]),
        bytes,
        media_type: "application/json".into(),
        is_json: true,
    })
}

/// `a → it → t and f`, where `a` has given this.
fn after(given: Value) -> Course {
    let graph = Fixture::default().work("a", "pure", &json!({}));
    let graph = graph.logic("it", "if", json!({"condition": "value.n > 3"})).output("t").output("f");
    let mut course = Course::begin(&graph.edge("a.out", "it").edge("it.true", "t").edge("it.false", "f").build());
    let attempt = course.assign(course.instance("a"), 1, false);
    course.finish(attempt, Outcome::Succeeded(vec![("out".into(), given)])).unwrap();
    course
}

pub(super) fn phase(course: &Course, id: &str) -> NodePhase {
    course.run.phase_of(course.instance(id).node)
}

pub(super) fn answer(json: Json) -> Outcome {
    Outcome::Succeeded(vec![("answer".into(), Value::from_json(json.to_string().into()))])
}

#[test]
fn a_node_that_looks_at_a_large_value_is_given_to_an_agent_and_its_answer_decides() {
    let mut course = after(large(1_000_000));
    let it = course.instance("it");
    assert_eq!((phase(&course, "it"), course.run.ready().collect::<Vec<_>>()), (NodePhase::Ready, vec![it]));
    let attempt = course.assign(it, 1, false);
    course.finish(attempt, answer(json!({"taken": [0]}))).unwrap();
    assert_eq!((phase(&course, "t"), phase(&course, "f")), (NodePhase::Completed, NodePhase::Skipped));
    assert_eq!(
        course.run.output(it.node, PortIx(0)),
        course.run.output(course.instance("a").node, PortIx(0)),
        "by reference"
    );
    assert_eq!((course.run.status(), course.replayed().snapshot()), (RunStatus::Completed, course.run.snapshot()));
}

#[test]
fn a_delegated_decision_is_retried_and_fails_as_any_attempt() {
    let mut course = after(large(1_000_000));
    let it = course.instance("it");
    let attempt = course.assign(it, 1, false);
    course.finish(attempt, failure(ErrorClass::Retryable)).unwrap();
    assert_eq!(phase(&course, "it"), NodePhase::Backoff);
    course.pass(100_000);
    let attempt = course.assign(it, 1, false);
    course.finish(attempt, failure(ErrorClass::InvalidRequest)).unwrap();
    assert_eq!(course.run.status(), RunStatus::Failed);
}

#[test]
fn an_answer_that_makes_no_sense_fails_the_node() {
    let bad: [fn() -> Outcome; 4] = [
        || answer(json!({"taken": [1]})),
        || answer(json!({"taken": [0, 0]})),
        || answer(json!({"kept": [0]})),
        || answer(json!("taken")),
    ];
    for outcome in bad {
        let mut course = after(large(1_000_000));
        let attempt: Attempt = course.assign(course.instance("it"), 1, false);
        course.finish(attempt, outcome()).unwrap();
        assert_eq!(&*course.run.error().unwrap().code, "bad_answer");
    }
}

#[test]
fn what_is_too_large_for_an_agent_too_fails_at_once_and_files_are_no_matter() {
    let course = after(large(limits::DELEGATED_VALUES_BYTES_MAX + 1));
    assert_eq!(&*course.run.error().unwrap().code, "values_too_large");
    let file = Artifact { digest: Digest([7; 32]), bytes: 1 << 30, media_type: "image/png".into(), is_json: false };
    let course = after(Value::from_artifact(file));
    assert_eq!(&*course.run.error().unwrap().code, "condition_failed", "its description was looked at, at once");
}

fn texts(list: Json) -> Vec<Bytes> {
    list.as_array().unwrap().iter().map(|item| item.to_string().into()).collect()
}

/// What an agent is given, and what it gives.
pub(super) fn on_an_agent(course: &Course, instance: Instance) -> Result<Outcome, String> {
    let (question, arriving) = course.run.question(instance).unwrap();
    let question: Question = serde_json::from_str(&serde_json::to_string(&question).unwrap()).unwrap();
    let text = |reference: &ValueRef| course.value(reference).json().clone();
    let mut ports = BTreeMap::new();
    for (port, value) in arriving {
        let name = if port == QUESTION_ITEMS { "items".to_owned() } else { port_of(usize::from(port.0)) };
        let arrived = match &value {
            OutputValue::One(reference) | OutputValue::List(reference) => (false, vec![text(reference)]),
            OutputValue::Gather(references) => (true, references.iter().map(text).collect()),
            OutputValue::Pieces(_) => (true, texts(course.json(&value))),
            OutputValue::Closed => panic!("what is closed does not arrive"),
        };
        ports.insert(name, arrived);
    }
    let arrived = |port: &str| ports.get(port).map(|(list, texts)| Arrived { list: *list, texts });
    let (answer, lists) =
        question.answer(arrived, &mut { limits::EXPRESSION_COST_MAX }).map_err(|it| it.code.to_owned())?;
    let value = |json: String| Value::from_json(json.into());
    let mut outputs = vec![("answer".into(), value(serde_json::to_string(&answer).unwrap()))];
    if let Some((kept, dropped)) = lists {
        outputs.extend(LIST_PORTS.iter().zip([kept, dropped]).map(|(port, list)| ((*port).into(), value(list))));
    }
    Ok(Outcome::Succeeded(outputs))
}

/// Has an agent look at what the engine leaves to one.
pub(super) fn delegate(course: &mut Course, instance: Instance) {
    let outcome = on_an_agent(course, instance).unwrap();
    let attempt = course.assign(instance, 1, false);
    course.finish(attempt, outcome).unwrap();
}

#[test]
fn in_a_body_the_conditions_of_each_item_are_looked_at_for_themselves() {
    let graph = Fixture::default()
        .list("list", json!([1, 2, 3]))
        .logic("m", "map", json!({}))
        .work("w", "pure", &json!({}))
        .inside("m")
        .logic("it", "if", json!({"condition": "value != null && item == 2 && index == 1"}))
        .inside("m")
        .work("yes", "pure", &json!({}))
        .inside("m");
    let graph =
        graph.edge("list", "m.items").edge("m.item", "w.extra").edge("w.out", "it").edge("it.true", "yes.extra");
    let mut course = Course::begin(&graph.edge("yes.out", "m.result").output("end").edge("m.results", "end").build());
    let mut asked = 0;
    while let Some(instance) = course.next_ready() {
        let id = course.run.graph().node(instance.node).id.clone();
        if &*id == "it" {
            asked += 1;
            delegate(&mut course, instance);
            continue;
        }
        let attempt = course.assign(instance, 1, false);
        let given = if &*id == "w" { large(1_000_000) } else { super::course::value("seen") };
        course.finish(attempt, Outcome::Succeeded(vec![("out".into(), given)])).unwrap();
    }
    assert_eq!(asked, 3, "one for each item");
    assert_eq!(course.gave("end.value"), Some(json!([null, "seen", null])));
    assert_eq!((course.run.status(), course.replayed().snapshot()), (RunStatus::Completed, course.run.snapshot()));
}

/// A map over so many numbers, and a node that looks at its results.
fn over_results(count: u32, name: &str, config: Json, input: &str) -> Course {
    let graph = Fixture::default()
        .list("list", (1..=count).collect())
        .logic("m", "map", json!({}))
        .work("w", "pure", &json!({}))
        .inside("m")
        .logic("it", name, config)
        .edge("list", "m.items")
        .edge("m.item", "w.extra")
        .edge("w.out", "m.result")
        .edge("m.results", input);
    let mut course = Course::begin(&graph.build());
    let it = course.instance("it");
    while let Some(instance) = course.next_ready().filter(|instance| *instance != it) {
        let number = course.inputs(instance)["extra"].clone();
        let attempt = course.assign(instance, 1, false);
        let given = Value::from_json(number.to_string().into());
        course.finish(attempt, Outcome::Succeeded(vec![("out".into(), given)])).unwrap();
    }
    assert_eq!(phase(&course, "it"), NodePhase::Ready, "its values are too many for the engine");
    course
}

#[test]
fn a_list_in_pieces_is_handed_over_by_its_chunks() {
    let count = limits::EXPRESSION_VALUES_MAX as u32 + 500;
    let mut course = over_results(count, "if", json!({"condition": format!("size(value) == {count}")}), "it.value");
    let it = course.instance("it");
    let (_, arriving) = course.run.question(it).unwrap();
    assert!(matches!(&arriving[..], [(PortIx(0), OutputValue::Pieces(_))]), "{arriving:?}");
    delegate(&mut course, it);
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("it.true").unwrap().as_array().unwrap().len(), count as usize);
    assert_eq!(course.gave("it.false"), None);
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
}

#[test]
fn a_list_in_pieces_is_divided() {
    let count = limits::EXPRESSION_VALUES_MAX as u32 + 500;
    let mut course = over_results(count, "filter", json!({"condition": "item > 3 && index != 4"}), "it.items");
    let it = course.instance("it");
    delegate(&mut course, it);
    assert_eq!(course.gave("it.dropped"), Some(json!([1, 2, 3, 5])));
    assert_eq!(course.gave("it.kept").unwrap().as_array().unwrap().len(), count as usize - 4);
    assert_eq!(course.run.status(), RunStatus::Completed);
}

/// A node that looks at several lists, each of as many plain values as one event names.
fn over_lists(lists: usize, name: &str, config: Json) -> Course {
    let all: Vec<usize> = (0..lists * limits::LIST_CHUNK_ITEMS_MAX).collect();
    let fixture =
        all.chunks(limits::LIST_CHUNK_ITEMS_MAX).zip(0..).fold(Fixture::default(), |fixture, (items, place)| {
            let (list, map) = (format!("list{place}"), format!("m{place}"));
            let fixture = fixture.list(&list, json!(items)).logic(&map, "map", json!({"concurrency": 512}));
            let fixture = fixture.logic(&format!("pass{place}"), "router", json!({})).inside(&map);
            let pass = format!("pass{place}");
            let fixture = fixture.edge(&list, &format!("{map}.items")).edge(&format!("{map}.item"), &pass);
            fixture.edge(&format!("{pass}.output"), &format!("{map}.result"))
        });
    let fixture = fixture.logic("it", name, config);
    let fixture = (0..lists).fold(fixture, |fixture, place| fixture.edge(&format!("m{place}.results"), "it"));
    Course::begin(&fixture.build())
}

#[test]
fn several_lists_are_looked_at_together() {
    // More than the engine looks at: each of the lists is short, all of them are long.
    let mut course = over_lists(3, "filter", json!({"condition": "item < 1400"}));
    let it = course.instance("it");
    assert_eq!(phase(&course, "it"), NodePhase::Ready, "{:?}", course.run.error());
    let (_, arriving) = course.run.question(it).unwrap();
    assert!(matches!(&arriving[..], [(QUESTION_ITEMS, OutputValue::Gather(_))]));
    delegate(&mut course, it);
    let count = |output: &str| course.gave(output).unwrap().as_array().unwrap().len();
    assert_eq!((count("it.kept"), count("it.dropped")), (1_400, 3 * limits::LIST_CHUNK_ITEMS_MAX - 1_400));
    assert_eq!((course.run.status(), course.replayed().snapshot()), (RunStatus::Completed, course.run.snapshot()));
}

fn shown(course: &Course, body: &Body, outputs: &[crate::run::event::PortOutput]) -> Vec<Option<Json>> {
    let seq = course.run.seq().next();
    let one = |reference: &ValueRef| -> Json {
        let value =
            if reference.seq == seq { body.values[reference.place as usize].clone() } else { course.value(reference) };
        serde_json::from_slice(value.json()).unwrap()
    };
    let value = |value: &OutputValue| match value {
        OutputValue::One(reference) | OutputValue::List(reference) => Some(one(reference)),
        OutputValue::Gather(references) => Some(references.iter().map(one).collect()),
        OutputValue::Pieces(_) => panic!("no list is that long"),
        OutputValue::Closed => None,
    };
    outputs.iter().map(|output| value(&output.value)).collect()
}

fn values() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-3..9i64).prop_map(Json::from),
        "[a-z]{0,3}".prop_map(Json::from)
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[na]", inner, 0..3)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

const CONDITIONS: [&str; 8] = [
    "value.n > 3",
    "size(inputs) == 1 && has(value.n)",
    "nodes.a.output == value",
    "type(nodes.b.outputs.json) == list",
    "value == nodes.b.output || nodes.a.output == 1",
    "run.sandbox",
    "value.exists(it, it == 1)",
    "'a' in value",
];
const FILTERS: [&str; 5] =
    ["item.n > 1", "index > 0", "item == nodes.b.output", "size(items) > 1", "type(item) == int"];

proptest! {
    #[test]
    fn an_agent_finds_what_the_engine_finds(a in values(), b in values(), kind in 0..4usize, first in 0..8usize, second in 0..8usize, all in any::<bool>(), edges in 0..3usize) {
        let cases = json!([{"id": "one", "when": CONDITIONS[first]}, {"id": "two", "when": CONDITIONS[second]}]);
        let (name, config, input) = match kind {
            0 => ("if", json!({"condition": CONDITIONS[first]}), "value"),
            1 => ("switch", json!({"cases": cases, "mode": if all { "all" } else { "first" }}), "value"),
            2 => ("gate", json!({"value": 1}), "open"),
            _ => ("filter", json!({"condition": FILTERS[first % FILTERS.len()], "items": [1, {"n": 2}]}), "items"),
        };
        // Both lead to it, so that conditions may look at them.
        let graph = Fixture::default().json("a", a).json("b", b).logic("both", "merge", json!({})).logic("it", name, config);
        let graph = graph.edge("a", "both").edge("b", "both");
        let graph = match (kind, edges) {
            (3, 1) => graph.edge("a", "it.items").edge("b", "it.items"),
            (3, 2) => graph.edge("both.values", "it.items"),
            _ => graph.edge("both.value", &format!("it.{input}")),
        };
        let course = Course::begin(&graph.build());
        let it = course.instance("it");
        let (values, lists) = course.at_hand(it);
        let mut body = Body::new(course.run.seq().next());
        let mut deciding = Deciding { now: course.now, draw: &mut Draw::from_seed(0), values: &values, lists: &lists, hooks: &hooks(), cost: &mut 0 };
        let here = match course.run.decide(it, &mut deciding, &mut body) {
            Decision::Completed { outputs, .. } => Ok(shown(&course, &body, &outputs)),
            Decision::Failed { error, .. } => Err(error.code.to_string()),
            other => panic!("{other:?}"),
        };
        let there = on_an_agent(&course, it).map(|outcome| {
            let Outcome::Succeeded(values) = outcome else { panic!("it succeeded") };
            let mut body = Body::new(course.run.seq().next());
            let outputs = course.run.delegated_outputs(it, values, &mut body).unwrap();
            shown(&course, &body, &outputs)
        });
        prop_assert_eq!(here, there);
    }
}
