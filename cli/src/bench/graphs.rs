//! The graphs of the works.

use std::time::Duration;

use serde_json::{Value, json};

/// Nodes in the chain of W1 and W2.
pub(super) const CHAIN_NODES: usize = 10;
/// How long the runs of W4 and W5 wait, in milliseconds: longer than the bench.
const PARKED_MS: u64 = 60 * 60 * 1_000;

/// Pieces of the run that speaks, and nodes beside it.
const SPEAKING_PIECE_MS: u64 = 50;
const SPEAKING_PIECE_BYTES: usize = 1_000;
const SPEAKING_NODES: usize = 200;
/// Items of the work map at work at a time.
pub(super) const MAP_CONCURRENCY: usize = 64;
/// Nodes of the runs that the work retention removes.
const SHORT_CHAIN_NODES: usize = 3;
/// Nodes of the graphs of the work lint.
const LINT_NODES: usize = 10_000;
/// Nodes beside each other in the second of them, and how many edges come to each from the layer above.
const LAYER_WIDTH: usize = 100;
const LAYER_EDGES: usize = 3;

/// `n0 → n1 → … → n9`.
pub(super) fn chain() -> Value {
    chain_of(CHAIN_NODES, "bench chain")
}

/// A run of it leaves few rows.
pub(super) fn short_chain() -> Value {
    chain_of(SHORT_CHAIN_NODES, "bench short chain")
}

/// The same, but long.
pub(super) fn long_chain() -> Value {
    chain_of(LINT_NODES, "bench long chain")
}

/// Layers of nodes, each of which waits for a few of the layer above.
pub(super) fn layers() -> Value {
    let nodes: Vec<Value> = (0..LINT_NODES).map(|at| noop(format!("n{at}"))).collect();
    let above = |at: usize| {
        let (layer, place) = (at / LAYER_WIDTH - 1, at % LAYER_WIDTH);
        (0..LAYER_EDGES).map(move |step| layer * LAYER_WIDTH + (place + step) % LAYER_WIDTH)
    };
    let pairs = (LAYER_WIDTH..LINT_NODES).flat_map(|at| above(at).map(move |source| (source, at)));
    let edges: Vec<Value> = pairs.map(|(source, at)| edge(format!("n{source}"), format!("n{at}"))).collect();
    workflow("bench layers", &nodes, &edges)
}

/// A list of `items` items, and a map over it with one node. The first node is what an answer about the run shows, so
/// that it need not hold the list.
pub(super) fn map(items: usize) -> Value {
    let nodes = [
        noop("begin".into()),
        node("list".into(), "debug:list", json!({ "count": items })),
        node("map".into(), "logic:map", json!({ "concurrency": MAP_CONCURRENCY })),
        inside("body", "map"),
    ];
    let edges = [
        edge("begin".into(), "list".into()),
        wire("list", "out", "map", "items"),
        wire("map", "item", "body", "item"),
        wire("body", "out", "map", "result"),
    ];
    workflow(&format!("bench map {items}"), &nodes, &edges)
}

/// A loop of so many turns with one node.
pub(super) fn turns(turns: usize) -> Value {
    let nodes = [node("loop".into(), "logic:loop", json!({ "maxIterations": turns })), inside("body", "loop")];
    let edges = [wire("loop", "value", "body", "item"), wire("body", "out", "loop", "result")];
    workflow(&format!("bench loop {turns}"), &nodes, &edges)
}

fn chain_of(length: usize, name: &str) -> Value {
    let nodes: Vec<Value> = (0..length).map(|at| noop(format!("n{at}"))).collect();
    let edges: Vec<Value> = (1..length).map(|at| edge(format!("n{}", at - 1), format!("n{at}"))).collect();
    workflow(name, &nodes, &edges)
}

/// `width` nodes beside each other, and one that waits for all.
pub(super) fn fan_out(width: usize) -> Value {
    let parallel = (0..width).map(|at| noop(format!("n{at}")));
    let nodes: Vec<Value> = parallel.chain([noop("join".into())]).collect();
    let edges: Vec<Value> = (0..width).map(|at| edge(format!("n{at}"), "join".into())).collect();
    workflow(&format!("bench fan-out {width}"), &nodes, &edges)
}

/// Nodes beside each other, and one that speaks meanwhile: 20 kB a second.
pub(super) fn speaking(time: Duration) -> Value {
    let count = time.as_millis() / u128::from(SPEAKING_PIECE_MS);
    let config = json!({ "count": count as u64, "ms": SPEAKING_PIECE_MS, "bytes": SPEAKING_PIECE_BYTES });
    let beside = (0..SPEAKING_NODES).map(|at| noop(format!("n{at}")));
    let nodes: Vec<Value> = beside.chain([node("speak".into(), "debug:stream", config)]).collect();
    workflow("bench speaking", &nodes, &[])
}

/// One node that waits.
pub(super) fn parked() -> Value {
    workflow("bench parked", &[node("wait".into(), "logic:wait", json!({ "forMs": PARKED_MS }))], &[])
}

/// The node that waits for a review.
pub(super) const AFTER_REVIEW: &str = "next";

/// A value that people are asked about, and a node after that.
pub(super) fn reviewed() -> Value {
    let nodes = [
        node("value".into(), "input:text", json!({ "text": "good?" })),
        node("check".into(), "logic:review", json!({})),
        noop(AFTER_REVIEW.into()),
    ];
    let edges = [wire("value", "text", "check", "value"), wire("check", "approved", AFTER_REVIEW, "in")];
    workflow("bench review", &nodes, &edges)
}

/// Maps one after the other over a list of as many items as one may have, then people who are asked `reviews` times,
/// with a node after each.
pub(super) fn long_reviewed(maps: usize, items: usize, reviews: usize) -> Value {
    let mut nodes =
        vec![noop("begin".into()), node("list".into(), "debug:list", json!({ "count": items })), noop("end".into())];
    let mut edges = vec![edge("begin".into(), "list".into())];
    let mut list = ("list".to_owned(), "out");
    for at in 0..maps {
        let (map, [first, second]) = (format!("map{at}"), ["first", "second"].map(|body| format!("{body}{at}")));
        nodes.push(node(map.clone(), "logic:map", json!({ "concurrency": MAP_CONCURRENCY })));
        nodes.extend([inside(&first, &map), inside(&second, &map)]);
        edges.push(wire(&list.0, list.1, &map, "items"));
        edges.push(wire(&map, "item", &first, "item"));
        edges.push(edge(first, second.clone()));
        edges.push(wire(&second, "out", &map, "result"));
        list = (map, "results");
    }
    edges.push(wire(&list.0, list.1, "end", "in"));
    let mut before = ("end".to_owned(), "out");
    for at in 0..reviews {
        let (check, after) = (format!("check{at}"), after_review(at));
        nodes.push(node(check.clone(), "logic:review", json!({})));
        nodes.push(noop(after.clone()));
        edges.push(wire(&before.0, before.1, &check, "value"));
        edges.push(wire(&check, "approved", &after, "in"));
        before = (after, "out");
    }
    workflow("bench long review", &nodes, &edges)
}

/// The node after one of the reviews of [`long_reviewed`].
pub(super) fn after_review(at: usize) -> String {
    format!("next{at}")
}

fn workflow(name: &str, nodes: &[Value], edges: &[Value]) -> Value {
    json!({ "name": name, "tags": ["bench"], "nodes": nodes, "edges": edges })
}

fn noop(id: String) -> Value {
    node(id, "debug:noop", json!({}))
}

/// A no-op node that lies in a container.
fn inside(id: &str, container: &str) -> Value {
    let mut node = noop(id.to_owned());
    node["parentId"] = container.into();
    node
}

fn node(id: String, node_type: &str, config: Value) -> Value {
    let data = json!({ "nodeType": node_type, "config": config });
    json!({ "id": id, "type": "basedNode", "position": { "x": 0, "y": 0 }, "data": data })
}

fn edge(source: String, target: String) -> Value {
    wire(&source, "out", &target, "in")
}

fn wire(source: &str, output: &str, target: &str, input: &str) -> Value {
    let (from, to) = (format!("out-{output}"), format!("in-{input}"));
    let id = format!("{source}-{target}");
    json!({ "id": id, "source": source, "target": target, "sourceHandle": from, "targetHandle": to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_have_the_stated_size() {
        let sizes = |value: Value| (value["nodes"].as_array().unwrap().len(), value["edges"].as_array().unwrap().len());
        assert_eq!(sizes(chain()), (10, 9));
        assert_eq!(sizes(fan_out(1_000)), (1_001, 1_000));
        assert_eq!(sizes(parked()), (1, 0));
        assert_eq!(sizes(reviewed()), (3, 2));
        assert_eq!(sizes(long_reviewed(2, 10, 3)), (15, 16));
        assert_eq!(sizes(map(1_000)), (4, 4));
        assert_eq!(sizes(turns(10)), (2, 2));
        assert_eq!(sizes(long_chain()), (10_000, 9_999));
        assert_eq!(sizes(layers()), (10_000, 29_700));
    }
}
