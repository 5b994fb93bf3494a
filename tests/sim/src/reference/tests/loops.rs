use super::*;

/// A loop whose one node passes on `of`, an output of the loop.
fn looping(of: &str, config: Json) -> Sketch {
    let sketch = Sketch::default().input("seed", json!({"n": 5})).with("loop", "logic:loop", config);
    let sketch = sketch.edge("seed.json", "loop.seed").with("pass", "logic:router", json!({})).inside("loop");
    sketch.edge(&format!("loop.{of}"), "pass.input").edge("pass.output", "loop.result")
}

#[test]
fn a_loop_carries_its_result_until_a_condition_holds() {
    let sketch = looping("value", json!({"maxIterations": 3}));
    assert_eq!(sketch.gives("loop.all"), Some(json!([{"n": 5}, {"n": 5}, {"n": 5}])));
    assert_eq!(sketch.gives("loop.result"), Some(json!({"n": 5})));
    let sketch = looping("iteration", json!({"until": "result >= 2"}));
    assert_eq!(sketch.gives("loop.all"), Some(json!([0, 1, 2])));
    assert_eq!(sketch.gives("loop.iterations"), Some(json!(3)));
    // It runs once, whatever the condition says; and ten times, if nothing is said.
    assert_eq!(looping("iteration", json!({"until": "true"})).gives("loop.iterations"), Some(json!(1)));
    assert_eq!(looping("iteration", json!({})).gives("loop.iterations"), Some(json!(10)));
    let sketch = looping("iteration", json!({"until": "nodes.pass.output == 4 && iteration == 4"}));
    assert_eq!(sketch.gives("loop.result"), Some(json!(4)));
}

#[test]
fn a_carry_of_its_own_goes_before_the_result() {
    let config = json!({"maxIterations": 3});
    // Each turn gives what was carried to it, and carries its number.
    let sketch = looping("value", config.clone()).with("number", "logic:router", json!({})).inside("loop");
    let sketch = sketch.edge("loop.iteration", "number.input").edge("number.output", "loop.carry");
    assert_eq!(sketch.gives("loop.all"), Some(json!([{"n": 5}, 0, 1])));
    let sketch = looping("value", config).with("gate", "logic:gate", json!({"open": false})).inside("loop");
    let sketch = sketch.edge("loop.iteration", "gate.value").edge("gate.value", "loop.carry");
    assert_eq!(sketch.gives("loop.all"), Some(json!([{"n": 5}, null, null])));
}

#[test]
fn the_last_the_best_or_all_turns_count() {
    let select = |select: &str, score: &str| {
        let config = json!({"maxIterations": 5, "select": select, "score": score});
        looping("iteration", config).gives("loop.result")
    };
    assert_eq!(select("last", "0"), Some(json!(4)));
    assert_eq!(select("best", "result % 3"), Some(json!(2)));
    assert_eq!(select("best", "0 - iteration"), Some(json!(0)));
    assert_eq!(select("all", "0"), Some(json!([0, 1, 2, 3, 4])));
}

#[test]
fn a_failed_turn_fails_the_loop() {
    let sketch = looping("value", json!({"until": "result.no == 1"}));
    assert_eq!(sketch.expected("loop", &[]), Expected::Failed(vec!["condition_failed".to_owned()]));
}

#[test]
fn a_reduction_goes_item_by_item() {
    let reduce = |items: Json| {
        let sketch =
            Sketch::default().input("list", items).input("start", json!(0)).with("reduce", "logic:reduce", json!({}));
        let sketch = sketch.edge("list.json", "reduce.items").edge("start.json", "reduce.initial");
        let sketch = sketch.with("all", "logic:merge", json!({"mode": "all"})).inside("reduce");
        let sketch = sketch.edge("reduce.accumulator", "all.branches").edge("reduce.item", "all.branches");
        sketch.edge("reduce.index", "all.branches").edge("all.values", "reduce.result").gives("reduce.result")
    };
    assert_eq!(reduce(json!([7, 8])), Some(json!([0, 7, 0, 8, 1])));
    assert_eq!(reduce(json!([])), Some(json!(0)));
}
