use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::{Graph, problem};
use super::*;
use crate::id::NodeIx;
use crate::limits::GRAPH_PROBLEMS_MAX;

/// Some JSON that a client might put anywhere.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any_key(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Keys that mean something here, and others.
fn any_key() -> impl Strategy<Value = String> {
    let known = [
        "id",
        "type",
        "data",
        "nodeType",
        "config",
        "params",
        "policy",
        "output",
        "result",
        "dims",
        "prompt",
        "texts",
        "prompt1",
        "retry",
        "maxAttempts",
        "text",
        "value",
        "for",
        "label",
        "parentId",
        "options",
        "min",
        "effect",
    ];
    prop_oneof![prop::sample::select(known.to_vec()).prop_map(str::to_owned), "[a-c\u{e9}~/\"]{0,3}"]
}

fn any_type() -> impl Strategy<Value = &'static str> {
    let usual = [
        "input:text",
        "input:number",
        "input:list",
        "output:preview",
        "debug:echo",
        "generate:flux_2_pro",
        "utility:prompt_concat",
        "utility:sticky_note",
        "video:unheard_of",
    ];
    let odd = ["utility:split", "logic:wait", "logic:map", "storage:unheard_of", ""];
    prop_oneof![9 => prop::sample::select(usual.to_vec()), 1 => prop::sample::select(odd.to_vec())]
}

/// Some keys with values; mostly none.
fn any_members() -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let members = prop::collection::btree_map(any_key(), any_json(), 1..4);
    prop_oneof![
        4 => Just(serde_json::Map::new()),
        1 => members.prop_map(|members| members.into_iter().collect()),
    ]
}

fn any_node() -> impl Strategy<Value = Value> {
    (any_type(), any_members(), any_members()).prop_map(|(node_type, mut data, mut node)| {
        data.insert("nodeType".into(), node_type.into());
        node.insert("data".into(), data.into());
        node.into()
    })
}

fn any_edge() -> impl Strategy<Value = Value> {
    let handle = |names: [&'static str; 6]| prop_oneof![3 => Just(""), 1 => prop::sample::select(names.to_vec())];
    let output = handle(["out-text", "out", "out-images", "value", "prompt", "nothing"]);
    let input = handle(["in-prompt", "in-texts", "prompt2", "in", "value", "nothing"]);
    (0..10u8, 0..10u8, output, input).prop_map(|(source, target, output, input)| {
        json!({"source": format!("n{source}"), "target": format!("n{target}"), "sourceHandle": output,
            "targetHandle": input})
    })
}

/// Any nodes and edges. Most ids are sound, so that many documents get past the first rules.
fn any_document() -> impl Strategy<Value = (Value, Value)> {
    let nodes = prop::collection::vec((any_node(), 0..60u8), 6..10);
    (nodes, prop::collection::vec(any_edge(), 0..4)).prop_map(|(nodes, edges)| {
        let with_id = |(place, (mut node, odd)): (usize, (Value, u8))| {
            node["id"] = format!("n{}", if odd == 0 { 0 } else { place }).into();
            node
        };
        (nodes.into_iter().enumerate().map(with_id).collect::<Vec<_>>().into(), edges.into())
    })
}

/// A graph without problems: edges only lead to later nodes, into lists or into free inputs.
fn any_good_document() -> impl Strategy<Value = (Value, Value)> {
    let edges = prop::collection::vec((0..40usize, 0..40usize), 0..80);
    (1..40usize, edges).prop_map(|(count, pairs)| {
        let node = |ix: usize| node(&format!("n{ix}"), "utility:prompt_concat", json!({}));
        let pairs = pairs.into_iter().filter(|(source, target)| source < target && *target < count).enumerate();
        let edge = |(ix, (source, target))| json!({"id": format!("e{ix}"), "source": format!("n{source}"), "target": format!("n{target}")});
        ((0..count).map(node).collect::<Vec<_>>().into(), pairs.map(edge).collect::<Vec<_>>().into())
    })
}

fn assert_sound(graph: &Graph) {
    let (mut incoming, mut outgoing) = (Vec::new(), Vec::new());
    for (ix, node) in graph.nodes() {
        assert_eq!(graph.find(&node.id), Some(ix).filter(|_| !node.is_anonymous));
        for edge in graph.in_edges(ix) {
            incoming.push((edge.source, edge.source_port, ix, edge.target_port));
        }
        for edge in graph.out_edges(ix) {
            outgoing.push((ix, edge.source_port, edge.target, edge.target_port));
        }
        for (port, value) in &node.constants {
            assert!(serde_json::from_slice::<Value>(value.json()).is_ok());
            let is_wired = graph.in_edges(ix).iter().any(|edge| edge.target_port == *port);
            assert!(!is_wired && usize::from(port.0) < node.node_type.as_ref().unwrap().inputs.len());
        }
        assert!(serde_json::from_slice::<Value>(&node.config).unwrap().is_object());
    }
    incoming.sort();
    outgoing.sort();
    assert_eq!(incoming, outgoing);
    assert!(is_acyclic(graph));
}

/// Takes away nodes that wait for nothing beside them any more, until none is left.
fn is_acyclic(graph: &Graph) -> bool {
    let mut missing: Vec<_> = graph.nodes().map(|(_, node)| node.waits_for).collect();
    let mut open: Vec<_> = graph.nodes().map(|(ix, _)| ix).filter(|ix| missing[ix.0 as usize] == 0).collect();
    let mut gone = 0;
    while let Some(ix) = open.pop() {
        gone += 1;
        for settled in graph.out_edges(ix).iter().filter_map(|edge| edge.settles) {
            missing[settled.0 as usize] -= 1;
            if missing[settled.0 as usize] == 0 {
                open.push(settled);
            }
        }
    }
    gone == graph.len()
}

/// What leads up to a node, by adding sources, containers and bodies until nothing changes.
fn naive_closure(graph: &Graph, target: NodeIx) -> Vec<NodeIx> {
    let around: BTreeSet<NodeIx> = std::iter::successors(graph.within(target), |ix| graph.within(*ix)).collect();
    let mut wanted = BTreeSet::from([target]);
    loop {
        let before = |ix: NodeIx| {
            let sources = graph.in_edges(ix).iter().map(|edge| edge.source);
            let is_around = around.contains(&ix);
            let sources = sources.filter(move |source| !is_around || graph.within(*source) != Some(ix));
            let body = if is_around { &[] } else { graph.body(ix) };
            sources.chain(graph.within(ix)).chain(body.iter().copied())
        };
        let sources = wanted.iter().flat_map(|ix| before(*ix));
        let more: BTreeSet<_> = wanted.iter().copied().chain(sources).collect();
        if more == wanted {
            return wanted.into_iter().collect();
        }
        wanted = more;
    }
}

proptest! {
    #[test]
    fn storing_keeps_all_but_run_time_fields_and_is_idempotent((nodes, edges) in any_document()) {
        if let Ok(draft) = draft(&nodes, &edges) {
            let stored = draft.stored();
            let again = Draft::parse(&stored.nodes, &stored.edges).unwrap();
            prop_assert_eq!(again.stored(), stored);
            let mut expected = nodes;
            for node in expected.as_array_mut().unwrap() {
                node.as_object_mut().unwrap().retain(|key, _| key != "dims");
                let data = node["data"].as_object_mut().unwrap();
                data.retain(|key, _| !["output", "result", "dims"].contains(&key.as_str()));
            }
            prop_assert_eq!(stored.nodes.to_vec(), expected.to_string().into_bytes());
            prop_assert_eq!(stored.edges.to_vec(), edges.to_string().into_bytes());
        }
    }

    #[test]
    fn any_document_compiles_or_is_refused_with_reasons((nodes, edges) in any_document(), strict in any::<bool>()) {
        let Ok(draft) = draft(&nodes, &edges) else { return Ok(()) };
        match Graph::compile(&draft, &types(), Compile { strict, ..STRICT }) {
            Ok(compiled) => {
                assert_sound(&compiled.graph);
                let _ = compiled.graph.executable(None);
                let _ = compiled.graph.describe_inputs();
            }
            Err(problems) => {
                prop_assert!(!problems.is_empty() && problems.len() <= GRAPH_PROBLEMS_MAX + 1);
                for problem in problems {
                    prop_assert!(!problem.message.is_empty() && !problem.fix.is_empty(), "{:?}", problem);
                }
            }
        }
    }

    #[test]
    fn a_good_document_compiles_and_its_parts_are_closed((nodes, edges) in any_good_document()) {
        let graph = compile(&nodes, &edges).unwrap().graph;
        assert_sound(&graph);
        prop_assert_eq!(graph.in_edges.len(), edges.as_array().unwrap().len());
        for (ix, _) in graph.nodes() {
            prop_assert_eq!(graph.closure(ix), naive_closure(&graph, ix));
        }
    }

    #[test]
    fn an_edge_backwards_makes_a_circle((nodes, edges) in any_good_document()) {
        let mut backwards = edges;
        let Some(edge) = backwards.as_array().unwrap().first().cloned() else { return Ok(()) };
        let list = backwards.as_array_mut().unwrap();
        list.push(json!({"id": "back", "source": edge["target"], "target": edge["source"]}));
        let problems = compile(&nodes, &backwards).unwrap_err();
        prop_assert!(problems.iter().all(|found| found.rule == problem::rule::CYCLE), "{:?}", problems);
    }

    #[test]
    fn random_bytes_never_panic(
        nodes in prop::collection::vec(any::<u8>(), 0..64),
        edges in "[\\[\\]{}:,\"a-e\\\\ 0-9]{0,64}",
    ) {
        let _ = Draft::parse(&nodes, edges.as_bytes());
        let _ = Draft::parse(edges.as_bytes(), &nodes);
    }

    #[test]
    fn any_inputs_are_bound_or_refused(inputs in any_json()) {
        let nodes = json!([node("text", "input:text", json!({})), node("value", "input:number", json!({"min": 0}))]);
        let graph = compile(&nodes, &json!([])).unwrap().graph;
        if let Ok(bound) = graph.bind_inputs(inputs.to_string().as_bytes()) {
            prop_assert!(bound.iter().all(|(_, value)| serde_json::from_slice::<Value>(value.json()).is_ok()));
        }
    }
}
