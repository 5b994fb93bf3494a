//! A batch of runs: an entity in one slot, which starts its runs as an owed effect (E24).
//!
//! It decides how many of its runs are under way, and it is over when all are. What it decides is in its row: up to which
//! index runs were started, and whether it was cancelled. A start is a message to the slot of the run ([`crate::outbox`]),
//! written with the row that decides it. Which of its runs are over it asks the journal, since runs may end by other ways
//! than their own engine, as when they are set aside.

mod id;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub use self::id::BatchId;
pub use self::plan::{Axis, Column, Plan};

use crate::id::{Subject, TenantId, WorkflowId};
use crate::partition::batch::KeyRow;
use crate::time::Timestamp;
use crate::value::Digest;

/// A batch to be started. Its graph, its plan and its values are checked, and kept where its runs find them.
#[derive(Debug, Clone)]
pub struct BatchSubmission {
    /// Its id; the slot in it leads to this partition.
    pub batch: BatchId,
    /// What never changes about it.
    pub created: BatchCreated,
    /// The idempotency key it came with.
    pub key: Option<KeyRow>,
}

/// The part of a batch's row that never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchCreated {
    /// Whose batch it is.
    pub tenant: TenantId,
    /// Who asked for it.
    pub subject: Subject,
    /// The workflow it belongs to.
    pub workflow: WorkflowId,
    /// The document that its runs' graph is compiled from.
    pub graph: Digest,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// How many runs it has.
    pub total: u32,
    /// How many runs in a row have the same place on the first axis.
    pub stride: u32,
    /// What its values refer to in the artifact store, each once.
    pub artifacts: Vec<Digest>,
}

/// The part of a batch's row that changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchState {
    /// Runs with a lower index are started; each of them, exactly once.
    pub started: u32,
    /// Who stopped it, and when.
    pub cancelled: Option<(Subject, Timestamp)>,
    /// When the last of its runs was over.
    pub ended_at: Option<Timestamp>,
}

/// Which place of which batch a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfBatch {
    /// The batch.
    pub batch: BatchId,
    /// Among its runs, from 0.
    pub index: u32,
    /// Among the values of its first axis, from 0.
    pub input_index: u32,
}

impl BatchCreated {
    /// The place of one of its runs.
    pub fn place(&self, batch: BatchId, index: u32) -> OfBatch {
        OfBatch { batch, index, input_index: index / self.stride.max(1) }
    }
}

/// Whether the start of a run has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is on its way.
    Owed,
    /// The run is there, and not known to be over.
    Begun,
}

/// A batch that is not over.
#[derive(Debug)]
pub(crate) struct BatchOfRuns {
    pub(crate) tenant: TenantId,
    total: u32,
    pub(crate) state: BatchState,
    under_way: BTreeMap<u32, Stage>,
    /// Runs that were there when the journal was asked last, until it answers.
    asked: Option<BTreeSet<u32>>,
    /// Whether the journal may know of more ends than it has told.
    is_stale: bool,
    /// Runs that were told to stop.
    told: BTreeSet<u32>,
}

impl BatchOfRuns {
    /// A batch whose row says `state`, and the starts that are owed still.
    pub(crate) fn new(tenant: TenantId, total: u32, state: BatchState, owed: &BTreeSet<u32>) -> Self {
        let stage = |index| if owed.contains(&index) { Stage::Owed } else { Stage::Begun };
        let under_way = (0..state.started).map(|index| (index, stage(index))).collect();
        Self { tenant, total, state, under_way, asked: None, is_stale: true, told: BTreeSet::new() }
    }

    /// The runs to start now, so that at most so many are under way; they count as started from here on.
    pub(crate) fn start(&mut self, under_way_max: usize) -> Range<u32> {
        let first = self.state.started;
        if self.state.cancelled.is_none() {
            let room = under_way_max.saturating_sub(self.under_way.len()) as u32;
            self.state.started = self.total.min(first.saturating_add(room));
        }
        self.under_way.extend((first..self.state.started).map(|index| (index, Stage::Owed)));
        first..self.state.started
    }

    /// The start of a run has arrived, and is durable there.
    pub(crate) fn begun(&mut self, index: u32) {
        if let Some(stage) = self.under_way.get_mut(&index) {
            *stage = Stage::Begun;
            self.is_stale = true;
        }
    }

    /// A run may be over.
    pub(crate) fn hint(&mut self) {
        self.is_stale = true;
    }

    /// Whether to ask the journal which runs go on: it is asked once at a time, and its answer is [`BatchOfRuns::seen`].
    pub(crate) fn look(&mut self) -> bool {
        if self.asked.is_some() || !std::mem::take(&mut self.is_stale) {
            return false;
        }
        let begun: BTreeSet<u32> = self.begun_runs().collect();
        let has_any = !begun.is_empty();
        self.asked = Some(begun).filter(|_| has_any);
        has_any
    }

    /// The journal's answer: which runs it shows as going on. A run that was there when it was asked is over if it is not
    /// among them.
    pub(crate) fn seen(&mut self, going_on: &BTreeSet<u32>) {
        let asked = self.asked.take().unwrap_or_default();
        self.under_way.retain(|index, _| !asked.contains(index) || going_on.contains(index));
        self.told.retain(|index| self.under_way.contains_key(index));
    }

    /// Stops it; false if it was stopped before.
    pub(crate) fn cancel(&mut self, by: Subject, at: Timestamp) -> bool {
        let is_first = self.state.cancelled.is_none();
        self.state.cancelled.get_or_insert((by, at));
        self.is_stale = true;
        is_first
    }

    /// Who stops it, and the runs to be told of it, each once. Which runs go on is known from the last answer of the
    /// journal on; before it, ends would be told to runs by the thousand that are over for long.
    pub(crate) fn cancels(&mut self) -> Option<(Subject, Vec<u32>)> {
        let (by, _) = self.state.cancelled.clone()?;
        if self.is_stale || self.asked.is_some() {
            return None;
        }
        let told = &self.told;
        let untold: Vec<u32> = self.begun_runs().filter(|index| !told.contains(index)).collect();
        self.told.extend(&untold);
        Some((by, untold))
    }

    /// Whether all its runs are over and no more will start.
    pub(crate) fn is_over(&self) -> bool {
        self.under_way.is_empty() && (self.state.started == self.total || self.state.cancelled.is_some())
    }

    /// Whether only the journal can tell how it goes on.
    pub(crate) fn waits_for_runs(&self) -> bool {
        self.begun_runs().next().is_some()
    }

    fn begun_runs(&self) -> impl Iterator<Item = u32> {
        self.under_way.iter().filter(|(_, stage)| **stage == Stage::Begun).map(|(index, _)| *index)
    }
}
