use super::*;

/// Two inputs with `n` 1 and 2.
fn two() -> Sketch {
    Sketch::default().input("a", json!({"n": 1})).input("b", json!({"n": 2}))
}

#[test]
fn a_list_takes_what_its_edges_bring_in_their_order() {
    let sketch = two().with("if", "logic:if", json!({"condition": "value.n > 5"})).edge("a.json", "if.value");
    let sketch = sketch.with("all", "logic:merge", json!({"mode": "all"}));
    let sketch = sketch.edge("b.json", "all.branches").edge("if.true", "all.branches").edge("if.false", "all.branches");
    assert_eq!(sketch.gives("all.values"), Some(json!([{"n": 2}, {"n": 1}])));
    assert_eq!(sketch.gives("all.value"), sketch.gives("all.values"));
}

#[test]
fn what_hangs_on_a_closed_port_is_skipped() {
    let sketch = two().with("if", "logic:if", json!({"condition": "value.n == 1"})).edge("a.json", "if.value");
    let sketch = sketch.with("no", "output:preview", json!({})).edge("if.false", "no.value");
    let sketch = sketch.with("after", work::WORK, json!({})).edge("no.value", "after.in");
    assert_eq!(sketch.gives("if.true"), Some(json!({"n": 1})));
    assert_eq!(sketch.expected("no", &[]), Expected::Skipped);
    assert_eq!(sketch.expected("after", &[]), Expected::Skipped);
}

#[test]
fn a_merge_goes_by_edges_and_a_race_by_the_history() {
    let sketch = two().with("first", "logic:merge", json!({})).with("race", "logic:race", json!({}));
    let sketch = ["first", "race"].iter().fold(sketch, |sketch, id| {
        sketch.edge("b.json", &format!("{id}.branches")).edge("a.json", &format!("{id}.branches"))
    });
    assert_eq!(sketch.gives("first.value"), Some(json!({"n": 2})));
    assert_eq!(sketch.expected("race", &[]), Expected::Never);
    let mut sketch = sketch;
    sketch.outside.winner.insert(("race".to_owned(), Vec::new()), "a".to_owned());
    assert_eq!(sketch.gives("race.value"), Some(json!({"n": 1})));
    assert_eq!(sketch.gives("race.winner"), Some(json!("a")));
}

#[test]
fn switches_take_the_first_case_or_all() {
    let cases = json!([{"id": "odd", "when": "value.n % 2 == 1"}, {"id": "low", "when": "value.n < 5"}]);
    let sketch = two().with("first", "logic:switch", json!({"cases": cases})).edge("a.json", "first.value");
    let sketch = sketch.with("all", "logic:switch", json!({"cases": cases, "mode": "all"})).edge("a.json", "all.value");
    let sketch = sketch.input("high", json!({"n": 8})).with("none", "logic:switch", json!({"cases": cases}));
    let sketch = sketch.edge("high.json", "none.value");
    let open = |id: &str| ["odd", "low", "default"].map(|port| sketch.gives(&format!("{id}.{port}")).is_some());
    assert_eq!(
        [open("first"), open("all"), open("none")],
        [[true, false, false], [true, true, false], [false, false, true]]
    );
}

#[test]
fn conditions_look_at_nodes_before_them() {
    let sketch =
        two().with("if", "logic:if", json!({"condition": "nodes.b.output.n == 2 && nodes.b.outputs.json.n < 3"}));
    let sketch = sketch.edge("a.json", "if.value").edge("b.json", "if.value");
    assert_eq!(sketch.gives("if.true"), Some(json!({"n": 1})));
}

#[test]
fn json_that_is_a_list_is_divided_when_it_comes_alone_and_one_value_beside_others() {
    let list = || json!([1, 2, 3]);
    let sketch = |kind: &str, config: Json| {
        Sketch::default().input("list", list()).input("one", json!(4)).with("it", kind, config)
    };
    let filter = |sketch: Sketch| sketch.edge("list.json", "it.items");
    let condition = || json!({"condition": "index % 2 == 0"});
    assert_eq!(filter(sketch("logic:filter", condition())).gives("it.kept"), Some(json!([1, 3])));
    let beside = filter(sketch("logic:filter", condition()).edge("one.json", "it.items"));
    assert_eq!([beside.gives("it.kept"), beside.gives("it.dropped")], [Some(json!([4])), Some(json!([[1, 2, 3]]))]);
    let merge = sketch("logic:merge", json!({"mode": "all"})).edge("list.json", "it.branches");
    assert_eq!(merge.gives("it.values"), Some(json!([[1, 2, 3]])));
    assert_eq!(merge.edge("one.json", "it.branches").gives("it.values"), Some(json!([[1, 2, 3], 4])));
}
