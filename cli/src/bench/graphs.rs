//! The graphs of the works.

use serde_json::{Value, json};

/// Nodes in the chain of W1 and W2.
pub(super) const CHAIN_NODES: usize = 10;
/// How long the runs of W4 and W5 wait, in milliseconds: longer than the bench.
const PARKED_MS: u64 = 60 * 60 * 1_000;

/// `n0 → n1 → … → n9`.
pub(super) fn chain() -> Value {
    let nodes: Vec<Value> = (0..CHAIN_NODES).map(|at| noop(format!("n{at}"))).collect();
    let edges: Vec<Value> = (1..CHAIN_NODES).map(|at| edge(format!("n{}", at - 1), format!("n{at}"))).collect();
    workflow("bench chain", &nodes, &edges)
}

/// `width` nodes beside each other, and one that waits for all.
pub(super) fn fan_out(width: usize) -> Value {
    let parallel = (0..width).map(|at| noop(format!("n{at}")));
    let nodes: Vec<Value> = parallel.chain([noop("join".into())]).collect();
    let edges: Vec<Value> = (0..width).map(|at| edge(format!("n{at}"), "join".into())).collect();
    workflow(&format!("bench fan-out {width}"), &nodes, &edges)
}

/// One node that waits.
pub(super) fn parked() -> Value {
    workflow("bench parked", &[node("wait".into(), "logic:wait", json!({ "forMs": PARKED_MS }))], &[])
}

fn workflow(name: &str, nodes: &[Value], edges: &[Value]) -> Value {
    json!({ "name": name, "tags": ["bench"], "nodes": nodes, "edges": edges })
}

fn noop(id: String) -> Value {
    node(id, "debug:noop", json!({}))
}

fn node(id: String, node_type: &str, config: Value) -> Value {
    let data = json!({ "nodeType": node_type, "config": config });
    json!({ "id": id, "type": "basedNode", "position": { "x": 0, "y": 0 }, "data": data })
}

fn edge(source: String, target: String) -> Value {
    let id = format!("{source}-{target}");
    json!({ "id": id, "source": source, "target": target, "sourceHandle": "out-out", "targetHandle": "in-in" })
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
    }
}
