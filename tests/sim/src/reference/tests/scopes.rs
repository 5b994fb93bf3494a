use super::*;

/// A map over these items, whose one node passes on those whose `n` is no 9, and cannot tell of those without `n`.
fn map(items: Json, config: Json) -> Sketch {
    let sketch = Sketch::default().input("list", items).with("map", "logic:map", config).edge("list.json", "map.items");
    let sketch = sketch.with("if", "logic:if", json!({"condition": "value.n != 9"})).inside("map");
    sketch.edge("map.item", "if.value").edge("if.true", "map.result")
}

#[test]
fn a_map_gives_its_results_in_the_order_of_its_items() {
    let sketch = map(json!([{"n": 3}, {"n": 1}, {"n": 2}]), json!({"concurrency": 1}));
    assert_eq!(sketch.gives("map.results"), Some(json!([{"n": 3}, {"n": 1}, {"n": 2}])));
    assert_eq!(sketch.gives("map.errors"), Some(json!([])));
    let sketch = map(json!([{"n": 3}, {"n": 1}]), json!({})).with("see", "output:preview", json!({})).inside("map");
    let sketch = sketch.edge("map.index", "see.value");
    let see = |index: u32| match sketch.expected("see", &[index]) {
        Expected::Done(mut outputs) => outputs.remove("value").map(super::super::Given::into_json),
        other => panic!("{other:?}"),
    };
    assert_eq!([see(0), see(1)], [Some(json!(0)), Some(json!(1))]);
}

#[test]
fn an_empty_list_gives_an_empty_list() {
    let sketch = map(json!([]), json!({}));
    assert_eq!(sketch.gives("map.results"), Some(json!([])));
    assert_eq!(sketch.gives("map.errors"), Some(json!([])));
    let sketch = Sketch::default().input("list", json!([1])).with("gate", "logic:gate", json!({"open": false}));
    let sketch =
        sketch.edge("list.json", "gate.value").with("map", "logic:map", json!({})).edge("gate.value", "map.items");
    assert_eq!(sketch.expected("map", &[]), Expected::Skipped);
}

#[test]
fn a_failed_item_ends_is_left_out_or_is_null() {
    let items = || json!([{"n": 1}, {}, {"n": 9}, {"n": 2}]);
    let failed = Expected::Failed(vec!["condition_failed".to_owned()]);
    assert_eq!(map(items(), json!({})).expected("map", &[]), failed);
    let skip = map(items(), json!({"onItemError": "skip"}));
    assert_eq!(skip.gives("map.results"), Some(json!([{"n": 1}, {"n": 2}])));
    let collect = map(items(), json!({"onItemError": "collect"}));
    assert_eq!(collect.gives("map.results"), Some(json!([{"n": 1}, null, null, {"n": 2}])));
    let told = json!([{"index": 1, "code": "condition_failed", "class": "invalid_request", "message": "…"}]);
    for sketch in [skip, collect] {
        let errors = sketch.gives("map.errors").unwrap_or_default();
        assert!(fits(&errors, &told), "{errors}");
    }
    // What gave nothing has not failed.
    assert_eq!(map(json!([{"n": 9}]), json!({})).gives("map.results"), Some(json!([null])));
}

#[test]
fn lists_are_cut_into_lists() {
    let sketch =
        Sketch::default().input("list", json!([1, 2, 3, 4, 5])).with("batch", "logic:batch", json!({"size": 2}));
    let sketch = sketch.edge("list.json", "batch.items").with("map", "logic:map", json!({"batchSize": 3}));
    let sketch = sketch.edge("list.json", "map.items").with("all", "logic:merge", json!({"mode": "all"})).inside("map");
    let sketch = sketch.edge("map.item", "all.branches").edge("all.values", "map.result");
    assert_eq!(sketch.gives("batch.batches"), Some(json!([[1, 2], [3, 4], [5]])));
    assert_eq!(sketch.gives("map.results"), Some(json!([[1, 2, 3], [4, 5]])));
}

#[test]
fn bodies_see_what_is_around_them() {
    let sketch = Sketch::default().input("list", json!([{"n": 1}, {"n": 2}])).input("out", json!({"n": 7}));
    let sketch = sketch.with("map", "logic:map", json!({})).edge("list.json", "map.items");
    let sketch = sketch.with("inner", "logic:map", json!({})).inside("map").edge("list.json", "inner.items");
    let sketch = sketch.with("all", "logic:merge", json!({"mode": "all"})).inside("inner");
    let sketch =
        sketch.edge("map.item", "all.branches").edge("inner.item", "all.branches").edge("out.json", "all.branches");
    let sketch = sketch.edge("all.values", "inner.result").edge("inner.results", "map.result");
    let of = |outer: u64, inner: u64| json!([{"n": outer}, {"n": inner}, {"n": 7}]);
    assert_eq!(sketch.gives("map.results"), Some(json!([[of(1, 1), of(1, 2)], [of(2, 1), of(2, 2)]])));
    assert!(matches!(sketch.expected("all", &[1, 0]), Expected::Done(_)));
}

#[test]
fn a_failed_item_of_an_inner_map_fails_the_item_around_it() {
    let nested = |inner: &str| {
        let sketch = Sketch::default().input("list", json!([{"n": 1}, {}]));
        let sketch = sketch.with("map", "logic:map", json!({"onItemError": "collect"})).edge("list.json", "map.items");
        let sketch = sketch.with("inner", "logic:map", json!({"onItemError": inner})).inside("map");
        let sketch = sketch.edge("map.item", "inner.items").edge("inner.results", "map.result");
        let sketch = sketch.with("if", "logic:if", json!({"condition": "value.n == 1"})).inside("inner");
        sketch.edge("inner.item", "if.value").edge("if.true", "inner.result")
    };
    assert_eq!(nested("fail").gives("map.results"), Some(json!([[{"n": 1}], null])));
    assert_eq!(nested("skip").gives("map.results"), Some(json!([[{"n": 1}], []])));
}
