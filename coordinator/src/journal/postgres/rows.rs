//! Columns of the tables as the engine's types.

use bytes::Bytes;
use heddle_core::batch::{BatchId, OfBatch};
use heddle_core::id::{EventSeq, RunId, Subject, TenantId, WorkflowId};
use heddle_core::partition::batch::{RunCreated, RunSummary, Snapshot};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::fault::Trouble;
use crate::journal::codec::{self, Row};
use crate::journal::columns::{keep_days, phase, status};
use crate::journal::{JournalError, RunRow};

/// A row of [`crate::journal::columns::RUN_COLUMNS`].
pub(super) fn run_row(row: &PgRow) -> Result<RunRow, Trouble> {
    let wrong = |what| JournalError::Row { table: "run", what };
    let created = RunCreated {
        tenant: TenantId(row.try_get::<String, _>(1)?.into()),
        subject: Subject(row.try_get::<String, _>(2)?.into()),
        workflow: WorkflowId(id(row, 3)?),
        graph: Digest(row.try_get(4)?),
        created_at: time(row, 5)?,
        key: None,
        batch: of_batch(row)?,
        keep_days: keep_days(row.try_get(15)?).ok_or_else(|| wrong("how long it is kept"))?,
        parent: row.try_get::<Option<[u8; 16]>, _>(16)?.map(|parent| RunId(u128::from_be_bytes(parent))),
    };
    let error = match row.try_get::<Option<&[u8]>, _>(10)? {
        None => None,
        Some(bytes) => Some(codec::decode_run_error(bytes).ok_or_else(|| wrong("its error"))?),
    };
    let summary = RunSummary {
        status: status(row.try_get(6)?).ok_or_else(|| wrong("its status"))?,
        phase: phase(row.try_get(7)?).ok_or_else(|| wrong("its phase"))?,
        next_due: row.try_get::<Option<i64>, _>(8)?.map(Timestamp::from_millis),
        ended_at: row.try_get::<Option<i64>, _>(9)?.map(Timestamp::from_millis),
        error,
    };
    let quarantine_reason = row.try_get::<Option<String>, _>(11)?.map(Into::into);
    Ok(RunRow { run: RunId(id(row, 0)?), created, summary, quarantine_reason })
}

/// The columns of a run's row that say of which batch it is.
fn of_batch(row: &PgRow) -> Result<Option<OfBatch>, Trouble> {
    let Some(batch) = row.try_get::<Option<[u8; 16]>, _>(12)? else { return Ok(None) };
    let batch = BatchId(u128::from_be_bytes(batch));
    let (index, input_index) = (index(row, 13, "run")?, index(row, 14, "run")?);
    Ok(Some(OfBatch { batch, index, input_index }))
}

/// A column that counts runs of a batch.
pub(crate) fn index(row: &PgRow, column: usize, table: &'static str) -> Result<u32, Trouble> {
    let found: i64 = row.try_get(column)?;
    u32::try_from(found).map_err(|_| Trouble::Found(JournalError::Row { table, what: "its place in a batch" }))
}

/// A row of `seq, kind, version, at, crc, head` and, if `with_body`, `body`.
pub(super) fn event_row(run: RunId, row: &PgRow, with_body: bool) -> Result<Row, Trouble> {
    let number = |column, what| {
        let found: i64 = row.try_get(column)?;
        u16::try_from(found).map_err(|_| Trouble::Found(JournalError::Row { table: "event", what }))
    };
    Ok(Row {
        run,
        seq: EventSeq(row.try_get::<i64, _>(0)? as u64),
        kind: number(1, "its kind")?,
        version: number(2, "its version")?,
        at: time(row, 3)?,
        crc: row.try_get::<i64, _>(4)? as u64,
        head: bytes(row, 5)?,
        body: if with_body { Some(bytes(row, 6)?) } else { None },
    })
}

/// A row of `seq, version, crc, state`. One with a bad checksum is as good as none: the events give the same (E19).
pub(super) fn snapshot(row: &PgRow) -> Result<Option<Snapshot>, Trouble> {
    let bytes = bytes(row, 3)?;
    if i64::from(crc32fast::hash(&bytes)) != row.try_get::<i64, _>(2)? {
        return Ok(None);
    }
    let version = u32::try_from(row.try_get::<i64, _>(1)?);
    let version = version.map_err(|_| JournalError::Row { table: "snapshot", what: "its version" })?;
    Ok(Some(Snapshot { seq: EventSeq(row.try_get::<i64, _>(0)? as u64), version, bytes }))
}

/// A column of sixteen bytes: the number of an id.
pub(crate) fn id(row: &PgRow, column: usize) -> Result<u128, sqlx::Error> {
    Ok(u128::from_be_bytes(row.try_get(column)?))
}

/// A column of milliseconds since 1970.
pub(crate) fn time(row: &PgRow, column: usize) -> Result<Timestamp, sqlx::Error> {
    row.try_get(column).map(Timestamp::from_millis)
}

/// A column of bytes.
pub(crate) fn bytes(row: &PgRow, column: usize) -> Result<Bytes, sqlx::Error> {
    row.try_get::<Vec<u8>, _>(column).map(Bytes::from)
}
