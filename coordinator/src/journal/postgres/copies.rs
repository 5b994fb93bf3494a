//! Finished runs in numbers, for measurements: copies of one that there is, under other ids. No coordinator may be running.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use heddle_core::id::{RunId, SLOTS, Slot};
use heddle_core::time::Timestamp;
use sqlx::postgres::PgConnection;
use sqlx::{Executor as _, Row as _};

use super::rows::{event_row, id};
use super::{PostgresJournal, Trouble};
use crate::journal::codec::{self, Row};
use crate::journal::{Journal as _, JournalError};

/// Copies written in one transaction.
const PER_TRANSACTION: u32 = 5_000;

impl PostgresJournal {
    /// Copies the finished run that there is, as runs that ended one after the other, a millisecond apart, and the last so long
    /// ago. Gives how many rows of histories each of them has.
    ///
    /// # Errors
    /// When the database does not answer, or there is no finished run.
    pub async fn copy_finished(&self, copies: u32, ended_ago: Duration) -> Result<u64, JournalError> {
        let (of, history) = self.ask("find a finished run", |connection| finished(connection).boxed()).await?;
        let history: Arc<[Row]> = history.into();
        let last = self.now().await?.as_millis() - ended_ago.as_millis() as i64;
        for first in (0..copies).step_by(PER_TRANSACTION as usize) {
            let numbers = first..copies.min(first + PER_TRANSACTION);
            let runs = numbers.map(|number| {
                let at = Timestamp::from_millis(last - i64::from(copies - number));
                (RunId::new(at, Slot((number % u32::from(SLOTS)) as u16), number.into()), at)
            });
            let (runs, history) = (runs.collect::<Vec<_>>(), Arc::clone(&history));
            self.ask("copy a run", move |connection| copy(connection, of, history, runs).boxed()).await?;
        }
        // What the server would do by and by: else it does so while something is measured.
        self.ask("settle the copies of a run", |connection| settle(connection).boxed()).await?;
        Ok(history.len() as u64)
    }

    /// How many runs have been removed from the database, and how many rows of histories.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn removed(&self) -> Result<(u64, u64), JournalError> {
        self.count("SELECT count(*), coalesce(sum(events), 0)::bigint FROM tombstone").await
    }

    /// How many bytes the database has on the server's disk.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn bytes_on_disk(&self) -> Result<u64, JournalError> {
        let counted = self.count("SELECT pg_database_size(current_database()), 0::bigint").await;
        counted.map(|(bytes, _)| bytes)
    }

    async fn count(&self, sql: &'static str) -> Result<(u64, u64), JournalError> {
        let counted = self.ask("count its rows", move |connection| {
            async move {
                let row = sqlx::query(sql).fetch_one(connection).await?;
                Ok((row.try_get::<i64, _>(0)? as u64, row.try_get::<i64, _>(1)? as u64))
            }
            .boxed()
        });
        counted.await
    }
}

/// A finished run with its history.
async fn finished(connection: &mut PgConnection) -> Result<(RunId, Vec<Row>), Trouble> {
    let found = sqlx::query("SELECT id FROM run WHERE phase = 4 LIMIT 1").fetch_one(&mut *connection).await?;
    let run = RunId(id(&found, 0)?);
    let sql = "SELECT seq, kind, version, at, crc, head, body FROM event WHERE run = $1 ORDER BY seq";
    let rows = sqlx::query(sql).bind(run.to_bytes()).fetch_all(connection).await?;
    Ok((run, rows.iter().map(|row| event_row(run, row, true)).collect::<Result<_, _>>()?))
}

async fn copy(
    connection: &mut PgConnection,
    of: RunId,
    history: Arc<[Row]>,
    runs: Vec<(RunId, Timestamp)>,
) -> Result<(), Trouble> {
    connection.execute("BEGIN").await?;
    let ids: Vec<[u8; 16]> = runs.iter().map(|(run, _)| run.to_bytes()).collect();
    let slots: Vec<i64> = runs.iter().map(|(run, _)| i64::from(run.slot().0)).collect();
    let ended: Vec<i64> = runs.iter().map(|(_, at)| at.as_millis()).collect();
    let sql = "INSERT INTO run (id, slot, tenant, subject, workflow, graph, created_at, status, phase, ended_at)
               SELECT given.id, given.slot, tenant, subject, workflow, graph, given.at, status, phase, given.at
               FROM run, unnest($2::bytea[], $3::bigint[], $4::bigint[]) AS given (id, slot, at) WHERE run.id = $1";
    let query = sqlx::query(sql).bind(of.to_bytes()).bind(ids).bind(slots).bind(ended);
    query.execute(&mut *connection).await?;
    let rows: Vec<Row> = runs.iter().flat_map(|(run, _)| history.iter().map(|row| codec::of_run(row, *run))).collect();
    let sql = "INSERT INTO event (run, seq, kind, version, at, crc, head, body)
               SELECT given.* FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                   $7::bytea[], $8::bytea[]) AS given";
    let numbers = |number: fn(&Row) -> i64| rows.iter().map(number).collect::<Vec<i64>>();
    let query = sqlx::query(sql)
        .bind(rows.iter().map(|row| row.run.to_bytes()).collect::<Vec<_>>())
        .bind(numbers(|row| row.seq.0 as i64))
        .bind(numbers(|row| row.kind.into()))
        .bind(numbers(|row| row.version.into()))
        .bind(numbers(|row| row.at.as_millis()))
        .bind(numbers(|row| row.crc as i64))
        .bind(rows.iter().map(|row| row.head.as_ref()).collect::<Vec<&[u8]>>())
        .bind(rows.iter().map(|row| row.body.as_deref().unwrap_or_default()).collect::<Vec<&[u8]>>());
    query.execute(&mut *connection).await?;
    connection.execute("COMMIT").await?;
    Ok(())
}

async fn settle(connection: &mut PgConnection) -> Result<(), Trouble> {
    connection.execute("VACUUM ANALYZE run").await?;
    connection.execute("VACUUM ANALYZE event").await?;
    Ok(())
}
