//! Runs that runs invoke: what the shell around the engine fills in, as messages name it.

use std::sync::Arc;

use heddle_core::id::{EventSeq, Instance, PortIx, RunId, Slot, WorkflowId};
use heddle_core::outbox::MessageId;
use heddle_core::partition::io::{Delivery, Input, Order, Submission};
use heddle_core::run::event::{Decision, ErrorClass, InvokedBy, NodeError};
use heddle_core::run::{ChildEnd, ChildGave, ChildValue, Run, RunStatus};
use heddle_core::value::Value;
use serde_json::{Map, Value as Json};

use super::large::value_of;
use super::store::RunRow;
use super::stored::Stored;
use super::world::World;

/// The type of the nodes that run other graphs.
pub(super) const INVOKE: &str = "blueprint:invoke";
/// Graphs that only such nodes run.
pub(super) const CHILD_GRAPHS: usize = 2;
/// A workflow that is not saved.
pub(super) const NOWHERE: WorkflowId = WorkflowId(99);

/// The workflow of a graph.
pub(super) fn workflow_of(graph: usize) -> WorkflowId {
    WorkflowId(100 + graph as u128)
}

/// All that a run has given, by name.
pub(super) fn results(run: &Run, stored: Stored<'_>) -> Json {
    let graph = run.graph();
    let given = graph.results().filter_map(|ix| {
        let value = stored.output(run.output(ix, PortIx(0))?)?;
        Some((graph.result_name(ix).to_string(), value))
    });
    Json::Object(given.collect::<Map<String, Json>>())
}

impl World {
    /// Brings a child to its slot; one that can never begin ends where it was asked for.
    pub(super) fn bring_start(
        &mut self,
        (message, source): (MessageId, Slot),
        (parent, instance, seq): (RunId, Instance, EventSeq),
        child: RunId,
    ) {
        let Some(row) = self.store.runs.get(&parent).cloned() else { return };
        let invoke = self.store.graphs.get(&row.created.graph).and_then(|graph| graph.invoke(instance.node).copied());
        let Some(invoke) = invoke else { return };
        let (order, to) = match invoke.workflow.0.checked_sub(100).map(|graph| graph as usize) {
            Some(graph) => {
                let submission = self.child_of(&row, (parent, instance, seq), child, graph);
                (Order::Start(Box::new(submission)), child.slot())
            }
            None => {
                let end = Box::new(ChildEnd { instance, child, outcome: Err(error("child_not_found")) });
                (Order::EndChild { parent, end }, source)
            }
        };
        self.bring_later(to, Input::Delivered(Box::new(Delivery { message, source, order })));
    }

    fn child_of(
        &mut self,
        row: &RunRow,
        (parent, instance, seq): (RunId, Instance, EventSeq),
        child: RunId,
        graph: usize,
    ) -> Submission {
        let event = row.events.get(seq.0 as usize - 1);
        let is_decided = event.into_iter().flat_map(|event| &event.decisions).any(|decision| {
            matches!(decision, Decision::Invoked { instance: of, invoked } if (*of, invoked.child) == (instance, child))
        });
        if is_decided {
            self.check.invoked(child);
        }
        let graph = Arc::clone(&self.graphs[graph].graph);
        let depth = self.check.runs.get(&parent).and_then(|account| account.fold.as_ref());
        let depth = depth.and_then(Run::invoked_by).map_or(0, |by| by.depth) + 1;
        let (node, index) = ("n".into(), Vec::new());
        let invoked_by = Some(InvokedBy { run: parent, instance, node, index, depth });
        let tenant = row.created.tenant.clone();
        Submission { run: child, tenant, graph, key: None, invoked_by, ..self.submission(0, None) }
    }

    /// What a child has come to.
    pub(super) fn end_of_child(&mut self, parent: RunId, instance: Instance, child: RunId) -> Order {
        let fold = self.check.runs.get(&child).filter(|account| !account.is_quarantined);
        let fold = fold.and_then(|account| account.fold.clone());
        let outcome = match fold {
            None => Err(error("child_failed")),
            Some(fold) => match fold.status() {
                RunStatus::Completed => {
                    let given = results(&fold, self.store.stored(child));
                    let is_large = given.to_string().len() > heddle_core::limits::INLINE_VALUE_BYTES_MAX;
                    let all = value_of(&given, is_large, &mut self.store.artifacts);
                    let id = Value::from_json(format!("\"{child}\"").into());
                    let named = |name: &str, value| (Arc::from(name), ChildValue::One(value));
                    Ok(ChildGave { outputs: vec![named("outputs", all), named("executionId", id)], held: Vec::new() })
                }
                RunStatus::Cancelled => Err(error("child_cancelled")),
                RunStatus::Failed | RunStatus::Running => Err(error("child_failed")),
            },
        };
        Order::EndChild { parent, end: Box::new(ChildEnd { instance, child, outcome }) }
    }
}

fn error(code: &str) -> NodeError {
    NodeError { class: ErrorClass::Internal, code: code.into(), message: "it did not go well".into() }
}
