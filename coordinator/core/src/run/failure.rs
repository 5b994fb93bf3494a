//! What a node's failure leads to: another provider, an open port for what was wrong, or the end of the run (graph.md,
//! part 6).

use bytes::Bytes;
use serde_json::json;

use super::{Body, Run};
use crate::fault::{Fault, is_planted};
use crate::id::{AttemptNumber, Instance, PortIx, ProviderIx};
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
        let (Some(port), Some(node_type)) = (node.error_port, &node.node_type) else { return Vec::new() };
        let text = json!({
            "code": &*error.code, "class": error.class.name(), "message": &*error.message,
            "nodeId": &*node.id, "attempts": attempts.0,
        });
        let value = body.put(Value::from_json(Bytes::from(text.to_string())));
        let ports = (0..node_type.outputs.len()).map(|place| PortIx(place as u16));
        let output = |of: PortIx| PortOutput {
            port: of,
            value: if of == port { OutputValue::One(value) } else { OutputValue::Closed },
        };
        ports.map(output).collect()
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
