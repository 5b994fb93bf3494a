//! Where a run's time went: a fold of its history into spans, with times of the partition's clock only. An agent reports
//! lengths of time, and they are laid before the instant at which its result was taken in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::graph::Graph;
use crate::id::{AgentId, AttemptNumber, Instance, NodeIx, ProviderIx, RunId, ScopeIx};
use crate::limits;
use crate::run::RunStatus;
use crate::run::event::{self, ChildOutcome, Decision, Event, Fact, ReviewOutcome, Timing};
use crate::run::lineage::Source;
use crate::time::{Span, Timestamp};

/// The spans of one run, as far as its history has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// When the run was accepted.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How it stands.
    pub status: RunStatus,
    /// The stable code of why it did not complete.
    pub error_code: Option<Arc<str>>,
    /// What the caller sent with it.
    pub traceparent: Option<Arc<str>>,
    /// Spans that are not here: at most [`limits::TRACE_SPANS_MAX`] are kept.
    pub left_out: u64,
    /// Of nodes that something was recorded of.
    nodes: BTreeMap<Instance, NodeSpan>,
    /// When items and turns began.
    opened: BTreeMap<ScopeIx, Timestamp>,
    /// What the run covers, if that is not all.
    part: Option<Vec<NodeIx>>,
}

/// How one node's time went.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSpan {
    /// Which node.
    pub instance: Instance,
    /// When the last of its inputs came.
    pub ready_at: Timestamp,
    /// When it began to wait for an instant, for people or for a child, if it did. A node with neither this nor attempts nor items was
    /// decided at once.
    pub waiting_since: Option<Timestamp>,
    /// Of a container: when its first items or turns began.
    pub opened_at: Option<Timestamp>,
    /// When it got its final phase, or its run ended.
    pub ended_at: Option<Timestamp>,
    /// How it stands.
    pub state: SpanState,
    /// The stable code of its failure.
    pub error_code: Option<Arc<str>>,
    /// Where its output comes from, if an earlier run gave it.
    pub source: Option<Source>,
    /// The run that it has invoked: that one's span lies in this one.
    pub child: Option<RunId>,
    /// Its attempts, in order.
    pub attempts: Vec<AttemptSpan>,
}

/// How one attempt's time went.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptSpan {
    /// Which try.
    pub number: AttemptNumber,
    /// Who had it.
    pub agent: AgentId,
    /// Who did the node's work in it.
    pub provider: ProviderIx,
    /// When it was given.
    pub assigned_at: Timestamp,
    /// When its work began: known once it has ended.
    pub started_at: Option<Timestamp>,
    /// When its end was taken in.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The stable code of its failure.
    pub error_code: Option<Arc<str>>,
}

/// How a node's span stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanState {
    /// At work, or about to be.
    Running,
    /// Waits for an instant or for people.
    Waiting,
    /// Has its output.
    Completed,
    /// Has the output that an earlier run gave.
    Cached,
    /// Failed for good.
    Failed,
    /// The run ended before it did, or it was given up.
    Cancelled,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// It has not.
    Running,
    /// With a result.
    Succeeded,
    /// With an error.
    Failed,
    /// Its agent went without a word.
    Lost,
    /// Not begun: its agent gave it back.
    HandedBack,
    /// After the end of its run, or after its node was given up.
    Stopped,
}

impl SpanState {
    /// Its word in the API.
    pub fn name(self) -> &'static str {
        match self {
            SpanState::Running => "RUNNING",
            SpanState::Waiting => "WAITING",
            SpanState::Completed => "COMPLETED",
            SpanState::Cached => "CACHED",
            SpanState::Failed => "FAILED",
            SpanState::Cancelled => "CANCELLED",
        }
    }
}

impl AttemptOutcome {
    /// Its word in the API.
    pub fn name(self) -> &'static str {
        match self {
            AttemptOutcome::Running => "RUNNING",
            AttemptOutcome::Succeeded => "SUCCEEDED",
            AttemptOutcome::Failed => "FAILED",
            AttemptOutcome::Lost => "LOST",
            AttemptOutcome::HandedBack => "HANDED_BACK",
            AttemptOutcome::Stopped => "STOPPED",
        }
    }
}

impl Trace {
    /// The trace of a run from its first event; `None` if it is no first event.
    pub fn begin(graph: &Graph, first: &Event) -> Option<Self> {
        let Fact::Submitted(submitted) = &first.fact else { return None };
        let mut trace = Self {
            started_at: first.at,
            ended_at: None,
            status: RunStatus::Running,
            error_code: None,
            traceparent: submitted.traceparent.clone(),
            left_out: 0,
            nodes: BTreeMap::new(),
            opened: BTreeMap::new(),
            part: submitted.part(graph),
        };
        trace.follow(graph, first);
        Some(trace)
    }

    /// Reads the next event. What does not follow is left out: whoever decides has found it already.
    pub fn step(&mut self, graph: &Graph, event: &Event) {
        let at = event.at;
        match &event.fact {
            Fact::Succeeded { attempt, timing, .. } => {
                self.end_attempt(attempt, at, AttemptOutcome::Succeeded, Some(*timing), None);
                self.end_node(graph, attempt.instance, at, SpanState::Completed, None);
            }
            Fact::Answered { attempt, timing, .. } => {
                self.end_attempt(attempt, at, AttemptOutcome::Succeeded, Some(*timing), None);
            }
            Fact::Failed { attempt, error, retry_at, fallback, asks, timing, .. } => {
                self.end_attempt(attempt, at, AttemptOutcome::Failed, Some(*timing), Some(&error.code));
                if retry_at.is_none() && fallback.is_none() && !asks {
                    self.end_node(graph, attempt.instance, at, SpanState::Failed, Some(&error.code));
                }
            }
            Fact::Lost { attempt, failure, asks, .. } => {
                self.end_attempt(attempt, at, AttemptOutcome::Lost, None, failure.as_ref().map(|error| &error.code));
                if let Some(error) = failure.as_ref().filter(|_| !asks) {
                    self.end_node(graph, attempt.instance, at, SpanState::Failed, Some(&error.code));
                }
            }
            Fact::HandedBack { attempts } => {
                attempts.iter().for_each(|it| self.end_attempt(it, at, AttemptOutcome::HandedBack, None, None));
            }
            Fact::Stopped { attempts } => {
                attempts.iter().for_each(|it| self.end_attempt(it, at, AttemptOutcome::Stopped, None, None));
            }
            Fact::Discarded { attempt } => self.end_attempt(attempt, at, AttemptOutcome::Stopped, None, None),
            Fact::Settled { attempt, .. } => self.end_attempt(attempt, at, AttemptOutcome::Succeeded, None, None),
            Fact::TimerFired { instance, .. } => self.end_node(graph, *instance, at, SpanState::Completed, None),
            Fact::Called(it) => self.end_node(graph, it.instance, at, SpanState::Completed, None),
            Fact::Signalled(it) => {
                it.to.into_iter().for_each(|to| self.end_node(graph, to, at, SpanState::Completed, None));
            }
            Fact::ChildEnded(it) => match &it.outcome {
                ChildOutcome::Gave(_) => self.end_node(graph, it.instance, at, SpanState::Completed, None),
                ChildOutcome::Failed { error, .. } => {
                    self.end_node(graph, it.instance, at, SpanState::Failed, Some(&error.code));
                }
            },
            Fact::Reviewed(it) => self.reviewed(graph, it, at),
            Fact::Paused { .. } | Fact::Unpaused { .. } => {}
            Fact::Ended { status, error, .. } => self.end(*status, error.as_ref().map(|error| &error.code), at),
            Fact::Submitted(_)
            | Fact::Offered { .. }
            | Fact::Continued
            | Fact::IntentRecorded { .. }
            | Fact::HandleRecorded { .. }
            | Fact::ProviderCancelled { .. } => {}
        }
        self.follow(graph, event);
    }

    /// Spans of nodes, in the order in which they became ready.
    pub fn nodes(&self) -> Vec<&NodeSpan> {
        let mut nodes: Vec<&NodeSpan> = self.nodes.values().collect();
        nodes.sort_by_key(|node| (node.ready_at, node.instance));
        nodes
    }

    fn follow(&mut self, graph: &Graph, event: &Event) {
        for decision in &event.decisions {
            match decision {
                Decision::Completed { instance, .. }
                | Decision::Took { instance, .. }
                | Decision::Stopped { instance, .. } => {
                    self.end_node(graph, *instance, event.at, SpanState::Completed, None);
                    self.end_losers(graph, *instance, event.at);
                }
                Decision::Reused { instance, source, .. } => {
                    self.end_node(graph, *instance, event.at, SpanState::Cached, None);
                    if let Some(node) = self.nodes.get_mut(instance) {
                        node.source = Some(*source);
                    }
                }
                Decision::Delegated { .. } | Decision::Afresh { .. } => {}
                Decision::Waiting { instance, .. } | Decision::Listening { instance, .. } => {
                    if let Some(node) = self.entry(graph, *instance) {
                        (node.state, node.waiting_since) = (SpanState::Waiting, Some(event.at));
                    }
                }
                Decision::Invoked { instance, invoked } => {
                    if let Some(node) = self.entry(graph, *instance) {
                        (node.state, node.waiting_since) = (SpanState::Waiting, Some(event.at));
                        node.child = Some(invoked.child);
                    }
                }
                Decision::Asked { instance, .. } => {
                    if let Some(node) = self.entry(graph, *instance) {
                        node.waiting_since.get_or_insert(event.at);
                        (node.state, node.ended_at) = (SpanState::Waiting, None);
                    }
                }
                Decision::Failed { instance, error, .. } => {
                    self.end_node(graph, *instance, event.at, SpanState::Failed, Some(&error.code));
                }
                Decision::Opened { instance, opened } => {
                    if let Some(node) = self.entry(graph, *instance) {
                        node.opened_at.get_or_insert(event.at);
                    }
                    let scopes = (opened.scope.0..).take(opened.items.len()).map(ScopeIx);
                    let room = limits::TRACE_SPANS_MAX.saturating_sub(self.opened.len());
                    self.opened.extend(scopes.take(room).map(|scope| (scope, event.at)));
                }
                Decision::Gathered { .. } => {}
            }
        }
        for assignment in &event.assignments {
            let attempt = AttemptSpan {
                number: assignment.attempt.number,
                agent: assignment.to.agent.clone(),
                provider: assignment.provider,
                assigned_at: event.at,
                started_at: None,
                ended_at: None,
                outcome: AttemptOutcome::Running,
                error_code: None,
            };
            if let Some(node) = self.entry(graph, assignment.attempt.instance) {
                node.attempts.push(attempt);
            }
        }
    }

    /// People have decided, or their time was over.
    fn reviewed(&mut self, graph: &Graph, it: &event::Reviewed, at: Timestamp) {
        match &it.outcome {
            ReviewOutcome::Open { .. } => {}
            ReviewOutcome::Begins => {
                self.entry(graph, it.instance).into_iter().for_each(|node| node.state = SpanState::Running);
            }
            ReviewOutcome::Gave(_) => self.end_node(graph, it.instance, at, SpanState::Completed, None),
            ReviewOutcome::Failed { error, .. } => {
                self.end_node(graph, it.instance, at, SpanState::Failed, Some(&error.code));
            }
            ReviewOutcome::Again { instance } => {
                self.end_node(graph, *instance, at, SpanState::Cancelled, None);
                self.entry(graph, it.instance).into_iter().for_each(|node| node.state = SpanState::Running);
            }
        }
    }

    fn end(&mut self, status: RunStatus, code: Option<&Arc<str>>, at: Timestamp) {
        (self.status, self.error_code, self.ended_at) = (status, code.cloned(), Some(at));
        for node in self.nodes.values_mut().filter(|node| node.ended_at.is_none()) {
            (node.state, node.ended_at) = (SpanState::Cancelled, Some(at));
        }
    }

    /// A race is won: what led to it alone is given up.
    fn end_losers(&mut self, graph: &Graph, race: Instance, at: Timestamp) {
        if !graph.cancels_losers(race.node) {
            return;
        }
        let part = self.part.clone();
        let belongs = |node: NodeIx| part.as_ref().is_none_or(|part| part.binary_search(&node).is_ok());
        for loser in graph.leading_only_to(race.node, &belongs) {
            let loser = race.beside(loser);
            let open = self.nodes.get_mut(&loser).filter(|node| node.ended_at.is_none());
            open.into_iter().for_each(|node| (node.state, node.ended_at) = (SpanState::Cancelled, Some(at)));
        }
    }

    fn end_node(
        &mut self,
        graph: &Graph,
        instance: Instance,
        at: Timestamp,
        state: SpanState,
        code: Option<&Arc<str>>,
    ) {
        if let Some(node) = self.entry(graph, instance) {
            (node.state, node.ended_at, node.error_code) = (state, Some(at), code.cloned());
        }
    }

    fn end_attempt(
        &mut self,
        attempt: &event::Attempt,
        at: Timestamp,
        outcome: AttemptOutcome,
        timing: Option<Timing>,
        code: Option<&Arc<str>>,
    ) {
        let node = self.nodes.get_mut(&attempt.instance);
        let found = node.and_then(|node| node.attempts.iter_mut().rev().find(|it| it.number == attempt.number));
        let Some(found) = found else { return };
        found.ended_at = Some(at);
        found.started_at = timing.map(|timing| back(at, timing.ran).max(found.assigned_at));
        (found.outcome, found.error_code) = (outcome, code.cloned());
    }

    fn entry(&mut self, graph: &Graph, instance: Instance) -> Option<&mut NodeSpan> {
        if !self.nodes.contains_key(&instance) {
            if self.nodes.len() >= limits::TRACE_SPANS_MAX {
                self.left_out += 1;
                return None;
            }
            let span = NodeSpan {
                instance,
                ready_at: self.ready_at(graph, instance),
                waiting_since: None,
                opened_at: None,
                ended_at: None,
                state: SpanState::Running,
                error_code: None,
                source: None,
                child: None,
                attempts: Vec::new(),
            };
            self.nodes.insert(instance, span);
        }
        self.nodes.get_mut(&instance)
    }

    /// When the last of a node's inputs came: the end of the last node before it, or the beginning of its item or run.
    fn ready_at(&self, graph: &Graph, instance: Instance) -> Timestamp {
        let beside = graph.in_edges(instance.node).iter();
        let before = beside.filter_map(|edge| self.nodes.get(&instance.beside(edge.source)));
        let begun = self.opened.get(&instance.scope).copied().unwrap_or(self.started_at);
        before.filter_map(|node| node.ended_at).chain([begun]).max().unwrap_or(begun)
    }
}

/// The instant this much earlier.
fn back(at: Timestamp, by: Span) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_sub_unsigned(by.as_millis()))
}
