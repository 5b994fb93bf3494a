//! Items and turns (E20): what is open of a container's body, and what is left of what has closed. Only open ones have
//! slots in memory; results of closed ones are references, put together in chunks as soon as a stretch is complete. How all
//! that changes is in `scope_fold.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{NodePhase, Run, Slot};
use crate::control_types::scope::{looping, reduce};
use crate::fault::{Fault, is_planted};
use crate::graph::ScopeKind;
use crate::id::{Instance, NodeIx, PortIx, ScopeIx};
use crate::limits;
use crate::run::event::{ListChunk, NodeError, OutputValue, Verdict};

/// What is outside of all maps and loops.
pub(super) const ROOT: ScopeIx = ScopeIx(0);

/// An open item of a map, or an open turn of a loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Frame {
    /// Whose item it is.
    pub(super) container: Instance,
    /// Its number, from 0.
    pub(super) index: u32,
    /// What the container's outputs into its body give, by their places.
    pub(super) given: Vec<OutputValue>,
    /// By the nodes' places in the body.
    pub(super) slots: Vec<Slot>,
    /// Slots without a final phase.
    pub(super) open: u32,
    /// Why it failed: nothing of it starts any more.
    pub(super) failure: Option<Box<ItemFailure>>,
}

/// Why an item failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ItemFailure {
    pub(super) error: NodeError,
    /// The node that failed by itself.
    pub(super) node: NodeIx,
    /// What becomes of its place in the results.
    pub(super) leaves: Leaves,
}

/// What a failed item leaves in the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Leaves {
    Nothing,
    Null,
}

/// What came of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// For each output that lists results, what it gave.
    Gave(Vec<OutputValue>),
    Failed(Box<ItemFailure>),
}

/// A container whose body runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Expansion {
    /// Items in all; of a loop, the most turns.
    pub(super) count: u32,
    /// The number of the next one to be opened.
    pub(super) next: u32,
    /// How many are open.
    pub(super) open: u32,
    /// Whether it stands among what is due.
    pub(super) is_due: bool,
    /// Closed items by chunk and by place in it, until the chunk is complete and put together.
    pub(super) closed: BTreeMap<u32, Chunk>,
    /// Chunks that were put together: for each output that lists results, and the errors.
    pub(super) gathered: BTreeMap<u32, (Vec<ListChunk>, Option<ListChunk>)>,
    /// The turn that is open, or was the last to close and is still looked at.
    pub(super) turn: ScopeIx,
    /// Of a loop that selects the best: the highest score so far, and what that turn gave.
    pub(super) best: Option<(f64, OutputValue)>,
    /// What an agent has found of that turn.
    pub(super) verdict: Option<Verdict>,
    /// Some item has failed for good, and the container with it.
    pub(super) has_failed: bool,
    /// With what, if the container has yet to say so itself.
    pub(super) failure: Option<Box<NodeError>>,
}

/// A stretch of closed items.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) outcomes: BTreeMap<u32, Outcome>,
}

/// How the items of a node in a body stand, over all that have closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Have their output.
    pub completed: u32,
    /// Of these, the ones whose output an earlier run gave.
    pub cached: u32,
    /// Failed for good.
    pub failed: u32,
    /// Did not run: a branch was not taken.
    pub skipped: u32,
    /// Did not run to their end: their item had failed.
    pub dropped: u32,
}

impl Expansion {
    /// Nothing of it has begun.
    pub(super) fn new(count: u32) -> Self {
        Self {
            count,
            next: 0,
            open: 0,
            is_due: false,
            closed: BTreeMap::new(),
            gathered: BTreeMap::new(),
            turn: ROOT,
            best: None,
            verdict: None,
            has_failed: false,
            failure: None,
        }
    }

    /// That of an empty list.
    pub(super) fn empty() -> Self {
        Self::new(0)
    }

    /// Notes what came of an item.
    pub(super) fn close(&mut self, index: u32, outcome: Outcome) {
        let chunk_items = limits::LIST_CHUNK_ITEMS_MAX as u32;
        let chunk = self.closed.entry(index / chunk_items).or_default();
        chunk.outcomes.insert(index % chunk_items, outcome);
    }

    /// The first chunk that is complete and is not the only one.
    pub(super) fn complete_chunk(&self) -> Option<u32> {
        let chunk_items = limits::LIST_CHUNK_ITEMS_MAX;
        let is_complete = |(_, chunk): &(&u32, &Chunk)| chunk.outcomes.len() == chunk_items;
        let is_long = self.count as usize > chunk_items;
        self.closed.iter().find(is_complete).map(|(number, _)| *number).filter(|_| is_long)
    }
}

impl Run {
    /// The open item or turn of this number.
    pub(super) fn frame(&self, scope: ScopeIx) -> Option<&Frame> {
        self.state.frames.get(&scope)
    }

    /// The numbers of the items and turns that a scope lies in, the outermost first.
    pub fn path(&self, scope: ScopeIx) -> Vec<u32> {
        let mut path: Vec<u32> = std::iter::successors(self.frame(scope), |frame| self.frame(frame.container.scope))
            .map(|frame| frame.index)
            .collect();
        path.reverse();
        path
    }

    /// What an output gives, seen from inside a scope: of the scope itself or of one around it.
    pub(crate) fn output_at(&self, scope: ScopeIx, node: NodeIx, port: PortIx) -> Option<&OutputValue> {
        self.outputs_at(scope, node).and_then(|outputs| match outputs {
            Given::Node(outputs) => outputs.iter().find(|output| output.port == port).map(|output| &output.value),
            Given::Item(given) => given.get(usize::from(port.0)),
        })
    }

    pub(super) fn outputs_at(&self, mut scope: ScopeIx, node: NodeIx) -> Option<Given<'_>> {
        let home = self.graph.get(node)?.within;
        loop {
            if scope == ROOT {
                let slot = self.state.nodes.get(node.0 as usize).filter(|_| home.is_none())?;
                return Some(Given::Node(slot.result.as_ref().map_or(&[], |result| &result.outputs)));
            }
            let frame = self.frame_seen(scope)?;
            if frame.container.node == node {
                return Some(Given::Item(&frame.given));
            }
            if home == Some(frame.container.node) {
                let slot = &frame.slots[self.graph.node(node).place as usize];
                return Some(Given::Node(slot.result.as_ref().map_or(&[], |result| &result.outputs)));
            }
            scope = frame.container.scope;
        }
    }

    /// How the closed items of a node in a body stand.
    pub fn tally(&self, node: NodeIx) -> Tally {
        self.state.tallies.get(&node).copied().unwrap_or_default()
    }

    /// How many items of a container are open, over all its instances.
    pub fn items_open(&self, container: NodeIx) -> u32 {
        self.state.frames.values().filter(|frame| frame.container.node == container).count() as u32
    }

    /// What people see of an output: of a lifted node the list of what all its items gave. Nothing of other nodes in bodies.
    pub fn shown_output(&self, node: NodeIx, port: PortIx) -> Option<&OutputValue> {
        let Some(container) = self.graph.within(node) else { return self.output(node, port) };
        let mut edges =
            self.graph.result_edges(container).filter(|edge| (edge.source, edge.source_port) == (node, port));
        let edge = edges.next().filter(|_| self.graph.node(container).is_anonymous)?;
        let scope = self.graph.scope(container)?;
        let (_, list) = scope.results.iter().find(|(input, _)| *input == edge.target_port)?;
        self.shown_output(container, *list)
    }

    /// The open instances of a node in a body, each with its phase.
    pub fn open_instances(&self, node: NodeIx) -> impl Iterator<Item = (Instance, NodePhase)> {
        let (home, place) = (self.graph.node(node).within, self.graph.node(node).place as usize);
        let frames = self.state.frames.iter().filter(move |(_, frame)| Some(frame.container.node) == home);
        frames.map(move |(scope, frame)| (Instance { scope: *scope, ..Instance::root(node) }, frame.slots[place].phase))
    }

    /// What the body gave as its result, in one turn; nothing if that was closed.
    pub(super) fn turn_result(&self, container: Instance, turn: ScopeIx) -> Option<OutputValue> {
        let port = match self.graph.scope(container.node).map(|scope| &scope.kind) {
            Some(ScopeKind::Reduce) => reduce::RESULT,
            _ => looping::RESULT,
        };
        self.result_at(container.node, port, turn)
    }

    /// What the body gave to an input of its container, in one item or turn; nothing if that was closed.
    pub(super) fn result_at(&self, container: NodeIx, port: PortIx, scope: ScopeIx) -> Option<OutputValue> {
        self.input_value(Instance { scope, ..Instance::root(container) }, port)
    }

    /// The open items and turns of a container.
    pub(super) fn frames_of(&self, container: Instance) -> Vec<ScopeIx> {
        let frames = self.state.frames.iter().filter(|(_, frame)| frame.container == container);
        frames.map(|(scope, _)| *scope).collect()
    }

    /// Whether an instance is a container with open items.
    pub(super) fn has_open_items(&self, instance: Instance) -> bool {
        self.state.expansions.get(&instance).is_some_and(|expansion| expansion.open > 0)
    }

    /// Where an instance stands for people: a loop of which an agent looks at a turn is at work.
    pub(crate) fn phase_shown(&self, instance: Instance, phase: NodePhase) -> NodePhase {
        match phase {
            NodePhase::Ready if self.state.expansions.contains_key(&instance) => NodePhase::Open,
            phase => phase,
        }
    }

    /// Whether an instance is a loop whose turn is over and not looked at yet.
    pub(super) fn is_between_turns(&self, instance: Instance) -> bool {
        let is_loop = matches!(self.graph.scope(instance.node).map(|scope| &scope.kind), Some(ScopeKind::Loop { .. }));
        let expansion = self.state.expansions.get(&instance).filter(|_| is_loop);
        expansion.is_some_and(|expansion| expansion.open == 0 && expansion.next > 0 && expansion.verdict.is_none())
    }

    /// Whether it may leave out some nodes of its graph.
    pub(super) fn is_partial(&self) -> bool {
        self.state.origin.target.is_some() || self.lineage().is_some_and(|lineage| !lineage.ends.is_empty())
    }

    /// The outputs of a container that stay closed, since the run leaves out what leads to them.
    pub(super) fn unanswered(&self, container: NodeIx) -> Vec<PortIx> {
        if !self.is_partial() || is_planted(Fault::LeftOutIsNull) {
            return Vec::new();
        }
        self.graph.unanswered(container, &|ix| self.covers(ix))
    }

    /// Whether nothing of the item that an instance lies in starts any more.
    pub(super) fn is_abandoned(&self, instance: Instance) -> bool {
        self.frame(instance.scope).is_some_and(|frame| frame.failure.is_some())
    }
}

/// What an output is found in.
pub(super) enum Given<'a> {
    /// What a node gave.
    Node(&'a [super::PortOutput]),
    /// What an item is.
    Item(&'a [OutputValue]),
}
