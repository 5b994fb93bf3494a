//! Small runs and batches for the tests of this module.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use heddle_core::id::{
    AttemptNumber, AttemptToken, BatchNumber, BootId, EventSeq, Instance, NodeIx, PartitionId, PortIx, RunId, Slot,
    WorkflowId,
};
use heddle_core::partition::batch::{
    Batch, Beside, CommitOutcome, IdempotencyKey, KeyRow, Phase, RunBatch, RunCreated, RunSummary,
};
use heddle_core::run::RunStatus;
use heddle_core::run::event::{Attempt, Event, Fact, OutputValue, PortOutput, Timing};
use heddle_core::time::Timestamp;
use heddle_core::value::{Digest, Value, ValueRef};

use super::{Acquired, Claim, Clock, Committed, Journal, Owner};

/// A clock that the test sets.
#[derive(Clone, Default)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn at(millis: i64) -> Self {
        Self(Arc::new(AtomicI64::new(millis)))
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }

    pub(crate) fn clock(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

/// A run whose slot lies in `partition` as long as there are that many partitions.
pub(crate) fn run_in(partition: u16, number: u128) -> RunId {
    RunId::new(Timestamp::from_millis(1_000 + number as i64), Slot(partition), number)
}

pub(crate) fn owner(boot: u64) -> Owner {
    Owner { coordinator: "coordinator".into(), boot: BootId(boot) }
}

pub(crate) async fn acquire(journal: &(impl Journal + ?Sized), partition: u16) -> Acquired {
    journal.acquire(PartitionId(partition), owner(1), Claim::Take).await.unwrap()
}

/// A result with one value, and the reference to it.
pub(crate) fn result(seq: u64, json: &'static str) -> (Event, ValueRef) {
    let value = Value::from_json(Bytes::from_static(json.as_bytes()));
    let reference =
        ValueRef { seq: EventSeq(seq), place: 0, bytes: json.len() as u32, digest: value.digest(), is_array: false };
    let attempt = Attempt {
        instance: Instance::root(NodeIx(3)),
        number: AttemptNumber(1),
        token: AttemptToken(seq.wrapping_mul(77)),
    };
    let outputs = vec![PortOutput { port: PortIx(0), value: OutputValue::One(reference) }];
    let fact = Fact::Succeeded { attempt, outputs, timing: Timing::default() };
    let at = Timestamp::from_millis(seq as i64);
    (
        Event { seq: EventSeq(seq), at, fact, decisions: Vec::new(), assignments: Vec::new(), values: vec![value] },
        reference,
    )
}

pub(crate) fn created(tenant: &str, created_at: Timestamp) -> RunCreated {
    RunCreated {
        tenant: tenant.into(),
        subject: "somebody".into(),
        workflow: WorkflowId(1),
        graph: Digest([7; 32]),
        created_at,
        key: None,
        batch: None,
        keep_days: None,
        parent: None,
    }
}

pub(crate) fn summary(status: RunStatus, phase: Phase) -> RunSummary {
    RunSummary { status, phase, next_due: None, ended_at: None, error: None }
}

pub(crate) fn key(text: &str) -> KeyRow {
    let key = IdempotencyKey { tenant: "default".into(), route: "POST /x".into(), key: text.into() };
    KeyRow { key, body: Digest([9; 32]) }
}

/// The rows of a run that begins with these values.
pub(crate) fn first(run: RunId, values: &[&'static str]) -> RunBatch {
    RunBatch {
        created: Some(created("default", Timestamp::from_millis(1_000))),
        summary: Some(summary(RunStatus::Running, Phase::Active)),
        ..next(run, 1, values)
    }
}

/// The rows of a run that goes on with these values.
pub(crate) fn next(run: RunId, seq: u64, values: &[&'static str]) -> RunBatch {
    let events = (seq..).zip(values).map(|(seq, json)| Arc::new(result(seq, json).0)).collect();
    RunBatch { run, events, created: None, summary: None, snapshot: None, reviews: Vec::new(), cached: Vec::new() }
}

pub(crate) fn batch(partition: u16, acquired: &Acquired, number: u64, runs: Vec<RunBatch>) -> Batch {
    Batch {
        partition: PartitionId(partition),
        epoch: acquired.epoch,
        number: BatchNumber(number),
        runs,
        beside: Beside::default(),
    }
}

pub(crate) fn is_applied(committed: &Committed) -> bool {
    committed.outcome == CommitOutcome::Applied { quarantined: Vec::new() }
}

/// Hands a batch over, and waits for what becomes of it; it is under way even if nobody waits.
pub(crate) fn commit<J: Journal + ?Sized>(journal: &J, batch: Batch) -> impl Future<Output = Committed> + use<J> {
    let (reply, answer) = tokio::sync::oneshot::channel();
    journal.commit(batch, Box::new(move |committed| drop(reply.send(committed))));
    async { answer.await.unwrap() }
}
