//! Instances that are given up before they are done: nothing of them happens any more, and nothing of them counts.

use super::step::Corrupt;
use super::{LiveAttempt, NodePhase, Run, RunStatus};
use crate::id::{Instance, NodeIx};
use crate::run::event::Attempt;

impl Run {
    /// Gives up an instance that is not done: it will never run. What an agent has of it is told to stop, and its result is
    /// thrown away whenever it comes. An instance that has its final phase keeps it.
    pub(super) fn drop_instance(&mut self, instance: Instance) {
        let phase = self.phase_of(instance.node);
        match phase {
            NodePhase::Due => self.take_due(instance),
            NodePhase::Ready => drop(self.state.ready.remove(&self.rank(instance))),
            NodePhase::Backoff | NodePhase::Waiting => self.take_timer(instance),
            NodePhase::Running => {
                self.state.attempts.get_mut(&instance).into_iter().for_each(|live| live.stopping = true);
            }
            NodePhase::Pending => {}
            NodePhase::Excluded
            | NodePhase::Completed
            | NodePhase::Failed
            | NodePhase::Skipped
            | NodePhase::Dropped => return,
        }
        self.state.nodes[instance.node.0 as usize].phase = NodePhase::Dropped;
        self.state.open_nodes -= 1;
        self.dropped.push(instance);
    }

    /// The instances that were given up since this was asked last, or by the event that was read last.
    pub(crate) fn take_dropped(&mut self) -> Vec<Instance> {
        std::mem::take(&mut self.dropped)
    }

    /// Whether nothing that this attempt brings counts: its run is over, or its instance was given up.
    pub(super) fn is_given_up(&self, live: &LiveAttempt) -> bool {
        self.status() != RunStatus::Running || live.stopping
    }

    /// Before the end of a run only what was given up may be gone without a word on how it went.
    pub(super) fn remove_given_up(&mut self, attempt: &Attempt) -> Result<(), Corrupt> {
        let seq = self.seq();
        let live = self.remove(attempt)?;
        if self.is_given_up(&live) { Ok(()) } else { Err(Corrupt::WrongSide { seq }) }
    }

    /// The instances that were given up by the event that was read last.
    pub(super) fn dropped_nodes(&self) -> impl Iterator<Item = NodeIx> {
        self.dropped.iter().map(|instance| instance.node)
    }
}
