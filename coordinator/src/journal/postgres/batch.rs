//! A partition's batch as one statement: guard, runs, keys, events, snapshots.
//!
//! Rows travel as one array per column. A statement does not see what it writes itself, so what a batch says twice of one
//! run is folded together first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heddle_core::id::{BatchNumber, Epoch, EventSeq, PartitionId, RunId};
use heddle_core::limits::IDEMPOTENCY_TTL;
use heddle_core::partition::batch::{
    Batch, Beside, CacheRow, KeyRow, Phase, ReviewRow, RunBatch, RunCreated, RunSummary, Snapshot,
};
use heddle_core::run::RunStatus;
use heddle_core::run::event::Event;
use heddle_core::time::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::fault::Trouble;
use super::rows::time;
use crate::journal::artifacts::{self, Used};
use crate::journal::codec::{self, Row};
use crate::journal::columns::{error_columns, keep_days_number, phase_number, status_number};
use crate::journal::{NEW, clip, quarantine_error};

/// The guard is the partition's row: an older epoch finds no row, and then nothing is written; so it is if a run or a key
/// does not follow what is there. `checked` reads what was committed before, which is all there is: whoever may write to
/// these runs has this epoch and one batch on its way.
///
/// A key that another writer took meanwhile, or a run that vanished, shows in the counts only; the division then fails, and
/// with it everything.
pub(super) const COMMIT: &str = concat!(
    "WITH checked AS MATERIALIZED (SELECT
         NOT EXISTS (SELECT 1 FROM unnest($4::bytea[], $5::bigint[]) AS first (run, seq)
             WHERE first.seq <> 1 + coalesce(
                 (SELECT event.seq FROM event WHERE event.run = first.run ORDER BY event.seq DESC LIMIT 1), 0))
         AND NOT EXISTS (SELECT 1 FROM unnest($6::bytea[]) AS fresh (id)
             WHERE (SELECT run.id FROM run WHERE run.id = fresh.id LIMIT 1) IS NOT NULL)
         AND NOT EXISTS (SELECT 1 FROM unnest($18::bytea[]) AS known (id)
             WHERE (SELECT run.id FROM run WHERE run.id = known.id LIMIT 1) IS NULL)
         AND NOT EXISTS (SELECT 1 FROM unnest($24::text[], $25::text[], $26::text[], $28::bigint[])
                 AS given (tenant, route, key, created_at)
             WHERE (SELECT kept.created_at FROM idempotency AS kept WHERE kept.tenant = given.tenant
                 AND kept.route = given.route AND kept.key = given.key LIMIT 1) > given.created_at - $30)
         AS follows),
     guard AS (
         UPDATE partition SET last_batch = $2
         WHERE id = $1 AND epoch = $3 AND (SELECT follows FROM checked) RETURNING id),
     begun AS (
         INSERT INTO run (id, slot, tenant, subject, workflow, graph, created_at,
                          status, phase, next_due, ended_at, error, quarantine_reason,
                          batch, batch_index, input_index, error_code, error_class, keep_days, parent)
         SELECT given.* FROM guard, unnest($6::bytea[], $7::bigint[], $8::text[], $9::text[], $10::bytea[], $11::bytea[],
             $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bytea[], $41::text[],
             $51::bytea[], $52::bigint[], $53::bigint[], $54::text[], $55::bigint[], $58::bigint[],
             $59::bytea[]) AS given),
     changed AS (
         UPDATE run SET status = given.status, phase = given.phase, next_due = given.next_due,
             ended_at = given.ended_at, error = given.error, error_code = given.error_code, error_class = given.error_class
         FROM guard, unnest($18::bytea[], $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[], $23::bytea[],
             $56::text[], $57::bigint[]) AS given (id, status, phase, next_due, ended_at, error, error_code, error_class)
         WHERE run.id = given.id RETURNING 1),
     keyed AS (
         INSERT INTO idempotency (tenant, route, key, body, created_at, run)
         SELECT given.* FROM guard, unnest($24::text[], $25::text[], $26::text[], $27::bytea[], $28::bigint[], $29::bytea[])
             AS given
         ON CONFLICT (tenant, route, key) DO UPDATE
         SET body = excluded.body, created_at = excluded.created_at, run = excluded.run, reply = NULL
         WHERE idempotency.created_at <= excluded.created_at - $30 RETURNING 1),
     appended AS (
         INSERT INTO event (run, seq, kind, version, at, crc, head, body)
         SELECT given.* FROM guard, unnest($31::bytea[], $32::bigint[], $33::bigint[], $34::bigint[], $35::bigint[],
             $36::bigint[], $37::bytea[], $38::bytea[]) AS given),
     replaced AS (
         INSERT INTO snapshot (run, seq, version, crc, state)
         SELECT given.* FROM guard, unnest($39::bytea[], $40::bigint[], $42::bigint[], $43::bigint[], $44::bytea[]) AS given
         ON CONFLICT (run) DO UPDATE
         SET seq = excluded.seq, version = excluded.version, crc = excluded.crc, state = excluded.state),
     used AS MATERIALIZED (
         SELECT given.run, coalesce(fresh.tenant, run.tenant) AS tenant, given.digest, given.bytes, given.media_type,
             given.created_at, given.touched_at
         FROM guard, unnest($45::bytea[], $46::bytea[], $47::bigint[], $48::text[], $49::bigint[], $50::bigint[])
             AS given (run, digest, bytes, media_type, created_at, touched_at)
         LEFT JOIN unnest($6::bytea[], $8::text[]) AS fresh (id, tenant) ON fresh.id = given.run
         LEFT JOIN run ON run.id = given.run),
     stored AS (
         INSERT INTO artifact (tenant, digest, bytes, media_type, created_at, touched_at)
         SELECT tenant, digest, min(bytes), min(media_type), min(created_at), max(touched_at) FROM used
         WHERE tenant IS NOT NULL GROUP BY tenant, digest ORDER BY tenant, digest
         ON CONFLICT (tenant, digest) DO UPDATE SET created_at = least(artifact.created_at, excluded.created_at),
             touched_at = greatest(artifact.touched_at, excluded.touched_at)),
     referred AS (
         INSERT INTO artifact_reference (run, digest, tenant)
         SELECT run, digest, tenant FROM used WHERE tenant IS NOT NULL ON CONFLICT DO NOTHING)
     SELECT EXISTS (SELECT 1 FROM guard), ",
    super::now!(),
    ", 1 / CASE WHEN NOT EXISTS (SELECT 1 FROM guard)
             OR (SELECT count(*) FROM changed) = cardinality($18::bytea[])
            AND (SELECT count(*) FROM keyed) = cardinality($24::text[]) THEN 1 ELSE 0 END"
);

/// How many parameters it has.
#[cfg(test)]
pub(super) const PARAMETERS: usize = 59;

/// A batch with one entry for each run.
pub(super) struct Rows {
    partition: PartitionId,
    epoch: Epoch,
    number: BatchNumber,
    pub(super) runs: Vec<RunRows>,
    pub(super) beside: Beside,
}

/// What a batch says of one run.
pub(super) struct RunRows {
    pub(super) run: RunId,
    pub(super) events: Vec<Row>,
    pub(super) created: Option<RunCreated>,
    pub(super) summary: Option<RunSummary>,
    pub(super) snapshot: Option<Snapshot>,
    artifacts: Vec<Used>,
    /// Not part of the statement.
    pub(super) reviews: Vec<ReviewRow>,
    /// Nor are these.
    pub(super) cached: Vec<CacheRow>,
    /// Why it is set aside, if this is all that is kept of it.
    pub(super) quarantine_reason: Option<String>,
}

impl Rows {
    /// `None` = the batch does not follow from itself.
    pub(super) fn fold(batch: Batch) -> Option<Self> {
        let mut runs = Vec::<RunRows>::new();
        let mut places = BTreeMap::new();
        let mut keys = BTreeSet::new();
        for given in batch.runs {
            let key = given.created.as_ref().and_then(|created| created.key.as_ref());
            if key.is_some_and(|row| !keys.insert(row.key.clone())) {
                return None;
            }
            let place = *places.entry(given.run).or_insert_with(|| {
                runs.push(RunRows::new(given.run));
                runs.len() - 1
            });
            runs[place].add(given)?;
        }
        Some(Self { partition: batch.partition, epoch: batch.epoch, number: batch.number, runs, beside: batch.beside })
    }

    /// Whether there is more to write than one statement holds.
    pub(super) fn is_more_than_runs(&self) -> bool {
        !self.beside.is_empty() || self.runs.iter().any(|run| !run.reviews.is_empty() || !run.cached.is_empty())
    }

    /// Whose row guards it.
    pub(super) fn guard(&self) -> (PartitionId, Epoch) {
        (self.partition, self.epoch)
    }

    /// Writes these runs, or none of them; gives the time if they are written.
    pub(super) async fn write(&self, connection: &mut PgConnection, runs: &[RunRows]) -> Result<Timestamp, Trouble> {
        let columns = Columns::of(runs);
        let row = sqlx::query(COMMIT)
            .bind(i64::from(self.partition.0))
            .bind(self.number.0 as i64)
            .bind(self.epoch.0 as i64)
            .bind(columns.first_runs)
            .bind(columns.first_seqs)
            .bind(columns.begun.runs)
            .bind(columns.begun.slots)
            .bind(columns.begun.tenants)
            .bind(columns.begun.subjects)
            .bind(columns.begun.workflows)
            .bind(columns.begun.graphs)
            .bind(columns.begun.created_at)
            .bind(columns.begun.summaries.statuses)
            .bind(columns.begun.summaries.phases)
            .bind(columns.begun.summaries.next_due)
            .bind(columns.begun.summaries.ended_at)
            .bind(columns.begun.summaries.errors)
            .bind(columns.changed_runs)
            .bind(columns.changed.statuses)
            .bind(columns.changed.phases)
            .bind(columns.changed.next_due)
            .bind(columns.changed.ended_at)
            .bind(columns.changed.errors)
            .bind(columns.keys.tenants)
            .bind(columns.keys.routes)
            .bind(columns.keys.keys)
            .bind(columns.keys.bodies)
            .bind(columns.keys.created_at)
            .bind(columns.keys.runs)
            .bind(IDEMPOTENCY_TTL.as_millis() as i64)
            .bind(columns.events.runs)
            .bind(columns.events.seqs)
            .bind(columns.events.kinds)
            .bind(columns.events.versions)
            .bind(columns.events.at)
            .bind(columns.events.crcs)
            .bind(columns.events.heads)
            .bind(columns.events.bodies)
            .bind(columns.snapshots.runs)
            .bind(columns.snapshots.seqs)
            .bind(columns.begun.reasons)
            .bind(columns.snapshots.versions)
            .bind(columns.snapshots.crcs)
            .bind(columns.snapshots.states)
            .bind(columns.artifacts.runs)
            .bind(columns.artifacts.digests)
            .bind(columns.artifacts.bytes)
            .bind(columns.artifacts.media_types)
            .bind(columns.artifacts.created_at)
            .bind(columns.artifacts.touched_at)
            .bind(columns.begun.batches)
            .bind(columns.begun.batch_indices)
            .bind(columns.begun.input_indices)
            .bind(columns.begun.summaries.error_codes)
            .bind(columns.begun.summaries.error_classes)
            .bind(columns.changed.error_codes)
            .bind(columns.changed.error_classes)
            .bind(columns.begun.keep_days)
            .bind(columns.begun.parents)
            .fetch_one(connection)
            .await?;
        if row.try_get::<bool, _>(0)? { Ok(time(&row, 1)?) } else { Err(Trouble::NotNext) }
    }
}

impl RunRows {
    fn new(run: RunId) -> Self {
        Self {
            run,
            events: Vec::new(),
            created: None,
            summary: None,
            snapshot: None,
            artifacts: Vec::new(),
            reviews: Vec::new(),
            cached: Vec::new(),
            quarantine_reason: None,
        }
    }

    /// Adds what another entry says of the run; `None` = it does not follow.
    fn add(&mut self, given: RunBatch) -> Option<()> {
        if given.created.is_some() {
            // A summary before it needs a row, and with a row there it cannot begin.
            if self.created.is_some() || self.summary.is_some() {
                return None;
            }
            self.created = given.created;
        }
        self.summary = given.summary.or_else(|| self.summary.take());
        self.snapshot = given.snapshot.or_else(|| self.snapshot.take());
        self.reviews.extend(given.reviews);
        self.cached.extend(given.cached);
        for used in artifacts::used(&given.events) {
            match self.artifacts.iter_mut().find(|known| known.digest == used.digest) {
                Some(known) => (known.from, known.to) = (known.from.min(used.from), known.to.max(used.to)),
                None => self.artifacts.push(used),
            }
        }
        given.events.iter().try_for_each(|event| self.append(event))
    }

    fn append(&mut self, event: &Arc<Event>) -> Option<()> {
        let follows = match self.events.last() {
            Some(last) => event.seq.0 == last.seq.0 + 1,
            None => event.seq > EventSeq(0),
        };
        follows.then(|| self.events.push(codec::encode(self.run, event)))
    }

    /// All that is kept of a run that begins with rows which the database cannot hold.
    pub(super) fn set_aside(&self, reason: &str, now: Timestamp) -> Option<Self> {
        let summary = RunSummary {
            status: RunStatus::Failed,
            phase: Phase::Closed,
            next_due: None,
            ended_at: Some(now),
            error: Some(quarantine_error()),
        };
        Some(Self {
            created: Some(self.created.clone()?),
            summary: Some(summary),
            quarantine_reason: Some(clip(reason).to_owned()),
            ..Self::new(self.run)
        })
    }
}

type Id = [u8; 16];
type Hash = [u8; 32];

/// The parameters of the statement.
#[derive(Default)]
struct Columns<'a> {
    first_runs: Vec<Id>,
    first_seqs: Vec<i64>,
    begun: BegunColumns<'a>,
    changed_runs: Vec<Id>,
    changed: SummaryColumns<'a>,
    keys: KeyColumns<'a>,
    events: EventColumns<'a>,
    snapshots: SnapshotColumns<'a>,
    artifacts: ArtifactColumns<'a>,
}

#[derive(Default)]
struct BegunColumns<'a> {
    runs: Vec<Id>,
    slots: Vec<i64>,
    tenants: Vec<&'a str>,
    subjects: Vec<&'a str>,
    workflows: Vec<Id>,
    graphs: Vec<Hash>,
    created_at: Vec<i64>,
    summaries: SummaryColumns<'a>,
    reasons: Vec<Option<&'a str>>,
    batches: Vec<Option<Vec<u8>>>,
    batch_indices: Vec<Option<i64>>,
    input_indices: Vec<Option<i64>>,
    keep_days: Vec<i64>,
    parents: Vec<Option<Vec<u8>>>,
}

#[derive(Default)]
struct SummaryColumns<'a> {
    statuses: Vec<i64>,
    phases: Vec<i64>,
    next_due: Vec<Option<i64>>,
    ended_at: Vec<Option<i64>>,
    errors: Vec<Option<Vec<u8>>>,
    error_codes: Vec<Option<&'a str>>,
    error_classes: Vec<Option<i64>>,
}

#[derive(Default)]
struct KeyColumns<'a> {
    tenants: Vec<&'a str>,
    routes: Vec<&'a str>,
    keys: Vec<&'a str>,
    bodies: Vec<Hash>,
    created_at: Vec<i64>,
    runs: Vec<Id>,
}

#[derive(Default)]
struct EventColumns<'a> {
    runs: Vec<Id>,
    seqs: Vec<i64>,
    kinds: Vec<i64>,
    versions: Vec<i64>,
    at: Vec<i64>,
    crcs: Vec<i64>,
    heads: Vec<&'a [u8]>,
    bodies: Vec<&'a [u8]>,
}

#[derive(Default)]
struct SnapshotColumns<'a> {
    runs: Vec<Id>,
    seqs: Vec<i64>,
    versions: Vec<i64>,
    crcs: Vec<i64>,
    states: Vec<&'a [u8]>,
}

#[derive(Default)]
struct ArtifactColumns<'a> {
    runs: Vec<Id>,
    digests: Vec<Hash>,
    bytes: Vec<i64>,
    media_types: Vec<&'a str>,
    created_at: Vec<i64>,
    touched_at: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn of(runs: &'a [RunRows]) -> Self {
        let mut columns = Self::default();
        runs.iter().for_each(|rows| columns.add(rows));
        columns
    }

    fn add(&mut self, rows: &'a RunRows) {
        if let Some(first) = rows.events.first() {
            self.first_runs.push(rows.run.to_bytes());
            self.first_seqs.push(first.seq.0 as i64);
        }
        match (&rows.created, &rows.summary) {
            (Some(created), summary) => {
                self.begun.add(rows, created, summary.as_ref().unwrap_or(&NEW));
                if let Some(key) = &created.key {
                    self.keys.add(rows.run, key, created.created_at);
                }
            }
            (None, Some(summary)) => {
                self.changed_runs.push(rows.run.to_bytes());
                self.changed.add(summary);
            }
            (None, None) => {}
        }
        rows.events.iter().for_each(|row| self.events.add(row));
        if let Some(snapshot) = &rows.snapshot {
            self.snapshots.add(rows.run, snapshot);
        }
        rows.artifacts.iter().for_each(|used| self.artifacts.add(rows.run, used));
    }
}

impl<'a> BegunColumns<'a> {
    fn add(&mut self, rows: &'a RunRows, created: &'a RunCreated, summary: &'a RunSummary) {
        self.runs.push(rows.run.to_bytes());
        self.slots.push(rows.run.slot().0.into());
        self.tenants.push(&created.tenant.0);
        self.subjects.push(&created.subject.0);
        self.workflows.push(created.workflow.to_bytes());
        self.graphs.push(created.graph.0);
        self.created_at.push(created.created_at.as_millis());
        self.summaries.add(summary);
        self.reasons.push(rows.quarantine_reason.as_deref());
        self.batches.push(created.batch.map(|place| place.batch.to_bytes().to_vec()));
        self.batch_indices.push(created.batch.map(|place| place.index.into()));
        self.input_indices.push(created.batch.map(|place| place.input_index.into()));
        self.keep_days.push(keep_days_number(created.keep_days));
        self.parents.push(created.parent.map(|parent| parent.to_bytes().to_vec()));
    }
}

impl<'a> SummaryColumns<'a> {
    fn add(&mut self, summary: &'a RunSummary) {
        self.statuses.push(status_number(summary.status));
        self.phases.push(phase_number(summary.phase));
        self.next_due.push(summary.next_due.map(Timestamp::as_millis));
        self.ended_at.push(summary.ended_at.map(Timestamp::as_millis));
        self.errors.push(summary.error.as_ref().map(codec::encode_run_error));
        let (code, class) = error_columns(summary.error.as_ref());
        self.error_codes.push(code);
        self.error_classes.push(class);
    }
}

impl<'a> KeyColumns<'a> {
    fn add(&mut self, run: RunId, row: &'a KeyRow, created_at: Timestamp) {
        self.tenants.push(&row.key.tenant.0);
        self.routes.push(&row.key.route);
        self.keys.push(&row.key.key);
        self.bodies.push(row.body.0);
        self.created_at.push(created_at.as_millis());
        self.runs.push(run.to_bytes());
    }
}

impl<'a> EventColumns<'a> {
    fn add(&mut self, row: &'a Row) {
        self.runs.push(row.run.to_bytes());
        self.seqs.push(row.seq.0 as i64);
        self.kinds.push(row.kind.into());
        self.versions.push(row.version.into());
        self.at.push(row.at.as_millis());
        self.crcs.push(row.crc as i64);
        self.heads.push(&row.head);
        self.bodies.push(row.body.as_deref().unwrap_or_default());
    }
}

impl<'a> SnapshotColumns<'a> {
    fn add(&mut self, run: RunId, snapshot: &'a Snapshot) {
        self.runs.push(run.to_bytes());
        self.seqs.push(snapshot.seq.0 as i64);
        self.versions.push(snapshot.version.into());
        self.crcs.push(crc32fast::hash(&snapshot.bytes).into());
        self.states.push(&snapshot.bytes);
    }
}

impl<'a> ArtifactColumns<'a> {
    fn add(&mut self, run: RunId, used: &'a Used) {
        self.runs.push(run.to_bytes());
        self.digests.push(used.digest.0);
        self.bytes.push(used.bytes as i64);
        self.media_types.push(&used.media_type);
        self.created_at.push(used.from.as_millis());
        self.touched_at.push(used.to.as_millis());
    }
}
