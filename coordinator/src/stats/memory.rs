//! Runs to be counted, in memory: the model that the databases are compared with.

use std::cmp::Reverse;

use heddle_core::id::WorkflowId;
use heddle_core::partition::batch::Phase;
use heddle_core::run::RunStatus;
use heddle_core::stats::EndedRun;
use heddle_core::time::Timestamp;

use super::{EndedCursor, RunRows, Which};
use crate::auth::Tenant;
use crate::journal::columns::error_code;
use crate::journal::memory::{MemoryJournal, answer};
use crate::journal::{Answer, RunRow};

impl RunRows for MemoryJournal {
    fn ended(&self, which: Which, after: Option<EndedCursor>, limit: usize) -> Answer<Vec<EndedRun>> {
        let tables = self.tables();
        let its = tables.runs.values().filter(|row| is_of(row, &which.tenant, which.workflow)).filter_map(ended);
        let its = its.filter(|run| run.ended_at >= which.from && run.ended_at < which.to);
        let mut found: Vec<EndedRun> =
            its.filter(|run| after.is_none_or(|after| EndedCursor::of(run) < after)).collect();
        found.sort_by_key(|run| Reverse(EndedCursor::of(run)));
        found.truncate(limit);
        answer(found)
    }

    fn count_open(&self, tenant: Tenant, workflow: Option<WorkflowId>) -> Answer<u64> {
        let tables = self.tables();
        let its = tables.runs.values().filter(|row| is_of(row, &tenant, workflow));
        let is_open = |row: &&RunRow| match row.summary.phase {
            Phase::Active | Phase::Closing => row.summary.ended_at.is_none(),
            Phase::Parked => true,
            Phase::Closed => false,
        };
        answer(its.filter(is_open).count() as u64)
    }

    fn last_success(&self, tenant: Tenant, workflow: WorkflowId, from: Timestamp) -> Answer<Option<Timestamp>> {
        let tables = self.tables();
        let its = tables.runs.values().filter(|row| is_of(row, &tenant, Some(workflow))).filter_map(ended);
        let good = its.filter(|run| run.status == RunStatus::Completed && run.ended_at >= from);
        answer(good.map(|run| run.ended_at).max())
    }
}

fn is_of(row: &RunRow, tenant: &Tenant, workflow: Option<WorkflowId>) -> bool {
    row.created.tenant == *tenant.id() && workflow.is_none_or(|workflow| row.created.workflow == workflow)
}

fn ended(row: &RunRow) -> Option<EndedRun> {
    let error = row.summary.error.as_ref();
    Some(EndedRun {
        run: row.run,
        workflow: row.created.workflow,
        status: row.summary.status,
        created_at: row.created.created_at,
        ended_at: row.summary.ended_at?,
        code: error.and_then(error_code).map(Into::into),
        class: error.and_then(|error| error.class),
    })
}
