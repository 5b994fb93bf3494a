//! Graphs for tests of the engine, compiled as any other.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Compile, Draft, Graph, TypeCatalogue};

/// Nodes and edges in the making.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fixture {
    nodes: Vec<Value>,
    edges: Vec<Value>,
    policy: Option<Value>,
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

    /// A text, as an input of the graph.
    pub(crate) fn text(self, id: &str, text: &str) -> Self {
        self.node(id, json!({"nodeType": "input:text", "config": {"text": text}}))
    }

    /// Any JSON, as an input of the graph.
    pub(crate) fn json(self, id: &str, value: Value) -> Self {
        self.node(id, json!({"nodeType": "input:json", "config": {"value": value}}))
    }

    /// A list, as an input of the graph.
    pub(crate) fn list(self, id: &str, items: Value) -> Self {
        self.node(id, json!({"nodeType": "input:list", "config": {"items": items}}))
    }

    /// A node of `logic:…`.
    pub(crate) fn logic(self, id: &str, name: &str, config: Value) -> Self {
        self.node(id, json!({"nodeType": format!("logic:{name}"), "config": config}))
    }

    /// The last node lies inside this container.
    pub(crate) fn inside(mut self, container: &str) -> Self {
        self.nodes.last_mut().unwrap()["parentId"] = container.into();
        self
    }

    /// A node with this `data`.
    pub(crate) fn node(mut self, id: &str, data: Value) -> Self {
        self.nodes.push(json!({"id": id, "data": data}));
        self
    }

    /// An edge; its ends may name an output and an input: `a.side`.
    pub(crate) fn edge(mut self, source: &str, target: &str) -> Self {
        fn split(end: &str) -> (&str, Option<&str>) {
            end.split_once('.').map_or((end, None), |(node, port)| (node, Some(port)))
        }
        let (source, output) = split(source);
        let (target, input) = split(target);
        let id = format!("e{}", self.edges.len());
        self.edges
            .push(json!({"id": id, "source": source, "sourceHandle": output, "target": target, "targetHandle": input}));
        self
    }

    /// The policy of all nodes that say nothing else.
    pub(crate) fn policy(self, policy: Value) -> Self {
        Self { policy: Some(policy), ..self }
    }

    /// The graph.
    pub(crate) fn build(self) -> Arc<Graph> {
        let mut types = TypeCatalogue::new();
        let manifest = json!({"id": "debug:work", "version": 1, "title": "Work", "effect": "pure",
            "effectFromConfig": true, "cancelsJobs": true,
            "inputs": [{"id": "in", "type": "ANY", "list": true, "required": true}, {"id": "extra", "type": "ANY"},
                {"id": "other", "type": "ANY"}],
            "outputs": [{"id": "out", "type": "ANY"}, {"id": "side", "type": "ANY"}]});
        types.add_manifest(manifest.to_string().as_bytes()).unwrap();
        // It can do the work of the other, but for its second output, and has defaults of its own.
        let manifest = json!({"id": "debug:other", "version": 3, "title": "Other", "effect": "keyed",
            "effectFromConfig": true, "policy": {"retry": {"maxAttempts": 2, "initialMs": 7}},
            "inputs": [{"id": "extra", "type": "ANY"}, {"id": "in", "type": "ANY", "list": true, "required": true}],
            "outputs": [{"id": "more", "type": "ANY"}, {"id": "out", "type": "ANY"}]});
        types.add_manifest(manifest.to_string().as_bytes()).unwrap();
        // It needs one of the values that it takes.
        let manifest = json!({"id": "debug:needs", "version": 1, "title": "Needs", "effect": "pure",
            "inputs": [{"id": "needed", "type": "ANY", "required": true}, {"id": "extra", "type": "ANY"}],
            "outputs": [{"id": "out", "type": "ANY"}]});
        types.add_manifest(manifest.to_string().as_bytes()).unwrap();
        let manifest = json!({"id": "debug:lists", "version": 1, "title": "Lists", "effect": "pure",
            "inputs": [{"id": "extra", "type": "ANY"}], "outputs": [{"id": "items", "type": "ANY", "list": true}]});
        types.add_manifest(manifest.to_string().as_bytes()).unwrap();
        let (nodes, edges) = (Value::Array(self.nodes).to_string(), Value::Array(self.edges).to_string());
        let draft = Draft::parse(nodes.as_bytes(), edges.as_bytes()).unwrap();
        let draft = match &self.policy {
            Some(policy) => draft.with_policy(policy.to_string().as_bytes()).unwrap(),
            None => draft,
        };
        let compile = Compile { strict: true, complete: false, check_config: &|_, _| Vec::new() };
        Arc::new(Graph::compile(&draft, &types, compile).unwrap().graph)
    }
}
