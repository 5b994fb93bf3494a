//! Columns of the tables as the engine's types.

use std::borrow::Borrow;

use bytes::Bytes;
use heddle_core::batch::{BatchId, OfBatch};
use heddle_core::id::{EventSeq, RunId, Subject, TenantId, WorkflowId};
use heddle_core::partition::batch::{RunCreated, RunSummary, Snapshot};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use rusqlite::{Connection, params};

use super::open::failed;
use crate::journal::codec::{self, Row};
use crate::journal::columns::{keep_days, phase, status};
use crate::journal::{JournalError, RunRow};

pub(super) fn run_row(row: &rusqlite::Row<'_>) -> Result<RunRow, JournalError> {
    let wrong = |what| JournalError::Row { table: "run", what };
    let run = RunId(column_id(row, 0)?);
    let created = RunCreated {
        tenant: TenantId(column::<String>(row, 1)?.into()),
        subject: Subject(column::<String>(row, 2)?.into()),
        workflow: WorkflowId(column_id(row, 3)?),
        graph: Digest(column(row, 4)?),
        created_at: Timestamp::from_millis(column(row, 5)?),
        key: None,
        batch: of_batch(row)?,
        keep_days: keep_days(column::<i64>(row, 15)?).ok_or_else(|| wrong("how long it is kept"))?,
        parent: column::<Option<[u8; 16]>>(row, 16)?.map(|parent| RunId(u128::from_be_bytes(parent))),
    };
    let error = match column::<Option<Vec<u8>>>(row, 10)? {
        None => None,
        Some(bytes) => Some(codec::decode_run_error(&bytes).ok_or_else(|| wrong("its error"))?),
    };
    let summary = RunSummary {
        status: status(column(row, 6)?).ok_or_else(|| wrong("its status"))?,
        phase: phase(column(row, 7)?).ok_or_else(|| wrong("its phase"))?,
        next_due: column::<Option<i64>>(row, 8)?.map(Timestamp::from_millis),
        ended_at: column::<Option<i64>>(row, 9)?.map(Timestamp::from_millis),
        error,
    };
    let quarantine_reason = column::<Option<String>>(row, 11)?.map(Into::into);
    Ok(RunRow { run, created, summary, quarantine_reason })
}

/// The columns of a run's row that say of which batch it is.
fn of_batch(row: &rusqlite::Row<'_>) -> Result<Option<OfBatch>, JournalError> {
    let Some(batch) = column::<Option<[u8; 16]>>(row, 12)? else { return Ok(None) };
    let batch = BatchId(u128::from_be_bytes(batch));
    Ok(Some(OfBatch { batch, index: column(row, 13)?, input_index: column(row, 14)? }))
}

/// A row of `seq, kind, version, at, crc, head` and, if `with_body`, `body`.
pub(super) fn event_row(run: RunId, row: &rusqlite::Row<'_>, with_body: bool) -> Result<Row, JournalError> {
    Ok(Row {
        run,
        seq: EventSeq(column::<i64>(row, 0)? as u64),
        kind: column(row, 1)?,
        version: column(row, 2)?,
        at: Timestamp::from_millis(column(row, 3)?),
        crc: column::<i64>(row, 4)? as u64,
        head: column::<Vec<u8>>(row, 5)?.into(),
        body: if with_body { Some(column::<Vec<u8>>(row, 6)?.into()) } else { None },
    })
}

/// Appends rows of histories, one by one: in one transaction and with a kept statement an INSERT of many rows gains nothing.
pub(crate) fn append_events<R: Borrow<Row>>(
    connection: &Connection,
    rows: impl IntoIterator<Item = R>,
) -> rusqlite::Result<()> {
    let mut append = connection.prepare_cached(
        "INSERT INTO event (run, seq, kind, version, at, crc, head, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for row in rows {
        let row = row.borrow();
        append.execute(params![
            row.run.to_bytes(),
            row.seq.0 as i64,
            row.kind,
            row.version,
            row.at.as_millis(),
            row.crc as i64,
            row.head.as_ref(),
            row.body.as_deref().unwrap_or_default(),
        ])?;
    }
    Ok(())
}

/// A row of `seq, version, crc, state`. One with a bad checksum is as good as none: the events give the same (E19).
pub(super) fn snapshot(row: &rusqlite::Row<'_>) -> Result<Option<Snapshot>, JournalError> {
    let bytes = Bytes::from(column::<Vec<u8>>(row, 3)?);
    if crc32fast::hash(&bytes) != column::<u32>(row, 2)? {
        return Ok(None);
    }
    Ok(Some(Snapshot { seq: EventSeq(column::<i64>(row, 0)? as u64), version: column(row, 1)?, bytes }))
}

/// A column of a row.
pub(super) fn column<T: rusqlite::types::FromSql>(row: &rusqlite::Row<'_>, index: usize) -> Result<T, JournalError> {
    row.get(index).map_err(failed("read a column"))
}

/// A column of sixteen bytes: the number of an id.
pub(super) fn column_id(row: &rusqlite::Row<'_>, index: usize) -> Result<u128, JournalError> {
    Ok(u128::from_be_bytes(column(row, index)?))
}
