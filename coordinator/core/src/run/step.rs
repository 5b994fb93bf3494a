//! The fold: events into state. Total on any history; what does not follow is [`Corrupt`], never a panic.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use thiserror::Error;

use super::{
    Committed, LiveAttempt, NodePhase, Origin, Rank, Run, RunStatus, Slot, State, Stop, Timer, TimerKind, Tries,
};
use crate::fault::{Fault, is_planted};
use crate::graph::{Graph, InEdge, Logic};
use crate::id::{EventSeq, Instance, NodeIx, RunId};
use crate::limits;
use crate::node_type::{EffectClass, Runner};
use crate::policy::OnRunFailure;
use crate::run::event::{
    Assignment, Attempt, Decision, ErrorClass, Event, Fact, LossCause, NodeError, OutputValue, PortOutput, RunError,
    Submitted,
};
use crate::time::Timestamp;

/// Why an event does not follow from what was before it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Corrupt {
    /// A history begins with `Submitted`.
    #[error("the history does not begin with a submission")]
    NoBeginning,
    /// An event is missing or doubled.
    #[error("expected event {expected}, found {found}")]
    Gap {
        /// The seq that should have come.
        expected: EventSeq,
        /// The seq that came.
        found: EventSeq,
    },
    /// It names a node that the graph does not have, or that is not part of the run.
    #[error("event {seq} names node {node}, which this run does not have")]
    UnknownNode {
        /// Which event.
        seq: EventSeq,
        /// The index it names.
        node: NodeIx,
    },
    /// It names an attempt that no agent holds.
    #[error("event {seq} names attempt {} of node {}, which is not out", attempt.number, attempt.instance.node)]
    UnknownAttempt {
        /// Which event.
        seq: EventSeq,
        /// The attempt it names.
        attempt: Attempt,
    },
    /// The node does not stand where the event needs it.
    #[error("event {seq} does not follow: node {} is {phase:?}", instance.node)]
    WrongPhase {
        /// Which event.
        seq: EventSeq,
        /// Which instance.
        instance: Instance,
        /// Where it stands.
        phase: NodePhase,
    },
    /// Something that must come before or after the terminal event came on its other side.
    #[error("event {seq} is on the wrong side of the run's end")]
    WrongSide {
        /// Which event.
        seq: EventSeq,
    },
}

impl Run {
    /// Folds the next event into the state.
    ///
    /// # Errors
    /// [`Corrupt`] if it does not follow; the run must not be used any more then.
    pub fn step(&mut self, event: &Event) -> Result<(), Corrupt> {
        self.dropped.clear();
        self.step_fact(event.seq, event.at, &event.fact)?;
        self.follow(event)
    }

    /// The decisions and assignments of an event whose fact is folded already.
    pub(super) fn follow(&mut self, event: &Event) -> Result<(), Corrupt> {
        for decision in &event.decisions {
            match self.redecided(decision) {
                Some(other) => self.step_decision(&other)?,
                None => self.step_decision(decision)?,
            }
        }
        event.assignments.iter().try_for_each(|assignment| self.step_assignment(event.at, assignment))
    }

    /// What a replay would make of chance, if it did not trust the history.
    fn redecided(&self, decision: &Decision) -> Option<Decision> {
        if !is_planted(Fault::DecidedInReplay) {
            return None;
        }
        let Decision::Completed { instance, outputs } = decision else { return None };
        let logic = self.graph.get(instance.node)?.logic.as_deref();
        let mut outputs = outputs.clone();
        match (logic, outputs.as_mut_slice()) {
            (Some(Logic::Split(_)), [a, b]) => std::mem::swap(&mut a.value, &mut b.value),
            _ => return None,
        }
        Some(Decision::Completed { instance: *instance, outputs })
    }

    /// The state after `Submitted`: nodes without inputs are due or ready.
    pub(super) fn submitted(
        id: RunId,
        graph: Arc<Graph>,
        at: Timestamp,
        submitted: &Submitted,
    ) -> Result<Run, Corrupt> {
        let unknown = |node| Corrupt::UnknownNode { seq: EventSeq(1), node };
        let mut nodes: Vec<Slot> = graph
            .nodes()
            .map(|(ix, _)| Slot { phase: NodePhase::Pending, unsettled: graph.in_edges(ix).len() as u32, result: None })
            .collect();
        let mut all_nodes = nodes.len() as u32;
        if let Some(target) = submitted.target {
            graph.get(target).ok_or_else(|| unknown(target))?;
            let wanted = graph.closure(target);
            nodes.iter_mut().for_each(|slot| slot.phase = NodePhase::Excluded);
            wanted.iter().for_each(|ix| nodes[ix.0 as usize].phase = NodePhase::Pending);
            all_nodes = wanted.len() as u32;
        }
        if let Some((node, _)) = submitted.inputs.iter().find(|(node, _)| graph.get(*node).is_none()) {
            return Err(unknown(*node));
        }
        let state = State {
            seq: EventSeq(1),
            last_at: at,
            origin: Origin::new(submitted, at),
            status: RunStatus::Running,
            error: None,
            ended_at: None,
            deadline: at.plus(limits::RUN_DEADLINE),
            nodes,
            open_nodes: all_nodes,
            all_nodes,
            attempts: BTreeMap::new(),
            tries: BTreeMap::new(),
            timers: BTreeSet::new(),
            ready: BTreeSet::new(),
            due: VecDeque::new(),
            winners: BTreeMap::new(),
            makers: BTreeMap::new(),
            failure: None,
            stop: None,
        };
        let mut run = Run { id, graph, state, dropped: Vec::new() };
        for ix in (0..run.graph.len() as u32).map(NodeIx) {
            let slot = &run.state.nodes[ix.0 as usize];
            if slot.phase == NodePhase::Pending && slot.unsettled == 0 {
                run.make_ready(ix);
            }
        }
        Ok(run)
    }

    /// Folds what happened; decisions and assignments of the same event follow one by one.
    pub(crate) fn step_fact(&mut self, seq: EventSeq, at: Timestamp, fact: &Fact) -> Result<(), Corrupt> {
        let expected = self.state.seq.next();
        if seq != expected {
            return Err(Corrupt::Gap { expected, found: seq });
        }
        if self.is_parked() {
            // Waiting does not count against the deadline.
            self.state.deadline = self.state.deadline.plus(at.since(self.state.last_at));
        }
        self.state.seq = seq;
        self.state.last_at = self.state.last_at.max(at);
        let over = self.state.status != RunStatus::Running;
        match fact {
            Fact::Submitted(_) => return Err(Corrupt::WrongSide { seq }),
            Fact::Settled { .. } if !over => return Err(Corrupt::WrongSide { seq }),
            Fact::Stopped { attempts } => attempts.iter().try_for_each(|attempt| self.remove_given_up(attempt))?,
            Fact::Discarded { attempt } => self.remove_given_up(attempt)?,
            Fact::Settled { attempt, .. } => drop(self.remove(attempt)?),
            _ if over && !is_planted(Fault::TerminalNotAbsorbing) => return Err(Corrupt::WrongSide { seq }),
            Fact::Continued => {}
            Fact::Succeeded { attempt, outputs, .. } => {
                let live = self.remove(attempt)?;
                if outputs.iter().map(|output| output.value.bytes()).sum::<u64>() >= limits::LOCALITY_OUTPUT_BYTES_MIN {
                    self.state.makers.insert(attempt.instance.node, live.agent.agent);
                }
                self.state.tries.remove(&attempt.instance);
                self.complete(attempt.instance, Some(attempt), outputs)?;
            }
            Fact::Failed { attempt, error, retry_at, .. } => self.failed(attempt, error, *retry_at)?,
            Fact::Lost { attempt, cause, failure } => self.lost(attempt, *cause, failure.as_ref())?,
            Fact::HandedBack { attempts } => {
                for attempt in attempts {
                    let handle = self.remove(attempt)?.handle;
                    self.tries_of(attempt).handle = handle;
                    self.queue(attempt.instance);
                }
            }
            Fact::IntentRecorded { attempt } => self.live(attempt)?.intent = true,
            Fact::HandleRecorded { attempt, handle } => self.live(attempt)?.handle = Some(*handle),
            Fact::TimerFired { instance, outputs } => {
                self.expect(*instance, &[NodePhase::Waiting])?;
                self.take_timer(*instance);
                self.complete(*instance, None, outputs)?;
            }
            Fact::Ended { status: RunStatus::Running, .. } => return Err(Corrupt::WrongSide { seq }),
            Fact::Ended { status, error, .. } => self.end(*status, error.as_ref(), at),
        }
        Ok(())
    }

    /// Folds what a control node decided.
    pub(crate) fn step_decision(&mut self, decision: &Decision) -> Result<(), Corrupt> {
        let (Decision::Completed { instance, .. }
        | Decision::Waiting { instance, .. }
        | Decision::Failed { instance, .. }
        | Decision::Delegated { instance }
        | Decision::Stopped { instance, .. }) = decision;
        self.expect(*instance, &[NodePhase::Due])?;
        self.take_due(*instance);
        match decision {
            Decision::Completed { outputs, .. } => {
                self.complete(*instance, None, outputs)?;
                self.drop_losers(*instance);
            }
            Decision::Waiting { until, .. } => {
                self.slot(*instance)?.phase = NodePhase::Waiting;
                self.state.timers.insert(Timer { at: *until, instance: *instance, kind: TimerKind::Wait });
            }
            Decision::Failed { error, .. } => self.give_up(*instance, error)?,
            Decision::Delegated { .. } => self.queue(*instance),
            Decision::Stopped { status, message, .. } => {
                self.complete(*instance, None, &[])?;
                let stop = Stop { node: instance.node, status: *status, message: message.clone() };
                self.state.stop.get_or_insert_with(|| Box::new(stop));
            }
        }
        Ok(())
    }

    /// Folds an attempt that was given to an agent.
    pub(crate) fn step_assignment(&mut self, at: Timestamp, assignment: &Assignment) -> Result<(), Corrupt> {
        let Attempt { instance, number, token } = assignment.attempt;
        self.expect(instance, &[NodePhase::Ready, NodePhase::Backoff])?;
        if self.slot(instance)?.phase == NodePhase::Backoff {
            self.take_timer(instance);
        }
        self.state.ready.remove(&self.rank(instance));
        self.slot(instance)?.phase = NodePhase::Running;
        let handle = self.state.tries.get(&instance).and_then(|tries| tries.handle);
        let live = LiveAttempt {
            number,
            token,
            agent: assignment.to.clone(),
            permit: assignment.permit,
            alone: assignment.alone,
            assigned_at: at,
            intent: handle.is_some(),
            handle,
            stopping: false,
        };
        self.state.attempts.insert(instance, live);
        Ok(())
    }

    fn failed(&mut self, attempt: &Attempt, error: &NodeError, retry_at: Option<Timestamp>) -> Result<(), Corrupt> {
        self.remove(attempt)?;
        let tries = self.tries_of(attempt);
        tries.failed += u32::from(error.class != ErrorClass::RateLimited);
        // It reported its own end: its agent is alive, and it is no suspect any more.
        (tries.deaths, tries.proofs) = (0, 0);
        tries.handle = None;
        match retry_at {
            Some(at) => {
                self.slot(attempt.instance)?.phase = NodePhase::Backoff;
                self.state.timers.insert(Timer { at, instance: attempt.instance, kind: TimerKind::Retry });
            }
            None => self.give_up(attempt.instance, error)?,
        }
        Ok(())
    }

    fn lost(&mut self, attempt: &Attempt, cause: LossCause, failure: Option<&NodeError>) -> Result<(), Corrupt> {
        let live = self.remove(attempt)?;
        let tries = self.tries_of(attempt);
        tries.handle = live.handle.filter(|_| !is_planted(Fault::HandleForgotten));
        match cause {
            LossCause::NewBoot if live.alone => tries.proofs += u32::from(!is_planted(Fault::ProofIgnored)),
            LossCause::NewBoot | LossCause::StreamGone if !live.alone => tries.deaths += 1,
            _ => {}
        }
        if let Some(error) = failure {
            return self.give_up(attempt.instance, error);
        }
        self.queue(attempt.instance);
        Ok(())
    }

    /// The node has failed for good. The first one to do so is what the run ends with.
    fn give_up(&mut self, instance: Instance, error: &NodeError) -> Result<(), Corrupt> {
        self.slot(instance)?.phase = NodePhase::Failed;
        self.state.open_nodes -= 1;
        let attempts = self.state.tries.get(&instance).map_or(0, |tries| tries.last.0);
        self.state.failure.get_or_insert_with(|| {
            Box::new(RunError {
                code: error.code.clone(),
                message: error.message.clone(),
                node: Some(instance.node),
                class: Some(error.class),
                attempts,
            })
        });
        Ok(())
    }

    /// Mostly the first: control nodes are evaluated in the order in which they fell due.
    pub(super) fn take_due(&mut self, instance: Instance) {
        match self.state.due.iter().position(|due| *due == instance) {
            Some(0) => drop(self.state.due.pop_front()),
            Some(place) => drop(self.state.due.remove(place)),
            None => {}
        }
    }

    /// Mostly among the first: timers are used up in the order of their instants.
    pub(super) fn take_timer(&mut self, instance: Instance) {
        let found = self.state.timers.iter().find(|timer| timer.instance == instance).copied();
        found.map(|timer| self.state.timers.remove(&timer));
    }

    fn end(&mut self, status: RunStatus, error: Option<&RunError>, at: Timestamp) {
        self.state.status = status;
        self.state.error = error.cloned();
        self.state.ended_at = Some(at);
        self.state.ready.clear();
        self.state.due.clear();
        self.state.timers.clear();
        // Paid work goes on when the run failed, so that a resume need not pay again (E21).
        let failed = status == RunStatus::Failed && error.is_some_and(|error| error.node.is_some());
        for (instance, live) in &mut self.state.attempts {
            let node = self.graph.node(instance.node);
            let finishes = match node.policy.on_run_failure {
                Some(choice) => choice == OnRunFailure::Finish,
                None => node.effect != EffectClass::Pure,
            };
            // What was given up stays so.
            live.stopping |= !(failed && finishes);
        }
    }

    /// Gives an instance its one output and settles what depends on it, without recursion.
    fn complete(
        &mut self,
        instance: Instance,
        attempt: Option<&Attempt>,
        outputs: &[PortOutput],
    ) -> Result<(), Corrupt> {
        let committed = Committed { outputs: outputs.to_vec(), token: attempt.map(|attempt| attempt.token) };
        let slot = self.slot(instance)?;
        slot.phase = NodePhase::Completed;
        slot.result = Some(Box::new(committed));
        self.state.open_nodes -= 1;
        let mut settled = vec![instance.node];
        while let Some(source) = settled.pop() {
            let graph = Arc::clone(&self.graph);
            for edge in graph.out_edges(source) {
                let slot = &mut self.state.nodes[edge.target.0 as usize];
                if slot.phase != NodePhase::Pending {
                    continue;
                }
                slot.unsettled -= 1;
                let is_settled = slot.unsettled == 0;
                if (self.wins_race(source, edge) || is_settled) && !self.make_ready(edge.target) {
                    settled.push(edge.target);
                }
            }
        }
        Ok(())
    }

    /// All inputs of a node are settled: it can run, or it is skipped (false).
    fn make_ready(&mut self, ix: NodeIx) -> bool {
        if self.is_closed_off(ix) {
            self.state.nodes[ix.0 as usize].phase = NodePhase::Skipped;
            self.state.open_nodes -= 1;
            return false;
        }
        let instance = Instance::root(ix);
        match self.graph.node(ix).runner {
            Runner::Control(_) => {
                self.state.nodes[ix.0 as usize].phase = NodePhase::Due;
                self.state.due.push_back(instance);
            }
            Runner::Agent | Runner::Unavailable => self.queue(instance),
        }
        true
    }

    /// A port is closed when all its edges are (graph.md, part 1). A node is closed off when a required port is, or when
    /// nothing came through any of its edges: it hangs on branches that were not taken.
    fn is_closed_off(&self, ix: NodeIx) -> bool {
        if is_planted(Fault::ClosedNotSkipped) {
            return false;
        }
        let edges = self.graph.in_edges(ix);
        let is_closed =
            |edge: &InEdge| matches!(self.output(edge.source, edge.source_port), None | Some(OutputValue::Closed));
        if !edges.is_empty() && edges.iter().all(is_closed) {
            return true;
        }
        let Some(node_type) = &self.graph.node(ix).node_type else { return false };
        node_type.inputs.iter().enumerate().filter(|(_, port)| port.required).any(|(place, _)| {
            let mut into = edges.iter().filter(|edge| usize::from(edge.target_port.0) == place).peekable();
            into.peek().is_some() && into.all(is_closed)
        })
    }

    fn queue(&mut self, instance: Instance) {
        self.state.nodes[instance.node.0 as usize].phase = NodePhase::Ready;
        self.state.ready.insert(self.rank(instance));
    }

    pub(super) fn rank(&self, instance: Instance) -> Rank {
        Rank { urgency: -self.graph.node(instance.node).policy.priority, instance }
    }

    fn tries_of(&mut self, attempt: &Attempt) -> &mut Tries {
        let tries = self.state.tries.entry(attempt.instance).or_default();
        tries.last = tries.last.max(attempt.number);
        tries
    }

    fn slot(&mut self, instance: Instance) -> Result<&mut Slot, Corrupt> {
        let seq = self.state.seq;
        let slot = self.state.nodes.get_mut(instance.node.0 as usize);
        // Scopes and generations come with maps, loops and reviews.
        let slot = slot.filter(|_| instance == Instance::root(instance.node));
        slot.ok_or(Corrupt::UnknownNode { seq, node: instance.node })
    }

    fn expect(&mut self, instance: Instance, phases: &[NodePhase]) -> Result<(), Corrupt> {
        let seq = self.state.seq;
        if self.state.status != RunStatus::Running {
            return Err(Corrupt::WrongSide { seq });
        }
        let phase = self.slot(instance)?.phase;
        if phases.contains(&phase) { Ok(()) } else { Err(Corrupt::WrongPhase { seq, instance, phase }) }
    }

    fn live(&mut self, attempt: &Attempt) -> Result<&mut LiveAttempt, Corrupt> {
        let unknown = Corrupt::UnknownAttempt { seq: self.state.seq, attempt: *attempt };
        let live = self.state.attempts.get_mut(&attempt.instance).ok_or_else(|| unknown.clone())?;
        if (live.number, live.token) == (attempt.number, attempt.token) { Ok(live) } else { Err(unknown) }
    }

    pub(super) fn remove(&mut self, attempt: &Attempt) -> Result<LiveAttempt, Corrupt> {
        let live = self.live(attempt)?.clone();
        self.state.attempts.remove(&attempt.instance);
        Ok(live)
    }
}
