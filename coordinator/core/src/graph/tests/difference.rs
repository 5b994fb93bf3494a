use super::super::{Difference, NodeChange, NodeDifference};
use super::*;
use crate::limits::DIFFERENCE_VALUE_BYTES_MAX;

fn draft(nodes: Value, edges: Value) -> Draft {
    Draft::parse(nodes.to_string().as_bytes(), edges.to_string().as_bytes()).unwrap()
}

fn keys(node: &NodeDifference) -> Vec<(&str, Option<&str>, Option<&str>)> {
    node.keys.iter().map(|it| (&*it.key, it.before.as_deref(), it.after.as_deref())).collect()
}

#[test]
fn nodes_are_added_removed_changed_or_only_look_otherwise() {
    let before = draft(
        json!([
            {"id": "gone", "data": {"label": "G", "nodeType": "t:gone"}},
            {"id": "same", "data": {"config": {"a": 1, "b": {"c": 2, "d": 3}}}},
            {"id": "moved", "position": {"x": 1, "y": 2}, "data": {}},
            {"id": "other", "type": "old", "position": {"x": 1, "y": 2}, "data": {"label": "L", "nodeType": "t:x",
                "config": {"text": "one", "n": 1}, "policy": {"timeoutMs": 5}, "mine": [1]}},
        ]),
        json!([]),
    );
    let after = draft(
        json!([
            {"id": "new", "data": {"label": "N", "nodeType": "t:new"}},
            {"data": {"config": {"b": {"d": 3, "c": 2}, "a": 1}}, "id": "same"},
            {"id": "moved", "position": {"x": 1, "y": 3}, "selected": true, "data": {}},
            {"id": "other", "type": "new", "position": {"x": 1, "y": 9}, "data": {"label": "M", "nodeType": "t:x",
                "config": {"text": "two", "list": [1]}, "policy": {"timeoutMs": 6}, "mine": [2]}},
        ]),
        json!([]),
    );
    let found = Difference::between(&before, &after);
    let changes: Vec<_> = found.nodes.iter().map(|node| (node.change, &*node.id)).collect();
    let expected = [
        (NodeChange::Added, "new"),
        (NodeChange::Looks, "moved"),
        (NodeChange::Changed, "other"),
        (NodeChange::Removed, "gone"),
    ];
    assert_eq!(changes, expected, "another order of keys is no difference");
    assert_eq!(found.nodes[1].looks, ["position", "selected"]);
    assert_eq!((&*found.nodes[0].label, &*found.nodes[0].node_type), ("N", "t:new"));
    let other = &found.nodes[2];
    let expected = [
        ("config.list", None, Some("[1]")),
        ("config.n", Some("1"), None),
        ("config.text", Some("\"one\""), Some("\"two\"")),
        ("data.mine", Some("[1]"), Some("[2]")),
        ("label", Some("\"L\""), Some("\"M\"")),
        ("policy.timeoutMs", Some("5"), Some("6")),
        ("type", Some("\"old\""), Some("\"new\"")),
    ];
    assert_eq!(keys(other), expected);
    assert_eq!(other.looks, ["position"]);
    assert!(Difference::between(&after, &after).is_empty() && !found.is_empty());
}

#[test]
fn a_param_that_the_config_overrides_means_nothing() {
    let node = |config: &str, params: &str| {
        draft(
            json!([{"id": "a", "data": {"config": {"k": config}, "params": {"k": params, "only": params}}}]),
            json!([]),
        )
    };
    let found = Difference::between(&node("1", "1"), &node("1", "2"));
    assert_eq!(keys(&found.nodes[0]), [("params.only", Some("\"1\""), Some("\"2\""))]);
}

#[test]
fn edges_are_told_apart_by_what_they_join() {
    let nodes = || json!([{"id": "a"}, {"id": "b"}, {"id": "c"}, {"id": "d"}]);
    let edge = |source: &str, target: &str| json!({"source": source, "target": target, "targetHandle": "in-l"});
    let before = draft(nodes(), json!([edge("a", "d"), edge("b", "d"), edge("c", "d"), edge("a", "c")]));
    let mut named = edge("a", "d");
    named["id"] = json!("e1");
    named["animated"] = json!(true);
    let after = draft(nodes(), json!([edge("b", "d"), named, edge("b", "c"), edge("b", "c")]));
    let found = Difference::between(&before, &after);
    let edges: Vec<_> = found.edges.iter().map(|it| (it.is_added, &*it.source.0, &*it.target.0)).collect();
    let expected = [(false, "c", "d"), (false, "a", "c"), (true, "b", "c"), (true, "b", "c")];
    assert_eq!(edges, expected);
    assert_eq!(
        found.reordered,
        [("d".to_owned(), "in-l".to_owned())],
        "a list is put together in the order of its edges"
    );
    assert!(found.nodes.is_empty());
}

#[test]
fn long_values_are_left_out_and_a_long_answer_is_cut() {
    let long = "x".repeat(DIFFERENCE_VALUE_BYTES_MAX);
    let of = |text: &str| draft(json!([{"id": "a", "data": {"config": {"text": text}}}]), json!([]));
    let found = Difference::between(&of("short"), &of(&long));
    let key = &found.nodes[0].keys[0];
    assert_eq!((&*key.key, &key.before, &key.after, key.is_left_out), ("config.text", &None, &None, true));
    assert!(!found.is_cut);
    let many = |text: &str| {
        let text = text.repeat(DIFFERENCE_VALUE_BYTES_MAX / 2);
        let nodes: Vec<Value> =
            (0..1_200).map(|n| json!({"id": n.to_string(), "data": {"config": {"t": text}}})).collect();
        draft(json!(nodes), json!([]))
    };
    let found = Difference::between(&many("x"), &many("y"));
    assert!(found.is_cut && found.nodes.len() > 500 && found.nodes.len() < 1_200, "{}", found.nodes.len());
}

#[test]
fn the_workflows_policy_is_compared() {
    let of = |policy: &str| draft(json!([]), json!([])).with_policy(policy.as_bytes()).unwrap();
    let found = Difference::between(&of(""), &of(r#"{"timeoutMs":5}"#)).policy.unwrap();
    assert_eq!((found.before, found.after.as_deref()), (None, Some(r#"{"timeoutMs":5}"#)));
    assert!(Difference::between(&of(r#"{"timeoutMs":5}"#), &of(r#"{ "timeoutMs": 5 }"#)).is_empty());
}
