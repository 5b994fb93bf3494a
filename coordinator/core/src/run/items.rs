//! Items and turns for those who look at a run: which numbers a scope has, also when it has left memory, and how the items
//! of each container stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::scope::{Frame, ItemFailure};
use super::{Corrupt, NodePhase, Run, RunStatus, TimerKind};
use crate::graph::{Graph, ScopeKind};
use crate::id::{Instance, NodeIx, RunId, ScopeIx};
use crate::run::event::{Decision, Event, Opened};
use crate::time::Timestamp;

/// The code of an item that did not fail by itself.
pub(super) const GIVEN_UP: &str = "item_failed";

/// A run as far as its history has been read, and what is left of the items that have closed.
#[derive(Debug, Clone)]
pub struct ItemsView {
    run: Run,
    paths: ScopePaths,
    /// Of each container.
    containers: BTreeMap<NodeIx, Counted>,
    /// Containers whose items the last event has changed.
    touched: Vec<NodeIx>,
}

/// Which container and number each scope of a run has. Scopes are numbered as they are opened, so a stretch of them is one
/// entry.
#[derive(Debug, Clone, Default)]
pub struct ScopePaths(Vec<Stretch>);

/// Items in a row, with scopes in a row.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    scope: ScopeIx,
    container: Instance,
    index: u32,
    items: u32,
}

/// What became of a container's items, over all its instances.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    opened: u32,
    failed: u32,
    given_up: u32,
    /// How many there are in all, where that is known.
    total: Option<u32>,
}

/// How items stand, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ItemCounts {
    /// How many there will be; nothing while that is not known.
    pub total: Option<u32>,
    /// Done.
    pub completed: u32,
    /// Of these, the instances of a node whose output an earlier run gave.
    pub cached: u32,
    /// Failed for good.
    pub failed: u32,
    /// Did not run, or not to their end.
    pub skipped: u32,
    /// At work.
    pub running: u32,
}

/// How an item or a turn stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemState {
    Open,
    Completed,
    Failed,
    /// Another item failed, or the container was given up.
    GivenUp,
}

impl ItemFailure {
    /// Whether its item did not fail by itself.
    pub(super) fn is_given_up(&self) -> bool {
        &*self.error.code == GIVEN_UP
    }
}

impl Frame {
    /// How its item stands, while the run goes on or after it.
    pub(super) fn state(&self, is_over: bool) -> ItemState {
        let Some(failure) = &self.failure else {
            return if self.open == 0 { ItemState::Completed } else { ItemState::Open };
        };
        match failure.is_given_up() {
            _ if self.open > 0 && !is_over => ItemState::Open,
            true => ItemState::GivenUp,
            false => ItemState::Failed,
        }
    }
}

impl ScopePaths {
    fn open(&mut self, container: Instance, opened: &Opened) {
        let items = opened.items.len() as u32;
        match self.0.last_mut() {
            Some(last)
                if last.container == container
                    && last.scope.0 + last.items == opened.scope.0
                    && last.index + last.items == opened.index =>
            {
                last.items += items;
            }
            _ => self.0.push(Stretch { scope: opened.scope, container, index: opened.index, items }),
        }
    }

    /// Reads the next event.
    pub fn note(&mut self, event: &Event) {
        for decision in &event.decisions {
            if let Decision::Opened { instance, opened } = decision {
                self.open(*instance, opened);
            }
        }
    }

    /// The numbers of the items and turns that a scope lies in, the outermost first.
    pub fn path(&self, scope: ScopeIx) -> Vec<u32> {
        let around = std::iter::successors(self.of(scope), |(container, _)| self.of(container.scope));
        let mut path: Vec<u32> = around.map(|(_, index)| index).collect();
        path.reverse();
        path
    }

    /// Whose item a scope is, and which.
    fn of(&self, scope: ScopeIx) -> Option<(Instance, u32)> {
        let place = self.0.partition_point(|stretch| stretch.scope <= scope).checked_sub(1)?;
        let stretch = self.0.get(place).filter(|stretch| scope.0 - stretch.scope.0 < stretch.items)?;
        Some((stretch.container, stretch.index + (scope.0 - stretch.scope.0)))
    }
}

impl ItemsView {
    /// A view of a run from its first event.
    ///
    /// # Errors
    /// [`Corrupt`] if the history does not begin with this event.
    pub fn begin(id: RunId, graph: Arc<Graph>, first: &Event) -> Result<Self, Corrupt> {
        let run = Run::begin_with(id, graph, first, Some(Vec::new()))?;
        let mut view = Self { run, paths: ScopePaths::default(), containers: BTreeMap::new(), touched: Vec::new() };
        view.note(first);
        Ok(view)
    }

    /// Reads the next event.
    ///
    /// # Errors
    /// [`Corrupt`] if it does not follow.
    pub fn step(&mut self, event: &Event) -> Result<(), Corrupt> {
        self.run.step(event)?;
        self.note(event);
        Ok(())
    }

    /// The state that decisions are made on.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The numbers of the items and turns that a scope lies in, the outermost first.
    pub fn path(&self, scope: ScopeIx) -> Vec<u32> {
        self.paths.path(scope)
    }

    /// Containers whose items the last event has changed.
    pub fn touched(&self) -> &[NodeIx] {
        &self.touched
    }

    /// How the items of a container stand, or the instances of a node in a body; nothing of other nodes.
    pub fn counts(&self, node: NodeIx) -> Option<ItemCounts> {
        let graph = self.run.graph();
        match graph.scope(node) {
            Some(_) => Some(self.items_of(node)),
            None => graph.within(node).map(|container| self.instances_of(node, container)),
        }
    }

    fn items_of(&self, container: NodeIx) -> ItemCounts {
        let counted = self.containers.get(&container).copied().unwrap_or_default();
        let mut counts = ItemCounts {
            total: self.total(container),
            failed: counted.failed,
            skipped: counted.given_up,
            ..ItemCounts::default()
        };
        for frame in self.run.state.frames.values().filter(|frame| frame.container.node == container) {
            match frame.state(self.run.status() != RunStatus::Running) {
                ItemState::Open if self.run.status() != RunStatus::Running => counts.skipped += 1,
                ItemState::Open => counts.running += 1,
                ItemState::Failed => counts.failed += 1,
                ItemState::GivenUp => counts.skipped += 1,
                ItemState::Completed => {}
            }
        }
        counts.completed = counted.opened.saturating_sub(counts.running + counts.failed + counts.skipped);
        counts
    }

    fn instances_of(&self, node: NodeIx, container: NodeIx) -> ItemCounts {
        let tally = self.run.tally(node);
        let mut counts = ItemCounts {
            total: self.total(container),
            completed: tally.completed,
            cached: tally.cached,
            failed: tally.failed,
            skipped: tally.skipped + tally.dropped,
            running: 0,
        };
        let is_over = self.run.status() != RunStatus::Running;
        for (_, phase) in self.run.open_instances(node) {
            match phase {
                NodePhase::Completed => counts.completed += 1,
                NodePhase::Cached => {
                    counts.completed += 1;
                    counts.cached += 1;
                }
                NodePhase::Failed => counts.failed += 1,
                NodePhase::Skipped | NodePhase::Dropped => counts.skipped += 1,
                NodePhase::Running | NodePhase::Backoff | NodePhase::Waiting | NodePhase::Open => match is_over {
                    true => counts.skipped += 1,
                    false => counts.running += 1,
                },
                _ => {}
            }
        }
        counts
    }

    /// How many items a container will have had. Of one that lies in a body, nobody knows how often it will run; of a loop, how
    /// many turns there will be.
    fn total(&self, container: NodeIx) -> Option<u32> {
        let scope = self.run.graph().scope(container)?;
        if self.run.graph().within(container).is_some() || matches!(scope.kind, ScopeKind::Loop { .. }) {
            return None;
        }
        match self.containers.get(&container) {
            Some(counted) => counted.total,
            // It has had none and will have none.
            None => matches!(self.run.phase_of(container), NodePhase::Completed | NodePhase::Skipped).then_some(0),
        }
    }

    /// Items and turns that left memory with the last event.
    pub(super) fn closed(&self) -> &[(ScopeIx, Frame)] {
        self.run.closed.as_deref().unwrap_or_default()
    }

    fn note(&mut self, event: &Event) {
        self.touched.clear();
        self.paths.note(event);
        for decision in &event.decisions {
            let Decision::Opened { instance, opened } = decision else { continue };
            let counted = self.containers.entry(instance.node).or_default();
            counted.opened += opened.items.len() as u32;
            // A loop says only how many turns there may be.
            counted.total = Some(opened.count);
            self.touched.push(instance.node);
        }
        for (_, frame) in self.run.closed.iter().flatten() {
            let counted = self.containers.entry(frame.container.node).or_default();
            match frame.state(false) {
                ItemState::Failed => counted.failed += 1,
                ItemState::GivenUp | ItemState::Open => counted.given_up += 1,
                ItemState::Completed => {}
            }
            self.touched.push(frame.container.node);
        }
        self.touched.sort_unstable();
        self.touched.dedup();
    }
}

impl Run {
    /// Until when an instance waits.
    pub fn waits_until(&self, instance: Instance) -> Option<Timestamp> {
        let mut timers = self.state.timers.iter();
        timers.find(|timer| timer.instance == instance && timer.kind == TimerKind::Wait).map(|timer| timer.at)
    }

    /// The item or turn of this number, also where it left memory with the last event and somebody looks.
    pub(super) fn frame_seen(&self, scope: ScopeIx) -> Option<&Frame> {
        let closed = || self.closed.as_ref()?.iter().find(|(closed, _)| *closed == scope).map(|(_, frame)| frame);
        self.frame(scope).or_else(closed)
    }
}
