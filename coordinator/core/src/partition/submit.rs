//! Runs come in: new ones, with or without an idempotency key, and old ones from the journal.

use std::collections::btree_map;
use std::sync::Arc;

use super::batch::{IdempotencyKey, KeyFound, KeyRow, Started};
use super::io::{Inherited, Input, Refusal, Release, Reply, Submission};
use super::{Entry, Partition, Turn};
use crate::batch::BatchSubmission;
use crate::fault::{Fault, is_planted};
use crate::id::{CallerId, EventSeq, RunId, Subject, TenantId};
use crate::limits;
use crate::run::event::{Event, Fact, Submitted};
use crate::run::lineage::Lineage;
use crate::run::{Admitted, Body, Command, PauseChange, Rejection, ReviewAnswer, Run};
use crate::value::Digest;

/// What is known of a key that is not yet in the journal, or not yet looked for there.
#[derive(Debug)]
pub(super) enum KeyState {
    /// The journal is asked; these requests wait for the answer, the first of them starts what it asks for.
    LookingUp(Vec<(CallerId, Asked)>),
    /// Something was started under it; the row lands with that one's first row.
    Started(KeyFound),
}

/// What a request asks to be started.
#[derive(Debug)]
pub(super) enum Asked {
    Run(Box<Submission>),
    Batch(Box<BatchSubmission>),
}

impl Asked {
    fn key(&self) -> Option<&KeyRow> {
        match self {
            Asked::Run(submission) => submission.key.as_ref(),
            Asked::Batch(submission) => submission.key.as_ref(),
        }
    }
}

/// Somebody who wants something of a run, and may have to wait until it is read from the journal.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) caller: CallerId,
    pub(super) tenant: TenantId,
    pub(super) wish: Wish,
}

/// What somebody wants of a run.
#[derive(Debug)]
pub(super) enum Wish {
    /// That it stops.
    Cancel(Subject, Option<Arc<str>>),
    /// That it stands still, or goes on.
    Pause(PauseChange, Subject),
    /// That a review is decided.
    Answer(Box<ReviewAnswer>),
    /// That it hears a signal or a call.
    Hear(Box<Command>),
}

impl Partition {
    /// Somebody asks for something to be started; the same key starts one thing.
    pub(super) fn ask(&mut self, caller: CallerId, asked: Asked, turn: &mut Turn<'_>) {
        let Some(KeyRow { key, body }) = asked.key().cloned() else {
            return self.start_asked(caller, asked, turn);
        };
        match self.keys.entry(key.clone()) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(KeyState::LookingUp(vec![(caller, asked)]));
                turn.outputs.lookups.push(key);
            }
            btree_map::Entry::Occupied(mut known) => match known.get_mut() {
                KeyState::LookingUp(waiting) if waiting.len() < limits::KEY_WAITERS_MAX => {
                    waiting.push((caller, asked));
                }
                KeyState::LookingUp(_) => self.refuse(caller, Refusal::Overloaded, turn),
                KeyState::Started(found) => {
                    let (about, reply) = (run_of(found), replay(found, body));
                    self.attach(about, Release::Reply(caller, reply), turn);
                }
            },
        }
    }

    pub(super) fn key_looked_up(&mut self, key: &IdempotencyKey, found: Option<KeyFound>, turn: &mut Turn<'_>) {
        let Some(KeyState::LookingUp(waiting)) = self.keys.remove(key) else { return };
        let found = found.filter(|_| !is_planted(Fault::KeyForgotten));
        for (caller, asked) in waiting {
            let body = asked.key().map(|row| row.body);
            match (&found, body) {
                (Some(found), Some(body)) => {
                    let reply = replay(found, body);
                    self.attach(None, Release::Reply(caller, reply), turn);
                }
                // The first starts it; the next ones find the key started.
                _ if self.keys.contains_key(key) => self.ask(caller, asked, turn),
                _ => self.start_asked(caller, asked, turn),
            }
        }
    }

    fn start_asked(&mut self, caller: CallerId, asked: Asked, turn: &mut Turn<'_>) {
        match asked {
            Asked::Batch(submission) => self.start_batch(caller, *submission, turn),
            Asked::Run(_) if self.runs.len() >= limits::PARTITION_RUNS_MAX => {
                self.refuse(caller, Refusal::Overloaded, turn);
            }
            Asked::Run(submission) => {
                let (run, workflow) = (submission.run, submission.workflow);
                self.begin(*submission, turn);
                let reply = Reply::Submitted { run, workflow, created_at: turn.now, replayed: false };
                self.open.held.releases.push((Some(run), Release::Reply(caller, reply)));
            }
        }
    }

    /// A key's row is in the open batch.
    pub(super) fn key_started(&mut self, row: &KeyRow, found: KeyFound) {
        self.keys.insert(row.key.clone(), KeyState::Started(found));
        self.open.held.keys.push(row.key.clone());
    }

    /// A run begins.
    #[expect(clippy::panic, reason = "the shell catches it and sets the run aside (E5): the engine contradicts itself")]
    pub(super) fn begin(&mut self, submission: Submission, turn: &mut Turn<'_>) {
        let Submission { run: id, tenant, subject, workflow, graph, target, inputs, key, traceparent, sandbox, .. } =
            submission;
        let deadline = submission.deadline.into_iter().chain(graph.deadline).min();
        let (batch, invoked_by) = (submission.batch, submission.invoked_by);
        let inherited = submission.lineage.map(|inherited| *inherited);
        let (lineage, offers) = match inherited {
            Some(Inherited { lineage, offers }) => {
                (Some(Box::new(Lineage { offered: offers.len() as u32, ..lineage })), offers)
            }
            None => (None, Vec::new()),
        };
        self.current = Some(id);
        let mut body = Body::new(EventSeq(1));
        let inputs = inputs.into_iter().map(|(node, value)| (node, body.put(value))).collect();
        let digest = graph.digest();
        let submitted = Submitted {
            tenant,
            subject,
            workflow,
            graph: digest,
            target,
            inputs,
            traceparent,
            sandbox,
            lineage,
            deadline,
            invoked_by,
        };
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
            let found = KeyFound { started: Started::Run(id), body: row.body, created_at: turn.now, workflow };
            self.key_started(row, found);
        }
        let mut created = run.created();
        (created.key, created.batch) = (key, batch);
        if run.graph().decides_on_values {
            self.recent.keep(id, EventSeq(1), &event.values, 0);
        }
        self.runs.insert(id, Entry::new(run));
        self.open.push(id, event);
        self.open.of(id).created = Some(created);
        for (offers, values) in offers {
            self.append(id, Admitted { fact: Fact::Offered { offers }, values }, turn);
        }
        self.settle(id, turn);
    }

    pub(super) fn grant(&mut self, waiting: Waiting, run: RunId, turn: &mut Turn<'_>) {
        if !self.runs.contains_key(&run) {
            self.load(run, turn);
            self.loading.entry(run).or_default().push(waiting);
            return;
        }
        let Waiting { caller, tenant, wish } = waiting;
        if self.runs.get(&run).is_some_and(|entry| *entry.run.tenant() != tenant) {
            return self.refuse(caller, Refusal::NotFound, turn);
        }
        let (by, reason) = match wish {
            Wish::Cancel(by, reason) => (by, reason),
            Wish::Pause(change, by) => return self.pause(caller, run, (change, by), turn),
            Wish::Answer(answer) => return self.answer(caller, run, answer, turn),
            Wish::Hear(command) => return self.hear(caller, run, *command, turn),
        };
        let applied = match self.apply(run, Command::Cancel { by, reason }, turn) {
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
        let is_outdated = self.outdated.remove(&id);
        if is_outdated && !self.runs.contains_key(&id) && self.loading.contains_key(&id) {
            return turn.outputs.loads.push(id);
        }
        let waiting = self.loading.remove(&id).unwrap_or_default();
        match run {
            // It was here before the answer came; what is in memory is younger.
            _ if self.runs.contains_key(&id) => {}
            None => {
                self.deliver_asked(id, turn);
                return waiting.into_iter().for_each(|waiting| self.refuse(waiting.caller, Refusal::NotFound, turn));
            }
            Some(mut run) => {
                if is_planted(Fault::ReviewLost) {
                    run.lose_reviews();
                }
                if is_planted(Fault::SignalLost) {
                    run.lose_signals();
                }
                self.runs.insert(id, Entry::new(run));
                self.hold_places(id, turn);
                self.look_for_losses(turn.now);
            }
        }
        for waiting in waiting {
            self.grant(waiting, id, turn);
        }
        self.deliver_asked(id, turn);
        self.settle(id, turn);
        if is_planted(Fault::TimerDropped)
            && let Some(entry) = self.runs.get_mut(&id)
        {
            entry.alarm.take().map(|at| self.alarms.remove(&(at, id)));
        }
        if self.runs.get(&id).is_some_and(|entry| entry.run.is_closed()) && !self.is_being_written(id) {
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

/// The partition has stopped: callers ask again, and permits go back.
pub(super) fn turn_away(input: Input, turn: &mut Turn<'_>) {
    match input {
        Input::Submit(caller, _)
        | Input::SubmitBatch(caller, _)
        | Input::Cancel { caller, .. }
        | Input::Pause { caller, .. }
        | Input::Answer { caller, .. }
        | Input::Signal { caller, .. }
        | Input::Call { caller, .. }
        | Input::CancelBatch { caller, .. } => {
            turn.outputs.releases.push(Release::Reply(caller, Reply::Refused(Refusal::Retry)));
        }
        Input::Granted(grants) => grants.iter().for_each(|grant| turn.give_back(&grant.reservation)),
        _ => {}
    }
}

/// The run that a key has started, if it was one.
fn run_of(found: &KeyFound) -> Option<RunId> {
    match found.started {
        Started::Run(run) => Some(run),
        Started::Batch(_) => None,
    }
}

/// The answer to a request whose key has started something already.
fn replay(found: &KeyFound, body: Digest) -> Reply {
    if found.body != body {
        return Reply::Refused(Refusal::KeyMismatch);
    }
    let KeyFound { created_at, workflow, .. } = *found;
    match found.started {
        Started::Run(run) => Reply::Submitted { run, workflow, created_at, replayed: true },
        Started::Batch(batch) => Reply::BatchSubmitted { batch, workflow, created_at, replayed: true },
    }
}
