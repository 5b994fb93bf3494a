//! Operations on runs that are over, and on what stays of them.

use heddle_core::id::RunId;
use heddle_core::time::Timestamp;

use super::{Pair, same};
use crate::journal::Journal as _;
use crate::retention::{PageSize, Place, RetentionRows as _};

pub(super) const OPERATIONS: &[&str] = &[
    "kept_days",
    "old_runs",
    "old_runs after another",
    "old_runs of runs that are there",
    "remove runs",
    "remove runs that go on",
    "tombstone",
    "tombstone of another tenant",
    "forget_tombstones",
    "forget_batches",
];

/// So large that databases may count it as they like.
const PAGE: PageSize = PageSize { rows: 10_000, bytes: usize::MAX };

impl Pair {
    pub(super) async fn perform_on_old_runs(&mut self, operation: &str) -> bool {
        let (tenant, now) = (self.draw.tenant(), self.clock.now());
        let keep_days = self.draw.rarely(7);
        let until = self.draw.time_near(now);
        match operation {
            "kept_days" => !same!(self, kept_days()).unwrap().is_empty(),
            "old_runs" => {
                let limit = 1 + self.draw.below(3) as usize;
                !same!(self, old_runs(keep_days, until, None::<Place>, limit)).unwrap().is_empty()
            }
            "old_runs after another" => {
                let all = same!(self, old_runs(keep_days, until, None::<Place>, 100)).unwrap();
                let Some(first) = all.first().map(|run| run.place) else { return false };
                same!(self, old_runs(keep_days, until, Some(first), 100)).unwrap().len() + 1 == all.len()
            }
            "old_runs of runs that are there" => {
                let all =
                    same!(self, old_runs(keep_days, Timestamp::from_millis(i64::MAX), None::<Place>, 100)).unwrap();
                for run in all.iter().filter(|run| run.is_needed) {
                    let row = same!(self, read_row(run.place.run)).unwrap();
                    if row.and_then(|row| row.created.parent).is_some_and(|parent| self.runs.contains_key(&parent)) {
                        return true;
                    }
                }
                false
            }
            "remove runs" => {
                let due = same!(self, old_runs(keep_days, until, None::<Place>, 2)).unwrap();
                let runs: Vec<RunId> = due.iter().filter(|run| !run.is_needed).map(|run| run.place.run).collect();
                let removed = same!(self, remove(runs, now, PAGE)).unwrap();
                assert_eq!((removed.runs, removed.has_rest), (runs.len(), false));
                self.runs.retain(|run, _| !runs.contains(run));
                self.removed.extend(runs);
                removed.rows > 0
            }
            "remove runs that go on" => {
                let run = self.run();
                let is_closed = self.is_closed(run).await;
                let runs = if is_closed { Vec::new() } else { vec![run] };
                same!(self, remove(runs, now, PAGE)).unwrap().runs == 0 && !is_closed && self.runs.contains_key(&run)
            }
            "tombstone" | "tombstone of another tenant" => {
                // What was removed long ago is forgotten, too.
                let back = self.draw.below(4) as usize;
                let Some(run) = self.removed.iter().rev().nth(back).copied() else { return false };
                let is_there = same!(self, tombstone(tenant, run)).unwrap().is_some();
                is_there == (operation == "tombstone")
            }
            "forget_tombstones" => {
                let limit = 1 + self.draw.below(2) as usize;
                same!(self, forget_tombstones(until, limit)).unwrap() > 0
            }
            "forget_batches" => {
                // Few are over and have no runs: mostly all of time.
                let until = if self.draw.below(3) > 0 { Timestamp::from_millis(i64::MAX) } else { until };
                same!(self, forget_batches(until, 100)).unwrap() > 0
            }
            unknown => panic!("{unknown} is not an operation"),
        }
    }

    async fn is_closed(&mut self, run: RunId) -> bool {
        use heddle_core::partition::batch::Phase;
        let row = same!(self, read_row(run)).unwrap();
        row.is_some_and(|row| row.summary.phase == Phase::Closed)
    }
}
