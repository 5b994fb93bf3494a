//! What readers ask. Each function runs in one read transaction.

use heddle_core::batch::BatchId;
use heddle_core::id::{EventSeq, PartitionId, RunId, WorkflowId};
use heddle_core::limits::IDEMPOTENCY_TTL;
use heddle_core::partition::batch::{IdempotencyKey, KeyFound, Started};
use heddle_core::run::event::Event;
use heddle_core::time::Timestamp;
use heddle_core::value::{Digest, Value, ValueRef};
use rusqlite::{Connection, Params, ToSql, named_params, params};

use super::open::failed;
use super::rows::{column, column_id, event_row, run_row, snapshot};
use crate::auth::Tenant;
use crate::journal::codec::{self, Row};
use crate::journal::columns::{RUN_COLUMNS, status_number};
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::{Asleep, JournalError, RunCursor, RunFilter, RunRow, StoredRun, values};

type Result<T> = std::result::Result<T, JournalError>;

pub(super) fn list_loadable(
    connection: &Connection,
    partition: PartitionId,
    after: Option<RunId>,
    limit: usize,
) -> Result<Vec<RunId>> {
    // By slot, then id: so each page is a walk along the index. Slot -1 is before all.
    let (slot, id) = after.map_or((-1, RunId(0)), |run| (i64::from(run.slot().0), run));
    let sql = "SELECT run.id FROM partition_slot JOIN run ON run.slot = partition_slot.slot
               WHERE partition_slot.partition = ?1 AND run.phase IN (1, 3) AND (run.slot, run.id) > (?2, ?3)
               ORDER BY run.slot, run.id LIMIT ?4";
    run_ids(connection, sql, params![partition.0, slot, id.to_bytes(), page(limit)])
}

pub(super) fn due(connection: &Connection, before: Timestamp, limit: usize) -> Result<Vec<RunId>> {
    let sql = "SELECT id FROM run WHERE phase = 2 AND next_due <= ?1 ORDER BY next_due, id LIMIT ?2";
    run_ids(connection, sql, params![before.as_millis(), page(limit)])
}

pub(super) fn asleep(connection: &Connection, after: Option<RunId>, limit: usize) -> Result<Vec<Asleep>> {
    // All without an instant: the order is that of the index.
    let sql = "SELECT id, EXISTS (SELECT 1 FROM review WHERE review.run = run.id AND review.state = 1) FROM run
               WHERE phase = 2 AND next_due IS NULL AND id > ?1 ORDER BY next_due, id LIMIT ?2";
    select(connection, sql, params![after.unwrap_or(RunId(0)).to_bytes(), page(limit)], |row| {
        Ok(Asleep { run: RunId(column_id(row, 0)?), is_awaited: column(row, 1)? })
    })
}

pub(super) fn left_behind(connection: &Connection, after: Option<RunId>, limit: usize) -> Result<Vec<RunRow>> {
    // A sign before a column keeps it from being walked along: of those that were set aside there are few.
    let sql = format!(
        "SELECT {RUN_COLUMNS} FROM run WHERE parent IN (SELECT id FROM run WHERE quarantine_reason IS NOT NULL)
         AND ended_at IS NULL AND +id > ?1 ORDER BY +id LIMIT ?2"
    );
    select(connection, &sql, params![after.unwrap_or(RunId(0)).to_bytes(), page(limit)], run_row)
}

pub(super) fn load(connection: &Connection, run: RunId) -> Result<Option<StoredRun>> {
    let Some(row) = read_summary(connection, None, run)? else { return Ok(None) };
    let sql = "SELECT seq, version, crc, state FROM snapshot WHERE run = ?1";
    let snapshot = select(connection, sql, params![run.to_bytes()], snapshot)?.into_iter().next().flatten();
    let after = snapshot.as_ref().map_or(EventSeq(0), |snapshot| snapshot.seq);
    let sql = "SELECT seq, kind, version, at, crc, head FROM event WHERE run = ?1 AND seq > ?2 ORDER BY seq";
    let tail =
        select(connection, sql, params![run.to_bytes(), after.0 as i64], |row| decode(&event_row(run, row, false)?))?;
    Ok(Some(StoredRun { row, snapshot, tail }))
}

/// Without a tenant it is the engine that asks.
pub(super) fn read_events(
    connection: &Connection,
    tenant: Option<&Tenant>,
    run: RunId,
    after: EventSeq,
    rows_max: usize,
    bytes_max: usize,
) -> Result<Vec<Event>> {
    read_rows(connection, tenant, run, after, rows_max, bytes_max)?.iter().map(decode).collect()
}

/// The same as they are kept.
pub(super) fn read_rows(
    connection: &Connection,
    tenant: Option<&Tenant>,
    run: RunId,
    after: EventSeq,
    rows_max: usize,
    bytes_max: usize,
) -> Result<Vec<Row>> {
    let sql = "SELECT seq, kind, version, at, crc, head, body FROM event WHERE run = ?1 AND seq > ?2
               AND (?4 IS NULL OR EXISTS (SELECT 1 FROM run WHERE run.id = ?1 AND run.tenant = ?4))
               ORDER BY seq LIMIT ?3";
    let mut statement = prepare(connection, sql)?;
    let limit = page(rows_max.max(1));
    let mut rows = statement
        .query(params![run.to_bytes(), after.0 as i64, limit, tenant.map(Tenant::text)])
        .map_err(failed("read a history"))?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next().map_err(failed("read a history"))? {
        let row = event_row(run, row, true)?;
        bytes += row.bytes();
        if bytes > bytes_max && !found.is_empty() {
            break;
        }
        found.push(row);
    }
    Ok(found)
}

pub(super) fn read_values(connection: &Connection, run: RunId, references: &[ValueRef]) -> Result<Vec<Value>> {
    let sql = "SELECT seq, kind, version, at, crc, head, body FROM event WHERE run = ?1 AND seq = ?2";
    values::read(run, references, |seq| {
        let found = select(connection, sql, params![run.to_bytes(), seq.0 as i64], |row| event_row(run, row, true))?;
        let body = found.first().map(codec::decode_body).transpose();
        body.map_err(|source| JournalError::Event { source })
    })
}

/// Without a tenant it is the engine that asks.
pub(super) fn read_summary(connection: &Connection, tenant: Option<&Tenant>, run: RunId) -> Result<Option<RunRow>> {
    let sql = format!("SELECT {RUN_COLUMNS} FROM run WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)");
    Ok(select(connection, &sql, params![run.to_bytes(), tenant.map(Tenant::text)], run_row)?.into_iter().next())
}

pub(super) fn list_runs(
    connection: &Connection,
    filter: &RunFilter,
    cursor: Option<RunCursor>,
    limit: usize,
) -> Result<Vec<RunRow>> {
    let (created_at, id) = cursor.map_or((i64::MAX, [0xff; 16]), |at| (at.created_at.as_millis(), at.run.to_bytes()));
    let workflow = filter.workflow.map(WorkflowId::to_bytes);
    let (status, parent) = (filter.status.map(status_number), filter.parent.map(RunId::to_bytes));
    let (from, to) = (filter.from.map(Timestamp::as_millis), filter.to.map(Timestamp::as_millis));
    let (tenant, limit) = (filter.tenant.text(), page(limit));
    // One statement per set of filters, so that each gets the index that fits.
    let filters: [(&str, &str, Option<&dyn ToSql>); 5] = [
        (" AND workflow = :workflow", ":workflow", workflow.as_ref().map(|it| it as _)),
        (" AND status = :status", ":status", status.as_ref().map(|it| it as _)),
        (" AND parent = :parent", ":parent", parent.as_ref().map(|it| it as _)),
        (" AND created_at >= :from", ":from", from.as_ref().map(|it| it as _)),
        (" AND created_at < :to", ":to", to.as_ref().map(|it| it as _)),
    ];
    let mut given: Vec<(&str, &dyn ToSql)> =
        vec![(":tenant", &tenant), (":created_at", &created_at), (":id", &id), (":limit", &limit)];
    let mut wheres = String::new();
    for (clause, name, value) in filters {
        if let Some(value) = value {
            given.push((name, value));
            wheres.push_str(clause);
        }
    }
    let sql = format!(
        "SELECT {RUN_COLUMNS} FROM run WHERE tenant = :tenant AND (created_at, id) < (:created_at, :id){wheres}
         ORDER BY created_at DESC, id DESC LIMIT :limit"
    );
    select(connection, &sql, given.as_slice(), run_row)
}

pub(super) fn lookup_key(connection: &Connection, key: &IdempotencyKey, now: Timestamp) -> Result<Option<KeyFound>> {
    let sql = "SELECT idempotency.run, idempotency.body, coalesce(run.created_at, batch.created_at),
                   coalesce(run.workflow, batch.workflow), batch.id IS NOT NULL
               FROM idempotency LEFT JOIN run ON run.id = idempotency.run LEFT JOIN batch ON batch.id = idempotency.run
               WHERE (run.id IS NOT NULL OR batch.id IS NOT NULL) AND idempotency.tenant = :tenant AND route = :route AND key = :key AND idempotency.created_at > :after";
    let after = now.as_millis().saturating_sub(IDEMPOTENCY_TTL.as_millis() as i64);
    let given = named_params! {":tenant": &*key.tenant.0, ":route": &*key.route, ":key": &*key.key, ":after": after};
    let found = select(connection, sql, given, |row| {
        Ok(KeyFound {
            started: match column(row, 4)? {
                true => Started::Batch(BatchId(column_id(row, 0)?)),
                false => Started::Run(RunId(column_id(row, 0)?)),
            },
            body: Digest(column(row, 1)?),
            created_at: Timestamp::from_millis(column(row, 2)?),
            workflow: WorkflowId(column_id(row, 3)?),
        })
    })?;
    Ok(found.into_iter().next())
}

/// Removes keys that are too old; runs in the writer's transaction.
pub(super) fn expire_keys(connection: &Connection, now: Timestamp, limit: usize) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM idempotency WHERE (tenant, route, key) IN
             (SELECT tenant, route, key FROM idempotency WHERE created_at <= ?1 ORDER BY created_at, tenant, route, key LIMIT ?2)",
    )?;
    let until = now.as_millis().saturating_sub(IDEMPOTENCY_TTL.as_millis() as i64);
    statement.execute(params![until, page(limit)])
}

/// All rows of a query.
pub(super) fn select<T>(
    connection: &Connection,
    sql: &str,
    given: impl Params,
    read: impl Fn(&rusqlite::Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = prepare(connection, sql)?;
    let mut rows = statement.query(given).map_err(failed("read"))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed("read"))? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// A limit as the database takes it.
pub(super) fn page(limit: usize) -> i64 {
    limit.min(PAGE_ROWS_MAX) as i64
}

fn run_ids(connection: &Connection, sql: &str, given: impl Params) -> Result<Vec<RunId>> {
    select(connection, sql, given, |row| Ok(RunId(column_id(row, 0)?)))
}

fn decode(row: &Row) -> Result<Event> {
    codec::decode(row).map_err(|source| JournalError::Event { source })
}

fn prepare<'c>(connection: &'c Connection, sql: &str) -> Result<rusqlite::CachedStatement<'c>> {
    connection.prepare_cached(sql).map_err(failed("prepare a query"))
}
