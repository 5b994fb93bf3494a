//! Maps, loops and what lifted nodes lie in: one construct (graph.md, part 5). Here is what a container does with its body,
//! and which edges may cross its border.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::draft::Draft;
use super::problem::{Problem, rule, shown};
use super::{Graph, InEdge};
use crate::condition::Condition;
use crate::control_types::scope::{Doors, result};
use crate::id::{NodeIx, PortIx};
use crate::limits;
use crate::node_type::{Control, Runner};
use crate::policy::OnItemError;

/// What a container does with its body.
#[derive(Debug)]
pub struct Scope {
    /// How its body runs.
    pub kind: ScopeKind,
    /// Inputs that bring lists, each with the output that gives their items to the body.
    pub(crate) lists: Vec<(PortIx, PortIx)>,
    /// The output that gives the item's or turn's number to the body, if anything looks at it.
    pub(crate) index: Option<PortIx>,
    /// Inputs that take what an item gives, each with the output that gives the list of all.
    pub(crate) results: Vec<(PortIx, PortIx)>,
    /// The output that lists items that failed.
    pub(crate) errors: Option<PortIx>,
}

/// How a body runs.
#[derive(Debug)]
pub enum ScopeKind {
    /// Once for each item.
    Map {
        /// Items at work at a time.
        window: u32,
        /// What a failed item does; `None`: as the policy of the node says that failed.
        on_item_error: Option<OnItemError>,
        /// So many items of the list make one.
        batch: Option<u32>,
    },
    /// No body: its items are lists of so many.
    Batch(u32),
    /// Again and again.
    Loop {
        /// Ends it, after a turn.
        until: Option<Box<Condition>>,
        /// What a turn is worth.
        score: Option<Box<Condition>>,
        /// Turns at most.
        turns_max: u32,
        /// What it gives.
        select: Select,
    },
    /// Once for each item, one after the other, with what was there before.
    Reduce,
}

/// Which turn's result a loop gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// The last one's.
    Last,
    /// The one's with the highest score, the first among equals.
    Best,
    /// All, in a list.
    All,
}

impl Scope {
    /// Its conditions: `until`, then `score`.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &Condition> + Clone {
        let (until, score) = match &self.kind {
            ScopeKind::Loop { until, score, .. } => (until.as_deref(), score.as_deref()),
            _ => (None, None),
        };
        [until, score].into_iter().flatten()
    }

    /// How many items of the list make one.
    pub(crate) fn batch(&self) -> Option<u32> {
        match self.kind {
            ScopeKind::Map { batch, .. } => batch,
            ScopeKind::Batch(size) => Some(size),
            ScopeKind::Loop { .. } | ScopeKind::Reduce => None,
        }
    }

    /// Items or turns that may be open at a time.
    pub(crate) fn window(&self) -> u32 {
        match self.kind {
            ScopeKind::Map { window, .. } => window,
            ScopeKind::Batch(_) => limits::SCOPE_WINDOW,
            ScopeKind::Loop { .. } | ScopeKind::Reduce => 1,
        }
    }
}

/// How an edge goes with the borders of containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crossing {
    /// Beside each other, or from outside into a body.
    None,
    /// From a container to a node inside it: what the item is.
    Item,
    /// From a node to the container around it: what the item gives.
    Result,
}

/// Where nodes lie, while a graph is compiled.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    /// By node index: the container around it.
    pub(super) within: Vec<Option<NodeIx>>,
}

impl Nesting {
    /// The containers around a node, the innermost first. Ends also where parents run in a circle.
    pub(super) fn around(&self, node: NodeIx) -> impl Iterator<Item = NodeIx> {
        let mut next = self.within.get(node.0 as usize).copied().flatten();
        std::iter::from_fn(move || {
            let here = next?;
            next = self.within.get(here.0 as usize).copied().flatten();
            Some(here)
        })
        .take(limits::SCOPE_NESTING_MAX + 1)
    }

    /// Whether `container` is around `node`.
    pub(super) fn is_around(&self, container: NodeIx, node: NodeIx) -> bool {
        self.around(node).any(|around| around == container)
    }

    /// What stands for `node` beside `beside`: itself, or the container that it lies in.
    pub(super) fn beside(&self, beside: NodeIx, node: NodeIx) -> Option<NodeIx> {
        let level = self.within.get(beside.0 as usize).copied().flatten();
        std::iter::once(node)
            .chain(self.around(node))
            .find(|it| self.within.get(it.0 as usize).copied().flatten() == level)
    }

    /// How an edge crosses borders; `None` if it must not.
    pub(super) fn crossing(&self, source: NodeIx, target: NodeIx) -> Option<Crossing> {
        if self.is_around(source, target) {
            return Some(Crossing::Item);
        }
        if self.within[source.0 as usize] == Some(target) {
            return Some(Crossing::Result);
        }
        self.beside(source, target).map(|_| Crossing::None)
    }
}

/// The parents of nodes that are only drawn: a node in a plain group lies where the group does.
pub(super) fn parents(draft: &Draft) -> BTreeMap<&str, &str> {
    draft.nodes.iter().filter_map(|node| Some((&*node.id, node.parent.as_deref()?))).collect()
}

/// A warning about a node whose parent is no node, or none that others lie in: it runs outside.
pub(super) fn unknown_parent(node: &str, parent: &str, is_there: bool) -> Problem {
    let what = if is_there { "is no map, loop or group" } else { "does not exist" };
    let message = format!("Node \"{}\" says that it lies inside \"{}\", which {what}.", shown(node), shown(parent));
    Problem::new(rule::UNKNOWN_PARENT, message, "Correct parentId, or take it out.")
}

/// Warnings about maps and loops that nothing inside gives a result.
pub(super) fn without_results(graph: &Graph) -> impl Iterator<Item = (NodeIx, Problem)> {
    let containers = graph.nodes().filter(|(ix, node)| graph.doors(*ix).is_some() && !node.is_anonymous);
    containers.filter_map(|(ix, node)| {
        let Runner::Control(control) = node.runner else { return None };
        let port = result(control)?;
        if graph.in_edges(ix).iter().any(|edge| edge.target_port == port) {
            return None;
        }
        let gives = if control == Control::Map { "each of its results is null" } else { "its result is null" };
        let message = format!("No edge leads to \"in-result\" of \"{}\": {gives}.", shown(&node.label));
        let problem = Problem::new(rule::NO_RESULT, message, "Join a node inside to \"in-result\".");
        Some((ix, problem.node(&node.id)))
    })
}

/// A problem with an edge between two nodes of which neither sees the other.
pub(super) fn across(source: &str, target: &str) -> Problem {
    let message = format!(
        "An edge leads from \"{}\", inside a map or loop, to \"{}\" outside of it.",
        shown(source),
        shown(target)
    );
    let fix = "Join the node inside to \"in-result\" of its container, and go on from the container's outputs.";
    Problem::new(rule::EDGE_ACROSS_SCOPES, message, fix)
}

/// A problem with a port that is for the other side of the border.
pub(super) fn wrong_side(container: &Arc<str>, port: &str, is_output: bool, is_inner: bool) -> Problem {
    let (rule, prefix) = if is_output { (rule::BAD_SOURCE_HANDLE, "out") } else { (rule::BAD_TARGET_HANDLE, "in") };
    let who = if is_inner { "nodes inside it" } else { "nodes beside it" };
    let message = format!("\"{prefix}-{port}\" of \"{}\" is for {who}.", shown(container));
    Problem::new(rule, message, "Choose another port of the container.").node(container)
}

impl Graph {
    /// The container around a node.
    pub fn within(&self, ix: NodeIx) -> Option<NodeIx> {
        self.node(ix).within
    }

    /// The node itself; of a map that no document names, the first of the nodes that it runs for.
    pub fn named(&self, ix: NodeIx) -> NodeIx {
        let lifted = self.body(ix).first().filter(|_| self.node(ix).is_anonymous);
        lifted.copied().unwrap_or(ix)
    }

    /// The nodes in a body that take its items themselves: of lifted nodes those that take the lists.
    pub(crate) fn takes_items(&self, container: NodeIx) -> impl Iterator<Item = NodeIx> {
        let takes = move |ix: &NodeIx| self.in_edges(*ix).iter().any(|edge| edge.source == container);
        self.body(container).iter().copied().filter(takes)
    }

    /// The nodes inside a container, in the order of their places; none for other nodes.
    pub fn body(&self, container: NodeIx) -> &[NodeIx] {
        self.bodies.get(&container).map_or(&[], Vec::as_slice)
    }

    /// What a container does.
    pub(crate) fn scope(&self, container: NodeIx) -> Option<&Scope> {
        match self.get(container)?.logic.as_deref() {
            Some(super::Logic::Scope(scope)) => Some(scope),
            _ => None,
        }
    }

    /// Which ports of a container are for its body.
    pub(crate) fn doors(&self, ix: NodeIx) -> Option<Doors> {
        self.node(ix).doors
    }

    /// Whether an output of a node gives values to its body.
    pub(crate) fn is_inner_output(&self, ix: NodeIx, port: PortIx) -> bool {
        self.doors(ix).is_some_and(|doors| doors.is_inner_output(port))
    }

    /// Whether what a node gives is a result of the run: no edge goes on from it, or from the list of what its items give.
    pub fn is_terminal(&self, ix: NodeIx) -> bool {
        let Some(container) = self.within(ix) else { return self.out_edges(ix).is_empty() };
        let list =
            |input| self.scope(container)?.results.iter().find(|(known, _)| *known == input).map(|(_, list)| *list);
        let leads_on = |port| self.out_edges(container).iter().any(|edge| Some(edge.source_port) == port);
        self.node(container).is_anonymous
            && self.out_edges(ix).iter().all(|edge| edge.target == container && !leads_on(list(edge.target_port)))
    }

    /// The edges that bring what the body of a container gives.
    pub(crate) fn result_edges(&self, container: NodeIx) -> impl Iterator<Item = &InEdge> {
        let doors = self.doors(container);
        self.in_edges(container)
            .iter()
            .filter(move |edge| doors.is_some_and(|doors| doors.is_inner_input(edge.target_port)))
    }
}
