//! What is refused about containers, each with its place.

use serde_json::{Value, json};

use super::{compile, edge, node, rules};
use crate::graph::problem::{Problem, rule};

fn inside(container: &str, mut node: Value) -> Value {
    node["parentId"] = container.into();
    node
}

fn logic(id: &str, name: &str, config: Value) -> Value {
    json!({"id": id, "type": "group", "data": {"nodeType": format!("logic:{name}"), "config": config}})
}

/// A loop over one echo.
fn looping(config: Value) -> (Value, Value) {
    let nodes = json!([logic("l", "loop", config), inside("l", node("e", "debug:echo", json!({})))]);
    (nodes, json!([edge("l", "out-value", "e", ""), edge("e", "", "l", "in-result")]))
}

fn problems((nodes, edges): (Value, Value)) -> Vec<Problem> {
    compile(&nodes, &edges).map(|_| Vec::new()).unwrap_or_else(|problems| problems)
}

#[test]
fn expressions_of_loops_are_read_with_their_positions() {
    let found = problems(looping(json!({"until": "result >", "select": "best", "score": "nodes.e.output + other"})));
    assert_eq!(rules(&found), [rule::BAD_EXPRESSION, rule::BAD_EXPRESSION]);
    assert_eq!(found[0].path.as_deref(), Some("/nodes/0/data/config/until"));
    assert!(found[0].message.contains("line 1, column"), "{}", found[0].message);
    assert_eq!(found[1].path.as_deref(), Some("/nodes/0/data/config/score"));
    assert!(found[1].message.contains("\"other\" is not known here; there are"), "{}", found[1].message);
    assert!(found[1].message.contains(", iteration, inputs"), "what its turns are is there: {}", found[1].message);
    assert!(found[1].message.contains("line 1, column 18"), "{}", found[1].message);
    assert_eq!(problems(looping(json!({"until": "result == carry || iteration > 2", "select": "all"}))), []);
}

#[test]
fn bounds_of_containers_are_checked() {
    for (config, key) in [
        (json!({"maxIterations": 0}), "maxIterations"),
        (json!({"maxIterations": 10_001}), "maxIterations"),
        (json!({"maxIterations": "many"}), "maxIterations"),
        (json!({"select": "some"}), "select"),
        (json!({"select": "best"}), "score"),
    ] {
        let found = problems(looping(config));
        assert_eq!(rules(&found), [rule::BAD_CONFIG], "{key}");
        assert_eq!(found[0].path.as_deref(), Some(&*format!("/nodes/0/data/config/{key}")));
    }
    let map = |config: Value| {
        (
            json!([node("s", "utility:split", json!({"text": "a"})), logic("m", "map", config)]),
            json!([edge("s", "", "m", "")]),
        )
    };
    assert_eq!(problems(map(json!({"concurrency": 5, "batchSize": 10, "onItemError": "collect"}))), []);
    for (config, key) in [
        (json!({"concurrency": 1_001}), "concurrency"),
        (json!({"concurrency": 1.5}), "concurrency"),
        (json!({"batchSize": 0}), "batchSize"),
        (json!({"onItemError": "stop"}), "onItemError"),
    ] {
        let found = problems(map(config));
        assert_eq!(found[0].path.as_deref(), Some(&*format!("/nodes/1/data/config/{key}")), "{found:?}");
    }
    let both = problems(map(json!({"concurrency": 0, "batchSize": 0})));
    assert_eq!(rules(&both), [rule::BAD_CONFIG, rule::BAD_CONFIG]);
}

#[test]
fn edges_cross_borders_through_the_container_only() {
    let nodes = json!([
        node("s", "utility:split", json!({"text": "a"})),
        logic("m", "map", json!({})),
        inside("m", node("e", "debug:echo", json!({}))),
        node("p", "output:preview", json!({})),
    ]);
    let with = |more: Value| {
        let edges = json!([edge("s", "", "m", "in-items"), edge("m", "", "e", ""), edge("e", "", "m", ""), more]);
        problems((nodes.clone(), edges))
    };
    assert_eq!(with(edge("m", "", "p", "")), [], "without handles the ports are found");
    let out = with(edge("e", "", "p", ""));
    assert_eq!((rules(&out), out[0].path.as_deref()), (vec![rule::EDGE_ACROSS_SCOPES], Some("/edges/3")));
    let item = with(edge("m", "out-item", "p", ""));
    assert_eq!((rules(&item), item[0].path.as_deref()), (vec![rule::BAD_SOURCE_HANDLE], Some("/edges/3/sourceHandle")));
    assert!(item[0].message.contains("is for nodes inside it"), "{}", item[0].message);
    let results = with(edge("m", "out-results", "e", ""));
    assert!(results[0].message.contains("is for nodes beside it"), "{}", results[0].message);
    // What is carried comes from the body.
    let (mut nodes, mut edges) = looping(json!({}));
    nodes.as_array_mut().unwrap().push(node("t", "input:text", json!({})));
    edges.as_array_mut().unwrap().push(edge("t", "", "l", "in-carry"));
    let carry = problems((nodes, edges));
    assert_eq!(
        (rules(&carry), carry[0].path.as_deref()),
        (vec![rule::BAD_TARGET_HANDLE], Some("/edges/2/targetHandle"))
    );
    assert!(carry[0].message.contains("\"in-carry\" of \"l\" is for nodes inside it"), "{}", carry[0].message);
}

#[test]
fn circles_through_a_body_are_found_and_those_with_its_container_are_none() {
    let nodes = json!([
        node("s", "utility:split", json!({"text": "a"})),
        logic("m", "map", json!({})),
        inside("m", node("e", "utility:prompt_concat", json!({}))),
        node("c", "utility:prompt_concat", json!({})),
    ]);
    let edges = json!([
        edge("s", "", "m", ""),
        edge("m", "", "e", ""),
        edge("e", "", "m", ""),
        edge("m", "", "c", ""),
        edge("c", "", "e", ""),
    ]);
    assert_eq!(rules(&problems((nodes, edges))), [rule::CYCLE]);
}

#[test]
fn containers_lie_inside_each_other_so_deep_and_no_deeper() {
    let nested = |depth: usize| {
        let container = |place: usize| {
            let it = logic(&format!("m{place}"), "map", json!({"concurrency": 1}));
            if place == 0 { it } else { inside(&format!("m{}", place - 1), it) }
        };
        let nodes: Vec<Value> = (0..depth)
            .map(container)
            .chain([inside(&format!("m{}", depth - 1), node("e", "debug:echo", json!({})))])
            .collect();
        problems((json!(nodes), json!([])))
    };
    let deep = |found: &[Problem]| found.iter().filter(|problem| problem.rule == rule::LIMITS).count();
    assert_eq!(deep(&nested(8)), 0);
    let found = nested(9);
    assert_eq!(deep(&found), 1);
    assert!(found.iter().any(|problem| problem.path.as_deref() == Some("/nodes/9/parentId")));
    // Parents in a circle.
    let circle = json!([inside("b", logic("a", "map", json!({}))), inside("a", logic("b", "map", json!({})))]);
    assert!(deep(&problems((circle, json!([])))) > 0);
}

#[test]
fn conditions_see_no_node_that_runs_once_per_item_of_another_list() {
    let nodes = json!([
        node("s", "utility:split", json!({"text": "a"})),
        logic("m", "map", json!({})),
        inside("m", node("e", "debug:echo", json!({}))),
        node("i", "logic:if", json!({"condition": "nodes.e.output == 1"})),
    ]);
    let edges = json!([edge("s", "", "m", ""), edge("m", "", "e", ""), edge("e", "", "m", ""), edge("m", "", "i", "")]);
    let found = problems((nodes, edges));
    assert_eq!(rules(&found), [rule::BAD_EXPRESSION]);
    assert!(found[0].message.contains("runs once per item"), "{}", found[0].message);
}

#[test]
fn a_list_of_lists_does_not_lift() {
    let nodes = json!([
        node("s", "utility:split", json!({"text": "a"})),
        node("t", "utility:split", json!({})),
        node("e", "generate:flux_2_pro", json!({})),
    ]);
    let edges = json!([edge("s", "", "t", ""), edge("t", "", "e", "")]);
    let found = problems((nodes, edges));
    let places: Vec<_> = found.iter().map(|problem| (problem.rule, problem.path.as_deref())).collect();
    assert_eq!(places, [(rule::TYPE_MISMATCH, Some("/edges/1/target"))], "{found:?}");
    assert_eq!(
        found[0].message,
        "\"out-parts\" of node \"t\" gives TEXT list for each item of a list, but \"in-prompt\" of node \"e\" takes TEXT: \
         lists of lists are not gone through by themselves."
    );
    assert_eq!(found[0].node_id.as_deref(), Some("e"));
    assert!(found[0].fix.contains("logic:map"), "{}", found[0].fix);
}

#[test]
fn in_the_body_of_a_map_a_list_for_each_item_lifts() {
    let nodes = json!([
        node("s", "utility:split", json!({"text": "a"})),
        logic("m", "map", json!({})),
        inside("m", node("t", "utility:split", json!({}))),
        inside("m", node("e", "generate:flux_2_pro", json!({}))),
    ]);
    let edges = json!([
        edge("s", "", "m", "items"),
        edge("m", "item", "t", ""),
        edge("t", "", "e", ""),
        edge("e", "", "m", "result")
    ]);
    let compiled = compile(&nodes, &edges).unwrap();
    assert_eq!(compiled.graph.nodes().filter(|(_, node)| node.is_anonymous).count(), 1);
}

#[test]
fn a_map_that_nothing_inside_gives_a_result_is_warned_of() {
    let nodes = json!([
        node("list", "input:list", json!({"items": [1]})),
        logic("m", "map", json!({})),
        inside("m", node("e", "debug:echo", json!({}))),
    ]);
    let edges = |last: Vec<Value>| {
        Value::from([vec![edge("list", "", "m", "items"), edge("m", "item", "e", "in")], last].concat())
    };
    let of = |edges: Value| compile(&nodes, &edges).unwrap().warnings;
    let found = of(edges(Vec::new()));
    assert_eq!(rules(&found), [rule::NO_RESULT]);
    assert_eq!((found[0].path.as_deref(), found[0].node_id.as_deref()), (Some("/nodes/1"), Some("m")));
    assert_eq!(of(edges(vec![edge("e", "out", "m", "result")])), []);
}
