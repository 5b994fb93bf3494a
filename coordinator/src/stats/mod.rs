//! Figures of runs, counted from their summary rows: one index has all that is counted, and is read page by page.

pub(crate) mod memory;
mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use heddle_core::id::{RunId, WorkflowId};
use heddle_core::stats::{EndedRun, Figures, Tally, TooMany};
use heddle_core::time::Timestamp;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::auth::Tenant;
use crate::journal::{Answer, JournalError};
use crate::limits::{STATS_AT_ONCE_MAX, STATS_PAGE_ROWS, STATS_RUNS_MAX, STATS_WAIT_MAX};

/// What counts runs.
pub(crate) trait RunRows: Send + Sync + 'static {
    /// A page of the runs that ended in a span of time, in the falling order of workflow, end and id: those after `after`, if it is
    /// given. All are of one commit.
    fn ended(&self, which: Which, after: Option<EndedCursor>, limit: usize) -> Answer<Vec<EndedRun>>;

    /// How many runs are not over.
    fn count_open(&self, tenant: Tenant, workflow: Option<WorkflowId>) -> Answer<u64>;

    /// When a run of a workflow completed last, from `from` on.
    fn last_success(&self, tenant: Tenant, workflow: WorkflowId, from: Timestamp) -> Answer<Option<Timestamp>>;
}

/// Which runs.
#[derive(Debug, Clone)]
pub(crate) struct Which {
    /// Whose.
    pub(crate) tenant: Tenant,
    /// Of one workflow, or of all.
    pub(crate) workflow: Option<WorkflowId>,
    /// That ended from here.
    pub(crate) from: Timestamp,
    /// Up to here, and not with it.
    pub(crate) to: Timestamp,
}

/// The last run of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EndedCursor {
    /// Its workflow.
    pub(crate) workflow: WorkflowId,
    /// When it ended.
    pub(crate) ended_at: Timestamp,
    /// Which it is.
    pub(crate) run: RunId,
}

impl EndedCursor {
    fn of(run: &EndedRun) -> Self {
        Self { workflow: run.workflow, ended_at: run.ended_at, run: run.run }
    }
}

/// Why there are no figures.
#[derive(Debug, Error)]
pub(crate) enum StatsError {
    /// Others are being counted.
    #[error("other figures are being counted")]
    Busy,
    /// A stretch that cannot be cut has too many runs.
    #[error("too many runs ended in the youngest stretch of the span")]
    TooMany,
    /// The database does not answer.
    #[error("the database does not answer")]
    Journal(#[from] JournalError),
}

/// The means to count.
pub(crate) struct Stats {
    pub(crate) rows: Arc<dyn RunRows>,
    /// Counting reads much: it may not take all connections.
    counting: Semaphore,
}

impl Stats {
    pub(crate) fn new(rows: Arc<dyn RunRows>) -> Self {
        Self { rows, counting: Semaphore::new(STATS_AT_ONCE_MAX) }
    }

    /// Figures of these runs, and how many are not over.
    pub(crate) async fn count(&self, which: Which) -> Result<(Figures, u64), StatsError> {
        let permit = timeout(STATS_WAIT_MAX, self.counting.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(StatsError::Busy) };
        let open = self.rows.count_open(which.tenant.clone(), which.workflow).await?;
        let mut tally = Tally::new(which.from, which.to, STATS_RUNS_MAX);
        let mut after = None;
        loop {
            // What ended before is not counted any more: there were too many.
            let page = Which { from: tally.counts_from(), ..which.clone() };
            let runs = self.rows.ended(page, after, STATS_PAGE_ROWS).await?;
            runs.iter().try_for_each(|run| tally.add(run)).map_err(|TooMany| StatsError::TooMany)?;
            match runs.last() {
                Some(last) if runs.len() == STATS_PAGE_ROWS => after = Some(EndedCursor::of(last)),
                _ => return Ok((tally.figures(), open)),
            }
        }
    }
}
