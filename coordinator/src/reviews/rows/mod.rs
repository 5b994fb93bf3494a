//! Rows of reviews, as they are read. Partitions write them with their commits.

pub(crate) mod memory;
mod postgres;
mod sqlite;

use std::sync::Arc;

use heddle_core::id::{EventSeq, ReviewId, RunId, Subject, WorkflowId};
use heddle_core::partition::batch::{IdempotencyKey, KeyRow, ReviewCreated, ReviewState};
use heddle_core::run::event::{ReviewKind, ReviewVerdict};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

use crate::auth::Tenant;
use crate::journal::Answer;

/// What keeps reviews.
pub(crate) trait ReviewRows: Send + Sync + 'static {
    /// A review of this tenant.
    fn review(&self, tenant: Tenant, review: ReviewId) -> Answer<Option<StoredReview>>;

    /// Reviews of a tenant, the oldest first, after `cursor` if there is one.
    fn reviews(&self, filter: ReviewFilter, cursor: Option<ReviewCursor>, limit: usize) -> Answer<Vec<StoredReview>>;

    /// How many reviews of all tenants are open, by kind; kinds without any are left out. For numbers alone.
    fn open_by_kind(&self) -> Answer<Vec<(ReviewKind, u64)>>;

    /// Takes the key of a decision for a request, unless it stands for one already: gives the body of that one then.
    fn take_key(&self, row: KeyRow, now: Timestamp) -> Answer<Option<Digest>>;

    /// The request with this key was refused: another one may have it.
    fn free_key(&self, key: IdempotencyKey) -> Answer<()>;
}

/// A review's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredReview {
    /// Which review.
    pub review: ReviewId,
    /// Of which run.
    pub run: RunId,
    /// What never changes.
    pub created: ReviewCreated,
    /// How it stands.
    pub state: ReviewState,
    /// Who may decide; nobody = whoever is allowed to.
    pub assignees: Vec<Arc<str>>,
    /// When its time is over.
    pub due_at: Option<Timestamp>,
    /// When it closed.
    pub closed_at: Option<Timestamp>,
    /// Who has decided.
    pub decided_by: Option<Subject>,
    /// What was decided.
    pub verdict: Option<ReviewVerdict>,
    /// The events that tell of it, in order: the first one asks. Long histories need not be searched for them.
    pub told: Vec<EventSeq>,
}

/// Which reviews are listed.
#[derive(Debug, Clone)]
pub(crate) struct ReviewFilter {
    /// Whose.
    pub tenant: Tenant,
    /// Only those that stand so.
    pub state: Option<ReviewState>,
    /// Only those that name this subject, or nobody.
    pub assignee: Option<Arc<str>>,
    /// Only those of this workflow.
    pub workflow: Option<WorkflowId>,
    /// Only those of this run.
    pub run: Option<RunId>,
}

/// The last review of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReviewCursor {
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Which it is.
    pub review: ReviewId,
}
