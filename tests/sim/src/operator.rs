//! Who runs the cluster pauses types of nodes for a while (H35): no attempt at such a node begins meanwhile, in no run, also where
//! its type stands in for another one, and whatever crashes. Then all goes on.

use std::collections::BTreeSet;

use heddle_core::id::{AttemptToken, RunId};
use heddle_core::partition::Partition;
use heddle_core::run::Run;

use super::event::{Event, SeatId};
use super::queue::millis;
use super::random::Random;
use super::work;
use super::world::World;

/// What they do, and what was at work when they did it.
pub(super) struct Operator {
    random: Random,
    /// Attempts that had begun when a type was paused.
    begun: BTreeSet<AttemptToken>,
}

impl Operator {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::from_seed(seed), begun: BTreeSet::new() }
    }
}

/// The attempts of runs in memory, each with the type of nodes that it is at.
fn attempts(partition: &Partition) -> impl Iterator<Item = (RunId, &str, AttemptToken)> {
    fn of_run(run: &Run) -> impl Iterator<Item = (RunId, &str, AttemptToken)> {
        let node_type = |node, by| &**run.graph().node(node).provided(by).type_id;
        run.attempts().map(move |(it, live)| (run.id(), node_type(it.node, live.provider), live.token))
    }
    partition.runs().flat_map(of_run)
}

impl World {
    pub(super) fn plan_type_pauses(&mut self) {
        for _ in 0..self.knobs.type_pauses {
            let node_type = self.operator.random.pick(&work::TYPES);
            let pause = millis(self.operator.random.between((0, self.knobs.trouble_ms * 2)));
            self.after(pause, Event::OperatorActs { node_type, pauses: true });
        }
    }

    /// The row is written first; then the permits of the one process there is know of it.
    pub(super) fn operator_acts(&mut self, node_type: &'static str, pauses: bool) {
        if !self.shell.is_up {
            let pause = millis(self.operator.random.between((100, 1_000)));
            return self.after(pause, Event::OperatorActs { node_type, pauses });
        }
        if pauses {
            self.store.paused_types.insert(node_type);
            self.shell.permits.pause(node_type.into());
            let partitions = self.shell.seats.values().filter_map(|seat| seat.partition.as_ref());
            self.operator.begun.extend(partitions.flat_map(attempts).map(|(_, _, token)| token));
            let length = millis(self.operator.random.between((100, 8_000)));
            self.after(length, Event::OperatorActs { node_type, pauses: false });
        } else {
            self.store.paused_types.remove(node_type);
            self.shell.permits.unpause(node_type);
            self.deal();
        }
    }

    /// After each turn of a partition: what is at work of a paused type had begun before.
    pub(super) fn check_type_pauses(&self, id: SeatId) {
        if self.store.paused_types.is_empty() {
            return;
        }
        let seat = self.shell.seats.get(&id.partition).filter(|seat| seat.id == id);
        let Some(partition) = seat.and_then(|seat| seat.partition.as_ref()) else { return };
        let has_begun = |token| self.operator.begun.contains(&token) || self.check.tokens.contains_key(&token);
        let mut paused = attempts(partition).filter(|(_, node_type, _)| self.store.paused_types.contains(node_type));
        if let Some((run, node_type, _)) = paused.find(|(.., token)| !has_begun(*token)) {
            self.check.fail("H35", format!("{node_type} is paused, and an attempt of {run} begins"));
        }
    }
}
