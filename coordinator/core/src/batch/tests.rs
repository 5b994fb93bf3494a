use serde_json::{Value as Json, json};

use super::*;
use crate::graph::fixture::Fixture;
use crate::graph::{Graph, Problem, rule};
use crate::id::NodeIx;
use crate::limits::{BATCH_RUNS_MAX, BATCH_RUNS_UNDER_WAY_MAX, INLINE_VALUE_BYTES_MAX};
use crate::value::Value;

fn graph() -> std::sync::Arc<Graph> {
    let number = json!({});
    Fixture::default().text("a", "x").json("b", number).text("c", "z").output("out").edge("a", "out").build()
}

fn read(configs: &Json) -> Result<Vec<Axis>, Vec<Problem>> {
    let graph = graph();
    let part: Vec<NodeIx> = graph.nodes().map(|(ix, _)| ix).collect();
    graph.read_iterators(&part, configs.to_string().as_bytes())
}

fn plan(configs: &Json) -> Plan {
    let inputs = vec![(NodeIx(2), Value::from_json("\"base\"".into()))];
    let (target, traceparent, sandbox, inherited, deadline) = (None, None, false, None, None);
    Plan { axes: read(configs).unwrap(), inputs, target, traceparent, sandbox, inherited, deadline }
}

fn combinations(plan: &Plan) -> Vec<Vec<String>> {
    let text = |value: &Value| String::from_utf8(value.json().to_vec()).unwrap();
    let of = |index| plan.inputs_of(index).iter().map(|(ix, value)| format!("{ix}={}", text(value))).collect();
    (0..plan.total()).map(of).collect()
}

#[test]
fn zipped_lists_go_along() {
    let plan = plan(&json!([
        {"nodeId": "a", "values": ["1", "2"], "title": "kept by those who sent it", "note": 1},
        {"nodeId": "b", "values": [10, null], "mode": "zip"},
    ]));
    assert_eq!((plan.total(), plan.stride()), (2, 1));
    let base = "2=\"base\"";
    assert_eq!(combinations(&plan), [["0=\"1\"", "1=10", base], ["0=\"2\"", "1=null", base]]);
}

#[test]
fn zips_are_one_axis_and_each_product_another() {
    let plan = plan(&json!([
        {"nodeId": "a", "items": ["1", "2"], "mode": "zip"},
        {"nodeId": "b", "values": [7, 8, 9], "mode": "product"},
        {"nodeId": "c", "data": ["p", "q"]},
    ]));
    assert_eq!((plan.total(), plan.stride()), (6, 3));
    let found = combinations(&plan);
    assert_eq!(found[0], ["0=\"1\"", "1=7", "2=\"p\""]);
    assert_eq!(found[1], ["0=\"1\"", "1=8", "2=\"p\""], "the last axis runs fastest");
    assert_eq!(found[3], ["0=\"2\"", "1=7", "2=\"q\""]);
}

#[test]
fn a_value_that_is_not_given_leaves_what_is_there() {
    let plan = plan(&json!([{"nodeId": "c", "values": ["p", null]}]));
    assert_eq!(combinations(&plan), [["2=\"p\""], ["2=\"base\""]]);
    assert_eq!(plan.inputs_of_all().len(), 1, "the base counts, since one of the values is none");
}

#[test]
fn every_fault_is_told_with_its_place() {
    let long: Vec<u32> = (0..=BATCH_RUNS_MAX).collect();
    let large = "x".repeat(INLINE_VALUE_BYTES_MAX);
    for (configs, rule, path) in [
        (json!([]), rule::BAD_JSON, "/iteratorConfigs"),
        (json!({}), rule::BAD_JSON, "/iteratorConfigs"),
        (json!([1]), rule::BAD_JSON, "/iteratorConfigs/0"),
        (json!([{"values": [1]}]), rule::BAD_JSON, "/iteratorConfigs/0/nodeId"),
        (json!([{"nodeId": "nobody", "values": [1]}]), rule::UNKNOWN_INPUT, "/iteratorConfigs/0/nodeId"),
        (json!([{"nodeId": "out", "values": [1]}]), rule::UNKNOWN_INPUT, "/iteratorConfigs/0/nodeId"),
        (json!([{"nodeId": "a"}]), rule::BAD_JSON, "/iteratorConfigs/0/values"),
        (json!([{"nodeId": "a", "items": 1}]), rule::BAD_JSON, "/iteratorConfigs/0/items"),
        (json!([{"nodeId": "a", "values": []}]), rule::BAD_INPUT, "/iteratorConfigs/0/values"),
        (
            json!([{"nodeId": "a", "values": ["x", "y", "z", large]}]),
            rule::VALUE_TOO_LARGE,
            "/iteratorConfigs/0/values/3",
        ),
        (json!([{"nodeId": "a", "values": ["x"], "mode": "all"}]), rule::BAD_INPUT, "/iteratorConfigs/0/mode"),
        (json!([{"nodeId": "a", "values": ["x"], "Mode": "product"}]), rule::BAD_JSON, "/iteratorConfigs/0/Mode"),
        (json!([{"nodeId": "a", "values": ["x"], "items": ["y"]}]), rule::BAD_JSON, "/iteratorConfigs/0/items"),
        (
            json!([{"nodeId": "a", "values": ["x"]}, {"nodeId": "a", "values": ["y"]}]),
            rule::AMBIGUOUS_INPUT,
            "/iteratorConfigs/1/nodeId",
        ),
        (
            json!([{"nodeId": "a", "values": ["x"]}, {"nodeId": "b", "values": [1, 2]}]),
            rule::BAD_INPUT,
            "/iteratorConfigs/1",
        ),
        (json!([{"nodeId": "b", "values": long}]), rule::LIMITS, "/iteratorConfigs"),
    ] {
        let problems = read(&configs).unwrap_err();
        let told: Vec<_> = problems.iter().map(|problem| (problem.rule, problem.path.as_deref())).collect();
        assert_eq!(told, [(rule, Some(path))], "{problems:?}");
    }
    let many = json!([
        {"nodeId": "a", "values": vec!["x"; 200], "mode": "product"},
        {"nodeId": "b", "values": vec![1; 200], "mode": "product"},
    ]);
    assert_eq!(read(&many).unwrap_err()[0].rule, rule::LIMITS);
}

fn entry(total: u32) -> BatchOfRuns {
    BatchOfRuns::new("acme".into(), total, BatchState::default(), &BTreeSet::new())
}

fn see(entry: &mut BatchOfRuns, going_on: &[u32]) {
    assert!(entry.look());
    assert!(!entry.look(), "the journal is asked once at a time");
    entry.seen(&going_on.iter().copied().collect());
}

#[test]
fn a_batch_starts_more_as_its_runs_end() {
    let total = BATCH_RUNS_UNDER_WAY_MAX as u32 + 2;
    let mut batch = entry(total);
    assert_eq!(batch.start(BATCH_RUNS_UNDER_WAY_MAX), 0..total - 2);
    assert!(batch.start(BATCH_RUNS_UNDER_WAY_MAX).is_empty());
    assert!(!batch.look(), "no run is there yet");
    (0..total - 2).for_each(|index| batch.begun(index));
    see(&mut batch, &(1..total - 2).collect::<Vec<_>>());
    assert_eq!(batch.start(BATCH_RUNS_UNDER_WAY_MAX), total - 2..total - 1);
    batch.hint();
    see(&mut batch, &[]);
    assert_eq!(batch.start(BATCH_RUNS_UNDER_WAY_MAX), total - 1..total);
    assert!(!batch.is_over(), "starts are on their way");
    (total - 2..total).for_each(|index| batch.begun(index));
    see(&mut batch, &[]);
    assert!(batch.is_over());
}

#[test]
fn what_begins_while_the_journal_is_asked_does_not_count_as_over() {
    let mut batch = entry(2);
    batch.start(2);
    batch.begun(0);
    assert!(batch.look());
    batch.begun(1);
    batch.seen(&BTreeSet::from([0]));
    assert!(batch.under_way.contains_key(&1));
}

#[test]
fn a_cancelled_batch_starts_nothing_and_tells_what_goes_on_once() {
    let mut batch = entry(9);
    batch.start(3);
    (0..2).for_each(|index| batch.begun(index));
    assert!(batch.cancel("somebody".into(), Timestamp::from_millis(1)));
    assert!(!batch.cancel("another".into(), Timestamp::from_millis(2)), "the first one did it");
    assert!(batch.start(9).is_empty());
    assert_eq!(batch.cancels(), None, "it does not know which go on");
    see(&mut batch, &[1]);
    assert_eq!(batch.cancels(), Some(("somebody".into(), vec![1])));
    assert_eq!(batch.cancels(), Some(("somebody".into(), vec![])));
    // The one whose start was on its way is told when it has begun.
    batch.begun(2);
    see(&mut batch, &[1, 2]);
    assert_eq!(batch.cancels(), Some(("somebody".into(), vec![2])));
    batch.hint();
    see(&mut batch, &[]);
    assert!(batch.is_over() && batch.state.started == 3);
}

#[test]
fn a_batch_that_is_loaded_knows_its_starts_that_are_owed() {
    let state = BatchState { started: 3, ..BatchState::default() };
    let mut batch = BatchOfRuns::new("acme".into(), 4, state, &BTreeSet::from([2]));
    assert!(batch.start(1).is_empty(), "nobody knows yet what goes on");
    see(&mut batch, &[1]);
    assert_eq!(batch.under_way.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(batch.start(3), 3..4);
}
