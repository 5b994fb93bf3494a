//! Runs leave memory: parked ones, which are found again, those that are over, and those whose rows cannot be written.

use super::io::{Effect, Release};
use super::{Partition, Turn};
use crate::id::{AttemptKey, RunId};
use crate::limits;

impl Partition {
    /// Parked runs leave memory; they are found again by `next_due` or by a command.
    pub(super) fn evict(&mut self, turn: &Turn<'_>) {
        while let Some(&(at, id)) = self.idle.first().filter(|(at, _)| *at <= turn.now) {
            self.idle.remove(&(at, id));
            // What nothing would bring back stays, so that the watchdog tells of it.
            let is_lost = self.is_orphan(id);
            let busy = is_lost || self.is_being_written(id);
            let Some(entry) = self.runs.get_mut(&id) else { continue };
            entry.idle_at = None;
            if busy {
                entry.idle_at = Some(turn.now.plus(limits::EVICT_AFTER));
                self.idle.insert((turn.now.plus(limits::EVICT_AFTER), id));
            } else if entry.run.is_parked() {
                self.drop_run(id);
            }
        }
    }

    /// Whether what is in memory of a run is not all durable: then nothing but memory knows of it.
    pub(super) fn is_being_written(&self, id: RunId) -> bool {
        self.open.touches(id) || self.flying.as_ref().is_some_and(|flying| flying.touched.contains(&id))
    }

    pub(super) fn drop_run(&mut self, id: RunId) {
        self.unexpose(id);
        if let Some(entry) = self.runs.remove(&id) {
            // What is being read may be older than what was here.
            if self.loading.contains_key(&id) {
                self.outdated.insert(id);
            }
            if entry.run.graph().decides_on_values {
                self.recent.forget(id);
            }
            entry.alarm.map(|at| self.alarms.remove(&(at, id)));
            entry.idle_at.map(|at| self.idle.remove(&(at, id)));
            self.forget_cancels(id, &entry.cancels);
        }
    }

    /// A run whose rows cannot be written: nothing more is decided or answered for it.
    pub(super) fn set_aside(&mut self, run: RunId, turn: &mut Turn<'_>) {
        if let Some(entry) = self.runs.get(&run) {
            for (instance, live) in entry.run.attempts() {
                let key = AttemptKey { run, instance, number: live.number, token: live.token };
                let effect = Effect::CancelAttempt { to: live.agent.clone(), key };
                turn.outputs.releases.push(Release::Effect(effect));
            }
        }
        self.tell_parent(run);
        self.drop_run(run);
        self.open.forget(run);
        self.forget_places(run, turn);
        let unsent: Vec<AttemptKey> = self.unsent.keys().filter(|key| key.run == run).copied().collect();
        unsent.iter().for_each(|key| self.withdraw(key, turn));
    }
}
