use super::*;

/// A filter that keeps all of three items.
fn list() -> Sketch {
    let sketch = Sketch::default().input("json", json!([{"n": 1}, {"n": 2}, {"n": 3}]));
    sketch.with("list", "logic:filter", json!({"condition": "item.n > 0"})).edge("json.json", "list.items")
}

#[test]
fn a_list_makes_a_node_run_once_per_item() {
    let sketch = list().with("a", work::ONE, json!({})).edge("list.kept", "a.one");
    let sketch = sketch.with("b", work::ONE, json!({})).edge("a.out", "b.one");
    let sketch = sketch.with("see", "output:preview", json!({})).edge("b.out", "see.value");
    let each = [1, 2, 3].map(|n| one(json!({"n": n})));
    assert_eq!(sketch.gives("a.out"), Some(json!(each)));
    assert_eq!(sketch.gives("see.value"), Some(json!(each.map(one))));
    // Both run within one item.
    assert!(matches!(sketch.expected("b", &[2]), Expected::Done(_)));
}

#[test]
fn a_list_input_ends_the_region() {
    let sketch = list().with("a", work::ONE, json!({})).edge("list.kept", "a.one");
    let sketch = sketch.with("all", work::WORK, json!({})).edge("a.out", "all.in");
    let each = [1, 2, 3].map(|n| one(json!({"n": n})));
    let all = work::make(work::WORK, &json!({}), &[json!(each)]).map(|mut made| made.remove(0).1);
    assert_eq!(sketch.gives("all.out"), all);
}

#[test]
fn lists_go_together_and_values_to_every_item() {
    let both = |second: &str| {
        let sketch =
            list().with("two", "logic:filter", json!({"condition": "item.n < 3"})).edge("json.json", "two.items");
        sketch.with("a", work::ONE, json!({})).edge("list.kept", "a.one").edge(second, "a.extra")
    };
    let made =
        |one: Json, extra: Json| work::make(work::ONE, &json!({}), &[one, extra]).map(|mut made| made.remove(0).1);
    let all = json!([{"n": 1}, {"n": 2}, {"n": 3}]);
    let together = [1, 2, 3].map(|n| made(json!({"n": n}), json!({"n": n})));
    assert_eq!(both("list.kept").gives("a.out"), Some(json!(together)));
    let sketch = both("list.kept").input("value", json!({"n": 9})).with("b", work::ONE, json!({}));
    let sketch = sketch.edge("list.kept", "b.one").edge("value.json", "b.extra");
    let to_each = [1, 2, 3].map(|n| made(json!({"n": n}), json!({"n": 9})));
    assert_eq!(sketch.gives("b.out"), Some(json!(to_each)));
    assert_eq!(both("two.kept").expected("a", &[]), Expected::Failed(vec!["unequal_lists".to_owned()]));
    assert_eq!(both("list.kept").gives("list.kept"), Some(all));
    let caught = list().with("two", "logic:filter", json!({"condition": "item.n < 3"})).edge("json.json", "two.items");
    let caught = caught.with("a", work::ONE, json!({})).policy(json!({"onError": "continue"}));
    let caught = caught.edge("list.kept", "a.one").edge("two.kept", "a.extra").with("b", work::ONE, json!({}));
    let caught = caught.edge("a.out", "b.one");
    assert!(matches!(caught.expected("a", &[]), Expected::Done(outputs) if outputs.contains_key("error")));
    assert_eq!(caught.expected("b", &[]), Expected::Skipped);
}

#[test]
fn lifted_nodes_do_with_failed_items_as_their_policy_says() {
    let lifted = |policy: Json| {
        let mut sketch = list().with("a", work::ONE, json!({})).policy(policy).edge("list.kept", "a.one");
        sketch.outside.failed.insert(("a".to_owned(), vec![1]), "poison_node".to_owned());
        sketch
    };
    let [first, _, third] = [1, 2, 3].map(|n| one(json!({"n": n})));
    assert_eq!(lifted(json!({"onItemError": "skip"})).gives("a.out"), Some(json!([first, third])));
    assert_eq!(lifted(json!({"onItemError": "collect"})).gives("a.out"), Some(json!([first, null, third])));
    assert_eq!(lifted(json!({})).expected("a", &[]), Expected::Failed(vec!["poison_node".to_owned()]));
}

#[test]
fn an_empty_list_gives_empty_lists_and_a_closed_one_skips() {
    let sketch =
        list().with("none", "logic:filter", json!({"condition": "item.n > 5"})).edge("list.kept", "none.items");
    let sketch = sketch.with("a", work::ONE, json!({})).edge("none.kept", "a.one");
    let sketch = sketch.with("gate", "logic:gate", json!({"open": false})).edge("json.json", "gate.value");
    let sketch = sketch.with("shut", "logic:filter", json!({"condition": "true"})).edge("gate.value", "shut.items");
    let sketch = sketch.with("b", work::ONE, json!({})).edge("shut.kept", "b.one").with("c", work::WORK, json!({}));
    let sketch = sketch.edge("a.out", "c.in").edge("b.out", "c.in");
    assert_eq!(sketch.gives("a.out"), Some(json!([])));
    assert_eq!(sketch.expected("b", &[]), Expected::Skipped);
}
