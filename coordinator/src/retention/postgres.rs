//! Retention on PostgreSQL. Rows that are removed are dead until the server has vacuumed.

use futures::FutureExt as _;
use heddle_core::id::{EventSeq, RunId, TenantId, WorkflowId};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor as _, Row as _};

use super::{Ended, PageSize, Place, Removed, RetentionRows, Tombstone};
use crate::auth::Tenant;
use crate::journal::columns::{keep_days_number, status, status_number};
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::postgres::{PostgresJournal, Trouble, bytes, id, time};
use crate::journal::{Answer, JournalError, codec};

impl RetentionRows for PostgresJournal {
    fn kept_days(&self) -> Answer<Vec<u16>> {
        self.ask("look for times to keep runs", |connection| {
            async move {
                // A walk from number to number along the index: runs are not counted.
                let sql = "WITH RECURSIVE kept (days) AS (
                               (SELECT min(keep_days) FROM run WHERE phase = 4 AND keep_days > 0) UNION ALL
                               SELECT (SELECT min(keep_days) FROM run WHERE phase = 4 AND keep_days > kept.days)
                               FROM kept WHERE kept.days IS NOT NULL)
                           SELECT days FROM kept WHERE days IS NOT NULL";
                let rows = sqlx::query(sql).fetch_all(connection).await?;
                let days = rows.iter().map(|row| Ok(u16::try_from(row.try_get::<i64, _>(0)?).unwrap_or(u16::MAX)));
                days.collect::<Result<Vec<u16>, Trouble>>()
            }
            .boxed()
        })
    }

    fn old_runs(
        &self,
        keep_days: Option<u16>,
        until: Timestamp,
        after: Option<Place>,
        limit: usize,
    ) -> Answer<Vec<Ended>> {
        self.ask("look for old runs", move |connection| {
            async move {
                let sql = "SELECT ended_at, id, EXISTS (SELECT 1 FROM batch WHERE batch.id = run.batch
                               AND (batch.ended_at IS NULL OR batch.ended_at > $2))
                               OR EXISTS (SELECT 1 FROM run AS invoking WHERE invoking.id = run.parent)
                           FROM run WHERE phase = 4 AND keep_days = $1 AND ended_at <= $2 AND (ended_at, id) > ($3, $4)
                           ORDER BY ended_at, id LIMIT $5";
                let (ended_at, run) =
                    after.map_or((i64::MIN, RunId(0)), |place| (place.ended_at.as_millis(), place.run));
                let query = sqlx::query(sql).bind(keep_days_number(keep_days)).bind(until.as_millis());
                let query = query.bind(ended_at).bind(run.to_bytes()).bind(limit.min(PAGE_ROWS_MAX) as i64);
                let read = |row: &PgRow| {
                    let place = Place { ended_at: time(row, 0)?, run: RunId(id(row, 1)?) };
                    Ok(Ended { place, is_needed: row.try_get(2)? })
                };
                query.fetch_all(connection).await?.iter().map(read).collect::<Result<Vec<_>, Trouble>>()
            }
            .boxed()
        })
    }

    fn remove(&self, runs: Vec<RunId>, now: Timestamp, page: PageSize) -> Answer<Removed> {
        self.ask("remove old runs", move |connection| {
            async move {
                connection.execute("BEGIN").await?;
                let removed = remove(connection, &runs, now, page.rows).await?;
                connection.execute("COMMIT").await?;
                Ok(removed)
            }
            .boxed()
        })
    }

    fn tombstone(&self, tenant: Tenant, run: RunId) -> Answer<Option<Tombstone>> {
        self.ask("read a tombstone", move |connection| {
            async move {
                let sql = "SELECT tenant, workflow, status, created_at, ended_at, events, head_hash, removed_at
                           FROM tombstone WHERE run = $1 AND tenant = $2";
                let query = sqlx::query(sql).bind(run.to_bytes()).bind(tenant.text());
                query.fetch_optional(connection).await?.map(|row| tombstone(run, &row)).transpose()
            }
            .boxed()
        })
    }

    fn forget_batches(&self, until: Timestamp, limit: usize) -> Answer<usize> {
        self.ask("remove old batches", move |connection| {
            async move {
                let sql = "DELETE FROM batch WHERE id IN (
                               SELECT id FROM batch WHERE ended_at <= $1
                               AND NOT EXISTS (SELECT 1 FROM run WHERE run.batch = batch.id) LIMIT $2)";
                let query = sqlx::query(sql).bind(until.as_millis()).bind(limit.min(PAGE_ROWS_MAX) as i64);
                Ok(query.execute(connection).await?.rows_affected() as usize)
            }
            .boxed()
        })
    }

    fn forget_tombstones(&self, until: Timestamp, limit: usize) -> Answer<usize> {
        self.ask("remove old tombstones", move |connection| {
            async move {
                let sql = "DELETE FROM tombstone WHERE run IN (
                               SELECT run FROM tombstone WHERE removed_at <= $1 AND rest = 0 ORDER BY removed_at, run LIMIT $2)";
                let query = sqlx::query(sql).bind(until.as_millis()).bind(limit.min(PAGE_ROWS_MAX) as i64);
                Ok(query.execute(connection).await?.rows_affected() as usize)
            }
            .boxed()
        })
    }
}

fn tombstone(run: RunId, row: &PgRow) -> Result<Tombstone, Trouble> {
    let wrong = || Trouble::from(JournalError::Row { table: "tombstone", what: "its status" });
    Ok(Tombstone {
        run,
        tenant: TenantId(row.try_get::<String, _>(0)?.into()),
        workflow: WorkflowId(id(row, 1)?),
        status: status(row.try_get(2)?).ok_or_else(wrong)?,
        created_at: time(row, 3)?,
        ended_at: time(row, 4)?,
        events: row.try_get::<i64, _>(5)? as u64,
        head_hash: Digest(row.try_get(6)?),
        removed_at: time(row, 7)?,
    })
}

async fn remove(
    connection: &mut PgConnection,
    runs: &[RunId],
    now: Timestamp,
    rows_max: usize,
) -> Result<Removed, Trouble> {
    let mut removed = Removed::default();
    let mut room = rows_max;
    while room > 0
        && let Some((run, tenant)) = first_rest(connection).await?
    {
        clear_rest(connection, (run, &tenant), now, &mut room, &mut removed.rows).await?;
    }
    let found = if room == 0 { Vec::new() } else { closed(connection, runs, now).await? };
    let (mut fitting, mut long) = (Vec::new(), None);
    removed.taken = if room == 0 { 0 } else { runs.len() };
    for (place, run) in runs.iter().enumerate() {
        let Some(stone) = found.iter().find(|stone| stone.run == *run) else { continue };
        let events = usize::try_from(stone.events).unwrap_or(usize::MAX);
        if events <= room {
            room -= events;
            fitting.push(stone);
            continue;
        }
        // The first that does not fit goes in pieces; those after it wait.
        removed.taken = place + 1;
        long = Some(stone);
        break;
    }
    removed.runs = fitting.len() + usize::from(long.is_some());
    removed.rows += fitting.iter().map(|stone| stone.events as usize).sum::<usize>();
    clear(connection, &fitting, now).await?;
    bury(connection, fitting.iter().map(|stone| (*stone, false)).chain(long.map(|stone| (stone, true)))).await?;
    if let Some(stone) = long {
        let run = (stone.run, &*stone.tenant.0);
        clear_rest(connection, run, now, &mut room, &mut removed.rows).await?;
    }
    removed.has_rest = first_rest(connection).await?.is_some();
    Ok(removed)
}

/// Those of these runs that are closed, as the stones that they get, in the order of their ids.
async fn closed(connection: &mut PgConnection, runs: &[RunId], now: Timestamp) -> Result<Vec<Tombstone>, Trouble> {
    let sql =
        "SELECT run.tenant, run.workflow, run.status, run.created_at, coalesce(run.ended_at, run.created_at), run.id,
                   coalesce(last.seq, 0), last.kind, last.version, last.at, last.crc, last.head
               FROM run LEFT JOIN LATERAL (SELECT seq, kind, version, at, crc, head FROM event
                   WHERE event.run = run.id ORDER BY event.seq DESC LIMIT 1) AS last ON true
               WHERE run.id = ANY($1) AND run.phase = 4 ORDER BY run.id FOR UPDATE OF run";
    let ids: Vec<[u8; 16]> = runs.iter().map(|run| run.to_bytes()).collect();
    let found = sqlx::query(sql).bind(ids).fetch_all(connection).await?;
    let wrong = |table, what| Trouble::from(JournalError::Row { table, what });
    let number = |row: &PgRow, column| {
        u16::try_from(row.try_get::<i64, _>(column)?).map_err(|_| wrong("event", "its kind or version"))
    };
    let stone = |row: &PgRow| {
        let run = RunId(id(row, 5)?);
        let seq = row.try_get::<i64, _>(6)? as u64;
        let last = match seq {
            0 => None,
            seq => Some(codec::Row {
                run,
                seq: EventSeq(seq),
                kind: number(row, 7)?,
                version: number(row, 8)?,
                at: time(row, 9)?,
                crc: row.try_get::<i64, _>(10)? as u64,
                head: bytes(row, 11)?,
                body: None,
            }),
        };
        Ok(Tombstone {
            run,
            tenant: TenantId(row.try_get::<String, _>(0)?.into()),
            workflow: WorkflowId(id(row, 1)?),
            status: status(row.try_get(2)?).ok_or_else(|| wrong("run", "its status"))?,
            created_at: time(row, 3)?,
            ended_at: time(row, 4)?,
            events: seq,
            head_hash: codec::head_hash(last.as_ref()),
            removed_at: now,
        })
    };
    found.iter().map(stone).collect()
}

/// Puts tombstones in the place of runs' rows; a batch goes with the last of its runs.
async fn bury(connection: &mut PgConnection, stones: impl Iterator<Item = (&Tombstone, bool)>) -> Result<(), Trouble> {
    let (mut runs, mut tenants, mut workflows) = (Vec::new(), Vec::new(), Vec::new());
    let (mut statuses, mut created, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    let (mut events, mut hashes, mut removed, mut rests) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (stone, has_rest) in stones {
        runs.push(stone.run.to_bytes());
        tenants.push(&*stone.tenant.0);
        workflows.push(stone.workflow.to_bytes());
        statuses.push(status_number(stone.status));
        created.push(stone.created_at.as_millis());
        ended.push(stone.ended_at.as_millis());
        events.push(stone.events as i64);
        hashes.push(stone.head_hash.0);
        removed.push(stone.removed_at.as_millis());
        rests.push(i64::from(has_rest));
    }
    let sql = "WITH buried AS (
                   INSERT INTO tombstone (run, tenant, workflow, status, created_at, ended_at, events, head_hash, removed_at, rest)
                   SELECT given.* FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[],
                       $7::bigint[], $8::bytea[], $9::bigint[], $10::bigint[]) AS given)
               DELETE FROM run WHERE id = ANY($1) RETURNING batch";
    let query = sqlx::query(sql).bind(&runs).bind(tenants).bind(workflows).bind(statuses).bind(created).bind(ended);
    let query = query.bind(events).bind(hashes).bind(removed).bind(rests);
    let gone = query.fetch_all(&mut *connection).await?;
    let batches = gone.iter().filter_map(|row| row.try_get::<Option<[u8; 16]>, _>(0).transpose());
    let mut batches = batches.collect::<Result<Vec<_>, _>>()?;
    batches.sort_unstable();
    batches.dedup();
    if !batches.is_empty() {
        let sql = "DELETE FROM batch WHERE id = ANY($1) AND ended_at IS NOT NULL
                   AND NOT EXISTS (SELECT 1 FROM run WHERE run.batch = batch.id)";
        sqlx::query(sql).bind(batches).execute(connection).await?;
    }
    Ok(())
}

/// Removes all of these runs but their own rows. Their artifacts are kept for another day: somebody may just be taking them
/// over, and who does it at this moment touches them, too.
async fn clear(connection: &mut PgConnection, stones: &[&Tombstone], now: Timestamp) -> Result<(), Trouble> {
    let runs: Vec<[u8; 16]> = stones.iter().map(|stone| stone.run.to_bytes()).collect();
    let sql = "WITH events AS (DELETE FROM event WHERE run = ANY($1)),
               reviews AS (DELETE FROM review WHERE run = ANY($1)),
               snapshots AS (DELETE FROM snapshot WHERE run = ANY($1)),
               families AS (
                   DELETE FROM lineage USING unnest($3::text[], $1) AS gone (tenant, run)
                   WHERE lineage.tenant = gone.tenant AND lineage.run = gone.run),
               released AS (DELETE FROM artifact_reference WHERE run = ANY($1) RETURNING tenant, digest),
               needed AS (
                   SELECT tenant, digest FROM artifact WHERE (tenant, digest) IN (SELECT tenant, digest FROM released)
                   ORDER BY tenant, digest FOR UPDATE SKIP LOCKED)
               UPDATE artifact SET touched_at = greatest(artifact.touched_at, $2) FROM needed
               WHERE artifact.tenant = needed.tenant AND artifact.digest = needed.digest";
    let tenants: Vec<&str> = stones.iter().map(|stone| &*stone.tenant.0).collect();
    sqlx::query(sql).bind(runs).bind(now.as_millis()).bind(tenants).execute(connection).await?;
    Ok(())
}

/// A run that is gone, and rows of it are not.
async fn first_rest(connection: &mut PgConnection) -> Result<Option<(RunId, String)>, Trouble> {
    let sql = "SELECT run, tenant FROM tombstone WHERE rest = 1 ORDER BY run LIMIT 1";
    let found = sqlx::query(sql).fetch_optional(connection).await?;
    found.map(|row| Ok((RunId(id(&row, 0)?), row.try_get(1)?))).transpose()
}

/// Removes as much of a run that is gone as there is room for, and says so if that was all.
async fn clear_rest(
    connection: &mut PgConnection,
    (run, tenant): (RunId, &str),
    now: Timestamp,
    room: &mut usize,
    rows: &mut usize,
) -> Result<(), Trouble> {
    let id = run.to_bytes();
    let limit = |room: usize| room.min(PAGE_ROWS_MAX) as i64;
    let events =
        "DELETE FROM event WHERE run = $1 AND seq IN (SELECT seq FROM event WHERE run = $1 ORDER BY seq LIMIT $2)";
    let gone =
        sqlx::query(events).bind(id).bind(limit(*room)).execute(&mut *connection).await?.rows_affected() as usize;
    (*room, *rows) = (room.saturating_sub(gone), *rows + gone);
    if *room == 0 {
        return Ok(());
    }
    let references = "WITH released AS (
                          DELETE FROM artifact_reference WHERE run = $1 AND digest IN (
                              SELECT digest FROM artifact_reference WHERE run = $1 LIMIT $2) RETURNING tenant, digest),
                      needed AS (
                          SELECT tenant, digest FROM artifact WHERE (tenant, digest) IN (SELECT tenant, digest FROM released)
                          ORDER BY tenant, digest FOR UPDATE SKIP LOCKED),
                      touched AS (
                          UPDATE artifact SET touched_at = greatest(artifact.touched_at, $3) FROM needed
                          WHERE artifact.tenant = needed.tenant AND artifact.digest = needed.digest)
                      SELECT count(*) FROM released";
    let query = sqlx::query(references).bind(id).bind(limit(*room)).bind(now.as_millis());
    let gone = query.fetch_one(&mut *connection).await?.try_get::<i64, _>(0)? as usize;
    *room = room.saturating_sub(gone);
    if *room == 0 {
        return Ok(());
    }
    let reviews = "DELETE FROM review WHERE id IN (SELECT id FROM review WHERE run = $1 LIMIT $2)";
    let gone =
        sqlx::query(reviews).bind(id).bind(limit(*room)).execute(&mut *connection).await?.rows_affected() as usize;
    *room = room.saturating_sub(gone);
    if *room == 0 {
        return Ok(());
    }
    let others = "WITH snapshots AS (DELETE FROM snapshot WHERE run = $1),
                  families AS (DELETE FROM lineage WHERE tenant = $2 AND run = $1)
                  UPDATE tombstone SET rest = 0 WHERE run = $1";
    sqlx::query(others).bind(id).bind(tenant).execute(connection).await?;
    Ok(())
}
