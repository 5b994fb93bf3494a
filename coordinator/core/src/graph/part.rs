//! Which part of a graph a run covers, and whether that part can run (graph.md, part 8).

use std::collections::BTreeMap;

use super::problem::{Problem, Problems, rule};
use super::{Graph, Node, ScopeKind};
use crate::condition::{Condition, Need};
use crate::id::{NodeIx, PortIx};
use crate::node_type::Runner;

impl Graph {
    /// The nodes that a run covers, sorted: all of them, or what leads up to and with `target`. Refuses a part that
    /// cannot run: an unknown target, a node whose type nobody offers here, a required input without a value. What lies
    /// outside the part does not matter.
    pub fn executable(&self, target: Option<&str>) -> Result<Vec<NodeIx>, Vec<Problem>> {
        let part = match target {
            None => self.nodes().map(|(ix, _)| ix).collect(),
            Some(id) => {
                let target = self.find(id).ok_or_else(|| vec![self.unknown_target(id)])?;
                self.closure(target)
            }
        };
        self.can_execute(&part, &[])?;
        Ok(part)
    }

    /// Refuses a part of the graph that cannot run. What gives something already need not be able to.
    pub fn can_execute(&self, part: &[NodeIx], known: &[NodeIx]) -> Result<(), Vec<Problem>> {
        let mut problems = Problems::default();
        for ix in part.iter().filter(|ix| !known.contains(ix)) {
            let node = self.node(*ix);
            if node.runner == Runner::Unavailable {
                problems.push(unavailable(node, &node.type_id));
            }
            for provider in node.fallback.iter().filter(|provider| provider.node_type.is_none()) {
                problems.push(unavailable(node, &provider.type_id));
            }
            for problem in self.missing_inputs(*ix) {
                problems.push(problem);
            }
        }
        problems.into_result(())
    }

    /// The outputs of a container of which a run of a part never knows what they give, since it leaves out what in the body leads
    /// to them; none if it covers the whole body. A loop or a reduce has all of them or none: without them nobody knows what its
    /// next turn goes on from, or whether there is one.
    pub(crate) fn unanswered(&self, container: NodeIx, covers: &dyn Fn(NodeIx) -> bool) -> Vec<PortIx> {
        let Some(scope) = self.scope(container) else { return Vec::new() };
        if self.all_inside(container).into_iter().all(covers) {
            return Vec::new();
        }
        // Containers inside may be asked for several of their outputs.
        let mut inside: BTreeMap<NodeIx, Vec<PortIx>> = BTreeMap::new();
        let mut is_missing = |node: NodeIx, port: Option<PortIx>| {
            if !covers(node) || port.is_some_and(|port| self.is_inner_output(node, port)) {
                return !covers(node);
            }
            let unanswered = inside.entry(node).or_insert_with(|| self.unanswered(node, covers));
            port.map_or(!unanswered.is_empty(), |port| unanswered.contains(&port))
        };
        if !matches!(scope.kind, ScopeKind::Loop { .. } | ScopeKind::Reduce) {
            let mut is_left_out = |input: PortIx| {
                let mut edges = self.in_edges(container).iter().filter(|edge| edge.target_port == input);
                edges.any(|edge| is_missing(edge.source, Some(edge.source_port)))
            };
            let results = scope.results.iter().filter(|(input, _)| is_left_out(*input));
            return results.map(|(_, list)| *list).collect();
        }
        let results = self.result_edges(container).map(|edge| (edge.source, Some(edge.source_port)));
        let looked_at = scope.conditions().flat_map(Condition::needs).filter_map(|need| match *need {
            Need::Input(_) => None,
            Need::Node(node) => Some((NodeIx(node), None)),
            Need::Output(node, port) => Some((NodeIx(node), Some(PortIx(port)))),
        });
        match results.chain(looked_at).any(|(node, port)| is_missing(node, port)) {
            true => self.outer_outputs(container).map(|(port, _)| port).collect(),
            false => Vec::new(),
        }
    }

    /// A problem for each required input that neither an edge nor a value feeds.
    pub(super) fn missing_inputs(&self, ix: NodeIx) -> impl Iterator<Item = Problem> {
        let node = self.node(ix);
        let ports = node.node_type.iter().flat_map(|node_type| node_type.inputs.iter().enumerate());
        let missing = ports.filter(move |(place, port)| {
            let is_fed = self.in_edges(ix).iter().any(|edge| usize::from(edge.target_port.0) == *place)
                || node.constants.iter().any(|(port, _)| usize::from(port.0) == *place);
            port.required && !is_fed
        });
        missing.map(|(_, port)| {
            let message = format!("Node \"{}\" needs a value for \"{}\".", node.label, port.id);
            let fix = format!("Join an edge to \"in-{}\", or set it in data.config.", port.id);
            Problem::new(rule::MISSING_REQUIRED_INPUT, message, fix).node(&node.id)
        })
    }

    /// What is wrong with a target that is no node of the graph.
    pub fn unknown_target(&self, id: &str) -> Problem {
        self.unknown_node(id).at("/targetNodeId")
    }
}

fn unavailable(node: &Node, type_id: &str) -> Problem {
    let message = format!("Nothing here can run node \"{}\": no agent offers \"{type_id}\".", node.label);
    let fix = "Start an agent that offers the type, or choose another type.";
    Problem::new(rule::NODE_TYPE_UNAVAILABLE, message, fix).node(&node.id)
}
