//! Graphs for tests of the engine, compiled as any other.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Compile, Draft, Graph, TypeCatalogue};

/// Nodes and edges in the making.
#[derive(Debug, Default)]
pub(crate) struct Fixture {
    nodes: Vec<Value>,
    edges: Vec<Value>,
}

impl Fixture {
    /// A node of a type that agents run, of an effect class, with a policy.
    pub(crate) fn work(self, id: &str, effect: &str, policy: &Value) -> Self {
        self.node(id, json!({"nodeType": "debug:work", "config": {"effect": effect}, "policy": policy}))
    }

    /// An input with a text in the graph.
    pub(crate) fn input(self, id: &str) -> Self {
        self.node(id, json!({"nodeType": "input:text", "config": {"text": "given"}}))
    }

    /// A wait.
    pub(crate) fn wait(self, id: &str, millis: u64) -> Self {
        self.node(id, json!({"nodeType": "logic:wait", "config": {"forMs": millis}}))
    }

    /// An output.
    pub(crate) fn output(self, id: &str) -> Self {
        self.node(id, json!({"nodeType": "output:preview"}))
    }

    fn node(mut self, id: &str, data: Value) -> Self {
        self.nodes.push(json!({"id": id, "data": data}));
        self
    }

    /// An edge into the one input of its target; `source` may name an output: `a.side`.
    pub(crate) fn edge(mut self, source: &str, target: &str) -> Self {
        let (source, output) = source.split_once('.').map_or((source, None), |(source, output)| (source, Some(output)));
        let id = format!("e{}", self.edges.len());
        self.edges.push(json!({"id": id, "source": source, "sourceHandle": output, "target": target}));
        self
    }

    /// The graph.
    pub(crate) fn build(self) -> Arc<Graph> {
        let mut types = TypeCatalogue::new();
        let manifest = json!({"id": "debug:work", "version": 1, "title": "Work", "effect": "pure",
            "effectFromConfig": true, "inputs": [{"id": "in", "type": "ANY", "list": true, "required": true}],
            "outputs": [{"id": "out", "type": "ANY"}, {"id": "side", "type": "ANY"}]});
        types.add_manifest(manifest.to_string().as_bytes()).unwrap();
        let (nodes, edges) = (Value::Array(self.nodes).to_string(), Value::Array(self.edges).to_string());
        let draft = Draft::parse(nodes.as_bytes(), edges.as_bytes()).unwrap();
        let compile = Compile { strict: true, complete: false, check_config: &|_, _| Vec::new() };
        Arc::new(Graph::compile(&draft, &types, compile).unwrap().graph)
    }
}
