//! The journal's database as a model: what is in it survives everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heddle_core::batch::BatchId;
use heddle_core::graph::Graph;
use heddle_core::id::{Epoch, EventSeq, PartitionId, RunId, Slot, TenantId};
use heddle_core::outbox::{Message, MessageId};
use heddle_core::partition::batch::{
    Batch, BatchRow, Beside, IdempotencyKey, KeyFound, Phase, RunBatch, RunCreated, RunSummary, Snapshot, Started,
};
use heddle_core::run::Run;
use heddle_core::run::event::Event;
use heddle_core::run::recall::CachedResult;
use heddle_core::time::Timestamp;
use heddle_core::value::{Digest, Value};

use super::large::Artifacts;
use super::stored::Stored;

/// All rows.
#[derive(Debug, Default)]
pub(super) struct Store {
    epochs: BTreeMap<PartitionId, Epoch>,
    pub(super) runs: BTreeMap<RunId, RunRow>,
    pub(super) keys: BTreeMap<IdempotencyKey, KeyFound>,
    /// Graphs by digest.
    pub(super) graphs: BTreeMap<Digest, Arc<Graph>>,
    /// Batches of runs, with their first rows.
    pub(super) batches: BTreeMap<BatchId, BatchRow>,
    /// Messages between slots that are not known to have arrived.
    pub(super) outbox: BTreeMap<(Slot, MessageId), Message>,
    /// What agents have put beside the database.
    pub(super) artifacts: Artifacts,
    /// Results that runs share.
    pub(super) cache: BTreeMap<(TenantId, Digest), CachedResult>,
    /// Types of nodes that are paused.
    pub(super) paused_types: BTreeSet<&'static str>,
    /// Runs whose rows the database cannot hold.
    pub(super) spoilt: BTreeSet<RunId>,
}

/// A run's rows.
#[derive(Debug, Clone)]
pub(super) struct RunRow {
    pub(super) created: RunCreated,
    pub(super) summary: Option<RunSummary>,
    pub(super) events: Vec<Event>,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) is_quarantined: bool,
}

impl Store {
    pub(super) fn epoch(&self, partition: PartitionId) -> Epoch {
        self.epochs.get(&partition).copied().unwrap_or_default()
    }

    /// Raises a partition's epoch: commits of earlier loads are refused from now on.
    pub(super) fn raise(&mut self, partition: PartitionId) {
        let epoch = self.epoch(partition).next();
        self.epochs.insert(partition, epoch);
    }

    /// Whether the guards let a batch in: the epoch, and the next seq of each run (E4).
    pub(super) fn admits(&self, batch: &Batch) -> bool {
        self.epoch(batch.partition) == batch.epoch
            && batch.runs.iter().all(|run| self.follows(run))
            && batch.beside.batches.iter().all(|row| self.batches.contains_key(&row.batch) != row.created.is_some())
            && batch.beside.sent.iter().all(|message| !self.outbox.contains_key(&(message.source, message.id)))
    }

    fn follows(&self, written: &RunBatch) -> bool {
        let last = self.runs.get(&written.run).map_or(0, |row| row.events.len() as u64);
        let is_quarantined = self.runs.get(&written.run).is_some_and(|row| row.is_quarantined);
        !is_quarantined && written.events.first().is_none_or(|first| first.seq == EventSeq(last + 1))
    }

    /// Writes what the guards have let in. Runs whose rows cannot be held are set aside alone (E5).
    pub(super) fn write(&mut self, batch: &Batch) -> Vec<RunId> {
        let mut quarantined = Vec::new();
        for written in &batch.runs {
            if self.spoilt.contains(&written.run) {
                quarantined.push(written.run);
                if let Some(row) = self.runs.get_mut(&written.run) {
                    row.is_quarantined = true;
                }
            } else {
                self.write_run(written);
                let rows = written.cached.iter().map(|row| ((row.tenant.clone(), row.result.key), row.result.clone()));
                self.cache.extend(rows);
            }
        }
        self.write_beside(&batch.beside);
        quarantined
    }

    fn write_beside(&mut self, beside: &Beside) {
        for row in &beside.batches {
            if let Some((created, Some(key))) = &row.created {
                let (started, body) = (Started::Batch(row.batch), key.body);
                let (created_at, workflow) = (created.created_at, created.workflow);
                self.keys.insert(key.key.clone(), KeyFound { started, body, created_at, workflow });
            }
            self.batches.entry(row.batch).or_insert_with(|| row.clone()).state = row.state.clone();
        }
        self.outbox.extend(beside.sent.iter().map(|message| ((message.source, message.id), message.clone())));
        beside.received.iter().for_each(|place| drop(self.outbox.remove(place)));
    }

    /// Whose run it is.
    pub(super) fn tenant_of(&self, run: RunId) -> TenantId {
        self.runs.get(&run).map_or_else(|| TenantId::from("acme"), |row| row.created.tenant.clone())
    }

    /// Writes another maker into values that were written.
    pub(super) fn damage(&mut self, batch: &Batch) {
        for written in &batch.runs {
            let events = self.runs.get_mut(&written.run).map(|row| row.events.as_mut_slice()).unwrap_or_default();
            let values = events.iter_mut().skip(2).flat_map(|event| &mut event.values);
            for value in values.filter(|value| value.artifact().is_none()) {
                let text = String::from_utf8_lossy(value.json()).replace("\"by\":\"", "\"by\":\"0");
                *value = Value::from_json(text.into());
            }
        }
    }

    pub(super) fn write_run(&mut self, written: &RunBatch) {
        if let Some(created) = &written.created {
            if let Some(row) = &created.key {
                let found = KeyFound {
                    started: Started::Run(written.run),
                    body: row.body,
                    created_at: created.created_at,
                    workflow: created.workflow,
                };
                self.keys.insert(row.key.clone(), found);
            }
            let row = RunRow {
                created: created.clone(),
                summary: None,
                events: Vec::new(),
                snapshot: None,
                is_quarantined: false,
            };
            self.runs.insert(written.run, row);
        }
        let Some(row) = self.runs.get_mut(&written.run) else { return };
        row.events.extend(written.events.iter().map(|event| Event::clone(event)));
        row.summary = written.summary.clone().or_else(|| row.summary.take());
        row.snapshot = written.snapshot.clone().or_else(|| row.snapshot.take());
    }

    /// Runs that a partition loads at its start.
    pub(super) fn loadable(&self, belongs: impl Fn(RunId) -> bool, phases: &[Phase]) -> Vec<RunId> {
        let rows = self.runs.iter().filter(|(id, row)| belongs(**id) && !row.is_quarantined);
        let phase = |row: &RunRow| row.summary.as_ref().map(|summary| summary.phase);
        rows.filter(|(_, row)| phase(row).is_some_and(|phase| phases.contains(&phase))).map(|(id, _)| *id).collect()
    }

    /// Parked runs that fall due before `until`.
    pub(super) fn due(&self, belongs: impl Fn(RunId) -> bool, until: Timestamp) -> Vec<RunId> {
        let parked = self.loadable(belongs, &[Phase::Parked]).into_iter();
        parked
            .filter(|id| {
                let summary = self.runs.get(id).and_then(|row| row.summary.as_ref());
                summary.and_then(|summary| summary.next_due).is_some_and(|due| due <= until)
            })
            .collect()
    }

    /// What the database holds of a run's events.
    pub(super) fn stored(&self, run: RunId) -> Stored<'_> {
        let events = self.runs.get(&run).map_or(&[] as &[Event], |row| &row.events);
        Stored { events, artifacts: &self.artifacts }
    }

    /// The fold of a run's history, from its snapshot if it has one.
    pub(super) fn fold(&self, id: RunId) -> Option<Result<Run, String>> {
        let row = self.runs.get(&id).filter(|row| !row.is_quarantined)?;
        let graph = self.graphs.get(&row.created.graph)?;
        let restored = row.snapshot.as_ref().and_then(|snapshot| Run::restore(id, Arc::clone(graph), snapshot));
        Some(match restored {
            Some(run) => continue_fold(run, &row.events),
            None => replay(id, graph, &row.events),
        })
    }
}

/// The fold of a whole history.
pub(super) fn replay(id: RunId, graph: &Arc<Graph>, events: &[Event]) -> Result<Run, String> {
    let Some(first) = events.first() else { return Err("it has no events".to_owned()) };
    let run = Run::begin(id, Arc::clone(graph), first).map_err(|corrupt| corrupt.to_string())?;
    continue_fold(run, events)
}

fn continue_fold(mut run: Run, events: &[Event]) -> Result<Run, String> {
    let seq = run.seq();
    for event in events.iter().filter(|event| event.seq > seq) {
        run.step(event).map_err(|corrupt| corrupt.to_string())?;
    }
    Ok(run)
}
