//! Ready work meets permits (E8, E14). What is ready is derived from the runs; queues only give it an order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::io::{BoundValue, Dispatch, Effect, InputBinding, Release};
use super::permits::{Need, Reservation};
use super::{Partition, Turn, key_of};
use crate::fault::{Fault, is_planted};
use crate::id::{AttemptKey, AttemptToken, Instance, RunId, SessionNumber};
use crate::limits;
use crate::run::event::{Assignment, Attempt, Fact, OutputValue};
use crate::run::{Run, WiredInput};
use crate::time::Timestamp;

/// Instances that need the same of an agent: by priority, then in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    levels: BTreeMap<Reverse<i32>, VecDeque<Standing>>,
    len: usize,
    /// Whether permits are waited for.
    wanting: bool,
}

/// An instance in a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    run: RunId,
    instance: Instance,
    since: Timestamp,
}

/// What stands, runs and waits in a partition's memory, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Instances that only lack an agent.
    pub ready: usize,
    /// Since when the first of them stands in its queue.
    pub oldest_ready: Option<Timestamp>,
    /// Attempts that agents have.
    pub assigned: usize,
    /// Runs that wait for an instant and have not left memory yet.
    pub parked: usize,
}

impl ReadyQueue {
    fn push(&mut self, priority: i32, standing: Standing) {
        self.levels.entry(Reverse(priority)).or_default().push_back(standing);
        self.len += 1;
    }

    fn pop(&mut self) -> Option<Standing> {
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
    /// What stands, runs and waits. It looks at every run: not for every turn.
    pub fn backlog(&self, now: Timestamp) -> Backlog {
        let mut backlog = Backlog::default();
        for entry in self.runs.values() {
            backlog.ready += entry.run.ready_count(now);
            backlog.assigned += entry.run.attempts().count();
            backlog.parked += usize::from(entry.run.is_parked());
        }
        let levels = self.queues.values().flat_map(|queue| queue.levels.values());
        // Some have left the queue's promise behind and are passed over when their turn comes.
        let oldest = levels.filter_map(|level| level.iter().find(|standing| self.still_stands(standing)));
        backlog.oldest_ready = oldest.map(|standing| standing.since).min();
        backlog
    }

    fn still_stands(&self, standing: &Standing) -> bool {
        self.runs.get(&standing.run).is_some_and(|entry| entry.exposed.contains(&standing.instance))
    }

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
            self.queues.entry(need).or_default().push(node.policy.priority, Standing { run: id, instance, since: now });
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
            let Some(standing) = self.next_ready(need, turn.now) else { break };
            let reservation = turn.permits.reserve(need);
            let Some(reservation) = reservation.filter(|reservation| self.is_current(reservation)) else {
                self.put_back(need, standing);
                break;
            };
            self.assign_one(standing, &reservation, need.alone, turn);
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
                Some(standing) => self.assign_one(standing, &reservation, need.alone, turn),
                None => turn.permits.give_back(&reservation),
            }
        }
    }

    /// The next instance that may still be given away; others have left the queue's promise behind.
    fn next_ready(&mut self, need: &Need, now: Timestamp) -> Option<Standing> {
        let queue = self.queues.get_mut(need)?;
        while let Some(standing) = queue.pop() {
            let Standing { run, instance, .. } = standing;
            let Some(entry) = self.runs.get_mut(&run) else { continue };
            if !entry.exposed.remove(&instance) {
                continue;
            }
            if entry.run.can_assign(instance, now) && entry.run.is_suspect(instance) == need.alone {
                return Some(standing);
            }
        }
        None
    }

    fn put_back(&mut self, need: &Need, standing: Standing) {
        let Some(entry) = self.runs.get_mut(&standing.run) else { return };
        entry.exposed.insert(standing.instance);
        let priority = entry.run.graph().node(standing.instance.node).policy.priority;
        let queue = self.queues.entry(need.clone()).or_default();
        queue.levels.entry(Reverse(priority)).or_default().push_front(standing);
        queue.len += 1;
    }

    fn assign_one(
        &mut self,
        Standing { run: id, instance, .. }: Standing,
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
        let dispatch = dispatch(&entry.run, &assignment, reservation.session);
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

fn dispatch(run: &Run, assignment: &Assignment, session: SessionNumber) -> Dispatch {
    let Attempt { instance, .. } = assignment.attempt;
    let live = run.attempt(instance);
    Dispatch {
        to: assignment.to.clone(),
        key: key_of(run.id(), assignment),
        permit: assignment.permit,
        session,
        graph: run.graph().clone(),
        inputs: run.wired_inputs(instance.node).into_iter().map(|input| bind(run, instance, &input)).collect(),
        handle: live.and_then(|live| live.handle),
        traceparent: run.traceparent().cloned(),
        tenant: run.tenant().clone(),
    }
}

fn bind(run: &Run, instance: Instance, input: &WiredInput<'_>) -> InputBinding {
    let graph = run.graph();
    let declared = graph.node(instance.node).node_type.as_ref();
    let list = declared.and_then(|node_type| node_type.inputs.get(input.port.0 as usize)).is_some_and(|port| port.list);
    let mut values = Vec::new();
    for sourced in &input.values {
        let source = graph.node(sourced.source).node_type.as_ref();
        let spread = list
            && source
                .and_then(|node_type| node_type.outputs.get(sourced.source_port.0 as usize))
                .is_some_and(|port| port.list);
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
