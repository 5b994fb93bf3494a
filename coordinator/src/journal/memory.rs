//! The journal in memory: a model of what a journal is, for tests. Nothing survives the process.
//!
//! It is written for clarity, and the differential test compares every answer of the databases with its answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::ready;
use heddle_core::batch::BatchId;
use heddle_core::id::{BatchNumber, BootId, Epoch, EventSeq, PartitionId, RunId, Slot, TenantId};
use heddle_core::limits::IDEMPOTENCY_TTL;
use heddle_core::partition::batch::{
    Batch, CommitOutcome, IdempotencyKey, KeyFound, KeyRow, Phase, RunBatch, Snapshot, Started,
};
use heddle_core::run::RunStatus;
use heddle_core::run::event::Event;
use heddle_core::time::Timestamp;
use heddle_core::value::{Digest, Value, ValueRef};
use tokio::sync::watch;

use super::limits::PAGE_ROWS_MAX;
use super::{
    Acquired, Answer, Asleep, Claim, Clock, Committed, Journal, JournalError, JournalState, Landed, NEW, Owner,
    Partitions, RunCursor, RunFilter, RunRow, StoredRun, Suspect, artifacts, clip, codec, quarantine_error,
};
use crate::artifacts::rows::memory::ArtifactTables;
use crate::auth::Tenant;
use crate::batches::rows::memory::BatchTables;
use crate::cache::memory::CacheTable;
use crate::members::memory::MemberRows;
use crate::records::WorkflowRow;
use crate::records::memory::PlainRows;
use crate::retention::memory::TombstoneTable;
use crate::reviews::rows::memory::ReviewTable;

/// The journal in memory.
pub struct MemoryJournal {
    partitions: Partitions,
    state: watch::Sender<JournalState>,
    clock: Clock,
    tables: Mutex<Tables>,
}

/// What databases keep in tables.
#[derive(Default)]
pub(crate) struct Tables {
    partitions: BTreeMap<PartitionId, PartitionRow>,
    pub(crate) runs: BTreeMap<RunId, RunRow>,
    events: BTreeMap<RunId, Vec<Arc<Event>>>,
    snapshots: BTreeMap<RunId, Snapshot>,
    pub(crate) keys: BTreeMap<IdempotencyKey, KeptKey>,
    pub(crate) plain: PlainRows,
    pub(crate) members: MemberRows,
    pub(crate) artifacts: ArtifactTables,
    pub(crate) batches: BatchTables,
    pub(crate) reviews: ReviewTable,
    pub(crate) cache: CacheTable,
    pub(crate) tombstones: TombstoneTable,
}

#[derive(Default)]
struct PartitionRow {
    epoch: Epoch,
    boot: Option<BootId>,
    last_batch: BatchNumber,
    starts: u32,
    reading: Option<RunId>,
    suspect: Option<Suspect>,
}

/// An idempotency key's row.
pub(crate) struct KeptKey {
    pub(crate) body: Digest,
    pub(crate) created_at: Timestamp,
    pub(crate) names: KeyNames,
}

/// What a key stands for.
pub(crate) enum KeyNames {
    /// A run.
    Run(RunId),
    /// A batch of runs.
    Batch(BatchId),
    /// What a request that started none had made of a workflow, and whether that was new.
    Saved { row: Box<WorkflowRow>, created: bool },
    /// What was decided at a review, which the run's history says.
    Decision,
}

impl KeptKey {
    /// Whether it still counts.
    pub(crate) fn is_alive(&self, now: Timestamp) -> bool {
        now < self.created_at.plus(IDEMPOTENCY_TTL)
    }
}

impl MemoryJournal {
    /// An empty journal.
    ///
    /// # Errors
    /// [`JournalError::PartitionCount`] when there cannot be so many partitions.
    pub fn new(partitions: u16, clock: Clock) -> Result<Self, JournalError> {
        let partitions = Partitions::spread(partitions)?;
        let rows = partitions.ids().map(|id| (id, PartitionRow::default())).collect();
        let tables = Mutex::new(Tables { partitions: rows, ..Tables::default() });
        Ok(Self { partitions, state: watch::Sender::new(JournalState::Ready), clock, tables })
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clock(&self) -> Timestamp {
        (self.clock)()
    }
}

pub(crate) fn answer<T: Send + 'static>(value: T) -> Answer<T> {
    ready(Ok(value)).boxed()
}

impl Journal for MemoryJournal {
    fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    fn state(&self) -> watch::Receiver<JournalState> {
        self.state.subscribe()
    }

    fn now(&self) -> Answer<Timestamp> {
        answer(self.clock())
    }

    fn acquire(&self, partition: PartitionId, owner: Owner, claim: Claim) -> Answer<Acquired> {
        let mut tables = self.tables();
        let row = tables.partitions.get_mut(&partition);
        let Some(row) = row.filter(|row| claim == Claim::Take || row.boot == Some(owner.boot)) else {
            return ready(Err(claim.refused(partition))).boxed();
        };
        row.boot = Some(owner.boot);
        let dead_starts = row.starts;
        row.epoch = row.epoch.next();
        row.starts += 1;
        row.suspect = row.reading.take().map(|run| {
            let before = row.suspect.filter(|suspect| suspect.run == run).map_or(0, |suspect| suspect.deaths);
            Suspect { run, deaths: before + 1 }
        });
        let (epoch, last_batch, suspect) = (row.epoch, row.last_batch, row.suspect);
        answer(Acquired { epoch, last_batch, now: self.clock(), dead_starts, suspect })
    }

    fn loaded(&self, partition: PartitionId, epoch: Epoch) -> Answer<bool> {
        let mut tables = self.tables();
        let row = tables.owned(partition, epoch);
        let is_owned = row.is_some();
        if let Some(row) = row {
            (row.starts, row.reading, row.suspect) = (0, None, None);
        }
        answer(is_owned)
    }

    fn note(&self, partition: PartitionId, epoch: Epoch, run: RunId) -> Answer<bool> {
        answer(self.tables().owned(partition, epoch).map(|row| row.reading = Some(run)).is_some())
    }

    fn commit(&self, batch: Batch, landed: Landed) {
        let outcome = self.tables().commit(batch);
        landed(Committed { outcome, now: self.clock() });
    }

    fn quarantine(&self, partition: PartitionId, epoch: Epoch, run: RunId, reason: Arc<str>) -> Answer<bool> {
        let mut tables = self.tables();
        if tables.owned(partition, epoch).is_none() {
            return answer(false);
        }
        let row = tables.runs.get_mut(&run);
        let is_there = row.is_some();
        if let Some(row) = row {
            row.quarantine_reason = Some(clip(&reason).into());
            row.summary.phase = Phase::Closed;
            row.summary.next_due = None;
            if row.summary.status == RunStatus::Running {
                row.summary.status = RunStatus::Failed;
                row.summary.ended_at = Some(self.clock());
                row.summary.error = Some(quarantine_error());
            }
        }
        if is_there {
            tables.reviews.withdraw(run, self.clock());
        }
        answer(is_there)
    }

    fn list_loadable(&self, partition: PartitionId, after: Option<RunId>, limit: usize) -> Answer<Vec<RunId>> {
        let place = |run: RunId| -> (Slot, RunId) { (run.slot(), run) };
        let tables = self.tables();
        let mut found: Vec<RunId> = tables
            .runs
            .values()
            .filter(|row| matches!(row.summary.phase, Phase::Active | Phase::Closing))
            .map(|row| row.run)
            .filter(|run| self.partitions.of(run.slot()) == partition)
            .filter(|run| after.is_none_or(|after| place(*run) > place(after)))
            .collect();
        found.sort_by_key(|run| place(*run));
        found.truncate(limit.min(PAGE_ROWS_MAX));
        answer(found)
    }

    fn due(&self, before: Timestamp, limit: usize) -> Answer<Vec<RunId>> {
        let tables = self.tables();
        let parked = tables.runs.values().filter(|row| row.summary.phase == Phase::Parked);
        let mut found: Vec<_> =
            parked.filter_map(|row| Some((row.summary.next_due?, row.run))).filter(|(due, _)| *due <= before).collect();
        found.sort();
        found.truncate(limit.min(PAGE_ROWS_MAX));
        answer(found.into_iter().map(|(_, run)| run).collect())
    }

    fn asleep(&self, after: Option<RunId>, limit: usize) -> Answer<Vec<Asleep>> {
        let tables = self.tables();
        let parked = tables.runs.values().filter(|row| row.summary.phase == Phase::Parked);
        let asleep = parked.filter(|row| row.summary.next_due.is_none()).map(|row| row.run);
        let mut found: Vec<RunId> = asleep.filter(|run| after.is_none_or(|after| *run > after)).collect();
        found.sort();
        found.truncate(limit.min(PAGE_ROWS_MAX));
        answer(found.into_iter().map(|run| Asleep { run, is_awaited: tables.has_open_review(run) }).collect())
    }

    fn left_behind(&self, after: Option<RunId>, limit: usize) -> Answer<Vec<RunRow>> {
        let tables = self.tables();
        let is_set_aside = |run: RunId| tables.runs.get(&run).is_some_and(|row| row.quarantine_reason.is_some());
        let open = tables.runs.values().filter(|row| row.summary.ended_at.is_none());
        let found = open.filter(|row| row.created.parent.is_some_and(is_set_aside));
        let mut found: Vec<RunRow> = found.filter(|row| after.is_none_or(|after| row.run > after)).cloned().collect();
        found.sort_by_key(|row| row.run);
        found.truncate(limit.min(PAGE_ROWS_MAX));
        answer(found)
    }

    fn load(&self, run: RunId) -> Answer<Option<StoredRun>> {
        let tables = self.tables();
        let Some(row) = tables.runs.get(&run).cloned() else { return answer(None) };
        let snapshot = tables.snapshots.get(&run).cloned();
        let after = snapshot.as_ref().map_or(EventSeq(0), |snapshot| snapshot.seq);
        let tail = tables.history(run).filter(|event| event.seq > after);
        let tail = tail.map(|event| Event { values: Vec::new(), ..event.clone() }).collect();
        answer(Some(StoredRun { row, snapshot, tail }))
    }

    fn read_events(&self, run: RunId, after: EventSeq, rows_max: usize, bytes_max: usize) -> Answer<Vec<Event>> {
        let tables = self.tables();
        let (mut events, mut bytes) = (Vec::new(), 0);
        for event in tables.history(run).filter(|event| event.seq > after).take(rows_max.clamp(1, PAGE_ROWS_MAX)) {
            bytes += codec::encode(run, event).bytes();
            if bytes > bytes_max && !events.is_empty() {
                break;
            }
            events.push(event.clone());
        }
        answer(events)
    }

    fn read_values(&self, run: RunId, references: Vec<ValueRef>) -> Answer<Vec<Value>> {
        let tables = self.tables();
        let find = |reference: &ValueRef| {
            let event = tables.history(run).find(|event| event.seq == reference.seq);
            let value = event.and_then(|event| event.values.get(reference.place as usize));
            let missing = JournalError::NoValue { run, seq: reference.seq, place: reference.place };
            let read = |value: &Value| match value.artifact() {
                Some(_) => value.clone(),
                None => Value::from_parts(value.json().clone(), reference.digest),
            };
            value.map(read).ok_or(missing)
        };
        ready(references.iter().map(find).collect()).boxed()
    }

    fn read_history(
        &self,
        tenant: Tenant,
        run: RunId,
        after: EventSeq,
        rows_max: usize,
        bytes_max: usize,
    ) -> Answer<Vec<Event>> {
        let is_its = self.tables().runs.get(&run).is_some_and(|row| row.created.tenant == *tenant.id());
        if is_its { self.read_events(run, after, rows_max, bytes_max) } else { answer(Vec::new()) }
    }

    fn read_rows(
        &self,
        tenant: Tenant,
        run: RunId,
        after: EventSeq,
        rows_max: usize,
        bytes_max: usize,
    ) -> Answer<Vec<codec::Row>> {
        let events = self.read_history(tenant, run, after, rows_max, bytes_max);
        async move { Ok(events.await?.iter().map(|event| codec::encode(run, event)).collect()) }.boxed()
    }

    fn read_row(&self, run: RunId) -> Answer<Option<RunRow>> {
        answer(self.tables().runs.get(&run).cloned())
    }

    fn read_summary(&self, tenant: Tenant, run: RunId) -> Answer<Option<RunRow>> {
        let tables = self.tables();
        answer(tables.runs.get(&run).filter(|row| row.created.tenant == *tenant.id()).cloned())
    }

    fn list_runs(&self, filter: RunFilter, cursor: Option<RunCursor>, limit: usize) -> Answer<Vec<RunRow>> {
        let place = |row: &RunRow| (row.created.created_at, row.run);
        let is_listed = |row: &&RunRow| {
            row.created.tenant == *filter.tenant.id()
                && filter.workflow.is_none_or(|workflow| row.created.workflow == workflow)
                && filter.status.is_none_or(|status| row.summary.status == status)
                && filter.parent.is_none_or(|parent| row.created.parent == Some(parent))
                && filter.from.is_none_or(|from| row.created.created_at >= from)
                && filter.to.is_none_or(|to| row.created.created_at < to)
                && cursor.is_none_or(|cursor| place(row) < (cursor.created_at, cursor.run))
        };
        let mut found: Vec<RunRow> = self.tables().runs.values().filter(is_listed).cloned().collect();
        found.sort_by_key(|row| std::cmp::Reverse(place(row)));
        found.truncate(limit.min(PAGE_ROWS_MAX));
        answer(found)
    }

    fn lookup_key(&self, key: IdempotencyKey, now: Timestamp) -> Answer<Option<KeyFound>> {
        let tables = self.tables();
        let found = tables.keys.get(&key).filter(|kept| kept.is_alive(now)).and_then(|kept| {
            let (started, created_at, workflow) = match &kept.names {
                KeyNames::Run(run) => {
                    let created = &tables.runs.get(run)?.created;
                    (Started::Run(*run), created.created_at, created.workflow)
                }
                KeyNames::Batch(batch) => {
                    let created = &tables.batches.row(*batch)?.created;
                    (Started::Batch(*batch), created.created_at, created.workflow)
                }
                KeyNames::Saved { .. } | KeyNames::Decision => return None,
            };
            Some(KeyFound { started, body: kept.body, created_at, workflow })
        });
        answer(found)
    }

    fn expire_keys(&self, now: Timestamp, limit: usize) -> Answer<usize> {
        let mut tables = self.tables();
        let dead = tables.keys.iter().filter(|(_, kept)| !kept.is_alive(now));
        let mut dead: Vec<_> = dead.map(|(key, kept)| (kept.created_at, key.clone())).collect();
        dead.sort();
        dead.truncate(limit.min(PAGE_ROWS_MAX));
        dead.iter().for_each(|(_, key)| drop(tables.keys.remove(key)));
        answer(dead.len())
    }
}

impl Tables {
    fn owned(&mut self, partition: PartitionId, epoch: Epoch) -> Option<&mut PartitionRow> {
        self.partitions.get_mut(&partition).filter(|row| row.epoch == epoch)
    }

    fn history(&self, run: RunId) -> impl Iterator<Item = &Event> {
        self.events.get(&run).into_iter().flatten().map(Arc::as_ref)
    }

    /// How long a run's history is, and the hash of its last row.
    pub(crate) fn head_of(&self, run: RunId) -> (u64, Digest) {
        let last = self.history(run).last().map(|event| codec::encode(run, event));
        (last.as_ref().map_or(0, |row| row.seq.0), codec::head_hash(last.as_ref()))
    }

    /// Takes away at most so many of a run's first events; says how many.
    pub(crate) fn drop_events(&mut self, run: RunId, count_max: usize) -> usize {
        let Some(events) = self.events.get_mut(&run) else { return 0 };
        let gone = events.drain(..count_max.min(events.len())).count();
        if events.is_empty() {
            self.events.remove(&run);
        }
        gone
    }

    /// Takes away what a run has beside its row, its events and its artifacts.
    pub(crate) fn drop_rows_beside(&mut self, tenant: &TenantId, run: RunId) {
        self.snapshots.remove(&run);
        self.reviews.forget(run);
        self.plain.forget_relative(tenant, run);
    }

    fn commit(&mut self, batch: Batch) -> CommitOutcome {
        let follows = self.follows(&batch.runs)
            && self.reviews.follows(&batch.runs)
            && self.beside_follows(&batch.runs, &batch.beside);
        if self.owned(batch.partition, batch.epoch).is_none() || !follows {
            return CommitOutcome::Refused;
        }
        if let Some(row) = self.owned(batch.partition, batch.epoch) {
            row.last_batch = batch.number;
        }
        batch.runs.into_iter().for_each(|run| self.write(run));
        self.write_beside(batch.beside);
        CommitOutcome::Applied { quarantined: Vec::new() }
    }

    /// Whether all rows follow what is there, each after those before it in the batch.
    fn follows(&self, runs: &[RunBatch]) -> bool {
        let mut last_seqs = BTreeMap::new();
        let mut new_runs = BTreeSet::new();
        let mut new_keys = BTreeSet::new();
        runs.iter().all(|it| {
            let is_there = self.runs.contains_key(&it.run) || new_runs.contains(&it.run);
            let row_follows = match &it.created {
                Some(created) => {
                    new_runs.insert(it.run);
                    let is_key_free = |KeyRow { key, .. }: &KeyRow| {
                        new_keys.insert(key.clone())
                            && self.keys.get(key).is_none_or(|kept| !kept.is_alive(created.created_at))
                    };
                    !is_there && created.key.as_ref().is_none_or(is_key_free)
                }
                None => is_there || it.summary.is_none(),
            };
            let last = last_seqs.entry(it.run).or_insert_with(|| self.history(it.run).last().map_or(0, |it| it.seq.0));
            let is_gapless = it.events.iter().zip(*last + 1..).all(|(event, seq)| event.seq.0 == seq);
            *last += it.events.len() as u64;
            row_follows && is_gapless
        })
    }

    fn write(&mut self, it: RunBatch) {
        let run = it.run;
        match (it.created, it.summary) {
            (Some(mut created), summary) => {
                if let Some(KeyRow { key, body }) = created.key.take() {
                    let kept = KeptKey { body, created_at: created.created_at, names: KeyNames::Run(run) };
                    self.keys.insert(key, kept);
                }
                let summary = summary.unwrap_or(NEW);
                self.runs.insert(run, RunRow { run, created, summary, quarantine_reason: None });
            }
            (None, Some(summary)) => {
                if let Some(row) = self.runs.get_mut(&run) {
                    row.summary = summary;
                }
            }
            (None, None) => {}
        }
        if let Some(tenant) = self.runs.get(&run).map(|row| row.created.tenant.clone()) {
            artifacts::used(&it.events).into_iter().for_each(|used| self.artifacts.refer(run, &tenant, used));
        }
        self.reviews.write(run, it.reviews);
        self.cache.write(it.cached);
        self.events.entry(run).or_default().extend(it.events);
        if let Some(snapshot) = it.snapshot {
            self.snapshots.insert(run, snapshot);
        }
    }
}
