//! The youngest events, as they were committed: most reads are of runs that are at work or just over, and most inputs of
//! attempts are results of a moment ago; neither needs the database. Within a budget of bytes; parked runs are not kept, so
//! that waiting costs no memory (E15).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heddle_core::id::{EventSeq, RunId};
use heddle_core::partition::batch::{Batch, Phase, RunCreated, RunSummary};
use heddle_core::run::event::Event;
use heddle_core::value::{Value, ValueRef};

use crate::journal::RunRow;
use crate::limits::RECENT_BYTES_MAX;

/// The youngest events, run by run.
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
    /// The summary, if the run is here from its first event on.
    row: Option<RunRow>,
    /// Without a gap, from `first` on.
    first: EventSeq,
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
            events: run.events.clone(),
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
        self.lock().runs.get(&run)?.row.clone()
    }

    /// A run's events after `after`, if its history is here.
    pub(crate) fn events(&self, run: RunId, after: EventSeq) -> Option<Vec<Arc<Event>>> {
        let kept = self.lock();
        let recent = kept.runs.get(&run).filter(|recent| recent.row.is_some())?;
        Some(recent.events.iter().skip(after.0 as usize).cloned().collect())
    }

    /// The values behind references of one run, in their order, if all of them are here.
    pub(crate) fn values(&self, run: RunId, mut references: impl Iterator<Item = ValueRef>) -> Option<Vec<Value>> {
        let kept = self.lock();
        let recent = kept.runs.get(&run)?;
        references.try_fold(Vec::new(), |mut values, reference| {
            let event = recent.events.get(reference.seq.0.checked_sub(recent.first.0)? as usize)?;
            values.push(event.values.get(reference.place as usize)?.clone());
            Some(values)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn next(&self) -> u64 {
        self.first.0 + self.events.len() as u64
    }
}

impl Kept {
    fn write(&mut self, written: Written) {
        let Written { run, created, summary, events } = written;
        if summary.as_ref().is_some_and(|summary| summary.phase == Phase::Parked) {
            return self.remove(run);
        }
        let row = match (created, summary.clone()) {
            (Some(created), Some(summary)) => Some(RunRow { run, created, summary, quarantine_reason: None }),
            _ => None,
        };
        let follows = |recent: &Recent| events.first().is_none_or(|event| event.seq.0 == recent.next());
        if self.runs.get(&run).is_some_and(|recent| !follows(recent)) {
            self.remove(run);
        }
        let recent = match self.runs.entry(run) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let Some(first) = events.first().map(|event| event.seq) else { return };
                self.order.push_back(run);
                entry.insert(Recent { row, first, events: Vec::new(), bytes: 0 })
            }
        };
        let bytes: usize = events.iter().map(|event| weight(event)).sum();
        recent.events.extend(events);
        recent.bytes += bytes;
        self.bytes += bytes;
        if let (Some(summary), Some(row)) = (summary, &mut recent.row) {
            row.summary = summary;
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
