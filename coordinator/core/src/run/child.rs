//! Children (graph.md, part 9): runs that a run invokes. Each lies in a slot of its own, so all that is told here is what to
//! ask of it and what came of it; messages between slots carry that ([`crate::outbox`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::admit::check_size;
use super::corrupt::Corrupt;
use super::{Admitted, Body, NodePhase, Rejection, Run, RunStatus};
use crate::fault::{Fault as Planted, is_planted};
use crate::graph::Hasher;
use crate::id::{AttemptNumber, Instance, PortIx, RunId, Slot};
use crate::limits;
use crate::run::event::{
    ChildEnded, ChildOutcome, Decision, ErrorClass, Fact, Invoked, InvokedBy, NodeError, OutputValue, PortOutput,
};
use crate::time::Timestamp;
use crate::value::Value;

/// The runs that a run has invoked. Runs that invoke none have none of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Children {
    /// Instances that are due to invoke, or wait for room.
    calling: BTreeSet<Instance>,
    /// Those of them that wait until a child ends, in order.
    waiting: VecDeque<Instance>,
    open: BTreeMap<Instance, RunId>,
}

/// What other slots are to be told because of the event that was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildOrder {
    /// A child is to begin.
    Start {
        /// For which instance.
        instance: Instance,
        /// The child.
        child: RunId,
    },
    /// Nothing depends on a child any more.
    Cancel {
        /// The child.
        child: RunId,
    },
}

/// What a child has come to, as its parent is told.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildEnd {
    /// Which node of the parent has invoked it.
    pub instance: Instance,
    /// The child.
    pub child: RunId,
    /// What it gave; or why there is nothing.
    pub outcome: Result<ChildGave, NodeError>,
}

/// What a child gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChildGave {
    /// By the names of the node's outputs.
    pub outputs: Vec<(Arc<str>, ChildValue)>,
    /// What these only describe, and the parent is to have for as long as it is kept.
    pub held: Vec<Value>,
}

/// What one output of a child gave.
#[derive(Debug, Clone, PartialEq)]
pub enum ChildValue {
    /// A value.
    One(Value),
    /// The items of a list.
    List(Vec<Value>),
    /// A list that is one value.
    Array(Value),
}

impl Children {
    fn has_room(&self) -> bool {
        let calling = self.calling.len() - self.waiting.len().min(self.calling.len());
        self.open.len() + calling < limits::CHILDREN_OPEN_PER_RUN_MAX
    }
}

impl Run {
    /// Which node of which run has invoked it.
    pub fn invoked_by(&self) -> Option<&InvokedBy> {
        self.state.origin.invoked_by.as_ref()
    }

    /// The children that are not over, by the instances that have invoked them.
    pub fn open_children(&self) -> impl Iterator<Item = (Instance, RunId)> {
        let open = self.state.children.iter().flat_map(|children| &children.open);
        open.map(|(instance, child)| (*instance, *child))
    }

    /// The child of an instance that is not over.
    pub fn open_child(&self, instance: Instance) -> Option<RunId> {
        self.state.children.as_ref()?.open.get(&instance).copied()
    }

    /// Whether a child is waited for.
    pub(super) fn has_open_children(&self) -> bool {
        self.state.children.as_ref().is_some_and(|children| !children.open.is_empty())
    }

    /// What is to be told to other slots since this was asked last, or because of the event that was read last.
    pub(crate) fn take_child_orders(&mut self) -> Vec<ChildOrder> {
        std::mem::take(&mut self.child_orders)
    }

    /// What an instance decides that is due to invoke; nothing of other instances.
    pub(super) fn invoke(&self, instance: Instance, now: Timestamp) -> Option<Decision> {
        self.state.children.as_ref()?.calling.get(&instance)?;
        let depth = self.invoked_by().map_or(0, |by| by.depth);
        if depth >= limits::CHILD_DEPTH_MAX {
            let message = format!(
                "this run lies {depth} deep in runs that invoked each other, and no more may be invoked there; end the \
                 recursion earlier"
            );
            let error =
                NodeError { class: ErrorClass::InvalidRequest, code: "too_deep".into(), message: message.into() };
            return Some(Decision::Failed { instance, error, caught: Vec::new() });
        }
        let inputs = self.wired_inputs(instance).into_iter();
        let inputs = inputs.map(|input| PortOutput { port: input.port, value: self.gather(instance, &input) });
        let inputs = inputs.filter(|input| input.value != OutputValue::Closed).collect();
        let (child, index) = (child_id(self.id, instance, now), self.path(instance.scope));
        let invoked = Invoked { child, index, inputs };
        Some(Decision::Invoked { instance, invoked: Box::new(invoked) })
    }

    /// What follows from the end of a child, once.
    pub(super) fn end_child(&self, end: ChildEnd) -> Result<Admitted, Rejection> {
        let ChildEnd { instance, child, outcome } = end;
        if self.status() != RunStatus::Running {
            return Err(Rejection::Over(self.status()));
        }
        if self.open_child(instance) != Some(child) {
            return Err(Rejection::AlreadyCommitted);
        }
        let mut body = Body::new(self.seq().next());
        let given = outcome.and_then(|gave| {
            let held = gave.held;
            Ok((self.child_outputs(instance, gave.outputs)?, held))
        });
        let outcome = match given {
            Ok((outputs, held)) => {
                let mut value = |value| match value {
                    None => OutputValue::Closed,
                    Some(ChildValue::One(value)) => OutputValue::One(body.put(value)),
                    Some(ChildValue::Array(value)) => OutputValue::List(body.put(value)),
                    Some(ChildValue::List(items)) => {
                        OutputValue::Gather(items.into_iter().map(|item| body.put(item)).collect())
                    }
                };
                let outputs =
                    outputs.into_iter().map(|(port, given)| PortOutput { port, value: value(given) }).collect();
                // Nothing refers to these: that the event has them keeps them.
                for value in held {
                    body.put(value);
                }
                ChildOutcome::Gave(outputs)
            }
            Err(error) => {
                let caught = self.caught(instance, &error, AttemptNumber(0), &mut body);
                ChildOutcome::Failed { error, caught }
            }
        };
        let fact = Fact::ChildEnded(Box::new(ChildEnded { instance, child, outcome }));
        Ok(Admitted { fact, values: body.into_values() })
    }

    /// Values by name become outputs by port; a port that the child has given nothing for is closed.
    fn child_outputs(
        &self,
        instance: Instance,
        mut values: Vec<(Arc<str>, ChildValue)>,
    ) -> Result<Vec<(PortIx, Option<ChildValue>)>, NodeError> {
        let node = self.graph.node(instance.node);
        let ports = node.node_type.as_ref().map_or(&[][..], |node_type| &node_type.outputs);
        let mut outputs = Vec::with_capacity(ports.len());
        for (port, place) in ports.iter().zip(0..) {
            let found = values.iter().position(|(name, _)| *name == port.id);
            let found = match is_planted(Planted::ChildOutputsCrossed) {
                true => values.len().checked_sub(1),
                false => found,
            };
            let found = found.filter(|_| node.error_port != Some(PortIx(place)));
            let value = found.map(|found| values.swap_remove(found).1);
            match &value {
                None => {}
                Some(ChildValue::One(value) | ChildValue::Array(value)) => check_size(&port.id, value)?,
                Some(ChildValue::List(items)) => items.iter().try_for_each(|item| check_size(&port.id, item))?,
            }
            outputs.push((PortIx(place), value));
        }
        Ok(outputs)
    }

    /// An instance invokes a run as soon as there is room for one more child.
    pub(super) fn call_next(&mut self, instance: Instance) -> Result<(), Corrupt> {
        self.enter(instance, NodePhase::Due)?;
        let children = self.state.children.get_or_insert_default();
        let has_room = children.has_room();
        children.calling.insert(instance);
        if has_room {
            self.state.due.push_back(instance);
        } else {
            children.waiting.push_back(instance);
        }
        Ok(())
    }

    /// An instance has decided: it is not about to invoke any more. Says whether it was.
    pub(super) fn stop_calling(&mut self, instance: Instance) -> bool {
        let Some(children) = &mut self.state.children else { return false };
        let was_calling = children.calling.remove(&instance);
        if was_calling {
            children.waiting.retain(|waiting| *waiting != instance);
        }
        was_calling
    }

    /// Folds a child that is to begin.
    pub(super) fn invoked(&mut self, instance: Instance, invoked: &Invoked, was_calling: bool) -> Result<(), Corrupt> {
        if !was_calling {
            return Err(Corrupt::WrongSide { seq: self.state.seq });
        }
        self.enter(instance, NodePhase::Waiting)?;
        let children = self.state.children.get_or_insert_default();
        children.open.insert(instance, invoked.child);
        self.child_orders.push(ChildOrder::Start { instance, child: invoked.child });
        if is_planted(Planted::ChildStartedTwice) {
            self.child_orders.push(ChildOrder::Start { instance, child: RunId(invoked.child.0 ^ 1) });
        }
        Ok(())
    }

    /// Folds the end of a child.
    pub(super) fn child_ended(&mut self, ended: &ChildEnded) -> Result<(), Corrupt> {
        let ChildEnded { instance, child, outcome } = ended;
        self.expect(*instance, &[NodePhase::Waiting])?;
        let children = self.state.children.get_or_insert_default();
        if children.open.remove(instance) != Some(*child) {
            return Err(Corrupt::WrongSide { seq: self.state.seq });
        }
        match outcome {
            ChildOutcome::Gave(outputs) => self.give(*instance, NodePhase::Completed, None, outputs)?,
            ChildOutcome::Failed { error, caught } => self.give_up(*instance, error, caught)?,
        }
        self.call_waiting();
        Ok(())
    }

    /// Whoever waits for room invokes now.
    pub(super) fn call_waiting(&mut self) {
        let Some(children) = &mut self.state.children else { return };
        while children.has_room()
            && let Some(instance) = children.waiting.pop_front()
        {
            self.state.due.push_back(instance);
        }
    }

    /// An instance is given up: it invokes nothing, and its child need not go on.
    pub(super) fn leave_child(&mut self, instance: Instance) {
        self.stop_calling(instance);
        let Some(children) = &mut self.state.children else { return };
        if let Some(child) = children.open.remove(&instance) {
            self.child_orders.push(ChildOrder::Cancel { child });
        }
        self.call_waiting();
    }

    /// The run is over: no child need go on.
    pub(super) fn leave_children(&mut self) {
        let Some(children) = self.state.children.take() else { return };
        if is_planted(Planted::CancelNotCascaded) {
            return;
        }
        self.child_orders.extend(children.open.into_values().map(|child| ChildOrder::Cancel { child }));
    }
}

/// The id of a child: whoever decides the same again names the same run.
fn child_id(parent: RunId, instance: Instance, now: Timestamp) -> RunId {
    let mut hasher = Hasher::default();
    hasher.text(b"child").text(&parent.to_bytes());
    hasher.number(instance.node.0 as usize).number(instance.scope.0 as usize);
    hasher.number(instance.generation.0 as usize);
    let digest = hasher.done().0;
    let number = |bytes: &[u8]| bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    RunId::new(now, Slot::of_hash(number(&digest[..8]) as u64), number(&digest[8..24]))
}
