//! What a run decides goes into the event that it follows from.

use super::{Partition, Turn, open};
use crate::id::RunId;
use crate::limits;
use crate::run::event::{Decision, Fact};
use crate::run::{Body, Deciding, Run};

impl Partition {
    /// Decides the next node; false if it has to wait for values.
    pub(super) fn decide_one(&mut self, id: RunId, turn: &mut Turn<'_>) -> bool {
        let Some(instance) = self.runs.get(&id).and_then(|entry| entry.run.next_decision()) else { return false };
        let Some((values, lists)) = self.at_hand(id, instance, turn) else { return false };
        let hooks = self.hooks.clone();
        let is_recorded = self.record(id, turn, |run, body, turn| {
            let (draw, cost) = (&mut turn.draw, &mut turn.cost);
            let mut deciding = Deciding { now: turn.now, draw, values: &values, lists: &lists, hooks: &hooks, cost };
            run.decide(instance, &mut deciding, body)
        });
        if let Some(entry) = self.runs.get_mut(&id).filter(|_| is_recorded) {
            entry.fetched.clear();
            entry.lists.trim();
        }
        is_recorded
    }

    /// Folds a decision and puts it into the youngest event, or into one of its own; false if there is no such run.
    #[expect(clippy::panic, reason = "the shell catches it and sets the run aside (E5): the engine contradicts itself")]
    pub(super) fn record(
        &mut self,
        id: RunId,
        turn: &mut Turn<'_>,
        decide: impl FnOnce(&Run, &mut Body, &mut Turn<'_>) -> Decision,
    ) -> bool {
        // An event's decisions come before its assignments, and its body stays small.
        let fits = self.open.last_event(id).is_some_and(|event| {
            let bytes: usize = event.values.iter().map(|value| value.json().len()).sum();
            event.assignments.is_empty() && bytes <= limits::EVENT_BODY_BYTES_MAX
        });
        if !fits {
            self.append(id, Fact::Continued.into(), turn);
        }
        let Some(entry) = self.runs.get_mut(&id) else { return false };
        let Some(event) = self.open.last_event(id) else { return false };
        let (before, kept) = (open::weight(event), event.values.len());
        let mut body = Body::resume(event.seq, std::mem::take(&mut event.values));
        let decision = decide(&entry.run, &mut body, turn);
        event.values = body.into_values();
        if let Err(corrupt) = entry.run.step_decision(&decision) {
            panic!("a decision does not follow: {corrupt}");
        }
        event.decisions.push(decision);
        if entry.run.graph().decides_on_values {
            self.recent.keep(id, event.seq, &event.values, kept);
        }
        let grown = open::weight(event) - before;
        entry.tail_bytes += grown;
        self.open.grow(grown);
        self.stop_dropped(id);
        self.write_reviews(id);
        self.post_children(id);
        true
    }
}
