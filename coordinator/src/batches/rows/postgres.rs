//! Batches of runs on PostgreSQL.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::FutureExt as _;
use heddle_core::batch::{BatchCreated, BatchId, BatchState};
use heddle_core::id::{PartitionId, RunId, Slot, Subject, TenantId, WorkflowId};
use heddle_core::outbox::{Message, MessageId};
use heddle_core::run::RunStatus;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{BatchRows, StoredBatch};
use crate::auth::Tenant;
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::postgres::{PostgresJournal, Trouble, bytes, id, index, time};
use crate::journal::{Answer, JournalError, codec, status_of};

/// What [`stored`] reads.
macro_rules! columns {
    () => {
        "batch.id, batch.tenant, batch.subject, batch.workflow, batch.graph, batch.created_at, batch.total, batch.stride,
         batch.started, batch.cancelled_by, batch.cancelled_at, batch.ended_at"
    };
}

impl BatchRows for PostgresJournal {
    fn put_plan(&self, tenant: Tenant, batch: BatchId, plan: Bytes, now: Timestamp) -> Answer<()> {
        self.ask("keep a batch's plan", move |connection| {
            async move {
                let sql = "INSERT INTO batch_plan (batch, tenant, created_at, plan) VALUES ($1, $2, $3, $4)
                           ON CONFLICT DO NOTHING";
                let query = sqlx::query(sql).bind(batch.to_bytes()).bind(tenant.text()).bind(now.as_millis());
                query.bind(&plan[..]).execute(connection).await?;
                Ok(())
            }
            .boxed()
        })
    }

    fn forget_plan(&self, tenant: Tenant, batch: BatchId) -> Answer<()> {
        self.ask("forget a batch's plan", move |connection| {
            async move {
                let sql = "DELETE FROM batch_plan WHERE batch = $1 AND tenant = $2
                           AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.id = $1)";
                sqlx::query(sql).bind(batch.to_bytes()).bind(tenant.text()).execute(connection).await?;
                Ok(())
            }
            .boxed()
        })
    }

    fn expire_plans(&self, before: Timestamp, limit: usize) -> Answer<usize> {
        self.ask("remove plans of no batch", move |connection| {
            async move {
                let sql = "DELETE FROM batch_plan WHERE batch IN
                               (SELECT batch_plan.batch FROM batch_plan WHERE created_at <= $1
                                    AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.id = batch_plan.batch)
                                ORDER BY created_at, batch LIMIT $2)";
                let done = sqlx::query(sql).bind(before.as_millis()).bind(page(limit)).execute(connection).await?;
                Ok(done.rows_affected() as usize)
            }
            .boxed()
        })
    }

    fn plan(&self, batch: BatchId) -> Answer<Option<Bytes>> {
        self.ask("read a batch's plan", move |connection| {
            async move {
                let sql = "SELECT plan FROM batch_plan WHERE batch = $1";
                let found = sqlx::query(sql).bind(batch.to_bytes()).fetch_optional(connection).await?;
                Ok(found.map(|row| bytes(&row, 0)).transpose()?)
            }
            .boxed()
        })
    }

    fn batch_row(&self, batch: BatchId) -> Answer<Option<StoredBatch>> {
        self.ask("read a batch", move |connection| {
            async move {
                let sql = concat!("SELECT ", columns!(), " FROM batch WHERE id = $1");
                let found = sqlx::query(sql).bind(batch.to_bytes()).fetch_optional(connection).await?;
                found.as_ref().map(stored).transpose()
            }
            .boxed()
        })
    }

    fn batch(&self, tenant: Tenant, batch: BatchId) -> Answer<Option<StoredBatch>> {
        self.ask("read a batch", move |connection| {
            async move {
                let sql = concat!("SELECT ", columns!(), " FROM batch WHERE id = $1 AND tenant = $2");
                let query = sqlx::query(sql).bind(batch.to_bytes()).bind(tenant.text());
                query.fetch_optional(connection).await?.as_ref().map(stored).transpose()
            }
            .boxed()
        })
    }

    fn batch_counts(&self, tenant: Tenant, batch: BatchId) -> Answer<Vec<(RunStatus, u32)>> {
        self.ask("count a batch's runs", move |connection| {
            async move {
                let sql = "SELECT status, count(*) FROM run WHERE run.batch = $1
                           AND EXISTS (SELECT 1 FROM batch WHERE batch.id = $1 AND batch.tenant = $2)
                           GROUP BY status ORDER BY status";
                let rows = sqlx::query(sql).bind(batch.to_bytes()).bind(tenant.text()).fetch_all(connection).await?;
                rows.iter().map(|row| Ok((status_of(row.try_get(0)?)?, index(row, 1, "run")?))).collect()
            }
            .boxed()
        })
    }

    fn going_on(&self, batch: BatchId) -> Answer<BTreeSet<u32>> {
        self.ask("look at a batch's runs", move |connection| {
            async move {
                let sql = "SELECT batch_index FROM run WHERE batch = $1 AND status = 1";
                let rows = sqlx::query(sql).bind(batch.to_bytes()).fetch_all(connection).await?;
                rows.iter().map(|row| index(row, 0, "run")).collect()
            }
            .boxed()
        })
    }

    fn runs_among(&self, tenant: Tenant, runs: Vec<RunId>) -> Answer<Vec<RunId>> {
        self.ask("look for runs", move |connection| {
            async move {
                let ids: Vec<[u8; 16]> = runs.iter().map(|run| run.to_bytes()).collect();
                let sql = "SELECT id FROM run WHERE tenant = $1 AND id = ANY ($2::bytea[]) ORDER BY id";
                let rows = sqlx::query(sql).bind(tenant.text()).bind(ids).fetch_all(connection).await?;
                rows.iter().map(|row| Ok(RunId(id(row, 0)?))).collect()
            }
            .boxed()
        })
    }

    fn loadable_batches(
        &self,
        partition: PartitionId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Answer<Vec<StoredBatch>> {
        self.ask("list batches to load", move |connection| {
            async move {
                let (slot, id) = after.map_or((-1, BatchId(0)), |batch| (i64::from(batch.slot().0), batch));
                let sql = concat!(
                    "SELECT ",
                    columns!(),
                    " FROM partition_slot JOIN batch ON batch.slot = partition_slot.slot
                     WHERE partition_slot.partition = $1 AND batch.ended_at IS NULL AND (batch.slot, batch.id) > ($2, $3)
                     ORDER BY batch.slot, batch.id LIMIT $4"
                );
                let query = sqlx::query(sql).bind(i64::from(partition.0)).bind(slot).bind(id.to_bytes());
                query.bind(page(limit)).fetch_all(connection).await?.iter().map(stored).collect()
            }
            .boxed()
        })
    }

    fn outbox(&self, partition: PartitionId, after: Option<(MessageId, Slot)>, limit: usize) -> Answer<Vec<Message>> {
        self.ask("read messages that are owed", move |connection| {
            async move {
                let (number, source) = after.map_or((-1, -1), |(id, slot)| (id.0 as i64, i64::from(slot.0)));
                let sql = "SELECT outbox.number, outbox.source, outbox.destination, outbox.kind, outbox.body
                           FROM partition_slot JOIN outbox ON outbox.source = partition_slot.slot
                           WHERE partition_slot.partition = $1 AND (outbox.number, outbox.source) > ($2, $3)
                           ORDER BY outbox.number, outbox.source LIMIT $4";
                let query = sqlx::query(sql).bind(i64::from(partition.0)).bind(number).bind(source).bind(page(limit));
                query.fetch_all(connection).await?.iter().map(message).collect()
            }
            .boxed()
        })
    }
}

fn message(row: &PgRow) -> Result<Message, Trouble> {
    let wrong = || JournalError::Row { table: "outbox", what: "its message" };
    let slot = |column| Ok::<_, Trouble>(Slot(u16::try_from(row.try_get::<i64, _>(column)?).map_err(|_| wrong())?));
    let id = MessageId(row.try_get::<i64, _>(0)? as u64);
    let message = codec::decode_message(id, slot(1)?, slot(2)?, row.try_get(3)?, row.try_get::<&[u8], _>(4)?);
    Ok(message.ok_or_else(wrong)?)
}

fn stored(row: &PgRow) -> Result<StoredBatch, Trouble> {
    let by = row.try_get::<Option<String>, _>(9)?.map(|by| Subject(by.into()));
    let at = row.try_get::<Option<i64>, _>(10)?.map(Timestamp::from_millis);
    Ok(StoredBatch {
        batch: BatchId(id(row, 0)?),
        created: BatchCreated {
            tenant: TenantId(row.try_get::<String, _>(1)?.into()),
            subject: Subject(row.try_get::<String, _>(2)?.into()),
            workflow: WorkflowId(id(row, 3)?),
            graph: Digest(row.try_get(4)?),
            created_at: time(row, 5)?,
            total: index(row, 6, "batch")?,
            stride: index(row, 7, "batch")?,
            artifacts: Vec::new(),
        },
        state: BatchState {
            started: index(row, 8, "batch")?,
            cancelled: by.zip(at),
            ended_at: row.try_get::<Option<i64>, _>(11)?.map(Timestamp::from_millis),
        },
    })
}

fn page(limit: usize) -> i64 {
    limit.min(PAGE_ROWS_MAX) as i64
}
