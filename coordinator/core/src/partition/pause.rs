//! Runs that stand still on purpose: what is ready of them stands in no queue.

use super::io::{Refusal, Release, Reply};
use super::{Partition, Turn};
use crate::id::{CallerId, RunId, Subject};
use crate::run::{Command, PauseChange, Rejection};

impl Partition {
    /// Somebody pauses a run in memory, or lets it go on.
    pub(super) fn pause(
        &mut self,
        caller: CallerId,
        id: RunId,
        (change, by): (PauseChange, Subject),
        turn: &mut Turn<'_>,
    ) {
        let applied = match self.apply(id, Command::Pause { change, by }, turn) {
            Ok(()) => true,
            Err(Rejection::Over(_) | Rejection::Idle) => false,
            Err(_) => return self.refuse(caller, Refusal::NotFound, turn),
        };
        let Some(entry) = self.runs.get(&id) else { return };
        let reply = Reply::Paused { status: entry.run.status(), applied, seq: entry.run.seq() };
        self.attach(Some(id), Release::Reply(caller, reply), turn);
    }
}
