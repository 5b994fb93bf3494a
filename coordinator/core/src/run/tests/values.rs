//! What an input is given by its edges (graph.md, part 1; the table is in `graph/tests/language.rs`).

use serde_json::json;

use super::course::{Course, success};
use super::reuse::gives;
use crate::graph::fixture::Fixture;

#[test]
fn a_value_given_to_a_list_input_is_a_list_of_one() {
    let graph = Fixture::default().text("t", "given").list("l", json!([1, 2])).work("w", "pure", &json!({}));
    let graph = graph.work("all", "pure", &json!({})).edge("t", "w.in").edge("t", "w.extra").edge("l", "all.in");
    let course = Course::begin(&graph.build());
    assert_eq!(course.inputs(course.instance("w")), json!({"in": ["given"], "extra": "given"}));
    assert_eq!(course.inputs(course.instance("all")), json!({"in": [1, 2]}), "a list is given as it is");
}

#[test]
fn several_edges_append_in_their_order() {
    let graph = Fixture::default().work("late", "pure", &json!({})).text("t", "second").text("three", "third");
    let graph = graph.work("w", "pure", &json!({})).edge("t", "late.in");
    let graph = graph.edge("late.out", "w.in").edge("t", "w.in").edge("three", "w.in");
    let mut course = Course::begin(&graph.build());
    // Who is settled last comes first, for so its edge stands.
    let attempt = course.assign(course.instance("late"), 1, false);
    course.finish(attempt, success("first")).unwrap();
    assert_eq!(course.inputs(course.instance("w")), json!({"in": ["first", "second", "third"]}));
}

#[test]
fn an_output_for_a_text_makes_one_of_numbers_and_json() {
    let gave = |source: &str, config: serde_json::Value, output: &str| {
        let fixture = Fixture::default().node("in", json!({"nodeType": source, "config": config}));
        let fixture =
            fixture.logic("gate", "gate", json!({"open": true})).node("end", json!({"nodeType": "output:text"}));
        let fixture = fixture.edge(&format!("in.{output}"), "gate.value").edge("gate.value", "end.text");
        Course::begin(&fixture.build()).gave("end.text")
    };
    assert_eq!(gave("input:number", json!({"value": 3}), "value"), Some(json!("3")));
    assert_eq!(gave("input:boolean", json!({"value": true}), "value"), Some(json!("true")));
    let object = json!({"a": [1, 2.5], "b": "x y"});
    assert_eq!(gave("input:json", json!({"value": object}), "json"), Some(json!("{\"a\":[1,2.5],\"b\":\"x y\"}")));
    assert_eq!(gave("input:json", json!({"value": "text"}), "json"), Some(json!("text")), "a text stays one");
    assert_eq!(gave("input:text", json!({"text": "text"}), "text"), Some(json!("text")));
    // What it is the value says, and not what the port that gave it is declared as.
    let fixture = Fixture::default().work("w", "pure", &json!({})).node("end", json!({"nodeType": "output:text"}));
    let mut course = Course::begin(&fixture.edge("w", "end.text").build());
    course.run_through(|_, _| gives(&json!({"of": "anything"})));
    assert_eq!(course.gave("end.text"), Some(json!("{\"of\":\"anything\"}")));
}
