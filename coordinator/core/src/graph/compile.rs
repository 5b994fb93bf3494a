//! From a draft to a graph: every rule of graph.md, part 2, in one pass over nodes and one over edges.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::catalogue::TypeCatalogue;
use super::config_fault::{CheckConfig, ConfigFault};
use super::draft::{Draft, DraftNode};
use super::json::{Json, Member};
use super::kinds::{self, Kind};
use super::order::{self, Wire};
use super::policies::{self, Defaults};
use super::ports::Found;
use super::problem::{Problem, Problems, rule, shown};
use super::scope::{self, Crossing, Nesting};
use super::values::Carried;
use super::{Graph, Node, OutEdge, config_keys, fallback, invoke, lift, logic, review, wires};
use crate::control_types::{branch, lists, scope as containers};
use crate::id::NodeIx;
use crate::limits::{GRAPH_PROBLEMS_MAX, SCOPE_NESTING_MAX};
use crate::node_type::{Control, EffectClass, NodeType, Runner};
use crate::policy::{OnError, Policy, PolicyDraft, RunPolicy};
use crate::time::Span;

/// How strictly a draft is compiled.
#[derive(Clone, Copy)]
pub struct Compile<'a> {
    /// Whether unknown and not yet supported node types are problems; else the nodes are kept with a warning and
    /// cannot run. Models of foreign families are always only a warning.
    pub strict: bool,
    /// Whether a required input without a value is a problem (lint); else it is a warning, so that a graph can be
    /// saved half-finished. [`Graph::executable`] refuses to run it in any case.
    pub complete: bool,
    /// Checks configs by their schema.
    pub check_config: CheckConfig<'a>,
}

/// A valid graph, and what its author should know about it.
#[derive(Debug)]
pub struct Compiled {
    /// The graph.
    pub graph: Graph,
    /// What does not keep the graph from being saved; at most [`GRAPH_PROBLEMS_MAX`].
    pub warnings: Vec<Problem>,
    /// What was read in another way than it is written; at most [`GRAPH_PROBLEMS_MAX`].
    pub migrations: Vec<Migration>,
}

/// A name of a foreign or older graph, and how it is read. The document keeps the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// `type-alias`, `port-alias` or `config-alias`.
    pub rule: &'static str,
    /// The node it is about.
    pub node_id: Arc<str>,
    /// The edge it is about.
    pub edge_id: Option<Arc<str>>,
    /// As the document writes it.
    pub from: String,
    /// As it is read.
    pub to: String,
}

impl Graph {
    /// Compiles a draft against the known node types. All problems are reported at once, at most
    /// [`GRAPH_PROBLEMS_MAX`]. Costs time linear in the document.
    pub fn compile(draft: &Draft, types: &TypeCatalogue, scope: Compile<'_>) -> Result<Compiled, Vec<Problem>> {
        let mut compiler = Compiler::new(draft, types, scope);
        compiler.read_policy();
        compiler.read_nodes();
        compiler.read_parents();
        let mut wires = wires::read(&mut compiler);
        let regions =
            if compiler.report_cycles(&wires) { Vec::new() } else { lift::compile_away(&mut compiler, &mut wires) };
        let count = compiler.running.len() + regions.len();
        let (by_target, in_offsets) = order::by_target(&wires, count);
        let (by_source, out_offsets) = order::by_source(&wires, count);
        compiler.report_crowded_inputs(&by_target, &in_offsets);
        let paths = compiler.paths_of_controls();
        let fallbacks = fallback::collect(&mut compiler);
        let mut nodes = compiler.build_nodes(&by_target, &in_offsets);
        nodes.extend(regions.into_iter().map(lift::Region::into_node));
        let out_edges: Vec<OutEdge> = by_source.iter().map(|wire| compiler.out_edge(wire)).collect();
        let bodies = place(&mut nodes, &compiler.nesting, &out_edges);
        let mut by_id: Vec<NodeIx> = (0..nodes.len()).map(|ix| NodeIx(ix as u32)).collect();
        by_id.retain(|ix| !nodes[ix.0 as usize].is_anonymous);
        by_id.sort_by(|a, b| nodes[a.0 as usize].id.cmp(&nodes[b.0 as usize].id));
        let mut graph = Graph {
            digest: draft.stored().digest(),
            nodes,
            in_edges: by_target.iter().map(Into::into).collect(),
            in_offsets,
            out_edges,
            out_offsets,
            by_id,
            bodies,
            decides_on_values: false,
            keep_runs_days: compiler.of_runs.keep_runs_days,
            deadline: compiler.workflow.deadline_ms.map(Span::from_millis),
            identities: OnceLock::new(),
        };
        let path_of = |ix: NodeIx| paths.get(&ix).cloned().unwrap_or_default();
        logic::read(&mut graph, &path_of, &mut |problem| compiler.problems.push(problem));
        fallback::read(&mut compiler, &mut graph, fallbacks);
        compiler.report_missing_inputs(&graph);
        scope::without_results(&graph).for_each(|(ix, problem)| compiler.warnings.push(problem.at(path_of(ix))));
        review::failing_rejections(&graph).for_each(|(ix, problem)| compiler.warnings.push(problem.at(path_of(ix))));
        compiler.problems.tell_configs_once();
        let Compiler { problems, warnings, migrations, .. } = compiler;
        problems.into_result(Compiled { graph, warnings: warnings.into_list(), migrations })
    }
}

/// A node that runs, while it is compiled.
pub(super) struct Running<'a> {
    pub(super) draft: &'a DraftNode,
    /// `/nodes/3`
    pub(super) path: String,
    pub(super) data: Vec<Member<'a>>,
    pub(super) type_id: Arc<str>,
    /// `None` iff nobody offers it.
    pub(super) node_type: Option<Arc<NodeType>>,
    pub(super) runner: Runner,
    /// Its own policy.
    pub(super) own: PolicyDraft,
    /// Its policy over all defaults.
    pub(super) policy: Policy,
    /// Whether its last output is the one that its policy adds: an edge must name it.
    pub(super) has_error_output: bool,
}

/// What an id of the document stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Runs(NodeIx),
    /// A note or a group.
    NeverRuns,
    /// A problem was reported for it already.
    Broken,
}

/// What the ids stand for, ordered by a hash: comparing numbers is faster than comparing ids that begin alike.
#[derive(Default)]
pub(super) struct Places<'a>(BTreeMap<(u64, &'a str), Place>);

impl<'a> Places<'a> {
    pub(super) fn get(&self, id: &str) -> Option<Place> {
        self.0.get(&(fnv_1a(id), id)).copied()
    }

    fn insert(&mut self, id: &'a str, place: Place) {
        self.0.insert((fnv_1a(id), id), place);
    }
}

fn fnv_1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

pub(super) struct Compiler<'a> {
    pub(super) draft: &'a Draft,
    pub(super) types: &'a TypeCatalogue,
    scope: Compile<'a>,
    workflow: PolicyDraft,
    of_runs: RunPolicy,
    pub(super) running: Vec<Running<'a>>,
    pub(super) places: Places<'a>,
    pub(super) nesting: Nesting,
    pub(super) problems: Problems,
    warnings: Problems,
    migrations: Vec<Migration>,
    /// Once a node has asked.
    handles: OnceLock<invoke::Handles<'a>>,
}

impl<'a> Compiler<'a> {
    fn new(draft: &'a Draft, types: &'a TypeCatalogue, scope: Compile<'a>) -> Self {
        Self {
            draft,
            types,
            scope,
            workflow: PolicyDraft::default(),
            of_runs: RunPolicy::default(),
            running: Vec::with_capacity(draft.nodes.len()),
            places: Places::default(),
            nesting: Nesting::default(),
            problems: Problems::default(),
            warnings: Problems::default(),
            migrations: Vec::new(),
            handles: OnceLock::new(),
        }
    }

    pub(super) fn migrate(&mut self, migration: Migration) {
        if self.migrations.len() < GRAPH_PROBLEMS_MAX {
            self.migrations.push(migration);
        }
    }

    fn read_policy(&mut self) {
        if let Some(policy) = self.draft.policy() {
            let problems = &mut self.problems;
            (self.workflow, self.of_runs) =
                policies::of_workflow(policy, "/policy", &mut |problem| problems.push(problem));
        }
    }

    fn read_nodes(&mut self) {
        let mut lookup = kinds::Lookup::new(self.types, self.draft);
        for (place, node) in self.draft.nodes.iter().enumerate() {
            let path = format!("/nodes/{place}");
            if self.places.get(&node.id).is_some() {
                let message = format!("Two nodes have the id \"{}\".", node.id);
                let problem = Problem::new(rule::DUPLICATE_ID, message, "Give each node an id of its own.");
                self.problems.push(problem.node(&node.id).at(path + "/id"));
                continue;
            }
            let place = self.read_node(node, path, &mut lookup);
            self.places.insert(&node.id, place);
        }
    }

    /// Finds for each node the container that it lies in; plain groups are looked through.
    fn read_parents(&mut self) {
        // As many plain groups inside each other as anybody draws.
        const GROUPS_MAX: usize = 64;
        self.nesting.within = vec![None; self.running.len()];
        for running in &self.running {
            let Some(parent) = running.draft.parent.as_deref() else { continue };
            let place = self.places.get(parent);
            let is_inside = match place {
                // Of a type that is not known nobody can say.
                Some(Place::Runs(ix)) => self.is_container(ix) || self.running[ix.0 as usize].node_type.is_none(),
                Some(_) => true,
                None => false,
            };
            if !is_inside {
                let problem = scope::unknown_parent(&running.draft.id, parent, place.is_some());
                self.warnings.push(problem.node(&running.draft.id).at(format!("{}/parentId", running.path)));
            }
        }
        if !self.running.iter().any(|node| matches!(node.runner, Runner::Control(control) if control.is_container())) {
            return;
        }
        let parents = scope::parents(self.draft);
        for place in 0..self.running.len() {
            let mut next = parents.get(&*self.running[place].draft.id).copied();
            for _ in 0..GROUPS_MAX {
                let Some(parent) = next else { break };
                let container = match self.places.get(parent) {
                    Some(Place::Runs(ix)) => Some(ix),
                    _ => None,
                };
                if let Some(container) = container.filter(|ix| self.is_container(*ix)) {
                    self.nesting.within[place] = Some(container);
                    break;
                }
                next = parents.get(parent).copied();
            }
        }
        for (place, running) in self.running.iter().enumerate() {
            if self.nesting.around(NodeIx(place as u32)).count() > SCOPE_NESTING_MAX {
                let message = format!(
                    "Node \"{}\" lies inside more than {SCOPE_NESTING_MAX} maps and loops, or in a circle of them.",
                    shown(&running.draft.id)
                );
                let problem = Problem::new(rule::LIMITS, message, "Nest them less deeply; correct parentId.");
                self.problems.push(problem.node(&running.draft.id).at(format!("{}/parentId", running.path)));
            }
        }
    }

    fn is_container(&self, ix: NodeIx) -> bool {
        matches!(self.running[ix.0 as usize].runner, Runner::Control(control) if control.is_container())
    }

    /// An edge as its source sees it.
    fn out_edge(&self, wire: &Wire) -> OutEdge {
        let settles = match self.nesting.crossing(wire.source, wire.target) {
            Some(Crossing::None) => self.nesting.beside(wire.source, wire.target),
            _ => None,
        };
        order::out_edge(wire, settles)
    }

    fn read_node(&mut self, node: &'a DraftNode, path: String, lookup: &mut kinds::Lookup<'a>) -> Place {
        let data: Vec<_> = node.data().collect();
        let (type_id, node_type, runner) = match lookup.kind(node, &data) {
            Kind::NeverRuns => return Place::NeverRuns,
            Kind::Known { node_type, runner, written } => {
                if written != *node_type.id {
                    self.migrate(Migration {
                        rule: "type-alias",
                        node_id: node.id.clone(),
                        edge_id: None,
                        from: written,
                        to: node_type.id.to_string(),
                    });
                }
                (node_type.id.clone(), Some(node_type), runner)
            }
            Kind::Unknown { problem, key, is_foreign, written } => {
                let problem = problem.node(&node.id).at(path.clone() + key);
                if self.scope.strict && !is_foreign {
                    self.problems.push(problem);
                    return Place::Broken;
                }
                self.warnings.push(problem);
                (Arc::from(written), None, Runner::Unavailable)
            }
            Kind::Untyped(problem) => {
                self.problems.push(problem.node(&node.id).at(path));
                return Place::Broken;
            }
        };
        let node_type = node_type.map(|node_type| match runner {
            Runner::Control(Control::Invoke) => {
                let handles = self.handles.get_or_init(|| invoke::Handles::of(self.draft));
                handles.shaped(&node.id, &node_type, &data)
            }
            _ => shaped(node_type, runner, &data),
        });
        let problems = &mut self.problems;
        let own = policies::own(&data, &path, &mut |problem| problems.push(problem.node(&node.id)));
        let policy = self.defaults().with(node_type.as_deref(), &own);
        for (field, problem) in policies::misplaced((&type_id, runner), &own, &policy) {
            self.problems.push(problem.node(&node.id).at(format!("{path}/data/policy/{field}")));
        }
        let (node_type, has_error_output) = match (node_type, policy.on_error) {
            (Some(node_type), OnError::Continue) => {
                if !policies::takes_error(&node_type) {
                    let message = format!("policy: {} has an output \"error\" that takes no JSON.", node_type.id);
                    let problem = Problem::new(rule::BAD_POLICY, message, "Choose another onError.");
                    self.problems.push(problem.node(&node.id).at(format!("{path}/data/policy/onError")));
                }
                let (node_type, is_added) = policies::with_error_output(node_type);
                (Some(node_type), is_added)
            }
            (node_type, _) => (node_type, false),
        };
        let running = Running { draft: node, path, data, type_id, node_type, runner, own, policy, has_error_output };
        self.running.push(running);
        Place::Runs(NodeIx(self.running.len() as u32 - 1))
    }

    /// What counts where a node's own policy says nothing.
    pub(super) fn defaults(&self) -> Defaults<'_> {
        Defaults { server: self.types.policy(), workflow: &self.workflow }
    }

    /// Whether unknown types are problems.
    pub(super) fn is_strict(&self) -> bool {
        self.scope.strict
    }

    /// Keeps what does not keep the graph from being saved.
    pub(super) fn warn(&mut self, warning: Problem) {
        self.warnings.push(warning);
    }

    /// What a config lacks by its type's schema.
    pub(super) fn check_config(&self, node_type: &NodeType, config: &str) -> Vec<ConfigFault> {
        (self.scope.check_config)(node_type, config)
    }

    /// The places of the nodes that the core evaluates itself.
    fn paths_of_controls(&self) -> BTreeMap<NodeIx, String> {
        let controls = self.running.iter().zip(0..).filter(|(node, _)| matches!(node.runner, Runner::Control(_)));
        controls.map(|(node, ix)| (NodeIx(ix), node.path.clone())).collect()
    }

    fn report_crowded_inputs(&mut self, by_target: &[Wire], offsets: &[u32]) {
        for (running, bounds) in self.running.iter().zip(offsets.windows(2)) {
            let Some(node_type) = &running.node_type else { continue };
            let mut fed = vec![false; node_type.inputs.len()];
            for wire in &by_target[bounds[0] as usize..bounds[1] as usize] {
                let port = usize::from(wire.input.port.0);
                if std::mem::replace(&mut fed[port], true) && !node_type.inputs[port].list {
                    let id = &node_type.inputs[port].id;
                    let message = format!("Several edges end at \"in-{id}\" of node \"{}\".", running.draft.id);
                    let problem = Problem::new(rule::TOO_MANY_EDGES, message, "Keep one of them: it takes one value.");
                    let edge = &self.draft.edges[wire.place as usize];
                    let path = format!("/edges/{}", wire.place);
                    self.problems.push(problem.node(&running.draft.id).edge(edge.id.as_ref()).at(path));
                }
            }
        }
    }

    /// Whether there are circles. An edge into a body counts as one to the container around it.
    fn report_cycles(&mut self, wires: &[Wire]) -> bool {
        const CYCLES_MAX: usize = 20;
        const NAMES_MAX: usize = 20;
        let beside = wires.iter().filter_map(|wire| Some(Wire { target: self.out_edge(wire).settles?, ..*wire }));
        let (by_source, offsets) = order::by_source(&beside.collect::<Vec<_>>(), self.running.len());
        let cycles = order::cycles(&by_source, &offsets, CYCLES_MAX);
        for cycle in &cycles {
            let id = |ix: &NodeIx| &self.running[ix.0 as usize].draft.id;
            let mut names: Vec<_> = cycle.iter().take(NAMES_MAX).map(|ix| shown(id(ix))).collect();
            if cycle.len() > NAMES_MAX {
                names.push(format!("… ({} more)", cycle.len() - NAMES_MAX));
            }
            let message = format!("Edges run in a circle: {} → {}.", names.join(" → "), shown(id(&cycle[0])));
            let fix = "Take one of the edges out; a graph runs from left to right.";
            self.problems.push(Problem::new(rule::CYCLE, message, fix).node(id(&cycle[0])));
        }
        !cycles.is_empty()
    }

    fn build_nodes(&mut self, by_target: &[Wire], offsets: &[u32]) -> Vec<Node> {
        let running = std::mem::take(&mut self.running);
        let wired = |bounds: &[u32]| by_target[bounds[0] as usize..bounds[1] as usize].iter().map(|wire| wire.input);
        let nodes = running.into_iter().zip(offsets.windows(2));
        nodes.map(|(running, bounds)| self.build_node(running, &wired(bounds).collect::<Vec<_>>())).collect()
    }

    fn build_node(&mut self, running: Running<'_>, wired: &[Found]) -> Node {
        let id = &running.draft.id;
        let find = |key: &str| running.data.iter().find(|member| member.key == key).map(|member| member.value);
        let label = find("label").and_then(Json::as_text).filter(|label| !label.is_empty());
        let mut node = Node {
            id: id.clone(),
            label: label.map_or_else(|| id.clone(), Arc::from),
            type_id: running.type_id,
            node_type: None,
            runner: running.runner,
            config: Bytes::from_static(b"{}"),
            constants: Vec::new(),
            effect: EffectClass::Pure,
            policy: running.policy,
            logic: None,
            within: None,
            place: 0,
            waits_for: 0,
            doors: match running.runner {
                Runner::Control(control) => containers::doors(control),
                Runner::Agent | Runner::Unavailable => None,
            },
            is_anonymous: false,
            fallback: Vec::new(),
            is_reviewed: false,
            error_port: None,
        };
        let problems = &mut self.problems;
        let mut report = |problem: Problem| problems.push(problem.node(id));
        let Some(node_type) = running.node_type else {
            // What nobody knows yet has no place for secrets either.
            for level in ["config", "params"] {
                let found =
                    find(level).map(|value| super::secrets::find(value, &format!("{}/data/{level}", running.path)));
                found.into_iter().flatten().for_each(&mut report);
            }
            return node;
        };
        for level in ["config", "params"] {
            if let Some(value) = find(level).filter(|value| !value.is_null() && !value.is_object()) {
                let message = format!("{level} is {}, not an object.", shown(value.0));
                let problem = Problem::new(rule::BAD_CONFIG, message, format!("Write {level} as an object."));
                report(problem.at(format!("{}/data/{level}", running.path)));
            }
        }
        let carried = Carried::collect(&node_type, &running.data, &running.path);
        let config = carried.config(&mut report);
        super::secrets::find(Json(&config), &format!("{}/data/config", running.path)).into_iter().for_each(&mut report);
        node.effect = effect_of(&node_type, &config, &running.path, &mut report);
        node.constants = match running.runner {
            Runner::Control(Control::Invoke) => invoke::unwired(&node_type, &running.data, wired),
            _ => carried.constants(&node_type, wired, &mut report),
        };
        if running.runner == Runner::Control(Control::Wait)
            && let Err(message) = super::wait::Pause::read(Json(&config))
        {
            let fix = "Write for as milliseconds, \"5s\" or \"PT5S\", or until as an RFC 3339 time, or as a local one with timezone.";
            report(Problem::new(rule::BAD_CONFIG, message, fix).at(running.path.clone() + "/data/config"));
        }
        for fault in (self.scope.check_config)(&node_type, &config) {
            let canonical = format!("{}/data/config{}", running.path, fault.place);
            self.problems.push_of_schema(carried.problem(fault).node(id), canonical);
        }
        config_keys::report_unknown(&node_type, id, &running.data, &running.path, &mut self.warnings);
        for (from, to) in &carried.aliases {
            let (from, to) = (from.clone(), to.clone());
            self.migrate(Migration { rule: "config-alias", node_id: id.clone(), edge_id: None, from, to });
        }
        node.config = config.into();
        let error_output = node_type.output(policies::ERROR_OUTPUT).map(|(port, _)| port);
        node.error_port = error_output.filter(|_| node.policy.on_error == OnError::Continue);
        node.node_type = Some(node_type);
        if let Err(message) = super::inputs::check_in_graph(&node) {
            let problem = Problem::new(rule::BAD_CONFIG, message, "Correct the value, or the bounds beside it.");
            self.problems.push(problem.node(id).at(running.path.clone() + "/data/config"));
        }
        node
    }

    fn report_missing_inputs(&mut self, graph: &Graph) {
        for (ix, _) in graph.nodes() {
            for problem in graph.missing_inputs(ix) {
                if self.scope.complete { self.problems.push(problem) } else { self.warnings.push(problem) }
            }
        }
    }
}

/// Gives each node its place, and says what lies inside which container.
fn place(nodes: &mut [Node], nesting: &Nesting, out_edges: &[OutEdge]) -> BTreeMap<NodeIx, Vec<NodeIx>> {
    let mut bodies: BTreeMap<NodeIx, Vec<NodeIx>> = BTreeMap::new();
    for (node, ix) in nodes.iter_mut().zip((0..).map(NodeIx)) {
        node.within = nesting.within[ix.0 as usize];
        node.place = match node.within {
            None => ix.0,
            Some(container) => {
                let body = bodies.entry(container).or_default();
                body.push(ix);
                body.len() as u32 - 1
            }
        };
    }
    for settled in out_edges.iter().filter_map(|edge| edge.settles) {
        nodes[settled.0 as usize].waits_for += 1;
    }
    bodies
}

/// The type of one node: a switch has an output for each of its cases, and some configs say what is a list.
fn shaped(node_type: Arc<NodeType>, runner: Runner, data: &[Member<'_>]) -> Arc<NodeType> {
    let Runner::Control(control) = runner else { return node_type };
    let read = |key: &str| setting(data, key);
    let own = match branch::cases_key(control) {
        Some(key) => branch::shaped(control, &node_type, read(key).as_ref()),
        None => lists::shaped(control, &node_type, read),
    };
    own.unwrap_or(node_type)
}

/// What a node's config says under a key, as far as that can be read before the config is.
fn setting(data: &[Member<'_>], key: &str) -> Option<serde_json::Value> {
    let of = |level: &str| data.iter().find(|member| member.key == level).map(|member| member.value);
    let value = of("config").and_then(|config| config.get(key));
    let value = value.or_else(|| of("params").and_then(|params| params.get(key))).or_else(|| of(key));
    value.and_then(|value| serde_json::from_str(value.0).ok())
}

/// A text without its quotes; anything else as it is written.
fn text_of(value: Json<'_>) -> String {
    value.as_text().map_or_else(|| value.0.to_owned(), |text| text.into_owned())
}

/// The effect class: of the type, unless its rules or, for debug types, the config itself say otherwise.
pub(super) fn effect_of(
    node_type: &NodeType,
    config: &str,
    path: &str,
    report: &mut dyn FnMut(Problem),
) -> EffectClass {
    let Some(value) = Json(config).get("effect").filter(|_| node_type.effect_from_config) else {
        let text = |key: &str| Json(config).get(key).filter(|value| !value.is_null()).map(text_of);
        let rule = node_type.effect_rules.iter().find(|rule| rule.fits(text(&rule.key).as_deref()));
        return rule.map_or(node_type.effect, |rule| rule.effect);
    };
    serde_json::from_str(value.0).unwrap_or_else(|_| {
        let message = format!("{} is no effect class.", shown(value.0));
        let fix = "Write \"pure\", \"keyed\", \"pollable\" or \"blind\".";
        report(Problem::new(rule::BAD_CONFIG, message, fix).at(format!("{path}/data/config/effect")));
        node_type.effect
    })
}
