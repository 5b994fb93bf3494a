//! Items and turns (E20): what is open of a container's body, and what is left of what has closed. Only open ones have
//! slots in memory; results of closed ones are references, put together in chunks as soon as a stretch is complete.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dropped::AtAgent;
use super::step::Corrupt;
use super::{NodePhase, Run, Slot, TimerKind};
use crate::control_types::scope::{looping, reduce};
use crate::fault::{Fault, is_planted};
use crate::graph::{ScopeKind, Select};
use crate::id::{Instance, NodeIx, PortIx, ScopeIx};
use crate::limits;
use crate::policy::OnItemError;
use crate::run::event::{ListChunk, NodeError, Opened, OutputValue};

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
    /// Failed for good.
    pub failed: u32,
    /// Did not run: a branch was not taken.
    pub skipped: u32,
    /// Did not run to their end: their item had failed.
    pub dropped: u32,
}

impl Expansion {
    fn new(count: u32) -> Self {
        Self {
            count,
            next: 0,
            open: 0,
            is_due: false,
            closed: BTreeMap::new(),
            gathered: BTreeMap::new(),
            turn: ROOT,
            best: None,
            has_failed: false,
            failure: None,
        }
    }

    /// That of an empty list.
    pub(super) fn empty() -> Self {
        Self::new(0)
    }

    /// Notes what came of an item.
    fn close(&mut self, index: u32, outcome: Outcome) {
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

    /// The instance of a node that is seen from inside a scope: in the scope itself, or in one around it.
    pub(super) fn at_home(&self, mut scope: ScopeIx, node: NodeIx) -> Option<Instance> {
        let Some(home) = self.graph.get(node)?.within else { return Some(Instance::root(node)) };
        loop {
            let frame = self.frame(scope)?;
            if frame.container.node == home {
                return Some(Instance { scope, ..Instance::root(node) });
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

    /// Folds items or turns that begin.
    pub(super) fn open_items(&mut self, container: Instance, opened: &Opened) -> Result<(), Corrupt> {
        let seq = self.state.seq;
        let expansion = self.state.expansions.entry(container).or_insert_with(|| Expansion::new(opened.count));
        let count = opened.items.len() as u32;
        let follows = opened.index == expansion.next && opened.scope.0 == self.state.next_scope;
        if !follows || opened.index.saturating_add(count) > expansion.count {
            return Err(Corrupt::WrongItems { seq, instance: container });
        }
        expansion.next += count;
        let last = std::mem::replace(&mut expansion.turn, opened.scope);
        self.state.next_scope += count;
        self.slot(container)?.phase = NodePhase::Open;
        let kind = self.graph.scope(container.node).map(|scope| &scope.kind);
        match kind {
            Some(ScopeKind::Batch(_)) => {
                if let Some(expansion) = self.state.expansions.get_mut(&container) {
                    for (index, item) in (opened.index..).zip(&opened.items) {
                        expansion.close(index, Outcome::Gave(item.clone()));
                    }
                }
            }
            Some(ScopeKind::Loop { .. } | ScopeKind::Reduce) => {
                self.end_turn(container, last, opened.score);
                self.open_frames(container, opened)?;
            }
            _ => self.open_frames(container, opened)?,
        }
        self.look_at(container);
        Ok(())
    }

    fn open_frames(&mut self, container: Instance, opened: &Opened) -> Result<(), Corrupt> {
        let graph = Arc::clone(&self.graph);
        let body = graph.body(container.node);
        for ((index, scope), given) in (opened.index..).zip(opened.scope.0..).zip(&opened.items) {
            let slots: Vec<Slot> = body
                .iter()
                .map(|ix| match self.state.nodes[ix.0 as usize].phase {
                    NodePhase::Excluded => Slot::excluded(),
                    _ => Slot::waiting_for(graph.node(*ix).waits_for),
                })
                .collect();
            let open = slots.iter().filter(|slot| slot.phase == NodePhase::Pending).count() as u32;
            let frame = Frame { container, index, given: given.clone(), slots, open, failure: None };
            self.state.frames.insert(ScopeIx(scope), frame);
            if let Some(expansion) = self.state.expansions.get_mut(&container) {
                expansion.open += 1;
            }
            self.begin_frame(ScopeIx(scope), body)?;
        }
        Ok(())
    }

    /// What needs nothing of the body itself is ready at once.
    fn begin_frame(&mut self, scope: ScopeIx, body: &[NodeIx]) -> Result<(), Corrupt> {
        for ix in body {
            let instance = Instance { scope, ..Instance::root(*ix) };
            let slot = self.slot(instance)?;
            let is_open = slot.phase == NodePhase::Pending;
            let is_settled = slot.unsettled == 0;
            if is_open && (is_settled || self.is_won_from_outside(instance)) && !self.make_ready(instance)? {
                self.settle_after(instance)?;
            }
        }
        if self.frame(scope).is_some_and(|frame| frame.open == 0) {
            self.close_frame(scope)?;
        }
        Ok(())
    }

    /// The turn before was looked at: what it gave counts, and it leaves memory.
    fn end_turn(&mut self, container: Instance, turn: ScopeIx, score: Option<f64>) {
        let result = match self.graph.scope(container.node).map(|scope| &scope.kind) {
            // A turn that gave nothing may be the best one all the same.
            Some(ScopeKind::Loop { select: Select::Best, .. }) => {
                Some(self.turn_result(container, turn).unwrap_or(OutputValue::Closed))
            }
            _ => None,
        };
        let expansion = self.state.expansions.get_mut(&container);
        if let Some((expansion, (score, result))) = expansion.zip(score.zip(result)) {
            let is_better = expansion.best.as_ref().is_none_or(|(best, _)| score > *best);
            if is_better {
                expansion.best = Some((score, result));
            }
        }
        if turn != ROOT {
            self.forget_frame(turn);
        }
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

    /// Everything of an item has its final phase.
    pub(super) fn close_frame(&mut self, scope: ScopeIx) -> Result<(), Corrupt> {
        let Some(frame) = self.frame(scope) else { return Ok(()) };
        let (container, index) = (frame.container, frame.index);
        let Some(definition) = self.graph.scope(container.node) else { return Ok(()) };
        let is_turn = matches!(definition.kind, ScopeKind::Loop { .. } | ScopeKind::Reduce);
        let ports: Vec<PortIx> = definition.results.iter().map(|(port, _)| *port).collect();
        let outcome = match &frame.failure {
            Some(failure) => Outcome::Failed(failure.clone()),
            None => {
                let given = ports.iter().map(|port| self.result_at(container.node, *port, scope));
                Outcome::Gave(given.map(|value| value.unwrap_or(OutputValue::Closed)).collect())
            }
        };
        let keeps = !ports.is_empty();
        if let Some(expansion) = self.state.expansions.get_mut(&container) {
            expansion.open -= 1;
            if keeps && !expansion.has_failed {
                expansion.close(index, outcome);
            }
        }
        let is_over = self.state.expansions.get(&container).is_none_or(|expansion| expansion.has_failed);
        if !is_turn || is_over {
            self.forget_frame(scope);
        }
        if is_over {
            return self.let_go(container);
        }
        self.look_at(container);
        Ok(())
    }

    /// Takes an item's slots out of memory; what they came to is counted.
    fn forget_frame(&mut self, scope: ScopeIx) {
        let Some(frame) = self.state.frames.remove(&scope) else { return };
        let graph = Arc::clone(&self.graph);
        for (slot, ix) in frame.slots.iter().zip(graph.body(frame.container.node)) {
            let tally = self.state.tallies.entry(*ix).or_default();
            match slot.phase {
                NodePhase::Completed => tally.completed += 1,
                NodePhase::Failed => tally.failed += 1,
                NodePhase::Skipped => tally.skipped += 1,
                NodePhase::Excluded => {}
                _ => tally.dropped += 1,
            }
            let instance = Instance { scope, ..Instance::root(*ix) };
            if !self.state.tries.is_empty() {
                self.state.tries.remove(&instance);
            }
            if !self.state.makers.is_empty() {
                self.state.makers.remove(&instance);
            }
            if !self.state.winners.is_empty() {
                self.state.winners.remove(&instance);
            }
        }
        if let Some(closed) = &mut self.closed {
            closed.push((scope, frame));
        }
    }

    /// Whether a container has something to decide; if so, it falls due.
    pub(super) fn look_at(&mut self, container: Instance) {
        let Some(window) = self.graph.scope(container.node).map(|scope| scope.window()) else { return };
        let Some(expansion) = self.state.expansions.get_mut(&container) else { return };
        let can_open = expansion.next < expansion.count && expansion.open < window;
        let is_done = expansion.open == 0;
        if !expansion.is_due && !expansion.has_failed && (can_open || is_done || expansion.complete_chunk().is_some()) {
            expansion.is_due = true;
            self.state.due.push_back(container);
        }
    }

    /// Folds a stretch of items that was put together.
    pub(super) fn gathered(
        &mut self,
        container: Instance,
        chunk: u32,
        results: &[ListChunk],
        errors: Option<ListChunk>,
    ) -> Result<(), Corrupt> {
        let seq = self.state.seq;
        let expansion = self.state.expansions.get_mut(&container);
        let expansion = expansion.ok_or(Corrupt::WrongItems { seq, instance: container })?;
        expansion.closed.remove(&chunk).ok_or(Corrupt::WrongItems { seq, instance: container })?;
        expansion.gathered.insert(chunk, (results.to_vec(), errors));
        self.look_at(container);
        Ok(())
    }

    /// A container has its output, or has failed: what is left of its body leaves memory.
    pub(super) fn end_scope(&mut self, container: Instance) {
        if let Some(expansion) = self.state.expansions.remove(&container)
            && expansion.turn != ROOT
            && self.frame(expansion.turn).is_some_and(|frame| frame.container == container)
        {
            self.forget_frame(expansion.turn);
        }
    }

    /// A node in an item has failed for good: what that does to the item, and to its container.
    pub(super) fn fail_item(&mut self, instance: Instance, error: &NodeError) -> Result<(), Corrupt> {
        let Some(frame) = self.frame(instance.scope) else { return Ok(()) };
        let (container, index) = (frame.container, frame.index);
        let choice = match self.graph.scope(container.node).map(|scope| &scope.kind) {
            Some(ScopeKind::Map { on_item_error: Some(choice), .. }) => *choice,
            Some(ScopeKind::Map { on_item_error: None, .. }) => {
                self.graph.node(instance.node).policy.on_item_error.unwrap_or(OnItemError::Fail)
            }
            _ => OnItemError::Fail,
        };
        let leaves = match choice {
            OnItemError::Fail => {
                let node = self.graph.node(container.node);
                // A map that no document names is not worth a word.
                let place = if node.is_anonymous { String::new() } else { format!(" of \"{}\"", node.label) };
                let what = match node.runner {
                    crate::node_type::Runner::Control(crate::node_type::Control::Loop) => "turn",
                    _ => "item",
                };
                let message = format!("{what} {index}{place}: {}", error.message);
                let error = NodeError { message: cut(message), ..error.clone() };
                return self.fail_container(container, &error, instance.node);
            }
            OnItemError::Skip => Leaves::Nothing,
            OnItemError::Collect => Leaves::Null,
        };
        let failure = Box::new(ItemFailure { error: error.clone(), leaves });
        if let Some(frame) = self.state.frames.get_mut(&instance.scope) {
            frame.failure.get_or_insert(failure);
        }
        if is_planted(Fault::FailedItemGoesOn) {
            return Ok(());
        }
        self.abandon(instance.scope, AtAgent::Finishes)
    }

    /// The first failed item fails its container.
    fn fail_container(&mut self, container: Instance, error: &NodeError, node: NodeIx) -> Result<(), Corrupt> {
        if let Some(expansion) = self.state.expansions.get_mut(&container) {
            expansion.has_failed = true;
            if std::mem::take(&mut expansion.is_due) {
                self.take_due(container);
            }
        }
        if self.graph.node(container.node).error_port.is_some() {
            // It gives what was wrong, which is a decision: when nothing of its body is at an agent any more.
            let failure = Some(Box::new(error.clone()));
            self.state.expansions.entry(container).and_modify(|expansion| expansion.failure = failure);
        } else {
            // The run's error names the node that failed, not what it lies in.
            self.give_up_at(container, error, node)?;
        }
        for scope in self.frames_of(container) {
            self.abandon(scope, AtAgent::Finishes)?;
        }
        self.let_go(container)
    }

    fn frames_of(&self, container: Instance) -> Vec<ScopeIx> {
        let frames = self.state.frames.iter().filter(|(_, frame)| frame.container == container);
        frames.map(|(scope, _)| *scope).collect()
    }

    /// A failed container leaves memory when nothing of its body is at an agent any more.
    fn let_go(&mut self, container: Instance) -> Result<(), Corrupt> {
        let Some(expansion) = self.state.expansions.get_mut(&container) else { return Ok(()) };
        if expansion.has_failed && expansion.open == 0 {
            if expansion.failure.is_some() {
                if !std::mem::replace(&mut expansion.is_due, true) {
                    self.state.due.push_back(container);
                }
                return Ok(());
            }
            self.end_scope(container);
            // The container counted as open in its own item as long as its body was.
            return self.leave(container);
        }
        Ok(())
    }

    /// Nothing of an item starts any more. After a failure, what is at an agent is let finish (graph.md, part 6).
    pub(super) fn abandon(&mut self, scope: ScopeIx, at_agent: AtAgent) -> Result<(), Corrupt> {
        // A turn that is over and still looked at has closed already: it leaves memory with its container.
        let Some(frame) = self.state.frames.get(&scope).filter(|frame| frame.open > 0) else { return Ok(()) };
        let body = self.graph.body(frame.container.node).to_vec();
        let failed = ItemFailure {
            error: NodeError {
                class: crate::run::event::ErrorClass::Cancelled,
                code: super::items::GIVEN_UP.into(),
                message: "another part of it failed".into(),
            },
            leaves: Leaves::Nothing,
        };
        if let Some(frame) = self.state.frames.get_mut(&scope) {
            frame.failure.get_or_insert_with(|| Box::new(failed));
        }
        for ix in body {
            // The last of what was open may have taken the item with it.
            if self.frame(scope).is_some() {
                self.drop_instance(Instance { scope, ..Instance::root(ix) }, at_agent)?;
            }
        }
        if self.frame(scope).is_some_and(|frame| frame.open == 0) {
            self.close_frame(scope)?;
        }
        Ok(())
    }

    /// A container is given up, with all that is open of its body.
    pub(super) fn drop_container(&mut self, container: Instance, at_agent: AtAgent) -> Result<(), Corrupt> {
        if let Some(expansion) = self.state.expansions.get_mut(&container) {
            expansion.has_failed = true;
            expansion.failure = None;
            if std::mem::take(&mut expansion.is_due) {
                self.take_due(container);
            }
        }
        self.slot(container)?.phase = NodePhase::Dropped;
        self.dropped.push(container);
        for scope in self.frames_of(container) {
            self.abandon(scope, at_agent)?;
        }
        self.let_go(container)
    }

    /// An instance has its final phase: its item may close with it.
    pub(super) fn leave(&mut self, instance: Instance) -> Result<(), Corrupt> {
        if instance.scope == ROOT {
            self.state.open_nodes -= 1;
            return Ok(());
        }
        let Some(frame) = self.state.frames.get_mut(&instance.scope) else { return Ok(()) };
        frame.open -= 1;
        if frame.open == 0 { self.close_frame(instance.scope) } else { Ok(()) }
    }

    /// Whether nothing of the item that an instance lies in starts any more.
    pub(super) fn is_abandoned(&self, instance: Instance) -> bool {
        self.frame(instance.scope).is_some_and(|frame| frame.failure.is_some())
    }

    /// Takes out the first timer of an instance. Mostly among the first: timers are used up in the order of their instants.
    pub(super) fn take_timer(&mut self, instance: Instance) {
        let found = self.state.timers.iter().find(|timer| timer.instance == instance).copied();
        found.map(|timer| self.state.timers.remove(&timer));
        debug_assert!(found.is_none_or(|timer| matches!(timer.kind, TimerKind::Wait | TimerKind::Retry)));
    }
}

/// What an output is found in.
pub(super) enum Given<'a> {
    /// What a node gave.
    Node(&'a [super::PortOutput]),
    /// What an item is.
    Item(&'a [OutputValue]),
}

/// A message within its limit.
fn cut(mut message: String) -> Arc<str> {
    let mut end = limits::ERROR_MESSAGE_BYTES_MAX.min(message.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message.into()
}
