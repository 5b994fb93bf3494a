//! What readers ask. What needs more than one statement runs in one transaction that sees one commit only.

use std::collections::BTreeMap;

use heddle_core::batch::BatchId;
use heddle_core::id::{EventSeq, PartitionId, RunId, WorkflowId};
use heddle_core::limits::IDEMPOTENCY_TTL;
use heddle_core::partition::batch::{IdempotencyKey, KeyFound, Started};
use heddle_core::run::event::Event;
use heddle_core::time::Timestamp;
use heddle_core::value::{Digest, Value, ValueRef};
use sqlx::postgres::{PgConnection, PgRow, Postgres};
use sqlx::{Executor as _, QueryBuilder, Row as _};

use super::fault::Trouble;
use super::rows::{event_row, id, run_row, snapshot, time};
use crate::auth::Tenant;
use crate::journal::codec::{self, Row};
use crate::journal::columns::{RUN_COLUMNS, status_number};
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::{Asleep, JournalError, RunCursor, RunFilter, RunRow, StoredRun, values};

type Result<T> = std::result::Result<T, Trouble>;

pub(super) async fn now(connection: &mut PgConnection) -> Result<Timestamp> {
    let row = sqlx::query(concat!("SELECT ", super::now!())).fetch_one(connection).await?;
    Ok(time(&row, 0)?)
}

pub(super) async fn list_loadable(
    connection: &mut PgConnection,
    partition: PartitionId,
    after: Option<RunId>,
    limit: usize,
) -> Result<Vec<RunId>> {
    // By slot, then id: so each page is a walk along the index. Slot -1 is before all.
    let (slot, run) = after.map_or((-1, RunId(0)), |run| (i64::from(run.slot().0), run));
    let sql = "SELECT run.id FROM partition_slot JOIN run ON run.slot = partition_slot.slot
               WHERE partition_slot.partition = $1 AND run.phase IN (1, 3) AND (run.slot, run.id) > ($2, $3)
               ORDER BY run.slot, run.id LIMIT $4";
    let query = sqlx::query(sql).bind(i64::from(partition.0)).bind(slot).bind(run.to_bytes()).bind(page(limit));
    run_ids(&query.fetch_all(connection).await?)
}

pub(super) async fn due(connection: &mut PgConnection, before: Timestamp, limit: usize) -> Result<Vec<RunId>> {
    let sql = "SELECT id FROM run WHERE phase = 2 AND next_due <= $1 ORDER BY next_due, id LIMIT $2";
    run_ids(&sqlx::query(sql).bind(before.as_millis()).bind(page(limit)).fetch_all(connection).await?)
}

pub(super) async fn asleep(connection: &mut PgConnection, after: Option<RunId>, limit: usize) -> Result<Vec<Asleep>> {
    // All without an instant: the order is that of the index.
    let sql = "SELECT id, EXISTS (SELECT 1 FROM review WHERE review.run = run.id AND review.state = 1) FROM run
               WHERE phase = 2 AND next_due IS NULL AND id > $1 ORDER BY next_due, id LIMIT $2";
    let query = sqlx::query(sql).bind(after.unwrap_or(RunId(0)).to_bytes()).bind(page(limit));
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| Ok(Asleep { run: RunId(id(row, 0)?), is_awaited: row.try_get(1)? })).collect()
}

pub(super) async fn left_behind(
    connection: &mut PgConnection,
    after: Option<RunId>,
    limit: usize,
) -> Result<Vec<RunRow>> {
    let mut query = QueryBuilder::<Postgres>::new("SELECT ");
    query.push(RUN_COLUMNS);
    query.push(" FROM run WHERE parent IN (SELECT id FROM run WHERE quarantine_reason IS NOT NULL)");
    query.push(" AND ended_at IS NULL AND id > ").push_bind(after.unwrap_or(RunId(0)).to_bytes());
    query.push(" ORDER BY id LIMIT ").push_bind(page(limit));
    query.build().fetch_all(connection).await?.iter().map(run_row).collect()
}

pub(super) async fn load(connection: &mut PgConnection, run: RunId) -> Result<Option<StoredRun>> {
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
    let found = load_as_of_one_commit(connection, run).await?;
    connection.execute("COMMIT").await?;
    Ok(found)
}

async fn load_as_of_one_commit(connection: &mut PgConnection, run: RunId) -> Result<Option<StoredRun>> {
    let Some(row) = read_summary(connection, None, run).await? else { return Ok(None) };
    let sql = "SELECT seq, version, crc, state FROM snapshot WHERE run = $1";
    let found = sqlx::query(sql).bind(run.to_bytes()).fetch_optional(&mut *connection).await?;
    let snapshot = found.as_ref().map(snapshot).transpose()?.flatten();
    let after = snapshot.as_ref().map_or(EventSeq(0), |snapshot| snapshot.seq);
    let sql = "SELECT seq, kind, version, at, crc, head FROM event WHERE run = $1 AND seq > $2 ORDER BY seq";
    let found = sqlx::query(sql).bind(run.to_bytes()).bind(after.0 as i64).fetch_all(connection).await?;
    let tail = found.iter().map(|row| decode(&event_row(run, row, false)?)).collect::<Result<_>>()?;
    Ok(Some(StoredRun { row, snapshot, tail }))
}

/// Without a tenant it is the engine that asks.
pub(super) async fn read_events(
    connection: &mut PgConnection,
    tenant: Option<Tenant>,
    run: RunId,
    after: EventSeq,
    rows_max: usize,
    bytes_max: usize,
) -> Result<Vec<Event>> {
    read_rows(connection, tenant, run, after, rows_max, bytes_max).await?.iter().map(decode).collect()
}

/// The same as they are kept.
pub(super) async fn read_rows(
    connection: &mut PgConnection,
    tenant: Option<Tenant>,
    run: RunId,
    after: EventSeq,
    rows_max: usize,
    bytes_max: usize,
) -> Result<Vec<Row>> {
    // The lengths are known without reading long bodies; what does not fit stays with the server.
    let sql = "SELECT seq, kind, version, at, crc, head, body FROM (
                   SELECT *, sum(octet_length(head) + octet_length(body)) OVER page AS bytes,
                       row_number() OVER page AS place
                   FROM (SELECT * FROM event WHERE run = $1 AND seq > $2
                         AND ($5::text IS NULL OR EXISTS (SELECT 1 FROM run WHERE run.id = $1 AND run.tenant = $5))
                         ORDER BY seq LIMIT $3) AS rows
                   WINDOW page AS (ORDER BY seq)) AS counted
               WHERE bytes <= $4 OR place = 1 ORDER BY seq";
    let query = sqlx::query(sql)
        .bind(run.to_bytes())
        .bind(after.0 as i64)
        .bind(page(rows_max.max(1)))
        .bind(i64::try_from(bytes_max).unwrap_or(i64::MAX))
        .bind(tenant.as_ref().map(Tenant::text));
    let found = query.fetch_all(connection).await?;
    found.iter().map(|row| event_row(run, row, true)).collect()
}

pub(super) async fn read_values(
    connection: &mut PgConnection,
    run: RunId,
    references: &[ValueRef],
) -> Result<Vec<Value>> {
    let seqs: Vec<i64> = references.iter().map(|reference| reference.seq.0 as i64).collect();
    let sql = "SELECT seq, kind, version, at, crc, head, body FROM event WHERE run = $1 AND seq = ANY($2)";
    let found = sqlx::query(sql).bind(run.to_bytes()).bind(seqs).fetch_all(connection).await?;
    let rows = found.iter().map(|row| event_row(run, row, true).map(|row| (row.seq, row)));
    let rows: BTreeMap<EventSeq, Row> = rows.collect::<Result<_>>()?;
    values::read(run, references, |seq| {
        let body = rows.get(&seq).map(codec::decode_body).transpose();
        Ok(body.map_err(|source| JournalError::Event { source })?)
    })
}

/// Without a tenant it is the engine that asks.
pub(super) async fn read_summary(
    connection: &mut PgConnection,
    tenant: Option<Tenant>,
    run: RunId,
) -> Result<Option<RunRow>> {
    let mut query = QueryBuilder::<Postgres>::new("SELECT ");
    query.push(RUN_COLUMNS).push(" FROM run WHERE id = ").push_bind(run.to_bytes());
    if let Some(tenant) = tenant {
        query.push(" AND tenant = ").push_bind(tenant.text().to_owned());
    }
    query.build().fetch_optional(connection).await?.as_ref().map(run_row).transpose()
}

pub(super) async fn list_runs(
    connection: &mut PgConnection,
    filter: &RunFilter,
    cursor: Option<RunCursor>,
    limit: usize,
) -> Result<Vec<RunRow>> {
    // One statement per set of filters, so that each gets the index that fits.
    let mut query = QueryBuilder::<Postgres>::new("SELECT ");
    query.push(RUN_COLUMNS).push(" FROM run WHERE tenant = ").push_bind(filter.tenant.text().to_owned());
    if let Some(RunCursor { created_at, run }) = cursor {
        query.push(" AND (created_at, id) < (").push_bind(created_at.as_millis());
        query.push(", ").push_bind(run.to_bytes()).push(")");
    }
    if let Some(workflow) = filter.workflow {
        query.push(" AND workflow = ").push_bind(workflow.to_bytes());
    }
    if let Some(status) = filter.status {
        query.push(" AND status = ").push_bind(status_number(status));
    }
    if let Some(parent) = filter.parent {
        query.push(" AND parent = ").push_bind(parent.to_bytes());
    }
    if let Some(from) = filter.from {
        query.push(" AND created_at >= ").push_bind(from.as_millis());
    }
    if let Some(to) = filter.to {
        query.push(" AND created_at < ").push_bind(to.as_millis());
    }
    query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(page(limit));
    query.build().fetch_all(connection).await?.iter().map(run_row).collect()
}

pub(super) async fn lookup_key(
    connection: &mut PgConnection,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<KeyFound>> {
    let sql = "SELECT idempotency.run, idempotency.body, coalesce(run.created_at, batch.created_at),
                   coalesce(run.workflow, batch.workflow), batch.id IS NOT NULL
               FROM idempotency LEFT JOIN run ON run.id = idempotency.run LEFT JOIN batch ON batch.id = idempotency.run
               WHERE (run.id IS NOT NULL OR batch.id IS NOT NULL) AND idempotency.tenant = $1 AND route = $2 AND key = $3 AND idempotency.created_at > $4";
    let query = sqlx::query(sql).bind(&*key.tenant.0).bind(&*key.route).bind(&*key.key).bind(oldest(now));
    let Some(row) = query.fetch_optional(connection).await? else { return Ok(None) };
    Ok(Some(KeyFound {
        started: match row.try_get(4)? {
            true => Started::Batch(BatchId(id(&row, 0)?)),
            false => Started::Run(RunId(id(&row, 0)?)),
        },
        body: Digest(row.try_get(1)?),
        created_at: time(&row, 2)?,
        workflow: WorkflowId(id(&row, 3)?),
    }))
}

/// Removes keys that are too old. One that is given out anew meanwhile stays: its row is looked at again.
pub(super) async fn expire_keys(connection: &mut PgConnection, now: Timestamp, limit: usize) -> Result<usize> {
    let sql = "DELETE FROM idempotency WHERE created_at <= $1 AND (tenant, route, key) IN
                   (SELECT tenant, route, key FROM idempotency WHERE created_at <= $1
                    ORDER BY created_at, tenant, route, key LIMIT $2)";
    let done = sqlx::query(sql).bind(oldest(now)).bind(page(limit)).execute(connection).await?;
    Ok(done.rows_affected() as usize)
}

/// What is written tells whether the database takes writes.
pub(super) async fn probe(connection: &mut PgConnection) -> Result<()> {
    sqlx::query("UPDATE meta SET value = value WHERE name = 'format'").execute(connection).await?;
    Ok(())
}

/// When a key was made that has just expired.
fn oldest(now: Timestamp) -> i64 {
    now.as_millis().saturating_sub(IDEMPOTENCY_TTL.as_millis() as i64)
}

/// A limit as the database takes it.
fn page(limit: usize) -> i64 {
    limit.min(PAGE_ROWS_MAX) as i64
}

fn run_ids(rows: &[PgRow]) -> Result<Vec<RunId>> {
    rows.iter().map(|row| Ok(RunId(id(row, 0)?))).collect()
}

fn decode(row: &Row) -> Result<Event> {
    codec::decode(row).map_err(|source| JournalError::Event { source }.into())
}
