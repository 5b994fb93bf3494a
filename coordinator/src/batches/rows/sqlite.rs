//! Batches of runs on SQLite.

use std::collections::BTreeSet;

use bytes::Bytes;
use heddle_core::batch::{BatchCreated, BatchId, BatchState};
use heddle_core::id::{PartitionId, RunId, Slot, Subject, TenantId, WorkflowId};
use heddle_core::outbox::{Message, MessageId};
use heddle_core::run::RunStatus;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use rusqlite::{Row, params, params_from_iter};

use super::{BatchRows, StoredBatch};
use crate::auth::Tenant;
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Answer, JournalError, codec, status_of};
use crate::records::sqlite::{array, many, one, text};

/// What [`stored`] reads.
const COLUMNS: &str =
    "batch.id, batch.tenant, batch.subject, batch.workflow, batch.graph, batch.created_at, batch.total,
                       batch.stride, batch.started, batch.cancelled_by, batch.cancelled_at, batch.ended_at";

impl BatchRows for SqliteJournal {
    fn put_plan(&self, tenant: Tenant, batch: BatchId, plan: Bytes, now: Timestamp) -> Answer<()> {
        self.write("keep a batch's plan", move |connection| {
            let sql = "INSERT INTO batch_plan (batch, tenant, created_at, plan) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT DO NOTHING";
            connection.execute(sql, params![batch.to_bytes(), tenant.text(), now.as_millis(), &plan[..]]).map(drop)
        })
    }

    fn forget_plan(&self, tenant: Tenant, batch: BatchId) -> Answer<()> {
        self.write("forget a batch's plan", move |connection| {
            let sql = "DELETE FROM batch_plan WHERE batch = ?1 AND tenant = ?2
                       AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.id = ?1)";
            connection.execute(sql, params![batch.to_bytes(), tenant.text()]).map(drop)
        })
    }

    fn expire_plans(&self, before: Timestamp, limit: usize) -> Answer<usize> {
        self.write("remove plans of no batch", move |connection| {
            let sql = "DELETE FROM batch_plan WHERE batch IN
                           (SELECT batch_plan.batch FROM batch_plan WHERE created_at <= ?1
                                AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.id = batch_plan.batch)
                            ORDER BY created_at, batch LIMIT ?2)";
            connection.prepare_cached(sql)?.execute(params![before.as_millis(), page(limit)])
        })
    }

    fn plan(&self, batch: BatchId) -> Answer<Option<Bytes>> {
        self.read(move |connection| {
            let sql = "SELECT plan FROM batch_plan WHERE batch = ?1";
            one(connection, sql, params![batch.to_bytes()], |row| row.get::<_, Vec<u8>>(0).map(Bytes::from))
        })
    }

    fn batch_row(&self, batch: BatchId) -> Answer<Option<StoredBatch>> {
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM batch WHERE id = ?1");
            one(connection, &sql, params![batch.to_bytes()], stored)
        })
    }

    fn batch(&self, tenant: Tenant, batch: BatchId) -> Answer<Option<StoredBatch>> {
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM batch WHERE id = ?1 AND tenant = ?2");
            one(connection, &sql, params![batch.to_bytes(), tenant.text()], stored)
        })
    }

    fn batch_counts(&self, tenant: Tenant, batch: BatchId) -> Answer<Vec<(RunStatus, u32)>> {
        self.read(move |connection| {
            let sql = "SELECT status, count(*) FROM run WHERE run.batch = ?1
                       AND EXISTS (SELECT 1 FROM batch WHERE batch.id = ?1 AND batch.tenant = ?2)
                       GROUP BY status ORDER BY status";
            let given = params![batch.to_bytes(), tenant.text()];
            let counts = many(connection, sql, given, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?)))?;
            counts.into_iter().map(|(status, count)| Ok((status_of(status)?, count))).collect()
        })
    }

    fn going_on(&self, batch: BatchId) -> Answer<BTreeSet<u32>> {
        self.read(move |connection| {
            let sql = "SELECT batch_index FROM run WHERE batch = ?1 AND status = 1";
            Ok(many(connection, sql, params![batch.to_bytes()], |row| row.get(0))?.into_iter().collect())
        })
    }

    fn runs_among(&self, tenant: Tenant, runs: Vec<RunId>) -> Answer<Vec<RunId>> {
        self.read(move |connection| {
            let places = vec!["?"; runs.len()].join(", ");
            let sql = format!("SELECT id FROM run WHERE tenant = ? AND id IN ({places}) ORDER BY id");
            let ids = runs.iter().map(|run| rusqlite::types::Value::Blob(run.to_bytes().to_vec()));
            let given = std::iter::once(rusqlite::types::Value::Text(tenant.text().to_owned())).chain(ids);
            let read = |row: &Row<'_>| array(row, 0).map(|id| RunId(u128::from_be_bytes(id)));
            many(connection, &sql, params_from_iter(given), read)
        })
    }

    fn loadable_batches(
        &self,
        partition: PartitionId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Answer<Vec<StoredBatch>> {
        self.read(move |connection| {
            let (slot, id) = after.map_or((-1, BatchId(0)), |batch| (i64::from(batch.slot().0), batch));
            let sql = format!(
                "SELECT {COLUMNS} FROM partition_slot JOIN batch ON batch.slot = partition_slot.slot
                 WHERE partition_slot.partition = ?1 AND batch.ended_at IS NULL AND (batch.slot, batch.id) > (?2, ?3)
                 ORDER BY batch.slot, batch.id LIMIT ?4"
            );
            many(connection, &sql, params![partition.0, slot, id.to_bytes(), page(limit)], stored)
        })
    }

    fn outbox(&self, partition: PartitionId, after: Option<(MessageId, Slot)>, limit: usize) -> Answer<Vec<Message>> {
        self.read(move |connection| {
            let (number, source) = after.map_or((-1, -1), |(id, slot)| (id.0 as i64, i64::from(slot.0)));
            let sql = "SELECT outbox.number, outbox.source, outbox.destination, outbox.kind, outbox.body
                       FROM partition_slot JOIN outbox ON outbox.source = partition_slot.slot
                       WHERE partition_slot.partition = ?1 AND (outbox.number, outbox.source) > (?2, ?3)
                       ORDER BY outbox.number, outbox.source LIMIT ?4";
            let rows = many(connection, sql, params![partition.0, number, source, page(limit)], |row| {
                let (id, source, destination) = (row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?);
                let (kind, body) = (row.get(3)?, row.get::<_, Vec<u8>>(4)?);
                Ok(codec::decode_message(MessageId(id as u64), Slot(source), Slot(destination), kind, &body))
            })?;
            rows.into_iter().collect::<Option<_>>().ok_or(JournalError::Row { table: "outbox", what: "its message" })
        })
    }
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredBatch> {
    let by = row.get::<_, Option<String>>(9)?.map(|by| Subject(by.into()));
    let at = row.get::<_, Option<i64>>(10)?.map(Timestamp::from_millis);
    Ok(StoredBatch {
        batch: BatchId(u128::from_be_bytes(array(row, 0)?)),
        created: BatchCreated {
            tenant: TenantId(text(row, 1)?),
            subject: Subject(text(row, 2)?),
            workflow: WorkflowId(u128::from_be_bytes(array(row, 3)?)),
            graph: Digest(array(row, 4)?),
            created_at: Timestamp::from_millis(row.get(5)?),
            total: row.get(6)?,
            stride: row.get(7)?,
            artifacts: Vec::new(),
        },
        state: BatchState {
            started: row.get(8)?,
            cancelled: by.zip(at),
            ended_at: row.get::<_, Option<i64>>(11)?.map(Timestamp::from_millis),
        },
    })
}

fn page(limit: usize) -> i64 {
    limit.min(PAGE_ROWS_MAX) as i64
}
