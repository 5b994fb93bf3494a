//! Long histories as readers have folded them last: who asks for a run again and again pays for what is new. A few of them, and
//! within a budget of bytes for the values that came with them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heddle_core::id::RunId;
use heddle_core::run::view::RunView;

use super::values::Kept;
use crate::limits::{SEEN_EVENTS_MIN, SEEN_RUNS_MAX, SEEN_VALUES_BYTES_MAX};

/// A run as far as its history has been read, and the values that came with that.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) view: RunView,
    pub(crate) values: Kept,
}

/// The runs that were looked at last, the youngest look first.
#[derive(Debug, Default)]
pub(crate) struct SeenRuns(Mutex<VecDeque<Arc<Seen>>>);

impl SeenRuns {
    /// What is known of a run. It is taken out: whoever reads on puts it back.
    pub(crate) fn take(&self, run: RunId) -> Option<Seen> {
        let mut kept = self.lock();
        let place = kept.iter().position(|seen| seen.view.run().id() == run)?;
        let seen = kept.remove(place)?;
        drop(kept);
        // Somebody may still be showing it.
        Some(Arc::try_unwrap(seen).unwrap_or_else(|seen| Seen::clone(&seen)))
    }

    /// Keeps what was seen of a run, if it took long enough to read; the longest unseen go.
    pub(crate) fn keep(&self, seen: &Arc<Seen>) {
        let bytes = |seen: &Arc<Seen>| seen.values.bytes();
        if seen.view.seq().0 < SEEN_EVENTS_MIN || bytes(seen) > SEEN_VALUES_BYTES_MAX {
            return;
        }
        let mut kept = self.lock();
        // Another reader may have read the same meanwhile.
        kept.retain(|other| other.view.run().id() != seen.view.run().id());
        kept.push_front(Arc::clone(seen));
        while kept.len() > SEEN_RUNS_MAX || kept.iter().map(bytes).sum::<usize>() > SEEN_VALUES_BYTES_MAX {
            kept.pop_back();
        }
    }

    /// These runs are gone.
    pub(crate) fn forget(&self, runs: &[RunId]) {
        self.lock().retain(|seen| !runs.contains(&seen.view.run().id()));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Seen>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
