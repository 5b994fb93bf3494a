//! What a run has given up: it waits for no agent any more, and who has it is told to stop.

use super::Partition;
use super::assign::place_of;
use super::io::{Effect, Release};
use crate::fault::{Fault, is_planted};
use crate::id::{AttemptKey, RunId};

impl Partition {
    /// Carries out what the youngest fact or decision of a run has given up.
    pub(super) fn stop_dropped(&mut self, id: RunId) {
        let Some(entry) = self.runs.get_mut(&id) else { return };
        let dropped = entry.run.take_dropped();
        for instance in dropped {
            let Some(entry) = self.runs.get_mut(&id) else { return };
            if entry.exposed.remove(&entry.run.rank(instance)) {
                let (lane, priority) = place_of(&entry.run, instance);
                self.queues.get_mut(&lane).into_iter().for_each(|queue| queue.remove_one(priority, id, instance));
                self.look_at(lane);
                continue;
            }
            let Some(live) = entry.run.attempt(instance).filter(|live| live.stopping) else { continue };
            let key = AttemptKey { run: id, instance, number: live.number, token: live.token };
            let effect = Effect::CancelAttempt { to: live.agent.clone(), key };
            self.open.held.releases.push((Some(id), Release::Effect(effect)));
        }
    }

    /// The run has ended: its attempts are told to stop, but for those that may finish.
    pub(super) fn cancel_attempts(&mut self, id: RunId) {
        let Some(entry) = self.runs.get(&id).filter(|_| !is_planted(Fault::CancelNotTold)) else { return };
        for (instance, live) in entry.run.attempts().filter(|(_, live)| live.stopping) {
            let key = AttemptKey { run: id, instance, number: live.number, token: live.token };
            let effect = Effect::CancelAttempt { to: live.agent.clone(), key };
            self.open.held.releases.push((Some(id), Release::Effect(effect)));
        }
    }
}
