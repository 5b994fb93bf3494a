//! The span of an attempt, for who wants traces.

use std::time::SystemTime;

use heddle_proto::agent as wire;
use heddle_telemetry::{Attribute, Component, InstanceName, Kind, RunTrace, Span};

use super::attempt::Ended;
use crate::wire::Outcome;

/// What is known of an attempt's span before it has run.
#[derive(Debug)]
pub(super) struct AttemptTrace {
    span: Span,
}

impl AttemptTrace {
    /// The span of what is assigned; `None` if nobody records it.
    pub(super) fn of(assign: &wire::Assign, key: &wire::AttemptKey, agent_id: &str) -> Option<Box<Self>> {
        let exporter = Component::Agent.exporter()?;
        let names = RunTrace::new(&assign.execution_id, Some(&assign.traceparent));
        if !exporter.samples(names.id(), names.caller()) {
            return None;
        }
        let instance = InstanceName { node: key.node, scope: key.scope, generation: key.generation };
        let now = SystemTime::now();
        let mut span = Span {
            trace: names.id(),
            id: names.attempt(instance, key.number),
            parent: Some(names.instance(instance)),
            name: format!("attempt {}", assign.node_type).into(),
            kind: Kind::Consumer,
            start: now,
            end: now,
            attributes: vec![
                ("heddle.execution.id", assign.execution_id.clone().into()),
                ("heddle.node.id", assign.node_id.clone().into()),
                ("heddle.node.type", assign.node_type.clone().into()),
                ("heddle.attempt.number", key.number.to_string().into()),
                ("heddle.agent.id", agent_id.to_owned().into()),
            ],
            error: None,
        };
        if !assign.index.is_empty() {
            let index = assign.index.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
            span.attributes.push(("heddle.node.index", index.into()));
        }
        Some(Box::new(Self { span }))
    }

    /// Hands the span over: the attempt has just ended.
    pub(super) fn tell(mut self, ended: &Ended, notes: Vec<Attribute>) {
        let Some(exporter) = Component::Agent.exporter() else { return };
        self.span.end = SystemTime::now();
        self.span.start = self.span.end.checked_sub(ended.ran).unwrap_or(self.span.end);
        self.span.attributes.extend(notes);
        self.span.attributes.push(("heddle.attempt.queued_ms", ended.queued.as_millis().to_string().into()));
        let outcome = match &ended.outcome {
            Outcome::Succeeded(_) => "SUCCEEDED",
            Outcome::Failed(failure) => {
                self.span.error = Some(failure.code.clone());
                "FAILED"
            }
            Outcome::Stopped => "STOPPED",
        };
        self.span.attributes.push(("heddle.attempt.outcome", outcome.into()));
        exporter.emit(self.span);
    }
}
