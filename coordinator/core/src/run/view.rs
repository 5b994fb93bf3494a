//! What people see of a run: the same fold, with the times and agents that decisions do not need.

use std::sync::Arc;

use super::items::{ItemCounts, ItemsView};
use super::scope::Tally;
use super::{Corrupt, NodePhase, Run, RunStatus};
use crate::graph::Graph;
use crate::id::{AgentId, EventSeq, Instance, NodeIx, ProviderIx, RunId, Subject};
use crate::run::event::{ChildOutcome, Decision, Event, Fact, NodeError, ReviewOutcome, RunError};
use crate::run::lineage::Source;
use crate::time::Timestamp;

/// A run as far as its history has been read.
#[derive(Debug, Clone)]
pub struct RunView {
    items: ItemsView,
    nodes: Vec<NodeView>,
    /// When the run ended.
    ended_at: Option<Timestamp>,
    /// Who cancelled it, and why.
    cancelled: Option<(Subject, Option<Arc<str>>)>,
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
    /// Where its output comes from, if an earlier run gave it; of a node in a body, that of one of its instances.
    pub source: Option<Source>,
    /// The run that it has invoked.
    pub child: Option<RunId>,
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
    /// Waits for an instant, for people or for a child.
    Waiting,
    /// Has its output.
    Completed,
    /// Has the output that an earlier run gave.
    Cached,
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
        let items = ItemsView::begin(id, graph, first)?;
        let nodes = vec![NodeView::default(); items.run().graph().len()];
        let mut view = Self { items, nodes, ended_at: None, cancelled: None };
        view.note_all(first);
        Ok(view)
    }

    /// Reads the next event.
    ///
    /// # Errors
    /// [`Corrupt`] if it does not follow.
    pub fn step(&mut self, event: &Event) -> Result<(), Corrupt> {
        self.items.step(event)?;
        self.note_all(event);
        Ok(())
    }

    /// The state that decisions are made on.
    pub fn run(&self) -> &Run {
        self.items.run()
    }

    /// Its items and turns.
    pub fn items(&self) -> &ItemsView {
        &self.items
    }

    /// The youngest event it reflects.
    pub fn seq(&self) -> EventSeq {
        self.run().seq()
    }

    /// When the run ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// Who cancelled the run, and why if they have said it. A run that its graph has ended is cancelled by nobody.
    pub fn cancelled(&self) -> Option<(&Subject, Option<&str>)> {
        self.cancelled.as_ref().map(|(by, reason)| (by, reason.as_deref()))
    }

    /// A node's times, agent and error.
    pub fn node(&self, node: NodeIx) -> &NodeView {
        &self.nodes[node.0 as usize]
    }

    /// A node's state; `None` if it is no part of the run.
    pub fn node_state(&self, node: NodeIx) -> Option<NodeState> {
        match self.run().phase_of(node) {
            NodePhase::Inside => self.body_state(node),
            phase => state_of(self.run().phase_shown(Instance::root(node), phase), self.run().status()),
        }
    }

    /// How the items of a container stand, or the instances of a node in a body; nothing of other nodes.
    pub fn counts(&self, node: NodeIx) -> Option<ItemCounts> {
        self.items.counts(node)
    }

    /// The state of a node in a body, over all its instances.
    fn body_state(&self, node: NodeIx) -> Option<NodeState> {
        let container = self.run().graph().within(node)?;
        let tally = self.run().tally(node);
        let is_open = |phase| self.run().open_instances(node).any(|(_, it)| phase == it);
        Some(match self.node_state(container)? {
            NodeState::Completed if tally.completed > 0 && tally.completed == tally.cached => NodeState::Cached,
            NodeState::Completed if tally.completed > 0 => NodeState::Completed,
            NodeState::Completed if tally.failed > 0 => NodeState::Failed,
            NodeState::Completed if tally.dropped > 0 => NodeState::Cancelled,
            NodeState::Completed => NodeState::Skipped,
            NodeState::Running if is_open(NodePhase::Waiting) && !is_open(NodePhase::Running) => NodeState::Waiting,
            NodeState::Failed if tally.failed > 0 || is_open(NodePhase::Failed) => NodeState::Failed,
            // Without items none has failed in one: the lists were to blame.
            NodeState::Failed if self.is_to_blame(container) => {
                let takes_items = self.run().graph().takes_items(container).any(|ix| ix == node);
                if takes_items { NodeState::Failed } else { NodeState::Skipped }
            }
            NodeState::Failed => self.state_in_failed(node),
            state => state,
        })
    }

    /// The state of a node whose container has failed and that has failed in none of its items.
    fn state_in_failed(&self, node: NodeIx) -> NodeState {
        let mut tally = self.run().tally(node);
        for (_, phase) in self.run().open_instances(node) {
            match phase {
                NodePhase::Completed => tally.completed += 1,
                NodePhase::Cached => (tally.completed, tally.cached) = (tally.completed + 1, tally.cached + 1),
                NodePhase::Skipped => tally.skipped += 1,
                // With its container it was given up.
                _ => tally.dropped += 1,
            }
        }
        match tally {
            Tally { dropped: 1.., .. } => NodeState::Cancelled,
            Tally { completed: 1.., cached, .. } if cached == tally.completed => NodeState::Cached,
            Tally { completed: 1.., .. } => NodeState::Completed,
            Tally { skipped: 1.., .. } => NodeState::Skipped,
            _ => NodeState::Cancelled,
        }
    }

    /// Whether lifted nodes failed because their lists cannot be gone through.
    fn is_to_blame(&self, container: NodeIx) -> bool {
        let run = self.run();
        let has_failed = |ix: &NodeIx| {
            run.tally(*ix).failed > 0 || run.open_instances(*ix).any(|(_, phase)| phase == NodePhase::Failed)
        };
        run.graph().node(container).is_anonymous && !run.graph().body(container).iter().any(has_failed)
    }

    /// What lifted nodes are told of their lists: no document names the map that they run in.
    fn blame(&mut self, event: &Event) {
        let graph = Arc::clone(self.run().graph());
        for decision in &event.decisions {
            let Decision::Failed { instance, error, .. } = decision else { continue };
            for ix in graph.takes_items(instance.node).filter(|_| graph.node(instance.node).is_anonymous) {
                over(self.nodes.get_mut(ix.0 as usize), event.at, Some(error));
            }
        }
    }

    /// What lies in a container that is reused comes from where the container does.
    fn take_over(&mut self, event: &Event) {
        let graph = Arc::clone(self.run().graph());
        for decision in &event.decisions {
            let Decision::Reused { instance, source, .. } = decision else { continue };
            // In each item it is the same again.
            let is_known = self.nodes.get(instance.node.0 as usize).is_none_or(|view| view.source == Some(*source));
            if !is_known && graph.scope(instance.node).is_some() {
                for ix in graph.all_inside(instance.node) {
                    self.nodes[ix.0 as usize].source = Some(*source);
                }
            }
        }
    }

    /// With the run everything of it is over. What its error says is true of all containers around the node, too.
    fn close(&mut self, at: Timestamp, error: Option<&RunError>) {
        let begun = self.nodes.iter_mut().filter(|view| view.started_at.is_some());
        begun.for_each(|view| view.ended_at = view.ended_at.or(Some(at)));
        self.nodes.iter_mut().for_each(|view| view.waits_until = None);
        let Some((error, node, class)) = error.and_then(|error| Some((error, error.node?, error.class?))) else {
            return;
        };
        let graph = Arc::clone(self.run().graph());
        for container in std::iter::successors(graph.within(node), |around| graph.within(*around)) {
            let view = &mut self.nodes[container.0 as usize];
            view.error.get_or_insert_with(|| NodeError {
                class,
                code: error.code.clone(),
                message: error.message.clone(),
            });
        }
    }

    fn note_all(&mut self, event: &Event) {
        if let Fact::Ended { by, reason, .. } = &event.fact {
            self.ended_at = Some(event.at);
            self.cancelled = by.clone().map(|by| (by, reason.clone()));
        }
        self.take_over(event);
        note(event, self);
        self.blame(event);
        if let Fact::Ended { error, .. } = &event.fact {
            self.close(event.at, error.as_ref());
        }
        for node in self.items.run().dropped_nodes() {
            let view = &mut self.nodes[node.0 as usize];
            (view.ended_at, view.waits_until) = (Some(event.at), None);
        }
    }
}

/// What people are told of a phase; nothing of what is no part of the run, or has no phase of its own.
pub(crate) fn state_of(phase: NodePhase, status: RunStatus) -> Option<NodeState> {
    let is_over = status != RunStatus::Running;
    Some(match phase {
        NodePhase::Excluded | NodePhase::Inside => return None,
        NodePhase::Completed => NodeState::Completed,
        NodePhase::Cached => NodeState::Cached,
        NodePhase::Failed => NodeState::Failed,
        NodePhase::Skipped => NodeState::Skipped,
        NodePhase::Dropped => NodeState::Cancelled,
        NodePhase::Running | NodePhase::Backoff | NodePhase::Waiting | NodePhase::Open if is_over => {
            NodeState::Cancelled
        }
        // A run that completed before all of its nodes was stopped by one of them.
        _ if matches!(status, RunStatus::Cancelled | RunStatus::Completed) => NodeState::Cancelled,
        NodePhase::Due | NodePhase::Ready if !is_over => NodeState::Ready,
        NodePhase::Pending | NodePhase::Due | NodePhase::Ready => NodeState::Pending,
        NodePhase::Running | NodePhase::Backoff | NodePhase::Open => NodeState::Running,
        NodePhase::Waiting => NodeState::Waiting,
    })
}

impl Noted for RunView {
    fn entry(&mut self, instance: Instance) -> Option<&mut NodeView> {
        self.nodes.get_mut(instance.node.0 as usize)
    }
}

/// Where what events say of nodes is noted.
pub(super) trait Noted {
    /// What is known of an instance; nothing if nobody looks at it.
    fn entry(&mut self, instance: Instance) -> Option<&mut NodeView>;
}

/// Notes what an event says of nodes.
pub(super) fn note(event: &Event, nodes: &mut impl Noted) {
    let at = event.at;
    match &event.fact {
        Fact::Succeeded { attempt, .. } => over(nodes.entry(attempt.instance), at, None),
        Fact::Failed { attempt, error, retry_at, fallback, asks, .. } => {
            if let Some(node) = nodes.entry(attempt.instance) {
                node.error = Some(error.clone());
                node.ended_at = (retry_at.is_none() && fallback.is_none() && !asks).then_some(at);
                node.provider = fallback.unwrap_or(node.provider);
            }
        }
        // People decide whether it is over with that.
        Fact::Lost { attempt, failure: Some(error), asks: true, .. } => {
            nodes.entry(attempt.instance).into_iter().for_each(|node| node.error = Some(error.clone()));
        }
        Fact::Lost { attempt, failure: Some(error), .. } => over(nodes.entry(attempt.instance), at, Some(error)),
        Fact::TimerFired { instance, .. } => over(nodes.entry(*instance), at, None),
        Fact::Called(it) => over(nodes.entry(it.instance), at, None),
        Fact::Signalled(it) => it.to.into_iter().for_each(|to| over(nodes.entry(to), at, None)),
        Fact::ChildEnded(it) => match &it.outcome {
            ChildOutcome::Gave(_) => over(nodes.entry(it.instance), at, None),
            ChildOutcome::Failed { error, .. } => over(nodes.entry(it.instance), at, Some(error)),
        },
        Fact::Reviewed(it) => match &it.outcome {
            ReviewOutcome::Open { due_at } => {
                nodes.entry(it.instance).into_iter().for_each(|node| node.waits_until = *due_at);
            }
            ReviewOutcome::Begins => {
                nodes.entry(it.instance).into_iter().for_each(|node| node.waits_until = None);
            }
            ReviewOutcome::Gave(_) => over(nodes.entry(it.instance), at, None),
            ReviewOutcome::Failed { error, .. } => over(nodes.entry(it.instance), at, Some(error)),
            ReviewOutcome::Again { instance } => {
                for instance in [it.instance, *instance] {
                    if let Some(node) = nodes.entry(instance) {
                        (node.ended_at, node.waits_until, node.error) = (None, None, None);
                    }
                }
            }
        },
        _ => {}
    }
    for decision in &event.decisions {
        let node = nodes.entry(decision.instance());
        match decision {
            Decision::Completed { .. } | Decision::Took { .. } | Decision::Stopped { .. } => {
                over(begun(node, at), at, None)
            }
            Decision::Waiting { until, .. } => {
                if let Some(node) = node {
                    (node.started_at, node.waits_until) = (Some(at), Some(*until));
                }
            }
            Decision::Listening { until, .. } => {
                if let Some(node) = node {
                    (node.started_at, node.waits_until) = (Some(at), *until);
                }
            }
            Decision::Asked { asked, .. } => {
                if let Some(node) = begun(node, at) {
                    (node.ended_at, node.waits_until) = (None, asked.due_at);
                }
            }
            Decision::Failed { error, .. } => over(node, at, Some(error)),
            Decision::Invoked { invoked, .. } => {
                if let Some(node) = begun(node, at) {
                    node.child = Some(invoked.child);
                }
            }
            Decision::Opened { .. } => drop(begun(node, at)),
            Decision::Reused { source, .. } => {
                if let Some(node) = node {
                    (node.started_at, node.ended_at, node.source) = (Some(at), Some(at), Some(*source));
                }
            }
            Decision::Afresh { .. } | Decision::Delegated { .. } | Decision::Gathered { .. } => {}
        }
    }
    for assignment in &event.assignments {
        if let Some(node) = begun(nodes.entry(assignment.attempt.instance), at) {
            node.attempts = assignment.attempt.number.0;
            node.agent = Some(assignment.to.agent.clone());
            node.provider = assignment.provider;
        }
    }
}

fn begun(node: Option<&mut NodeView>, at: Timestamp) -> Option<&mut NodeView> {
    let node = node?;
    node.started_at.get_or_insert(at);
    Some(node)
}

fn over(node: Option<&mut NodeView>, at: Timestamp, error: Option<&NodeError>) {
    if let Some(node) = node {
        node.ended_at = Some(at);
        node.waits_until = None;
        node.error = error.cloned();
    }
}
