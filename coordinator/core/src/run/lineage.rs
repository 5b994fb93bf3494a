//! What a run takes over from earlier ones (graph.md, part 8): which results it may reuse, and what it has to do afresh.

use serde::{Deserialize, Serialize};

use crate::graph::Graph;
use crate::id::{NodeIx, PortIx, RunId, Subject};
use crate::limits::LINEAGE_SUBJECTS_MAX;
use crate::run::Run;
use crate::run::event::{PortOutput, Submitted};
use crate::value::Digest;

/// What a run goes on from. Part of its first event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The run whose results it goes on from, unless it is no resume.
    pub parent: Option<RunId>,
    /// The first run of the family.
    pub root: Option<RunId>,
    /// Whether nothing is reused.
    pub rerun: bool,
    /// The node from which on it was asked for.
    pub from: Option<NodeIx>,
    /// It covers what these need and no more; none: the whole graph, or what leads up to its target.
    pub ends: Vec<NodeIx>,
    /// What runs, whatever was offered.
    pub forced: Vec<Forced>,
    /// Outputs that were changed by whoever asked for it.
    pub edits: Vec<Edited>,
    /// Nodes whose offer counts whatever comes into them: edited ones, and those that a request carried.
    pub trusted: Vec<NodeIx>,
    /// How many events with offers follow.
    pub offered: u32,
    /// Whether results that runs share are not taken, either.
    pub fresh: bool,
    /// Who has started the runs whose results it goes on from, and those before them, the nearest first: what they have made they
    /// do not approve here, either.
    pub subjects: Vec<Subject>,
}

/// An instance that runs whatever was offered; with fewer numbers than lie around it, all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Forced {
    /// Of which node.
    pub node: NodeIx,
    /// The numbers of items and turns around it, the outermost first.
    pub index: Vec<u32>,
}

/// An output that was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edited {
    /// Of which node.
    pub node: NodeIx,
    /// Which output.
    pub port: PortIx,
}

/// A result of an earlier run that may be reused. Its values lie in this run's own events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Of which node.
    pub node: NodeIx,
    /// The numbers of the items and turns it lay in, the outermost first.
    pub index: Vec<u32>,
    /// What the node was and what came into it ([`Graph::identity`]); of trusted nodes it is not looked at.
    pub key: Digest,
    /// Where it comes from.
    pub source: Source,
    /// What it gave.
    pub outputs: Vec<PortOutput>,
}

/// Where a result comes from that a run did not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// This run made it.
    Run(RunId),
    /// Whoever resumed the parent changed it.
    Edit,
    /// The request brought it.
    Request,
}

impl Submitted {
    /// The nodes that a run covers, sorted; `None` if that is the whole graph. What is not in the graph leads to nothing.
    pub(crate) fn part(&self, graph: &Graph) -> Option<Vec<NodeIx>> {
        match &self.lineage {
            Some(lineage) => lineage.part(graph, self.target),
            None => self.target.map(|target| graph.closure(target)),
        }
    }
}

impl Lineage {
    /// What follows from forced instances is forced, too (`downstream: all`).
    pub fn force_downstream(&mut self, graph: &Graph) {
        let mut forced = Vec::new();
        for start in &self.forced {
            for node in graph.following(start.node) {
                let mut index = start.index.clone();
                // Inside a container that was forced as a whole, all of it is.
                let inside = graph.is_inside(node, start.node);
                index.truncate(if inside { index.len() } else { graph.shared_depth(start.node, node) });
                forced.push(Forced { node, index });
            }
        }
        self.forced.extend(forced);
        self.tidy();
    }

    /// The nodes that a run covers, sorted; `None` if that is the whole graph. A resume covers what leads to edited nodes, too: whoever
    /// goes on from it finds all results there.
    pub(crate) fn part(&self, graph: &Graph, target: Option<NodeIx>) -> Option<Vec<NodeIx>> {
        let targets: Vec<NodeIx> = target.iter().chain(&self.ends).copied().collect();
        let known = if self.parent.is_some() { &[][..] } else { &self.trusted };
        (!targets.is_empty()).then(|| graph.closure_of(&targets, known))
    }

    /// Results of this run are taken over: who has started it, and those before it, is kept.
    pub fn note_starters(&mut self, run: &Run) {
        let before = run.lineage().into_iter().flat_map(|lineage| &lineage.subjects);
        for subject in std::iter::once(run.subject()).chain(before) {
            if self.subjects.len() < LINEAGE_SUBJECTS_MAX && !self.subjects.contains(subject) {
                self.subjects.push(subject.clone());
            }
        }
    }

    /// Each forced instance once.
    pub fn tidy(&mut self) {
        self.forced.sort();
        self.forced.dedup();
        self.edits.sort();
        self.edits.dedup();
        self.trusted.sort_unstable();
        self.trusted.dedup();
    }
}
