//! What a journal counts, for people.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use heddle_telemetry::metrics::Histogram;

use super::limits::RETRY_STATES_MAX;

/// What is counted under when there are too many states already.
const OTHER: &str = "other";

/// What a journal has counted since it was opened.
#[derive(Debug, Default)]
pub struct Numbers<'a> {
    /// Commits that were tried again, by what the database said.
    pub retries: Vec<(String, u64)>,
    /// Waits for a connection, by what it is for.
    pub waits: Vec<(&'static str, &'a Histogram)>,
}

/// Commits that were tried again. Nothing is paid while none is.
#[derive(Debug, Default)]
pub(super) struct Retries(Mutex<BTreeMap<String, u64>>);

impl Retries {
    pub(super) fn note(&self, state: &str) {
        let mut states = self.lock();
        let is_known = states.contains_key(state) || states.len() < RETRY_STATES_MAX;
        *states.entry(if is_known { state } else { OTHER }.to_owned()).or_default() += 1;
    }

    pub(super) fn read(&self) -> Vec<(String, u64)> {
        self.lock().iter().map(|(state, count)| (state.clone(), *count)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_few_whatever_the_database_says() {
        let retries = Retries::default();
        retries.note("40001");
        (0..RETRY_STATES_MAX + 5).for_each(|number| retries.note(&number.to_string()));
        retries.note("40001");
        let read = retries.read();
        assert_eq!(read.len(), RETRY_STATES_MAX + 1);
        let count = |state: &str| read.iter().find(|(found, _)| found == state).unwrap().1;
        assert_eq!((count("40001"), count(OTHER)), (2, 6));
    }
}
