//! What people see of a run: the same fold, with the times and agents that decisions do not need.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Corrupt, NodePhase, Run, RunStatus};
use crate::graph::{Graph, ScopeKind};
use crate::id::{AgentId, EventSeq, Instance, NodeIx, ProviderIx, RunId};
use crate::run::event::{Decision, Event, Fact, NodeError};
use crate::time::Timestamp;

/// A run as far as its history has been read.
#[derive(Debug, Clone)]
pub struct RunView {
    run: Run,
    nodes: Vec<NodeView>,
    /// The last event before which a node's readiness was recorded.
    ended_at: Option<Timestamp>,
    /// Of each container.
    opened: BTreeMap<NodeIx, OpenedItems>,
}

/// What a container has opened.
#[derive(Debug, Clone, Copy, Default)]
struct OpenedItems {
    /// Items of all its instances.
    items: u32,
    /// How many there are in all, where that is known.
    total: Option<u32>,
}

/// How items stand, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ItemCounts {
    /// How many there will be; nothing while that is not known.
    pub total: Option<u32>,
    /// Done, or for a container closed in whatever way.
    pub completed: u32,
    /// Failed for good.
    pub failed: u32,
    /// Did not run, or not to their end.
    pub skipped: u32,
    /// At work.
    pub running: u32,
}

/// What people see of one node next to its phase and outputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeView {
    /// Tries so far.
    pub attempts: u32,
    /// Who has it, or had it last.
    pub agent: Option<AgentId>,
    /// When it was given to an agent or began to wait.
    pub started_at: Option<Timestamp>,
    /// When it got its final phase.
    pub ended_at: Option<Timestamp>,
    /// Why its last attempt failed.
    pub error: Option<NodeError>,
    /// Until when it waits, if it does.
    pub waits_until: Option<Timestamp>,
    /// Who does its work, or gave its result.
    pub provider: ProviderIx,
}

/// A node's state in the words of the public API (graph.md, part 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// An input is not settled.
    Pending,
    /// Could run now.
    Ready,
    /// An agent has it.
    Running,
    /// Waits for an instant.
    Waiting,
    /// Has its output.
    Completed,
    /// Failed for good.
    Failed,
    /// A required input is closed.
    Skipped,
    /// The run ended before it did, or it was given up.
    Cancelled,
}

impl RunView {
    /// A view of a run from its first event.
    ///
    /// # Errors
    /// [`Corrupt`] if the history does not begin with this event.
    pub fn begin(id: RunId, graph: Arc<Graph>, first: &Event) -> Result<Self, Corrupt> {
        let run = Run::begin(id, graph, first)?;
        let nodes = vec![NodeView::default(); run.graph().len()];
        let mut view = Self { run, nodes, ended_at: None, opened: BTreeMap::new() };
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

    /// The youngest event it reflects.
    pub fn seq(&self) -> EventSeq {
        self.run.seq()
    }

    /// When the run ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// A node's times, agent and error.
    pub fn node(&self, node: NodeIx) -> &NodeView {
        &self.nodes[node.0 as usize]
    }

    /// A node's state; `None` if it is no part of the run.
    pub fn node_state(&self, node: NodeIx) -> Option<NodeState> {
        let over = self.run.status() != RunStatus::Running;
        Some(match self.run.phase_of(node) {
            NodePhase::Excluded => return None,
            NodePhase::Completed => NodeState::Completed,
            NodePhase::Failed => NodeState::Failed,
            NodePhase::Skipped => NodeState::Skipped,
            NodePhase::Running | NodePhase::Backoff | NodePhase::Waiting | NodePhase::Open if over => {
                NodeState::Cancelled
            }
            // A run that completed before all of its nodes was stopped by one of them.
            _ if matches!(self.run.status(), RunStatus::Cancelled | RunStatus::Completed) => NodeState::Cancelled,
            NodePhase::Pending => NodeState::Pending,
            // A loop of which an agent looks at a turn.
            NodePhase::Ready if self.opened.contains_key(&node) => {
                if over {
                    NodeState::Cancelled
                } else {
                    NodeState::Running
                }
            }
            NodePhase::Due | NodePhase::Ready => {
                if over {
                    NodeState::Pending
                } else {
                    NodeState::Ready
                }
            }
            NodePhase::Running | NodePhase::Backoff | NodePhase::Open => NodeState::Running,
            NodePhase::Waiting => NodeState::Waiting,
            NodePhase::Dropped => NodeState::Cancelled,
            NodePhase::Inside => return self.body_state(node),
        })
    }

    /// How the items of a container stand, or the instances of a node in a body; nothing of other nodes.
    pub fn items(&self, node: NodeIx) -> Option<ItemCounts> {
        let graph = self.run.graph();
        if graph.scope(node).is_some() {
            let opened = self.opened.get(&node).copied().unwrap_or_default();
            let running = self.run.items_open(node);
            let total = opened.total.filter(|_| graph.within(node).is_none());
            return Some(ItemCounts { total, completed: opened.items - running, running, ..ItemCounts::default() });
        }
        let container = graph.within(node)?;
        let tally = self.run.tally(node);
        let mut counts = ItemCounts {
            total: self.opened.get(&container).and_then(|it| it.total).filter(|_| graph.within(container).is_none()),
            completed: tally.completed,
            failed: tally.failed,
            skipped: tally.skipped + tally.dropped,
            running: 0,
        };
        for (_, phase) in self.run.open_instances(node) {
            match phase {
                NodePhase::Completed => counts.completed += 1,
                NodePhase::Failed => counts.failed += 1,
                NodePhase::Skipped | NodePhase::Dropped => counts.skipped += 1,
                NodePhase::Running | NodePhase::Backoff | NodePhase::Waiting | NodePhase::Open => counts.running += 1,
                _ => {}
            }
        }
        Some(counts)
    }

    /// The state of a node in a body, over all its instances.
    fn body_state(&self, node: NodeIx) -> Option<NodeState> {
        let container = self.run.graph().within(node)?;
        let tally = self.run.tally(node);
        let is_open = |phase| self.run.open_instances(node).any(|(_, it)| phase == it);
        Some(match self.node_state(container)? {
            NodeState::Completed if tally.completed > 0 => NodeState::Completed,
            NodeState::Completed if tally.failed > 0 => NodeState::Failed,
            NodeState::Completed => NodeState::Skipped,
            NodeState::Running if is_open(NodePhase::Waiting) && !is_open(NodePhase::Running) => NodeState::Waiting,
            NodeState::Failed if tally.failed > 0 || is_open(NodePhase::Failed) => NodeState::Failed,
            NodeState::Failed => NodeState::Cancelled,
            state => state,
        })
    }

    fn note(&mut self, event: &Event) {
        let at = event.at;
        match &event.fact {
            Fact::Succeeded { attempt, .. } => self.over(attempt.instance, at, None),
            Fact::Failed { attempt, error, retry_at, fallback, .. } => {
                let node = self.entry(attempt.instance);
                node.error = Some(error.clone());
                node.ended_at = (retry_at.is_none() && fallback.is_none()).then_some(at);
                node.provider = fallback.unwrap_or(node.provider);
            }
            Fact::Lost { attempt, failure: Some(error), .. } => self.over(attempt.instance, at, Some(error)),
            Fact::TimerFired { instance, .. } => self.over(*instance, at, None),
            Fact::Ended { .. } => self.ended_at = Some(at),
            _ => {}
        }
        for decision in &event.decisions {
            match decision {
                Decision::Completed { instance, .. } => {
                    self.entry(*instance).started_at.get_or_insert(at);
                    self.over(*instance, at, None);
                }
                Decision::Waiting { instance, until } => {
                    let node = self.entry(*instance);
                    node.started_at = Some(at);
                    node.waits_until = Some(*until);
                }
                Decision::Delegated { .. } => {}
                Decision::Failed { instance, error, .. } => self.over(*instance, at, Some(error)),
                Decision::Stopped { instance, .. } => {
                    self.entry(*instance).started_at.get_or_insert(at);
                    self.over(*instance, at, None);
                }
                Decision::Opened { instance, opened } => {
                    self.entry(*instance).started_at.get_or_insert(at);
                    let known = self.opened.entry(instance.node).or_default();
                    known.items += opened.items.len() as u32;
                    let scope = self.run.graph().scope(instance.node);
                    // A loop says only how many turns there may be.
                    known.total = scope.filter(|it| !matches!(it.kind, ScopeKind::Loop { .. })).map(|_| opened.count);
                }
                Decision::Gathered { .. } => {}
            }
        }
        for assignment in &event.assignments {
            let node = self.entry(assignment.attempt.instance);
            node.attempts = assignment.attempt.number.0;
            node.agent = Some(assignment.to.agent.clone());
            node.provider = assignment.provider;
            node.started_at.get_or_insert(at);
        }
        for node in self.run.dropped_nodes() {
            let view = &mut self.nodes[node.0 as usize];
            (view.ended_at, view.waits_until) = (Some(at), None);
        }
    }

    fn over(&mut self, instance: Instance, at: Timestamp, error: Option<&NodeError>) {
        let node = self.entry(instance);
        node.ended_at = Some(at);
        node.waits_until = None;
        node.error = error.cloned();
    }

    fn entry(&mut self, instance: Instance) -> &mut NodeView {
        &mut self.nodes[instance.node.0 as usize]
    }
}
