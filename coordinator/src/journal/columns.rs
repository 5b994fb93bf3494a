//! What every database keeps in the same numbers and columns.

use heddle_core::partition::batch::Phase;
use heddle_core::run::RunStatus;

/// The columns of a run's row, in the order in which readers take them.
pub(super) const RUN_COLUMNS: &str = "id, tenant, subject, workflow, graph, created_at, \
                                      status, phase, next_due, ended_at, error, quarantine_reason, \
                                      batch, batch_index, input_index";

pub(super) fn status_number(status: RunStatus) -> i64 {
    match status {
        RunStatus::Running => 1,
        RunStatus::Completed => 2,
        RunStatus::Failed => 3,
        RunStatus::Cancelled => 4,
    }
}

pub(super) fn phase_number(phase: Phase) -> i64 {
    match phase {
        Phase::Active => 1,
        Phase::Parked => 2,
        Phase::Closing => 3,
        Phase::Closed => 4,
    }
}

pub(super) fn status(number: i64) -> Option<RunStatus> {
    [RunStatus::Running, RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled]
        .into_iter()
        .find(|status| status_number(*status) == number)
}

pub(super) fn phase(number: i64) -> Option<Phase> {
    [Phase::Active, Phase::Parked, Phase::Closing, Phase::Closed]
        .into_iter()
        .find(|phase| phase_number(*phase) == number)
}
