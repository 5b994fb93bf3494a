//! What a node's failure leads to: another provider, an open port for what was wrong, or the end of the run (graph.md,
//! part 6).

use bytes::Bytes;
use serde_json::json;

use super::scope_fold::cut;
use super::{Body, Run};
use crate::fault::{Fault, is_planted};
use crate::graph::InEdge;
use crate::id::{AttemptNumber, Instance, NodeIx, PortIx, ProviderIx};
use crate::limits;
use crate::run::event::{Attempt, Decision, ErrorClass, NodeError, OutputValue, PortOutput};
use crate::value::Value;

impl Run {
    /// Who does an instance's work: now if an agent has it, else in its next attempt.
    pub fn provider_of(&self, instance: Instance) -> ProviderIx {
        match self.attempt(instance) {
            Some(live) => live.provider,
            None => self.state.tries.get(&instance).map_or_else(ProviderIx::default, |tries| tries.provider),
        }
    }

    /// Who is tried after this failure for good, if anybody is. An unknown outcome is no reason: the work may be done.
    pub(super) fn next_provider(&self, attempt: &Attempt, class: ErrorClass) -> Option<ProviderIx> {
        let next = self.provider_of(attempt.instance).next();
        let is_reason = !matches!(class, ErrorClass::Cancelled | ErrorClass::UnknownOutcome | ErrorClass::Poison);
        let is_there = self.graph.node(attempt.instance.node).has_provider(next);
        (is_reason && is_there && attempt.number.0 < limits::ATTEMPTS_MAX).then_some(next)
    }

    /// An error with the providers that were tried, if there were several.
    pub(super) fn naming_tried(&self, instance: Instance, error: NodeError) -> NodeError {
        let last = self.provider_of(instance);
        if last == ProviderIx::default() {
            return error;
        }
        let tried: Vec<&str> =
            self.graph.node(instance.node).providers_up_to(last).map(|type_id| type_id.as_ref()).collect();
        let tried = format!(" (tried {})", tried.join(", then "));
        let room = limits::ERROR_MESSAGE_BYTES_MAX.saturating_sub(tried.len());
        let end = error.message.floor_char_boundary(room);
        NodeError { message: format!("{}{tried}", &error.message[..end]).into(), ..error }
    }

    /// An error of a loop that looks at a turn, with which turn it was.
    pub(super) fn naming_turn(&self, instance: Instance, error: NodeError) -> NodeError {
        let expansion = self.state.expansions.get(&instance).filter(|_| self.is_between_turns(instance));
        let Some(turn) = expansion.and_then(|expansion| expansion.next.checked_sub(1)) else { return error };
        let label = &self.graph.node(instance.node).label;
        NodeError { message: cut(format!("turn {turn} of \"{label}\": {}", error.message)), ..error }
    }

    /// What an instance gives that has failed for good: what was wrong, if its policy wants that; its own outputs are
    /// closed.
    pub(super) fn caught(
        &self,
        instance: Instance,
        error: &NodeError,
        attempts: AttemptNumber,
        body: &mut Body,
    ) -> Vec<PortOutput> {
        let node = self.graph.node(instance.node);
        if node.is_anonymous {
            return self.caught_of_lifted(instance, error, body);
        }
        let (Some(port), Some(node_type)) = (node.error_port, &node.node_type) else { return Vec::new() };
        let value = body.put(told(&node.id, error, attempts));
        let ports = (0..node_type.outputs.len()).map(|place| PortIx(place as u16));
        let output = |of: PortIx| PortOutput {
            port: of,
            value: if of == port { OutputValue::One(value) } else { OutputValue::Closed },
        };
        ports.map(output).collect()
    }

    /// What lifted nodes give whose lists cannot be gone through, if the policies of all that take them want that caught:
    /// the list of what was wrong has one entry, for there is no item.
    fn caught_of_lifted(&self, container: Instance, error: &NodeError, body: &mut Body) -> Vec<PortOutput> {
        let graph = &self.graph;
        let (Some(scope), true) = (graph.scope(container.node), self.catches(container, container)) else {
            return Vec::new();
        };
        let ports = graph.node(container.node).node_type.as_ref().map_or(0, |node_type| node_type.outputs.len());
        let mut outputs: Vec<PortOutput> =
            (0..ports as u16).map(|port| PortOutput { port: PortIx(port), value: OutputValue::Closed }).collect();
        for (input, list) in &scope.results {
            let source = graph.result_edges(container.node).find(|edge| edge.target_port == *input);
            let takes = |edge: &&InEdge| graph.takes_items(container.node).any(|ix| ix == edge.source);
            let tells = |edge: &&InEdge| graph.node(edge.source).error_port == Some(edge.source_port);
            let Some(source) = source.filter(takes).filter(tells) else { continue };
            let value = body.put(told(&graph.node(source.source).id, error, AttemptNumber(0)));
            let told = outputs.iter_mut().filter(|output| output.port == *list);
            told.for_each(|output| output.value = OutputValue::Gather([value].into()));
        }
        outputs
    }

    /// Whether a container gives what was wrong, where `origin` has failed. One that no document names does so for the nodes
    /// that it runs for, and only where it cannot go through their lists: what they do themselves fails in them.
    pub(super) fn catches(&self, container: Instance, origin: Instance) -> bool {
        let graph = &self.graph;
        let is_caught = |ix: NodeIx| graph.node(ix).error_port.is_some();
        match graph.node(container.node).is_anonymous {
            true => origin == container && graph.takes_items(container.node).all(is_caught),
            false => is_caught(container.node),
        }
    }

    /// A decision with what its node gives, if it failed and its policy wants that.
    pub(super) fn caught_decision(&self, decision: Decision, body: &mut Body) -> Decision {
        match decision {
            // A container gives what was wrong when nothing of its body is at an agent any more: it decides once more then.
            failed @ Decision::Failed { instance, .. } if self.has_open_items(instance) => failed,
            Decision::Failed { instance, error, .. } => {
                let caught = self.caught(instance, &error, AttemptNumber(0), body);
                Decision::Failed { instance, error, caught }
            }
            other => other,
        }
    }

    /// Whether a failure that was caught ends the run all the same.
    pub(super) fn ends_run(caught: &[PortOutput]) -> bool {
        caught.is_empty() || is_planted(Fault::CaughtEndsRun)
    }
}

/// What was wrong with a node, for those who look at its output `error`.
fn told(node: &str, error: &NodeError, attempts: AttemptNumber) -> Value {
    let text = json!({
        "code": &*error.code, "class": error.class.name(), "message": &*error.message,
        "nodeId": node, "attempts": attempts.0,
    });
    Value::from_json(Bytes::from(text.to_string()))
}
