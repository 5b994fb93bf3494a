//! What is said about reviews when a graph is read.

use serde_json::{Value, json};

use super::{compile, edge, node, rules, types};
use crate::graph::problem::rule;
use crate::graph::{chooses_access, unknown_key};

/// A review of a list's item or of a text, and what hangs on it.
fn warnings(config: Value, policy: Value, output: &str) -> Vec<&'static str> {
    let mut review = node("r", "logic:review", config);
    review["data"]["policy"] = policy;
    let nodes =
        json!([node("in", "input:text", json!({"text": "a"})), review, node("out", "output:preview", json!({}))]);
    let edges = json!([edge("in", "text", "r", "value"), edge("r", output, "out", "value")]);
    rules(&compile(&nodes, &edges).unwrap().warnings)
}

#[test]
fn a_rejection_that_fails_the_run_is_warned_of() {
    assert_eq!(warnings(json!({}), json!({}), "approved"), [rule::REJECTION_FAILS]);
    let by_time = json!({"allow": ["approve"], "timeoutMs": 5, "onTimeout": "reject"});
    assert_eq!(warnings(by_time, json!({}), "approved"), [rule::REJECTION_FAILS]);
    let none: [&str; 0] = [];
    assert_eq!(warnings(json!({}), json!({}), "rejected"), none, "it leads on");
    assert_eq!(warnings(json!({"allow": ["approve", "edit"]}), json!({}), "approved"), none, "nobody rejects");
    assert_eq!(warnings(json!({}), json!({"onError": "continue"}), "approved"), none, "it is caught");
}

#[test]
fn a_rejection_that_costs_an_item_is_not() {
    let of = |config: Value| {
        let mut review = node("r", "logic:review", json!({}));
        review["parentId"] = "m".into();
        let nodes = json!([node("in", "input:list", json!({"items": ["a"]})), node("m", "logic:map", config), review]);
        let edges =
            [edge("in", "list", "m", "items"), edge("m", "item", "r", "value"), edge("r", "approved", "m", "result")];
        rules(&compile(&nodes, &Value::from(edges.to_vec())).unwrap().warnings)
    };
    assert_eq!(of(json!({})), [rule::REJECTION_FAILS]);
    assert_eq!(of(json!({"onItemError": "skip"})), Vec::<&str>::new());
}

#[test]
fn who_is_named_must_be_enough_to_approve() {
    let escalated = |to: Value| json!({"required": 2, "assignees": "ann", "timeoutMs": 5, "onTimeout": "escalate", "escalateTo": to});
    for (config, is_right) in [
        (json!({"required": 5, "assignees": ["grace"]}), false),
        (json!({"required": 2, "assignees": ["grace", "grace"]}), false),
        (json!({"required": 2, "assignees": ["grace", "ada"]}), true),
        (json!({"required": 5}), true),
        (escalated(json!(["boss"])), true),
        (escalated(json!(["ann"])), false),
        (json!({"required": 2, "assignees": "ann", "timeoutMs": 5, "onTimeout": "approve"}), true),
    ] {
        let nodes = json!([node("in", "input:text", json!({"text": "a"})), node("r", "logic:review", config.clone())]);
        let found = compile(&nodes, &json!([edge("in", "text", "r", "value")]));
        let problems = found.map(|_| Vec::new()).unwrap_or_else(|problems| problems);
        let places: Vec<_> = problems.iter().map(|it| (it.rule, it.path.as_deref().unwrap_or_default())).collect();
        let expected = [(rule::BAD_CONFIG, "/nodes/1/data/config/required")];
        assert_eq!(places, if is_right { &[][..] } else { &expected[..] }, "{config}");
    }
}

#[test]
fn keys_of_a_config_are_judged_by_their_names() {
    let mut types = types();
    let manifest = json!({"id": "net:call", "version": 1, "title": "Call", "effect": "pure", "outputs": [],
        "inputs": [{"id": "url", "type": "TEXT"}], "configAliases": {"max": "maxTokens", "base_url": "baseUrl"},
        "configSchema": {"type": "object", "properties": {"maxTokens": {"type": "number"}, "baseUrl": {"type": "string"},
            "credential": {"type": "string"}, "host": {"type": "string", "x-access": true}}}});
    let call = types.add_manifest(manifest.to_string().as_bytes()).unwrap();
    for (key, is_known, is_access) in [
        ("maxTokens", true, false),
        ("url", true, true),
        ("credential", true, true),
        ("host", true, true),
        ("base_url", false, true),
        ("max", false, false),
        ("nodeType", false, false),
    ] {
        assert_eq!((unknown_key(&call, key).is_none(), chooses_access(&call, key)), (is_known, is_access), "{key}");
    }
    assert_eq!(unknown_key(&call, "max").unwrap(), "Did you mean \"maxTokens\"?");
}
