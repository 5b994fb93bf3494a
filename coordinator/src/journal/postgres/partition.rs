//! The partition's row: ownership, dead starts, suspects (E4, E5). Each function is one statement.

use heddle_core::id::{BatchNumber, Epoch, PartitionId, RunId};
use heddle_core::partition::batch::Phase;
use heddle_core::run::RunStatus;
use heddle_core::time::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::fault::Trouble;
use super::rows::time;
use crate::journal::columns::{phase_number, status_number};
use crate::journal::{Acquired, Claim, JournalError, Owner, Suspect, clip, codec, quarantine_error};

/// Raises the epoch and moves what the last start was reading to the suspects; `None` = there is no such partition, or
/// not of this owner. It waits for a commit that holds the row, and whatever comes later finds another epoch.
pub(super) async fn acquire(
    connection: &mut PgConnection,
    partition: PartitionId,
    owner: &Owner,
    claim: Claim,
) -> Result<Option<Acquired>, Trouble> {
    // The right-hand sides are the values before.
    let sql = concat!(
        "UPDATE partition SET epoch = epoch + 1, coordinator = $2, boot = $3, starts = starts + 1,
             suspect = reading, reading = NULL,
             suspect_deaths = CASE WHEN reading IS NULL THEN 0 WHEN reading = suspect THEN suspect_deaths + 1 ELSE 1 END
         WHERE id = $1 AND ($4 OR boot = $3)
         RETURNING epoch, last_batch, starts, suspect, suspect_deaths, ",
        super::now!()
    );
    let query = sqlx::query(sql).bind(i64::from(partition.0)).bind(&*owner.coordinator).bind(owner.boot.0 as i64);
    let query = query.bind(claim == Claim::Take);
    let Some(row) = query.fetch_optional(connection).await? else { return Ok(None) };
    let wrong = |what| JournalError::Row { table: "partition", what };
    let count = |column, what| u32::try_from(row.try_get::<i64, _>(column)?).map_err(|_| Trouble::from(wrong(what)));
    let (starts, deaths) = (count(2, "its starts")?, count(4, "its deaths")?);
    let suspect = row.try_get::<Option<[u8; 16]>, _>(3)?.map(u128::from_be_bytes);
    Ok(Some(Acquired {
        epoch: Epoch(row.try_get::<i64, _>(0)? as u64),
        last_batch: BatchNumber(row.try_get::<i64, _>(1)? as u64),
        now: time(&row, 5)?,
        dead_starts: starts.saturating_sub(1),
        suspect: suspect.map(|run| Suspect { run: RunId(run), deaths }),
    }))
}

/// Forgets dead starts and suspects.
pub(super) async fn loaded(
    connection: &mut PgConnection,
    partition: PartitionId,
    epoch: Epoch,
) -> Result<bool, Trouble> {
    let sql = "UPDATE partition SET starts = 0, reading = NULL, suspect = NULL, suspect_deaths = 0
               WHERE id = $1 AND epoch = $2";
    let done = sqlx::query(sql).bind(i64::from(partition.0)).bind(epoch.0 as i64).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

/// Writes down which run is read next.
pub(super) async fn note(
    connection: &mut PgConnection,
    partition: PartitionId,
    epoch: Epoch,
    run: RunId,
) -> Result<bool, Trouble> {
    let sql = "UPDATE partition SET reading = $3 WHERE id = $1 AND epoch = $2";
    let query = sqlx::query(sql).bind(i64::from(partition.0)).bind(epoch.0 as i64).bind(run.to_bytes());
    Ok(query.execute(connection).await?.rows_affected() == 1)
}

/// Marks a run's row if the partition is still that load's; its events stay as they are. A status that was final stays,
/// too (I7). `now` = `None` takes the database's time.
pub(super) async fn quarantine(
    connection: &mut PgConnection,
    (partition, epoch): (PartitionId, Epoch),
    run: RunId,
    reason: &str,
    now: Option<Timestamp>,
) -> Result<bool, Trouble> {
    let sql = concat!(
        "WITH owned AS MATERIALIZED (SELECT 1 FROM partition WHERE id = $1 AND epoch = $2 FOR UPDATE),
         withdrawn AS (UPDATE review SET state = 3, closed_at = coalesce($8, ",
        super::now!(),
        ") WHERE run = $3 AND state = 1 AND EXISTS (SELECT 1 FROM owned))
         UPDATE run SET phase = $4, next_due = NULL, quarantine_reason = $5,
             status = CASE status WHEN $6 THEN $7 ELSE status END,
             ended_at = CASE status WHEN $6 THEN coalesce($8, ",
        super::now!(),
        ") ELSE ended_at END,
             error = CASE status WHEN $6 THEN $9 ELSE error END,
             error_code = CASE status WHEN $6 THEN $10 ELSE error_code END,
             error_class = CASE status WHEN $6 THEN NULL ELSE error_class END
         WHERE id = $3 AND EXISTS (SELECT 1 FROM owned)"
    );
    let query = sqlx::query(sql)
        .bind(i64::from(partition.0))
        .bind(epoch.0 as i64)
        .bind(run.to_bytes())
        .bind(phase_number(Phase::Closed))
        .bind(clip(reason).replace('\0', " "))
        .bind(status_number(RunStatus::Running))
        .bind(status_number(RunStatus::Failed))
        .bind(now.map(Timestamp::as_millis))
        .bind(codec::encode_run_error(&quarantine_error()))
        .bind(quarantine_error().code.to_string());
    Ok(query.execute(connection).await?.rows_affected() == 1)
}
