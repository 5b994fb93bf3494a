//! Histories of the youngest runs, as they were committed: most reads are of runs that are at work or just over, and need
//! no database for it. Within a budget of bytes; parked runs are not kept, so that waiting costs no memory (E15).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heddle_core::id::{EventSeq, RunId};
use heddle_core::partition::batch::{Batch, Phase, RunCreated, RunSummary};
use heddle_core::run::event::Event;

use crate::journal::RunRow;
use crate::limits::RECENT_BYTES_MAX;

/// The youngest runs with all their events.
#[derive(Debug, Default)]
pub(crate) struct RecentRuns {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    runs: HashMap<RunId, Recent>,
    order: VecDeque<RunId>,
    bytes: usize,
}

#[derive(Debug)]
struct Recent {
    row: RunRow,
    events: Vec<Arc<Event>>,
    bytes: usize,
}

/// What a batch adds to histories, once it has landed.
#[derive(Debug)]
pub(crate) struct Landing(Vec<Written>);

#[derive(Debug)]
struct Written {
    run: RunId,
    created: Option<RunCreated>,
    summary: Option<RunSummary>,
    events: Vec<Arc<Event>>,
}

impl Landing {
    /// What this batch will add.
    pub(crate) fn of(batch: &Batch) -> Self {
        let written = batch.runs.iter().map(|run| Written {
            run: run.run,
            created: run.created.clone().map(|created| RunCreated { key: None, ..created }),
            summary: run.summary.clone(),
            events: run.events.iter().map(|event| Arc::new(event.clone())).collect(),
        });
        Self(written.collect())
    }
}

impl RecentRuns {
    /// A batch has landed, but for these runs.
    pub(crate) fn landed(&self, landing: Landing, quarantined: &[RunId]) {
        let mut kept = self.lock();
        quarantined.iter().for_each(|run| kept.remove(*run));
        for written in landing.0.into_iter().filter(|written| !quarantined.contains(&written.run)) {
            kept.write(written);
        }
        kept.shrink();
    }

    /// A partition is loaded anew: nobody knows what had landed.
    pub(crate) fn clear(&self) {
        *self.lock() = Kept::default();
    }

    /// A run's summary, if its history is here.
    pub(crate) fn row(&self, run: RunId) -> Option<RunRow> {
        self.lock().runs.get(&run).map(|recent| recent.row.clone())
    }

    /// A run's events after `after`, if its history is here.
    pub(crate) fn events(&self, run: RunId, after: EventSeq) -> Option<Vec<Arc<Event>>> {
        let kept = self.lock();
        let recent = kept.runs.get(&run)?;
        Some(recent.events.iter().skip(after.0 as usize).cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn write(&mut self, written: Written) {
        let Written { run, created, summary, events } = written;
        if summary.as_ref().is_some_and(|summary| summary.phase == Phase::Parked) {
            return self.remove(run);
        }
        if let (Some(created), Some(summary)) = (created, summary.clone()) {
            let row = RunRow { run, created, summary, quarantine_reason: None };
            self.runs.insert(run, Recent { row, events: Vec::new(), bytes: 0 });
            self.order.push_back(run);
        }
        let Some(recent) = self.runs.get_mut(&run) else { return };
        let bytes: usize = events.iter().map(|event| weight(event)).sum();
        recent.events.extend(events);
        recent.bytes += bytes;
        self.bytes += bytes;
        if let Some(summary) = summary {
            recent.row.summary = summary;
        }
    }

    fn remove(&mut self, run: RunId) {
        self.bytes -= self.runs.remove(&run).map_or(0, |recent| recent.bytes);
    }

    fn shrink(&mut self) {
        while self.bytes > RECENT_BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.remove(oldest);
        }
        // Parked runs leave their places behind.
        if self.order.len() > 2 * self.runs.len() + 1_024 {
            let runs = &self.runs;
            self.order.retain(|run| runs.contains_key(run));
        }
    }
}

/// About how much memory an event takes.
fn weight(event: &Event) -> usize {
    const EACH: usize = 512;
    EACH + event.values.iter().map(|value| value.json().len() + 64).sum::<usize>()
}
