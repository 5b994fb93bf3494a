use super::super::{Graph, rule};
use super::*;
use crate::id::NodeIx;
use crate::time::Timestamp;

fn graph(nodes: Value, edges: Value) -> Graph {
    compile(&nodes, &edges).unwrap().graph
}

fn bound(graph: &Graph, inputs: Value) -> Result<Vec<(u32, String)>, Vec<Problem>> {
    let values = graph.bind_inputs(inputs.to_string().as_bytes())?;
    Ok(values.iter().map(|(ix, value)| (ix.0, String::from_utf8(value.json().to_vec()).unwrap())).collect())
}

fn refused(graph: &Graph, inputs: Value) -> (&'static str, String) {
    let problems = bound(graph, inputs).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    (problems[0].rule, problems[0].path.clone().unwrap())
}

fn labelled(id: &str, label: &str, node_type: &str, config: Value) -> Value {
    json!({"id": id, "data": {"nodeType": node_type, "label": label, "config": config}})
}

fn with_all_inputs() -> Graph {
    graph(
        json!([
            labelled("n0", "Topic", "input:text", json!({"prompt": "sea", "description": "What to draw"})),
            labelled("n1", "Size", "input:number", json!({"min": 1, "max": 9})),
            labelled("n2", "Bright", "input:boolean", json!({"required": false})),
            labelled("n3", "Style", "input:select", json!({"options": ["oil", {"value": "ink", "label": "Ink"}]})),
            labelled("n4", "Extra", "input:json", json!({"value": null})),
            labelled("n5", "Items", "input:list", json!({"maxItems": 2})),
            labelled("n6", "Show", "debug:echo", json!({})),
        ]),
        json!([edge("n1", "", "n6", "")]),
    )
}

#[test]
fn inputs_are_described() {
    let graph = with_all_inputs();
    let inputs = graph.describe_inputs();
    let short: Vec<_> = inputs.iter().map(|input| (input.kind, input.required)).collect();
    let kinds =
        [("text", false), ("number", true), ("boolean", false), ("select", true), ("json", false), ("list", true)];
    assert_eq!(short, kinds);
    assert_eq!(inputs[0].default.as_ref().unwrap().json(), r#""sea""#);
    assert_eq!((&*inputs[0].label, inputs[0].description.as_deref()), ("Topic", Some("What to draw")));
    assert_eq!(inputs[3].options, ["oil", "ink"]);
    assert_eq!(graph.input_default(NodeIx(2)).unwrap().json(), "null");
    assert_eq!(graph.input_default(NodeIx(6)), None);
}

#[test]
fn values_bind_by_id_then_label_then_port_or_key() {
    let graph = with_all_inputs();
    let inputs = json!({"Items": ["a"], "prompt": "hill", "n1": 3, "Style": "ink", "Extra": null, "Bright": null});
    let texts = [(0, r#""hill""#), (1, "3"), (3, r#""ink""#), (4, "null"), (5, r#"["a"]"#)];
    assert_eq!(bound(&graph, inputs).unwrap(), texts.map(|(ix, text)| (ix, text.to_owned())));
    assert_eq!(bound(&graph, json!({})).unwrap(), []);
}

#[test]
fn values_that_do_not_fit_are_refused_with_their_place() {
    let graph = with_all_inputs();
    let cases = [
        (json!({"n9": 1}), rule::UNKNOWN_INPUT, "/inputs/n9"),
        (json!({"n6": 1}), rule::UNKNOWN_INPUT, "/inputs/n6"),
        (json!({"value": 1}), rule::AMBIGUOUS_INPUT, "/inputs/value"),
        (json!({"n0": "a", "Topic": "b"}), rule::AMBIGUOUS_INPUT, "/inputs/n0"),
        (json!({"n1": "3"}), rule::BAD_INPUT, "/inputs/n1"),
        (json!({"n1": 10}), rule::BAD_INPUT, "/inputs/n1"),
        (json!({"n1": 0.5}), rule::BAD_INPUT, "/inputs/n1"),
        (json!({"n2": 1}), rule::BAD_INPUT, "/inputs/n2"),
        (json!({"n3": "pen"}), rule::BAD_INPUT, "/inputs/n3"),
        (json!({"n5": [1, 2, 3]}), rule::BAD_INPUT, "/inputs/n5"),
        (json!({"n0": "x".repeat(65 * 1024)}), rule::VALUE_TOO_LARGE, "/inputs/n0"),
        (json!([]), rule::BAD_JSON, "/inputs"),
    ];
    for (inputs, rule, path) in cases {
        assert_eq!(refused(&graph, inputs.clone()), (rule, path.to_owned()), "{inputs}");
    }
    let keys: serde_json::Map<_, _> = (0..65).map(|key| (key.to_string(), Value::Null)).collect();
    assert_eq!(refused(&graph, keys.into()).0, rule::LIMITS);
}

#[test]
fn files_are_given_by_reference_one_or_several() {
    let photo = json!({"url": "https://example.com/a.png", "mediaType": "image/png", "bytes": 10});
    let graph = graph(
        json!([
            labelled("one", "One", "input:image", json!({"accept": ["image/*"], "maxBytes": 20})),
            labelled("many", "Many", "input:file", json!({"multiple": true, "maxItems": 2})),
            labelled("own", "Own", "input:image", json!({"imageUrl": "https://example.com/b.png"})),
        ]),
        json!([]),
    );
    let kinds: Vec<_> = graph.describe_inputs().iter().map(|input| (input.kind, input.required)).collect();
    assert_eq!(kinds, [("image", true), ("file", true), ("image", false)]);
    assert_eq!(graph.input_default(NodeIx(2)).unwrap().json(), r#""https://example.com/b.png""#);
    assert_eq!(bound(&graph, json!({"one": photo})).unwrap(), [(0, photo.to_string())]);
    assert_eq!(bound(&graph, json!({"many": photo})).unwrap(), [(1, json!([photo]).to_string())]);
    assert_eq!(bound(&graph, json!({"many": ["x", photo]})).unwrap(), [(1, json!(["x", photo]).to_string())]);
    for inputs in [
        json!({"one": [photo]}),
        json!({"one": 7}),
        json!({"one": {"bytes": 1}}),
        json!({"one": {"url": "x", "bytes": 21}}),
        json!({"one": {"url": "x", "mediaType": "video/mp4"}}),
    ] {
        assert_eq!(refused(&graph, inputs.clone()), (rule::BAD_INPUT, "/inputs/one".to_owned()), "{inputs}");
    }
    for inputs in [json!({"many": ["x", "y", "z"]}), json!({"many": [7]}), json!({"many": [{"other": 1}]})] {
        assert_eq!(refused(&graph, inputs.clone()), (rule::BAD_INPUT, "/inputs/many".to_owned()), "{inputs}");
    }
}

#[test]
fn the_items_of_a_list_may_have_a_type() {
    let numbers = graph(json!([labelled("n", "N", "input:list", json!({"itemType": "number"}))]), json!([]));
    assert_eq!(bound(&numbers, json!({"n": [1, 2.5]})).unwrap(), [(0, "[1,2.5]".to_owned())]);
    assert_eq!(refused(&numbers, json!({"n": [1, "2"]})).0, rule::BAD_INPUT);
    let texts = graph(json!([labelled("n", "N", "input:list", json!({"itemType": "text"}))]), json!([]));
    assert_eq!(bound(&texts, json!({"n": [1, "2"]})).unwrap(), [(0, r#"["1","2"]"#.to_owned())]);
    let wrong = problem(&json!([node("n", "input:list", json!({"itemType": "number", "items": ["x"]}))]), &json!([]));
    assert_eq!(wrong.rule, rule::BAD_CONFIG);
}

#[test]
fn inputs_of_the_part_must_have_a_value() {
    let graph = with_all_inputs();
    let part = graph.executable(Some("n6")).unwrap();
    assert_eq!(part, [NodeIx(1), NodeIx(6)]);
    let problems = graph.complete_inputs(&part, &[]).unwrap_err();
    assert_eq!(
        (rules(&problems), problems[0].path.as_deref()),
        (vec![rule::MISSING_REQUIRED_INPUT], Some("/inputs/n1"))
    );
    let given = graph.bind_inputs(br#"{"n1": 2, "n0": "outside"}"#).unwrap();
    let complete = graph.complete_inputs(&part, &given).unwrap();
    assert_eq!(complete.iter().map(|(ix, value)| (ix.0, &value.json()[..])).collect::<Vec<_>>(), [(1, &b"2"[..])]);
}

#[test]
fn the_graphs_own_value_must_be_in_bounds() {
    let wrong = problem(&json!([node("n", "input:number", json!({"value": 3, "max": 2}))]), &json!([]));
    assert_eq!((wrong.rule, wrong.path.as_deref()), (rule::BAD_CONFIG, Some("/nodes/0/data/config")));
}

#[test]
fn only_the_part_that_runs_must_be_able_to() {
    let nodes = json!([
        node("a", "input:text", json!({"text": "x"})),
        node("b", "debug:echo", json!({})),
        node("foreign", "video:kling_9", json!({})),
        node("bare", "utility:split", json!({})),
    ]);
    let edges = json!([edge("a", "", "b", ""), edge("b", "", "foreign", "in-prompt")]);
    let compiled = compile(&nodes, &edges).unwrap();
    assert_eq!(rules(&compiled.warnings), [rule::UNSUPPORTED_NODE, rule::MISSING_REQUIRED_INPUT]);
    let graph = compiled.graph;
    assert_eq!(graph.executable(Some("b")).unwrap(), [NodeIx(0), NodeIx(1)]);
    assert_eq!(rules(&graph.executable(Some("foreign")).unwrap_err()), [rule::NODE_TYPE_UNAVAILABLE]);
    let all = graph.executable(None).unwrap_err();
    assert_eq!(rules(&all), [rule::NODE_TYPE_UNAVAILABLE, rule::MISSING_REQUIRED_INPUT]);
    let unknown = graph.executable(Some("foregn")).unwrap_err();
    assert_eq!((unknown[0].rule, &*unknown[0].fix), (rule::UNKNOWN_TARGET, "Did you mean \"foreign\"?"));

    let lint = Compile { complete: true, ..STRICT };
    let problems = Graph::compile(&draft(&nodes, &edges).unwrap(), &types(), lint).unwrap_err();
    assert_eq!(rules(&problems), [rule::MISSING_REQUIRED_INPUT]);
}

#[test]
fn a_wait_knows_when_it_is_due() {
    let now = Timestamp::from_millis(1_000);
    let due = |config: Value| graph(json!([node("w", "logic:wait", config)]), json!([])).wait_until(NodeIx(0), now);
    assert_eq!(due(json!({"for": "5s"})), Ok(Timestamp::from_millis(6_000)));
    assert_eq!(due(json!({"until": "1970-01-01T00:00:03Z"})), Ok(Timestamp::from_millis(3_000)));
    assert_eq!(due(json!({"until": "1960-01-01T00:00:00Z"})), Ok(now));
    assert!(due(json!({"until": "9000-01-01T00:00:00Z"})).is_err());
    assert_eq!(problem(&json!([node("w", "logic:wait", json!({}))]), &json!([])).rule, rule::BAD_CONFIG);
}
