//! Rows of batches and of messages between slots, as they are read. Partitions write them with their commits; only plans
//! are written before.

pub(crate) mod memory;
mod postgres;
mod sqlite;

use std::collections::BTreeSet;

use bytes::Bytes;
use heddle_core::batch::{BatchCreated, BatchId, BatchState};
use heddle_core::id::{PartitionId, RunId, Slot};
use heddle_core::outbox::{Message, MessageId};
use heddle_core::run::RunStatus;
use heddle_core::time::Timestamp;

use crate::auth::Tenant;
use crate::journal::Answer;

/// What keeps batches of runs.
pub(crate) trait BatchRows: Send + Sync + 'static {
    /// Keeps what a batch gives its runs, before its row is written.
    fn put_plan(&self, tenant: Tenant, batch: BatchId, plan: Bytes, now: Timestamp) -> Answer<()>;

    /// Removes a plan whose batch was not begun.
    fn forget_plan(&self, tenant: Tenant, batch: BatchId) -> Answer<()>;

    /// Removes at most `limit` plans, kept before `before`, whose batches were never begun; says how many.
    fn expire_plans(&self, before: Timestamp, limit: usize) -> Answer<usize>;

    /// What a batch that is not over gives its runs. For the engine.
    fn plan(&self, batch: BatchId) -> Answer<Option<Bytes>>;

    /// A batch's row. For the engine; requests ask for [`BatchRows::batch`].
    fn batch_row(&self, batch: BatchId) -> Answer<Option<StoredBatch>>;

    /// The row of a batch of this tenant.
    fn batch(&self, tenant: Tenant, batch: BatchId) -> Answer<Option<StoredBatch>>;

    /// How many of the runs that a tenant's batch has begun stand how.
    fn batch_counts(&self, tenant: Tenant, batch: BatchId) -> Answer<Vec<(RunStatus, u32)>>;

    /// The runs of a batch that go on, by index. For the engine.
    fn going_on(&self, batch: BatchId) -> Answer<BTreeSet<u32>>;

    /// Those of these runs that a tenant has.
    fn runs_among(&self, tenant: Tenant, runs: Vec<RunId>) -> Answer<Vec<RunId>>;

    /// Batches of a partition that are not over, by slot and id, after `after` if there is one.
    fn loadable_batches(
        &self,
        partition: PartitionId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Answer<Vec<StoredBatch>>;

    /// Messages that a partition has sent and that are not known to have arrived, in the order of their numbers, after
    /// `after` if there is one.
    fn outbox(&self, partition: PartitionId, after: Option<(MessageId, Slot)>, limit: usize) -> Answer<Vec<Message>>;
}

/// A batch's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredBatch {
    /// Which batch.
    pub batch: BatchId,
    /// What never changes; without the artifacts, which have rows of their own.
    pub created: BatchCreated,
    /// How it stands.
    pub state: BatchState,
}
