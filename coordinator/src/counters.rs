//! Totals since the start, for people and for the tests' oracles.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// One number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Total(AtomicU64);

impl Total {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the coordinator counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: Total,
    pub(crate) event_rows: Total,
    pub(crate) attempts: Total,
    pub(crate) zombie_results: Total,
    runs_in_memory: AtomicI64,
}

impl Counters {
    /// A partition holds this many more runs than before.
    pub(crate) fn runs_changed(&self, by: i64) {
        self.runs_in_memory.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn runs_in_memory(&self) -> u64 {
        self.runs_in_memory.load(Ordering::Relaxed).max(0) as u64
    }
}
