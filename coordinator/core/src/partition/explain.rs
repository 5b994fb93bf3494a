//! What the runs in memory wait for, with what only their owner knows.

use super::Partition;
use super::values::Lack;
use crate::explain::{Cause, Explained, Part};
use crate::id::RunId;
use crate::run::RunStatus;
use crate::time::Timestamp;

impl Partition {
    /// What a run waits for; nothing if it is not in memory, or is over.
    pub fn explain(&self, id: RunId, now: Timestamp) -> Option<Explained> {
        let entry = self.runs.get(&id).filter(|entry| entry.run.status() == RunStatus::Running)?;
        let mut explained = Explained::of(&entry.run, Part::All, now);
        for told in &mut explained.nodes {
            match &mut told.cause {
                Cause::Turn if entry.lack != Lack::Nothing => told.cause = Cause::Values,
                Cause::Attempt { away, .. } => *away = self.away(&entry.run, told.instance),
                _ => {}
            }
        }
        Some(explained)
    }
}
