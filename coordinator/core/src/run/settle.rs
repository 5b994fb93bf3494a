//! What an instance that has its output does to those that wait for it: they are skipped, fall due, or become ready.

use std::sync::Arc;

use super::corrupt::Corrupt;
use super::review::Ask;
use super::{Committed, NodePhase, Run};
use crate::fault::{Fault, is_planted};
use crate::graph::InEdge;
use crate::id::{AttemptToken, Instance, NodeIx, PortIx};
use crate::node_type::{Control, Runner};
use crate::policy::ReviewWhen;
use crate::run::event::{OutputValue, PortOutput, ReviewKind};

impl Run {
    /// Gives an instance its one output and settles what depends on it.
    pub(super) fn complete(
        &mut self,
        instance: Instance,
        token: Option<AttemptToken>,
        outputs: &[PortOutput],
    ) -> Result<(), Corrupt> {
        self.give(instance, NodePhase::Completed, token, outputs)
    }

    /// As [`Run::complete`], for a node that ends in another phase.
    pub(super) fn give(
        &mut self,
        instance: Instance,
        phase: NodePhase,
        token: Option<AttemptToken>,
        outputs: &[PortOutput],
    ) -> Result<(), Corrupt> {
        let committed = Committed { outputs: self.declared(instance.node, outputs), token };
        let is_abandoned = self.is_abandoned(instance);
        let slot = self.enter(instance, phase)?;
        // What a node that listens gave when it began has settled what hangs on it.
        let early = slot.result.replace(Box::new(committed)).map(|early| early.outputs).unwrap_or_default();
        if !is_abandoned {
            self.settle_ports(instance, |port| early.iter().all(|output| output.port != port))?;
        }
        self.leave(instance)
    }

    fn declared(&self, node: NodeIx, outputs: &[PortOutput]) -> Vec<PortOutput> {
        let declared =
            |it: &PortOutput| PortOutput { port: it.port, value: self.graph.declared(node, it.port, &it.value) };
        outputs.iter().map(declared).collect()
    }

    /// Gives some outputs of an instance that goes on waiting, and settles what hangs on them.
    pub(super) fn give_early(&mut self, instance: Instance, outputs: &[PortOutput]) -> Result<(), Corrupt> {
        if outputs.is_empty() {
            return Ok(());
        }
        let committed = Committed { outputs: self.declared(instance.node, outputs), token: None };
        self.slot(instance)?.result = Some(Box::new(committed));
        self.settle_ports(instance, |port| outputs.iter().any(|output| output.port == port))
    }

    /// Settles what waits for an instance beside it.
    pub(super) fn settle_after(&mut self, instance: Instance) -> Result<(), Corrupt> {
        self.settle_ports(instance, |_| true)
    }

    /// Settles what waits for some outputs of an instance beside it, without recursion.
    fn settle_ports(&mut self, instance: Instance, gives: impl Fn(PortIx) -> bool) -> Result<(), Corrupt> {
        let (graph, seq) = (Arc::clone(&self.graph), self.state.seq);
        let mut settled = vec![instance.node];
        while let Some(source) = settled.pop() {
            for edge in graph.out_edges(source) {
                let Some(target) = edge.settles else { continue };
                if source == instance.node && !gives(edge.source_port) {
                    continue;
                }
                let target = instance.beside(target);
                let slot = self.slot(target)?;
                if slot.phase != NodePhase::Pending {
                    continue;
                }
                let Some(unsettled) = slot.unsettled.checked_sub(1) else {
                    return Err(Corrupt::Miscounted { seq, instance: target });
                };
                slot.unsettled = unsettled;
                let is_for_agents = matches!(graph.node(target.node).runner, Runner::Agent);
                let is_settled = unsettled == 0 || (is_for_agents && is_planted(Fault::StartedEarly));
                let is_due = self.wins_race(target, source, edge) || is_settled;
                if is_due && !self.make_ready(target)? && !is_planted(Fault::SkipNotPropagated) {
                    settled.push(target.node);
                }
            }
        }
        Ok(())
    }

    /// All inputs of a node are settled: it can run, or it is skipped (false).
    pub(super) fn make_ready(&mut self, instance: Instance) -> Result<bool, Corrupt> {
        if self.is_closed_off(instance) {
            self.enter(instance, NodePhase::Skipped)?;
            self.count_down(instance)?;
            return Ok(false);
        }
        match self.graph.node(instance.node).runner.takes_over() && self.may_reuse(instance) {
            true => self.fall_due(instance)?,
            false => self.begin_afresh(instance)?,
        }
        Ok(true)
    }

    /// Nothing is taken over: people are asked if they come first, an agent gets it, or the engine decides it.
    pub(super) fn begin_afresh(&mut self, instance: Instance) -> Result<(), Corrupt> {
        let node = self.graph.node(instance.node);
        match node.runner {
            Runner::Control(Control::Review) => self.ask_next(instance, Ask::new(ReviewKind::Value)),
            Runner::Control(Control::Invoke) => self.call_next(instance),
            Runner::Control(_) => self.fall_due(instance),
            Runner::Agent if node.policy.review == Some(ReviewWhen::Before) => {
                self.ask_next(instance, Ask::new(ReviewKind::Before))
            }
            Runner::Agent if self.may_recall(instance) => self.ask_for_shared(instance),
            Runner::Agent | Runner::Unavailable => self.queue(instance),
        }
    }

    /// It is decided next, after what fell due before.
    fn fall_due(&mut self, instance: Instance) -> Result<(), Corrupt> {
        self.enter(instance, NodePhase::Due)?;
        self.state.due.push_back(instance);
        Ok(())
    }

    /// A port is closed when all its edges are (graph.md, part 1). A node is closed off when a required port is, or when
    /// nothing came through any of its edges: it hangs on branches that were not taken. What a body will give does not
    /// count for its container.
    fn is_closed_off(&self, instance: Instance) -> bool {
        if is_planted(Fault::ClosedNotSkipped) {
            return false;
        }
        let doors = self.graph.doors(instance.node);
        let is_outer = |edge: &&InEdge| doors.is_none_or(|doors| !doors.is_inner_input(edge.target_port));
        let edges = || self.graph.in_edges(instance.node).iter().filter(is_outer);
        let is_closed = |edge: &InEdge| {
            let value = self.output_at(instance.scope, edge.source, edge.source_port);
            matches!(value, None | Some(OutputValue::Closed))
        };
        if edges().next().is_some() && edges().all(is_closed) {
            return true;
        }
        let Some(node_type) = &self.graph.node(instance.node).node_type else { return false };
        node_type.inputs.iter().enumerate().filter(|(_, port)| port.required).any(|(place, _)| {
            let mut into = edges().filter(|edge| usize::from(edge.target_port.0) == place).peekable();
            into.peek().is_some() && into.all(is_closed)
        })
    }
}
