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
    /// The same graph, as the reference interpreter reads it.
    pub(super) plan: Vec<Planned>,
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

/// One node, and where its input comes from: nodes before it, and their outputs, in the order of edges.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) kind: Kind,
    pub(super) sources: Vec<(usize, &'static str)>,
}

/// What a number divided leaves: the conditions of simulated graphs ask for no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) of: u64,
    pub(super) is: u64,
}

/// Kinds of nodes. All values are objects with a number `n`, or lists of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Input,
    Wait,
    Output,
    Work,
    /// It asks its input, or, looking back, the node that this comes from.
    If {
        rest: Rest,
        looks_back: bool,
    },
    Switch {
        cases: [Rest; 2],
        all: bool,
    },
    Router,
    Merge {
        all: bool,
    },
    Race {
        cancels: bool,
    },
    Gate {
        open: bool,
    },
    Filter(Rest),
    Split,
    Stop(&'static str),
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
        let mut plan: Vec<Planned> = Vec::with_capacity(count);
        for ix in 0..count {
            let mut kind = if ix == 0 && count > 1 && random.percent(50) {
                Kind::Input
            } else if ix > 0 && random.percent(knobs.branch_percent) {
                Kind::branching(random)
            } else if ix > 0 && random.percent(knobs.wait_percent) {
                Kind::Wait
            } else if ix + 1 == count && ix > 0 {
                Kind::Output
            } else {
                Kind::Work
            };
            let mut sources = Vec::new();
            if ix > 0 && kind != Kind::Input {
                let most = if kind.takes_many() { 1 + random.below(3) } else { 1 };
                for _ in usize::from(kind == Kind::Work)..=most {
                    let source = random.below(ix);
                    let outputs = plan[source].kind.outputs(kind.takes_lists());
                    let is_full = !kind.takes_many() && !sources.is_empty();
                    if !outputs.is_empty() && !is_full {
                        sources.push((source, random.pick(&outputs)));
                    }
                }
                if sources.is_empty() && !matches!(kind, Kind::Work | Kind::Wait) {
                    kind = Kind::Work;
                }
            }
            let (json, input) = kind.node(ix, &sources, random, knobs);
            nodes.push(json);
            for (source, output) in &sources {
                edges.push(json!({"id": format!("e{}", edges.len()), "source": format!("n{source}"),
                    "sourceHandle": output, "target": format!("n{ix}"), "targetHandle": input}));
            }
            plan.push(Planned { kind, sources });
            scripts.push(Script {
                work_ms: knobs.work_ms,
                fail_percent: knobs.fail_percent,
                is_poison: kind == Kind::Work && random.percent(knobs.poison_percent),
                closes: random.percent(20),
            });
        }
        Self { graph: compile(&Value::Array(nodes), &Value::Array(edges)), scripts, plan }
    }
}

impl Kind {
    fn branching(random: &mut Random) -> Self {
        match random.below(19) {
            0..4 => Kind::If { rest: Rest::draw(random), looks_back: random.percent(50) },
            4..7 => Kind::Switch { cases: [Rest::draw(random), Rest::draw(random)], all: random.percent(50) },
            7..11 => Kind::Merge { all: random.percent(30) },
            11 => Kind::Router,
            12 => Kind::Gate { open: random.percent(50) },
            13 => Kind::Filter(Rest::draw(random)),
            14 | 15 => Kind::Split,
            16 | 17 => Kind::Race { cancels: random.percent(70) },
            _ => Kind::Stop(random.pick(&["completed", "failed", "cancelled"])),
        }
    }

    /// Its outputs in the order of its type; with lists, or without.
    pub(super) fn outputs(self, with_lists: bool) -> Vec<&'static str> {
        let all: &[&str] = match self {
            Kind::Input => &["json"],
            Kind::Wait | Kind::Gate { .. } | Kind::Race { .. } => &["value"],
            Kind::Work => &["out", "side"],
            Kind::If { .. } => &["true", "false"],
            Kind::Switch { .. } => &["c0", "c1", "default"],
            Kind::Router => &["output"],
            Kind::Merge { all: false } if with_lists => &["value", "values"],
            Kind::Merge { all: true } if with_lists => &["values"],
            Kind::Merge { all: false } => &["value"],
            Kind::Filter(_) if with_lists => &["kept", "dropped"],
            Kind::Split => &["a", "b"],
            Kind::Merge { all: true } | Kind::Filter(_) | Kind::Output | Kind::Stop(_) => &[],
        };
        all.to_vec()
    }

    fn takes_many(self) -> bool {
        matches!(self, Kind::Work | Kind::Merge { .. } | Kind::Race { .. } | Kind::Filter(_))
    }

    fn takes_lists(self) -> bool {
        matches!(self, Kind::Work | Kind::Filter(_) | Kind::Output | Kind::Stop(_))
    }

    /// A node's JSON, and the input that edges end at.
    fn node(
        self,
        ix: usize,
        sources: &[(usize, &str)],
        random: &mut Random,
        knobs: &Knobs,
    ) -> (Value, Option<&'static str>) {
        let id = format!("n{ix}");
        let node = |node_type: &str, config: Value, policy: Value| json!({"id": id, "data": {"nodeType": node_type, "config": config, "policy": policy}});
        let plain = |node_type: &str, config: Value| node(node_type, config, json!({}));
        match self {
            Kind::Input => (plain("input:json", json!({"value": {"n": 3}})), None),
            Kind::Wait => (plain("logic:wait", json!({"forMs": random.between(knobs.wait_ms)})), Some("value")),
            Kind::Output => (plain("output:preview", json!({})), Some("value")),
            Kind::Work => {
                let effect = effect(random, knobs.effects);
                let policy = json!({
                    "retry": {"maxAttempts": random.between((1, 4)), "initialMs": random.between((1, 400)), "maxMs": 2_000},
                    "onUnknown": random.pick(&["retry", "fail", "park"]),
                    "priority": random.between((0, 2)),
                });
                (node(random.pick(&TYPES), json!({"effect": effect}), policy), Some("in"))
            }
            Kind::If { rest, looks_back } => {
                let of = match sources.first().filter(|_| looks_back) {
                    Some((source, _)) => format!("nodes.n{source}.output"),
                    None => "value".to_owned(),
                };
                (plain("logic:if", json!({"condition": rest.condition(&of)})), Some("value"))
            }
            Kind::Switch { cases, all } => {
                let case =
                    |(place, rest): (usize, &Rest)| json!({"id": format!("c{place}"), "when": rest.condition("value")});
                let cases: Vec<Value> = cases.iter().enumerate().map(case).collect();
                let mode = if all { "all" } else { "first" };
                (plain("logic:switch", json!({"cases": cases, "mode": mode})), Some("value"))
            }
            Kind::Router => (plain("logic:router", json!({})), Some("input")),
            Kind::Merge { all } => {
                let mode = if all { "all" } else { random.pick(&["first", "any"]) };
                (plain("logic:merge", json!({"mode": mode})), Some("branches"))
            }
            Kind::Race { cancels } => (plain("logic:race", json!({"cancelLosers": cancels})), Some("branches")),
            Kind::Gate { open } => (plain("logic:gate", json!({"open": open})), Some("value")),
            Kind::Filter(rest) => (plain("logic:filter", json!({"condition": rest.condition("item")})), Some("items")),
            Kind::Split => (plain("logic:split_test", json!({"weights": {"a": 1, "b": 1}})), Some("value")),
            Kind::Stop(status) => (plain("logic:stop", json!({"status": status})), Some("value")),
        }
    }
}

impl Rest {
    fn draw(random: &mut Random) -> Self {
        let of = random.between((2, 3));
        Self { of, is: random.between((0, of - 1)) }
    }

    fn condition(self, value: &str) -> String {
        format!("{value}.n % {} == {}", self.of, self.is)
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
