//! The partition's row: ownership, dead starts, suspects (E4, E5).

use heddle_core::id::{BatchNumber, Epoch, PartitionId, RunId};
use heddle_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::journal::{Acquired, Claim, Owner, Suspect};

/// Raises the epoch and moves what the last start was reading to the suspects; `None` = there is no such partition, or
/// not of this owner.
pub(super) fn acquire(
    connection: &Connection,
    partition: PartitionId,
    owner: &Owner,
    claim: Claim,
    now: Timestamp,
) -> rusqlite::Result<Option<Acquired>> {
    // The right-hand sides are the values before.
    let mut statement = connection.prepare_cached(
        "UPDATE partition SET epoch = epoch + 1, coordinator = ?2, boot = ?3, starts = starts + 1,
             suspect = reading, reading = NULL,
             suspect_deaths = CASE WHEN reading IS NULL THEN 0 WHEN reading = suspect THEN suspect_deaths + 1 ELSE 1 END
         WHERE id = ?1 AND (?4 OR boot = ?3)
         RETURNING epoch, last_batch, starts, suspect, suspect_deaths",
    )?;
    statement
        .query_row(params![partition.0, &*owner.coordinator, owner.boot.0 as i64, claim == Claim::Take], |row| {
            let suspect = row.get::<_, Option<[u8; 16]>>(3)?.map(u128::from_be_bytes);
            let deaths = row.get(4)?;
            Ok(Acquired {
                epoch: Epoch(row.get::<_, i64>(0)? as u64),
                last_batch: BatchNumber(row.get::<_, i64>(1)? as u64),
                now,
                dead_starts: row.get::<_, u32>(2)?.saturating_sub(1),
                suspect: suspect.map(|run| Suspect { run: RunId(run), deaths }),
            })
        })
        .optional()
}

/// Forgets dead starts and suspects.
pub(super) fn loaded(connection: &Connection, partition: PartitionId, epoch: Epoch) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(
        "UPDATE partition SET starts = 0, reading = NULL, suspect = NULL, suspect_deaths = 0 WHERE id = ?1 AND epoch = ?2",
    )?;
    Ok(statement.execute(params![partition.0, epoch.0 as i64])? == 1)
}

/// Writes down which run is read next.
pub(super) fn note(
    connection: &Connection,
    partition: PartitionId,
    epoch: Epoch,
    run: RunId,
) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached("UPDATE partition SET reading = ?3 WHERE id = ?1 AND epoch = ?2")?;
    Ok(statement.execute(params![partition.0, epoch.0 as i64, run.to_bytes()])? == 1)
}

/// Whether the partition is still that load's.
pub(super) fn is_owned(connection: &Connection, partition: PartitionId, epoch: Epoch) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM partition WHERE id = ?1 AND epoch = ?2")?
        .exists(params![partition.0, epoch.0 as i64])
}
