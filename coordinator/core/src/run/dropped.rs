//! Instances that are given up before they are done: nothing of them happens any more.

use super::corrupt::Corrupt;
use super::scope::ROOT;
use super::{LiveAttempt, NodePhase, Run, RunStatus};
use crate::id::{Instance, NodeIx};
use crate::run::event::Attempt;

/// What becomes of an attempt of a node that is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtAgent {
    /// It is told to stop, and its result is thrown away whenever it comes.
    Stops,
    /// It is let finish, and the node keeps its phase until then.
    Finishes,
}

impl Run {
    /// Gives up an instance that is not done: it will never run, or not again; a container with all that is open of its body.
    /// An instance that has its final phase keeps it. Whether its own item is over with that, the caller has to look.
    pub(super) fn drop_instance(&mut self, instance: Instance, at_agent: AtAgent) -> Result<(), Corrupt> {
        let instance = self.current(instance);
        let phase = self.slot(instance)?.phase;
        match phase {
            NodePhase::Due => {
                self.take_due(instance);
                self.state.recalls.remove(&instance);
                self.withdraw(instance);
                self.leave_child(instance);
            }
            NodePhase::Ready => {
                let rank = self.rank(instance);
                self.state.ready.remove(&rank);
            }
            NodePhase::Backoff => self.take_timer(instance),
            NodePhase::Waiting => {
                self.take_timer(instance);
                self.withdraw(instance);
                self.stop_listening(instance);
                self.leave_child(instance);
            }
            NodePhase::Running if at_agent == AtAgent::Finishes => return Ok(()),
            NodePhase::Running => {
                self.state.attempts.get_mut(&instance).into_iter().for_each(|live| live.stopping = true);
            }
            NodePhase::Open => return self.drop_container(instance, at_agent),
            NodePhase::Pending => {}
            NodePhase::Excluded
            | NodePhase::Inside
            | NodePhase::Completed
            | NodePhase::Cached
            | NodePhase::Failed
            | NodePhase::Skipped
            | NodePhase::Dropped => return Ok(()),
        }
        self.enter(instance, NodePhase::Dropped)?;
        self.owe_kept(instance);
        // A loop that waited for an agent's word on its last turn.
        self.end_scope(instance);
        self.count_down(instance)?;
        self.dropped.push(instance);
        Ok(())
    }

    /// An attempt of an item that has failed is over: whatever came of it, nothing follows.
    pub(super) fn over_in_vain(&mut self, instance: Instance) -> Result<(), Corrupt> {
        self.end_scope(instance);
        self.owe_kept(instance);
        self.enter(instance, NodePhase::Dropped)?;
        self.leave(instance)
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
    pub(super) fn remove_given_up(&mut self, attempt: &Attempt) -> Result<LiveAttempt, Corrupt> {
        let seq = self.seq();
        let live = self.remove(attempt)?;
        if self.is_given_up(&live) { Ok(live) } else { Err(Corrupt::WrongSide { seq }) }
    }

    /// The instances that were given up by the event that was read last.
    pub fn given_up(&self) -> &[Instance] {
        &self.dropped
    }

    /// The nodes outside of maps and loops that were given up by the event that was read last.
    pub(super) fn dropped_nodes(&self) -> impl Iterator<Item = NodeIx> {
        self.dropped.iter().filter(|instance| instance.scope == ROOT).map(|instance| instance.node)
    }
}
