//! A batch of runs as people see it: how many of its runs stand how, and a page of them.

use std::sync::Arc;

use heddle_core::batch::BatchId;
use heddle_core::id::RunId;
use heddle_core::run::RunStatus;
use heddle_proto::control as wire;
use prost::Message as _;

use super::runs::{self, Ask, ReadError};
use crate::auth::Tenant;
use crate::batches::rows::StoredBatch;
use crate::limits::ANSWER_VALUES_BYTES;
use crate::retention::Tombstone;
use crate::shared::Shared;

/// Which of a batch's runs are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    /// The first of them.
    pub(crate) offset: u32,
    /// How many at most.
    pub(crate) limit: u32,
    /// Whether with their nodes, and what these gave.
    pub(crate) with_nodes: bool,
}

/// A batch and a page of its runs.
pub(crate) async fn batch(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    id: BatchId,
    page: Page,
) -> Result<wire::Batch, ReadError> {
    let rows = &shared.batches.rows;
    // Counted first: what is started afterwards counts as going on.
    let counts = rows.batch_counts(tenant.clone(), id).await.map_err(ReadError::Journal)?;
    let Some(row) = row(shared, tenant, id).await? else {
        let run = run_alone(shared, tenant, id).await?.ok_or(ReadError::NotFound)?;
        return of_one(shared, tenant, run, page).await;
    };
    let total = row.created.total;
    let (mut runs, mut bytes) = (Vec::new(), 0);
    let until = total.min(page.offset.saturating_add(page.limit));
    for index in page.offset..until {
        let run = one(shared, tenant, &row, index, page.with_nodes).await?;
        bytes += run.encoded_len();
        // What runs gave may be much: a page is cut where it would become too large, but never to nothing.
        if bytes > ANSWER_VALUES_BYTES && !runs.is_empty() {
            break;
        }
        runs.push(run);
    }
    let next = page.offset.saturating_add(runs.len() as u32);
    Ok(wire::Batch {
        id: id.to_string(),
        workflow_id: row.created.workflow.to_string(),
        status: status(&row, &counts).into(),
        started_at_ms: row.created.created_at.as_millis(),
        ended_at_ms: row.state.ended_at.map(|at| at.as_millis()),
        total,
        counts: Some(counted(&row, &counts)),
        cancel_requested: row.state.cancelled.is_some(),
        next_offset: (!runs.is_empty() && next < total).then_some(next),
        runs,
    })
}

/// Bits of a UUID that say its version and its variant; what a run has in their place is not in its batch's id.
const UUID_BITS: u128 = 0xF << 76 | 0b11 << 62;

/// The batch of a run that was started alone.
pub(crate) fn alone(run: RunId) -> BatchId {
    BatchId(run.0 & !UUID_BITS | 4 << 76 | 0b10 << 62)
}

/// The run of this tenant that was started alone under this id of a batch: one of the few that have such an id.
pub(crate) async fn run_alone(shared: &Shared, tenant: &Tenant, id: BatchId) -> Result<Option<RunId>, ReadError> {
    let lost = (0..16_u128).flat_map(|version| (0..4).map(move |variant| version << 76 | variant << 62));
    let candidates = lost.map(|bits| RunId(id.0 & !UUID_BITS | bits)).filter(|run| alone(*run) == id).collect();
    let found = shared.batches.rows.runs_among(tenant.clone(), candidates).await.map_err(ReadError::Journal)?;
    Ok(found.first().copied())
}

/// A run that was started alone, as the batch that it is.
async fn of_one(shared: &Arc<Shared>, tenant: &Tenant, run: RunId, page: Page) -> Result<wire::Batch, ReadError> {
    let row = runs::row(shared, tenant, run).await?;
    let is = |status| u32::from(row.summary.status == status);
    let run = match page.with_nodes {
        true => runs::with_nodes(shared, &row, Ask::default()).await?,
        false => runs::summary(&row),
    };
    Ok(wire::Batch {
        id: run.batch_id.clone(),
        workflow_id: run.workflow_id.clone(),
        status: run.status,
        started_at_ms: run.started_at_ms,
        ended_at_ms: run.ended_at_ms,
        total: 1,
        counts: Some(wire::BatchCounts {
            pending: 0,
            running: is(RunStatus::Running),
            completed: is(RunStatus::Completed),
            failed: is(RunStatus::Failed),
            cancelled: is(RunStatus::Cancelled),
        }),
        cancel_requested: row.summary.status == RunStatus::Cancelled,
        next_offset: None,
        runs: if page.offset == 0 { vec![run] } else { Vec::new() },
    })
}

/// A batch's row, if it is this tenant's.
pub(crate) async fn row(shared: &Shared, tenant: &Tenant, id: BatchId) -> Result<Option<StoredBatch>, ReadError> {
    shared.batches.rows.batch(tenant.clone(), id).await.map_err(ReadError::Journal)
}

/// A run that is not there, but belongs to a batch of this tenant and will be, or would have been.
pub(crate) async fn not_begun(shared: &Shared, tenant: &Tenant, run: RunId) -> Result<wire::Run, ReadError> {
    let (batch, index) = BatchId::of_run(run).ok_or(ReadError::NotFound)?;
    let row = row(shared, tenant, batch).await?.filter(|row| index < row.created.total);
    Ok(waiting(&row.ok_or(ReadError::NotFound)?, index))
}

async fn one(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    row: &StoredBatch,
    index: u32,
    with_nodes: bool,
) -> Result<wire::Run, ReadError> {
    match runs::row(shared, tenant, row.batch.run(index)).await {
        Ok(run) if with_nodes => runs::with_nodes(shared, &run, Ask::default()).await,
        Ok(run) => Ok(runs::summary(&run)),
        Err(ReadError::NotFound) => Ok(waiting(row, index)),
        Err(ReadError::Expired(stone)) => Ok(removed(row, index, &stone)),
        Err(error) => Err(error),
    }
}

/// A run of a batch that has no row: it waits for its turn, or its start is on its way, or it was cancelled before its turn,
/// or could not be started.
fn waiting(row: &StoredBatch, index: u32) -> wire::Run {
    let cancelled = row.state.cancelled.as_ref().map(|(_, at)| at.as_millis());
    let is_started = index < row.state.started;
    let (status, ended_at_ms) = match (row.state.ended_at, cancelled) {
        (Some(at), _) if is_started => (wire::RunStatus::Failed, Some(at.as_millis())),
        _ if is_started => (wire::RunStatus::Running, None),
        (_, None) => (wire::RunStatus::Pending, None),
        (_, Some(at)) => (wire::RunStatus::Cancelled, Some(at)),
    };
    let error = (status == wire::RunStatus::Failed).then(|| wire::RunError {
        code: "start_failed".into(),
        message: "the run could not be started; the coordinator's log says why".into(),
        ..Default::default()
    });
    let place = row.created.place(row.batch, index);
    wire::Run {
        id: row.batch.run(index).to_string(),
        workflow_id: row.created.workflow.to_string(),
        batch_id: row.batch.to_string(),
        run_index_in_batch: place.index,
        input_index: place.input_index,
        status: status.into(),
        error,
        started_at_ms: row.created.created_at.as_millis(),
        ended_at_ms,
        ..Default::default()
    }
}

/// A run of a batch that is being removed: its row has gone a moment before the batch's own.
fn removed(row: &StoredBatch, index: u32, stone: &Tombstone) -> wire::Run {
    wire::Run {
        status: runs::status(stone.status).into(),
        error: None,
        started_at_ms: stone.created_at.as_millis(),
        ended_at_ms: Some(stone.ended_at.as_millis()),
        ..waiting(row, index)
    }
}

fn count(counts: &[(RunStatus, u32)], status: RunStatus) -> u32 {
    counts.iter().find(|(it, _)| *it == status).map_or(0, |(_, count)| *count)
}

fn counted(row: &StoredBatch, counts: &[(RunStatus, u32)]) -> wire::BatchCounts {
    let (completed, failed) = (count(counts, RunStatus::Completed), count(counts, RunStatus::Failed));
    let cancelled = count(counts, RunStatus::Cancelled);
    let unstarted = row.created.total - row.state.started.min(row.created.total);
    let is_cancelled = row.state.cancelled.is_some();
    let others = row.state.started.saturating_sub(completed + failed + cancelled);
    // Of a batch that is over, those that could not be started.
    let (running, lost) = if row.state.ended_at.is_some() { (0, others) } else { (others, 0) };
    wire::BatchCounts {
        pending: if is_cancelled { 0 } else { unstarted },
        running,
        completed,
        failed: failed + lost,
        cancelled: cancelled + if is_cancelled { unstarted } else { 0 },
    }
}

/// A batch is going on until all its runs are over. Then it is cancelled if somebody stopped it, completed if all its runs
/// are, and failed else.
fn status(row: &StoredBatch, counts: &[(RunStatus, u32)]) -> wire::RunStatus {
    match (row.state.ended_at, &row.state.cancelled) {
        (None, _) => wire::RunStatus::Running,
        (Some(_), Some(_)) => wire::RunStatus::Cancelled,
        (Some(_), None) if count(counts, RunStatus::Completed) == row.created.total => wire::RunStatus::Completed,
        (Some(_), None) => wire::RunStatus::Failed,
    }
}

#[cfg(test)]
mod tests {
    use heddle_core::batch::{BatchCreated, BatchState};
    use heddle_core::id::{Slot, WorkflowId};
    use heddle_core::time::Timestamp;
    use heddle_core::value::Digest;

    use super::*;

    fn stored(state: BatchState) -> StoredBatch {
        let created = BatchCreated {
            tenant: "acme".into(),
            subject: "somebody".into(),
            workflow: WorkflowId(1),
            graph: Digest([0; 32]),
            created_at: Timestamp::from_millis(1),
            total: 10,
            stride: 5,
            artifacts: Vec::new(),
        };
        StoredBatch { batch: BatchId::new(Timestamp::from_millis(1), Slot(3), 7), created, state }
    }

    fn numbers(row: &StoredBatch, counts: &[(RunStatus, u32)]) -> [u32; 5] {
        let wire::BatchCounts { pending, running, completed, failed, cancelled } = counted(row, counts);
        [pending, running, completed, failed, cancelled]
    }

    #[test]
    fn runs_without_a_row_are_counted_by_what_became_of_their_batch() {
        let at = Timestamp::from_millis(9);
        let counts = [(RunStatus::Completed, 3), (RunStatus::Failed, 1)];
        let going_on = stored(BatchState { started: 6, ..BatchState::default() });
        assert_eq!(numbers(&going_on, &counts), [4, 2, 3, 1, 0]);
        assert_eq!(status(&going_on, &counts), wire::RunStatus::Running);
        let cancelled = BatchState { started: 6, cancelled: Some(("somebody".into(), at)), ended_at: None };
        assert_eq!(numbers(&stored(cancelled.clone()), &counts), [0, 2, 3, 1, 4]);
        let over = stored(BatchState { ended_at: Some(at), ..cancelled });
        assert_eq!(status(&over, &counts), wire::RunStatus::Cancelled);
        // Two of them could not be started.
        let lost = stored(BatchState { started: 10, cancelled: None, ended_at: Some(at) });
        let counts = [(RunStatus::Completed, 8)];
        assert_eq!(numbers(&lost, &counts), [0, 0, 8, 2, 0]);
        assert_eq!(status(&lost, &counts), wire::RunStatus::Failed);
        assert_eq!(status(&lost, &[(RunStatus::Completed, 10)]), wire::RunStatus::Completed);
        for (row, index, shown) in [
            (&going_on, 5, wire::RunStatus::Running),
            (&going_on, 6, wire::RunStatus::Pending),
            (&over, 6, wire::RunStatus::Cancelled),
            (&lost, 9, wire::RunStatus::Failed),
        ] {
            let run = waiting(row, index);
            assert_eq!((run.status(), run.run_index_in_batch, run.input_index), (shown, index, index / 5));
            assert_eq!(run.error.is_some(), shown == wire::RunStatus::Failed);
        }
    }

    #[test]
    fn a_run_that_is_started_alone_has_a_batch_that_leads_back_to_few() {
        let run = RunId(u128::MAX / 7);
        let text = alone(run).to_string();
        assert_eq!(&text[14..15], "4");
        assert_eq!(text.parse(), Ok(alone(run)));
        assert_eq!(alone(RunId(run.0 ^ (0b101 << 76))), alone(run), "the bits of the version are not in it");
        assert_ne!(alone(RunId(run.0 ^ 1)), alone(run));
    }
}
