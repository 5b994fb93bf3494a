//! Batches of runs around the engine: what their runs are given, and how they are read.

pub(crate) mod rows;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heddle_core::batch::{BatchId, Plan};
use heddle_core::partition::io::Submission;
use thiserror::Error;

use crate::auth::Tenant;
use crate::batches::rows::{BatchRows, StoredBatch};
use crate::graphs::GraphError;
use crate::journal::{JournalError, codec};
use crate::limits::{PLANS_KEPT_BYTES, PLANS_KEPT_MAX};
use crate::shared::Shared;

/// Rows of batches, and the plans that were asked for last.
pub(crate) struct Batches {
    pub(crate) rows: Arc<dyn BatchRows>,
    kept: Mutex<VecDeque<Arc<Kept>>>,
}

/// A batch's plan at hand.
struct Kept {
    row: StoredBatch,
    plan: Plan,
    bytes: usize,
}

/// Why a run of a batch cannot be started now.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error("what the batch gives its runs is not kept any more")]
    Over,
    #[error("the database could not be read")]
    Journal(#[source] JournalError),
    #[error("the batch's graph could not be read")]
    Graph(#[source] GraphError),
    #[error("the batch's plan cannot be understood")]
    Plan,
}

impl StartError {
    /// Whether it may be otherwise a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, StartError::Journal(_) | StartError::Graph(GraphError::Journal(_)))
    }
}

impl Batches {
    pub(crate) fn new(rows: Arc<dyn BatchRows>) -> Self {
        Self { rows, kept: Mutex::default() }
    }

    async fn kept(&self, batch: BatchId) -> Result<Arc<Kept>, StartError> {
        if let Some(kept) = self.lock().iter().find(|kept| kept.row.batch == batch) {
            return Ok(Arc::clone(kept));
        }
        let row = self.rows.batch_row(batch).await.map_err(StartError::Journal)?.ok_or(StartError::Over)?;
        let plan = self.rows.plan(batch).await.map_err(StartError::Journal)?.ok_or(StartError::Over)?;
        let bytes = plan.len();
        let plan = codec::decode_plan(plan).ok_or(StartError::Plan)?;
        let found = Arc::new(Kept { row, plan, bytes });
        let mut kept = self.lock();
        kept.retain(|kept| kept.row.batch != batch);
        kept.push_front(Arc::clone(&found));
        let mut left = PLANS_KEPT_BYTES;
        kept.retain(|kept| {
            let fits = kept.bytes <= left;
            left -= if fits { kept.bytes } else { 0 };
            fits
        });
        kept.truncate(PLANS_KEPT_MAX);
        Ok(found)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One run of a batch, as it is to be started: the same whenever it is asked for.
pub(crate) async fn submission(shared: &Shared, batch: BatchId, index: u32) -> Result<Submission, StartError> {
    let kept = shared.batches.kept(batch).await?;
    let (created, plan) = (&kept.row.created, &kept.plan);
    let graph = shared.graphs.get(&Tenant::of_batch(created), created.graph).await.map_err(StartError::Graph)?;
    Ok(Submission {
        run: batch.run(index),
        tenant: created.tenant.clone(),
        subject: created.subject.clone(),
        workflow: created.workflow,
        graph,
        target: plan.target,
        inputs: plan.inputs_of(index),
        key: None,
        traceparent: plan.traceparent.clone(),
        sandbox: plan.sandbox,
        lineage: plan.inherited.clone(),
        deadline: plan.deadline,
        batch: Some(created.place(batch, index)),
        invoked_by: None,
    })
}
