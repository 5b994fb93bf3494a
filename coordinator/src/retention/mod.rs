//! Retention: closed runs whose time is over are removed whole, and a tombstone stays of each (E18).
//!
//! A run goes in small pages. The first takes its row and leaves its tombstone: from then on nobody sees it any more. What is
//! left of a long one goes with the pages after it; a tombstone says so until all is gone, so a crash leaves nothing behind but
//! work for the next start. Artifacts go by collection, once nothing refers to them.

pub(crate) mod memory;
mod postgres;
mod sqlite;
mod sweep;
#[cfg(test)]
mod tests;

use std::num::ParseIntError;
use std::str::FromStr;

use heddle_core::id::{RunId, TenantId, WorkflowId};
use heddle_core::limits::KEEP_RUNS_DAYS_MAX;
use heddle_core::run::RunStatus;
use heddle_core::time::{Span, Timestamp};
use heddle_core::value::Digest;
use thiserror::Error;

use crate::auth::Tenant;
use crate::journal::Answer;

pub(crate) use self::sweep::Sweep;

/// How long runs are kept after their end where their workflow says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepRuns(Option<u16>);

/// Why a number of days is none that runs can be kept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("write a number of days from 1 to {KEEP_RUNS_DAYS_MAX}, or 0 to keep runs for ever")]
pub struct BadKeepRuns;

impl KeepRuns {
    /// Nothing is removed, unless a workflow says so.
    pub const FOR_EVER: Self = Self(None);

    /// In days; `None` = for ever.
    pub fn days(self) -> Option<u16> {
        self.0
    }
}

impl Default for KeepRuns {
    /// Thirty days.
    fn default() -> Self {
        Self(Some(30))
    }
}

impl FromStr for KeepRuns {
    type Err = BadKeepRuns;

    fn from_str(text: &str) -> Result<Self, BadKeepRuns> {
        match text.parse().map_err(|_: ParseIntError| BadKeepRuns)? {
            0 => Ok(Self(None)),
            days @ 1..=KEEP_RUNS_DAYS_MAX => Ok(Self(Some(days))),
            _ => Err(BadKeepRuns),
        }
    }
}

/// Runs that ended at or before this have had so many days.
fn until(now: Timestamp, days: u16) -> Timestamp {
    Timestamp::from_millis(now.as_millis() - i64::from(days) * DAY.as_millis() as i64)
}

const DAY: Span = Span::from_seconds(24 * 60 * 60);

/// What stays of a run that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) run: RunId,
    pub(crate) tenant: TenantId,
    pub(crate) workflow: WorkflowId,
    pub(crate) status: RunStatus,
    pub(crate) created_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    /// How long its history was.
    pub(crate) events: u64,
    /// [`crate::journal::codec::head_hash`] of the last row of its history.
    pub(crate) head_hash: Digest,
    pub(crate) removed_at: Timestamp,
}

/// A closed run, as retention looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Where it stands in the order of ends.
    pub(crate) place: Place,
    /// Whether something needs it still: its batch, which goes on, or the run that has invoked it, which shows it.
    pub(crate) is_needed: bool,
}

/// A place in the order of ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) ended_at: Timestamp,
    pub(crate) run: RunId,
}

/// How much one removal may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageSize {
    /// Rows of histories.
    pub(crate) rows: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
}

/// What one removal took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// How many of the runs that were given were looked at, from the front: the others did not fit.
    pub(crate) taken: usize,
    /// How many of them are gone: the others were not there, or not closed.
    pub(crate) runs: usize,
    /// Rows of histories.
    pub(crate) rows: usize,
    /// Whether rows of a run that is gone are still there.
    pub(crate) has_rest: bool,
}

/// What keeps runs, as retention needs it.
pub(crate) trait RetentionRows: Send + Sync + 'static {
    /// Numbers of days that workflows' closed runs are kept, each once, in order.
    fn kept_days(&self) -> Answer<Vec<u16>>;

    /// Closed runs that are kept so many days (`None`: as many as the server's settings say) and ended at or before `until`, the
    /// first to end first, after `after` if there is one. A run of a batch counts from the batch's end.
    fn old_runs(
        &self,
        keep_days: Option<u16>,
        until: Timestamp,
        after: Option<Place>,
        limit: usize,
    ) -> Answer<Vec<Ended>>;

    /// Removes what is left of runs that are gone, then these runs, as far as the page goes. A batch goes with its last run.
    fn remove(&self, runs: Vec<RunId>, now: Timestamp, page: PageSize) -> Answer<Removed>;

    /// What stays of a run of this tenant that was removed.
    fn tombstone(&self, tenant: Tenant, run: RunId) -> Answer<Option<Tombstone>>;

    /// Removes at most `limit` batches that ended at or before `until` and have no run: none of theirs began.
    fn forget_batches(&self, until: Timestamp, limit: usize) -> Answer<usize>;

    /// Removes at most `limit` tombstones of runs that were removed at or before `until`.
    fn forget_tombstones(&self, until: Timestamp, limit: usize) -> Answer<usize>;
}
