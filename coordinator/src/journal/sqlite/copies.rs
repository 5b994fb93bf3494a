//! Finished runs in numbers, for measurements: copies of one that there is, under other ids. No coordinator may be running.

use std::path::Path;
use std::time::Duration;

use heddle_core::id::{RunId, SLOTS, Slot};
use heddle_core::time::Timestamp;
use rusqlite::{Connection, OpenFlags, params};

use super::open::{self, failed};
use super::rows::{append_events, event_row};
use crate::journal::codec::{self, Row};
use crate::journal::limits::BUSY_WAIT_MAX;
use crate::journal::{JournalError, system_clock};

/// Copies written in one transaction.
const PER_TRANSACTION: u32 = 5_000;

/// Copies the finished run that there is, as runs that ended one after the other, a millisecond apart, and the last so long ago.
/// Gives how many rows of histories each of them has.
///
/// # Errors
/// When a coordinator has the data, or there is no finished run.
pub fn copy_finished(file: &Path, copies: u32, ended_ago: Duration) -> Result<u64, JournalError> {
    let lock = open::lock(file)?;
    let options = super::Options { durability: super::Durability::Normal, ..super::Options::new(file) };
    let connection = open::writer(&options)?;
    let doing = "copy a run";
    let last = system_clock()().as_millis() - ended_ago.as_millis() as i64;
    let (run, history) = finished(&connection)?;
    let mut done = 0;
    while done < copies {
        let until = copies.min(done + PER_TRANSACTION);
        let write = || {
            let transaction = connection.unchecked_transaction()?;
            for number in done..until {
                let at = Timestamp::from_millis(last - i64::from(copies - number));
                copy(&transaction, (run, &history), at, number)?;
            }
            transaction.commit()
        };
        write().map_err(failed(doing))?;
        let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        moved.map_err(failed(doing))?;
        done = until;
    }
    drop(lock);
    Ok(history.len() as u64)
}

/// How many runs have been removed from a database, and how many rows of histories. Changes nothing.
///
/// # Errors
/// When the file is no database, or cannot be read.
pub fn removed(file: &Path) -> Result<(u64, u64), JournalError> {
    let connection =
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed("open its file"))?;
    connection.busy_timeout(BUSY_WAIT_MAX).map_err(failed("set itself up"))?;
    let sql = "SELECT count(*), coalesce(sum(events), 0) FROM tombstone";
    let count = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64));
    connection.query_row(sql, [], count).map_err(failed("count its tombstones"))
}

/// A finished run with its history.
fn finished(connection: &Connection) -> Result<(RunId, Vec<Row>), JournalError> {
    let doing = "find a finished run";
    let id = connection.query_row("SELECT id FROM run WHERE phase = 4 LIMIT 1", [], |row| row.get::<_, [u8; 16]>(0));
    let run = RunId(u128::from_be_bytes(id.map_err(failed(doing))?));
    let sql = "SELECT seq, kind, version, at, crc, head, body FROM event WHERE run = ?1 ORDER BY seq";
    let mut statement = connection.prepare(sql).map_err(failed(doing))?;
    let mut rows = statement.query([run.to_bytes()]).map_err(failed(doing))?;
    let mut history = Vec::new();
    while let Some(row) = rows.next().map_err(failed(doing))? {
        history.push(event_row(run, row, true)?);
    }
    Ok((run, history))
}

fn copy(connection: &Connection, (of, history): (RunId, &[Row]), at: Timestamp, number: u32) -> rusqlite::Result<()> {
    let run = RunId::new(at, Slot((number % u32::from(SLOTS)) as u16), number.into());
    connection
        .prepare_cached(
            "INSERT INTO run (id, slot, tenant, subject, workflow, graph, created_at, status, phase, ended_at)
             SELECT ?1, ?2, tenant, subject, workflow, graph, ?3, status, phase, ?3 FROM run WHERE id = ?4",
        )?
        .execute(params![run.to_bytes(), run.slot().0, at.as_millis(), of.to_bytes()])?;
    append_events(connection, history.iter().map(|row| codec::of_run(row, run)))
}
