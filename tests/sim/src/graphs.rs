//! Random graphs, compiled as any user's graph is, and what their nodes do when an agent runs them.

use std::sync::Arc;

use heddle_core::graph::{Compile, Draft, Graph, TypeCatalogue};
use heddle_core::id::NodeIx;
use heddle_core::node_type::EffectClass;
use serde_json::{Value, json};

use super::knobs::{Effects, Knobs, Range};
use super::random::Random;

/// The types that agents offer.
pub(super) const TYPES: [&str; 2] = ["debug:prefetched", "debug:work"];

/// A graph and the behaviour of its nodes.
#[derive(Debug)]
pub(super) struct Scripted {
    pub(super) graph: Arc<Graph>,
    scripts: Vec<Script>,
}

/// What a node does on an agent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Script {
    pub(super) work_ms: Range,
    pub(super) fail_percent: u64,
    /// It takes its agent down each time.
    pub(super) is_poison: bool,
    /// It gives nothing at its second output, so that what hangs on it is skipped.
    pub(super) closes: bool,
}

impl Scripted {
    pub(super) fn script(&self, node: NodeIx) -> Script {
        self.scripts[node.0 as usize]
    }

    /// A random graph without cycles.
    pub(super) fn draw(random: &mut Random, knobs: &Knobs) -> Self {
        let count = random.between(knobs.nodes) as usize;
        let mut nodes = Vec::with_capacity(count);
        let mut edges = Vec::new();
        let mut scripts = Vec::with_capacity(count);
        let mut outputs: Vec<&[&str]> = Vec::with_capacity(count);
        for ix in 0..count {
            let kind = if ix == 0 && count > 1 && random.percent(50) {
                Kind::Input
            } else if ix > 0 && random.percent(knobs.wait_percent) {
                Kind::Wait
            } else if ix + 1 == count && ix > 0 {
                Kind::Output
            } else {
                Kind::Work
            };
            let (json, input, own) = kind.node(ix, random, knobs);
            nodes.push(json);
            if let Some(input) = input.filter(|_| ix > 0) {
                let wires = if kind == Kind::Work { random.below(3) } else { 1 };
                for _ in 0..wires {
                    let source = random.below(ix);
                    let output = random.pick(outputs[source]);
                    edges.push(json!({"id": format!("e{}", edges.len()), "source": format!("n{source}"),
                        "sourceHandle": output, "target": format!("n{ix}"), "targetHandle": input}));
                }
            }
            outputs.push(own);
            scripts.push(Script {
                work_ms: knobs.work_ms,
                fail_percent: knobs.fail_percent,
                is_poison: kind == Kind::Work && random.percent(knobs.poison_percent),
                closes: random.percent(20),
            });
        }
        Self { graph: compile(&Value::Array(nodes), &Value::Array(edges)), scripts }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Input,
    Wait,
    Output,
    Work,
}

impl Kind {
    /// A node's JSON, the input that edges end at, and the outputs that edges may begin at.
    fn node(
        self,
        ix: usize,
        random: &mut Random,
        knobs: &Knobs,
    ) -> (Value, Option<&'static str>, &'static [&'static str]) {
        let id = format!("n{ix}");
        let node = |node_type: &str, config: Value, policy: Value| json!({"id": id, "data": {"nodeType": node_type, "config": config, "policy": policy}});
        match self {
            Kind::Input => (node("input:text", json!({"text": "given"}), json!({})), None, &["text"]),
            Kind::Wait => {
                let config = json!({"forMs": random.between(knobs.wait_ms)});
                (node("logic:wait", config, json!({})), Some("value"), &["value"])
            }
            Kind::Output => (node("output:preview", json!({}), json!({})), Some("value"), &["value"]),
            Kind::Work => {
                let effect = effect(random, knobs.effects);
                let policy = json!({
                    "retry": {"maxAttempts": random.between((1, 4)), "initialMs": random.between((1, 400)), "maxMs": 2_000},
                    "onUnknown": random.pick(&["retry", "fail", "park"]),
                    "priority": random.between((0, 2)),
                });
                (node(random.pick(&TYPES), json!({"effect": effect}), policy), Some("in"), &["out", "side"])
            }
        }
    }
}

fn effect(random: &mut Random, effects: Effects) -> &'static str {
    match effects {
        Effects::Pure => "pure",
        Effects::Mixed => random.pick(&["pure", "keyed", "pollable", "blind"]),
        Effects::Paid => random.pick(&["pollable", "blind"]),
    }
}

/// The built-in types and those of the model agents.
fn catalogue() -> TypeCatalogue {
    let mut types = TypeCatalogue::new();
    for id in TYPES {
        let manifest = json!({"id": id, "version": 1, "title": "Work", "effect": EffectClass::Pure,
            "effectFromConfig": true, "prefetch": id == "debug:prefetched",
            "inputs": [{"id": "in", "type": "ANY", "list": true, "required": true}],
            "outputs": [{"id": "out", "type": "ANY"}, {"id": "side", "type": "ANY"}]});
        types.add_manifest(manifest.to_string().as_bytes()).expect("the model's manifest is valid");
    }
    types
}

fn compile(nodes: &Value, edges: &Value) -> Arc<Graph> {
    thread_local! {
        static TYPES: TypeCatalogue = catalogue();
    }
    let compile = Compile { strict: true, complete: false, check_config: &|_, _| Vec::new() };
    let draft = Draft::parse(nodes.to_string().as_bytes(), edges.to_string().as_bytes());
    let compiled = draft.and_then(|draft| TYPES.with(|types| Graph::compile(&draft, types, compile)));
    match compiled {
        Ok(compiled) => Arc::new(compiled.graph),
        Err(problems) => panic!("a random graph is not valid: {problems:?}\n{nodes}\n{edges}"),
    }
}
