//! The fold of items and turns: how they begin, close and fail, and what that does to their container. What of them is kept
//! is in `scope.rs`.

use std::sync::Arc;

use super::corrupt::Corrupt;
use super::dropped::AtAgent;
use super::scope::{Expansion, Frame, ItemFailure, Leaves, Outcome, ROOT};
use super::{NodePhase, Run, Slot, Tries};
use crate::fault::{Fault, is_planted};
use crate::graph::{ScopeKind, Select};
use crate::id::{Instance, NodeIx, PortIx, ScopeIx};
use crate::limits;
use crate::policy::OnItemError;
use crate::run::event::{Attempt, ListChunk, NodeError, Opened, OutputValue, Verdict};

impl Run {
    /// Folds items or turns that begin.
    pub(super) fn open_items(&mut self, container: Instance, opened: &Opened) -> Result<(), Corrupt> {
        let wrong = Corrupt::WrongItems { seq: self.state.seq, instance: container };
        let graph = Arc::clone(&self.graph);
        let kind = graph.scope(container.node).map(|scope| &scope.kind);
        let expansion = self.state.expansions.entry(container).or_insert_with(|| Expansion::new(opened.count));
        let count = opened.items.len() as u32;
        let is_next = opened.index == expansion.next && opened.scope.0 == self.state.next_scope;
        let is_one_by_one = matches!(kind, Some(ScopeKind::Loop { .. } | ScopeKind::Reduce));
        let fits = match is_one_by_one {
            true => count == 1 && expansion.open == 0,
            false => count > 0,
        };
        let (next, next_scope) = (opened.index.checked_add(count), self.state.next_scope.checked_add(count));
        let next = next.filter(|next| *next <= expansion.count && opened.count == expansion.count);
        let (Some((next, next_scope)), true) = (next.zip(next_scope), is_next && fits && !expansion.has_failed) else {
            return Err(wrong);
        };
        expansion.next = next;
        expansion.verdict = None;
        let last = std::mem::replace(&mut expansion.turn, opened.scope);
        self.state.next_scope = next_scope;
        self.enter(container, NodePhase::Open)?;
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
        let (body, since) = (graph.body(container.node), self.state.last_at);
        let is_partial = self.is_partial();
        for ((index, scope), given) in (opened.index..).zip(opened.scope.0..).zip(&opened.items) {
            let slots: Vec<Slot> = body
                .iter()
                .map(|ix| match self.state.nodes[ix.0 as usize].phase {
                    phase @ NodePhase::Excluded => Slot { phase, ..Slot::waiting_for(0, since) },
                    _ if is_partial => Slot::waiting_for(graph.waits_for_of(*ix, &|ix| self.covers(ix)), since),
                    _ => Slot::waiting_for(graph.node(*ix).waits_for, since),
                })
                .collect();
            let open = slots.iter().filter(|slot| slot.phase == NodePhase::Pending).count() as u32;
            let frame = Frame { container, index, given: given.clone(), slots, open, failure: None };
            self.state.frames.insert(ScopeIx(scope), frame);
            if let Some(expansion) = self.state.expansions.get_mut(&container) {
                expansion.open = expansion.open.saturating_add(1);
            }
            self.begin_frame(ScopeIx(scope), body)?;
        }
        Ok(())
    }

    /// What needs nothing of the body itself is ready at once.
    fn begin_frame(&mut self, scope: ScopeIx, body: &[NodeIx]) -> Result<(), Corrupt> {
        let beside = |ix: &NodeIx| Instance { scope, ..Instance::root(*ix) };
        // Races before all else: what is skipped would make them due before they know who has won.
        for instance in body.iter().map(beside) {
            if self.slot(instance)?.phase == NodePhase::Pending && self.is_won_from_outside(instance) {
                self.make_ready(instance)?;
            }
        }
        for instance in body.iter().map(beside) {
            let slot = self.slot(instance)?;
            let is_due = slot.phase == NodePhase::Pending && slot.unsettled == 0;
            if is_due && !self.make_ready(instance)? {
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
        let seq = self.state.seq;
        if let Some(expansion) = self.state.expansions.get_mut(&container) {
            expansion.open = expansion.open.checked_sub(1).ok_or(Corrupt::Miscounted { seq, instance: container })?;
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
                NodePhase::Cached => {
                    tally.completed += 1;
                    tally.cached += 1;
                }
                NodePhase::Failed => tally.failed += 1,
                NodePhase::Skipped => tally.skipped += 1,
                NodePhase::Excluded => {}
                _ => tally.dropped += 1,
            }
            let instance = self.current(Instance { scope, ..Instance::root(*ix) });
            if !self.state.tries.is_empty() {
                self.owe_kept(instance);
                self.state.tries.remove(&instance);
            }
            if !self.state.makers.is_empty() {
                self.state.makers.remove(&instance.first());
            }
            if !self.state.winners.is_empty() {
                self.state.winners.remove(&instance);
            }
            self.forget_generation(instance);
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

    /// Folds what an agent has found of a turn: the loop falls due with it.
    pub(super) fn answered(&mut self, attempt: &Attempt, verdict: Verdict) -> Result<(), Corrupt> {
        let instance = attempt.instance;
        let is_loop = matches!(self.graph.scope(instance.node).map(|it| &it.kind), Some(ScopeKind::Loop { .. }));
        let wrong = Corrupt::WrongItems { seq: self.state.seq, instance };
        self.remove(attempt)?;
        if self.is_abandoned(instance) {
            return self.over_in_vain(instance);
        }
        let expansion = self.state.expansions.get_mut(&instance).filter(|_| is_loop).ok_or(wrong)?;
        expansion.verdict = Some(verdict);
        // The numbers of attempts go on over all turns.
        let tries = self.tries_of(attempt);
        *tries = Tries { last: tries.last, ..Tries::default() };
        self.enter(instance, NodePhase::Open)?;
        self.look_at(instance);
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
    pub(super) fn fail_item(&mut self, instance: Instance, error: &NodeError, origin: Instance) -> Result<(), Corrupt> {
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
                // A map that no document names runs for the node that is lifted.
                let label = if node.is_anonymous { &self.graph.node(instance.node).label } else { &node.label };
                let what = match node.runner {
                    crate::node_type::Runner::Control(crate::node_type::Control::Loop) => "turn",
                    _ => "item",
                };
                let message = format!("{what} {index} of \"{label}\": {}", error.message);
                self.fail_frame(instance.scope, error, origin.node, Leaves::Nothing);
                let error = NodeError { message: cut(message), ..error.clone() };
                return self.fail_container(container, &error, origin);
            }
            OnItemError::Skip => Leaves::Nothing,
            OnItemError::Collect => Leaves::Null,
        };
        self.fail_frame(instance.scope, error, origin.node, leaves);
        if is_planted(Fault::FailedItemGoesOn) {
            return Ok(());
        }
        self.abandon(instance.scope, AtAgent::Finishes)
    }

    /// Notes why an item has failed, if it has not yet.
    fn fail_frame(&mut self, scope: ScopeIx, error: &NodeError, node: NodeIx, leaves: Leaves) {
        if let Some(frame) = self.state.frames.get_mut(&scope) {
            frame.failure.get_or_insert_with(|| Box::new(ItemFailure { error: error.clone(), node, leaves }));
        }
    }

    /// The first failed item fails its container, or it cannot go on itself: what is open of it is abandoned.
    pub(super) fn fail_container(
        &mut self,
        container: Instance,
        error: &NodeError,
        origin: Instance,
    ) -> Result<(), Corrupt> {
        if let Some(expansion) = self.state.expansions.get_mut(&container) {
            expansion.has_failed = true;
            if std::mem::take(&mut expansion.is_due) {
                self.take_due(container);
            }
        }
        if self.catches(container, origin) {
            // It gives what was wrong, which is a decision: when nothing of its body is at an agent any more.
            let failure = Some(Box::new(error.clone()));
            self.state.expansions.entry(container).and_modify(|expansion| expansion.failure = failure);
        } else {
            // The run's error names the node that failed, not what it lies in.
            self.give_up_at(container, error, origin)?;
        }
        for scope in self.frames_of(container) {
            self.abandon(scope, AtAgent::Finishes)?;
        }
        self.let_go(container)
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
            node: frame.container.node,
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
        self.enter(container, NodePhase::Dropped)?;
        self.dropped.push(container);
        for scope in self.frames_of(container) {
            self.abandon(scope, at_agent)?;
        }
        self.let_go(container)
    }

    /// An instance has its final phase: its item may close with it.
    pub(super) fn leave(&mut self, instance: Instance) -> Result<(), Corrupt> {
        if instance.scope != ROOT && self.frame(instance.scope).is_none() {
            return Ok(());
        }
        match self.count_down(instance)? {
            0 if instance.scope != ROOT => self.close_frame(instance.scope),
            _ => Ok(()),
        }
    }

    /// An instance is not open any more; gives how many beside it still are. Nothing closes by that alone.
    pub(super) fn count_down(&mut self, instance: Instance) -> Result<u32, Corrupt> {
        let miscounted = Corrupt::Miscounted { seq: self.state.seq, instance };
        let open = match self.state.frames.get_mut(&instance.scope) {
            Some(frame) => &mut frame.open,
            None => &mut self.state.open_nodes,
        };
        *open = open.checked_sub(1).ok_or(miscounted)?;
        Ok(*open)
    }

    /// Takes out the first timer of an instance. Mostly among the first: timers are used up in the order of their instants.
    pub(super) fn take_timer(&mut self, instance: Instance) {
        let found = self.state.timers.iter().find(|timer| timer.instance == instance).copied();
        found.map(|timer| self.state.timers.remove(&timer));
    }
}

/// A message within its limit.
pub(super) fn cut(mut message: String) -> Arc<str> {
    let mut end = limits::ERROR_MESSAGE_BYTES_MAX.min(message.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message.into()
}
