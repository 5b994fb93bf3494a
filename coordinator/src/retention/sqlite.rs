//! Retention on SQLite. What it frees is used again for what is written next: the file does not become smaller, nor larger.

use heddle_core::id::{EventSeq, RunId, TenantId, WorkflowId};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Ended, PageSize, Place, Removed, RetentionRows, Tombstone};
use crate::auth::Tenant;
use crate::journal::columns::{keep_days_number, status, status_number};
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Answer, JournalError, codec};
use crate::limits::RETENTION_PAGE_BYTES;
use crate::records::sqlite::{array, many, one, text};

impl RetentionRows for SqliteJournal {
    fn kept_days(&self) -> Answer<Vec<u16>> {
        self.read(|connection| {
            // A walk from number to number along the index: runs are not counted.
            let sql = "WITH RECURSIVE kept (days) AS (
                           SELECT min(keep_days) FROM run WHERE phase = 4 AND keep_days > 0 UNION ALL
                           SELECT (SELECT min(keep_days) FROM run WHERE phase = 4 AND keep_days > kept.days)
                           FROM kept WHERE kept.days IS NOT NULL)
                       SELECT days FROM kept WHERE days IS NOT NULL";
            many(connection, sql, [], |row| row.get(0))
        })
    }

    fn old_runs(
        &self,
        keep_days: Option<u16>,
        until: Timestamp,
        after: Option<Place>,
        limit: usize,
    ) -> Answer<Vec<Ended>> {
        self.read(move |connection| {
            let sql = "SELECT ended_at, id, EXISTS (SELECT 1 FROM batch WHERE batch.id = run.batch
                           AND (batch.ended_at IS NULL OR batch.ended_at > ?2))
                           OR EXISTS (SELECT 1 FROM run AS invoking WHERE invoking.id = run.parent)
                       FROM run WHERE phase = 4 AND keep_days = ?1 AND ended_at <= ?2 AND (ended_at, id) > (?3, ?4)
                       ORDER BY ended_at, id LIMIT ?5";
            let (ended_at, run) = after.map_or((i64::MIN, RunId(0)), |place| (place.ended_at.as_millis(), place.run));
            let limit = limit.min(PAGE_ROWS_MAX) as i64;
            let given = params![keep_days_number(keep_days), until.as_millis(), ended_at, run.to_bytes(), limit];
            many(connection, sql, given, |row| {
                let place = Place { ended_at: time(row, 0)?, run: id(row, 1)? };
                Ok(Ended { place, is_needed: row.get(2)? })
            })
        })
    }

    fn remove(&self, runs: Vec<RunId>, now: Timestamp, page: PageSize) -> Answer<Removed> {
        // It says what it weighs, so that whoever writes a row does not wait for it.
        let weight = page.bytes.min(RETENTION_PAGE_BYTES);
        self.write_bytes("remove old runs", weight, move |connection| remove(connection, &runs, now, page))
    }

    fn tombstone(&self, tenant: Tenant, run: RunId) -> Answer<Option<Tombstone>> {
        self.read(move |connection| {
            let sql = "SELECT tenant, workflow, status, created_at, ended_at, events, head_hash, removed_at
                       FROM tombstone WHERE run = ?1 AND tenant = ?2";
            let found = one(connection, sql, params![run.to_bytes(), tenant.text()], |row| {
                let Some(status) = status(row.get(2)?) else { return Ok(None) };
                Ok(Some(Tombstone {
                    run,
                    tenant: TenantId(text(row, 0)?),
                    workflow: WorkflowId(u128::from_be_bytes(array(row, 1)?)),
                    status,
                    created_at: time(row, 3)?,
                    ended_at: time(row, 4)?,
                    events: row.get::<_, i64>(5)? as u64,
                    head_hash: Digest(array(row, 6)?),
                    removed_at: time(row, 7)?,
                }))
            })?;
            found.map(|row| row.ok_or(JournalError::Row { table: "tombstone", what: "its status" })).transpose()
        })
    }

    fn forget_batches(&self, until: Timestamp, limit: usize) -> Answer<usize> {
        self.write("remove old batches", move |connection| {
            let mut statement = connection.prepare_cached(
                "DELETE FROM batch WHERE id IN (
                     SELECT id FROM batch WHERE ended_at <= ?1
                     AND NOT EXISTS (SELECT 1 FROM run WHERE run.batch = batch.id) LIMIT ?2)",
            )?;
            statement.execute(params![until.as_millis(), limit.min(PAGE_ROWS_MAX) as i64])
        })
    }

    fn forget_tombstones(&self, until: Timestamp, limit: usize) -> Answer<usize> {
        self.write("remove old tombstones", move |connection| {
            let mut statement = connection.prepare_cached(
                "DELETE FROM tombstone WHERE run IN (
                     SELECT run FROM tombstone WHERE removed_at <= ?1 AND rest = 0 ORDER BY removed_at, run LIMIT ?2)",
            )?;
            statement.execute(params![until.as_millis(), limit.min(PAGE_ROWS_MAX) as i64])
        })
    }
}

fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<RunId> {
    Ok(RunId(u128::from_be_bytes(array(row, column)?)))
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

/// What a page has room for still.
struct Room {
    rows: usize,
    bytes: usize,
    removed: usize,
}

impl Room {
    fn is_full(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    fn limit(&self) -> i64 {
        self.rows.min(PAGE_ROWS_MAX) as i64
    }

    fn take(&mut self, rows: usize) {
        self.rows = self.rows.saturating_sub(rows);
    }
}

fn remove(connection: &Connection, runs: &[RunId], now: Timestamp, page: PageSize) -> rusqlite::Result<Removed> {
    let mut room = Room { rows: page.rows, bytes: page.bytes, removed: 0 };
    let mut removed = Removed::default();
    while !room.is_full()
        && let Some((run, tenant)) = first_rest(connection)?
    {
        if clear(connection, run, &tenant, now, &mut room)? {
            connection.prepare_cached("UPDATE tombstone SET rest = 0 WHERE run = ?1")?.execute([run.to_bytes()])?;
        }
    }
    for run in runs {
        if room.is_full() {
            break;
        }
        removed.taken += 1;
        let Some(stone) = bury(connection, *run, now)? else { continue };
        removed.runs += 1;
        let is_gone = clear(connection, *run, &stone.tenant.0, now, &mut room)?;
        connection
            .prepare_cached(
                "INSERT INTO tombstone (run, tenant, workflow, status, created_at, ended_at, events, head_hash, removed_at, rest)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                run.to_bytes(),
                &*stone.tenant.0,
                stone.workflow.to_bytes(),
                status_number(stone.status),
                stone.created_at.as_millis(),
                stone.ended_at.as_millis(),
                stone.events as i64,
                stone.head_hash.0,
                stone.removed_at.as_millis(),
                i64::from(!is_gone),
            ])?;
    }
    removed.rows = room.removed;
    removed.has_rest = first_rest(connection)?.is_some();
    Ok(removed)
}

/// A run that is gone, and rows of it are not.
fn first_rest(connection: &Connection) -> rusqlite::Result<Option<(RunId, String)>> {
    let mut rest =
        connection.prepare_cached("SELECT run, tenant FROM tombstone WHERE rest = 1 ORDER BY run LIMIT 1")?;
    rest.query_row([], |row| Ok((id(row, 0)?, row.get(1)?))).optional()
}

/// Takes a closed run's row, and its batch's with the last one.
fn bury(connection: &Connection, run: RunId, now: Timestamp) -> rusqlite::Result<Option<Tombstone>> {
    let mut read = connection.prepare_cached(
        "SELECT tenant, workflow, status, created_at, coalesce(ended_at, created_at), batch FROM run WHERE id = ?1 AND phase = 4",
    )?;
    let found = read.query_row([run.to_bytes()], |row| {
        let stone = Tombstone {
            run,
            tenant: TenantId(text(row, 0)?),
            workflow: WorkflowId(u128::from_be_bytes(array(row, 1)?)),
            status: status(row.get(2)?).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, 0))?,
            created_at: time(row, 3)?,
            ended_at: time(row, 4)?,
            events: 0,
            head_hash: codec::head_hash(None),
            removed_at: now,
        };
        Ok((stone, row.get::<_, Option<[u8; 16]>>(5)?))
    });
    let Some((mut stone, batch)) = found.optional()? else { return Ok(None) };
    let mut last = connection.prepare_cached(
        "SELECT seq, kind, version, at, crc, head FROM event WHERE run = ?1 ORDER BY seq DESC LIMIT 1",
    )?;
    let last = last.query_row([run.to_bytes()], |row| {
        Ok(codec::Row {
            run,
            seq: EventSeq(row.get::<_, i64>(0)? as u64),
            kind: row.get(1)?,
            version: row.get(2)?,
            at: time(row, 3)?,
            crc: row.get::<_, i64>(4)? as u64,
            head: row.get::<_, Vec<u8>>(5)?.into(),
            body: None,
        })
    });
    if let Some(last) = last.optional()? {
        (stone.events, stone.head_hash) = (last.seq.0, codec::head_hash(Some(&last)));
    }
    connection.prepare_cached("DELETE FROM run WHERE id = ?1")?.execute([run.to_bytes()])?;
    if let Some(batch) = batch {
        connection
            .prepare_cached(
                "DELETE FROM batch WHERE id = ?1 AND ended_at IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM run WHERE run.batch = ?1)",
            )?
            .execute([batch])?;
    }
    Ok(Some(stone))
}

/// Removes as much of a run that is gone as there is room for; whether that was all. Its artifacts are kept for another day:
/// somebody may just be taking them over.
fn clear(connection: &Connection, run: RunId, tenant: &str, now: Timestamp, room: &mut Room) -> rusqlite::Result<bool> {
    let run = run.to_bytes();
    let mut lengths = connection
        .prepare_cached("SELECT seq, length(head) + length(body) FROM event WHERE run = ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = lengths.query(params![run, room.limit()])?;
    let (mut last, mut count) = (None, 0);
    while !room.is_full()
        && let Some(row) = rows.next()?
    {
        last = Some(row.get::<_, i64>(0)?);
        room.bytes = room.bytes.saturating_sub(row.get::<_, i64>(1)? as usize);
        room.take(1);
        count += 1;
    }
    drop(rows);
    if let Some(last) = last {
        connection.prepare_cached("DELETE FROM event WHERE run = ?1 AND seq <= ?2")?.execute(params![run, last])?;
        room.removed += count;
    }
    if room.is_full() {
        return Ok(false);
    }
    let mut references = connection.prepare_cached("SELECT digest FROM artifact_reference WHERE run = ?1 LIMIT ?2")?;
    let digests = references.query_map(params![run, room.limit()], |row| array::<32>(row, 0))?;
    for digest in digests.collect::<rusqlite::Result<Vec<_>>>()? {
        connection
            .prepare_cached("UPDATE artifact SET touched_at = max(touched_at, ?3) WHERE tenant = ?1 AND digest = ?2")?
            .execute(params![tenant, digest, now.as_millis()])?;
        connection
            .prepare_cached("DELETE FROM artifact_reference WHERE run = ?1 AND digest = ?2")?
            .execute(params![run, digest])?;
        room.take(1);
    }
    if room.is_full() {
        return Ok(false);
    }
    let reviews = connection
        .prepare_cached("DELETE FROM review WHERE id IN (SELECT id FROM review WHERE run = ?1 LIMIT ?2)")?
        .execute(params![run, room.limit()])?;
    room.take(reviews);
    if room.is_full() {
        return Ok(false);
    }
    connection.prepare_cached("DELETE FROM snapshot WHERE run = ?1")?.execute([run])?;
    connection.prepare_cached("DELETE FROM lineage WHERE tenant = ?1 AND run = ?2")?.execute(params![tenant, run])?;
    Ok(true)
}
