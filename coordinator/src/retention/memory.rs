//! Retention in memory, for tests.

use std::collections::{BTreeMap, BTreeSet};

use heddle_core::id::RunId;
use heddle_core::partition::batch::Phase;
use heddle_core::time::Timestamp;

use super::{Ended, PageSize, Place, Removed, RetentionRows, Tombstone};
use crate::auth::Tenant;
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::memory::{MemoryJournal, Tables, answer};
use crate::journal::{Answer, RunRow};

/// The table, and how many rows are left of runs that are gone.
#[derive(Default)]
pub(crate) struct TombstoneTable {
    stones: BTreeMap<RunId, Tombstone>,
    rests: BTreeSet<RunId>,
}

fn closed(row: &RunRow) -> Option<Place> {
    let ended_at = row.summary.ended_at?;
    (row.summary.phase == Phase::Closed).then_some(Place { ended_at, run: row.run })
}

impl Tables {
    fn clear_rests(&mut self, now: Timestamp, room: &mut usize) -> usize {
        let mut rows = 0;
        while *room > 0
            && let Some(run) = self.tombstones.rests.first().copied()
        {
            let gone = self.drop_events(run, *room);
            (*room, rows) = (*room - gone, rows + gone);
            if *room > 0 {
                let tenant = self.tombstones.stones[&run].tenant.clone();
                self.artifacts.release(run, now);
                self.drop_rows_beside(&tenant, run);
                self.tombstones.rests.remove(&run);
            }
        }
        rows
    }
}

impl RetentionRows for MemoryJournal {
    fn kept_days(&self) -> Answer<Vec<u16>> {
        let tables = self.tables();
        let closed = tables.runs.values().filter(|row| row.summary.phase == Phase::Closed);
        let days: BTreeSet<u16> = closed.filter_map(|row| row.created.keep_days).collect();
        answer(days.into_iter().collect())
    }

    fn old_runs(
        &self,
        keep_days: Option<u16>,
        until: Timestamp,
        after: Option<Place>,
        limit: usize,
    ) -> Answer<Vec<Ended>> {
        let tables = self.tables();
        let kept = tables.runs.values().filter(|row| row.created.keep_days == keep_days);
        let ended = kept.filter_map(|row| {
            let place = closed(row).filter(|place| place.ended_at <= until && after.is_none_or(|it| *place > it))?;
            let batch = row.created.batch.and_then(|of| tables.batches.row(of.batch));
            let of_batch = batch.is_some_and(|row| row.state.ended_at.is_none_or(|ended_at| ended_at > until));
            let is_needed = of_batch || row.created.parent.is_some_and(|parent| tables.runs.contains_key(&parent));
            Some(Ended { place, is_needed })
        });
        let mut ended: Vec<Ended> = ended.collect();
        ended.sort_by_key(|run| run.place);
        ended.truncate(limit.min(PAGE_ROWS_MAX));
        answer(ended)
    }

    fn remove(&self, runs: Vec<RunId>, now: Timestamp, page: PageSize) -> Answer<Removed> {
        let mut tables = self.tables();
        let (mut removed, mut room) = (Removed::default(), page.rows);
        removed.rows = tables.clear_rests(now, &mut room);
        for run in runs {
            if room == 0 {
                break;
            }
            removed.taken += 1;
            let Some(row) = tables.runs.get(&run).filter(|row| row.summary.phase == Phase::Closed).cloned() else {
                continue;
            };
            removed.runs += 1;
            let (events, head_hash) = tables.head_of(run);
            let stone = Tombstone {
                run,
                tenant: row.created.tenant,
                workflow: row.created.workflow,
                status: row.summary.status,
                created_at: row.created.created_at,
                ended_at: row.summary.ended_at.unwrap_or(row.created.created_at),
                events,
                head_hash,
                removed_at: now,
            };
            tables.runs.remove(&run);
            if let Some(of) = row.created.batch
                && tables.runs.values().all(|row| row.created.batch.is_none_or(|other| other.batch != of.batch))
            {
                tables.batches.forget_if_over(of.batch);
            }
            tables.tombstones.stones.insert(run, stone);
            tables.tombstones.rests.insert(run);
            removed.rows += tables.clear_rests(now, &mut room);
        }
        removed.has_rest = !tables.tombstones.rests.is_empty();
        answer(removed)
    }

    fn tombstone(&self, tenant: Tenant, run: RunId) -> Answer<Option<Tombstone>> {
        answer(self.tables().tombstones.stones.get(&run).filter(|stone| stone.tenant == *tenant.id()).cloned())
    }

    fn forget_batches(&self, until: Timestamp, limit: usize) -> Answer<usize> {
        let tables = &mut *self.tables();
        let of = tables.runs.values().filter_map(|row| row.created.batch.map(|of| of.batch));
        let with_runs: BTreeSet<_> = of.collect();
        answer(tables.batches.forget_ended(until, limit, |batch| !with_runs.contains(&batch)))
    }

    fn forget_tombstones(&self, until: Timestamp, limit: usize) -> Answer<usize> {
        let table = &mut self.tables().tombstones;
        let old = table.stones.values().filter(|stone| stone.removed_at <= until && !table.rests.contains(&stone.run));
        let mut old: Vec<_> = old.map(|stone| (stone.removed_at, stone.run)).collect();
        old.sort();
        old.truncate(limit.min(PAGE_ROWS_MAX));
        old.iter().for_each(|(_, run)| drop(table.stones.remove(run)));
        answer(old.len())
    }
}
