//! Branching nodes in lint: their configs, their conditions, and outputs that follow from them.

use super::super::rule;
use super::*;

/// The rule, the path and a part of the message of the one problem of a node's config.
fn refused(node_type: &str, config: Value) -> (&'static str, String, String) {
    let nodes = json!([
        node("before", "input:json", json!({"value": 1})),
        node("n", node_type, config),
        node("other", "debug:echo", json!({}))
    ]);
    let problem = problem(&nodes, &json!([edge("before", "", "n", "")]));
    assert_eq!(problem.node_id.as_deref(), Some("n"));
    (problem.rule, problem.path.unwrap_or_default(), problem.message)
}

#[test]
fn a_bad_expression_names_the_key_and_the_position() {
    for (node_type, config, path, part) in [
        ("logic:if", json!({"condition": "value >"}), "condition", "at line 1, column"),
        (
            "logic:if",
            json!({"condition": "valve > 1"}),
            "condition",
            "\"valve\" is not known here; there are \"value\", inputs, nodes and run, at line 1, column 1.",
        ),
        ("logic:if", json!({"expression": "item > 1"}), "condition", "\"item\" is not known here"),
        (
            "logic:filter",
            json!({"condition": "item > 1 &&\n  value"}),
            "condition",
            "\"value\" is not known here; there are \"items\", item, index, inputs, nodes and run, at line 2, column 3.",
        ),
        ("logic:if", json!({"condition": "nodes.later.output == 1"}), "condition", "there is no node \"later\""),
        ("logic:if", json!({"condition": "nodes.other.output == 1"}), "condition", "node \"other\" does not lead here"),
        ("logic:if", json!({"condition": "nodes.n.output == 1"}), "condition", "node \"n\" does not lead here"),
        (
            "logic:switch",
            json!({"cases": [{"id": "a", "when": "true"}, {"id": "b", "when": "value ="}]}),
            "cases/1/when",
            "The when of node",
        ),
        (
            "logic:router",
            json!({"rules": [{"id": "a", "when": "input.matches('x')"}]}),
            "rules/0/when",
            "patterns are not taken",
        ),
    ] {
        let (found, at, message) = refused(node_type, config);
        assert_eq!((found, &*at), (rule::BAD_EXPRESSION, &*format!("/nodes/1/data/config/{path}")), "{message}");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_bad_config_of_a_branching_node_is_refused_before_any_run() {
    let many: Vec<Value> = (0..65).map(|place| json!({"id": place.to_string(), "when": "true"})).collect();
    for (node_type, config, path, expected) in [
        ("logic:if", json!({}), "/condition", rule::BAD_CONFIG),
        ("logic:if", json!({"condition": true}), "/condition", rule::BAD_CONFIG),
        ("logic:switch", json!({}), "/cases", rule::BAD_CONFIG),
        ("logic:switch", json!({"cases": []}), "/cases", rule::BAD_CONFIG),
        ("logic:switch", json!({"cases": [{"when": "true"}]}), "/cases/0/id", rule::BAD_CONFIG),
        ("logic:switch", json!({"cases": [{"id": "default", "when": "true"}]}), "/cases/0/id", rule::BAD_CONFIG),
        (
            "logic:switch",
            json!({"cases": [{"id": "a", "when": "true"}, {"id": "a", "when": "true"}]}),
            "/cases/1/id",
            rule::BAD_CONFIG,
        ),
        ("logic:switch", json!({"cases": many}), "/cases", rule::LIMITS),
        ("logic:switch", json!({"cases": [{"id": "a", "when": "true"}], "mode": "last"}), "/mode", rule::BAD_CONFIG),
        ("logic:router", json!({"rules": "none"}), "/rules", rule::BAD_CONFIG),
        ("logic:merge", json!({"mode": "newest"}), "/mode", rule::BAD_CONFIG),
        ("logic:stop", json!({"status": "paused"}), "/status", rule::BAD_CONFIG),
        ("logic:stop", json!({"message": 3}), "/message", rule::BAD_CONFIG),
        ("logic:split_test", json!({"weights": {"a": 0, "b": 0}}), "/weights", rule::BAD_CONFIG),
        ("logic:split_test", json!({"weights": {"a": -1, "b": 2}}), "/weights/a", rule::BAD_CONFIG),
        ("logic:split_test", json!({"weights": {"b": "2"}}), "/weights/b", rule::BAD_CONFIG),
        ("logic:split_test", json!({"weights": {"c": 2}}), "/weights", rule::BAD_CONFIG),
        ("logic:split_test", json!({"weights": [1, 2]}), "/weights", rule::BAD_CONFIG),
    ] {
        let (found, at, message) = refused(node_type, config);
        assert_eq!((found, &*at), (expected, &*format!("/nodes/1/data/config{path}")), "{message}");
    }
}

#[test]
fn all_bad_cases_are_reported_at_once() {
    let cases = json!([{"id": "a", "when": "1 +"}, {"id": "b", "when": "valve"}, {"id": "c", "when": "true"}]);
    let nodes = json!([node("n", "logic:switch", json!({"value": 1, "cases": cases}))]);
    let found = compile(&nodes, &json!([])).unwrap_err();
    let paths: Vec<_> = found.iter().map(|problem| problem.path.as_deref().unwrap()).collect();
    assert_eq!(paths, ["/nodes/0/data/config/cases/0/when", "/nodes/0/data/config/cases/1/when"]);
}

#[test]
fn a_switch_has_an_output_for_each_case_wherever_they_are_written() {
    let cases = json!([{"id": "refund", "when": "value == 1"}, {"id": "praise", "when": "value == 2"}]);
    for level in ["config", "params", ""] {
        let mut switch = node("s", "logic:switch", json!({"value": 1}));
        match level {
            "" => switch["data"]["cases"] = cases.clone(),
            level => switch["data"][level]["cases"] = cases.clone(),
        }
        let nodes = json!([switch, node("o", "output:preview", json!({}))]);
        for port in ["refund", "out-praise", "default", "else"] {
            assert!(compile(&nodes, &json!([edge("s", port, "o", "")])).is_ok(), "{level} {port}");
        }
        let wrong = problem(&nodes, &json!([edge("s", "refunds", "o", "")]));
        assert_eq!((wrong.rule, &*wrong.fix), (rule::BAD_SOURCE_HANDLE, "Did you mean \"out-refund\"?"));
    }
}

#[test]
fn a_router_with_rules_knows_its_outputs_and_without_takes_any_name() {
    let plain = json!([node("r", "logic:router", json!({"input": 1})), node("o", "output:preview", json!({}))]);
    let compiled = compile(&plain, &json!([edge("r", "out-model_3", "o", "")])).unwrap();
    assert_eq!((&*compiled.migrations[0].from, &*compiled.migrations[0].to), ("out-model_3", "out-output"));
    let rules = json!([{"id": "a", "when": "true"}]);
    let ruled =
        json!([node("r", "logic:router", json!({"input": 1, "rules": rules})), node("o", "output:preview", json!({}))]);
    assert!(compile(&ruled, &json!([edge("r", "a", "o", "")])).is_ok());
    assert_eq!(problem(&ruled, &json!([edge("r", "b", "o", "")])).rule, rule::BAD_SOURCE_HANDLE);
}

#[test]
fn only_so_many_nodes_may_look_at_nodes() {
    let most = crate::limits::GRAPH_LOOKING_BACK_MAX;
    let looking = |count: usize| {
        let ifs =
            (0..count).map(|ix| node(&format!("i{ix}"), "logic:if", json!({"condition": "nodes.before.output == 1"})));
        let nodes: Vec<Value> = ifs.chain([node("before", "input:json", json!({"value": 1}))]).collect();
        let edges: Vec<Value> = (0..count).map(|ix| edge("before", "", &format!("i{ix}"), "")).collect();
        compile(&json!(nodes), &json!(edges))
    };
    assert!(looking(most).is_ok());
    assert_eq!(rules(&looking(most + 1).unwrap_err()), [rule::BAD_EXPRESSION]);
}
