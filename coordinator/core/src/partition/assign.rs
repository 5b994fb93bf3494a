//! Ready work meets permits (E8, E14). What is ready is derived from the runs; queues only give it an order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::io::{BoundValue, Dispatch, Effect, InputBinding, Release};
use super::permits::{Need, Reservation};
use super::{Partition, Turn, key_of};
use crate::fault::{Fault, is_planted};
use crate::id::{AttemptKey, AttemptToken, Instance, RunId};
use crate::limits;
use crate::run::event::{Assignment, Attempt, Fact, OutputValue};
use crate::run::{Run, WiredInput};
use crate::time::Timestamp;

/// Instances that need the same of an agent: by priority, then in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    levels: BTreeMap<Reverse<i32>, VecDeque<(RunId, Instance)>>,
    len: usize,
    /// Whether permits are waited for.
    wanting: bool,
}

impl ReadyQueue {
    fn push(&mut self, priority: i32, item: (RunId, Instance)) {
        self.levels.entry(Reverse(priority)).or_default().push_back(item);
        self.len += 1;
    }

    fn pop(&mut self) -> Option<(RunId, Instance)> {
        let mut level = self.levels.first_entry()?;
        let item = level.get_mut().pop_front();
        if level.get().is_empty() {
            level.remove();
        }
        self.len -= usize::from(item.is_some());
        item
    }
}

impl Partition {
    /// Lets a run's ready instances stand in the queues, up to its share.
    pub(super) fn expose(&mut self, id: RunId, now: Timestamp) {
        let Some(entry) = self.runs.get_mut(&id) else { return };
        let room = limits::RUN_EXPOSED_ATTEMPTS_MAX.saturating_sub(entry.exposed.len());
        // Refilled by halves, so that a wide run does not walk its queued half at every event.
        if room < limits::RUN_EXPOSED_ATTEMPTS_MAX / 2 || entry.run.ready_count(now) <= entry.exposed.len() {
            return;
        }
        let exposed = &entry.exposed;
        let fresh: Vec<Instance> = entry
            .run
            .ready()
            .chain(entry.run.retries_due(now))
            .filter(|instance| !exposed.contains(instance))
            .take(room)
            .collect();
        for instance in fresh {
            let node = entry.run.graph().node(instance.node);
            let need = Need::of(node, entry.run.is_suspect(instance));
            self.queues.entry(need).or_default().push(node.policy.priority, (id, instance));
            entry.exposed.insert(instance);
        }
    }

    /// Takes permits for what is ready as long as there are some, and says how many more are wanted.
    pub(super) fn assign(&mut self, turn: &mut Turn<'_>) {
        let needs: Vec<Need> = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.len > 0 || queue.wanting)
            .map(|(need, _)| need.clone())
            .collect();
        for need in needs {
            self.assign_need(&need, turn);
        }
        self.queues.retain(|_, queue| queue.len > 0 || queue.wanting);
    }

    fn assign_need(&mut self, need: &Need, turn: &mut Turn<'_>) {
        while !self.open.is_full() {
            let Some((id, instance)) = self.next_ready(need, turn.now) else { break };
            let reservation = turn.permits.reserve(need);
            let Some(reservation) = reservation.filter(|reservation| self.is_current(reservation)) else {
                self.put_back(need, id, instance);
                break;
            };
            self.assign_one(id, instance, &reservation, need.alone, turn);
        }
        let Some(queue) = self.queues.get_mut(need) else { return };
        // With a full batch the rest is taken up again when a commit lands.
        let wanted = if self.open.is_full() { 0 } else { queue.len };
        if wanted > 0 || queue.wanting {
            turn.permits.want(self.id, need, wanted as u32);
        }
        queue.wanting = wanted > 0;
    }

    /// Permits that were waited for; those that nobody here can use any more go back.
    pub(super) fn granted(&mut self, grants: Vec<(Need, Reservation)>, turn: &mut Turn<'_>) {
        for (need, reservation) in grants {
            let next = if self.is_current(&reservation) { self.next_ready(&need, turn.now) } else { None };
            match next {
                Some((id, instance)) => self.assign_one(id, instance, &reservation, need.alone, turn),
                None => turn.permits.give_back(&reservation),
            }
        }
    }

    /// The next instance that may still be given away; others have left the queue's promise behind.
    fn next_ready(&mut self, need: &Need, now: Timestamp) -> Option<(RunId, Instance)> {
        let queue = self.queues.get_mut(need)?;
        while let Some((id, instance)) = queue.pop() {
            let Some(entry) = self.runs.get_mut(&id) else { continue };
            if !entry.exposed.remove(&instance) {
                continue;
            }
            if entry.run.can_assign(instance, now) && entry.run.is_suspect(instance) == need.alone {
                return Some((id, instance));
            }
        }
        None
    }

    fn put_back(&mut self, need: &Need, id: RunId, instance: Instance) {
        let Some(entry) = self.runs.get_mut(&id) else { return };
        entry.exposed.insert(instance);
        let priority = entry.run.graph().node(instance.node).policy.priority;
        let queue = self.queues.entry(need.clone()).or_default();
        queue.levels.entry(Reverse(priority)).or_default().push_front((id, instance));
        queue.len += 1;
    }

    fn assign_one(
        &mut self,
        id: RunId,
        instance: Instance,
        reservation: &Reservation,
        alone: bool,
        turn: &mut Turn<'_>,
    ) {
        self.current = Some(id);
        let Some(entry) = self.runs.get(&id) else { return };
        let number = entry.run.next_attempt(instance);
        let token = match is_planted(Fault::TokenReused) {
            true => AttemptToken(u64::from(instance.node.0)),
            false => AttemptToken(turn.draw.next_u64()),
        };
        let assignment = Assignment {
            attempt: Attempt { instance, number, token },
            to: reservation.agent.clone(),
            permit: reservation.class,
            alone,
        };
        let key = key_of(id, &assignment);
        // It rides on the event that made it ready, if that is still open (E8).
        if self.open.last_event(id).is_none() {
            self.append(id, Fact::Continued.into(), turn);
        }
        // A replay sees only the event's time (I2).
        let Some(at) = self.open.last_event(id).map(|event| event.at) else { return };
        let Some(entry) = self.runs.get_mut(&id) else { return };
        if let Err(corrupt) = entry.run.step_assignment(at, &assignment) {
            panic!("an assignment does not follow: {corrupt}");
        }
        let dispatch = dispatch(&entry.run, &assignment);
        if let Some(event) = self.open.last_event(id) {
            event.assignments.push(assignment);
        }
        self.unsent.insert(key, reservation.clone());
        self.open.held.releases.push((Some(id), Release::Effect(Effect::Dispatch(Box::new(dispatch)))));
        self.track(id, turn);
    }

    /// A durable assignment goes to its agent, unless it was taken back meanwhile.
    pub(super) fn send(&mut self, dispatch: Box<Dispatch>, turn: &mut Turn<'_>) {
        let key = dispatch.key;
        if !self.unsent.contains_key(&key) {
            return;
        }
        if self.live(&key).is_some_and(|live| live.stopping) {
            return self.stopped_unsent(key, turn);
        }
        self.unsent.remove(&key);
        turn.outputs.releases.push(Release::Effect(Effect::Dispatch(dispatch)));
    }

    /// An attempt that nobody knows of outside will not be sent.
    pub(super) fn withdraw(&mut self, key: &AttemptKey, turn: &mut Turn<'_>) {
        if let Some(reservation) = self.unsent.remove(key) {
            turn.permits.give_back(&reservation);
        }
    }
}

fn dispatch(run: &Run, assignment: &Assignment) -> Dispatch {
    let Attempt { instance, .. } = assignment.attempt;
    let live = run.attempt(instance);
    Dispatch {
        to: assignment.to.clone(),
        key: key_of(run.id(), assignment),
        permit: assignment.permit,
        graph: run.graph().clone(),
        inputs: run.wired_inputs(instance.node).into_iter().map(|input| bind(run, instance, &input)).collect(),
        handle: live.and_then(|live| live.handle),
        traceparent: run.traceparent().cloned(),
        tenant: run.tenant().clone(),
        sandbox: run.is_sandboxed(),
    }
}

fn bind(run: &Run, instance: Instance, input: &WiredInput<'_>) -> InputBinding {
    let graph = run.graph();
    let declared = graph.node(instance.node).node_type.as_ref();
    let list = declared.and_then(|node_type| node_type.inputs.get(input.port.0 as usize)).is_some_and(|port| port.list);
    let mut values = Vec::new();
    for sourced in &input.values {
        let source = graph.node(sourced.source).node_type.as_ref();
        // An input of files gives one or a list of them, as its config says; a file itself is never a list.
        let spread = list
            && source
                .and_then(|node_type| node_type.outputs.get(sourced.source_port.0 as usize))
                .is_some_and(|port| port.list || port.port_type.is_media());
        match sourced.value {
            OutputValue::One(reference) => values.push(BoundValue { reference: *reference, spread }),
            OutputValue::Gather(references) => {
                values.extend(references.iter().map(|reference| BoundValue { reference: *reference, spread: false }));
            }
            OutputValue::Closed => {}
        }
    }
    InputBinding { port: input.port, list, values }
}
