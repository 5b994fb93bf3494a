//! Random graphs, compiled as any user's graph is, and how their nodes behave when an agent runs them.

use std::fmt;
use std::sync::Arc;

use heddle_core::graph::{Compile, Draft, Graph, TypeCatalogue};
use heddle_core::id::NodeIx;
use serde_json::{Value, json};

use super::drawing::{Child, Drawing};
use super::knobs::{self, Knobs};
use super::random::Random;
use super::reference::Document;
use super::work;

/// A graph and the behaviour of its nodes.
#[derive(Debug)]
pub(super) struct Scripted {
    pub(super) graph: Arc<Graph>,
    scripts: Vec<Script>,
    /// The same graph, as the reference interpreter reads it.
    pub(super) document: Document,
    /// Its nodes and edges as they were drawn.
    pub(super) nodes: Vec<Value>,
    edges: Vec<Value>,
    /// What its policy says of how long a run may be active, in milliseconds.
    pub(super) deadline_ms: Option<u64>,
}

impl fmt::Display for Scripted {
    /// A line for each node, and for each edge.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the graph {}", self.graph.digest())?;
        for node in &self.nodes {
            let (data, parent) = (&node["data"], &node["parentId"]);
            write!(f, "\n  {} in {parent}: {} {} {}", node["id"], data["nodeType"], data["config"], data["policy"])?;
        }
        for edge in &self.edges {
            let (source, target) = (&edge["source"], &edge["target"]);
            write!(f, "\n  {source}.{} > {target}.{}", edge["sourceHandle"], edge["targetHandle"])?;
        }
        Ok(())
    }
}

/// What a node does on an agent, beside what it makes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Script {
    pub(super) work_ms: knobs::Range,
    pub(super) fail_percent: u64,
    /// It takes its agent down each time.
    pub(super) is_poison: bool,
}

impl Script {
    /// Of a node that does its work at once, and never fails.
    pub(super) fn sound() -> Self {
        Self { work_ms: (0, 0), fail_percent: 0, is_poison: false }
    }
}

impl Scripted {
    pub(super) fn script(&self, node: NodeIx) -> Script {
        self.scripts[node.0 as usize]
    }

    /// A random graph without cycles, whose nodes may run these.
    pub(super) fn draw_over(random: &mut Random, knobs: &Knobs, children: &[Child]) -> Self {
        Self::drawn(Drawing::draw(random, knobs, children))
    }

    /// Such a graph, that nodes of other graphs run.
    pub(super) fn draw_child(random: &mut Random, knobs: &Knobs, children: &[Child]) -> Self {
        Self::drawn(Drawing::draw_child(random, knobs, children))
    }

    /// A graph that runs itself, which has this number.
    pub(super) fn draw_deep(random: &mut Random, knobs: &Knobs, graph: usize) -> Self {
        Self::drawn(Drawing::draw_deep(random, knobs, graph))
    }

    fn drawn(Drawing { nodes, edges, scripts, .. }: Drawing<'_>) -> Self {
        Self::of(nodes, edges, scripts)
    }

    /// The same graph with other data in its nodes.
    pub(super) fn with(&self, nodes: Vec<Value>) -> Self {
        let changed = Self::of(nodes, self.edges.clone(), self.scripts.clone());
        self.deadline_ms.into_iter().fold(changed, Self::bounded)
    }

    /// The same graph with a deadline in its policy, in milliseconds.
    pub(super) fn bounded(self, deadline_ms: u64) -> Self {
        let graph = compile(&self.nodes, &self.edges, &json!({ "deadlineMs": deadline_ms }));
        Self { graph, deadline_ms: Some(deadline_ms), ..self }
    }

    /// A graph whose document is known, and how its nodes behave.
    pub(super) fn of(nodes: Vec<Value>, edges: Vec<Value>, scripts: Vec<Script>) -> Self {
        let document = Document::read(&nodes, &edges);
        Self { graph: compile(&nodes, &edges, &Value::Null), scripts, document, nodes, edges, deadline_ms: None }
    }
}

/// The built-in types and those of the model agents.
fn catalogue() -> TypeCatalogue {
    let mut types = TypeCatalogue::new();
    for id in work::TYPES {
        let manifest = work::manifest(id).to_string();
        types.add_manifest(manifest.as_bytes()).expect("the model's manifest is valid");
    }
    types
}

fn compile(nodes: &[Value], edges: &[Value], policy: &Value) -> Arc<Graph> {
    let (nodes, edges) = (Value::from(nodes), Value::from(edges));
    thread_local! {
        static TYPES: TypeCatalogue = catalogue();
    }
    let compile = Compile { strict: true, complete: false, check_config: &|_, _| Vec::new() };
    let draft = Draft::parse(nodes.to_string().as_bytes(), edges.to_string().as_bytes());
    let draft = draft.and_then(|draft| draft.with_policy(policy.to_string().as_bytes()));
    let compiled = draft.and_then(|draft| TYPES.with(|types| Graph::compile(&draft, types, compile)));
    match compiled {
        Ok(compiled) => Arc::new(compiled.graph),
        Err(problems) => panic!("a random graph is not valid: {problems:?}\n{nodes}\n{edges}"),
    }
}
