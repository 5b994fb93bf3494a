//! What lists are to inputs that take lists (graph.md, part 1: "several edges into a list input append in edge order; closed ones
//! add nothing"), wherever the list was made and whoever passes it on.

use serde_json::{Value, json};

use super::course::{Course, success};
use crate::graph::fixture::Fixture;
use crate::run::Outcome;

/// A list `a` of each kind that there is, with the items 1 and 2.
fn sources() -> Vec<(&'static str, Fixture, &'static str)> {
    let base = || Fixture::default();
    let numbers = || base().list("l", json!([1, 2]));
    let mapped = numbers().logic("m", "map", json!({})).work("body", "pure", &json!({})).inside("m");
    let mapped = mapped.edge("l", "m.items").edge("m.item", "body.extra").edge("body.out", "m.result");
    let kept = base().list("l", json!([1, 2, 9])).logic("f", "filter", json!({"condition": "item < 9"}));
    let lifted = numbers().work("each", "pure", &json!({})).edge("l", "each.extra");
    let halves = base().list("l", json!([1])).list("m", json!([2])).logic("j", "merge", json!({"mode": "all"}));
    let halves = halves.edge("l", "j").edge("m", "j");
    let looped = base().text("t", "x").logic("o", "loop", json!({"until": "iteration == 1", "select": "all"}));
    let looped = looped.work("turn", "pure", &json!({})).inside("o").edge("t", "o.seed");
    let looped = looped.edge("o.iteration", "turn.extra").edge("turn.out", "o.result");
    vec![
        ("an input", numbers(), "l"),
        (
            "an agent",
            base().text("t", "x").node("make", json!({"nodeType": "debug:lists"})).edge("t", "make.extra"),
            "make.items",
        ),
        ("a map", mapped, "m.results"),
        ("a filter", kept.edge("l", "f"), "f.kept"),
        ("a lifted node", lifted, "each.out"),
        ("a merge's values", halves.clone(), "j.values"),
        ("a merge of all", halves, "j.value"),
        ("a loop that selects all", looped, "o.result"),
    ]
}

/// Adds something behind an output; gives the output that it then comes out of.
type Way = fn(Fixture, &str) -> (Fixture, String);

/// Nothing, or what passes a list on.
fn ways() -> Vec<(&'static str, Way)> {
    fn through(
        fixture: Fixture,
        from: &str,
        (kind, config): (&str, Value),
        (input, output): (&str, &str),
    ) -> (Fixture, String) {
        let fixture = fixture.logic("way", kind, config).edge(from, &format!("way.{input}"));
        (fixture, format!("way.{output}"))
    }
    vec![
        ("directly", |fixture, from| (fixture, from.to_owned())),
        ("an if", |fixture, from| through(fixture, from, ("if", json!({"condition": "true"})), ("value", "true"))),
        ("a router", |fixture, from| through(fixture, from, ("router", json!({})), ("input", "output"))),
        ("a gate", |fixture, from| through(fixture, from, ("gate", json!({"open": true})), ("value", "value"))),
        ("a merge", |fixture, from| through(fixture, from, ("merge", json!({})), ("branches", "value"))),
        ("a race", |fixture, from| through(fixture, from, ("race", json!({})), ("branches", "value"))),
        ("a split", |fixture, from| {
            through(fixture, from, ("split_test", json!({"weights": {"a": 1}})), ("value", "a"))
        }),
    ]
}

/// Nodes that are lifted or in a body give the number that they are given; a turn of the loop the next one.
fn numbers(id: &str, inputs: Value) -> Outcome {
    match id {
        "turn" => Outcome::Succeeded(vec![(
            "out".into(),
            crate::value::Value::from_json((inputs["extra"].as_i64().unwrap() + 1).to_string().into()),
        )]),
        "make" => Outcome::Succeeded(vec![("items".into(), crate::value::Value::from_json("[1,2]".into()))]),
        "body" | "each" => {
            Outcome::Succeeded(vec![("out".into(), crate::value::Value::from_json(inputs["extra"].to_string().into()))])
        }
        other => success(other),
    }
}

/// What one list input is given by edges from the outputs named in `edges`.
fn given(fixture: Fixture, (kind, config, input): (&str, Value, &str), output: &str, edges: &[&str]) -> Option<Value> {
    let fixture = fixture.logic("taker", kind, config);
    let into = format!("taker.{input}");
    let fixture = edges.iter().fold(fixture, |fixture, from| fixture.edge(from, &into));
    let fixture =
        fixture.node("end", json!({"nodeType": "output:preview"})).edge(&format!("taker.{output}"), "end.value");
    let mut course = Course::begin(&fixture.build());
    course.run_through(numbers);
    assert_eq!(course.replayed().snapshot(), course.run.snapshot(), "a replay gives the same");
    course.gave("end.value")
}

fn takers() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    vec![
        ("merge", json!({}), "branches", "values"),
        ("merge", json!({"mode": "all"}), "branches", "value"),
        ("filter", json!({"condition": "true"}), "items", "kept"),
        ("batch", json!({"size": 10}), "items", "batches"),
    ]
}

#[test]
fn a_list_adds_its_items_wherever_it_was_made_and_whoever_passes_it_on() {
    for (source, fixture, from) in sources() {
        for (way, pass) in ways() {
            for (kind, config, input, output) in takers() {
                let (fixture, from) = pass(fixture.clone(), from);
                let got = given(fixture.json("five", json!(5)), (kind, config, input), output, &[&from, "five"]);
                let expected = if kind == "batch" { json!([[1, 2, 5]]) } else { json!([1, 2, 5]) };
                assert_eq!(got, Some(expected), "{source}, {way}, to {kind}.{output}");
            }
        }
    }
}

#[test]
fn a_list_is_the_same_to_agents_galleries_and_maps() {
    for (source, fixture, from) in sources() {
        for (way, pass) in ways() {
            let (fixture, from) = pass(fixture.clone(), from);
            let fixture = fixture.json("five", json!(5)).node("gallery", json!({"nodeType": "output:gallery"}));
            let fixture = fixture.edge(&from, "gallery.items").edge("five", "gallery.items");
            let fixture = fixture.work("agent", "pure", &json!({})).edge(&from, "agent.in").edge("five", "agent.in");
            let fixture = fixture.logic("map", "map", json!({})).work("inner", "pure", &json!({})).inside("map");
            let fixture = fixture.edge(&from, "map.items").edge("five", "map.items").edge("map.item", "inner.extra");
            let mut course = Course::begin(&fixture.edge("inner.out", "map.result").build());
            let (mut agent, mut inner) = (Value::Null, Vec::new());
            course.run_through(|id, inputs| {
                match id {
                    "agent" => agent = inputs["in"].clone(),
                    "inner" => inner.push(inputs["extra"].clone()),
                    _ => {}
                }
                numbers(id, inputs)
            });
            let expected = json!([1, 2, 5]);
            assert_eq!(course.gave("gallery.items").as_ref(), Some(&expected), "{source}, {way}, to a gallery");
            assert_eq!((agent, json!(inner)), (expected.clone(), expected), "{source}, {way}, to an agent and a map");
        }
    }
}

#[test]
fn what_is_closed_adds_nothing_and_changes_no_shape() {
    for open in [true, false] {
        let fixture = Fixture::default().list("l", json!([1, 2])).list("m", json!([5, 6]));
        let fixture = fixture.logic("if", "if", json!({"condition": open.to_string()})).edge("m", "if.value");
        let got = given(fixture, ("merge", json!({}), "branches"), "values", &["l", "if.true"]);
        let expected = if open { json!([1, 2, 5, 6]) } else { json!([1, 2]) };
        assert_eq!(got, Some(expected), "open: {open}");
    }
}

#[test]
fn json_that_is_an_array_is_one_value_beside_others() {
    let both = |kind: (&'static str, Value, &'static str), output: &str, edges: &[&str]| {
        given(Fixture::default().json("j", json!([1, 2])).json("k", json!(5)), kind, output, edges)
    };
    let merge = || ("merge", json!({}), "branches");
    let filter = || ("filter", json!({"condition": "true"}), "items");
    assert_eq!(both(merge(), "values", &["j", "k"]), Some(json!([[1, 2], 5])));
    assert_eq!(both(merge(), "values", &["j"]), Some(json!([[1, 2]])));
    assert_eq!(both(filter(), "kept", &["j", "k"]), Some(json!([[1, 2], 5])));
    assert_eq!(both(filter(), "kept", &["j"]), Some(json!([1, 2])), "the only one is gone through");
    let closed = Fixture::default().json("j", json!([1, 2])).logic("gate", "gate", json!({"open": false}));
    let kept = given(closed.edge("j", "gate.value"), filter(), "kept", &["j", "gate.value"]);
    assert_eq!(kept, Some(json!([[1, 2]])), "an edge that is closed is there all the same");
}

#[test]
fn the_branch_that_a_run_takes_decides_what_its_value_is() {
    for (first, expected) in [("l", json!([1, 2, 7])), ("j", json!([[3, 4], 7]))] {
        let fixture = Fixture::default().list("l", json!([1, 2])).json("j", json!([3, 4])).json("seven", json!(7));
        let fixture = fixture.logic("either", "merge", json!({}));
        let second = if first == "l" { "j" } else { "l" };
        let fixture = fixture.edge(first, "either").edge(second, "either");
        let got = given(fixture, ("merge", json!({}), "branches"), "values", &["either.value", "seven"]);
        assert_eq!(got, Some(expected), "{first} first");
    }
}

#[test]
fn items_that_are_arrays_are_lists_wherever_they_came_from() {
    let sources = [
        ("JSON", Fixture::default().json("l", json!([[1, 2], [1, 2]])), "l"),
        ("an input", Fixture::default().list("l", json!([[1, 2], [1, 2]])), "l"),
        (
            "a batch",
            Fixture::default().list("i", json!([1, 2, 1, 2])).logic("l", "batch", json!({"size": 2})).edge("i", "l"),
            "l",
        ),
    ];
    for (name, fixture, from) in sources {
        let fixture = fixture.logic("again", "map", json!({})).edge(from, "again.items");
        let fixture = fixture.work("take", "pure", &json!({})).inside("again").edge("again.item", "take.in");
        let mut course = Course::begin(&fixture.edge("take.out", "again.result").build());
        let mut seen = Vec::new();
        course.run_through(|id, inputs| {
            seen.push(inputs["in"].clone());
            success(id)
        });
        assert_eq!(seen, [json!([1, 2]), json!([1, 2])], "{name}");
    }
}

#[test]
fn lists_inside_lists_stay_lists() {
    let fixture = Fixture::default().list("l", json!([0, 0])).logic("m", "map", json!({}));
    let fixture = fixture.node("make", json!({"nodeType": "debug:lists"})).inside("m").edge("m.item", "make.extra");
    let fixture = fixture.edge("l", "m.items").edge("make.items", "m.result").logic("again", "map", json!({}));
    let fixture = fixture.work("take", "pure", &json!({})).inside("again").edge("m.results", "again.items");
    let fixture = fixture.edge("again.item", "take.in").edge("take.out", "again.result");
    let mut course = Course::begin(&fixture.build());
    let mut seen = Vec::new();
    course.run_through(|id, inputs| match id {
        "make" => Outcome::Succeeded(vec![("items".into(), crate::value::Value::from_json("[1,2]".into()))]),
        _ => {
            seen.push(inputs["in"].clone());
            success(id)
        }
    });
    assert_eq!(seen, [json!([1, 2]), json!([1, 2])]);
}
