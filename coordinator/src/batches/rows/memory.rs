//! Batches of runs in memory, for tests: beside the runs of the journal in memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use heddle_core::batch::{BatchId, BatchState};
use heddle_core::id::{PartitionId, RunId, Slot, TenantId};
use heddle_core::outbox::{Message, MessageId};
use heddle_core::partition::batch::{Beside, KeyRow, RunBatch};
use heddle_core::run::RunStatus;
use heddle_core::time::Timestamp;

use super::{BatchRows, StoredBatch};
use crate::auth::Tenant;
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::memory::{KeptKey, KeyNames, MemoryJournal, Tables, answer};
use crate::journal::{Answer, Journal as _};

/// The tables.
#[derive(Default)]
pub(crate) struct BatchTables {
    batches: BTreeMap<BatchId, StoredBatch>,
    plans: BTreeMap<BatchId, (TenantId, Bytes, Timestamp)>,
    outbox: BTreeMap<(Slot, MessageId), Message>,
}

impl BatchTables {
    pub(crate) fn row(&self, batch: BatchId) -> Option<&StoredBatch> {
        self.batches.get(&batch)
    }

    /// The last of its runs is gone.
    pub(crate) fn forget_if_over(&mut self, batch: BatchId) {
        if self.batches.get(&batch).is_some_and(|row| row.state.ended_at.is_some()) {
            self.batches.remove(&batch);
        }
    }

    /// Takes away at most so many batches that ended at or before `until` and that nobody needs; says how many.
    pub(crate) fn forget_ended(
        &mut self,
        until: Timestamp,
        limit: usize,
        is_unneeded: impl Fn(BatchId) -> bool,
    ) -> usize {
        let is_old = |row: &&StoredBatch| row.state.ended_at.is_some_and(|at| at <= until) && is_unneeded(row.batch);
        let old: Vec<BatchId> = self.batches.values().filter(is_old).take(limit).map(|row| row.batch).collect();
        old.iter().for_each(|batch| drop(self.batches.remove(batch)));
        old.len()
    }
}

impl Tables {
    /// Whether what is written beside runs follows what is there, and these runs.
    pub(crate) fn beside_follows(&self, runs: &[RunBatch], beside: &Beside) -> bool {
        let keys = runs.iter().filter_map(|run| run.created.as_ref()?.key.as_ref());
        let mut new_keys: BTreeSet<_> = keys.map(|row| row.key.clone()).collect();
        let mut known: BTreeSet<BatchId> = self.batches.batches.keys().copied().collect();
        let batches_follow = beside.batches.iter().all(|row| match &row.created {
            None => known.contains(&row.batch),
            Some((created, key)) => {
                let is_key_free = |KeyRow { key, .. }: &KeyRow| {
                    new_keys.insert(key.clone())
                        && self.keys.get(key).is_none_or(|kept| !kept.is_alive(created.created_at))
                };
                known.insert(row.batch) && key.as_ref().is_none_or(is_key_free)
            }
        });
        let mut sent: BTreeSet<_> = self.batches.outbox.keys().copied().collect();
        batches_follow && beside.sent.iter().all(|message| sent.insert((message.source, message.id)))
    }

    /// Writes what a batch has beside runs.
    pub(crate) fn write_beside(&mut self, beside: Beside) {
        for row in beside.batches {
            let batch = row.batch;
            if let Some((mut created, key)) = row.created {
                if let Some(KeyRow { key, body }) = key {
                    let kept = KeptKey { body, created_at: created.created_at, names: KeyNames::Batch(batch) };
                    self.keys.insert(key, kept);
                }
                let run = RunId(batch.0);
                let digests = std::mem::take(&mut created.artifacts);
                digests.into_iter().for_each(|digest| self.artifacts.need(run, &created.tenant, digest));
                let state = BatchState::default();
                self.batches.batches.insert(batch, StoredBatch { batch, created, state });
            }
            if row.state.ended_at.is_some() {
                self.batches.plans.remove(&batch);
                self.artifacts.need_no_more(RunId(batch.0));
            }
            if let Some(stored) = self.batches.batches.get_mut(&batch) {
                stored.state = row.state;
            }
        }
        let sent = beside.sent.into_iter().map(|message| ((message.source, message.id), message));
        self.batches.outbox.extend(sent);
        beside.received.iter().for_each(|place| drop(self.batches.outbox.remove(place)));
    }
}

impl BatchRows for MemoryJournal {
    fn put_plan(&self, tenant: Tenant, batch: BatchId, plan: Bytes, now: Timestamp) -> Answer<()> {
        self.tables().batches.plans.entry(batch).or_insert_with(|| (tenant.id().clone(), plan, now));
        answer(())
    }

    fn forget_plan(&self, tenant: Tenant, batch: BatchId) -> Answer<()> {
        let mut tables = self.tables();
        if !tables.batches.batches.contains_key(&batch) {
            tables.batches.plans.retain(|id, (whose, ..)| *id != batch || whose != tenant.id());
        }
        answer(())
    }

    fn expire_plans(&self, before: Timestamp, limit: usize) -> Answer<usize> {
        let tables = &mut self.tables().batches;
        let (batches, plans) = (&tables.batches, &tables.plans);
        let old = plans.iter().filter(|(batch, (.., kept))| *kept <= before && !batches.contains_key(batch));
        let mut old: Vec<(Timestamp, BatchId)> = old.map(|(batch, (.., kept))| (*kept, *batch)).collect();
        old.sort();
        old.truncate(limit.min(PAGE_ROWS_MAX));
        old.iter().for_each(|(_, batch)| drop(tables.plans.remove(batch)));
        answer(old.len())
    }

    fn plan(&self, batch: BatchId) -> Answer<Option<Bytes>> {
        answer(self.tables().batches.plans.get(&batch).map(|(_, plan, _)| plan.clone()))
    }

    fn batch_row(&self, batch: BatchId) -> Answer<Option<StoredBatch>> {
        answer(self.tables().batches.row(batch).cloned())
    }

    fn batch(&self, tenant: Tenant, batch: BatchId) -> Answer<Option<StoredBatch>> {
        let tables = self.tables();
        answer(tables.batches.row(batch).filter(|row| row.created.tenant == *tenant.id()).cloned())
    }

    fn batch_counts(&self, tenant: Tenant, batch: BatchId) -> Answer<Vec<(RunStatus, u32)>> {
        let tables = self.tables();
        let is_its = tables.batches.row(batch).is_some_and(|row| row.created.tenant == *tenant.id());
        let of_batch = tables.runs.values().filter(|row| row.created.batch.is_some_and(|place| place.batch == batch));
        let statuses: Vec<RunStatus> = of_batch.filter(|_| is_its).map(|row| row.summary.status).collect();
        let all = [RunStatus::Running, RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled];
        let count = |status| statuses.iter().filter(|it| **it == status).count() as u32;
        answer(all.into_iter().map(|status| (status, count(status))).filter(|(_, count)| *count > 0).collect())
    }

    fn going_on(&self, batch: BatchId) -> Answer<BTreeSet<u32>> {
        let tables = self.tables();
        let going_on = tables.runs.values().filter(|row| row.summary.status == RunStatus::Running);
        let places = going_on.filter_map(|row| row.created.batch).filter(|place| place.batch == batch);
        answer(places.map(|place| place.index).collect())
    }

    fn runs_among(&self, tenant: Tenant, runs: Vec<RunId>) -> Answer<Vec<RunId>> {
        let tables = self.tables();
        let is_its = |run: &RunId| tables.runs.get(run).is_some_and(|row| row.created.tenant == *tenant.id());
        let mut found: Vec<RunId> = runs.into_iter().filter(is_its).collect();
        found.sort();
        found.dedup();
        answer(found)
    }

    fn loadable_batches(
        &self,
        partition: PartitionId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Answer<Vec<StoredBatch>> {
        let place = |batch: BatchId| (batch.slot(), batch);
        let tables = self.tables();
        let open = tables.batches.batches.values().filter(|row| row.state.ended_at.is_none());
        let its = open.filter(|row| self.partitions().of(row.batch.slot()) == partition);
        let mut found: Vec<StoredBatch> =
            its.filter(|row| after.is_none_or(|after| place(row.batch) > place(after))).cloned().collect();
        found.sort_by_key(|row| place(row.batch));
        found.truncate(limit.min(PAGE_ROWS_MAX));
        answer(found)
    }

    fn outbox(&self, partition: PartitionId, after: Option<(MessageId, Slot)>, limit: usize) -> Answer<Vec<Message>> {
        let tables = self.tables();
        let its = tables.batches.outbox.values().filter(|message| self.partitions().of(message.source) == partition);
        let place = |message: &Message| (message.id, message.source);
        let mut found: Vec<Message> =
            its.filter(|message| after.is_none_or(|after| place(message) > after)).cloned().collect();
        found.sort_by_key(place);
        found.truncate(limit.min(PAGE_ROWS_MAX));
        answer(found)
    }
}
