//! Batches of runs in their partition: submitted, looked after, stopped (E24). What a batch decides is in
//! [`crate::batch`]; here its decisions become rows, messages and questions.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::BatchRow;
use super::io::{Input, Refusal, Release, Reply};
use super::submit::{Asked, Waiting, Wish};
use super::{Partition, Turn};
use crate::batch::{BatchId, BatchOfRuns, BatchState, BatchSubmission};
use crate::id::{CallerId, Subject, TenantId};
use crate::limits;
use crate::outbox::MessageBody;
use crate::partition::batch::{KeyFound, Started};
use crate::run::Command;
use crate::time::Timestamp;

/// The batches of one partition that are not over.
#[derive(Debug)]
pub(super) struct Batches {
    /// Runs of one batch that are under way at the same time.
    under_way_max: usize,
    entries: BTreeMap<BatchId, BatchOfRuns>,
    /// Those that may have something to decide.
    changed: BTreeSet<BatchId>,
    /// When all whose runs go on are looked at, hint or no hint.
    look_at: Option<Timestamp>,
}

impl Default for Batches {
    fn default() -> Self {
        let under_way_max = limits::BATCH_RUNS_UNDER_WAY_MAX;
        Self { under_way_max, entries: BTreeMap::new(), changed: BTreeSet::new(), look_at: None }
    }
}

impl Batches {
    /// A batch that may have something to decide now.
    fn change(&mut self, batch: BatchId) -> Option<&mut BatchOfRuns> {
        let entry = self.entries.get_mut(&batch)?;
        self.changed.insert(batch);
        Some(entry)
    }

    /// When there is something to do, whatever happens.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.look_at
    }
}

impl Partition {
    /// Lets fewer runs of a batch be under way than the limit says.
    pub fn keep_under_way(&mut self, most: usize) {
        self.batches.under_way_max = most.min(limits::BATCH_RUNS_UNDER_WAY_MAX);
    }

    /// Inputs about batches, about messages between slots, and about results that runs share.
    pub(super) fn take_beside(&mut self, input: Input, turn: &mut Turn<'_>) {
        match input {
            Input::SubmitBatch(caller, submission) => self.ask(caller, Asked::Batch(submission), turn),
            Input::CancelBatch { caller, batch, tenant, by } => self.cancel_batch(caller, batch, &tenant, by, turn),
            Input::Owed(messages) => self.restore_messages(messages, turn),
            Input::BatchLoaded(row) => self.restore_batch(*row),
            Input::BatchHint(batch) => self.with_batch(batch, BatchOfRuns::hint),
            Input::BatchSeen(batch, going_on) => self.with_batch(batch, |entry| entry.seen(&going_on)),
            Input::Delivered(delivery) => self.delivered(*delivery, turn),
            Input::Received(message) => self.received(message, turn),
            Input::Sighted(run, exists) => self.sighted(run, exists, turn),
            Input::SharedFound { run, instance, key, found } => {
                self.shared_found((run, instance), key, found.map(|found| *found), turn);
            }
            Input::Signal { caller, run, tenant, name, by, body, key } => {
                let wish = Wish::Hear(Box::new(Command::Signal { name, by, body, key }));
                self.grant(Waiting { caller, tenant, wish }, run, turn);
            }
            Input::Call { caller, run, tenant, instance, body, key } => {
                let wish = Wish::Hear(Box::new(Command::Call { instance, body, key }));
                self.grant(Waiting { caller, tenant, wish }, run, turn);
            }
            _ => {}
        }
    }

    /// Tells a batch something, unless it is over.
    pub(super) fn with_batch(&mut self, batch: BatchId, tell: impl FnOnce(&mut BatchOfRuns)) {
        if let Some(entry) = self.batches.change(batch) {
            tell(entry);
        }
    }

    /// What is due of messages and batches.
    pub(super) fn tend_batches(&mut self, turn: &mut Turn<'_>) {
        self.send_again(turn);
        self.look_again(turn);
        self.advance_batches(turn);
    }

    /// Its first row, with its first starts.
    pub(super) fn start_batch(&mut self, caller: CallerId, submission: BatchSubmission, turn: &mut Turn<'_>) {
        if self.batches.entries.len() >= limits::PARTITION_BATCHES_MAX {
            return self.refuse(caller, Refusal::Overloaded, turn);
        }
        let BatchSubmission { batch, mut created, key } = submission;
        created.created_at = turn.now;
        let (workflow, created_at) = (created.workflow, turn.now);
        if let Some(row) = &key {
            let found = KeyFound { started: Started::Batch(batch), body: row.body, created_at, workflow };
            self.key_started(row, found);
        }
        let entry = BatchOfRuns::new(created.tenant.clone(), created.total, BatchState::default(), &BTreeSet::new());
        let row = BatchRow { batch, created: Some((created, key)), state: BatchState::default() };
        self.open.write_batch(row);
        self.batches.entries.insert(batch, entry);
        self.batches.changed.insert(batch);
        self.advance_batches(turn);
        let reply = Reply::BatchSubmitted { batch, workflow, created_at, replayed: false };
        self.open.held.releases.push((None, Release::Reply(caller, reply)));
    }

    fn restore_batch(&mut self, row: BatchRow) {
        let Some((created, _)) = row.created else { return };
        let owed = self.mail.starts_of(row.batch);
        let entry = BatchOfRuns::new(created.tenant, created.total, row.state, &owed);
        self.batches.entries.insert(row.batch, entry);
        self.batches.changed.insert(row.batch);
    }

    fn cancel_batch(&mut self, caller: CallerId, batch: BatchId, tenant: &TenantId, by: Subject, turn: &mut Turn<'_>) {
        let now = turn.now;
        let entry = self.batches.change(batch).filter(|entry| entry.tenant == *tenant);
        let Some(entry) = entry else {
            // It is over, or it never was: the caller has read its row and knows.
            return self.refuse(caller, Refusal::NotFound, turn);
        };
        if entry.cancel(by, now) {
            let state = entry.state.clone();
            self.open.write_batch(BatchRow { batch, created: None, state });
        }
        self.attach(None, Release::Reply(caller, Reply::BatchCancelled), turn);
    }

    /// Starts what there is room for, stops what is to stop, asks what is not known, and takes leave of what is over.
    fn advance_batches(&mut self, turn: &mut Turn<'_>) {
        while !self.open.is_full()
            && let Some(batch) = self.batches.changed.pop_first()
        {
            self.advance_batch(batch, turn);
        }
        let goes_on = self.batches.entries.values().any(BatchOfRuns::waits_for_runs);
        self.batches.look_at =
            goes_on.then(|| self.batches.look_at.unwrap_or_else(|| turn.now.plus(limits::BATCH_LOOK_PERIOD)));
    }

    fn advance_batch(&mut self, batch: BatchId, turn: &mut Turn<'_>) {
        let Some(entry) = self.batches.entries.get_mut(&batch) else { return };
        let starts = entry.start(self.batches.under_way_max);
        let cancels = entry.cancels();
        let looks = entry.look();
        let is_over = entry.is_over();
        if is_over {
            entry.state.ended_at = Some(turn.now);
        }
        if !starts.is_empty() || is_over {
            let state = entry.state.clone();
            self.open.write_batch(BatchRow { batch, created: None, state });
        }
        for index in starts {
            let run = batch.run(index);
            self.post(batch.slot(), run.slot(), MessageBody::StartRun { batch, index });
        }
        for (by, index) in cancels.into_iter().flat_map(|(by, runs)| runs.into_iter().map(move |run| (by.clone(), run)))
        {
            let run = batch.run(index);
            self.post(batch.slot(), run.slot(), MessageBody::CancelRun { run, by });
        }
        if looks {
            turn.outputs.looks.push(batch);
        }
        if is_over {
            self.batches.entries.remove(&batch);
        }
    }

    /// Hints may get lost, and some ends give none.
    fn look_again(&mut self, turn: &Turn<'_>) {
        if self.batches.look_at.is_none_or(|at| at > turn.now) {
            return;
        }
        self.batches.look_at = None;
        let going_on = self.batches.entries.iter_mut().filter(|(_, entry)| entry.waits_for_runs());
        let looked_at = going_on.map(|(batch, entry)| {
            entry.hint();
            *batch
        });
        self.batches.changed.extend(looked_at);
    }
}
