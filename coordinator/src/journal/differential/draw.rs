//! Draws: numbers, times, rows of batches.

use std::sync::Arc;

use bytes::Bytes;
use heddle_core::id::{EventSeq, RunId, Slot, WorkflowId};
use heddle_core::partition::batch::{Phase, RunBatch, RunCreated, RunSummary};
use heddle_core::run::RunStatus;
use heddle_core::run::event::{ErrorClass, Event, RunError};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::super::codec::random;
use super::Pair;
use crate::auth::Tenant;

/// Everything random in one test, from one seed.
pub(super) struct Draw(TestRunner);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)))
    }

    pub(super) fn from<S: Strategy>(&mut self, strategy: S) -> S::Value {
        strategy.new_tree(&mut self.0).unwrap().current()
    }

    /// A number below `end`, or 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.from(0..end.max(1))
    }

    pub(super) fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    pub(super) fn maybe<T>(&mut self, value: T) -> Option<T> {
        (self.below(2) == 0).then_some(value)
    }

    pub(super) fn rarely<T>(&mut self, value: T) -> Option<T> {
        (self.below(4) == 0).then_some(value)
    }

    pub(super) fn text(&mut self) -> String {
        self.from("[a-zäß]{1,6}")
    }

    pub(super) fn bytes(&mut self) -> Bytes {
        self.from(proptest::collection::vec(0..=255u8, 0..20)).into()
    }

    pub(super) fn time_near(&mut self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.as_millis() - 5_000 + self.below(10_000) as i64)
    }

    pub(super) fn tenant(&mut self) -> Tenant {
        Tenant::of_test(self.one_of(&["default", "other"]))
    }

    pub(super) fn workflow(&mut self) -> WorkflowId {
        WorkflowId(self.below(4).into())
    }

    /// One of few runs that may have invoked others.
    pub(super) fn parent(&mut self) -> RunId {
        RunId(self.below(3).into())
    }

    pub(super) fn digest(&mut self) -> Digest {
        Digest([self.below(5) as u8; 32])
    }

    pub(super) fn status(&mut self) -> RunStatus {
        self.one_of(&[RunStatus::Running, RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled])
    }

    fn class(&mut self) -> Option<ErrorClass> {
        let class = self.one_of(&ErrorClass::ALL);
        self.maybe(class)
    }

    fn summary(&mut self, now: Timestamp) -> RunSummary {
        let (due, ended) = (self.time_near(now), self.time_near(now));
        let error = RunError {
            code: self.text().into(),
            message: self.text().into(),
            node: None,
            class: self.class(),
            attempts: self.below(3) as u32,
        };
        RunSummary {
            status: self.status(),
            phase: self.one_of(&[Phase::Active, Phase::Parked, Phase::Closing, Phase::Closed]),
            next_due: self.maybe(due),
            ended_at: self.maybe(ended),
            error: self.rarely(error),
        }
    }
}

impl Pair {
    /// Rows of a new or a known run that follow `lasts`, or do not if the operation says so.
    pub(super) fn run_batch(
        &mut self,
        lasts: &mut std::collections::BTreeMap<RunId, EventSeq>,
        operation: &str,
    ) -> RunBatch {
        let now = self.clock.now();
        let known = self.draw.below(lasts.len() as u64 + 1) as usize;
        let known = lasts.keys().nth(known).copied().filter(|_| self.draw.below(3) > 0);
        let run = known.unwrap_or_else(|| {
            let (slot, random) = (Slot(self.draw.below(9) as u16), self.draw.from(0..u128::MAX));
            RunId::new(now, slot, random)
        });
        let key = match operation {
            "commit with a live key" => Some(self.key()),
            // Others would be refused for it now and then.
            _ => {
                let fresh = super::key(&self.draw.from("[a-z]{12}"));
                self.draw.rarely(fresh)
            }
        };
        let created = RunCreated {
            tenant: self.draw.tenant().id().clone(),
            subject: self.draw.text().as_str().into(),
            workflow: self.draw.workflow(),
            graph: self.draw.digest(),
            created_at: now,
            key,
            batch: self.place_in_batch(),
            keep_days: self.draw.rarely(7),
            parent: self.parent(),
        };
        let summary = self.draw.summary(now);
        let last = lasts.entry(run).or_default();
        let gap = u64::from(operation == "commit with a gap" && self.draw.below(3) == 0);
        let first = last.0 + 1 + gap;
        let events: Vec<Arc<Event>> = (first..first + self.draw.below(4))
            .map(|seq| Arc::new(Event { seq: EventSeq(seq), ..self.draw.from(random::event()) }))
            .collect();
        *last = events.last().map_or(*last, |event| event.seq);
        let last = *last;
        RunBatch {
            run,
            events,
            created: known.is_none().then_some(created),
            summary: self.draw.maybe(summary),
            snapshot: self.snapshot(last),
            reviews: Vec::new(),
            cached: Vec::new(),
        }
    }
}
