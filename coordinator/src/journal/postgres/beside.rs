//! What a batch writes beside runs: batches of runs, and messages between slots. In the transaction of its runs.

use heddle_core::batch::{BatchCreated, BatchId, BatchState};
use heddle_core::id::Slot;
use heddle_core::limits::IDEMPOTENCY_TTL;
use heddle_core::outbox::{Message, MessageId};
use heddle_core::partition::batch::{BatchRow, Beside, KeyRow};
use heddle_core::time::Timestamp;
use sqlx::postgres::{PgConnection, PgQueryResult};

use super::fault::Trouble;
use crate::journal::codec;

type Result<T> = std::result::Result<T, Trouble>;

/// Writes all of it; nothing of the transaction may stay if it does not follow what is there.
pub(super) async fn write(connection: &mut PgConnection, beside: &Beside) -> Result<()> {
    for row in &beside.batches {
        write_batch(connection, row).await?;
    }
    if !beside.sent.is_empty() {
        send(connection, &beside.sent).await?;
    }
    if !beside.received.is_empty() {
        remove(connection, &beside.received).await?;
    }
    Ok(())
}

async fn write_batch(connection: &mut PgConnection, row: &BatchRow) -> Result<()> {
    let BatchRow { batch, created, state } = row;
    if let Some((created, key)) = created {
        insert(connection, *batch, created).await?;
        if let Some(key) = key {
            insert_key(connection, key, created.created_at, *batch).await?;
        }
    }
    update(connection, *batch, state).await?;
    if state.ended_at.is_some() {
        for sql in ["DELETE FROM batch_plan WHERE batch = $1", "DELETE FROM artifact_reference WHERE run = $1"] {
            sqlx::query(sql).bind(batch.to_bytes()).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

async fn insert(connection: &mut PgConnection, batch: BatchId, created: &BatchCreated) -> Result<()> {
    let sql = "INSERT INTO batch (id, slot, tenant, subject, workflow, graph, created_at, total, stride, started)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0) ON CONFLICT DO NOTHING";
    let query = sqlx::query(sql)
        .bind(batch.to_bytes())
        .bind(i64::from(batch.slot().0))
        .bind(&*created.tenant.0)
        .bind(&*created.subject.0)
        .bind(created.workflow.to_bytes())
        .bind(created.graph.0)
        .bind(created.created_at.as_millis())
        .bind(i64::from(created.total))
        .bind(i64::from(created.stride));
    exactly(1, &query.execute(&mut *connection).await?)?;
    let digests: Vec<[u8; 32]> = created.artifacts.iter().map(|digest| digest.0).collect();
    if !digests.is_empty() {
        let sql = "INSERT INTO artifact_reference (run, digest, tenant)
                   SELECT $1, given.digest, $3 FROM unnest($2::bytea[]) AS given (digest) ON CONFLICT DO NOTHING";
        let query = sqlx::query(sql).bind(batch.to_bytes()).bind(digests).bind(&*created.tenant.0);
        query.execute(connection).await?;
    }
    Ok(())
}

/// A key that is alive belongs to another run or batch: then this one must not begin (E24).
async fn insert_key(connection: &mut PgConnection, row: &KeyRow, at: Timestamp, batch: BatchId) -> Result<()> {
    let sql = "INSERT INTO idempotency (tenant, route, key, body, created_at, run) VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (tenant, route, key) DO UPDATE
               SET body = excluded.body, created_at = excluded.created_at, run = excluded.run, reply = NULL
               WHERE idempotency.created_at <= excluded.created_at - $7";
    let query = sqlx::query(sql)
        .bind(&*row.key.tenant.0)
        .bind(&*row.key.route)
        .bind(&*row.key.key)
        .bind(row.body.0)
        .bind(at.as_millis())
        .bind(batch.to_bytes())
        .bind(IDEMPOTENCY_TTL.as_millis() as i64);
    exactly(1, &query.execute(connection).await?)
}

async fn update(connection: &mut PgConnection, batch: BatchId, state: &BatchState) -> Result<()> {
    let sql = "UPDATE batch SET started = $2, cancelled_by = $3, cancelled_at = $4, ended_at = $5 WHERE id = $1";
    let query = sqlx::query(sql)
        .bind(batch.to_bytes())
        .bind(i64::from(state.started))
        .bind(state.cancelled.as_ref().map(|(by, _)| by.to_string()))
        .bind(state.cancelled.as_ref().map(|(_, at)| at.as_millis()))
        .bind(state.ended_at.map(Timestamp::as_millis));
    exactly(1, &query.execute(connection).await?)
}

async fn send(connection: &mut PgConnection, messages: &[Message]) -> Result<()> {
    let (mut sources, mut numbers, mut destinations) = (Vec::new(), Vec::new(), Vec::new());
    let (mut kinds, mut bodies) = (Vec::new(), Vec::new());
    for message in messages {
        let (kind, body) = codec::encode_message(&message.body);
        sources.push(i64::from(message.source.0));
        numbers.push(message.id.0 as i64);
        destinations.push(i64::from(message.destination.0));
        kinds.push(kind);
        bodies.push(body);
    }
    let sql = "INSERT INTO outbox (source, number, destination, kind, body)
               SELECT given.* FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[]) AS given
               ON CONFLICT DO NOTHING";
    let query = sqlx::query(sql).bind(sources).bind(numbers).bind(destinations).bind(kinds).bind(bodies);
    exactly(messages.len(), &query.execute(connection).await?)
}

async fn remove(connection: &mut PgConnection, messages: &[(Slot, MessageId)]) -> Result<()> {
    let (sources, numbers): (Vec<i64>, Vec<i64>) =
        messages.iter().map(|(source, message)| (i64::from(source.0), message.0 as i64)).unzip();
    let sql = "DELETE FROM outbox USING unnest($1::bigint[], $2::bigint[]) AS gone (source, number)
               WHERE outbox.source = gone.source AND outbox.number = gone.number";
    sqlx::query(sql).bind(sources).bind(numbers).execute(connection).await?;
    Ok(())
}

fn exactly(rows: usize, done: &PgQueryResult) -> Result<()> {
    if done.rows_affected() == rows as u64 { Ok(()) } else { Err(Trouble::NotNext) }
}
