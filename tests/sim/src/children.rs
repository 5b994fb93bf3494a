//! Runs that runs invoke: what the shell around the engine fills in, as messages name it.

use std::collections::BTreeMap;
use std::sync::Arc;

use heddle_core::graph::{Graph, Invoke};
use heddle_core::id::{EventSeq, Instance, PortIx, RunId, Slot, WorkflowId};
use heddle_core::outbox::MessageId;
use heddle_core::partition::io::{Delivery, Input, Order, Submission};
use heddle_core::run::event::{Decision, ErrorClass, Invoked, InvokedBy, NodeError, OutputValue};
use heddle_core::run::{ChildEnd, ChildGave, ChildValue, Run, RunStatus};
use heddle_core::value::{Digest, Value};
use serde_json::{Map, Value as Json};

use super::large::value_of;
use super::store::RunRow;
use super::stored::Stored;
use super::world::World;

/// The type of the nodes that run other graphs.
pub(super) const INVOKE: &str = "blueprint:invoke";
/// Graphs that only such nodes run. Each may run those before it, and the last one runs itself.
pub(super) const CHILD_GRAPHS: usize = 3;
/// A workflow that is not saved.
pub(super) const NOWHERE: WorkflowId = WorkflowId(99);
/// The input of such a graph, and its output.
pub(super) const INPUT: &str = "n0";
pub(super) const RESULT: &str = "result";

/// The workflow of a graph.
pub(super) fn workflow_of(graph: usize) -> WorkflowId {
    WorkflowId(100 + graph as u128)
}

/// All that a run has given, by name, and whether it is a list.
pub(super) fn results(run: &Run, stored: Stored<'_>) -> Vec<(String, Json, bool)> {
    let graph = run.graph();
    let given = graph.results().filter_map(|ix| {
        let output = run.output(ix, PortIx(0))?;
        Some((graph.result_name(ix).to_string(), stored.output(output)?, !matches!(output, OutputValue::One(_))))
    });
    given.collect()
}

/// The same as one object.
pub(super) fn together(results: &[(String, Json, bool)]) -> Json {
    Json::Object(results.iter().map(|(name, value, _)| (name.clone(), value.clone())).collect::<Map<String, Json>>())
}

/// The workflows that are saved, each version of them as the place of its graph.
#[derive(Debug, Default)]
pub(super) struct Workflows(BTreeMap<WorkflowId, Vec<usize>>);

impl Workflows {
    /// Saves the next version of a workflow.
    pub(super) fn save(&mut self, workflow: WorkflowId, graph: usize) {
        self.0.entry(workflow).or_default().push(graph);
    }

    /// The newest version of a workflow.
    pub(super) fn newest(&self, workflow: WorkflowId) -> Option<usize> {
        self.0.get(&workflow)?.last().copied()
    }

    /// What a node runs that begins now.
    fn graph(&self, invoke: Invoke) -> Option<usize> {
        match invoke.version {
            None => self.newest(invoke.workflow),
            Some(version) => self.0.get(&invoke.workflow)?.get(version.checked_sub(1)? as usize).copied(),
        }
    }

    /// Whether a node may have run the graph at such a place.
    pub(super) fn may_be(&self, invoke: Invoke, graph: impl Fn(usize) -> bool) -> bool {
        let saved = self.0.get(&invoke.workflow).map_or(&[][..], Vec::as_slice);
        match invoke.version {
            None => saved.iter().any(|place| graph(*place)),
            Some(version) => saved.get(version as usize - 1).is_some_and(|place| graph(*place)),
        }
    }
}

/// What an event has decided to start for an instance.
pub(super) fn decided(row: &RunRow, instance: Instance, seq: EventSeq) -> Option<&Invoked> {
    let event = row.events.get(seq.0 as usize - 1)?;
    event.decisions.iter().find_map(|decision| match decision {
        Decision::Invoked { instance: of, invoked } if *of == instance => Some(&**invoked),
        _ => None,
    })
}

impl World {
    /// Brings a child to its slot; one that can never begin ends where it was asked for.
    pub(super) fn bring_start(
        &mut self,
        (message, source): (MessageId, Slot),
        (parent, instance, seq): (RunId, Instance, EventSeq),
        child: RunId,
    ) {
        let begins = match self.store.runs.get(&parent).filter(|row| !row.is_quarantined).cloned() {
            Some(row) => self.child_of(&row, (parent, instance, seq), child),
            // What was to be written beside its events may be there without them.
            None => self.check.is_quarantined(parent).then_some(Err("child_unwanted")),
        };
        let (order, to) = match begins {
            Some(Ok(submission)) => (Order::Start(Box::new(submission)), child.slot()),
            // What has begun goes on, whatever has become of its workflow since.
            Some(Err(_)) if self.is_there(child) => return self.bring_later(source, Input::Received(message)),
            Some(Err(code)) => {
                let end = Box::new(ChildEnd { instance, child, outcome: Err(error(code)) });
                (Order::EndChild { parent, end }, source)
            }
            None => return,
        };
        self.bring_later(to, Input::Delivered(Box::new(Delivery { message, source, order })));
    }

    /// A child as it begins; or why it never can; nothing if its parent's history does not ask for it.
    fn child_of(
        &mut self,
        row: &RunRow,
        (parent, instance, seq): (RunId, Instance, EventSeq),
        child: RunId,
    ) -> Option<Result<Submission, &'static str>> {
        let of_parent = Arc::clone(self.store.graphs.get(&row.created.graph)?);
        let invoke = *of_parent.invoke(instance.node)?;
        let invoked = decided(row, instance, seq)?.clone();
        if invoked.child == child {
            self.check.invoked(child);
        }
        let Some(place) = self.workflows.graph(invoke) else { return Some(Err("child_not_found")) };
        let graph = Arc::clone(&self.graphs[place].graph);
        let (_, wanted) = of_parent.child_ports(instance.node);
        if wanted.iter().any(|name| graph.find_result(name).is_none()) {
            return Some(Err("child_outputs"));
        }
        let given: Vec<(Arc<str>, Value)> = self.given_to(parent, &of_parent, instance, &invoked);
        let Ok(inputs) = graph.bind_values(&given) else { return Some(Err("child_inputs")) };
        let depth = self.check.runs.get(&parent).and_then(|account| account.fold.as_ref());
        let depth = depth.and_then(Run::invoked_by).map_or(0, |by| by.depth) + 1;
        let node = of_parent.node(instance.node).id.clone();
        let invoked_by = Some(InvokedBy { run: parent, instance, node, index: invoked.index, depth });
        let tenant = row.created.tenant.clone();
        let workflow = invoke.workflow;
        let like = self.submission(0, None);
        let deadline = None;
        Some(Ok(Submission { run: child, tenant, workflow, graph, inputs, key: None, deadline, invoked_by, ..like }))
    }

    /// What a node has for its child, by name.
    fn given_to(&self, parent: RunId, graph: &Graph, instance: Instance, invoked: &Invoked) -> Vec<(Arc<str>, Value)> {
        let stored = self.store.stored(parent);
        let ports = graph.node(instance.node).node_type.as_ref().map_or(&[][..], |node_type| &node_type.inputs);
        let given = invoked.inputs.iter().filter_map(|input| {
            let value = match &input.value {
                OutputValue::One(reference) => stored.value(reference)?.clone(),
                value => Value::from_json(stored.output(value)?.to_string().into()),
            };
            Some((ports.get(usize::from(input.port.0))?.id.clone(), value))
        });
        given.collect()
    }

    /// What a child has come to.
    pub(super) fn end_of_child(&mut self, parent: RunId, instance: Instance, child: RunId) -> Order {
        let fold = self.check.runs.get(&child).filter(|account| !account.is_quarantined);
        let fold = fold.and_then(|account| account.fold.clone());
        let outcome = match fold.as_ref().map(|fold| (fold, fold.status())) {
            None => Err(error("child_failed")),
            Some((fold, RunStatus::Completed)) => Ok(self.given_by(fold, parent, instance)),
            Some((_, RunStatus::Cancelled)) => Err(error("child_cancelled")),
            Some((_, RunStatus::Failed)) => Err(error("child_failed")),
            Some((_, RunStatus::Running)) => {
                self.check.fail("I3", format!("the end of {child} is told before it is durable"));
                Err(error("child_failed"))
            }
        };
        Order::EndChild { parent, end: Box::new(ChildEnd { instance, child, outcome }) }
    }

    fn given_by(&mut self, child: &Run, parent: RunId, instance: Instance) -> ChildGave {
        let given = results(child, self.store.stored(child.id()));
        let all = together(&given);
        let is_large = all.to_string().len() > heddle_core::limits::INLINE_VALUE_BYTES_MAX;
        let all = value_of(&all, is_large, &mut self.store.artifacts);
        let id = Value::from_json(format!("\"{}\"", child.id()).into());
        let named = |name: &str, value| (Arc::from(name), ChildValue::One(value));
        let mut outputs = vec![named("outputs", all), named("executionId", id)];
        let row = self.store.runs.get(&parent).map(|row| row.created.graph);
        let of_parent = row.and_then(|graph: Digest| self.store.graphs.get(&graph));
        let (_, wanted) = of_parent.map(|graph| graph.child_ports(instance.node)).unwrap_or_default();
        let stored = self.store.stored(child.id());
        for name in wanted {
            let output = child.graph().find_result(&name).and_then(|ix| child.output(ix, PortIx(0)));
            let value = match output {
                None | Some(OutputValue::Closed) => continue,
                Some(OutputValue::One(reference)) => stored.value(reference).cloned().map(ChildValue::One),
                Some(list) => match stored.output(list) {
                    Some(Json::Array(items)) => {
                        let value = |item: &Json| Value::from_json(item.to_string().into());
                        Some(ChildValue::List(items.iter().map(value).collect()))
                    }
                    _ => None,
                },
            };
            outputs.extend(value.map(|value| (name, value)));
        }
        ChildGave { outputs, held: Vec::new() }
    }

    /// A child that was set aside cannot say so itself: who looks after parked runs tells its parent.
    pub(super) fn tell_of_set_aside(&mut self, parent: RunId) {
        let fold = self.check.runs.get(&parent).and_then(|account| account.fold.as_ref());
        let open: Vec<(Instance, RunId)> = fold.map(|fold| fold.open_children().collect()).unwrap_or_default();
        for (instance, child) in open {
            if !self.check.is_quarantined(child) {
                continue;
            }
            let order = self.end_of_child(parent, instance, child);
            // No outbox holds it: it is told again as long as its parent waits.
            let (message, source) = (MessageId(0), child.slot());
            let delivery = Delivery { message, source, order };
            self.bring_later(parent.slot(), Input::Delivered(Box::new(delivery)));
        }
    }

    /// A run of a client's, or one that has begun for it.
    pub(super) fn in_tree_of(&mut self, mut run: RunId) -> RunId {
        while self.knobs.child_percent > 0 && self.random.percent(40) {
            let open: Vec<RunId> = self.check.open_children(run).into_iter().collect();
            let Some(child) = open.get(self.random.below(open.len())) else { break };
            run = *child;
        }
        run
    }

    /// Somebody saves another version of a workflow that other graphs run.
    pub(super) fn save_workflow(&mut self) {
        let place = self.knobs.graphs + self.random.below(CHILD_GRAPHS);
        let workflow = workflow_of(place);
        let Some(newest) = self.workflows.newest(workflow) else { return };
        let changed = self.changed(newest);
        self.workflows.save(workflow, changed);
    }
}

fn error(code: &str) -> NodeError {
    NodeError { class: ErrorClass::Internal, code: code.into(), message: "it did not go well".into() }
}
