//! Small random workflows: what each does can be told from outside.

use serde_json::json;

use super::graph::Graph;
use super::random::Random;

/// The file that the effect nodes of the workload write to.
pub const EFFECTS: &str = "workload";

const NODES_MIN: usize = 2;
const NODES_MAX: usize = 7;
const EFFECT_MS_MAX: usize = 150;
const WAIT_MS_MAX: usize = 250;
const TIMES_MAX: usize = 2;
/// Longer than a coordinator takes from one look for what falls due to the next.
const LONG_WAIT_MS: usize = 1_500;

/// An input, some nodes that work, fail at first or wait, and an output of everything that nobody else takes.
pub fn graph(random: &mut Random) -> Graph {
    let mut graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    let mut outputs = vec!["input.text".to_owned()];
    let mut loose = Vec::new();
    for number in 0..NODES_MIN + random.below(NODES_MAX - NODES_MIN + 1) {
        let first = random.below(outputs.len());
        let second = random.below(outputs.len());
        let id = format!("n{number}");
        let (with_node, output, input, takes_many) = work(graph, &id, random);
        graph = with_node.edge(&outputs[first], &format!("{id}.{input}"));
        if takes_many && second != first && random.percent(40) {
            graph = graph.edge(&outputs[second], &format!("{id}.{input}"));
            loose.retain(|name| *name != outputs[second]);
        }
        loose.retain(|name| *name != outputs[first]);
        outputs.push(format!("{id}.{output}"));
        loose.push(format!("{id}.{output}"));
    }
    graph = graph.node("join", "debug:echo", json!({})).node("output", "output:preview", json!({}));
    for name in &loose {
        graph = graph.edge(name, "join.in");
    }
    graph.edge("join.out", "output.value")
}

/// One wait that outlasts a look for what falls due.
pub fn waiting() -> Graph {
    Graph::default()
        .node("input", "input:text", json!({ "text": "thread" }))
        .node("wait", "logic:wait", json!({ "forMs": LONG_WAIT_MS }))
        .node("output", "output:preview", json!({}))
        .edge("input.text", "wait.value")
        .edge("wait.value", "output.value")
}

/// One node: with it, its output, its input, and whether several edges may end there.
fn work(graph: Graph, id: &str, random: &mut Random) -> (Graph, &'static str, &'static str, bool) {
    match random.below(10) {
        0..4 => {
            let config = json!({ "file": EFFECTS, "ms": random.below(EFFECT_MS_MAX) });
            (graph.node(id, "debug:effect", config), "out", "in", true)
        }
        4..7 => (graph.node(id, "debug:echo", json!({})), "out", "in", true),
        7..9 => {
            let retry = json!({ "retry": { "maxAttempts": 2 * TIMES_MAX, "initialMs": 20, "maxMs": 100 } });
            let config = json!({ "times": 1 + random.below(TIMES_MAX) });
            (graph.node_with(id, "debug:fail", config, retry), "out", "in", true)
        }
        _ => (graph.node(id, "logic:wait", json!({ "forMs": random.below(WAIT_MS_MAX) })), "value", "value", false),
    }
}
