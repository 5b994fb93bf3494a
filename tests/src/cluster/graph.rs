//! Graphs for the suites, in the form that users draw them in.

use serde_json::{Value, json};

/// A graph in the making.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    nodes: Vec<Value>,
    edges: Vec<Value>,
}

impl Graph {
    /// Adds a node.
    #[must_use]
    pub fn node(self, id: &str, node_type: &str, config: Value) -> Self {
        self.node_with(id, node_type, config, json!({}))
    }

    /// Adds a node with a policy.
    #[must_use]
    pub fn node_with(mut self, id: &str, node_type: &str, config: Value, policy: Value) -> Self {
        let data = json!({ "label": id, "nodeType": node_type, "config": config, "policy": policy });
        self.nodes.push(json!({ "id": id, "type": "basedNode", "position": { "x": 0, "y": 0 }, "data": data }));
        self
    }

    /// The node added last lies inside this container.
    ///
    /// # Panics
    /// When there is no node yet.
    #[must_use]
    pub fn inside(mut self, container: &str) -> Self {
        let node = self.nodes.last_mut().unwrap_or_else(|| panic!("no node to put into {container:?}"));
        node["parentId"] = container.into();
        self
    }

    /// A map whose nodes `w` and `no` do what they do for items for which this condition over `value` holds, and fail for the
    /// others; `list` gives the items and `out` shows the results.
    pub fn failing_map(items: Value, config: Value, condition: &str) -> Self {
        let failing = json!({ "times": 9, "class": "invalid_request" });
        Self::default()
            .node("list", "input:json", json!({ "value": items }))
            .node("m", "logic:map", config)
            .node("good", "logic:if", json!({ "condition": condition }))
            .inside("m")
            .node("w", "debug:echo", json!({}))
            .inside("m")
            .node("no", "debug:fail", failing)
            .inside("m")
            .node("out", "output:preview", json!({}))
            .edge("list.json", "m.items")
            .edge("m.item", "good.value")
            .edge("good.true", "w.item")
            .edge("good.false", "no.item")
            .edge("w.out", "m.result")
            .edge("m.results", "out.value")
    }

    /// A map over numbers from 0, so many at a time, each of which works on a file of effects and then gives itself.
    pub fn effects_map(items: usize, concurrency: usize, effect: Value) -> Self {
        Self::default()
            .node("list", "input:json", json!({ "value": (0..items).collect::<Vec<_>>() }))
            .node("m", "logic:map", json!({ "concurrency": concurrency }))
            .node("work", "debug:effect", effect)
            .inside("m")
            .node("same", "debug:echo", json!({}))
            .inside("m")
            .node("out", "output:preview", json!({}))
            .edge("list.json", "m.items")
            .edge("m.item", "work.item")
            .edge("work.out", "same.in")
            .edge("m.item", "same.in")
            .edge("same.out", "m.result")
            .edge("m.results", "out.value")
    }

    /// Adds an edge from a port to a port, each written `node.port`.
    ///
    /// # Panics
    /// When one of them has no dot.
    #[must_use]
    pub fn edge(mut self, from: &str, to: &str) -> Self {
        let split = |end: &str| {
            let (node, port) = end.rsplit_once('.').unwrap_or_else(|| panic!("{end:?} names no port"));
            (node.to_owned(), port.to_owned())
        };
        let ((source, output), (target, input)) = (split(from), split(to));
        self.edges.push(json!({
            "id": format!("{from}-{to}"), "source": source, "target": target,
            "sourceHandle": format!("out-{output}"), "targetHandle": format!("in-{input}"),
        }));
        self
    }

    /// Its nodes and edges.
    pub fn parts(&self) -> Value {
        json!({ "nodes": self.nodes, "edges": self.edges })
    }

    /// What saves it as a workflow of this name.
    pub fn named(&self, name: &str) -> Value {
        json!({ "name": name, "nodes": self.nodes, "edges": self.edges })
    }

    /// The ids of its nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter_map(|node| node["id"].as_str())
    }

    /// The ids of the nodes of one type.
    pub fn of_type<'a>(&'a self, node_type: &'a str) -> impl Iterator<Item = &'a str> {
        let nodes = self.nodes.iter().filter(move |node| node["data"]["nodeType"] == node_type);
        nodes.filter_map(|node| node["id"].as_str())
    }

    /// The nodes whose outputs arrive at this one.
    pub fn before<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        self.edges.iter().filter(move |edge| edge["target"] == id).filter_map(|edge| edge["source"].as_str())
    }
}
