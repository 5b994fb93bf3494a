//! Runs to be counted.

use heddle_core::time::Timestamp;

use super::{Pair, same};
use crate::journal::Journal as _;
use crate::stats::{EndedCursor, RunRows as _, Which};

pub(super) const OPERATIONS: &[&str] =
    &["ended", "ended of a workflow", "ended after a run", "count_open", "last_success"];

impl Pair {
    pub(super) async fn perform_on_stats(&mut self, operation: &str) -> bool {
        let (tenant, workflow, now) = (self.draw.tenant(), self.draw.workflow(), self.clock.now());
        let (one, other) = (self.draw.time_near(now), self.draw.time_near(now));
        // Mostly all of time: short spans hold little.
        let far = Timestamp::from_millis(i64::MAX);
        let (from, to) =
            if self.draw.below(3) > 0 { (Timestamp::from_millis(0), far) } else { (one.min(other), one.max(other)) };
        let limit = 1 + self.draw.below(8) as usize;
        match operation {
            "ended" | "ended of a workflow" | "ended after a run" => {
                let workflow = match operation {
                    "ended of a workflow" => Some(workflow),
                    "ended after a run" => self.draw.maybe(workflow),
                    _ => None,
                };
                let which = Which { tenant, workflow, from, to };
                let after = match operation {
                    // A cursor is one that a page of the same runs gave.
                    "ended after a run" => {
                        let after = self.ended_run().await;
                        after.map(|after| EndedCursor { workflow: workflow.unwrap_or(after.workflow), ..after })
                    }
                    _ => None,
                };
                let found = same!(self, ended(which, after, limit)).unwrap();
                let is_told = found.iter().any(|run| run.code.is_some() && run.class.is_some());
                found.len() > 1
                    && (after.is_some() || is_told)
                    && (after.is_some() == (operation == "ended after a run"))
            }
            "count_open" => {
                let workflow = self.draw.maybe(workflow);
                same!(self, count_open(tenant, workflow)).unwrap() > 1
            }
            "last_success" => same!(self, last_success(tenant, workflow, from)).unwrap().is_some(),
            unknown => panic!("{unknown} is not an operation"),
        }
    }

    async fn ended_run(&mut self) -> Option<EndedCursor> {
        let run = self.run();
        let row = self.model.read_row(run).await.unwrap()?;
        Some(EndedCursor { workflow: row.created.workflow, ended_at: row.summary.ended_at?, run })
    }
}
