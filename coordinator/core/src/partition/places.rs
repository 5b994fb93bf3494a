//! Which attempts of a partition hold places of concurrency keys. It is derived from the runs, and told to
//! [`Permits`](super::permits::Permits), which counts over all partitions.

use super::{Partition, Turn};
use crate::concurrency::ConcurrencyKey;
use crate::fault::{Fault, is_planted};
use crate::id::{AttemptKey, RunId};
use crate::run::event::Attempt;

impl Partition {
    /// After the first turn all that was at work before the load is in memory: its places are its own again.
    pub(super) fn count_places(&mut self, turn: &mut Turn<'_>) {
        if std::mem::replace(&mut self.is_counted, true) {
            return;
        }
        // What has ended in this very turn keeps its place until that is durable.
        let keys = self.keyed.values().chain(&self.open.held.places);
        turn.permits.take().read(self.id, keys);
        turn.has_returned = true;
    }

    /// A run was loaded: its attempts hold places.
    pub(super) fn hold_places(&mut self, run: RunId, turn: &mut Turn<'_>) {
        let Some(entry) = self.runs.get(&run) else { return };
        for (instance, live) in entry.run.attempts() {
            let template = entry.run.graph().node(instance.node).policy.concurrency_key.as_ref();
            let Some(template) = template else { continue };
            let key = template.of(entry.run.tenant(), entry.run.workflow());
            if self.is_counted {
                turn.permits.take().hold(self.id, &key);
            }
            self.keyed.insert(AttemptKey { run, instance, number: live.number, token: live.token }, key);
        }
    }

    /// Attempts are over: their places are free when that is durable.
    pub(super) fn end_places(&mut self, run: RunId, attempts: &[Attempt], turn: &mut Turn<'_>) {
        for attempt in attempts {
            let key = AttemptKey { run, instance: attempt.instance, number: attempt.number, token: attempt.token };
            let Some(place) = self.keyed.remove(&key) else { continue };
            match is_planted(Fault::PlaceFreedEarly) {
                true => self.free_places(&[place], turn),
                false => self.open.held.places.push(place),
            }
        }
    }

    /// The ends of attempts are durable.
    pub(super) fn free_places(&mut self, places: &[ConcurrencyKey], turn: &mut Turn<'_>) {
        for place in places {
            turn.permits.take().free_place(self.id, place);
            turn.has_returned = true;
        }
    }

    /// A run was set aside: nothing of it is at work any more.
    pub(super) fn forget_places(&mut self, run: RunId, turn: &mut Turn<'_>) {
        let keys: Vec<AttemptKey> = self.keyed.keys().filter(|key| key.run == run).copied().collect();
        let places: Vec<ConcurrencyKey> = keys.iter().filter_map(|key| self.keyed.remove(key)).collect();
        self.free_places(&places, turn);
    }
}
