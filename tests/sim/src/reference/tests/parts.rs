use super::*;

/// A container of which `a` takes what this output of it gives, and `b` what `a` gives.
fn body(kind: &str, config: Json, gives: &str) -> Sketch {
    let sketch = Sketch::default().input("list", json!([{"n": 1}, {"n": 2}])).with("c", kind, config);
    let sketch = sketch.with("a", "output:preview", json!({})).inside("c").edge(gives, "a.value");
    sketch.with("b", "output:preview", json!({})).inside("c").edge("a.value", "b.value")
}

fn up_to(sketch: Sketch, target: &'static str) -> Sketch {
    Sketch { target: Some(target), ..sketch }
}

/// For how many items or turns a node gives something.
fn times(sketch: &Sketch, id: &str) -> usize {
    (0..5).filter(|index| matches!(sketch.expected(id, &[*index]), Expected::Done(_))).count()
}

fn outputs(sketch: &Sketch) -> Vec<String> {
    match sketch.expected("c", &[]) {
        Expected::Done(outputs) => outputs.into_keys().collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_left_out_of_a_body_leaves_its_container_without_an_answer() {
    let map = || body("logic:map", json!({}), "c.item").edge("list.json", "c.items").edge("b.value", "c.result");
    let looping = |config| body("logic:loop", config, "c.iteration").edge("b.value", "c.result");
    let turns = || looping(json!({"maxIterations": 3}));
    let reduce = || body("logic:reduce", json!({}), "c.item").edge("list.json", "c.items").edge("b.value", "c.result");
    let cases = [(map(), 2, vec!["errors"]), (turns(), 1, vec![]), (reduce(), 1, vec![])];
    for (sketch, count, gives) in cases {
        let part = up_to(sketch, "a");
        assert_eq!((times(&part, "a"), outputs(&part)), (count, gives.into_iter().map(str::to_owned).collect()));
    }
    for (sketch, count) in [(map(), 2), (turns(), 3), (reduce(), 2)] {
        let part = up_to(sketch, "b");
        assert!(times(&part, "a") == count && outputs(&part).iter().any(|port| port.starts_with("result")));
    }
}

#[test]
fn a_loop_ends_with_its_first_turn_where_it_goes_on_by_what_is_left_out() {
    let turns = |config| body("logic:loop", config, "c.iteration").edge("a.value", "c.result");
    let carries = || turns(json!({"maxIterations": 3})).edge("b.value", "c.carry");
    let looks = || turns(json!({"maxIterations": 3, "until": "nodes.b.output == null"}));
    for sketch in [carries(), looks()] {
        assert_eq!(times(&up_to(sketch, "a"), "a"), 1);
    }
    for sketch in [carries(), looks()] {
        assert_eq!(times(&up_to(sketch, "b"), "a"), 3);
    }
    assert_eq!(times(&up_to(turns(json!({"maxIterations": 3})), "a"), "a"), 3);
}
