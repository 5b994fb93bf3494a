//! Children: each is invoked by who has decided so, and none goes on that nothing depends on.

use std::collections::BTreeSet;

use heddle_core::id::RunId;
use heddle_core::outbox::MessageBody;
use heddle_core::partition::batch::{Batch, RunBatch};
use heddle_core::run::event::{Decision, Event, Fact};

use super::check::Checker;

impl Checker {
    /// The children of a run that are not over.
    pub(super) fn open_children(&self, run: RunId) -> BTreeSet<RunId> {
        let fold = self.runs.get(&run).and_then(|account| account.fold.as_ref());
        fold.into_iter().flat_map(|fold| fold.open_children()).map(|(_, child)| child).collect()
    }

    /// A run's events have landed, before which these children were open: each that is not open any more is over, or is told to
    /// stop in the same batch.
    pub(super) fn check_children(&self, batch: &Batch, written: &RunBatch, before: BTreeSet<RunId>) {
        let decisions = written.events.iter().flat_map(|event| &event.decisions);
        let begun = decisions.filter_map(|decision| match decision {
            Decision::Invoked { invoked, .. } => Some(invoked.child),
            _ => None,
        });
        let over = |event: &Event| match &event.fact {
            Fact::ChildEnded(it) => Some(it.child),
            _ => None,
        };
        let over: BTreeSet<RunId> = written.events.iter().filter_map(|event| over(event)).collect();
        let after = self.open_children(written.run);
        let stopped: BTreeSet<RunId> = batch
            .beside
            .sent
            .iter()
            .filter_map(|message| match &message.body {
                MessageBody::CancelRun { run, .. } => Some(*run),
                _ => None,
            })
            .collect();
        for child in begun.chain(before) {
            let is_known = after.contains(&child) || over.contains(&child) || stopped.contains(&child);
            self.expect(is_known, "I16", || format!("{}: its child {child} is left to itself", written.run));
        }
    }
}
