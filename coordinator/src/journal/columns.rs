//! What every database keeps in the same numbers and columns.

use std::sync::Arc;

use heddle_core::id::EventSeq;
use heddle_core::partition::batch::{Phase, ReviewState};
use heddle_core::run::RunStatus;
use heddle_core::run::event::{ErrorClass, ReviewKind, ReviewVerdict, RunError};

use super::limits::ERROR_CODE_BYTES_MAX;

/// The columns of a run's row, in the order in which readers take them.
pub(super) const RUN_COLUMNS: &str = "id, tenant, subject, workflow, graph, created_at, \
                                      status, phase, next_due, ended_at, error, quarantine_reason, \
                                      batch, batch_index, input_index, keep_days, parent";

pub(crate) fn status_number(status: RunStatus) -> i64 {
    match status {
        RunStatus::Running => 1,
        RunStatus::Completed => 2,
        RunStatus::Failed => 3,
        RunStatus::Cancelled => 4,
    }
}

pub(crate) fn phase_number(phase: Phase) -> i64 {
    match phase {
        Phase::Active => 1,
        Phase::Parked => 2,
        Phase::Closing => 3,
        Phase::Closed => 4,
    }
}

pub(crate) fn status(number: i64) -> Option<RunStatus> {
    [RunStatus::Running, RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled]
        .into_iter()
        .find(|status| status_number(*status) == number)
}

pub(super) fn phase(number: i64) -> Option<Phase> {
    [Phase::Active, Phase::Parked, Phase::Closing, Phase::Closed]
        .into_iter()
        .find(|phase| phase_number(*phase) == number)
}

/// What a run's row says of its error, so that failures can be counted without reading them.
pub(super) fn error_columns(error: Option<&RunError>) -> (Option<&str>, Option<i64>) {
    (error.and_then(error_code), error.and_then(|error| error.class).map(class_number))
}

/// As much of an error's code as an index takes; one that no database keeps as text counts as unknown.
pub(crate) fn error_code(error: &RunError) -> Option<&str> {
    let code = &error.code[..error.code.floor_char_boundary(ERROR_CODE_BYTES_MAX)];
    (!code.contains('\0')).then_some(code)
}

fn class_number(class: ErrorClass) -> i64 {
    match class {
        ErrorClass::Retryable => 1,
        ErrorClass::RateLimited => 2,
        ErrorClass::InvalidRequest => 3,
        ErrorClass::Auth => 4,
        ErrorClass::ContentPolicy => 5,
        ErrorClass::Timeout => 6,
        ErrorClass::Cancelled => 7,
        ErrorClass::Internal => 8,
        ErrorClass::UnknownOutcome => 9,
        ErrorClass::Poison => 10,
    }
}

pub(crate) fn class(number: i64) -> Option<ErrorClass> {
    ErrorClass::ALL.into_iter().find(|class| class_number(*class) == number)
}

/// How long a run is kept as databases have it: 0 = as long as the server's settings say.
pub(crate) fn keep_days_number(days: Option<u16>) -> i64 {
    days.map_or(0, i64::from)
}

pub(crate) fn keep_days(number: i64) -> Option<Option<u16>> {
    u16::try_from(number).ok().map(|days| Some(days).filter(|days| *days > 0))
}

pub(crate) fn review_kind_number(kind: ReviewKind) -> i64 {
    match kind {
        ReviewKind::Value => 1,
        ReviewKind::Before => 2,
        ReviewKind::After => 3,
        ReviewKind::Outcome => 4,
    }
}

pub(crate) fn review_state_number(state: ReviewState) -> i64 {
    match state {
        ReviewState::Open => 1,
        ReviewState::Decided => 2,
        ReviewState::Withdrawn => 3,
    }
}

pub(crate) fn verdict_number(verdict: ReviewVerdict) -> i64 {
    match verdict {
        ReviewVerdict::Approve => 1,
        ReviewVerdict::Reject => 2,
        ReviewVerdict::Retry => 3,
        ReviewVerdict::Fail => 4,
        ReviewVerdict::Escalate => 5,
    }
}

pub(crate) fn review_kind(number: i64) -> Option<ReviewKind> {
    [ReviewKind::Value, ReviewKind::Before, ReviewKind::After, ReviewKind::Outcome]
        .into_iter()
        .find(|kind| review_kind_number(*kind) == number)
}

pub(crate) fn review_state(number: i64) -> Option<ReviewState> {
    [ReviewState::Open, ReviewState::Decided, ReviewState::Withdrawn]
        .into_iter()
        .find(|state| review_state_number(*state) == number)
}

pub(crate) fn verdict(number: i64) -> Option<ReviewVerdict> {
    [ReviewVerdict::Approve, ReviewVerdict::Reject, ReviewVerdict::Retry, ReviewVerdict::Fail, ReviewVerdict::Escalate]
        .into_iter()
        .find(|verdict| verdict_number(*verdict) == number)
}

/// Subjects in one text that can be searched for one of them: each between two ends of lines. None has one inside.
pub(crate) fn assignees_text(assignees: &[Arc<str>]) -> String {
    let mut text = String::new();
    for assignee in assignees {
        text.push('\n');
        text.push_str(assignee);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

pub(crate) fn assignees(text: &str) -> Vec<Arc<str>> {
    text.split('\n').filter(|assignee| !assignee.is_empty()).map(Arc::from).collect()
}

/// The numbers of items and turns, with dots between.
pub(crate) fn place_text(index: &[u32]) -> String {
    let numbers: Vec<String> = index.iter().map(u32::to_string).collect();
    numbers.join(".")
}

/// One more event that tells of a review, as its row keeps them.
pub(crate) fn told_text(seq: EventSeq) -> String {
    format!("{}.", seq.0)
}

pub(crate) fn told(text: &str) -> Option<Vec<EventSeq>> {
    text.split('.').filter(|number| !number.is_empty()).map(|number| number.parse().ok().map(EventSeq)).collect()
}

pub(crate) fn place(text: &str) -> Option<Vec<u32>> {
    text.split('.').filter(|number| !number.is_empty()).map(|number| number.parse().ok()).collect()
}
