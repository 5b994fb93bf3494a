//! Ready work meets permits (E8, E14). What is ready is derived from the runs; queues only give it an order.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::io::{BoundValue, Dispatch, Effect, Holds, InputBinding, Release};
use super::permits::{Grant, Need, Reservation};
use super::ready::{Lane, Ready};
use super::{Entry, Partition, Turn};
use crate::fault::{Fault, is_planted};
use crate::id::{AgentId, AttemptKey, AttemptToken, Instance, PortIx, ProviderIx, RunId, SessionNumber};
use crate::limits;
use crate::run::event::{Assignment, Attempt, Fact, OutputValue, Piece, PortOutput};
use crate::run::{Rank, Run, RunStatus, WiredInput};
use crate::time::Timestamp;

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

impl Partition {
    /// What stands, runs and waits. It looks at every run: not for every turn.
    pub fn backlog(&self, now: Timestamp) -> Backlog {
        let mut backlog = Backlog::default();
        for entry in self.runs.values() {
            backlog.ready += entry.run.ready_count(now);
            backlog.assigned += entry.run.attempts().count();
            backlog.parked += usize::from(entry.run.is_parked());
        }
        // Some have left the queue's promise behind and are passed over when their turn comes.
        let stands = |run, instance| {
            self.runs.get(&run).is_some_and(|entry: &Entry| entry.exposed.contains(&entry.run.rank(instance)))
        };
        backlog.oldest_ready = self.queues.values().filter_map(|queue| queue.oldest(stands)).min();
        backlog
    }

    /// Lets a run's ready instances stand in the queues, up to its share.
    pub(super) fn expose(&mut self, id: RunId, now: Timestamp) {
        let running = |entry: &&mut Entry| entry.run.status() == RunStatus::Running && !entry.run.is_paused();
        let Some(entry) = self.runs.get_mut(&id).filter(running) else { return };
        let (run, exposed) = (&entry.run, &entry.exposed);
        let room = limits::RUN_EXPOSED_ATTEMPTS_MAX.saturating_sub(exposed.len());
        let is_new = |rank: &Rank| !exposed.contains(rank);
        let fresh: Vec<Rank> = if room < limits::RUN_EXPOSED_ATTEMPTS_MAX / 2 {
            // Refilled by halves, so that a wide run does not walk its queued half at every event. What is more urgent than
            // all that stands there goes before it, and so must stand there, too.
            let first = run.ready().next().map(|instance| run.rank(instance)).filter(is_new);
            first.into_iter().filter(|_| exposed.len() < limits::RUN_EXPOSED_URGENT_MAX).collect()
        } else if run.ready_count(now) > exposed.len() {
            // Both are in the same order: they are gone through side by side, which costs little for each that waits already.
            let retries = run.retries_due(now).map(|instance| run.rank(instance)).filter(is_new);
            run.ready_without(exposed).chain(retries).take(room).collect()
        } else {
            return;
        };
        for rank in fresh {
            let instance = rank.instance();
            let (lane, priority) = place_of(&entry.run, instance);
            let queue = self.queues.entry(lane.clone()).or_default();
            match entry.returned.remove(&instance) {
                Some(since) => queue.push_again(priority, id, instance, since),
                None => queue.push(priority, id, instance, now),
            }
            if !std::mem::replace(&mut queue.listed, true) {
                self.changed.push_back(lane);
            }
            entry.exposed.insert(rank);
        }
    }

    /// Takes a run's instances out of the queues: it is over, or leaves.
    pub(super) fn unexpose(&mut self, id: RunId) {
        let Some(entry) = self.runs.get_mut(&id) else { return };
        let exposed = std::mem::take(&mut entry.exposed);
        let lanes: BTreeSet<Lane> = exposed.into_iter().map(|rank| place_of(&entry.run, rank.instance()).0).collect();
        for lane in lanes {
            self.queues.get_mut(&lane).into_iter().for_each(|queue| queue.remove(id));
            self.look_at(lane);
        }
    }

    /// A lane has more or less in it than was told: it is looked at before the turn ends, or when there is room again.
    pub(super) fn look_at(&mut self, lane: Lane) {
        if let Some(queue) = self.queues.get_mut(&lane).filter(|queue| !queue.listed) {
            queue.listed = true;
            self.changed.push_back(lane);
        }
    }

    /// Takes permits for what has become ready as long as there are some, lane by lane in turn, and says how many more are
    /// wanted. Lanes that wait and have not changed cost nothing.
    pub(super) fn assign(&mut self, turn: &mut Turn<'_>) {
        while !self.open.is_full() {
            let Some(lane) = self.changed.pop_front() else { return };
            if self.assign_next(&lane, turn) {
                self.changed.push_back(lane);
                continue;
            }
            let Some(queue) = self.queues.get_mut(&lane) else { continue };
            queue.listed = false;
            let wanted = queue.len();
            if wanted > 0 || queue.wanting {
                turn.permits.take().want(self.id, &lane.tenant, &lane.need, wanted as u32);
            }
            queue.wanting = wanted > 0;
            if wanted == 0 {
                self.queues.remove(&lane);
            }
        }
    }

    /// Whether something of this lane could be given away.
    fn assign_next(&mut self, lane: &Lane, turn: &mut Turn<'_>) -> bool {
        let Some(ready) = self.next_ready(lane, turn.now) else { return false };
        let near = self.runs.get(&ready.run).and_then(|entry| entry.run.near(ready.instance));
        let reservation = turn.permits.take().reserve(self.id, &lane.need, near);
        match reservation {
            Some(reservation) if self.is_current(&reservation) => {
                self.assign_one(ready.run, ready.instance, reservation, lane.need.alone, turn);
            }
            unusable => {
                // Its session is about to end, and its permit with it; its place is not.
                unusable.iter().for_each(|reservation| turn.permits.take().give_back(reservation));
                if let Some(entry) = self.runs.get_mut(&ready.run) {
                    entry.exposed.insert(entry.run.rank(ready.instance));
                    self.queues.entry(lane.clone()).or_default().put_back(ready);
                }
                return false;
            }
        }
        true
    }

    /// Permits that were waited for; those that nobody here can use any more go on to others.
    pub(super) fn granted(&mut self, grants: Vec<Grant>, turn: &mut Turn<'_>) {
        for Grant { tenant, need, reservation } in grants {
            let lane = Lane { tenant, need };
            let is_current = self.is_current(&reservation);
            let is_whole = is_current && {
                let permits = turn.permits.take();
                // Its type may have been paused while it was on its way.
                permits.has_place(&reservation) && !permits.is_paused(&lane.need)
            };
            let agent = &reservation.agent.agent;
            let next = if is_whole { self.next_ready_near(&lane, agent, turn.now) } else { None };
            match next {
                Some(ready) => self.assign_one(ready.run, ready.instance, reservation, lane.need.alone, turn),
                None if is_current => turn.give_back(&reservation),
                // Its session is about to end, and its permits with it: dealt again, it would only come back.
                None => turn.permits.take().give_back(&reservation),
            }
            // What is wanted was counted down by one, whatever became of it.
            if next.is_none() || self.queues.get(&lane).is_some_and(|queue| queue.len() == 0) {
                self.look_at(lane);
            }
        }
    }

    /// The next instance that may still be given away; others have left the queue's promise behind.
    fn next_ready(&mut self, lane: &Lane, now: Timestamp) -> Option<Ready> {
        let queue = self.queues.get_mut(lane)?;
        while let Some(ready) = queue.pop(now) {
            let Some(entry) = self.runs.get_mut(&ready.run) else { continue };
            if !entry.exposed.remove(&entry.run.rank(ready.instance)) {
                continue;
            }
            let can_go = entry.run.can_assign(ready.instance, now);
            if can_go && entry.run.is_suspect(ready.instance) == lane.need.alone {
                return Some(ready);
            }
        }
        None
    }

    /// The next instance that may be given away; one that is nearer to this agent may go before a few that are nearer to
    /// another and have not waited for long.
    fn next_ready_near(&mut self, lane: &Lane, agent: &AgentId, now: Timestamp) -> Option<Ready> {
        let first = self.next_ready(lane, now)?;
        let may_wait = |partition: &Self, ready: &Ready| {
            let near = partition.runs.get(&ready.run).and_then(|entry| entry.run.near(ready.instance));
            near.is_some_and(|near| near != agent) && now.since(ready.since) < limits::LOCALITY_WAIT_MAX
        };
        if !may_wait(self, &first) {
            return Some(first);
        }
        let (mut passed, mut found) = (vec![first], None);
        while passed.len() < limits::LOCALITY_PASSED_MAX
            && let Some(next) = self.next_ready(lane, now)
        {
            if next.priority == first.priority && !may_wait(self, &next) {
                found = Some(next);
                break;
            }
            passed.push(next);
        }
        let passed_over = usize::from(found.is_none());
        for ready in passed.drain(passed_over..).rev() {
            if let Some(entry) = self.runs.get_mut(&ready.run) {
                entry.exposed.insert(entry.run.rank(ready.instance));
            }
            self.queues.entry(lane.clone()).or_default().put_back(ready);
        }
        found.or(Some(first))
    }

    #[expect(clippy::panic, reason = "the shell catches it and sets the run aside (E5): the engine contradicts itself")]
    fn assign_one(
        &mut self,
        id: RunId,
        instance: Instance,
        mut reservation: Reservation,
        alone: bool,
        turn: &mut Turn<'_>,
    ) {
        self.current = Some(id);
        let Some(entry) = self.runs.get(&id) else { return };
        let number = entry.run.next_attempt(instance);
        let provider = entry.run.provider_of(instance);
        let token = match is_planted(Fault::TokenReused) {
            true => AttemptToken(u64::from(instance.node.0)),
            false => AttemptToken(turn.draw.next_u64()),
        };
        let assignment = Assignment {
            attempt: Attempt { instance, number, token },
            to: reservation.agent.clone(),
            permit: reservation.class,
            alone,
            provider,
        };
        let key = key_of(id, &assignment);
        if let Some(place) = reservation.place.take() {
            turn.permits.take().used(&place);
            self.keyed.insert(key, place.into_key());
        }
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
        self.unsent.insert(key, reservation);
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
            turn.give_back(&reservation);
        }
    }
}

impl Turn<'_> {
    /// A permit was not used: before the turn ends it is dealt out again.
    pub(super) fn give_back(&mut self, reservation: &Reservation) {
        self.permits.take().give_back(reservation);
        self.has_returned = true;
    }

    /// Brings what went back to who waits for it.
    pub(super) fn deal(&mut self) {
        if std::mem::take(&mut self.has_returned) {
            self.outputs.dealt.extend(self.permits.take().deal());
        }
    }
}

/// The queue in which an instance waits, and its priority there.
pub(super) fn place_of(run: &Run, instance: Instance) -> (Lane, i32) {
    let node = run.graph().node(instance.node);
    let need = Need::of(run, instance);
    (Lane { tenant: run.tenant().clone(), need }, node.policy.priority)
}

fn dispatch(run: &Run, assignment: &Assignment, session: SessionNumber) -> Dispatch {
    let Attempt { instance, .. } = assignment.attempt;
    let live = run.attempt(instance);
    let (question, inputs) = match run.question(instance) {
        Some((question, values)) => {
            (Some(Arc::new(question)), values.into_iter().map(|(port, value)| bind_whole(port, &value)).collect())
        }
        None => (None, bind_wired(run, instance, assignment.provider)),
    };
    let mut inputs: Vec<InputBinding> = inputs;
    if assignment.attempt.number.0 > 1 && is_planted(Fault::InputsReordered) {
        inputs.iter_mut().for_each(|input| input.values.reverse());
    }
    Dispatch {
        to: assignment.to.clone(),
        key: key_of(run.id(), assignment),
        index: run.path(instance.scope),
        permit: assignment.permit,
        session,
        graph: run.graph().clone(),
        provider: assignment.provider,
        inputs,
        // A fallback has a config of its own.
        config: run.changed_config(instance).filter(|_| assignment.provider == ProviderIx::default()),
        question,
        handle: live.and_then(|live| live.job).map(|job| job.handle),
        jobs_left: run.jobs_left(instance),
        traceparent: run.traceparent().cloned(),
        tenant: run.tenant().clone(),
        sandbox: run.is_sandboxed(),
    }
}

/// The wired inputs of an attempt. What was closed is absent, not an empty list; a fallback takes what it has inputs for.
fn bind_wired(run: &Run, instance: Instance, provider: ProviderIx) -> Vec<InputBinding> {
    let node = run.graph().node(instance.node);
    let inputs = run.wired_inputs(instance).into_iter().filter(|input| !input.values.is_empty());
    inputs
        .filter_map(|input| {
            let port = node.input_at(provider, input.port)?;
            let changed = run.changed_inputs(instance).iter().find(|changed| changed.port == input.port);
            let bound =
                changed.map_or_else(|| bind(run, instance, &input), |changed| bind_changed(run, instance, changed));
            Some(InputBinding { port, ..bound })
        })
        .collect()
}

/// A value that conditions look at, as it is.
fn bind_whole(port: PortIx, value: &OutputValue) -> InputBinding {
    let (list, values) = match value.whole() {
        Some(reference) => (false, vec![bound(Piece::Item(*reference))]),
        None => (value.is_list(), value.pieces().into_iter().map(bound).collect()),
    };
    InputBinding { port, list, joined: false, values }
}

/// What a person has put in the place of what edges brought: of an input that takes a list the whole list.
fn bind_changed(run: &Run, instance: Instance, changed: &PortOutput) -> InputBinding {
    let node_type = run.graph().node(instance.node).node_type.as_ref();
    let list =
        node_type.and_then(|node_type| node_type.inputs.get(usize::from(changed.port.0))).is_some_and(|port| port.list);
    let holds = if list { Holds::List } else { Holds::Value };
    let values = changed.value.whole().map(|reference| BoundValue { reference: *reference, holds });
    let values = values.into_iter().collect();
    InputBinding { port: changed.port, list, joined: false, values }
}

/// A part of a list, or a value of its own.
fn bound(piece: Piece) -> BoundValue {
    match piece {
        Piece::Item(reference) => BoundValue { reference, holds: Holds::Value },
        Piece::Chunk(chunk) => BoundValue { reference: chunk.reference, holds: Holds::Chunk },
        Piece::List(reference) => BoundValue { reference, holds: Holds::List },
    }
}

fn bind(run: &Run, instance: Instance, input: &WiredInput<'_>) -> InputBinding {
    let declared = run.graph().node(instance.node).node_type.as_ref();
    let list = declared.and_then(|node_type| node_type.inputs.get(input.port.0 as usize)).is_some_and(|port| port.list);
    let values = input.values.iter().map(|sourced| sourced.value);
    // A list that lies in one value is one already.
    let joined = !list && values.clone().any(|value| value.is_list() && value.whole().is_none());
    let pieces = values.flat_map(|value| match value.whole() {
        Some(whole) if !list && !joined => vec![Piece::Item(*whole)],
        _ => value.pieces(),
    });
    InputBinding { port: input.port, list, joined, values: pieces.map(bound).collect() }
}

fn key_of(run: RunId, assignment: &Assignment) -> AttemptKey {
    let attempt = assignment.attempt;
    AttemptKey { run, instance: attempt.instance, number: attempt.number, token: attempt.token }
}
