//! Lifting (graph.md, part 1): a node that takes one item and is given a list runs once per item, and so does what follows
//! from it. Compiled away: a maximal region of lifted nodes with the same origins, which items lead through, becomes the body
//! of a map that no document names (E20). An input that takes a list ends the region. What passes its value on gives a list if it
//! is given one, so that a branch between a list and a node changes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::compile::Compiler;
use super::order::Wire;
use super::ports::{Found, NO_PLACE, Side, takes_whole_lists, type_name};
use super::problem::{Problem, rule, shown};
use super::scope::{Crossing, Scope, ScopeKind};
use super::{Graph, InEdge, Logic, Node};
use crate::control_types::scope::Doors;
use crate::id::{NodeIx, PortIx};
use crate::limits;
use crate::node_type::{Control, EffectClass, NodeType, Port, PortType, Runner};
use crate::policy::Policy;

/// An output that a list comes out of.
type Origin = (NodeIx, PortIx);

/// Lifted nodes that run together, item by item.
pub(super) struct Region {
    within: Option<NodeIx>,
    /// The lists that are gone through, in the order of their first mention.
    origins: Vec<Origin>,
    /// Paths that lead out of a region and back would make a circle: a node after such a path has a higher rank.
    rank: u32,
    nodes: Vec<NodeIx>,
    /// The places of those lists that some node cannot do without.
    needed: BTreeSet<usize>,
    /// Outputs of its nodes that others take as lists.
    exports: Vec<Origin>,
}

/// Puts lifted nodes into regions, appends their containers to the nesting and leads the wires through them.
pub(super) fn compile_away(compiler: &mut Compiler<'_>, wires: &mut Vec<Wire>) -> Vec<Region> {
    if !wires.iter().any(|wire| gives_list(compiler, wire)) {
        return Vec::new();
    }
    let mut finder = Finder::new(compiler, wires);
    for target in finder.in_order() {
        finder.place(target);
    }
    let Finder { regions, mut of_node, lists_of_lists, .. } = finder;
    let regions = fall_apart(compiler, wires, regions, &mut of_node);
    for wire in lists_of_lists {
        let wire = &wires[wire];
        let edge = &compiler.draft.edges[wire.place as usize];
        let running = |node: NodeIx| &compiler.running[node.0 as usize];
        let (from, to) = (running(wire.source), running(wire.target));
        let (source, target) = (shown(&from.draft.id), shown(&to.draft.id));
        let types = from.node_type.as_deref().map(Side::outputs).zip(to.node_type.as_deref().map(Side::inputs));
        let Some((outputs, inputs)) = types else { continue };
        let (output, input) = (outputs.port(wire.output.port), inputs.port(wire.input.port));
        let message = format!(
            "\"out-{}\" of node \"{source}\" gives {} for each item of a list, but \"in-{}\" of node \"{target}\" takes {}: \
             lists of lists are not gone through by themselves.",
            output.id,
            type_name(output),
            input.id,
            type_name(input)
        );
        let fix = format!(
            "Put \"{source}\" and \"{target}\" into the body of a logic:map over the list: there \"{target}\" runs once for each \
             item of what \"{source}\" gives."
        );
        let problem = Problem::new(rule::TYPE_MISMATCH, message, fix).node(&to.draft.id);
        compiler.problems.push(problem.edge(edge.id.as_ref()).at(format!("/edges/{}/target", wire.place)));
    }
    lead_through(compiler, wires, regions, &of_node)
}

struct Finder<'a, 'b> {
    compiler: &'a mut Compiler<'b>,
    wires: &'a [Wire],
    /// Wires by target.
    into: Vec<Vec<usize>>,
    regions: Vec<Region>,
    of_node: Vec<Option<usize>>,
    rank: Vec<u32>,
    lists_of_lists: Vec<usize>,
    /// Types of nodes that pass a list on, by where the type lies and whether an output for errors was added to it.
    passing: BTreeMap<(*const NodeType, bool), Arc<NodeType>>,
    /// Regions by where they lie and the lists that they go through.
    by_origins: BTreeMap<(Option<NodeIx>, Vec<Origin>), Vec<usize>>,
}

impl<'a, 'b> Finder<'a, 'b> {
    fn new(compiler: &'a mut Compiler<'b>, wires: &'a [Wire]) -> Self {
        let nodes = compiler.running.len();
        let mut into = vec![Vec::new(); nodes];
        for (place, wire) in wires.iter().enumerate() {
            into[wire.target.0 as usize].push(place);
        }
        let (of_node, rank, lists_of_lists) = (vec![None; nodes], vec![0; nodes], Vec::new());
        let (regions, by_origins, passing) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { compiler, wires, into, regions, of_node, rank, passing, lists_of_lists, by_origins }
    }

    fn crossing(&self, wire: &Wire) -> Option<Crossing> {
        self.compiler.nesting.crossing(wire.source, wire.target)
    }

    /// All nodes, each after those that it hangs on; a container after its body.
    fn in_order(&self) -> Vec<NodeIx> {
        let mut after: Vec<Vec<u32>> = vec![Vec::new(); self.rank.len()];
        let mut left = vec![0u32; self.rank.len()];
        let mut edge = |source: NodeIx, target: NodeIx| {
            after[source.0 as usize].push(target.0);
            left[target.0 as usize] += 1;
        };
        for wire in self.wires {
            // What an item is comes from outside, through its container's other edges.
            if self.crossing(wire) != Some(Crossing::Item) {
                edge(wire.source, wire.target);
            }
        }
        for (place, within) in self.compiler.nesting.within.iter().enumerate() {
            within.iter().for_each(|container| edge(NodeIx(place as u32), *container));
        }
        let mut open: VecDeque<u32> = (0..left.len() as u32).filter(|ix| left[*ix as usize] == 0).collect();
        let mut order = Vec::with_capacity(left.len());
        while let Some(ix) = open.pop_front() {
            order.push(NodeIx(ix));
            for next in &after[ix as usize] {
                left[*next as usize] -= 1;
                if left[*next as usize] == 0 {
                    open.push_back(*next);
                }
            }
        }
        order
    }

    /// The region that the source of a wire is in, where the target lies beside it.
    fn region_beside(&self, wire: &Wire) -> Option<usize> {
        let within = &self.compiler.nesting.within;
        let is_beside = within[wire.source.0 as usize] == within[wire.target.0 as usize];
        self.of_node[wire.source.0 as usize].filter(|_| is_beside)
    }

    /// Whether the target of a wire runs once for each item of what it brings.
    fn does_lift(&self, wire: &Wire) -> bool {
        wire.lifts || takes_one(self.compiler, wire) && self.brings_list(wire)
    }

    /// Whether a wire brings a list, as the graph says by itself.
    fn brings_list(&self, wire: &Wire) -> bool {
        gives_list(self.compiler, wire) || self.of_node[wire.source.0 as usize].is_some()
    }

    /// Whether all that comes to a node's first input are lists, and it passes them on.
    fn does_pass_list(&self, node: NodeIx) -> bool {
        let running = &self.compiler.running[node.0 as usize];
        let Runner::Control(control) = running.runner else { return false };
        let wires = self.into[node.0 as usize].iter().map(|wire| &self.wires[*wire]);
        let mut brought =
            wires.filter(|wire| wire.input.port == PortIx(0)).map(|wire| self.brings_list(wire)).peekable();
        control.passes_on() && brought.peek().is_some() && brought.all(|is_list| is_list)
    }

    /// A node that passes a list on gives lists: its type says so.
    fn pass_list(&mut self, node: NodeIx) {
        let running = &mut self.compiler.running[node.0 as usize];
        let Some(node_type) = running.node_type.as_mut() else { return };
        let (is_race, has_error_output) = (running.runner == Runner::Control(Control::Race), running.has_error_output);
        let shape = |node_type: &Arc<NodeType>| {
            let mut own = NodeType::clone(node_type);
            let values = if is_race { 1 } else { own.outputs.len() - usize::from(has_error_output) };
            own.outputs.iter_mut().take(values).for_each(|port| port.list = true);
            Arc::new(own)
        };
        let passing = self.passing.entry((Arc::as_ptr(node_type), has_error_output));
        *node_type = Arc::clone(passing.or_insert_with(|| shape(node_type)));
    }

    /// Finds out whether a node is lifted, and where it belongs.
    fn place(&mut self, target: NodeIx) {
        if self.does_pass_list(target) {
            self.pass_list(target);
        }
        let wires: Vec<usize> = self.into[target.0 as usize].clone();
        let lifting: Vec<usize> = wires.iter().copied().filter(|wire| self.does_lift(&self.wires[*wire])).collect();
        let mut inside: Vec<usize> = lifting.iter().filter_map(|wire| self.region_beside(&self.wires[*wire])).collect();
        inside.dedup();
        let origins: Vec<Origin> = lifting
            .iter()
            .map(|wire| &self.wires[*wire])
            .filter(|wire| self.region_beside(wire).is_none())
            .map(|wire| (wire.source, wire.output.port))
            .collect();
        // A list that comes out of a lifted node is one list for each item.
        let nested =
            |wire: &&usize| self.wires[**wire].lifts && self.of_node[self.wires[**wire].source.0 as usize].is_some();
        self.lists_of_lists.extend(lifting.iter().filter(nested).copied().collect::<Vec<_>>());
        // The body of a container counts for it.
        let body = self.compiler.nesting.within.iter().enumerate().filter(|(_, within)| **within == Some(target));
        let body = if self.is_container(target) { body.map(|(place, _)| self.rank[place]).max() } else { None };
        let rank_over = |joined: Option<usize>| {
            let rank_of = |wire: &usize| {
                let source = self.wires[*wire].source.0 as usize;
                let leaves =
                    self.of_node[source].is_some() && !(joined == self.of_node[source] && lifting.contains(wire));
                self.rank[source] + u32::from(leaves)
            };
            let wires = wires.iter().filter(|wire| self.crossing(&self.wires[**wire]) != Some(Crossing::Item));
            wires.map(rank_of).chain(body).max().unwrap_or(0)
        };
        if lifting.is_empty() {
            self.rank[target.0 as usize] = rank_over(None);
            return;
        }
        let within = self.compiler.nesting.within[target.0 as usize];
        let fits = |region: usize| {
            let it = &self.regions[region];
            let is_known = |origin| it.origins.contains(origin);
            it.within == within && origins.iter().all(is_known) && it.rank == rank_over(Some(region))
        };
        let key = (within, sorted(&origins));
        let joined = match inside[..] {
            [one] => Some(one).filter(|region| fits(*region)),
            [] => self.by_origins.get(&key).into_iter().flatten().copied().find(|region| fits(*region)),
            _ => None,
        };
        let rank = rank_over(joined);
        self.rank[target.0 as usize] = rank;
        let region = joined.unwrap_or_else(|| {
            let origins = lifting.iter().map(|wire| (self.wires[*wire].source, self.wires[*wire].output.port));
            let origins = unique(origins);
            self.by_origins.entry((within, sorted(&origins))).or_default().push(self.regions.len());
            self.regions.push(Region {
                within,
                origins,
                rank,
                nodes: Vec::new(),
                needed: BTreeSet::new(),
                exports: Vec::new(),
            });
            self.regions.len() - 1
        });
        self.regions[region].nodes.push(target);
        self.of_node[target.0 as usize] = Some(region);
    }

    fn is_container(&self, ix: NodeIx) -> bool {
        matches!(self.compiler.running[ix.0 as usize].runner, Runner::Control(control) if control.is_container())
    }
}

/// Whether the output that a wire begins at says that it is a list.
fn gives_list(compiler: &Compiler<'_>, wire: &Wire) -> bool {
    let outputs = compiler.running[wire.source.0 as usize].node_type.as_ref().map(|it| &it.outputs);
    outputs.and_then(|ports| ports.get(usize::from(wire.output.port.0))).is_some_and(|port| port.list)
}

/// Whether what a wire ends at takes one value.
fn takes_one(compiler: &Compiler<'_>, wire: &Wire) -> bool {
    let target = &compiler.running[wire.target.0 as usize];
    let port = target.node_type.as_ref().map(|it| &it.inputs[usize::from(wire.input.port.0)]);
    port.is_some_and(|port| !port.list && !takes_whole_lists(port, target.runner))
}

/// Parts of a region that no item leads between are regions of their own: what fails in one of them takes nothing from the
/// others, and nobody waits for what is none of theirs.
fn fall_apart(
    compiler: &Compiler<'_>,
    wires: &[Wire],
    regions: Vec<Region>,
    of_node: &mut [Option<usize>],
) -> Vec<Region> {
    let mut beside: BTreeMap<NodeIx, Vec<NodeIx>> = BTreeMap::new();
    let mut taken: BTreeMap<NodeIx, BTreeSet<Origin>> = BTreeMap::new();
    for wire in wires.iter().filter(|wire| takes_one(compiler, wire)) {
        let (from, to) = (of_node[wire.source.0 as usize], of_node[wire.target.0 as usize]);
        if to.is_some() && from == to {
            beside.entry(wire.source).or_default().push(wire.target);
            beside.entry(wire.target).or_default().push(wire.source);
        } else if to.is_some() {
            taken.entry(wire.target).or_default().insert((wire.source, wire.output.port));
        }
    }
    let mut parts: Vec<Region> = Vec::with_capacity(regions.len());
    for region in regions {
        let mut left: BTreeSet<NodeIx> = region.nodes.iter().copied().collect();
        for first in region.nodes {
            if !left.remove(&first) {
                continue;
            }
            let (mut nodes, mut place) = (vec![first], 0);
            while let Some(node) = nodes.get(place).copied() {
                place += 1;
                let next = beside.get(&node).into_iter().flatten().copied();
                nodes.extend(next.filter(|next| left.remove(next)));
            }
            let is_taken =
                |origin: &Origin| nodes.iter().any(|node| taken.get(node).is_some_and(|it| it.contains(origin)));
            let origins = region.origins.iter().copied().filter(is_taken).collect();
            nodes.iter().for_each(|node| of_node[node.0 as usize] = Some(parts.len()));
            let (needed, exports) = (BTreeSet::new(), Vec::new());
            parts.push(Region { within: region.within, origins, rank: region.rank, nodes, needed, exports });
        }
    }
    parts
}

fn unique(origins: impl Iterator<Item = Origin>) -> Vec<Origin> {
    let mut known = BTreeSet::new();
    origins.filter(|origin| known.insert(*origin)).collect()
}

fn sorted(origins: &[Origin]) -> Vec<Origin> {
    origins.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

fn found(port: usize) -> Found {
    Found { port: PortIx(port as u16), place: NO_PLACE, is_alias: false }
}

/// Leads the wires through the regions' containers.
fn lead_through(
    compiler: &mut Compiler<'_>,
    wires: &mut Vec<Wire>,
    mut regions: Vec<Region>,
    of_node: &[Option<usize>],
) -> Vec<Region> {
    let first = compiler.running.len();
    let container = |region: usize| NodeIx((first + region) as u32);
    for (place, region) in regions.iter().enumerate() {
        compiler.nesting.within.push(region.within);
        for node in &region.nodes {
            compiler.nesting.within[node.0 as usize] = Some(container(place));
        }
    }
    // What takes the list that a lifted node gives, takes it from the container.
    let mut exports: BTreeMap<Origin, usize> = BTreeMap::new();
    let mut export = |regions: &mut Vec<Region>, (node, port): Origin| -> Option<(NodeIx, Found)> {
        let region = of_node[node.0 as usize]?;
        let lists = regions[region].origins.len();
        let place = *exports.entry((node, port)).or_insert_with(|| {
            regions[region].exports.push((node, port));
            regions[region].exports.len() - 1
        });
        Some((container(region), found(lists + place)))
    };
    for wire in wires.iter_mut() {
        let (from, to) = (of_node[wire.source.0 as usize], of_node[wire.target.0 as usize]);
        let origin = (wire.source, wire.output.port);
        let item = to.and_then(|region| regions[region].origins.iter().position(|known| *known == origin));
        let takes_one = takes_one(compiler, wire);
        match (to, item) {
            (Some(region), Some(item)) if takes_one => {
                let target = &compiler.running[wire.target.0 as usize].node_type;
                if target.as_ref().is_some_and(|it| it.inputs[usize::from(wire.input.port.0)].required) {
                    regions[region].needed.insert(item);
                }
                (wire.source, wire.output) = (container(region), found(item));
            }
            _ if from.is_some() && from == to && takes_one => {}
            _ => {
                if let Some(list) = export(&mut regions, origin) {
                    (wire.source, wire.output) = list;
                }
            }
        }
    }
    for place in 0..regions.len() {
        for (list, origin) in regions[place].origins.clone().into_iter().enumerate() {
            let (source, output) = export(&mut regions, origin)
                .unwrap_or((origin.0, Found { port: origin.1, place: NO_PLACE, is_alias: false }));
            wires.push(Wire { place: 0, source, target: container(place), output, input: found(list), lifts: false });
        }
    }
    for (place, region) in regions.iter().enumerate() {
        for (export, (source, port)) in region.exports.iter().enumerate() {
            let output = Found { port: *port, place: NO_PLACE, is_alias: false };
            let input = found(region.origins.len() + export);
            wires.push(Wire { place: 0, source: *source, target: container(place), output, input, lifts: false });
        }
    }
    regions
}

impl Graph {
    /// The node of the document that gives what an edge brings: of what comes out of lifted nodes, that one of them.
    pub(crate) fn giver(&self, edge: &InEdge) -> NodeIx {
        let inner = self.in_edges(edge.source).iter().find(|inner| inner.target_port == edge.source_port);
        inner.filter(|_| self.node(edge.source).is_anonymous).map_or(edge.source, |inner| inner.source)
    }
}

impl Region {
    /// The container that runs it.
    pub(super) fn into_node(self) -> Node {
        let port = |id: String, list: bool| Port {
            id: id.into(),
            port_type: PortType::Any,
            list,
            required: false,
            default: None,
        };
        let (lists, results) = (self.origins.len(), self.exports.len());
        let lists_in = |ports: Vec<Port>| {
            let needed = |(place, port)| Port { required: self.needed.contains(&place), ..port };
            ports.into_iter().enumerate().map(needed).collect::<Vec<_>>()
        };
        let named = |name: &str, count: usize, list: bool| {
            (0..count).map(|place| port(format!("{name}{place}"), list)).collect::<Vec<_>>()
        };
        let node_type = NodeType {
            id: "logic:map".into(),
            version: 1,
            title: "Lifted nodes".to_owned(),
            summary: String::new(),
            // Without a list that a node needs there are no items: what runs over them is skipped. Others may be absent.
            inputs: [lists_in(named("items", lists, true)), named("result", results, false)].concat(),
            outputs: [named("item", lists, false), named("results", results, true)].concat(),
            config_schema: Some(json!({})),
            effect: EffectClass::Pure,
            effect_from_config: false,
            effect_rules: Vec::new(),
            prefetch: false,
            cancels_jobs: false,
            policy: None,
            aliases: Vec::new(),
            input_aliases: BTreeMap::new(),
            output_aliases: BTreeMap::new(),
            config_aliases: BTreeMap::new(),
            examples: Vec::new(),
        };
        let ix = |place: usize| PortIx(place as u16);
        let scope = Scope {
            kind: ScopeKind::Map { window: limits::SCOPE_WINDOW, on_item_error: None, batch: None },
            lists: (0..lists).map(|place| (ix(place), ix(place))).collect(),
            index: None,
            results: (lists..lists + results).map(|place| (ix(place), ix(place))).collect(),
            errors: None,
        };
        Node {
            id: Arc::from(""),
            label: Arc::from(""),
            type_id: Arc::clone(&node_type.id),
            node_type: Some(Arc::new(node_type)),
            runner: Runner::Control(Control::Map),
            config: Bytes::from_static(b"{}"),
            constants: Vec::new(),
            effect: EffectClass::Pure,
            policy: Policy::default(),
            logic: Some(Box::new(Logic::Scope(Box::new(scope)))),
            within: None,
            place: 0,
            waits_for: 0,
            doors: Some(Doors { inner_outputs: lists as u16, outer_inputs: lists as u16 }),
            is_anonymous: true,
            fallback: Vec::new(),
            is_reviewed: false,
            error_port: None,
        }
    }
}
