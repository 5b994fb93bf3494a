//! How long runs may be active (graph.md, part 9): what who starts one says, and what its graph says. The lesser counts.

use heddle_core::id::RunId;
use heddle_core::run::event::Fact;
use heddle_core::time::Span;

use super::graphs::Scripted;
use super::knobs::Knobs;
use super::random::Random;
use super::world::World;

impl Knobs {
    /// What whoever starts a run says: the same whenever it is asked for again.
    pub(super) fn deadline_of(&self, run: RunId) -> Option<Span> {
        let mut random = Random::from_seed(self.deadlines ^ run.0 as u64 ^ (run.0 >> 64) as u64);
        random.percent(self.deadline_percent).then(|| Span::from_millis(random.between(self.deadline_ms)))
    }

    /// Graphs, some of which bound all their runs.
    pub(super) fn bound(&self, graphs: Vec<Scripted>) -> Vec<Scripted> {
        let mut random = Random::from_seed(self.deadlines);
        let mut bound = |graph: Scripted| match random.percent(self.deadline_percent / 2) {
            true => graph.bounded(random.between(self.deadline_ms)),
            false => graph,
        };
        graphs.into_iter().map(&mut bound).collect()
    }
}

impl World {
    /// Each run has the deadline that was asked for.
    pub(super) fn check_deadlines(&self) {
        for (id, row) in self.store.runs.iter().filter(|(_, row)| !row.is_quarantined) {
            let Some(Fact::Submitted(submitted)) = row.events.first().map(|event| &event.fact) else { continue };
            // The time of a child is bounded by its own graph alone.
            let asked = if submitted.invoked_by.is_some() { None } else { self.knobs.deadline_of(*id) };
            let of_graph = self.scripted(row.created.graph).and_then(|graph| graph.deadline_ms).map(Span::from_millis);
            let least = asked.into_iter().chain(of_graph).min();
            self.check.expect(submitted.deadline == least, "H34", || {
                format!("{id} may be active for {:?}, and should for {least:?}", submitted.deadline)
            });
        }
    }
}
