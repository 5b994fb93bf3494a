//! What a resume asks for, turned into what a child run takes over (graph.md, part 8). Nothing here is decided for good: which of the
//! offers count, the run itself decides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::checkpoint::Checkpoints;
use super::lineage::{Edited, Forced, Lineage, Offer};
use super::plan::Why;
use super::{Run, RunStatus};
use crate::fault::{Fault, is_planted};
use crate::graph::Graph;
use crate::id::{NodeIx, PortIx, RunId};

/// What is asked for, by nodes of the graph that the child will run.
#[derive(Debug, Clone, Default)]
pub struct Resume {
    /// Nothing is reused.
    pub rerun: bool,
    /// From this node on.
    pub from: Option<NodeIx>,
    /// Up to and with this node.
    pub to: Option<NodeIx>,
    /// Outputs that are changed.
    pub edits: Vec<Edited>,
    /// Of `from`: these instances or items alone.
    pub indices: Vec<Vec<u32>>,
    /// Items and nodes that failed run again, also where the run went on without them.
    pub failed_items: bool,
    /// What lies downstream of what is forced to run runs, too.
    pub downstream_all: bool,
    /// Whether something else is different from the parent: inputs, or the graph.
    pub differs: bool,
}

/// A run that is gone on from. What is said of nodes is said of nodes of the child's graph.
#[derive(Debug, Clone, Copy)]
pub struct Parent<'a> {
    /// Its state.
    pub run: &'a Run,
    /// Its results.
    pub results: &'a Checkpoints,
    /// The first run of its family.
    pub root: RunId,
}

/// Why a run cannot be resumed so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResumeRefusal {
    /// It is not over.
    NotTerminal,
    /// It completed, and neither a node nor an edit is named.
    Nothing,
    /// `from` does not lead to `to`.
    NotOnTheWay,
    /// An index names no item or instance.
    BadIndex(Vec<u32>),
    /// An edit is of a node whose output people decide on, and nobody has decided on the edit.
    EditReviewed(NodeIx),
    /// An edit is of a node inside a map or loop.
    EditInside(NodeIx),
    /// Nothing that takes an edited output belongs to what runs.
    EditOutside(Edited),
}

/// What a child takes over, and why it runs what it is forced to.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Part of the child's first event.
    pub lineage: Lineage,
    /// For what is forced, why.
    pub reasons: Vec<(Forced, Why)>,
    /// The node that it runs up to.
    pub target: Option<NodeIx>,
}

impl Resume {
    /// What a child run takes over.
    ///
    /// # Errors
    /// [`ResumeRefusal`]; nothing has happened then.
    pub fn taken(&self, graph: &Graph, parent: Parent<'_>) -> Result<Taken, ResumeRefusal> {
        if parent.run.status() == RunStatus::Running {
            return Err(ResumeRefusal::NotTerminal);
        }
        let counterpart = |ix: NodeIx| graph.counterpart(parent.run.graph(), ix);
        let of_parent = parent.run.lineage();
        let parent_ends =
            || of_parent.iter().flat_map(|lineage| &lineage.ends).filter_map(|ix| counterpart(*ix)).collect();
        let parent_target = || parent.run.target().and_then(counterpart);
        let mut lineage = Lineage {
            parent: Some(parent.run.id()),
            root: Some(parent.root),
            rerun: self.rerun,
            from: self.from,
            ..Lineage::default()
        };
        lineage.note_starters(parent.run);
        if self.rerun {
            lineage.ends = parent_ends();
            return Ok(Taken { lineage, reasons: Vec::new(), target: parent_target() });
        }
        if let Some(reviewed) = self.edits.iter().find(|edit| graph.asks_people(edit.node)) {
            return Err(ResumeRefusal::EditReviewed(reviewed.node));
        }
        if let Some(inside) = self.edits.iter().find(|edit| graph.within(edit.node).is_some()) {
            return Err(ResumeRefusal::EditInside(inside.node));
        }
        let mut reasons = self.forced_by_start(graph, parent.results)?;
        reasons.extend(self.forced_by_edits(graph));
        if self.failed_items && !is_planted(Fault::FailedItemsIgnored) {
            let failed = parent.results.failed.iter();
            reasons.extend(failed.map(|(node, index)| {
                let why = if index.is_empty() { Why::Failed } else { Why::FailedItem };
                (Forced { node: *node, index: index.clone() }, why)
            }));
        }
        let asks = !reasons.is_empty() || !self.edits.is_empty() || self.differs;
        if parent.run.status() == RunStatus::Completed && !asks {
            return Err(ResumeRefusal::Nothing);
        }
        let to = self.to.filter(|_| !is_planted(Fault::EndNotHeard));
        let target = match (self.from, to) {
            (Some(from), Some(to)) if graph.closure(to).binary_search(&from).is_err() => {
                return Err(ResumeRefusal::NotOnTheWay);
            }
            (_, Some(to)) => Some(to),
            (Some(from), None) => {
                // What takes an edited output runs, wherever it lies, and so does what follows from it.
                let starts = std::iter::once(from).chain(self.edits.iter().map(|edit| edit.node));
                let ends: BTreeSet<NodeIx> = starts.flat_map(|start| ends_after(graph, start)).collect();
                lineage.ends = ends.into_iter().collect();
                // What a partial run was asked for is still of interest with what follows from the node.
                None
            }
            (None, None) => {
                lineage.ends = parent_ends();
                parent_target()
            }
        };
        lineage.forced = reasons.iter().map(|(forced, _)| forced.clone()).collect();
        if self.downstream_all && !is_planted(Fault::DownstreamReused) {
            let before: BTreeSet<Forced> = lineage.forced.iter().cloned().collect();
            lineage.force_downstream(graph);
            let added = lineage.forced.iter().filter(|forced| !before.contains(forced));
            reasons.extend(added.map(|forced| (forced.clone(), Why::Downstream)));
        }
        lineage.edits.clone_from(&self.edits);
        lineage.trusted = self.edits.iter().map(|edit| edit.node).collect();
        lineage.tidy();
        if let Some(part) = lineage.part(graph, target)
            && let Some(outside) = self.edits.iter().find(|edit| !matters(graph, **edit, &part))
        {
            return Err(ResumeRefusal::EditOutside(*outside));
        }
        Ok(Taken { lineage, reasons, target })
    }

    fn forced_by_start(&self, graph: &Graph, results: &Checkpoints) -> Result<Vec<(Forced, Why)>, ResumeRefusal> {
        let Some(from) = self.from else {
            return self.indices.first().map_or(Ok(Vec::new()), |index| Err(ResumeRefusal::BadIndex(index.clone())));
        };
        let start = Forced { node: from, index: Vec::new() };
        if self.indices.is_empty() || is_planted(Fault::IndicesIgnored) {
            return Ok(forced_whole(graph, start).map(|forced| (forced, Why::Start)).collect());
        }
        let mut forced = Vec::new();
        for index in &self.indices {
            if !is_index_of(graph, from, index, results) {
                return Err(ResumeRefusal::BadIndex(index.clone()));
            }
            let named = Forced { node: from, index: index.clone() };
            let of_item = index.len() > graph.depth(from);
            let all = forced_whole(graph, named).filter(|it| !of_item || it.node != from);
            forced.extend(all.map(|forced| (forced, Why::Index)));
        }
        Ok(forced)
    }

    fn forced_by_edits(&self, graph: &Graph) -> Vec<(Forced, Why)> {
        let edges = self
            .edits
            .iter()
            .flat_map(|edit| graph.out_edges(edit.node).iter().filter(move |edge| edge.source_port == edit.port));
        edges.map(|edge| (Forced { node: edge.target, index: Vec::new() }, Why::EditedInput)).collect()
    }
}

/// Whether an edited output counts in a part of a graph: its node belongs to it, and so does something that takes the output, unless
/// nothing does.
fn matters(graph: &Graph, edit: Edited, part: &[NodeIx]) -> bool {
    let is_in = |node: NodeIx| part.binary_search(&node).is_ok();
    let mut takers = graph.out_edges(edit.node).iter().filter(|edge| edge.source_port == edit.port).peekable();
    is_in(edit.node) && (takers.peek().is_none() || takers.any(|edge| is_in(edge.target)))
}

/// The nodes that a run covers, sorted.
pub fn part(graph: &Graph, lineage: &Lineage, target: Option<NodeIx>) -> Vec<NodeIx> {
    lineage.part(graph, target).unwrap_or_else(|| graph.nodes().map(|(ix, _)| ix).collect())
}

/// An instance, and of a container all in its body.
pub fn forced_whole(graph: &Graph, start: Forced) -> impl Iterator<Item = Forced> {
    let inside = graph.all_inside(start.node);
    let index = start.index.clone();
    let inside = inside.into_iter().map(move |node| Forced { node, index: index.clone() });
    std::iter::once(start).chain(inside)
}

/// Whether an index is that of an item of a container, or of an instance of a node, as far as items have begun.
fn is_index_of(graph: &Graph, node: NodeIx, index: &[u32], results: &Checkpoints) -> bool {
    let mut around: Vec<NodeIx> = std::iter::successors(graph.within(node), |ix| graph.within(*ix)).collect();
    around.reverse();
    if graph.has_items(node) {
        around.push(node);
    }
    let places = around.iter().enumerate().take(index.len());
    !index.is_empty()
        && index.len() <= around.len()
        && places.into_iter().all(|(place, container)| {
            let begun = results.begun.get(&(*container, index[..place].to_vec()));
            begun.is_some_and(|begun| begun.items.contains_key(&index[place]))
        })
}

/// The last nodes of all that follows from a node.
fn ends_after(graph: &Graph, from: NodeIx) -> Vec<NodeIx> {
    let outside = graph.following(from).into_iter().filter(|ix| graph.within(*ix).is_none());
    let leads_on = |ix: NodeIx| graph.out_edges(ix).iter().any(|edge| !graph.is_inner_output(ix, edge.source_port));
    outside.filter(|ix| !leads_on(*ix)).collect()
}

/// The results that are worth offering: those of the part that runs that are not forced. What lies in a container whose own result
/// is taken over ([`super::plan::Plan::covered`]) is not asked for.
pub fn offers(
    graph: &Arc<Graph>,
    lineage: &Lineage,
    part: &[NodeIx],
    results: &Checkpoints,
    covered: &BTreeSet<usize>,
) -> Vec<Offer> {
    if lineage.rerun {
        return Vec::new();
    }
    let mut last = BTreeMap::new();
    for (place, result) in results.results.iter().enumerate() {
        let is_wanted = part.binary_search(&result.node).is_ok()
            && graph.is_reusable(result.node)
            && lineage.trusted.binary_search(&result.node).is_err()
            && !lineage.forces(graph, result.node, &result.index)
            && !covered.contains(&place);
        if is_wanted {
            last.insert((result.node, &result.index), result);
        }
    }
    last.into_values()
        .map(|result| Offer {
            node: result.node,
            index: result.index.clone(),
            key: result.key,
            source: result.source,
            outputs: result.outputs.clone(),
        })
        .collect()
}

/// The outputs of a node that gives something else than its parent did: for each, which of those the parent gave, if it is kept.
pub fn edited_outputs(
    graph: &Graph,
    node: NodeIx,
    results: &Checkpoints,
) -> Vec<(PortIx, Option<super::event::OutputValue>)> {
    let ports = graph.node(node).node_type.as_ref().map_or(0, |node_type| node_type.outputs.len());
    let before = results.results.iter().rev().find(|result| result.node == node && result.index.is_empty());
    (0..ports as u16)
        .map(PortIx)
        .map(|port| {
            let kept = before.and_then(|result| result.outputs.iter().find(|output| output.port == port));
            (port, kept.map(|output| output.value.clone()))
        })
        .collect()
}
