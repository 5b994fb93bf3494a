//! Graphs of four shapes, of any size, and two small graphs that make as many items or turns.

use std::sync::Arc;

use heddle_core::draw::Draw as Draws;
use heddle_core::graph::{Compile, Draft, Graph, TypeCatalogue};
use heddle_core::limits::LOOP_TURNS_MAX;

/// The type of all nodes but those that the core evaluates itself, and one.
pub(crate) const TYPE_ID: &str = "bench:work";
/// The type of the node whose output is a list.
pub(crate) const LIST_TYPE_ID: &str = "bench:list";
/// Its one output.
pub(crate) const OUTPUT_ID: &str = "out";

const MANIFEST: &str = r#"{"id":"bench:work","version":1,"title":"Work","effect":"pure",
    "inputs":[{"id":"in","type":"ANY","list":true}],"outputs":[{"id":"out","type":"ANY"}]}"#;
const LIST_MANIFEST: &str = r#"{"id":"bench:list","version":1,"title":"List","effect":"pure",
    "inputs":[],"outputs":[{"id":"out","type":"ANY"}]}"#;

/// How a graph's nodes hang together.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Each node after the one before it.
    Chain,
    /// One node, then all others side by side, then one that takes from all of them.
    FanOut,
    /// Layers as wide as they are many; each node takes from two nodes of the layer before.
    Layers,
    /// A chain in which every other node decides on a condition whether it goes on.
    Branches,
    /// A map over a list of as many items, with one node.
    Items,
    /// A loop of as many turns, with one node.
    Turns,
}

impl Shape {
    /// All of them.
    pub(crate) const ALL: [Shape; 6] =
        [Shape::Chain, Shape::FanOut, Shape::Layers, Shape::Branches, Shape::Items, Shape::Turns];

    /// What the table calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Shape::Chain => "chain",
            Shape::FanOut => "fan-out",
            Shape::Layers => "layers",
            Shape::Branches => "branches",
            Shape::Items => "items",
            Shape::Turns => "turns",
        }
    }

    /// How large it is made where `size` is asked for: there is a longest loop.
    pub(crate) fn size(self, size: usize) -> usize {
        match self {
            Shape::Turns => size.min(LOOP_TURNS_MAX as usize),
            _ => size,
        }
    }

    /// A graph of exactly so many nodes, items or turns, the same at every call.
    pub(crate) fn graph(self, size: usize) -> Arc<Graph> {
        match self {
            Shape::Items => return compile(ITEMS.0, ITEMS.1),
            Shape::Turns => return compile(&TURNS.replace("COUNT", &size.to_string()), TURNS_EDGES),
            Shape::Chain | Shape::FanOut | Shape::Layers | Shape::Branches => {}
        }
        let decides = |ix: usize| matches!(self, Shape::Branches) && !ix.is_multiple_of(2);
        let nodes: Vec<String> = (0..size).map(|ix| if decides(ix) { branch(ix) } else { node(ix) }).collect();
        let edge = |(source, target)| match (decides(source), decides(target)) {
            (true, _) => edge(source, "true", target, "in"),
            (false, true) => edge(source, "out", target, "value"),
            (false, false) => edge(source, "out", target, "in"),
        };
        let edges: Vec<String> = self.arrows(size).into_iter().map(edge).collect();
        let (nodes, edges) = (format!("[{}]", nodes.join(",")), format!("[{}]", edges.join(",")));
        compile(&nodes, &edges)
    }

    fn arrows(self, size: usize) -> Vec<(usize, usize)> {
        match self {
            Shape::Chain | Shape::Branches => (1..size).map(|node| (node - 1, node)).collect(),
            Shape::FanOut => (1..size - 1).flat_map(|node| [(0, node), (node, size - 1)]).collect(),
            Shape::Layers => layers(size),
            Shape::Items | Shape::Turns => Vec::new(),
        }
    }
}

/// The map's nodes and edges.
const ITEMS: (&str, &str) = (
    r#"[{"id":"list","data":{"nodeType":"bench:list"}},
        {"id":"map","data":{"nodeType":"logic:map","config":{"concurrency":64}}},
        {"id":"body","parentId":"map","data":{"nodeType":"bench:work"}}]"#,
    r#"[{"id":"a","source":"list","sourceHandle":"out-out","target":"map","targetHandle":"in-items"},
        {"id":"b","source":"map","sourceHandle":"out-item","target":"body","targetHandle":"in-in"},
        {"id":"c","source":"body","sourceHandle":"out-out","target":"map","targetHandle":"in-result"}]"#,
);
const TURNS: &str = r#"[{"id":"loop","data":{"nodeType":"logic:loop","config":{"maxIterations":COUNT}}},
    {"id":"body","parentId":"loop","data":{"nodeType":"bench:work"}}]"#;
const TURNS_EDGES: &str = r#"[{"id":"a","source":"loop","sourceHandle":"out-value","target":"body","targetHandle":"in-in"},
    {"id":"b","source":"body","sourceHandle":"out-out","target":"loop","targetHandle":"in-result"}]"#;

fn compile(nodes: &str, edges: &str) -> Arc<Graph> {
    let mut types = TypeCatalogue::new();
    for manifest in [MANIFEST, LIST_MANIFEST] {
        types.add_manifest(manifest.as_bytes()).expect("the manifest is sound");
    }
    let draft = Draft::parse(nodes.as_bytes(), edges.as_bytes()).expect("the document can be read");
    let options = Compile { strict: true, complete: true, check_config: &|_, _| Vec::new() };
    Arc::new(Graph::compile(&draft, &types, options).expect("the graph is valid").graph)
}

fn layers(size: usize) -> Vec<(usize, usize)> {
    let width = size.isqrt();
    let mut draws = Draws::from_seed(size as u64);
    let mut arrows = Vec::with_capacity(2 * size);
    for node in width..size {
        let before = node / width * width - width;
        let first = draws.next_u64() as usize % width;
        // Another one than the first.
        let second = (first + 1 + draws.next_u64() as usize % (width - 1)) % width;
        arrows.extend([(before + first, node), (before + second, node)]);
    }
    arrows
}

fn node(ix: usize) -> String {
    format!(r#"{{"id":"n{ix}","type":"basedNode","position":{{"x":{ix},"y":0}},"data":{{"nodeType":"{TYPE_ID}"}}}}"#)
}

/// A decision on what the node before it gave.
fn branch(ix: usize) -> String {
    format!(r#"{{"id":"n{ix}","data":{{"nodeType":"logic:if","config":{{"condition":"value == 'done'"}}}}}}"#)
}

fn edge(source: usize, output: &str, target: usize, input: &str) -> String {
    format!(
        r#"{{"id":"e{source}-{target}","source":"n{source}","sourceHandle":"out-{output}","target":"n{target}","targetHandle":"in-{input}"}}"#
    )
}
