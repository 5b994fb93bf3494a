//! What a partition writes in one transaction, and what is known of a write afterwards.

use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{BatchCreated, BatchId, BatchState, OfBatch};
use crate::id::{
    BatchNumber, Epoch, EventSeq, PartitionId, ReviewId, ReviewIx, RunId, Slot, Subject, TenantId, WorkflowId,
};
use crate::outbox::{Message, MessageId};
use crate::run::RunStatus;
use crate::run::event::{Event, ReviewKind, ReviewVerdict, RunError};
use crate::run::recall::CachedResult;
use crate::time::Timestamp;
use crate::value::Digest;

/// One transaction: all events of the batch and the rows derived from them. It lands whole, guarded by the partition's
/// epoch and by each run's next seq (E4, I5).
#[derive(Debug, Clone)]
pub struct Batch {
    /// Which partition.
    pub partition: PartitionId,
    /// The load of the partition that made it.
    pub epoch: Epoch,
    /// Its place within that load, from 1: `last_batch` of the partition's row afterwards.
    pub number: BatchNumber,
    /// What it writes, run by run, in the order they were first touched.
    pub runs: Vec<RunBatch>,
    /// What it writes beside runs.
    pub beside: Beside,
}

/// What a transaction writes beside runs; mostly nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// Batches of runs, each once.
    pub batches: Vec<BatchRow>,
    /// Messages that go out, in order (E25).
    pub sent: Vec<Message>,
    /// Messages that have arrived and are removed, with the slots that sent them.
    pub received: Vec<(Slot, MessageId)>,
}

impl Beside {
    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.sent.is_empty() && self.received.is_empty()
    }
}

/// What a transaction writes about a batch of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRow {
    /// Which batch.
    pub batch: BatchId,
    /// With its first row; and the idempotency key it was asked for with.
    pub created: Option<(BatchCreated, Option<KeyRow>)>,
    /// How it stands.
    pub state: BatchState,
}

/// What a batch writes about one run.
#[derive(Debug, Clone)]
pub struct RunBatch {
    /// Which run.
    pub run: RunId,
    /// New events, in order; empty if only a row beside them changes.
    pub events: Vec<Arc<Event>>,
    /// With the run's first event.
    pub created: Option<RunCreated>,
    /// When its status or phase has changed (E6).
    pub summary: Option<RunSummary>,
    /// A snapshot up to and with the last of `events`; replaces the one before (E19).
    pub snapshot: Option<Snapshot>,
    /// What changes in the rows of its reviews, in order.
    pub reviews: Vec<ReviewRow>,
    /// What it gives to other runs.
    pub cached: Vec<CacheRow>,
}

/// A result that runs share (`policy.cache`): the youngest of a key counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRow {
    /// Whose it is.
    pub tenant: TenantId,
    /// The id of its node in the document.
    pub node: Arc<str>,
    /// The event that made it durable.
    pub seq: EventSeq,
    /// The result.
    pub result: CachedResult,
}

/// What a transaction writes about a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewRow {
    /// Which review.
    pub review: ReviewId,
    /// The event that changes it: it tells more than the row does.
    pub seq: EventSeq,
    /// With its first row.
    pub created: Option<ReviewCreated>,
    /// How it stands.
    pub state: ReviewState,
    /// Who may decide; nobody = whoever is allowed to.
    pub assignees: Option<Vec<Arc<str>>>,
    /// When its time is over.
    pub due_at: Option<Timestamp>,
    /// When it closed.
    pub closed_at: Option<Timestamp>,
    /// Who has decided; nobody: it is open, was withdrawn, or its time was over.
    pub decided_by: Option<Subject>,
    /// What was decided.
    pub verdict: Option<ReviewVerdict>,
    /// With a decision: when it was opened. No part of the row, but of what is counted.
    pub opened_at: Option<Timestamp>,
}

/// The part of a review's row that never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewCreated {
    /// Whose it is.
    pub tenant: TenantId,
    /// The workflow of its run.
    pub workflow: WorkflowId,
    /// Its number within the run.
    pub ordinal: ReviewIx,
    /// The id of its node in the document.
    pub node: Arc<str>,
    /// The numbers of the items and turns that it lies in, the outermost first.
    pub index: Vec<u32>,
    /// What is looked at.
    pub kind: ReviewKind,
    /// When it was opened.
    pub opened_at: Timestamp,
}

/// How a review stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReviewState {
    /// Waits for people.
    Open,
    /// By people, or by its time.
    Decided,
    /// Nothing depends on it any more.
    Withdrawn,
}

/// A run's state as bytes: disposable, since the events give the same (E19).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last event it reflects.
    pub seq: EventSeq,
    /// The fold that made it: another fold replays instead.
    pub version: u32,
    /// What [`crate::run::Run::restore`] reads.
    pub bytes: Bytes,
}

/// The part of a run's summary row that never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCreated {
    /// Whose run it is.
    pub tenant: TenantId,
    /// Who asked for it.
    pub subject: Subject,
    /// The workflow it belongs to.
    pub workflow: WorkflowId,
    /// The document its graph was compiled from.
    pub graph: Digest,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The idempotency key it was asked for with: a row in the same commit (E24).
    pub key: Option<KeyRow>,
    /// The batch that started it.
    pub batch: Option<OfBatch>,
    /// How many days its workflow keeps it after its end; `None` = as many as the server's settings say.
    pub keep_days: Option<u16>,
    /// The run that has invoked it.
    pub parent: Option<RunId>,
}

/// The part of a run's summary row that changes: at submit, park, un-park and end only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// As clients see it.
    pub status: RunStatus,
    /// What start-up and timers make of it.
    pub phase: Phase,
    /// When it must be looked at again, if it is parked.
    pub next_due: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it did not complete.
    pub error: Option<RunError>,
}

/// What start-up and timers make of a run (E6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Loaded at start.
    Active,
    /// Waits for a person or a timer; on disk only, found by `next_due`.
    Parked,
    /// Over, but an attempt is still out; loaded at start.
    Closing,
    /// Over; never loaded again.
    Closed,
}

/// An idempotency key as a client gave it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey {
    /// Whose.
    pub tenant: TenantId,
    /// Method and path template.
    pub route: Arc<str>,
    /// What the client chose.
    pub key: Arc<str>,
}

/// A key together with the request it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// The key.
    pub key: IdempotencyKey,
    /// SHA-256 of the request's parsed JSON: another body under the same key is refused.
    pub body: Digest,
}

/// What a request has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// A run.
    Run(RunId),
    /// A batch of runs.
    Batch(BatchId),
}

/// What an idempotency key's row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFound {
    /// What it started.
    pub started: Started,
    /// The body it came with.
    pub body: Digest,
    /// When that was accepted.
    pub created_at: Timestamp,
    /// The workflow it belongs to.
    pub workflow: WorkflowId,
}

/// What is known of a commit afterwards. Nobody guesses (I8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is durable. Runs whose rows the database cannot hold were set aside alone, the rest landed (E5).
    Applied {
        /// Runs that are quarantined now.
        quarantined: Vec<RunId>,
    },
    /// It is certainly not there, and this owner must stop: another has the partition, or the rows do not follow.
    Refused,
    /// It may or may not be there: this owner must stop, and the next load will see.
    Unknown,
}
