//! The row of a run, as it is kept beside its events.

use super::{Run, RunStatus};
use crate::partition::batch::{Phase, RunCreated, RunSummary};

impl Run {
    /// The row for lists, timers and start-up, as it stands now.
    pub fn summary(&self) -> RunSummary {
        let phase = match (self.state.status, self.state.attempts.is_empty() && !self.owes_cancels()) {
            (RunStatus::Running, _) if self.is_parked() => Phase::Parked,
            (RunStatus::Running, _) => Phase::Active,
            (_, false) => Phase::Closing,
            (_, true) => Phase::Closed,
        };
        RunSummary {
            status: self.state.status,
            phase,
            next_due: if phase == Phase::Parked { self.next_due() } else { None },
            ended_at: self.state.ended_at,
            error: self.state.error.clone(),
        }
    }

    /// The part of that row that never changes, for the first commit; key and batch are the caller's to add.
    pub fn created(&self) -> RunCreated {
        let origin = &self.state.origin;
        RunCreated {
            tenant: origin.tenant.clone(),
            subject: origin.subject.clone(),
            workflow: origin.workflow,
            graph: origin.graph,
            created_at: origin.started_at,
            key: None,
            batch: None,
            keep_days: self.graph.keep_runs_days(),
            parent: origin.invoked_by.as_ref().map(|by| by.run),
        }
    }
}
