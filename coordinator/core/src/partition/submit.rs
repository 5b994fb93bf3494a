//! Runs come in: new ones, with or without an idempotency key, and old ones from the journal.

use std::collections::btree_map;

use super::batch::{IdempotencyKey, KeyFound, KeyRow};
use super::io::{Refusal, Release, Reply, Submission};
use super::{Entry, Partition, Turn};
use crate::fault::{Fault, is_planted};
use crate::id::{CallerId, EventSeq, RunId, Subject, TenantId};
use crate::limits;
use crate::run::event::{Event, Fact, Submitted};
use crate::run::{Body, Command, Rejection, Run};
use crate::value::Digest;

/// What is known of a key that is not yet in the journal, or not yet looked for there.
#[derive(Debug)]
pub(super) enum KeyState {
    /// The journal is asked; these requests wait for the answer, the first of them starts the run.
    LookingUp(Vec<(CallerId, Submission)>),
    /// A run was started under it; the row lands with that run's first event.
    Started(KeyFound),
}

/// Somebody who waits for a run to be read from the journal, in order to cancel it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) caller: CallerId,
    pub(super) tenant: TenantId,
    pub(super) by: Subject,
}

impl Partition {
    pub(super) fn submit(&mut self, caller: CallerId, submission: Submission, turn: &mut Turn<'_>) {
        let Some(KeyRow { key, body }) = submission.key.clone() else {
            return self.start(caller, submission, turn);
        };
        match self.keys.entry(key.clone()) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(KeyState::LookingUp(vec![(caller, submission)]));
                turn.outputs.lookups.push(key);
            }
            btree_map::Entry::Occupied(mut known) => match known.get_mut() {
                KeyState::LookingUp(waiting) if waiting.len() < limits::KEY_WAITERS_MAX => {
                    waiting.push((caller, submission));
                }
                KeyState::LookingUp(_) => self.refuse(caller, Refusal::Overloaded, turn),
                KeyState::Started(found) => {
                    let (run, reply) = (found.run, replay(found, body));
                    self.attach(Some(run), Release::Reply(caller, reply), turn);
                }
            },
        }
    }

    pub(super) fn key_looked_up(&mut self, key: &IdempotencyKey, found: Option<KeyFound>, turn: &mut Turn<'_>) {
        let Some(KeyState::LookingUp(waiting)) = self.keys.remove(key) else { return };
        let found = found.filter(|_| !is_planted(Fault::KeyForgotten));
        for (caller, submission) in waiting {
            let body = submission.key.as_ref().map(|row| row.body);
            match (&found, body) {
                (Some(found), Some(body)) => {
                    let reply = replay(found, body);
                    self.attach(None, Release::Reply(caller, reply), turn);
                }
                // The first starts the run; the next ones find the key started.
                _ if self.keys.contains_key(key) => self.submit(caller, submission, turn),
                _ => self.start(caller, submission, turn),
            }
        }
    }

    #[expect(clippy::panic, reason = "the shell catches it and sets the run aside (E5): the engine contradicts itself")]
    fn start(&mut self, caller: CallerId, submission: Submission, turn: &mut Turn<'_>) {
        if self.runs.len() >= limits::PARTITION_RUNS_MAX {
            return self.refuse(caller, Refusal::Overloaded, turn);
        }
        let Submission { run: id, tenant, subject, workflow, graph, target, inputs, key, traceparent, sandbox } =
            submission;
        self.current = Some(id);
        let mut body = Body::new(EventSeq(1));
        let inputs = inputs.into_iter().map(|(node, value)| (node, body.put(value))).collect();
        let digest = graph.digest();
        let submitted = Submitted { tenant, subject, workflow, graph: digest, target, inputs, traceparent, sandbox };
        let event = Event {
            seq: EventSeq(1),
            at: turn.now,
            fact: Fact::Submitted(Box::new(submitted)),
            decisions: Vec::new(),
            assignments: Vec::new(),
            values: body.into_values(),
        };
        let run = match Run::begin(id, graph, &event) {
            Ok(run) => run,
            Err(corrupt) => panic!("a submission does not begin a run: {corrupt}"),
        };
        if let Some(row) = &key {
            let found = KeyFound { run: id, body: row.body, created_at: turn.now, workflow };
            self.keys.insert(row.key.clone(), KeyState::Started(found));
            self.open.held.keys.push(row.key.clone());
        }
        let mut created = run.created();
        created.key = key;
        if run.graph().decides_on_values {
            self.recent.keep(id, EventSeq(1), &event.values, 0);
        }
        self.runs.insert(id, Entry::new(run));
        self.open.push(id, event);
        self.open.of(id).created = Some(created);
        self.settle(id, turn);
        let reply = Reply::Submitted { run: id, workflow, created_at: turn.now, replayed: false };
        self.open.held.releases.push((Some(id), Release::Reply(caller, reply)));
    }

    pub(super) fn cancel(&mut self, waiting: Waiting, run: RunId, turn: &mut Turn<'_>) {
        if !self.runs.contains_key(&run) {
            self.load(run, turn);
            self.loading.entry(run).or_default().push(waiting);
            return;
        }
        let Waiting { caller, tenant, by } = waiting;
        if self.runs.get(&run).is_some_and(|entry| *entry.run.tenant() != tenant) {
            return self.refuse(caller, Refusal::NotFound, turn);
        }
        let applied = match self.apply(run, Command::Cancel { by }, turn) {
            Ok(()) => true,
            Err(Rejection::Over(_)) => false,
            Err(_) => return self.refuse(caller, Refusal::NotFound, turn),
        };
        let Some(entry) = self.runs.get(&run) else { return };
        let reply = Reply::Cancelled { status: entry.run.status(), applied, seq: entry.run.seq() };
        self.attach(Some(run), Release::Reply(caller, reply), turn);
    }

    /// Asks for a run that is not in memory, once.
    pub(super) fn load(&mut self, run: RunId, turn: &mut Turn<'_>) {
        if !self.runs.contains_key(&run) && !self.loading.contains_key(&run) {
            self.loading.insert(run, Vec::new());
            turn.outputs.loads.push(run);
        }
    }

    pub(super) fn loaded(&mut self, id: RunId, run: Option<Run>, turn: &mut Turn<'_>) {
        let waiting = self.loading.remove(&id).unwrap_or_default();
        match run {
            // It was here before the answer came; what is in memory is younger.
            _ if self.runs.contains_key(&id) => {}
            None => {
                return waiting.into_iter().for_each(|waiting| self.refuse(waiting.caller, Refusal::NotFound, turn));
            }
            Some(run) => {
                self.runs.insert(id, Entry::new(run));
                self.hold_places(id, turn);
                self.look_for_losses(turn.now);
            }
        }
        for waiting in waiting {
            self.cancel(waiting, id, turn);
        }
        self.settle(id, turn);
        if is_planted(Fault::TimerDropped)
            && let Some(entry) = self.runs.get_mut(&id)
        {
            entry.alarm.take().map(|at| self.alarms.remove(&(at, id)));
        }
        if self.runs.get(&id).is_some_and(|entry| entry.run.is_closed()) && !self.open.touches(id) {
            self.drop_run(id);
        }
    }

    /// Everybody who waits for the journal's word asks again.
    pub(super) fn refuse_waiting(&mut self, turn: &mut Turn<'_>) {
        let loading = std::mem::take(&mut self.loading).into_values().flatten().map(|waiting| waiting.caller);
        let keys = std::mem::take(&mut self.keys).into_values().filter_map(|state| match state {
            KeyState::LookingUp(waiting) => Some(waiting.into_iter().map(|(caller, _)| caller)),
            KeyState::Started(_) => None,
        });
        let callers = loading.chain(keys.flatten());
        turn.outputs.releases.extend(callers.map(|caller| Release::Reply(caller, Reply::Refused(Refusal::Retry))));
    }

    pub(super) fn refuse(&mut self, caller: CallerId, refusal: Refusal, turn: &mut Turn<'_>) {
        self.attach(None, Release::Reply(caller, Reply::Refused(refusal)), turn);
    }
}

/// The answer to a request whose key has started a run already.
fn replay(found: &KeyFound, body: Digest) -> Reply {
    if found.body != body {
        return Reply::Refused(Refusal::KeyMismatch);
    }
    let KeyFound { run, created_at, workflow, .. }: KeyFound = found.clone();
    Reply::Submitted { run, workflow, created_at, replayed: true }
}
