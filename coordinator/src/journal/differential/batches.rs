//! Operations on batches of runs and on messages between slots, which commits write beside runs.

use heddle_core::batch::{BatchCreated, BatchId, BatchState, OfBatch};
use heddle_core::id::{BatchNumber, EventSeq, Instance, NodeIx, PartitionId, RunId, Slot};
use heddle_core::outbox::{Message, MessageBody, MessageId};
use heddle_core::partition::batch::{Batch, BatchRow, Beside, CommitOutcome, RunBatch};
use heddle_core::time::Timestamp;

use super::super::testing::commit;
use super::{PARTITIONS, Pair, same};
use crate::batches::rows::BatchRows as _;

pub(super) const OPERATIONS: &[&str] = &[
    "commit beside runs",
    "commit beside runs that does not follow",
    "plan",
    "forget_plan",
    "expire_plans",
    "batch",
    "batch of another tenant",
    "batch_counts",
    "going_on",
    "runs_among",
    "loadable_batches",
    "outbox",
];

impl Pair {
    pub(super) async fn perform_on_batches(&mut self, operation: &str) -> bool {
        let (tenant, batch) = (self.draw.tenant(), self.batch_id());
        let partition = PartitionId(self.draw.below(u64::from(PARTITIONS)) as u16);
        let limit = 1 + self.draw.below(5) as usize;
        match operation {
            "commit beside runs" => self.commit_beside().await == CommitOutcome::Applied { quarantined: Vec::new() },
            "commit beside runs that does not follow" => self.commit_beside().await == CommitOutcome::Refused,
            "plan" => {
                let (plan, now) = (self.draw.bytes(), self.draw.time_near(self.clock.now()));
                same!(self, put_plan(tenant, batch, plan, now)).unwrap();
                same!(self, plan(batch)).unwrap() != Some(plan)
            }
            "forget_plan" => {
                same!(self, forget_plan(tenant, batch)).unwrap();
                same!(self, plan(batch)).unwrap().is_none()
            }
            "expire_plans" => {
                let before = self.draw.time_near(self.clock.now());
                same!(self, expire_plans(before, limit)).unwrap() > 0
            }
            "batch" | "batch of another tenant" => {
                let row = same!(self, batch_row(batch)).unwrap();
                let found = same!(self, batch(tenant, batch)).unwrap();
                match operation {
                    "batch" => found.is_some_and(|row| row.state.cancelled.is_some()),
                    _ => row.is_some() && found.is_none(),
                }
            }
            "batch_counts" => same!(self, batch_counts(tenant, batch)).unwrap().len() > 1,
            "going_on" => same!(self, going_on(batch)).unwrap().len() > 1,
            "runs_among" => {
                let runs: Vec<RunId> = (0..limit).map(|_| self.run()).collect();
                same!(self, runs_among(tenant, runs)).unwrap().len() > 1
            }
            "loadable_batches" => {
                let after = self.draw.maybe(batch);
                same!(self, loadable_batches(partition, after, limit)).unwrap().len() > 1
            }
            "outbox" => {
                let place = (MessageId(self.draw.below(40)), Slot(self.draw.below(9) as u16));
                let after = self.draw.maybe(place);
                same!(self, outbox(partition, after, limit)).unwrap().len() > 1
            }
            unknown => panic!("{unknown} is not an operation"),
        }
    }

    /// The place of a new run, if a batch has started it. Its id need not fit: nothing in a database depends on it.
    pub(super) fn place_in_batch(&mut self) -> Option<OfBatch> {
        let (batch, index) = (self.batch_id(), self.draw.below(1_000) as u32);
        self.draw.maybe(OfBatch { batch, index, input_index: index / 2 })
    }

    /// The run that has invoked a new one, if one has. It need not be there.
    pub(super) fn parent(&mut self) -> Option<RunId> {
        let parent = if self.draw.below(3) == 0 { self.run() } else { self.draw.parent() };
        self.draw.maybe(parent)
    }

    fn batch_id(&mut self) -> BatchId {
        let slot = Slot(self.draw.below(3) as u16);
        BatchId::new(Timestamp::from_millis(1), slot, self.draw.below(3))
    }

    async fn commit_beside(&mut self) -> CommitOutcome {
        let (partition, epoch) = self.partition();
        let number = BatchNumber(self.draw.below(100));
        let mut lasts = self.runs.clone();
        let runs: Vec<RunBatch> = (0..self.draw.below(2)).map(|_| self.run_batch(&mut lasts, "commit")).collect();
        let batches = (0..self.draw.below(3)).map(|_| self.batch_row()).collect();
        let sent = (0..self.draw.below(4)).map(|_| self.message()).collect();
        let received = (0..self.draw.below(2)).map(|_| self.message()).map(|message| (message.source, message.id));
        let beside = Beside { batches, sent, received: received.collect() };
        let batch = Batch { partition, epoch, number, runs, beside };
        let model = commit(&self.model, batch.clone()).await;
        let database = commit(self.database(), batch.clone()).await;
        assert_eq!(database, model, "{batch:?}");
        if model.outcome != CommitOutcome::Refused {
            self.runs = lasts;
        }
        model.outcome
    }

    fn batch_row(&mut self) -> BatchRow {
        let now = self.clock.now();
        let created = BatchCreated {
            tenant: self.draw.tenant().id().clone(),
            subject: self.draw.text().as_str().into(),
            workflow: self.draw.workflow(),
            graph: self.draw.digest(),
            created_at: now,
            total: self.draw.below(9) as u32,
            stride: 1 + self.draw.below(3) as u32,
            artifacts: (0..self.draw.below(3)).map(|_| self.draw.digest()).collect(),
        };
        let key = self.key();
        let key = self.draw.rarely(key);
        let cancelled = (self.draw.text().as_str().into(), self.draw.time_near(now));
        let (cancelled, ended_at) = (self.draw.rarely(cancelled), self.draw.time_near(now));
        let state = BatchState { started: self.draw.below(9) as u32, cancelled, ended_at: self.draw.rarely(ended_at) };
        // Some have no runs, and may be forgotten.
        let batch = BatchId::new(Timestamp::from_millis(1), Slot(self.draw.below(3) as u16), self.draw.below(4));
        BatchRow { batch, created: self.draw.maybe((created, key)), state }
    }

    fn message(&mut self) -> Message {
        let (id, source) = (MessageId(self.draw.below(40)), Slot(self.draw.below(9) as u16));
        let (batch, run) = (self.batch_id(), self.run());
        let (parent, instance) = (self.run(), Instance::root(NodeIx(self.draw.below(9) as u32)));
        let body = match self.draw.below(4) {
            0 => MessageBody::StartRun { batch, index: self.draw.below(9) as u32 },
            1 => MessageBody::StartChild { child: run, parent, instance, seq: EventSeq(self.draw.below(9)) },
            2 => MessageBody::ChildEnded { child: run, parent, instance },
            _ => MessageBody::CancelRun { run, by: self.draw.text().as_str().into() },
        };
        Message { id, source, destination: Slot(self.draw.below(9) as u16), body }
    }
}
