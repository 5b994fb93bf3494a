//! Going through closed runs, page by page, from the first that ended on.

use std::time::Duration;

use heddle_core::id::RunId;
use heddle_crash_point::crash_point;
use tokio::time::Instant;

use super::{PageSize, Place, Removed, until};
use crate::journal::JournalError;
use crate::limits::{
    RETENTION_BATCHES_REMOVED_MAX, RETENTION_PAGE_BYTES, RETENTION_PAGE_ROWS, RETENTION_PAGE_RUNS, RETENTION_PAUSE_MAX,
    RETENTION_PAUSE_MIN, RETENTION_PAUSE_SHARE, RETENTION_PERIOD, TOMBSTONE_DAYS, TOMBSTONES_REMOVED_MAX,
};
use crate::shared::Shared;

const PAGE: PageSize = PageSize { rows: RETENTION_PAGE_ROWS, bytes: RETENTION_PAGE_BYTES };

/// How far a walk over closed runs has come.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// How long runs are kept of which it has still to look at, the present ones last: what their rows say, and in days.
    turns: Vec<(Option<u16>, u16)>,
    after: Option<Place>,
    /// Whether rows of runs that are gone may still be there.
    has_rest: bool,
    is_begun: bool,
}

impl Sweep {
    /// A walk that begins, and with what an earlier process has left behind.
    pub(crate) fn new() -> Self {
        Self { turns: Vec::new(), after: None, has_rest: true, is_begun: false }
    }

    /// Takes one step; says when to take the next. It rests after each page for a multiple of the time that the page took, so that
    /// it takes the same share of a database that is slow, or busy.
    pub(crate) async fn step(&mut self, shared: &Shared) -> Result<Duration, JournalError> {
        let began = Instant::now();
        if self.has_rest {
            self.remove(shared, Vec::new()).await?;
        } else if !self.is_begun {
            self.begin(shared).await?;
        } else if let Some(turn) = self.turns.last().copied() {
            self.page(shared, turn).await?;
        } else if self.tidy(shared).await? {
            *self = Self { has_rest: false, ..Self::new() };
            return Ok(RETENTION_PERIOD);
        }
        Ok((began.elapsed() * RETENTION_PAUSE_SHARE).clamp(RETENTION_PAUSE_MIN, RETENTION_PAUSE_MAX))
    }

    async fn begin(&mut self, shared: &Shared) -> Result<(), JournalError> {
        let said = shared.retention.kept_days().await?;
        self.turns = said.into_iter().map(|days| (Some(days), days)).collect();
        self.turns.extend(shared.keep_runs.days().map(|days| (None, days)));
        (self.after, self.is_begun) = (None, true);
        shared.metrics.retention_lags(Duration::ZERO);
        Ok(())
    }

    async fn page(&mut self, shared: &Shared, (said, days): (Option<u16>, u16)) -> Result<(), JournalError> {
        let until = until(shared.clock.now(), days);
        let page = shared.retention.old_runs(said, until, self.after, RETENTION_PAGE_RUNS).await?;
        let Some(last) = page.last().map(|run| run.place) else {
            self.turns.pop();
            self.after = None;
            return Ok(());
        };
        let due: Vec<Place> = page.iter().filter(|run| !run.is_needed).map(|run| run.place).collect();
        let Some(first) = due.first() else {
            self.after = Some(last);
            return Ok(());
        };
        shared.metrics.retention_lags(Duration::from_millis(until.since(first.ended_at).as_millis()));
        let removed = self.remove(shared, due.iter().map(|place| place.run).collect()).await?;
        self.after = match removed.taken {
            0 => self.after,
            taken if taken < due.len() => Some(due[taken - 1]),
            _ => Some(last),
        };
        Ok(())
    }

    async fn remove(&mut self, shared: &Shared, runs: Vec<RunId>) -> Result<Removed, JournalError> {
        let removed = shared.retention.remove(runs.clone(), shared.clock.now(), PAGE).await?;
        self.has_rest = removed.has_rest;
        let taken = &runs[..removed.taken.min(runs.len())];
        shared.recent.forget(taken);
        shared.seen.forget(taken);
        shared.metrics.runs_removed(removed.runs as u64, removed.rows as u64);
        if removed.rows > 0 {
            crash_point!("retention.page");
        }
        Ok(removed)
    }

    /// Removes what is left over of batches and of tombstones; whether that was all.
    async fn tidy(&self, shared: &Shared) -> Result<bool, JournalError> {
        let now = shared.clock.now();
        let mut is_all = true;
        if let Some(days) = shared.keep_runs.days() {
            let gone = shared.retention.forget_batches(until(now, days), RETENTION_BATCHES_REMOVED_MAX).await?;
            is_all &= gone < RETENTION_BATCHES_REMOVED_MAX;
        }
        let gone = shared.retention.forget_tombstones(until(now, TOMBSTONE_DAYS), TOMBSTONES_REMOVED_MAX).await?;
        Ok(is_all && gone < TOMBSTONES_REMOVED_MAX)
    }
}
