//! A partition's batch as a write: guard, runs, events, snapshots.

use heddle_core::id::{EventSeq, PartitionId, RunId};
use heddle_core::limits::IDEMPOTENCY_TTL;
use heddle_core::partition::batch::{
    Batch, Beside, CacheRow, CommitOutcome, KeyRow, Phase, ReviewRow, RunBatch, RunCreated, RunSummary, Snapshot,
};
use heddle_core::run::RunStatus;
use heddle_core::time::Timestamp;
use rusqlite::{Connection, ffi, params};

use super::rows::append_events;
use super::writer::{Kept, Write, execute, is_of_data};
use super::{beside, cached, reviews};
use crate::journal::artifacts::{self, Used};
use crate::journal::codec::{self, Row};
use crate::journal::columns::{error_columns, keep_days_number, phase_number, status_number};
use crate::journal::{Clock, Committed, Landed, NEW, clip, quarantine_error};

/// A batch, encoded by its caller: the writer's thread only binds and steps.
pub(super) struct BatchWrite {
    partition: PartitionId,
    epoch: i64,
    number: i64,
    runs: Vec<RunRows>,
    beside: Beside,
    bytes: usize,
    clock: Clock,
    /// When it was handed over: the end of runs that it must set aside.
    at: Timestamp,
    outcome: CommitOutcome,
    /// Called when the write is done, or dropped undone.
    landed: Option<Landed>,
}

struct RunRows {
    run: RunId,
    events: Vec<Row>,
    created: Option<RunCreated>,
    summary: Option<RunSummary>,
    snapshot: Option<Snapshot>,
    artifacts: Vec<Used>,
    reviews: Vec<ReviewRow>,
    cached: Vec<CacheRow>,
}

/// Why the rows of one run are not in the transaction.
enum RunFailure {
    /// They do not follow what is there.
    NotNext,
    /// What the database says.
    Database(rusqlite::Error),
}

impl BatchWrite {
    pub(super) fn new(batch: Batch, clock: Clock, landed: Landed) -> Self {
        let runs = batch.runs.into_iter().map(RunRows::encode).collect::<Vec<_>>();
        Self {
            partition: batch.partition,
            epoch: batch.epoch.0 as i64,
            number: batch.number.0 as i64,
            bytes: runs.iter().map(RunRows::bytes).sum(),
            runs,
            beside: batch.beside,
            at: clock(),
            clock,
            outcome: CommitOutcome::Unknown,
            landed: Some(landed),
        }
    }

    /// Takes the partition's turn: fails unless its row still has this batch's epoch.
    fn guard(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let mut statement =
            connection.prepare_cached("UPDATE partition SET last_batch = ?1 WHERE id = ?2 AND epoch = ?3")?;
        Ok(statement.execute(params![self.number, self.partition.0, self.epoch])? == 1)
    }

    fn refuse(&mut self) -> Kept {
        self.outcome = CommitOutcome::Refused;
        Kept::No
    }
}

impl Write for BatchWrite {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<Kept> {
        if !self.guard(connection)? {
            return Ok(self.refuse());
        }
        for run in &self.runs {
            match run.write(connection) {
                Ok(()) => {}
                Err(RunFailure::NotNext) => return Ok(self.refuse()),
                Err(RunFailure::Database(error)) => return Err(error),
            }
        }
        if !beside::write(connection, &self.beside)? {
            return Ok(self.refuse());
        }
        self.outcome = CommitOutcome::Applied { quarantined: Vec::new() };
        Ok(Kept::Yes)
    }

    /// Run by run: the run whose rows the database cannot hold is set aside alone (E5).
    fn apply_apart(&mut self, connection: &Connection, _: rusqlite::Error) -> rusqlite::Result<Kept> {
        if !self.guard(connection)? {
            return Ok(self.refuse());
        }
        let mut quarantined = Vec::new();
        for run in &self.runs {
            execute(connection, "SAVEPOINT one_run")?;
            match run.write(connection) {
                Ok(()) => {}
                Err(RunFailure::NotNext) => return Ok(self.refuse()),
                Err(RunFailure::Database(error)) if is_of_data(&error) => {
                    execute(connection, "ROLLBACK TO one_run")?;
                    run.set_aside(connection, &error, self.at)?;
                    quarantined.push(run.run);
                }
                Err(RunFailure::Database(error)) => return Err(error),
            }
            execute(connection, "RELEASE one_run")?;
        }
        if !beside::write(connection, &self.beside)? {
            return Ok(self.refuse());
        }
        self.outcome = CommitOutcome::Applied { quarantined };
        Ok(Kept::Yes)
    }

    fn done(mut self: Box<Self>, now: Timestamp) {
        if let Some(landed) = self.landed.take() {
            landed(Committed { outcome: std::mem::replace(&mut self.outcome, CommitOutcome::Unknown), now });
        }
    }
}

impl Drop for BatchWrite {
    /// The writer has gone, with this write or before it: whatever it applied may or may not be durable.
    fn drop(&mut self) {
        if let Some(landed) = self.landed.take() {
            landed(Committed { outcome: CommitOutcome::Unknown, now: (self.clock)() });
        }
    }
}

impl RunRows {
    fn encode(batch: RunBatch) -> Self {
        let events = batch.events.iter().map(|event| codec::encode(batch.run, event)).collect();
        let artifacts = artifacts::used(&batch.events);
        let RunBatch { run, created, summary, snapshot, reviews, cached, .. } = batch;
        Self { run, events, created, summary, snapshot, artifacts, reviews, cached }
    }

    fn bytes(&self) -> usize {
        self.events.iter().map(Row::bytes).sum::<usize>() + self.snapshot.as_ref().map_or(0, |it| it.bytes.len())
    }

    fn write(&self, connection: &Connection) -> Result<(), RunFailure> {
        if let Some(created) = &self.created {
            let summary = self.summary.as_ref().unwrap_or(&NEW);
            self.insert_run(connection, created, summary, None)?;
        } else if let Some(summary) = &self.summary {
            self.update_run(connection, summary)?;
        }
        self.append_events(connection)?;
        if let Some(snapshot) = &self.snapshot {
            self.replace_snapshot(connection, snapshot)?;
        }
        self.artifacts.iter().try_for_each(|used| self.refer(connection, used))?;
        cached::write(connection, self.run, &self.cached)?;
        if reviews::write(connection, self.run, &self.reviews)? { Ok(()) } else { Err(RunFailure::NotNext) }
    }

    /// The run's own row says whose artifact it is.
    fn refer(&self, connection: &Connection, used: &Used) -> Result<(), RunFailure> {
        connection
            .prepare_cached(
                "INSERT INTO artifact (tenant, digest, bytes, media_type, created_at, touched_at)
                 SELECT tenant, ?2, ?3, ?4, ?5, ?6 FROM run WHERE id = ?1
                 ON CONFLICT (tenant, digest) DO UPDATE SET created_at = min(created_at, excluded.created_at),
                     touched_at = max(touched_at, excluded.touched_at)",
            )?
            .execute(params![
                self.run.to_bytes(),
                used.digest.0,
                used.bytes as i64,
                &*used.media_type,
                used.from.as_millis(),
                used.to.as_millis(),
            ])?;
        connection
            .prepare_cached(
                "INSERT INTO artifact_reference (run, digest, tenant) SELECT id, ?2, tenant FROM run WHERE id = ?1
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![self.run.to_bytes(), used.digest.0])?;
        Ok(())
    }

    /// Appends to its history what follows it without a gap.
    fn append_events(&self, connection: &Connection) -> Result<(), RunFailure> {
        let Some(first) = self.events.first() else { return Ok(()) };
        let is_gapless = self.events.iter().zip(first.seq.0..).all(|(row, seq)| row.seq.0 == seq);
        if !is_gapless || first.seq == EventSeq(0) {
            return Err(RunFailure::NotNext);
        }
        if first.seq > EventSeq(1) {
            let mut last = connection.prepare_cached("SELECT 1 FROM event WHERE run = ?1 AND seq = ?2")?;
            if !last.exists(params![self.run.to_bytes(), first.seq.0 as i64 - 1])? {
                return Err(RunFailure::NotNext);
            }
        }
        Ok(append_events(connection, &self.events)?)
    }

    fn insert_run(
        &self,
        connection: &Connection,
        created: &RunCreated,
        summary: &RunSummary,
        quarantine_reason: Option<&str>,
    ) -> Result<(), RunFailure> {
        let (code, class) = error_columns(summary.error.as_ref());
        connection
            .prepare_cached(
                "INSERT INTO run (id, slot, tenant, subject, workflow, graph, created_at,
                                  status, phase, next_due, ended_at, error, quarantine_reason,
                                  batch, batch_index, input_index, error_code, error_class, keep_days, parent)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
            )?
            .execute(params![
                self.run.to_bytes(),
                self.run.slot().0,
                &*created.tenant.0,
                &*created.subject.0,
                created.workflow.to_bytes(),
                created.graph.0,
                created.created_at.as_millis(),
                status_number(summary.status),
                phase_number(summary.phase),
                summary.next_due.map(Timestamp::as_millis),
                summary.ended_at.map(Timestamp::as_millis),
                summary.error.as_ref().map(codec::encode_run_error),
                quarantine_reason,
                created.batch.map(|place| place.batch.to_bytes()),
                created.batch.map(|place| place.index),
                created.batch.map(|place| place.input_index),
                code,
                class,
                keep_days_number(created.keep_days),
                created.parent.map(RunId::to_bytes),
            ])?;
        let Some(key) = &created.key else { return Ok(()) };
        match insert_key(connection, key, created.created_at, self.run.to_bytes())? {
            true => Ok(()),
            false => Err(RunFailure::NotNext),
        }
    }

    fn update_run(&self, connection: &Connection, summary: &RunSummary) -> Result<(), RunFailure> {
        let (code, class) = error_columns(summary.error.as_ref());
        let updated = connection
            .prepare_cached(
                "UPDATE run SET status = ?2, phase = ?3, next_due = ?4, ended_at = ?5, error = ?6, error_code = ?7,
                     error_class = ?8
                 WHERE id = ?1",
            )?
            .execute(params![
                self.run.to_bytes(),
                status_number(summary.status),
                phase_number(summary.phase),
                summary.next_due.map(Timestamp::as_millis),
                summary.ended_at.map(Timestamp::as_millis),
                summary.error.as_ref().map(codec::encode_run_error),
                code,
                class,
            ])?;
        if updated == 1 { Ok(()) } else { Err(RunFailure::NotNext) }
    }

    fn replace_snapshot(&self, connection: &Connection, snapshot: &Snapshot) -> Result<(), RunFailure> {
        connection
            .prepare_cached(
                "INSERT INTO snapshot (run, seq, version, crc, state) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (run) DO UPDATE
                 SET seq = excluded.seq, version = excluded.version, crc = excluded.crc, state = excluded.state",
            )?
            .execute(params![
                self.run.to_bytes(),
                snapshot.seq.0 as i64,
                snapshot.version,
                crc32fast::hash(&snapshot.bytes),
                snapshot.bytes.as_ref(),
            ])?;
        Ok(())
    }

    /// Leaves a row that says why this run is not here, if the database holds at least that.
    fn set_aside(&self, connection: &Connection, error: &rusqlite::Error, now: Timestamp) -> rusqlite::Result<()> {
        let reason = format!("the database cannot hold its rows: {error}");
        tracing::error!(run = %self.run, %reason, "a run was quarantined");
        if quarantine(connection, self.run, &reason, now)? {
            return Ok(());
        }
        let Some(created) = &self.created else { return Ok(()) };
        let summary = RunSummary {
            status: RunStatus::Failed,
            phase: Phase::Closed,
            next_due: None,
            ended_at: Some(now),
            error: Some(quarantine_error()),
        };
        match self.insert_run(connection, created, &summary, Some(clip(&reason))) {
            Err(RunFailure::Database(error)) if !is_of_data(&error) => Err(error),
            Err(_) => execute(connection, "ROLLBACK TO one_run"),
            Ok(()) => Ok(()),
        }
    }
}

impl From<rusqlite::Error> for RunFailure {
    fn from(error: rusqlite::Error) -> Self {
        let is_taken = error.sqlite_error().is_some_and(|it| {
            matches!(it.extended_code, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
        });
        if is_taken { RunFailure::NotNext } else { RunFailure::Database(error) }
    }
}

/// A key that is alive belongs to another run or batch: then this one must not begin (E24).
pub(super) fn insert_key(
    connection: &Connection,
    row: &KeyRow,
    created_at: Timestamp,
    started: [u8; 16],
) -> rusqlite::Result<bool> {
    let inserted = connection
        .prepare_cached(
            "INSERT INTO idempotency (tenant, route, key, body, created_at, run) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (tenant, route, key) DO UPDATE
             SET body = excluded.body, created_at = excluded.created_at, run = excluded.run, reply = NULL
             WHERE idempotency.created_at <= excluded.created_at - ?7",
        )?
        .execute(params![
            &*row.key.tenant.0,
            &*row.key.route,
            &*row.key.key,
            row.body.0,
            created_at.as_millis(),
            started,
            IDEMPOTENCY_TTL.as_millis() as i64,
        ])?;
    Ok(inserted == 1)
}

/// Marks a run's row; its events stay as they are. A status that was final stays, too (I7).
pub(super) fn quarantine(connection: &Connection, run: RunId, reason: &str, now: Timestamp) -> rusqlite::Result<bool> {
    let marked = connection
        .prepare_cached(
            "UPDATE run SET phase = ?2, next_due = NULL, quarantine_reason = ?3,
                 status = CASE status WHEN ?4 THEN ?5 ELSE status END,
                 ended_at = CASE status WHEN ?4 THEN ?6 ELSE ended_at END,
                 error = CASE status WHEN ?4 THEN ?7 ELSE error END,
                 error_code = CASE status WHEN ?4 THEN ?8 ELSE error_code END,
                 error_class = CASE status WHEN ?4 THEN NULL ELSE error_class END
             WHERE id = ?1",
        )?
        .execute(params![
            run.to_bytes(),
            phase_number(Phase::Closed),
            clip(reason),
            status_number(RunStatus::Running),
            status_number(RunStatus::Failed),
            now.as_millis(),
            codec::encode_run_error(&quarantine_error()),
            &*quarantine_error().code,
        ])?;
    if marked == 1 {
        reviews::withdraw(connection, run, now)?;
    }
    Ok(marked == 1)
}
