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
    /// For those who follow its history. Made when somebody does.
    followers: Option<watch::Sender<Option<Hint>>>,
    /// For those who wait for its end only: others' hints do not wake them. Made when somebody does.
    patient: Option<watch::Sender<bool>>,
}

impl Hint {
    /// Whether the run is over.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Closed)
    }
}

impl Topic {
    fn of(hint: Option<Hint>) -> Self {
        Self { hint, followers: None, patient: None }
    }

    fn tell(&mut self, hint: Hint) {
        self.hint = Some(hint);
        self.followers.as_ref().map(|followers| followers.send(Some(hint)));
        self.patient.as_ref().filter(|_| hint.is_over()).map(|patient| patient.send(true));
    }

    /// Whether it is held for somebody, or for a run that is active.
    fn is_of_use(&mut self) -> bool {
        self.followers.take_if(|followers| followers.receiver_count() == 0);
        self.patient.take_if(|patient| patient.receiver_count() == 0);
        let is_active = self.hint.is_some_and(|hint| hint.phase == Phase::Active);
        is_active || self.followers.is_some() || self.patient.is_some()
    }
}

impl Hub {
    /// A run's history has grown.
    pub(crate) fn publish(&self, run: RunId, hint: Hint) {
        let mut topics = self.lock();
        let is_active = hint.phase == Phase::Active;
        match topics.get_mut(&run) {
            None if is_active => drop(topics.insert(run, Topic::of(Some(hint)))),
            None => {}
            Some(topic) => {
                topic.tell(hint);
                if !is_active && !topic.is_of_use() {
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
    pub(crate) fn follow(&self, run: RunId) -> watch::Receiver<Option<Hint>> {
        let mut topics = self.lock();
        let topic = topics.entry(run).or_insert_with(|| Topic::of(None));
        let hint = topic.hint;
        topic.followers.get_or_insert_with(|| watch::channel(hint).0).subscribe()
    }

    /// Waits for a run's end from now on.
    pub(crate) fn await_end(&self, run: RunId) -> watch::Receiver<bool> {
        let mut topics = self.lock();
        let topic = topics.entry(run).or_insert_with(|| Topic::of(None));
        let is_over = topic.hint.is_some_and(|hint| hint.is_over());
        topic.patient.get_or_insert_with(|| watch::channel(is_over).0).subscribe()
    }

    /// Nobody may be waiting for this run any more.
    pub(crate) fn forget(&self, run: RunId) {
        let mut topics = self.lock();
        if topics.get_mut(&run).is_some_and(|topic| !topic.is_of_use()) {
            topics.remove(&run);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
