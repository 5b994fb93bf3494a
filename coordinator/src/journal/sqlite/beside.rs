//! What a batch writes beside runs: batches of runs, and messages between slots.

use heddle_core::batch::{BatchCreated, BatchId, BatchState};
use heddle_core::outbox::Message;
use heddle_core::partition::batch::{BatchRow, Beside};
use heddle_core::time::Timestamp;
use rusqlite::{Connection, params};

use super::batch::insert_key;
use crate::journal::codec;

/// Writes all of it; false if it does not follow what is there.
pub(super) fn write(connection: &Connection, beside: &Beside) -> rusqlite::Result<bool> {
    for row in &beside.batches {
        if !write_batch(connection, row)? {
            return Ok(false);
        }
    }
    for message in &beside.sent {
        if !send(connection, message)? {
            return Ok(false);
        }
    }
    for (source, message) in &beside.received {
        let mut remove = connection.prepare_cached("DELETE FROM outbox WHERE source = ?1 AND number = ?2")?;
        remove.execute(params![source.0, message.0 as i64])?;
    }
    Ok(true)
}

fn write_batch(connection: &Connection, row: &BatchRow) -> rusqlite::Result<bool> {
    let BatchRow { batch, created, state } = row;
    if let Some((created, key)) = created {
        if !insert(connection, *batch, created)? {
            return Ok(false);
        }
        if let Some(key) = key
            && !insert_key(connection, key, created.created_at, batch.to_bytes())?
        {
            return Ok(false);
        }
    }
    if !update(connection, *batch, state)? {
        return Ok(false);
    }
    if state.ended_at.is_some() {
        for sql in ["DELETE FROM batch_plan WHERE batch = ?1", "DELETE FROM artifact_reference WHERE run = ?1"] {
            connection.prepare_cached(sql)?.execute(params![batch.to_bytes()])?;
        }
    }
    Ok(true)
}

fn insert(connection: &Connection, batch: BatchId, created: &BatchCreated) -> rusqlite::Result<bool> {
    let inserted = connection
        .prepare_cached(
            "INSERT INTO batch (id, slot, tenant, subject, workflow, graph, created_at, total, stride, started)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            batch.to_bytes(),
            batch.slot().0,
            &*created.tenant.0,
            &*created.subject.0,
            created.workflow.to_bytes(),
            created.graph.0,
            created.created_at.as_millis(),
            created.total,
            created.stride,
        ])?;
    for digest in &created.artifacts {
        connection
            .prepare_cached(
                "INSERT INTO artifact_reference (run, digest, tenant) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            )?
            .execute(params![batch.to_bytes(), digest.0, &*created.tenant.0])?;
    }
    Ok(inserted == 1)
}

fn update(connection: &Connection, batch: BatchId, state: &BatchState) -> rusqlite::Result<bool> {
    let updated = connection
        .prepare_cached(
            "UPDATE batch SET started = ?2, cancelled_by = ?3, cancelled_at = ?4, ended_at = ?5 WHERE id = ?1",
        )?
        .execute(params![
            batch.to_bytes(),
            state.started,
            state.cancelled.as_ref().map(|(by, _)| &*by.0),
            state.cancelled.as_ref().map(|(_, at)| at.as_millis()),
            state.ended_at.map(Timestamp::as_millis),
        ])?;
    Ok(updated == 1)
}

fn send(connection: &Connection, message: &Message) -> rusqlite::Result<bool> {
    let (kind, body) = codec::encode_message(&message.body);
    let inserted = connection
        .prepare_cached(
            "INSERT INTO outbox (source, number, destination, kind, body) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![message.source.0, message.id.0 as i64, message.destination.0, kind, body])?;
    Ok(inserted == 1)
}
