//! Batches of runs: clients ask for them, messages between slots get lost and come twice, and in the end every run that was
//! to start has started, and no other (E24, E25).

use std::collections::BTreeSet;
use std::sync::Arc;

use heddle_core::batch::{BatchCreated, BatchId, BatchSubmission, OfBatch};
use heddle_core::id::{CallerId, PartitionId, RunId, Slot};
use heddle_core::outbox::{Message, MessageBody};
use heddle_core::partition::batch::{BatchRow, IdempotencyKey, KeyRow, Phase};
use heddle_core::partition::io::{Delivery, Input, Order, Submission};
use heddle_core::run::RunStatus;
use heddle_core::value::Digest;

use super::event::{Event, SeatId};
use super::fault::ShellFault;
use super::queue::millis;
use super::shell::Mail;
use super::world::World;

impl World {
    fn owner_of(&self, slot: Slot) -> PartitionId {
        PartitionId(slot.0 % self.knobs.partitions)
    }

    /// A client's request for a batch, and where it goes.
    pub(super) fn ask_for_batch(&mut self, caller: CallerId, key: Option<usize>) -> (PartitionId, Input) {
        let like = self.submission(0, None);
        let slot = key.map_or_else(|| Slot::of_hash(self.random.next()), |key| Slot::of_hash(key as u64 * 5 + 3));
        let batch = BatchId::new(self.now, slot, self.random.next());
        let total = self.knobs.batch_runs;
        (0..total).for_each(|index| self.check.invoked(batch.run(index)));
        let created = BatchCreated {
            tenant: like.tenant.clone(),
            subject: like.subject,
            workflow: like.workflow,
            graph: like.graph.digest(),
            created_at: self.now,
            total,
            stride: 1,
            artifacts: Vec::new(),
        };
        let key = key.map(|key| KeyRow {
            key: IdempotencyKey { tenant: like.tenant, route: "POST /batch".into(), key: format!("key {key}").into() },
            body: Digest::of(b"a batch"),
        });
        let submission = BatchSubmission { batch, created, key };
        (self.owner_of(slot), Input::SubmitBatch(caller, Box::new(submission)))
    }

    pub(super) fn cancel_of_batch(&mut self, client: usize, caller: CallerId) -> Option<(PartitionId, Input)> {
        let count = self.known_batches(client).len();
        let chosen = self.random.below(count);
        let batch = *self.known_batches(client).get(chosen)?;
        let (tenant, by) = ("acme".into(), "a client".into());
        Some((self.owner_of(batch.slot()), Input::CancelBatch { caller, batch, tenant, by }))
    }

    /// What a partition reads of messages and batches at its start.
    pub(super) fn read_beside(&self, id: SeatId) -> Vec<Input> {
        let is_its = |slot: Slot| self.owner_of(slot) == id.partition;
        let mut owed: Vec<Message> =
            self.store.outbox.values().filter(|message| is_its(message.source)).cloned().collect();
        owed.sort_by_key(|message| message.id);
        if self.is_planted(ShellFault::OutboxNotRead) {
            owed.clear();
        }
        let open = self.store.batches.values().filter(|row| row.state.ended_at.is_none() && is_its(row.batch.slot()));
        let batches = open.map(|row| Input::BatchLoaded(Box::new(row.clone())));
        std::iter::once(Input::Owed(owed)).chain(batches).collect()
    }

    /// A message leaves; now and then it does not arrive.
    pub(super) fn bring_message(&mut self, message: Message) {
        let is_durable = self.store.outbox.contains_key(&(message.source, message.id));
        self.check.expect(is_durable, "I3", || format!("{message:?} leaves before it is durable"));
        if self.is_lost() {
            return;
        }
        let order = match message.body {
            MessageBody::CancelRun { run, by } => Order::Cancel { run, by, reason: None },
            MessageBody::StartChild { child, parent, instance, seq } => {
                return self.bring_start((message.id, message.source), (parent, instance, seq), child);
            }
            MessageBody::ChildEnded { child, parent, instance } => self.end_of_child(parent, instance, child),
            MessageBody::StartRun { batch, index } => match self.start_of(batch, index) {
                Some(submission) => Order::Start(Box::new(submission)),
                None => return,
            },
        };
        let delivery = Delivery { message: message.id, source: message.source, order };
        self.bring_later(message.destination, Input::Delivered(Box::new(delivery)));
    }

    fn start_of(&mut self, batch: BatchId, index: u32) -> Option<Submission> {
        let (created, _) = self.store.batches.get(&batch)?.created.clone()?;
        let graph = Arc::clone(self.store.graphs.get(&created.graph)?);
        let like = self.submission(0, None);
        let place = Some(OfBatch { batch, index, input_index: index });
        let run = batch.run(index);
        let deadline = self.knobs.deadline_of(run);
        Some(Submission { run, graph, batch: place, deadline, ..like })
    }

    /// Its sender hears that a message has arrived.
    pub(super) fn bring_receipt(&mut self, source: Slot, message: heddle_core::outbox::MessageId) {
        self.check_receipt(source, message);
        if !self.is_lost() {
            self.bring_later(source, Input::Received(message));
        }
    }

    /// A run is over: its batch may want to know.
    pub(super) fn hint_batch(&mut self, run: RunId, phase: Phase) {
        if matches!(phase, Phase::Closing | Phase::Closed)
            && let Some((batch, _)) = BatchId::of_run(run)
            && !self.is_lost()
        {
            self.bring_later(batch.slot(), Input::BatchHint(batch));
        }
    }

    pub(super) fn look_at_batch(&mut self, id: SeatId, batch: BatchId) {
        let rows = self.store.runs.values().filter(|row| !row.is_quarantined);
        let is_running =
            |row: &&super::store::RunRow| row.summary.as_ref().is_none_or(|it| it.status == RunStatus::Running);
        let places = rows.filter(is_running).filter_map(|row| row.created.batch);
        let going_on: BTreeSet<u32> = places.filter(|place| place.batch == batch).map(|place| place.index).collect();
        self.outcome_later(id, Input::BatchSeen(batch, going_on));
    }

    pub(super) fn look_for_run(&mut self, id: SeatId, run: RunId) {
        self.outcome_later(id, Input::Sighted(run, self.is_there(run)));
    }

    /// Whether batches or messages are under way.
    pub(super) fn owes_batches(&self) -> Option<String> {
        if let Some(row) = self.store.batches.values().find(|row| row.state.ended_at.is_none()) {
            return Some(format!("batch {} is {:?}", row.batch, row.state));
        }
        self.store.outbox.values().next().map(|message| format!("{message:?} has not arrived"))
    }

    pub(super) fn check_batches(&mut self) {
        for batch in self.check.acknowledged_batches() {
            let is_there = self.store.batches.contains_key(&batch);
            self.check.expect(is_there, "H1", || format!("batch {batch} was acknowledged and is not there"));
        }
        for BatchRow { batch, created, state } in self.store.batches.values() {
            let total = created.as_ref().map_or(0, |(created, _)| created.total);
            let is_whole = state.started == total || state.cancelled.is_some();
            self.check.expect(is_whole, "E24", || format!("batch {batch} has ended as {state:?} of {total}"));
            for index in 0..total {
                let run = batch.run(index);
                let (is_there, is_due) = (self.is_there(run), index < state.started);
                self.check.expect(is_there == is_due, "E24", || {
                    format!("run {index} of {batch} is there: {is_there}, and is to be there: {is_due}")
                });
            }
        }
    }

    pub(super) fn is_there(&self, run: RunId) -> bool {
        self.store.runs.contains_key(&run) || self.check.is_quarantined(run)
    }

    fn is_lost(&mut self) -> bool {
        self.now < self.last_trouble && self.random.percent(self.knobs.lost_percent)
    }

    pub(super) fn bring_later(&mut self, to: Slot, input: Input) {
        let pause = millis(self.random.between(self.knobs.link_ms));
        let partition = self.owner_of(to);
        self.after(pause, Event::Mail { partition, input: Box::new(input) });
    }

    /// A message comes before a partition, if its process is there.
    pub(super) fn mail(&mut self, partition: PartitionId, input: Input) {
        if self.shell.is_up {
            self.deliver(partition, Mail::new(input));
        }
    }

    fn outcome_later(&mut self, id: SeatId, input: Input) {
        let pause = millis(self.random.between(self.knobs.read_ms));
        self.after(pause, Event::Outcome { seat: id, input: Box::new(input) });
    }
}
