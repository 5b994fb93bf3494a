//! Graphs of four shapes, of any size.

use std::sync::Arc;

use heddle_core::draw::Draw as Draws;
use heddle_core::graph::{Compile, Draft, Graph, TypeCatalogue};

/// The one type of all nodes but none that the core evaluates itself.
pub(crate) const TYPE_ID: &str = "bench:work";
/// Its one output.
pub(crate) const OUTPUT_ID: &str = "out";

const MANIFEST: &str = r#"{"id":"bench:work","version":1,"title":"Work","effect":"pure",
    "inputs":[{"id":"in","type":"ANY","list":true}],"outputs":[{"id":"out","type":"ANY"}]}"#;

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
}

impl Shape {
    /// All of them.
    pub(crate) const ALL: [Shape; 4] = [Shape::Chain, Shape::FanOut, Shape::Layers, Shape::Branches];

    /// What the table calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Shape::Chain => "chain",
            Shape::FanOut => "fan-out",
            Shape::Layers => "layers",
            Shape::Branches => "branches",
        }
    }

    /// A graph of exactly so many nodes, the same at every call.
    pub(crate) fn graph(self, size: usize) -> Arc<Graph> {
        let decides = |ix: usize| matches!(self, Shape::Branches) && !ix.is_multiple_of(2);
        let nodes: Vec<String> = (0..size).map(|ix| if decides(ix) { branch(ix) } else { node(ix) }).collect();
        let edge = |(source, target)| match (decides(source), decides(target)) {
            (true, _) => edge(source, "true", target, "in"),
            (false, true) => edge(source, "out", target, "value"),
            (false, false) => edge(source, "out", target, "in"),
        };
        let edges: Vec<String> = self.arrows(size).into_iter().map(edge).collect();
        let (nodes, edges) = (format!("[{}]", nodes.join(",")), format!("[{}]", edges.join(",")));
        let mut types = TypeCatalogue::new();
        types.add_manifest(MANIFEST.as_bytes()).expect("the manifest is sound");
        let draft = Draft::parse(nodes.as_bytes(), edges.as_bytes()).expect("the document can be read");
        let options = Compile { strict: true, complete: true, check_config: &|_, _| Vec::new() };
        Arc::new(Graph::compile(&draft, &types, options).expect("the graph is valid").graph)
    }

    fn arrows(self, size: usize) -> Vec<(usize, usize)> {
        match self {
            Shape::Chain | Shape::Branches => (1..size).map(|node| (node - 1, node)).collect(),
            Shape::FanOut => (1..size - 1).flat_map(|node| [(0, node), (node, size - 1)]).collect(),
            Shape::Layers => layers(size),
        }
    }
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
