//! Batches of runs.

use heddle_proto::control;

use super::run::{run, status};
use crate::dto::batch::{Batch, BatchCounts, BatchRun};
use crate::dto::run::Run;
use crate::dto::time::Time;
use crate::http::error::ApiError;

pub(crate) fn batch(batch: &control::Batch) -> Result<Batch<'_>, ApiError> {
    let counts = batch.counts.unwrap_or_default();
    Ok(Batch {
        id: &batch.id,
        batch_id: &batch.id,
        workflow_id: &batch.workflow_id,
        status: status(batch.status)?,
        start_time: Time(batch.started_at_ms),
        end_time: batch.ended_at_ms.map(Time),
        runs_total: batch.total,
        counts: BatchCounts {
            pending: counts.pending,
            running: counts.running,
            completed: counts.completed,
            failed: counts.failed,
            cancelled: counts.cancelled,
        },
        cancel_requested: batch.cancel_requested,
        execution_runs: batch.runs.iter().map(|of| Ok(run_of_batch(run(of)?))).collect::<Result<_, ApiError>>()?,
        next_offset: batch.next_offset,
    })
}

fn run_of_batch(Run { head, final_output, .. }: Run<'_>) -> BatchRun<'_> {
    BatchRun { head, final_output }
}
