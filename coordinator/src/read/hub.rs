//! Hints for readers: how far each active run's history goes. A hint may be missed; readers look again by themselves.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use heddle_core::id::{EventSeq, RunId};
use heddle_core::partition::batch::Phase;
use tokio::sync::watch;

/// The last word on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hint {
    /// Its history goes at least up to here.
    pub(crate) seq: EventSeq,
    /// What it was doing then.
    pub(crate) phase: Phase,
}

/// Where partitions leave hints and readers wait for them. Holds runs that are active or waited for, and no others.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    topics: Mutex<HashMap<RunId, Topic>>,
}

#[derive(Debug)]
struct Topic {
    hint: Option<Hint>,
    /// Made when somebody waits.
    readers: Option<watch::Sender<Option<Hint>>>,
}

impl Hub {
    /// A run's history has grown.
    pub(crate) fn publish(&self, run: RunId, hint: Hint) {
        let mut topics = self.lock();
        let active = hint.phase == Phase::Active;
        match topics.get_mut(&run) {
            None if active => drop(topics.insert(run, Topic { hint: Some(hint), readers: None })),
            None => {}
            Some(topic) => {
                topic.hint = Some(hint);
                let read = topic.readers.as_ref().is_some_and(|readers| readers.send(Some(hint)).is_ok());
                if !active && !read {
                    topics.remove(&run);
                }
            }
        }
    }

    /// What is known of a run that is active.
    pub(crate) fn active(&self, run: RunId) -> Option<Hint> {
        self.lock().get(&run).and_then(|topic| topic.hint).filter(|hint| hint.phase == Phase::Active)
    }

    /// Waits for hints about a run from now on.
    pub(crate) fn subscribe(&self, run: RunId) -> watch::Receiver<Option<Hint>> {
        let mut topics = self.lock();
        let topic = topics.entry(run).or_insert(Topic { hint: None, readers: None });
        let hint = topic.hint;
        topic.readers.get_or_insert_with(|| watch::channel(hint).0).subscribe()
    }

    /// Nobody may be waiting for this run any more.
    pub(crate) fn forget(&self, run: RunId) {
        let mut topics = self.lock();
        let Some(topic) = topics.get_mut(&run) else { return };
        if topic.readers.as_ref().is_some_and(|readers| readers.receiver_count() == 0) {
            topic.readers = None;
        }
        if topic.readers.is_none() && topic.hint.is_none_or(|hint| hint.phase != Phase::Active) {
            topics.remove(&run);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
