//! Children: each begins once and for whoever has decided so, its end is told once and to that one, and none goes on that nothing
//! depends on (I17).

use std::collections::BTreeSet;

use heddle_core::id::{RunId, Slot};
use heddle_core::outbox::{Message, MessageBody, MessageId};
use heddle_core::partition::batch::{Batch, RunBatch};
use heddle_core::run::event::{Decision, Event, Fact, InvokedBy};
use heddle_core::run::{Run, RunStatus};

use super::check::Checker;
use super::world::World;

impl Checker {
    /// The children of a run that are not over.
    pub(super) fn open_children(&self, run: RunId) -> BTreeSet<RunId> {
        let fold = self.runs.get(&run).and_then(|account| account.fold.as_ref());
        fold.into_iter().flat_map(|fold| fold.open_children()).map(|(_, child)| child).collect()
    }

    /// A run's events have landed, before which these children were open: each that is not open any more is over, or is told to
    /// stop in the same batch.
    pub(super) fn check_children(&mut self, batch: &Batch, written: &RunBatch, before: BTreeSet<RunId>) {
        let decisions = written.events.iter().flat_map(|event| &event.decisions);
        let begun = decisions.filter_map(|decision| match decision {
            Decision::Invoked { instance, invoked } => Some((*instance, invoked.child)),
            _ => None,
        });
        let begun: Vec<_> = begun.collect();
        let over = |event: &Event| match &event.fact {
            Fact::ChildEnded(it) => Some(it.child),
            _ => None,
        };
        let over: BTreeSet<RunId> = written.events.iter().filter_map(|event| over(event)).collect();
        let after = self.open_children(written.run);
        let sent = |is_it: &dyn Fn(&MessageBody) -> bool| batch.beside.sent.iter().any(|message| is_it(&message.body));
        for (instance, child) in begun.iter().copied() {
            let is_first = self.children.insert((written.run, instance), child).is_none();
            self.expect(is_first, "I17", || format!("{}: {instance:?} begins a second child, {child}", written.run));
            let is_asked_for = sent(&|body| matches!(body, MessageBody::StartChild { child: it, .. } if *it == child));
            self.expect(is_asked_for, "I17", || format!("{}: nobody is asked to begin {child}", written.run));
        }
        for child in begun.into_iter().map(|(_, child)| child).chain(before) {
            let is_stopped = sent(&|body| matches!(body, MessageBody::CancelRun { run, .. } if *run == child));
            let is_known = after.contains(&child) || over.contains(&child) || is_stopped;
            self.expect(is_known, "I17", || format!("{}: its child {child} is left to itself", written.run));
        }
    }
}

impl World {
    fn fold_of(&self, run: RunId) -> Option<&Run> {
        self.check.runs.get(&run).filter(|account| !account.is_quarantined)?.fold.as_ref()
    }

    /// In the tree of runs nothing waits for nothing (H21): of each child that is waited for something is under way that ends in word
    /// of its end.
    pub(super) fn check_tree(&self, batch: &Batch) {
        if self.knobs.child_percent == 0 {
            return;
        }
        for written in &batch.runs {
            let Some(fold) = self.fold_of(written.run) else { continue };
            let above = fold.invoked_by().and_then(|by| self.fold_of(by.run));
            [Some(fold), above].into_iter().flatten().for_each(|fold| self.check_open(fold));
            if let (Some(_), Some(by)) = (&written.created, fold.invoked_by()) {
                self.check_invoked(fold, by);
            }
        }
    }

    fn check_open(&self, parent: &Run) {
        for (instance, child) in parent.open_children() {
            let goes_on = match self.fold_of(child) {
                Some(fold) => fold.status() == RunStatus::Running,
                // Its end is told when that it is set aside has been heard.
                None => self.check.is_quarantined(child),
            };
            let is_told = || {
                self.store.outbox.values().any(|message| match &message.body {
                    MessageBody::StartChild { child: it, .. } | MessageBody::ChildEnded { child: it, .. } => {
                        *it == child
                    }
                    _ => false,
                })
            };
            self.check.expect(goes_on || is_told(), "H21", || {
                format!("{}: {instance:?} waits for {child}, and nothing will come of it", parent.id())
            });
        }
    }

    /// A child has begun: it is what its node runs, and knows where it lies.
    fn check_invoked(&self, child: &Run, by: &InvokedBy) {
        let parent = self.check.runs.get(&by.run).and_then(|account| account.fold.as_ref());
        let is_its = parent.is_some_and(|parent| {
            let invoke = parent.graph().invoke(by.instance.node);
            let is_it = |place: usize| self.graphs[place].graph.digest() == child.graph().digest();
            invoke.is_some_and(|invoke| self.workflows.may_be(*invoke, is_it))
                && self.check.children.get(&(by.run, by.instance)) == Some(&child.id())
                && by.depth == parent.invoked_by().map_or(0, |by| by.depth) + 1
        });
        self.check.expect(is_its, "I17", || format!("{} is not what {by:?} has asked for", child.id()));
    }

    /// What a message asks for is durable when its sender hears that it has arrived.
    pub(super) fn check_receipt(&self, source: Slot, message: MessageId) {
        let Some(Message { body, .. }) = self.store.outbox.get(&(source, message)) else { return };
        let is_done = match body {
            MessageBody::StartRun { batch, index } => self.is_there(batch.run(*index)),
            MessageBody::CancelRun { run, .. } => {
                self.fold_of(*run).is_none_or(|fold| fold.status() != RunStatus::Running)
            }
            // One that cannot begin is over for its node at once.
            MessageBody::StartChild { child, parent, instance, .. } => {
                self.is_there(*child)
                    || self.fold_of(*parent).is_none_or(|fold| fold.open_child(*instance) != Some(*child))
            }
            MessageBody::ChildEnded { child, parent, instance } => {
                self.fold_of(*parent).is_none_or(|fold| fold.open_child(*instance) != Some(*child))
            }
        };
        self.check.expect(is_done, "E25", || format!("{body:?} has arrived before it is durable"));
    }
}
