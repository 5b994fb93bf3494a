//! What is said about nodes that listen to the world when a graph is read.

use serde_json::{Value, json};

use super::{compile, edge, node, rules};
use crate::graph::problem::rule;
use crate::graph::{ListensTo, is_signal_name};
use crate::limits;

/// What is wrong with a node of this type, with something behind its output.
fn faults(node_type: &str, config: Value) -> Vec<&'static str> {
    let nodes = json!([node("s", node_type, config), node("out", "output:preview", json!({}))]);
    match compile(&nodes, &json!([edge("s", "event", "out", "value")])) {
        Ok(_) => Vec::new(),
        Err(problems) => rules(&problems),
    }
}

#[test]
fn a_signal_has_a_name() {
    let none: [&str; 0] = [];
    for name in ["go", "order.paid", "A-1_b", &"x".repeat(limits::SIGNAL_NAME_BYTES_MAX)] {
        assert_eq!(faults("logic:signal", json!({ "name": name })), none, "{name}");
        assert!(is_signal_name(name), "{name}");
    }
    for name in [
        json!(null),
        json!(7),
        json!(""),
        json!("a b"),
        json!("ä"),
        json!("x".repeat(129)),
        json!("a/b"),
        json!(".."),
        json!("."),
    ] {
        let found = faults("logic:signal", json!({ "name": name }));
        assert!(found.contains(&rule::BAD_CONFIG), "{name}: {found:?}");
    }
    assert!(faults("logic:signal", json!({})).contains(&rule::BAD_CONFIG));
}

#[test]
fn times_and_schemas_are_looked_at() {
    let none: [&str; 0] = [];
    let schema = json!({"type": "object", "required": ["id"]});
    assert_eq!(faults("logic:wait_webhook", json!({"timeoutMs": 1, "schema": schema})), none);
    for config in [json!({"timeoutMs": 0}), json!({"timeoutMs": "5s"}), json!({"schema": "object"})] {
        let found = faults("logic:wait_webhook", config.clone());
        assert!(found.contains(&rule::BAD_CONFIG), "{config}: {found:?}");
    }
}

#[test]
fn a_graph_knows_who_hears_what() {
    let nodes = json!([
        node("a", "logic:signal", json!({"name": "go"})),
        node("b", "logic:signal", json!({"name": "stop", "timeoutMs": 5})),
        node("c", "logic:signal", json!({"name": "go"})),
        node("h", "logic:wait_webhook", json!({})),
    ]);
    let graph = compile(&nodes, &json!([])).unwrap().graph;
    let hearing = |name: &str| -> Vec<String> { graph.hearing(name).map(|ix| graph.node(ix).id.to_string()).collect() };
    assert_eq!((hearing("go"), hearing("stop")), (vec!["a".to_owned(), "c".to_owned()], vec!["b".to_owned()]));
    assert_eq!(hearing("h"), Vec::<String>::new());
    assert_eq!(graph.listen(graph.find("h").unwrap()).unwrap().to, ListensTo::Webhook);
}
